"""A server with the plugin webhook in a process of its own, to be killed: it prints its UDP port and serves.

``webhook_server.py leases.db outbox.db url``; it ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiodhcp_plugins.webhook import Webhook

from aiodhcp import Config, DhcpServer, SqliteStore, Subnet, UdpTransport


async def main(leases: str, outbox: str, url: str) -> None:
    subnet = Subnet("10.0.0.0/16", pools=["10.0.0.1-10.0.255.254"], interfaces=["udp"])
    transport = UdpTransport("127.0.0.1", 0)
    config = Config([subnet], authoritative=True, server_id="192.0.2.1")
    settings = Webhook.Settings(url=url, outbox=Path(outbox), batch=7, retry_first=0.01, retry_longest=0.02)
    server = DhcpServer(config, store=SqliteStore(leases), transport=transport, plugins=[Webhook(settings)])
    async with server:
        print(transport.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
