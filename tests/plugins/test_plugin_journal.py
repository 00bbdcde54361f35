"""journal: what happened, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from aiodhcp_plugins.journal import Journal
from client import Client, make_engine
from plugin_kit import plugin
from pydantic import ValidationError
from wire import config, discover, lease, release, until

from aiodhcp import ConfigError, ControlCode, DhcpServer, Drop, MemoryStore, MemoryTransport

ALL = [
    "control",
    "new_pkt",
    "handle_options",
    "pkt_drop",
    "pkt_send",
    "address_del",
    "address_offer",
    "delete_client",
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path):
    """``journal(events=[...])``."""
    return lambda **settings: Journal(Journal.Settings(path=path, **settings))


@pytest.fixture
def server(clock):
    return DhcpServer(config(), store=MemoryStore(), clock=clock)


def entries(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(path) -> list[str]:
    return [entry["event"] for entry in entries(path)]


async def test_by_itself_it_is_about_addresses(journal, path, clock):
    transport = MemoryTransport()
    async with DhcpServer(
        config(), store=MemoryStore(), transport=transport, plugins=[journal()], clock=clock
    ) as server:
        address = await lease(transport, 1, [(12, b"printer\n")])
        clock.advance(7)
        transport.deliver(release(1, address))
        await until(lambda: server.health.in_flight == 0)
    client = {"client": "02:00:00:00:00:01", "address": address}
    assert entries(path) == [
        {"time": "2023-11-14T22:13:20.000Z", "event": "control", "code": "START"},
        {
            "time": "2023-11-14T22:13:20.000Z",
            "event": "address_offer",
            **client,
            "interface": "memory",
            "kind": "NEW",
            "lease_time": 3600,
            "host_name": "printer\n",
            "client_type": "DHCP",
        },
        {"time": "2023-11-14T22:13:27.000Z", "event": "delete_client", **client},
        {
            "time": "2023-11-14T22:13:27.000Z",
            "event": "address_del",
            **client,
            "interface": "memory",
            "problem": "RELEASE",
        },
        {"time": "2023-11-14T22:13:27.000Z", "event": "control", "code": "STOP"},
    ]


async def test_every_packet_may_be_written_down(journal, path, clock):
    written = journal(events=ALL)
    client = Client(make_engine(plugins=[written]), clock, client_id=b"\0pc", giaddr="192.0.2.254")
    client.discover(host_name="pc-17", vendor_class_identifier="MSFT 5.0", requested_address="192.0.2.20")
    client.send(b"rubbish")
    client.send(client.message(None))
    await written.flush()
    told = entries(path)
    assert [entry["event"] for entry in told] == [
        *("new_pkt", "handle_options", "pkt_send"),
        "pkt_drop",
        *("new_pkt", "handle_options", "pkt_drop"),
    ]
    assert (
        told[1].items()
        >= {
            "message": "DISCOVER",
            "client_id": "00:70:63",
            "relay": "192.0.2.254",
            "host_name": "pc-17",
            "vendor_class": "MSFT 5.0",
            "requested_address": "192.0.2.20",
        }.items()
    )
    assert told[2].items() >= {"reply": "OFFER", "address": "192.0.2.20"}.items()
    assert told[3].items() >= {"reason": "INVALID", "why": "7 octets: a DHCP message has 240 to 4096"}.items()
    assert (told[6]["message"], told[6]["reason"]) == ("BOOTP", "UNAUTH")


async def test_a_veto_is_a_drop(journal, path, clock):
    written = journal(events=["pkt_drop"])
    veto = plugin("guard", dhcp_new_pkt=lambda: Drop("not today"))
    Client(make_engine(plugins=[veto, written]), clock).discover()
    await written.flush()
    (entry,) = entries(path)
    assert (entry["reason"], entry["why"]) == ("VETO", "vetoed by guard: not today")


async def test_pausing_is_written_down(journal, path, clock):
    async with DhcpServer(config(), store=MemoryStore(), plugins=[journal()], clock=clock) as server:
        await server.pause()
        await server.resume()
    assert [entry["code"] for entry in entries(path)] == ["START", "PAUSE", "CONTINUE", "STOP"]


async def test_a_journal_that_can_not_be_opened_refuses_the_start(tmp_path):
    plugin = Journal(Journal.Settings(path=tmp_path / "nowhere" / "journal"))
    with pytest.raises(ConfigError, match="nowhere/journal: No such file or directory"):
        await DhcpServer(config(), store=MemoryStore(), plugins=[plugin]).start()


async def test_a_journal_that_was_rotated_away_goes_on_in_a_new_file(journal, path, server):
    written = journal()
    await written.dhcp_control(server, ControlCode.START)
    await written.flush()
    old = path.rename(path.with_suffix(".1"))
    await written.dhcp_control(server, ControlCode.PAUSE)
    await written.flush()
    path.unlink()
    path.touch()
    await written.dhcp_control(server, ControlCode.STOP)
    assert [entry["code"] for entry in entries(old)] == ["START"]
    assert [entry["code"] for entry in entries(path)] == ["STOP"]


async def test_what_finds_no_room_is_counted(journal, path, clock):
    written = journal(events=["new_pkt"], most_lines=2)
    client = Client(make_engine(plugins=[written]), clock)
    for _ in range(5):
        client.discover()
    assert written.lost == 3
    await written.flush()
    assert written.lost == 0
    assert events(path) == ["new_pkt", "new_pkt", "lost"]
    assert entries(path)[-1]["lines"] == 3


async def test_what_can_not_be_written_waits_in_memory_and_is_told_of_once(journal, path, clock, caplog):
    written = journal(events=["new_pkt"], most_lines=3)
    client = Client(make_engine(plugins=[written]), clock)
    path.mkdir()
    for _ in range(2):
        client.discover()
        await written.flush()
    assert caplog.messages == [f"{path}: Is a directory: lines wait in memory"]
    for _ in range(3):
        client.discover()
    path.rmdir()
    await written.flush()
    assert events(path) == ["new_pkt"] * 3 + ["lost"]
    assert entries(path)[-1]["lines"] == 2
    assert caplog.messages[1:] == [f"{path} is written again"]


async def test_a_batch_is_written_as_a_whole_or_not_at_all(journal, path, clock, monkeypatch):
    written = journal(events=["new_pkt"])
    client = Client(make_engine(plugins=[written]), clock)
    client.discover()
    await written.flush()
    write = os.write

    def full(descriptor, octets):
        if len(octets) < 50:
            raise OSError(28, "No space left on device")
        return write(descriptor, octets[: len(octets) - 10])

    client.discover()
    with monkeypatch.context() as patched:
        patched.setattr("aiodhcp_plugins.journal.os.write", full)
        await written.flush()
    assert events(path) == ["new_pkt"]
    await written.flush()
    assert events(path) == ["new_pkt"] * 2


async def test_the_server_does_not_wait_for_the_disk(journal, path, clock):
    transport = MemoryTransport()
    async with DhcpServer(
        config(), store=MemoryStore(), transport=transport, plugins=[journal(events=["new_pkt"])], clock=clock
    ):
        transport.deliver_many([discover(client) for client in range(1, 60)])
        assert len(transport.sent) == 59
    assert events(path) == ["new_pkt"] * 59


@pytest.mark.parametrize("wrong", [{"events": ["nonsense"]}, {"most-lines": 0}, {"most_lines": "9"}, {"pth": "x"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Journal.Settings.model_validate({"path": "x", **wrong})


async def test_flushing_waits_for_what_is_being_written(journal, path, server):
    written = journal()
    for code in (ControlCode.START, ControlCode.PAUSE, ControlCode.CONTINUE):
        await written.dhcp_control(server, code)
    await written.flush()
    assert [entry["code"] for entry in entries(path)] == ["START", "PAUSE", "CONTINUE"]


async def test_what_is_not_wished_for_is_not_written_down(journal, path, clock):
    written = journal(events=["delete_client"])
    client = Client(make_engine(plugins=[written]), clock)
    client.join()
    client.release()
    client.send(b"rubbish")
    await written.flush()
    assert events(path) == ["delete_client"]


def test_without_a_loop_lines_wait_for_one(journal, path, clock):
    written = journal()
    Client(make_engine(plugins=[written]), clock).join()
    assert not path.exists()
    asyncio.run(written.flush())
    assert events(path) == ["address_offer"]
