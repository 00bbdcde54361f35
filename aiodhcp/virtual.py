"""Virtual networks: which one a client is in, as its relay agent or itself says it (RFC 6607)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiodhcp.relays import RELAY_AGENT_INFORMATION, VSS, VSS_CONTROL

if TYPE_CHECKING:
    from aiodhcp.exchange import Exchange

__all__ = ["GLOBAL", "VSS_OPTION", "echoed", "in_words", "selected", "virtual_subnet"]

VSS_OPTION: Final = 221
GLOBAL: Final = b"\xff"
"""Type 255, the global or default network: also that of clients of which nobody says otherwise."""
_NAME, _VPN_ID = b"\0", b"\1"
_ID: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){6}")
LONGEST_NAME: Final = 254
"""Octets: what a sub-option has room for, less the type."""


def virtual_subnet(name: str) -> bytes:
    """A virtual network as it is configured, as the octets that messages have (RFC 6607 §3.4).

    Args:
        name: seven octets like ``"00:00:0c:00:00:00:2a"`` for a VPN-ID (RFC 2685); any other is a name (NVT ASCII);
            empty for the global network.

    Raises:
        ValueError: it is no such name.
    """
    if not name:
        return GLOBAL
    if _ID.fullmatch(name):
        return _VPN_ID + bytes.fromhex(name.replace(":", ""))
    if not (name.isascii() and name.isprintable() and len(name) <= LONGEST_NAME):
        raise ValueError(
            f"expected a name of at most {LONGEST_NAME} ASCII characters, or a VPN-ID like '00:00:0c:00:00:00:2a',"
            f" got {name!r}"
        )
    return _NAME + name.encode()


def selected(exchange: Exchange) -> bytes:
    """The virtual network of a client: what its relay agent says, or else itself (RFC 6607 §7), or the global one. What
    can't be read is as it came, and none that can be configured.
    """
    said = exchange.agent.get(VSS)
    if said is None:
        said = exchange.received.get(VSS_OPTION, GLOBAL)
    return said


def echoed(exchange: Exchange) -> tuple[bytes, bytes]:
    """What comes back if the server goes by virtual networks (RFC 6607 §7): the sub-option 151 without 152, and the
    option 221 if that was what counted.

    Returns:
        the octets of option 82, and of option 221; empty for none.
    """
    received = exchange.received
    relayed, option = received.get(RELAY_AGENT_INFORMATION, b""), received.get(VSS_OPTION, b"")
    if relayed and exchange.relayed == relayed and VSS in exchange.agent:
        relayed = _without_control(relayed)
    return relayed, option if option == selected(exchange) else b""


def in_words(virtual: bytes) -> str:
    """A virtual network for people."""
    if virtual == GLOBAL:
        return "the global network"
    kind, name = virtual[:1], virtual[1:]
    said = repr(name.decode()) if kind == _NAME and name.isascii() else virtual.hex(":") or "''"
    return f"virtual network {name.hex(':') if kind == _VPN_ID else said}"


def _without_control(value: bytes) -> bytes:
    """Option 82, which can be read, without the sub-option 152."""
    kept, at = b"", 0
    while at < len(value):
        end = at + 2 + value[at + 1]
        if value[at] != VSS_CONTROL:
            kept += value[at:end]
        at = end
    return kept
