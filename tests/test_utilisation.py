"""How full subnets and shared networks are: what ``aiodhcp status`` says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from client import Client, Clock, make_engine, make_subnet

from aiodhcp import Config, Engine, Parameters, Reservation, Subnet
from aiodhcp.administration import _console, _utilisation
from aiodhcp.utilisation import utilisation

NewClient = Callable[..., Client]
NUMBERS = ("addresses", "in_use", "offered", "declined", "reserved", "free", "utilisation")


def numbers(rows: list[dict[str, Any]]) -> dict[str, tuple[object, ...]]:
    """Of each subnet or network, in the order of ``NUMBERS``."""
    return {each.get("name") or each["subnet"]: tuple(each[number] for number in NUMBERS) for each in rows}


def campus() -> Engine:
    """Three subnets, two of them on one link."""
    return make_engine(
        make_subnet(
            "192.0.2.10-192.0.2.19",
            shared_network="campus",
            reservations=[Reservation("02:00:00:00:00:99", address="192.0.2.15")],
        ),
        make_subnet("203.0.113.10-203.0.113.14", network="203.0.113.0/24", shared_network="campus"),
        make_subnet("198.51.100.10-198.51.100.13", network="198.51.100.0/24"),
        parameters=Parameters(options={"routers": "198.51.100.13"}),
    )


def test_what_happens_to_addresses_is_counted_in_their_subnet(new_client: NewClient, clock: Clock) -> None:
    engine = campus()
    assert numbers(utilisation(engine.addresses)["subnets"]) == {
        "192.0.2.0/24": (10, 0, 0, 0, 1, 9, 0.0),
        "203.0.113.0/24": (5, 0, 0, 0, 0, 5, 0.0),
        "198.51.100.0/24": (4, 0, 0, 0, 1, 3, 0.0),
    }
    client = new_client(engine, giaddr="198.51.100.254")
    client.discover()
    assert numbers(utilisation(engine.addresses)["subnets"])["198.51.100.0/24"] == (4, 0, 1, 0, 1, 2, 0.0)
    client.join()
    assert numbers(utilisation(engine.addresses)["subnets"])["198.51.100.0/24"] == (4, 1, 0, 0, 1, 2, 0.25)
    client.decline()
    assert numbers(utilisation(engine.addresses)["subnets"])["198.51.100.0/24"] == (4, 0, 0, 1, 1, 2, 0.25)
    client.join()
    clock.advance(100000)
    engine.tick(clock())
    assert numbers(utilisation(engine.addresses)["subnets"])["198.51.100.0/24"] == (4, 0, 0, 0, 1, 3, 0.0)


def test_a_shared_network_has_the_sums_of_its_subnets(new_client: NewClient) -> None:
    engine = campus()
    for _ in range(11):
        new_client(engine).join()
    report = utilisation(engine.addresses)
    assert [each["shared_network"] for each in report["subnets"]] == ["campus", "campus", ""]
    assert numbers(report["subnets"])["192.0.2.0/24"] == (10, 9, 0, 0, 1, 0, 0.9)
    assert numbers(report["subnets"])["203.0.113.0/24"] == (5, 2, 0, 0, 0, 3, 0.4)
    assert numbers(report["shared_networks"]) == {"campus": (15, 11, 0, 0, 1, 3, 11 / 15)}
    # The reserved address is counted once: as offered, and as its client's, when that has it.
    owner = new_client(engine, mac="02:00:00:00:00:99")
    owner.discover()
    assert numbers(utilisation(engine.addresses)["shared_networks"]) == {"campus": (15, 11, 1, 0, 0, 3, 11 / 15)}
    owner.join()
    assert numbers(utilisation(engine.addresses)["shared_networks"]) == {"campus": (15, 12, 0, 0, 0, 3, 0.8)}


def test_only_addresses_of_pools_are_counted(new_client: NewClient) -> None:
    reserved = Reservation("02:00:00:00:00:99", address="192.0.2.200")
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11", reservations=[reserved]))
    new_client(engine, mac="02:00:00:00:00:99").join()
    assert numbers(utilisation(engine.addresses)["subnets"]) == {"192.0.2.0/24": (2, 0, 0, 0, 0, 2, 0.0)}


def test_a_subnet_without_pools_is_not_full() -> None:
    engine = Engine(Config([Subnet("192.0.2.0/24")]))
    rows = utilisation(engine.addresses)["subnets"]
    assert numbers(rows) == {"192.0.2.0/24": (0, 0, 0, 0, 0, 0, None)}


def test_only_what_is_full_has_100_percent() -> None:
    rows = [
        {"subnet": "a", **dict.fromkeys(NUMBERS, 0), "addresses": 1000, "in_use": 998, "declined": 1},
        {"subnet": "b", **dict.fromkeys(NUMBERS, 0), "addresses": 1000, "in_use": 1000},
        {"subnet": "c", **dict.fromkeys(NUMBERS, 0)},
    ]
    console = _console()
    with console.capture() as capture:
        console.print(_utilisation("Subnet", "subnet", rows))
    assert [line.split()[-1] for line in capture.get().splitlines()] == ["Utilisation", "99%", "100%", "-"]
