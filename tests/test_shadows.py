"""Shadow mode: a plugin that only watches has no effect, whatever it does, and what it would have done is noted."""

from __future__ import annotations

import asyncio

import pytest
from client import AsyncClient, Client, dotted, make_engine, make_subnet, number
from plugin_kit import broken, plugin

from aiodhcp import (
    Class,
    Config,
    DhcpServer,
    Drop,
    DropReason,
    Engine,
    MemoryStore,
    MessageType,
    Nak,
    Packet,
    Parameters,
    Plugin,
    Policy,
    Use,
    hookimpl,
)
from aiodhcp.hookcalls import Overdue, Runtime
from aiodhcp.hooks import Hooks
from aiodhcp.shadows import ShadowNote

OTHER = make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")


def shadow(name: str = "shadow", *, policy: Policy | None = None, **hooks) -> Plugin:
    return Plugin(plugin(name, **hooks), policy=Policy(shadow=True) if policy is None else policy)


def client_of(clock, *plugins: object, runtime: Runtime | None = None, subnets=None, **config) -> Client:
    return Client(Engine(Config(subnets or [make_subnet()], **config), Hooks(plugins, runtime)), clock)


def notes(client: Client) -> list[str]:
    return [f"{each.hook}: {each.would}" for each in client.engine.hooks.shadow_notes]


def same_as_without(clock, *plugins: object, **config) -> Client:
    """A client whose DISCOVER and REQUEST go as if there were no plugins."""
    client, plain = client_of(clock, *plugins, **config), client_of(clock, **config)
    for each in (client, plain):
        each.join()
    assert client.answer.data == plain.answer.data
    assert list(client.engine.leases) == list(plain.engine.leases)
    assert client.engine.dropped == client.engine.hooks.failures == {}
    return client


# ── verdicts ──


@pytest.mark.parametrize(
    ("hook", "verdict"),
    [
        ("dhcp_new_pkt", Drop("not on the list")),
        ("select_subnet", Drop()),
        ("select_subnet", Use(OTHER)),
        ("select_subnet", Use("198.51.100.0/24")),
        ("reservation_lookup", Use("192.0.2.77")),
        ("reservation_lookup", Nak("no")),
        ("unknown_client", Drop(DropReason.UNAUTH)),
        ("select_address", Use("192.0.2.77")),
        ("select_lease_time", Use(600)),
        ("select_lease_time", Nak("no")),
    ],
)
def test_a_verdict_has_no_effect_and_is_noted(clock, hook, verdict):
    client = same_as_without(clock, shadow(**{hook: lambda: verdict}), subnets=[make_subnet(), OTHER])
    seen = notes(client)
    assert seen
    assert set(seen) == {f"{hook}: {verdict!r}"}
    (metrics,) = client.engine.hooks.metrics
    assert (metrics.state, metrics.calls, metrics.differences, metrics.vetoes) == ("shadow", len(seen), len(seen), 0)


@pytest.mark.parametrize(
    ("hook", "verdict"),
    [
        ("select_subnet", Use("192.0.2.0/24")),
        ("select_subnet", Use("192.0.2.0/255.255.255.0")),
        ("select_address", Use("192.0.2.10")),
        ("select_address", Use(number("192.0.2.10"))),
        ("select_lease_time", Use(43200)),
    ],
)
def test_a_choice_that_is_the_servers_own_is_not_noted(clock, hook, verdict):
    client = same_as_without(clock, shadow(**{hook: lambda: verdict}))
    assert notes(client) == []
    assert client.engine.hooks.metrics[0].differences == 0
    assert client.engine.hooks.metrics[0].calls > 0


def test_a_subnet_where_the_server_finds_none_is_noted(clock):
    client = client_of(clock, shadow(select_subnet=lambda: Use("198.51.100.0/24")), subnets=[OTHER])
    assert client.discover() is None
    assert notes(client) == ["select_subnet: Use(value='198.51.100.0/24')"]


def test_others_are_asked_after_it_and_their_choice_counts(clock):
    asked = []
    client = client_of(
        clock,
        shadow(select_address=lambda: Use("192.0.2.77")),
        plugin(select_address=lambda address: asked.append(str(address)) or Use("192.0.2.66")),
    )
    assert dotted(client.discover().yiaddr) == "192.0.2.66"
    assert asked == ["192.0.2.10"]


# ── edits ──


def test_edits_of_request_and_reply_have_no_effect_and_are_noted(clock):
    def edit_request(packet):
        packet.options["host-name"] = "renamed"
        packet.xid = 7

    def edit_reply(reply):
        reply.options["domain-name"] = "shadow.example"
        del reply.options["lease-time"]

    client = same_as_without(clock, shadow(dhcp_new_pkt=edit_request, dhcp_pkt_send=edit_reply))
    expected = [
        "dhcp_new_pkt: request: xid",
        "dhcp_new_pkt: request: option 12",
        "dhcp_pkt_send: reply: option 15",
        "dhcp_pkt_send: reply: option 51",
    ]
    assert notes(client) == expected * 2
    assert [each.differences for each in client.engine.hooks.metrics] == [2, 2]


def test_a_replaced_request_or_reply_is_noted_by_what_differs(clock):
    def other(packet, **fields):
        made = Packet(bytes(packet))
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    client = same_as_without(
        clock,
        shadow(
            dhcp_new_pkt=lambda packet: other(packet, flags=0x8000), dhcp_pkt_send=lambda reply: other(reply, siaddr=9)
        ),
    )
    assert notes(client) == ["dhcp_new_pkt: request: flags", "dhcp_pkt_send: reply: siaddr"] * 2


def test_what_it_sees_is_what_others_left(clock):
    def edit(packet):
        packet.options["host-name"] = "renamed"

    seen = []
    client = client_of(
        clock, plugin(dhcp_new_pkt=edit), shadow(dhcp_new_pkt=lambda packet: seen.append(packet.options["host-name"]))
    )
    client.discover()
    assert seen == ["renamed"]
    assert notes(client) == []


def test_classes_have_no_effect_and_are_noted(clock):
    classes = [Class(name, Parameters(options={224 + at: b"x"})) for at, name in enumerate(("a", "b"))]

    def change(exchange):
        exchange.classes.add("b")
        exchange.classes.discard("a")

    sorter = plugin(dhcp_new_pkt=lambda exchange: exchange.classes.add("a"))
    client = client_of(clock, sorter, shadow(dhcp_handle_options=change), classes=classes)
    assert [code for code in client.discover().options if code >= 224] == [224]
    assert notes(client) == ["dhcp_handle_options: class b", "dhcp_handle_options: not class a"]


def test_a_drop_by_hand_has_no_effect_and_is_noted(clock):
    client = same_as_without(
        clock, shadow(dhcp_handle_options=lambda exchange: exchange.drop(DropReason.UNAUTH, "by hand"))
    )
    assert notes(client) == ["dhcp_handle_options: dropped: by hand"] * 2


def test_a_drop_of_what_is_dropped_is_not_noted(clock):
    client = client_of(clock, shadow(dhcp_pkt_drop=lambda exchange: exchange.drop(DropReason.UNAUTH, "by hand")))
    client.send(b"rubbish")
    assert client.exchange.reason == DropReason.INVALID
    assert notes(client) == []


def test_what_it_writes_has_no_effect_and_is_noted(clock):
    def write(exchange):
        exchange.lease_time, exchange.yiaddr, exchange.refusal = 600, number("192.0.2.77"), "no"
        exchange.subnet = OTHER
        exchange.received[12] = b"renamed"
        exchange.changes and exchange.changes.clear()

    client = same_as_without(clock, shadow(dhcp_handle_options=write, dhcp_address_offer=write))
    written = [f"subnet = {OTHER}", f"yiaddr = {number('192.0.2.77')}", "lease_time = 600", "refusal = no"]
    assert notes(client) == [f"{hook}: {each}" for hook in HOOKS_OF_DORA for each in written]
    assert client.exchange.changes[0].hostname is None


HOOKS_OF_DORA = ["dhcp_handle_options", "dhcp_handle_options", "dhcp_address_offer"]


def test_what_it_keeps_for_a_packet_it_finds_again_and_no_other_plugin_does(clock):
    seen = []

    def keep(exchange):
        exchange.context = "mine"

    client = same_as_without(
        clock,
        shadow("one", dhcp_new_pkt=keep, dhcp_pkt_drop=lambda exchange: seen.append(exchange.context)),
        plugin("two", dhcp_pkt_drop=lambda exchange: seen.append(exchange.context)),
    )
    assert seen == ["mine", None] * 2
    assert notes(client) == []


def test_a_note_says_who_and_when(clock):
    client = client_of(clock, shadow("watcher", dhcp_new_pkt=lambda: Drop("no")))
    client.discover()
    assert list(client.engine.hooks.shadow_notes) == [
        ShadowNote(clock(), "watcher", "dhcp_new_pkt", "02:00:00:00:00:01", "Drop(why='no', reason=None)")
    ]


def test_the_last_thousand_notes_are_kept(clock):
    client = client_of(clock, shadow(dhcp_new_pkt=lambda: Drop("no")))
    for _ in range(1001):
        client.discover()
    assert len(client.engine.hooks.shadow_notes) == 1000
    assert client.engine.hooks.metrics[0].differences == 1001


def test_hooks_that_are_of_no_packet_are_simply_called(clock):
    seen = []
    client = client_of(clock, shadow(lease_expired=lambda lease: seen.append(str(lease.ip))))
    client.join()
    client.engine.tick(clock() + 43200)
    assert seen == ["192.0.2.10"]


def test_the_hooks_of_what_can_not_be_decoded(clock):
    seen = []
    client = client_of(clock, shadow(dhcp_pkt_drop=lambda packet, reason: seen.append((packet, reason))))
    client.send(b"rubbish")
    assert seen == [(None, DropReason.INVALID), (None, DropReason.PROCESSED)]
    assert client.engine.hooks.failures == {}


# ── failures ──


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
@pytest.mark.parametrize("on_error", ["continue", "drop"])
def test_what_it_raises_is_counted_and_has_no_effect(clock, error, on_error):
    def raises():
        raise error

    policy = Policy(shadow=True, on_error=on_error, failures=2)
    client = client_of(clock, shadow(policy=policy, dhcp_new_pkt=raises, dhcp_pkt_send=raises))
    for _ in range(4):
        assert client.discover() is not None
    assert client.engine.hooks.failures == {("shadow", "dhcp_new_pkt"): 2, ("shadow", "dhcp_pkt_send"): 2}
    assert [(each.errors, each.skipped) for each in client.engine.hooks.metrics] == [(2, 2)] * 2
    assert client.engine.dropped == {}


def test_it_is_disabled_if_it_says_so(clock):
    client = client_of(clock, shadow(policy=Policy(shadow=True, on_error="disable"), dhcp_new_pkt=broken))
    client.discover()
    assert client.discover() is not None
    (metrics,) = client.engine.hooks.metrics
    assert (metrics.state, metrics.calls) == ("disabled", 1)


def test_its_circuit_closes_when_it_works_again(clock, caplog):
    working = [False]
    calls = []

    def shaky():
        calls.append("called")
        if not working[0]:
            raise ZeroDivisionError

    policy = Policy(shadow=True, failures=1, retry_after=30)
    client = client_of(clock, shadow(policy=policy, dhcp_new_pkt=shaky), runtime=Runtime(clock=clock))
    client.discover()
    client.discover()
    assert len(calls) == 1
    clock.advance(30)
    working[0] = True
    client.discover()
    client.discover()
    assert len(calls) == 3
    assert "plugin shadow: dhcp_new_pkt works again" in caplog.messages


@pytest.mark.parametrize(
    ("hook", "nonsense"), [("dhcp_new_pkt", 42), ("dhcp_handle_options", Drop("no")), ("select_subnet", Nak("no"))]
)
def test_what_means_nothing_there_is_an_error_and_no_difference(clock, hook, nonsense):
    client = client_of(clock, shadow(**{hook: lambda: nonsense}))
    assert client.discover() is not None
    (metrics,) = client.engine.hooks.metrics
    assert (metrics.errors, metrics.differences) == (1, 0)
    assert notes(client) == []


def wreck_options(packet):
    packet.options = None


def wreck_raw(packet):
    packet.options.raw[53] = "DISCOVER"


def wreck_keys(packet):
    packet.options.raw["53"] = b"\1"


@pytest.mark.parametrize("wreck", [wreck_options, wreck_raw, wreck_keys])
def test_a_packet_that_it_wrecks_is_only_its_copy(clock, wreck):
    client = client_of(
        clock, shadow(dhcp_new_pkt=lambda packet: wreck(packet), dhcp_pkt_send=lambda reply: wreck(reply))
    )
    offer = client.discover()
    assert client.request(offer).message_type == MessageType.ACK
    assert client.engine.dropped == {}


@pytest.mark.parametrize("wreck", [wreck_options, wreck_raw])
def test_a_reply_that_another_wrecked_leaves_as_it_was_also_if_it_is_watched(clock, wreck):
    seen = []
    client = client_of(
        clock,
        plugin("bad", dhcp_pkt_send=lambda reply: wreck(reply)),
        shadow(dhcp_pkt_send=lambda: seen.append("seen")),
    )
    assert client.discover() is not None
    assert seen == ["seen"]
    assert client.engine.dropped == {}


def test_a_choice_that_can_not_even_be_compared_is_an_error(clock):
    client = client_of(clock, shadow(select_address=lambda: Use("mars")))
    assert client.discover() is not None
    assert client.engine.hooks.metrics[0].errors == 1
    assert notes(client) == []


# ── async ──


class Later:
    """A ``detach`` that keeps what it is given until it is told to run it, as an event loop would."""

    def __init__(self, deadline_passes: bool = False) -> None:
        self.waiting = []
        self.runtime = Runtime(within=self.within, detach=self.waiting.append)
        self.deadline_passes = deadline_passes

    async def within(self, begun, implementation):
        if self.deadline_passes:
            begun.close()
            raise Overdue
        return await begun

    async def run(self) -> None:
        for each in self.waiting:
            await each
        self.waiting.clear()


async def test_an_async_one_is_waited_for_by_nobody(clock):
    async def veto(exchange):
        await asyncio.sleep(0)
        exchange.classes.add("seen")
        return Drop("much too late")

    later = Later()
    client = client_of(clock, shadow(dhcp_new_pkt=veto), runtime=later.runtime)
    assert client.discover() is not None
    assert client.exchange.pending is None
    assert notes(client) == []
    await later.run()
    assert notes(client) == ["dhcp_new_pkt: Drop(why='much too late', reason=None)", "dhcp_new_pkt: class seen"]
    assert client.exchange.class_names == frozenset()


async def test_what_becomes_of_the_packet_meanwhile_is_no_difference_of_the_plugins(clock):
    async def watch():
        await asyncio.sleep(0)

    later = Later()
    client = client_of(
        clock,
        shadow(dhcp_new_pkt=watch),
        plugin(dhcp_handle_options=lambda exchange: exchange.classes.add("phones")),
        runtime=later.runtime,
    )
    client.discover()
    await later.run()
    assert notes(client) == []


@pytest.mark.parametrize(("passes", "counts"), [(False, (1, 0)), (True, (0, 1))], ids=["raises", "takes too long"])
async def test_an_async_one_that_fails_is_counted(clock, passes, counts):
    async def raises():
        raise ZeroDivisionError

    later = Later(deadline_passes=passes)
    client = client_of(clock, shadow(dhcp_new_pkt=lambda: raises()), runtime=later.runtime)
    assert client.discover() is not None
    await later.run()
    (metrics,) = client.engine.hooks.metrics
    assert (metrics.errors, metrics.timeouts) == counts
    assert client.engine.dropped == {}


async def test_an_async_one_that_nobody_has_room_for_is_not_begun(clock):
    """And Python has no complaint that it was never awaited."""

    async def veto():
        raise AssertionError("it was begun")

    client = client_of(clock, shadow(dhcp_new_pkt=lambda: veto()))
    assert client.discover() is not None
    assert notes(client) == []
    assert client.engine.hooks.failures == {}


async def test_a_future_is_awaited_too(clock):
    future = asyncio.get_running_loop().create_future()
    future.set_result(Drop("from elsewhere"))
    later = Later()
    client = client_of(clock, shadow(dhcp_new_pkt=lambda: future), runtime=later.runtime)
    client.discover()
    await later.run()
    assert notes(client) == ["dhcp_new_pkt: Drop(why='from elsewhere', reason=None)"]


async def test_a_live_async_plugin_next_to_it_goes_its_way(clock):
    async def veto():
        await asyncio.sleep(0)
        return Drop("live")

    later = Later()
    engine = Engine(
        make_engine().config,
        Hooks([shadow(dhcp_new_pkt=veto), plugin("live", dhcp_new_pkt=veto)], later.runtime),
    )
    client = AsyncClient(engine, clock)
    assert await client.discover() is None
    await later.run()
    assert client.exchange.why == "vetoed by live: live"
    assert notes(client) == ["dhcp_new_pkt: Drop(why='live', reason=None)"]


async def test_a_shadow_refuses_neither_a_start_nor_a_configuration(caplog):
    class Strict:
        name = "strict"

        @hookimpl
        def dhcp_control(self):
            raise ValueError("not with me")

        @hookimpl
        def config_loaded(self):
            raise ValueError("not this one")

    watching = Plugin(Strict(), policy=Policy(shadow=True))
    async with DhcpServer(Config(), store=MemoryStore(), plugins=[watching]) as server:
        assert server.health.status == "ok"
        assert server.hooks.failures == {("strict", "dhcp_control"): 1, ("strict", "config_loaded"): 1}
    assert "plugin strict: config_loaded raised ValueError('not this one')" in caplog.text
