"""What a hook may answer: how verdicts are made, and what is no verdict."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from aiodhcp import Drop, DropReason, Nak, Use


@pytest.mark.parametrize(
    ("drop", "why", "reason"),
    [
        (Drop(), "", None),
        (Drop("not one of ours"), "not one of ours", None),
        (Drop(DropReason.UNAUTH), "", DropReason.UNAUTH),
        (Drop(DropReason.UNAUTH, "not one of ours"), "not one of ours", DropReason.UNAUTH),
        (Drop("not one of ours", DropReason.UNAUTH), "not one of ours", DropReason.UNAUTH),
        (Drop("not one of ours", reason=DropReason.UNAUTH), "not one of ours", DropReason.UNAUTH),
        (Drop(why="not one of ours"), "not one of ours", None),
        (Drop(reason=DropReason.INVALID), "", DropReason.INVALID),
    ],
)
def test_a_drop_has_words_and_a_reason_in_any_order(drop, why, reason):
    assert (drop.why, drop.reason) == (why, reason)
    assert drop == Drop(why, reason)


@pytest.mark.parametrize(
    "arguments",
    [(5,), ("no", "why"), ("no", 5), (DropReason.UNAUTH, DropReason.INVALID), (None,), (b"no",), ("no", "UNAUTH")],
)
def test_what_is_no_drop(arguments):
    with pytest.raises(TypeError, match="expected words and a DropReason, got "):
        Drop(*arguments)


def test_a_nak_has_words():
    assert Nak().why == ""
    assert Nak("ask at the desk").why == "ask at the desk"


@pytest.mark.parametrize("why", [5, None, DropReason.UNAUTH, b"no"])
def test_what_is_no_nak(why):
    with pytest.raises(TypeError, match="expected words, got "):
        Nak(why)


def test_a_use_has_whatever_is_chosen():
    assert Use("192.0.2.77").value == "192.0.2.77"
    assert Use(None).value is None
    assert Use[int](600) == Use(600)


@pytest.mark.parametrize("verdict", [Drop("no", DropReason.UNAUTH), Nak("no"), Use(600)], ids=str)
def test_a_verdict_is_a_value(verdict):
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert hash(verdict) == hash(dataclasses.replace(verdict))
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.why = "another"


def test_a_verdict_in_the_log():
    assert repr(Drop("no", DropReason.UNAUTH)) == "Drop(why='no', reason=<DropReason.UNAUTH: 5>)"
    assert repr(Nak("no")) == "Nak(why='no')"
    assert repr(Use(600)) == "Use(value=600)"
