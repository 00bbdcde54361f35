"""What docs/leasequery.md shows is loaded here, and does what it says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from client import Client, Clock
from test_leasequery import ACTIVE, UNASSIGNED, UNKNOWN, Requestor, kind

from aiodhcp import Engine, Settings

PAGE = (Path(__file__).resolve().parent.parent / "docs/leasequery.md").read_text()
SAID = re.sub(r"\s+", " ", PAGE)
NewClient = Callable[..., Client]


def example(at: int) -> Settings:
    """An example of the page."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return Settings.of(tomllib.loads(blocks[at]))


def test_who_may_ask(new_client: NewClient, clock: Clock) -> None:
    engine = Engine(example(0).config())
    client = new_client(engine, giaddr="198.51.100.1")
    client.join(relay_agent_information={2: b"line-7"})
    clock.advance(60)
    requestor = Requestor(engine, clock)
    for fields, expected in (
        ({"address": "198.51.100.10"}, ACTIVE),
        ({"mac": "02:00:00:00:00:01"}, ACTIVE),
        ({"client_id": client.key}, ACTIVE),
        ({"relay_agent_information": {2: b"line-7"}}, ACTIVE),
        ({"address": "198.51.100.11"}, UNASSIGNED),
        ({"address": "203.0.113.1"}, UNKNOWN),
        ({"mac": "02:00:00:00:00:02"}, UNKNOWN),
    ):
        assert kind(requestor.ask(**fields)) == expected
    assert requestor.ask(address="198.51.100.10").options["client-last-transaction-time"] == 60
    assert kind(requestor.ask(address="198.51.100.10", giaddr="10.7.8.9")) == ACTIVE
    for fields in (
        {"address": "198.51.100.10", "giaddr": ""},
        {"address": "198.51.100.10", "giaddr": "10.0.0.2"},
        {"address": "198.51.100.10", "mac": "02:00:00:00:00:01"},
    ):
        assert requestor.ask(**fields) is None
        assert f"`{requestor.exchange.why}`" in SAID
