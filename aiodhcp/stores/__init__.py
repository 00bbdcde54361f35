"""Where leases survive. A store keeps rows and decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from aiodhcp.events import Cursor, LeaseEvent
from aiodhcp.leases import Lease

__all__ = ["EventStore", "Store"]


class Store(Protocol):
    """Three calls. The server makes one at a time, and never two commits at once."""

    async def load(self) -> Iterable[Lease]:
        """All leases, in whatever state. Called once, before anything else; opens what has to be opened.

        Raises:
            StoreError: held by another server, made by a newer version, or damaged.
        """

    def commit(self, changes: Sequence[Lease]) -> Awaitable[Sequence[Lease]]:
        """Put each lease in place of what was known of its address: all of them or none, on stable storage before
        this returns. The same changes may come again after a failure.

        Returns:
            for each address that another server sharing the store has given away first, the lease as it is there;
            those changes were not made. A store of one server returns ``()``. An ``async def`` does it; one that
            returns a future itself saves the server a task for each commit, and one that returns a ``Prompt`` a turn of
            the event loop (prompt.py).

        Raises:
            Exception: any, if nothing was committed; the server goes on trying.
        """

    async def close(self) -> None:
        """Let go of it. Nothing is called afterwards. May be called twice."""


@runtime_checkable
class EventStore(Store, Protocol):
    """A store that also keeps what happened, until every consumer has handled it: for ``DhcpServer.events(cursor=…)``.

    Each change of a commit is an event. While there is a cursor, an event is on stable storage exactly when the change
    is. These calls come between ``load`` and ``close``, several at a time, and also while a commit is under way.
    """

    async def open_cursor(self, name: str, *, from_start: bool = False) -> tuple[int, Iterable[Lease]]:
        """Go on with a cursor, or begin a new one behind the last commit, durably.

        Args:
            name: whose it is.
            from_start: a new one begins with the leases that are active; also the next time, until it has moved.

        Returns:
            the sequence number of the last event that is handled; and those leases, as they were just after it.

        Raises:
            StoreError: it can't be read or written.
        """

    async def events_after(self, sequence: int) -> Sequence[LeaseEvent]:
        """The next events that are kept, some hundred at most; empty if there is none. Where the first of them is not
        ``sequence + 1``, the others were not kept.

        Raises:
            StoreError: they can't be read.
        """

    async def move_cursor(self, name: str, handled: int) -> None:
        """Remember that all events up to a sequence number are handled. It never goes back; one that isn't there stays
        away. After a crash of the machine it may be where it was a while before.

        Raises:
            StoreError: it can't be written.
        """

    async def cursors(self) -> Sequence[Cursor]:
        """All cursors, by name."""

    async def drop_cursor(self, name: str) -> bool:
        """Forget a cursor, and the events that were kept for it only. Whether there was one.

        Raises:
            StoreError: it can't be written.
        """
