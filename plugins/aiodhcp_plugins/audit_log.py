"""audit_log: what happened to leases, in the files and columns of the audit log of Microsoft's DHCP Server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Final

from pydantic import Field

from aiodhcp import (
    AddressKind,
    AddressProblem,
    ClientType,
    ConfigError,
    ControlCode,
    DhcpServer,
    DropReason,
    Exchange,
    Lease,
    LeaseState,
    hookimpl,
)
from aiodhcp_plugins.audit_log_files import DayFiles, Entry
from aiodhcp_plugins.seldom import Seldom
from aiodhcp_plugins.tables import File, Table

__all__ = ["AuditLog"]

log = logging.getLogger("aiodhcp_plugins.audit_log")

HOST_NAME, VENDOR_CLASS, USER_CLASS, RELAY_AGENT_INFORMATION = 12, 60, 77, 82
MEGABYTE: Final = 1 << 20
PROBLEMS: Final = {
    AddressProblem.CONFLICT: (13, "Conflict"),
    AddressProblem.DECLINE: (13, "Conflict"),
    AddressProblem.RELEASE: (12, "Release"),
    AddressProblem.NACKED: (15, "NACK"),
}
# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_NEW: Final = AddressKind.NEW
_BOOTP: Final = ClientType.BOOTP
_NOADDRESS: Final = DropReason.NOADDRESS
_UNAUTH: Final = DropReason.UNAUTH


class AuditLog:
    """Writes a line for each lease given, prolonged, given back, refused, expired.

    The hooks append to a list; a thread writes what is there, and what comes meanwhile is the next batch.

    Attributes:
        lost: lines that were not written: no room on the disk or in the file, or too many at a time.
    """

    name = "audit-log"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        directory: File = Field(description="where the files are; a relative path starts at the configuration file")
        most_megabytes: int = Field(70, ge=7, description="of all seven files; each may have a seventh of it")
        least_free_megabytes: int = Field(20, ge=0, description="room on the disk below which nothing is written")
        disk_check: int = Field(50, ge=1, description="lines after which that room is looked at again")
        most_lines: int = Field(100_000, ge=1, description="lines that may wait in memory; more are lost, and counted")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lost = 0
        self._files = DayFiles(
            settings.directory,
            settings.most_megabytes * MEGABYTE // 7,
            settings.least_free_megabytes * MEGABYTE,
            settings.disk_check,
        )
        self._server: DhcpServer | None = None
        self._now: Callable[[], float] = time.time  # the server's from START on
        self._entries: list[Entry] = []
        self._ending: dict[int, Lease] = {}
        self._writing: asyncio.Task[None] | None = None
        self._seldom = Seldom(log)

    @property
    def counts(self) -> Mapping[str, int]:
        """What the plugin prometheus shows of it."""
        return {"lost": self.lost}

    # ── the hooks ────────────────────────────────────────────────────────────────────────────────────────────────

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """Open the file of the day at START, which is refused if that can't be done; write the rest at STOP."""
        if code is ControlCode.START:
            self._server, self._now = server, server.now
            try:
                await asyncio.to_thread(self._files.open, self._now())
            except OSError as error:
                raise ConfigError(f"{self.settings.directory}: {error.strerror or error}") from error
            self._note(Entry(0, self._now(), "Started"))
        elif code is ControlCode.STOP:
            self._note(Entry(1, self._now(), "Stopped"))
            await self.flush()
            await asyncio.to_thread(self._files.close)

    @hookimpl
    def dhcp_address_offer(self, kind: AddressKind, client_type: ClientType, exchange: Exchange) -> None:
        """A client got an address."""
        if client_type is _BOOTP:
            code, words = 20 if exchange.reservation is not None else 21, "BOOTP"
        else:
            code, words = (10, "Assign") if kind is _NEW else (11, "Renew")
        self._note(_of(exchange, code, words, exchange.yiaddr))

    @hookimpl
    def dhcp_address_del(self, problem: AddressProblem, exchange: Exchange) -> None:
        """An address was taken back or refused."""
        code, words = PROBLEMS[problem]
        self._note(_of(exchange, code, words, exchange.problem_address))

    @hookimpl
    def dhcp_pkt_drop(self, reason: DropReason, exchange: Exchange) -> None:
        """A client gets nothing."""
        if reason is _NOADDRESS:
            code = 22 if exchange.client_type is _BOOTP else 14
            self._note(_of(exchange, code, "Address pool exhausted", 0))
        elif reason is _UNAUTH:
            self._note(_of(exchange, 15, "Denied", exchange.ciaddr))

    @hookimpl
    def dhcp_delete_client(self, address: IPv4Address) -> None:
        """A lease is about to end: who has it, in case that nobody will know afterwards."""
        number = int(address)
        lease = None if self._server is None else self._server.leases.get(number)
        if lease is not None:
            self._ending[number] = lease

    @hookimpl
    def leases_committed(self, leases: Sequence[Lease]) -> None:
        """An administrator deleted a lease, if it is nobody's."""
        for lease in leases:
            before = self._ending.pop(lease[0], None) if self._ending else None
            if not lease.client and lease.state == LeaseState.RELEASED:
                self._note(_of_lease(before or lease, 16, "Deleted", self._now()))

    @hookimpl
    def lease_expired(self, lease: Lease) -> None:
        """A lease ran out. Of its DNS records the server knows nothing."""
        self._note(_of_lease(lease, 17, "Expired", self._now()))

    # ── the files ────────────────────────────────────────────────────────────────────────────────────────────────

    async def flush(self) -> None:
        """Write what waits, if it can be written."""
        if self._writing is not None:
            await asyncio.wait((self._writing,))
        await self._write()

    def _note(self, entry: Entry) -> None:
        if self._server is None:  # it is only asked what would happen
            return
        if len(self._entries) >= self.settings.most_lines:
            self._lose(1, "too many at a time")
            return
        self._entries.append(entry)
        if self._writing is None:
            loop = asyncio.get_running_loop()
            self._writing = loop.create_task(self._write_and_rest(), name="aiodhcp audit log")

    async def _write_and_rest(self) -> None:
        try:
            await self._write()
        finally:
            self._writing = None

    async def _write(self) -> None:
        while self._entries:
            entries, self._entries = self._entries, []
            try:
                lost = await asyncio.to_thread(self._files.write, entries)
            except OSError as error:
                self._lose(len(entries), error.strerror or str(error))
            else:
                if lost:
                    self._lose(lost, self._files.full)

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        words = "%s: %s: lines are lost, %d since the start"
        self._seldom.say("lost", logging.ERROR, words, self.settings.directory, why, self.lost)


def _of(exchange: Exchange, code: int, words: str, address: int) -> Entry:
    received, lease = exchange.received, exchange.lease_after or exchange.lease_before
    said = received.get(HOST_NAME)
    if lease is not None and lease.hostname:
        name = lease.hostname
    else:
        name = "" if said is None else said.decode(errors="backslashreplace")
    return Entry(
        code,
        exchange.now,
        words,
        address,
        name,
        exchange.chaddr,
        exchange.xid,
        received.get(VENDOR_CLASS, b""),
        received.get(USER_CLASS, b""),
        received.get(RELAY_AGENT_INFORMATION, b""),
    )


def _of_lease(lease: Lease, code: int, words: str, now: float) -> Entry:
    return Entry(code, now, words, lease.address, lease.hostname or "", lease.chaddr)
