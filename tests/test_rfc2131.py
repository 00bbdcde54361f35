"""RFC 2131 rule by rule: tables 3, 4 and 5, and where replies go (§4.1). Each test says which section it is from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from client import Client, Clock, dotted, make_engine, make_subnet, number
from plugin_kit import plugin

from aiodhcp import AddressProblem, DropReason, Interface, LeaseState, MessageType, Nak, Packet, Parameters, Reservation
from aiodhcp.constants import BROADCAST_FLAG, INFINITE

NewClient = Callable[..., Client]

OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK
RELAY = "192.0.2.254"
BROADCAST = "255.255.255.255"
LEASE_TIME, T1, T2 = "lease-time", "renewal-time", "rebinding-time"
TOLD = Parameters(
    options={"routers": ["192.0.2.1"], "domain-name": "example.test", "vendor-class-identifier": "ours"},
    lease_time=3600,
    min_lease_time=600,
    max_lease_time=7200,
    next_server="192.0.2.69",
    server_name="tftp",
    boot_file="pxelinux.0",
)


def offered(client: Client, **options: object) -> Packet | None:
    return client.discover(**options)


def acked(client: Client, **options: object) -> Packet | None:
    return client.request(client.discover(), **options)


def renewed(client: Client, **options: object) -> Packet | None:
    client.join()
    return client.rebind(**options)


def informed(client: Client, **options: object) -> Packet | None:
    return client.inform("192.0.2.150", **options)


def refused(client: Client, **options: object) -> Packet | None:
    return client.reboot("203.0.113.9", **options)


REPLIES = {"OFFER": offered, "ACK": acked, "ACK-renewed": renewed, "ACK-informed": informed, "NAK": refused}


@pytest.fixture(params=list(REPLIES))
def which(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def told(new_client: NewClient) -> Client:
    """A client of a server that has something of everything to say."""
    return new_client(make_engine(parameters=TOLD))


# ── table 3: the fields of OFFER, ACK and NAK (§4.3.1) ──


def test_op_is_bootreply(told: Client, which: str) -> None:
    """Table 3, 'op'."""
    assert REPLIES[which](told).op == 2


@pytest.mark.parametrize("length", range(1, 17))
def test_htype_hlen_and_chaddr_are_the_clients(new_client: NewClient, which: str, length: int) -> None:
    """Table 3, 'htype', 'hlen', 'chaddr': of 1 to 16 octets, the rest of the field is zero."""
    mac = bytes(range(1, length + 1))
    client = new_client(mac=mac.hex(), htype=32)
    REPLIES[which](client)
    data = client.answer.data
    assert (data[1], data[2]) == (32, length)
    assert data[28:44] == mac.ljust(16, b"\0")


def test_a_client_without_a_hardware_address(new_client: NewClient, which: str) -> None:
    """Table 3, 'hlen': 0, where the client identifier is all there is (as RFC 4390 §2.1 has it)."""
    client = new_client(mac="", htype=32, client_id=b"\xff\0\0\0\1abc")
    assert REPLIES[which](client).message_type is not None
    assert client.answer.data[1:3] == b"\x20\0"
    assert client.answer.data[28:44] == bytes(16)
    assert client.answer.hardware is None


def test_hlen_above_16_is_no_message(client: Client) -> None:
    """§2: chaddr has 16 octets."""
    data = bytearray(bytes(client.message(MessageType.DISCOVER)))
    data[2] = 17
    assert client.send(bytes(data)) is None
    assert client.exchange.reason == DropReason.INVALID


def test_hops_and_secs_are_zero(told: Client, which: str) -> None:
    """Table 3, 'hops' and 'secs': 0 whatever came."""
    REPLIES[which](told)
    request = told.exchange.packet
    request.hops, request.secs = 3, 77
    reply = told.send(bytes(request))
    assert (reply.hops, reply.secs) == (0, 0)


def test_xid_is_the_clients(told: Client, which: str) -> None:
    """Table 3, 'xid'."""
    told.xid = 0xFEDCBA97
    assert REPLIES[which](told).xid == told.xid


@pytest.mark.parametrize(
    ("which", "ciaddr", "yiaddr"),
    [
        ("OFFER", "0.0.0.0", "192.0.2.10"),
        ("ACK", "0.0.0.0", "192.0.2.10"),
        ("ACK-renewed", "192.0.2.10", "192.0.2.10"),
        ("ACK-informed", "192.0.2.150", "0.0.0.0"),
        ("NAK", "0.0.0.0", "0.0.0.0"),
    ],
)
def test_ciaddr_and_yiaddr(told: Client, which: str, ciaddr: str, yiaddr: str) -> None:
    """Table 3, 'ciaddr' and 'yiaddr'; §4.3.5: an INFORM is answered without yiaddr."""
    reply = REPLIES[which](told)
    assert (dotted(reply.ciaddr), dotted(reply.yiaddr)) == (ciaddr, yiaddr)


def test_siaddr_sname_and_file(told: Client, which: str) -> None:
    """Table 3: the next server and its names; in a NAK 0 and unused."""
    reply = REPLIES[which](told)
    said = (dotted(reply.siaddr), reply.sname.rstrip(b"\0"), reply.file.rstrip(b"\0"))
    assert said == (("0.0.0.0", b"", b"") if which == "NAK" else ("192.0.2.69", b"tftp", b"pxelinux.0"))


@pytest.mark.parametrize("flags", [0, BROADCAST_FLAG])
def test_flags_and_giaddr_are_the_clients(new_client: NewClient, which: str, flags: int) -> None:
    """Table 3, 'flags' and 'giaddr'."""
    for giaddr in ("", RELAY):
        client = new_client(giaddr=giaddr, broadcast=bool(flags))
        reply = REPLIES[which](client)
        assert reply.giaddr == client.giaddr
        if not (which == "NAK" and giaddr):
            assert reply.flags == flags


def test_a_nak_through_a_relay_agent_has_the_broadcast_bit(new_client: NewClient) -> None:
    """§4.3.2: the relay agent must broadcast it, because the client may have no right address."""
    assert refused(new_client(giaddr=RELAY)).flags == BROADCAST_FLAG


# ── table 3: the options ──


@pytest.mark.parametrize(
    ("which", "times"),
    [
        ("OFFER", [LEASE_TIME, T1, T2]),
        ("ACK", [LEASE_TIME, T1, T2]),
        ("ACK-renewed", [LEASE_TIME, T1, T2]),
        ("ACK-informed", []),
        ("NAK", []),
    ],
)
def test_lease_time_t1_and_t2(told: Client, which: str, times: list[str]) -> None:
    """Table 3, 'IP address lease time': MUST in OFFER and ACK, MUST NOT to an INFORM and in a NAK (§4.3.5)."""
    asked = [51, 58, 59, 1, 3]
    reply = REPLIES[which](told, parameter_request_list=asked, lease_time=1800)
    assert [name for name in reply.options.names() if name in (LEASE_TIME, T1, T2)] == times


def test_message_type_and_server_identifier_are_in_every_reply_and_first(told: Client, which: str) -> None:
    """Table 3, 'DHCP message type' and 'Server identifier': MUST."""
    reply = REPLIES[which](told)
    assert list(reply.options)[:2] == [53, 54]
    assert reply.message_type == {"OFFER": OFFER, "NAK": NAK}.get(which, ACK)
    assert str(reply.options["server-identifier"]) == "192.0.2.1"


def test_what_only_a_client_sends_is_in_no_reply(told: Client, which: str) -> None:
    """Table 3: MUST NOT have requested address, parameter request list, maximum message size; nor what is asked for
    of these."""
    asked = [50, 52, 53, 54, 55, 57, 61, 82, 0, 255]
    reply = REPLIES[which](told, parameter_request_list=asked, maximum_message_size=1400, host_name="pc")
    codes = list(reply.options)
    assert {50, 55, 57, 61, 82, 12, 0, 255}.isdisjoint(codes)
    assert len(codes) == len(set(codes))


def test_a_nak_has_no_parameters(told: Client) -> None:
    """Table 3, 'All others': MUST NOT in a NAK, which SHOULD have a message."""
    nak = refused(told, parameter_request_list=[1, 3, 6, 15, 28, 51, 60])
    assert list(nak.options.names()) == ["message-type", "server-identifier", "message"]


def test_the_class_identifier_is_the_configured_one(told: Client, which: str) -> None:
    """Table 3, 'Class identifier': MAY; the client's own is not repeated."""
    reply = REPLIES[which](told, vendor_class_identifier="theirs")
    assert reply.options.get("vendor-class-identifier") == (None if which == "NAK" else "ours")


def test_the_client_identifier_is_echoed(new_client: NewClient, which: str) -> None:
    """RFC 6842 §3, which changes the MUST NOT of table 3; a client that sent none gets none."""
    assert REPLIES[which](new_client(client_id=b"\0pc")).options.get("client-identifier") == b"\0pc"
    assert "client-identifier" not in REPLIES[which](new_client()).options


def test_the_longest_client_identifier_is_echoed_into_the_shortest_reply(new_client: NewClient, which: str) -> None:
    """RFC 6842 §3: MUST, without exception; what a relay agent says may be left out (RFC 3046 §2.2)."""
    longest = bytes(range(255))
    selection = {"subnet_selection": "192.0.2.0", "relay_agent_information": {1: b"x" * 100}}
    client = new_client(client_id=longest, **selection)
    reply = REPLIES[which](client)
    assert reply.options["client-identifier"] == longest
    assert "subnet-selection" in reply.options
    assert 82 not in reply.options
    assert len(client.answer.data) <= 548
    if reply.message_type != NAK and which != "ACK-informed":
        assert [code for code in reply.options if code in (51, 58, 59)] == [51, 58, 59]


def test_a_subnet_selection_that_is_none_makes_room_for_the_client_identifier(new_client: NewClient) -> None:
    client = new_client(client_id=b"c" * 255)
    offer = client.discover(subnet_selection=b"x" * 30)
    assert (len(offer.options["client-identifier"]), 118 in offer.options) == (255, False)


def test_a_nak_is_no_longer_than_what_a_client_can_take(new_client: NewClient) -> None:
    """§2: 576 octets of IP. The words make room for what has to come back, and are cut between two letters."""
    engine = make_engine(plugins=[plugin(unknown_client=lambda: Nak("é" * 200))])
    client = new_client(engine, giaddr=RELAY, client_id=b"\0" + b"c" * 100, relay_agent_information={1: b"x" * 100})
    nak = client.reboot("192.0.2.50")
    assert (nak.message_type, len(client.answer.data) <= 548) == (NAK, True)
    assert nak.options["client-identifier"] == client.options["client-identifier"]
    assert list(nak.options)[-1] == 82
    assert set(nak.options["message"]) == {"é"}
    alone = new_client(engine).reboot("192.0.2.50")
    assert alone.options["message"] == "é" * 127


def test_options_come_in_the_order_asked_for(told: Client) -> None:
    """§4.3.1 and RFC 2132 §9.8: the order of the parameter request list; the mask before the routers (§3.3 there)."""
    assert list(told.discover(parameter_request_list=[15, 3, 1, 60]).options) == [53, 54, 51, 58, 59, 1, 15, 3, 60]
    assert list(told.discover(parameter_request_list=[60, 15]).options) == [53, 54, 51, 58, 59, 60, 15]


# ── §4.1: where replies go ──


@pytest.mark.parametrize("broadcast", [False, True])
@pytest.mark.parametrize(
    ("which", "direct", "flagged"),
    [
        ("OFFER", "192.0.2.10", BROADCAST),
        ("ACK", "192.0.2.10", BROADCAST),
        ("ACK-renewed", "192.0.2.10", "192.0.2.10"),
        ("ACK-informed", "192.0.2.150", "192.0.2.150"),
        ("NAK", BROADCAST, BROADCAST),
    ],
)
def test_the_destination_on_the_link(
    new_client: NewClient, which: str, direct: str, flagged: str, broadcast: bool
) -> None:
    """§4.1: giaddr 0: to ciaddr, else as the broadcast bit says; a NAK always to 0xffffffff. To the client's port."""
    client = new_client(broadcast=broadcast)
    REPLIES[which](client)
    assert dotted(client.answer.destination) == (flagged if broadcast else direct)
    assert client.answer.port == 68


@pytest.mark.parametrize("which", ["OFFER", "ACK", "ACK-renewed", "NAK"])
@pytest.mark.parametrize("broadcast", [False, True])
def test_the_destination_through_a_relay_agent(new_client: NewClient, which: str, broadcast: bool) -> None:
    """§4.1: giaddr not 0: to the server port of the relay agent."""
    client = new_client(giaddr=RELAY, broadcast=broadcast)
    REPLIES[which](client)
    assert (dotted(client.answer.destination), client.answer.port) == (RELAY, 67)


def test_a_reply_to_yiaddr_goes_to_the_hardware_address(client: Client) -> None:
    """§4.1: the client can't answer ARP yet."""
    client.discover()
    assert client.answer.hardware == client.chaddr
    client.join()
    client.renew()
    assert client.answer.hardware is None


# ── §4.3.5: INFORM ──


def test_inform_changes_no_lease(told: Client) -> None:
    """§4.3.5: nothing is allocated, also where the address is one of ours."""
    ack = told.inform("192.0.2.50")
    assert ack.message_type == ACK
    assert told.exchange.changes is None
    assert list(told.engine.leases) == []


def test_inform_through_a_relay_agent_is_answered_to_ciaddr(new_client: NewClient) -> None:
    """§4.3.5: to the address given in ciaddr."""
    client = new_client(giaddr=RELAY, relay_agent_information={1: b"eth7"})
    ack = client.inform("192.0.2.150")
    assert (dotted(client.answer.destination), client.answer.port) == ("192.0.2.150", 68)
    assert (dotted(ack.giaddr), ack.flags) == (RELAY, 0)
    # RFC 3046 §2.2: "in all replies", also in one that no relay agent takes it out of again.
    assert list(ack.options)[-1] == 82


@pytest.mark.parametrize(("giaddr", "ciaddr"), [("", "10.0.0.9"), ("", "198.51.100.50"), (RELAY, "198.51.100.50")])
def test_inform_of_an_address_of_another_network_is_not_answered(
    new_client: NewClient, giaddr: str, ciaddr: str
) -> None:
    """§4.3.5: the server SHOULD check the network address for consistency; what it would say is of this network."""
    far = make_subnet("198.51.100.10", network="198.51.100.0/24")
    client = new_client(make_engine(make_subnet(), far), giaddr=giaddr)
    packet = client.message(MessageType.INFORM, ciaddr=number(ciaddr))
    assert client.send(packet) is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.exchange.why == f"informs of {ciaddr}, which is not of 192.0.2.0/24"


def test_inform_may_ask_for_another_network(new_client: NewClient) -> None:
    """RFC 3011 §3: the client selects it."""
    far = make_subnet("198.51.100.10", network="198.51.100.0/24", parameters=Parameters(options={"domain-name": "far"}))
    client = new_client(make_engine(make_subnet(), far), subnet_selection="198.51.100.0")
    assert client.inform("192.0.2.150").options["domain-name"] == "far"


def test_inform_without_ciaddr_is_answered_to_its_source(new_client: NewClient) -> None:
    """draft-ietf-dhc-dhcpinform-clarify: the source address stands for ciaddr, also of a network behind a router."""
    far = make_subnet("198.51.100.10", network="198.51.100.0/24", parameters=Parameters(options={"domain-name": "far"}))
    client = new_client(make_engine(make_subnet(), far))
    inform = client.message(MessageType.INFORM)
    ack = client.send(inform, source=number("198.51.100.7"), destination=number("192.0.2.1"))
    assert (ack.ciaddr, ack.yiaddr, ack.options["domain-name"]) == (0, 0, "far")
    assert (dotted(client.answer.destination), client.answer.port) == ("198.51.100.7", 68)


def test_inform_without_ciaddr_through_a_relay_agent_is_broadcast_by_that(new_client: NewClient) -> None:
    """draft-ietf-dhc-dhcpinform-clarify: there is nothing else to tell the relay agent where the client is."""
    client = new_client(giaddr=RELAY)
    ack = client.inform(0)
    assert (dotted(client.answer.destination), client.answer.port) == (RELAY, 67)
    assert ack.flags == BROADCAST_FLAG


def test_inform_without_any_address_is_dropped(client: Client) -> None:
    """draft-ietf-dhc-dhcpinform-clarify: there is nobody to answer to."""
    assert client.inform(0) is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == "an INFORM with neither ciaddr nor a source address"


def test_inform_from_a_network_that_is_not_ours(client: Client) -> None:
    """§4.3.5 leaves it to the server; unicast from where nothing is configured."""
    inform = client.message(MessageType.INFORM)
    client.interface = Interface("eth9", (number("203.0.113.1"),))
    assert client.send(inform, source=number("203.0.113.7")) is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.exchange.ciaddr == 0


# ── tables 4 and 5, and §4.3.2: REQUEST in each state ──


def test_selecting_binds(client: Client) -> None:
    """§4.3.2, SELECTING: server identifier, requested address, ciaddr 0."""
    assert client.request(client.discover()).message_type == ACK
    assert client.engine.leases.get(number("192.0.2.10")).state == LeaseState.ACTIVE


def test_selecting_another_server_is_not_answered(client: Client, new_client: NewClient) -> None:
    """§3.1 step 4: the servers that are not selected take it as a declined offer."""
    offer = client.discover()
    assert client.request(offer, server_identifier="192.0.2.99") is None
    assert client.exchange.reason == DropReason.WRONG_SERVER
    assert new_client().discover(requested_address=offer.yiaddr).yiaddr == offer.yiaddr


def test_a_discover_that_is_repeated_gets_the_same_offer(client: Client, clock: Clock) -> None:
    """§4.1 and §4.3.1: a retransmission; nobody else gets the address meanwhile."""
    first = client.discover()
    clock.advance(4)
    client.xid -= 1
    assert client.discover().encode() == first.encode()


def test_a_request_that_is_repeated_gets_the_same_ack(client: Client, clock: Clock) -> None:
    """§4.4.1: the ACK was lost."""
    offer = client.discover()
    first = client.request(offer)
    clock.advance(4)
    assert client.request(offer).encode() == first.encode()
    assert client.exchange.lease_after.expires == clock() + 43200


def test_init_reboot_on_the_wrong_network_is_refused(new_client: NewClient) -> None:
    """§4.3.2, INIT-REBOOT: a NAK, also of an unknown client, also where the server is not authoritative."""
    for giaddr, port, destination in (("", 68, BROADCAST), (RELAY, 67, RELAY)):
        client = new_client(giaddr=giaddr)
        assert client.reboot("203.0.113.9").message_type == NAK
        assert (dotted(client.answer.destination), client.answer.port) == (destination, port)


def test_init_reboot_of_an_unknown_client_is_not_answered(new_client: NewClient) -> None:
    """§4.3.2: without a record of the client the server MUST remain silent, unless it knows that there is no other."""
    assert new_client().reboot("192.0.2.50") is None
    assert new_client(make_engine(authoritative=True)).reboot("192.0.2.50").message_type == NAK


def test_init_reboot_of_what_is_not_its_own_is_refused(client: Client) -> None:
    """§4.3.2: the requested address is incorrect."""
    client.join()
    assert client.reboot("192.0.2.51").message_type == NAK


def test_renewing_is_answered_to_ciaddr(client: Client, clock: Clock) -> None:
    """§4.3.2, RENEWING: unicast both ways, and the lease is extended."""
    client.join()
    clock.advance(21600)
    assert client.renew().message_type == ACK
    assert dotted(client.answer.destination) == "192.0.2.10"
    assert client.exchange.lease_after.expires == clock() + 43200


def test_rebinding_is_answered_by_who_knows_the_binding(client: Client, new_client: NewClient) -> None:
    """§4.3.2, REBINDING: broadcast; a server that doesn't know the client keeps silent."""
    client.join()
    assert client.rebind().message_type == ACK
    stranger = new_client()
    stranger.address = number("192.0.2.77")
    assert stranger.rebind() is None


def test_rebinding_of_a_lease_that_ended_for_another_client_is_refused(new_client: NewClient, clock: Clock) -> None:
    """§4.3.2, REBINDING: the address is somebody else's."""
    engine = make_engine(make_subnet("192.0.2.10"), authoritative=True)
    one, other = new_client(engine), new_client(engine)
    one.join()
    clock.advance(43200)
    engine.tick(clock())
    other.join()
    assert one.rebind().message_type == NAK


# ── §4.3.3 and §4.3.4: DECLINE and RELEASE ──


def test_decline_takes_the_address_out_of_use(client: Client) -> None:
    """§4.3.3; nothing is answered."""
    client.join()
    assert client.decline() is None
    assert client.exchange.problem == AddressProblem.DECLINE
    assert client.engine.leases.get(number("192.0.2.10")).state == LeaseState.DECLINED


def test_decline_of_a_machine_that_has_its_address_by_another_client_id(new_client: NewClient) -> None:
    """§4.3.3: whoever has the lease loses it, and plugins are told."""
    gone: list[str] = []
    mine = Reservation("02:00:00:00:00:01", address="192.0.2.50")
    told = plugin(dhcp_delete_client=lambda address: gone.append(str(address)))
    engine = make_engine(make_subnet(reservations=[mine]), plugins=[told])
    system = new_client(engine, mac="02:00:00:00:00:01", client_id=b"\0system")
    system.join()
    boot_loader = new_client(engine, mac="02:00:00:00:00:01")
    offer = boot_loader.discover()
    assert offer.yiaddr == system.address
    boot_loader.decline(offer.yiaddr)
    assert engine.leases.get(system.address).state == LeaseState.DECLINED
    assert gone == ["192.0.2.50"]


def test_release_frees_the_address_and_is_remembered(client: Client) -> None:
    """§4.3.4: the client SHOULD get the same address again; nothing is answered."""
    client.join()
    assert client.release() is None
    assert client.engine.leases.get(number("192.0.2.10")).state == LeaseState.RELEASED
    assert dotted(client.discover().yiaddr) == "192.0.2.10"


@pytest.mark.parametrize("leave", [Client.decline, Client.release])
def test_only_the_holder_gives_an_address_back(
    client: Client, new_client: NewClient, leave: Callable[[Client], None]
) -> None:
    """§4.3.3, §4.3.4: a client's address is not another's to give back."""
    client.join()
    thief = new_client()
    thief.address, thief.server = client.address, client.server
    leave(thief)
    assert thief.exchange.reason == DropReason.INVALID
    assert client.engine.leases.get(client.address).state == LeaseState.ACTIVE


@pytest.mark.parametrize("leave", [Client.decline, Client.release])
def test_what_is_for_another_server_changes_nothing(client: Client, leave: Callable[..., None]) -> None:
    """Table 5, 'Server identifier': MUST in DECLINE and RELEASE, so that only the one that it names heeds them."""
    client.join()
    leave(client, server_identifier="192.0.2.99")
    assert client.exchange.reason == DropReason.WRONG_SERVER
    assert client.engine.leases.get(number("192.0.2.10")).state == LeaseState.ACTIVE


# ── §4.3.1 and §3.3: lease times ──


@pytest.mark.parametrize(
    ("asked", "granted"), [(None, 3600), (1800, 1800), (0, 600), (60, 600), (7201, 7200), (INFINITE, 7200)]
)
def test_the_lease_time_is_what_was_asked_for_within_the_limits(told: Client, asked: int | None, granted: int) -> None:
    """§4.3.1: the requested lease time, or the default, as the policy of the server allows."""
    reply = told.discover(lease_time=asked)
    assert [reply.options[name] for name in (LEASE_TIME, T1, T2)] == [granted, granted // 2, granted * 7 // 8]


def test_an_infinite_lease_has_no_t1_and_t2_and_never_ends(new_client: NewClient, clock: Clock) -> None:
    """§3.3: 0xffffffff is for ever."""
    client = new_client(make_engine(parameters=Parameters(lease_time=INFINITE)))
    ack = client.join()
    assert ack.options["lease-time"] == INFINITE
    assert {T1, T2}.isdisjoint(ack.options.names())
    clock.advance(10**9)
    assert client.engine.tick(clock()) == ([], [])


@pytest.mark.parametrize("kind", [2, 5, 6])
def test_what_servers_say_is_not_for_a_server(client: Client, kind: int) -> None:
    """§3.1, table 2: OFFER, ACK and NAK are a server's; and no BOOTREPLY is a request."""
    assert client.send(client.message(kind)) is None
    assert client.exchange.reason == DropReason.INVALID
    reply = client.message(MessageType.DISCOVER)
    reply.op = 2
    assert client.send(reply) is None
    assert client.exchange.reason == DropReason.INVALID
