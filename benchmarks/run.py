"""Measure aiodhcp against its bars and other DHCP servers: `python benchmarks/run.py` as root. See README.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lab
import machine
from bars import judge
from modes import MODES, QUICK, Settings
from peers import DEFAULT, SERVERS
from report import as_json, bars_table, duplicates, mode_table, noise, summarise
from rich import box
from rich.console import Console
from rounds import measure_all
from serverkit import BUILD, POOL_MOST, Server


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    optional = ", ".join(name for name in SERVERS if name not in DEFAULT)
    parser.add_argument(
        "--quick", action="store_true", help="the main ratios to Kea, and hooks, in less than two minutes"
    )
    parser.add_argument("--rounds", type=int, help="of which the median counts (5; quick 3)")
    parser.add_argument("--servers", help=f"of {','.join(SERVERS)} (all but {optional}; quick aiodhcp,kea)")
    parser.add_argument("--modes", help=f"of {','.join(MODES)} (all; quick {','.join(QUICK)})")
    parser.add_argument("--seconds", type=float, help="of one measurement (3; quick 1)")
    parser.add_argument("--latency-seconds", type=float, default=5.0, help="of one measurement at a fixed rate (5)")
    parser.add_argument("--rate", type=float, default=500.0, help="exchanges/s of the latency mode (500)")
    parser.add_argument("--window", type=int, default=64, help="exchanges in flight (64)")
    parser.add_argument("--clients", type=int, default=10_000, help="that renew (10000; dnsmasq 2000)")
    parser.add_argument("--warmup", type=int, default=500, help="exchanges before the measured ones (500)")
    parser.add_argument("--pool", type=int, default=524_288, help="addresses (524288; dhcpd never more than 16384)")
    parser.add_argument("--leases", type=int, default=1_000_000, help="where there are many (1000000)")
    parser.add_argument("--subnets", type=int, default=10_000, help="where there are many (10000)")
    parser.add_argument("--reservations", type=int, default=100_000, help="where there are many (100000)")
    parser.add_argument("--waiting", type=float, help="seconds in all to wait for a quiet machine (600; quick 0)")
    parser.add_argument("--host-name", action="store_true", help="clients send a host name")
    parser.add_argument("--no-client-id", action="store_true", help="clients send no client identifier")
    parser.add_argument("--directory", type=Path, default=BUILD, help="where the servers keep their leases")
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument("--output", type=Path, help="the JSON file (benchmarks/results/TIME.json)")
    options = parser.parse_args(arguments)
    quick = options.quick
    options.servers = _chosen(parser, options.servers, SERVERS, ("aiodhcp", "kea") if quick else DEFAULT)
    options.modes = _chosen(parser, options.modes, MODES, QUICK if quick else tuple(MODES))
    for name, short, long in (("rounds", 3, 5), ("seconds", 1.0, 3.0), ("waiting", 0.0, 600.0)):
        if getattr(options, name) is None:
            setattr(options, name, short if quick else long)
    if options.rounds < 1 or not 4096 <= options.pool <= POOL_MOST or options.clients < options.window:
        parser.error(
            f"needs a round or more, a pool of 4096 to {POOL_MOST} addresses, and more clients than the window"
        )
    if not 20_000 <= options.leases <= POOL_MOST // 2 or not 2 <= options.subnets <= 1 << 15:
        parser.error(f"needs 20000 to {POOL_MOST // 2} leases, and 2 to 32768 subnets")
    if not 1 <= options.reservations <= options.subnets * 20:
        parser.error("needs a reservation or more, twenty to a subnet at most")
    return options


def _chosen(
    parser: argparse.ArgumentParser, text: str | None, known: Iterable[str], default: Iterable[str]
) -> list[str]:
    """In the order in which they are known."""
    if text is None:
        return list(default)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is not one of {', '.join(known)}")
    return [name for name in known if name in names]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    if problems := lab.shortcomings():
        console.print(f"[red]cannot measure here: {'; '.join(problems)}")
        return 2
    lab.interrupt_on_signals()
    lab.compile_tools()
    settings = Settings(
        rounds=options.rounds,
        seconds=options.seconds,
        latency_seconds=options.latency_seconds,
        rate=options.rate,
        window=options.window,
        clients=options.clients,
        warmup=options.warmup,
        pool=options.pool,
        host_name=options.host_name,
        client_id=not options.no_client_id,
        leases=options.leases,
        subnets=options.subnets,
        reservations=options.reservations,
        waiting=options.waiting,
    )
    began = time.monotonic()
    skipped = {name: reason for name in options.servers if (reason := SERVERS[name].missing())}
    for name, reason in skipped.items():
        console.print(f"[yellow]{name} skipped: {reason}")
    servers = [SERVERS[name] for name in options.servers if name not in skipped]
    if not servers or "aiodhcp" in skipped:
        return 2
    facts = machine.facts(options.directory)
    fsync = facts["fsync_us"]
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}; "
        f"an fsync takes {fsync['p50']:,.0f} µs, the slowest in a hundred {fsync['p99']:,.0f}",
        highlight=False,
    )
    about = {server.name: _about(server, settings) for server in servers}
    for name, told in about.items():
        console.print(
            f"{name}: {told['title']}, {told['version']}; pool of {told['pool']:,}, "
            f"{told['renewing_clients']:,} clients renew; durable before the ACK? {told['durable_before_ack']}",
            highlight=False,
        )
    try:
        with lab.workspace(options.directory) as under:
            runs, failures = measure_all(console, servers, options.modes, settings, under)
    except KeyboardInterrupt:
        console.print("interrupted; namespaces removed")
        return 130
    except lab.BenchError as error:
        console.print(f"[red]{error}")
        return 1

    style = box.MARKDOWN if options.markdown else box.SIMPLE_HEAD
    summary = summarise(runs)
    for mode in options.modes:
        if summary[mode]:
            console.print(f"\n[bold]{mode}[/bold]: {MODES[mode].title}\n", highlight=False)
            console.print(mode_table(mode, summary[mode], style))
    verdicts = judge(settings, runs)
    console.print("\n[bold]The bars[/bold]: medians of the ratios of each round\n")
    console.print(bars_table(verdicts, style, wide=console.width >= 140))
    console.print(duplicates(runs), highlight=False)
    if disturbed := noise(runs):
        console.print(f"[yellow]{disturbed}", highlight=False)
    now = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    output = options.output or lab.HERE / "results" / f"{now}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "time": now,
        "machine": facts,
        "settings": asdict(settings),
        "servers": about,
        "skipped": skipped,
        "failures": failures,
        "bars": as_json(verdicts),
        "summary": summary,
        "runs": runs,
    }
    output.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"{(time.monotonic() - began) / 60:.1f} minutes; written to {output}", highlight=False)
    return 1 if failures else 0


def _about(server: Server, settings: Settings) -> dict[str, Any]:
    return {
        "title": server.title,
        "version": server.version(),
        "durable_before_ack": server.durability,
        "pool": settings.pool_of(server),
        "renewing_clients": settings.load("renew", server).clients,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
