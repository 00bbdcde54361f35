"""What a client under test gets: a Reply, which is false when there is none, and a Dora, a lease from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address

from aiodhcp.constants import DropReason, MessageType, message_name
from aiodhcp.exchange import Answer, Exchange
from aiodhcp.explanation import Fact
from aiodhcp.options import Options
from aiodhcp.packet import Packet

__all__ = ["Dora", "HookFailed", "NoReply", "Reply"]

LEASE_TIME, SERVER_ID = 51, 54


class NoReply(AssertionError):
    """There is no reply, or not the one that was asked for. Says what became of the message, and why."""


class HookFailed(AssertionError):
    """A hook raised, took too long, or returned what means nothing there. What it raised is the ``__cause__``.

    Attributes:
        plugin, hook: whose fault it is.
        what: what happened, in words.
    """

    def __init__(self, plugin: str, hook: str, what: str, where: str) -> None:
        super().__init__(f"plugin {plugin}: {hook} {what} ({where})")
        self.plugin = plugin
        self.hook = hook
        self.what = what


class Reply:
    """What a client gets for a message. False where there is no reply; ``why`` then says why.

    Args:
        request: what the client sent.
        exchange: what it came to in the server.

    Attributes:
        request: what the client sent.
        exchange: the message's way through the server: subnet, classes, lease before and after, ...
    """

    def __init__(self, request: Packet, exchange: Exchange) -> None:
        self.request = request
        self.exchange = exchange

    def __bool__(self) -> bool:
        return self.exchange.answer is not None

    def __repr__(self) -> str:
        sent = _name(self.request)
        if not self:
            return f"<no reply to {sent} of {self.request.hardware_address}: {self.why}>"
        address = f" {self.address}" if self.packet.yiaddr else ""
        return f"<{_name(self.packet)}{address} to {sent} of {self.request.hardware_address}>"

    @property
    def why(self) -> str:
        """Why there is no reply, or why it is a NAK, in words; empty for any other."""
        if not self:
            return self.exchange.why or "nothing is said to that"
        return str(self.options.get("message", "")) if self.is_nak else ""

    @property
    def reason(self) -> DropReason | None:
        """The code of the reason for which the message was dropped; None if it was not, or was vetoed without one."""
        return self.exchange.reason

    def explain(self) -> Sequence[Fact]:
        """How the server came to that, decision by decision."""
        return self.exchange.explain()

    # ── the reply. Each of these raises NoReply where there is none. ──────────────────────────────────────────────

    @property
    def answer(self) -> Answer:
        """The reply as it left, and where to."""
        answer = self.exchange.answer
        if answer is None:
            sent = f"{_name(self.request)} of {self.request.hardware_address}"
            raise NoReply(f"there is no reply to the {sent}: {self.why}")
        return answer

    @cached_property
    def packet(self) -> Packet:
        """The reply, decoded from the octets that left."""
        packet = Packet(self.answer.data)
        packet.options.definitions = self.exchange.config.definitions
        return packet

    @property
    def options(self) -> Options:
        """Its options by name or code, typed: ``reply.options["routers"]``, ``reply.options.get("host-name")``."""
        return self.packet.options

    @property
    def type(self) -> MessageType | int | None:
        """Which message it is, as a number where RFC 2132 doesn't know it; None for a BOOTP reply."""
        return self.packet.message_type

    @property
    def is_offer(self) -> bool:
        """Whether there is a reply, and it is an OFFER."""
        return bool(self) and self.type == MessageType.OFFER

    @property
    def is_ack(self) -> bool:
        """Whether there is a reply, and it is an ACK."""
        return bool(self) and self.type == MessageType.ACK

    @property
    def is_nak(self) -> bool:
        """Whether there is a reply, and it is a NAK."""
        return bool(self) and self.type == MessageType.NAK

    @property
    def address(self) -> IPv4Address:
        """The address that it offers or gives (``yiaddr``); 0.0.0.0 for none."""
        return IPv4Address(self.packet.yiaddr)

    @property
    def lease_time(self) -> int:
        """For how long, in seconds; 4294967295 for ever, 0 where it doesn't say."""
        return int(self.options.get(LEASE_TIME, 0))

    @property
    def server(self) -> IPv4Address:
        """Who says so (option 54); 0.0.0.0 where it doesn't say."""
        return IPv4Address(self.options.get(SERVER_ID, 0))

    @property
    def destination(self) -> IPv4Address:
        """Where it was sent to."""
        return IPv4Address(self.answer.destination)


@dataclass(frozen=True, slots=True)
class Dora:
    """A lease from scratch: DISCOVER, OFFER, REQUEST, ACK.

    Attributes:
        offer: the OFFER; the ACK where the server made two messages of the four (RFC 4039).
        ack: the ACK.
    """

    offer: Reply
    ack: Reply

    @property
    def address(self) -> IPv4Address:
        """The address that the client has now."""
        return self.ack.address

    @property
    def lease_time(self) -> int:
        """For how long, in seconds; 4294967295 for ever, 0 where the ACK doesn't say."""
        return self.ack.lease_time

    @property
    def options(self) -> Options:
        """What the client is told: the options of the ACK, by name or code."""
        return self.ack.options


def _name(packet: Packet) -> str:
    kind = packet.message_type
    return message_name(0 if kind is None else int(kind))
