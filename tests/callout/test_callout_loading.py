"""How a callout is loaded, started, stopped and loaded again."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import re
from pathlib import Path

import pytest
from client import Client, make_engine
from wire import config, lease

from aiodhcp import ConfigError, ControlCode, DhcpServer, MemoryStore, MemoryTransport
from aiodhcp.callout import CalloutPlugin, Library
from aiodhcp.hooks import Hooks

# ── the file ──


def test_path_and_digest_are_logged_before_it_is_loaded(trap, copied, caplog):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    callout = trap()
    path = copied("traps")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert caplog.messages[0] == f"callout traps: loading {path}, SHA-256 {digest}"
    assert caplog.messages[1].startswith("callout traps: version 0, hooks: dhcp_control, dhcp_new_pkt")
    assert callout.library.sha256 == digest
    assert (callout.library.name, callout.library.path) == ("traps", path)


def test_a_pinned_digest_has_to_be_the_file_s(trap, copied):
    digest = hashlib.sha256(copied("traps").read_bytes()).hexdigest()
    assert trap(sha256=digest.upper()).library.sha256 == digest
    with pytest.raises(ConfigError, match=f"has SHA-256 {digest}, expected {'0' * 64}"):
        trap(sha256="0" * 64)


def test_a_pinned_file_that_was_changed_is_not_loaded_again(trap, copied):
    digest = hashlib.sha256(copied("traps").read_bytes()).hexdigest()
    library = trap(sha256=digest).library
    library.control(ControlCode.STOP)
    library.path.write_bytes(library.path.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match="has SHA-256"):
        library.control(ControlCode.START)


def test_a_path_has_to_be_absolute():
    with pytest.raises(ConfigError, match=r"callout traps\.so: expected an absolute path"):
        Library("traps.so")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.so: can't be read: No such file"):
        Library(tmp_path / "nothing.so")


def test_a_file_that_is_no_library(tmp_path):
    path = tmp_path / "text.so"
    path.write_text("no library")
    with pytest.raises(ConfigError, match=r"text\.so: can't be loaded: (?!.*Windows)"):
        Library(path)


def test_a_library_of_windows_is_recognised(tmp_path):
    path = tmp_path / "callout.dll"
    path.write_bytes(b"MZ\x90\0" + bytes(60))
    with pytest.raises(ConfigError, match="a DLL of Windows, and this is none"):
        Library(path)


def mapped(name: str) -> str:
    """A library of this process."""
    return re.search(rf"/\S*/{name}\S*", Path("/proc/self/maps").read_text())[0]


def test_a_library_that_is_no_callout():
    with pytest.raises(ConfigError, match="doesn't export DhcpServerCalloutEntry"):
        Library(mapped("libc.so"))


# ── the entry point ──


def test_the_chain_is_empty_and_the_table_zero(trap):
    callout = trap()
    assert callout.lines == ["entry version=0 zeroed=1", "chain 0000 0000"]


def test_a_chain_is_utf_16_whatever_wchar_t_is(trap):
    callout = trap(chain=["/a/b", "/ü/€"])
    words = "002f 0061 002f 0062 0000 002f 00fc 002f 20ac 0000 0000"
    assert callout.lines[1] == f"chain {words}"


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
    assert [line for line in callout.lines if line.startswith("entry")] == [
        "entry version=2 zeroed=1",
        "entry version=1 zeroed=1",
        "entry version=0 zeroed=1",
    ]
    assert callout.library.version == 0
    assert callout.read("entries", ctypes.c_uint32).value == 3


def test_a_callout_that_takes_no_version(trap):
    with pytest.raises(ConfigError, match="returned 50 for version 2, 50 for version 1"):
        trap(versions=(2, 1))


def test_an_entry_with_a_decorated_name_is_found(trap, monkeypatch):
    monkeypatch.setattr("aiodhcp.callout.library.ENTRY_NAMES", ("NotThere", "DhcpServerCalloutEntry"))
    assert trap().library.hooks


def test_an_entry_that_faults_is_not_loaded(trap, monkeypatch):
    """On Windows, where Python makes an error of it."""

    def entry(*_: object) -> int:
        raise OSError("exception: access violation writing 0x0")

    monkeypatch.setattr("aiodhcp.callout.library.ENTRY_TYPE", lambda found: entry)
    with pytest.raises(ConfigError, match="DhcpServerCalloutEntry failed: exception: access violation"):
        trap()


def test_what_refused_is_unloaded(trap, copied):
    with pytest.raises(ConfigError):
        trap("refuse")
    assert trap().read("entries", ctypes.c_uint32).value == 1


# ── the table ──


def test_null_slots_are_hooks_that_do_not_exist(trap, talk_to):
    callout = trap("only_send")
    assert callout.library.hooks == {"dhcp_pkt_send"}
    assert {name for name in dir(callout.plugin) if name.startswith("dhcp_")} == {"dhcp_control", "dhcp_pkt_send"}
    hooks = talk_to(callout).engine.hooks
    assert [each.hook for each in hooks.implementations] == ["dhcp_control", "dhcp_pkt_send"]
    assert not hooks.dhcp_new_pkt


def test_a_callout_without_any_hook_is_told_nothing(trap, talk_to):
    callout = trap("nothing")
    client = talk_to(callout)
    assert client.join()
    assert callout.library.hooks == frozenset()
    assert callout.calls == []


def test_null_slots_are_not_called_by_the_library_either(trap):
    library = trap("nothing").library
    packet = bytes(240)
    library.control(ControlCode.START)
    assert library.new_pkt(packet, 0) == ((packet, ""), None, True)
    assert library.pkt_send(packet, 0, None) == (packet, "")
    library.pkt_drop(packet, 11, 0, None)
    library.address_del(packet, 0x20000001, 0, 0, None)
    library.address_offer(packet, 0x30000001, 0, 0, 0x30000004, 60, None)
    library.handle_options(packet, None)
    library.delete_client(0, b"")


def test_reserved_slots_are_never_called(trap, talk_to):
    callout = trap("reserved")
    assert callout.library.hooks == frozenset()
    assert talk_to(callout).join()


# ── its life ──


async def test_stop_is_last_and_unloads_and_start_loads_afresh(trap, caplog):
    caplog.set_level(logging.INFO, "aiodhcp.callout")
    callout = trap("context")
    hooks = Hooks([callout.plugin])
    await hooks.control(None, ControlCode.START)
    callout.library.new_pkt(bytes(240), 0)
    assert callout.kept == 1
    await hooks.control(None, ControlCode.STOP)
    assert caplog.messages[-1] == "callout traps: unloaded"
    with pytest.raises(RuntimeError, match="is called after STOP"):
        callout.library.pkt_drop(bytes(240), 11, 0, None)
    await hooks.control(None, ControlCode.STOP)
    await hooks.control(None, ControlCode.START)
    # All that it noted and kept before is gone.
    assert callout.lines == ["entry version=0 zeroed=1", "chain 0000 0000", "control 1 reserved=0"]
    assert callout.kept == 0
    assert sum("SHA-256" in line for line in caplog.messages) == 2


async def test_a_callout_without_control_hook_is_unloaded_all_the_same(trap, talk_to):
    callout = trap("only_send")
    client = talk_to(callout)
    client.discover()
    assert len(callout.told("pkt_send")) == 1
    hooks = client.engine.hooks
    await hooks.control(None, ControlCode.STOP)
    await hooks.control(None, ControlCode.START)
    assert callout.told("pkt_send") == []
    client.discover()
    assert len(callout.told("pkt_send")) == 1


async def test_a_file_that_is_gone_refuses_the_start(trap, copied):
    callout = trap()
    hooks = Hooks([callout.plugin])
    await hooks.control(None, ControlCode.STOP)
    copied("traps").unlink()
    with pytest.raises(ConfigError, match=r"plugin traps refused the start: .* can't be read"):
        await hooks.control(None, ControlCode.START)


async def test_a_callout_that_comes_back_with_other_hooks_refuses_the_start(trap, monkeypatch):
    callout = trap()
    hooks = Hooks([callout.plugin])
    await hooks.control(None, ControlCode.STOP)
    monkeypatch.setenv("CALLOUT_TRAP", "only_send")
    with pytest.raises(ConfigError, match="has other hooks than before: dhcp_pkt_send"):
        await hooks.control(None, ControlCode.START)


async def test_a_callout_that_is_registered_late_hears_start_alone(trap, clock):
    early, late = trap("", "early"), trap("", "late")
    before = Hooks([early.plugin])
    await before.control(None, ControlCode.START)
    engine = make_engine(plugins=())
    after = Hooks([early.plugin, late.plugin])
    await after.control(None, ControlCode.START, after.without(before))
    for callout in (early, late):
        assert callout.calls == ["control"]
    client = Client(type(engine)(engine.config, after, predecessor=engine), clock)
    client.discover()
    assert early.calls == late.calls != ["control"]


async def test_in_a_running_server_start_is_first_and_stop_last_and_the_next_start_is_fresh(
    copied, monkeypatch, tmp_path
):
    path = tmp_path / "log"
    monkeypatch.setenv("CALLOUT_LOG", str(path))
    plugin, transport = CalloutPlugin(Library(copied("logger"))), MemoryTransport()
    server = DhcpServer(config(), plugins=[plugin], store=MemoryStore(), transport=transport)

    async def once() -> list[str]:
        path.unlink(missing_ok=True)
        async with server:
            await lease(transport, 1)
            await server.pause()
            await server.resume()
        return [" ".join(line.split()[:2]) for line in path.read_text().splitlines()]

    first = await once()
    assert first[0] == "control START"
    assert first[-3:] == ["control PAUSE", "control CONTINUE", "control STOP"]
    assert first[1] == "new_pkt 1:"
    # The numbers begin anew.
    assert (await once())[:2] == first[:2]


async def test_a_callout_comes_with_a_reload_and_goes_with_the_next(copied, monkeypatch, tmp_path):
    path = tmp_path / "log"
    monkeypatch.setenv("CALLOUT_LOG", str(path))
    plugin, transport = CalloutPlugin(Library(copied("logger"))), MemoryTransport()
    async with DhcpServer(config(), store=MemoryStore(), transport=transport) as server:
        await lease(transport, 1)
        await server.reload(plugins=[plugin])
        await lease(transport, 2)
        await server.reload(plugins=[])
        await lease(transport, 3)
        lines = path.read_text().splitlines()
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


def test_a_library_loaded_twice_is_one_with_two_plugins(trap, talk_to):
    """Its globals are shared, contexts are not; it is unloaded with the last."""
    first, second = trap("context"), trap("context")
    assert second.read("entries", ctypes.c_uint32).value == 2
    talk_to(first, second).discover()
    assert [told["context"] for told in first.told("pkt_send")] == ["1", "2"]
    assert first.kept == 0
    first.library.close()
    assert second.library.new_pkt(bytes(240), 0).process


def test_what_it_is_called(trap):
    callout = trap(name="branch office")
    assert callout.plugin.name == "branch office"
    assert re.fullmatch(r"<CalloutPlugin <Library /.*/branch office\.so>>", repr(callout.plugin))
    assert isinstance(callout.plugin, CalloutPlugin)
