"""Lease and LeaseTable: who holds which address, until when. In memory, indexed by address and by client.

Knows integers and octets only: no subnet, no packet, no clock.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final, NamedTuple

__all__ = ["NEVER", "FreeAddresses", "Lease", "LeaseState", "LeaseTable"]

NEVER: Final = 1 << 40
"""``Lease.expires`` of a lease without end (RFC 2131 §3.3): beyond any time of day."""


class LeaseState(IntEnum):
    """What became of a lease. All but ACTIVE and DECLINED leave the address free, remembering whose it was."""

    ACTIVE = 1
    RELEASED = 2
    EXPIRED = 3
    DECLINED = 4


# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_ACTIVE: Final = LeaseState.ACTIVE
_RELEASED: Final = LeaseState.RELEASED
_EXPIRED: Final = LeaseState.EXPIRED
_DECLINED: Final = LeaseState.DECLINED


class Lease(NamedTuple):
    """One address and who holds it, or held it last. A row of the store, in this order.

    Attributes:
        address: the IPv4 address as an integer.
        client: what identifies the client: option 61, or else htype and chaddr (RFC 2131 §2, §4.2). Empty for a
            declined address, which is nobody's.
        htype: the hardware type, 1 for Ethernet; 0 of a declined address that the server itself found in use.
        chaddr: the hardware address, 0 to 16 octets; of a declined address that of the client that declined it, or,
            where the server found it in use, of who answered by ARP.
        state: see ``LeaseState``.
        starts: when the client got the address, in seconds since 1970; a renewal doesn't change it.
        expires: when it ends; of a declined address, when its probation ends.
        hostname: what the client is called: option 12 as it sent it, or what was made of it or of option 81.
        counted: under what it counts for the limits of classes while it is active: keys with commas between, or None.
        relay_agent: option 82 of the last packet that came through a relay agent; None without.
        last_transaction: when the client was last heard of it, in seconds since 1970; 0 where that isn't known.
        nonce: the 16 octets by which the client knows a FORCERENEW of its server (RFC 6704); None without.
    """

    address: int
    client: bytes
    htype: int
    chaddr: bytes
    state: LeaseState
    starts: int
    expires: int
    hostname: str | None = None
    counted: str | None = None
    relay_agent: bytes | None = None
    last_transaction: int = 0
    nonce: bytes | None = None

    def holds(self, now: float) -> bool:
        """Whether the client may use the address at ``now``."""
        return self.state == _ACTIVE and self.expires > now

    def is_free(self, now: float) -> bool:
        """Whether somebody else may get the address at ``now``."""
        return self.expires <= now or self.state in (_RELEASED, _EXPIRED)

    @property
    def state_began(self) -> int:
        """Since when it is in its state, in seconds since 1970."""
        return self.starts if self.state in (_ACTIVE, _DECLINED) else self.expires

    @property
    def changed(self) -> int:
        """When anything about it changed last, in seconds since 1970; it may be a renewal."""
        return max(self.state_began, self.last_transaction)

    @property
    def ip(self) -> IPv4Address:
        """The address for people and libraries."""
        return IPv4Address(self.address)

    @property
    def hardware_address(self) -> str:
        """``chaddr`` for people: ``"02:00:00:00:00:01"``."""
        return self.chaddr.hex(":")


class LeaseTable:
    """All leases of a server, by address and by client, and when they end.

    A client may have one lease in each network. Nothing here decides: ``put`` overwrites.

    Attributes:
        counts: how many active leases there are, by what they are ``counted`` under.
        changed: called with what was known of an address and what is known now, where the state differs.
        put_or_removed: the same, whatever differs.
    """

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.changed: Callable[[Lease | None, Lease | None], None] | None = None
        self.put_or_removed: Callable[[Lease | None, Lease | None], None] | None = None
        self._by_address: dict[int, Lease] = {}
        self._by_client: dict[bytes, int] = {}
        # Only for clients that have been in several networks.
        self._elsewhere: dict[bytes, list[int]] = {}
        # Addresses by the second in which to look at them, and a heap of those seconds. Every timed lease that
        # ``due`` has not named has an entry at or before its end, and is entered again when looked at too early.
        self._due: dict[int, list[int]] = {}
        self._seconds: list[int] = []
        self._entries = 0
        self._looked = float("-inf")
        for lease in leases:
            self.put(lease)

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._by_address.values())

    def get(self, address: int) -> Lease | None:
        """The lease of an address, in whatever state."""
        return self._by_address.get(address)

    def find(self, client: bytes, first: int, last: int) -> Lease | None:
        """The client's lease in the network from ``first`` to ``last``: the active one, or else the one put last."""
        address = self._by_client.get(client)
        if address is None:
            return None
        found = self._by_address[address] if first <= address <= last else None
        if found is None or found.state != _ACTIVE:
            for other in reversed(self._elsewhere.get(client, ())):
                if first <= other <= last:
                    lease = self._by_address[other]
                    if lease.state == _ACTIVE:
                        return lease
                    found = found or lease
        return found

    def addresses(self) -> list[int]:
        """All addresses that something is known of, as they are now."""
        return list(self._by_address)

    def addresses_of(self, client: bytes) -> list[int]:
        """The addresses that are or were the client's, whatever their state."""
        address = self._by_client.get(client)
        return [] if address is None else [address, *self._elsewhere.get(client, ())]

    def put(self, lease: Lease) -> None:
        """Enter a lease, in place of what was known of its address."""
        address, client = lease.address, lease.client
        previous = self._by_address.get(address)
        if previous is not None:
            if previous.counted:
                self._count(previous, -1)
            if previous.client != client:
                self._forget(previous)
        if lease.counted:
            self._count(lease, 1)
        if self.changed is not None and (previous is None or previous.state != lease.state):
            self.changed(previous, lease)
        if self.put_or_removed is not None:
            self.put_or_removed(previous, lease)
        self._by_address[address] = lease
        known = self._by_client.get(client)
        if not client:
            pass
        elif known is None:
            self._by_client[client] = address
        elif known != address:
            elsewhere = self._elsewhere.setdefault(client, [])
            if address in elsewhere:
                elsewhere.remove(address)
            elsewhere.append(known)
            self._by_client[client] = address
        if _is_timed(lease) and (
            previous is None
            or not _is_timed(previous)
            or lease.expires < previous.expires
            or previous.expires <= self._looked
        ):
            self._watch(lease)

    def remove(self, address: int) -> Lease | None:
        """Forget an address altogether; its lease, if there was one."""
        lease = self._by_address.pop(address, None)
        if lease is not None:
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
                lease = self._by_address.get(address)
                if lease is not None and _is_timed(lease):
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
                if _is_timed(each):
                    self._enter(each)
            return
        self._enter(lease)

    def _enter(self, lease: Lease) -> None:
        second = lease.expires
        addresses = self._due.get(second)
        if addresses is None:
            self._due[second] = [lease.address]
            heapq.heappush(self._seconds, second)
        else:
            addresses.append(lease.address)
        self._entries += 1


def _is_timed(lease: Lease) -> bool:
    return lease.expires < NEVER and (lease.state == _ACTIVE or lease.state == _DECLINED)


class FreeAddresses:
    """Which address of a pool to give next, without a search: first those never used, in order, then those given
    back, the longest unused first.

    It may name an address that is taken: the caller's test decides, and what it refuses comes back by ``give_back``
    when it is free again.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._ranges = list(ranges)
        self._range = 0
        self._next = self._ranges[0][0] if self._ranges else 0
        self._returned: OrderedDict[int, None] = OrderedDict()

    def skip(self, used: Callable[[int], bool]) -> None:
        """Begin at the first address that is not ``used``."""
        first = self.take(lambda address: not used(address), used)
        if first is not None:
            self._next = first

    def give_back(self, address: int) -> None:
        """The address is free again."""
        self._returned[address] = None
        self._returned.move_to_end(address)

    def take(self, never_used: Callable[[int], bool], free: Callable[[int], bool], client: bytes = b"") -> int | None:
        """The next address, or None when the pool is empty.

        Args:
            never_used: whether an address not given out by us yet is known to nobody.
            free: whether an address that was given back still is free.
            client: for whom, which makes no difference here.
        """
        while self._range < len(self._ranges):
            last = self._ranges[self._range][1]
            while self._next <= last:
                address = self._next
                self._next += 1
                if never_used(address):
                    return address
            self._range += 1
            if self._range < len(self._ranges):
                self._next = self._ranges[self._range][0]
        while self._returned:
            address, _ = self._returned.popitem(last=False)
            if free(address):
                return address
        return None
