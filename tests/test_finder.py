"""Classes are found faster than test by test, and are the same."""

from __future__ import annotations

from functools import cache
from typing import Any

from client import make_engine, number
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodhcp import Datagram, Exchange, Interface, Packet
from aiodhcp.classes import SETS_KEPT, Finder
from aiodhcp.expressions import Condition

ENGINE = make_engine()
TEXTS = ("'a'", "'ab'", "'abc'", "0x6100", "''")
VALUES = (
    *("option[60].text", "option[60].hex", "substring(option[60].text, 0, 2)", "substring(option[60].hex, -1, all)"),
    *("relay4[1].hex", "substring(relay4[1].hex, 1, 1)", "ifelse(member('c0'), option[60].hex, 'ab')", "'ab'"),
)


@cache
def conditions(at: int) -> st.SearchStrategy[str]:
    """What the test of the ``at``-th class may be: it asks for the ones before, and for one that a hook may add."""
    value, text = st.sampled_from(VALUES), st.sampled_from(TEXTS)
    either = st.one_of(value, text)
    leaves = st.one_of(
        st.sampled_from(["option[60].exists", "relay4[1].exists", "relay4[2].exists", "member('hooked')"]),
        st.sampled_from([f"member('c{before}')" for before in range(at)] or ["member('hooked')"]),
        st.builds("{} == {}".format, either, either),
        st.builds("{} == {}".format, value, text),
        st.builds("{} != {}".format, value, text),
        st.builds("{} in ({}, {})".format, value, text, either),
    )
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.builds("not ({})".format, parts),
            st.builds("({}) and ({})".format, parts, parts),
            st.builds("({}) or ({})".format, parts, parts),
            st.builds("({}) and ({}) and ({})".format, parts, parts, parts),
            st.builds("({}) or ({}) or ({})".format, parts, parts, parts),
        ),
        max_leaves=4,
    )


OCTETS = st.sampled_from([b"a", b"ab", b"abc", b"a\0", b"", b"\0"])
PACKETS = st.tuples(
    st.fixed_dictionaries({}, optional={60: OCTETS, 82: OCTETS.map(lambda octets: bytes((1, len(octets))) + octets)}),
    st.sampled_from([frozenset[str](), frozenset({"hooked"}), frozenset({"c1", "hooked"})]),
)


REQUEST = Packet(op=1, giaddr=number("192.0.2.254"), chaddr=b"\2\0\0\0\0\1", options={"message-type": 1})
DATAGRAM = Datagram(bytes(REQUEST), Interface("lan", (number("192.0.2.1"),)))


def exchange_of(received: dict[int, bytes], names: frozenset[str]) -> Exchange:
    exchange = ENGINE.arrive(DATAGRAM, 0)
    exchange.received = received
    exchange.join(names)
    return exchange


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(PACKETS, min_size=1, max_size=8), st.booleans())
def test_the_classes_are_those_that_the_tests_say_one_by_one(data: Any, packets: Any, touched: bool) -> None:
    tests = [(f"c{at}", Condition(data.draw(conditions(at)))) for at in range(data.draw(st.integers(1, 8)))]
    finder = Finder(tests)
    for received, names in packets:
        one_by_one, found = (exchange_of(received, names) for _ in range(2))
        for name, test in tests:
            if test.holds(one_by_one):
                one_by_one.classes.add(name)
        held = found.classes if touched else None
        finder.find(found)
        assert found.class_names == one_by_one.class_names
        # Whoever has got hold of the set changes the classes by it, whenever that is.
        assert held is None or found.classes is held


def test_what_is_remembered_of_the_kinds_of_clients_is_bounded(monkeypatch: Any) -> None:
    assert SETS_KEPT > 1000
    monkeypatch.setattr("aiodhcp.classes.SETS_KEPT", 2)
    finder = Finder([("phones", Condition("option[60].text == 'phone'"))])
    for turn in range(9):
        exchange = exchange_of({60: b"phone"}, frozenset({f"hooked-{turn}"}))
        finder.find(exchange)
        assert exchange.class_names == {"phones", f"hooked-{turn}"}
        assert len(finder._kept) <= 2
