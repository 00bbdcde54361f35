"""What the settings of the plugins are made of: strict tables, files, hardware addresses, patterns for octets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo

__all__ = [
    "File",
    "HardwarePrefix",
    "HardwarePrefixes",
    "Matcher",
    "Pattern",
    "Patterns",
    "Table",
    "begins",
    "matcher",
]

Matcher: TypeAlias = Callable[[bytes], bool]
"""Whether some octets are what a pattern says."""

_HARDWARE = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){0,15}")


class Table(BaseModel):
    """A table of settings. Its keys are those of the fields, with hyphens or underscores; there are no others."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        hide_input_in_errors=True,
    )


def _file(value: object, info: ValidationInfo) -> object:
    """A relative path starts at the configuration file, if the loader says where that is."""
    if isinstance(value, str):
        if not value:
            raise ValueError("expected the path of a file, got ''")
        value = Path(value)
    directory = (info.context or {}).get("directory")
    if isinstance(value, Path) and directory is not None:
        return Path(directory) / value
    return value


File: TypeAlias = Annotated[Path, BeforeValidator(_file)]
"""The path of a file; a relative one starts at the configuration file."""


def _hardware_prefix(text: str) -> str:
    prefix = text.strip().lower().replace("-", ":").removesuffix(":*")
    if not _HARDWARE.fullmatch(prefix):
        raise ValueError(f"expected a hardware address or its beginning, like '02:00:5e' or '02:00:5e:*', got {text!r}")
    return prefix


HardwarePrefix: TypeAlias = Annotated[str, AfterValidator(_hardware_prefix)]
"""A hardware address, or the octets it begins with: ``"02:00:5e"``, ``"02:00:5e:*"``."""


def begins(hardware_address: str, prefixes: Iterable[str]) -> bool:
    """Whether a hardware address (``"02:00:5e:00:00:01"``) begins with the octets of one of the prefixes."""
    return f"{hardware_address}:".startswith(tuple(f"{prefix}:" for prefix in prefixes))


def matcher(pattern: str) -> Matcher:
    """What a pattern says, as a function of octets.

    Args:
        pattern: ``"PXEClient"`` is all of the octets, ``"PXEClient*"`` what they begin with, ``"/Arch:0000[79]/"`` a
            regular expression that is found in them, and ``"0x0004ab"`` and ``"0x0004*"`` are octets in hex.

    Raises:
        ValueError: it is none of these.
    """
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        try:
            expression = re.compile(pattern[1:-1].encode(), re.DOTALL)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return lambda octets: expression.search(octets) is not None
    text, star = (pattern[:-1], True) if pattern.endswith("*") else (pattern, False)
    if text.startswith("0x"):
        try:
            expected = bytes.fromhex(text[2:].replace(":", ""))
        except ValueError:
            raise ValueError(f"expected octets in hex like '0x0004ab', got {pattern!r}") from None
    else:
        expected = text.encode()
    if not expected and not star:
        raise ValueError("expected something to compare with, got ''")
    if star:
        return lambda octets: octets.startswith(expected)
    return lambda octets: octets == expected


def _checked(pattern: str) -> str:
    matcher(pattern)
    return pattern


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Pattern: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""A pattern as ``matcher`` takes it."""
Patterns: TypeAlias = Annotated[list[Pattern], BeforeValidator(_several)]
"""One pattern, or a list of which any will do."""
HardwarePrefixes: TypeAlias = Annotated[list[HardwarePrefix], BeforeValidator(_several)]
"""One beginning of hardware addresses, or a list of which any will do."""
