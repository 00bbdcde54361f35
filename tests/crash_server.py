"""A server in a process of its own, to be killed: ``crash_server.py leases.db`` prints its UDP port and serves.

With ``crash_server.py leases.db events.txt`` a consumer of its events appends each to that file, as sequence number,
kind, address and hardware address, and dies with the server in the middle of that.

It ends when its input does, so that none is left behind by tests that are themselves killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from wire import SERVER

from aiodhcp import Config, DhcpServer, SqliteStore, Subnet, UdpTransport

POOL = ("10.0.0.1", "10.0.255.254")


async def consume(server: DhcpServer, path: Path, begun: asyncio.Event) -> None:
    with path.open("a", buffering=1) as file:
        async with server.events(cursor="consumer") as stream:
            begun.set()
            async for event in stream:
                file.write(f"{event.sequence} {event.kind} {event.lease.ip} {event.lease.hardware_address}\n")


async def main(path: str, events: str = "") -> None:
    subnet = Subnet("10.0.0.0/16", pools=["-".join(POOL)], interfaces=["udp"])
    transport = UdpTransport("127.0.0.1", 0)
    config = Config([subnet], authoritative=True, server_id=SERVER)
    async with DhcpServer(config, store=SqliteStore(path), transport=transport) as server:
        if events:
            begun = asyncio.Event()
            server.spawn(consume(server, Path(events), begun), "consumer")
            await begun.wait()
        print(transport.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
