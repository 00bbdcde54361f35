"""The ABI as compilers have it: the tables of abi.py in C, asserted against callout.h and mingw-w64's dhcpssdk.h.

A C file is generated from the tables, which doesn't compile unless every size, offset, number and prototype is that of
the header.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_callout_abi import CONSTANTS

from aiodhcp.callout import abi
from aiodhcp.callout.abi import CALLOUT_TABLE, ENTRY, SERVER_OPTIONS, CalloutTable, ServerOptionsTable, offsets

EXAMPLES = Path(__file__).parents[2] / "examples" / "callouts"
CALLOUT_H = '#include "callout.h"\n'
PREFIXES = tuple(f"DHCP_{each}_" for each in ("CONTROL", "DROP", "SEND", "PROB", "GIVE_ADDRESS", "CLIENT", "CALLOUT"))
"""What the names of the API's constants begin with."""
MARK = "value_of_"
DHCPSSDK_H = "#include <windows.h>\n#include <dhcpssdk.h>\n#include <wchar.h>\n"


def asserted(pointer: int) -> str:
    """C that compiles if the header is what abi.py says."""
    lines = ["#include <stddef.h>", "#define IS(what) _Static_assert(what, #what)"]
    lines.append("#define IS_OF(what, kind) IS(__builtin_types_compatible_p(__typeof__(what), kind))")
    for name, names, types in (
        ("DHCP_CALLOUT_TABLE", [slot.field for slot in CALLOUT_TABLE], [slot.type for slot in CALLOUT_TABLE]),
        ("DHCP_SERVER_OPTIONS", [each.name for each in SERVER_OPTIONS], [each.type for each in SERVER_OPTIONS]),
    ):
        *found, size = offsets(types, pointer)
        lines.append(f"IS(sizeof({name}) == {size});")
        for field, kind, at in zip(names, types, found, strict=True):
            lines.append(f"IS(offsetof({name}, {field}) == {at});")
            lines.append(f"IS_OF((({name} *)0)->{field}, {kind});")
    for defined in CONSTANTS.values():
        lines += [f"IS({name} == {number:#x});" for name, number in defined.items()]
    lines.append(f"IS(DHCP_SEND_PACKET == {abi.SEND_PACKET:#x});")
    # A function of these parameters, and of this calling convention, is one of that type, or it is an error.
    for slot in CALLOUT_TABLE:
        if slot.parameters is not None:
            parameters = ", ".join(map(str, slot.parameters))
            lines.append(f"DWORD WINAPI a_{slot.field}({parameters});")
            lines.append(f"IS_OF(&a_{slot.field}, {slot.type});")
            lines.append(f"void s_{slot.field}(DHCP_CALLOUT_TABLE *t) {{ t->{slot.field} = a_{slot.field}; }}")
    entry = ", ".join(map(str, ENTRY))
    lines.append(f"DWORD CALLBACK an_entry({entry});")
    lines.append("IS_OF(&an_entry, LPDHCP_ENTRY_POINT_FUNC);")
    lines.append("IS_OF((LPDHCP_SERVER_OPTIONS)0, DHCP_SERVER_OPTIONS *);")
    lines.append("IS_OF((LPDHCP_CALLOUT_TABLE)0, DHCP_CALLOUT_TABLE *);")
    # So wide are the types that abi.py has as ctypes.
    for kind, octets in {"BYTE": 1, "BOOLEAN": 1, "WCHAR": 2, "DWORD": 4, "ULONG": 4, "BOOL": 4}.items():
        lines.append(f"IS(sizeof({kind}) == {octets});")
    return "\n".join(lines) + "\n"


def defined(header: str, compiler: str, *flags: str) -> tuple[set[str], dict[str, str]]:
    """The names of the numbers that a header has for the API, and its strings as C has them."""
    names = set(re.findall(r"^#define (DHCP_\w+)", compiled(compiler, header, "-E", "-dM", *flags), re.MULTILINE))
    names = {name for name in names if name.startswith(PREFIXES)}
    strings = {name for name in names if name.startswith("DHCP_CALLOUT_")}
    source = header + "".join(f"{MARK}{name} {name}\n" for name in sorted(strings))
    found = re.findall(rf"^{MARK}(\w+) (.*)$", compiled(compiler, source, "-E", "-P", *flags), re.MULTILINE)
    return names - strings, dict(found)


def compiled(compiler: str, source: str, *flags: str) -> str:
    """What a compiler makes of C, which starts with what includes the header."""
    path = shutil.which(compiler)
    if path is None:
        pytest.skip(f"{compiler} is not installed")
    command = [path, "-xc", "-", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{EXAMPLES}", *flags]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode and "No such file" in done.stderr:
        pytest.skip(f"{compiler} has not all headers: {done.stderr.splitlines()[0]}")
    assert not done.returncode, done.stderr
    return done.stdout


def compiles(compiler: str, header: str, pointer: int, *flags: str) -> None:
    compiled(compiler, header + asserted(pointer), "-fsyntax-only", *flags)


@pytest.mark.parametrize(("flags", "pointer"), [((), ctypes.sizeof(ctypes.c_void_p)), (("-m32", "-ffreestanding"), 4)])
def test_callout_h_is_the_abi(flags, pointer):
    compiles("gcc", CALLOUT_H, pointer, *flags)


@pytest.mark.parametrize(("machine", "pointer"), [("x86_64", 8), ("i686", 4)])
@pytest.mark.parametrize("header", [DHCPSSDK_H, CALLOUT_H], ids=["dhcpssdk.h", "callout.h"])
def test_the_header_of_mingw_is_the_abi(machine, pointer, header):
    compiles(f"{machine}-w64-mingw32-gcc", header, pointer)


@pytest.mark.parametrize(
    ("compiler", "header"),
    [
        ("x86_64-w64-mingw32-gcc", DHCPSSDK_H),
        ("i686-w64-mingw32-gcc", DHCPSSDK_H),
        ("gcc", CALLOUT_H),
    ],
    ids=["dhcpssdk.h x86_64", "dhcpssdk.h i686", "callout.h"],
)
def test_the_header_has_no_other_constants(compiler, header):
    numbers, strings = defined(header, compiler)
    assert numbers == {*(name for each in CONSTANTS.values() for name in each), "DHCP_SEND_PACKET"}
    key = abi.LIST_KEY.replace("\\", "\\\\")
    registry = {
        "DHCP_CALLOUT_LIST_KEY": f'L"{key}"',
        "DHCP_CALLOUT_LIST_VALUE": f'L"{abi.LIST_VALUE}"',
        "DHCP_CALLOUT_LIST_TYPE": "(7)",  # REG_MULTI_SZ
    }
    # callout.h leaves the registry to Windows.
    assert strings == {"DHCP_CALLOUT_ENTRY_POINT": f'"{abi.ENTRY_POINT}"'} | (registry if header == DHCPSSDK_H else {})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("IS(sizeof(DHCP_CALLOUT_TABLE) == 81);", "static assertion failed"),
        ("IS_OF(((DHCP_SERVER_OPTIONS *)0)->DSDomainNameRequested, BOOL);", "static assertion failed"),
        ("IS(DHCP_DROP_PROCESSED == 0xc);", "static assertion failed"),
        ("DWORD WINAPI one(DWORD, LPVOID, DWORD);\nIS_OF(&one, LPDHCP_CONTROL);", "static assertion failed"),
        ("DWORD WINAPI one(DWORD);\nLPDHCP_CONTROL p = one;", "incompatible pointer type"),
    ],
    ids=["size", "type of a field", "number", "parameters", "assignment"],
)
def test_the_assertions_find_what_is_wrong(wrong, said):
    with pytest.raises(AssertionError, match=said):
        compiled("gcc", CALLOUT_H + asserted(ctypes.sizeof(ctypes.c_void_p)) + wrong + "\n", "-fsyntax-only")


def test_the_calling_convention_is_part_of_the_type():
    compiler = "i686-w64-mingw32-gcc"
    with pytest.raises(AssertionError, match="incompatible pointer type"):
        compiled(compiler, f"{DHCPSSDK_H}DWORD one(DWORD, LPVOID);\nLPDHCP_CONTROL p = one;\n", "-fsyntax-only")


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
