"""The server's own hooks: each fires when its docstring says, is told what that says, and its verdicts count.

How hooks are called in general is in test_hooks_calling.py, policies are in test_policies.py.
"""

from __future__ import annotations

import asyncio
import inspect
from ipaddress import IPv4Address, IPv4Network

import pytest
from client import LINK, AsyncClient, Client, Clock, dotted, make_engine, make_subnet, number
from plugin_kit import broken, error_lines, plugin, talk
from wire import DISCOVER as WIRE_DISCOVER
from wire import FIRST, ask, config, lease, message, number_of, release, renew, until

from aiodhcp import (
    Class,
    ConfigError,
    DhcpServer,
    Drop,
    DropReason,
    Interface,
    LeaseState,
    MemoryStore,
    MemoryTransport,
    MessageType,
    Nak,
    Parameters,
    Plugin,
    Policy,
    Pool,
    Reservation,
    Subnet,
    Use,
)
from aiodhcp.constants import INFINITE
from aiodhcp.hooks import Hooks

CHOICES = ["select_subnet", "reservation_lookup", "unknown_client", "select_address", "select_lease_time"]
EARLY = CHOICES[:3]
OTHER = make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")


def noting(calls: list, answer=None):
    """A hook that notes being called."""

    def hook():
        calls.append("called")
        return answer

    return hook


def failures(client: Client) -> dict:
    return dict(client.engine.hooks.failures)


# ── config_loaded ──


def server_with(*plugins: object, **more) -> DhcpServer:
    return DhcpServer(config(), plugins=plugins, store=MemoryStore(), transport=MemoryTransport(), **more)


async def test_config_loaded():
    calls = []

    def loaded(server, config):
        calls.append(("loaded", config is server.config, len(server.leases)))

    one = plugin(config_loaded=loaded, dhcp_control=lambda code: calls.append((code.name,)))
    server = server_with(one)
    async with server:
        assert calls == [("START",), ("loaded", True, 0)]
        before, after = server.config, config(lease_time=60)
        seen = lambda server, config: calls.append((server.config is before, config is after))  # noqa: E731
        two = plugin("two", config_loaded=seen)
        await server.reload(after, plugins=[one, two])
        assert calls[2:] == [("loaded", False, 0), (True, True)]


@pytest.mark.parametrize("wait", [False, True], ids=["def", "async def"])
async def test_config_loaded_may_refuse_the_start(wait):
    def refuse():
        raise ValueError("no such VLAN")

    async def refuse_later():
        await asyncio.sleep(0)
        refuse()

    server = server_with(plugin("inventory", config_loaded=refuse_later if wait else refuse))
    with pytest.raises(ConfigError, match="plugin inventory refused the configuration: no such VLAN"):
        await server.start()


async def test_config_loaded_may_refuse_another_configuration():
    def only_the_first(server, config):
        if config is not server.config:
            raise ValueError("not that one")

    one = plugin(config_loaded=only_the_first)
    async with server_with(one) as server:
        before = server.config
        with pytest.raises(ConfigError, match="not that one"):
            await server.reload(config(lease_time=60), plugins=[one])
        assert server.config is before


async def test_config_loaded_is_not_for_who_is_disabled():
    hooks = Hooks([plugin("bad", config_loaded=broken)])
    hooks.disable("bad")
    await hooks.load(None, None)
    assert hooks.failures == {}


# ── select_subnet ──


def test_select_subnet(clock):
    seen = []

    def choose(packet, subnet, exchange):
        seen.append((packet is exchange.packet, subnet, exchange.lease_before))
        return Use(OTHER)

    mine = make_subnet()
    client = talk(clock, plugin("map", select_subnet=choose))
    client.engine = make_engine(mine, OTHER, plugins=[plugin("map", select_subnet=choose)])
    assert dotted(client.join().yiaddr) == "198.51.100.10"
    assert client.answer.source == number("192.0.2.1")
    assert seen == [(True, mine, None)] * 2
    assert client.exchange.subnet is OTHER
    assert client.exchange.subnet_from == "map"
    client.renew()
    client.release()
    client.discover()
    client.decline(client.exchange.reply.yiaddr)
    client.inform("198.51.100.50")
    assert len(seen) == 7
    assert client.exchange.answer is not None
    assert failures(client) == {}


@pytest.mark.parametrize(
    "choice", [OTHER, IPv4Network("198.51.100.0/24"), "198.51.100.0/24", "198.51.100.0/255.255.255.0"], ids=str
)
def test_select_subnet_by_the_subnet_itself_or_by_its_network(clock, choice):
    client = Client(make_engine(make_subnet(), OTHER, plugins=[plugin(select_subnet=lambda: Use(choice))]), clock)
    assert client.discover().options["subnet-mask"] == IPv4Address("255.255.255.0")
    assert client.exchange.subnet is OTHER


@pytest.mark.parametrize(
    "nonsense",
    ["203.0.113.0/24", "192.0.2.1/24", "mars", None, (), make_subnet(), "198.51.100.0/25"],
    ids=["not configured", "a host", "no network", "None", "a tuple", "not that object", "a part of one"],
)
def test_a_subnet_that_is_none_of_the_configuration_is_not_chosen(clock, caplog, nonsense):
    engine = make_engine(make_subnet(), OTHER, plugins=[plugin("odd", select_subnet=lambda: Use(nonsense))])
    client = Client(engine, clock)
    assert dotted(client.discover().yiaddr) == "192.0.2.10"
    assert failures(client) == {("odd", "select_subnet"): 1}
    assert engine.hooks.metrics[0].errors == 1
    assert "select_subnet returned Use(" in caplog.text


def test_select_subnet_of_a_client_that_the_server_finds_none_for(clock):
    seen = []

    def choose(subnet):
        seen.append(subnet)
        return Use(OTHER)

    engine = make_engine(OTHER, plugins=[plugin(select_subnet=choose)])
    client = Client(engine, clock)
    assert dotted(client.join().yiaddr) == "198.51.100.10"
    relayed = Client(engine, clock, "02:00:00:00:00:02", giaddr="203.0.113.1")
    assert dotted(relayed.join().yiaddr) == "198.51.100.11"
    assert relayed.answer.destination == number("203.0.113.1")
    assert seen == [None] * 4


def test_a_client_that_nobody_finds_a_subnet_for(clock):
    client = Client(make_engine(OTHER, plugins=[plugin(select_subnet=lambda: None)]), clock)
    assert client.discover() is None
    assert client.exchange.why == "no subnet for interface eth0"


def test_in_the_subnet_that_a_plugin_chose_there_is_no_fallback_to_others_on_the_link(clock):
    """The server would have gone on to the second subnet of the link, where there is room."""
    full = Subnet("192.0.2.0/25", interfaces=["eth0"])
    roomy = make_subnet("192.0.2.200", network="192.0.2.128/25", interfaces=["eth0"])
    client = Client(make_engine(full, roomy), clock)
    assert dotted(client.discover().yiaddr) == "192.0.2.200"
    client.engine = make_engine(full, roomy, plugins=[plugin(select_subnet=lambda: Use(full))])
    assert client.discover() is None
    assert client.exchange.why == "no free address in 192.0.2.0/25"


def test_what_a_plugin_found_in_one_subnet_does_not_hold_in_another_of_the_link(clock):
    full = Subnet("192.0.2.0/25", interfaces=["eth0"])
    roomy = make_subnet("192.0.2.200", network="192.0.2.128/25", interfaces=["eth0"])
    found = Reservation("02:00:00:00:00:01", parameters=Parameters(lease_time=600))
    client = Client(make_engine(full, roomy, plugins=[plugin(reservation_lookup=lambda: Use(found))]), clock)
    assert dotted(client.discover().yiaddr) == "192.0.2.200"
    assert client.exchange.lease_time == 43200


def test_select_subnet_may_drop(clock):
    client = talk(clock, plugin("map", select_subnet=lambda: Drop("no such port")))
    assert client.discover() is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.exchange.why == "select_subnet of map: no such port"


def test_select_subnet_is_for_requests_only(clock):
    calls = []
    client = talk(clock, plugin(select_subnet=noting(calls), reservation_lookup=noting(calls)))
    packet = client.message(MessageType.DISCOVER)
    packet.op = 2
    client.send(packet)
    assert client.exchange.why == "op is 2, not a request"
    assert calls == []


def test_after_a_veto_nothing_is_chosen(clock):
    calls = []
    hooks = {hook: noting(calls) for hook in CHOICES}
    client = talk(clock, plugin("filter", dhcp_new_pkt=lambda: Drop("no")), plugin(**hooks))
    assert client.discover() is None
    assert calls == []


def test_the_first_veto_with_a_reason_is_what_is_said(clock):
    """Of dhcp_new_pkt, where every plugin is called."""
    told = []
    client = talk(
        clock,
        plugin("a", dhcp_new_pkt=lambda: Drop("no")),
        plugin("b", dhcp_new_pkt=lambda: Drop(DropReason.UNAUTH, "not ours")),
        plugin("c", dhcp_new_pkt=lambda: Drop("nor mine")),
        plugin(
            "d", dhcp_new_pkt=lambda: Drop(DropReason.INVALID, "odd"), dhcp_pkt_drop=lambda reason: told.append(reason)
        ),
    )
    assert client.discover() is None
    assert (client.exchange.reason, client.exchange.why) == (DropReason.UNAUTH, "vetoed by b: not ours")
    assert told == [DropReason.UNAUTH, DropReason.PROCESSED]
    assert [each.vetoes for each in client.engine.hooks.metrics if each.hook == "dhcp_new_pkt"] == [1] * 4
    assert (client.engine.dropped, client.engine.vetoed) == ({DropReason.UNAUTH: 1}, 0)


# ── what a plugin can see of the client ──


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (b"\1\4eth7\2\2ab", {1: b"eth7", 2: b"ab"}),
        (b"\1\1a\1\1b", {1: b"a"}),
        (b"\1\0", {1: b""}),
        (b"\1", {}),
        (b"\1\4eth", {}),
        (b"\1\1a\2", {}),
    ],
)
def test_what_the_relay_agent_says_of_it(clock, octets, found):
    seen = []
    engine = make_engine(plugins=[plugin(dhcp_new_pkt=lambda exchange: seen.append(exchange.relay_agent))])
    Client(engine, clock, giaddr="192.0.2.5").discover(relay_agent_information=octets)
    assert seen == [found]


def test_what_a_client_says_in_the_place_of_a_relay_agent_does_not_count(clock):
    seen = []
    client = talk(clock, plugin(dhcp_new_pkt=lambda exchange: seen.append(exchange.relay_agent)))
    client.discover(relay_agent_information=b"\1\4eth7")
    client.discover()
    Client(client.engine, clock, giaddr="192.0.2.5").discover()
    assert seen == [{}, {}, {}]


def test_its_identifier_as_it_came(clock):
    seen = []
    client = talk(clock, plugin(dhcp_new_pkt=lambda exchange: seen.append(exchange.client_id)))
    client.discover(client_identifier=b"\0printer")
    client.discover()
    assert seen == [b"\0printer", b""]


# ── reservation_lookup ──


def test_reservation_lookup(clock):
    seen = []

    def look_up(packet, subnet, exchange):
        seen.append((packet is exchange.packet, str(subnet), exchange.reservation))
        return Use(Reservation("02:00:00:00:00:01", address="192.0.2.77", parameters=Parameters(lease_time=600)))

    client = talk(clock, plugin("ipam", reservation_lookup=look_up))
    ack = client.join()
    assert (dotted(ack.yiaddr), ack.options["lease-time"]) == ("192.0.2.77", 600)
    assert client.exchange.address_from == "asked for by the client"
    assert client.exchange.looked_up is client.exchange.reservation
    client.renew()
    client.inform()
    assert seen == [(True, "192.0.2.0/24", None)] * 4
    client.release()
    client.decline("192.0.2.77")
    assert len(seen) == 4


@pytest.mark.parametrize("address", ["192.0.2.77", IPv4Address("192.0.2.77"), number("192.0.2.77")], ids=type)
def test_an_address_alone_is_a_reservation_of_it(clock, address):
    client = talk(clock, plugin(reservation_lookup=lambda: Use(address)))
    assert dotted(client.join().yiaddr) == "192.0.2.77"
    assert client.exchange.reservation.address == number("192.0.2.77")


def test_an_address_alone_for_a_client_without_a_hardware_address(clock):
    client = talk(clock, plugin(reservation_lookup=lambda: Use("192.0.2.77")))
    printer = Client(client.engine, clock, "", client_id=b"\0printer")
    assert dotted(printer.join().yiaddr) == "192.0.2.77"


def test_a_reservation_outside_of_the_pools_with_all_that_it_says(clock):
    found = Reservation(
        client_id=b"\0any",
        address="192.0.2.200",
        parameters=Parameters(lease_time=600, options={"domain-name": "desk.example"}),
    )
    client = talk(clock, plugin(reservation_lookup=lambda: Use(found)))
    ack = client.join()
    assert dotted(ack.yiaddr) == "192.0.2.200"
    assert (ack.options["domain-name"], ack.options["lease-time"]) == ("desk.example", 600)
    clock.advance(300)
    assert client.renew().yiaddr == client.reboot().yiaddr == ack.yiaddr
    client.release()
    assert client.engine.leases.get(ack.yiaddr).state == LeaseState.RELEASED


def test_a_reservation_without_an_address_gives_parameters(clock):
    found = Reservation(b"\0", parameters=Parameters(options={"domain-name": "desk.example"}))
    client = talk(clock, plugin(reservation_lookup=lambda: Use(found)))
    ack = client.join()
    assert dotted(ack.yiaddr) == "192.0.2.10"
    assert ack.options["domain-name"] == "desk.example"
    assert client.inform("192.0.2.150").options["domain-name"] == "desk.example"


def test_what_is_looked_up_is_not_remembered(clock):
    """A client that is not found any more loses an address outside of the pools with its next REQUEST."""
    found = [Use("192.0.2.200")]
    client = talk(clock, plugin(reservation_lookup=lambda: found[0]))
    client.join()
    found[0] = None
    assert client.renew().message_type == MessageType.NAK
    assert dotted(client.join().yiaddr) == "192.0.2.10"


def test_a_client_that_is_found_elsewhere_later_is_refused_and_comes_again(clock):
    found = [None]
    client = talk(clock, plugin(reservation_lookup=lambda: found[0]))
    client.join()
    found[0] = Use("192.0.2.77")
    nak = client.renew()
    assert nak.options["message"] == "another address is reserved for the client"
    assert dotted(client.join().yiaddr) == "192.0.2.77"


def test_two_clients_looked_up_to_the_same_address(clock):
    engine = make_engine(plugins=[plugin(reservation_lookup=lambda: Use("192.0.2.77"))])
    one, two = Client(engine, clock), Client(engine, clock, "02:00:00:00:00:02")
    assert dotted(one.join().yiaddr) == "192.0.2.77"
    assert dotted(two.join().yiaddr) == "192.0.2.10"
    assert dotted(one.renew().yiaddr) == "192.0.2.77"
    one.release()
    assert two.renew().options["message"] == "another address is reserved for the client"
    assert dotted(two.join().yiaddr) == "192.0.2.77"


def test_an_address_that_is_reserved_for_another_is_not_looked_up(clock):
    theirs = Reservation("02:00:00:00:00:99", address="192.0.2.77")
    engine = make_engine(
        make_subnet(reservations=[theirs]), plugins=[plugin(reservation_lookup=lambda: Use("192.0.2.77"))]
    )
    assert dotted(Client(engine, clock).join().yiaddr) == "192.0.2.10"
    assert dotted(Client(engine, clock, "02:00:00:00:00:99").join().yiaddr) == "192.0.2.77"


def test_the_servers_own_address_is_not_looked_up(clock):
    engine = make_engine(plugins=[plugin(reservation_lookup=lambda: Use("192.0.2.1"))])
    engine.serve([LINK])
    assert dotted(Client(engine, clock).join().yiaddr) == "192.0.2.10"


def test_reservation_lookup_is_not_for_who_has_a_reservation(clock):
    mine = Reservation("02:00:00:00:00:01", address="192.0.2.55")
    engine = make_engine(make_subnet(reservations=[mine]), plugins=[plugin(reservation_lookup=broken)])
    assert dotted(Client(engine, clock).join().yiaddr) == "192.0.2.55"
    assert engine.hooks.failures == {}


@pytest.mark.parametrize("nonsense", ["198.51.100.7", "mars", None, Reservation(b"\1", address="198.51.100.7")])
def test_a_wrong_reservation_is_reported_and_none_is_found(clock, nonsense, caplog):
    ipam = plugin("ipam", reservation_lookup=lambda: Use(nonsense))
    client = talk(clock, Plugin(ipam, policy=Policy(on_error="continue")))
    assert dotted(client.discover().yiaddr) == "192.0.2.10"
    assert failures(client) == {("ipam", "reservation_lookup"): 1}
    assert client.exchange.reservation is None
    assert client.exchange.looked_up is None


def test_a_lookup_that_fails_is_answered_with_silence(clock):
    """Without its reservation, a client that renews would be refused the address that it has."""
    answers = [Use("192.0.2.200")]
    client = talk(clock, plugin("ipam", reservation_lookup=lambda: answers[0] or broken()))
    client.join()
    answers[0] = None
    assert client.renew() is None
    assert client.exchange.reason == DropReason.INTERNAL_ERROR
    answers[0] = Use("192.0.2.200")
    assert dotted(client.renew().yiaddr) == "192.0.2.200"


def test_reservation_lookup_happens_where_the_client_is(clock):
    seen = []
    engine = make_engine(make_subnet(), OTHER, plugins=[plugin(reservation_lookup=lambda subnet: seen.append(subnet))])
    Client(engine, clock, giaddr="198.51.100.1").discover()
    assert seen == [OTHER]


async def test_reservation_lookup_may_wait(clock):
    async def look_up():
        await asyncio.sleep(0)
        return Use("192.0.2.77")

    calls = []
    engine = make_engine(plugins=[plugin(reservation_lookup=look_up, unknown_client=noting(calls))])
    client = AsyncClient(engine, clock)
    assert dotted((await client.join()).yiaddr) == "192.0.2.77"
    assert calls == []


# ── unknown_client ──


def test_unknown_client(clock):
    seen = []

    def unknown(packet, subnet, exchange):
        seen.append((packet, subnet, exchange))

    client = talk(clock, plugin(unknown_client=unknown))
    client.discover()
    first = client.exchange
    assert seen == [(first.packet, first.subnet, first)]
    client.request(client.exchange.reply)
    assert len(seen) == 2
    client.renew()
    client.inform()
    client.release()
    client.discover()
    assert len(seen) == 2


def test_unknown_client_is_not_for_who_has_a_reservation_or_is_found_by_a_plugin(clock):
    mine = Reservation("02:00:00:00:00:01")
    engine = make_engine(make_subnet(reservations=[mine]), plugins=[plugin(unknown_client=broken)])
    Client(engine, clock).discover()
    assert engine.hooks.failures == {}
    client = talk(clock, plugin(reservation_lookup=lambda: Use("192.0.2.77"), unknown_client=broken))
    client.discover()
    assert failures(client) == {}


def test_unknown_client_is_for_bootp_clients_too(clock):
    calls = []
    client = talk(clock, plugin(unknown_client=noting(calls)), bootp="dynamic")
    assert client.send(client.message(None)) is not None
    assert client.send(client.message(None)) is not None
    assert calls == ["called"]


def test_unknown_client_may_put_it_into_a_class(clock):
    guests = Class("guests", Parameters(lease_time=600))
    client = talk(clock, plugin(unknown_client=lambda exchange: exchange.classes.add("guests")), classes=[guests])
    assert client.discover().options["lease-time"] == 600


def test_a_client_of_a_subnet_is_not_known_in_another(clock):
    calls = []
    engine = make_engine(make_subnet(), OTHER, plugins=[plugin(unknown_client=noting(calls))])
    Client(engine, clock).join()
    assert len(calls) == 2
    Client(engine, clock, giaddr="198.51.100.1").join()
    assert len(calls) == 4


# ── Nak and Drop ──

REFUSING = ["reservation_lookup", "unknown_client", "select_lease_time"]


@pytest.mark.parametrize("hook", REFUSING)
def test_nak_drops_a_discover_and_refuses_a_request(clock, hook):
    client = talk(clock, plugin("guard", **{hook: lambda: Nak("ask at the desk")}))
    assert client.discover() is None
    assert (client.exchange.reason, client.exchange.why) == (DropReason.UNAUTH, "ask at the desk")
    client.server = number("192.0.2.1")
    selecting = {"requested_address": "192.0.2.10", "server_identifier": "192.0.2.1"}
    nak = client.send(client.message(MessageType.REQUEST, **selecting))
    assert nak.message_type == MessageType.NAK
    assert nak.options["message"] == "ask at the desk"
    assert client.exchange.problem_address == number("192.0.2.10")
    assert len(client.engine.leases) == 0
    assert client.engine.hooks.metrics[0].vetoes == 2
    assert failures(client) == {}
    client.engine = make_engine()
    assert dotted(client.discover().yiaddr) == "192.0.2.10"


@pytest.mark.parametrize("hook", REFUSING)
def test_nak_without_words(clock, hook):
    client = talk(clock, plugin("guard", **{hook: lambda: Nak()}))
    client.discover()
    assert client.exchange.why == "refused by guard"


@pytest.mark.parametrize("hook", [*REFUSING[:2], "select_lease_time"])
def test_after_nak_the_address_is_free_for_others(clock, hook):
    guard = plugin(**{hook: lambda exchange: Nak("no") if exchange.chaddr[-1] == 1 else None})
    engine = make_engine(make_subnet("192.0.2.10"), plugins=[guard])
    assert Client(engine, clock).discover() is None
    assert dotted(Client(engine, clock, "02:00:00:00:00:02").join().yiaddr) == "192.0.2.10"


def test_nak_of_a_request_for_another_server_is_not_ours_to_say(clock):
    client = talk(clock, plugin(reservation_lookup=lambda: Nak("no")))
    assert client.send(client.message(3, requested_address="192.0.2.10", server_identifier="192.0.2.2")) is None
    assert client.exchange.reason == DropReason.WRONG_SERVER


def test_nak_of_who_is_renewing(clock):
    answers = [None]
    client = talk(clock, plugin(select_lease_time=lambda: answers[0]))
    client.join()
    answers[0] = Nak("your time is over")
    nak = client.renew()
    assert nak.options["message"] == "your time is over"
    assert client.exchange.problem_address == number("192.0.2.10")
    assert (client.exchange.yiaddr, client.exchange.lease_time, client.exchange.changes) == (0, 0, None)


@pytest.mark.parametrize("hook", ["reservation_lookup"])
def test_nak_of_an_inform_is_a_drop(clock, hook):
    client = talk(clock, plugin(**{hook: lambda: Nak("no")}))
    assert client.inform("192.0.2.150") is None
    assert client.exchange.reason == DropReason.UNAUTH


@pytest.mark.parametrize("hook", REFUSING[:2])
def test_nak_of_a_bootp_client_is_a_drop(clock, hook):
    client = talk(clock, plugin(**{hook: lambda: Nak("no")}), bootp="dynamic")
    assert client.send(client.message(None)) is None
    assert (client.exchange.reason, client.exchange.why) == (DropReason.UNAUTH, "no")
    assert len(client.engine.leases) == 0


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("select_subnet", DropReason.NO_SUBNETS),
        ("reservation_lookup", DropReason.UNAUTH),
        ("unknown_client", DropReason.UNAUTH),
        ("select_address", DropReason.NOADDRESS),
        ("select_lease_time", DropReason.UNAUTH),
    ],
)
def test_drop_has_a_reason_of_its_own_at_each_hook_unless_it_says_another(clock, hook, reason):
    for verdict, expected in ((Drop(), reason), (Drop(DropReason.INVALID, "odd"), DropReason.INVALID)):
        told = []
        guard = plugin("guard", **{hook: lambda verdict=verdict: verdict})
        client = talk(clock, guard, plugin("listener", dhcp_pkt_drop=lambda reason, told=told: told.append(reason)))
        assert client.discover() is None
        assert client.exchange.reason == expected
        words = ": odd" if verdict.why else ""
        assert client.exchange.why == f"{hook} of guard{words}"
        assert told == [expected, DropReason.PROCESSED]
        assert client.reboot("192.0.2.10") is None
        assert client.engine.dropped[expected] + client.engine.dropped[DropReason.GEN_FAILURE] == 2


@pytest.mark.parametrize("hook", EARLY)
async def test_what_may_wait_may_drop_after_a_while(clock, hook):
    async def later():
        await asyncio.sleep(0)
        return Drop("the inventory says no")

    client = AsyncClient(make_engine(plugins=[plugin("guard", **{hook: later})]), clock)
    assert await client.discover() is None
    assert client.exchange.why == f"{hook} of guard: the inventory says no"


# ── select_address ──


def test_select_address(clock):
    seen = []

    def choose(packet, subnet, address, exchange):
        seen.append((packet is exchange.packet, str(subnet), str(address)))

    client = talk(clock, plugin(select_address=choose), bootp="dynamic")
    client.discover()
    assert seen == [(True, "192.0.2.0/24", "192.0.2.10")]
    client.request(client.exchange.reply)
    client.renew()
    client.inform()
    client.release()
    assert len(seen) == 1
    bootp = Client(client.engine, clock, "02:00:00:00:00:02")
    bootp.send(bootp.message(None))
    assert seen[1:] == [(True, "192.0.2.0/24", "192.0.2.11")]


@pytest.mark.parametrize("choice", ["192.0.2.77", IPv4Address("192.0.2.77"), number("192.0.2.77")], ids=type)
def test_another_address_is_offered(clock, choice):
    client = talk(clock, plugin("plan", select_address=lambda: Use(choice)))
    offer = client.discover()
    assert dotted(offer.yiaddr) == "192.0.2.77"
    assert client.exchange.address_from == "chosen by plan"
    assert dotted(client.request(offer).yiaddr) == "192.0.2.77"
    assert dotted(client.renew().yiaddr) == "192.0.2.77"


def test_the_address_that_was_not_chosen_is_free_for_others(clock):
    chooser = plugin(select_address=lambda exchange: Use("192.0.2.11") if exchange.chaddr[-1] == 1 else None)
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11"), plugins=[chooser])
    assert dotted(Client(engine, clock).join().yiaddr) == "192.0.2.11"
    assert dotted(Client(engine, clock, "02:00:00:00:00:02").join().yiaddr) == "192.0.2.10"


def test_a_change_of_mind_takes_the_offer_back(clock):
    choices = ["192.0.2.20", "192.0.2.21"]
    client = talk(clock, plugin(select_address=lambda: Use(choices[0])))
    client.discover()
    choices.pop(0)
    assert dotted(client.discover().yiaddr) == "192.0.2.21"
    client.engine.addresses.lapse(clock() + 1000)
    assert client.engine.addresses.offer_of(client.key, client.exchange.subnet) is None


def test_a_request_gets_what_it_asks_for_whatever_would_be_chosen_now(clock):
    choice = [None]
    client = talk(clock, plugin(select_address=lambda: choice[0]))
    offer = client.discover()
    choice[0] = Use("192.0.2.77")
    assert dotted(client.request(offer).yiaddr) == "192.0.2.10"
    assert dotted(client.renew().yiaddr) == "192.0.2.10"
    assert client.exchange.address_from == "asked for by the client"
    assert dotted(client.discover().yiaddr) == "192.0.2.77"


def test_what_a_client_may_have_can_be_asked(clock):
    seen = []

    def choose(exchange):
        ask = exchange.may_have
        seen.append([ask("192.0.2.10"), ask(IPv4Address("192.0.2.50")), ask("192.0.2.200"), ask("198.51.100.1")])

    engine = make_engine(plugins=[plugin(select_address=choose)])
    Client(engine, clock).join()
    Client(engine, clock, "02:00:00:00:00:02").discover()
    assert engine.hooks.failures == {}
    assert seen == [[True, True, False, False], [False, True, False, False]]


def test_an_address_that_somebody_has_is_not_chosen(clock, caplog):
    chooser = plugin("plan", select_address=lambda: Use("192.0.2.10"))
    engine = make_engine(plugins=[chooser])
    assert dotted(Client(engine, clock).join().yiaddr) == "192.0.2.10"
    other = Client(engine, clock, "02:00:00:00:00:02")
    assert dotted(other.discover().yiaddr) == "192.0.2.11"
    assert other.exchange.address_from == "never used before"
    assert failures(other) == {("plan", "select_address"): 1}
    assert "select_address returned Use(value='192.0.2.10'): 192.0.2.10 is not free for the client" in caplog.text


def test_an_address_that_was_offered_to_somebody_or_is_in_no_pool_is_not_chosen(clock):
    choice = ["192.0.2.50"]
    engine = make_engine(plugins=[plugin("plan", select_address=lambda: Use(choice[0]))])
    assert dotted(Client(engine, clock).discover().yiaddr) == "192.0.2.50"
    other = Client(engine, clock, "02:00:00:00:00:02")
    assert dotted(other.discover().yiaddr) == "192.0.2.11"
    choice[0] = "192.0.2.200"
    assert dotted(other.discover().yiaddr) == "192.0.2.11"
    assert failures(other) == {("plan", "select_address"): 2}


@pytest.mark.parametrize("nonsense", ["198.51.100.7", "mars", None, -1])
def test_a_wrong_address_is_reported_and_the_servers_choice_stands(clock, nonsense):
    client = talk(clock, plugin("plan", select_address=lambda: Use(nonsense)))
    assert dotted(client.join().yiaddr) == "192.0.2.10"
    assert failures(client) == {("plan", "select_address"): 1}
    assert client.engine.hooks.metrics[0].errors == 1


def test_select_address_of_a_bootp_client(clock):
    client = talk(clock, plugin(select_address=lambda: Use("192.0.2.77")), bootp="dynamic")
    assert dotted(client.send(client.message(None)).yiaddr) == "192.0.2.77"


def test_a_dropped_request_changes_nothing(clock):
    answers = [None]
    client = talk(clock, plugin(select_lease_time=lambda: answers[0]))
    offer = client.discover()
    answers[0] = Drop("not now")
    assert client.request(offer) is None
    assert client.exchange.reason == DropReason.UNAUTH
    assert len(client.engine.leases) == 0
    answers[0] = None
    assert client.request(offer).message_type == MessageType.ACK


def test_select_address_chooses_again_after_a_conflict(clock):
    seen = []
    engine = make_engine(
        make_subnet(conflict_probe="arp"), plugins=[plugin(select_address=lambda address: seen.append(str(address)))]
    )
    client = Client(engine, clock)
    exchange = engine.arrive(client.datagram(client.message(MessageType.DISCOVER)), clock())
    engine.decide(exchange)
    engine.conflict(exchange, "somebody answers")
    engine.decide(exchange)
    assert seen == ["192.0.2.10", "192.0.2.11"]


def test_after_four_conflicts_a_client_has_to_ask_again(clock):
    engine = make_engine(make_subnet(conflict_probe="arp"))
    client = Client(engine, clock)
    exchange = engine.arrive(client.datagram(client.message(MessageType.DISCOVER)), clock())
    for _ in range(4):
        engine.decide(exchange)
        engine.conflict(exchange, "somebody answers")
    engine.decide(exchange)
    assert exchange.reason == DropReason.NOADDRESS
    assert exchange.why == "4 addresses in a row are in use"
    assert dotted(Client(engine, clock).discover().yiaddr) == "192.0.2.14"


# ── select_lease_time ──


def test_select_lease_time(clock):
    seen = []

    def choose(packet, subnet, address, lease_time, exchange):
        seen.append((packet is exchange.packet, str(subnet), str(address), lease_time))
        return Use(90)

    client = talk(clock, plugin(select_lease_time=choose), parameters=Parameters(min_lease_time=300), bootp="dynamic")
    ack = client.join(lease_time=600)
    assert (ack.options["lease-time"], ack.options["renewal-time"]) == (90, 45)
    assert client.exchange.lease_after.expires == clock() + 90
    client.renew()
    client.inform()
    assert seen == [
        (True, "192.0.2.0/24", "192.0.2.10", 600),
        (True, "192.0.2.0/24", "192.0.2.10", 600),
        (True, "192.0.2.0/24", "192.0.2.10", 43200),
    ]
    bootp = Client(client.engine, clock, "02:00:00:00:00:02")
    assert bootp.send(bootp.message(None)) is not None
    assert len(seen) == 3


@pytest.mark.parametrize("seconds", [1, INFINITE])
def test_a_lease_time_from_a_second_to_for_ever(clock, seconds):
    assert talk(clock, plugin(select_lease_time=lambda: Use(seconds))).join().options["lease-time"] == seconds


@pytest.mark.parametrize("nonsense", [0, -1, INFINITE + 1, 60.5, "600", None, True])
def test_a_wrong_lease_time_is_reported_and_the_servers_choice_stands(clock, caplog, nonsense):
    client = talk(clock, plugin("times", select_lease_time=lambda: Use(nonsense)))
    assert client.join().options["lease-time"] == 43200
    assert failures(client) == {("times", "select_lease_time"): 2}
    assert f"returned Use(value={nonsense!r}): expected 1 to 4294967295 seconds" in caplog.text


def test_select_lease_time_that_fails_may_cost_the_packet(clock):
    given = Plugin(plugin("times", select_lease_time=broken), policy=Policy(on_error="drop"))
    client = talk(clock, given)
    assert client.discover() is None
    assert client.exchange.why == "select_lease_time of plugin times raised"
    assert client.exchange.reason == DropReason.INTERNAL_ERROR


# ── what holds for all that choose ──

VALUES = {
    "select_subnet": Use("192.0.2.0/24"),
    "reservation_lookup": Use("192.0.2.77"),
    "unknown_client": Nak("no"),
    "select_address": Use("192.0.2.77"),
    "select_lease_time": Use(600),
}


@pytest.mark.parametrize("hook", CHOICES)
def test_the_first_verdict_wins_and_ends_it(clock, hook):
    calls = []
    client = talk(
        clock,
        plugin("a", **{hook: noting(calls)}),
        plugin("b", **{hook: noting(calls, VALUES[hook])}),
        plugin("c", **{hook: broken}),
    )
    client.discover()
    assert calls == ["called"] * 2
    assert client.exchange.verdict is None
    client.discover()
    assert calls == ["called"] * 4
    assert failures(client) == {}


@pytest.mark.parametrize("hook", EARLY)
async def test_the_first_verdict_wins_if_it_took_its_time_too(clock, hook):
    async def later():
        await asyncio.sleep(0)
        return VALUES[hook]

    engine = make_engine(plugins=[plugin("a", **{hook: later}), plugin("b", **{hook: broken})])
    await AsyncClient(engine, clock).discover()
    assert engine.hooks.failures == {}


@pytest.mark.parametrize("hook", CHOICES)
def test_who_is_wrong_leaves_the_choice_to_the_next(clock, hook):
    calls = []
    wrong = Plugin(plugin("a", **{hook: lambda: 42}), policy=Policy(on_error="continue"))
    client = talk(clock, wrong, plugin("b", **{hook: noting(calls)}))
    assert client.discover() is not None
    assert calls == ["called"]
    assert failures(client) == {("a", hook): 1}


@pytest.mark.parametrize(
    ("hook", "verdict"),
    [
        ("select_subnet", Nak("no")),
        ("unknown_client", Use("192.0.2.77")),
        ("select_address", Nak("no")),
        ("dhcp_new_pkt", Nak("no")),
        ("dhcp_new_pkt", Use(1)),
        ("dhcp_handle_options", Nak("no")),
        ("dhcp_pkt_send", Drop("no")),
    ],
)
def test_a_verdict_that_means_nothing_there_is_reported_and_has_no_effect(clock, caplog, hook, verdict):
    client = talk(clock, plugin("odd", **{hook: lambda: verdict}))
    assert dotted(client.discover().yiaddr) == "192.0.2.10"
    assert failures(client) == {("odd", hook): 1}
    assert f"plugin odd: {hook} returned {verdict!r}, which means nothing there ({__file__}:" in caplog.text


@pytest.mark.parametrize("hook", ["select_address", "select_lease_time"])
def test_where_nothing_may_wait_async_def_is_refused_at_once(hook):
    async def later():
        """Too late."""

    with pytest.raises(ConfigError) as caught:
        Hooks([plugin("slow", **{hook: later})])
    line = inspect.getsourcelines(later)[1]
    assert str(caught.value) == (
        f"{__file__}:{line}: plugin slow: {hook} is called where nothing may wait: make it def, not async def"
    )


@pytest.mark.parametrize("hook", ["select_address", "select_lease_time"])
async def test_where_nothing_may_wait_what_would_wait_is_reported(clock, caplog, hook):
    async def later():
        raise AssertionError("it was awaited")

    client = talk(clock, plugin("slow", **{hook: lambda: later()}))
    assert client.discover() is not None
    assert failures(client) == {("slow", hook): 1}
    future = asyncio.get_running_loop().create_future()
    client = talk(clock, plugin("slow", **{hook: lambda: future}))
    assert client.discover() is not None
    assert failures(client) == {("slow", hook): 1}


def test_what_is_chosen_for_one_has_no_effect_on_others(clock):
    def first(exchange):
        return exchange.chaddr[-1] == 1

    engine = make_engine(
        make_subnet(),
        OTHER,
        plugins=[
            plugin(
                select_subnet=lambda exchange: Use(OTHER) if first(exchange) else None,
                reservation_lookup=lambda exchange: Use("198.51.100.77") if first(exchange) else None,
                select_lease_time=lambda exchange: Use(600) if first(exchange) else None,
            )
        ],
    )
    one, two = Client(engine, clock), Client(engine, clock, "02:00:00:00:00:02")
    assert (dotted(one.join().yiaddr), one.exchange.lease_time) == ("198.51.100.77", 600)
    assert (dotted(two.join().yiaddr), two.exchange.lease_time) == ("192.0.2.10", 43200)
    assert two.exchange.reservation is None
    assert engine.hooks.failures == {}


def test_the_hooks_of_one_packet_in_their_order(clock):
    calls = []

    def note(hook):
        return lambda: calls.append(hook)

    hooks = ["dhcp_new_pkt", "dhcp_handle_options", *CHOICES, "dhcp_address_offer", "dhcp_pkt_send", "dhcp_pkt_drop"]
    client = talk(clock, plugin(**{hook: note(hook) for hook in hooks}))
    offer = client.discover()
    assert calls == [hook for hook in hooks if hook != "dhcp_address_offer"]
    calls.clear()
    client.request(offer)
    assert calls == [hook for hook in hooks if hook != "select_address"]


# ── leases_committed, lease_expired, lease_recovered ──


async def test_leases_committed():
    told, transport = [], MemoryTransport()

    async def told_later(leases):
        await asyncio.sleep(0)
        told.append([(str(each.ip), each.state.name) for each in leases])

    settings = {"store": MemoryStore(), "transport": transport}
    async with DhcpServer(config(), plugins=[plugin(leases_committed=told_later)], **settings) as server:
        address = await lease(transport, 1)
        await until(lambda: told)
        assert told == [[(FIRST, "ACTIVE")]]
        assert (await ask(transport, renew(1, address))).address == FIRST
        await until(lambda: len(told) == 2)
        transport.deliver(release(1, address))
        await until(lambda: len(told) == 3)
        assert server.leases.get(number_of(FIRST)).state == LeaseState.RELEASED
    assert told == [[(FIRST, "ACTIVE")], [(FIRST, "ACTIVE")], [(FIRST, "RELEASED")]]


async def test_leases_committed_is_not_for_an_offer():
    told, transport = [], MemoryTransport()
    settings = {"store": MemoryStore(), "transport": transport}
    async with DhcpServer(config(), plugins=[plugin(leases_committed=lambda leases: told.append(leases))], **settings):
        await ask(transport, message(WIRE_DISCOVER, 1))
    assert told == []


def run_out(engine, clock: Clock, seconds: float) -> list:
    clock.advance(seconds)
    return engine.tick(clock())[1]


def test_lease_expired(clock):
    told = []
    client = talk(
        clock,
        plugin(
            dhcp_delete_client=lambda address: told.append(("deleted", str(address))),
            lease_expired=lambda lease: told.append(("expired", str(lease.ip), lease.state.name)),
            lease_recovered=broken,
        ),
    )
    client.join()
    assert run_out(client.engine, clock, 43199) == []
    assert told == []
    assert run_out(client.engine, clock, 1) == []
    assert told == [("deleted", "192.0.2.10"), ("expired", "192.0.2.10", "EXPIRED")]
    run_out(client.engine, clock, 43200)
    assert len(told) == 2


def test_lease_expired_is_not_for_what_was_released(clock):
    client = talk(clock, plugin(lease_expired=broken, lease_recovered=broken))
    client.join()
    client.release()
    run_out(client.engine, clock, 86400)
    assert failures(client) == {}


async def test_lease_expired_may_wait(clock):
    told = []

    async def later(lease):
        await asyncio.sleep(0)
        told.append(str(lease.ip))

    client = AsyncClient(make_engine(plugins=[plugin(lease_expired=later)]), clock)
    await client.join()
    (pending,) = run_out(client.engine, clock, 43200)
    assert told == []
    await pending
    assert told == ["192.0.2.10"]


def test_lease_recovered(clock):
    told = []
    client = talk(
        clock,
        plugin(
            dhcp_delete_client=lambda: None,
            lease_expired=broken,
            lease_recovered=lambda lease: told.append((str(lease.ip), lease.client)),
        ),
        decline_time=600,
    )
    client.join()
    client.decline()
    run_out(client.engine, clock, 599)
    assert told == []
    run_out(client.engine, clock, 1)
    assert told == [("192.0.2.10", b"")]
    assert failures(client) == {}


def test_lease_recovered_of_an_address_that_was_found_in_use(clock):
    told = []
    engine = make_engine(
        make_subnet(conflict_probe="arp"),
        plugins=[plugin(lease_recovered=lambda lease: told.append(str(lease.ip)))],
        decline_time=600,
    )
    client = Client(engine, clock)
    exchange = engine.arrive(client.datagram(client.message(MessageType.DISCOVER)), clock())
    engine.decide(exchange)
    engine.conflict(exchange, "somebody answers")
    run_out(engine, clock, 600)
    assert told == ["192.0.2.10"]


def test_a_hook_of_a_lease_that_fails_is_reported(clock):
    client = talk(clock, plugin("bad", lease_expired=broken))
    client.join()
    ended, _ = client.engine.tick(clock() + 43200)
    assert [each.state for each in ended] == [LeaseState.EXPIRED]
    assert failures(client) == {("bad", "lease_expired"): 1}


def test_relayed_clients_of_a_relay_agent_that_stands_for_a_subnet(clock):
    stands = make_subnet(relays=["203.0.113.1"])
    seen = []
    engine = make_engine(stands, OTHER, plugins=[plugin(select_subnet=lambda subnet: seen.append(subnet))])
    client = Client(engine, clock, giaddr="203.0.113.1")
    assert dotted(client.join().yiaddr) == "192.0.2.10"
    assert seen == [stands] * 2


def test_an_interface_of_many_subnets_asks_for_the_fittest(clock):
    one = make_subnet("192.0.2.10", network="192.0.2.0/25")
    two = make_subnet("192.0.2.200", network="192.0.2.128/25")
    both = Interface("eth0", (number("192.0.2.1"), number("192.0.2.129")), 2)
    seen = []
    engine = make_engine(one, two, plugins=[plugin(select_subnet=lambda subnet: seen.append(str(subnet)))])
    client = Client(engine, clock, interface=both)
    client.discover(requested_address="192.0.2.200")
    assert seen == ["192.0.2.128/25"]


def test_select_address_in_the_pool_of_a_class_of_addresses(clock, caplog):
    """The pool of the chosen address says what holds, not that of the server's own choice."""
    slow, fast = Pool("192.0.2.10"), Pool("192.0.2.20", Parameters(lease_time=600))
    chooser = plugin(select_address=lambda: Use("192.0.2.20"))
    client = Client(make_engine(make_subnet(slow, fast), plugins=[chooser]), clock)
    ack = client.join()
    assert (dotted(ack.yiaddr), ack.options["lease-time"]) == ("192.0.2.20", 600)
    assert error_lines(caplog) == []
