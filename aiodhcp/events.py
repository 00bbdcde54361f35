"""Lease events: what a commit did to each lease that it changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aiodhcp.leases import Lease, LeaseState

__all__ = ["Cursor", "LeaseEvent", "LeaseEventKind", "event_of"]


class LeaseEventKind(StrEnum):
    """What happened to a lease."""

    GRANTED = "granted"
    """A client got the address, which was nobody's or somebody else's."""
    RENEWED = "renewed"
    """The client that has it was acknowledged again."""
    RELEASED = "released"
    """Its client gave it back, or took another address on the same link."""
    EXPIRED = "expired"
    """It ran out."""
    DELETED = "deleted"
    """An administrator took it from its client, or ended a probation."""
    DECLINED = "declined"
    """A client found the address in use by somebody else: it is on probation."""
    CONFLICT = "conflict"
    """The server found that, before it offered the address."""
    RECOVERED = "recovered"
    """A probation is over."""


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """A lease changed, and that is on stable storage.

    Attributes:
        sequence: counts events, without a gap. With a cursor, those of the store, for as long as its file lives; 0 for
            leases that were there before the cursor began. Else those of this server object.
        kind: what happened.
        lease: as it is now.
        previous: what was known of the address before, in whatever state and of whichever client; None if nothing.
    """

    sequence: int
    kind: LeaseEventKind
    lease: Lease
    previous: Lease | None

    @property
    def time(self) -> int:
        """When it happened, in seconds since 1970. A lease that ran out while no server ran did so at its end."""
        return self.lease.changed


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a consumer of events has come.

    Attributes:
        name: its name.
        handled: the sequence number of the last event that it has handled.
        behind: how many events there have been since.
        moved: when it came there, in seconds since 1970.
    """

    name: str
    handled: int
    behind: int
    moved: int


def event_of(sequence: int, previous: Lease | None, lease: Lease) -> LeaseEvent:
    """The event that it is when ``lease`` takes the place of ``previous``."""
    return LeaseEvent(sequence, _kind(previous, lease), lease, previous)


def _kind(previous: Lease | None, lease: Lease) -> LeaseEventKind:
    if lease.state == LeaseState.ACTIVE:
        if previous is None:
            # Heard of later than it began: what it was before is not known.
            renewed = lease.last_transaction > lease.starts
        else:
            renewed = (previous.state, previous.client, previous.starts) == (lease.state, lease.client, lease.starts)
        return LeaseEventKind.RENEWED if renewed else LeaseEventKind.GRANTED
    if lease.state == LeaseState.DECLINED:
        return LeaseEventKind.DECLINED if lease.htype else LeaseEventKind.CONFLICT
    # What was declined or deleted is nobody's.
    if lease.state == LeaseState.RELEASED:
        return LeaseEventKind.RELEASED if lease.client else LeaseEventKind.DELETED
    return LeaseEventKind.EXPIRED if lease.client else LeaseEventKind.RECOVERED
