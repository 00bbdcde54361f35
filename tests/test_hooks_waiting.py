"""Hooks that take their time in a running server: deadlines, circuits, metrics, shadows, and who blocks the loop."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from typing import Any

import pytest
from server_kit import Diary, clock, diary, serve, store, transport  # noqa: F401 - some are fixtures
from wire import ACK, OFFER, answer, ask, discover, lease, turns, until

from aiodhcp import DhcpServer, Drop, DropReason, HookMetrics, Packet, Plugin, Policy, hookimpl
from aiodhcp.watchdog import Watchdog


def metrics(server: DhcpServer, hook: str = "dhcp_new_pkt", plugin: str = "") -> HookMetrics:
    """Those of the one plugin that implements the hook, or of the one that is named."""
    (found,) = [each for each in server.hooks.metrics if each.hook == hook and plugin in ("", each.plugin)]
    return found


class Hanging:
    """Never returns for the clients with odd numbers."""

    def __init__(self) -> None:
        self.cancelled = 0

    @hookimpl
    async def dhcp_new_pkt(self, exchange: Any) -> None:
        if exchange.xid % 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise


def hanging(**policy: Any) -> Plugin:
    return Plugin(Hanging(), policy=Policy(deadline=0.02, **policy))


# ── deadlines ──


async def test_a_hook_that_hangs_costs_its_client_a_drop_and_nobody_else_anything(serve, transport, diary, caplog):
    plugin = hanging()
    async with serve(plugin, diary) as server:
        transport.deliver_many([discover(client) for client in range(1, 7)])
        assert {(await answer(transport)).client for _ in range(3)} == {2, 4, 6}
        await until(lambda: server.engine.dropped[DropReason.TIMEOUT] == 3)
        assert diary.of("drop").count((1, "TIMEOUT")) == 1
        assert diary.of("drop").count((1, "PROCESSED")) == 1
        assert (metrics(server, plugin="Hanging").timeouts, metrics(server, plugin="Hanging").calls) == (3, 6)
        assert server.health.in_flight == 0
        await until(lambda: plugin.plugin.cancelled == 3)
    assert "plugin Hanging: dhcp_new_pkt took too long" in caplog.text


async def test_or_it_is_as_if_it_had_not_been_called(serve, transport):
    async with serve(hanging(on_timeout="continue")):
        assert (await ask(transport, discover(1))).kind == OFFER


async def test_or_the_plugin_is_disabled(serve, transport, caplog):
    async with serve(hanging(on_timeout="disable")) as server:
        assert (await ask(transport, discover(1))).kind == OFFER
        assert (await ask(transport, discover(3))).kind == OFFER
        found = metrics(server)
        assert (found.state, found.timeouts, found.calls, found.skipped) == ("disabled", 1, 1, 1)
    assert "plugin Hanging is disabled until" in caplog.text


async def test_a_deadline_at_the_reply(serve, transport, diary):
    """The lease is given all the same, and the client asks again."""

    class Slow:
        @hookimpl(deadline=0.02)
        async def dhcp_pkt_send(self, exchange):
            if exchange.reply_type == ACK and exchange.xid == 1:
                await asyncio.Event().wait()

    async with serve(Slow(), diary) as server:
        offer = await ask(transport, discover(1))
        from wire import request

        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: (1, "TIMEOUT") in diary.of("drop"))
        assert len(server.leases) == 1
        assert server.engine.sent == {OFFER: 1}


async def test_no_deadline_is_no_deadline(serve, transport):
    go = asyncio.Event()

    class Patient:
        @hookimpl(deadline=math.inf)
        async def dhcp_new_pkt(self):
            await go.wait()

    async with serve(Patient()) as server:
        transport.deliver(discover(1))
        await turns()
        assert server.health.in_flight == 1
        go.set()
        assert (await answer(transport)).kind == OFFER


async def test_a_hook_that_resists_its_end_is_left_behind_and_counted(serve, transport):
    go = asyncio.Event()

    class Stubborn:
        @hookimpl(deadline=0.01)
        async def dhcp_new_pkt(self):
            while not go.is_set():
                try:
                    await go.wait()
                except asyncio.CancelledError:
                    pass

    async with serve(Stubborn()) as server:
        transport.deliver(discover(1))
        await until(lambda: server.engine.dropped[DropReason.TIMEOUT])
        assert server.health.in_flight == 0
        assert metrics(server).abandoned == 1
        go.set()
        await until(lambda: metrics(server).abandoned == 0)


async def test_a_hook_that_cancels_itself_has_failed(serve, transport, caplog):
    class Suicidal:
        @hookimpl
        async def dhcp_new_pkt(self):
            raise asyncio.CancelledError

    async with serve(Suicidal()) as server:
        assert (await ask(transport, discover(1))).kind == OFFER
        assert metrics(server).errors == 1
    assert "the hook was cancelled" in caplog.text


async def test_the_error_of_a_hook_that_was_given_up_is_nobodys(serve, transport, recwarn):
    class Bitter:
        @hookimpl(deadline=0.01)
        async def dhcp_new_pkt(self):
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    async with serve(Bitter()) as server:
        transport.deliver(discover(1))
        await until(lambda: server.engine.dropped[DropReason.TIMEOUT])
        await until(lambda: metrics(server).abandoned == 0)
        assert (metrics(server).errors, metrics(server).timeouts) == (0, 1)


# ── circuits ──


async def test_a_hook_that_always_fails_is_not_called_for_a_while(serve, transport, caplog):
    class Backend:
        up = False
        calls = 0

        @hookimpl(failures=3, retry_after=0.05)
        async def dhcp_new_pkt(self):
            self.calls += 1
            if not self.up:
                raise ConnectionError("no route to the database")

    backend = Backend()
    async with serve(backend) as server:
        for client in range(1, 6):
            assert (await ask(transport, discover(client))).kind == OFFER
        found = metrics(server)
        assert (found.state, found.errors, found.skipped, backend.calls) == ("open", 3, 2, 3)
        backend.up = True
        await asyncio.sleep(0.06)
        assert (await ask(transport, discover(7))).kind == OFFER
        assert (metrics(server).state, backend.calls) == ("working", 4)
    assert "failed 3 times in a row and is not called for 0.05 seconds" in caplog.text
    assert "plugin Backend: dhcp_new_pkt works again" in caplog.text


# ── metrics ──


async def test_metrics(serve, transport):
    class Filter:
        @hookimpl
        def dhcp_new_pkt(self, exchange):
            return Drop("even") if exchange.xid % 2 == 0 else None

    async with serve(Filter()) as server:
        await ask(transport, discover(1))
        transport.deliver(discover(2))
        found = metrics(server)
        assert (found.plugin, found.hook, found.state) == ("Filter", "dhcp_new_pkt", "working")
        assert (found.calls, found.errors, found.timeouts, found.vetoes) == (2, 0, 0, 1)
        assert sum(count for _, count in found.histogram) == 2
        assert 0 < found.seconds < 1
        assert found.histogram[-1] == (math.inf, 0)


# ── shadow mode ──


async def test_an_async_plugin_in_shadow_mode_delays_nobody(serve, transport, diary):
    go = asyncio.Event()

    class Filter:
        name = "filter"

        @hookimpl
        async def dhcp_new_pkt(self, packet: Packet):
            packet.options["host-name"] = "changed"
            await go.wait()
            return Drop("not one of ours")

        @hookimpl
        def dhcp_pkt_send(self, reply: Packet):
            reply.options["domain-name"] = "shadow.example"

    async with serve(Plugin(Filter(), policy=Policy(shadow=True)), diary) as server:
        reply = await ask(transport, discover(1))
        assert (reply.kind, 15 in reply.options) == (OFFER, False)
        go.set()
        await until(lambda: len(server.hooks.shadow_notes) == 3)
        assert {(note.hook, note.would) for note in server.hooks.shadow_notes} == {
            ("dhcp_pkt_send", "reply: option 15"),
            ("dhcp_new_pkt", "Drop(why='not one of ours', reason=None)"),
            ("dhcp_new_pkt", "request: option 12"),
        }
        assert metrics(server, plugin="filter").state == "shadow"
        assert diary.of("drop") == [(1, "PROCESSED")]


async def test_a_plugin_that_hangs_in_shadow_mode_harms_nobody(serve, transport):
    async with serve(hanging(shadow=True)) as server:
        assert (await ask(transport, discover(1))).kind == OFFER
        await until(lambda: metrics(server).timeouts == 1)
        assert server.engine.dropped == {}


async def test_there_is_an_end_to_what_shadows_may_do_at_a_time(serve, transport, monkeypatch):
    monkeypatch.setattr("aiodhcp.runtime.MOST_DETACHED", 2)
    go = asyncio.Event()

    class Slow:
        calls = 0

        @hookimpl
        async def dhcp_new_pkt(self):
            Slow.calls += 1
            await go.wait()

    async with serve(Plugin(Slow(), policy=Policy(shadow=True))) as server:
        for client in range(1, 6):
            assert (await ask(transport, discover(client))).kind == OFFER
        go.set()
        await turns()
        assert Slow.calls < 5
        assert server.health.in_flight == 0


# ── blocking ──


class Blocking:
    """Keeps the whole server waiting."""

    @hookimpl
    def dhcp_new_pkt(self) -> None:
        self._query()

    def _query(self) -> None:
        time.sleep(0.2)


class BlockingLater:
    @hookimpl
    async def dhcp_new_pkt(self) -> None:
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - that is the test


@pytest.mark.parametrize("plugin", [Blocking(), BlockingLater()], ids=["def", "async def"])
async def test_who_blocks_the_loop_is_named_with_the_stack(serve, transport, caplog, monkeypatch, plugin):
    monkeypatch.setattr("aiodhcp.watchdog.INTERVAL", 0.001)
    monkeypatch.setattr(Watchdog.__init__, "__defaults__", (0.02,))
    async with serve(plugin) as server:
        assert (await ask(transport, discover(1))).kind == OFFER
        assert metrics(server).blocked == 1
    name = type(plugin).__name__
    assert f"plugin {name}: dhcp_new_pkt blocks the whole server for more than 0.02 seconds" in caplog.text
    assert "time.sleep(0.2)" in caplog.text


async def test_who_blocks_it_elsewhere_is_no_plugin(caplog):
    caplog.set_level(logging.DEBUG)
    watchdog = Watchdog(lambda: (), 0.01)
    watchdog.start()
    watchdog.start()
    await asyncio.sleep(0.2)
    time.sleep(0.3)  # noqa: ASYNC251 - that is the test
    await asyncio.sleep(0)
    watchdog.stop()
    assert "the event loop is blocked, not by a hook" in caplog.text


async def test_without_plugins_nobody_looks(serve):
    others = set(threading.enumerate())
    async with serve():
        assert not {thread for thread in threading.enumerate() if "watchdog" in thread.name} - others


def test_a_loop_that_is_gone_is_not_looked_at(monkeypatch):
    monkeypatch.setattr("aiodhcp.watchdog.INTERVAL", 0.001)
    watchdog = Watchdog(lambda: ())

    async def begin() -> Any:
        watchdog.start()
        return watchdog._thread

    thread = asyncio.run(begin())
    thread.join(5)
    assert not thread.is_alive()


# ── leases_committed ──


async def test_leases_are_told_of_once_they_are_stored_one_call_after_the_other(serve, transport, store):
    told: list[list[str]] = []
    go = asyncio.Event()

    class Slow:
        @hookimpl
        async def leases_committed(self, leases):
            assert {each.address for each in leases} <= {each.address for each in await store.load()}
            told.append([str(each.ip) for each in leases])
            await go.wait()

    async with serve(Slow()):
        # No answer waits for it.
        for client in range(1, 5):
            await lease(transport, client)
        assert told == [["192.0.2.10"]]
        go.set()
        await until(lambda: len(told) == 2)
        assert told[1] == ["192.0.2.11", "192.0.2.12", "192.0.2.13"]


async def test_a_hook_that_hangs_there_is_given_up(serve, transport):
    told: list[int] = []

    class Hung:
        @hookimpl(deadline=0.01)
        async def leases_committed(self, leases):
            told.append(len(leases))
            await asyncio.Event().wait()

    async with serve(Hung()) as server:
        for client in range(1, 4):
            await lease(transport, client)
        await until(lambda: sum(told) == 3)
        await until(lambda: metrics(server, "leases_committed").timeouts == len(told))
