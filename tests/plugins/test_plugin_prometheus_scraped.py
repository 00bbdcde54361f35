"""prometheus: what Prometheus itself, the server, makes of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiodhcp_plugins.prometheus import Prometheus
from server_kit import clock, serve, store, transport  # noqa: F401 - fixtures
from wire import lease

PATIENCE = 30.0  # seconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def prometheus(target: int, directory: Path) -> AsyncIterator[str]:
    """A Prometheus that scrapes a port of this machine; its own address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus, of Debian's package of that name, is not installed")
    config, address = directory / "prometheus.yml", f"127.0.0.1:{free_port()}"
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: dhcp, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
    )
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    ]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(program, *options, stdout=quiet, stderr=quiet, cwd=directory)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


def ask(server: str, what: str, **question: str) -> list[dict[str, object]]:
    """What it answers; nothing while it isn't ready."""
    query = urllib.parse.urlencode(question)
    try:
        with urllib.request.urlopen(f"{server}/api/v1/{what}?{query}", timeout=5) as response:
            found = json.load(response)["data"]
    except (urllib.error.URLError, ConnectionError):
        return []
    result: list[dict[str, object]] = found["activeTargets" if what == "targets" else "result"]
    return result


async def value(server: str, query: str, wanted: str) -> dict[str, object]:
    """The sample, once its value is as wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await asyncio.to_thread(ask, server, "query", query=query)
            if found and found[0]["value"][1] == wanted:
                return found[0]
            await asyncio.sleep(0.1)


async def test_prometheus_takes_all_of_it(serve, transport, tmp_path):
    shown = Prometheus(Prometheus.Settings.model_validate({"port": 0}))
    async with serve(shown), prometheus(shown.listener.port, tmp_path) as server:
        for client in (1, 2, 3):
            await lease(transport, client)
        await value(server, 'aiodhcp_messages_sent_total{type="ACK"}', "3")
        in_use = await value(server, 'aiodhcp_subnet_addresses{state="in_use"}', "3")
        assert in_use["metric"]["job"] == "dhcp"
        await value(server, "sum(aiodhcp_commit_duration_seconds_count) >= bool 1", "1")
        (target,) = await asyncio.to_thread(ask, server, "targets")
        assert (target["health"], target["lastError"]) == ("up", "")
