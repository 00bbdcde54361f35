"""A DHCP message in lines for people: what is set, options by name, values as an administrator writes them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from aiodhcp.constants import BROADCAST_FLAG, INFINITE, MessageType, Op
from aiodhcp.options import ClientFqdn, Route, SubOptions, definition
from aiodhcp.packet import Packet

__all__ = ["describe", "duration", "message_name", "printable"]

_MESSAGE_TYPE: Final = "message-type"
_PARAMETERS: Final = "parameter-request-list"
_DURATIONS: Final = frozenset(
    {
        "path-mtu-aging-timeout",
        "arp-cache-timeout",
        "tcp-keepalive-interval",
        "lease-time",
        "renewal-time",
        "rebinding-time",
        "client-last-transaction-time",
        "v6-only-preferred",
        "pxelinux-reboottime",
    }
)
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def describe(packet: Packet) -> list[tuple[str, str]]:
    """What a message says: label and value, the fixed fields that are set and then its options in their order.

    Values are safe to print whatever the sender put into them: what is not printable is escaped. Octets are hex, lists
    are separated by commas, durations are like ``12h``; an option that can't be decoded is shown as its octets.
    """
    lines = [(_MESSAGE_TYPE, message_name(packet)), ("xid", f"{packet.xid:08x}")]
    if packet.chaddr:
        lines.append(("chaddr", packet.hardware_address))
    lines += [(name, str(getattr(packet, name))) for name in ("hops", "secs") if getattr(packet, name)]
    if packet.flags:
        lines.append(("flags", "broadcast" if packet.flags == BROADCAST_FLAG else f"{packet.flags:04x}"))
    addresses = [(name, getattr(packet, name)) for name in ("ciaddr", "yiaddr", "siaddr", "giaddr")]
    lines += [(name, str(IPv4Address(address))) for name, address in addresses if address]
    for name in ("sname", "file"):
        text = bytes(getattr(packet, name)).rstrip(b"\0")
        if text:
            lines.append((name, printable(text.decode(errors="surrogateescape"))))
    lines += [(name, _option(name, value)) for name, value in packet.options.names().items() if name != _MESSAGE_TYPE]
    return lines


def message_name(packet: Packet) -> str:
    """``DISCOVER``, ``OFFER``...; ``type 77`` for one that no RFC knows, ``BOOTP request`` without a type."""
    kind = packet.message_type
    if kind is None:
        return "BOOTP reply" if packet.op == Op.BOOTREPLY else "BOOTP request"
    return kind.name if isinstance(kind, MessageType) else f"type {kind}"


def duration(seconds: int) -> str:
    """Seconds as the configuration has them: ``12h``, ``1d12h``, ``90s`` is ``1m30s``, ``infinite``."""
    if seconds == INFINITE:
        return "infinite"
    text = ""
    for length, unit in _UNITS:
        count, seconds = divmod(seconds, length)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def _option(name: str, value: Any) -> str:
    if name in _DURATIONS and isinstance(value, int):
        return duration(value)
    if name == _PARAMETERS and isinstance(value, list):
        return ", ".join(definition(code).name if 1 <= code <= 254 else str(code) for code in value)
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bytes):
        return value.hex(":") or "(empty)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "(empty)"
    if isinstance(value, SubOptions):
        value = value.names()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_value(octets)}" for key, octets in value.items())
    if isinstance(value, Route):
        return f"{value.network} via {value.gateway}"
    if isinstance(value, ClientFqdn):
        return f"{printable(value.name)} flags={value.flags:#04x}".lstrip()
    if isinstance(value, tuple):
        return " ".join(map(_value, value))
    return str(value)


def printable(text: str) -> str:
    """Text with what is not printable escaped: a server may send anything, also what would reprogram a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
