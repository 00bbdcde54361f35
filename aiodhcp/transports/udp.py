"""One UDP socket: the portable transport, for tests, containers, other systems than Linux and unprivileged use."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import sys
from collections.abc import Iterable, Sequence

from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.transports import Receiver
from aiodhcp.transports.sockets import (
    BATCH,
    NONE,
    RECEIVE_SIZE,
    Outbox,
    SendErrors,
    address_number,
    all_addresses,
    enlarge_receive_buffer,
    explained,
    target,
)

__all__ = ["UdpTransport"]

logger = logging.getLogger("aiodhcp.transports.udp")


class UdpTransport:
    """Serves one UDP port of one address.

    Where answers go depends on the port:

    - On port 67 they go where RFC 2131 §4.1 says: to ``Answer.destination`` and ``Answer.port``. An answer for a client
      that has no address yet (``Answer.hardware`` is set) is broadcast, as §4.1 allows where unicast isn't possible,
      and leaves where the system sends broadcasts: with several interfaces, use the ethernet transport.
    - On any other port (tests, containers, relays behind a port forwarding) they go back to the address and port that
      the request came from; to a client without an address (0.0.0.0), as a broadcast to the port it sent from.

    The socket can't tell where a datagram was sent to, so ``Datagram.destination`` is 0 — unless ``host`` is a single
    address, which only unicast reaches (not so on Windows): then it is this address.

    Args:
        host: the address to bind; "0.0.0.0" for all of them.
        port: the port to bind; 0 picks a free one, which ``port`` tells after ``open``.
        addresses: the IPv4 addresses of the interface named "udp"; by default ``host``, or the machine's addresses.

    Attributes:
        host: as given.
        port: as given; the bound one while open.
        receive_errors: errors that the socket reported while receiving.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 6767, *, addresses: Iterable[str | int] | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.receive_errors = 0
        self._addresses = (
            None if addresses is None else tuple(int(ipaddress.IPv4Address(address)) for address in addresses)
        )
        self._errors = SendErrors(logger)
        self._interface: Interface | None = None
        self._destination = 0
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: Outbox | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def interfaces(self) -> Sequence[Interface]:
        """One interface named "udp"; none before ``open``."""
        return () if self._interface is None else (self._interface,)

    @property
    def send_errors(self) -> int:
        """Answers that could not be sent; each kind of error is logged once."""
        return self._errors.count

    async def open(self, receiver: Receiver) -> None:
        """Bind the socket and hand ``receiver`` what arrives.

        Raises:
            ConfigError: ``host`` is no IPv4 address and no name of one.
            OSError: the port is taken or needs a privilege, or the address isn't this machine's.
        """
        if self._receiver is not None:
            raise RuntimeError("this transport is open already")
        loop = asyncio.get_running_loop()
        host = await self._resolve(loop)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            enlarge_receive_buffer(sock)
            try:
                sock.bind((host, self.port))
            except OSError as error:
                raise explained(error, f"UDP port {self.port} of {self.host}") from error
            any_address = address_number(host) == 0
            addresses = self._addresses
            if addresses is None:
                addresses = all_addresses() if any_address else (address_number(host),)
            self._interface = Interface("udp", addresses)
            self._destination = 0 if any_address or sys.platform == "win32" else address_number(host)
            self.port = sock.getsockname()[1]
            self._loop, self._receiver = loop, receiver
            self._outbox = Outbox(loop, sock, "udp", self._errors)
            try:
                loop.add_reader(sock, self._drain)
            except NotImplementedError:  # Windows' proactor loop
                self._reading = loop.create_task(self._read(loop, sock), name="aiodhcp udp")
        except BaseException:
            self._receiver = self._interface = self._outbox = None
            sock.close()
            raise

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> str:
        try:
            return str(ipaddress.IPv4Address(self.host))
        except ValueError:  # a name
            pass
        try:
            found = await loop.getaddrinfo(self.host, self.port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise ConfigError(f"host {self.host!r}: expected an IPv4 address, or a name of one: {error}") from error
        return str(found[0][4][0])

    def send(self, answers: Sequence[Answer]) -> None:
        """Send each answer: where to is explained at the class."""
        outbox = self._outbox
        if outbox is None:
            for _ in answers:
                self._errors.note("udp", OSError(errno.ENOTCONN, "the transport is closed"))
            return
        for answer in answers:
            outbox.send(NONE, outbox.sock.sendto, answer.data, target(answer, self.port))

    async def close(self) -> None:
        """Close the socket. May be called twice."""
        outbox, self._outbox = self._outbox, None
        self._receiver = None
        if outbox is None:
            return
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait((reading,))
        elif self._loop is not None:
            self._loop.remove_reader(outbox.sock)
        outbox.close()

    def _drain(self) -> None:
        outbox, receiver, interface = self._outbox, self._receiver, self._interface
        if outbox is None or receiver is None or interface is None:
            return
        recvfrom, number, destination = outbox.sock.recvfrom, address_number, self._destination
        batch: list[Datagram] = []
        failure: OSError | None = None
        try:
            for _ in range(BATCH):
                data, (address, port) = recvfrom(RECEIVE_SIZE)
                batch.append(Datagram(data, interface, number(address), port, destination))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:  # as a rule, Windows': an answer before this was refused
            failure = error
        if batch:
            receiver.datagrams_received(batch)
        if failure is not None:
            self._error_received(failure)

    async def _read(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """The way in where the event loop can't watch a socket.

        Not by a DatagramTransport: that of Python 3.11 on Windows ends with the first datagram that is too long, and
        with the first answer that was refused.
        """
        while True:
            try:
                data, address = await loop.sock_recvfrom(sock, RECEIVE_SIZE)
            except OSError as error:
                loop.call_soon(self._error_received, error)
            else:
                loop.call_soon(self._datagram_received, data, address)
            await asyncio.sleep(0)  # what waits already is had without the loop

    def _datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self._receiver is not None and self._interface is not None:
            datagram = Datagram(data, self._interface, address_number(address[0]), address[1], self._destination)
            self._receiver.datagrams_received([datagram])

    def _error_received(self, error: Exception) -> None:
        self.receive_errors += 1
        if self._receiver is not None:
            self._receiver.error_received(error)
