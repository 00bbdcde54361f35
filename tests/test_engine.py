"""The engine itself: what it takes and what it drops and why, how it counts, and what is known of an exchange.

DISCOVER is in test_engine_discover.py, REQUEST in test_engine_request.py, the other messages in test_engine_leases.py,
the choice of subnet and parameters in test_engine_subnets.py, replies and their ways in test_engine_replies.py.
"""

from __future__ import annotations

import logging

import pytest
from client import LINK, Client, dotted, make_engine, make_subnet, number, serve

from aiodhcp import AddressProblem, Datagram, DropReason, Lease, LeaseState, MessageType
from aiodhcp.constants import INFINITE, MAXIMUM_LENGTH
from aiodhcp.engine import Engine
from aiodhcp.subnets import Config

DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST


def test_four_messages_and_a_lease(client, engine, clock):
    offer = client.discover()
    ack = client.request(offer)
    clock.advance(3600)
    again = client.renew()
    assert [reply.message_type for reply in (offer, ack, again)] == [2, 5, 5]
    assert offer.yiaddr == ack.yiaddr == again.yiaddr == number("192.0.2.10")
    assert client.release() is None
    assert [lease.state for lease in engine.leases] == [LeaseState.RELEASED]


def test_an_engine_without_plugins_and_leases():
    assert len(Engine(Config()).leases) == 0


# ── what is dropped ──


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 octets: a DHCP message has 240 to 4096"),
        (b"\1\1\6\0" + bytes(235), "239 octets: a DHCP message has 240 to 4096"),
        (bytes(MAXIMUM_LENGTH + 1), "4097 octets: a DHCP message has 240 to 4096"),
        (b"\1\1\6\0" + bytes(236), "no magic cookie but 00000000"),
        (b"\1\1\x11\0" + bytes(232) + b"\x63\x82\x53\x63\xff", "hlen is 17: chaddr has 16 octets"),
        (b"\1\1\0\0" + bytes(232) + b"\x63\x82\x53\x63\xff", "neither a client identifier nor a hardware address"),
        (b"\1\1\6\0" + bytes(232) + b"\x63\x82\x53\x63\x35", "option 53 at offset 240 has no length"),
    ],
)
def test_what_is_not_a_dhcp_message(engine, clock, data, why):
    exchange = serve(engine, Datagram(data, LINK), clock())
    assert exchange.reason == DropReason.INVALID
    assert exchange.why == why
    assert exchange.answer is None
    assert engine.received == {}
    assert engine.dropped == {DropReason.INVALID: 1}


@pytest.mark.parametrize(
    ("kind", "number"),
    [(2, 2), (5, 5), (6, 6), (13, 13), (200, 200), (b"", 0), (b"\1\1", 0)],
    ids=["OFFER", "ACK", "NAK", "LEASEQUERY", "unheard of", "empty", "twice"],
)
def test_what_is_not_for_a_server(client, kind, number):
    assert client.send(client.message(kind)) is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == f"message type {number} is not for a server"
    assert client.engine.received == {number: 1}


@pytest.mark.parametrize("op", [0, 2, 3])
def test_what_is_not_a_request(client, op):
    packet = client.message(DISCOVER)
    packet.op = op
    assert client.send(packet) is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == f"op is {op}, not a request"


def test_a_client_without_a_hardware_address_is_known_by_its_identifier(new_client):
    client = new_client(mac="", client_id=b"\0printer")
    assert dotted(client.join().yiaddr) == "192.0.2.10"
    assert client.exchange.client == b"\0printer"
    assert client.exchange.lease_after.chaddr == b""


def test_two_clients_with_one_hardware_address_are_two(new_client):
    one = new_client(mac="02:00:00:00:00:01", client_id=b"\0one")
    two = new_client(mac="02:00:00:00:00:01", client_id=b"\0two")
    assert one.join().yiaddr != two.join().yiaddr


def test_an_empty_client_identifier_is_none(new_client):
    client = new_client(client_id=b"")
    client.discover()
    assert client.exchange.client == b"\1\2\0\0\0\0\1"


def test_what_the_server_has_no_time_for(client, engine, clock):
    datagram = client.datagram(client.message(DISCOVER))
    exchange = engine.refuse(datagram, clock(), DropReason.PAUSED, "the server is paused")
    engine.decide(exchange)
    engine.answer(exchange)
    engine.finish(exchange)
    assert exchange.answer is None
    assert (exchange.reason, exchange.why) == (DropReason.PAUSED, "the server is paused")
    assert exchange.packet.message_type == DISCOVER
    assert engine.dropped == {DropReason.PAUSED: 1}
    assert engine.received == {}


def test_a_fault_of_ours_costs_one_packet(client, engine, monkeypatch, caplog):
    def fails(*_):
        raise ZeroDivisionError("somewhere deep inside")

    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR, "aiodhcp"):
        broken.setattr(engine.addresses, "choose", fails)
        assert client.discover() is None
    assert client.exchange.reason == DropReason.INTERNAL_ERROR
    assert client.exchange.why == "a fault of the server: ZeroDivisionError('somewhere deep inside')"
    assert "ZeroDivisionError" in caplog.text
    assert client.discover() is not None


def test_a_fault_in_the_making_of_a_reply_costs_one_reply(client, engine, monkeypatch, caplog):
    def fails(*_):
        raise ZeroDivisionError("somewhere deep inside")

    offer = client.discover()
    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR, "aiodhcp"):
        broken.setattr(engine.replies, "address", fails)
        assert client.request(offer) is None
    assert client.exchange.reason == DropReason.INTERNAL_ERROR
    assert "ZeroDivisionError" in caplog.text
    assert client.request(offer) is not None


# ── what is counted ──


def test_messages_replies_and_drops_are_counted(new_client, engine):
    one, two = new_client(), new_client()
    one.join()
    one.renew()
    one.inform()
    two.reboot("203.0.113.9")
    two.reboot("192.0.2.50")
    one.release()
    two.send(b"")
    assert engine.received == {1: 1, 3: 4, 8: 1, 7: 1}
    assert engine.sent == {MessageType.OFFER: 1, MessageType.ACK: 3, MessageType.NAK: 1}
    assert engine.dropped == {DropReason.GEN_FAILURE: 1, DropReason.INVALID: 1}
    assert engine.vetoed == 0


def test_a_packet_is_finished_once(client, engine):
    client.send(b"")
    engine.finish(client.exchange)
    assert engine.dropped == {DropReason.INVALID: 1}


# ── what cannot be kept ──


def decided(client: Client, kind: MessageType, **fields):
    """An exchange that waits for its commit."""
    exchange = client.engine.arrive(client.datagram(client.message(kind, **fields)), client.clock())
    client.engine.decide(exchange)
    assert exchange.changes
    return exchange


def winner(address: str, clock) -> Lease:
    return Lease(number(address), b"\1other!", 1, b"other!", LeaseState.ACTIVE, int(clock()), int(clock()) + 600)


def test_who_was_overruled_by_another_server_is_refused(client, engine, clock):
    exchange = decided(client, REQUEST, **client.choice(client.discover()))
    lease = winner("192.0.2.10", clock)
    engine.overruled(exchange, lease)
    engine.answer(exchange)
    nak = client.hear(exchange)
    assert nak.message_type == MessageType.NAK
    assert nak.options["message"] == "the address was given to another client"
    assert (nak.yiaddr, exchange.lease_time, exchange.changes, exchange.kind) == (0, 0, None, None)
    assert (exchange.problem, exchange.problem_address) == (AddressProblem.NACKED, number("192.0.2.10"))
    assert exchange.lease_after is None
    assert engine.leases.get(lease.address) == lease
    assert dotted(client.discover().yiaddr) == "192.0.2.11"


@pytest.mark.parametrize("kind", [MessageType.RELEASE, MessageType.DECLINE])
def test_who_gave_up_what_another_server_gave_away_is_told_nothing(client, engine, clock, kind):
    address = client.join().yiaddr
    exchange = decided(client, kind, ciaddr=address, requested_address=address)
    lease = winner("192.0.2.10", clock)
    engine.overruled(exchange, lease)
    engine.answer(exchange)
    assert exchange.answer is None
    assert exchange.problem is None
    assert engine.leases.get(lease.address) == lease


def test_what_could_not_be_committed_is_not_answered(client, engine):
    """The server drops it between decide and answer; nothing of what was decided is said."""
    exchange = decided(client, REQUEST, **client.choice(client.discover()))
    exchange.drop(DropReason.INTERNAL_ERROR, "the lease can't be committed")
    engine.answer(exchange)
    engine.finish(exchange)
    assert exchange.answer is None
    assert (exchange.reply_type, exchange.yiaddr, exchange.lease_time, exchange.kind) == (0, 0, 0, None)
    assert engine.dropped == {DropReason.INTERNAL_ERROR: 1}


# ── what is known of an exchange ──


def test_an_exchange_says_what_it_is_about(client):
    client.join()
    exchange = client.exchange
    assert exchange.interface is LINK
    assert exchange.hardware_address == "02:00:00:00:00:01"
    assert str(exchange.address) == "192.0.2.10"
    assert exchange.packet.options["message-type"] == REQUEST
    assert exchange.reply.yiaddr == number("192.0.2.10")
    assert exchange.packet is exchange.packet
    assert exchange.reply is exchange.reply
    assert not exchange.dropped
    assert repr(exchange) == "<Exchange REQUEST xid=00010001 chaddr=02:00:00:00:00:01 on eth0: ACK>"


def test_an_exchange_without_a_reply_says_why(client):
    client.send(b"")
    assert client.exchange.address is None
    assert client.exchange.packet is None
    assert client.exchange.reply is None
    assert client.exchange.dropped
    assert repr(client.exchange) == (
        "<Exchange unread xid=00000000 chaddr= on eth0: 0 octets: a DHCP message has 240 to 4096>"
    )


def test_an_exchange_of_a_reply_says_so(client):
    packet = client.message(MessageType.OFFER)
    packet.op = 2
    client.send(packet)
    assert repr(client.exchange).startswith("<Exchange reply OFFER xid=00010000 ")


def test_an_exchange_that_asks_for_no_reply_says_so(client):
    client.join()
    client.release()
    assert repr(client.exchange) == "<Exchange RELEASE xid=00010001 chaddr=02:00:00:00:00:01 on eth0: no reply>"
    assert str(client.exchange.address) == "192.0.2.10"


def test_an_exchange_keeps_one_context_for_those_who_are_no_plugin(client):
    client.discover()
    assert client.exchange.context is None
    client.exchange.context = "mine"
    assert client.exchange.context == "mine"


def test_a_lease_outside_of_every_subnet_is_left_alone(new_client, clock):
    stray = winner("203.0.113.7", clock)
    engine = make_engine(make_subnet(), leases=[stray])
    clock.advance(600)
    engine.tick(clock())
    assert engine.leases.get(stray.address).state == LeaseState.EXPIRED
    assert new_client(engine).join(lease_time=INFINITE) is not None
