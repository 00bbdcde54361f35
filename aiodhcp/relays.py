"""Relays: what a relay agent says of a client in option 82 (RFC 3046), read from its octets."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiodhcp.exchange import Exchange

__all__ = [
    "LINK_SELECTION",
    "NOWHERE",
    "RELAY_SOURCE_PORT",
    "SERVER_ID_OVERRIDE",
    "SUBNET_SELECTION",
    "selection",
    "sub_options",
]

RELAY_AGENT_INFORMATION: Final = 82
SUBNET_SELECTION: Final = 118

LINK_SELECTION: Final = 5
"""An address of the client's link (RFC 3527)."""
SERVER_ID_OVERRIDE: Final = 11
"""The server identifier that the client is to be told (RFC 5107)."""
VSS, VSS_CONTROL = 151, 152
"""The client's virtual network, and that the server is to take this one away if it goes by that (RFC 6607)."""
RELAY_SOURCE_PORT: Final = 19
"""Empty: the relay agent wants the answer at the port that it sent from (RFC 8357)."""


NOWHERE: Final = frozenset({0, 127, *range(224, 256)})
"""First octets of addresses that no host and no relay agent can have: 0/8, 127/8, 224/4, 240/4 (RFC 6890)."""


def sub_options(value: bytes) -> dict[int, bytes]:
    """The sub-options of option 82, code to octets; of several of a code the first (RFC 3046 §2.0).

    Args:
        value: the option as it came. Where that can't be read, nothing in it counts.
    """
    found: dict[int, bytes] = {}
    at, size = 0, len(value)
    while at + 1 < size:
        code, end = value[at], at + 2 + value[at + 1]
        if code not in found:
            found[code] = value[at + 2 : end]
        at = end
    # Past the end, or one short of it, something is missing.
    return found if at == size else {}


def selection(exchange: Exchange) -> tuple[str, int]:
    """What tells the network of a client, in this order: the link selection of its relay agent (RFC 3527 §3), its own
    subnet selection (RFC 3011 §2), the address of the relay agent (RFC 2131 §4.3.1).

    Returns:
        who selects what, in words, empty where the relay agent stands for its own network; and an address there, 0
        where only the interface tells.
    """
    giaddr, received = exchange.giaddr, exchange.received
    if giaddr and RELAY_AGENT_INFORMATION in received:
        link = exchange.agent.get(LINK_SELECTION, b"")
        if len(link) == 4 and any(link):
            return f"the link that relay agent {IPv4Address(giaddr)} selects", int.from_bytes(link)
    subnet = received.get(SUBNET_SELECTION, b"")
    if len(subnet) == 4 and any(subnet):
        return "the subnet that the client selects", int.from_bytes(subnet)
    return "", giaddr
