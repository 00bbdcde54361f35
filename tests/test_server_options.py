"""ServerOptions: the fields of ``DHCP_SERVER_OPTIONS`` as ``dhcp_handle_options`` is told them.

That they are all there, and called as in the header, is in test_callout_abi.py.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from client import Client, Clock, make_engine
from plugin_kit import plugin

from aiodhcp import DecodeError, ServerOptions
from aiodhcp.callout.abi import SERVER_OPTIONS

CHADDR = bytes.fromhex("020000000001")


def options(raw: dict[int, bytes] | None = None, htype: int = 1, chaddr: bytes = CHADDR) -> ServerOptions:
    return ServerOptions(raw or {}, htype, chaddr)


def told(message_options: dict, **client) -> ServerOptions:
    """What a plugin is told of a DISCOVER."""
    seen = []
    engine = make_engine(plugins=[plugin(dhcp_handle_options=lambda options: seen.append(options))])
    Client(engine, Clock(), **client).discover(**message_options)
    (found,) = seen
    return found


def test_what_a_windows_client_says():
    found = told(
        {
            "host_name": "DESKTOP-7QK2L1V",
            "vendor_class_identifier": "MSFT 5.0",
            "parameter_request_list": [1, 3, 6],
            "requested_address": "192.0.2.77",
            "lease_time": 600,
            "user_class": [b"lab"],
            "client_fqdn": b"\5\0\0\4host",
        }
    )
    assert {field.attribute: getattr(found, field.attribute) for field in SERVER_OPTIONS} == {
        "message_type": 1,
        "subnet_mask": None,
        "requested_address": IPv4Address("192.0.2.77"),
        "request_lease_time": 600,
        "overlay_fields": None,
        "router_address": None,
        "server": None,
        "parameter_request_list": b"\1\3\6",
        "parameter_request_list_length": 3,
        "machine_name": b"DESKTOP-7QK2L1V",
        "machine_name_length": 15,
        "client_hardware_address_type": 1,
        "client_hardware_address_length": 6,
        "client_hardware_address": CHADDR,
        "class_identifier": b"\3lab",
        "class_identifier_length": 4,
        "vendor_class": b"MSFT 5.0",
        "vendor_class_length": 8,
        "dns_flags": 5,
        "dns_name": b"\4host",
        "dns_name_length": 5,
        "ds_domain_name_requested": False,
        "ds_domain_name": None,
        "ds_domain_name_len": 0,
        "scope_id": None,
    }


def test_what_a_packet_without_options_says():
    found = options()
    said = {field.attribute: getattr(found, field.attribute) for field in SERVER_OPTIONS}
    numbers = {name for name, value in said.items() if value is not None}
    assert numbers == {
        *(name for name in said if name.endswith(("_length", "_len"))),
        "client_hardware_address_type",
        "client_hardware_address",
        "dns_flags",
        "ds_domain_name_requested",
    }
    assert all(not said[name] for name in numbers if not name.startswith("client_"))
    assert (len(found), list(found)) == (0, [])


@pytest.mark.parametrize(
    ("attribute", "code", "octets", "value"),
    [
        ("message_type", 53, b"\3", 3),
        ("message_type", 53, b"", None),
        ("message_type", 53, b"\3\3", None),
        ("subnet_mask", 1, b"\xff\xff\xff\0", IPv4Address("255.255.255.0")),
        ("subnet_mask", 1, b"\xff", None),
        ("requested_address", 50, b"\xc0\0\2\x4d", IPv4Address("192.0.2.77")),
        ("requested_address", 50, b"\xc0\0\2\x4d\0", None),
        ("request_lease_time", 51, b"\0\0\2\x58", 600),
        ("request_lease_time", 51, b"\2\x58", None),
        ("overlay_fields", 52, b"\3", 3),
        ("router_address", 3, b"\xc0\0\2\1", IPv4Address("192.0.2.1")),
        ("router_address", 3, b"\xc0\0\2\1\xc0\0\2\2", IPv4Address("192.0.2.1")),
        ("router_address", 3, b"\xc0\0\2", None),
        ("server", 54, b"\xc0\0\2\1", IPv4Address("192.0.2.1")),
        ("server", 54, b"", None),
        ("dns_flags", 81, b"\5\0", 0),
        ("dns_name", 81, b"\5\0", None),
        ("dns_flags", 81, b"\5\0\0", 5),
        ("dns_name", 81, b"\5\0\0", b""),
        ("dns_name_length", 81, b"\5\0\0host", 4),
        ("ds_domain_name_requested", 43, b"\x5e\0", True),
        ("ds_domain_name_requested", 43, b"\1\1x\x5e\0\xff", True),
        ("ds_domain_name_requested", 43, b"\x5f\0", False),
        ("ds_domain_name", 43, b"\x5f\4corp", b"corp"),
        ("ds_domain_name", 43, b"\x5f\4corp\x5f\4late", b"corp"),
        ("ds_domain_name", 43, b"\x5f\5corp", None),
        ("ds_domain_name", 43, b"\x5f", None),
        ("ds_domain_name_len", 43, b"\x5f\4corp", 4),
    ],
)
def test_a_field_is_what_its_option_says_and_none_where_that_has_a_wrong_length(attribute, code, octets, value):
    assert getattr(options({code: octets}), attribute) == value


def test_the_hardware_address_is_the_clients():
    found = told({}, mac="02:00:00:00:00:07", htype=6)
    assert (found.client_hardware_address_type, found.client_hardware_address_length) == (6, 6)
    assert found.client_hardware_address == bytes.fromhex("020000000007")
    bare = options(htype=32, chaddr=b"")
    assert (bare.client_hardware_address_length, bare.client_hardware_address) == (0, b"")


def test_options_by_name_or_code_like_those_of_the_packet():
    found = options({53: b"\1", 12: b"pc-17", 52: b"\1", 1: b"odd"})
    assert found["host-name"] == found[12] == found.get("host_name") == "pc-17"
    assert found.get("domain-name", "none") == "none"
    assert ("host-name" in found, 12 in found, "domain-name" in found) == (True, True, False)
    assert list(found) == [53, 12, 1]
    assert len(found) == 3
    assert repr(found).startswith("ServerOptions(Options(message-type=")
    with pytest.raises(KeyError):
        found["domain-name"]


def test_what_can_not_be_read_can_be_asked_for():
    """Whether it is there is no matter of what it says."""
    found = options({1: b"odd"})
    assert "subnet-mask" in found
    assert "no such option" not in found
    with pytest.raises(DecodeError):
        found["subnet-mask"]


def test_they_can_not_be_changed():
    found = options({12: b"pc-17"})
    with pytest.raises(TypeError):
        found["host-name"] = "other"
    with pytest.raises(AttributeError):
        found.machine_name = b"other"


def test_all_sees_the_packet_as_others_left_it():
    def rename(packet):
        packet.options["host-name"] = "renamed"
        packet.chaddr = b"\2\0\0\0\0\x63"

    seen = []
    engine = make_engine(
        plugins=[
            plugin("a", dhcp_new_pkt=rename),
            plugin("b", dhcp_handle_options=lambda options: seen.append(options)),
        ]
    )
    Client(engine, Clock()).discover()
    assert (seen[0].machine_name, seen[0].client_hardware_address) == (b"renamed", b"\2\0\0\0\0\x63")
