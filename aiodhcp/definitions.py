"""Definitions: which options there are in a space, by code and by name; and the options that an option may contain.

A space is the options of DHCP itself, or those inside one of its options: a vendor's, a relay agent's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

from aiodhcp.codecs import OPAQUE, Codec, expected, octets_of, unreadable
from aiodhcp.errors import DecodeError
from aiodhcp.records import by_enterprise
from aiodhcp.wording import did_you_mean

__all__ = [
    "ANY",
    "Definitions",
    "OptionDefinition",
    "Space",
    "SubOptions",
    "option_bytes",
    "sub_options",
    "vendor_options",
]

PAD, END = 0, 255
VENDOR_ENCAPSULATED, VENDOR_OPTIONS = 43, 125
_NAME: Final = re.compile(r"(?!option-\d+$)[a-z0-9-]*[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class OptionDefinition:
    """What is known of an option.

    Attributes:
        code: 1..254; 0..255 inside an option.
        name: as dhcpd or the IANA registry has it, in lower case with hyphens.
        codec: reads and writes its value.
        source: where it is defined: ``RFC 2132 §3.3``.
    """

    code: int
    name: str
    codec: Codec
    source: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """Options of a vendor, under a name of their own.

    Attributes:
        name: what the configuration calls it.
        carrier: the code of the option that they are inside of: 43, 125, or another one.
        enterprise: whose they are in option 125; None elsewhere.
        codec: reads and writes them: a table by name, read as ``SubOptions``.
    """

    name: str
    carrier: int
    enterprise: int | None
    codec: Codec

    def decode(self, octets: bytes) -> SubOptions:
        """What the octets of such options say.

        Raises:
            DecodeError: they are no such options.
        """
        found: SubOptions = self.codec.decode(octets)
        return found

    def encode(self, table: Mapping[Any, Any]) -> bytes:
        """The reverse, from a table by name or code.

        Raises:
            ValueError: an option is not called so, or can't have that value.
        """
        return self.codec.encode(table)

    def carried(self, table: Mapping[Any, Any]) -> bytes:
        """The octets of the option that carries them; raises as ``encode`` does."""
        octets = self.encode(table)
        return octets if self.enterprise is None else _ENTERPRISES.encode({self.enterprise: octets})


class Definitions:
    """The options of a space. It doesn't change.

    Args:
        known: those whose name and format are known; any other is ``option-<code>``, of octets.
        aliases: further names → code.
        codes: those that an option may have.
        spaces: those inside of options, which have a name of their own.

    Attributes:
        by_code: the known ones.
        aliases: as given.
        spaces: by name.
    """

    __slots__ = ("_codes", "_names", "aliases", "by_code", "spaces")

    def __init__(
        self,
        known: Iterable[OptionDefinition],
        aliases: Mapping[str, int] | None = None,
        codes: range = range(PAD + 1, END),
        spaces: Iterable[Space] = (),
    ) -> None:
        self.by_code: Final[Mapping[int, OptionDefinition]] = MappingProxyType({each.code: each for each in known})
        self.aliases: Final[Mapping[str, int]] = MappingProxyType(dict(aliases or {}))
        self.spaces: Final[Mapping[str, Space]] = MappingProxyType({each.name: each for each in spaces})
        self._codes = codes
        self._names = {**self.aliases, **{each.name: each.code for each in self.by_code.values()}}

    def __copy__(self) -> Definitions:
        return self

    def __deepcopy__(self, memo: object) -> Definitions:
        return self

    def with_option(self, known: OptionDefinition) -> Definitions:
        """These and one more, which may take the place of one whose format is not known.

        Raises:
            ValueError: its name is taken, or can't be one, or its code is taken or out of range; the message begins
                with ``name`` or ``code``.
        """
        self._check_name(known.name)
        if known.code not in self._codes:
            raise ValueError(f"code: expected {self._codes[0]} to {self._codes[-1]}, got {known.code}")
        if self.of(known.code).codec is not OPAQUE:
            raise ValueError(f"code: option {known.code} is {self.of(known.code).name!r} already")
        return self._with(known, self.spaces.values())

    def with_space(self, name: str, options: Definitions, enterprise: int | None = None) -> Definitions:
        """These, and options of a vendor, inside of option 43 or, with an enterprise number, of option 125.

        Raises:
            ValueError: its name is taken, or can't be one, or the enterprise has one already; the message begins
                with ``name`` or ``enterprise``.
        """
        self._check_name(name)
        if enterprise is None:
            codec = sub_options(options, f"options of {name}", padded=True)
            return self._with(None, [*self.spaces.values(), Space(name, VENDOR_ENCAPSULATED, None, codec)])
        for each in self.spaces.values():
            if each.enterprise == enterprise:
                raise ValueError(f"enterprise: {enterprise} is that of {each.name!r} already")
        spaces = [
            *self.spaces.values(),
            Space(name, VENDOR_OPTIONS, enterprise, sub_options(options, f"options of {name}")),
        ]
        vendors = replace(self.of(VENDOR_OPTIONS), codec=vendor_options(spaces))
        return self._with(vendors, spaces)

    def _with(self, known: OptionDefinition | None, spaces: Iterable[Space]) -> Definitions:
        by_code = dict(self.by_code)
        if known is not None:
            by_code[known.code] = known
        return Definitions(by_code.values(), self.aliases, self._codes, spaces)

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"name: expected lower-case letters, digits and hyphens, got {name!r}")
        if name in self._names or name in self.spaces:
            raise ValueError(f"name: {name!r} is taken")

    def of(self, code: int) -> OptionDefinition:
        """The definition of an option that a packet has, whatever its code."""
        return self.by_code.get(code) or OptionDefinition(code, f"option-{code}", OPAQUE)

    def find(self, option: int | str) -> OptionDefinition:
        """The definition of an option.

        Args:
            option: its code (``3``), its name or an alias (``"routers"``, in any case, ``_`` as good as ``-``), or its
                code as text (``"3"``, ``"option-3"``).

        Raises:
            ValueError: no option is called so (with the names that come close), or the code is out of range.
        """
        code: object = option
        if isinstance(option, str):
            name = option.strip().lower().replace("_", "-")
            digits = name.removeprefix("option-")
            if name in self._names:
                code = self._names[name]
            elif re.fullmatch("[0-9]{1,3}", digits):
                code = int(digits)
            else:
                raise ValueError(f"no option is called {option!r}{did_you_mean(name, self._names, most=3)}")
        if isinstance(code, int) and not isinstance(code, bool) and code in self._codes:
            return self.of(code)
        first, last = self._codes[0], self._codes[-1]
        raise ValueError(f"expected an option's name or a code in {first}..{last}, given {_shown(option)}")

    def encode(self, option: int | str, value: Any) -> tuple[int, bytes]:
        """An option's code and the octets of a value; ``bytes`` are octets, whatever the option.

        Raises:
            ValueError: no option is called so, or it can't have that value.
        """
        known = self.find(option)
        if isinstance(value, bytes):
            return known.code, value
        try:
            return known.code, known.codec.encode(value)
        except ValueError as why:
            raise ValueError(f"option {known.code} ({known.name}): {why}") from None

    def decode(self, code: int, octets: bytes) -> Any:
        """The value of an option that a packet has.

        Raises:
            DecodeError: the octets are not a value of that option.
        """
        known = self.of(code)
        try:
            return known.codec.decode(octets)
        except DecodeError as why:
            raise DecodeError(f"option {code} ({known.name}): {why}") from None

    def named(self, raw: Mapping[int, bytes]) -> dict[str, Any]:
        """Name → value, for people to read; of an option that can't be decoded, its octets."""
        named: dict[str, Any] = {}
        for code, octets in raw.items():
            known = self.of(code)
            try:
                named[known.name] = known.codec.decode(octets)
            except DecodeError:
                named[known.name] = octets
        return named


def _shown(value: object) -> str:
    return str(expected("", value)).removeprefix("expected , given ")


class SubOptions(Mapping[int | str, Any]):
    """The options inside an option, by code or name; a value is decoded when it is asked for. It doesn't change.

    Args:
        raw: code → octets.
        definitions: of the space.

    Attributes:
        raw: that dict.

    Raises:
        KeyError: ``sub_options[...]``: there is no such option in it.
        ValueError: no option is called so.
        DecodeError: on reading, the octets are not a value of that option.
    """

    __slots__ = ("_definitions", "raw")

    def __init__(self, raw: dict[int, bytes], definitions: Definitions) -> None:
        self.raw = raw
        self._definitions = definitions

    def __getitem__(self, option: int | str) -> Any:
        code = self._definitions.find(option).code if isinstance(option, str) else option
        return self._definitions.decode(code, self.raw[code])

    def __contains__(self, option: object) -> bool:
        if isinstance(option, str):
            try:
                return self._definitions.find(option).code in self.raw
            except ValueError:
                return False
        return isinstance(option, int) and option in self.raw

    def __iter__(self) -> Iterator[int]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, SubOptions) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.names())

    def get(self, option: int | str, default: Any = None) -> Any:
        """The value, or ``default`` when there is no such option in it; raises as ``sub_options[...]`` does."""
        code = self._definitions.find(option).code if isinstance(option, str) else option
        return self[code] if code in self.raw else default

    def names(self) -> dict[str, Any]:
        """Name → value, for people to read; of an option that can't be decoded, its octets."""
        return self._definitions.named(self.raw)


def sub_options(definitions: Definitions, name: str = "sub-options", *, padded: bool = False, least: int = 1) -> Codec:
    """A codec for ``SubOptions``, on the wire a code, a length octet and the octets (RFC 2132 §8.4).

    A code that comes again continues what it said before; octets beyond 255 are written that way.

    Args:
        definitions: of the space.
        name: what it is, for error messages.
        padded: whether Pad and End are among them, as RFC 2132 §8.4 has it; a relay agent has none (RFC 3046 §2.0).
        least: how many there must be.
    """

    def decode(data: bytes) -> SubOptions:
        raw: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            code = data[at]
            if padded and code == END:
                break
            if padded and code == PAD:
                at += 1
                continue
            start = at + 2
            end = start + data[at + 1] if start <= len(data) else start
            if end > len(data):
                raise unreadable(name, data)
            raw[code] = raw.get(code, b"") + data[start:end]
            at = end
        if len(raw) < least:
            raise unreadable(name, data)
        return SubOptions(raw, definitions)

    def encode(value: Any) -> bytes:
        if not isinstance(value, Mapping) or len(value) < least:
            raise expected(f"table of {name}", value)
        raw: dict[int, bytes] = {}
        for option, each in (value.raw if isinstance(value, SubOptions) else value).items():
            code, octets = definitions.encode(option, _octets(each))
            if code in raw:
                raise ValueError(f"{_shown(option)} is there twice")
            raw[code] = octets
        return b"".join([option_bytes(code, octets) for code, octets in raw.items()])

    return Codec(name, decode, encode)


ANY: Final = Definitions((), codes=range(256))
"""A space of which nothing is known."""
_ENTERPRISES: Final = by_enterprise("enterprise numbers and their octets", OPAQUE)


def vendor_options(spaces: Iterable[Space] = ()) -> Codec:
    """The codec of option 125 (RFC 3925 §4), with the options of each vendor that has a space."""
    special = {each.enterprise: each.codec for each in spaces if each.enterprise is not None}
    return by_enterprise("enterprise numbers and their options", sub_options(ANY), special)


def _octets(value: Any) -> Any:
    return octets_of(value) if isinstance(value, bytearray | memoryview) else value


_HEAD: Final = Struct("BB")


def option_bytes(code: int, value: bytes) -> bytes:
    """One option on the wire; a value of more than 255 octets in pieces (RFC 3396 §6)."""
    if len(value) <= 255:
        return _HEAD.pack(code, len(value)) + value
    return b"".join(bytes((code, len(value[i : i + 255]))) + value[i : i + 255] for i in range(0, len(value), 255))
