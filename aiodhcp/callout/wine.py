"""Wine: the way to callouts that are DLLs of Windows, on other systems. Each is in a process of its own, of host.c.

host.c is compiled here, once, and runs in a Wine prefix that no other program needs to know of: the directory in which
Wine keeps its drive C: and its registry.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Final

from aiodhcp import ConfigError
from aiodhcp.callout.binaries import Binary, read_binary

if sys.platform != "win32":
    import fcntl

__all__ = ["COMPILE", "EXITS", "SOURCE", "WineHost", "find_compiler"]

log = logging.getLogger("aiodhcp.callout")

SOURCE: Final = Path(__file__).with_name("host.c")
COMPILE: Final = ("-std=c99", "-D__USE_MINGW_ANSI_STDIO=1", "-O2", "-Wall", "-Wextra", "-municode", "-s")
"""How it is compiled, by gcc and by zig."""
MINGW: Final = tuple(f"x86_64-w64-mingw32-gcc{flavour}" for flavour in ("", "-win32", "-posix"))
TARGET: Final = ("-target", "x86_64-windows-gnu")

EXITS: Final[Mapping[int, str]] = {
    1: "it could not be loaded",
    2: "host.exe was started with wrong arguments",
    80: "it faulted",
    81: "it did not return after the server was gone",
    82: "host.exe was sent what is no call",
    83: "host.exe got no memory",
}
"""What the exit codes of host.exe mean; a callout may end the process with any other one, or with one of these."""

WINES: Final = ("wine64", "/usr/lib/wine/wine64", "wine", "wine-stable")
"""Where Wine is looked for. On Debian, ``wine`` is a shell script."""
SERVERS: Final = ("wineserver", "/usr/lib/wine/wineserver64", "/usr/lib/wine/wineserver")
PERSIST: Final = 60
"""Seconds that Wine's server waits for another process after the last one."""
MAKE_TIMEOUT: Final = 300.0
"""Seconds that Wine may take for the prefix, or for a file of the registry."""
UNNAMED: Final = frozenset('\\:*?"<>|')
"""Characters that no path of Windows has in a name."""


class WineHost:
    """Runs callouts of Windows by Wine: prepares it, and says how a process is started.

    Args:
        prefix: the Wine prefix, made when it is first needed; for root ``/var/lib/aiodhcp/wine`` by default, for others
            ``aiodhcp/wine`` in ``$XDG_STATE_HOME`` or ``~/.local/state``.
        cache: directory for the compiled host.c; ``/var/cache/aiodhcp``, or ``aiodhcp`` in ``$XDG_CACHE_HOME`` or
            ``~/.cache``.
        registry: files that the registry editor of Windows exported, to be imported into the prefix.

    Attributes:
        name: of this way, for the log.
        load_timeout: seconds that the first return may take.
        prefix: likewise.
        cache: likewise.
        registry: likewise.
    """

    name = "wine"
    load_timeout = 60.0
    exits = EXITS
    # Of Wine itself, when its server ends just as it starts: host.exe never ends like that without a word.
    transient = frozenset({1})

    def __init__(self, prefix: Path | None = None, cache: Path | None = None, registry: Iterable[Path] = ()) -> None:
        # Absolute, and a symbolic link resolved: Wine takes no other prefix, and C: is only told by it.
        self.prefix = (prefix or _default("/var/lib", "XDG_STATE_HOME", ".local/state") / "wine").expanduser().resolve()
        self.cache = (cache or _default("/var/cache", "XDG_CACHE_HOME", ".cache")).expanduser().resolve()
        self.registry = tuple(registry)
        self._host: Path | None = None

    def __repr__(self) -> str:
        return f"<WineHost {self.prefix}>"

    # ── what a process is started with ───────────────────────────────────────────────────────────────────────────

    def command(self, versions: Sequence[int], path: Path, chain: Sequence[Path]) -> list[str]:
        """The command of a process that has a callout; ``prepare`` has to be called before.

        The process is Wine's own, not one of a shell around it: to kill it ends the callout.

        Args:
            versions: of the API, tried one after the other.
            path: of the DLL, absolute.
            chain: paths of the DLLs that it is told of.

        Raises:
            ConfigError: as ``prepare``, and a path can't be said in Windows.
        """
        host = self._host or self._compiled()
        paths = [self.windows_path(each) for each in (path, *chain)]
        return [self._wine, str(host), ",".join(map(str, versions)), *paths]

    def environment(self) -> dict[str, str]:
        """The environment of that process."""
        found = dict(os.environ)
        # There is nobody to look at windows, and Wine takes its time to find out.
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            found.pop(name, None)
        # Wine reads its arguments as the locale says; Python writes paths in UTF-8.
        locale = found.get("LC_ALL") or found.get("LC_CTYPE") or found.get("LANG") or ""
        if not locale.lower().endswith(("utf-8", "utf8")):
            found["LC_ALL"] = "C.UTF-8"
        # Without mscoree and mshtml Wine doesn't ask whether to install Mono and Gecko. Where a callout takes care that
        # a fault reaches Wine's debugger, that would take seconds.
        overrides = "mscoree,mshtml,winedbg.exe="
        return found | {
            "WINEPREFIX": str(self.prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": overrides,
        }

    def windows_path(self, path: Path) -> str:
        """What a path is called in the prefix.

        Args:
            path: absolute, or from the working directory.

        Raises:
            ConfigError: no path of Windows can have such a name.
        """
        path = Path(os.path.abspath(path))
        drive, root = "Z:\\", Path("/")
        inside = self.prefix / "drive_c"
        if path.is_relative_to(inside):
            drive, root = "C:\\", inside
        parts = path.relative_to(root).parts
        if any(UNNAMED & set(part) or part[-1] in ". " or not part.isprintable() for part in parts):
            raise ConfigError(f"{path}: Windows has no such names, choose another one")
        return str(PureWindowsPath(drive, *parts))

    # ── getting ready ────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, binary: Binary | None = None) -> None:
        """Compile host.c, make the prefix and import the files, what of it isn't done yet; and have Wine's server wait.

        Takes seconds the first time, otherwise some 20 ms. More than one process may do it at once.

        Args:
            binary: what is to be loaded.

        Raises:
            ConfigError: it is no DLL for x86-64; there is no Wine or no compiler; or it failed.
        """
        if binary is not None and (binary.format, binary.machine) != ("PE", "x86-64"):
            raise ConfigError(f"callout {binary.path}: is {binary}, and Wine runs DLLs of Windows for x86-64")
        wine = self._wine
        if self._host is None or not self._host.exists():
            self._host = self._compiled()
        with self._locked():
            self._make_prefix(wine)
            self._import(wine)
            self._serve()

    @cached_property
    def _wine(self) -> str:
        found = next(filter(None, map(shutil.which, WINES)), None)
        if found is None:
            raise ConfigError(
                "a callout of Windows needs Wine, which is not installed (Debian: apt install wine64; or a way to "
                "callouts that doesn't need it: a shared library of this system)"
            )
        # The script of Debian starts this one; without it there is one process less.
        beside = Path("/usr/lib/wine/wine64")
        return str(beside) if beside.exists() and not _is_binary(found) else found

    def _compiled(self) -> Path:
        """host.exe of this host.c and this compiler; without a compiler, of whichever it was."""
        _make_directory(self.cache, "the cache")
        _check_owner(self.cache)
        source = hashlib.sha256(SOURCE.read_bytes() + " ".join(COMPILE).encode()).hexdigest()[:16]
        compiler = find_compiler()
        if compiler is None:
            last = max(self.cache.glob(f"host-{source}-*.exe"), key=lambda path: path.stat().st_mtime, default=None)
            if last is None:
                raise ConfigError(
                    "a callout of Windows needs a compiler for Windows, once, and none is installed (Debian: apt "
                    "install gcc-mingw-w64-x86-64; or zig, also as ziglang in this Python environment)"
                )
            return last
        version = subprocess.run([*compiler, "--version"], capture_output=True, check=False, timeout=60).stdout
        made_by = hashlib.sha256("\0".join(compiler).encode() + version).hexdigest()[:8]
        target = self.cache / f"host-{source}-{made_by}.exe"
        if not target.exists():
            self._compile(compiler, target)
        return target

    def _compile(self, compiler: Sequence[str], target: Path) -> None:
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="host-", dir=self.cache) as directory:
                made = Path(directory) / "host.exe"
                # zig keeps much more than the outcome.
                environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": directory, "ZIG_LOCAL_CACHE_DIR": directory}
                log.info("wine: compiling %s with %s", SOURCE.name, compiler[0])
                done = subprocess.run(
                    [*compiler, *COMPILE, "-o", made, SOURCE],
                    env=environment,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    check=False,
                )
                if done.returncode or read_binary(made).machine != "x86-64":
                    raise ConfigError(f"{SOURCE} can't be compiled with {compiler[0]}: {_last(done.stderr)}")
                made.replace(target)  # at once, for who does the same
        except OSError as error:
            raise ConfigError(f"{SOURCE} can't be compiled with {compiler[0]}: {error}") from None
        log.info("wine: compiled in %.1f s: %s", time.monotonic() - began, target)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time makes this prefix."""
        _make_directory(self.prefix.parent, "the Wine prefix")
        try:
            # Never what somebody else has put there for us to follow.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(self.prefix.parent / f".{self.prefix.name}.lock", flags, 0o600)
        except OSError as error:
            raise ConfigError(f"the Wine prefix {self.prefix}: {error.filename}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _make_prefix(self, wine: str) -> None:
        if self.prefix.exists() and self.prefix.stat().st_uid != os.geteuid():
            raise ConfigError(
                f"the Wine prefix {self.prefix} belongs to user {self.prefix.stat().st_uid}, and Wine takes only one "
                f"of the user that it runs as, {os.geteuid()}"
            )
        last = self.prefix / "drive_c" / "windows" / "system32" / "kernel32.dll"
        # Still there: it was interrupted. Wine itself would take such a prefix for a complete one.
        begun = self.prefix / "aiodhcp-making"
        if last.exists() and not begun.exists():
            return
        began = time.monotonic()
        log.info("wine: making the prefix %s, once, some 700 MB", self.prefix)
        _make_directory(self.prefix, "the Wine prefix")
        begun.touch()
        self._serve()
        again = (self.prefix / ".update-timestamp").exists()
        self._run([wine, "wineboot", "-u" if again else "-i"], f"the Wine prefix {self.prefix} can't be made")
        if not last.exists():
            raise ConfigError(f"the Wine prefix {self.prefix} can't be made: Wine left it without {last.name}")
        begun.unlink()
        log.info("wine: made the prefix in %.1f s", time.monotonic() - began)

    def _import(self, wine: str) -> None:
        """Import the files of the registry, unless they were the last ones that were."""
        try:
            digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.registry]
        except OSError as error:
            raise ConfigError(f"registry {error.filename}: can't be read: {error.strerror}") from None
        last = self.prefix / "aiodhcp-imported"
        if not digests or (last.exists() and last.read_text().split() == digests):
            return
        last.unlink(missing_ok=True)
        for file, digest in zip(self.registry, digests, strict=True):
            log.info("wine: importing %s, SHA-256 %s", file, digest)
            self._run([wine, "reg", "import", self.windows_path(file)], f"registry {file}: can't be imported")
        last.write_text("".join(f"{each}\n" for each in digests))

    def _serve(self) -> None:
        """Have Wine's server outlive its processes for a while: without it the next one takes longer to start.

        Its services end some seconds after the last process all the same: until then it is 20 ms, later up to a second.
        """
        server = next(filter(None, map(shutil.which, SERVERS)), None)
        if server is not None:
            # Which fails if one runs already.
            subprocess.run(
                [server, f"-p{PERSIST}"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )

    def _run(self, command: Sequence[str], otherwise: str) -> None:
        """Run a program of Wine.

        Raises:
            ConfigError: it failed; ``otherwise`` and why.
        """
        # No pipes: what it leaves running would keep them open. A file has to be open for reading, too, for Wine.
        with tempfile.TemporaryFile("w+b") as said:
            environment = self.environment() | {"WINEDEBUG": "fixme-all"}
            why = ""
            try:
                code = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    check=False,
                    timeout=MAKE_TIMEOUT,
                ).returncode
            except subprocess.TimeoutExpired:
                code, why = -1, f"took longer than {MAKE_TIMEOUT:.0f} s"
            except OSError as error:
                code, why = -1, str(error)
            if code:
                said.seek(0)
                words = why or _last(said.read().decode(errors="replace")) or f"exit code {code}"
                raise ConfigError(f"{otherwise}: {' '.join(command)}: {words}")


def find_compiler() -> list[str] | None:
    """The command of a C compiler for Windows on x86-64: mingw-w64's, or else zig; None without."""
    for name in MINGW:
        if found := shutil.which(name):
            return [found, "-static-libgcc"]
    if found := shutil.which("zig"):
        return [found, "cc", *TARGET]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", *TARGET]
    return None


def _default(of_root: str, variable: str, in_home: str) -> Path:
    if os.geteuid() == 0:
        return Path(of_root, "aiodhcp")
    try:
        return Path(os.environ.get(variable) or Path.home() / in_home, "aiodhcp")
    except RuntimeError as error:
        raise ConfigError(f"there is no place for Wine's files: {error}") from None


def _check_owner(directory: Path) -> None:
    """Programs are run from there: nobody else may put one in.

    Raises:
        ConfigError: somebody else may.
    """
    found = directory.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise ConfigError(
            f"the cache {directory}: others may write to it, and a program is run from there (chown, chmod go-w)"
        )


def _make_directory(path: Path, what: str) -> None:
    try:
        path.mkdir(0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{what}: {path} can't be made: {error.strerror}") from None


def _is_binary(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _last(text: str) -> str:
    """Of what a program said, the lines that matter to people: the last few."""
    return "; ".join(line.strip() for line in text.splitlines()[-3:])
