"""Where a client is: civic addresses (RFC 4776) and coordinates (RFC 6225).

It keeps to what ``codecs`` promises: ``decode`` raises ``DecodeError`` only, ``encode`` ``ValueError`` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aiodhcp.codecs import TEXT_OR_NONE, U8, Codec, expected, unreadable
from aiodhcp.records import described, fields_of

__all__ = ["CIVIC_LOCATION", "LOCATION", "CivicLocation", "Location"]


class CivicLocation(NamedTuple):
    """civic location (RFC 4776 §3.1)

    ``what`` says whose it is: 0 the DHCP server's, 1 the network element's, 2 the client's. ``elements`` are pairs of
    a type (CAtype) and a text.
    """

    what: int
    country: str
    elements: list[tuple[int, str]]


def _decode_civic(data: bytes) -> CivicLocation:
    country = data[1:3]
    if len(country) != 2 or not country.isascii():
        raise unreadable("civic location", data)
    elements, at = [], 3
    while at < len(data):
        start = at + 2
        end = start + data[at + 1] if start <= len(data) else start
        if end > len(data):
            raise unreadable("civic location", data)
        elements.append((data[at], TEXT_OR_NONE.decode(data[start:end])))
        at = end
    return CivicLocation(data[0], country.decode("ascii"), elements)


def _encode_civic(value: Any) -> bytes:
    what, country, elements = fields_of(CivicLocation._fields, value)
    if not isinstance(country, str) or len(country) != 2 or not country.isascii():
        raise expected("country of two letters", country)
    if not isinstance(elements, Sequence) or isinstance(elements, str | bytes):
        raise expected("list of pairs of a type and a text", elements)
    wire = U8.encode(what) + country.encode("ascii")
    for each in elements:
        if not isinstance(each, Sequence) or isinstance(each, str | bytes) or len(each) != 2:
            raise expected("pair of a type and a text", each)
        text = TEXT_OR_NONE.encode(each[1])
        if len(text) > 255:
            raise expected("text of at most 255 octets", each[1])
        wire += U8.encode(each[0]) + bytes([len(text)]) + text
    return wire


CIVIC_LOCATION: Final = Codec(described(CivicLocation), _decode_civic, _encode_civic)


class Location(NamedTuple):
    """coordinates (RFC 6225 §2.3)

    Degrees north and east, and an altitude in the unit that its type says (1: metres, 2: floors); each behind its
    uncertainty, or in option 123 its resolution, as it is on the wire: 0..63. ``datum`` is the whole last octet, with
    version and resolution before it in option 144.
    """

    latitude_uncertainty: int
    latitude: float
    longitude_uncertainty: int
    longitude: float
    altitude_type: int
    altitude_uncertainty: int
    altitude: float
    datum: int


_LOCATION: Final = (
    # octets on the wire have these, from the left: bits, and bits behind the binary point or None for a plain integer
    ("latitude_uncertainty", 6, None),
    ("latitude", 34, 25),
    ("longitude_uncertainty", 6, None),
    ("longitude", 34, 25),
    ("altitude_type", 4, None),
    ("altitude_uncertainty", 6, None),
    ("altitude", 30, 8),
    ("datum", 8, None),
)


def _decode_location(data: bytes) -> Location:
    if len(data) != 16:
        raise unreadable("coordinates in 16 octets", data)
    rest, left = int.from_bytes(data), 128
    values: list[Any] = []
    for _, bits, point in _LOCATION:
        left -= bits
        number = rest >> left & (1 << bits) - 1
        if point is None:
            values.append(number)
        else:
            values.append((number - (number >> bits - 1 << bits)) / (1 << point))
    return Location._make(values)


def _encode_location(value: Any) -> bytes:
    wire = 0
    for (name, bits, point), each in zip(_LOCATION, fields_of(Location._fields, value), strict=True):
        if isinstance(each, bool) or not isinstance(each, int if point is None else int | float):
            raise expected(f"number for {name.replace('_', '-')}", each)
        low, high = (0, (1 << bits) - 1) if point is None else (-(1 << bits - 1), (1 << bits - 1) - 1)
        scale = 1 << (point or 0)
        if not low <= each * scale <= high:
            raise expected(f"{name.replace('_', '-')} from {low / scale:g} to {high / scale:g}", each)
        wire = wire << bits | (round(each * scale) & (1 << bits) - 1)
    return wire.to_bytes(16)


LOCATION: Final = Codec(described(Location), _decode_location, _encode_location)
