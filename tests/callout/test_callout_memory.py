"""The 4 KiB in which a callout is given a packet: all of them can be written to, and nothing behind them can."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from aiodhcp.callout import Library
from aiodhcp.callout.abi import SERVER_OPTIONS
from aiodhcp.callout.callouts import CalloutFault
from aiodhcp.callout.memory import GuardedMemory, Memory, PlainMemory
from aiodhcp.callout.options import Located, locate

INLINE = pytest.mark.parametrize("mode", ["inline"], indirect=True)
KINDS = pytest.mark.parametrize("kind", [PlainMemory, GuardedMemory])
HEAD = bytes((1, 1, 6, 0)) + bytes(232) + b"\x63\x82\x53\x63"
PACKET = HEAD + b"\x0c\2pc\x32\4\n\0\0\x09\x0c\3-17\x3c\2AB\xff"
"""With a host name in two pieces."""


# ── memory ──


@KINDS
def test_a_packet_has_nuls_behind_it_and_nothing_of_the_one_before(kind):
    memory: Memory = kind()
    assert memory.put(b"\1" * 4096) == memory.address
    assert ctypes.string_at(memory.address, 4096) == b"\1" * 4096
    assert memory.put(b"\2\3") == memory.address
    assert ctypes.string_at(memory.address, 4096) == b"\2\3" + bytes(4094)


@KINDS
def test_what_is_behind_a_packet_is_not_in_its_way(kind):
    memory: Memory = kind()
    memory.put(b"\1" * 4096)
    behind = memory.put_behind(b"\2" * 4096)
    assert ctypes.string_at(behind, 4096) == b"\2" * 4096
    assert ctypes.string_at(memory.address, 4096) == b"\1" * 4096
    assert not -4096 < behind - memory.address < 4096


@KINDS
def test_two_memories_are_two(kind):
    one, other = kind(), kind()
    one.put(b"\1" * 4096)
    other.put(b"\2" * 4096)
    assert ctypes.string_at(one.address, 4096) == b"\1" * 4096


TOUCH = """\
import ctypes, sys
from aiodhcp.callout.memory import GuardedMemory
memory = GuardedMemory()
memory.put_behind(bytes(4096))
address = memory.put(b"packet")
ctypes.memset(address, 238, 4096)
assert ctypes.string_at(address, 4096) == b"\\xee" * 4096
print("all of it", flush=True)
{}
print("more", flush=True)
"""


@pytest.mark.parametrize(
    "what",
    [
        "ctypes.memset(address + 4096, 238, 1)",
        "ctypes.string_at(address + 4096, 1)",
        "ctypes.memset(address, 0, 70000)",
    ],
    ids=["write", "read", "write much"],
)
def test_who_goes_past_4096_octets_ends_the_process_at_once(what):
    command = [sys.executable, "-c", TOUCH.format(what)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split("\n") == ["all of it", ""]
    # Where a fault is an error in Python, it ends by that.
    assert done.returncode == (1 if sys.platform == "win32" else -11)


# ── a callout in it ──


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("process", "callout traps: dhcp_new_pkt: its process was killed by SIGSEGV"),
        ("wine", r"callout traps: dhcp_new_pkt: .*status 80"),
    ],
    indirect=["mode"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="there Python makes an error of it")
def test_a_callout_that_goes_past_them_ends_its_process_at_once(trap, expected):
    callout = trap("new_pkt:overrun")
    with pytest.raises(CalloutFault, match=expected):
        callout.call("new_pkt", PACKET, 0)
    # It is there again, and may write to all of it.
    assert callout.call("pkt_send", PACKET, 0, None).packet == PACKET
    assert callout.entries == [1, 1]


def test_a_callout_may_write_to_all_of_them_whatever_the_hook(trap):
    hooks = {
        "pkt_drop": (11, 0, None),
        "address_del": (0x20000001, 0, 0, None),
        "address_offer": (0x30000001, 0, 0, 0x30000004, 60, None),
        "handle_options": (None,),
    }
    callout = trap(" ".join(f"{hook}:scribble" for hook in hooks))
    for hook, arguments in hooks.items():
        callout.call(hook, PACKET, *arguments)
        callout.call("pkt_send", PACKET, 0, None)
        assert callout.packet == PACKET.ljust(4096, b"\0")


@pytest.mark.parametrize("size", [240, 262, 4095, 4096])
def test_packets_of_any_size_that_there_may_be(trap, size):
    packet = HEAD.ljust(size, b"\1")
    callout = trap()
    assert callout.call("new_pkt", packet, 0xC0000201) == ((packet, ""), None, True)
    assert callout.told("new_pkt")[0]["size"] == str(size)
    assert callout.packet == packet.ljust(4096, b"\0")


# ── what is in pieces ──


def field(located: Located, name: str) -> int | None:
    return dict(zip([each.name for each in SERVER_OPTIONS], located.values, strict=True))[name]


@INLINE
@KINDS
def test_pointers_lead_into_the_packet_or_behind_it(trap, kind):
    """Read where they point to, which is here only."""
    memory = kind()
    callout = trap("options", memory=memory)
    located = locate(PACKET)
    callout.callouts.handle_located(located, len(PACKET), None)
    options = callout.options
    assert options.VendorClass == memory.address + field(located, "VendorClass")
    assert ctypes.string_at(options.VendorClass, options.VendorClassLength) == b"AB"
    assert options.ClientHardwareAddress == memory.address + 28
    assert not memory.address <= options.MachineName < memory.address + 4096
    assert ctypes.string_at(options.MachineName, options.MachineNameLength) == b"pc-17"
    assert options.SubnetMask is None


@INLINE
def test_values_are_taken_as_they_are_located(trap):
    """Whoever located them may have been another process: nothing is looked for again."""
    callout = trap("options")
    assert isinstance(callout.callouts, Library)
    values = {"MachineName": 240, "MachineNameLength": 3, "VendorClass": 300, "VendorClassLength": 2, "DNSFlags": 9}
    located = Located(
        HEAD.ljust(300, b"a") + b"zz",
        tuple(values.get(each.name, None if each.is_pointer else 0) for each in SERVER_OPTIONS),
    )
    callout.callouts.handle_located(located, 300, None)
    assert callout.told("handle_options") == [{"size": "300", "reserved": "0", "context": "0"}]
    assert callout.packet == HEAD.ljust(300, b"a").ljust(4096, b"\0")
    for line in (f"MachineName {b'aaa'.hex()}", f"VendorClass {b'zz'.hex()}", "DNSFlags 9", "MessageType NULL/1"):
        assert line in callout.lines


def test_a_packet_full_of_pieces_is_put_together(trap):
    packet = HEAD + (b"\x0c\xff" + b"a" * 255) * 14 + b"\x0c\1b\xff"
    callout = trap("options")
    callout.call("handle_options", packet, None)
    assert f"MachineName {b'a'.hex() * 14 * 255}{b'b'.hex()}" in callout.lines
    assert callout.packet == packet.ljust(4096, b"\0")
