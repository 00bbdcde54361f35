"""Measure aiodhcp against other DHCP servers: `python benchmarks/run.py` as root. See README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lab
from peers import DEFAULT, POOL_MOST, SERVERS, Server
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

MODES = {
    "dora": "new leases: DISCOVER, OFFER, REQUEST, ACK",
    "renew": "renewals: REQUEST, ACK",
    "discover": "DISCOVER, OFFER",
    "latency": "new leases at a fixed low rate",
}
TROUBLES = ("timeouts", "failed", "naks", "duplicates", "wrong", "unextended", "held_up")
NOISE = 0.03  # share of the two cores that others may take before a measurement is repeated
ATTEMPTS = 3  # at one measurement


@dataclass(frozen=True)
class Settings:
    rounds: int
    seconds: float
    latency_seconds: float
    rate: float
    window: int
    clients: int
    warmup: int
    pool: int
    host_name: bool
    client_id: bool
    attempts: int  # at one measurement, when others are busy on this machine
    patience: float  # seconds to wait for it to fall quiet

    def pool_of(self, server: Server) -> int:
        return min(self.pool, server.pool_most)

    def load(self, server: Server, mode: str, number: int) -> lab.Load:
        """The load of one measurement; `number` gives every one its own hardware addresses and order."""
        room = self.pool_of(server) * 9 // 10 - self.warmup
        return lab.Load(
            mode="dora" if mode == "latency" else mode,
            seconds=self.latency_seconds if mode == "latency" else self.seconds,
            count=1_000_000_000 if mode == "renew" else room,
            window=self.window,
            rate=self.rate if mode == "latency" else 0.0,
            clients=min(self.clients, server.clients_most, room),
            warmup=min(self.warmup, room),
            mac=0x02_00_00_00_00_00 + ((number % 0xFFFF) << 24),
            seed=number + 1,
            client_id=self.client_id,
            host_name=self.host_name,
        )


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    names = ",".join(SERVERS)
    parser.add_argument("--quick", action="store_true", help="one short round: does it work, about how fast")
    parser.add_argument("--rounds", type=int, help="of which the median counts (5)")
    parser.add_argument("--servers", default=",".join(DEFAULT), help=f"of {names} (all but dhcpd-cache and null)")
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {','.join(MODES)} (all)")
    parser.add_argument("--seconds", type=float, help="of one measurement (3)")
    parser.add_argument("--latency-seconds", type=float, help="of one measurement at the fixed rate (5)")
    parser.add_argument("--rate", type=float, default=500.0, help="exchanges/s of the latency mode (500)")
    parser.add_argument("--window", type=int, default=64, help="exchanges in flight (64)")
    parser.add_argument("--clients", type=int, default=10_000, help="that renew (10000; dnsmasq 2000)")
    parser.add_argument("--warmup", type=int, default=500, help="exchanges before the measured ones (500)")
    parser.add_argument("--pool", type=int, default=524_288, help="addresses (524288; dhcpd never more than 16384)")
    parser.add_argument("--host-name", action="store_true", help="clients send a host name")
    parser.add_argument("--no-client-id", action="store_true", help="clients send no client identifier")
    parser.add_argument("--directory", type=Path, default=lab.BUILD, help="where the servers keep their leases")
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument("--output", type=Path, help="the JSON file (benchmarks/results/TIME.json)")
    options = parser.parse_args(arguments)
    options.servers = _chosen(parser, options.servers, SERVERS)
    options.modes = _chosen(parser, options.modes, MODES)
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 5)
    options.seconds = options.seconds or (1.0 if quick else 3.0)
    options.latency_seconds = options.latency_seconds or (2.0 if quick else 5.0)
    if options.rounds < 1 or not 4096 <= options.pool <= POOL_MOST or options.clients < options.window:
        parser.error(
            f"needs a round or more, a pool of 4096 to {POOL_MOST} addresses, and more clients than the window"
        )
    return options


def _chosen(parser: argparse.ArgumentParser, text: str, known: Iterable[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is not one of {', '.join(known)}")
    return names


def machine(directory: Path) -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fsync_ms": round(lab.fsync_milliseconds(directory), 3),
    }


Runs = dict[str, dict[str, list[dict[str, Any]]]]  # mode → server → one result a round


def measure_all(
    console: Console, servers: list[Server], modes: list[str], settings: Settings, directory: Path
) -> tuple[Runs, dict[str, str]]:
    """Round after round, every mode, every server, each time begun by another one."""
    runs: Runs = {mode: {server.name: [] for server in servers} for mode in modes}
    failures: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    number = int(time.time())
    with lab.Lab() as space, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=settings.rounds * len(modes) * len(servers))
        for turn in range(settings.rounds):
            first = turn % len(servers)
            for mode in modes:
                for server in servers[first:] + servers[:first]:
                    progress.update(task, description=f"round {turn + 1}/{settings.rounds}  {mode}  {server.name}")
                    number += ATTEMPTS
                    try:
                        result = _measure(space, server, mode, number, settings, directory)
                    except lab.BenchError as error:
                        failures[f"{server.name}, {mode}, round {turn + 1}"] = str(error)
                        progress.console.print(f"[red]{server.name}, {mode}: {error}", highlight=False)
                    else:
                        runs[mode][server.name].append(result)
                        progress.console.print(_line(server, mode, result), highlight=False, style="dim")
                    progress.advance(task)
    return runs, failures


def _measure(
    space: lab.Lab, server: Server, mode: str, number: int, settings: Settings, directory: Path
) -> dict[str, Any]:
    """One measurement; the quietest of a few if others were busy on this machine meanwhile. Whether it is repeated
    depends on them alone, never on the result."""
    attempts: list[dict[str, Any]] = []
    while len(attempts) < settings.attempts:
        lab.wait_quiet(NOISE, settings.patience)
        load = settings.load(server, mode, number + len(attempts))
        attempts.append(lab.measure(space, server, load, settings.pool_of(server), directory))
        if attempts[-1]["others_cpu"] <= NOISE:
            break
    quietest = min(attempts, key=lambda result: float(result["others_cpu"]))
    return quietest | {"attempts": len(attempts)}


def _line(server: Server, mode: str, result: dict[str, Any]) -> str:
    troubles = _troubles([result])
    return (
        f"{mode:8} {server.name:12} {result['exchanges_per_second']:>9,.0f}/s"
        f"  {result['server_cpu_us'] or 0:>7,.1f} µs CPU"
        f"  generator idle {result['generator_idle']:.0%}, core {result['core_speed']:.1f}  {troubles}"
    )


def _troubles(results: list[dict[str, Any]]) -> str:
    found = [f"{total} {name}" for name in TROUBLES if (total := sum(result[name] for result in results))]
    busy = max(result["others_cpu"] for result in results)
    if busy > NOISE:
        found.append(f"others took {busy:.0%} of the cores")
    found += sorted({result["complaint"] for result in results if "complaint" in result})
    return ", ".join(found)


def summarise(runs: Runs) -> dict[str, dict[str, dict[str, Any]]]:
    """mode → server → medians over the rounds."""
    return {
        mode: {name: _summary(results) for name, results in servers.items() if results}
        for mode, servers in runs.items()
    }


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [result["exchanges_per_second"] for result in results]
    latency = {
        step: {
            point: statistics.median(result["latency_us"][step][point] for result in results)
            for point in ("p50", "p90", "p99", "max")
        }
        for step in ("offer", "ack", "exchange")
        if all(result["latency_us"][step] for result in results)
    }
    return {
        "rounds": len(results),
        "exchanges_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "server_cpu_us": statistics.median(result["server_cpu_us"] or 0 for result in results),
        "latency_us": latency,
        "generator_idle": statistics.median(result["generator_idle"] for result in results),
        "core_speed": statistics.median(result["core_speed"] for result in results),
        "troubles": _troubles(results),
    }


def table(mode: str, summary: dict[str, dict[str, Any]], style: box.Box) -> Table:
    """One mode. The ratio is aiodhcp's rate over the other's (the first server's, if aiodhcp was not measured)."""
    closed = mode != "latency"
    rated = {name: figures["exchanges_per_second"] for name, figures in summary.items()}
    first = "aiodhcp" if "aiodhcp" in rated else next(iter(rated), "")
    shown = Table(box=style)
    shown.add_column("server")
    for column in _columns(closed, first):
        shown.add_column(column, justify="right")
    shown.add_column("trouble")
    for name, figures in summary.items():
        cpu = f"{figures['server_cpu_us']:,.1f}"
        latency = figures["latency_us"]
        if closed:
            spread = f"{figures['slowest']:,.0f}-{figures['fastest']:,.0f}"
            ratio = f"{rated[first] / rated[name]:.2f}" if rated[name] else "-"
            row = [f"{rated[name]:,.0f}", spread, cpu, *_points(latency, "exchange"), ratio]
        else:
            row = [cpu, *_points(latency, "offer"), *_points(latency, "ack")]
        shown.add_row(name, *row, f"{figures['core_speed']:.0f}", figures["troubles"])
    return shown


def _columns(closed: bool, first: str) -> list[str]:
    if closed:
        return ["exchanges/s", "slowest-fastest", "CPU µs each", "p50 µs", "p99 µs", f"{first} ÷ it", "core"]
    return ["CPU µs each", "OFFER p50 µs", "p99", "ACK p50 µs", "p99", "core"]


def _points(latency: dict[str, dict[str, float]], step: str) -> list[str]:
    return [f"{latency[step][point]:,.0f}" if step in latency else "-" for point in ("p50", "p99")]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
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
        attempts=1 if options.quick else ATTEMPTS,
        patience=3.0 if options.quick else 60.0,
    )

    servers = []
    skipped: dict[str, str] = {}
    for name in options.servers:
        if reason := SERVERS[name].missing():
            skipped[name] = reason
            console.print(f"[yellow]{name} skipped: {reason}")
        else:
            servers.append(SERVERS[name])
    if not servers:
        return 2

    facts = machine(options.directory)
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}; an fsync takes {facts['fsync_ms']} ms",
        highlight=False,
    )
    about = {}
    for server in servers:
        about[server.name] = {
            "title": server.title,
            "version": server.version(),
            "durable_before_ack": server.durability,
            "pool": settings.pool_of(server),
            "renewing_clients": settings.load(server, "renew", 0).clients,
        }
        console.print(
            f"{server.name}: {server.title}, {about[server.name]['version']}; pool of {settings.pool_of(server):,}, "
            f"{about[server.name]['renewing_clients']:,} clients renew; durable before the ACK? {server.durability}",
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

    summary = summarise(runs)
    for mode in options.modes:
        if summary[mode]:
            how = f"{settings.rate:g} exchanges/s" if mode == "latency" else f"{settings.window} in flight"
            console.print(f"\n[bold]{mode}[/bold]: {MODES[mode]}; {how}\n", highlight=False)
            console.print(table(mode, summary[mode], box.MARKDOWN if options.markdown else box.SIMPLE_HEAD))
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
        "summary": summary,
        "runs": runs,
    }
    output.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"written to {output}", highlight=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
