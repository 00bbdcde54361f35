"""lease_events: a command for each change of a lease."""

from __future__ import annotations

import pytest
from aiodhcp_plugins.lease_events import LeaseEvents
from client import number
from pydantic import ValidationError
from wire import until

from aiodhcp import NEVER, ControlCode, Lease, LeaseState

LEASE = Lease(
    number("192.0.2.10"), b"\1\2\0\0\0\0\1", 1, b"\2\0\0\0\0\1", LeaseState.ACTIVE, 1000, 4600, "printer; reboot\0\n"
)
ENDED = LEASE._replace(state=LeaseState.EXPIRED)
NOBODYS = LEASE._replace(client=b"", state=LeaseState.DECLINED, hostname=None, expires=NEVER)


@pytest.fixture
def notebook(tmp_path):
    """Where the commands write."""
    return tmp_path / "notebook"


@pytest.fixture
def told(notebook):
    """``told("echo $AIODHCP_EVENT")``: the plugin with a command that writes that down."""

    def make(script: str, **settings: object) -> LeaseEvents:
        command = ["/bin/sh", "-c", f"{{ {script}; }} >> {notebook}"]
        return LeaseEvents(LeaseEvents.Settings(command=command, **settings))

    return make


async def done(plugin: LeaseEvents) -> None:
    await until(lambda: plugin._running is None)


async def test_a_command_is_told_the_facts(told, notebook):
    plugin = told("env | grep AIODHCP_ | sort")
    plugin.leases_committed([LEASE])
    await done(plugin)
    assert notebook.read_text().splitlines() == [
        "AIODHCP_ADDRESS=192.0.2.10",
        "AIODHCP_CLIENT=01:02:00:00:00:00:01",
        "AIODHCP_EVENT=committed",
        "AIODHCP_EXPIRES=4600",
        "AIODHCP_HARDWARE_ADDRESS=02:00:00:00:00:01",
        "AIODHCP_HARDWARE_TYPE=1",
        "AIODHCP_HOSTNAME=printer__reboot__",
        "AIODHCP_STARTS=1000",
        "AIODHCP_STATE=active",
    ]
    assert plugin.ran == 1


async def test_events_are_told_in_their_order(told, notebook):
    plugin = told("echo $AIODHCP_EVENT $AIODHCP_STATE $AIODHCP_EXPIRES")
    plugin.leases_committed([LEASE, NOBODYS])
    plugin.lease_expired(ENDED)
    plugin.lease_recovered(ENDED)
    await done(plugin)
    assert notebook.read_text().splitlines() == [
        "committed active 4600",
        "committed declined never",
        "expired expired 4600",
        "recovered expired 4600",
    ]


async def test_the_end_of_a_lease_is_told_once(told, notebook):
    plugin = told("echo $AIODHCP_EVENT")
    plugin.lease_expired(ENDED)
    plugin.leases_committed([ENDED])
    await done(plugin)
    assert notebook.read_text().splitlines() == ["expired"]


async def test_only_what_is_wished_for_is_told(told, notebook):
    plugin = told("echo $AIODHCP_EVENT", events=["recovered"])
    plugin.leases_committed([LEASE])
    plugin.lease_expired(ENDED)
    plugin.lease_recovered(ENDED)
    await done(plugin)
    assert notebook.read_text().splitlines() == ["recovered"]


async def test_a_name_is_no_option_and_nothing_of_the_server_is_told(told, notebook, monkeypatch):
    monkeypatch.setenv("SECRET", "token")
    plugin = told('echo "$AIODHCP_HOSTNAME$SECRET"')
    plugin.leases_committed([LEASE._replace(hostname="-rf $HOME/é.example")])
    await done(plugin)
    assert notebook.read_text() == "_rf__HOME__.example\n"


async def test_a_command_that_fails_is_told_of_once_and_counted(told, caplog):
    plugin = told("exit 3")
    plugin.leases_committed([LEASE] * 3)
    await done(plugin)
    assert plugin.failures == {"exit 3": 3}
    assert plugin.ran == 0
    assert caplog.messages == ["/bin/sh failed for committed of 192.0.2.10: exit 3"]


async def test_a_command_that_is_not_there_fails(caplog):
    plugin = LeaseEvents(LeaseEvents.Settings(command=["/nowhere/at-all"]))
    plugin.leases_committed([LEASE])
    await done(plugin)
    assert plugin.failures == {"start": 1}


async def test_a_command_that_is_killed_fails(told):
    plugin = told("kill -9 $$")
    plugin.leases_committed([LEASE])
    await done(plugin)
    assert plugin.failures == {"signal 9": 1}


async def test_a_command_that_takes_too_long_is_killed_with_what_it_started(told):
    plugin = told("sleep 600 & sleep 600", timeout=0.01)
    plugin.leases_committed([LEASE])
    await done(plugin)
    assert plugin.failures == {"timeout": 1}


async def test_what_finds_no_room_is_counted_and_told_of_once(told, notebook, caplog):
    plugin = told("echo $AIODHCP_EVENT", queue=2)
    plugin.leases_committed([LEASE] * 5)
    assert plugin.lost == 3
    await done(plugin)
    assert notebook.read_text().splitlines() == ["committed"] * 2
    assert caplog.messages == ["2 events wait for their commands: further ones are lost"]


async def test_the_stop_of_the_server_waits_for_what_is_left(told, notebook):
    plugin = told("echo $AIODHCP_EVENT")
    await plugin.dhcp_control(ControlCode.START)
    plugin.leases_committed([LEASE] * 2)
    await plugin.dhcp_control(ControlCode.STOP)
    assert notebook.read_text().splitlines() == ["committed"] * 2
    await plugin.dhcp_control(ControlCode.STOP)


async def test_but_not_for_ever(told, notebook, caplog):
    plugin = told("echo $AIODHCP_EVENT; sleep 600", stop_timeout=0)
    plugin.leases_committed([LEASE] * 3)
    await until(lambda: notebook.exists() and notebook.read_text())
    await plugin.dhcp_control(ControlCode.STOP)
    assert plugin.lost == 2
    assert caplog.messages == ["the server stops: the command under way was killed, and 2 events are lost"]
    assert notebook.read_text() == "committed\n"


@pytest.mark.parametrize("wrong", [{"command": []}, {"command": "/bin/true"}, {"queue": 0}, {"timeout": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        LeaseEvents.Settings.model_validate({"command": ["/bin/true"], **wrong})
