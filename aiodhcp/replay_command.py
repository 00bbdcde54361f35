"""The command ``aiodhcp replay``, which lets a capture go through a configuration and its plugins again.

What it needs is imported when it runs: every other command would wait for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aiodhcp.administration import fail, load_settings
from aiodhcp.config import Settings
from aiodhcp.errors import AiodhcpError, ConfigError
from aiodhcp.leases import Lease
from aiodhcp.registration import Plugin
from aiodhcp.stores.sqlite import read_leases
from aiodhcp.subnets import Config, Subnet

if TYPE_CHECKING:
    from aiodhcp.recorded import Recorded
    from aiodhcp.replay import Replay

__all__ = ["replay"]

T = TypeVar("T")


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The capture, pcap or pcapng.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="CONFIG", help="A configuration (one like the recorded).")
    ] = None,
    subnet: Annotated[
        list[str] | None,
        typer.Option("--subnet", help="Without a configuration: a network to serve. May be repeated."),
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option("--plugin", "--plugins", help="A plugin, behind those of CONFIG. May be repeated."),
    ] = None,
    leases: Annotated[
        Path | None, typer.Option("--leases", metavar="STORE", help="A lease file to begin with. It is only read.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="ADDRESS", help="Which of the recorded servers is to be this one.")
    ] = None,
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", help="Where all requests arrive (as the capture says).")
    ] = None,
    ignore_replies: Annotated[
        bool, typer.Option("--ignore-replies", help="Learn no addresses and leases from what the recorded server said.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", "-e", help="Show every decision.")] = False,
    frame: Annotated[
        list[int] | None, typer.Option("--frame", help="Show this packet only, by its number. May be repeated.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show differences and totals only.")] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="RUN", help="Keep what it came to, as JSON, one object a line.")
    ] = None,
    diff: Annotated[
        Path | None, typer.Option("--diff", metavar="RUN", help="Show what is other than in a run that was saved.")
    ] = None,
    against_capture: Annotated[
        bool, typer.Option("--against-capture", help="Show what is other than the recorded server answered.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """Let the requests of a capture go through a configuration and plugins, by the clock of the capture.

    Nothing is sent, and no lease is stored; but plugins are started, and what they do they really do. Without CONFIG
    the server is one like that which answered in the capture. The exit status is 1 if something is other than in
    the run to compare with, or than recorded; 2 if there is nothing to compare with.

    \b
    Examples:
      aiodhcp replay lan.pcapng --plugins my_hooks.py
      aiodhcp replay lan.pcapng --config dhcp.toml --save before.json
      aiodhcp replay lan.pcapng --config dhcp.toml --diff before.json
    """
    from aiodhcp.recorded import survey
    from aiodhcp.replay_report import Report
    from aiodhcp.runs import Baseline, RunError

    if config is not None and subnet:
        fail("give either --config or --subnet", 2)
    if as_json and (explain or frame):
        fail("--json has it all: --explain and --frame don't go with it", 2)
    if save is not None and diff is not None and save.absolute() == diff.absolute():
        fail("--save and --diff name the same file", 2)
    answers_as = _parsed("--server", lambda text: int(IPv4Address(text)), server) if server else 0
    networks = [_parsed("--subnet", IPv4Network, each) for each in subnet or []]
    for one, other in combinations(networks, 2):
        if one.overlaps(other):
            fail(f"--subnet: {one} and {other} overlap", 2)
    try:
        recorded = survey(file, answers_as)
        if not recorded.requests:
            fail(f"aiodhcp: {recorded.wrong or f'{file}: has no requests to a DHCP server'}")
        if against_capture and not recorded.repliers:
            fail(f"aiodhcp: {file}: has no replies to compare with", 2)
        baseline = None if diff is None else Baseline(diff, recorded)
        settings = None if config is None else load_settings(config, "--subnet")
        run = _replay(
            file, recorded, settings, networks, plugin or [], leases, answers_as, interface or "", not ignore_replies
        )
        report = Report(
            run,
            recorded,
            baseline=baseline,
            against_capture=against_capture,
            explain=explain,
            frames=frozenset(frame or ()),
            quiet=quiet,
            as_json=as_json,
        )
        with ExitStack() as steps:
            kept = None if save is None else steps.enter_context(save.open("w", encoding="utf-8"))
            asyncio.run(report.go(kept))
    except RunError as error:
        fail(f"aiodhcp: {error}", 2)
    except AiodhcpError as error:
        # 1 is what --diff says of a difference.
        fail(f"aiodhcp: {error}", 1 if diff is None and not against_capture else 2)
    except BrokenPipeError:  # whoever read it has seen enough: the end is typer's
        raise
    except OSError as error:
        fail(f"aiodhcp: {error.filename}: {error.strerror}")
    if report.different:
        raise typer.Exit(1)


def _parsed(option: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        fail(f"{option}: {error}", 2)


def _replay(
    file: Path,
    recorded: Recorded,
    settings: Settings | None,
    networks: list[IPv4Network],
    plugins: list[str],
    leases: Path | None,
    server: int,
    interface: str,
    learn: bool,
) -> Replay:
    """A replay by what the command line says.

    Raises:
        AiodhcpError: a plugin can't be made, there is nothing to make a configuration of, or no such interface.
    """
    from aiodhcp.recorded import like_recorded
    from aiodhcp.replay import Replay, interfaces_of

    made: list[Plugin] = []
    if settings is not None:
        config = settings.config()
        made = settings.make_plugins()
        ethernet = settings.transport.type == "ethernet"
        names = settings.interfaces if ethernet else [settings.transport.type]
        places = interfaces_of(recorded, names, config=config, only=interface, server=server)
    else:
        places = interfaces_of(
            recorded, config=Config([Subnet(each) for each in networks]), only=interface, server=server
        )
        if not networks and not (recorded.networks and learn):
            why = (
                "--ignore-replies leaves"
                if recorded.networks
                else "has no server that gives out addresses, which leaves"
            )
            raise ConfigError(f"{file}: {why} nothing to make a configuration of: give --config or --subnet")
        config = like_recorded(recorded, networks, places)
        subnets = ", ".join(map(str, config.subnets[:4])) + ("…" if len(config.subnets) > 4 else "")
        print(f"no configuration: a server like the recorded one, for {subnets}", file=sys.stderr)
    if plugins:
        table = {"transport": {"type": "udp"}, "plugins": plugins}
        made += Settings.of(table, "command line").make_plugins()
    known: list[Lease] = [] if leases is None else read_leases(leases)
    return Replay(file, recorded, config, made, places, leases=known, server=server, learn=learn)
