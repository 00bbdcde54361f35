"""Worker: one thread for what blocks, with less on the way there and back than an executor has."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

__all__ = ["Worker", "settle"]

T = TypeVar("T")

_Job = tuple[Callable[..., Any], tuple[Any, ...], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Worker:
    """Runs calls one after the other in a thread of its own, which lives until ``end``.

    Args:
        name: of the thread.
        rest: called in the thread when nothing was asked of it for a while. Whether it is to be called again when
            nothing is asked of it for the same while; if not, then only after something was.
        rest_after: that while, in seconds.
    """

    def __init__(self, name: str, rest: Callable[[], bool], rest_after: float) -> None:
        self._rest = rest
        self._rest_after = rest_after
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """What ``call(*arguments)`` returns or raises in the thread."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((call, arguments, loop, done))
        return done

    def end(self) -> None:
        """Wait for what was asked before, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        patience: float | None = None
        while True:
            try:
                job = self._jobs.get(timeout=patience)
            except Empty:
                patience = self._rest_after if self._rest() else None
                continue
            if job is None:
                return
            call, arguments, loop, done = job
            result: Any = None
            failure: BaseException | None = None
            try:
                result = call(*arguments)
            except BaseException as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, done, result, failure)
            del job, call, arguments, loop, done, result, failure
            patience = self._rest_after


def settle(done: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    """Say what came of it, if anybody still waits."""
    if done.done():  # it was cancelled
        return
    if failure is None:
        done.set_result(result)
    else:
        done.set_exception(failure)
