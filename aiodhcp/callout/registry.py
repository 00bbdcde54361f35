"""The list of callouts that Microsoft's DHCP Server has: in the registry of this system, or in an export of it.

``CalloutDlls`` and ``CalloutEnabled`` say what is loaded. A callout may have values of its own beside them, as
``CalloutMACAddressListFile`` of Microsoft's filter.
"""

from __future__ import annotations

import codecs
import logging
import ntpath
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from aiodhcp.callout.abi import LIST_KEY, LIST_VALUE
from aiodhcp.errors import ConfigError

__all__ = ["ENABLED_VALUE", "CalloutList", "Datum", "Note", "locate_dll", "read_reg_file", "read_registry"]

ENABLED_VALUE: Final = "CalloutEnabled"
"""A ``REG_DWORD``: 0 is off, 1 is on. Microsoft's page has it, the header has not."""

Datum = str | int | tuple[str, ...] | bytes
"""What a value is in Python: ``REG_SZ`` and ``REG_EXPAND_SZ``, ``REG_DWORD``, ``REG_MULTI_SZ``, anything else."""


class Note(NamedTuple):
    """Something for the log.

    Attributes:
        level: of ``logging``.
        words: for people.
    """

    level: int
    words: str


@dataclass(frozen=True, slots=True)
class CalloutList:
    """What the registry says about callouts.

    Attributes:
        dlls: ``CalloutDlls``, in its order; None if there is no such value.
        enabled: ``CalloutEnabled``; None if there is no such value.
        others: the other values whose name begins with "Callout", by their names as they are written there.
        source: where it was read, for people: the key, behind the name of the file if it was one.
    """

    dlls: tuple[str, ...] | None
    enabled: bool | None
    others: Mapping[str, Datum] = field(hash=False)
    source: str

    @property
    def to_load(self) -> tuple[str, ...]:
        """The DLLs to load by Microsoft's rules: those of the list, if ``CalloutEnabled`` is there and is 1."""
        return (self.dlls or ()) if self.enabled else ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What to log about it: why those are loaded that are, or why none is."""
        enabled = "" if self.enabled is None else f", {ENABLED_VALUE} is {self.enabled:d}"
        if not self.dlls:
            what = f"there is no {LIST_VALUE}" if self.dlls is None else f"{LIST_VALUE} is empty"
            level = logging.WARNING if self.enabled else logging.INFO
            return (Note(level, f"{self.source}: {what}{enabled}: there is nothing to load"),)
        listed = f"{self.source}: {LIST_VALUE} is {', '.join(self.dlls)}"
        if self.enabled is None:
            return (Note(logging.WARNING, f"{listed}; but none is loaded without {ENABLED_VALUE}, which has to be 1"),)
        return (Note(logging.INFO, listed + enabled + ("" if self.enabled else ": none is loaded")),)

    def other(self, name: str) -> Datum | None:
        """One of ``others``, in whatever case its name is written; None if there is none."""
        return next((datum for each, datum in self.others.items() if each.lower() == name.lower()), None)


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SZ, EXPAND_SZ, BINARY, DWORD, MULTI_SZ = 1, 2, 3, 4, 7
TYPES: Final = {
    0: "REG_NONE",
    SZ: "REG_SZ",
    EXPAND_SZ: "REG_EXPAND_SZ",
    BINARY: "REG_BINARY",
    DWORD: "REG_DWORD",
    5: "REG_DWORD_BIG_ENDIAN",
    6: "REG_LINK",
    MULTI_SZ: "REG_MULTI_SZ",
    8: "REG_RESOURCE_LIST",
    9: "REG_FULL_RESOURCE_DESCRIPTOR",
    10: "REG_RESOURCE_REQUIREMENTS_LIST",
    11: "REG_QWORD",
}


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of the key.

    Attributes:
        name: as it is written there.
        type: its number.
        datum: already of the type of Python that the type has, except that a list may go on behind an empty string.
        where: the file and line, or the key, for errors.
    """

    name: str
    type: int
    datum: Datum
    where: str

    def expected(self, what: str) -> ConfigError:
        found = TYPES.get(self.type, f"type {self.type:#x}")
        return ConfigError(f"{self.where}: {self.name}: expected {what}, found {found} {self.datum!r}")


def _is_of_callouts(name: str) -> bool:
    return name.lower().startswith("callout")


def _callout_list(values: Iterable[_Value], source: str) -> CalloutList:
    """What these values of the key say, all of which have names that begin with "Callout".

    Raises:
        ConfigError: one of the two is not of the type that it has to be.
    """
    dlls: tuple[str, ...] | None = None
    enabled: bool | None = None
    others: dict[str, Datum] = {}
    for value in values:
        name, datum = value.name.lower(), value.datum
        if isinstance(datum, tuple):
            datum = tuple(takewhile(bool, datum))
        elif isinstance(datum, str) and value.type == EXPAND_SZ:
            datum = _expanded(datum)
        if name == LIST_VALUE.lower():
            # One path as a string: what Microsoft's page says it is.
            if isinstance(datum, str):
                datum = (datum,) if datum else ()
            if not isinstance(datum, tuple):
                raise value.expected("a list of paths (REG_MULTI_SZ)")
            dlls = datum
        elif name == ENABLED_VALUE.lower():
            if value.type != DWORD or datum not in (0, 1):
                raise value.expected("0 or 1 (REG_DWORD)")
            enabled = datum == 1
        else:
            others[value.name] = datum
    return CalloutList(dlls, enabled, MappingProxyType(others), source)


def _expanded(text: str) -> str:
    """``REG_EXPAND_SZ`` with the variables of this system, where it has those of Windows."""
    if sys.platform == "win32":
        import winreg

        return winreg.ExpandEnvironmentStrings(text)
    return text


# ── the registry ─────────────────────────────────────────────────────────────────────────────────────────────────────

HIVE: Final = "HKEY_LOCAL_MACHINE"


def read_registry(*, hive: str = HIVE, key: str = LIST_KEY) -> CalloutList:
    """Read the list in the registry of this system. Without the key there is no list.

    Args:
        hive: the name of the hive.
        key: the key in it.

    Raises:
        ConfigError: this is not Windows, the key can't be read, or a value is not what it has to be.
    """
    source = rf"{hive}\{key}"
    return _callout_list(_registry(hive, key, source), source)


def _registry(hive: str, key: str, source: str) -> Iterator[_Value]:
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(getattr(winreg, hive), key) as opened:
                for index in range(winreg.QueryInfoKey(opened)[1]):
                    name, datum, kind = winreg.EnumValue(opened, index)
                    if not _is_of_callouts(name):
                        continue
                    # Empty values are None for some types.
                    datum = tuple(datum) if isinstance(datum, list) else b"" if datum is None else datum
                    yield _Value(name, kind, datum, source)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{source}: can't be read: {error.strerror or error}") from error
    else:
        raise ConfigError(f"there is no Windows registry on this system: can't read {source}; a .reg file can be read")


# ── a file of regedit ────────────────────────────────────────────────────────────────────────────────────────────────

VERSION_5: Final = "Windows Registry Editor Version 5.00"
VERSION_4: Final = "REGEDIT4"

KEY: Final = rf"{HIVE}\{LIST_KEY}"
ANY_KEY: Final = re.compile(
    re.escape(KEY.lower()).replace("currentcontrolset", "(?:currentcontrolset|controlset[0-9]{3})")
)
"""The key of the control set that the system runs with, or of any."""
NAME: Final = re.compile(r'(?:@|"((?:[^"\\]|\\.)*)")[ \t]*=[ \t]*(.*)')
STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:;.*)?')
NUMBER: Final = re.compile(r"dword:[ \t]*([0-9a-f]{1,8})[ \t]*(?:;.*)?", re.IGNORECASE)
OCTETS: Final = re.compile(r"hex(?:\(([0-9a-f]{1,8})\))?:(.*)", re.IGNORECASE)

Line = tuple[int, str]


def read_reg_file(path: str | os.PathLike[str], *, code_page: str = "cp1252") -> CalloutList:
    """Read the list in what regedit or ``reg export`` has written. Without the key there is no list.

    The key of CurrentControlSet is read, if the file has it, or else that of the ControlSet with the lowest number.

    Args:
        path: the file, of version 5.00 in UTF-16 or UTF-8, or of ``REGEDIT4``.
        code_page: that of the system where a file of ``REGEDIT4`` was written, which it doesn't say.

    Raises:
        ConfigError: it can't be read, is no such file, or the key in it is malformed. What is malformed elsewhere in
            the file does not matter.
    """
    file = Path(path)
    try:
        octets = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    reader = _Reader(str(file), code_page)
    key, lines = reader.key(octets)
    return _callout_list(reader.values(lines), f"{file}: {key}")


class _Reader:
    """Reads one file."""

    def __init__(self, file: str, code_page: str) -> None:
        self._file = file
        # Of the data of strings in hex, which version 5.00 has in UTF-16LE, whatever the text is in.
        self._encoding = "utf-16-le"
        self._code_page = code_page

    def _error(self, number: int, words: str) -> ConfigError:
        return ConfigError(f"{self._file}:{number}: {words}")

    # ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────

    def key(self, octets: bytes) -> tuple[str, list[Line]]:
        """The key that has the list, as it is written in the file, and its lines, an empty one where it begins."""
        lines = self._headed(self._text(octets))
        found: dict[str, tuple[str, list[Line]]] = {}
        into: list[Line] | None = None
        for number, line in lines:
            if not line.startswith("["):
                if into is not None:
                    into.append((number, line))
                continue
            # Other keys may have a bracket in their names. Comments behind this one may have, too.
            name, bracket, _ = line[1:].partition("]")
            deleted = name.startswith("-")
            name = name.removeprefix("-")
            full = re.sub(r"^hklm(?=\\|$)", HIVE.lower(), name.lower())
            if deleted and bracket:
                into = None
                # With the keys in it.
                found = {each: kept for each, kept in found.items() if not f"{each}\\".startswith(f"{full}\\")}
            elif ANY_KEY.fullmatch(full):
                if not bracket:
                    raise self._error(number, f"expected ] behind the key {name!r}")
                into = found.setdefault(full, (name, []))[1]
                # Nothing that stood before it goes on behind it.
                into.append((number, ""))
            elif bracket:
                into = None
            elif into is not None:
                into.append((number, line))
        chosen = KEY.lower() if KEY.lower() in found else min(found, default="")
        return found.get(chosen, (KEY, []))

    def _text(self, octets: bytes) -> str:
        """All of the file. What is no text becomes surrogates, which matter in what is read only."""
        encoding, errors = "utf-8-sig", "surrogateescape"
        if octets.startswith(codecs.BOM_UTF16_LE):
            encoding, errors = "utf-16-le", "surrogatepass"
        elif octets.startswith(codecs.BOM_UTF16_BE):
            encoding, errors = "utf-16-be", "surrogatepass"
        elif octets[1:2] == b"\0":
            encoding, errors = "utf-16-le", "surrogatepass"
        elif octets.lstrip().startswith(VERSION_4.encode()):
            encoding = self._code_page
        try:
            return octets.decode(encoding, errors).removeprefix("\ufeff")
        except LookupError:
            raise ConfigError(f"{self._file}: there is no code page {encoding!r}") from None
        except ValueError as error:
            raise ConfigError(f"{self._file}: is not text in {encoding}: {error}") from None

    def _headed(self, text: str) -> Iterator[Line]:
        """The lines behind the first, which says the version; without blank ones and comments."""
        lines = ((number, line.strip(" \t\r")) for number, line in enumerate(text.split("\n"), 1))
        full = ((number, line) for number, line in lines if line and not line.startswith(";"))
        number, line = next(full, (1, ""))
        if line not in (VERSION_5, VERSION_4):
            shown = f", found {line[:60]!r}" if line else ""
            raise self._error(number, f"expected {VERSION_5!r} or {VERSION_4!r}{shown}")
        if line == VERSION_4:
            self._encoding = self._code_page
        return full

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────

    def values(self, lines: Iterable[Line]) -> Iterable[_Value]:
        """The values of the key that begin with "Callout", as they are in the end."""
        found: dict[str, _Value] = {}
        rest = iter(lines)
        for number, line in rest:
            if not line:
                continue
            match = NAME.fullmatch(line)
            if match is None:
                raise self._error(number, f'expected "name"=value, found {line[:60]!r}')
            name = "@" if match[1] is None else self._unescaped(match[1], number)
            if re.fullmatch(r"-[ \t]*(?:;.*)?", match[2]):
                found.pop(name.lower(), None)
                continue
            kind, datum = self._datum(name, match[2], number, rest)
            if _is_of_callouts(name):
                before = found.get(name.lower())
                # The first to write a name decides its case.
                name = before.name if before else name
                found[name.lower()] = _Value(
                    name, kind, self._decoded(name, kind, datum, number), f"{self._file}:{number}"
                )
        return found.values()

    def _unescaped(self, text: str, number: int) -> str:
        odd = re.search(r"\\[^\"\\]", re.sub(r"\\[\"\\]", "", text))
        if odd:
            raise self._error(number, rf'expected \\ or \" in "{text}", found {odd[0]}: a backslash is written \\')
        return re.sub(r"\\(.)", r"\1", text)

    def _datum(self, name: str, text: str, number: int, rest: Iterator[Line]) -> tuple[int, str | int | bytes]:
        """A value of which ``text`` is the first line; takes those that it goes on in from ``rest``."""
        if match := STRING.fullmatch(text):
            return SZ, self._unescaped(match[1], number)
        if match := NUMBER.fullmatch(text):
            return DWORD, int(match[1], 16)
        if match := OCTETS.fullmatch(text):
            return (int(match[1], 16) if match[1] else BINARY), self._octets(name, match[2], number, rest)
        raise self._error(
            number, f'{name}: expected "text", dword: and up to 8 hex digits, or hex:, found {text[:60]!r}'
        )

    def _octets(self, name: str, text: str, number: int, rest: Iterator[Line]) -> bytes:
        found = bytearray()
        while True:
            text = text.partition(";")[0].strip(" \t")
            goes_on = text.endswith("\\")
            *octets, last = (each.strip(" \t") for each in text.removesuffix("\\").split(","))
            # Nothing may be behind a last comma, where the next line goes on, and in a value without octets.
            if last or not (goes_on or (not octets and not found)):
                octets.append(last)
            for each in octets:
                if not re.fullmatch(r"[0-9A-Fa-f]{2}", each):
                    words = f"found {each[:60]!r}" if each else "found nothing"
                    raise self._error(number, f"{name}: expected two hex digits, {words}")
                found.append(int(each, 16))
            if not goes_on:
                return bytes(found)
            following = next(rest, None)
            if following is None or not following[1]:
                raise self._error(number, f"{name}: ends in the middle: expected more hex digits in another line")
            number, text = following

    def _decoded(self, name: str, kind: int, datum: str | int | bytes, number: int) -> Datum:
        for text in (name, datum):
            if isinstance(text, str) and re.search("[\0\ud800-\udfff]", text):
                raise self._error(number, f"{text!r} has characters that are no text")
        if isinstance(datum, bytes) and kind in (SZ, EXPAND_SZ, MULTI_SZ):
            try:
                datum = datum.decode(self._encoding)
            except (LookupError, ValueError) as error:
                raise self._error(number, f"{name}: is not text in {self._encoding}: {error}") from None
            return tuple(datum.split("\0")) if kind == MULTI_SZ else datum.partition("\0")[0]
        if isinstance(datum, bytes) and kind == DWORD:
            if len(datum) != 4:
                raise self._error(number, f"{name}: expected 4 octets of a REG_DWORD, found {len(datum)}")
            return int.from_bytes(datum, "little")
        return datum


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def locate_dll(name: str, directory: Path) -> Path:
    """Where a DLL of the list is on this system.

    An absolute path of this system stays, and a relative one begins at
    ``directory``; of a path of Windows, ``directory`` has the file of that name, in whatever case it is written.

    Args:
        name: as the list has it.
        directory: where the DLLs are that were copied from Windows.

    Returns:
        The path, whether or not there is such a file.
    """
    if sys.platform == "win32":
        return directory / name
    # With a drive, a variable or a backslash; a name without a directory may as well have been written there.
    if not re.match(r"[A-Za-z]:|%[^%]+%|[^/]*(?:\\|$)", name):
        return directory / name
    file = ntpath.basename(name)
    try:
        there = sorted(directory.iterdir())
    except OSError:
        there = []
    same = [each for each in there if each.name.lower() == file.lower()]
    return next((each for each in same if each.name == file), same[0] if same else directory / file)
