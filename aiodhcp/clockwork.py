"""Clockwork: once a second a server looks at the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

__all__ = ["Clockwork"]

log = logging.getLogger("aiodhcp.server")


class Clockwork:
    """Calls something once a second, whatever it raises.

    Args:
        tick: what is called.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, a second from now."""
        self._task = asyncio.create_task(self._run(), name="aiodhcp clockwork")

    async def stop(self) -> None:
        """Call it no more. May be called without a start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1)
            try:
                self._tick()
            except Exception:
                log.exception("a fault of aiodhcp, please report it")
