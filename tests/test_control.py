"""The control socket: what it answers, whom it answers, and that nothing said on it harms the server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from server_kit import Store
from typer.testing import CliRunner
from wire import NAK, PATIENCE, answer, ask, config, decline, discover, lease, number_of, renew, request, until

from aiodhcp import ConfigError, DhcpServer, Drop, LeaseState, MemoryStore, MemoryTransport, SqliteStore, cli, hookimpl
from aiodhcp import control as module
from aiodhcp.config import Settings, load_config
from aiodhcp.control import ControlSocket, NotRunning, Reloads
from aiodhcp.control import ask as command
from aiodhcp.errors import AiodhcpError
from aiodhcp.registration import Plugin

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix-domain sockets")


class Picky:
    """Serves all but one."""

    name = "picky"

    @hookimpl
    def dhcp_new_pkt(self, packet: Any) -> Drop | None:
        return Drop("not that one") if packet.hardware_address.endswith(":63") else None

    @hookimpl
    async def dhcp_pkt_drop(self) -> None: ...


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "s"


def mode(path: Path) -> int:
    return path.stat().st_mode if path.exists() else 0


def put(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@asynccontextmanager
async def controlled(
    path: Path, *, reload: Callable[[], Any] | None = None, **more: Any
) -> AsyncIterator[tuple[DhcpServer, MemoryTransport]]:
    """A server with a control socket."""

    async def nothing() -> str:
        return "reloaded"

    transport = MemoryTransport()
    async with DhcpServer(config(), store=more.pop("store", MemoryStore()), transport=transport, **more) as server:
        control = ControlSocket(server, path, reload or nothing)
        await control.start()
        try:
            yield server, transport
        finally:
            await control.close()


async def say(path: Path, line: bytes) -> dict[str, Any]:
    """One line, whatever it is, and the answer."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(line)
        said = json.loads(await reader.readline())
        writer.close()
    assert isinstance(said, dict)
    return said


# ── commands ──


async def test_health_and_counters(path: Path) -> None:
    async with controlled(path, plugins=[Picky()]) as (_, transport):
        assert await command(path, "health") == {"status": "ok", "why": "", "uncommitted": 0, "in_flight": 0}
        await lease(transport, 1)
        transport.deliver(discover(0x63))
        transport.deliver(b"rubbish")
        await until(lambda: len(transport.sent) == 2)
        stats = await command(path, "stats")
        while stats["health"]["in_flight"]:
            stats = await command(path, "stats")
        assert stats["received"] == {"DISCOVER": 2, "REQUEST": 1}
        assert stats["sent"] == {"OFFER": 1, "ACK": 1}
        assert stats["dropped"] == {"INVALID": 1}
        assert (stats["vetoed"], stats["leases"], stats["health"]["status"]) == (1, 1, "ok")
        (subnet,) = stats["subnets"]
        assert (subnet["subnet"], subnet["addresses"], subnet["in_use"]) == ("192.0.2.0/24", 90, 1)
        assert stats["shared_networks"] == []


async def test_hooks(path: Path) -> None:
    settings = Settings.of({"interfaces": ["eth0"]})
    async with controlled(path, plugins=[Plugin(Picky(), settings=settings, source="here"), object()]) as (
        _,
        transport,
    ):
        transport.deliver(discover(0x63))
        report = await command(path, "hooks")
    picky, other = report["plugins"]
    assert (picky["name"], picky["state"], picky["source"]) == ("picky", "working", "here")
    assert picky["settings"]["interfaces"] == ["eth0"]
    assert (other["name"], other["state"], other["settings"]) == ("object", "has no hooks", None)
    new_pkt = next(each for each in report["hooks"] if each["hook"] == "dhcp_new_pkt")
    assert (new_pkt["plugin"], new_pkt["calls"], new_pkt["vetoes"]) == ("picky", 1, 1)
    assert new_pkt["histogram"][-1] == [None, 0]
    assert report["shadow"] == []


async def test_explain(path: Path) -> None:
    async with controlled(path, explain=3) as (_, transport):
        await lease(transport, 1)
        await lease(transport, 2)
        assert len(await command(path, "explain")) == 3
        offered, acknowledged = await command(path, "explain", hardware_address="02:00:00:00:00:02")
    assert offered["hardware_address"] == "02:00:00:00:00:02"
    assert dict(acknowledged["facts"])["outcome"].startswith("ACK to ")


async def test_cursors(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def aiodhcp(*arguments: str) -> Any:
        return asyncio.to_thread(CliRunner().invoke, cli.app, ["cursors", "--control", str(path), *arguments])

    async with controlled(path, store=SqliteStore(tmp_path / "leases")) as (server, transport):
        assert await command(path, "cursors") == []
        for name in ("billing", "a[b]\x1b"):
            async with server.events(cursor=name):
                await lease(transport, len(name))
        strange, billing = await command(path, "cursors")
        assert (strange["name"], strange["handled"], strange["behind"]) == ("a[b]\x1b", 1, 1)
        assert (billing["name"], billing["handled"], billing["behind"]) == ("billing", 0, 2)
        header, first, second = (await aiodhcp()).output.splitlines()
        assert header.split() == ["Cursor", "Handled", "Behind", "Moved"]
        assert first.split()[:3] == ["a[b]\\x1b", "1", "1"]
        assert second.split()[:3] == ["billing", "0", "2"]
        assert json.loads((await aiodhcp("--json")).output) == [strange, billing]
        result = await aiodhcp("--drop", "nobody")
        assert (result.output, result.exit_code) == ("aiodhcp: there is no cursor 'nobody'\n", 1)
        assert (await aiodhcp("--drop", "")).exit_code == 2
        result = await aiodhcp("--drop", "billing")
        assert (result.output, result.exit_code) == ("dropped: billing, which was 2 events behind\n", 0)
        assert [each.name for each in await server.cursors()] == ["a[b]\x1b"]


async def test_explain_where_nothing_is_kept(path: Path) -> None:
    async with controlled(path):
        with pytest.raises(AiodhcpError, match="set explain = 1000 in its configuration"):
            await command(path, "explain")


async def test_delete(path: Path) -> None:
    async with controlled(path) as (server, transport):
        address = await lease(transport, 1)
        deleted = await command(path, "delete", address=address)
        assert deleted == {
            "address": address,
            "state": "active",
            "client": "01:02:00:00:00:00:01",
            "hardware_address": "02:00:00:00:00:01",
            "hostname": None,
        }
        assert server.leases.find(bytes.fromhex("01020000000001"), number_of(address), number_of(address)) is None
        assert (await ask(transport, renew(1, address))).kind == NAK
        assert await command(path, "delete", address="192.0.2.50") is None
        with pytest.raises(AiodhcpError, match="Expected 4 octets"):
            await command(path, "delete", address="192.0.2")


async def test_to_clear_all_probations_takes_no_lease(path: Path) -> None:
    """One that ends by itself while the first is being committed, and whose address is somebody's by then."""
    store = Store()
    async with controlled(path, store=store) as (server, transport):
        first, second = [await lease(transport, client) for client in (1, 2)]
        for client, address in ((1, first), (2, second)):
            transport.deliver(decline(client, address))
        await until(
            lambda: all(each.state == LeaseState.DECLINED for each in server.leases) and not server.health.uncommitted
        )
        store.gate.clear()
        clearing = asyncio.create_task(command(path, "declined", clear="all"))
        await until(lambda: store.under_way)
        probation = server.leases.get(number_of(second))
        assert probation is not None
        server.engine.delete(probation.address, server.now())
        offer = await ask(transport, discover(3, [(50, IPv4Address(second).packed)]))
        transport.deliver(request(3, offer.yiaddr))
        await until(lambda: server.leases.get(number_of(second)).holds(server.now()))
        store.gate.set()
        assert [each["address"] for each in await clearing] == [first]
        held = server.leases.get(number_of(second))
        assert held is not None
        assert held.holds(server.now())


async def test_pause_and_resume(path: Path) -> None:
    async with controlled(path) as (server, transport):
        assert (await command(path, "pause"))["status"] == "paused"
        transport.deliver(discover(1))
        assert server.engine.in_flight == 0
        assert (await command(path, "resume"))["status"] == "ok"
        transport.deliver(discover(2))
        assert (await answer(transport)).client == 2


async def test_reload_says_what_came_of_it(path: Path) -> None:
    said: list[Exception | str] = ["reloaded", ConfigError("a.toml:1: no\na.toml:2: neither"), ZeroDivisionError("0")]

    async def reload() -> str:
        each = said.pop(0)
        if isinstance(each, Exception):
            raise each
        return each

    async with controlled(path, reload=reload):
        assert await command(path, "reload") == "reloaded"
        with pytest.raises(AiodhcpError, match=r"a.toml:1: no\na.toml:2: neither"):
            await command(path, "reload")
        with pytest.raises(AiodhcpError, match="a fault of the server: ZeroDivisionError"):
            await command(path, "reload")


# ── what clients may do ──


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"rubbish\n", "expected a JSON object in a line"),
        (b"\xff\xfe\n", "expected a JSON object in a line"),
        (b"[" * 60000 + b"\n", "expected a JSON object in a line"),
        (b"\n", "expected a JSON object in a line"),
        (b"[1]\n", "expected an object with a command"),
        (b'{"command": 3}\n', "expected an object with a command"),
        (b'{"command": "explode"}\n', "there is no command 'explode'; there are health, "),
        (b'{"command": "delete"}\n', "delete: missing a required argument: 'address'"),
        (b'{"command": "health", "self": "x"}\n', "health: got an unexpected keyword argument 'self'"),
        (b'{"command": "delete", "address": 7}\n', "delete: address: expected text, got 7"),
        (b'{"command": "' + b"x" * 70000 + b'"}\n', "a line of more than 65536 octets"),
    ],
    ids=range(11),
)
async def test_what_can_not_be_understood(path: Path, line: bytes, words: str) -> None:
    async with controlled(path):
        said = await say(path, line)
        assert said["ok"] is False
        assert words in said["error"]
        assert (await say(path, b'{"command": "health"}\n'))["ok"]


async def test_several_questions_on_one_connection(path: Path) -> None:
    async with controlled(path), asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'{"command": "pause"}\nwhat?\n{"command": "health"}\n{"command": "resume"}')
        writer.write_eof()
        lines = [json.loads(line) async for line in reader]
        writer.close()
    assert [line["ok"] for line in lines] == [True, False, True, True]
    assert [lines[at]["result"]["status"] for at in (0, 2, 3)] == ["paused", "paused", "ok"]


async def test_clients_that_go_away(path: Path) -> None:
    going = asyncio.Event()

    async def reload() -> str:
        await going.wait()
        return "x" * 1_000_000

    async with controlled(path, reload=reload) as (_, transport):
        for _ in range(20):
            _, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b'{"command": "health"')
            writer.transport.abort()
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'{"command": "reload"}\n')
        await asyncio.sleep(0)
        writer.transport.abort()
        going.set()
        await lease(transport, 1)
        assert (await command(path, "health"))["status"] == "ok"


async def test_no_more_than_eight_connections(path: Path) -> None:
    async with controlled(path), asyncio.timeout(PATIENCE):
        writers = [(await asyncio.open_unix_connection(str(path)))[1] for _ in range(module.MOST_CONNECTIONS)]
        for writer in writers:
            writer.write(b"\n")
        reader, one_more = await asyncio.open_unix_connection(str(path))
        assert json.loads(await reader.readline()) == {"ok": False, "error": "there are 8 connections already"}
        one_more.close()
        writers.pop().close()
        while True:
            try:
                assert (await command(path, "health"))["status"] == "ok"
                break
            except AiodhcpError:
                await asyncio.sleep(0.001)
        for writer in writers:
            writer.close()


async def test_a_connection_that_says_nothing_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_TIMEOUT", 0.01)
    async with controlled(path), asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b""
        writer.close()


# ── the socket ──


async def test_only_the_owner_may_ask_and_nothing_is_left_behind(path: Path) -> None:
    async with controlled(path):
        assert mode(path) == stat.S_IFSOCK | 0o600
    assert not mode(path)
    with pytest.raises(NotRunning, match="no server runs"):
        await command(path, "health")


async def test_a_second_server_is_told_of_the_first(path: Path) -> None:
    async with controlled(path):
        with pytest.raises(AiodhcpError, match=f"{path}: another server runs there"):
            async with controlled(path):
                pass
        assert (await command(path, "health"))["status"] == "ok"


async def test_the_socket_of_a_dead_server_is_removed(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with pytest.raises(NotRunning):
        await command(path, "health")
    async with controlled(path):
        assert (await command(path, "health"))["status"] == "ok"


async def test_no_other_file_is_removed(path: Path) -> None:
    put(path, "precious")
    with pytest.raises(AiodhcpError, match="a file is there that is no socket"):
        async with controlled(path):
            pass
    assert stat.S_ISREG(mode(path))


async def test_the_socket_of_another_server_is_not_removed(path: Path) -> None:
    async with controlled(path):
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert mode(path)


@pytest.mark.parametrize("name", ["x" * 101, "file/s"])
async def test_without_a_socket_where_there_can_be_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / "file").touch()
    async with controlled(tmp_path / name) as (server, transport):
        await lease(transport, 1)
        assert server.health.status == "ok"
    assert "there is no control socket: " in caplog.text


async def test_a_control_socket_is_opened_once(path: Path) -> None:
    async with DhcpServer(config(), store=MemoryStore()) as server:

        async def reload() -> str:
            return ""

        control = ControlSocket(server, path, reload)
        await control.start()
        with pytest.raises(RuntimeError):
            await control.start()
        await control.close()
        await control.close()


async def test_what_is_said_of_servers_that_do_not_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    said: list[bytes] = [b"", b"{", b"[]\n", b'{"ok": false}\n']
    closed = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if said:
            writer.write(said.pop(0))
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with await asyncio.start_unix_server(connected, str(path)):
        for words in ("went away", "went away", r"\[\]", "{'ok': False}"):
            with pytest.raises(AiodhcpError, match=words):
                await command(path, "health")
        monkeypatch.setattr(module, "PATIENCE", 0.01)
        closed.clear()
        with pytest.raises(AiodhcpError, match=r"did not answer within 0.01 seconds"):
            await command(path, "health")
        await closed.wait()


async def test_whoever_may_not_ask_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(asyncio, "open_unix_connection", refused)
    with pytest.raises(AiodhcpError, match="permission denied: be root, or the user that the server runs as"):
        await command(path, "health")
    monkeypatch.undo()
    with pytest.raises(AiodhcpError, match="too long"):
        await command(path / ("x" * 200), "health")


# ── reloads ──

FILE = """
log-level = "warning"
store.type = "memory"
transport = { type = "udp", host = "127.0.0.1", port = 0 }
[[subnet]]
subnet = "192.0.2.0/24"
"""


class Reloaded:
    """A server, its file and its reloads."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "a.toml"
        self.file.write_text(FILE)
        settings = load_config(self.file)
        self.server = settings.server()
        self.levels: list[str] = []
        self.reloads = Reloads(
            self.server, settings, self.file, lambda settings: self.levels.append(settings.log_level)
        )

    @property
    def pools(self) -> int:
        return len(self.server.config.subnets[0].pools)

    def write(self, more: str, head: str = "") -> None:
        self.file.write_text(head + FILE + more)


@pytest.fixture
async def reloaded(tmp_path: Path) -> AsyncIterator[Reloaded]:
    each = Reloaded(tmp_path)
    async with each.server:
        each.reloads.may_begin.set()
        yield each
    await each.reloads.end()


async def test_a_reload(reloaded: Reloaded) -> None:
    reloaded.write('pools = ["192.0.2.10-192.0.2.20"]')
    assert await reloaded.reloads.reload() == "reloaded: 1 subnets, 0 plugins"
    assert reloaded.pools == 1
    assert reloaded.levels == ["warning"]


@pytest.mark.parametrize(
    ("head", "more", "words"),
    [
        ("lease-tme = 1\n", "", r"a\.toml:1: lease-tme: there is no such key"),
        ('wait-timeout = "3s"\nexplain = 7\n', "", "only a restart can change wait-timeout, explain"),
        ('plugins = ["nonesuch"]\n', "", "there is no plugin 'nonesuch'"),
        ('plugins = ["refuses.py:Refuses"]\n', "", "refused the start: not today"),
    ],
)
async def test_a_reload_that_is_refused_changes_nothing(reloaded: Reloaded, head: str, more: str, words: str) -> None:
    (reloaded.file.parent / "refuses.py").write_text(
        "from aiodhcp import ControlCode, hookimpl\n"
        "class Refuses:\n"
        "    @hookimpl\n"
        "    def dhcp_control(self, code):\n"
        "        if code == ControlCode.START: raise ValueError('not today')\n"
    )
    before = reloaded.server.config, reloaded.server.hooks, reloaded.server.engine
    reloaded.write('pools = ["192.0.2.10"]', head)
    with pytest.raises(ConfigError, match=words):
        await reloaded.reloads.reload()
    assert (reloaded.server.config, reloaded.server.hooks, reloaded.server.engine) == before
    assert reloaded.levels == []
    reloaded.write('pools = ["192.0.2.10"]')
    await reloaded.reloads.reload()
    assert reloaded.pools == 1


async def test_a_signal_is_logged_when_it_comes_to_nothing(
    reloaded: Reloaded, caplog: pytest.LogCaptureFixture
) -> None:
    reloaded.file.write_text("a = 1\nb = 2\n" + FILE)
    reloaded.reloads.begin()
    await until(lambda: len(caplog.records) == 2)
    assert ["a.toml:1: a: " in caplog.messages[0], "a.toml:2: b: " in caplog.messages[1]] == [True, True]
    reloaded.file.unlink()
    reloaded.reloads.begin()
    await until(lambda: len(caplog.records) == 3)
    assert "No such file" in caplog.messages[2]


async def test_without_a_file_there_is_nothing_to_reload(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.of({"transport": {"type": "udp"}, "store": {"type": "memory"}})
    async with DhcpServer(settings.config(), store=MemoryStore()) as server:
        reloads = Reloads(server, settings, None, lambda _: None)
        reloads.may_begin.set()
        reloads.begin()
        await until(lambda: "there is nothing to reload" in caplog.text)
    await reloads.end()


async def test_reloads_never_overlap_and_signals_are_not_lost(
    reloaded: Reloaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, gate, reloads = [], asyncio.Event(), []
    original = reloaded.server.reload

    async def slowly(*arguments: Any) -> None:
        under_way.append(1)
        assert len(under_way) == 1
        await gate.wait()
        await original(*arguments)
        reloads.append(reloaded.pools)
        under_way.pop()

    monkeypatch.setattr(reloaded.server, "reload", slowly)
    reloaded.reloads.begin()
    await until(lambda: under_way)
    reloaded.write('pools = ["192.0.2.10"]')
    asked = asyncio.create_task(reloaded.reloads.reload())
    for _ in range(5):
        reloaded.reloads.begin()
    gate.set()
    await asked
    await until(lambda: len(reloads) == 3)
    await reloaded.reloads.end()
    assert reloads == [0, 1, 1]


async def test_a_signal_before_the_server_runs_is_kept(tmp_path: Path) -> None:
    early = Reloaded(tmp_path)
    early.write('pools = ["192.0.2.10"]')
    early.reloads.begin()
    async with early.server:
        early.reloads.may_begin.set()
        await until(lambda: early.pools)
    await early.reloads.end()


async def test_a_stop_does_not_wait_for_a_reload_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RELOAD_PATIENCE", 0.01)
    (tmp_path / "hangs.py").write_text(
        "import asyncio, aiodhcp\n"
        "class Hangs:\n"
        "    @aiodhcp.hookimpl\n"
        "    async def dhcp_control(self): await asyncio.Event().wait()\n"
    )
    each = Reloaded(tmp_path)
    async with each.server:
        each.reloads.may_begin.set()
        each.write("", 'plugins = ["hangs.py:Hangs"]\n')
        each.reloads.begin()
        await until(lambda: each.server._reloading.locked())
    async with asyncio.timeout(PATIENCE):
        await each.reloads.end()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
