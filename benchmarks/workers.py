"""Measure what several servers on one machine would bring: `python benchmarks/workers.py` as root.

Two servers that share nothing, each with half of the pool, of the clients and of what is in flight, and a store of its
own, are the most that one server in two processes could reach. New leases (dora) and renewals (renew) as fast as they
go, and new leases at a fixed rate (steady), of all servers together:

- polling: a server on core 0, its generator polls on core 1: as all other benchmarks.
- alone: the same with a generator that sleeps when it has nothing to do, as all of those below.
- one core: server and generator on core 0. The other core is idle.
- free: a server, and its generator, on whichever of the two cores the kernel puts them.
- two: two servers, on core 0 and on core 1, each with its generator beside it.

Rates and µs are given for a core that takes fifty million turns of an empty loop a second; how many they took is said
in the column `core`.

The part `kernel` measures, without aiodhcp and without root, how the kernel divides a port's messages between processes
by the client (SO_REUSEPORT and a BPF program): what that costs and where it does not hold.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path

import division
import lab
from machine import GENERATOR_CORE, SERVER_CORE, Speedometer
from modes import PATIENT_WINDOW, Result
from peers import SERVERS
from rich.console import Console
from rich.markup import escape
from rich.table import Table

POOL = 262_144  # addresses, of all servers
CLIENTS = 8_000  # that renew, of all servers
WARMUP = 500  # exchanges of each server
ANY, FIRST, SECOND = f"{SERVER_CORE},{GENERATOR_CORE}", str(SERVER_CORE), str(GENERATOR_CORE)
REFERENCE = 50.0  # million turns of an empty loop a second: the core for which figures are given


@dataclass(frozen=True)
class Layout:
    """Where each server and its generator run."""

    cores: tuple[tuple[str, str], ...]
    sleep: bool = True

    def loads(self, mode: str, seconds: float, window: int, rate: float, seed: int) -> list[lab.Load]:
        """What each server is to do: all is divided evenly, and no client has two servers."""
        servers = len(self.cores)
        steady = mode == "steady"
        return [
            lab.Load(
                mode="dora" if steady else mode,
                seconds=seconds,
                count=1_000_000_000 if mode == "renew" else POOL // servers * 9 // 10 - WARMUP,
                clients=CLIENTS // servers,
                window=PATIENT_WINDOW if steady else window // servers,
                rate=rate / servers if steady else 0.0,
                warmup=WARMUP,
                seed=seed + 1,
                mac=(0x02_00 + number << 32) + (seed % 0xFF << 24),
                sleep=self.sleep,
            )
            for number in range(servers)
        ]


LAYOUTS = {
    "polling": Layout(((FIRST, SECOND),), sleep=False),
    "alone": Layout(((FIRST, SECOND),)),
    "one core": Layout(((FIRST, FIRST),)),
    "free": Layout(((ANY, ANY),)),
    "two": Layout(((FIRST, FIRST), (SECOND, SECOND))),
}
ALL, COMPARED = tuple(LAYOUTS), ("alone", "two")
MODES = {
    "dora": ("new leases", ALL),
    "renew": ("renewals", ALL),
    "steady": ("new leases at a fixed rate", COMPARED),
}


@dataclass(frozen=True)
class Figures:
    """Of one measurement, all its servers together. µs are CPU time of an exchange."""

    rate: float  # exchanges/s
    server: float
    server_kernel: float  # of that
    generator: float
    generator_kernel: float  # of that
    interrupts: float  # of what is the kernel's of both, the network's
    used: float  # cores, for what came half a second later too
    speed: float  # of the servers' cores meanwhile
    p50: float  # µs from the start of an exchange to its end; of the servers' the worst
    p99: float
    problems: float  # exchanges that did not go as they should


def figures(results: Sequence[Result], core_speed: float) -> Figures:
    """The sums, for a core of the reference's speed, with the speed that the servers' cores had meanwhile: a virtual
    machine's are now this quick and now that."""
    speed = core_speed / REFERENCE
    completed: int = sum(result["completed"] for result in results)

    def total(name: str) -> float:
        return float(sum(result[name] for result in results))

    def each(seconds: float) -> float:
        return seconds * 1e6 / completed * speed

    rate = total("exchanges_per_second")
    server, generator = total("server_cpu_seconds"), total("generator_cpu_seconds")
    return Figures(
        rate=rate if results[0]["loop"] == "open" else rate / speed,
        server=each(server),
        server_kernel=each(total("server_kernel_seconds")),
        generator=each(generator),
        generator_kernel=each(total("generator_kernel_seconds")),
        interrupts=each(results[0]["interrupt_seconds"]),
        speed=core_speed,
        used=(server + generator) / max(result["seconds"] for result in results),
        p50=max(result["latency_us"]["exchange"]["p50"] for result in results),
        p99=max(result["latency_us"]["exchange"]["p99"] for result in results),
        problems=sum(total(name) for name in ("timeouts", "failed", "naks", "duplicates", "wrong", "held_up")),
    )


def medians(rounds: Sequence[Figures]) -> Figures:
    return Figures(*(statistics.median(column) for column in zip(*map(astuple, rounds), strict=True)))


def ratio(over: Sequence[Figures], under: Sequence[Figures], figure: Callable[[Figures], float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(figure(one) / figure(other) for one, other in zip(over, under, strict=True))


def verdict(mode: str, found: Mapping[str, Sequence[Figures]]) -> list[str]:
    """What the figures of a mode come to, in words."""
    alone, two = (found[name] for name in COMPARED)
    dearer = ratio(two, alone, lambda each: each.server)
    if mode == "steady":
        p50, p99 = ratio(two, alone, lambda each: each.p50), ratio(two, alone, lambda each: each.p99)
        return [
            f"an exchange costs two servers {dearer:.2f} × the CPU time that it costs one; "
            f"latency: p50 {p50:.2f} ×, p99 {p99:.2f} ×"
        ]
    free, own, one = (ratio(two, found[name], lambda each: each.rate) for name in ("free", "polling", "one core"))
    sharing = ratio(found["one core"], alone, lambda each: each.server)
    beside = ratio(two, found["one core"], lambda each: each.server)
    return [
        f"two servers and their generators on both cores: {free:.2f} × one server that may use both, {own:.2f} × one "
        f"that has a core of its own, {one:.2f} × one on a single core",
        f"an exchange costs them {dearer:.2f} × the CPU time that it costs one: {sharing:.2f} × because a generator is "
        f"on the same core, {beside:.2f} × because there are two",
        f"with N cores that are the servers' alone: {1 / beside:.2f} × N at most",
    ]


SPIN = """
import sys, time
until, turns = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    for _ in range(10_000):
        pass
    turns += 1
print(turns)
"""


def turns(cores: Sequence[str], seconds: float) -> int:
    """Of an empty loop, on some cores at once."""
    argv = [sys.executable, "-c", SPIN, str(seconds)]
    with ExitStack() as stack:
        spinning = [
            stack.enter_context(subprocess.Popen(["taskset", "-c", core, *argv], stdout=subprocess.PIPE, text=True))
            for core in cores
        ]
        return sum(int(process.communicate()[0]) for process in spinning)


def both_cores(rounds: int, seconds: float = 0.3) -> float:
    """What two cores do at once, to what one does while the other is idle: 2, if they share nothing."""
    return statistics.median(turns((FIRST, SECOND), seconds) / turns((FIRST,), seconds) for _ in range(rounds))


def measure_layouts(console: Console, options: argparse.Namespace, under: Path) -> dict[str, dict[str, list[Figures]]]:
    """mode → layout → one for each round."""
    found: dict[str, dict[str, list[Figures]]] = {mode: {name: [] for name in MODES[mode][1]} for mode in options.modes}
    for turn in range(options.rounds):
        for mode in options.modes:
            title, names = MODES[mode]
            console.print(f"round {turn + 1} of {options.rounds}: {title}")
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                layout = LAYOUTS[name]
                loads = layout.loads(mode, options.seconds, options.window, options.rate, turn)
                with ExitStack() as stack:
                    works = []
                    for number, (load, cores) in enumerate(zip(loads, layout.cores, strict=True)):
                        space = stack.enter_context(lab.Lab(f"w{number}", cores))
                        works.append(lab.Work(space, SERVERS["aiodhcp"], load, POOL // len(loads)))
                    meter = Speedometer(int(core) for servers, _ in layout.cores for core in servers.split(","))
                    results = lab.measure(works, under, during=meter)
                    found[mode][name].append(figures(results, meter.speed))
    return found


def layouts_table(mode: str, found: Mapping[str, Sequence[Figures]]) -> Table:
    table = Table(
        MODES[mode][0],
        "exchanges/s",
        "server, µs",
        "kernel",
        "generator, µs",
        "kernel",
        "interrupts, µs",
        "cores in use",
        "core",
        "p50, µs",
        "p99, µs",
        "problems",
    )
    for name, rounds in found.items():
        median = medians(rounds)
        table.add_row(
            name,
            f"{median.rate:,.0f}",
            f"{median.server:.0f}",
            f"{median.server_kernel:.0f}",
            f"{median.generator:.0f}",
            f"{median.generator_kernel:.0f}",
            f"{median.interrupts:.0f}",
            f"{median.used:.2f}",
            f"{median.speed:.0f}",
            f"{median.p50:,.0f}",
            f"{median.p99:,.0f}",
            f"{sum(each.problems for each in rounds):.0f}",
        )
    return table


def measure_kernel(console: Console) -> None:
    usable = sorted(os.sched_getaffinity(0))
    counted = division.count(clients=2000, each=5, cores=(usable[0], usable[-1]))
    plain, divided = division.nanoseconds(shares=2, batches=500)
    first, second = counted.messages
    for said in (
        f"10,000 messages of 2,000 clients: {first:,} to one process, {second:,} to the other, "
        f"{counted.strays} to another than the client's own",
        f"to send one and put it before a socket: {plain:,.0f} ns; before one of two: {divided:,.0f} ns",
        f"a message sent to everybody comes to {division.copies_of_a_broadcast(2)} of 2 processes",
        f"when the first of three processes ends, {division.moved_when_one_ends(3, 1000):.0%} of the clients of the "
        "others come to another one",
    ):
        console.print(said, highlight=False)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/workers.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (1)")
    parser.add_argument("--window", type=int, default=128, help="exchanges in flight, of all servers (128)")
    parser.add_argument(
        "--rate", type=float, default=1500.0, help="exchanges/s of the mode steady, of all servers (1500)"
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="all, if not given")
    parser.add_argument("--part", choices=("layouts", "kernel"), help="only one of the two")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or not 2 <= options.window <= CLIENTS or options.seconds <= 0 or options.rate <= 0:
        parser.error(f"needs a round or more, 2 to {CLIENTS} in flight, and a time and a rate above zero")
    return options


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    if options.part != "kernel" and (missing := lab.shortcomings()):
        console.print("can't be measured here: " + "; ".join(missing))
        return 1
    lab.interrupt_on_signals()
    if options.part != "kernel":
        lab.compile_tools()
        console.print(f"both cores do {both_cores(options.rounds):.2f} × what one does alone", highlight=False)
        try:
            with lab.workspace(lab.BUILD) as under:
                found = measure_layouts(console, options, under)
        except KeyboardInterrupt:
            console.print("interrupted; namespaces removed")
            return 130
        except lab.BenchError as error:
            console.print(f"[red]{escape(str(error))}")
            return 1
        for mode, layouts in found.items():
            console.print(layouts_table(mode, layouts))
            for words in verdict(mode, layouts):
                console.print(words, highlight=False)
    if options.part != "layouts":
        measure_kernel(console)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
