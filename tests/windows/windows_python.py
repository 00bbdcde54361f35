"""A Python of Windows, which runs under Wine: laid out once for each virtual environment, and started from there."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import wine_kit

__all__ = ["COMPILER", "NotToBeHad", "WindowsPython", "laid_out", "windows_path"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = "x86_64-w64-mingw32-gcc"
FETCHING = 120.0
"""Seconds that pip may take for each of its two turns."""

SHA256 = {
    "python.exe": "5f7b89a612c9b8af1d6456cdfcd1dbe5ca630849e79aebced9bee9a6694952ec",
    "python311.dll": "0817a2a657a24c0d5fbb60df56960f42fc66b3039d522ec952dab83e2d869364",
}
MADE_OF = ("requirements-python.txt", "requirements.txt", "bcryptprimitives.c", "windows_python.py")


class NotToBeHad(Exception):
    """There is no Python of Windows here; says why."""


def windows_path(path: Path) -> str:
    """A path as the programs of Windows see it."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def laid_out() -> Path:
    """The directory of python.exe; it imports this working copy of aiodhcp and its tests.

    Raises:
        NotToBeHad: pip can't fetch it, or the compiler is missing.
        AssertionError: what pip fetched is something else than it was.
    """
    if why := wine_kit.is_there(COMPILER):
        raise NotToBeHad(why)
    target = wine_kit.HOME / "windows"
    stamp = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MADE_OF) + bytes(ROOT)).hexdigest()
    with wine_kit.locked("windows"):
        said = target / "made-of"
        if not said.exists() or said.read_text() != stamp:
            shutil.rmtree(target, ignore_errors=True)
            _lay_out(target)
            said.write_text(stamp)
    return target / "python"


def _lay_out(target: Path) -> None:
    python, site = target / "python", target / "site"
    _pip("--no-deps", "--target", python, "-r", HERE / "requirements-python.txt")
    for name, expected in SHA256.items():
        digest = hashlib.sha256((python / name).read_bytes()).hexdigest()
        assert digest == expected, f"{name} has SHA-256 {digest}, expected {expected}"
    of_windows = ("--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:")
    _pip(*of_windows, "--no-deps", "--target", site, "-r", HERE / "requirements.txt")
    imports = (ROOT, ROOT / "plugins", ROOT / "tests")
    lines = ["python311.zip", ".", r"..\site", *map(windows_path, imports), "import site"]
    (python / "python311._pth").write_text("\n".join(lines) + "\n")
    shim = HERE / "bcryptprimitives.c"
    command = [COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", shim, "-ladvapi32", "-o"]
    subprocess.run([*command, python / "bcryptprimitives.dll"], check=True, timeout=60)


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    try:
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=FETCHING
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"pip took longer than {FETCHING:g} s to fetch a Python of Windows") from None
    assert "DO NOT MATCH THE HASHES" not in done.stderr, done.stderr
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise NotToBeHad(f"pip can't fetch a Python of Windows: {last}")


class WindowsPython:
    """Runs Python as on Windows.

    Its output always goes into pipes: it dies where that is a file.

    Args:
        directory: of python.exe.
        prefix: of Wine; awake.
    """

    def __init__(self, directory: Path, prefix: Path) -> None:
        self.directory = directory
        self.prefix = prefix
        self._started: list[subprocess.Popen[str]] = []

    def command(self, *arguments: object) -> list[str]:
        """What to run; it leaves no compiled modules in the working copy."""
        return ["wine", str(self.directory / "python.exe"), "-B", *map(str, arguments)]

    def run(
        self, *arguments: object, timeout: float = 30, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end.

        Raises:
            AssertionError: it took longer than ``timeout`` seconds. Has what it said.
        """
        process = self.popen(*arguments, env=env)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            out, err = process.communicate(timeout=5)
            raise AssertionError(f"{arguments} still ran after {timeout} s\n{out}{err}") from None
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def popen(self, *arguments: object, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        """Start it; it is killed at the end of the session if it still runs then."""
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**wine_kit.environment(self.prefix), **(env or {})},
            cwd=ROOT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            **more,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            _kill(process)
            process.wait(5)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
