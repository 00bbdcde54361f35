"""Packing: a lease as octets. The lease table keeps a million of them so, the store's journal a batch at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from aiodhcp.errors import StoreError
from aiodhcp.leases import STATES, Lease

__all__ = ["PackedLeases", "glance", "pack", "places", "split", "state_of", "unpack"]

_HEAD: Final = struct.Struct("!IBBqqqBBB")
"""address, htype, state, starts, expires, last_transaction; octets of client and chaddr; which other fields follow."""
_BEHIND: Final = _HEAD.size
"""Where the client begins."""
# A tuple of a class as it is: past the function that gives its fields names, which costs more than the tuple.
_new: Final = tuple.__new__
_LENGTH: Final = struct.Struct("!H")
_IS_COUNTED: Final = 2
_IN_CLIENT: Final = 255
"""As octets of chaddr: it is the client identifier without its first octet, as nearly all are."""


def pack(lease: Lease) -> bytes:
    """A lease as octets.

    Raises:
        ValueError: a field is out of range.
    """
    address, client, htype, chaddr, state, starts, expires, hostname, counted, relay_agent, last, nonce = lease
    try:
        size = _IN_CLIENT if chaddr == client[1:] and client else len(chaddr)
        if hostname is None and counted is None and relay_agent is None and nonce is None:
            head = _HEAD.pack(address, htype, state, starts, expires, last, len(client), size, 0)
            return head + client if size == _IN_CLIENT else head + client + chaddr
        rest, bits = client if size == _IN_CLIENT else client + chaddr, 0
        # Not in a loop, which takes twice as long: every renewal through a relay agent comes here, twice.
        if hostname is not None:
            octets = hostname.encode(errors="surrogatepass")
            rest, bits = rest + _LENGTH.pack(len(octets)) + octets, 1
        if counted is not None:
            octets = counted.encode(errors="surrogatepass")
            rest, bits = rest + _LENGTH.pack(len(octets)) + octets, bits | 2
        if relay_agent is not None:
            rest, bits = rest + _LENGTH.pack(len(relay_agent)) + relay_agent, bits | 4
        if nonce is not None:
            rest, bits = rest + _LENGTH.pack(len(nonce)) + nonce, bits | 8
        head = _HEAD.pack(address, htype, state, starts, expires, last, len(client), size, bits)
        return bytes(head + rest)
    except (struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"{lease}: a field is out of range: {error}") from None


def unpack(data: bytes) -> Lease:
    """The lease that ``pack`` was given."""
    address, htype, state, starts, expires, last, size, other, bits = _HEAD.unpack_from(data)
    end = _BEHIND + size
    client = data[_BEHIND:end]
    if not bits:
        chaddr = client[1:] if other == _IN_CLIENT else data[end:]
        fields = (address, client, htype, chaddr, STATES[state], starts, expires, None, None, None, last, None)
        return _new(Lease, fields)
    return _unpack(data, 0)[0]


def state_of(data: bytes) -> int:
    """The state of a lease that was packed, without the rest."""
    return data[5]


def glance(data: bytes) -> tuple[int, bytes, int, int, bool]:
    """Address, client, state and end of a lease that was packed, and whether it is counted under something.

    Raises:
        ValueError: these are not the octets of one lease.
    """
    try:
        address, _, state, _, expires, _, size, other, bits = _HEAD.unpack_from(data)
        end = _BEHIND + size
        if bits:
            end = _unpack(data, 0)[1]
        elif other != _IN_CLIENT:
            end += other
        if end != len(data):
            raise ValueError(f"a lease has {len(data)} octets instead of {end}")
        if state not in STATES:
            raise ValueError(f"a lease has state {state}, which doesn't exist")
    except (struct.error, KeyError, UnicodeError) as error:
        raise ValueError(f"these are not the octets of a lease: {error}") from None
    return address, data[_BEHIND : _BEHIND + size], state, expires, bool(bits & _IS_COUNTED)


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The address and the octets of each of the leases whose octets follow one another.

    Raises:
        ValueError: these are not the octets of leases.
    """
    for address, start, end in places(data):
        yield address, data[start:end]


def places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The address of each of the leases whose octets follow one another, and where these begin and end.

    Raises:
        ValueError: these are not the octets of leases.
    """
    at, length = 0, len(data)
    while at < length:
        try:
            address, _, state, _, _, _, size, other, bits = _HEAD.unpack_from(data, at)
            if bits:
                end = _unpack(data, at)[1]
            else:
                end = at + _BEHIND + size + (0 if other == _IN_CLIENT else other)
                STATES[state]
        except (struct.error, KeyError, UnicodeError) as error:
            raise ValueError(f"no lease at offset {at}: {error}") from None
        if end > length:
            raise ValueError("the last lease is cut short")
        yield address, at, end
        at = end


class PackedLeases:
    """Leases as octets, for whom a million objects are too dear. Iterated, it has leases.

    Args:
        octets: of each lease.
        where: from, in words.
    """

    def __init__(self, octets: Iterable[bytes], where: str) -> None:
        self.octets = octets
        self.where = where

    def __iter__(self) -> Iterator[Lease]:
        for data in self.octets:
            try:
                glance(data)
            except ValueError as error:
                raise self.damaged(error) from None
            yield unpack(data)

    def damaged(self, error: ValueError) -> StoreError:
        """What is raised where some are not what they should be."""
        return StoreError(f"{self.where}: is damaged: {error}")


def _unpack(data: bytes, at: int) -> tuple[Lease, int]:
    address, htype, state, starts, expires, last, size, other, bits = _HEAD.unpack_from(data, at)
    at += _BEHIND
    client = data[at : at + size]
    at += size
    if other == _IN_CLIENT:
        chaddr = client[1:]
    else:
        chaddr = data[at : at + other]
        at += other
    hostname = counted = relay_agent = nonce = None
    if bits & 1:
        start, at = at + 2, at + 2 + _LENGTH.unpack_from(data, at)[0]
        hostname = data[start:at].decode(errors="surrogatepass")
    if bits & 2:
        start, at = at + 2, at + 2 + _LENGTH.unpack_from(data, at)[0]
        counted = data[start:at].decode(errors="surrogatepass")
    if bits & 4:
        start, at = at + 2, at + 2 + _LENGTH.unpack_from(data, at)[0]
        relay_agent = data[start:at]
    if bits & 8:
        start, at = at + 2, at + 2 + _LENGTH.unpack_from(data, at)[0]
        nonce = data[start:at]
    lease = Lease(
        address,
        client,
        htype,
        chaddr,
        STATES[state],
        starts,
        expires,
        hostname,
        counted,
        relay_agent,
        last,
        nonce,
    )
    return lease, at
