"""The plugin "callouts" in a configuration: which callouts are loaded, how, in which order, and what is refused."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import error_lines
from server_kit import clock, store, transport  # noqa: F401 - fixtures
from wire import config, discover

from aiodhcp import ConfigError, DhcpServer, Plugin, load_config
from aiodhcp.callout import CalloutPlugin, Child, Library

BASE = """
[transport]
type = "udp"
host = "127.0.0.1"
port = 0

[store]
type = "memory"
"""


@pytest.fixture
def mode() -> str:
    """Of the kit's fixtures: the libraries are those of this system."""
    return "inline"


@pytest.fixture
def dll(copied: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``dll("a")``: a callout of that name beside the configuration."""
    return lambda name, source="traps": copied(source, name)


@pytest.fixture
def plugins(tmp_path: Path) -> Any:
    """``plugins('CalloutDlls = ...')``: those of a configuration with these settings of the plugin "callouts"."""
    made: list[Plugin] = []

    def load(*settings: str, before: str = "", after: str = "") -> list[Plugin]:
        tables = "".join(f'\n[[plugins]]\nuse = "callouts"\n\n[plugins.settings]\n{each}\n' for each in settings)
        file = tmp_path / "dhcp.toml"
        file.write_text(before + tables + after + BASE)
        made[:] = load_config(file).make_plugins()
        return made

    yield load
    for each in made:
        if isinstance(each.plugin, CalloutPlugin):
            each.plugin.callouts.close()


def listed(*names: object, enabled: object = 1, more: str = "") -> str:
    names = ", ".join(f'"{each}"' for each in names)
    return f"CalloutDlls = [{names}]\nCalloutEnabled = {enabled}\n{more}"


def names(plugins: list[Plugin]) -> list[str]:
    return [each.plugin.name for each in plugins]


def reg_file(path: Path, *names: str, enabled: int = 1) -> Path:
    """What regedit exports."""
    octets = "".join(name + "\0" for name in names).encode("utf-16-le") + b"\0\0"
    path.write_text(
        "Windows Registry Editor Version 5.00\r\n\r\n"
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\DHCPServer\\Parameters]\r\n"
        f'"CalloutDlls"=hex(7):{octets.hex(",")}\r\n"CalloutEnabled"=dword:{enabled:08x}\r\n',
        encoding="utf-16",
    )
    return path


# ── which ──


def test_the_callouts_of_the_list_are_plugins_in_its_order(plugins, dll):
    dll("b"), dll("a")
    found = plugins(listed("b.so", "a.so"))
    assert names(found) == ["b", "a"]
    assert all(isinstance(each.plugin.callouts, Child) for each in found)
    assert [Path(each.source).name for each in found] == ["b.so", "a.so"]


def test_python_stands_between_two_callouts(plugins, dll, tmp_path):
    dll("a"), dll("b")
    (tmp_path / "mine.py").write_text(
        "from aiodhcp import hookimpl\n\n\n@hookimpl\ndef dhcp_new_pkt(packet):\n    pass\n"
    )
    tables = [
        '{ use = "callouts", settings = { CalloutDlls = ["a.so"], CalloutEnabled = 1 } }',
        '"mine.py"',
        '{ use = "callouts", settings = { CalloutDlls = ["b.so"], CalloutEnabled = 1 } }',
    ]
    found = plugins(before=f"plugins = [{', '.join(tables)}]\n")
    assert [getattr(each.plugin, "name", each.name) for each in found] == ["a", "mine", "b"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('CalloutDlls = ["a.so"]\nCalloutEnabled = 0', "CalloutEnabled is 0: none is loaded"),
        ('CalloutDlls = ["a.so"]', "but none is loaded without CalloutEnabled, which has to be 1"),
        ("CalloutDlls = []\nCalloutEnabled = 1", "CalloutDlls is empty"),
    ],
)
def test_without_calloutenabled_none_is_loaded(plugins, dll, caplog, settings, words):
    dll("a")
    with caplog.at_level(logging.INFO):
        assert plugins(settings) == []
    assert words in caplog.text


def test_an_export_of_the_registry_has_the_list(plugins, dll, tmp_path):
    dll("mac"), dll("log")
    # Paths of Windows: found by their names, in whatever case.
    reg_file(tmp_path / "callouts.reg", "C:\\Windows\\System32\\dhcp\\MAC.so", "C:\\log.so")
    assert names(plugins('reg-file = "callouts.reg"')) == ["mac", "log"]
    reg_file(tmp_path / "callouts.reg", "C:\\log.so", enabled=0)
    assert plugins('reg-file = "callouts.reg"') == []


def test_dlls_may_be_in_a_directory_of_their_own(plugins, dll, tmp_path):
    (tmp_path / "dlls").mkdir()
    dll("log").rename(tmp_path / "dlls" / "log.so")
    reg_file(tmp_path / "callouts.reg", "C:\\log.so")
    assert names(plugins('reg-file = "callouts.reg"\ndirectory = "dlls"')) == ["log"]
    assert names(plugins(listed("log.so", more='directory = "dlls"'))) == ["log"]


# ── one that can't be loaded ──


def test_one_that_can_not_be_loaded_is_left_out(plugins, dll, tmp_path, caplog):
    (tmp_path / "bad.so").write_text("no library")
    dll("good")
    assert names(plugins(listed("missing.so", "bad.so", "good.so"))) == ["good"]
    first, second = error_lines(caplog)
    assert first == f"callout {tmp_path}/missing.so: can't be read: No such file or directory; it is left out"
    assert second.startswith(f"callout {tmp_path}/bad.so: can't be loaded: ")


def test_one_whose_entry_refuses_is_left_out(plugins, dll, monkeypatch, caplog):
    monkeypatch.setenv("CALLOUT_TRAP", "refuse")
    dll("a")
    assert plugins(listed("a.so")) == []
    assert "refused: DhcpServerCalloutEntry returned 5 for version 0; it is left out" in caplog.text


def test_a_filter_that_can_not_be_loaded_is_an_error(plugins, tmp_path):
    with pytest.raises(ConfigError) as refused:
        plugins(listed("missing.so", more='on-fault = "closed"'))
    expected = (
        f"{tmp_path}/dhcp.toml:6: plugins[0].settings.CalloutDlls[0]: callout {tmp_path}/missing.so: can't be read"
    )
    assert str(refused.value).startswith(expected)


def test_a_filter_that_filters_nothing_is_an_error(plugins, dll, monkeypatch, caplog):
    monkeypatch.setenv("CALLOUT_TRAP", "nothing")
    dll("a")
    with pytest.raises(ConfigError, match="registers no hooks: it filters nothing"):
        plugins(listed("a.so", more='on-fault = "closed"'))
    assert names(plugins(listed("a.so"))) == ["a"]
    assert "a.so: registers no hooks" in caplog.text


# ── pins ──


def test_a_file_that_is_pinned_is_that_file(plugins, dll):
    digest = hashlib.sha256(dll("a").read_bytes()).hexdigest()
    (found,) = plugins(listed("a.so", more=f'sha256 = {{ "a.so" = "{digest.upper()}" }}'))
    assert found.plugin.callouts.sha256 == digest


def test_a_file_that_is_another_one_is_an_error_even_if_faults_are_open(plugins, dll):
    digest = hashlib.sha256(b"").hexdigest()
    with pytest.raises(ConfigError, match=f"has SHA-256 {hashlib.sha256(dll('a').read_bytes()).hexdigest()}, expected"):
        plugins(listed("a.so", more=f'sha256 = {{ "a.so" = "{digest}" }}'))


def test_a_pin_for_what_is_not_in_the_list_is_an_error(plugins, dll):
    dll("a")
    with pytest.raises(
        ConfigError, match=r"dhcp\.toml:8: plugins\[0\]\.settings\.sha256\.b\.so: is not in the list a\.so"
    ):
        plugins(listed("a.so", more=f'sha256 = {{ "b.so" = "{"0" * 64}" }}'))


@pytest.mark.parametrize("mode", ["process", "inline"])
def test_what_is_behind_a_native_chain_is_pinned_as_well(plugins, dll, mode):
    dll("a"), dll("b")
    more = f'chain = "native"\nmode = "{mode}"\nsha256 = {{ "b.so" = "{"0" * 64}" }}'
    with pytest.raises(ConfigError, match=r"settings\.sha256: callout .*b\.so: has SHA-256"):
        plugins(listed("a.so", "b.so", more=more))


# ── how ──


def test_inline_is_in_this_process(plugins, dll):
    dll("a")
    (found,) = plugins(listed("a.so", more='mode = "inline"'))
    assert isinstance(found.plugin.callouts, Library)


def test_a_native_chain_is_one_plugin_that_is_told_of_the_rest(plugins, dll, tmp_path, monkeypatch):
    notes = tmp_path / "notes"
    monkeypatch.setenv("CALLOUT_TRAP_NOTES", str(notes))
    dll("a"), dll("b"), dll("c")
    (tmp_path / "bad.so").write_text("no library")
    assert names(plugins(listed("bad.so", "a.so", "b.so", "c.so", more='chain = "native"'))) == ["a"]
    (chain,) = [line for line in notes.read_text().splitlines() if line.startswith("chain")]
    units = [int(each, 16) for each in chain.split()[1:]]
    assert "".join(map(chr, units)) == f"{tmp_path}/b.so\0{tmp_path}/c.so\0\0"


async def test_a_host_chain_tells_each_that_it_is_the_last(plugins, dll, tmp_path, monkeypatch):
    notes = tmp_path / "notes"
    monkeypatch.setenv("CALLOUT_TRAP_NOTES", str(notes))
    dll("a"), dll("b")
    plugins(listed("a.so", "b.so"))
    assert [line for line in notes.read_text().splitlines() if line.startswith("chain")] == ["chain 0000 0000"] * 2


@pytest.mark.parametrize("on_fault", ["open", "closed"])
def test_on_fault_is_the_policy(plugins, dll, on_fault):
    dll("a")
    (found,) = plugins(listed("a.so", more=f'on-fault = "{on_fault}"'))
    assert found.policy.on_error == {"open": "continue", "closed": "drop"}[on_fault]


def test_the_entry_has_the_last_word(plugins, dll):
    dll("a")
    table = (
        '{ use = "callouts", name = "filter", shadow = true, settings = '
        '{ CalloutDlls = ["a.so"], CalloutEnabled = 1, on-fault = "closed" } }'
    )
    (found,) = plugins(before=f"plugins = [{table}]\n")
    assert (found.name, found.policy.shadow, found.policy.on_error) == ("filter", True, "drop")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("", "expected one of CalloutDlls, reg-file and registry"),
        ('CalloutDlls = []\nreg-file = "a.reg"', "expected one of CalloutDlls, reg-file and registry"),
        ("registry = true\nCalloutEnabled = 1", "CalloutEnabled: goes with CalloutDlls"),
        ('CalloutDlls = ["a.so"]\nCalloutEnabled = 7', "CalloutEnabled: expected 0 or 1, got 7"),
        ('CalloutDlls = ["a.so"]\nmode = "thread"', "mode: expected 'process', 'inline' or 'wine', got 'thread'"),
        ('CalloutDlls = ["a.so"]\ndeadline = 0', "deadline: expected"),
        ('CalloutDlls = ["a.so"]\nsha256 = { "a.so" = "beef" }', "expected a SHA-256 of 64 hexadecimal digits"),
        ('CalloutDls = ["a.so"]', "did you mean 'CalloutDlls'?"),
        ('reg-file = "nothing.reg"', "nothing.reg"),
        ("registry = true", "there is no Windows registry"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(plugins, settings, words):
    with pytest.raises(ConfigError) as refused:
        plugins(settings)
    assert words in str(refused.value)
    assert "dhcp.toml:" in str(refused.value)


# ── in a server ──


async def test_the_callouts_of_a_configuration_serve(plugins, dll, tmp_path, transport, store, monkeypatch):
    notes = tmp_path / "notes"
    monkeypatch.setenv("CALLOUT_TRAP_NOTES", str(notes))
    dll("a")
    async with DhcpServer(config(), store=store, transport=transport, plugins=plugins(listed("a.so"))):
        transport.deliver(discover(1))
        await transport.next_answer(10)
    heard = [line.split()[0] for line in notes.read_text().splitlines()]
    assert [each for each in heard if each in ("control", "new_pkt", "pkt_send", "pkt_drop")] == [
        "control",
        "new_pkt",
        "pkt_send",
        "pkt_drop",
        "control",
    ]
