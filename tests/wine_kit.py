"""Wine for tests: one prefix for each virtual environment, made when it is first asked for."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["another_prefix", "awake", "environment", "is_there", "locked", "wine_prefix"]

HOME = Path(sys.prefix)
"""Where what takes long to make is kept between runs."""
MAKING = 120.0
"""Seconds that a prefix may take."""


@functools.cache
def is_there(*tools: str) -> str:
    """Why there is no Wine here, or one of these programs; empty if there is."""
    if sys.platform != "linux":
        return "Wine is for Linux"
    missing = [tool for tool in ("wine", "wineserver", *tools) if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def environment(prefix: Path) -> dict[str, str]:
    """The environment for ``wine``: this prefix, nothing on the display or in the log, neither .NET nor a browser."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }


def wine_prefix() -> Path:
    """The prefix that the tests share, 700 MB. Its registry is what the tests before have left."""
    prefix = HOME / "wine"
    made = prefix / "made"  # the last that is made: a prefix without it is half of one
    with locked("wine"):
        if not made.exists():
            shutil.rmtree(prefix, ignore_errors=True)
            with awake(prefix):
                _wine(prefix, "wineboot", "-i")
            if not (prefix / "system.reg").exists():
                raise RuntimeError(f"wineboot made no prefix in {prefix}")
            made.touch()
    return prefix


@contextmanager
def another_prefix() -> Iterator[Path]:
    """A prefix with a registry and a server of its own, which takes no room: all else is linked.

    The server makes the sockets of its programs: those of a network namespace need one that was started there.
    """
    original = wine_prefix()
    prefix = Path(tempfile.mkdtemp(prefix="wine-", dir=HOME))
    try:
        # Whoever uses the original may write its registry meanwhile: a file that went away is none of ours.
        subprocess.run(["cp", "-al", f"{original}/.", prefix], check=False, timeout=MAKING, capture_output=True)
        for registry in original.glob("*.reg"):
            # Wine writes into a file that has several names, instead of replacing it.
            (prefix / registry.name).unlink(missing_ok=True)
            shutil.copy(registry, prefix)
        yield prefix
    finally:
        _server(prefix, "-k")
        shutil.rmtree(prefix, ignore_errors=True)


@contextmanager
def awake(prefix: Path) -> Iterator[None]:
    """Wine's server and services run until the end of the block: a program starts in 0.1 s then, instead of 1 s.

    A service keeps the output of the program that started it open, which then never ends: hence they are started here.
    """
    _server(prefix, "-p")
    try:
        if (prefix / "system.reg").exists():
            _wine(prefix, "cmd", "/c", "exit")
        yield
    finally:
        _server(prefix, "-k")
        _server(prefix, "-w")


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else makes the thing of this name meanwhile, in another process either."""
    import fcntl  # here: on Windows this module can be imported, too, and says that there is no Wine

    with (HOME / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wine(prefix: Path, *command: str) -> None:
    _run(prefix, "wine", *command)


def _server(prefix: Path, flag: str) -> None:
    _run(prefix, "wineserver", flag)


def _run(prefix: Path, *command: str) -> None:
    nowhere = subprocess.DEVNULL
    subprocess.run(
        command,
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        env=environment(prefix),
        check=False,
        timeout=MAKING,
        start_new_session=True,
    )
