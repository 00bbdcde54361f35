"""Expressions over a packet, compiled once to closures: conditions and values, as Kea and dhcpd users know them.

Evaluation is total: whatever a packet holds, a condition is true or false and a value some octets. What is not there is
empty. It knows a packet as ``Subject`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Protocol

from aiodhcp.errors import ConfigError
from aiodhcp.expression_printing import unparse
from aiodhcp.expression_syntax import Node, parse

__all__ = ["Condition", "Expression", "Subject", "Value"]

LONGEST_VALUE: Final = 4096
"""Octets of what a function makes; more are cut off. As long as the longest message."""

RELAY_AGENT_INFORMATION, VENDOR_CLASS, VENDOR_OPTIONS = 82, 124, 125


class Subject(Protocol):
    """What an expression is about: an ``Exchange``."""

    received: dict[int, bytes]
    htype: int
    chaddr: bytes
    xid: int
    ciaddr: int
    giaddr: int
    message_type: int

    @property
    def agent(self) -> Mapping[int, bytes]:
        """What a relay agent says of the client: sub-option code to octets."""

    @property
    def datagram(self) -> Any:
        """What arrived: ``data``, ``interface.name``, ``source``, ``destination``."""

    @property
    def classes(self) -> set[str]:
        """Names of the classes found so far."""

    @property
    def class_names(self) -> frozenset[str]:
        """The same, to look things up with."""

    def join(self, names: frozenset[str]) -> None:
        """Be in these classes, among which are all that it is in."""

    @property
    def reservation(self) -> object | None:
        """What is reserved for the client."""


Octets = Callable[[Subject], bytes]
Truth = Callable[[Subject], bool]


class Expression:
    """A parsed and compiled expression.

    Args:
        text: as the configuration has it.

    Attributes:
        text: as it was written.
        tree: what it means. Printed by ``str``.

    Raises:
        ConfigError: it is none; says in which column, and what was expected.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parse(text)

    def __str__(self) -> str:
        return unparse(self.tree)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash(self.tree)

    @cached_property
    def members(self) -> frozenset[str]:
        """The classes that it asks for: ``member('phones')``, and KNOWN or UNKNOWN for ``known`` and ``unknown``."""
        return frozenset(_members(self.tree))

    @cached_property
    def asks_relay(self) -> bool:
        """Whether it asks for what only a relay agent says, which a client that renews its lease does without."""
        return _asks_relay(self.tree)


class Condition(Expression):
    """An expression that is true or false of a packet."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if not self.tree.is_condition:
            raise ConfigError("expected a condition, and this is a value: compare it with '=='")
        self.holds: Final[Truth] = _truth(self.tree)
        """Whether it holds for a packet."""

    @cached_property
    def asks_only_members(self) -> bool:
        """Whether it asks for nothing but classes."""
        return _asks_only_members(self.tree)

    @cached_property
    def compared(self) -> tuple[Value, tuple[bytes, ...]] | None:
        """The value and the constants of ``value == constant`` and ``value in (constant, ...)``: it holds where the
        value is one of them. None for every other condition.
        """
        if self.tree.kind not in ("==", "in"):
            return None
        left, *rights = self.tree.parts
        constants = [_constant(each) for each in rights]
        if _constant(left) is not None or None in constants:
            return None
        return Value(unparse(left)), tuple(each for each in constants if each is not None)


class Value(Expression):
    """An expression that comes to octets."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if self.tree.is_condition:
            raise ConfigError("expected a value, and this is a condition")
        self.of: Final[Octets] = _octets(self.tree)
        """What it comes to for a packet; empty for what is not there."""


def _members(node: Node) -> Iterator[str]:
    if node.kind == "member":
        yield node.parts[0]
    elif node.kind in ("known", "unknown"):
        yield node.kind.upper()
    for part in node.parts:
        if isinstance(part, Node):
            yield from _members(part)


def _asks_only_members(node: Node) -> bool:
    if node.kind in ("and", "or", "not"):
        return all(map(_asks_only_members, node.parts))
    return node.kind == "member"


def _asks_relay(node: Node) -> bool:
    if node.kind == "relay" or node.parts[:1] in (("pkt4.giaddr",), ("pkt.src",)):
        return True
    if node.kind == "option" and node.parts[0] == RELAY_AGENT_INFORMATION:
        return True
    return any(_asks_relay(part) for part in node.parts if isinstance(part, Node))


# ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _truth(node: Node) -> Truth:
    return _TRUTHS[node.kind](*node.parts)


def _not(node: Node) -> Truth:
    holds = _truth(node)
    return lambda subject: not holds(subject)


def _and(*nodes: Node) -> Truth:
    every = tuple(map(_truth, nodes))
    if len(every) == 2:
        one, other = every
        return lambda subject: one(subject) and other(subject)

    def holds(subject: Subject) -> bool:
        for each in every:  # noqa: SIM110 - in a third of the time that all() takes
            if not each(subject):
                return False
        return True

    return holds


def _or(*nodes: Node) -> Truth:
    every = tuple(map(_truth, nodes))
    if len(every) == 2:
        one, other = every
        return lambda subject: one(subject) or other(subject)

    def holds(subject: Subject) -> bool:
        for each in every:  # noqa: SIM110 - as above
            if each(subject):
                return True
        return False

    return holds


def _equal(left: Node, right: Node) -> Truth:
    one, two = _octets(left), _octets(right)
    constant = _constant(right)
    if constant is not None:
        return lambda subject: one(subject) == constant
    return lambda subject: one(subject) == two(subject)


def _differ(left: Node, right: Node) -> Truth:
    same = _equal(left, right)
    return lambda subject: not same(subject)


def _in(left: Node, *choices: Node) -> Truth:
    one, several = _octets(left), tuple(map(_octets, choices))
    constants = [_constant(each) for each in choices]
    if None not in constants:
        found = frozenset(constants)
        return lambda subject: one(subject) in found

    def holds(subject: Subject) -> bool:
        value = one(subject)
        return any(value == each(subject) for each in several)

    return holds


def _exists(node: Node) -> Truth:
    return _EXISTS[node.kind](*node.parts)


def _option_exists(code: int, sub: int | None = None) -> Truth:
    if sub is None:
        return lambda subject: code in subject.received
    return lambda subject: sub in _sub_options(subject.received.get(code, b""))


def _vendor_exists(enterprise: int | None, code: int | None = None) -> Truth:
    if code is None:
        return lambda subject: _of_enterprise(subject, VENDOR_OPTIONS, enterprise) is not None
    return lambda subject: code in _sub_options(_of_enterprise(subject, VENDOR_OPTIONS, enterprise) or b"")


_EXISTS: Final[Mapping[str, Callable[..., Truth]]] = {
    "option": _option_exists,
    "relay": lambda code: lambda subject: code in subject.agent,
    "vendor": _vendor_exists,
    "vendor-class": lambda enterprise: lambda subject: _of_enterprise(subject, VENDOR_CLASS, enterprise) is not None,
}
_TRUTHS: Final[Mapping[str, Callable[..., Truth]]] = {
    "not": _not,
    "and": _and,
    "or": _or,
    "==": _equal,
    "!=": _differ,
    "in": _in,
    "exists": _exists,
    "member": lambda name: lambda subject: name in subject.classes,
    "known": lambda: lambda subject: subject.reservation is not None,
    "unknown": lambda: lambda subject: subject.reservation is None,
}


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _octets(node: Node) -> Octets:
    constant = _constant(node)
    if constant is not None:
        return lambda subject: constant
    return _VALUES[node.kind](*node.parts)


def _constant(node: Node) -> bytes | None:
    if node.kind == "text":
        return bytes(node.parts[0].encode())
    if node.kind == "hex":
        return bytes(node.parts[0])
    return _number(node.parts[0]) if node.kind in ("address", "number") else None


def _number(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _option(code: int, *rest: Any) -> Octets:
    strip = rest[-1] == "text"
    if len(rest) == 2:
        sub = rest[0]
        return _shown(lambda subject: _sub_options(subject.received.get(code, b"")).get(sub, b""), strip)
    return _shown(lambda subject: subject.received.get(code, b""), strip)


def _relay(code: int, how: str) -> Octets:
    return _shown(lambda subject: subject.agent.get(code, b""), how == "text")


def _vendor(enterprise: int | None, code: int, how: str) -> Octets:
    def value(subject: Subject) -> bytes:
        return _sub_options(_of_enterprise(subject, VENDOR_OPTIONS, enterprise) or b"").get(code, b"")

    return _shown(value, how == "text")


def _vendor_class(enterprise: int | None, index: int) -> Octets:
    def value(subject: Subject) -> bytes:
        data = list(_pieces(_of_enterprise(subject, VENDOR_CLASS, enterprise) or b"", 0, 1))
        return data[index][1] if index < len(data) else b""

    return value


def _shown(value: Octets, text: bool) -> Octets:
    """``text`` leaves out the zeros that some clients end it with (RFC 2132 §2)."""
    return (lambda subject: value(subject).rstrip(b"\0")) if text else value


def _pieces(octets: bytes, kind: int, length: int) -> Iterator[tuple[int, bytes]]:
    """A number of ``kind`` octets and a value that ``length`` octets count, again and again; none past the end."""
    at = 0
    while at + kind + length <= len(octets):
        start = at + kind + length
        end = start + int.from_bytes(octets[at + kind : start], "big")
        if end > len(octets):
            return
        yield int.from_bytes(octets[at : at + kind], "big"), octets[start:end]
        at = end


def _sub_options(octets: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for code, value in _pieces(octets, 1, 1):
        found.setdefault(code, value)
    return found


def _of_enterprise(subject: Subject, option: int, enterprise: int | None) -> bytes | None:
    """What options 124 and 125 hold for an enterprise, or for the first one (RFC 3925 §3, §4)."""
    for number, value in _pieces(subject.received.get(option, b""), 4, 1):
        if enterprise is None or number == enterprise:
            return value
    return None


def _first_enterprise(option: int) -> Octets:
    def value(subject: Subject) -> bytes:
        for number, _ in _pieces(subject.received.get(option, b""), 4, 1):
            return _number(number)
        return b""

    return value


_FIELDS: Final[Mapping[str, Octets]] = {
    "pkt.iface": lambda subject: bytes(subject.datagram.interface.name.encode(errors="replace")),
    "pkt.src": lambda subject: _number(subject.datagram.source),
    "pkt.dst": lambda subject: _number(subject.datagram.destination),
    "pkt.len": lambda subject: _number(len(subject.datagram.data)),
    "pkt4.mac": lambda subject: subject.chaddr,
    "pkt4.hlen": lambda subject: _number(len(subject.chaddr)),
    "pkt4.htype": lambda subject: _number(subject.htype),
    "pkt4.msgtype": lambda subject: _number(subject.message_type),
    "pkt4.transid": lambda subject: _number(subject.xid),
    "pkt4.ciaddr": lambda subject: _number(subject.ciaddr),
    "pkt4.giaddr": lambda subject: _number(subject.giaddr),
    "pkt4.yiaddr": lambda subject: bytes(subject.datagram.data[16:20]),
    "pkt4.siaddr": lambda subject: bytes(subject.datagram.data[20:24]),
    "vendor.enterprise": _first_enterprise(VENDOR_OPTIONS),
    "vendor-class.enterprise": _first_enterprise(VENDOR_CLASS),
    "hardware": lambda subject: bytes((subject.htype,)) + subject.chaddr,
}


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _call(name: str, *parts: Any) -> Octets:
    return _FUNCTIONS[name](*parts)


def _substring(node: Node, start: int, length: int | str) -> Octets:
    value = _octets(node)
    if start >= 0 and isinstance(length, int) and length >= 0:
        # As nearly all are written.
        end = start + length
        return lambda subject: value(subject)[start:end]

    def part(subject: Subject) -> bytes:
        octets = value(subject)
        size = len(octets)
        if not -size <= start < size:
            return b""
        begin = start + size if start < 0 else start
        if isinstance(length, str):
            return octets[begin:]
        return octets[begin : begin + length] if length >= 0 else octets[max(begin + length, 0) : begin]

    return part


def _suffix(node: Node, length: int) -> Octets:
    value = _octets(node)
    return lambda subject: value(subject)[-length:] if length > 0 else b""


def _packet(offset: int, length: int) -> Octets:
    if offset < 0 or length < 0:
        return lambda subject: b""
    return lambda subject: bytes(subject.datagram.data[offset : offset + length])


def _concat(*nodes: Node) -> Octets:
    values = tuple(map(_octets, nodes))
    return lambda subject: b"".join([each(subject) for each in values])[:LONGEST_VALUE]


def _pick(*nodes: Node) -> Octets:
    values = tuple(map(_octets, nodes))
    return lambda subject: next((found for each in values if (found := each(subject))), b"")


def _ifelse(condition: Node, one: Node, two: Node) -> Octets:
    holds, yes, no = _truth(condition), _octets(one), _octets(two)
    return lambda subject: yes(subject) if holds(subject) else no(subject)


def _hexstring(node: Node, separator: Node) -> Octets:
    value, between = _octets(node), _octets(separator)
    return lambda subject: _join([b"%02x" % octet for octet in value(subject)], between(subject))


def _join(words: list[bytes], between: bytes) -> bytes:
    """With something between, and no longer than a value may be: not even on the way there."""
    return between.join(words[: LONGEST_VALUE // (1 + len(between)) + 1])[:LONGEST_VALUE]


def _binary_to_ascii(base: int, width: int, separator: Node, node: Node) -> Octets:
    between, value, size = _octets(separator), _octets(node), width // 8

    def text(subject: Subject) -> bytes:
        octets = value(subject)
        ends = range(size, len(octets) + 1, size)
        return _join([_digits(int.from_bytes(octets[end - size : end], "big"), base) for end in ends], between(subject))

    return text


def _digits(number: int, base: int) -> bytes:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, base)
        digits = "0123456789abcdef"[digit] + digits
    return digits.encode()


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Node], Octets]:
    def function(node: Node) -> Octets:
        value = _octets(node)
        return lambda subject: change(value(subject))

    return function


def _split(node: Node, delimiters: Node, index: int) -> Octets:
    value, between = _octets(node), _octets(delimiters)

    def part(subject: Subject) -> bytes:
        octets, marks = value(subject), between(subject)
        if marks:
            # Any of them separates; then two in a row have nothing between.
            octets = octets.translate(bytes.maketrans(marks, marks[:1] * len(marks)))
        fields = octets.split(marks[:1]) if marks else [octets]
        return fields[index - 1] if 1 <= index <= len(fields) else b""

    return part


def _address_text(octets: bytes) -> bytes:
    if len(octets) == 4:
        return str(IPv4Address(octets)).encode()
    return str(IPv6Address(octets)).encode() if len(octets) == 16 else b""


def _integer_text(size: int, signed: bool) -> Callable[[bytes], bytes]:
    def text(octets: bytes) -> bytes:
        return str(int.from_bytes(octets, "big", signed=signed)).encode() if len(octets) == size else b""

    return text


_FUNCTIONS: Final[Mapping[str, Callable[..., Octets]]] = {
    "substring": _substring,
    "concat": _concat,
    "ifelse": _ifelse,
    "hexstring": _hexstring,
    "lcase": _changed(bytes.lower),
    "ucase": _changed(bytes.upper),
    "split": _split,
    "addrtotext": _changed(_address_text),
    **{
        f"{sign}int{bits}totext": _changed(_integer_text(bits // 8, not sign))
        for sign in ("", "u")
        for bits in (8, 16, 32)
    },
    "suffix": _suffix,
    "packet": _packet,
    "pick-first-value": _pick,
    "binary-to-ascii": _binary_to_ascii,
}
_VALUES: Final[Mapping[str, Callable[..., Octets]]] = {
    "field": _FIELDS.__getitem__,
    "option": _option,
    "relay": _relay,
    "vendor": _vendor,
    "vendor-class": _vendor_class,
    "call": _call,
}
