"""What the log says of packets: one line a lease event, and never more lines than somebody could read. And the last
exchanges, for those who ask why.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import Final

from aiodhcp.constants import AddressKind, AddressProblem, DropReason, MessageType
from aiodhcp.exchange import Exchange

__all__ = ["LINES_PER_SECOND", "Reports"]

LINES_PER_SECOND: Final = 100
"""Above this a second's events are counted instead of written: formatting each would halve the throughput."""

# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_OFFER: Final = MessageType.OFFER
_NEW: Final = AddressKind.NEW
_OLD: Final = AddressKind.OLD
# Drops that an administrator has to know about; the others are for ``--verbose``.
_ALARMING: Final = frozenset({DropReason.NOADDRESS, DropReason.NO_SUBNETS, DropReason.NOMEM, DropReason.INTERNAL_ERROR})


class Reports:
    """Writes what became of each exchange to the logger ``aiodhcp.leases``, and keeps the last ones.

    Args:
        logger: another logger.
        keep: how many are kept.
    """

    def __init__(self, logger: logging.Logger | None = None, keep: int = 0) -> None:
        self._log = logger or logging.getLogger("aiodhcp.leases")
        self._second = 0
        self._lines = 0
        self._unwritten: Counter[str] = Counter()
        self._level = logging.NOTSET
        self._last: deque[Exchange] | None = deque(maxlen=keep) if keep else None

    @property
    def keeps(self) -> bool:
        """Whether any are kept."""
        return self._last is not None

    def last(self, hardware_address: str = "") -> list[Exchange]:
        """The last exchanges, oldest first; of one client only, if its hardware address is given."""
        wanted = hardware_address.lower().replace("-", ":")
        return [each for each in self._last or () if wanted in ("", each.hardware_address)]

    def finished(self, exchange: Exchange) -> None:
        """An exchange is done with."""
        if self._last is not None:
            self._last.append(exchange)
        log = self._log
        if exchange.reason is None and exchange.problem is None:
            # As with nearly all: asked first whether there is anything to say.
            if exchange.reply_type == _OFFER:
                if exchange.yiaddr and not log.isEnabledFor(logging.DEBUG):
                    return
            elif not log.isEnabledFor(logging.INFO):
                return
        level, event = _event(exchange)
        if not log.isEnabledFor(level):
            return
        second = int(exchange.now)
        if second != self._second:
            self.flush(second)
        if self._lines >= LINES_PER_SECOND:
            self._unwritten[event] += 1
            self._level = max(self._level, level)
            return
        self._lines += 1
        log.log(level, "%s", _line(event, exchange))

    def flush(self, second: int = 0) -> None:
        """Write how many events were not written one by one."""
        self._second, self._lines = second, 0
        if self._unwritten:
            counts = ", ".join(f"{count} {event}" for event, count in self._unwritten.most_common())
            level, self._level = self._level, logging.NOTSET
            self._unwritten.clear()
            self._log.log(level, "and in the same second: %s", counts)


def _is_unserved(exchange: Exchange) -> bool:
    """Whether there was no address for the client, which was told so (RFC 2563)."""
    return exchange.reply_type == _OFFER and not exchange.yiaddr


def _event(exchange: Exchange) -> tuple[int, str]:
    if exchange.vetoed:
        return logging.DEBUG, "vetoed"
    if exchange.reason is not None:
        return (logging.WARNING if exchange.reason in _ALARMING else logging.DEBUG), "dropped"
    if _is_unserved(exchange):
        return logging.WARNING, "unserved"
    if exchange.kind is _NEW:
        return logging.INFO, "leased"
    if exchange.kind is _OLD:
        return logging.INFO, "renewed"
    if exchange.problem is AddressProblem.DECLINE:
        return logging.WARNING, "declined"
    if exchange.problem is AddressProblem.RELEASE:
        return logging.INFO, "released"
    if exchange.problem is AddressProblem.NACKED:
        return logging.INFO, "refused"
    if exchange.reply_type == _OFFER:
        return logging.DEBUG, "offered"
    if exchange.message_type == MessageType.LEASEQUERY:
        return logging.DEBUG, "queried"
    return logging.DEBUG, "informed"


def _line(event: str, exchange: Exchange) -> str:
    kind = exchange.message_type
    facts = [
        event,
        str(exchange.address or "-"),
        f"client={exchange.hardware_address or exchange.client.hex(':') or '-'}",
    ]
    lease = exchange.lease_after or exchange.lease_before
    if lease is not None and lease.hostname:
        facts.append(f"host={lease.hostname!a}")
    if exchange.lease_time and not exchange.dropped:
        facts.append(f"seconds={exchange.lease_time}")
    if event in ("dropped", "unserved", "vetoed", "refused", "declined", "queried"):
        if kind in MessageType._value2member_map_:
            facts.append(f"message={MessageType(kind).name}")
        if exchange.reason is not None:
            facts.append(f"reason={exchange.reason.name}")
        facts.append(f"why={exchange.why!a}")
    facts.append(f"on={exchange.interface.name}")
    return " ".join(facts)
