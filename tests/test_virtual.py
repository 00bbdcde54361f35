"""Virtual networks: which one a client is in, and what its relay agent is told of that (RFC 6607)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client import LINK, Client, dotted, make_engine, make_subnet

from aiodhcp import Config, DropReason, Engine, LeaseState, MessageType, Subnet
from aiodhcp.virtual import GLOBAL, in_words, virtual_subnet

NewClient = Callable[..., Client]
RELAY = "198.51.100.1"
BLUE, RED, ID = b"\0blue", b"\0red", b"\1\0\0\x0c\0\0\0\x2a"
WHERE = {GLOBAL: "198.51.100.10", BLUE: "203.0.113.10", ID: "192.0.2.10"}


def networks(**more: Any) -> Engine:
    """Three networks behind one relay agent, which stands in the global one."""
    return make_engine(
        make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24"),
        make_subnet("203.0.113.10-203.0.113.99", network="203.0.113.0/24", virtual_network="blue", relays=[RELAY]),
        make_subnet(virtual_network="00:00:0c:00:00:00:2A", relays=[RELAY]),
        **more,
    )


def behind(new_client: NewClient, engine: Engine, relayed: bytes | None, own: bytes | None = None) -> Client:
    """A client of a relay agent that says the one, and that says the other itself."""
    told = {1: b"eth7"} if relayed is None else {1: b"eth7", 152: b"", 151: relayed}
    return new_client(engine, giaddr=RELAY, relay_agent_information=told, virtual_subnet_selection=own)


# ── where a client is ──


@pytest.mark.parametrize(
    ("relayed", "own", "where"),
    [
        (None, None, GLOBAL),
        (GLOBAL, None, GLOBAL),
        (BLUE, None, BLUE),
        (ID, None, ID),
        (None, BLUE, BLUE),
        (None, ID, ID),
        (None, GLOBAL, GLOBAL),
        # RFC 6607 §7: the relay agent comes before the client.
        (BLUE, ID, BLUE),
        (GLOBAL, BLUE, GLOBAL),
        (ID, RED, ID),
    ],
)
def test_who_is_where(new_client: NewClient, relayed: Any, own: Any, where: bytes) -> None:
    client = behind(new_client, networks(), relayed, own)
    ack = client.join()
    assert dotted(ack.yiaddr) == WHERE[where]
    assert client.rebind().message_type == MessageType.ACK
    told = {fact.what: fact.words for fact in client.exchange.explain()}
    if relayed is None and own is not None:
        assert told["option virtual-subnet-selection"].endswith("(given back as it came (RFC 6607))")
    assert told.get("virtual network", "") == {GLOBAL: "", BLUE: "blue", ID: "00:00:0c:00:00:00:2A"}[where]
    for address in set(WHERE.values()) - {WHERE[where]}:
        assert client.reboot(address).message_type == MessageType.NAK


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (RED, "'red'"),
        (b"\0Blue", "'Blue'"),
        (b"\1" + bytes(6) + b"\7", "00:00:00:00:00:00:07"),
        (b"", "''"),
        (b"\0", "''"),
        (b"\2blue", "02:62:6c:75:65"),
        (b"\xffblue", "ff:62:6c:75:65"),
        (b"\0bl\xfce", "00:62:6c:fc:65"),
        (b"\1", ""),
        (b"\0" + b"a" * 200, repr("a" * 200)),
    ],
)
def test_one_that_there_is_not(new_client: NewClient, said: bytes, words: str) -> None:
    """Nor what can't be read: no other network takes its place."""
    for relayed, own in ((said, None), (None, said), (said, BLUE)):
        client = behind(new_client, networks(), relayed, own)
        if own == b"":
            continue  # an option without octets is not sent
        assert client.discover() is None
        assert client.exchange.reason == DropReason.NO_SUBNETS
        assert client.exchange.why == f"no subnet for relay agent {RELAY}, in virtual network {words}"


def test_a_relay_agent_that_does_not_say_it(new_client: NewClient) -> None:
    """It stands for a subnet, but not in the network that all are in of whom nobody says otherwise."""
    client = behind(new_client, make_engine(make_subnet(virtual_network="blue", relays=[RELAY])), None)
    assert client.discover() is None
    assert client.exchange.why == f"no subnet for relay agent {RELAY}, in the global network"


def test_link_selection_is_within_it(new_client: NewClient) -> None:
    engine = make_engine(
        *(
            make_subnet(f"10.{at}.0.10", network=f"10.{at}.0.0/24", virtual_network=name)
            for at, name in enumerate(("", "blue", "blue"))
        )
    )
    for at, name, address in ((2, BLUE, "10.2.0.10"), (0, GLOBAL, "10.0.0.10"), (1, GLOBAL, ""), (0, BLUE, "")):
        relayed = {5: bytes((10, at, 0, 0)), 151: name}
        client = new_client(engine, giaddr="10.0.0.1", relay_agent_information=relayed)
        offer = client.discover()
        assert (dotted(offer.yiaddr) if offer else "") == address
    assert client.exchange.why == (
        "no subnet for the link that relay agent 10.0.0.1 selects, 10.0.0.0, in virtual network 'blue'"
    )
    client = new_client(engine, subnet_selection="10.1.0.0", virtual_subnet_selection=BLUE)
    assert dotted(client.join().yiaddr) == "10.1.0.10"


def test_on_the_servers_own_link(new_client: NewClient) -> None:
    """Several may share an interface."""
    engine = make_engine(
        make_subnet(),
        make_subnet("203.0.113.10", network="203.0.113.0/24", virtual_network="blue", interfaces=[LINK.name]),
    )
    assert dotted(new_client(engine).join().yiaddr) == "192.0.2.10"
    assert dotted(new_client(engine, virtual_subnet_selection=BLUE).join().yiaddr) == "203.0.113.10"
    # A client's own word for a relay agent does not count.
    assert dotted(new_client(engine, relay_agent_information={151: BLUE}).join().yiaddr) == "192.0.2.11"
    client = new_client(engine, virtual_subnet_selection=RED)
    assert client.discover() is None
    assert client.exchange.why == "no subnet for interface eth0, in virtual network 'red'"


def test_renewals_past_the_relay_agent(new_client: NewClient) -> None:
    client = behind(new_client, networks(), BLUE)
    client.join()
    client.options["relay-agent-information"] = client.options["relay_agent_information"] = None
    assert client.renew().message_type == MessageType.ACK
    assert client.exchange.changes[0].relay_agent == b"\1\4eth7\x98\0\x97\5\0blue"
    client.release()
    assert client.exchange.lease_after.state == LeaseState.RELEASED


# ── what comes back ──


@pytest.mark.parametrize(
    ("relayed", "own", "option"),
    [
        (BLUE, None, None),
        (None, BLUE, BLUE),
        (BLUE, BLUE, BLUE),
        # It did not count.
        (ID, BLUE, None),
        (None, GLOBAL, GLOBAL),
        (GLOBAL, None, None),
        (None, None, None),
    ],
)
def test_what_comes_back(new_client: NewClient, relayed: Any, own: Any, option: Any) -> None:
    """The sub-option 151 without 152, the option 221 if it counted: in every reply, and 82 last."""
    client = behind(new_client, networks(), relayed, own)
    for reply in (client.discover(), client.join(), client.renew(), client.reboot("10.0.0.1")):
        vss = b"" if relayed is None else bytes((151, len(relayed))) + relayed
        assert reply.options.raw[82] == b"\1\4eth7" + vss
        assert reply.options.raw.get(221) == option
        assert list(reply.options)[-1] == 82
    assert reply.message_type == MessageType.NAK


def test_what_did_not_count_comes_back_as_it_came(new_client: NewClient) -> None:
    """From no relay agent; without the sub-option 151; what can't be read; and by another configuration."""
    whole = b"\x97\5\0blue\x98\0"
    for giaddr, octets in (("", whole), (RELAY, b"\x98\0"), (RELAY, b"\x97\5\0blue\x98")):
        engine = networks() if giaddr else make_engine(make_subnet(), Subnet("10.0.0.0/24", **OTHER))
        client = new_client(engine, giaddr=giaddr, relay_agent_information=octets)
        assert client.join().options.raw[82] == octets
    plain = make_engine(make_subnet(relays=[RELAY]))
    ack = new_client(plain, giaddr=RELAY, relay_agent_information=whole, virtual_subnet_selection=BLUE).join()
    assert ack.options.raw[82] == whole
    assert 221 not in ack.options


OTHER = {"virtual_network": "blue"}


def test_switches_that_are_trusted(new_client: NewClient) -> None:
    engine = make_engine(
        make_subnet(),
        make_subnet("203.0.113.10", network="203.0.113.0/24", virtual_network="blue", interfaces=[LINK.name]),
        agent_options_without_relay="trust",
    )
    ack = new_client(engine, relay_agent_information={151: BLUE, 152: b""}).join()
    assert (dotted(ack.yiaddr), ack.options.raw[82]) == ("203.0.113.10", b"\x97\5\0blue")


# ── what is configured ──


@pytest.mark.parametrize(
    ("name", "octets", "words"),
    [
        ("", GLOBAL, "the global network"),
        ("blue", BLUE, "virtual network 'blue'"),
        ("00:00:0c:00:00:00:2a", ID, "virtual network 00:00:0c:00:00:00:2a"),
        ("00:00:0c", b"\x0000:00:0c", "virtual network '00:00:0c'"),
    ],
)
def test_as_octets_and_in_words(name: str, octets: bytes, words: str) -> None:
    assert virtual_subnet(name) == octets
    assert Subnet("192.0.2.0/24", virtual_network=name).virtual == octets
    assert in_words(octets) == words


@pytest.mark.parametrize("name", ["bl\xfce", "a" * 255, "a\nb"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"^virtual_network: expected a name of at most 254 ASCII characters, or a VPN-"
    ):
        Subnet("192.0.2.0/24", virtual_network=name)


def test_addresses_are_leased_once() -> None:
    with pytest.raises(
        ValueError, match=r"^subnet: 10\.0\.0\.0/8 and 10\.1\.0\.0/16 overlap, also in two virtual networks"
    ):
        Config([Subnet("10.0.0.0/8", virtual_network="blue"), Subnet("10.1.0.0/16", virtual_network="red")])
    with pytest.raises(ValueError, match=r"overlap$"):
        Config([Subnet("10.0.0.0/8", virtual_network="blue"), Subnet("10.1.0.0/16", virtual_network="blue")])


def test_a_shared_network_is_in_one() -> None:
    subnets = [Subnet("10.0.0.0/24", shared_network="campus"), Subnet("10.0.1.0/24", shared_network="campus", **OTHER)]
    with pytest.raises(ValueError, match=r"^subnet: shared-network 'campus' is in several virtual networks$"):
        Config(subnets)


def test_a_relay_agent_stands_for_one_subnet_of_each() -> None:
    subnets = [Subnet(f"10.0.{at}.0/24", relays=[9], virtual_network=name) for at, name in enumerate(("", "blue"))]
    assert Config(subnets).subnet_of_relay(9, BLUE) is subnets[1]
    assert Config(subnets).subnet_of_relay(9) is subnets[0]
    with pytest.raises(ValueError, match=r"relay 0\.0\.0\.9 stands for 10\.0\.1\.0/24 and 10\.0\.2\.0/24"):
        Config([*subnets, Subnet("10.0.2.0/24", relays=[9], virtual_network="blue")])
