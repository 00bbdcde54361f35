"""lease_events: runs a command for each change of a lease, to tell a name server, a firewall, an inventory."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import Field

from aiodhcp import NEVER, ControlCode, Lease, LeaseState, hookimpl
from aiodhcp_plugins.processes import outcome
from aiodhcp_plugins.tables import Table

__all__ = ["LeaseEvents"]

log = logging.getLogger("aiodhcp_plugins.lease_events")

Event = Literal["committed", "expired", "recovered"]
ALL: Final[list[Event]] = ["committed", "expired", "recovered"]


class LeaseEvents:
    """Runs a command once for each event, one after the other, in their order; without a shell.

    Attributes:
        ran: commands that came to a good end.
        lost: events that found no room in the queue.
        failures: the others, by what became of them: "exit 3", "signal 9", "timeout", "start".
    """

    name = "lease-events"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        command: list[str] = Field(min_length=1, description="the program and its arguments; no shell reads them")
        events: list[Event] = Field(ALL, description="what it is run for")
        timeout: float = Field(10.0, gt=0, description="seconds after which a command is killed")
        queue: int = Field(1000, ge=1, description="events that may wait; more are lost, and counted")
        stop_timeout: float = Field(3.0, ge=0, description="seconds that the stop of the server waits for what is left")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ran = self.lost = 0
        self.failures: Counter[str] = Counter()
        self._events = frozenset(settings.events)
        self._waiting: deque[tuple[Event, Lease]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._losing = False

    @property
    def counts(self) -> Mapping[str, int]:
        """What the plugin prometheus shows of it."""
        return {"ran": self.ran, "failed": self.failures.total(), "lost": self.lost}

    @hookimpl
    async def dhcp_control(self, code: ControlCode) -> None:
        """At STOP wait for what is left, for a moment."""
        running = self._running
        if code is not ControlCode.STOP or running is None:
            return
        await asyncio.wait((running,), timeout=self.settings.stop_timeout)
        if not running.done():
            left = len(self._waiting)
            running.cancel()
            await asyncio.wait((running,))
            log.warning("the server stops: the command under way was killed, and %d events are lost", left)
            self.lost += left
            self._waiting.clear()

    @hookimpl
    def leases_committed(self, leases: Sequence[Lease]) -> None:
        """Leases were given, prolonged, released, declined, deleted. That one ended is told by the other two."""
        for lease in leases:
            if lease.state is not LeaseState.EXPIRED:
                self._tell("committed", lease)

    @hookimpl
    def lease_expired(self, lease: Lease) -> None:
        """A lease ran out."""
        self._tell("expired", lease)

    @hookimpl
    def lease_recovered(self, lease: Lease) -> None:
        """The probation of a declined address is over."""
        self._tell("recovered", lease)

    # ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, event: Event, lease: Lease) -> None:
        if event not in self._events:
            return
        if len(self._waiting) >= self.settings.queue:
            self.lost += 1
            if not self._losing:
                self._losing = True
                log.error("%d events wait for their commands: further ones are lost", len(self._waiting))
            return
        self._waiting.append((event, lease))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run_all(), name="aiodhcp lease events")

    async def _run_all(self) -> None:
        try:
            while self._waiting:
                event, lease = self._waiting.popleft()
                failure = await self._run(_environment(event, lease))
                if not failure:
                    self.ran += 1
                else:
                    self.failures[failure] += 1
                    if self.failures[failure] == 1:
                        log.error("%s failed for %s of %s: %s", self.settings.command[0], event, lease.ip, failure)
            self._losing = False
        finally:
            self._running = None

    async def _run(self, environment: dict[str, str]) -> str:
        """Run the command; what went wrong in a word, empty if nothing did."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.settings.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            log.debug("%s can't be started: %s", self.settings.command[0], error)
            return "start"
        return await outcome(process, self.settings.timeout)


def _environment(event: Event, lease: Lease) -> dict[str, str]:
    """The facts, for the command; and the search path, and nothing else of the server's environment."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "AIODHCP_EVENT": event,
        "AIODHCP_ADDRESS": str(lease.ip),
        "AIODHCP_HARDWARE_ADDRESS": lease.hardware_address,
        "AIODHCP_HARDWARE_TYPE": str(lease.htype),
        "AIODHCP_CLIENT": lease.client.hex(":"),
        "AIODHCP_STATE": lease.state.name.lower(),
        "AIODHCP_HOSTNAME": _harmless(lease.hostname or ""),
        "AIODHCP_STARTS": str(lease.starts),
        "AIODHCP_EXPIRES": "never" if lease.expires >= NEVER else str(lease.expires),
    }


def _harmless(name: str) -> str:
    """A name from the network, as a script may use it without thinking: letters, digits, dots, hyphens, underscores;
    no hyphen at the beginning, which would make it an option.
    """
    return re.sub(r"[^A-Za-z0-9._-]|^-", "_", name[:255])
