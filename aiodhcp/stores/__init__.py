"""Where leases survive. A store keeps rows and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from aiodhcp.leases import Lease

__all__ = ["Store"]


class Store(Protocol):
    """Three calls. The server makes one at a time, and never two commits at once."""

    async def load(self) -> Iterable[Lease]:
        """All leases, in whatever state. Called once, before anything else; opens what has to be opened.

        Raises:
            StoreError: held by another server, made by a newer version, or damaged.
        """

    async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
        """Put each lease in place of what was known of its address: all of them or none, on stable storage before
        this returns. The same changes may come again after a failure.

        Returns:
            for each address that another server sharing the store has given away first, the lease as it is there;
            those changes were not made. A store of one server returns ``()``.

        Raises:
            Exception: any, if nothing was committed; the server goes on trying.
        """

    async def close(self) -> None:
        """Let go of it. Nothing is called afterwards. May be called twice."""
