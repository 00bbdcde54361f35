"""What docs/leasequery.md shows is loaded here, and does what it says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client, Clock
from leasequery_kit import BULK, DONE, TLS, query
from leasequery_kit import Requestor as Connection
from server_kit import serve, store, transport  # noqa: F401 - fixtures
from test_leasequery import ACTIVE, UNASSIGNED, UNKNOWN, Requestor, kind

from aiodhcp import ConfigError, Engine, Settings, load_config

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


async def test_by_tcp(serve: Callable[..., object], clock: Clock) -> None:
    """As the page has it, but on loopback."""
    settings = example(1)
    table = settings.leasequery.model_copy(update={"listen": ["127.0.0.1"], "port": 0, "requestors": ["127.0.0.1"]})
    config = settings.model_copy(update={"leasequery": table}).config()
    assert (config.leasequery.connections, settings.config().leasequery.listen) == (20, ("192.0.2.1",))
    async with serve(config=config, clock=clock) as server, await Connection.to(server) as requestor:
        assert [each.kind for each in await requestor.ask(query(BULK))] == [DONE]
        assert [(each.kind, each.status) for each in await requestor.ask(query(TLS))] == [(TLS, 8)]


def test_tls(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "dhcp.toml").write_text(blocks[2])
    settings = load_config(tmp_path / "dhcp.toml").config().leasequery
    assert settings.tls_certificate == str(tmp_path / "dhcp.pem")
    assert settings.tls_key == str(tmp_path / "dhcp.key")
    assert settings.tls_ca == str(tmp_path / "requestors.pem")
    assert settings.tls_required


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"10.0.0.1"', '"10.0.0.1/8"', "leasequery.requestors[0]: expected an address or a network like"),
        ('"192.0.2.1"', '"eth0"', "leasequery.listen[0]: expected an address like '192.0.2.1', got 'eth0'"),
        ("port = 67", "port = 70000", "leasequery.port: expected 0 to 65535, got 70000"),
        (
            "port = 67",
            'tls-ca = "a.pem"',
            "leasequery.tls-ca: is for a server with a tls-certificate, and there is none",
        ),
        ("listen =", "listens =", "leasequery.listens: there is no such key; did you mean 'listen'?"),
        ("requestors =", "# requestors =", "leasequery.requestors: "),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
    assert before in text
    (tmp_path / "dhcp.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "dhcp.toml")
    assert said in str(error.value)
    assert re.match(r".*dhcp\.toml:\d+: ", str(error.value))
