"""MemoryServer: a whole DhcpServer, with a network, a store and a clock in memory, on whichever event loop is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from aiodhcp.exchange import Datagram, Exchange, Interface
from aiodhcp.hookcalls import Runtime
from aiodhcp.hooks import Hooks
from aiodhcp.implementations import Implementation
from aiodhcp.leases import Lease, LeaseState
from aiodhcp.leasetable import LeaseTable
from aiodhcp.offline import likely_address
from aiodhcp.prober import Prober
from aiodhcp.registration import Plugin
from aiodhcp.server import DhcpServer
from aiodhcp.stores import Store
from aiodhcp.stores.memory import MemoryStore
from aiodhcp.subnets import Config
from aiodhcp.testing.client import Client
from aiodhcp.testing.clock import Clock
from aiodhcp.testing.given import ConfigLike, PluginLike, as_config, as_plugins, without_sockets
from aiodhcp.testing.messages import Address, number
from aiodhcp.testing.results import HookFailed
from aiodhcp.testing.trace import HookTrace, record
from aiodhcp.transports.memory import MemoryTransport

__all__ = ["MemoryServer"]

T = TypeVar("T")
TURNS: Final = 12
"""Of the event loop, in which what was begun comes to where it waits."""
EXPLAINED: Final = 100
"""Exchanges that are kept."""


class MemoryProber(Prober):
    """Asks a network in memory who has an address.

    Attributes:
        taken: addresses that somebody uses, and who, in words.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[int, str] = {}

    async def in_use(self, address: int, interface: Interface, method: str, timeout: float) -> str:  # noqa: ASYNC109
        """Who has the address; empty for nobody."""
        return self.taken.get(address, "")


class MemoryServer:
    """A server under test: a whole ``DhcpServer``, as in production, with its hooks, deadlines, lanes and commits, but
    without a socket or a file.

    It starts when it is first asked something, on the event loop that runs then; or, in a test that is not ``async``,
    on one of its own, which runs within each call. Out of ``async with``, ``close`` ends it.

    Args:
        config: the configuration: a ``Config``, ``Settings``, the path of a TOML file, the text of one, or what it
            says as a mapping. By default one subnet, 192.0.2.0/24, which gives out 192.0.2.10 to 192.0.2.99.
        plugins: more of them, called after those of the configuration, found and made as the daemon does: objects,
            classes, modules; names of files, entry points and modules; mappings as in ``[[plugins]]``, with ``use``,
            ``settings`` and policies, where ``use`` may be an object, too.
        clock: the time.
        interfaces: names of interfaces, and the server's address or addresses there. By default those that the
            configuration names, or eth0, with the subnet's router or first address.
        leases: what the store holds at the start.
        store: another store.
        tolerate_errors: whether tests go on when hooks fail.
        directory: where relative paths start, of plugins and of what their settings name.
        **options: of ``DhcpServer``: ``max_in_flight``, ``wait_timeout``, ``stop_timeout``.

    Raises:
        ConfigError: the configuration or a plugin is wrong.

    Attributes:
        config: the configuration.
        plugins: as they were made, in the order of calling.
        clock: the time.
        transport: the network: what was sent is in ``transport.sent``.
        store: where leases survive.
        trace: which hooks were called.
        errors: the failures of hooks so far.
        tolerate_errors: as given.
    """

    def __init__(
        self,
        config: ConfigLike | None = None,
        plugins: Iterable[PluginLike] = (),
        *,
        clock: Clock | None = None,
        interfaces: Mapping[str, Address | Sequence[Address]] | None = None,
        leases: Iterable[Lease] = (),
        store: Store | None = None,
        tolerate_errors: bool = False,
        directory: Path | None = None,
        **options: Any,
    ) -> None:
        self._directory = directory or Path.cwd()
        checked, settings = as_config(config, self._directory)
        self.config = without_sockets(checked)
        own = [] if settings is None else settings.make_plugins()
        self.plugins: list[Plugin] = [*own, *as_plugins(plugins, self._directory)]
        self.clock = clock or Clock()
        self.store: Store = store or MemoryStore(leases)
        self.trace = HookTrace()
        self.errors: list[HookFailed] = []
        self.tolerate_errors = tolerate_errors
        names = [] if settings is None else settings.interfaces
        self.transport = MemoryTransport(interfaces=_interfaces(self.config, names, interfaces))
        if settings is not None:
            options = {"max_in_flight": settings.max_in_flight, "wait_timeout": settings.wait_timeout, **options}
        self._options: dict[str, Any] = {"stop_timeout": 1.0, **options}
        self._prober = MemoryProber()
        self._unseen: list[HookFailed] = []
        self._numbers = count(1)
        self._server = self._new_server()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own: asyncio.Runner | None = None
        self._starting: asyncio.Lock | None = None

    def _new_server(self) -> DhcpServer:
        return DhcpServer(
            self.config,
            store=self.store,
            transport=self.transport,
            plugins=self.plugins,
            clock=self.clock,
            prober=self._prober,
            observer=self,
            **{"explain": EXPLAINED, **self._options},
        )

    def __repr__(self) -> str:
        return f"<MemoryServer {self._server.health.status}, {len(self.leases)} leases>"

    # ── who talks to it, and what can be asked ───────────────────────────────────────────────────────────────────

    def client(self, hardware_address: str = "", **more: Any) -> Client:
        """A client.

        Args:
            hardware_address: 1 to 16 octets; by default 02:00:00:00:00:01 for the first client, and so on.
            **more: these, and options of every message, by name with underscores: ``client_identifier=b"\\0me"``.

        Keyword Args:
            giaddr (Address): of the relay agent that it is behind.
            circuit_id (bytes | str): what the relay agent says of it (option 82).
            remote_id (bytes | str): the same. For other sub-options give
                ``relay_agent_information={1: b"eth7", 12: b"..."}``.
            interface (str): the name of the one that its messages arrive on; by default the first.
            broadcast (bool): whether it sets the broadcast flag.
            htype (int): the hardware type.
        """
        if not hardware_address:
            hardware_address = next(self._numbers).to_bytes(5, "big").rjust(6, b"\2").hex(":")
        return Client(self, hardware_address, **more)

    @property
    def server(self) -> DhcpServer:
        """The server itself: ``server.hooks.metrics``, ``server.pause()``, ``server.delete_lease(...)``, ..."""
        return self._server

    @property
    def leases(self) -> LeaseTable:
        """All leases, in whatever state. To read."""
        return self._server.leases

    def lease(self, address: Address) -> Lease | None:
        """What is known of an address: whose it is or was; None where nothing is."""
        return self.leases.get(number(address))

    def plugin(self, name: str) -> Any:
        """The plugin of that name, the object itself.

        Raises:
            LookupError: there is none.
        """
        plugins = {each.name: each.plugin for each in self._server.hooks.plugins}
        if name not in plugins:
            raise LookupError(f"there is no plugin {name!r}, but {', '.join(map(repr, plugins)) or 'none at all'}")
        return plugins[name]

    def interface(self, name: str = "") -> Interface:
        """An interface by its name; the first without.

        Raises:
            LookupError: there is none.
        """
        known = {each.name: each for each in self.transport.interfaces}
        if name and name not in known:
            raise LookupError(f"there is no interface {name!r}, but {', '.join(map(repr, known))}")
        return known[name] if name else self.transport.interfaces[0]

    def occupy(self, address: Address, by: str = "02:00:00:00:00:ff") -> None:
        """Have somebody use an address without asking: a subnet with ``conflict-probe`` notices that."""
        self._prober.taken[number(address)] = by

    @contextmanager
    def tolerating_errors(self) -> Iterator[list[HookFailed]]:
        """Let hooks fail in a block; what failed in it is in the list."""
        before, self.tolerate_errors = self.tolerate_errors, True
        failed: list[HookFailed] = []
        known = len(self.errors)
        try:
            yield failed
        finally:
            self.tolerate_errors = before
            failed += self.errors[known:]

    def report(self) -> str:
        """What was said, and which hooks were called, for people."""
        exchanges = [repr(each) for each in self._server.exchanges()[-20:]]
        return "\n".join([*exchanges, "", "hooks:", str(self.trace)])

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Start, unless it runs.

        Raises:
            ConfigError: a plugin refuses the start or the configuration.
            RuntimeError: it runs on another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop and self._starting is None:
            return
        if self._loop not in (None, loop):
            assert self._loop is not None
            if not self._loop.is_closed():
                raise RuntimeError("this server runs on another event loop; stop it there, or make another one")
            self._forget()
        if self._starting is None:
            self._starting, self._loop = asyncio.Lock(), loop
        async with self._starting:
            if self._starting is None:  # somebody else has started it, or tried to
                await self.start()
                return
            if self._server.health.status == "stopped":
                self._server = self._new_server()
            self.clock.wind(self, loop)
            try:
                await self._server.start()
            except BaseException:
                self.clock.unwind(self, loop)
                self._loop = None
                raise
            finally:
                self._starting = None
        self._surface()

    async def stop(self, *, quietly: bool = False) -> None:
        """Stop, if it runs. What is asked later starts it again, with the leases that the store has.

        Args:
            quietly: what hooks failed with is not raised: something else is, already.

        Raises:
            HookFailed: a hook failed, and that was not seen before.
        """
        if self._loop is not None:
            try:
                await self._server.stop()
            finally:
                self.clock.unwind(self, self._loop)
                self._loop = None
        if quietly:
            self._unseen.clear()
        self._surface()

    async def restart(self) -> None:
        """Stop and start: what is in the store is left."""
        await self.stop()
        await self.start()

    async def reload(self, config: ConfigLike | None = None, plugins: Iterable[PluginLike] | None = None) -> None:
        """Go by another configuration or other plugins, as ``DhcpServer.reload`` does.

        Args:
            config: None for the one there is.
            plugins: all of them, but for those of a configuration that names some; None for those there are.

        Raises:
            ConfigError: they are wrong, or a plugin refuses. Nothing is changed then.
        """
        await self.start()
        new, made = self.config, self.plugins
        if config is not None:
            checked, settings = as_config(config, self._directory)
            new = without_sockets(checked)
            if settings is not None and settings.plugins:
                made = settings.make_plugins() + ([] if plugins is None else as_plugins(plugins, self._directory))
                plugins = None
        if plugins is not None:
            made = as_plugins(plugins, self._directory)
        await self._server.reload(new, made)
        self.config, self.plugins = new, made
        self._surface()

    async def settle(self, since: int | None = None) -> None:
        """Wait until nothing is under way: no packet, no hook, no commit.

        Args:
            since: wait only for hooks that were called after so many calls, and for commits.

        Raises:
            HookFailed: a hook failed, and that was not seen before.
        """
        quiet, turns = 0, 0
        while quiet < TURNS and self._loop is not None:
            running = [each for each in self.trace.since(since or 0) if each.state == "running"]
            if running:
                quiet = 0
                await running[0].ended()
                continue
            health = self._server.health
            busy = (health.uncommitted and health.status != "degraded") or (since is None and health.in_flight)
            quiet, turns = 0 if busy else quiet + 1, turns + 1
            await asyncio.sleep(0 if turns < 1000 else 0.001)
        self._surface()

    async def __aenter__(self) -> MemoryServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Do something for which a test that is not ``async`` can't await: ``server.run(server.restart())``.

        Raises:
            RuntimeError: an event loop runs already.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._here().run_until_complete(what)
        what.close()
        raise RuntimeError("an event loop runs: in an async test, await the client itself, not what .sync is")

    def close(self) -> None:
        """Stop, outside of any event loop, and close the one that it had for itself.

        Raises:
            HookFailed: a hook failed, and that was not seen before.
        """
        try:
            if self._loop is not None and self._loop.is_closed():
                self._forget()
            if self._loop is not None:
                self.run(self.stop())
            self._surface()
        finally:
            if self._own is not None:
                self._own.close()
                self._own = None

    def _here(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs on, or one of its own."""
        if self._loop is not None and not self._loop.is_closed():
            return self._loop
        if self._own is None:
            self._own = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        return self._own.get_loop()

    def _forget(self) -> None:
        """Its event loop was closed: nothing can be awaited any more. What is in the store is left."""
        assert self._loop is not None
        self.clock.unwind(self, self._loop)
        self._loop = self._starting = None
        self.transport = MemoryTransport(interfaces=self.transport.interfaces)
        self._server = self._new_server()

    # ── the way of a message ─────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, datagram: Datagram, elapse: float = 0) -> Exchange:
        """Let a datagram arrive, and wait until the server is done with it.

        Args:
            datagram: what arrives, and where.
            elapse: seconds that pass while hooks are at work on it.

        Raises:
            HookFailed: a hook failed.
            RuntimeError: so many packets wait that the server does not even look at it.
        """
        await self.start()
        done: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
        engine = self._server.engine
        before = engine.in_flight
        self.transport.deliver_many([datagram._replace(via=done)])
        if not done.done() and engine.in_flight == before:
            raise RuntimeError(f"{before} packets wait already: the server doesn't even look at this one")
        if elapse:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            await self.clock.advance(elapse)
        exchange = await done
        self._surface()
        return exchange

    # ── for the clock ────────────────────────────────────────────────────────────────────────────────────────────

    def moments(self, after: float, until: float) -> set[float]:
        """When leases and probations end."""
        timed = (LeaseState.ACTIVE, LeaseState.DECLINED)
        return {each.expires for each in self.leases if each.state in timed and after < each.expires <= until}

    def mark(self) -> int:
        """How many hooks were called so far."""
        return self.trace.count

    def tick(self) -> None:
        """Let happen what is due. What is left to await, ``settle`` awaits, where an event loop runs."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.run(self._tick())
        else:
            self._server.tick()

    async def _tick(self) -> None:
        since = self.mark()
        self._server.tick()
        await asyncio.sleep(0)
        health = self._server.health
        if self.mark() > since or health.uncommitted or health.in_flight:
            await self.settle(since)

    # ── for the server, which is observed ────────────────────────────────────────────────────────────────────────

    def hooks(self, plugins: Iterable[object], runtime: Runtime) -> Hooks:
        """Hooks whose calls are recorded, and which go by the clock."""
        hooks = Hooks(plugins, runtime._replace(clock=self.clock.measured, failed=self._failed))
        for each in hooks.implementations:
            record(each, self.trace)
        return hooks

    def finished(self, exchange: Exchange) -> None:
        """Tell who waits for it."""
        done = exchange.datagram.via
        if isinstance(done, asyncio.Future) and not done.done():
            done.set_result(exchange)

    def _failed(self, implementation: Implementation, words: str, error: BaseException | None) -> None:
        failure = HookFailed(implementation.plugin, implementation.hook, words, implementation.where)
        failure.__cause__ = error
        self.errors.append(failure)
        if not self.tolerate_errors:
            self._unseen.append(failure)

    def _surface(self) -> None:
        """Raise what hooks failed with, once."""
        if self._unseen:
            first, *others = self._unseen
            self._unseen.clear()
            for each in others:
                first.add_note(str(each))
            raise first


def _interfaces(
    config: Config, names: Sequence[str], given: Mapping[str, Address | Sequence[Address]] | None
) -> list[Interface]:
    if given is None:
        named = {name: None for subnet in config.subnets for name in subnet.interfaces}
        given = {name: [likely_address(config, name)] for name in (names or list(named) or ["eth0"])}
    made = []
    for at, (name, addresses) in enumerate(given.items(), 1):
        several = [addresses] if isinstance(addresses, str | int | IPv4Address) else addresses
        made.append(Interface(name, tuple(number(each) for each in several if each), at))
    return made
