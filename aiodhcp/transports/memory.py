"""A network inside the process, for tests and embedders: datagrams are handed in, answers are collected."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence

from aiodhcp.constants import BROADCAST_ADDRESS, CLIENT_PORT
from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.transports import Receiver

__all__ = ["MemoryTransport"]


class MemoryTransport:
    """A transport without sockets: ``deliver`` is the network, ``sent`` is what the server said to it.

    Everything happens within the call: when ``deliver`` returns, the receiver has had the datagram. Not for use from
    another thread than the event loop's.

    Args:
        addresses: the IPv4 addresses of its one interface, the primary one first.
        name: what this interface is called.
        interfaces: instead of the two, several interfaces; the first is the one that ``deliver`` uses by itself.

    Attributes:
        sent: every answer, in the order sent. It is the caller's to read and to clear.
        send_errors: answers given to a transport that was not open; they are in no list.
    """

    def __init__(
        self,
        addresses: Iterable[str | int] = ("192.0.2.1",),
        name: str = "memory",
        *,
        interfaces: Sequence[Interface] = (),
    ) -> None:
        own = Interface(name, tuple(int(ipaddress.IPv4Address(address)) for address in addresses))
        self._interfaces = tuple(interfaces) or (own,)
        self._receiver: Receiver | None = None
        self._unseen: asyncio.Queue[Answer] = asyncio.Queue()
        self.sent: list[Answer] = []
        self.send_errors = 0

    @property
    def interfaces(self) -> Sequence[Interface]:
        """The interfaces served."""
        return self._interfaces

    async def open(self, receiver: Receiver) -> None:
        """Hand ``receiver`` from now on what is delivered. A closed transport may be opened again."""
        if self._receiver is not None:
            raise RuntimeError("this transport is open already")
        self._receiver = receiver

    def send(self, answers: Sequence[Answer]) -> None:
        """Collect each answer in ``sent``."""
        if self._receiver is None:
            self.send_errors += len(answers)
            return
        self.sent.extend(answers)
        for answer in answers:
            self._unseen.put_nowait(answer)

    async def close(self) -> None:
        """Take no more datagrams. What was sent can still be read."""
        self._receiver = None

    def deliver(
        self,
        data: bytes,
        *,
        source: int = 0,
        source_port: int = CLIENT_PORT,
        destination: int = BROADCAST_ADDRESS,
        interface: Interface | None = None,
    ) -> None:
        """Let one datagram arrive, by default as a client without an address sends it.

        Raises:
            RuntimeError: the transport is not open.
        """
        self.deliver_many([Datagram(data, interface or self._interfaces[0], source, source_port, destination)])

    def deliver_many(self, datagrams: Iterable[Datagram | bytes]) -> None:
        """Let several datagrams arrive in one batch; bytes alone arrive as ``deliver`` has it by default.

        Raises:
            RuntimeError: the transport is not open.
        """
        first = self._interfaces[0]
        self._open_receiver().datagrams_received(
            [
                item if isinstance(item, Datagram) else Datagram(item, first, destination=BROADCAST_ADDRESS)
                for item in datagrams
            ]
        )

    def deliver_error(self, error: Exception) -> None:
        """Let the network report an error.

        Raises:
            RuntimeError: the transport is not open.
        """
        self._open_receiver().error_received(error)

    async def next_answer(self, timeout: float = 1.0) -> Answer:  # noqa: ASYNC109
        """The next answer that this method has not returned before, waiting up to ``timeout`` seconds for it.

        Raises:
            TimeoutError: none came; says how many were sent before.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._unseen.get()
        except TimeoutError:
            raise TimeoutError(f"no answer within {timeout} s; {len(self.sent)} before it") from None

    def _open_receiver(self) -> Receiver:
        if self._receiver is None:
            raise RuntimeError("this transport is not open")
        return self._receiver
