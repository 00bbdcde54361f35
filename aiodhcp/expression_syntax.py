"""Expression syntax: text → tree. What an expression over a packet may say, as Kea and dhcpd users know it.

It knows the names of options and fields, and neither a packet nor what an expression comes to (expressions.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Final, NoReturn

from aiodhcp.errors import ConfigError
from aiodhcp.options import definition
from aiodhcp.wording import did_you_mean

__all__ = ["FIELDS", "FUNCTIONS", "LONGEST", "Node", "parse"]

LONGEST: Final = 4096
"""Characters of an expression."""
DEEPEST: Final = 32
"""Parentheses, calls and ``not`` within each other."""

FIELDS: Final = (
    *("pkt.iface", "pkt.src", "pkt.dst", "pkt.len"),
    *("pkt4.mac", "pkt4.hlen", "pkt4.htype", "pkt4.msgtype", "pkt4.transid"),
    *("pkt4.ciaddr", "pkt4.giaddr", "pkt4.yiaddr", "pkt4.siaddr"),
    *("vendor.enterprise", "vendor-class.enterprise", "hardware"),
)
"""What is said by one name. ``hardware`` is dhcpd's: the hardware type, an octet, and the address."""

FUNCTIONS: Final[Mapping[str, str]] = {
    "substring": "vil",
    "concat": "vv*",
    "ifelse": "cvv",
    "hexstring": "vv",
    "lcase": "v",
    "ucase": "v",
    "split": "vvi",
    "addrtotext": "v",
    **{f"{sign}int{bits}totext": "v" for sign in ("", "u") for bits in (8, 16, 32)},
    "suffix": "vi",
    "packet": "ii",
    "pick-first-value": "v*",
    "binary-to-ascii": "iivv",
}
"""Functions → what they take: v a value, c a condition, i an integer, l an integer or ``all``; * the last any number of
times. The last four are dhcpd's.
"""

AGENT: Final = {"circuit-id": 1, "remote-id": 2, "link-selection": 5, "subscriber-id": 6}
"""Sub-options of option 82, as dhcpd calls them: ``option agent.circuit-id``."""

_CONDITIONS: Final = {"and", "or", "not", "==", "!=", "in", "exists", "member", "known", "unknown"}
_WORDS: Final = (
    *("option", "relay4", "vendor", "vendor-class", "member", "known", "unknown", "exists", "not"),
    *dict.fromkeys(each.partition(".")[0] for each in FIELDS),
    *FUNCTIONS,
)
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    | (?P<text>'[^']*'|"[^"]*")
    | (?P<hex>0[xX][0-9A-Fa-f]+(?![\w-]))
    | (?P<address>\d+\.\d+\.\d+\.\d+(?![\w.-]))
    | (?P<number>-?\d+(?![\w-]))
    | (?P<word>\w[\w-]*)
    | (?P<mark>==|!=|[=()\[\],.+*])""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression.

    Attributes:
        kind: what it is: "text", "hex", "address", "number", "field", "option", "relay", "vendor", "vendor-class",
            "exists", "member", "known", "unknown", "call", "not", "and", "or", "==", "!=", "in".
        parts: what it is made of: nodes, names, codes, octets.
        at: the column where it begins, which two equal trees need not share.
    """

    kind: str
    parts: tuple[Any, ...] = ()
    at: int = field(default=0, compare=False)

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false, and no octets."""
        return self.kind in _CONDITIONS


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        ConfigError: it is none; says in which column, and what was expected.
    """
    return _Parser(text).whole()


def _fail(at: int, words: str) -> NoReturn:
    raise ConfigError(f"column {at + 1}: {words}")


def _tokens(text: str) -> list[_Token]:
    if len(text) > LONGEST:
        raise ConfigError(f"expected at most {LONGEST} characters, got {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        _fail(error.start, "is no character")
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a quotation mark that nothing closes" if text[at] in "'\"" else repr(text[at])
            _fail(at, f"{what} has no place in an expression")
        if found.lastgroup != "space":
            tokens.append(_Token(str(found.lastgroup), found[0], at))
        at = found.end()
    return [*tokens, _Token("end", "", len(text))]


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._disjunction()
        if self._token.kind != "end":
            self._expected("'and', 'or' or the end")
        return node

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        return self._token.kind in ("word", "mark") and self._token.text in texts

    def _skip(self, *texts: str) -> bool:
        found = self._is(*texts)
        self._next += found
        return found

    def _need(self, text: str) -> None:
        if not self._skip(text):
            self._expected(repr(text))

    def _expected(self, what: str) -> NoReturn:
        token = self._token
        got = "the end" if token.kind == "end" else token.text if token.kind == "text" else repr(token.text)
        _fail(token.at, f"expected {what}, got {got}")

    def _disjunction(self) -> Node:
        return self._chain("or", self._conjunction)

    def _conjunction(self) -> Node:
        return self._chain("and", self._negation)

    def _chain(self, word: str, part: Callable[[], Node]) -> Node:
        first = part()
        nodes = [first]
        while self._skip(word):
            nodes.append(part())
        return first if len(nodes) == 1 else Node(word, tuple(map(_condition, nodes)), first.at)

    def _negation(self) -> Node:
        at = self._token.at
        if not self._skip("not"):
            return self._comparison()
        return Node("not", (_condition(self._deeper(self._negation)),), at)

    def _comparison(self) -> Node:
        left = self._sum()
        if self._skip("==", "="):
            return Node("==", (_value(left), _value(self._sum())), left.at)
        if self._skip("!="):
            return Node("!=", (_value(left), _value(self._sum())), left.at)
        if self._skip("in"):
            self._need("(")
            choices = [_value(self._deeper(self._sum))]
            while self._skip(","):
                choices.append(_value(self._deeper(self._sum)))
            self._need(")")
            return Node("in", (_value(left), *choices), left.at)
        return left

    def _sum(self) -> Node:
        first = self._operand()
        nodes = [first]
        while self._skip("+"):
            nodes.append(self._operand())
        return first if len(nodes) == 1 else Node("call", ("concat", *map(_value, nodes)), first.at)

    def _deeper(self, part: Callable[[], Node]) -> Node:
        if self._depth >= DEEPEST:
            _fail(self._token.at, f"more than {DEEPEST} within each other")
        self._depth += 1
        node = part()
        self._depth -= 1
        return node

    def _operand(self) -> Node:
        token = self._take()
        at, text = token.at, token.text
        if token.kind == "text":
            return Node("text", (text[1:-1],), at)
        if token.kind == "hex":
            digits = text[2:]
            return Node("hex", (bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2)),), at)
        if token.kind == "address":
            try:
                return Node("address", (int(IPv4Address(text)),), at)
            except ValueError:
                _fail(at, f"{text} is no IPv4 address")
        if token.kind == "number":
            return Node("number", (_number(token, 0, 0xFFFFFFFF),), at)
        if token.kind == "mark" and text == "(":
            node = self._deeper(self._disjunction)
            self._need(")")
            return node
        if token.kind != "word":
            self._next -= token.kind != "end"
            self._expected("a value or a condition")
        return self._named(token)

    def _named(self, token: _Token) -> Node:
        name, at = token.text, token.at
        special = self._SPECIAL.get(name)
        if special is not None:
            return special(self, at)
        if name in FUNCTIONS:
            return self._call(name, at)
        if name in ("pkt", "pkt4"):
            return self._field(name, at)
        if name == "hardware":
            return Node("field", (name,), at)
        if name in ("known", "unknown"):
            return Node(name, (), at)
        if name.startswith("relay6") or name == "pkt6":
            _fail(at, f"{name!r} is of DHCPv6, and this is DHCPv4")
        return _fail(at, f"there is no {name!r}{did_you_mean(name, _WORDS)}")

    def _field(self, name: str, at: int) -> Node:
        self._need(".")
        if self._token.kind != "word":
            self._expected("the name of a field")
        full = f"{name}.{self._take().text}"
        if full not in FIELDS:
            _fail(at, f"there is no field {full!r}{did_you_mean(full, FIELDS)}")
        return Node("field", (full,), at)

    def _call(self, name: str, at: int) -> Node:
        wanted = FUNCTIONS[name]
        self._need("(")
        parts: list[Any] = []
        kinds = wanted.removesuffix("*")
        for kind in kinds:
            if parts:
                self._need(",")
            parts.append(self._argument(kind))
        while wanted.endswith("*") and self._skip(","):
            parts.append(self._argument(kinds[-1]))
        self._need(")")
        if name == "binary-to-ascii":
            base, width = parts[:2]
            if not 2 <= base <= 16 or width not in (8, 16, 32):
                _fail(
                    at, f"binary-to-ascii: expected a base from 2 to 16 and a width of 8, 16 or 32, got {base}, {width}"
                )
        return Node("call", (name, *parts), at)

    def _argument(self, kind: str) -> Any:
        if kind == "v":
            return _value(self._deeper(self._disjunction))
        if kind == "c":
            return _condition(self._deeper(self._disjunction))
        if kind == "l" and self._skip("all"):
            return "all"
        if self._token.kind != "number":
            self._expected("an integer or 'all'" if kind == "l" else "an integer")
        return _number(self._take(), -65535, 65535)

    def _option(self, at: int) -> Node:
        if not self._skip("["):
            # dhcpd's: option vendor-class-identifier
            return Node("option", (self._dhcpd_option(), "hex"), at) if not self._is("agent") else self._agent(at)
        code = self._code()
        self._need("]")
        self._need(".")
        if self._skip("option"):
            self._need("[")
            sub = self._integer(0, 255)
            self._need("]")
            self._need(".")
            return self._how("option", (code, sub), at)
        return self._how("option", (code,), at)

    def _dhcpd_option(self) -> int:
        if self._token.kind != "word":
            self._expected("'[' or the name of an option")
        return self._code()

    def _agent(self, at: int) -> Node:
        """dhcpd's: option agent.circuit-id."""
        self._need("agent")
        self._need(".")
        token = self._take()
        if token.text not in AGENT:
            _fail(token.at, f"there is no {'agent.' + token.text!r}{did_you_mean(token.text, AGENT)}")
        return Node("relay", (AGENT[token.text], "hex"), at)

    def _exists(self, at: int) -> Node:
        """dhcpd's: exists vendor-class-identifier."""
        found = self._agent(at) if self._is("agent") else Node("option", (self._dhcpd_option(), "hex"), at)
        return Node("exists", (Node(found.kind, found.parts[:-1]),), at)

    def _relay(self, at: int) -> Node:
        self._need("[")
        code = self._integer(0, 255)
        self._need("]")
        self._need(".")
        return self._how("relay", (code,), at)

    def _vendor(self, at: int) -> Node:
        if self._is("."):
            return self._field("vendor", at)
        enterprise = self._enterprise()
        self._need(".")
        if self._skip("option"):
            self._need("[")
            code = self._integer(0, 255)
            self._need("]")
            self._need(".")
            return self._how("vendor", (enterprise, code), at)
        self._need("exists")
        return Node("exists", (Node("vendor", (enterprise,)),), at)

    def _vendor_class(self, at: int) -> Node:
        if self._is("."):
            return self._field("vendor-class", at)
        enterprise = self._enterprise()
        self._need(".")
        if self._skip("exists"):
            return Node("exists", (Node("vendor-class", (enterprise,)),), at)
        if not self._skip("data"):
            self._expected("'exists' or 'data'")
        index = 0
        if self._skip("["):
            index = self._integer(0, 255)
            self._need("]")
        return Node("vendor-class", (enterprise, index), at)

    def _enterprise(self) -> int | None:
        self._need("[")
        enterprise = None if self._skip("*") else self._integer(0, 0xFFFFFFFF)
        self._need("]")
        return enterprise

    def _member(self, at: int) -> Node:
        self._need("(")
        if self._token.kind != "text":
            self._expected("the name of a class in quotation marks")
        name = self._take().text[1:-1]
        self._need(")")
        return Node("member", (name,), at)

    def _how(self, kind: str, parts: tuple[Any, ...], at: int) -> Node:
        if self._skip("exists"):
            return Node("exists", (Node(kind, parts),), at)
        if not self._is("hex", "text"):
            self._expected("'hex', 'text' or 'exists'")
        return Node(kind, (*parts, self._take().text), at)

    def _code(self) -> int:
        token = self._token
        if token.kind not in ("word", "number"):
            self._expected("the name or the code of an option")
        try:
            code = definition(self._take().text).code
        except ValueError as error:
            _fail(token.at, str(error))
        return code

    def _integer(self, low: int, high: int) -> int:
        if self._token.kind != "number":
            self._expected("an integer")
        return _number(self._take(), low, high)

    _SPECIAL: Final[Mapping[str, Callable[[_Parser, int], Node]]] = {
        "option": _option,
        "exists": _exists,
        "relay4": _relay,
        "vendor": _vendor,
        "vendor-class": _vendor_class,
        "member": _member,
    }


def _number(token: _Token, low: int, high: int) -> int:
    number = int(token.text) if len(token.text) <= 11 else high + 1
    if not low <= number <= high:
        _fail(token.at, f"expected {low} to {high}, got {token.text}")
    return number


def _condition(node: Node) -> Node:
    if not node.is_condition:
        _fail(node.at, "expected a condition, and this is a value: compare it with '=='")
    return node


def _value(node: Node) -> Node:
    if node.is_condition:
        _fail(node.at, "expected a value, and this is a condition")
    return node
