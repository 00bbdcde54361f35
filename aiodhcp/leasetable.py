"""LeaseTable: all leases in memory, by address and by client, as octets.

Knows integers and octets only: no subnet, no packet, no clock.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from operator import attrgetter
from typing import Final

from aiodhcp.leases import NEVER, Lease, LeaseState
from aiodhcp.packing import PackedLeases, glance, pack, state_of, unpack

__all__ = ["LeaseTable"]

# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_ACTIVE: Final = LeaseState.ACTIVE
_TIMED: Final = frozenset({_ACTIVE, LeaseState.DECLINED})
_NOBODYS: Final = Lease(-1, b"", 0, b"", LeaseState.EXPIRED, 0, 0)


class LeaseTable:
    """All leases of a server, by address and by client, and when they end.

    A client may have one lease in each network. Nothing here decides: ``put`` overwrites. Leases are kept as octets,
    so that two which are read of the same address are equal, but not the same object.

    Attributes:
        counts: how many active leases there are, by what they are ``counted`` under.
        changed: called with what was known of an address and what is known now, where the state differs.
        put_or_removed: the same, whatever differs.
    """

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.changed: Callable[[Lease | None, Lease | None], None] | None = None
        self.put_or_removed: Callable[[Lease | None, Lease | None], None] | None = None
        self._by_address: dict[int, bytes] = {}
        # The one looked at last, because it will be looked at again.
        self._last = _NOBODYS
        self._by_client: dict[bytes, int] = {}
        # Only for clients that have been in several networks.
        self._elsewhere: dict[bytes, list[int]] = {}
        # Addresses by the second in which to look at them, and a heap of those seconds. Every timed lease that
        # ``due`` has not named has an entry at or before its end, and is entered again when looked at too early.
        self._due: dict[int, array[int]] = {}
        self._seconds: list[int] = []
        self._entries = 0
        self._looked = float("-inf")
        for lease in leases:
            self.put(lease)

    def load(self, leases: Iterable[Lease]) -> None:
        """``put`` a million leases, of which nearly all are the only one of their client. Of several the one that ends
        last counts as put last.

        Raises:
            StoreError: they come as octets, and some are damaged.
        """
        packed = leases if isinstance(leases, PackedLeases) else PackedLeases(map(pack, leases), "the leases")
        by_address, by_client = self._by_address, self._by_client
        again: list[Lease] = []
        try:
            for data in packed.octets:
                address, client, state, expires, is_counted = glance(data)
                if address in by_address or client in by_client or not client or is_counted:
                    again.append(unpack(data))
                    continue
                by_address[address] = data
                by_client[client] = address
                if _is_timed(state, expires):
                    self._enter(address, expires)
        except ValueError as error:
            raise packed.damaged(error) from None
        known = {by_client[lease.client] for lease in again if lease.client in by_client}
        again += [lease for lease in map(self.get, known) if lease is not None]
        for lease in sorted(again, key=attrgetter("expires")):
            self.put(lease)

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[Lease]:
        return map(unpack, list(self._by_address.values()))

    @property
    def known(self) -> Container[int]:
        """The addresses that something is known of, for whom a call for each is too dear."""
        return self._by_address

    @property
    def clients(self) -> Container[bytes]:
        """The clients that something is known of, for the same."""
        return self._by_client

    def __contains__(self, address: int) -> bool:
        return address in self._by_address

    def get(self, address: int) -> Lease | None:
        """The lease of an address, in whatever state."""
        last = self._last
        if last[0] == address:
            return last
        data = self._by_address.get(address)
        if data is None:
            return None
        self._last = last = unpack(data)
        return last

    def of_state(self, *states: LeaseState) -> list[Lease]:
        """The leases in one of these states; the others are not read for it."""
        return [unpack(data) for data in self._by_address.values() if state_of(data) in states]

    def addresses(self, *states: LeaseState) -> list[int]:
        """All addresses that something is known of now; or those whose leases are in one of some states."""
        if not states:
            return list(self._by_address)
        return [address for address, data in self._by_address.items() if state_of(data) in states]

    def addresses_of(self, client: bytes) -> list[int]:
        """The addresses that are or were the client's, whatever their state."""
        address = self._by_client.get(client)
        return [] if address is None else [address, *self._elsewhere.get(client, ())]

    def find(self, client: bytes, first: int, last: int) -> Lease | None:
        """The client's lease in the network from ``first`` to ``last``: the active one, or else the one put last."""
        address = self._by_client.get(client)
        if address is None:
            return None
        found = self.get(address) if first <= address <= last else None
        if found is None or found.state != _ACTIVE:
            for other in reversed(self._elsewhere.get(client, ())):
                if first <= other <= last:
                    lease = self.get(other)
                    assert lease is not None
                    if lease.state == _ACTIVE:
                        return lease
                    found = found or lease
        return found

    def is_only(self, client: bytes, address: int) -> bool:
        """Whether no other address is known of a client."""
        return self._by_client.get(client, address) == address and client not in self._elsewhere

    def put(self, lease: Lease) -> None:
        """Enter a lease, in place of what was known of its address."""
        address, client, state, expires = lease.address, lease.client, lease.state, lease.expires
        data = pack(lease)
        previous = self.get(address)
        # Whether there is an entry at or before its end.
        watched = False
        if previous is not None:
            if previous.counted:
                self._count(previous, -1)
            if previous.client != client:
                self._forget(previous)
            watched = self._looked < previous.expires <= expires and previous.state in _TIMED
        if lease.counted:
            self._count(lease, 1)
        if self.changed is not None and (previous is None or previous.state != state):
            self.changed(previous, lease)
        if self.put_or_removed is not None:
            self.put_or_removed(previous, lease)
        self._by_address[address] = data
        self._last = lease
        if client:
            known = self._by_client.setdefault(client, address)
            if known != address:
                elsewhere = self._elsewhere.setdefault(client, [])
                if address in elsewhere:
                    elsewhere.remove(address)
                elsewhere.append(known)
                self._by_client[client] = address
        if not watched and _is_timed(state, expires):
            self._watch(lease)

    def remove(self, address: int) -> Lease | None:
        """Forget an address altogether; its lease, if there was one."""
        lease = self.get(address)
        if lease is not None:
            del self._by_address[address]
            self._last = _NOBODYS
            self._forget(lease)
            if lease.counted:
                self._count(lease, -1)
            if self.changed is not None:
                self.changed(lease, None)
            if self.put_or_removed is not None:
                self.put_or_removed(lease, None)
        return lease

    def due(self, now: float) -> list[Lease]:
        """The active and declined leases whose end has come since the last call. They stay as they are."""
        self._looked = max(self._looked, now)
        ended = {}
        while self._seconds and self._seconds[0] <= now:
            addresses = self._due.pop(heapq.heappop(self._seconds))
            self._entries -= len(addresses)
            for address in addresses:
                lease = self.get(address)
                if lease is not None and _is_timed(lease.state, lease.expires):
                    if lease.expires <= now:
                        # By address, because it may have several entries.
                        ended[address] = lease
                    else:
                        self._watch(lease)
        return list(ended.values())

    def _count(self, lease: Lease, difference: int) -> None:
        if lease.state == _ACTIVE and lease.counted:
            for key in lease.counted.split(","):
                self.counts[key] += difference
                if not self.counts[key]:
                    del self.counts[key]

    def _forget(self, lease: Lease) -> None:
        client, address = lease.client, lease.address
        elsewhere = self._elsewhere.get(client)
        if elsewhere is None:
            self._by_client.pop(client, None)
            return
        if self._by_client[client] == address:
            self._by_client[client] = elsewhere.pop()
        else:
            elsewhere.remove(address)
        if not elsewhere:
            del self._elsewhere[client]

    def _watch(self, lease: Lease) -> None:
        if self._entries > 4 * len(self._by_address) + 1024:
            # Leases that were shortened or released and taken again leave entries behind.
            self._due.clear()
            self._seconds.clear()
            self._entries = 0
            for each in self:
                if _is_timed(each.state, each.expires):
                    self._enter(each.address, each.expires)
            return
        self._enter(lease.address, lease.expires)

    def _enter(self, address: int, second: int) -> None:
        addresses = self._due.get(second)
        if addresses is None:
            self._due[second] = array("I", (address,))
            heapq.heappush(self._seconds, second)
        else:
            addresses.append(address)
        self._entries += 1


def _is_timed(state: int, expires: int) -> bool:
    return expires < NEVER and state in _TIMED
