"""What docs/addresses.md shows is loaded here, and does what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from client import Client, Clock, dotted
from test_docs_classes import DOCS, example

from aiodhcp import Exchange, MessageType

NewClient = Callable[..., Client]
PAGE = "addresses.md"
TEXT = (DOCS / PAGE).read_text()


def renewed(client: Client) -> Exchange:
    """The exchange of a renewal."""
    assert client.renew() is not None
    return client.exchange


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


def test_short_leases_and_a_full_pool(new_client: NewClient, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    engine = example(PAGE, 1)
    clients = [new_client(engine) for _ in range(10)]
    assert [each.join().options["lease-time"] for each in clients] == [43200] * 10
    said = {fact.what: fact.words for fact in renewed(clients[0]).explain()}
    assert said["lease time"] == "43200 seconds"
    clients[9].release()
    clock.advance(1)
    said = {fact.what: fact.words for fact in renewed(clients[0]).explain()}
    assert said["lease time"] == "43200 seconds"  # 90 % is not above
    clients[9].join()
    clock.advance(43000)
    words = renewed(clients[0]).explain()
    assert f"lease time{' ' * 18}{dict(words)['lease time']}" in TEXT
    assert new_client(engine).discover() is None
    clients[3].release()
    engine.tick(clock())
    for record in caplog.records:
        assert f"{record.levelname} {record.name}: {record.getMessage()}\n" in TEXT
    assert len(caplog.records) == 2


def test_a_server_that_stands_by(new_client: NewClient) -> None:
    """How its OFFER waits, tests/test_offer_delay.py shows."""
    client = new_client(example(PAGE, 2))
    offer = client.discover()
    assert (dotted(offer.yiaddr), client.exchange.delay) == ("192.0.2.200", 0.2)
    assert ("offer delay", "0.2 seconds") in client.exchange.explain()
    assert client.request(offer).message_type == MessageType.ACK
    assert client.exchange.delay == 0
