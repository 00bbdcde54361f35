"""What tests share: a clock turned by hand, an engine, and clients that need no socket (``client.py``)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from client import Client, Clock, make_engine
from hypothesis import HealthCheck, settings

from aiodhcp import Engine

pytest_plugins = ["aiodhcp_pytest", "pytester"]

settings.register_profile("aiodhcp", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aiodhcp")

APART = ("tests/callout/", "tests/integration/")
"""Where tests take seconds each, most of which they wait: with several processes, each test goes to whichever is free.
Elsewhere those of a file stay together, with what they share."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # here: the tests that are run on Windows do without

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if nodeid.startswith(APART) else nodeid.partition("::")[0]

    return Scheduling(config, log)


@pytest.fixture
def clock() -> Clock:
    """The time, which stands still until a test lets it pass."""
    return Clock()


@pytest.fixture
def engine() -> Engine:
    """A server of 192.0.2.0/24 that gives out 192.0.2.10 to 192.0.2.99."""
    return make_engine()


@pytest.fixture
def new_client(engine: Engine, clock: Clock) -> Callable[..., Client]:
    """``new_client()``, ``new_client(another_engine, giaddr="198.51.100.1")``: each with a hardware address of its own:
    02:00:00:00:00:01, 02:00:00:00:00:02, and so on.
    """
    numbers = count(1)

    def make(server: Engine | None = None, **more: Any) -> Client:
        if "mac" not in more:
            more["mac"] = f"02:00:00:00:00:{next(numbers):02x}"
        return Client(engine if server is None else server, clock, **more)

    return make


@pytest.fixture
def client(new_client: Callable[..., Client]) -> Client:
    """A client of ``engine``."""
    return new_client()
