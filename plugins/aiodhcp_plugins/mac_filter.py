"""mac_filter: serves only the clients of a list, or all others, by the files of Microsoft's MAC filter callout of 2007.

The list is a text file::

    MAC_ACTION = {ALLOW}    # only these are served; {DENY}: all but these
    000a0c0d1254            # twelve hexadecimal digits a line

What Microsoft leaves open is as in ``examples/callouts/mac_filter.c``, octet by octet: both come to the same verdict.

- ``#`` begins a comment, anywhere. A carriage return or a NUL ends a line as well, but what is behind it, up to the
  line feed, is lost. Blanks around a line don't count, nor do empty lines.
- The first line that says something is the action, in capitals and in braces, with blanks around ``=`` if need be. What
  begins with ``MAC_ACTION`` after that is a second one. With two, none, or a bad one, nothing is filtered.
- Anything but twelve hexadecimal digits, large or small, is skipped: also digits with colons or blanks between them.
- A line has 1023 octets: the rest of a longer one is read as lines of its own.
- It is read as octets. A byte order mark is part of the first line, which is then a bad action.
- A hardware address of any other length than 6 is in no list: ALLOW ignores such a client, DENY serves it. The hardware
  type doesn't matter.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import AliasChoices, Field

from aiodhcp import ControlCode, DhcpServer, Drop, DropReason, Exchange, Packet, hookimpl
from aiodhcp_plugins.tables import File, Table

__all__ = ["MacFilter"]

log = logging.getLogger("aiodhcp_plugins.mac_filter")

MAC_SIZE: Final = 6
MOST_OCTETS: Final = 1023
"""Of a line of the list: a C buffer of 1024 without its NUL."""
MOST_COMPLAINTS: Final = 20
"""In the server's log; all of them are in the error log."""
FILTERS_NOTHING: Final = "nothing is filtered"
BYTE_ORDER_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_END = re.compile(rb"[#\r\n\0]")
_ACTION = re.compile(rb"MAC_ACTION[ \t]*=[ \t]*\{(ALLOW|DENY)\}")
_MAC = re.compile(rb"[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True)
class _List:
    """What a file says. Where ``allow`` is None, nothing is filtered."""

    allow: bool | None = None
    addresses: frozenset[bytes] = frozenset()


class MacFilter:
    """Serves only the hardware addresses of a list, or all others.

    The list is read at START, and so at a reload, which makes another plugin: a change of the file by itself has no
    effect. It fails open, as Microsoft's does: without a list, or with a bad action, it is as if there were no filter.
    All that is wrong is in the server's log, too, so that a filter that filters nothing doesn't go unnoticed.

    Where packets are judged without a start, as ``aiodhcp explain`` does to say what would happen, the list is read
    with the first of them, and nothing is written to the two files.

    Args:
        settings: the list, and where to write what is wrong with it and what became of whom. The names of Microsoft's
            registry values will do as keys.
    """

    name = "mac-filter"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        list_file: File | None = Field(
            None,
            validation_alias=AliasChoices("list-file", "CalloutMACAddressListFile"),
            description="the list; a relative path starts at the configuration file",
        )
        error_log: File | None = Field(
            None,
            validation_alias=AliasChoices("error-log", "CalloutErrorLogFile"),
            description="a file to which is appended what is wrong with the list",
        )
        info_log: File | None = Field(
            None,
            validation_alias=AliasChoices("info-log", "CalloutInfoLogFile"),
            description="a file to which a line is appended for each packet: who was served, and who was ignored",
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._list: _List | None = None
        self._started = False
        self._errors = _LogFile(settings.error_log)
        self._infos = _LogFile(settings.info_log)

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """Read the list at START."""
        if code is not ControlCode.START:
            return
        self._list, complaints = await asyncio.to_thread(self._read)
        self._started = True
        if complaints:
            now = server.now()
            await asyncio.to_thread(self._errors.append, [_line(now, words) for words in complaints])

    @hookimpl
    def dhcp_new_pkt(self, packet: Packet, exchange: Exchange) -> Drop | None:
        """Veto what comes from a client that the list keeps out."""
        if self._list is None:
            self._list, _ = self._read()
        allow = self._list.allow
        if allow is None:
            return None
        listed = packet.hln == MAC_SIZE and packet.chaddr in self._list.addresses
        if self._started and self.settings.info_log is not None:
            decided = "served" if listed == allow else "ignored"
            words = f"{packet.chaddr.hex() or '-'} {decided}, {'listed' if listed else 'not listed'}"
            self._infos.append([_line(exchange.now, words)])
        if listed == allow:
            return None
        client, path = packet.hardware_address or "a client without a hardware address", self.settings.list_file
        words = f"not among those that {path} allows" if allow else f"among those that {path} denies"
        return Drop(DropReason.UNAUTH, f"{client} is {words}")

    # ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> tuple[_List, list[str]]:
        """The list, and what is wrong with it, which is in the server's log then."""
        path, found = self.settings.list_file, _List()
        complaints: list[str] = []
        if path is None:
            complaints.append(f"no list-file is named: {FILTERS_NOTHING}")
        else:
            try:
                with open(path, "rb") as file:
                    found = _parsed(file, path, complaints)
            except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
                why = error.strerror if isinstance(error, OSError) else error
                complaints.append(f"{path}: can't be read: {why}: {FILTERS_NOTHING}")
        skipped = complaints if found.allow is not None else complaints[:-1]
        for words in skipped[:MOST_COMPLAINTS]:
            log.warning("%s", words)
        if len(skipped) > MOST_COMPLAINTS:
            log.warning("%s: skipped %d more lines", path, len(skipped) - MOST_COMPLAINTS)
        if found.allow is None:
            log.error("%s", complaints[-1])
        else:
            action = "allows" if found.allow else "denies"
            log.info("%s: %s %d hardware addresses", path, action, len(found.addresses))
        return found, complaints


def _parsed(file: BinaryIO, path: Path, complaints: list[str]) -> _List:
    """What an open file says; what is wrong with it is added to the complaints, and what makes it useless last."""
    allow: bool | None = None
    addresses: set[bytes] = set()
    number, marked = 1, False
    for number, piece in _pieces(file):
        marked = marked or (number == 1 and piece.startswith(BYTE_ORDER_MARKS))
        text = _END.split(piece, 1)[0].strip()
        if not text:
            continue
        if allow is None or text.startswith(b"MAC_ACTION"):
            action = _ACTION.fullmatch(text) if allow is None else None
            allow = None if action is None else action[1] == b"ALLOW"
            if allow is None:
                break
        elif _MAC.fullmatch(text):
            addresses.add(bytes.fromhex(text.decode()))
        else:
            complaints.append(f"{path}:{number}: expected 12 hexadecimal digits: skipped")
    if allow is None:
        hint = ", without a byte order mark before it" if marked else ""
        words = f"expected one MAC_ACTION = {{ALLOW}} or {{DENY}}, first{hint}: {FILTERS_NOTHING}"
        complaints.append(f"{path}:{number}: {words}")
        return _List()
    return _List(allow, frozenset(addresses))


def _pieces(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines as C's ``fgets`` gives them, in pieces if they are long, with the numbers that an editor shows."""
    number = 1
    while piece := file.readline(MOST_OCTETS):
        yield number, piece
        number += piece.endswith(b"\n")


# ── the files that are written ───────────────────────────────────────────────────────────────────────────────────────


class _LogFile:
    """A file that lines are appended to. What can't be written is lost; the log says so once, and when it is over.

    It is opened for each append and closed again: the next one after ``logrotate`` begins a new file. A pipe that
    nobody reads is a failure, not something to wait for.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._failing = False

    def append(self, lines: Sequence[str]) -> None:
        """Write lines; it never raises."""
        if self._path is None:
            return
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o640)
            try:
                os.write(descriptor, "".join(lines).encode(errors="backslashreplace"))
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            if not self._failing:
                self._failing = True
                why = error.strerror if isinstance(error, OSError) else error
                log.error("%s: can't be written: %s", self._path, why)
        else:
            if self._failing:
                self._failing = False
                log.warning("%s is written again", self._path)


def _line(now: float, words: str) -> str:
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{moment} {words}\n"
