"""Commits: group commit. What is decided while one commit is under way makes up the next; never two at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiodhcp.exchange import Exchange
from aiodhcp.leases import Lease
from aiodhcp.stores import Store

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
        self._task: asyncio.Task[None] | None = None

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
        if self._task is None and (self._next or self._changes):
            self._task = asyncio.create_task(self._run(), name="aiodhcp commits")

    def tasks(self) -> set[asyncio.Task[None]]:
        """The commit that is under way, if there is one, as something to wait for."""
        return set() if self._task is None else {self._task}

    def abandon(self) -> list[Exchange]:
        """Forget everything; the exchanges that were still to be committed."""
        for task in self.tasks():
            task.cancel()
        if self._unwritten:
            log.critical("%d lease changes are lost: %s", len(self._unwritten), self.error or "no time left")
        exchanges = [*self._now, *self._next]
        _wake(self._waiting)
        for each in (self._now, self._next, self._changes, self._waiting, self._unwritten):
            each.clear()
        self.error, self.stopping = "", False
        return exchanges

    async def _run(self) -> None:
        failures = 0
        try:
            while self._next or self._changes or self._unwritten:
                self._now, self._next = self._next, []
                changes = self._unwritten
                for lease in self._changes:
                    changes[lease.address] = lease
                self._changes.clear()
                waiting = list(self._waiting)
                try:
                    conflicts = await self._store.commit(list(changes.values()))
                except Exception as error:
                    failures += 1
                    self.error = str(error) or repr(error)
                    if failures == 1:
                        log.error("leases can't be committed, no lease is given until they can: %s", self.error)
                    self._failed(self._taken())
                    if self.stopping and failures > len(RETRY_DELAYS):
                        return
                    await asyncio.sleep(RETRY_DELAYS[min(failures, len(RETRY_DELAYS)) - 1])
                    continue
                self._unwritten = {}
                if failures:
                    log.warning("leases can be committed again")
                    failures, self.error = 0, ""
                _wake(waiting)
                del self._waiting[: len(waiting)]
                try:
                    self._done(self._taken(), list(changes.values()), conflicts)
                except Exception:
                    log.exception("a fault of aiodhcp, please report it")
        finally:
            self._task = None

    def _taken(self) -> list[Exchange]:
        exchanges, self._now = self._now, []
        return exchanges


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)
