"""Round after round: every mode, every case of it, each time begun by another one; and how long it will still take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lab
from machine import fsync_microseconds, wait_quiet
from modes import MODES, Case, Result, Runs, Settings
from report import line
from rich.console import Console
from rich.markup import escape
from serverkit import Server

NOISE = 0.03  # share of the two cores that others may take before a measurement is repeated
ATTEMPTS = 3  # at one measurement
PATIENCE = 20.0  # seconds to wait before one measurement for the machine to fall quiet
GUESS = 9.0  # seconds of a measurement, before there has been one


class Waiting:
    """How long we may still wait for other programs on this machine, in all."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def quiet(self) -> None:
        began = time.monotonic()
        wait_quiet(NOISE, min(PATIENCE, self.left))
        self.spend(max(0.0, time.monotonic() - began - 1.0))  # one second is the reading itself

    def spend(self, seconds: float) -> None:
        self.left = max(0.0, self.left - seconds)


class Clock:
    """What is done and how long the rest will take, by what each case took before."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.took: list[float] = []

    def count(self, seconds: float) -> None:
        self.done += 1
        self.took.append(seconds)

    def says(self) -> str:
        left = (self.total - self.done) * (statistics.mean(self.took) if self.took else GUESS)
        return f"{self.done}/{self.total}, about {left / 60:.0f} min left"


def measure_all(
    console: Console, servers: Sequence[Server], modes: Sequence[str], settings: Settings, directory: Path
) -> tuple[Runs, dict[str, str]]:
    """All results, and what failed: "case, mode, round" → why."""
    runs: Runs = {mode: {} for mode in modes}
    failures: dict[str, str] = {}
    waiting = Waiting(settings.waiting)
    # At half load are two cases, which are known only when the first round is there.
    a_round = sum(len(MODES[mode].cases(settings, servers, runs)) or 2 for mode in modes)
    clock = Clock(settings.rounds * a_round)
    number = int(time.time())
    with lab.Lab() as space, lab.Lab("o") as other:
        for turn in range(settings.rounds):
            for mode in modes:
                cases = MODES[mode].cases(settings, servers, runs)
                if not cases:
                    console.print(f"[yellow]{mode} left out: it needs Kea, and its rate of new leases (mode dora)")
                first = turn % max(1, len(cases))
                cases = cases[first:] + cases[:first]
                for some in [cases] if MODES[mode].together else [[case] for case in cases]:
                    number += ATTEMPTS
                    began = time.monotonic()
                    results: Sequence[Result | None] = [None] * len(some)
                    try:
                        results = _measure((space, other), some, mode, number, waiting, directory)
                        said = [line(mode, case.name, result) for case, result in zip(some, results, strict=True)]
                    except lab.BenchError as error:
                        said = []
                        for case in some:
                            failures[f"{case.name}, {mode}, round {turn + 1}"] = str(error)
                            said.append(f"[red]{mode}, {case.name}: {escape(str(error))}")
                    for case, result in zip(some, results, strict=True):
                        runs[mode].setdefault(case.name, []).append(result)
                        clock.count((time.monotonic() - began) / len(some))
                    for words in said:
                        console.print(f"{clock.says():30} {words}", highlight=False, soft_wrap=True)
    return runs, failures


def _measure(
    spaces: Sequence[lab.Lab], cases: Sequence[Case], mode: str, number: int, waiting: Waiting, directory: Path
) -> list[Result]:
    """One measurement of some cases at once; the quietest of a few if others were busy on this machine meanwhile.
    Whether it is repeated depends on them alone, never on the result."""
    attempts: list[list[Result]] = []
    while len(attempts) < ATTEMPTS:
        waiting.quiet()
        began = time.monotonic()
        attempts.append(_attempt(spaces, cases, mode, number + len(attempts), directory))
        if _others(attempts[-1]) <= NOISE or not waiting.left:
            break
        waiting.spend(time.monotonic() - began)
    return [result | {"attempts": len(attempts)} for result in min(attempts, key=_others)]


def _others(results: Sequence[Result]) -> float:
    return max(float(result.get("others_cpu", 0.0)) for result in results)


def _attempt(spaces: Sequence[lab.Lab], cases: Sequence[Case], mode: str, number: int, directory: Path) -> list[Result]:
    works = []
    for space, case in zip(spaces, cases, strict=False):
        if case.load is None:
            return [lab.start(space, case.server, case.pool, directory)]
        load = replace(case.load, seed=number + 1)
        if not load.held and load.relays == 1:  # the others are known to the server by their hardware addresses
            load = replace(load, mac=0x02_00_00_00_00_00 + ((number % 0xFFFF) << 24))
        works.append(lab.Work(space, case.server, load, case.pool))
    fsync = fsync_microseconds(directory) if mode == "half-load" else None
    results = lab.measure(works, directory)
    return [result | {"fsync_us": fsync} for result in results] if fsync else results
