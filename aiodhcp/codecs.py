"""How the value of an option is read from octets and written to them.

Whatever the octets, ``decode`` raises nothing but :exc:`~aiodhcp.errors.DecodeError`; whatever the value, ``encode``
raises nothing but :exc:`ValueError`. What ``decode`` returns, ``encode`` takes. No codec knows an option's code.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from aiodhcp.constants import MessageType
from aiodhcp.errors import DecodeError

# fmt: off
__all__ = [
    "ADDRESS", "ADDRESS6", "ADDRESSES", "ADDRESSES_OR_NONE", "ADDRESS_PAIRS", "BOOLEAN", "FLAG", "MESSAGE_TYPE",
    "OPAQUE", "S8", "S16", "S32", "TEXT", "TEXT_OR_NONE", "U8", "U8_LIST", "U16", "U16_LIST", "U32", "Codec",
    "decode_text", "encode_text", "expected", "integer", "items_of", "list_of", "octets_of", "opaque", "two_of",
    "unreadable",
]
# fmt: on


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of value.

    Attributes:
        name: what the value is, for error messages and the documentation: ``address``, ``integer 0..255``.
        decode: octets of the option, without code and length → value; raises :exc:`DecodeError`.
        encode: value → octets; raises :exc:`ValueError`, saying what was expected and what was given.
        size: how many octets every value has; None where that differs.
    """

    name: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    size: int | None = None


_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def expected(what: str, value: object) -> ValueError:
    """The error of a value that can't be encoded."""
    try:
        shown = _REPR.repr(value)
    except Exception:  # a __repr__ may raise anything, and that of a huge integer does
        shown = f"a {type(value).__name__} that can't be shown"
    return ValueError(f"expected {what}, given {shown}")


def unreadable(what: str, data: bytes) -> DecodeError:
    """The error of octets that can't be decoded."""
    shown = data[:32].hex(":") + ("..." if len(data) > 32 else "")
    return DecodeError(
        f"expected {what}, found {len(data)} octets: {shown}" if data else f"expected {what}, found none"
    )


def items_of(value: Any) -> Sequence[Any]:
    """The items of a list: of any sequence, of a comma-separated string, or one value that stands for itself."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return value
    return [value]


def list_of(name: str, item: Codec, octets: int, least: int = 1) -> Codec:
    """A codec for ``list``s of at least ``least`` items, each ``octets`` long."""

    def decode(data: bytes) -> list[Any]:
        if len(data) % octets or len(data) < least * octets:
            raise unreadable(name, data)
        return [item.decode(data[at : at + octets]) for at in range(0, len(data), octets)]

    def encode(value: Any) -> bytes:
        items = items_of(value)
        if len(items) < least:
            raise expected(name, value)
        return b"".join(item.encode(each) for each in items)

    return Codec(name, decode, encode)


# ── numbers ──


def integer(octets: int, minimum: int = 0, maximum: int | None = None, *, signed: bool = False) -> Codec:
    """A codec for ``int``s in network byte order, from ``minimum`` to ``maximum`` (default: what the octets hold)."""
    limit = (1 << 8 * octets - signed) - 1 if maximum is None else maximum
    name = f"integer {minimum}..{limit}"

    def decode(data: bytes) -> int:
        number = int.from_bytes(data, signed=signed)
        if len(data) != octets or not minimum <= number <= limit:
            raise unreadable(f"{name} in {octets} octets", data)
        return number

    def encode(value: Any) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= limit:
            raise expected(name, value)
        return value.to_bytes(octets, signed=signed)

    return Codec(name, decode, encode, octets)


U8: Final = integer(1)
U16: Final = integer(2)
U32: Final = integer(4)
S8: Final = integer(1, -(1 << 7), signed=True)
S16: Final = integer(2, -(1 << 15), signed=True)
S32: Final = integer(4, -(1 << 31), signed=True)
U8_LIST: Final = list_of("list of integers 0..255", U8, 1)
U16_LIST: Final = list_of("list of integers 0..65535", U16, 2)


def _constant(name: str, size: int, wire: Mapping[bytes, bool]) -> Codec:
    def decode(data: bytes) -> bool:
        if data in wire:
            return wire[data]
        raise unreadable(name, data)

    def encode(value: Any) -> bytes:
        for octets, meaning in wire.items():
            if value is meaning:
                return octets
        raise expected(name, value)

    return Codec(name, decode, encode, size)


BOOLEAN: Final = _constant("boolean", 1, {b"\0": False, b"\1": True})
FLAG: Final = _constant("true without octets (a flag is there or it is not)", 0, {b"": True})


def _decode_message_type(data: bytes) -> int:
    number: int = U8.decode(data)
    try:
        return MessageType(number)
    except ValueError:
        return number


def _encode_message_type(value: Any) -> bytes:
    if not isinstance(value, str):
        return U8.encode(value)
    try:
        return U8.encode(MessageType[value.upper().removeprefix("DHCP")])
    except KeyError:
        raise expected("message type", value) from None


MESSAGE_TYPE: Final = Codec("message type", _decode_message_type, _encode_message_type)

# ── addresses ──


def _decode_address(data: bytes) -> IPv4Address:
    if len(data) != 4:
        raise unreadable("address", data)
    return IPv4Address(data)


def _encode_address(value: Any) -> bytes:
    if isinstance(value, IPv4Address):
        return value.packed
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return IPv4Address(value.strip() if isinstance(value, str) else value).packed
        except ValueError:
            pass
    raise expected("address", value)


ADDRESS: Final = Codec("address", _decode_address, _encode_address, 4)
ADDRESSES: Final = list_of("address list", ADDRESS, 4)
ADDRESSES_OR_NONE: Final = list_of("address list", ADDRESS, 4, least=0)


def _decode_address6(data: bytes) -> IPv6Address:
    if len(data) != 16:
        raise unreadable("IPv6 address", data)
    return IPv6Address(data)


def _encode_address6(value: Any) -> bytes:
    if isinstance(value, IPv6Address) and value.scope_id is None:
        return value.packed
    if isinstance(value, str) and "%" not in value:
        try:
            return IPv6Address(value.strip()).packed
        except ValueError:
            pass
    raise expected("IPv6 address", value)


ADDRESS6: Final = Codec("IPv6 address", _decode_address6, _encode_address6, 16)


def two_of(what: str, value: Any) -> Sequence[Any]:
    """The two halves of ``"a b"``, of ``"a via b"`` or of a sequence."""
    halves = re.split(r"\s+via\s+|\s+", value.strip()) if isinstance(value, str) else items_of(value)
    if len(halves) != 2:
        raise expected(what, value)
    return halves


def _decode_pair(data: bytes) -> tuple[IPv4Address, IPv4Address]:
    return _decode_address(data[:4]), _decode_address(data[4:])


def _encode_pair(value: Any) -> bytes:
    return b"".join(_encode_address(half) for half in two_of("pair of addresses", value))


ADDRESS_PAIRS: Final = list_of("address pair list", Codec("address pair", _decode_pair, _encode_pair, 8), 8)

# ── text ──


def decode_text(data: bytes, least: int = 1) -> str:
    """Text of at least ``least`` characters; what is not UTF-8 becomes lone surrogates, to be encoded as it came."""
    text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")  # trailing NULs are to be deleted: RFC 2132 §2
    if "\0" in text or len(text) < least:
        raise unreadable("text", data)
    return text


def encode_text(value: Any, least: int = 1) -> bytes:
    """The reverse."""
    if isinstance(value, str) and "\0" not in value and len(value) >= least:
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            pass
    raise expected("text, not empty and without NUL" if least else "text without NUL", value)


TEXT: Final = Codec("text", decode_text, encode_text)
TEXT_OR_NONE: Final = Codec("text", partial(decode_text, least=0), partial(encode_text, least=0))

# ── octets ──

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}(?:[:\- ]?[0-9A-Fa-f]{2})*)?")


def octets_of(value: Any) -> bytes:
    """``bytes``, or hex digits.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and _HEX.fullmatch(value):
        return bytes.fromhex(re.sub("[:-]", "", value))
    raise expected("octets: bytes, or hex digits such as '01:02:ab'", value)


def opaque(least: int = 0, most: int | None = None) -> Codec:
    """A codec for ``bytes``, from ``least`` to ``most`` of them; encodes hex digits, too."""
    name = f"octets, at least {least}" if least else "octets"
    if least == most:
        name = f"{least} octets"

    def decode(data: bytes) -> bytes:
        if len(data) < least or (most is not None and len(data) > most):
            raise unreadable(name, data)
        return data

    def encode(value: Any) -> bytes:
        octets = octets_of(value)
        if len(octets) < least or (most is not None and len(octets) > most):
            raise expected(name, value)
        return octets

    return Codec(name, decode, encode, least if least == most else None)


OPAQUE: Final = opaque()
