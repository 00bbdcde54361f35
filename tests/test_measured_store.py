"""How commits are measured."""

from __future__ import annotations

import math

import pytest
from server_kit import Store
from test_stores import leases

from aiodhcp.stores.measured import MeasuredStore


@pytest.fixture
def ticks() -> list[float]:
    """What the clock says, each time that it is asked."""
    return []


@pytest.fixture
async def inner() -> Store:
    return Store()


@pytest.fixture
def store(inner: Store, ticks: list[float]) -> MeasuredStore:
    return MeasuredStore(inner, lambda: ticks.pop(0))


async def test_commits_are_counted_with_their_seconds_and_leases(store, inner, ticks):
    ticks += [0, 0.003, 5, 5.0000005, 10, 1000]
    for count in (5, 0, 2**24):
        # Nobody looks into it.
        await store.commit(leases(count) if count < 9 else Many(count))
    metrics = store.metrics
    assert (metrics.commits, metrics.failures, metrics.leases) == (3, 0, 5 + 2**24)
    assert metrics.seconds == pytest.approx(990.0030005)
    assert {most: count for most, count in metrics.histogram if count} == {1e-6: 1, 0.004096: 1, math.inf: 1}
    assert {most: count for most, count in metrics.sizes if count} == {1: 1, 8: 1, math.inf: 1}
    assert len(inner.commits) == 3


class Many(list):
    """Something that says that it is so long."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __len__(self) -> int:
        return self.count


async def test_an_attempt_that_fails_is_counted_and_raises(store, inner, ticks):
    ticks += [0, 1]
    inner.error = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        await store.commit(leases(1))
    assert (store.metrics.commits, store.metrics.failures, store.metrics.seconds) == (0, 1, 0)


async def test_conflicts_leases_and_the_end_are_those_of_the_store(store, inner, ticks):
    ticks += [0, 1]
    inner.conflicts = leases(1)
    assert await store.commit(leases(2)) == leases(1)
    assert list(await store.load()) == leases(2)[1:]
    await store.close()
    assert (inner.loaded, inner.closed) == (1, 1)
