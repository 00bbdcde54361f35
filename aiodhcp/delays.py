"""Delays: OFFERs that leave later than they could, and keep no other packet waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiodhcp.exchange import Exchange

__all__ = ["Delays"]


class Delays:
    """Exchanges that are decided, and answered when their ``delay`` is over.

    Args:
        over: called with each then.
    """

    def __init__(self, over: Callable[[Exchange], None]) -> None:
        self._over = over
        self._waiting: dict[tuple[bytes, int, int], tuple[Exchange, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, exchange: Exchange) -> bool:
        """Let an exchange wait, unless one for the same request, sent once more, does already. Whether it does."""
        key = _key(exchange)
        if key in self._waiting:
            return False
        timer = asyncio.get_running_loop().call_later(exchange.delay, self._end, key)
        self._waiting[key] = exchange, timer
        return True

    def leave(self, exchange: Exchange) -> None:
        """Let one that waits wait no more."""
        _, timer = self._waiting.pop(_key(exchange))
        timer.cancel()

    @property
    def left(self) -> float:
        """Seconds until the last of those that wait now is answered; 0 if none does."""
        now = asyncio.get_running_loop().time()
        return max((timer.when() - now for _, timer in self._waiting.values()), default=0.0)

    def abandon(self) -> list[Exchange]:
        """Forget them all; those that waited."""
        waiting = [exchange for exchange, _ in self._waiting.values()]
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        return waiting

    def _end(self, key: tuple[bytes, int, int]) -> None:
        exchange, _ = self._waiting.pop(key)
        self._over(exchange)


def _key(exchange: Exchange) -> tuple[bytes, int, int]:
    return exchange.client, exchange.xid, exchange.giaddr
