"""Changes: what of a DHCP message is other than it was, in words that an administrator would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiodhcp.describe import describe
from aiodhcp.packet import Packet

__all__ = ["Change", "changes", "described"]


class Change(NamedTuple):
    """What became of a field or an option.

    Attributes:
        name: of the field, or of the option.
        before: as an administrator would write it; None if it was not there.
        after: likewise.
    """

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name}: {self.after}"
        if self.after is None:
            return f"- {self.name}: {self.before}"
        return f"~ {self.name}: {self.before} -> {self.after}"


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """What is other than it was: what is gone or altered in its old order, then what is new."""
    found = [Change(name, text, after.get(name)) for name, text in before.items() if after.get(name) != text]
    return found + [Change(name, None, text) for name, text in after.items() if name not in before]


def described(packet: Packet) -> dict[str, str]:
    """All that a message says, fields and options by name."""
    return {"op": str(packet.op), "htype": str(packet.htype), "hlen": str(packet.hlen), **dict(describe(packet))}
