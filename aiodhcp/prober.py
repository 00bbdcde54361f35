"""Asks the network whether somebody has an address already, before the server offers it (RFC 2131 §3.1, §4.4.1).

On the link by an ARP probe (RFC 5227 §2.1.1), which a host answers as long as it has the address; where a relay agent
is between by an ICMP echo request, which a firewall may swallow.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from struct import Struct
from typing import Final

from aiodhcp.exchange import Interface
from aiodhcp.transports.sockets import BATCH, address_number, dotted, explained

__all__ = ["Prober", "arp_probe", "arp_sender", "echo_request", "echoed"]

logger = logging.getLogger("aiodhcp.prober")

ETH_P_ARP: Final = 0x0806
ETH_P_IP: Final = 0x0800
ARPHRD_ETHER: Final = 1
ARPHRD_IEEE802: Final = 6
ARP_REQUEST, ARP_REPLY = 1, 2
SOL_RAW: Final = 255
ICMP_FILTER: Final = 1
"""Linux, raw(7): the types of ICMP that a raw socket does not want."""

TIMES: Final = 2
"""How often a question is sent, evenly over the time there is: a single packet may get lost."""
TOKEN_SIZE: Final = 20
"""Octets of an echo request that come back: identifier, sequence number, and 128 bits of data nobody can guess."""
RECEIVE_SIZE: Final = 128
"""Octets asked for: more than the longest answer, an echo reply behind an IP header with options."""

_FRAME = Struct("!6s6sH HHBBH6sI6sI")  # Ethernet, ARP (RFC 826)
_ALL_BUT_ECHO_REPLY = Struct("=I").pack(0xFFFFFFFE)
_PASSING = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.EINTR})
"""Errors of sending that may be over when the question is sent again."""

_Note = Callable[[str, OSError], None]
_Key = tuple[int, bytes]
"""What an answer is known by: the address that it comes from, and what it repeats of the question."""


def arp_probe(address: int, hardware: bytes) -> bytes:
    """The broadcast frame that asks who has ``address`` without telling an own one: nobody's ARP table changes.

    Args:
        address: the IPv4 address in question.
        hardware: the 6 octets of the asking interface's Ethernet address.
    """
    ethernet = (b"\xff" * 6, hardware, ETH_P_ARP)
    return _FRAME.pack(*ethernet, ARPHRD_ETHER, ETH_P_IP, 6, 4, ARP_REQUEST, hardware, 0, bytes(6), address)


def arp_sender(frame: bytes) -> tuple[int, bytes] | None:
    """Who says by this frame that it has an address: the address and the hardware address; None if nobody does."""
    if len(frame) < _FRAME.size:
        return None
    _, _, kind, link, protocol, *sizes, operation, hardware, address, _, _ = _FRAME.unpack_from(frame)
    if (kind, protocol, sizes) != (ETH_P_ARP, ETH_P_IP, [6, 4]) or link not in (ARPHRD_ETHER, ARPHRD_IEEE802):
        return None
    if operation not in (ARP_REQUEST, ARP_REPLY) or not address:  # 0: a probe, whose sender has no address yet
        return None
    return address, hardware


def echo_request(token: bytes) -> bytes:
    """An ICMP echo request (RFC 792); ``token`` is all that the answer repeats, an even number of octets."""
    # The sum of RFC 1071 is the whole number modulo 65535: transports.frame does so too.
    return b"\x08\0" + (-int.from_bytes(b"\x08\0" + token, "big") % 65535).to_bytes(2, "big") + token


def echoed(data: bytes) -> bytes:
    """What an ICMP echo reply repeats, empty if ``data`` is none; an IPv4 header may be in front of it."""
    if data and data[0] >> 4 == 4:
        data = data[(data[0] & 15) * 4 :]
    return data[4:] if data[:2] == b"\0\0" else b""


class Prober:
    """Asks whether an address is in use. One serves all interfaces and any number of questions at once.

    Its sockets are opened when they are needed first and stay open: one for each interface that is asked by ARP, one
    for ICMP. It takes root or CAP_NET_RAW; ICMP alone can do with ``net.ipv4.ping_group_range`` (icmp(7)).

    What this machine has itself is found by ICMP only: a link does not bring our own questions back to us.
    """

    def __init__(self) -> None:
        self._links: dict[int, _Link] = {}
        self._echo: _Echo | None = None
        self._told: set[tuple[str, int | None]] = set()

    async def in_use(self, address: int, interface: Interface, method: str, timeout: float) -> str:  # noqa: ASYNC109
        """Ask who has ``address``, and once more at half of ``timeout``.

        Args:
            address: the IPv4 address.
            interface: whose link is asked by ARP. If it is none of the system's, not Ethernet (loopback, tun), or the
                system is not Linux, ICMP asks instead.
            method: "arp" or "icmp".
            timeout: seconds after which nobody has it.

        Returns:
            Who has it, in words for people: "02:00:00:00:00:09", "answers ICMP echo". Empty when nobody answered, and
            when it could not be asked: a warning then says why, once for each kind of problem.
        """
        if method not in ("arp", "icmp"):
            raise ValueError(f"method: expected 'arp' or 'icmp', not {method!r}")
        what = f"ARP on {interface.name}"
        try:
            link = self._link(interface, what) if method == "arp" else None
            if link is not None:
                return await link.ask(address, timeout)
            what = "ICMP"
            if self._echo is None:
                self._echo = _Echo(what, self._note)
            return await self._echo.ask(address, timeout)
        except OSError as error:
            self._note(what, error)
            return ""

    def close(self) -> None:
        """Close the sockets; who still waits is told that nobody answered. The next question opens them anew."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        if self._echo is not None:
            self._echo.close()
            self._echo = None
        self._told.clear()

    def _link(self, interface: Interface, what: str) -> _Link | None:
        """The socket on an interface; None if ARP is not for it."""
        if sys.platform != "linux" or not interface.index:
            return None
        link = self._links.get(interface.index)
        if link is None or not link.kind():
            for index in [index for index, other in self._links.items() if not other.kind()]:
                self._links.pop(index).close()
            link = self._links[interface.index] = _Link(interface.index, what, self._note)
        return link if link.kind() == ARPHRD_ETHER else None

    def _note(self, what: str, error: OSError) -> None:
        if (what, error.errno) not in self._told:
            self._told.add((what, error.errno))
            logger.warning("%s: can't ask whether an address is in use: %s (told once)", what, error)


class _Line:
    """A socket to ask by, and those who wait for what arrives there. Closes ``sock`` if it can't be watched."""

    def __init__(self, sock: socket.socket, what: str, note: _Note) -> None:
        self.sock = sock
        self._what = what
        self._note = note
        self._waiting: dict[_Key, list[asyncio.Future[str]]] = {}
        self._loop = asyncio.get_running_loop()
        try:
            sock.setblocking(False)
            self._loop.add_reader(sock, self._drain)
        except NotImplementedError:  # Windows' proactor loop
            sock.close()
            raise OSError(errno.EOPNOTSUPP, "this event loop can't watch a socket") from None
        except BaseException:
            sock.close()
            raise

    def receive(self) -> tuple[_Key, str] | None:
        """Read one packet: what it is known by, and in words who sent it; None if it is no answer at all."""
        raise NotImplementedError

    async def wait(self, key: _Key, send: Callable[[], object], seconds: float) -> str:
        """Send a question, and wait for the answer known by ``key``; empty if there is none.

        Raises:
            OSError: it can't be sent.
        """
        future: asyncio.Future[str] = self._loop.create_future()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(future)
        try:
            for _ in range(TIMES):
                try:
                    send()
                except OSError as error:
                    if error.errno not in _PASSING:
                        raise
                    self._note(self._what, error)
                answered, _ = await asyncio.wait([future], timeout=seconds / TIMES)
                if answered:
                    return future.result()
            return ""
        finally:
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(key, None)

    def _drain(self) -> None:
        try:
            for _ in range(BATCH):
                answer = self.receive()
                if answer is not None:
                    self._answer(self._waiting.get(answer[0], []), answer[1])
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:  # the interface went down: what is sent by it from now on fails, until it is back
            self._note(self._what, error)

    def _answer(self, waiting: list[asyncio.Future[str]], words: str) -> None:
        for future in waiting:
            if not future.done():
                future.set_result(words)

    def close(self) -> None:
        """Close the socket, and let nobody wait any longer."""
        self._loop.remove_reader(self.sock)
        self.sock.close()
        for waiting in self._waiting.values():
            self._answer(waiting, "")


class _Link(_Line):
    """ARP on the interface of a number."""

    def __init__(self, index: int, what: str, note: _Note) -> None:
        try:
            name = socket.if_indextoname(index)
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: nothing of other interfaces before bind
            try:
                sock.bind((name, ETH_P_ARP))
            except OSError:
                sock.close()
                raise
        except OSError as error:
            raise explained(error, "a packet socket") from error
        super().__init__(sock, what, note)
        self._hardware = b""

    def kind(self) -> int:
        """The interface's hardware type, 0 if it is gone; the address is read along, since it may change."""
        *_, kind, self._hardware = self.sock.getsockname()
        return int(kind)

    async def ask(self, address: int, seconds: float) -> str:
        """Who has ``address``, by its hardware address; empty if nobody has."""
        self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # else sending fails for what was down before
        send = partial(self.sock.send, arp_probe(address, self._hardware))
        return await self.wait((address, b""), send, seconds)

    def receive(self) -> tuple[_Key, str] | None:
        """Read one frame: any ARP packet that has the address as its sender's is an answer."""
        frame, (_, _, sent_to, *_) = self.sock.recvfrom(RECEIVE_SIZE)
        sender = arp_sender(frame)
        # PACKET_OTHERHOST: of a VLAN that has no interface here, or seen in promiscuous mode only.
        if sender is None or sender[1] == self._hardware or sent_to >= socket.PACKET_OTHERHOST:
            return None
        return (sender[0], b""), sender[1].hex(":")


class _Echo(_Line):
    """ICMP echo. Without the privilege for a raw socket, by one that the system sets the identifiers of."""

    def __init__(self, what: str, note: _Note) -> None:
        self._unknown = 0  # octets of the token that come back as the system chose
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except PermissionError:
            self._unknown = 2
            try:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
            except OSError as error:
                raise explained(error, "an ICMP socket") from error
        if sys.platform == "linux" and not self._unknown:
            with suppress(OSError):  # it spares being woken; what is no answer is recognized anyway
                sock.setsockopt(SOL_RAW, ICMP_FILTER, _ALL_BUT_ECHO_REPLY)
        super().__init__(sock, what, note)

    async def ask(self, address: int, seconds: float) -> str:
        """Words that say that ``address`` answers; empty if it does not."""
        token = secrets.token_bytes(TOKEN_SIZE)
        send = partial(self.sock.sendto, echo_request(token), (dotted(address), 0))
        return await self.wait((address, token[self._unknown :]), send, seconds)

    def receive(self) -> tuple[_Key, str] | None:
        """Read one packet: the address must answer itself, and repeat what it was asked."""
        data, (source, *_) = self.sock.recvfrom(RECEIVE_SIZE)
        return (address_number(source), echoed(data)[self._unknown :]), "answers ICMP echo"
