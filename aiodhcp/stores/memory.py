"""A store that forgets: for tests, and for embedders to whom a lost lease does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiodhcp.leases import Lease

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps leases as long as the object lives.

    Args:
        leases: what it begins with.
    """

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self.leases = {lease.address: lease for lease in leases}

    async def load(self) -> Iterable[Lease]:
        """All leases."""
        return list(self.leases.values())

    async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
        """Put each lease in place of what was known of its address."""
        for lease in changes:
            self.leases[lease.address] = lease
        return ()

    async def close(self) -> None:
        """Nothing to let go of: the leases can be loaded again."""
