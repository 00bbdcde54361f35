"""How one hook is called: in order, awaiting what is awaitable, each implementation on its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiodhcp.constants import DropReason
from aiodhcp.exchange import Exchange, HookNote
from aiodhcp.hooktable import HOOKS, Calling
from aiodhcp.implementations import AT_ONCE, Implementation
from aiodhcp.shadows import Shadow, ShadowNote

if TYPE_CHECKING:
    from aiodhcp.hooks import Hooks

__all__ = ["Hook", "Overdue", "Runtime", "Step"]

log = logging.getLogger("aiodhcp.hooks")

Step = Callable[[Any], Awaitable[None] | None]


class Overdue(Exception):
    """An ``async`` hook took longer than its deadline."""


async def _plainly(begun: Awaitable[Any], implementation: Implementation) -> Any:
    return await begun


def _unheard(begun: Awaitable[None]) -> None:
    if inspect.iscoroutine(begun):
        begun.close()


def _unnoticed(implementation: Implementation, words: str, error: BaseException | None) -> None:
    pass


class Runtime(NamedTuple):
    """What hooks need of the world outside. Without one they have all the time there is, and none is measured.

    Attributes:
        clock: seconds, from any beginning.
        within: awaits what a hook left to await; raises ``Overdue`` when that takes longer than its deadline.
        detach: awaits something that nobody waits for.
        failed: is told of each failure of an implementation: what happened, in words, and what it raised, if it did.
    """

    clock: Callable[[], float] = lambda: 0.0
    within: Callable[[Awaitable[Any], Implementation], Awaitable[Any]] = _plainly
    detach: Callable[[Awaitable[None]], None] = _unheard
    failed: Callable[[Implementation, str, BaseException | None], None] = _unnoticed


class Hook:
    """One hook of one server: its implementations in the order of calling. False when there is none.

    Attributes:
        implementations: in that order.
        steps: for each of them, what calls it for a subject: the exchange, or what ``HOOKS`` has the arguments from.
            It gives None when all is done, or what has to be awaited when the implementation is ``async``. One after
            the other they are the hook, unless its first answer ends it.
    """

    def __init__(self, name: str, implementations: Iterable[Implementation], hooks: Hooks) -> None:
        self.name = name
        self.implementations = tuple(implementations)
        self._hooks = hooks
        self._calling: Final[Calling] = HOOKS[name]
        self._of_packet = self._calling.of_packet
        self._runtime = hooks.runtime
        self._clock = hooks.runtime.clock
        step = self._step if self._of_packet else partial(partial, self._call)
        self.steps: Final[tuple[Step, ...]] = tuple(step(each) for each in self.implementations)

    def __bool__(self) -> bool:
        return bool(self.implementations)

    def run(self, subject: Any) -> Awaitable[None] | None:
        """Call the implementations.

        Args:
            subject: what they are called for: the exchange, or what ``HOOKS`` has the arguments from.

        Returns:
            None when all is done; what has to be awaited when an implementation is ``async``.
        """
        return self._take(subject, iter(self.steps))

    def _take(self, subject: Any, left: Iterator[Step]) -> Awaitable[None] | None:
        for step in left:
            pending = step(subject)
            if pending is not None:
                return self._take_rest(subject, left, pending)
            if self._is_chosen(subject):
                break
        return None

    async def _take_rest(self, subject: Any, left: Iterator[Step], pending: Awaitable[None]) -> None:
        await pending
        if not self._is_chosen(subject):
            rest = self._take(subject, left)
            if rest is not None:
                await rest

    def _is_chosen(self, subject: Any) -> bool:
        """Whether there was an answer that ends the hook."""
        if not self._calling.chooses or subject.verdict is None:
            return False
        subject.verdict = None
        return True

    def _step(self, implementation: Implementation) -> Step:
        """What calls an implementation for a packet: where nothing is special, as it is nearly always, as cheaply as
        can be. See benchmarks/hooks.py.
        """
        clock, lasted = self._clock, implementation.lasted

        def step(exchange: Exchange) -> Awaitable[None] | None:
            if implementation.special or exchange.reason is not None or exchange.vetoed or exchange.trace is not None:
                return self._call(implementation, exchange)
            exchange.plugin = implementation
            began = clock()
            try:
                result = implementation.call(exchange)
            except BaseException as error:
                self._raised(implementation, exchange, began, error)
                return None
            if result is not None:
                return self._returned(implementation, exchange, began, result)
            lasted.append(clock() - began)
            if len(lasted) == AT_ONCE:
                implementation.count()
            return None

        return step

    def _call(self, implementation: Implementation, subject: Any) -> Awaitable[None] | None:
        """Call an implementation, whatever there is to think of."""
        if self._of_packet and subject.dropped and not self._calling.goes_on:
            return None
        if implementation.special and not self._may_call(implementation, subject):
            return None
        if self._of_packet:
            subject.plugin = implementation
        began = self._clock()
        try:
            result = implementation.call(subject)
        except BaseException as error:
            self._raised(implementation, subject, began, error)
            return None
        return self._returned(implementation, subject, began, result)

    def _raised(self, implementation: Implementation, subject: Any, began: float, error: BaseException) -> None:
        # A ``def`` hook may raise asyncio's CancelledError, too.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        self._failed(implementation, subject, self._clock() - began, "raised", error)

    def _returned(
        self, implementation: Implementation, subject: Any, began: float, result: Any
    ) -> Awaitable[None] | None:
        if result is not None and inspect.isawaitable(result):
            if self._calling.may_wait:
                return self._await(implementation, subject, result)
            _unheard(result)
        self._done(implementation, subject, self._clock() - began, result)
        return None

    async def _await(self, implementation: Implementation, subject: Any, begun: Awaitable[Any]) -> None:
        began = self._clock()
        try:
            result = await self._runtime.within(begun, implementation)
        except Overdue:
            self._failed(implementation, subject, self._clock() - began, "took too long", None)
        except Exception as error:
            self._failed(implementation, subject, self._clock() - began, "raised", error)
        else:
            self._done(implementation, subject, self._clock() - began, result)

    def _done(self, implementation: Implementation, subject: Any, seconds: float, result: Any) -> None:
        if result is not None:
            take = self._calling.take
            if take is None or not isinstance(result, self._calling.verdicts):
                self._failed(implementation, subject, seconds, f"returned {result!r}, which means nothing there", None)
                return
            try:
                take(subject, implementation, result)
            except Exception as error:  # the value may be anything
                self._failed(implementation, subject, seconds, f"returned {result!r}: {error}", None)
                return
            if self._calling.chooses:
                subject.verdict = result
        self._worked(implementation, seconds)
        if self._of_packet and subject.trace is not None:
            said = "" if result is None else repr(result)
            subject.trace.append(HookNote(implementation.plugin, self.name, said, seconds))

    def _worked(self, implementation: Implementation, seconds: float) -> None:
        implementation.took(seconds)
        if implementation.in_a_row and implementation.works():
            log.warning("plugin %s: %s works again", implementation.plugin, implementation.hook)

    def _failed(
        self, implementation: Implementation, subject: Any, seconds: float, what: str, error: BaseException | None
    ) -> None:
        implementation.took(seconds)
        overdue = what == "took too long"
        if overdue:
            implementation.timeouts += 1
        else:
            implementation.errors += 1
        words = what if error is None else f"{what} {error!r}"
        self._hooks.failed(implementation, words, error)
        policy = implementation.on_timeout if overdue else implementation.on_error
        if policy == "disable":
            self._hooks.disable(implementation.plugin)
        elif implementation.failed(self._clock()):
            log.error(
                "plugin %s: %s failed %d times in a row and is not called for %g seconds",
                implementation.plugin,
                implementation.hook,
                implementation.in_a_row,
                implementation.retry_after,
            )
        if self._of_packet:
            if subject.trace is not None:
                subject.trace.append(HookNote(implementation.plugin, self.name, words, seconds))
            if policy == "drop":
                self._drop(implementation, subject, DropReason.TIMEOUT if overdue else DropReason.INTERNAL_ERROR, what)

    def _drop(self, implementation: Implementation, exchange: Exchange, reason: DropReason, what: str) -> None:
        if self._calling.may_drop and not exchange.dropped:
            exchange.drop(reason, f"{self.name} of plugin {implementation.plugin} {what}")

    def _may_call(self, implementation: Implementation, subject: Any) -> bool:
        """Of one that is not simply called."""
        if not implementation.may_try(self._clock()):
            implementation.skipped += 1
            closed = implementation.on_error == "drop" and not (implementation.disabled or implementation.shadow)
            if closed and self._of_packet:
                self._drop(implementation, subject, DropReason.INTERNAL_ERROR, "fails again and again")
            return False
        if implementation.shadow and self._of_packet:
            self._call_shadow(implementation, subject)
            return False
        return True

    def _call_shadow(self, implementation: Implementation, exchange: Exchange) -> None:
        clock = self._clock
        shadow = Shadow(exchange, self.name)
        shadow.exchange.plugin = implementation
        began = clock()
        try:
            result = implementation.call(shadow.exchange)
        except BaseException as error:
            self._raised(implementation, shadow.exchange, began, error)
            return
        if result is not None and inspect.isawaitable(result):
            waiting = self._await_shadow(implementation, shadow, result)
            self._runtime.detach(waiting)
            if inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED:  # there was no room for it
                _unheard(result)
        else:
            self._note(implementation, shadow, clock() - began, result)

    async def _await_shadow(self, implementation: Implementation, shadow: Shadow, begun: Awaitable[Any]) -> None:
        began = self._clock()
        try:
            result = await self._runtime.within(begun, implementation)
        except Overdue:
            self._failed(implementation, shadow.exchange, self._clock() - began, "took too long", None)
        except Exception as error:
            self._failed(implementation, shadow.exchange, self._clock() - began, "raised", error)
        else:
            self._note(implementation, shadow, self._clock() - began, result)

    def _note(self, implementation: Implementation, shadow: Shadow, seconds: float, result: Any) -> None:
        exchange = shadow.exchange
        if result is not None and not isinstance(result, self._calling.verdicts):
            self._failed(implementation, exchange, seconds, f"returned {result!r}, which means nothing there", None)
            return
        try:
            changes = shadow.changes(result)
        except Exception as error:  # what it returned or left can be anything
            self._failed(implementation, exchange, seconds, "left nonsense:", error)
            return
        self._worked(implementation, seconds)
        implementation.differences += bool(changes)
        for would in changes:
            self._hooks.shadow_notes.append(
                ShadowNote(exchange.now, implementation.plugin, self.name, exchange.hardware_address, would)
            )
