"""Plugins made of functions, for tests of hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from client import Client, Clock, make_engine

from aiodhcp import hookimpl

ALL_HOOKS = [
    "dhcp_new_pkt",
    "dhcp_handle_options",
    "dhcp_delete_client",
    "dhcp_address_del",
    "dhcp_address_offer",
    "dhcp_pkt_send",
    "dhcp_pkt_drop",
]
"""Those that fire for packets."""


def plugin(name: str = "plugin", **hooks: Callable[..., Any]) -> object:
    """A plugin made of functions: ``plugin(dhcp_new_pkt=lambda packet: Drop())``."""
    members = {hook: staticmethod(hookimpl(function)) for hook, function in hooks.items()}
    return type("Plugin", (), {"name": name, **members})()


def talk(clock: Clock, *plugins: object, **more: Any) -> Client:
    """A client of a server with these plugins."""
    return Client(make_engine(plugins=plugins, **more), clock)


def broken(*_: object) -> None:
    """A hook that raises."""
    raise ZeroDivisionError("oh no")


def error_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors that were logged."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
