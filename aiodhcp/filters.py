"""Filters: which hardware addresses are served, as the allow and deny filters of Microsoft's DHCP server say it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["NO_FILTERS", "Filters"]

_PATTERN: Final = re.compile(
    r"(?P<apart>[0-9a-f]{2}(?:(?P<by>[:-])[0-9a-f]{2}(?:(?P=by)[0-9a-f]{2})*)?[:-]?)(?P<rest>(?:\*[:-]?)*)"
    r"|(?P<together>(?:[0-9a-f]{2})*)(?P<star>\*?)"
)


class _Patterns:
    """Whole hardware addresses, and beginnings by their length: a look-up for each length, however many there are."""

    def __init__(self, key: str, patterns: Sequence[str]) -> None:
        self._whole: dict[bytes, str] = {}
        self._beginnings: dict[int, dict[bytes, str]] = {}
        for at, pattern in enumerate(patterns):
            found = _PATTERN.fullmatch(pattern.strip().lower())
            octets = b"" if found is None else bytes.fromhex(re.sub("[:-]", "", found["apart"] or found["together"]))
            star = found is not None and bool(found["rest"] or found["star"])
            if found is None or len(octets) > 16 or (not star and (not octets or pattern.strip()[-1] in ":-")):
                raise ValueError(
                    f"filters.{key}[{at}]: expected a hardware address or its beginning and a star, like"
                    f" '00-11-22-33-44-55', '00-11-22-*' or '001122*', got {pattern!r}"
                )
            table = self._beginnings.setdefault(len(octets), {}) if star else self._whole
            table.setdefault(octets, pattern)

    def match(self, chaddr: bytes) -> str:
        """The pattern that a hardware address is like, the longest; empty if there is none."""
        found = self._whole.get(chaddr)
        if found is not None:
            return found
        return max(
            (table.get(chaddr[:length], "") for length, table in self._beginnings.items() if length <= len(chaddr)),
            key=len,
            default="",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """Who is served. As with Microsoft's server, who is denied is not served, also if it is allowed; and where there is
    an allow list, nobody else is.

    Attributes:
        allow: hardware addresses, ``"00-11-22-33-44-55"``, or their beginnings, ``"00-11-22-*"``, ``"001122*"``; None
            for all.
        deny: the same.

    Raises:
        ValueError: one is neither, or the allow list is empty.
    """

    allow: Sequence[str] | None = None
    deny: Sequence[str] = ()
    _allow: _Patterns | None = field(init=False, default=None)
    _deny: _Patterns | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.allow is not None and not self.allow:
            raise ValueError("filters.allow: an empty list would serve nobody; without the key, everybody is allowed")
        for key in ("allow", "deny"):
            patterns = getattr(self, key)
            if patterns:
                object.__setattr__(self, f"_{key}", _Patterns(key, patterns))

    def __bool__(self) -> bool:
        return self._allow is not None or self._deny is not None

    def refusal(self, chaddr: bytes) -> str:
        """Why a hardware address is not served, in words; empty if it is."""
        denied = "" if self._deny is None else self._deny.match(chaddr)
        if denied:
            return f"{chaddr.hex(':')} is denied by the filter {denied}"
        if self._allow is not None and not self._allow.match(chaddr):
            return f"{chaddr.hex(':') or 'no hardware address'} is not among those that the filters allow"
        return ""


NO_FILTERS: Final = Filters()
