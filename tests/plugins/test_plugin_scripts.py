"""scripts: the script that somebody has for dnsmasq or Kea. That they do the same is shown in tests/integration."""

from __future__ import annotations

import os

import pytest
from aiodhcp_plugins.scripts import Scripts
from aiodhcp_plugins.scripts_dnsmasq import label, user_classes
from client import Client, Clock, make_engine, number
from pydantic import ValidationError
from serving import serve  # noqa: F401 - a fixture
from wire import ask, decline, lease, release, renew, until

from aiodhcp import ConfigError, Lease, LeaseState, MemoryStore

FAR = 1_800_000_000
LEASE = Lease(number("192.0.2.10"), b"\1\2\0\0\0\0\1", 1, b"\2\0\0\0\0\1", LeaseState.ACTIVE, 1000, FAR, "pc-1.lan")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def notebook(tmp_path):
    return tmp_path / "notebook"


@pytest.fixture
def make(tmp_path, notebook):
    """``make("echo $1", form="kea")``: the plugin with a script that writes that down."""

    def scripts(text: str = 'echo "$*"', **settings: object) -> Scripts:
        script = tmp_path / "script.sh"
        script.write_text(f"#!/bin/sh\n{{ {text}\n}} >> {notebook}\n")
        script.chmod(0o755)
        return Scripts(Scripts.Settings(**{"script": script, "form": "dnsmasq", "stop_timeout": 5.0, **settings}))

    return scripts


def lines(notebook) -> list[str]:
    return notebook.read_text().splitlines() if notebook.exists() else []


async def quiet(plugin: Scripts) -> None:
    await until(lambda: plugin.runner._running is None)


# ── dnsmasq's form ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_life_of_a_lease(make, serve, notebook, clock):
    async with serve(make(on_renewal=True)) as (server, transport):
        address = await lease(transport, 1, [(12, b"pc-1")])
        clock.advance(60)
        await ask(transport, renew(1, address))
        transport.deliver(release(1, address))
        transport.deliver(decline(2, await lease(transport, 2)))
        await server.delete_lease(await lease(transport, 3))
        await lease(transport, 4)
        clock.advance(3700)
        await until(lambda: len(lines(notebook)) >= 9)
    told = lines(notebook)
    assert told[:3] == [f"{action} 02:00:00:00:00:01 {address} pc-1" for action in ("add", "old", "del")]
    assert told[3:] == [
        f"{action} 02:00:00:00:00:0{client} 192.0.2.1{client - 1}" for client in (2, 3, 4) for action in ("add", "del")
    ]


async def test_a_renewal_is_no_news(make, serve, notebook, clock):
    async with serve(make()) as (_, transport):
        address = await lease(transport, 1)
        clock.advance(60)
        await ask(transport, renew(1, address))
    assert lines(notebook) == [f"add 02:00:00:00:00:01 {address}"]


async def test_all_leases_are_told_of_at_the_start_and_at_a_reload(make, serve, notebook):
    store = MemoryStore()
    ended = LEASE._replace(address=LEASE.address + 1, client=b"x", state=LeaseState.RELEASED)
    outdated = LEASE._replace(address=LEASE.address + 2, client=b"y", chaddr=b"\2\0\0\0\0\3", expires=2000)
    await store.commit([LEASE, ended, outdated])
    plugin = make(init=True)
    async with serve(plugin, store) as (server, _):
        await until(lambda: len(lines(notebook)) >= 3)
        await server.reload()
        await until(lambda: len(lines(notebook)) >= 4)
    old = "old 02:00:00:00:00:01 192.0.2.10 pc-1"
    told = lines(notebook)
    assert told[:2] == ["init", old]
    assert sorted(told[2:]) == ["del 02:00:00:00:00:03 192.0.2.12 pc-1", old]


async def test_the_environment_is_clean(make, serve, notebook, monkeypatch, clock):
    monkeypatch.setenv("SECRET", "token")
    store = MemoryStore()
    await store.commit([LEASE])
    async with serve(make("env | grep -v '^PWD\\|^_=\\|^SHLVL\\|^OLDPWD' | sort", environment={"ZONE": "lan"}), store):
        await until(lambda: lines(notebook))
    assert lines(notebook) == [
        "DNSMASQ_CLIENT_ID=01:02:00:00:00:00:01",
        "DNSMASQ_DATA_MISSING=1",
        "DNSMASQ_DOMAIN=lan",
        "DNSMASQ_INTERFACE=memory",
        f"DNSMASQ_LEASE_EXPIRES={FAR}",
        f"DNSMASQ_TIME_REMAINING={FAR - int(clock())}",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ZONE=lan",
    ]


async def test_what_a_client_says_is_no_command(make, serve, notebook):
    async with serve(make('echo "$4|$DNSMASQ_SUPPLIED_HOSTNAME|$DNSMASQ_VENDOR_CLASS"')) as (_, transport):
        await lease(transport, 1, [(12, b"-rf $(reboot)"), (60, b"`id`;\0hidden")])
    assert lines(notebook) == ["|-rf $(reboot)|`id`;"]


@pytest.mark.parametrize(
    ("said", "name"),
    [("pc-1.lan", "pc-1"), ("PC_1", "PC_1"), ("-x", ""), ("a b", ""), ("", ""), (None, ""), ("é", ""), (".lan", "")],
)
def test_what_is_a_name(said, name):
    assert label(said) == name


def test_user_classes_are_told_one_by_one():
    assert user_classes(b"\3abc\2de") == [b"abc", b"de"]
    assert user_classes(b"oneclass") == [b"oneclass"]
    assert user_classes(b"") == []


# ── Kea's form ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_kea_tells_the_end_of_leases_and_of_probations(make, serve, notebook, clock):
    script = 'echo "$1 $LEASE4_ADDRESS $LEASE4_STATE $LEASE4_HWADDR $LEASE4_VALID_LIFETIME"'
    async with serve(make(script, form="kea")) as (_, transport):
        transport.deliver(decline(1, await lease(transport, 1)))
        await until(lambda: len(lines(notebook)) >= 3)
        await lease(transport, 2)
        clock.advance(3700)
        await until(lambda: len(lines(notebook)) >= 5)
        clock.advance(86400)
        await until(lambda: len(lines(notebook)) >= 7)
    probation = 86400
    assert lines(notebook)[1] == "lease4_decline 192.0.2.10 default 02:00:00:00:00:01 3600"
    assert lines(notebook)[4:] == [
        "lease4_expire 192.0.2.11 default 02:00:00:00:00:02 3600",
        f"lease4_expire 192.0.2.10 declined  {probation}",
        f"lease4_recover 192.0.2.10 declined  {probation}",
    ]


@pytest.mark.parametrize("form", ["dnsmasq", "kea"])
async def test_nothing_is_run_where_it_is_only_asked_what_would_happen(make, form):
    plugin = make(form=form)
    client = Client(make_engine(plugins=[plugin]), Clock())
    client.join()
    client.release()
    assert plugin.runner._running is None
    assert not plugin.runner._waiting


async def test_without_room_for_its_output_it_fails(make, serve, monkeypatch, caplog):
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    plugin = make()
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await quiet(plugin)
    assert plugin.runner.failures == {"start": 1}
    assert "No space left" in caplog.text


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_its_output_is_in_the_log(make, serve, caplog):
    caplog.set_level("INFO")
    async with serve(make("echo one >&2; printf 'two\\033[1m' >&2")) as (_, transport):
        await lease(transport, 1)
    assert [each for each in caplog.messages if each.startswith("script.sh add")] == [
        "script.sh add: one",
        "script.sh add: two?[1m",
    ]


@pytest.mark.parametrize(("text", "failure"), [("exit 3", "exit 3"), ("kill -9 $$", "signal 9")])
async def test_one_that_fails_is_counted_and_named_once(make, serve, caplog, text, failure):
    plugin = make(text)
    async with serve(plugin) as (_, transport):
        for client in range(1, 4):
            await lease(transport, client)
        await quiet(plugin)
    assert plugin.runner.failures == {failure: 3}
    complaints = [each for each in caplog.messages if failure in each]
    assert complaints == [f"{plugin.settings.script} add 02:00:00:00:00:01 192.0.2.10: {failure}"]


async def test_one_that_takes_too_long_is_killed_with_what_it_started(make, serve, notebook):
    plugin = make("sleep 600 & echo $!; sleep 600", timeout=0.2)
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await quiet(plugin)
    assert plugin.runner.failures == {"timeout": 1}
    (child,) = map(int, lines(notebook))
    await until(lambda: not is_alive(child))


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_it_leaves_running_holds_up_nobody(make, serve, notebook):
    plugin = make("sleep 600 & echo $! ")
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await lease(transport, 2)
        await until(lambda: plugin.runner.ran == 2)
    for pid in map(int, lines(notebook)):
        os.kill(pid, 9)


async def test_what_finds_no_room_is_counted_and_told_of(make, serve, caplog):
    plugin = make("sleep 600", queue=1, stop_timeout=0.0)
    async with serve(plugin) as (_, transport):
        for client in range(1, 5):
            await lease(transport, client)
    assert plugin.runner.lost >= 3
    assert sum("others are lost" in each for each in caplog.messages) == 1
    assert any("the server stops" in each for each in caplog.messages)


async def test_a_script_that_is_not_there_refuses_the_start(make, serve, tmp_path):
    plugin = make()
    plugin.settings.script.chmod(0o644)
    with pytest.raises(ConfigError, match=r"script\.sh: this can't be run: .* executable"):
        async with serve(plugin):
            pass
    with pytest.raises(ConfigError, match="nowhere: there is no such script"):
        async with serve(make(script=tmp_path / "nowhere")):
            pass
    with pytest.raises(ConfigError, match="this can't be run"):
        async with serve(make(script=tmp_path)):
            pass


async def test_one_that_is_no_program_fails(make, serve, caplog):
    plugin = make()
    plugin.settings.script.write_text("#!/no/such/shell\n")
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await quiet(plugin)
    assert plugin.runner.failures == {"start": 1}


@pytest.mark.parametrize("wrong", [{"form": "dhcpd"}, {"timeout": 0}, {"environment": {"A B": "x"}}, {"queue": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Scripts.Settings.model_validate({"script": "lease.sh", "form": "kea", **wrong})
