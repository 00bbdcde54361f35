"""What docs/addresses.md shows is loaded here, and does what it says."""

from __future__ import annotations

from collections.abc import Callable

from client import Client, dotted
from test_docs_classes import example

NewClient = Callable[..., Client]
PAGE = "addresses.md"


def test_choices(new_client: NewClient) -> None:
    engine, other = example(PAGE, 0), example(PAGE, 0)
    clients = [new_client(engine, giaddr="192.0.2.254") for _ in range(3)]
    here = [client.join().yiaddr for client in clients]
    for client in clients:
        client.engine = other
    assert [client.join().yiaddr for client in reversed(clients)] == here[::-1]
    there = [dotted(new_client(engine, giaddr="198.51.100.254").join().yiaddr) for _ in range(2)]
    assert there == ["198.51.100.10", "198.51.100.11"]
    subnet = engine.config.subnets[1]
    assert [engine.config.choice(subnet, pool) for pool in subnet.pools] == ["sequential", "random"]
