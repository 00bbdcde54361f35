"""host.c under Wine, frame by frame, and the way to start it."""

from __future__ import annotations

import importlib.util
import logging
import os
import selectors
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wine_kit

from aiodhcp import ConfigError
from aiodhcp.callout import wine
from aiodhcp.callout.abi import BUFFER_SIZE, CALLOUT_TABLE, SERVER_OPTIONS, offsets
from aiodhcp.callout.binaries import read_binary
from aiodhcp.callout.frames import CALL, HOOKS, NULL, OPTIONS, RETURN, State, unpack_hooks
from aiodhcp.callout.options import locate
from aiodhcp.callout.wine import COMPILE, EXITS, SOURCE, WineHost

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "callouts"
MINGW = "x86_64-w64-mingw32-gcc"
MISSING = wine_kit.is_there(MINGW)
needs_wine = pytest.mark.skipif(bool(MISSING), reason=MISSING or "there is Wine")
FAULT_CODE = next(code for code, words in EXITS.items() if words == "it faulted")
PATIENCE = 30.0
"""Seconds for what takes some milliseconds."""

PACKET = bytes([1, 1, 6, 0]) + bytes(24) + bytes.fromhex("000a0c0d1254") + bytes(202) + b"\x63\x82\x53\x63"
DISCOVER = PACKET + bytes([53, 1, 1, 255])

TELL = r"""
#include "callout.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static BYTE elsewhere[2 * CALLOUT_BUFFER_SIZE];

static BOOL is(const char *word)
{
    const char *words = getenv("TELL");
    return words != NULL && strstr(words, word) != NULL;
}

static void packet(const BYTE *octets, DWORD size)
{
    DWORD i, rest = 0;
    for (i = size; i < CALLOUT_BUFFER_SIZE; i++)
        rest |= octets[i];
    fprintf(stderr, " size=%u first=%02x last=%02x rest=%u", (unsigned)size, octets[0], octets[size - 1],
            (unsigned)rest);
}

static DWORD CALLBACK control(DWORD dwControlCode, LPVOID lpReserved)
{
    fprintf(stderr, "control %u %p\n", (unsigned)dwControlCode, lpReserved);
    return 0;
}

static void change(LPBYTE *Packet, DWORD *PacketSize)
{
    DWORD size = *PacketSize;
    if (is("append"))
        (*Packet)[(*PacketSize)++] = 0xaa;
    if (is("full")) {
        memset(*Packet + size, 0xaa, CALLOUT_BUFFER_SIZE - size);
        *PacketSize = CALLOUT_BUFFER_SIZE;
    }
    if (is("edit"))
        (*Packet)[10] = 0xaa;
    if (is("elsewhere"))
        *Packet = memcpy(elsewhere, *Packet, size);
    if (is("nowhere"))
        *Packet = NULL;
    if (is("huge"))
        *PacketSize = CALLOUT_BUFFER_SIZE + 1;
    if (is("empty"))
        *PacketSize = 0;
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    fprintf(stderr, "new_pkt");
    packet(*Packet, *PacketSize);
    fprintf(stderr, " ip=%08x %p context=%p process=%d\n", (unsigned)IpAddress, Reserved, *PktContext, *ProcessIt);
    *PktContext = (LPVOID)(uintptr_t)0xfedcba9876543210u;
    *ProcessIt = is("veto") ? 0 : is("two") ? 2 : *ProcessIt;
    change(Packet, PacketSize);
    return is("seven") ? 7 : 0;
}

static DWORD CALLBACK pkt_drop(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    fprintf(stderr, "pkt_drop");
    packet(*Packet, *PacketSize);
    fprintf(stderr, " code=%08x ip=%08x %p context=%p\n", (unsigned)ControlCode, (unsigned)IpAddress, Reserved,
            PktContext);
    change(Packet, PacketSize);
    return 0;
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    fprintf(stderr, "pkt_send");
    packet(*Packet, *PacketSize);
    fprintf(stderr, " code=%08x ip=%08x %p context=%p\n", (unsigned)ControlCode, (unsigned)IpAddress, Reserved,
            PktContext);
    change(Packet, PacketSize);
    return 0;
}

static DWORD CALLBACK address_del(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                  DWORD AltAddress, LPVOID Reserved, LPVOID PktContext)
{
    fprintf(stderr, "address_del");
    packet(Packet, PacketSize);
    fprintf(stderr, " code=%08x ip=%08x address=%08x %p context=%p\n", (unsigned)ControlCode, (unsigned)IpAddress,
            (unsigned)AltAddress, Reserved, PktContext);
    return 0;
}

static DWORD CALLBACK address_offer(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                    DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved,
                                    LPVOID PktContext)
{
    fprintf(stderr, "address_offer");
    packet(Packet, PacketSize);
    fprintf(stderr, " code=%08x ip=%08x address=%08x type=%08x time=%u %p context=%p\n", (unsigned)ControlCode,
            (unsigned)IpAddress, (unsigned)AltAddress, (unsigned)AddrType, (unsigned)LeaseTime, Reserved, PktContext);
    return 0;
}

static DWORD CALLBACK delete_client(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
                                    DWORD ClientType)
{
    fprintf(stderr, "delete_client");
    packet(HwAddress, HwAddressLength);
    fprintf(stderr, " ip=%08x %u %u\n", (unsigned)IpAddress, (unsigned)Reserved, (unsigned)ClientType);
    return 0;
}

static void text(const char *name, const void *octets, DWORD length)
{
    DWORD i;
    fprintf(stderr, "%s ", name);
    for (i = 0; octets != NULL && i < length; i++)
        fprintf(stderr, "%02x", ((const BYTE *)octets)[i]);
    fprintf(stderr, octets == NULL ? "NULL\n" : "\n");
}

static DWORD CALLBACK handle_options(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
                                     LPDHCP_SERVER_OPTIONS o)
{
    fprintf(stderr, "handle_options");
    packet(Packet, PacketSize);
    fprintf(stderr, " %p context=%p\n", Reserved, PktContext);
    if (is("options")) {
@TEXTS@    }
    return 0;
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    static const DHCP_CALLOUT_TABLE zeroed;
    fprintf(stderr, "entry version=%u zeroed=%d\n", (unsigned)CalloutVersion,
            memcmp(CalloutTbl, &zeroed, sizeof zeroed) == 0);
    if (is("chain")) {
        int i;
        for (i = 0; i < 2 || ChainDlls[i - 2] != 0 || ChainDlls[i - 1] != 0; i++)
            fprintf(stderr, "%04x", ChainDlls[i]);
        fprintf(stderr, "\n");
    }
    memset(CalloutTbl, 0xee, sizeof *CalloutTbl);
    if (CalloutVersion != 0 || is("refuse"))
        return 50 + CalloutVersion;
    CalloutTbl->DhcpControlHook = control;
    CalloutTbl->DhcpNewPktHook = new_pkt;
    CalloutTbl->DhcpPktDropHook = pkt_drop;
    CalloutTbl->DhcpPktSendHook = pkt_send;
    CalloutTbl->DhcpAddressDelHook = address_del;
    CalloutTbl->DhcpAddressOfferHook = address_offer;
    CalloutTbl->DhcpHandleOptionsHook = handle_options;
    CalloutTbl->DhcpDeleteClientHook = delete_client;
    CalloutTbl->DhcpExtensionHook = NULL;
    CalloutTbl->DhcpReservedHook = NULL;
    return 0;
}
"""

LENGTHS = {
    "ParameterRequestList": "ParameterRequestListLength",
    "MachineName": "MachineNameLength",
    "ClientHardwareAddress": "ClientHardwareAddressLength",
    "ClassIdentifier": "ClassIdentifierLength",
    "VendorClass": "VendorClassLength",
    "DNSName": "DNSNameLength",
    "DSDomainName": "DSDomainNameLen",
}


def length_of(name: str) -> str:
    """How C says how many octets a pointer of the options points to."""
    return f"o->{LENGTHS[name]}" if name in LENGTHS else "1" if name in ("MessageType", "OverlayFields") else "4"


def texts() -> str:
    """C that prints every field of the options."""
    lines = []
    for each in SERVER_OPTIONS:
        if each.is_pointer:
            lines.append(f'        text("{each.name}", o->{each.name}, {length_of(each.name)});\n')
        else:
            lines.append(f'        fprintf(stderr, "{each.name} %u\\n", (unsigned)o->{each.name});\n')
    return "".join(lines)


def compile_dll(source: Path, target: Path, *flags: str) -> Path:
    wanted = ("-std=c99", "-D__USE_MINGW_ANSI_STDIO=1", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
    command = [MINGW, *wanted, "-shared", "-static-libgcc", f"-I{EXAMPLES}", *flags, "-o", target, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return target


@pytest.fixture(scope="module")
def dll(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``dll("logger")``: an example, faults.c or "tell"; ``dll("other", text)``: what is in the text."""
    directory = tmp_path_factory.mktemp("dlls")

    def dll(name: str, text: str = "", *flags: str) -> Path:
        target = directory / f"{name}.dll"
        if not target.exists():
            source = next((path for path in (HERE / f"{name}.c", EXAMPLES / f"{name}.c") if path.exists()), None)
            if source is None or text:
                source = directory / f"{name}.c"
                source.write_text(text or TELL.replace("@TEXTS@", texts()))
            compile_dll(source, target, *flags)
        return target

    return dll


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> WineHost:
    """In the prefix of the tests."""
    host = WineHost(wine_kit.wine_prefix(), tmp_path_factory.mktemp("cache"))
    host.prepare()
    return host


class Running:
    """A process of host.exe, and a client of it that waits for each return."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)

    def read(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            assert self._selector.select(PATIENCE), "nothing to read"
            more = os.read(self.process.stdout.fileno(), size - len(got))
            if not more:
                raise EOFError(got)
            got += more
        return got

    def returned(self) -> tuple[tuple[int, ...], bytes]:
        """All but the length, and what follows."""
        length, *values = RETURN.unpack(self.read(RETURN.size))
        return tuple(values), self.read(length)

    def write(self, octets: bytes) -> None:
        self.process.stdin.write(octets)

    def call(self, hook: str, octets: bytes = b"", **more: Any) -> tuple[tuple[int, ...], bytes]:
        self.write(frame(hook, octets, **more))
        return self.returned()

    def end(self) -> tuple[int, list[str]]:
        """End its input; the exit code, and the lines on stderr."""
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        return code, self.process.stderr.read().decode().splitlines()

    def kill(self) -> None:
        self._selector.close()
        with self.process:
            self.process.kill()


def frame(
    hook: str, octets: bytes = b"", before: bytes = b"", behind: bytes = b"", interface=0, code=0, address=0,
    client_type=0, lease_time=0, context=0,
) -> bytes:  # fmt: skip
    follows = before + octets + behind
    numbers = (HOOKS.index(hook), len(octets), interface, code, address, client_type, lease_time, context)
    return CALL.pack(len(follows), *numbers) + follows


@pytest.fixture
def run(host: WineHost) -> Iterator[Callable[..., Running]]:
    """``run(path, TELL="veto")``: a process with a DLL."""
    begun = []

    def run(path: Path, *, versions=(0,), chain=(), **environment: str) -> Running:
        begun.append(Running(host.command(versions, path, chain), host.environment() | environment))
        return begun[-1]

    yield run
    for each in begun:
        each.kill()


@pytest.fixture
def tell(run, dll) -> Callable[..., Running]:
    """``tell("veto")``: a process with the DLL that tells, loaded."""

    def tell(words: str = "", **more: Any) -> Running:
        running = run(dll("tell"), TELL=words, **more)
        (state, version, *_, hooks), words = running.returned()
        assert (state, version, unpack_hooks(hooks), words) == (State.KEPT, 0, frozenset(HOOKS), b"")
        return running

    return tell


# ── host.c as compilers have it ──


@pytest.mark.parametrize("compiler", ["mingw", "zig"])
def test_host_c_compiles_without_a_warning_and_has_the_frames_of_python(compiler, tmp_path):
    found = {"mingw": shutil.which(MINGW), "zig": shutil.which("zig")}[compiler]
    command = [found, "cc", *wine.TARGET] if compiler == "zig" else [found]
    if found is None and compiler == "zig" and importlib.util.find_spec("ziglang") is not None:
        command = [sys.executable, "-m", "ziglang", "cc", *wine.TARGET]
    elif found is None:
        pytest.skip(f"{compiler} is not installed")
    *found, size = offsets([each.type for each in SERVER_OPTIONS], 8)
    expected = {
        "sizeof(CALL)": CALL.size,
        "offsetof(CALL, context)": CALL.size - 8,
        "sizeof(RETURN)": RETURN.size,
        "offsetof(RETURN, context)": RETURN.size - 8,
        "OPTIONS_SIZE": OPTIONS.size,
        "NOWHERE": NULL,
        "HOOKS": len(HOOKS),
        "sizeof(DHCP_SERVER_OPTIONS)": size,
        "sizeof(DHCP_CALLOUT_TABLE)": 8 * len(CALLOUT_TABLE),
        "BUFFER_SIZE": BUFFER_SIZE,
        **{state.name if state.name != "NULL" else "IS_NULL": state.value for state in State},
        **{hook.removeprefix("dhcp_").upper(): at for at, hook in enumerate(HOOKS)},
        "EXIT_FAULT": FAULT_CODE,
    }
    lines = [f'#include "{SOURCE}"\n', *(f'_Static_assert({c} == {value}, "{c}");\n' for c, value in expected.items())]
    check = tmp_path / "check.c"
    check.write_text("".join(lines))
    # C11 has static assertions.
    flags = ["-std=c11" if flag == "-std=c99" else flag for flag in COMPILE]
    done = subprocess.run(
        [*command, *flags, "-Werror", "-o", tmp_path / "host.exe", check], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr


def test_every_exit_code_of_host_c_has_its_words():
    lines = [line.split() for line in SOURCE.read_text().splitlines() if line.startswith("#define EXIT_")]
    assert {int(line[2]) for line in lines} == {0, *EXITS}


# ── calls ──


@needs_wine
def test_every_hook_is_given_what_the_frame_says(tell):
    running = tell()
    given = {"interface": 0x7F000001, "context": 0x123456789ABCDEF0}
    kept = (State.KEPT, 0, 1, len(DISCOVER), 0)
    assert running.call("dhcp_control", code=1) == ((State.KEPT, 0, 1, 0, 0, 0), b"")
    assert running.call("dhcp_new_pkt", DISCOVER, **given) == ((*kept, 0xFEDCBA9876543210), b"")
    assert running.call("dhcp_pkt_drop", DISCOVER, code=11, **given) == ((*kept, given["context"]), b"")
    assert running.call("dhcp_pkt_send", DISCOVER, **given) == ((*kept, given["context"]), b"")
    more = {"address": 0x0A000009} | given
    assert running.call("dhcp_address_del", DISCOVER, code=0x20000004, **more) == ((*kept, given["context"]), b"")
    numbers = {"code": 0x30000001, "client_type": 0x30000004, "lease_time": 3600} | more
    assert running.call("dhcp_address_offer", DISCOVER, **numbers) == ((*kept, given["context"]), b"")
    options = OPTIONS.pack(*[NULL if each.is_pointer else 0 for each in SERVER_OPTIONS])
    assert running.call("dhcp_handle_options", DISCOVER, before=options, **given) == ((*kept, given["context"]), b"")
    address = bytes.fromhex("000a0c0d1254")
    assert running.call("dhcp_delete_client", address, interface=0x0A000009) == ((State.KEPT, 0, 1, 6, 0, 0), b"")
    code, lines = running.end()
    packet, nothing = "size=244 first=01 last=ff rest=0", "0" * 16
    assert lines == [
        "entry version=0 zeroed=1",
        f"control 1 {nothing}",
        f"new_pkt {packet} ip=7f000001 {nothing} context={nothing} process=1",
        f"pkt_drop {packet} code=0000000b ip=7f000001 {nothing} context=123456789abcdef0",
        f"pkt_send {packet} code=10000000 ip=7f000001 {nothing} context=123456789abcdef0",
        f"address_del {packet} code=20000004 ip=7f000001 address=0a000009 {nothing} context=123456789abcdef0",
        f"address_offer {packet} code=30000001 ip=7f000001 address=0a000009 type=30000004 time=3600 {nothing} "
        "context=123456789abcdef0",
        f"handle_options {packet} {nothing} context=123456789abcdef0",
        "delete_client size=6 first=00 last=54 rest=0 ip=0a000009 0 0",
        f"control 2 {nothing}",
    ]
    assert code == 0


REQUESTS = {
    "nothing": b"",
    "much": b"".join(
        bytes([code, len(value)]) + value
        for code, value in {
            53: b"\3",
            1: bytes([255, 255, 255, 0]),
            50: bytes([10, 0, 0, 9]),
            51: bytes([0, 0, 14, 16]),
            3: bytes([10, 0, 0, 1, 10, 0, 0, 2]),
            54: bytes([10, 0, 0, 1]),
            55: bytes([1, 3, 6]),
            12: b"name",
            60: b"MSFT 5.0",
            77: b"class",
            81: b"\5\0\0name.example",
            43: bytes([94, 0, 95, 3]) + b"lab",
        }.items()
    ),
    "in pieces": bytes([55, 200])
    + bytes(range(200))
    + bytes([60, 2])
    + b"ab"
    + bytes([55, 100])
    + bytes(100)
    + b"<\2cd",
    "of no length": bytes([12, 0, 81, 3, 1, 0, 0]),
}


@needs_wine
@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
def test_the_options_structure_points_to_what_was_located(tell, options):
    request = PACKET + options + b"\xff"
    octets, values = locate(request)
    running = tell("options")
    before = OPTIONS.pack(*[NULL if value is None else value for value in values])
    running.call("dhcp_handle_options", request, before=before, behind=octets[len(request) :])
    lines = running.end()[1][2:]
    named = dict(zip((each.name for each in SERVER_OPTIONS), values, strict=True))
    expected = []
    for each in SERVER_OPTIONS:
        value = named[each.name]
        if value is not None and each.is_pointer:
            length = named[LENGTHS[each.name]] if each.name in LENGTHS else int(length_of(each.name))
            value = octets[value : value + length].hex()
        expected.append(f"{each.name} {'NULL' if value is None else value}".rstrip())
    assert [line.rstrip() for line in lines] == expected


@needs_wine
@pytest.mark.parametrize("hook", ["dhcp_new_pkt", "dhcp_pkt_send"])
@pytest.mark.parametrize(
    ("words", "state", "size", "packet"),
    [
        ("append", State.CHANGED, 245, DISCOVER + b"\xaa"),
        ("full", State.CHANGED, 4096, DISCOVER.ljust(4096, b"\xaa")),
        ("edit", State.CHANGED, 244, DISCOVER[:10] + b"\xaa" + DISCOVER[11:]),
        ("edit elsewhere", State.CHANGED, 244, DISCOVER[:10] + b"\xaa" + DISCOVER[11:]),
        ("elsewhere", State.KEPT, 244, b""),
        ("nowhere", State.NULL, 244, b""),
        ("huge", State.TOO_LONG, 4097, b""),
        ("nowhere huge", State.TOO_LONG, 4097, b""),
        ("empty", State.CHANGED, 0, b""),
    ],
)
def test_what_a_callout_did_to_a_packet_is_returned(tell, hook, words, state, size, packet):
    running = tell(words)
    for _ in range(2):
        (found, _, _, length, *_), octets = running.call(hook, DISCOVER)
        assert (found, length, octets) == (state, size, packet)
    # The buffer is a fresh one every time. Wine may have something to say between the lines.
    told = [line for line in running.end()[1] if "rest=" in line]
    assert len(told) == 2
    assert all("rest=0" in line for line in told)


@needs_wine
def test_what_other_hooks_do_to_a_packet_is_not(tell):
    running = tell("edit append elsewhere")
    assert running.call("dhcp_pkt_drop", DISCOVER) == ((State.KEPT, 0, 1, 244, 0, 0), b"")


@needs_wine
@pytest.mark.parametrize(("words", "result", "process"), [("veto", 0, 0), ("two", 0, 1), ("seven veto", 7, 0)])
def test_a_veto_and_what_a_hook_returns(tell, words, result, process):
    assert tell(words).call("dhcp_new_pkt", DISCOVER)[0][1:3] == (result, process)


@needs_wine
def test_a_hook_that_is_not_registered_does_nothing(run, dll):
    running = run(dll("option_editor"), CALLOUT_OPTION="15=lab.example")
    (*_, hooks), _ = running.returned()
    assert unpack_hooks(hooks) == {"dhcp_pkt_send"}
    for hook in HOOKS:
        if hook not in ("dhcp_pkt_send", "dhcp_handle_options"):
            assert running.call(hook, DISCOVER, code=1)[0][:4] == (State.KEPT, 0, 1, 244)
    (state, *_), reply = running.call("dhcp_pkt_send", DISCOVER)
    assert state == State.CHANGED
    assert reply == DISCOVER[:-1] + b"\x0f\x0blab.example\xff"
    assert running.end()[0] == 0


@needs_wine
def test_a_call_that_comes_in_pieces(tell):
    running = tell("append")
    for octet in frame("dhcp_new_pkt", DISCOVER.ljust(4095, b"x")):
        running.write(bytes([octet]))
    assert running.returned()[1] == DISCOVER.ljust(4095, b"x") + b"\xaa"


@needs_wine
@pytest.mark.parametrize("size", [244, 1001, 4000])
def test_calls_that_come_at_once(run, dll, size):
    running = run(dll("mac_filter"), CALLOUT_MAC_LIST="nothing")
    running.returned()
    # No more at once than the pipes hold, in all more than the host has room for.
    for _ in range(100):
        running.write(frame("dhcp_pkt_drop", bytes(size)) * 12 + frame("dhcp_delete_client", bytes(7)))
        assert [running.returned()[0][3] for _ in range(13)] == [size] * 12 + [7]


@needs_wine
def test_what_is_no_call_ends_it(tell):
    for octets in (
        b"\xff" * CALL.size,
        CALL.pack(0, len(HOOKS), 0, 0, 0, 0, 0, 0, 0),
        CALL.pack(4097, 1, 4097, 0, 0, 0, 0, 0, 0),
        CALL.pack(243, 1, 244, 0, 0, 0, 0, 0, 0),
        CALL.pack(245, 1, 244, 0, 0, 0, 0, 0, 0),
    ):
        running = tell()
        running.write(octets)
        with pytest.raises(EOFError):
            running.returned()
        assert EXITS[running.process.wait(PATIENCE)] == "host.exe was sent what is no call"


@needs_wine
def test_a_callout_that_prints_and_reads_disturbs_nothing(run, dll):
    running = run(dll("faults"), CALLOUT_FAULT="load:print entry:print start:print new_pkt:print")
    assert running.returned()[0][0] == State.KEPT
    assert running.call("dhcp_control", code=1) == ((State.KEPT, 0, 1, 0, 0, 0), b"")
    running.write(frame("dhcp_new_pkt", DISCOVER) * 3)
    assert [running.returned()[0][0] for _ in range(3)] == [State.KEPT] * 3
    code, lines = running.end()
    assert code == 0
    printed = ["load prints", "entry prints", "control 1", "start prints", *["new_pkt prints"] * 3, "control 2"]
    assert lines == printed


# ── the end ──


@needs_wine
def test_the_end_of_the_input_is_told_to_a_callout_that_was_started(tell):
    running = tell()
    running.call("dhcp_control", code=1)
    running.call("dhcp_control", code=3)
    code, lines = running.end()
    assert (code, [line.split()[1] for line in lines[1:]]) == (0, ["1", "3", "2"])


@needs_wine
@pytest.mark.parametrize("codes", [(), (1, 2)])
def test_stop_is_not_told_to_others(tell, codes):
    running = tell()
    for code in codes:
        running.call("dhcp_control", code=code)
    # It goes on after STOP.
    running.call("dhcp_pkt_drop", DISCOVER)
    code, lines = running.end()
    assert (code, [line.split()[1] for line in lines if line.startswith("control")]) == (0, [str(c) for c in codes])


@needs_wine
def test_a_call_that_is_cut_off_is_the_end(tell):
    running = tell()
    running.call("dhcp_control", code=1)
    running.write(frame("dhcp_new_pkt", DISCOVER)[:100])
    code, lines = running.end()
    assert (code, lines[-1].split()[:2]) == (0, ["control", "2"])


@needs_wine
@pytest.mark.parametrize("behind", [0, 20])
def test_a_callout_that_hangs_does_not_outlive_the_server(run, dll, behind):
    running = run(dll("faults"), CALLOUT_FAULT="new_pkt:hang")
    running.returned()
    running.write(frame("dhcp_new_pkt", DISCOVER) + frame("dhcp_pkt_drop", bytes(1000)) * behind)
    began = time.monotonic()
    code, lines = running.end()
    assert EXITS[code] == "it did not return after the server was gone"
    assert 4 < time.monotonic() - began < 15
    assert lines == ["the input ended, and the callout doesn't return"]


@needs_wine
def test_to_kill_the_process_ends_the_callout(run, dll):
    running = run(dll("faults"), CALLOUT_FAULT="new_pkt:hang")
    running.returned()
    running.write(frame("dhcp_new_pkt", DISCOVER))
    time.sleep(0.1)
    began = time.monotonic()
    running.process.kill()
    with pytest.raises(EOFError):  # nobody has the pipe any more
        running.read(1)
    assert time.monotonic() - began < 1
    assert running.process.wait(PATIENCE) == -9


# ── faults ──

FAULTS = {
    "null_write": "access violation (0xc0000005), writing 0x0",
    "overrun": "access violation (0xc0000005), writing 0x",
    "divide": "division by zero (0xc0000094)",
    "stack": "stack overflow (0xc00000fd)",
    "raise": "exception (0xe0001234)",
    "wild_pointer": "access violation (0xc0000005), reading 0x1",
}


@needs_wine
@pytest.mark.parametrize(("what", "words"), FAULTS.items(), ids=FAULTS)
def test_a_fault_ends_it_at_once_and_is_named(run, dll, what, words):
    running = run(dll("faults"), CALLOUT_FAULT=f"new_pkt:{what}")
    running.returned()
    assert running.call("dhcp_pkt_drop", DISCOVER)[0][0] == State.KEPT
    began = time.monotonic()
    with pytest.raises(EOFError):
        running.call("dhcp_new_pkt", DISCOVER)
    assert time.monotonic() - began < 1
    code, lines = running.end()
    assert code == FAULT_CODE
    assert len(lines) == 1
    assert lines[0].startswith(words)
    assert lines[0].endswith("in dhcp_new_pkt")
    if what not in ("raise", "wild_pointer"):
        assert "(faults.dll+0x" in lines[0]


@needs_wine
@pytest.mark.parametrize("hook", sorted(set(HOOKS) - {"dhcp_handle_options"}))
def test_any_hook_can_fault(run, dll, hook):
    running = run(dll("faults"), CALLOUT_FAULT=f"{hook.removeprefix('dhcp_')}:overrun")
    running.returned()
    with pytest.raises(EOFError):
        running.call(hook, DISCOVER)
    code, lines = running.end()
    assert (code, lines[-1].split(" in ")[-1]) == (FAULT_CODE, hook)


@needs_wine
@pytest.mark.parametrize(("what", "expected"), [("exit", 7), ("abort", 3)])
@pytest.mark.parametrize("where", ["new_pkt", "entry", "load"])
def test_a_callout_that_ends_the_process(run, dll, where, what, expected):
    running = run(dll("faults"), CALLOUT_FAULT=f"{where}:{what}")
    if where == "new_pkt":
        running.returned()
        running.write(frame("dhcp_new_pkt", DISCOVER))
    with pytest.raises(EOFError):
        running.returned()
    assert running.process.wait(PATIENCE) == expected


@needs_wine
@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("entry:null_write", "access violation (0xc0000005), writing 0x0 at "),
        ("entry:stack", "stack overflow (0xc00000fd) at "),
        ("load:null_write", "can't be loaded: "),
    ],
)
def test_a_fault_while_it_is_loaded_is_the_return(run, dll, where, words):
    running = run(dll("faults"), CALLOUT_FAULT=where)
    (state, *_), said = running.returned()
    assert state == State.FAULT
    assert said.decode().startswith(words)
    assert running.process.wait(PATIENCE) == 1


@needs_wine
def test_a_fault_in_stop(run, dll):
    running = run(dll("faults"), CALLOUT_FAULT="stop:null_write")
    running.returned()
    running.call("dhcp_control", code=1)
    code, lines = running.end()
    assert (code, lines[-1].split(" in ")[-1]) == (FAULT_CODE, "dhcp_control")


HANDLES = """
#include <windows.h>
#include <dhcpssdk.h>

static BYTE *page;

static LONG CALLBACK handle(EXCEPTION_POINTERS *exception)
{
    DWORD before;
    if (exception->ExceptionRecord->ExceptionInformation[1] != (ULONG_PTR)page)
        return EXCEPTION_CONTINUE_SEARCH;
    return VirtualProtect(page, 4096, PAGE_READWRITE, &before) ? EXCEPTION_CONTINUE_EXECUTION
                                                               : EXCEPTION_CONTINUE_SEARCH;
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
    *(volatile BYTE *)page = 1;
    (*Packet)[0] = 2;
    return 0;
}

static DWORD CALLBACK pkt_drop(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    SetUnhandledExceptionFilter(NULL);
    *(volatile BYTE *)(ULONG_PTR)(ControlCode + 16) = 1;
    return 0;
}

__declspec(dllexport) DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion,
                                                            LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    SetUnhandledExceptionFilter(NULL);
    AddVectoredExceptionHandler(1, handle);
    CalloutTbl->DhcpNewPktHook = new_pkt;
    CalloutTbl->DhcpPktDropHook = pkt_drop;
    return 0;
}
"""


@needs_wine
def test_an_exception_that_the_callout_handles_is_none(run, dll):
    running = run(dll("handles", HANDLES))
    running.returned()
    assert running.call("dhcp_new_pkt", DISCOVER)[0][0] == State.CHANGED
    assert running.end()[0] == 0


@needs_wine
def test_a_fault_that_is_meant_for_a_debugger_ends_it_at_once_too(run, dll):
    running = run(dll("handles", HANDLES))
    running.returned()
    began = time.monotonic()
    with pytest.raises(EOFError):
        running.call("dhcp_pkt_drop", DISCOVER)
    assert time.monotonic() - began < 1
    assert running.end()[0] == 0xC0000005 & 0xFF


# ── loading ──


@needs_wine
@pytest.mark.parametrize("name", ["with two blanks", "mit Umlauten äöü", "漢字", "quote's & 100 % (x86)"])
def test_a_path_may_have_any_letters(run, dll, tmp_path, name):
    directory = tmp_path / name
    directory.mkdir()
    path = directory / f"{directory.name}.dll"
    shutil.copy(dll("tell"), path)
    assert run(path).returned()[0][0] == State.KEPT


@needs_wine
@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1"])
def test_the_locale_does_not_matter(run, dll, tmp_path, monkeypatch, locale):
    monkeypatch.setenv("LC_ALL", locale)
    path = tmp_path / "äöü.dll"
    shutil.copy(dll("tell"), path)
    assert run(path).returned()[0][0] == State.KEPT


@needs_wine
def test_versions_are_offered_in_turn(run, dll):
    running = run(dll("tell"), versions=(2, 1, 0))
    assert running.returned()[0][:2] == (State.KEPT, 0)
    assert running.end()[1] == [f"entry version={version} zeroed=1" for version in (2, 1, 0)]


@needs_wine
@pytest.mark.parametrize("chain", [(), ("b.dll",), ("b.dll", "ä/c.dll")])
def test_a_callout_is_told_of_those_behind_it(tell, chain):
    running = tell("chain", chain=[Path("/dir", name) for name in chain])
    names = ["Z:\\dir\\" + name.replace("/", "\\") for name in chain]
    told = bytes.fromhex(running.end()[1][1]).decode("utf-16-be")
    assert told == ("".join(name + "\0" for name in names) or "\0") + "\0"


@needs_wine
def test_why_a_callout_is_not_loaded(run, dll, tmp_path):
    text = tmp_path / "text.dll"
    text.write_text("no DLL")
    empty = dll("empty", "int nothing(void);\nint nothing(void) { return 0; }\n")
    needy = tmp_path / "needy.dll"
    needy.write_bytes(dll("tell").read_bytes().replace(b"KERNEL32.dll", b"NOSUCH32.dll"))
    for path, versions, words in (
        (tmp_path / "nothing.dll", (0,), "can't be loaded: "),
        (tmp_path / "nothing.dll", (0,), ": there is no such file"),
        (text, (0,), "can't be loaded: it is no DLL for x86-64 (193)"),
        (needy, (0,), "(126): a DLL that it needs is missing"),
        (empty, (0,), "doesn't export DhcpServerCalloutEntry: it is no callout"),
        (dll("tell"), (2, 1), "refused: DhcpServerCalloutEntry returned 52 for version 2, 51 for version 1"),
        (dll("tell"), (0,), "refused: DhcpServerCalloutEntry returned 50 for version 0"),
    ):
        running = run(path, versions=versions, TELL="refuse")
        (state, *_), said = running.returned()
        assert state == State.FAULT
        assert words in said.decode()
        assert running.process.wait(PATIENCE) == 1


# ── getting ready ──


@needs_wine
def test_prepare_does_nothing_twice(host, caplog):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    began = time.monotonic()
    host.prepare()
    assert time.monotonic() - began < 2
    assert not caplog.messages


@needs_wine
def test_what_is_compiled_is_kept_and_made_anew_for_another_source(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    host = WineHost(tmp_path / "prefix", tmp_path / "a" / "cache")
    first = Path(host.command((0,), tmp_path / "a.dll", ())[1])
    assert caplog.messages[0].startswith("wine: compiling host.c with ")
    assert caplog.messages[1].startswith("wine: compiled in ")
    assert read_binary(first).machine == "x86-64"
    changed = first.stat().st_mtime_ns
    assert Path(host.command((0,), tmp_path / "a.dll", ())[1]) == first
    assert first.stat().st_mtime_ns == changed
    source = tmp_path / "host.c"
    source.write_text(SOURCE.read_text() + "\n")
    with monkeypatch.context() as patched:
        patched.setattr(wine, "SOURCE", source)
        assert Path(host.command((0,), tmp_path / "a.dll", ())[1]) != first
        source.write_text("no C")
        with pytest.raises(ConfigError, match=r"host\.c can't be compiled with .*gcc: .*error"):
            host.command((0,), tmp_path / "a.dll", ())
    assert {path.suffix for path in first.parent.iterdir()} == {".exe"}
    # The compiler may be gone by then.
    monkeypatch.setattr(wine, "find_compiler", lambda: None)
    assert Path(host.command((0,), tmp_path / "a.dll", ())[1]) == first
    with pytest.raises(ConfigError, match=r"needs a compiler for Windows.* gcc-mingw-w64-x86-64"):
        WineHost(tmp_path / "prefix", tmp_path / "other").prepare()


def test_the_compiler_is_mingw_or_zig(monkeypatch):
    there = {"x86_64-w64-mingw32-gcc-posix": "/m", "zig": "/z"}
    monkeypatch.setattr(wine.shutil, "which", there.get)
    assert wine.find_compiler() == ["/m", "-static-libgcc"]
    del there["x86_64-w64-mingw32-gcc-posix"]
    assert wine.find_compiler() == ["/z", "cc", "-target", "x86_64-windows-gnu"]
    del there["zig"]
    monkeypatch.setattr(wine.importlib.util, "find_spec", lambda name: object())
    assert wine.find_compiler() == [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu"]
    monkeypatch.setattr(wine.importlib.util, "find_spec", lambda name: None)
    assert wine.find_compiler() is None


def test_without_wine_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(wine, "WINES", ("there-is-no-such-wine",))
    with pytest.raises(ConfigError, match=r"needs Wine, which is not installed \(Debian: apt install wine64"):
        WineHost(tmp_path / "prefix", tmp_path / "cache").prepare()


def test_only_dlls_for_x86_64(tmp_path):
    path = tmp_path / "a.dll"
    path.write_bytes(b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0\x4c\x01")
    with pytest.raises(
        ConfigError, match=r"a\.dll: is a DLL of Windows for x86, and Wine runs DLLs of Windows for x86"
    ):
        WineHost(tmp_path).prepare(read_binary(path))


def test_paths_of_windows(tmp_path):
    host = WineHost(tmp_path / "prefix", tmp_path)
    assert host.windows_path(Path("/a b/ä.dll")) == "Z:\\a b\\ä.dll"
    assert host.windows_path(Path("/a/../b.dll")) == "Z:\\b.dll"
    inside = tmp_path / "prefix" / "drive_c" / "callouts" / "a.dll"
    assert host.windows_path(inside) == "C:\\callouts\\a.dll"
    assert host.windows_path(Path("a.dll")) == "Z:" + str(Path.cwd() / "a.dll").replace("/", "\\")
    for name in ("a:b", "a\\b", "a?", 'a"b', "a.", "a ", "a\n"):
        with pytest.raises(ConfigError, match="Windows has no such names"):
            host.windows_path(Path("/", name, "c.dll"))


def test_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("LC_ALL", "de_DE.utf8")
    monkeypatch.setenv("CALLOUT_LOG", "x")
    found = WineHost(tmp_path / "a" / ".." / "b").environment()
    assert found["WINEPREFIX"] == str(tmp_path / "b")
    assert (found["CALLOUT_LOG"], found["WINEDEBUG"], found["LC_ALL"]) == ("x", "-all", "de_DE.utf8")
    assert "DISPLAY" not in found


@pytest.mark.skipif(sys.platform != "linux", reason="paths of POSIX")
def test_where_things_are_by_default(monkeypatch):
    monkeypatch.setattr(wine.os, "geteuid", lambda: 0)
    host = WineHost()
    assert (host.prefix, host.cache) == (Path("/var/lib/aiodhcp/wine"), Path("/var/cache/aiodhcp"))
    monkeypatch.setattr(wine.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    host = WineHost()
    assert (host.prefix, host.cache) == (Path("/home/a/.local/state/aiodhcp/wine"), Path("/c/aiodhcp"))


@needs_wine
def test_a_prefix_of_another_user(tmp_path, monkeypatch, host):
    (tmp_path / "prefix").mkdir()
    owner = os.geteuid()
    monkeypatch.setattr(wine.os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigError, match=f"belongs to user {owner}, and Wine takes only one .* runs as, {owner + 1}"):
        WineHost(tmp_path / "prefix", host.cache).prepare()


@needs_wine
def test_a_prefix_that_can_not_be_made(tmp_path, host):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"the Wine prefix: .*file/b can't be made"):
        WineHost(tmp_path / "file" / "b" / "c", host.cache).prepare()


@needs_wine
def test_files_of_the_registry_are_imported_once(tmp_path, host, caplog):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    key = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\DHCPServer\Parameters"
    file = tmp_path / "filter ä.reg"
    text = f'Windows Registry Editor Version 5.00\r\n\r\n[{key}]\r\n"CalloutMACAddressListFile"="C:\\\\äö.txt"\r\n'
    file.write_bytes(text.encode("utf-16"))
    with wine_kit.another_prefix() as prefix:
        other = WineHost(prefix, host.cache, [file])
        other.prepare()
        assert [message.split(",")[0] for message in caplog.messages] == [f"wine: importing {file}"]
        other.prepare()
        assert len(caplog.messages) == 1
        command = [other.command((0,), file, ())[0], "reg", "query", key]
        with (tmp_path / "said").open("w+b") as said:
            subprocess.run(command, env=other.environment(), stdout=said, stdin=subprocess.DEVNULL, check=True)
            said.seek(0)
            assert "CalloutMACAddressListFile    REG_SZ    C:\\" in said.read().decode(errors="replace")
        with pytest.raises(ConfigError, match=r"registry .*nothing\.reg: can't be read: No such file"):
            WineHost(prefix, host.cache, [tmp_path / "nothing.reg"]).prepare()
        (tmp_path / "text.reg").write_text("no registry")
        with pytest.raises(ConfigError, match=r"registry .*text\.reg: can't be imported: .*reg import"):
            WineHost(prefix, host.cache, [tmp_path / "text.reg"]).prepare()
