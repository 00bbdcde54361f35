"""How hooks are called. pluggy declares, validates and registers; the calls are made here.

In configured order, awaiting what is awaitable, each implementation on its own: what one raises stops no other.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiodhcp.constants import ControlCode, DropReason
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Exchange, HookNote
from aiodhcp.hooktable import HOOKS, Calling
from aiodhcp.implementations import HookMetrics, Implementation
from aiodhcp.leases import Lease
from aiodhcp.registration import Registry
from aiodhcp.shadows import Shadow, ShadowNote
from aiodhcp.subnets import Config
from aiodhcp.wording import is_round

if TYPE_CHECKING:
    from aiodhcp.server import DhcpServer

__all__ = ["TOLD", "Hook", "Hooks", "Overdue", "Runtime"]

log = logging.getLogger("aiodhcp.hooks")

TOLD: Final[ContextVar[object]] = ContextVar("aiodhcp plugin that is told", default=None)
"""The plugin that hears ``dhcp_control`` or ``config_loaded``, also in the tasks that it begins then; None for none."""
NOTES_KEPT: Final = 1000
KINDS_KEPT: Final = 256
"""Failures that are told apart: what a plugin returns may differ for every packet."""


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
    """One hook of one server: its implementations in the order of calling. False when there is none."""

    def __init__(self, name: str, implementations: Iterable[Implementation], hooks: Hooks) -> None:
        self.name = name
        self.implementations = tuple(implementations)
        self._hooks = hooks
        self._calling: Final[Calling] = HOOKS[name]
        self._of_packet = self._calling.of_packet
        self._goes_on = self._calling.goes_on or not self._of_packet
        self._runtime = hooks.runtime
        self._clock = hooks.runtime.clock

    def __bool__(self) -> bool:
        return bool(self.implementations)

    def run(self, subject: Any, at: int = 0) -> Awaitable[None] | None:
        """Call the implementations from the ``at``-th on.

        Args:
            subject: what they are called for: the exchange, or what ``HOOKS`` has the arguments from.

        Returns:
            None when all is done; what has to be awaited when an implementation is ``async``.
        """
        clock, of_packet, goes_on = self._clock, self._of_packet, self._goes_on
        for implementation in self.implementations[at:] if at else self.implementations:
            if implementation.special and not self._may_call(implementation, subject):
                if of_packet and self._ends(subject):
                    return None
                continue
            if of_packet:
                subject.plugin = implementation
            began = clock()
            try:
                result = implementation.call(subject)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # a ``def`` hook may raise asyncio's CancelledError, too
                self._failed(implementation, subject, clock() - began, "raised", error)
            else:
                if result is None and not implementation.in_a_row and (not of_packet or subject.trace is None):
                    # What nearly always happens, as cheaply as it can be: see benchmarks/hooks.py.
                    seconds = clock() - began
                    implementation.seconds += seconds
                    implementation.buckets[int(seconds * 1e6).bit_length()] += 1
                    if goes_on or (subject.reason is None and not subject.vetoed):
                        continue
                    return None
                if inspect.isawaitable(result):
                    if self._calling.may_wait:
                        return self._resume(subject, implementation, result)
                    _unheard(result)
                self._done(implementation, subject, clock() - began, result)
            if of_packet and self._ends(subject):
                return None
        return None

    async def _resume(self, subject: Any, implementation: Implementation, begun: Awaitable[Any]) -> None:
        began = self._clock()
        try:
            result = await self._runtime.within(begun, implementation)
        except Overdue:
            self._failed(implementation, subject, self._clock() - began, "took too long", None)
        except Exception as error:
            self._failed(implementation, subject, self._clock() - began, "raised", error)
        else:
            self._done(implementation, subject, self._clock() - began, result)
        if not (self._of_packet and self._ends(subject)):
            rest = self.run(subject, self.implementations.index(implementation) + 1)
            if rest is not None:
                await rest

    def _ends(self, exchange: Exchange) -> bool:
        """Whether the other implementations need not be called."""
        calling = self._calling
        if calling.chooses and exchange.verdict is not None:
            exchange.verdict = None
            return True
        return exchange.dropped and not calling.goes_on

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
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # as in ``run``
            self._failed(implementation, shadow.exchange, clock() - began, "raised", error)
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


class Hooks:
    """The plugins of one server, and a way to fire each hook.

    Args:
        plugins: modules or objects, in the order in which they are to be called; or ``Plugin``, with a policy.
        runtime: the clock and the deadlines.

    Attributes:
        plugins: as ``Plugin``, in configured order.
        failures: how often an implementation failed, by plugin and hook.
        shadow_notes: what plugins in shadow mode would have changed, the last thousand.

    Raises:
        ConfigError: a hook or an argument is misspelt, or a plugin is given twice; names file and line.
    """

    def __init__(self, plugins: Iterable[object] = (), runtime: Runtime | None = None) -> None:
        self.runtime = runtime or Runtime()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.shadow_notes: deque[ShadowNote] = deque(maxlen=NOTES_KEPT)
        self._kinds: set[tuple[str, str, str]] = set()
        registry = Registry(plugins)
        self.plugins = registry.plugins
        self._by_name: Final = {name: Hook(name, registry.implementations(name), self) for name in HOOKS}
        for name in ("dhcp_extension", "dhcp_reserved"):
            for implementation in self._by_name[name].implementations:
                log.warning(
                    "plugin %s: %s is reserved and never called (%s)", implementation.plugin, name, implementation.where
                )
        self.dhcp_control = self._by_name["dhcp_control"]
        self.dhcp_new_pkt = self._by_name["dhcp_new_pkt"]
        self.dhcp_pkt_drop = self._by_name["dhcp_pkt_drop"]
        self.dhcp_pkt_send = self._by_name["dhcp_pkt_send"]
        self.dhcp_address_del = self._by_name["dhcp_address_del"]
        self.dhcp_address_offer = self._by_name["dhcp_address_offer"]
        self.dhcp_handle_options = self._by_name["dhcp_handle_options"]
        self.dhcp_delete_client = self._by_name["dhcp_delete_client"]
        self.config_loaded = self._by_name["config_loaded"]
        self.select_subnet = self._by_name["select_subnet"]
        self.reservation_lookup = self._by_name["reservation_lookup"]
        self.unknown_client = self._by_name["unknown_client"]
        self.select_address = self._by_name["select_address"]
        self.select_lease_time = self._by_name["select_lease_time"]
        self.leases_committed = self._by_name["leases_committed"]
        self.lease_expired = self._by_name["lease_expired"]
        self.lease_recovered = self._by_name["lease_recovered"]

    @property
    def implementations(self) -> Sequence[Implementation]:
        """Every implementation, hook by hook, in the order of calling."""
        return [each for hook in self._by_name.values() for each in hook.implementations]

    @property
    def metrics(self) -> Sequence[HookMetrics]:
        """How each of them has done so far."""
        return [each.metrics for each in self.implementations]

    def without(self, other: Hooks) -> frozenset[str]:
        """The names of the plugins that ``other`` does not have, the very same objects."""
        known = {id(each.plugin) for each in other.plugins}
        return frozenset(each.name for each in self.plugins if id(each.plugin) not in known)

    async def control(self, server: DhcpServer, code: ControlCode, only: frozenset[str] | None = None) -> None:
        """Fire ``dhcp_control``.

        Args:
            server: the server.
            code: what it is told.
            only: the plugins it is told to; None for all of them.

        Raises:
            ConfigError: a plugin refused the start; those that were told of it before hear that it is over.
        """
        told = [each for each in self.dhcp_control.implementations if only is None or each.plugin in only]
        for at, implementation in enumerate(told):
            if implementation.disabled and code != ControlCode.STOP:
                continue
            try:
                await self._tell(implementation, (server, code))
            except BaseException as error:
                ends = not isinstance(error, Exception)
                refuses = code == ControlCode.START and (ends or not implementation.shadow)
                if refuses:
                    await self.control(server, ControlCode.STOP, frozenset(each.plugin for each in told[:at]))
                if ends:
                    raise
                if refuses:
                    raise ConfigError(f"plugin {implementation.plugin} refused the start: {error}") from error
                implementation.errors += 1
                self.failed(implementation, f"raised {error!r}", error)

    async def load(self, server: DhcpServer, config: Config) -> None:
        """Fire ``config_loaded``.

        Raises:
            ConfigError: a plugin refused the configuration.
        """
        for implementation in self.config_loaded.implementations:
            if implementation.disabled:
                continue
            try:
                await self._tell(implementation, (server, config))
            except Exception as error:
                if not implementation.shadow:
                    raise ConfigError(f"plugin {implementation.plugin} refused the configuration: {error}") from error
                implementation.errors += 1
                self.failed(implementation, f"raised {error!r}", error)

    async def _tell(self, implementation: Implementation, subject: Any) -> None:
        began = self.runtime.clock()
        token = TOLD.set(next(each.plugin for each in self.plugins if each.name == implementation.plugin))
        try:
            result = implementation.call(subject)
            if inspect.isawaitable(result):
                await result
        finally:
            TOLD.reset(token)
            implementation.took(self.runtime.clock() - began)

    def delete_client(self, lease: Lease) -> Awaitable[None] | None:
        """Fire ``dhcp_delete_client``."""
        return self.dhcp_delete_client.run(lease)

    def pkt_drop(self, exchange: Exchange, reason: DropReason) -> Awaitable[None] | None:
        """Fire ``dhcp_pkt_drop``."""
        exchange.telling = reason
        return self.dhcp_pkt_drop.run(exchange)

    def reset(self) -> None:
        """Every plugin gets another chance: none is disabled, and all circuits are closed."""
        for each in self.implementations:
            each.reset()

    def failed(self, implementation: Implementation, words: str, error: BaseException | None) -> None:
        """Count a failure, and name the plugin: each kind of failure once in full, then at 10, 100, 1000 ... of all."""
        self.runtime.failed(implementation, words, error)
        key = (implementation.plugin, implementation.hook)
        self.failures[key] += 1
        count = self.failures[key]
        kind = (*key, words.partition("(")[0])
        new = kind not in self._kinds and len(self._kinds) < KINDS_KEPT
        if new:
            self._kinds.add(kind)
        if new or is_round(count):
            log.error(
                "plugin %s: %s %s (%s; %d so far)",
                implementation.plugin,
                implementation.hook,
                words,
                implementation.where,
                count,
                exc_info=error if new else None,
            )

    def disable(self, plugin: str) -> None:
        """Call a plugin no more; but STOP it hears."""
        log.error("plugin %s is disabled until the server is started again or reloads its configuration", plugin)
        for each in self.implementations:
            if each.plugin == plugin:
                each.disable()
