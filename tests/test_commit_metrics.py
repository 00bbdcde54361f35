"""How commits are measured."""

from __future__ import annotations

import math

import pytest

from aiodhcp.commit_metrics import CommitMeter


def test_commits_are_counted_with_their_seconds_and_leases():
    ticks = [0, 0.003, 5, 5.0000005, 10, 1000]
    meter = CommitMeter(lambda: ticks.pop(0))
    for leases in (5, 0, 2**24):
        meter.begin()
        meter.end(leases)
    metrics = meter.metrics
    assert (metrics.commits, metrics.failures, metrics.leases) == (3, 0, 5 + 2**24)
    assert metrics.seconds == pytest.approx(990.0030005)
    assert {most: count for most, count in metrics.histogram if count} == {1e-6: 1, 0.004096: 1, math.inf: 1}
    assert {most: count for most, count in metrics.sizes if count} == {1: 1, 8: 1, math.inf: 1}


def test_an_attempt_that_fails_is_counted_and_no_more():
    meter = CommitMeter()
    meter.begin()
    meter.fail()
    assert (meter.metrics.commits, meter.metrics.failures, meter.metrics.seconds) == (0, 1, 0)
