"""Observing a server from inside: what its hooks are made of, and when it is done with a packet. For tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from aiodhcp.exchange import Exchange
from aiodhcp.hookcalls import Runtime
from aiodhcp.hooks import Hooks

__all__ = ["Observer"]


class Observer(Protocol):
    """Watches one server. What it raises is a fault of the server."""

    def hooks(self, plugins: Iterable[object], runtime: Runtime) -> Hooks:
        """Make the hooks of these plugins: when the server is made, and at a reload.

        Args:
            plugins: as given to the server.
            runtime: the clock and the deadlines that they would have.

        Raises:
            ConfigError: as of ``Hooks``.
        """
        ...

    def finished(self, exchange: Exchange) -> None:
        """The server is done with an exchange: its answer, if there is one, is sent, and all plugins were told."""
        ...
