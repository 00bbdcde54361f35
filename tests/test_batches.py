"""Many datagrams by one system call, over loopback."""

from __future__ import annotations

import errno
import socket
import sys
from array import array
from collections.abc import Iterator

import pytest

from aiodhcp.transports.batches import Inbox, Postbag

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recvmmsg and sendmmsg are of Linux")

LOOPBACK = 0x7F000001
CONTROL = 32


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets on loopback."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        yield one, other


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def test_all_that_has_arrived_with_whom_it_is_from(ends) -> None:
    here, there = ends
    messages = [b"", b"x", b"a" * 300]
    for each in messages:
        there.sendto(each, here.getsockname())
    found = Inbox(8, 4096, CONTROL).receive(here.fileno())
    assert found == [(each, LOOPBACK, port_of(there), b"") for each in messages]


def test_no_more_at_once_than_there_is_room_for(ends) -> None:
    here, there = ends
    for each in range(5):
        there.sendto(bytes((each,)), here.getsockname())
    inbox = Inbox(3, 64, CONTROL)
    assert [data[0] for data, *_ in inbox.receive(here.fileno())] == [0, 1, 2]
    assert [data[0] for data, *_ in inbox.receive(here.fileno())] == [3, 4]
    with pytest.raises(BlockingIOError):
        inbox.receive(here.fileno())


def test_a_datagram_that_is_too_long_is_cut(ends) -> None:
    here, there = ends
    there.sendto(b"b" * 100, here.getsockname())
    there.sendto(b"c", here.getsockname())
    assert [data for data, *_ in Inbox(4, 64, CONTROL).receive(here.fileno())] == [b"b" * 64, b"c"]


def test_ancillary_data_as_the_socket_module_has_it(ends) -> None:
    here, there = ends
    here.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    inbox = Inbox(4, 64, CONTROL)
    for _ in range(2):  # the second time, too: the kernel writes over what it was told
        there.sendto(b"1", here.getsockname())
        there.sendto(b"2", here.getsockname())
        _, [(_, _, info)], _, _ = here.recvmsg(64, CONTROL)
        ((data, _, _, control),) = inbox.receive(here.fileno())
        assert data == b"2"
        assert info in control
    here.setsockopt(socket.IPPROTO_IP, 8, 0)
    there.sendto(b"3", here.getsockname())
    ((_, _, _, control),) = inbox.receive(here.fileno())
    assert control == b""


def test_errors_are_those_of_the_socket_module(ends) -> None:
    here, there = ends
    there.close()
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        Inbox(4, 64, CONTROL).receive(-1)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError, match="Bad file descriptor"):
        Postbag(4, 1024, named=True).send(-1, [b"x"], [(port_of(here), LOOPBACK)])


def test_each_message_goes_to_its_own_target(ends) -> None:
    here, there = ends
    bag = Postbag(8, 1 << 16, named=True)
    data = [b"to there", b"to here", b"", b"d" * 1400]
    targets = [(port_of(each), LOOPBACK) for each in (there, here, there, there)]
    assert bag.send(here.fileno(), data, targets) == 4
    assert [there.recv(4096) for _ in range(3)] == [b"to there", b"", b"d" * 1400]
    assert here.recv(4096) == b"to here"


def test_no_more_are_sent_than_there_is_room_for(ends) -> None:
    here, there = ends
    bag = Postbag(3, 100, named=True)
    targets = [(port_of(there), LOOPBACK)] * 5
    assert bag.send(here.fileno(), [b"x"] * 5, targets) == 3
    assert bag.send(here.fileno(), [b"y" * 60, b"z" * 60, b"z"], targets) == 1
    with pytest.raises(OSError, match="Message too long"):
        bag.send(here.fileno(), [b"w" * 101, b"x"], targets)
    assert [there.recv(4096) for _ in range(4)] == [b"x", b"x", b"x", b"y" * 60]


def test_what_is_sent_is_octets(ends) -> None:
    """Of anything else the length may be another one, and the memory that the kernel reads would have been moved."""
    here, there = ends
    bag = Postbag(4, 1024, named=True)
    targets = [(port_of(there), LOOPBACK)] * 2
    with pytest.raises(ValueError, match="different structures"):
        bag.send(here.fileno(), [array("H", range(400)), b"x"], targets)  # type: ignore[list-item]
    assert bag.send(here.fileno(), [b"one", b"two"], targets) == 2
    assert [there.recv(64), there.recv(64)] == [b"one", b"two"]


def test_it_ends_before_the_first_that_fails(ends) -> None:
    here, there = ends
    bag = Postbag(8, 1 << 17, named=True)
    good, broadcast = (port_of(there), LOOPBACK), (port_of(there), 0xFFFFFFFF)  # which the socket may not
    assert bag.send(here.fileno(), [b"a", b"b", b"c"], [good, broadcast, good]) == 1
    with pytest.raises(PermissionError):
        bag.send(here.fileno(), [b"b", b"c"], [broadcast, good])
    assert there.recv(64) == b"a"
    with pytest.raises(BlockingIOError):
        there.recv(64)


def test_of_a_socket_that_knows_where_to(ends) -> None:
    here, there = ends
    here.connect(there.getsockname())
    assert Postbag(4, 1024, named=False).send(here.fileno(), [b"one", b"two"]) == 2
    assert [there.recv(64), there.recv(64)] == [b"one", b"two"]
