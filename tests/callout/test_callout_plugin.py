"""The plugin above a callout doesn't know how that is reached: here in Python, at once or after a while."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
from pathlib import Path

import pytest
from client import AsyncClient, Client, make_engine

import aiodhcp
from aiodhcp import ControlCode, Plugin
from aiodhcp.callout import ON_FAULT, CalloutPlugin, Callouts, Library, Received, Returned, abi
from aiodhcp.callout.child import Child
from aiodhcp.hooks import Hooks

PACKAGE = Path(aiodhcp.__file__).parent / "callout"
PUBLIC = ("aiodhcp.constants", "aiodhcp.errors")
"""Where some public names are: a process that only has a callout starts sooner without all the others."""
OURS = {path for path in PACKAGE.glob("*.py") if path.stem not in ("loading", "driving", "inspection")}
"""All but what belongs to the configuration and to the command line."""
HOOKS = frozenset(slot.hook for slot in abi.CALLOUT_TABLE if slot.parameters is not None)


class Double:
    """``Callouts`` in Python: notes what it is told, puts option 224 into what it may change."""

    def __init__(self, name="double", hooks=HOOKS, *, process=True, fault=False):
        self.name, self.hooks, self.process, self.fault = name, hooks, process, fault
        self.calls = []

    def control(self, code):
        self.calls.append(("control", code))

    def new_pkt(self, packet, interface):
        self.calls.append(("new_pkt", interface))
        if self.fault:
            raise OSError("access violation")
        return Received(Returned(packet), "token", self.process)

    def pkt_drop(self, packet, reason, interface, context):
        self.calls.append(("pkt_drop", reason, context))

    def pkt_send(self, packet, interface, context):
        self.calls.append(("pkt_send", context))
        return Returned(packet.rstrip(b"\0").removesuffix(b"\xff") + b"\xe0\4trap\xff")

    def address_del(self, packet, problem, interface, address, context):
        self.calls.append(("address_del", problem, context))

    def address_offer(self, packet, kind, interface, address, client_type, lease_time, context):
        self.calls.append(("address_offer", kind, context))

    def handle_options(self, packet, context):
        self.calls.append(("handle_options", context))

    def delete_client(self, address, hardware_address):
        self.calls.append(("delete_client", hardware_address))


def later(name):
    async def call(self, *arguments):
        await asyncio.sleep(0)
        return getattr(Double, name)(self, *arguments)

    return call


CALLS = ("control", "new_pkt", "pkt_drop", "pkt_send", "address_del", "address_offer", "handle_options")
Slow = type("Slow", (Double,), {name: later(name) for name in (*CALLS, "delete_client")})
"""The same when each call takes a while, as one to another process does."""

EXPECTED = [
    *(("new_pkt", 0xC0000201), ("handle_options", "token"), ("pkt_send", "token"), ("pkt_drop", 11, "token")),
    ("new_pkt", 0xC0000201),
    ("handle_options", "token"),
    ("address_offer", 0x30000001, "token"),
    ("pkt_send", "token"),
    ("pkt_drop", 11, "token"),
]


def test_what_answers_at_once(clock):
    double: Callouts = Double()
    ack = Client(make_engine(plugins=[CalloutPlugin(double)]), clock).join()
    assert ack.options.raw[224] == b"trap"
    assert double.calls == EXPECTED


async def test_what_answers_later(clock):
    double = Slow()
    client = AsyncClient(make_engine(plugins=[CalloutPlugin(double)]), clock)
    ack = await client.join()
    assert ack.options.raw[224] == b"trap"
    assert double.calls == EXPECTED
    await client.release()
    assert [call[0] for call in double.calls[9:]] == [
        *("new_pkt", "handle_options", "delete_client", "address_del", "pkt_drop")
    ]


async def test_a_veto_that_comes_later(clock):
    double = Slow(process=False)
    client = AsyncClient(make_engine(plugins=[CalloutPlugin(double)]), clock)
    assert await client.discover() is None
    assert client.exchange.vetoed
    assert double.calls == [("new_pkt", 0xC0000201), ("pkt_drop", 11, "token")]


async def test_control_of_what_answers_later():
    double = Slow()
    hooks = Hooks([CalloutPlugin(double)])
    await hooks.control(None, ControlCode.START)
    await hooks.control(None, ControlCode.STOP)
    assert double.calls == [("control", 1), ("control", 2)]


@pytest.mark.parametrize("kind", [Double, Slow])
@pytest.mark.parametrize(("on_fault", "answered"), [(None, True), ("open", True), ("closed", False)])
async def test_faults(clock, kind, on_fault, answered):
    plugin = CalloutPlugin(kind(fault=True))
    given = plugin if on_fault is None else Plugin(plugin, policy=ON_FAULT[on_fault])
    client = AsyncClient(make_engine(plugins=[given]), clock)
    assert (await client.discover() is not None) == answered


def test_a_callout_that_always_faults_hears_processed_for_every_packet(clock):
    """Also when its other hooks are not called any more."""
    double = Double(fault=True)
    real = double.pkt_drop

    def faulty(*arguments):
        real(*arguments)
        raise OSError("access violation")

    double.pkt_drop = faulty
    client = Client(make_engine(plugins=[CalloutPlugin(double)]), clock)
    for _ in range(30):
        client.discover()
    assert len([call for call in double.calls if call[0] == "new_pkt"]) == 10
    assert len([call for call in double.calls if call[0] == "pkt_drop"]) == 30


def test_only_hooks_that_are_registered_exist(clock):
    plugin = CalloutPlugin(Double(hooks=frozenset({"dhcp_pkt_send"})))
    assert {name for name in dir(plugin) if name.startswith("dhcp_")} == {"dhcp_control", "dhcp_pkt_send"}
    assert not make_engine(plugins=[plugin]).hooks.dhcp_pkt_drop


@pytest.mark.parametrize("kind", [Library, Child])
def test_a_library_is_callouts_and_so_is_a_child(kind):
    for name in (*CALLS, "delete_client"):
        theirs = inspect.signature(getattr(kind, name)).parameters
        assert list(theirs) == list(inspect.signature(getattr(Callouts, name)).parameters)


# ── what it is made of ──


@pytest.mark.parametrize("path", sorted(OURS), ids=lambda path: path.stem)
def test_callouts_use_public_names_of_aiodhcp_and_their_own_only(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
        if isinstance(node, ast.ImportFrom) and node.module == "aiodhcp":
            assert names <= set(aiodhcp.__all__)
        elif isinstance(node, ast.ImportFrom) and node.module in PUBLIC:
            assert names <= set(importlib.import_module(node.module).__all__) & set(aiodhcp.__all__)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("aiodhcp"):
            assert node.module.startswith("aiodhcp.callout")
        elif isinstance(node, ast.Import):
            assert not any(name.startswith("aiodhcp") for name in names)


def test_what_calls_the_hooks_does_not_know_how_the_library_is_reached():
    for name in ("plugin", "callouts", "options"):
        words = (PACKAGE / f"{name}.py").read_text()
        assert "import ctypes" not in words
        assert "callout.library" not in words


def test_no_type_has_another_width_elsewhere():
    """The wintypes and long are wider where the system is not Windows, and text ends at a NUL."""
    for path in PACKAGE.glob("*.py"):
        used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not used & {"wintypes", "c_ulong", "c_long", "c_int", "c_uint", "c_char_p", "c_wchar", "c_wchar_p"}
