"""PluginLife: plugins come and go with a reload, or go with the server, and what they began goes with them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiodhcp.background import Background
from aiodhcp.constants import ControlCode
from aiodhcp.errors import ConfigError
from aiodhcp.eventstreams import Events
from aiodhcp.hooks import Hooks
from aiodhcp.subnets import Config

if TYPE_CHECKING:
    from aiodhcp.server import DhcpServer

__all__ = ["PluginLife"]

log = logging.getLogger("aiodhcp.server")
RELOAD_TIMEOUT: Final = 30
"""Seconds that new plugins may take to start at a reload: packets are served meanwhile, but no other reload."""


class PluginLife:
    """Tells the plugins of one server.

    Args:
        server: the server.
        check_running: raises when it does not run any more.
        events: its streams of events.
        background: its tasks.
        stop_timeout: seconds that plugins may take to stop, and before that their tasks to end.
    """

    def __init__(
        self,
        server: DhcpServer,
        check_running: Callable[[], None],
        events: Events,
        background: Background,
        stop_timeout: float,
    ) -> None:
        self._server = server
        self._check_running = check_running
        self._events = events
        self._background = background
        self._stop_timeout = stop_timeout

    async def begin(self, hooks: Hooks, new: frozenset[str], config: Config) -> None:
        """Tell the plugins of a reload; if one refuses, those that were told that they start hear that it is over.

        Args:
            hooks: those of all plugins that there will be.
            new: the names of those that start.
            config: what the server is to go by.

        Raises:
            ConfigError: a plugin refuses the start or the configuration, or takes too long.
            RuntimeError: the server stopped meanwhile.
        """
        # A new plugin may follow a cursor that an old one follows, which goes on with it if this one is refused.
        self._events.hold()
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT):
                await hooks.control(self._server, ControlCode.START, new)
                try:
                    await hooks.load(self._server, config)
                    self._check_running()
                except BaseException:
                    await self.end(hooks, new)
                    raise
        except BaseException as error:
            # Also what one began that then refused the start, and hears of no stop.
            try:
                await self._background.end(self._stop_timeout, _objects(hooks, new))
            finally:
                self._events.let_go(accepted=False)
            if isinstance(error, TimeoutError):
                raise ConfigError(f"a plugin has not started within {RELOAD_TIMEOUT} seconds") from None
            raise

    async def succeed(self, before: Hooks, gone: frozenset[str]) -> None:
        """Those that began take the place of others.

        Args:
            before: the hooks before the reload.
            gone: the names of those that are there no more.
        """
        try:
            await self.end(before, gone)
        finally:
            self._events.let_go(accepted=True)

    async def end(self, hooks: Hooks, only: frozenset[str] | None = None) -> None:
        """End what plugins began, tell them that it is over, and wait for them, but not for ever.

        Args:
            hooks: those of the plugins.
            only: the names of those that are told; None for all.
        """
        await self._background.end(self._stop_timeout, _objects(hooks, only))
        try:
            async with asyncio.timeout(self._stop_timeout):
                await hooks.control(self._server, ControlCode.STOP, only)
        except TimeoutError:
            log.warning("a plugin takes too long to stop and is not waited for any longer")


def _objects(hooks: Hooks, only: frozenset[str] | None) -> frozenset[int]:
    return frozenset(id(each.plugin) for each in hooks.plugins if only is None or each.name in only)
