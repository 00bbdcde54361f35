"""Where a packet's microseconds go, without any input or output: `python benchmarks/engine.py`. Needs no root.

The engine takes the packets of the load generator, step by step: arrive (scan), decide (rules), answer (encode),
finish. Each figure is CPU time, the least of several turns, so that what else the machine does counts as little as can
be.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import tomllib
from collections.abc import Iterable
from ipaddress import IPv4Address
from itertools import pairwise
from time import thread_time_ns

from rich.console import Console
from rich.table import Table

from aiodhcp.config import Settings
from aiodhcp.engine import Engine
from aiodhcp.exchange import Datagram, Exchange, Interface
from aiodhcp.packet import Packet

SERVER, RELAY = 0x0A000001, 0x0A000002
INTERFACE = Interface("bench", (SERVER,), 1)
NOW = 1_800_000_000.0
ASKED = [1, 3, 6, 12, 15, 26, 28, 33, 42, 51, 54, 58, 59, 119]
BATCH = 64  # packets that one step takes at a time, as the server does when it is busy
STEPS = ("arrive", "decide", "answer", "finish")
PLAIN = """
interfaces = ["bench"]
[options]
domain-name-servers = ["10.0.0.1"]
domain-name = "example.test"
[[subnet]]
subnet = "10.0.0.0/8"
pools = ["10.16.0.0-10.31.255.255"]
lease-time = 3600
options.routers = "10.0.0.1"
"""

Steps = list[float]
"""Nanoseconds of each step."""


def datagram(kind: int, client: int, *, ciaddr: int = 0, **options: str) -> Datagram:
    """What the load generator sends as a relay agent: 300 octets, a client identifier, fourteen options asked for."""
    chaddr = client.to_bytes(6, "big")
    named = {name.replace("_", "-"): value for name, value in options.items()}
    packet = Packet(
        op=1,
        xid=client & 0xFFFFFFFF,
        hops=1,
        giaddr=RELAY,
        ciaddr=ciaddr,
        chaddr=chaddr,
        options={"message-type": kind, 61: b"\1" + chaddr, "parameter-request-list": ASKED, **named},
    )
    return Datagram(bytes(packet).ljust(300, b"\0"), INTERFACE, RELAY, 67, SERVER)


def take(engine: Engine, datagrams: Iterable[Datagram], now: float) -> tuple[Steps, list[Exchange]]:
    """Take packets through the engine, all of them one step after the other."""
    arrive, decide, answer, finish = engine.arrive, engine.decide, engine.answer, engine.finish
    times = [thread_time_ns()]
    exchanges = [arrive(each, now) for each in datagrams]
    times.append(thread_time_ns())
    for exchange in exchanges:
        decide(exchange)
    times.append(thread_time_ns())
    for exchange in exchanges:
        answer(exchange)
    times.append(thread_time_ns())
    for exchange in exchanges:
        finish(exchange)
    times.append(thread_time_ns())
    return [float(end - begin) for begin, end in pairwise(times)], exchanges


def turn(engine: Engine, clients: list[int]) -> dict[str, Steps]:
    """Each client's DISCOVER, its REQUEST and a renewal."""
    spent = {packet: [0.0] * len(STEPS) for packet in ("DISCOVER", "REQUEST", "renewal")}
    addresses: dict[int, int] = {}

    def all_of(packet: str, sent: list[Datagram], now: float, reply_type: int) -> list[Exchange]:
        steps, exchanges = take(engine, sent, now)
        spent[packet] = [sum(pair) for pair in zip(spent[packet], steps, strict=True)]
        assert all(exchange.reply_type == reply_type for exchange in exchanges)
        return exchanges

    for at in range(0, len(clients), BATCH):
        some = clients[at : at + BATCH]
        offers = all_of("DISCOVER", [datagram(1, client) for client in some], NOW, 2)
        addresses |= {client: offer.yiaddr for client, offer in zip(some, offers, strict=True)}
        chosen = {client: str(IPv4Address(addresses[client])) for client in some}
        server = str(IPv4Address(SERVER))
        requests = [datagram(3, each, requested_address=chosen[each], server_identifier=server) for each in some]
        all_of("REQUEST", requests, NOW, 5)
    for at in range(0, len(clients), BATCH):
        some = clients[at : at + BATCH]
        all_of("renewal", [datagram(3, client, ciaddr=addresses[client]) for client in some], NOW + 1800, 5)
    return spent


def measure(text: str, count: int, turns: int) -> dict[str, list[float]]:
    """Microseconds of each step, by packet."""
    config = Settings.of(tomllib.loads(text)).config()
    clients = [0x02_00_00_00_00_00 + (number * 2_654_435_761 & 0xFFFFFF) for number in range(count)]
    found: dict[str, list[float]] = {}
    for _ in range(turns):
        engine = Engine(config)
        engine.serve([INTERFACE])
        for packet, steps in turn(engine, clients).items():
            each = [nanoseconds / count / 1000 for nanoseconds in steps]
            found[packet] = [min(pair) for pair in zip(found.get(packet, each), each, strict=True)]
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/engine.py", description=__doc__)
    parser.add_argument("--count", type=int, default=5_000, help="clients (5000)")
    parser.add_argument("--turns", type=int, default=7, help="of which the least of each step counts (7)")
    parser.add_argument("--profile", action="store_true", help="show what the steps spend their time in")
    options = parser.parse_args(arguments)
    gc.disable()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(measure, PLAIN, options.count, 1)
        pstats.Stats(profile).sort_stats("tottime").print_stats("aiodhcp", 30)
        return 0
    table = Table(title="µs of the engine for each packet, by step", title_justify="left")
    table.add_column("packet")
    for step in (*STEPS, "in all"):
        table.add_column(step, justify="right")
    for packet, steps in measure(PLAIN, options.count, options.turns).items():
        table.add_row(packet, *(f"{each:.2f}" for each in (*steps, sum(steps))))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
