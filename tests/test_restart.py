"""A new start: what is in memory is what the store gives back, whatever happened before."""

from __future__ import annotations

import random

from client import Client, Clock, make_subnet
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodhcp import Config, Engine, Lease, Parameters, Reservation

CLIENTS = range(5)
SUBNETS = (
    make_subnet("192.0.2.10-192.0.2.12", shared_network="campus", interfaces=["eth0"]),
    make_subnet("198.51.100.10-198.51.100.12", network="198.51.100.0/24", shared_network="campus"),
    make_subnet(
        "203.0.113.10-203.0.113.13",
        network="203.0.113.0/24",
        address_choice="sequential",
        reservations=[Reservation("02:00:00:00:00:00", address="203.0.113.12")],
    ),
)
CONFIG = Config(SUBNETS, Parameters(lease_time=500, min_lease_time=60, max_lease_time=1000), decline_time=300)
LINKS = ("", "198.51.100.1", "203.0.113.1")
HOSTS = [str(subnet.network[host]) for subnet in SUBNETS for host in range(10, 14)]

STEPS = st.tuples(
    st.sampled_from(["join", "select", "select", "renew", "reboot", "release", "decline", "delete", "wait"]),
    st.sampled_from(CLIENTS),
    st.sampled_from(LINKS),
    st.sampled_from(HOSTS),
    st.sampled_from([60, 500, 1000, 0xFFFFFFFF]),
)


class Network:
    """An engine, its clients, and a store of what is to be committed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.engine = Engine(CONFIG)
        self.store: dict[int, Lease] = {}
        self.clients = [Client(self.engine, self.clock, f"02:00:00:00:00:{each:02x}") for each in CLIENTS]

    def commit(self, changes: list[Lease] | None) -> None:
        self.store.update({lease.address: lease for lease in changes or ()})

    def step(self, what: str, who: int, link: str, host: str, seconds: int) -> None:
        client = self.clients[who]
        client.giaddr = int.from_bytes(map(int, link.split("."))) if link else 0
        if what == "join":
            offer = client.discover(lease_time=seconds)
            if offer is not None:
                client.request(offer, lease_time=seconds)
                self.commit(client.exchange.changes)
        elif what == "select":  # without an offer, as before a restart: the client moves
            server = client.server or "192.0.2.1"
            client.reboot(host, server_identifier=server, lease_time=seconds)
            self.commit(client.exchange.changes)
        elif what == "wait":
            self.pass_time(seconds % 700)
        elif what == "reboot":
            client.reboot(host)
            self.commit(client.exchange.changes)
        elif what == "delete":
            change, _ = self.engine.delete(client.address, self.clock())
            self.commit([] if change is None else [change])
        elif client.address:
            getattr(client, what)()
            self.commit(client.exchange.changes)
        self.pass_time(1)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            ended, _ = self.engine.tick(self.clock())
            self.commit(ended)


def newcomers(engine: Engine, clock: Clock) -> list[tuple[int, str]]:
    """What clients that nobody knows are offered in turn, and how it was found."""
    found = []
    for at, link in enumerate(LINKS):
        for number in range(20):
            client = Client(engine, clock, f"06:00:00:00:{at:02x}:{number:02x}", giaddr=link)
            if client.discover() is None:
                break
            found.append((client.exchange.yiaddr, client.exchange.address_from))
    return found


@settings(max_examples=150)
@given(steps=st.lists(STEPS, max_size=40), seed=st.integers(0, 99))
def test_a_restart_changes_nothing(steps: list[tuple[str, int, str, str, int]], seed: int) -> None:
    network = Network()
    for step in steps:
        network.step(*step)
    network.pass_time(61)  # offers, which are no more after a restart
    engine, clock = network.engine, network.clock
    stored = list(network.store.values())
    random.Random(seed).shuffle(stored)
    again = Engine(CONFIG, leases=stored)
    assert again.tick(clock()) == ([], [])
    assert sorted(again.leases) == sorted(engine.leases)
    for client in network.clients:
        for subnet in SUBNETS:
            before, after = (each.leases.find(client.key, subnet.first, subnet.last) for each in (engine, again))
            assert before == after
    assert newcomers(engine, clock) == newcomers(again, clock)
