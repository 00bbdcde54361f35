"""A server of the kit: what may be given to it, how it lives, and what becomes of hooks that fail."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import types
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import BaseModel

from aiodhcp import (
    Config,
    ConfigError,
    ControlCode,
    Drop,
    Lease,
    Leasequery,
    LeaseState,
    Plugin,
    Policy,
    Settings,
    SqliteStore,
    Subnet,
    Use,
    hookimpl,
)
from aiodhcp.testing import HookFailed, MemoryServer

FIRST = IPv4Address("192.0.2.10")
SUBNET = {"subnet": "192.0.2.0/24", "pools": ["192.0.2.10-192.0.2.99"]}
TOML = """
lease-time = "1h"
[[subnet]]
subnet = "203.0.113.0/24"
pools = ["203.0.113.7"]
interfaces = ["lan"]
"""


class Named:
    """Gives every client a name."""

    class Settings(BaseModel):
        suffix: str = "example"
        file: Path | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.told: list[str] = []

    @hookimpl
    async def dhcp_control(self, code: ControlCode) -> None:
        self.told.append(code.name)

    @hookimpl
    async def dhcp_pkt_send(self, reply) -> None:
        reply.options["domain-name"] = self.settings.suffix


class Broken:
    @hookimpl(on_error="drop")
    def dhcp_new_pkt(self):
        raise ZeroDivisionError("oh no")


class Nonsense:
    @hookimpl
    async def dhcp_pkt_send(self):
        return 42

    @hookimpl
    def select_lease_time(self):
        return Use("for ever")


# ── configurations ──


@pytest.mark.parametrize(
    "config",
    [
        TOML,
        Settings.of({"interfaces": ["lan"], "subnet": [{"subnet": "203.0.113.0/24", "pools": ["203.0.113.7"]}]}),
        Config([Subnet("203.0.113.0/24", ["203.0.113.7"])]),
        {"subnet": [{"subnet": "203.0.113.0/24", "pools": ["203.0.113.7"]}], "lease-time": "1h"},
        {"transport": {"type": "udp"}, "subnet": [{"subnet": "203.0.113.0/24", "pools": ["203.0.113.7"]}]},
    ],
    ids=["text", "Settings", "Config", "mapping", "udp"],
)
def test_a_configuration_of_any_kind(make_dhcp_server, config):
    server = make_dhcp_server(config)
    assert server.client().sync.dora().address == IPv4Address("203.0.113.7")


def test_a_configuration_from_its_file_and_the_plugin_beside_it(make_dhcp_server, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from aiodhcp import Use, hookimpl\n@hookimpl\ndef select_lease_time(): return Use(77)\n"
    )
    (tmp_path / "dhcp.toml").write_text('interfaces = ["lan"]\nplugins = ["mine.py"]\nmax-in-flight = 7\n' + TOML)
    for path in (tmp_path / "dhcp.toml", str(tmp_path / "dhcp.toml")):
        server = make_dhcp_server(path, [Named])
        assert server.client().sync.dora().lease_time == 77
        assert [each.name for each in server.plugins] == ["mine", ""]


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ("lease-tim = 3\n", ConfigError, "the configuration:1: lease-tim: there is no such key; did you mean"),
        ({"lease-tim": 3}, ConfigError, "lease-tim: there is no such key"),
        ("= 3", ConfigError, "the configuration: Invalid statement"),
        ("nowhere.toml", ConfigError, "No such file"),
        (7, TypeError, "expected a Config"),
        ({"transport": "udp"}, ConfigError, "transport: expected"),
        ({"subnet": "192.0.2.0/24"}, ConfigError, "subnet: expected"),
        ({"subnet": [{"subnet": "192.0.2.0/24", "interfaces": 3}]}, ConfigError, "interfaces: expected"),
    ],
)
def test_a_wrong_configuration_is_refused(make_dhcp_server, config, error, words):
    with pytest.raises(error, match=words):
        make_dhcp_server(config)


async def test_nothing_listens(make_dhcp_server):
    config = Config([Subnet("192.0.2.0/24")], leasequery=Leasequery(["10.0.0.1"], listen=["127.0.0.1"], port=0))
    async with make_dhcp_server(config) as server:
        assert server.server.leasequery_addresses == []


# ── plugins, as the daemon makes them ──


def module() -> types.ModuleType:
    made = types.ModuleType("made")
    exec("from aiodhcp import Drop, hookimpl\n@hookimpl\ndef dhcp_new_pkt(): return Drop('made')", vars(made))
    return made


@pytest.mark.parametrize(
    "plugin",
    [
        Named,
        Named(Named.Settings()),
        Plugin(Named(Named.Settings()), name="Named"),
        f"{__name__}:Named",
        {"use": Named},
        {"use": f"{__name__}:Named", "deadline": "500ms", "on-error": "drop"},
    ],
    ids=["class", "object", "Plugin", "name", "mapping", "mapping-name"],
)
def test_a_plugin_of_any_kind(make_dhcp_server, plugin):
    server = make_dhcp_server(plugins=[plugin])
    assert server.client().sync.dora().options["domain-name"] == "example"
    assert server.plugin("Named").told == ["START"]
    server.run(server.stop())
    assert server.plugin("Named").told == ["START", "STOP"]


def test_a_plugin_that_is_a_module_or_has_an_entry_point(make_dhcp_server):
    assert make_dhcp_server(plugins=[module()]).client().sync.discover().why == "vetoed by made: made"
    access = {"use": "access", "settings": {"deny": ["02:00"]}}
    assert "is denied" in make_dhcp_server(plugins=[access]).client().sync.discover().why


def test_settings_policies_and_names(make_dhcp_server, tmp_path):
    table = {"use": Named, "name": "names", "on-timeout": "disable", "settings": {"suffix": "lab", "file": tmp_path}}
    server = make_dhcp_server(plugins=[table, Plugin(Named(Named.Settings()), policy=Policy(priority=9))])
    assert server.client().sync.dora().options["domain-name"] == "lab"
    assert server.plugin("names").settings.file == tmp_path
    assert {each.on_timeout for each in server.server.hooks.implementations} == {"disable", "drop"}
    with pytest.raises(LookupError, match="there is no plugin 'name', but 'names', 'Named'"):
        server.plugin("name")


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        (
            [{"use": Named, "settings": {"sufix": "x"}}],
            r"plugins\[0\].settings.sufix: there is no such key; did you mean",
        ),
        ([Broken, {"use": Named, "setting": {}}], r"plugins\[1\].setting: there is no such key"),
        ([{"settings": {}}], r"plugins\[0\].use: this key is needed"),
        (["no_such_plugin"], r"plugins\[0\].use: there is no plugin 'no_such_plugin'"),
        (["missing.py"], "there is no file"),
        ([{"use": Broken(), "settings": {}}], "takes no settings"),
        (
            [type("Odd", (), {"dhcp_new_pkt": hookimpl(lambda self, paket: None)})],
            "has no argument 'paket'; did you mean",
        ),
    ],
)
def test_a_wrong_plugin_is_refused_as_the_daemon_does(make_dhcp_server, plugins, words):
    with pytest.raises(ConfigError, match=words):
        make_dhcp_server(plugins=plugins)


@pytest.mark.parametrize("plugins", ["access", {"use": "access"}])
def test_plugins_are_a_list(make_dhcp_server, plugins):
    with pytest.raises(TypeError, match="expected a list of plugins"):
        make_dhcp_server(plugins=plugins)


def test_a_file_stands_beside_the_test(make_dhcp_server):
    """As one does beside the configuration of a daemon."""
    here = f"{Path(__file__).name}:Broken"
    server = make_dhcp_server(plugins=[here], tolerate_errors=True)
    assert server.plugin("Broken").__class__.__module__.startswith("aiodhcp_file_plugin")


# ── its life ──


async def test_it_starts_when_it_is_asked_and_stops_after_the_test(make_dhcp_server):
    server = make_dhcp_server(plugins=[Named])
    assert server.server.health.status == "new"
    await server.client().dora()
    assert server.server.health.status == "ok"
    await server.stop()
    assert server.server.health.status == "stopped"
    await server.stop()


@pytest.mark.dhcp(plugins=[Named])
async def test_what_is_in_the_store_is_left_after_a_restart(dhcp_server, dhcp_client):
    await dhcp_client.dora()
    await dhcp_server.restart()
    assert dhcp_server.lease(FIRST).holds(dhcp_server.clock())
    assert (await dhcp_client.renew()).is_ack
    assert dhcp_server.plugin("Named").told == ["START", "STOP", "START"]


async def test_another_store_and_leases(make_dhcp_server, dhcp_clock, tmp_path):
    end = int(dhcp_clock() + 60)
    lease = Lease(int(FIRST), b"\1\2\0\0\0\0\1", 1, b"\2\0\0\0\0\1", LeaseState.ACTIVE, end - 90, end)
    client = make_dhcp_server(leases=[lease]).client()
    assert (await client.init_reboot(FIRST)).is_ack
    first = make_dhcp_server(store=SqliteStore(tmp_path / "leases.sqlite"))
    await first.client().dora()
    await first.stop()
    again = make_dhcp_server(store=SqliteStore(tmp_path / "leases.sqlite"))
    await again.start()
    assert again.lease(FIRST) is not None


async def test_a_reload(dhcp_server, dhcp_client):
    assert "domain-name" not in (await dhcp_client.dora()).options
    await dhcp_server.reload({"subnet": [SUBNET], "lease-time": 77}, [Named])
    again = await dhcp_client.renew()
    assert (again.lease_time, again.options["domain-name"]) == (77, "example")
    assert "dhcp_pkt_send" in dhcp_server.trace
    await dhcp_server.reload(plugins=[])
    assert "domain-name" not in (await dhcp_client.renew()).options
    await dhcp_server.reload({"subnet": [SUBNET], "plugins": [f"{__name__}:Named"]})
    assert dhcp_server.plugin("Named").told == ["START"]
    with pytest.raises(ConfigError, match="no_such"):
        await dhcp_server.reload(plugins=["no_such"])


@pytest.mark.dhcp(config=Config([Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.11"], conflict_probe="arp")]))
def test_an_address_that_somebody_uses(dhcp_server, sync_dhcp_client):
    dhcp_server.occupy(FIRST)
    assert sync_dhcp_client.dora().address == IPv4Address("192.0.2.11")
    assert dhcp_server.lease(FIRST).state == LeaseState.DECLINED


class Refusing:
    @hookimpl
    def dhcp_control(self, code):
        if code is ControlCode.START:
            raise RuntimeError("no licence")


async def test_a_plugin_that_refuses_the_start(make_dhcp_server):
    server = make_dhcp_server(plugins=[Refusing])
    for _ in range(2):
        with pytest.raises(ConfigError, match="refused the start: no licence"):
            await server.client().discover()


async def test_several_begin_to_ask_at_once_and_it_refuses_them_all(make_dhcp_server):
    server = make_dhcp_server(plugins=[Refusing])
    said = await asyncio.gather(*(server.client().discover() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in said] == [ConfigError] * 3


def test_two_servers_of_a_test_are_two(make_dhcp_server):
    one, other = make_dhcp_server(), make_dhcp_server()
    assert one.client().sync.dora().address == other.client().sync.dora().address
    assert "1 leases" in repr(one)


def test_it_runs_on_one_loop_at_a_time():
    server = MemoryServer(plugins=[Named])
    server.client().sync.dora()
    with pytest.raises(RuntimeError, match="runs on another event loop"):
        asyncio.run(server.start())
    server.close()
    threads = [each.name for each in threading.enumerate() if "aiodhcp" in each.name]
    assert len(threads) <= 1  # one may just be about to end


def test_a_loop_that_is_gone_is_forgotten():
    """With ``asyncio.run``, without ``async with``."""
    server = MemoryServer()
    asyncio.run(server.client().dora())
    assert asyncio.run(server.client("02:00:00:00:00:01").init_reboot(FIRST)).is_ack
    server.close()
    gc.collect()


# ── hooks that fail ──


@pytest.mark.dhcp(plugins=[Broken])
async def test_what_a_hook_raises_is_raised_in_the_test(dhcp_client, dhcp_server):
    with pytest.raises(
        HookFailed, match=r"plugin Broken: dhcp_new_pkt raised .*oh no.* \(.*test_kit_server.py:\d+\)"
    ) as failed:
        await dhcp_client.discover()
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert (failed.value.plugin, failed.value.hook) == ("Broken", "dhcp_new_pkt")
    assert dhcp_server.errors == [failed.value]


@pytest.mark.dhcp(plugins=[Nonsense])
def test_what_means_nothing_is_a_failure_too(sync_dhcp_client):
    with pytest.raises(HookFailed, match=r"select_lease_time returned Use.*expected 1 to") as failed:
        sync_dhcp_client.discover()
    assert "dhcp_pkt_send returned 42, which means nothing there" in failed.value.__notes__[0]


@pytest.mark.dhcp(plugins=[Broken], tolerate_errors=True)
async def test_errors_may_be_tolerated(dhcp_client, dhcp_server):
    assert (await dhcp_client.discover()).why == "dhcp_new_pkt of plugin Broken raised"
    assert len(dhcp_server.errors) == 1


@pytest.mark.dhcp(plugins=[Broken])
async def test_or_for_a_while(dhcp_client, dhcp_server):
    with dhcp_server.tolerating_errors() as failed:
        assert not await dhcp_client.discover()
    assert [each.hook for each in failed] == ["dhcp_new_pkt"]
    with pytest.raises(HookFailed):
        await dhcp_client.discover()


class BrokenAtTheEnd:
    @hookimpl
    async def dhcp_control(self, code):
        if code is ControlCode.STOP:
            raise ZeroDivisionError("at last")


def test_what_fails_at_the_end_is_seen_too():
    server = MemoryServer(plugins=[BrokenAtTheEnd])
    server.client().sync.dora()
    with pytest.raises(HookFailed, match="at last"):
        server.close()
    server.close()


class Committed:
    def __init__(self):
        self.seen = []

    @hookimpl
    async def leases_committed(self, leases):
        await asyncio.sleep(0.001)
        self.seen += [lease.state.name for lease in leases]


@pytest.mark.dhcp(plugins=[Committed])
async def test_what_nobody_waits_for_can_be_waited_for(dhcp_client, dhcp_server):
    await dhcp_client.dora()
    await dhcp_client.release()
    await dhcp_server.settle()
    assert dhcp_server.plugin("Committed").seen == ["ACTIVE", "RELEASED"]


def test_the_kit_does_not_need_pytest():
    assert not [name for name in ("pytest", "_pytest") if name in vars(sys.modules["aiodhcp.testing.server"])]


class Vetoing:
    @hookimpl
    def dhcp_new_pkt(self):
        return Drop("never")


@pytest.mark.dhcp(plugins=[Vetoing])
def test_a_veto_is_no_failure(sync_dhcp_client, dhcp_server):
    assert sync_dhcp_client.discover().why == "vetoed by Vetoing: never"
    assert dhcp_server.errors == []
    assert "vetoed by Vetoing: never" in dhcp_server.report()
    assert "-> Drop(why='never'" in dhcp_server.report()
