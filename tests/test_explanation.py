"""Explanations: what a packet came to, decision by decision, in words."""

from __future__ import annotations

import pytest
from client import Client, Clock, make_engine, make_subnet, number
from plugin_kit import plugin

from aiodhcp import (
    Class,
    Config,
    Drop,
    DropReason,
    Engine,
    Fact,
    MessageType,
    Nak,
    Parameters,
    Plugin,
    Policy,
    Pool,
    Reservation,
    Use,
)
from aiodhcp.constants import INFINITE
from aiodhcp.hookcalls import Runtime
from aiodhcp.hooks import Hooks


def said(client: Client) -> dict[str, str]:
    """What is explained of the last packet."""
    facts = client.exchange.explain()
    assert len({fact.what for fact in facts}) == len(facts)
    return dict(facts)


def client_of(*plugins: object, subnet=None, **more) -> Client:
    return Client(make_engine(subnet or make_subnet(), plugins=plugins, **more), Clock())


def test_all_that_is_said_of_a_plain_conversation():
    client = client_of()
    client.discover()
    assert [str(fact) for fact in client.exchange.explain()] == [
        "request: DISCOVER on eth0, xid 00010001",
        "client: hardware address 02:00:00:00:00:01",
        "subnet: 192.0.2.0/24: it is on eth0",
        "classes: none",
        "reservation: none",
        "lease before: none",
        "address: 192.0.2.10: never used before",
        "lease time: 43200 seconds",
        "outcome: OFFER to 192.0.2.10, port 68",
        "option message-type: OFFER (made for this message)",
        "option server-identifier: 192.0.2.1 (made for this message)",
        "option lease-time: 43200 (made for this message)",
        "option renewal-time: 21600 (made for this message)",
        "option rebinding-time: 37800 (made for this message)",
        "option subnet-mask: 255.255.255.0 (from the subnet's network)",
        "hooks: were not recorded",
    ]
    client.request(client.exchange.reply)
    assert said(client)["outcome"] == "ACK to 192.0.2.10, port 68"
    client.renew()
    found = said(client)
    assert found["request"] == "REQUEST on eth0, xid 00010002, from a client that has 192.0.2.10"
    assert found["subnet"] == "192.0.2.0/24: the client's address is in it"
    assert found["lease before"] == "192.0.2.10, active"
    assert found["address"] == "192.0.2.10: asked for by the client"


def test_a_fact_is_what_and_words():
    client = client_of()
    client.discover()
    fact = client.exchange.explain()[0]
    assert fact == Fact("request", fact.words)


def test_how_an_address_was_found():
    client = client_of()
    client.discover()
    client.discover()
    assert said(client)["address"] == "192.0.2.10: offered to the client already"
    client.join()
    client.discover()
    assert said(client)["address"] == "192.0.2.10: the client's lease"
    other = Client(client.engine, client.clock, "02:00:00:00:00:02")
    other.discover(requested_address="192.0.2.50")
    assert said(other)["address"] == "192.0.2.50: asked for by the client"
    one = client_of(subnet=make_subnet("192.0.2.10"))
    one.join()
    one.release()
    other = Client(one.engine, one.clock, "02:00:00:00:00:02")
    other.discover()
    assert said(other)["address"] == "192.0.2.10: the longest unused"


def test_a_relay_agent():
    client = Client(make_engine(), Clock(), giaddr="192.0.2.5")
    client.discover(relay_agent_information={1: b"eth7"})
    found = said(client)
    assert found["request"] == "DISCOVER on eth0, xid 00010001, through relay agent 192.0.2.5"
    assert found["subnet"] == "192.0.2.0/24: the relay agent 192.0.2.5 stands for it"
    assert found["outcome"] == "OFFER to 192.0.2.5, port 67"
    assert found["option relay-agent-information"].endswith(" (given back as it came (RFC 3046))")


def test_what_can_not_be_read_is_explained_by_its_octets():
    """A relay agent's option 82 is given back whatever it is."""
    client = Client(make_engine(), Clock(), giaddr="192.0.2.5")
    client.discover(relay_agent_information=b"\1")
    assert said(client)["option relay-agent-information"] == r"b'\x01' (given back as it came (RFC 3046))"


def test_a_client_identifier():
    client = Client(make_engine(), Clock(), client_id=b"\0ab")
    client.discover()
    found = said(client)
    assert found["client"] == "client identifier 00:61:62, hardware address 02:00:00:00:00:01"
    assert found["option client-identifier"].endswith(" (given back as it came (RFC 6842))")
    bare = Client(make_engine(), Clock(), "", client_id=b"\0ab")
    bare.discover()
    assert said(bare)["client"] == "client identifier 00:61:62, hardware address none"


def test_a_reservation():
    mine = Reservation("02:00:00:00:00:01", address="192.0.2.77", parameters=Parameters(options={"domain-name": "d"}))
    client = client_of(subnet=make_subnet(reservations=[mine]))
    client.discover()
    found = said(client)
    assert found["reservation"] == "192.0.2.77, by the configuration"
    assert found["address"] == "192.0.2.77: reserved for the client"
    assert found["option domain-name"] == "d (of the reservation)"


def test_a_reservation_that_a_plugin_found():
    client = client_of(plugin(reservation_lookup=lambda: Use(Reservation("02:00:00:00:00:01"))))
    client.discover()
    assert said(client)["reservation"] == "no address, found by a plugin"


def test_where_options_are_from():
    def option(code):
        return Parameters(options={code: b"x", 230: bytes([code])})

    client = client_of(
        plugin(dhcp_new_pkt=lambda exchange: exchange.classes.update({"phones", "lab"})),
        subnet=make_subnet(
            Pool("192.0.2.10", option(227)),
            parameters=Parameters(options={226: b"x", "domain-name-servers": ["192.0.2.1", "192.0.2.2"]}),
            reservations=[Reservation("02:00:00:00:00:01", parameters=Parameters(options={228: b"x"}))],
        ),
        parameters=option(224),
        classes=[Class("phones", option(225)), Class("printers", option(229))],
    )
    client.discover()
    found = said(client)
    assert found["classes"] == "lab, phones"
    assert {name: words for name, words in found.items() if name.startswith("option option-")} == {
        "option option-224": "b'x' (of the server)",
        "option option-225": "b'x' (of class phones)",
        "option option-226": "b'x' (of 192.0.2.0/24)",
        "option option-227": "b'x' (of the pool)",
        "option option-228": "b'x' (of the reservation)",
        "option option-230": r"b'\xe3' (of the pool)",
    }
    assert found["option domain-name-servers"] == "192.0.2.1, 192.0.2.2 (of 192.0.2.0/24)"


@pytest.mark.parametrize("asked", [None, 600])
def test_the_lease_time(asked):
    client = client_of(parameters=Parameters(lease_time=INFINITE))
    client.discover(lease_time=asked)
    words = "for ever" if asked is None else "600 seconds (the client asked for 600)"
    assert said(client)["lease time"] == words


def test_what_plugins_chose():
    other = make_subnet("198.51.100.10", network="198.51.100.0/24")
    chooser = plugin("map", select_subnet=lambda: Use(other), select_address=lambda: Use("198.51.100.10"))
    client = Client(make_engine(make_subnet(), other, plugins=[chooser]), Clock())
    client.discover()
    found = said(client)
    assert found["subnet"] == "198.51.100.0/24: chosen by map"
    client = client_of(plugin("plan", select_address=lambda: Use("192.0.2.77")))
    client.discover()
    assert said(client)["address"] == "192.0.2.77: chosen by plan"


def test_an_option_that_a_plugin_put_into_the_reply():
    def edit(reply):
        reply.options["domain-name"] = "edited.example"

    client = client_of(plugin(dhcp_pkt_send=edit))
    client.discover()
    found = said(client)
    assert found["option domain-name"] == "edited.example (a plugin's)"
    assert found["option subnet-mask"] == "255.255.255.0 (from the subnet's network)"


def test_a_message_type_that_a_plugin_made_unreadable():
    def edit(reply):
        reply.options["message-type"] = b""

    client = client_of(plugin(dhcp_pkt_send=edit))
    client.discover()
    assert said(client)["option message-type"] == "b'' (made for this message)"


def test_a_reply_that_a_plugin_wrecked_left_as_it_was():
    def wreck(reply):
        reply.options = None

    client = client_of(plugin(dhcp_pkt_send=wreck))
    client.discover()
    assert said(client)["option subnet-mask"] == "255.255.255.0 (from the subnet's network)"


def test_an_address_that_was_in_use():
    engine = make_engine(make_subnet(conflict_probe="arp"))
    client = Client(engine, Clock())
    exchange = engine.arrive(client.datagram(client.message(MessageType.DISCOVER)), client.clock())
    engine.decide(exchange)
    engine.conflict(exchange, "02:00:00:00:00:99 answers")
    engine.decide(exchange)
    engine.answer(exchange)
    client.hear(exchange)
    found = said(client)
    assert found["conflict"] == "found in use before: 1 of the addresses tried"
    assert found["address"] == "192.0.2.11: never used before"
    assert found["outcome"].startswith("OFFER to 192.0.2.11, port 68")


def test_a_nak():
    client = client_of()
    client.reboot("203.0.113.9")
    found = said(client)
    assert found["outcome"] == "NAK to everybody, port 68: wrong network: this is 192.0.2.0/24"
    assert found["option message"] == "wrong network: this is 192.0.2.0/24 (made for this message)"
    assert "address" not in found


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Drop("not ours"), "no reply: vetoed by guard: not ours"),
        (Drop(DropReason.UNAUTH, "not ours"), "no reply, UNAUTH: vetoed by guard: not ours"),
    ],
)
def test_a_veto(verdict, outcome):
    client = client_of(plugin("guard", dhcp_new_pkt=lambda: verdict))
    client.discover()
    assert said(client) == {
        "request": "DISCOVER on eth0, xid 00010001",
        "client": "hardware address 02:00:00:00:00:01",
        "outcome": outcome,
        "hooks": "were not recorded",
    }


def test_who_is_refused_or_dropped():
    client = client_of(plugin("guard", unknown_client=lambda: Nak("ask at the desk")))
    client.discover()
    assert said(client)["outcome"] == "no reply, UNAUTH: ask at the desk"
    client = client_of()
    client.reboot("192.0.2.50")
    assert said(client)["outcome"].startswith("no reply, GEN_FAILURE: no record of the client")


def test_a_reply_that_a_plugin_kept_back_has_no_options():
    def fails():
        raise ZeroDivisionError

    client = client_of(Plugin(plugin("bad", dhcp_pkt_send=fails), policy=Policy(on_error="drop")))
    client.discover()
    found = said(client)
    assert found["outcome"] == "no reply, INTERNAL_ERROR: dhcp_pkt_send of plugin bad raised"
    assert not any(name.startswith("option ") for name in found)


def test_what_is_no_dhcp_message():
    client = client_of()
    client.send(b"rubbish")
    assert said(client) == {
        "request": "7 octets from 0.0.0.0 on eth0",
        "outcome": "no reply, INVALID: 7 octets: a DHCP message has 240 to 4096",
        "hooks": "were not recorded",
    }


def test_what_asks_for_no_reply():
    client = client_of()
    client.join()
    client.release()
    assert said(client)["outcome"] == "no reply"
    client.join()
    client.decline()
    assert said(client)["outcome"] == "no reply: 192.0.2.10 is in use by somebody else, says the client"


def test_what_is_decided_but_not_answered_yet():
    client = client_of()
    exchange = client.engine.arrive(client.datagram(client.message(MessageType.DISCOVER)), client.clock())
    client.engine.decide(exchange)
    client.exchange = exchange
    found = said(client)
    assert found["outcome"] == "OFFER"
    assert not any(name.startswith("option ") for name in found)


def test_an_inform():
    client = client_of()
    client.inform("192.0.2.150")
    found = said(client)
    assert found["outcome"] == "ACK to 192.0.2.150, port 68"
    assert "lease time" not in found


def test_a_bootp_client():
    client = client_of(bootp="dynamic", parameters=Parameters(options={"domain-name": "boot.example"}))
    client.send(client.message(None))
    found = said(client)
    assert found["request"] == "BOOTP on eth0, xid 00010000"
    assert found["lease time"] == "for ever"
    assert found["outcome"] == "BOOTP to 192.0.2.10, port 68"
    assert found["option domain-name"] == "boot.example (of the server)"
    assert client.exchange.yiaddr == number("192.0.2.10")


def test_what_hooks_said_if_that_is_recorded():
    clock = Clock()
    engine = Engine(
        Config([make_subnet()]),
        Hooks(
            [plugin("guard", unknown_client=lambda: clock.advance(0.000042), select_lease_time=lambda: Use(600))],
            Runtime(clock=clock),
        ),
    )
    engine.tracing = True
    client = Client(engine, clock)
    client.discover()
    names = [fact.what for fact in client.exchange.explain()]
    found = said(client)
    assert found["hook unknown_client"] == "guard: nothing to say (42 µs)"
    assert found["hook select_lease_time"] == "guard: Use(value=600) (0 µs)"
    assert "hooks" not in found
    assert names.index("hook unknown_client") < names.index("subnet") < names.index("hook select_lease_time")
