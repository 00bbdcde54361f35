"""FORCERENEW: the message that lets a client renew its lease now (RFC 3203), and who can be told so."""

from __future__ import annotations

from aiodhcp.constants import CLIENT_PORT
from aiodhcp.exchange import Answer
from aiodhcp.leases import Lease
from aiodhcp.nonces import Nonces, forcerenew
from aiodhcp.placement import Placement

__all__ = ["force_renew", "obstacle"]


def obstacle(lease: Lease | None, placement: Placement, now: float) -> str:
    """Why a client can't be told to renew, in words; empty if it can.

    Args:
        lease: what is known of the client's address.
        placement: knows the configuration, and the ways to clients.
        now: seconds since 1970.
    """
    switch = placement.config.force_renew
    if switch == "off":
        return "force-renew is off"
    if lease is None:
        return "there is no lease of it"
    if not lease.holds(now):
        state = lease.state.name.lower()
        return f"its lease is {'expired' if state == 'active' else state}"
    if lease.nonce is None and switch != "unauthenticated":
        return "its client has no nonce: it has not asked for one"
    if placement.config.subnet_of(lease.address) is None:
        return "it is in no subnet"
    return "" if placement.has_address else "there is no interface with an address"


def force_renew(lease: Lease, placement: Placement, nonces: Nonces, now: float) -> Answer:
    """A FORCERENEW as it leaves, for a client that can be told."""
    datagram, server_id = placement.way_to(lease)
    data = forcerenew(lease, server_id, nonces.replay_detection(now))
    source = server_id if server_id in datagram.interface.addresses else 0
    return Answer(data, datagram, lease.address, CLIENT_PORT, None, source)
