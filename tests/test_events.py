"""Lease events: what a consumer hears of the leases of a running server."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from server_kit import Clock, Store, clock, quick, serve, store, transport  # noqa: F401
from wire import (
    FIRST,
    PATIENCE,
    ask,
    config,
    decline,
    discover,
    lease,
    number_of,
    release,
    renew,
    request,
    turns,
    until,
)

from aiodhcp import (
    AiodhcpError,
    ConfigError,
    ControlCode,
    DhcpServer,
    EventsLost,
    EventStream,
    Lease,
    LeaseEvent,
    LeaseState,
    MemoryTransport,
    SqliteStore,
    StoreError,
    Subnet,
    hookimpl,
)
from aiodhcp.requestors import Leasequery

Serve = Callable[..., Any]


async def some(stream: EventStream, count: int) -> list[LeaseEvent]:
    """The next events."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]


async def kinds(stream: EventStream, count: int) -> list[str]:
    return [event.kind.value for event in await some(stream, count)]


async def nothing(stream: EventStream) -> bool:
    """Whether there is no event now."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await anext(stream)
    return True


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "leases.db")
    yield store
    await store.close()


@pytest.fixture(params=["live", "cursor"])
def stream_of(request: pytest.FixtureRequest, sqlite: SqliteStore) -> Callable[[DhcpServer], EventStream]:
    """A stream of either kind: what they tell is the same. With the fixture ``both`` as the store."""
    return lambda server: server.events(cursor="c" if request.param == "cursor" else "")


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_life_of_a_lease(
    serve: Serve,
    transport: MemoryTransport,
    clock: Clock,
    sqlite: SqliteStore,
    stream_of: Callable[[DhcpServer], EventStream],
) -> None:
    async with serve(store=sqlite) as server:
        stream = await stream_of(server).__aenter__()
        began = int(clock.now)
        address = await lease(transport, 1)
        # In the same second: it is what was known before that tells the two apart.
        await ask(transport, renew(1, address))
        clock.now += 10
        transport.deliver(release(1, address))
        granted, renewed, released = await some(stream, 3)
        assert [granted.kind, renewed.kind, released.kind] == ["granted", "renewed", "released"]
        assert (granted.previous, renewed.previous) == (None, granted.lease)
        assert released.previous == renewed.lease
        assert (granted.lease.address, granted.lease.state) == (number_of(address), LeaseState.ACTIVE)
        assert [event.time - began for event in (granted, renewed, released)] == [0, 0, 10]
        assert [event.sequence - granted.sequence for event in (granted, renewed, released)] == [0, 1, 2]
        # Another client gets the address; the one before is told with it.
        for client in range(2, 91):
            await lease(transport, client)
        assert await kinds(stream, 89) == ["granted"] * 89
        address = await lease(transport, 91)
        (again,) = await some(stream, 1)
        assert (again.kind, again.previous) == ("granted", released.lease)
        # The administrator, the end, and an address that is in use.
        await server.delete_lease(address)
        (deleted,) = await some(stream, 1)
        assert (deleted.kind, deleted.previous, deleted.lease.client) == ("deleted", again.lease, b"")
        address = await lease(transport, 92)
        transport.deliver(decline(92, address))
        assert await kinds(stream, 2) == ["granted", "declined"]
        clock.now += 24 * 3600
        server.tick()
        ended = await some(stream, 90)
        assert sorted(event.kind for event in ended) == ["expired"] * 89 + ["recovered"]
        assert all(event.time == event.lease.expires <= clock.now for event in ended)
        assert [event.sequence - granted.sequence for event in ended] == list(range(96, 186))


async def test_an_address_that_the_server_finds_in_use(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore, stream_of: Callable[[DhcpServer], EventStream]
) -> None:
    class Prober:
        async def in_use(self, address: int, *_: object) -> str:
            return "02:aa:00:00:00:01" if address == number_of(FIRST) else ""

        def close(self) -> None: ...

    found = replace(
        config(), subnets=[Subnet("192.0.2.0/24", [f"{FIRST}-192.0.2.99"], interfaces=["memory"], conflict_probe="arp")]
    )
    async with serve(store=sqlite, config=found, prober=Prober()) as server:
        async with stream_of(server) as stream:
            await ask(transport, discover(1))
            (event,) = await some(stream, 1)
        assert (event.kind, event.lease.address, event.previous) == ("conflict", number_of(FIRST), None)


async def test_nothing_is_told_before_it_is_stored(serve: Serve, transport: MemoryTransport, store: Store) -> None:
    async with serve() as server:
        stream = server.events()
        store.gate.clear()
        getting = asyncio.create_task(lease(transport, 1))
        await until(lambda: store.under_way)
        assert await nothing(stream)
        # Another commit than the one under way.
        transport.deliver(release(1, FIRST))
        assert await nothing(stream)
        store.gate.set()
        assert await kinds(stream, 2) == ["granted", "released"]
        await getting


async def test_what_is_not_committed_is_told_when_it_is(
    serve: Serve, transport: MemoryTransport, store: Store, quick: None
) -> None:
    async with serve() as server:
        stream = server.events()
        store.error = OSError("disk full")
        getting = asyncio.create_task(lease(transport, 1))
        await until(lambda: server.health.status == "degraded")
        assert await nothing(stream)
        store.error = None
        assert await kinds(stream, 1) == ["granted"]
        getting.cancel()


async def test_what_another_server_gave_away_first(serve: Serve, transport: MemoryTransport, store: Store) -> None:
    winner = Lease(number_of(FIRST), b"another", 1, b"\2", LeaseState.ACTIVE, 1_700_000_000, 1_700_009_999)
    async with serve() as server:
        stream = server.events()
        offer = await ask(transport, discover(1))
        store.conflicts = [winner]
        await ask(transport, request(1, offer.yiaddr))
        (event,) = await some(stream, 1)
        assert (event.kind, event.lease, event.previous) == ("granted", winner, None)
        await server.delete_lease(FIRST)
        (event,) = await some(stream, 1)
        assert (event.kind, event.previous) == ("deleted", winner)


async def test_a_stream_that_begins_in_the_middle(serve: Serve, transport: MemoryTransport, store: Store) -> None:
    async with serve() as server:
        address = await lease(transport, 1)
        store.gate.clear()
        getting = [asyncio.create_task(ask(transport, renew(1, address)))]
        await until(lambda: store.under_way)
        # It was decided before: what it was is not known.
        stream = server.events()
        store.gate.set()
        (event,) = await some(stream, 1)
        assert (event.lease.address, event.previous) == (number_of(address), None)
        await ask(transport, renew(1, address))
        (again,) = await some(stream, 1)
        assert (again.kind, again.previous) == ("renewed", event.lease)
        await asyncio.gather(*getting)


async def test_events_beside_leasequery_and_over_a_reload(serve: Serve, transport: MemoryTransport) -> None:
    asked = replace(config(), leasequery=Leasequery(["127.0.0.1"], ["127.0.0.1"], port=0))
    async with serve() as server:
        stream = server.events()
        for number, each in enumerate([config(), asked, asked, config()], 1):
            await server.reload(each)
            address = await lease(transport, number)
            await ask(transport, renew(number, address))
            granted, renewed = await some(stream, 2)
            assert (granted.previous, renewed.previous) == (None, granted.lease)
            if server.engine.addresses.index is not None:
                assert server.engine.addresses.index.by_hardware_address(1, granted.lease.chaddr)


# ── live ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_listens_and_nothing_is_done_for_it(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        assert server._traffic.committed is None
        assert server.leases.put_or_removed is None
        async with server.events() as stream:
            assert server._traffic.committed is not None
            await lease(transport, 1)
            assert await kinds(stream, 1) == ["granted"]
        del stream
        gc.collect()
        await lease(transport, 2)
        await turns()
        assert server._traffic.committed is None
        assert server.leases.put_or_removed is None
        assert not server._events._before


async def test_a_slow_consumer_hears_how_much_it_missed(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        slow, quick = server.events(buffer=3), server.events()
        for client in range(1, 11):
            await lease(transport, client)
        assert [event.sequence for event in await some(slow, 3)] == [1, 2, 3]
        await lease(transport, 11)
        with pytest.raises(EventsLost, match="8 lease events are lost") as lost:
            await anext(slow)
        assert lost.value.count == 8
        # It goes on, if its consumer does.
        await lease(transport, 12)
        assert [event.sequence for event in await some(slow, 1)] == [12]
        assert [event.sequence for event in await some(quick, 12)] == list(range(1, 13))


async def test_streams_end_with_the_server(serve: Serve, transport: MemoryTransport, sqlite: SqliteStore) -> None:
    heard: dict[str, list[str]] = {}

    async def listen(server: DhcpServer, cursor: str) -> None:
        heard[cursor] = [event.kind async for event in server.events(cursor=cursor)]

    async with serve(store=sqlite) as server:
        tasks = [asyncio.create_task(listen(server, cursor)) for cursor in ("", "c")]
        await until(lambda: "c" in server._events._following and server._events._following["c"]._begun)
        await lease(transport, 1)
        late = server.events()
        await lease(transport, 2)
        await until(lambda: server._events._following["c"].handled == 2)
        await server.stop()
        await asyncio.gather(*tasks)
    assert heard == {"": ["granted"] * 2, "c": ["granted"] * 2}
    # What waits is still told.
    assert [event.sequence async for event in late] == [2]
    with pytest.raises(RuntimeError, match="the server is stopped"):
        server.events()


async def test_a_stream_may_begin_before_the_server(
    transport: MemoryTransport, sqlite: SqliteStore, clock: Clock
) -> None:
    server = DhcpServer(config(), store=sqlite, transport=transport, clock=clock)
    live, cursor = server.events(), server.events(cursor="c")
    first = asyncio.create_task(anext(cursor))
    await turns()
    async with server:
        await until(lambda: "c" in server._events._following and server._events._following["c"]._begun)
        await lease(transport, 1)
        assert (await first).kind == "granted"
        assert await kinds(live, 1) == ["granted"]


async def test_one_consumer_at_a_time(serve: Serve) -> None:
    async with serve() as server:
        stream = server.events()
        waiting = asyncio.create_task(anext(stream))
        await turns()
        with pytest.raises(RuntimeError, match="another task waits"):
            await anext(stream)
        waiting.cancel()
        await asyncio.wait([waiting])
        await stream.acknowledge()
        await stream.aclose()
        assert [event async for event in stream] == []


async def test_what_can_not_be(serve: Serve) -> None:
    async with serve() as server:
        with pytest.raises(ValueError, match="buffer: expected at least 1, got 0"):
            server.events(buffer=0)
        with pytest.raises(ValueError, match="from_start: expected a cursor with it"):
            server.events(from_start=True)
        with pytest.raises(StoreError, match=r"^Store keeps no events: a cursor needs a store that does, like SqliteS"):
            server.events(cursor="billing")
        with pytest.raises(StoreError, match="keeps no events"):
            await server.drop_cursor("billing")
        assert await server.cursors() == ()
    with pytest.raises(RuntimeError, match="the server is stopped"):
        await server.cursors()


# ── with a cursor ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cursor_goes_on_where_it_was(serve: Serve, transport: MemoryTransport, tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    async with serve(store=SqliteStore(path)) as server:
        await lease(transport, 1)
        assert await nothing(server.events(cursor="billing"))
        for client in (2, 3, 4):
            await lease(transport, client)
        async with server.events(cursor="billing") as stream:
            first, second = await some(stream, 2)
            assert [first.sequence, second.sequence] == [1, 2]
        # The second was not done with when the consumer went.
        assert [event.sequence for event in await some(server.events(cursor="billing"), 1)] == [2]
        async with server.events(cursor="billing") as stream:
            await anext(stream)
            await stream.acknowledge()
            assert [(each.name, each.handled, each.behind) for each in await server.cursors()] == [("billing", 2, 1)]
    # Nobody listens, and it is kept nevertheless.
    async with serve(store=SqliteStore(path)):
        await lease(transport, 5)
    async with serve(store=SqliteStore(path)) as server:
        stream = server.events(cursor="billing")
        assert [(event.sequence, event.lease.chaddr[-1]) for event in await some(stream, 2)] == [(3, 4), (4, 5)]
        await lease(transport, 6)
        (event,) = await some(stream, 1)
        assert (event.sequence, event.lease.chaddr[-1], event.previous) == (5, 6, None)


async def test_two_cursors_are_two_consumers(serve: Serve, transport: MemoryTransport, sqlite: SqliteStore) -> None:
    async with serve(store=sqlite) as server:
        first = server.events(cursor="first")
        assert await nothing(first)
        await lease(transport, 1)
        second = server.events(cursor="second")
        assert await nothing(second)
        await lease(transport, 2)
        assert [event.sequence for event in await some(first, 2)] == [1, 2]
        assert [event.sequence for event in await some(second, 1)] == [2]


async def test_the_newer_consumer_takes_the_place_of_the_older(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore
) -> None:
    async with serve(store=sqlite) as server:
        older = server.events(cursor="c")
        assert await nothing(older)
        for client in (1, 2, 3):
            await lease(transport, client)
        await some(older, 3)
        newer = server.events(cursor="c")
        # What was asked behind is handled, though it is not written yet.
        assert [event.sequence for event in await some(newer, 1)] == [3]
        with pytest.raises(AiodhcpError, match="the cursor 'c' is followed by another stream now"):
            await anext(older)
        with pytest.raises(AiodhcpError, match="followed by another"):
            await older.acknowledge()


async def test_a_new_cursor_may_begin_with_what_is_there(
    serve: Serve, transport: MemoryTransport, tmp_path: Path
) -> None:
    path = tmp_path / "leases.db"
    async with serve(store=SqliteStore(path)) as server:
        for client in (1, 2, 3):
            address = await lease(transport, client)
        transport.deliver(release(3, address))
        await turns()
        stream = server.events(cursor="c", from_start=True)
        (event,) = await some(stream, 1)
        assert (event.sequence, event.kind, event.previous) == (0, "granted", None)
        await lease(transport, 4)
    # It has not heard all of it: it begins again, whatever it says now.
    async with serve(store=SqliteStore(path)) as server:
        stream = server.events(cursor="c")
        events = await some(stream, 3)
        assert [(event.sequence, event.lease.chaddr[-1]) for event in events] == [(0, 1), (0, 2), (0, 4)]
        assert await nothing(stream)
        await lease(transport, 5)
        (event,) = await some(stream, 1)
        assert (event.sequence, event.lease.chaddr[-1]) == (2, 5)
    async with serve(store=SqliteStore(path)) as server:
        stream = server.events(cursor="c", from_start=True)
        assert [event.sequence for event in await some(stream, 1)] == [2]


async def test_from_the_start_where_nothing_is(serve: Serve, transport: MemoryTransport, tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    async with serve(store=SqliteStore(path)) as server:
        assert await nothing(server.events(cursor="c", from_start=True))
        await lease(transport, 1)
    async with serve(store=SqliteStore(path)) as server:
        stream = server.events(cursor="c", from_start=True)
        assert [(event.sequence, event.kind) for event in await some(stream, 1)] == [(1, "granted")]


async def test_a_cursor_that_is_dropped(serve: Serve, transport: MemoryTransport, sqlite: SqliteStore) -> None:
    async with serve(store=sqlite) as server:
        stream = server.events(cursor="c")
        assert await nothing(stream)
        await lease(transport, 1)
        assert await server.drop_cursor("c")
        assert not await server.drop_cursor("c")
        assert await server.cursors() == []
        with pytest.raises(AiodhcpError, match="the cursor 'c' was dropped"):
            await anext(stream)
        # A new one of that name begins now, and the numbers go on.
        stream = server.events(cursor="c")
        assert await nothing(stream)
        await lease(transport, 2)
        assert [event.sequence for event in await some(stream, 1)] == [2]


async def test_a_consumer_that_waits_may_be_cancelled(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore
) -> None:
    async with serve(store=sqlite) as server:
        stream = await server.events(cursor="c").__aenter__()
        seen: list[int] = []
        # Cancelled at each point of its way.
        for number in range(1, 31):
            if number % 3 == 0:
                await lease(transport, number)
            waiting = asyncio.create_task(anext(stream))
            await turns(number)
            if waiting.done():
                seen.append(waiting.result().sequence)
            else:
                waiting.cancel()
                await asyncio.wait([waiting])
        while len(seen) < 10:
            seen += [event.sequence for event in await some(stream, 1)]
        assert seen == list(range(1, 11))


async def test_a_store_that_can_not_be_read(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(store=sqlite) as server:
        stream = server.events(cursor="c")
        assert await nothing(stream)
        await lease(transport, 1)
        assert sqlite._database is not None
        sqlite._database.execute("ALTER TABLE event RENAME TO elsewhere")
        with pytest.raises(StoreError, match="events can't be read or written: no such table: event"):
            await anext(stream)
        sqlite._database.execute("ALTER TABLE elsewhere RENAME TO event")
        assert await kinds(stream, 1) == ["granted"]
        assert sqlite._database.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_what_can_not_be_written_at_the_end_is_said(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(store=sqlite) as server:
        stream = server.events(cursor="c")
        assert await nothing(stream)
        for client in (1, 2, 3):
            await lease(transport, client)
        await some(stream, 3)
        assert sqlite._database is not None
        sqlite._database.execute("ALTER TABLE cursor RENAME TO elsewhere")
        await server.stop()
    assert [each for each in caplog.messages if "no such table: cursor" in each]
    with pytest.raises(StoreError, match="the stream has ended"):
        await stream.acknowledge()


# ── beside the server ────────────────────────────────────────────────────────────────────────────────────────────


class Follower:
    """A plugin that follows the events."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.ended: list[str] = []

    @hookimpl
    def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        if code is ControlCode.START:
            server.spawn(self.follow(server), "follower")
        elif code is ControlCode.STOP:
            self.ended.append("stop")

    async def follow(self, server: DhcpServer) -> None:
        try:
            async for event in server.events(cursor="follower"):
                self.seen.append(event.sequence)
        finally:
            self.ended.append("follower")


async def begun(server: DhcpServer) -> None:
    """A plugin's cursor has begun: it knows of what comes."""
    await until(lambda: "follower" in server._events._following and server._events._following["follower"]._begun)


async def test_a_plugin_follows_the_events(serve: Serve, transport: MemoryTransport, sqlite: SqliteStore) -> None:
    plugin = Follower()
    async with serve(plugin, store=sqlite) as server:
        await begun(server)
        await lease(transport, 1)
        await until(lambda: plugin.seen)
    assert plugin.seen == [1]
    assert plugin.ended == ["follower", "stop"]


class Refusing:
    """A plugin that refuses what it is told."""

    def __init__(self, code: str) -> None:
        self.code = code

    @hookimpl
    async def dhcp_control(self, code: ControlCode) -> None:
        await turns()  # in which what others spawned begins
        if code.name == self.code:
            raise ValueError("not now")

    @hookimpl
    def config_loaded(self) -> None:
        if self.code == "config":
            raise ValueError("not this one")


async def test_after_a_reload_the_new_plugin_follows_the_events(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Follower(), Follower()
    async with serve(first, store=sqlite) as server:
        await begun(server)
        await lease(transport, 1)
        await until(lambda: first.seen)
        await server.reload(plugins=[second])
        assert first.ended == ["follower", "stop"]
        await lease(transport, 2)
        await until(lambda: second.seen)
        # The very same object stays, with what it began.
        await server.reload(config(), plugins=[second])
        await lease(transport, 3)
        await until(lambda: len(second.seen) == 2)
        await server.reload(plugins=[])
        assert second.ended == ["follower", "stop"]
    assert (first.seen, second.seen) == ([1], [2, 3])
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("refuses", ["START", "config"])
async def test_after_a_reload_that_is_refused_the_old_one_goes_on(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore, refuses: str
) -> None:
    old, new = Follower(), Follower()
    async with serve(old, store=sqlite) as server:
        await begun(server)
        await lease(transport, 1)
        await until(lambda: old.seen)
        with pytest.raises(ConfigError, match="refused"):
            await server.reload(plugins=[new, Refusing(refuses)])
        assert sorted(new.ended) == ["follower", "stop"]
        await lease(transport, 2)
        await until(lambda: len(old.seen) == 2)
        assert (old.ended, new.seen) == ([], [])


async def test_what_a_plugin_spawns_before_it_refuses_the_start_ends(serve: Serve) -> None:
    class Both(Refusing):
        @hookimpl
        async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
            self.task = server.spawn(asyncio.sleep(3600))
            await super().dhcp_control(code)

    both = Both("START")
    async with serve() as server:
        embedder = server.spawn(asyncio.sleep(3600))
        with pytest.raises(ConfigError, match="refused the start"):
            await server.reload(plugins=[both])
        assert both.task.cancelled()
        assert not embedder.done()


async def test_streams_that_begin_while_a_plugin_starts(
    serve: Serve, transport: MemoryTransport, sqlite: SqliteStore
) -> None:
    """The first waits for the reload and is told that another one came; the other takes the place of the old one."""
    streams: list[EventStream] = []

    class Starting:
        @hookimpl
        def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
            if code is ControlCode.START:
                streams.extend([server.events(cursor="c"), server.events(cursor="c")])

    async with serve(store=sqlite) as server, server.events(cursor="c") as old:
        await lease(transport, 1)
        (first,) = await some(old, 1)
        with pytest.raises(ConfigError, match="refused"):
            await server.reload(plugins=[Starting(), Refusing("START")])
        for stream, words in zip(
            streams, ("is followed by another stream now", "by another stream still"), strict=True
        ):
            with pytest.raises(AiodhcpError, match=words):
                await anext(stream)
        streams.clear()
        await lease(transport, 2)
        (second,) = await some(old, 1)
        await server.reload(plugins=[Starting()])
        # What the old one was given last is not handled.
        with pytest.raises(AiodhcpError, match="is followed by another stream now"):
            await anext(old)
        (again,) = await some(streams[1], 1)
        assert (first.sequence, again) == (1, second)


async def test_what_is_spawned_ends_with_the_server(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OSError("no route")

    async def stay() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if server.health.status == "stopped":
                    raise

    async def stop() -> None:
        await server.stop()

    server: DhcpServer
    async with serve(stop_timeout=0.05) as server:
        server.spawn(fail(), "failing")
        await until(lambda: caplog.records)
        staying = server.spawn(stay(), "staying")
        stopping = server.spawn(stop())
        await asyncio.wait([stopping])
        staying.cancel()
        await asyncio.wait([staying])
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert said == [
        "the task 'failing' ended with an error",
        "the task 'staying' does not end and is not waited for any longer",
    ]
    with pytest.raises(RuntimeError, match="the server is stopped"):
        server.spawn(fail())
