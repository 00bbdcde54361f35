"""Usage: how many addresses of each pool are in use, and what the log says when a link has no more.

Kept up with the lease table from the first time that somebody asks; until then it costs nothing.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiodhcp.leases import Lease, LeaseState
from aiodhcp.leasetable import LeaseTable
from aiodhcp.subnets import Config, Pool, Subnet

__all__ = ["PoolUsage", "Shortage", "Usage"]

log = logging.getLogger("aiodhcp.addresses")

QUIET: Final = 60.0
"""Seconds between two lines about the same link."""
_ACTIVE: Final = LeaseState.ACTIVE
_DECLINED: Final = LeaseState.DECLINED


class PoolUsage(NamedTuple):
    """What the addresses of pools are, each counted once.

    Attributes:
        size: all of them.
        leases: held by clients.
        offered: offered to clients, and not taken yet.
        declined: in probation.
        reserved: kept for clients that don't have them now.
    """

    size: int
    leases: int
    offered: int
    declined: int
    reserved: int

    @property
    def free(self) -> int:
        """Those that are nothing of this."""
        return self.size - self.leases - self.offered - self.declined - self.reserved

    @property
    def utilisation(self) -> float:
        """Which share is leased or declined, from 0 to 1."""
        return (self.leases + self.declined) / max(self.size, 1)

    def __str__(self) -> str:
        return (
            f"{self.size} addresses, {self.leases} leases, {self.offered} offered, {self.declined} declined,"
            f" {self.reserved} reserved"
        )


class Usage:
    """Counts the leases of each pool.

    Args:
        config: the pools.
        leases: which tells of its changes from now on.
    """

    def __init__(self, config: Config, leases: LeaseTable) -> None:
        self._config = config
        self._leases = leases
        self._counts: Counter[tuple[Pool, LeaseState]] = Counter()
        # There may be a million leases: each is looked at once, and none for each pool.
        for state in (_ACTIVE, _DECLINED):
            addresses = sorted(leases.addresses(state))
            for pool in (pool for subnet in config.subnets for pool in subnet.pools):
                self._counts[pool, state] = sum(
                    bisect_right(addresses, last) - bisect_left(addresses, first) for first, last in pool.ranges
                )
        leases.changed = self._changed

    def share(self, pool: Pool) -> float:
        """Which share of a pool is leased or declined, from 0 to 1."""
        return (self._counts[pool, _ACTIVE] + self._counts[pool, _DECLINED]) / max(pool.size, 1)

    def of(
        self, groups: Iterable[Sequence[Pool]], offered: Collection[int], reserved: Collection[int]
    ) -> list[PoolUsage]:
        """The usage of groups of pools, of each group together.

        Args:
            groups: of pools.
            offered: all addresses that are.
            reserved: the addresses that are kept for somebody.
        """
        promised = self._idle(offered, ())
        kept = self._idle(reserved, offered)
        return [
            PoolUsage(
                sum(pool.size for pool in pools),
                sum(self._counts[pool, _ACTIVE] for pool in pools),
                sum(promised[pool] for pool in pools),
                sum(self._counts[pool, _DECLINED] for pool in pools),
                sum(kept[pool] for pool in pools),
            )
            for pools in groups
        ]

    def _idle(self, addresses: Collection[int], without: Container[int]) -> Counter[Pool]:
        """How many of the addresses have no lease, in each pool."""
        found: Counter[Pool] = Counter()
        for address in addresses:
            if address not in without:
                lease = self._leases.get(address)
                pool = self._pool(address)
                if pool is not None and (lease is None or lease.state not in (_ACTIVE, _DECLINED)):
                    found[pool] += 1
        return found

    def _pool(self, address: int) -> Pool | None:
        subnet = self._config.subnet_of(address)
        return None if subnet is None else subnet.pool(address)

    def _changed(self, before: Lease | None, after: Lease | None) -> None:
        for lease, difference in ((before, -1), (after, 1)):
            if lease is not None and (lease.state == _ACTIVE or lease.state == _DECLINED):
                pool = self._pool(lease.address)
                if pool is not None:
                    self._counts[pool, lease.state] += difference


@dataclass(slots=True)
class Shortage:
    """A link had no free address for a client.

    Attributes:
        subnets: where one was looked for.
        pools: those that the client might have had one of.
        written: when the log said so last; 0 for never.
        lasts: whether there is still none.
    """

    subnets: Sequence[Subnet] = ()
    pools: Sequence[Pool] = ()
    written: float = 0.0
    lasts: bool = False

    def begins(self, subnets: Sequence[Subnet], pools: Sequence[Pool], usage: PoolUsage, now: float) -> None:
        """Write it down."""
        self.subnets, self.pools, self.written, self.lasts = subnets, pools, now, True
        log.warning("no free address in %s: %s", self._where(), usage)

    def ends(self, usage: PoolUsage) -> None:
        """Write that down."""
        log.warning("free addresses in %s again: %s", self._where(), usage)
        self.lasts = False

    def is_quiet(self, now: float) -> bool:
        """Whether it is too early for another line."""
        return self.written > 0 and 0 <= now - self.written < QUIET

    def _where(self) -> str:
        names = ", ".join(str(subnet.network) for subnet in self.subnets)
        shared = self.subnets[0].shared_network
        return f"shared network {shared} ({names})" if shared else names
