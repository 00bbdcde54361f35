"""Definitions: which options there are in a space, by code and by name; and the options that an option may contain.

A space is the options of DHCP itself, or those inside one of its options: a vendor's, a relay agent's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from aiodhcp.codecs import OPAQUE, Codec, expected, octets_of, unreadable
from aiodhcp.errors import DecodeError

__all__ = ["Definitions", "OptionDefinition", "SubOptions", "option_bytes", "sub_options"]

PAD, END = 0, 255


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


class Definitions:
    """The options of a space. It doesn't change.

    Args:
        known: those whose name and format are known; any other is ``option-<code>``, of octets.
        aliases: further names → code.
        codes: those that an option may have.

    Attributes:
        by_code: the known ones.
        aliases: as given.
    """

    __slots__ = ("_codes", "_names", "aliases", "by_code")

    def __init__(
        self,
        known: Iterable[OptionDefinition],
        aliases: Mapping[str, int] | None = None,
        codes: range = range(PAD + 1, END),
    ) -> None:
        self.by_code: Final[Mapping[int, OptionDefinition]] = MappingProxyType({each.code: each for each in known})
        self.aliases: Final[Mapping[str, int]] = MappingProxyType(dict(aliases or {}))
        self._codes = codes
        self._names = {**self.aliases, **{each.name: each.code for each in self.by_code.values()}}

    def __copy__(self) -> Definitions:
        return self

    def __deepcopy__(self, memo: object) -> Definitions:
        return self

    @property
    def names(self) -> Iterable[str]:
        """All names, aliases too."""
        return self._names.keys()

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
                close = " or ".join(difflib.get_close_matches(name, self._names))
                raise ValueError(f"no option is called {option!r}" + (f"; did you mean {close}?" if close else ""))
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


def _octets(value: Any) -> Any:
    return octets_of(value) if isinstance(value, bytearray | memoryview) else value


def option_bytes(code: int, value: bytes) -> bytes:
    """One option on the wire; a value of more than 255 octets in pieces (RFC 3396 §6)."""
    if len(value) <= 255:
        return bytes((code, len(value))) + value
    return b"".join(bytes((code, len(value[i : i + 255]))) + value[i : i + 255] for i in range(0, len(value), 255))
