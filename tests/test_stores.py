"""The contract of a store, for each of them; then what SQLite promises besides."""
# ruff: noqa: ASYNC240 - a test may wait for a disk

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aiodhcp import Lease, LeaseState, MemoryStore, SqliteStore, Store, StoreError
from aiodhcp.leases import NEVER
from aiodhcp.packing import pack
from aiodhcp.stores import commitlog, schema, sqlite
from aiodhcp.stores.schema import APPLICATION_ID, MIGRATIONS
from aiodhcp.stores.sqlite import read_leases

BASE = 0x0A000000


def a_lease(number: int, *, starts: int = 1_700_000_000, hostname: str | None = None) -> Lease:
    chaddr = b"\x02\x00" + number.to_bytes(4, "big")
    return Lease(BASE + number, b"\x01" + chaddr, 1, chaddr, LeaseState.ACTIVE, starts, starts + 3600, hostname)


def leases(count: int, first: int = 0) -> list[Lease]:
    return [a_lease(number) for number in range(first, first + count)]


STRANGE = (
    Lease(0, b"\x00", 0, b"", LeaseState.ACTIVE, 0, 0, None),
    Lease(1, b"\xff" * 255, 32, bytes(range(16)), LeaseState.ACTIVE, 1, NEVER, ""),
    Lease(
        2, b"\x01\x02", 1, b"\x02", LeaseState.ACTIVE, 0, 9, None, "line=7", b"\1\4eth7", 0, b"\0" + bytes(range(15))
    ),
    Lease(0x7FFFFFFF, b"\x01", 255, b"\0", LeaseState.RELEASED, 0, 2**31, "größer-λ-机-🖧"),
    Lease(0x80000000, b"\x01\x02", 1, b"\0" * 16, LeaseState.EXPIRED, 2**32, 2**33, "a\0b'; DROP TABLE lease; --"),
    Lease(0xFFFFFFFF, b"\x00\x80\xff", 1, b"\x80", LeaseState.DECLINED, 5, 6, "\ufffd" * 255),
)


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that can't sync files by itself, so that commits go into the journal."""

    def syncer(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(commitlog, "Syncer", syncer)


# ── every store ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["memory", "sqlite", "sqlite without a log", "sqlite with events", "json lines"])
async def reopened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], Store]]:
    """Gives a store, and then each time another one on the same leases, where it can."""
    opened: list[Store] = []
    memory = MemoryStore()
    if request.param == "sqlite with events":
        store = SqliteStore(tmp_path / "leases.db")
        await store.load()
        await store.open_cursor("c")
        await store.close()
    if request.param == "sqlite without a log":
        request.getfixturevalue("no_log")
    # The one of an appliance of its own.
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "examples" / "embedding")

    def make() -> Store:
        if request.param == "memory":
            opened.append(memory)
        elif request.param == "json lines":
            opened.append(importlib.import_module("own_store").JsonLinesStore(tmp_path / "leases.jsonl"))
        else:
            opened.append(SqliteStore(tmp_path / "leases.db"))
        return opened[-1]

    yield make
    for store in opened:
        await store.close()


async def test_an_empty_store_has_no_leases(reopened: Callable[[], Store]) -> None:
    assert list(await reopened().load()) == []


async def test_what_was_committed_is_loaded(reopened: Callable[[], Store]) -> None:
    store = reopened()
    await store.load()
    assert list(await store.commit(STRANGE)) == []
    await store.close()
    loaded = sorted(await reopened().load())
    assert loaded == sorted(STRANGE)
    for lease in loaded:
        assert isinstance(lease, Lease)
        assert isinstance(lease.state, LeaseState)
        assert type(lease.client) is bytes
        assert type(lease.chaddr) is bytes


async def test_a_lease_takes_the_place_of_the_one_before(reopened: Callable[[], Store]) -> None:
    store = reopened()
    await store.load()
    await store.commit(leases(10))
    another = a_lease(3)._replace(client=b"\x01another", hostname="another", state=LeaseState.RELEASED)
    await store.commit([another])
    await store.close()
    assert sorted(await reopened().load()) == sorted([another, *(each for each in leases(10) if each != a_lease(3))])


async def test_the_same_changes_may_come_again(reopened: Callable[[], Store]) -> None:
    store = reopened()
    await store.load()
    for _ in range(3):
        await store.commit(leases(70))
    await store.close()
    assert sorted(await reopened().load()) == leases(70)


async def test_batches_of_every_size(reopened: Callable[[], Store]) -> None:
    store = reopened()
    await store.load()
    expected: list[Lease] = []
    for size in (*range(131), 511, 512, 513, 1200):
        batch = leases(size, len(expected))
        await store.commit(batch)
        expected += batch
    assert len(expected) > 8000
    await store.close()
    assert sorted(await reopened().load()) == expected


async def test_a_store_goes_on_where_another_ended(reopened: Callable[[], Store]) -> None:
    for number in range(3):
        store = reopened()
        assert len(list(await store.load())) == number
        await store.commit([a_lease(number)])
        await store.close()


async def test_closing_twice_and_unopened(reopened: Callable[[], Store]) -> None:
    await reopened().close()
    store = reopened()
    await store.load()
    await store.close()
    await store.close()


async def test_a_memory_store_begins_with_what_it_is_given() -> None:
    store = MemoryStore(leases(3))
    assert list(await store.load()) == leases(3)
    assert store.leases[BASE + 2] == a_lease(2)


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    await store.close()


def execute(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


def value(path: Path, query: str) -> object:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchone()[0]


async def load_and_close(path: Path) -> list[Lease]:
    store = SqliteStore(path)
    try:
        return list(await store.load())
    finally:
        await store.close()


async def refusal(path: Path) -> str:
    """Why a file isn't opened. It must be said again the second time: what failed holds no lock."""
    said = set()
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            await load_and_close(path)
        said.add(str(caught.value))
    assert len(said) == 1
    return said.pop()


async def test_commits_are_durable(store: SqliteStore) -> None:
    await store.load()
    database = store._database
    assert database is not None
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_a_commit_leaves_no_transaction_open(store: SqliteStore, path: Path) -> None:
    await store.load()
    for size in (1, 3, 600):
        await store.commit(leases(size))
        database = store._database
        assert database is not None
        assert not database.in_transaction
        assert len(read_leases(path)) == size


async def test_the_schema_says_whose_it_is(store: SqliteStore, path: Path) -> None:
    await store.load()
    assert value(path, "PRAGMA application_id") == APPLICATION_ID
    assert value(path, "PRAGMA user_version") == len(MIGRATIONS)


async def test_missing_directories_are_made(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "leases.db"
    assert await load_and_close(path) == []
    assert path.is_file()


async def test_the_path_may_be_a_string(path: Path) -> None:
    store = SqliteStore(str(path))
    await store.load()
    await store.commit(leases(1))
    await store.close()
    assert read_leases(str(path)) == leases(1)


# One server at a time


HOLDER = """
import asyncio, sys
from aiodhcp import SqliteStore, StoreError

async def main():
    store = SqliteStore(sys.argv[1])
    try:
        rows = list(await store.load())
    except StoreError as error:
        print("refused:", error, flush=True)
        return
    await store.commit([row._replace(hostname="held") for row in rows])
    print("loaded", len(rows), flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def another_process(path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that has the file open until its input ends, and what it says of it."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def test_a_second_store_in_the_same_process_is_refused(store: SqliteStore, path: Path) -> None:
    await store.load()
    await store.commit(leases(2))
    said = await refusal(path)
    assert str(path) in said
    assert f"process {os.getpid()}" in said
    # The first one is none the worse for it.
    await store.commit(leases(2, 2))
    await store.close()
    assert await load_and_close(path) == leases(4)


async def test_a_store_is_not_loaded_twice(store: SqliteStore, path: Path) -> None:
    await store.load()
    with pytest.raises(StoreError, match="in use"):
        await store.load()
    await store.commit(leases(1))
    assert read_leases(path) == leases(1)


async def test_another_process_is_refused(store: SqliteStore, path: Path) -> None:
    await store.load()
    with another_process(path) as (_, said):
        assert said.startswith(f"refused: {path} is in use by another server (process {os.getpid()})")


async def test_a_killed_process_holds_nothing(store: SqliteStore, path: Path) -> None:
    await store.load()
    await store.commit(leases(3))
    await store.close()
    with another_process(path) as (process, said):
        assert said == "loaded 3"
        assert f"process {process.pid}" in await refusal(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Its last commit is in the WAL only.
        expected = [lease._replace(hostname="held") for lease in leases(3)]
        assert read_leases(path) == expected
        assert list(await store.load()) == expected


async def test_a_holder_that_left_no_name(path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with path.with_name("leases.db.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = await refusal(path)
    assert said.startswith(f"{path} is in use by another server: stop that one first")
    assert await load_and_close(path) == []


# Files that are not to be had


async def test_not_a_database(path: Path) -> None:
    path.write_bytes(b"lease 192.0.2.10 {\n  starts 4 2024/01/01 00:00:00;\n}\n" * 100)
    before = path.read_bytes()
    said = await refusal(path)
    assert said == f"{path}: is damaged or can't be read: file is not a database"
    with pytest.raises(StoreError, match="file is not a database"):
        read_leases(path)
    assert path.read_bytes() == before


async def test_somebody_elses_database(path: Path) -> None:
    execute(path, "CREATE TABLE hosts (name TEXT)")
    said = await refusal(path)
    assert said == f"{path}: is an SQLite file, but not one of aiodhcp's"
    with pytest.raises(StoreError, match="is not a lease file of aiodhcp"):
        read_leases(path)
    assert value(path, "SELECT group_concat(name) FROM sqlite_master") == "hosts"


async def test_somebody_elses_empty_database_with_a_version(path: Path) -> None:
    execute(path, "PRAGMA user_version = 3; PRAGMA application_id = 77")
    assert "not one of aiodhcp's" in await refusal(path)


async def test_a_newer_schema(path: Path) -> None:
    await load_and_close(path)
    execute(path, "PRAGMA user_version = 99")
    said = await refusal(path)
    assert said == f"{path}: was written by a newer version of aiodhcp (schema 99; this one knows {len(MIGRATIONS)})"


async def test_an_unknown_state(path: Path) -> None:
    await load_and_close(path)
    strange = pack(a_lease(1))[:5] + b"\x09" + pack(a_lease(1))[6:]
    execute(path, f"INSERT INTO lease VALUES (167772161, x'{strange.hex()}')")
    said = await refusal(path)
    assert said == f"{path}: is damaged: a lease has state 9, which doesn't exist"
    with pytest.raises(StoreError, match="a lease has state 9"):
        read_leases(path)


async def test_a_host_name_that_is_no_text(path: Path) -> None:
    await load_and_close(path)
    strange = pack(a_lease(1, hostname="name")).replace(b"name", b"na\xffe")
    execute(path, f"INSERT INTO lease VALUES (167772161, x'{strange.hex()}')")
    assert f"{path}: is damaged: these are not the octets of a lease: 'utf-8' codec can't decode" in await refusal(path)


async def test_a_lease_that_is_cut_short(path: Path) -> None:
    await load_and_close(path)
    for octets, why in (
        (pack(a_lease(1))[:-1], "a lease has 39 octets instead of 40"),
        (pack(a_lease(1)) + b"x", "a lease has 41 octets instead of 40"),
        (b"lease", "these are not the octets of a lease: unpack_from requires a buffer of at least 33 bytes"),
    ):
        execute(path, f"INSERT OR REPLACE INTO lease VALUES (167772161, x'{octets.hex()}')")
        assert (await refusal(path)).startswith(f"{path}: is damaged: {why}")


async def test_a_missing_table(path: Path) -> None:
    await load_and_close(path)
    execute(path, "DROP TABLE lease")
    assert "no such table: lease" in await refusal(path)


async def test_a_directory_where_the_file_should_be(path: Path) -> None:
    path.mkdir()
    assert await refusal(path) == f"{path}: is damaged or can't be read: unable to open database file"


async def test_a_file_where_the_directory_should_be(path: Path) -> None:
    path.write_text("")
    below = path / "leases.db"
    assert (await refusal(below)).startswith(f"{below}: ")
    assert path.read_text() == ""


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
async def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert await refusal(tmp_path / "leases.db") == f"{tmp_path / 'leases.db'}: Permission denied"
    finally:
        tmp_path.chmod(0o700)


# Versions of the schema


async def test_from_version_0(path: Path) -> None:
    execute(path, f"PRAGMA application_id = {APPLICATION_ID}")
    assert await load_and_close(path) == []
    assert value(path, "PRAGMA user_version") == len(MIGRATIONS)


async def test_leases_survive_a_new_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(5))
    await store.close()
    more = (*MIGRATIONS, "ALTER TABLE lease ADD COLUMN note TEXT; UPDATE lease SET note = 'kept';", "SELECT 1;")
    monkeypatch.setattr(schema, "MIGRATIONS", more)
    assert await load_and_close(path) == leases(5)
    assert value(path, "PRAGMA user_version") == len(MIGRATIONS) + 2
    assert value(path, "SELECT count(*) FROM lease WHERE note = 'kept'") == 5


async def test_an_older_version_can_be_read(path: Path) -> None:
    execute(path, f"{MIGRATIONS[0]} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    execute(path, "INSERT INTO lease VALUES (167772161, x'01', 1, x'02', 1, 0, 0, 'pc')")
    expected = [Lease(167772161, b"\1", 1, b"\2", LeaseState.ACTIVE, 0, 0, "pc")]
    assert read_leases(path) == expected
    assert await load_and_close(path) == expected
    assert value(path, "PRAGMA user_version") == len(MIGRATIONS)


async def test_what_a_lease_is_counted_under_is_kept(store: SqliteStore, path: Path) -> None:
    await store.load()
    lease = Lease(167772161, b"\1", 1, b"\2", LeaseState.ACTIVE, 0, 0, None, "line=0007")
    await store.commit([lease])
    assert read_leases(path) == [lease]


async def test_what_a_relay_agent_said_is_kept(store: SqliteStore, path: Path) -> None:
    await store.load()
    lease = Lease(167772161, b"\1", 1, b"\2", LeaseState.ACTIVE, 0, 0, None, None, b"\1\4eth7")
    await store.commit([lease])
    assert read_leases(path) == [lease]


async def test_the_nonce_of_a_client_is_kept(store: SqliteStore, path: Path) -> None:
    await store.load()
    lease = Lease(167772161, b"\1", 1, b"\2", LeaseState.ACTIVE, 0, 0, nonce=bytes(range(16)))
    await store.commit([lease])
    assert read_leases(path) == [lease]


async def test_a_migration_that_fails_leaves_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(5))
    await store.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, "DELETE FROM lease; SELECT nothing;"))
        assert "nothing" in await refusal(path)
    assert value(path, "PRAGMA user_version") == len(MIGRATIONS)
    assert await load_and_close(path) == leases(5)


# All or nothing


def nameless(number: int) -> Lease:
    """A lease that no store can take."""
    return Lease._make([BASE + number, None, *a_lease(number)[2:]])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([nameless(0)], id="the only one"),
        pytest.param([*leases(7), nameless(7)], id="the last one"),
        pytest.param([nameless(0), *leases(585, 1)], id="the first of many"),
    ],
)
async def test_one_refused_lease_and_nothing_is_written(store: SqliteStore, path: Path, changes: list[Lease]) -> None:
    await store.load()
    before = [a_lease(number, hostname="before") for number in range(10)]
    await store.commit(before)
    with pytest.raises(ValueError, match="a field is out of range"):
        await store.commit(changes)
    assert read_leases(path) == before
    # The same without the bad one works then.
    good = [lease for lease in changes if lease.client is not None]
    await store.commit(good)
    assert len(read_leases(path)) == len({lease.address for lease in (*before, *good)})


@pytest.mark.usefixtures("no_log")
@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
async def test_whatever_ends_a_transaction(store: SqliteStore, path: Path, action: str) -> None:
    await store.load()
    execute(path, f"CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE({action}, 'disk full'); END")
    with pytest.raises(sqlite3.Error, match="disk full"):
        await store.commit(leases(9))
    assert read_leases(path) == []
    execute(path, "DROP TRIGGER full")
    await store.commit(leases(9))
    assert read_leases(path) == leases(9)


# What people see


async def test_the_table_can_be_read_with_other_programs(path: Path) -> None:
    store = SqliteStore(path)
    await store.load()
    forever = Lease(BASE + 2, b"\x00\xfe", 1, b"\xfe", LeaseState.RELEASED, 0, NEVER, "pc")
    await store.commit([a_lease(1, starts=1_800_000_000), forever])
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM readable").fetchall() == [
            ("10.0.0.1", "01020000000001", "active", "2027-01-15 08:00:00", "2027-01-15 09:00:00"),
            ("10.0.0.2", "00fe", "released", "1970-01-01 00:00:00", "never"),
        ]


# The journal


def table(path: Path) -> int:
    return int(str(value(path, "SELECT count(*) FROM lease")))


def journal(path: Path) -> int:
    return int(str(value(path, "SELECT count(*) FROM journal")))


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("no_log")
async def test_a_commit_is_in_the_journal_and_then_in_the_table(store: SqliteStore, path: Path) -> None:
    await store.load()
    await store.commit(leases(3))
    assert (table(path), journal(path)) == (0, 1)
    await until(lambda: journal(path) == 0)
    assert table(path) == 3
    assert read_leases(path) == leases(3)


async def test_closing_leaves_all_in_the_table(store: SqliteStore, path: Path) -> None:
    await store.load()
    for number in range(20):
        await store.commit(leases(100, 100 * number))
    await store.close()
    assert (table(path), journal(path)) == (2000, 0)


@pytest.mark.usefixtures("no_log")
async def test_a_busy_server_folds_its_journal_too(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "JOURNAL_LIMIT", 100)
    monkeypatch.setattr(sqlite, "FOLDED_AT_ONCE", 8)
    monkeypatch.setattr(sqlite, "QUIET", 3600.0)
    store = SqliteStore(path)
    await store.load()
    expected: dict[int, Lease] = {}
    deepest = 0
    for round_ in range(60):
        batch = [a_lease(number % 90, hostname=str(round_)) for number in range(7 * round_, 7 * round_ + 7)]
        await store.commit(batch)
        expected |= {lease.address: lease for lease in batch}
        # Whoever reads meanwhile, in the middle of it too, finds what was committed last.
        assert read_leases(path) == sorted(expected.values())
        deepest = max(deepest, journal(path))
    assert deepest < 60
    assert table(path) > 80
    await store.close()
    assert await load_and_close(path) == sorted(expected.values())


async def test_what_a_killed_server_left_in_the_journal_is_loaded(path: Path) -> None:
    await load_and_close(path)
    first, second = a_lease(1), a_lease(1, hostname="later")
    with closing(sqlite3.connect(path)) as database, database:
        for lease in (first, a_lease(2), second):
            database.execute("INSERT INTO journal (leases) VALUES (?)", (pack(lease),))
    assert read_leases(path) == [second, a_lease(2)]
    assert await load_and_close(path) == [second, a_lease(2)]
    assert journal(path) == 0


@pytest.mark.usefixtures("no_log")
async def test_a_journal_that_can_not_be_folded_is_kept(
    store: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await store.load()
    execute(path, "CREATE TRIGGER full BEFORE INSERT ON lease BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    await store.commit(leases(3))
    await until(lambda: bool(caplog.messages))
    await store.commit(leases(3, 3))
    await asyncio.sleep(3 * sqlite.QUIET)
    # Said once.
    assert caplog.messages == [f"{path}: what was committed stays in the journal for now: disk full"]
    assert read_leases(path) == leases(6)
    execute(path, "DROP TRIGGER full")
    await until(lambda: journal(path) == 0)
    assert table(path) == 6


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        pytest.param(b"no lease", "no lease at offset 0", id="something else"),
        pytest.param(pack(a_lease(1)) + pack(a_lease(2))[:-1], "the last lease is cut short", id="cut short"),
        pytest.param(
            pack(a_lease(1))[:5] + b"\x09" + pack(a_lease(1))[6:], "no lease at offset 0: 9", id="a strange state"
        ),
    ],
)
async def test_a_damaged_journal(path: Path, octets: bytes, why: str) -> None:
    await load_and_close(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO journal (leases) VALUES (?)", (octets,))
    assert (await refusal(path)).startswith(f"{path}: is damaged: entry 1 of the journal: {why}")
    with pytest.raises(StoreError, match="is damaged: entry 1 of the journal"):
        read_leases(path)


async def test_a_commit_whose_waiter_is_gone(store: SqliteStore, path: Path) -> None:
    await store.load()
    commit = asyncio.ensure_future(store.commit(leases(3)))
    await asyncio.sleep(0)
    commit.cancel()
    await store.commit(leases(3, 3))
    assert commit.cancelled()
    assert read_leases(path) == leases(6)


async def test_nothing_of_an_unfinished_commit_is_seen(store: SqliteStore, path: Path) -> None:
    await store.load()
    await store.commit(leases(600))
    seen: set[frozenset[str | None]] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(frozenset(lease.hostname for lease in read_leases(path)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for round_ in range(10):
            await store.commit([lease._replace(hostname=str(round_)) for lease in leases(600)])
    finally:
        done.set()
        watcher.join()
    assert seen
    assert all(len(names) == 1 for names in seen)


# Off the loop


@pytest.mark.usefixtures("no_log")
async def test_the_loop_goes_on_while_a_commit_blocks(store: SqliteStore, path: Path) -> None:
    await store.load()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        commit = asyncio.ensure_future(store.commit(leases(3)))
        for _ in range(10):
            await asyncio.sleep(0.005)
        assert not commit.done()
        other.execute("ROLLBACK")
    await commit
    assert read_leases(path) == leases(3)


async def test_the_thread_ends_with_the_store(path: Path) -> None:
    def ours() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("aiodhcp-sqlite")]

    before = len(ours())
    store = SqliteStore(path)
    await store.load()
    assert len(ours()) == before + 1
    await store.close()
    assert len(ours()) == before


# read_leases


async def test_leases_are_read_while_a_server_has_them(store: SqliteStore, path: Path) -> None:
    await store.load()
    assert read_leases(path) == []
    rows: Sequence[Lease] = leases(100)
    await store.commit(rows)
    assert read_leases(path) == rows
    await store.commit([rows[0]._replace(hostname="new")])
    assert read_leases(path)[0].hostname == "new"


async def test_reading_needs_no_server_and_changes_nothing(store: SqliteStore, path: Path) -> None:
    await store.load()
    await store.commit(STRANGE)
    await store.close()
    before = path.read_bytes()
    assert read_leases(path) == list(STRANGE)
    assert path.read_bytes() == before


async def test_reading_names_with_every_character(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c %41&mode=rwc.db"
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(1))
    await store.close()
    assert read_leases(path) == leases(1)


def test_reading_makes_no_file(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        read_leases(path)
    assert not path.exists()


def test_reading_an_empty_file(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="is not a lease file of aiodhcp"):
        read_leases(path)
