"""One request's way through the server: the Datagram that came, all that is known of it, the Answer that leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiodhcp.constants import BROADCAST_ADDRESS, AddressKind, AddressProblem, ClientType, DropReason, Op, message_name
from aiodhcp.errors import DecodeError
from aiodhcp.explanation import Fact, explain
from aiodhcp.leases import Lease
from aiodhcp.packet import MESSAGE_TYPE, Packet
from aiodhcp.relays import sub_options
from aiodhcp.subnets import Pool, Reservation, Subnet

if TYPE_CHECKING:
    from aiodhcp.engine import Engine
    from aiodhcp.implementations import Implementation
    from aiodhcp.subnets import Config

__all__ = ["Answer", "Datagram", "Exchange", "HookNote", "Interface"]


# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_DHCP: Final = ClientType.DHCP
_BOOTP: Final = ClientType.BOOTP
CLIENT_ID, RELAY_AGENT_INFORMATION = 61, 82
CALLED: Final[ContextVar[Implementation | None]] = ContextVar("aiodhcp plugin", default=None)
"""Whose ``async`` hook runs: it may go on, cleaning up, when the next plugin is called already."""
NO_CLASSES: Final[frozenset[str]] = frozenset()
_NOTHING_SAID: Final[tuple[bytes, dict[int, bytes]]] = (b"", {})


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


class HookNote(NamedTuple):
    """One call of a hook, as ``exchange.trace`` has it.

    Attributes:
        plugin, hook: who was called, and where.
        said: the answer as Python writes it, or what went wrong; empty for None.
        seconds: that it took.
    """

    plugin: str
    hook: str
    said: str
    seconds: float


class Exchange:
    """One request's way through the server, and what is known of it so far.

    Attributes:
        datagram: what arrived, and where.
        now: when, in seconds since 1970.
        op, htype, xid, secs, flags, ciaddr, giaddr: fields of the request as integers; ``chaddr`` as ``hlen`` octets.
        received: the request's options, code to octets. ``packet.options`` has them typed.
        message_type: option 53; 0 for a BOOTP message.
        client: what identifies the client: option 61, or else htype and chaddr (RFC 2131 §2, §4.2). Of a
            LEASEQUERY it is who asks, in octets of our own.
        classes: names of the classes the client is in; a hook may add some until the packet is decided.
        subnet, pool, reservation: what was chosen for the client, None until it was, or where there is none.
        server_id: the server identifier of the reply, as an integer.
        lease_before: the client's lease in the subnet before this packet.
        lease_after: its lease by this packet.
        changes: leases to be committed before the reply may leave.
        address_from: how ``yiaddr`` was found, in words.
        lease_time_from: why the lease time is not what it would be, in words; empty where it is.
        refusal: a plugin's words for the client that it refuses; empty where none does.
        reply_type: OFFER, ACK or NAK, ``BOOTP_REPLY`` for a BOOTP client, LEASEACTIVE and its like; 0 when there is no
            reply.
        yiaddr, lease_time: what the reply says, as integers; 0 when it doesn't.
        hostname: what the client is called from now on; empty where nothing is made of what it says.
        fqdn: option 81 of the reply; empty without.
        left_out: codes of the options that the reply has no room for.
        force_renew: option 145 or 90 of the reply as it is sent (RFC 6704); empty for neither.
        problem, problem_address: what ``dhcp_address_del`` is told.
        kind: what ``dhcp_address_offer`` is told.
        reason, why: why it was dropped, as a code and in words; None and empty when it was not. A packet that a
            plugin vetoed has no reason, but words.
        vetoed: whether a plugin vetoed it.
        probe: an address to ask for on the network before it is offered; 0 for none.
        conflicts: how many addresses were found in use by that.
        delay: seconds after which the reply leaves.
        trace: what each hook said and how long it took, in order; None unless that is recorded.
        answer: the reply as it leaves.
        pending: what has to be awaited before the next step; only when there are ``async`` hooks.
    """

    engine: Engine
    """The engine that it arrived at, and is to be decided and answered by."""

    __slots__ = (
        "_contexts",
        "_packet",
        "_relay_agent",
        "_reply",
        "address_from",
        "answer",
        "chaddr",
        "changes",
        "ciaddr",
        "classified",
        "client",
        "conflicts",
        "datagram",
        "delay",
        "engine",
        "finished",
        "flags",
        "force_renew",
        "fqdn",
        "giaddr",
        "hostname",
        "htype",
        "joined",
        "kind",
        "late_classes",
        "later",
        "lease_after",
        "lease_before",
        "lease_time",
        "lease_time_from",
        "left_out",
        "looked_up",
        "message_type",
        "now",
        "op",
        "pending",
        "placed",
        "plugin",
        "pool",
        "probe",
        "problem",
        "problem_address",
        "reason",
        "received",
        "refusal",
        "reply_data",
        "reply_type",
        "reservation",
        "secs",
        "server_id",
        "subnet",
        "subnet_from",
        "telling",
        "trace",
        "verdict",
        "vetoed",
        "why",
        "xid",
        "yiaddr",
    )

    def __init__(self, datagram: Datagram, now: float) -> None:
        self.datagram = datagram
        self.now = now
        self.op = self.htype = self.xid = self.secs = self.flags = self.ciaddr = self.giaddr = 0
        self.chaddr = self.client = b""
        self.received: dict[int, bytes] = {}
        self.message_type = 0
        self.joined: set[str] | frozenset[str] = NO_CLASSES
        """``class_names``, but maybe as the set that somebody asked for to change it."""
        self.late_classes = NO_CLASSES
        self.classified = self.placed = False
        self.subnet: Subnet | None = None
        self.subnet_from = self.address_from = self.lease_time_from = self.refusal = ""
        self.looked_up: Reservation | None = None
        self.pool: Pool | None = None
        self.reservation: Reservation | None = None
        self.server_id = 0
        self.lease_before: Lease | None = None
        self.lease_after: Lease | None = None
        self.changes: list[Lease] | None = None
        self.reply_type = self.yiaddr = self.lease_time = 0
        self.reply_data = self.fqdn = self.force_renew = b""
        self.hostname = ""
        self.left_out: tuple[int, ...] = ()
        self.problem: AddressProblem | None = None
        self.problem_address = 0
        self.kind: AddressKind | None = None
        self.reason: DropReason | None = None
        self.why = ""
        self.vetoed = self.finished = False
        self.probe = self.conflicts = 0
        self.delay: float = 0
        self.telling: DropReason | None = None
        self.verdict: Any = None
        self.trace: list[HookNote] | None = None
        self.answer: Answer | None = None
        self.pending: Awaitable[None] | None = None
        self.later: list[Awaitable[None]] | None = None
        self.plugin: Implementation | None = None
        self._packet: Packet | None = None
        self._reply: Packet | None = None
        self._contexts: dict[str, Any] | None = None
        self._relay_agent: tuple[bytes, dict[int, bytes]] = _NOTHING_SAID

    @property
    def packet(self) -> Packet | None:
        """The request, decoded when first asked for; None when it can't be. A plugin may put another in its place."""
        packet = self._packet
        if packet is None:
            if self.client:
                packet = Packet.deferred(self.datagram.data, self.engine.config.definitions)
            else:
                try:
                    packet = Packet(self.datagram.data)
                except DecodeError:
                    return None
                packet.options.definitions = self.config.definitions
            self._packet = packet
        return packet

    @packet.setter
    def packet(self, packet: Packet) -> None:
        self._packet = packet

    @property
    def edited(self) -> Packet | None:
        """The request, if a plugin changed or replaced it."""
        packet = self._packet
        return packet if packet is not None and packet.differs(self.datagram.data) else None

    @property
    def reply(self) -> Packet | None:
        """The reply, decoded when first asked for; None while there is none. A plugin may put another in its place."""
        if self._reply is None and self.reply_data:
            self._reply = Packet.deferred(self.reply_data, self.config.definitions)
        return self._reply

    @reply.setter
    def reply(self, reply: Packet) -> None:
        self._reply = reply

    @property
    def edited_reply(self) -> Packet | None:
        """The reply, if a plugin changed or replaced it."""
        reply = self._reply
        return reply if reply is not None and reply.differs(self.reply_data) else None

    @property
    def classes(self) -> set[str]:
        """Names of the classes the client is in; a hook may add some until the packet is decided."""
        names = self.joined
        if not isinstance(names, set):
            self.joined = names = set(names)
        return names

    def put(self, packet: Packet | None, reply: Packet | None) -> None:
        """Have another request and another reply, and be in no class: a copy has its own."""
        self._packet, self._reply, self.joined = packet, reply, NO_CLASSES

    @property
    def class_names(self) -> frozenset[str]:
        """The same, to look things up with."""
        # A set is what somebody has asked for, to change it, maybe later.
        return frozenset(self.joined)

    def join(self, names: frozenset[str]) -> None:
        """Be in these classes, among which are all that it is in."""
        if isinstance(self.joined, set):
            self.joined.update(names)
        else:
            self.joined = names

    @property
    def context(self) -> Any:
        """Whatever the plugin being called kept here for this packet; None at first. Each plugin has its own."""
        return None if self._contexts is None else self._contexts.get(self._plugin_name())

    @context.setter
    def context(self, value: Any) -> None:
        if self._contexts is None:
            self._contexts = {}
        self._contexts[self._plugin_name()] = value

    def share_contexts(self) -> Exchange:
        """From now on, copies of this exchange have the same contexts as itself."""
        if self._contexts is None:
            self._contexts = {}
        return self

    def _plugin_name(self) -> str:
        called = CALLED.get() or self.plugin
        return "" if called is None else called.plugin

    @property
    def config(self) -> Config:
        """The configuration that it is decided by."""
        return self.engine.config

    @property
    def client_type(self) -> ClientType:
        """Which protocol the client speaks: a BOOTP message has no option 53 (RFC 1534 §2)."""
        return _DHCP if MESSAGE_TYPE in self.received else _BOOTP

    @property
    def client_id(self) -> bytes:
        """Option 61 as it came; empty without."""
        return self.received.get(CLIENT_ID, b"")

    @property
    def relay_agent(self) -> dict[int, bytes]:
        """What a relay agent says of the client (option 82, RFC 3046): sub-option code to octets; 1 is the circuit, 2
        the remote id. Empty without a relay agent, whose word alone counts, and where it can't be read. Of a client
        that renews its lease past its relay agent it is what that said last.
        """
        return dict(self.agent)

    @property
    def agent(self) -> Mapping[int, bytes]:
        """The same, for those who don't change it: not a copy."""
        value = self.received.get(RELAY_AGENT_INFORMATION, b"") if self.giaddr else self.relayed
        known = self._relay_agent
        if value is not known[0]:
            self._relay_agent = known = value, sub_options(value)
        return known[1]

    @property
    def relayed(self) -> bytes:
        """The same as the octets of option 82; empty without."""
        if self.giaddr:
            return self.received.get(RELAY_AGENT_INFORMATION, b"")
        if RELAY_AGENT_INFORMATION in self.received and self.config.agent_options_without_relay == "trust":
            return self.received[RELAY_AGENT_INFORMATION]
        if not self.ciaddr or self.datagram.destination == BROADCAST_ADDRESS or not self.config.stash_agent_options:
            return b""
        lease = self.engine.leases.get(self.ciaddr)
        if lease is None or lease.client != self.client or not lease.holds(self.now):
            return b""
        return lease.relay_agent or b""

    def may_have(self, address: IPv4Address | str | int) -> bool:
        """Whether the client may have an address of its subnet: one of the pools that nobody else has, or was offered,
        or the one reserved for it. To be asked when the subnet is known, as in ``select_address``.

        Raises:
            ValueError: that is no address.
        """
        return self.engine.may_have(self, int(IPv4Address(address)))

    def explain(self) -> list[Fact]:
        """Why it came to what it came to: each decision in the order it was taken, in words."""
        return explain(self)

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

    async def settle(self) -> None:
        """Await what has to be awaited before the next step, if there is anything."""
        pending, self.pending = self.pending, None
        if pending is not None:
            await pending

    def start_over(self) -> None:
        """The address that the network was asked for is not to be had: nothing is offered, and it is decided again."""
        self.probe = self.reply_type = self.yiaddr = self.lease_time = 0
        self.delay = 0
        self.fqdn, self.hostname, self.force_renew, self.reply_data = b"", "", b"", b""
        self.lease_time_from = ""
        self.conflicts += 1

    def drop(self, reason: DropReason, why: str) -> None:
        """It goes no further, and this is why. What it was to come to is not told to anybody."""
        self.reason, self.why = reason, why
        self.reply_type = self.yiaddr = self.lease_time = 0
        self.changes = self.kind = self.problem = self.answer = None
        self.probe = 0
        self.delay = 0

    def __repr__(self) -> str:
        kind = message_name(self.message_type) if self.client else "unread"
        if self.op == Op.BOOTREPLY:
            kind = "reply " + kind
        outcome = message_name(self.reply_type) if self.reply_type else self.why or "no reply"
        return (
            f"<Exchange {kind} xid={self.xid:08x} chaddr={self.hardware_address} on {self.interface.name}: {outcome}>"
        )
