"""Offline: a packet goes the way that it goes in a server, without network, clock and store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiodhcp.engine import Engine
from aiodhcp.exchange import Datagram, Exchange
from aiodhcp.leases import Lease
from aiodhcp.subnets import Config, Subnet

__all__ = ["likely_address", "serve"]

ROUTERS: Final = 3


async def serve(
    engine: Engine,
    datagram: Datagram,
    now: float,
    committed: Callable[[Sequence[Lease]], Awaitable[None] | None] | None = None,
) -> Exchange:
    """All steps of a packet, as the server takes them; but nobody is asked for an address, and no OFFER waits.

    Args:
        engine: where it arrives.
        datagram: the packet.
        now: seconds since 1970.
        committed: called with the changes before they are answered; None if nobody is to hear of them.

    Returns:
        the exchange; its ``probe`` is the address that the network would have been asked for.
    """
    exchange = engine.arrive(datagram, now)
    await exchange.settle()
    engine.decide(exchange)
    exchange.probe, probed = 0, exchange.probe
    if exchange.changes and committed is not None:
        waiting = committed(exchange.changes)
        if waiting is not None:
            await waiting
    engine.answer(exchange)
    await exchange.settle()
    engine.finish(exchange)
    await exchange.settle()
    exchange.probe = probed
    return exchange


def likely_address(config: Config, name: str, relay: int = 0) -> int:
    """What the server may have for an address on an interface that this machine has not; 0 if nothing can be said."""
    named = [subnet for subnet in config.subnets if name in subnet.interfaces]
    for subnet in (named or [subnet for subnet in config.subnets if not subnet.interfaces])[:1]:
        routers = subnet.parameters.options.get(ROUTERS) or config.parameters.options.get(ROUTERS) or b""
        router = int.from_bytes(routers[:4], "big")
        return router if router in subnet and router != relay else _first_host(subnet, relay)
    return 0


def _first_host(subnet: Subnet, relay: int = 0) -> int:
    """The first that no pool gives out, or else the very first."""
    network = subnet.network
    hosts = range(subnet.first, subnet.last + 1) if network.prefixlen >= 31 else range(subnet.first + 1, subnet.last)
    return next((host for host in hosts[:65536] if subnet.pool(host) is None and host != relay), hosts[0])
