"""The log beside the SQLite file: what a crash, a full disk or another program leaves of it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_eventlog import eager, path, store  # noqa: F401 - they are fixtures
from test_stores import a_lease, execute, journal, leases, load_and_close, table, until, value

from aiodhcp import Lease, SqliteStore, StoreError
from aiodhcp.packing import pack
from aiodhcp.stores import commitlog, sqlite
from aiodhcp.stores.commitlog import LogFile, log_paths, read_log
from aiodhcp.stores.sqlite import read_leases
from aiodhcp.stores.syncer import Syncer


def logged(path: Path) -> list[list[bytes]]:
    """What the files of the log hold that is not in the table."""
    folded = int(str(value(path, "SELECT folded FROM log")))
    return [octets for generation, octets in read_log(path) if generation > folded]


async def until_folded(path: Path) -> None:
    await until(lambda: logged(path) == [])


def copied(path: Path, to: Path) -> Path:
    """The files as they are now: what a machine finds that lost its power."""
    to.mkdir()
    for each in path.parent.glob("leases.db*"):
        if not each.name.endswith(("-shm", ".lock")):
            shutil.copy(each, to / each.name)
    return to / path.name


# ── the way of a commit ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_commit_is_in_the_log_and_then_in_the_table(store: SqliteStore, path: Path) -> None:
    await store.commit(leases(3))
    assert logged(path) == [[b"".join(map(pack, leases(3)))]]
    assert table(path) == 0
    # Who reads the file meanwhile finds it in either.
    assert read_leases(path) == leases(3)
    await until_folded(path)
    assert table(path) == 3
    assert read_leases(path) == leases(3)


async def test_a_server_that_stops_leaves_one_file_that_has_it_all(path: Path) -> None:
    store = SqliteStore(path)
    await store.load()
    for number in range(20):
        await store.commit(leases(100, 100 * number))
    await store.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["leases.db", "leases.db.lock"]
    assert table(path) == 2000


async def test_a_busy_server_takes_turns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "JOURNAL_LIMIT", 50)
    monkeypatch.setattr(sqlite, "QUIET", 0.005)
    store = SqliteStore(path)
    await store.load()
    expected: dict[int, Lease] = {}
    generations = set()
    for round_ in range(300):
        batch = [a_lease(number % 90, hostname=str(round_)) for number in range(7 * round_, 7 * round_ + 7)]
        await store.commit(batch)
        expected |= {lease.address: lease for lease in batch}
        generations |= {generation for generation, _ in read_log(path)}
        # Whoever reads meanwhile, in the middle of it too, finds what was committed last.
        assert read_leases(path) == sorted(expected.values())
    assert len(generations) > 3
    await store.close()
    assert await load_and_close(path) == sorted(expected.values())


async def test_few_leases_stay_in_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting each renewal into the table would have the disk write everything twice."""
    monkeypatch.setattr(sqlite, "WORTH_IT", 0.25)
    monkeypatch.setattr(sqlite, "JOURNAL_LIMIT", 100)
    monkeypatch.setattr(sqlite, "LOGGED_A_PAGE", 1)
    monkeypatch.setattr(sqlite, "QUIET", 0.005)
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(24))
    await asyncio.sleep(0.1)
    assert table(path) == 0
    # A quarter of the limit is worth it.
    await store.commit(leases(1))
    await until(lambda: table(path) == 24)
    assert read_leases(path) == leases(24)
    await store.close()


async def test_few_leases_do_not_stay_in_the_log_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "QUIET", 0.005)
    monkeypatch.setattr(sqlite, "LATE", 0.2)
    store = SqliteStore(path)
    await store.load()
    for number in range(3):
        await store.commit(leases(1, number))
        # What comes later waits with it, and what comes after that for a time of its own.
        await asyncio.sleep(0.02)
        await store.commit(leases(1, number))
        await until(lambda number=number: table(path) == number + 1)  # type: ignore[misc]
    await store.close()
    assert await load_and_close(path) == leases(3)


async def test_a_large_table_has_a_long_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few leases among many each has a page of the table that has to be written for it."""
    monkeypatch.setattr(sqlite, "WORTH_IT", 1.0)
    monkeypatch.setattr(sqlite, "JOURNAL_LIMIT", 100)
    monkeypatch.setattr(sqlite, "QUIET", 0.005)
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(10_000))
    await store.close()
    limit = sqlite.LOGGED_A_PAGE * int(str(value(path, "PRAGMA page_count")))
    assert limit > 500
    store = SqliteStore(path)
    await store.load()
    later = [a_lease(number, hostname="later") for number in range(limit)]
    await store.commit(later[:500])
    await asyncio.sleep(0.1)
    assert [len(octets) for octets in logged(path)] == [1]
    await store.commit(later[500:])
    await until_folded(path)
    assert read_leases(path) == sorted([*later, *leases(10_000 - limit, limit)])
    await store.close()


async def test_a_file_grows_with_what_it_holds(store: SqliteStore, path: Path) -> None:
    await store.commit(leases(20_000))
    assert sum(each.stat().st_size for each in log_paths(path)) > commitlog.PREPARED * 3
    assert read_leases(path) == leases(20_000)


async def test_commits_that_do_not_wait_for_each_other(store: SqliteStore, path: Path) -> None:
    commits = [store.commit(leases(2, number)) for number in range(50)]
    commits[7].cancel()
    assert await asyncio.gather(*commits[8:]) == [()] * 42
    assert read_leases(path) == leases(51)


async def test_a_store_that_is_closed_while_it_commits(path: Path) -> None:
    store = SqliteStore(path)
    await store.load()
    commits = [store.commit(leases(2, number)) for number in range(5)]
    await store.close()
    assert [await commit for commit in commits] == [()] * 5
    assert await load_and_close(path) == leases(6)


async def test_who_follows_events_has_no_log(store: SqliteStore, path: Path) -> None:
    under_way = store.commit(leases(3))
    _, present = await store.open_cursor("c", from_start=True)
    assert under_way.done()
    assert list(present) == leases(3)
    assert not any(each.exists() for each in log_paths(path))
    await store.commit([a_lease(1, hostname="later")])
    assert [event.lease.hostname for event in await store.events_after(0)] == ["later"]
    assert read_leases(path) == [a_lease(0), a_lease(1, hostname="later"), a_lease(2)]


async def test_a_cursor_that_can_not_begin_yet(
    store: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Then commits go on, behind those that are in the log."""
    await store.commit([a_lease(1), a_lease(2)])
    execute(path, "CREATE TRIGGER full BEFORE INSERT ON lease BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(StoreError, match="disk full"):
        await store.open_cursor("c")
    await store.commit([a_lease(1, hostname="later")])
    assert read_leases(path) == [a_lease(1, hostname="later"), a_lease(2)]
    execute(path, "DROP TRIGGER full")
    await until(lambda: table(path) == 2)
    assert read_leases(path) == [a_lease(1, hostname="later"), a_lease(2)]
    await store.open_cursor("c")
    await store.close()
    assert await load_and_close(path) == [a_lease(1, hostname="later"), a_lease(2)]


# ── what a crash leaves ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_committed_before_a_crash(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    await store.commit([a_lease(1), a_lease(2)])
    await store.commit([a_lease(1, hostname="later")])
    left = copied(path, tmp_path / "left")
    assert table(left) == 0
    assert read_leases(left) == await load_and_close(left) == [a_lease(1, hostname="later"), a_lease(2)]
    # And again, with a log of its own.
    again = SqliteStore(left)
    await again.load()
    await again.commit([a_lease(3)])
    assert read_leases(left) == [a_lease(1, hostname="later"), *leases(2, 2)]
    await again.close()


@pytest.mark.usefixtures("eager")
async def test_a_crash_after_a_crash(path: Path, tmp_path: Path) -> None:
    """What is in the table stays there, whatever old files the log still has."""
    expected: dict[int, Lease] = {}
    for round_ in range(6):
        store = SqliteStore(path)
        assert list(await store.load()) == sorted(expected.values())
        for number in range(4):
            lease = a_lease(number % 3, hostname=f"{round_}.{number}")
            await store.commit([lease])
            expected[lease.address] = lease
            if number == round_ % 4:
                await until_folded(path)
        left = copied(path, tmp_path / str(round_))
        await store.close()
        path = left


@pytest.mark.usefixtures("eager")
async def test_both_files_are_left(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server ended while one of them was folded."""
    store = SqliteStore(path)
    await store.load()
    execute(path, "CREATE TRIGGER full BEFORE INSERT ON lease BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    await store.commit([a_lease(1, hostname="first"), a_lease(2)])
    await until(lambda: bool(caplog.messages))
    await store.commit([a_lease(1, hostname="second")])
    await asyncio.sleep(3 * sqlite.QUIET)
    # Said once.
    assert caplog.messages == [f"{path}: what was committed stays in the journal for now: disk full"]
    assert len(logged(path)) == 2
    left = copied(path, tmp_path / "left")
    assert read_leases(left) == [a_lease(1, hostname="second"), a_lease(2)]
    with pytest.raises(StoreError, match="disk full"):
        await load_and_close(left)
    for each in (left, path):
        execute(each, "DROP TRIGGER full")
    assert await load_and_close(left) == [a_lease(1, hostname="second"), a_lease(2)]
    await until_folded(path)
    await store.close()
    assert await load_and_close(path) == [a_lease(1, hostname="second"), a_lease(2)]


async def test_a_server_that_can_not_fold_at_its_end(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(path)
    await store.load()
    execute(path, "CREATE TRIGGER full BEFORE INSERT ON lease BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    await store.commit(leases(2))
    await store.close()
    assert read_leases(path) == leases(2)
    execute(path, "DROP TRIGGER full")
    assert await load_and_close(path) == leases(2)


@settings(max_examples=60, deadline=None)
@given(
    commits=st.lists(st.binary(max_size=60), min_size=1, max_size=6),
    before=st.lists(st.binary(max_size=60), max_size=6),
    data=st.data(),
)
def test_a_file_that_was_not_written_wholly(
    commits: list[bytes], before: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a machine that lost its power did not write, of what it wrote there is never anything else."""
    path = tmp_path_factory.mktemp("log") / "leases.db"
    first, _ = log_paths(path)
    file = LogFile(first)
    ends = [0]
    for all_octets in (before, commits):
        file.begin(file.generation)
        for octets in all_octets:
            file.append(octets, 1)
            ends.append(file._end)
    file.close()
    written = first.read_bytes()
    assert read_log(path) == [(file.generation, commits)]
    end = data.draw(st.integers(0, ends[-1]))
    kept = sum(each <= end for each in ends[1 + len(before) :])
    # The pages of the rest never came to the disk: zeros, or what was there before.
    rest = data.draw(st.just(bytes(len(written) - end)) | st.binary(max_size=200))
    first.write_bytes(written[:end] + rest)
    found = read_log(path)
    if kept:
        assert found[0][0] == file.generation
        assert found[0][1][:kept] == commits[:kept]
    # A record may end in zeros by itself.
    assert all(octets == commits[: len(octets)] for _, octets in found)


async def test_a_log_that_is_damaged(path: Path) -> None:
    await load_and_close(path)
    first, _ = log_paths(path)
    file = LogFile(first)
    file.begin(1 << 40)
    file.append(b"no lease", 1)
    file.close()
    for attempt in (load_and_close(path), asyncio.to_thread(read_leases, path)):
        with pytest.raises(StoreError, match=f"{path}: its log is damaged: no lease at offset 0"):
            await attempt


async def test_a_log_that_can_not_be_read(path: Path) -> None:
    await load_and_close(path)
    log_paths(path)[0].mkdir()
    for attempt in (load_and_close(path), asyncio.to_thread(read_leases, path)):
        with pytest.raises(StoreError, match=f"{path}: its log can't be read: .*directory"):
            await attempt


# ── what a disk refuses ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_disk_that_is_full(store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.commit(leases(1))
    with monkeypatch.context() as full:
        really = os.pwrite
        full.setattr(os, "pwrite", lambda descriptor, octets, at: really(descriptor, octets[:9], at))
        with pytest.raises(OSError, match="No space left"):
            await store.commit(leases(1, 1))
    assert read_leases(path) == leases(1)
    await store.commit(leases(1, 2))
    assert read_leases(path) == [a_lease(0), a_lease(2)]


async def test_a_disk_that_does_not_sync(store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(self: Syncer, descriptor: int) -> None:
        self._done(OSError(errno.EIO, os.strerror(errno.EIO)))

    def refuse(self: Syncer, descriptor: int) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    for broken, why in ((begin, "Input/output error"), (refuse, "temporarily unavailable")):
        with monkeypatch.context() as now:
            now.setattr(Syncer, "begin", broken)
            with pytest.raises(OSError, match=why):
                await store.commit(leases(1))
            gone = store.commit(leases(1))
            gone.cancel()
            # Linux takes what it could not write for written.
            for file in log_paths(path):
                file.write_bytes(bytes(file.stat().st_size))
    await store.commit(leases(3))
    assert read_leases(path) == leases(3)
    await until_folded(path)
    assert table(path) == 3


async def test_a_disk_that_does_not_sync_before_a_turn(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(leases(3))
    with monkeypatch.context() as now:
        now.setattr(Syncer, "begin", lambda self, descriptor: self._done(OSError(errno.EIO, "broken")))
        with pytest.raises(OSError, match="broken"):
            await store.commit(leases(3, 3))
    # What nobody was promised may be there, or not.
    await until(lambda: table(path) == 6)


async def test_a_file_that_does_not_have_what_was_written(
    store: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is folded of it, and nobody hears that it was."""
    await store.commit(leases(3))
    first, _ = log_paths(path)
    kept = first.read_bytes()
    first.write_bytes(bytes(len(kept)))
    await until(lambda: bool(caplog.messages))
    assert f"{first}: is not what was written to it" in caplog.text
    await store.commit(leases(3, 3))
    assert table(path) == 0
    first.write_bytes(kept)
    await until(lambda: table(path) == 6)


@pytest.mark.parametrize("what", ["Syncer", "LogFile"])
async def test_a_system_without(what: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a log needs isn't there, or there is no room for it."""
    made = []

    def refuse(*arguments: object) -> LogFile:
        if what == "LogFile" and not made:
            made.append(LogFile(arguments[0]))  # type: ignore[arg-type]
            return made[0]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(commitlog, what, refuse)
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(3))
    assert logged(path) == []
    assert journal(path) == 1
    await store.close()
    assert await load_and_close(path) == leases(3)


@pytest.mark.parametrize("call", ["fsync", "pwrite", "open"])
async def test_a_log_that_can_not_be_made(call: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does without, and nothing is left of the attempt."""
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as now:

        def refuse(what: object, *arguments: object, **more: object) -> int:
            if call != "open" or str(what).endswith("log1"):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return really(what, *arguments, **more)  # type: ignore[no-any-return]

        really: Any = getattr(os, call)
        now.setattr(commitlog.os, call, refuse)
        store = SqliteStore(path)
        await store.load()
    assert not any(each.exists() for each in log_paths(path))
    await store.commit(leases(3))
    await store.close()
    assert await load_and_close(path) == leases(3)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_files_that_can_not_be_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count for nothing, since all that they hold is in the table."""
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(3))
    with monkeypatch.context() as now:

        def refuse(self: Path, missing_ok: bool = False) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        now.setattr(Path, "unlink", refuse)
        await store.close()
    assert all(each.exists() for each in log_paths(path))
    assert await load_and_close(path) == leases(3)
    assert not any(each.exists() for each in log_paths(path))


async def test_what_a_client_writes_is_no_record(store: SqliteStore, path: Path) -> None:
    """Behind the last record is what was there before, as clients sent it."""
    forged = a_lease(1, hostname="forged")
    for generation in range(5):
        octets = pack(forged)
        head = commitlog._HEAD.pack(generation, len(octets), 0)[: commitlog._CHECKED]
        record = head + zlib.crc32(octets, zlib.crc32(head)).to_bytes(4) + octets
        # Wherever it stands.
        await store.commit([a_lease(2)._replace(client=bytes(at) + record) for at in range(100)])
        await until_folded(path)
        for number in range(3):
            await store.commit([a_lease(1 + number)])
            assert read_leases(path)[0] == a_lease(1)


async def test_a_crash_before_anything_can_be_read(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """Of the commits of before, which nobody was promised, the second came to the disk, and the first did not."""
    await store.commit(leases(100))
    await store.commit([a_lease(200, hostname="lost")])
    left = copied(path, tmp_path / "left")
    first, _ = log_paths(left)
    first.write_bytes(bytes(4096) + first.read_bytes()[4096:])
    again = SqliteStore(left)
    assert list(await again.load()) == []
    await again.commit(leases(100))
    assert read_leases(left) == leases(100)
    await again.close()


# ── who doesn't wait ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_opens_or_closes_it_goes_away(path: Path) -> None:
    for turns in range(6):
        store = SqliteStore(path)
        loading = asyncio.create_task(_load(store))
        for _ in range(turns):
            await asyncio.sleep(0)
        loading.cancel()
        await store.close()
    store = SqliteStore(path)
    await store.load()
    commit = store.commit(leases(3))
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await store.close()
    assert await load_and_close(path) == leases(3)
    assert commit.done()


async def _load(store: SqliteStore) -> None:
    await store.load()


async def test_many_who_want_events(store: SqliteStore, path: Path) -> None:
    commits = [store.commit(leases(1, number)) for number in range(3)]
    wanting = [asyncio.create_task(_cursor(store, name)) for name in "abc"]
    await asyncio.sleep(0)
    wanting[0].cancel()
    await asyncio.wait(wanting)
    assert [await commit for commit in commits] == [()] * 3
    assert {cursor.name for cursor in await store.cursors()} >= {"b", "c"}
    await store.commit(leases(1, 3))
    assert read_leases(path) == leases(4)


async def _cursor(store: SqliteStore, name: str) -> None:
    await store.open_cursor(name)


def test_an_event_loop_that_is_over(path: Path) -> None:
    store = SqliteStore(path)

    async def begin() -> None:
        await store.load()
        await store.commit(leases(1))
        store.commit(leases(1, 1))

    async def go_on() -> None:
        await store.commit(leases(1, 2))
        assert read_leases(path) == leases(3)
        await store.open_cursor("c")
        await store.close()

    asyncio.run(begin())
    asyncio.run(asyncio.wait_for(go_on(), 10))
    assert asyncio.run(load_and_close(path)) == leases(3)
    again = SqliteStore(path.with_name("again.db"))

    async def load() -> None:
        await again.load()
        again.commit(leases(1))

    asyncio.run(load())
    asyncio.run(asyncio.wait_for(again.close(), 10))
    assert read_leases(path.with_name("again.db")) == leases(1)


# ── the syncer ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_is_synced(tmp_path: Path) -> None:
    heard: asyncio.Queue[OSError | None] = asyncio.Queue()
    syncer = Syncer(asyncio.get_running_loop(), heard.put_nowait)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for _ in range(3):
            file.write(b"octets")
            syncer.begin(file.fileno())
            assert await asyncio.wait_for(heard.get(), 10) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncer.begin(1 << 20)
    read, write = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        syncer.begin(write)
    os.close(read)
    os.close(write)
    syncer.close()
    syncer.close()


@pytest.mark.parametrize(("machine", "system"), [("vax", "linux"), ("x86_64", "plan9")])
async def test_a_machine_that_nobody_knows(machine: str, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sys.platform", system)
    with pytest.raises(OSError, match="Function not implemented"):
        Syncer(asyncio.get_running_loop(), lambda error: None)


@pytest.mark.parametrize("call", ["_FDSYNC", "eventfd"])
async def test_a_kernel_that_refuses(call: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    if call == "_FDSYNC":
        monkeypatch.setattr("aiodhcp.stores.syncer._FDSYNC", 77)
    else:
        monkeypatch.setattr(os, "eventfd", refuse)
    before = len(os.listdir("/proc/self/fd"))
    store = SqliteStore(path)
    await store.load()
    await store.commit(leases(3))
    await store.close()
    assert await load_and_close(path) == leases(3)
    assert len(os.listdir("/proc/self/fd")) == before
