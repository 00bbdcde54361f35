"""webhook: each change of a lease, posted to an endpoint."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from aiodhcp_plugins.webhook import Webhook
from aiodhcp_plugins.webhook_delivery import delay, retry_after
from aiodhcp_plugins.webhook_outbox import changes
from client import Clock
from endpoint import listening
from pydantic import ValidationError
from serving import serve  # noqa: F401 - a fixture
from wire import config, decline, lease, number_of, release, renew, until

from aiodhcp import ConfigError, ControlCode, DhcpServer, Lease, LeaseState, MemoryStore, MemoryTransport
from aiodhcp.hooks import Hooks

pytest.importorskip("httpx", reason="not installed: httpx")

LEASE = Lease(number_of("192.0.2.10"), b"\1\2\0\0\0\0\1", 1, b"\2\0\0\0\0\1", LeaseState.ACTIVE, 1000, 4600, "pc")
DECLINED = LEASE._replace(client=b"", state=LeaseState.DECLINED)
FAR = 1_800_000_000


def leases(count: int) -> list[Lease]:
    """So many, each of a client of its own."""
    first = number_of("192.0.2.10")
    return [Lease(first + n, bytes([1, n]), 1, bytes([2, n]), LeaseState.ACTIVE, 1000, FAR) for n in range(count)]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def endpoint():
    async with listening() as endpoint:
        yield endpoint


@pytest.fixture
def make(tmp_path, endpoint):
    """``make(batch=1)``: the plugin, for the endpoint."""

    def webhook(**settings: object) -> Webhook:
        quick = {"url": endpoint.url, "retry_first": 0.001, "retry_longest": 0.01, "stop_timeout": 5.0}
        return Webhook(Webhook.Settings(**{"outbox": tmp_path / "webhook.sqlite", **quick, **settings}))

    return webhook


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_life_of_a_lease(make, serve, endpoint, clock):
    async with serve(make()) as (_, transport):
        address = await lease(transport, 1, [(12, b"printer")])
        await endpoint.has("granted")
        clock.advance(1800)
        transport.deliver(renew(1, address))
        await endpoint.has("granted", "renewed")
        transport.deliver(release(1, address))
        await endpoint.has("granted", "renewed", "released")
    said = endpoint.taken[1]
    assert said.pop("id").endswith("-2")
    assert said == {
        "sequence": 2,
        "event": "renewed",
        "time": "2023-11-14T22:43:20.000Z",
        "address": address,
        "hardware_address": "02:00:00:00:00:01",
        "hardware_type": 1,
        "client": "01:02:00:00:00:00:01",
        "host_name": "printer",
        "starts": "2023-11-14T22:13:20.000Z",
        "expires": "2023-11-14T23:43:20.000Z",
    }
    assert [event["sequence"] for event in endpoint.taken] == [1, 2, 3]


async def test_other_ends_of_it(make, serve, endpoint, clock):
    plugin = make()
    async with serve(plugin) as (server, transport):
        await lease(transport, 1, [(12, b"pc")])
        transport.deliver(decline(1, await lease(transport, 1)))
        await lease(transport, 2)
        await until(lambda: len(endpoint.taken) >= 3)
        await server.delete_lease(server.leases.addresses_of(b"\1\2\0\0\0\0\2")[0])
        await lease(transport, 3)
        await until(lambda: len(endpoint.taken) >= 5)
        clock.advance(3601)
        await until(lambda: "expired" in endpoint.kinds)
        clock.advance(86400)
        await until(lambda: "recovered" in endpoint.kinds)
    assert endpoint.kinds == ["granted", "declined", "granted", "deleted", "granted", "expired", "recovered"]
    declined, deleted = endpoint.taken[1], endpoint.taken[3]
    assert (declined["hardware_address"], declined["host_name"]) == ("02:00:00:00:00:01", "pc")
    assert (deleted["hardware_address"], deleted["client"]) == ("02:00:00:00:00:02", "01:02:00:00:00:00:02")
    assert plugin.delivered == 7


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, LEASE, ["granted"]),
        (LEASE, LEASE, []),
        (LEASE, LEASE._replace(relay_agent=b"\1\1x", last_transaction=9), []),
        (LEASE, LEASE._replace(hostname="mac"), ["renewed"]),
        (LEASE, LEASE._replace(client=b"\1\2", starts=2000), ["ended", "granted"]),
        (LEASE, LEASE._replace(client=b"\1\2", state=LeaseState.RELEASED), ["ended", "released"]),
        (LEASE, LEASE._replace(state=LeaseState.EXPIRED), ["expired"]),
        (LEASE._replace(state=LeaseState.EXPIRED), LEASE, ["granted"]),
        (LEASE, DECLINED, ["declined"]),
        (None, LEASE._replace(client=b"", state=LeaseState.DECLINED, htype=0), ["conflict"]),
        (LEASE, LEASE._replace(client=b"", chaddr=b"", state=LeaseState.RELEASED), ["deleted"]),
        (None, LEASE._replace(client=b"", state=LeaseState.RELEASED), []),
        (DECLINED, DECLINED._replace(state=LeaseState.EXPIRED), ["recovered"]),
        (LEASE._replace(state=LeaseState.RELEASED), LEASE._replace(client=b"", state=LeaseState.RELEASED), []),
    ],
)
def test_what_happened_is_what_differs(before, after, kinds):
    assert [kind for kind, _ in changes(before, after)] == kinds


async def test_a_new_outbox_takes_the_leases_that_there_are_as_told(make, serve, endpoint):
    store = MemoryStore()
    await store.commit(leases(3))
    async with serve(make(), store) as (_, transport):
        assert await lease(transport, 9) == "192.0.2.13"
        await endpoint.has("granted")
    assert endpoint.taken[0]["address"] == "192.0.2.13"


async def test_unless_it_is_to_tell_of_them(make, serve, endpoint):
    store = MemoryStore()
    await store.commit([each._replace(expires=1 << 40) for each in leases(3)])
    async with serve(make(tell_existing=True), store):
        await endpoint.has("granted", "granted", "granted")
    assert [event["expires"] for event in endpoint.taken] == [None] * 3


async def test_what_happened_while_it_was_away_is_told_at_the_start(make, serve, endpoint):
    store = MemoryStore()
    first, second, third, fourth = leases(4)
    await store.commit([first, second, third])
    async with serve(make(tell_existing=True), store):
        await until(lambda: len(endpoint.taken) >= 3)
    del endpoint.taken[:]
    other = MemoryStore()  # as it was after a restart without the plugin: the third is gone, nobody knows why
    await other.commit([first._replace(expires=FAR + 1), second._replace(client=b"\1\x63", starts=2000), fourth])
    async with serve(make(), other):
        await endpoint.has("renewed", "ended", "granted", "granted", "deleted")
    assert [event["address"][-2:] for event in endpoint.taken] == ["10", "11", "11", "13", "12"]


# ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_is_signed_and_says_what_it_is(make, serve, endpoint):
    token = {"Authorization": "Bearer 12345"}
    async with serve(make(secret="long enough", headers=token)) as (_, transport):
        await lease(transport, 1)
        await endpoint.has("granted")
    (posted,) = endpoint.posted
    assert (posted.method, posted.path) == ("POST", "/leases?by=dhcp")
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["authorization"] == "Bearer 12345"
    assert posted.headers["idempotency-key"] == f'"{posted.events[0]["id"]}+1"'
    expected = hmac.new(b"long enough", posted.body, hashlib.sha256).hexdigest()
    assert posted.headers["aiodhcp-signature"] == f"sha256={expected}"


async def test_secrets_are_not_shown(make):
    (plugin,) = Hooks([make(secret="long enough", headers={"Authorization": "Bearer 12345"})]).plugins
    shown = json.dumps(plugin.plugin.settings.model_dump(mode="json")) + repr(plugin.plugin.settings)
    assert "long enough" not in shown
    assert "12345" not in shown


async def test_events_are_posted_in_batches_in_their_order(make, serve, endpoint):
    endpoint.answers.append(503)
    async with serve(make(batch=4)) as (_, transport):
        given = [await lease(transport, client) for client in range(1, 11)]
        await until(lambda: len(endpoint.taken) >= 10)
    assert [event["address"] for event in endpoint.taken] == given
    assert max(len(posted.events) for posted in endpoint.posted) <= 4


@pytest.mark.parametrize("answer", [500, 503, 408, 425, 429, None])
async def test_what_may_be_mended_is_tried_again(make, serve, endpoint, caplog, answer):
    endpoint.answers.extend([answer, answer])
    plugin = make(timeout=0.05 if answer is None else 5.0)
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await endpoint.has("granted")
        await until(lambda: plugin.delivered)
    assert len({posted.body for posted in endpoint.posted}) == 1
    assert len({posted.headers["idempotency-key"] for posted in endpoint.posted}) == 1
    assert plugin.failures == {str(answer or "no answer"): 2}
    complaints = [record.getMessage() for record in caplog.records if "takes no events" in record.getMessage()]
    assert len(complaints) == 1
    assert f"{endpoint.url} takes events again" in caplog.messages


async def test_an_endpoint_that_is_not_there_is_tried_again(make, serve, endpoint, caplog):
    async with listening() as gone:
        pass
    plugin = make(url=gone.url)
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await until(lambda: plugin.failures["no answer"] > 2)
        async with listening(gone):
            await gone.has("granted")


async def test_an_endpoint_may_ask_for_patience(make, serve, endpoint, caplog):
    caplog.set_level("INFO")
    endpoint.answers.append((429, "Retry-After: 60\r\n"))
    async with serve(make()) as (_, transport):
        await lease(transport, 1)
        await until(lambda: any("the next try is in 60.0 seconds" in each for each in caplog.messages))
        assert "429 Said: because of this" in caplog.text
    assert not endpoint.taken  # and the stop of the server doesn't wait for that
    assert "1 events wait for the next start" in caplog.text


def test_how_long_it_waits():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("Thu, 01 Jan 2026 00:00:30 GMT", now) == 30
    assert retry_after("Thu, 01 Jan 2025 00:00:30 GMT", now) == 0
    assert [retry_after(text) for text in ("7", "99999", "", "soon", "-1")] == [7, 3600, None, None, None]
    assert 0.5 <= delay(1, 1, 300) <= 1
    assert 4 <= delay(4, 1, 300) <= 8
    assert 150 <= delay(5000, 1, 300) <= 300
    assert len({delay(3, 1, 300) for _ in range(9)}) > 1


@pytest.mark.parametrize("status", [301, 401, 404, 410])
async def test_what_is_refused_is_put_aside(make, serve, endpoint, caplog, tmp_path, status):
    endpoint.answers.append(status)
    plugin = make()
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await until(lambda: plugin.refused)
        await lease(transport, 2)
        await endpoint.has("granted")
    assert (plugin.delivered, plugin.refused) == (1, 1)
    assert "1 events" in caplog.text
    with closing(sqlite3.connect(tmp_path / "webhook.sqlite")) as db:
        ((sequence, body, said, reason),) = db.execute("SELECT sequence, body, status, reason FROM dead_letter")
    assert (sequence, said, reason) == (1, status, f"{status} Said: because of this")
    assert json.loads(body)["hardware_address"] == "02:00:00:00:00:01"


async def test_one_bad_event_does_not_take_others_with_it(make, serve, endpoint, tmp_path):
    endpoint.refuse.add("02:00:00:00:00:03")
    endpoint.answers.append(503)
    plugin = make()
    async with serve(plugin) as (_, transport):
        for client in range(1, 9):
            await lease(transport, client)
        await until(lambda: plugin.delivered == 7 and plugin.refused == 1)
    assert "02:00:00:00:00:03" not in {event["hardware_address"] for event in endpoint.taken}
    assert [event["sequence"] for event in endpoint.taken] == [1, 2, 4, 5, 6, 7, 8]


# ── what waits ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_not_delivered_waits_for_the_next_start(make, serve, endpoint, caplog):
    store, plugin = MemoryStore(), make(stop_timeout=0.0)
    endpoint.answers.extend([503] * 1000)
    async with serve(plugin, store) as (_, transport):
        await lease(transport, 1)
        await until(lambda: plugin.failures)
        await lease(transport, 2)
        await until(lambda: plugin._outbox.waiting == 2)
    endpoint.answers.clear()
    first = endpoint.posted[0].events
    async with serve(make(), store):
        await endpoint.has("granted", "granted")
    assert endpoint.taken[: len(first)] == first


async def test_a_full_outbox_tells_the_result_later(make, serve, endpoint, caplog):
    async with listening() as gone:
        pass
    plugin = make(url=gone.url, most_events=10)
    async with serve(plugin) as (_, transport):
        given = [await lease(transport, client) for client in range(1, 16)]
        await until(lambda: "the outbox is full" in caplog.text)
        assert plugin._outbox.waiting == 10
        transport.deliver(release(15, given[-1]))
        async with listening(gone):
            await until(lambda: len(gone.taken) >= 15)
    told = {event["address"]: event["event"] for event in gone.taken}
    assert told == {**dict.fromkeys(given, "granted"), given[-1]: "released"}
    assert [event["sequence"] for event in gone.taken] == list(range(1, len(gone.taken) + 1))
    assert sum("the outbox is full, it has room for 10 events" in each for each in caplog.messages) == 1


async def test_an_outbox_that_can_not_be_written_for_a_while_loses_nothing(make, serve, endpoint, monkeypatch, caplog):
    monkeypatch.setattr("aiodhcp_plugins.webhook.RETRY_OUTBOX", 0.01)
    plugin = make()
    async with serve(plugin) as (_, transport):
        await lease(transport, 1)
        await endpoint.has("granted")
        with monkeypatch.context() as broken:

            def fail(*_: object) -> bool:
                raise sqlite3.OperationalError("database or disk is full")

            broken.setattr(plugin._outbox, "_note", fail)
            await lease(transport, 2)
            await until(lambda: "can't be written" in caplog.text)
            await lease(transport, 3)
        await endpoint.has("granted", "granted", "granted")


async def test_too_much_for_the_memory_is_compared(make, serve, endpoint, monkeypatch):
    monkeypatch.setattr("aiodhcp_plugins.webhook.MOST_IN_MEMORY", 0)
    async with serve(make()) as (_, transport):
        await lease(transport, 1)
        await lease(transport, 2)
        await endpoint.has("granted", "granted")


async def test_a_reload_hands_the_outbox_over(make, serve, endpoint):
    store = MemoryStore()
    async with serve(make(), store) as (server, transport):
        await lease(transport, 1)
        await server.reload(plugins=[make(batch=7)])
        await lease(transport, 2)
        await endpoint.has("granted", "granted")
    assert [event["sequence"] for event in endpoint.taken] == [1, 2]


async def test_the_same_plugin_may_start_again(make, endpoint, clock):
    transport = MemoryTransport()
    server = DhcpServer(config(), store=MemoryStore(), transport=transport, plugins=[make()], clock=clock)
    for client in (1, 2):
        async with server:
            await lease(transport, client)
            await until(lambda: len(endpoint.taken) >= client)  # noqa: B023 - it is awaited here
    await endpoint.has("granted", "granted")


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
async def test_two_processes_can_not_have_one_outbox(make, tmp_path):
    hold = "import fcntl, sys, os; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    hold += "; f.write(str(os.getpid())); f.flush(); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, f"{tmp_path}/webhook.sqlite.lock"]
    with subprocess.Popen(  # noqa: ASYNC220 - it is there at once
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"the process {other.pid} has this outbox"):
            await make().dhcp_control(DhcpServer(config(), store=MemoryStore()), ControlCode.START)
        other.communicate()


async def test_an_outbox_that_can_not_be_opened_refuses_the_start(make, tmp_path):
    server = DhcpServer(config(), store=MemoryStore())
    with pytest.raises(ConfigError, match="no-such"):
        await make(outbox=tmp_path / "no-such" / "file").dhcp_control(server, ControlCode.START)
    (tmp_path / "text").write_text("no database, this is a text" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        await make(outbox=tmp_path / "text").dhcp_control(server, ControlCode.START)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        await make(ca_file=tmp_path / "ca.pem").dhcp_control(server, ControlCode.START)


async def test_without_httpx_it_says_how_to_get_it_before_it_starts(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigError, match=r"pip install 'aiodhcp\[webhook\]'"):
        make()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://x"},
        {"url": "https://"},
        {"url": "https://me:mine@x/"},
        {"url": 7},
        {"batch": 0},
        {"secret": "short"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Webhook.Settings.model_validate({"url": "https://x/", "outbox": "webhook.sqlite", **wrong})
