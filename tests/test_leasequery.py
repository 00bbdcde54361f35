"""Whose is this address? Relay agents and others ask by LEASEQUERY (RFC 4388, RFC 6148), as an engine answers them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from client import LINK, Client, Clock, dotted, make_engine, make_subnet, number, serve

from aiodhcp import (
    NEVER,
    Config,
    Datagram,
    Drop,
    DropReason,
    Engine,
    Filters,
    Interface,
    Lease,
    Leasequery,
    LeaseState,
    MessageType,
    Packet,
    Parameters,
    Reservation,
    hookimpl,
)
from aiodhcp.constants import BROADCAST_ADDRESS, SERVER_PORT
from aiodhcp.hooks import Hooks

NewClient = Callable[..., Client]
ACTIVE, UNASSIGNED, UNKNOWN = MessageType.LEASEACTIVE, MessageType.LEASEUNASSIGNED, MessageType.LEASEUNKNOWN
REQUESTOR = "10.0.0.1"
ALLOWED = Leasequery(["10.0.0.1", "10.7.0.0/16"])
HOUR = Parameters(lease_time=3600)


class Requestor:
    """Who asks; each question returns the answer, or None."""

    def __init__(self, engine: Engine, clock: Clock, address: str = REQUESTOR) -> None:
        self.engine, self.clock, self.address = engine, clock, address
        self.xid = 100

    def ask(self, **fields: Any) -> Packet | None:
        self.xid += 1
        packet = self.message(**fields)
        datagram = Datagram(bytes(packet), LINK, packet.giaddr, SERVER_PORT, LINK.addresses[0])
        self.exchange = serve(self.engine, datagram, self.clock())
        answer = self.exchange.answer
        return None if answer is None else Packet(answer.data)

    def message(
        self, *, address: str = "", mac: str = "", client_id: bytes = b"", giaddr: str | None = None, **options: Any
    ) -> Packet:
        chaddr = bytes.fromhex(mac.replace(":", ""))
        every = {"message-type": MessageType.LEASEQUERY, **options}
        if client_id:
            every["client-identifier"] = client_id
        return Packet(
            op=1,
            hrd=1 if mac else 0,
            hln=len(chaddr),
            chaddr=chaddr,
            xid=self.xid,
            ciaddr=number(address) if address else 0,
            giaddr=number(self.address if giaddr is None else giaddr or "0.0.0.0"),
            sname=b"",
            file=b"",
            options=every,
        )


@pytest.fixture
def engine() -> Engine:
    return make_engine(make_subnet(), parameters=HOUR, leasequery=ALLOWED)


@pytest.fixture
def requestor(engine: Engine, clock: Clock) -> Requestor:
    return Requestor(engine, clock)


def kind(answer: Packet | None) -> int:
    assert answer is not None
    assert answer.op == 2
    return answer.message_type


def associated(answer: Packet) -> list[str]:
    return [str(each) for each in answer.options.get("associated-ip", ())]


# ── who may ask ──


@pytest.mark.parametrize(
    ("giaddr", "reason", "why"),
    [
        ("", DropReason.INVALID, "a LEASEQUERY without giaddr, where its answer would go"),
        ("10.0.0.2", DropReason.UNAUTH, "10.0.0.2 is not among those who may ask for leases"),
        ("10.8.0.1", DropReason.UNAUTH, "10.8.0.1 is not among those who may ask for leases"),
    ],
)
def test_who_is_not_answered(requestor: Requestor, giaddr: str, reason: DropReason, why: str) -> None:
    assert requestor.ask(address="192.0.2.10", giaddr=giaddr) is None
    assert (requestor.exchange.reason, requestor.exchange.why) == (reason, why)
    assert requestor.engine.dropped == {reason: 1}


def test_a_network_of_requestors(requestor: Requestor) -> None:
    assert kind(requestor.ask(address="192.0.2.10", giaddr="10.7.255.255")) == UNASSIGNED


def test_nobody_is_answered_where_nothing_is_configured(clock: Clock) -> None:
    requestor = Requestor(make_engine(), clock)
    assert requestor.ask(address="192.0.2.10") is None
    assert requestor.exchange.reason == DropReason.UNAUTH
    assert requestor.exchange.why == "nobody may ask for leases: there is no leasequery in the configuration"
    assert requestor.engine.received == {MessageType.LEASEQUERY: 1}
    assert "is no leasequery" in str(requestor.exchange.explain()[-2])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "a LEASEQUERY that asks for nothing"),
        ({"relay_agent_information": {1: b"eth0"}}, "a LEASEQUERY that asks for nothing"),
        ({"address": "192.0.2.10", "mac": "02:00:00:00:00:01"}, "asks by address and by hardware address at once"),
        ({"address": "192.0.2.10", "client_id": b"\1a"}, "asks by address and by client identifier at once"),
        (
            {"mac": "02:00:00:00:00:01", "client_id": b"\1a"},
            "asks by hardware address and by client identifier at once",
        ),
        (
            {"address": "192.0.2.10", "relay_agent_information": {2: b"line"}},
            "asks by address and by remote id at once",
        ),
        ({"relay_agent_information": {2: b"line", 12: b"relay"}}, "asks by remote id and by relay id at once"),
    ],
)
def test_what_asks_for_nothing_or_for_several_things(requestor: Requestor, fields: dict[str, Any], why: str) -> None:
    assert requestor.ask(**fields) is None
    assert requestor.exchange.reason == DropReason.INVALID
    assert why in requestor.exchange.why


def test_a_server_without_an_address(requestor: Requestor) -> None:
    nameless = Interface("tun0")
    data = bytes(requestor.message(address="192.0.2.10"))
    exchange = serve(requestor.engine, Datagram(data, nameless, number(REQUESTOR), 67), requestor.clock())
    assert exchange.why == "no server identifier: tun0 has no address"


def test_the_answers_of_others_are_no_questions(requestor: Requestor) -> None:
    packet = requestor.message(address="192.0.2.10")
    for kind_ in (ACTIVE, UNASSIGNED, UNKNOWN, MessageType.BULKLEASEQUERY):
        packet.options["message-type"] = kind_
        packet.chaddr, packet.hlen = b"\2\0\0\0\0\1", 6
        exchange = serve(requestor.engine, Datagram(bytes(packet), LINK, number(REQUESTOR), 67), requestor.clock())
        assert exchange.why == f"message type {int(kind_)} is not for a server"


# ── by address ──


def test_by_address(requestor: Requestor, engine: Engine, new_client: NewClient, clock: Clock) -> None:
    client = new_client(engine)
    ack = client.join()
    clock.advance(600)
    answer = requestor.ask(address=dotted(ack.yiaddr))
    assert kind(answer) == ACTIVE
    assert (answer.ciaddr, answer.yiaddr, answer.giaddr) == (ack.yiaddr, 0, number(REQUESTOR))
    assert (answer.htype, answer.chaddr, answer.xid) == (1, client.chaddr, requestor.xid)
    assert str(answer.options["server-identifier"]) == "192.0.2.1"
    sent = requestor.exchange.answer
    assert (dotted(sent.destination), sent.port, dotted(sent.source)) == (REQUESTOR, SERVER_PORT, "192.0.2.1")
    assert engine.sent[ACTIVE] == 1
    assert engine.leases.get(ack.yiaddr).expires == clock() + 3000


def test_times_count_from_now(requestor: Requestor, engine: Engine, new_client: NewClient, clock: Clock) -> None:
    client = new_client(engine)
    client.join()
    clock.advance(1000)
    client.renew()
    clock.advance(600)
    options = requestor.ask(address="192.0.2.10").options
    assert options["client-last-transaction-time"] == 600
    assert (options["lease-time"], options["renewal-time"], options["rebinding-time"]) == (3000, 1200, 2550)


def test_a_time_that_is_over_is_not_told(requestor: Requestor, engine: Engine, new_client: NewClient, clock: Clock):
    new_client(engine).join()
    clock.advance(1800)
    options = requestor.ask(address="192.0.2.10").options
    assert "renewal-time" not in options
    assert options["rebinding-time"] == 3150 - 1800
    clock.advance(1799)
    options = requestor.ask(address="192.0.2.10").options
    assert "rebinding-time" not in options
    assert options["lease-time"] == 1
    clock.advance(1)
    assert kind(requestor.ask(address="192.0.2.10")) == UNASSIGNED


def test_a_lease_without_an_end(clock: Clock, new_client: NewClient) -> None:
    engine = make_engine(parameters=Parameters(lease_time=0xFFFFFFFF), leasequery=ALLOWED)
    new_client(engine).join()
    options = Requestor(engine, clock).ask(address="192.0.2.10").options
    assert options["lease-time"] == 0xFFFFFFFF
    assert "renewal-time" not in options


def test_what_is_never_sent_is_not_told(clock: Clock, new_client: NewClient) -> None:
    said = Parameters(lease_time=3600, never_send=["renewal-time", "domain-name"], options={"domain-name": "a.example"})
    engine = make_engine(parameters=said, leasequery=ALLOWED)
    new_client(engine).join()
    options = Requestor(engine, clock).ask(address="192.0.2.10").options
    assert "renewal-time" not in options
    assert "domain-name" not in options
    assert options["rebinding-time"] == 3150


def test_an_address_that_nobody_has(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    answer = requestor.ask(address="192.0.2.10")
    assert kind(answer) == UNASSIGNED
    assert answer.ciaddr == number("192.0.2.10")
    assert {*answer.options.raw} == {53, 54}
    client = new_client(engine)
    client.join()
    client.release()
    assert kind(requestor.ask(address="192.0.2.10")) == UNASSIGNED


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.200", UNKNOWN),  # of the subnet, but of no pool
        ("203.0.113.1", UNKNOWN),
        ("192.0.2.210", UNASSIGNED),
        ("192.0.2.220", UNASSIGNED),
        ("192.0.2.230", UNASSIGNED),  # of a pool that was
        ("203.0.113.2", UNKNOWN),  # of a subnet that was
        ("192.0.2.20", ACTIVE),
        ("203.0.113.3", ACTIVE),  # of one who still has it
    ],
)
def test_which_addresses_are_ours(clock: Clock, address: str, expected: int) -> None:
    now = int(clock())
    leases = [
        Lease(number("192.0.2.230"), b"\1a", 1, b"a", LeaseState.EXPIRED, 0, 10),
        Lease(number("203.0.113.2"), b"\1b", 1, b"b", LeaseState.EXPIRED, 0, 10),
        Lease(number("192.0.2.20"), b"\1d", 1, b"d", LeaseState.ACTIVE, now - 50, now + 5000),
        Lease(number("203.0.113.3"), b"\1c", 1, b"c", LeaseState.ACTIVE, now - 50, now + 50),
    ]
    here = make_subnet(reservations=[Reservation(hardware_address="02:00:00:00:00:07", address="192.0.2.210")])
    everywhere = [Reservation(hardware_address="02:00:00:00:00:08", address="192.0.2.220")]
    engine = make_engine(here, reservations=everywhere, leases=leases, leasequery=ALLOWED)
    answer = Requestor(engine, clock).ask(address=address)
    assert kind(answer) == expected
    if expected == ACTIVE:
        # Of before times were kept: since the lease began, at least.
        assert answer.options["client-last-transaction-time"] == 50
        assert ("subnet-mask" in answer.options) == (address == "192.0.2.20")
        assert "renewal-time" not in answer.options


# ── by client ──


def test_by_hardware_address(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    client = new_client(engine, client_id=b"\0somebody")
    client.join()
    answer = requestor.ask(mac="02:00:00:00:00:01")
    assert kind(answer) == ACTIVE
    assert dotted(answer.ciaddr) == "192.0.2.10"
    assert answer.options.raw[61] == b"\0somebody"
    assert associated(answer) == []


def test_a_hardware_address_of_another_type(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    new_client(engine, htype=6).join()
    answer = requestor.ask(mac="02:00:00:00:00:01")
    assert kind(answer) == UNKNOWN
    assert (answer.htype, answer.chaddr.hex(":"), answer.ciaddr) == (1, "02:00:00:00:00:01", 0)


def test_by_client_identifier(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    client = new_client(engine, client_id=b"\0somebody")
    client.join()
    answer = requestor.ask(client_id=b"\0somebody")
    assert kind(answer) == ACTIVE
    assert (answer.chaddr, answer.options.raw[61]) == (client.chaddr, b"\0somebody")
    nobody = requestor.ask(client_id=b"\0nobody")
    assert kind(nobody) == UNKNOWN
    assert {*nobody.options.raw} == {53, 54, 61}
    assert nobody.options.raw[61] == b"\0nobody"


def test_by_the_client_identifier_that_a_hardware_address_makes(
    requestor: Requestor, engine: Engine, new_client: NewClient
) -> None:
    client = new_client(engine)
    client.join()
    answer = requestor.ask(client_id=client.key)
    assert (kind(answer), answer.options.raw[61]) == (ACTIVE, client.key)
    assert "client-identifier" not in requestor.ask(address="192.0.2.10").options


def test_several_addresses(clock: Clock, new_client: NewClient) -> None:
    """The one of which the client was heard last, and all of them (RFC 4388 §6.4.2)."""
    there = make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")
    engine = make_engine(make_subnet(), there, parameters=HOUR, leasequery=ALLOWED)
    here, away = new_client(engine), new_client(engine, mac="02:00:00:00:00:01", giaddr="198.51.100.1")
    away.chaddr = here.chaddr
    here.join()
    clock.advance(10)
    away.join()
    requestor = Requestor(engine, clock)
    for fields in ({"mac": "02:00:00:00:00:01"}, {"client_id": here.key}):
        answer = requestor.ask(**fields, parameter_request_list=[51])
        assert dotted(answer.ciaddr) == "198.51.100.10"
        assert associated(answer) == ["198.51.100.10", "192.0.2.10"]
    clock.advance(10)
    here.renew()
    assert dotted(requestor.ask(mac="02:00:00:00:00:01").ciaddr) == "192.0.2.10"
    away.release()
    assert associated(requestor.ask(mac="02:00:00:00:00:01")) == []
    assert associated(requestor.ask(mac="02:00:00:00:00:01", parameter_request_list=[92])) == ["192.0.2.10"]
    here.release()
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == UNKNOWN


def test_so_many_addresses_that_they_do_not_fit(clock: Clock, new_client: NewClient) -> None:
    engine = make_engine(make_subnet("192.0.2.2-192.0.2.254"), leasequery=ALLOWED)
    for client in range(1, 251):
        line = new_client(engine, mac=f"02:00:00:00:01:{client:02x}", giaddr="192.0.2.254")
        line.join(relay_agent_information={2: b"dslam"})
    requestor = Requestor(engine, clock)
    answer = requestor.ask(relay_agent_information={2: b"dslam"})
    assert kind(answer) == ACTIVE
    assert "associated-ip" not in answer.options
    assert requestor.exchange.left_out == (92,)
    assert "and 246 more" in requestor.exchange.why
    assert len(associated(requestor.ask(relay_agent_information={2: b"dslam"}, maximum_message_size=1500))) == 250


# ── by relay agent (RFC 6148) ──


def test_by_remote_id(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    client = new_client(engine, giaddr="192.0.2.254")
    client.join(relay_agent_information={1: b"eth7", 2: b"line-7"})
    answer = requestor.ask(relay_agent_information={2: b"line-7"})
    assert kind(answer) == ACTIVE
    assert dotted(answer.ciaddr) == "192.0.2.10"
    assert answer.options.raw[82] == b"\1\4eth7\2\6line-7"
    nobody = requestor.ask(relay_agent_information={2: b"line-8"})
    assert kind(nobody) == UNKNOWN
    assert nobody.options.raw[82] == b"\2\6line-8"


def test_by_relay_id(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    new_client(engine, giaddr="192.0.2.254").join(relay_agent_information={12: b"relay-1"})
    assert kind(requestor.ask(relay_agent_information={12: b"relay-1"})) == ACTIVE
    assert kind(requestor.ask(relay_agent_information={12: b"relay-2"})) == UNKNOWN


def test_a_client_that_moves_to_another_line(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    client = new_client(engine, giaddr="192.0.2.254")
    client.join(relay_agent_information={2: b"line-7"})
    client.join(relay_agent_information={2: b"line-8"})
    assert kind(requestor.ask(relay_agent_information={2: b"line-7"})) == UNKNOWN
    assert kind(requestor.ask(relay_agent_information={2: b"line-8"})) == ACTIVE


def test_what_a_server_with_leases_knows_at_once(clock: Clock, new_client: NewClient) -> None:
    before = make_engine(leasequery=ALLOWED)
    new_client(before, giaddr="192.0.2.254").join(relay_agent_information={2: b"line-7"})
    clock.advance(60)
    engine = make_engine(leases=before.leases, leasequery=ALLOWED)
    answer = Requestor(engine, clock).ask(relay_agent_information={2: b"line-7"})
    assert kind(answer) == ACTIVE
    assert answer.options["client-last-transaction-time"] == 60


def test_what_is_deleted_or_declined_is_nobodys(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    client = new_client(engine)
    client.join()
    client.decline()
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == UNKNOWN
    assert kind(requestor.ask(address="192.0.2.10")) == UNASSIGNED
    client.join()
    engine.delete(client.address, requestor.clock())
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == UNKNOWN
    engine.leases.remove(number("192.0.2.11"))
    client.join()
    assert engine.leases.remove(client.address)
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == UNKNOWN


# ── what is told ──


def test_only_what_is_asked_for(clock: Clock, new_client: NewClient) -> None:
    said = Parameters(lease_time=3600, options={"domain-name": "a.example", "routers": ["192.0.2.1"], 108: b"\0\0\1\0"})
    engine = make_engine(parameters=said, leasequery=ALLOWED)
    client = new_client(engine, giaddr="192.0.2.254")
    client.join(relay_agent_information={1: b"eth7"}, host_name="pc-17")
    requestor = Requestor(engine, clock)
    answer = requestor.ask(address="192.0.2.10", parameter_request_list=[82, 12, 15])
    assert {*answer.options.raw} == {53, 54, 82, 12, 15}
    assert answer.options["host-name"] == "pc-17"
    every = requestor.ask(address="192.0.2.10").options.raw
    assert {*every} == {53, 54, 51, 58, 59, 82, 91, 12, 1, 15, 3}
    assert 108 in requestor.ask(address="192.0.2.10", parameter_request_list=[108]).options.raw


def test_the_host_name_that_is_configured_where_the_client_says_none(clock: Clock, new_client: NewClient) -> None:
    engine = make_engine(parameters=Parameters(options={"host-name": "guest"}), leasequery=ALLOWED)
    new_client(engine).join()
    assert Requestor(engine, clock).ask(address="192.0.2.10").options["host-name"] == "guest"


def test_the_port_of_the_requestor(requestor: Requestor, engine: Engine) -> None:
    """RFC 8357 §5.2."""
    requestor.ask(address="192.0.2.10", relay_agent_information={19: b""})
    assert requestor.exchange.answer.port == SERVER_PORT
    data = bytes(requestor.message(address="192.0.2.10", relay_agent_information={19: b""}))
    exchange = serve(engine, Datagram(data, LINK, number(REQUESTOR), 50067, LINK.addresses[0]), requestor.clock())
    assert exchange.answer.port == 50067


def test_the_server_identifier_of_the_configuration(clock: Clock) -> None:
    engine = make_engine(server_id="192.0.2.77", leasequery=ALLOWED)
    assert str(Requestor(engine, clock).ask(address="192.0.2.10").options["server-identifier"]) == "192.0.2.77"


def test_a_clock_that_was_turned_back(
    requestor: Requestor, engine: Engine, new_client: NewClient, clock: Clock
) -> None:
    new_client(engine).join()
    clock.advance(-100)
    assert requestor.ask(address="192.0.2.10").options["client-last-transaction-time"] == 0


# ── around it ──


def test_filters_and_classes_are_for_clients(clock: Clock, new_client: NewClient) -> None:
    engine = make_engine(
        filters=Filters(allow=["02-*"], deny=["02-00-00-00-00-09"]),
        agent_options_without_relay="drop",
        leasequery=ALLOWED,
    )
    requestor = Requestor(engine, clock)
    assert kind(requestor.ask(mac="02:00:00:00:00:09")) == UNKNOWN
    assert kind(requestor.ask(address="192.0.2.10")) == UNASSIGNED


def test_the_offer_of_the_client_that_is_asked_for_stays(
    requestor: Requestor, engine: Engine, new_client: NewClient
) -> None:
    client = new_client(engine)
    offer = client.discover()
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == UNKNOWN
    assert client.request(offer).message_type == MessageType.ACK


def test_hooks(clock: Clock, new_client: NewClient) -> None:
    heard: list[str] = []

    class Watching:
        @hookimpl
        def dhcp_new_pkt(self, packet: Packet) -> Drop | None:
            heard.append(f"new {packet.message_type}")
            return Drop("not today") if packet.xid == 101 else None

        @hookimpl
        def select_subnet(self) -> None:
            heard.append("select_subnet")

        @hookimpl
        def dhcp_pkt_send(self, packet: Packet, reply: Packet) -> None:
            reply.options["domain-name"] = "edited.example"

    engine = make_engine(plugins=[Watching()], leasequery=ALLOWED)
    requestor = Requestor(engine, clock)
    assert requestor.ask(address="192.0.2.10") is None
    assert "not today" in requestor.exchange.why
    assert requestor.ask(address="192.0.2.10").options["domain-name"] == "edited.example"
    assert heard == ["new 10", "new 10"]


def test_why(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    new_client(engine).join()
    requestor.ask(mac="02:00:00:00:00:01")
    facts = {fact.what: fact.words for fact in requestor.exchange.explain()}
    assert facts["request"] == "LEASEQUERY on eth0, xid 00000065, through relay agent 10.0.0.1"
    assert "client" not in facts
    assert facts["outcome"] == (
        "LEASEACTIVE to 10.0.0.1, port 67: asks for hardware address 02:00:00:00:00:01: 192.0.2.10"
    )
    assert facts["option lease-time"] == "3600 (made for this message)"
    assert facts["option subnet-mask"] == "255.255.255.0 (known of the lease or its subnet)"
    requestor.ask(address="192.0.2.10")
    assert ", about 192.0.2.10" in str(requestor.exchange.explain()[0])
    assert "asks for address 192.0.2.10: 192.0.2.10" in requestor.exchange.why
    # What it says itself is not what the client said: it is not left out of the answer.
    requestor.ask(address="192.0.2.10", relay_agent_information=b"\1\1x", parameter_request_list=[51])
    assert not [fact for fact in requestor.exchange.explain() if "left out" in fact.words]


def test_another_configuration(requestor: Requestor, engine: Engine, new_client: NewClient) -> None:
    """Who asked before is answered by what was known before; who may not ask any more is told nothing."""
    new_client(engine).join()
    subnets = engine.config.subnets
    same = Engine(Config(subnets, leasequery=Leasequery(["10.9.9.9"])), Hooks(), predecessor=engine)
    assert same.addresses.index is engine.addresses.index is not None
    requestor.engine = same
    assert requestor.ask(mac="02:00:00:00:00:01") is None
    nobody = Engine(Config(subnets), Hooks(), predecessor=same)
    assert nobody.leases.put_or_removed is nobody.addresses.index is None
    requestor.engine = engine  # it arrived before
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == UNKNOWN
    again = Engine(Config(subnets, leasequery=ALLOWED), Hooks(), predecessor=nobody)
    requestor.engine = again
    assert kind(requestor.ask(mac="02:00:00:00:00:01")) == ACTIVE


def test_who_may_ask_is_checked() -> None:
    for wrong, said in (
        ({"requestors": ["somebody"]}, "requestors[0]: expected an address or a network like '10.0.0.0/24', got "),
        ({"requestors": ["10.0.0.1/24"]}, "has host bits set"),
        ({"listen": ["localhost"]}, "listen[0]: expected an address like '192.0.2.1', got 'localhost'"),
        ({"port": 65536}, "port: expected 0 to 65535, got 65536"),
        ({"connections": 0}, "connections: expected 1 at least, got 0"),
        ({"tls_key": "a.pem"}, "tls_key: is for a server with a tls-certificate, and there is none"),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - what it says is looked at
            Leasequery(**wrong)
        assert said in str(error.value)


# ── whatever is asked ──


def test_any_octets(clock: Clock, new_client: NewClient) -> None:
    random = Random(4388)
    engine = make_engine(leasequery=Leasequery(["0.0.0.0/0"]))
    for line in range(1, 9):
        client = new_client(engine, mac=f"02:00:00:00:00:{line:02x}", giaddr="192.0.2.254")
        client.join(relay_agent_information={2: bytes((line,)), 12: b"relay"})
    requestor = Requestor(engine, clock)
    good = bytes(requestor.message(relay_agent_information={2: b"\1"}, parameter_request_list=[51, 82, 91, 92]))
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(random.randint(1, 6)):
            data[random.choice((random.randrange(34), random.randrange(236, len(data))))] = random.randrange(256)
        exchange = serve(engine, Datagram(bytes(data), LINK, 7, 67, BROADCAST_ADDRESS), clock())
        assert exchange.reason is not DropReason.INTERNAL_ERROR, bytes(data).hex()
        if exchange.answer is not None:
            assert len(exchange.answer.data) <= 548
            assert Packet(exchange.answer.data).xid == exchange.xid
        exchange.explain()


def test_the_index_follows_the_table(clock: Clock) -> None:
    random = Random(6148)
    engine = make_engine(leasequery=ALLOWED)
    table, index = engine.leases, engine.addresses.index
    ids = [b"a", b"b", b"c", b""]
    for _ in range(3000):
        address, chaddr = random.randrange(20), random.choice(ids)
        said = random.choice([None, b"\2\1x\14\1y", b"\2\1y", b"\2\1", b"\1\1x"])
        if random.random() < 0.2:
            table.remove(address)
        else:
            client = random.choice([b"", chaddr])
            table.put(Lease(address, client, 1, chaddr, LeaseState.ACTIVE, 0, NEVER, relay_agent=said))
    for key in ids[:3]:
        owned = [each.address for each in table if each.client and each.chaddr == key]
        assert index.by_hardware_address(1, key) == sorted(owned)
    remote = [each.address for each in table if each.client and (each.relay_agent or b"").startswith(b"\2\1x")]
    assert index.by_remote_id(b"x") == index.by_relay_id(b"y") == sorted(remote)
