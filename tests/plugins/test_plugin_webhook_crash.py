"""webhook: no event of an acknowledged lease is lost over ``kill -9``, wherever in the middle it comes."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiodhcp_plugins.webhook import Webhook
from endpoint import Endpoint, listening
from wire import OFFER, PATIENCE, discover, read, request, until

from aiodhcp import Config, DhcpServer, SqliteStore, Subnet

pytest.importorskip("httpx", reason="not installed: httpx")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

KILLS = 3


def talk_and_kill(path: Path, url: str, clients: range, enough: int) -> dict[str, str]:
    """Start a server, have some clients get their leases, and kill it. Who was acknowledged what."""
    script = Path(__file__).with_name("webhook_server.py")
    command = [sys.executable, str(script), str(path / "leases.db"), str(path / "outbox.db"), url]
    acknowledged: dict[str, str] = {}
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        try:
            assert process.stdout is not None
            sock.connect(("127.0.0.1", int(process.stdout.readline())))
            sock.settimeout(PATIENCE)
            for client in clients:
                sock.send(discover(client))
            while len(acknowledged) < enough:
                reply = read(sock.recv(4096))
                if reply.kind == OFFER:
                    sock.send(request(reply.client, reply.yiaddr))
                else:
                    acknowledged[reply.address] = f"02:00:{reply.client.to_bytes(4, 'big').hex(':')}"
        finally:
            process.kill()
    return acknowledged


async def test_nothing_is_lost_and_nothing_is_made_up(tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    everybody: dict[str, str] = {}
    endpoint = Endpoint()
    for killed in range(KILLS):
        clients = range(1 + 100 * killed, 1 + 100 * killed + 60)
        async with listening(endpoint):
            endpoint.answers.extend(chance.choice((204, 204, 503, None)) for _ in range(5))
            work = asyncio.to_thread(talk_and_kill, tmp_path, endpoint.url, clients, chance.randint(1, 60))
            everybody |= await work
    endpoint.answers.clear()
    async with listening(endpoint):
        plugin = Webhook(Webhook.Settings(url=endpoint.url, outbox=tmp_path / "outbox.db", batch=7))
        config = Config([Subnet("10.0.0.0/16", pools=["10.0.0.1-10.0.255.254"], interfaces=["udp"])])
        async with DhcpServer(config, store=SqliteStore(tmp_path / "leases.db"), plugins=[plugin]) as server:
            await until(lambda: plugin._all is None and not plugin._behind and not plugin._outbox.waiting)
            stored = {str(lease.ip): lease.hardware_address for lease in server.leases}
    where = f"seed {seed}"
    # An event may come twice, but with its id; what it says is the same, and no number is missing.
    by_id = {event["id"]: event for event in endpoint.taken}
    assert all(by_id[event["id"]] == event for event in endpoint.taken), where
    assert sorted(event["sequence"] for event in by_id.values()) == list(range(1, len(by_id) + 1)), where
    # Everybody who was acknowledged is among those told of, once, and so are those whose ACK the kill cut off.
    told = [(event["address"], event["hardware_address"]) for event in by_id.values()]
    assert {event["event"] for event in by_id.values()} == {"granted"}, where
    assert len(told) == len(set(told)), where
    assert dict(told) == stored, where
    assert everybody.items() <= stored.items(), where
