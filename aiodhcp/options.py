"""The options of a packet, by code or name, typed on demand.

It knows neither where in a packet they were nor what a server does with them.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from aiodhcp.definitions import Definitions, OptionDefinition, Space, SubOptions
from aiodhcp.dnsnames import ClientFqdn, FqdnFlag
from aiodhcp.formats import Route
from aiodhcp.registry import ALIASES, OPTIONS, STANDARD_OPTIONS, definition

__all__ = [
    "ALIASES",
    "OPTIONS",
    "STANDARD_OPTIONS",
    "ClientFqdn",
    "Definitions",
    "FqdnFlag",
    "OptionDefinition",
    "Options",
    "Route",
    "Space",
    "SubOptions",
    "definition",
]


class Options(MutableMapping[int, Any]):
    """The options of a packet, by code or name; a value is decoded when asked for and encoded when set.

    Args:
        raw: code → octets, of an option that came in parts all of them (RFC 3396). It is wrapped, not copied.
        definitions: which names and formats there are; a configuration may have its own.

    Attributes:
        raw: that dict.
        definitions: as given.
        changed: whether an option was set or deleted here.

    Raises:
        KeyError: ``options[...]``, ``del options[...]``: the packet has no such option.
        ValueError: no option is called so; or, on setting, its codec can't encode the value.
        DecodeError: on reading (also ``get``, ``pop``, ``values`` and ``items``), the octets are not a value of that
            option.

    ``bytes`` that are set, whatever the option, are its octets and stored as they are. Iteration is by code, in the
    order of ``raw``, which is that of the packet.
    """

    __slots__ = ("changed", "definitions", "raw")

    def __init__(self, raw: dict[int, bytes] | None = None, definitions: Definitions = STANDARD_OPTIONS) -> None:
        self.raw: dict[int, bytes] = {} if raw is None else raw
        self.definitions = definitions
        self.changed = False

    def __getitem__(self, option: int | str) -> Any:
        code = self._code(option)
        return self.definitions.decode(code, self.raw[code])

    def __setitem__(self, option: int | str, value: Any) -> None:
        code, octets = self.definitions.encode(option, value)
        self.raw[code] = octets
        self.changed = True

    def __delitem__(self, option: int | str) -> None:
        del self.raw[self._code(option)]
        self.changed = True

    def __contains__(self, option: object) -> bool:
        if isinstance(option, str):
            try:
                return self.definitions.find(option).code in self.raw
            except ValueError:
                return False
        return isinstance(option, int) and option in self.raw

    def __iter__(self) -> Iterator[int]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Options) else NotImplemented

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in self.names().items())})"

    def get(self, option: int | str, default: Any = None) -> Any:
        """The value, or ``default`` when the packet has no such option; raises as ``options[...]`` does."""
        return self[option] if self._code(option) in self.raw else default

    def clear(self) -> None:
        """Delete all options, also those that can't be decoded."""
        self.raw.clear()
        self.changed = True

    def names(self) -> dict[str, Any]:
        """Name → value, for people to read; of an option that can't be decoded, its octets."""
        return self.definitions.named(self.raw)

    def _code(self, option: int | str) -> int:
        return self.definitions.find(option).code if isinstance(option, str) else option

    # Codecs can't be pickled: options that were know the standard names only. A copy in this process knows all.

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.raw, self.changed)

    def __copy__(self) -> Options:
        return _unpickled(self.raw, self.changed, self.definitions)

    def __deepcopy__(self, memo: object) -> Options:
        return _unpickled(dict(self.raw), self.changed, self.definitions)


def _unpickled(raw: dict[int, bytes], changed: bool, definitions: Definitions = STANDARD_OPTIONS) -> Options:
    options = Options(raw, definitions)
    options.changed = changed
    return options
