"""Each of the twelve reasons for which a packet is dropped, provoked for real."""

from __future__ import annotations

import asyncio
from typing import Any

from server_kit import Diary, clock, diary, serve, store, transport  # noqa: F401 - fixtures
from wire import DISCOVER, FIRST, SERVER, answer, ask, discover, lease, message, read, reboot, request, turns, until

from aiodhcp import Class, Config, DropReason, Subnet, hookimpl


class Slow:
    """A plugin that awaits the clients with odd numbers, until it is told to go on."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    @hookimpl(deadline=30)
    async def dhcp_new_pkt(self, exchange) -> None:
        if exchange.xid % 2:
            await self.go.wait()


class Hanging:
    @hookimpl(deadline=0.01)
    async def dhcp_new_pkt(self) -> None:
        await asyncio.Event().wait()


class Guests:
    @hookimpl
    def dhcp_handle_options(self, exchange) -> None:
        exchange.classes.add("guests")


class Failing:
    @hookimpl(on_error="drop")
    def dhcp_new_pkt(self) -> None:
        raise ZeroDivisionError


def silent(pool: str, **more: Any) -> Config:
    """A server that does not know every lease of its network."""
    return Config([Subnet("192.0.2.0/24", [pool], interfaces=["memory"])], server_id=SERVER, **more)


def reasons(diary: Diary, xid: int = 1) -> list[str]:
    return [reason for each, reason in diary.of("drop") if each == xid]


async def test_duplicate(serve, transport, diary):
    slow = Slow()
    async with serve(slow, diary) as server:
        transport.deliver_many([discover(1), discover(1)])
        await until(lambda: diary.of("drop"))
        assert reasons(diary) == ["DUPLICATE", "PROCESSED"]
        slow.go.set()
        assert (await answer(transport)).client == 1
        assert server.engine.dropped == {DropReason.DUPLICATE: 1}


async def test_duplicate_of_what_is_being_committed(serve, transport, store, diary):
    async with serve(diary):
        offer = await ask(transport, discover(1))
        store.gate.clear()
        transport.deliver(request(1, offer.yiaddr))
        await turns()
        diary.entries.clear()
        transport.deliver(request(1, offer.yiaddr))
        await turns()
        assert reasons(diary) == ["DUPLICATE", "PROCESSED"]
        store.gate.set()
        assert (await answer(transport)).address == FIRST
        assert transport.sent[-1:] == transport.sent[1:]


async def test_not_a_duplicate_once_it_is_answered(serve, transport, diary):
    async with serve(diary) as server:
        assert await ask(transport, discover(1)) == await ask(transport, discover(1))
        assert server.engine.dropped == {}


async def test_nomem(serve, transport, diary):
    slow = Slow()
    async with serve(slow, diary, max_in_flight=1):
        transport.deliver_many([discover(1), discover(2)])
        await until(lambda: diary.of("drop"))
        assert reasons(diary, 0) == ["NOMEM", "PROCESSED"]
        slow.go.set()
        assert (await answer(transport)).client == 1


async def test_internal_error(serve, transport, diary):
    async with serve(Failing(), diary):
        transport.deliver(discover(1))
        await until(lambda: diary.of("drop"))
        assert reasons(diary) == ["INTERNAL_ERROR", "PROCESSED"]


async def test_internal_error_because_nothing_can_be_committed(serve, transport, store, diary):
    async with serve(diary):
        offer = await ask(transport, discover(1))
        diary.entries.clear()
        store.error = OSError("disk full")
        transport.deliver(request(1, offer.yiaddr))
        await until(lambda: diary.of("drop"))
        assert reasons(diary) == ["INTERNAL_ERROR", "PROCESSED"]
        store.error = None


async def test_timeout_of_a_hook(serve, transport, diary):
    async with serve(Hanging(), diary):
        transport.deliver(discover(1))
        await until(lambda: diary.of("drop"))
        assert reasons(diary) == ["TIMEOUT", "PROCESSED"]


async def test_timeout_of_a_packet_whose_turn_comes_too_late(serve, transport, diary):
    slow = Slow()
    async with serve(slow, diary, wait_timeout=0.02):
        transport.deliver_many([message(DISCOVER, 1, xid=1), message(DISCOVER, 1, xid=2)])
        await asyncio.sleep(0.03)
        slow.go.set()
        await until(lambda: len(diary.of("drop")) >= 3)
        assert reasons(diary, 1) == ["PROCESSED"]
        assert reasons(diary, 2) == ["TIMEOUT", "PROCESSED"]
        assert len(transport.sent) == 1


async def test_unauth(serve, transport, diary):
    async with serve(Guests(), diary, config=silent("192.0.2.10", classes=[Class("guests", deny=True)])):
        transport.deliver(discover(1))
        await until(lambda: diary.of("drop"))
        assert reasons(diary) == ["UNAUTH", "PROCESSED"]


async def test_paused(serve, transport, diary):
    async with serve(diary) as server:
        await server.pause()
        transport.deliver(discover(1))
        assert reasons(diary, 0) == ["PAUSED", "PROCESSED"]


async def test_no_subnets(serve, transport, diary):
    async with serve(diary):
        transport.deliver(message(DISCOVER, 1, giaddr="203.0.113.1"))
        assert reasons(diary) == ["NO_SUBNETS", "PROCESSED"]


async def test_invalid(serve, transport, diary):
    async with serve(diary):
        transport.deliver(b"rubbish")
        assert reasons(diary, 0) == ["INVALID", "PROCESSED"]


async def test_wrong_server(serve, transport, diary):
    async with serve(diary):
        transport.deliver(request(1, FIRST, server="192.0.2.77"))
        assert reasons(diary) == ["WRONG_SERVER", "PROCESSED"]


async def test_noaddress(serve, transport, diary):
    async with serve(diary, config=silent("192.0.2.10")):
        await lease(transport, 1)
        transport.deliver(discover(2))
        await until(lambda: reasons(diary, 2))
        assert reasons(diary, 2) == ["NOADDRESS", "PROCESSED"]


async def test_gen_failure(serve, transport, diary):
    """A client that says it has an address, of which nobody knows (RFC 2131 §4.3.2)."""
    async with serve(diary, config=silent("192.0.2.10-192.0.2.99")):
        transport.deliver(reboot(1, "192.0.2.50"))
        assert reasons(diary) == ["GEN_FAILURE", "PROCESSED"]


async def test_processed(serve, transport, diary):
    """Of a packet that is answered, and of nothing else it is the only one."""
    async with serve(diary):
        await ask(transport, discover(1))
        assert reasons(diary) == ["PROCESSED"]
        assert read(transport.sent[0].data).client == 1


def test_each_reason_has_its_test():
    tests = [name for name in globals() if name.startswith("test_")]
    for reason in DropReason:
        assert any(name.startswith(f"test_{reason.name.lower()}") for name in tests), reason
