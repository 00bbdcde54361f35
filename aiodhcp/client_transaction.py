"""One transaction of the client: a message, sent again until it is answered, and what came (RFC 2131 §4.1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any, Final, Literal, NamedTuple, Protocol

from aiodhcp.constants import MessageType, Op
from aiodhcp.describe import message_name
from aiodhcp.errors import AiodhcpError, DecodeError
from aiodhcp.options import definition
from aiodhcp.packet import MESSAGE_TYPE, Packet

__all__ = ["Event", "Link", "OnEvent", "Peer", "ProbeError", "Transaction", "opened"]

LONGEST_WAIT: Final = 64.0
"""Seconds: no longer than this between two tries (RFC 2131 §4.1)."""


class ProbeError(AiodhcpError):
    """The client has not got what it asked for: why, in words for an administrator.

    Attributes:
        packet: the server's refusal (NAK), where that is the reason.
    """

    def __init__(self, message: str, packet: Packet | None = None) -> None:
        super().__init__(message)
        self.packet = packet


class Peer(NamedTuple):
    """The other end of a message.

    Attributes:
        address: its IPv4 address.
        port: its UDP port.
        hardware: its Ethernet address as far as it is known, or that of the router before it.
    """

    address: IPv4Address
    port: int
    hardware: bytes = b""

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


class Link(Protocol):
    """A way to a server. ``InterfaceLink`` and ``RelayLink`` are the two there are."""

    trouble: str

    @property
    def hardware_address(self) -> bytes:
        """The client's Ethernet address."""

    @property
    def where(self) -> str:
        """For messages: where requests went."""

    @property
    def is_open(self) -> bool:
        """Whether it can send and receive."""

    async def open(self) -> None:
        """Open the sockets; raises ProbeError."""

    def stamp(self, packet: Packet) -> None:
        """Set the fields that depend on the link."""

    async def send(self, packet: Packet, server: IPv4Address | None = None) -> Peer:
        """Send to ``server`` if it can be told apart, else to whoever listens; raises ProbeError."""

    def claim(self, address: IPv4Address) -> None:
        """The client has an address: it can be sent to."""

    async def receive(self) -> tuple[bytes, Peer] | None:
        """Wait for a datagram; None for something else that happened."""

    async def close(self) -> None:
        """Close the sockets."""


class Event(NamedTuple):
    """A message of the exchange.

    Attributes:
        direction: "sent" or "received".
        packet: the message.
        peer: where it went, or came from.
        seconds: since the exchange began.
    """

    direction: Literal["sent", "received"]
    packet: Packet
    peer: Peer
    seconds: float


OnEvent = Callable[[Event], None]


class Transaction:
    """One transaction: its xid, its patience, and what was said."""

    def __init__(self, link: Link, timeout: float, retries: int, on_event: OnEvent | None) -> None:
        self.ignored = 0
        self._link = link
        self._timeout = timeout
        self._retries = retries
        self._on_event = on_event
        self._xid = random.getrandbits(32)
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._why_ignored = ""

    def message(self, kind: MessageType, options: Mapping[Any, Any], ciaddr: IPv4Address | None = None) -> Packet:
        """A message to a server. Options go by name or code; the last value of one counts, and None leaves it out.

        Raises:
            ProbeError: an option can't be sent.
        """
        packet = Packet(xid=self._xid, chaddr=self._link.hardware_address, ciaddr=int(ciaddr or 0))
        try:
            packet.options[MESSAGE_TYPE] = kind
            for code, value in {definition(option).code: value for option, value in options.items()}.items():
                if value is not None and code != MESSAGE_TYPE:
                    packet.options[code] = value
            packet.encode()
        except ValueError as error:
            raise ProbeError(str(error)) from error
        self._link.stamp(packet)
        return packet

    async def say(self, packet: Packet, server: IPv4Address | None = None) -> None:
        """Send a message."""
        seconds = self._clock() - self._began
        peer = await self._link.send(packet, server)
        if self._on_event is not None:
            self._on_event(Event("sent", Packet(packet.encode()), peer, seconds))

    async def ask(
        self, packet: Packet, wanted: tuple[MessageType, ...], server: IPv4Address | None = None, gather: float = 0.0
    ) -> tuple[list[Event], float]:
        """Send a message until something ``wanted`` comes (RFC 2131 §4.1): what came, and the seconds it took.

        Raises:
            ProbeError: nothing came.
        """
        began = self._clock()
        wait = self._timeout
        for _ in range(self._retries + 1):
            if packet.message_type != MessageType.REQUEST or packet.ciaddr:
                packet.secs = min(int(self._clock() - self._began), 0xFFFF)
            await self.say(packet, server)
            answers = await self._listen(wait + random.uniform(-1, 1) * self._timeout / 4, packet, wanted, gather)
            if answers:
                return answers, answers[0].seconds - (began - self._began)
            wait = min(2 * wait, max(LONGEST_WAIT, self._timeout))
        times = f"{self._retries + 1} times in {self._clock() - began:.1f} s" if self._retries else "once"
        raise ProbeError(
            f"no answer to {message_name(packet)}, sent {times} {self._link.where} for {packet.hardware_address}"
            + (f"; {self._link.trouble}" if self._link.trouble else "")
            + (f"; ignored {self.ignored}, the last for: {self._why_ignored}" if self.ignored else "")
        )

    async def _listen(
        self, seconds: float, asked: Packet, wanted: tuple[MessageType, ...], gather: float
    ) -> list[Event]:
        answers: list[Event] = []
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            event = await self._next(left)
            if event is None or event.packet.message_type not in wanted:
                continue
            flaw = _flaw(event.packet, asked)
            if flaw:
                self._ignore(flaw)
                continue
            if not answers:
                end = self._clock() + gather
            answers.append(event)
        return answers

    async def _next(self, seconds: float) -> Event | None:
        try:
            received = await asyncio.wait_for(self._link.receive(), seconds)
        except TimeoutError:
            return None
        return None if received is None else self._take(*received)

    def _take(self, data: bytes, peer: Peer) -> Event | None:
        """A datagram, if it is an answer to this client."""
        seconds = self._clock() - self._began
        try:
            packet = Packet(data)
        except DecodeError as error:
            self._ignore(str(error))
            return None
        if (packet.op, packet.xid, packet.chaddr) != (Op.BOOTREPLY, self._xid, self._link.hardware_address):
            return None
        event = Event("received", packet, peer, seconds)
        if self._on_event is not None:
            self._on_event(event)
        return event

    def _ignore(self, why: str) -> None:
        self.ignored += 1
        self._why_ignored = why


@asynccontextmanager
async def opened(link: Link) -> AsyncIterator[None]:
    """The link is open: for the moment, or as it was."""
    if link.is_open:
        yield
        return
    await link.open()
    try:
        yield
    finally:
        await link.close()


def _flaw(packet: Packet, asked: Packet) -> str:
    """Why an answer is of no use; empty if it is (RFC 2131 §4.3.1, table 3)."""
    name = message_name(packet)
    if packet.message_type == MessageType.NAK:
        return ""
    needed = ["server-identifier"]
    if asked.message_type != MessageType.INFORM:
        needed.append("lease-time")
        if not packet.yiaddr:
            return f"{name} without an address"
    try:
        missing = [option for option in needed if packet.options.get(option) is None]
    except DecodeError as error:
        return f"{name}: {error}"
    return f"{name} without {' and '.join(missing)}" if missing else ""
