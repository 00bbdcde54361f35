"""PluginLife: what plugins are told when they come and go with a reload, or go with the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiodhcp.constants import ControlCode
from aiodhcp.errors import ConfigError
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
        stop_timeout: seconds that plugins may take to stop.
    """

    def __init__(self, server: DhcpServer, check_running: Callable[[], None], stop_timeout: float) -> None:
        self._server = server
        self._check_running = check_running
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
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT):
                await hooks.control(self._server, ControlCode.START, new)
                try:
                    await hooks.load(self._server, config)
                    self._check_running()
                except BaseException:
                    await self.end(hooks, new)
                    raise
        except TimeoutError:
            raise ConfigError(f"a plugin has not started within {RELOAD_TIMEOUT} seconds") from None

    async def end(self, hooks: Hooks, only: frozenset[str] | None = None) -> None:
        """Tell plugins that it is over, and wait for them, but not for ever.

        Args:
            hooks: those of the plugins.
            only: the names of those that are told; None for all.
        """
        try:
            async with asyncio.timeout(self._stop_timeout):
                await hooks.control(self._server, ControlCode.STOP, only)
        except TimeoutError:
            log.warning("a plugin takes too long to stop and is not waited for any longer")
