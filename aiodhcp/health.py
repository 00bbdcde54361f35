"""Health: how a server is, in a word and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Health", "State"]


class State(Enum):
    """Where in its life a server is."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Health:
    """How a server is.

    Attributes:
        status: "ok"; "degraded" while commits fail: clients keep what they have, and get nothing new; or the state
            the server is in when it does not serve: "new", "starting", "paused", "stopping", "stopped".
        why: what is wrong, in words; empty when nothing is.
        uncommitted: changes that are not on stable storage yet.
        in_flight: packets that are not finished yet.
    """

    status: str
    why: str
    uncommitted: int
    in_flight: int
