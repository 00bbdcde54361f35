"""seldom: log lines that may come a thousand times a second are written once a minute, with the count of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Seldom"]

PERIOD: Final = 60.0
"""Seconds between two lines about the same."""


class Seldom:
    """Writes a line about each matter at most once in a while.

    Args:
        log: where to.
        period: that while, in seconds.
        clock: seconds that only ever go forward.
    """

    def __init__(
        self, log: logging.Logger, period: float = PERIOD, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._period = period
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, matter: str, level: int, words: str, *arguments: object) -> None:
        """Write it down, or only count it."""
        now = self._clock()
        last, more = self._said.get(matter, (float("-inf"), 0))
        if now - last < self._period:
            self._said[matter] = last, more + 1
            return
        self._said[matter] = now, 0
        if more:
            self._log.log(level, words + " (and %d times before)", *arguments, more)
        else:
            self._log.log(level, words, *arguments)

    def forget(self, matter: str) -> None:
        """It is over: when it happens again, it is news."""
        self._said.pop(matter, None)
