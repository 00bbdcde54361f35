"""Sniffer: the DHCP frames that pass an interface of Linux, both ways. The kernel leaves out all others.

For ``aiodhcp capture``. A packet socket sees what arrives before any firewall does, and disturbs no server beside it.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from aiodhcp.captures import ETHERNET, RAW_IP
from aiodhcp.constants import CLIENT_PORT, SERVER_PORT
from aiodhcp.errors import ConfigError
from aiodhcp.transports.sockets import BATCH, explained

__all__ = ["Sniffed", "Sniffer", "dhcp_filter"]

ETH_P_ALL: Final = 3
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_AUXDATA = 263, 1, 6, 8
PACKET_MR_PROMISC: Final = 1
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
"""Linux: packet(7), socket(7)."""
_LINKS: Final = {1: ETHERNET, 772: ETHERNET, 65534: RAW_IP, 512: RAW_IP, 768: RAW_IP, 778: RAW_IP}
"""Link types by ARPHRD_*: Ethernet, loopback, tun, PPP, IP in IP, GRE."""
LOOPBACK: Final = 772
_SNAPLEN: Final = 0x40000
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_VLAN_VALID, _TPID_VALID = 0x10, 0x40
_TIMESPEC = struct.Struct("@ll")
_CONTROL_SIZE: Final = 256

# ── the filter ───────────────────────────────────────────────────────────────────────────────────────────────────────

_LOAD_HALF, _LOAD_HALF_AT_X, _LOAD_BYTE_AT_X = 0x28, 0x48, 0x50
_EQUAL, _ANY_OF = 0x15, 0x45
_AND, _SHIFT_LEFT, _ADD_X, _TO_X, _X_IS, _RETURN = 0x54, 0x64, 0x0C, 0x07, 0x01, 0x06
"""Instructions of classic BPF: linux/bpf_common.h, linux/filter.h."""
_TAGS: Final = (0x8100, 0x88A8, 0x9100)
_DEPTH: Final = 2
"""VLAN tags that a frame may have, besides one that the network card has taken off."""

Instruction = tuple[int, str, str, int]
"""Code, where to jump if it is so and if not (empty for on), operand."""


def dhcp_filter(link: int) -> list[tuple[int, int, int, int]]:
    """A program of classic BPF that takes IPv4 UDP from or to port 67 or 68, tagged or not, and no later fragments.

    Args:
        link: ``ETHERNET`` or ``RAW_IP``.
    """
    program: list[tuple[str, Instruction]] = []

    def put(code: int, operand: int = 0, yes: str = "", no: str = "", label: str = "") -> None:
        program.append((label, (code, yes, no, operand)))

    if link == ETHERNET:
        for depth in range(_DEPTH + 1):
            put(_LOAD_HALF, 12 + 4 * depth, label=f"type {depth}")
            last = depth == _DEPTH
            put(_EQUAL, 0x0800, f"ip {depth}", "drop" if last else "")
            for at, tag in enumerate(() if last else _TAGS):
                put(_EQUAL, tag, f"type {depth + 1}", "drop" if at == len(_TAGS) - 1 else "")
        for depth in range(_DEPTH + 1):
            put(_X_IS, 14 + 4 * depth, label=f"ip {depth}")
            put(_LOAD_BYTE_AT_X, 9)
            put(_EQUAL, socket.IPPROTO_UDP, "udp", "drop")
    else:
        put(_X_IS, 0)
        put(_LOAD_BYTE_AT_X, 0)
        put(_AND, 0xF0)
        put(_EQUAL, 0x40, "", "drop")
        put(_LOAD_BYTE_AT_X, 9)
        put(_EQUAL, socket.IPPROTO_UDP, "udp", "drop")
    put(_LOAD_HALF_AT_X, 6, label="udp")
    put(_ANY_OF, 0x1FFF, "drop", "")
    put(_LOAD_BYTE_AT_X, 0)
    put(_AND, 0x0F)
    put(_SHIFT_LEFT, 2)
    put(_ADD_X)
    put(_TO_X)
    for port in (0, 2):
        put(_LOAD_HALF_AT_X, port)
        put(_EQUAL, SERVER_PORT, "take", "")
        put(_EQUAL, CLIENT_PORT, "take", "drop" if port else "")
    put(_RETURN, _SNAPLEN, label="take")
    put(_RETURN, 0, label="drop")
    places = {label: at for at, (label, _) in enumerate(program) if label}
    return [
        (code, places[yes] - at - 1 if yes else 0, places[no] - at - 1 if no else 0, operand)
        for at, (_, (code, yes, no, operand)) in enumerate(program)
    ]


# ── the socket ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Sniffed(NamedTuple):
    """A frame.

    Attributes:
        octets: with its VLAN tags.
        nanoseconds: when the kernel saw it, since 1970.
    """

    octets: bytes
    nanoseconds: int


class Sniffer:
    """Hears DHCP on one interface.

    Args:
        name: of the interface.
        promiscuous: whether frames for other machines are heard, too, as on the port of a switch that mirrors.

    Attributes:
        link: the link type of its frames in captures.
        sock: to wait for; not blocking.

    Raises:
        ConfigError: there is no such interface, or it has no frames that a capture could have; or not Linux.
        OSError: a privilege is missing; says which.
    """

    def __init__(self, name: str, *, promiscuous: bool = False) -> None:
        if sys.platform != "linux":
            raise ConfigError("packet sockets are Linux's; elsewhere capture with tcpdump or Wireshark")
        self.name = name
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            names = ", ".join(each for _, each in socket.if_nameindex())
            raise ConfigError(f"no interface {name!r}; there are: {names}") from None
        try:
            # Protocol 0: nothing comes before the filter is there.
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except OSError as error:
            raise explained(error, f"a packet socket on {name}") from error
        try:
            self._open(index, promiscuous)
        except BaseException:
            self.sock.close()
            raise

    def _open(self, index: int, promiscuous: bool) -> None:
        sock = self.sock
        sock.bind((self.name, 0))
        kind = sock.getsockname()[3]
        if kind not in _LINKS:
            raise ConfigError(
                f"interface {self.name!r} is of type {kind}: expected Ethernet, loopback, tun or a tunnel"
            )
        self.link = _LINKS[kind]
        self._loops = kind == LOOPBACK
        program = dhcp_filter(self.link)
        octets = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(octets)))
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        if promiscuous:
            sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", index, PACKET_MR_PROMISC, 0, b""))
        sock.setblocking(False)
        sock.bind((self.name, ETH_P_ALL))

    def drain(self) -> Iterator[Sniffed]:
        """The frames that are there, as many as one wake-up should take.

        Raises:
            OSError: the interface is down, or gone.
        """
        for _ in range(BATCH):
            try:
                octets, control, _, address = self.sock.recvmsg(_SNAPLEN, _CONTROL_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            if self._loops and address[2] == socket.PACKET_OUTGOING:
                continue  # it comes in again
            when = 0
            for level, kind, data in control:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, fraction = _TIMESPEC.unpack(data[: _TIMESPEC.size])
                    when = seconds * 1_000_000_000 + fraction
                elif level == SOL_PACKET and kind == PACKET_AUXDATA and self.link == ETHERNET:
                    octets = _with_tag(octets, data)
            yield Sniffed(octets, when)

    @property
    def is_there(self) -> bool:
        """Whether the interface still exists."""
        try:
            return socket.if_nametoindex(self.sock.getsockname()[0]) > 0
        except OSError:
            return False

    def dropped(self) -> int:
        """Frames that the kernel had no room for since the last time it was asked."""
        try:
            _, dropped = struct.unpack("=II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        except OSError as error:
            if error.errno not in (errno.ENETDOWN, errno.ENODEV):
                raise
            return 0
        return int(dropped)

    def close(self) -> None:
        """Hear nothing any more."""
        self.sock.close()


def _with_tag(octets: bytes, auxiliary: bytes) -> bytes:
    """A frame with the VLAN tag that the kernel, or the network card, has taken off."""
    if len(auxiliary) < _AUXDATA.size:
        return octets
    status, _, _, _, _, tag, kind = _AUXDATA.unpack(auxiliary[: _AUXDATA.size])
    if not (status & _VLAN_VALID or tag):
        return octets
    return octets[:12] + struct.pack("!HH", kind if status & _TPID_VALID else 0x8100, tag) + octets[12:]
