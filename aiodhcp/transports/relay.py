"""Relay agents only, on any system, over aioudp (``pip install 'aiodhcp[aioudp]'``): each agent is a connection."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiodhcp.constants import SERVER_PORT
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.transports import Receiver
from aiodhcp.transports.sockets import SendErrors, address_number, all_addresses, explained

__all__ = ["RelayTransport"]

logger = logging.getLogger("aiodhcp.transports.relay")

CONNECTIONS_LIMIT = 4096
"""Senders remembered: aioudp keeps a task and a queue for each, and anybody can forge senders."""

_NOTHING = b"\0\0\0\0"
_CIADDR = slice(12, 16)
_GIADDR = slice(24, 28)


class RelayTransport:
    """Serves relay agents, and the clients behind them once they have an address.

    Answers go back over the connection that the request came by, to the address and port it was sent from: so they
    reach agents behind address translation, too. What is neither relayed (giaddr is 0) nor from a client with an
    address (ciaddr is 0; one that renews asks the server directly, RFC 2131 §4.3.2) is a broadcast on this machine's
    own network, which only the ethernet transport could answer: it is ignored, counted in ``not_relayed``, and logged
    once.

    ``Datagram.destination`` is ``host``, or 0 where that is "0.0.0.0". A packet costs what the event loop's datagrams
    cost, some 30 µs on asyncio's own loop and 4 on uvloop; on Linux the ethernet transport serves agents for less.

    Args:
        host: the IPv4 address to bind; "0.0.0.0" for all.
        port: the port to bind, not 0: aioudp does not tell which one the system picked.
        addresses: the IPv4 addresses of the interface named "relay"; by default ``host``, or the machine's addresses.

    Attributes:
        host: as given.
        port: as given.
        not_relayed: datagrams ignored, as said above.
        answers_only: it sends nothing to where nothing came from.
    """

    answers_only = True

    def __init__(self, host: str, port: int = SERVER_PORT, *, addresses: Iterable[str | int] | None = None) -> None:
        try:
            self._destination = int(ipaddress.IPv4Address(host))
        except ValueError:
            raise ConfigError(f"host {host!r}: expected an IPv4 address") from None
        if not 0 < port < 65536:
            raise ConfigError(f"port {port}: expected a number from 1 to 65535")
        self.host = host
        self.port = port
        self.not_relayed = 0
        self._addresses = (
            None if addresses is None else tuple(int(ipaddress.IPv4Address(address)) for address in addresses)
        )
        self._errors = SendErrors(logger)
        self._interface: Interface | None = None
        self._receiver: Receiver | None = None
        self._serving: AbstractAsyncContextManager[None] | None = None
        self._receiving: OrderedDict[asyncio.Task[Any] | None, None] = OrderedDict()  # the longest silent one first
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def interfaces(self) -> Sequence[Interface]:
        """One interface named "relay"; none before ``open``."""
        return () if self._interface is None else (self._interface,)

    @property
    def send_errors(self) -> int:
        """Answers that could not be sent; each kind of error is logged once."""
        return self._errors.count

    async def open(self, receiver: Receiver) -> None:
        """Bind the port and hand ``receiver`` what relay agents send.

        Raises:
            ConfigError: aioudp is not installed.
            OSError: the port is taken or needs a privilege, or the address isn't this machine's.
        """
        if self._serving is not None:
            raise RuntimeError("this transport is open already")
        try:
            import aioudp
        except ImportError:
            raise ConfigError("the relay transport needs aioudp: pip install 'aiodhcp[aioudp]'") from None
        addresses = self._addresses
        if addresses is None:
            addresses = (self._destination,) if self._destination else all_addresses()
        serving = aioudp.serve(self.host, self.port, self._receive, family=socket.AF_INET)
        self._interface = Interface("relay", addresses)
        self._receiver = receiver
        try:
            await serving.__aenter__()
        except OSError as error:
            self._interface = self._receiver = None
            raise explained(error, f"UDP port {self.port} of {self.host}") from error
        self._serving = serving

    def send(self, answers: Sequence[Answer]) -> None:
        """Send each answer, soon, to where its request came from."""
        if self._serving is None:
            for _ in answers:
                self._errors.note("relay", OSError(errno.ENOTCONN, "the transport is closed"))
            return
        task = asyncio.get_running_loop().create_task(self._send(list(answers)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, answers: list[Answer]) -> None:
        for answer in answers:
            try:
                await answer.request.via.send(answer.data)
            except OSError as error:
                self._errors.note("relay", error)
            except Exception as error:  # aioudp: the connection is closed; or a request that was never received here
                self._errors.note("relay", OSError(errno.ENOTCONN, f"{type(error).__name__}: {error}"))

    async def close(self) -> None:
        """Send what waits, and close the port. May be called twice."""
        serving, self._serving = self._serving, None
        self._receiver = None
        if serving is None:
            return
        await asyncio.gather(*self._sending, return_exceptions=True)
        receiving = [task for task in self._receiving if task is not None]
        for task in receiving:
            task.cancel()
        await asyncio.gather(*receiving, return_exceptions=True)
        await serving.__aexit__(None, None, None)
        await asyncio.sleep(0)  # the event loop closes the socket in its next turn

    async def _receive(self, connection: Any) -> None:
        """Hand on what one sender sends; aioudp runs this as a task for each."""
        task = asyncio.current_task()
        receiving = self._receiving
        receiving[task] = None
        if len(receiving) > CONNECTIONS_LIMIT:
            silent, _ = receiving.popitem(last=False)
            if silent is not None:
                silent.cancel()  # its next datagram opens a new connection
        address, port = _sender(connection)
        try:
            async for data in connection:
                if task in receiving:
                    receiving.move_to_end(task)
                self._received(data, address, port, connection)
        finally:
            receiving.pop(task, None)

    def _received(self, data: bytes, address: int, port: int, connection: Any) -> None:
        if self._receiver is None or self._interface is None:
            return
        if data[_GIADDR] == _NOTHING == data[_CIADDR]:
            self.not_relayed += 1
            if self.not_relayed == 1:
                logger.warning(
                    "port %d: ignored a message that no relay agent sent, from %s (told once, counted in not_relayed)",
                    self.port,
                    ipaddress.IPv4Address(address),
                )
            return
        self._receiver.datagrams_received(
            [Datagram(data, self._interface, address, port, self._destination, connection)]
        )


def _sender(connection: Any) -> tuple[int, int]:
    """The sender's address and port: aioudp 2.0's ``remote_address`` is None at a server, whose socket has no peer."""
    sender = connection.remote_address or getattr(connection.send_func, "keywords", {}).get("addr")
    return (address_number(sender[0]), sender[1]) if sender else (0, 0)
