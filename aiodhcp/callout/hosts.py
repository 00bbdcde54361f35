"""Hosts: programs that have a callout in a process of their own. How they are started; frames.py is how they talk."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from aiodhcp.callout.binaries import Binary
from aiodhcp.errors import ConfigError

__all__ = ["Host", "PythonHost"]


class Host(Protocol):
    """A way to start such a program.

    Attributes:
        name: of the mode, as the configuration has it.
        load_timeout: seconds until a callout has to be loaded.
        exits: what the program means by a status that it exits with.
        transient: statuses that say, if it ends without a word, that the next one may do better.
    """

    name: str
    load_timeout: float
    exits: Mapping[int, str]
    transient: frozenset[int]

    def prepare(self, binary: Binary) -> None:
        """Make what isn't there yet. It may take long, and says so in the log.

        Args:
            binary: what is to be loaded.

        Raises:
            ConfigError: this can't load it, or something is missing.
        """

    def command(self, versions: Sequence[int], path: Path, chain: Sequence[Path]) -> list[str]:
        """What to run: the program that has the first return ready when the callout is loaded.

        Args:
            versions: of the API, to be offered in this order.
            path: of the callout.
            chain: of those behind it.
        """

    def environment(self) -> Mapping[str, str]:
        """The environment to run it in."""


class PythonHost:
    """This Python, with host.py. A callout is loaded in it as it would be in the server."""

    name = "process"
    load_timeout = 10.0
    exits: Mapping[int, str] = MappingProxyType({})
    transient: frozenset[int] = frozenset()

    def prepare(self, binary: Binary) -> None:
        """See that it is a library of this system."""
        if binary.is_foreign:
            raise ConfigError(f"callout {binary.path}: is {binary}, which the mode 'wine' runs")
        if not sys.executable:
            raise ConfigError(f"callout {binary.path}: there is no Python to run it in another process")

    def command(self, versions: Sequence[int], path: Path, chain: Sequence[Path]) -> list[str]:
        """Python without ``site``, and without what ``import aiodhcp`` imports."""
        offered = ",".join(map(str, versions))
        return [sys.executable, "-I", "-S", "-c", _BOOT, str(_PACKAGE), offered, str(path), *map(str, chain)]

    def environment(self) -> Mapping[str, str]:
        """That of this process."""
        return os.environ


_PACKAGE: Final = Path(__file__).absolute().parents[1]
# The modules that the host needs, without those that the packages around them import for everybody else: a callout
# that crashed is there again after a tenth of the time.
_BOOT: Final = """\
import os, sys, types
root, *arguments = sys.argv[1:]
for name, path in (("aiodhcp", root), ("aiodhcp.callout", os.path.join(root, "callout"))):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [path]
from aiodhcp.callout.host import main
sys.exit(main(arguments))
"""
