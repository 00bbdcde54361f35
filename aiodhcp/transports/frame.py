"""An Ethernet frame around a DHCP message, built on the hot path: one ``struct`` call and two sums."""

from __future__ import annotations

from socket import IPPROTO_UDP
from struct import Struct

from aiodhcp.constants import CLIENT_PORT, SERVER_PORT

__all__ = ["build_frame"]

_HEADERS = Struct("!6s6sHHHHHHHIIHHHH")  # Ethernet, IPv4, UDP
_TTL_AND_UDP = 64 << 8 | IPPROTO_UDP


def build_frame(
    data: bytes,
    hardware: bytes,
    own_hardware: bytes,
    source: int,
    destination: int,
    source_port: int = SERVER_PORT,
    port: int = CLIENT_PORT,
    identification: int = 0,
) -> bytes:
    """An Ethernet frame of IPv4 and UDP around ``data``, with both checksums (RFC 791 §3.1, RFC 768).

    Args:
        data: the UDP payload, of up to 65507 octets.
        hardware: the 6 octets of the receiver's Ethernet address.
        own_hardware: those of the sender's.
        source: the sender's IPv4 address.
        destination: the receiver's IPv4 address.
        source_port: the sender's UDP port.
        port: the receiver's UDP port.
        identification: tells this datagram's fragments from others' (16 bits).
    """
    length = len(data)
    # A sum of 16-bit words in ones' complement is the whole number modulo 65535, be it of 4 octets or of 4000.
    words = int.from_bytes(data, "big")
    if length & 1:
        words <<= 8
    ends = source + destination
    udp = 65535 - (words + ends + IPPROTO_UDP + 2 * (length + 8) + source_port + port) % 65535
    ip = -(0x4500 + length + 28 + identification + _TTL_AND_UDP + ends) % 65535
    # fmt: off
    return _HEADERS.pack(
        hardware, own_hardware, 0x0800,
        0x4500, length + 28, identification, 0, _TTL_AND_UDP, ip, source, destination,
        source_port, port, length + 8, udp,
    ) + data
    # fmt: on
