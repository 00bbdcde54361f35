"""Where the fields of DHCP_SERVER_OPTIONS are in a packet: the same as what ``ServerOptions`` says, for any packet."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp import Packet, ServerOptions
from aiodhcp.callout.abi import SERVER_OPTIONS
from aiodhcp.callout.options import locate
from aiodhcp.packet import scan_options

FIXED = bytes((1, 1, 6, 0)) + bytes(24) + bytes.fromhex("020000000001") + bytes(202) + b"\x63\x82\x53\x63"
KNOWN = [1, 3, 12, 43, 50, 51, 52, 53, 54, 55, 60, 77, 81]


def message(options: bytes) -> bytes:
    return FIXED + options + b"\xff"


def values(packet: bytes) -> dict[str, object]:
    """What a callout reads by the pointers, as ``ServerOptions`` says it."""
    octets, found = locate(packet)
    assert octets.startswith(packet)
    assert len(octets) <= 2 * len(packet)
    at = dict(zip([each.attribute for each in SERVER_OPTIONS], found, strict=True))
    fixed = {"message_type": 1, "overlay_fields": 1, "request_lease_time": 4, "scope_id": 4}
    addresses = {"subnet_mask", "requested_address", "router_address", "server"}
    lengths = {"ds_domain_name": "ds_domain_name_len"}
    said: dict[str, object] = {}
    for field in SERVER_OPTIONS:
        name, value = field.attribute, at[field.attribute]
        if not field.is_pointer or value is None:
            said[name] = value
        elif name in fixed:
            said[name] = int.from_bytes(octets[value : value + fixed[name]], "big")
        elif name in addresses:
            said[name] = IPv4Address(octets[value : value + 4])
        else:
            size = at[lengths.get(name, f"{name}_length")]
            said[name] = octets[value : value + size]
            assert len(said[name]) == size
    return said


def expected(packet: bytes) -> dict[str, object]:
    options = ServerOptions(scan_options(packet), packet[1], packet[28 : 28 + packet[2]])
    return {each.attribute: getattr(options, each.attribute) for each in SERVER_OPTIONS}


@pytest.mark.parametrize(
    "options",
    [
        b"",
        b"\0\0\x35\1\1\0",
        b"\x35\2\1\1",
        b"\x32\4\n\0\0\x09\x32\0",
        b"\x03\3\1\2\3",
        b"\x03\x08\1\2\3\4\5\6\7\x08",
        b"\x0c\0",
        b"\x0c\2pc\x35\1\1\x0c\3-17",
        b"\x51\2\1\2",
        b"\x51\3\1\2\3",
        b"\x51\7\1\2\3host",
        b"\x51\3\1\2\3\x35\1\1\x51\4host",
        b"\x2b\7\x5e\0\x5f\3abc",
        b"\x2b\6\x5f\1a\x5f\1b",
        b"\x2b\3\x5f\5a",
        b"\x2b\4\0\0\x5e\0",
        b"\x2b\2\x5f\3\x35\1\1\x2b\3abc",
    ],
    ids=bytes.hex,
)
def test_the_pointers_lead_to_the_values(options):
    assert values(message(options)) == expected(message(options))


@given(st.lists(st.tuples(st.sampled_from(KNOWN), st.binary(max_size=12)), max_size=12), st.binary(max_size=20))
def test_of_any_options(pieces, rest):
    packet = message(b"".join(bytes((code, len(value))) + value for code, value in pieces if code != 52) + rest)
    try:
        said = expected(packet)
    except ValueError:
        locate(packet)
    else:
        assert values(packet) == said


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from([b"\1", b"\2", b"\3", b"\4", b"\1\1"]))
def test_of_any_overload(file, sname, overload):
    packet = bytearray(message(b"\x0c\1a\x34" + bytes((len(overload),)) + overload + b"\x0c\1b"))
    packet[108 : 108 + len(file)] = file
    packet[44 : 44 + len(sname)] = sname
    try:
        said = expected(bytes(packet))
    except ValueError:
        locate(bytes(packet))
    else:
        assert values(bytes(packet)) == said


def test_a_packet_full_of_pieces_is_at_most_twice_as_long():
    options = b"\x0c\xff" + bytes(255)
    packet = message(options * 14 + b"\x0c\1a")
    assert len(Packet(packet).raw) <= 4096
    assert values(packet)["machine_name"] == bytes(14 * 255) + b"a"
