"""Every option of the registry: its code, its name, where it is defined, and a value of it, both ways.

Values are those of the RFCs' own examples where they have some.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp.constants import MessageType
from aiodhcp.definitions import ANY
from aiodhcp.errors import DecodeError
from aiodhcp.formats import (
    Authentication,
    Dnr,
    Isns,
    NetworkInterface,
    PortParameters,
    RdnssSelection,
    RelayAuthentication,
    Sixrd,
    SlpAgents,
    SlpScopes,
    Status,
    Uuid,
    VirtualSubnet,
)
from aiodhcp.locations import CivicLocation, Location
from aiodhcp.options import OPTIONS, ClientFqdn, Definitions, FqdnFlag, Route, SubOptions, definition
from aiodhcp.spaces import (
    CABLELABS,
    IPXE,
    MOS_ADDRESSES,
    MOS_NAMES,
    NWIP,
    RELAY_AGENT,
    SUBNET_ALLOCATION,
)

A = IPv4Address("192.0.2.1")
B = IPv4Address("192.0.2.2")
A4, B4 = A.packed, B.packed
DOMAIN = b"\7example\3com\0"
TWO_DOMAINS = b"\7example\3com\0\7example\3net\0"
GUID = bytes(range(16))
HOUR = b"\0\0\x0e\x10"
S6 = IPv6Address("2001:db8::1")


def inside(raw: dict[int, bytes], space: Definitions = ANY) -> SubOptions:
    return SubOptions(raw, space)


REGISTRY: list[tuple[int, str, str, Any, bytes]] = [
    (1, "subnet-mask", "RFC 2132", IPv4Address("255.255.255.0"), b"\xff\xff\xff\0"),
    (2, "time-offset", "RFC 2132", -3600, b"\xff\xff\xf1\xf0"),
    (3, "routers", "RFC 2132", [A, B], A4 + B4),
    (4, "time-servers", "RFC 2132", [A], A4),
    (5, "name-servers", "RFC 2132", [A], A4),
    (6, "domain-name-servers", "RFC 2132", [A], A4),
    (7, "log-servers", "RFC 2132", [A], A4),
    (8, "cookie-servers", "RFC 2132", [A], A4),
    (9, "lpr-servers", "RFC 2132", [A], A4),
    (10, "impress-servers", "RFC 2132", [A], A4),
    (11, "resource-location-servers", "RFC 2132", [A], A4),
    (12, "host-name", "RFC 2132", "pc", b"pc"),
    (13, "boot-size", "RFC 2132", 512, b"\2\0"),
    (14, "merit-dump", "RFC 2132", "/core", b"/core"),
    (15, "domain-name", "RFC 2132", "example.com", b"example.com"),
    (16, "swap-server", "RFC 2132", A, A4),
    (17, "root-path", "RFC 2132", "/nfs", b"/nfs"),
    (18, "extensions-path", "RFC 2132", "/ext", b"/ext"),
    (19, "ip-forwarding", "RFC 2132", True, b"\1"),
    (20, "non-local-source-routing", "RFC 2132", False, b"\0"),
    (21, "policy-filter", "RFC 2132", [(A, B)], A4 + B4),
    (22, "max-dgram-reassembly", "RFC 2132", 576, b"\2\x40"),
    (23, "default-ip-ttl", "RFC 2132", 64, b"\x40"),
    (24, "path-mtu-aging-timeout", "RFC 2132", 3600, HOUR),
    (25, "path-mtu-plateau-table", "RFC 2132", [68, 576], b"\0\x44\2\x40"),
    (26, "interface-mtu", "RFC 2132", 1500, b"\5\xdc"),
    (27, "all-subnets-local", "RFC 2132", True, b"\1"),
    (28, "broadcast-address", "RFC 2132", A, A4),
    (29, "perform-mask-discovery", "RFC 2132", True, b"\1"),
    (30, "mask-supplier", "RFC 2132", True, b"\1"),
    (31, "router-discovery", "RFC 2132", True, b"\1"),
    (32, "router-solicitation-address", "RFC 2132", A, A4),
    (33, "static-routes", "RFC 2132", [(A, B)], A4 + B4),
    (34, "trailer-encapsulation", "RFC 2132", True, b"\1"),
    (35, "arp-cache-timeout", "RFC 2132", 3600, HOUR),
    (36, "ieee802-3-encapsulation", "RFC 2132", True, b"\1"),
    (37, "default-tcp-ttl", "RFC 2132", 1, b"\1"),
    (38, "tcp-keepalive-interval", "RFC 2132", 3600, HOUR),
    (39, "tcp-keepalive-garbage", "RFC 2132", True, b"\1"),
    (40, "nis-domain", "RFC 2132", "nis", b"nis"),
    (41, "nis-servers", "RFC 2132", [A], A4),
    (42, "ntp-servers", "RFC 2132", [A], A4),
    (43, "vendor-encapsulated-options", "RFC 2132", b"\1\4\0\0\0\2", b"\1\4\0\0\0\2"),
    (44, "netbios-name-servers", "RFC 2132", [A], A4),
    (45, "netbios-dd-server", "RFC 2132", [A], A4),
    (46, "netbios-node-type", "RFC 2132", 8, b"\x08"),
    (47, "netbios-scope", "RFC 2132", "scope", b"scope"),
    (48, "font-servers", "RFC 2132", [A], A4),
    (49, "x-display-managers", "RFC 2132", [A], A4),
    (50, "requested-address", "RFC 2132", A, A4),
    (51, "lease-time", "RFC 2132", 3600, HOUR),
    (52, "option-overload", "RFC 2132", 3, b"\3"),
    (53, "message-type", "RFC 2132", MessageType.INFORM, b"\x08"),
    (54, "server-identifier", "RFC 2132", A, A4),
    (55, "parameter-request-list", "RFC 2132", [1, 3, 6], b"\1\3\6"),
    (56, "message", "RFC 2132", "no", b"no"),
    (57, "maximum-message-size", "RFC 2132", 576, b"\2\x40"),
    (58, "renewal-time", "RFC 2132", 3600, HOUR),
    (59, "rebinding-time", "RFC 2132", 3600, HOUR),
    (60, "vendor-class-identifier", "RFC 2132", "PXEClient", b"PXEClient"),
    (61, "client-identifier", "RFC 2132", b"\1\2\0\0\0\0\1", b"\1\2\0\0\0\0\1"),
    (62, "nwip-domain", "RFC 2242", "nw", b"nw"),
    (63, "nwip-suboptions", "RFC 2242", inside({2: b"", 8: b"\3"}, NWIP), b"\2\0\x08\1\3"),
    (64, "nisplus-domain", "RFC 2132", "nis", b"nis"),
    (65, "nisplus-servers", "RFC 2132", [A], A4),
    (66, "tftp-server-name", "RFC 2132", "tftp", b"tftp"),
    (67, "boot-file-name", "RFC 2132", "boot", b"boot"),
    (68, "mobile-ip-home-agent", "RFC 2132", [], b""),
    (69, "smtp-server", "RFC 2132", [A], A4),
    (70, "pop-server", "RFC 2132", [A], A4),
    (71, "nntp-server", "RFC 2132", [A], A4),
    (72, "www-server", "RFC 2132", [A], A4),
    (73, "finger-server", "RFC 2132", [A], A4),
    (74, "irc-server", "RFC 2132", [A], A4),
    (75, "streettalk-server", "RFC 2132", [A], A4),
    (76, "streettalk-directory-assistance-server", "RFC 2132", [A], A4),
    (77, "user-class", "RFC 3004", [b"kiosk", b"lab"], b"\5kiosk\3lab"),
    (78, "slp-directory-agent", "RFC 2610", SlpAgents(True, [A]), b"\1" + A4),
    (79, "slp-service-scope", "RFC 2610", SlpScopes(False, "A,B"), b"\0A,B"),
    (80, "rapid-commit", "RFC 4039", True, b""),
    (81, "client-fqdn", "RFC 4702", ClientFqdn(FqdnFlag(5), 0, 0, "example.com."), b"\5\0\0" + DOMAIN),
    (82, "relay-agent-information", "RFC 3046", inside({1: b"eth0", 5: A4}, RELAY_AGENT), b"\1\4eth0\5\4" + A4),
    (83, "isns", "RFC 4174", Isns(1, 2, 3, 4, [A]), b"\0\1\0\2\0\3\0\0\0\4" + A4),
    (85, "nds-servers", "RFC 2241", [A], A4),
    (86, "nds-tree-name", "RFC 2241", "tree", b"tree"),
    (87, "nds-context", "RFC 2241", "ctx", b"ctx"),
    (88, "bcmcs-controller-names", "RFC 4280", ["example.com", "example.net"], TWO_DOMAINS),
    (89, "bcmcs-controller-addresses", "RFC 4280", [A], A4),
    (90, "authentication", "RFC 3118", Authentication(1, 1, 0, GUID[:8], b"mac"), b"\1\1\0" + GUID[:8] + b"mac"),
    (91, "client-last-transaction-time", "RFC 4388", 3600, HOUR),
    (92, "associated-ip", "RFC 4388", [A, B], A4 + B4),
    (93, "client-system-architecture", "RFC 4578", [7], b"\0\7"),
    (94, "client-ndi", "RFC 4578", NetworkInterface(1, 3, 16), b"\1\3\x10"),
    (95, "ldap", "RFC 3679", "ldap://a", b"ldap://a"),
    (97, "client-uuid", "RFC 4578", Uuid(0, GUID), b"\0" + GUID),
    (98, "user-auth", "RFC 2485", "http://a", b"http://a"),
    (99, "geoconf-civic", "RFC 4776", CivicLocation(2, "DE", [(1, "Bayern")]), b"\2DE\1\6Bayern"),
    (100, "posix-timezone", "RFC 4833", "EST5EDT4,M3.2.0/02:00,M11.1.0/02:00", b"EST5EDT4,M3.2.0/02:00,M11.1.0/02:00"),
    (101, "tzdb-timezone", "RFC 4833", "Europe/Zurich", b"Europe/Zurich"),
    (108, "v6-only-preferred", "RFC 8925", 3600, HOUR),
    (109, "dhcp4o6-source-address", "RFC 8539", S6, S6.packed),
    (112, "netinfo-server-address", "RFC 3679", [A], A4),
    (113, "netinfo-server-tag", "RFC 3679", "tag", b"tag"),
    (114, "captive-portal", "RFC 8910", "https://p/", b"https://p/"),
    (116, "auto-config", "RFC 2563", 0, b"\0"),
    (117, "name-service-search", "RFC 2937", [6, 41], b"\0\6\0\x29"),
    (118, "subnet-selection", "RFC 3011", A, A4),
    (
        119,
        "domain-search",
        "RFC 3397",
        ["eng.apple.com", "marketing.apple.com"],
        b"\3eng\5apple\3com\0\x09marketing\xc0\x04",
    ),
    (120, "sip-servers", "RFC 3361", ["example.com", "example.net"], b"\0" + TWO_DOMAINS),
    (121, "classless-static-routes", "RFC 3442", [Route(IPv4Network("10.17.0.0/16"), A)], b"\x10\x0a\x11" + A4),
    (
        122,
        "cablelabs-client-configuration",
        "RFC 3495",
        inside({1: A4, 8: b"\1"}, CABLELABS),
        b"\1\4" + A4 + b"\x08\1\1",
    ),
    (
        123,
        "geoconf",
        "RFC 6225",
        Location(18, 38.5, 18, -77.25, 1, 9, 15.5, 1),
        bytes.fromhex("484d0000004b658000001240000f8001"),
    ),
    (124, "vendor-class", "RFC 3925", {4491: [b"docsis", b"x"]}, b"\0\0\x11\x8b\x09\6docsis\1x"),
    (125, "vendor-options", "RFC 3925", {4491: inside({2: A4})}, b"\0\0\x11\x8b\6\2\4" + A4),
    *((code, f"pxe-vendor-{code}", "RFC 4578", b"\1", b"\1") for code in range(128, 136)),
    (136, "pana-agent", "RFC 5192", [A], A4),
    (137, "lost-server", "RFC 5223", "example.com", DOMAIN),
    (138, "capwap-ac", "RFC 5417", [A], A4),
    (139, "mos-addresses", "RFC 5678", inside({1: A4}, MOS_ADDRESSES), b"\1\4" + A4),
    (140, "mos-names", "RFC 5678", inside({3: DOMAIN}, MOS_NAMES), b"\3\x0d" + DOMAIN),
    (141, "sip-ua-cs-domains", "RFC 6011", ["example.com"], DOMAIN),
    (142, "andsf-addresses", "RFC 6153", [A], A4),
    (143, "sztp-redirect", "RFC 8572", ["https://a", "https://b:1"], b"\0\x09https://a\0\x0bhttps://b:1"),
    (
        144,
        "geoloc",
        "RFC 6225",
        Location(0, 0.0, 0, 0.0, 0, 0, -0.00390625, 0x41),
        bytes(11) + b"\x3f\xff\xff\xff\x41",
    ),
    (145, "forcerenew-nonce-capable", "RFC 6704", [1], b"\1"),
    (146, "rdnss-selection", "RFC 6731", RdnssSelection(1, A, B, ["example.com"]), b"\1" + A4 + B4 + DOMAIN),
    (147, "dots-agent-name", "RFC 8973", "example.com", DOMAIN),
    (148, "dots-agent-addresses", "RFC 8973", [A], A4),
    (150, "tftp-server-address", "RFC 5859", [A, B], A4 + B4),
    (151, "status-code", "RFC 6926", Status(1, "no"), b"\1no"),
    (152, "base-time", "RFC 6926", 3600, HOUR),
    (153, "start-time-of-state", "RFC 6926", 3600, HOUR),
    (154, "query-start-time", "RFC 6926", 3600, HOUR),
    (155, "query-end-time", "RFC 6926", 3600, HOUR),
    (156, "dhcp-state", "RFC 6926", 2, b"\2"),
    (157, "data-source", "RFC 6926", 1, b"\1"),
    (158, "pcp-servers", "RFC 7291", [[A], [B, A]], b"\4" + A4 + b"\x08" + B4 + A4),
    (159, "port-params", "RFC 7618", PortParameters(4, 8, 0x3400), b"\4\x08\x34\0"),
    (161, "mud-url", "RFC 8520", "https://m/", b"https://m/"),
    (
        162,
        "dnr",
        "RFC 9463",
        [Dnr(1, "example.com", [A], b"\0\1\0\3\2h2"), Dnr(2, "example.com", [])],
        b"\0\x1c\0\1\x0d" + DOMAIN + b"\4" + A4 + b"\0\1\0\3\2h2" + b"\0\x10\0\2\x0d" + DOMAIN,
    ),
    (175, "etherboot", "tentatively assigned", inside({1: b"\xff", 176: b"\1"}, IPXE), b"\1\1\xff\xb0\1\1"),
    (176, "ip-telephone", "tentatively assigned", "MCIPADD=192.0.2.1", b"MCIPADD=192.0.2.1"),
    (177, "etherboot-177", "tentatively assigned", b"\1", b"\1"),
    (208, "pxelinux-magic", "RFC 5071", b"\xf1\0\x74\x7e", b"\xf1\0\x74\x7e"),
    (209, "pxelinux-configfile", "RFC 5071", "pxe.conf", b"pxe.conf"),
    (210, "pxelinux-pathprefix", "RFC 5071", "/tftpboot/", b"/tftpboot/"),
    (211, "pxelinux-reboottime", "RFC 5071", 1800, b"\0\0\7\x08"),
    (
        212,
        "6rd",
        "RFC 5969",
        Sixrd(8, 32, IPv6Address("2001:db8::"), [A]),
        b"\x08\x20" + IPv6Address("2001:db8::").packed + A4,
    ),
    (213, "access-network-domain", "RFC 5986", "example.com", DOMAIN),
    (220, "subnet-allocation", "RFC 6656", (0, inside({4: HOUR}, SUBNET_ALLOCATION)), b"\0\4\4" + HOUR),
    (221, "virtual-subnet-selection", "RFC 6607", VirtualSubnet(0, b"blue"), b"\0blue"),
    (249, "ms-classless-static-routes", "[MS-DHCPE]", [Route(IPv4Network("10.0.0.0/8"), A)], b"\x08\x0a" + A4),
    (252, "wpad-url", "draft-ietf-wrec-wpad-01", "http://wpad/wpad.dat", b"http://wpad/wpad.dat"),
]


def test_every_option_is_in_the_list_above() -> None:
    assert [row[0] for row in REGISTRY] == list(OPTIONS)


@pytest.mark.parametrize(("code", "name", "source", "value", "wire"), REGISTRY, ids=[str(row[0]) for row in REGISTRY])
def test_an_option_both_ways(code: int, name: str, source: str, value: Any, wire: bytes) -> None:
    known = definition(code)
    assert (known.name, known.source.partition(" §")[0]) == (name, source)
    assert known.codec.encode(value) == wire
    decoded = known.codec.decode(wire)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize("code", [84, 96, *range(102, 108), 110, 111, 115, 126, 127, 149, 160, *range(163, 175)])
def test_what_the_registry_took_back_or_never_gave_is_octets(code: int) -> None:
    assert definition(code).name == f"option-{code}"
    assert definition(code).codec.decode(b"\1\2") == b"\1\2"


RELAY_SUB_OPTIONS: list[tuple[int, str, Any, bytes]] = [
    (1, "circuit-id", b"eth0", b"eth0"),
    (2, "remote-id", b"\0\7", b"\0\7"),
    (4, "docsis-device-class", 1, b"\0\0\0\1"),
    (5, "link-selection", A, A4),
    (6, "subscriber-id", "joe", b"joe"),
    (7, "radius-attributes", b"\1\4ab", b"\1\4ab"),
    (
        8,
        "authentication",
        RelayAuthentication(1, 1, GUID[:8], A, b"mac"),
        b"\1\1" + GUID[:8] + A4 + b"mac",
    ),
    (9, "vendor-specific", {9: b"x"}, b"\0\0\0\x09\1x"),
    (10, "relay-flags", 0x80, b"\x80"),
    (11, "server-id-override", A, A4),
    (12, "relay-id", b"\0\1relay", b"\0\1relay"),
    (13, "access-technology-type", 4, b"\0\4"),
    (14, "access-network-name", "ssid", b"ssid"),
    (15, "access-point-name", "ap", b"ap"),
    (16, "access-point-bssid", b"\2\0\0\0\0\1", b"\2\0\0\0\0\1"),
    (17, "operator-id", 9, b"\0\0\0\x09"),
    (18, "operator-realm", "example.com", b"example.com"),
    (19, "source-port", True, b""),
    (151, "virtual-subnet-selection", VirtualSubnet(255, b""), b"\xff"),
    (152, "virtual-subnet-selection-control", True, b""),
]


def test_every_sub_option_of_a_relay_agent_is_in_the_list_above() -> None:
    assert [row[:2] for row in RELAY_SUB_OPTIONS] == [(each.code, each.name) for each in RELAY_AGENT.by_code.values()]


@pytest.mark.parametrize(
    ("code", "name", "value", "wire"), RELAY_SUB_OPTIONS, ids=[row[1] for row in RELAY_SUB_OPTIONS]
)
def test_a_sub_option_of_a_relay_agent(code: int, name: str, value: Any, wire: bytes) -> None:
    codec = definition("relay-agent-information").codec
    octets = bytes((code, len(wire))) + wire
    assert codec.encode({name: value}) == codec.encode({code: wire}) == octets
    said = codec.decode(octets)
    assert said[name] == said[code] == said.get(name) == value
    assert list(said) == [code]
    assert said.raw == {code: wire}


SPACES = [ANY, CABLELABS, IPXE, MOS_ADDRESSES, MOS_NAMES, NWIP, RELAY_AGENT, SUBNET_ALLOCATION]
INSIDE = st.sampled_from([each for space in SPACES for each in space.by_code.values()])


@given(INSIDE, st.binary(max_size=40))
def test_any_octets_of_a_sub_option_decode_or_raise_and_what_decodes_encodes(known: Any, octets: bytes) -> None:
    try:
        value = known.codec.decode(octets)
    except DecodeError:
        return
    assert known.codec.decode(known.codec.encode(value)) == value


@given(st.sampled_from(REGISTRY), st.integers(0, 60), st.binary(max_size=3), st.integers(0, 3))
def test_octets_that_went_wrong_decode_or_raise_and_what_decodes_encodes(
    row: tuple[int, str, str, Any, bytes], at: int, other: bytes, lost: int
) -> None:
    codec, octets = definition(row[0]).codec, row[4][:at] + other + row[4][at + lost :]
    try:
        value = codec.decode(octets)
    except DecodeError:
        return
    assert codec.decode(codec.encode(value)) == value


# ── sub-options as a mapping ──


def test_sub_options_are_read_by_name_or_code() -> None:
    said = definition(82).codec.decode(b"\1\4eth0\5\3abc\xc8\1x")
    assert said["circuit_id"] == said[1] == b"eth0"
    assert said["option-200"] == said[200] == b"x"
    assert len(said) == 3
    assert {1, "circuit-id", "link-selection", 200} <= {
        each for each in (1, "circuit-id", "link-selection", 200) if each in said
    }
    assert [each for each in (2, "remote-id", "nonsense", None) if each in said] == []
    assert (said.get("remote-id"), said.get(2, "none")) == (None, "none")
    with pytest.raises(KeyError):
        said["remote-id"]
    with pytest.raises(ValueError, match="did you mean 'circuit-id'"):
        said["circuit"]
    with pytest.raises(DecodeError, match=r"^option 5 \(link-selection\): expected address, found 3 octets"):
        said["link-selection"]
    assert said.names() == {"circuit-id": b"eth0", "link-selection": b"abc", "option-200": b"x"}
    assert repr(said) == "{'circuit-id': b'eth0', 'link-selection': b'abc', 'option-200': b'x'}"
    assert definition(82).codec.encode(said) == b"\1\4eth0\5\3abc\xc8\1x"
    assert said != {1: b"eth0"}
    with pytest.raises(TypeError):
        hash(said)


def test_octets_may_be_any_kind_of_bytes() -> None:
    assert definition(82).codec.encode({1: bytearray(b"a"), 5: memoryview(A4)}) == b"\1\1a\5\4" + A4
    assert definition(125).codec.encode({9: bytearray(b"a")}) == b"\0\0\0\x09\1a"


def test_pad_and_end_among_the_options_of_a_vendor() -> None:
    """RFC 2132 §8.4: End is the end of the encapsulated options, whatever follows."""
    codec = definition("etherboot").codec
    assert codec.decode(b"\0\1\1\5\0\xff\1\1") == inside({1: b"\5"}, IPXE)
    with pytest.raises(DecodeError):
        codec.decode(b"\0\0\xff")


def test_sub_options_in_an_unreadable_form_of_a_vendor_stay_octets() -> None:
    assert definition(125).codec.decode(b"\0\0\0\x09\2\1\5") == {9: b"\1\5"}
    assert definition(124).codec.decode(b"\0\0\0\x09\3abc") == {9: b"abc"}


def test_what_an_enterprise_says_in_pieces() -> None:
    assert definition(124).codec.decode(b"\0\0\0\x09\2\3a\0\0\0\x09\2bc") == {9: [b"abc"]}
    wire = definition(124).codec.encode({9: [b"x" * 255]})
    assert wire == b"\0\0\0\x09\xff\xff" + b"x" * 254 + b"\0\0\0\x09\1x"


# ── as a configuration writes them ──


@pytest.mark.parametrize(
    ("option", "value", "wire"),
    [
        ("6rd", {"ipv4-mask-length": 0, "prefix-length": 32, "prefix": "2001:db8::", "border-relays": "192.0.2.1"},
         b"\0\x20" + IPv6Address("2001:db8::").packed + A4),
        ("client-ndi", [1, 2, 1], b"\1\2\1"),
        ("slp-directory-agent", {"mandatory": False, "addresses": []}, b"\0"),
        ("sip-servers", "192.0.2.1, 192.0.2.2", b"\1" + A4 + B4),
        ("sip-servers", "example.com", b"\0" + DOMAIN),
        ("rdnss-selection", [0, A, B, []], b"\0" + A4 + B4),
        ("pcp-servers", "192.0.2.1", b"\4" + A4),
        ("pcp-servers", [["192.0.2.1", "192.0.2.2"]], b"\x08" + A4 + B4),
        ("dnr", [{"priority": 1, "name": "example.com"}], b"\0\x10\0\1\x0d" + DOMAIN),
        ("dnr", Dnr(1, "example.com"), b"\0\x10\0\1\x0d" + DOMAIN),
        ("geoconf-civic", {"what": 2, "country": "DE", "elements": [[1, "By"]]}, b"\2DE\1\2By"),
        ("sztp-redirect", "https://a", b"\0\x09https://a"),
        ("vendor-options", {"9": {"1": "01:02"}}, b"\0\0\0\x09\4\1\2\1\2"),
        ("vendor-class", {"9": ["01:02"]}, b"\0\0\0\x09\3\2\1\2"),
        ("etherboot", {"priority": -1, "keep-san": 1}, b"\1\1\xff\x08\1\1"),
        ("dhcp4o6-source-address", " 2001:db8::1 ", S6.packed),
    ],
)  # fmt: skip
def test_other_ways_to_say_it(option: str, value: Any, wire: bytes) -> None:
    assert definition(option).codec.encode(value) == wire


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("6rd", {"prefix": "2001:db8::"}, "expected ipv4-mask-length, prefix-length, prefix, border-relays, given"),
        ("6rd", {"prefix": 1, 2: 3}, "expected ipv4-mask-length, "),
        ("6rd", [33, 32, "2001:db8::", A], r"expected integer 0\.\.32, given 33"),
        ("client-ndi", [1, 2], "expected type, major, minor, given"),
        ("client-ndi", "123", "expected type, major, minor, given"),
        ("dhcp4o6-source-address", "192.0.2.1", "expected IPv6 address, given"),
        ("dhcp4o6-source-address", "fe80::1%eth0", "expected IPv6 address, given"),
        ("dhcp4o6-source-address", IPv6Address("fe80::1%eth0"), "expected IPv6 address, given"),
        ("authentication", [1, 1, 0, b"1234567", b""], "expected 8 octets, given"),
        ("sztp-redirect", [], "expected list of URIs, given"),
        ("sztp-redirect", ["x" * 65536], "expected list of URIs, each of fewer than 65536 octets"),
        ("geoconf-civic", [0, "D", []], "expected country of two letters, given 'D'"),
        ("geoconf-civic", [0, "DE", "x"], "expected list of pairs of a type and a text, given 'x'"),
        ("geoconf-civic", [0, "DE", [1]], "expected pair of a type and a text, given 1"),
        ("geoconf-civic", [0, "DE", [[1, "x" * 256]]], "expected text of at most 255 octets"),
        ("geoloc", [0, 256.0, 0, 0, 0, 0, 0, 0], "expected latitude from -256 to 256, given 256"),
        ("geoloc", [0, "x", 0, 0, 0, 0, 0, 0], "expected number for latitude, given 'x'"),
        ("geoloc", [1.5, 0, 0, 0, 0, 0, 0, 0], r"expected number for latitude-uncertainty, given 1\.5"),
        ("geoloc", [0, 0, 0, 0, 0, 64, 0, 0], "expected altitude-uncertainty from 0 to 63, given 64"),
        ("dnr", [{"priority": 1, "name": "a", "parameters": "01"}], "expected 1 to 63 addresses, given"),
        ("vendor-options", {}, "expected table of enterprise numbers and their options, given"),
        ("vendor-options", {2**32: b""}, r"expected integer 0\.\.4294967295"),
    ],
)
def test_what_can_not_be_said(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        definition(option).codec.encode(value)
    assert not isinstance(caught.value, DecodeError)


@pytest.mark.parametrize(
    ("option", "wire"),
    [
        ("6rd", b"\x08\x20" + bytes(16)),
        ("6rd", b"\x08"),
        ("authentication", bytes(10)),
        ("sip-servers", b""),
        ("sip-servers", b"\2" + A4),
        ("sip-servers", b"\1"),
        ("isns", bytes(10)),
        ("dhcp4o6-source-address", bytes(15)),
        ("pcp-servers", b""),
        ("pcp-servers", b"\0"),
        ("pcp-servers", b"\5" + A4),
        ("sztp-redirect", b"\0"),
        ("sztp-redirect", b"\0\0"),
        ("geoconf-civic", b"\0D"),
        ("geoconf-civic", b"\0\xff\xff"),
        ("geoconf-civic", b"\0DE\1"),
        ("geoconf-civic", b"\0DE\1\2a"),
        ("geoloc", bytes(15)),
        ("dnr", b"\0\1\0"),
        ("dnr", b"\0\3\0\1\x0d"),
        ("dnr", b"\0\x11\0\1\x0d" + DOMAIN + b"\4"),
        ("vendor-options", b""),
        ("vendor-options", b"\0\0\0\x09\2\1"),
        ("client-uuid", b"\0"),
        ("port-params", b"\4\x11\0\0"),
        ("rapid-commit", b"\0"),
    ],
)
def test_what_can_not_be_read(option: str, wire: bytes) -> None:
    with pytest.raises(DecodeError):
        definition(option).codec.decode(wire)
