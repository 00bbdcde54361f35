"""What a relay agent says of a client, or a switch that listens (option 82, RFC 3046)."""

from __future__ import annotations

from aiodhcp import DecodeError, Exchange

__all__ = ["CIRCUIT_ID", "REMOTE_ID", "said_of"]

CIRCUIT_ID, REMOTE_ID = 1, 2
"""Sub-options (RFC 3046 §2)."""


def said_of(exchange: Exchange, snooping: bool) -> dict[int, bytes]:
    """The sub-options, code to octets; empty if there are none or they can't be read.

    Args:
        exchange: of the client.
        snooping: whether they count without a relay agent, too.
    """
    if exchange.giaddr or not snooping or exchange.packet is None:
        return exchange.relay_agent
    try:
        said = exchange.packet.options.get("relay-agent-information")
    except DecodeError:
        return {}
    return dict(said.raw) if said else {}
