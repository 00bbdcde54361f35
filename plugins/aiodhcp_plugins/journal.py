"""journal: an audit trail: what happened to clients and addresses, one JSON object a line, appended to a file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final, Literal

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
    Packet,
    ServerOptions,
    hookimpl,
    message_name,
)
from aiodhcp_plugins.tables import File, Table

__all__ = ["Journal"]

log = logging.getLogger("aiodhcp_plugins.journal")

Event = Literal[
    "control", "new_pkt", "handle_options", "pkt_drop", "pkt_send", "address_del", "address_offer", "delete_client"
]
"""The callouts without their ``dhcp_``."""
OF_ADDRESSES: Final[list[Event]] = ["control", "address_del", "address_offer", "delete_client"]


class Journal:
    """Writes down what happens.

    Lines are gathered in memory and written by one thread at a time; what comes meanwhile is the next batch. What
    can't be written stays until it can, up to ``most_lines``; what is lost beyond that is counted in a line of its own.

    Args:
        settings: where to, and what.

    Attributes:
        lost: lines that found no room and are not told of in the file yet.
    """

    name = "journal"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        path: File = Field(description="the file; a relative path starts at the configuration file")
        events: list[Event] = Field(
            OF_ADDRESSES, description="what is written down: names of the callouts without dhcp_"
        )
        most_lines: int = Field(10_000, ge=1, description="lines that may wait in memory; more are lost, and counted")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lost = 0
        self._now = time.time  # the server's from START on
        self._events = frozenset(settings.events)
        self._file = _LogFile(settings.path)
        self._lines: list[str] = []
        self._writing: asyncio.Task[None] | None = None
        self._failing = False

    # ── the hooks ────────────────────────────────────────────────────────────────────────────────────────────────

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """Open the file at START, which is refused if that can't be done; write the rest and close it at STOP."""
        if code is ControlCode.START:
            try:
                await asyncio.to_thread(self._file.open)
            except OSError as error:
                raise ConfigError(f"{self.settings.path}: {error.strerror or error}") from error
            self._now = server.now
        self._note("control", server.now(), {"code": code.name})
        if code is ControlCode.STOP:
            await self.flush()
            await asyncio.to_thread(self._file.close)

    @hookimpl
    def dhcp_new_pkt(self, packet: Packet, exchange: Exchange) -> None:
        """A packet came."""
        if "new_pkt" in self._events:
            self._note("new_pkt", exchange.now, {**_who(exchange), **_what(packet), "xid": f"{exchange.xid:08x}"})

    @hookimpl
    def dhcp_handle_options(self, packet: Packet, options: ServerOptions, exchange: Exchange) -> None:
        """What the client says of itself."""
        if "handle_options" in self._events:
            facts = {
                **_who(exchange),
                **_what(packet),
                "requested_address": options.requested_address and str(options.requested_address),
                "host_name": _text(options.machine_name),
                "vendor_class": _text(options.vendor_class),
                "user_class": _text(options.class_identifier),
            }
            self._note("handle_options", exchange.now, facts)

    @hookimpl
    def dhcp_pkt_drop(self, packet: Packet | None, reason: DropReason, exchange: Exchange) -> None:
        """A packet was dropped, or vetoed; that others are finished is not written down."""
        vetoed = exchange.vetoed and exchange.reason is None
        if "pkt_drop" in self._events and (reason is not DropReason.PROCESSED or vetoed):
            facts = {**_who(exchange), **_what(packet), "reason": "VETO" if vetoed else reason.name}
            self._note("pkt_drop", exchange.now, {**facts, "why": exchange.why})

    @hookimpl
    def dhcp_pkt_send(self, packet: Packet, reply: Packet, exchange: Exchange) -> None:
        """A reply leaves."""
        if "pkt_send" in self._events:
            facts = {**_who(exchange), **_what(packet), "reply": _kind(reply)}
            self._note("pkt_send", exchange.now, {**facts, "address": str(IPv4Address(reply.yiaddr))})

    @hookimpl
    def dhcp_address_del(self, problem: AddressProblem, address: IPv4Address, exchange: Exchange) -> None:
        """An address was taken back or refused."""
        if "address_del" in self._events:
            facts = {**_who(exchange), "address": str(address), "problem": problem.name, "why": exchange.why or None}
            self._note("address_del", exchange.now, facts)

    @hookimpl
    def dhcp_address_offer(
        self, kind: AddressKind, address: IPv4Address, client_type: ClientType, lease_time: int, exchange: Exchange
    ) -> None:
        """A client got an address."""
        if "address_offer" in self._events:
            lease = exchange.lease_after
            facts = {
                **_who(exchange),
                "address": str(address),
                "kind": kind.name,
                "lease_time": lease_time,
                "host_name": None if lease is None else lease.hostname,
                "client_type": client_type.name,
            }
            self._note("address_offer", exchange.now, facts)

    @hookimpl
    def dhcp_delete_client(self, address: IPv4Address, hardware_address: bytes) -> None:
        """A lease is about to end."""
        self._note("delete_client", self._now(), {"client": hardware_address.hex(":"), "address": str(address)})

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def flush(self) -> None:
        """Write what waits, unless it can't be written."""
        if self._writing is not None:
            await asyncio.wait((self._writing,))
        if self._lines or self.lost:
            await self._write()

    def _note(self, event: Event, now: float, facts: dict[str, Any]) -> None:
        if event not in self._events:
            return
        if len(self._lines) >= self.settings.most_lines:
            self.lost += 1
        else:
            self._lines.append(_line(event, now, facts))
        if self._writing is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # an engine without a server
                return
            self._writing = loop.create_task(self._write_and_rest(), name="aiodhcp journal")

    async def _write_and_rest(self) -> None:
        try:
            await self._write()
        finally:
            self._writing = None

    async def _write(self) -> None:
        while self._lines or self.lost:
            lines, self._lines, lost, self.lost = self._lines, [], self.lost, 0
            told = [_line("lost", self._now(), {"lines": lost})] if lost else []
            try:
                await asyncio.to_thread(self._file.append, [*lines, *told])
            except OSError as error:
                room = max(self.settings.most_lines - len(self._lines), 0)
                self._lines[:0] = lines[:room]
                self.lost += lost + len(lines[room:])
                if not self._failing:
                    self._failing = True
                    log.error("%s: %s: lines wait in memory", self.settings.path, error.strerror or error)
                return
            if self._failing:
                self._failing = False
                log.warning("%s is written again", self.settings.path)


class _LogFile:
    """A file that lines are appended to; another one when it was moved away. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def open(self) -> None:
        """Open it, unless it is open and still the one that has the name."""
        if self._descriptor >= 0:
            try:
                if os.path.samestat(os.stat(self._path), os.fstat(self._descriptor)):
                    return
            except FileNotFoundError:
                pass
            self.close()
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def append(self, lines: Sequence[str]) -> None:
        """Write lines, all or none of them: what can be is taken back if the rest can't be written."""
        self.open()
        octets = "".join(lines).encode()
        before = os.fstat(self._descriptor).st_size
        while octets:
            try:
                octets = octets[os.write(self._descriptor, octets) :]
            except OSError:
                os.ftruncate(self._descriptor, before)
                raise

    def close(self) -> None:
        """Close it; it is opened again when needed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(event: str, now: float, facts: dict[str, Any]) -> str:
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {key: value for key, value in facts.items() if value is not None}
    return json.dumps({"time": moment, "event": event, **said}) + "\n"


def _who(exchange: Exchange) -> dict[str, Any]:
    return {
        "client": exchange.hardware_address or None,
        "client_id": exchange.client_id.hex(":") or None,
        "interface": exchange.interface.name,
        "relay": str(IPv4Address(exchange.giaddr)) if exchange.giaddr else None,
    }


def _what(packet: Packet | None) -> dict[str, Any]:
    return {"message": None if packet is None else _kind(packet)}


def _kind(packet: Packet) -> str:
    return message_name(int(packet.message_type or 0))


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode(errors="backslashreplace")
