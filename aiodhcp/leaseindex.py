"""LeaseIndex: leases by hardware address, remote id and relay id, for those who ask by these. Only where they may."""

from __future__ import annotations

from typing import Final

from aiodhcp.leases import Lease
from aiodhcp.leasetable import LeaseTable
from aiodhcp.relays import sub_options

__all__ = ["LeaseIndex"]

REMOTE_ID: Final = 2
RELAY_ID: Final = 12
"""Sub-option 12 of option 82 (RFC 6925)."""

Known = dict[bytes, int | set[int]]
"""One address, as nearly always, or several."""


class LeaseIndex:
    """Leases of whatever state by what is known of their clients; it follows the table from now on.

    What is nobody's, because it was declined or deleted, is not in it.
    """

    def __init__(self, leases: LeaseTable) -> None:
        self._leases = leases
        self._hardware: Known = {}
        self._remote: Known = {}
        self._relay: Known = {}
        for lease in leases:
            self._put_or_removed(None, lease)
        leases.put_or_removed = self._put_or_removed

    def by_hardware_address(self, htype: int, chaddr: bytes) -> list[int]:
        """The addresses that are or were those of a hardware address."""
        found = _all(self._hardware.get(chaddr))
        return [each for each in found if (lease := self._leases.get(each)) is not None and lease.htype == htype]

    def by_remote_id(self, remote_id: bytes) -> list[int]:
        """The addresses that are or were given out by way of a remote id (RFC 6148)."""
        return _all(self._remote.get(remote_id))

    def by_relay_id(self, relay_id: bytes) -> list[int]:
        """The same of the relay id of a relay agent (RFC 6926)."""
        return _all(self._relay.get(relay_id))

    def _put_or_removed(self, before: Lease | None, after: Lease | None) -> None:
        if before is not None and not before.client:
            before = None
        if after is not None and not after.client:
            after = None
        if before is not None and after is not None and _knows(before) == _knows(after):
            return
        if before is not None:
            for table, key in self._keys(before):
                _remove(table, key, before.address)
        if after is not None:
            for table, key in self._keys(after):
                _add(table, key, after.address)

    def _keys(self, lease: Lease) -> list[tuple[Known, bytes]]:
        said = sub_options(lease.relay_agent) if lease.relay_agent else {}
        keys = (
            (self._hardware, lease.chaddr),
            (self._remote, said.get(REMOTE_ID, b"")),
            (self._relay, said.get(RELAY_ID, b"")),
        )
        return [(table, key) for table, key in keys if key]


def _knows(lease: Lease) -> tuple[bytes, bytes | None]:
    return lease.chaddr, lease.relay_agent


def _all(known: int | set[int] | None) -> list[int]:
    if known is None:
        return []
    return [known] if isinstance(known, int) else sorted(known)


def _add(table: Known, key: bytes, address: int) -> None:
    known = table.get(key)
    if known is None:
        table[key] = address
    elif isinstance(known, int):
        table[key] = {known, address}
    else:
        known.add(address)


def _remove(table: Known, key: bytes, address: int) -> None:
    known = table[key]
    if isinstance(known, int):
        del table[key]
        return
    known.discard(address)
    if len(known) == 1:
        table[key] = known.pop()
