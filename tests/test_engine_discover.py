"""DISCOVER (RFC 2131 §4.3.1): which address is offered, and for how long."""

from __future__ import annotations

import pytest
from client import LINK, Client, dotted, make_engine, make_subnet, number

from aiodhcp import DropReason, Interface, Lease, LeaseState, MessageType, Parameters, Pool, Reservation, Subnet
from aiodhcp.constants import INFINITE
from aiodhcp.leases import NEVER

OFFER = MessageType.OFFER
A_DAY = 24 * 3600


def offered(client: Client, **options: object) -> str:
    """The address that a DISCOVER is answered with."""
    offer = client.discover(**options)
    assert offer is not None, client.exchange.why
    assert offer.message_type == OFFER
    return dotted(offer.yiaddr)


# ── the address ──


def test_a_new_client_is_offered_the_first_address_never_used(new_client):
    assert offered(new_client()) == "192.0.2.10"
    assert offered(new_client()) == "192.0.2.11"


def test_an_offer_is_a_promise_not_a_lease(client, engine):
    client.discover()
    assert client.exchange.changes is None
    assert client.exchange.lease_after is None
    assert len(engine.leases) == 0


def test_a_discover_that_is_sent_again_gets_the_same_offer(client, clock):
    client.discover()
    sent, first = client.exchange.datagram.data, client.answer.data
    clock.advance(4)
    client.send(sent)
    assert client.answer.data == first


def test_the_reserved_address_comes_before_all_others(new_client):
    engine = make_engine()
    client = new_client(engine)
    client.join()
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.200")
    client.engine = make_engine(make_subnet(reservations=[mine]), leases=engine.leases)
    assert offered(client, requested_address="192.0.2.30") == "192.0.2.200"


def test_the_current_address_comes_before_the_requested_one(client):
    client.join()
    assert offered(client, requested_address="192.0.2.30") == "192.0.2.10"


def test_a_client_that_discovers_again_keeps_its_offer_whatever_it_asks_for(client):
    assert offered(client) == "192.0.2.10"
    assert offered(client, requested_address="192.0.2.30") == "192.0.2.10"


def test_a_released_address_is_offered_to_the_same_client_again(client, new_client):
    client.join()
    client.release()
    assert offered(new_client()) == "192.0.2.11"
    assert offered(client, requested_address="192.0.2.30") == "192.0.2.10"


def test_an_expired_address_is_offered_to_the_same_client_again(client, clock, engine):
    client.join()
    clock.advance(A_DAY)
    engine.tick(clock())
    assert engine.leases.get(number("192.0.2.10")).state == LeaseState.EXPIRED
    assert offered(client) == "192.0.2.10"


def test_an_address_that_somebody_else_has_by_now_is_not_offered(new_client):
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11"))
    old, new = new_client(engine), new_client(engine)
    old.join()
    old.release()
    new.join(requested_address="192.0.2.10")
    assert offered(old) == "192.0.2.11"


def test_the_requested_address_if_it_is_free(client):
    assert offered(client, requested_address="192.0.2.30") == "192.0.2.30"


@pytest.mark.parametrize(
    "requested",
    [
        pytest.param("192.0.2.40", id="leased"),
        pytest.param("192.0.2.41", id="offered"),
        pytest.param("192.0.2.42", id="reserved"),
        pytest.param("192.0.2.43", id="declined"),
        pytest.param("192.0.2.44", id="excluded"),
        pytest.param("192.0.2.200", id="in no pool"),
        pytest.param("198.51.100.7", id="in no subnet"),
        pytest.param(b"\xc0\x00\x02", id="not an address"),
    ],
)
def test_the_requested_address_is_not_offered_when(new_client, requested):
    engine = make_engine(
        make_subnet(
            Pool("192.0.2.10-192.0.2.99", exclude=["192.0.2.44"]),
            reservations=[Reservation(client_id="01:02", address="192.0.2.42")],
        )
    )
    new_client(engine).join(requested_address="192.0.2.40")
    new_client(engine).discover(requested_address="192.0.2.41")
    decliner = new_client(engine)
    decliner.join(requested_address="192.0.2.43")
    decliner.decline()
    assert offered(new_client(engine), requested_address=requested) == "192.0.2.10"


def test_of_the_addresses_given_back_the_longest_unused_comes_first(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11"))
    one, two = new_client(engine), new_client(engine)
    one.join()
    two.join()
    two.release()
    clock.advance(1)
    one.release()
    assert offered(new_client(engine)) == "192.0.2.11"
    assert offered(new_client(engine)) == "192.0.2.10"


def test_after_a_restart_the_longest_unused_comes_first_too(new_client):
    def lease(address, state, expires):
        return Lease(number(address), address.encode(), 1, b"", state, 0, expires)

    leases = [
        lease("192.0.2.10", LeaseState.EXPIRED, 300),
        lease("192.0.2.11", LeaseState.RELEASED, 100),
        lease("192.0.2.12", LeaseState.ACTIVE, NEVER),
        lease("203.0.113.1", LeaseState.RELEASED, 100),  # of a subnet that is gone
    ]
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.12"), leases=leases)
    assert offered(new_client(engine)) == "192.0.2.11"
    assert offered(new_client(engine)) == "192.0.2.10"


def test_an_address_whose_lease_has_ended_is_free_even_before_a_tick(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"))
    new_client(engine).join()
    clock.advance(A_DAY)
    assert offered(new_client(engine), requested_address="192.0.2.10") == "192.0.2.10"


def test_an_empty_pool_offers_nothing(new_client):
    engine = make_engine(make_subnet("192.0.2.10"))
    new_client(engine).join()
    late = new_client(engine)
    assert late.discover() is None
    assert late.exchange.reason == DropReason.NOADDRESS
    assert late.exchange.why == "no free address in 192.0.2.0/24"


def test_a_subnet_without_pools_serves_its_reservations_only(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.20")
    engine = make_engine(Subnet("192.0.2.0/24", reservations=[mine]))
    assert offered(new_client(engine)) == "192.0.2.20"
    assert new_client(engine).discover() is None


def test_an_offer_that_is_not_taken_up_lapses(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"), offer_time=30)
    new_client(engine).discover()
    late = new_client(engine)
    clock.advance(29)
    assert late.discover() is None
    clock.advance(1)
    assert offered(late) == "192.0.2.10"


def test_an_offer_that_is_made_again_lapses_later(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"), offer_time=30)
    slow, late = new_client(engine), new_client(engine)
    slow.discover()
    clock.advance(20)
    slow.discover()
    clock.advance(20)
    assert late.discover() is None


def test_an_offer_elsewhere_takes_the_place_of_the_one_before(new_client):
    engine = make_engine(make_subnet("192.0.2.10"), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    traveller = new_client(engine)
    traveller.discover()
    traveller.giaddr = number("198.51.100.1")
    assert offered(traveller) == "198.51.100.10"
    assert offered(new_client(engine)) == "192.0.2.10"


def test_the_pools_are_used_in_order(new_client):
    engine = make_engine(make_subnet("192.0.2.90-192.0.2.91", "192.0.2.10"))
    assert [offered(new_client(engine)) for _ in range(3)] == ["192.0.2.90", "192.0.2.91", "192.0.2.10"]


def test_excluded_addresses_are_left_out(new_client):
    pool = Pool("192.0.2.10-192.0.2.15", exclude=["192.0.2.10", "192.0.2.12-192.0.2.14"])
    engine = make_engine(make_subnet(pool))
    assert [offered(new_client(engine)) for _ in range(2)] == ["192.0.2.11", "192.0.2.15"]
    assert new_client(engine).discover() is None


def test_an_address_of_the_servers_own_is_given_to_nobody(new_client):
    engine = make_engine(make_subnet("192.0.2.1-192.0.2.2"))
    assert offered(new_client(engine), requested_address="192.0.2.1") == "192.0.2.2"
    assert new_client(engine).discover() is None


def test_an_own_address_that_is_seen_late_is_given_to_nobody_either(new_client):
    """Interfaces come and go: what was free is not, once it is the server's own."""
    engine = make_engine(make_subnet("192.0.2.2-192.0.2.3"), offer_time=30)
    one, two = new_client(engine), new_client(engine)
    one.join()
    two.join()
    one.release()
    two.release()
    moved = Interface("eth0", (*LINK.addresses, number("192.0.2.2")))
    assert offered(new_client(engine, interface=moved)) == "192.0.2.3"


# ── the time ──

HOUR = Parameters(lease_time=3600)
LIMITS = Parameters(lease_time=3600, min_lease_time=600, max_lease_time=7200)
FOREVER = Parameters(lease_time=3600, max_lease_time=INFINITE)


@pytest.mark.parametrize(
    ("parameters", "requested", "granted"),
    [
        (Parameters(), None, 12 * 3600),
        (HOUR, None, 3600),
        (HOUR, 1800, 1800),
        (HOUR, 7200, 3600),  # no more than configured, unless max_lease_time says so
        (HOUR, 1, 60),
        (Parameters(lease_time=30), 1, 30),
        (LIMITS, None, 3600),
        (LIMITS, 7200, 7200),
        (LIMITS, 7201, 7200),
        (LIMITS, 600, 600),
        (LIMITS, 599, 600),
        (LIMITS, INFINITE, 7200),
        (LIMITS, b"\0\1", 3600),  # not a time
        (FOREVER, INFINITE, INFINITE),
        (Parameters(lease_time=INFINITE), None, INFINITE),
    ],
)
def test_the_lease_time(new_client, parameters, requested, granted):
    client = new_client(make_engine(parameters=parameters))
    assert client.discover(lease_time=requested).options["lease-time"] == granted
    assert client.join(lease_time=requested).options["lease-time"] == granted
    assert client.exchange.lease_time == granted


def test_t1_and_t2_are_a_half_and_seven_eighths(new_client):
    offer = new_client(make_engine(parameters=HOUR)).discover()
    assert offer.options["renewal-time"] == 1800
    assert offer.options["rebinding-time"] == 3150


def test_t1_and_t2_as_configured(new_client):
    parameters = Parameters(lease_time=3600, renewal_time=600, rebinding_time=1200)
    offer = new_client(make_engine(parameters=parameters)).discover()
    assert offer.options["renewal-time"] == 600
    assert offer.options["rebinding-time"] == 1200


def test_t1_and_t2_never_come_after_the_end(new_client):
    parameters = Parameters(lease_time=3600, renewal_time=1800, rebinding_time=3000)
    offer = new_client(make_engine(parameters=parameters)).discover(lease_time=900)
    assert offer.options["rebinding-time"] == 787
    assert offer.options["renewal-time"] == 393
    offer = new_client(make_engine(parameters=Parameters(lease_time=2))).discover()
    assert "rebinding-time" not in offer.options


def test_a_lease_without_end_has_no_t1_and_no_t2(new_client, clock):
    engine = make_engine(parameters=Parameters(lease_time=INFINITE))
    client = new_client(engine)
    ack = client.join()
    assert "renewal-time" not in ack.options
    assert "rebinding-time" not in ack.options
    assert client.exchange.lease_after.expires == NEVER
    clock.advance(100 * 366 * A_DAY)
    assert engine.tick(clock()) == ([], [])
    assert client.exchange.lease_after.holds(clock())


def test_the_time_of_a_pool_and_of_a_reservation(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", parameters=Parameters(lease_time=111))
    pool = Pool("192.0.2.10-192.0.2.99", Parameters(lease_time=222))
    engine = make_engine(make_subnet(pool, reservations=[mine]))
    assert new_client(engine).discover().options["lease-time"] == 111
    assert new_client(engine).discover().options["lease-time"] == 222
