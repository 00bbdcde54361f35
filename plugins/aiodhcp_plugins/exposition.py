"""The numbers of a server as Prometheus reads them. It knows no server: a snapshot goes in, a text comes out."""

from __future__ import annotations

import gzip
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.registry import Collector

from aiodhcp import CommitMetrics, DropReason, Health, HookMetrics, MessageType, PoolUsage, Subnet, message_name
from aiodhcp_plugins.scrapes import Answer

__all__ = ["Snapshot", "text"]

STATES: Final = ("ok", "degraded", "paused", "starting", "stopping", "stopped", "new")
EVERY: Final = 2
"""Of a server's histograms, which have a number for each power of two, each second one is shown."""
_ASKED: Final = (
    MessageType.DISCOVER,
    MessageType.REQUEST,
    MessageType.DECLINE,
    MessageType.RELEASE,
    MessageType.INFORM,
)
_ANSWERED: Final = (MessageType.OFFER, MessageType.ACK, MessageType.NAK)
_BOOTP: Final = "BOOTP"
_KNOWN: Final = frozenset({_BOOTP, *(each.name for each in MessageType)})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a server says of itself at one moment.

    Attributes:
        version: of aiodhcp.
        received, sent: messages by type.
        dropped: packets by reason.
        vetoed: packets that plugins vetoed.
        health: how it is.
        leases: how many it knows, in whatever state.
        commits: how its commits have done.
        hooks: how the hooks of plugins have done.
        usages: the addresses of each subnet.
        events: what became of leases.
        delays: how often the event loop was late; the n-th counts less than 2**n µs.
        delayed: the same in seconds, together.
        plugins: what plugins count, by their names.
    """

    version: str
    received: Mapping[int, int]
    sent: Mapping[int, int]
    dropped: Mapping[DropReason, int]
    vetoed: int
    health: Health
    leases: int
    commits: CommitMetrics
    hooks: Sequence[HookMetrics]
    usages: Sequence[tuple[Subnet, PoolUsage]]
    events: Mapping[str, int]
    delays: Sequence[int]
    delayed: float
    plugins: Mapping[str, Mapping[str, float]]


class _Families(Collector):
    def __init__(self, snapshot: Snapshot, process: bool) -> None:
        self._snapshot = snapshot
        self._process = process

    def collect(self) -> Iterator[Metric]:
        yield from _of_packets(self._snapshot)
        yield from _of_leases(self._snapshot)
        yield from _of_hooks(self._snapshot.hooks)
        yield from _of_plugins(self._snapshot.plugins)
        yield from _of_the_program(self._snapshot)
        if self._process:
            yield from ProcessCollector(registry=None).collect()


def text(snapshot: Snapshot, accept: str = "", *, compress: bool = False, process: bool = True) -> Answer:
    """The numbers as text.

    Args:
        snapshot: the numbers.
        accept: the header Accept of who asks: OpenMetrics where it says so, else the text format of Prometheus.
        compress: whether by gzip.
        process: whether with those of the process: memory, time, files.
    """
    families = _Families(snapshot, process)
    encode, content_type = choose_encoder(accept) if accept else (generate_latest, "text/plain; version=0.0.4")
    octets = encode(families)
    return Answer(gzip.compress(octets, 1), content_type, "gzip") if compress else Answer(octets, content_type)


def _of_packets(snapshot: Snapshot) -> Iterator[Metric]:
    received = CounterMetricFamily("aiodhcp_messages_received", "Messages received, by type.", labels=["type"])
    for name, count in _by_name(snapshot.received, _ASKED):
        received.add_metric([name], count)
    yield received
    sent = CounterMetricFamily("aiodhcp_messages_sent", "Messages sent, by type.", labels=["type"])
    for name, count in _by_name(snapshot.sent, _ANSWERED):
        sent.add_metric([name], count)
    yield sent
    dropped = CounterMetricFamily("aiodhcp_packets_dropped", "Packets dropped, by reason.", labels=["reason"])
    for reason in DropReason:
        if reason is not DropReason.PROCESSED:
            dropped.add_metric([reason.name], snapshot.dropped.get(reason, 0))
    yield dropped
    yield CounterMetricFamily("aiodhcp_packets_vetoed", "Packets that plugins vetoed.", value=snapshot.vetoed)
    yield GaugeMetricFamily(
        "aiodhcp_packets_in_flight", "Packets that are not finished yet.", value=snapshot.health.in_flight
    )


def _by_name(counts: Mapping[int, int], always: Iterable[MessageType]) -> Iterable[tuple[str, int]]:
    """Types by name; those that no RFC knows, which anybody can send, are one."""
    found = dict.fromkeys((each.name for each in always), 0)
    for kind, count in counts.items():
        name = message_name(kind)
        name = name if name in _KNOWN else "unknown"
        found[name] = found.get(name, 0) + count
    return found.items()


def _of_leases(snapshot: Snapshot) -> Iterator[Metric]:
    events = CounterMetricFamily("aiodhcp_lease_events", "What became of leases.", labels=["event"])
    for event, count in snapshot.events.items():
        events.add_metric([event], count)
    yield events
    yield GaugeMetricFamily("aiodhcp_leases", "Leases that are known, also those that ended.", value=snapshot.leases)
    if snapshot.usages:
        addresses = GaugeMetricFamily(
            "aiodhcp_subnet_addresses",
            "Addresses of the pools of a subnet, each in one state.",
            labels=["subnet", "shared_network", "state"],
        )
        for subnet, usage in snapshot.usages:
            place = [str(subnet), subnet.shared_network]
            for state, count in (
                ("in_use", usage.leases),
                ("offered", usage.offered),
                ("declined", usage.declined),
                ("reserved", usage.reserved),
                ("free", usage.free),
            ):
                addresses.add_metric([*place, state], count)
        yield addresses
    commits = snapshot.commits
    duration = HistogramMetricFamily("aiodhcp_commit_duration_seconds", "How long commits took.")
    duration.add_metric([], _buckets(commits.histogram), commits.seconds)
    yield duration
    sizes = HistogramMetricFamily("aiodhcp_commit_leases", "How many leases commits had.")
    # Whole numbers: less than 8 is 7 or less.
    sizes.add_metric([], _buckets(((most - 1, count) for most, count in commits.sizes), 1), commits.leases)
    yield sizes
    yield CounterMetricFamily("aiodhcp_commit_failures", "Attempts to commit that failed.", value=commits.failures)
    yield GaugeMetricFamily(
        "aiodhcp_uncommitted_changes",
        "Changes of leases that are not on stable storage yet.",
        value=snapshot.health.uncommitted,
    )


def _of_hooks(hooks: Sequence[HookMetrics]) -> Iterator[Metric]:
    if not hooks:
        return
    labels = ["plugin", "hook"]
    duration = HistogramMetricFamily("aiodhcp_hook_duration_seconds", "How long calls of hooks took.", labels=labels)
    for each in hooks:
        duration.add_metric([each.plugin, each.hook], _buckets(each.histogram), each.seconds)
    yield duration
    for name, words in (
        ("errors", "Calls that raised, or returned what means nothing there."),
        ("timeouts", "Calls that took longer than the deadline."),
        ("vetoes", "Packets that were dropped or refused."),
        ("skipped", "Calls that were not made, because the circuit was open or the plugin disabled."),
        ("blocked", "How often the event loop was found blocked by a hook."),
        ("differences", "Calls in shadow mode that would have changed something."),
    ):
        counter = CounterMetricFamily(f"aiodhcp_hook_{name}", words, labels=labels)
        for each in hooks:
            counter.add_metric([each.plugin, each.hook], getattr(each, name))
        yield counter
    abandoned = GaugeMetricFamily(
        "aiodhcp_hook_abandoned_calls", "Calls that were given up and have not ended.", labels=labels
    )
    working = GaugeMetricFamily(
        "aiodhcp_hook_working",
        "Whether a hook is called: not if its circuit is open, or it is disabled.",
        labels=labels,
    )
    for each in hooks:
        abandoned.add_metric([each.plugin, each.hook], each.abandoned)
        working.add_metric([each.plugin, each.hook], each.state in ("working", "shadow"))
    yield abandoned
    yield working


def _of_plugins(plugins: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    if any(plugins.values()):
        events = CounterMetricFamily(
            "aiodhcp_plugin_events", "What plugins count by themselves.", labels=["plugin", "event"]
        )
        for plugin, counts in plugins.items():
            for event, count in counts.items():
                events.add_metric([plugin, event], count)
        yield events


def _of_the_program(snapshot: Snapshot) -> Iterator[Metric]:
    info = InfoMetricFamily("aiodhcp_build", "Which aiodhcp this is.")
    info.add_metric([], {"version": snapshot.version, "python": platform.python_version()})
    yield info
    status = GaugeMetricFamily("aiodhcp_status", "How the server is: one of these is 1.", labels=["status"])
    for each in STATES:
        status.add_metric([each], each == snapshot.health.status)
    yield status
    delay = HistogramMetricFamily("aiodhcp_event_loop_delay_seconds", "How late the event loop came, twice a second.")
    last = len(snapshot.delays) - 1
    delay.add_metric(
        [],
        _buckets((2**power / 1e6 if power < last else math.inf, n) for power, n in enumerate(snapshot.delays)),
        snapshot.delayed,
    )
    yield delay


def _buckets(histogram: Iterable[tuple[float, int]], first: int = 0) -> list[tuple[str, float]]:
    """Pairs of a number and how many are less, but at least the number before → what Prometheus calls buckets, from the
    one that is shown first on.
    """
    shown, total = [], 0
    for at, (most, count) in enumerate(histogram):
        total += count
        if at % EVERY == first or most == math.inf:
            shown.append(("+Inf" if most == math.inf else repr(float(most)), float(total)))
    return shown
