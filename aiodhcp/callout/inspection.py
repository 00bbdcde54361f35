"""Inspection: what a file that may be a callout is, exports and registers, and why it can't be used if it can't."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiodhcp.callout.abi import ENTRY_NAMES, ENTRY_POINT
from aiodhcp.callout.binaries import Binary, read_binary
from aiodhcp.callout.child import Child
from aiodhcp.callout.frames import HOOKS
from aiodhcp.errors import ConfigError

__all__ = ["Inspection", "inspect_callout"]

EXTRA: Final = "aiodhcp[callouts]"
"""What to install for the tables of files to be read."""
_READERS: Final = {"PE": ("pefile", "pefile"), "ELF": ("elftools", "pyelftools")}
"""The module that reads a format, and what it is called on PyPI."""
_OURS: Final = {"x86_64": "x86-64", "amd64": "x86-64", "i386": "x86", "i686": "x86", "aarch64": "arm64"}


class _Tables(NamedTuple):
    """What the tables of a file say.

    Attributes:
        exports: names of what others can call, sorted.
        imports: names of the libraries that it needs.
        is_dotnet: whether it is, at least in part, code for .NET.
    """

    exports: tuple[str, ...]
    imports: tuple[str, ...]
    is_dotnet: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found out about a file.

    Attributes:
        path: of the file.
        size: octets.
        sha256: of all of it.
        format: "PE", "ELF", or "" for anything else.
        machine: what it is compiled for.
        exports: the names that it exports, sorted; None where they were not read.
        imports: the libraries that it needs; None where they were not read.
        entry: the name of the entry point, as it is exported; empty where it has none, or that isn't known.
        version: of the API, the one that it takes; None if it was not loaded.
        hooks: names of those that it registers, in the order of the table; None if it was not loaded.
        notes: what else there is to know.
        wrong: why it can't be used here; empty if nothing was found.
    """

    path: str
    size: int
    sha256: str
    format: str
    machine: str
    exports: tuple[str, ...] | None = None
    imports: tuple[str, ...] | None = None
    entry: str = ""
    version: int | None = None
    hooks: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    wrong: str = ""

    @property
    def verdict(self) -> str:
        """In a line, whether it is a callout that can be used."""
        if self.wrong:
            return self.wrong
        if self.version is not None:
            return "a callout"
        return "looks like a callout (it was not loaded)" if self.entry else "not known (it was not loaded)"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "verdict": self.verdict}


def inspect_callout(path: Path, load: Callable[[Path], Child] | None) -> Inspection:
    """Look at a file, and load it unless that is known to fail: its code runs then.

    Args:
        path: absolute.
        load: loads it, in a process of its own; None to leave that out.

    Raises:
        ConfigError: the file can't be read.
    """
    binary = read_binary(path)
    tables, notes = _read_tables(binary)
    exports = tables.exports if tables is not None else None
    entry = next((name for name in ENTRY_NAMES if name in (exports or ())), "")
    if entry and entry != ENTRY_POINT:
        notes.append(
            f"the entry point is exported with a decoration, {entry}: Microsoft's server looks for the plain name; "
            "link it with a .def file, or with -Wl,--kill-at"
        )
    wrong = _obstacle(binary, tables, entry)
    version: int | None = None
    hooks: tuple[str, ...] | None = None
    if load is not None and not wrong:
        try:
            child = load(path)
        except ConfigError as error:
            wrong = str(error).removeprefix(f"callout {path}: ")
        else:
            version, hooks = child.version, tuple(name for name in HOOKS if name in child.hooks)
            child.close()
            if not hooks:
                notes.append("it registers no hooks: with this environment it does nothing")
    return Inspection(
        path=str(path),
        size=path.stat().st_size,
        sha256=binary.sha256,
        format=binary.format,
        machine=binary.machine,
        exports=exports,
        imports=tables.imports if tables is not None else None,
        entry=entry,
        version=version,
        hooks=hooks,
        notes=tuple(notes),
        wrong=wrong,
    )


def _obstacle(binary: Binary, tables: _Tables | None, entry: str) -> str:
    """Why it can't be loaded, as far as the file says."""
    if not binary.format:
        return "is no callout: it is neither a DLL of Windows nor a shared library"
    if binary.format == "ELF" and sys.platform == "win32":
        return f"is {binary}: Windows can't load it"
    if tables is not None and tables.is_dotnet:
        return "is a .NET assembly: it needs .NET, which isn't supported"
    if tables is not None and not entry:
        return f"is no callout: it doesn't export {ENTRY_POINT}"
    ours = platform.machine().lower()
    ours = _OURS.get(ours, ours)
    if binary.is_foreign and binary.machine == "x86":
        return "is a 32-bit DLL: Debian's wine64 can't load it, which has 64-bit ones only"
    if binary.machine != ours and binary.machine in _OURS.values() and ours in _OURS.values():
        return f"is compiled for {binary.machine}, and this machine is {ours}"
    return ""


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_tables(binary: Binary) -> tuple[_Tables | None, list[str]]:
    """The tables of a file, None where they can't be read; and why not."""
    if not binary.format:
        return None, []
    module, package = _READERS[binary.format]
    if importlib.util.find_spec(module) is None:
        return None, [f"exports and imports are not read without {package}: pip install '{EXTRA}'"]
    try:
        return (_pe if binary.format == "PE" else _elf)(binary.path), []
    # Whatever those modules raise when a file is not what it says: they don't say what that may be.
    except Exception as error:
        words = str(error).strip("'\"") or type(error).__name__
        return None, [f"exports and imports can't be read: {words}"]


def _pe(path: Path) -> _Tables:
    import pefile

    wanted = ("IMAGE_DIRECTORY_ENTRY_EXPORT", "IMAGE_DIRECTORY_ENTRY_IMPORT", "IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT")
    with closing(pefile.PE(str(path), fast_load=True)) as file:
        file.parse_data_directories([pefile.DIRECTORY_ENTRY[name] for name in wanted])
        exported = file.DIRECTORY_ENTRY_EXPORT.symbols if hasattr(file, "DIRECTORY_ENTRY_EXPORT") else ()
        exports = {_text(each.name) if each.name else f"#{each.ordinal}" for each in exported}
        needed = [*getattr(file, "DIRECTORY_ENTRY_IMPORT", ()), *getattr(file, "DIRECTORY_ENTRY_DELAY_IMPORT", ())]
        imports = tuple(dict.fromkeys(_text(each.dll) for each in needed))
        directories = file.OPTIONAL_HEADER.DATA_DIRECTORY
        at = pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR"]
        is_dotnet = at < len(directories) and directories[at].VirtualAddress != 0
    return _Tables(tuple(sorted(exports)), imports, is_dotnet)


def _elf(path: Path) -> _Tables:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    exports: set[str] = set()
    imports: list[str] = []
    with path.open("rb") as opened:
        # Of segments and not of sections, which may have been stripped.
        for segment in ELFFile(opened).iter_segments("PT_DYNAMIC"):
            assert isinstance(segment, DynamicSegment)
            tags: Iterable[Any] = segment.iter_tags("DT_NEEDED")
            imports += [each.needed for each in tags]
            for symbol in segment.iter_symbols():
                is_here = symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
                if is_here and symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED"):
                    exports.add(symbol.name)
    return _Tables(tuple(sorted(exports)), tuple(imports))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
