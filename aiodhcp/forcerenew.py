"""FORCERENEW: the message that lets a client renew its lease now (RFC 3203), and who can be told so."""

from __future__ import annotations

from aiodhcp.constants import CLIENT_PORT
from aiodhcp.errors import Dropped
from aiodhcp.exchange import Answer
from aiodhcp.leases import Lease
from aiodhcp.nonces import Nonces, forcerenew
from aiodhcp.placement import Placement

__all__ = ["force_renew"]


def force_renew(lease: Lease | None, placement: Placement, nonces: Nonces, now: float) -> Answer | str:
    """A FORCERENEW as it leaves, or why the client can't be told, in words.

    Args:
        lease: what is known of the client's address.
        placement: finds the way to it.
        nonces: counts for the replay detection.
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
    try:
        datagram, server_id = placement.way_to(lease)
    except Dropped as dropped:
        return dropped.why
    data = forcerenew(lease, server_id, nonces.replay_detection(now))
    source = server_id if server_id in datagram.interface.addresses else 0
    return Answer(data, datagram, lease.address, CLIENT_PORT, None, source)
