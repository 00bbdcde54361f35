"""The ten hooks: each fires when its docstring says and is told what its docstring says, ``def`` or ``async def``.

The server's own are in test_server_hooks.py. How they are called is in test_hooks_calling.py, how plugins are taken in
in test_hooks_loading.py.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from client import AsyncClient, Client, conversation, make_engine, make_subnet
from plugin_kit import plugin

from aiodhcp import (
    AddressKind,
    AddressProblem,
    ClientType,
    ConfigError,
    ControlCode,
    DropReason,
    LeaseState,
    MessageType,
    Parameters,
    Plugin,
    hookimpl,
    hookspecs,
    serverspecs,
)
from aiodhcp.constants import INFINITE
from aiodhcp.hooks import Hooks
from aiodhcp.hooktable import HOOKS

SPECS = {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "aiodhcp_spec")}
SERVER_SPECS = {name: spec for name, spec in vars(serverspecs).items() if hasattr(spec, "aiodhcp_spec")}


def awaited(function):
    """The same as ``async def``, which takes its time."""

    @functools.wraps(function)
    async def wrapper(*arguments):
        await asyncio.sleep(0)
        return function(*arguments)

    return hookimpl(wrapper)


class Recorder:
    """Notes each call of a hook by name, with its arguments."""

    def __init__(self):
        self.calls = []

    @property
    def hooks(self) -> list[str]:
        return [name for name, _ in self.calls]

    def told(self, hook: str) -> list:
        return [arguments for name, arguments in self.calls if name == hook]

    @hookimpl
    def dhcp_control(self, server, code):
        self.calls.append(("dhcp_control", (server, code)))

    @hookimpl
    def dhcp_new_pkt(self, packet, exchange):
        self.calls.append(("dhcp_new_pkt", (packet, exchange)))

    @hookimpl
    def dhcp_pkt_drop(self, packet, reason, exchange):
        self.calls.append(("dhcp_pkt_drop", (packet, reason, exchange)))

    @hookimpl
    def dhcp_pkt_send(self, packet, reply, exchange):
        self.calls.append(("dhcp_pkt_send", (packet, reply, exchange)))

    @hookimpl
    def dhcp_address_del(self, packet, problem, address, exchange):
        self.calls.append(("dhcp_address_del", (packet, problem, address, exchange)))

    @hookimpl
    def dhcp_address_offer(self, packet, kind, address, client_type, lease_time, exchange):
        self.calls.append(("dhcp_address_offer", (packet, kind, address, client_type, lease_time, exchange)))

    @hookimpl
    def dhcp_handle_options(self, packet, options, exchange):
        self.calls.append(("dhcp_handle_options", (packet, options, exchange)))

    @hookimpl
    def dhcp_delete_client(self, address, hardware_address):
        self.calls.append(("dhcp_delete_client", (address, hardware_address)))


class AsyncRecorder(Recorder):
    dhcp_control = awaited(Recorder.dhcp_control)
    dhcp_new_pkt = awaited(Recorder.dhcp_new_pkt)
    dhcp_pkt_drop = awaited(Recorder.dhcp_pkt_drop)
    dhcp_pkt_send = awaited(Recorder.dhcp_pkt_send)
    dhcp_address_del = awaited(Recorder.dhcp_address_del)
    dhcp_address_offer = awaited(Recorder.dhcp_address_offer)
    dhcp_handle_options = awaited(Recorder.dhcp_handle_options)
    dhcp_delete_client = awaited(Recorder.dhcp_delete_client)


@pytest.fixture(params=[Recorder, AsyncRecorder], ids=["def", "async def"])
def recorder(request) -> Recorder:
    return request.param()


@pytest.fixture
def client(recorder, clock) -> AsyncClient:
    """A client of a server with the recorder for its one plugin."""
    return AsyncClient(make_engine(plugins=[recorder]), clock)


# ── the specifications ──


@pytest.mark.parametrize("name", [*SPECS, *SERVER_SPECS])
def test_each_hook_says_when_with_what_and_what_for(name):
    spec = {**SPECS, **SERVER_SPECS}[name]
    summary, _, rest = inspect.getdoc(spec).partition("\n\n")
    assert summary.endswith((".", "?"))
    parts = re.findall(r"^(\w+):", rest, re.MULTILINE)
    assert parts == ["Fires", "Arguments", "May", "C" if name in SPECS else "Verdicts"]
    arguments = re.search(r"Arguments:(.*)^May:", rest, re.DOTALL | re.MULTILINE)[1]
    assert re.findall(r"``(\w+)`` \(in", arguments) == list(inspect.signature(spec).parameters)


@pytest.mark.parametrize("name", [*SPECS, *SERVER_SPECS])
def test_what_a_hook_may_return_and_whether_it_may_wait_is_what_its_specification_says(name):
    """The annotation is read as ``hooktable`` has it: ``def`` only without Awaitable, and its verdicts."""
    said, calling = str(inspect.signature({**SPECS, **SERVER_SPECS}[name]).return_annotation), HOOKS[name]
    if name not in ("dhcp_extension", "dhcp_reserved"):
        assert calling.may_wait == ("Awaitable" in said)
    named = set(re.findall(r"\b(Use|Nak|Drop|Packet)\b", said))
    assert {each.__name__ for each in calling.verdicts} == named


def test_every_hook_is_in_the_table_with_its_arguments():
    assert list(HOOKS) == [*SPECS, *SERVER_SPECS]
    for name, spec in {**SPECS, **SERVER_SPECS}.items():
        assert set(HOOKS[name].arguments) == set(inspect.signature(spec).parameters)


def test_every_hook_has_an_attribute():
    hooks = Hooks()
    for name in HOOKS:
        if name not in ("dhcp_extension", "dhcp_reserved"):
            assert getattr(hooks, name).name == name
            assert not getattr(hooks, name)


@pytest.mark.parametrize("name", [*SPECS, *SERVER_SPECS])
def test_every_hook_has_a_test_that_is_called_like_it(name):
    """Of both sets: here or in test_server_hooks.py."""
    tests = Path(__file__).parent
    source = (tests / "test_hooks.py").read_text() + (tests / "test_server_hooks.py").read_text()
    assert re.search(rf"^(async )?def test_{name}\(", source, re.MULTILINE), f"no test_{name}"


# ── the ten ──


async def test_dhcp_control(recorder):
    hooks, server = Hooks([recorder]), object()
    for code in ControlCode:
        await hooks.control(server, code)
    assert recorder.told("dhcp_control") == [(server, code) for code in ControlCode]


@pytest.mark.parametrize("wrap", [hookimpl, awaited])
async def test_dhcp_control_may_refuse_the_start_and_nothing_else(wrap, caplog):
    def dhcp_control(code):
        raise RuntimeError("there is no licence")

    recorder, plugin = Recorder(), type("Licence", (), {"dhcp_control": staticmethod(wrap(dhcp_control))})()
    hooks = Hooks([plugin, recorder])
    with pytest.raises(ConfigError, match="plugin Licence refused the start: there is no licence"):
        await hooks.control(None, ControlCode.START)
    assert recorder.calls == []
    await hooks.control(None, ControlCode.STOP)
    assert recorder.told("dhcp_control") == [(None, ControlCode.STOP)]
    assert hooks.failures == {("Licence", "dhcp_control"): 1}


async def test_whoever_was_told_of_a_start_that_is_refused_hears_that_it_is_over(recorder):
    def refuse():
        raise RuntimeError("there is no licence")

    hooks, server = Hooks([recorder, plugin("Licence", dhcp_control=refuse), Recorder()]), object()
    with pytest.raises(ConfigError):
        await hooks.control(server, ControlCode.START)
    assert recorder.told("dhcp_control") == [(server, ControlCode.START), (server, ControlCode.STOP)]


async def test_dhcp_new_pkt(client, recorder):
    await client.discover()
    ((packet, exchange),) = recorder.told("dhcp_new_pkt")
    assert recorder.hooks[0] == "dhcp_new_pkt"
    assert packet.message_type == MessageType.DISCOVER
    assert exchange is client.exchange
    assert packet is exchange.packet


async def test_dhcp_new_pkt_is_for_any_packet_that_can_be_decoded(client, recorder):
    await client.send(client.message(MessageType.OFFER))
    await client.send(client.message(None))
    assert [packet.message_type for packet, _ in recorder.told("dhcp_new_pkt")] == [MessageType.OFFER, None]
    await client.send(b"rubbish")
    assert len(recorder.told("dhcp_new_pkt")) == 2


async def test_dhcp_pkt_drop(client, recorder):
    await client.discover()
    assert recorder.hooks[-1] == "dhcp_pkt_drop"
    assert recorder.told("dhcp_pkt_drop") == [(client.exchange.packet, DropReason.PROCESSED, client.exchange)]


async def test_dhcp_pkt_drop_of_a_packet_that_is_not(client, recorder):
    await client.reboot("192.0.2.50")
    packet, exchange = client.exchange.packet, client.exchange
    assert recorder.told("dhcp_pkt_drop") == [
        (packet, DropReason.GEN_FAILURE, exchange),
        (packet, DropReason.PROCESSED, exchange),
    ]
    assert recorder.hooks[-2:] == ["dhcp_pkt_drop", "dhcp_pkt_drop"]


async def test_dhcp_pkt_drop_of_what_can_not_be_decoded(client, recorder):
    await client.send(b"rubbish")
    exchange = client.exchange
    assert recorder.calls == [
        ("dhcp_pkt_drop", (None, DropReason.INVALID, exchange)),
        ("dhcp_pkt_drop", (None, DropReason.PROCESSED, exchange)),
    ]
    assert exchange.datagram.data == b"rubbish"
    assert exchange.why == "7 octets: a DHCP message has 240 to 4096"


async def test_dhcp_pkt_drop_of_what_the_server_has_no_time_for(client, recorder, clock):
    datagram = client.datagram(client.message(MessageType.DISCOVER))
    exchange = client.engine.refuse(datagram, clock(), DropReason.NOMEM, "too many packets wait already")
    client.engine.finish(exchange)
    if exchange.pending is not None:
        await exchange.pending
    assert [reason for _, reason, _ in recorder.told("dhcp_pkt_drop")] == [DropReason.NOMEM, DropReason.PROCESSED]


async def test_dhcp_pkt_send(client, recorder):
    await client.join()
    await client.reboot("203.0.113.9")
    sent = recorder.told("dhcp_pkt_send")
    assert [packet.message_type.name for packet, _, _ in sent] == ["DISCOVER", "REQUEST", "REQUEST"]
    assert [reply.message_type.name for _, reply, _ in sent] == ["OFFER", "ACK", "NAK"]
    assert bytes(sent[2][1]) == client.answer.data.rstrip(b"\0")
    assert sent[2][2] is client.exchange


async def test_dhcp_pkt_send_is_for_nothing_that_is_not_answered(client, recorder):
    await client.join()
    recorder.calls.clear()
    await client.release()
    await client.reboot("192.0.2.50", client_identifier=b"\0unknown")
    await client.send(b"rubbish")
    assert recorder.told("dhcp_pkt_send") == []


async def test_dhcp_address_del(client, recorder):
    await client.join()
    await client.release()
    released = client.exchange
    await client.join()
    await client.decline()
    declined = client.exchange
    await client.reboot("203.0.113.9")
    assert recorder.told("dhcp_address_del") == [
        (released.packet, AddressProblem.RELEASE, IPv4Address("192.0.2.10"), released),
        (declined.packet, AddressProblem.DECLINE, IPv4Address("192.0.2.10"), declined),
        (client.exchange.packet, AddressProblem.NACKED, IPv4Address("203.0.113.9"), client.exchange),
    ]


async def test_dhcp_address_del_is_not_for_what_could_not_be_committed(client, recorder):
    await client.join()
    datagram = client.datagram(client.message(MessageType.DECLINE, requested_address=client.address))
    exchange = client.engine.arrive(datagram, client.clock())
    if exchange.pending is not None:
        await exchange.pending
    client.engine.decide(exchange)
    exchange.drop(DropReason.INTERNAL_ERROR, "the lease can't be committed")
    client.engine.answer(exchange)
    if exchange.pending is not None:
        await exchange.pending
    assert recorder.told("dhcp_address_del") == []


async def test_dhcp_address_offer(client, recorder):
    await client.discover()
    assert recorder.told("dhcp_address_offer") == []
    await client.request(client.exchange.reply)
    new = client.exchange
    await client.renew(lease_time=600)
    old = client.exchange
    address = IPv4Address("192.0.2.10")
    assert recorder.told("dhcp_address_offer") == [
        (new.packet, AddressKind.NEW, address, ClientType.DHCP, 43200, new),
        (old.packet, AddressKind.OLD, address, ClientType.DHCP, 600, old),
    ]


async def test_dhcp_address_offer_is_not_for_an_inform_nor_for_a_nak(client, recorder):
    await client.inform("192.0.2.150")
    await client.reboot("203.0.113.9")
    assert recorder.told("dhcp_address_offer") == []


async def test_dhcp_address_offer_tells_of_a_lease_without_end(recorder, clock):
    client = AsyncClient(make_engine(plugins=[recorder], parameters=Parameters(lease_time=INFINITE)), clock)
    await client.join()
    assert recorder.told("dhcp_address_offer")[0][4] == INFINITE


async def test_dhcp_handle_options(client, recorder):
    await client.discover(host_name="pc-17")
    ((packet, options, exchange),) = recorder.told("dhcp_handle_options")
    assert recorder.hooks[:2] == ["dhcp_new_pkt", "dhcp_handle_options"]
    assert packet is exchange.packet is client.exchange.packet
    assert options["host-name"] == "pc-17"
    assert options.machine_name == b"pc-17"


async def test_dhcp_delete_client(client, recorder, clock):
    await client.join()
    await client.release()
    await client.join()
    await client.request(client.exchange.reply, requested_address="192.0.2.50")
    clock.advance(43200)
    for pending in client.engine.tick(clock())[1]:
        await pending
    mac = b"\2\0\0\0\0\1"
    assert recorder.told("dhcp_delete_client") == [
        (IPv4Address("192.0.2.10"), mac),  # released
        (IPv4Address("192.0.2.10"), mac),  # given up for another
        (IPv4Address("192.0.2.50"), mac),  # expired
    ]


async def test_dhcp_delete_client_of_a_lease_that_an_administrator_deletes(client, recorder, clock):
    address = (await client.join()).yiaddr
    clock.advance(60)
    deleted, pending = client.engine.delete(address, clock())
    if pending is not None:
        await pending
    assert recorder.told("dhcp_delete_client") == [(IPv4Address("192.0.2.10"), b"\2\0\0\0\0\1")]
    assert (deleted.client, deleted.state, deleted.expires) == (b"", LeaseState.RELEASED, clock())
    assert client.engine.delete(address, clock()) == (None, None)
    assert client.engine.delete(address + 1, clock()) == (None, None)
    assert len(recorder.told("dhcp_delete_client")) == 1


async def test_dhcp_delete_client_is_not_for_a_probation_or_a_memory_that_an_administrator_ends(
    client, recorder, clock
):
    address = (await client.join()).yiaddr
    await client.decline()
    recorder.calls.clear()
    deleted, pending = client.engine.delete(address, clock())
    assert (deleted.state, pending) == (LeaseState.RELEASED, None)
    address = (await client.join()).yiaddr
    await client.release()
    recorder.calls.clear()
    deleted, pending = client.engine.delete(address, clock())
    assert (deleted.client, pending) == (b"", None)
    assert recorder.calls == []


def never_called_and_warned_of(hook: str, clock, caplog) -> None:
    def called():
        raise AssertionError("it was called")

    with caplog.at_level(logging.WARNING, "aiodhcp"):
        engine = make_engine(plugins=[plugin("Eager", **{hook: called})])
    (warning,) = caplog.messages
    assert warning.startswith(f"plugin Eager: {hook} is reserved and never called ({__file__}:")
    conversation(Client(engine, clock))
    assert engine.hooks.failures == {}


def test_dhcp_extension(clock, caplog):
    never_called_and_warned_of("dhcp_extension", clock, caplog)


def test_dhcp_reserved(clock, caplog):
    never_called_and_warned_of("dhcp_reserved", clock, caplog)


async def test_the_hooks_of_one_packet_in_their_order(client, recorder):
    await client.join()
    recorder.calls.clear()
    await client.renew()
    assert recorder.hooks == [
        "dhcp_new_pkt",
        "dhcp_handle_options",
        "dhcp_address_offer",
        "dhcp_pkt_send",
        "dhcp_pkt_drop",
    ]
    recorder.calls.clear()
    await client.release()
    assert recorder.hooks == [
        "dhcp_new_pkt",
        "dhcp_handle_options",
        "dhcp_delete_client",
        "dhcp_address_del",
        "dhcp_pkt_drop",
    ]
    recorder.calls.clear()
    await client.reboot("203.0.113.9")
    assert recorder.hooks == [
        "dhcp_new_pkt",
        "dhcp_handle_options",
        "dhcp_address_del",
        "dhcp_pkt_send",
        "dhcp_pkt_drop",
    ]


async def test_dhcp_address_offer_of_a_bootp_client(recorder, clock):
    client = AsyncClient(make_engine(plugins=[recorder], bootp="dynamic"), clock)
    address = IPv4Address((await client.send(client.message(None))).yiaddr)
    new = client.exchange
    await client.send(client.message(None))
    old = client.exchange
    assert recorder.told("dhcp_address_offer") == [
        (new.packet, AddressKind.NEW, address, ClientType.BOOTP, INFINITE, new),
        (old.packet, AddressKind.OLD, address, ClientType.BOOTP, INFINITE, old),
    ]


async def test_dhcp_address_del_of_an_address_that_is_in_use(recorder, clock):
    engine = make_engine(make_subnet(conflict_probe="arp"), plugins=[recorder])
    client = AsyncClient(engine, clock)
    exchange = engine.arrive(client.datagram(client.message(MessageType.DISCOVER)), clock())
    await awaited_of(exchange)
    engine.decide(exchange)
    address = IPv4Address(exchange.probe)
    engine.conflict(exchange, "answered by 02:00:00:00:00:99")
    await awaited_of(exchange)
    assert recorder.told("dhcp_address_del") == [(exchange.packet, AddressProblem.CONFLICT, address, exchange)]
    assert exchange.problem is None


async def awaited_of(exchange) -> None:
    if exchange.pending is not None:
        await exchange.pending
        exchange.pending = None


async def test_dhcp_control_may_be_for_some_plugins_only(recorder):
    other, server = Recorder(), object()
    hooks = Hooks([recorder, Plugin(other, name="other")])
    await hooks.control(server, ControlCode.PAUSE, frozenset({"other"}))
    assert recorder.calls == []
    assert other.told("dhcp_control") == [(server, ControlCode.PAUSE)]


async def test_who_is_disabled_hears_the_stop_only(recorder):
    server, hooks = object(), Hooks([recorder])
    hooks.disable(hooks.plugins[0].name)
    for code in ControlCode:
        await hooks.control(server, code)
    assert recorder.told("dhcp_control") == [(server, ControlCode.STOP)]


async def test_whoever_was_told_of_a_start_that_is_cancelled_hears_that_it_is_over(recorder):
    def cancel():
        raise asyncio.CancelledError

    hooks, server = Hooks([recorder, plugin(dhcp_control=cancel)]), object()
    with pytest.raises(asyncio.CancelledError):
        await hooks.control(server, ControlCode.START)
    assert recorder.told("dhcp_control") == [(server, ControlCode.START), (server, ControlCode.STOP)]
    with pytest.raises(asyncio.CancelledError):
        await hooks.control(server, ControlCode.PAUSE)
    assert len(recorder.told("dhcp_control")) == 3


async def test_which_plugins_another_set_of_hooks_does_not_have():
    one, two, three = (plugin(name) for name in ("one", "two", "three"))
    before, after = Hooks([one, two]), Hooks([two, three])
    assert (after.without(before), before.without(after)) == ({"three"}, {"one"})


async def test_a_packet_that_nobody_has_an_address_for(recorder, clock):
    engine = make_engine(make_subnet("192.0.2.10"), plugins=[recorder])
    await AsyncClient(engine, clock, "02:00:00:00:00:01").join()
    recorder.calls.clear()
    await AsyncClient(engine, clock, "02:00:00:00:00:02").discover()
    assert recorder.hooks == ["dhcp_new_pkt", "dhcp_handle_options", "dhcp_pkt_drop", "dhcp_pkt_drop"]
    assert recorder.told("dhcp_pkt_drop")[0][1] == DropReason.NOADDRESS
