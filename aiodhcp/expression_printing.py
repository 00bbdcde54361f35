"""Expression printing: tree → text, which parsed is the same tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from aiodhcp.expression_syntax import Node

__all__ = ["unparse"]


def unparse(node: Node) -> str:
    """The text of a tree; parsed, it is the same tree."""
    return _UNPARSE[node.kind](*node.parts)


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def _said(node: Any) -> str:
    return unparse(node) if isinstance(node, Node) else str(node)


def _joined(word: str, apart: tuple[str, ...], nodes: tuple[Any, ...]) -> str:
    """Nodes with a word between, those that it would tear apart in parentheses. No more of these than need be: there
    may be ``DEEPEST`` of them.
    """
    return word.join(f"({unparse(each)})" if each.kind in apart else unparse(each) for each in nodes)


def _unparse_call(name: str, *parts: Any) -> str:
    if name == "concat":
        return " + ".join(
            f"({unparse(each)})" if each.kind == "call" and each.parts[0] == "concat" else unparse(each)
            for each in parts
        )
    return f"{name}({', '.join(map(_said, parts))})"


def _unparse_option(code: int, *rest: Any) -> str:
    sub = f".option[{rest[0]}]" if len(rest) == 2 else ""
    return f"option[{code}]{sub}.{rest[-1]}"


def _unparse_exists(node: Node) -> str:
    if node.kind in ("option", "relay"):
        return unparse(Node(node.kind, (*node.parts, "exists")))
    star = "*" if node.parts[0] is None else node.parts[0]
    sub = f".option[{node.parts[1]}]" if len(node.parts) == 2 else ""
    return f"{node.kind}[{star}]{sub}.exists"


_UNPARSE: Final[Mapping[str, Callable[..., str]]] = {
    "text": _quoted,
    "hex": lambda octets: f"0x{octets.hex()}",
    "address": lambda number: str(IPv4Address(number)),
    "number": str,
    "field": str,
    "option": _unparse_option,
    "relay": lambda code, how: f"relay4[{code}].{how}",
    "vendor": lambda enterprise, code, how: f"vendor[{'*' if enterprise is None else enterprise}].option[{code}].{how}",
    "vendor-class": lambda enterprise, at: f"vendor-class[{'*' if enterprise is None else enterprise}].data[{at}]",
    "exists": _unparse_exists,
    "member": lambda name: f"member({_quoted(name)})",
    "known": lambda: "known",
    "unknown": lambda: "unknown",
    "call": _unparse_call,
    "not": lambda node: "not " + _joined("", ("and", "or"), (node,)),
    "and": lambda *nodes: _joined(" and ", ("and", "or"), nodes),
    "or": lambda *nodes: _joined(" or ", ("or",), nodes),
    "==": lambda left, right: f"{_said(left)} == {_said(right)}",
    "!=": lambda left, right: f"{_said(left)} != {_said(right)}",
    "in": lambda left, *rest: f"{_said(left)} in ({', '.join(map(_said, rest))})",
}
