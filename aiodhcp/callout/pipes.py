"""Pipes to another process, read and written by an event loop that never waits for them."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Pipes", "PolledPipes", "ThreadedPipes", "open_pipes"]

CHUNK: Final = 1 << 18

Received = Callable[[bytes], None]
"""Called on the loop with what was read, and once with nothing when the other end is closed."""


class Pipes(Protocol):
    """A pipe to read from and another one to write to."""

    def write(self, octets: bytes | bytearray) -> None:
        """Send them, now or when there is room."""

    def read(self) -> None:
        """Take what is there, if that can be known without waiting."""

    def close(self) -> None:
        """No longer read or write; the pipes themselves stay open."""


class PolledPipes:
    """Pipes that the loop watches, where the system has that.

    Args:
        loop: the event loop.
        source: the pipe to read from.
        sink: the pipe to write to.
        received: called with what was read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, source: int, sink: int, received: Received) -> None:
        self._loop = loop
        self._source = source
        self._sink = sink
        self._received = received
        self._unsent = bytearray()
        self._open = True
        os.set_blocking(source, False)
        os.set_blocking(sink, False)
        loop.add_reader(source, self.read)

    def write(self, octets: bytes | bytearray) -> None:
        """Send them."""
        if not self._open:
            return
        if self._unsent:
            self._unsent += octets
            return
        rest = octets[self._try(octets) :]
        if rest:
            self._unsent += rest
            self._loop.add_writer(self._sink, self._go_on)

    def _try(self, octets: bytes | bytearray) -> int:
        try:
            return os.write(self._sink, octets)
        except BlockingIOError:
            return 0
        except OSError:  # it has ended, as reading will show
            return len(octets)

    def _go_on(self) -> None:
        del self._unsent[: self._try(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._sink)

    def read(self) -> None:
        """Take what is there."""
        while self._open:
            try:
                octets = os.read(self._source, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if not octets:
                self.close()
            self._received(octets)
            if len(octets) < CHUNK:
                return

    def close(self) -> None:
        """Watch them no longer."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._source)
            self._loop.remove_writer(self._sink)


class ThreadedPipes:
    """Pipes with a thread each, for Windows, where a loop can't watch them; it does the same a little slower.

    Args:
        loop: the event loop.
        source: the pipe to read from.
        sink: the pipe to write to.
        received: called with what was read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, source: int, sink: int, received: Received) -> None:
        self._loop = loop
        self._source = source
        self._sink = sink
        self._received = received
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._open = True
        for each in (self._read_on, self._write_on):
            threading.Thread(target=each, name="aiodhcp callout", daemon=True).start()

    def write(self, octets: bytes | bytearray) -> None:
        """Send them."""
        if self._open:
            self._unsent.put(bytes(octets))

    def read(self) -> None:
        """Nothing: what is there is on its way."""

    def close(self) -> None:
        """Take nothing any more; the threads end when the pipes do."""
        self._open = False
        self._unsent.put(None)

    def _write_on(self) -> None:
        while (octets := self._unsent.get()) is not None:
            try:
                while octets:
                    octets = octets[os.write(self._sink, octets) :]
            except OSError:
                return

    def _read_on(self) -> None:
        octets = b"first"
        while octets:
            try:
                octets = os.read(self._source, CHUNK)
            except OSError:
                octets = b""
            try:
                self._loop.call_soon_threadsafe(self._take, octets)
            except RuntimeError:  # the loop is closed
                return

    def _take(self, octets: bytes) -> None:
        if self._open:
            if not octets:
                self.close()
            self._received(octets)


def open_pipes(loop: asyncio.AbstractEventLoop, source: int, sink: int, received: Received) -> Pipes:
    """Those that fit the system."""
    kind = ThreadedPipes if sys.platform == "win32" else PolledPipes
    return kind(loop, source, sink, received)
