"""Any bytes: no exception, at most one reply, which decodes; and whatever came, the tables agree with each other.

A witness keeps its own books of who was given what, and at the end every address must be there to be given again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address
from itertools import count
from random import Random
from typing import Any

import pytest
from client import LINK, Client, Clock, conversation, make_subnet, number, serve
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodhcp import (
    AddressProblem,
    Class,
    Config,
    Datagram,
    Drop,
    DropReason,
    Engine,
    Exchange,
    Lease,
    LeaseState,
    MessageType,
    Options,
    Packet,
    Parameters,
    Pool,
    Reservation,
    hookimpl,
)
from aiodhcp.constants import BOOTP_REPLY, BROADCAST_ADDRESS, MAGIC_COOKIE, message_name
from aiodhcp.hooks import Hooks

BATCH = 100

CONFIG = Config(
    subnets=[
        make_subnet(
            Pool("192.0.2.1-192.0.2.12", exclude=["192.0.2.5"]),  # one of them is the server's own
            "192.0.2.20-192.0.2.23",
            reservations=[
                Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.8"),
                Reservation(hardware_address="02:00:00:00:00:02", address="192.0.2.200"),
                Reservation(client_id=b"\0three", parameters=Parameters(lease_time=120)),
            ],
        ),
        make_subnet("198.51.100.10-198.51.100.12", network="198.51.100.0/24"),
    ],
    parameters=Parameters(
        options={"routers": ["192.0.2.1"], "domain-name": "example.org", 224: bytes(200)},
        lease_time=3600,
        max_lease_time=0xFFFFFFFF,
    ),
    classes=[
        Class("named", test="option[12].exists or relay4[1].exists"),
        Class("counted", test="member('named') and not known", limit=1000, limit_by="option[12].text + relay4[1].hex"),
    ],
    offer_time=30,
    decline_time=600,
)
LINK_ADDRESSES = [IPv4Address(address) for address in LINK.addresses]
FREE = {0: 12 - 3 + 4, 1: 3}
"""How many addresses a newcomer may get in each subnet: not the own, the excluded and the reserved one."""


def reserved_for(reservations: Iterable[Reservation], lease: Lease) -> Reservation | None:
    """The client id counts more."""
    by_id = [each for each in reservations if each.client_id == lease.client]
    by_hardware = [each for each in reservations if each.hardware_address == lease.chaddr]
    return next(iter([*by_id, *by_hardware]), None)


class Witness:
    """Serves datagrams and keeps its own books."""

    def __init__(self, *plugins: object) -> None:
        self.clock = Clock()
        self.engine = Engine(CONFIG, Hooks(plugins))
        self.edits = bool(plugins)
        self.holders: dict[int, tuple[bytes, float]] = {}
        self.outcomes: Counter[tuple[int, str]] = Counter()
        self.served = 0

    def serve(self, datagram: Datagram) -> Exchange:
        exchange = serve(self.engine, datagram, self.clock())
        self.served += 1
        self.note(exchange)
        if self.served % BATCH == 0:
            self.check_tables()
        return exchange

    def note(self, exchange: Exchange) -> None:
        """The reply decodes and says what was decided; nobody is given what somebody else has."""
        assert exchange.finished
        reason = exchange.reason
        assert reason != DropReason.INTERNAL_ERROR, exchange.why
        reply = message_name(exchange.reply_type) if exchange.reply_type else ""
        self.outcomes[exchange.message_type, reply if reason is None else reason.name] += 1
        lease = exchange.lease_after
        if exchange.problem in (AddressProblem.RELEASE, AddressProblem.DECLINE):
            holder, until = self.holders.pop(exchange.problem_address, (exchange.client, 0))
            # A machine may decline the address reserved for it that it has by another client id.
            mine = exchange.reservation is not None and exchange.reservation.address == exchange.problem_address
            assert holder == exchange.client or until <= exchange.now or mine, "not its own"
        elif lease is not None:
            holder, until = self.holders.get(lease.address, (exchange.client, 0))
            mine = exchange.reservation is not None and exchange.reservation.address == lease.address
            assert holder == exchange.client or until <= exchange.now or mine, "two holders"
            for changed in exchange.changes[1:]:
                del self.holders[changed.address]
            self.holders[lease.address] = (exchange.client, lease.expires)
        assert (exchange.answer is not None) == bool(exchange.reply_type)
        if exchange.answer is not None:
            assert 300 <= len(exchange.answer.data) <= 4096
            reply = Packet(exchange.answer.data)
            if not self.edits:
                self.check_reply(exchange, reply)

    def check_reply(self, exchange: Exchange, reply: Packet) -> None:
        kind, received, options = exchange.reply_type, exchange.received, reply.options
        bootp = kind == BOOTP_REPLY
        said = (reply.op, reply.message_type, reply.xid, reply.giaddr)
        assert said == (2, None if bootp else kind, exchange.xid, exchange.giaddr)
        assert (reply.chaddr, reply.htype) == (exchange.chaddr, exchange.htype)
        if bootp:
            assert not {51, 52, 53, 54, 58, 59} & options.raw.keys()
            assert len(exchange.answer.data) <= max(300, len(exchange.datagram.data))
            return
        assert options["server-identifier"] in LINK_ADDRESSES
        assert bool(reply.yiaddr) == ("lease-time" in options)
        echoed = {code: received[code] for code in (61, 82) if received.get(code)}
        if sum(2 + len(value) for value in echoed.values()) < 200:
            assert {code: options.raw[code] for code in (61, 82) if code in options} == echoed
            assert 82 not in echoed or list(options.raw)[-1] == 82

    def check_tables(self) -> None:
        engine, now = self.engine, self.clock()
        table, addresses = engine.leases, engine.addresses
        leases = list(table)
        assert len({lease.address for lease in leases}) == len(leases) == len(table)
        # Each address is in the index of its client, and nothing else is.
        indexed = {(client, address) for client, address in table._by_client.items()}
        indexed |= {(client, address) for client, others in table._elsewhere.items() for address in others}
        assert indexed == {(lease.client, lease.address) for lease in leases if lease.client}
        assert len(indexed) == len(table._by_client) + sum(map(len, table._elsewhere.values()))
        active: Counter[tuple[bytes, int]] = Counter()
        for lease in leases:
            assert table.get(lease.address) == lease
            assert not lease.client or table.find(lease.client, lease.address, lease.address) == lease
            if not lease.holds(now):
                continue
            subnet = CONFIG.subnet_of(lease.address)
            reserved = subnet.by_address.get(lease.address)
            if reserved is None:
                assert subnet.pool(lease.address) is not None
                assert lease.address not in LINK.addresses
            else:
                assert reserved is reserved_for(subnet.reservations, lease)
            active[lease.client, subnet.first] += 1
        counted = [lease.counted.split(",") for lease in leases if lease.counted and lease.state == LeaseState.ACTIVE]
        assert table.counts == Counter(key for keys in counted for key in keys)
        assert max(active.values(), default=1) == 1, "a client with two leases in one subnet"
        # Offers: one a client, one an address, none of what somebody else holds.
        assert {offer.address: client for client, offer in addresses._offers.items()} == addresses._offered
        for address, client in addresses._offered.items():
            lease = table.get(address)
            assert lease is None or lease.is_free(now) or lease.client == client

    def check_that_nothing_is_lost(self) -> None:
        """When all is over, all addresses can be given out again."""
        for lease in list(self.engine.leases):
            if lease.state == LeaseState.ACTIVE and lease.expires > 1 << 39:  # a lease without end: it goes by itself
                self.engine.addresses.end(lease, LeaseState.RELEASED)
        self.clock.advance(1 << 33)
        self.engine.tick(self.clock())
        for i, giaddr in enumerate(("", "198.51.100.1")):
            for newcomer in count():
                client = Client(self.engine, self.clock, f"06:00:00:00:{i:02x}:{newcomer:02x}", giaddr=giaddr)
                if client.discover() is None:
                    assert client.exchange.reason == DropReason.NOADDRESS
                    break
            assert newcomer == FREE[i]


# ── random octets ──

HEADER = b"\1\1\6\0" + bytes(24) + b"\2\0\0\0\0\7" + bytes(202) + MAGIC_COOKIE
WITNESS = Witness()


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=600), st.binary(max_size=300).map(HEADER.__add__)), max_size=8))
def test_random_octets(datagrams):
    for data in datagrams:
        WITNESS.serve(Datagram(data, LINK, 0, 68, BROADCAST_ADDRESS))
    WITNESS.check_tables()


# ── octets that were a message once ──


def recorded() -> list[bytes]:
    """The messages of some conversations."""
    clients = [
        {},
        {"giaddr": "198.51.100.1", "mac": "02:00:00:00:00:0a"},
        {"client_id": b"\0three", "broadcast": True},
        {"mac": "02:00:00:00:00:01", "parameter_request_list": [1, 28, 3, 15, 224]},
        {"mac": "02:00:00:00:00:0b", "maximum_message_size": 1500, "vendor_class_identifier": "x" * 300},
    ]
    return [
        exchange.datagram.data
        for settings in clients
        for exchange in conversation(Client(Engine(CONFIG), Clock(), **settings))
    ]


def mutated(random: Random, corpus: list[bytes]) -> bytes:
    data = bytearray(random.choice(corpus))
    for _ in range(random.choice((0, 1, 1, 2, 3, 8))):
        at = random.randrange(len(data) + 1)
        match random.randrange(7):
            case 0 if at < len(data):
                data[at] = random.choice((0, 1, 2, 3, 6, 7, 8, 16, 17, 52, 53, 54, 61, 82, 127, 128, 254, 255))
            case 1 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + random.randrange(1, 9)]
            case 4:
                data[at:at] = random.randbytes(random.randrange(1, 9))
            case 5:
                other = random.choice(corpus)
                data[at:] = other[min(at, len(other)) :]
            case 6 if len(data) > 241:
                code = random.randrange(1, 255)
                value = random.randbytes(random.choice((0, 1, 2, 4, 4, 4, 9, 60, 255)))
                data[240:240] = bytes((code, len(value))) + value
            case _:
                data += bytes(random.choice((1, 60, 4000)))
    return bytes(data)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_messages(seed):
    random, corpus = Random(seed), recorded()
    witness = Witness()
    for _ in range(1500):
        witness.clock.advance(random.choice((0, 0, 0, 0.5, 20, 700)))
        witness.serve(Datagram(mutated(random, corpus), LINK, *some_ends(random)))
        witness.engine.tick(witness.clock())
    assert len(witness.outcomes) > 8
    witness.check_that_nothing_is_lost()


def some_ends(random: Random) -> tuple[int, int, int]:
    """A source, its port, a destination."""
    source = random.choice((0, number("192.0.2.10"), number("198.51.100.10")))
    return source, 68, random.choice((BROADCAST_ADDRESS, 0, LINK.addresses[0]))


# ── messages that make sense, each for itself ──

ADDRESSES = [number(f"192.0.2.{n}") for n in (1, 2, 3, 5, 8, 9, 12, 20, 23, 200)]
ADDRESSES += [number("198.51.100.10"), number("198.51.100.12"), number("203.0.113.7"), 0, BROADCAST_ADDRESS]


def sensible(random: Random, clients: list[Client]) -> Datagram:
    """A message of one of few clients about one of few addresses."""
    client = random.choice(clients)
    lease = client.engine.leases.find(client.key, 0, BROADCAST_ADDRESS)
    offer = client.engine.addresses._offers.get(client.key)
    known = [each.address for each in (lease, offer) if each is not None]
    address = random.choice(known) if known and random.random() < 0.7 else random.choice(ADDRESSES)
    server = random.choice((None, LINK.addresses[0], LINK.addresses[0], number("192.0.2.99")))
    kind = random.choice((1, 1, 1, 3, 3, 3, 3, 4, 7, 8))
    client.giaddr = random.choice((0, 0, 0, number("198.51.100.1"), number("192.0.2.254")))
    client.xid = random.getrandbits(32)
    by_ciaddr = kind in (7, 8) or (kind == 3 and random.random() < 0.4)
    packet = client.message(
        kind,
        ciaddr=address if by_ciaddr else 0,
        requested_address=None if by_ciaddr else address,
        server_identifier=server,
        lease_time=random.choice((None, None, 1, 600, 0xFFFFFFFF)),
        maximum_message_size=random.choice((None, 576, 1500)),
        relay_agent_information=random.choice((None, {1: b"eth7"}, {1: bytes(random.randrange(800))})),
    )
    source, _, destination = some_ends(random)
    return client.datagram(packet, source=address if by_ciaddr else source, destination=destination)


def some_clients(engine: Engine) -> list[Client]:
    clock = Clock()
    clients = [Client(engine, clock, f"02:00:00:00:00:{n:02x}") for n in range(1, 24)]
    return [*clients, *(Client(engine, clock, client_id=name) for name in (b"\0three", b"\0four", b"x" * 255))]


@pytest.mark.parametrize("seed", range(3))
def test_sensible_messages(seed):
    random, witness = Random(seed), Witness()
    clients = some_clients(witness.engine)
    for _ in range(1500):
        witness.clock.advance(random.choice((0, 0, 1, 10, 100)))
        if random.random() < 0.9:
            witness.engine.tick(witness.clock())
        witness.serve(sensible(random, clients))
    assert witness.outcomes.keys() >= {
        (MessageType.DISCOVER, "OFFER"),
        (MessageType.REQUEST, "ACK"),
        (MessageType.REQUEST, "NAK"),
        (MessageType.REQUEST, "WRONG_SERVER"),
        (MessageType.REQUEST, "GEN_FAILURE"),
        (MessageType.DECLINE, ""),
        (MessageType.DECLINE, "INVALID"),
        (MessageType.RELEASE, ""),
        (MessageType.INFORM, "ACK"),
    }
    witness.check_that_nothing_is_lost()


def test_a_restart_between_any_two_messages():
    """Offers are lost, leases are not."""
    random, witness = Random(7), Witness()
    for _ in range(500):
        witness.clock.advance(random.choice((0, 1, 20)))
        witness.engine = Engine(CONFIG, leases=list(witness.engine.leases))
        witness.engine.tick(witness.clock())
        witness.serve(sensible(random, some_clients(witness.engine)))
    witness.check_that_nothing_is_lost()


# ── and plugins that edit wildly ──


class Wild:
    """Does anything a plugin may do, and much that it should not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.processed = 0

    def edit(self, packet: Packet) -> Any:
        random = self.random
        value: Any = random.choice((0, -1, 1, 17, 255, 1 << 40, None, "text", b"", b"\1\2\3\4", bytes(300), 1.5, []))
        fields = ["op", "hrd", "hln", "hops", "xid", "secs", "flags", "ciaddr", "yiaddr", "siaddr", "giaddr"]
        match random.randrange(14):
            case 0:
                setattr(packet, random.choice([*fields, "chaddr", "sname", "file"]), value)
            case 1:
                packet.options = random.choice((None, Options(), Options({53: b"\3"}), {}, value))
            case 2:
                packet.options.raw[random.randrange(300)] = value
                packet.xid = 7
            case 3:
                packet.options[random.randrange(1, 255)] = random.randbytes(random.choice((0, 4, 300, 5000)))
            case 4:
                packet.options.clear()
            case 5:
                packet.options["message-type"] = random.choice((1, 3, 4, 7, 8, 99))
            case 6:
                packet.options["requested-address"] = random.choice(ADDRESSES)
            case 7:
                return value
            case 8:
                return Packet(bytes(packet))
            case 9:
                return Packet(op=1, chaddr=b"\2\0\0\0\0\1", sname=b"", file=b"", options={53: b"\1"})
            case 10:
                return Drop("wild")
            case 11:
                raise random.choice((ValueError, KeyError, RecursionError))("wild")
        return None

    @hookimpl
    def dhcp_new_pkt(self, packet):
        return self.edit(packet)

    @hookimpl
    def dhcp_handle_options(self, packet, exchange):
        exchange.classes.add(self.random.choice(("a", "b")))
        return self.edit(packet)

    @hookimpl
    def dhcp_pkt_send(self, reply):
        return self.edit(reply)

    @hookimpl
    def dhcp_pkt_drop(self, packet, reason):
        self.processed += reason == DropReason.PROCESSED
        if packet is not None:
            self.edit(packet)

    @hookimpl
    def dhcp_address_offer(self, packet):
        return self.edit(packet)

    @hookimpl
    def dhcp_delete_client(self):
        raise ValueError("wild")


@pytest.mark.parametrize("seed", range(3))
def test_wild_plugins(seed, caplog):
    caplog.set_level("CRITICAL")
    wild = Wild(seed)
    random, corpus = Random(seed), recorded()
    witness = Witness(wild, Wild(seed + 100))
    clients = some_clients(witness.engine)
    for _ in range(700):
        witness.clock.advance(random.choice((0, 1, 20)))
        witness.engine.tick(witness.clock())
        if random.random() < 0.8:
            witness.serve(sensible(random, clients))
        else:
            witness.serve(Datagram(mutated(random, corpus), LINK, *some_ends(random)))
    assert wild.processed == witness.served
    assert witness.outcomes[MessageType.DISCOVER, "OFFER"]
    assert witness.outcomes[MessageType.REQUEST, "ACK"]
    witness.check_tables()
