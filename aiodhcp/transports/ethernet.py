"""Linux network interfaces, the transport for production: VLANs, relays, and clients that have no address yet.

Each interface has two sockets. A UDP socket bound to it receives, and sends broadcasts and what ARP can find. A packet
socket only sends: to a client that does not own its address yet, a frame for its hardware address (RFC 2131 §4.1). So
the kernel checks, reassembles and filters what arrives, nothing is copied for a packet socket, and a firewall has to
let UDP port 67 in.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from struct import Struct
from typing import Final

from aiodhcp.constants import BROADCAST_ADDRESS, CLIENT_PORT, SERVER_PORT
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.transports import Receiver
from aiodhcp.transports.batches import Inbox, Postbag
from aiodhcp.transports.frame import build_frame
from aiodhcp.transports.routes import Routes
from aiodhcp.transports.sockets import (
    BATCH,
    NONE,
    RECEIVE_SIZE,
    Outbox,
    SendErrors,
    dotted,
    enlarge_receive_buffer,
    explained,
    system_addresses,
)

if sys.platform == "linux":
    import fcntl

__all__ = ["EthernetTransport"]

logger = logging.getLogger("aiodhcp.transports.ethernet")

IP_PKTINFO: Final = 8
"""Linux, ip(7): the datagram's destination on receiving, its source on sending."""
SIOCGIFFLAGS: Final = 0x8913
"""Linux, netdevice(7): is the interface up?"""
IFF_UP: Final = 1
ARPHRD_ETHER: Final = 1

_PACKET_INFO = Struct("=i4s4s")  # struct in_pktinfo: interface, local address, address in the header
_CONTROL_HEADER = socket.CMSG_LEN(0) if sys.platform == "linux" else 0
_NO_ADDRESS = b"\0\0\0\0"
_CONTROL_SIZE = socket.CMSG_SPACE(_PACKET_INFO.size) if sys.platform == "linux" else 0
_TOO_LONG = frozenset({errno.EMSGSIZE})  # only the kernel's own UDP is cut into fragments
_OCTETS_SENT = 1 << 17  # at once: one message has 65,535 at most
_PLAIN_KEPT = 1024
_TAKEN = "another DHCP server or relay runs there; stop it, or if it only serves other interfaces, set reuse_address"


@lru_cache(maxsize=1024)
def _destination(control: bytes) -> int:
    """Where a datagram was sent to: what was not sent to a local address was broadcast. 0 where that is not known."""
    if len(control) < _CONTROL_HEADER + _PACKET_INFO.size:
        return 0
    _, local, header = _PACKET_INFO.unpack_from(control, _CONTROL_HEADER)
    return int.from_bytes(header, "big") if header == local else BROADCAST_ADDRESS


class EthernetTransport:
    """Serves Linux interfaces by name: Ethernet, VLANs, bridges, bonds, veth...

    What arrives on an interface that is not named here is never seen: "eth0" does not take what is for "eth0.10", nor
    the reverse; a bridge is named, not its ports. Any number of instances may run beside each other, on different
    interfaces or in different network namespaces: that of the thread which opens it and runs its event loop.

    Where an answer leaves:

    - With ``Answer.hardware``, as a frame to that address, on the interface where the request arrived. If that is not
      Ethernet (loopback, tun, InfiniBand) or the message is longer than the frame may be, as a broadcast.
    - A broadcast, and an answer into one of that interface's networks: by that interface.
    - Any other, as to a relay agent: where the routing table says, which need not be where the request came from. If it
      says nothing, by that interface.

    While it is open, every ``check_every`` seconds it looks whether its interfaces are what they were. An interface
    that went down, or away, is reported to ``error_received`` once and served again when it is back, also if it is a
    new one of the same name. ``interfaces`` keeps its order and length, but where the index or the addresses changed it
    holds a *new* Interface (of index 0 and without addresses while it is away), and so do the datagrams that arrive
    from then on. Datagrams received before can be answered as ever.

    Args:
        interfaces: their names.
        port: the UDP port to listen on.
        client_port: where clients listen. Other ports than 67 and 68 are for trials beside another server: what an
            answer has as 67 or 68 is sent to ``port`` or ``client_port``.
        reuse_address: start even if another program has the port on all interfaces, as dnsmasq or dhcpd do to serve
            others (and if they set SO_REUSEADDR, too). A second server on the same interface is then not noticed.
        check_every: seconds between two looks at the interfaces.

    Attributes:
        receive_errors: how often the sockets reported an error while receiving.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        port: int = SERVER_PORT,
        client_port: int = CLIENT_PORT,
        *,
        reuse_address: bool = False,
        check_every: float = 3.0,
    ) -> None:
        if isinstance(interfaces, str) or not interfaces:
            raise ConfigError(f"interfaces: expected a list of names, like ['eth0'], not {interfaces!r}")
        if len(set(interfaces)) < len(interfaces):
            raise ConfigError(f"interfaces: one is named twice: {', '.join(interfaces)}")
        self.port = port
        self.client_port = client_port
        self.reuse_address = reuse_address
        self.check_every = check_every
        self._errors = SendErrors(logger)
        self._ports = tuple(_Port(self, name) for name in interfaces)
        self._routes: Routes | None = None
        self._batches: _Batches | None = None
        self._check_handle: asyncio.TimerHandle | None = None

    @property
    def interfaces(self) -> Sequence[Interface]:
        """The interfaces served, as they are now: the class says how they change."""
        return tuple(port.interface for port in self._ports)

    @property
    def send_errors(self) -> int:
        """Answers that could not be sent; each kind of error is logged once for each interface."""
        return self._errors.count

    @property
    def receive_errors(self) -> int:
        """Errors that receiving reported, and interfaces that went down or away."""
        return sum(port.receive_errors for port in self._ports)

    async def open(self, receiver: Receiver) -> None:
        """Open the sockets of every interface and hand ``receiver`` what arrives.

        Raises:
            ConfigError: no such interface, no IPv4 address on it, not Linux.
            OSError: the port is taken or a privilege is missing; says which port, which interface, and what to do.
        """
        if sys.platform != "linux":
            raise ConfigError("this transport needs Linux; elsewhere use the udp or the relay transport")
        if self._routes is not None:
            raise RuntimeError("this transport is open already")
        existing = [name for _, name in socket.if_nameindex()]
        addresses = system_addresses()
        for port in self._ports:
            if port.name not in existing:
                raise ConfigError(f"no interface {port.name!r}; there are: {', '.join(existing)}")
            if not addresses.get(port.name):
                raise ConfigError(
                    f"interface {port.name!r} has no IPv4 address: give it one, "
                    f"as with: ip address add 192.0.2.1/24 dev {port.name}"
                )
        loop = asyncio.get_running_loop()
        self._routes = Routes()
        self._batches = _Batches()
        try:
            for port in self._ports:
                port.open(loop, receiver, self._routes, self._batches, addresses[port.name])
        except BaseException:
            await self.close()
            raise
        self._check_handle = loop.call_later(self.check_every, self._check, loop)

    def send(self, answers: Sequence[Answer]) -> None:
        """Send each answer: the class says where it leaves."""
        if len(self._ports) == 1:
            self._ports[0].send(answers)
            return
        by_port: dict[_Port, list[Answer]] = {}
        for answer in answers:
            via = answer.request.via
            by_port.setdefault(via if isinstance(via, _Port) else self._port_of(answer), []).append(answer)
        for port, answers in by_port.items():
            port.send(answers)

    async def close(self) -> None:
        """Close the sockets. May be called twice."""
        if self._check_handle is not None:
            self._check_handle.cancel()
            self._check_handle = None
        for port in self._ports:
            port.close()
        if self._routes is not None:
            self._routes.close()
            self._routes = self._batches = None

    def _port_of(self, answer: Answer) -> _Port:
        """The port for a request that did not arrive here: found by its interface's name, else the first."""
        name = answer.request.interface.name
        return next((port for port in self._ports if port.name == name), self._ports[0])

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._check_handle = loop.call_later(self.check_every, self._check, loop)
        try:
            addresses = system_addresses()
        except OSError as error:  # out of memory or of descriptors: next time
            logger.warning("can't read the interfaces' addresses: %s", error)
            return
        if self._routes is not None:
            self._routes.forget()
        for port in self._ports:
            port.check(addresses.get(port.name, []))


class _Batches:
    """What all interfaces receive and send by: none does while another one does."""

    def __init__(self) -> None:
        self.inbox = Inbox(BATCH, RECEIVE_SIZE, _CONTROL_SIZE)
        self.datagrams = Postbag(BATCH, _OCTETS_SENT, named=True)
        self.frames = Postbag(BATCH, _OCTETS_SENT, named=False)


def _send_all(outbox: Outbox, count: int, together: Callable[[int], int], alone: Callable[[int], None]) -> None:
    """Send so many messages in their order, by as few system calls as it takes.

    Args:
        outbox: by which they leave; while it is full, each goes there ``alone``.
        count: of the messages.
        together: sends as many as it can from the one with this number on, and says how many these were.
        alone: sends the one with this number, and deals with what fails.
    """
    at = 0
    while at < count:
        if at + 1 < count and not outbox:
            try:
                at += together(at)
                continue
            except OSError:  # of the first of them, which is told again below
                pass
        alone(at)
        at += 1


class _Port:
    """One interface: its sockets, and what is known of it."""

    def __init__(self, transport: EthernetTransport, name: str) -> None:
        self.name = name
        self.interface = Interface(name)
        self.receive_errors = 0
        self._transport = transport
        self._errors = transport._errors
        self._source_port = transport.port
        self._target_ports = {SERVER_PORT: transport.port, CLIENT_PORT: transport.client_port}
        self._identification = count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receiver: Receiver | None = None
        self._fault = 0  # errno of what error_received was told last, until it is over
        self._forget()

    def _forget(self) -> None:
        self._udp: Outbox | None = None
        self._packet: Outbox | None = None
        self._routes: Routes | None = None
        self._batches: _Batches | None = None
        self._hardware: bytes | None = None
        self._primary = 0
        self._networks: list[tuple[int, int]] = []
        # Where to, and from where, the kernel sends as it should without being told: until the next look.
        self._plain: set[tuple[int, int]] = set()
        self._listening = False

    def open(
        self,
        loop: asyncio.AbstractEventLoop,
        receiver: Receiver,
        routes: Routes,
        batches: _Batches,
        addresses: list[tuple[int, int]],
    ) -> None:
        """Open the sockets; all or none."""
        self._loop, self._receiver = loop, receiver
        index = socket.if_nametoindex(self.name)
        opened: list[socket.socket] = []
        what = f"UDP port {self._source_port} on {self.name}"
        try:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.append(udp)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.name.encode() + b"\0")
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            if self._transport.reuse_address:
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            enlarge_receive_buffer(udp)
            udp.bind(("0.0.0.0", self._source_port))
            what = f"a packet socket on {self.name}"
            packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: it receives nothing
            opened.append(packet)
            packet.bind((self.name, 0))
            for sock in opened:
                sock.setblocking(False)
        except OSError as error:
            for sock in opened:
                sock.close()
            raise explained(error, what, _TAKEN) from error
        self._udp = Outbox(loop, udp, self.name, self._errors)
        self._packet = Outbox(loop, packet, self.name, self._errors)
        self._routes, self._batches = routes, batches
        self._learn(index, addresses)
        self._listen()

    def _learn(self, index: int, addresses: list[tuple[int, int]]) -> None:
        """Take note of what the interface is now."""
        numbers = tuple(number for number, _ in addresses)
        if (numbers, index) != (self.interface.addresses, self.interface.index):
            self.interface = Interface(self.name, numbers, index)
        self._primary = numbers[0] if numbers else 0
        self._plain.clear()
        masks = [(number, BROADCAST_ADDRESS << 32 - prefix & BROADCAST_ADDRESS) for number, prefix in addresses]
        self._networks = [(number & mask, mask) for number, mask in masks]
        if self._packet is not None:
            *_, kind, hardware = self._packet.sock.getsockname()
            self._hardware = hardware if kind == ARPHRD_ETHER else None

    def _listen(self) -> None:
        if self._udp is not None and self._loop is not None and not self._listening:
            self._loop.add_reader(self._udp.sock, self._drain)
            self._listening = True

    def _stop_listening(self) -> None:
        if self._udp is not None and self._loop is not None and self._listening:
            self._loop.remove_reader(self._udp.sock)
            self._listening = False

    def close(self) -> None:
        """Close the sockets; ``open`` may follow."""
        self._stop_listening()
        for outbox in (self._udp, self._packet):
            if outbox is not None:
                outbox.close()
        self._forget()

    # Receiving

    def _drain(self) -> None:
        udp, receiver, batches, interface = self._udp, self._receiver, self._batches, self.interface
        if udp is None or receiver is None or batches is None:
            return
        try:
            received = batches.inbox.receive(udp.sock.fileno())
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            # Nothing but an error: no use in being woken for the next one at once.
            self._stop_listening()
            self._fail(error)
            return
        new, destination = tuple.__new__, _destination
        receiver.datagrams_received(
            [
                new(Datagram, (data, interface, address, port, destination(control), self))
                for data, address, port, control in received
            ]
        )

    def _fail(self, error: OSError) -> None:
        """Count an error, and report it unless it was the last one reported."""
        self.receive_errors += 1
        if self._fault != error.errno:
            self._fault = error.errno or 0
            if self._receiver is not None:
                self._receiver.error_received(error)

    def check(self, addresses: list[tuple[int, int]]) -> None:
        """Follow the interface: away, back, another one, down, up, other addresses. Never raises."""
        try:
            index = socket.if_nametoindex(self.name)
        except OSError:
            index = 0
        if index != self.interface.index or self._udp is None:
            self._replace(index, addresses)
            return
        self._learn(index, addresses)
        try:
            request = fcntl.ioctl(self._udp.sock, SIOCGIFFLAGS, self.name.encode().ljust(40, b"\0"))
            up = request[16] & IFF_UP
        except OSError:  # gone in this very moment: next time
            return
        if not up:
            if self._fault != errno.ENETDOWN:
                self._fail(OSError(errno.ENETDOWN, f"interface {self.name} is down"))
            return
        if self._fault:
            self._fault = 0
            self._errors.forget(self.name)
            logger.info("%s: works again", self.name)
        self._listen()

    def _replace(self, index: int, addresses: list[tuple[int, int]]) -> None:
        """The interface is not the one that the sockets belong to."""
        loop, receiver = self._loop, self._receiver
        routes, batches = self._transport._routes, self._transport._batches
        if loop is None or receiver is None or routes is None or batches is None:
            return
        self.close()
        try:
            if not index:
                raise OSError(errno.ENODEV, f"interface {self.name} is gone")
            self.open(loop, receiver, routes, batches, addresses)
        except OSError as error:
            self._learn(0, [])
            if self._fault != error.errno:
                self._fail(error)
            return
        self._fault = 0
        self._errors.forget(self.name)
        logger.info("%s: is another interface now, and served", self.name)

    # Sending

    def send(self, answers: Sequence[Answer]) -> None:
        """Send answers; what fails is counted."""
        if self._udp is None or self._packet is None or self._routes is None:
            for _ in answers:
                self._errors.note(self.name, OSError(errno.ENODEV, "the interface is gone, or the transport is closed"))
            return
        ports, own, plain = self._target_ports, self._hardware, self._plain
        frames: list[tuple[bytes, bytes, int, int, int]] = []
        datagrams: list[tuple[bytes, tuple[int, int]]] = []
        for answer in answers:
            data, _, destination, port, hardware, source = answer
            port = ports.get(port, port)
            if hardware is None:
                if (destination, source) in plain:
                    datagrams.append((data, (port, destination)))
                    continue
                self._put(datagrams, data, destination, port, source)
            elif own is not None and len(hardware) == 6:
                frames.append((data, hardware, source, destination, port))
            else:  # loopback, tun, InfiniBand
                self._put(datagrams, data, BROADCAST_ADDRESS, port, source)
        if frames:
            self._send_frames(frames, datagrams)
        if datagrams:
            self._send_datagrams(datagrams)

    def _put(
        self, datagrams: list[tuple[bytes, tuple[int, int]]], data: bytes, destination: int, port: int, source: int
    ) -> None:
        """Put a message to those that are sent together, or send it by itself if the kernel has to be told how."""
        udp, routes, primary = self._udp, self._routes, self._primary
        assert udp is not None
        assert routes is not None
        way = 0 if destination == BROADCAST_ADDRESS else self._way(destination, routes)
        # The kernel prefers the primary address for a broadcast, and for the rest the one of the destination's network.
        if not way and (
            not source or (source == primary and (destination == BROADCAST_ADDRESS or len(self._networks) == 1))
        ):
            datagrams.append((data, (port, destination)))
            if len(self._plain) < _PLAIN_KEPT:
                self._plain.add((destination, source))
        else:
            info = _PACKET_INFO.pack(way, (source or primary).to_bytes(4, "big"), _NO_ADDRESS)
            control = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
            udp.send(NONE, udp.sock.sendmsg, [data], control, 0, (dotted(destination), port))

    def _send_datagrams(self, datagrams: list[tuple[bytes, tuple[int, int]]]) -> None:
        udp, batches = self._udp, self._batches
        assert udp is not None
        assert batches is not None
        data, targets = zip(*datagrams, strict=True)

        def together(at: int) -> int:
            return batches.datagrams.send(udp.sock.fileno(), data[at:], targets[at:])

        def alone(at: int) -> None:
            port, address = targets[at]
            udp.send(NONE, udp.sock.sendto, data[at], (dotted(address), port))

        _send_all(udp, len(data), together, alone)

    def _send_frames(
        self, frames: list[tuple[bytes, bytes, int, int, int]], datagrams: list[tuple[bytes, tuple[int, int]]]
    ) -> None:
        """Send frames. What is too long for one is put to the datagrams."""
        packet, batches, own = self._packet, self._batches, self._hardware
        assert packet is not None
        assert batches is not None
        assert own is not None
        built = []
        for data, to, source, destination, port in frames:
            number = next(self._identification) & 0xFFFF
            source = source or self._primary
            built.append(build_frame(data, to, own, source, destination, self._source_port, port, number))

        def together(at: int) -> int:
            return batches.frames.send(packet.sock.fileno(), built[at:])

        def alone(at: int) -> None:
            if not packet.send(_TOO_LONG, packet.sock.send, built[at]):
                data, _, source, _, port = frames[at]
                self._put(datagrams, data, BROADCAST_ADDRESS, port, source)

        _send_all(packet, len(built), together, alone)

    def _way(self, destination: int, routes: Routes) -> int:
        """The number of the interface towards ``destination`` if it is another one; 0 for this one.

        A socket bound to a device takes everybody for a neighbour whom no route leads to by this device: the answer to
        a relay behind another interface would end in ARP here, if it were not sent with the right one's number.
        """
        for network, mask in self._networks:
            if destination & mask == network:
                return 0
        index = routes.interface_towards(destination)
        return 0 if index == self.interface.index else index
