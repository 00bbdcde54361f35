"""The guide "Write a plugin" does what it says: its files, its console and the package that it builds."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from aiodhcp import load_config
from aiodhcp.plugins import available_plugins

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/plugin"
COMMANDS = str(Path(sys.executable).parent)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLAYED_IN = "/home/you"
PORT = "6767"


class Block(NamedTuple):
    """A code block, and the name of the file that the line above it ends with; empty if it is none."""

    language: str
    code: str
    file: str


def read_guide(page: str) -> list[Block]:
    text = (ROOT / "docs" / page).read_text()
    found = []
    for each in FENCE.finditer(text):
        named = re.search(r"`([\w./-]+\.\w+)`:\n\n\Z", text[: each.start()])
        found.append(Block(each[1], each[2], named[1] if named else ""))
    return found


GUIDE = read_guide("plugins.md")


def shown(name: str) -> str:
    return next(each.code for each in GUIDE if each.file == name)


def settings_of_the_inventory() -> str:
    return next(each.code for each in GUIDE if each.language == "ini")


@pytest.fixture
def example(tmp_path):
    """A copy of the example, where what is left behind troubles nobody."""
    return shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__", ".*"))


@pytest.fixture
def installed(example, tmp_path):
    """A directory that the example is installed in."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the example, is not installed")
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", target, example], check=True, timeout=60)
    return target


# ── the files ──


def test_the_example_is_what_the_guide_shows(example):
    files = {str(path.relative_to(example)): path.read_text() for path in example.rglob("*") if path.is_file()}
    assert files.pop("src/aiodhcp_inventory/__init__.py") == shown("inventory.py")
    assert files == {name: shown(name) for name in ("pyproject.toml", "README.md", "tests/test_inventory.py")}


def test_the_tests_of_the_example_pass(example):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=example, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 passed" in result.stdout


def test_the_installed_example_is_found_and_loaded_by_its_name(installed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    (found,) = [each for each in available_plugins() if each.use == "inventory"]
    assert (found.kind, found.where) == ("entry point", "aiodhcp-inventory 1.0")
    table = settings_of_the_inventory().replace("inventory.py:Inventory", "inventory")
    (tmp_path / "dhcp.toml").write_text('interfaces = ["eth0"]\n' + table)
    (plugin,) = load_config(tmp_path / "dhcp.toml").make_plugins()
    assert plugin.plugin.settings.devices == tmp_path / "devices.txt"
    assert plugin.plugin.settings.strangers == "drop"
    del sys.modules["aiodhcp_inventory"]


# ── the console ──


class Console:
    """Types what the guide types, in a directory, and compares what is printed."""

    def __init__(self, directory: Path, installed: Path) -> None:
        self.directory = directory
        self.environment = {
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            "PYTHONPATH": str(installed),
            "HOME": str(directory),
        }
        self.server: subprocess.Popen[str] | None = None

    def play(self, session: str) -> None:
        for each in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
            command, _, expected = each.partition("\n")
            if command.endswith("&"):
                self.serve(command.rstrip(" &"))
            elif command == "kill %1":
                self.stop()
            else:
                self.type(command, expected)

    def type(self, command: str, expected: str) -> None:
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        printed = re.sub(r"^plugin .* so far\)\n", "", result.stdout, flags=re.MULTILINE)  # the log
        printed = plain(printed.replace(str(self.directory), PLAYED_IN))
        assert re.fullmatch(pattern(plain(expected)), printed), f"$ {command}\n{printed}"

    def serve(self, command: str) -> None:
        log = self.directory / "log"
        with log.open("w") as stderr:
            self.server = subprocess.Popen(command.split(), cwd=self.directory, env=self.environment, stderr=stderr)
        end = time.monotonic() + 20
        while "serving" not in log.read_text():
            assert self.server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self.server is not None:
            self.server.terminate()
            assert self.server.wait(20) == 0
            self.server = None


def plain(text: str) -> str:
    """Without what differs from one time to the next, and without the widths of columns."""
    text = re.sub(r"\d+ µs", "some µs", text)
    text = re.sub(r"\d+\.\d{3} s ", "some s ", text)
    text = re.sub(r"passed in \d+\.\d\ds", "passed in some s", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", "then", text)
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines())


def pattern(expected: str) -> str:
    """Three dots are whatever: lines, or the rest of one."""
    lines = [r"(?:.*\n)*?" if line == "…" else f"{re.escape(line)}\n" for line in expected.splitlines()]
    return "".join(lines).replace("…", ".*")


@pytest.fixture
def console(tmp_path, installed):
    directory = tmp_path / "you"
    directory.mkdir()
    console = Console(directory, installed)
    yield console
    console.stop()


def free_port() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_the_console_of_the_guide_prints_what_it_says(console):
    port, sessions = free_port(), 0
    for block in GUIDE:
        code = block.code.replace(PORT, port)
        if block.language == "console":
            console.play(code)
            sessions += 1
        elif block.language == "ini":
            file = console.directory / "dhcp.toml"
            file.write_text(file.read_text().partition("\n\n")[2] + "\n" + code)
        elif block.file in ("my_hooks.py", "dhcp.toml", "slow.py", "inventory.py", "devices.txt"):
            (console.directory / block.file).write_text(code)
    assert sessions == 9


def test_three_dots_are_whatever():
    expected = pattern(plain("…\na   b\n…\nlast …\n"))
    assert re.fullmatch(expected, "one\na b\ntwo\nthree\nlast word\n")
    assert re.fullmatch(expected, "a b\nlast \n")
    assert not re.fullmatch(expected, "one\na c\nlast word\n")
