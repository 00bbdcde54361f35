"""Which subnet a client is in, by what name the server speaks to it, and which parameters hold for it."""

from __future__ import annotations

import pytest
from client import dotted, make_engine, make_subnet, number

from aiodhcp import Class, DropReason, Interface, MessageType, Parameters, Pool, Reservation, hookimpl
from aiodhcp.constants import INFINITE

HERE = make_subnet()
THERE = make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")


def link(*addresses: str, name: str = "eth0") -> Interface:
    return Interface(name, tuple(number(address) for address in addresses))


# ── the subnet ──


def test_the_subnet_of_the_interface(new_client):
    engine = make_engine(THERE, HERE)
    assert dotted(new_client(engine).discover().yiaddr) == "192.0.2.10"
    assert dotted(new_client(engine, interface=link("198.51.100.1")).discover().yiaddr) == "198.51.100.10"


def test_the_subnet_that_names_the_interface(new_client):
    engine = make_engine(make_subnet(interfaces=["eth1"]))
    client = new_client(engine, interface=link("203.0.113.1", name="eth1"))
    assert dotted(client.discover().yiaddr) == "192.0.2.10"
    assert client.exchange.subnet is engine.config.subnets[0]
    assert new_client(engine).discover() is None  # on eth0


def test_no_subnet_for_the_interface(new_client):
    client = new_client(interface=link("203.0.113.1"))
    assert client.discover() is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.exchange.why == "no subnet for interface eth0"


def test_the_subnet_of_the_relay_agent(new_client):
    client = new_client(make_engine(HERE, THERE), giaddr="198.51.100.1")
    assert dotted(client.discover().yiaddr) == "198.51.100.10"


def test_the_subnet_that_names_the_relay_agent(new_client):
    engine = make_engine(make_subnet(relays=["203.0.113.1"]))
    assert dotted(new_client(engine, giaddr="203.0.113.1").discover().yiaddr) == "192.0.2.10"


def test_no_subnet_for_the_relay_agent(new_client):
    client = new_client(giaddr="203.0.113.1")
    assert client.discover() is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.exchange.why == "no subnet for relay agent 203.0.113.1"


def test_on_a_link_with_two_subnets_the_first_is_for_newcomers(new_client):
    both = link("192.0.2.1", "198.51.100.1")
    engine = make_engine(HERE, THERE)
    assert dotted(new_client(engine, interface=both).discover().yiaddr) == "192.0.2.10"


def test_on_a_link_with_two_subnets_who_asks_for_the_second_gets_it(new_client):
    client = new_client(make_engine(HERE, THERE), interface=link("192.0.2.1", "198.51.100.1"))
    assert dotted(client.join(requested_address="198.51.100.50").yiaddr) == "198.51.100.50"
    # And keeps it, asking or not.
    assert dotted(client.discover().yiaddr) == "198.51.100.50"
    assert dotted(client.renew().yiaddr) == "198.51.100.50"


def test_on_a_link_with_several_subnets_the_next_that_has_an_address_serves_when_the_first_is_empty(new_client):
    subnets = [make_subnet(f"198.51.{n}.10", network=f"198.51.{n}.0/24") for n in range(3)]
    engine, all_three = make_engine(*subnets), link("198.51.0.1", "198.51.1.1", "198.51.2.1")
    given = [dotted(new_client(engine, interface=all_three).join().yiaddr) for _ in subnets]
    assert given == ["198.51.0.10", "198.51.1.10", "198.51.2.10"]
    late = new_client(engine, interface=all_three)
    assert late.discover() is None
    assert late.exchange.reason == DropReason.NOADDRESS


def test_a_client_behind_a_relay_agent_gets_no_address_of_the_servers_own_link(new_client):
    engine = make_engine(HERE, make_subnet("198.51.100.10", network="198.51.100.0/24"))
    new_client(engine, giaddr="198.51.100.254").join()
    late = new_client(engine, giaddr="198.51.100.254")
    assert late.discover() is None
    assert late.exchange.why == "no free address in 198.51.100.0/24"


# ── the server identifier ──


def server_of(client, **options) -> str:
    client.discover(**options)
    assert dotted(client.exchange.server_id) == dotted(client.server)
    return dotted(client.server)


def test_the_server_is_the_interfaces_address_in_the_subnet(new_client):
    both = link("192.0.2.1", "198.51.100.1")
    engine = make_engine(HERE, THERE)
    client = new_client(engine, interface=both)
    assert server_of(client) == "192.0.2.1"
    assert client.answer.source == number("192.0.2.1")
    assert server_of(new_client(engine, interface=both), requested_address="198.51.100.20") == "198.51.100.1"


def test_the_server_is_the_address_that_the_relay_agent_sent_to(new_client):
    """Which need not be the one in the client's subnet: to the client it must be the same by every way."""
    both = link("203.0.113.1", "198.51.100.1")
    client = new_client(make_engine(HERE, THERE), interface=both, giaddr="198.51.100.254")
    assert client.datagram(b"").destination == number("203.0.113.1")
    assert server_of(client) == "203.0.113.1"


def test_the_server_is_the_primary_address_if_none_is_in_the_subnet(new_client):
    engine = make_engine(make_subnet(interfaces=["eth0"]))
    assert server_of(new_client(engine, interface=link("203.0.113.1", "203.0.113.2"))) == "203.0.113.1"


def test_the_server_as_configured(new_client):
    """Nothing can be sent from an address that is not ours, so the source is left to the transport."""
    client = new_client(make_engine(server_id="203.0.113.67"))
    assert server_of(client) == "203.0.113.67"
    assert client.answer.source == 0
    assert client.join().message_type == MessageType.ACK


def test_a_server_without_an_address(new_client):
    client = new_client(make_engine(make_subnet(interfaces=["eth0"])), interface=link())
    assert client.discover() is None
    assert client.exchange.reason == DropReason.GEN_FAILURE
    assert client.exchange.why == "no server identifier: eth0 has no address"


# ── reservations ──


def test_a_reservation_by_hardware_address(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.20")
    engine = make_engine(make_subnet(reservations=[mine]))
    client = new_client(engine)
    assert dotted(client.join().yiaddr) == "192.0.2.20"
    assert client.exchange.reservation is mine
    assert client.exchange.pool is engine.config.subnets[0].pools[0]


def test_a_reservation_by_client_id_comes_before_one_by_hardware_address(new_client):
    mac = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.20")
    name = Reservation(client_id=b"\0printer", address="192.0.2.201")
    client = new_client(make_engine(make_subnet(reservations=[mac, name])), client_id=b"\0printer")
    assert dotted(client.join().yiaddr) == "192.0.2.201"
    assert client.exchange.pool is None


def test_a_reservation_by_hardware_address_holds_for_a_client_with_an_identifier_too(new_client):
    mac = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.20")
    client = new_client(make_engine(make_subnet(reservations=[mac])), client_id=b"\0printer")
    assert dotted(client.join().yiaddr) == "192.0.2.20"


def test_a_reserved_address_is_kept_for_its_client(new_client):
    mine = Reservation(client_id="01:02", address="192.0.2.10")
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11", reservations=[mine]))
    assert dotted(new_client(engine).join().yiaddr) == "192.0.2.11"
    assert new_client(engine).discover() is None


def test_while_somebody_else_has_the_reserved_address_there_is_one_of_the_pool(new_client):
    holder, owner = new_client(), new_client()
    holder.join()
    mine = Reservation(hardware_address="02:00:00:00:00:02", address="192.0.2.10")
    owner.engine = make_engine(make_subnet(reservations=[mine]), leases=holder.engine.leases)
    assert dotted(owner.join().yiaddr) == "192.0.2.11"


# ── parameters, the most specific last ──


def tell(level: str) -> Parameters:
    """A parameter of each kind, which says at what level it was set."""
    return Parameters(options={"domain-name": level, f"option-{LEVELS.index(level) + 224}": level.encode()})


LEVELS = ["server", "class", "class2", "subnet", "pool", "reservation"]


class Classify:
    """Puts clients into classes by their vendor class."""

    @hookimpl
    def dhcp_handle_options(self, options, exchange):
        if "vendor-class-identifier" in options:
            exchange.classes.update(options["vendor-class-identifier"].split())


@pytest.mark.parametrize("levels", [LEVELS[:n] for n in range(1, 7)], ids=lambda levels: levels[-1])
def test_the_most_specific_level_wins_and_the_others_still_count(new_client, levels):
    def at(level):
        return tell(level) if level in levels else Parameters()

    mine = Reservation(hardware_address="02:00:00:00:00:01", parameters=at("reservation"))
    subnet = make_subnet(Pool("192.0.2.10-192.0.2.99", at("pool")), reservations=[mine], parameters=at("subnet"))
    engine = make_engine(
        subnet,
        plugins=[Classify()],
        parameters=at("server"),
        classes=[Class("class", at("class")), Class("class2", at("class2"))],
    )
    # The order of classes is the configured one, whatever the order in which a client got into them.
    ack = new_client(engine, vendor_class_identifier="class2 class unheard-of").join()
    assert ack.options["domain-name"] == levels[-1]
    assert [code for code in ack.options if code >= 224] == [LEVELS.index(level) + 224 for level in levels]


def test_clients_of_different_classes_are_told_different_things(new_client):
    phones = Class("phones", Parameters(options={"domain-name": "phones.example"}, lease_time=600))
    engine = make_engine(plugins=[Classify()], classes=[phones])
    assert new_client(engine, vendor_class_identifier="phones").join().options["lease-time"] == 600
    assert "domain-name" not in new_client(engine).join().options
    assert new_client(engine, vendor_class_identifier="phones").join().options["domain-name"] == "phones.example"


def test_a_lease_time_for_ever_for_one_class(new_client):
    servers = Class("servers", Parameters(lease_time=INFINITE))
    engine = make_engine(plugins=[Classify()], classes=[servers])
    assert new_client(engine, vendor_class_identifier="servers").join().options["lease-time"] == INFINITE


def test_a_class_that_is_not_configured_is_warned_of_once(new_client, caplog):
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.20")
    engine = make_engine(make_subnet(reservations=[mine]), plugins=[Classify()])
    for _ in range(2):
        new_client(engine, vendor_class_identifier="phnoes").join()
    assert caplog.messages == ["a plugin put a client into class 'phnoes', which isn't configured"]


def test_what_is_known_of_many_clients_is_bounded(new_client, monkeypatch):
    """Plans and parameters are kept for as many kinds of clients as there is room for, and then anew."""
    monkeypatch.setattr("aiodhcp.replies.PLANS_KEPT", 2)
    monkeypatch.setattr("aiodhcp.replies.PLANS_OF_SUBNET", 1)
    engine = make_engine(plugins=[Classify()], classes=[Class(name, tell("class")) for name in "abcdefgh"])
    for name in "abcdefgh":
        ack = new_client(engine, vendor_class_identifier=name).join()
        assert ack.options["domain-name"] == "class"
        assert len(engine.replies._plans) <= 3
        assert len(engine.replies._parameters) <= 3
        assert len(engine.replies._by_classes) <= 2
        assert len(engine.replies._narrowed) <= 2
