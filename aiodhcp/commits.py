"""Commits: group commit. What is decided while one commit is under way makes up the next; never two at once."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from aiodhcp.commit_metrics import CommitMeter
from aiodhcp.exchange import Exchange
from aiodhcp.leases import Lease
from aiodhcp.stores import Store
from aiodhcp.stores.prompt import Prompt

__all__ = ["Commits"]

log = logging.getLogger("aiodhcp.commits")

RETRY_DELAYS: Final = (0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to commit; the last one repeats."""


class Commits:
    """Puts the changes of exchanges on stable storage, and says when they are there.

    When a commit fails its changes stay, to be written with the next, which is tried until it works.

    Args:
        store: where to.
        done: called with the exchanges whose changes are stored, all that was stored, and the conflicts that the store
            reports.
        failed: called with those whose changes are not; they must not be answered.

    Attributes:
        error: why the last attempt failed; empty if it did not.
        meter: measures them.
        stopping: no more attempts than it takes to see that they are in vain.
    """

    def __init__(
        self,
        store: Store,
        done: Callable[[list[Exchange], Sequence[Lease], Sequence[Lease]], None],
        failed: Callable[[list[Exchange]], None],
    ) -> None:
        self.error = ""
        self.stopping = False
        self.meter = CommitMeter()
        self._store = store
        self._done = done
        self._failed = failed
        # What the next commit is for, what this one is for; the changes for the next in the order in which they were
        # made, and those that are not written yet.
        self._next: list[Exchange] = []
        self._now: list[Exchange] = []
        self._changes: list[Lease] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._unwritten: dict[int, Lease] = {}
        self._writing: list[Lease] = []
        self._waiting_now = 0
        # The commit that is under way, or the wait for another attempt.
        self._pending: asyncio.Future[Any] | None = None
        self._failures = 0
        # The hook that begins a commit is not whose hook runs when that is done.
        self._context = contextvars.copy_context()

    def __len__(self) -> int:
        """How many changes are not stored yet."""
        return len(self._unwritten) + len(self._changes)

    def add(self, exchange: Exchange) -> None:
        """The changes of ``exchange`` belong to the next commit, which ``begin`` begins."""
        self._next.append(exchange)
        self._changes.extend(exchange.changes or ())

    def note(self, leases: Iterable[Lease]) -> None:
        """Changes that nobody waits for."""
        self._changes.extend(leases)

    def store(self, lease: Lease) -> asyncio.Future[None]:
        """Commit a change of nobody's exchange; done when it is stored, or given up."""
        stored = asyncio.get_running_loop().create_future()
        self._changes.append(lease)
        self._waiting.append(stored)
        self.begin()
        return stored

    def begin(self) -> None:
        """Begin a commit, unless one is under way or there is nothing to write."""
        if self._pending is None and (self._next or self._changes):
            self._write()

    def tasks(self) -> set[asyncio.Future[Any]]:
        """The commit that is under way, if there is one, as something to wait for; another one may follow."""
        return set() if self._pending is None else {self._pending}

    def abandon(self) -> list[Exchange]:
        """Forget everything; the exchanges that were still to be committed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        if self._unwritten:
            log.critical("%d lease changes are lost: %s", len(self._unwritten), self.error or "no time left")
        exchanges = [*self._now, *self._next]
        _wake(self._waiting)
        for each in (self._now, self._next, self._changes, self._waiting, self._unwritten):
            each.clear()
        self.error, self.stopping, self._failures = "", False, 0
        return exchanges

    # Callbacks, because a task for each commit is a tenth of what a server does whose clients come one by one.

    def _write(self) -> None:
        self._now, self._next = self._next, []
        changes = self._unwritten
        for lease in self._changes:
            changes[lease.address] = lease
        self._changes.clear()
        self._writing = list(changes.values())
        self._waiting_now = len(self._waiting)
        self.meter.begin()
        try:
            pending = asyncio.ensure_future(self._store.commit(self._writing))
        except Exception as error:
            self._fail(error)
            return
        self._pending = pending
        if isinstance(pending, Prompt):
            pending.tell(self._written, self._context.copy())
        else:
            pending.add_done_callback(self._written, context=self._context.copy())

    def _written(self, pending: asyncio.Future[Sequence[Lease]]) -> None:
        cancelled = pending.cancelled()
        error = asyncio.CancelledError("the store cancelled it") if cancelled else pending.exception()
        if pending is not self._pending:  # abandoned
            return
        self._pending = None
        if cancelled and self.stopping:  # by who doesn't wait for it any longer: ``abandon`` comes next
            self._failures = 0
            self._next[:0] = self._taken()
            return
        if error is not None:
            self._fail(error)
            return
        self.meter.end(len(self._writing))
        self._unwritten = {}
        if self._failures:
            log.warning("leases can be committed again")
            self._failures, self.error = 0, ""
        _wake(self._waiting[: self._waiting_now])
        del self._waiting[: self._waiting_now]
        try:
            self._done(self._taken(), self._writing, pending.result())
        except Exception:
            log.exception("a fault of aiodhcp, please report it")
        if self._next or self._changes:
            # With what arrives in this turn of the event loop.
            pending.get_loop().call_soon(self.begin)

    def _fail(self, error: BaseException) -> None:
        self._failures += 1
        self.meter.fail()
        self.error = str(error) or repr(error)
        if self._failures == 1:
            log.error("leases can't be committed, no lease is given until they can: %s", self.error)
        if self.stopping and self._failures > len(RETRY_DELAYS):
            self._failures = 0
        else:
            # Before anybody hears of it: who asks for a commit then doesn't get one before its time.
            delay = RETRY_DELAYS[min(self._failures, len(RETRY_DELAYS)) - 1]
            self._pending = asyncio.create_task(asyncio.sleep(delay), name="aiodhcp commits")
            self._pending.add_done_callback(self._waited, context=self._context.copy())
        self._failed(self._taken())

    def _waited(self, pending: asyncio.Future[None]) -> None:
        if pending is self._pending:
            self._pending = None
            if pending.cancelled():
                self._failures = 0
            else:
                self._write()

    def _taken(self) -> list[Exchange]:
        exchanges, self._now = self._now, []
        return exchanges


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)
