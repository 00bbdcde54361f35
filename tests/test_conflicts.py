"""An address is asked for on the network before it is offered: what the server makes of the answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from server_kit import clock, diary, serve, store, transport  # noqa: F401 - fixtures
from wire import (
    ACK,
    DISCOVER,
    FIRST,
    OFFER,
    SERVER,
    answer,
    ask,
    discover,
    lease,
    message,
    number_of,
    read,
    release,
    renew,
    request,
    turns,
    until,
)

from aiodhcp import Config, DropReason, LeaseState, Reservation, Subnet

SECOND, THIRD = "192.0.2.11", "192.0.2.12"


class Network:
    """In the place of a prober: who has which address, and what was asked."""

    def __init__(self, **used: str) -> None:
        self.used = {number_of(address): owner for address, owner in used.items()}
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0

    async def in_use(self, address: int, interface: Any, method: str, timeout: float) -> str:  # noqa: ASYNC109 - as the prober has it
        assert (interface.name, timeout) == ("memory", 0.3)
        self.asked.append((str(number_to_text(address)), method))
        await self.gate.wait()
        return self.used.get(address, "")

    def close(self) -> None:
        self.closed += 1


def number_to_text(address: int) -> str:
    return ".".join(map(str, address.to_bytes(4, "big")))


def asking(pools: str = "192.0.2.10-192.0.2.12", method: Any = "auto", **more: Any) -> Config:
    """A server that asks before it offers."""
    subnet = Subnet(
        "192.0.2.0/24",
        [pools],
        interfaces=["memory"],
        relays=["203.0.113.1"],
        conflict_probe=method,
        probe_timeout=0.3,
        **more,
    )
    return Config([subnet], server_id=SERVER)


async def test_a_free_address_is_offered(serve, transport):
    network = Network()
    async with serve(config=asking(), prober=network):
        assert await lease(transport, 1) == FIRST
    assert network.asked == [(FIRST, "arp")]
    assert network.closed == 1


async def test_one_that_is_in_use_is_not_and_the_next_is_tried(serve, transport, store, diary):
    network = Network(**{FIRST: "02:00:00:00:00:99", SECOND: "answers ICMP echo"})
    async with serve(diary, config=asking(), prober=network) as server:
        offer = await ask(transport, discover(1))
        assert (offer.kind, offer.address) == (OFFER, THIRD)
        assert diary.of("del") == [("CONFLICT", FIRST), ("CONFLICT", SECOND)]
        # Whom to look for, over ICMP nobody knows.
        assert [server.leases.get(number_of(each)).hardware_address for each in (FIRST, SECOND)] == [
            "02:00:00:00:00:99",
            "",
        ]
        assert [server.leases.get(number_of(each)).state for each in (FIRST, SECOND)] == [LeaseState.DECLINED] * 2
        ack = await ask(transport, request(1, THIRD))
        assert (ack.kind, ack.address) == (ACK, THIRD)
        assert diary.of("drop") == [(1, "PROCESSED")] * 2
    # Also over a new start, nobody gets those.
    assert {lease.address for lease in await store.load() if lease.state == LeaseState.DECLINED} == {
        number_of(FIRST),
        number_of(SECOND),
    }


async def test_when_all_are_in_use(serve, transport, diary):
    network = Network(**dict.fromkeys((FIRST, SECOND, THIRD), "somebody"))
    async with serve(diary, config=asking(), prober=network) as server:
        transport.deliver(discover(1))
        await until(lambda: diary.of("drop"))
        assert diary.of("drop") == [(1, "NOADDRESS"), (1, "PROCESSED")]
        assert server.health.in_flight == 0


async def test_a_client_does_not_wait_for_ever(serve, transport, diary):
    """After a few conflicts it has to ask again."""
    used = {f"192.0.2.{host}": "somebody" for host in range(10, 60)}
    network = Network(**used)
    async with serve(diary, config=asking("192.0.2.10-192.0.2.99"), prober=network) as server:
        transport.deliver(discover(1))
        await until(lambda: diary.of("drop"))
        assert len(network.asked) == 4
        assert server.engine.dropped == {DropReason.NOADDRESS: 1}


async def test_who_has_it_already_is_not_asked_for(serve, transport, clock):
    network = Network()
    async with serve(config=asking(), prober=network):
        address = await lease(transport, 1)
        network.asked.clear()
        assert (await ask(transport, renew(1, address))).kind == ACK
        assert (await ask(transport, discover(1))).address == address
        assert (await ask(transport, message(DISCOVER, 1, xid=9))).address == address
        assert network.asked == []


async def test_what_was_offered_is_not_asked_for_again(serve, transport):
    network = Network()
    async with serve(config=asking(), prober=network):
        await ask(transport, discover(1))
        await ask(transport, message(DISCOVER, 1, xid=9))
        assert network.asked == [(FIRST, "arp")]


async def test_what_is_reserved_is_not_asked_for(serve, transport):
    network = Network(**{"192.0.2.50": "somebody"})
    reserved = Reservation("02:00:00:00:00:01", address="192.0.2.50")
    async with serve(config=asking(reservations=[reserved]), prober=network):
        assert await lease(transport, 1) == "192.0.2.50"
        assert network.asked == []


async def test_what_was_released_is_asked_for_again(serve, transport, store):
    network = Network()
    async with serve(config=asking(), prober=network):
        transport.deliver(release(1, await lease(transport, 1)))
        await until(lambda: len(store.commits) == 2)
        await lease(transport, 1)
    assert network.asked == [(FIRST, "arp")] * 2


async def test_the_client_itself_may_answer(serve, transport):
    """It still uses what it had before this server forgot it."""
    network = Network(**{FIRST: read_hardware_address(1)})
    async with serve(config=asking(), prober=network):
        assert await lease(transport, 1) == FIRST


def read_hardware_address(client: int) -> str:
    return discover(client)[28:34].hex(":")


@pytest.mark.parametrize(("method", "used"), [("auto", "icmp"), ("arp", "arp"), ("icmp", "icmp")])
async def test_behind_a_relay_agent_there_is_no_arp(serve, transport, method, used):
    network = Network()
    async with serve(config=asking(method=method), prober=network):
        transport.deliver(message(DISCOVER, 1, giaddr="203.0.113.1"))
        assert read((await transport.next_answer(5)).data).address == FIRST
        assert network.asked == [(FIRST, used)]


async def test_nobody_else_waits_meanwhile(serve, transport):
    network = Network()
    async with serve(config=asking("192.0.2.10-192.0.2.99"), prober=network) as server:
        await lease(transport, 2)
        network.gate.clear()
        transport.deliver(discover(1))
        await turns()
        assert server.health.in_flight == 1
        assert (await ask(transport, renew(2, FIRST))).kind == ACK
        # And nobody else is offered what is being asked for.
        transport.deliver(discover(3))
        await turns()
        network.gate.set()
        assert {(await answer(transport)).address for _ in range(2)} == {SECOND, THIRD}


async def test_a_stop_does_not_wait_for_the_answer(serve, transport, diary):
    network = Network()
    async with serve(diary, config=asking(), prober=network, stop_timeout=0.01):
        network.gate.clear()
        transport.deliver(discover(1))
        await turns()
    assert diary.of("drop") == [(1, "TIMEOUT"), (1, "PROCESSED")]
    assert network.closed == 1


async def test_off_is_off(serve, transport):
    network = Network(**{FIRST: "somebody"})
    async with serve(config=asking(method="off"), prober=network):
        assert await lease(transport, 1) == FIRST
        assert network.asked == []


async def test_an_async_plugin_hears_of_it_before_the_next_address_is_tried(serve, transport):
    from aiodhcp import hookimpl

    told: list[str] = []

    class Slow:
        @hookimpl
        async def dhcp_address_del(self, address, exchange):
            await asyncio.sleep(0)
            told.append(f"{address} {exchange.why}")

    network = Network(**{FIRST: "somebody"})
    async with serve(Slow(), config=asking(), prober=network):
        assert (await ask(transport, discover(1))).address == SECOND
    assert told == [f"{FIRST} {FIRST} is in use: somebody"]
