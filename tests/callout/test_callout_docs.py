"""docs/callouts.md, done: a callout is moved from Windows Server, with what the registry there says to it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client, Clock, make_engine
from typer.testing import CliRunner
from wine_kit import another_prefix, is_there

from aiodhcp import ControlCode, DropReason, load_config
from aiodhcp.cli import app
from aiodhcp.runtime import HookTasks

PAGE = Path(__file__).parents[2] / "docs" / "callouts.md"


@pytest.fixture
def mode() -> str:
    """Of the kit's fixtures: a DLL of Windows."""
    if missing := is_there("x86_64-w64-mingw32-gcc"):
        pytest.skip(missing)
    return "wine"


def exported(path: Path, mac_list: Path) -> None:
    """What ``reg export`` writes on a server with Microsoft's filter."""
    dlls = "C:\\Windows\\System32\\dhcp\\mac_filter.dll\0\0".encode("utf-16-le")
    where = f"Z:{mac_list}".replace("/", "\\\\")
    path.write_text(
        "Windows Registry Editor Version 5.00\r\n\r\n"
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\DHCPServer\\Parameters]\r\n"
        f'"CalloutDlls"=hex(7):{dlls.hex(",")}\r\n'
        '"CalloutEnabled"=dword:00000001\r\n'
        f'"CalloutMACAddressListFile"="{where}"\r\n',
        encoding="utf-16",
    )


def test_a_callout_is_moved_as_the_page_says(libraries: Callable[..., Path], mode: str, tmp_path: Path, clock: Clock):
    directory = tmp_path / "callouts"
    directory.mkdir()
    dll = directory / "mac_filter.dll"
    shutil.copy(libraries("mac_filter", ".dll"), dll)
    (directory / "list.txt").write_text("MAC_ACTION = {DENY}\n020000000002\n")
    exported(directory / "callouts.reg", directory / "list.txt")
    text = re.findall(r"```toml\n(.*?)```", re.sub(r"(?m)^   ", "", PAGE.read_text()), re.DOTALL)[0]
    text = re.sub(r"[0-9a-f]{64}", hashlib.sha256(dll.read_bytes()).hexdigest(), text)
    with another_prefix() as prefix:
        file = tmp_path / "dhcp.toml"
        file.write_text(f'{text}wine-prefix = "{prefix}"\n')
        told = ["--reg-file", str(directory / "callouts.reg"), "--wine-prefix", str(prefix)]
        inspected = CliRunner().invoke(app, ["callout", "inspect", str(dll), *told], catch_exceptions=False)
        assert inspected.exit_code == 0, inspected.output
        assert "dhcp_new_pkt" in inspected.output
        checked = CliRunner().invoke(app, ["check", str(file)], catch_exceptions=False)
        assert checked.exit_code == 0, checked.output
        assert "1 plugins" in checked.output

        with asyncio.Runner() as runner:
            (plugin,) = load_config(file).make_plugins()
            engine = make_engine(plugins=[plugin], runtime=HookTasks().runtime())
            runner.run(engine.hooks.control(None, ControlCode.START))
            allowed = Client(engine, clock, "02:00:00:00:00:01", run=runner.run)
            assert allowed.join().yiaddr
            denied = Client(engine, clock, "02:00:00:00:00:02", run=runner.run)
            assert denied.discover() is None
            assert engine.dropped[DropReason.PROCESSED] or denied.exchange.dropped
            runner.run(engine.hooks.control(None, ControlCode.STOP))
