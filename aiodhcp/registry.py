"""One table: option code → name, codec, source (RFC 2132 and later, IANA registry).

It knows what an option's octets mean, and neither where in a packet they were nor what a server does with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from aiodhcp.codecs import (
    ADDRESS,
    ADDRESS6,
    ADDRESS_PAIRS,
    ADDRESSES,
    ADDRESSES_OR_NONE,
    BOOLEAN,
    FLAG,
    MESSAGE_TYPE,
    OPAQUE,
    S32,
    TEXT,
    U8,
    U8_LIST,
    U16,
    U16_LIST,
    U32,
    Codec,
    integer,
    list_of,
    opaque,
)
from aiodhcp.definitions import Definitions, OptionDefinition, sub_options, vendor_options
from aiodhcp.dnsnames import CLIENT_FQDN, DOMAIN, DOMAINS, DOMAINS_UNCOMPRESSED
from aiodhcp.formats import (
    AUTHENTICATION,
    DNR,
    ISNS,
    NETWORK_INTERFACE,
    PCP_SERVERS,
    PORT_PARAMETERS,
    RDNSS_SELECTION,
    ROUTES,
    SIP_SERVERS,
    SIXRD,
    SLP_AGENTS,
    SLP_SCOPES,
    STATUS,
    USER_CLASS,
    UUID,
    VENDOR_CLASSES,
    VIRTUAL_SUBNET,
    ZTP_SERVERS,
)
from aiodhcp.locations import CIVIC_LOCATION, LOCATION
from aiodhcp.records import record
from aiodhcp.spaces import CABLELABS, IPXE, MOS_ADDRESSES, MOS_NAMES, NWIP, RELAY_AGENT, SUBNET_ALLOCATION

__all__ = ["ALIASES", "OPTIONS", "STANDARD_OPTIONS", "definition"]


def _encode_requested(value: Any) -> bytes:
    return U8.encode(definition(value).code if isinstance(value, str) else value)


_REQUESTED = list_of("list of option codes or names", Codec("option code or name", U8.decode, _encode_requested), 1)

_SUBNET_ALLOCATION = record("flags and sub-options", (U8, sub_options(SUBNET_ALLOCATION, least=0)))

_TABLE: tuple[tuple[int, str, Codec, str], ...] = (
    (1, "subnet-mask", ADDRESS, "RFC 2132 §3"),
    (2, "time-offset", S32, "RFC 2132 §3"),
    (3, "routers", ADDRESSES, "RFC 2132 §3"),
    (4, "time-servers", ADDRESSES, "RFC 2132 §3"),
    (5, "name-servers", ADDRESSES, "RFC 2132 §3"),
    (6, "domain-name-servers", ADDRESSES, "RFC 2132 §3"),
    (7, "log-servers", ADDRESSES, "RFC 2132 §3"),
    (8, "cookie-servers", ADDRESSES, "RFC 2132 §3"),
    (9, "lpr-servers", ADDRESSES, "RFC 2132 §3"),
    (10, "impress-servers", ADDRESSES, "RFC 2132 §3"),
    (11, "resource-location-servers", ADDRESSES, "RFC 2132 §3"),
    (12, "host-name", TEXT, "RFC 2132 §3"),
    (13, "boot-size", U16, "RFC 2132 §3"),
    (14, "merit-dump", TEXT, "RFC 2132 §3"),
    (15, "domain-name", TEXT, "RFC 2132 §3"),
    (16, "swap-server", ADDRESS, "RFC 2132 §3"),
    (17, "root-path", TEXT, "RFC 2132 §3"),
    (18, "extensions-path", TEXT, "RFC 2132 §3"),
    (19, "ip-forwarding", BOOLEAN, "RFC 2132 §4"),
    (20, "non-local-source-routing", BOOLEAN, "RFC 2132 §4"),
    (21, "policy-filter", ADDRESS_PAIRS, "RFC 2132 §4"),
    (22, "max-dgram-reassembly", integer(2, 576), "RFC 2132 §4"),
    (23, "default-ip-ttl", integer(1, 1), "RFC 2132 §4"),
    (24, "path-mtu-aging-timeout", U32, "RFC 2132 §4"),
    (25, "path-mtu-plateau-table", list_of("list of integers 68..65535", integer(2, 68), 2), "RFC 2132 §4"),
    (26, "interface-mtu", integer(2, 68), "RFC 2132 §5"),
    (27, "all-subnets-local", BOOLEAN, "RFC 2132 §5"),
    (28, "broadcast-address", ADDRESS, "RFC 2132 §5"),
    (29, "perform-mask-discovery", BOOLEAN, "RFC 2132 §5"),
    (30, "mask-supplier", BOOLEAN, "RFC 2132 §5"),
    (31, "router-discovery", BOOLEAN, "RFC 2132 §5"),
    (32, "router-solicitation-address", ADDRESS, "RFC 2132 §5"),
    (33, "static-routes", ADDRESS_PAIRS, "RFC 2132 §5"),
    (34, "trailer-encapsulation", BOOLEAN, "RFC 2132 §6"),
    (35, "arp-cache-timeout", U32, "RFC 2132 §6"),
    (36, "ieee802-3-encapsulation", BOOLEAN, "RFC 2132 §6"),
    (37, "default-tcp-ttl", integer(1, 1), "RFC 2132 §7"),
    (38, "tcp-keepalive-interval", U32, "RFC 2132 §7"),
    (39, "tcp-keepalive-garbage", BOOLEAN, "RFC 2132 §7"),
    (40, "nis-domain", TEXT, "RFC 2132 §8"),
    (41, "nis-servers", ADDRESSES, "RFC 2132 §8"),
    (42, "ntp-servers", ADDRESSES, "RFC 2132 §8"),
    (43, "vendor-encapsulated-options", opaque(1), "RFC 2132 §8"),
    (44, "netbios-name-servers", ADDRESSES, "RFC 2132 §8"),
    (45, "netbios-dd-server", ADDRESSES, "RFC 2132 §8"),
    (46, "netbios-node-type", integer(1, 1, 8), "RFC 2132 §8"),
    (47, "netbios-scope", TEXT, "RFC 2132 §8"),
    (48, "font-servers", ADDRESSES, "RFC 2132 §8"),
    (49, "x-display-managers", ADDRESSES, "RFC 2132 §8"),
    (50, "requested-address", ADDRESS, "RFC 2132 §9"),
    (51, "lease-time", U32, "RFC 2132 §9"),
    (52, "option-overload", integer(1, 1, 3), "RFC 2132 §9"),
    (53, "message-type", MESSAGE_TYPE, "RFC 2132 §9"),
    (54, "server-identifier", ADDRESS, "RFC 2132 §9"),
    (55, "parameter-request-list", _REQUESTED, "RFC 2132 §9"),
    (56, "message", TEXT, "RFC 2132 §9"),
    (
        57,
        "maximum-message-size",
        U16,
        "RFC 2132 §9",
    ),  # also less than 576, which is not legal
    (58, "renewal-time", U32, "RFC 2132 §9"),
    (59, "rebinding-time", U32, "RFC 2132 §9"),
    (60, "vendor-class-identifier", TEXT, "RFC 2132 §9"),
    (61, "client-identifier", opaque(2), "RFC 2132 §9"),
    (62, "nwip-domain", TEXT, "RFC 2242"),
    (63, "nwip-suboptions", sub_options(NWIP, "NetWare/IP sub-options"), "RFC 2242"),
    (64, "nisplus-domain", TEXT, "RFC 2132 §8"),
    (65, "nisplus-servers", ADDRESSES, "RFC 2132 §8"),
    (66, "tftp-server-name", TEXT, "RFC 2132 §9"),
    (67, "boot-file-name", TEXT, "RFC 2132 §9"),
    (68, "mobile-ip-home-agent", ADDRESSES_OR_NONE, "RFC 2132 §8"),
    (69, "smtp-server", ADDRESSES, "RFC 2132 §8"),
    (70, "pop-server", ADDRESSES, "RFC 2132 §8"),
    (71, "nntp-server", ADDRESSES, "RFC 2132 §8"),
    (72, "www-server", ADDRESSES, "RFC 2132 §8"),
    (73, "finger-server", ADDRESSES, "RFC 2132 §8"),
    (74, "irc-server", ADDRESSES, "RFC 2132 §8"),
    (75, "streettalk-server", ADDRESSES, "RFC 2132 §8"),
    (76, "streettalk-directory-assistance-server", ADDRESSES, "RFC 2132 §8"),
    (77, "user-class", USER_CLASS, "RFC 3004"),
    (78, "slp-directory-agent", SLP_AGENTS, "RFC 2610"),
    (79, "slp-service-scope", SLP_SCOPES, "RFC 2610"),
    (80, "rapid-commit", FLAG, "RFC 4039"),
    (81, "client-fqdn", CLIENT_FQDN, "RFC 4702"),
    (82, "relay-agent-information", sub_options(RELAY_AGENT), "RFC 3046"),
    (83, "isns", ISNS, "RFC 4174"),
    (85, "nds-servers", ADDRESSES, "RFC 2241"),
    (86, "nds-tree-name", TEXT, "RFC 2241"),
    (87, "nds-context", TEXT, "RFC 2241"),
    (88, "bcmcs-controller-names", DOMAINS_UNCOMPRESSED, "RFC 4280"),
    (89, "bcmcs-controller-addresses", ADDRESSES, "RFC 4280"),
    (90, "authentication", AUTHENTICATION, "RFC 3118"),
    (91, "client-last-transaction-time", U32, "RFC 4388"),
    (92, "associated-ip", ADDRESSES, "RFC 4388"),
    (93, "client-system-architecture", U16_LIST, "RFC 4578"),
    (94, "client-ndi", NETWORK_INTERFACE, "RFC 4578"),
    (95, "ldap", TEXT, "RFC 3679"),
    (97, "client-uuid", UUID, "RFC 4578"),
    (98, "user-auth", TEXT, "RFC 2485"),
    (99, "geoconf-civic", CIVIC_LOCATION, "RFC 4776"),
    (100, "posix-timezone", TEXT, "RFC 4833"),
    (101, "tzdb-timezone", TEXT, "RFC 4833"),
    (108, "v6-only-preferred", U32, "RFC 8925"),
    (109, "dhcp4o6-source-address", ADDRESS6, "RFC 8539"),
    (112, "netinfo-server-address", ADDRESSES, "RFC 3679"),
    (113, "netinfo-server-tag", TEXT, "RFC 3679"),
    (114, "captive-portal", TEXT, "RFC 8910"),
    (116, "auto-config", integer(1, 0, 1), "RFC 2563"),
    (117, "name-service-search", U16_LIST, "RFC 2937"),
    (118, "subnet-selection", ADDRESS, "RFC 3011"),
    (119, "domain-search", DOMAINS, "RFC 3397"),
    (120, "sip-servers", SIP_SERVERS, "RFC 3361"),
    (121, "classless-static-routes", ROUTES, "RFC 3442"),
    (122, "cablelabs-client-configuration", sub_options(CABLELABS), "RFC 3495"),
    (123, "geoconf", LOCATION, "RFC 6225"),
    (124, "vendor-class", VENDOR_CLASSES, "RFC 3925"),
    (125, "vendor-options", vendor_options(), "RFC 3925"),
    (128, "pxe-vendor-128", OPAQUE, "RFC 4578"),
    (129, "pxe-vendor-129", OPAQUE, "RFC 4578"),
    (130, "pxe-vendor-130", OPAQUE, "RFC 4578"),
    (131, "pxe-vendor-131", OPAQUE, "RFC 4578"),
    (132, "pxe-vendor-132", OPAQUE, "RFC 4578"),
    (133, "pxe-vendor-133", OPAQUE, "RFC 4578"),
    (134, "pxe-vendor-134", OPAQUE, "RFC 4578"),
    (135, "pxe-vendor-135", OPAQUE, "RFC 4578"),
    (136, "pana-agent", ADDRESSES, "RFC 5192"),
    (137, "lost-server", DOMAIN, "RFC 5223"),
    (138, "capwap-ac", ADDRESSES, "RFC 5417"),
    (139, "mos-addresses", sub_options(MOS_ADDRESSES), "RFC 5678"),
    (140, "mos-names", sub_options(MOS_NAMES), "RFC 5678"),
    (141, "sip-ua-cs-domains", DOMAINS, "RFC 6011"),
    (142, "andsf-addresses", ADDRESSES, "RFC 6153"),
    (143, "sztp-redirect", ZTP_SERVERS, "RFC 8572"),
    (144, "geoloc", LOCATION, "RFC 6225"),
    (145, "forcerenew-nonce-capable", U8_LIST, "RFC 6704"),
    (146, "rdnss-selection", RDNSS_SELECTION, "RFC 6731"),
    (147, "dots-agent-name", DOMAIN, "RFC 8973"),
    (148, "dots-agent-addresses", ADDRESSES, "RFC 8973"),
    (150, "tftp-server-address", ADDRESSES, "RFC 5859"),
    (151, "status-code", STATUS, "RFC 6926"),
    (152, "base-time", U32, "RFC 6926"),
    (153, "start-time-of-state", U32, "RFC 6926"),
    (154, "query-start-time", U32, "RFC 6926"),
    (155, "query-end-time", U32, "RFC 6926"),
    (156, "dhcp-state", U8, "RFC 6926"),
    (157, "data-source", U8, "RFC 6926"),
    (158, "pcp-servers", PCP_SERVERS, "RFC 7291"),
    (159, "port-params", PORT_PARAMETERS, "RFC 7618"),
    (161, "mud-url", TEXT, "RFC 8520"),
    (162, "dnr", DNR, "RFC 9463"),
    (175, "etherboot", sub_options(IPXE, "iPXE options", padded=True), "tentatively assigned"),
    (176, "ip-telephone", TEXT, "tentatively assigned"),
    (177, "etherboot-177", OPAQUE, "tentatively assigned"),
    (208, "pxelinux-magic", OPAQUE, "RFC 5071"),
    (209, "pxelinux-configfile", TEXT, "RFC 5071"),
    (210, "pxelinux-pathprefix", TEXT, "RFC 5071"),
    (211, "pxelinux-reboottime", U32, "RFC 5071"),
    (212, "6rd", SIXRD, "RFC 5969"),
    (213, "access-network-domain", DOMAIN, "RFC 5986"),
    (
        220,
        "subnet-allocation",
        _SUBNET_ALLOCATION,
        "RFC 6656",
    ),
    (221, "virtual-subnet-selection", VIRTUAL_SUBNET, "RFC 6607"),
    (249, "ms-classless-static-routes", ROUTES, "[MS-DHCPE] §2.2.8"),
    (252, "wpad-url", TEXT, "draft-ietf-wrec-wpad-01"),
)

ALIASES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "ien116-name-servers": 5,
        "x-display-manager": 49,
        "dhcp-requested-address": 50,
        "dhcp-lease-time": 51,
        "dhcp-option-overload": 52,
        "dhcp-message-type": 53,
        "dhcp-server-identifier": 54,
        "dhcp-parameter-request-list": 55,
        "dhcp-message": 56,
        "dhcp-max-message-size": 57,
        "dhcp-renewal-time": 58,
        "dhcp-rebinding-time": 59,
        "dhcp-client-identifier": 61,
        "nwip-domain-name": 62,
        "nisplus-domain-name": 64,
        "bootfile-name": 67,
        "fqdn": 81,
        "dhcp-agent-options": 82,
        "bcms-controller-names": 88,
        "bcms-controller-address": 89,
        "authenticate": 90,
        "client-system": 93,
        "pxe-system-type": 93,
        "pxe-interface-id": 94,
        "pxe-client-id": 97,
        "uuid-guid": 97,
        "uap-servers": 98,
        "pcode": 100,
        "tcode": 101,
        "default-url": 114,
        "v4-captive-portal": 114,
        "classless-static-route": 121,
        "rfc3442-classless-static-routes": 121,
        "vivco": 124,
        "vivco-suboptions": 124,
        "vivso": 125,
        "vivso-suboptions": 125,
        "v4-lost": 137,
        "capwap-ac-v4": 138,
        "v4-portparams": 159,
        "v4-dnr": 162,
        "loader-configfile": 209,
        "loader-pathprefix": 210,
        "loader-reboottime": 211,
        "option-6rd": 212,
        "v4-access-domain": 213,
        "wpad": 252,
    }
)
"""What dhcpd and Kea call some options → code."""

STANDARD_OPTIONS: Final = Definitions([OptionDefinition(*row) for row in _TABLE], ALIASES)
"""The options that everybody knows."""

OPTIONS: Final[Mapping[int, OptionDefinition]] = STANDARD_OPTIONS.by_code
"""The options whose name and format are known, by code. Any other is ``option-<code>``, of octets."""


def definition(option: int | str) -> OptionDefinition:
    """The definition of an option, without those of a configuration.

    Args:
        option: its code (``3``), its name or one of its :data:`ALIASES` (``"routers"``, in any case, ``_`` as good as
            ``-``), or its code as text (``"3"``, ``"option-3"``).

    Raises:
        ValueError: no option is called so (with the names that come close), or the code is not in 1..254.
    """
    return STANDARD_OPTIONS.find(option)
