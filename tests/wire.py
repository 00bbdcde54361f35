"""Client messages as octets, made and read without the code under test, and short conversations over a transport."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

from aiodhcp import Config, MemoryTransport, Parameters, Subnet

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)

SERVER = "192.0.2.1"
FIRST, LAST = "192.0.2.10", "192.0.2.99"
PATIENCE = 10.0
"""Seconds after which something that has to happen is said not to have happened."""

_FIXED = struct.Struct("!BBBBIHHIIII16s64s128s4s")
_COOKIE = bytes((99, 130, 83, 99))


def config(*, interface: str = "memory", offer_time: int = 60, lease_time: int = 3600) -> Config:
    """One subnet, 192.0.2.0/24, on ``interface``, with 90 addresses to give."""
    subnet = Subnet("192.0.2.0/24", pools=[f"{FIRST}-{LAST}"], interfaces=[interface])
    return Config(
        [subnet], Parameters(lease_time=lease_time), authoritative=True, server_id=SERVER, offer_time=offer_time
    )


def number_of(address: str | int) -> int:
    return int(IPv4Address(address))


def hardware(client: int) -> bytes:
    """The Ethernet address of a client, who is a number here."""
    return b"\x02\x00" + client.to_bytes(4, "big")


def message(
    kind: int,
    client: int,
    options: Iterable[tuple[int, bytes]] = (),
    *,
    xid: int = 0,
    ciaddr: str | int = 0,
    giaddr: str | int = 0,
) -> bytes:
    """A message of a client; its ``xid`` is its number where not said otherwise."""
    fixed = _FIXED.pack(
        1, 1, 6, 0, xid or client, 0, 0, number_of(ciaddr), 0, 0, number_of(giaddr), hardware(client), b"", b"", _COOKIE
    )
    octets = b"".join(bytes((code, len(value))) + value for code, value in [(53, bytes((kind,))), *options])
    return fixed + octets + b"\xff"


def _address(code: int, address: str | int) -> tuple[int, bytes]:
    return code, number_of(address).to_bytes(4, "big")


def discover(client: int, options: Iterable[tuple[int, bytes]] = ()) -> bytes:
    return message(DISCOVER, client, options)


def request(client: int, address: str | int, server: str = SERVER, options: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """SELECTING: takes an offer (RFC 2131 §4.3.2)."""
    return message(REQUEST, client, [_address(50, address), _address(54, server), *options])


def reboot(client: int, address: str | int) -> bytes:
    """INIT-REBOOT: asks whether the address is still its own."""
    return message(REQUEST, client, [_address(50, address)])


def renew(client: int, address: str | int) -> bytes:
    """RENEWING."""
    return message(REQUEST, client, ciaddr=address)


def release(client: int, address: str | int, server: str = SERVER) -> bytes:
    return message(RELEASE, client, [_address(54, server)], ciaddr=address)


def decline(client: int, address: str | int, server: str = SERVER) -> bytes:
    return message(DECLINE, client, [_address(50, address), _address(54, server)])


def inform(client: int, address: str | int) -> bytes:
    return message(INFORM, client, ciaddr=address)


class Reply(NamedTuple):
    """What a client reads of a reply."""

    kind: int
    client: int
    yiaddr: int
    options: dict[int, bytes]

    @property
    def address(self) -> str:
        return str(IPv4Address(self.yiaddr))


def read(data: bytes) -> Reply:
    fields = _FIXED.unpack_from(data)
    assert fields[0] == 2
    assert fields[14] == _COOKIE
    options: dict[int, bytes] = {}
    at = _FIXED.size
    while data[at] != 255:
        options[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return Reply(options[53][0], int.from_bytes(fields[11][2:6], "big"), fields[8], options)


async def answer(transport: MemoryTransport) -> Reply:
    """The next reply that the server sends."""
    return read((await transport.next_answer(PATIENCE)).data)


async def ask(transport: MemoryTransport, data: bytes) -> Reply:
    """One message and the reply to it."""
    transport.deliver(data)
    return await answer(transport)


async def lease(transport: MemoryTransport, client: int, options: Iterable[tuple[int, bytes]] = ()) -> str:
    """DISCOVER to ACK; the address."""
    options = list(options)
    offer = await ask(transport, discover(client, options))
    assert (offer.kind, offer.client) == (OFFER, client)
    ack = await ask(transport, request(client, offer.yiaddr, options=options))
    assert (ack.kind, ack.client, ack.yiaddr) == (ACK, client, offer.yiaddr)
    return ack.address


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - whatever it is, it has no event
            await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let the loop run for a while in which all that is ready gets done."""
    for _ in range(count):
        await asyncio.sleep(0)
