"""What a reply says and where it goes: table 3 and §4.1 of RFC 2131; RFC 2132 §9.3, RFC 3046, RFC 6842."""

from __future__ import annotations

import logging

import pytest
from client import Client, make_engine, make_subnet, number

from aiodhcp import DropReason, MessageType, Packet, Parameters
from aiodhcp.constants import BROADCAST_ADDRESS, BROADCAST_FLAG
from aiodhcp.packet import scan_options

OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK
MESSAGES = {"OFFER": OFFER, "ACK": ACK, "RENEWED": ACK, "INFORMED": ACK, "NAK": NAK}
RELAY = b"\x01\x04eth7"

SETTINGS = Parameters(
    options={
        "routers": ["192.0.2.1"],
        "domain-name-servers": ["192.0.2.53"],
        "domain-name": "example.org",
        "vendor-class-identifier": "ours",
    },
    next_server="192.0.2.69",
    server_name="tftp",
    boot_file="pxelinux.0",
)


def a_reply(client: Client, which: str, **options) -> Packet:
    """An OFFER, an ACK to each kind of message, or a NAK."""
    if which == "OFFER":
        reply = client.discover(**options)
    elif which == "ACK":
        reply = client.join(**options)
    elif which == "RENEWED":
        client.join()
        reply = client.rebind(**options)
    elif which == "INFORMED":
        reply = client.inform("192.0.2.150", **options)
    else:
        reply = client.reboot("203.0.113.9", **options)
    assert reply.message_type == MESSAGES[which]
    return reply


@pytest.fixture(params=list(MESSAGES))
def which(request) -> str:
    return request.param


# ── table 3: the fields ──


def test_the_fields_that_are_the_same_in_every_reply(new_client, which):
    client = new_client(make_engine(parameters=SETTINGS), giaddr="192.0.2.254", broadcast=True, htype=6)
    reply = a_reply(client, which)
    assert (reply.op, reply.htype, reply.hlen, reply.hops, reply.secs) == (2, 6, 6, 0, 0)
    assert reply.xid == client.xid
    assert reply.flags == BROADCAST_FLAG
    assert reply.giaddr == number("192.0.2.254")
    assert reply.chaddr == client.chaddr


@pytest.mark.parametrize(
    ("which", "ciaddr", "yiaddr"),
    [
        ("OFFER", 0, "192.0.2.10"),
        ("ACK", 0, "192.0.2.10"),
        ("RENEWED", "192.0.2.10", "192.0.2.10"),
        ("INFORMED", "192.0.2.150", 0),
        ("NAK", 0, 0),
    ],
)
def test_ciaddr_and_yiaddr(client, which, ciaddr, yiaddr):
    reply = a_reply(client, which)
    assert reply.ciaddr == (ciaddr and number(ciaddr))
    assert reply.yiaddr == (yiaddr and number(yiaddr))


def test_an_offer_and_a_nak_have_no_ciaddr_whatever_the_client_sent(client):
    client.address = number("192.0.2.10")
    assert client.send(client.message(MessageType.DISCOVER, ciaddr=client.address)).ciaddr == 0
    client.address = number("203.0.113.9")
    nak = client.rebind()
    assert (nak.message_type, nak.ciaddr) == (NAK, 0)


def test_siaddr_sname_and_file(new_client, which):
    reply = a_reply(new_client(make_engine(parameters=SETTINGS)), which)
    told = (0, b"", b"") if which == "NAK" else (number("192.0.2.69"), b"tftp", b"pxelinux.0")
    assert (reply.siaddr, reply.sname.rstrip(b"\0"), reply.file.rstrip(b"\0")) == told


def test_without_settings_there_is_no_siaddr_sname_or_file(client, which):
    reply = a_reply(client, which)
    assert (reply.siaddr, reply.sname.strip(b"\0"), reply.file.strip(b"\0")) == (0, b"", b"")


def test_a_nak_through_a_relay_agent_has_the_broadcast_flag_set(new_client):
    """RFC 2131 §4.3.2: so that the relay agent broadcasts it to the client, whose address is wrong."""
    assert a_reply(new_client(giaddr="192.0.2.254"), "NAK").flags == BROADCAST_FLAG
    assert a_reply(new_client(), "NAK").flags == 0
    assert a_reply(new_client(giaddr="192.0.2.254"), "OFFER").flags == 0


# ── table 3: the options ──

TIMES = ["lease-time", "renewal-time", "rebinding-time"]
CONFIGURED = ["subnet-mask", "routers", "domain-name-servers", "domain-name", "vendor-class-identifier"]


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("OFFER", ["message-type", "server-identifier", *TIMES, *CONFIGURED]),
        ("ACK", ["message-type", "server-identifier", *TIMES, *CONFIGURED]),
        ("RENEWED", ["message-type", "server-identifier", *TIMES, *CONFIGURED]),
        ("INFORMED", ["message-type", "server-identifier", *CONFIGURED]),
        ("NAK", ["message-type", "server-identifier", "message"]),
    ],
)
def test_the_options_and_their_order(new_client, which, names):
    """An OFFER, an ACK and a NAK MUST have a server identifier; an INFORM must not get a time."""
    reply = a_reply(new_client(make_engine(parameters=SETTINGS)), which)
    assert list(reply.options.names()) == names


def test_the_options_that_are_the_clients_to_send(new_client, which):
    """MUST NOT: requested address, parameter request list, maximum message size; whatever is asked for."""
    asked = [50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 82, 0, 255, 12]
    client = new_client(make_engine(parameters=SETTINGS))
    reply = a_reply(client, which, parameter_request_list=asked, maximum_message_size=1500, host_name="pc")
    assert {"requested-address", "parameter-request-list", "maximum-message-size"}.isdisjoint(reply.options.names())
    assert "client-identifier" not in reply.options
    assert "host-name" not in reply.options


def test_the_parameter_request_list_is_honoured_in_its_order(new_client, which):
    client = new_client(make_engine(parameters=SETTINGS))
    reply = a_reply(client, which, parameter_request_list=[15, 42, 28, 6, 15])
    asked = [] if which == "NAK" else ["domain-name", "broadcast-address", "domain-name-servers"]
    assert [name for name in reply.options.names() if name not in ("message-type", "server-identifier", *TIMES)] == (
        asked or ["message"]
    )


def test_the_subnet_mask_comes_before_the_routers(new_client):
    """RFC 2132 §3.3, even where the client asks the other way round."""
    offer = new_client(make_engine(parameters=SETTINGS)).discover(parameter_request_list=[6, 3, 1])
    assert list(offer.options)[-3:] == [1, 6, 3]


def test_mask_and_broadcast_address_are_the_subnets_unless_configured(new_client):
    subnet = make_subnet("192.0.2.130", network="192.0.2.128/26", interfaces=["eth0"])
    offer = new_client(make_engine(subnet)).discover(parameter_request_list=[1, 28])
    assert str(offer.options["subnet-mask"]) == "255.255.255.192"
    assert str(offer.options["broadcast-address"]) == "192.0.2.191"
    odd = Parameters(options={"subnet-mask": "255.255.255.255", "broadcast-address": "192.0.2.1"})
    offer = new_client(make_engine(subnet, parameters=odd)).discover(parameter_request_list=[1, 28])
    assert str(offer.options["subnet-mask"]) == "255.255.255.255"
    assert str(offer.options["broadcast-address"]) == "192.0.2.1"


def test_the_client_identifier_is_echoed(new_client, which):
    """RFC 6842 §3."""
    assert a_reply(new_client(client_id=b"\0printer"), which).options["client-identifier"] == b"\0printer"


def test_relay_agent_information_is_echoed_and_last(new_client, which):
    """RFC 3046 §2.2."""
    client = new_client(giaddr="192.0.2.254", client_id=b"\0printer", relay_agent_information=RELAY)
    reply = a_reply(client, which)
    assert list(reply.options)[-2:] == [61, 82]
    assert reply.options.raw[82] == RELAY


def test_relay_agent_information_of_a_switch_is_echoed_too(new_client, which):
    """RFC 3046 §2.1: a relay agent at layer 2 leaves giaddr alone."""
    assert a_reply(new_client(relay_agent_information=RELAY), which).options.raw[82] == RELAY


def test_an_empty_client_identifier_is_none(new_client):
    offer = new_client(client_id=b"").discover()
    assert "client-identifier" not in offer.options


def test_what_has_no_room_is_not_echoed(new_client):
    """RFC 3046 §2.2: the relay agent's words whole or not at all."""
    client = new_client(giaddr="192.0.2.254", client_id=b"x" * 200, relay_agent_information={1: b"y" * 200})
    offer = client.discover(maximum_message_size=576)
    assert offer.options["client-identifier"] == b"x" * 200
    assert 82 not in offer.options
    assert len(bytes(offer)) <= 548
    client = new_client(giaddr="192.0.2.254", client_id=b"x" * 255, relay_agent_information={1: b"y" * 20})
    assert list(client.discover(maximum_message_size=576).options)[-1] != 82


def test_a_client_identifier_of_too_many_octets(new_client):
    client = new_client(client_id=b"x" * 256)
    assert client.discover() is None
    assert (client.exchange.reason, client.exchange.why) == (DropReason.INVALID, "a client identifier of 256 octets")


# ── §4.1: where to ──


@pytest.mark.parametrize("broadcast", [True, False])
@pytest.mark.parametrize("giaddr", ["192.0.2.254", ""])
def test_the_destination(new_client, which, giaddr, broadcast):
    client = new_client(giaddr=giaddr, broadcast=broadcast)
    a_reply(client, which)
    answer = client.answer
    assert answer.request is client.exchange.datagram
    assert answer.source == number("192.0.2.1")
    hardware, port = None, 68
    if giaddr and which != "INFORMED":
        destination, port = giaddr, 67
    elif which == "NAK":
        destination = "255.255.255.255"
    elif which == "RENEWED":
        destination = "192.0.2.10"
    elif which == "INFORMED":
        destination = "192.0.2.150"
    elif broadcast:
        destination = "255.255.255.255"
    else:
        destination, hardware = "192.0.2.10", client.chaddr
    assert (answer.destination, answer.port, answer.hardware) == (number(destination), port, hardware)


@pytest.mark.parametrize(
    ("mac", "htype"), [("02:00:00:00:00:01", 32), ("02:00:00:00:00:00:00:01", 1), ("02", 1)], ids=["IPoIB", "8", "1"]
)
def test_whom_no_ethernet_frame_can_be_addressed_to_is_told_by_broadcast(new_client, mac, htype):
    client = new_client(mac=mac, htype=htype)
    client.discover()
    assert client.answer.destination == BROADCAST_ADDRESS
    assert client.answer.hardware is None


# ── the size ──


def test_a_reply_has_300_octets_at_least(client, which):
    """RFC 951 §3: there are relay agents and clients that take a shorter one for broken."""
    a_reply(client, which)
    assert len(client.answer.data) == 300
    end = client.answer.data.rindex(b"\xff")
    assert client.answer.data[end + 1 :].strip(b"\0") == b""


FIRST = 151


def big(*sizes: int, **more) -> Parameters:
    """Options 151, 152, … of so many octets."""
    return Parameters(options={FIRST + i: bytes([i + 1]) * size for i, size in enumerate(sizes)}, **more)


def test_a_reply_that_fits_is_not_overloaded(new_client):
    client = new_client(make_engine(parameters=big(250)))
    client.discover()
    assert len(client.answer.data) == 240 + 3 + 5 * 6 + 252 + 1
    assert 52 not in scan_options(client.answer.data)


@pytest.mark.parametrize(
    ("sizes", "names", "overload"),
    [
        ((200, 100), {}, 1),
        ((230, 50), {"boot_file": "x"}, 2),
        ((230, 120, 60), {}, 3),
    ],
)
def test_what_does_not_fit_goes_into_file_and_sname(new_client, sizes, names, overload):
    """RFC 2132 §9.3; a name that is configured stays where it is."""
    client = new_client(make_engine(parameters=big(*sizes, **names)))
    offer = client.discover()
    assert len(client.answer.data) <= 548
    assert scan_options(client.answer.data)[52] == bytes([overload])
    assert client.answer.data[240:243] == b"\x35\x01\x02"  # the message type is still first
    for i, size in enumerate(sizes):
        assert offer.options.raw[FIRST + i] == bytes([i + 1]) * size
    assert offer.file.rstrip(b"\0") == names.get("boot_file", "").encode()


def test_what_is_logged_once_is_bounded(new_client, caplog, monkeypatch):
    monkeypatch.setattr("aiodhcp.replies.PLANS_KEPT", 3)
    engine = make_engine(parameters=big(*[255] * 9))
    for n in range(9):
        new_client(engine).discover(parameter_request_list=[FIRST + n, *range(FIRST + n, FIRST + 9)])
    assert len(caplog.messages) == 3


def test_the_same_reply_is_planned_once(new_client, monkeypatch):
    engine = make_engine(parameters=SETTINGS)
    first = new_client(engine).discover()
    monkeypatch.setattr("aiodhcp.replies.encode_options", None)
    assert new_client(engine).discover().options == first.options


def test_what_fits_nowhere_is_left_out_and_logged_once(new_client, caplog):
    engine = make_engine(parameters=big(200, 200, 20))
    with caplog.at_level(logging.WARNING, "aiodhcp"):
        offer = new_client(engine).discover()
        new_client(engine).discover(parameter_request_list=[1, 151, 152, 153])
    assert [code for code in offer.options if code >= FIRST] == [151, 153]
    assert caplog.messages == [
        "options [152] don't fit into a reply to 02:00:00:00:00:01 in 192.0.2.0/24 and were left out"
    ]


@pytest.mark.parametrize(
    ("size", "longest"),
    [
        (None, 548),
        (0, 548),
        (576, 548),
        (577, 549),
        (1499, 1471),
        (1500, 1472),
        (65535, 1472),
        (b"\xff", 548),
        (b"\0\5\0", 548),
    ],
)
def test_the_maximum_message_size(new_client, size, longest):
    """Option 57 counts the IP and UDP headers; less than 576 is not legal, and more than 1500 not wise."""
    client = new_client(make_engine(parameters=big(*[18] * 80, 1, *[0] * 10, boot_file="x", server_name="x")))
    client.discover(maximum_message_size=size)
    assert len(client.answer.data) in (longest - 1, longest)


def test_what_is_echoed_leaves_less_room_for_the_rest(new_client):
    plain = new_client(make_engine(parameters=big(*[10] * 40)))
    named = new_client(plain.engine, client_id=b"x" * 100)
    first = plain.discover()
    offer = named.discover()
    assert len(named.answer.data) <= 548
    assert offer.options["client-identifier"] == b"x" * 100
    assert len(offer.options) < len(first.options)
