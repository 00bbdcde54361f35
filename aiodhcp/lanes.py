"""Lanes: packets that wait, for an ``async`` hook, a commit or a probe, or behind another of the same client."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Final, NamedTuple

from aiodhcp.exchange import Exchange

__all__ = ["Lanes", "Way", "is_same"]

log = logging.getLogger("aiodhcp.server")

LANE_LIMIT: Final = 8
"""Packets of one client that may wait; a client has no use for more answers at once."""

Way = Callable[[Exchange], Coroutine[None, None, None]]


class _Place(NamedTuple):
    exchange: Exchange
    way: Way
    undecided: bool
    entered: float


class Lanes:
    """A queue for each client whose packet waits, so that its packets keep their order and delay nobody else's.

    Args:
        wait_timeout: seconds after which a packet's turn comes too late.
        spawn: runs a coroutine in a task of that name.
        late: awaited with a packet whose turn came too late.
        failed: awaited with one whose way raised something, and what.
    """

    def __init__(
        self,
        wait_timeout: float,
        spawn: Callable[[Coroutine[None, None, None], str], None],
        late: Callable[[Exchange], Coroutine[None, None, None]],
        failed: Callable[[Exchange, BaseException], Coroutine[None, None, None]],
    ) -> None:
        self._wait_timeout = wait_timeout
        self._spawn = spawn
        self._late = late
        self._failed = failed
        self._lanes: dict[bytes | Exchange, deque[_Place]] = {}
        self.clients: Mapping[bytes | Exchange, Collection[object]] = self._lanes
        """Whose packets wait, for whom a call a packet is too dear."""

    def is_full(self, client: bytes) -> bool:
        """Whether as many packets of the client wait as may."""
        return len(self._lanes.get(client, ())) >= LANE_LIMIT

    def must_wait(self, exchange: Exchange) -> bool:
        """Whether packets that were decided before the exchange, which is decided, still are on their way. Those that
        are not decided when they come into a lane came later than any that is decided and in none.
        """
        lane = self._lanes.get(exchange.client)
        return lane is not None and not lane[0].undecided

    def has_same(self, exchange: Exchange) -> bool:
        """Whether the very request that the exchange is for is still in work."""
        return any(is_same(place.exchange, exchange) for place in self._lanes.get(exchange.client, ()))

    def enter(self, exchange: Exchange, way: Way, *, alone: bool = False, undecided: bool = False) -> None:
        """Go a way when it is the exchange's turn.

        Args:
            exchange: the packet.
            way: what is to be done.
            alone: wait for nobody.
            undecided: nothing is promised by it yet, so that it can come too late.
        """
        place = _Place(exchange, way, undecided, asyncio.get_running_loop().time())
        # What can't be read has no client, and waits for nobody.
        client = exchange if alone or not exchange.client else exchange.client
        lane = self._lanes.get(client)
        if lane is not None:
            later = (at for at, each in enumerate(lane) if each.undecided)
            lane.insert(len(lane) if undecided else next(later, len(lane)), place)
            return
        self._lanes[client] = lane = deque((place,))
        self._spawn(self._drive(client, lane), "aiodhcp lane")

    def abandon(self) -> list[Exchange]:
        """Forget them all; the exchanges that waited."""
        waiting = [place.exchange for lane in self._lanes.values() for place in lane]
        self._lanes.clear()
        return waiting

    async def _drive(self, client: bytes | Exchange, lane: deque[_Place]) -> None:
        loop = asyncio.get_running_loop()
        while lane:
            exchange, way, undecided, entered = lane[0]
            try:
                if undecided and loop.time() - entered > self._wait_timeout:
                    await self._late(exchange)
                else:
                    await way(exchange)
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                log.exception("a fault of aiodhcp, please report it, with %r", exchange)
                await self._fail(exchange, error)
            del lane[0]
        del self._lanes[client]

    async def _fail(self, exchange: Exchange, error: BaseException) -> None:
        try:
            await self._failed(exchange, error)
        except Exception:
            log.exception("a fault of aiodhcp, please report it, with %r", exchange)


def is_same(known: Exchange, exchange: Exchange) -> bool:
    """Whether two exchanges are for one request, sent once more, and the first one is still in work."""
    return (
        not known.finished
        and known.xid == exchange.xid
        and known.message_type == exchange.message_type
        and known.giaddr == exchange.giaddr
        and known.ciaddr == exchange.ciaddr
    )
