"""The ABI as compilers have it: the tables of abi.py in C, asserted against callout.h and mingw-w64's dhcpssdk.h.

A C file is generated from the tables, which doesn't compile unless every size, offset, number and prototype is that of
the header.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from test_callout_abi import CONSTANTS

from aiodhcp.callout import abi
from aiodhcp.callout.abi import CALLOUT_TABLE, ENTRY, SERVER_OPTIONS, CalloutTable, ServerOptionsTable, offsets

EXAMPLES = Path(__file__).parents[2] / "examples" / "callouts"
CALLOUT_H = '#include "callout.h"\n'
DHCPSSDK_H = "#include <windows.h>\n#include <dhcpssdk.h>\n#include <wchar.h>\n"


def asserted(pointer: int) -> str:
    """C that compiles if the header is what abi.py says."""
    lines = ["#include <stddef.h>", "#define IS(what) _Static_assert(what, #what)"]
    for name, names, types in (
        ("DHCP_CALLOUT_TABLE", [slot.field for slot in CALLOUT_TABLE], [slot.type for slot in CALLOUT_TABLE]),
        ("DHCP_SERVER_OPTIONS", [each.name for each in SERVER_OPTIONS], [each.type for each in SERVER_OPTIONS]),
    ):
        *found, size = offsets(types, pointer)
        lines.append(f"IS(sizeof({name}) == {size});")
        for field, kind, at in zip(names, types, found, strict=True):
            lines.append(f"IS(offsetof({name}, {field}) == {at});")
            lines.append(f"IS(sizeof((({name} *)0)->{field}) == sizeof({kind}));")
    for defined in CONSTANTS.values():
        lines += [f"IS({name} == {number:#x});" for name, number in defined.items()]
    lines.append(f"IS(DHCP_SEND_PACKET == {abi.SEND_PACKET:#x});")
    # A pointer to a function of these parameters is one of that type, or it is an error.
    for slot in CALLOUT_TABLE:
        if slot.parameters is not None:
            parameters = ", ".join(map(str, slot.parameters))
            lines.append(f"DWORD WINAPI a_{slot.field}({parameters});")
            lines.append(f"{slot.type} p_{slot.field} = a_{slot.field};")
            lines.append(f"void s_{slot.field}(DHCP_CALLOUT_TABLE *t) {{ t->{slot.field} = a_{slot.field}; }}")
    entry = ", ".join(map(str, ENTRY))
    lines.append(f"DWORD CALLBACK an_entry({entry});")
    lines.append("LPDHCP_ENTRY_POINT_FUNC p_entry = an_entry;")
    lines.append(f'IS(sizeof DHCP_CALLOUT_ENTRY_POINT == sizeof "{abi.ENTRY_POINT}");')
    return "\n".join(lines) + "\n"


def compiles(compiler: str, header: str, pointer: int, *flags: str) -> None:
    path = shutil.which(compiler)
    if path is None:
        pytest.skip(f"{compiler} is not installed")
    command = [path, "-xc", "-", "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *flags]
    included = subprocess.run([*command], input=header, capture_output=True, text=True, check=False)
    if included.returncode and "No such file" in included.stderr:
        pytest.skip(f"{compiler} has not all headers: {included.stderr.splitlines()[0]}")
    done = subprocess.run(command, input=header + asserted(pointer), capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize(("flags", "pointer"), [((), ctypes.sizeof(ctypes.c_void_p)), (("-m32", "-ffreestanding"), 4)])
def test_callout_h_is_the_abi(flags, pointer):
    compiles("gcc", CALLOUT_H, pointer, f"-I{EXAMPLES}", *flags)


@pytest.mark.parametrize(("machine", "pointer"), [("x86_64", 8), ("i686", 4)])
@pytest.mark.parametrize("header", [DHCPSSDK_H, CALLOUT_H], ids=["dhcpssdk.h", "callout.h"])
def test_the_header_of_mingw_is_the_abi(machine, pointer, header):
    compiles(f"{machine}-w64-mingw32-gcc", header, pointer, f"-I{EXAMPLES}")


def test_the_assertions_find_what_is_wrong():
    with pytest.raises(AssertionError, match="static assertion failed"):
        compiles("gcc", CALLOUT_H, 12 - ctypes.sizeof(ctypes.c_void_p), f"-I{EXAMPLES}")


@pytest.mark.parametrize("machine", ["x86_64", "i686"])
def test_the_examples_compile_for_windows_and_export_the_entry_point(machine, tmp_path):
    compiler = f"{machine}-w64-mingw32-gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "-C", EXAMPLES, "dll", f"OUT={tmp_path}", f"MINGW={compiler}", "CFLAGS=-Wall -Wextra -Werror"]
    command[-1] += " -Wno-unused-parameter"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    for name in ("logger", "option_editor", "mac_filter"):
        library = (tmp_path / f"{name}.dll").read_bytes()
        assert library.startswith(b"MZ")
        assert b"\0DhcpServerCalloutEntry\0" in library


def test_the_examples_compile_for_this_system(tmp_path):
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("cc or make is not installed")
    command = ["make", "-C", EXAMPLES, f"OUT={tmp_path}", "CFLAGS=-Wall -Wextra -Werror -Wno-unused-parameter"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"logger.so", "option_editor.so", "mac_filter.so"}


def test_ctypes_have_the_offsets_of_the_tables():
    pointer = ctypes.sizeof(ctypes.c_void_p)
    for structure, types in (
        (CalloutTable, [slot.type for slot in CALLOUT_TABLE]),
        (ServerOptionsTable, [each.type for each in SERVER_OPTIONS]),
    ):
        found = [getattr(structure, name).offset for name, _ in structure._fields_]
        assert (*found, ctypes.sizeof(structure)) == offsets(types, pointer)
