"""The plugins of a server, and its hooks. pluggy declares, validates and registers; hookcalls.py calls them.

In configured order, awaiting what is awaitable, each implementation on its own: what one raises stops no other.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from aiodhcp.constants import ControlCode, DropReason
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Exchange
from aiodhcp.hookcalls import Hook, Runtime
from aiodhcp.hooktable import HOOKS
from aiodhcp.implementations import HookMetrics, Implementation
from aiodhcp.leases import Lease
from aiodhcp.registration import Registry
from aiodhcp.shadows import ShadowNote
from aiodhcp.subnets import Config
from aiodhcp.wording import is_round

if TYPE_CHECKING:
    from aiodhcp.server import DhcpServer

__all__ = ["TOLD", "Hooks"]

log = logging.getLogger("aiodhcp.hooks")

TOLD: Final[ContextVar[object]] = ContextVar("aiodhcp plugin that is told", default=None)
"""The plugin that hears ``dhcp_control`` or ``config_loaded``, also in the tasks that it begins then; None for none."""
NOTES_KEPT: Final = 1000
KINDS_KEPT: Final = 256
"""Failures that are told apart: what a plugin returns may differ for every packet."""


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
