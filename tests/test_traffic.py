"""The way of a packet where several things happen at once: order, promises, faults. Each was wrong once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from server_kit import Clock, clock, diary, serve, store, transport  # noqa: F401 - some are fixtures
from wire import (
    ACK,
    DISCOVER,
    FIRST,
    INFORM,
    OFFER,
    SERVER,
    answer,
    ask,
    config,
    discover,
    lease,
    message,
    number_of,
    read,
    release,
    renew,
    request,
    turns,
    until,
)

from aiodhcp import Config, ConfigError, ControlCode, Drop, DropReason, LeaseState, Plugin, Policy, Subnet, hookimpl


def one_address(**more: Any) -> Config:
    """A server with a single address to give."""
    return Config([Subnet("192.0.2.0/24", [FIRST], interfaces=["memory"], **more)], server_id=SERVER)


class Leaving:
    """Takes its time when a lease ends."""

    @hookimpl
    async def dhcp_delete_client(self) -> None:
        await asyncio.sleep(0)


# ── order ──


async def test_changes_are_stored_in_the_order_in_which_they_were_decided(serve, transport, store):
    """In one batch the first client gives its address back, and the second takes it."""
    async with serve(Leaving(), config=one_address()) as server:
        await lease(transport, 1)
        transport.deliver_many([release(1, FIRST), request(2, FIRST)])
        ack = await answer(transport)
        assert (ack.kind, ack.client) == (ACK, 2)
        await until(lambda: server.health.in_flight == 0)
        held = server.leases.get(number_of(FIRST))
    (row,) = await store.load()
    assert row == held
    assert row.state == LeaseState.ACTIVE


async def test_what_is_decided_does_not_come_too_late(serve, transport, store):
    class Blocking(Leaving):
        @hookimpl
        def dhcp_new_pkt(self, exchange):
            if exchange.xid == 99:
                time.sleep(0.05)

    async with serve(Blocking(), wait_timeout=0.01) as server:
        address = await lease(transport, 1)
        transport.deliver_many([release(1, address), message(DISCOVER, 9, xid=99)])
        await until(lambda: server.health.in_flight == 0)
        assert server.engine.dropped == {}
    rows = {each.address: each.state for each in await store.load()}
    assert rows[number_of(address)] == LeaseState.RELEASED


async def test_a_packet_does_not_wait_for_those_that_came_later(serve, transport, store):
    go = asyncio.Event()

    class Slow:
        @hookimpl
        async def dhcp_new_pkt(self, exchange):
            if exchange.message_type == INFORM:
                await go.wait()

    # The REQUEST has no async hook to wait for: only its commit.
    class Quick:
        @hookimpl
        def dhcp_new_pkt(self, exchange):
            return Slow().dhcp_new_pkt(exchange) if exchange.message_type == INFORM else None

    async with serve(Quick(), wait_timeout=0.02):
        offer = await ask(transport, discover(1))
        store.gate.clear()
        transport.deliver(request(1, offer.yiaddr))
        transport.deliver(message(INFORM, 1, xid=5, ciaddr=offer.address))
        await asyncio.sleep(0.03)
        store.gate.set()
        ack = await answer(transport)
        assert (ack.kind, ack.address) == (ACK, FIRST)
        go.set()
        assert (await answer(transport)).yiaddr == 0


async def test_an_offer_that_lapses_while_the_network_is_asked(serve, transport):
    """Somebody else has got the address meanwhile, and answers."""
    asked = asyncio.Event()
    go = asyncio.Event()
    clock = Clock()

    class Prober:
        async def in_use(self, address: int, *_: Any) -> str:
            if address == number_of(FIRST) and not asked.is_set():
                asked.set()
                await go.wait()
                return "02:00:00:00:00:02"
            return ""

        def close(self) -> None:
            """Nothing to close."""

    subnet = Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.11"], interfaces=["memory"], conflict_probe="arp")
    short = Config([subnet], server_id=SERVER, offer_time=1)
    async with serve(config=short, prober=Prober(), clock=clock) as server:
        transport.deliver(discover(1))
        await asked.wait()
        clock.now += 2
        server.engine.addresses.lapse(clock.now)
        assert (await ask(transport, request(2, FIRST))).kind == ACK
        go.set()
        offer = await answer(transport)
        assert (offer.kind, offer.client, offer.address) == (OFFER, 1, "192.0.2.11")
        assert server.leases.get(number_of(FIRST)).state == LeaseState.ACTIVE


# ── hooks ──


async def test_a_packet_that_an_open_circuit_drops_is_nobodys_business(serve, transport):
    told: list[tuple[int, bool]] = []

    class Filter:
        @hookimpl(on_error="drop", failures=1)
        def dhcp_handle_options(self):
            raise ZeroDivisionError

    class Next:
        @hookimpl
        def dhcp_handle_options(self, exchange):
            told.append((exchange.xid, exchange.dropped))

    async with serve(Filter(), Next()) as server:
        transport.deliver_many([discover(1), discover(2)])
        assert server.engine.dropped == {DropReason.INTERNAL_ERROR: 2}
    assert told == []


async def test_a_hook_that_is_given_up_cleans_up_what_is_its_own(serve, transport):
    found: dict[str, Any] = {}

    class Slow:
        name = "slow"

        @hookimpl(deadline=0.01, on_timeout="continue")
        async def dhcp_new_pkt(self, exchange):
            exchange.context = "slow's"
            try:
                await asyncio.Event().wait()
            finally:
                found["slow"] = exchange.context

    class Next:
        name = "next"

        @hookimpl
        async def dhcp_new_pkt(self, exchange):
            exchange.context = "next's"
            await asyncio.sleep(0.01)
            found["next"] = exchange.context

    async with serve(Slow(), Next()):
        assert (await ask(transport, discover(1))).kind == OFFER
    assert found == {"slow": "slow's", "next": "next's"}


async def test_what_several_packets_await_outlives_one_of_them(serve, transport):
    """A cache that is being filled."""
    go = asyncio.Event()
    loaded: list[asyncio.Task[None]] = []

    class Cache:
        async def load(self) -> None:
            await go.wait()

        @hookimpl(on_timeout="continue", deadline=0.05)
        def dhcp_new_pkt(self, exchange):
            if not loaded:
                loaded.append(asyncio.get_running_loop().create_task(self.load()))
            return loaded[0]

    async with serve(Cache()):
        assert (await ask(transport, discover(1))).kind == OFFER
        assert not loaded[0].cancelled()
        go.set()
        assert (await ask(transport, discover(2))).kind == OFFER
        await loaded[0]


async def test_an_async_plugin_hears_the_last_of_a_packet_that_a_stop_gave_up(serve, transport):
    told: list[str] = []

    class Watcher:
        @hookimpl(deadline=60)
        async def dhcp_new_pkt(self):
            await asyncio.Event().wait()

        @hookimpl
        async def dhcp_pkt_drop(self, reason):
            await asyncio.sleep(0)
            told.append(reason.name)

        @hookimpl
        def dhcp_control(self, code):
            told.append(code.name)

    async with serve(Watcher(), stop_timeout=0.05):
        transport.deliver(discover(1))
        await turns()
    assert told == ["START", "TIMEOUT", "PROCESSED", "STOP"]


async def test_and_of_one_that_met_a_fault(serve, transport):
    told: list[str] = []

    class Prober:
        async def in_use(self, *_: Any) -> str:
            raise RuntimeError("out of order")

        def close(self) -> None:
            """Nothing to close."""

    class Watcher:
        @hookimpl
        async def dhcp_pkt_drop(self, reason):
            await asyncio.sleep(0)
            told.append(reason.name)

    async with serve(Watcher(), config=one_address(conflict_probe="icmp"), prober=Prober()) as server:
        transport.deliver(discover(1))
        await until(lambda: len(told) == 2)
        assert told == ["INTERNAL_ERROR", "PROCESSED"]
        assert server.health.in_flight == 0


async def test_a_plugin_that_is_disabled_has_another_chance_at_the_next_start(serve, transport, store):
    heard: list[str] = []

    class Failing:
        @hookimpl(on_error="disable")
        def dhcp_new_pkt(self):
            raise ZeroDivisionError

        @hookimpl
        def dhcp_control(self, code: ControlCode):
            heard.append(code.name)

    async with serve(Failing()) as server:
        await ask(transport, discover(1))
        assert {each.state for each in server.hooks.metrics} == {"disabled"}
        await server.stop()
        await server.start()
        assert {each.state for each in server.hooks.metrics} == {"working"}
    assert heard == ["START", "STOP", "START", "STOP"]


async def test_an_expiry_is_told_when_its_deletion_was(serve, transport, clock):
    told: list[str] = []

    class Watcher:
        @hookimpl
        async def dhcp_delete_client(self):
            await asyncio.sleep(0.001)
            told.append("deleted")

        @hookimpl
        async def lease_expired(self):
            await asyncio.sleep(0)
            told.append("expired")

    async with serve(Watcher()) as server:
        await lease(transport, 1)
        clock.now += 3601
        await until(lambda: len(told) == 2)
        assert told == ["deleted", "expired"]
        assert server.engine.dropped == {}


# ── the world ──


async def test_a_foreign_transport_that_fails_costs_one_answer(serve, transport):
    class Broken(asyncio.DatagramTransport):
        broken = True
        sent: list[bytes] = []  # noqa: RUF012

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return ("192.0.2.1", 67)

        def sendto(self, data: bytes, addr: Any = None) -> None:
            if self.broken:
                raise RuntimeError("gone")
            self.sent.append(data)

    foreign = Broken()
    async with serve() as server:
        protocol = server.protocol("memory")
        protocol.connection_made(foreign)
        protocol.datagram_received(discover(1), ("0.0.0.0", 68))
        protocol.datagram_received(request(1, FIRST), ("0.0.0.0", 68))
        await until(lambda: server.health.in_flight == 0)
        foreign.broken = False
        protocol.datagram_received(renew(1, FIRST), (FIRST, 68))
        await until(lambda: foreign.sent)
        assert read(foreign.sent[0]).kind == ACK
        protocol.connection_lost(None)


async def test_a_paused_server_has_no_end_of_packets_either(serve, transport):
    go = asyncio.Event()

    class Watcher:
        @hookimpl
        async def dhcp_pkt_drop(self):
            await go.wait()

    async with serve(Plugin(Watcher(), policy=Policy(deadline=60)), max_in_flight=5) as server:
        await server.pause()
        transport.deliver_many([discover(client) for client in range(1, 40)])
        assert server.health.in_flight == 10
        assert server.engine.dropped[DropReason.NOMEM] == 29
        go.set()
        await until(lambda: server.health.in_flight == 0)


# ── reload ──


@pytest.mark.parametrize("hangs", ["START", "config"])
async def test_a_plugin_that_does_not_start_refuses_the_reload(serve, transport, monkeypatch, hangs):
    monkeypatch.setattr("aiodhcp.pluginlife.RELOAD_TIMEOUT", 0.02)

    class Hanging:
        @hookimpl
        async def dhcp_control(self, code: ControlCode):
            if code.name == hangs:
                await asyncio.Event().wait()

        @hookimpl
        async def config_loaded(self):
            if hangs == "config":
                await asyncio.Event().wait()

    async with serve() as server:
        with pytest.raises(ConfigError, match="a plugin has not started within"):
            await server.reload(plugins=[Hanging()])
        await server.reload(config(lease_time=60))
        assert (await ask(transport, discover(1))).kind == OFFER


async def test_a_plugin_that_does_not_stop_holds_up_no_other_reload(serve, transport):
    class Hanging:
        @hookimpl
        async def dhcp_control(self, code: ControlCode):
            if code is ControlCode.STOP:
                await asyncio.Event().wait()

    async with serve(Hanging(), stop_timeout=0.02) as server:
        await server.reload(plugins=[])
        await server.reload(plugins=[])


async def test_a_reload_that_is_cancelled_while_it_drains_stops_the_old_plugins(serve, transport):
    heard: list[str] = []
    go = asyncio.Event()

    class Old:
        @hookimpl(deadline=60)
        async def dhcp_new_pkt(self):
            await go.wait()
            return Drop("enough")

        @hookimpl
        def dhcp_control(self, code: ControlCode):
            heard.append(code.name)

    async with serve(Old()) as server:
        transport.deliver(discover(1))
        await turns()
        reload = asyncio.create_task(server.reload(plugins=[]))
        await turns()
        reload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reload
        assert heard == ["START", "STOP"]
        go.set()
        await until(lambda: server.health.in_flight == 0)


async def test_a_commit_that_a_hook_began_is_not_the_hook_s_own_when_it_is_done(serve, transport, store):
    """The next plugin's context stays its own, in the commit after that, too."""
    contexts = []

    class Deleting:
        name = "deleting"

        @hookimpl
        def dhcp_new_pkt(self, exchange):
            return self.delete() if exchange.client_id == b"delete" else None

        async def delete(self):
            await server.delete_lease(FIRST)

    class Noting:
        name = "noting"

        @hookimpl
        def dhcp_new_pkt(self, exchange):
            exchange.context = "noted"

        @hookimpl
        def dhcp_pkt_send(self, exchange):
            contexts.append(exchange.context)

    async with serve(Deleting(), Noting()) as server:
        await lease(transport, 1)
        offer = await ask(transport, discover(2))
        store.gate.clear()
        transport.deliver(message(DISCOVER, 3, [(61, b"delete")]))
        await until(lambda: store.under_way)
        transport.deliver(request(2, offer.yiaddr))
        store.gate.set()
        assert {(await answer(transport)).client for _ in range(2)} == {2, 3}
    assert contexts == ["noted"] * 5
