"""Memory: where packets are while a callout is called. The buffer of 4 KiB that Microsoft promises, really there."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any, Final, Protocol

from aiodhcp.callout.abi import BUFFER_SIZE

__all__ = ["GuardedMemory", "Memory", "PlainMemory"]


class Memory(Protocol):
    """Room for a packet, and for what of its options is in pieces in it."""

    @property
    def address(self) -> int:
        """Of the packet."""

    def put(self, octets: bytes) -> int:
        """Put a packet there, with NULs behind it up to 4096; the address."""

    def put_behind(self, octets: bytes) -> int:
        """Put what is behind a packet, where it isn't in the way; the address."""


class PlainMemory:
    """Memory of this process, among other things of it."""

    def __init__(self) -> None:
        # What is behind the packet is behind the packet: a callout that writes too far spoils no more than that.
        self._buffer: Final = ctypes.create_string_buffer(2 * BUFFER_SIZE)
        self.address: Final = ctypes.addressof(self._buffer)

    def put(self, octets: bytes) -> int:
        """Put a packet."""
        ctypes.memmove(self.address, octets.ljust(BUFFER_SIZE, b"\0"), BUFFER_SIZE)
        return self.address

    def put_behind(self, octets: bytes) -> int:
        """Put what is behind it."""
        ctypes.memmove(self.address + BUFFER_SIZE, octets, len(octets))
        return self.address + BUFFER_SIZE


class GuardedMemory:
    """Memory that ends where nobody may write: who writes past a packet ends the process then and there, and not a
    later one for it.
    """

    def __init__(self) -> None:
        page: Final = max(mmap.PAGESIZE, BUFFER_SIZE)
        self._map: Final = mmap.mmap(-1, 3 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.address: Final = start + 2 * page - BUFFER_SIZE
        self._behind: Final = start
        _protect(start + 2 * page, page)

    def put(self, octets: bytes) -> int:
        """Put a packet."""
        ctypes.memmove(self.address, octets.ljust(BUFFER_SIZE, b"\0"), BUFFER_SIZE)
        return self.address

    def put_behind(self, octets: bytes) -> int:
        """Put what is behind it."""
        ctypes.memmove(self._behind, octets, len(octets))
        return self._behind


def _protect(address: int, size: int) -> None:
    """Let nobody read or write there.

    Raises:
        OSError: the system won't.
    """
    if sys.platform == "win32":
        kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)
        before, no_access = ctypes.c_uint32(), 1
        if not kernel.VirtualProtect(ctypes.c_void_p(address), ctypes.c_size_t(size), no_access, ctypes.byref(before)):
            raise ctypes.WinError(ctypes.get_last_error())
    else:
        no_access = 0
        if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), no_access):
            raise OSError(ctypes.get_errno(), "mprotect")
