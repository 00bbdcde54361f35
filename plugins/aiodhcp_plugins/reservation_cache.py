"""What a reservation service has answered, and for how long that counts (RFC 9111, RFC 5861)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from aiodhcp import Reservation

__all__ = ["Cache", "Entry", "Freshness", "freshness"]

MOST_SECONDS: Final = 86400.0
"""For which an answer counts, whatever the service says."""
_DIRECTIVE: Final = re.compile(r'([a-z-]+)(?:="?(\d{1,9})"?)?')


@dataclass(slots=True)
class Entry:
    """What is known of one client.

    Attributes:
        reservation: what is set aside for it; None if nothing is.
        elsewhere: the same without its address, for a subnet that the address is not in.
        body: the answer as it came.
        etag: its entity tag, by which to ask whether it is still so; empty without.
        fresh_until: until when it counts.
        stale_until: until when it counts if the service fails.
        failure: why there is no answer, if there is none; such an entry keeps from asking again at once.
    """

    reservation: Reservation | None
    elsewhere: Reservation | None
    body: bytes = b""
    etag: str = ""
    fresh_until: float = 0.0
    stale_until: float = 0.0
    failure: str = ""


class Freshness(NamedTuple):
    """For how long an answer counts.

    Attributes:
        fresh: seconds.
        stale: seconds for which it counts beyond that if the service fails.
        kept: whether it may be kept at all.
    """

    fresh: float
    stale: float
    kept: bool = True


def freshness(headers: Mapping[str, str], fresh: float, stale: float) -> Freshness:
    """For how long an answer with these headers counts.

    Args:
        headers: of the answer; names in lower case.
        fresh: seconds, where they don't say.
        stale: the most seconds if the service fails.
    """
    said: dict[str, str] = dict(_DIRECTIVE.findall(headers.get("cache-control", "").lower()))
    if "no-store" in said:
        return Freshness(0.0, 0.0, False)
    if said.get("max-age"):
        age = headers.get("age", "")
        fresh = max(float(said["max-age"]) - (int(age) if age.isdecimal() and len(age) < 10 else 0), 0.0)
    if "no-cache" in said:
        fresh = 0.0
    if "must-revalidate" in said:
        stale = 0.0
    elif said.get("stale-if-error"):
        stale = min(stale, float(said["stale-if-error"]))
    return Freshness(min(fresh, MOST_SECONDS), stale)


class Cache:
    """Answers by what was asked; of too many, those that were asked for longest ago are forgotten.

    Those of clients without a reservation have room of their own: whoever makes up clients pushes out no others.

    Args:
        most: entries with a reservation, and as many without.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, Entry] = OrderedDict()
        self._unknown: OrderedDict[Hashable, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def get(self, key: Hashable) -> Entry | None:
        """What is known, however old."""
        for entries in (self._known, self._unknown):
            entry = entries.get(key)
            if entry is not None:
                entries.move_to_end(key)
                return entry
        return None

    def put(self, key: Hashable, entry: Entry) -> None:
        """This is known from now on."""
        self.forget(key)
        entries = self._unknown if entry.reservation is None else self._known
        entries[key] = entry
        if len(entries) > self._most:
            entries.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Nothing is known."""
        self._known.pop(key, None)
        self._unknown.pop(key, None)

    def take_over(self, other: Cache) -> None:
        """Have the reservations of another one, to be used if the service fails: it will be asked for each."""
        for key, entry in other._known.items():
            self.put(key, replace(entry, etag="", body=b"", fresh_until=float("-inf")))
