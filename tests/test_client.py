"""The client: against real servers on the loopback interface, and against servers that misbehave.

What it does on an interface takes network namespaces: see ``tests/integration/test_client.py``.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from aiodhcp import Config, DhcpServer, LeaseState, MemoryStore, Packet, Parameters, Subnet, UdpTransport
from aiodhcp.client import (
    Event,
    InterfaceLink,
    ObtainedLease,
    Peer,
    ProbeError,
    RelayLink,
    decline,
    inform,
    message_name,
    obtain,
    release,
    renew,
    renew_when_told,
)
from aiodhcp.client_transaction import Transaction
from aiodhcp.constants import INFINITE, MessageType
from aiodhcp.leases import Lease
from aiodhcp.nonces import forcerenew

NETWORK = "127.0.0.0/8"
POOL = "127.0.0.100-127.0.0.199"
ROUTER = IPv4Address("127.0.0.1")
MAC = "02:00:00:00:00:07"
QUICK: dict[str, Any] = {"timeout": 0.05, "retries": 1}
"""For conversations that are to fail."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@asynccontextmanager
async def serving(
    *, store: MemoryStore | None = None, config: Config | None = None
) -> AsyncIterator[tuple[DhcpServer, RelayLink]]:
    """A server of ours on a free port of 127.0.0.1, and a link to it."""
    if config is None:
        config = Config([Subnet(NETWORK, [POOL], parameters=Parameters({"routers": ROUTER}, lease_time=3600))])
    transport = UdpTransport("127.0.0.1", 0)
    async with DhcpServer(config, store=store or MemoryStore(), transport=transport) as server:
        link = RelayLink("127.0.0.1", transport.port, hardware_address=MAC)
        async with link:
            yield server, link


class Scripted(asyncio.DatagramProtocol):
    """A server that says what ``answer`` returns: messages, or octets that are none."""

    def __init__(self, answer: Callable[[Packet], Iterable[bytes | Packet]]) -> None:
        self.answer = answer
        self.heard: list[Packet] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = Packet(data)
        self.heard.append(request)
        self.peer = addr
        for each in self.answer(request):
            self.transport.sendto(bytes(each), addr)


@asynccontextmanager
async def scripted(
    answer: Callable[[Packet], Iterable[bytes | Packet]],
) -> AsyncIterator[tuple[Scripted, RelayLink]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Scripted(answer), local_addr=("127.0.0.1", 0))
    try:
        async with RelayLink("127.0.0.1", transport.get_extra_info("sockname")[1], hardware_address=MAC) as link:
            yield server, link
    finally:
        transport.close()
        await asyncio.sleep(0)


def reply(request: Packet, kind: str, /, **options: Any) -> Packet:
    """An answer as it should be; ``options`` add to it, and what is None is left out."""
    said = {"message-type": kind, "server-identifier": "192.0.2.1", "lease-time": 600}
    said |= {name.replace("_", "-"): value for name, value in options.items()}
    return Packet(
        op=2,
        xid=request.xid,
        chaddr=request.chaddr,
        giaddr=request.giaddr,
        yiaddr=int(IPv4Address("192.0.2.10")),
        options={name: value for name, value in said.items() if value is not None},
    )


def properly(request: Packet) -> list[Packet]:
    return [reply(request, "offer" if request.message_type == MessageType.DISCOVER else "ack")]


def lease_of(**said: Any) -> ObtainedLease:
    """A lease that nobody granted."""
    request = Packet(options={"message-type": "request"})
    values: dict[str, Any] = {
        "address": IPv4Address("192.0.2.10"),
        "server": IPv4Address("192.0.2.1"),
        "lease_time": 600,
        "renewal_time": 300,
        "rebinding_time": 525,
        "options": request.options,
        "offer": request,
        "ack": request,
        "request": request,
        "offers": (),
        "offer_seconds": 0.0,
        "ack_seconds": 0.0,
        "ignored": 0,
    }
    return ObtainedLease(**(values | said))


# ── a life of a lease, with a real server ──


async def test_obtain() -> None:
    events: list[Event] = []
    async with serving() as (server, link):
        lease = await obtain(link, hostname="probe", on_event=events.append)

        assert lease.address == IPv4Address("127.0.0.100")
        assert lease.server == IPv4Address("127.0.0.1")
        assert (lease.lease_time, lease.renewal_time, lease.rebinding_time) == (3600, 1800, 3150)
        assert lease.options["routers"] == [ROUTER]
        assert lease.options["subnet-mask"] == IPv4Address("255.0.0.0")
        assert lease.offer.message_type == MessageType.OFFER
        assert lease.ack.message_type == MessageType.ACK
        assert [event.packet for event in lease.offers] == [lease.offer]
        assert 0 < lease.offer_seconds < 5
        assert 0 < lease.ack_seconds < 5
        assert lease.ignored == 0

        known = server.leases.get(int(lease.address))
        assert known is not None
        assert (known.hostname, known.chaddr.hex(":")) == ("probe", MAC)

    peer = Peer(IPv4Address("127.0.0.1"), link.port)
    assert [(event.direction, message_name(event.packet), event.peer) for event in events] == [
        ("sent", "DISCOVER", peer),
        ("received", "OFFER", peer),
        ("sent", "REQUEST", peer),
        ("received", "ACK", peer),
    ]
    assert str(peer) == f"127.0.0.1:{link.port}"
    seconds = [event.seconds for event in events]
    assert seconds == sorted(seconds)
    assert len({event.packet.xid for event in events}) == 1


async def test_what_is_sent() -> None:
    async with scripted(properly) as (server, link):
        await obtain(
            link,
            client_id="01:02:03",
            hostname="probe",
            requested="192.0.2.77",
            parameters=["routers", 6, "option-224"],
            vendor_class="lab",
            options={"user-class": [b"test"], "lease-time": 60, 12: "another", 57: None, 53: 8},
        )
    discover, request = server.heard
    assert discover.raw[:4] == b"\1\1\6\1", "a BOOTREQUEST by Ethernet, one hop away"
    assert len(discover.raw) >= 300
    assert (discover.giaddr, discover.flags, discover.ciaddr) == (0x7F000001, 0, 0)
    assert discover.chaddr.hex(":") == MAC
    assert list(discover.options) == [53, 61, 50, 12, 60, 55, 77, 51]
    assert discover.options.names() == {
        "message-type": MessageType.DISCOVER,
        "client-identifier": b"\1\2\3",
        "requested-address": IPv4Address("192.0.2.77"),
        "host-name": "another",
        "vendor-class-identifier": "lab",
        "parameter-request-list": [3, 6, 224],
        "user-class": [b"test"],
        "lease-time": 60,
    }
    assert request.options.names() == discover.options.names() | {
        "message-type": MessageType.REQUEST,
        "requested-address": IPv4Address("192.0.2.10"),
        "server-identifier": IPv4Address("192.0.2.1"),
    }
    assert (request.xid, request.secs, request.giaddr) == (discover.xid, discover.secs, discover.giaddr)


async def test_little_is_sent_by_default() -> None:
    async with scripted(properly) as (server, link):
        await obtain(link, parameters=())
        assert list(server.heard[0].options) == [53, 57]


async def test_the_wish_for_an_address() -> None:
    async with serving() as (_, link):
        lease = await obtain(link, requested=IPv4Address("127.0.0.150"))
        assert lease.address == IPv4Address("127.0.0.150")


async def test_renew_and_rebind() -> None:
    events: list[Event] = []
    async with serving() as (_, link):
        lease = await obtain(link, client_id=b"\0probe", hostname="probe")
        for rebind in (False, True):
            renewed = await renew(link, lease, rebind=rebind, on_event=events.append)
            assert renewed.address == lease.address
            assert renewed.offer is lease.offer
            assert renewed.ack is not lease.ack
            request = renewed.request
            assert request.ciaddr == int(lease.address)
            assert [code for code in request.options if code in (50, 54)] == []
            assert request.options["host-name"] == "probe"
            assert request.options["client-identifier"] == b"\0probe"
            assert request.xid != lease.request.xid
    assert [message_name(event.packet) for event in events] == ["REQUEST", "ACK"] * 2


async def test_renew_refused() -> None:
    async with serving() as (_, link):
        lease = replace(await obtain(link), address=IPv4Address("10.0.0.1"))
        with pytest.raises(ProbeError, match=r"server 127\.0\.0\.1 refused 10\.0\.0\.1: wrong network") as raised:
            await renew(link, lease)
    assert raised.value.packet is not None
    assert raised.value.packet.message_type == MessageType.NAK


async def test_obtain_refused() -> None:
    class Contested(MemoryStore):
        """Another server was quicker."""

        async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
            return [lease._replace(client=b"\1another") for lease in changes]

    async with serving(store=Contested()) as (_, link):
        with pytest.raises(ProbeError, match=r"refused 127\.0\.0\.100: the address was given to another client"):
            await obtain(link)


async def test_release() -> None:
    events: list[Event] = []
    async with serving() as (server, link):
        lease = await obtain(link, client_id=b"\0probe")
        await release(link, lease, on_event=events.append)
        await until(lambda: state(server, lease) == LeaseState.RELEASED)
    (event,) = events
    assert event.packet.ciaddr == int(lease.address)
    assert list(event.packet.options) == [53, 61, 54], "nothing that table 5 of RFC 2131 forbids"


async def test_decline() -> None:
    events: list[Event] = []
    async with serving() as (server, link):
        lease = await obtain(link)
        await decline(link, lease, "ARP says no", on_event=events.append)
        await until(lambda: state(server, lease) == LeaseState.DECLINED)
    (event,) = events
    assert event.packet.ciaddr == 0
    assert event.packet.options["message"] == "ARP says no"


async def test_inform() -> None:
    async with serving() as (server, link):
        ack = await inform(link, "127.0.0.5", hostname="fixed", parameters=["routers"])
        assert (ack.message_type, ack.yiaddr) == (MessageType.ACK, 0)
        assert ack.options["routers"] == [ROUTER]
        assert "lease-time" not in ack.options
        assert len(server.leases) == 0


async def test_an_infinite_lease() -> None:
    parameters = Parameters(lease_time=INFINITE)
    async with serving(config=Config([Subnet(NETWORK, [POOL], parameters=parameters)])) as (_, link):
        lease = await obtain(link)
    assert (lease.lease_time, lease.renewal_time, lease.rebinding_time) == (INFINITE, INFINITE, INFINITE)


async def test_a_link_that_is_not_open_is_opened_for_the_moment() -> None:
    async with serving() as (_, opened):
        link = RelayLink("localhost", opened.port, hardware_address=bytes.fromhex(MAC.replace(":", "")))
        lease = await obtain(link)
        assert not link.is_open
        assert (await renew(link, lease)).address == lease.address
        await release(link, lease)
        assert not link.is_open
    with pytest.raises(ProbeError):
        await obtain(link, **QUICK)
    assert not link.is_open


def state(server: DhcpServer, lease: ObtainedLease) -> LeaseState | None:
    known = server.leases.get(int(lease.address))
    return None if known is None else known.state


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.005)


# ── several servers ──


async def test_every_server_that_answers() -> None:
    def several(request: Packet) -> list[Packet]:
        if request.message_type == MessageType.DISCOVER:
            return [reply(request, "offer", server_identifier=f"192.0.2.{number}") for number in (2, 1, 3)]
        return [reply(request, "ack", server_identifier=request.options["server-identifier"])]

    async with scripted(several) as (_, link):
        lease = await obtain(link, wait_for_all=0.5)
        servers = [str(event.packet.options["server-identifier"]) for event in lease.offers]
        assert servers == ["192.0.2.2", "192.0.2.1", "192.0.2.3"]
        assert lease.server == IPv4Address("192.0.2.2")
        assert lease.offer_seconds < 0.5, "the waiting does not count"
        assert len((await obtain(link)).offers) == 1


async def test_two_servers() -> None:
    """Two servers of ours behind one relay agent: the first to answer serves, the other one's offer lapses."""

    async def hub(request: bytes, port: int) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port))
            await loop.sock_sendall(sock, request)
            return await asyncio.wait_for(loop.sock_recv(sock, 4096), 5)

    tasks: set[asyncio.Task[None]] = set()

    def config(number: int) -> Config:
        subnet = Subnet(NETWORK, [f"127.0.{number}.1-127.0.{number}.9"])
        return Config([subnet], server_id=f"192.0.2.{number}")  # type: ignore[arg-type]

    async with serving(config=config(1)) as (one, first), serving(config=config(2)) as (two, second):

        async def relay(request: Packet) -> None:
            chosen = request.options.get("server-identifier")
            for number, link in ((1, first), (2, second)):
                if chosen in (None, IPv4Address(f"192.0.2.{number}")):
                    server.transport.sendto(await hub(request.raw, link.port), via)

        def forward(request: Packet) -> list[Packet]:
            task = asyncio.create_task(relay(request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return []

        async with scripted(forward) as (server, link):
            assert link._socket is not None
            via = ("127.0.0.1", link._socket.getsockname()[1])
            lease = await obtain(link, wait_for_all=0.5)
        assert {event.packet.options["server-identifier"] for event in lease.offers} == {
            IPv4Address("192.0.2.1"),
            IPv4Address("192.0.2.2"),
        }
        assert lease.server == IPv4Address("192.0.2.1")
        assert (len(one.leases), len(two.leases)) == (1, 0)


# ── a server that lets its client renew (RFC 3203, RFC 6704) ──

NONCE = bytes(range(16))
CHADDR = bytes.fromhex(MAC.replace(":", ""))


def signed(counter: int, nonce: bytes | None = NONCE, chaddr: bytes = CHADDR) -> bytes:
    """A FORCERENEW."""
    lease = Lease(0xC000020A, b"\1" + chaddr, 1, chaddr, LeaseState.ACTIVE, 0, 1 << 40, nonce=nonce)
    return forcerenew(lease, 0xC0000201, counter.to_bytes(8, "big"))


def with_a_nonce(request: Packet) -> list[Packet]:
    """What a server says that gives a nonce with the lease, and none with a renewal."""
    given = b"\3\1\0" + (7).to_bytes(8, "big") + b"\1" + NONCE
    asked = request.options.get("forcerenew-nonce-capable") == [1] and not request.ciaddr
    kind = "offer" if request.message_type == MessageType.DISCOVER else "ack"
    return [reply(request, kind, authentication=given if asked and kind == "ack" else None)]


async def test_renewing_when_told() -> None:
    events: list[str] = []
    async with scripted(with_a_nonce) as (server, link):
        lease = await obtain(link, options={"forcerenew-nonce-capable": [1]})
        assert (lease.nonce, lease.replay_detection) == (NONCE, 7)
        waiting = asyncio.create_task(
            renew_when_told(link, lease, on_event=lambda event: events.append(message_name(event.packet)))
        )
        server.transport.sendto(signed(8), server.peer)
        renewed = await asyncio.wait_for(waiting, 5)
        assert events == ["FORCERENEW", "REQUEST", "ACK"]
        assert (renewed.nonce, renewed.replay_detection, renewed.ignored) == (NONCE, 8, 0)
        assert server.heard[-1].ciaddr == int(lease.address)
        assert server.heard[-1].options["forcerenew-nonce-capable"] == [1]


async def test_what_lets_nobody_renew() -> None:
    async with scripted(with_a_nonce) as (server, link):
        lease = await obtain(link, options={"forcerenew-nonce-capable": [1]})
        waiting = asyncio.create_task(renew_when_told(link, lease))
        edited = bytearray(signed(9))
        edited[12] ^= 1
        heard = len(server.heard)
        for data in (
            signed(9, None),  # not signed
            signed(9, bytes(16)),  # with another nonce
            signed(7),  # what was said before
            signed(0),
            bytes(edited),
            b"nonsense",
            signed(9, chaddr=b"\2\0\0\0\0\x99"),  # to somebody else, and no business of ours
            bytes(reply(server.heard[-1], "ack")),
        ):
            server.transport.sendto(data, server.peer)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        assert len(server.heard) == heard
        server.transport.sendto(signed(8), server.peer)
        assert (await asyncio.wait_for(waiting, 5)).ignored == 6
        assert len(server.heard) == heard + 1


async def test_without_a_nonce_there_is_nothing_to_wait_for() -> None:
    async with scripted(with_a_nonce) as (_, link):
        lease = await obtain(link)
        assert lease.nonce is None
        with pytest.raises(ProbeError, match="the lease has no nonce"):
            await renew_when_told(link, lease)


# ── no answer, and answers of no use ──


async def test_nobody_answers() -> None:
    async with scripted(lambda _: []) as (server, link):
        with pytest.raises(ProbeError) as raised:
            await obtain(link, timeout=0.02, retries=2)
    said = str(raised.value)
    assert said.startswith("no answer to DISCOVER, sent 3 times in ")
    assert said.endswith(f"to 127.0.0.1:{link.port} as relay agent 127.0.0.1 for {MAC}")
    assert len(server.heard) == 3
    assert len({packet.xid for packet in server.heard}) == 1


async def test_sent_once() -> None:
    async with scripted(lambda _: []) as (_, link):
        with pytest.raises(ProbeError, match="no answer to INFORM, sent once to"):
            await inform(link, "192.0.2.9", timeout=0.01, retries=0)


async def test_it_waits_twice_as_long_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 2131 §4.1: 4 seconds, doubled up to 64, each a second more or less."""
    waits: list[float] = []

    async def listen(self: Any, seconds: float, *_: Any) -> list[Event]:
        waits.append(seconds)
        return []

    monkeypatch.setattr(Transaction, "_listen", listen)
    async with RelayLink("127.0.0.1", 6767) as link:
        with pytest.raises(ProbeError):
            await obtain(link, retries=6)
    assert waits == pytest.approx([4, 8, 16, 32, 64, 64, 64], abs=1)
    assert len({wait % 1 for wait in waits}) > 1, "random, so that clients don't stay in step"


async def test_a_request_is_sent_again() -> None:
    def forgetful(request: Packet) -> list[Packet]:
        first = sum(packet.message_type == request.message_type for packet in server.heard) == 1
        return [] if first else properly(request)

    async with scripted(forgetful) as (server, link):
        lease = await obtain(link, timeout=0.2, retries=1)
    kinds = [message_name(packet) for packet in server.heard]
    assert kinds == ["DISCOVER", "DISCOVER", "REQUEST", "REQUEST"]
    assert lease.ack_seconds > 0.1, "counted from the first REQUEST"


@linux
async def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(ProbeError, match=f"; 127.0.0.1:{port}: nobody listens there"):
        await obtain(RelayLink("127.0.0.1", port), **QUICK)


@linux
async def test_the_network_says_so_when_the_next_message_leaves() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    async with RelayLink("127.0.0.1", port) as link:
        await release(link, lease_of())
        await asyncio.sleep(0.02)
        assert link.trouble == ""
        await release(link, lease_of())
        assert link.trouble == f"127.0.0.1:{port}: nobody listens there"


async def test_answers_that_are_not_for_this_client() -> None:
    def misdirected(request: Packet) -> list[Packet]:
        proper = properly(request)
        others = [reply(request, "offer") for _ in range(3)]
        others[0].xid ^= 1
        others[1].chaddr = b"\2\0\0\0\0\x08"
        others[2].op = 1
        return [*others, *proper]

    events: list[Event] = []
    async with scripted(misdirected) as (_, link):
        lease = await obtain(link, on_event=events.append)
    assert lease.ignored == 0
    assert len(events) == 4


async def test_octets_that_are_no_message() -> None:
    def corrupt(request: Packet) -> list[bytes | Packet]:
        proper = properly(request)
        return [b"\2", b"\2" * 300, bytes(proper[0])[:241], *proper]

    async with scripted(corrupt) as (_, link):
        lease = await obtain(link)
    assert lease.ignored == 6
    async with scripted(lambda _: [b"nonsense"]) as (_, link):
        with pytest.raises(ProbeError, match="; ignored 2, the last for: 8 octets: a DHCP message has 240 to 4096"):
            await obtain(link, **QUICK)


@pytest.mark.parametrize(
    ("options", "yiaddr", "why"),
    [
        ({"server_identifier": None}, 1, "OFFER without server-identifier"),
        ({"server_identifier": None, "lease_time": None}, 1, "OFFER without server-identifier and lease-time"),
        ({"lease_time": b"\1"}, 1, r"OFFER: option 51 \(lease-time\): expected"),
        ({}, 0, "OFFER without an address"),
    ],
)
async def test_answers_that_are_of_no_use(options: dict[str, Any], yiaddr: int, why: str) -> None:
    def useless(request: Packet) -> list[Packet]:
        packet = reply(request, "offer", **options)
        packet.yiaddr = yiaddr
        return [packet]

    async with scripted(useless) as (_, link):
        with pytest.raises(ProbeError, match=f"ignored 1, the last for: {why}"):
            await obtain(link, timeout=0.05, retries=0)


async def test_late_offers_are_told_and_nothing_more() -> None:
    def late(request: Packet) -> list[Packet]:
        proper = properly(request)
        return [*proper, reply(request, "offer", server_identifier="192.0.2.2")] if proper else proper

    events: list[Event] = []
    async with scripted(late) as (_, link):
        lease = await obtain(link, on_event=events.append)
    assert lease.server == IPv4Address("192.0.2.1")
    assert [message_name(event.packet) for event in events] == ["DISCOVER", "OFFER", "REQUEST", "OFFER", "ACK"]
    assert len(lease.offers) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"message": "go away"}, "server 192.0.2.1 refused 192.0.2.10: go away"),
        ({"message": "\x1b[31mred"}, r"server 192.0.2.1 refused 192.0.2.10: \x1b[31mred"),
        ({}, "server 192.0.2.1 refused 192.0.2.10: it doesn't say why"),
        ({"message": b"a\0b"}, "server 192.0.2.1 refused 192.0.2.10: it doesn't say why"),
        ({"server_identifier": None}, "server 127.0.0.1 refused 192.0.2.10: it doesn't say why"),
    ],
)
async def test_refusals(options: dict[str, Any], said: str) -> None:
    def refusing(request: Packet) -> list[Packet]:
        return [
            reply(request, "offer")
            if request.message_type == MessageType.DISCOVER
            else reply(request, "nak", lease_time=None, **options)
        ]

    async with scripted(refusing) as (_, link):
        with pytest.raises(ProbeError) as raised:
            await obtain(link)
    assert str(raised.value) == said


async def test_times_that_make_no_sense_are_made_up() -> None:
    def odd(request: Packet) -> list[Packet]:
        if request.message_type == MessageType.DISCOVER:
            return properly(request)
        return [reply(request, "ack", renewal_time=b"\1", rebinding_time=100)]

    async with scripted(odd) as (_, link):
        lease = await obtain(link)
    assert (lease.lease_time, lease.renewal_time, lease.rebinding_time) == (600, 300, 100)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"client_id": "xyz"}, r"option 61 \(client-identifier\): expected octets"),
        ({"requested": "nowhere"}, r"option 50 \(requested-address\): expected address"),
        ({"parameters": ["rooters"]}, "no option is called 'rooters'; did you mean 'routers'"),
        ({"options": {"nonsense-option": 1}}, "no option is called 'nonsense-option'"),
        ({"options": {224: b"x" * 5000}}, "don't fit"),
    ],
)
async def test_wishes_that_cannot_be_sent(wish: dict[str, Any], why: str) -> None:
    async with scripted(properly) as (server, link):
        with pytest.raises(ProbeError, match=why):
            await obtain(link, **wish)
    assert server.heard == []


async def test_inform_needs_an_address() -> None:
    with pytest.raises(ProbeError, match="expected an IPv4 address, got 'here'"):
        await inform(RelayLink(), "here")


async def test_what_the_callback_raises_is_raised_and_the_link_closed() -> None:
    async with scripted(properly) as (_, opened):
        link = RelayLink("127.0.0.1", opened.port)
        with pytest.raises(ZeroDivisionError):
            await obtain(link, on_event=lambda event: 1 // 0)  # type: ignore[arg-type, return-value]
        assert not link.is_open


# ── the link as a relay agent ──


async def test_relay_address_and_port() -> None:
    async with scripted(properly) as (server, opened):
        link = RelayLink("127.0.0.1", opened.port, giaddr="10.1.0.1")
        lease = await obtain(link)
        assert {packet.giaddr for packet in server.heard} == {0x0A010001}
        assert lease.offer.giaddr == 0x0A010001

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("0.0.0.0", 0))
            taken = sock.getsockname()[1]
            with pytest.raises(ProbeError, match=rf"UDP port {taken} of 0\.0\.0\.0: it is taken"):
                await RelayLink("127.0.0.1", opened.port, local_port=taken).open()
        async with RelayLink("127.0.0.1", opened.port, local_port=taken) as link:
            assert link._socket is not None
            assert link._socket.getsockname() == ("0.0.0.0", taken)


async def test_a_server_on_port_67_answers_to_the_relay_agents_port_67() -> None:
    link = RelayLink("127.0.0.1", 67, giaddr="192.0.2.200")
    assert link.local_port == 67
    with pytest.raises(ProbeError, match=r"UDP port 67 of 192\.0\.2\.200: (this machine has no|it needs a privilege)"):
        await link.open()
    assert not link.is_open


async def test_privilege_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    class Unprivileged(socket.socket):
        bind = refuse

    monkeypatch.setattr(socket, "socket", Unprivileged)
    with pytest.raises(ProbeError, match=r"UDP port 67 of 127\.0\.0\.1: it needs a privilege: run as root"):
        await RelayLink("127.0.0.1").open()


async def test_the_client_behind_the_relay_agent_is_always_the_same() -> None:
    one, two = RelayLink(), RelayLink("192.0.2.1")
    assert one.hardware_address == two.hardware_address
    assert len(one.hardware_address) == 6
    assert one.hardware_address[0] == 2


@pytest.mark.parametrize("address", ["02:00:00:00:00", "nonsense", b"\2", ""])
def test_not_an_ethernet_address(address: Any) -> None:
    for make in (RelayLink, lambda **given: InterfaceLink("eth0", **given)):
        with pytest.raises(ProbeError, match="hardware_address: expected one like '02:00:00:00:00:01', got"):
            make(hardware_address=address)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_not_a_port(port: int) -> None:
    for make in (
        lambda: RelayLink("127.0.0.1", port),
        lambda: RelayLink(local_port=port),
        lambda: InterfaceLink("eth0", port=port),
        lambda: InterfaceLink("eth0", client_port=port),
    ):
        with pytest.raises(ProbeError, match=f"expected a port, 1 to 65535, got {port}"):
            make()


def test_not_an_address() -> None:
    with pytest.raises(ProbeError, match="giaddr: expected an IPv4 address, got 'relay'"):
        RelayLink(giaddr="relay")


async def test_a_server_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(ProbeError, match=r"no IPv4 address of 'dhcp\.invalid' is known: .*Name or service not known"):
        await RelayLink("dhcp.invalid").open()


@pytest.mark.parametrize("name", ["", "x" * 70 + ".example"])
async def test_a_server_whose_name_is_none(name: str) -> None:
    with pytest.raises(ProbeError, match="no IPv4 address of "):
        await RelayLink(name, 6767).open()


async def test_no_way_to_the_server() -> None:
    async with RelayLink("127.0.0.1", 6767) as link:
        link._peer = ("255.255.255.255", 6767)  # what a socket may not send to unless it is told so
        with pytest.raises(ProbeError, match=r"can't send to 255\.255\.255\.255: "):
            await release(link, lease_of())


async def test_the_life_of_a_link() -> None:
    link = RelayLink("127.0.0.1", 6767)
    await link.close()
    with pytest.raises(RuntimeError, match="not open"):
        await link.send(Packet())
    with pytest.raises(RuntimeError, match="not open"):
        await link.receive()
    await link.open()
    with pytest.raises(RuntimeError, match="open already"):
        await link.open()
    await link.close()
    await link.close()


# ── the link on an interface, as far as no interface is needed ──


@linux
async def test_the_life_of_an_interface_link() -> None:
    link = InterfaceLink("eth0")
    await link.close()
    assert link.hardware_address == b""
    assert link.where == "on eth0"
    assert InterfaceLink("eth0", hardware_address=MAC).hardware_address.hex(":") == MAC
    with pytest.raises(RuntimeError, match="not open"):
        await link.send(Packet())
    with pytest.raises(RuntimeError, match="not open"):
        await link.receive()


@linux
async def test_a_packet_socket_needs_a_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(ProbeError, match=r"a packet socket on eth0: it needs a privilege: run as root.*CAP_NET_RAW"):
        await obtain(InterfaceLink("eth0"))


async def test_an_interface_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ProbeError, match="needs Linux"):
        await InterfaceLink("en0").open()
