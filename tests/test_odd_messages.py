"""Messages that RFC 2131 has no example of: odd fields and options, and what they are answered with, octet by octet."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from client import LINK, Client, Clock, dotted, make_engine, make_subnet, number, serve

from aiodhcp import Datagram, DropReason, Engine, Exchange, MessageType, Packet, Parameters

NewClient = Callable[..., Client]
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = (bytes((kind,)) for kind in range(1, 9))
FIXED = struct.Struct("!BBBBIHHIIII16s64s128s4s")
COOKIE = bytes((99, 130, 83, 99))
CHADDR = b"\2\0\0\0\0\1"
SERVER = (54, bytes((192, 0, 2, 1)))
Options = Iterable[tuple[int, bytes]]


def address(host: str) -> bytes:
    return number(host).to_bytes(4, "big")


def octets(
    options: Options,
    *,
    htype: int = 1,
    hlen: int = 6,
    xid: int = 7,
    secs: int = 0,
    flags: int = 0,
    ciaddr: str = "0.0.0.0",
    giaddr: str = "0.0.0.0",
    sname: bytes = b"",
    file: bytes = b"",
    end: bytes = b"\xff",
) -> bytes:
    fields = (1, htype, hlen, 0, xid, secs, flags, number(ciaddr), 0, 0, number(giaddr), CHADDR, sname, file, COOKIE)
    return FIXED.pack(*fields) + b"".join(bytes((code, len(value))) + value for code, value in options) + end


@pytest.fixture
def engine() -> Engine:
    """Two networks: the server's own, and one behind 198.51.100.1."""
    said = Parameters({"routers": "192.0.2.1", "domain-name": "example.test"}, lease_time=3600)
    there = make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")
    return make_engine(make_subnet(parameters=said), there)


@pytest.fixture
def tell(engine: Engine, clock: Clock) -> Callable[..., Exchange]:
    """``tell(options, ...)``: what becomes of such a message; by broadcast, or from an address to the server's."""

    def tell(options: Options, *, source: str = "0.0.0.0", **fields: Any) -> Exchange:
        destination = "255.255.255.255" if source == "0.0.0.0" else "192.0.2.1"
        return serve(
            engine, Datagram(octets(options, **fields), LINK, number(source), 68, number(destination)), clock()
        )

    return tell


def reply(exchange: Exchange) -> Packet:
    assert exchange.answer is not None, exchange.why
    return Packet(exchange.answer.data)


@pytest.mark.parametrize(
    "odd",
    [
        {"xid": 0},
        {"xid": 0xFFFFFFFF},
        {"secs": 65535},
        {"flags": 0x7FFF},
        {"hlen": 16},
        {"end": b""},
        {"end": b"\0\0\xff\x0c\x20"},  # behind the end there is nothing
        {"sname": b"somewhere", "file": b"\xff" * 128},
    ],
)
def test_odd_fields_of_a_discover(tell: Callable[..., Exchange], odd: dict[str, Any]) -> None:
    """Table 3: xid, flags, htype and chaddr are the client's, secs is 0."""
    offer = reply(tell([(53, DISCOVER)], **odd))
    assert (offer.message_type, offer.secs) == (MessageType.OFFER, 0)
    assert (offer.xid, offer.flags, offer.hln) == (odd.get("xid", 7), odd.get("flags", 0), odd.get("hlen", 6))


@pytest.mark.parametrize(
    "options",
    [
        [(61, b"")],  # RFC 2132 §9.14: 2 octets at least: none
        [(12, b"")],
        [(50, b"\0\1")],
        [(50, b"\0\0\0\0")],
        [(50, b"\xc0\0\2\1")],  # the server
        [(50, b"\xc0\0\2\xff")],  # broadcast
        [(51, b"\0\1")],
        [(54, b"\1\2\3\4")],  # table 5: MUST NOT be there
        [(57, b"")],
        [(57, b"\0\0")],
        [(57, b"\0\x43")],
        [(57, b"\xff\xff")],
        [(82, b"\1\5x")],
        [(118, b"\1\2\3")],
        [(116, b"")],
        [(80, b"x")],
    ],
)
def test_odd_options_of_a_discover(tell: Callable[..., Exchange], options: Options) -> None:
    """What can't be read is as if it weren't there, and no reply is longer than it may be."""
    exchange = tell([(53, DISCOVER), *options])
    offer = reply(exchange)
    assert (dotted(offer.yiaddr), offer.options["lease-time"]) == ("192.0.2.10", 3600)
    assert len(exchange.answer.data) <= 548


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (b"\0", []),
        (b"\xff\0\xff", []),
        (b"\3\3\1\3\1", [1, 3]),
        (b"\x0f\0\3\xff\x0f", [15, 3]),
        (bytes(range(255)), [1, 3, 15, 28]),
        (b"\x33\x35\x36\x3a\x52", []),  # what is there anyway, or not for this list to ask for
    ],
)
def test_odd_parameter_request_lists(tell: Callable[..., Exchange], asked: bytes, told: list[int]) -> None:
    offer = reply(tell([(53, DISCOVER), (55, asked)]))
    assert list(offer.options) == [53, 54, 51, 58, 59, *told]


@pytest.mark.parametrize("kind", [b"", b"\0", b"\1\1", OFFER, ACK, NAK, b"\x09", b"\x12", b"\xff"])
def test_odd_message_types(tell: Callable[..., Exchange], kind: bytes) -> None:
    exchange = tell([(53, kind)])
    assert (exchange.answer, exchange.reason) == (None, DropReason.INVALID)


def test_two_message_types_are_one_that_is_none(tell: Callable[..., Exchange]) -> None:
    """RFC 3396 §5: they are one option in pieces."""
    assert tell([(53, DISCOVER), (53, REQUEST)]).reason == DropReason.INVALID


@pytest.mark.parametrize(
    ("overload", "fields", "client"),
    [
        (b"\1", {"file": b"\x3d\3\0id\xff"}, b"\0id"),
        (b"\2", {"sname": b"\x3d\3\0id\xff"}, b"\0id"),
        (b"\3", {"file": b"\x3d\2\0i", "sname": b"\x3d\1d\xff"}, b"\0id"),  # in pieces; the file comes first
        (b"\1", {"sname": b"\x3d\3\0id\xff"}, b"\1" + CHADDR),
    ],
)
def test_option_overload_of_a_request(
    tell: Callable[..., Exchange], overload: bytes, fields: dict[str, bytes], client: bytes
) -> None:
    assert tell([(53, DISCOVER), (52, overload)], **fields).client == client


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ([(52, b"\0")], {}),
        ([(52, b"\4")], {}),
        ([(52, b"\1")], {"file": b"\x0c\xff"}),
        ([], {"end": b"\x0c\x20x"}),
        ([], {"hlen": 17}),
        ([], {"hlen": 0}),  # and no client identifier
        ([(61, b"")], {"hlen": 0}),
    ],
)
def test_what_is_no_message(tell: Callable[..., Exchange], options: Options, fields: dict[str, Any]) -> None:
    assert tell([(53, DISCOVER), *options], **fields).reason == DropReason.INVALID


def test_a_discover_with_ciaddr_is_answered_to_that(tell: Callable[..., Exchange]) -> None:
    """§4.1: OFFER and ACK; though table 3 has 0 in the ciaddr of an OFFER."""
    exchange = tell([(53, DISCOVER)], ciaddr="192.0.2.50")
    assert dotted(exchange.answer.destination) == "192.0.2.50"
    assert reply(exchange).ciaddr == 0


def join(tell: Callable[..., Exchange]) -> str:
    tell([(53, DISCOVER)])
    assert reply(tell([(53, REQUEST), (50, address("192.0.2.10")), SERVER])).message_type == MessageType.ACK
    return "192.0.2.10"


@pytest.mark.parametrize(
    ("options", "fields", "outcome"),
    [
        ([(50, address("192.0.2.10")), SERVER], {}, MessageType.ACK),  # once more
        ([SERVER], {"ciaddr": "192.0.2.10", "source": "192.0.2.10"}, MessageType.ACK),
        (
            [(50, address("192.0.2.55"))],
            {"ciaddr": "192.0.2.10", "source": "192.0.2.10"},
            MessageType.ACK,
        ),  # ciaddr counts
        ([(50, address("192.0.2.10")), (54, b"\xc0\0\2")], {}, DropReason.WRONG_SERVER),
        ([(50, address("192.0.2.10")), (54, b"")], {}, DropReason.WRONG_SERVER),
        ([(50, address("192.0.2.10")), (54, bytes(4))], {}, DropReason.WRONG_SERVER),
        ([(50, b"\0\0")], {}, DropReason.INVALID),
        ([], {}, DropReason.INVALID),
        ([(50, address("192.0.2.66"))], {}, MessageType.NAK),
        # It has moved.
        ([], {"ciaddr": "192.0.2.10", "giaddr": "198.51.100.1", "source": "198.51.100.1"}, MessageType.NAK),
        ([(50, address("192.0.2.10"))], {"giaddr": "198.51.100.1", "source": "198.51.100.1"}, MessageType.NAK),
        # The same machine as somebody else.
        ([(61, b"\xff1")], {"ciaddr": "192.0.2.10", "source": "192.0.2.10"}, DropReason.GEN_FAILURE),
    ],
)
def test_odd_requests(tell: Callable[..., Exchange], options: Options, fields: dict[str, Any], outcome: int) -> None:
    join(tell)
    exchange = tell([(53, REQUEST), *options], **fields)
    if isinstance(outcome, DropReason):
        assert exchange.reason == outcome
    else:
        assert reply(exchange).message_type == outcome


def test_who_was_refused_behind_another_relay_agent_keeps_its_lease_where_it_was(
    engine: Engine, tell: Callable[..., Exchange], clock: Clock
) -> None:
    """It is refused there, and may come back."""
    join(tell)
    tell([(53, REQUEST)], ciaddr="192.0.2.10", giaddr="198.51.100.1", source="198.51.100.1")
    assert engine.leases.get(number("192.0.2.10")).holds(clock())


def test_a_decline_counts_once_and_for_what_was_offered_too(tell: Callable[..., Exchange]) -> None:
    tell([(53, DISCOVER)])
    declined = [(53, DECLINE), (50, address("192.0.2.10")), SERVER]
    assert tell(declined).changes is not None
    assert tell(declined).reason == DropReason.INVALID
    assert dotted(reply(tell([(53, DISCOVER)])).yiaddr) == "192.0.2.11"


def test_a_release_counts_once_and_for_ciaddr_alone(tell: Callable[..., Exchange]) -> None:
    mine = join(tell)
    for options, ciaddr in (([], "0.0.0.0"), ([(50, address(mine))], "0.0.0.0"), ([], "192.0.2.11")):
        assert tell([(53, RELEASE), SERVER, *options], ciaddr=ciaddr, source=mine).reason == DropReason.INVALID
    assert tell([(53, RELEASE), SERVER], ciaddr=mine, source=mine).changes is not None
    assert tell([(53, RELEASE), SERVER], ciaddr=mine, source=mine).reason == DropReason.INVALID


@pytest.mark.parametrize(
    "options",
    [[(50, address("192.0.2.40"))], [(51, b"\0\0\1\0")], [SERVER], [(54, b"\1\2\3\4")], [(80, b"")], [(116, b"\1")]],
)
def test_an_inform_asks_for_parameters_whatever_it_says(
    engine: Engine, tell: Callable[..., Exchange], options: Options
) -> None:
    """§4.3.5, table 5: no lease time, no yiaddr, nothing of what a client is not to send."""
    exchange = tell([(53, INFORM), *options], ciaddr="192.0.2.150", source="192.0.2.150")
    ack = reply(exchange)
    assert (ack.message_type, ack.yiaddr, list(ack.options)) == (MessageType.ACK, 0, [53, 54, 1, 3, 15])
    assert list(engine.leases) == []
