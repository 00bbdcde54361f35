"""webhook: tells an HTTP endpoint of each change of a lease, as JSON, at least once, in their order.

The server waits for none of it: the hook appends to a list. A thread compares what was committed with what was last
told and writes the difference into the outbox, and a task delivers what is there. What the list lost, by a crash or
because the outbox was full, is found again by comparing all leases.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field, SecretStr

from aiodhcp import ConfigError, ControlCode, DhcpServer, Lease, hookimpl
from aiodhcp_plugins.seldom import Seldom
from aiodhcp_plugins.tables import File, Table
from aiodhcp_plugins.webhook_delivery import TOO_MUCH, Delivery, Outcome, delay
from aiodhcp_plugins.webhook_outbox import Outbox, Waiting

__all__ = ["Webhook"]

log = logging.getLogger("aiodhcp_plugins.webhook")

T = TypeVar("T")
MOST_IN_MEMORY: Final = 100_000
"""Leases that may wait to be written; with more, all leases are compared instead."""
RETRY_OUTBOX: Final = 1.0
"""Seconds until a file that can't be written, or that another plugin still has, is tried again."""


def _url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https") or not rest.split("/")[0]:
        raise ValueError(f"expected a URL like 'https://inventory.example/leases', got {text!r}")
    if "@" in rest.split("/")[0]:
        raise ValueError("a password has no place in a URL: put a header 'Authorization' into headers")
    return text


class Webhook:
    """Delivers events of leases to an HTTP endpoint.

    Attributes:
        delivered: events that the endpoint has taken.
        refused: events that it doesn't want.
        failures: tries that failed, by what was wrong: "503", "no answer".
    """

    name = "webhook"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        url: Annotated[str, AfterValidator(_url)] = Field(description="where to; http or https")
        outbox: File = Field(description="the file in which events wait; a relative path starts at the configuration")
        secret: SecretStr | None = Field(None, min_length=8, description="what each body is signed with")
        headers: dict[str, SecretStr] = Field({}, description="headers to send, like Authorization")
        ca_file: File | None = Field(None, description="the certificates to trust, instead of the system's")
        batch: int = Field(100, ge=1, le=10_000, description="events in one POST at most")
        timeout: float = Field(10.0, gt=0, description="seconds that a POST may take")
        retry_first: float = Field(1.0, gt=0, description="seconds until the second try; twice as many after each")
        retry_longest: float = Field(300.0, gt=0, description="seconds between two tries at most")
        most_events: int = Field(100_000, ge=10, description="events that may wait in the outbox")
        tell_existing: bool = Field(False, description="whether a new outbox begins with all leases that there are")
        stop_timeout: float = Field(3.0, ge=0, description="seconds that the stop of the server waits for deliveries")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.delivered = self.refused = 0
        self.failures: Counter[str] = Counter()
        self._outbox = Outbox(settings.outbox, settings.most_events)
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        secret = b"" if settings.secret is None else settings.secret.get_secret_value().encode()
        self._delivery = Delivery(settings.url, headers, secret, settings.timeout, settings.ca_file)
        # SQLite is asked by one thread only.
        self._thread: ThreadPoolExecutor | None = None
        self._server: DhcpServer | None = None
        self._now: Callable[[], float] = time.time
        self._noted: list[tuple[float, Sequence[Lease]]] = []
        self._count = 0
        self._behind = True  # whether all leases have to be compared
        self._silent = False  # whether that only says what there is
        self._all: Iterator[Lease] | None = None
        self._wake, self._unsent = asyncio.Event(), asyncio.Event()
        self._stopping = False
        self._failing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._seldom = Seldom(log)

    @property
    def counts(self) -> Mapping[str, int]:
        """What the plugin prometheus shows of it."""
        return {"delivered": self.delivered, "refused": self.refused, "failed": self.failures.total()}

    # ── the hooks ────────────────────────────────────────────────────────────────────────────────────────────────

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """Open the outbox at START, which is refused if that can't be done; deliver the rest at STOP, for a moment."""
        if code is ControlCode.START:
            await self._start(server)
        elif code is ControlCode.STOP:
            await self._stop()

    @hookimpl
    def leases_committed(self, leases: Sequence[Lease]) -> None:
        """Leases changed."""
        if self._behind:
            return  # they are among those that will be compared
        self._noted.append((self._now(), leases))
        self._count += len(leases)
        if self._count > MOST_IN_MEMORY:
            self._fall_behind("the outbox is written too slowly")
        self._wake.set()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _start(self, server: DhcpServer) -> None:
        self._server, self._now = server, server.now
        self._stopping = self._failing = False
        self._wake, self._unsent = asyncio.Event(), asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aiodhcp webhook")
        try:
            await asyncio.to_thread(self._delivery.open)
            # At a reload the plugin that was there before still has it, and lets go of it when this one has started.
            mine = await self._call(self._outbox.acquire)
            if mine:
                await self._open()
        except (OSError, sqlite3.Error) as error:
            await self._close()
            raise ConfigError(f"{self.settings.outbox}: {error}") from error
        except ConfigError:
            await self._close()
            raise
        self._tasks = [
            asyncio.create_task(self._write_all(mine), name="aiodhcp webhook outbox"),
            asyncio.create_task(self._deliver_all(), name="aiodhcp webhook"),
        ]

    async def _open(self) -> None:
        self._silent = await self._call(self._outbox.open) and not self.settings.tell_existing
        self._compare_all()
        self._unsent.set()

    async def _stop(self) -> None:
        self._stopping = True
        self._wake.set()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.settings.stop_timeout
        tasks, self._tasks = self._tasks, []
        try:
            for task in tasks:  # what is to be written first, and then what is to be delivered, unless it can't be
                if not self._failing:
                    await asyncio.wait((task,), timeout=max(ends - loop.time(), 0))
                self._unsent.set()
        finally:
            for task in tasks:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._outbox.waiting:
            log.info("%d events wait for the next start", self._outbox.waiting)
        await self._close()

    async def _close(self) -> None:
        if self._thread is not None:
            await self._call(self._outbox.close)
            self._thread.shutdown(wait=False)
            self._thread = None
        await self._delivery.close()

    async def _call(self, call: Callable[..., T], *arguments: object) -> T:
        """What a method of the outbox returns, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    # ── into the outbox ──────────────────────────────────────────────────────────────────────────────────────────

    def _fall_behind(self, why: str) -> None:
        """What is in memory is given up: all leases are compared later, which finds what came of it."""
        if not self._behind:
            self._seldom.say("behind", logging.ERROR, "%s: of what happens now, only the result is told later", why)
        self._behind = True
        self._noted, self._count, self._all = [], 0, None

    def _compare_all(self) -> None:
        """From now on, what is committed is newer than the leases that are compared."""
        assert self._server is not None
        self._noted, self._count = [], 0
        self._all = iter(self._server.leases)
        self._behind = False
        self._wake.set()

    async def _write_all(self, mine: bool) -> None:
        while not mine:
            await asyncio.sleep(RETRY_OUTBOX / 10)
            mine = await self._call(self._outbox.acquire)
            if mine:
                await self._open()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._write():
                    self._unsent.set()
            except (OSError, sqlite3.Error) as error:
                self._fall_behind(f"{self.settings.outbox} can't be written: {error}")
                if self._stopping:
                    return
                await asyncio.sleep(RETRY_OUTBOX)
                self._wake.set()
                continue
            self._unsent.set()
            if self._stopping:
                return

    async def _write(self) -> bool:
        """Write some of what there is to write. Whether there may be more."""
        if self._behind:
            if self._outbox.waiting > self.settings.most_events // 2:
                return False
            self._compare_all()
        if self._all is not None:
            return await self._compare_some(self._all)
        noted, self._noted, self._count = self._noted, [], 0
        for now, leases in noted:
            if not await self._call(self._outbox.note, leases, now):
                self._full()
                return False
        return bool(self._noted)

    async def _compare_some(self, leases: Iterator[Lease]) -> bool:
        assert self._server is not None
        now = self._now()
        room, more = await self._call(lambda: self._outbox.note_some(leases, now, silent=self._silent))
        if room and not more:
            room = await self._call(self._outbox.note_vanished, self._server.leases, now)
            self._silent = False
            self._all = None
        if not room:
            self._full()
        return room

    def _full(self) -> None:
        self._fall_behind(f"the outbox is full, it has room for {self.settings.most_events} events")

    # ── out of it ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _deliver_all(self) -> None:
        failures, count = 0, self.settings.batch
        while True:
            self._unsent.clear()
            try:
                events = await self._call(self._first, count)
                if not events:
                    if self._stopping:
                        return
                    await self._unsent.wait()
                    continue
                outcome = await self._delivery.post(events)
                if outcome.delivered or outcome.refused:
                    count = await self._settle(events, outcome)
                    failures = 0
                    continue
            except (OSError, sqlite3.Error) as error:
                outcome = Outcome(0, f"{self.settings.outbox}: {error}")
            failures += 1
            await self._rest(outcome, failures)

    def _first(self, count: int) -> list[Waiting]:
        return self._outbox.first(count) if self._outbox.waiting else []

    async def _settle(self, events: list[Waiting], outcome: Outcome) -> int:
        """Be done with events, or with a part of them. How many to try next."""
        if outcome.delivered:
            await self._call(self._outbox.delivered, events)
            self.delivered += len(events)
            if self._failing:
                log.warning("%s takes events again", self.settings.url)
            self._failing = False
            self._seldom.forget("failed")
        elif outcome.status in TOO_MUCH and len(events) > 1:
            return len(events) // 2  # one of them may be what it doesn't want
        else:
            await self._call(self._outbox.refused, events, outcome.status, outcome.reason, self._now())
            self.refused += len(events)
            words = "%s refuses %d events from %s on, they are dead letters now: %s"
            arguments = self.settings.url, len(events), events[0].id, outcome.reason
            self._seldom.say("refused", logging.ERROR, words, *arguments)
        if self._behind and self._outbox.waiting <= self.settings.most_events // 2:
            self._wake.set()
        return self.settings.batch

    async def _rest(self, outcome: Outcome, failures: int) -> None:
        """Wait until it makes sense to try again."""
        self._failing = True
        self.failures[str(outcome.status) if outcome.status else "no answer"] += 1
        seconds = delay(failures, self.settings.retry_first, self.settings.retry_longest)
        if outcome.retry_after is not None:
            seconds = max(seconds, outcome.retry_after)
        words = "%s takes no events, %d wait, the next try is in %.1f seconds: %s"
        arguments = self.settings.url, self._outbox.waiting, seconds, outcome.reason
        self._seldom.say("failed", logging.ERROR, words, *arguments)
        await asyncio.sleep(seconds)
