"""Values that are put together: records of several fields, items with a length, and the types of custom options.

It keeps to what ``codecs`` promises: ``decode`` raises ``DecodeError`` only, ``encode`` ``ValueError`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from aiodhcp.codecs import (
    ADDRESS,
    ADDRESS6,
    BOOLEAN,
    FLAG,
    OPAQUE,
    S8,
    S16,
    S32,
    TEXT,
    U8,
    U16,
    U32,
    Codec,
    expected,
    items_of,
    list_of,
    unreadable,
)
from aiodhcp.dnsnames import DOMAIN, DOMAINS_UNCOMPRESSED
from aiodhcp.errors import DecodeError

__all__ = ["TYPES", "by_enterprise", "codec_of", "described", "fields_of", "record", "record_of", "sized_items"]

TYPES: Final[Mapping[str, Codec]] = MappingProxyType(
    {
        "boolean": BOOLEAN,
        "uint8": U8,
        "uint16": U16,
        "uint32": U32,
        "int8": S8,
        "int16": S16,
        "int32": S32,
        "ipv4-address": ADDRESS,
        "ipv6-address": ADDRESS6,
        "text": TEXT,
        "string": TEXT,
        "binary": OPAQUE,
        "hex": OPAQUE,
        "fqdn": DOMAIN,
        "empty": FLAG,
    }
)
"""The types of which a custom option, or a field of one, can be."""


_TEXT_OR_OCTETS: Final = (str, bytes, bytearray, memoryview)


def record(name: str, fields: Sequence[Codec], make: type[tuple[Any, ...]] = tuple) -> Codec:
    """A codec for several fields, one behind the other.

    Args:
        name: what it is, for error messages.
        fields: their codecs; only the last one's values may differ in length.
        make: what to make of the values: a ``NamedTuple``, which may also be given as a table of its fields, or
            ``tuple``.
    """
    fixed = sum(field.size or 0 for field in fields[:-1])
    names: tuple[str, ...] = getattr(make, "_fields", ())
    build: Callable[[list[Any]], Any] = getattr(make, "_make", tuple)

    def decode(data: bytes) -> Any:
        if len(data) < fixed:
            raise unreadable(name, data)
        values, at = [], 0
        for field in fields[:-1]:
            end = at + (field.size or 0)
            values.append(field.decode(data[at:end]))
            at = end
        return build([*values, fields[-1].decode(data[at:])])

    def encode(value: Any) -> bytes:
        given = fields_of(names or [field.name for field in fields], value)
        return b"".join([field.encode(each) for field, each in zip(fields, given, strict=True)])

    size = None if fields[-1].size is None else fixed + fields[-1].size
    return Codec(name, decode, encode, size)


def fields_of(names: Sequence[str], value: Any) -> Sequence[Any]:
    """The fields of a record, given as a sequence, or as a table by their names (``-`` as good as ``_``).

    Raises:
        ValueError: it is neither, or some are missing or too many.
    """
    if isinstance(value, Mapping):
        given = {key.replace("-", "_"): each for key, each in value.items() if isinstance(key, str)}
        if given.keys() == set(names) and len(value) == len(names):
            return [given[each] for each in names]
    elif isinstance(value, Sequence) and not isinstance(value, _TEXT_OR_OCTETS) and len(value) == len(names):
        return value
    raise expected(", ".join(names).replace("_", "-"), value)


def record_of(make: type[tuple[Any, ...]], *fields: Codec) -> Codec:
    """The codec of a ``NamedTuple`` with those fields, called as its docstring begins."""
    return record(described(make), fields, make)


def described(make: type[tuple[Any, ...]]) -> str:
    """What a ``NamedTuple`` is, and its fields as a configuration writes them."""
    names: tuple[str, ...] = getattr(make, "_fields", ())
    return f"{(make.__doc__ or '').partition(' (')[0]}: {', '.join(names).replace('_', '-')}"


def sized_items(name: str, item: Codec, width: int, least: int = 1) -> Codec:
    """A codec for ``list``s of items, each behind its length.

    Args:
        name: what it is, for error messages.
        item: the codec of one.
        width: how many octets a length has.
        least: how many items there must be.
    """

    def decode(data: bytes) -> list[Any]:
        values, at = [], 0
        while at < len(data):
            start = at + width
            at = start + int.from_bytes(data[at:start])
            if at > len(data) or start > len(data):
                raise unreadable(name, data)
            values.append(item.decode(data[start:at]))
        if len(values) < least:
            raise unreadable(name, data)
        return values

    def encode(value: Any) -> bytes:
        items = items_of(value)
        if len(items) < least:
            raise expected(name, value)
        wire = b""
        for each in items:
            octets = item.encode(each)
            if len(octets) >> 8 * width:
                raise expected(f"{name}, each of fewer than {1 << 8 * width} octets", value)
            wire += len(octets).to_bytes(width) + octets
        return wire

    return Codec(name, decode, encode)


def by_enterprise(name: str, item: Codec, special: Mapping[int, Codec] | None = None) -> Codec:
    """A codec for ``dict[int, ...]``: for each enterprise number what it says (RFC 3925 §3, §4).

    An enterprise that comes again continues what it said before; octets beyond 255 are written that way. What is not
    in the form of ``item`` is left as octets.

    Args:
        name: what it is, for error messages.
        item: the codec of what an enterprise says.
        special: those of enterprises that have their own.
    """
    codecs = special or {}

    def decode(data: bytes) -> dict[int, Any]:
        raw: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            start = at + 5
            end = start + data[at + 4] if start <= len(data) else start
            if end > len(data):
                raise unreadable(name, data)
            number = int.from_bytes(data[at : at + 4])
            raw[number] = raw.get(number, b"") + data[start:end]
            at = end
        if not raw:
            raise unreadable(name, data)
        return {number: _decode_or_octets(codecs.get(number, item), octets) for number, octets in raw.items()}

    def encode(value: Any) -> bytes:
        if not isinstance(value, Mapping) or not value:
            raise expected(f"table of {name}", value)
        wire = b""
        for key, each in value.items():
            # The keys of a TOML table are strings.
            number = int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 10 else key
            head = U32.encode(number)
            octets = bytes(each) if isinstance(each, bytes | bytearray) else codecs.get(number, item).encode(each)
            for at in range(0, max(1, len(octets)), 255):
                part = octets[at : at + 255]
                wire += head + bytes([len(part)]) + part
        return wire

    return Codec(name, decode, encode)


def _decode_or_octets(codec: Codec, octets: bytes) -> Any:
    try:
        return codec.decode(octets)
    except DecodeError:
        return octets


def codec_of(type: str = "", record_types: Sequence[str] = (), array: bool = False) -> Codec:
    """The codec of a custom option.

    Args:
        type: one of :data:`TYPES`; empty for a record.
        record_types: the types of a record's fields; empty for a scalar.
        array: whether the option has any number of such values, one at least.

    Raises:
        ValueError: there is no such type, or it can't be in a record or an array as it is; the message begins with
            the name of the key.
    """
    if bool(type) == bool(record_types):
        raise ValueError("type: expected a type or a record, and not both")
    for key, each in [("type", type)] if type else [(f"record[{at}]", each) for at, each in enumerate(record_types)]:
        if each not in TYPES:
            raise ValueError(f"{key}: expected one of {', '.join(TYPES)}, got {each!r}")
    codec = TYPES[type] if type else record("record", [TYPES[each] for each in record_types])
    for at, each in enumerate(record_types[:-1]):
        if TYPES[each].size is None:
            raise ValueError(f"record[{at}]: a field of type {each} can only be the last one: its length is not fixed")
    if "empty" in record_types:
        raise ValueError("record: a field can't be empty")
    if not array:
        return codec
    if codec is DOMAIN:
        return DOMAINS_UNCOMPRESSED
    if not codec.size:
        raise ValueError(f"array: expected false: the length of {codec.name} is not fixed, or nothing")
    return list_of(f"list of {codec.name}", codec, codec.size)
