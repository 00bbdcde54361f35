"""ScrapeListener: as much of an HTTP server as it takes to be scraped. GET or HEAD of /metrics, one a connection."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

__all__ = ["Answer", "ScrapeListener"]

log = logging.getLogger("aiodhcp_plugins.prometheus")

MOST_CONNECTIONS: Final = 16
LONGEST_REQUEST: Final = 8192
"""Octets of a request."""
PATIENCE: Final = 10.0
"""Seconds in which a client has to ask, and to take the answer."""
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """What is answered.

    Attributes:
        body: the text, compressed or not.
        content_type: what it is.
        encoding: how it is compressed; empty if it isn't.
    """

    body: bytes
    content_type: str
    encoding: str = ""


class ScrapeListener:
    """Listens on one address, and answers.

    Args:
        answer: makes the answer; told what the client accepts (the header Accept), and whether it takes gzip.
    """

    def __init__(self, answer: Callable[[str, bool], Awaitable[Answer]]) -> None:
        self._make = answer
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on; 0 if it doesn't."""
        return 0 if self._socket is None else int(self._socket.getsockname()[1])

    @property
    def place(self) -> str:
        """Address and port as in a URL."""
        if self._socket is None:
            return ""
        host = str(self._socket.getsockname()[0])
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def shared(self) -> socket.socket | None:
        """Its socket once more, for another one to ``open``; None if it doesn't listen."""
        return None if self._socket is None else self._socket.dup()

    async def open(self, address: str, port: int, shared: socket.socket | None = None) -> None:
        """Listen.

        Args:
            address: IPv4 or IPv6; "::" is all of both.
            port: TCP; 0 for any.
            shared: a socket that listens there already.

        Raises:
            OSError: that can't be.
        """
        listening = shared
        if listening is None:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            both = address == "::" and socket.has_dualstack_ipv6()
            listening = socket.create_server((address, port), family=family, dualstack_ipv6=both)
        try:
            self._server = await asyncio.start_server(self._connected, sock=listening, limit=LONGEST_REQUEST)
        except BaseException:
            listening.close()
            raise
        self._socket = listening

    async def close(self) -> None:
        """Listen no more; those who still ask hear nothing. May be called twice."""
        server, self._server, self._socket = self._server, None, None
        if server is not None:
            server.close()
        for each in self._conversations:
            each.cancel()
        if self._conversations:
            await asyncio.wait(self._conversations)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._conversations) >= MOST_CONNECTIONS:
            writer.write(_plain(503, "too many connections"))
            writer.close()
            return
        task = asyncio.create_task(self._converse(reader, writer), name="aiodhcp scrape")
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await self._reply(reader))
            async with asyncio.timeout(PATIENCE):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            # What waits for a client that doesn't read is not waited for.
            writer.transport.abort()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _plain(408, "no request")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError:
            return _plain(400, f"a request of more than {LONGEST_REQUEST} octets")
        first, *rest = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _plain(400, "expected a request of HTTP/1.1")
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _plain(405, "expected GET", "Allow: GET, HEAD\r\n")
        if target.partition("?")[0] != "/metrics":
            return _plain(404, "the metrics are at /metrics", body=method == "GET")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        try:
            made = await self._make(headers.get("accept", ""), "gzip" in headers.get("accept-encoding", "").lower())
        except Exception:
            log.exception("a fault of aiodhcp, please report it")
            return _plain(500, "the metrics can't be written, and the log says why", body=method == "GET")
        more = f"Content-Encoding: {made.encoding}\r\n" if made.encoding else ""
        return _response(200, made.content_type, made.body, more, method == "GET")


def _plain(status: int, words: str, more: str = "", body: bool = True) -> bytes:
    return _response(status, "text/plain; charset=utf-8", f"{words}\n".encode(), more, body)


def _response(status: int, content_type: str, octets: bytes, more: str, body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(octets)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (octets if body else b"")
