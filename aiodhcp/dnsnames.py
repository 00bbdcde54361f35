"""Domain names in options, compressed or not (RFC 1035), and what a client says of its own name (RFC 4702).

It keeps to what ``codecs`` promises: ``decode`` raises ``DecodeError`` only, ``encode`` ``ValueError`` only.
"""

from __future__ import annotations

import re
from enum import IntFlag
from typing import Any, Final, NamedTuple

from aiodhcp.codecs import U8, Codec, decode_text, encode_text, expected, items_of, unreadable

__all__ = [
    "CLIENT_FQDN",
    "DOMAIN",
    "DOMAINS",
    "DOMAINS_OR_NONE",
    "DOMAINS_UNCOMPRESSED",
    "ClientFqdn",
    "FqdnFlag",
]

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
        raise unreadable("domain names", data)
    return names


def _encode_names(value: Any, *, compress: bool) -> bytes:
    names = items_of(value)
    if not names:
        raise expected("domain names", value)
    wire = bytearray()
    known: dict[bytes, int] = {}
    for name in names:
        if not isinstance(name, str):
            raise expected("domain name", name)
        if not name.isascii():
            raise expected("domain name in ASCII (an international one in its xn-- form)", name)
        rest = name.removesuffix(".").encode("ascii")
        if len(rest) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, rest.split(b"."))):
            raise expected("domain name of at most 253 characters, each label 1..63", name)
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
        raise unreadable("one domain name", data)
    return names[0]


DOMAIN: Final = Codec("domain name", _decode_domain, lambda value: _encode_names([value], compress=False))
DOMAINS: Final = Codec("domain name list", _decode_names, lambda value: _encode_names(value, compress=True))
DOMAINS_OR_NONE: Final = Codec(
    DOMAINS.name,
    lambda data: _decode_names(data) if data else [],
    lambda value: b"" if value == [] else _encode_names(value, compress=False),
)
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
        raise unreadable("flags, two rcodes and a name", data)
    flags, field = FqdnFlag(data[0]), data[3:]
    if not flags & FqdnFlag.E:
        name = decode_text(field, least=0)
    elif field in (b"", b"\0"):
        name = ""
    elif field.endswith(b"\0"):
        name = _decode_domain(field) + "."
    else:
        name = _decode_domain(field + b"\0")
    return ClientFqdn(flags, data[1], data[2], name)


def _encode_client_fqdn(value: Any) -> bytes:
    fields = items_of(value)
    if len(fields) != 4:
        raise expected("flags, two rcodes and a name", value)
    *octets, name = fields
    head = b"".join(map(U8.encode, octets))
    if name == "" or not head[0] & FqdnFlag.E:
        return head + encode_text(name, least=0)
    wire = _encode_names([name], compress=False)
    return head + (wire if name.endswith(".") else wire[:-1])  # without the root, a partial name: RFC 4702 §2.3.1


CLIENT_FQDN: Final = Codec("client FQDN", _decode_client_fqdn, _encode_client_fqdn)
