"""Records the terminal sessions that pages show, as docs/sessions/NAME.svg: what is printed is what was run.

    python docs/generator/sessions.py [--to DIRECTORY] [NAME ...]

``demo`` is recorded as root, in network namespaces, with udhcpc. A picture has no font, and fetches nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PLAYED_IN = "/home/you"
TO = Path(__file__).parents[1] / "sessions"
CONFIGURATION = """\
plugins = ["lobby.py"]
store.path = "leases.sqlite"
transport = { type = "udp", host = "127.0.0.1", port = 6767 }
options.domain-name-servers = ["192.0.2.1"]

[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.10-192.0.2.99"]
relays = ["127.0.0.1"]
"""
LOBBY = '''\
"""Visitors get an address for ten minutes."""

from aiodhcp import Use, hookimpl


@hookimpl
def select_lease_time(packet):
    return Use(600) if packet.options.get("host-name", "").startswith("visitor") else None
'''
SESSIONS = {
    "demo": ("aiodhcp demo --once", 118),
    "explain": (
        "aiodhcp explain dhcp.toml --relay 127.0.0.1 --mac 02:00:00:00:00:01 --option host-name=visitor-1",
        100,
    ),
    "hooks": ("aiodhcp hooks dhcp.toml", 118),
}
"""The command of each, and how many columns its terminal has."""


def record(name: str, to: Path) -> None:
    """Run a session and write its picture.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    command, columns = SESSIONS[name]
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        port = free_port()
        (here / "dhcp.toml").write_text(CONFIGURATION.replace("6767", port))
        (here / "lobby.py").write_text(LOBBY)
        with serving(here, port) if name == "hooks" else nullcontext():
            printed = run(command, here, columns)
    # Times as a terminal of that width has room for; and a directory of another length, in columns that stay.
    printed = re.sub(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d+\+00:00", r"\1", printed)
    longer = " " * (len(directory) - len(PLAYED_IN))
    printed = re.sub(rf"{re.escape(directory)}(\S*)(\x1b\[0m)?(  )", rf"{PLAYED_IN}\1\2\3{longer}", printed)
    text = Text.from_ansi(printed.replace(directory, PLAYED_IN))
    with open(os.devnull, "w") as nowhere:
        screen = Console(record=True, width=columns, file=nowhere, force_terminal=True)
        screen.print(Text.assemble(("$ ", "dim"), command))
        screen.print(text)
        picture = screen.export_svg(title="aiodhcp", theme=MONOKAI, unique_id=name)
    # What fetches a font, and falls back to another where it can't.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL).replace("Fira Code, ", "")
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{name}.svg").write_text(re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE))


def run(command: str, directory: Path, columns: int = 100) -> str:
    """What a command prints on a terminal."""
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(columns)}
    words = [sys.executable, "-m", *command.split()]
    return subprocess.check_output(
        words, cwd=directory, env=environment, stderr=subprocess.STDOUT, text=True, timeout=60
    )


@contextmanager
def serving(directory: Path, port: str) -> Iterator[None]:
    """A server that has had one client."""
    command = [sys.executable, "-m", "aiodhcp", "serve", "dhcp.toml"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            if not any("serving" in line for line in server.stderr):
                raise subprocess.CalledProcessError(server.wait(), command)
            run(f"aiodhcp probe --relay 127.0.0.1:{port} --hostname visitor-1", directory)
            yield
        finally:
            server.terminate()


def free_port() -> str:
    """A UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SESSIONS)}; all")
    parser.add_argument("--to", type=Path, default=TO, help="the directory")
    arguments = parser.parse_args()
    for name in arguments.names or SESSIONS:
        record(name, arguments.to)
        print(arguments.to / f"{name}.svg")


if __name__ == "__main__":
    main()
