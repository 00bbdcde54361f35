"""Divide a UDP port's datagrams between processes in the kernel, by the client: SO_ATTACH_REUSEPORT_CBPF, socket(7).

`workers.py` measures with this what the division costs and where it does not hold. aiodhcp does not use it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import statistics
import struct
import termios
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from held import hardware_address

SO_ATTACH_REUSEPORT_CBPF = 51
CHADDR = 28  # RFC 2131 §2: where the hardware address is
MULTIPLIER = 0x9E37_79B1  # odd, near 2³² ÷ φ: its product spreads what differs in a few bits only
WORD, HALF, TAX, XOR, MULTIPLY, SHIFT, MODULO, RETURN = 0x20, 0x28, 0x07, 0xAC, 0x24, 0x74, 0x94, 0x16  # linux/filter.h
LOOPBACK, ITS_BROADCAST = "127.0.0.1", "127.255.255.255"
SIZE = 300  # octets of a message
BATCH = 64  # sent, before they are received
PATIENCE = 20.0  # seconds that a process waits for a message
BOOTREQUEST, END = 1, 0  # the first octet of a message; the second is ours, of the last one


def share_of(chaddr: bytes, shares: int) -> int:
    """Whose a client is: what the kernel computes, for those who have to ask the right process."""
    high, low = struct.unpack("!HI", chaddr[:6])
    return int(((high ^ low) * MULTIPLIER & 0xFFFF_FFFF) >> 16) % shares


def program(shares: int) -> bytes:
    """Classic BPF over a datagram's payload that returns the share; 0 for one that is too short."""
    instructions = (
        (WORD, CHADDR + 2),
        (TAX, 0),
        (HALF, CHADDR),
        (XOR, 0),
        (MULTIPLY, MULTIPLIER),
        (SHIFT, 16),
        (MODULO, shares),
        (RETURN, 0),
    )
    return b"".join(struct.pack("@HBBI", code, 0, 0, operand) for code, operand in instructions)


def divided(shares: int, address: str = LOOPBACK) -> list[socket.socket]:
    """Sockets at one port of an address, one for each share, in order."""
    bound: list[socket.socket] = []
    code = program(shares)
    octets = ctypes.create_string_buffer(code, len(code))
    with ExitStack() as undo:
        for _ in range(shares):
            sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address, bound[0].getsockname()[1] if bound else 0))
            bound.append(sock)
        described = struct.pack("@HP", len(code) // 8, ctypes.addressof(octets))
        bound[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, described)
        undo.pop_all()
    return bound


def message(chaddr: bytes, first: int = BOOTREQUEST) -> bytes:
    """As much of one as the division looks at."""
    return (bytes([first]) + bytes(CHADDR - 1) + chaddr).ljust(SIZE, b"\0")


def _count(sock: socket.socket, core: int, told: Connection) -> None:
    """A process that has one of the shares: which clients came to it."""
    os.sched_setaffinity(0, {core})
    sock.settimeout(PATIENCE)
    clients = []
    told.send("ready")
    while (received := sock.recv(SIZE))[0] != END:
        clients.append(received[CHADDR : CHADDR + 6])
    told.send(clients)


def _waiting(sock: socket.socket) -> bool:
    """Whether a message has not been received yet."""
    return any(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))


@dataclass(frozen=True)
class Counted:
    """What processes got of messages, of which every client sent some."""

    messages: tuple[int, ...]  # for each process
    strays: int  # that came to another process than the client's own


def count(clients: int, each: int, cores: Sequence[int]) -> Counted:
    """Send to one process on each core.

    Raises:
        EOFError: a process ended before it had counted.
    """
    shares, context = len(cores), get_context("fork")
    addresses = [hardware_address(number) for number in range(clients)]
    last = [next(chaddr for chaddr in addresses if share_of(chaddr, shares) == share) for share in range(shares)]
    with ExitStack() as stack:
        socks = [stack.enter_context(sock) for sock in divided(shares)]
        pipes, processes = [], []
        for sock, core in zip(socks, cores, strict=True):
            ours, theirs = context.Pipe()
            pipes.append(stack.enter_context(closing(ours)))
            processes.append(context.Process(target=_count, args=(sock, core, theirs), daemon=True))
            processes[-1].start()
            stack.callback(processes[-1].join)
            stack.callback(processes[-1].kill)
            theirs.close()
        for pipe in pipes:
            pipe.recv()
        sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sender.connect(socks[0].getsockname())
        for _ in range(each):
            for begin in range(0, clients, BATCH):
                for chaddr in addresses[begin : begin + BATCH]:
                    sender.send(message(chaddr))
                while any(_waiting(sock) for sock in socks):  # or the kernel would drop what has no room
                    if not all(process.is_alive() for process in processes):
                        raise EOFError("a process ended before it had counted")
                    time.sleep(0.0002)
        for chaddr in last:
            sender.send(message(chaddr, END))
        found = [pipe.recv() for pipe in pipes]
    strays = sum(share_of(chaddr, shares) != share for share, got in enumerate(found) for chaddr in got)
    return Counted(tuple(map(len, found)), strays)


def _drain(sock: socket.socket) -> list[bytes]:
    """The clients whose messages wait at a socket."""
    found = []
    sock.setblocking(False)
    while True:
        try:
            found.append(sock.recv(SIZE)[CHADDR : CHADDR + 6])
        except BlockingIOError:
            return found


def copies_of_a_broadcast(shares: int) -> int:
    """How many of the sockets get a message that was sent to everybody, as those of clients without a relay agent."""
    with ExitStack() as stack:
        socks = [stack.enter_context(sock) for sock in divided(shares, "0.0.0.0")]
        sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(message(hardware_address(0)), (ITS_BROADCAST, socks[0].getsockname()[1]))
        return sum(len(_drain(sock)) for sock in socks)


def moved_when_one_ends(shares: int, clients: int) -> float:
    """The share of the remaining processes' clients that come to another one, once the first process has ended."""
    addresses = [hardware_address(number) for number in range(clients)]
    kept = [chaddr for chaddr in addresses if share_of(chaddr, shares) != 0]
    with ExitStack() as stack:
        first, *others = [stack.enter_context(sock) for sock in divided(shares)]
        there = first.getsockname()
        first.close()
        moved = 0
        for begin in range(0, len(kept), BATCH):
            for chaddr in kept[begin : begin + BATCH]:  # from a port each: the kernel may go by that then
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(message(chaddr), there)
            for share, sock in enumerate(others, 1):
                moved += sum(share_of(chaddr, shares) != share for chaddr in _drain(sock))
    return moved / len(kept)


def nanoseconds(shares: int, batches: int) -> tuple[float, float]:
    """CPU time to send a message and have it put before a socket: before the only one, and before one of several."""
    took: tuple[list[float], list[float]] = ([], [])
    messages = [message(hardware_address(number)) for number in range(BATCH)]
    with ExitStack() as stack:
        alone = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        alone.bind((LOOPBACK, 0))
        ways = []
        for socks in ([alone], divided(shares)):
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.connect(socks[0].getsockname())
            ways.append((sender, [stack.enter_context(sock) for sock in socks]))
        for _ in range(batches):
            for (sender, socks), taken in zip(ways, took, strict=True):
                began = time.thread_time_ns()
                for each in messages:
                    sender.send(each)
                taken.append((time.thread_time_ns() - began) / BATCH)
                for sock in socks:
                    _drain(sock)
    return statistics.median(took[0]), statistics.median(took[1])
