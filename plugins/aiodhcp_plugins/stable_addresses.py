"""stable_addresses: the same client gets the same address, by a hash of its identity, also when its lease is forgotten.

As dnsmasq does. It helps where leases are not kept, or where several servers share a configuration but no store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address

from pydantic import Field

from aiodhcp import Exchange, Subnet, Use, hookimpl
from aiodhcp_plugins.tables import Table

__all__ = ["StableAddresses"]

ANY_WILL_DO = (
    *("never used before", "the longest unused", "the lowest free one", "chosen at random"),
    "chosen by a hash of the client",
)
ASKED_FOR = "asked for by the client"
"""``Exchange.address_from`` of an address that is nothing to the client, and of one that it only wishes for."""


class StableAddresses:
    """Chooses the address that belongs to a client by a hash, or the next free one behind it.

    A reservation, a lease, and an offer of the client come first.
    """

    name = "stable-addresses"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        seed: str = Field("", description="mixed into the hash; the same on servers that are to choose the same")
        tries: int = Field(32, ge=1, le=1024, description="addresses to look at before the choice is the server's")
        requested: bool = Field(True, description="whether a free address that the client itself asks for comes first")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key = hashlib.blake2b(settings.seed.encode()).digest()
        self._without_reason = ANY_WILL_DO if settings.requested else (*ANY_WILL_DO, ASKED_FOR)

    @hookimpl
    def select_address(self, subnet: Subnet, exchange: Exchange) -> Use[IPv4Address] | None:
        """Choose where the server has no reason to give the client this address rather than another."""
        if exchange.address_from not in self._without_reason:
            return None
        return next((Use(each) for each in self._wishes(exchange, subnet) if exchange.may_have(each)), None)

    def _wishes(self, exchange: Exchange, subnet: Subnet) -> Iterator[IPv4Address]:
        """Addresses of the pools, from the one that belongs to the client on."""
        size = sum(pool.size for pool in subnet.pools)
        digest = hashlib.blake2b(exchange.client, digest_size=8, key=self._key).digest()
        first = int.from_bytes(digest, "big")
        for step in range(min(size, self.settings.tries)):
            at = (first + step) % size
            for low, high in (each for pool in subnet.pools for each in pool.ranges):
                if at <= high - low:
                    yield IPv4Address(low + at)
                    break
                at -= high - low + 1
