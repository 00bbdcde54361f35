"""Messages: what a DHCP client says, and what it remembers of what it is told. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from aiodhcp.constants import BROADCAST_ADDRESS, BROADCAST_FLAG, CLIENT_PORT, SERVER_PORT, MessageType, Op
from aiodhcp.exchange import Datagram, Interface
from aiodhcp.options import STANDARD_OPTIONS, Definitions, Options
from aiodhcp.packet import Packet

__all__ = ["Address", "Message", "Messages", "dotted", "number"]

RELAY_AGENT_INFORMATION = 82
Address = IPv4Address | str | int
"""An IPv4 address, in any way that it may be given."""


def number(address: Address) -> int:
    """``"192.0.2.1"`` as the integer that leases and datagrams have.

    Raises:
        ValueError: that is no address.
    """
    return int(IPv4Address(address))


def dotted(address: int) -> str:
    """The reverse."""
    return str(IPv4Address(address))


class Message(NamedTuple):
    """A message, and how it travels.

    Attributes:
        packet: the message; or octets that may be none.
        source: the client's address, as an integer; 0 for none.
        destination: to whom, as an integer; what is broadcast passes the relay agent, if there is one.
    """

    packet: Packet | bytes
    source: int = 0
    destination: int = BROADCAST_ADDRESS


class Messages:
    """The messages of one client (RFC 2131 §4.4), each as a ``Message``.

    Options are given by name with underscores, ``requested_address="192.0.2.20"``; None leaves out one that would be
    there.

    Args:
        chaddr: the hardware address.
        interface: where its messages arrive.
        htype: the hardware type.
        giaddr: the address of the relay agent it is behind, as an integer; 0 for none. Unicasts don't pass that.
        agent: option 82 as the relay agent adds it, sub-option code to octets.
        broadcast: whether it sets the broadcast flag.
        definitions: which options have names.
        options: sent with every message.

    Attributes:
        address: what the last ACK gave it, as an integer; 0 for none.
        server: the server identifier of the last OFFER or ACK, as an integer; 0 for none.
        xid: the transaction, which begins anew with each message but a REQUEST that takes an OFFER.
    """

    def __init__(
        self,
        chaddr: bytes,
        interface: Interface,
        *,
        htype: int = 1,
        giaddr: int = 0,
        agent: Mapping[int, bytes] | None = None,
        broadcast: bool = False,
        definitions: Definitions = STANDARD_OPTIONS,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.chaddr = chaddr
        self.interface = interface
        self.htype = htype
        self.giaddr = giaddr
        self.agent = dict(agent or {})
        self.flags = BROADCAST_FLAG if broadcast else 0
        self.definitions = definitions
        self.options = dict(options or {})
        self.xid = int.from_bytes(chaddr[-2:], "big") << 16
        self.address = self.server = 0

    # ── each of them ─────────────────────────────────────────────────────────────────────────────────────────────

    def discover(self, **options: Any) -> Message:
        """DISCOVER."""
        self.xid += 1
        return Message(self.packet(MessageType.DISCOVER, **options))

    def request(self, offer: Packet, **options: Any) -> Message:
        """REQUEST, SELECTING: what was offered."""
        chosen = {"requested_address": offer.yiaddr, "server_identifier": offer.options.get("server-identifier")}
        return Message(self.packet(MessageType.REQUEST, **{**chosen, **options}))

    def init_reboot(self, address: Address | None = None, **options: Any) -> Message:
        """REQUEST, INIT-REBOOT: is this address still right?"""
        self.xid += 1
        asked = self.address if address is None else number(address)
        return Message(self.packet(MessageType.REQUEST, **{"requested_address": asked, **options}))

    def renew(self, **options: Any) -> Message:
        """REQUEST, RENEWING: to the server alone."""
        self.xid += 1
        return self._to_server(self.packet(MessageType.REQUEST, ciaddr=self.address, **options))

    def rebind(self, **options: Any) -> Message:
        """REQUEST, REBINDING: to any server."""
        self.xid += 1
        return Message(self.packet(MessageType.REQUEST, ciaddr=self.address, **options), self.address)

    def decline(self, address: Address | None = None, **options: Any) -> Message:
        """DECLINE: somebody else uses this address, which the client has no longer."""
        self.xid += 1
        declined, self.address = self.address if address is None else number(address), 0
        fields = {"requested_address": declined, "server_identifier": self.server or None, **options}
        return Message(self.packet(MessageType.DECLINE, **fields))

    def release(self, **options: Any) -> Message:
        """RELEASE: the address is not needed any longer."""
        self.xid += 1
        fields = {"server_identifier": self.server or None, **options}
        message = self._to_server(self.packet(MessageType.RELEASE, ciaddr=self.address, **fields))
        self.address = 0
        return message

    def inform(self, address: Address | None = None, **options: Any) -> Message:
        """INFORM: everything but an address."""
        self.xid += 1
        ciaddr = self.address if address is None else number(address)
        return Message(self.packet(MessageType.INFORM, ciaddr=ciaddr, **options), ciaddr)

    def bootp(self, **options: Any) -> Message:
        """A BOOTP request, which has no option 53 (RFC 951)."""
        self.xid += 1
        return Message(self.packet(None, **options))

    # ── what they are made of ────────────────────────────────────────────────────────────────────────────────────

    def packet(self, kind: int | None, *, ciaddr: int = 0, **options: Any) -> Packet:
        """A message; without option 53 if ``kind`` is None.

        Raises:
            ValueError: there is no such option, or it can't have that value.
        """
        packet = Packet(
            op=int(Op.BOOTREQUEST),
            hrd=self.htype,
            hln=len(self.chaddr),
            xid=self.xid & 0xFFFFFFFF,
            flags=self.flags,
            ciaddr=ciaddr,
            giaddr=self.giaddr,
            chaddr=self.chaddr,
            sname=b"",
            file=b"",
        )
        packet.options = Options({}, self.definitions)
        for name, value in {"message_type": kind, **self.options, **options}.items():
            if value is not None:
                packet.options[name] = value
        return packet

    def datagram(self, message: Message) -> Datagram:
        """A message as it arrives at the server."""
        packet, source, destination = message
        if not self.giaddr or destination != BROADCAST_ADDRESS:
            return Datagram(bytes(packet), self.interface, source, CLIENT_PORT, destination)
        if isinstance(packet, Packet):
            packet.hops += 1
            if self.agent and RELAY_AGENT_INFORMATION not in packet.options:
                packet.options[RELAY_AGENT_INFORMATION] = self.agent
        own = self.interface.addresses[0] if self.interface.addresses else 0
        return Datagram(bytes(packet), self.interface, self.giaddr, SERVER_PORT, own)

    def hear(self, reply: Packet) -> None:
        """Note what a reply says."""
        self.server = int(reply.options.get("server-identifier", self.server))
        if reply.message_type == MessageType.ACK:
            self.address = reply.yiaddr or self.address
        elif reply.message_type is None:
            self.address = reply.yiaddr
        elif reply.message_type == MessageType.NAK:
            self.address = 0

    def _to_server(self, packet: Packet) -> Message:
        packet.giaddr = 0
        return Message(packet, self.address, self.server)
