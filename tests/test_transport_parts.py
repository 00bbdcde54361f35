"""What the transports are made of: frames, routes, full sockets, errors told once."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from functools import partial

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp.transports.frame import build_frame
from aiodhcp.transports.sockets import NONE, Outbox, SendErrors, explained, system_addresses

LOCALHOST = 0x7F000001
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def ones_complement(data: bytes) -> int:
    """The sum of RFC 1071, word for word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


addresses = st.integers(0, 0xFFFFFFFF)


@given(
    data=st.binary(max_size=700),
    hardware=st.binary(min_size=6, max_size=6),
    source=addresses,
    destination=addresses,
    port=st.integers(1, 0xFFFF),
    number=st.integers(0, 0xFFFF),
)
def test_frame(data: bytes, hardware: bytes, source: int, destination: int, port: int, number: int) -> None:
    frame = build_frame(data, hardware, b"\2server", source, destination, 67, port, number)
    ethernet = dpkt.ethernet.Ethernet(frame)
    assert (ethernet.dst, ethernet.src, ethernet.type) == (hardware, b"\2serve", 0x0800)
    ip = ethernet.data
    assert (ip.v, ip.hl, ip.len, ip.id, ip.ttl, ip.p) == (4, 5, len(frame) - 14, number, 64, 17)
    assert (ip.src, ip.dst) == (source.to_bytes(4, "big"), destination.to_bytes(4, "big"))
    udp = ip.data
    assert (udp.sport, udp.dport, udp.ulen, bytes(udp.data)) == (67, port, len(data) + 8, data)
    assert udp.sum != 0  # 0 would mean that there is no checksum (RFC 768)
    assert ones_complement(frame[14:34]) == 0xFFFF
    pseudo_header = frame[26:34] + bytes([0, 17]) + udp.ulen.to_bytes(2, "big")
    assert ones_complement(pseudo_header + frame[34:]) == 0xFFFF


def test_frame_whose_udp_checksum_would_be_none() -> None:
    words = build_frame(b"\0\0", b"\0" * 6, b"\0" * 6, 0, 0)
    left = int.from_bytes(words[40:42], "big")  # with these two octets the sum becomes 0
    frame = build_frame(left.to_bytes(2, "big"), b"\0" * 6, b"\0" * 6, 0, 0)
    assert frame[40:42] == b"\xff\xff"


@linux
def test_routes() -> None:
    from aiodhcp.transports.routes import Routes

    routes = Routes()
    try:
        for _ in range(2):
            assert routes.interface_towards(LOCALHOST) == socket.if_nametoindex("lo")
        routes.forget()
        assert routes.interface_towards(LOCALHOST) == socket.if_nametoindex("lo")
    finally:
        routes.close()
    assert routes.interface_towards(0x7F000002) == 0  # nobody to ask


@linux
def test_system_addresses() -> None:
    assert (LOCALHOST, 8) in system_addresses()["lo"]


@pytest.fixture
def errors() -> SendErrors:
    return SendErrors(logging.getLogger("aiodhcp.transports.test"))


@linux
async def test_outbox_waits_for_room(errors: SendErrors) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    theirs.setblocking(False)
    outbox = Outbox(asyncio.get_running_loop(), ours, "eth0", errors, limit=10)
    with theirs:
        count = 0
        while len(outbox) < 10:
            assert outbox.send(NONE, ours.send, count.to_bytes(2, "big"))
            count += 1
        assert errors.count == 0
        outbox.send(NONE, ours.send, b"one too many")
        assert errors.count == 1
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(3):
            got = [int.from_bytes(await loop.sock_recv(theirs, 100), "big") for _ in range(count)]
        assert got == list(range(count))
        assert len(outbox) == 0
        while not outbox:
            outbox.send(NONE, ours.send, b"x")
        outbox.close()
        assert len(outbox) == 0


@linux
async def test_outbox_counts_what_fails_later(errors: SendErrors) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    outbox = Outbox(asyncio.get_running_loop(), ours, "eth0", errors)
    while len(outbox) < 3:
        outbox.send(NONE, ours.send, b"x")
    theirs.close()
    async with asyncio.timeout(3):
        while outbox:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert errors.count == 3
    outbox.close()


async def test_outbox_tolerates(errors: SendErrors) -> None:
    def fail(number: int) -> None:
        raise OSError(number, "no")

    with socket.socket() as sock:
        outbox = Outbox(asyncio.get_running_loop(), sock, "eth0", errors)
        assert not outbox.send(frozenset({errno.EMSGSIZE}), partial(fail, errno.EMSGSIZE))
        assert errors.count == 0
        assert outbox.send(NONE, fail, errno.EMSGSIZE)
        assert errors.count == 1


def test_errors_are_told_once(errors: SendErrors, caplog: pytest.LogCaptureFixture) -> None:
    for interface in ("eth0", "eth1", "eth0"):
        for number in (errno.ENETDOWN, errno.ENOBUFS, errno.ENETDOWN):
            errors.note(interface, OSError(number, "no"))
    assert (errors.count, len(caplog.records)) == (9, 4)
    errors.forget("eth0")
    for interface in ("eth0", "eth1"):
        errors.note(interface, OSError(errno.ENETDOWN, "no"))
    assert (errors.count, len(caplog.records)) == (11, 5)


def test_explained_keeps_the_kind() -> None:
    error = explained(PermissionError(errno.EACCES, "Permission denied"), "UDP port 67 on eth0")
    assert isinstance(error, PermissionError)
    assert str(error).startswith(f"[Errno {errno.EACCES}] UDP port 67 on eth0: it needs a privilege: run as root")
