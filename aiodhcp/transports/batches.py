"""Many datagrams by one system call: recvmmsg(2) and sendmmsg(2) of Linux, which Python's sockets don't have.

One call for each datagram, and one more to see that there are no others, is a tenth of what a server does under load.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import accumulate, chain
from struct import Struct
from typing import Final

__all__ = ["Inbox", "Postbag"]

MSG_DONTWAIT: Final = 0x40
_SOURCE: Final = Struct("!2xHI8x")
"""struct sockaddr_in: a port and an address."""
_FAMILY: Final = socket.htons(socket.AF_INET)
"""It stands there in the machine's own order."""


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint32))


_MESSAGE_SIZE: Final = ctypes.sizeof(_Message)
_NAME_SIZE: Final = _SOURCE.size


@lru_cache(maxsize=1)
def _system() -> ctypes.CDLL:
    system = ctypes.CDLL(None, use_errno=True)
    system.recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    system.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    return system


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class _Room:
    """Memory for so many messages, as the kernel wants it."""

    def __init__(self, count: int, named: bool) -> None:
        self.count = count
        self.messages = (_Message * count)()
        self.vectors = (_Vector * count)()
        self.names = bytearray(count * _NAME_SIZE)
        self.address = ctypes.addressof(self.messages)
        names, vectors = address_of(self.names), ctypes.addressof(self.vectors)
        for at, message in enumerate(self.messages):
            header = message.header
            if named:
                header.name, header.name_length = names + at * _NAME_SIZE, _NAME_SIZE
            header.vectors, header.vector_count = vectors + at * ctypes.sizeof(_Vector), 1


def address_of(octets: bytearray) -> int:
    """Where they are, for as long as they are neither replaced nor resized."""
    return ctypes.addressof((ctypes.c_char * len(octets)).from_buffer(octets))


class Inbox:
    """Takes datagrams from sockets of IPv4.

    Args:
        count: how many at once.
        size: octets of one, of which the rest is lost.
        control: octets of ancillary data of one, at least 1.

    Raises:
        AttributeError: the C library doesn't have recvmmsg.
    """

    def __init__(self, count: int, size: int, control: int) -> None:
        self._receive = _system().recvmmsg
        self._room = room = _Room(count, named=True)
        self._size, self._control = size, Struct(f"{control}s")
        data, ancillary = bytearray(count * size), bytearray(count * control)
        self._data, self._ancillary, self._names = memoryview(data), memoryview(ancillary), memoryview(room.names)
        base, controls = address_of(data), address_of(ancillary)
        for at, (message, vector) in enumerate(zip(room.messages, room.vectors, strict=True)):
            vector.base, vector.length = base + at * size, size
            message.header.control, message.header.control_length = controls + at * control, control
        self._messages = memoryview(room.messages).cast("B")
        # The kernel writes over what it is told.
        self._told = bytes(self._messages)
        at = _Header.control_length.offset
        behind = _Message.length.offset - at - ctypes.sizeof(ctypes.c_size_t)
        rest = _MESSAGE_SIZE - _Message.length.offset - 4
        self._result = Struct(f"@{at}xN{behind}xI{rest}x")

    def receive(self, descriptor: int) -> list[tuple[bytes, int, int, bytes]]:
        """What has arrived: each datagram, the address and the port that it is from, and its ancillary data as the
        kernel lays that out; empty without. As many as there is room for, or all.

        Raises:
            OSError: as ``socket.recvmsg``; BlockingIOError where there is nothing.
        """
        room, messages = self._room, self._messages
        messages[:] = self._told
        count = self._receive(descriptor, room.address, room.count, MSG_DONTWAIT, None)
        if count < 0:
            raise _failure()
        data, size, at = self._data, self._size, 0
        found = []
        for (given, length), (port, address), (control,) in zip(
            self._result.iter_unpack(messages[: count * _MESSAGE_SIZE]),
            _SOURCE.iter_unpack(self._names[: count * _NAME_SIZE]),
            self._control.iter_unpack(self._ancillary[: count * self._control.size]),
            strict=True,
        ):
            found.append((data[at : at + length].tobytes(), address, port, control if given else b""))
            at += size
        return found


class Postbag:
    """Sends datagrams by a socket of IPv4, or frames by a packet socket that is bound to its interface.

    Args:
        count: how many at once.
        octets: of all that are sent at once; of one at least.
        named: whether each goes to an address and a port.

    Raises:
        AttributeError: the C library doesn't have sendmmsg.
    """

    def __init__(self, count: int, octets: int, *, named: bool) -> None:
        self._send = _system().sendmmsg
        self._named = named
        self._room = _Room(count, named)
        data = bytearray(octets)
        self._base = address_of(data)
        # Through this it can't be resized, which would move it.
        self._data = memoryview(data)

    def send(self, descriptor: int, data: Sequence[bytes], targets: Sequence[tuple[int, int]] = ()) -> int:
        """Send the first of some messages.

        Args:
            descriptor: of the socket.
            data: the messages.
            targets: where each goes, as port and address; if these are ``named``.

        Returns:
            how many were sent: one at least, and not all where there is no room for them, or where the next one fails.

        Raises:
            OSError: as ``socket.sendto``: the first could not be sent.
        """
        room = self._room
        data = data[: room.count]
        ends = list(accumulate(map(len, data)))
        while ends[-1] > len(self._data):
            if len(ends) == 1:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            ends.pop()
        count = len(ends)
        if count < len(data):
            data = data[:count]
        self._data[: ends[-1]] = b"".join(data)
        base = self._base
        vectors = [base, *[base + end for end in ends[:-1]]]
        _vectors(count).pack_into(room.vectors, 0, *chain.from_iterable(zip(vectors, map(len, data), strict=True)))
        if self._named:
            names = [(_FAMILY, *target) for target in targets[:count]]
            _names(count).pack_into(room.names, 0, *chain.from_iterable(names))
        sent: int = self._send(descriptor, room.address, count, MSG_DONTWAIT)
        if sent <= 0:
            raise _failure()
        return sent


@cache
def _vectors(count: int) -> Struct:
    return Struct("@" + "PN" * count)


@cache
def _names(count: int) -> Struct:
    return Struct("!" + "HHI8x" * count)
