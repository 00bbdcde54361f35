"""The ten hooks: each fires when its docstring says and is told what its docstring says, ``def`` or ``async def``.

How they are called is in test_hooks_calling.py, how plugins are taken in in test_hooks_loading.py.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import re
from ipaddress import IPv4Address

import pytest
from client import AsyncClient, Client, make_engine, make_subnet
from plugin_kit import plugin

from aiodhcp import (
    AddressKind,
    AddressProblem,
    ClientType,
    ConfigError,
    ControlCode,
    DropReason,
    MessageType,
    Parameters,
    hookimpl,
    hookspecs,
)
from aiodhcp.constants import INFINITE
from aiodhcp.hooks import Hooks

TABLE = [
    "DhcpControlHook",
    "DhcpNewPktHook",
    "DhcpPktDropHook",
    "DhcpPktSendHook",
    "DhcpAddressDelHook",
    "DhcpAddressOfferHook",
    "DhcpHandleOptionsHook",
    "DhcpDeleteClientHook",
    "DhcpExtensionHook",
    "DhcpReservedHook",
]
"""DHCP_CALLOUT_TABLE of dhcpssdk.h, in its order."""

SPECS = {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "aiodhcp_spec")}


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


def test_the_hooks_are_the_slots_of_the_callout_table_in_its_order():
    assert list(SPECS) == [re.sub("(?<=[a-z])(?=[A-Z])", "_", slot.removesuffix("Hook")).lower() for slot in TABLE]


@pytest.mark.parametrize(("slot", "name"), list(zip(TABLE, SPECS, strict=True)))
def test_each_hook_says_when_with_what_what_for_and_what_it_is_in_c(slot, name):
    spec = SPECS[name]
    summary, _, rest = inspect.getdoc(spec).partition("\n\n")
    assert summary.endswith(".")
    assert re.findall(r"^(\w+):", rest, re.MULTILINE) == ["Fires", "Arguments", "May", "C"]
    arguments, prototype = re.search(r"Arguments:(.*)May:.*C:(.*)", rest, re.DOTALL).groups()
    assert slot in prototype
    for argument in inspect.signature(spec).parameters:
        assert f"``{argument}`` (in" in arguments


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


async def test_dhcp_pkt_drop_of_a_packet_that_is_answered(client, recorder):
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
    assert options is packet.options
    assert options["host-name"] == "pc-17"


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


def test_dhcp_extension_and_dhcp_reserved_are_never_called_and_who_implements_them_is_warned(clock, caplog):
    class Eager:
        @hookimpl
        def dhcp_extension(self):
            raise AssertionError("it was called")

        @hookimpl
        def dhcp_reserved(self):
            raise AssertionError("it was called")

    with caplog.at_level(logging.WARNING, "aiodhcp"):
        engine = make_engine(plugins=[Eager()])
    assert caplog.messages == [
        f"plugin Eager: {hook.__name__} is reserved and never called ({__file__}:{inspect.getsourcelines(hook)[1]})"
        for hook in (Eager.dhcp_extension, Eager.dhcp_reserved)
    ]
    client = Client(engine, clock)
    client.join()
    client.release()
    assert engine.hooks.failures == {}


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


async def test_a_packet_that_nobody_has_an_address_for(recorder, clock):
    engine = make_engine(make_subnet("192.0.2.10"), plugins=[recorder])
    await AsyncClient(engine, clock, "02:00:00:00:00:01").join()
    recorder.calls.clear()
    await AsyncClient(engine, clock, "02:00:00:00:00:02").discover()
    assert recorder.hooks == ["dhcp_new_pkt", "dhcp_handle_options", "dhcp_pkt_drop", "dhcp_pkt_drop"]
    assert recorder.told("dhcp_pkt_drop")[0][1] == DropReason.NOADDRESS
