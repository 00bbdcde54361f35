"""OFFERs that leave later, so that another server is first: what happens meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from client import Client, Clock, make_engine, make_subnet
from server_kit import clock, diary, replies, serve, store, transport  # noqa: F401 - fixtures
from test_conflicts import Network
from wire import (
    ACK,
    DISCOVER,
    FIRST,
    LAST,
    NAK,
    OFFER,
    SERVER,
    answer,
    ask,
    discover,
    lease,
    message,
    number_of,
    read,
    reboot,
    request,
    turns,
    until,
)

from aiodhcp import Class, Config, DropReason, Exchange, Parameters, Pool, Reservation, Settings, hookimpl
from aiodhcp.config_values import parse_delay

NewClient = Callable[..., Client]
MEMORY = {"transport": {"type": "udp"}, "subnet": [{"subnet": "192.0.2.0/24"}]}


def delaying(seconds: float = 5, **more: Any) -> Config:
    """A server whose OFFERs leave after that time."""
    subnet = make_subnet(f"{FIRST}-{LAST}", interfaces=["memory"], relays=["203.0.113.1"], **more)
    return Config([subnet], Parameters(offer_delay=seconds), server_id=SERVER, authoritative=True)


# ── how it waits ──


async def test_an_offer_leaves_when_its_time_has_come(serve, transport, diary):
    async with serve(diary, config=delaying(0.05)) as server:
        begun = time.monotonic()
        offer = await ask(transport, discover(1))
        assert time.monotonic() - begun >= 0.05
        assert (offer.kind, offer.address) == (OFFER, FIRST)
        ack = await ask(transport, request(1, FIRST))
        assert (ack.kind, ack.address) == (ACK, FIRST)
        assert server.health.in_flight == 0
    assert [entry for entry in diary.entries if entry[0] in ("send", "drop")] == [
        ("send", 1, OFFER),
        ("drop", 1, "PROCESSED"),
        ("send", 1, ACK),
        ("drop", 1, "PROCESSED"),
    ]


async def test_nobody_waits_for_it(serve, transport):
    """Not even the same client, which asks whether an address is still its own."""
    async with serve(config=delaying()):
        transport.deliver_many([discover(1), reboot(1, "192.0.2.77"), request(2, FIRST), request(3, LAST)])
        await until(lambda: len(transport.sent) == 3)
        assert replies(transport) == [(NAK, 1), (NAK, 2), (ACK, 3)]


async def test_others_have_room_beside_it(serve, transport):
    """However many ask for an OFFER, who has an address keeps it."""
    async with serve(config=delaying(), max_in_flight=4) as server:
        transport.deliver_many([discover(1), discover(2), discover(3), discover(4), discover(1), request(5, LAST)])
        assert (await answer(transport)).kind == ACK
        assert server.health.in_flight == 2
        assert server.engine.dropped == {DropReason.NOMEM: 2, DropReason.DUPLICATE: 1}


async def test_rapid_commit_does_not_wait(serve, transport):
    config = Config(delaying().subnets, Parameters(offer_delay=5, rapid_commit=True), server_id=SERVER)
    async with serve(config=config):
        assert (await ask(transport, message(DISCOVER, 1, [(80, b"")]))).kind == ACK


async def test_the_client_knows_what_it_will_be_offered(serve, transport):
    """It asked before a restart, say, and takes it before the OFFER is due: which then is not sent."""
    async with serve(config=delaying(0.05)) as server:
        transport.deliver(discover(1))
        await turns()
        assert server.health.in_flight == 1
        assert (await ask(transport, request(1, FIRST))).kind == ACK
        await until(lambda: server.health.in_flight == 0)
        assert server.engine.dropped == {DropReason.TIMEOUT: 1}
        assert replies(transport) == [(ACK, 1)]


async def test_what_the_client_did_not_wait_for_is_not_sent(serve, transport, diary):
    """It took another server's OFFER; the address is somebody else's at once."""
    config = Config([make_subnet(FIRST, interfaces=["memory"])], Parameters(offer_delay=0.05), server_id=SERVER)
    async with serve(diary, config=config) as server:
        transport.deliver_many([discover(1), request(1, LAST, server="192.0.2.2"), discover(2)])
        offer = await answer(transport)
        assert (offer.kind, offer.client, offer.address) == (OFFER, 2, FIRST)
        assert server.engine.dropped == {DropReason.WRONG_SERVER: 1, DropReason.TIMEOUT: 1}
    assert diary.of("drop").count((1, "PROCESSED")) == 2
    assert len(transport.sent) == 1


async def test_the_same_request_again_waits_once(serve, transport):
    async with serve(config=delaying(0.05)) as server:
        transport.deliver_many([discover(1), discover(1)])
        transport.deliver(discover(1))
        relayed = message(DISCOVER, 1, giaddr="203.0.113.1")
        again = message(DISCOVER, 1, xid=77)
        transport.deliver_many([relayed, again])
        await until(lambda: server.health.in_flight == 0)
        # Each of the others is another one.
        assert [each.destination == number_of("203.0.113.1") for each in transport.sent] == [False, True, False]
        assert {read(each.data).address for each in transport.sent} == {FIRST}
        assert server.engine.dropped == {DropReason.DUPLICATE: 2}


async def test_after_hooks_and_questions_to_the_network(serve, transport):
    """What is decided late waits likewise, and then for plugins; and its client's next packets do not."""
    network = Network()

    class Slow:
        @hookimpl
        async def dhcp_new_pkt(self) -> None:
            await asyncio.sleep(0)

        @hookimpl
        async def dhcp_pkt_send(self) -> None:
            await asyncio.sleep(0)

    config = delaying(0.05, conflict_probe="arp", probe_timeout=0.3)
    async with serve(Slow(), config=config, prober=network) as server:
        transport.deliver(discover(1))
        await until(lambda: network.asked)
        await turns()
        assert (await ask(transport, reboot(1, "192.0.2.77"))).kind == NAK
        transport.deliver(discover(1))
        assert (await answer(transport)).kind == OFFER
        await until(lambda: server.health.in_flight == 0)
        assert server.engine.dropped == {DropReason.DUPLICATE: 1}
        assert await lease(transport, 2) == "192.0.2.11"


async def test_it_goes_by_the_configuration_that_it_was_decided_by(serve, transport):
    async with serve(config=delaying(0.05)) as server:
        transport.deliver(discover(1))
        await turns()
        await server.reload(delaying(0))
        assert replies(transport) == [(OFFER, 1)]
        assert (await ask(transport, discover(2))).kind == OFFER
        assert server.engine.in_flight == 0


async def test_a_plugin_that_goes_stays_until_then(serve, transport, diary, caplog):
    """It hears of the OFFER, and after that of its STOP, however long the OFFER waits."""
    async with serve(diary, config=delaying(0.2), stop_timeout=0.01) as server:
        transport.deliver(discover(1))
        await turns()
        await server.reload(plugins=[])
        assert diary.entries[-3:] == [("send", 1, OFFER), ("drop", 1, "PROCESSED"), ("control", "STOP")]
    assert not caplog.records


# ── the end ──


async def test_a_server_that_stops_does_not_wait_for_it(serve, transport, diary):
    begun = time.monotonic()
    async with serve(diary, config=delaying(5)) as server:
        transport.deliver_many([discover(1), discover(2)])
        await turns()
        assert server.health.in_flight == 2
    assert time.monotonic() - begun < 4
    assert transport.sent == []
    assert diary.of("drop") == [(1, "PAUSED"), (1, "PROCESSED"), (2, "PAUSED"), (2, "PROCESSED")]
    assert diary.entries[-1] == ("control", "STOP")


async def test_what_is_delayed_while_the_server_stops(serve, transport):
    """A plugin held it up until then."""
    gate = asyncio.Event()

    class Holding:
        @hookimpl
        async def dhcp_new_pkt(self) -> None:
            await gate.wait()

        @hookimpl
        async def dhcp_pkt_drop(self, exchange: Exchange, reason: DropReason) -> None:
            await asyncio.sleep(0)
            said.append(reason)

    said: list[DropReason] = []
    begun = time.monotonic()
    async with serve(Holding(), config=delaying(5)):
        transport.deliver(discover(1))
        await turns()
        asyncio.get_running_loop().call_later(0.02, gate.set)
    assert time.monotonic() - begun < 4
    assert said == [DropReason.PAUSED, DropReason.PROCESSED]


async def test_a_server_that_waits_for_nothing(serve, transport):
    async with serve(config=delaying(5), stop_timeout=0.0) as server:
        transport.deliver(discover(1))
        await turns()
    assert server.health.in_flight == 0
    assert transport.sent == []


# ── where it is said ──


@pytest.mark.parametrize(
    "config",
    [
        {"parameters": Parameters(offer_delay=0.5)},
        {"classes": [Class("all", Parameters(offer_delay=0.5), test="pkt4.htype == 1")]},
        {"reservations": [Reservation("02:00:00:00:00:01", parameters=Parameters(offer_delay=0.5))]},
    ],
)
def test_at_each_level(new_client: NewClient, config: dict[str, Any]) -> None:
    client = new_client(make_engine(**config))
    client.join()
    assert client.exchange.delay == 0
    client.discover()
    assert client.exchange.delay == 0.5


def test_of_a_subnet_or_a_pool(new_client: NewClient) -> None:
    slow, fast = Parameters(offer_delay=0.5), Parameters(offer_delay=0)
    client = new_client(make_engine(make_subnet("192.0.2.10", Pool("192.0.2.20", fast), parameters=slow)))
    for delay in (0.5, 0):
        client.discover()
        assert client.exchange.delay == delay
        client = new_client(client.engine)
    assert client.discover() is None
    assert client.exchange.delay == 0


def test_a_client_without_an_address_waits_too(new_client: NewClient) -> None:
    """RFC 2563: that there is none may be an OFFER."""
    told = Parameters(offer_delay=0.5, auto_configure=True)
    engine = make_engine(make_subnet("192.0.2.10"), parameters=told)
    new_client(engine).join()
    client = new_client(engine)
    assert client.discover(auto_config=1).yiaddr == 0
    assert client.exchange.delay == 0.5


async def test_that_there_is_no_address_is_said_in_time(serve, transport):
    config = Config(
        [make_subnet(FIRST, interfaces=["memory"])],
        Parameters(offer_delay=0.02, auto_configure=True),
        server_id=SERVER,
    )
    async with serve(config=config):
        await lease(transport, 1)
        offer = await ask(transport, discover(2, [(116, b"\1")]))
        assert (offer.kind, offer.yiaddr, offer.options[116]) == (OFFER, 0, b"\1")


def test_what_is_tried_again_is_delayed_anew(new_client: NewClient, clock: Clock) -> None:
    engine = make_engine(make_subnet("192.0.2.10", conflict_probe="arp"), parameters=Parameters(offer_delay=1))
    client = new_client(engine)
    client.discover()
    exchange = client.exchange
    engine.conflict(exchange, "somebody")
    assert exchange.delay == 0
    engine.decide(exchange)
    assert (exchange.reason, exchange.delay) == (DropReason.NOADDRESS, 0)


@pytest.mark.parametrize(
    ("value", "seconds"), [("200ms", 0.2), (0.2, 0.2), ("2s", 2.0), (0, 0.0), ("0", 0.0), ("0s", 0.0), ("0ms", 0.0)]
)
def test_how_it_is_written(value: object, seconds: float) -> None:
    table = {**MEMORY, "subnet": [{"subnet": "192.0.2.0/24", "offer-delay": value}]}
    assert Settings.of(table).config().subnets[0].parameters.offer_delay == seconds


@pytest.mark.parametrize("value", [-1, "x", False, True, None, "-1s", [0]])
def test_how_it_is_not(value: object) -> None:
    with pytest.raises(ValueError, match="expected seconds like"):
        parse_delay(value)


@pytest.mark.parametrize("seconds", [-1, 10.5, "1s"])
def test_its_limits(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"^offer_delay: expected 0 to 10 seconds, got "):
        Parameters(offer_delay=seconds)


def test_no_longer_than_the_offer_is_kept() -> None:
    for levels in ({"parameters": Parameters(offer_delay=2)}, {"classes": [Class("c", Parameters(offer_delay=2))]}):
        with pytest.raises(ValueError, match=r"^offer_time: expected more than offer-delay, 2 seconds, got 2"):
            make_engine(offer_time=2, **levels)
    subnet = make_subnet(Pool("192.0.2.10", Parameters(offer_delay=2)))
    with pytest.raises(ValueError, match=r"^offer_time: expected more"):
        make_engine(subnet, offer_time=1)
