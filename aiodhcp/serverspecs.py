"""The server's own hooks: what the callout table has no slot for. A second, separate set, called like the first.

A plugin may implement hooks of both sets. Where a hook chooses, the plugins are asked in order until one has a
verdict; None leaves the choice to the next, and in the end to the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from aiodhcp.exchange import Exchange
    from aiodhcp.leases import Lease
    from aiodhcp.packet import Packet
    from aiodhcp.server import DhcpServer
    from aiodhcp.subnets import Config, Reservation, Subnet
    from aiodhcp.verdicts import Drop, Nak, Use

__all__: list[str] = []

hookspec = pluggy.HookspecMarker("aiodhcp")


@hookspec
def config_loaded(server: DhcpServer, config: Config) -> Awaitable[None] | None:
    """A configuration is about to be used.

    Fires: at the start of the server, after the leases are loaded and ``dhcp_control(START)`` was told; and at a
        reload, when the new plugins have started, before the first packet is decided by it.
    Arguments: ``server`` (in); ``config`` (in): the new configuration; at a reload ``server.config`` is still the old.
    May: raise to refuse it: the server doesn't start, or goes on with what it had. Another plugin may refuse it later:
        what is prepared here counts for packets whose ``exchange.config`` is ``config``.
    Verdicts: none.
    """


@hookspec
def select_subnet(
    packet: Packet, subnet: Subnet | None, exchange: Exchange
) -> Awaitable[Use[Subnet | IPv4Network | str] | Drop | None] | Use[Subnet | IPv4Network | str] | Drop | None:
    """Which subnet is the client in?

    Fires: for every message, after ``dhcp_handle_options`` and before anything is decided.
    Arguments: ``packet`` (in): the request; ``subnet`` (in): what the server found, by relay agent or interface,
        None if nothing; ``exchange`` (in).
    May: choose a subnet of the configuration, by itself or by its network; drop the packet.
    Verdicts: ``Use(subnet)``, ``Drop`` (NO_SUBNETS).
    """


@hookspec
def reservation_lookup(
    packet: Packet, subnet: Subnet, exchange: Exchange
) -> (
    Awaitable[Use[Reservation | IPv4Address | str | int] | Drop | Nak | None]
    | Use[Reservation | IPv4Address | str | int]
    | Drop
    | Nak
    | None
):
    """What is set aside for the client? An address plan or an inventory may know.

    Fires: for each DISCOVER, REQUEST, INFORM and BOOTP request of a client that has no reservation in the
        configuration, after ``select_subnet``.
    Arguments: ``packet`` (in): the request; ``subnet`` (in): where the client is; ``exchange`` (in).
    May: name a reservation, with an address of the subnet or without, and with parameters of its own; an address alone
        stands for a reservation of it. Refuse or drop the client. What it names is not remembered: an address inside
        of a pool may go to another client first, one outside of the pools does not. When it fails the packet is
        dropped, where nothing else is said: without its reservation a client would be refused what it has.
    Verdicts: ``Use(reservation)``, ``Use(address)``, ``Nak``, ``Drop`` (UNAUTH).
    """


@hookspec
def unknown_client(
    packet: Packet, subnet: Subnet, exchange: Exchange
) -> Awaitable[Drop | Nak | None] | Drop | Nak | None:
    """A client that nobody knows wants something.

    Fires: for each DISCOVER, REQUEST and BOOTP request of a client that has neither a reservation nor, in whatever
        state, a lease in the subnet; after ``reservation_lookup``.
    Arguments: ``packet`` (in): the request; ``subnet`` (in): where the client is; ``exchange`` (in, out):
        ``exchange.classes``.
    May: put the client into classes; refuse or drop it.
    Verdicts: ``Nak``, ``Drop`` (UNAUTH).
    """


@hookspec
def select_address(
    packet: Packet, subnet: Subnet, address: IPv4Address, exchange: Exchange
) -> Use[IPv4Address | str | int] | Drop | None:
    """Which address does a client get?

    Fires: within the decision, where nothing may wait: before an address is offered, or given to a BOOTP client. Not
        for a REQUEST, which asks for an address by itself. ``def`` only.
    Arguments: ``packet`` (in): the request; ``subnet`` (in); ``address`` (in): what the server would give, and
        ``exchange.address_from`` says why; ``exchange`` (in): with ``reservation`` and ``lease_before``, and
        ``exchange.may_have(address)``.
    May: choose another address of the subnet, which the client has to be free to have; drop the packet.
    Verdicts: ``Use(address)``, ``Drop`` (NOADDRESS).
    """


@hookspec
def select_lease_time(
    packet: Packet, subnet: Subnet, address: IPv4Address, lease_time: int, exchange: Exchange
) -> Use[int] | Drop | Nak | None:
    """How long does the client get the address, if at all?

    Fires: within the decision, where nothing may wait: before an OFFER and before an ACK that gives or prolongs a
        lease, not for BOOTP. ``def`` only.
    Arguments: ``packet`` (in): the request; ``subnet`` (in); ``address`` (in); ``lease_time`` (in): what the server
        would give, in seconds; ``exchange`` (in).
    May: choose a number of seconds, 4294967295 for ever; also beyond the configured limits. Refuse or drop the client.
    Verdicts: ``Use(seconds)``, ``Nak``, ``Drop`` (UNAUTH).
    """


@hookspec
def leases_committed(leases: Sequence[Lease]) -> Awaitable[None] | None:
    """Leases changed, and that is on stable storage.

    Fires: after each commit, once for all of it: leases given, prolonged, released, declined, expired, deleted. One
        call after the other: while an ``async`` implementation takes its time, further commits gather for the next.
        No answer waits for it.
    Arguments: ``leases`` (in): as they are now, each address once; without a client (``lease.client``) where an address
        is nobody's, as after a deletion.
    May: watch.
    Verdicts: none.
    """


@hookspec
def lease_expired(lease: Lease) -> Awaitable[None] | None:
    """A lease ran out.

    Fires: within a second or so of its end, after ``dhcp_delete_client``; also at the start, for what ran out
        meanwhile. Its address is free then. When that is on stable storage, ``leases_committed`` has it, too.
    Arguments: ``lease`` (in): as it is now.
    May: watch.
    Verdicts: none.
    """


@hookspec
def lease_recovered(lease: Lease) -> Awaitable[None] | None:
    """A declined address may be given out again.

    Fires: when the probation of an address ends that a client declined, or that was found in use before an offer.
    Arguments: ``lease`` (in): as it is now; it is nobody's.
    May: watch.
    Verdicts: none.
    """
