"""How hooks are called: in order, awaiting what is to be awaited, each on its own, PROCESSED once for every packet."""

from __future__ import annotations

import asyncio

import pytest
from client import AsyncClient, Client, conversation, make_engine, serve
from plugin_kit import ALL_HOOKS, broken, error_lines, plugin, talk

from aiodhcp import Drop, DropReason, MessageType, Plugin, Policy, hookimpl
from aiodhcp.hookcalls import Hook

# ── order ──


def noting(calls: list, name: str, **how) -> object:
    class Noting:
        @hookimpl(**how)
        def dhcp_new_pkt(self):
            calls.append(name)

    Noting.name = name
    return Noting()


def test_plugins_are_called_in_the_order_of_the_configuration(clock):
    calls = []
    talk(clock, *[noting(calls, name) for name in "abc"]).discover()
    assert calls == ["a", "b", "c"]


def test_but_tryfirst_and_trylast_are_heard(clock):
    calls = []
    hows = {"a": {}, "b": {"trylast": True}, "c": {}, "d": {"tryfirst": True}, "e": {"tryfirst": True}}
    talk(clock, *[noting(calls, name, **how) for name, how in hows.items()]).discover()
    assert calls == ["d", "e", "a", "c", "b"]


async def test_a_def_after_an_async_def_waits_for_it(clock):
    calls = []

    async def slowly(exchange):
        calls.append("begun")
        await asyncio.sleep(0.001)
        calls.append("done")

    plugins = [noting(calls, "a"), plugin("b", dhcp_new_pkt=slowly), noting(calls, "c")]
    plugins += [plugin("d", dhcp_new_pkt=slowly), noting(calls, "e")]
    await AsyncClient(make_engine(plugins=plugins), clock).discover()
    assert calls == ["a", "begun", "done", "c", "begun", "done", "e"]


async def test_what_a_def_returns_is_awaited_if_it_can_be(clock):
    """A function that wraps an ``async`` one, say."""

    async def veto():
        await asyncio.sleep(0)
        return Drop("later")

    client = AsyncClient(make_engine(plugins=[plugin(dhcp_new_pkt=lambda: veto())]), clock)
    assert await client.discover() is None
    assert client.exchange.why == "vetoed by plugin: later"


def test_two_servers_in_one_process_have_their_own_plugins(clock):
    calls = []
    one, two = talk(clock, noting(calls, "one")), talk(clock, noting(calls, "two"))
    one.discover()
    two.discover()
    two.discover()
    assert calls == ["one", "two", "two"]


def test_an_implementation_takes_the_arguments_it_wants_in_any_order(clock):
    calls = []
    client = talk(
        clock,
        plugin("none", dhcp_pkt_send=lambda: calls.append(())),
        plugin("last", dhcp_pkt_send=lambda exchange: calls.append((exchange,))),
        plugin("swapped", dhcp_pkt_send=lambda exchange, packet: calls.append((exchange, packet))),
        plugin("all", dhcp_pkt_send=lambda packet, reply, exchange: calls.append((packet, reply, exchange))),
    )
    client.discover()
    exchange = client.exchange
    packet, reply = exchange.packet, exchange.reply
    assert calls == [(), (exchange,), (exchange, packet), (packet, reply, exchange)]


def test_hooks_that_nobody_implements_are_not_even_looked_at(clock, monkeypatch):
    engine = make_engine(plugins=[object()])
    monkeypatch.setattr(Hook, "run", broken)
    for exchange in conversation(Client(engine, clock)):
        assert exchange.reason != DropReason.INTERNAL_ERROR


# ── isolation ──


async def broken_later():
    await asyncio.sleep(0)
    broken()


@pytest.mark.parametrize("hook", ALL_HOOKS)
@pytest.mark.parametrize("function", [lambda: broken(), broken_later], ids=["def", "async def"])
async def test_who_raises_stops_nobody_else(clock, caplog, hook, function):
    calls = []
    before = plugin("before", **{hook: lambda: calls.append("before")})
    after = plugin("after", **{hook: lambda: calls.append("after")})
    engine = make_engine(plugins=[before, plugin("bad", **{hook: function}), after])
    client = AsyncClient(engine, clock)
    ack = await client.join()
    await client.release()
    assert ack.message_type == MessageType.ACK
    assert client.exchange.lease_after.expires == clock()
    assert calls
    assert calls == ["before", "after"] * (len(calls) // 2)
    assert engine.hooks.failures == {("bad", hook): len(calls) // 2}
    assert engine.dropped == {}


def test_who_raises_is_logged_in_full_once_and_then_ever_more_seldom(clock, caplog):
    client = talk(clock, Plugin(plugin("bad", dhcp_new_pkt=broken), policy=Policy(failures=0)))
    for _ in range(100):
        client.discover()
    where = f"{broken.__code__.co_filename}:{broken.__code__.co_firstlineno}"
    assert error_lines(caplog) == [
        f"plugin bad: dhcp_new_pkt raised ZeroDivisionError('oh no') ({where}; {count} so far)"
        for count in (1, 10, 100)
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False]


# ── contexts ──


def test_each_plugin_has_its_own_context_for_each_packet(clock):
    seen = []

    def keep(name):
        def new_pkt(packet, exchange):
            assert exchange.context is None
            exchange.context = f"{name} {packet.xid & 0xFFFF}"

        def drop(reason, exchange):
            seen.append(exchange.context)

        return plugin("same name", dhcp_new_pkt=new_pkt, dhcp_handle_options=lambda: None, dhcp_pkt_drop=drop)

    client = talk(
        clock, keep("a"), keep("b"), plugin("c", dhcp_pkt_drop=lambda exchange: seen.append(exchange.context))
    )
    client.discover()
    client.discover()
    assert seen == ["a 1", "b 1", None, "a 2", "b 2", None]
    assert client.engine.hooks.failures == {}


async def test_the_context_of_an_async_plugin(clock):
    seen = []

    async def new_pkt(exchange):
        await asyncio.sleep(0)
        exchange.context = "mine"

    async def drop(exchange):
        await asyncio.sleep(0)
        seen.append(exchange.context)

    engine = make_engine(
        plugins=[
            plugin("a", dhcp_new_pkt=new_pkt, dhcp_pkt_drop=drop),
            plugin("b", dhcp_pkt_drop=lambda exchange: seen.append(exchange.context)),
        ]
    )
    await AsyncClient(engine, clock).discover()
    assert seen == ["mine", None]


# ── PROCESSED ──


def wreck(packet):
    packet.xid = -1


@pytest.mark.parametrize("bad", [None, lambda: Drop(), broken, wreck], ids=["", "vetoed", "raised", "wrecked"])
def test_processed_comes_exactly_once_and_last_for_every_packet_whatever_happens(clock, bad):
    told = {}
    plugins = [] if bad is None else [plugin("bad", dhcp_new_pkt=bad, dhcp_pkt_send=bad, dhcp_pkt_drop=broken)]
    plugins.append(
        plugin("listener", dhcp_pkt_drop=lambda reason, exchange: told.setdefault(exchange, []).append(reason))
    )
    engine = make_engine(plugins=plugins)
    heard = [serve(engine, each.datagram, clock()) for each in conversation(Client(make_engine(), clock))]
    assert list(told) == heard
    for exchange, reasons in told.items():
        assert reasons == [*([] if exchange.reason is None else [exchange.reason]), DropReason.PROCESSED]


async def test_processed_comes_after_all_that_is_async(clock):
    calls = []

    def slowly(name):
        async def hook():
            await asyncio.sleep(0)
            calls.append(name)

        return hook

    hooks = {hook: slowly(hook) for hook in ALL_HOOKS}
    client = AsyncClient(make_engine(plugins=[plugin(**hooks), plugin("other", **hooks)]), clock)
    await client.join()
    calls.clear()
    await client.release()
    assert calls == [
        hook
        for hook in ("dhcp_new_pkt", "dhcp_handle_options", "dhcp_delete_client", "dhcp_address_del", "dhcp_pkt_drop")
        for _ in range(2)
    ]


# ── dhcp_delete_client, which fires where nothing may wait ──


async def test_an_async_dhcp_delete_client_is_awaited_before_the_answer(clock):
    calls = []

    async def deleted(address):
        await asyncio.sleep(0.001)
        calls.append(str(address))

    engine = make_engine(plugins=[plugin(dhcp_delete_client=deleted)])
    client = AsyncClient(engine, clock)
    ack = await client.join()
    datagram = client.datagram(
        client.message(MessageType.REQUEST, **{**client.choice(ack), "requested_address": "192.0.2.50"})
    )
    exchange = engine.arrive(datagram, clock())
    engine.decide(exchange)
    engine.answer(exchange)
    assert calls == []
    assert exchange.answer is None
    await exchange.pending
    assert calls == ["192.0.2.10"]
    assert exchange.answer is not None


async def test_time_passes_without_waiting_for_an_async_dhcp_delete_client(clock):
    calls = []

    async def deleted(address):
        await asyncio.sleep(0)
        calls.append(str(address))

    engine = make_engine(plugins=[plugin(dhcp_delete_client=deleted)])
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        await AsyncClient(engine, clock, mac).join()
    clock.advance(43200)
    _, pending = engine.tick(clock())
    assert calls == []
    assert not any(lease.holds(clock()) for lease in engine.leases)
    for each in pending:
        await each
    assert calls == ["192.0.2.10", "192.0.2.11"]
