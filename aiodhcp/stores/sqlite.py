"""The default store: one SQLite file, in WAL mode with ``synchronous=FULL``. An fsync ends every commit.

The database is opened, read and written in one thread of its own, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from aiodhcp.errors import StoreError
from aiodhcp.leases import Lease, LeaseState

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


T = TypeVar("T")

APPLICATION_ID: Final = 0x64686370
"""``"dhcp"``: what ``PRAGMA application_id`` says of a file of ours."""

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE lease (
        address  INTEGER PRIMARY KEY,  -- IPv4, as a number
        client   BLOB NOT NULL,        -- option 61, or htype and chaddr
        htype    INTEGER NOT NULL,
        chaddr   BLOB NOT NULL,
        state    INTEGER NOT NULL,     -- 1 active, 2 released, 3 expired, 4 declined
        starts   INTEGER NOT NULL,     -- seconds since 1970
        expires  INTEGER NOT NULL,     -- seconds since 1970; 1099511627776 is never
        hostname TEXT
    );
    """,
    # Under what a lease counts for the limits of classes.
    "ALTER TABLE lease ADD COLUMN counted TEXT;",
    # What the relay agent said last (option 82).
    "ALTER TABLE lease ADD COLUMN relay_agent BLOB;",
    # When the client was last heard of it, in seconds since 1970.
    "ALTER TABLE lease ADD COLUMN last_transaction INTEGER NOT NULL DEFAULT 0;",
    # By what the client knows a FORCERENEW of its server.
    "ALTER TABLE lease ADD COLUMN nonce BLOB;",
)
"""One script for each version of the schema, from the one before; ``PRAGMA user_version`` counts them."""

_COLUMNS: Final = len(Lease._fields)
_ROW: Final = "(" + ",".join("?" * _COLUMNS) + ")"
# One statement lets the interpreter run while SQLite works; a statement a row would fetch it back for each.
_ROWS_AT_ONCE: Final = (512, 64, 8, 1)
_PUT: Final = {
    rows: f"INSERT OR REPLACE INTO lease ({','.join(Lease._fields)}) VALUES {','.join([_ROW] * rows)}"
    for rows in _ROWS_AT_ONCE
}


class SqliteStore:
    """Leases in an SQLite file. One server at a time may have it open; ``aiodhcp leases`` reads it meanwhile.

    Args:
        path: the file; it is made if it doesn't exist. Beside it SQLite keeps ``-wal`` and ``-shm``, and we ``.lock``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._thread: ThreadPoolExecutor | None = None
        self._database: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None

    async def load(self) -> Iterable[Lease]:
        """All leases.

        Raises:
            StoreError: another server has the file, a newer version made it, or it is damaged.
        """
        return await self._in_thread(self._open)

    async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
        """Write and fsync, in one transaction.

        Raises:
            sqlite3.Error: nothing was written.
        """
        await self._in_thread(self._write, changes)
        return ()

    async def close(self) -> None:
        """Close the file and let another server have it."""
        if self._thread is None:
            return
        await self._in_thread(self._close)
        self._thread.shutdown()
        self._thread = None

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="aiodhcp-sqlite")
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _open(self) -> list[Lease]:
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
            _migrate(database, self.path)
            return _read(database, self.path)
        except BaseException as error:
            self._close()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{self.path}: is damaged or can't be read: {error}") from error
            raise

    def _write(self, changes: Sequence[Lease]) -> None:
        database = self._database
        assert database is not None, "load() comes first"
        pieces = list(_pieces(changes))
        if len(pieces) == 1:
            # A statement alone is its own transaction.
            database.execute(_PUT[len(changes)], tuple(chain.from_iterable(changes)))
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            for piece in pieces:
                database.execute(_PUT[len(piece)], tuple(chain.from_iterable(piece)))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _pieces(changes: Sequence[Lease]) -> Iterator[Sequence[Lease]]:
    at = 0
    for rows in _ROWS_AT_ONCE:
        while len(changes) - at >= rows:
            yield changes[at : at + rows]
            at += rows


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


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    (found,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if found != APPLICATION_ID and (tables or version):
        raise StoreError(f"{path}: is an SQLite file, but not one of aiodhcp's")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: was written by a newer version of aiodhcp (schema {version}; this one knows {len(MIGRATIONS)})"
        )
    for number in range(version, len(MIGRATIONS)):
        database.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number + 1}; COMMIT;"
        )


def _read(database: sqlite3.Connection, path: str | os.PathLike[str]) -> list[Lease]:
    # A file that is only read may be of an older version.
    present = {row[1] for row in database.execute("PRAGMA table_info(lease)")}
    columns = [name for name in Lease._fields if name in present or name not in Lease._field_defaults]
    rows = database.execute(f"SELECT {','.join(columns)} FROM lease ORDER BY address")
    states = {int(state): state for state in LeaseState}
    try:
        return [Lease(**dict(zip(columns, row, strict=True), state=states[row[4]])) for row in rows]
    except KeyError as error:
        raise StoreError(f"{path}: is damaged: a lease has state {error}, which doesn't exist") from None


def read_leases(path: str | os.PathLike[str]) -> list[Lease]:
    """The leases in a file, also while a server has it open.

    Raises:
        StoreError: there is no such file, or it is not one of ours.
    """
    if not Path(path).is_file():
        raise StoreError(f"{path}: there is no such file")
    try:
        database = sqlite3.connect(Path(path).absolute().as_uri() + "?mode=ro", uri=True)
        try:
            if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StoreError(f"{path}: is not a lease file of aiodhcp")
            return _read(database, path)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: is damaged or can't be read: {error}") from error
