"""Subnet, Pool, Reservation, Class and Config: which subnet, which address, which options. Facts, no state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal

from aiodhcp.classes import Class, Classes
from aiodhcp.filters import NO_FILTERS, Filters
from aiodhcp.freemap import ADDRESS_CHOICES, AddressChoice
from aiodhcp.options import STANDARD_OPTIONS, Definitions
from aiodhcp.parameters import NOTHING_SAID, AddressLike, Parameters, address_number
from aiodhcp.requestors import Leasequery
from aiodhcp.reservations import IDENTIFIERS, Reservation
from aiodhcp.virtual import GLOBAL, virtual_subnet

__all__ = ["Class", "Config", "Pool", "Reservation", "Subnet"]

Probe = Literal["off", "auto", "arp", "icmp"]
Bootp = Literal["no", "reserved", "dynamic"]
Unrelayed = Literal["ignore", "trust", "drop"]
ForceRenew = Literal["nonce", "unauthenticated", "off"]


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def parse_range(text: str) -> tuple[int, int]:
    """``"192.0.2.10-192.0.2.99"``, ``"192.0.2.0/25"`` or a single address: the first and the last address.

    Raises:
        ValueError: it is none of these.
    """
    if "-" in text:
        first, last = (address_number(part.strip()) for part in text.split("-", 1))
        return _range((first, last))
    if "/" in text:
        network = IPv4Network(text.strip())
        return int(network.network_address), int(network.broadcast_address)
    return address_number(text.strip()), address_number(text.strip())


def _range(value: str | tuple[int, int]) -> tuple[int, int]:
    first, last = parse_range(value) if isinstance(value, str) else value
    if first > last:
        raise ValueError(f"expected the lower address first, got {IPv4Address(first)}-{IPv4Address(last)}")
    return first, last


def _check_choice(choice: str | None) -> None:
    if choice not in (None, *ADDRESS_CHOICES):
        raise ValueError(f"address_choice: expected {', '.join(map(repr, ADDRESS_CHOICES))}, got {choice!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Addresses to give out.

    Attributes:
        range: the first and the last address; also as ``"192.0.2.10-192.0.2.99"``.
        parameters: for the clients that get an address of this pool.
        exclude: ranges that are not given out; also as strings.
        classes: names of the classes whose clients get an address of it; empty for everybody.
        address_choice: how one of its addresses is chosen; None for as its subnet says.
        ranges: what remains of ``range``, in order.

    Raises:
        ValueError: a range is wrong, or there is no such choice.
    """

    range: tuple[int, int]
    parameters: Parameters = NOTHING_SAID
    exclude: Sequence[tuple[int, int]] = ()
    classes: Sequence[str] = ()
    address_choice: AddressChoice | None = None
    ranges: tuple[tuple[int, int], ...] = field(init=False, default=())

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(
            self,
            range: tuple[int, int] | str,
            parameters: Parameters = ...,
            exclude: Sequence[tuple[int, int] | str] = (),
            classes: Sequence[str] = (),
            address_choice: AddressChoice | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        _check_choice(self.address_choice)
        _set(self, "range", _range(self.range))
        ranges = [self.range]
        for low, high in sorted(_range(each) for each in self.exclude):
            ranges = [
                part
                for start, end in ranges
                for part in ((start, min(end, low - 1)), (max(start, high + 1), end))
                if part[0] <= part[1]
            ]
        _set(self, "ranges", tuple(ranges))
        _set(self, "classes", tuple(self.classes))
        for name in ("auto_configure", "min_secs"):
            if getattr(self.parameters, name) is not None:
                raise ValueError(f"{name}: is not for a pool, because it counts before an address is chosen")

    def __contains__(self, address: int) -> bool:
        return any(first <= address <= last for first, last in self.ranges)

    def is_for(self, classes: frozenset[str]) -> bool:
        """Whether clients of these classes get its addresses."""
        return not self.classes or not classes.isdisjoint(self.classes)

    @property
    def size(self) -> int:
        """How many addresses it has to give."""
        return sum(last - first + 1 for first, last in self.ranges)


@dataclass(frozen=True, slots=True, eq=False)
class Subnet:
    """A network and what is given out in it.

    Attributes:
        network: also as ``"192.0.2.0/24"``.
        pools: also as strings (``"192.0.2.10-192.0.2.99"``); none means reservations only.
        reservations: whose address must lie in the network.
        parameters: for every client here.
        interfaces: names of the interfaces it is on; empty means those that have an address in it.
        relays: addresses of relay agents that stand for it, besides those that lie in it.
        conflict_probe: whether an address is asked for on the network before it is offered: "arp" on the link, "icmp"
            by an echo request, "auto" by ARP or, where there is a relay agent between, by ICMP, or "off".
        probe_timeout: seconds to wait for an answer.
        classes: names of the classes whose clients it is for; empty for everybody.
        address_choice: how an address of its pools is chosen; None for as the configuration says.
        shared_network: a name that it has in common with the other subnets of its link; empty for one that is alone.
        virtual_network: the virtual network that it is in: a name, or a VPN-ID like "00:00:0c:00:00:00:2a"; empty for
            the global one (RFC 6607).
        virtual: the same as the octets that messages have.
        first, last: the addresses that it begins and ends with.
        by_address: reservations by address.

    Raises:
        ValueError: something lies outside of the network, overlaps, or is reserved twice.
    """

    network: IPv4Network
    pools: Sequence[Pool] = ()
    reservations: Sequence[Reservation] = ()
    parameters: Parameters = NOTHING_SAID
    interfaces: Sequence[str] = ()
    relays: Sequence[int] = ()
    conflict_probe: Probe = "off"
    probe_timeout: float = 0.5
    classes: Sequence[str] = ()
    address_choice: AddressChoice | None = None
    shared_network: str = ""
    virtual_network: str = ""
    virtual: bytes = field(init=False, default=GLOBAL)
    # What is looked at for every packet lies together, and is no object of its own: with ten thousand subnets, getting
    # all that from memory is what takes the time.
    first: int = field(init=False, default=0)
    last: int = field(init=False, default=0)
    by_address: Mapping[int, Reservation] = field(init=False, default_factory=dict)
    # The range of the pools, where there is only one, and its pool; else all of them in order, and where they begin.
    _low: int = field(init=False, default=0)
    _high: int = field(init=False, default=0)
    _sole: Pool | None = field(init=False, default=None)
    _ranges: Sequence[tuple[int, Pool]] = field(init=False, default=())
    _range_firsts: Sequence[int] = field(init=False, default=())

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(
            self,
            network: IPv4Network | str,
            pools: Sequence[Pool | str] = (),
            reservations: Sequence[Reservation] = (),
            parameters: Parameters = ...,
            interfaces: Sequence[str] = (),
            relays: Sequence[AddressLike] = (),
            conflict_probe: Probe = "off",
            probe_timeout: float = 0.5,
            classes: Sequence[str] = (),
            address_choice: AddressChoice | None = None,
            shared_network: str = "",
            virtual_network: str = "",
        ) -> None: ...

    def __post_init__(self) -> None:
        _check_choice(self.address_choice)
        network = IPv4Network(self.network)
        _set(self, "network", network)
        _set(self, "first", int(network.network_address))
        _set(self, "last", int(network.broadcast_address))
        _set(self, "pools", tuple(each if isinstance(each, Pool) else Pool(each) for each in self.pools))
        _set(self, "reservations", tuple(self.reservations))
        _set(self, "interfaces", tuple(self.interfaces))
        _set(self, "classes", tuple(self.classes))
        _set(self, "relays", tuple(address_number(relay) for relay in self.relays))
        if self.conflict_probe not in ("off", "auto", "arp", "icmp"):
            raise ValueError(f"conflict_probe: expected 'off', 'auto', 'arp' or 'icmp', got {self.conflict_probe!r}")
        if not 0 < self.probe_timeout <= 10:
            raise ValueError(f"probe_timeout: expected more than 0 and at most 10 seconds, got {self.probe_timeout!r}")
        try:
            _set(self, "virtual", virtual_subnet(self.virtual_network))
        except ValueError as error:
            raise ValueError(f"virtual_network: {error}") from None
        self._check_pools()
        self._check_reservations()
        _set(self, "by_address", {each.address: each for each in self.reservations if each.address is not None})
        ranges = sorted(((*each, pool) for pool in self.pools for each in pool.ranges), key=itemgetter(0))
        if len(ranges) == 1:
            for name, value in zip(("_low", "_high", "_sole"), ranges[0], strict=True):
                _set(self, name, value)
        else:
            _set(self, "_ranges", [(last, pool) for _, last, pool in ranges])
            _set(self, "_range_firsts", [first for first, _, _ in ranges])

    def _check_pools(self) -> None:
        seen: list[tuple[int, int]] = []
        hosts = _hosts(self.network)
        for at, pool in enumerate(self.pools):
            first, last = pool.range
            if not hosts[0] <= first <= last <= hosts[1]:
                raise ValueError(
                    f"pools[{at}]: {IPv4Address(first)}-{IPv4Address(last)} is not within the hosts of {self.network},"
                    f" {IPv4Address(hosts[0])}-{IPv4Address(hosts[1])}"
                )
            if any(first <= high and low <= last for low, high in seen):
                raise ValueError(f"pools[{at}]: overlaps another pool of {self.network}")
            seen.append((first, last))

    def _check_reservations(self) -> None:
        _check_reserved(self.reservations, "reservations", f"in {self} already")
        for at, each in enumerate(self.reservations):
            if each.address is not None and each.address not in self:
                raise ValueError(f"reservations[{at}]: {IPv4Address(each.address)} is not in {self.network}")

    def __contains__(self, address: int) -> bool:
        return self.first <= address <= self.last

    def __str__(self) -> str:
        return str(self.network)

    def pool(self, address: int) -> Pool | None:
        """The pool that gives out ``address``."""
        if self._sole is not None:
            return self._sole if self._low <= address <= self._high else None
        at = bisect_right(self._range_firsts, address) - 1
        if at >= 0:
            last, pool = self._ranges[at]
            if address <= last:
                return pool
        return None


def _check_reserved(reservations: Sequence[Reservation], key: str, where: str) -> None:
    """Each client and each address once."""
    clients: set[object] = set()
    addresses: set[int] = set()
    for at, each in enumerate(reservations):
        if each.identity in clients:
            raise ValueError(f"{key}[{at}]: {each} has a reservation {where}")
        clients.add(each.identity)
        if each.address is not None:
            if each.address in addresses:
                raise ValueError(f"{key}[{at}]: {IPv4Address(each.address)} is reserved already")
            addresses.add(each.address)


def _hosts(network: IPv4Network) -> tuple[int, int]:
    first, last = int(network.network_address), int(network.broadcast_address)
    return (first, last) if network.prefixlen >= 31 else (first + 1, last - 1)


DEFAULTS: Final = Parameters(lease_time=12 * 3600)
LONGEST_OFFER: Final = 86400
LONGEST_PROBATION: Final = 365 * 86400
"""Seconds. An address that is kept for ever for somebody who never comes is lost."""


@dataclass(frozen=True, eq=False)
class Config:
    """All that the engine goes by.

    Attributes:
        subnets: which must not overlap.
        parameters: for every client, where nothing more specific says otherwise.
        classes: parameters for kinds of clients.
        authoritative: whether this server knows every lease of its networks: it then answers with a NAK where
            RFC 2131 §4.3.2 has a server that has no record of a client keep silent.
        server_id: the server identifier (option 54), also as a dotted string; None takes the address of the
            interface, or the one that the relay agent sent to.
        offer_time: seconds for which an offered address is kept (RFC 2131 §3.1, step 2), a day at most.
        decline_time: seconds of probation of a declined address, or of one that was found in use; a year at most.
        bootp: which BOOTP clients get an address: "no" for none, "reserved" for those that have a reservation, or
            "dynamic" for all: for ever, because BOOTP knows no leases (RFC 1534 §2).
        definitions: which options have names and formats, as plugins find them in packets.
        filters: which hardware addresses are served.
        reservations: for clients in whatever subnet; the address of one counts in the subnet that it lies in.
        reservation_identifiers: what reservations are found by, the first that finds one; see ``IDENTIFIERS``.
        reservations_in_subnet, reservations_global: whether those of the subnet are looked at, and, after them, those
            for every subnet.
        address_choice: how an address is chosen for a client that has none: "least-recently-used" for one that was
            never used or else the one that was free longest, "sequential" for the lowest, "random", or "hash" for the
            one that belongs to the client by a hash, or the next one.
        stash_agent_options: whether what a relay agent says is kept with the lease, and counts when the client renews
            it by unicast, past the relay agent.
        agent_options_without_relay: what becomes of option 82 in a packet that came through no relay agent (RFC 3046
            §2.1): "ignore" it and give it back, "trust" it, as switches set it that are no relay agents otherwise, or
            "drop" the packet.
        leasequery: who may ask whose an address is; None for nobody.
        force_renew: who can be told to renew (RFC 3203): "nonce" for clients that know the server by a nonce
            (RFC 6704), "unauthenticated" for all others, too, or "off" for nobody.

    Raises:
        ValueError: subnets overlap, a class is named twice, or one that is asked for does not exist.
    """

    subnets: Sequence[Subnet] = ()
    parameters: Parameters = NOTHING_SAID
    classes: Sequence[Class] = ()
    authoritative: bool = False
    server_id: int | None = None
    offer_time: int = 60
    decline_time: int = 24 * 3600
    bootp: Bootp = "reserved"
    definitions: Definitions = STANDARD_OPTIONS
    filters: Filters = NO_FILTERS
    reservations: Sequence[Reservation] = ()
    reservation_identifiers: Sequence[str] = IDENTIFIERS
    reservations_in_subnet: bool = True
    reservations_global: bool = True
    address_choice: AddressChoice = "least-recently-used"
    stash_agent_options: bool = True
    agent_options_without_relay: Unrelayed = "ignore"
    leasequery: Leasequery | None = None
    force_renew: ForceRenew = "nonce"
    _sorted: Sequence[Subnet] = field(init=False, default=())

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(
            self,
            subnets: Sequence[Subnet] = (),
            parameters: Parameters = ...,
            classes: Sequence[Class] = (),
            authoritative: bool = False,
            server_id: AddressLike | None = None,
            offer_time: int = 60,
            decline_time: int = 24 * 3600,
            bootp: Bootp = "reserved",
            definitions: Definitions = STANDARD_OPTIONS,
            filters: Filters = ...,
            reservations: Sequence[Reservation] = (),
            reservation_identifiers: Sequence[str] = ...,
            reservations_in_subnet: bool = True,
            reservations_global: bool = True,
            address_choice: AddressChoice = "least-recently-used",
            stash_agent_options: bool = True,
            agent_options_without_relay: Unrelayed = "ignore",
            leasequery: Leasequery | None = None,
            force_renew: ForceRenew = "nonce",
        ) -> None: ...

    def __post_init__(self) -> None:
        _check_choice(self.address_choice)
        _set(self, "subnets", tuple(self.subnets))
        _set(self, "classes", tuple(self.classes))
        _set(self, "parameters", DEFAULTS.under(self.parameters))
        if self.server_id is not None:
            _set(self, "server_id", address_number(self.server_id))
        for name, most in (("offer_time", LONGEST_OFFER), ("decline_time", LONGEST_PROBATION)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 1 to {most} seconds, got {getattr(self, name)!r}")
        if self.bootp not in ("no", "reserved", "dynamic"):
            raise ValueError(f"bootp: expected 'no', 'reserved' or 'dynamic', got {self.bootp!r}")
        if (unrelayed := self.agent_options_without_relay) not in ("ignore", "trust", "drop"):
            raise ValueError(f"agent_options_without_relay: expected 'ignore', 'trust' or 'drop', got {unrelayed!r}")
        if self.force_renew not in ("nonce", "unauthenticated", "off"):
            raise ValueError(f"force_renew: expected 'nonce', 'unauthenticated' or 'off', got {self.force_renew!r}")
        ordered = sorted(self.subnets, key=lambda subnet: subnet.first)
        for one, two in pairwise(ordered):
            if two.first <= one.last:
                told = ", also in two virtual networks: an address is leased once" if one.virtual != two.virtual else ""
                raise ValueError(f"subnet: {one} and {two} overlap{told}")
        _set(self, "_sorted", tuple(ordered))
        relays: dict[tuple[int, bytes], Subnet] = {}
        for subnet in self.subnets:
            if any(each.virtual != subnet.virtual for each in self.link_of(subnet)):
                raise ValueError(f"subnet: shared-network {subnet.shared_network!r} is in several virtual networks")
            for relay in subnet.relays:
                if subnet not in self.link_of(relays.setdefault((relay, subnet.virtual), subnet)):
                    raise ValueError(
                        f"subnet: relay {IPv4Address(relay)} stands for {relays[relay, subnet.virtual]} and {subnet}"
                    )
        names = [each.name for each in self.classes]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"class: {name!r} is defined twice")
        self._check_reservations()
        self._check_classes()
        longest = max(each.offer_delay or 0 for each in self.levels())
        if longest >= self.offer_time:
            raise ValueError(f"offer_time: expected more than offer-delay, {longest} seconds, got {self.offer_time}")

    def _check_reservations(self) -> None:
        _set(self, "reservation_identifiers", tuple(self.reservation_identifiers))
        order = self.reservation_identifiers
        for name in order:
            if name not in IDENTIFIERS or order.count(name) > 1:
                known = ", ".join(map(repr, IDENTIFIERS))
                raise ValueError(f"reservation_identifiers: expected some of {known}, each once, got {name!r}")
        _set(self, "reservations", tuple(self.reservations))
        _check_reserved(self.reservations, "reservation", "for every subnet already")
        for at, each in enumerate(self.reservations):
            if each.address is None:
                continue
            subnet = self.subnet_of(each.address)
            if subnet is None:
                raise ValueError(f"reservation[{at}]: {IPv4Address(each.address)} is in no subnet")
            if each.address in subnet.by_address:
                raise ValueError(f"reservation[{at}]: {IPv4Address(each.address)} is reserved in {subnet} already")
        for where, reservations in self._reserved():
            for at, each in enumerate(reservations):
                for kind in each.kinds:
                    if kind not in order:
                        raise ValueError(f"{where}reservation[{at}]: {kind!r} is not among reservation-identifiers")

    def levels(self) -> list[Parameters]:
        """What clients are told, wherever something is said of that."""
        levels: list[Subnet | Pool | Class | Reservation] = [*self.classes, *self.reservations]
        for subnet in self.subnets:
            levels += [subnet, *subnet.pools, *subnet.reservations]
        return [self.parameters, *(each.parameters for each in levels)]

    def _reserved(self) -> list[tuple[str, Sequence[Reservation]]]:
        """All reservations, and where they stand."""
        return [
            ("", self.reservations),
            *((f"subnet[{at}].", each.reservations) for at, each in enumerate(self.subnets)),
        ]

    def _check_classes(self) -> None:
        classes = self.tests
        for at, subnet in enumerate(self.subnets):
            for name in subnet.classes:
                if name in classes.late_names:
                    raise ValueError(
                        f"subnet[{at}].classes: {name!r} depends on what is reserved for the client, which is known"
                        " only when its subnet is chosen"
                    )
            for where, users in (("", [subnet.classes]), (".pools", [pool.classes for pool in subnet.pools])):
                for i, names in enumerate(users):
                    for name in names:
                        if name not in classes.known:
                            key = f"{where}[{i}]" if where else ""
                            raise ValueError(f"subnet[{at}]{key}.classes: {classes.missing(name)}")
        for where, reservations in self._reserved():
            for at, each in enumerate(reservations):
                for name in each.classes:
                    if name not in classes.known:
                        raise ValueError(f"{where}reservation[{at}].classes: {classes.missing(name)}")

    @cached_property
    def _firsts(self) -> list[int]:
        return [subnet.first for subnet in self._sorted]

    @cached_property
    def _relays(self) -> Mapping[tuple[int, bytes], Subnet]:
        return {(relay, subnet.virtual): subnet for subnet in self.subnets for relay in subnet.relays}

    @cached_property
    def _shared(self) -> Mapping[str, tuple[Subnet, ...]]:
        """Subnets by their shared networks, in configured order."""
        found: dict[str, tuple[Subnet, ...]] = {}
        for subnet in self.subnets:
            if subnet.shared_network:
                found[subnet.shared_network] = (*found.get(subnet.shared_network, ()), subnet)
        return found

    def link_of(self, subnet: Subnet) -> tuple[Subnet, ...]:
        """The subnets of the link that one is on, itself among them, in configured order."""
        return self._shared[subnet.shared_network] if subnet.shared_network else (subnet,)

    @cached_property
    def classes_by_name(self) -> Mapping[str, Class]:
        """Classes by name; also the built-in ones that something asks for."""
        named = {each.name: each for each in self.classes}
        return {**{name: Class(name) for name in sorted(self.tests.known - named.keys())}, **named}

    @cached_property
    def tests(self) -> Classes:
        """Who is in which class."""
        users = [
            names for subnet in self.subnets for names in (subnet.classes, *(each.classes for each in subnet.pools))
        ]
        given = {name for _, reservations in self._reserved() for each in reservations for name in each.classes}
        return Classes(self.classes, {name for names in users for name in names}, given)

    @cached_property
    def by_address(self) -> Mapping[int, Reservation]:
        """Reservations for every subnet by address; those of a subnet it has itself."""
        return {each.address: each for each in self.reservations if each.address is not None}

    def choice(self, subnet: Subnet, pool: Pool) -> AddressChoice:
        """How an address of a pool is chosen."""
        return pool.address_choice or subnet.address_choice or self.address_choice

    def subnet_of(self, address: int) -> Subnet | None:
        """The subnet that an address lies in."""
        at = bisect_right(self._firsts, address) - 1
        return self._sorted[at] if at >= 0 and address <= self._sorted[at].last else None

    def subnet_of_relay(self, giaddr: int, virtual: bytes = GLOBAL) -> Subnet | None:
        """The subnet that a relay agent stands for (RFC 2131 §4.3.1) in a virtual network."""
        return self._relays.get((giaddr, virtual)) or self.subnet_of(giaddr)

    @cached_property
    def has_virtual_networks(self) -> bool:
        """Whether any subnet is in one."""
        return any(subnet.virtual_network for subnet in self.subnets)

    def subnets_on(self, name: str, addresses: Iterable[int]) -> tuple[Subnet, ...]:
        """The subnets of the network that an interface is on, in configured order."""
        own = list(addresses)
        found = {
            each
            for subnet in self.subnets
            if (name in subnet.interfaces if subnet.interfaces else any(address in subnet for address in own))
            for each in self.link_of(subnet)
        }
        return tuple(subnet for subnet in self.subnets if subnet in found)
