"""webhook_outbox: what of the leases is told already, what is still to be delivered, and what nobody wanted.

One SQLite file. What changed is found by comparing a lease with what was last told of its address, and both are
written together: an event is never lost between the two, nor made twice. For one thread at a time.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from aiodhcp import NEVER, ConfigError, Lease, LeaseState

__all__ = ["Outbox", "Waiting", "changes"]

CHUNK: Final = 1000
"""Leases that are compared in one transaction; those who want to deliver something wait that long."""
MOST_DEAD: Final = 10_000
"""Dead letters that are kept; the oldest go."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dead_letter (
    sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, status INTEGER, reason TEXT NOT NULL, time TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS known (  -- what was last told of each address
    address INTEGER PRIMARY KEY, client BLOB NOT NULL, htype INTEGER NOT NULL, chaddr BLOB NOT NULL,
    state INTEGER NOT NULL, starts INTEGER NOT NULL, expires INTEGER NOT NULL, hostname TEXT
);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_ACTIVE, _DECLINED = int(LeaseState.ACTIVE), int(LeaseState.DECLINED)


class Waiting(NamedTuple):
    """An event that is to be delivered.

    Attributes:
        sequence: its number, greater than that of all before.
        id: what it is known by, whenever and however often it is delivered.
        body: what it says, with both.
    """

    sequence: int
    id: str
    body: dict[str, Any]


def changes(before: Lease | None, after: Lease) -> list[tuple[str, Lease]]:
    """What happened to an address, as events in their order, with the lease that each is about.

    Args:
        before: what was last told of the address.
        after: what is known now.
    """
    if before is not None and before[:8] == after[:8]:
        return []
    held = before is not None and before.state == _ACTIVE
    # Something happened between the two that was not seen: somebody else held the address meanwhile.
    missed = held and before is not None and after.client not in (before.client, b"")
    events = [("ended", before)] if missed and before is not None else []
    if after.state == LeaseState.ACTIVE:
        renewed = held and not missed
        return [*events, ("renewed" if renewed else "granted", after)]
    if after.state == LeaseState.DECLINED:
        # htype 0: no client said so, the server found it in use.
        known = before if held and before is not None else None
        about = after if known is None else after._replace(hostname=known.hostname)
        return [*events, ("declined" if after.htype else "conflict", about)]
    if not after.client:
        if before is None or not (held or before.state == _DECLINED):
            return []
        if held:
            return [("deleted", after._replace(client=before.client, htype=before.htype, chaddr=before.chaddr))]
        return [("recovered", after)]
    return [*events, ("released" if after.state == LeaseState.RELEASED else "expired", after)]


class Outbox:
    """Events that wait, in an SQLite file of their own.

    Args:
        path: the file.
        most: events that may wait.

    Attributes:
        waiting: how many do.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.waiting = 0
        self._path = path
        self._most = most
        self._db: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None
        self._id = ""

    def acquire(self) -> bool:
        """Own the file, if nobody else does. Whether that is so; another plugin of this process may let go of it soon.

        Raises:
            ConfigError: another process has it.
            OSError: it can't be opened.
        """
        lock = open(f"{self._path}.lock", "a+", encoding="ascii")  # noqa: SIM115 - it is closed when it is let go of
        if not _locked(lock):
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            if owner and owner != str(os.getpid()):
                raise ConfigError(f"{self._path}: the process {owner} has this outbox")
            return False
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        return True

    def open(self) -> bool:
        """Open it. Whether it is new: no leases were compared with it yet.

        Raises:
            sqlite3.Error: that can't be done.
        """
        self._db = db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # an event that was delivered keeps its id, also over a power failure
        db.executescript(_SCHEMA)
        with self._transaction():
            db.execute("INSERT OR IGNORE INTO fact VALUES ('id', ?)", (secrets.token_hex(8),))
        facts = dict(db.execute("SELECT name, value FROM fact"))
        self._id = facts["id"]
        (self.waiting,) = db.execute("SELECT count(*) FROM event").fetchone()
        return "compared" not in facts

    def close(self) -> None:
        """Close it, and let go of it."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, leases: Iterable[Lease], now: float, *, silent: bool = False) -> bool:
        """Make events of what differs from what was told. Whether there was room for all.

        What finds no room counts as not told: to compare it again finds it again.
        """
        with self._transaction():
            return self._note(leases, now, silent)

    def note_some(self, leases: Iterator[Lease], now: float, *, silent: bool = False) -> tuple[bool, bool]:
        """The same for the next thousand. Whether there was room, and whether more may follow."""
        chunk = list(islice(leases, CHUNK))
        return self.note(chunk, now, silent=silent), len(chunk) == CHUNK

    def note_vanished(self, leases: Container[int], now: float) -> bool:
        """Make events of what was told of addresses that nothing is known of any more. Whether there was room."""
        rows = self._connection.execute("SELECT * FROM known WHERE state IN (?, ?)", (_ACTIVE, _DECLINED))
        gone = [row for row in rows if row[0] not in leases]
        nobodys = (Lease(row[0], b"", 0, b"", LeaseState.RELEASED, row[5], int(now)) for row in gone)
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO fact VALUES ('compared', 'once')")
            return self._note(nobodys, now, silent=False)

    def _note(self, leases: Iterable[Lease], now: float, silent: bool) -> bool:
        db = self._connection
        for lease in leases:
            row = db.execute("SELECT * FROM known WHERE address = ?", (lease.address,)).fetchone()
            before = None if row is None else _lease(row)
            events = [] if silent else changes(before, lease)
            if self.waiting + len(events) > self._most:
                return False
            for kind, about in events:
                db.execute("INSERT INTO event (body) VALUES (?)", (json.dumps(_body(kind, about, now)),))
                self.waiting += 1
            if before is None or before[:8] != lease[:8]:
                values = (*lease[:4], int(lease.state), *lease[5:8])
                db.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return True

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def first(self, count: int) -> list[Waiting]:
        """The events that come next."""
        rows = self._connection.execute("SELECT sequence, body FROM event ORDER BY sequence LIMIT ?", (count,))
        return [Waiting(each, name := f"{self._id}-{each}", _named(name, each, body)) for each, body in rows]

    def delivered(self, events: Sequence[Waiting]) -> None:
        """These are done with: the first ones."""
        with self._transaction():
            self._forget(events)

    def refused(self, events: Sequence[Waiting], status: int, reason: str, now: float) -> None:
        """Nobody wants these, the first ones: they are put aside."""
        db = self._connection
        with self._transaction():
            db.execute(
                "INSERT OR REPLACE INTO dead_letter SELECT sequence, body, ?, ?, ? FROM event WHERE sequence <= ?",
                (status, reason, _moment(now), events[-1].sequence),
            )
            db.execute(
                "DELETE FROM dead_letter WHERE sequence NOT IN"
                " (SELECT sequence FROM dead_letter ORDER BY sequence DESC LIMIT ?)",
                (MOST_DEAD,),
            )
            self._forget(events)

    def _forget(self, events: Sequence[Waiting]) -> None:
        gone = self._connection.execute("DELETE FROM event WHERE sequence <= ?", (events[-1].sequence,))
        self.waiting -= gone.rowcount

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError(f"{self._path} is not open")
        return self._db

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it, or nothing."""
        db, waiting = self._connection, self.waiting
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            self.waiting = waiting
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _lease(row: tuple[Any, ...]) -> Lease:
    address, client, htype, chaddr, state, starts, expires, hostname = row
    return Lease(address, client, htype, chaddr, LeaseState(state), starts, expires, hostname)


def _body(kind: str, lease: Lease, now: float) -> dict[str, Any]:
    return {
        "event": kind,
        "time": _moment(now),
        "address": str(lease.ip),
        "hardware_address": lease.hardware_address,
        "hardware_type": lease.htype,
        "client": lease.client.hex(":"),
        "host_name": lease.hostname,
        "starts": _moment(lease.starts),
        "expires": None if lease.expires >= NEVER else _moment(lease.expires),
    }


def _named(name: str, sequence: int, body: str) -> dict[str, Any]:
    return {"id": name, "sequence": sequence, **json.loads(body)}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if sys.platform == "win32":  # pragma: no cover - Windows

    def _locked(file: IO[str]) -> bool:
        return True  # another process that has the database open keeps its own order

else:
    import fcntl

    def _locked(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
