"""Renewals: clients are told to renew their leases now (RFC 3203), a few at a time, and again until they do."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final, NamedTuple

from aiodhcp.constants import MessageType
from aiodhcp.engine import Engine
from aiodhcp.exchange import Answer
from aiodhcp.leases import Lease, LeaseState

__all__ = ["ForcedRenewals", "Renewals"]

log = logging.getLogger("aiodhcp.renewals")

WAITS: Final = (4.0, 8.0, 16.0, 32.0)
"""Seconds after each try in which the client may renew: then it is told again, or given up (RFC 3203 §2.2)."""
TURN: Final = 0.1
"""Seconds between two turns."""
A_TURN: Final = 10
"""How many are told in one: 100 a second, and so many renewals come back."""
A_BREATH: Final = 256
"""How many are looked at before others have the event loop again."""


class ForcedRenewals(NamedTuple):
    """Who is told to renew.

    Attributes:
        told: addresses of clients that are told, or will be when their turn comes, in order.
        refused: why others can't be told, by address, or by what was asked for.
    """

    told: Sequence[IPv4Address]
    refused: Mapping[str, str]


@dataclass(slots=True, eq=False)
class _Told:
    """A client that is told: its lease as it was then, and how often it was."""

    lease: Lease
    times: int = 0


class Renewals:
    """Tells clients to renew, and goes on until they have, or for a minute.

    A client has heeded it when its lease is another one in the table, as after any later second: nothing of a renewal
    knows of this.

    Args:
        engine: makes the messages; asked each time, because it may be replaced.
        send: sends them.
        clock: the time, in seconds since 1970.
        serves: whether the server would answer now.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        send: Callable[[list[Answer]], None],
        clock: Callable[[], float],
        serves: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._send = send
        self._clock = clock
        self._serves = serves
        self._told: dict[int, _Told] = {}
        # When to look at each again, on the loop's clock; a number keeps equals in order. Entries of those that were
        # told anew meanwhile are passed over.
        self._queue: list[tuple[float, int, _Told]] = []
        self._number = 0
        self._renewed = self._ended = self._unheeded = 0
        self._task: asyncio.Task[None] | None = None

    async def force(self, who: Iterable[IPv4Address | IPv4Network | str | int]) -> ForcedRenewals:
        """Begin to tell clients.

        Args:
            who: addresses; networks, for the clients that have an address in them; or hardware addresses.

        Raises:
            ValueError: one is none of these.
            RuntimeError: the server was paused or stopped meanwhile.
        """
        told: list[IPv4Address] = []
        refused: dict[str, str] = {}
        for at, address in enumerate(await self._addresses(who, refused)):
            if not at % A_BREATH:
                await asyncio.sleep(0)
                if not self._serves():
                    raise RuntimeError("the server has been paused or stopped")
            engine = self._engine()
            lease, why = engine.leases.get(address), engine.no_force_renew(address, self._clock())
            if lease is None or why:
                refused[str(IPv4Address(address))] = why
                continue
            told.append(IPv4Address(address))
            self._told[address] = each = _Told(lease)
            self._enter(each, 0.0)
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="aiodhcp renewals")
        return ForcedRenewals(told, refused)

    async def _addresses(
        self, who: Iterable[IPv4Address | IPv4Network | str | int], refused: dict[str, str]
    ) -> Sequence[int]:
        """The addresses that are meant, each once, in order; what means none is ``refused``."""
        found: set[int] = set()
        machines: dict[bytes, str] = {}
        networks: list[IPv4Network] = []
        for each in who:
            if isinstance(each, str) and (":" in each or "-" in each):
                machines[_octets(each)] = each
            elif isinstance(each, IPv4Network) or (isinstance(each, str) and "/" in each):
                networks.append(IPv4Network(each))
            else:
                found.add(int(IPv4Address(each)))
        leases, now = self._engine().leases, self._clock()
        if machines:
            for lease in leases:
                if lease.chaddr in machines and lease.holds(now):
                    found.add(lease.address)
            held = {known.chaddr for address in found if (known := leases.get(address)) is not None}
            refused.update({text: "it has no lease" for octets, text in machines.items() if octets not in held})
        for network in networks:
            first, last = int(network.network_address), int(network.broadcast_address)
            within = [address for address in leases.addresses(LeaseState.ACTIVE) if first <= address <= last]
            inside = [address for address in within if (known := leases.get(address)) and known.holds(now)]
            found.update(inside)
            if not inside:
                refused[str(network)] = "nobody has a lease there"
            await asyncio.sleep(0)
        return sorted(found)

    async def close(self) -> None:
        """Tell nobody any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._forget()

    def _enter(self, each: _Told, when: float) -> None:
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, each))

    async def _run(self) -> None:
        while self._queue:
            if self._serves():
                try:
                    self._turn()
                except Exception:
                    log.exception("a fault of aiodhcp, please report it")
            if self._queue:
                await asyncio.sleep(TURN)
        log.info(
            "told clients to renew: %d have, %d leases ended, %d clients have not heeded it",
            self._renewed,
            self._ended,
            self._unheeded,
        )
        self._forget()

    def _forget(self) -> None:
        self._task = None
        self._told.clear()
        self._queue.clear()
        self._renewed = self._ended = self._unheeded = 0

    def _turn(self) -> None:
        """Look at those whose time has come."""
        engine = self._engine()
        answers: list[Answer] = []
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and len(answers) < A_TURN:
            _, _, each = heapq.heappop(self._queue)
            address = each.lease.address
            if self._told.get(address) is not each:
                continue
            answer = self._next(engine, each)
            if answer is None:
                del self._told[address]
                continue
            answers.append(answer)
            self._enter(each, now + WAITS[each.times])
            each.times += 1
        if answers:
            engine.sent[MessageType.FORCERENEW] += len(answers)
            self._send(answers)

    def _next(self, engine: Engine, each: _Told) -> Answer | None:
        """What a client is told next; None if it is done with."""
        lease = engine.leases.get(each.lease.address)
        if lease != each.lease:
            if lease is not None and lease.client == each.lease.client and lease.holds(self._clock()):
                self._renewed += 1
            else:
                self._ended += 1
            return None
        if engine.no_force_renew(lease.address, self._clock()):
            # It ends in this moment, or the configuration is another one now.
            self._ended += 1
            return None
        if each.times == len(WAITS):
            self._unheeded += 1
            if lease.nonce:
                engine.nonces.unheeded.add(lease.address)
            return None
        return engine.force_renew(lease, self._clock())


def _octets(text: str) -> bytes:
    """A hardware address.

    Raises:
        ValueError: it is none.
    """
    try:
        octets = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        octets = b""
    if not octets:
        raise ValueError(f"expected an address, a network or a hardware address, got {text!r}")
    return octets
