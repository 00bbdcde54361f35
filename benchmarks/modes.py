"""What is measured: each mode is some kind of work, and the cases that do it, one right after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import variants
from hooks import server_with
from lab import Load
from peers import SERVERS
from serverkit import Server

Result = dict[str, Any]
Runs = dict[str, dict[str, list[Result | None]]]
"""mode → case → one result a round; None where it failed or was not measured."""
CLIENTS_A_SUBNET = 3  # that a server has seen before it is measured, as it has when it has run for a while
PATIENT_WINDOW = 4096  # exchanges that may be in flight in an open loop, before one is held up


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
    leases: int  # many
    subnets: int  # many
    reservations: int  # many
    waiting: float  # seconds in all to wait for the machine to fall quiet, and to measure again because it was not

    def pool_of(self, server: Server) -> int:
        return min(self.pool, server.pool_most)

    def load(self, mode: str, server: Server) -> Load:
        """A closed loop. The round gives each measurement hardware addresses and an order of its own."""
        room = self.pool_of(server) * 9 // 10 - self.warmup
        return Load(
            mode=mode,
            seconds=self.seconds,
            count=1_000_000_000 if mode == "renew" else room,
            window=self.window,
            clients=min(self.clients, server.clients_most, room),
            warmup=min(self.warmup, room),
            client_id=self.client_id,
            host_name=self.host_name,
        )

    def open_load(self, server: Server, rate: float) -> Load:
        """New leases on schedule."""
        return replace(self.load("dora", server), seconds=self.latency_seconds, rate=rate, window=PATIENT_WINDOW)


@dataclass(frozen=True)
class Case:
    """One measurement of a round. Without a load the server is only started, and its memory looked at."""

    name: str
    server: Server
    pool: int
    load: Load | None


Cases = Callable[[Settings, Sequence[Server], Runs], list[Case]]


@dataclass(frozen=True)
class Mode:
    title: str
    cases: Cases
    kind: str = "closed"  # or "open", "start": which figures it has
    together: bool = False  # whether its cases are measured at the same time, on the same core


def many(number: int) -> str:
    return f"{number:,}"


def _closed(mode: str) -> Cases:
    """All servers."""

    def cases(settings: Settings, servers: Sequence[Server], _: Runs) -> list[Case]:
        return [Case(each.name, each, settings.pool_of(each), settings.load(mode, each)) for each in servers]

    return cases


def _hooks(mode: str) -> Cases:
    def cases(settings: Settings, _: Sequence[Server], __: Runs) -> list[Case]:
        plain, hooked = SERVERS["aiodhcp"], server_with("Three")
        load = settings.load(mode, plain)
        return [Case(name, each, settings.pool, load) for name, each in (("without", plain), ("three hooks", hooked))]

    return cases


def _fixed_rate(settings: Settings, servers: Sequence[Server], _: Runs) -> list[Case]:
    return [
        Case(each.name, each, settings.pool_of(each), settings.open_load(each, settings.rate))
        for each in servers
        if each.name != "null"
    ]


def _half_load(settings: Settings, servers: Sequence[Server], runs: Runs) -> list[Case]:
    """None before Kea's greatest rate of new leases is known."""
    known = [result["exchanges_per_second"] for result in runs.get("dora", {}).get("kea", []) if result]
    if not known:
        return []
    rate = round(statistics.median(known) / 2)
    chosen = [each for each in servers if each.name in ("aiodhcp", "kea")]
    return [Case(each.name, each, settings.pool, settings.open_load(each, rate)) for each in chosen]


def _leases(mode: str) -> Cases:
    """The clients that have leases renew, at random; or new ones come to them."""

    def cases(settings: Settings, _: Sequence[Server], __: Runs) -> list[Case]:
        pool = settings.leases * 2
        found = []
        for count in (1000, settings.leases):
            server = variants.with_leases(f"leases-{count}", count)
            load = variants.load_over(settings.load(mode, server), count)
            if mode == "dora":
                load = replace(load, count=(pool - count) * 9 // 10 - load.warmup)
            found.append(Case(many(count), server, pool, load))
        return found

    return cases


def _warmed(load: Load, subnets: int) -> Load:
    return replace(load, warmup=max(load.warmup, CLIENTS_A_SUBNET * subnets))


def _roomy(settings: Settings, subnets: int) -> int:
    """A pool that has room for those clients also."""
    return settings.pool + CLIENTS_A_SUBNET * subnets


def _subnets(settings: Settings, _: Sequence[Server], __: Runs) -> list[Case]:
    found = []
    for subnets, reservations in ((1, 1), (settings.subnets, settings.reservations)):
        server = variants.with_subnets(f"subnets-{subnets}", subnets, reservations)
        load = variants.load_behind(settings.load("dora", server), subnets)
        load = _warmed(load, settings.subnets)
        found.append(Case(many(subnets), server, _roomy(settings, settings.subnets), load))
    return found


def _full_pool(settings: Settings, _: Sequence[Server], __: Runs) -> list[Case]:
    """Half of what is free is handed out."""
    pool = settings.leases * 100 // 95
    found = []
    for name, count in (("empty", 0), ("95 % full", settings.leases)):
        server = variants.with_leases(f"pool-{count}", count)
        load = settings.load("dora", server)
        load = variants.load_over(replace(load, count=(pool - settings.leases) // 2 - load.warmup), count)
        found.append(Case(name, server, pool, load))
    return found


def _full_configuration(settings: Settings, _: Sequence[Server], __: Runs) -> list[Case]:
    plain = SERVERS["aiodhcp"]
    full = variants.with_subnets("full", 1000, 0, full=True)
    load = _warmed(settings.load("dora", plain), 1000)
    return [
        Case("plain", plain, _roomy(settings, 1000), load),
        Case("full", full, _roomy(settings, 1000), replace(variants.load_behind(load, 1000), option_82=True)),
    ]


def _start(settings: Settings, _: Sequence[Server], __: Runs) -> list[Case]:
    pool = settings.leases * 2
    counts = (0, settings.leases)
    return [Case(many(count), variants.with_leases(f"start-{count}", count), pool, None) for count in counts]


MODES: dict[str, Mode] = {
    "dora": Mode("new leases: DISCOVER, OFFER, REQUEST, ACK", _closed("dora")),
    "renew": Mode("renewals: REQUEST, ACK", _closed("renew")),
    "discover": Mode("DISCOVER, OFFER", _closed("discover")),
    "hooks-dora": Mode("new leases, with three hooks and without", _hooks("dora"), together=True),
    "hooks-renew": Mode("renewals, with three hooks and without", _hooks("renew"), together=True),
    "latency": Mode("new leases at a fixed low rate", _fixed_rate, "open"),
    "half-load": Mode("new leases at half of the rate that is Kea's greatest", _half_load, "open"),
    "leases-renew": Mode("renewals, by the number of leases that there are", _leases("renew"), together=True),
    "leases-dora": Mode("new leases, by the number of leases that there are", _leases("dora"), together=True),
    "subnets": Mode("new leases, by the number of subnets, with ten reservations to each", _subnets, together=True),
    "pool": Mode("new leases from an empty pool and from one that is 95 % full", _full_pool, together=True),
    "full": Mode(
        "new leases, plain and with classes, options, option 82 and 1,000 subnets", _full_configuration, together=True
    ),
    "start": Mode("start, by the number of leases in the file", _start, "start"),
}
QUICK = ("dora", "renew", "discover", "hooks-dora")
