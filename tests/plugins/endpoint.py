"""A real HTTP endpoint on 127.0.0.1 that a test plays: it writes down what is posted, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from wire import until


class Posted(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


class Endpoint:
    """What was posted, and what is answered: the next of ``answers``, 204 when there is none.

    Attributes:
        posted: all requests.
        taken: the events that were answered with 2xx, in their order.
        answers: status, or status and more header lines, or None for no answer at all.
        refuse: hardware addresses of which no events are taken (422).
    """

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.taken: list[dict[str, Any]] = []
        self.answers: deque[int | tuple[int, str] | None] = deque()
        self.refuse: set[str] = set()
        self.port = 0
        self._silent = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/leases?by=dhcp"

    @property
    def kinds(self) -> list[str]:
        return [event["event"] for event in self.taken]

    async def has(self, *kinds: str) -> None:
        """Wait until these, and no others, were taken."""
        await until(lambda: len(self.taken) >= len(kinds))
        assert self.kinds == list(kinds)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")[:-2]
                headers = dict(line.split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in headers.items()}
                body = await reader.readexactly(int(headers["content-length"]))
                method, path, _ = first.split(" ")
                posted = Posted(method, path, headers, body)
                self.posted.append(posted)
                answer = self.answers.popleft() if self.answers else 204
                if answer is None:
                    await self._silent.wait()
                    return
                status, more = answer if isinstance(answer, tuple) else (answer, "")
                if any(event["hardware_address"] in self.refuse for event in posted.events):
                    status = 422
                if 200 <= status < 300:
                    self.taken += posted.events
                words = b"" if status == 204 else b"because\nof this"
                length = "" if status == 204 else f"Content-Length: {len(words)}\r\n"
                writer.write(f"HTTP/1.1 {status} Said\r\n{length}{more}\r\n".encode() + words)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(endpoint: Endpoint | None = None) -> AsyncIterator[Endpoint]:
    """An endpoint that listens; where it listened before, if it did."""
    endpoint = endpoint or Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", endpoint.port)
    endpoint.port = server.sockets[0].getsockname()[1]
    try:
        yield endpoint
    finally:
        server.close()
        endpoint._silent.set()
