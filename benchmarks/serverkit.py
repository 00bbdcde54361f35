"""What a server is to the benchmark: how it is started, asked for its version, and what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

POOL_START = IPv4Address("10.1.0.0")
POOL_MOST = 0xE0_0000  # up to 10.224.255.255
GENERATOR_ADDRESS = "10.0.0.2"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Plan:
    """What a server is started with."""

    directory: Path  # for its configuration, leases and log; its own
    interface: str
    address: str
    pool: int  # addresses

    @property
    def first(self) -> IPv4Address:
        return POOL_START

    @property
    def last(self) -> IPv4Address:
        return POOL_START + (self.pool - 1)

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def path(self, name: str) -> str:
        return str(self.directory / name)


@dataclass(frozen=True)
class Launch:
    """A command line, and what the environment must hold besides PATH."""

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """One server in one configuration."""

    name: str
    title: str
    package: str  # the Debian package that brings it
    durability: str  # what has happened to the lease when the ACK leaves
    missing: Callable[[], str | None]  # why it cannot be measured here
    version: Callable[[], str]
    launch: Callable[[Plan], Launch]
    pool_most: int = POOL_MOST
    clients_most: int = POOL_MOST  # that renew
    relay: str = GENERATOR_ADDRESS  # a relay agent of which it knows the subnet
    ready_seconds: float = 20.0  # that it may take until its first answer


HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"


def program(name: str) -> str | None:
    return shutil.which(name, path=SBIN)


def absent(name: str, package: str) -> Callable[[], str | None]:
    return lambda: None if program(name) else f"{name} is not installed (Debian package {package})"


def installed(name: str, plan: Plan) -> str:
    """A copy of the program: distributions bind AppArmor profiles to the path of the original, and these would keep it
    from reading a configuration outside /etc."""
    found = program(name)
    if found is None:
        raise FileNotFoundError(name)
    return shutil.copy(found, plan.path(name))


def version_of(name: str, argument: str, pattern: str) -> Callable[[], str]:
    def ask() -> str:
        shown = subprocess.run([program(name) or name, argument], capture_output=True, text=True, check=False)
        found = re.search(pattern, shown.stdout + shown.stderr)
        return found.group(1) if found else "?"

    return ask
