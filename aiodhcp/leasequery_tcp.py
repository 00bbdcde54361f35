"""LeasequeryListener: listens for requestors on TCP (RFC 6926 §8.1, RFC 7724 §8.1), as a configuration says it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiodhcp.engine import Engine
from aiodhcp.errors import ConfigError
from aiodhcp.leasequery_connection import Connection
from aiodhcp.leases import Lease
from aiodhcp.requestors import Leasequery

__all__ = ["LeasequeryListener", "Prepared", "tls_context"]

log = logging.getLogger("aiodhcp.leasequery")

MOST_STRANGERS: Final = 4
"""Connections of those who may not ask, at a time: they hear that, and take nobody's place."""
BACKLOG: Final = 64

Place = tuple[str, int]
"""An address and a port, as they are configured."""


@dataclass(frozen=True)
class Prepared:
    """What a configuration needs that is not there yet, opened but not in use."""

    settings: Leasequery | None
    sockets: dict[Place, socket.socket]
    tls: ssl.SSLContext | None

    def close(self) -> None:
        """It is not to be used."""
        for each in self.sockets.values():
            each.close()


class LeasequeryListener:
    """Accepts connections, and ends them.

    Args:
        engine: the engine to ask, which may be another one after a reload.
        clock: the time, in seconds since 1970.

    Attributes:
        known_since: from when on all changes of leases are known, in seconds since 1970.
    """

    def __init__(self, engine: Callable[[], Engine], clock: Callable[[], float]) -> None:
        self.known_since = 0.0
        self._engine = engine
        self._clock = clock
        self._settings: Leasequery | None = None
        self._tls: ssl.SSLContext | None = None
        self._servers: dict[Place, asyncio.Server] = {}
        self._connections: dict[asyncio.Task[None], Connection] = {}

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [each.getsockname() for server in self._servers.values() for each in server.sockets]

    async def prepare(self, settings: Leasequery | None) -> Prepared:
        """Open what ``settings`` need. Nothing is different before ``adopt``.

        Raises:
            ConfigError: an address can't be listened on, or a certificate can't be read.
        """
        prepared: dict[Place, socket.socket] = {}
        tls = None if settings is None else await asyncio.to_thread(tls_context, settings)
        try:
            for place in _places(settings):
                if place not in self._servers:
                    prepared[place] = _bound(place)
        except OSError as error:
            Prepared(None, prepared, None).close()
            raise ConfigError(f"leasequery.listen: {place[0]} port {place[1]}: {error.strerror or error}") from error
        return Prepared(settings, prepared, tls)

    async def adopt(self, prepared: Prepared) -> None:
        """Listen as was prepared. Connections of those who may still ask go on as they began."""
        self._settings, self._tls = prepared.settings, prepared.tls
        places = _places(prepared.settings)
        for place in [each for each in self._servers if each not in places]:
            self._servers.pop(place).close()
        for place, sock in prepared.sockets.items():
            server = await asyncio.start_server(self._connected, sock=sock, backlog=BACKLOG)
            if self._settings is not prepared.settings:
                # The server stopped meanwhile.
                server.close()
                continue
            self._servers[place] = server
            log.info("listening for leasequeries on %s, TCP port %d", *sock.getsockname())
        await self._end(
            task
            for task, each in self._connections.items()
            if not places or prepared.settings is None or not prepared.settings.allows(int(each.peer))
        )

    async def close(self) -> None:
        """Listen no more, and end all connections. May be called twice."""
        await self.adopt(Prepared(None, {}, None))

    def committed(self, leases: Sequence[Lease]) -> None:
        """These leases changed, and are on stable storage."""
        for each in self._connections.values():
            each.committed(leases)

    async def _end(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        ending = list(tasks)
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        settings = self._settings
        if settings is None:
            writer.transport.abort()
            return
        connection = Connection(
            reader,
            writer,
            self._engine,
            self._clock,
            settings.allows,
            tls=self._tls,
            tls_required=settings.tls_required,
            known_since=self.known_since,
        )
        most = settings.connections if connection.may_ask else MOST_STRANGERS
        if sum(each.may_ask == connection.may_ask for each in self._connections.values()) >= most:
            log.info("%s: the connection is refused: there are %d already", connection.peer, most)
            writer.transport.abort()
            return
        task = asyncio.create_task(connection.converse(), name=f"aiodhcp leasequery of {connection.peer}")
        self._connections[task] = connection
        task.add_done_callback(partial(self._connections.pop))


def _places(settings: Leasequery | None) -> list[Place]:
    return [] if settings is None else [(address, settings.port) for address in settings.listen]


def _bound(place: Place) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if hasattr(socket, "SO_REUSEPORT"):  # not on Windows, where SO_REUSEADDR lets another take what comes
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def tls_context(settings: Leasequery) -> ssl.SSLContext | None:
    """How TLS is begun with requestors; None where it is not.

    Raises:
        ConfigError: a file can't be used.
    """
    if not (settings.tls_certificate and settings.listen):
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    key, file = "tls-certificate", settings.tls_certificate
    try:
        # A key that is encrypted is refused: nobody is there to be asked.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key or None, password="")
        if settings.tls_ca:
            key, file = "tls-ca", settings.tls_ca
            context.load_verify_locations(settings.tls_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        if key == "tls-certificate" and settings.tls_key:
            file += f" with {settings.tls_key}"
        raise ConfigError(f"leasequery.{key}: {file}: {error.strerror or error}") from error
    return context
