"""Capture files: frames are written as pcapng or pcap, by dpkt. What was written is whole at any moment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import BinaryIO, Final, Literal

import dpkt

from aiodhcp.errors import ConfigError

__all__ = ["CaptureFile", "Format"]

Format = Literal["pcapng", "pcap"]
SNAPLEN: Final = 0x40000
_IF_NAME, _END = 2, 0
_LITTLE: Final = sys.byteorder == "little"  # dpkt writes what the machine has


class CaptureFile:
    """A capture of one or several interfaces.

    Args:
        file: where to; flushed after each frame.
        format: pcapng keeps the names of the interfaces, pcap does not.
        interfaces: the name and the link type of each.

    Raises:
        ConfigError: pcap can't have interfaces of several link types.
        OSError: the file can't be written.
    """

    def __init__(self, file: BinaryIO, format: Format, interfaces: Sequence[tuple[str, int]]) -> None:
        self._file = file
        links = {link for _, link in interfaces}
        if format == "pcap":
            if len(links) > 1:
                raise ConfigError("these interfaces have frames of several kinds, which only pcapng can keep apart")
            self._pcap = dpkt.pcap.Writer(file, snaplen=SNAPLEN, linktype=links.pop())
        else:
            self._pcap = None
            self._block = dpkt.pcapng.EnhancedPacketBlockLE if _LITTLE else dpkt.pcapng.EnhancedPacketBlock
            self._pcapng = dpkt.pcapng.Writer(file, idb=[_interface(*each) for each in interfaces])
        file.flush()

    def write(self, interface: int, octets: bytes, nanoseconds: int) -> None:
        """Add a frame.

        Args:
            interface: its number among the interfaces.
            octets: the frame.
            nanoseconds: when, since 1970.
        """
        microseconds = nanoseconds // 1000
        if self._pcap is not None:
            self._pcap.writepkt_time(octets, microseconds / 1e6)
        else:
            high, low = microseconds >> 32, microseconds & 0xFFFFFFFF
            # ``opts`` is what dpkt asks for the length of; empty is none.
            block = self._block(iface_id=interface, ts_high=high, ts_low=low, pkt_data=octets, opts=[])
            self._pcapng.writepkt(block)
        self._file.flush()


def _interface(name: str, link: int) -> object:
    block = dpkt.pcapng.InterfaceDescriptionBlockLE if _LITTLE else dpkt.pcapng.InterfaceDescriptionBlock
    option = dpkt.pcapng.PcapngOptionLE if _LITTLE else dpkt.pcapng.PcapngOption
    options = [option(code=_IF_NAME, data=name.encode()), option(code=_END)]
    return block(linktype=link, snaplen=SNAPLEN, opts=options)
