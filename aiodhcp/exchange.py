"""One request's way through the server: the Datagram that came, all that is known of it, the Answer that leaves."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiodhcp.constants import AddressKind, AddressProblem, DropReason, MessageType, Op
from aiodhcp.errors import DecodeError
from aiodhcp.leases import Lease
from aiodhcp.packet import Packet
from aiodhcp.subnets import Pool, Reservation, Subnet

if TYPE_CHECKING:
    from aiodhcp.hooks import Implementation

__all__ = ["Answer", "Datagram", "Drop", "Exchange", "Interface"]


NO_CLASSES: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """A place where datagrams arrive. Compared by identity: a transport makes one of each.

    Attributes:
        name: as the system calls it ("eth0"), or as the transport does ("udp", "relay").
        addresses: its IPv4 addresses as integers, the primary one first; may be empty.
        index: the system's number of it; 0 where there is none.
    """

    name: str
    addresses: tuple[int, ...] = ()
    index: int = 0


class Datagram(NamedTuple):
    """A DHCP message as it arrived.

    Attributes:
        data: the UDP payload.
        interface: where it arrived.
        source: the sender's IPv4 address as an integer; 0 for a client that has none.
        source_port: the sender's UDP port.
        destination: the IPv4 address it was sent to, 0xffffffff for broadcast, 0 where the transport can't know.
        via: the transport's own: what it needs to answer this one. Nobody else looks inside.
    """

    data: bytes
    interface: Interface
    source: int = 0
    source_port: int = 68
    destination: int = 0
    via: Any = None


class Answer(NamedTuple):
    """A DHCP message to send, and where to (RFC 2131 §4.1).

    Attributes:
        data: the UDP payload.
        request: the datagram it answers; its ``interface`` is where the answer leaves.
        destination: an IPv4 address as an integer; 0xffffffff for broadcast.
        port: 67 towards a relay agent, 68 towards a client.
        hardware: where not None, the client's 6-octet Ethernet address: the frame goes there without
            asking ARP, because the client does not own ``destination`` yet.
        source: the server's IPv4 address to send from; 0 leaves the choice to the transport.
    """

    data: bytes
    request: Datagram
    destination: int
    port: int
    hardware: bytes | None = None
    source: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """The verdict of a ``dhcp_new_pkt`` that vetoes a packet: it is not answered.

    Attributes:
        why: a few words for the log.
    """

    why: str = ""


class Exchange:
    """One request's way through the server, and what is known of it so far.

    Attributes:
        datagram: what arrived, and where.
        now: when, in seconds since 1970.
        op, htype, xid, flags, ciaddr, giaddr: fields of the request as integers; ``chaddr`` as ``hlen`` octets.
        received: the request's options, code to octets. ``packet.options`` has them typed.
        message_type: option 53; 0 for a BOOTP message.
        client: what identifies the client: option 61, or else htype and chaddr (RFC 2131 §2, §4.2).
        classes: names of the classes the client is in; a hook may add some until the packet is decided.
        subnet, pool, reservation: what was chosen for the client, None until it was, or where there is none.
        server_id: the server identifier of the reply, as an integer.
        lease_before: the client's lease in the subnet before this packet.
        lease_after: its lease by this packet.
        changes: leases to be committed before the reply may leave.
        reply_type: OFFER, ACK or NAK; 0 when there is no reply.
        yiaddr, lease_time: what the reply says, as integers; 0 when it doesn't.
        problem, problem_address: what ``dhcp_address_del`` is told.
        kind: what ``dhcp_address_offer`` is told.
        reason, why: why it was dropped, as a code and in words; None and empty when it was not. A packet that a
            plugin vetoed has no reason, but words.
        vetoed: whether a plugin vetoed it.
        answer: the reply as it leaves.
        pending: what has to be awaited before the next step; only when there are ``async`` hooks.
    """

    __slots__ = (
        "_classes",
        "_contexts",
        "_packet",
        "_reply",
        "answer",
        "chaddr",
        "changes",
        "ciaddr",
        "client",
        "datagram",
        "finished",
        "flags",
        "giaddr",
        "htype",
        "kind",
        "later",
        "lease_after",
        "lease_before",
        "lease_time",
        "message_type",
        "now",
        "op",
        "pending",
        "plugin",
        "pool",
        "problem",
        "problem_address",
        "reason",
        "received",
        "reply_data",
        "reply_type",
        "reservation",
        "server_id",
        "subnet",
        "vetoed",
        "why",
        "xid",
        "yiaddr",
    )

    def __init__(self, datagram: Datagram, now: float) -> None:
        self.datagram = datagram
        self.now = now
        self.op = self.htype = self.xid = self.flags = self.ciaddr = self.giaddr = 0
        self.chaddr = self.client = b""
        self.received: dict[int, bytes] = {}
        self.message_type = 0
        self._classes: set[str] | None = None
        self.subnet: Subnet | None = None
        self.pool: Pool | None = None
        self.reservation: Reservation | None = None
        self.server_id = 0
        self.lease_before: Lease | None = None
        self.lease_after: Lease | None = None
        self.changes: list[Lease] | None = None
        self.reply_type = self.yiaddr = self.lease_time = 0
        self.reply_data = b""
        self.problem: AddressProblem | None = None
        self.problem_address = 0
        self.kind: AddressKind | None = None
        self.reason: DropReason | None = None
        self.why = ""
        self.vetoed = self.finished = False
        self.answer: Answer | None = None
        self.pending: Awaitable[None] | None = None
        self.later: list[Awaitable[None]] | None = None
        self.plugin: Implementation | None = None
        self._packet: Packet | None = None
        self._reply: Packet | None = None
        self._contexts: dict[str, Any] | None = None

    @property
    def packet(self) -> Packet | None:
        """The request, decoded when first asked for; None when it can't be. A plugin may put another in its place."""
        if self._packet is None:
            try:
                self._packet = Packet(self.datagram.data)
            except DecodeError:
                return None
        return self._packet

    @packet.setter
    def packet(self, packet: Packet) -> None:
        self._packet = packet

    @property
    def edited(self) -> Packet | None:
        """The request, if a plugin changed or replaced it."""
        packet = self._packet
        return packet if packet is not None and (packet.changed or packet.raw != self.datagram.data) else None

    @property
    def reply(self) -> Packet | None:
        """The reply, decoded when first asked for; None while there is none. A plugin may put another in its place."""
        if self._reply is None and self.reply_data:
            self._reply = Packet(self.reply_data)
        return self._reply

    @reply.setter
    def reply(self, reply: Packet) -> None:
        self._reply = reply

    @property
    def edited_reply(self) -> Packet | None:
        """The reply, if a plugin changed or replaced it."""
        reply = self._reply
        return reply if reply is not None and (reply.changed or reply.raw != self.reply_data) else None

    @property
    def classes(self) -> set[str]:
        """Names of the classes the client is in; a hook may add some until the packet is decided."""
        if self._classes is None:
            self._classes = set()
        return self._classes

    @property
    def class_names(self) -> frozenset[str]:
        """The same, to look things up with."""
        return frozenset(self._classes) if self._classes else NO_CLASSES

    @property
    def context(self) -> Any:
        """Whatever the plugin being called kept here for this packet; None at first. Each plugin has its own."""
        return None if self._contexts is None else self._contexts.get(self._plugin_name())

    @context.setter
    def context(self, value: Any) -> None:
        if self._contexts is None:
            self._contexts = {}
        self._contexts[self._plugin_name()] = value

    def _plugin_name(self) -> str:
        return "" if self.plugin is None else self.plugin.plugin

    @property
    def interface(self) -> Interface:
        """Where the request arrived."""
        return self.datagram.interface

    @property
    def address(self) -> IPv4Address | None:
        """The address the client is told, or asked about, for people."""
        address = self.yiaddr or self.problem_address or self.ciaddr
        return IPv4Address(address) if address else None

    @property
    def hardware_address(self) -> str:
        """``chaddr`` for people: ``"02:00:00:00:00:01"``."""
        return self.chaddr.hex(":")

    @property
    def dropped(self) -> bool:
        """Whether it goes no further."""
        return self.reason is not None or self.vetoed

    def drop(self, reason: DropReason, why: str) -> None:
        """It goes no further, and this is why. What it was to come to is not told to anybody."""
        self.reason, self.why = reason, why
        self.reply_type = self.yiaddr = self.lease_time = 0
        self.changes = self.kind = self.problem = self.answer = None

    def __repr__(self) -> str:
        kind = MessageType(self.message_type).name if 1 <= self.message_type <= 8 else f"type {self.message_type}"
        if self.op == Op.BOOTREPLY:
            kind = "reply " + kind
        outcome = MessageType(self.reply_type).name if self.reply_type else self.why or "no reply"
        return (
            f"<Exchange {kind} xid={self.xid:08x} chaddr={self.hardware_address} on {self.interface.name}: {outcome}>"
        )
