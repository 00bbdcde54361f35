"""One table: option code → name, codec (RFC 2132 and later, IANA registry).

It knows what an option's octets mean, and neither where in a packet they were nor what a server does with them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from aiodhcp.codecs import (
    ADDRESS,
    ADDRESS_PAIRS,
    ADDRESSES,
    ADDRESSES_OR_NONE,
    BOOLEAN,
    CLIENT_FQDN,
    DOMAIN,
    DOMAINS,
    DOMAINS_UNCOMPRESSED,
    ENTERPRISES,
    FLAG,
    MESSAGE_TYPE,
    OPAQUE,
    ROUTES,
    S32,
    SUB_OPTIONS,
    TEXT,
    U8,
    U8_LIST,
    U16,
    U16_LIST,
    U32,
    USER_CLASS,
    ClientFqdn,
    Codec,
    FqdnFlag,
    Route,
    integer,
    list_of,
    opaque,
)
from aiodhcp.errors import DecodeError

__all__ = [
    "ALIASES",
    "OPTIONS",
    "ClientFqdn",
    "Codec",
    "FqdnFlag",
    "OptionDefinition",
    "Options",
    "Route",
    "definition",
]


@dataclass(frozen=True, slots=True)
class OptionDefinition:
    """What is known of an option.

    Attributes:
        code: 1..254.
        name: as dhcpd or the IANA registry has it, in lower case with hyphens.
        codec: reads and writes its value.
    """

    code: int
    name: str
    codec: Codec


def _encode_requested(value: Any) -> bytes:
    return U8.encode(definition(value).code if isinstance(value, str) else value)


_REQUESTED = list_of("list of option codes or names", Codec("option code or name", U8.decode, _encode_requested), 1)

_TABLE: tuple[tuple[int, str, Codec], ...] = (
    # RFC 2132 §3: the vendor extensions of RFC 1497
    (1, "subnet-mask", ADDRESS),
    (2, "time-offset", S32),
    (3, "routers", ADDRESSES),
    (4, "time-servers", ADDRESSES),
    (5, "name-servers", ADDRESSES),
    (6, "domain-name-servers", ADDRESSES),
    (7, "log-servers", ADDRESSES),
    (8, "cookie-servers", ADDRESSES),
    (9, "lpr-servers", ADDRESSES),
    (10, "impress-servers", ADDRESSES),
    (11, "resource-location-servers", ADDRESSES),
    (12, "host-name", TEXT),
    (13, "boot-size", U16),
    (14, "merit-dump", TEXT),
    (15, "domain-name", TEXT),
    (16, "swap-server", ADDRESS),
    (17, "root-path", TEXT),
    (18, "extensions-path", TEXT),
    # §4: the IP layer, per host
    (19, "ip-forwarding", BOOLEAN),
    (20, "non-local-source-routing", BOOLEAN),
    (21, "policy-filter", ADDRESS_PAIRS),
    (22, "max-dgram-reassembly", integer(2, 576)),
    (23, "default-ip-ttl", integer(1, 1)),
    (24, "path-mtu-aging-timeout", U32),
    (25, "path-mtu-plateau-table", list_of("list of integers 68..65535", integer(2, 68), 2)),
    # §5: the IP layer, per interface
    (26, "interface-mtu", integer(2, 68)),
    (27, "all-subnets-local", BOOLEAN),
    (28, "broadcast-address", ADDRESS),
    (29, "perform-mask-discovery", BOOLEAN),
    (30, "mask-supplier", BOOLEAN),
    (31, "router-discovery", BOOLEAN),
    (32, "router-solicitation-address", ADDRESS),
    (33, "static-routes", ADDRESS_PAIRS),
    # §6, §7: the link layer, TCP
    (34, "trailer-encapsulation", BOOLEAN),
    (35, "arp-cache-timeout", U32),
    (36, "ieee802-3-encapsulation", BOOLEAN),
    (37, "default-tcp-ttl", integer(1, 1)),
    (38, "tcp-keepalive-interval", U32),
    (39, "tcp-keepalive-garbage", BOOLEAN),
    # §8: applications and services
    (40, "nis-domain", TEXT),
    (41, "nis-servers", ADDRESSES),
    (42, "ntp-servers", ADDRESSES),
    (43, "vendor-encapsulated-options", opaque(1)),
    (44, "netbios-name-servers", ADDRESSES),
    (45, "netbios-dd-server", ADDRESSES),
    (46, "netbios-node-type", integer(1, 1, 8)),
    (47, "netbios-scope", TEXT),
    (48, "font-servers", ADDRESSES),
    (49, "x-display-managers", ADDRESSES),
    (64, "nisplus-domain", TEXT),
    (65, "nisplus-servers", ADDRESSES),
    (68, "mobile-ip-home-agent", ADDRESSES_OR_NONE),
    (69, "smtp-server", ADDRESSES),
    (70, "pop-server", ADDRESSES),
    (71, "nntp-server", ADDRESSES),
    (72, "www-server", ADDRESSES),
    (73, "finger-server", ADDRESSES),
    (74, "irc-server", ADDRESSES),
    (75, "streettalk-server", ADDRESSES),
    (76, "streettalk-directory-assistance-server", ADDRESSES),
    # §9: DHCP itself
    (50, "requested-address", ADDRESS),
    (51, "lease-time", U32),
    (52, "option-overload", integer(1, 1, 3)),
    (53, "message-type", MESSAGE_TYPE),
    (54, "server-identifier", ADDRESS),
    (55, "parameter-request-list", _REQUESTED),
    (56, "message", TEXT),
    (57, "maximum-message-size", U16),  # less than 576 is not legal, but no reason to not understand the client
    (58, "renewal-time", U32),
    (59, "rebinding-time", U32),
    (60, "vendor-class-identifier", TEXT),
    (61, "client-identifier", opaque(2)),
    (66, "tftp-server-name", TEXT),
    (67, "boot-file-name", TEXT),
    # later RFCs
    (62, "nwip-domain", TEXT),  # RFC 2242
    (63, "nwip-suboptions", OPAQUE),
    (77, "user-class", USER_CLASS),  # RFC 3004
    (78, "slp-directory-agent", OPAQUE),  # RFC 2610
    (79, "slp-service-scope", OPAQUE),
    (80, "rapid-commit", FLAG),  # RFC 4039
    (81, "client-fqdn", CLIENT_FQDN),  # RFC 4702
    (82, "relay-agent-information", SUB_OPTIONS),  # RFC 3046
    (83, "isns", OPAQUE),  # RFC 4174
    (85, "nds-servers", ADDRESSES),  # RFC 2241
    (86, "nds-tree-name", TEXT),
    (87, "nds-context", TEXT),
    (88, "bcmcs-controller-names", DOMAINS_UNCOMPRESSED),  # RFC 4280
    (89, "bcmcs-controller-addresses", ADDRESSES),
    (90, "authentication", OPAQUE),  # RFC 3118
    (91, "client-last-transaction-time", U32),  # RFC 4388
    (92, "associated-ip", ADDRESSES),
    (93, "client-system-architecture", U16_LIST),  # RFC 4578
    (94, "client-ndi", OPAQUE),
    (95, "ldap", TEXT),  # RFC 3679
    (97, "client-uuid", OPAQUE),  # RFC 4578
    (98, "user-auth", TEXT),  # RFC 2485
    (99, "geoconf-civic", OPAQUE),  # RFC 4776
    (100, "posix-timezone", TEXT),  # RFC 4833
    (101, "tzdb-timezone", TEXT),
    (108, "v6-only-preferred", U32),  # RFC 8925, seconds
    (109, "dhcp4o6-source-address", OPAQUE),  # RFC 8539
    (112, "netinfo-server-address", ADDRESSES),  # RFC 3679
    (113, "netinfo-server-tag", TEXT),
    (114, "captive-portal", TEXT),  # RFC 8910
    (116, "auto-config", integer(1, 0, 1)),  # RFC 2563
    (117, "name-service-search", U16_LIST),  # RFC 2937
    (118, "subnet-selection", ADDRESS),  # RFC 3011
    (119, "domain-search", DOMAINS),  # RFC 3397
    (120, "sip-servers", OPAQUE),  # RFC 3361
    (121, "classless-static-routes", ROUTES),  # RFC 3442
    (122, "cablelabs-client-configuration", SUB_OPTIONS),  # RFC 3495
    (123, "geoconf", OPAQUE),  # RFC 6225
    (124, "vendor-class", ENTERPRISES),  # RFC 3925
    (125, "vendor-options", ENTERPRISES),
    (136, "pana-agent", ADDRESSES),  # RFC 5192
    (137, "lost-server", DOMAIN),  # RFC 5223
    (138, "capwap-ac", ADDRESSES),  # RFC 5417
    (139, "mos-addresses", OPAQUE),  # RFC 5678
    (140, "mos-names", OPAQUE),
    (141, "sip-ua-cs-domains", DOMAINS),  # RFC 6011
    (142, "andsf-addresses", ADDRESSES),  # RFC 6153
    (143, "sztp-redirect", OPAQUE),  # RFC 8572
    (144, "geoloc", OPAQUE),  # RFC 6225
    (145, "forcerenew-nonce-capable", U8_LIST),  # RFC 6704
    (146, "rdnss-selection", OPAQUE),  # RFC 6731
    (147, "dots-agent-name", DOMAIN),  # RFC 8973
    (148, "dots-agent-addresses", ADDRESSES),
    (150, "tftp-server-address", ADDRESSES),  # RFC 5859
    (151, "status-code", OPAQUE),  # RFC 6926
    (152, "base-time", U32),
    (153, "start-time-of-state", U32),
    (154, "query-start-time", U32),
    (155, "query-end-time", U32),
    (156, "dhcp-state", U8),
    (157, "data-source", U8),
    (158, "pcp-servers", OPAQUE),  # RFC 7291
    (159, "port-params", OPAQUE),  # RFC 7618
    (161, "mud-url", TEXT),  # RFC 8520
    (162, "dnr", OPAQUE),  # RFC 9463
    (208, "pxelinux-magic", OPAQUE),  # RFC 5071
    (209, "pxelinux-configfile", TEXT),
    (210, "pxelinux-pathprefix", TEXT),
    (211, "pxelinux-reboottime", U32),
    (212, "6rd", OPAQUE),  # RFC 5969
    (213, "access-network-domain", DOMAIN),  # RFC 5986
    (220, "subnet-allocation", OPAQUE),  # RFC 6656
    (221, "virtual-subnet-selection", OPAQUE),  # RFC 6607
    # private use, but everybody's
    (249, "ms-classless-static-routes", ROUTES),
    (252, "wpad-url", TEXT),
)

OPTIONS: Final[Mapping[int, OptionDefinition]] = MappingProxyType(
    {code: OptionDefinition(code, name, codec) for code, name, codec in sorted(_TABLE, key=lambda row: row[0])}
)
"""The options whose name and format are known, by code. Any other is ``option-<code>``, of octets."""

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

_CODES: Final[Mapping[str, int]] = {**ALIASES, **{known.name: known.code for known in OPTIONS.values()}}


def _by_code(code: int) -> OptionDefinition:
    return OPTIONS.get(code) or OptionDefinition(code, f"option-{code}", OPAQUE)


def definition(option: int | str) -> OptionDefinition:
    """The definition of an option.

    Args:
        option: its code (``3``), its name or one of its :data:`ALIASES` (``"routers"``, in any case, ``_`` as good as
            ``-``), or its code as text (``"3"``, ``"option-3"``).

    Raises:
        ValueError: no option is called so (with the names that come close), or the code is not in 1..254.
    """
    code: object = option
    if isinstance(option, str):
        name = option.strip().lower().replace("_", "-")
        digits = name.removeprefix("option-")
        if name in _CODES:
            code = _CODES[name]
        elif digits.isascii() and digits.isdigit() and len(digits) <= 3:
            code = int(digits)
        else:
            close = " or ".join(difflib.get_close_matches(name, _CODES))
            raise ValueError(f"no option is called {option!r}" + (f"; did you mean {close}?" if close else ""))
    if isinstance(code, int) and not isinstance(code, bool) and 1 <= code <= 254:
        return _by_code(code)
    raise ValueError(f"expected an option's name or a code in 1..254, given {option!r}")


class Options(MutableMapping[int, Any]):
    """The options of a packet, by code or name; a value is decoded when asked for and encoded when set.

    Args:
        raw: code → octets, of an option that came in parts all of them (RFC 3396). It is wrapped, not copied.

    Attributes:
        raw: that dict.
        changed: whether an option was set or deleted here.

    Raises:
        KeyError: ``options[...]``, ``del options[...]``: the packet has no such option.
        ValueError: no option is called so; or, on setting, its codec can't encode the value.
        DecodeError: on reading (also ``get``, ``pop``, ``values`` and ``items``), the octets are not a value of that
            option.

    ``bytes`` that are set, whatever the option, are its octets and stored as they are. Iteration is by code, in the
    order of ``raw``, which is that of the packet.
    """

    __slots__ = ("changed", "raw")

    def __init__(self, raw: dict[int, bytes] | None = None) -> None:
        self.raw: dict[int, bytes] = {} if raw is None else raw
        self.changed = False

    def __getitem__(self, option: int | str) -> Any:
        code = _code(option)
        octets = self.raw[code]
        known = _by_code(code)
        try:
            return known.codec.decode(octets)
        except DecodeError as why:
            raise DecodeError(f"option {code} ({known.name}): {why}") from None

    def __setitem__(self, option: int | str, value: Any) -> None:
        known = definition(option)
        if isinstance(value, bytes):
            octets = value
        else:
            try:
                octets = known.codec.encode(value)
            except ValueError as why:
                raise ValueError(f"option {known.code} ({known.name}): {why}") from None
        self.raw[known.code] = octets
        self.changed = True

    def __delitem__(self, option: int | str) -> None:
        del self.raw[_code(option)]
        self.changed = True

    def __contains__(self, option: object) -> bool:
        if isinstance(option, str):
            try:
                return definition(option).code in self.raw
            except ValueError:
                return False
        return isinstance(option, int) and option in self.raw

    def __iter__(self) -> Iterator[int]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Options) else NotImplemented

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in self.names().items())})"

    def get(self, option: int | str, default: Any = None) -> Any:
        """The value, or ``default`` when the packet has no such option; raises as ``options[...]`` does."""
        return self[option] if _code(option) in self.raw else default

    def clear(self) -> None:
        """Delete all options, also those that can't be decoded."""
        self.raw.clear()
        self.changed = True

    def names(self) -> dict[str, Any]:
        """Name → value, for people to read; of an option that can't be decoded, its octets."""
        named: dict[str, Any] = {}
        for code, octets in self.raw.items():
            known = _by_code(code)
            try:
                named[known.name] = known.codec.decode(octets)
            except DecodeError:
                named[known.name] = octets
        return named


def _code(option: int | str) -> int:
    return definition(option).code if isinstance(option, str) else option
