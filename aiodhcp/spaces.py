"""The options inside options that RFCs define: of relay agents, of cable modems, of boot loaders and others."""

from __future__ import annotations

from typing import Any, Final

from aiodhcp.codecs import (
    ADDRESS,
    ADDRESSES,
    BOOLEAN,
    FLAG,
    OPAQUE,
    S8,
    TEXT,
    U8,
    U16,
    U32,
    Codec,
    opaque,
)
from aiodhcp.definitions import Definitions, OptionDefinition
from aiodhcp.dnsnames import DOMAIN, DOMAINS_UNCOMPRESSED
from aiodhcp.formats import RELAY_AUTHENTICATION, SIP_SERVERS, VIRTUAL_SUBNET
from aiodhcp.records import by_enterprise, record

__all__ = [
    "CABLELABS",
    "IPXE",
    "MOS_ADDRESSES",
    "MOS_NAMES",
    "NWIP",
    "RELAY_AGENT",
    "SUBNET_ALLOCATION",
]


def _space(source: str, *rows: tuple[Any, ...]) -> Definitions:
    return Definitions([OptionDefinition(*row[:3], *(row[3:] or (source,))) for row in rows], codes=range(256))


_BACKOFF: Final = record("backoff: nominal, maximum and number of retries", (U32, U32, U32))

RELAY_AGENT: Final = _space(
    "RFC 3046",
    (1, "circuit-id", OPAQUE),
    (2, "remote-id", OPAQUE),
    (4, "docsis-device-class", U32, "RFC 3256"),
    (5, "link-selection", ADDRESS, "RFC 3527"),
    (6, "subscriber-id", TEXT, "RFC 3993"),
    (7, "radius-attributes", OPAQUE, "RFC 4014"),
    (8, "authentication", RELAY_AUTHENTICATION, "RFC 4030"),
    (9, "vendor-specific", by_enterprise("enterprise numbers and their octets", OPAQUE), "RFC 4243"),
    (10, "relay-flags", U8, "RFC 5010"),
    (11, "server-id-override", ADDRESS, "RFC 5107"),
    (12, "relay-id", OPAQUE, "RFC 6925"),
    (13, "access-technology-type", U16, "RFC 7839"),
    (14, "access-network-name", TEXT, "RFC 7839"),
    (15, "access-point-name", TEXT, "RFC 7839"),
    (16, "access-point-bssid", opaque(6, 6), "RFC 7839"),
    (17, "operator-id", U32, "RFC 7839"),
    (18, "operator-realm", TEXT, "RFC 7839"),
    (19, "source-port", FLAG, "RFC 8357"),
    (151, "virtual-subnet-selection", VIRTUAL_SUBNET, "RFC 6607"),
    (152, "virtual-subnet-selection-control", FLAG, "RFC 6607"),
)
"""Option 82."""

NWIP: Final = _space(
    "RFC 2242",
    (1, "does-not-exist", FLAG),
    (2, "exists-in-options", FLAG),
    (3, "exists-in-sname-file", FLAG),
    (4, "exists-but-too-big", FLAG),
    (5, "nsq-broadcast", BOOLEAN),
    (6, "preferred-dss", ADDRESSES),
    (7, "nearest-nwip-server", ADDRESSES),
    (8, "autoretries", U8),
    (9, "autoretry-secs", U8),
    (10, "nwip-1-1", BOOLEAN),
    (11, "primary-dss", ADDRESS),
)
"""Option 63."""

CABLELABS: Final = _space(
    "RFC 3495",
    (1, "primary-dhcp-server", ADDRESS),
    (2, "secondary-dhcp-server", ADDRESS),
    (3, "provisioning-server", SIP_SERVERS),
    (4, "as-backoff", _BACKOFF),
    (5, "ap-backoff", _BACKOFF),
    (6, "kerberos-realm", DOMAIN),
    (7, "ticket-granting-server", BOOLEAN),
    (8, "provisioning-timer", U8),
    (9, "security-ticket-control", U16, "RFC 3594"),
    (10, "kdc-addresses", ADDRESSES, "RFC 3634"),
)
"""Option 122."""


def _mos(codec: Codec) -> Definitions:
    return _space("RFC 5678", *((code, f"{name}-service", codec) for code, name in enumerate(_MOS, 1)))


_MOS: Final = ("information", "command", "event")
MOS_ADDRESSES: Final = _mos(ADDRESSES)
"""Option 139."""
MOS_NAMES: Final = _mos(DOMAINS_UNCOMPRESSED)
"""Option 140."""

_IPXE_FEATURES: Final = {
    16: "pxeext", 17: "iscsi", 18: "aoe", 19: "http", 20: "https", 21: "tftp", 22: "ftp", 23: "dns", 24: "bzimage",
    25: "multiboot", 26: "slam", 27: "srp", 32: "nbi", 33: "pxe", 34: "elf", 35: "comboot", 36: "efi", 37: "fcoe",
}  # fmt: skip

IPXE: Final = _space(
    "iPXE",
    (1, "priority", S8),
    (8, "keep-san", U8),
    (9, "skip-san-boot", U8),
    *((code, name, U8) for code, name in _IPXE_FEATURES.items()),
    (176, "no-pxedhcp", U8),
    (177, "bus-id", OPAQUE),
    (189, "bios-drive", U8),
    (190, "username", TEXT),
    (191, "password", TEXT),
    (192, "reverse-username", TEXT),
    (193, "reverse-password", TEXT),
    (235, "version", OPAQUE),
)
"""Option 175, whose registration is tentative."""

SUBNET_ALLOCATION: Final = _space(
    "RFC 6656",
    (1, "subnet-request", OPAQUE),
    (2, "subnet-information", OPAQUE),
    (3, "subnet-name", TEXT),
    (4, "suggested-lease-time", U32),
)
"""Option 220, behind its flags."""
