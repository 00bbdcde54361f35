"""Clients that are told to renew: by the server, again until they do, and by whom that is asked."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from server_kit import Clock, Store, clock, serve, store, transport  # noqa: F401 - fixtures
from typer.testing import CliRunner
from wire import PATIENCE, ask, config, inform, lease, message, number_of, read, release, renew, until

from aiodhcp import (
    Config,
    ConfigError,
    DhcpServer,
    ForcedRenewals,
    Lease,
    LeaseState,
    MemoryStore,
    MemoryTransport,
    SqliteStore,
    Subnet,
    cli,
    renewal_commands,
    renewals,
)
from aiodhcp.control import ControlSocket
from aiodhcp.control import ask as command
from aiodhcp.errors import AiodhcpError
from aiodhcp.nonces import verified
from aiodhcp.transports.relay import RelayTransport

CAPABLE = [(145, b"\1")]
FORCERENEW = 9
Serve = Callable[..., Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said again is said soon."""
    monkeypatch.setattr(renewals, "WAITS", (0.02, 0.02, 0.02, 0.02))
    monkeypatch.setattr(renewals, "TURN", 0.005)


def said(transport: MemoryTransport) -> list[str]:
    """To whom a FORCERENEW was sent, each time."""
    return [str(IPv4Address(each.destination)) for each in transport.sent if read(each.data).kind == FORCERENEW]


def nonce_of(server: DhcpServer, address: str) -> bytes:
    known = server.leases.get(number_of(address))
    assert known is not None
    assert known.nonce is not None
    return known.nonce


def of(*told: str, **refused: str) -> ForcedRenewals:
    return ForcedRenewals([IPv4Address(each) for each in told], refused)


# ── what the server does ──


async def test_a_client_is_told_until_it_renews(serve: Serve, transport: MemoryTransport, clock: Clock) -> None:
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        assert await server.force_renew(address) == of(address)
        await until(lambda: len(said(transport)) == 2)
        first, second = (each for each in transport.sent if read(each.data).kind == FORCERENEW)
        assert (str(IPv4Address(first.destination)), first.port, first.hardware) == (address, 68, None)
        nonce = nonce_of(server, address)
        assert verified(first.data, nonce) < verified(second.data, nonce)
        clock.now += 1
        transport.deliver(renew(1, address))
        await until(lambda: server._renewals._task is None)
        assert len(said(transport)) == server.engine.sent[FORCERENEW] <= 3
        assert nonce_of(server, address) == nonce
        assert not server.engine.nonces.unheeded


async def test_a_client_that_does_not_renew_is_given_up(
    serve: Serve, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        nonce = nonce_of(server, address)
        await server.force_renew(address)
        await until(lambda: server._renewals._task is None)
        assert said(transport) == [address] * 4
        assert "told clients to renew: 0 have, 0 leases ended, 1 clients have not heeded it" in caplog.text
        # Maybe it has no nonce: it gets another one, and can be told at any time.
        assert await server.force_renew(address) == of(address)
        transport.deliver(renew(1, address))
        await until(lambda: read(transport.sent[-1].data).kind == 5)
        assert nonce_of(server, address) == nonce, "it did not say that it knows of nonces"


async def test_who_gives_its_lease_back_is_told_no_more(
    serve: Serve, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        await server.force_renew(address)
        await until(lambda: said(transport))
        transport.deliver(release(1, address))
        await until(lambda: server._renewals._task is None)
        assert "told clients to renew: 0 have, 1 leases ended, 0 clients" in caplog.text


async def test_nobody_is_told_while_the_server_is_paused(serve: Serve, transport: MemoryTransport) -> None:
    """It would drop the renewals."""
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        await server.force_renew(address)
        await server.pause()
        await asyncio.sleep(0.05)
        assert said(transport) == []
        with pytest.raises(RuntimeError, match="the server is paused"):
            await server.force_renew(address)
        await server.resume()
        await until(lambda: said(transport))


async def test_a_reload_counts_for_those_that_are_to_be_told(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        await server.force_renew(address)
        await server.reload(Config(config().subnets, server_id="192.0.2.1", force_renew="off"))
        await until(lambda: server._renewals._task is None)
        assert len(said(transport)) <= 1
        assert await server.force_renew(address) == ForcedRenewals([], {address: "force-renew is off"})


async def test_who_is_asked_for_twice_is_told_as_if_once(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        await server.force_renew(address, int(IPv4Address(address)), IPv4Address(address))
        await server.force_renew(address)
        await until(lambda: server._renewals._task is None)
        # The second time it begins anew: the first message may have left by then.
        assert said(transport) in ([address] * 4, [address] * 5)


async def test_a_server_that_is_paused_meanwhile(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        await lease(transport, 1, CAPABLE)
        asking = asyncio.create_task(server.force_renew("0.0.0.0/0"))
        await asyncio.sleep(0)
        await server.pause()
        with pytest.raises(RuntimeError, match="has been paused or stopped"):
            await asking
        assert server._renewals._task is None


async def test_who_is_meant(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        one, two = await lease(transport, 1, CAPABLE), await lease(transport, 2, CAPABLE)
        three = await lease(transport, 3)
        why = {three: "its client has no nonce: it has not asked for one"}
        assert await server.force_renew("0.0.0.0/0") == ForcedRenewals([IPv4Address(one), IPv4Address(two)], why)
        assert await server.force_renew(IPv4Network("192.0.2.10/32")) == of(one)
        assert await server.force_renew("02-00-00-00-00-02", three) == ForcedRenewals([IPv4Address(two)], why)
        _, refused = await server.force_renew("02:00:00:00:00:77", "10.0.0.0/8", "192.0.2.77")
        assert refused == {
            "02:00:00:00:00:77": "it has no lease",
            "10.0.0.0/8": "nobody has a lease there",
            "192.0.2.77": "there is no lease of it",
        }
        assert await server.force_renew() == of()
        for nonsense in ("pc-17", "192.0.2.1/24", "192.0.2", "192.0.2.0/33", ":"):
            with pytest.raises(ValueError, match=r".+"):
                await server.force_renew(nonsense, one)


async def test_many_are_told_a_few_at_a_time(
    serve: Serve, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "WAITS", (60.0,))
    turns: list[int] = []
    async with serve() as server:
        for client in range(1, 26):
            await lease(transport, client, CAPABLE)
        send = server._renewals._send
        monkeypatch.setattr(server._renewals, "_send", lambda answers: (turns.append(len(answers)), send(answers)))
        assert len((await server.force_renew("192.0.2.0/24")).told) == 25
        await until(lambda: len(said(transport)) == 25)
        assert turns == [10, 10, 5]
        assert said(transport) == [f"192.0.2.{10 + each}" for each in range(25)]


async def test_a_fault_is_logged_and_the_others_are_told(
    serve: Serve, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as server:
        one, two = await lease(transport, 1, CAPABLE), await lease(transport, 2, CAPABLE)
        await server.force_renew(one, two)
        good = server._renewals._next
        faults = iter([ZeroDivisionError()])

        def bad(*arguments: Any) -> Any:
            for each in faults:
                raise each
            return good(*arguments)

        monkeypatch.setattr(server._renewals, "_next", bad)
        await until(lambda: server._renewals._task is None)
        assert said(transport) == [two] * 4
        assert "a fault of aiodhcp" in caplog.text


async def test_a_nonce_that_could_not_be_told(
    serve: Serve, transport: MemoryTransport, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ACK that has it waits for a commit that fails: the client renews once more, and hears of another one."""
    monkeypatch.setattr("aiodhcp.commits.RETRY_DELAYS", (0.001,))
    async with serve(config=config()) as server:
        address = await lease(transport, 1)
        store.error = OSError("disk full")
        transport.deliver(message(3, 1, CAPABLE, ciaddr=address))
        await until(lambda: server.engine.dropped)
        store.error = None
        await until(lambda: server.health.status == "ok")
        ack = await ask(transport, message(3, 1, CAPABLE, ciaddr=address))
        assert ack.options[90][-16:] == nonce_of(server, address)
        assert 90 not in (await ask(transport, message(3, 1, CAPABLE, ciaddr=address))).options


async def test_a_nonce_survives_a_restart(tmp_path: Path, transport: MemoryTransport, clock: Clock) -> None:
    async def restarted() -> AsyncIterator[DhcpServer]:
        for _ in range(2):
            opened = SqliteStore(tmp_path / "leases")
            async with DhcpServer(config(), store=opened, transport=transport, clock=clock) as server:
                yield server

    nonces, heard = [], []
    async for server in restarted():
        if not nonces:
            address = await lease(transport, 1, CAPABLE)
        nonces.append(nonce_of(server, address))
        transport.sent.clear()
        clock.now += 1
        assert await server.force_renew(address) == of(address)
        await until(lambda: said(transport))
        heard += [verified(each.data, nonces[0]) for each in transport.sent]
    assert nonces[0] == nonces[1]
    assert heard == sorted(set(heard))


async def test_a_server_that_ends_tells_nobody_any_more(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        await server.force_renew(address)
        # Stopped before the first is sent; it begins anew when it is started again.
    assert said(transport) == []
    with pytest.raises(RuntimeError, match="the server is stopped"):
        await server.force_renew(address)
    async with server:
        assert said(transport) == []
        await server.force_renew(address)
        await until(lambda: said(transport))


async def test_relay_agents_only() -> None:
    server = DhcpServer(config(interface="relay"), store=MemoryStore(), transport=RelayTransport("127.0.0.1", 6799))
    pytest.importorskip("aioudp")
    async with server:
        with pytest.raises(ConfigError, match="reaches relay agents only"):
            await server.force_renew("192.0.2.10")


async def test_by_a_transport_of_the_embedder() -> None:
    """Through the one that the interface belongs to, with the loopback's addresses, so that nothing leaves it."""
    loop = asyncio.get_running_loop()
    subnet = Subnet("127.0.0.0/8", ["127.0.0.100-127.0.0.199"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.100", 68))
        except PermissionError:
            pytest.skip("port 68 needs a privilege")
        sock.setblocking(False)
        known = Lease(number_of("127.0.0.100"), b"me", 1, b"x", LeaseState.ACTIVE, 0, 1 << 40, nonce=bytes(16))
        async with DhcpServer(Config([subnet]), store=MemoryStore([known])) as server:
            endpoint, _ = await loop.create_datagram_endpoint(server.protocol, local_addr=("127.0.0.1", 0))
            assert await server.force_renew("127.0.0.100") == of("127.0.0.100")
            async with asyncio.timeout(PATIENCE):
                data = await loop.sock_recv(sock, 4096)
            assert verified(data, bytes(16))
            endpoint.close()


async def test_an_inform_is_no_renewal(serve: Serve, transport: MemoryTransport) -> None:
    async with serve() as server:
        address = await lease(transport, 1, CAPABLE)
        await server.force_renew(address)
        transport.deliver(inform(1, address))
        await until(lambda: server._renewals._task is None)
        assert said(transport) == [address] * 4


# ── who asks for it ──

unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix-domain sockets")


@unix
async def test_over_the_control_socket(
    serve: Serve, transport: MemoryTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> str:
        return ""

    def run(*arguments: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, ["force-renew", *map(str, arguments)])
        return result.exit_code, result.output

    async def aiodhcp(*arguments: str | Path) -> tuple[int, str]:
        return await asyncio.to_thread(run, *arguments, "--control", path)

    path = tmp_path / "s"
    async with serve() as server:
        control = ControlSocket(server, path, nothing)
        await control.start()
        one, two, three = [await lease(transport, each, CAPABLE if each < 3 else []) for each in (1, 2, 3)]
        why = "its client has no nonce: it has not asked for one"
        assert await command(path, "force-renew", who=f"{one} {three}") == {"told": [one], "refused": {three: why}}
        with pytest.raises(AiodhcpError, match="'nonsense'"):
            await command(path, "force-renew", who="nonsense")

        assert await aiodhcp(one, "02:00:00:00:00:02") == (0, "told to renew: 2\n")
        assert await aiodhcp("--all") == (0, f"told to renew: 2\n{three}  {why}\n")
        assert await aiodhcp("--subnet", "192.0.2.12/32") == (1, f"told to renew: 0\n{three}  {why}\n")
        code, output = await aiodhcp("--subnet", "192.0.2.0/24", "--json")
        assert (code, json.loads(output)) == (0, {"told": [one, two], "refused": {three: why}})
        monkeypatch.setattr(renewal_commands, "MOST_SHOWN", 1)
        lines = (await aiodhcp(three, "192.0.2.90", "192.0.2.91"))[1].splitlines()
        assert lines == ["told to renew: 0", f"{three}  {why}", "and 2 more that can't be told"]
        await control.close()
    transport.sent.clear()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name addresses, or give --subnet or --all"),
        (("some.toml",), "name addresses, or give --subnet or --all"),
        (("--all", "192.0.2.1"), "--all goes with no address"),
        (("--all", "--subnet", "192.0.2.0/24"), "--all goes with no address"),
        (("--subnet", "192.0.2.1/24"), "--subnet: expected a network like 192.168.50.0/24: 192.0.2.1/24 has host bits"),
        (("192.0.2.300", "192.0.2.1"), "expected an address like 192.168.50.100 or 02:00:00:00:00:01"),
        (("02:00:00:00:00:g1", "192.0.2.1"), "got '02:00:00:00:00:g1'"),
        (("192.0.2.1", "nonesuch.toml"), "nonesuch.toml"),
    ],
)
def test_what_can_not_be_asked(arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(cli.app, ["force-renew", *arguments])
    assert words in result.output
    assert result.exit_code in (1, 2)
