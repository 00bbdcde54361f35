"""The transports as far as no privilege is needed: in memory, on the loopback interface, and their parts alone."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest

from aiodhcp.constants import BROADCAST_ADDRESS
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.transports import Transport
from aiodhcp.transports.ethernet import IP_PKTINFO, EthernetTransport
from aiodhcp.transports.memory import MemoryTransport
from aiodhcp.transports.relay import RelayTransport
from aiodhcp.transports.sockets import target
from aiodhcp.transports.udp import UdpTransport

LOCALHOST = 0x7F000001
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


class Inbox:
    """A receiver that keeps what it gets and, with ``reply``, answers it."""

    def __init__(self) -> None:
        self.batches: list[list[Datagram]] = []
        self.errors: list[Exception] = []
        self.reply: Callable[[Datagram], None] | None = None
        self._more = asyncio.Event()

    def datagrams_received(self, datagrams: Sequence[Datagram]) -> None:
        self.batches.append(list(datagrams))
        self._more.set()
        for datagram in datagrams if self.reply else ():
            assert self.reply is not None
            self.reply(datagram)

    def error_received(self, error: Exception) -> None:
        self.errors.append(error)

    @property
    def all(self) -> list[Datagram]:
        return [datagram for batch in self.batches for datagram in batch]

    async def wait(self, count: int = 1) -> list[Datagram]:
        async with asyncio.timeout(3):
            while len(self.all) < count:
                self._more.clear()
                await self._more.wait()
        return self.all


@asynccontextmanager
async def opened(transport: Transport) -> AsyncIterator[Inbox]:
    inbox = Inbox()
    await transport.open(inbox)
    try:
        yield inbox
    finally:
        await transport.close()
        await transport.close()


@contextmanager
def client(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        sock.setblocking(False)
        yield sock


async def received(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    async with asyncio.timeout(3):
        return await asyncio.get_running_loop().sock_recvfrom(sock, 5000)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def relayed(data: bytes = b"", *, giaddr: int = 0, ciaddr: int = 0) -> bytes:
    return bytes(12) + ciaddr.to_bytes(4, "big") + bytes(8) + giaddr.to_bytes(4, "big") + bytes(212) + data


# In memory


async def test_memory_delivers_within_the_call() -> None:
    transport = MemoryTransport(["192.0.2.1", 0xC6336401], name="lab")
    async with opened(transport) as inbox:
        transport.deliver(b"one")
        transport.deliver(b"two", source=1, source_port=67, destination=2)
        transport.deliver_many([b"three", inbox.all[0]])
    (interface,) = transport.interfaces
    assert (interface.name, interface.addresses) == ("lab", (0xC0000201, 0xC6336401))
    assert inbox.batches == [
        [Datagram(b"one", interface, 0, 68, BROADCAST_ADDRESS)],
        [Datagram(b"two", interface, 1, 67, 2)],
        [Datagram(b"three", interface, 0, 68, BROADCAST_ADDRESS), inbox.batches[0][0]],
    ]


async def test_memory_has_several_interfaces() -> None:
    inside, outside = Interface("inside", (1,)), Interface("outside", (2,))
    transport = MemoryTransport(interfaces=[inside, outside])
    async with opened(transport) as inbox:
        transport.deliver(b"a")
        transport.deliver(b"b", interface=outside)
    assert [datagram.interface for datagram in inbox.all] == [inside, outside]


async def test_memory_collects_answers() -> None:
    transport = MemoryTransport()
    async with opened(transport):
        request = Datagram(b"", transport.interfaces[0])
        answers = [Answer(bytes([number]), request, 0, 68) for number in range(3)]
        transport.send(answers[:2])
        asyncio.get_running_loop().call_later(0.01, transport.send, answers[2:])
        assert [await transport.next_answer() for _ in range(3)] == answers
        with pytest.raises(TimeoutError, match=r"no answer within 0.01 s; 3 before it"):
            await transport.next_answer(timeout=0.01)
        transport.sent.clear()
        transport.send(answers[:1])
        assert await transport.next_answer() is answers[0]
    transport.send(answers)
    assert (len(transport.sent), transport.send_errors) == (1, 3)


async def test_memory_is_open_or_closed() -> None:
    transport = MemoryTransport()
    with pytest.raises(RuntimeError, match="not open"):
        transport.deliver(b"")
    async with opened(transport) as inbox:
        transport.deliver_error(OSError("down"))
        with pytest.raises(RuntimeError, match="open already"):
            await transport.open(inbox)
    assert [str(error) for error in inbox.errors] == ["down"]
    with pytest.raises(RuntimeError, match="not open"):
        transport.deliver(b"")
    async with opened(transport) as inbox:
        transport.deliver(b"again")
    assert len(inbox.all) == 1


# UDP


class NoReaders(asyncio.SelectorEventLoop):
    """Like Windows' proactor loop, which can't watch a socket for its user."""

    def add_reader(self, *_: object) -> None:
        raise NotImplementedError


@pytest.fixture(params=[asyncio.SelectorEventLoop, NoReaders], ids=["reader", "endpoint"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run a coroutine on a loop that can, or can't, watch sockets."""

    def run(main: Callable[[], object]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())  # type: ignore[arg-type]

    return run


def test_udp_answers_where_the_request_came_from(run: Callable[..., None]) -> None:
    async def main() -> None:
        transport = UdpTransport(port=0)
        async with opened(transport) as inbox:
            assert transport.port > 0
            inbox.reply = lambda it: transport.send([Answer(it.data[::-1], it, BROADCAST_ADDRESS, 68, b"\2" * 6)])
            with client() as sock:
                sock.sendto(b"request", ("127.0.0.1", transport.port))
                assert await received(sock) == (b"tseuqer", ("127.0.0.1", transport.port))
                (datagram,) = inbox.all
                assert datagram[:5] == (
                    *(b"request", transport.interfaces[0]),
                    *(LOCALHOST, sock.getsockname()[1], LOCALHOST),
                )
        assert (transport.interfaces[0].name, transport.interfaces[0].addresses) == ("udp", (LOCALHOST,))
        assert (transport.send_errors, transport.receive_errors, inbox.errors) == (0, 0, [])

    run(main)


def test_udp_receives_a_burst_and_long_messages(run: Callable[..., None]) -> None:
    async def main() -> None:
        transport = UdpTransport(port=0)
        async with opened(transport) as inbox:
            with client() as sock:
                for number in range(150):
                    sock.sendto(number.to_bytes(2, "big"), ("127.0.0.1", transport.port))
                sock.sendto(bytes(4096), ("127.0.0.1", transport.port))
                sock.sendto(bytes(4200), ("127.0.0.1", transport.port))
                await inbox.wait(152)
        *numbers, longest, too_long = (datagram.data for datagram in inbox.all)
        assert [int.from_bytes(data, "big") for data in numbers] == list(range(150))
        assert len(longest) == 4096
        assert len(too_long) > 4096  # so that the decoder sees it

    run(main)


async def test_udp_drains_64_a_time() -> None:
    transport = UdpTransport(port=0)
    async with opened(transport) as inbox:
        with client() as sock:
            for _ in range(100):
                sock.sendto(b"x", ("127.0.0.1", transport.port))
            await inbox.wait(100)
    assert [len(batch) for batch in inbox.batches] == [64, 36]


def test_udp_port_is_free_after_close(run: Callable[..., None]) -> None:
    async def main() -> None:
        transport = UdpTransport(port=0)
        for _ in range(2):
            async with opened(transport) as inbox:
                with pytest.raises(RuntimeError, match="open already"):
                    await transport.open(inbox)
        transport.send([Answer(b"", Datagram(b"", Interface("udp")), 0, 68)])
        assert transport.send_errors == 1

    run(main)


async def test_udp_port_taken() -> None:
    async with opened(first := UdpTransport(port=0)):
        second = UdpTransport(port=first.port)
        with pytest.raises(OSError, match=rf"UDP port {first.port} of 127\.0\.0\.1: it is taken") as caught:
            await second.open(Inbox())
        assert caught.value.errno == errno.EADDRINUSE
        assert list(second.interfaces) == []


@pytest.mark.parametrize("host", ["no-such-host.invalid", "2001:db8::1"])
async def test_udp_host_is_no_address(host: str) -> None:
    with pytest.raises(ConfigError, match="expected an IPv4 address"):
        await UdpTransport(host, 0).open(Inbox())


async def test_udp_host_of_another_machine() -> None:
    with pytest.raises(OSError, match="no such IPv4 address"):
        await UdpTransport("192.0.2.1", 0).open(Inbox())


async def test_udp_on_all_addresses() -> None:
    async with opened(transport := UdpTransport("0.0.0.0", 0)) as inbox:
        with client() as sock:
            sock.sendto(b"x", ("127.0.0.1", transport.port))
            (datagram,) = await inbox.wait()
    assert LOCALHOST in datagram.interface.addresses
    assert datagram.destination == 0  # unknown, not guessed


async def test_udp_addresses_are_given() -> None:
    async with opened(transport := UdpTransport(port=0, addresses=["192.0.2.1", 5])):
        assert transport.interfaces[0].addresses == (0xC0000201, 5)


@pytest.mark.parametrize(
    ("port", "source", "destination", "hardware", "where"),
    [
        (67, 0xC0000207, 0xC0000209, None, ("192.0.2.9", 68)),
        (67, 0, 0xC0000209, b"\2" * 6, ("255.255.255.255", 68)),  # ARP would find nobody
        (67, 0, BROADCAST_ADDRESS, None, ("255.255.255.255", 68)),
        (6767, 0xC0000207, 0xC0000209, b"\2" * 6, ("192.0.2.7", 1234)),
        (6767, 0, 0xC0000209, b"\2" * 6, ("255.255.255.255", 1234)),
    ],
)
def test_udp_target(port: int, source: int, destination: int, hardware: bytes | None, where: tuple[str, int]) -> None:
    request = Datagram(b"", Interface("udp"), source, 1234)
    assert target(Answer(b"", request, destination, 68, hardware), port) == where


# Relay agents over aioudp


@pytest.fixture
def relay() -> RelayTransport:
    pytest.importorskip("aioudp")
    return RelayTransport("127.0.0.1", free_port())


async def test_relay_answers_over_the_same_connection(relay: RelayTransport) -> None:
    async with opened(relay) as inbox:
        inbox.reply = lambda it: relay.send([Answer(it.data[240:], it, 0x0A000001, 67)])
        with client() as one, client() as other:
            for round_ in (b"1", b"2"):
                for sock, name in ((one, b"one"), (other, b"other")):
                    sock.sendto(relayed(name + round_, giaddr=0x0A000001), ("127.0.0.1", relay.port))
                    assert await received(sock) == (name + round_, ("127.0.0.1", relay.port))
            ports = [sock.getsockname()[1] for sock in (one, other)]
        assert [datagram[2:5] for datagram in inbox.all[:2]] == [(LOCALHOST, port, LOCALHOST) for port in ports]
        assert {datagram.interface for datagram in inbox.all} == set(relay.interfaces)
    assert (relay.send_errors, relay.not_relayed) == (0, 0)


async def test_relay_ignores_who_has_neither_relay_nor_address(
    relay: RelayTransport, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(relay) as inbox:
        with client() as sock:
            for data in (relayed(b"local"), relayed(b"local"), relayed(b"renewal", ciaddr=0x0A000007), b"short"):
                sock.sendto(data, ("127.0.0.1", relay.port))
            await inbox.wait(2)
    assert [datagram.data[240:] or datagram.data for datagram in inbox.all] == [b"renewal", b"short"]
    assert relay.not_relayed == 2
    assert [record.getMessage() for record in caplog.records if record.name == "aiodhcp.transports.relay"] == [
        f"port {relay.port}: ignored a message that no relay agent sent, from 127.0.0.1 "
        "(told once, counted in not_relayed)"
    ]


async def test_relay_forgets_the_longest_silent(relay: RelayTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiodhcp.transports.relay.CONNECTIONS_LIMIT", 2)
    async with opened(relay) as inbox:
        inbox.reply = lambda it: relay.send([Answer(it.data[240:], it, 0, 67)])
        with client() as a, client() as b, client() as c:
            for number, sock in enumerate([a, b, a, c, a, b, c]):
                sock.sendto(relayed(bytes([number]), giaddr=1), ("127.0.0.1", relay.port))
                assert (await received(sock))[0] == bytes([number])
            assert len(relay._receiving) == 2
    assert inbox.all[0].via is inbox.all[4].via  # "a" was heard after "b", so "c" took the place of "b"
    assert inbox.all[1].via is not inbox.all[5].via


async def test_relay_sends_before_it_closes(relay: RelayTransport) -> None:
    with client() as sock:
        async with opened(relay) as inbox:
            sock.sendto(relayed(giaddr=1), ("127.0.0.1", relay.port))
            (request,) = await inbox.wait()
            relay.send([Answer(b"last words", request, 0, 67)])
        assert (await received(sock))[0] == b"last words"


async def test_relay_port_taken(relay: RelayTransport) -> None:
    async with opened(relay) as inbox:
        with pytest.raises(OSError, match=r"it is taken") as caught:
            await RelayTransport("127.0.0.1", relay.port).open(Inbox())
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(RuntimeError, match="open already"):
            await relay.open(inbox)
    relay.send([Answer(b"", Datagram(b"", Interface("relay")), 0, 67)])
    assert relay.send_errors == 1
    async with opened(relay):  # the port is free again
        relay.send([Answer(b"x", Datagram(b"", Interface("relay")), 0, 67)])  # of another transport
    assert relay.send_errors == 2


def test_relay_wants_an_address_and_a_port() -> None:
    with pytest.raises(ConfigError, match="expected an IPv4 address"):
        RelayTransport("localhost")
    with pytest.raises(ConfigError, match="expected a number from 1"):
        RelayTransport("127.0.0.1", 0)


async def test_relay_without_aioudp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioudp", None)
    with pytest.raises(ConfigError, match=r"pip install 'aiodhcp\[aioudp\]'"):
        await RelayTransport("127.0.0.1").open(Inbox())


def test_importing_the_transports_imports_neither_aioudp_nor_ifaddr() -> None:
    code = (
        "import sys, aiodhcp.transports.ethernet, aiodhcp.transports.udp, aiodhcp.transports.relay\n"
        "sys.exit(bool({'aioudp', 'ifaddr'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


# Linux interfaces: what needs no privilege


@linux
async def test_ethernet_names_the_interfaces_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no interface 'eth99'; there are: .*\blo\b"):
        await EthernetTransport(["lo", "eth99"]).open(Inbox())


@pytest.mark.parametrize("names", [[], "eth0", ["eth0", "eth1", "eth0"]])
def test_ethernet_wants_names(names: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match="interfaces: "):
        EthernetTransport(names)


@linux
async def test_ethernet_sends_nothing_when_closed(caplog: pytest.LogCaptureFixture) -> None:
    transport = EthernetTransport(["eth0"])
    transport.send([Answer(b"", Datagram(b"", Interface("eth0")), 0, 68)] * 3)
    assert transport.send_errors == 3
    assert len(caplog.records) == 1
    await transport.close()


@linux
def test_destination() -> None:
    from aiodhcp.transports.ethernet import _destination

    def control(local: bytes, header: bytes) -> bytes:
        info = b"\1\0\0\0" + local + header
        return struct.pack("@Nii", socket.CMSG_LEN(len(info)), socket.IPPROTO_IP, IP_PKTINFO) + info

    host, all_hosts, net = (socket.inet_aton(it) for it in ("192.0.2.1", "255.255.255.255", "192.0.2.255"))
    assert _destination(control(host, host)) == 0xC0000201
    assert _destination(control(host, all_hosts)) == BROADCAST_ADDRESS
    assert _destination(control(host, net)) == BROADCAST_ADDRESS
    assert _destination(b"") == 0
