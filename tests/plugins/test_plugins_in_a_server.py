"""The ready-made plugins together, from a configuration file to the clients of a running server."""

from __future__ import annotations

import json

import pytest
from aiodhcp_plugins.lease_events import LeaseEvents
from aiodhcp_plugins.stable_addresses import StableAddresses
from client import Clock
from wire import ask, config, lease, release, renew, until

from aiodhcp import ConfigError, DhcpServer, MemoryStore, MemoryTransport, load_config

FILE = """\
interfaces = ["memory"]
server-id = "192.0.2.1"

[store]
type = "memory"

[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.10-192.0.2.99"]
interfaces = ["memory"]

[[plugins]]
use = "aiodhcp_plugins.access:Access"
[plugins.settings]
deny = ["de:ad"]

[[plugins]]
use = "aiodhcp_plugins.classes:Classes"
[[plugins.settings.rules]]
name = "phones"
vendor-class = "AVM*"

[[plugins]]
use = "aiodhcp_plugins.relay_map:RelayMap"
[[plugins.settings.rules]]
subnet = "192.0.2.0/24"
circuit-id = "*"

[[plugins]]
use = "aiodhcp_plugins.address_plan:AddressPlan"
[plugins.settings]
path = "plan.csv"

[[plugins]]
use = "aiodhcp_plugins.stable_addresses:StableAddresses"
[plugins.settings]
seed = "a"

[[plugins]]
use = "aiodhcp_plugins.lease_events:LeaseEvents"
[plugins.settings]
command = ["/bin/true"]
stop-timeout = 5

[[plugins]]
use = "aiodhcp_plugins.journal:Journal"
[plugins.settings]
path = "journal.jsonl"
most-lines = 100
"""


@pytest.fixture
def configured(tmp_path):
    """``configured(text)``: the settings of a file beside which there is a plan."""

    def make(text: str = FILE):
        (tmp_path / "plan.csv").write_text("02:00:00:00:00:01, 192.0.2.201, pc-17, 600")
        file = tmp_path / "aiodhcp.toml"
        file.write_text(text)
        return load_config(file)

    return make


async def test_they_work_together(configured, tmp_path):
    transport, clock, settings = MemoryTransport(), Clock(), configured()
    plugins = settings.make_plugins()
    server = DhcpServer(settings.config(), store=MemoryStore(), transport=transport, plugins=plugins, clock=clock)
    async with server:
        assert await lease(transport, 1) == "192.0.2.201"
        assert server.leases.get(0xC00002C9).expires == clock() + 600
        other = await lease(transport, 2)
        assert other != "192.0.2.10"
        # What ends a lease is told when it is decided, which may be before the answers that still wait.
        await ask(transport, renew(2, other))
        transport.deliver(release(2, other))
        await until(lambda: server.health.in_flight == 0)
    told = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [each["event"] for each in told] == [
        "control",
        *["address_offer"] * 3,
        "delete_client",
        "address_del",
        "control",
    ]
    assert all(each.errors == each.timeouts == 0 for each in server.hooks.metrics)


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('deny = ["de:ad"]', 'deny = ["dead:"]', "hardware address"),
        ('vendor-class = "AVM*"', 'vendor-clas = "AVM*"', "vendor-clas"),
        ('subnet = "192.0.2.0/24"\ncircuit', 'subnet = "192.0.2.1/24"\ncircuit', "expected a network"),
        ("most-lines = 100", "most-lines = true", "most-lines"),
        ("stop-timeout = 5", 'stop-timeout = "5"', "stop-timeout"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(configured, tmp_path, right, wrong, words):
    text = FILE.replace(right, wrong)
    line = FILE[: FILE.index(right)].count("\n") + 1
    with pytest.raises(ConfigError) as refused:
        configured(text).make_plugins()
    assert words in str(refused.value)
    assert f"aiodhcp.toml:{line}:" in str(refused.value)


async def test_lease_events_hears_of_what_the_server_commits(tmp_path):
    notebook = tmp_path / "notebook"
    plugin = LeaseEvents(
        LeaseEvents.Settings(command=["/bin/sh", "-c", f"echo $AIODHCP_EVENT $AIODHCP_STATE >> {notebook}"])
    )
    transport, clock = MemoryTransport(), Clock()
    async with DhcpServer(config(), store=MemoryStore(), transport=transport, plugins=[plugin], clock=clock) as server:
        address = await lease(transport, 1)
        transport.deliver(release(1, address))
        await until(lambda: server.health.in_flight == 0 and not server.health.uncommitted)
    told = notebook.read_text().splitlines()
    assert told[-1] == "committed released"
    assert set(told) <= {"committed active", "committed released"}


async def test_stable_addresses_are_the_same_after_a_restart_that_forgot_all():
    given = []
    for _ in range(2):
        plugin, transport = StableAddresses(StableAddresses.Settings()), MemoryTransport()
        async with DhcpServer(config(), store=MemoryStore(), transport=transport, plugins=[plugin], clock=Clock()):
            given.append([await lease(transport, client) for client in range(1, 6)])
    assert given[0] == given[1]
    assert len(set(given[0])) == 5
