"""The errors of aiodhcp: who erred decides which."""

from __future__ import annotations

from aiodhcp.constants import DropReason

__all__ = ["AiodhcpError", "ConfigError", "DecodeError", "Dropped", "EventsLost", "StoreError"]


class AiodhcpError(Exception):
    """The root of the errors that aiodhcp raises on purpose."""


class DecodeError(AiodhcpError, ValueError):
    """The peer erred: these bytes are not a DHCP message, or not a value of that option."""


class ConfigError(AiodhcpError, ValueError):
    """The administrator erred: says in which file and line, at which key, and what was expected."""


class StoreError(AiodhcpError):
    """The lease store can't be opened or used: held by another process, of a newer version, damaged."""


class EventsLost(AiodhcpError):
    """A consumer of lease events was too slow, and there was no room to keep them all. The iteration can go on.

    Attributes:
        count: how many events it will not see.
    """

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} lease events are lost: they were not read in time")
        self.count = count


class Dropped(AiodhcpError):
    """A packet goes no further. Raised and caught inside the engine only.

    Attributes:
        reason: the code that ``dhcp_pkt_drop`` is told.
        why: a few words for people: the log and ``exchange.why``.
    """

    def __init__(self, reason: DropReason, why: str) -> None:
        super().__init__(f"{reason.name}: {why}")
        self.reason = reason
        self.why = why
