"""Which options a reply has, in which order, and what is left out: always-send, never-send, and too little room."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from client import Client, Clock, make_engine, make_subnet
from plugin_kit import plugin

from aiodhcp import Packet, Parameters

A = IPv4Address("192.0.2.1")

# ── always and never ──


def told(parameters: Parameters, *, asked: list[int] | None, **more: Any) -> list[int]:
    """The options of an OFFER that are not the protocol's."""
    offer = Client(make_engine(parameters=parameters, **more), Clock()).discover(parameter_request_list=asked)
    return [code for code in offer.options if code not in (51, 53, 54)]


SET = {"routers": A, "domain-name": "a", "ntp-servers": A}


@pytest.mark.parametrize(
    ("said", "asked", "codes"),
    [
        ({}, [42, 1], [58, 59, 1, 42]),
        ({"always_send": ["domain-name", "routers"]}, [42, 1], [58, 59, 1, 42, 15, 3]),
        ({"always_send": ["routers"]}, [42, 3], [58, 59, 42, 3]),
        ({"always_send": ["time-servers", "broadcast-address"]}, [42], [58, 59, 42, 28]),
        ({"always_send": ["broadcast-address"]}, None, [58, 59, 1, 3, 15, 42, 28]),
        ({"never_send": ["routers", "subnet-mask"]}, None, [58, 59, 15, 42]),
        ({"never_send": ["routers"]}, [3, 42], [58, 59, 42]),
        ({"never_send": ["renewal-time", "rebinding-time"]}, [42], [42]),
    ],
)
def test_what_is_sent_always_and_never(said: dict[str, Any], asked: list[int] | None, codes: list[int]) -> None:
    assert told(Parameters(options=SET, **said), asked=asked) == codes


def test_of_each_option_the_most_specific_list_that_has_it_counts() -> None:
    general = Parameters(always_send=[3, 15], never_send=[42, 4])
    assert general.under(Parameters(lease_time=60)).always_send == (3, 15)
    both = general.under(Parameters(always_send=[42, 15], never_send=[3]))
    assert (both.always_send, both.never_send) == ((15, 42), (4, 3))
    subnet = make_subnet(parameters=Parameters(never_send=["routers"]))
    general = Parameters(options=SET, always_send=["routers"])
    client = Client(make_engine(subnet, parameters=general), Clock())
    assert "routers" not in client.discover(parameter_request_list=[3]).options


# ── what has no room ──


def test_what_has_no_room_is_left_out_by_the_requested_order_logged_and_explained(caplog) -> None:
    """RFC 2132 §9.8: the client MAY list the options in the order of preference."""
    big = {code: bytes([code]) * 200 for code in (224, 225, 226)}
    client = Client(make_engine(parameters=Parameters(options=big, always_send=[225], boot_file="x")), Clock())
    offer = client.discover(parameter_request_list=[226, 224])
    assert [code for code in offer.options if code > 200] == [226]
    offer = client.discover(parameter_request_list=[224, 226], maximum_message_size=1200)
    assert [code for code in offer.options if code > 200] == [224, 226, 225]
    offer = client.discover(parameter_request_list=[224, 226])
    assert [code for code in offer.options if code > 200] == [224]
    assert client.exchange.left_out == (226, 225)
    said = {fact.what: fact.words for fact in client.exchange.explain()}
    assert said["option option-225"] == "left out: no room for it in the message"
    assert caplog.messages == [
        "options [224, 225] don't fit into a reply to 02:00:00:00:00:01 in 192.0.2.0/24 and were left out",
        "options [226, 225] don't fit into a reply to 02:00:00:00:00:01 in 192.0.2.0/24 and were left out",
    ]


def test_what_the_relay_agent_said_and_had_no_room_is_explained() -> None:
    client = Client(make_engine(), Clock(), giaddr="192.0.2.254", client_id=b"x" * 200)
    client.discover(relay_agent_information={1: b"y" * 200})
    said = {fact.what: fact.words for fact in client.exchange.explain()}
    assert said["option relay-agent-information"] == "left out: no room for it in the message"


def test_what_a_plugin_took_out_of_the_reply_is_explained() -> None:
    def edit(reply: Packet) -> None:
        del reply.options["client-identifier"]

    client = Client(make_engine(plugins=[plugin(dhcp_pkt_send=edit)]), Clock(), client_id=b"\0pc")
    client.discover()
    said = {fact.what: fact.words for fact in client.exchange.explain()}
    assert said["option client-identifier"] == "left out"


@pytest.mark.parametrize("names", [{"boot_file": "x", "server_name": "y"}, {}])
def test_only_names_that_are_free_are_overloaded_and_never_in_a_nak(names: dict[str, str]) -> None:
    """RFC 2131 table 3: option overload MAY be in an OFFER and an ACK, and MUST NOT in a NAK."""
    options = {224: b"x" * 250, 225: b"y" * 100}
    client = Client(make_engine(parameters=Parameters(options=options, **names)), Clock())
    offer = client.discover()
    assert (225 in offer.options) == (not names)
    assert bool(offer.overload) == (not names)
    assert not client.reboot("203.0.113.9").overload
