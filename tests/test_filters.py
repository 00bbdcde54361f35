"""Filters: which hardware addresses are served."""

from __future__ import annotations

import pytest
from client import make_engine
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp import ConfigError, DropReason, Filters, Settings, hookimpl

MAC = bytes.fromhex("001122334455")


@pytest.mark.parametrize(
    ("pattern", "served"),
    [
        ("00-11-22-33-44-55", True),
        ("00:11:22:33:44:55", True),
        ("001122334455", True),
        ("00-11-22-33-44-56", False),
        ("00-11-22-33-44", False),  # a whole address of five octets
        ("00-11-22-*", True),
        ("00-11-22-*-*-*", True),
        ("00-11-22*", True),
        ("001122*", True),
        ("00:11:22:*", True),
        (" 00-11-22-* ", True),
        ("*", True),
        ("00-11-23-*", False),
        ("00-11-22-33-44-55-66-*", False),
    ],
)
def test_patterns(pattern: str, served: bool) -> None:
    assert (Filters(allow=[pattern]).refusal(MAC) == "") is served
    assert (Filters(deny=[pattern]).refusal(MAC) == "") is not served


def test_deny_beats_allow() -> None:
    filters = Filters(allow=["00-11-22-33-44-55"], deny=["00-11-*"])
    assert filters.refusal(MAC) == "00:11:22:33:44:55 is denied by the filter 00-11-*"


def test_where_there_is_an_allow_list_nobody_else_is_served() -> None:
    filters = Filters(allow=["aa-*", "bb-bb-*"])
    assert filters.refusal(MAC) == "00:11:22:33:44:55 is not among those that the filters allow"
    assert filters.refusal(b"") == "no hardware address is not among those that the filters allow"
    assert filters.refusal(b"\xbb\xbb\0") == ""


def test_without_filters_all_are() -> None:
    assert not Filters()
    assert Filters().refusal(MAC) == ""


@pytest.mark.parametrize(
    "pattern", ["", "-", "0", "00-1-22", "00-11-2*", "00-*-22", "0g-*", "00-11:22-33", "00-11-", "00" * 17, "**-"]
)
def test_no_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^filters\.deny\[1\]: expected a hardware address or its beginning"):
        Filters(deny=["00-*", pattern])


@given(st.text("0123456789abcdef*-: ", max_size=24), st.binary(max_size=16))
def test_any_text_is_a_pattern_or_a_mistake(pattern: str, chaddr: bytes) -> None:
    try:
        filters = Filters(deny=[pattern])
    except ValueError:
        return
    digits = "".join(each for each in pattern.lower() if each in "0123456789abcdef")
    expected = chaddr.hex().startswith(digits) if "*" in pattern else chaddr.hex() == digits
    assert bool(filters.refusal(chaddr)) is expected


def test_an_empty_allow_list_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^configuration: filters\.allow: an empty list would serve nobody"):
        Settings.of({"interfaces": ["eth0"], "filters": {"allow": []}})


def test_who_is_denied_is_told_nothing_and_no_plugin_is_asked_for_its_subnet(new_client) -> None:
    asked = []

    class Chooser:
        @hookimpl
        def select_subnet(self, exchange):
            asked.append(exchange.hardware_address)

    engine = make_engine(plugins=[Chooser()], filters=Filters(deny=["02-00-00-00-00-01"]))
    one, two = new_client(engine), new_client(engine)
    assert one.discover() is None
    assert one.exchange.reason == DropReason.UNAUTH
    assert one.exchange.why == "02:00:00:00:00:01 is denied by the filter 02-00-00-00-00-01"
    assert two.join()
    assert asked == ["02:00:00:00:00:02"] * 2
