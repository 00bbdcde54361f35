"""Traffic: the way of a packet from its arrival to its end, through engine, lanes and commits."""

from __future__ import annotations

import asyncio
import inspect
import logging
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiodhcp.commits import Commits
from aiodhcp.constants import DropReason
from aiodhcp.delays import Delays
from aiodhcp.engine import Engine
from aiodhcp.exchange import Answer, Datagram, Exchange
from aiodhcp.lanes import Lanes, is_same
from aiodhcp.leases import Lease
from aiodhcp.prober import Prober
from aiodhcp.runtime import HookTasks
from aiodhcp.stores import Store

__all__ = ["Traffic"]

log = logging.getLogger("aiodhcp.server")


class Traffic:
    """Takes datagrams, sends answers, and loses no exchange on the way.

    Args:
        engine: decides.
        store: where leases survive.
        send: sends answers.
        finished: called with every exchange when it is done with.
        hook_tasks: what the plugins of the engine left to await.
        prober: asks the network for addresses.
        max_in_flight: packets that may wait; more are dropped (NOMEM).
        wait_timeout: seconds that a packet may wait for its turn.

    Attributes:
        engine: the engine that datagrams arrive at.
        previous: those before, while packets are on their way in them.
        commits: the commits.
        committed: called with leases that changed and are on stable storage; None if nobody cares but the plugins.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        send: Callable[[list[Answer]], None],
        finished: Callable[[Exchange], None],
        hook_tasks: HookTasks,
        prober: Prober,
        max_in_flight: int,
        wait_timeout: float,
    ) -> None:
        self.engine = engine
        self.previous: list[Engine] = []
        self.committed: Callable[[Sequence[Lease]], None] | None = None
        self.commits = Commits(store, self._commit_done, self._commit_failed)
        self._send = send
        self._tell_finished = finished
        self._hook_tasks = hook_tasks
        self._prober = prober
        self._max_in_flight = max_in_flight
        self._drained = asyncio.Event()
        self._committed: dict[Exchange, asyncio.Future[None]] = {}
        # What is being committed and waits in no lane, the last of each client.
        self._committing: dict[bytes, Exchange] = {}
        self._delays = Delays(self._offer)
        self._lanes = Lanes(wait_timeout, self.spawn, self._go_late, self._go_wrong)
        # Committed leases that plugins are still to be told of.
        self._untold: dict[int, Lease] = {}
        self._telling = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Packets that are not finished."""
        return self.engine.in_flight + sum(each.in_flight for each in self.previous)

    def tasks(self) -> set[asyncio.Future[Any]]:
        """All that is under way, as something to wait for."""
        return self._tasks | self.commits.tasks() | self._hook_tasks.tasks

    def spawn(self, way: Awaitable[None], name: str) -> None:
        """Run something in a task of that name."""
        task = asyncio.ensure_future(way)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def succeed(self, engine: Engine) -> Engine:
        """From now on datagrams arrive at another engine. The one before, which ends what it has."""
        previous, self.engine = self.engine, engine
        self.previous = [each for each in (*self.previous, previous) if each.in_flight]
        self._drained.clear()
        return previous

    async def drain(self, previous: Engine, seconds: float) -> None:
        """Wait for the packets that are on their way in an engine, but not for ever: beyond the OFFERs that are due."""
        try:
            async with asyncio.timeout(seconds + self._delays.left):
                while previous.in_flight:
                    await self._drained.wait()
                    self._drained.clear()
        except TimeoutError:
            if previous.in_flight:
                log.warning("%d packets still go by the configuration before this one", previous.in_flight)

    def tick(self, now: float) -> None:
        """Let time pass in the engine."""
        # Tasks begin in the order in which they are made: before the next packet of the same client.
        ended, waiting = self.engine.tick(now)
        for pending in waiting:
            self.spawn(pending, "aiodhcp expiry")
        self.commits.note(ended)
        self.commits.begin()

    async def quiet(self, seconds: float) -> None:
        """Wait for the packets that wait; what takes too long is cancelled."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while waiting := self._left():
            left = deadline - loop.time()
            if left > 0:
                await asyncio.wait(waiting, timeout=left)
                continue
            log.warning("%d packets, or what plugins do for them, are not waited for any longer", self.in_flight)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=1)
            return

    def _left(self) -> set[asyncio.Future[Any]]:
        """What is to be waited for at the end. Who has no OFFER yet gets none from a server that stops."""
        for exchange in self._delays.abandon():
            exchange.drop(DropReason.PAUSED, "the server stops before the OFFER is due")
            self._answer((exchange,))
        return self.tasks()

    def abandon(self) -> list[Awaitable[None]]:
        """What was not waited for does not reach into another run of the server.

        Returns:
            what is to be awaited, where ``async`` plugins hear the last of it.
        """
        for task in self.tasks():
            task.cancel()
        exchanges = dict.fromkeys([*self._lanes.abandon(), *self._delays.abandon(), *self.commits.abandon()])
        last = [self._give_up(exchange, DropReason.TIMEOUT, "the server stopped") for exchange in exchanges]
        self._committed.clear()
        self._committing.clear()
        self._untold.clear()
        self._telling = False
        for engine in (self.engine, *self.previous):
            engine.in_flight = 0
        self.previous.clear()
        self._drained.set()
        return [each for each in last if each is not None]

    # ── the way of a packet ──────────────────────────────────────────────────────────────────────────────────────

    def receive(self, datagrams: Sequence[Datagram], now: float, paused: str = "") -> None:
        """Take a batch of datagrams.

        Args:
            datagrams: what arrived.
            now: seconds since 1970.
            paused: why they are to be dropped, if they are.
        """
        engine, ready = self.engine, []
        committing, waiting = self._committing, self._lanes.clients
        for datagram in datagrams:
            if engine.in_flight >= 2 * self._max_in_flight:
                # They wait for the ``async`` plugins that would have to be told.
                engine.dropped[DropReason.NOMEM] += 1
                continue
            if paused:
                ready.append(engine.refuse(datagram, now, DropReason.PAUSED, paused))
                engine.in_flight += 1
                continue
            if engine.in_flight >= self._max_in_flight:
                ready.append(engine.refuse(datagram, now, DropReason.NOMEM, "too many packets wait already"))
                engine.in_flight += 1
                continue
            exchange = engine.arrive(datagram, now)
            engine.in_flight += 1
            if waiting or exchange.client in committing:
                why = self._duplicates(exchange)
                if why:
                    _dismiss(exchange)
                    exchange.drop(DropReason.DUPLICATE, why)
                    engine.finish(exchange)
                    self._lanes.enter(exchange, self._go_home, alone=True)
                    continue
            if exchange.pending is not None or exchange.client in waiting:
                self._lanes.enter(exchange, self._go, undecided=True)
                continue
            engine.decide(exchange)
            if exchange.later is not None or exchange.probe:
                # Its changes are to be written in the order in which they were decided.
                self._add(exchange)
                self._lanes.enter(exchange, self._go_commit)
            elif exchange.changes:
                committing[exchange.client] = exchange
                self.commits.add(exchange)
            elif exchange.delay:
                self._delay(exchange)
            else:
                ready.append(exchange)
        if ready:
            self._answer(ready)
        self.commits.begin()

    def _delay(self, exchange: Exchange) -> None:
        if not self._delays.enter(exchange):
            exchange.drop(DropReason.DUPLICATE, "the same request is still in work")
            self._answer((exchange,))
        elif len(self._delays) > max(1, self._max_in_flight // 2):
            # Else those who ask for nothing but an OFFER would take the room of all others.
            self._delays.leave(exchange)
            exchange.drop(DropReason.NOMEM, "too many OFFERs wait already")
            self._answer((exchange,))

    def _offer(self, exchange: Exchange) -> None:
        """The OFFER has waited for as long as it had to."""
        if exchange.yiaddr and exchange.engine.has_lapsed(exchange):
            exchange.drop(DropReason.TIMEOUT, "the client went on without the OFFER that was delayed")
        self._answer((exchange,))

    def _duplicates(self, exchange: Exchange) -> str:
        """Why a packet is one too many of its client; empty if it isn't."""
        client = exchange.client
        known = self._committing.get(client)
        if (known is not None and is_same(known, exchange)) or self._lanes.has_same(exchange):
            return "the same request is still in work"
        return "the client's earlier packets still wait" if self._lanes.is_full(client) else ""

    def _answer(self, exchanges: Iterable[Exchange]) -> None:
        """What the exchanges say may be said now."""
        lanes, waiting, done, answers = self._lanes, self._lanes.clients, [], []
        for exchange in exchanges:
            if waiting and lanes.must_wait(exchange):
                lanes.enter(exchange, self._go_answer)
                continue
            exchange.engine.answer(exchange)
            if exchange.pending is not None:
                lanes.enter(exchange, self._go_on, alone=exchange.client in waiting)
                continue
            done.append(exchange)
            if exchange.answer is not None:
                answers.append(exchange.answer)
        if answers:
            self._send(answers)
        for exchange in done:
            exchange.engine.finish(exchange)
            if exchange.pending is not None:
                lanes.enter(exchange, self._go_home, alone=exchange.client in waiting)
            else:
                self._finished(exchange)

    def _finished(self, exchange: Exchange) -> None:
        engine = exchange.engine
        engine.in_flight -= 1
        if self._committed:
            self._committed.pop(exchange, None)
        if engine is not self.engine and not engine.in_flight:
            self.previous = [each for each in self.previous if each is not engine]
            self._drained.set()
        self._tell_finished(exchange)

    # ── packets that wait ────────────────────────────────────────────────────────────────────────────────────────

    async def _go(self, exchange: Exchange) -> None:
        """The whole way from arrival on."""
        await exchange.settle()
        exchange.engine.decide(exchange)
        await self._go_commit(exchange)

    async def _go_commit(self, exchange: Exchange) -> None:
        if exchange.probe:
            await self._probe(exchange)
        if exchange not in self._committed:
            self._add(exchange)
        if exchange in self._committed:
            # With those whose turn comes now, too.
            asyncio.get_running_loop().call_soon(self.commits.begin)
            await self._committed[exchange]
        if exchange.delay:
            # The client's next packets do not wait for that.
            self._delay(exchange)
            return
        await self._go_answer(exchange)

    def _add(self, exchange: Exchange) -> None:
        if exchange.changes:
            self._committed[exchange] = asyncio.get_running_loop().create_future()
            self.commits.add(exchange)

    async def _probe(self, exchange: Exchange) -> None:
        """Ask the network whether somebody has the address that is to be offered, and try another one then."""
        engine = exchange.engine
        while exchange.probe:
            subnet = exchange.subnet
            assert subnet is not None
            method = subnet.conflict_probe
            if method == "auto":
                method = "icmp" if exchange.giaddr else "arp"
            owner = await self._prober.in_use(exchange.probe, exchange.interface, method, subnet.probe_timeout)
            if engine.has_lapsed(exchange):
                exchange.start_over()
                engine.decide(exchange)
                continue
            # The client itself may still be using what it had.
            if not owner or owner == exchange.hardware_address:
                exchange.probe = 0
                return
            self.commits.note([engine.conflict(exchange, owner)])
            self.commits.begin()
            await exchange.settle()
            engine.decide(exchange)

    async def _go_answer(self, exchange: Exchange) -> None:
        exchange.engine.answer(exchange)
        await self._go_on(exchange)

    async def _go_on(self, exchange: Exchange) -> None:
        await exchange.settle()
        if exchange.answer is not None:
            self._send([exchange.answer])
        exchange.engine.finish(exchange)
        await self._go_home(exchange)

    async def _go_home(self, exchange: Exchange) -> None:
        await exchange.settle()
        self._finished(exchange)

    async def _go_late(self, exchange: Exchange) -> None:
        """Its turn came too late: the client has asked again, or somebody else."""
        _dismiss(exchange)
        exchange.drop(DropReason.TIMEOUT, "it waited too long for its client's earlier packets")
        exchange.engine.finish(exchange)
        await self._go_home(exchange)

    async def _go_wrong(self, exchange: Exchange, error: BaseException) -> None:
        last = self._give_up(exchange, DropReason.INTERNAL_ERROR, f"a fault of the server: {error!r}")
        if last is not None:
            await last

    # ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _commit_done(self, batch: list[Exchange], leases: Sequence[Lease], conflicts: Sequence[Lease]) -> None:
        if self.committed is not None:
            self.committed([*leases, *conflicts])
        if self.engine.hooks.leases_committed:
            taken = {lease.address for lease in conflicts}
            self._untold.update({lease.address: lease for lease in leases if lease.address not in taken})
            if not self._telling and self._untold:
                self._tell_committed()
        if conflicts:
            winners = {lease.address: lease for lease in conflicts}
            for winner in conflicts:
                self.engine.leases.put(winner)
            for exchange in batch:
                lease = exchange.lease_after
                if lease is not None and lease.address in winners:
                    exchange.engine.overruled(exchange, winners[lease.address])
        self._committed_or_not(batch)

    def _tell_committed(self) -> None:
        """Tell the plugins what was committed, one call after the other."""
        leases, self._untold = list(self._untold.values()), {}
        pending = self.engine.hooks.leases_committed.run(leases)
        if pending is not None:
            self._telling = True
            self.spawn(self._tell_rest(pending), "aiodhcp leases_committed")

    async def _tell_rest(self, pending: Awaitable[None]) -> None:
        try:
            await pending
        finally:
            self._telling = False
        if self._untold:
            self._tell_committed()

    def _commit_failed(self, batch: list[Exchange]) -> None:
        """Nothing of the batch is answered."""
        for exchange in batch:
            exchange.drop(DropReason.INTERNAL_ERROR, "the lease can't be committed")
        self._committed_or_not(batch)

    def _committed_or_not(self, batch: list[Exchange]) -> None:
        committing = self._committing
        for exchange in batch:
            if committing.get(exchange.client) is exchange:
                del committing[exchange.client]
        if self._committed:
            batch = [exchange for exchange in batch if not self._wake(exchange)]
        self._answer(batch)

    def _wake(self, exchange: Exchange) -> bool:
        committed = self._committed.get(exchange)
        if committed is None:
            return False
        if not committed.done():
            committed.set_result(None)
        return True

    def _give_up(self, exchange: Exchange, reason: DropReason, why: str) -> Awaitable[None] | None:
        """It ends here. What is to be awaited, where ``async`` plugins hear of it."""
        _dismiss(exchange)
        last: Awaitable[None] | None = None
        if not exchange.finished:
            exchange.drop(reason, why)
            exchange.engine.finish(exchange)
            last, exchange.pending = exchange.pending, None
        self._finished(exchange)
        return last


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
