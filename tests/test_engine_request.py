"""REQUEST (RFC 2131 §4.3.2): table 4 tells SELECTING, INIT-REBOOT, RENEWING and REBINDING apart."""

from __future__ import annotations

import pytest
from client import LINK, Client, dotted, make_engine, make_subnet, number

from aiodhcp import (
    AddressKind,
    AddressProblem,
    DropReason,
    Interface,
    LeaseState,
    MessageType,
    Packet,
    Parameters,
    Reservation,
)
from aiodhcp.constants import BROADCAST_ADDRESS

ACK, NAK = MessageType.ACK, MessageType.NAK
HOUR = Parameters(lease_time=3600)


def acked(client: Client, reply: Packet | None) -> str:
    """The address that an ACK gives."""
    assert reply is not None, client.exchange.why
    assert reply.message_type == ACK, client.exchange.why
    return dotted(reply.yiaddr)


def nacked(client: Client, reply: Packet | None) -> str:
    """Why a NAK refuses."""
    assert reply is not None, client.exchange.why
    assert reply.message_type == NAK
    assert reply.yiaddr == 0
    assert client.exchange.changes is None
    assert client.exchange.problem == AddressProblem.NACKED
    assert reply.options["message"] == client.exchange.why
    return client.exchange.why


def silent(client: Client, reply: Packet | None, reason: DropReason) -> str:
    """Why there is no answer."""
    assert reply is None
    assert client.exchange.reason == reason
    assert client.exchange.changes is None
    return client.exchange.why


# ── SELECTING: server identifier, requested address, no ciaddr ──


def test_selecting_what_was_offered(client, engine, clock):
    ack = client.request(client.discover(), host_name="pc-17")
    assert acked(client, ack) == "192.0.2.10"
    lease = engine.leases.get(number("192.0.2.10"))
    known = (
        lease.address,
        client.key,
        1,
        client.chaddr,
        LeaseState.ACTIVE,
        clock(),
        clock() + 43200,
        "pc-17",
        *(None,) * 2,
        clock(),
        None,
    )
    assert lease == known
    assert client.exchange.changes == [lease]
    assert client.exchange.lease_after == lease
    assert client.exchange.lease_before is None
    assert client.exchange.kind == AddressKind.NEW


def test_a_request_that_is_sent_again_gets_the_same_ack(client, clock):
    client.join()
    sent, first, lease = client.exchange.datagram.data, client.answer.data, client.exchange.lease_after
    clock.advance(4)
    client.send(sent)
    assert client.answer.data == first
    assert client.exchange.kind == AddressKind.OLD
    assert client.exchange.lease_after.starts == lease.starts


def test_selecting_another_server_withdraws_our_offer(new_client):
    engine = make_engine(make_subnet("192.0.2.10"))
    client = new_client(engine)
    offer = client.discover()
    reply = client.request(offer, server_identifier="192.0.2.2")
    assert silent(client, reply, DropReason.WRONG_SERVER) == "chose server 192.0.2.2"
    assert new_client(engine).join().yiaddr == number("192.0.2.10")


def test_selecting_another_server_keeps_the_lease_we_gave(client, engine):
    ack = client.join()
    assert client.request(ack, server_identifier="192.0.2.2") is None
    assert engine.leases.get(ack.yiaddr).state == LeaseState.ACTIVE


def test_a_server_identifier_that_is_none(client):
    offer = client.discover()
    assert silent(client, client.request(offer, server_identifier=b"\xc0\0\2"), DropReason.WRONG_SERVER)


def test_any_address_of_the_interface_is_ours(new_client):
    link = Interface("eth0", (number("192.0.2.1"), number("192.0.2.2")))
    client = new_client(interface=link)
    assert acked(client, client.request(client.discover(), server_identifier="192.0.2.2")) == "192.0.2.10"


def test_selecting_after_a_restart_is_granted_though_the_offer_is_lost(client):
    offer = client.discover()
    client.engine = make_engine()
    assert acked(client, client.request(offer)) == "192.0.2.10"


def test_selecting_too_late_is_granted_if_the_address_is_still_free(client, clock):
    offer = client.discover()
    clock.advance(600)
    client.engine.tick(clock())
    assert acked(client, client.request(offer)) == "192.0.2.10"


def test_selecting_too_late_is_refused_if_somebody_else_has_the_address(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"))
    slow = new_client(engine)
    offer = slow.discover()
    clock.advance(600)
    new_client(engine).join()
    assert nacked(slow, slow.request(offer)) == "the address is not available"


def test_selecting_what_was_offered_to_somebody_else(new_client):
    one, two = new_client(), new_client()
    two.discover()
    assert nacked(one, one.request(two.discover())) == "the address is not available"


def test_selecting_another_address_than_the_offered_one(client):
    offer = client.discover()
    assert nacked(client, client.request(offer, requested_address="192.0.2.50")) == "not the address that was offered"
    assert acked(client, client.request(offer)) == "192.0.2.10"


def test_selecting_the_address_it_has_instead_of_the_one_reserved_meanwhile(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.50")
    client = new_client()
    ack = client.join()
    client.engine = make_engine(make_subnet(reservations=[mine]), leases=client.engine.leases)
    assert client.discover().yiaddr == number("192.0.2.50")
    assert nacked(client, client.request(ack)) == "another address is reserved for the client"


def test_selecting_neither_the_address_it_has_nor_the_offered_one(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.50")
    client = new_client()
    client.join()
    client.engine = make_engine(make_subnet(reservations=[mine]), leases=client.engine.leases)
    offer = client.discover()
    assert nacked(client, client.request(offer, requested_address="192.0.2.60")) == "not the address that was offered"


def test_selecting_an_address_of_another_network(client):
    offer = client.discover()
    why = nacked(client, client.request(offer, requested_address="198.51.100.7"))
    assert why == "wrong network: this is 192.0.2.0/24"


def test_selecting_by_ciaddr_as_some_clients_do(client):
    offer = client.discover()
    options = {"server_identifier": "192.0.2.1", "ciaddr": offer.yiaddr}
    assert acked(client, client.send(client.message(MessageType.REQUEST, **options))) == "192.0.2.10"


def test_selecting_no_address(client):
    client.discover()
    reply = client.send(client.message(MessageType.REQUEST, server_identifier="192.0.2.1"))
    assert silent(client, reply, DropReason.INVALID) == "a REQUEST that selects a server but no address"


def test_a_client_that_gets_another_address_gives_up_the_first(client, engine):
    ack = client.join()
    assert acked(client, client.request(ack, requested_address="192.0.2.50")) == "192.0.2.50"
    assert engine.leases.get(number("192.0.2.10")).state == LeaseState.RELEASED
    assert [lease.ip.compressed for lease in client.exchange.changes] == ["192.0.2.50", "192.0.2.10"]
    assert client.exchange.kind == AddressKind.NEW


def test_a_client_may_have_one_address_in_each_network(new_client):
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    client = new_client(engine)
    client.join()
    client.giaddr = number("198.51.100.1")
    client.join()
    assert {lease.ip.compressed: lease.state for lease in engine.leases} == {
        "192.0.2.10": LeaseState.ACTIVE,
        "198.51.100.10": LeaseState.ACTIVE,
    }


def test_the_host_name_is_remembered(client):
    client.join(host_name="pc-17")
    client.renew()
    assert client.exchange.lease_after.hostname == "pc-17"
    client.renew(host_name=b"b\xfcro\0")
    assert client.exchange.lease_after.hostname == "b\ufffdro"


# ── INIT-REBOOT: requested address, no server identifier, no ciaddr ──


def test_reboot_with_the_right_address(client, clock):
    client.join()
    clock.advance(1800)
    assert acked(client, client.reboot()) == "192.0.2.10"
    assert client.exchange.kind == AddressKind.OLD
    assert client.exchange.lease_after.expires == clock() + 43200


def test_reboot_on_the_wrong_network(client):
    why = nacked(client, client.reboot("198.51.100.7"))
    assert why == "wrong network: this is 192.0.2.0/24"
    assert client.exchange.problem_address == number("198.51.100.7")
    assert client.answer.destination == BROADCAST_ADDRESS


def test_reboot_on_the_wrong_network_behind_a_relay_agent(new_client):
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    client = new_client(engine)
    client.join()
    client.giaddr = number("198.51.100.1")
    assert nacked(client, client.reboot()) == "wrong network: this is 198.51.100.0/24"


def test_reboot_with_another_address_than_its_own(client):
    client.join()
    assert nacked(client, client.reboot("192.0.2.50")) == "not the client's address"


def test_reboot_of_an_unknown_client(client):
    """RFC 2131: if the DHCP server has no record of this client, then it MUST remain silent."""
    why = silent(client, client.reboot("192.0.2.50"), DropReason.GEN_FAILURE)
    assert why == "no record of the client, and the server is not authoritative"


def test_reboot_of_an_unknown_client_when_authoritative(new_client):
    client = new_client(make_engine(authoritative=True))
    assert nacked(client, client.reboot("192.0.2.50")) == "the client has no lease"


def test_reboot_when_somebody_else_got_the_address(new_client):
    one, two = new_client(), new_client()
    one.join()
    address = one.address
    one.release()
    two.join(requested_address=address)
    assert silent(one, one.reboot(address), DropReason.GEN_FAILURE)


def test_reboot_after_the_lease_has_expired(client, clock, engine):
    client.join()
    clock.advance(43200)
    engine.tick(clock())
    assert acked(client, client.reboot()) == "192.0.2.10"
    assert client.exchange.kind == AddressKind.NEW
    assert client.exchange.lease_after.starts == clock()


def test_reboot_with_an_address_that_is_offered_to_somebody_else_by_now(new_client, clock):
    engine = make_engine(make_subnet("192.0.2.10"))
    one = new_client(engine)
    one.join()
    clock.advance(43200)
    engine.tick(clock())
    new_client(engine).discover()
    assert nacked(one, one.reboot()) == "the address is not available"


def test_reboot_with_an_address_that_it_declined(client):
    """It is nobody's, and the client has no other."""
    client.join()
    address = client.address
    client.decline()
    assert client.reboot(address) is None
    assert client.exchange.why == "no record of the client, and the server is not authoritative"


def test_reboot_with_an_address_that_is_in_no_pool_any_longer(client):
    client.join()
    client.engine = make_engine(make_subnet("192.0.2.50"), leases=client.engine.leases)
    assert nacked(client, client.reboot()) == "the address is not available"


# ── INIT-REBOOT and reservations ──

MINE = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.200")
RESERVED = make_subnet(reservations=[MINE])


def test_reboot_with_the_reserved_address_though_there_is_no_lease(new_client):
    client = new_client(make_engine(RESERVED))
    assert acked(client, client.reboot("192.0.2.200")) == "192.0.2.200"


def test_reboot_with_another_address_than_the_reserved_one_though_there_is_no_lease(new_client):
    client = new_client(make_engine(RESERVED))
    assert nacked(client, client.reboot("192.0.2.50")) == "another address is reserved for the client"


def test_reboot_with_the_address_it_has_when_another_was_reserved_meanwhile(new_client):
    client = new_client()
    client.join()
    client.engine = make_engine(RESERVED, leases=client.engine.leases)
    assert nacked(client, client.reboot()) == "another address is reserved for the client"
    assert acked(client, client.join()) == "192.0.2.200"


def test_reboot_with_the_reserved_address_while_it_has_another(new_client):
    client = new_client()
    client.join()
    client.engine = make_engine(RESERVED, leases=client.engine.leases)
    assert acked(client, client.reboot("192.0.2.200")) == "192.0.2.200"
    assert [lease.state for lease in client.exchange.changes] == [LeaseState.ACTIVE, LeaseState.RELEASED]


def test_reboot_with_the_address_it_has_while_somebody_else_has_the_reserved_one(new_client):
    one, other = new_client(), new_client()
    one.join()
    other.join()
    taken = Reservation(hardware_address="02:00:00:00:00:01", address="192.0.2.11")
    one.engine = other.engine = make_engine(make_subnet(reservations=[taken]), leases=one.engine.leases)
    assert acked(one, one.reboot()) == "192.0.2.10"
    # The other one has to go, and then the first gets what is reserved for it.
    assert nacked(other, other.reboot()) == "the address is not available"
    assert acked(other, other.join()) == "192.0.2.12"
    assert nacked(one, one.reboot()) == "another address is reserved for the client"
    assert acked(one, one.join()) == "192.0.2.11"


def test_a_reservation_without_an_address_leaves_the_address_alone(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", parameters=HOUR)
    client = new_client(make_engine(make_subnet(reservations=[mine])))
    client.join()
    assert acked(client, client.reboot()) == "192.0.2.10"
    assert client.exchange.lease_time == 3600


def test_reboot_of_an_unknown_client_with_a_reservation_without_an_address(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", parameters=HOUR)
    client = new_client(make_engine(make_subnet(reservations=[mine])))
    assert silent(client, client.reboot("192.0.2.50"), DropReason.GEN_FAILURE)


# ── RENEWING: ciaddr, unicast to the server ──


def test_renewing(new_client, clock):
    client = new_client(make_engine(parameters=HOUR))
    client.join()
    lease = client.exchange.lease_after
    clock.advance(1800)
    assert acked(client, client.renew()) == "192.0.2.10"
    assert client.exchange.lease_before == lease
    assert client.exchange.lease_after == lease._replace(expires=int(clock()) + 3600, last_transaction=int(clock()))
    assert client.exchange.kind == AddressKind.OLD
    assert client.answer.destination == client.address


def test_renewing_through_a_router(new_client, clock):
    """The client is behind a relay agent, which a unicast doesn't pass: it arrives from a network that is not here."""
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    client = new_client(engine, giaddr="198.51.100.1")
    client.join()
    clock.advance(1800)
    assert acked(client, client.renew()) == "198.51.100.10"
    assert client.answer.destination == number("198.51.100.10")
    assert client.answer.port == 68


def test_renewing_from_a_network_that_is_not_ours(client):
    client.join()
    client.address = number("203.0.113.7")
    assert silent(client, client.renew(), DropReason.NO_SUBNETS) == "no subnet for interface eth0"


def test_renewing_an_address_of_elsewhere_from_here(new_client):
    """The client of another of our networks has been moved: it is not a packet that came through a router."""
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    client = new_client(engine, giaddr="198.51.100.1")
    client.join()
    packet = client.message(MessageType.REQUEST, ciaddr=client.address)
    packet.giaddr = 0
    reply = client.send(packet, source=number("192.0.2.50"), destination=LINK.addresses[0])
    assert nacked(client, reply) == "wrong network: this is 192.0.2.0/24"


def test_renewing_by_a_transport_that_does_not_know_the_destination(client):
    client.join()
    packet = client.message(MessageType.REQUEST, ciaddr=client.address)
    assert acked(client, client.send(packet, source=client.address, destination=0)) == "192.0.2.10"


def test_renewing_what_is_not_its_own(client):
    client.join()
    client.address = number("192.0.2.50")
    assert nacked(client, client.renew()) == "not the client's address"
    assert client.exchange.problem_address == number("192.0.2.50")


def test_renewing_when_the_lease_was_just_lost(client, clock):
    client.join()
    clock.advance(43200)
    assert acked(client, client.renew()) == "192.0.2.10"
    assert client.exchange.kind == AddressKind.NEW


# ── REBINDING: ciaddr, broadcast ──


def test_rebinding(client, clock):
    client.join()
    clock.advance(40000)
    assert acked(client, client.rebind()) == "192.0.2.10"
    assert client.exchange.kind == AddressKind.OLD


def test_rebinding_behind_a_relay_agent(new_client):
    client = new_client(giaddr="192.0.2.254")
    client.join()
    assert acked(client, client.rebind()) == "192.0.2.10"
    assert client.answer.destination == number("192.0.2.254")


def test_rebinding_a_lease_of_another_server(client):
    client.address = number("192.0.2.50")
    assert silent(client, client.rebind(), DropReason.GEN_FAILURE)


def test_rebinding_on_the_wrong_network(client):
    """A broadcast doesn't come through routers: who broadcasts with a ciaddr of elsewhere has been moved."""
    client.address = number("198.51.100.7")
    assert nacked(client, client.rebind()) == "wrong network: this is 192.0.2.0/24"


def test_rebinding_takes_ciaddr_for_the_address_whatever_option_50_says(client):
    client.join()
    assert acked(client, client.rebind(requested_address="192.0.2.50")) == "192.0.2.10"


@pytest.mark.parametrize("requested", [None, b"", b"\xc0\0\2\x0a\0", "0.0.0.0"])
def test_a_request_for_nothing(client, requested):
    client.join()
    reply = client.send(client.message(MessageType.REQUEST, requested_address=requested))
    why = silent(client, reply, DropReason.INVALID)
    assert why == "a REQUEST with no server identifier, no requested address and no ciaddr"
