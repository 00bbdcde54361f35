"""Watchdog: notices when a hook blocks the event loop, and names it, with the stack."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any, Final

from aiodhcp.implementations import Implementation
from aiodhcp.wording import is_round

__all__ = ["Watchdog"]

log = logging.getLogger("aiodhcp.hooks")

INTERVAL: Final = 0.1
"""Seconds between two looks."""


class Watchdog:
    """A thread that asks the event loop now and then whether it is there. Started on the loop's own thread.

    Args:
        implementations: gives those that may be at fault, when it is asked.
        patience: seconds that the loop may take to answer.
    """

    def __init__(self, implementations: Callable[[], Iterable[Implementation]], patience: float = 0.25) -> None:
        self._implementations = implementations
        self._patience = patience
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, at the running loop, unless it is looked at already."""
        if self._thread is not None:
            return
        self._stopped = threading.Event()
        arguments = (asyncio.get_running_loop(), threading.get_ident(), self._stopped)
        self._thread = threading.Thread(target=self._watch, args=arguments, name="aiodhcp watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread = None

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int, stopped: threading.Event) -> None:
        while not stopped.wait(INTERVAL):
            answered = threading.Event()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            if answered.wait(self._patience):
                continue
            frame = sys._current_frames().get(thread)
            if frame is not None and not stopped.is_set():
                self._report(frame)
            while not answered.wait(INTERVAL) and not stopped.is_set() and not loop.is_closed():
                pass

    def _report(self, frame: FrameType) -> None:
        suspects = {_code(each.function): each for each in self._implementations()}
        at: FrameType | None = frame
        while at is not None:
            found = suspects.get(at.f_code)
            if found is not None:
                found.blocked += 1
                if is_round(found.blocked):
                    log.error(
                        "plugin %s: %s blocks the whole server for more than %g seconds (%s; %d so far); it is in:\n%s",
                        found.plugin,
                        found.hook,
                        self._patience,
                        found.where,
                        found.blocked,
                        "".join(traceback.format_stack(frame, limit=_depth(frame, at))).rstrip(),
                    )
                return
            at = at.f_back
        log.debug("the event loop is blocked, not by a hook:\n%s", "".join(traceback.format_stack(frame)))


def _code(function: Any) -> CodeType | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _depth(frame: FrameType, outermost: FrameType) -> int:
    """How many frames lie from one up to another, both counted."""
    depth, at = 1, frame
    while at is not outermost and at.f_back is not None:
        depth, at = depth + 1, at.f_back
    return depth
