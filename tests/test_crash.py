"""The promise of RFC 2131 §3.1, step 4, kept through ``kill -9``: an acknowledged lease is on stable storage."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import count, islice
from pathlib import Path
from typing import Final

import pytest
from wire import ACK, OFFER, PATIENCE, Reply, discover, hardware, read, reboot, renew, request

from aiodhcp import LeaseState
from aiodhcp.stores.sqlite import read_leases

KILLS: Final = 10
ACKNOWLEDGED: Final = 200
"""Leases of a round, at most, before the server is killed."""
WINDOW: Final = 32
"""Clients that wait for a reply at the same time."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


@contextmanager
def serving(path: Path, *more: Path) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A server in a process, and a socket that talks to it."""
    command = [sys.executable, str(Path(__file__).with_name("crash_server.py")), *map(str, (path, *more))]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            assert port, "the server did not start"
            sock.bind(("127.0.0.1", 0))
            sock.connect(("127.0.0.1", int(port)))
            sock.settimeout(PATIENCE)
            yield process, sock
        finally:
            process.kill()


def converse(sock: socket.socket, openings: Iterable[bytes], reply: Callable[[Reply], bytes | None]) -> None:
    """Say each opening and go on as ``reply`` says, None ends a conversation; ``WINDOW`` of them at a time."""
    waiting = iter(openings)
    under_way = 0
    for data in islice(waiting, WINDOW):
        sock.send(data)
        under_way += 1
    while under_way:
        more = reply(read(sock.recv(4096))) or next(waiting, None)
        if more is None:
            under_way -= 1
        else:
            sock.send(more)


def confirm(sock: socket.socket, questions: Iterable[bytes]) -> dict[int, int]:
    """Clients that say they have an address; the address that each is acknowledged."""
    confirmed: dict[int, int] = {}

    def note(reply: Reply) -> None:
        assert reply.kind == ACK
        confirmed[reply.client] = reply.yiaddr

    converse(sock, questions, note)
    return confirmed


def load_and_kill(
    process: subprocess.Popen[str], sock: socket.socket, clients: Iterator[int], enough: int
) -> dict[int, int]:
    """New clients without end, until ``enough`` of their leases are acknowledged. Then the server is killed.

    Returns:
        the address of each client whose ACK left the server, also of those that were on their way when it died.
    """
    acknowledged: dict[int, int] = {}

    class Killed(Exception):
        pass

    def note(reply: Reply) -> bytes | None:
        if reply.kind == OFFER:
            return request(reply.client, reply.yiaddr)
        assert reply.kind == ACK
        acknowledged[reply.client] = reply.yiaddr
        if len(acknowledged) == enough:
            process.send_signal(signal.SIGKILL)
            raise Killed
        return None

    with pytest.raises(Killed):
        converse(sock, map(discover, clients), note)
    process.wait()
    sock.setblocking(False)
    while True:
        try:
            reply = read(sock.recv(4096))
        except BlockingIOError:
            return acknowledged
        except ConnectionRefusedError:
            continue
        if reply.kind == ACK:
            acknowledged[reply.client] = reply.yiaddr


def test_no_acknowledged_lease_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    clients = count(1)
    everybody: dict[int, int] = {}
    latest: dict[int, int] = {}
    for killed in range(KILLS + 1):
        where = f"after {killed} kills, seed {seed}"
        with serving(path) as (process, sock):
            # Whoever was acknowledged before the server died has its lease, and hears so whichever way it asks.
            asked = [chance.choice((reboot, renew))(client, address) for client, address in latest.items()]
            assert confirm(sock, asked) == latest, where
            latest = load_and_kill(process, sock, clients, chance.randint(1, ACKNOWLEDGED))
        # Nobody was given what somebody had, from this life of the server or one before.
        assert len(set(latest.values())) == len(latest), where
        assert set(latest.values()).isdisjoint(everybody.values()), where
        everybody |= latest
        # As the server left it; what is in no other place than the WAL counts.
        stored = {lease.address: lease for lease in read_leases(path)}
        for client, address in everybody.items():
            assert address in stored, where
            assert stored[address].chaddr == hardware(client), where
            assert stored[address].state == LeaseState.ACTIVE, where


def test_no_event_is_lost(tmp_path: Path) -> None:
    """Whoever was acknowledged is told to a consumer that dies with the server, in order, nothing left out."""
    path, heard = tmp_path / "leases.db", tmp_path / "events.txt"
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    clients = count(1)
    everybody: dict[int, int] = {}
    for _ in range(KILLS // 2):
        with serving(path, heard) as (process, sock):
            everybody |= load_and_kill(process, sock, clients, chance.randint(1, ACKNOWLEDGED))
    with serving(path, heard) as (process, sock):
        # The last one, behind all of them.
        (last,) = last_acknowledged = load_and_kill(process, sock, iter([1_000_000]), 1)
        everybody |= last_acknowledged
    with serving(path, heard):
        deadline = time.monotonic() + PATIENCE
        while hardware(last).hex(":") not in heard.read_text():
            assert time.monotonic() < deadline, f"seed {seed}"
            time.sleep(0.01)
    # A line may be cut short by the kill, its event comes again.
    lines = [line.split(" ") for line in heard.read_text().splitlines() if line.count(" ") == 3]
    first: dict[int, list[str]] = {}
    before = 0
    for sequence, *rest in lines:
        number = int(sequence)
        # The next one, or, after a restart, some of them again.
        assert number <= before + 1, f"seed {seed}: {number} comes after {before}"
        assert first.setdefault(number, rest) == rest, f"seed {seed}"
        before = number
    assert sorted(first) == list(range(1, len(first) + 1)), f"seed {seed}"
    granted = {(address, chaddr) for kind, address, chaddr in first.values() if kind == "granted"}
    expected = {(str(IPv4Address(address)), hardware(client).hex(":")) for client, address in everybody.items()}
    assert expected <= granted, f"seed {seed}"
