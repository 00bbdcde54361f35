"""Shadow mode: a plugin runs on a copy of the exchange, and what it would have changed is noted, never applied."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from aiodhcp.exchange import Exchange
from aiodhcp.packet import Packet
from aiodhcp.verdicts import Use

__all__ = ["Shadow", "ShadowNote"]


@dataclass(frozen=True, slots=True)
class ShadowNote:
    """What a plugin in shadow mode would have changed.

    Attributes:
        when: seconds since 1970.
        plugin, hook: who, and where.
        hardware_address: the client's, for people.
        would: what it would have changed, in words: ``"Use(value=600)"``, ``"reply: option 15"``, ``"class phones"``.
    """

    when: float
    plugin: str
    hook: str
    hardware_address: str
    would: str


class Shadow:
    """A copy of an exchange for one call, as ``exchange``; ``changes`` tells what the call changed in it."""

    def __init__(self, exchange: Exchange, hook: str) -> None:
        self._hook = hook
        # What a plugin keeps for the packet has to be found by its later hooks: contexts are shared, each its own.
        self.exchange = shadow = copy.copy(exchange.share_contexts())
        shadow.received = dict(exchange.received)
        shadow.changes = exchange.changes and list(exchange.changes)
        self._packet, self._reply = _copy(exchange.packet), _copy(exchange.reply)
        shadow.put(_copy(exchange.packet), _copy(exchange.reply))
        shadow.classes.update(exchange.class_names)
        shadow.trace = None
        # Noted now: with an ``async`` plugin the exchange goes on meanwhile.
        self._classes, self._dropped, self._fields = exchange.class_names, exchange.dropped, _fields(exchange)

    def changes(self, result: Any) -> list[str]:
        """What would be different, had the call counted.

        Args:
            result: what it returned.
        """
        would, shadow = [], self.exchange
        if isinstance(result, Packet):
            if shadow.reply is not None:
                shadow.reply = result
            else:
                shadow.packet = result
        elif result is not None and not self._holds_anyway(result):
            would.append(repr(result))
        would += [f"request: {each}" for each in _differences(self._packet, shadow.packet)]
        would += [f"reply: {each}" for each in _differences(self._reply, shadow.reply)]
        would += [f"class {name}" for name in sorted(shadow.class_names - self._classes)]
        would += [f"not class {name}" for name in sorted(self._classes - shadow.class_names)]
        if shadow.dropped and not self._dropped:
            return [*would, f"dropped: {shadow.why}"]
        after = _fields(shadow)
        return would + [f"{name} = {after[name]}" for name in _FIELDS if after[name] != self._fields[name]]

    def _holds_anyway(self, result: Any) -> bool:
        if not isinstance(result, Use):
            return False
        value, before = result.value, self._fields
        if self._hook == "select_subnet":
            subnet = before["subnet"]
            return subnet is not None and str(value) in (str(subnet), str(subnet.network.with_netmask))
        if self._hook == "select_address":
            return bool(int(IPv4Address(value)) == before["yiaddr"])
        return self._hook == "select_lease_time" and bool(value == before["lease_time"])


_FIELDS: Final = ("subnet", "reservation", "reply_type", "yiaddr", "lease_time", "refusal")
"""What is noted if a plugin writes it."""


def _fields(exchange: Exchange) -> dict[str, Any]:
    return {name: getattr(exchange, name) for name in _FIELDS}


def _copy(packet: Packet | None) -> Packet | None:
    if packet is None:
        return None
    try:
        raw = packet.encode() if packet.changed else packet.raw
        Packet(raw)  # raises where it can't be decoded
        return Packet.deferred(raw, packet.definitions)
    except Exception:  # another plugin wrecked it
        return None


def _differences(before: Packet | None, after: Packet | None) -> list[str]:
    if before is None or after is None:
        return []
    old, new = before.options.raw, after.options.raw
    found = [name for name in before.__hdr_fields__ if getattr(before, name) != getattr(after, name)]
    return found + [f"option {code}" for code in sorted({*old, *new}) if old.get(code) != new.get(code)]
