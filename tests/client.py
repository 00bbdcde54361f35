"""A DHCP client without a socket, a clock to turn by hand, and short ways to an Engine.

So that tests read as conversations::

    offer = client.discover()
    ack = client.request(offer)
    clock.advance(1800)
    assert client.renew().yiaddr == ack.yiaddr
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from aiodhcp import Config, Datagram, Engine, Exchange, Interface, Lease, MessageType, Packet, Pool, Subnet
from aiodhcp.constants import BROADCAST_ADDRESS, BROADCAST_FLAG, CLIENT_PORT, SERVER_PORT
from aiodhcp.exchange import Answer
from aiodhcp.hookcalls import Runtime
from aiodhcp.hooks import Hooks
from aiodhcp.testing.messages import dotted as dotted
from aiodhcp.testing.messages import number as number

LINK = Interface("eth0", (number("192.0.2.1"),), 2)
"""Where clients are unless a test says otherwise; the server is 192.0.2.1 there."""


class Clock:
    """Seconds since 1970, turned by hand. Call it to read it, as ``DhcpServer(clock=...)`` does."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def make_subnet(*pools: str | Pool, network: str = "192.0.2.0/24", **more: Any) -> Subnet:
    """A subnet; 192.0.2.0/24 with 192.0.2.10 to 192.0.2.99 where nothing else is said."""
    return Subnet(network, pools or ("192.0.2.10-192.0.2.99",), **more)


def make_engine(
    *subnets: Subnet,
    plugins: Iterable[object] = (),
    leases: Iterable[Lease] = (),
    runtime: Runtime | None = None,
    **config: Any,
) -> Engine:
    """An engine; without subnets for the one of ``make_subnet()``. ``config`` is for ``Config``."""
    return Engine(Config(subnets or (make_subnet(),), **config), Hooks(plugins, runtime), leases)


def serve(engine: Engine, datagram: Datagram, now: float) -> Exchange:
    """All steps of a packet, as the server takes them; there must be nothing to await."""
    exchange = engine.arrive(datagram, now)
    assert exchange.pending is None
    engine.decide(exchange)
    engine.answer(exchange)
    assert exchange.pending is None
    engine.finish(exchange)
    assert exchange.pending is None
    return exchange


async def serve_async(engine: Engine, datagram: Datagram, now: float) -> Exchange:
    """The same, awaiting what ``async`` hooks leave to await."""
    exchange = engine.arrive(datagram, now)
    await settle(exchange)
    engine.decide(exchange)
    engine.answer(exchange)
    await settle(exchange)
    engine.finish(exchange)
    await settle(exchange)
    return exchange


async def settle(exchange: Exchange) -> None:
    """Await what a step left to await, if anything."""
    if exchange.pending is not None:
        await exchange.pending
        exchange.pending = None


class Client:
    """A DHCP client that talks to an engine directly. Each message returns the reply, or None.

    Options are given by name with underscores, ``client.discover(requested_address="192.0.2.20")``; None leaves out
    one that would be there.

    Args:
        engine: its server. It may be replaced, as a restart does.
        clock: the time.
        mac: the hardware address.
        interface: where its messages arrive.
        giaddr: the address of the relay agent it is behind; empty for none. Unicasts don't pass the relay agent.
        client_id: option 61.
        broadcast: whether it sets the broadcast flag.
        htype: the hardware type.
        run: what runs a coroutine, for engines with hooks that have to be awaited. Without it there must be nothing
            to await.
        **options: sent with every message.

    Attributes:
        address: what the last ACK gave it, as an integer; 0 for none.
        server: the server identifier of the last OFFER or ACK, as an integer.
        exchange: the last one, to look into.
    """

    exchange: Exchange

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        mac: str = "02:00:00:00:00:01",
        *,
        interface: Interface = LINK,
        giaddr: str = "",
        client_id: bytes | None = None,
        broadcast: bool = False,
        htype: int = 1,
        run: Callable[[Coroutine[Any, Any, Exchange]], Exchange] | None = None,
        **options: Any,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.chaddr = bytes.fromhex(mac.replace(":", ""))
        self.interface = interface
        self.giaddr = number(giaddr) if giaddr else 0
        self.flags = BROADCAST_FLAG if broadcast else 0
        self.htype = htype
        self.run = run
        self.options = {"client-identifier": client_id, **options}
        self.xid = int.from_bytes(self.chaddr[-2:], "big") << 16
        self.address = self.server = 0

    @property
    def key(self) -> bytes:
        """What identifies it in the lease table."""
        return self.options["client-identifier"] or bytes((self.htype,)) + self.chaddr

    @property
    def answer(self) -> Answer:
        """The last reply as it left."""
        answer = self.exchange.answer
        assert answer is not None
        return answer

    # ── the messages of RFC 2131 ─────────────────────────────────────────────────────────────────────────────────

    def discover(self, **options: Any) -> Packet | None:
        """DISCOVER, with a new xid."""
        self.xid += 1
        return self.send(self.message(MessageType.DISCOVER, **options))

    def request(self, offer: Packet, **options: Any) -> Packet | None:
        """REQUEST, SELECTING: what was offered."""
        return self.send(self.message(MessageType.REQUEST, **{**self.choice(offer), **options}))

    def join(self, **options: Any) -> Packet:
        """DISCOVER and REQUEST; the ACK."""
        offer = self.discover(**options)
        assert offer is not None, self.exchange.why
        ack = self.request(offer, **{**options, **self.choice(offer)})
        assert ack is not None
        assert ack.message_type == MessageType.ACK, self.exchange.why
        return ack

    def reboot(self, address: str | int | None = None, **options: Any) -> Packet | None:
        """REQUEST, INIT-REBOOT: is this address still right?"""
        self.xid += 1
        asked = self.address if address is None else address
        return self.send(self.message(MessageType.REQUEST, requested_address=asked, **options))

    def renew(self, **options: Any) -> Packet | None:
        """REQUEST, RENEWING: to the server alone."""
        self.xid += 1
        return self.unicast(self.message(MessageType.REQUEST, ciaddr=self.address, **options))

    def rebind(self, **options: Any) -> Packet | None:
        """REQUEST, REBINDING: to any server."""
        self.xid += 1
        return self.send(self.message(MessageType.REQUEST, ciaddr=self.address, **options), source=self.address)

    def decline(self, address: str | int | None = None, **options: Any) -> Packet | None:
        """DECLINE: somebody else uses this address."""
        declined, self.address = self.address if address is None else address, 0
        fields = {"requested_address": declined, "server_identifier": self.server, **options}
        return self.send(self.message(MessageType.DECLINE, **fields))

    def release(self, **options: Any) -> Packet | None:
        """RELEASE: the address is not needed any longer."""
        packet = self.message(MessageType.RELEASE, **{"server_identifier": self.server, **options}, ciaddr=self.address)
        reply = self.unicast(packet)
        self.address = 0
        return reply

    def inform(self, address: str | int | None = None, **options: Any) -> Packet | None:
        """INFORM: everything but an address."""
        ciaddr = number(address) if isinstance(address, str) else self.address if address is None else address
        return self.send(self.message(MessageType.INFORM, ciaddr=ciaddr, **options), source=ciaddr)

    # ── what they are made of ────────────────────────────────────────────────────────────────────────────────────

    def choice(self, offer: Packet) -> dict[str, Any]:
        """The options by which a REQUEST takes an offer."""
        return {"requested_address": offer.yiaddr, "server_identifier": offer.options["server-identifier"]}

    def message(self, kind: int | None, *, ciaddr: int = 0, **options: Any) -> Packet:
        """A message of this client; without option 53 if ``kind`` is None."""
        every = {"message-type": kind, **self.options, **options}
        return Packet(
            op=1,
            hrd=self.htype,
            hln=len(self.chaddr),
            xid=self.xid,
            flags=self.flags,
            ciaddr=ciaddr,
            giaddr=self.giaddr,
            chaddr=self.chaddr,
            sname=b"",
            file=b"",
            options={name: value for name, value in every.items() if value is not None},
        )

    def datagram(self, data: Packet | bytes, *, source: int = 0, destination: int = BROADCAST_ADDRESS) -> Datagram:
        """A message as it arrives at the server."""
        octets, port = bytes(data), CLIENT_PORT
        if self.giaddr and destination == BROADCAST_ADDRESS:
            source, destination, port = self.giaddr, self.interface.addresses[0], SERVER_PORT
        return Datagram(octets, self.interface, source, port, destination)

    def send(self, data: Packet | bytes, *, source: int = 0, destination: int = BROADCAST_ADDRESS) -> Packet | None:
        """Send a message, by broadcast or through the relay agent; the reply, or None."""
        datagram = self.datagram(data, source=source, destination=destination)
        if self.run is None:
            return self.hear(serve(self.engine, datagram, self.clock()))
        return self.hear(self.run(serve_async(self.engine, datagram, self.clock())))

    def unicast(self, packet: Packet) -> Packet | None:
        """Send a message from the client's own address to the server's; the reply, or None."""
        packet.giaddr = 0
        return self.send(packet, source=self.address, destination=self.server)

    def hear(self, exchange: Exchange) -> Packet | None:
        """Note what an exchange came to; the reply, or None."""
        self.exchange = exchange
        return None if exchange.answer is None else self.take(exchange.answer.data)

    def take(self, data: bytes) -> Packet:
        """Note what a reply says."""
        reply = Packet(data)
        if "server-identifier" in reply.options:
            self.server = int(reply.options["server-identifier"])
        if reply.message_type == MessageType.ACK:
            self.address = reply.yiaddr or self.address
        elif reply.message_type == MessageType.NAK:
            self.address = 0
        return reply


class AsyncClient(Client):
    """The same for engines with ``async`` hooks: what returns a reply has to be awaited."""

    async def send(  # type: ignore[override]
        self, data: Packet | bytes, *, source: int = 0, destination: int = BROADCAST_ADDRESS
    ) -> Packet | None:
        """Send a message, by broadcast or through the relay agent; the reply, or None."""
        datagram = self.datagram(data, source=source, destination=destination)
        return self.hear(await serve_async(self.engine, datagram, self.clock()))

    async def join(self, **options: Any) -> Packet:  # type: ignore[override]
        """DISCOVER and REQUEST; the ACK."""
        ack = await self.request(await self.discover(**options), **options)
        assert ack.message_type == MessageType.ACK, self.exchange.why
        return ack


def conversation(client: Client) -> list[Exchange]:
    """A message of each kind, and some that are refused or dropped; what became of each."""
    steps = [
        client.discover,
        lambda: client.request(client.exchange.reply, host_name="pc-17", parameter_request_list=[1, 3, 6]),
        client.renew,
        client.rebind,
        client.reboot,
        client.inform,
        client.release,
        client.discover,
        lambda: client.request(client.exchange.reply, server_identifier="192.0.2.2"),
        lambda: client.reboot("192.0.2.50"),
        lambda: client.reboot("203.0.113.9"),
        lambda: client.reboot("192.0.2.50", client_identifier=b"\0unknown"),
        lambda: client.discover(maximum_message_size=1500, lease_time=600, user_class=[b"lab"]),
        lambda: client.request(client.exchange.reply, relay_agent_information={1: b"eth7"}),
        client.decline,
        lambda: client.send(client.message(None)),
        lambda: client.send(b"rubbish"),
    ]
    exchanges = []
    for step in steps:
        step()
        exchanges.append(client.exchange)
    return exchanges
