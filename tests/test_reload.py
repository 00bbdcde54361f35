"""Another configuration and other plugins while packets come: none is lost, and what does not load changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from server_kit import Diary, Waiting, clock, diary, expires, serve, store, transport  # noqa: F401 - some are fixtures
from wire import (
    ACK,
    DISCOVER,
    FIRST,
    NAK,
    OFFER,
    SERVER,
    answer,
    ask,
    config,
    discover,
    lease,
    message,
    renew,
    request,
    turns,
    until,
)

from aiodhcp import Config, ConfigError, ControlCode, DhcpServer, Parameters, Subnet, hookimpl


def elsewhere(pool: str = "192.0.2.100-192.0.2.109", **more: Any) -> Config:
    """The same network, other addresses, shorter leases."""
    subnet = Subnet("192.0.2.0/24", [pool], interfaces=["memory"])
    return Config([subnet], Parameters(lease_time=600), authoritative=True, server_id=SERVER, **more)


class Named:
    """Writes down what it hears under its name."""

    def __init__(self, name: str, heard: list[str], refuses: str = "") -> None:
        self.name, self.heard, self.refuses = name, heard, refuses

    @hookimpl
    def dhcp_control(self, code: ControlCode) -> None:
        self.heard.append(f"{self.name} {code.name}")
        if code.name == self.refuses:
            raise ValueError("not now")

    @hookimpl
    def config_loaded(self, server: DhcpServer, config: Config) -> None:
        self.heard.append(f"{self.name} config of {len(config.subnets)}")
        if self.refuses == "config":
            raise ValueError("not this one")

    @hookimpl
    def dhcp_new_pkt(self) -> None:
        self.heard.append(f"{self.name} packet")


async def test_another_configuration(serve, transport):
    async with serve() as server:
        before = await lease(transport, 1)
        await server.reload(elsewhere())
        assert server.config.parameters.lease_time == 600
        # Leases stay, whatever the pools are; the new pools are for those who come.
        assert server.leases.get(int.from_bytes(bytes(map(int, before.split("."))), "big")) is not None
        assert await lease(transport, 2) == "192.0.2.100"
        assert server.engine.sent == {OFFER: 2, ACK: 2}


async def test_who_is_not_in_the_new_pools_has_to_move(serve, transport):
    async with serve() as server:
        address = await lease(transport, 1)
        await server.reload(elsewhere())
        assert (await ask(transport, renew(1, address))).kind == NAK
        assert await lease(transport, 1) == "192.0.2.100"


async def test_an_offer_of_before_can_be_taken(serve, transport):
    async with serve() as server:
        offer = await ask(transport, discover(1))
        await server.reload(config(lease_time=60))
        ack = await ask(transport, request(1, offer.yiaddr))
        assert (ack.kind, ack.address, int.from_bytes(ack.options[51], "big")) == (ACK, FIRST, 60)


async def test_and_nobody_else_is_offered_it(serve, transport):
    async with serve() as server:
        await ask(transport, discover(1))
        await server.reload(config(lease_time=60))
        assert (await ask(transport, discover(2))).address == "192.0.2.11"
        assert (await ask(transport, message(DISCOVER, 1, xid=7))).address == FIRST


async def test_other_plugins(serve, transport):
    heard: list[str] = []
    old, both, new = (Named(name, heard) for name in ("old", "both", "new"))
    async with serve(old, both) as server:
        heard.clear()
        await server.reload(plugins=[both, new])
        # Who stays hears of the configuration only; the old one stops when the new one runs.
        assert heard == ["new START", "both config of 1", "new config of 1", "old STOP"]
        heard.clear()
        await ask(transport, discover(1))
        assert heard == ["both packet", "new packet"]
        heard.clear()
    assert heard == ["both STOP", "new STOP"]


async def test_packets_in_flight_end_on_the_old_and_the_rest_begin_on_the_new(serve, transport):
    heard: list[str] = []
    waiting, old, new = Waiting(1), Named("old", heard), Named("new", heard)
    async with serve(waiting, old) as server:
        transport.deliver(discover(1))
        await until(lambda: waiting.begun)
        heard.clear()
        reload = asyncio.create_task(server.reload(elsewhere(), plugins=[new]))
        await until(lambda: "new config of 1" in heard)
        await turns()
        # The one that waits is not lost, and the old plugin not stopped before it is done with.
        assert (await ask(transport, discover(2))).address == "192.0.2.100"
        assert heard == ["new START", "new config of 1", "new packet"]
        assert server.health.in_flight == 1
        assert not reload.done()
        waiting.held[1].set()
        offer = await answer(transport)
        assert (offer.client, offer.address, int.from_bytes(offer.options[51], "big")) == (1, FIRST, 3600)
        await reload
        assert heard == ["new START", "new config of 1", "new packet", "old packet", "old STOP"]
        assert server.health.in_flight == 0


async def test_a_packet_whose_lease_is_being_committed(serve, transport, store):
    async with serve() as server:
        offer = await ask(transport, discover(1))
        store.gate.clear()
        transport.deliver(request(1, offer.yiaddr))
        await turns()
        reload = asyncio.create_task(server.reload(elsewhere()))
        await turns()
        store.gate.set()
        ack = await answer(transport)
        assert (ack.kind, ack.address, int.from_bytes(ack.options[51], "big")) == (ACK, FIRST, 3600)
        await reload


async def test_packets_all_the_time(serve, transport):
    """A reload between any two of them: each is answered."""
    async with serve() as server:
        reloads = [elsewhere("192.0.2.10-192.0.2.99"), config()] * 10
        for client, each in enumerate(reloads, 1):
            transport.deliver(discover(client))
            reload = asyncio.create_task(server.reload(each, plugins=[Diary()]))
            transport.deliver(discover(client + 100))
            await reload
            transport.deliver(discover(client + 200))
        kinds = [(await answer(transport)).kind for _ in range(60)]
        assert kinds == [OFFER] * 60
        assert server.engine.dropped == {}


@pytest.mark.parametrize("refuses", ["START", "config"])
async def test_a_plugin_that_refuses_changes_nothing(serve, transport, refuses):
    heard: list[str] = []
    old, good, bad = Named("old", heard), Named("good", heard), Named("bad", heard, refuses)
    async with serve(old) as server:
        before = server.config, server.hooks, server.engine
        heard.clear()
        with pytest.raises(ConfigError, match="plugin bad refused the"):
            await server.reload(elsewhere(), plugins=[good, bad])
        assert (server.config, server.hooks, server.engine) == before
        # Whoever was told of a start hears that it is over.
        assert heard[:2] == ["good START", "bad START"]
        assert "good STOP" in heard
        assert "old STOP" not in heard
        heard.clear()
        assert (await ask(transport, discover(1))).address == FIRST
        assert heard == ["old packet"]


async def test_a_misspelt_hook_changes_nothing(serve, transport):
    class Misspelt:
        @hookimpl
        def dhcp_new_paket(self):
            """Wrong."""

    async with serve() as server:
        hooks = server.hooks
        with pytest.raises(ConfigError, match="unknown hook 'dhcp_new_paket'"):
            await server.reload(plugins=[Misspelt()])
        assert server.hooks is hooks


async def test_reloads_do_not_overlap(serve, transport):
    heard: list[str] = []
    async with serve() as server:
        plugins = [Named(str(number), heard) for number in range(5)]
        await asyncio.gather(*(server.reload(plugins=[each]) for each in plugins))
    assert [each for each in heard if "START" in each or "STOP" in each] == [
        "0 START",
        *[line for number in range(1, 5) for line in (f"{number} START", f"{number - 1} STOP")],
        "4 STOP",
    ]


async def test_what_does_not_run_is_not_reloaded(store):
    with pytest.raises(RuntimeError, match="the server is new"):
        await DhcpServer(config(), store=store).reload()


async def test_a_packet_that_hangs_does_not_hold_up_the_reload(serve, transport, caplog):
    heard: list[str] = []
    waiting, old = Waiting(1), Named("old", heard)
    async with serve(waiting, old, stop_timeout=0.05) as server:
        transport.deliver(discover(1))
        await until(lambda: waiting.begun)
        await server.reload(plugins=[])
        assert "1 packets still go by the configuration before this one" in caplog.text
        assert heard[-1] == "old STOP"
        assert server.health.in_flight == 1
        waiting.held[1].set()
        assert (await answer(transport)).client == 1
        assert server.health.in_flight == 0


async def test_a_stop_during_a_reload(serve, transport):
    begun = asyncio.Event()
    heard: list[str] = []

    class Slow:
        @hookimpl
        async def dhcp_control(self, code: ControlCode) -> None:
            heard.append(code.name)
            if code is ControlCode.START:
                begun.set()
                await asyncio.sleep(0.05)

    async with serve() as server:
        reload = asyncio.create_task(server.reload(plugins=[Slow()]))
        await begun.wait()
        await server.stop()
        with pytest.raises(RuntimeError, match="the server is stopped"):
            await reload
    assert heard == ["START", "STOP"]


async def test_leases_end_by_the_new_plugins(serve, transport, clock):
    heard: list[str] = []

    class Watcher:
        @hookimpl
        def dhcp_delete_client(self, address) -> None:
            heard.append(str(address))

    async with serve() as server:
        address = await lease(transport, 1)
        await server.reload(plugins=[Watcher()])
        clock.now = expires(server, address)
        await until(lambda: heard)
        assert heard == [address]


# ── administrative deletion ──


async def test_an_administrator_deletes_a_lease(serve, transport, store, diary):
    async with serve(diary) as server:
        address = await lease(transport, 1)
        deleted = await server.delete_lease(address)
        assert str(deleted.ip) == address
        assert [entry[0] for entry in diary.of("delete")] == [address]
        # The client is forgotten, and the address free for others.
        assert (await ask(transport, renew(1, address))).kind == NAK
        (row,) = [lease for lease in await store.load() if str(lease.ip) == address]
        assert row.client == b""
        assert await server.delete_lease(address) is None


async def test_the_address_is_given_out_again(serve, transport):
    async with serve(config=elsewhere("192.0.2.10")) as server:
        await lease(transport, 1)
        await server.delete_lease(FIRST)
        assert await lease(transport, 2) == FIRST


async def test_a_declined_address_may_be_freed(serve, transport, diary):
    from wire import decline

    async with serve(diary, config=elsewhere("192.0.2.10")) as server:
        await lease(transport, 1)
        transport.deliver(decline(1, FIRST))
        await until(lambda: ("DECLINE", FIRST) in diary.of("del"))
        diary.entries.clear()
        assert (await server.delete_lease(FIRST)).client == b""
        assert diary.of("delete") == []
        assert await lease(transport, 2) == FIRST


async def test_what_is_no_lease(serve):
    async with serve() as server:
        assert await server.delete_lease("192.0.2.77") is None
        with pytest.raises(ValueError, match=r"192\.0\.2\.256"):
            await server.delete_lease("192.0.2.256")
    with pytest.raises(RuntimeError, match="stopped"):
        await server.delete_lease("192.0.2.77")


async def test_a_deletion_is_there_when_it_is_stored(serve, transport, store):
    async with serve() as server:
        await lease(transport, 1)
        store.gate.clear()
        deletion = asyncio.create_task(server.delete_lease(FIRST))
        await turns()
        assert not deletion.done()
        store.gate.set()
        await deletion
        assert store.commits[-1][0].client == b""


async def test_whoever_gets_the_address_next_keeps_it(serve, transport, store):
    """Though a plugin still thinks about the deletion."""
    go = asyncio.Event()

    class Slow:
        @hookimpl
        async def dhcp_delete_client(self):
            await go.wait()

    async with serve(Slow(), config=elsewhere("192.0.2.10")) as server:
        await lease(transport, 1)
        deletion = asyncio.create_task(server.delete_lease(FIRST))
        await turns()
        assert await lease(transport, 2) == FIRST
        go.set()
        await deletion
    (row,) = await store.load()
    assert row.client == server.leases.get(row.address).client != b""


async def test_a_deletion_after_a_renewal_that_is_still_to_be_committed(serve, transport, store):
    async with serve() as server:
        address = await lease(transport, 1)
        await lease(transport, 2)
        store.gate.clear()
        transport.deliver(renew(2, "192.0.2.11"))
        await turns()
        transport.deliver(renew(1, address))
        await turns()
        deletion = asyncio.create_task(server.delete_lease(address))
        await turns()
        store.gate.set()
        await deletion
    (row,) = [each for each in await store.load() if str(each.ip) == address]
    assert row == server.leases.get(row.address)
    assert row.client == b""


async def test_a_reload_that_is_cancelled(serve, transport):
    heard: list[str] = []

    class Slow:
        name = "slow"

        @hookimpl
        async def dhcp_control(self, code: ControlCode) -> None:
            heard.append(f"slow {code.name}")
            await asyncio.sleep(60 if code is ControlCode.START else 0)

    async with serve() as server:
        reload = asyncio.create_task(server.reload(plugins=[Named("first", heard), Slow()]))
        await until(lambda: "slow START" in heard)
        reload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reload
        assert heard == ["first START", "slow START", "first STOP"]
        assert (await ask(transport, discover(1))).kind == OFFER
