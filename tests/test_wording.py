"""What messages have in common."""

from __future__ import annotations

import pytest

from aiodhcp.wording import did_you_mean, is_round


def test_a_failure_that_goes_on_is_told_ever_more_rarely() -> None:
    assert [count for count in range(100_001) if is_round(count)] == [1, 10, 100, 1000, 10_000, 100_000]


@pytest.mark.parametrize(
    ("word", "most", "said"),
    [
        ("rooters", 1, "; did you mean 'routers'?"),
        ("cookie", 2, "; did you mean 'cookies' or 'cookie-servers'?"),
        ("xyz", 3, ""),
    ],
)
def test_what_was_meant(word: str, most: int, said: str) -> None:
    assert did_you_mean(word, iter(["routers", "cookie-servers", "cookies"]), 0.5, most) == said
