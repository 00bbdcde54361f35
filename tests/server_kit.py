"""A server for tests: a clock turned by hand, a store that can be held up, plugins that write down and that wait."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest
from wire import config, number_of, read

from aiodhcp import (
    AddressKind,
    AddressProblem,
    ControlCode,
    DhcpServer,
    DropReason,
    Exchange,
    Lease,
    MemoryStore,
    MemoryTransport,
    Packet,
    hookimpl,
)


class Clock:
    """The time as the tests have it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Store(MemoryStore):
    """A store whose commits wait while ``gate`` is closed, and fail while there is an ``error``."""

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        super().__init__(leases)
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.conflicts: Sequence[Lease] = ()
        self.commits: list[list[Lease]] = []
        self.times: list[float] = []
        self.under_way = self.most_under_way = 0
        self.loaded = self.closed = 0

    async def load(self) -> Iterable[Lease]:
        self.loaded += 1
        return await super().load()

    async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
        self.commits.append(list(changes))
        self.times.append(time.monotonic())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            winners, self.conflicts = self.conflicts, ()
            taken = {winner.address for winner in winners}
            await super().commit([change for change in changes if change.address not in taken])
            return winners
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed += 1


class Diary:
    """A plugin that writes down what it hears."""

    name = "diary"

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []

    def of(self, hook: str) -> list[tuple[Any, ...]]:
        return [entry[1:] for entry in self.entries if entry[0] == hook]

    @hookimpl
    def dhcp_control(self, code: ControlCode) -> None:
        self.entries.append(("control", code.name))

    @hookimpl
    def dhcp_new_pkt(self, packet: Packet) -> None:
        self.entries.append(("new", packet.xid))

    @hookimpl
    def dhcp_pkt_drop(self, reason: DropReason, exchange: Exchange) -> None:
        self.entries.append(("drop", exchange.xid, reason.name))

    @hookimpl
    def dhcp_pkt_send(self, reply: Packet) -> None:
        self.entries.append(("send", reply.xid, int(reply.message_type or 0)))

    @hookimpl
    def dhcp_address_del(self, problem: AddressProblem, address: IPv4Address) -> None:
        self.entries.append(("del", problem.name, str(address)))

    @hookimpl
    def dhcp_address_offer(self, kind: AddressKind, address: IPv4Address) -> None:
        self.entries.append(("offer", kind.name, str(address)))

    @hookimpl
    def dhcp_delete_client(self, address: IPv4Address, hardware_address: bytes) -> None:
        self.entries.append(("delete", str(address), hardware_address))


class Waiting:
    """A plugin whose ``dhcp_new_pkt`` waits for the clients in ``held``."""

    def __init__(self, *held: int) -> None:
        self.held = {client: asyncio.Event() for client in held}
        self.begun: list[int] = []
        self.cancelled: list[int] = []

    @hookimpl
    async def dhcp_new_pkt(self, packet: Packet) -> None:
        self.begun.append(packet.xid)
        if packet.xid in self.held:
            try:
                await self.held[packet.xid].wait()
            except asyncio.CancelledError:
                self.cancelled.append(packet.xid)
                raise


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is retried is retried soon."""
    monkeypatch.setattr("aiodhcp.commits.RETRY_DELAYS", (0.001, 0.002, 0.003, 0.004))


@pytest.fixture
async def serve(transport: MemoryTransport, store: Store, clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    """``async with serve(plugins...)``: a server that runs. Nothing it leaves behind goes unnoticed."""

    @asynccontextmanager
    async def make(*plugins: object, **more: Any) -> AsyncIterator[DhcpServer]:
        tasks = asyncio.all_tasks()
        settings = {"config": config(), "store": store, "transport": transport, "clock": clock, **more}
        async with DhcpServer(settings.pop("config"), plugins=plugins, **settings) as server:
            yield server
        assert server.health.status == "stopped"
        assert server.health.in_flight == 0
        # asyncio itself closes, in a task, what is left of a generator: httpx has some where an answer is not read on.
        left = asyncio.all_tasks() - tasks
        assert not {each for each in left if type(each.get_coro()).__name__ != "async_generator_athrow"}

    yield make
    # Coroutines that were never awaited would complain now.
    gc.collect()


def replies(transport: MemoryTransport) -> list[tuple[int, int]]:
    """Kind and client of all that was sent."""
    return [read(each.data)[:2] for each in transport.sent]


def expires(server: DhcpServer, address: str) -> int:
    known = server.leases.get(number_of(address))
    assert known is not None
    return known.expires
