"""FORCERENEW and its nonces (RFC 3203, RFC 6704): who is given one, and what is signed with it."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import pytest
from client import LINK, Client, Clock, dotted, make_engine, make_subnet, number

from aiodhcp import Answer, Config, DecodeError, Engine, Interface, Lease, MessageType, Packet, Parameters
from aiodhcp.constants import BROADCAST_ADDRESS
from aiodhcp.hooks import Hooks
from aiodhcp.leases import LeaseState
from aiodhcp.nonces import nonce_in, verified

NewClient = Callable[..., Client]

CAPABLE = {"forcerenew_nonce_capable": [1]}
SEED = b"nobody knows this"
NAK = MessageType.NAK


def an_engine(*subnets: Any, **config: Any) -> Engine:
    engine = make_engine(*subnets, **config)
    engine.nonces.seed = SEED
    engine.serve([LINK])
    return engine


def given(ack: Packet | None) -> bytes | None:
    """The nonce that a reply tells, which it does in the form of RFC 6704 §3.1.2 or not at all."""
    assert ack is not None
    value = ack.options.raw.get(90)
    if value is None:
        return None
    assert (value[:3], value[11], len(value)) == (b"\3\1\0", 1, 28)
    found = nonce_in(value)
    assert found == (value[12:], int.from_bytes(value[3:11], "big"))
    return value[12:]


def told(engine: Engine, client: Client) -> Answer:
    assert engine.no_force_renew(client.address, client.clock()) == ""
    lease = engine.leases.get(client.address)
    assert lease is not None
    return engine.force_renew(lease, client.clock())


# ── who is given a nonce ──


def test_a_client_that_asks_is_given_a_nonce_with_its_lease(new_client: NewClient) -> None:
    client = new_client(an_engine(), **CAPABLE)
    offer = client.discover()
    assert offer is not None
    assert offer.options["forcerenew-nonce-capable"] == [1]
    assert 90 not in offer.options
    ack = client.request(offer)
    nonce = given(ack)
    assert 145 not in ack.options
    assert client.exchange.changes[0].nonce == nonce
    assert len(nonce) == 16


def test_who_does_not_ask_gets_nothing_of_it(new_client: NewClient) -> None:
    client = new_client(an_engine())
    offer = client.discover()
    assert 145 not in offer.options
    assert 90 not in client.request(offer).options
    assert client.exchange.changes[0].nonce is None


def test_who_is_told_that_there_is_no_address_is_told_nothing_of_it(new_client: NewClient) -> None:
    """The only address is in use by somebody else: RFC 2563 §2.3 has nothing beside what it says."""
    subnet = make_subnet("192.0.2.10", conflict_probe="arp")
    engine = an_engine(subnet, parameters=Parameters(auto_configure=True))
    client = new_client(engine, auto_config=1, **CAPABLE)
    client.discover()
    exchange = client.exchange
    engine.conflict(exchange, "somebody")
    engine.decide(exchange)
    engine.answer(exchange)
    assert exchange.answer is not None
    assert set(Packet(exchange.answer.data).options.raw) == {53, 54, 116}


@pytest.mark.parametrize("algorithms", [[2], [], [0, 200]])
def test_an_algorithm_that_the_server_does_not_know(new_client: NewClient, algorithms: list[int]) -> None:
    client = new_client(an_engine(), forcerenew_nonce_capable=bytes(algorithms))
    offer = client.discover()
    assert 145 not in offer.options
    assert given(client.request(offer)) is None


def test_one_of_several_algorithms(new_client: NewClient) -> None:
    assert given(new_client(an_engine(), forcerenew_nonce_capable=[7, 1]).join())


def test_nobody_is_where_that_is_said(new_client: NewClient) -> None:
    client = new_client(an_engine(force_renew="off"), **CAPABLE)
    offer = client.discover()
    assert 145 not in offer.options
    assert given(client.request(offer)) is None


def test_nobody_is_without_a_seed(new_client: NewClient) -> None:
    """A nonce that can be guessed would be worse than none."""
    client = new_client(make_engine(), **CAPABLE)
    offer = client.discover()
    assert 145 not in offer.options
    assert given(client.request(offer)) is None


def test_a_renewal_does_not_tell_the_nonce_again(new_client: NewClient, clock: Clock) -> None:
    """RFC 6704 §3.1.3: it goes over the wire as seldom as can be."""
    client = new_client(an_engine(), **CAPABLE)
    nonce = given(client.join())
    for again in (client.renew, client.rebind, lambda: client.renew(forcerenew_nonce_capable=None)):
        clock.advance(1800)
        assert given(again()) is None
        assert client.exchange.lease_after.nonce == nonce


def test_a_lease_without_a_nonce_gets_one_when_it_is_renewed(new_client: NewClient) -> None:
    client = new_client(an_engine())
    client.join()
    nonce = given(client.renew(**CAPABLE))
    assert nonce
    assert client.exchange.lease_after.nonce == nonce


def test_who_begins_anew_gets_another_nonce(new_client: NewClient) -> None:
    client = new_client(an_engine(), **CAPABLE)
    nonces = [given(again()) for again in (client.join, client.reboot, client.join)]
    assert len(set(nonces)) == 3
    assert None not in nonces
    assert given(client.reboot(forcerenew_nonce_capable=None)) is None
    assert client.exchange.lease_after.nonce is None, "what boots now knows of none"


def test_a_lease_that_ended_is_not_renewed(new_client: NewClient, clock: Clock) -> None:
    client = new_client(an_engine(), **CAPABLE)
    nonce = given(client.join())
    clock.advance(50000)
    assert given(client.renew()) not in (None, nonce)


def test_every_nonce_is_another(new_client: NewClient) -> None:
    engine = an_engine()
    nonces = [given(new_client(engine, **CAPABLE).join()) for _ in range(20)]
    engine = Engine(Config([make_subnet()]), Hooks(), predecessor=engine)
    engine.serve([LINK])
    nonces += [given(new_client(engine, **CAPABLE).join()) for _ in range(20)]
    assert len(set(nonces)) == 40


def test_rapid_commit_tells_the_nonce(new_client: NewClient) -> None:
    client = new_client(an_engine(parameters=Parameters(rapid_commit=True)), **CAPABLE)
    assert given(client.discover(rapid_commit=True))


def test_a_bootp_client_has_no_nonce(new_client: NewClient) -> None:
    client = new_client(an_engine(bootp="dynamic"), **CAPABLE)
    reply = client.send(client.message(None))
    assert reply is not None
    assert given(reply) is None


def test_a_refusal_tells_no_nonce(new_client: NewClient) -> None:
    """Also where another server gave the address away first, which is known after the decision only."""
    engine = an_engine()
    client = new_client(engine, **CAPABLE)
    offer = client.discover()
    exchange = engine.arrive(client.datagram(client.message(MessageType.REQUEST, **client.choice(offer))), 0)
    engine.decide(exchange)
    assert exchange.force_renew
    engine.overruled(exchange, Lease(offer.yiaddr, b"other", 1, b"other", LeaseState.ACTIVE, 0, 9000000000))
    engine.answer(exchange)
    nak = Packet(exchange.answer.data)
    assert (nak.message_type, 90 in nak.options) == (NAK, False)


def test_what_the_relay_agent_says_stays_the_last(new_client: NewClient) -> None:
    client = new_client(
        an_engine(), giaddr="192.0.2.254", relay_agent_information={1: b"eth7"}, client_id=b"\0me", **CAPABLE
    )
    assert list(client.join().options.raw)[-3:] == [61, 90, 82]


def test_what_has_no_room_is_left_out(new_client: NewClient) -> None:
    client = new_client(an_engine(), client_id=bytes(238), **CAPABLE)
    ack = client.join()
    assert 61 in ack.options
    assert 90 not in ack.options


def test_the_plan_of_a_reply_has_no_nonce(new_client: NewClient) -> None:
    """What is made once for many is what is the same for many."""
    engine = an_engine()
    first, second = given(new_client(engine, **CAPABLE).join()), given(new_client(engine, **CAPABLE).join())
    assert first != second
    assert given(new_client(engine).join()) is None


# ── the message ──


def test_a_forcerenew(new_client: NewClient) -> None:
    engine = an_engine()
    client = new_client(engine, **CAPABLE)
    nonce = given(client.join())
    answer = told(engine, client)
    packet = Packet(answer.data)
    assert (packet.op, packet.htype, packet.hlen, packet.hops, packet.xid, packet.secs) == (2, 1, 6, 0, 0, 0)
    assert (packet.flags, packet.ciaddr, packet.yiaddr, packet.giaddr) == (0, client.address, 0, 0)
    assert packet.chaddr == client.chaddr
    assert list(packet.options.raw) == [53, 54, 90]
    assert packet.message_type == MessageType.FORCERENEW == 9
    assert str(packet.options["server-identifier"]) == "192.0.2.1"
    assert (dotted(answer.destination), answer.port, answer.hardware) == ("192.0.2.10", 68, None)
    assert (dotted(answer.source), answer.request.interface) == ("192.0.2.1", LINK)
    assert len(answer.data) == 300
    # RFC 6704 §3.1.2, by hand: HMAC-MD5 of the whole message with 16 zeros in the place of the digest.
    digest = packet.options.raw[90][12:]
    assert answer.data.count(digest) == 1
    assert hmac.digest(nonce, answer.data.replace(digest, bytes(16)), "md5") == digest
    assert verified(answer.data, nonce) == int.from_bytes(packet.options.raw[90][3:11], "big")


def test_the_client_identifier_is_told_to_whom_it_is_known_by(new_client: NewClient) -> None:
    engine = an_engine()
    client = new_client(engine, client_id=b"\0" * 200, **CAPABLE)
    nonce = given(client.join())
    data = told(engine, client).data
    assert Packet(data).options.raw[61] == client.key
    assert verified(data, nonce)


def test_the_replay_detection_always_grows(new_client: NewClient, clock: Clock) -> None:
    """RFC 3118 §2. By the time, so also over a restart; within a moment, and if the clock is set back, by one."""
    engine = an_engine()
    client = new_client(engine, **CAPABLE)
    ack = client.join()
    nonce, said = given(ack), [int.from_bytes(ack.options.raw[90][3:11], "big")]
    for seconds in (0, 0, 0.001, -3600, 0, 7200):
        clock.advance(seconds)
        said.append(verified(told(engine, client).data, nonce))
    engine = Engine(Config([make_subnet()]), Hooks(), predecessor=engine)
    engine.serve([LINK])
    said.append(verified(told(engine, client).data, nonce))
    clock.advance(1)
    engine = an_engine(leases=engine.leases)
    said.append(verified(told(engine, client).data, nonce))
    assert said == sorted(set(said))


def test_a_nonce_survives_a_restart_and_a_renewal_after_it(new_client: NewClient, clock: Clock) -> None:
    client = new_client(an_engine(), **CAPABLE)
    nonce = given(client.join())
    client.engine = an_engine(leases=client.engine.leases)
    assert verified(told(client.engine, client).data, nonce)
    clock.advance(60)
    client.renew()
    assert verified(told(client.engine, client).data, nonce)


# ── what a client verifies ──


@pytest.fixture
def signed(new_client: NewClient) -> tuple[bytes, bytes]:
    """A FORCERENEW and the nonce it is signed with."""
    engine = an_engine()
    client = new_client(engine, **CAPABLE)
    nonce = given(client.join())
    assert nonce is not None
    return told(engine, client).data, nonce


def test_hops_and_giaddr_do_not_count(signed: tuple[bytes, bytes]) -> None:
    """RFC 3118 §3: relay agents may set them."""
    data, nonce = signed
    relayed = data[:3] + b"\1" + data[4:24] + bytes(range(4)) + data[28:]
    assert verified(relayed, nonce) == verified(data, nonce)


def test_each_other_octet_counts(signed: tuple[bytes, bytes]) -> None:
    data, nonce = signed
    for at in {*range(len(data))} - {3, *range(24, 28)}:
        forged = bytearray(data)
        forged[at] ^= 1
        with pytest.raises(DecodeError):
            verified(bytes(forged), nonce)
    with pytest.raises(DecodeError, match="not signed with the nonce"):
        verified(data, bytes(16))
    with pytest.raises(DecodeError, match="not signed with the nonce"):
        verified(data + b"\0", nonce)


def test_what_is_not_signed_as_it_has_to_be(signed: tuple[bytes, bytes]) -> None:
    data, nonce = signed
    packet = Packet(data)
    for value in (b"", bytes(28), packet.options.raw[90] + b"\0", packet.options.raw[90][:27]):
        packet.options[90] = value
        with pytest.raises(DecodeError, match="not signed as RFC 6704"):
            verified(bytes(packet), nonce)
    for octets in (b"", data[:239], data[:250], bytes(300)):
        with pytest.raises(DecodeError):
            verified(octets, nonce)
    # In two pieces (RFC 3396): the digest is where nobody looks for it.
    at = data.index(b"\x5a\x1c\3\1\0")
    pieces = data[:at] + b"\x5a\x0c" + data[at + 2 : at + 14] + b"\x5a\x10" + data[at + 14 :]
    with pytest.raises(DecodeError, match="in pieces"):
        verified(pieces, nonce)


def test_what_is_no_nonce() -> None:
    for value in (b"", bytes(28), b"\3\1\0" + bytes(8) + b"\2" + bytes(16), b"\3\1\0" + bytes(8) + b"\1" + bytes(15)):
        assert nonce_in(value) is None
    assert nonce_in(b"\3\1\0" + bytes(7) + b"\7\1" + bytes(16)) == (bytes(16), 7)


# ── who can be told ──


def test_who_can_not_be_told_and_why(new_client: NewClient, clock: Clock) -> None:
    engine = an_engine()
    client, other = new_client(engine, **CAPABLE), new_client(engine)
    client.join()
    other.join()
    address = client.address
    assert engine.no_force_renew(other.address, clock()) == "its client has no nonce: it has not asked for one"
    assert engine.no_force_renew(number("192.0.2.99"), clock()) == "there is no lease of it"
    client.release()
    assert engine.no_force_renew(address, clock()) == "its lease is released"
    client.join()
    clock.advance(50000)
    assert engine.no_force_renew(address, clock()) == "its lease is expired"
    engine.tick(clock())
    assert engine.no_force_renew(address, clock()) == "its lease is expired"
    client.join()
    client.decline()
    assert engine.no_force_renew(address, clock()) == "its lease is declined"


def test_what_the_configuration_says_now_counts(new_client: NewClient, clock: Clock) -> None:
    engine = an_engine()
    client = new_client(engine, **CAPABLE)
    client.join()
    for config, why in (
        (Config([make_subnet()], force_renew="off"), "force-renew is off"),
        (Config([make_subnet("198.51.100.10", network="198.51.100.0/24")]), "it is in no subnet"),
    ):
        engine = Engine(config, Hooks(), predecessor=engine)
        engine.serve([LINK])
        assert engine.no_force_renew(client.address, clock()) == why
    engine = Engine(Config([make_subnet()]), Hooks(), predecessor=engine)
    engine.serve([Interface("eth0")])
    assert engine.no_force_renew(client.address, clock()) == "there is no interface with an address"


def test_unauthenticated_only_where_that_is_said(new_client: NewClient) -> None:
    engine = an_engine(force_renew="unauthenticated")
    client, other = new_client(engine, **CAPABLE), new_client(engine)
    nonce = given(client.join())
    other.join()
    packet = Packet(told(engine, other).data)
    assert list(packet.options.raw) == [53, 54]
    assert len(told(engine, other).data) == 300
    assert verified(told(engine, client).data, nonce), "who can verify it, may"


def test_by_the_interface_of_the_clients_network(new_client: NewClient, clock: Clock) -> None:
    far = Interface("eth9", (number("203.0.113.1"),))
    engine = an_engine(make_subnet(), make_subnet("198.51.100.10", network="198.51.100.0/24"))
    near, relayed = new_client(engine, **CAPABLE), new_client(engine, giaddr="198.51.100.1", **CAPABLE)
    near.join()
    relayed.join()
    engine.serve([far, LINK])
    answer = told(engine, near)
    assert (answer.request.interface, dotted(answer.source)) == (LINK, "192.0.2.1")
    answer = told(engine, relayed)
    assert (answer.request.interface, dotted(answer.destination)) == (far, "198.51.100.10")
    assert answer.request.destination != BROADCAST_ADDRESS


def test_the_server_is_the_one_that_the_client_knows(new_client: NewClient) -> None:
    """Configured (then it need not be an address to send from), or said by the relay agent (RFC 5107)."""
    engine = an_engine(server_id="203.0.113.7")
    client = new_client(engine, **CAPABLE)
    client.join()
    answer = told(engine, client)
    assert (str(Packet(answer.data).options["server-identifier"]), answer.source) == ("203.0.113.7", 0)
    client = new_client(engine, giaddr="192.0.2.254", relay_agent_information={11: bytes((192, 0, 2, 254))}, **CAPABLE)
    client.join()
    assert str(Packet(told(engine, client).data).options["server-identifier"]) == "192.0.2.254"


def test_a_client_that_has_not_heeded_it_gets_another_nonce(new_client: NewClient) -> None:
    """It may never have had the one there is, because the ACK to its renewal was lost."""
    engine = an_engine()
    client = new_client(engine, **CAPABLE)
    nonce = given(client.join())
    engine.nonces.unheeded.add(client.address)
    assert given(client.renew(forcerenew_nonce_capable=None)) is None
    another = given(client.renew())
    assert another not in (None, nonce)
    assert given(client.renew()) is None
    assert client.exchange.lease_after.nonce == another


def test_a_client_that_sends_one_to_the_server_is_dropped(new_client: NewClient) -> None:
    client = new_client(an_engine())
    assert client.send(client.message(MessageType.FORCERENEW)) is None
    assert client.exchange.why == "message type 9 is not for a server"


def test_what_can_be_configured() -> None:
    with pytest.raises(ValueError, match="force_renew: expected 'nonce', 'unauthenticated' or 'off', got 'yes'"):
        Config([make_subnet()], force_renew="yes")  # type: ignore[arg-type]
