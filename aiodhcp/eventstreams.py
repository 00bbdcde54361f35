"""EventStream: lease events for one consumer, as they are committed, or from where a cursor stands."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from types import TracebackType
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

from aiodhcp.errors import AiodhcpError, EventsLost, StoreError
from aiodhcp.events import Cursor, LeaseEvent, event_of
from aiodhcp.leases import Lease
from aiodhcp.leasetable import LeaseTable
from aiodhcp.stores import EventStore, Store

__all__ = ["EventStream", "Events"]

log = logging.getLogger("aiodhcp.events")


class _Source(Protocol):
    async def begin(self) -> None: ...

    async def next(self) -> LeaseEvent | None: ...

    async def acknowledge(self) -> None: ...

    async def close(self) -> None: ...


class EventStream:
    """What ``DhcpServer.events`` returns: ``async for event in stream``. It ends when the server stops.

    One consumer at a time. ``async with`` is not needed; with it a new cursor begins before its first event is asked
    for, and what was handled is written at the end. A stream that nobody holds any more costs nothing.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._busy = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> LeaseEvent:
        if self._busy:
            raise RuntimeError("another task waits for the next event of this stream")
        self._busy = True
        try:
            event = await self._source.next()
        finally:
            self._busy = False
        if event is None:
            raise StopAsyncIteration
        return event

    async def acknowledge(self) -> None:
        """The last event is handled, and the cursor is to be written now. Without it, an event counts as handled when
        the next one is asked for, and the cursor is written every few hundred, and when there are no more.

        Raises:
            StoreError: it can't be written.
        """
        await self._source.acknowledge()

    async def aclose(self) -> None:
        """End it. What was handled is remembered. May be called twice."""
        await self._source.close()

    async def __aenter__(self) -> EventStream:
        await self._source.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Events:
    """The streams of one server.

    Args:
        store: where its leases survive.
        listen: called when somebody listens who didn't before, or nobody does any more.
    """

    def __init__(self, store: Store, listen: Callable[[], None]) -> None:
        self._store = store
        self._listen = listen
        self._live: WeakSet[_Live] = WeakSet()
        self._following: WeakValueDictionary[str, _Following] = WeakValueDictionary()
        # Those that will take the place of these, when the reload that is under way is through; and those that there
        # were when it began: what they have handled is known to the end, whoever lets go of them.
        self._next: WeakValueDictionary[str, _Following] = WeakValueDictionary()
        self._held: list[_Following] | None = None
        self._is_open = False
        self._sequence = 0
        # What was committed last of the addresses whose leases have changed since: while somebody listens.
        self._before: dict[int, Lease | None] = {}
        self._leases: LeaseTable | None = None
        self._inner: Callable[[Lease | None, Lease | None], None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody listens."""
        return bool(self._live) or bool(self._following)

    def stream(self, cursor: str, from_start: bool, buffer: int) -> EventStream:
        """A stream, as ``DhcpServer.events`` describes it.

        Raises:
            StoreError: the store keeps no events.
            ValueError: a buffer for none, or ``from_start`` without a cursor.
        """
        if cursor:
            return self._follow(cursor, from_start)
        if from_start:
            raise ValueError("from_start: expected a cursor with it")
        if buffer < 1:
            raise ValueError(f"buffer: expected at least 1, got {buffer}")
        return self._live_stream(buffer)

    def _live_stream(self, most: int) -> EventStream:
        source = _Live(most)
        self._live.add(source)
        if self._leases is not None:
            self.attach(self._leases)
        self._listen()
        return EventStream(source)

    def _follow(self, cursor: str, from_start: bool) -> EventStream:
        source = _Following(self._event_store(), cursor, from_start, lambda: self._is_open)
        if self._held is not None and cursor in self._following:
            source.waits = True
            self._put(self._next, cursor, source)
        else:
            self._put(self._following, cursor, source)
            self._listen()
        return EventStream(source)

    def _put(self, streams: MutableMapping[str, _Following], cursor: str, source: _Following) -> None:
        previous = streams.get(cursor)
        if previous is not None:
            # What it has handled need not come again.
            source.handled = previous.handled
            previous.fail(AiodhcpError(f"the cursor {cursor!r} is followed by another stream now"))
        streams[cursor] = source

    def _event_store(self) -> EventStore:
        if not isinstance(self._store, EventStore):
            raise StoreError(
                f"{type(self._store).__name__} keeps no events: a cursor needs a store that does, like SqliteStore"
            )
        return self._store

    async def cursors(self) -> Sequence[Cursor]:
        """All cursors of the store; none where it keeps no events."""
        return await self._store.cursors() if isinstance(self._store, EventStore) else ()

    async def drop(self, cursor: str) -> bool:
        """Forget a cursor. Whether there was one."""
        for following in [streams.pop(cursor) for streams in (self._following, self._next) if cursor in streams]:
            following.fail(AiodhcpError(f"the cursor {cursor!r} was dropped"))
        return await self._event_store().drop_cursor(cursor)

    # ── what the server says ─────────────────────────────────────────────────────────────────────────────────────

    def attach(self, leases: LeaseTable) -> None:
        """The leases are in this table, which from now on tells of changes where somebody listens."""
        self._leases = leases
        if self._live and leases.put_or_removed != self._changed:
            self._inner, leases.put_or_removed = leases.put_or_removed, self._changed

    def open(self) -> None:
        """The store is loaded."""
        self._is_open = True
        for following in list(self._following.values()):
            following.wake()

    def hold(self) -> None:
        """A reload begins: until it is through, no stream takes the place of another."""
        self._held = list(self._following.values())

    def let_go(self, *, accepted: bool) -> None:
        """The reload is through.

        Args:
            accepted: whether streams take the place of those that were there before.
        """
        for cursor, source in list(self._next.items()):
            if accepted:
                self._put(self._following, cursor, source)
                source.take_place()
            else:
                source.fail(AiodhcpError(f"the cursor {cursor!r} is followed by another stream still"))
        self._next.clear()
        self._held = None
        self._listen()

    async def close(self) -> None:
        """The store will be closed: all streams end."""
        self._is_open = False
        self._detach()
        self._leases = None
        for live in list(self._live):
            await live.close()
        for following in [*self._following.values(), *self._next.values()]:
            try:
                await following.close()
            except AiodhcpError as error:
                log.warning("%s", error)
        self._live.clear()
        self._following.clear()
        self._next.clear()

    def committed(self, leases: Sequence[Lease]) -> None:
        """These leases changed, and are on stable storage; of one address, the last counts."""
        for following in list(self._following.values()):
            following.wake()
        if self._live:
            events = list(self._events(leases))
            for live in list(self._live):
                live.tell(events)
            return
        self._detach()
        if not self._following:
            self._listen()

    def _events(self, leases: Sequence[Lease]) -> Iterator[LeaseEvent]:
        table = self._leases
        for address, lease in {lease.address: lease for lease in leases}.items():
            previous = self._before.pop(address, None)
            if table is not None and table.get(address) != lease:
                # It has changed again, which is not committed yet.
                self._before[address] = lease
            self._sequence += 1
            yield event_of(self._sequence, previous, lease)

    def _changed(self, before: Lease | None, after: Lease | None) -> None:
        if self._inner is not None:
            self._inner(before, after)
        known = before or after
        if known is not None:
            self._before.setdefault(known.address, before)

    def _detach(self) -> None:
        leases = self._leases
        if leases is not None and leases.put_or_removed == self._changed:
            leases.put_or_removed = self._inner
        self._inner = None
        self._before.clear()


class _Live:
    """The events from now on. Those that find no room are lost, and the consumer hears how many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[LeaseEvent] = deque()
        self._lost = 0
        self._ended = False
        self._more = asyncio.Event()

    def tell(self, events: Sequence[LeaseEvent]) -> None:
        """These happened."""
        room = 0 if self._lost else self._most - len(self._waiting)
        self._waiting.extend(events[:room])
        self._lost += len(events[room:])
        self._more.set()

    async def begin(self) -> None:
        """It has begun."""

    async def next(self) -> LeaseEvent | None:
        """The next event; None at the end."""
        while not self._waiting:
            if self._lost:
                lost, self._lost = self._lost, 0
                raise EventsLost(lost)
            if self._ended:
                return None
            self._more.clear()
            await self._more.wait()
        return self._waiting.popleft()

    async def acknowledge(self) -> None:
        """Nobody remembers."""

    async def close(self) -> None:
        """There will be no more."""
        self._ended = True
        self._more.set()


class _Following:
    """The events from where a cursor stands.

    Attributes:
        handled: the last event that is handled; -1 while it isn't known.
        waits: whether another stream follows the cursor for now.
    """

    def __init__(self, store: EventStore, cursor: str, from_start: bool, is_open: Callable[[], bool]) -> None:
        self.handled = -1
        self.waits = False
        self._store = store
        self._cursor = cursor
        self._from_start = from_start
        self._is_open = is_open
        self._begun = False
        self._present: Iterator[Lease] = iter(())
        self._presenting = False
        self._ready: deque[LeaseEvent] = deque()
        # What was given last, and what is behind it; what the store knows to be handled.
        self._given: int | None = None
        self._read = self._saved = -1
        self._ended = False
        self._failure: Exception | None = None
        self._more = asyncio.Event()

    def wake(self) -> None:
        """There is something new."""
        self._more.set()

    def take_place(self) -> None:
        """No other stream follows the cursor any more."""
        self.waits = False
        self.wake()

    def fail(self, error: Exception) -> None:
        """It ends, by an error."""
        self._failure, self._ended = error, True
        self.wake()

    async def begin(self) -> None:
        """Open the cursor, if the server runs."""
        if self._begun or self._ended or self.waits or not self._is_open():
            return
        handled, present = await self._store.open_cursor(self._cursor, from_start=self._from_start)
        if self._begun:
            return
        self._saved = handled
        self.handled = self._read = max(handled, self.handled)
        self._present = iter(present)
        # Also if there are none: the next time must not begin with those that are there then.
        self._presenting = self._begun = True

    async def next(self) -> LeaseEvent | None:
        """The next event; None at the end."""
        self._settle()
        while True:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            if self.waits or not self._is_open():
                self._more.clear()
                await self._more.wait()
            elif not self._begun:
                await self.begin()
            elif self._presenting:
                lease = next(self._present, None)
                if lease is not None:
                    return event_of(0, None, lease)
                # Until then they come again.
                await self._store.move_cursor(self._cursor, self.handled)
                self._saved, self._presenting = self.handled, False
            elif self._ready:
                event = self._ready.popleft()
                self._given = event.sequence
                return event
            else:
                await self._read_more()

    async def _read_more(self) -> None:
        """Everything that was read is handled."""
        self._more.clear()
        await self._save()
        if self._ended:
            return
        events = await self._store.events_after(self._read)
        if not events:
            await self._more.wait()
            return
        lost, self._read = events[0].sequence - self._read - 1, events[-1].sequence
        self._ready.extend(events)
        if lost:
            raise EventsLost(lost)

    def _settle(self) -> None:
        if self._given is not None:
            self.handled, self._given = self._given, None

    async def _save(self) -> None:
        handled = self.handled
        if self._begun and not self._presenting and handled > self._saved:
            await self._store.move_cursor(self._cursor, handled)
            self._saved = handled

    async def acknowledge(self) -> None:
        """The last event is handled."""
        self._settle()
        if self._ended and self.handled > self._saved:
            raise self._failure or StoreError("the stream has ended: what was handled can't be written any more")
        await self._save()

    async def close(self) -> None:
        """It ends; what is handled is remembered."""
        if not self._ended:
            self._ended = True
            self.wake()
            await self._save()
