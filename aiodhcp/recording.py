"""Recording: frames go from interfaces to a file, and a terminal shows how far it is. For ``aiodhcp capture``."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from ipaddress import IPv4Address

from rich.console import Console
from rich.status import Status
from rich.text import Text

from aiodhcp.capture_files import CaptureFile
from aiodhcp.captures import Captured, datagram_in
from aiodhcp.describe import message_name, printable
from aiodhcp.errors import DecodeError
from aiodhcp.packet import Packet
from aiodhcp.sniffer import Sniffed, Sniffer

__all__ = ["Recording"]


class Recording:
    """Frames go from the sniffers to the file until enough is enough.

    Args:
        sniffers: the interfaces, in the order that the file has them.
        file: the file.
        count: after how many frames it ends; ``math.inf`` for any number.

    Attributes:
        lost: whether it ended because there is no interface any more.
    """

    def __init__(self, sniffers: Sequence[Sniffer], file: CaptureFile, count: float) -> None:
        self._sniffers = list(enumerate(sniffers))
        self._file = file
        self._left = count
        self._written = 0
        self._dropped = 0
        self._began = time.monotonic()
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._over: asyncio.Future[None] | None = None
        self.lost = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show how far it is, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Status(Text(self._so_far()), console=self._console) as self._status:
            yield

    async def run(self, seconds: float) -> None:
        """Capture, until SIGINT, SIGTERM or SIGHUP.

        Args:
            seconds: after which it ends; ``math.inf`` for never.

        Raises:
            OSError: the file can't be written.
        """
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        timer = loop.call_later(seconds, self._end) if seconds < math.inf else None
        for at, sniffer in self._sniffers:
            loop.add_reader(sniffer.sock, self._drain, at, sniffer)
        if not self._console.is_terminal:
            self._say(f"capturing on {', '.join(each.name for _, each in self._sniffers)}")
        try:
            while not self._over.done():
                await asyncio.wait((self._over,), timeout=1)
                self._show()
            self._over.result()
        finally:
            if timer is not None:
                timer.cancel()
            for _, sniffer in self._sniffers:
                loop.remove_reader(sniffer.sock)
                self._dropped += sniffer.dropped()

    def report(self, path: str) -> None:
        """Say what was captured."""
        words = f"{_packets(self._written)} written to {path if path != '-' else 'standard output'}"
        if self._dropped:
            words += f"; {_packets(self._dropped)} lost, because they came too fast"
        self._say(words)

    def _end(self, error: BaseException | None = None) -> None:
        assert self._over is not None
        if not self._over.done():
            if error is None:
                self._over.set_result(None)
            else:
                self._over.set_exception(error)

    def _drain(self, at: int, sniffer: Sniffer) -> None:
        try:
            for frame in sniffer.drain():
                if not self._left:
                    return
                self._write(at, sniffer, frame)
        except OSError as error:
            if isinstance(error, _Unwritable):
                self._end(error.__cause__)
                return
            self._say(f"{sniffer.name}: {error.strerror or error}")
            if not sniffer.is_there:
                self._leave(at, sniffer)

    def _write(self, at: int, sniffer: Sniffer, frame: Sniffed) -> None:
        try:
            self._file.write(at, frame.octets, frame.nanoseconds)
        except OSError as error:
            raise _Unwritable from error
        self._written += 1
        self._left -= 1
        if self._console.is_terminal:
            self._say(_line(self._written, sniffer, frame))
            self._show()
        if not self._left:
            self._end()

    def _leave(self, at: int, sniffer: Sniffer) -> None:
        asyncio.get_running_loop().remove_reader(sniffer.sock)
        self._sniffers = [each for each in self._sniffers if each[0] != at]
        if not self._sniffers:
            self.lost = True
            self._say(f"{sniffer.name} is gone: there is nothing left to capture on")
            self._end()

    def _say(self, words: str) -> None:
        self._console.print(Text(words), soft_wrap=True)

    def _show(self) -> None:
        if self._status is not None:
            self._status.update(Text(self._so_far()))

    def _so_far(self) -> str:
        names = ", ".join(each.name for _, each in self._sniffers)
        return f"{names}: {_packets(self._written)}, {time.monotonic() - self._began:.0f} s; Ctrl-C ends it"


class _Unwritable(OSError):
    """It was the file."""


def _packets(number: int) -> str:
    return f"{number} packet" if number == 1 else f"{number} packets"


def _line(number: int, sniffer: Sniffer, frame: Sniffed) -> str:
    """A packet for people."""
    seconds = frame.nanoseconds / 1e9
    clock = datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]
    found = datagram_in(number, seconds, sniffer.link, frame.octets, sniffer.name)
    if not isinstance(found, Captured):
        return f"{clock}  {sniffer.name}  {len(frame.octets)} octets: {found}"
    ends = " -> ".join(str(IPv4Address(each)) for each in (found.source, found.destination))
    try:
        packet = Packet(found.data)
    except DecodeError as error:
        return f"{clock}  {found.place}  {ends}  {len(found.data)} octets that can't be read: {error}"
    words = [message_name(packet), packet.hardware_address or "nobody"]
    words += [str(IPv4Address(packet.yiaddr))] if packet.yiaddr else []
    words += [f"through {IPv4Address(packet.giaddr)}"] if packet.giaddr else []
    return printable(f"{clock}  {found.place}  {ends}  {'  '.join(words)}")
