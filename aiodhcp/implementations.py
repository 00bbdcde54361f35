"""Implementation: one plugin's part of one hook, how it is called, and how it has done so far."""

from __future__ import annotations

import inspect
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiodhcp.policies import OnFailure, Policy

__all__ = ["AT_ONCE", "HookMetrics", "Implementation", "itself", "where"]

BUCKETS: Final = 64
"""Of the latency histogram: the n-th counts calls of less than 2**n µs. Nothing takes longer than the last says."""
SHOWN: Final = 27
"""Those that are told apart; all that took longer than the last of them, 34 seconds, is one."""
AT_ONCE: Final = 256
"""Calls that are counted together: it takes a fraction of the time."""


@dataclass(frozen=True, slots=True)
class HookMetrics:
    """How one plugin's implementation of one hook has done.

    Attributes:
        plugin, hook: whose it is.
        state: "working"; "open" while its circuit is open, "disabled" for good; "shadow" if it only watches.
        calls: how often it was called and came to an end.
        errors: how often it raised, or returned what means nothing there.
        timeouts: how often it took longer than its deadline.
        vetoes: how often it dropped or refused a packet.
        skipped: how often it was not called, because its circuit was open or it was disabled.
        blocked: how often it was found blocking the event loop.
        abandoned: calls that took too long, were cancelled, and have not ended yet all the same.
        differences: of a plugin in shadow mode, calls that would have changed something.
        seconds: that all calls took, together.
        histogram: pairs of a number of seconds and the calls that took less, but at least the number before; the
            last number is infinite.
    """

    plugin: str
    hook: str
    state: str
    calls: int
    errors: int
    timeouts: int
    vetoes: int
    skipped: int
    blocked: int
    abandoned: int
    differences: int
    seconds: float
    histogram: tuple[tuple[float, int], ...]


class Implementation:
    """One plugin's implementation of one hook.

    Args:
        plugin: the plugin's name.
        hook: the hook's name.
        function: the implementation.
        arguments: the names of the arguments it takes.
        getters: for every argument of the hook, what takes it from the subject: the exchange, the lease, ....
        policy: how it is to be run; nothing in it is None.

    Attributes:
        call: calls the function for a subject.
        special: whether there is more to think of than calling it: it watches, is disabled, or failed last time.
        lasted: seconds that the last calls took, which are not counted yet.
        in_a_row: failures since the last success.
        open_until: when its circuit closes again for a trial; 0 while it is closed.
        disabled: whether it is not called any more.
    """

    __slots__ = (
        "abandoned",
        "arguments",
        "blocked",
        "buckets",
        "call",
        "deadline",
        "differences",
        "disabled",
        "errors",
        "failures",
        "function",
        "hook",
        "in_a_row",
        "lasted",
        "on_error",
        "on_timeout",
        "open_until",
        "plugin",
        "priority",
        "retry_after",
        "seconds",
        "shadow",
        "skipped",
        "special",
        "timeouts",
        "vetoes",
    )

    def __init__(
        self,
        plugin: str,
        hook: str,
        function: Callable[..., Any],
        arguments: tuple[str, ...],
        getters: Mapping[str, Callable[[Any], Any]],
        policy: Policy,
    ) -> None:
        assert policy.deadline is not None
        assert policy.retry_after is not None
        assert policy.on_error is not None
        assert policy.on_timeout is not None
        self.plugin = plugin
        self.hook = hook
        self.function = function
        self.arguments = arguments
        self.call = _caller(function, [getters[name] for name in arguments])
        self.deadline: float = policy.deadline
        self.on_error: OnFailure = policy.on_error
        self.on_timeout: OnFailure = policy.on_timeout
        self.failures = policy.failures or 0
        self.retry_after: float = policy.retry_after
        self.priority = policy.priority or 0
        self.shadow = bool(policy.shadow)
        self.special = self.shadow
        self.disabled = False
        self.open_until = 0.0
        self.in_a_row = 0
        self.errors = self.timeouts = self.vetoes = self.skipped = 0
        self.blocked = self.abandoned = self.differences = 0
        self.lasted: Final[list[float]] = []
        self.seconds = 0.0
        self.buckets = [0] * BUCKETS

    def __repr__(self) -> str:
        return f"<Implementation {self.plugin}: {self.hook}>"

    @property
    def where(self) -> str:
        """File and line."""
        return where(self.function)

    @property
    def state(self) -> str:
        """In a word, whether it is called."""
        if self.disabled:
            return "disabled"
        if self.shadow:
            return "shadow"
        return "open" if self.open_until else "working"

    @property
    def metrics(self) -> HookMetrics:
        """How it has done so far."""
        self.count()
        return HookMetrics(
            self.plugin,
            self.hook,
            self.state,
            sum(self.buckets),
            self.errors,
            self.timeouts,
            self.vetoes,
            self.skipped,
            self.blocked,
            self.abandoned,
            self.differences,
            self.seconds,
            (
                *((2**power / 1e6, count) for power, count in enumerate(self.buckets[: SHOWN - 1])),
                (math.inf, sum(self.buckets[SHOWN - 1 :])),
            ),
        )

    def took(self, seconds: float) -> None:
        """A call came to an end."""
        self.lasted.append(seconds)
        if len(self.lasted) >= AT_ONCE:
            self.count()

    def count(self) -> None:
        """Count the last calls."""
        lasted = self.lasted
        self.seconds += sum(lasted)
        lasted.sort()
        at = bucket = 0
        while at < len(lasted):
            end = bisect_left(lasted, 2**bucket / 1e6, at)
            self.buckets[bucket] += end - at
            at, bucket = end, bucket + 1
        lasted.clear()

    def failed(self, now: float) -> bool:
        """A call failed. Whether the circuit opens by that."""
        self.in_a_row += 1
        self.special = True
        if not self.failures or self.in_a_row < self.failures:
            return False
        opens = not self.open_until
        self.open_until = now + self.retry_after
        return opens

    def may_try(self, now: float) -> bool:
        """Whether it may be called, though it failed so often: one packet tries, the next only after a while."""
        if self.open_until and not self.disabled:
            if now < self.open_until:
                return False
            self.open_until = now + self.retry_after
        return not self.disabled

    def works(self) -> bool:
        """A call succeeded after others that failed. Whether the circuit closes by that."""
        self.in_a_row = 0
        closes, self.open_until = bool(self.open_until), 0.0
        self.special = self.shadow or self.disabled
        return closes

    def reset(self) -> None:
        """Call it again, whatever was."""
        self.disabled, self.special = False, self.shadow
        self.open_until, self.in_a_row = 0.0, 0

    def disable(self) -> None:
        """Call it no more."""
        self.disabled = self.special = True


def where(function: Any) -> str:
    """File and line of a function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)


def itself(subject: Any) -> Any:
    """The subject, for what is told it as a whole."""
    return subject


def _caller(function: Callable[..., Any], getters: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """What calls a function for a subject, getting only what it wants: this is where the time of a hook goes."""
    if not getters:
        return lambda subject: function()
    if getters == [itself]:
        return function
    if len(getters) == 1:
        (one,) = getters
        return lambda subject: function(one(subject))
    if len(getters) == 2:
        first, second = getters
        return lambda subject: function(first(subject), second(subject))
    return lambda subject: function(*[get(subject) for get in getters])
