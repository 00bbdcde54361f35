"""DhcpServer: inbox → engine → commit → answer, on the caller's event loop.

A batch is decided the moment it arrives. What changes a lease waits for the one commit that is under way at a time;
all that was decided meanwhile makes up the next. No answer leaves before what it promises is on stable storage.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType
from typing import Any

from aiodhcp.background import Background
from aiodhcp.clockwork import Clockwork
from aiodhcp.commit_metrics import CommitMetrics
from aiodhcp.constants import ControlCode
from aiodhcp.engine import Engine
from aiodhcp.errors import ConfigError
from aiodhcp.events import Cursor
from aiodhcp.eventstreams import Events, EventStream
from aiodhcp.exchange import Datagram, Exchange, Interface
from aiodhcp.health import Health, State
from aiodhcp.hooks import Hooks
from aiodhcp.leasequery_tcp import LeasequeryListener, Prepared
from aiodhcp.leases import Lease
from aiodhcp.leasetable import LeaseTable
from aiodhcp.loading import leases_outside, load_engine
from aiodhcp.network import Network
from aiodhcp.observing import Observer
from aiodhcp.pluginlife import PluginLife
from aiodhcp.prober import Prober
from aiodhcp.protocol import DhcpProtocol
from aiodhcp.renewals import ForcedRenewals, Renewals
from aiodhcp.reports import Reports
from aiodhcp.runtime import HookTasks
from aiodhcp.stores import Store
from aiodhcp.subnets import Config, Subnet
from aiodhcp.traffic import Traffic
from aiodhcp.transports import Transport
from aiodhcp.usage import PoolUsage
from aiodhcp.watchdog import Watchdog

__all__ = ["DhcpServer"]

log = logging.getLogger("aiodhcp.server")


class DhcpServer:
    """A DHCP server for ``async with``. It installs no signal handlers and keeps no globals; many fit in a process.

    Args:
        config: subnets and what is given out in them.
        store: where leases survive.
        transport: where datagrams come from; None if only what ``protocol()`` returns is to feed it.
        plugins: modules or objects with ``hookimpl`` functions, called in this order.
        max_in_flight: packets that may wait for a commit or an ``async`` hook; more are dropped (NOMEM).
        wait_timeout: seconds that a packet may wait for its turn behind others of its client; then it is dropped
            (TIMEOUT). How long a hook may take, its ``Policy`` says.
        stop_timeout: seconds that ``stop`` waits for those packets, and then for the plugins; ``reload``, too, beyond
            the OFFERs that are still due.
        explain: how many of the last exchanges ``exchanges()`` has, with what each hook said.
        clock: the time, in seconds since 1970.
        prober: asks the network for addresses before they are offered, in subnets that want it.
        observer: watches it from inside, for tests.

    Raises:
        ConfigError: a plugin's hook or one of its arguments is misspelt.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        transport: Transport | None = None,
        plugins: Iterable[object] = (),
        max_in_flight: int = 4096,
        wait_timeout: float = 10.0,
        stop_timeout: float = 5.0,
        explain: int = 0,
        clock: Callable[[], float] = time.time,
        prober: Prober | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.config = config
        self._hook_tasks = HookTasks()
        self._observer = observer
        self.hooks = self._made_hooks(plugins)
        self._store = store
        self._network = Network(transport, self._received)
        self._stop_timeout = stop_timeout
        self._clock = clock
        self._reports = Reports(keep=explain)
        self._state = State.NEW
        # Whether packets are taken, if only to be dropped: from START until STOP, the first and last that plugins hear.
        self._listens = False
        self._prober = prober or Prober()
        self._watchdog = Watchdog(lambda: self.hooks.implementations)
        self._reloading = asyncio.Lock()
        self._traffic = Traffic(
            Engine(config, self.hooks),
            store,
            self._network.send,
            self._reports.finished if observer is None else self._observed,
            self._hook_tasks,
            self._prober,
            max_in_flight,
            wait_timeout,
        )
        self._leasequery = LeasequeryListener(lambda: self.engine, clock)
        self._events = Events(store, self._hear_commits)
        self._background = Background()
        self._life = PluginLife(self, self._check_running, self._events, self._background, stop_timeout)
        self._clockwork = Clockwork(self._look_at_the_clock)
        self._renewals = Renewals(lambda: self.engine, self._network.tell, clock, lambda: self._state is State.RUNNING)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Load the leases, tell the plugins, open the transport.

        Raises:
            StoreError: the leases can't be had.
            ConfigError: a plugin refused the start, an interface doesn't exist, or leasequeries can't be listened for.
            OSError: a port can't be bound.
        """
        if self._state not in (State.NEW, State.STOPPED):
            raise RuntimeError(f"the server is {self._state.value} already")
        self._state = State.STARTING
        try:
            self._traffic.engine = await load_engine(self._store, self.config, self.hooks)
            self.engine.tracing = self._reports.keeps
            self._events.attach(self.leases)
            self._events.open()
            self.hooks.reset()
            await self.hooks.control(self, ControlCode.START)
            self._listens = True
            await self.hooks.load(self, self.config)
            if self.hooks.implementations:
                self._watchdog.start()
            self.tick()
            self._state = State.RUNNING
            self._leasequery.known_since = 0.0 if len(self.leases) else self._clock()
            prepared = await self._leasequery.prepare(self.config.leasequery)
            try:
                await self._network.open()
            except BaseException:
                prepared.close()
                raise
            await self._listen(prepared)
            self._clockwork.start()
        except BaseException:
            await self._end(opened=False)
            raise
        outside = leases_outside(self.engine)
        log.info(
            "serving %s on %s: %d leases%s",
            ", ".join(map(str, self.config.subnets[:4])) + ("…" if len(self.config.subnets) > 4 else "") or "no subnet",
            ", ".join(interface.name for interface in self.interfaces) or "no transport of its own",
            len(self.leases),
            f", {outside} of them in no subnet" if outside else "",
        )

    async def stop(self) -> None:
        """Take no more packets, answer what is committed, tell the plugins, close everything. May be called twice."""
        if self._state not in (State.RUNNING, State.PAUSED):
            return
        await self._end(opened=True)
        log.info("stopped")

    async def _end(self, *, opened: bool) -> None:
        self._state = State.STOPPING
        self._traffic.commits.stopping = True
        # Each of these, from the last to the first, whatever the others raise.
        async with AsyncExitStack() as steps:
            steps.callback(setattr, self, "_state", State.STOPPED)
            steps.push_async_callback(self._store.close)
            if self._listens:
                steps.push_async_callback(self._life.end, self.hooks)
            steps.push_async_callback(self._background.end, self._stop_timeout)
            steps.push_async_callback(self._events.close)
            if opened:
                steps.push_async_callback(self._network.close)
            steps.callback(self._prober.close)
            steps.push_async_callback(self._abandon)
            steps.callback(self._watchdog.stop)
            await self._leasequery.close()
            await self._clockwork.stop()
            await self._renewals.close()
            await self._traffic.quiet(self._stop_timeout)

    async def pause(self) -> None:
        """Drop every packet that comes (PAUSED) until ``resume``. Does nothing unless the server runs."""
        if self._state is State.RUNNING:
            self._state = State.PAUSED
            await self.hooks.control(self, ControlCode.PAUSE)

    async def resume(self) -> None:
        """Serve again after ``pause``."""
        if self._state is State.PAUSED:
            self._state = State.RUNNING
            await self.hooks.control(self, ControlCode.CONTINUE)

    async def reload(self, config: Config | None = None, plugins: Iterable[object] | None = None) -> None:
        """Go by another configuration, and other plugins. No packet is lost: those that arrived before end by the old
        ones, all others begin with the new. Leases, offers and counters stay.

        A plugin that is there before and after, the very same object, hears neither STOP nor START.

        Args:
            config: the configuration; None for the one there is.
            plugins: the plugins; None for those there are.

        Raises:
            ConfigError: a plugin can't be used, or refuses the start or the configuration, or leasequeries can't be
                listened for. Nothing is changed then.
            RuntimeError: the server does not run.
        """
        async with self._reloading:
            self._check_running()
            config = self.config if config is None else config
            hooks = self.hooks if plugins is None else self._made_hooks(plugins)
            new, gone = hooks.without(self.hooks), self.hooks.without(hooks)
            prepared = await self._leasequery.prepare(config.leasequery)
            try:
                await self._life.begin(hooks, new, config)
            except BaseException:
                prepared.close()
                raise
            before = self.hooks
            try:
                previous = self._traffic.succeed(Engine(config, hooks, predecessor=self.engine))
                self.config, self.hooks = config, hooks
                # The table is the same, but tells nobody any more.
                self._events.attach(self.leases)
                self.engine.serve(self.interfaces)
                if hooks.implementations:
                    self._watchdog.start()
                await self._listen(prepared)
                log.info("reloaded: %d subnets, %d plugins", len(config.subnets), len(hooks.plugins))
                hooks.reset()
                await self._traffic.drain(previous, self._stop_timeout)
            finally:
                await self._life.succeed(before, gone)

    async def _listen(self, prepared: Prepared) -> None:
        """Take leasequeries by TCP as was prepared."""
        await self._leasequery.adopt(prepared)
        self._hear_commits()

    def _hear_commits(self) -> None:
        """Be told of commits, where somebody wants to hear of them."""
        hears = self._leasequery.addresses or self._events.wanted
        self._traffic.committed = self._committed if hears else None

    def _committed(self, leases: Sequence[Lease]) -> None:
        self._leasequery.committed(leases)
        self._events.committed(leases)

    def _check_running(self) -> None:
        if self._state not in (State.RUNNING, State.PAUSED):
            raise RuntimeError(f"the server is {self._state.value}")

    def tick(self) -> None:
        """Let what is due by the clock happen now: leases end, offers lapse. It does so by itself once a second, and
        whoever turns the clock by hand need not wait for that.
        """
        self.engine.serve(self.interfaces)
        self._traffic.tick(self._clock())

    async def delete_lease(self, address: IPv4Address | str | int) -> Lease | None:
        """Take an address from its client, as an administrator may; or end the probation of a declined one. The client
        is forgotten: it gets a NAK, or no answer, when it asks to keep the address.

        Returns:
            the lease as it was; None if there was none.

        Raises:
            ValueError: that is no address.
            RuntimeError: the server does not run.
        """
        self._check_running()
        number = int(IPv4Address(address))
        lease = self.engine.leases.get(number)
        change, waiting = self.engine.delete(number, self._clock())
        if change is None:
            return None
        # In the order in which it happened: the address is free from now on.
        stored = self._traffic.commits.store(change)
        if waiting is not None:
            await waiting
        await stored
        return lease

    async def force_renew(self, *who: IPv4Address | IPv4Network | str | int) -> ForcedRenewals:
        """Let clients renew their leases now (FORCERENEW, RFC 3203), so that they get what has changed.

        Each is told up to four times within a minute, until it renews, and no more than 100 a second.

        Args:
            *who: addresses; networks, for all clients that have an address in them; or hardware addresses.

        Returns:
            at once, who is told, and why others can't be.

        Raises:
            ValueError: one is none of these.
            RuntimeError: the server does not run, or is paused.
            ConfigError: its transport reaches relay agents only.
        """
        if self._state is not State.RUNNING:
            raise RuntimeError(f"the server is {self._state.value}")
        if self._network.answers_only:
            raise ConfigError("the transport reaches relay agents only, and no client that has not asked")
        # They may have opened a moment ago.
        self.engine.serve(self.interfaces)
        return await self._renewals.force(who)

    async def __aenter__(self) -> DhcpServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def events(self, cursor: str = "", *, from_start: bool = False, buffer: int = 10_000) -> EventStream:
        """What happens to leases, in order, once it is on stable storage: ``async for event in server.events():``.

        Without a cursor, what happens from now on. With one, the store remembers how far its consumer has come, and the
        next stream of that name goes on there, whatever happened meanwhile: each event comes at least once. An event
        is handled when the next one is asked for. A new cursor begins when its first event is asked for, or with
        ``async with``. A stream takes the place of another one of the same cursor, which ends by an error.

        The stream ends when the server stops. It may be asked for before the start.

        Args:
            cursor: the name of the consumer, for ever.
            from_start: a new cursor begins with the leases that are active now, each as granted, with sequence 0.
            buffer: without a cursor: how many events may wait for the consumer.

        Raises:
            EventsLost: in the iteration, which may go on: the consumer was too slow; says how many events it missed.
            StoreError: the store keeps no events; in the iteration, it can't be read or written.
            ValueError: a buffer for none, or ``from_start`` without a cursor.
            RuntimeError: the server has stopped.
        """
        if self._state in (State.STOPPING, State.STOPPED):
            raise RuntimeError(f"the server is {self._state.value}")
        return self._events.stream(cursor, from_start, buffer)

    async def cursors(self) -> Sequence[Cursor]:
        """The cursors of the store, by name, and how far each has come.

        Raises:
            RuntimeError: the server does not run.
        """
        self._check_running()
        return await self._events.cursors()

    async def drop_cursor(self, cursor: str) -> bool:
        """Forget a cursor, and the events that were kept for it only. A stream that follows it ends by an error.

        Returns:
            whether there was one.

        Raises:
            StoreError: the store has none, or can't be written.
            RuntimeError: the server does not run.
        """
        self._check_running()
        return await self._events.drop(cursor)

    def spawn(self, way: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Run something beside the server, such as a plugin's consumer of events, until it ends or the server stops: it
        is cancelled then, after the last packet and before plugins hear STOP, and waited for, ``stop_timeout`` at most.
        What a plugin spawns at START, or when it hears of a configuration, ends likewise when a reload takes the plugin
        away. When it fails, the log says so.

        Args:
            way: a coroutine.
            name: of the task, for the log.

        Raises:
            RuntimeError: the server does not run, and is not about to.
        """
        if self._state not in (State.STARTING, State.RUNNING, State.PAUSED):
            way.close()
            raise RuntimeError(f"the server is {self._state.value}")
        return self._background.spawn(way, name)

    # ── what can be asked ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def engine(self) -> Engine:
        """What decides: its counters ``received``, ``sent``, ``dropped`` and ``vetoed`` can be read at any time."""
        return self._traffic.engine

    @property
    def leases(self) -> LeaseTable:
        """All leases, in whatever state. To read."""
        return self.engine.leases

    @property
    def interfaces(self) -> Sequence[Interface]:
        """The interfaces served."""
        return self._network.interfaces

    @property
    def leasequery_addresses(self) -> list[tuple[str, int]]:
        """Where leasequeries are taken by TCP: address and port."""
        return self._leasequery.addresses

    @property
    def health(self) -> Health:
        """How the server is, now."""
        commits, status, why = self._traffic.commits, self._state.value, ""
        if self._state is State.RUNNING:
            status = "degraded" if commits.error else "ok"
        if commits.error:
            why = f"leases can't be committed: {commits.error}"
        return Health(status, why, len(commits), self._traffic.in_flight)

    @property
    def commit_metrics(self) -> CommitMetrics:
        """How the commits have done so far, over all starts of this server."""
        return self._traffic.commits.meter.metrics

    def usages(self) -> Mapping[Subnet, PoolUsage]:
        """What the addresses of the pools are, of each subnet. Counted from the first time that somebody asks: then
        each lease is looked at, and from then on each change.
        """
        addresses = self.engine.addresses
        return dict(zip(addresses.config.subnets, addresses.usages(), strict=True))

    def now(self) -> float:
        """What time it is to the server, in seconds since 1970."""
        return self._clock()

    def exchanges(self, hardware_address: str = "") -> list[Exchange]:
        """The last exchanges, oldest first: as many as ``explain`` says. ``Exchange.explain()`` says why.

        Args:
            hardware_address: of one client only, like ``"02:00:00:00:00:01"``.
        """
        return self._reports.last(hardware_address)

    def protocol(self, name: str = "protocol", addresses: Iterable[str] = (), *, shared: bool = False) -> DhcpProtocol:
        """A protocol by which any asyncio datagram transport can feed this server.

        ``await loop.create_datagram_endpoint(server.protocol, local_addr=("192.0.2.1", 67))``

        Args:
            name: the name of the interface that its datagrams are said to arrive on.
            addresses: the server's addresses there; by default the one the transport is bound to.
            shared: it is the server's own transport that feeds it, and brings its own interfaces.
        """
        return self._network.protocol(name, addresses, shared=shared)

    # ── network and time ─────────────────────────────────────────────────────────────────────────────────────────

    def _received(self, datagrams: Sequence[Datagram]) -> None:
        if self._listens:
            paused = "" if self._state is State.RUNNING else f"the server is {self._state.value}"
            self._traffic.receive(datagrams, self._clock(), paused)

    def _observed(self, exchange: Exchange) -> None:
        self._reports.finished(exchange)
        assert self._observer is not None
        self._observer.finished(exchange)

    def _made_hooks(self, plugins: Iterable[object]) -> Hooks:
        runtime = self._hook_tasks.runtime()
        return Hooks(plugins, runtime) if self._observer is None else self._observer.hooks(plugins, runtime)

    def _look_at_the_clock(self) -> None:
        self.tick()
        self._reports.flush(int(self._clock()))

    async def _abandon(self) -> None:
        self._listens = False
        last = [asyncio.ensure_future(each) for each in self._traffic.abandon()]
        self._reports.flush()
        if last:
            _, late = await asyncio.wait(last, timeout=self._stop_timeout)
            for task in late:
                task.cancel()
