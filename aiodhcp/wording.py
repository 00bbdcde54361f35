"""Wording: what messages to people have in common, in the log and in errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "is_round"]


def did_you_mean(word: str, known: Iterable[str], least: float = 0.6, most: int = 1) -> str:
    """``"; did you mean 'this'?"`` when one of them is close, or nothing.

    Args:
        word: what was written.
        known: what there is.
        least: how close it must be, from 0 to 1.
        most: how many may be named.
    """
    close = difflib.get_close_matches(word, list(known), most, least)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def is_round(count: int) -> bool:
    """Whether what happens again and again is to be told this time: at 1, 10, 100 ..., so that it fills no disk."""
    return str(count).rstrip("0") == "1"
