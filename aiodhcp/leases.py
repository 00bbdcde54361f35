"""Lease: who holds an address, until when. FreeAddresses: which address nobody holds.

Knows integers and octets only: no subnet, no packet, no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from enum import IntEnum
from ipaddress import IPv4Address
from itertools import filterfalse
from typing import Final, NamedTuple

__all__ = ["NEVER", "FreeAddresses", "Lease", "LeaseState"]

NEVER: Final = 1 << 40
"""``Lease.expires`` of a lease without end (RFC 2131 §3.3): beyond any time of day."""


class LeaseState(IntEnum):
    """What became of a lease. All but ACTIVE and DECLINED leave the address free, remembering whose it was."""

    ACTIVE = 1
    RELEASED = 2
    EXPIRED = 3
    DECLINED = 4


STATES: Final = {int(state): state for state in LeaseState}
"""States by number: a fifth of the time that ``LeaseState(number)`` takes."""
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


class FreeAddresses:
    """Which address of a pool to give next, without a search: first those never used, in order, then those given
    back, the longest unused first.

    It may name an address that is taken: the caller's test decides, and what it refuses comes back by ``give_back``
    when it is free again.
    """

    __slots__ = ("_last", "_left", "_next", "_returned")

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        # The next address and the last one of its range, and the ranges behind that, the next one last.
        self._next, self._last = 0, -1
        self._left = list(reversed(ranges))
        self._returned: OrderedDict[int, None] = OrderedDict()

    def skip(self, used: Container[int]) -> None:
        """Begin at the first address that is not ``used``."""
        while self._begins():
            unused = next(filterfalse(used.__contains__, range(self._next, self._last + 1)), None)
            if unused is not None:
                self._next = unused
                return
            self._next = self._last + 1

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
        while self._next <= self._last or self._begins():
            address = self._next
            self._next = address + 1
            if never_used(address):
                return address
        while self._returned:
            address, _ = self._returned.popitem(last=False)
            if free(address):
                return address
        return None

    def _begins(self) -> bool:
        """Whether there is an address that comes next, maybe of another range."""
        while self._next > self._last and self._left:
            self._next, self._last = self._left.pop()
        return self._next <= self._last
