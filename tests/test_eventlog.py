"""The events that the SQLite store keeps: the same as the commits, whatever is folded, killed, damaged or forgotten."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from test_stores import a_lease, leases, table, until, value

from aiodhcp import EventStore, Lease, LeaseEvent, LeaseState, MemoryStore, SqliteStore, StoreError
from aiodhcp.events import event_of
from aiodhcp.stores import eventlog, schema, sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.db"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that fold a few leases, too, when there is time."""
    monkeypatch.setattr(sqlite, "WORTH_IT", 0.0)


@pytest.fixture
async def store(path: Path, eager: None) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.load()
    yield store
    await store.close()


async def all_after(store: EventStore, sequence: int = 0) -> list[LeaseEvent]:
    found: list[LeaseEvent] = []
    while events := await store.events_after(sequence):
        found += events
        sequence = events[-1].sequence
    return found


def rows(path: Path) -> int:
    return int(str(value(path, "SELECT count(*) FROM event")))


def test_which_stores_keep_events(path: Path) -> None:
    assert isinstance(SqliteStore(path), EventStore)
    assert not isinstance(MemoryStore(), EventStore)
    with pytest.raises(ValueError, match="max_events: expected at least 1, got 0"):
        SqliteStore(path, max_events=0)


async def test_nothing_is_kept_for_nobody(store: SqliteStore, path: Path) -> None:
    await store.commit(leases(10))
    assert (await store.cursors(), rows(path)) == ([], 0)
    assert await store.open_cursor("c") == (0, ())
    await store.commit(leases(1))
    assert [(each.name, each.handled, each.behind) for each in await store.cursors()] == [("c", 0, 1)]
    (event,) = await all_after(store)
    # The lease before was committed before there was a cursor.
    assert (event.sequence, event.kind, event.previous) == (1, "renewed", a_lease(0))


async def test_events_are_what_was_committed_whatever_is_folded_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a table of what was known, with folds and restarts at any moment."""
    monkeypatch.setattr(sqlite, "JOURNAL_LIMIT", 40)
    monkeypatch.setattr(sqlite, "FOLDED_AT_ONCE", 5)
    monkeypatch.setattr(eventlog, "EVENTS_A_ROW", 4)
    monkeypatch.setattr(eventlog, "READ_AT_ONCE", 8)
    chance = random.Random(7)
    known: dict[int, Lease] = {}
    expected: list[LeaseEvent] = []
    store = SqliteStore(path)
    await store.load()
    for number in range(300):
        if number == 20:
            # Some are in the journal, some in the table.
            await store.open_cursor("c")
        # Addresses more than once, too, and commits of nothing.
        changes = [
            a_lease(chance.randrange(30), starts=1_700_000_000 + chance.randrange(3))._replace(
                state=chance.choice(list(LeaseState)), hostname=str(number)
            )
            for _ in range(chance.randrange(12))
        ]
        await store.commit(changes)
        for lease in changes:
            if number >= 20:
                expected.append(event_of(len(expected) + 1, known.get(lease.address), lease))
            known[lease.address] = lease
        if chance.random() < 0.03:
            await store.close()
            store = SqliteStore(path)
            assert sorted(await store.load()) == sorted(known.values())
    assert await all_after(store) == expected
    assert await all_after(store, 1000) == expected[1000:]
    await store.move_cursor("c", 1234)
    assert (await all_after(store, 1234)) == expected[1234:]
    await store.close()


async def test_the_same_transaction(store: SqliteStore, path: Path) -> None:
    await store.open_cursor("c")
    await store.commit(leases(3))
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(sqlite3.Error, match="disk full"):
        await store.commit(leases(3, 2))
    assert sqlite.read_leases(path) == leases(3)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TRIGGER full")
    await store.commit(leases(3, 2))
    events = await all_after(store)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.previous for event in events] == [None, None, None, a_lease(2), None, None]
    # And the other way round.
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    with pytest.raises(sqlite3.Error, match="disk full"):
        await store.commit(leases(1))
    assert len(await all_after(store)) == 6


async def test_what_everybody_has_handled_is_removed(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "ROWS_AT_ONCE", 2)
    await store.open_cursor("one")
    await store.open_cursor("two")
    for number in range(10):
        await store.commit(leases(2, 2 * number))
    await store.move_cursor("one", 20)
    assert rows(path) == 10
    await store.move_cursor("two", 7)
    await store.move_cursor("two", 7)
    # The row in the middle of which it stands, and those behind.
    assert rows(path) == 7
    assert [event.sequence for event in await all_after(store, 7)] == list(range(8, 21))
    # It never goes back, and not beyond what there is.
    await store.move_cursor("two", 3)
    await store.move_cursor("one", 99)
    await store.move_cursor("nobody", 5)
    assert [(each.name, each.handled, each.behind) for each in await store.cursors()] == [
        ("one", 20, 0),
        ("two", 7, 13),
    ]
    assert await store.drop_cursor("two")
    # Of what is left one row stays, from which the numbers go on, once there is time.
    await until(lambda: rows(path) == 1)
    assert await store.drop_cursor("one")
    await store.commit(leases(1))
    await store.close()
    await store.load()
    assert (await store.open_cursor("again"))[0] == 20
    await store.commit(leases(1))
    assert [event.sequence for event in await all_after(store, 20)] == [21]


async def test_a_cursor_that_nobody_reads_does_not_fill_the_disk(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(path, max_events=40)
    await store.load()
    await store.open_cursor("idle")
    await store.open_cursor("busy")
    for number in range(100):
        await store.commit(leases(2))
        await store.move_cursor("busy", 2 * number + 2)
        assert rows(path) <= 23
    assert caplog.messages == [
        f"{path}: 22 events wait for the cursor 'idle'; beyond 40 the oldest are dropped",
        f"{path}: the cursor 'idle' is too far behind: the oldest events are lost to it",
    ]
    # Its consumer sees by the numbers what it has missed.
    events = await all_after(store, 0)
    assert 40 <= len(events) <= 46
    assert [event.sequence for event in events] == list(range(201 - len(events), 201))
    await store.close()
    await store.load()
    assert await all_after(store, 0) == events
    await store.move_cursor("idle", 200)
    assert rows(path) == 1
    await store.close()


async def test_old_events_that_can_not_be_dropped(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    store = SqliteStore(path, max_events=2)
    await store.load()
    await store.open_cursor("c")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER kept BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'broken'); END")
    for _ in range(4):
        # The commit is done, whatever becomes of them.
        await store.commit(leases(1))
    assert any("old events can't be dropped now: broken" in each for each in caplog.messages)
    with pytest.raises(StoreError, match="broken"):
        await store.move_cursor("c", 4)
    await store.close()


async def test_the_leases_that_are_there_at_one_instant(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "ROWS_AT_ONCE", 7)
    gone = a_lease(3)._replace(state=LeaseState.RELEASED)
    await store.commit(leases(40))
    await until(lambda: table(path) == 40)
    await store.commit([gone, *leases(10, 35)])
    expected = [lease for lease in leases(45) if lease.address != gone.address]
    for _ in range(2):
        handled, present = await store.open_cursor("c", from_start=True)
        assert (handled, list(present)) == (0, expected)
    await store.commit(leases(1, 50))
    handled, present = await store.open_cursor("c")
    assert (handled, list(present)) == (1, [*expected, a_lease(50)])
    await store.move_cursor("c", 1)
    assert await store.open_cursor("c", from_start=True) == (1, ())


async def test_a_file_of_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:-1])
        with closing(sqlite3.connect(path)) as database:
            schema.migrate(database, path)
            database.execute(sqlite._PUT[1], (a_lease(1).address, sqlite.pack(a_lease(1))))
            database.commit()
    store = SqliteStore(path)
    assert list(await store.load()) == [a_lease(1)]
    await store.open_cursor("c")
    await store.close()


async def test_events_that_are_damaged(store: SqliteStore, path: Path) -> None:
    await store.open_cursor("c")
    await store.commit(leases(1))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE event SET leases = x'0102'")
    with pytest.raises(StoreError, match=f"{path}: is damaged: event 1: no lease at offset 0"):
        await store.events_after(0)


async def test_leases_that_are_damaged(store: SqliteStore, path: Path) -> None:
    await store.commit(leases(1))
    await until(lambda: table(path) == 1)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE lease SET octets = x'0102'")
    with pytest.raises(StoreError, match=f"{path}: is damaged: no lease at offset 0"):
        await store.open_cursor("c", from_start=True)


async def test_a_store_that_is_not_open(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match=f"{path}: is not open"):
        await store.cursors()
    await store.load()
    await store.close()
    with pytest.raises(StoreError, match="is not open"):
        await store.events_after(0)
