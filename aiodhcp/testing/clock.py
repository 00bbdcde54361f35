"""Clock: the time of servers under test, and of the event loops that they run on. It runs on, and can be turned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Generator
from datetime import timedelta
from typing import Any, Protocol

from aiodhcp.config_values import parse_seconds

__all__ = ["Clock"]

BEGINNING = 1_700_000_000.0


class _Turned(Protocol):
    """A server that goes by a clock."""

    def moments(self, after: float, until: float) -> set[float]:
        """When something is due."""
        ...

    def tick(self) -> None:
        """Something is due now. Where no event loop runs it is done when this returns."""
        ...

    def mark(self) -> int:
        """Something to remember this moment by."""
        ...

    async def settle(self, since: int) -> None:
        """Wait for what was begun since."""
        ...


class _Settling:
    """What a turn of the clock left to await. Who doesn't care need not."""

    def __init__(self, servers: list[tuple[_Turned, int]]) -> None:
        self._servers = servers

    def __await__(self) -> Generator[Any, None, None]:
        return self._settle().__await__()

    async def _settle(self) -> None:
        for server, since in self._servers:
            await server.settle(since)


class Clock:
    """Seconds since 1970, which stand still until they are turned. Call it to read it.

    ``clock.advance("2w")`` lets two weeks pass at once: leases end one after the other, each at its time, hooks are
    told, and what hooks wait for by the event loop is over: ``asyncio.sleep``, timeouts, their deadlines, and the 30
    seconds until a circuit closes. The loop's own time runs on meanwhile, too: what really takes a second takes one.

    Args:
        now: what time it is.

    Attributes:
        now: what time it is.
        skipped: seconds that were skipped so far.
    """

    def __init__(self, now: float = BEGINNING) -> None:
        self.now = now
        self.skipped = 0.0
        self._servers: list[_Turned] = []
        self._loops: dict[asyncio.AbstractEventLoop, int] = {}

    def __call__(self) -> float:
        """What time it is, in seconds since 1970."""
        return self.now

    def __repr__(self) -> str:
        return f"<Clock {self.now:.3f}>"

    def advance(self, time: float | str | timedelta) -> Awaitable[None]:
        """Let time pass.

        It has passed when this returns, and every ``def`` hook was called. Await the result where hooks are ``async``,
        or where what they did is to be on stable storage; in a test that is not ``async`` that has been done.

        Args:
            time: seconds, a duration like ``"12h"`` or ``"2w"``, or a ``timedelta``.

        Raises:
            ValueError: that is no time to pass.
            HookFailed: a hook failed, by ``await`` or, in a test that is not ``async``, at once.
        """
        seconds = time.total_seconds() if isinstance(time, timedelta) else parse_seconds(time) if time else 0.0
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"expected a time that passes, got {time!r}")
        target = self.now + seconds
        marks = [(server, server.mark()) for server in self._servers]
        due = {moment for server in self._servers for moment in server.moments(self.now, target)}
        for moment in sorted(due | {target}):
            self.skipped += moment - self.now
            self.now = moment
            for server in self._servers:
                server.tick()
        return _Settling(marks)

    def measured(self) -> float:
        """Seconds from any beginning, as hooks are measured by."""
        return time.perf_counter() + self.skipped

    def wind(self, server: _Turned, loop: asyncio.AbstractEventLoop) -> None:
        """Have a server that runs on this loop go by this clock, and the loop with it."""
        self._servers.append(server)
        self._loops[loop] = self._loops.get(loop, 0) + 1
        if self._loops[loop] == 1:
            own, before = loop.time, self.skipped
            try:
                loop.time = lambda: own() + self.skipped - before  # type: ignore[method-assign]
            except AttributeError:  # of a loop that is not Python's own, which then keeps its time
                pass

    def unwind(self, server: _Turned, loop: asyncio.AbstractEventLoop) -> None:
        """It has stopped."""
        if server in self._servers:
            self._servers.remove(server)
            self._loops[loop] -= 1
            if not self._loops[loop]:
                del self._loops[loop]
                getattr(loop, "__dict__", {}).pop("time", None)
