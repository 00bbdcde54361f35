"""What kind of file a callout is, from its first octets."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodhcp import ConfigError
from aiodhcp.callout.binaries import WrongDigest, read_binary


def pe(machine: int) -> bytes:
    return b"MZ".ljust(60, b"\0") + (64).to_bytes(4, "little") + b"PE\0\0" + machine.to_bytes(2, "little")


def elf(machine: int, order: str = "little") -> bytes:
    return b"\x7fELF" + bytes((2, 1 if order == "little" else 2)) + bytes(12) + machine.to_bytes(2, order)


@pytest.mark.parametrize(
    ("octets", "format", "machine", "words"),
    [
        (pe(0x8664), "PE", "x86-64", "a DLL of Windows for x86-64"),
        (pe(0x14C), "PE", "x86", "a DLL of Windows for x86"),
        (pe(0x1234), "PE", "0x1234", "a DLL of Windows for 0x1234"),
        (elf(62), "ELF", "x86-64", "a shared library for x86-64"),
        (elf(183), "ELF", "arm64", "a shared library for arm64"),
        (elf(62, "big"), "ELF", "x86-64", "a shared library for x86-64"),
        (b"", "", "", "no library"),
        (b"MZ", "", "", "no library"),
        (b"MZ".ljust(64, b"\xff"), "", "", "no library"),
        (b"\x7fELF", "", "", "no library"),
        (b"#!/bin/sh\n", "", "", "no library"),
    ],
)
def test_a_file_is_known_by_its_header(tmp_path, octets, format, machine, words):
    file = tmp_path / "callout"
    file.write_bytes(octets)
    found = read_binary(file)
    assert (found.format, found.machine, str(found)) == (format, machine, words)
    assert found.sha256 == hashlib.sha256(octets).hexdigest()
    assert found.is_foreign == (format == "PE" and sys.platform != "win32")


def test_a_pin_is_compared_whatever_its_case(tmp_path):
    file = tmp_path / "callout"
    file.write_bytes(b"octets")
    digest = hashlib.sha256(b"octets").hexdigest()
    assert read_binary(file, digest.upper()).sha256 == digest
    with pytest.raises(WrongDigest, match=f"callout {file}: has SHA-256 {digest}, expected 00"):
        read_binary(file, "0" * 64)


def test_what_can_not_be_read_says_why(tmp_path):
    with pytest.raises(ConfigError, match="expected an absolute path"):
        read_binary(Path("callout.so"))
    with pytest.raises(ConfigError, match="can't be read: No such file or directory"):
        read_binary(tmp_path / "nothing")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"", b"MZ", b"\x7fELF", pe(1)[:60]]), st.binary(max_size=80))
def test_any_octets_are_a_file(tmp_path, head, rest):
    file = tmp_path / "callout"
    file.write_bytes(head + rest)
    assert str(read_binary(file))
