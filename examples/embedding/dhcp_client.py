"""A DHCP client in a few lines, for the examples beside it: it asks a server on this machine for a lease."""

from __future__ import annotations

import socket

from aiodhcp import MessageType, Packet


def obtain(port: int, number: int) -> Packet:
    """DISCOVER to ACK, by UDP; blocks.

    Args:
        port: where the server listens, on 127.0.0.1.
        number: of the client, from which its hardware address is made.

    Returns:
        the ACK.

    Raises:
        TimeoutError: there is no answer.
    """
    chaddr = b"\x02\x00" + number.to_bytes(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", port))
        sock.send(bytes(Packet(op=1, xid=number, chaddr=chaddr, options={"message-type": MessageType.DISCOVER})))
        offer = Packet(sock.recv(4096))
        taken = {
            "message-type": MessageType.REQUEST,
            "requested-address": offer.yiaddr,
            "server-identifier": offer.options["server-identifier"],
        }
        sock.send(bytes(Packet(op=1, xid=number, chaddr=chaddr, options=taken)))
        return Packet(sock.recv(4096))
