"""Policy: how a plugin's hooks are run. ``hookimpl`` marks them, and says so for one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeVar, overload

import pluggy

__all__ = ["DEFAULT_POLICY", "UNSAID", "Policy", "hookimpl"]

OnFailure = Literal["continue", "drop", "disable"]
Function = TypeVar("Function", bound=Callable[..., Any])

_mark: Final = pluggy.HookimplMarker("aiodhcp")


@dataclass(frozen=True, slots=True)
class Policy:
    """How a plugin's hooks are run; None: not said here. The configuration overrules the decorator.

    Attributes:
        deadline: seconds that an ``async`` hook may take (2); ``math.inf`` for no end. A ``def`` hook can't be
            stopped: one that blocks is named in the log.
        on_error: what becomes of a packet whose hook raises or returns nonsense: "continue" as if the hook had not
            been called (this is the default, and what Microsoft's server does), "drop" the packet, or "disable" the
            plugin and continue.
        on_timeout: the same when the deadline passes ("drop").
        failures: how many failures of a hook in a row open its circuit (10), 0 for never: it is not called then.
            With "drop" in ``on_error`` its packets are dropped meanwhile.
        retry_after: seconds until one packet tries whether the hook works again (30).
        priority: those with a higher one are called first (0); with equal ones the configured order counts.
        shadow: whether the plugin only watches: it runs on live packets, and what it says and edits is recorded but
            not applied.

    Raises:
        ValueError: a value is not one of these.
    """

    deadline: float | None = None
    on_error: OnFailure | None = None
    on_timeout: OnFailure | None = None
    failures: int | None = None
    retry_after: float | None = None
    priority: int | None = None
    shadow: bool | None = None

    def __post_init__(self) -> None:
        for name in ("deadline", "retry_after"):
            seconds = getattr(self, name)
            if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
                raise ValueError(f"{name}: expected a number of seconds above 0, got {seconds!r}")
        for name in ("on_error", "on_timeout"):
            if getattr(self, name) not in (None, "continue", "drop", "disable"):
                raise ValueError(f"{name}: expected 'continue', 'drop' or 'disable', got {getattr(self, name)!r}")
        if self.failures is not None and not (isinstance(self.failures, int) and self.failures >= 0):
            raise ValueError(f"failures: expected 0 or more, got {self.failures!r}")

    def under(self, specific: Policy) -> Policy:
        """This one, where ``specific`` does not say otherwise."""
        said = {each.name: getattr(specific, each.name) for each in fields(self)}
        return Policy(**{name: getattr(self, name) if value is None else value for name, value in said.items()})


UNSAID: Final = Policy()
DEFAULT_POLICY: Final = Policy(2.0, "continue", "drop", 10, 30.0, 0, False)


@overload
def hookimpl(function: Function, /) -> Function: ...


@overload
def hookimpl(
    *,
    specname: str | None = None,
    tryfirst: bool = False,
    trylast: bool = False,
    optionalhook: bool = False,
    deadline: float | None = None,
    on_error: OnFailure | None = None,
    on_timeout: OnFailure | None = None,
    failures: int | None = None,
    retry_after: float | None = None,
    priority: int | None = None,
) -> Callable[[Function], Function]: ...


def hookimpl(
    function: Any = None,
    /,
    *,
    specname: str | None = None,
    tryfirst: bool = False,
    trylast: bool = False,
    optionalhook: bool = False,
    deadline: float | None = None,
    on_error: OnFailure | None = None,
    on_timeout: OnFailure | None = None,
    failures: int | None = None,
    retry_after: float | None = None,
    priority: int | None = None,
) -> Any:
    """Mark a function as the implementation of the hook that has its name.

    Args:
        function: the implementation, ``def`` or ``async def``.
        specname: the hook, where the function has another name.
        tryfirst: call it before those of the same priority.
        trylast: call it after those of the same priority.
        optionalhook: it is no mistake if there is no such hook.
        deadline: how long it may take; this and the following as in ``Policy``.
        on_error: what becomes of the packet when it raises.
        on_timeout: what becomes of the packet when it takes too long.
        failures: so many in a row, and it is not called any more.
        retry_after: for how long.
        priority: higher ones are called first.

    Raises:
        ValueError: a value that ``Policy`` doesn't take.
    """
    said = Policy(deadline, on_error, on_timeout, failures, retry_after, priority)

    def mark(function: Any) -> Any:
        _mark(function, specname=specname, tryfirst=tryfirst, trylast=trylast, optionalhook=optionalhook)
        function.aiodhcp_policy = said
        return function

    return mark if function is None else mark(function)
