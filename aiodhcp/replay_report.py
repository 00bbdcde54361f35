"""What ``aiodhcp replay`` prints: each request and what became of it, what is other than it was, and how many."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from rich.console import Console
from rich.progress import Progress

from aiodhcp.administration import columns
from aiodhcp.changes import Change, changes
from aiodhcp.describe import printable
from aiodhcp.explanation import Fact
from aiodhcp.recorded import Recorded
from aiodhcp.replay import Replay, Replayed
from aiodhcp.runs import Baseline, as_line, beginning, fields, record

__all__ = ["Report"]

NOT_SHOWN: Final = frozenset(
    {"message-type", "ciaddr", "yiaddr", "giaddr", "server-identifier", "client-identifier", "renewal-time"}
    | {"rebinding-time", "subnet-mask", "relay-agent-information"}
)
"""Of a reply, in the lines of its packet: what stands there already, or says little."""
EVERY: Final = 100
"""Packets between two looks at how far it is."""


class Report:
    """Lets a replay run, and says what comes of it.

    Args:
        replay: the replay.
        recorded: what the capture tells.
        baseline: the run to compare with.
        against_capture: whether the replies are compared with those of the capture.
        explain: whether every decision is shown.
        frames: the packets to show; empty for all.
        quiet: whether only differences and totals are shown.
        as_json: whether it is printed as ``--save`` keeps it.

    Attributes:
        different: how many requests came to something else than in the baseline, or in the capture.
    """

    def __init__(
        self,
        replay: Replay,
        recorded: Recorded,
        *,
        baseline: Baseline | None = None,
        against_capture: bool = False,
        explain: bool = False,
        frames: frozenset[int] = frozenset(),
        quiet: bool = False,
        as_json: bool = False,
    ) -> None:
        self.different = 0
        self._replay = replay
        self._recorded = recorded
        self._baseline = baseline
        self._against_capture = against_capture
        self._explains = explain
        self._frames = frames
        self._quiet = quiet or baseline is not None or against_capture
        self._as_json = as_json
        self._requests: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    async def go(self, kept: TextIO | None) -> None:
        """Run the replay to its end.

        Args:
            kept: where the run is to be kept; None for nowhere.

        Raises:
            ConfigError: a plugin refuses the start.
            RunError: the baseline is damaged.
            OSError: the run can't be written.
        """
        self._keep(kept, beginning(self._recorded))
        implementations = self._replay.implementations
        with _progress(self._recorded.frames, self._quiet or not sys.stdout.isatty()) as so_far:
            async for each in self._replay.run():
                line = record(each, implementations)
                self._count(line)
                self._keep(kept, line)
                self._compare(each, line)
                if not self._as_json and self._wants(each):
                    self._show(each, line)
                so_far(each.pair.captured.frame)
        if self._baseline is not None:
            for difference in self._baseline.rest():
                self._differs(difference.changes, {})
        self._keep(kept, {"totals": self._totals()})
        if self._replay.wrong:
            print(f"aiodhcp: {printable(self._replay.wrong)}; what stands before that is used", file=sys.stderr)
        if not self._as_json:
            self._show_totals()

    def _wants(self, replayed: Replayed) -> bool:
        if self._frames:
            return replayed.pair.captured.frame in self._frames
        return not self._quiet

    def _keep(self, kept: TextIO | None, line: Mapping[str, Any]) -> None:
        text = as_line(line)
        if kept is not None:
            kept.write(text)
        if self._as_json:
            sys.stdout.write(text)

    def _count(self, line: Mapping[str, Any]) -> None:
        self._requests[line.get("message", "unread")] += 1
        self._verdicts[line["verdict"]] += 1
        if "reason" in line:
            by = f" by {line['by']}" if "by" in line else ""
            self._reasons[f"{line['reason']}{by}"] += 1

    # ── what is other than it was ────────────────────────────────────────────────────────────────────────────────

    def _compare(self, replayed: Replayed, line: Mapping[str, Any]) -> None:
        if self._baseline is not None:
            for difference in self._baseline.differences(line):
                self._differs(difference.changes, difference.record or {})
        if self._against_capture:
            recorded = replayed.pair.reply
            now, before = line.get("reply", {}), {} if recorded is None else fields(recorded)
            if now and before:
                found = changes(before, now)
            else:
                names = before.get("message-type"), now.get("message-type")
                found = [Change("reply", *names)] if names != (None, None) else []
                found += [Change("why", None, line["why"])] if found and not now and "why" in line else []
            self._differs(found, line)

    def _differs(self, found: Iterable[Change], line: Mapping[str, Any]) -> None:
        words = [printable(str(each)) for each in found]
        if not words:
            return
        self.different += 1
        if not self._as_json:
            if line:
                print(_heading(line))
            for each in words:
                print(f"    {each}")

    # ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────

    def _show(self, replayed: Replayed, line: Mapping[str, Any]) -> None:
        print(_heading(line))
        if self._explains:
            facts = [Fact("supposed", each) for each in replayed.supposed] + replayed.exchange.explain()
            columns((f"    {each.what}", each.words) for each in facts)
            print()
            return
        for each in line.get("supposed", ()):
            print(f"    supposed: {each}")
        said = ", ".join(f"{name} {text}" for name, text in line.get("reply", {}).items() if name not in NOT_SHOWN)
        if said:
            print(f"    {printable(said)}")

    def _totals(self) -> dict[str, Any]:
        replay = self._replay
        totals: dict[str, Any] = {
            "requests": dict(sorted(self._requests.items())),
            "verdicts": dict(sorted(self._verdicts.items())),
            "reasons": dict(sorted(self._reasons.items())),
            "left_out": dict(sorted(replay.skipped.items())),
            "supposed_leases": replay.supposed,
            "leases": len(replay.server.leases),
        }
        return totals

    def _show_totals(self) -> None:
        totals = self._totals()
        lines = [(name.replace("_", " "), _counts(value)) for name, value in totals.items() if value]
        for each in (hook.metrics for hook in self._replay.implementations):
            if each.calls or each.skipped:
                names = ("errors", "timeouts", "vetoes", "skipped", "differences")
                counts = [f"{getattr(each, name)} {name}" for name in names if getattr(each, name)]
                lines.append((f"{each.hook} of {each.plugin}", ", ".join([f"{each.calls} calls", *counts])))
        if self._baseline is not None or self._against_capture:
            than = "than in the capture" if self._baseline is None else "than before"
            lines.append(("different", f"{self.different} of {self._requests.total()} requests {than}"))
        if not self._quiet or self.different:
            print()
        columns(lines)


def _counts(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return str(value)


def _heading(line: Mapping[str, Any]) -> str:
    """A request and its verdict, in one line."""
    try:
        when = datetime.fromtimestamp(line["time"], UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")
    except (ValueError, OverflowError):  # of a file that says so
        when = str(line["time"])
    words = f"{when}  #{line['frame']}  {line.get('message', 'unread')}  {line.get('client', 'nobody')}"
    if "relay" in line:
        words += f" through {line['relay']}"
    words += f"  -> {line['verdict']}"
    if "address" in line:
        words += f" {line['address']}"
    if "reason" in line:
        words += f", {line['reason']}"
    if "by" in line:
        words += f" by {line['by']}"
    if line["verdict"] in ("dropped", "vetoed", "no reply", "NAK") and (why := _why(line)):
        words += f": {why}"
    return printable(words)


def _why(line: Mapping[str, Any]) -> str:
    """Why there is no lease, without the name of the plugin, which stands before it."""
    why, by = str(line.get("why", "")), str(line.get("by", ""))
    for named in (by, f"vetoed by {by.partition(' of ')[2]}") if by else ():
        if why == named or why.startswith(f"{named}: "):
            return why[len(named) + 2 :]
    return why


@contextmanager
def _progress(frames: int, wanted: bool) -> Iterator[Any]:
    """Show on a terminal how far it is, where nothing else does."""
    console = Console(stderr=True)
    if not (wanted and console.is_terminal):
        yield lambda frame: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("replaying", total=frames)

        def so_far(frame: int) -> None:
            if frame % EVERY == 0:
                progress.update(task, completed=frame)

        yield so_far
