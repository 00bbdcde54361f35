"""What a run found, as tables: the bars, and every mode."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from bars import Verdict
from modes import MODES, Result, Runs
from rich import box
from rich.table import Table

TROUBLES = ("timeouts", "failed", "naks", "duplicates", "wrong", "unextended", "held_up")
BUSY = 0.03  # share of the two cores that others took, from which on it is said

Summary = dict[str, dict[str, dict[str, Any]]]  # mode → case → medians over the rounds


def line(mode: str, case: str, result: Result) -> str:
    """One measurement."""
    if "start_seconds" in result:
        said = f"{result['start_seconds']:>9.2f} s to start, {result['resident_bytes'] / 1e6:>7,.1f} MB"
        return f"{mode:12} {case:14} {said}, core {result['core_speed']:.1f}"
    return (
        f"{mode:12} {case:14} {result['exchanges_per_second']:>9,.0f}/s {result['server_cpu_us'] or 0:>7,.1f} µs CPU"
        f"  generator idle {result['generator_idle']:.0%}, core {result['core_speed']:.1f}  {_troubles([result])}"
    )


def _troubles(results: list[Result]) -> str:
    found = [f"{total} {name}" for name in TROUBLES if (total := sum(result.get(name, 0) for result in results))]
    busy = max(result.get("others_cpu", 0.0) for result in results)
    if busy > BUSY:
        found.append(f"others took {busy:.0%} of the cores")
    found += sorted({result["complaint"] for result in results if "complaint" in result})
    return ", ".join(found)


def summarise(runs: Runs) -> Summary:
    found: Summary = {}
    for mode, cases in runs.items():
        found[mode] = {}
        for name, each in cases.items():
            results = [result for result in each if result]
            if results:
                found[mode][name] = _started(results) if MODES[mode].kind == "start" else _loaded(results)
    return found


def _median(results: list[Result], name: str) -> float:
    return statistics.median(result[name] or 0 for result in results)


def _started(results: list[Result]) -> dict[str, Any]:
    names = ("start_seconds", "resident_bytes", "core_speed")
    return {"rounds": len(results), "troubles": _troubles(results)} | {name: _median(results, name) for name in names}


def _loaded(results: list[Result]) -> dict[str, Any]:
    rates = [result["exchanges_per_second"] for result in results]
    latency = {
        step: {
            point: statistics.median(result["latency_us"][step][point] for result in results)
            for point in ("p50", "p90", "p99", "max")
        }
        for step in ("offer", "ack", "exchange")
        if all(result["latency_us"][step] for result in results)
    }
    names = ("exchanges_per_second", "server_cpu_us", "generator_idle", "core_speed")
    return {
        "rounds": len(results),
        "slowest": min(rates),
        "fastest": max(rates),
        "latency_us": latency,
        "troubles": _troubles(results),
    } | {name: _median(results, name) for name in names}


# ---- tables ----


def mode_table(mode: str, summary: dict[str, dict[str, Any]], style: box.Box) -> Table:
    """One mode. The ratio is aiodhcp's rate over the other's (the first case's, if aiodhcp is none of them)."""
    kind = MODES[mode].kind
    first = "aiodhcp" if "aiodhcp" in summary else next(iter(summary))
    columns = {
        "closed": ["exchanges/s", "slowest-fastest", "CPU µs each", "p50 µs", "p99 µs", f"{first} ÷ it"],
        "open": ["exchanges/s", "CPU µs each", "OFFER p50 µs", "p99", "ACK p50 µs", "p99", "both p50 µs", "p99"],
        "start": ["first answer, s", "resident, MB"],
    }[kind]
    shown = Table("", box=style)
    for column in (*columns, "core"):
        shown.add_column(column, justify="right")
    shown.add_column("trouble")
    for name, figures in summary.items():
        row = {"closed": _closed_row, "open": _open_row, "start": _start_row}[kind](figures, summary[first])
        shown.add_row(name, *row, f"{figures['core_speed']:.0f}", figures["troubles"])
    return shown


def _closed_row(figures: dict[str, Any], first: dict[str, Any]) -> list[str]:
    rate = figures["exchanges_per_second"]
    ratio = f"{first['exchanges_per_second'] / rate:.2f}" if rate else "-"
    spread = f"{figures['slowest']:,.0f}-{figures['fastest']:,.0f}"
    return [f"{rate:,.0f}", spread, f"{figures['server_cpu_us']:,.1f}", *_points(figures, "exchange"), ratio]


def _open_row(figures: dict[str, Any], _: dict[str, Any]) -> list[str]:
    steps = [each for step in ("offer", "ack", "exchange") for each in _points(figures, step)]
    return [f"{figures['exchanges_per_second']:,.0f}", f"{figures['server_cpu_us']:,.1f}", *steps]


def _start_row(figures: dict[str, Any], _: dict[str, Any]) -> list[str]:
    return [f"{figures['start_seconds']:.2f}", f"{figures['resident_bytes'] / 1e6:,.1f}"]


def _points(figures: dict[str, Any], step: str) -> list[str]:
    latency = figures["latency_us"]
    return [f"{latency[step][point]:,.0f}" if step in latency else "-" for point in ("p50", "p99")]


def bars_table(verdicts: Iterable[Verdict], style: box.Box, *, wide: bool) -> Table:
    """Every bar: what was measured, and whether it holds; if ``wide`` also the range and what it is made of."""
    shown = Table("work", box=style)
    for column in ("bar", "measured", "by CPU"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    if wide:
        shown.add_column("of the rounds", justify="right", no_wrap=True)
        shown.add_column("medians")
    for verdict in verdicts:
        bar = verdict.bar
        if verdict.value is None:
            shown.add_row(bar.work, bar.bar, "-", "-", "not measured")
            continue
        spread = " to ".join(
            bar.shown.format(each).split(" ")[0] for each in (min(verdict.values), max(verdict.values))
        )
        by_cpu = bar.shown.format(statistics.median(verdict.by_cpu)) if verdict.by_cpu else "-"
        judgement = "holds" if verdict.holds else "does not hold"
        measured = bar.shown.format(verdict.value)
        more = (spread, verdict.detail) if wide else ()
        shown.add_row(bar.work, bar.bar, measured, by_cpu, judgement, *more)
    return shown


def duplicates(runs: Runs) -> str:
    """Whether any address was given twice, by whom."""
    found: dict[str, int] = {}
    checked = 0
    for mode, cases in runs.items():
        for name, results in cases.items():
            for result in results:
                if result and "completed" in result:
                    checked += result["completed"]
                    if result["duplicates"]:
                        key = f"{name} ({mode})"
                        found[key] = found.get(key, 0) + result["duplicates"]
    if not found:
        return f"in {checked:,} exchanges no address was given twice"
    return f"of {checked:,} exchanges, addresses given twice: " + ", ".join(f"{n} by {who}" for who, n in found.items())


def noise(runs: Runs) -> str:
    """How much of the run others disturbed; empty if nothing."""
    results = [result for cases in runs.values() for each in cases.values() for result in each if result]
    disturbed = sum(result.get("others_cpu", 0.0) > BUSY for result in results)
    if not disturbed:
        return ""
    share = f"{disturbed} of {len(results)} measurements"
    return f"others took more than {BUSY:.0%} of the cores in {share}: do not trust the figures"


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "work": each.bar.work,
            "mode": each.bar.mode,
            "bar": each.bar.bar,
            "measured": each.value,
            "rounds": each.values,
            "by_cpu": each.by_cpu,
            "holds": each.holds,
            "medians": each.detail,
        }
        for each in verdicts
    ]
