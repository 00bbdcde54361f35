"""How the value of an option is read from octets and written to them.

Whatever the octets, ``decode`` raises nothing but :exc:`~aiodhcp.errors.DecodeError`; whatever the value, ``encode``
raises nothing but :exc:`ValueError`. What ``decode`` returns, ``encode`` takes. No codec knows an option's code.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final, NamedTuple

from aiodhcp.constants import MessageType
from aiodhcp.errors import DecodeError

# fmt: off
__all__ = [
    "ADDRESS", "ADDRESSES", "ADDRESSES_OR_NONE", "ADDRESS_PAIRS", "BOOLEAN", "CLIENT_FQDN", "DOMAIN", "DOMAINS",
    "DOMAINS_UNCOMPRESSED", "ENTERPRISES", "FLAG", "MESSAGE_TYPE", "OPAQUE", "ROUTES", "S32", "SUB_OPTIONS", "TEXT",
    "U8", "U8_LIST", "U16", "U16_LIST", "U32", "USER_CLASS", "ClientFqdn", "Codec", "FqdnFlag", "Route", "integer",
    "list_of", "opaque",
]
# fmt: on


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of value.

    Attributes:
        name: what the value is, for error messages and the documentation: ``address``, ``integer 0..255``.
        decode: octets of the option, without code and length → value; raises :exc:`DecodeError`.
        encode: value → octets; raises :exc:`ValueError`, saying what was expected and what was given.
    """

    name: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def _expected(what: str, value: object) -> ValueError:
    try:
        shown = _REPR.repr(value)
    except Exception:  # a __repr__ may raise anything, and that of a huge integer does
        shown = f"a {type(value).__name__} that can't be shown"
    return ValueError(f"expected {what}, given {shown}")


def _unreadable(what: str, data: bytes) -> DecodeError:
    shown = data[:32].hex(":") + ("..." if len(data) > 32 else "")
    return DecodeError(
        f"expected {what}, found {len(data)} octets: {shown}" if data else f"expected {what}, found none"
    )


def _items(value: Any) -> Sequence[Any]:
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
            raise _unreadable(name, data)
        return [item.decode(data[at : at + octets]) for at in range(0, len(data), octets)]

    def encode(value: Any) -> bytes:
        items = _items(value)
        if len(items) < least:
            raise _expected(name, value)
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
            raise _unreadable(f"{name} in {octets} octets", data)
        return number

    def encode(value: Any) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= limit:
            raise _expected(name, value)
        return value.to_bytes(octets, signed=signed)

    return Codec(name, decode, encode)


U8: Final = integer(1)
U16: Final = integer(2)
U32: Final = integer(4)
S32: Final = integer(4, -(1 << 31), signed=True)
U8_LIST: Final = list_of("list of integers 0..255", U8, 1)
U16_LIST: Final = list_of("list of integers 0..65535", U16, 2)


def _constant(name: str, wire: Mapping[bytes, bool]) -> Codec:
    def decode(data: bytes) -> bool:
        if data in wire:
            return wire[data]
        raise _unreadable(name, data)

    def encode(value: Any) -> bytes:
        for octets, meaning in wire.items():
            if value is meaning:
                return octets
        raise _expected(name, value)

    return Codec(name, decode, encode)


BOOLEAN: Final = _constant("boolean", {b"\0": False, b"\1": True})
FLAG: Final = _constant("true without octets (a flag is there or it is not)", {b"": True})


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
        raise _expected("message type", value) from None


MESSAGE_TYPE: Final = Codec("message type", _decode_message_type, _encode_message_type)

# ── addresses and routes ──


def _decode_address(data: bytes) -> IPv4Address:
    if len(data) != 4:
        raise _unreadable("address", data)
    return IPv4Address(data)


def _encode_address(value: Any) -> bytes:
    if isinstance(value, IPv4Address):
        return value.packed
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return IPv4Address(value.strip() if isinstance(value, str) else value).packed
        except ValueError:
            pass
    raise _expected("address", value)


ADDRESS: Final = Codec("address", _decode_address, _encode_address)
ADDRESSES: Final = list_of("address list", ADDRESS, 4)
ADDRESSES_OR_NONE: Final = list_of("address list", ADDRESS, 4, least=0)


class Route(NamedTuple):
    """A classless static route (RFC 3442); a gateway of 0.0.0.0 means that the network is on the link."""

    network: IPv4Network
    gateway: IPv4Address


def _two(what: str, value: Any) -> Sequence[Any]:
    """The two halves of ``"a b"``, of ``"a via b"`` or of a sequence."""
    halves = re.split(r"\s+via\s+|\s+", value.strip()) if isinstance(value, str) else _items(value)
    if len(halves) != 2:
        raise _expected(what, value)
    return halves


def _decode_pair(data: bytes) -> tuple[IPv4Address, IPv4Address]:
    return _decode_address(data[:4]), _decode_address(data[4:])


def _encode_pair(value: Any) -> bytes:
    return b"".join(_encode_address(half) for half in _two("pair of addresses", value))


ADDRESS_PAIRS: Final = list_of("address pair list", Codec("address pair", _decode_pair, _encode_pair), 8)


def _decode_routes(data: bytes) -> list[Route]:
    routes = []
    at = 0
    while at < len(data):
        prefix = data[at]
        significant = -(-prefix // 8)
        gateway = at + 1 + significant
        if prefix > 32 or gateway + 4 > len(data):
            raise _unreadable("routes", data)
        # Bits beyond the mask are to be ignored, not refused (RFC 3442, "Client Administrator Responsibilities").
        network = IPv4Network((data[at + 1 : gateway].ljust(4, b"\0"), prefix), strict=False)
        routes.append(Route(network, IPv4Address(data[gateway : gateway + 4])))
        at = gateway + 4
    if not routes:
        raise _unreadable("routes", data)
    return routes


def _encode_route(value: Any) -> bytes:
    network, gateway = _two("route such as '10.0.0.0/8 via 192.168.1.1'", value)
    if isinstance(network, str):
        try:
            network = IPv4Network(network)
        except ValueError as why:
            raise ValueError(f"expected network such as 10.0.0.0/8: {why}") from None
    if not isinstance(network, IPv4Network):
        raise _expected("network such as 10.0.0.0/8", network)
    significant = -(-network.prefixlen // 8)
    return bytes([network.prefixlen]) + network.network_address.packed[:significant] + _encode_address(gateway)


def _encode_routes(value: Any) -> bytes:
    routes = [value] if isinstance(value, Route) else _items(value)
    if not routes:
        raise _expected("routes", value)
    return b"".join(_encode_route(route) for route in routes)


ROUTES: Final = Codec("routes", _decode_routes, _encode_routes)

# ── text and domain names ──


def _decode_text(data: bytes, least: int = 1) -> str:
    """Octets that are not UTF-8 become lone surrogates, so that they are encoded as they came."""
    text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")  # trailing NULs are to be deleted: RFC 2132 §2
    if "\0" in text or len(text) < least:
        raise _unreadable("text", data)
    return text


def _encode_text(value: Any, least: int = 1) -> bytes:
    if isinstance(value, str) and "\0" not in value and len(value) >= least:
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            pass
    raise _expected("text, not empty and without NUL" if least else "text without NUL", value)


TEXT: Final = Codec("text", _decode_text, _encode_text)

_LABEL: Final = re.compile(rb"[!-\-/-~]{1,63}")  # visible ASCII without the dot
_LONGEST_NAME: Final = 253  # characters: 255 octets less the first length and the root (RFC 1035 §2.3.4)


def _decode_names(data: bytes) -> list[str]:
    """Domain names one after another (RFC 1035 §3.1), compressed (§4.1.4) or not.

    A pointer may only lead to where a label or pointer of an *earlier* name begins, and what follows there is known:
    so nothing loops, and the time is linear.
    """
    names: list[str] = []
    known: dict[int, str] = {}
    at = 0
    try:
        while at < len(data):
            labels: dict[int, str] = {}
            name = ""
            while length := data[at]:
                if length >= 0xC0:
                    name = known[at] = known[(length & 0x3F) << 8 | data[at + 1]]
                    at += 1
                    break
                labels[at] = data[at + 1 : at + 1 + length].decode("ascii")
                if not _LABEL.fullmatch(data, at + 1, at + 1 + length):
                    raise ValueError(length)
                at += 1 + length
            at += 1
            for start, label in reversed(labels.items()):
                name = known[start] = f"{label}.{name}" if name else label
                if len(name) > _LONGEST_NAME:
                    raise ValueError(name)
            if not name:
                raise ValueError(name)
            names.append(name)
    except (KeyError, IndexError, ValueError):
        names.clear()
    if not names:
        raise _unreadable("domain names", data)
    return names


def _encode_names(value: Any, *, compress: bool) -> bytes:
    names = _items(value)
    if not names:
        raise _expected("domain names", value)
    wire = bytearray()
    known: dict[bytes, int] = {}
    for name in names:
        if not isinstance(name, str):
            raise _expected("domain name", name)
        if not name.isascii():
            raise _expected("domain name in ASCII (an international one in its xn-- form)", name)
        rest = name.removesuffix(".").encode("ascii")
        if len(rest) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, rest.split(b"."))):
            raise _expected("domain name of at most 253 characters, each label 1..63", name)
        while rest:
            if compress and rest in known:
                wire += (0xC000 | known[rest]).to_bytes(2)
                break
            if len(wire) < 0x4000:  # a pointer reaches no further
                known[rest] = len(wire)
            label, _, rest = rest.partition(b".")
            wire += bytes([len(label)]) + label
        else:
            wire.append(0)
    return bytes(wire)


def _decode_domain(data: bytes) -> str:
    names = _decode_names(data)
    if len(names) != 1:
        raise _unreadable("one domain name", data)
    return names[0]


DOMAIN: Final = Codec("domain name", _decode_domain, lambda value: _encode_names([value], compress=False))
DOMAINS: Final = Codec("domain name list", _decode_names, lambda value: _encode_names(value, compress=True))
DOMAINS_UNCOMPRESSED: Final = Codec(DOMAINS.name, _decode_names, lambda value: _encode_names(value, compress=False))


class FqdnFlag(IntFlag):
    """The flags of client-fqdn (RFC 4702 §2.1)."""

    S = 0x01
    """The server is to update the A record."""
    O = 0x02  # noqa: E741 - the RFC's letter
    """The server overrode the client's S."""
    E = 0x04
    """The name is in DNS wire format."""
    N = 0x08
    """The server is to update nothing."""


class ClientFqdn(NamedTuple):
    """The client's idea of its name (RFC 4702).

    With the flag E, a name that ends in a dot is fully qualified and one that doesn't is partial; without it (the
    deprecated ASCII form) the name is the text as the client sent it. An empty name asks the server to choose one.
    """

    flags: int
    rcode1: int
    rcode2: int
    name: str


def _decode_client_fqdn(data: bytes) -> ClientFqdn:
    if len(data) < 3:
        raise _unreadable("flags, two rcodes and a name", data)
    flags, field = FqdnFlag(data[0]), data[3:]
    if not flags & FqdnFlag.E:
        name = _decode_text(field, least=0)
    elif field in (b"", b"\0"):
        name = ""
    elif field.endswith(b"\0"):
        name = _decode_domain(field) + "."
    else:
        name = _decode_domain(field + b"\0")
    return ClientFqdn(flags, data[1], data[2], name)


def _encode_client_fqdn(value: Any) -> bytes:
    fields = _items(value)
    if len(fields) != 4:
        raise _expected("flags, two rcodes and a name", value)
    *octets, name = fields
    head = b"".join(map(U8.encode, octets))
    if name == "" or not head[0] & FqdnFlag.E:
        return head + _encode_text(name, least=0)
    wire = _encode_names([name], compress=False)
    return head + (wire if name.endswith(".") else wire[:-1])  # without the root, a partial name: RFC 4702 §2.3.1


CLIENT_FQDN: Final = Codec("client FQDN", _decode_client_fqdn, _encode_client_fqdn)

# ── octets ──

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}(?:[:\- ]?[0-9A-Fa-f]{2})*)?")


def _octets(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and _HEX.fullmatch(value):
        return bytes.fromhex(re.sub("[:-]", "", value))
    raise _expected("octets: bytes, or hex digits such as '01:02:ab'", value)


def opaque(least: int = 0) -> Codec:
    """A codec for ``bytes``, at least ``least`` of them; encodes hex digits, too."""
    name = f"octets, at least {least}" if least else "octets"

    def decode(data: bytes) -> bytes:
        if len(data) < least:
            raise _unreadable(name, data)
        return data

    def encode(value: Any) -> bytes:
        if len(octets := _octets(value)) < least:
            raise _expected(name, value)
        return octets

    return Codec(name, decode, encode)


OPAQUE: Final = opaque()


def _decode_user_class(data: bytes) -> list[bytes]:
    """RFC 3004 §4; what is not in its form is one item, as Microsoft's clients and others mean it."""
    items = []
    at = 0
    while at < len(data) and data[at]:
        items.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    if at == len(data) and items:
        return items
    if not 1 <= len(data) <= 255:
        raise _unreadable("user classes", data)
    return [data]


def _encode_user_class(value: Any) -> bytes:
    items = [_octets(item) for item in _items(value)]
    if not items or not all(1 <= len(item) <= 255 for item in items):
        raise _expected("user classes of 1..255 octets", value)
    return b"".join(bytes([len(item)]) + item for item in items)


USER_CLASS: Final = Codec("user classes", _decode_user_class, _encode_user_class)


def _tagged(name: str, tag: Codec, width: int) -> Codec:
    """``dict[int, bytes]``, on the wire a tag of ``width`` octets, a length octet and the octets.

    A tag that comes again continues what it said before; octets beyond 255 are written that way.
    """

    def decode(data: bytes) -> dict[int, bytes]:
        values: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            start = at + width + 1
            end = start + data[start - 1] if start <= len(data) else start
            if end > len(data):
                raise _unreadable(name, data)
            number = tag.decode(data[at : at + width])
            values[number] = values.get(number, b"") + data[start:end]
            at = end
        if not values:
            raise _unreadable(name, data)
        return values

    def encode(value: Any) -> bytes:
        if not isinstance(value, Mapping) or not value:
            raise _expected(f"table of {name}", value)
        wire = b""
        for key, octets in value.items():
            # The keys of a TOML table are strings.
            number = int(key) if isinstance(key, str) and re.fullmatch("[0-9]{1,10}", key) else key
            head, rest = tag.encode(number), _octets(octets)
            for at in range(0, max(1, len(rest)), 255):
                part = rest[at : at + 255]
                wire += head + bytes([len(part)]) + part
        return wire

    return Codec(name, decode, encode)


SUB_OPTIONS: Final = _tagged("sub-options", U8, 1)
ENTERPRISES: Final = _tagged("enterprise numbers and their octets", U32, 4)
