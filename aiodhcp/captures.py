"""Captures: the DHCP datagrams in a file that tcpdump or Wireshark has written, pcap or pcapng.

The file is read here and not by dpkt's readers, which take a file that was cut off for a whole one, and frames of all
interfaces for those of the first.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from aiodhcp.constants import CLIENT_PORT, SERVER_PORT
from aiodhcp.errors import AiodhcpError

__all__ = ["ETHERNET", "RAW_IP", "CaptureError", "Captured", "datagram_in", "read_capture"]

ETHERNET, RAW_IP, COOKED, IPV4, COOKED_2 = 1, 101, 113, 228, 276
_SUPPORTED: Final[dict[int, str]] = {
    ETHERNET: "Ethernet",
    COOKED: "Linux cooked v1",
    COOKED_2: "Linux cooked v2",
    # 12 and 14 are what some BSDs write for it.
    **dict.fromkeys((RAW_IP, IPV4, 12, 14), "raw IP"),
}
"""Link types: https://www.tcpdump.org/linktypes.html."""
_IP: Final = 0x0800
_TAGS: Final = (0x8100, 0x88A8, 0x9100)
"""What stands in place of the type of a frame in a VLAN, which follows behind the tag."""
_UDP: Final = 17
_LONGEST: Final = 1 << 24
"""Octets of a frame, or of a block: more is no length."""

_PCAP: Final = {0xA1B2C3D4: (1e-6, 16), 0xA1B23C4D: (1e-9, 16), 0xA1B2CD34: (1e-6, 24)}
"""By the number that a pcap file begins with: the unit of its fractions of a second, octets before each frame."""
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14
"""Options of an interface."""


class CaptureError(AiodhcpError):
    """A file can't be read, is no capture, or ends in the middle."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A datagram from or to a DHCP server.

    Attributes:
        frame: its number in the file, counted from 1, as Wireshark shows it.
        time: when it was captured, in seconds since 1970; 0.0 where the file doesn't say.
        data: the UDP payload: a DHCP message, if it is one.
        source: the IP address that it is from.
        source_port: its UDP port.
        destination: the IP address that it was sent to.
        destination_port: its UDP port: 67 or 68.
        interface: the name of the interface that it was captured on; empty where the file doesn't say.
        vlans: the VLANs that its frame was tagged with, the outermost first.
    """

    frame: int
    time: float
    data: bytes
    source: int
    source_port: int
    destination: int
    destination_port: int
    interface: str = ""
    vlans: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """What the interface is called where it arrives: ``eth0``, ``eth0.10`` in a VLAN, ``.10`` without its name."""
        return ".".join((self.interface, *map(str, self.vlans)))


def read_capture(path: str | os.PathLike[str], skipped: Counter[str] | None = None) -> Iterator[Captured]:
    """Read the datagrams to the UDP ports 67 and 68 in a capture, in its order.

    Args:
        path: a file in the format pcap or pcapng, of Ethernet (also with VLAN tags), Linux cooked or raw IP.
        skipped: here is counted what is left out, in words: ``"not DHCP"``, ``"fragments"``, ``"truncated"``.

    Raises:
        CaptureError: the file can't be read, is no capture, is empty, of another link type, damaged, or cut off. What
            stands before that place comes first.
    """
    counts: Counter[str] = Counter() if skipped is None else skipped
    try:
        with open(path, "rb") as file:
            for number, frame in enumerate(_frames(file), 1):
                found = _datagram(number, frame)
                if isinstance(found, str):
                    counts[found] += 1
                else:
                    yield found
    except OSError as error:
        raise CaptureError(f"{path}: can't be read: {error.strerror}") from None
    except CaptureError as error:
        raise CaptureError(f"{path}: {error}") from None


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Frame(NamedTuple):
    """A frame as it was captured, which may be less than there was."""

    time: float
    link: int
    octets: bytes
    interface: str = ""


class _Interface(NamedTuple):
    """Of a pcapng file: its link type, octets kept of a frame (0 for all), the unit of its time, where that begins,
    and what it is called.
    """

    link: int
    kept: int
    unit: float
    start: int
    name: str


def _frames(file: BinaryIO) -> Iterator[_Frame]:
    head = file.read(4)
    if not head:
        raise CaptureError("is empty")
    for order in "<>":
        (magic,) = struct.unpack(f"{order}I", head.ljust(4, b"\0"))
        if magic in _PCAP:
            return _pcap(file, order, *_PCAP[magic])
        if magic == _SECTION:
            return _pcapng(file)
    if head.startswith(b"\x1f\x8b"):
        raise CaptureError("is compressed with gzip: unpack it first")
    raise CaptureError("is no capture: expected a file in the format pcap or pcapng")


def _exactly(file: BinaryIO, size: int, what: str) -> bytes:
    octets = file.read(size)
    if len(octets) < size:
        raise CaptureError(f"is cut off: it ends in the middle of {what}")
    return octets


def _pcap(file: BinaryIO, order: str, unit: float, size: int) -> Iterator[_Frame]:
    _, _, _, _, _, link = struct.unpack(f"{order}HHIIII", _exactly(file, 20, "its header"))
    link &= 0xFFFF  # above it is how long the frames' check sums are
    if link not in _SUPPORTED:
        raise CaptureError(f"is of link type {link}: expected {_expected()}")
    number = 0
    while head := file.read(size):
        number += 1
        if len(head) < size:
            raise CaptureError(f"is cut off: it ends in the middle of frame {number}")
        seconds, fraction, length, _ = struct.unpack_from(f"{order}4I", head)
        if length > _LONGEST:
            raise CaptureError(f"is damaged: frame {number} would have {length} octets")
        yield _Frame(seconds + fraction * unit, link, _exactly(file, length, f"frame {number}"))


def _expected() -> str:
    return ", ".join(dict.fromkeys(_SUPPORTED.values()))


def _pcapng(file: BinaryIO) -> Iterator[_Frame]:
    number = 0
    interfaces: list[_Interface] = []
    for kind, order, body in _blocks(file):
        if kind == _SECTION:
            # Each section has its own interfaces.
            interfaces = []
        elif kind == _INTERFACE and len(body) >= 8:
            interfaces.append(_interface(order, body))
        elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
            number += 1
            try:
                yield _packet(kind, order, body, interfaces)
            except (struct.error, IndexError):
                raise CaptureError(f"is damaged: frame {number} can't be read") from None


def _blocks(file: BinaryIO) -> Iterator[tuple[int, str, bytes]]:
    """The type of each block of a pcapng file, the byte order, and what is in it."""
    order, number = "<", 1
    # The first four octets of the file have been read, and are those of any section.
    head = struct.pack("<I", _SECTION) + _exactly(file, 4, "its header")
    while head:
        what = f"block {number}"
        if len(head) < 8:
            raise CaptureError(f"is cut off: it ends in the middle of {what}")
        body = b""
        # The same in either byte order, which may be another one behind it.
        if head.startswith(struct.pack("<I", _SECTION)):
            body = _exactly(file, 4, what)
            order = next((each for each in "<>" if struct.unpack(f"{each}I", body) == (_BYTE_ORDER,)), "")
            if not order:
                raise CaptureError(f"is damaged: {what} doesn't say its byte order")
        kind, length = struct.unpack(f"{order}II", head)
        if length % 4 or not 12 + len(body) <= length <= _LONGEST:
            raise CaptureError(f"is damaged: {what} would have {length} octets")
        body += _exactly(file, length - 8 - len(body), what)
        yield kind, order, body[:-4]
        head = file.read(8)
        number += 1


def _interface(order: str, body: bytes) -> _Interface:
    link, _, kept = struct.unpack_from(f"{order}HHI", body)
    unit, start, name, at = 1e-6, 0, "", 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(f"{order}HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == _RESOLUTION and len(value) == 1:
            unit = 2.0 ** -(value[0] & 0x7F) if value[0] & 0x80 else 10.0 ** -value[0]
        elif code == _OFFSET and len(value) == 8:
            (start,) = struct.unpack(f"{order}q", value)
        elif code == _NAME:
            name = value.rstrip(b"\0").decode(errors="replace")
        at += 4 + -(-length // 4) * 4
    return _Interface(link, kept, unit, start, name)


def _packet(kind: int, order: str, body: bytes, interfaces: list[_Interface]) -> _Frame:
    """The frame of a block.

    Raises:
        struct.error, IndexError: it has none, or an interface that there isn't.
    """
    if kind == _SIMPLE_PACKET:
        (length,) = struct.unpack_from(f"{order}I", body)
        link, kept, _, _, name = interfaces[0]
        return _Frame(0.0, link, body[4 : 4 + min(length, kept or length)], name)
    at, high, low, length = struct.unpack_from(f"{order}IIII" if kind == _PACKET else f"{order}H2xIII", body)
    link, _, unit, start, name = interfaces[at]
    return _Frame(start + (high << 32 | low) * unit, link, body[20 : 20 + length], name)


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def datagram_in(number: int, time: float, link: int, octets: bytes, interface: str = "") -> Captured | str:
    """The datagram in a frame, or what is there instead, in words.

    Args:
        number: of the frame.
        time: when it was captured, in seconds since 1970.
        link: its link type: https://www.tcpdump.org/linktypes.html.
        octets: the frame.
        interface: the name of the interface.
    """
    return _datagram(number, _Frame(time, link, octets, interface))


def _datagram(number: int, frame: _Frame) -> Captured | str:
    try:
        return _udp(number, frame)
    except struct.error:
        return "truncated"


def _udp(number: int, frame: _Frame) -> Captured | str:
    octets = frame.octets
    if frame.link not in _SUPPORTED:
        return f"of link type {frame.link}"
    at, kind, vlans = _link(frame.link, octets)
    if kind != _IP or (octets[at : at + 1] and octets[at] >> 4 != 4):
        return "not DHCP"
    version, part, protocol, source, destination = struct.unpack_from("!B5xHxB2xII", octets, at)
    if protocol != _UDP:
        return "not DHCP"
    if part & 0x1FFF:
        # Of which datagram it is a part only its first fragment says.
        return "fragments"
    at += (version & 0xF) * 4
    source_port, destination_port, length = struct.unpack_from("!HHH2x", octets, at)
    if destination_port not in (SERVER_PORT, CLIENT_PORT):
        return "not DHCP"
    if part & 0x2000:
        return "fragments"
    data = octets[at + 8 : at + length]
    if len(data) + 8 < length:
        return "truncated"
    return Captured(
        number, frame.time, data, source, source_port, destination, destination_port, frame.interface, vlans
    )


def _link(link: int, octets: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Where in a frame the IP packet begins, the EtherType of what begins there, and the VLANs.

    Raises:
        struct.error: the frame is too short to say.
    """
    if link not in (ETHERNET, COOKED, COOKED_2):
        return 0, _IP, ()
    at, header = {ETHERNET: (12, 14), COOKED: (14, 16), COOKED_2: (0, 20)}[link]
    (kind,) = struct.unpack_from("!H", octets, at)
    vlans: tuple[int, ...] = ()
    while kind in _TAGS:
        tag, kind = struct.unpack_from("!HH", octets, header)
        vlans += (tag & 0xFFF,) if tag & 0xFFF else ()  # 0 is none, but a priority
        header += 4
    return header, kind, vlans
