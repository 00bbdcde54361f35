"""The hooks: one for each slot of Microsoft's ``DHCP_CALLOUT_TABLE``, in its order. Declared here, called in hooks.py.

A plugin is a module or an object whose functions are marked with ``hookimpl``. An implementation takes the arguments
it wants, by name, and may be ``def`` or ``async def``. For one packet the plugins are called one after another, in
configured order. What becomes of one that raises or takes too long, its ``Policy`` says. What the callout table has no
slot for is in serverspecs.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from ipaddress import IPv4Address

    from aiodhcp.constants import AddressKind, AddressProblem, ClientType, ControlCode, DropReason
    from aiodhcp.exchange import Exchange
    from aiodhcp.packet import Packet
    from aiodhcp.server import DhcpServer
    from aiodhcp.serveroptions import ServerOptions
    from aiodhcp.verdicts import Drop

__all__: list[str] = []

hookspec = pluggy.HookspecMarker("aiodhcp")


@hookspec
def dhcp_control(server: DhcpServer, code: ControlCode) -> Awaitable[None] | None:
    """The server starts, stops, pauses or goes on.

    Fires: START before the first packet; STOP last, after the last packet; PAUSE and CONTINUE in between.
    Arguments: ``server`` (in): the server, its leases and configuration; ``code`` (in).
    May: raise at START, which refuses the start of the server. Otherwise watch.
    C: ``DWORD DhcpControlHook(DWORD dwControlCode, LPVOID lpReserved)``
    """


@hookspec
def dhcp_new_pkt(packet: Packet, exchange: Exchange) -> Awaitable[Packet | Drop | None] | Packet | Drop | None:
    """A packet was received.

    Fires: first, once for each packet that is looked at: not for what can't be decoded or tells no client, nor
        while the server is paused or overloaded.
    Arguments: ``packet`` (in, out): the request, to edit in place; ``exchange`` (in): where it came from, and
        ``exchange.context`` for what the plugin wants to find again in the later hooks of this packet.
    May: edit the packet; return another ``Packet`` in its place; return ``Drop("why")`` to veto it. Every plugin is
        called, also after a veto, and none can take a veto back. A vetoed packet gets only
        ``dhcp_pkt_drop(PROCESSED)``; with a reason, ``Drop(DropReason.UNAUTH)``, it is dropped for that first.
    C: ``DWORD DhcpNewPktHook(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved,
        LPVOID *PktContext, LPBOOL ProcessIt)``
    """


@hookspec
def dhcp_pkt_drop(packet: Packet | None, reason: DropReason, exchange: Exchange) -> Awaitable[None] | None:
    """A packet is dropped, or finished.

    Fires: with the reason when a packet is dropped; and for every packet, dropped or answered, exactly once and
        last with ``DropReason.PROCESSED``. (Beyond twice ``max_in_flight`` packets are counted and nobody is told.)
    Arguments: ``packet`` (in): the request, None if it can't be decoded (``exchange.datagram.data`` has the
        octets); ``reason`` (in); ``exchange`` (in): ``exchange.why`` says it in words.
    May: free what it kept for the packet.
    C: ``DWORD DhcpPktDropHook(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress,
        LPVOID Reserved, LPVOID PktContext)``
    """


@hookspec
def dhcp_pkt_send(packet: Packet, reply: Packet, exchange: Exchange) -> Awaitable[Packet | None] | Packet | None:
    """A reply is about to be sent.

    Fires: just before each reply leaves, after its lease is on stable storage.
    Arguments: ``packet`` (in): the request; ``reply`` (in, out): to edit in place; ``exchange`` (in).
    May: edit the reply, or return another ``Packet`` in its place; where it goes is not changed by that. A reply
        that can't be encoded afterwards, or has more than 4096 octets, is sent as it was before, and the plugin is
        named in the log.
    C: ``DWORD DhcpPktSendHook(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress,
        LPVOID Reserved, LPVOID PktContext)``
    """


@hookspec
def dhcp_address_del(
    packet: Packet, problem: AddressProblem, address: IPv4Address, exchange: Exchange
) -> Awaitable[None] | None:
    """An address is taken back or refused.

    Fires: CONFLICT when an address to be offered is found in use (``conflict-probe``), and another one is tried then;
        DECLINE and RELEASE when a client says so and the change is on stable storage; NACKED when a REQUEST is refused.
    Arguments: ``packet`` (in): the request; ``problem`` (in); ``address`` (in): the address in question;
        ``exchange`` (in).
    May: watch.
    C: ``DWORD DhcpAddressDelHook(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
        DWORD AltAddress, LPVOID Reserved, LPVOID PktContext)``
    """


@hookspec
def dhcp_address_offer(
    packet: Packet,
    kind: AddressKind,
    address: IPv4Address,
    client_type: ClientType,
    lease_time: int,
    exchange: Exchange,
) -> Awaitable[None] | None:
    """A client gets an address.

    Fires: in spite of its name before an ACK to a REQUEST, and before the reply to a BOOTP client that gets an
        address, once the lease is on stable storage. Not for an OFFER, not for the ACK to an INFORM.
    Arguments: ``packet`` (in): the request; ``kind`` (in): NEW, or OLD for a renewal; ``address`` (in);
        ``client_type`` (in); ``lease_time`` (in): seconds, 4294967295 for ever; ``exchange`` (in).
    May: watch.
    C: ``DWORD DhcpAddressOfferHook(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
        DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved, LPVOID PktContext)``
    """


@hookspec
def dhcp_handle_options(packet: Packet, options: ServerOptions, exchange: Exchange) -> Awaitable[None] | None:
    """The options of a packet are parsed.

    Fires: after ``dhcp_new_pkt``, for each packet that was not vetoed, before anything is decided.
    Arguments: ``packet`` (in): the request; ``options`` (in): the fields of ``DHCP_SERVER_OPTIONS`` as attributes,
        like ``options.machine_name``, and every option by name or code; ``exchange`` (in, out): ``exchange.classes``.
    May: put the client into classes: ``exchange.classes.add("phones")``. The options can't be changed here.
    C: ``DWORD DhcpHandleOptionsHook(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
        LPDHCP_SERVER_OPTIONS ServerOptions)``
    """


@hookspec
def dhcp_delete_client(address: IPv4Address, hardware_address: bytes) -> Awaitable[None] | None:
    """A lease is about to end.

    Fires: just before an active lease is taken from its client: it was released or declined, it expired, or an
        administrator deleted it. An ``async`` implementation is begun after that, before the next packet of the same
        client. For a lease whose renewal is still being committed, it comes before the ``dhcp_address_offer`` of that.
    Arguments: ``address`` (in); ``hardware_address`` (in): the client's, as octets.
    May: watch.
    C: ``DWORD DhcpDeleteClientHook(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
        DWORD ClientType)``
    """


@hookspec
def dhcp_extension() -> None:
    """Reserved.

    Fires: never.
    Arguments: none.
    May: nothing.
    C: ``LPVOID DhcpExtensionHook``
    """


@hookspec
def dhcp_reserved() -> None:
    """Reserved.

    Fires: never.
    Arguments: none.
    May: nothing.
    C: ``LPVOID DhcpReservedHook``
    """
