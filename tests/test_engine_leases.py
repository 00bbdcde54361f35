"""DECLINE, RELEASE, INFORM (RFC 2131 §4.3.3-4.3.5), and how offers, leases and probations end by themselves."""

from __future__ import annotations

import pytest
from client import dotted, make_engine, make_subnet, number

from aiodhcp import AddressProblem, DropReason, Lease, LeaseState, MessageType, Parameters, Pool, Reservation, hookimpl
from aiodhcp.leases import NEVER

ACK = MessageType.ACK
A_DAY = 24 * 3600


class Watcher:
    """Notes which clients are deleted, and what became of their leases by then."""

    def __init__(self):
        self.deleted = []

    @hookimpl
    def dhcp_delete_client(self, address, hardware_address):
        self.deleted.append((str(address), hardware_address.hex(":")))


# ── DECLINE ──


def test_a_declined_address_is_on_probation(new_client, clock):
    engine = make_engine(decline_time=600)
    client = new_client(engine)
    client.join()
    assert client.decline() is None
    lease = engine.leases.get(number("192.0.2.10"))
    assert (lease.state, lease.starts, lease.expires) == (LeaseState.DECLINED, clock(), clock() + 600)
    assert client.exchange.changes == [lease]
    assert client.exchange.lease_after == lease
    assert client.exchange.problem == AddressProblem.DECLINE
    assert str(client.exchange.address) == "192.0.2.10"
    assert client.exchange.why == "192.0.2.10 is in use by somebody else, says the client"
    assert client.exchange.reason is None


def test_nobody_gets_a_declined_address_not_even_who_declined_it(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11"), decline_time=600)
    client = new_client(engine)
    client.join()
    client.decline()
    assert dotted(client.join().yiaddr) == "192.0.2.11"
    assert new_client(engine).discover(requested_address="192.0.2.10") is None


def test_after_its_probation_the_address_is_free(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"), decline_time=600)
    client = new_client(engine)
    client.join()
    client.decline()
    clock.advance(599)
    engine.tick(clock())
    assert new_client(engine).discover() is None
    clock.advance(1)
    engine.tick(clock())
    assert engine.leases.get(number("192.0.2.10")).state == LeaseState.EXPIRED
    assert dotted(new_client(engine).discover().yiaddr) == "192.0.2.10"


def test_an_offered_address_may_be_declined(client, engine):
    offer = client.discover()
    client.decline(offer.yiaddr)
    assert engine.leases.get(offer.yiaddr).state == LeaseState.DECLINED


def test_declining_a_lease_frees_what_was_offered_elsewhere(new_client):
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    traveller = new_client(engine)
    traveller.join()
    traveller.giaddr = number("198.51.100.1")
    traveller.discover()
    traveller.giaddr = 0
    traveller.decline(server_identifier=None)
    assert dotted(new_client(engine, giaddr="198.51.100.1").discover().yiaddr) == "198.51.100.10"


def test_taking_a_lease_frees_what_was_offered_elsewhere(new_client):
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    traveller = new_client(engine)
    ack = traveller.join()
    traveller.giaddr = number("198.51.100.1")
    traveller.discover()
    traveller.giaddr = 0
    assert traveller.reboot().yiaddr == ack.yiaddr
    assert dotted(new_client(engine, giaddr="198.51.100.1").discover().yiaddr) == "198.51.100.10"


@pytest.mark.parametrize("address", ["192.0.2.10", "192.0.2.50"])
def test_who_declines_what_is_not_its_own_is_not_heard(new_client, engine, address):
    owner, liar = new_client(), new_client()
    owner.join()
    assert liar.decline(address, server_identifier=None) is None
    assert liar.exchange.reason == DropReason.INVALID
    assert liar.exchange.why == f"declines {address}, which it neither has nor was offered"
    assert engine.leases.get(number("192.0.2.10")).state == LeaseState.ACTIVE


def test_who_has_one_address_can_not_decline_another(client, engine):
    client.join()
    client.decline("192.0.2.50")
    assert client.exchange.why == "declines 192.0.2.50, which it neither has nor was offered"
    assert engine.leases.get(number("192.0.2.10")).state == LeaseState.ACTIVE


def test_who_is_offered_one_address_can_not_decline_another(client, engine):
    client.discover()
    client.decline("192.0.2.50")
    assert client.exchange.why == "declines 192.0.2.50, which it neither has nor was offered"
    assert engine.leases.get(number("192.0.2.50")) is None


def test_a_decline_after_the_lease_has_ended(client, clock):
    client.join()
    clock.advance(A_DAY)
    assert client.decline() is None
    assert client.exchange.reason == DropReason.INVALID


def test_a_decline_of_nothing(client):
    client.decline(requested_address=None, server_identifier=None)
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == "a DECLINE that names no address"


# ── RELEASE ──


def test_a_release_ends_the_lease_and_remembers_the_client(new_client, clock):
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client = new_client(engine)
    client.join()
    lease = client.exchange.lease_after
    clock.advance(60)
    assert client.release() is None
    ended = lease._replace(state=LeaseState.RELEASED, expires=int(clock()), last_transaction=int(clock()))
    assert engine.leases.get(lease.address) == ended
    assert client.exchange.changes == [ended]
    assert client.exchange.lease_before == lease
    assert client.exchange.lease_after == ended
    assert client.exchange.problem == AddressProblem.RELEASE
    assert watcher.deleted == [("192.0.2.10", "02:00:00:00:00:01")]


def test_a_release_from_another_network(new_client):
    """A unicast, which doesn't pass the relay agent."""
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    client = new_client(engine, giaddr="198.51.100.1")
    client.join()
    client.release()
    assert client.exchange.lease_after.state == LeaseState.RELEASED


def test_a_release_is_for_the_holder_alone(new_client, engine):
    owner, liar = new_client(), new_client()
    liar.address = owner.join().yiaddr
    liar.server = owner.server
    liar.release()
    assert liar.exchange.reason == DropReason.INVALID
    assert liar.exchange.why == "releases 192.0.2.10, which it doesn't have"
    assert engine.leases.get(owner.address).state == LeaseState.ACTIVE


def test_a_release_of_another_address_than_its_own(client):
    client.join()
    client.address += 1
    client.release()
    assert client.exchange.why == "releases 192.0.2.11, which it doesn't have"


def test_a_release_that_comes_twice(client):
    client.join()
    address = client.address
    client.release()
    client.address = address
    client.release()
    assert client.exchange.reason == DropReason.INVALID


def test_a_release_after_the_lease_has_ended(client, clock):
    client.join()
    clock.advance(A_DAY)
    client.release()
    assert client.exchange.reason == DropReason.INVALID


@pytest.mark.parametrize("message", ["decline", "release"])
def test_what_is_for_another_server_is_not_ours(client, engine, message):
    client.join()
    address, client.server = client.address, number("192.0.2.2")
    getattr(client, message)()
    assert client.exchange.reason == DropReason.WRONG_SERVER
    assert client.exchange.why == "is for server 192.0.2.2"
    assert engine.leases.get(address).state == LeaseState.ACTIVE


@pytest.mark.parametrize(("message", "state"), [("decline", LeaseState.DECLINED), ("release", LeaseState.RELEASED)])
def test_without_a_server_identifier_it_is_ours(client, engine, message, state):
    address = client.join().yiaddr
    getattr(client, message)(server_identifier=None)
    assert engine.leases.get(address).state == state


# ── INFORM ──


def test_inform_is_told_everything_but_an_address(new_client):
    parameters = Parameters(options={"routers": ["192.0.2.1"], "domain-name": "example.org"})
    engine = make_engine(parameters=parameters)
    client = new_client(engine)
    ack = client.inform("192.0.2.150")
    assert ack.message_type == ACK
    assert ack.yiaddr == 0
    assert ack.ciaddr == number("192.0.2.150")
    assert ack.options.names().keys() == {
        "message-type",
        "server-identifier",
        "subnet-mask",
        "routers",
        "domain-name",
    }
    assert client.answer.destination == number("192.0.2.150")
    assert client.exchange.changes is None
    assert client.exchange.kind is None
    assert len(engine.leases) == 0


def test_inform_leaves_a_lease_alone(client, clock):
    client.join()
    lease = client.exchange.lease_after
    clock.advance(60)
    assert client.inform().message_type == ACK
    assert client.engine.leases.get(lease.address) == lease


def test_inform_is_told_what_its_pool_and_its_reservation_are_told(new_client):
    def named(name):
        return Parameters(options={"domain-name": name})

    mine = Reservation(hardware_address="02:00:00:00:00:01", parameters=named("mine"))
    engine = make_engine(
        make_subnet(Pool("192.0.2.10-192.0.2.19", named("pool")), reservations=[mine]), parameters=named("all")
    )
    reserved, pooled, other = new_client(engine), new_client(engine), new_client(engine)
    assert reserved.inform("192.0.2.15").options["domain-name"] == "mine"
    assert pooled.inform("192.0.2.15").options["domain-name"] == "pool"
    assert other.inform("192.0.2.150").options["domain-name"] == "all"


def test_inform_without_an_address(client):
    assert client.inform() is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == "an INFORM with neither ciaddr nor a source address"


# ── the end ──


def test_a_lease_expires_at_its_end_and_not_before(new_client, clock):
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client = new_client(engine)
    client.join()
    lease = client.exchange.lease_after
    clock.advance(43199)
    assert engine.tick(clock()) == ([], [])
    assert engine.leases.get(lease.address) == lease
    clock.advance(1)
    ended = lease._replace(state=LeaseState.EXPIRED)
    assert engine.tick(clock()) == ([ended], [])
    assert engine.leases.get(lease.address) == ended
    assert watcher.deleted == [("192.0.2.10", "02:00:00:00:00:01")]


def test_a_lease_that_was_renewed_expires_later(new_client, clock):
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client = new_client(engine)
    client.join()
    clock.advance(30000)
    client.renew()
    clock.advance(43199)
    engine.tick(clock())
    assert watcher.deleted == []
    clock.advance(1)
    engine.tick(clock())
    assert len(watcher.deleted) == 1


def test_the_end_of_a_probation_deletes_no_client(new_client, clock):
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client = new_client(engine)
    client.join()
    client.decline()
    assert len(watcher.deleted) == 1
    clock.advance(2 * A_DAY)
    engine.tick(clock())
    assert len(watcher.deleted) == 1


def test_who_declines_what_it_was_offered_is_deleted_from_nothing(new_client, clock):
    watcher = Watcher()
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.50")
    client = new_client()
    client.join()
    client.engine = make_engine(make_subnet(reservations=[mine]), plugins=[watcher], leases=client.engine.leases)
    client.decline(client.discover().yiaddr)
    assert client.exchange.problem == AddressProblem.DECLINE
    assert watcher.deleted == []


def test_who_declines_what_it_had_before_is_deleted_once(new_client, clock):
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client = new_client(engine)
    client.join()
    clock.advance(A_DAY)
    engine.tick(clock())
    client.decline(client.discover().yiaddr)
    assert client.exchange.problem == AddressProblem.DECLINE
    assert watcher.deleted == [("192.0.2.10", "02:00:00:00:00:01")]


def test_a_client_that_moves_to_another_address_is_deleted_from_the_first(new_client):
    watcher = Watcher()
    client = new_client(make_engine(plugins=[watcher]))
    client.request(client.join(), requested_address="192.0.2.50")
    assert watcher.deleted == [("192.0.2.10", "02:00:00:00:00:01")]


def test_a_client_is_deleted_once_from_the_address_that_it_lost(new_client, clock):
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client = new_client(engine)
    ack = client.join()
    clock.advance(A_DAY)
    engine.tick(clock())
    client.request(ack, requested_address="192.0.2.50")
    assert watcher.deleted == [("192.0.2.10", "02:00:00:00:00:01")]


@pytest.mark.parametrize("who", ["itself", "another"])
def test_a_client_is_deleted_though_its_lease_has_ended_only_just_now(new_client, clock, who):
    """Before a tick has noticed it."""
    watcher = Watcher()
    engine = make_engine(plugins=[watcher])
    client, other = new_client(engine), new_client(engine)
    ack = client.join()
    clock.advance(A_DAY)
    if who == "itself":
        client.request(ack, requested_address="192.0.2.50")
    else:
        other.join(requested_address="192.0.2.10")
    assert watcher.deleted == [("192.0.2.10", "02:00:00:00:00:01")]
    engine.tick(clock())
    assert len(watcher.deleted) == 1


def test_an_offer_lapses_with_a_tick(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"))
    one, two = new_client(engine), new_client(engine)
    offer = one.discover()
    clock.advance(59)
    engine.tick(clock())
    assert two.request(offer).message_type == MessageType.NAK
    clock.advance(1)
    engine.tick(clock())
    assert two.request(offer).message_type == ACK


def test_what_had_expired_while_the_server_was_down(new_client, clock):
    watcher = Watcher()
    lease = Lease(number("192.0.2.10"), b"\1abcdef", 1, b"abcdef", LeaseState.ACTIVE, 0, int(clock()) - 1)
    forever = Lease(number("192.0.2.11"), b"\1ghijkl", 1, b"ghijkl", LeaseState.ACTIVE, 0, NEVER)
    engine = make_engine(plugins=[watcher], leases=[lease, forever])
    engine.tick(clock())
    assert engine.leases.get(lease.address).state == LeaseState.EXPIRED
    assert engine.leases.get(forever.address) == forever
    assert watcher.deleted == [("192.0.2.10", "61:62:63:64:65:66")]


def test_the_lease_is_still_there_when_its_client_is_deleted(new_client, clock):
    seen = []

    class Plugin:
        @hookimpl
        def dhcp_delete_client(self, address):
            seen.append(engine.leases.get(int(address)).state)

    engine = make_engine(plugins=[Plugin()])
    client = new_client(engine)
    client.join()
    client.release()
    client.join()
    clock.advance(A_DAY)
    engine.tick(clock())
    assert seen == [LeaseState.ACTIVE, LeaseState.ACTIVE]
