"""The two ways in which the client reaches a server: by frames on an interface, or as a relay agent to an address.

A link knows sockets and where a message goes; what the messages mean is the client's business.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import socket
import struct
import sys
from ipaddress import IPv4Address
from types import TracebackType
from typing import Final, Self

import dpkt

from aiodhcp.client_transaction import Peer, ProbeError
from aiodhcp.constants import (
    BOOTP_MINIMUM_LENGTH,
    BROADCAST_ADDRESS,
    BROADCAST_FLAG,
    CLIENT_PORT,
    SERVER_PORT,
    MessageType,
)
from aiodhcp.packet import Packet
from aiodhcp.transports.frame import build_frame
from aiodhcp.transports.sockets import RECEIVE_SIZE, explained

__all__ = ["InterfaceLink", "RelayLink"]

ETHERNET_HEADER: Final = 14
ARPHRD_ETHER: Final = 1
ETH_P_IP: Final = 0x0800
ETH_P_ARP: Final = 0x0806
SO_ATTACH_FILTER: Final = 26
"""Linux, socket(7): a classic BPF program decides what a socket receives."""
IP_RECVERR: Final = 11
"""Linux, ip(7): a socket that is not connected is told of ICMP errors, too."""
FOR_US: Final = (0, 1)
"""Linux, packet(7): PACKET_HOST and PACKET_BROADCAST, and not what another station or VLAN is sent."""

_EVERYBODY: Final = b"\xff" * 6
_NOBODY: Final = b"\0" * 6
_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter
_ARP: Final = struct.Struct("!6s6sH8s6s4s6s4s")
_ARP_REQUEST: Final = bytes.fromhex("0001080006040001")
_ARP_REPLY: Final = bytes.fromhex("0001080006040002")


class InterfaceLink:
    """A client on a Linux network interface, as one that has no address: it sends and receives whole frames.

    The interface needs no IPv4 address, and what it has isn't touched. A packet socket hears what comes in by the
    cable: a server on the same machine and interface is not heard, nor does it hear; use ``RelayLink`` for that.

    With a foreign ``hardware_address`` the client pretends in ``chaddr`` only: frames keep the interface's own address
    as their source, so that no switch is misled, and the broadcast flag asks for answers that can be heard. While
    the latest message says that the client has an address, the link answers ARP for it: servers unicast to it.

    Args:
        interface: its name.
        hardware_address: the client's, as 6 octets or ``"02:00:00:00:00:01"``; by default the interface's own.
        port: where servers listen.
        client_port: where the client listens.

    Raises:
        ProbeError: an argument is no Ethernet address, or no port.
    """

    def __init__(
        self,
        interface: str,
        *,
        hardware_address: bytes | str | None = None,
        port: int = SERVER_PORT,
        client_port: int = CLIENT_PORT,
    ) -> None:
        self.interface = interface
        self.port = _port(port)
        self.client_port = _port(client_port)
        self.trouble = ""
        self._chaddr = None if hardware_address is None else _ethernet_address(hardware_address)
        self._own = b""
        self._socket: socket.socket | None = None
        self._arp: socket.socket | None = None
        self._ciaddr = 0
        self._stations: dict[int, bytes] = {}

    @property
    def hardware_address(self) -> bytes:
        """What the client says is its address; empty before ``open`` where the interface's own is meant."""
        return self._own if self._chaddr is None else self._chaddr

    @property
    def where(self) -> str:
        """For messages: where requests went."""
        return f"on {self.interface}"

    @property
    def is_open(self) -> bool:
        """Whether it can send and receive."""
        return self._socket is not None

    async def open(self) -> None:
        """Open the packet socket.

        Raises:
            ProbeError: no such interface, not Ethernet, not Linux, or a privilege is missing.
        """
        if self.is_open:
            raise RuntimeError("this link is open already")
        sock = self._packet_socket(ETH_P_IP, _filter(self.client_port))
        *_, kind, own = sock.getsockname()
        if kind != ARPHRD_ETHER:
            sock.close()
            raise ProbeError(f"{self.interface} is not an Ethernet interface: name a server's address instead")
        self._own = bytes(own)
        self._socket = sock
        self.trouble = ""

    def stamp(self, packet: Packet) -> None:
        """Set what depends on the link: the broadcast flag, where unicast would not arrive."""
        if self.hardware_address != self._own:
            packet.flags |= BROADCAST_FLAG

    async def send(self, packet: Packet, server: IPv4Address | None = None) -> Peer:
        """Broadcast a message, or send it to ``server`` if that was heard before.

        Raises:
            ProbeError: the interface is down or gone.
        """
        sock = self._socket
        if sock is None:
            raise RuntimeError("this link is not open")
        self.claim(IPv4Address(0 if packet.message_type == MessageType.RELEASE else packet.ciaddr))
        hardware = _EVERYBODY if server is None else self._stations.get(int(server), _EVERYBODY)
        destination = BROADCAST_ADDRESS if server is None or hardware == _EVERYBODY else int(server)
        frame = build_frame(
            _octets(packet), hardware, self._own, packet.ciaddr, destination, self.client_port, self.port
        )
        try:
            await asyncio.get_running_loop().sock_sendall(sock, frame)
        except OSError as error:
            raise ProbeError(f"can't send on {self.interface}: {error.strerror}") from error
        return Peer(IPv4Address(destination), self.port, hardware)

    def claim(self, address: IPv4Address) -> None:
        """The client has an address, for which the link answers ARP from now on; 0.0.0.0 for none."""
        self._ciaddr = int(address)
        if self._ciaddr and self._arp is None:
            self._arp = self._packet_socket(ETH_P_ARP)
            asyncio.get_running_loop().add_reader(self._arp, self._answer_arp, self._arp)

    async def receive(self) -> tuple[bytes, Peer] | None:
        """The next message to a client and where it is from; None for what turns out to be none."""
        if self._socket is None:
            raise RuntimeError("this link is not open")
        try:
            frame, (_, _, kind, *_) = await asyncio.get_running_loop().sock_recvfrom(self._socket, RECEIVE_SIZE + 128)
        except OSError as error:  # the interface went down: it may come back
            await self._wait_out(error)
            return None
        if kind not in FOR_US:
            return None
        try:
            packet = dpkt.ip.IP(frame[ETHERNET_HEADER:])
        except dpkt.UnpackError:
            return None
        udp = packet.data
        if not isinstance(udp, dpkt.udp.UDP) or udp.ulen < 8:
            return None
        source, hardware = int.from_bytes(packet.src, "big"), frame[6:12]
        self._stations[source] = hardware
        return udp.data[: udp.ulen - 8], Peer(IPv4Address(source), udp.sport, hardware)

    async def close(self) -> None:
        """Close the sockets. May be called twice."""
        if self._arp is not None:
            asyncio.get_running_loop().remove_reader(self._arp)
            self._arp.close()
            self._arp = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._ciaddr = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _wait_out(self, error: OSError) -> None:
        self.trouble = f"{self.interface}: {error.strerror}"
        await asyncio.sleep(0.05)

    def _packet_socket(self, protocol: int, program: bytes = b"") -> socket.socket:
        """A socket that receives and sends frames of ``protocol``, those that ``program`` lets pass."""
        if sys.platform != "linux":
            raise ProbeError("a client on an interface needs Linux: name a server's address instead")
        sock = None
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: it receives nothing yet
            sock.setblocking(False)
            if program:
                octets = ctypes.create_string_buffer(program, len(program))
                count = len(program) // _INSTRUCTION.size
                pointer = struct.pack("@HP", count, ctypes.addressof(octets))  # struct sock_fprog
                sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
            sock.bind((self.interface, protocol))
        except OSError as error:
            if sock is not None:
                sock.close()
            if error.errno == errno.ENODEV:
                names = ", ".join(name for _, name in socket.if_nameindex())
                raise ProbeError(f"no interface {self.interface!r}; there are: {names}") from error
            raise ProbeError(f"{explained(error, f'a packet socket on {self.interface}').strerror}") from error
        return sock

    def _answer_arp(self, sock: socket.socket) -> None:
        """Somebody asks who has an address (RFC 826): if it is the client's, tell them."""
        try:
            frame = sock.recv(128)
            if len(frame) < _ARP.size:
                return
            _, _, _, head, hardware, address, _, wanted = _ARP.unpack_from(frame)
            own = self._ciaddr.to_bytes(4, "big")
            if self._ciaddr and head == _ARP_REQUEST and wanted == own:
                sock.send(_ARP.pack(hardware, self._own, ETH_P_ARP, _ARP_REPLY, self._own, own, hardware, address))
        except OSError:  # as the interface, so this: whoever asked will ask again
            return


class RelayLink:
    """A client behind a relay agent, which is what this link pretends to be: unicast from one UDP socket.

    A server answers a relay agent at port 67 of ``giaddr``: there the link listens, if ``port`` is 67, and that needs a
    privilege and that nobody else has the port. A server on another port is taken to answer to where the request came
    from, as ``UdpTransport`` does; then the link needs no privilege, and ``giaddr`` may be any address.

    Args:
        server: its address or name.
        port: where it listens.
        giaddr: the relay agent's address, by which the server chooses a subnet; by default the local address from
            which ``server`` is reached.
        local_port: where to listen; by default 67, or any free one if ``port`` is not 67.
        hardware_address: the client's, as 6 octets or ``"02:00:00:00:00:01"``; by default one that is made from the
            name of this machine and always the same.

    Raises:
        ProbeError: an argument is no address, or no port.
    """

    def __init__(
        self,
        server: str = "127.0.0.1",
        port: int = SERVER_PORT,
        *,
        giaddr: IPv4Address | str | None = None,
        local_port: int | None = None,
        hardware_address: bytes | str | None = None,
    ) -> None:
        self.server = server
        self.port = _port(port)
        try:
            self.giaddr = None if giaddr is None else IPv4Address(giaddr)
        except ValueError as error:
            raise ProbeError(f"giaddr: expected an IPv4 address, got {giaddr!r}") from error
        self.local_port = (SERVER_PORT if port == SERVER_PORT else 0) if local_port is None else _port(local_port)
        self.trouble = ""
        self._chaddr = _made_address() if hardware_address is None else _ethernet_address(hardware_address)
        self._socket: socket.socket | None = None
        self._peer = ("", 0)

    @property
    def hardware_address(self) -> bytes:
        """What the client says is its address."""
        return self._chaddr

    @property
    def where(self) -> str:
        """For messages: where requests went."""
        return f"to {self.server}:{self.port} as relay agent {self.giaddr}"

    @property
    def is_open(self) -> bool:
        """Whether it can send and receive."""
        return self._socket is not None

    async def open(self) -> None:
        """Find the server's address and the way to it, and open the socket.

        Raises:
            ProbeError: the server's name is not known, there is no way to it, the port is taken or needs a privilege.
        """
        if self.is_open:
            raise RuntimeError("this link is open already")
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.server, self.port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise ProbeError(f"no IPv4 address of {self.server!r} is known: {error}") from error
        self._peer = (str(found[0][4][0]), self.port)
        what = f"the way to {self._peer[0]}"
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if self.giaddr is None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scout:
                    scout.connect(self._peer)  # sends nothing
                    self.giaddr = IPv4Address(scout.getsockname()[0])
            sock.setblocking(False)
            if sys.platform == "linux":
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            host = str(self.giaddr) if self.port == SERVER_PORT else "0.0.0.0"
            what = f"UDP port {self.local_port} of {host}"
            sock.bind((host, self.local_port))
        except OSError as error:
            sock.close()
            taken = "a DHCP server or relay runs on this machine; ask from another one, or on an interface"
            raise ProbeError(f"{explained(error, what, taken).strerror}") from error
        self._socket = sock
        self.trouble = ""

    def stamp(self, packet: Packet) -> None:
        """Set what a relay agent sets (RFC 1542 §4.1.1)."""
        packet.giaddr = int(self.giaddr or 0)
        packet.hops = 1

    async def send(self, packet: Packet, server: IPv4Address | None = None) -> Peer:
        """Send a message to the server of this link, whichever ``server`` it is meant for.

        Raises:
            ProbeError: there is no way to it.
        """
        sock = self._socket
        if sock is None:
            raise RuntimeError("this link is not open")
        loop = asyncio.get_running_loop()
        try:
            try:
                await loop.sock_sendto(sock, _octets(packet), self._peer)
            except ConnectionError as error:  # what became of the message before this one
                self._note(error)
                await loop.sock_sendto(sock, _octets(packet), self._peer)
        except OSError as error:
            raise ProbeError(f"can't send to {self._peer[0]}: {error.strerror}") from error
        return Peer(IPv4Address(self._peer[0]), self.port)

    def claim(self, address: IPv4Address) -> None:
        """A relay agent is sent to at an address of its own: nothing to do."""

    async def receive(self) -> tuple[bytes, Peer] | None:
        """The next datagram and where it is from; None for an error that the network reported."""
        if self._socket is None:
            raise RuntimeError("this link is not open")
        try:
            data, (address, port) = await asyncio.get_running_loop().sock_recvfrom(self._socket, RECEIVE_SIZE)
        except OSError as error:
            self._note(error)
            await asyncio.sleep(0.05)
            return None
        return data, Peer(IPv4Address(address), port)

    async def close(self) -> None:
        """Close the socket. May be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _note(self, error: OSError) -> None:
        """Remember an error, and take its details from the socket, which is readable as long as it has them."""
        refused = "nobody listens there" if isinstance(error, ConnectionError) else error.strerror
        self.trouble = f"{self._peer[0]}:{self.port}: {refused}"
        while self._socket is not None and sys.platform == "linux":
            try:
                self._socket.recvmsg(1, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return


def _octets(packet: Packet) -> bytes:
    """On the wire, with at least the 300 octets of a BOOTP message (RFC 951), which some servers and relays demand."""
    return packet.encode().ljust(BOOTP_MINIMUM_LENGTH, b"\0")


def _ethernet_address(value: bytes | str) -> bytes:
    try:
        octets = bytes.fromhex(value.replace(":", " ").replace("-", " ")) if isinstance(value, str) else bytes(value)
    except ValueError:
        octets = b""
    if len(octets) != 6:
        raise ProbeError(f"hardware_address: expected one like '02:00:00:00:00:01', got {value!r}")
    return octets


def _port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise ProbeError(f"expected a port, 1 to 65535, got {port}")
    return port


def _made_address() -> bytes:
    """A locally administered address, the same for each run on this machine."""
    return b"\2" + hashlib.sha256(socket.gethostname().encode()).digest()[:5]


def _filter(port: int) -> bytes:
    """A classic BPF program for Ethernet frames: IPv4, UDP, not a fragment, to ``port``."""
    program = [
        (0x30, 0, 0, ETHERNET_HEADER + 9),  # load the protocol
        (0x15, 0, 6, socket.IPPROTO_UDP),  # not UDP: refuse
        (0x28, 0, 0, ETHERNET_HEADER + 6),  # load flags and fragment offset
        (0x45, 4, 0, 0x3FFF),  # a fragment, the first one or another: refuse
        (0xB1, 0, 0, ETHERNET_HEADER),  # X: octets of the IPv4 header
        (0x48, 0, 0, ETHERNET_HEADER + 2),  # load the port
        (0x15, 0, 1, port),
        (0x06, 0, 0, 0x40000),  # take it whole
        (0x06, 0, 0, 0),  # refuse
    ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
