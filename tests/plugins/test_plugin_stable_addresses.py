"""stable_addresses: the same client, the same address."""

from __future__ import annotations

import pytest
from aiodhcp_plugins.stable_addresses import ANY_WILL_DO, ASKED_FOR, StableAddresses
from client import Client, dotted, make_engine, make_subnet, number
from plugin_kit import error_lines, plugin

from aiodhcp import Engine, Parameters, Reservation


@pytest.fixture
def stable():
    """``stable(subnet, seed="x")``: an engine that has forgotten everything, with the plugin."""

    def make(*subnets: object, **settings: object) -> Engine:
        return make_engine(*subnets, plugins=[StableAddresses(StableAddresses.Settings(**settings))])

    return make


def addresses(engine: Engine, clock: object, count: int = 8) -> list[str]:
    """What clients are offered, each after the other."""
    clients = [Client(engine, clock, f"02:00:00:00:00:{at:02x}") for at in range(1, count + 1)]
    return [dotted(client.join().yiaddr) for client in clients]


def test_a_client_gets_the_same_address_from_a_server_that_forgot_it(stable, clock):
    first = addresses(stable(), clock)
    assert len(set(first)) == 8
    assert first != [f"192.0.2.{10 + at}" for at in range(8)]
    assert addresses(stable(), clock) == first
    assert addresses(stable(seed="another"), clock) != first


def test_all_of_the_pool_is_given_and_nothing_twice(stable, clock, caplog):
    engine = stable(make_subnet("192.0.2.10-192.0.2.14", "192.0.2.20-192.0.2.22"))
    assert sorted(addresses(engine, clock)) == [f"192.0.2.{at}" for at in (10, 11, 12, 13, 14, 20, 21, 22)]
    assert Client(engine, clock, "02:00:00:00:00:99").discover() is None
    assert not error_lines(caplog)


def test_what_was_offered_to_others_is_not_chosen(stable, clock, caplog):
    engine = stable(make_subnet("192.0.2.10-192.0.2.12"))
    offers = [Client(engine, clock, f"02:00:00:00:00:{at:02x}").discover() for at in range(3)]
    assert len({offer.yiaddr for offer in offers}) == 3
    assert not error_lines(caplog)


def test_an_offer_that_lapsed_is_free_again(stable, clock):
    engine = stable(make_subnet("192.0.2.10-192.0.2.10"))
    assert Client(engine, clock).discover() is not None
    assert Client(engine, clock, "02:00:00:00:00:02").discover() is None
    clock.advance(61)
    assert Client(engine, clock, "02:00:00:00:00:02").discover() is not None


def test_a_client_keeps_what_it_has(stable, clock):
    engine = stable()
    client = Client(engine, clock)
    had = client.join(requested_address="192.0.2.50").yiaddr
    assert dotted(had) == "192.0.2.50"
    assert client.discover().yiaddr == had
    assert client.renew().yiaddr == had
    client.release()
    assert client.discover().yiaddr == had


def test_a_wish_of_the_client_may_be_ignored(stable, clock):
    (address,) = addresses(stable(), clock, 1)
    client = Client(stable(requested=False), clock)
    assert dotted(client.discover(requested_address="192.0.2.50").yiaddr) == address


def test_what_is_reserved_comes_first(stable, clock):
    reserved = Reservation("02:00:00:00:00:01", address="192.0.2.99")
    assert addresses(stable(make_subnet(reservations=[reserved])), clock, 1) == ["192.0.2.99"]


@pytest.mark.parametrize(
    "taken",
    [
        {"reservations": [Reservation("02:00:00:00:00:99", address="192.0.2.11")]},
        {"parameters": Parameters({"routers": ["192.0.2.1", "192.0.2.11"]})},
        {"relays": ["192.0.2.11"]},
    ],
    ids=["reserved", "router", "relay agent"],
)
def test_what_nobody_may_have_is_not_chosen(stable, clock, taken, caplog):
    engine = stable(make_subnet("192.0.2.10-192.0.2.12", **taken))
    assert sorted(addresses(engine, clock, 2)) == ["192.0.2.10", "192.0.2.12"]
    assert not error_lines(caplog)


def test_the_relay_agent_itself_is_not_chosen(stable, clock):
    client = Client(stable(make_subnet("192.0.2.10-192.0.2.11")), clock, giaddr="192.0.2.10")
    assert client.discover().yiaddr == number("192.0.2.11")


def test_after_some_tries_the_server_chooses(stable, clock):
    given = addresses(stable(make_subnet("192.0.2.10-192.0.2.17"), tries=1), clock)
    assert len(set(given)) == 8


def test_the_server_says_why_an_address_in_the_words_that_are_looked_for(clock):
    reasons = []
    engine = make_engine(plugins=[plugin(select_address=lambda exchange: reasons.append(exchange.address_from))])
    client = Client(engine, clock)
    client.join()
    client.discover()
    Client(engine, clock, "02:00:00:00:00:02").discover(requested_address="192.0.2.50")
    client.release()
    one = make_engine(make_subnet("192.0.2.10-192.0.2.10"), plugins=engine.hooks.plugins, leases=engine.leases)
    Client(one, clock, "02:00:00:00:00:03").discover()
    assert reasons == [ANY_WILL_DO[0], "the client's lease", ASKED_FOR, ANY_WILL_DO[1]]


def test_an_offer_stands_though_a_better_address_becomes_free(stable, clock):
    (best,) = addresses(stable(), clock, 1)
    engine = stable()
    other = Client(engine, clock, "02:00:00:00:00:02")
    assert dotted(other.join(requested_address=best).yiaddr) == best
    client = Client(engine, clock)
    offer = client.discover()
    assert dotted(offer.yiaddr) != best
    other.release()
    assert client.discover().yiaddr == offer.yiaddr
