"""address_plan: a CSV file as the address plan: which client has which address, host name and lease time."""

from __future__ import annotations

import asyncio
import csv
import logging
import os
import re
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from pydantic import Field

from aiodhcp import INFINITE, Config, ConfigError, Exchange, MessageType, Packet, Reservation, Subnet, Use, hookimpl
from aiodhcp_plugins.tables import File, Table

__all__ = ["AddressPlan"]

log = logging.getLogger("aiodhcp_plugins.address_plan")

CHECK_EVERY: Final = 1.0
"""Seconds between two looks at whether the file changed."""
MOST_COMPLAINTS: Final = 20
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_DURATION = re.compile(r"(\d{1,10})([smhdw]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the plan. ``bare`` is the reservation where the address is of no use."""

    line: int
    reservation: Reservation
    bare: Reservation
    host_name: str
    lease_time: int


@dataclass(slots=True)
class _Plan:
    """Clients by hardware address and by client id; one may have a line for each of several subnets."""

    by_hardware_address: dict[bytes, list[_Entry]] = field(default_factory=dict)
    by_client_id: dict[bytes, list[_Entry]] = field(default_factory=dict)
    by_address: dict[int, _Entry] = field(default_factory=dict)


class AddressPlan:
    """Reserves what a CSV file says.

    The file is read when a configuration is loaded, which is refused if something in it is wrong; and again when it
    has changed, where a wrong file leaves the plan as it was. A reservation of the configuration comes first.
    """

    name = "address-plan"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        path: File = Field(description="the CSV file; a relative path starts at the configuration file")
        delimiter: str = Field(",", min_length=1, max_length=1, description="what stands between two columns")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._plan = _Plan()
        self._seen: Signature | None = None
        self._looked = float("-inf")
        self._looking = False

    @hookimpl
    async def config_loaded(self, config: Config) -> None:
        """Read the file; refuse the configuration if something in it is wrong."""
        self._plan, self._seen = await asyncio.to_thread(self._read)
        for address, entry in self._plan.by_address.items():
            subnet = config.subnet_of(address)
            if subnet is None:
                self._remark(entry, address, "lies in no subnet")
            elif subnet.pool(address) is not None and address not in subnet.by_address:
                self._remark(entry, address, "lies in a pool: another client may be given it first")

    def _remark(self, entry: _Entry, address: int, words: str) -> None:
        log.warning("%s:%d: %s %s", self.settings.path, entry.line, IPv4Address(address), words)

    @hookimpl
    def reservation_lookup(
        self, subnet: Subnet, exchange: Exchange
    ) -> Awaitable[Use[Reservation] | None] | Use[Reservation] | None:
        """Look the client up; about once a second, look before whether the file changed."""
        if not self._looking and abs(exchange.now - self._looked) >= CHECK_EVERY:
            self._looked, self._looking = exchange.now, True
            return self._look_up_afresh(subnet, exchange)
        return self._look_up(subnet, exchange)

    @hookimpl
    def select_lease_time(self, address: IPv4Address, exchange: Exchange) -> Use[int] | None:
        """The lease time of the plan."""
        entry: _Entry | None = exchange.context
        if entry is None or not entry.lease_time or entry.reservation.address not in (None, int(address)):
            return None
        return Use(entry.lease_time)

    @hookimpl
    def dhcp_pkt_send(self, reply: Packet, exchange: Exchange) -> None:
        """The host name of the plan."""
        entry: _Entry | None = exchange.context
        if entry is not None and entry.host_name and reply.message_type != MessageType.NAK:
            reply.options["host-name"] = entry.host_name

    # ── the plan ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_up(self, subnet: Subnet, exchange: Exchange) -> Use[Reservation] | None:
        plan = self._plan
        entries = plan.by_client_id.get(exchange.client_id) or plan.by_hardware_address.get(exchange.chaddr)
        if not entries:
            return None
        for entry in entries:
            address = entry.reservation.address
            if address is not None and address in subnet:
                exchange.context = entry
                return Use(entry.reservation)
        # It is known all the same, wherever it is.
        entry = next((each for each in entries if each.reservation.address is None), entries[0])
        exchange.context = entry
        return Use(entry.bare)

    async def _look_up_afresh(self, subnet: Subnet, exchange: Exchange) -> Use[Reservation] | None:
        await asyncio.to_thread(self._read_again)
        return self._look_up(subnet, exchange)

    def _read_again(self) -> None:
        """Read the file if it changed; what is wrong with it is said once."""
        try:
            try:
                seen = _signature(self.settings.path)
            except OSError as error:
                if self._seen is not None:
                    log.error("%s: %s; the plan stays as it was", self.settings.path, error.strerror or error)
                self._seen = None
                return
            if seen == self._seen:
                return
            self._seen = seen
            try:
                self._plan, self._seen = self._read()
            except ConfigError as error:
                log.error("%s; the plan stays as it was", error)
            else:
                log.info("%s changed and was read again", self.settings.path)
        finally:
            self._looking = False

    def _read(self) -> tuple[_Plan, Signature]:
        path = self.settings.path
        try:
            seen = _signature(path)
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is not UTF-8 text: {error}") from None
        plan, complaints = _Plan(), []
        for at, (line, row) in enumerate(_rows(text, self.settings.delimiter)):
            if at == 0 and len(row) > 1 and row[1].lower().replace("-", " ") in ("address", "ip", "ip address"):
                continue
            try:
                _enter(plan, line, row)
            except ValueError as error:
                complaints.append(f"{path}:{line}: {error}")
        if complaints:
            more = len(complaints) - MOST_COMPLAINTS
            raise ConfigError("\n".join(complaints[:MOST_COMPLAINTS]) + (f"\nand {more} more" if more > 0 else ""))
        return plan, seen


def _signature(path: Path) -> Signature:
    """What changes when a file does."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for line, row in enumerate(text.splitlines(), 1):
        if row.strip() and not row.lstrip().startswith("#"):
            yield line, [cell.strip() for cell in next(csv.reader([row], delimiter=delimiter, skipinitialspace=True))]


def _enter(plan: _Plan, line: int, row: list[str]) -> None:
    """Add a line to the plan.

    Raises:
        ValueError: something in it is wrong.
    """
    if len(row) > 4:
        raise ValueError(f"expected at most 4 columns, got {len(row)}")
    client, dotted, host_name, duration = (*row, "", "", "")[:4]
    hardware_address, client_id = _client(client)
    address = _address(dotted)
    if host_name and (len(host_name) > 253 or not _HOST_NAME.fullmatch(host_name)):
        raise ValueError(f"expected a host name, got {host_name!r}")
    entry = _Entry(
        line,
        Reservation(hardware_address, client_id, address),
        Reservation(hardware_address, client_id),
        host_name,
        _seconds(duration),
    )
    if address is not None:
        before = plan.by_address.setdefault(address, entry)
        if before is not entry:
            raise ValueError(f"{dotted} is in line {before.line} already")
    entries = (
        plan.by_client_id.setdefault(client_id, [])
        if client_id is not None
        else plan.by_hardware_address.setdefault(hardware_address or b"", [])
    )
    for other in entries:
        if address is None or other.reservation.address is None:
            raise ValueError(f"{client} is in line {other.line} already; only lines with addresses may be several")
    entries.append(entry)


def _client(text: str) -> tuple[bytes | None, bytes | None]:
    """A hardware address, or a client id."""
    kind, _, rest = text.partition(":")
    identity = rest if kind.lower() == "id" else text
    try:
        octets = bytes.fromhex(identity.replace("-", ":").replace(":", " ")) if len(identity) > 2 else b""
    except ValueError:
        octets = b""
    if kind.lower() == "id":
        octets = octets or identity.encode()
        if 2 <= len(octets) <= 255:
            return None, octets
    elif 2 <= len(octets) <= 16:
        return octets, None
    raise ValueError(f"expected a hardware address like '02:00:00:00:00:01', or 'id:' and a client id, got {text!r}")


def _address(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(IPv4Address(text))
    except ValueError:
        raise ValueError(f"expected an address like '192.0.2.10', or nothing, got {text!r}") from None


def _seconds(text: str) -> int:
    if not text:
        return 0
    if text.lower() == "forever":
        return INFINITE
    found = _DURATION.fullmatch(text.lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= INFINITE:
        raise ValueError(f"expected a lease time like '12h', 'forever' or nothing, got {text!r}")
    return seconds
