"""Measure what hooks cost: `python benchmarks/hooks.py` as root. Every figure is a ratio of runs that took turns.

- unused: a plugin that implements none of a packet's hooks, against no plugin at all.
- three: three plain `def` hooks on new_pkt, handle_options and pkt_send, which look at what they get.
- edit: the same and a reply that is edited, so that it is decoded and laid out anew.
- waiting: a hook that awaits 200 ms for every tenth client; the p99 of all the others, against a run without it.
- hanging: a hook that never returns for every tenth client; the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lab
from peers import AIODHCP, SERVERS, Launch, Plan, Server
from rich.console import Console
from rich.table import Table

PLUGINS = """
import asyncio

from aiodhcp import Drop, hookimpl

DENIED = {"02:de:ad:00:00:00"}


class Unused:
    @hookimpl
    def dhcp_control(self, code):
        pass

    @hookimpl
    def lease_recovered(self, lease):
        pass


class Three:
    def __init__(self):
        self.replies = 0

    @hookimpl
    def dhcp_new_pkt(self, packet):
        return Drop("denied") if packet.hardware_address in DENIED else None

    @hookimpl
    def dhcp_handle_options(self, options, exchange):
        if (options.vendor_class or b"").startswith(b"PXEClient"):
            exchange.classes.add("pxe")

    @hookimpl
    def dhcp_pkt_send(self, exchange):
        self.replies += exchange.reply_type == 5


class Edit(Three):
    @hookimpl
    def dhcp_pkt_send(self, reply):
        reply.options["domain-name"] = "edited.example"


class Waiting:
    @hookimpl
    async def dhcp_new_pkt(self, exchange):
        if exchange.chaddr[0] == 0x0A:
            await asyncio.sleep(0.2)


class Hanging:
    @hookimpl(deadline=1.0, failures=0)
    async def dhcp_new_pkt(self, exchange):
        if exchange.chaddr[0] == 0x0A:
            await asyncio.Event().wait()
"""
SECOND_RELAY = "10.0.0.3"
SLOW_CLIENTS = 0x0A_00_00_00_00_00
POOL = 262_144


def server_with(plugin: str) -> Server:
    """aiodhcp with one plugin of the list above; without any if the name is empty."""

    def launch(plan: Plan) -> Launch:
        plan.write("bench_hooks.py", PLUGINS)
        plugins = f'plugins = ["bench_hooks.py:{plugin}"]\n' if plugin else ""
        text = plugins + AIODHCP.format(plan=plan)
        return Launch([sys.executable, "-m", "aiodhcp", "serve", plan.write("aiodhcp.toml", text)])

    return replace(SERVERS["aiodhcp"], name=f"aiodhcp-{plugin.lower() or 'plain'}", launch=launch)


def throughput(space: lab.Lab, plugin: str, mode: str, seconds: float, number: int, under: Path) -> float:
    """Exchanges a second of a server's own CPU time: what other programs take meanwhile does not count."""
    load = lab.Load(
        mode=mode, seconds=seconds, count=150_000, clients=5_000, warmup=500, mac=0x02_00_00_00_00_00, seed=number
    )
    result = lab.measure(space, server_with(plugin), load, POOL, under)
    return float(1e6 / result["server_cpu_us"])


def p99_of_the_others(space: lab.Lab, plugin: str, rate: float, seconds: float, under: Path) -> tuple[float, int]:
    """Milliseconds, and exchanges that failed, while every tenth client meets the plugin."""
    with lab.serving(space, server_with(plugin), POOL, under):
        common = ["--mode", "dora", "--seconds", str(seconds), "--warmup", "0", "--sleep"]
        others = [*common, "--rate", str(rate * 0.9), "--window", "512"]
        slow = [
            *common,
            "--rate",
            str(rate * 0.1),
            "--window",
            "512",
            "--giaddr",
            SECOND_RELAY,
            "--mac",
            f"{SLOW_CLIENTS:012x}",
        ]
        slow += ["--timeout", "3", "--tries", "1"]
        running = [space.generator(arguments) for arguments in (others, slow)]
        try:
            shown = [process.communicate(timeout=seconds + 60)[0] for process in running]
        finally:
            for process in running:
                lab._end(process)
    result: dict[str, Any] = json.loads(shown[0])
    return float(result["latency_us"]["exchange"]["p99"]) / 1000, int(result["failed"]) + int(result["timeouts"])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/hooks.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement (3)")
    parser.add_argument("--rate", type=float, default=400.0, help="exchanges/s while some clients wait (400)")
    options = parser.parse_args(arguments)
    console = Console()
    missing = lab.shortcomings()
    if missing:
        console.print("can't be measured here: " + "; ".join(missing))
        return 1
    lab.interrupt_on_signals()
    lab.compile_tools()
    plugins = ("", "Unused", "Three", "Edit")
    rates: dict[tuple[str, str], list[float]] = {}
    latencies: dict[str, list[tuple[float, int]]] = {}
    with lab.Lab() as space, lab.workspace(lab.BUILD) as under:
        second = ["address", "add", f"{SECOND_RELAY}/8", "dev", lab.GENERATOR_INTERFACE]
        subprocess.run(["ip", "-n", space.generator_space, *second], check=True)
        for turn in range(options.rounds):
            console.print(f"round {turn + 1} of {options.rounds}")
            for mode in ("dora", "renew"):
                order = plugins[turn % 4 :] + plugins[: turn % 4]
                for plugin in order:
                    figure = throughput(space, plugin, mode, options.seconds, turn, under)
                    rates.setdefault((mode, plugin), []).append(figure)
            for plugin in ("", "Waiting", "Hanging"):
                found = p99_of_the_others(space, plugin, options.rate, options.seconds * 2, under)
                latencies.setdefault(plugin, []).append(found)
    table = Table("exchanges per CPU second", "no plugin", *[f"{plugin.lower()} (ratio)" for plugin in plugins[1:]])
    for mode in ("dora", "renew"):
        plain = rates[mode, ""]
        ratios = [
            statistics.median(one / other for one, other in zip(rates[mode, plugin], plain, strict=True))
            for plugin in plugins[1:]
        ]
        table.add_row(mode, f"{statistics.median(plain):.0f}", *[f"{ratio:.3f}" for ratio in ratios])
    console.print(table)
    table = Table("one client in ten meets a hook that", "p99 of the others, ms", "ratio to none", "others failed")
    plain_p99 = [p99 for p99, _ in latencies[""]]
    for plugin, words in (("", "is not there"), ("Waiting", "awaits 200 ms"), ("Hanging", "never returns")):
        p99s = [p99 for p99, _ in latencies[plugin]]
        ratio = statistics.median(one / other for one, other in zip(p99s, plain_p99, strict=True))
        failed = sum(failures for _, failures in latencies[plugin])
        table.add_row(words, f"{statistics.median(p99s):.2f}", f"{ratio:.2f}", str(failed))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
