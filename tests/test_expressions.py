"""Expressions over a packet: what they mean, what they refuse, and that no packet can trouble them."""

from __future__ import annotations

from typing import Any

import pytest
from client import LINK, number
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodhcp import Config, ConfigError, Datagram, Engine, Exchange, Packet, Reservation
from aiodhcp.expression_printing import unparse
from aiodhcp.expression_syntax import FIELDS, FUNCTIONS, LONGEST, Node, parse
from aiodhcp.expressions import Condition, Value


def exchange_of(data: bytes | None = None, *, giaddr: str = "0.0.0.0", **options: Any) -> Exchange:
    packet = Packet(
        op=1,
        hrd=1,
        hln=6,
        xid=0x01020304,
        ciaddr=number("192.0.2.7"),
        yiaddr=number("192.0.2.8"),
        siaddr=number("192.0.2.9"),
        giaddr=number(giaddr),
        chaddr=bytes.fromhex("0200000000fe"),
        sname=b"",
        file=b"",
        options={"message-type": 1, **{name.replace("_", "-"): value for name, value in options.items()}},
    )
    datagram = Datagram(bytes(packet) if data is None else data, LINK, number("192.0.2.1"), 68, 0xFFFFFFFF)
    return Engine(Config()).arrive(datagram, 0)


SAID: dict[str, Any] = {
    "giaddr": "192.0.2.254",
    "vendor_class_identifier": "PXEClient:Arch:00007:UNDI:003016",
    "host_name": b"pc-17\0",
    "client_system_architecture": [7],
    "relay_agent_information": {1: b"eth0/7", 2: b"\0\4switch", 6: b"anna"},
    "option_43": bytes.fromhex("0601080a02abcd"),
    "option_124": bytes.fromhex("0000118b050261620163"),
    "option_125": bytes.fromhex("0000118b050103666f6f0000000900"),
}


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("'foo'", b"foo"),
        ('"it\'s"', b"it's"),
        ("0x0a0B", b"\x0a\x0b"),
        ("0xabc", b"\x0a\xbc"),
        ("10.0.0.1", b"\x0a\0\0\1"),
        ("258", b"\0\0\1\2"),
        ("option[60].text", b"PXEClient:Arch:00007:UNDI:003016"),
        ("option[vendor-class-identifier].hex", b"PXEClient:Arch:00007:UNDI:003016"),
        ("option vendor-class-identifier", b"PXEClient:Arch:00007:UNDI:003016"),
        ("option[12].hex", b"pc-17\0"),
        ("option[12].text", b"pc-17"),
        ("option[93].hex", b"\0\7"),
        ("option[250].hex", b""),
        ("option[43].option[6].hex", b"\x08"),
        ("option[43].option[10].hex", b"\xab\xcd"),
        ("option[43].option[11].text", b""),
        ("relay4[1].hex", b"eth0/7"),
        ("relay4[9].text", b""),
        ("option agent.circuit-id", b"eth0/7"),
        ("option agent.subscriber-id", b"anna"),
        ("pkt.iface", b"eth0"),
        ("pkt.src", b"\xc0\0\2\1"),
        ("pkt.dst", b"\xff\xff\xff\xff"),
        ("pkt4.mac", b"\2\0\0\0\0\xfe"),
        ("hardware", b"\1\2\0\0\0\0\xfe"),
        ("pkt4.hlen", b"\0\0\0\6"),
        ("pkt4.htype", b"\0\0\0\1"),
        ("pkt4.msgtype", b"\0\0\0\1"),
        ("pkt4.transid", b"\1\2\3\4"),
        ("pkt4.ciaddr", b"\xc0\0\2\7"),
        ("pkt4.yiaddr", b"\xc0\0\2\x08"),
        ("pkt4.siaddr", b"\xc0\0\2\x09"),
        ("pkt4.giaddr", b"\xc0\0\2\xfe"),
        ("vendor.enterprise", b"\0\0\x11\x8b"),
        ("vendor[4491].option[1].hex", b"foo"),
        ("vendor[4491].option[2].hex", b""),
        ("vendor[*].option[1].text", b"foo"),
        ("vendor[7].option[1].hex", b""),
        ("vendor-class.enterprise", b"\0\0\x11\x8b"),
        ("vendor-class[4491].data", b"ab"),
        ("vendor-class[*].data[1]", b"c"),
        ("vendor-class[4491].data[2]", b""),
        ("vendor-class[1].data", b""),
        ("substring('foobar', 0, 6)", b"foobar"),
        ("substring('foobar', 3, all)", b"bar"),
        ("substring('foobar', 1, 4)", b"ooba"),
        ("substring('foobar', -5, 4)", b"ooba"),
        ("substring('foobar', -1, -3)", b"oba"),
        ("substring('foobar', 4, -2)", b"ob"),
        ("substring('foobar', 4, -20)", b"foob"),
        ("substring('foobar', 6, all)", b""),
        ("substring('foobar', -7, 3)", b""),
        ("substring('', 0, all)", b""),
        ("concat('a', 0x62)", b"ab"),
        ("'a' + 'b' + 'c'", b"abc"),
        ("('a' + 'b') + 'c'", b"abc"),
        ("ifelse(option[60].exists, 'yes', 'no')", b"yes"),
        ("ifelse(option[61].exists, 'yes', 'no')", b"no"),
        ("hexstring(pkt4.mac, ':')", b"02:00:00:00:00:fe"),
        ("hexstring(0x0a, '')", b"0a"),
        ("lcase('LoWeR')", b"lower"),
        ("ucase('UppEr')", b"UPPER"),
        ("split('10.0.0.1', '.', 1)", b"10"),
        ("split('a.b-c', '.-', 3)", b"c"),
        ("split('a..c', '.', 2)", b""),
        ("split('a.b', '.', 3)", b""),
        ("split('a.b', '.', 0)", b""),
        ("split('a.b', '', 1)", b"a.b"),
        ("addrtotext(10.0.0.1)", b"10.0.0.1"),
        ("addrtotext(0x20010db8000000000000000000000001)", b"2001:db8::1"),
        ("addrtotext('abc')", b""),
        ("int8totext(0xff)", b"-1"),
        ("uint8totext(0xff)", b"255"),
        ("int16totext(0xfffe)", b"-2"),
        ("uint16totext(option[93].hex)", b"7"),
        ("int32totext(0xffffffff)", b"-1"),
        ("uint32totext(7)", b"7"),
        ("uint32totext('no')", b""),
        ("suffix('foobar', 3)", b"bar"),
        ("suffix('foobar', 0)", b""),
        ("packet(0, 2)", b"\1\1"),
        ("packet(-1, 2)", b""),
        ("pick-first-value(option[61].hex, pkt4.mac)", b"\2\0\0\0\0\xfe"),
        ("pick-first-value(option[61].hex)", b""),
        ("binary-to-ascii(16, 8, ':', substring(hardware, 1, 6))", b"2:0:0:0:0:fe"),
        ("binary-to-ascii(10, 16, '.', 0x000000ff01)", b"0.255"),
    ],
)
def test_values(text: str, octets: bytes) -> None:
    assert Value(text).of(exchange_of(**SAID)) == octets


def test_the_length_of_the_packet() -> None:
    exchange = exchange_of()
    assert Value("pkt.len").of(exchange) == len(exchange.datagram.data).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("substring(option[60].text, 0, 9) == 'PXEClient'", True),
        ("option[60].text == 'PXEClient'", False),
        ("option[60].hex = 'PXEClient'", False),
        ("option[93].hex == 0x0007", True),
        ("option[93].hex == 7", False),  # two octets are not four
        ("pkt4.msgtype == 1", True),
        ("pkt4.msgtype != 1", False),
        ("option[93].hex in (0x0007, 0x0009)", True),
        ("option[93].hex in (0x0008, 0x0009)", False),
        ("pkt4.mac in ('', pkt4.mac)", True),
        ("pkt4.mac == pkt4.mac", True),
        ("option[60].exists", True),
        ("exists vendor-class-identifier", True),
        ("exists agent.remote-id", True),
        ("option[61].exists", False),
        ("option[250].hex == ''", True),
        ("option[43].option[6].exists", True),
        ("option[43].option[7].exists", False),
        ("relay4[1].exists", True),
        ("relay4[7].exists", False),
        ("vendor[4491].exists", True),
        ("vendor[9].exists", True),
        ("vendor[8].exists", False),
        ("vendor[*].exists", True),
        ("vendor[4491].option[1].exists", True),
        ("vendor[9].option[1].exists", False),
        ("vendor-class[4491].exists", True),
        ("vendor-class[9].exists", False),
        ("member('phones')", True),
        ("member('guests')", False),
        ("known", False),
        ("unknown", True),
        ("not member('phones')", False),
        ("not not member('phones')", True),
        ("not member('phones') or member('phones')", True),  # not binds closest, then and
        ("member('phones') or member('phones') and member('guests')", True),
        ("(member('phones') or member('phones')) and member('guests')", False),
        ("member('guests') or member('strangers')", False),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    exchange = exchange_of(**SAID)
    exchange.classes.add("phones")
    assert Condition(text).holds(exchange) is holds


def test_known_is_who_has_a_reservation() -> None:
    exchange = exchange_of()
    exchange.reservation = Reservation("02:00:00:00:00:fe")
    assert Condition("known and not unknown").holds(exchange)


def test_what_a_client_says_for_a_relay_agent_does_not_count() -> None:
    exchange = exchange_of(relay_agent_information={1: b"eth0/7"})
    assert Condition("not relay4[1].exists and relay4[1].hex == ''").holds(exchange)
    assert Condition("option[82].option[1].hex == 'eth0/7'").holds(exchange)


@pytest.mark.parametrize("octets", [b"\6", b"\6\2a", b"\0\0\0\1\5abc", b"\0\0"])
def test_what_is_broken_is_not_there(octets: bytes) -> None:
    exchange = exchange_of(option_43=octets, option_124=octets, option_125=octets)
    assert Value("option[43].option[6].hex + vendor[*].option[1].hex + vendor-class[*].data").of(exchange) == b""
    assert Value("vendor.enterprise + vendor-class.enterprise").of(exchange) == b""


def test_the_first_of_two_sub_options_counts() -> None:
    assert Value("option[43].option[1].hex").of(exchange_of(option_43=b"\1\1a\1\1b")) == b"a"


def test_what_is_not_needed_is_not_looked_at() -> None:
    looked = []

    class Watched(set[str]):
        def __contains__(self, name: object) -> bool:
            looked.append(name)
            return super().__contains__(name)

    exchange = exchange_of()
    exchange.joined = Watched({"a"})
    for text in (
        "member('a') or member('b')",
        "member('c') and member('d')",
        "ifelse(member('e'), pkt.len, 'x') == 'x'",
    ):
        Condition(text).holds(exchange)
    assert looked == ["a", "c", "e"]


def test_values_do_not_grow_without_end() -> None:
    text = "option[60].hex"
    for _ in range(30):
        text = f"hexstring({text}, 'between')"
    assert len(Value(text).of(exchange_of(**SAID))) == 4096
    assert len(Value("+".join(["option[60].hex"] * 250)).of(exchange_of(**SAID))) == 4096


# ── what is refused ──


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "column 1: expected a value or a condition, got the end"),
        ("option[60].text == ", "column 20: expected a value or a condition, got the end"),
        ("option[60].text == 'PXE", "column 20: a quotation mark that nothing closes has no place in an expression"),
        ("option[60].text == ´a´", "column 20: '´' has no place in an expression"),
        ("option[60].txt == 'a'", "column 12: expected 'hex', 'text' or 'exists', got 'txt'"),
        ("option[60] == 'a'", "column 12: expected '.', got '=='"),
        (
            "option[vendor-clas-identifier].exists",
            "column 8: no option is called 'vendor-clas-identifier'; did you mean",
        ),
        ("option['a'].exists", "column 8: expected the name or the code of an option, got 'a'"),
        ("option[0].exists", "column 8: expected an option's name or a code in 1..254, given '0'"),
        ("option 'a'", "column 8: expected '[' or the name of an option, got 'a'"),
        ("option[43].option[256].exists", "column 19: expected 0 to 255, got 256"),
        ("option[43].option[a].exists", "column 19: expected an integer, got 'a'"),
        ("option agent.circuit == 'a'", "column 14: there is no 'agent.circuit'; did you mean 'circuit-id'?"),
        ("pkt4.hlem == 6", "column 1: there is no field 'pkt4.hlem'; did you mean 'pkt4.hlen'?"),
        ("pkt4.6", "column 6: expected the name of a field, got '6'"),
        ("substr('a', 0, 1) == 'a'", "column 1: there is no 'substr'; did you mean 'substring'?"),
        ("quux", "column 1: there is no 'quux'"),
        ("relay6[0].option[37].exists", "column 1: 'relay6' is of DHCPv6, and this is DHCPv4"),
        ("pkt6.msgtype == 1", "column 1: 'pkt6' is of DHCPv6, and this is DHCPv4"),
        ("substring('a', x, 1) == 'a'", "column 16: expected an integer, got 'x'"),
        ("substring('a', 0, some) == 'a'", "column 19: expected an integer or 'all', got 'some'"),
        ("substring('a', 0) == 'a'", "column 17: expected ',', got ')'"),
        ("substring('a', 99999, 1) == 'a'", "column 16: expected -65535 to 65535, got 99999"),
        ("'a' == 4294967296", "column 8: expected 0 to 4294967295, got 4294967296"),
        ("'a' == 99999999999999", "column 8: expected 0 to 4294967295, got 99999999999999"),
        ("'a' == 10.0.0.256", "column 8: 10.0.0.256 is no IPv4 address"),
        ("'a'", "expected a condition, and this is a value: compare it with '=='"),
        ("option[1].exists and 'a'", "column 22: expected a condition, and this is a value: compare it with '=='"),
        ("not 'a'", "column 5: expected a condition, and this is a value: compare it with '=='"),
        ("option[1].exists == 'a'", "column 1: expected a value, and this is a condition"),
        ("'a' == 'b' 'c'", "column 12: expected 'and', 'or' or the end, got 'c'"),
        ("('a' == 'b'", "column 12: expected ')', got the end"),
        ("member(phones)", "column 8: expected the name of a class in quotation marks, got 'phones'"),
        ("vendor[4491].data == 'a'", "column 14: expected 'exists', got 'data'"),
        ("vendor-class[4491].hex == 'a'", "column 20: expected 'exists' or 'data', got 'hex'"),
        ("binary-to-ascii(1, 8, ':', pkt4.mac) == 'a'", "column 1: binary-to-ascii: expected a base from 2 to 16"),
        ("'\ud800' == 'a'", "column 2: is no character"),
        ("(" * 40 + "known" + ")" * 40, "column 34: more than 32 within each other"),
        ("not " * 40 + "known", "column 133: more than 32 within each other"),
        ("known " * 1000, "expected at most 4096 characters, got 6000"),
    ],
)
def test_no_conditions(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Condition(text)
    assert str(error.value).startswith(words)


def test_a_condition_is_no_value() -> None:
    with pytest.raises(ConfigError, match=r"^expected a value, and this is a condition$"):
        Value("known")


def test_the_classes_that_are_asked_for() -> None:
    assert Condition("member('a') or not (known and member(\"b\"))").members == {"a", "b", "KNOWN"}
    assert Value("ifelse(unknown, 'a', 'b')").members == {"UNKNOWN"}


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("relay4[1].hex == 'a'", True),
        ("not (option[60].exists or relay4[1].exists)", True),
        ("pkt4.giaddr == 10.0.0.1", True),
        ("option[82].option[1].exists", True),
        ("option[60].exists and pkt4.mac == 'relay'", False),
    ],
)
def test_whether_a_relay_agent_is_asked(text: str, asks: bool) -> None:
    assert Condition(text).asks_relay is asks


def test_expressions_are_equal_that_mean_the_same() -> None:
    one, two = Value("'a'+option[60].hex"), Value("concat( 'a', option vendor-class-identifier )")
    assert one == two
    assert hash(one) == hash(two)
    assert one != Value("'a'")
    assert one != "'a'"
    assert str(two) == "'a' + option[60].hex"
    assert repr(Value("'a'")) == "Value(\"'a'\")"


# ── any text, any tree, any packet ──

WORDS = [
    *(
        "option",
        "exists",
        "relay4",
        "vendor",
        "vendor-class",
        "member",
        "known",
        "not",
        "and",
        "or",
        "in",
        "all",
        "agent",
    ),
    *("[", "]", "(", ")", ".", ",", "+", "*", "==", "!=", "'a'", '"b"', "60", "-1", "0xab", "10.0.0.1", "hex", "text"),
    *("data", "circuit-id", "vendor-class-identifier", "§", " ", "'"),
    *FIELDS,
    *FUNCTIONS,
]


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), st.from_regex(r"[\x00-\x7f]*"))
)
def test_any_text_is_an_expression_or_a_mistake(text: str) -> None:
    try:
        tree = parse(text)
    except ConfigError:
        return
    printed = unparse(tree)
    assert len(printed) > LONGEST or parse(printed) == tree


BYTE = st.integers(0, 255)
CODE = st.integers(1, 254)
HOW = st.sampled_from(["hex", "text"])
ENTERPRISE = st.none() | st.integers(0, 0xFFFFFFFF)
NAMES = st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=8)
LITERALS = st.one_of(
    NAMES.map(lambda text: Node("text", (text,))),
    st.binary(min_size=1, max_size=20).map(lambda octets: Node("hex", (octets,))),
    st.integers(0, 0xFFFFFFFF).map(lambda number: Node("address", (number,))),
    st.integers(0, 0xFFFFFFFF).map(lambda number: Node("number", (number,))),
)


def node(kind: str, *parts: Any) -> st.SearchStrategy[Node]:
    return st.tuples(*parts).map(lambda parts: Node(kind, parts))


LEAVES = st.one_of(
    LITERALS,
    st.sampled_from(FIELDS).map(lambda name: Node("field", (name,))),
    node("option", CODE, HOW),
    node("option", CODE, BYTE, HOW),
    node("relay", BYTE, HOW),
    node("vendor", ENTERPRISE, BYTE, HOW),
    node("vendor-class", ENTERPRISE, BYTE),
)
EXISTS = st.one_of(
    node("option", CODE),
    node("option", CODE, BYTE),
    node("relay", BYTE),
    node("vendor", ENTERPRISE),
    node("vendor", ENTERPRISE, BYTE),
    node("vendor-class", ENTERPRISE),
).map(lambda node: Node("exists", (node,)))
FACTS = st.one_of(EXISTS, node("member", NAMES), st.sampled_from([Node("known"), Node("unknown")]))
INTEGER = st.integers(-65535, 65535)
ARGUMENTS = {"i": INTEGER, "l": INTEGER | st.just("all")}


def calls(values: st.SearchStrategy[Node], conditions: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    kinds = {**ARGUMENTS, "v": values, "c": conditions}

    def call(name: str) -> st.SearchStrategy[Node]:
        if name == "binary-to-ascii":
            return node("call", st.just(name), st.integers(2, 16), st.sampled_from([8, 16, 32]), values, values)
        return node("call", st.just(name), *[kinds[kind] for kind in FUNCTIONS[name].removesuffix("*")])

    return st.sampled_from(sorted(FUNCTIONS)).flatmap(call)


def conditions_over(values: st.SearchStrategy[Node], conditions: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        FACTS,
        node("==", values, values),
        node("!=", values, values),
        node("in", values, values, values),
        node("not", conditions),
        node("and", conditions, conditions),
        node("or", conditions, conditions, conditions),
    )


VALUES_1 = st.one_of(LEAVES, calls(LEAVES, FACTS))
CONDITIONS_1 = conditions_over(VALUES_1, FACTS)
VALUES = st.one_of(LEAVES, calls(VALUES_1, CONDITIONS_1))
CONDITIONS = conditions_over(VALUES, conditions_over(VALUES_1, CONDITIONS_1))


@given(CONDITIONS)
def test_a_tree_is_what_its_text_says(tree: Node) -> None:
    assert parse(unparse(tree)) == tree


@settings(max_examples=300)
@given(CONDITIONS, VALUES, st.dictionaries(CODE, st.binary(max_size=300), max_size=6), st.booleans())
def test_no_packet_troubles_an_expression(
    condition: Node, value: Node, options: dict[int, bytes], relayed: bool
) -> None:
    exchange = exchange_of(giaddr="192.0.2.254" if relayed else "0.0.0.0")
    exchange.received = options
    assert Condition(unparse(condition)).holds(exchange) in (True, False)
    assert isinstance(Value(unparse(value)).of(exchange), bytes)
