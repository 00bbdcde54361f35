"""Loading: what a store has becomes the leases of an engine, while other things of the event loop go on."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from aiodhcp.engine import Engine
from aiodhcp.hooks import Hooks
from aiodhcp.packing import PackedLeases
from aiodhcp.stores import Store
from aiodhcp.subnets import Config

__all__ = ["leases_outside", "load_engine"]

log = logging.getLogger("aiodhcp.server")
PROGRESS_SECONDS: Final = 2
"""Between two lines of the log about how far the leases are loaded."""


async def load_engine(store: Store, config: Config, hooks: Hooks) -> Engine:
    """An engine with the leases of a store, and with what has to be random.

    Args:
        store: where the leases survived.
        config: what the engine is to go by.
        hooks: what it is to call.

    Raises:
        StoreError: the leases can't be had.
    """
    leases = await store.load()
    if isinstance(leases, PackedLeases):
        leases = PackedLeases(_with_progress(leases.octets), leases.where)
    else:
        # A store of somebody's own may be able to read them in this thread only.
        leases = list(leases)
    # A million of them take seconds.
    engine = await asyncio.to_thread(Engine, config, hooks, leases)
    engine.addresses.seed = os.urandom(16)
    engine.nonces.seed = os.urandom(32)
    return engine


def leases_outside(engine: Engine) -> int:
    """How many leases are in no subnet."""
    addresses = sorted(engine.leases.addresses())
    inside = (
        bisect_right(addresses, subnet.last) - bisect_left(addresses, subnet.first) for subnet in engine.config.subnets
    )
    return len(addresses) - sum(inside)


def _with_progress(leases: Iterable[bytes]) -> Iterator[bytes]:
    """The same; the log says how far it is when there are many."""
    rest, said, count = iter(leases), time.monotonic(), 0
    while some := list(islice(rest, 10_000)):
        yield from some
        count += len(some)
        if time.monotonic() - said >= PROGRESS_SECONDS:
            said = time.monotonic()
            log.info("loading leases: %d so far", count)
