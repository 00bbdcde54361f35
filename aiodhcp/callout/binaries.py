"""Binaries: what kind of file a callout is, and which octets were in it, before it is loaded."""

from __future__ import annotations

import hashlib
import logging
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aiodhcp.errors import ConfigError

log = logging.getLogger("aiodhcp.callout")

__all__ = ["Binary", "WrongDigest", "read_binary", "read_pinned"]

_MACHINES: Final = {
    "PE": {0x14C: "x86", 0x8664: "x86-64", 0xAA64: "arm64"},
    "ELF": {3: "x86", 62: "x86-64", 183: "arm64", 40: "arm", 243: "riscv"},
}


class WrongDigest(ConfigError):
    """The file is not the one that the configuration pins."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A file that is to be loaded.

    Attributes:
        path: of the file, absolute.
        sha256: of all of it, 64 hexadecimal digits.
        format: "PE", a DLL of Windows; "ELF", a shared library of Linux and others; "" for anything else.
        machine: what it is compiled for: "x86-64", "x86", "arm64"; a number in hexadecimal where it has no name here.
    """

    path: Path
    sha256: str
    format: Literal["PE", "ELF", ""]
    machine: str

    @property
    def is_foreign(self) -> bool:
        """Whether it is a DLL of Windows and this is another system."""
        return self.format == "PE" and sys.platform != "win32"

    def __str__(self) -> str:
        kind = {"PE": "a DLL of Windows", "ELF": "a shared library", "": "no library"}[self.format]
        return f"{kind} for {self.machine}" if self.machine else kind


def read_binary(path: str | Path, sha256: str = "") -> Binary:
    """Look at a file.

    Args:
        path: absolute.
        sha256: the digest that it has to have, in any case; empty for any.

    Raises:
        ConfigError: the path is not absolute, or there is no such file.
        WrongDigest: it is another one.
    """
    file = Path(path)
    if not file.is_absolute():
        raise ConfigError(f"callout {path}: expected an absolute path")
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
            format, machine = _kind(head)
            if format == "PE":
                opened.seek(struct.unpack_from("<I", head, 60)[0])
                header = opened.read(6)
                machine = header[4] | header[5] << 8 if header.startswith(b"PE\0\0") and len(header) == 6 else 0
                format = "PE" if machine else ""
            opened.seek(0)
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"callout {path}: can't be read: {error.strerror}") from None
    if sha256.lower() not in ("", found):
        raise WrongDigest(f"callout {path}: has SHA-256 {found}, expected {sha256.lower()}")
    named = _MACHINES[format].get(machine, f"{machine:#x}") if format else ""
    return Binary(file, found, format, named)


def read_pinned(path: Path, pins: Mapping[Path, str]) -> None:
    """Look at a file that a callout is told to load itself, if there is one.

    Raises:
        WrongDigest: it is pinned, and another one.
        ConfigError: it is pinned, and there is none.
    """
    pin = pins.get(path, "")
    if pin or path.exists():
        found = read_binary(path, pin)
        log.info("callout %s: in the chain, SHA-256 %s", path, found.sha256)


def _kind(head: bytes) -> tuple[Literal["PE", "ELF", ""], int]:
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        return "ELF", int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    if head.startswith(b"MZ") and len(head) == 64:
        return "PE", 0
    return "", 0
