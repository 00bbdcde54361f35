"""DhcpServer over a network in memory: its life, commits and their failures, overload, plugins that wait."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from server_kit import (  # noqa: F401 - some are fixtures
    Clock,
    Diary,
    Store,
    Waiting,
    clock,
    diary,
    expires,
    quick,
    replies,
    serve,
    store,
    transport,
)
from wire import (
    ACK,
    DISCOVER,
    FIRST,
    NAK,
    OFFER,
    PATIENCE,
    answer,
    ask,
    config,
    decline,
    discover,
    hardware,
    inform,
    lease,
    message,
    number_of,
    read,
    reboot,
    release,
    renew,
    request,
    turns,
    until,
)

from aiodhcp import (
    ConfigError,
    ControlCode,
    DhcpServer,
    Drop,
    DropReason,
    Exchange,
    Health,
    Lease,
    LeaseState,
    MemoryStore,
    MemoryTransport,
    Options,
    Packet,
    SqliteStore,
    StoreError,
    hookimpl,
)
from aiodhcp.commits import RETRY_DELAYS

SECOND = "192.0.2.11"


# ── conversations ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_dora(serve: Any, transport: MemoryTransport, store: Store, diary: Diary) -> None:
    async with serve(diary) as server:
        assert server.interfaces == transport.interfaces
        assert await lease(transport, 1) == FIRST
        assert await lease(transport, 2) == SECOND
        assert expires(server, FIRST) == 1_700_003_600
    assert [change.address for batch in store.commits for change in batch] == [number_of(FIRST), number_of(SECOND)]
    assert diary.entries[:9] == [
        ("control", "START"),
        ("new", 1),
        ("send", 1, OFFER),
        ("drop", 1, "PROCESSED"),
        ("new", 1),
        ("offer", "NEW", FIRST),
        ("send", 1, ACK),
        ("drop", 1, "PROCESSED"),
        ("new", 2),
    ]
    assert diary.entries[-1] == ("control", "STOP")


async def test_every_message(serve: Any, transport: MemoryTransport, store: Store, clock: Clock, diary: Diary) -> None:
    async with serve(diary) as server:
        address = await lease(transport, 1)
        clock.now += 100
        assert (await ask(transport, renew(1, address))).kind == ACK
        assert (await ask(transport, reboot(1, address))).kind == ACK
        assert (await ask(transport, reboot(1, "198.51.100.7"))).kind == NAK
        assert (await ask(transport, inform(9, "192.0.2.200"))).kind == ACK
        transport.deliver(release(1, address))
        await until(lambda: store.leases[number_of(address)].state == LeaseState.RELEASED)
        offer = await ask(transport, discover(2))
        transport.deliver(decline(2, offer.yiaddr))
        await until(lambda: offer.yiaddr in store.leases)
        assert store.leases[offer.yiaddr].state == LeaseState.DECLINED
        assert len(server.leases) == 2
    assert diary.of("offer") == [("NEW", address), ("OLD", address), ("OLD", address)]
    assert diary.of("del") == [("NACKED", "198.51.100.7"), ("RELEASE", address), ("DECLINE", offer.address)]
    assert diary.of("delete") == [(address, hardware(1))]
    assert len(diary.of("new")) == len(diary.of("drop")) == 9


async def test_a_batch_is_answered_in_its_order(serve: Any, transport: MemoryTransport, store: Store) -> None:
    async with serve():
        transport.deliver_many([discover(client) for client in range(1, 40)])
        assert replies(transport) == [(OFFER, client) for client in range(1, 40)]
        offers = [read(each.data) for each in transport.sent]
        transport.sent.clear()
        transport.deliver_many([request(offer.client, offer.yiaddr) for offer in offers])
        await until(lambda: len(transport.sent) == 39)
        assert replies(transport) == [(ACK, client) for client in range(1, 40)]
    assert len(store.commits) == 1


async def test_garbage_is_counted(serve: Any, transport: MemoryTransport, diary: Diary) -> None:
    async with serve(diary) as server:
        transport.deliver_many([b"", b"\xff" * 5000, discover(1)[:239], discover(1)])
        assert replies(transport) == [(OFFER, 1)]
        assert server.engine.dropped == {DropReason.INVALID: 3}
    assert [reason for _, reason in diary.of("drop")] == [*["INVALID", "PROCESSED"] * 3, "PROCESSED"]


async def test_errors_of_the_network_are_logged(
    serve: Any, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve():
        transport.deliver_error(OSError("cable pulled"))
        assert (await ask(transport, discover(1))).kind == OFFER
    assert "the network reports: cable pulled" in caplog.text


async def test_a_restart_keeps_leases(serve: Any, transport: MemoryTransport, tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "leases.db"
    async with serve(store=SqliteStore(path)):
        first = await lease(transport, 1, [(12, b"printer")])
        await lease(transport, 2)
    clock.now += 60
    async with serve(store=SqliteStore(path)) as server:
        assert len(server.leases) == 2
        assert server.leases.get(number_of(first)).hostname == "printer"
        assert await lease(transport, 3) == "192.0.2.12"
        assert (await ask(transport, renew(1, first))).kind == ACK
        assert (await ask(transport, discover(2))).address == SECOND
        assert (await ask(transport, request(4, first))).kind == NAK


async def test_the_log_tells_of_the_start(
    serve: Any, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stray = Lease(7, b"\1\2", 1, b"\2", LeaseState.ACTIVE, 0, 2_000_000_000)
    async with serve(store=Store([stray, stray._replace(address=number_of(FIRST))])):
        await lease(transport, 1)
    assert "serving 192.0.2.0/24 on memory: 2 leases, 1 of them in no subnet" in caplog.text
    assert f"leased {SECOND} client=02:00:00:00:00:01 seconds=3600 on=memory" in caplog.text
    assert caplog.messages[-1] == "stopped"


# ── no ACK before the commit ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_ack_waits_for_the_commit_and_nothing_else_does(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary
) -> None:
    async with serve(diary) as server:
        offers = {client: await ask(transport, discover(client)) for client in (1, 2, 3)}
        store.gate.clear()
        transport.deliver(request(1, offers[1].yiaddr))
        await until(lambda: store.commits)
        await turns()
        assert diary.of("offer") == []
        assert server.health.in_flight == 1
        assert server.health.uncommitted == 1
        # Meanwhile: what changes nothing is answered, what changes something waits for the next commit.
        for client in (4, 5, 6):
            assert (await ask(transport, discover(client))).kind == OFFER
        transport.deliver(request(2, offers[2].yiaddr))
        await turns()
        transport.deliver(request(3, offers[3].yiaddr))
        await turns()
        assert len(store.commits) == 1
        assert len(transport.sent) == 6
        assert server.health.in_flight == server.health.uncommitted == 3
        store.gate.set()
        assert [(await answer(transport))[:2] for _ in range(3)] == [(ACK, 1), (ACK, 2), (ACK, 3)]
        assert server.health.in_flight == server.health.uncommitted == 0
    assert [len(batch) for batch in store.commits] == [1, 2]
    assert store.most_under_way == 1


async def test_an_ack_leaves_after_what_it_says_is_in_the_store(
    serve: Any, transport: MemoryTransport, store: Store
) -> None:
    seen = []

    class Look:
        @hookimpl
        def dhcp_address_offer(self, address: IPv4Address) -> None:
            seen.append(int(address) in store.leases)

        @hookimpl
        def dhcp_pkt_send(self, reply: Packet) -> None:
            if reply.message_type == ACK:
                seen.append(reply.yiaddr in store.leases)

    async with serve(Look()):
        transport.deliver_many([discover(client) for client in range(1, 60)])
        transport.deliver_many([request(read(each.data).client, read(each.data).yiaddr) for each in transport.sent])
        await until(lambda: len(transport.sent) == 2 * 59)
    assert seen == [True] * 2 * 59


async def test_the_last_of_several_changes_is_committed(serve: Any, transport: MemoryTransport, store: Store) -> None:
    async with serve():
        offer = await ask(transport, discover(1))
        transport.deliver_many(
            [request(1, offer.yiaddr), release(1, offer.yiaddr), request(1, offer.yiaddr), renew(1, offer.yiaddr)]
        )
        assert [(await answer(transport)).kind for _ in range(3)] == [ACK] * 3
        assert store.leases[offer.yiaddr].state == LeaseState.ACTIVE
    assert [len(batch) for batch in store.commits] == [1]


# ── commits that fail ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("quick")
async def test_a_commit_that_fails(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(diary) as server:
        address = await lease(transport, 1)
        offers = {client: await ask(transport, discover(client)) for client in (2, 3)}
        assert server.health.status == "ok"
        transport.sent.clear()
        diary.entries.clear()

        store.error = OSError(28, "No space left on device")
        transport.deliver_many([request(2, offers[2].yiaddr), request(3, offers[3].yiaddr)])
        transport.deliver(release(1, address))
        await until(lambda: len(store.commits) > 6)
        assert transport.sent == []
        assert diary.of("offer") == diary.of("del") == diary.of("send") == []
        assert [reason for _, reason in diary.of("drop")] == ["INTERNAL_ERROR", "PROCESSED"] * 3
        health = server.health
        assert (health.status, health.in_flight, health.uncommitted) == ("degraded", 0, 3)
        assert health.why == "leases can't be committed: [Errno 28] No space left on device"
        # What needs no write goes on.
        assert (await ask(transport, discover(4))).kind == OFFER
        assert (await ask(transport, reboot(4, "198.51.100.1"))).kind == NAK

        store.error = None
        await until(lambda: server.health.status == "ok")
        assert server.health.why == ""
        assert server.health.uncommitted == 0
        assert {row.client[1:]: row.state.name for row in store.leases.values()} == {
            hardware(1): "RELEASED",
            hardware(2): "ACTIVE",
            hardware(3): "ACTIVE",
        }
        assert (await ask(transport, request(2, offers[2].yiaddr))).kind == ACK
        assert await lease(transport, 5)
    assert server.engine.dropped[DropReason.INTERNAL_ERROR] == 3
    assert caplog.text.count("no lease is given until they can") == 1
    assert caplog.text.count("leases can be committed again") == 1


async def test_a_failed_commit_is_retried_at_growing_distance(
    serve: Any, transport: MemoryTransport, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)
    monkeypatch.setattr("aiodhcp.commits.RETRY_DELAYS", (0.01, 0.03))
    async with serve():
        offer = await ask(transport, discover(1))
        store.error = RuntimeError()
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: len(store.commits) == 4)
        store.error = None
        await until(lambda: store.leases)
    gaps = [after - before for before, after in zip(store.times, store.times[1:], strict=False)]
    assert len(gaps) == 4
    assert all(gap > 0.9 * delay for gap, delay in zip(gaps, (0.01, 0.03, 0.03, 0.03), strict=True))


@pytest.mark.usefixtures("quick")
async def test_an_error_without_words_is_named(serve: Any, transport: MemoryTransport, store: Store) -> None:
    async with serve() as server:
        offer = await ask(transport, discover(1))
        store.error = ZeroDivisionError()
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: server.health.status == "degraded")
        assert server.health.why == "leases can't be committed: ZeroDivisionError()"
        store.error = None


@pytest.mark.usefixtures("quick")
async def test_a_commit_that_the_store_cancels_is_one_that_fails(
    serve: Any, transport: MemoryTransport, diary: Diary
) -> None:
    """As one does whose connection ends: no packet is forgotten, and health is what it was when it works again."""

    class Cancelling(Store):
        async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
            if self.error is not None and self.commits:
                self.error = None
                raise asyncio.CancelledError
            return await super().commit(changes)

    store = Cancelling()
    async with serve(diary, store=store) as server:
        offer = await ask(transport, discover(1))
        store.error = OSError("disk full")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: store.leases)
        assert diary.of("drop")[-2:] == [(1, "INTERNAL_ERROR"), (1, "PROCESSED")]
        assert server.health == Health("ok", "", 0, 0)
        assert server.commit_metrics.failures == 2
        store.error = OSError("disk full")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: server.commit_metrics.failures == 3)
        assert server.health.why == "leases can't be committed: the store cancelled it"
        assert server.health.in_flight == 0
        assert (await ask(transport, request(1, offer.yiaddr))).kind == ACK


@pytest.mark.usefixtures("quick")
async def test_what_is_decided_while_a_commit_fails_is_answered_when_it_works(
    serve: Any, transport: MemoryTransport, store: Store
) -> None:
    async with serve():
        offers = {client: await ask(transport, discover(client)) for client in (1, 2)}
        store.gate.clear()
        store.error = OSError("gone")
        transport.deliver(request(1, offers[1].yiaddr))
        await until(lambda: store.under_way)
        transport.deliver(request(2, offers[2].yiaddr))
        await turns()
        store.gate.set()
        await until(lambda: not store.under_way)
        store.error = None
        reply = await answer(transport)
        assert (reply.kind, reply.client) == (ACK, 2)
        assert sorted(store.leases) == [offers[1].yiaddr, offers[2].yiaddr]


@pytest.mark.usefixtures("quick")
async def test_a_commit_fails_for_a_packet_that_waited(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary
) -> None:
    async with serve(Waiting(), diary) as server:
        offer = await ask(transport, discover(1))
        diary.entries.clear()
        store.error = OSError("gone")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: diary.of("drop"))
        assert server.health.status == "degraded"
        store.error = None
        assert (await ask(transport, request(1, offer.yiaddr))).kind == ACK
    assert [reason for _, reason in diary.of("drop")] == ["INTERNAL_ERROR", "PROCESSED", "PROCESSED"]
    assert len(diary.of("offer")) == 1


async def test_the_file_is_locked_by_somebody(serve: Any, transport: MemoryTransport, tmp_path: Path) -> None:
    """The whole of it, with the store that everybody uses, where there is a cursor: commits go into the file."""
    import sqlite3

    path = tmp_path / "leases.db"
    store = SqliteStore(path)
    async with serve(store=store) as server:
        await store.open_cursor("c")
        offer = await ask(transport, discover(1))
        assert store._database is not None
        store._database.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: server.health.status == "degraded")
        assert "database is locked" in server.health.why
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: server.health.status == "ok")
        assert (await ask(transport, request(1, offer.yiaddr))).kind == ACK
        assert len(transport.sent) == 2


# ── conflicts: another server that shares the store was first ────────────────────────────────────────────────────


def winner_of(address: int) -> Lease:
    return Lease(address, b"\1winner", 1, b"winner", LeaseState.ACTIVE, 0, 2_000_000_000)


@pytest.mark.parametrize("waits", [False, True])
async def test_the_client_of_the_loser_is_refused(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary, waits: bool
) -> None:
    async with serve(*((Waiting(),) if waits else ()), diary) as server:
        offers = {client: await ask(transport, discover(client)) for client in (1, 2, 3)}
        store.conflicts = [winner_of(offers[2].yiaddr)]
        transport.deliver_many([request(client, offer.yiaddr) for client, offer in offers.items()])
        kinds = {reply.client: reply for reply in [await answer(transport) for _ in range(3)]}
        assert [kinds[client].kind for client in (1, 2, 3)] == [ACK, NAK, ACK]
        assert b"given to another client" in kinds[2].options[56]
        assert server.leases.get(offers[2].yiaddr) == winner_of(offers[2].yiaddr)
        # The address is taken now, also for the client that comes again.
        again = await ask(transport, discover(2))
        assert again.yiaddr not in [offer.yiaddr for offer in offers.values()]
    assert diary.of("offer") == [("NEW", offers[1].address), ("NEW", offers[3].address)]
    assert diary.of("del") == [("NACKED", offers[2].address)]


async def test_a_release_that_comes_too_late(serve: Any, transport: MemoryTransport, store: Store) -> None:
    async with serve() as server:
        address = await lease(transport, 1)
        transport.sent.clear()
        store.conflicts = [winner_of(number_of(address))]
        transport.deliver(release(1, address))
        await until(lambda: not store.conflicts and not store.under_way)
        await turns()
        assert server.leases.get(number_of(address)) == winner_of(number_of(address))
        assert transport.sent == []


async def test_a_conflict_about_the_address_left_behind(serve: Any, transport: MemoryTransport, store: Store) -> None:
    """A client moves; that its old address has another owner by now is no reason to refuse it the new one."""
    mine = Lease(number_of("192.0.2.200"), b"\1" + hardware(1), 1, hardware(1), LeaseState.ACTIVE, 0, 2_000_000_000)
    store.leases[mine.address] = mine
    async with serve() as server:
        offer = await ask(transport, discover(1))
        assert offer.address == FIRST  # 192.0.2.200 is in no pool (any more)
        store.conflicts = [winner_of(mine.address)]
        assert (await ask(transport, request(1, offer.yiaddr))).kind == ACK
        assert server.leases.get(mine.address) == winner_of(mine.address)
        assert store.leases[offer.yiaddr].client == b"\1" + hardware(1)


@pytest.mark.usefixtures("quick")
async def test_a_conflict_about_what_was_dropped_before(serve: Any, transport: MemoryTransport, store: Store) -> None:
    async with serve() as server:
        offer = await ask(transport, discover(1))
        store.error = OSError("gone")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: len(store.commits) > 1)
        store.conflicts, store.error = [winner_of(offer.yiaddr)], None
        await until(lambda: server.leases.get(offer.yiaddr) == winner_of(offer.yiaddr))
        assert (await ask(transport, request(1, offer.yiaddr))).kind == NAK


# ── more than there is room for ──────────────────────────────────────────────────────────────────────────────────


async def test_too_many_packets(serve: Any, transport: MemoryTransport, store: Store, diary: Diary) -> None:
    async with serve(diary, max_in_flight=3) as server:
        offers = [await ask(transport, discover(client)) for client in (1, 2, 3)]
        store.gate.clear()
        transport.deliver_many([request(offer.client, offer.yiaddr) for offer in offers])
        assert server.health.in_flight == 3
        transport.sent.clear()
        for client in (4, 5, 6, 7):
            transport.deliver(discover(client))
        assert transport.sent == []
        assert server.engine.dropped == {DropReason.NOMEM: 4}
        assert server.health.in_flight == 3
        store.gate.set()
        assert [(await answer(transport)).kind for _ in range(3)] == [ACK] * 3
        assert (await ask(transport, discover(4))).kind == OFFER
    assert diary.of("drop").count((0, "NOMEM")) == 4


async def test_a_plugin_that_hears_too_slowly_of_too_many_packets(serve: Any, transport: MemoryTransport) -> None:
    """What it would have to be told of must not pile up."""
    go_on = asyncio.Event()
    told = []

    class Slow:
        @hookimpl
        async def dhcp_pkt_drop(self, reason: DropReason) -> None:
            await go_on.wait()
            told.append(reason)

    async with serve(Slow(), max_in_flight=3) as server:
        for client in range(1, 101):
            transport.deliver(discover(client))
        assert server.health.in_flight == 6
        go_on.set()
        await until(lambda: server.health.in_flight == 0)
        assert server.engine.dropped == {DropReason.NOMEM: 97}
        assert (await ask(transport, discover(9))).kind == OFFER
    assert told.count(DropReason.NOMEM) == 3
    assert told.count(DropReason.PROCESSED) == 7


# ── pause ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pause_and_resume(serve: Any, transport: MemoryTransport, store: Store, diary: Diary) -> None:
    async with serve(diary) as server:
        offer = await ask(transport, discover(1))
        store.gate.clear()
        transport.deliver(request(1, offer.yiaddr))
        await server.pause()
        await server.pause()
        assert server.health.status == "paused"
        transport.deliver(discover(2))
        assert server.engine.dropped == {DropReason.PAUSED: 1}
        # What came before is finished.
        store.gate.set()
        assert (await answer(transport)).kind == ACK
        await server.resume()
        await server.resume()
        assert server.health.status == "ok"
        assert (await ask(transport, discover(2))).kind == OFFER
    assert diary.of("control") == [("START",), ("PAUSE",), ("CONTINUE",), ("STOP",)]
    assert (0, "PAUSED") in diary.of("drop")


async def test_a_paused_server_stops(serve: Any) -> None:
    async with serve() as server:
        await server.pause()
        assert server.health.status == "paused"


async def test_pause_and_resume_of_what_does_not_run(transport: MemoryTransport, store: Store, diary: Diary) -> None:
    server = DhcpServer(config(), store=store, transport=transport, plugins=[diary])
    await server.pause()
    await server.resume()
    assert server.health.status == "new"
    assert diary.entries == []


# ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Refusing:
    """A plugin that refuses the start."""

    name = "gatekeeper"
    refuses = True

    @hookimpl
    def dhcp_control(self, code: ControlCode) -> None:
        if code == ControlCode.START and self.refuses:
            raise RuntimeError("no licence")


async def test_a_plugin_refuses_the_start(transport: MemoryTransport, tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    plugin = Refusing()
    server = DhcpServer(config(), store=SqliteStore(path), transport=transport, plugins=[plugin])
    with pytest.raises(ConfigError, match="plugin gatekeeper refused the start: no licence"):
        await server.start()
    assert server.health.status == "stopped"
    with pytest.raises(RuntimeError, match="not open"):
        transport.deliver(discover(1))
    # The store is free: for another server, and for this one when the plugin lets it.
    async with DhcpServer(config(), store=SqliteStore(path), transport=transport):
        assert await lease(transport, 1) == FIRST
    plugin.refuses = False
    async with server:
        assert await lease(transport, 2) == SECOND


async def test_a_store_that_cannot_be_had(transport: MemoryTransport, tmp_path: Path, diary: Diary) -> None:
    path = tmp_path / "leases.db"
    async with DhcpServer(config(), store=SqliteStore(path), transport=MemoryTransport()):
        server = DhcpServer(config(), store=SqliteStore(path), transport=transport, plugins=[diary])
        with pytest.raises(StoreError, match="in use by another server"):
            await server.start()
        assert server.health.status == "stopped"
    assert diary.entries == []
    async with server:
        assert await lease(transport, 1) == FIRST


class NoPort(MemoryTransport):
    """A transport that can't be opened, though something came in before it found out."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    async def open(self, receiver: Any) -> None:
        await super().open(receiver)
        self.deliver_many([discover(1), reboot(2, FIRST)])
        await super().close()
        raise PermissionError(13, "port 67 needs a privilege")

    async def close(self) -> None:
        self.closed += 1


async def test_a_transport_that_cannot_be_opened(tmp_path: Path, diary: Diary) -> None:
    path = tmp_path / "leases.db"
    known = Lease(number_of(FIRST), b"\1" + hardware(2), 1, hardware(2), LeaseState.ACTIVE, 0, 3_000_000_000)
    async with Opened(SqliteStore(path)) as store:
        await store.commit([known])
    transport = NoPort()
    server = DhcpServer(config(), store=SqliteStore(path), transport=transport, plugins=[Waiting(), diary])
    with pytest.raises(PermissionError, match="port 67"):
        await server.start()
    assert transport.closed == 0
    assert (server.health.status, server.health.in_flight) == ("stopped", 0)
    # What came in between was finished before the plugins and the store were told to stop.
    assert diary.of("control") == [("START",), ("STOP",)]
    assert diary.of("drop") == [(1, "PROCESSED"), (2, "PROCESSED")]
    assert diary.entries[-1] == ("control", "STOP")
    async with DhcpServer(config(), store=SqliteStore(path), transport=MemoryTransport()) as another:
        assert [row.client for row in another.leases] == [known.client]


class Opened:
    """A store, open for the length of a ``with``."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store

    async def __aenter__(self) -> SqliteStore:
        await self.store.load()
        return self.store

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()


async def test_a_start_that_is_cancelled(transport: MemoryTransport, store: Store, diary: Diary) -> None:
    class Endless:
        @hookimpl
        async def dhcp_control(self, code: ControlCode) -> None:
            if code == ControlCode.START:
                await asyncio.Event().wait()

    server = DhcpServer(config(), store=store, transport=transport, plugins=[diary, Endless()])
    start = asyncio.create_task(server.start())
    await until(lambda: diary.entries)
    assert server.health.status == "starting"
    with pytest.raises(RuntimeError, match="not open"):
        transport.deliver(discover(1))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert server.health.status == "stopped"
    assert store.closed == 1


async def test_starting_twice(serve: Any, store: Store) -> None:
    async with serve() as server:
        with pytest.raises(RuntimeError, match="the server is running already"):
            await server.start()
        assert server.health.status == "ok"
        assert store.loaded == 1


async def test_starting_twice_at_once(transport: MemoryTransport, tmp_path: Path) -> None:
    server = DhcpServer(config(), store=SqliteStore(tmp_path / "leases.db"), transport=transport)
    results = await asyncio.gather(server.start(), server.start(), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), RuntimeError]
    assert "starting already" in str(results[1])
    assert await lease(transport, 1) == FIRST
    await server.stop()


async def test_a_server_without_a_transport(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with DhcpServer(config(), store=store) as server:
        assert server.interfaces == ()
        assert server.health.status == "ok"
    assert "serving 192.0.2.0/24 on no transport of its own" in caplog.text


async def test_a_misspelt_hook_makes_no_server(store: Store) -> None:
    class Misspelt:
        @hookimpl
        def dhcp_new_packet(self) -> None: ...

    with pytest.raises(ConfigError, match="dhcp_new_packet"):
        DhcpServer(config(), store=store, plugins=[Misspelt()])


# ── stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stop_answers_what_is_committed(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary
) -> None:
    async with serve(diary) as server:
        offers = [await ask(transport, discover(client)) for client in (1, 2)]
        transport.sent.clear()
        store.gate.clear()
        transport.deliver(request(1, offers[0].yiaddr))
        await until(lambda: store.commits)
        transport.deliver(request(2, offers[1].yiaddr))
        stop = asyncio.create_task(server.stop())
        await until(lambda: server.health.status == "stopping")
        await turns()
        assert not stop.done()
        # Too late for these.
        transport.deliver(discover(3))
        assert server.engine.dropped == {DropReason.PAUSED: 1}
        store.gate.set()
        await stop
        assert replies(transport) == [(ACK, 1), (ACK, 2)]
        assert len(store.leases) == 2
        with pytest.raises(RuntimeError, match="not open"):
            transport.deliver(discover(4))
    assert transport.send_errors == 0
    assert store.closed == 1
    assert diary.entries[-1] == ("control", "STOP")


async def test_stopping_twice_and_before_the_start(
    transport: MemoryTransport, store: Store, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = DhcpServer(config(), store=store, transport=transport, plugins=[diary])
    await server.stop()
    assert server.health.status == "new"
    await server.start()
    await asyncio.gather(server.stop(), server.stop())
    await server.stop()
    assert store.closed == 1
    assert caplog.messages.count("stopped") == 1
    assert diary.of("control") == [("START",), ("STOP",)]


async def test_a_server_starts_again_after_its_stop(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary
) -> None:
    async with serve(diary) as server:
        first = await lease(transport, 1)
        await server.stop()
        assert server.health.status == "stopped"
        await server.start()
        assert server.health.status == "ok"
        assert (await ask(transport, renew(1, first))).kind == ACK
        assert await lease(transport, 2) == SECOND
    assert diary.of("control") == [("START",), ("STOP",)] * 2
    assert store.loaded == store.closed == 2


async def test_a_hook_that_hangs_does_not_hold_up_the_stop(
    serve: Any, transport: MemoryTransport, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Waiting(1, 2)
    async with serve(waiting, diary, stop_timeout=0.05) as server:
        transport.deliver_many([discover(1), request(1, FIRST), discover(2), discover(3)])
        assert (await answer(transport)).client == 3
        assert server.health.in_flight == 3
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        assert sorted(waiting.cancelled) == [1, 2]
        assert server.health == type(server.health)("stopped", "", 0, 0)
        # Each packet hears its last all the same, and the plugins hear STOP after that.
        assert sorted(diary.of("drop")) == [
            (1, "PROCESSED"),
            (1, "PROCESSED"),
            (1, "TIMEOUT"),
            (1, "TIMEOUT"),
            (2, "PROCESSED"),
            (2, "TIMEOUT"),
            (3, "PROCESSED"),
        ]
        assert diary.entries[-1] == ("control", "STOP")
        assert server.engine.dropped == {DropReason.TIMEOUT: 3}
        # The hook of the one behind was not begun.
        assert waiting.begun == [1, 2, 3]
        gc.collect()
        # Nothing of it is left when the server starts again.
        waiting.held.clear()
        await server.start()
        assert await lease(transport, 1) == FIRST
    assert "3 packets, or what plugins do for them, are not waited for any longer" in caplog.text


async def test_a_stop_without_any_time(serve: Any, transport: MemoryTransport, diary: Diary) -> None:
    """What has not begun yet is given up, and leaves no coroutine behind."""
    waiting = Waiting()
    async with serve(waiting, diary, stop_timeout=0) as server:
        transport.deliver_many([discover(1), discover(1), discover(2)])
        await server.stop()
        gc.collect()
        assert [reason for _, reason in diary.of("drop")].count("PROCESSED") == 3
        await server.start()
        transport.sent.clear()
        transport.deliver(discover(1))
        await until(lambda: replies(transport) == [(OFFER, 1)])


@pytest.mark.parametrize("hook", ["dhcp_pkt_send", "dhcp_pkt_drop", "dhcp_address_offer"])
async def test_a_later_hook_that_hangs_does_not_hold_up_the_stop(
    serve: Any, transport: MemoryTransport, store: Store, hook: str
) -> None:
    begun = []

    class Hanging:
        """One of the later hooks never comes back, for the second packet."""

        async def hang(self, exchange: Exchange) -> None:
            if exchange.reply_type == ACK:
                begun.append(exchange.xid)
                await asyncio.Event().wait()

    setattr(Hanging, hook, hookimpl(Hanging.hang, specname=hook))
    Hanging.hang = None  # type: ignore[method-assign, assignment]
    diary = Diary()
    async with serve(Hanging(), diary, stop_timeout=0.05) as server:
        offer = await ask(transport, discover(1))
        diary.entries.clear()
        transport.deliver_many([request(1, offer.yiaddr), renew(1, offer.yiaddr), discover(1)])
        await until(lambda: begun)
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        gc.collect()
        # It is committed, whether answered or not.
        assert store.leases[offer.yiaddr].state == LeaseState.ACTIVE
        if hook != "dhcp_pkt_drop":  # else the diary comes after the hook that hangs
            assert [reason for _, reason in diary.of("drop")].count("PROCESSED") == 3
        assert diary.entries[-1] == ("control", "STOP")


async def test_a_commit_that_hangs_does_not_hold_up_the_stop(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(diary, stop_timeout=0.05) as server:
        offers = [await ask(transport, discover(client)) for client in (1, 2)]
        store.gate.clear()
        transport.deliver(request(1, offers[0].yiaddr))
        await until(lambda: store.under_way)
        transport.deliver(request(2, offers[1].yiaddr))
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        assert len(transport.sent) == 2
        assert [reason for _, reason in diary.of("drop")][2:] == ["TIMEOUT", "PROCESSED"] * 2
        assert diary.of("offer") == []
        # Nothing of what was lost reaches into the next run.
        store.gate.set()
        await server.start()
        assert len(server.leases) == 0
        assert await lease(transport, 3) == FIRST
    assert "1 lease changes are lost: no time left" in caplog.text
    assert list(store.leases) == [number_of(FIRST)]
    assert store.leases[number_of(FIRST)].chaddr == hardware(3)


async def test_a_packet_that_comes_when_a_commit_is_given_up_takes_nobodys_place(
    serve: Any, transport: MemoryTransport, diary: Diary
) -> None:
    stopping = asyncio.Event()

    class Leisurely(Store):
        async def close(self) -> None:
            await turns()

    class Stubborn:
        @hookimpl(deadline=60)
        def dhcp_new_pkt(self, exchange: Exchange) -> Any:
            return self.resist() if exchange.xid == 3 else None

        async def resist(self) -> None:
            while not stopping.is_set():
                with suppress(asyncio.CancelledError):
                    await stopping.wait()

    store = Leisurely()
    async with serve(Stubborn(), diary, store=store, stop_timeout=0.05) as server:
        offers = [await ask(transport, discover(client)) for client in (1, 2)]
        transport.deliver(discover(3))
        store.gate.clear()
        transport.deliver(request(1, offers[0].yiaddr))
        await until(lambda: store.under_way)
        transport.deliver(request(2, offers[1].yiaddr))
        diary.entries.clear()
        stop = asyncio.create_task(server.stop())
        await until(lambda: not store.under_way)
        transport.deliver(discover(4))
        stopping.set()
        await stop
    assert (0, "PAUSED") in diary.of("drop")  # which nobody reads
    assert {1, 2} <= {xid for xid, reason in diary.of("drop") if reason == "TIMEOUT"}


async def test_a_store_that_resists_its_end(serve: Any, transport: MemoryTransport, diary: Diary) -> None:
    """It finishes what it began, for packets that are given up by then."""

    class Thorough(Store):
        async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
            try:
                return await super().commit(changes)
            except asyncio.CancelledError:
                self.gate.set()
                return await super().commit(changes)

    store = Thorough()
    async with serve(Waiting(), diary, store=store, stop_timeout=0.01) as server:
        offer = await ask(transport, discover(1))
        await until(lambda: diary.entries[-1] == ("drop", 1, "PROCESSED"))
        diary.entries.clear()
        store.gate.clear()
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: store.under_way)
        await server.stop()
        assert list(store.leases) == [offer.yiaddr]
        assert len(transport.sent) == 1
        assert diary.of("drop") == [(1, "TIMEOUT"), (1, "PROCESSED")]


@pytest.mark.usefixtures("quick")
async def test_a_stop_gives_up_what_cannot_be_committed(
    serve: Any, transport: MemoryTransport, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as server:
        offer = await ask(transport, discover(1))
        store.error = OSError("disk full")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: server.health.status == "degraded")
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        assert len(store.commits) > len(RETRY_DELAYS)
        store.error = None
        await server.start()
        assert server.health.status == "ok"
        assert len(server.leases) == 0
    assert "1 lease changes are lost: disk full" in caplog.text
    assert store.leases == {}


async def test_a_hook_that_resists_its_end(serve: Any, transport: MemoryTransport, diary: Diary) -> None:
    let_go = asyncio.Event()
    resisting = asyncio.Event()

    class Stubborn:
        @hookimpl
        async def dhcp_new_pkt(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                resisting.set()
                await let_go.wait()
                raise

    async with serve(Stubborn(), diary, stop_timeout=0.01) as server:
        transport.deliver(discover(1))
        await turns()
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        assert resisting.is_set()
        assert [reason for _, reason in diary.of("drop")] == ["TIMEOUT", "PROCESSED"]
        let_go.set()
        await turns()


async def test_a_plugin_that_does_not_stop(
    serve: Any, transport: MemoryTransport, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Endless:
        @hookimpl
        async def dhcp_control(self, code: ControlCode) -> None:
            if code == ControlCode.STOP:
                await asyncio.Event().wait()

    async with serve(Endless(), stop_timeout=0.05) as server:
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        assert store.closed == 1
    assert "a plugin takes too long to stop" in caplog.text


async def test_a_plugin_that_fails_at_the_stop(serve: Any, store: Store, diary: Diary) -> None:
    class Failing:
        @hookimpl
        def dhcp_control(self, code: ControlCode) -> None:
            if code == ControlCode.STOP:
                raise RuntimeError("no")

    async with serve(Failing(), diary) as server:
        pass
    assert server.hooks.failures == {("Failing", "dhcp_control"): 1}
    assert diary.of("control") == [("START",), ("STOP",)]
    assert store.closed == 1


async def test_a_transport_that_fails_at_the_stop(store: Store, diary: Diary) -> None:
    class Broken(MemoryTransport):
        async def close(self) -> None:
            raise OSError("broken")

    server = DhcpServer(config(), store=store, transport=Broken(), plugins=[diary])
    await server.start()
    with pytest.raises(OSError, match="broken"):
        await server.stop()
    assert server.health.status == "stopped"
    assert diary.of("control") == [("START",), ("STOP",)]
    assert store.closed == 1


async def test_a_stop_that_is_cancelled(transport: MemoryTransport, store: Store, diary: Diary) -> None:
    waiting = Waiting(1)
    server = DhcpServer(config(), store=store, transport=transport, plugins=[waiting, diary])
    await server.start()
    transport.deliver_many([message(DISCOVER, 1, xid=1), message(DISCOVER, 1, xid=2)])
    await until(lambda: waiting.begun)
    stop = asyncio.create_task(server.stop())
    await turns()
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    assert server.health.status == "stopped"
    assert [reason for _, reason in diary.of("drop")] == ["TIMEOUT", "PROCESSED"] * 2
    assert diary.entries[-1] == ("control", "STOP")
    assert store.closed == 1
    await turns()
    assert waiting.cancelled == [1]
    gc.collect()


# ── several servers ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_many_servers_in_one_loop() -> None:
    class Giving:
        """Each server gives another boot file."""

        def __init__(self, number: int) -> None:
            self.number = number
            self.seen: list[int] = []

        @hookimpl
        async def dhcp_pkt_send(self, packet: Packet, reply: Packet) -> None:
            await asyncio.sleep(0)
            self.seen.append(packet.xid)
            reply.options["tftp-server-name"] = f"server-{self.number}"

    plugins = [Giving(number) for number in range(50)]
    transports = [MemoryTransport() for _ in plugins]
    servers = [
        DhcpServer(config(), store=MemoryStore(), transport=each, plugins=[plugin])
        for plugin, each in zip(plugins, transports, strict=True)
    ]
    await asyncio.gather(*(server.start() for server in servers))
    addresses = await asyncio.gather(*(lease(each, 1 + at) for at, each in enumerate(transports)))
    assert addresses == [FIRST] * 50
    await asyncio.gather(*(server.stop() for server in servers))
    for at, (plugin, own) in enumerate(zip(plugins, transports, strict=True)):
        assert plugin.seen == [1 + at] * 2
        assert [read(each.data).options[66] for each in own.sent] == [f"server-{at}".encode()] * 2


# ── plugins that wait ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_packet_that_waits_delays_no_other_client(serve: Any, transport: MemoryTransport) -> None:
    waiting = Waiting(1)
    async with serve(waiting) as server:
        transport.deliver(discover(1))
        for client in (2, 3, 4):
            assert await lease(transport, client)
        assert server.health.in_flight == 1
        assert (OFFER, 1) not in replies(transport)
        waiting.held[1].set()
        reply = await answer(transport)
        assert (reply.kind, reply.client) == (OFFER, 1)
        await turns()
        assert server.health.in_flight == 0


async def test_packets_of_one_client_keep_their_order(
    serve: Any, transport: MemoryTransport, store: Store, diary: Diary
) -> None:
    held = asyncio.Event()

    class Slow:
        """DISCOVERs wait, REQUESTs don't."""

        @hookimpl
        async def dhcp_new_pkt(self, packet: Packet) -> None:
            if packet.message_type == 1:
                await held.wait()

    async with serve(Slow(), diary):
        transport.deliver(discover(1))
        await turns()
        transport.deliver(request(1, FIRST))
        transport.deliver(renew(1, FIRST))
        await turns()
        transport.deliver(release(1, FIRST))
        await turns()
        assert transport.sent == []
        assert store.commits == []
        held.set()
        await until(lambda: len(diary.of("drop")) == 4)
        assert replies(transport) == [(OFFER, 1), (ACK, 1), (ACK, 1)]
    assert diary.of("offer") == [("NEW", FIRST), ("OLD", FIRST)]
    assert diary.of("del") == [("RELEASE", FIRST)]
    assert [batch[0].state.name for batch in store.commits] == ["ACTIVE", "ACTIVE", "RELEASED"]


async def test_a_packet_stays_behind_one_whose_end_is_waited_for(serve: Any, transport: MemoryTransport) -> None:
    """A slow ``dhcp_address_offer`` that enters a name, a quick ``dhcp_address_del`` that removes it."""
    go_on = asyncio.Event()
    names: list[str] = []

    class Names:
        @hookimpl
        async def dhcp_address_offer(self, address: IPv4Address) -> None:
            await go_on.wait()
            names.append(f"+{address}")

        @hookimpl
        def dhcp_address_del(self, address: IPv4Address) -> None:
            names.append(f"-{address}")

    async with serve(Names()) as server:
        offer = await ask(transport, discover(1))
        transport.deliver(request(1, offer.yiaddr))
        transport.deliver(release(1, offer.yiaddr))
        await turns()
        assert names == []
        go_on.set()
        await until(lambda: server.health.in_flight == 0)
    assert names == [f"+{offer.address}", f"-{offer.address}"]


async def test_an_edited_packet_that_waited(serve: Any, transport: MemoryTransport) -> None:
    class Vendor:
        @hookimpl
        async def dhcp_new_pkt(self, packet: Packet, exchange: Exchange) -> Drop | None:
            await asyncio.sleep(0)
            exchange.context = packet.xid
            return Drop("not you") if packet.xid == 2 else None

        @hookimpl
        async def dhcp_handle_options(self, options: Options, exchange: Exchange) -> None:
            await asyncio.sleep(0)
            assert exchange.context == exchange.xid
            exchange.classes.add("phones")

        @hookimpl
        async def dhcp_pkt_send(self, reply: Packet, exchange: Exchange) -> None:
            await asyncio.sleep(0)
            assert exchange.class_names == {"phones"}
            reply.options["domain-name"] = f"x{exchange.context}.example"

    async with serve(Vendor()) as server:
        transport.deliver_many([discover(1), discover(2), discover(3)])
        await until(lambda: server.health.in_flight == 0)
        assert {read(each.data).client: read(each.data).options[15] for each in transport.sent} == {
            1: b"x1.example",
            3: b"x3.example",
        }
        assert server.engine.vetoed == 1
        assert server.hooks.failures == {}


async def test_the_last_hook_may_wait(serve: Any, transport: MemoryTransport) -> None:
    go_on = asyncio.Event()
    ended = []

    class Slow:
        @hookimpl
        async def dhcp_pkt_drop(self, reason: DropReason, exchange: Exchange) -> None:
            await go_on.wait()
            ended.append((exchange.xid, reason.name))

    async with serve(Slow()) as server:
        # The answers are not waited for.
        assert (await ask(transport, discover(1))).kind == OFFER
        assert (await ask(transport, discover(2))).kind == OFFER
        transport.deliver(b"garbage")
        await turns()
        assert server.health.in_flight == 3
        assert ended == []
        go_on.set()
        await until(lambda: server.health.in_flight == 0)
    assert sorted(ended) == [(0, "INVALID"), (0, "PROCESSED"), (1, "PROCESSED"), (2, "PROCESSED")]


async def test_deleting_a_client_may_wait(serve: Any, transport: MemoryTransport, store: Store) -> None:
    """It is begun before the next packet of the same client, and that waits for it."""
    go_on = asyncio.Event()
    heard: list[object] = []

    class Slow:
        @hookimpl
        async def dhcp_delete_client(self, address: IPv4Address, hardware_address: bytes) -> None:
            heard.append(("begun", str(address), hardware_address))
            await go_on.wait()
            heard.append("done")

        @hookimpl
        def dhcp_pkt_send(self, reply: Packet) -> None:
            heard.append(int(reply.message_type or 0))

    async with serve(Slow()):
        address = await lease(transport, 1)
        other = await ask(transport, discover(2))
        heard.clear()
        transport.deliver_many([release(1, address), discover(1)])
        assert (await ask(transport, request(2, other.yiaddr))).kind == ACK
        await until(lambda: len(heard) == 2)
        assert sorted(map(str, heard)) == sorted([str(("begun", address, hardware(1))), str(ACK)])
        go_on.set()
        assert (await answer(transport)).kind == OFFER
    assert heard[2:] == ["done", OFFER]
    assert store.leases[number_of(address)].state == LeaseState.RELEASED


@pytest.mark.usefixtures("quick")
async def test_deleting_a_client_whose_release_is_not_committed(
    serve: Any, transport: MemoryTransport, store: Store
) -> None:
    """The lease has left the table: the hook was promised that, whatever the disk says."""
    heard = []

    class Hearing:
        @hookimpl
        async def dhcp_delete_client(self, address: IPv4Address) -> None:
            await asyncio.sleep(0)
            heard.append(str(address))

    async with serve(Hearing()) as server:
        address = await lease(transport, 1)
        store.error = OSError("gone")
        transport.deliver(release(1, address))
        await until(lambda: server.engine.dropped[DropReason.INTERNAL_ERROR])
        store.error = None
    assert heard == [address]


# ── plugins that fail ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("waits", [False, True])
async def test_a_plugin_that_fails_everywhere(
    serve: Any, transport: MemoryTransport, diary: Diary, waits: bool
) -> None:
    class Failing:
        name = "failing"

    def fail() -> None:
        raise RuntimeError("broken plugin")

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken plugin")

    hooks = ("new_pkt", "handle_options", "pkt_send", "pkt_drop", "address_offer", "address_del", "delete_client")
    for hook in hooks:
        # pluggy marks the function itself: each hook needs one of its own.
        one = type(fail)((fail_later if waits else fail).__code__, globals())
        setattr(Failing, f"dhcp_{hook}", staticmethod(hookimpl(one)))

    async with serve(Failing(), diary) as server:
        address = await lease(transport, 1)
        transport.deliver(release(1, address))
        await until(lambda: diary.of("del"))
        assert (await ask(transport, discover(2))).kind == OFFER
        await until(lambda: server.health.in_flight == 0)
        assert {hook for plugin, hook in server.hooks.failures} == {f"dhcp_{hook}" for hook in hooks}
        assert {plugin for plugin, hook in server.hooks.failures} == {"failing"}
    assert len(diary.of("new")) == len(diary.of("drop")) == 4


async def test_a_hook_that_is_cancelled_from_elsewhere(serve: Any, transport: MemoryTransport, diary: Diary) -> None:
    """A plugin awaits something that somebody cancels: that is the plugin's fault and not the client's."""
    theirs: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Relying:
        @hookimpl
        async def dhcp_new_pkt(self, packet: Packet) -> None:
            if packet.message_type == 1:
                await theirs

    async with serve(Relying(), diary) as server:
        transport.deliver_many([discover(1), request(1, FIRST)])
        await turns()
        theirs.cancel()
        # What comes behind it goes on, and so does what comes later.
        assert (await answer(transport)).client == 1
        await until(lambda: server.health.in_flight == 0)
        assert (await ask(transport, renew(1, FIRST))).kind == ACK
    assert [reason for _, reason in diary.of("drop")].count("PROCESSED") == 3


async def test_a_transport_that_fails_for_a_packet_that_waited(
    store: Store, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    """Transports don't raise. If one does, it costs the packet and not the client's later ones."""

    class Broken(MemoryTransport):
        broken = True

        def send(self, answers: Sequence[Any]) -> None:
            if self.broken:
                raise OSError("broken")
            super().send(answers)

    transport = Broken()
    async with DhcpServer(config(), store=store, transport=transport, plugins=[Waiting(), diary]) as server:
        transport.deliver(discover(1))
        await until(lambda: diary.of("drop"))
        assert server.health.in_flight == 0
        transport.broken = False
        assert await lease(transport, 1) == FIRST
    assert diary.of("drop")[:1] == [(1, "PROCESSED")]
    assert "a fault of the transport, 1 answers may be lost" in caplog.text


async def test_one_client_can_not_keep_all_others_waiting(transport: MemoryTransport, serve: Any, diary: Diary) -> None:
    """Of its packets a handful may wait; and what can't be read waits for nobody."""
    waiting = Waiting(101)
    async with serve(waiting, diary) as server:
        transport.deliver_many([message(DISCOVER, 1, xid=xid) for xid in range(101, 121)])
        await turns()
        assert server.health.in_flight == 8
        assert server.engine.dropped == {DropReason.DUPLICATE: 12}
        assert (await lease(transport, 2)) != ""
        waiting.held[101].set()
        await until(lambda: server.health.in_flight == 0)
    assert [reason for xid, reason in diary.of("drop") if xid > 100].count("PROCESSED") == 20


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def fast_clockwork(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks at the clock a hundred times a second."""
    sleep = asyncio.sleep

    async def shorter(delay: float) -> None:
        await sleep(0.01 if delay == 1 else delay)

    monkeypatch.setattr("aiodhcp.server.asyncio.sleep", shorter)


@pytest.mark.usefixtures("fast_clockwork")
async def test_leases_expire(serve: Any, transport: MemoryTransport, clock: Clock, diary: Diary) -> None:
    async with serve(diary) as server:
        first = await lease(transport, 1)
        clock.now += 1800
        second = await lease(transport, 2)
        clock.now += 1799
        await asyncio.sleep(0.03)
        assert diary.of("delete") == []
        clock.now += 1
        await until(lambda: diary.of("delete"))
        assert diary.of("delete") == [(first, hardware(1))]
        states = {str(IPv4Address(row.address)): row.state.name for row in server.leases}
        assert states == {first: "EXPIRED", second: "ACTIVE"}


@pytest.mark.usefixtures("fast_clockwork")
async def test_expiry_does_not_wait_for_a_plugin(serve: Any, transport: MemoryTransport, clock: Clock) -> None:
    begun = []

    class Hanging:
        @hookimpl
        async def dhcp_delete_client(self, address: IPv4Address) -> None:
            begun.append(str(address))
            await asyncio.Event().wait()

    async with serve(Hanging(), stop_timeout=0.05):
        first, second = await lease(transport, 1), await lease(transport, 2)
        clock.now += 10
        third = await lease(transport, 3)
        clock.now += 3590
        await until(lambda: len(begun) == 2)
        clock.now += 10
        await until(lambda: len(begun) == 3)
    assert begun == [first, second, third]


async def test_leases_that_expired_while_the_server_was_down(
    serve: Any, transport: MemoryTransport, store: Store, clock: Clock, diary: Diary
) -> None:
    class Slow:
        @hookimpl
        async def dhcp_delete_client(self) -> None:
            await asyncio.sleep(0)

    async with serve():
        address = await lease(transport, 1)
    clock.now += 4000
    async with serve(Slow(), diary) as server:
        assert server.leases.get(number_of(address)).state == LeaseState.EXPIRED
        await until(lambda: diary.of("delete"))
    # A plugin hears nothing before it hears of the start.
    assert diary.entries == [("control", "START"), ("delete", address, hardware(1)), ("control", "STOP")]


@pytest.mark.usefixtures("fast_clockwork")
async def test_a_fault_of_the_clockwork_does_not_stop_it(
    serve: Any, transport: MemoryTransport, clock: Clock, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(diary) as server:
        address = await lease(transport, 1)
        clock.now = float("nan")
        await until(lambda: "a fault of aiodhcp" in caplog.text)
        clock.now = 1_700_009_999.0
        await until(lambda: diary.of("delete"))
        assert server.leases.get(number_of(address)).state == LeaseState.EXPIRED


async def test_the_clockwork_turns_by_itself(serve: Any, transport: MemoryTransport, clock: Clock) -> None:
    async with serve() as server:
        address = await lease(transport, 1)
        clock.now += 4000
        await until(lambda: server.leases.get(number_of(address)).state == LeaseState.EXPIRED)


async def test_an_expired_lease_is_stored_as_such() -> None:
    """Otherwise each restart would tell the plugins of it again."""
    told: list[str] = []

    class Watcher:
        @hookimpl
        def dhcp_delete_client(self, address: IPv4Address) -> None:
            told.append(str(address))

    old = Lease(0xC000020A, b"\1joe", 1, b"\2\0\0\0\0\1", LeaseState.ACTIVE, 1_600_000_000, 1_600_000_600)
    store = MemoryStore([old])
    for _ in range(2):
        async with DhcpServer(config(), store=store, plugins=[Watcher()]):
            pass
    assert told == ["192.0.2.10"]
    assert store.leases[old.address].state is LeaseState.EXPIRED


async def test_plugins_that_heard_of_a_start_hear_that_it_was_refused() -> None:
    heard: list[ControlCode] = []

    class Listener:
        @hookimpl
        def dhcp_control(self, code: ControlCode) -> None:
            heard.append(code)

    class Refuser:
        @hookimpl
        def dhcp_control(self, code: ControlCode) -> None:
            raise ValueError("not today")

    server = DhcpServer(config(), store=MemoryStore(), plugins=[Listener(), Refuser(), Listener()])
    with pytest.raises(ConfigError, match="plugin Refuser refused the start: not today"):
        await server.start()
    assert heard == [ControlCode.START, ControlCode.STOP]
