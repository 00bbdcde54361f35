"""A client of the kit: every message, awaited and not, and what it gets for it."""

from __future__ import annotations

import asyncio
import inspect
from ipaddress import IPv4Address

import pytest
from wire import until

from aiodhcp import Config, DropReason, LeaseState, MessageType, Nak, Packet, Parameters, Reservation, Subnet, hookimpl
from aiodhcp.testing import Client, NoReply, SyncClient

FIRST = IPv4Address("192.0.2.10")
RELAYED = Config(
    [
        Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"]),
        Subnet("198.51.100.0/24", ["198.51.100.10-198.51.100.99"], relays=["198.51.100.1"]),
    ]
)


async def test_a_lease_from_scratch(dhcp_client, dhcp_server):
    lease = await dhcp_client.dora(host_name="pc-17")
    assert (lease.address, lease.lease_time) == (FIRST, 12 * 3600)
    assert lease.offer.is_offer
    assert lease.ack.is_ack
    assert lease.ack.server == IPv4Address("192.0.2.1")
    assert lease.options["subnet-mask"] == IPv4Address("255.255.255.0")
    assert dhcp_client.address == FIRST
    assert dhcp_server.lease("192.0.2.10").hostname == "pc-17"
    assert list(dhcp_server.store.leases) == [int(FIRST)]


async def test_every_message_of_a_client(dhcp_client, dhcp_server, dhcp_clock):
    await dhcp_client.dora()
    for again in (dhcp_client.renew, dhcp_client.rebind, dhcp_client.init_reboot):
        await dhcp_clock.advance("1h")
        assert (await again()).is_ack
        assert dhcp_server.lease(FIRST).expires == dhcp_clock() + 12 * 3600
    assert (await dhcp_client.inform()).lease_time == 0
    assert (await dhcp_client.inform("192.0.2.200")).destination == IPv4Address("192.0.2.200")
    silence = await dhcp_client.release()
    assert not silence
    assert silence.reason is None
    assert dhcp_client.address is None
    assert dhcp_server.lease(FIRST).state == LeaseState.RELEASED
    await dhcp_client.dora()
    assert not await dhcp_client.decline()
    assert dhcp_server.lease(FIRST).state == LeaseState.DECLINED


def test_the_same_without_await(sync_dhcp_client, dhcp_server, dhcp_clock):
    client = sync_dhcp_client
    assert client.dora().address == client.address == FIRST
    for again in (client.renew, client.rebind, client.init_reboot):
        dhcp_clock.advance("1h")
        assert again().is_ack
        assert dhcp_server.lease(FIRST).expires == dhcp_clock() + 12 * 3600
    assert client.inform().is_ack
    client.release()
    assert dhcp_server.lease(FIRST).state == LeaseState.RELEASED
    offer = client.discover(lease_time=600)
    assert client.request(offer, lease_time=600).lease_time == 600
    assert not client.decline()
    assert not client.bootp()
    assert client.send(client.messages.packet(MessageType.DISCOVER)).is_offer
    assert client.server is dhcp_server
    assert client.messages is client.client.messages
    assert client.hardware_address == "02:00:00:00:00:01"


def test_both_have_the_same_methods():
    def methods(kind: type) -> dict[str, list[str]]:
        found = {name: value for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"}
        return {name: list(inspect.signature(value).parameters) for name, value in found.items()}

    assert methods(Client) == methods(SyncClient)


async def test_in_an_async_test_it_has_to_be_awaited(dhcp_client):
    with pytest.raises(RuntimeError, match="await the client itself"):
        dhcp_client.sync.dora()
    await dhcp_client.dora()


async def test_no_reply_is_false_and_says_why(dhcp_client):
    reply = await dhcp_client.init_reboot("192.0.2.50")
    assert not reply
    assert reply.reason == DropReason.GEN_FAILURE
    assert [reply.is_offer, reply.is_ack, reply.is_nak] == [False] * 3
    assert "no reply to REQUEST of 02:00:00:00:00:01" in repr(reply)
    with pytest.raises(NoReply, match=f"there is no reply to the REQUEST of 02:00:00:00:00:01: {reply.why}"):
        assert reply.address


@pytest.mark.dhcp(config=Config([Subnet("192.0.2.0/24", ["192.0.2.10"])], authoritative=True))
async def test_what_is_not_what_was_asked_for_is_said(dhcp_server):
    first, second = dhcp_server.client(), dhcp_server.client()
    offer = await first.discover()
    with pytest.raises(NoReply, match="expected an OFFER: <no reply to DISCOVER of 02:00:00:00:00:02: no free address"):
        await second.dora()
    nak = await second.request(offer)
    assert nak.is_nak
    assert nak.why
    assert second.address is None
    assert [str(fact) for fact in nak.explain() if fact.what == "subnet"]


class Refusing:
    @hookimpl
    def select_lease_time(self, exchange):
        return Nak("not today") if exchange.message_type == MessageType.REQUEST else None


@pytest.mark.dhcp(plugins=[Refusing])
async def test_a_lease_that_is_refused_says_in_which_words(dhcp_client):
    with pytest.raises(NoReply, match=r"expected an ACK: .*: not today"):
        await dhcp_client.dora()


@pytest.mark.dhcp(config=Config([Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"])], Parameters(rapid_commit=True)))
async def test_two_messages_do_with_rapid_commit(dhcp_client):
    lease = await dhcp_client.dora(rapid_commit=True)
    assert lease.offer is lease.ack
    assert dhcp_client.address == lease.address == FIRST


@pytest.mark.dhcp(config=RELAYED)
async def test_behind_a_relay_agent(dhcp_server):
    client = dhcp_server.client(giaddr="198.51.100.1", circuit_id="eth7", remote_id=b"\1\2")
    lease = await client.dora()
    assert lease.address == IPv4Address("198.51.100.10")
    assert lease.ack.destination == IPv4Address("198.51.100.1")
    assert lease.ack.exchange.relay_agent == {1: b"eth7", 2: b"\1\2"}
    assert lease.ack.request.hops == 1
    renewed = await client.renew()
    assert renewed.request.giaddr == 0
    assert "relay-agent-information" not in renewed.request.options
    assert renewed.destination == lease.address


@pytest.mark.dhcp(config=RELAYED)
async def test_a_relay_agent_may_say_anything(dhcp_server):
    client = dhcp_server.client(giaddr="198.51.100.1", circuit_id="eth7")
    reply = await client.discover(relay_agent_information={1: b"eth8", 5: bytes((192, 0, 2, 0))})
    assert reply.address == FIRST
    assert reply.exchange.relay_agent[1] == b"eth8"


@pytest.mark.dhcp(
    config=Config(
        [Subnet("192.0.2.0/24", reservations=[Reservation("02:00:00:00:00:01", address="192.0.2.7")])],
    )
)
async def test_bootp(dhcp_server):
    reply = await dhcp_server.client().bootp()
    assert reply.type is None
    assert reply.address == IPv4Address("192.0.2.7")
    assert "BOOTP 192.0.2.7" in repr(reply)
    assert not await dhcp_server.client().bootp()


def test_a_test_may_say_a_lot(sync_dhcp_client):
    """How fast that is, benchmarks/kit.py says."""
    for _ in range(250):
        assert sync_dhcp_client.dora()
    assert sync_dhcp_client.dora().address == sync_dhcp_client.dora().address


async def test_any_option(dhcp_server):
    client = dhcp_server.client("0a:00:5e:00:00:07", client_identifier=b"\0me", user_class=[b"lab"])
    reply = await client.discover(user_class=None, parameter_request_list=[1, 3], vendor_class_identifier=b"\xff")
    sent = Packet(bytes(reply.request))
    assert sent.options[61] == b"\0me"
    assert "user-class" not in sent.options
    assert sent.options.raw[60] == b"\xff"
    assert reply.exchange.client == b"\0me"
    with pytest.raises(ValueError, match="hostnam"):
        await client.discover(hostnam="x")


async def test_anything_else_can_be_sent(dhcp_client):
    assert (await dhcp_client.send(b"rubbish")).reason == DropReason.INVALID
    odd = dhcp_client.messages.packet(MessageType.DISCOVER, ciaddr=1)
    odd.secs = 17
    reply = await dhcp_client.send(odd)
    assert reply.exchange.secs == 17


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hardware_address": "nonsense"}, "expected a hardware address"),
        ({"hardware_address": "02:00:00:00:00:01\n"}, "expected a hardware address"),
        ({"circuit_id": "eth7"}, "give its giaddr"),
        ({"giaddr": "198.51.100"}, "198.51.100"),
    ],
)
def test_a_wrong_client_is_refused(dhcp_server, wrong, words):
    with pytest.raises(ValueError, match=words):
        dhcp_server.client(**wrong)


def test_a_client_is_on_an_interface(make_dhcp_server):
    subnets = [Subnet(f"{net}.0/24", [f"{net}.10-{net}.99"]) for net in ("192.0.2", "198.51.100")]
    server = make_dhcp_server(Config(subnets), interfaces={"eth0": "192.0.2.1", "eth1": ["198.51.100.1"]})
    assert server.client().sync.dora().address == FIRST
    assert server.client(interface="eth1").sync.dora().address == IPv4Address("198.51.100.10")
    with pytest.raises(LookupError, match="there is no interface 'eth2', but 'eth0', 'eth1'"):
        server.client(interface="eth2")


class Slow:
    def __init__(self):
        self.go = asyncio.Event()

    @hookimpl(deadline=100)
    async def dhcp_new_pkt(self, packet):
        if packet.hardware_address.endswith("1"):
            await self.go.wait()


@pytest.mark.dhcp(plugins=[Slow])
async def test_clients_at_once_do_not_wait_for_each_other(dhcp_server):
    """The lanes are those of production: a packet that waits for its hook holds up nobody else's."""
    first, second = dhcp_server.client(), dhcp_server.client()
    waiting = asyncio.create_task(first.dora())
    assert (await second.dora()).address == FIRST
    assert not waiting.done()
    dhcp_server.plugin("Slow").go.set()
    assert (await waiting).address == IPv4Address("192.0.2.11")


async def test_many_at_once(dhcp_server):
    leases = await asyncio.gather(*(dhcp_server.client().dora() for _ in range(90)))
    assert len({lease.address for lease in leases}) == 90


class Unfinished:
    def __init__(self):
        self.go = asyncio.Event()

    @hookimpl
    async def dhcp_pkt_drop(self):
        await self.go.wait()


@pytest.mark.dhcp(plugins=[Unfinished], max_in_flight=1)
async def test_what_is_not_even_looked_at_is_an_error(dhcp_server):
    waiting = [asyncio.create_task(dhcp_server.client().discover()) for _ in range(2)]
    await until(lambda: dhcp_server.server.health.in_flight == 2)
    with pytest.raises(RuntimeError, match="2 packets wait already"):
        await dhcp_server.client().discover()
    dhcp_server.plugin("Unfinished").go.set()
    assert [each.reason for each in await asyncio.gather(*waiting)] == [None, DropReason.NOMEM]
