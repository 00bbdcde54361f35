"""What features cost the engine, without any input or output: `python benchmarks/features.py`. Needs no root.

New clients (DISCOVER and REQUEST) and their renewals go through engines of several configurations in turns, a few
packets each, because a machine's speed changes within seconds. Each figure is the CPU time of all turns, and that of
the plain configuration divided by it. A server has commits and sockets besides, which are the same for all, so that its
rates differ by less.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import tomllib
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

from engine import ASKED, BATCH, INTERFACE, NOW, RELAY, SERVER, take
from held import hardware_address
from hooks import PLUGINS
from rich.console import Console
from rich.table import Table
from serverkit import POOL_START
from variants import FEW_OPTIONS, MANY_OPTIONS, ONE_IN, SUBNET, classes, networks, relay_of, subnets_text

from aiodhcp.config import Settings
from aiodhcp.engine import Engine
from aiodhcp.exchange import Datagram
from aiodhcp.hooks import Hooks
from aiodhcp.packet import Packet

HEAD = 'interfaces = ["bench"]\n[options]\n'
POOL = 524_288


class Subject:
    """One configuration, and the clients that talk to it."""

    def __init__(
        self,
        name: str,
        text: str,
        relay: Callable[[int], int],
        *,
        option_82: bool = False,
        hooks: Hooks | None = None,
        profile: cProfile.Profile | None = None,
    ) -> None:
        self.name = name
        self.engine = Engine(Settings.of(tomllib.loads(text)).config(), hooks)
        self.engine.serve([INTERFACE])
        self.relay = relay
        self.option_82 = option_82
        self.profile = profile
        self.addresses: dict[int, int] = {}
        self._took = 0.0
        self.spent: dict[str, list[float]] = {"new": [], "renewal": []}

    def datagram(self, client: int, kind: int, **options: object) -> Datagram:
        """What the load generator sends, with its options."""
        relay, chaddr = self.relay(client), hardware_address(client)
        packet = Packet(op=1, xid=client + 1, hops=1, giaddr=relay, ciaddr=options.pop("ciaddr", 0), chaddr=chaddr)
        packet.options["message-type"] = kind
        packet.options["client-identifier"] = b"\1" + chaddr
        for option, value in options.items():
            packet.options[option] = value
        packet.options["maximum-message-size"] = 1500
        packet.options["vendor-class-identifier"] = b"MSFT 5.0"
        packet.options["parameter-request-list"] = ASKED
        if self.option_82:
            packet.options[82] = b"\1\x0dport-%08x\2\4" % client + relay.to_bytes(4, "big")
        return Datagram(bytes(packet).ljust(300, b"\0"), INTERFACE, relay, 67, SERVER)

    def run(self, of: str, datagrams: list[Datagram], expected: int) -> list[int]:
        """Take packets; the addresses of the replies."""
        if self.profile is not None:
            self.profile.enable()
        steps, exchanges = take(self.engine, datagrams, NOW + 1800 * (of == "renewal"))
        if self.profile is not None:
            self.profile.disable()
        self._took += sum(steps)
        assert all(each.reply_type == expected for each in exchanges), exchanges[0]
        return [each.yiaddr for each in exchanges]

    def new(self, clients: range) -> None:
        """Give these clients leases."""
        self._took = 0.0
        found = self.run("new", [self.datagram(each, 1) for each in clients], 2)
        self.addresses.update(zip(clients, found, strict=True))
        options = {"server-identifier": str(IPv4Address(SERVER))}
        asking = [
            self.datagram(each, 3, **{"requested-address": str(IPv4Address(self.addresses[each])), **options})
            for each in clients
        ]
        self.run("new", asking, 5)
        self.spent["new"].append(self._took)

    def renew(self, clients: range) -> None:
        """They come again, each by its relay agent."""
        self._took = 0.0
        self.run("renewal", [self.datagram(each, 3, ciaddr=self.addresses[each]) for each in clients], 5)
        self.spent["renewal"].append(self._took)


def one_relay(_: int) -> int:
    return RELAY


def relays_of(subnets: int) -> Callable[[int], int]:
    """One relay agent in each subnet, as the load generator has them."""
    found, step = networks(subnets)
    first = int(found[0][1])
    return lambda client: first + step * relay_of(client, subnets)


def three_hooks() -> Hooks:
    """The plugin of hooks.py."""
    space: dict[str, object] = {"__name__": "bench_hooks"}
    exec(PLUGINS, space)
    return Hooks([space["Three"]()])


def subjects(arguments: argparse.Namespace, profiles: dict[str, cProfile.Profile]) -> list[Subject]:
    plain = (
        HEAD
        + FEW_OPTIONS
        + SUBNET.format(
            network=IPv4Network("10.0.0.0/8"), first=POOL_START, last=POOL_START + (POOL - 1), relay=IPv4Address(RELAY)
        )
    )
    many, full = arguments.subnets, arguments.full
    made: dict[str, Callable[[], Subject]] = {
        "plain": lambda: Subject("plain", plain, one_relay),
        "hooks": lambda: Subject("hooks", plain, one_relay, hooks=three_hooks(), profile=profiles.get("hooks")),
        "option-82": lambda: Subject("option-82", plain, one_relay, option_82=True, profile=profiles.get("option-82")),
        "subnets": lambda: Subject(
            "subnets",
            "".join((HEAD, FEW_OPTIONS, *subnets_text(many, many * ONE_IN, POOL))),
            relays_of(many),
            profile=profiles.get("subnets"),
        ),
        "full": lambda: Subject(
            "full",
            "".join((HEAD, MANY_OPTIONS, *classes(), *subnets_text(full, 0, POOL))),
            relays_of(full),
            option_82=True,
            profile=profiles.get("full"),
        ),
    }
    return [made[name]() for name in ("plain", *arguments.features)]


def measure(found: list[Subject], batches: int) -> None:
    for at in range(batches):
        clients = range(at * BATCH, (at + 1) * BATCH)
        for each in found[at % len(found) :] + found[: at % len(found)]:
            each.new(clients)
    for at in range(batches):
        clients = range(at * BATCH, (at + 1) * BATCH)
        for each in found[at % len(found) :] + found[: at % len(found)]:
            each.renew(clients)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/features.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("hooks", "option-82", "subnets", "full")
    parser.add_argument("features", nargs="*", metavar="FEATURE", help=f"of {', '.join(names)} (all)")
    parser.add_argument("--batches", type=int, default=250, help="of 64 clients (250)")
    parser.add_argument("--subnets", type=int, default=2_000, help="each with ten reservations (2000)")
    parser.add_argument("--full", type=int, default=1_000, help="subnets of the full configuration (1000)")
    parser.add_argument("--profile", action="store_true", help="show what the one feature spends its time in")
    options = parser.parse_args(arguments)
    options.features = options.features or list(names)
    profiles = {name: cProfile.Profile() for name in options.features if options.profile}
    made = subjects(options, profiles)
    gc.collect()
    gc.freeze()
    gc.disable()
    measure(made, options.batches)
    for profile in profiles.values():
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    table = Table("features", "new leases, µs", "plain ÷ it", "renewals, µs", "plain ÷ it")
    plain = made[0].spent
    for each in made:
        cells = []
        for work in ("new", "renewal"):
            spent = sum(each.spent[work])
            cells += [f"{spent / options.batches / BATCH / 1000:.1f}", f"{sum(plain[work]) / spent:.2f}"]
        table.add_row(each.name, *cells)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
