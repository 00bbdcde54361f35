"""EventLog: the events that the SQLite store keeps until every cursor has passed them. In the thread of the store.

An event is a lease as it is and as it was before. A row has up to ``EVENTS_A_ROW`` of one commit, and is written in its
transaction; the key is the sequence number of its last one. Without a cursor nothing is written.

One step of a statement is taken for many leases, because after each step the interpreter has to be fetched back.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiodhcp.errors import StoreError
from aiodhcp.events import Cursor, LeaseEvent, event_of
from aiodhcp.leases import LeaseState
from aiodhcp.packing import split, state_of, unpack

__all__ = ["SCHEMA", "EventLog", "read_active"]

log = logging.getLogger("aiodhcp.stores.sqlite")

SCHEMA: Final = """
    CREATE TABLE event (
        last   INTEGER PRIMARY KEY,  -- the sequence number of the last one in the row
        before BLOB NOT NULL,        -- the leases that were known of these addresses
        leases BLOB NOT NULL
    );
    CREATE TABLE cursor (
        name    TEXT PRIMARY KEY,
        handled INTEGER NOT NULL,    -- the last event that its consumer has handled
        present INTEGER NOT NULL,    -- whether the leases that are there are to come first
        moved   INTEGER NOT NULL     -- seconds since 1970
    );
"""
EVENTS_A_ROW: Final = 256
READ_AT_ONCE: Final = 2 * EVENTS_A_ROW
"""Events that one call reads, at most."""
ROWS_AT_ONCE: Final = 4096
"""Rows that one statement removes: a commit waits no longer than for these."""


class EventLog:
    """The tables ``event`` and ``cursor`` of an open store.

    Args:
        path: the file.
        database: the connection by which the store commits.
        most: events to keep for cursors that don't move; of more, the oldest are dropped.

    Attributes:
        last: the sequence number of the last event.
        recording: whether there is a cursor, for whom events are to be kept.
        untidy: whether ``purge`` has something to do.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, most: int) -> None:
        self._path = path
        self._database = database
        self._most = most
        self._other: sqlite3.Connection | None = None
        self._handled: dict[str, int] = dict(database.execute("SELECT name, handled FROM cursor"))
        self.recording = bool(self._handled)
        newest = database.execute("SELECT max(last) FROM event").fetchone()[0] or 0
        self.last = max(newest, *self._handled.values(), 0)
        # The leases in the store's journal, which are not in its table yet: what was known before is here, or there.
        self._latest: dict[int, bytes] = {}
        self._dropped = 0
        # Cursors that the log has spoken of, because they are far behind, and too far.
        self._warned: set[str] = set()
        self._losing: set[str] = set()
        self.untidy = not self.recording and newest > 0

    def close(self) -> None:
        """Close what was opened."""
        if self._other is not None:
            self._other.close()

    @property
    def _quick(self) -> sqlite3.Connection:
        """A connection that waits for no disk, for what a consumer has handled: what is lost of that comes again."""
        if self._other is None:
            self._other = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._other.execute("PRAGMA synchronous = NORMAL")
        return self._other

    # ── with a commit ────────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, statement: str, packed: Sequence[bytes]) -> None:
        """Write the leases of a commit, and the events that they are, in one transaction.

        Args:
            statement: puts the octets of all of them into the journal.
            packed: each of them.
        """
        database, last, fresh = self._database, self.last, dict[int, bytes]()
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(statement, (b"".join(packed),))
            for at in range(0, len(packed), EVENTS_A_ROW):
                leases = {_address(octets): octets for octets in packed[at : at + EVENTS_A_ROW]}
                before = self._before(leases, fresh)
                last += len(packed[at : at + EVENTS_A_ROW])
                row = (last, b"".join(before), b"".join(packed[at : at + EVENTS_A_ROW]))
                database.execute("INSERT INTO event VALUES (?, ?, ?)", row)
                fresh |= leases
        self.last = last
        self._latest |= fresh
        self._check_cursors()

    def _before(self, addresses: Iterable[int], fresh: Mapping[int, bytes]) -> list[bytes]:
        """The leases that are known of some addresses before they change."""
        found, rest = [], []
        for address in addresses:
            octets = fresh.get(address) or self._latest.get(address)
            if octets is None:
                rest.append(address)
            else:
                found.append(octets)
        if rest:
            (digits,) = self._database.execute(
                "SELECT group_concat(hex(octets), '') FROM lease WHERE address IN (SELECT value FROM json_each(?))",
                (json.dumps(rest),),
            ).fetchone()
            found.append(bytes.fromhex(digits or ""))
        return found

    def folded(self, leases: Mapping[int, bytes]) -> None:
        """What was in the journal is in the table now."""
        for address, octets in leases.items():
            if self._latest.get(address) == octets:
                del self._latest[address]

    def _check_cursors(self) -> None:
        """Events that nobody reads must not fill the disk."""
        waiting = self.last - max(self._low(), self._dropped)
        if waiting <= self._most // 2:
            return
        for name, handled in self._handled.items():
            if self.last - handled > self._most // 2 and name not in self._warned:
                self._warned.add(name)
                log.warning(
                    "%s: %d events wait for the cursor %r; beyond %d the oldest are dropped",
                    self._path,
                    self.last - handled,
                    name,
                    self._most,
                )
        # Not at each commit.
        if waiting - self._most < max(1, min(self._most // 8, EVENTS_A_ROW)):
            return
        end = self.last - self._most
        try:
            self._quick.execute("DELETE FROM event WHERE last <= ?", (end,))
        except sqlite3.Error as error:
            # The commit is done; the next one tries again.
            log.debug("%s: old events can't be dropped now: %s", self._path, error)
            return
        self._dropped = end
        for name, handled in self._handled.items():
            if handled < end and name not in self._losing:
                self._losing.add(name)
                log.error("%s: the cursor %r is too far behind: the oldest events are lost to it", self._path, name)

    # ── consumers ────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, name: str, from_start: bool, journal: Iterable[tuple[int, bytes]]) -> tuple[int, bool]:
        """Go on with a cursor, or begin one.

        Args:
            name: its name.
            from_start: whether a new one begins with the leases that are there.
            journal: of the store: the leases that are not in its table yet, by address.

        Returns:
            what it has handled, and whether it is still to be told of the leases that are there.
        """
        if name not in self._handled:
            if not self.recording:
                self._latest = dict(journal)
            self._database.execute(
                "INSERT INTO cursor VALUES (?, ?, ?, ?)", (name, self.last, from_start, int(time.time()))
            )
            self._handled[name] = self.last
            self.recording = True
            return self.last, from_start
        (present,) = self._database.execute("SELECT present FROM cursor WHERE name = ?", (name,)).fetchone()
        return self._handled[name], bool(present)

    def after(self, sequence: int) -> list[LeaseEvent]:
        """The next events."""
        rows = self._rows(sequence, sequence + READ_AT_ONCE)
        if not rows and sequence < self.last:
            # Those between were dropped.
            (first,) = self._database.execute("SELECT min(last) FROM event WHERE last > ?", (sequence,)).fetchone()
            rows = self._rows(sequence, first or 0)
        events = []
        for last, before, leases in rows:
            try:
                changes = [octets for _, octets in split(leases)]
                known = dict(split(before))
            except ValueError as error:
                raise StoreError(f"{self._path}: is damaged: event {last}: {error}") from None
            for number, octets in enumerate(changes, last - len(changes) + 1):
                address = _address(octets)
                previous, known[address] = known.get(address), octets
                if number > sequence:
                    events.append(event_of(number, None if previous is None else unpack(previous), unpack(octets)))
        return events

    def _rows(self, above: int, upto: int) -> list[tuple[int, bytes, bytes]]:
        (text,) = self._database.execute(
            "SELECT group_concat(last || ':' || hex(before) || ':' || hex(leases)) FROM event "
            "WHERE last > ? AND last <= ?",
            (above, upto),
        ).fetchone()
        fields = (row.split(":") for row in (text or "").split(",") if row)
        return sorted((int(last), bytes.fromhex(before), bytes.fromhex(leases)) for last, before, leases in fields)

    def move(self, name: str, handled: int) -> None:
        """A consumer has come so far."""
        known = self._handled.get(name)
        if known is None:
            return
        handled = max(known, min(handled, self.last))
        self._quick.execute(
            "UPDATE cursor SET handled = ?, present = 0, moved = ? WHERE name = ?", (handled, int(time.time()), name)
        )
        self._handled[name] = handled
        if self.last - handled <= self._most // 4:
            self._warned.discard(name)
            self._losing.discard(name)
        self.purge()

    def cursors(self) -> list[Cursor]:
        """All cursors, by name."""
        moved = dict(self._database.execute("SELECT name, moved FROM cursor"))
        return [Cursor(name, at, self.last - at, moved[name]) for name, at in sorted(self._handled.items())]

    def drop(self, name: str) -> bool:
        """Forget a cursor."""
        if name not in self._handled:
            return False
        self._database.execute("DELETE FROM cursor WHERE name = ?", (name,))
        del self._handled[name]
        self._warned.discard(name)
        self._losing.discard(name)
        self.recording = bool(self._handled)
        if not self.recording:
            self._latest.clear()
        self.purge()
        return True

    def purge(self) -> None:
        """Remove events that all have handled, some at a time. The last row stays: from it the numbers go on."""
        end = min(self._low(), self.last - 1)
        (piece,) = self._quick.execute(
            "SELECT max(last) FROM (SELECT last FROM event WHERE last <= ? ORDER BY last LIMIT ?)", (end, ROWS_AT_ONCE)
        ).fetchone()
        if piece is not None:
            self._quick.execute("DELETE FROM event WHERE last <= ?", (piece,))
        self.untidy = piece is not None and piece < end

    def _low(self) -> int:
        """Up to where all is handled."""
        return min(self._handled.values(), default=self.last)


def read_active(database: sqlite3.Connection, journal: Iterable[tuple[int, bytes]]) -> tuple[int, list[bytes]]:
    """The number of the last event, and the leases that are active just after it.

    Args:
        database: in a transaction, so that all is read as it is at one instant.
        journal: of the store.

    Raises:
        ValueError: some are damaged.
    """
    (last,) = database.execute(
        "SELECT max((SELECT ifnull(max(last), 0) FROM event), (SELECT ifnull(max(handled), 0) FROM cursor))"
    ).fetchone()
    leases: dict[int, bytes] = {}
    at: int | None = -1
    while at is not None:
        at, digits = database.execute(
            "SELECT max(address), group_concat(hex(octets), '') FROM "
            "(SELECT address, octets FROM lease WHERE address > ? ORDER BY address LIMIT ?)",
            (at, ROWS_AT_ONCE),
        ).fetchone()
        leases.update(split(bytes.fromhex(digits or "")))
    leases.update(journal)
    return last, [leases[address] for address in sorted(leases) if state_of(leases[address]) == LeaseState.ACTIVE]


def _address(octets: bytes) -> int:
    return int.from_bytes(octets[:4])
