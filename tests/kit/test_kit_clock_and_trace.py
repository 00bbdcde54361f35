"""The clock that is turned, and the trace of hooks."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from wire import turns, until

from aiodhcp import DropReason, LeaseState, Use, hookimpl
from aiodhcp.testing import Clock, HookTrace

FIRST = IPv4Address("192.0.2.10")


class Watching:
    """Hears of the end of leases, ``def`` and ``async``."""

    def __init__(self):
        self.heard = []
        self.server = None

    @hookimpl
    def dhcp_control(self, server):
        self.server = server

    @hookimpl
    def dhcp_delete_client(self, address):
        self.heard.append((str(address), self.server.now()))

    @hookimpl
    async def lease_expired(self, lease):
        await asyncio.sleep(0)
        self.heard.append(lease.state.name)


class Lookup:
    """Asks somebody who takes his time."""

    @hookimpl(deadline=2.0)
    async def dhcp_new_pkt(self, packet):
        if packet.hardware_address.endswith("1"):
            await asyncio.sleep(3600)

    @hookimpl
    def select_lease_time(self, lease_time):
        return Use(lease_time // 2)


class Failing:
    @hookimpl(failures=1, retry_after=30)
    def dhcp_new_pkt(self):
        raise ZeroDivisionError


# ── the clock ──


@pytest.mark.dhcp(plugins=[Watching])
async def test_leases_end_each_at_its_time(dhcp_server, dhcp_clock):
    for seconds in (600, 1200):
        await dhcp_server.client().dora(lease_time=seconds)
    began = dhcp_clock()
    await dhcp_clock.advance("2w")
    plugin = dhcp_server.plugin("Watching")
    assert [each for each in plugin.heard if each != "EXPIRED"] == [
        ("192.0.2.10", began + 600),
        ("192.0.2.11", began + 1200),
    ]
    assert plugin.heard.count("EXPIRED") == 2
    assert dhcp_server.store.leases[int(FIRST)].state == LeaseState.EXPIRED
    assert dhcp_clock() == began + 14 * 86400


@pytest.mark.dhcp(plugins=[Watching])
def test_the_same_without_await(dhcp_server, dhcp_clock, sync_dhcp_client):
    sync_dhcp_client.dora(lease_time=600)
    began = dhcp_clock()
    dhcp_clock.advance(599)
    assert dhcp_server.plugin("Watching").heard == []
    dhcp_clock.advance(timedelta(days=14))
    assert dhcp_server.plugin("Watching").heard == [("192.0.2.10", began + 600), "EXPIRED"]
    assert dhcp_server.store.leases[int(FIRST)].state == LeaseState.EXPIRED


def test_weeks_take_no_time(dhcp_clock, sync_dhcp_client):
    sync_dhcp_client.dora()
    began = time.perf_counter()
    for _ in range(100):
        dhcp_clock.advance("1w")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("wrong", [-1, "soon", float("inf"), timedelta(seconds=-1), "never"])
def test_time_does_not_go_back(wrong):
    clock = Clock()
    with pytest.raises(ValueError, match="expected"):
        clock.advance(wrong)
    assert clock.skipped == 0


def test_a_clock_by_itself():
    clock = Clock(100)
    clock.advance(0)
    clock.advance("1h")
    assert clock() == clock.now == 3700
    assert repr(clock) == "<Clock 3700.000>"


@pytest.mark.dhcp(plugins=[Lookup], tolerate_errors=True)
async def test_deadlines_of_hooks_go_by_it(dhcp_client, dhcp_clock, hook_trace):
    began = time.perf_counter()
    late = await dhcp_client.discover(elapse=3)
    assert late.reason == DropReason.TIMEOUT
    assert hook_trace.one("dhcp_new_pkt").state == "cancelled"
    assert time.perf_counter() - began < 1


@pytest.mark.dhcp(plugins=[Lookup], tolerate_errors=True)
def test_without_await_too(sync_dhcp_client, dhcp_server):
    began = time.perf_counter()
    assert sync_dhcp_client.discover(elapse=3).reason == DropReason.TIMEOUT
    assert time.perf_counter() - began < 1
    assert "took too long" in str(dhcp_server.errors[0])


@pytest.mark.dhcp(plugins=[Lookup])
async def test_a_hook_that_waits_goes_on_when_its_time_has_come(dhcp_server):
    dhcp_server.server.hooks.implementations[0].deadline = 7200
    reply = await dhcp_server.client().discover(elapse=3600)
    assert reply.is_offer


@pytest.mark.dhcp(plugins=[Failing], tolerate_errors=True)
async def test_circuits_close_by_it(dhcp_client, dhcp_clock, hook_trace):
    await dhcp_client.discover()
    await dhcp_client.discover()
    assert len(hook_trace) == 1
    await dhcp_clock.advance(31)
    await dhcp_client.discover()
    assert len(hook_trace) == 2


async def test_the_loop_has_its_own_time_back_afterwards(make_dhcp_server):
    loop = asyncio.get_running_loop()
    servers = [make_dhcp_server(), make_dhcp_server()]
    for each in servers:
        await each.start()
    before = loop.time()
    servers[0].clock.advance(3600)
    assert loop.time() - before >= 3600
    await servers[0].stop()
    assert loop.time() - before >= 3600
    await servers[1].stop()
    assert loop.time() - before < 3600


def test_a_loop_that_keeps_its_time_is_left_alone():
    """That of uvloop is not Python's own."""

    class Loop:
        __slots__ = ()

        def time(self) -> float:
            return 7.0

    clock, loop, server = Clock(), Loop(), object()
    clock.wind(server, loop)
    clock.unwind(server, loop)
    clock.unwind(server, loop)
    assert loop.time() == 7.0


# ── the trace ──


@pytest.mark.dhcp(plugins=[Lookup, Watching])
async def test_the_trace_has_every_call(dhcp_server, hook_trace):
    client = dhcp_server.client("02:00:00:00:00:02")
    await client.dora()
    assert hook_trace == ["dhcp_control", *["dhcp_new_pkt", "select_lease_time"] * 2]
    assert hook_trace.names == [each.hook for each in hook_trace]
    assert "lease_expired" not in hook_trace
    assert "select_lease_time" in hook_trace
    assert hook_trace[0] in hook_trace
    assert hook_trace.verdicts("select_lease_time") == [Use(21600)] * 2
    call = hook_trace.last("select_lease_time", plugin="Lookup", hardware_address="02-00-00-00-00-02")
    assert call.arguments == {"lease_time": 43200}
    assert (call.state, call.verdict, call.error) == ("returned", Use(21600), None)
    assert 0 < call.seconds < 1
    assert call.exchange.yiaddr == int(FIRST)
    assert hook_trace.of(plugin="Watching") == ["dhcp_control"]
    assert hook_trace.of("dhcp_control") == HookTrace([hook_trace[0]])
    assert hook_trace.of(hardware_address="02:00:00:00:00:09") == []
    assert hook_trace != ()
    assert hook_trace.last().hook == "select_lease_time"
    hook_trace.clear()
    assert len(hook_trace) == 0


@pytest.mark.dhcp(plugins=[Lookup, Watching])
async def test_the_trace_in_words(dhcp_server, dhcp_clock, hook_trace):
    assert str(hook_trace) == "no hook was called"
    assert repr(hook_trace) == "<HookTrace of no call>"
    await dhcp_server.client("02:00:00:00:00:02").dora(lease_time=600)
    await dhcp_clock.advance("1d")
    words = str(hook_trace)
    assert (
        "<Exchange DISCOVER xid=00020001 chaddr=02:00:00:00:00:02 on eth0: OFFER>\n  Lookup: dhcp_new_pkt(packet="
        in words
    )
    assert "  Lookup: select_lease_time(lease_time=600) -> Use(value=300) (" in words
    assert "\nWatching: dhcp_delete_client(address=192.0.2.10) (" in words
    assert "\nWatching: lease_expired(lease=<EXPIRED 192.0.2.10 of 02:00:00:00:00:02>) (" in words
    assert repr(hook_trace).startswith("<HookTrace dhcp_control, dhcp_new_pkt, ")


@pytest.mark.dhcp(plugins=[Failing], tolerate_errors=True)
def test_what_is_not_there_is_said_with_what_is(sync_dhcp_client, hook_trace):
    with pytest.raises(AssertionError, match="dhcp_new_pkt was called 0 times"):
        hook_trace.one("dhcp_new_pkt")
    with pytest.raises(AssertionError, match="no hook was called, among"):
        hook_trace.last()
    sync_dhcp_client.discover()
    with pytest.raises(
        AssertionError, match=r"dhcp_pkt_send was not called, among\n<Exchange DISCOVER(.|\n)*ZeroDivision"
    ):
        hook_trace.last("dhcp_pkt_send")
    with pytest.raises(ValueError, match="there is no hook 'dhcp_send'"):
        hook_trace.of("dhcp_send")
    assert isinstance(hook_trace.one("dhcp_new_pkt").error, ZeroDivisionError)
    assert hook_trace.one("dhcp_new_pkt").state == "raised"


class Futures:
    """Hooks that return what is awaitable and no coroutine."""

    def __init__(self):
        self.answer = None

    @hookimpl
    def dhcp_new_pkt(self):
        self.answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self.answer.set_result, None)
        return self.answer

    @hookimpl
    def dhcp_handle_options(self):
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(ZeroDivisionError("in a future"))
        return failed

    @hookimpl(deadline=0.5)
    def dhcp_pkt_send(self):
        return asyncio.get_running_loop().create_future()


@pytest.mark.dhcp(plugins=[Futures], tolerate_errors=True)
async def test_hooks_that_return_futures(dhcp_client, hook_trace, dhcp_server):
    waiting = asyncio.create_task(dhcp_client.discover())
    await until(lambda: "dhcp_pkt_send" in hook_trace)
    assert hook_trace.last().state == "running"
    assert str(hook_trace.last()).endswith("dhcp_pkt_send() still runs")
    await turns()
    dhcp_server.clock.advance(1)
    await waiting
    assert [each.state for each in hook_trace][:2] == ["returned", "raised"]
    assert [each.what.split(" Zero")[0] for each in dhcp_server.errors] == ["raised", "took too long"]


def test_long_values_and_long_traces_are_cut():
    from aiodhcp.testing.trace import HookCall

    calls = [HookCall("plugin", "leases_committed", {"leases": "x" * 200}) for _ in range(70)]
    words = str(HookTrace(calls)).splitlines()
    assert words[0] == "… 10 calls before"
    assert len(words) == 61
    assert len(words[1]) < 140
