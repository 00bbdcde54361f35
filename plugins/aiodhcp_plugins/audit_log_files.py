"""audit_log_files: a file for each day of the week, as Microsoft's audit log has it. For one thread at a time."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

__all__ = ["COLUMNS", "DayFiles", "Entry"]

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
COLUMNS: Final = (
    "ID,Date,Time,Description,IP Address,Host Name,MAC Address,User Name, TransactionID, QResult,Probationtime,"
    " CorrelationID,Dhcid,VendorClass(Hex),VendorClass(ASCII),UserClass(Hex),UserClass(ASCII),RelayAgentInformation,"
    "DnsRegError."
)
MEANINGS: Final = (
    (0, "The log begins: the server starts."),
    (1, "The log ends: the server stops."),
    (2, "Nothing is written for a while: the disk has too little room."),
    (10, "A client got a lease."),
    (11, "A client renewed its lease."),
    (12, "A client released its lease."),
    (13, "An address was found in use on the network."),
    (14, "No address is left for a client."),
    (15, "A client was denied a lease."),
    (16, "A lease was deleted."),
    (17, "A lease expired; DNS records were not deleted."),
    (20, "A BOOTP client got the address that is reserved for it."),
    (21, "A BOOTP client got an address of a pool."),
    (22, "No address is left for a BOOTP client."),
)
TITLE: Final = "\t\taiodhcp: DHCP service activity log"


class Entry(NamedTuple):
    """A line. What isn't known is left empty.

    Attributes:
        code: the event ID.
        now: when, in seconds since 1970.
        words: the description.
        address: as an integer; 0 for none.
        host_name, hardware_address: the client's.
        xid: the transaction ID of the packet; None where there is none.
        vendor_class, user_class, relay_agent: options 60, 77 and 82 as octets.
    """

    code: int
    now: float
    words: str
    address: int = 0
    host_name: str = ""
    hardware_address: bytes = b""
    xid: int | None = None
    vendor_class: bytes = b""
    user_class: bytes = b""
    relay_agent: bytes = b""


class DayFiles:
    """``DhcpSrvLog-Mon.log`` to ``DhcpSrvLog-Sun.log``; each is begun anew when its day comes again.

    Args:
        directory: where they are; made if it isn't there.
        most: octets that each may have.
        least_free: octets that the disk has to have left.
        disk_check: lines after which that is looked at again.
        zone: of the dates and times; the system's where None.

    Attributes:
        full: why nothing is written, in words; empty when it is.
    """

    def __init__(
        self, directory: Path, most: int, least_free: int, disk_check: int, zone: tzinfo | None = None
    ) -> None:
        self.full = ""
        self._directory = directory
        self._most = most
        self._least_free = least_free
        self._disk_check = disk_check
        self._zone = zone
        self._day = ""
        self._file: BinaryIO | None = None
        self._unchecked = disk_check  # look at once
        self._low = False

    def open(self, now: float) -> None:
        """Have the file of the day.

        Raises:
            OSError: that can't be done.
        """
        self._directory.mkdir(exist_ok=True)
        self._turn_to(self._local(now))

    def close(self) -> None:
        """Close it; it is opened again when needed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, entries: Iterable[Entry]) -> int:
        """Write lines, each into the file of its day. How many were not written, for ``full`` reasons.

        Raises:
            OSError: they can't be written.
        """
        lost = 0
        lines: list[str] = []
        for entry in entries:
            moment = self._local(entry.now)
            if self._day != f"{moment:%m/%d/%y}":
                lost += self._append(lines)
                lines = []
                self._turn_to(moment)
            self._look_at_disk(moment, lines)
            if self._low:
                lost += 1
            else:
                lines.append(_line(entry, moment))
        return lost + self._append(lines)

    def _append(self, lines: list[str]) -> int:
        if not lines:
            return 0
        if self._file is None:
            self._turn_to(datetime.strptime(self._day, "%m/%d/%y").replace(tzinfo=UTC))
        assert self._file is not None
        room = self._most - self._file.tell()
        octets = [line.encode(errors="backslashreplace") for line in lines]
        count = 0
        while count < len(octets) and len(octets[count]) <= room:
            room -= len(octets[count])
            count += 1
        self._file.write(b"".join(octets[:count]))
        self._file.flush()
        if count < len(octets):
            self.full = f"the file of the day has {self._most} octets"
        return len(octets) - count

    def _look_at_disk(self, moment: datetime, lines: list[str]) -> None:
        self._unchecked += 1
        if self._unchecked < self._disk_check:
            return
        self._unchecked = 0
        was, self._low = self._low, shutil.disk_usage(self._directory).free < self._least_free
        if self._low and not was:
            self.full = "the disk has too little room"
            lines.append(_line(Entry(2, 0, "Paused"), moment))

    def _turn_to(self, moment: datetime) -> None:
        """Go on in the file of this day; one of another week is begun anew."""
        self.close()
        day = f"{moment:%m/%d/%y}"
        path = self._directory / f"DhcpSrvLog-{DAYS[moment.weekday()]}.log"
        title = f"{TITLE} of {day}\r\n".encode()
        try:
            with path.open("rb") as file:
                goes_on = file.readline(len(title) + 1) == title
        except FileNotFoundError:
            goes_on = False
        self._file = path.open("ab" if goes_on else "wb")
        self._day = day
        self.full = ""
        if not goes_on:
            meanings = "".join(f"{code:02}\t{words}\r\n" for code, words in MEANINGS)
            head = (
                f"\r\n\r\nEvent ID  Meaning\r\n{meanings}\r\nQResult: 0: NoQuarantine, 6: No Quarantine Information\r\n"
            )
            self._file.write(title + f"{head}\r\n{COLUMNS}\r\n".encode())

    def _local(self, now: float) -> datetime:
        return datetime.fromtimestamp(now, UTC).astimezone(self._zone)


def _line(entry: Entry, moment: datetime) -> str:
    of_packet = entry.xid is not None
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        (
            f"{entry.code:02}",
            f"{moment:%m/%d/%y}",
            f"{moment:%H:%M:%S}",
            entry.words,
            str(IPv4Address(entry.address)) if entry.address else "",
            _printable(entry.host_name),
            entry.hardware_address.hex().upper(),
            "",  # the user: the server knows none
            entry.xid or 0,
            0 if of_packet else 6,
            "",  # until when a client is on probation: there is none
            "",  # the correlation ID: likewise
            "",  # the DHCID: the server doesn't register names
            *_both(entry.vendor_class),
            *_both(entry.user_class),
            _hex(entry.relay_agent),
            0,
        )
    )
    return text.getvalue()


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _both(octets: bytes) -> tuple[str, str]:
    return _hex(octets), "".join(chr(each) if 32 <= each < 127 else "." for each in octets)


def _hex(octets: bytes) -> str:
    return f"0x{octets.hex().upper()}" if octets else ""
