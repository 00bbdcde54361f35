"""DhcpProtocol: the seam between network and server, an ``asyncio.DatagramProtocol``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address
from typing import Any, cast

from aiodhcp.constants import SERVER_PORT
from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.transports.sockets import address_number, target

__all__ = ["DhcpProtocol"]


class DhcpProtocol(asyncio.DatagramProtocol):
    """Takes datagrams from any asyncio transport one by one, and from ours in whole batches. A server makes it.

    What came one by one is answered through the transport it came from.
    """

    def __init__(
        self,
        received: Callable[[Sequence[Datagram]], None],
        error: Callable[[Exception], None],
        open_protocols: dict[Interface, DhcpProtocol] | None,
        name: str = "protocol",
        addresses: Iterable[str] = (),
    ) -> None:
        self._received = received
        self._error = error
        self._open_protocols = open_protocols
        self._transport: asyncio.DatagramTransport | None = None
        self._port = SERVER_PORT
        self.interface = Interface(name, tuple(int(IPv4Address(address)) for address in addresses))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is open: from now on its datagrams are answered through it."""
        # Not everything that is one says so: asyncio's own do since Python 3.12 only.
        self._transport = cast(asyncio.DatagramTransport, transport)
        host, self._port = (transport.get_extra_info("sockname") or ("0.0.0.0", SERVER_PORT))[:2]
        if not self.interface.addresses and address_number(host):
            self.interface = Interface(self.interface.name, (address_number(host),))
        if self._open_protocols is not None:
            self._open_protocols[self.interface] = self

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self._transport = None
        if self._open_protocols is not None:
            self._open_protocols.pop(self.interface, None)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """One datagram, from any asyncio transport."""
        self._received((Datagram(data, self.interface, address_number(addr[0]), addr[1], via=self),))

    def datagrams_received(self, datagrams: Sequence[Datagram]) -> None:
        """A batch, from a transport of ours."""
        self._received(datagrams)

    def error_received(self, error: Exception) -> None:
        """The network reports an error."""
        self._error(error)

    def send(self, answer: Answer) -> None:
        """Send an answer to what came one by one."""
        if self._transport is not None:
            self._transport.sendto(answer.data, target(answer, self._port))
