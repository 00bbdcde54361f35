"""``aiodhcp callout``: what it says of files, and of what callouts do with captures."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import dpkt
import pytest
import wine_kit
from typer.testing import CliRunner, Result

from aiodhcp import Packet, cli
from aiodhcp.callout.driving import pair
from aiodhcp.captures import Captured
from aiodhcp.constants import AddressKind

EXAMPLES = Path(__file__).parents[2] / "examples" / "callouts"
SERVER, BROADCAST = "192.0.2.1", "255.255.255.255"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="what these load are shared libraries")


def callout(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["callout", *(str(each) for each in arguments)])


# ── inspect ──


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Path]:
    """``compiled("x86_64-w64-mingw32-gcc", "logger", "-Wl,--kill-at")``: an example as a DLL of Windows."""

    def compile(compiler: str, name: str, *flags: str) -> Path:
        if shutil.which(compiler) is None:
            pytest.skip(f"not installed: {compiler}")
        target = tmp_path / f"{name}.dll"
        command = [compiler, "-D__USE_MINGW_ANSI_STDIO=1", "-shared", "-static-libgcc", *flags]
        subprocess.run([*command, "-o", target, EXAMPLES / f"{name}.c"], check=True)
        return target

    return compile


@pytest.fixture
def facts() -> Callable[..., dict[str, Any]]:
    """``facts(path)``: what ``inspect --json`` says of a file, and its exit status."""

    def inspect(*arguments: str | Path) -> dict[str, Any]:
        result = callout("inspect", "--json", *arguments)
        return {**json.loads(result.output), "status": result.exit_code}

    return inspect


LOGGER_HOOKS = [
    "dhcp_control",
    "dhcp_new_pkt",
    "dhcp_pkt_drop",
    "dhcp_pkt_send",
    "dhcp_address_del",
    "dhcp_address_offer",
    "dhcp_handle_options",
    "dhcp_delete_client",
]


def test_inspect_a_callout(libraries):
    path = libraries("logger")
    result = callout("inspect", path)
    assert result.output.splitlines() == [
        f"file     {path}",
        f"size     {path.stat().st_size} octets",
        f"SHA-256  {sha256(path.read_bytes()).hexdigest()}",
        "format   a shared library (ELF), x86-64",
        "exports  DhcpServerCalloutEntry",
        "needs    libc.so.6",
        "entry    DhcpServerCalloutEntry",
        "version  0 of the callout API",
        f"hooks    {', '.join(LOGGER_HOOKS)}",
        "verdict  a callout",
    ]
    assert result.exit_code == 0


def test_inspect_as_json(libraries, facts):
    found = facts(libraries("logger"))
    assert (found["hooks"], found["version"], found["wrong"]) == (LOGGER_HOOKS, 0, "")
    assert (found["format"], found["exports"], found["status"]) == ("ELF", ["DhcpServerCalloutEntry"], 0)


def test_inspect_without_loading(libraries, facts, monkeypatch):
    monkeypatch.setenv("CALLOUT_FAULT", "load:exit")
    found = facts("--no-load", libraries("faults"))
    assert (found["hooks"], found["version"], found["status"]) == (None, None, 0)
    assert found["verdict"] == "looks like a callout (it was not loaded)"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("entry:null_write", "can't be loaded: its process was killed by SIGSEGV"),
        ("entry:exit", "can't be loaded: its process exited with status 7"),
        ("load:abort", "can't be loaded: its process was killed by SIGABRT"),
    ],
)
def test_inspect_one_that_crashes(libraries, facts, monkeypatch, fault, words):
    monkeypatch.setenv("CALLOUT_FAULT", fault)
    found = facts(libraries("faults"))
    assert (found["wrong"], found["verdict"], found["status"]) == (words, words, 1)
    assert found["entry"] == "DhcpServerCalloutEntry"


def test_inspect_one_that_refuses(libraries, facts, monkeypatch):
    monkeypatch.setenv("CALLOUT_TRAP", "refuse")
    found = facts(libraries("traps"))
    assert found["wrong"] == "refused: DhcpServerCalloutEntry returned 5 for version 0"
    assert found["status"] == 1


def test_inspect_one_without_hooks(libraries, facts, monkeypatch):
    monkeypatch.setenv("CALLOUT_TRAP", "nothing")
    found = facts(libraries("traps"))
    assert (found["hooks"], found["status"]) == ([], 0)
    assert found["notes"] == ["it registers no hooks: with this environment it does nothing"]


def test_inspect_what_is_no_callout(facts, tmp_path):
    assert facts("/usr/bin/env")["wrong"] == "is no callout: it doesn't export DhcpServerCalloutEntry"
    text = tmp_path / "a.txt"
    text.write_text("no library")
    found = facts(text)
    assert found["wrong"] == "is no callout: it is neither a DLL of Windows nor a shared library"
    assert (found["exports"], found["status"]) == (None, 1)


def test_inspect_what_is_not_there(tmp_path):
    result = callout("inspect", tmp_path / "none.so")
    assert result.output == f"aiodhcp: callout {tmp_path}/none.so: can't be read: No such file or directory\n"
    assert result.exit_code == 1


def test_inspect_one_of_another_machine(libraries, facts, tmp_path):
    octets = bytearray(libraries("logger").read_bytes())
    octets[18:20] = struct.pack("<H", 183)
    path = tmp_path / "a.so"
    path.write_bytes(octets)
    assert facts(path)["wrong"] == "is compiled for arm64, and this machine is x86-64"


def test_inspect_one_that_is_damaged(libraries, facts, tmp_path):
    path = tmp_path / "a.so"
    path.write_bytes(libraries("logger").read_bytes()[:300])
    found = facts(path)
    assert found["notes"][0].startswith("exports and imports can't be read: ")
    assert found["wrong"].startswith("can't be loaded: ")
    assert found["status"] == 1


@pytest.mark.parametrize(
    ("name", "module", "package"), [("a.so", "elftools", "pyelftools"), ("a.dll", "pefile", "pefile")]
)
def test_inspect_without_what_reads_tables(libraries, facts, monkeypatch, tmp_path, name, module, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    path = tmp_path / name
    path.write_bytes(libraries("logger").read_bytes() if name == "a.so" else DLL_HEADER)
    found = facts("--no-load", path)
    assert found["notes"] == [f"exports and imports are not read without {package}: pip install 'aiodhcp[callouts]'"]
    assert (found["exports"], found["sha256"]) == (None, sha256(path.read_bytes()).hexdigest())
    assert found["verdict"] == "not known (it was not loaded)"
    if name == "a.so":
        assert facts(path)["hooks"] == LOGGER_HOOKS


DLL_HEADER = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", 0x8664) + b"\0" * 100


def test_inspect_a_dll_of_windows_without_loading(compiled, facts):
    found = facts("--no-load", compiled("x86_64-w64-mingw32-gcc", "logger"))
    assert (found["format"], found["machine"], found["exports"]) == ("PE", "x86-64", ["DhcpServerCalloutEntry"])
    assert "KERNEL32.dll" in found["imports"]
    assert (found["entry"], found["wrong"]) == ("DhcpServerCalloutEntry", "")


def test_inspect_a_dll_of_32_bits(compiled, facts):
    found = facts(compiled("i686-w64-mingw32-gcc", "logger"))
    assert found["wrong"] == "is a 32-bit DLL: Debian's wine64 can't load it, which has 64-bit ones only"
    assert (found["entry"], found["status"]) == ("DhcpServerCalloutEntry@12", 1)
    assert "exported with a decoration, DhcpServerCalloutEntry@12" in found["notes"][0]


def test_inspect_an_assembly_of_dotnet(compiled, facts):
    path = compiled("x86_64-w64-mingw32-gcc", "logger")
    octets = bytearray(path.read_bytes())
    header = struct.unpack_from("<I", octets, 60)[0]
    # The fifteenth data directory of a PE32+ optional header.
    struct.pack_into("<II", octets, header + 24 + 112 + 14 * 8, 0x2000, 72)
    path.write_bytes(octets)
    assert facts(path)["wrong"] == "is a .NET assembly: it needs .NET, which isn't supported"


def test_inspect_a_dll_by_wine(compiled, facts):
    if why := wine_kit.is_there("x86_64-w64-mingw32-gcc"):
        pytest.skip(why)
    path = compiled("x86_64-w64-mingw32-gcc", "logger")
    found = facts("--wine-prefix", wine_kit.wine_prefix(), path)
    assert (found["hooks"], found["version"], found["wrong"]) == (LOGGER_HOOKS, 0, "")


# ── run ──


def message(op: int, kind: int | None, number: int, fields: dict[str, Any] | None = None, **options: Any) -> bytes:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    if kind is not None:
        named = {"message-type": kind, **named}
    mac = bytes((2, 0, 0, 0, 0, number))
    return bytes(Packet(op=op, hrd=1, hln=6, xid=number, chaddr=mac, options=named, **fields or {}))


def sent(kind: int | None, number: int = 1, destination: str = BROADCAST, **more: Any) -> Captured:
    source = "0.0.0.0" if destination == BROADCAST else f"192.0.2.{9 + number}"
    return datagram(message(1, kind, number, **more), source, 68, destination, 67)


def answered(kind: int | None, number: int = 1, **more: Any) -> Captured:
    fields = {"yiaddr": 0xC0000209 + number} | more.pop("fields", {})
    options = {"server_identifier": SERVER} if kind is not None else {}
    return datagram(message(2, kind, number, fields, **options | more), SERVER, 67, BROADCAST, 68)


def datagram(data: bytes, source: str, source_port: int, destination: str, destination_port: int) -> Captured:
    numbers = [int.from_bytes(socket.inet_aton(each), "big") for each in (source, destination)]
    return Captured(0, 0.0, data, numbers[0], source_port, numbers[1], destination_port)


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., Path]:
    """``capture(sent(1), answered(2))``: a file with these datagrams."""

    def write(*captured: Captured | bytes) -> Path:
        path = tmp_path / "a.pcap"
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for number, each in enumerate(captured):
                writer.writepkt(each if isinstance(each, bytes) else frame(each), 1700000000 + number)
        return path

    return write


def frame(captured: Captured) -> bytes:
    udp = dpkt.udp.UDP(sport=captured.source_port, dport=captured.destination_port, data=captured.data)
    udp.ulen = len(udp)
    source, destination = (each.to_bytes(4, "big") for each in (captured.source, captured.destination))
    packet = dpkt.ip.IP(src=source, dst=destination, p=17, data=udp)
    packet.len = len(packet)
    return b"\2" * 12 + b"\x08\x00" + bytes(packet)


DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
CONVERSATION = (
    sent(DISCOVER),
    answered(OFFER),
    sent(REQUEST, requested_address="192.0.2.10", server_identifier=SERVER),
    answered(ACK, lease_time=3600),
)


@pytest.fixture
def events(capture) -> Callable[..., list[dict[str, Any]]]:
    """``events(path, *captured)``: what ``run --json`` prints of a callout; the exit status is in the last."""

    def run(path: Path, *captured: Captured | bytes, more: tuple[str | Path, ...] = ()) -> list[dict[str, Any]]:
        result = callout("run", path, "--pcap", capture(*captured), "--json", *more)
        found = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
        found[-1]["status"] = result.exit_code
        return found

    return run


def calls(found: list[dict[str, Any]]) -> list[str]:
    """The calls in their order: the hook, and what it was told."""
    lines = []
    for event in found:
        made = event.get("calls", [event] if event["event"] == "control" else [])
        lines += [f"{call['hook']} {call.get('told', '')}".rstrip() for call in made]
    return lines


def test_run_makes_the_calls_of_a_server_in_their_order(libraries, events, monkeypatch):
    monkeypatch.setenv("CALLOUT_LOG", "/dev/null")
    found = events(
        libraries("logger"),
        *CONVERSATION,
        sent(REQUEST, destination=SERVER, fields={"ciaddr": 0xC000020A}),
        answered(ACK),
        sent(REQUEST, 2, requested_address="203.0.113.9"),
        answered(NAK, 2, fields={"yiaddr": 0}),
        sent(INFORM, 2, destination=SERVER, fields={"ciaddr": 0xC000020B}),
        answered(ACK, 2, fields={"yiaddr": 0}),
        sent(DECLINE, 3, requested_address="192.0.2.12", server_identifier=SERVER),
        sent(RELEASE, destination=SERVER, fields={"ciaddr": 0xC000020A}),
        sent(None, 4),
        answered(None, 4),
    )
    arrived, parsed = "dhcp_new_pkt at 192.0.2.1", "dhcp_handle_options"
    finished = "dhcp_pkt_drop PROCESSED"
    assert calls(found) == [
        "dhcp_control START",
        *(arrived, parsed, "dhcp_pkt_send OFFER", finished),
        *(arrived, parsed, "dhcp_address_offer NEW 192.0.2.10 for 1h, DHCP", "dhcp_pkt_send ACK", finished),
        *(arrived, parsed, "dhcp_address_offer OLD 192.0.2.10 for infinite, DHCP", "dhcp_pkt_send ACK", finished),
        *(arrived, parsed, "dhcp_address_del NACKED 203.0.113.9", "dhcp_pkt_send NAK", finished),
        *(arrived, parsed, "dhcp_pkt_send ACK", finished),
        *(arrived, parsed, "dhcp_address_del DECLINE 192.0.2.12", finished),
        *(arrived, parsed, "dhcp_address_del RELEASE 192.0.2.10", finished),
        *(arrived, parsed, "dhcp_address_offer NEW 192.0.2.13 for infinite, BOOTP", "dhcp_pkt_send BOOTP reply"),
        *(finished, "dhcp_control STOP"),
    ]
    assert found[0]["event"] == "loaded"
    assert found[0]["hooks"] == LOGGER_HOOKS
    assert (found[-1]["packets"], found[-1]["faults"], found[-1]["status"]) == (8, 0, 0)
    first = found[2]
    assert (first["frame"], first["time"], first["type"], first["reply"]) == (1, 1700000000, "DISCOVER", "OFFER")
    assert (first["client"], first["ip_address"]) == ("02:00:00:00:00:01", SERVER)
    assert first["calls"][0]["context"] is True


def test_run_says_what_is_vetoed(libraries, events, monkeypatch, tmp_path):
    macs = tmp_path / "macs.txt"
    macs.write_text("MAC_ACTION = {DENY}\n020000000002\n")
    monkeypatch.setenv("CALLOUT_MAC_LIST", str(macs))
    found = events(libraries("mac_filter"), *CONVERSATION, sent(DISCOVER, 2), answered(OFFER, 2))
    assert calls(found) == ["dhcp_new_pkt at 192.0.2.1"] * 3
    vetoed = {event["client"]: event["calls"][0].get("vetoed") for event in found if event["event"] == "packet"}
    assert vetoed == {"02:00:00:00:00:01": None, "02:00:00:00:00:02": True}
    (row,) = found[-1]["hooks"]
    assert (row["hook"], row["calls"], row["vetoes"], row["faults"]) == ("dhcp_new_pkt", 3, 1, 0)
    assert 0 < row["median"] <= row["p99"]


def test_run_of_a_veto_ends_with_processed(libraries, events, monkeypatch):
    monkeypatch.setenv("CALLOUT_TRAP", "veto context nonzero")
    found = events(libraries("traps"), *CONVERSATION[:2])
    assert calls(found)[1:-1] == ["dhcp_new_pkt at 192.0.2.1", "dhcp_pkt_drop PROCESSED"]
    assert [call["result"] for call in found[2]["calls"]] == [7, 7]
    assert found[-1]["status"] == 0


def test_run_shows_what_is_changed(libraries, capture, monkeypatch):
    monkeypatch.setenv("CALLOUT_OPTION", "15=lab.example")
    path = capture(*CONVERSATION[:1], answered(OFFER, domain_name="old.example"), *CONVERSATION[2:], b"\0" * 60)
    result = callout("run", libraries("option_editor"), "--pcap", path)
    lines = [line.split("µs  ")[-1].strip() for line in result.output.splitlines()]
    assert lines[0] == "option_editor.so: version 0, hooks: dhcp_pkt_send"
    assert lines[2].endswith("  DISCOVER from 02:00:00:00:00:01, xid 00000001, 244 octets; OFFER")
    assert lines[3:5] == [
        "dhcp_pkt_send OFFER: changed, 263 octets",
        "~ domain-name: old.example -> lab.example",
    ]
    assert lines[7:9] == ["dhcp_pkt_send ACK: 256 -> 269 octets", "+ domain-name: lab.example"]
    assert lines[-5].split() == ["hook", "calls", "vetoes", "changes", "faults", "median", "p99"]
    assert lines[-2:] == ["2 packets", "left out of the capture: 1 not DHCP"]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("fault", "told", "words"),
    [
        ("new_pkt:null_write", "dhcp_new_pkt at 192.0.2.1", "its process was killed by SIGSEGV"),
        ("pkt_send:exit", "dhcp_pkt_send OFFER", "its process exited with status 7"),
        ("pkt_drop:hang", "dhcp_pkt_drop PROCESSED", "it did not return within 0.5 s"),
    ],
)
def test_run_goes_on_after_a_fault(libraries, events, monkeypatch, fault, told, words):
    monkeypatch.setenv("CALLOUT_FAULT", fault)
    given = (*CONVERSATION[:2], sent(DISCOVER, 2), answered(OFFER, 2))
    found = events(libraries("faults"), *given, more=("--deadline", "500ms"))
    packets = [event for event in found if event["event"] == "packet"]
    assert len(packets) == 2
    for event in packets:
        last = event["calls"][-1]
        assert (f"{last['hook']} {last['told']}", last["fault"]) == (told, words)
    assert [event["again"] for event in found if event["event"] == "control"] == [False, True, True, False]
    assert (found[-1]["faults"], found[-1]["not_driven"], found[-1]["status"]) == (2, 0, 1)


def test_run_of_one_that_cannot_start(libraries, capture, monkeypatch):
    monkeypatch.setenv("CALLOUT_FAULT", "start:exit")
    result = callout("run", libraries("faults"), "--pcap", capture(*CONVERSATION))
    assert "dhcp_control START: FAULT: its process exited with status 7" in result.output
    assert "0 packets; 2 not tried, because it can't be started; 1 call did not return" in result.output
    assert result.exit_code == 1


def test_run_of_one_that_cannot_be_loaded(libraries, capture, monkeypatch):
    monkeypatch.setenv("CALLOUT_FAULT", "entry:exit")
    path = libraries("faults")
    result = callout("run", path, "--pcap", capture(*CONVERSATION))
    assert result.output == f"aiodhcp: callout {path}: can't be loaded: its process exited with status 7\n"
    assert result.exit_code == 1


def test_run_tells_it_of_its_chain(libraries, events, monkeypatch, tmp_path):
    monkeypatch.setenv("CALLOUT_TRAP_NOTES", str(tmp_path / "notes"))
    found = events(libraries("traps"), *CONVERSATION[:2], more=("--chain", "/a/b.so", "--chain", "/c.so"))
    assert found[-1]["status"] == 0
    chain = "/a/b.so\0/c.so\0\0"
    assert f"chain {' '.join(f'{ord(each):04x}' for each in chain)}" in (tmp_path / "notes").read_text().splitlines()


def test_run_of_a_dll_by_wine(compiled, events, monkeypatch):
    if why := wine_kit.is_there("x86_64-w64-mingw32-gcc"):
        pytest.skip(why)
    monkeypatch.setenv("CALLOUT_OPTION", "15=lab.example")
    path = compiled("x86_64-w64-mingw32-gcc", "option_editor")
    found = events(path, *CONVERSATION, more=("--wine-prefix", wine_kit.wine_prefix(), "--deadline", "20s"))
    assert calls(found) == ["dhcp_pkt_send OFFER", "dhcp_pkt_send ACK"]
    assert found[1]["calls"][0]["changes"] == [{"name": "domain-name", "before": None, "after": "lab.example"}]
    assert found[-1]["status"] == 0


def test_run_with_a_capture_that_has_nothing(libraries, capture, tmp_path):
    path = capture(answered(OFFER), b"\0" * 60, datagram(b"short", SERVER, 67, BROADCAST, 67))
    result = callout("run", libraries("logger"), "--pcap", path)
    counts = "1 not DHCP, 1 replies without their request, 1 malformed"
    assert result.output == f"aiodhcp: {path}: has no requests to a DHCP server ({counts})\n"
    assert result.exit_code == 1
    result = callout("run", libraries("logger"), "--pcap", tmp_path / "none")
    assert result.output == f"aiodhcp: {tmp_path}/none: can't be read: No such file or directory\n"
    assert result.exit_code == 1


def test_run_with_a_capture_that_is_cut_off(libraries, capture, monkeypatch):
    monkeypatch.setenv("CALLOUT_LOG", "/dev/null")
    path = capture(*CONVERSATION)
    path.write_bytes(path.read_bytes()[:-1])
    result = callout("run", libraries("logger"), "--pcap", path)
    note = f"aiodhcp: {path}: is cut off: it ends in the middle of frame 4; what stands before that is used\n"
    assert note in result.output
    assert "2 packets" in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mode", "inline"), "--mode: expected process or wine, got 'inline'"),
        (("--deadline", "soon"), "--deadline: expected seconds like 0.5"),
    ],
)
def test_run_with_wrong_arguments(libraries, capture, arguments, words):
    result = callout("run", libraries("logger"), "--pcap", capture(*CONVERSATION), *arguments)
    assert words in result.output
    assert result.exit_code == 2


def test_help_has_examples():
    assert "aiodhcp callout inspect --no-load vendor.dll" in callout("inspect", "--help").output
    assert "aiodhcp callout run mac_filter.so --pcap dhcp.pcap" in callout("run", "--help").output


def test_the_command_line_imports_it_when_it_is_needed():
    script = "import sys, aiodhcp.cli; print(*[name for name in sys.modules if name.startswith('aiodhcp.callout.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# ── which reply belongs to which request ──


def kinds(*captured: Captured) -> tuple[list[int | None], Counter[str]]:
    """The type of the reply to each request, and what was left out."""
    skipped: Counter[str] = Counter()
    found = pair(captured, skipped)
    return [request.reply and request.reply.message_type for request in found], skipped


def test_a_late_offer_is_not_of_the_request_behind_it():
    request = sent(REQUEST, requested_address="192.0.2.10")
    late = sent(DISCOVER), answered(OFFER), request, answered(OFFER), answered(ACK)
    assert kinds(*late) == ([OFFER, ACK], Counter({"replies without their request": 1}))


def test_a_reply_is_of_the_last_request_before_it():
    assert kinds(sent(DISCOVER), sent(DISCOVER), answered(OFFER))[0] == [None, OFFER]
    assert kinds(sent(DISCOVER), sent(DISCOVER, 2), answered(OFFER), answered(OFFER, 2))[0] == [OFFER, OFFER]


def test_a_reply_is_of_the_request_with_its_relay_agent():
    relayed = {"giaddr": 0xC6336401}
    captured = sent(DISCOVER, fields=relayed, destination=SERVER), sent(DISCOVER), answered(OFFER, fields=relayed)
    assert kinds(*captured)[0] == [OFFER, None]


def test_a_discover_with_an_ack():
    (request,) = pair([sent(DISCOVER), answered(ACK)], Counter())
    assert (request.kind, request.server) == (AddressKind.NEW, 0xC0000201)


def test_an_address_had_before_is_old():
    again = sent(REQUEST, requested_address="192.0.2.10", server_identifier=SERVER), answered(ACK)
    found = pair([*CONVERSATION, *again], Counter())
    assert [request.kind for request in found[1:]] == [AddressKind.NEW, AddressKind.OLD]


def test_where_a_request_arrived():
    other = sent(RELEASE, 2, destination="198.51.100.1", fields={"ciaddr": 5})
    found = pair([*CONVERSATION, sent(DISCOVER, 3), other], Counter())
    assert [request.server for request in found] == [0xC0000201] * 3 + [0xC6336401]
    (alone,) = pair([sent(DISCOVER)], Counter())
    assert alone.server == 0
