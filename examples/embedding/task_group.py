"""A DHCP server in a ``TaskGroup``, beside a consumer of its events. When a task fails, all of them end, in order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from dhcp_client import obtain

from aiodhcp import Config, DhcpServer, SqliteStore, Subnet, UdpTransport

CLIENTS = 20


async def bill(server: DhcpServer, enough: asyncio.Event) -> None:
    """Follows the events. The next one of that name, after whatever kind of end, goes on where this one was."""
    billed = 0
    async for event in server.events(cursor="billing", from_start=True):
        billed += 1
        if event.kind == "granted" and billed == CLIENTS:
            enough.set()


async def serve(server: DhcpServer, running: asyncio.Event) -> None:
    async with server:
        running.set()
        # Until the group is cancelled; then packets are answered that wait for a commit, and all is closed.
        await asyncio.Event().wait()


async def trouble(port: int, running: asyncio.Event, enough: asyncio.Event) -> None:
    await running.wait()
    await asyncio.gather(*(asyncio.to_thread(obtain, port, number) for number in range(CLIENTS)))
    await enough.wait()
    raise ConnectionError("the link is down")


async def main() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "leases.sqlite"
        config = Config([Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"], interfaces=["udp"])], server_id="192.0.2.1")
        transport = UdpTransport("127.0.0.1", 0)
        server = DhcpServer(config, store=SqliteStore(path), transport=transport)
        running, enough = asyncio.Event(), asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve(server, running))
                tasks.create_task(bill(server, enough))
                await running.wait()
                tasks.create_task(trouble(transport.port, running, enough))
        except* ConnectionError as errors:
            print("ended:", *errors.exceptions)
        print("server:", server.health.status)
        # All that was acknowledged is in the file.
        store = SqliteStore(path)
        print("leases:", len(list(await store.load())))
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
