"""Callouts for tests: C compiled once, a copy of the library for each test, so that none shares its globals."""

from __future__ import annotations

import _ctypes
import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client import Client, Clock, make_engine

from aiodhcp.callout import CalloutPlugin, Library

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "callouts"
COMPILER = shutil.which("cc") or shutil.which("gcc")


def build(source: Path, target: Path) -> Path:
    """Compile a callout; a warning is an error."""
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-parentheses")
    command = [COMPILER, *flags, "-shared", "-fPIC", "-fvisibility=hidden", f"-I{EXAMPLES}", "-o", target, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return target


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``libraries("traps")``: the library made of traps.c, here or among the examples; made when first asked for."""
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    directory = tmp_path_factory.mktemp("callouts")

    def library(name: str) -> Path:
        target = directory / f"{name}.so"
        source = next(path for path in (HERE / f"{name}.c", EXAMPLES / f"{name}.c") if path.exists())
        return target if target.exists() else build(source, target)

    return library


class Trap:
    """A loaded copy of traps.c, the plugin of it, and what it noted."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.plugin = CalloutPlugin(library)

    def read(self, name: str, kind: Any) -> Any:
        """A global of the library."""
        handle = ctypes.CDLL(str(self.library.path))
        try:
            return kind.from_buffer_copy(kind.in_dll(handle, name))
        finally:
            _ctypes.dlclose(handle._handle)

    @property
    def lines(self) -> list[str]:
        """What it noted, a line a call."""
        return self.read("said", ctypes.c_char * (1 << 18)).value.decode().splitlines()

    @property
    def calls(self) -> list[str]:
        """The names of the hooks that were called, in order; with its code, where there is one."""
        named = [line.split() for line in self.lines if not line.startswith(("entry", "chain"))]
        return [f"{hook} {more[0]}" if more[0].startswith("code=") else hook for hook, *more in named]

    def told(self, hook: str) -> list[dict[str, str]]:
        """The arguments of the calls of a hook."""
        return [
            dict(word.split("=") for word in line.split()[1:] if "=" in word)
            for line in self.lines
            if line.split()[0] == hook
        ]

    @property
    def packet(self) -> bytes:
        """What the last call was given, with NULs behind it."""
        return bytes(self.read("seen", ctypes.c_uint8 * 4096))

    @property
    def kept(self) -> int:
        """Contexts that it made and did not free."""
        return self.read("kept", ctypes.c_uint32).value


@pytest.fixture
def copied(libraries: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """``copied("traps", "b")``: a copy of a library by another name, which shares nothing with others."""

    def copy(name: str, named: str = "") -> Path:
        target = tmp_path / f"{named or name}.so"
        if not target.exists():
            shutil.copy(libraries(name), target)
        return target

    return copy


@pytest.fixture
def trap(copied: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Trap]]:
    """``trap("veto context")``: traps.c, loaded with these words."""
    loaded = []

    def load(words: str = "", name: str = "traps", **more: Any) -> Trap:
        monkeypatch.setenv("CALLOUT_TRAP", words)
        loaded.append(Trap(Library(copied("traps", name), **more)))
        return loaded[-1]

    yield load
    for each in loaded:
        each.library.close()


@pytest.fixture
def talk_to(clock: Clock) -> Callable[..., Client]:
    """``talk_to(trap, other)``: a client of a server that has these callouts."""

    def talk(*plugins: object, **more: Any) -> Client:
        given = [each.plugin if isinstance(each, Trap) else each for each in plugins]
        return Client(make_engine(plugins=given, **more), clock)

    return talk
