"""A server in a process of its own, to be killed: ``crash_server.py leases.db`` prints its UDP port and serves.

It ends when its input does, so that none is left behind by tests that are themselves killed.
"""

from __future__ import annotations

import asyncio
import sys

from wire import SERVER

from aiodhcp import Config, DhcpServer, SqliteStore, Subnet, UdpTransport

POOL = ("10.0.0.1", "10.0.255.254")


async def main(path: str) -> None:
    subnet = Subnet("10.0.0.0/16", pools=["-".join(POOL)], interfaces=["udp"])
    transport = UdpTransport("127.0.0.1", 0)
    config = Config([subnet], authoritative=True, server_id=SERVER)
    async with DhcpServer(config, store=SqliteStore(path), transport=transport):
        print(transport.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
