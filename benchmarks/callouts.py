"""Measure what callouts cost: `python benchmarks/callouts.py` as root, with gcc, and mingw-w64 and Wine for that mode.

- calls: microseconds of one DhcpNewPktHook or DhcpPktSendHook, one at a time and with 64 under way.
- exchanges: how much of the throughput is left with a callout that has both, in every mode.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lab
from peers import AIODHCP, SERVERS, aiodhcp_with
from rich.console import Console
from rich.table import Table
from serverkit import Launch, Plan, Server

from aiodhcp import ControlCode
from aiodhcp.callout import Callouts
from aiodhcp.callout.loading import CalloutSettings, load_callout

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parent / "examples" / "callouts"
GCC = ["gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"]
MINGW = ["x86_64-w64-mingw32-gcc", "-O2", "-shared", "-static-libgcc", "-Wl,--kill-at"]
MODES = ("inline", "process", "wine")
POOL = 262_144
UNDER_WAY = 64

# An OFFER's or DISCOVER's usual size.
PACKET = bytes.fromhex("01010600") + bytes(232) + bytes.fromhex("63825363350101370601030f06771cff") + bytes(60)


def compiled(mode: str) -> Path:
    """The callout for a mode."""
    target = lab.BUILD / ("callout.dll" if mode == "wine" else "callout.so")
    command = MINGW if mode == "wine" else GCC
    subprocess.run([*command, f"-I{HEADERS}", "-o", target, HERE / "callout.c"], check=True)
    return target


def available() -> list[str]:
    """The modes that can be measured here."""
    return [mode for mode in MODES if mode != "wine" or (shutil.which("wine") and shutil.which(MINGW[0]))]


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _each(call: Callable[[], Any], count: int) -> list[float]:
    """Seconds of calls, one after the other."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        result = call()
        if inspect.isawaitable(result):
            await result
        took.append(time.perf_counter() - began)
    return took


async def _together(call: Callable[[], Awaitable[Any]], count: int) -> float:
    """Seconds of a call while ``UNDER_WAY`` are."""
    began = time.perf_counter()
    for _ in range(count // UNDER_WAY):
        await asyncio.gather(*[call() for _ in range(UNDER_WAY)])
    return (time.perf_counter() - began) / (count // UNDER_WAY * UNDER_WAY)


async def calls(mode: str, count: int) -> list[tuple[str, list[float], float | None]]:
    """For each hook: seconds of single calls, and of one among many; None where there is no such thing."""
    settings = CalloutSettings.model_validate({"CalloutDlls": ["-"], "mode": mode})
    callouts: Callouts = await asyncio.to_thread(load_callout, compiled(mode), settings)
    await _each(lambda: callouts.control(ControlCode.START), 1)
    found: list[tuple[str, list[float], float | None]] = []
    hooks: dict[str, Callable[[], Any]] = {
        "new_pkt": lambda: callouts.new_pkt(PACKET, 0x0A000001),
        "pkt_send": lambda: callouts.pkt_send(PACKET, 0x0A000001, None),
    }
    for name, call in hooks.items():
        await _each(call, count // 10)
        single = await _each(call, count)
        found.append((name, single, None if mode == "inline" else await _together(call, count)))
    await _each(lambda: callouts.control(ControlCode.STOP), 1)
    return found


def measure_calls(console: Console, options: argparse.Namespace) -> Table:
    table = Table("mode", "hook", "median, µs", "p99, µs", f"of {UNDER_WAY} under way, µs")
    for mode in available():
        console.print(f"calls: {mode}")
        for name, single, together in asyncio.run(calls(mode, options.calls)):
            single.sort()
            median, p99 = (single[int(len(single) * at)] * 1e6 for at in (0.5, 0.99))
            table.add_row(
                mode, name, f"{median:.1f}", f"{p99:.1f}", "" if together is None else f"{together * 1e6:.1f}"
            )
    return table


# ── exchanges ────────────────────────────────────────────────────────────────────────────────────────────────────────


def server_with(mode: str) -> Server:
    """aiodhcp with the callout in a mode; without it if the mode is empty."""

    def launch(plan: Plan) -> Launch:
        table = f'{{ CalloutDlls = ["{compiled(mode)}"], CalloutEnabled = 1, mode = "{mode}" }}' if mode else ""
        plugins = f'plugins = [{{ use = "callouts", settings = {table} }}]\n' if mode else ""
        text = plugins + AIODHCP.format(plan=plan)
        return aiodhcp_with(text, plan)

    return replace(SERVERS["aiodhcp"], name=f"aiodhcp-{mode or 'plain'}", launch=launch)


def measure_exchanges(console: Console, options: argparse.Namespace) -> Table:
    modes = ["", *available()]
    rates: dict[tuple[str, str], list[float]] = {}
    with lab.Lab() as space, lab.workspace(lab.BUILD) as under:
        for turn in range(options.rounds):
            console.print(f"exchanges, round {turn + 1} of {options.rounds}")
            for kind in ("dora", "renew"):
                for mode in (*modes[turn % len(modes) :], *modes[: turn % len(modes)]):
                    load = lab.Load(
                        mode=kind, seconds=options.seconds, count=150_000, clients=5_000, warmup=500, seed=turn
                    )
                    [result] = lab.measure([lab.Work(space, server_with(mode), load, POOL)], under)
                    rates.setdefault((kind, mode), []).append(float(result["exchanges_per_second"]))
    table = Table("exchanges/s", "no callout", *[f"{mode} (ratio)" for mode in modes[1:]])
    for kind in ("dora", "renew"):
        plain, *others = (statistics.median(rates[kind, mode]) for mode in modes)
        table.add_row(kind, f"{plain:.0f}", *[f"{each:.0f} ({each / plain:.2f})" for each in others])
    return table


PARTS = {"calls": measure_calls, "exchanges": measure_exchanges}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/callouts.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=5_000, help="of each hook (5000)")
    parser.add_argument("--rounds", type=int, default=5, help="of exchanges, of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement of exchanges (1.5)")
    parser.add_argument("--part", choices=PARTS, help="only one of the two")
    options = parser.parse_args(arguments)
    console = Console()
    missing = lab.shortcomings() if options.part != "calls" else []
    if missing:
        console.print("can't be measured here: " + "; ".join(missing))
        return 1
    lab.interrupt_on_signals()
    lab.BUILD.mkdir(exist_ok=True)
    lab.compile_tools()
    for name, part in PARTS.items():
        if options.part in (None, name):
            console.print(part(console, options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
