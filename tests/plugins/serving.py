"""A server in memory with one plugin, whose hooks may not fail."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from wire import config

from aiodhcp import DhcpServer, MemoryStore, MemoryTransport


@pytest.fixture
def serve(clock):
    """``async with serve(plugin, store) as (server, transport)``."""

    @asynccontextmanager
    async def running(plugin, store=None):
        transport = MemoryTransport()
        settings = {"store": store or MemoryStore(), "transport": transport, "plugins": [plugin], "clock": clock}
        async with DhcpServer(config(), **settings) as server:
            yield server, transport
        assert not any(each.errors or each.timeouts for each in server.hooks.metrics)

    return running
