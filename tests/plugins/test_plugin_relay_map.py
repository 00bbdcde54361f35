"""relay_map: the subnet by the port behind which a client is."""

from __future__ import annotations

import pytest
from aiodhcp_plugins.relay_map import RelayMap
from client import Client, dotted, make_engine, make_subnet
from pydantic import ValidationError

from aiodhcp import Config, ConfigError, DropReason

OFFICE, GUESTS = make_subnet(), make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")
RULES = [
    {"subnet": "198.51.100.0/24", "circuit-id": ["guest-*", "eth9"]},
    {"subnet": "192.0.2.0/24", "circuit-id": "*", "remote-id": "0x0001"},
]


@pytest.fixture
def relayed(clock):
    """A client behind the relay agent 192.0.2.254, of a server with these rules."""

    def make(**more: object) -> Client:
        plugin = RelayMap(RelayMap.Settings.model_validate({"rules": RULES, **more}))
        plugin.config_loaded(Config([OFFICE, GUESTS]))
        return Client(make_engine(OFFICE, GUESTS, plugins=[plugin]), clock, giaddr="192.0.2.254")

    return make


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ({1: b"guest-3"}, "198.51.100.10"),
        ({1: b"eth9", 2: b"\0\1"}, "198.51.100.10"),
        ({1: b"eth1", 2: b"\0\1"}, "192.0.2.10"),
        ({1: b"eth1"}, "192.0.2.10"),
    ],
)
def test_the_first_rule_that_holds_counts(relayed, said, address):
    client = relayed()
    offer = client.discover(relay_agent_information=said)
    assert dotted(offer.yiaddr) == address
    assert dotted(client.request(offer, relay_agent_information=said).yiaddr) == address


def test_otherwise_it_is_dropped_if_that_is_wished(relayed):
    client = relayed(otherwise="drop")
    for said in ({1: b"eth1"}, b"\1\x09x"):
        assert client.discover(relay_agent_information=said) is None
        assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.discover(relay_agent_information={1: b"guest-1"}) is not None


def test_what_no_relay_agent_says_does_not_count(relayed):
    client = relayed(otherwise="drop")
    client.giaddr = 0
    assert dotted(client.discover(relay_agent_information={1: b"guest-1"}).yiaddr) == "192.0.2.10"


def test_but_it_does_if_a_switch_is_known_to_say_it(relayed):
    client = relayed(snooping=True)
    client.giaddr = 0
    assert dotted(client.discover(relay_agent_information={1: b"guest-1"}).yiaddr) == "198.51.100.10"


def test_what_such_a_switch_garbles_is_said_by_nobody(relayed):
    client = relayed(snooping=True, otherwise="drop")
    client.giaddr = 0
    assert client.discover(relay_agent_information=b"\1\x09x") is None
    assert client.exchange.reason == DropReason.NO_SUBNETS


def test_a_subnet_that_the_configuration_lacks_is_refused():
    plugin = RelayMap(RelayMap.Settings.model_validate({"rules": RULES}))
    with pytest.raises(ConfigError, match=r"rules: 198\.51\.100\.0/24: no subnet of the configuration"):
        plugin.config_loaded(Config([OFFICE]))


@pytest.mark.parametrize(
    "wrong", [[], [{"subnet": "192.0.2.0/24"}], [{"circuit-id": "x"}], [{"subnet": "192.0.2.1/24", "circuit-id": "x"}]]
)
def test_wrong_rules_are_refused(wrong):
    with pytest.raises(ValidationError):
        RelayMap.Settings.model_validate({"rules": wrong})


def test_a_client_renews_in_its_subnet_without_the_relay_agent(relayed):
    client = relayed()
    said = {1: b"guest-1"}
    address = client.request(client.discover(relay_agent_information=said), relay_agent_information=said).yiaddr
    assert client.renew().yiaddr == address
    assert client.rebind(relay_agent_information=said).yiaddr == address
