"""An inventory that can be asked by HTTP, in this process, and the plugin that asks it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import pytest
from aiodhcp_plugins.http_reservations import HttpReservations
from wire import ask, discover, until

from aiodhcp import MemoryTransport

REASONS = {200: "OK", 304: "Not Modified", 404: "Not Found"}


def response(status: int = 200, body: bytes | dict[str, Any] = b"", **headers: str) -> bytes:
    """A response as octets: ``response(200, {"address": "192.0.2.201"}, ETag='"1"')``."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", f"Content-Length: {len(octets)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + octets


NOT_FOUND = response(404, b"nobody")


class Asked(NamedTuple):
    """A request: what for, and its headers, names in lower case."""

    target: str
    headers: dict[str, str]


class Inventory:
    """Listens on loopback, and answers. It has no tasks.

    Attributes:
        say: what is answered to a request; None breaks the connection off.
        asked: the requests.
        connections: how many there were.
        at_once, most_at_once: requests under way.
    """

    def __init__(self, say: Callable[[Asked], bytes | None] | bytes = NOT_FOUND) -> None:
        self.say = say
        self.asked: list[Asked] = []
        self.connections = self.at_once = self.most_at_once = 0
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self.held: list[Callable[[], None]] | None = None
        self._server: asyncio.Server | None = None
        self.open_connections: set[asyncio.BaseTransport] = set()

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, where it did before if it did."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Be gone."""
        assert self._server is not None
        self._server.close()
        for each in list(self.open_connections):
            each.abort()
        await asyncio.sleep(0)

    def hold(self) -> None:
        """Answer nothing until ``go_on``."""
        self.held = []

    def go_on(self) -> None:
        """Answer what was held back, and what comes."""
        held, self.held = self.held, None
        for answer in held or ():
            answer()


class _Connection(asyncio.Protocol):
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._inventory.connections += 1
        self._inventory.open_connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._inventory.open_connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if b"\r\n\r\n" not in self._data:
            return
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        asked, inventory = Asked(first.split()[1], headers), self._inventory
        inventory.asked.append(asked)
        inventory.at_once += 1
        inventory.most_at_once = max(inventory.most_at_once, inventory.at_once)
        if inventory.held is None:
            self._answer(asked)
        else:
            inventory.held.append(lambda: self._answer(asked))

    def _answer(self, asked: Asked) -> None:
        inventory = self._inventory
        inventory.at_once -= 1
        said = inventory.say if isinstance(inventory.say, bytes) else inventory.say(asked)
        if said is not None:
            self._transport.write(said)
        if said is None or b"Connection: close" in said:
            self._transport.close()


PLANNED = "192.0.2.201"
FOUND = response(200, {"address": PLANNED})


class Ticks:
    """A clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def inventory() -> Any:
    async with Inventory(FOUND) as listening:
        yield listening


@pytest.fixture
def asking(inventory: Inventory, ticks: Ticks) -> Callable[..., HttpReservations]:
    """``asking(ttl=5)``: the plugin, asking the inventory."""

    def make(path: str = "/dhcp/{hardware-address}", **settings: Any) -> HttpReservations:
        model = HttpReservations.Settings.model_validate({"url": inventory.origin + path, **settings})
        return HttpReservations(model, ticks)

    return make


async def offered(transport: MemoryTransport, client: int = 1) -> str:
    """The address that a client is offered."""
    return (await ask(transport, discover(client))).address


async def dropped(server: Any, transport: MemoryTransport, client: int = 1) -> str:
    """Why a client gets no answer: the server has to have been made with ``explain``."""
    before = server.engine.dropped.total()
    transport.deliver(discover(client))
    await until(lambda: server.engine.dropped.total() > before)
    return server.exchanges()[-1].why
