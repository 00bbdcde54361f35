"""Hook tasks: asyncio's part of calling hooks. Deadlines, and what nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import math
import time
from collections.abc import Awaitable
from typing import Any, Final

from aiodhcp.exchange import CALLED
from aiodhcp.hookcalls import Overdue, Runtime
from aiodhcp.implementations import Implementation

__all__ = ["HookTasks"]

log = logging.getLogger("aiodhcp.hooks")

MOST_DETACHED: Final = 1024
"""Calls in shadow mode that may be under way; beyond that they are not made."""


class HookTasks:
    """Runs what ``async`` hooks leave to await, each in a task of its own, so that one that takes too long can be
    left behind even if it resists its end.

    Attributes:
        tasks: those that have not ended.
        skipped: how many detached calls there was no room for.
    """

    def __init__(self) -> None:
        self.tasks: set[asyncio.Future[Any]] = set()
        self.skipped = 0

    def runtime(self) -> Runtime:
        """For ``Hooks``."""
        return Runtime(time.perf_counter, self.within, self.detach)

    async def within(self, begun: Awaitable[Any], implementation: Implementation) -> Any:
        """What ``begun`` comes to.

        Raises:
            Overdue: it takes longer than the implementation's deadline; it is cancelled.
            RuntimeError: the hook was cancelled from elsewhere, or cancelled itself.
        """
        if implementation.deadline == math.inf and inspect.iscoroutine(begun):
            return await _here(begun, implementation)
        loop = asyncio.get_running_loop()
        task = self._task(begun, implementation)
        over = loop.create_future()

        def wake(*_: object) -> None:
            if not over.done():
                over.set_result(None)

        task.add_done_callback(wake)
        deadline = implementation.deadline
        timer = loop.call_later(deadline, wake) if deadline < math.inf else None
        try:
            await over
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not task.done():
            task.cancel()
            implementation.abandoned += 1
            task.add_done_callback(lambda _: _returned(implementation))
            raise Overdue
        if task.cancelled():
            raise RuntimeError("the hook was cancelled")
        return task.result()

    def detach(self, begun: Awaitable[None]) -> None:
        """Run something that nobody waits for."""
        if len(self.tasks) < MOST_DETACHED:
            self._task(begun)
            return
        self.skipped += 1
        if inspect.iscoroutine(begun):
            begun.close()

    def _task(self, begun: Awaitable[Any], implementation: Implementation | None = None) -> asyncio.Future[Any]:
        if asyncio.isfuture(begun):
            # Others may await it, too.
            task = asyncio.shield(begun)
        else:
            context = contextvars.copy_context()
            context.run(CALLED.set, implementation)
            task = asyncio.get_running_loop().create_task(_awaited(begun), context=context)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self.tasks.discard(task)
        # Read, so that asyncio doesn't complain that nobody did.
        if not task.cancelled():
            task.exception()


async def _here(begun: Awaitable[Any], implementation: Implementation) -> Any:
    """Await what has all the time there is: nobody will leave it behind, and it needs no task of its own."""
    token = CALLED.set(implementation)
    try:
        return await begun
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the hook was cancelled") from None
    finally:
        CALLED.reset(token)


async def _awaited(begun: Awaitable[Any]) -> Any:
    return await begun


def _returned(implementation: Implementation) -> None:
    implementation.abandoned -= 1
