"""The formats that only one option, or a few, have: each as its RFC lays it out.

It keeps to what ``codecs`` promises: ``decode`` raises ``DecodeError`` only, ``encode`` ``ValueError`` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any, Final, NamedTuple

from aiodhcp.codecs import (
    ADDRESS,
    ADDRESS6,
    ADDRESSES,
    ADDRESSES_OR_NONE,
    BOOLEAN,
    OPAQUE,
    TEXT,
    TEXT_OR_NONE,
    U8,
    U16,
    U32,
    Codec,
    expected,
    integer,
    items_of,
    octets_of,
    opaque,
    two_of,
    unreadable,
)
from aiodhcp.dnsnames import DOMAIN, DOMAINS_OR_NONE, DOMAINS_UNCOMPRESSED
from aiodhcp.records import by_enterprise, described, fields_of, record_of, sized_items

__all__ = [
    "AUTHENTICATION",
    "DNR",
    "ISNS",
    "NETWORK_INTERFACE",
    "PCP_SERVERS",
    "PORT_PARAMETERS",
    "RDNSS_SELECTION",
    "RELAY_AUTHENTICATION",
    "ROUTES",
    "SIP_SERVERS",
    "SIXRD",
    "SLP_AGENTS",
    "SLP_SCOPES",
    "STATUS",
    "USER_CLASS",
    "UUID",
    "VENDOR_CLASSES",
    "VIRTUAL_SUBNET",
    "ZTP_SERVERS",
    "Authentication",
    "Dnr",
    "Isns",
    "NetworkInterface",
    "PortParameters",
    "RdnssSelection",
    "RelayAuthentication",
    "Route",
    "Sixrd",
    "SlpAgents",
    "SlpScopes",
    "Status",
    "Uuid",
    "VirtualSubnet",
]

# ── RFC 3442 ──


class Route(NamedTuple):
    """A classless static route (RFC 3442); a gateway of 0.0.0.0 means that the network is on the link."""

    network: IPv4Network
    gateway: IPv4Address


def _decode_routes(data: bytes) -> list[Route]:
    routes = []
    at = 0
    while at < len(data):
        prefix = data[at]
        significant = -(-prefix // 8)
        gateway = at + 1 + significant
        if prefix > 32 or gateway + 4 > len(data):
            raise unreadable("routes", data)
        # Bits beyond the mask are to be ignored, not refused (RFC 3442, "Client Administrator Responsibilities").
        network = IPv4Network((data[at + 1 : gateway].ljust(4, b"\0"), prefix), strict=False)
        routes.append(Route(network, IPv4Address(data[gateway : gateway + 4])))
        at = gateway + 4
    if not routes:
        raise unreadable("routes", data)
    return routes


def _encode_route(value: Any) -> bytes:
    network, gateway = two_of("route such as '10.0.0.0/8 via 192.168.1.1'", value)
    if isinstance(network, str):
        try:
            network = IPv4Network(network)
        except ValueError as why:
            raise ValueError(f"expected network such as 10.0.0.0/8: {why}") from None
    if not isinstance(network, IPv4Network):
        raise expected("network such as 10.0.0.0/8", network)
    significant = -(-network.prefixlen // 8)
    return bytes([network.prefixlen]) + network.network_address.packed[:significant] + ADDRESS.encode(gateway)


def _encode_routes(value: Any) -> bytes:
    routes = [value] if isinstance(value, Route) else items_of(value)
    if not routes:
        raise expected("routes", value)
    return b"".join(_encode_route(route) for route in routes)


ROUTES: Final = Codec("routes", _decode_routes, _encode_routes)

# ── classes of clients: RFC 3004, RFC 3925 ──


def _decode_user_class(data: bytes) -> list[bytes]:
    """RFC 3004 §4; what is not in its form is one item, as Microsoft's clients and others mean it."""
    items = []
    at = 0
    while at < len(data) and data[at]:
        items.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    if at == len(data) and items:
        return items
    if not 1 <= len(data) <= 255:
        raise unreadable("user classes", data)
    return [data]


def _encode_user_class(value: Any) -> bytes:
    items = [octets_of(item) for item in items_of(value)]
    if not items or not all(1 <= len(item) <= 255 for item in items):
        raise expected("user classes of 1..255 octets", value)
    return b"".join(bytes([len(item)]) + item for item in items)


USER_CLASS: Final = Codec("user classes", _decode_user_class, _encode_user_class)


_CLASS: Final = sized_items("vendor classes", OPAQUE, 1)
VENDOR_CLASSES: Final = by_enterprise("enterprise numbers and their vendor classes", _CLASS)

# ── servers ──


def _decode_sip(data: bytes) -> list[Any]:
    if data[:1] == b"\0":
        return list(DOMAINS_UNCOMPRESSED.decode(data[1:]))
    if data[:1] == b"\1":
        return list(ADDRESSES.decode(data[1:]))
    raise unreadable("SIP servers", data)


def _encode_sip(value: Any) -> bytes:
    servers = items_of(value)
    try:
        return b"\1" + ADDRESSES.encode(servers)
    except ValueError:
        return b"\0" + DOMAINS_UNCOMPRESSED.encode(servers)


SIP_SERVERS: Final = Codec("SIP servers, all domain names or all addresses", _decode_sip, _encode_sip)


class SlpAgents(NamedTuple):
    """SLP directory agents (RFC 2610)"""

    mandatory: bool
    addresses: list[IPv4Address]


class SlpScopes(NamedTuple):
    """SLP service scopes (RFC 2610)"""

    mandatory: bool
    scopes: str


class Isns(NamedTuple):
    """iSNS servers (RFC 4174 §2)

    Four bit fields, and the addresses, the primary server's first.
    """

    functions: int
    domain_access: int
    administrative_flags: int
    security: int
    addresses: list[IPv4Address]


class RdnssSelection(NamedTuple):
    """RDNSS selection (RFC 6731 §4.3)

    ``preference``: 0 medium, 1 high, 3 low. The domains are those that the servers are to be asked about.
    """

    preference: int
    primary: IPv4Address
    secondary: IPv4Address
    domains: list[str]


class Sixrd(NamedTuple):
    """6rd (RFC 5969 §7.1.1)"""

    ipv4_mask_length: int
    prefix_length: int
    prefix: IPv6Address
    border_relays: list[IPv4Address]


class PortParameters(NamedTuple):
    """port parameters (RFC 7618 §9)"""

    offset: int
    psid_length: int
    psid: int


class Dnr(NamedTuple):
    """encrypted DNS resolvers (RFC 9463 §5.1)

    ``parameters`` are the SvcParams as octets. Without addresses and parameters only the name is sent.
    """

    priority: int
    name: str
    addresses: list[IPv4Address] = []  # noqa: RUF012 - nobody changes it
    parameters: bytes = b""


SLP_AGENTS: Final = record_of(SlpAgents, BOOLEAN, ADDRESSES_OR_NONE)
SLP_SCOPES: Final = record_of(SlpScopes, BOOLEAN, TEXT_OR_NONE)
ISNS: Final = record_of(Isns, U16, U16, U16, U32, ADDRESSES)
RDNSS_SELECTION: Final = record_of(RdnssSelection, U8, ADDRESS, ADDRESS, DOMAINS_OR_NONE)
SIXRD: Final = record_of(Sixrd, integer(1, 0, 32), integer(1, 0, 128), ADDRESS6, ADDRESSES)
PORT_PARAMETERS: Final = record_of(PortParameters, integer(1, 0, 15), integer(1, 0, 16), U16)


def _decode_servers(data: bytes) -> list[list[IPv4Address]]:
    servers: list[list[IPv4Address]] = _SERVERS.decode(data)
    return servers


def _encode_servers(value: Any) -> bytes:
    return _SERVERS.encode([items_of(each) for each in items_of(value)])


_SERVERS: Final = sized_items("PCP servers, each a list of addresses", ADDRESSES, 1)
PCP_SERVERS: Final = Codec(_SERVERS.name, _decode_servers, _encode_servers)
ZTP_SERVERS: Final = sized_items("list of URIs", TEXT, 2)


def _decode_resolver(data: bytes) -> Dnr:
    if len(data) < 3 or len(data) < 3 + data[2]:
        raise unreadable("resolver", data)
    end = 3 + data[2]
    priority, name = int.from_bytes(data[:2]), DOMAIN.decode(data[3:end])
    if end == len(data):
        return Dnr(priority, name, [])
    after = end + 1 + data[end]
    if after > len(data):
        raise unreadable("resolver", data)
    return Dnr(priority, name, ADDRESSES.decode(data[end + 1 : after]), data[after:])


def _encode_resolver(value: Any) -> bytes:
    if isinstance(value, Mapping):
        value = {"addresses": [], "parameters": b"", **value}
    priority, name, addresses, parameters = fields_of(Dnr._fields, value)
    name_octets = DOMAIN.encode(name)
    wire = U16.encode(priority) + bytes([len(name_octets)]) + name_octets
    address_octets, rest = ADDRESSES_OR_NONE.encode(addresses), octets_of(parameters)
    if not address_octets and not rest:
        return wire
    if not 4 <= len(address_octets) <= 255:
        raise expected("1 to 63 addresses", addresses)
    return wire + bytes([len(address_octets)]) + address_octets + rest


def _encode_dnr(value: Any) -> bytes:
    return _RESOLVERS.encode([value] if isinstance(value, Dnr) else value)


_RESOLVERS: Final = sized_items("encrypted DNS resolvers", Codec("resolver", _decode_resolver, _encode_resolver), 2)
DNR: Final = Codec(f"list of {described(Dnr)}", _RESOLVERS.decode, _encode_dnr)

# ── the protocol's own, and boot clients ──


class Authentication(NamedTuple):
    """authentication (RFC 3118 §2)"""

    protocol: int
    algorithm: int
    rdm: int
    replay_detection: bytes
    information: bytes


class Status(NamedTuple):
    """status of a leasequery (RFC 6926 §6.2.2)"""

    code: int
    message: str


class VirtualSubnet(NamedTuple):
    """virtual subnet (RFC 6607 §3)

    ``type``: 0 an NVT ASCII VPN identifier, 1 an RFC 2685 VPN-ID, 255 the global VPN.
    """

    type: int
    identifier: bytes


class NetworkInterface(NamedTuple):
    """network interface of a boot client (RFC 4578 §2.2): type 1 is UNDI"""

    type: int
    major: int
    minor: int


class RelayAuthentication(NamedTuple):
    """authentication by a relay agent (RFC 4030 §4)"""

    algorithm: int
    rdm: int
    replay_detection: bytes
    relay: IPv4Address
    information: bytes


class Uuid(NamedTuple):
    """identifier of a boot client's machine (RFC 4578 §2.3): type 0 is a GUID of 16 octets"""

    type: int
    identifier: bytes


AUTHENTICATION: Final = record_of(Authentication, U8, U8, U8, opaque(8, 8), OPAQUE)
RELAY_AUTHENTICATION: Final = record_of(RelayAuthentication, U8, U8, opaque(8, 8), ADDRESS, OPAQUE)
STATUS: Final = record_of(Status, U8, TEXT_OR_NONE)
VIRTUAL_SUBNET: Final = record_of(VirtualSubnet, U8, OPAQUE)
NETWORK_INTERFACE: Final = record_of(NetworkInterface, U8, U8, U8)
UUID: Final = record_of(Uuid, U8, opaque(1))
