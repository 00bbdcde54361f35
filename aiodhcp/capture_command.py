"""The command ``aiodhcp capture``, which writes the DHCP traffic of interfaces to a file.

What it needs is imported when it runs: every other command would wait for it.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from aiodhcp.administration import fail
from aiodhcp.config_values import parse_seconds
from aiodhcp.errors import AiodhcpError

__all__ = ["capture"]

FORMATS = ("pcapng", "pcap")


def capture(
    interface: Annotated[
        list[str], typer.Option("--interface", "-i", help="Where. May be repeated.", show_default=False)
    ],
    write: Annotated[
        str, typer.Option("--write", "-w", metavar="FILE", help="The file; - for standard output.", show_default=False)
    ],
    count: Annotated[int | None, typer.Option("--count", "-c", min=1, help="End after so many packets.")] = None,
    duration: Annotated[str | None, typer.Option("--duration", help="End after this time, like 90s or 10m.")] = None,
    format: Annotated[str, typer.Option("--format", help="pcapng or pcap.")] = "pcapng",
    promiscuous: Annotated[
        bool, typer.Option("--promiscuous", "-p", help="Also what is for other machines, as on a mirror port.")
    ] = False,
) -> None:
    """Write the DHCP traffic of an interface to a file, until SIGINT or SIGTERM.

    It is IPv4 UDP from and to the ports 67 and 68, both ways, in whatever VLAN. Other traffic is left out by the kernel
    and costs nothing. Needs root, or CAP_NET_RAW.

    \b
    Examples:
      aiodhcp capture -i eth0 -w lan.pcapng
      aiodhcp capture -i eth0 -i eth1.20 -w - --duration 10m | wireshark -k -i -
    """
    from aiodhcp.capture_files import CaptureFile, Format
    from aiodhcp.recording import Recording
    from aiodhcp.sniffer import Sniffer

    if format not in FORMATS:
        fail(f"--format: expected pcapng or pcap, got {format!r}", 2)
    try:
        seconds = math.inf if duration is None else parse_seconds(duration)
    except ValueError as error:
        fail(f"--duration: {error}", 2)
    if len(set(interface)) < len(interface):
        fail(f"--interface: one is named twice: {', '.join(interface)}", 2)
    try:
        with ExitStack() as steps:
            sniffers = []
            for name in interface:
                sniffers.append(Sniffer(name, promiscuous=promiscuous))
                steps.callback(sniffers[-1].close)
            # Only now: what can't be captured leaves no file behind.
            file = steps.enter_context(_opened(write))
            kept = CaptureFile(file, cast("Format", format), [(each.name, each.link) for each in sniffers])
            recording = Recording(sniffers, kept, count or math.inf)
            with recording.shown():
                asyncio.run(recording.run(seconds))
            recording.report(write)
    except BrokenPipeError:  # whoever read it has seen enough: the end is typer's
        raise
    except AiodhcpError as error:
        fail(f"aiodhcp: {error}")
    except OSError as error:
        fail(f"aiodhcp: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    if recording.lost:
        raise typer.Exit(1)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path != "-":
        with Path(path).open("wb") as file:
            yield file
        return
    if sys.stdout.isatty():
        fail("--write -: a capture is not for a terminal; redirect it", 2)
    yield sys.stdout.buffer
