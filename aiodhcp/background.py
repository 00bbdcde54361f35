"""Background: what plugins and embedders let a server do besides, which ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Coroutine
from typing import Any

from aiodhcp.hooks import TOLD

__all__ = ["Background"]

log = logging.getLogger("aiodhcp.server")


class Background:
    """Tasks that somebody else began, and that the server ends."""

    def __init__(self) -> None:
        # And the plugin that began each, None for another.
        self._tasks: dict[asyncio.Task[Any], object] = {}

    def spawn(self, way: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Begin one."""
        task = asyncio.get_running_loop().create_task(way, name=name or None)
        self._tasks[task] = TOLD.get()
        task.add_done_callback(self._ended)
        return task

    async def end(self, seconds: float, owners: Container[int] | None = None) -> None:
        """Cancel all but the one that asks, and wait for them; not for ever.

        Args:
            seconds: how long.
            owners: only those that one of these plugins began, by ``id``.
        """
        here = asyncio.current_task()
        tasks = [
            task
            for task, owner in self._tasks.items()
            if task is not here and (owners is None or (owner is not None and id(owner) in owners))
        ]
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                log.warning("the task %r does not end and is not waited for any longer", task.get_name())

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            log.error("the task %r ended with an error", task.get_name(), exc_info=task.exception())
