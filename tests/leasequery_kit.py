"""A requestor that asks by TCP, with a message and its framing as octets made without the code under test."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterable
from typing import NamedTuple

from wire import PATIENCE, number_of

from aiodhcp import Config, DhcpServer, Leasequery, Parameters, Subnet

ACTIVE, UNASSIGNED, BULK, DONE, ACTIVE_QUERY, STATUS, TLS = 13, 11, 14, 15, 16, 17, 18
_FIXED = struct.Struct("!BBBBIHHIIII16s64s128s4s")
_COOKIE = bytes((99, 130, 83, 99))
LOCAL = "127.0.0.1"


def config(*requestors: str, pool: str = "192.0.2.10-192.0.2.99", **more: object) -> Config:
    """Like ``wire.config``, on a TCP port of loopback."""
    settings = Leasequery(requestors or (LOCAL,), [LOCAL], **{"port": 0, **more})
    subnet = Subnet("192.0.2.0/24", pools=[pool], interfaces=["memory"])
    return Config([subnet], Parameters(lease_time=3600), server_id="192.0.2.1", leasequery=settings)


def query(
    kind: int,
    options: Iterable[tuple[int, bytes]] = (),
    *,
    xid: int = 1,
    address: str | int = 0,
    mac: bytes = b"",
    op: int = 1,
    hlen: int | None = None,
) -> bytes:
    """A message, without its framing."""
    hlen = len(mac) if hlen is None else hlen
    fixed = _FIXED.pack(op, 1 if mac else 0, hlen, 0, xid, 0, 0, number_of(address), 0, 0, 0, mac, b"", b"", _COOKIE)
    octets = b"".join(bytes((code, len(value))) + value for code, value in [(53, bytes((kind,))), *options])
    return fixed + octets + b"\xff"


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def time(second: float) -> bytes:
    return int(second).to_bytes(4)


class Told(NamedTuple):
    """What the server says."""

    kind: int
    xid: int
    ciaddr: int
    chaddr: bytes
    options: dict[int, bytes]

    @property
    def status(self) -> int:
        return self.options[151][0] if 151 in self.options else 0

    @property
    def state(self) -> int:
        return self.options[156][0]

    def number(self, code: int) -> int:
        value = self.options[code]
        assert len(value) == 4
        return int.from_bytes(value)


def read(data: bytes) -> Told:
    fields = _FIXED.unpack_from(data)
    assert (fields[0], fields[14]) == (2, _COOKIE)
    options: dict[int, bytes] = {}
    at = _FIXED.size
    while data[at] != 255:
        code, end = data[at], at + 2 + data[at + 1]
        options[code] = options.get(code, b"") + data[at + 2 : end]
        at = end
    return Told(options[53][0], fields[4], fields[7], fields[11][: fields[2]], options)


class Requestor:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, server: DhcpServer, source: str = LOCAL, *, reads: bool = True) -> Requestor:
        """Connect; where it is not to read, the system takes little in its place."""
        sock = socket.socket()
        sock.setblocking(False)
        if not reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, server.leasequery_addresses[0])
        requestor = cls(*await asyncio.open_connection(sock=sock))
        if not reads:
            requestor.writer.transport.pause_reading()
        return requestor

    async def __aenter__(self) -> Requestor:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass

    def send(self, *queries: bytes) -> None:
        self.writer.write(b"".join(framed(each) for each in queries))

    async def hear(self) -> Told:
        async with asyncio.timeout(PATIENCE):
            length = int.from_bytes(await self.reader.readexactly(2))
            return read(await self.reader.readexactly(length))

    async def ask(self, data: bytes) -> list[Told]:
        """All that is told until there is a status."""
        self.send(data)
        told = [await self.hear()]
        while told[-1].kind in (ACTIVE, UNASSIGNED):
            told.append(await self.hear())
        return told

    async def is_over(self) -> bool:
        """Whether the server has closed the connection, and said nothing more."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def begin_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context, server_hostname="dhcp.example")
