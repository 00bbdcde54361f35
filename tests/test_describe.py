"""Messages in lines for people."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from aiodhcp import Packet
from aiodhcp.constants import INFINITE
from aiodhcp.describe import describe, duration, message_name, printable
from aiodhcp.options import ClientFqdn, FqdnFlag, Route


def test_describe_a_request() -> None:
    packet = Packet(
        xid=0x1234ABCD,
        chaddr=b"\2\0\0\0\0\7",
        hops=1,
        secs=3,
        flags=0x8000,
        giaddr=0x7F000001,
        options={"message-type": "discover", "parameter-request-list": [1, 3, 224, 255], "client-identifier": "01:02"},
    )
    assert describe(packet) == [
        ("message-type", "DISCOVER"),
        ("xid", "1234abcd"),
        ("chaddr", "02:00:00:00:00:07"),
        ("hops", "1"),
        ("secs", "3"),
        ("flags", "broadcast"),
        ("giaddr", "127.0.0.1"),
        ("parameter-request-list", "subnet-mask, routers, option-224, 255"),
        ("client-identifier", "01:02"),
    ]


def test_describe_a_reply() -> None:
    packet = Packet(
        op=2,
        xid=1,
        hln=0,
        chaddr=b"",
        yiaddr=int(IPv4Address("192.0.2.10")),
        siaddr=int(IPv4Address("192.0.2.1")),
        flags=1,
        sname=b"boot\0",
        file=b"\x1b]0;title\x07.efi",
        options={"message-type": "ack", "lease-time": 43200, "host-name": b"b\xfcro", "domain-name": "büro"},
    )
    assert describe(packet) == [
        ("message-type", "ACK"),
        ("xid", "00000001"),
        ("flags", "0001"),
        ("yiaddr", "192.0.2.10"),
        ("siaddr", "192.0.2.1"),
        ("sname", "boot"),
        ("file", r"\x1b]0;title\x07.efi"),
        ("lease-time", "12h"),
        ("host-name", r"b\udcfcro"),
        ("domain-name", "büro"),
    ]


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [
        ("routers", ["192.0.2.1", "192.0.2.2"], "192.0.2.1, 192.0.2.2"),
        ("static-routes", [("10.0.0.1", "192.0.2.1")], "10.0.0.1 192.0.2.1"),
        (
            "classless-static-routes",
            [Route(IPv4Network("10.0.0.0/8"), IPv4Address("192.0.2.1"))],
            "10.0.0.0/8 via 192.0.2.1",
        ),
        ("domain-search", ["a.example", "b.example"], "a.example, b.example"),
        ("ip-forwarding", False, "false"),
        ("rapid-commit", True, "true"),
        ("interface-mtu", 1500, "1500"),
        ("relay-agent-information", {1: b"eth0", 2: b""}, "circuit-id=65:74:68:30, remote-id=(empty)"),
        ("client-fqdn", ClientFqdn(FqdnFlag.S | FqdnFlag.E, 0, 0, "pc.example."), "pc.example. flags=0x05"),
        ("client-fqdn", ClientFqdn(0, 0, 0, ""), "flags=0x00"),
        ("user-class", [b"\1\2"], "01:02"),
        ("mobile-ip-home-agent", [], "(empty)"),
        ("vendor-encapsulated-options", b"\1\2\xff", "01:02:ff"),
        ("option-224", b"", "(empty)"),
        ("lease-time", b"\1\2", "01:02"),
        ("lease-time", INFINITE, "infinite"),
        ("parameter-request-list", b"", "(empty)"),
    ],
)
def test_describe_an_option(option: str, value: Any, shown: str) -> None:
    *_, (name, said) = describe(Packet(options={option: value}))
    assert (name, said) == (option, shown)


def test_message_names() -> None:
    assert message_name(Packet()) == "BOOTP request"
    assert message_name(Packet(op=2)) == "BOOTP reply"
    assert message_name(Packet(options={53: 77})) == "type 77"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (1, "1s"), (90, "1m30s"), (3600, "1h"), (129600, "1d12h"), (90061, "1d1h1m1s"), (INFINITE, "infinite")],
)
def test_durations(seconds: int, shown: str) -> None:
    assert duration(seconds) == shown


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("a\x1b[2J\x9b\u202e\udcff é😀") == r"a\x1b[2J\x9b\u202e\udcff é😀"
