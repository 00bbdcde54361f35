"""Callouts for tests: C compiled once, and loaded in this process, in one of Python, or in one of Wine.

Each test has a copy of the library to itself, so that none shares its globals. Where CALLOUT_LIBRARIES names a
directory, the libraries are taken from there.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client import Client, Clock, make_engine

from aiodhcp import Subnet
from aiodhcp.callout import CalloutPlugin, Library
from aiodhcp.callout.abi import BUFFER_SIZE, ServerOptionsTable
from aiodhcp.callout.callouts import Callouts
from aiodhcp.callout.child import Child
from aiodhcp.callout.hosts import Host
from aiodhcp.runtime import HookTasks

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "callouts"
NATIVE = ".dll" if sys.platform == "win32" else ".so"
PREBUILT = os.environ.get("CALLOUT_LIBRARIES", "")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-parentheses")
FLAGS = {
    ".so": ("-D_POSIX_C_SOURCE=200809L", "-fPIC", "-fvisibility=hidden"),
    ".dll": ("-D__USE_MINGW_ANSI_STDIO=1", "-static-libgcc", "-Wl,--kill-at"),
}
COMPILERS = {".so": shutil.which("cc") or shutil.which("gcc"), ".dll": shutil.which("x86_64-w64-mingw32-gcc")}
PATIENT = {"deadline": 20.0, "control_timeout": 20.0, "patience": 60.0}
"""For children: what a busy machine does to them is not what these tests are about."""


# ── libraries ──


def build(source: Path, target: Path) -> Path:
    """Compile a callout for the system that has such libraries; a warning is an error."""
    compiler = COMPILERS[target.suffix]
    if compiler is None:
        pytest.skip(f"there is no C compiler for {target.suffix}")
    flags = ("-std=c99", "-O1", *WARNINGS, *FLAGS[target.suffix], "-shared", f"-I{EXAMPLES}")
    done = subprocess.run([compiler, *flags, "-o", target, source], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return target


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``libraries("traps")``: the library made of traps.c, here or among the examples; made when first asked for.

    For this system, or for the one whose libraries have the suffix that is given.
    """
    directory = Path(PREBUILT or tmp_path_factory.mktemp("callouts"))

    def library(name: str, suffix: str = NATIVE) -> Path:
        target = directory / f"{name}{suffix}"
        if not target.exists():
            build(next(path for each in (HERE, EXAMPLES) if (path := each / f"{name}.c").exists()), target)
        return target

    return library


@pytest.fixture(params=["inline", "process"] if sys.platform == "win32" else ["inline", "process", "wine"])
def mode(request: pytest.FixtureRequest) -> str:
    """How callouts are loaded. A test with this mark is for one of these only: it says why.

    ``@pytest.mark.parametrize("mode", ["inline"], indirect=True)``
    """
    if request.param == "wine":
        if sys.platform == "win32":
            pytest.skip("Wine is for other systems")
        import wine_kit  # which is nothing for Windows

        if missing := wine_kit.is_there():
            pytest.skip(missing)
    return request.param


@pytest.fixture
def suffix(mode: str) -> str:
    """Of the libraries that can be loaded."""
    return ".dll" if mode == "wine" else NATIVE


@pytest.fixture
def seen(mode: str) -> Callable[[Path | str], str]:
    """``seen(path)``: how a callout has to be told of a file."""
    return lambda path: f"Z:{path}".replace("/", "\\") if mode == "wine" else str(path)


@pytest.fixture
def copied(libraries: Callable[..., Path], suffix: str, tmp_path: Path) -> Callable[..., Path]:
    """``copied("traps", "b")``: a copy of a library by another name, which shares nothing with others."""

    def copy(name: str, named: str = "") -> Path:
        target = tmp_path / f"{named or name}{suffix}"
        if not target.exists():
            shutil.copy(libraries(name, suffix), target)
        return target

    return copy


@pytest.fixture
def compiled(suffix: str, tmp_path: Path) -> Callable[[str], Path]:
    """``compiled("int x;")``: a library of this C."""

    def compile(text: str) -> Path:
        source = tmp_path / "compiled.c"
        source.write_text(text)
        return build(source, tmp_path / f"compiled{suffix}")

    return compile


# ── loaded ──


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """``run(hooks.control(None, code))``: what a coroutine comes to, on a loop that lives as long as the test."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner.run


@pytest.fixture(scope="session")
def wine_host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """What starts Wine, in the prefix that all tests have."""
    import wine_kit

    from aiodhcp.callout.wine import WineHost

    return WineHost(wine_kit.wine_prefix(), tmp_path_factory.mktemp("wine"))


@pytest.fixture
def load(mode: str, run: object, request: pytest.FixtureRequest) -> Iterator[Callable[..., Callouts]]:
    """``load(path)``: a callout in this mode, which ends with the test."""
    loaded: list[Library | Child] = []

    def load(path: Path | str, **more: Any) -> Library | Child:
        if mode == "inline":
            loaded.append(Library(path, **more))
        elif mode == "process":
            loaded.append(Child(path, **{**PATIENT, **more}))
        else:
            loaded.append(Child(path, host=request.getfixturevalue("wine_host"), **{**PATIENT, **more}))
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()


class Trap:
    """A loaded copy of traps.c, the plugin of it, and what it noted.

    Args:
        callouts: the copy.
        notes: the file that it writes.
        run: runs a coroutine.
    """

    def __init__(self, callouts: Callouts, notes: Path, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.callouts = callouts
        self.plugin = CalloutPlugin(callouts)
        self.notes = notes
        self.run = run

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one of ``Callouts`` without the plugin."""

        async def call() -> Any:
            said = getattr(self.callouts, name)(*arguments)
            return await said if inspect.isawaitable(said) else said

        return self.run(call())

    def control(self, code: int) -> None:
        """Tell it START, STOP, PAUSE or CONTINUE."""
        self.call("control", code)

    @property
    def lines(self) -> list[str]:
        """What it noted, a line a call, without the packets."""
        return [re.sub(" packet=.*", "", line) for line in self.notes.read_text().splitlines()]

    @property
    def calls(self) -> list[str]:
        """The names of the hooks that were called, in order; with its code, where there is one."""
        named = [line.split() for line in self.lines if not line.startswith(("entry", "chain", "kept"))]
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
        return bytes.fromhex(re.findall(" packet=(.*)", self.notes.read_text())[-1]).ljust(BUFFER_SIZE, b"\0")

    @property
    def kept(self) -> int:
        """Contexts that it made and did not free."""
        return int(re.findall("kept=(.*)", self.notes.read_text())[-1])

    @property
    def entries(self) -> list[int]:
        """How often its entry point had been called, this time included, each time that it was."""
        return [int(told["entries"]) for told in self.told("entry")]

    @property
    def options(self) -> ServerOptionsTable:
        """The structure that ``DhcpHandleOptionsHook`` was given last, with the pointers that were in it there."""
        octets = re.findall("structure (.*)", self.notes.read_text())[-1]
        return ServerOptionsTable.from_buffer_copy(bytes.fromhex(octets))


@pytest.fixture
def trap(
    copied: Callable[..., Path],
    load: Callable[..., Callouts],
    run: Callable[[Coroutine[Any, Any, Any]], Any],
    seen: Callable[[Path], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Trap]:
    """``trap("veto context")``: traps.c, loaded with these words."""
    numbers = iter(range(100))

    def set_trap(words: str = "", name: str = "traps", **more: Any) -> Trap:
        notes = tmp_path / f"notes-{next(numbers)}"
        notes.touch()
        monkeypatch.setenv("CALLOUT_TRAP", words)
        monkeypatch.setenv("CALLOUT_TRAP_NOTES", seen(notes))
        return Trap(load(copied("traps", name), **more), notes, run)

    return set_trap


@pytest.fixture
def example(
    load: Callable[..., Callouts],
    copied: Callable[..., Path],
    seen: Callable[[Path], str],
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., CalloutPlugin]:
    """``example("option_editor", CALLOUT_OPTION=...)``: one of the examples, loaded with this environment."""
    if mode == "inline" and sys.platform == "win32":
        pytest.skip("the C library of a DLL knows the environment with which the process started")
    monkeypatch.setenv("CALLOUT_LOG", seen(tmp_path / "log"))

    def make(name: str, **environment: str) -> CalloutPlugin:
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        return CalloutPlugin(load(copied(name)))

    return make


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[str]]:
    """The lines that the examples logged."""
    return lambda: (tmp_path / "log").read_text().splitlines()


@pytest.fixture
def talk_to(clock: Clock, mode: str, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> Callable[..., Client]:
    """``talk_to(trap, other)``: a client of a server that has these callouts.

    In this process there is nothing to await, which the client would say.
    """

    def talk(*plugins: object, subnets: Iterable[Subnet] = (), **more: Any) -> Client:
        given = [each.plugin if isinstance(each, Trap) else each for each in plugins]
        if mode == "inline":
            return Client(make_engine(*subnets, plugins=given, **more), clock)
        runtime = HookTasks().runtime()
        return Client(make_engine(*subnets, plugins=given, runtime=runtime, **more), clock, run=run)

    return talk
