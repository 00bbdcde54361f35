"""The options: what their octets mean, both ways, and what is refused.

Tables first: a row is an option, a value and its octets. Then what holds for any octets and any value.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodhcp import codecs, dnsnames
from aiodhcp.constants import MessageType
from aiodhcp.definitions import ANY
from aiodhcp.errors import DecodeError
from aiodhcp.options import (
    ALIASES,
    OPTIONS,
    ClientFqdn,
    FqdnFlag,
    OptionDefinition,
    Options,
    Route,
    SubOptions,
    definition,
)
from aiodhcp.spaces import RELAY_AGENT

A = IPv4Address("10.0.0.1")
B = IPv4Address("192.168.1.1")
A4, B4 = A.packed, B.packed

E = FqdnFlag.E
LONGEST_NAME = ".".join(["x" * 63, "y" * 63, "z" * 63, "w" * 61])  # 255 octets on the wire
LONGEST_WIRE = b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63 + b"\x3f" + b"z" * 63 + b"\x3d" + b"w" * 61 + b"\0"


def relay(raw: dict[int, bytes]) -> SubOptions:
    return SubOptions(raw, RELAY_AGENT)


# ── values and their octets, both ways ──

BOTH_WAYS: list[tuple[int | str, Any, bytes]] = [
    ("subnet-mask", IPv4Address("255.255.255.0"), b"\xff\xff\xff\x00"),
    ("time-offset", -18000, b"\xff\xff\xb9\xb0"),
    ("time-offset", -(2**31), b"\x80\0\0\0"),
    ("time-offset", 2**31 - 1, b"\x7f\xff\xff\xff"),
    ("routers", [A], A4),
    ("routers", [B, A], B4 + A4),
    ("host-name", "pc-17", b"pc-17"),
    ("host-name", "b\u00fcro", b"b\xc3\xbcro"),
    ("host-name", "b\udcfcro", b"b\xfcro"),  # Latin-1 comes back as it came
    ("boot-size", 65535, b"\xff\xff"),
    ("ip-forwarding", True, b"\1"),
    ("ip-forwarding", False, b"\0"),
    ("policy-filter", [(A, B), (B, A)], A4 + B4 + B4 + A4),
    ("max-dgram-reassembly", 576, b"\x02\x40"),
    ("default-ip-ttl", 64, b"\x40"),
    ("path-mtu-plateau-table", [68, 1500], b"\0\x44\x05\xdc"),
    ("static-routes", [(A, B)], A4 + B4),
    ("vendor-encapsulated-options", b"\1\4\0\0\0\2", b"\1\4\0\0\0\2"),
    ("requested-address", A, A4),
    ("lease-time", 0xFFFFFFFF, b"\xff\xff\xff\xff"),
    ("option-overload", 3, b"\3"),
    ("message-type", MessageType.DISCOVER, b"\1"),
    ("message-type", 77, b"\x4d"),
    ("parameter-request-list", [1, 3, 6, 15], b"\1\3\6\x0f"),
    ("maximum-message-size", 300, b"\x01\x2c"),
    ("client-identifier", b"\1\2\3\4\5\6\7", b"\1\2\3\4\5\6\7"),
    ("mobile-ip-home-agent", [], b""),
    ("mobile-ip-home-agent", [A], A4),
    ("user-class", [b"kiosk", b"floor-2"], b"\5kiosk\7floor-2"),
    ("rapid-commit", True, b""),
    ("client-fqdn", ClientFqdn(E | FqdnFlag.S, 0, 0, "pc.example."), b"\5\0\0\2pc\7example\0"),
    ("client-fqdn", ClientFqdn(E, 255, 255, "pc"), b"\4\xff\xff\2pc"),
    ("client-fqdn", ClientFqdn(E, 0, 0, ""), b"\4\0\0"),
    ("client-fqdn", ClientFqdn(FqdnFlag.N, 0, 0, "pc.example"), b"\x08\0\0pc.example"),
    ("client-fqdn", ClientFqdn(FqdnFlag(0), 0, 0, ""), b"\0\0\0"),
    ("relay-agent-information", relay({1: b"eth0/7", 2: b""}), b"\1\6eth0/7\2\0"),
    ("relay-agent-information", relay({1: b"x" * 256}), b"\1\xff" + b"x" * 255 + b"\1\1x"),
    ("bcmcs-controller-names", ["a.example", "b.example"], b"\1a\7example\0\1b\7example\0"),
    ("client-system-architecture", [0, 7], b"\0\0\0\7"),
    ("auto-config", 1, b"\1"),
    ("domain-search", ["example"], b"\7example\0"),
    # the example of RFC 3397 §2
    (
        "domain-search",
        ["eng.apple.com", "marketing.apple.com"],
        b"\3eng\5apple\3com\0\x09marketing\xc0\x04",
    ),
    ("domain-search", ["a.example", "a.example", "b.a.example"], b"\1a\7example\0\xc0\0\1b\xc0\0"),
    ("domain-search", [LONGEST_NAME], LONGEST_WIRE),
    ("classless-static-routes", [Route(IPv4Network("0.0.0.0/0"), A)], b"\0" + A4),
    # the examples of RFC 3442
    ("classless-static-routes", [Route(IPv4Network("10.0.0.0/8"), A)], b"\x08\x0a" + A4),
    ("classless-static-routes", [Route(IPv4Network("10.17.0.0/16"), A)], b"\x10\x0a\x11" + A4),
    ("classless-static-routes", [Route(IPv4Network("10.27.129.0/24"), A)], b"\x18\x0a\x1b\x81" + A4),
    ("classless-static-routes", [Route(IPv4Network("10.229.0.128/25"), A)], b"\x19\x0a\xe5\x00\x80" + A4),
    (
        "ms-classless-static-routes",
        [Route(IPv4Network("10.198.122.47/32"), A), Route(IPv4Network("10.0.0.0/8"), B)],
        b"\x20\x0a\xc6\x7a\x2f" + A4 + b"\x08\x0a" + B4,
    ),
    ("vendor-class", {4491: [b"abc"]}, b"\0\0\x11\x8b\4\3abc"),
    ("vendor-options", {9: b"", 2**32 - 1: SubOptions({1: b"x"}, ANY)}, b"\0\0\0\x09\0\xff\xff\xff\xff\3\1\1x"),
    ("lost-server", "lost.example", b"\4lost\7example\0"),
    ("tftp-server-address", [A, B], A4 + B4),
    ("pxelinux-reboottime", 30, b"\0\0\0\x1e"),
    ("wpad-url", "http://wpad/wpad.dat", b"http://wpad/wpad.dat"),
    (224, b"", b""),
    ("option-224", b"\xde\xad", b"\xde\xad"),
]


@pytest.mark.parametrize(("option", "value", "wire"), BOTH_WAYS)
def test_encodes(option: int | str, value: Any, wire: bytes) -> None:
    assert definition(option).codec.encode(value) == wire


@pytest.mark.parametrize(("option", "value", "wire"), BOTH_WAYS)
def test_decodes(option: int | str, value: Any, wire: bytes) -> None:
    decoded = definition(option).codec.decode(wire)
    assert decoded == value
    assert type(decoded) is type(value)


# ── other ways to say it ──


@pytest.mark.parametrize(
    ("option", "value", "wire"),
    [
        ("subnet-mask", " 255.255.0.0 ", b"\xff\xff\0\0"),
        ("subnet-mask", 0xFFFF0000, b"\xff\xff\0\0"),
        ("routers", A, A4),
        ("routers", "10.0.0.1", A4),
        ("routers", "10.0.0.1, 192.168.1.1", A4 + B4),
        ("routers", ("10.0.0.1", B), A4 + B4),
        ("routers", deque([A, B]), A4 + B4),
        ("policy-filter", "10.0.0.1 192.168.1.1", A4 + B4),
        ("policy-filter", [("10.0.0.1", B), ["192.168.1.1", A]], A4 + B4 + B4 + A4),
        ("message-type", "ack", b"\5"),
        ("message-type", "DHCPINFORM", b"\x08"),
        ("message-type", 2, b"\2"),
        ("parameter-request-list", "subnet-mask, routers", b"\1\3"),
        ("parameter-request-list", ["dhcp-lease-time", 3, "121"], b"\x33\3\x79"),
        ("parameter-request-list", 3, b"\3"),
        ("client-identifier", "01:02:ab:CD", b"\1\2\xab\xcd"),
        ("client-identifier", "0102abcd", b"\1\2\xab\xcd"),
        ("client-identifier", "01-02 ab", b"\1\2\xab"),
        ("client-identifier", bytearray(b"\1\2"), b"\1\2"),
        ("client-identifier", memoryview(b"\1\2"), b"\1\2"),
        ("user-class", b"kiosk", b"\5kiosk"),
        ("user-class", "6b:69", b"\2ki"),
        ("client-fqdn", (0, 0, 0, "pc"), b"\0\0\0pc"),
        ("relay-agent-information", {"1": "6162"}, b"\1\2ab"),
        ("relay-agent-information", MappingProxyType({1: b"ab"}), b"\1\2ab"),
        ("domain-search", "example., a.example", b"\7example\0\1a\xc0\0"),
        ("classless-static-routes", Route(IPv4Network("10.0.0.0/8"), B), b"\x08\x0a" + B4),
        ("classless-static-routes", "10.0.0.0/8 via 192.168.1.1", b"\x08\x0a" + B4),
        ("classless-static-routes", ["10.0.0.0/8  192.168.1.1", ("0.0.0.0/0", A)], b"\x08\x0a" + B4 + b"\0" + A4),
    ],
)
def test_encodes_also(option: str, value: Any, wire: bytes) -> None:
    assert definition(option).codec.encode(value) == wire


@pytest.mark.parametrize(
    ("option", "wire", "value"),
    [
        ("host-name", b"pc\0", "pc"),
        ("host-name", b"pc\0\0\0", "pc"),
        ("user-class", b"MSFT.Sta", [b"MSFT.Sta"]),
        ("user-class", b"\2ab\0", [b"\2ab\0"]),
        ("client-fqdn", b"\4\0\0\0", ClientFqdn(E, 0, 0, "")),
        ("client-fqdn", b"\0\0\0pc\0", ClientFqdn(0, 0, 0, "pc")),
        ("relay-agent-information", b"\1\1a\2\1c\1\1b", relay({1: b"ab", 2: b"c"})),
        ("classless-static-routes", b"\x08\x0a" + A4, [Route(IPv4Network("10.0.0.0/8"), A)]),
        ("classless-static-routes", b"\x09\x0a\xff" + A4, [Route(IPv4Network("10.128.0.0/9"), A)]),
        ("domain-search", b"\1a\0\xc0\0\xc0\3", ["a", "a", "a"]),  # a pointer to a name that is a pointer
    ],
)
def test_decodes_also(option: str, wire: bytes, value: Any) -> None:
    assert definition(option).codec.decode(wire) == value


# ── octets that can't be read ──


@pytest.mark.parametrize(
    ("option", "wire"),
    [
        ("subnet-mask", b""),
        ("subnet-mask", b"\xff\xff\xff"),
        ("subnet-mask", b"\xff\xff\xff\0\0"),
        ("routers", b""),
        ("routers", A4 + b"\1"),
        ("policy-filter", A4),
        ("host-name", b""),
        ("host-name", b"\0\0"),
        ("host-name", b"pc\0x"),
        ("ip-forwarding", b""),
        ("ip-forwarding", b"\2"),
        ("ip-forwarding", b"\1\1"),
        ("interface-mtu", b"\0\x43"),
        ("interface-mtu", b"\0\0\5\xdc"),
        ("default-ip-ttl", b"\0"),
        ("option-overload", b"\4"),
        ("message-type", b""),
        ("message-type", b"\1\1"),
        ("parameter-request-list", b""),
        ("client-identifier", b"\1"),
        ("vendor-encapsulated-options", b""),
        ("user-class", b""),
        ("user-class", b"\xff" + b"x" * 255 + b"\0"),
        ("rapid-commit", b"\1"),
        ("client-fqdn", b"\4\0"),
        pytest.param("client-fqdn", b"\4\0\0\5pc", id="truncated label"),
        pytest.param("client-fqdn", b"\4\0\0\1a\0\1b\0", id="two names"),
        pytest.param("client-fqdn", b"\4\0\0\1a\xc0\0", id="compressed"),
        ("client-fqdn", b"\0\0\0a\0b"),
        ("relay-agent-information", b""),
        ("relay-agent-information", b"\1"),
        ("relay-agent-information", b"\1\2a"),
        ("client-system-architecture", b"\0\0\0"),
        ("domain-search", b""),
        pytest.param("domain-search", b"\0", id="the root"),
        pytest.param("domain-search", b"\3com", id="no end"),
        pytest.param("domain-search", b"\4com\0", id="truncated"),
        pytest.param("domain-search", b"\1a\xc0", id="half a pointer"),
        pytest.param("domain-search", b"\xc0\0", id="pointer to itself"),
        pytest.param("domain-search", b"\1a\xc0\0", id="pointer into its own name"),
        pytest.param("domain-search", b"\xc0\2\1a\0", id="pointer forward"),
        pytest.param("domain-search", b"\2ab\0\xc0\1", id="pointer into a label"),
        pytest.param("domain-search", b"\x40" + b"a" * 64 + b"\0", id="label too long"),
        pytest.param("domain-search", b"\3a.b\0", id="dot in a label"),
        pytest.param("domain-search", b"\2\xc3\xbc\0", id="not ASCII"),
        pytest.param("domain-search", b"\1v" + LONGEST_WIRE, id="name too long"),
        pytest.param("domain-search", LONGEST_WIRE + b"\1v\xc0\0", id="name too long by a pointer"),
        ("lost-server", b"\1a\0\1b\0"),
        ("classless-static-routes", b""),
        pytest.param("classless-static-routes", b"\x21\x0a\0\0\0\0" + A4, id="prefix 33"),
        pytest.param("classless-static-routes", b"\x08\x0a" + A4[:3], id="truncated gateway"),
        pytest.param("classless-static-routes", b"\x08\x0a" + A4 + b"\x18", id="truncated network"),
        ("vendor-class", b"\0\0\x11\x8b"),
        ("vendor-class", b"\0\0\x11\x8b\2a"),
    ],
)
def test_malformed_octets(option: str, wire: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^expected .*, found "):
        definition(option).codec.decode(wire)


def test_long_octets_are_cut_in_the_message() -> None:
    with pytest.raises(DecodeError, match=r"^expected address, found 4096 octets: (00:){31}00\.\.\.$"):
        codecs.ADDRESS.decode(bytes(4096))


def test_a_long_chain_of_pointers_is_followed_once() -> None:
    wire = b"\1a\0\xc0\0" + b"".join((0xC000 | at - 2).to_bytes(2) for at in range(5, 0x3FFF, 2))
    assert dnsnames.DOMAINS.decode(wire) == ["a"] * 8191


def test_names_beyond_the_reach_of_a_pointer_are_not_pointed_at() -> None:
    names = [f"n{number}" for number in range(4000)] + ["last", "last"]
    wire = dnsnames.DOMAINS.encode(names)
    assert wire.endswith(b"\4last\0\4last\0")
    assert dnsnames.DOMAINS.decode(wire) == names


# ── values that can't be written ──


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


HUGE = 10**5000  # more digits than Python cares to print


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("subnet-mask", "255.255.255", "expected address, given '255.255.255'"),
        ("subnet-mask", True, "expected address, given True"),
        ("subnet-mask", -1, "expected address, given -1"),
        ("subnet-mask", None, "expected address, given None"),
        pytest.param("subnet-mask", HUGE, "expected address, given ", id="huge"),
        ("subnet-mask", Unshowable(), "expected address, given "),
        ("routers", [], r"expected address list, given \[\]"),
        ("routers", "", "expected address, given ''"),
        ("routers", "10.0.0.1,", "expected address, given ''"),
        ("routers", [A, 1.5], r"expected address, given 1\.5"),
        ("routers", A4, "expected address, given b"),
        ("routers", {"a": A}, "expected address, given {"),
        ("policy-filter", "10.0.0.1", "expected pair of addresses, given '10.0.0.1'"),
        ("policy-filter", [(A, B, A)], "expected pair of addresses, given "),
        ("policy-filter", [(A, "x")], "expected address, given 'x'"),
        ("host-name", "", "expected text, not empty and without NUL, given ''"),
        ("host-name", "a\0", r"expected text, not empty and without NUL, given 'a\\x00'"),
        ("host-name", "\ud800", r"expected text, not empty and without NUL, given '\\ud800'"),
        ("host-name", 17, "expected text, not empty and without NUL, given 17"),
        ("ip-forwarding", 1, "expected boolean, given 1"),
        ("ip-forwarding", "true", "expected boolean, given 'true'"),
        ("lease-time", 2**32, r"expected integer 0\.\.4294967295, given 4294967296"),
        pytest.param("lease-time", HUGE, r"expected integer 0\.\.4294967295, given ", id="huge"),
        ("lease-time", "3600", r"expected integer 0\.\.4294967295, given '3600'"),
        ("lease-time", True, r"expected integer 0\.\.4294967295, given True"),
        ("lease-time", 3600.0, r"expected integer 0\.\.4294967295, given 3600\.0"),
        ("interface-mtu", 67, r"expected integer 68\.\.65535, given 67"),
        ("path-mtu-plateau-table", [60], r"expected integer 68\.\.65535, given 60"),
        ("time-offset", -(2**31) - 1, r"expected integer -2147483648\.\.2147483647, given -2147483649"),
        ("option-overload", 0, r"expected integer 1\.\.3, given 0"),
        ("message-type", "hello", "expected message type, given 'hello'"),
        ("message-type", 256, r"expected integer 0\.\.255, given 256"),
        ("parameter-request-list", [], "expected list of option codes or names"),
        ("parameter-request-list", ["routres"], "no option is called 'routres'; did you mean 'routers'"),
        ("parameter-request-list", [256], r"expected integer 0\.\.255, given 256"),
        ("client-identifier", b"\1", "expected octets, at least 2, given "),
        ("client-identifier", "1:2:3", "expected octets: bytes, or hex digits such as '01:02:ab', given '1:2:3'"),
        ("client-identifier", 12, "expected octets: bytes, or hex digits such as '01:02:ab', given 12"),
        ("user-class", [], r"expected user classes of 1\.\.255 octets"),
        ("user-class", [b""], r"expected user classes of 1\.\.255 octets"),
        ("user-class", [b"x" * 256], r"expected user classes of 1\.\.255 octets"),
        ("rapid-commit", False, r"expected true without octets \(a flag is there or it is not\), given False"),
        ("rapid-commit", 1, "expected true without octets"),
        ("client-fqdn", "pc.example", "expected flags, two rcodes and a name, given 'pc.example'"),
        ("client-fqdn", (256, 0, 0, "pc"), r"expected integer 0\.\.255, given 256"),
        ("client-fqdn", (4, 0, 0, "a..b"), "expected domain name of at most 253 characters"),
        ("client-fqdn", (4, 0, 0, None), "expected domain name, given None"),
        ("client-fqdn", (0, 0, 0, None), "expected text without NUL, given None"),
        ("relay-agent-information", {}, "expected table of sub-options, given {}"),
        ("relay-agent-information", b"\1\1a", "expected table of sub-options, given "),
        ("relay-agent-information", {256: b""}, r"expected an option's name or a code in 0\.\.255, given 256"),
        ("relay-agent-information", {"circuit": b""}, "no option is called 'circuit'; did you mean 'circuit-id'"),
        (
            "relay-agent-information",
            {"link-selection": "x"},
            r"option 5 \(link-selection\): expected address, given 'x'",
        ),
        ("relay-agent-information", {1: b"a", "circuit-id": b"a"}, "'circuit-id' is there twice"),
        ("relay-agent-information", {1: 1}, r"option 1 \(circuit-id\): expected octets: bytes, or hex digits"),
        ("domain-search", [], "expected domain names, given"),
        ("domain-search", "", "expected domain name of at most 253 characters, each label 1..63, given ''"),
        ("domain-search", ["."], "expected domain name of at most 253 characters"),
        ("domain-search", ["a b"], "expected domain name of at most 253 characters"),
        ("domain-search", ["x" * 64], "expected domain name of at most 253 characters"),
        ("domain-search", ["v." + LONGEST_NAME], "expected domain name of at most 253 characters"),
        (
            "domain-search",
            ["b\u00fcro.example"],
            r"expected domain name in ASCII \(an international one in its xn-- form",
        ),
        ("domain-search", [17], "expected domain name, given 17"),
        ("lost-server", ["lost.example"], "expected domain name, given "),
        ("classless-static-routes", [], "expected routes, given"),
        ("classless-static-routes", "10.0.0.0/8", "expected route such as '10.0.0.0/8 via 192.168.1.1', given"),
        ("classless-static-routes", "10.0.0.1/8 via 10.0.0.1", "expected network such as 10.0.0.0/8: .*host bits set"),
        ("classless-static-routes", "10.0.0.0/8 via x", "expected address, given 'x'"),
        ("classless-static-routes", [(8, A)], "expected network such as 10.0.0.0/8, given 8"),
        ("vendor-class", {2**32: b""}, r"expected integer 0\.\.4294967295, given 4294967296"),
        (224, "text", "expected octets: bytes, or hex digits such as '01:02:ab', given 'text'"),
    ],
)
def test_wrong_values(option: int | str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        definition(option).codec.encode(value)
    assert not isinstance(caught.value, DecodeError | UnicodeError)


# ── any octets, any value ──

KNOWN = st.sampled_from([*OPTIONS.values(), definition(224)])
# Half of the time of octets that often mean something: short lengths, flags, pointers.
OCTETS = st.binary(max_size=64) | st.lists(st.sampled_from(b"\0\1\2\3\4\5\x08\x20a.\xc0\xff"), max_size=40).map(bytes)
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.text("0123456789./:, via", max_size=20)
    | st.binary(max_size=20)
    | st.ip_addresses()
    | st.builds(object)
    | st.sampled_from([10**100, ..., int, IPv4Network("10.0.0.0/8"), MessageType.ACK, "routers", "\ud800"])
)
ANYTHING = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.builds(bytearray, st.binary(max_size=5))
        | st.builds(Route, inner, inner)
        | st.builds(ClientFqdn, inner, inner, inner, inner)
        | st.iterables(inner)
    ),
    max_leaves=8,
)


@given(KNOWN, OCTETS)
@example(definition("client-fqdn"), b"\x05\0\0\1a\1b\0")
@example(definition("relay-agent-information"), b"\1\1a\1\1b")
@example(definition("domain-search"), b"\1a\0\1b\xc0\0")
def test_any_octets_decode_or_raise_and_what_decodes_encodes(known: OptionDefinition, octets: bytes) -> None:
    try:
        value = known.codec.decode(octets)
    except DecodeError:
        return
    assert known.codec.decode(known.codec.encode(value)) == value


@given(KNOWN, ANYTHING)
def test_any_value_encodes_or_raises_and_what_encodes_decodes(known: OptionDefinition, value: Any) -> None:
    try:
        octets = known.codec.encode(value)
    except ValueError:
        return
    known.codec.decode(octets)


@given(st.lists(st.lists(st.sampled_from(["a", "b", "example", "x" * 63]), min_size=1, max_size=3), min_size=1))
def test_any_domain_names_come_back(labels: list[list[str]]) -> None:
    names = [".".join(name) for name in labels]
    compressed = dnsnames.DOMAINS.encode(names)
    plain = dnsnames.DOMAINS_UNCOMPRESSED.encode(names)
    assert dnsnames.DOMAINS.decode(compressed) == dnsnames.DOMAINS.decode(plain) == names
    assert len(compressed) <= len(plain)


@given(st.binary(min_size=1))
def test_text_keeps_its_octets(octets: bytes) -> None:
    try:
        text = codecs.TEXT.decode(octets)
    except DecodeError:
        assert b"\0" in octets
    else:
        assert codecs.TEXT.encode(text) == octets.rstrip(b"\0")


# ── the table ──


def test_all_of_rfc_2132_is_known() -> None:
    assert set(range(1, 77)) <= OPTIONS.keys()


def test_the_table_is_in_order_and_no_name_means_two_options() -> None:
    assert list(OPTIONS) == sorted(OPTIONS)
    assert all(code == known.code for code, known in OPTIONS.items())
    names = [known.name for known in OPTIONS.values()]
    assert len({*names, *ALIASES}) == len(names) + len(ALIASES)
    assert all(name == name.lower() and "_" not in name and " " not in name for name in (*names, *ALIASES))
    assert set(ALIASES.values()) <= OPTIONS.keys()


@pytest.mark.parametrize(
    ("option", "code", "name"),
    [
        (3, 3, "routers"),
        ("routers", 3, "routers"),
        (" Domain_Name_Servers", 6, "domain-name-servers"),
        ("dhcp-lease-time", 51, "lease-time"),
        ("bootfile-name", 67, "boot-file-name"),
        ("rfc3442-classless-static-routes", 121, "classless-static-routes"),
        ("option-6rd", 212, "6rd"),
        ("3", 3, "routers"),
        ("option-3", 3, "routers"),
        ("224", 224, "option-224"),
        ("OPTION_224", 224, "option-224"),
        (224, 224, "option-224"),
        (254, 254, "option-254"),
    ],
)
def test_definition(option: int | str, code: int, name: str) -> None:
    known = definition(option)
    assert (known.code, known.name) == (code, name)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("routres", r"^no option is called 'routres'; did you mean 'routers'"),
        ("domain-name-server", "; did you mean 'domain-name-servers'"),
        ("quux!", "^no option is called 'quux!'$"),
        ("", "^no option is called ''$"),
        ("option-", "^no option is called 'option-'"),
        ("option-\u00b2", "^no option is called "),
        ("1000", "^no option is called '1000'"),
        (0, "^expected an option's name or a code in 1..254, given 0$"),
        (255, "given 255$"),
        (-1, "given -1$"),
        ("option-255", "given 'option-255'$"),
        ("0", "given '0'$"),
        (True, "given True$"),
        (None, "given None$"),
        (1.0, r"given 1\.0$"),
    ],
)
def test_no_such_option(option: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        definition(option)


# ── the options of a packet ──


def test_options_wrap_the_raw_dict_and_decode_on_access() -> None:
    raw = {53: b"\1", 12: b"pc", 3: A4 + b"\1"}
    options = Options(raw)
    assert options.raw is raw
    assert options[53] is options["message-type"] is MessageType.DISCOVER
    assert options["host_name"] == options.get("host-name") == options.get(12) == "pc"
    assert len(options) == 3
    assert list(options) == [53, 12, 3]  # as in the packet
    assert not options.changed
    with pytest.raises(
        DecodeError, match=r"^option 3 \(routers\): expected address list, found 5 octets: 0a:00:00:01:01$"
    ):
        options["routers"]
    with pytest.raises(DecodeError):
        options.get(3)


def test_what_is_absent_and_what_is_not_an_option() -> None:
    options = Options({12: b"pc"})
    for absent in ("routers", 3, 255, 1000):
        assert absent not in options
        with pytest.raises(KeyError):
            options[absent]
        with pytest.raises(KeyError):
            del options[absent]
        assert options.get(absent) is None
        assert options.get(absent, "none") == "none"
    assert {12, "host-name", "HOST_NAME", "12"} <= {
        key for key in (12, "host-name", "HOST_NAME", "12") if key in options
    }
    assert "host-nam" not in options
    assert None not in options
    assert [] not in options
    for wrong in (lambda: options["host-nam"], lambda: options.get("host-nam"), lambda: options.pop("host-nam")):
        with pytest.raises(ValueError, match="did you mean 'host-name'"):
            wrong()
    assert not options.changed


def test_setting_encodes() -> None:
    options = Options()
    options["routers"] = "10.0.0.1"
    assert options.raw == {3: A4}
    assert options.changed
    options.update({"lease-time": 60, 224: "01:02"})
    assert options.raw == {3: A4, 51: b"\0\0\0\x3c", 224: b"\1\2"}
    assert options.setdefault(51, 61) == 60


def test_bytes_are_stored_as_they_are() -> None:
    options = Options()
    options["routers"] = b"\1\2\3"
    options["client-identifier"] = b"\1"
    assert options.raw == {3: b"\1\2\3", 61: b"\1"}


def test_what_can_not_be_set_changes_nothing() -> None:
    options = Options()
    with pytest.raises(ValueError, match=r"^option 51 \(lease-time\): expected integer 0\.\.4294967295, given 'long'$"):
        options["lease-time"] = "long"
    with pytest.raises(ValueError, match=r"1\.\.254"):
        options[255] = b""
    assert not options.raw
    assert not options.changed


@pytest.mark.parametrize(
    "mutate",
    [
        lambda options: options.__setitem__("host-name", "pc"),
        lambda options: options.__delitem__("host-name"),
        lambda options: options.pop("host-name"),
        lambda options: options.popitem(),
        lambda options: options.clear(),
    ],
)
def test_any_mutation_is_seen(mutate: Any) -> None:
    options = Options({12: b"pc"})
    mutate(options)
    assert options.changed


def test_clear_needs_no_decoding() -> None:
    options = Options({3: b"\1", 12: b"pc"})
    options.clear()
    assert options.raw == {}


def test_names_and_repr_show_what_can_not_be_decoded_as_octets() -> None:
    options = Options({12: b"pc", 3: b"\1", 224: b"\2"})
    assert options.names() == {"host-name": "pc", "routers": b"\1", "option-224": b"\2"}
    assert repr(options) == r"Options(host-name='pc', routers=b'\x01', option-224=b'\x02')"
    assert repr(Options()) == "Options()"


def test_equal_are_options_of_equal_octets() -> None:
    assert Options({12: b"pc"}) == Options({12: b"pc"})
    assert Options({12: b"pc"}) != Options({12: b"pc\0"})
    assert Options({}) != {}
    with pytest.raises(TypeError):
        hash(Options())
