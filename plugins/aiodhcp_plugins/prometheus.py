"""prometheus: what the server counts, for Prometheus to fetch by HTTP, or in a file for the node exporter.

Nearly all of it is counted anyway and is only looked at when somebody asks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator

import aiodhcp
from aiodhcp import AddressKind, AddressProblem, ConfigError, ControlCode, DhcpServer, hookimpl
from aiodhcp_plugins.scrapes import Answer, ScrapeListener
from aiodhcp_plugins.tables import File, Table

if TYPE_CHECKING:
    from aiodhcp_plugins.exposition import Snapshot

__all__ = ["Prometheus"]

log = logging.getLogger("aiodhcp_plugins.prometheus")

BEAT: Final = 0.5
"""Seconds between two looks at how late the event loop is."""
MOST_EVENTS: Final = 100
"""Kinds of events that are shown of each other plugin."""
_GIVEN: Final = {AddressKind.NEW: "given", AddressKind.OLD: "renewed"}
_TAKEN: Final = {
    AddressProblem.CONFLICT: "conflict",
    AddressProblem.DECLINE: "declined",
    AddressProblem.RELEASE: "released",
    AddressProblem.NACKED: "refused",
}
EVENTS: Final = (*_GIVEN.values(), *_TAKEN.values(), "expired", "recovered")


def _address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise ValueError(f"expected an address like '127.0.0.1' or '::', or '' for none, got {text!r}") from None


def _textfile(path: Path | None) -> Path | None:
    if path is not None and path.suffix != ".prom":
        raise ValueError(f"expected a name that ends in .prom, as the node exporter does, got {path.name!r}")
    return path


class Tally:
    """What nobody else counts: it goes on when a reload replaces the plugin.

    Attributes:
        events: what became of leases.
        delays: how late the event loop was; the n-th counts less than 2**n µs.
        delayed: the same in seconds, together.
    """

    def __init__(self) -> None:
        self.events: Counter[str] = Counter(dict.fromkeys(EVENTS, 0))
        self.delays = [0] * 27
        self.delayed = 0.0

    def late(self, seconds: float) -> None:
        """The event loop came that late."""
        self.delayed += seconds
        self.delays[min(int(seconds * 1e6).bit_length(), len(self.delays) - 1)] += 1


class Prometheus:
    """Shows the numbers of a server.

    Attributes:
        listener: what is asked by HTTP.
    """

    name = "prometheus"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        address: Annotated[str, AfterValidator(_address)] = Field(
            "127.0.0.1", description="where to listen, IPv4 or IPv6; '::' is all of both, '' none"
        )
        port: int = Field(9667, ge=0, le=65535, description="the TCP port; 0 for any that is free")
        textfile: Annotated[File | None, AfterValidator(_textfile)] = Field(
            None, description="a file for the node exporter's textfile collector"
        )
        interval: float = Field(15.0, ge=0.01, description="seconds after which that file is written again")
        subnets: bool = Field(True, description="whether the addresses of each subnet are counted")

        @model_validator(mode="after")
        def _check_place(self) -> Self:
            if not self.address and self.textfile is None:
                raise ValueError("address: is '', and there is no textfile either")
            return self

    def __init__(self, settings: Settings) -> None:
        try:
            from aiodhcp_plugins import exposition
        except ImportError as error:
            raise ConfigError(f"needs prometheus-client: pip install 'aiodhcp[prometheus]' ({error})") from None
        self.settings = settings
        self.listener = ScrapeListener(self._answer)
        self._text: Callable[..., Answer] = exposition.text
        self._snapshot_of: Callable[..., Snapshot] = exposition.Snapshot
        self._tally = Tally()
        self._server: DhcpServer | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    # ── hooks ────────────────────────────────────────────────────────────────────────────────────────────────────

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """At START listen, and write the file; at STOP end that."""
        if code is ControlCode.START:
            await self._start(server)
        elif code is ControlCode.STOP:
            await self._stop(server)

    @hookimpl
    def dhcp_address_offer(self, kind: AddressKind) -> None:
        """A lease was given, or prolonged."""
        self._tally.events[_GIVEN[kind]] += 1

    @hookimpl
    def dhcp_address_del(self, problem: AddressProblem) -> None:
        """A lease was released, declined or refused."""
        self._tally.events[_TAKEN[problem]] += 1

    @hookimpl
    def lease_expired(self) -> None:
        """A lease ran out."""
        self._tally.events["expired"] += 1

    @hookimpl
    def lease_recovered(self) -> None:
        """The probation of an address is over."""
        self._tally.events["recovered"] += 1

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _start(self, server: DhcpServer) -> None:
        settings = self.settings
        self._server = server
        if settings.subnets:
            # The first look is at each lease, and takes half a second for a million: better before the first packet.
            server.usages()
        # After a reload the one before listens on the same port until its last packet is finished.
        before = next((each for each in _others(server, self) if each._is_like(self)), None)
        if before is not None and all(each.plugin is not self for each in server.hooks.plugins):
            self._tally = before._tally
        if settings.address:
            try:
                await self.listener.open(
                    settings.address, settings.port, None if before is None else before.listener.shared()
                )
            except OSError as error:
                where = f"{settings.address} port {settings.port}"
                raise ConfigError(f"can't listen on {where}: {error.strerror or error}") from error
            log.info("metrics are at http://%s/metrics", self.listener.place)
        if settings.textfile is not None:
            try:
                await self._write(settings.textfile)
            except OSError as error:
                await self.listener.close()
                raise ConfigError(f"{settings.textfile}: {error.strerror or error}") from error
            self._stopping.clear()
            self._writing = asyncio.create_task(self._write_on(settings.textfile), name="aiodhcp prometheus textfile")
        loop = asyncio.get_running_loop()
        self._beat = loop.call_later(BEAT, self._look, loop, loop.time() + BEAT)

    async def _stop(self, server: DhcpServer) -> None:
        if self._beat is not None:
            self._beat.cancel()
        writing, self._writing = self._writing, None
        if writing is not None:
            # Not cancelled: the thread that writes would go on, and the file come back.
            self._stopping.set()
            await writing
        await self.listener.close()
        textfile = self.settings.textfile
        if textfile is not None and all(each.settings.textfile != textfile for each in _others(server, self)):
            # What stays would be taken for how the server is.
            textfile.unlink(missing_ok=True)

    def _is_like(self, other: Prometheus) -> bool:
        mine, its = self.settings, other.settings
        return (mine.address, mine.port, mine.textfile) == (its.address, its.port, its.textfile)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        """See how late this is called."""
        now = loop.time()
        self._tally.late(max(now - due, 0.0))
        self._beat = loop.call_at(now + BEAT, self._look, loop, now + BEAT)

    # ── the numbers ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, accept: str, compress: bool) -> Answer:
        # The numbers are taken here, where they don't change meanwhile; writing them takes longer, and can be done
        # elsewhere.
        return await asyncio.to_thread(self._text, self._snapshot(), accept, compress=compress)

    def _snapshot(self) -> Snapshot:
        server, tally = self._server, self._tally
        assert server is not None
        engine = server.engine
        return self._snapshot_of(
            version=aiodhcp.__version__,
            received=dict(engine.received),
            sent=dict(engine.sent),
            dropped=dict(engine.dropped),
            vetoed=engine.vetoed,
            health=server.health,
            leases=len(server.leases),
            commits=server.commit_metrics,
            hooks=server.hooks.metrics,
            usages=list(server.usages().items()) if self.settings.subnets else [],
            events=dict(tally.events),
            delays=tuple(tally.delays),
            delayed=tally.delayed,
            plugins={each.name: _counts(each.plugin) for each in server.hooks.plugins},
        )

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _write_on(self, path: Path) -> None:
        fails = False
        while True:
            try:
                async with asyncio.timeout(self.settings.interval):
                    await self._stopping.wait()
                    return
            except TimeoutError:
                pass
            try:
                await self._write(path)
            except OSError as error:
                if not fails:
                    log.error("%s can't be written: %s", path, error.strerror or error)
                fails = True
            except Exception:
                log.exception("a fault of aiodhcp, please report it")
            else:
                if fails:
                    log.warning("%s can be written again", path)
                fails = False

    async def _write(self, path: Path) -> None:
        snapshot = self._snapshot()
        # Not those of the process: the node exporter has its own by these names.
        await asyncio.to_thread(lambda: _replace(path, self._text(snapshot, process=False).body))


def _others(server: DhcpServer, plugin: Prometheus) -> Iterator[Prometheus]:
    for each in server.hooks.plugins:
        if isinstance(each.plugin, Prometheus) and each.plugin is not plugin:
            yield each.plugin


def _counts(plugin: object) -> Mapping[str, float]:
    """What a plugin counts by itself, in a mapping ``counts`` of names to numbers."""
    counts: Any = getattr(plugin, "counts", None)
    if not isinstance(counts, Mapping):
        return {}
    numbers = ((name, value) for name, value in list(counts.items()) if isinstance(value, int | float))
    return {str(name): value for (name, value), _ in zip(numbers, range(MOST_EVENTS), strict=False)}


def _replace(path: Path, octets: bytes) -> None:
    """Write a file so that nobody reads half of it."""
    # After a reload two may write at a time.
    new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        new.write_bytes(octets)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
