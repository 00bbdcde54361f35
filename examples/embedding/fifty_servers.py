"""Fifty servers in one process, on one event loop: each with its own network, leases, plugin and port."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dhcp_client import obtain

from aiodhcp import Config, DhcpServer, Exchange, Packet, SqliteStore, Subnet, UdpTransport, hookimpl

SERVERS = 50
CLIENTS = 2
"""Of each server."""


class Tenant:
    """A plugin that knows whose network it is in."""

    def __init__(self, number: int) -> None:
        self.name = f"tenant-{number}"

    @hookimpl
    def dhcp_pkt_send(self, reply: Packet, exchange: Exchange) -> None:
        reply.options["domain-name"] = f"{self.name}.example"


async def main() -> None:
    with TemporaryDirectory() as directory:
        async with AsyncExitStack() as running:
            transports = [UdpTransport("127.0.0.1", 0) for _ in range(SERVERS)]
            servers = [
                await running.enter_async_context(
                    DhcpServer(
                        # The same clients, and none hears of another network than its own.
                        Config(
                            [Subnet(f"10.{number}.0.0/24", [f"10.{number}.0.10-10.{number}.0.99"], interfaces=["udp"])],
                            server_id=f"10.{number}.0.1",
                        ),
                        store=SqliteStore(Path(directory) / f"{number}.sqlite"),
                        transport=transport,
                        plugins=[Tenant(number)],
                    )
                )
                for number, transport in enumerate(transports)
            ]

            async def ask(number: int, client: int) -> Any:
                ack = await asyncio.to_thread(obtain, transports[number].port, client)
                assert ack.yiaddr >> 16 == 10 << 8 | number
                assert ack.options["domain-name"] == f"tenant-{number}.example"

            await asyncio.gather(*(ask(number, client) for number in range(SERVERS) for client in range(CLIENTS)))
            print(f"{len(servers)} servers, {sum(len(server.leases) for server in servers)} leases")
    print("all stopped")


if __name__ == "__main__":
    asyncio.run(main())
