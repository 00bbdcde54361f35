"""What docs/relays.md shows is loaded here, and does what it says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from client import Client, dotted

from aiodhcp import Engine, Settings

PAGE = (Path(__file__).resolve().parent.parent / "docs/relays.md").read_text()
NewClient = Callable[..., Client]


def example(at: int) -> Engine:
    """A server by an example of the page."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return Engine(Settings.of(tomllib.loads(blocks[at])).config())


def test_the_subnet_of_the_relay_agent(new_client: NewClient) -> None:
    engine = example(0)
    for giaddr, address in (("", "192.0.2.10"), ("198.51.100.1", "198.51.100.10"), ("10.0.0.1", "203.0.113.10")):
        assert dotted(new_client(engine, giaddr=giaddr).join().yiaddr) == address


def test_link_selection_subnet_selection_and_giaddr(new_client: NewClient) -> None:
    engine = example(0)
    link, subnet = {5: bytes((203, 0, 113, 0))}, "198.51.100.0"
    for giaddr, options, network in (
        ("10.0.0.1", {"relay_agent_information": link, "subnet_selection": subnet}, "203.0.113.0/24"),
        ("10.0.0.1", {"subnet_selection": subnet}, "198.51.100.0/24"),
        ("10.0.0.1", {}, "203.0.113.0/24"),
        ("", {"relay_agent_information": link}, "192.0.2.0/24"),
    ):
        client = new_client(engine, giaddr=giaddr, **options)
        client.join()
        assert str(client.exchange.subnet) == network


def test_several_subnets_on_one_link(new_client: NewClient) -> None:
    engine = example(1)
    first, second, third = (new_client(engine, giaddr="198.51.100.1") for _ in range(3))
    assert dotted(first.join().yiaddr) == "198.51.100.10"
    ack = second.join()
    assert (dotted(ack.yiaddr), ack.options["lease-time"]) == ("203.0.113.10", 3600)
    assert third.discover() is None


def test_virtual_networks(new_client: NewClient) -> None:
    engine, said = example(2), re.sub(r"\s+", " ", PAGE)
    for octets, address in (
        (None, "198.51.100.10"),
        (b"\xff", "198.51.100.11"),
        (b"\0blue", "203.0.113.10"),
        (b"\1\0\0\x0c\0\0\0\x2a", "192.0.2.10"),
    ):
        relayed = {"relay_agent_information": {151: octets, 152: b""}} if octets else {}
        client = new_client(engine, giaddr="198.51.100.1", **relayed)
        ack = client.join()
        assert dotted(ack.yiaddr) == address
        assert client.exchange.relay_agent.get(151) == octets
    client = new_client(engine, giaddr="198.51.100.1", relay_agent_information={151: b"\0red"})
    assert client.discover() is None
    assert f"`{client.exchange.why}`" in said


def test_a_renewal_past_the_relay_agent(new_client: NewClient) -> None:
    engine = example(3)
    client = new_client(engine, giaddr="198.51.100.1")
    client.join(relay_agent_information={1: b"floor-2"})
    assert client.renew().options["lease-time"] == 600
    assert "relay-agent-information" not in client.exchange.reply.options
    client.rebind(relay_agent_information={1: b"floor-3"})
    assert client.renew().options["lease-time"] == 43200


def test_what_is_not_believed(new_client: NewClient) -> None:
    engine, said = example(4), re.sub(r"\s+", " ", PAGE)
    assert new_client(engine).join()
    assert new_client(engine, giaddr="192.0.2.254", relay_agent_information={1: b"a"}).join()
    assert new_client(engine, relay_agent_information={1: b"a"}).discover() is None
    for giaddr in ("10.9.9.9", "127.0.0.1", "192.0.2.1"):
        client = new_client(engine, giaddr=giaddr)
        assert client.discover() is None
        assert f"`{client.exchange.why}`" in said
