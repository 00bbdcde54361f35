"""Verdicts: what a hook may answer. One vocabulary for all hooks; which hook takes which is said at the hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from aiodhcp.constants import DropReason

__all__ = ["Drop", "Nak", "Use"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Drop:
    """The packet goes no further and is not answered.

    Attributes:
        why: a few words for the log.
        reason: the code that ``dhcp_pkt_drop`` is told; None leaves it to the hook. ``Drop(DropReason.UNAUTH)`` and
            ``Drop(DropReason.UNAUTH, "not one of ours")`` are short for ``Drop("...", reason=...)``.
    """

    why: str = ""
    reason: DropReason | None = None

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(self, why: str | DropReason = "", reason: DropReason | str | None = None) -> None: ...

    def __post_init__(self) -> None:
        why, reason = self.why, self.reason
        if isinstance(why, DropReason):
            why, reason = reason or "", why
        if not isinstance(why, str) or not (reason is None or isinstance(reason, DropReason)):
            raise TypeError(f"expected words and a DropReason, got {self.why!r} and {self.reason!r}")
        object.__setattr__(self, "why", why)
        object.__setattr__(self, "reason", reason)


@dataclass(frozen=True, slots=True)
class Nak:
    """A REQUEST is refused (RFC 2131 §4.3.2); any other message of the client is dropped (UNAUTH).

    Attributes:
        why: a few words, for the log and for the client (option 56).
    """

    why: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.why, str):
            raise TypeError(f"expected words, got {self.why!r}")


@dataclass(frozen=True)  # with slots, ``Use[int](600)`` couldn't be made in Python 3.11
class Use(Generic[T_co]):
    """The choice of the plugin, in place of the server's.

    Attributes:
        value: what the hook chooses: a subnet, a reservation, an address, a number of seconds.
    """

    value: T_co
