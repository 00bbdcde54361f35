"""How a callout is loaded, started, stopped and loaded again."""

from __future__ import annotations

import hashlib
import logging
import re
import struct
import sys
from pathlib import Path

import pytest
from client import make_engine
from wire import config, lease

from aiodhcp import ConfigError, ControlCode, DhcpServer, MemoryStore, MemoryTransport
from aiodhcp.callout import CalloutPlugin
from aiodhcp.callout.callouts import CalloutFault
from aiodhcp.hooks import Hooks

INLINE = pytest.mark.parametrize("mode", ["inline"], indirect=True)
FRESH = ["entry version=0 zeroed=1 entries=1 kept=0", "chain 0000 0000"]
"""What a copy of traps.c notes that is loaded for the first time."""

# ── the file ──


def test_path_and_digest_are_logged_before_it_is_loaded(trap, copied, caplog, mode):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    callout = trap()
    path = copied("traps")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first, second, *_ = [each for each in caplog.messages if each.startswith("callout traps:")]
    where = "" if mode == "inline" else f" ({mode})"
    assert first == f"callout traps: loading {path}, SHA-256 {digest}{where}"
    assert second.startswith("callout traps: version 0, hooks: dhcp_control, dhcp_new_pkt")
    assert callout.callouts.sha256 == digest
    assert (callout.callouts.name, callout.callouts.path) == ("traps", path)


def test_a_pinned_digest_has_to_be_the_file_s(trap, copied):
    digest = hashlib.sha256(copied("traps").read_bytes()).hexdigest()
    assert trap(sha256=digest.upper()).callouts.sha256 == digest
    with pytest.raises(ConfigError, match=f"has SHA-256 {digest}, expected {'0' * 64}"):
        trap(sha256="0" * 64)


def test_a_pinned_file_that_was_changed_is_not_loaded_again(trap, copied):
    path = copied("traps")
    callout = trap(sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    callout.control(ControlCode.STOP)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match="has SHA-256"):
        callout.control(ControlCode.START)


def test_a_path_has_to_be_absolute(load):
    with pytest.raises(ConfigError, match=r"callout traps\.so: expected an absolute path"):
        load("traps.so")


def test_a_file_that_is_not_there(load, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.so: can't be read: No such file"):
        load(tmp_path / "nothing.so")


def test_a_file_that_is_no_library(load, tmp_path):
    path = tmp_path / "text.so"
    path.write_text("no library")
    with pytest.raises(ConfigError, match=r"text\.so: (can't be loaded: .*|is )no library") as raised:
        load(path)
    assert "Windows" not in str(raised.value).partition("no library")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="a DLL of Windows is one of this system")
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("inline", r"can't be loaded: .* \(it is a DLL of Windows for x86\)"),
        ("process", "is a DLL of Windows for x86, which the mode 'wine' runs"),
        ("wine", "is a DLL of Windows for x86"),  # with x86-64 it would be one that it can load
    ],
    indirect=["mode"],
)
def test_a_library_of_windows_is_recognised(load, tmp_path, expected):
    path = tmp_path / "callout.dll"
    path.write_bytes(b"MZ".ljust(60, b"\0") + struct.pack("<I4sH", 64, b"PE\0\0", 0x14C))
    with pytest.raises(ConfigError, match=expected):
        load(path)


@pytest.mark.parametrize("mode", ["wine"], indirect=True)
def test_a_library_of_this_system_is_nothing_for_wine(load, libraries):
    with pytest.raises(ConfigError, match="is a shared library"):
        load(libraries("traps"))


def test_a_library_that_is_no_callout(load, compiled):
    with pytest.raises(ConfigError, match="doesn't export DhcpServerCalloutEntry"):
        load(compiled("int nothing;\n"))


# ── the entry point ──


def test_the_chain_is_empty_and_the_table_zero(trap):
    callout = trap()
    assert callout.lines == FRESH


def test_a_chain_is_utf_16_whatever_wchar_t_is(trap, seen):
    chain = [Path("/a/b"), Path("/ü/€")]
    callout = trap(chain=chain)
    names = "".join(seen(path) + "\0" for path in chain)
    assert callout.lines[1] == f"chain {' '.join(f'{ord(each):04x}' for each in names)} 0000"


@pytest.mark.parametrize("chain", [[""], ["/a\0b"]])
def test_a_chain_that_would_end_early_is_refused(trap, chain):
    with pytest.raises(ConfigError, match="a name is empty or has a NUL in it"):
        trap(chain=chain)


def test_an_entry_that_refuses_is_not_loaded(trap):
    with pytest.raises(ConfigError, match="refused: DhcpServerCalloutEntry returned 5 for version 0"):
        trap("refuse")


@pytest.mark.parametrize("words", ["", "dirty"])
def test_versions_are_offered_until_one_is_taken_each_with_a_table_of_zeros(trap, words):
    callout = trap(words, versions=(2, 1, 0))
    assert [(told["version"], told["zeroed"]) for told in callout.told("entry")] == [("2", "1"), ("1", "1"), ("0", "1")]
    assert callout.callouts.version == 0
    assert callout.entries == [1, 2, 3]


def test_a_callout_that_takes_no_version(trap):
    with pytest.raises(ConfigError, match="returned 50 for version 2, 50 for version 1"):
        trap(versions=(2, 1))


@INLINE
def test_an_entry_with_a_decorated_name_is_found(trap, monkeypatch):
    """What is changed for it is changed in this process."""
    monkeypatch.setattr("aiodhcp.callout.library.ENTRY_NAMES", ("NotThere", "DhcpServerCalloutEntry"))
    assert trap().callouts.hooks


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("process", "can't be loaded: its process was killed by SIGSEGV"),
        ("wine", r"access violation \(0xc0000005\), writing 0x0 at .* in DhcpServerCalloutEntry"),
    ],
    indirect=["mode"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="there Python makes an error of it")
def test_an_entry_that_faults_is_not_loaded(trap, expected):
    with pytest.raises(ConfigError, match=expected):
        trap("entry_fault")


@INLINE
def test_an_entry_that_faults_where_python_makes_an_error_of_it_is_not_loaded(trap, monkeypatch):
    """As on Windows; elsewhere the process would end."""

    def entry(*_: object) -> int:
        raise OSError("exception: access violation writing 0x0")

    monkeypatch.setattr("aiodhcp.callout.library.ENTRY_TYPE", lambda found: entry)
    with pytest.raises(ConfigError, match="DhcpServerCalloutEntry failed: exception: access violation"):
        trap()


def test_what_refused_is_unloaded(trap):
    with pytest.raises(ConfigError):
        trap("refuse")
    assert trap().entries == [1]


# ── the table ──


def test_null_slots_are_hooks_that_do_not_exist(trap, talk_to):
    callout = trap("only_send")
    assert callout.callouts.hooks == {"dhcp_pkt_send"}
    assert {name for name in dir(callout.plugin) if name.startswith("dhcp_")} == {"dhcp_control", "dhcp_pkt_send"}
    hooks = talk_to(callout).engine.hooks
    assert [each.hook for each in hooks.implementations] == ["dhcp_control", "dhcp_pkt_send"]
    assert not hooks.dhcp_new_pkt


def test_a_callout_without_any_hook_is_told_nothing(trap, talk_to):
    callout = trap("nothing")
    client = talk_to(callout)
    assert client.join()
    assert callout.callouts.hooks == frozenset()
    assert callout.calls == []


def test_null_slots_are_not_called_by_the_library_either(trap):
    callout = trap("nothing")
    packet = bytes(240)
    callout.control(ControlCode.START)
    assert callout.call("new_pkt", packet, 0) == ((packet, ""), None, True)
    assert callout.call("pkt_send", packet, 0, None) == (packet, "")
    callout.call("pkt_drop", packet, 11, 0, None)
    callout.call("address_del", packet, 0x20000001, 0, 0, None)
    callout.call("address_offer", packet, 0x30000001, 0, 0, 0x30000004, 60, None)
    callout.call("handle_options", packet, None)
    callout.call("delete_client", 0, b"")
    callout.control(ControlCode.STOP)
    assert callout.lines == FRESH


def test_reserved_slots_are_never_called(trap, talk_to):
    callout = trap("reserved")
    assert callout.callouts.hooks == frozenset()
    assert talk_to(callout).join()


# ── its life ──


def test_stop_is_last_and_unloads_and_start_loads_afresh(trap, caplog, run):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    callout = trap("context")
    hooks = Hooks([callout.plugin])
    run(hooks.control(None, ControlCode.START))
    callout.call("new_pkt", bytes(240), 0)
    assert callout.kept == 1
    run(hooks.control(None, ControlCode.STOP))
    assert caplog.messages[-1] == "callout traps: unloaded"
    with pytest.raises(CalloutFault, match="is called after STOP"):
        callout.call("pkt_drop", bytes(240), 11, 0, None)
    run(hooks.control(None, ControlCode.STOP))
    before = callout.lines
    run(hooks.control(None, ControlCode.START))
    # What it counted and kept before is gone.
    assert callout.lines[len(before) :] == [*FRESH, "control code=1 reserved=0"]
    assert before[-1] == "control code=2 reserved=0"
    assert sum("SHA-256" in line for line in caplog.messages) == 2


def test_a_callout_without_control_hook_is_unloaded_all_the_same(trap, talk_to, run):
    callout = trap("only_send")
    client = talk_to(callout)
    client.discover()
    hooks = client.engine.hooks
    run(hooks.control(None, ControlCode.STOP))
    run(hooks.control(None, ControlCode.START))
    client.discover()
    assert callout.entries == [1, 1]
    assert len(callout.told("pkt_send")) == 2


def test_a_file_that_is_gone_refuses_the_start(trap, copied, run):
    callout = trap()
    hooks = Hooks([callout.plugin])
    run(hooks.control(None, ControlCode.STOP))
    copied("traps").unlink()
    with pytest.raises(ConfigError, match=r"plugin traps refused the start: .* can't be read"):
        run(hooks.control(None, ControlCode.START))


def test_a_callout_that_comes_back_with_other_hooks_refuses_the_start(trap, monkeypatch, run):
    callout = trap()
    hooks = Hooks([callout.plugin])
    run(hooks.control(None, ControlCode.STOP))
    monkeypatch.setenv("CALLOUT_TRAP", "only_send")
    with pytest.raises(ConfigError, match="has other hooks than before: dhcp_pkt_send"):
        run(hooks.control(None, ControlCode.START))


def test_a_callout_that_is_registered_late_hears_start_alone(trap, talk_to, run):
    early, late = trap("", "early"), trap("", "late")
    before = Hooks([early.plugin])
    run(before.control(None, ControlCode.START))
    engine = make_engine(plugins=())
    after = Hooks([early.plugin, late.plugin])
    run(after.control(None, ControlCode.START, after.without(before)))
    for callout in (early, late):
        assert callout.calls == ["control code=1"]
    client = talk_to()
    client.engine = type(engine)(engine.config, after, predecessor=engine)
    client.discover()
    assert early.calls == late.calls != ["control code=1"]


async def test_in_a_running_server_start_is_first_and_stop_last_and_the_next_start_is_fresh(example, log, tmp_path):
    plugin, transport = example("logger"), MemoryTransport()
    server = DhcpServer(config(), plugins=[plugin], store=MemoryStore(), transport=transport)

    async def once() -> list[str]:
        (tmp_path / "log").unlink(missing_ok=True)
        async with server:
            await lease(transport, 1)
            await server.pause()
            await server.resume()
        return [" ".join(line.split()[:2]) for line in log()]

    first = await once()
    assert first[0] == "control START"
    assert first[-3:] == ["control PAUSE", "control CONTINUE", "control STOP"]
    assert first[1] == "new_pkt 1:"
    # The numbers begin anew.
    assert (await once())[:2] == first[:2]


async def test_a_callout_comes_with_a_reload_and_goes_with_the_next(example, log):
    plugin, transport = example("logger"), MemoryTransport()
    async with DhcpServer(config(), store=MemoryStore(), transport=transport) as server:
        await lease(transport, 1)
        await server.reload(plugins=[plugin])
        await lease(transport, 2)
        await server.reload(plugins=[])
        await lease(transport, 3)
        lines = log()
    assert (lines[0], lines[-1]) == ("control START", "control STOP")
    assert sum(line.startswith("new_pkt") for line in lines) == 2


# ── two of them ──


def test_two_libraries_in_one_server_share_nothing(trap, talk_to):
    one, two = trap("pkt_send:append", "one"), trap("only_send", "two")
    client = talk_to(one, two)
    client.discover()
    assert [len(each.told("pkt_send")) for each in (one, two)] == [1, 1]
    assert len(one.told("new_pkt")) == 1
    assert two.told("new_pkt") == []
    assert [each.plugin for each in client.engine.hooks.dhcp_pkt_send.implementations] == ["one", "two"]


@INLINE
def test_a_library_loaded_twice_is_one_with_two_plugins(trap, talk_to):
    """Its globals are shared, contexts are not; it is unloaded with the last. Processes share nothing."""
    first, second = trap("context"), trap("context")
    assert first.entries == [1, 2]
    talk_to(first, second).discover()
    assert [told["context"] for told in first.told("pkt_send")] == ["1", "2"]
    assert first.kept == 0
    first.callouts.close()
    assert second.call("new_pkt", bytes(240), 0).process


def test_what_it_is_called(trap, mode):
    kind = "Library" if mode == "inline" else "Child"
    callout = trap(name="branch office")
    assert callout.plugin.name == "branch office"
    assert re.fullmatch(rf"<CalloutPlugin <{kind} \S.*branch office\.(so|dll)>>", repr(callout.plugin))
    assert isinstance(callout.plugin, CalloutPlugin)
