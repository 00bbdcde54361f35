"""Placement: where a client is, and what is known of it there: subnet, reservation, classes, lease, server identifier.

``Dropped`` is raised here and caught in the engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Final

from aiodhcp.addresses import Addresses
from aiodhcp.classes import Finder
from aiodhcp.constants import BROADCAST_ADDRESS, CLIENT_PORT, DropReason, MessageType
from aiodhcp.errors import Dropped
from aiodhcp.exchange import NO_CLASSES, RELAY_AGENT_INFORMATION, Datagram, Exchange, Interface
from aiodhcp.leases import Lease
from aiodhcp.relays import LINK_SELECTION, NOWHERE, SERVER_ID_OVERRIDE, SUBNET_SELECTION, selection, sub_options
from aiodhcp.reservations import Reservation, Reservations
from aiodhcp.subnets import Config, Subnet
from aiodhcp.virtual import GLOBAL, in_words, selected

__all__ = ["Placement", "address_option", "dotted"]

REQUESTED_ADDRESS: Final = 50
SERVER_ID: Final = 54
LINKS_KEPT: Final = 65536
"""Relay agents whose links are remembered."""
_GIVING_BACK: Final = frozenset({MessageType.DECLINE, MessageType.RELEASE})
_NAMING: Final = frozenset({MessageType.REQUEST, MessageType.DECLINE})
"""Messages about one address: it has to be in its subnet, and not another one that might suit the client."""


class Placement:
    """Finds the place of a client by one configuration.

    Args:
        config: subnets, reservations and classes.
        addresses: what is known of every address.
    """

    def __init__(self, config: Config, addresses: Addresses) -> None:
        self.config = config
        self.addresses = addresses
        self.leases = addresses.leases
        self._clients = self.leases.clients
        self._filters = config.filters if config.filters else None
        self._denied = frozenset(each.name for each in config.classes if each.deny)
        tests = config.tests
        self._server_id = config.server_id
        self._early, self._late = tests.early, tests.late
        self._finder = Finder(tests.early)
        self._relayed = frozenset(tests.relayed)
        self._named = frozenset(relay for subnet in config.subnets for relay in subnet.relays)
        self._drops_unrelayed = config.agent_options_without_relay == "drop"
        self.admits_all = not (self._filters or self._denied or self._early or self._drops_unrelayed)
        """Whether there is nobody to turn away and no class to find, so that ``admit`` need not be called."""
        self._virtual = config.has_virtual_networks
        self._selective = any(subnet.classes for subnet in config.subnets)
        order = config.reservation_identifiers
        self._in_subnet = {
            subnet: Reservations(subnet.reservations, order)
            for subnet in config.subnets
            if subnet.reservations and config.reservations_in_subnet
        }
        # Where all are known by the same, one look-up tells that a client has none in any subnet, as most.
        anywhere = Reservations((each for subnet in self._in_subnet for each in subnet.reservations), order)
        self._anywhere = anywhere if anywhere.is_uniform and len(self._in_subnet) > 1 else None
        shared = bool(config.reservations) and config.reservations_global
        self._global = Reservations(config.reservations, order) if shared else None
        self._elsewhere: dict[Reservation, Reservation] = {}
        self._lines = any(
            each.asks_relay
            for each in (*config.reservations, *(each for subnet in config.subnets for each in subnet.reservations))
        )
        self._reserves = bool(self._in_subnet or self._global or self._lines)
        # By their relay agents; and by virtual networks, where there are any.
        self._links: dict[int | tuple[int, bytes], tuple[Subnet, ...]] = {}
        self._local: dict[Interface, tuple[Subnet, ...]] = {}
        self._server_ids: dict[tuple[Interface, Subnet | None], int] = {}

    def admit(self, exchange: Exchange) -> None:
        """Ask the filters, and find the classes that don't depend on what is reserved for the client; these once.

        Raises:
            Dropped: the filters don't allow the client, one of the classes is not served, or it says itself what only
                a relay agent may (RFC 3046 §2.1).
        """
        if self._drops_unrelayed and RELAY_AGENT_INFORMATION in exchange.received and not exchange.giaddr:
            raise Dropped(DropReason.INVALID, "relay agent information, and no relay agent")
        if self._filters and (why := self._filters.refusal(exchange.chaddr)):
            raise Dropped(DropReason.UNAUTH, why)
        if self._early and not exchange.classified:
            exchange.classified = True
            self._finder.find(exchange)
        if self._denied:
            self._deny(exchange)

    def _deny(self, exchange: Exchange) -> None:
        if not self._denied.isdisjoint(exchange.class_names):
            denied = ", ".join(sorted(self._denied & exchange.class_names))
            raise Dropped(DropReason.UNAUTH, f"clients of class {denied} are not served")

    def _classify_late(self, exchange: Exchange) -> None:
        """Find the classes that depend on what is reserved for the client in the subnet it is in now."""
        names = exchange.classes
        names.difference_update(exchange.late_classes)
        before = frozenset(names)
        if exchange.reservation is not None:
            names.update(exchange.reservation.classes)
        for name, test in self._late:
            if test.holds(exchange):
                names.add(name)
        exchange.late_classes = frozenset(names - before)
        if self._denied:
            self._deny(exchange)

    def place(self, exchange: Exchange) -> None:
        """Find the subnet of the client, for plugins to look at before the decision."""
        try:
            self.admit(exchange)
        except Dropped:
            # Decided when all decisions are.
            return
        exchange.placed = True
        exchange.subnet = self._find_subnet(exchange)

    def look_up(self, exchange: Exchange) -> bool:
        """Find the reservation of the client in its subnet. Whether there is none."""
        assert exchange.subnet is not None
        exchange.reservation = self._reservation(exchange, exchange.subnet)
        return exchange.reservation is None

    def is_unknown(self, exchange: Exchange) -> bool:
        """Whether the client has neither a reservation nor a lease, of whatever state, in its subnet."""
        subnet = exchange.subnet
        assert subnet is not None
        return exchange.reservation is None and self.leases.find(exchange.client, subnet.first, subnet.last) is None

    def serve(self, interfaces: Iterable[Interface]) -> None:
        """These are the interfaces, and no others: their addresses are ours, which no client gets."""
        known = self._local
        self._local = {
            each: known.get(each) or self.config.subnets_on(each.name, each.addresses) for each in interfaces
        }
        self._server_ids.clear()
        self.addresses.own = {address for each in self._local for address in each.addresses}

    def choose(self, exchange: Exchange) -> Subnet:
        """The subnet of the client's link; with it the reservation, the lease and the server identifier.

        Raises:
            Dropped: there is none, or an answer could not get to where the packet says that it is from.
        """
        giaddr, ciaddr = exchange.giaddr, exchange.ciaddr
        own = self.addresses.own
        if giaddr and (giaddr >> 24 in NOWHERE or giaddr in own or giaddr in exchange.datagram.interface.addresses):
            self._check_relay(giaddr)
        if ciaddr and ciaddr >> 24 in NOWHERE and self._is_nowhere(ciaddr):
            raise Dropped(DropReason.INVALID, f"ciaddr is {dotted(ciaddr)}, which no client can have")
        subnet = exchange.subnet if exchange.placed else self._find_subnet(exchange)
        if subnet is None:
            raise Dropped(DropReason.NO_SUBNETS, f"no subnet for {_whence(exchange)}")
        self.enter(exchange, subnet)
        return subnet

    def _check_relay(self, giaddr: int) -> None:
        """Whether a relay agent has an address that none should have, and that no subnet names."""
        if giaddr in self._named:
            return
        if giaddr >> 24 not in NOWHERE:
            raise Dropped(DropReason.INVALID, f"giaddr is {dotted(giaddr)}, the server's own address")
        if self._is_nowhere(giaddr):
            raise Dropped(DropReason.INVALID, f"giaddr is {dotted(giaddr)}, which no relay agent can have")

    def _is_nowhere(self, address: int) -> bool:
        """Whether nobody can have such an address: not if it is served, as on the loopback of one machine."""
        return self.config.subnet_of(address) is None

    def _find_subnet(self, exchange: Exchange) -> Subnet | None:
        link, ciaddr = self.link(exchange), exchange.ciaddr
        if len(link) == 1:
            (subnet,) = link
            if not ciaddr or subnet.first <= ciaddr <= subnet.last:
                return subnet
        return self._on_link(exchange, link)

    def link(self, exchange: Exchange) -> tuple[Subnet, ...]:
        """The subnets of the client's link that it may be in."""
        giaddr, received = exchange.giaddr, exchange.received
        virtual = selected(exchange) if self._virtual else GLOBAL
        if SUBNET_SELECTION in received or (
            giaddr and RELAY_AGENT_INFORMATION in received and LINK_SELECTION in exchange.agent
        ):
            by, address = selection(exchange)
        else:
            by, address = "", giaddr
        if address and not by:
            link = self._links.get((address, virtual) if self._virtual else address)
            if link is None:
                link = self._link_of_relay(address, virtual)
        elif address:
            subnet = self.config.subnet_of(address)
            link = () if subnet is None else self.config.link_of(subnet)
        else:
            interface = exchange.datagram.interface
            if interface not in self._local:
                self.serve([*self._local, interface])
            link = self._local[interface]
        if self._virtual:
            # RFC 6607 §7: nobody gets into another one.
            link = tuple(subnet for subnet in link if subnet.virtual == virtual)
        if self._selective:
            link = tuple(subnet for subnet in link if self._permitted(exchange, subnet))
        return link

    def _link_of_relay(self, giaddr: int, virtual: bytes) -> tuple[Subnet, ...]:
        """The subnets of the link that a relay agent stands for."""
        subnet = self.config.subnet_of_relay(giaddr, virtual)
        if subnet is None:
            return ()
        if len(self._links) >= LINKS_KEPT:
            self._links.clear()
        self._links[(giaddr, virtual) if self._virtual else giaddr] = link = self.config.link_of(subnet)
        return link

    def _permitted(self, exchange: Exchange, subnet: Subnet) -> bool:
        """Whether the subnet is for clients of such classes."""
        if not subnet.classes or exchange.message_type in _GIVING_BACK:
            return True
        return not self.names(exchange).isdisjoint(subnet.classes)

    def names(self, exchange: Exchange) -> frozenset[str]:
        """The classes whose subnets and pools the client may use. One that renews its lease sends no relay agent
        information (RFC 3046 §3): where what was said last is not known, it keeps what it was given by that.
        """
        if self._relayed and exchange.ciaddr and not exchange.giaddr and self._renews(exchange):
            if exchange.agent:
                return exchange.class_names
            return exchange.class_names | self._relayed
        return exchange.class_names if exchange.joined else NO_CLASSES

    def _renews(self, exchange: Exchange) -> bool:
        """Whether the client has a lease of the address that it says it has, and asks for no other one."""
        lease = self.leases.get(exchange.ciaddr)
        held = lease is not None and lease.client == exchange.client and lease.holds(exchange.now)
        return held and REQUESTED_ADDRESS not in exchange.received

    def enter(self, exchange: Exchange, subnet: Subnet) -> None:
        """The client is in ``subnet``: what is known of it there."""
        looked_up = exchange.looked_up
        if looked_up is None:
            if self._reserves:
                exchange.reservation = self._reservation(exchange, subnet)
        elif subnet is not exchange.subnet:
            exchange.reservation = self._reservation(exchange, subnet)
        exchange.subnet = subnet
        client, known = exchange.client, None
        if client in self._clients:
            known = self.leases.find(client, subnet.first, subnet.last)
        exchange.lease_before = known
        exchange.server_id = self._server_id or self.own_address(exchange.datagram, subnet)
        if RELAY_AGENT_INFORMATION in exchange.received or (known is not None and known.relay_agent):
            override = exchange.agent.get(SERVER_ID_OVERRIDE, b"")
            if len(override) == 4 and any(override):
                # RFC 5107 §4: whoever speaks to it speaks to us.
                exchange.server_id = int.from_bytes(override)
        if self._late or exchange.late_classes or (exchange.reservation is not None and exchange.reservation.classes):
            self._classify_late(exchange)

    def _reservation(self, exchange: Exchange, subnet: Subnet) -> Reservation | None:
        """What is reserved for the client in a subnet: by that, or else for every subnet."""
        found = None
        if self._anywhere is None or self._anywhere.find(exchange) is not None:
            reserved = self._in_subnet.get(subnet)
            found = None if reserved is None else reserved.find(exchange)
        if found is None and self._global is not None:
            found = self._global.find(exchange)
            if found is not None and found.address is not None and found.address not in subnet:
                found = self._without_address(found)
        if found is None and self._lines and exchange.ciaddr and not exchange.giaddr:
            found = self._line(exchange, subnet)
        return found

    def _without_address(self, reservation: Reservation) -> Reservation:
        known = self._elsewhere.get(reservation)
        if known is None:
            known = self._elsewhere[reservation] = replace(reservation, address=None)
        return known

    def _line(self, exchange: Exchange, subnet: Subnet) -> Reservation | None:
        """What was found by what a relay agent said, which a client that renews its lease can't repeat."""
        reserved = subnet.by_address.get(exchange.ciaddr) or self.config.by_address.get(exchange.ciaddr)
        lease = self.leases.get(exchange.ciaddr)
        if reserved is None or lease is None or lease.client != exchange.client or not lease.holds(exchange.now):
            return None
        if reserved.identify is None and exchange.agent:
            # What it said last is known, and the look-up has gone by that.
            return None
        return reserved if reserved.asks_relay else None

    def _is_reserved(self, exchange: Exchange, subnet: Subnet) -> bool:
        """Whether something is reserved for the client in this subnet rather than in another."""
        found = self._reservation(exchange, subnet)
        return found is not None and (found.address is not None or found in subnet.reservations)

    def _on_link(self, exchange: Exchange, link: tuple[Subnet, ...]) -> Subnet | None:
        """The subnet of a client among those of its link."""
        ciaddr, datagram = exchange.ciaddr, exchange.datagram
        if ciaddr:
            for subnet in link:
                if ciaddr in subnet:
                    return subnet
            # A unicast may have come from any network, through its router (RFC 2131 §4.3.2, RENEWING).
            if not exchange.giaddr and datagram.destination != BROADCAST_ADDRESS and datagram.source == ciaddr:
                remote = self.config.subnet_of(ciaddr)
                if remote is None or self._permitted(exchange, remote):
                    return remote
        if len(link) > 1:
            if exchange.message_type in _NAMING:
                asked = address_option(exchange, REQUESTED_ADDRESS)
                for subnet in link:
                    if asked in subnet:
                        return subnet
            return max(link, key=lambda subnet: self._fitness(exchange, subnet))
        return link[0] if link else None

    def _fitness(self, exchange: Exchange, subnet: Subnet) -> int:
        """How much speaks for one of several subnets of a link."""
        asked = address_option(exchange, REQUESTED_ADDRESS)
        lease = self.leases.find(exchange.client, subnet.first, subnet.last)
        for grade, holds in (
            (5, lease is not None and lease.address == asked),
            (4, self.addresses.offer_of(exchange.client, subnet) is not None),
            (3, self._is_reserved(exchange, subnet)),
            (2, lease is not None),
            (1, asked in subnet),
        ):
            if holds:
                return grade
        return 0

    def own_address(self, datagram: Datagram, subnet: Subnet | None = None) -> int:
        """The server identifier: an address of ours that who asks can reach (RFC 2131 §4.1), in a subnet if possible.

        Raises:
            Dropped: there is none.
        """
        interface, destination = datagram.interface, datagram.destination
        if destination in interface.addresses:
            return destination
        key = (interface, subnet)
        found = self._server_ids.get(key)
        if found is None:
            own = interface.addresses
            found = next((address for address in own if subnet and address in subnet), own[0] if own else 0)
            if not found:
                raise Dropped(DropReason.GEN_FAILURE, f"no server identifier: {interface.name} has no address")
            self._server_ids[key] = found
        return found

    @property
    def has_address(self) -> bool:
        """Whether there is an interface to send from."""
        return any(each.addresses for each in self._local)

    def way_to(self, lease: Lease) -> tuple[Datagram, int]:
        """How a client is reached that has not asked: as if this had come from it, and the server identifier.

        Args:
            lease: in one of the subnets, and ``has_address``.
        """
        subnet = self.config.subnet_of(lease.address)
        assert subnet is not None
        own = [each for each in self._local if each.addresses]
        interface = next((each for each in own if subnet in self._local[each]), own[0])
        datagram = Datagram(b"", interface, lease.address, CLIENT_PORT)
        override = sub_options(lease.relay_agent or b"").get(SERVER_ID_OVERRIDE, b"")
        if len(override) == 4 and any(override):
            return datagram, int.from_bytes(override)
        return datagram, self.config.server_id or self.own_address(datagram, subnet)

    def is_for_us(self, exchange: Exchange) -> bool:
        chosen = address_option(exchange, SERVER_ID)
        return chosen == exchange.server_id or chosen in exchange.interface.addresses

    def check_server(self, exchange: Exchange) -> None:
        if SERVER_ID in exchange.received and not self.is_for_us(exchange):
            raise Dropped(DropReason.WRONG_SERVER, f"is for server {dotted(address_option(exchange, SERVER_ID))}")


def address_option(exchange: Exchange, option: int) -> int:
    """An option that holds an address, as an integer; 0 where it is absent or not four octets."""
    value = exchange.received.get(option, b"")
    return int.from_bytes(value, "big") if len(value) == 4 else 0


def _whence(exchange: Exchange) -> str:
    """Where a client is that has no subnet, in words."""
    by, address = selection(exchange)
    words = f"relay agent {dotted(address)}" if address else f"interface {exchange.interface.name}"
    if by:
        words = f"{by}, {dotted(address)}"
    return f"{words}, in {in_words(selected(exchange))}" if exchange.config.has_virtual_networks else words


def dotted(address: int) -> str:
    """An address for people."""
    return str(IPv4Address(address))
