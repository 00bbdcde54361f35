"""The bars: what is promised of aiodhcp's speed, how it is measured, and whether a run shows it.

Each is judged by the median of its values, one a round: figures that were measured right after each other are compared,
since a machine changes its speed from minute to minute.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modes import Result, Runs, Settings, many
from peers import DURABLE

Round = Mapping[str, Result]  # by case
Rounds = Sequence[Round]
Value = Callable[[Round], float]


@dataclass(frozen=True)
class Bar:
    """One promise.

    Attributes:
        work: what is compared.
        mode: where its figures come from.
        value: a round's figure; raises KeyError if the round lacks a case.
        shown: how to print a figure.
        least, most: the bar; one of the two.
        by_cpu: the same figure, were only the CPU time to count, whatever the speed of the core.
        detail: what else to say of the rounds.
        optional: whether it is left out, if nothing was measured.
    """

    work: str
    mode: str
    value: Value
    shown: str = "{:.2f} ×"
    least: float | None = None
    most: float | None = None
    by_cpu: Value | None = None
    detail: Callable[[Rounds], str] | None = None
    optional: bool = False

    @property
    def bar(self) -> str:
        limit = self.least if self.least is not None else self.most
        return f"{'≥' if self.least is not None else '≤'} {self.shown.format(limit)}"

    def holds(self, value: float) -> bool:
        if self.least is not None:
            return value >= self.least
        assert self.most is not None
        return value <= self.most


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    values: list[float]  # one a round
    by_cpu: list[float]
    detail: str

    @property
    def value(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def holds(self) -> bool | None:
        """None if it was not measured."""
        return None if self.value is None else self.bar.holds(self.value)


# ---- figures of a round ----


def rate(of: str, to: str) -> Value:
    """A rate over another's."""
    return lambda of_round: of_round[of]["exchanges_per_second"] / of_round[to]["exchanges_per_second"]


def _turns(result: Result) -> float:
    """Turns of an empty loop that the core could have done in the CPU time of an exchange."""
    return float(result["server_cpu_us"] * result["core_speed"])


def work(of: str, to: str) -> Value:
    """The same ratio of exchanges for as much of the server's CPU."""
    return lambda of_round: _turns(of_round[to]) / _turns(of_round[of])


def cpu(of: str, to: str) -> Value:
    return lambda of_round: of_round[of]["server_cpu_us"] / of_round[to]["server_cpu_us"]


def cpu_by_speed(of: str, to: str) -> Value:
    return lambda of_round: _turns(of_round[of]) / _turns(of_round[to])


def _fsync(of_round: Round, point: str) -> float:
    return statistics.mean(float(result["fsync_us"][point]) for result in of_round.values())


def _wait(result: Result, point: str) -> float:
    return float(result["latency_us"]["exchange"][point])


def beyond_kea(point: str) -> Value:
    """µs that aiodhcp takes longer than Kea and an fsync together."""
    return lambda of_round: _wait(of_round["aiodhcp"], point) - _wait(of_round["kea"], point) - _fsync(of_round, point)


def _latency_detail(point: str) -> Callable[[Rounds], str]:
    def detail(rounds: Rounds) -> str:
        own, kea = (statistics.median(_wait(each[name], point) for each in rounds) for name in ("aiodhcp", "kea"))
        fsync = statistics.median(_fsync(each, point) for each in rounds)
        at = statistics.median(each["kea"]["rate"] for each in rounds)
        return f"{own:,.0f} µs; Kea {kea:,.0f}, fsync {fsync:,.0f}; at {at:,.0f}/s"

    return detail


def _generator(of_round: Round) -> float:
    fastest = max(result["exchanges_per_second"] for name, result in of_round.items() if name != "null")
    return float(of_round["null"]["exchanges_per_second"]) / float(fastest)


def _generator_detail(rounds: Rounds) -> str:
    own = statistics.median(each["null"]["exchanges_per_second"] for each in rounds)
    return f"{own:,.0f} exchanges/s with a server that does nothing"


def _rates(of: str, to: str, unit: str = "/s") -> Callable[[Rounds], str]:
    def detail(rounds: Rounds) -> str:
        each = (statistics.median(each[name]["exchanges_per_second"] for each in rounds) for name in (of, to))
        return " to ".join(f"{figure:,.0f}{unit}" for figure in each)

    return detail


def _cpus(of: str, to: str) -> Callable[[Rounds], str]:
    def detail(rounds: Rounds) -> str:
        each = (statistics.median(each[name]["server_cpu_us"] for each in rounds) for name in (of, to))
        return " to ".join(f"{figure:,.0f} µs" for figure in each)

    return detail


# ---- the bars ----


def _own(title: str, mode: str, of: str, to: str, least: float) -> Bar:
    """Two configurations of aiodhcp, measured at the same time: what a core does is as much as an exchange costs."""
    return Bar(title, mode, cpu(to, of), least=least, detail=_cpus(of, to))


def _ratio(title: str, mode: str, of: str, to: str, least: float, *, optional: bool = False) -> Bar:
    return Bar(title, mode, rate(of, to), least=least, by_cpu=work(of, to), detail=_rates(of, to), optional=optional)


def bars(settings: Settings) -> Iterator[Bar]:
    """All of them, in the order in which to show them."""
    yield _ratio("new leases, to Kea at its fastest", "dora", "aiodhcp", "kea", 1.5)
    yield _ratio("new leases, to Kea as shipped", "dora", "aiodhcp", "kea-shipped", 2)
    for name in DURABLE:
        yield _ratio(f"new leases, to {name}", "dora", "aiodhcp", name, 15, optional=True)
    yield _ratio("renewals, to Kea at its fastest", "renew", "aiodhcp", "kea", 1.2)
    yield _ratio("DISCOVER to OFFER, to Kea at its fastest", "discover", "aiodhcp", "kea", 1.2)
    for mode, what in (("hooks-dora", "new leases"), ("hooks-renew", "renewals")):
        yield _own(f"{what} with three hooks, to without", mode, "three hooks", "without", 0.75)
    for point in ("p50", "p99"):
        yield Bar(
            f"latency, {point} at half of Kea's most, beyond Kea's and an fsync",
            "half-load",
            beyond_kea(point),
            shown="{:,.0f} µs",
            most=0,
            detail=_latency_detail(point),
        )
    yield Bar(
        f"CPU time of an exchange at {settings.rate:g}/s, to Kea's",
        "latency",
        cpu("aiodhcp", "kea"),
        most=1.5,
        by_cpu=cpu_by_speed("aiodhcp", "kea"),
        detail=_cpus("aiodhcp", "kea"),
    )
    count = many(settings.leases)
    yield Bar(
        f"memory of a lease, with {count}",
        "start",
        lambda each: (each[count]["resident_bytes"] - each["0"]["resident_bytes"]) / settings.leases,
        shown="{:,.0f} bytes",
        most=300,
    )
    yield Bar(
        f"start with {count} leases, to the first answer",
        "start",
        lambda each: float(each[count]["start_seconds"]),
        shown="{:.2f} s",
        most=5,
    )
    yield _own(f"renewals with {count} leases, to with 1,000", "leases-renew", count, "1,000", 0.85)
    yield _own(f"new leases beside {count}, to beside 1,000", "leases-dora", count, "1,000", 0.85)
    subnets = many(settings.subnets)
    title = f"new leases with {subnets} subnets, {many(settings.reservations)} reservations, to one of each"
    yield _own(title, "subnets", subnets, "1", 0.85)
    yield _own("new leases from a pool 95 % full, to an empty one", "pool", "95 % full", "empty", 0.85)
    yield _own("new leases with a full configuration, to plain", "full", "full", "plain", 0.6)
    for mode, what in (("dora", "new leases"), ("renew", "renewals"), ("discover", "DISCOVER")):
        title = f"{what}: the load generator's most, to the fastest server"
        yield Bar(title, mode, _generator, least=2, detail=_generator_detail, optional=True)


def judge(settings: Settings, runs: Runs) -> list[Verdict]:
    """What a run shows of each bar whose mode was measured."""
    verdicts = []
    for bar in bars(settings):
        if bar.mode not in runs:
            continue
        values, by_cpu, rounds = [], [], []
        for turn in range(settings.rounds):
            of_round = {name: result for name, each in runs[bar.mode].items() if (result := _at(each, turn))}
            try:
                value = bar.value(of_round)
                normalised = bar.by_cpu(of_round) if bar.by_cpu else None
            except (KeyError, TypeError, ValueError, ZeroDivisionError):  # a case is missing, or did nothing
                continue
            values.append(value)
            rounds.append(of_round)
            if normalised is not None:
                by_cpu.append(normalised)
        if values or not bar.optional:
            detail = bar.detail(rounds) if bar.detail and rounds else ""
            verdicts.append(Verdict(bar, values, by_cpu, detail))
    return verdicts


def _at(results: list[Result | None], turn: int) -> Result | None:
    return results[turn] if turn < len(results) else None
