"""What the transports with sockets share: addresses as integers, a queue for a full socket, errors told once."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from aiodhcp.constants import BROADCAST_ADDRESS, MAXIMUM_LENGTH, SERVER_PORT
from aiodhcp.exchange import Answer

__all__ = [
    "BATCH",
    "NONE",
    "RECEIVE_SIZE",
    "Outbox",
    "SendErrors",
    "address_number",
    "all_addresses",
    "dotted",
    "enlarge_receive_buffer",
    "explained",
    "system_addresses",
    "target",
]

BATCH: Final = 64
"""Datagrams drained per wake-up: draining 16 to 64 gains all there is to gain, more makes others wait."""
RECEIVE_SIZE: Final = MAXIMUM_LENGTH + 1
"""Octets asked for: one more than a message may have, so that a longer one shows."""
RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Octets of the kernel's receive buffer: some 2,000 datagrams, what arrives while one slow commit runs."""
OUTBOX_LIMIT: Final = 1024
"""Answers kept while a socket can't take them: later ones are worth less than the client's next try."""

NONE: Final[frozenset[int]] = frozenset()
"""No error that an ``Outbox`` should tolerate."""

SO_RCVBUFFORCE: Final = 33
"""Linux: like SO_RCVBUF beyond ``net.core.rmem_max``; needs CAP_NET_ADMIN (socket(7))."""


@lru_cache(maxsize=4096)
def address_number(address: str) -> int:
    """The dotted IPv4 address as an integer; cached, since bursts come from a few relays or from 0.0.0.0."""
    return int.from_bytes(socket.inet_aton(address), "big")


def dotted(address: int) -> str:
    """The integer as a dotted IPv4 address, for the socket calls."""
    return socket.inet_ntoa(address.to_bytes(4, "big"))


def target(answer: Answer, port: int) -> tuple[str, int]:
    """Where a plain UDP socket that is bound to ``port`` sends an answer.

    On port 67 where RFC 2131 §4.1 says; a client that has no address yet is reached by broadcast. On any other port
    (tests, containers, port forwardings) back to where the request came from, or by broadcast if that is 0.0.0.0.
    """
    if port != SERVER_PORT:
        request = answer.request
        return (dotted(request.source or BROADCAST_ADDRESS), request.source_port)
    if answer.hardware is not None:
        return (dotted(BROADCAST_ADDRESS), answer.port)
    return (dotted(answer.destination), answer.port)


def system_addresses() -> dict[str, list[tuple[int, int]]]:
    """Each interface's IPv4 addresses and their prefix lengths, in the system's order: primary ones first.

    On Linux an address may have a label ("eth0:1"): it is found under the interface's own name.
    """
    import ifaddr  # here, for its import starts ldconfig: some 30 ms that only an open transport owes

    found: dict[str, list[tuple[int, int]]] = {}
    for adapter in ifaddr.get_adapters():
        name = adapter.nice_name.partition(":")[0] if sys.platform == "linux" else adapter.nice_name
        numbers = [(address_number(ip.ip), ip.network_prefix) for ip in adapter.ips if isinstance(ip.ip, str)]
        found.setdefault(name, []).extend(numbers)
    return found


def all_addresses() -> tuple[int, ...]:
    """The machine's IPv4 addresses, interface after interface."""
    return tuple(address for found in system_addresses().values() for address, _ in found)


def enlarge_receive_buffer(sock: socket.socket, size: int = RECEIVE_BUFFER) -> None:
    """Ask for a receive buffer of ``size`` octets, and take what the system grants."""
    if sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
            return
        except OSError:
            pass
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    except OSError:
        pass


def explained(error: OSError, what: str, taken: str = "another DHCP server or relay runs there; stop it") -> OSError:
    """The same kind of error with words for an administrator.

    Args:
        error: what the system said.
        what: what was tried, and where.
        taken: what to do when somebody else has it.
    """
    needs = "run as root, or give the process CAP_NET_BIND_SERVICE and CAP_NET_RAW (systemd: AmbientCapabilities=)"
    words = {
        errno.EADDRINUSE: f"it is taken: {taken}",
        errno.EADDRNOTAVAIL: "this machine has no such IPv4 address",
        errno.EACCES: f"it needs a privilege: {needs}",
        errno.EPERM: f"it needs a privilege: {needs}",
    }.get(error.errno or 0, error.strerror or str(error))
    return type(error)(error.errno, f"{what}: {words}")


class SendErrors:
    """Counts what could not be sent, and logs each kind of failure once."""

    def __init__(self, logger: logging.Logger) -> None:
        self.count = 0
        self._logger = logger
        self._told: set[tuple[str, int | None]] = set()

    def note(self, interface: str, error: OSError) -> None:
        """One answer was not sent: log it if this interface had no such error yet."""
        self.count += 1
        key = (interface, error.errno)
        if key not in self._told:
            self._told.add(key)
            self._logger.warning("%s: can't send: %s (told once, counted in send_errors)", interface, error)

    def forget(self, interface: str) -> None:
        """The interface works again: its next error is news."""
        self._told = {key for key in self._told if key[0] != interface}


class Outbox:
    """A socket to send by, and the answers it was too full for: in order, sent as soon as it takes them.

    Args:
        loop: where ``sock`` is watched for room.
        sock: the socket; closed by ``close``.
        interface: its name, for ``errors``.
        errors: told of what fails, and of each answer beyond ``limit``.
        limit: how many answers wait at most.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        interface: str,
        errors: SendErrors,
        limit: int = OUTBOX_LIMIT,
    ) -> None:
        self.sock = sock
        self._loop = loop
        self._interface = interface
        self._errors = errors
        self._limit = limit
        self._waiting: deque[Callable[[], object]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, tolerated: frozenset[int], call: Callable[..., object], *arguments: object) -> bool:
        """Make ``call``, one of the socket's sends, now or when there is room.

        Returns:
            False for an error whose number is in ``tolerated``: the caller tries something else. Other errors are
            counted and logged.
        """
        if self._waiting:
            self._keep(partial(call, *arguments))
            return True
        try:
            call(*arguments)
        except (BlockingIOError, InterruptedError):
            self._keep(partial(call, *arguments))
        except OSError as error:
            if error.errno in tolerated:
                return False
            self._errors.note(self._interface, error)
        return True

    def _keep(self, call: Callable[[], object]) -> None:
        if len(self._waiting) >= self._limit:
            self._errors.note(self._interface, OSError(errno.ENOBUFS, "more answers wait than are kept"))
            return
        if not self._waiting:
            try:
                self._loop.add_writer(self.sock, self._flush)
            except NotImplementedError:  # Windows' proactor loop
                self._errors.note(self._interface, OSError(errno.ENOBUFS, "the socket takes no more answers for now"))
                return
        self._waiting.append(call)

    def _flush(self) -> None:
        waiting = self._waiting
        while waiting:
            try:
                waiting[0]()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._errors.note(self._interface, error)
            waiting.popleft()
        self._loop.remove_writer(self.sock)

    def close(self) -> None:
        """Close the socket, and forget what waits."""
        if self._waiting:
            self._waiting.clear()
            self._loop.remove_writer(self.sock)
        self.sock.close()
