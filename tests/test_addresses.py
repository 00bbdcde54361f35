"""Addresses: who is offered which, in the order of RFC 2131 §4.3.1, and that nobody gets what another one has."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiodhcp.addresses import Addresses, Offer
from aiodhcp.leases import NEVER, Lease, LeaseState
from aiodhcp.parameters import Parameters
from aiodhcp.subnets import Config, Pool, Reservation, Subnet

ACTIVE, RELEASED, EXPIRED, DECLINED = LeaseState
NET, OTHER = int(IPv4Address("192.0.2.0")), int(IPv4Address("198.51.100.0"))
A, B, C = b"\1a", b"\1b", b"\1c"


def make(
    *pools: tuple[int, int], known: list[Lease] | None = None, reserved: dict[bytes, int] | None = None
) -> Addresses:
    """192.0.2.0/24 with these pools and reservations, and 198.51.100.0/24 with one pool; hosts are numbers."""
    subnet = Subnet(
        IPv4Network("192.0.2.0/24"),
        [Pool((NET + first, NET + last)) for first, last in pools or ((10, 12),)],
        [Reservation(client_id=client, address=NET + host) for client, host in (reserved or {}).items()],
    )
    other = Subnet(IPv4Network("198.51.100.0/24"), [Pool((OTHER + 10, OTHER + 11))])
    return Addresses(Config([subnet, other], offer_time=60), known or [])


def lease(host: int, client: bytes = A, expires: int = 1000, state: LeaseState = ACTIVE, net: int = NET) -> Lease:
    return Lease(net + host, client, 1, client, state, 0, expires)


def reserved_for(client: bytes, subnet: Subnet) -> Reservation | None:
    return next((each for each in subnet.reservations if each.client_id == client), None)


class Asking:
    """What a server does with ``addresses`` when clients ask; hosts are numbers of 192.0.2.0/24."""

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self.subnet = addresses.config.subnets[0]

    def reservation(self, client: bytes) -> Reservation | None:
        return reserved_for(client, self.subnet)

    def choose(self, client: bytes, requested: int = 0, now: float = 0, giaddr: int = 0) -> int | None:
        reservation = self.reservation(client)
        lease = self.addresses.leases.find(client, self.subnet.first, self.subnet.last)
        found = self.addresses.choose(client, self.subnet, reservation, lease, NET + requested, now, giaddr)
        return None if found is None else found[0] - NET

    def discover(self, client: bytes, requested: int = 0, now: float = 0, giaddr: int = 0) -> int | None:
        """Choose and offer."""
        host = self.choose(client, requested, now, giaddr)
        if host is not None:
            self.addresses.offer(client, NET + host, now)
        return host

    def may_have(self, client: bytes, host: int, now: float = 0) -> bool:
        return self.addresses.may_have(client, self.subnet, self.reservation(client), NET + host, now)

    def get(self, client: bytes, now: int = 0, **more: Any) -> int | None:
        """Discover and take what is offered, for 100 seconds."""
        host = self.discover(client, now=now, **more)
        if host is not None:
            self.addresses.enter(lease(host, client, now + 100), now)
        return host

    def offered(self, client: bytes) -> int | None:
        offer = self.addresses.offer_of(client, self.subnet)
        return None if offer is None else offer.address - NET


def asking(*pools: tuple[int, int], **more: Any) -> Asking:
    return Asking(make(*pools, **more))


def client(number: int) -> bytes:
    return b"\1client %d" % number


# ── the order of RFC 2131 §4.3.1 ──


def test_first_the_reserved_address() -> None:
    server = asking(known=[lease(10, A)], reserved={A: 50})
    assert server.choose(A, requested=11) == 50


def test_then_what_was_offered_already() -> None:
    server = asking(known=[lease(10, A, state=RELEASED)])
    server.addresses.offer(A, NET + 12, 0)
    assert server.choose(A, requested=11) == 12


@pytest.mark.parametrize("state", [ACTIVE, RELEASED, EXPIRED])
def test_then_the_clients_own(state: LeaseState) -> None:
    assert asking(known=[lease(12, A, state=state)]).choose(A, requested=11) == 12


def test_then_what_it_asks_for() -> None:
    assert asking().choose(A, requested=11) == 11


def test_then_one_that_was_never_used() -> None:
    server = asking(known=[lease(10, B, state=EXPIRED), lease(11, C)])
    assert server.choose(A) == 12


def test_then_the_one_longest_unused() -> None:
    known = [lease(10, B, 30, EXPIRED), lease(11, C, 10, EXPIRED), lease(12, client(4), 20, RELEASED)]
    server = asking(known=known)
    assert [server.discover(client(number)) for number in range(10, 14)] == [11, 12, 10, None]


@pytest.mark.parametrize("requested", [9, 13, 255, 256, -1, OTHER + 10 - NET])
def test_not_what_is_in_no_pool(requested: int) -> None:
    assert asking().choose(A, requested=requested) == 10


def test_not_its_own_if_somebody_has_it_now() -> None:
    server = asking(known=[lease(12, A, state=RELEASED)])
    server.addresses.enter(lease(12, B), 1000)
    assert server.choose(A) == 10


def test_not_its_own_while_it_is_declined() -> None:
    server = asking(known=[lease(12, A, 100, DECLINED)])
    assert server.choose(A, now=99) == 10
    assert server.choose(A, now=100) == 12


def test_not_what_was_offered_in_another_network() -> None:
    server = asking()
    subnet, other = server.addresses.config.subnets
    server.addresses.offer(A, OTHER + 11, 0)
    assert server.offered(A) is None
    assert server.discover(A) == 10
    assert server.addresses.offer_of(A, other) is None
    assert server.addresses.offer_of(A, subnet) == Offer(NET + 10, 60)


# ── reservations, and the server itself ──


def test_a_reserved_address_is_for_its_client_only() -> None:
    server = asking((10, 12), reserved={A: 11})
    assert server.choose(B, requested=11) == 10
    assert not server.may_have(B, 11)
    assert server.may_have(A, 11)
    assert [server.discover(client(number)) for number in range(3)] == [12, None, None]


def test_a_reserved_address_need_not_be_in_a_pool() -> None:
    server = asking(reserved={A: 50})
    assert server.may_have(A, 50)
    assert not server.may_have(A, 51)


def test_a_reservation_without_an_address_leaves_the_choice() -> None:
    server = asking()
    reservation = Reservation(client_id=A)
    assert server.addresses.choose(A, server.subnet, reservation, None, 0, 0) == (NET + 10, "never used before")


def test_a_reserved_address_comes_when_it_is_free() -> None:
    server = asking(known=[lease(50, B, 100)], reserved={A: 50})
    assert server.choose(A, now=99) == 10
    assert server.choose(A, now=100) == 50


def test_a_reserved_address_that_is_given_back_is_still_reserved() -> None:
    server = asking((10, 10), reserved={A: 10})
    assert server.get(A) == 10
    server.addresses.end(lease(10, A), RELEASED)
    assert server.choose(B) is None
    assert server.choose(A) == 10


def test_the_servers_own_addresses_are_not_given_out() -> None:
    server = asking((10, 12), known=[lease(11, B, 0, EXPIRED)], reserved={C: 50})
    server.addresses.own = {NET + 10, NET + 11, NET + 50}
    assert server.choose(A, requested=10) == 12
    assert server.choose(A, requested=11) is None
    assert not server.may_have(A, 10)


@pytest.mark.parametrize("level", ["server", "subnet"])
def test_the_routers_that_clients_are_told_of_keep_their_addresses(level: str) -> None:
    routers = Parameters(options={3: bytes((192, 0, 2, 10, 192, 0, 2, 12))})
    of_server, of_subnet = (routers, Parameters()) if level == "server" else (Parameters(), routers)
    lab = Subnet(IPv4Network("192.0.2.0/24"), [Pool((NET + 10, NET + 13))], parameters=of_subnet)
    server = Asking(Addresses(Config([lab], of_server)))
    assert not server.may_have(A, 12)
    assert [server.discover(client(number), requested=10) for number in range(3)] == [11, 13, None]


def test_relay_agents_keep_their_addresses() -> None:
    lab = Subnet(IPv4Network("192.0.2.0/24"), [Pool((NET + 10, NET + 12))], relays=[NET + 10])
    server = Asking(Addresses(Config([lab])))
    assert not server.may_have(A, 10)
    assert server.discover(A, requested=11, giaddr=NET + 11) == 12
    assert server.discover(B, giaddr=NET + 11) is None
    # But what anybody calls a relay agent's address isn't lost.
    assert server.discover(B) == 11


def test_a_relay_agents_address_that_was_offered_before_is_not_given_either() -> None:
    lab = Subnet(IPv4Network("192.0.2.0/24"), [Pool((NET + 10, NET + 10))])
    server = Asking(Addresses(Config([lab])))
    assert server.discover(A, requested=10) == 10
    server.addresses.withdraw(A)
    assert server.discover(B, giaddr=NET + 10) is None
    assert server.discover(B) == 10


def test_a_reserved_address_is_the_machines_whatever_its_client_id() -> None:
    machine = b"\2\0\0\0\0\1"
    lab = Subnet(IPv4Network("192.0.2.0/24"), reservations=[Reservation(machine, address=NET + 10)])
    server = Asking(Addresses(Config([lab]), [lease(10, A)._replace(chaddr=machine)]))
    for now, state, may in ((0, ACTIVE, True), (0, DECLINED, False), (1000, DECLINED, True)):
        server.addresses.leases.put(lease(10, A, state=state)._replace(chaddr=machine))
        assert server.addresses.may_have(B, lab, lab.reservations[0], NET + 10, now) == may
    server.addresses.leases.put(lease(10, A))  # of another machine
    assert not server.addresses.may_have(B, lab, lab.reservations[0], NET + 10, 0)


# ── offers ──


def test_an_offered_address_is_kept_for_its_client() -> None:
    server = asking((10, 11))
    assert server.discover(A) == 10
    assert server.offered(A) == 10
    assert not server.may_have(B, 10)
    assert server.may_have(A, 10)
    assert server.discover(B, requested=10) == 11
    assert server.discover(C) is None


def test_the_same_again_to_a_client_that_asks_again() -> None:
    server = asking()
    assert [server.discover(A, now=now) for now in range(5)] == [10] * 5
    assert server.discover(B) == 11


def test_an_offer_lapses() -> None:
    server = asking((10, 10))
    assert server.discover(A, now=0) == 10
    server.addresses.lapse(59.9)
    assert server.discover(B, now=59.9) is None
    server.addresses.lapse(60)
    assert server.offered(A) is None
    assert server.discover(B, now=60) == 10


def test_an_offer_is_refreshed() -> None:
    server = asking((10, 11))
    server.discover(A, now=0)
    server.discover(B, now=10)
    server.discover(A, now=30)
    server.addresses.lapse(70)
    assert server.offered(A) == 10
    assert server.offered(B) is None
    server.addresses.lapse(90)
    assert server.offered(A) is None


def test_another_offer_takes_the_place_of_the_first() -> None:
    server = asking((10, 10))
    server.discover(A)
    server.addresses.offer(A, OTHER + 10, 0)
    assert server.offered(A) is None
    assert server.discover(B) == 10


def test_an_offer_is_withdrawn() -> None:
    server = asking((10, 10))
    server.discover(A)
    server.addresses.withdraw(B)  # who has none
    assert server.discover(B) is None
    server.addresses.withdraw(A)
    assert server.discover(B) == 10


def test_a_taken_offer_does_not_make_the_address_free() -> None:
    server = asking((10, 10))
    server.discover(A)
    server.addresses.withdraw(A, taken=True)
    assert server.discover(B) is None
    server.addresses.give_back(NET + 10)
    assert server.discover(B) == 10


# ── what a client may have ──


@pytest.mark.parametrize(
    ("known", "now", "may"),
    [
        (None, 0, True),
        (lease(10, A), 0, True),
        (lease(10, A, state=RELEASED), 0, True),
        (lease(10, A, state=EXPIRED), 0, True),
        (lease(10, A, 100, DECLINED), 99, False),
        (lease(10, A, 100, DECLINED), 100, True),
        (lease(10, B, 100), 99, False),
        (lease(10, B, 100), 100, True),
        (lease(10, B, NEVER), 10**9, False),
        (lease(10, B, state=RELEASED), 0, True),
        (lease(10, B, NEVER, RELEASED), 0, True),
        (lease(10, B, state=EXPIRED), 0, True),
        (lease(10, B, 100, DECLINED), 99, False),
    ],
)
def test_may_have(known: Lease | None, now: float, may: bool) -> None:
    server = asking(known=[known] if known else [])
    assert server.may_have(A, 10, now) == may
    assert (server.choose(A, requested=10, now=now) == 10) == may


@pytest.mark.parametrize("host", [0, 9, 13, 255])
def test_may_have_only_what_is_in_a_pool(host: int) -> None:
    assert not asking(known=[lease(host, A)]).may_have(A, host)


# ── entering and ending leases ──


def test_a_lease_takes_the_place_of_the_offer() -> None:
    server = asking((10, 10))
    server.discover(A)
    assert server.addresses.enter(lease(10, A), 1000) == [lease(10, A)]
    assert server.offered(A) is None
    assert server.addresses.leases.get(NET + 10) == lease(10, A)
    server.addresses.lapse(10**6)
    assert server.discover(B) is None


def test_a_lease_moves_the_client() -> None:
    server = asking((10, 11), known=[lease(10, A)])
    assert server.addresses.enter(lease(11, A), 1000) == [lease(11, A), lease(10, A, state=RELEASED)]
    assert server.addresses.leases.find(A, NET, NET + 255) == lease(11, A)
    assert server.discover(B) == 10
    # And back.
    server.addresses.withdraw(B)
    assert server.addresses.enter(lease(10, A), 1000) == [lease(10, A), lease(11, A, state=RELEASED)]
    assert server.addresses.leases.find(A, NET, NET + 255) == lease(10, A)


@pytest.mark.parametrize(("now", "end"), [(400, 400), (1500, 1000)])
def test_the_lease_before_ends_now_unless_it_has_ended(now: int, end: int) -> None:
    server = asking((10, 11), known=[lease(10, A)])
    _, ended = server.addresses.enter(lease(11, A, 2000), now)
    assert ended == lease(10, A, end, RELEASED)


@pytest.mark.parametrize("state", [RELEASED, EXPIRED, DECLINED])
def test_what_had_ended_is_not_ended_again(state: LeaseState) -> None:
    server = asking(known=[lease(10, A, state=state)])
    assert server.addresses.enter(lease(11, A), 1000) == [lease(11, A)]
    assert server.addresses.leases.get(NET + 10) == lease(10, A, state=state)


def test_a_lease_in_another_network_stays() -> None:
    server = asking(known=[lease(10, A)])
    there = lease(10, A, net=OTHER)
    assert server.addresses.enter(there, 1000) == [there]
    assert list(server.addresses.leases) == [lease(10, A), there]


def test_a_lease_of_no_subnet_is_entered_all_the_same() -> None:
    server = asking()
    stray = lease(10, A, net=0x0A000000)
    assert server.addresses.enter(stray, 1000) == [stray]
    assert server.addresses.end(stray, EXPIRED) == stray._replace(state=EXPIRED)
    assert server.addresses.leases.get(stray.address) == stray._replace(state=EXPIRED)


def test_an_offer_that_is_not_taken_is_free_again() -> None:
    server = asking((10, 10))
    assert server.discover(A) == 10
    server.addresses.enter(lease(10, A, net=OTHER), 1000)  # it has gone elsewhere
    assert server.offered(A) is None
    assert server.discover(B) == 10


def test_an_ended_lease_is_remembered_and_free() -> None:
    server = asking((10, 10), known=[lease(10, A)])
    assert server.choose(B) is None
    assert server.addresses.end(lease(10, A), EXPIRED) == lease(10, A, state=EXPIRED)
    assert server.choose(A) == 10
    assert server.discover(B) == 10
    assert server.choose(A) is None


def test_giving_back_what_is_in_no_pool_does_nothing() -> None:
    server = asking((10, 10))
    server.addresses.give_back(NET + 9)
    server.addresses.give_back(1)
    assert [server.discover(client(number)) for number in range(2)] == [10, None]


def test_the_client_of_a_declined_address_keeps_its_new_one() -> None:
    server = asking(known=[lease(10, A, 100, DECLINED)])
    assert server.get(A) == 11
    for ended in server.addresses.leases.due(100):
        server.addresses.end(ended, EXPIRED)
    assert server.choose(A, now=100) == 11
    assert server.addresses.enter(lease(11, A, 300), 100) == [lease(11, A, 300)]


# ── exhaustion and reuse ──


def test_an_exhausted_pool_serves_those_who_have_an_address() -> None:
    server = asking((10, 12))
    assert [server.get(client(number)) for number in range(5)] == [10, 11, 12, None, None]
    assert [server.get(client(number)) for number in range(5)] == [10, 11, 12, None, None]


def test_reuse_begins_with_the_one_longest_unused() -> None:
    server = asking((10, 13))
    for number in range(3):
        server.get(client(number))
    for number in (2, 0, 1):
        server.addresses.end(lease(10 + number, client(number)), RELEASED)
    assert [server.get(client(number)) for number in range(10, 15)] == [13, 12, 10, 11, None]


def test_an_address_its_client_took_again_is_not_given_to_another() -> None:
    server = asking((10, 10))
    server.get(A)
    server.addresses.end(lease(10, A), RELEASED)
    assert server.get(A) == 10
    assert server.choose(B, now=50) is None


def test_one_pool_after_the_other() -> None:
    server = asking((20, 21), (10, 11))
    assert [server.get(client(number)) for number in range(3)] == [20, 21, 10]
    server.addresses.end(lease(20, client(0)), RELEASED)
    assert [server.get(client(number)) for number in range(10, 13)] == [20, 11, None]


def test_a_subnet_without_pools_has_reservations_only() -> None:
    subnet = Subnet(IPv4Network("192.0.2.0/24"), reservations=[Reservation(client_id=A, address=NET + 5)])
    addresses = Addresses(Config([subnet]))
    assert addresses.choose(A, subnet, subnet.reservations[0], None, 0, 0) == (NET + 5, "reserved for the client")
    assert addresses.choose(B, subnet, None, None, NET + 5, 0) is None


# ── a new start ──


def test_of_several_leases_that_ended_the_last_is_remembered() -> None:
    """A store has them in whatever order."""
    server = asking((10, 13), known=[lease(10, A, 300, RELEASED), lease(11, A, 200, EXPIRED)])
    assert server.choose(A, now=400) == 10


def test_known_leases_are_kept_over_a_new_start() -> None:
    before = asking((10, 13))
    for number in range(4):
        before.get(client(number), now=number)
    before.addresses.end(lease(12, client(2), 50), RELEASED)
    before.addresses.end(lease(10, client(0), 60), EXPIRED)
    server = asking((10, 13), known=list(before.addresses.leases))
    assert not server.may_have(B, 11)
    assert server.choose(client(3)) == 13
    assert [server.discover(client(number)) for number in range(10, 13)] == [12, 10, None]


def test_a_lease_that_ended_meanwhile_is_free_once_that_was_noticed() -> None:
    server = asking((10, 10), known=[lease(10, B, 100)])
    assert server.choose(A, now=200) is None
    for ended in server.addresses.leases.due(200):
        server.addresses.end(ended, EXPIRED)
    assert server.choose(A, now=200) == 10


@pytest.mark.parametrize(
    "known", [[lease(10, A, state=RELEASED), lease(12, A)], [lease(10, A), lease(12, A, state=EXPIRED)]]
)
def test_the_active_lease_counts_in_whatever_order_they_were_stored(known: list[Lease]) -> None:
    active = next(each for each in known if each.state == ACTIVE)
    assert asking(known=known).choose(A) == active.address - NET
    assert asking(known=known[::-1]).choose(A) == active.address - NET


def test_a_pool_that_has_moved() -> None:
    server = asking((20, 21), known=[lease(10, A), lease(11, B, state=RELEASED)])
    assert not server.may_have(A, 10)
    assert server.get(A) == 20
    assert server.addresses.leases.get(NET + 10) == lease(10, A, 0, RELEASED)
    assert server.get(B) == 21


# ── whatever happens ──

CLIENTS = [client(number) for number in range(6)]
clients = st.sampled_from(CLIENTS)
places = st.sampled_from([0, 1])
hosts = st.sampled_from([0, 9, 10, 11, 12, 13, 20, 50])
before = st.builds(lease, st.sampled_from([10, 11, 13, 50]), clients, st.integers(0, 90), st.sampled_from(LeaseState))


class Network(RuleBasedStateMachine):
    """Clients do as they please: no address is promised to two of them, and in the end all are there to be given."""

    @initialize(
        known=st.lists(before, max_size=4, unique_by=lambda each: each.client if each.state == ACTIVE else each)
    )
    def starts(self, known: list[Lease]) -> None:
        self.now = 0
        self.addresses = make((10, 11), (12, 14), known=known, reserved={CLIENTS[0]: 13, CLIENTS[1]: 50})
        self.subnets = self.addresses.config.subnets
        self.offers: dict[bytes, int] = {}
        self.leases: dict[int, tuple[bytes, int]] = {}  # who may use an address, and until when
        for each in self.addresses.leases:
            if each.state == ACTIVE:
                self.leases[each.address] = each.client, each.expires

    def holder(self, address: int) -> bytes | None:
        client, expires = self.leases.get(address, (None, 0))
        return client if expires > self.now else None

    def promised(self, address: int, but: bytes) -> bool:
        """Whether somebody else has been offered the address, or may use it."""
        offered = any(address == each for client, each in self.offers.items() if client != but)
        return offered or self.holder(address) not in (None, but)

    @rule(client=clients, place=places, host=hosts, relay=st.sampled_from([0, 0, 1, 10, 11, 12]))
    def discovers(self, client: bytes, place: int, host: int, relay: int) -> None:
        subnet = self.subnets[place]
        reservation = reserved_for(client, subnet)
        giaddr = subnet.first + relay if relay else 0
        lease = self.addresses.leases.find(client, subnet.first, subnet.last)
        found = self.addresses.choose(client, subnet, reservation, lease, subnet.first + host, self.now, giaddr)
        address = None if found is None else found[0]
        if address is None:
            return
        assert address in subnet
        assert address != giaddr
        assert not self.promised(address, client)
        assert address not in subnet.by_address or subnet.by_address[address] is reservation
        known = self.addresses.leases.get(address)
        assert known is None or known.state != DECLINED or known.expires <= self.now
        self.addresses.offer(client, address, self.now)
        self.offers[client] = address

    @rule(client=clients, place=places, host=hosts, offered=st.booleans(), seconds=st.integers(1, 100))
    def requests(self, client: bytes, place: int, host: int, offered: bool, seconds: int) -> None:
        subnet = self.subnets[place]
        address = subnet.first + host
        if offered and client in self.offers:
            address = self.offers[client]
            subnet = next(each for each in self.subnets if address in each)
        if not self.addresses.may_have(client, subnet, reserved_for(client, subnet), address, self.now):
            return
        assert not self.promised(address, client)
        entered = Lease(address, client, 1, client, ACTIVE, self.now, self.now + seconds)
        first, *others = self.addresses.enter(entered, self.now)
        assert first == entered
        for other in others:
            assert (other.client, other.state) == (client, RELEASED)
            del self.leases[other.address]
        self.leases[address] = client, entered.expires
        self.offers.pop(client, None)

    @rule(client=clients)
    def chooses_another_server(self, client: bytes) -> None:
        self.addresses.withdraw(client)
        self.offers.pop(client, None)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), state=st.sampled_from([RELEASED, DECLINED]))
    def gives_up(self, data: st.DataObject, state: LeaseState) -> None:
        address = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.addresses.leases.get(address)
        assert lease is not None
        if lease.holds(self.now):
            if state == RELEASED:
                self.addresses.end(lease, RELEASED)
            else:
                self.addresses.leases.put(lease._replace(state=DECLINED, expires=self.now + 50))
            del self.leases[address]

    @rule(seconds=st.sampled_from([1, 10, 60, 100]), notices=st.booleans())
    def time_passes(self, seconds: int, notices: bool) -> None:
        self.now += seconds
        if notices:
            self.tick()

    def tick(self) -> None:
        self.addresses.lapse(self.now)
        for client, address in list(self.offers.items()):
            subnet = next(each for each in self.subnets if address in each)
            if self.addresses.offer_of(client, subnet) is None:
                del self.offers[client]
        for ended in self.addresses.leases.due(self.now):
            assert ended.expires <= self.now
            self.addresses.end(ended, EXPIRED)
            self.leases.pop(ended.address, None)

    @invariant()
    def nobody_shares(self) -> None:
        assert len(set(self.offers.values())) == len(self.offers)
        for lease in self.addresses.leases:
            if lease.holds(self.now):
                assert self.holder(lease.address) == lease.client
        for subnet in self.subnets:
            for client in CLIENTS:
                own = [each for each in self.addresses.leases if each.client == client and each.address in subnet]
                assert sum(each.holds(self.now) for each in own) <= 1

    def teardown(self) -> None:
        if hasattr(self, "addresses"):
            self.now += 1000
            self.tick()
            assert self.offers == {}
            free = []
            for number in range(10):
                asker = b"\1asker %d" % number
                for subnet in self.subnets:
                    known = self.addresses.leases.find(asker, subnet.first, subnet.last)
                    found = self.addresses.choose(asker, subnet, None, known, 0, self.now)
                    address = None if found is None else found[0]
                    if address is not None:
                        self.addresses.enter(Lease(address, asker, 1, asker, ACTIVE, self.now, self.now + 10), self.now)
                        free.append(address)
            assert sorted(free) == [NET + 10, NET + 11, NET + 12, NET + 14, OTHER + 10, OTHER + 11]


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_pool_of_two_configurations_ago_has_nothing_to_give():
    """A packet on its way may still know it; those of the one before still give."""
    subnets = [Subnet("192.0.2.0/24", [f"192.0.2.{first}-192.0.2.{first + 9}"]) for first in (10, 20, 30)]
    addresses = Addresses(Config([subnets[0]]))
    addresses.adopt(Config([subnets[1]]))
    assert addresses.choose(A, subnets[0], None, None, 0, 0) == (NET + 10, "never used before")
    addresses.adopt(Config([subnets[2]]))
    assert addresses.choose(A, subnets[0], None, None, 0, 0) is None
    assert addresses.choose(A, subnets[1], None, None, 0, 0) == (NET + 20, "never used before")
    assert addresses.choose(A, subnets[2], None, None, 0, 0) == (NET + 30, "never used before")
