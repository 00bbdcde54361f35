"""The default store: one SQLite file, in WAL mode with ``synchronous=FULL``. An fsync ends every commit.

A commit is one record of a log beside the database, however many leases it has, and an fsync that the event loop does
not wait for (commitlog.py). Where somebody follows the events a commit writes these, too (eventlog.py), and then, and
where the system can't sync by itself, it is one row of a journal in the database. What is there is folded into the
table of leases when nothing else is to be done; what is in the log when much has gathered, or after a minute. The
database is opened, read and written in one thread of its own, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import IO, Final, TypeVar

from aiodhcp.errors import StoreError
from aiodhcp.events import Cursor, LeaseEvent
from aiodhcp.leases import Lease
from aiodhcp.packing import PackedLeases, pack, places, split, unpack
from aiodhcp.stores.commitlog import STEP, CommitLog, LogFile, discard_log, read_log
from aiodhcp.stores.eventlog import EventLog, read_active
from aiodhcp.stores.schema import APPLICATION_ID, BEFORE_OCTETS, WITH_LOG, migrate, packed
from aiodhcp.stores.worker import Worker

__all__ = ["SqliteStore", "read_leases"]

if sys.platform == "win32":  # pragma: no cover - Windows
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # The same octet for all, and none of those that say whose it is: what is locked can't be read.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


log = logging.getLogger("aiodhcp.stores.sqlite")
T = TypeVar("T")

JOURNAL_LIMIT: Final = 50_000
"""Leases in the journal, or in a file of the log, from which on they are folded into the table, however busy the server
is.
"""
LOGGED_A_PAGE: Final = 16
"""So many leases for each page of the table, if that is more: of few leases of many each has a page to be written. Of a
million, one costs 10 µs among 20,000 and 3 µs among 200,000.
"""
MOST_LOGGED: Final = 200_000
"""But no more, because folding them takes memory, 100 octets each."""
MOST_EVENTS: Final = 1_000_000
"""Events that are kept for those who don't read them: some 100 MB."""
FOLDED_AT_ONCE: Final = 1024
"""Leases that one transaction moves into the table: a commit waits no longer than for these."""
QUIET: Final = 0.25
"""Seconds without a commit, after which there is time for that."""
WORTH_IT: Final = 0.25
"""The part of the limit from which on a file of the log is folded when there is time: for less the disk would have all
to write twice.
"""
LATE: Final = 60.0
"""Seconds after which it is, however little it holds."""
_PLACE: Final = (1 << 32) - 1
_ENTER: Final = "INSERT INTO journal (leases) VALUES (?)"
# One statement lets the interpreter run while SQLite works; a statement a row would fetch it back for each.
_ROWS_AT_ONCE: Final = (512, 64, 8, 1)
_PUT: Final = {
    rows: f"INSERT OR REPLACE INTO lease (address, octets) VALUES {','.join(['(?,?)'] * rows)}"
    for rows in _ROWS_AT_ONCE
}


class SqliteStore:
    """Leases in an SQLite file. One server at a time may have it open; ``aiodhcp leases`` reads it meanwhile.

    Args:
        path: the file; it is made if it doesn't exist. Beside it SQLite keeps ``-wal`` and ``-shm``, and we ``.lock``
            and, while it is open, ``-log0`` and ``-log1``.
        max_events: how many events to keep for a cursor that does not move, about: of more, the oldest are dropped.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_events: int = MOST_EVENTS) -> None:
        if max_events < 1:
            raise ValueError(f"max_events: expected at least 1, got {max_events}")
        self.path = Path(path)
        self._max_events = max_events
        self._worker: Worker | None = None
        self._database: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None
        # Leases in the journal, of which many may be of the same address.
        self._journalled = 0
        self._events: EventLog | None = None
        self._log: CommitLog | None = None
        # One that is not written to any more, but may have leases that are not in the table.
        self._old_log: CommitLog | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._folding: Iterator[None] | None = None
        self._complained = False

    async def load(self) -> Iterable[Lease]:
        """All leases, read as they are taken.

        Raises:
            StoreError: another server has the file, a newer version made it, or it is damaged.
        """
        if self._worker is None:
            self._worker = Worker("aiodhcp-sqlite", self._rest, QUIET)
        database = await self._worker.run(self._open)
        if self._log is not None:
            try:
                self._log.start()
            except OSError as error:
                log.debug("%s: commits go into the journal: %s", self.path, error)
                unused, self._log = self._log, None
                unused.remove()
        return PackedLeases(_octets(database, self.path), str(self.path))

    def commit(self, changes: Sequence[Lease]) -> asyncio.Future[Sequence[Lease]]:
        """Write and fsync, all or none.

        Raises:
            OSError, sqlite3.Error: it can't be written.
            ValueError: a lease can't be written, and none was.
        """
        if self._log is not None:
            if self._log.is_here:
                return self._log.commit(changes)
            self._old_log, self._log = self._log, None
        assert self._worker is not None, "load() comes first"
        return self._worker.run(self._write, changes)

    async def close(self) -> None:
        """Close the file and let another server have it."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._closing = asyncio.create_task(self._end(worker), name="aiodhcp store")
        await _shared(self._closing)

    async def _end(self, worker: Worker) -> None:
        self._leave_log()
        try:
            await _shared(self._leaving)
        finally:
            closed = worker.run(self._close)
        await closed
        worker.end()

    def _leave_log(self) -> None:
        """Write to the log no more: what is committed from now on goes into the journal, and what the log has into the
        table before that.
        """
        if self._log is not None:
            self._old_log, self._log = self._log, None
            self._leaving = asyncio.create_task(self._old_log.finish(), name="aiodhcp log")

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def open_cursor(self, name: str, *, from_start: bool = False) -> tuple[int, Iterable[Lease]]:
        """Go on with a cursor, or begin a new one; see ``EventStore``."""
        self._leave_log()

        def begin(events: EventLog) -> tuple[int, bool]:
            self._fold_old_log()
            return events.open(name, from_start, self._journal())

        # At once: what is committed from now on comes behind it, even if nobody waits for it any more.
        handled, present = await self._ask(begin)
        if (old := self._old_log) is not None and self._leaving is not None:
            # Its files are gone, but are not closed under a sync.
            self._leaving.add_done_callback(lambda _: old.close())
        if not present:
            return handled, ()
        last, leases = await asyncio.to_thread(_read_only, self.path, _active)
        return last, PackedLeases(leases, str(self.path))

    async def events_after(self, sequence: int) -> Sequence[LeaseEvent]:
        """The next events that are kept."""
        return await self._ask(lambda events: events.after(sequence))

    async def move_cursor(self, name: str, handled: int) -> None:
        """Remember what is handled. Without an fsync: a crash of the machine may undo it."""
        await self._ask(lambda events: events.move(name, handled))

    async def cursors(self) -> Sequence[Cursor]:
        """All cursors, by name."""
        return await self._ask(EventLog.cursors)

    async def drop_cursor(self, name: str) -> bool:
        """Forget a cursor. The file doesn't shrink, but what it held is used again."""
        return await self._ask(lambda events: events.drop(name))

    async def _ask(self, question: Callable[[EventLog], T]) -> T:
        """Ask the log of events, in the thread.

        Raises:
            StoreError: it can't be read or written, or the store is closed.
        """

        def answer() -> T:
            if self._events is None:
                raise StoreError(f"{self.path}: is not open")
            try:
                return question(self._events)
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: events can't be read or written: {error}") from error

        if self._worker is None:
            raise StoreError(f"{self.path}: is not open")
        return await self._worker.run(answer)

    def _journal(self) -> Iterator[tuple[int, bytes]]:
        assert self._database is not None
        return _journalled(self._database, self.path)

    # ── in the thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.path)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}") from error
        try:
            self._database = database = sqlite3.connect(
                self.path, isolation_level=None, cached_statements=16, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            migrate(database, self.path)
            generation = self._fold_what_was_left(database)
            for _ in self._fold():
                pass
            self._events = EventLog(self.path, database, self._max_events)
            if not self._events.recording:
                self._log = self._new_log(generation)
            if self._log is None:
                discard_log(self.path)
            return database
        except BaseException as error:
            self._let_go()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{self.path}: is damaged or can't be read: {error}") from error
            raise

    def _fold_what_was_left(self, database: sqlite3.Connection) -> int:
        """Put into the table what a server left in the log that did not end as it should. The highest generation."""
        (folded,) = database.execute("SELECT folded FROM log").fetchone()
        try:
            left = [(generation, octets) for generation, octets in read_log(self.path) if generation > folded]
        except OSError as error:
            raise StoreError(f"{self.path}: its log can't be read: {error}") from error
        if left:
            folded = left[-1][0]
            for _ in self._into_table(_latest(chain.from_iterable(octets for _, octets in left), self.path)):
                pass
        # Two more may have been begun, of which nothing can be read: none of that counts any more.
        folded = int(folded) + 2 * STEP
        database.execute("UPDATE log SET folded = ?", (folded,))
        return folded

    def _new_log(self, generation: int) -> CommitLog | None:
        worker, database = self._worker, self._database
        assert worker is not None
        assert database is not None
        if sys.platform != "linux":  # pragma: no cover - the log needs its system calls
            return None
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        limit = max(JOURNAL_LIMIT, min(LOGGED_A_PAGE * pages, MOST_LOGGED))
        enough = max(1, int(WORTH_IT * limit))
        try:
            return CommitLog.prepare(
                self.path, generation, lambda file: worker.run(self._fold_log, file), QUIET, enough, LATE, limit
            )
        except OSError as error:
            log.debug("%s: commits go into the journal: %s", self.path, error)
            return None

    def _write(self, changes: Sequence[Lease]) -> Sequence[Lease]:
        database = self._database
        assert database is not None
        events = self._events
        if events is not None and events.recording:
            events.commit(_ENTER, list(map(pack, changes)))
        else:
            # A statement alone is its own transaction.
            database.execute(_ENTER, (b"".join(map(pack, changes)),))
        self._journalled += len(changes)
        if self._journalled >= JOURNAL_LIMIT or self._folding is not None:
            # As fast as it grows, and a little faster.
            for _ in range(1 + len(changes) // FOLDED_AT_ONCE):
                self._fold_on()
        return ()

    def _rest(self) -> bool:
        """There is time to fold. Whether there still is something to be folded."""
        if self._journalled or self._unfolded():
            self._fold_on()
        events = self._events
        if events is not None and events.untidy:
            try:
                events.purge()
            except sqlite3.Error as error:
                log.debug("%s: old events can't be removed now: %s", self.path, error)
                events.untidy = False
        return bool(self._journalled) or self._unfolded() or (events is not None and events.untidy)

    def _fold_on(self) -> None:
        """A step of folding, which may fail without harm: the journal keeps what it has."""
        if self._folding is None:
            self._folding = self._fold()
        try:
            if next(self._folding, self) is self:
                self._folding, self._complained = None, False
        except (sqlite3.Error, StoreError, OSError) as error:
            self._folding = None
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            log.warning("%s: what was committed stays in the journal for now: %s", self.path, error)
        self._complained = True

    def _fold_log(self, file: LogFile) -> None:
        """Move what a file of the log has into the table."""
        try:
            for _ in self._into_table(_latest(file.payloads(), self.path), file.generation):
                pass
        except (sqlite3.Error, StoreError, OSError) as error:
            self._complain(error)
            raise
        file.leases, self._complained = 0, False

    def _fold_old_log(self) -> None:
        """Have all in the table that was committed before the journal was."""
        if self._unfolded():
            # One that was begun is begun again: its leases may be older than those that would be written now.
            self._folding = None
            for _ in self._fold():
                pass
        if self._old_log is not None:
            discard_log(self.path)

    def _fold(self) -> Iterator[None]:
        """Move what is in the journal now into the table, in steps. Between them both have some of it, and whoever
        reads table and journal finds the same as before.
        """
        database = self._database
        assert database is not None
        files = [] if self._old_log is None else self._old_log.unfolded
        last = database.execute("SELECT max(id) FROM journal").fetchone()[0]
        if last is None and not files:
            self._journalled = 0
            return
        leases = dict(_latest(chain.from_iterable(file.payloads() for file in files), self.path))
        count = 0
        for address, octets in _journalled(database, self.path):
            leases[address] = octets
            count += 1
        self._journalled = max(count, self._journalled)
        yield from self._into_table(sorted(leases.items()), files[-1].generation if files else 0)
        for file in files:
            file.leases = 0
        if last is not None:
            database.execute("DELETE FROM journal WHERE id <= ?", (last,))
        self._journalled -= count
        if self._events is not None:
            self._events.folded(leases)

    def _into_table(self, leases: Iterable[tuple[int, bytes]], generation: int = 0) -> Iterator[None]:
        """Put leases into the table, in steps, and take note of the generation up to which the log is in there.

        Args:
            leases: in the order of addresses: those that are near each other in the file are written together.
            generation: 0 for none.
        """
        database = self._database
        assert database is not None
        rest = iter(leases)
        while piece := list(islice(rest, FOLDED_AT_ONCE)):
            with database:
                database.execute("BEGIN IMMEDIATE")
                for rows in _pieces(piece):
                    database.execute(_PUT[len(rows)], tuple(chain.from_iterable(rows)))
            yield
        if generation:
            database.execute("UPDATE log SET folded = max(folded, ?)", (generation,))

    def _close(self) -> None:
        if self._log is not None:  # who opened it didn't wait for that
            self._old_log, self._log = self._log, None
        if self._database is not None:
            while (self._journalled or self._unfolded()) and not self._complained:
                self._fold_on()
        self._let_go()

    def _unfolded(self) -> bool:
        return self._old_log is not None and bool(self._old_log.unfolded)

    def _drop_old_log(self) -> None:
        """Let go of its files, and have them no more if all of them is in the table."""
        if self._old_log is not None:
            old, self._old_log = self._old_log, None
            if old.unfolded:
                old.close()
            else:
                old.remove()

    def _let_go(self) -> None:
        self._folding, self._journalled = None, 0
        self._drop_old_log()
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


async def _shared(task: asyncio.Task[None] | None) -> None:
    """Wait for what all wait for, and what goes on when one of them doesn't any more."""
    if task is not None and task.get_loop() is asyncio.get_running_loop():
        await asyncio.shield(task)


def _pieces(rows: Sequence[tuple[int, bytes]]) -> Iterator[Sequence[tuple[int, bytes]]]:
    at = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _latest(payloads: Iterable[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """The leases of commits, by address and as octets: what was committed last of each, in the order of addresses."""
    data = b"".join(payloads)
    try:
        # A number has address and place, because that takes a fifth of the memory of a dict of octets.
        found = sorted(address << 64 | start << 32 | end for address, start, end in places(data))
    except ValueError as error:
        raise StoreError(f"{path}: its log is damaged: {error}") from None
    for each, following in pairwise(chain(found, (-1,))):
        if each >> 64 != following >> 64:
            yield each >> 64, data[each >> 32 & _PLACE : each & _PLACE]


def _journalled(database: sqlite3.Connection, path: Path) -> Iterator[tuple[int, bytes]]:
    """The leases in the journal, by address and as octets, in the order in which they were committed."""
    for number, octets in database.execute("SELECT id, leases FROM journal ORDER BY id"):
        try:
            yield from split(octets)
        except ValueError as error:
            raise StoreError(f"{path}: is damaged: entry {number} of the journal: {error}") from None


def _locked(path: Path) -> IO[str]:
    """The lock beside ``path``, ours until it is closed or the process ends, however it does.

    Not the database itself: closing another handle of that would drop SQLite's own locks.
    """
    lock = path.with_name(path.name + ".lock").open("a+", encoding="ascii")
    try:
        _lock(lock)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise StoreError(
            f"{path} is in use by another server{f' (process {holder})' if holder else ''}: "
            "stop that one first, or give this one a file of its own"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _octets(database: sqlite3.Connection, path: Path) -> Iterator[bytes]:
    """The leases in the table, by address.

    Raises:
        StoreError: it can't be read.
    """
    try:
        for (octets,) in database.execute("SELECT octets FROM lease ORDER BY address"):
            yield octets
    except sqlite3.Error as error:
        raise StoreError(f"{path}: is damaged or can't be read: {error}") from error


def _read(database: sqlite3.Connection, path: Path, logged: Sequence[tuple[int, list[bytes]]]) -> list[Lease]:
    """The leases in a file that is only read, and so may be of an older version.

    Args:
        database: of that file.
        path: to it.
        logged: what was in its log just before.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version <= BEFORE_OCTETS:
        present = {row[1] for row in database.execute("PRAGMA table_info(lease)")}
        defaults = {name: "NULL" if value is None else str(value) for name, value in Lease._field_defaults.items()}
        columns = [name if name in present else defaults[name] for name in Lease._fields]
        rows = database.execute(f"SELECT {','.join(columns)} FROM lease ORDER BY address")
        return [unpack(packed(*row)) for row in rows]
    leases = {lease.address: lease for lease in PackedLeases(_octets(database, path), str(path))}
    if version >= WITH_LOG and logged:
        (folded,) = database.execute("SELECT folded FROM log").fetchone()
        payloads = chain.from_iterable(octets for generation, octets in logged if generation > folded)
        leases.update((address, unpack(octets)) for address, octets in _latest(payloads, path))
    leases.update((address, unpack(octets)) for address, octets in _journalled(database, path))
    return [leases[address] for address in sorted(leases)]


def read_leases(path: str | os.PathLike[str]) -> list[Lease]:
    """The leases in a file, also while a server has it open.

    Raises:
        StoreError: there is no such file, or it is not one of ours.
    """
    try:
        # Before the file: what is in neither of both at any time was committed meanwhile.
        logged = read_log(Path(path))
    except OSError as error:
        raise StoreError(f"{path}: its log can't be read: {error}") from error
    return _read_only(path, lambda database, path: _read(database, path, logged))


def _active(database: sqlite3.Connection, path: Path) -> tuple[int, list[bytes]]:
    """What a cursor begins with."""
    try:
        return read_active(database, _journalled(database, path))
    except ValueError as error:
        raise StoreError(f"{path}: is damaged: {error}") from None


def _read_only(path: str | os.PathLike[str], read: Callable[[sqlite3.Connection, Path], T]) -> T:
    """What ``read`` makes of a file, all of it as it is at one instant."""
    if not Path(path).is_file():
        raise StoreError(f"{path}: there is no such file")
    try:
        database = sqlite3.connect(Path(path).absolute().as_uri() + "?mode=ro", uri=True)
        try:
            if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StoreError(f"{path}: is not a lease file of aiodhcp")
            database.execute("BEGIN")
            return read(database, Path(path))
        finally:
            database.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: is damaged or can't be read: {error}") from error
