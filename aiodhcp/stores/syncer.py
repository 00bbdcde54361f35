"""Syncer: fdatasync without a thread, by Linux's native asynchronous input and output (io_submit(2)).

A thread for each fsync costs more than the fsync where clients come one by one: the two wake each other, and wait for
the interpreter.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["Syncer"]

_CALLS: Final = {
    "x86_64": (206, 207, 208, 209),
    "aarch64": (0, 1, 4, 2),
    "riscv64": (0, 1, 4, 2),
}
"""io_setup, io_destroy, io_getevents and io_submit, which the C library has no functions for."""
_FDSYNC: Final = 3
_RESULT_FD: Final = 1
_REQUEST: Final = struct.Struct("=QIIHhIQQqQII")
"""struct iocb: data; key and flags; opcode, priority, file; buffer, octets, offset; reserved; flags, eventfd."""
_EVENT: Final = struct.Struct("=QQqq")
"""struct io_event: data, request, result, second result."""


class Syncer:
    """Syncs files, one after the other.

    Args:
        loop: the event loop that hears of it.
        done: called when the file is synced: with None, or with what went wrong.

    Raises:
        OSError: this system can't do it, or has no room for one more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[OSError | None], None]) -> None:
        calls = _CALLS.get(platform.machine()) if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
        if calls is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        setup, self._destroy, getevents, submit = calls
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._call(ctypes.c_long(setup), ctypes.c_long(1), ctypes.byref(self._context)) < 0:
            raise _failure()
        self._loop, self._done = loop, done
        try:
            self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            self._call(ctypes.c_long(self._destroy), self._context)
            raise
        self._request = ctypes.create_string_buffer(_REQUEST.size)
        self._event = ctypes.create_string_buffer(_EVENT.size)
        requests = (ctypes.c_void_p * 1)(ctypes.addressof(self._request))
        self._submit = (ctypes.c_long(submit), self._context, ctypes.c_long(1), requests)
        one = ctypes.c_long(1)
        self._collect = (ctypes.c_long(getevents), self._context, ctypes.c_long(0), one, self._event, None)
        loop.add_reader(self._ready, self._collected)

    def begin(self, descriptor: int) -> None:
        """Sync a file; the one before is done.

        Raises:
            OSError: it can't be begun.
        """
        _REQUEST.pack_into(self._request, 0, 0, 0, 0, _FDSYNC, 0, descriptor, 0, 0, 0, 0, _RESULT_FD, self._ready)
        if self._call(*self._submit) != 1:
            raise _failure()

    def close(self) -> None:
        """Let go of it. Waits for a sync that is under way, of which nobody hears any more."""
        if self._context:
            self._call(ctypes.c_long(self._destroy), self._context)
            self._context.value = 0
            if not self._loop.is_closed():
                self._loop.remove_reader(self._ready)
            os.close(self._ready)

    def _collected(self) -> None:
        try:
            os.eventfd_read(self._ready)
        except BlockingIOError:
            return
        if self._call(*self._collect) == 1:
            result = _EVENT.unpack(self._event)[2]
            self._done(None if result == 0 else OSError(-result, os.strerror(-result)))


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
