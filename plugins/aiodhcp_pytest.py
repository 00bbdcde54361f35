"""The fixtures of ``aiodhcp.testing`` for pytest, which finds them when aiodhcp is installed.

It is no part of the package aiodhcp, and imports nothing of it before a fixture is used: pytest imports this file in
every project of an environment, and most have nothing to do with DHCP.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aiodhcp.testing import Client, Clock, ConfigLike, HookTrace, MemoryServer, PluginLike, SyncClient

__all__: list[str] = []

SERVERS = pytest.StashKey[list["MemoryServer"]]()
"""The servers of a test."""
MARKER = "dhcp(config=None, plugins=(), **options): the server that the fixture dhcp_server is, see aiodhcp.testing"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


# ── what a test may override ─────────────────────────────────────────────────────────────────────────────────────────


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the markers say: that of the function before that of its class, and of its module."""
    said: dict[str, Any] = {}
    for marker in request.node.iter_markers("dhcp"):
        if marker.args:
            raise pytest.UsageError("@pytest.mark.dhcp takes keyword arguments only: config=..., plugins=[...]")
        said = {**marker.kwargs, **said}
    return said


@pytest.fixture
def dhcp_config(request: pytest.FixtureRequest) -> ConfigLike | None:
    """The configuration of ``dhcp_server``: what the marker says, None for 192.0.2.0/24. To be overridden."""
    return _marked(request).get("config")


@pytest.fixture
def dhcp_plugins(request: pytest.FixtureRequest) -> Iterable[PluginLike]:
    """The plugins of ``dhcp_server``: what the marker says. To be overridden."""
    plugins: Iterable[PluginLike] = _marked(request).get("plugins", ())
    return plugins


@pytest.fixture
def dhcp_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The other arguments of ``MemoryServer`` for ``dhcp_server``: what the marker says. To be overridden."""
    return {name: value for name, value in _marked(request).items() if name not in ("config", "plugins")}


# ── what a test uses ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def dhcp_clock() -> Clock:
    """The time of the servers of this test, which stands still until ``dhcp_clock.advance("12h")``."""
    from aiodhcp.testing import Clock

    return Clock()


@pytest.fixture
def make_dhcp_server(request: pytest.FixtureRequest, dhcp_clock: Clock) -> Iterator[Callable[..., MemoryServer]]:
    """``make_dhcp_server(config, plugins, ...)``: a ``MemoryServer``, which is stopped after the test."""
    from aiodhcp.testing import MemoryServer

    servers: list[MemoryServer] = request.node.stash.setdefault(SERVERS, [])

    def make(config: Any = None, plugins: Iterable[Any] = (), **options: Any) -> MemoryServer:
        options = {"clock": dhcp_clock, "directory": request.path.parent, **options}
        servers.append(MemoryServer(config, plugins, **options))
        return servers[-1]

    yield make
    failed = []
    while servers:
        try:
            servers.pop().close()
        except Exception as error:
            failed.append(error)
    if failed:
        raise failed[0]


@pytest.fixture
def dhcp_server(
    make_dhcp_server: Callable[..., MemoryServer],
    dhcp_config: ConfigLike | None,
    dhcp_plugins: Iterable[PluginLike],
    dhcp_options: dict[str, Any],
) -> MemoryServer:
    """A server in memory, with the configuration and the plugins that the marker or the fixtures say."""
    return make_dhcp_server(dhcp_config, dhcp_plugins, **dhcp_options)


@pytest.fixture
def dhcp_client(dhcp_server: MemoryServer) -> Client:
    """A client of ``dhcp_server``, to be awaited: ``await dhcp_client.dora()``."""
    return dhcp_server.client()


@pytest.fixture
def sync_dhcp_client(dhcp_client: Client) -> SyncClient:
    """The same for tests that are not ``async``: ``sync_dhcp_client.dora()``."""
    return dhcp_client.sync


@pytest.fixture
def hook_trace(dhcp_server: MemoryServer) -> HookTrace:
    """Which hooks ``dhcp_server`` called, in order, with what, and what they said."""
    return dhcp_server.trace


# ── around a test ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """An ``async`` test ends by stopping its servers, while its event loop still runs.

    Whoever runs it, pytest-asyncio in any mode or somebody else, closes the loop when it likes, maybe before fixtures
    that are not ``async`` hear that the test is over.
    """
    test = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(test) or SERVERS not in item.stash:
        return (yield)
    item.obj = _stopping(test, item.stash[SERVERS])  # type: ignore[attr-defined]
    try:
        return (yield)
    finally:
        item.obj = test  # type: ignore[attr-defined]


def _stopping(test: Callable[..., Awaitable[None]], servers: list[MemoryServer]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def stopping(*arguments: Any, **named: Any) -> None:
        failed: BaseException | None = None
        try:
            await test(*arguments, **named)
        except BaseException as error:
            failed = error
        for each in servers:
            try:
                await each.stop(quietly=failed is not None)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    return stopping


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what was said, and which hooks were called."""
    report = yield
    if report.failed:
        for each in item.stash.get(SERVERS, []):
            report.sections.append(("DHCP server", each.report()))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """``assert hook_trace == [...]`` and ``assert "dhcp_new_pkt" in hook_trace`` show what was called."""
    trace = left if op in ("==", "!=") else right
    if type(trace).__name__ != "HookTrace" or op not in ("==", "!=", "in", "not in"):
        return None
    other: Any = right if trace is left else left
    called: list[str] = trace.names  # type: ignore[attr-defined]
    if op == "==" and isinstance(other, list | tuple):
        first = next((at for at, pair in enumerate(zip_longest(called, other)) if pair[0] != pair[1]), 0)
        return [f"hooks called == {other!r}", f"from {first} on they differ. Called were:", *str(trace).splitlines()]
    return [f"{other!r} {op} the hooks that were called:", *str(trace).splitlines()]
