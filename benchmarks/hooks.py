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
from peers import AIODHCP, SERVERS, aiodhcp_with
from rich.console import Console
from rich.table import Table
from serverkit import Launch, Plan, Server

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
MODES = ("dora", "renew")
PLAIN = ("", "Unused", "Three", "Edit")
WAITING = {"": "is not there", "Waiting": "awaits 200 ms", "Hanging": "never returns"}


def server_with(plugin: str) -> Server:
    """aiodhcp with one plugin of the list above; without any if the name is empty."""

    def launch(plan: Plan) -> Launch:
        plan.write("bench_hooks.py", PLUGINS)
        plugins = f'plugins = ["bench_hooks.py:{plugin}"]\n' if plugin else ""
        text = plugins + AIODHCP.format(plan=plan)
        return aiodhcp_with(text, plan)

    return replace(SERVERS["aiodhcp"], name=f"aiodhcp-{plugin.lower() or 'plain'}", launch=launch)


def throughput(space: lab.Lab, plugin: str, mode: str, seconds: float, number: int, under: Path) -> float:
    """Exchanges for as much of the server's CPU time as a hundred million turns of an empty loop take beside it: a
    virtual machine's core has not always the same speed, and what other programs take meanwhile does not count.
    """
    load = lab.Load(mode=mode, seconds=seconds, count=150_000, clients=5_000, warmup=500, seed=number)
    [result] = lab.measure([lab.Work(space, server_with(plugin), load, POOL)], under)
    return float(1e8 / (result["server_cpu_us"] * result["core_speed"]))


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


def measure_throughput(console: Console, space: lab.Lab, options: argparse.Namespace, under: Path) -> Table:
    rates: dict[tuple[str, str], list[float]] = {}
    for turn in range(options.rounds):
        console.print(f"throughput, round {turn + 1} of {options.rounds}")
        for mode in MODES:
            for plugin in (*PLAIN[turn % 4 :], *PLAIN[: turn % 4]):
                figure = throughput(space, plugin, mode, options.seconds, turn, under)
                rates.setdefault((mode, plugin), []).append(figure)
    table = Table("exchanges per 10⁸ turns", "no plugin", *[f"{plugin.lower()} (ratio)" for plugin in PLAIN[1:]])
    for mode in MODES:
        plain, *others = (statistics.median(rates[mode, plugin]) for plugin in PLAIN)
        table.add_row(mode, f"{plain:.0f}", *[f"{each / plain:.3f}" for each in others])
    return table


def measure_waiting(console: Console, space: lab.Lab, options: argparse.Namespace, under: Path) -> Table:
    found: dict[str, list[tuple[float, int]]] = {}
    second = ["address", "add", f"{SECOND_RELAY}/8", "dev", lab.GENERATOR_INTERFACE]
    subprocess.run(["ip", "-n", space.generator_space, *second], check=True)
    names = list(WAITING)
    for turn in range(options.rounds):
        console.print(f"waiting, round {turn + 1} of {options.rounds}")
        for plugin in (*names[turn % 3 :], *names[: turn % 3]):
            result = p99_of_the_others(space, plugin, options.rate, options.seconds * 3, under)
            found.setdefault(plugin, []).append(result)
    table = Table("one client in ten meets a hook that", "p99 of the others, ms", "ratio to none", "others failed")
    plain = statistics.median(p99 for p99, _ in found[""])
    for plugin, words in WAITING.items():
        p99 = statistics.median(p99 for p99, _ in found[plugin])
        failed = sum(failures for _, failures in found[plugin])
        table.add_row(words, f"{p99:.2f}", f"{p99 / plain:.2f}", str(failed))
    return table


PARTS = {"throughput": measure_throughput, "waiting": measure_waiting}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/hooks.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="of which the median counts (7)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement of throughput (1.5)")
    parser.add_argument("--rate", type=float, default=400.0, help="exchanges/s while some clients wait (400)")
    parser.add_argument("--part", choices=PARTS, help="only one of the two")
    options = parser.parse_args(arguments)
    console = Console()
    missing = lab.shortcomings()
    if missing:
        console.print("can't be measured here: " + "; ".join(missing))
        return 1
    lab.interrupt_on_signals()
    lab.compile_tools()
    with lab.Lab() as space, lab.workspace(lab.BUILD) as under:
        for name, part in PARTS.items():
            if options.part in (None, name):
                console.print(part(console, space, options, under))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
