"""Prompt: a future that one listener hears of in the same turn of the event loop, and all others in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVar

__all__ = ["Prompt"]

T = TypeVar("T")


class Prompt(asyncio.Future[T]):
    """What a store may return of ``commit``: where clients come one by one, a turn of the event loop is a tenth of what
    an ACK costs.
    """

    _listener: tuple[Callable[[asyncio.Future[T]], object], Context] | None = None

    def tell(self, listener: Callable[[asyncio.Future[T]], object], context: Context) -> None:
        """As ``add_done_callback``, for one, but ``settle`` calls it at once."""
        self.add_done_callback(listener, context=context)
        self._listener = listener, context

    def settle(self, result: T, failure: BaseException | None = None) -> None:
        """Say what came of it, if anybody still waits. Where no other callback or task is under way."""
        if self.done():  # it was cancelled
            return
        told = self._listener
        if told is not None:
            self.remove_done_callback(told[0])
        if failure is None:
            self.set_result(result)
        else:
            self.set_exception(failure)
        if told is not None:
            listener, context = told
            context.run(listener, self)
