"""CommitLog: what was committed and is not in the table yet, in two files beside it that take turns.

A commit is one record at the end of one file, and an fdatasync of it. What the other file has is put into the table
meanwhile. Nothing here waits for a disk but ``prepare``, ``payloads`` and ``remove``, which are for another thread.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from aiodhcp.errors import StoreError
from aiodhcp.leases import Lease
from aiodhcp.packing import pack
from aiodhcp.stores.prompt import Prompt
from aiodhcp.stores.syncer import Syncer

__all__ = ["CommitLog", "LogFile", "discard_log", "log_paths", "read_log"]

_HEAD: Final = struct.Struct("!QII")
"""Generation, octets that follow, and the check sum of all that."""
_CHECKED: Final = 12
PREPARED: Final = 1 << 18
"""Octets by which a file grows: one that grows with each record takes twice as long to sync."""
STEP: Final = 1 << 32
"""The most that a generation is above the one before, by chance: what a client has written to the disk, as its client
identifier perhaps, must not pass for a record.
"""
_NOTHING: Final[tuple[Lease, ...]] = ()


def log_paths(path: Path) -> tuple[Path, Path]:
    """The two files of the log of a database."""
    return path.with_name(path.name + "-log0"), path.with_name(path.name + "-log1")


def discard_log(path: Path) -> None:
    """Have no log any more, if possible: all that it holds is in the table."""
    for each in log_paths(path):
        with suppress(OSError):
            each.unlink()


def read_log(path: Path) -> list[tuple[int, list[bytes]]]:
    """What is in the log of a database: generations and the octets of their commits, in the order in which they were
    made. A server may write to it meanwhile.

    Raises:
        OSError: it is there, but can't be read.
    """
    found = []
    for each in log_paths(path):
        try:
            found.append(_records(each.read_bytes()))
        except FileNotFoundError:
            continue
    return sorted((generation, octets) for generation, octets in found if generation)


def _records(data: bytes) -> tuple[int, list[bytes]]:
    """The generation of a file, 0 if it has none, and what it holds: up to what was not written wholly, or is left from
    a generation before.
    """
    generation, at, found = 0, 0, []
    while at + _HEAD.size <= len(data):
        number, size, check = _HEAD.unpack_from(data, at)
        octets = data[at + _HEAD.size : at + _HEAD.size + size]
        if not number or (generation and number != generation) or len(octets) < size:
            break
        if zlib.crc32(octets, zlib.crc32(data[at : at + _CHECKED])) != check:
            break
        generation = number
        found.append(octets)
        at += _HEAD.size + size
    return generation, found


class LogFile:
    """One of the two files, made anew.

    Attributes:
        generation: of what it holds; 0 before it was written to.
        leases: how many it holds; 0 where these are in the table, too.
        unsynced: the records at its end that may not be on the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = self.leases = 0
        self.unsynced: list[bytes] = []
        self._end = self._prepared = 0
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self._prepare(PREPARED)
            os.fsync(self.descriptor)
        except OSError:
            self.remove()
            raise

    def begin(self, after: int) -> None:
        """Hold a new generation, and nothing of it yet.

        Args:
            after: a generation that is older.
        """
        self.generation, self.leases, self._end = after + 1 + secrets.randbelow(STEP), 0, 0
        self.unsynced.clear()

    def append(self, octets: bytes, leases: int) -> None:
        """Write a record behind the others.

        Raises:
            OSError: it can't be; the next one takes its place.
        """
        head = _HEAD.pack(self.generation, len(octets), 0)[:_CHECKED]
        record = b"".join((head, zlib.crc32(octets, zlib.crc32(head)).to_bytes(4), octets))
        end = self._end + len(record)
        if end > self._prepared:
            self._prepare(end + PREPARED)
        _write(self.descriptor, record, self._end)
        self._end = end
        self.leases += leases
        self.unsynced.append(record)

    def rewrite(self) -> None:
        """Write again what may not be on the disk: of a sync that failed the kernel keeps nothing to be written.

        Raises:
            OSError: it can't be.
        """
        octets = b"".join(self.unsynced)
        _write(self.descriptor, octets, self._end - len(octets))

    def payloads(self) -> list[bytes]:
        """The octets of its commits, in order.

        Raises:
            OSError: it can't be read.
            StoreError: that is not what was written.
        """
        generation, found = _records(os.pread(self.descriptor, self._end, 0))
        if generation != self.generation or sum(map(len, found)) + len(found) * _HEAD.size != self._end:
            raise StoreError(f"{self.path}: is not what was written to it")
        return found

    def close(self) -> None:
        """Let go of it. May be called twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        """Let go of it, and have no such file any more, if possible: what it held is elsewhere."""
        self.close()
        with suppress(OSError):
            self.path.unlink()

    def _prepare(self, end: int) -> None:
        _write(self.descriptor, bytes(end - self._prepared), self._prepared)
        self._prepared = end


def _write(descriptor: int, octets: bytes, at: int) -> None:
    if os.pwrite(descriptor, octets, at) < len(octets):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class CommitLog:
    """The log of a database, written by one server.

    ``prepare`` it in a thread, then ``start`` it on the event loop.

    Args:
        files: the two.
        after: a generation that is older than all that will be written.
        fold: has what a file holds put into the table, and sets its ``leases`` to 0 then.
        quiet: seconds without a commit, after which there is time for that.
        enough: leases in a file from which on that is done when there is time.
        late: seconds after the first of them, when that is done with fewer, too.
        limit: leases in a file from which on that is done however busy the server is.
    """

    def __init__(
        self,
        files: tuple[LogFile, LogFile],
        after: int,
        fold: Callable[[LogFile], asyncio.Future[None]],
        quiet: float,
        enough: int,
        late: float,
        limit: int,
    ) -> None:
        self._file, self._other = files
        self._fold, self._quiet, self._enough, self._late, self._limit = fold, quiet, enough, late, limit
        self._file.begin(after)
        # Commits whose file is being synced, and those that wait for the next time.
        self._now: list[Prompt[Sequence[Lease]]] = []
        self._next: list[Prompt[Sequence[Lease]]] = []
        self._folding: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        # When the first lease of the file was committed.
        self._since = 0.0
        self._syncer: Syncer | None = None
        # How many records are being synced; whether the last sync failed.
        self._covered = 0
        self._failed = self._due = self._busy = False
        self._waiting: asyncio.Future[None] | None = None

    @classmethod
    def prepare(
        cls,
        path: Path,
        after: int,
        fold: Callable[[LogFile], asyncio.Future[None]],
        quiet: float,
        enough: int,
        late: float,
        limit: int,
    ) -> CommitLog:
        """Make the files of the log of a database, in the place of those that are there.

        Raises:
            OSError: they can't be made.
        """
        first, second = log_paths(path)
        with ExitStack() as undo:
            one = LogFile(first)
            undo.callback(one.remove)
            two = LogFile(second)
            undo.callback(two.remove)
            # A file is there after a crash only if its directory says so.
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            undo.callback(os.close, directory)
            os.fsync(directory)
            undo.pop_all()
        os.close(directory)
        return cls((one, two), after, fold, quiet, enough, late, limit)

    def start(self) -> None:
        """Begin to take commits, on this event loop.

        Raises:
            OSError: this system can't sync files by itself.
        """
        self._loop = asyncio.get_running_loop()
        self._syncer = Syncer(self._loop, self._synced)
        try:
            # Before it counts: not every kernel that knows the call knows how to sync.
            self._syncer.begin(self._file.descriptor)
        except OSError:
            self._syncer.close()
            raise
        self._now.append(Prompt(loop=self._loop))

    @property
    def is_here(self) -> bool:
        """Whether this is the event loop that it was started on."""
        return self._syncer is not None and asyncio.get_running_loop() is self._loop

    def commit(self, changes: Sequence[Lease]) -> asyncio.Future[Sequence[Lease]]:
        """Write leases and sync them. Fails with OSError or ValueError, and then they may come again."""
        done: Prompt[Sequence[Lease]] = Prompt(loop=self._loop)
        if not self._file.leases:
            self._since = self._loop.time()
        try:
            self._file.append(b"".join(map(pack, changes)), len(changes))
        except (OSError, ValueError) as error:
            done.set_exception(error)
            return done
        self._next.append(done)
        self._busy = True
        if not self._now:
            self._sync()
        if self._timer is None:
            self._timer = self._loop.call_later(self._quiet, self._look)
        return done

    @property
    def unfolded(self) -> list[LogFile]:
        """The files whose leases are not in the table, the older one first."""
        return sorted((each for each in (self._file, self._other) if each.leases), key=lambda each: each.generation)

    async def finish(self) -> None:
        """Take no more commits, and wait for what is under way. On another event loop nobody hears of that."""
        if self._syncer is None:
            return
        if not self.is_here:
            self._syncer.close()
            return
        self._due = False
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()
        while self._now or self._next or self._folding is not None:
            self._waiting = self._loop.create_future()
            await self._waiting
        self._syncer.close()

    def remove(self) -> None:
        """Have no files any more: what they held is in the table."""
        for each in (self._file, self._other):
            each.remove()

    def close(self) -> None:
        """Let go of the files."""
        for each in (self._file, self._other):
            each.close()

    def _sync(self) -> None:
        assert self._syncer is not None
        self._now, self._next = self._next, []
        self._covered = len(self._file.unsynced)
        try:
            if self._failed:
                self._file.rewrite()
            self._syncer.begin(self._file.descriptor)
        except OSError as error:
            self._synced(error)

    def _synced(self, error: OSError | None) -> None:
        now, self._now = self._now, []
        self._failed = error is not None
        if error is None:
            del self._file.unsynced[: self._covered]
        if self._next:
            self._sync()
        elif self._due:
            self._turn()
        for done in now:
            done.settle(_NOTHING, error)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _look(self) -> None:
        """Now and then: is there time, or need, to put what is in a file into the table?"""
        self._timer = None
        if self._folding is None:
            if self._other.leases:  # the last attempt failed
                self._begin_folding()
            elif self._file.leases >= self._least:
                if self._now:
                    self._due = True
                else:
                    self._turn()
        if self._busy or self._due or self._other.leases:
            self._timer = self._loop.call_later(self._quiet, self._look)
        elif self._file.leases and self._later is None:
            self._later = self._loop.call_at(self._since + self._late, self._look_late)
        self._busy = False

    def _look_late(self) -> None:
        self._later = None
        if self._timer is None:
            self._look()

    @property
    def _least(self) -> int:
        """Leases in the file from which on it is to be put into the table now."""
        if self._busy:
            return self._limit
        return 1 if self._loop.time() >= self._since + self._late else self._enough

    def _turn(self) -> None:
        """Nothing is under way: the other file is written to, and this one can be put into the table."""
        self._due = self._failed = False
        self._file, self._other = self._other, self._file
        self._file.begin(self._other.generation)
        if self._other.unsynced:
            # It has to stay in memory until it is in the table.
            with suppress(OSError):
                self._other.rewrite()
        self._begin_folding()

    def _begin_folding(self) -> None:
        self._folding = self._fold(self._other)
        self._folding.add_done_callback(self._folded)

    def _folded(self, folding: asyncio.Future[None]) -> None:
        self._folding = None
        if not folding.cancelled():
            folding.exception()  # which was told where it was raised; the next look begins again
        self._wake()
