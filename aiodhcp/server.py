"""DhcpServer: inbox → engine → commit → answer, on the caller's event loop.

A batch is decided the moment it arrives. What changes a lease waits for the one commit that is under way at a time;
all that was decided meanwhile makes up the next. No answer leaves before what it promises is on stable storage.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final

from aiodhcp.commits import Commits
from aiodhcp.constants import ControlCode, DropReason
from aiodhcp.engine import Engine
from aiodhcp.exchange import Answer, Datagram, Exchange, Interface
from aiodhcp.hooks import Hooks
from aiodhcp.leases import Lease, LeaseTable
from aiodhcp.protocol import DhcpProtocol
from aiodhcp.reports import Reports
from aiodhcp.stores import Store
from aiodhcp.subnets import Config
from aiodhcp.transports import Transport

__all__ = ["DhcpServer", "Health"]

log = logging.getLogger("aiodhcp.server")

LANE_LIMIT: Final = 8
"""Packets of one client that may wait; a client has no use for more answers at once."""

Way = Callable[[Exchange], Coroutine[None, None, None]]


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
        stop_timeout: seconds that ``stop`` waits for those packets, and then for the plugins.
        clock: the time, in seconds since 1970.

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
        stop_timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.hooks = Hooks(plugins)
        self.engine = Engine(config, self.hooks)
        self._store = store
        self._transport = transport
        self._max_in_flight = max_in_flight
        self._stop_timeout = stop_timeout
        self._clock = clock
        self._reports = Reports()
        self._state = _State.NEW
        # Whether packets are taken, if only to be dropped: from START until STOP, the first and last that plugins hear.
        self._listens = False
        self._protocols: dict[Interface, DhcpProtocol] = {}
        self._has_protocols = False
        self._in_flight = 0
        self._commits = Commits(store, self._commit_done, self._commit_failed)
        self._committed: dict[Exchange, asyncio.Future[None]] = {}
        # A client whose packet waits has a lane, in which its later packets queue.
        self._lanes: dict[bytes | Exchange, deque[tuple[Exchange, Way]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._clockwork: asyncio.Task[None] | None = None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Load the leases, tell the plugins, open the transport.

        Raises:
            StoreError: the leases can't be had.
            ConfigError: a plugin refused the start, or an interface doesn't exist.
            OSError: a port can't be bound.
        """
        if self._state not in (_State.NEW, _State.STOPPED):
            raise RuntimeError(f"the server is {self._state.value} already")
        self._state = _State.STARTING
        try:
            leases = list(await self._store.load())
            self.engine = Engine(self.config, self.hooks, leases)
            await self.hooks.control(self, ControlCode.START)
            self._listens = True
            self._let_time_pass()
            self._state = _State.RUNNING
            if self._transport is not None:
                await self._transport.open(self.protocol(shared=True))
            self._clockwork = asyncio.create_task(self._tick(), name="aiodhcp clockwork")
        except BaseException:
            await self._end(opened=False)
            raise
        outside = sum(1 for lease in leases if self.config.subnet_of(lease.address) is None)
        log.info(
            "serving %s on %s: %d leases%s",
            ", ".join(map(str, self.config.subnets[:4])) + ("…" if len(self.config.subnets) > 4 else "") or "no subnet",
            ", ".join(interface.name for interface in self.interfaces) or "no transport of its own",
            len(leases),
            f", {outside} of them in no subnet" if outside else "",
        )

    async def stop(self) -> None:
        """Take no more packets, answer what is committed, tell the plugins, close everything. May be called twice."""
        if self._state not in (_State.RUNNING, _State.PAUSED):
            return
        await self._end(opened=True)
        log.info("stopped")

    async def _end(self, *, opened: bool) -> None:
        self._state = _State.STOPPING
        self._commits.stopping = True
        # Each of these, from the last to the first, whatever the others raise.
        async with AsyncExitStack() as steps:
            steps.callback(setattr, self, "_state", _State.STOPPED)
            steps.push_async_callback(self._store.close)
            if self._listens:
                steps.push_async_callback(self._tell_stop)
            if opened and self._transport is not None:
                steps.push_async_callback(self._transport.close)
            steps.callback(self._abandon)
            if self._clockwork is not None:
                self._clockwork.cancel()
                await asyncio.wait((self._clockwork,))
            await self._quiet()

    async def _tell_stop(self) -> None:
        try:
            async with asyncio.timeout(self._stop_timeout):
                await self.hooks.control(self, ControlCode.STOP)
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

    async def __aenter__(self) -> DhcpServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ── what can be asked ────────────────────────────────────────────────────────────────────────────────────────

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
    def health(self) -> Health:
        """How the server is, now."""
        status, why = self._state.value, ""
        if self._state is _State.RUNNING:
            status = "degraded" if self._commits.error else "ok"
        if self._commits.error:
            why = f"leases can't be committed: {self._commits.error}"
        return Health(status, why, len(self._commits), self._in_flight)

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

    # ── the way of a packet ──────────────────────────────────────────────────────────────────────────────────────

    def _received(self, datagrams: Sequence[Datagram]) -> None:
        if not self._listens:
            return
        now = self._clock()
        engine, ready = self.engine, []
        for datagram in datagrams:
            if self._state is not _State.RUNNING:
                ready.append(engine.refuse(datagram, now, DropReason.PAUSED, f"the server is {self._state.value}"))
                self._in_flight += 1
                continue
            if self._in_flight >= self._max_in_flight:
                if self._in_flight >= 2 * self._max_in_flight:
                    # They wait for the ``async`` plugins that would have to be told.
                    engine.dropped[DropReason.NOMEM] += 1
                    continue
                ready.append(engine.refuse(datagram, now, DropReason.NOMEM, "too many packets wait already"))
                self._in_flight += 1
                continue
            exchange = engine.arrive(datagram, now)
            self._in_flight += 1
            if self._lanes and len(self._lanes.get(exchange.client, ())) >= LANE_LIMIT:
                _dismiss(exchange)
                exchange.drop(DropReason.DUPLICATE, "the client's earlier packets still wait")
                engine.finish(exchange)
                self._enter_lane(exchange, self._go_home, alone=True)
                continue
            if exchange.pending is not None or exchange.client in self._lanes:
                self._enter_lane(exchange, self._go)
                continue
            engine.decide(exchange)
            if exchange.later is not None:
                self._enter_lane(exchange, self._go_commit)
            elif exchange.changes:
                self._commits.add(exchange)
            else:
                ready.append(exchange)
        if ready:
            self._answer(ready)
        self._commits.begin()

    def _answer(self, exchanges: Iterable[Exchange]) -> None:
        """What the exchanges say may be said now."""
        engine, lanes, done, answers = self.engine, self._lanes, [], []
        for exchange in exchanges:
            if exchange.client in lanes:
                self._enter_lane(exchange, self._go_answer)
                continue
            engine.answer(exchange)
            if exchange.pending is not None:
                self._enter_lane(exchange, self._go_on)
                continue
            done.append(exchange)
            if exchange.answer is not None:
                answers.append(exchange.answer)
        if answers:
            self._send(answers)
        for exchange in done:
            engine.finish(exchange)
            if exchange.pending is not None:
                self._enter_lane(exchange, self._go_home)
            else:
                self._finished(exchange)

    def _finished(self, exchange: Exchange) -> None:
        self._in_flight -= 1
        self._reports.finished(exchange)

    def _send(self, answers: list[Answer]) -> None:
        if self._has_protocols:
            rest = []
            for answer in answers:
                via = answer.request.via
                if isinstance(via, DhcpProtocol):
                    via.send(answer)
                else:
                    rest.append(answer)
            answers = rest
        if answers and self._transport is not None:
            try:
                self._transport.send(answers)
            except Exception:
                log.exception("a fault of the transport, %d answers may be lost", len(answers))

    def _error(self, error: Exception) -> None:
        log.warning("the network reports: %s", error)

    # ── packets that wait, for an ``async`` hook or behind another of the same client ────────────────────────────

    def _enter_lane(self, exchange: Exchange, way: Way, *, alone: bool = False) -> None:
        # What can't be read has no client, and waits for nobody.
        client = exchange if alone or not exchange.client else exchange.client
        lane = self._lanes.get(client)
        if lane is not None:
            lane.append((exchange, way))
            return
        self._lanes[client] = lane = deque(((exchange, way),))
        self._spawn(self._drive(client, lane), "aiodhcp lane")

    async def _drive(self, client: bytes | Exchange, lane: deque[tuple[Exchange, Way]]) -> None:
        while lane:
            exchange, way = lane[0]
            try:
                await way(exchange)
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                log.exception("a fault of aiodhcp or of a plugin that cancelled its own hook, with %r", exchange)
                self._give_up(exchange, DropReason.INTERNAL_ERROR, f"a fault of the server: {error!r}")
            del lane[0]
        del self._lanes[client]

    async def _go(self, exchange: Exchange) -> None:
        """The whole way from arrival on."""
        await _pending(exchange)
        self.engine.decide(exchange)
        await self._go_commit(exchange)

    async def _go_commit(self, exchange: Exchange) -> None:
        if exchange.changes:
            committed = self._committed[exchange] = asyncio.get_running_loop().create_future()
            self._commits.add(exchange)
            self._commits.begin()
            await committed
        await self._go_answer(exchange)

    async def _go_answer(self, exchange: Exchange) -> None:
        self.engine.answer(exchange)
        await self._go_on(exchange)

    async def _go_on(self, exchange: Exchange) -> None:
        await _pending(exchange)
        if exchange.answer is not None:
            self._send([exchange.answer])
        self.engine.finish(exchange)
        await self._go_home(exchange)

    async def _go_home(self, exchange: Exchange) -> None:
        await _pending(exchange)
        self._finished(exchange)

    def _spawn(self, way: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(way)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _commit_done(self, batch: list[Exchange], conflicts: Sequence[Lease]) -> None:
        if conflicts:
            winners = {lease.address: lease for lease in conflicts}
            for winner in conflicts:
                self.engine.leases.put(winner)
            for exchange in batch:
                lease = exchange.lease_after
                if lease is not None and lease.address in winners:
                    self.engine.overruled(exchange, winners[lease.address])
        self._committed_or_not(batch)

    def _commit_failed(self, batch: list[Exchange]) -> None:
        """Nothing of the batch is answered."""
        for exchange in batch:
            exchange.drop(DropReason.INTERNAL_ERROR, "the lease can't be committed")
        self._committed_or_not(batch)

    def _committed_or_not(self, batch: list[Exchange]) -> None:
        if self._committed:
            batch = [exchange for exchange in batch if not self._wake(exchange)]
        self._answer(batch)

    def _wake(self, exchange: Exchange) -> bool:
        committed = self._committed.pop(exchange, None)
        if committed is None:
            return False
        if not committed.done():
            committed.set_result(None)
        return True

    # ── time and the end ─────────────────────────────────────────────────────────────────────────────────────────

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            try:
                self._let_time_pass()
                self._reports.flush(int(self._clock()))
            except Exception:
                log.exception("a fault of aiodhcp, please report it")

    def _let_time_pass(self) -> None:
        # Tasks begin in the order in which they are made: before the next packet of the same client.
        self.engine.serve(self.interfaces)
        ended, waiting = self.engine.tick(self._clock())
        for pending in waiting:
            self._spawn(pending, "aiodhcp expiry")
        self._commits.note(ended)
        self._commits.begin()

    def _waiting(self) -> set[asyncio.Task[None]]:
        return self._tasks | self._commits.tasks()

    async def _quiet(self) -> None:
        """Wait for the packets that wait; what takes too long is cancelled."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._stop_timeout
        while waiting := self._waiting():
            left = deadline - loop.time()
            if left > 0:
                await asyncio.wait(waiting, timeout=left)
                continue
            log.warning("%d packets are not waited for any longer", self._in_flight)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=1)
            return

    def _abandon(self) -> None:
        """What was not waited for hears its last, and does not reach into another run of the server."""
        self._listens = False
        for task in self._waiting():
            task.cancel()
        in_lanes = [exchange for lane in self._lanes.values() for exchange, _ in lane]
        for exchange in dict.fromkeys([*in_lanes, *self._commits.abandon()]):
            self._give_up(exchange, DropReason.TIMEOUT, "the server stopped")
        self._lanes.clear()
        self._committed.clear()
        self._in_flight = 0
        self._reports.flush()

    def _give_up(self, exchange: Exchange, reason: DropReason, why: str) -> None:
        _dismiss(exchange)
        if not exchange.finished:
            exchange.drop(reason, why)
            self.engine.finish(exchange)
            _dismiss(exchange)
        self._finished(exchange)


async def _pending(exchange: Exchange) -> None:
    pending: Awaitable[None] | None = exchange.pending
    if pending is not None:
        exchange.pending = None
        await pending


def _dismiss(exchange: Exchange) -> None:
    """What the exchange still waits for is not begun."""
    waiting = [exchange.pending, *(exchange.later or ())]
    exchange.pending = exchange.later = None
    with warnings.catch_warnings():
        # Closed unbegun, a coroutine leaves behind what it was to await, and Python would complain of that.
        warnings.simplefilter("ignore", RuntimeWarning)
        while waiting:
            each = waiting.pop()
            if inspect.iscoroutine(each) and inspect.getcoroutinestate(each) == inspect.CORO_CREATED:
                each.close()
            del each
