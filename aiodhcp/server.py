"""DhcpServer: inbox → engine → commit → answer, on the caller's event loop.

A batch is decided the moment it arrives. What changes a lease waits for the one commit that is under way at a time;
all that was decided meanwhile makes up the next. No answer leaves before what it promises is on stable storage.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from types import TracebackType
from typing import Any, Final

from aiodhcp.background import Background
from aiodhcp.commit_metrics import CommitMetrics
from aiodhcp.constants import ControlCode
from aiodhcp.engine import Engine
from aiodhcp.errors import ConfigError
from aiodhcp.events import Cursor
from aiodhcp.eventstreams import Events, EventStream
from aiodhcp.exchange import Answer, Datagram, Exchange, Interface
from aiodhcp.hooks import Hooks
from aiodhcp.leasequery_tcp import LeasequeryListener, Prepared
from aiodhcp.leases import Lease
from aiodhcp.leasetable import LeaseTable
from aiodhcp.observing import Observer
from aiodhcp.packing import PackedLeases
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

__all__ = ["DhcpServer", "Health"]

log = logging.getLogger("aiodhcp.server")
PROGRESS_SECONDS: Final = 2
"""Between two lines of the log about how far the leases are loaded."""
RELOAD_TIMEOUT: Final = 30
"""Seconds that new plugins may take to start at a reload: packets are served meanwhile, but no other reload."""


class _State(Enum):
    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Health:
    """How a server is.

    Attributes:
        status: "ok"; "degraded" while commits fail: clients keep what they have, and get nothing new; or the state
            the server is in when it does not serve: "new", "starting", "paused", "stopping", "stopped".
        why: what is wrong, in words; empty when nothing is.
        uncommitted: changes that are not on stable storage yet.
        in_flight: packets that are not finished yet.
    """

    status: str
    why: str
    uncommitted: int
    in_flight: int


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
        self._transport = transport
        self._stop_timeout = stop_timeout
        self._clock = clock
        self._reports = Reports()
        self._state = _State.NEW
        # Whether packets are taken, if only to be dropped: from START until STOP, the first and last that plugins hear.
        self._listens = False
        self._protocols: dict[Interface, DhcpProtocol] = {}
        self._has_protocols = False
        self._prober = prober or Prober()
        self._watchdog = Watchdog(lambda: self.hooks.implementations)
        self._recent: deque[Exchange] | None = deque(maxlen=explain) if explain else None
        self._reloading = asyncio.Lock()
        self._traffic = Traffic(
            Engine(config, self.hooks),
            store,
            self._send,
            self._finished if observer is None else self._observed,
            self._hook_tasks,
            self._prober,
            max_in_flight,
            wait_timeout,
        )
        self._leasequery = LeasequeryListener(lambda: self.engine, clock)
        self._events = Events(store, self._hear_commits)
        self._background = Background()
        self._clockwork: asyncio.Task[None] | None = None
        self._renewals = Renewals(lambda: self.engine, self._tell, clock, lambda: self._state is _State.RUNNING)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Load the leases, tell the plugins, open the transport.

        Raises:
            StoreError: the leases can't be had.
            ConfigError: a plugin refused the start, an interface doesn't exist, or leasequeries can't be listened for.
            OSError: a port can't be bound.
        """
        if self._state not in (_State.NEW, _State.STOPPED):
            raise RuntimeError(f"the server is {self._state.value} already")
        self._state = _State.STARTING
        try:
            leases = await self._store.load()
            if isinstance(leases, PackedLeases):
                leases = PackedLeases(_with_progress(leases.octets), leases.where)
            else:
                # A store of somebody's own may be able to read them in this thread only.
                leases = list(leases)
            # A million of them take seconds, in which other things of the loop go on.
            self._traffic.engine = await asyncio.to_thread(Engine, self.config, self.hooks, leases)
            self.engine.tracing = self._recent is not None
            self.engine.addresses.seed = os.urandom(16)
            self.engine.nonces.seed = os.urandom(32)
            self._events.attach(self.leases)
            self._events.open()
            self.hooks.reset()
            await self.hooks.control(self, ControlCode.START)
            self._listens = True
            await self.hooks.load(self, self.config)
            if self.hooks.implementations:
                self._watchdog.start()
            self.tick()
            self._state = _State.RUNNING
            self._leasequery.known_since = 0.0 if len(self.leases) else self._clock()
            prepared = await self._leasequery.prepare(self.config.leasequery)
            try:
                if self._transport is not None:
                    await self._transport.open(self.protocol(shared=True))
            except BaseException:
                prepared.close()
                raise
            await self._listen(prepared)
            self._clockwork = asyncio.create_task(self._tick(), name="aiodhcp clockwork")
        except BaseException:
            await self._end(opened=False)
            raise
        outside = self._outside()
        log.info(
            "serving %s on %s: %d leases%s",
            ", ".join(map(str, self.config.subnets[:4])) + ("…" if len(self.config.subnets) > 4 else "") or "no subnet",
            ", ".join(interface.name for interface in self.interfaces) or "no transport of its own",
            len(self.leases),
            f", {outside} of them in no subnet" if outside else "",
        )

    def _outside(self) -> int:
        """How many leases are in no subnet."""
        addresses = sorted(self.leases.addresses())
        inside = (
            bisect_right(addresses, subnet.last) - bisect_left(addresses, subnet.first)
            for subnet in self.config.subnets
        )
        return len(addresses) - sum(inside)

    async def stop(self) -> None:
        """Take no more packets, answer what is committed, tell the plugins, close everything. May be called twice."""
        if self._state not in (_State.RUNNING, _State.PAUSED):
            return
        await self._end(opened=True)
        log.info("stopped")

    async def _end(self, *, opened: bool) -> None:
        self._state = _State.STOPPING
        self._traffic.commits.stopping = True
        # Each of these, from the last to the first, whatever the others raise.
        async with AsyncExitStack() as steps:
            steps.callback(setattr, self, "_state", _State.STOPPED)
            steps.push_async_callback(self._store.close)
            if self._listens:
                steps.push_async_callback(self._tell_stop, self.hooks)
            steps.push_async_callback(self._background.end, self._stop_timeout)
            steps.push_async_callback(self._events.close)
            if opened and self._transport is not None:
                steps.push_async_callback(self._transport.close)
            steps.callback(self._prober.close)
            steps.push_async_callback(self._abandon)
            steps.callback(self._watchdog.stop)
            await self._leasequery.close()
            if self._clockwork is not None:
                self._clockwork.cancel()
                await asyncio.wait((self._clockwork,))
            await self._renewals.close()
            await self._traffic.quiet(self._stop_timeout)

    async def _tell_stop(self, hooks: Hooks, only: frozenset[str] | None = None) -> None:
        try:
            async with asyncio.timeout(self._stop_timeout):
                await hooks.control(self, ControlCode.STOP, only)
        except TimeoutError:
            log.warning("a plugin takes too long to stop and is not waited for any longer")

    async def pause(self) -> None:
        """Drop every packet that comes (PAUSED) until ``resume``. Does nothing unless the server runs."""
        if self._state is _State.RUNNING:
            self._state = _State.PAUSED
            await self.hooks.control(self, ControlCode.PAUSE)

    async def resume(self) -> None:
        """Serve again after ``pause``."""
        if self._state is _State.PAUSED:
            self._state = _State.RUNNING
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
                async with asyncio.timeout(RELOAD_TIMEOUT):
                    await self._begin(hooks, new, config)
            except TimeoutError:
                prepared.close()
                raise ConfigError(f"a plugin has not started within {RELOAD_TIMEOUT} seconds") from None
            except BaseException:
                prepared.close()
                raise
            before = self.hooks
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
            try:
                await self._traffic.drain(previous, self._stop_timeout)
            finally:
                await self._tell_stop(before, gone)

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

    async def _begin(self, hooks: Hooks, new: frozenset[str], config: Config) -> None:
        """Tell the plugins of a reload; if one refuses, those that were told that they start hear that it is over."""
        await hooks.control(self, ControlCode.START, new)
        try:
            await hooks.load(self, config)
            self._check_running()
        except BaseException:
            await self._tell_stop(hooks, new)
            raise

    def _check_running(self) -> None:
        if self._state not in (_State.RUNNING, _State.PAUSED):
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
        if self._state is not _State.RUNNING:
            raise RuntimeError(f"the server is {self._state.value}")
        if getattr(self._transport, "answers_only", False):
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
        if self._state in (_State.STOPPING, _State.STOPPED):
            raise RuntimeError(f"the server is {self._state.value}")
        if cursor:
            return self._events.follow(cursor, from_start)
        if from_start:
            raise ValueError("from_start: expected a cursor with it")
        if buffer < 1:
            raise ValueError(f"buffer: expected at least 1, got {buffer}")
        return self._events.live(buffer)

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
        When it fails, the log says so.

        Args:
            way: a coroutine.
            name: of the task, for the log.

        Raises:
            RuntimeError: the server does not run, and is not about to.
        """
        if self._state not in (_State.STARTING, _State.RUNNING, _State.PAUSED):
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
        own = self._transport.interfaces if self._transport is not None else ()
        return (*own, *self._protocols)

    @property
    def leasequery_addresses(self) -> list[tuple[str, int]]:
        """Where leasequeries are taken by TCP: address and port."""
        return self._leasequery.addresses

    @property
    def health(self) -> Health:
        """How the server is, now."""
        commits, status, why = self._traffic.commits, self._state.value, ""
        if self._state is _State.RUNNING:
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
        wanted = hardware_address.lower().replace("-", ":")
        return [each for each in self._recent or () if wanted in ("", each.hardware_address)]

    def protocol(self, name: str = "protocol", addresses: Iterable[str] = (), *, shared: bool = False) -> DhcpProtocol:
        """A protocol by which any asyncio datagram transport can feed this server.

        ``await loop.create_datagram_endpoint(server.protocol, local_addr=("192.0.2.1", 67))``

        Args:
            name: the name of the interface that its datagrams are said to arrive on.
            addresses: the server's addresses there; by default the one the transport is bound to.
            shared: it is the server's own transport that feeds it, and brings its own interfaces.
        """
        self._has_protocols |= not shared
        return DhcpProtocol(self._received, self._error, None if shared else self._protocols, name, addresses)

    # ── network and time ─────────────────────────────────────────────────────────────────────────────────────────

    def _received(self, datagrams: Sequence[Datagram]) -> None:
        if self._listens:
            paused = "" if self._state is _State.RUNNING else f"the server is {self._state.value}"
            self._traffic.receive(datagrams, self._clock(), paused)

    def _send(self, answers: list[Answer]) -> None:
        if self._has_protocols:
            rest = []
            for answer in answers:
                via = answer.request.via
                if isinstance(via, DhcpProtocol):
                    try:
                        via.send(answer)
                    except Exception:
                        log.exception("a fault of the transport, an answer may be lost")
                else:
                    rest.append(answer)
            answers = rest
        if answers and self._transport is not None:
            try:
                self._transport.send(answers)
            except Exception:
                log.exception("a fault of the transport, %d answers may be lost", len(answers))

    def _tell(self, answers: list[Answer]) -> None:
        """Send what answers nothing: it leaves as an answer would on its interface."""
        self._send(
            [
                each._replace(request=each.request._replace(via=self._protocols.get(each.request.interface)))
                for each in answers
            ]
        )

    def _error(self, error: Exception) -> None:
        log.warning("the network reports: %s", error)

    def _finished(self, exchange: Exchange) -> None:
        if self._recent is not None:
            self._recent.append(exchange)
        self._reports.finished(exchange)

    def _observed(self, exchange: Exchange) -> None:
        self._finished(exchange)
        if self._observer is not None:
            self._observer.finished(exchange)

    def _made_hooks(self, plugins: Iterable[object]) -> Hooks:
        runtime = self._hook_tasks.runtime()
        return Hooks(plugins, runtime) if self._observer is None else self._observer.hooks(plugins, runtime)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            try:
                self.tick()
                self._reports.flush(int(self._clock()))
            except Exception:
                log.exception("a fault of aiodhcp, please report it")

    async def _abandon(self) -> None:
        self._listens = False
        last = [asyncio.ensure_future(each) for each in self._traffic.abandon()]
        self._reports.flush()
        if last:
            _, late = await asyncio.wait(last, timeout=self._stop_timeout)
            for task in late:
                task.cancel()


def _with_progress(leases: Iterable[bytes]) -> Iterator[bytes]:
    """The same; the log says how far it is when there are many."""
    rest, said, count = iter(leases), time.monotonic(), 0
    while some := list(islice(rest, 10_000)):
        yield from some
        count += len(some)
        if time.monotonic() - said >= PROGRESS_SECONDS:
            said = time.monotonic()
            log.info("loading leases: %d so far", count)
