"""DhcpProtocol: a server fed by asyncio's own datagram transports, over loopback sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from test_server import Diary
from wire import (
    ACK,
    FIRST,
    NAK,
    OFFER,
    PATIENCE,
    SERVER,
    Reply,
    ask,
    config,
    discover,
    inform,
    message,
    number_of,
    read,
    reboot,
    request,
    turns,
    until,
)

from aiodhcp import (
    Config,
    DhcpServer,
    DropReason,
    Lease,
    LeaseState,
    MemoryStore,
    MemoryTransport,
    Subnet,
    hookimpl,
)
from aiodhcp.protocol import DhcpProtocol

LOOPBACK = "127.0.0.1"


class Client(asyncio.DatagramProtocol):
    """A client with a socket."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.replies.put_nowait(read(data))

    def say(self, data: bytes, port: int) -> None:
        assert self.transport is not None
        self.transport.sendto(data, (LOOPBACK, port))

    async def ask(self, data: bytes, port: int) -> Reply:
        self.say(data, port)
        return await asyncio.wait_for(self.replies.get(), PATIENCE)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(Client, local_addr=(LOOPBACK, 0))
    yield client
    transport.close()
    await turns()


@asynccontextmanager
async def endpoint(server: DhcpServer, host: str = LOOPBACK, **more: Any) -> AsyncIterator[tuple[DhcpProtocol, int]]:
    """A protocol of the server on a socket, and its port."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: server.protocol(**more), local_addr=(host, 0))
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
        await turns()


class FakeTransport(asyncio.DatagramTransport):
    """Says where it is bound, and keeps what is sent."""

    def __init__(self, *address: Any) -> None:
        super().__init__({"sockname": address} if address else None)
        self.sent: list[tuple[bytes, Any]] = []

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.sent.append((data, addr))


async def test_dora(client: Client) -> None:
    store = MemoryStore()
    async with (
        DhcpServer(config(interface="protocol"), store=store) as server,
        endpoint(server) as (protocol, port),
    ):
        offer = await client.ask(discover(1), port)
        assert (offer.kind, offer.client, offer.address) == (OFFER, 1, FIRST)
        ack = await client.ask(request(1, offer.yiaddr), port)
        assert (ack.kind, ack.client, ack.address) == (ACK, 1, FIRST)
        assert list(store.leases) == [number_of(FIRST)]
        assert server.interfaces == (protocol.interface,)
        assert protocol.interface.addresses == (number_of(LOOPBACK),)
        assert (await client.ask(reboot(2, "198.51.100.1"), port)).kind == NAK
        client.say(b"garbage", port)
        await until(lambda: server.engine.dropped == {DropReason.INVALID: 1})


async def test_a_burst(client: Client) -> None:
    async with (
        DhcpServer(config(interface="protocol"), store=MemoryStore()) as server,
        endpoint(server) as (_, port),
    ):
        for number in range(1, 51):
            client.say(discover(number), port)
        offers = [await asyncio.wait_for(client.replies.get(), PATIENCE) for _ in range(50)]
        for offer in offers:
            client.say(request(offer.client, offer.yiaddr), port)
        acks = [await asyncio.wait_for(client.replies.get(), PATIENCE) for _ in range(50)]
        assert {(ack.client, ack.yiaddr) for ack in acks} == {(offer.client, offer.yiaddr) for offer in offers}
        assert {ack.kind for ack in acks} == {ACK}
        assert len({ack.yiaddr for ack in acks}) == 50


async def test_several_protocols_beside_a_transport(client: Client) -> None:
    """Each packet is answered through what it came from, by the subnet that is there."""
    subnets = [
        Subnet("192.0.2.0/24", pools=["192.0.2.10-192.0.2.99"], interfaces=["blue"]),
        Subnet("198.51.100.0/24", pools=["198.51.100.10-198.51.100.99"], interfaces=["green"]),
        Subnet("203.0.113.0/24", pools=["203.0.113.10-203.0.113.99"]),
    ]
    own = MemoryTransport(["203.0.113.1"])
    async with (
        DhcpServer(Config(subnets), store=MemoryStore(), transport=own) as server,
        endpoint(server, name="blue", addresses=["192.0.2.1"]) as (blue, blue_port),
        endpoint(server, name="green", addresses=["198.51.100.1"]) as (green, green_port),
    ):
        assert server.interfaces == (own.interfaces[0], blue.interface, green.interface)
        assert blue.interface.addresses == (number_of("192.0.2.1"),)
        assert (await client.ask(discover(1), blue_port)).address == "192.0.2.10"
        assert (await client.ask(discover(2), green_port)).address == "198.51.100.10"
        assert (await ask(own, discover(3))).address == "203.0.113.10"
        assert (await client.ask(request(1, "192.0.2.10", "192.0.2.1"), blue_port)).kind == ACK
        assert (await client.ask(request(2, "198.51.100.10", "198.51.100.1"), green_port)).kind == ACK
        assert (await ask(own, request(3, "203.0.113.10", "203.0.113.1"))).kind == ACK
        assert len(own.sent) == 2
        assert client.replies.empty()


async def test_a_batch_from_both(client: Client) -> None:
    """A commit that answers packets of a protocol and of the server's own transport at once."""
    own = MemoryTransport()
    async with (
        DhcpServer(Config(config(interface="").subnets, server_id=SERVER), store=MemoryStore()) as server,
    ):
        assert server.interfaces == ()
    subnet = Subnet("192.0.2.0/24", pools=["192.0.2.10-192.0.2.99"], interfaces=["memory", "protocol"])
    async with (
        DhcpServer(Config([subnet], server_id=SERVER), store=MemoryStore(), transport=own) as server,
        endpoint(server) as (protocol, _),
    ):
        assert client.transport is not None
        address = client.transport.get_extra_info("sockname")
        protocol.datagram_received(request(1, "192.0.2.10"), address)
        own.deliver(request(2, "192.0.2.11"))
        protocol.datagram_received(request(3, "192.0.2.12"), address)
        replies = [await asyncio.wait_for(client.replies.get(), PATIENCE) for _ in range(2)]
        assert [(reply.kind, reply.client) for reply in replies] == [(ACK, 1), (ACK, 3)]
        assert [read(each.data)[:2] for each in own.sent] == [(ACK, 2)]


async def test_a_protocol_that_is_lost(client: Client) -> None:
    """What it still had to say is said by nobody else."""
    go_on = asyncio.Event()

    class Slow:
        @hookimpl
        async def dhcp_pkt_send(self) -> None:
            await go_on.wait()

    own = MemoryTransport()
    server = DhcpServer(config(interface="protocol"), store=MemoryStore(), transport=own, plugins=[Slow()])
    async with server:
        async with endpoint(server) as (_, port):
            client.say(discover(1), port)
            await until(lambda: server.health.in_flight == 1)
        assert server.interfaces == tuple(own.interfaces)
        go_on.set()
        await until(lambda: server.health.in_flight == 0)
        await turns()
        assert own.sent == []
        assert client.replies.empty()
        # Another one takes its place.
        async with endpoint(server) as (_, port):
            assert (await client.ask(discover(1), port)).kind == OFFER


async def test_errors_of_the_network(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        DhcpServer(config(interface="protocol"), store=MemoryStore()) as server,
        endpoint(server) as (protocol, port),
    ):
        protocol.error_received(ConnectionRefusedError(111, "Connection refused"))
        assert "the network reports: [Errno 111] Connection refused" in caplog.text
        assert (await client.ask(discover(1), port)).kind == OFFER


async def test_before_the_start_and_after_the_stop(client: Client) -> None:
    """The socket may outlive the server. No plugin hears of packets before START or after STOP."""
    diary = Diary()
    server = DhcpServer(config(interface="protocol"), store=MemoryStore(), plugins=[diary])
    async with endpoint(server) as (protocol, port):
        assert client.transport is not None
        address = client.transport.get_extra_info("sockname")
        protocol.datagram_received(discover(1), address)
        assert diary.entries == []
        async with server:
            assert (await client.ask(discover(1), port)).kind == OFFER
        heard = len(diary.entries)
        protocol.datagram_received(discover(1), address)
        assert server.health.in_flight == 0
        await turns()
        assert len(diary.entries) == heard
        assert diary.entries[-1] == ("control", "STOP")
        assert client.replies.empty()


async def test_a_protocol_without_any_address() -> None:
    """Bound to 0.0.0.0, and nobody said which address is the server's: there is no server identifier to give."""
    subnet = Subnet("192.0.2.0/24", pools=["192.0.2.10-192.0.2.99"], interfaces=["protocol"])
    async with (
        DhcpServer(Config([subnet]), store=MemoryStore()) as server,
        endpoint(server, "0.0.0.0") as (protocol, _),
    ):
        assert protocol.interface.addresses == ()
        protocol.datagram_received(discover(1), (LOOPBACK, 68))
        assert server.engine.dropped == {DropReason.GEN_FAILURE: 1}


@pytest.mark.parametrize("bound", [(SERVER, 67), ()], ids=["port 67", "unknown"])
@pytest.mark.parametrize(
    ("data", "source", "target"),
    [
        pytest.param(discover(1), ("0.0.0.0", 68), ("255.255.255.255", 68), id="no address yet"),
        pytest.param(inform(1, "192.0.2.50"), ("192.0.2.50", 68), ("192.0.2.50", 68), id="its own address"),
        pytest.param(reboot(1, "198.51.100.1"), ("0.0.0.0", 68), ("255.255.255.255", 68), id="refused"),
        pytest.param(message(1, 1, giaddr="192.0.2.3"), ("192.0.2.3", 67), ("192.0.2.3", 67), id="relayed"),
    ],
)
async def test_on_port_67_answers_go_where_rfc_2131_says(bound: Any, data: bytes, source: Any, target: Any) -> None:
    async with DhcpServer(config(interface="protocol"), store=MemoryStore()) as server:
        transport = FakeTransport(*bound)
        protocol = server.protocol()
        protocol.connection_made(transport)
        assert protocol.interface.addresses == ((number_of(SERVER),) if bound else ())
        protocol.datagram_received(data, source)
        assert [address for _, address in transport.sent] == [target]


async def test_a_client_without_an_address_on_another_port() -> None:
    async with DhcpServer(config(interface="protocol"), store=MemoryStore()) as server:
        transport = FakeTransport(SERVER, 6767)
        protocol = server.protocol()
        protocol.connection_made(transport)
        protocol.datagram_received(discover(1), ("0.0.0.0", 6868))
        assert [address for _, address in transport.sent] == [("255.255.255.255", 6868)]


async def test_a_shared_protocol_brings_no_interface_of_its_own() -> None:
    """It may even sit on an asyncio transport, and is the transport's own business then."""
    mine = Lease(number_of(FIRST), b"\1\2", 1, b"\2", LeaseState.ACTIVE, 0, 3_000_000_000)
    async with DhcpServer(config(interface="protocol"), store=MemoryStore([mine])) as server:
        protocol = server.protocol(shared=True)
        protocol.connection_made(FakeTransport(LOOPBACK, 6767))
        assert server.interfaces == ()
        protocol.connection_lost(None)
        assert server.interfaces == ()
