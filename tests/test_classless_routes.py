"""Classless static routes, and which other routes a client gets beside them (RFC 3442)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client import Client, make_engine, make_subnet

from aiodhcp import Engine, Parameters, Settings

NewClient = Callable[..., Client]
PAGE = (Path(__file__).resolve().parent.parent / "docs/options.md").read_text()
ROUTES = ["10.0.0.0/8 via 192.0.2.2", "0.0.0.0/0 via 192.0.2.1"]
ALL = {
    "routers": ["192.0.2.1"],
    "static-routes": ["10.1.0.0 192.0.2.2"],
    "classless-static-routes": ROUTES,
    "ms-classless-static-routes": ROUTES,
}


def routing(**more: Any) -> Engine:
    """A server that has all four of them."""
    return make_engine(parameters=Parameters(**{"options": ALL, **more}))


def sent(client: Client, *asked: int, **more: Any) -> list[int]:
    """Which of them are in an OFFER for these requested parameters, and in the ACK."""
    request = list(asked) or None
    offer = client.discover(parameter_request_list=request, **more)
    ack = client.request(offer, parameter_request_list=request, **more)
    found = [[code for code in reply.options if code in (3, 33, 121, 249)] for reply in (offer, ack)]
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize(
    ("asked", "gets"),
    [
        ((1, 3, 33, 121), [121]),
        ((1, 121, 3), [121]),
        ((1, 3, 249), [249]),
        ((1, 3, 33, 121, 249), [121, 249]),
    ],
)
def test_who_asks_for_classless_routes_gets_no_others(new_client: NewClient, asked: Any, gets: list[int]) -> None:
    assert sent(new_client(routing()), *asked) == gets


@pytest.mark.parametrize(("asked", "gets"), [((1, 3), [3]), ((1, 33, 3), [33, 3]), ((), [3, 33, 121, 249])])
def test_who_does_not_ask_for_them_gets_routers(new_client: NewClient, asked: Any, gets: list[int]) -> None:
    """Nor does who asks for nothing in particular ask for them."""
    assert sent(new_client(routing()), *asked) == gets


def test_who_asks_but_gets_none_gets_routers(new_client: NewClient) -> None:
    """There are none, or they are never sent."""
    without = {name: ALL[name] for name in ("routers", "static-routes")}
    assert sent(new_client(routing(options=without)), 1, 3, 33, 121) == [3, 33]
    never = routing(never_send=["classless-static-routes", "ms-classless-static-routes"])
    assert sent(new_client(never), 1, 3, 33, 121, 249) == [3, 33]


def test_routes_that_have_no_room_take_no_others_place(new_client: NewClient) -> None:
    many = {**ALL, "classless-static-routes": [f"10.{each}.0.0/16 via 192.0.2.2" for each in range(120)]}
    client = new_client(routing(options=many))
    assert sent(client, 1, 3, 33, 121) == [3, 33]
    assert client.exchange.left_out == (121,)
    assert sent(client, 1, 3, 33, 121, maximum_message_size=1500) == [121]
    # Microsoft's are short here.
    assert sent(client, 1, 3, 33, 121, 249) == [249]
    assert client.exchange.left_out == (121,)


def test_what_is_always_sent_is_sent_beside_them(new_client: NewClient) -> None:
    """Also to one client, where a class says so; not because classless routes are."""
    assert sent(new_client(routing(always_send=["routers"])), 1, 121) == [121, 3]
    assert sent(new_client(routing(always_send=["classless-static-routes"])), 1, 3) == [3, 121]
    subnet = make_subnet(parameters=Parameters(always_send=["routers"], never_send=["static-routes"]))
    assert sent(new_client(make_engine(subnet, parameters=Parameters(options=ALL))), 3, 33, 121) == [121, 3]


def test_the_example_of_the_page(new_client: NewClient) -> None:
    (text,) = (each for each in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S) if "old-phones" in each)
    engine = Engine(Settings.of(tomllib.loads(text)).config())
    # Here the client is in that network by its relay agent.
    assert sent(new_client(engine, giaddr="192.168.50.254"), 1, 3, 121) == [121]
    phone = new_client(engine, giaddr="192.168.50.254", vendor_class_identifier="old-phone")
    assert sent(phone, 1, 3, 121) == [121, 3]
