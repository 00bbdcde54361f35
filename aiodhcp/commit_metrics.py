"""CommitMeter: how long commits take, and how many leases they have."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["CommitMeter", "CommitMetrics"]

SHOWN: Final = 27
"""Numbers of the histogram of seconds: all that took longer than 34 seconds is one."""
SIZES: Final = 24
"""Numbers of the histogram of sizes: eight million leases, and more."""


@dataclass(frozen=True, slots=True)
class CommitMetrics:
    """How the commits of a server have done.

    Attributes:
        commits: how many there were.
        failures: attempts that failed.
        leases: how many they had, together.
        seconds: that they took, together.
        histogram: pairs of a number of seconds and the commits that took less, but at least the number before; the
            last number is infinite.
        sizes: the same, of leases instead of seconds.
    """

    commits: int
    failures: int
    leases: int
    seconds: float
    histogram: tuple[tuple[float, int], ...]
    sizes: tuple[tuple[float, int], ...]


class CommitMeter:
    """Measures commits, of which one is under way at a time. Attempts that fail are counted, and nothing else.

    Args:
        clock: seconds, from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = 0.0
        self._failures = self._leases = 0
        self._seconds = 0.0
        # The n-th counts what is less than 2**n, of microseconds and of leases.
        self._times = [0] * SHOWN
        self._sizes = [0] * SIZES

    @property
    def metrics(self) -> CommitMetrics:
        """How the commits have done so far."""
        return CommitMetrics(
            sum(self._times),
            self._failures,
            self._leases,
            self._seconds,
            tuple((2**power / 1e6 if power < SHOWN - 1 else math.inf, n) for power, n in enumerate(self._times)),
            tuple((2**power if power < SIZES - 1 else math.inf, n) for power, n in enumerate(self._sizes)),
        )

    def begin(self) -> None:
        """An attempt begins."""
        self._began = self._clock()

    def fail(self) -> None:
        """It failed."""
        self._failures += 1

    def end(self, leases: int) -> None:
        """It is done, with so many leases."""
        seconds = self._clock() - self._began
        self._leases += leases
        self._seconds += seconds
        self._times[min(int(seconds * 1e6).bit_length(), SHOWN - 1)] += 1
        self._sizes[min(leases.bit_length(), SIZES - 1)] += 1
