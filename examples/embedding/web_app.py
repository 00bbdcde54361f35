"""A DHCP server inside of a web application, on the event loop of that: ``/leases`` lists, ``/events`` tells.

``python web_app.py [PORT [DHCP-PORT]]`` needs ``pip install starlette uvicorn``. FastAPI is Starlette: it is the same
there, with ``FastAPI(lifespan=lifespan)``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aiodhcp import Config, DhcpServer, Lease, LeaseState, SqliteStore, Subnet, UdpTransport

KEEP_ALIVE = 1
"""Seconds after which a browser hears that nothing has happened, and it is seen whether the application is to end."""


def as_json(lease: Lease) -> dict[str, Any]:
    return {
        "address": str(lease.ip),
        "hardware_address": lease.hardware_address,
        "hostname": lease.hostname,
        "state": lease.state.name.lower(),
        "expires": lease.expires,
    }


async def leases(request: Request) -> Response:
    """Who has which address."""
    server: DhcpServer = request.state.server
    return JSONResponse([as_json(lease) for lease in server.leases if lease.state == LeaseState.ACTIVE])


async def events(request: Request) -> Response:
    """What happens from now on, as server-sent events; ``/events?cursor=NAME``: from where that consumer has been."""
    server: DhcpServer = request.state.server
    stream = server.events(cursor=request.query_params.get("cursor", ""))

    async def lines() -> AsyncIterator[str]:
        yield ": hello\n\n"
        while not request.state.ending():
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    event = await anext(stream)
            except TimeoutError:
                yield ": nothing new\n\n"
            except StopAsyncIteration:
                return
            else:
                data = json.dumps({"time": event.time, "lease": as_json(event.lease)})
                yield f"id: {event.sequence}\nevent: {event.kind}\ndata: {data}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


def application(server: DhcpServer, ending: Callable[[], bool]) -> Starlette:
    """The application. The DHCP server starts and stops with it.

    Args:
        server: not started yet.
        ending: whether the web server waits for its connections to end: ``/events`` would never do so by itself.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with server:
            yield {"server": server, "ending": ending}

    return Starlette(routes=[Route("/leases", leases), Route("/events", events)], lifespan=lifespan)


def main(port: int = 8067, dhcp_port: int = 6767) -> None:
    with TemporaryDirectory() as directory:
        subnet = Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"], interfaces=["udp"])
        transport = UdpTransport("127.0.0.1", dhcp_port)
        server = DhcpServer(
            Config([subnet], server_id="192.0.2.1"),
            store=SqliteStore(Path(directory) / "leases.sqlite"),
            transport=transport,
        )
        app = application(server, lambda: web.should_exit)
        web = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=10))
        # uvicorn raises what it was ended by, once all has ended.
        with suppress(KeyboardInterrupt):
            web.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
