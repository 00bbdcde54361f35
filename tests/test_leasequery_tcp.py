"""Leasequery by TCP on loopback: bulk (RFC 6926) and active (RFC 7724), and how connections come, wait and end."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from leasequery_kit import (
    ACTIVE,
    ACTIVE_QUERY,
    BULK,
    DONE,
    LOCAL,
    STATUS,
    TLS,
    UNASSIGNED,
    Requestor,
    Told,
    config,
    framed,
    query,
    time,
)
from server_kit import Store, clock, serve, store, transport  # noqa: F401 - some are fixtures
from wire import answer, ask, decline, discover, hardware, lease, message, number_of, release, renew, request, until

from aiodhcp import (
    NEVER,
    Config,
    ConfigError,
    ControlCode,
    DhcpServer,
    DropReason,
    Lease,
    LeaseState,
    MemoryTransport,
    MessageType,
    SqliteStore,
    hookimpl,
)
from aiodhcp import leasequery_connection as connection

Serve = Callable[..., Any]
SUCCESS, TERMINATED, MALFORMED, NOT_ALLOWED, MISSING, ALIVE, CAUGHT_UP, NO_TLS = 0, 2, 3, 4, 5, 6, 7, 8
FIRST = number_of("192.0.2.10")
NEXT = FIRST + 1


def relayed(kind: int, client: int, options: list[tuple[int, bytes]], said: bytes) -> bytes:
    return message(kind, client, [*options, (82, said)], giaddr="192.0.2.254")


async def lease_of(transport: MemoryTransport, client: int, said: bytes) -> int:
    """An address by way of a relay agent."""
    offer = await ask(transport, relayed(1, client, [], said))
    chosen = [(50, offer.yiaddr.to_bytes(4)), (54, bytes((192, 0, 2, 1)))]
    return (await ask(transport, relayed(3, client, chosen, said))).yiaddr


def found(told: list[Told]) -> list[int]:
    """The addresses that are told of, when all went well."""
    assert (told[-1].kind, told[-1].status) == (DONE, SUCCESS)
    return sorted(each.ciaddr for each in told[:-1])


def many(count: int) -> list[Lease]:
    """That many leases, in 10/8."""
    return [
        Lease((10 << 24) + at, b"\1" + at.to_bytes(6), 1, at.to_bytes(6), LeaseState.ACTIVE, 1000, NEVER)
        for at in range(count)
    ]


# ── bulk leasequery ──


async def test_by_each_kind(serve: Serve, transport: MemoryTransport) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        await lease_of(transport, 1, b"\2\4line\14\5relay")
        await lease_of(transport, 2, b"\14\5relay")
        for data, expected in (
            (query(BULK, address=FIRST), [FIRST]),
            (query(BULK, mac=hardware(1)), [FIRST]),
            (query(BULK, [(61, b"\1" + hardware(2))]), [NEXT]),
            (query(BULK, [(82, b"\2\4line")]), [FIRST]),
            (query(BULK, [(82, b"\14\5relay")]), [FIRST, NEXT]),
            (query(BULK), [FIRST, NEXT]),
            (query(BULK, address="192.0.2.77"), []),
            (query(BULK, [(82, b"\2\4lime")]), []),
        ):
            assert found(await requestor.ask(data)) == expected
        assert server.engine.received[MessageType.BULKLEASEQUERY] == 8
        assert server.engine.sent[MessageType.LEASEACTIVE] == 8
        assert server.engine.sent[MessageType.LEASEQUERYDONE] == 8


async def test_what_is_told_of_a_lease(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        await lease_of(transport, 1, b"\2\4line")
        began = clock.now
        clock.now += 600
        await ask(transport, message(3, 1, [(82, b"\2\4line")], ciaddr=FIRST, giaddr="192.0.2.254"))
        clock.now += 60
        told, _ = await requestor.ask(query(BULK, xid=7))
        assert (told.kind, told.xid, told.ciaddr, told.chaddr) == (ACTIVE, 7, FIRST, hardware(1))
        assert told.number(152) == clock.now  # base-time
        assert told.number(153) == clock.now - began  # start-time-of-state
        assert told.number(91) == 60
        assert (told.number(51), told.number(58), told.number(59)) == (3540, 1740, 3090)
        assert (told.state, told.options[157], told.options[82]) == (2, b"\0", b"\2\4line")
        assert told.options[54] == bytes((192, 0, 2, 1))
        told, _ = await requestor.ask(query(BULK, [(55, bytes((51, 153)))]))
        assert {*told.options} == {53, 54, 152, 51, 153}


async def test_each_state(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        for client in range(1, 6):
            await lease(transport, client)
        began = clock.now
        clock.now += 100
        transport.deliver(release(1, FIRST))
        transport.deliver(decline(2, FIRST + 1))
        await server.delete_lease(FIRST + 2)
        clock.now += 100
        await ask(transport, renew(4, FIRST + 3))
        clock.now = began + 3650  # the fifth has come to its end, and nobody has noticed
        told = {each.ciaddr - FIRST: each for each in (await requestor.ask(query(BULK)))[:-1]}
        assert {at: (each.kind, each.state) for at, each in told.items()} == {
            0: (UNASSIGNED, 4),
            1: (UNASSIGNED, 5),
            2: (UNASSIGNED, 1),
            3: (ACTIVE, 2),
            4: (UNASSIGNED, 3),
        }
        assert {at: each.number(153) for at, each in told.items()} == {0: 3550, 1: 3550, 2: 3550, 3: 3650, 4: 50}
        assert told[0].chaddr == hardware(1)
        assert 51 not in told[4].options
        assert (told[0].number(91), told[3].number(91), told[4].number(91)) == (3550, 3450, 3650)
        assert 91 not in told[1].options


async def test_an_address_after_its_probation(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    """Nobody had it last: it has not expired."""
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        await lease(transport, 1)
        transport.deliver(decline(1, FIRST))
        clock.now += server.config.decline_time + 5
        server.engine.tick(clock.now)
        recovered = (await requestor.ask(query(BULK, address=FIRST)))[0]
        assert (recovered.kind, recovered.state, recovered.number(153)) == (UNASSIGNED, 1, 5)


async def test_a_client_that_moved_gave_its_address_back(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        await lease(transport, 1)
        clock.now += 50
        moved = server.leases.get(FIRST)._replace(address=NEXT, last_transaction=int(clock.now))
        server.engine.addresses.enter(moved, clock.now)
        clock.now += 5
        old = (await requestor.ask(query(BULK, address=FIRST)))[0]
        assert (old.kind, old.state, old.number(153)) == (UNASSIGNED, 4, 5)


async def test_what_changed_in_a_time(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    begin = clock.now
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        for client in range(1, 4):
            await lease(transport, client)
            clock.now += 100
        await ask(transport, renew(1, FIRST))
        for options, expected in (
            ([(154, time(begin + 100))], [FIRST, FIRST + 1, FIRST + 2]),
            ([(154, time(begin + 101))], [FIRST, FIRST + 2]),
            ([(155, time(begin + 299))], [FIRST + 1, FIRST + 2]),
            ([(154, time(begin + 101)), (155, time(begin + 299))], [FIRST + 2]),
            ([(154, time(begin + 301))], []),
        ):
            assert found(await requestor.ask(query(BULK, options))) == expected
        clock.now = begin + 3650  # that of the second ended at begin + 3700, that of the first later
        clock.now = begin + 3705
        assert found(await requestor.ask(query(BULK, [(154, time(begin + 3700))]))) == [FIRST + 1]


async def test_when_a_lease_changed_that_is_older_than_the_times_is_not_known(serve: Serve, clock: Any) -> None:
    """It is told of rather once too often."""
    old = Lease(FIRST, b"\1a", 1, b"a", LeaseState.ACTIVE, 1000, NEVER)
    async with serve(config=config(), store=Store([old])) as server, await Requestor.to(server) as requestor:
        assert found(await requestor.ask(query(BULK, [(154, time(clock.now))]))) == [FIRST]
        assert found(await requestor.ask(query(BULK, [(155, time(999))]))) == []


async def test_several_queries_at_once(serve: Serve, transport: MemoryTransport) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        await lease(transport, 1)
        requestor.send(query(BULK, xid=1), query(BULK, xid=2, address="192.0.2.77"), query(BULK, xid=3))
        requestor.writer.write_eof()
        told = [await requestor.hear() for _ in range(5)]
        assert [(each.xid, each.kind) for each in told] == [(1, ACTIVE), (1, DONE), (2, DONE), (3, ACTIVE), (3, DONE)]
        assert await requestor.is_over()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (query(BULK, address=FIRST, mac=b"\2\0\0\0\0\1"), "asks by address and by hardware address at once"),
        (query(BULK, [(154, b"\0")]), "a query time that has not four octets"),
        (query(BULK, [(154, time(9)), (155, time(8))]), "the query ends before it starts"),
        (query(BULK, hlen=17), "hlen is 17: chaddr has 16 octets"),
        (query(10, address=FIRST), "message type 10 is no query by TCP"),
        (query(0), "message type 0 is no query by TCP"),
    ],
)
async def test_a_malformed_query(serve: Serve, data: bytes, why: str) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        told = (await requestor.ask(data))[-1]
        assert (told.kind, told.xid, told.status) == (DONE, 1, MALFORMED)
        assert told.options[151][1:].decode() == why
        assert server.engine.dropped == {DropReason.INVALID: 1}
        assert found(await requestor.ask(query(BULK))) == []


@pytest.mark.parametrize(
    "octets",
    [
        framed(b"rubbish"),
        framed(bytes(239)),
        framed(bytes(240)),
        framed(query(BULK) + bytes(4000)),
        b"\xff\xff" + bytes(65535),
        framed(query(BULK, op=2)),
        framed(query(BULK)[:-1] + b"\x52\x20abc"),
    ],
)
async def test_what_is_no_message_ends_the_connection(serve: Serve, octets: bytes) -> None:
    async with serve(config=config()) as server:
        async with await Requestor.to(server) as requestor:
            requestor.writer.write(octets)
            assert await requestor.is_over()
        assert server.engine.dropped == {DropReason.INVALID: 1}
        async with await Requestor.to(server) as requestor:
            assert found(await requestor.ask(query(BULK))) == []


async def test_a_message_that_ends_in_the_middle(serve: Serve) -> None:
    for octets in (b"\1", framed(query(BULK))[:-1]):
        async with serve(config=config()) as server, await Requestor.to(server) as requestor:
            requestor.writer.write(octets)
            requestor.writer.write_eof()
            assert await requestor.is_over()
            assert server.engine.dropped == {}


async def test_a_message_in_single_octets(serve: Serve) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        for octet in framed(query(BULK)):
            requestor.writer.write(bytes((octet,)))
            await asyncio.sleep(0)
        assert (await requestor.hear()).kind == DONE


async def test_any_octets(serve: Serve, transport: MemoryTransport) -> None:
    random = Random(6926)
    async with serve(config=config(connections=1000)) as server:
        await lease_of(transport, 1, b"\2\4line\14\5relay")
        good = [
            query(BULK, [(82, b"\2\4line"), (55, bytes((51, 82))), (154, time(1)), (155, time(1 << 31))]),
            query(ACTIVE_QUERY, [(154, time(1))]),
            query(TLS),
            query(BULK),
        ]
        for _ in range(150):
            async with await Requestor.to(server) as requestor:
                octets = bytearray(b"".join(map(framed, random.sample(good, 3))))
                for _ in range(random.randint(1, 4)):
                    at = random.choice((random.randrange(2), random.randrange(236, 280), random.randrange(len(octets))))
                    octets[at] = random.randrange(256)
                requestor.writer.write(octets)
                requestor.writer.write_eof()
                try:
                    while True:
                        assert (await requestor.hear()).kind in (ACTIVE, DONE, STATUS, TLS)
                except (EOFError, ConnectionError):
                    pass
        async with await Requestor.to(server) as requestor:
            assert found(await requestor.ask(query(BULK))) == [FIRST]


# ── many leases ──


async def test_many_leases_and_packets_meanwhile(serve: Serve, transport: MemoryTransport) -> None:
    count = 20000
    async with serve(config=config(), store=Store(many(count))) as server, await Requestor.to(server) as requestor:
        requestor.send(query(BULK))
        told = [await requestor.hear()]
        await lease(transport, 1)
        assert server.engine.sent[MessageType.LEASEQUERYDONE] == 0
        while told[-1].kind != DONE:
            told.append(await requestor.hear())
        assert {each.ciaddr for each in told[:-1]} >= {(10 << 24) + at for at in range(count)}


async def test_who_does_not_read_holds_nothing_up(serve: Serve, transport: MemoryTransport, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "DATA_TIMEOUT", 0.3)
    async with (
        serve(config=config(), store=Store(many(20000))) as server,
        await Requestor.to(server, reads=False) as requestor,
    ):
        requestor.send(query(BULK))
        await lease(transport, 1)
        (mine,) = server._leasequery._connections.values()
        most = 0
        while server._leasequery._connections:
            most = max(most, mine._writer.transport.get_write_buffer_size())
            await asyncio.sleep(0.01)
        assert 0 < most < 200_000
        assert server.engine.sent[MessageType.LEASEACTIVE] < 20000
        assert server.engine.sent[MessageType.LEASEQUERYDONE] == 0


async def test_who_says_nothing_is_sent_away(serve: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "DATA_TIMEOUT", 0.05)
    async with serve(config=config()) as server:
        for octets in (b"", b"\1"):
            async with await Requestor.to(server) as requestor:
                requestor.writer.write(octets)
                assert await requestor.is_over()


# ── who may ask ──


@pytest.mark.parametrize(("kind", "done"), [(BULK, DONE), (ACTIVE_QUERY, STATUS), (TLS, DONE)])
async def test_who_may_not_ask(serve: Serve, transport: MemoryTransport, kind: int, done: int) -> None:
    async with serve(config=config("10.0.0.1")) as server, await Requestor.to(server) as requestor:
        await lease(transport, 1)
        (told,) = await requestor.ask(query(kind))
        assert (told.kind, told.status) == (done, NOT_ALLOWED)
        assert told.options[151][1:] == b"127.0.0.1 may not ask for leases"
        assert await requestor.is_over()
        assert server.engine.dropped == {DropReason.UNAUTH: 1}


async def test_strangers_take_nobodys_place(serve: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "STRANGER_TIMEOUT", 0.2)
    async with serve(config=config("127.0.0.2", connections=1)) as server:
        strangers = [await Requestor.to(server) for _ in range(8)]
        async with await Requestor.to(server, "127.0.0.2") as requestor:
            assert found(await requestor.ask(query(BULK))) == []
            async with await Requestor.to(server, "127.0.0.2") as another:
                assert await another.is_over()
            assert found(await requestor.ask(query(BULK))) == []
        for each in strangers:
            async with each:
                assert await each.is_over()
        await until(lambda: not server._leasequery._connections)
        async with await Requestor.to(server, "127.0.0.2") as requestor:
            assert found(await requestor.ask(query(BULK))) == []


# ── active leasequery ──


async def test_each_change_as_it_is_committed(
    serve: Serve, transport: MemoryTransport, store: Store, clock: Any
) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        requestor.send(query(ACTIVE_QUERY, xid=9))
        await until(lambda: server.engine.received[MessageType.ACTIVELEASEQUERY])
        offer = await ask(transport, discover(1))
        store.gate.clear()
        transport.deliver(request(1, offer.yiaddr))
        await asyncio.sleep(0.02)
        assert server.engine.sent[MessageType.LEASEACTIVE] == 0
        store.gate.set()
        told = await requestor.hear()
        assert (told.kind, told.xid, told.ciaddr, told.state) == (ACTIVE, 9, FIRST, 2)
        await answer(transport)
        clock.now += 100
        await ask(transport, renew(1, FIRST))
        assert (await requestor.hear()).number(51) == 3600
        transport.deliver(release(1, FIRST))
        told = await requestor.hear()
        assert (told.kind, told.ciaddr, told.state) == (UNASSIGNED, FIRST, 4)
        await lease(transport, 2)
        assert (await requestor.hear()).chaddr == hardware(2)
        clock.now += 4000
        told = await requestor.hear()
        assert (told.kind, told.state, told.chaddr) == (UNASSIGNED, 3, hardware(2))
        await lease(transport, 2)
        assert (await requestor.hear()).kind == ACTIVE
        await server.delete_lease(FIRST + 1)
        assert (await requestor.hear()).state == 1


async def test_nobody_hears_of_what_another_server_gave_away(
    serve: Serve, transport: MemoryTransport, store: Store
) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        requestor.send(query(ACTIVE_QUERY))
        await until(lambda: server.engine.received[MessageType.ACTIVELEASEQUERY])
        offer = await ask(transport, discover(1))
        store.conflicts = [Lease(FIRST, b"\1other", 1, b"other", LeaseState.ACTIVE, 0, NEVER)]
        transport.deliver(request(1, offer.yiaddr))
        assert (await requestor.hear()).chaddr == b"other"


async def test_catching_up(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    known = Lease(FIRST + 50, b"\1old", 1, b"old", LeaseState.ACTIVE, int(clock.now) - 500, NEVER, last_transaction=1)
    async with serve(config=config(), store=Store([known])) as server:
        for client in range(1, 4):
            await lease(transport, client)
            clock.now += 100
        async with await Requestor.to(server) as requestor:
            told = await requestor.ask(query(ACTIVE_QUERY, [(154, time(clock.now - 200))]))
            assert [each.ciaddr for each in told[:-1]] == [FIRST + 1, FIRST + 2]
            assert (told[-1].kind, told[-1].status) == (STATUS, CAUGHT_UP)
            assert told[-1].number(152) == clock.now
            await lease(transport, 4)
            assert (await requestor.hear()).ciaddr == FIRST + 3


async def test_what_can_not_be_caught_up_with(serve: Serve, transport: MemoryTransport, clock: Any) -> None:
    """A server that began with nothing knows nothing of before."""
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        await lease(transport, 1)
        told = await requestor.ask(query(ACTIVE_QUERY, [(154, time(clock.now - 1))]))
        assert [(each.kind, each.status) for each in told] == [(STATUS, MISSING)]
        assert (await requestor.hear()).ciaddr == FIRST
        assert (await requestor.hear()).status == CAUGHT_UP
        async with await Requestor.to(server) as another:
            told = await another.ask(query(ACTIVE_QUERY, [(154, time(clock.now))]))
            assert [each.status for each in told] == [SUCCESS, CAUGHT_UP]


class Lazy(Store):
    """A store that reads its leases when they are iterated, where it was made."""

    async def load(self) -> Any:
        self.thread = threading.get_ident()
        return (self._same_thread(lease) for lease in await super().load())

    def _same_thread(self, lease: Lease) -> Lease:
        assert threading.get_ident() == self.thread
        return lease


@pytest.mark.parametrize("kind", ["sqlite", "lazy"])
async def test_what_a_store_has_nothing_of(serve: Serve, clock: Any, tmp_path: Path, kind: str) -> None:
    """Whatever it gives the leases as, that there are none is noticed."""
    own = SqliteStore(tmp_path / "leases.sqlite") if kind == "sqlite" else Lazy()
    async with serve(config=config(), store=own) as server, await Requestor.to(server) as requestor:
        told = await requestor.ask(query(ACTIVE_QUERY, [(154, time(clock.now - 1))]))
        assert [(each.kind, each.status) for each in told] == [(STATUS, MISSING)]


async def test_a_store_that_reads_its_leases_late(serve: Serve, clock: Any) -> None:
    async with serve(config=config(), store=Lazy(many(3))) as server, await Requestor.to(server) as requestor:
        told = await requestor.ask(query(ACTIVE_QUERY, [(154, time(clock.now - 1))]))
        assert MISSING not in [each.status for each in told]
        assert len(server.leases) == 3


async def test_a_restart_keeps_the_times(serve: Serve, transport: MemoryTransport, clock: Any, tmp_path: Path) -> None:
    began = clock.now
    async with serve(config=config(), store=SqliteStore(tmp_path / "leases.sqlite")):
        await lease(transport, 1)
        clock.now += 600
        await ask(transport, renew(1, FIRST))
        await lease(transport, 2)
        clock.now += 60
        transport.deliver(release(2, NEXT))
    clock.now += 40
    store = SqliteStore(tmp_path / "leases.sqlite")
    async with serve(config=config(), store=store) as server, await Requestor.to(server) as requestor:
        told = {each.ciaddr: each for each in (await requestor.ask(query(BULK)))[:-1]}
        assert told[FIRST].number(152) == clock.now
        assert (told[FIRST].number(153), told[FIRST].number(91)) == (clock.now - began, 100)
        assert (told[NEXT].state, told[NEXT].number(153), told[NEXT].number(91)) == (4, 40, 40)
        told = await requestor.ask(query(ACTIVE_QUERY, [(154, time(began + 601))]))
        assert ([each.ciaddr for each in told[:-1]], told[-1].status) == ([NEXT], CAUGHT_UP)


async def test_a_connection_with_nothing_new_is_kept_alive(serve: Serve, clock: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "IDLE_TIMEOUT", 0.1)
    monkeypatch.setattr(connection, "DATA_TIMEOUT", 0.5)
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        requestor.send(query(ACTIVE_QUERY, xid=5))
        for _ in range(8):
            told = await requestor.hear()
            assert (told.kind, told.xid, told.status, told.number(152)) == (STATUS, 5, ALIVE, clock.now)


async def test_a_subscriber_may_ask_and_may_not_subscribe_again(serve: Serve, transport: MemoryTransport) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        requestor.send(query(ACTIVE_QUERY, xid=1), query(STATUS, [(151, b"\2")], xid=1))
        assert found(await requestor.ask(query(BULK, xid=2))) == []
        (told,) = await requestor.ask(query(ACTIVE_QUERY, xid=3))
        assert (told.kind, told.xid, told.status) == (STATUS, 3, MALFORMED)
        await lease(transport, 1)
        assert (await requestor.hear()).xid == 1


async def test_an_active_leasequery_is_for_all(serve: Serve) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        (told,) = await requestor.ask(query(ACTIVE_QUERY, address=FIRST))
        assert (told.kind, told.status) == (STATUS, MALFORMED)
        assert told.options[151][1:] == b"an active leasequery for address 192.0.2.10: it can only be for all"


async def test_who_reads_too_slowly_is_cut_off(serve: Serve, transport: MemoryTransport, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "MOST_PENDING", 100)
    async with serve(config=config()) as server, await Requestor.to(server, reads=False) as requestor:
        requestor.send(query(ACTIVE_QUERY))
        await until(lambda: server.engine.received[MessageType.ACTIVELEASEQUERY])
        (mine,) = server._leasequery._connections.values()
        for batch in range(2000):
            server._leasequery.committed(many(200)[batch % 100 :][:100])
            if not server._leasequery._connections:
                break
            await asyncio.sleep(0)
        await until(lambda: not server._leasequery._connections)
        assert len(mine._pending) <= 100
        # Nobody else feels it.
        await lease(transport, 1)


async def test_who_takes_nothing_for_too_long_is_cut_off(serve: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "SEND_TIMEOUT", 0.1)
    async with (
        serve(config=config(), store=Store(many(20000))) as server,
        await Requestor.to(server, reads=False) as requestor,
    ):
        requestor.send(query(ACTIVE_QUERY, [(154, time(0))]))
        await until(lambda: server._leasequery._connections)
        await until(lambda: not server._leasequery._connections)


# ── life ──


async def test_a_stop_ends_what_is_under_way(serve: Serve, monkeypatch: Any) -> None:
    async with serve(config=config(), store=Store(many(50000))) as server:
        bulk, active, idle = [await Requestor.to(server) for _ in range(3)]
        active.send(query(ACTIVE_QUERY, xid=2))
        bulk.send(query(BULK, xid=1))
        await until(lambda: server.engine.sent[MessageType.LEASEACTIVE])
    assert server.leasequery_addresses == []
    told = await active.hear()
    assert (told.kind, told.xid, told.status) == (STATUS, 2, TERMINATED)
    while (told := await bulk.hear()).kind == ACTIVE:
        pass
    assert (told.kind, told.xid, told.status) == (DONE, 1, TERMINATED)
    for each in (bulk, active, idle):
        async with each:
            assert await each.is_over()


async def test_it_listens_only_where_that_is_said(serve: Serve) -> None:
    async with serve() as server:
        assert server.leasequery_addresses == []
        assert server._traffic.committed is None


async def test_a_reload(serve: Serve, transport: MemoryTransport) -> None:
    async with serve(config=config("127.0.0.0/8")) as server:
        before = server.leasequery_addresses
        mine, yours = await Requestor.to(server), await Requestor.to(server, "127.0.0.2")
        for each in (mine, yours):
            each.send(query(ACTIVE_QUERY, xid=4))
        await until(lambda: server.engine.received[MessageType.ACTIVELEASEQUERY] == 2)
        await server.reload(config(LOCAL))
        assert server.leasequery_addresses == before
        assert (await yours.hear()).status == TERMINATED
        await lease(transport, 1)
        assert (await mine.hear()).ciaddr == FIRST
        assert found(await mine.ask(query(BULK))) == [FIRST]
        await server.reload(config(LOCAL, port=_free_port()))
        assert server.leasequery_addresses != before
        assert (await mine.ask(query(BULK)))[-1].kind == DONE
        await server.reload(Config(server.config.subnets))
        assert server.leasequery_addresses == []
        assert (await mine.hear()).status == TERMINATED
        for each in (mine, yours):
            async with each:
                assert await each.is_over()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        return int(sock.getsockname()[1])


async def test_a_port_that_is_taken(serve: Serve, transport: MemoryTransport) -> None:
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = f"leasequery.listen: 127.0.0.1 port {port}: Address already in use"
        with pytest.raises(ConfigError, match=said):
            async with serve(config=config(port=port)):
                pass
        async with serve(config=config()) as server:
            before = server.leasequery_addresses
            with pytest.raises(ConfigError, match=said):
                await server.reload(config(port=port))
            assert server.leasequery_addresses == before
            async with await Requestor.to(server) as requestor:
                assert found(await requestor.ask(query(BULK))) == []


async def test_a_reload_that_a_plugin_refuses_leaves_nothing_open(serve: Serve) -> None:
    class Refusing:
        @hookimpl
        def dhcp_control(self, code: ControlCode) -> None:
            if code is ControlCode.START:
                raise ValueError("not now")

    port = _free_port()
    async with serve(config=config()) as server:
        before = server.leasequery_addresses
        with pytest.raises(ConfigError, match="not now"):
            await server.reload(config(port=port), [Refusing()])
        assert server.leasequery_addresses == before
        with socket.socket() as sock:
            sock.bind((LOCAL, port))


# ── TLS ──


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server and of another, who certified themselves: ``dhcp.pem`` and ``other.pem``, with their keys."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates")
    directory = tmp_path_factory.mktemp("certificates")
    for name in ("dhcp", "other"):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        who = ("-subj", f"/CN={name}.example", "-addext", f"subjectAltName=DNS:{name}.example")
        command = ("openssl", "req", "-x509", *curve, *files, *who)
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return directory


def with_tls(certificates: Path, **more: Any) -> Any:
    files = {"tls_certificate": str(certificates / "dhcp.pem"), "tls_key": str(certificates / "dhcp.key")}
    return config(**{**files, **more})


def trusting(certificates: Path, own: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "dhcp.pem"))
    if own:
        context.load_cert_chain(certificates / f"{own}.pem", certificates / f"{own}.key")
    return context


async def test_tls(serve: Serve, transport: MemoryTransport, certificates: Path) -> None:
    settings = with_tls(certificates, tls_required=True, tls_ca=str(certificates / "other.pem"))
    async with serve(config=settings) as server:
        await lease(transport, 1)
        async with await Requestor.to(server) as requestor:
            (told,) = await requestor.ask(query(TLS, xid=3))
            assert (told.kind, told.xid, told.status) == (TLS, 3, SUCCESS)
            assert 151 not in told.options
            await requestor.begin_tls(trusting(certificates, "other"))
            assert found(await requestor.ask(query(BULK))) == [FIRST]
            requestor.send(query(ACTIVE_QUERY))
            await until(lambda: server.engine.received[MessageType.ACTIVELEASEQUERY])
            await lease(transport, 2)
            assert (await requestor.hear()).ciaddr == NEXT
            (told,) = await requestor.ask(query(TLS))
            assert (told.kind, told.status) == (TLS, NO_TLS)


async def test_many_leases_by_tls(serve: Serve, certificates: Path) -> None:
    settings, store = with_tls(certificates), Store(many(5000))
    async with serve(config=settings, store=store) as server, await Requestor.to(server) as requestor:
        await requestor.ask(query(TLS))
        await requestor.begin_tls(trusting(certificates))
        assert len(found(await requestor.ask(query(BULK)))) == 5000


async def test_tls_that_is_required(serve: Serve, certificates: Path) -> None:
    settings = with_tls(certificates, tls_required=True)
    async with serve(config=settings) as server, await Requestor.to(server) as requestor:
        (told,) = await requestor.ask(query(BULK))
        assert (told.status, told.options[151][1:]) == (NOT_ALLOWED, b"TLS has to begin first")
        assert await requestor.is_over()


async def test_tls_that_is_refused(serve: Serve) -> None:
    async with serve(config=config()) as server, await Requestor.to(server) as requestor:
        (told,) = await requestor.ask(query(TLS))
        assert (told.kind, told.status, told.options[151][1:]) == (TLS, NO_TLS, b"the server has no certificate")
        assert found(await requestor.ask(query(BULK))) == []


async def test_what_is_said_before_tls_begins_does_not_count(serve: Serve, certificates: Path) -> None:
    async with serve(config=with_tls(certificates)) as server, await Requestor.to(server) as requestor:
        requestor.send(query(TLS), query(BULK))
        assert await requestor.is_over()


async def test_a_requestor_that_nobody_certified(serve: Serve, certificates: Path) -> None:
    async with serve(config=with_tls(certificates, tls_ca=str(certificates / "other.pem"))) as server:
        async with await Requestor.to(server) as requestor:
            await requestor.ask(query(TLS))
            try:
                await requestor.begin_tls(trusting(certificates))
                requestor.send(query(BULK))
                assert await requestor.is_over()
            except (ssl.SSLError, ConnectionError):
                pass
        await until(lambda: not server._leasequery._connections)
        assert server.engine.sent[MessageType.LEASEQUERYDONE] == 0


async def test_a_certificate_that_can_not_be_read(serve: Serve, certificates: Path) -> None:
    (certificates / "rubbish.pem").write_text("rubbish")
    for wrong, said in (
        ({"tls_certificate": "/nowhere.pem"}, r"leasequery.tls-certificate: /nowhere.pem with .*: No such file"),
        ({"tls_key": str(certificates / "other.key")}, "leasequery.tls-certificate: .*dhcp.pem with .*other.key: "),
        ({"tls_ca": str(certificates / "rubbish.pem")}, "leasequery.tls-ca: .*rubbish.pem: "),
    ):
        with pytest.raises(ConfigError, match=said):
            async with serve(config=with_tls(certificates, **wrong)):
                pass
    async with serve(config=config()) as server:
        with pytest.raises(ConfigError, match="rubbish"):
            await server.reload(with_tls(certificates, tls_certificate=str(certificates / "rubbish.pem")))
        assert isinstance(server, DhcpServer)
