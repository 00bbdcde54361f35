"""Measure aiodhcp.testing: how many exchanges a second a test can have. `python benchmarks/kit.py`, without root.

An exchange is a message and its reply: a lease by DISCOVER and REQUEST is two.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.table import Table

from aiodhcp.testing import MemoryServer

LEASES = 1000


async def by_one(server: MemoryServer) -> None:
    """A client that begins anew each time, in an ``async`` test."""
    client = server.client()
    for _ in range(LEASES):
        await client.dora()


async def by_many(server: MemoryServer) -> None:
    """As many clients."""
    for number in range(LEASES):
        await server.client(f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}").dora()


async def measure(work: Callable[[MemoryServer], Awaitable[None]]) -> tuple[float, float]:
    """Exchanges a second of wall time, and of CPU time."""
    config = {"subnet": [{"subnet": "10.0.0.0/16", "pools": ["10.0.1.0-10.0.99.255"]}]}
    async with MemoryServer(config) as server:
        began, spent = time.perf_counter(), time.process_time()
        await work(server)
        return 2 * LEASES / (time.perf_counter() - began), 2 * LEASES / (time.process_time() - spent)


def main() -> int:
    table = Table("aiodhcp.testing", "exchanges/s", "per CPU second")
    for name, work in (("one client", by_one), ("a thousand clients", by_many)):
        wall, cpu = asyncio.run(measure(work))
        table.add_row(name, f"{wall:,.0f}", f"{cpu:,.0f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
