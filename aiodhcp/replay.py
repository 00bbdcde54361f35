"""Replay: the requests of a capture go through engine and plugins again, by the capture's own clock.

Nothing is sent, and no lease is stored. The plugins are started and stopped as in a server, and do what they do: what
they write, or ask, they really write and ask. Each packet is done with before the next arrives. What is random in a
server follows from a fixed seed, so that the same capture, configuration and plugins come to the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from aiodhcp.captures import Captured, CaptureError, read_capture
from aiodhcp.constants import BROADCAST_ADDRESS, SERVER_PORT, MessageType
from aiodhcp.errors import AiodhcpError
from aiodhcp.exchange import Datagram, Exchange, Interface
from aiodhcp.implementations import Implementation
from aiodhcp.leases import Lease, LeaseState
from aiodhcp.offline import likely_address, serve
from aiodhcp.packet import Packet
from aiodhcp.pairing import Pair, is_broadcast, option_number, pairs
from aiodhcp.policies import Policy, hookimpl
from aiodhcp.recorded import Recorded
from aiodhcp.registration import Plugin
from aiodhcp.server import DhcpServer
from aiodhcp.stores.memory import MemoryStore
from aiodhcp.subnets import Config
from aiodhcp.transports.memory import MemoryTransport
from aiodhcp.verdicts import Use

__all__ = ["Replay", "Replayed", "interfaces_of"]

LEASE_TIME, SERVER_ID, CLIENT_ID = 51, 54, 61
SEED: Final = b"aiodhcp replay.."
"""What is random follows from it: nonces, and addresses that are chosen at random."""
RECALLED: Final = "capture"
"""What the plugin is called that knows the recorded addresses."""
LAST: Final = -(1 << 31)
SUPPOSED_LEASE: Final = 3600
"""Seconds that a lease lasts of which the capture doesn't say it."""


@dataclass(slots=True)
class Replayed:
    """A request of the capture, and what became of it.

    Attributes:
        pair: the request, and what the recorded server answered.
        exchange: likewise, as the server would have it.
        supposed: what had to be supposed for it, in words.
    """

    pair: Pair
    exchange: Exchange
    supposed: list[str] = field(default_factory=list)


class _Clock:
    """The capture's clock: it never goes back."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class _Recalled:
    """A plugin: where a client has no address yet it gets the one that the recorded server gave it, if it may have it.

    So what follows, of requests for that address, makes sense. All other plugins come first.
    """

    name = RECALLED

    def __init__(self) -> None:
        self.address = 0

    @hookimpl
    def select_address(self, exchange: Exchange, address: IPv4Address) -> Use[IPv4Address] | None:
        """The recorded address instead of just any one."""
        wanted, chosen = self.address, int(address)
        reservation, lease = exchange.reservation, exchange.lease_before
        if wanted in (0, chosen) or exchange.subnet is None or wanted not in exchange.subnet:
            return None
        if (reservation is not None and reservation.address == chosen) or (
            lease is not None and lease.address == chosen
        ):
            return None
        return Use(IPv4Address(wanted)) if exchange.may_have(wanted) else None


class Replay:
    """A server, and a capture instead of a network.

    Args:
        path: the capture.
        recorded: what ``survey`` found in it.
        config: what to go by.
        plugins: as ``DhcpServer`` takes them.
        interfaces: where the packets of each place arrive: of ``interfaces_of``.
        leases: what is known before the capture begins.
        server: the recorded server whose replies count; 0 for any.
        learn: whether the replies of the capture say which address a client gets that has none, and which leases there
            were before the capture began.

    Attributes:
        skipped: what of the capture is left out, in words, counted.
        wrong: why the file can't be read to its end; empty if it can.
        supposed: how many leases had to be supposed.
    """

    def __init__(
        self,
        path: Path,
        recorded: Recorded,
        config: Config,
        plugins: Iterable[object],
        interfaces: Mapping[str, Interface],
        *,
        leases: Iterable[Lease] = (),
        server: int = 0,
        learn: bool = True,
    ) -> None:
        if config.leasequery is not None:
            # By TCP nobody is listened for.
            config = replace(config, leasequery=replace(config.leasequery, listen=()))
        self.skipped: Counter[str] = Counter()
        self.wrong = ""
        self.supposed = 0
        self._path = path
        self._recorded = recorded
        self._interfaces = interfaces
        self._served = tuple(dict.fromkeys(interfaces.values()))
        self._own = {address for each in self._served for address in each.addresses}
        self._answers_as = server
        self._learns = learn
        self._clock = _Clock(recorded.start)
        self._recalled = _Recalled()
        recalling = [Plugin(self._recalled, policy=Policy(priority=LAST))] if learn else []
        self.server = DhcpServer(
            config,
            store=MemoryStore(leases),
            transport=MemoryTransport(interfaces=self._served),
            plugins=[*plugins, *recalling],
            clock=self._clock,
            explain=1,
        )

    @property
    def implementations(self) -> Sequence[Implementation]:
        """The hooks of the plugins."""
        return [each for each in self.server.hooks.implementations if each.plugin != RECALLED]

    async def run(self) -> AsyncIterator[Replayed]:
        """The requests, one after the other.

        Raises:
            ConfigError: a plugin refuses the start.
        """
        async with self.server:
            engine = self.server.engine
            engine.addresses.seed = engine.nonces.seed = SEED
            for pair in pairs(self._captured(), self.skipped, self._answers_as):
                if not self._arrives(pair):
                    continue
                yield await self._replay(pair)
                # The watchdog looks after hooks, and somebody may press Ctrl-C.
                await asyncio.sleep(0)

    def _captured(self) -> Iterator[Captured]:
        try:
            yield from read_capture(self._path, self.skipped)
        except CaptureError as error:
            self.wrong = str(error)

    def _arrives(self, pair: Pair) -> bool:
        """Whether the server would hear a request."""
        captured = pair.captured
        if captured.destination_port != SERVER_PORT:
            self.skipped["requests that are not to a server"] += 1
        elif captured.destination in self._recorded.repliers and captured.destination not in self._own:
            self.skipped["requests to another server"] += 1
        else:
            return True
        return False

    async def _replay(self, pair: Pair) -> Replayed:
        clock, engine, hooks = self._clock, self.server.engine, self.server.hooks
        clock.now = max(clock.now, pair.captured.time)
        ended, waiting = engine.tick(clock.now)
        for each in waiting:
            await each
        if ended:
            await _settled(hooks.leases_committed.run(ended))
        supposed = self._suppose(pair, clock.now) if self._learns else []
        self._recalled.address = 0 if pair.reply is None else pair.reply.yiaddr
        committed = hooks.leases_committed.run if hooks.leases_committed else None
        exchange = await serve(engine, self._datagram(pair.captured), clock.now, committed)
        if exchange.trace and any(each.plugin == RECALLED for each in exchange.trace):
            if exchange.address_from == f"chosen by {RECALLED}":
                supposed.append("the address that the recorded server chose")
            exchange.trace = [each for each in exchange.trace if each.plugin != RECALLED]
        if exchange.probe:
            supposed.append(f"that nobody uses {IPv4Address(exchange.probe)}: the server would ask the network first")
        return Replayed(pair, exchange, supposed)

    def _datagram(self, captured: Captured) -> Datagram:
        destination = captured.destination
        if is_broadcast(destination) and destination not in self._own:
            destination = BROADCAST_ADDRESS
        interface = self._interfaces.get(captured.place) or self._served[0]
        return Datagram(captured.data, interface, captured.source, captured.source_port, destination)

    def _suppose(self, pair: Pair, now: float) -> list[str]:
        """Enter the lease that a client has from before the capture: it renews it, or gives it back."""
        packet, leases = pair.packet, self.server.leases
        address = 0 if packet is None else _had(packet, pair.reply)
        subnet = self.server.config.subnet_of(address) if address else None
        if packet is None or subnet is None or address in self._own:
            return []
        client = packet.options.raw.get(CLIENT_ID) or bytes((packet.hrd,)) + packet.chaddr
        known, other = leases.get(address), leases.find(client, subnet.first, subnet.last)
        if other is not None or (known is not None and not known.is_free(now)):
            return []
        half = (option_number(pair.reply, LEASE_TIME) if pair.reply is not None else SUPPOSED_LEASE) // 2 or 1
        starts, expires = int(now) - half, int(now) + half
        lease = Lease(address, client, packet.hrd, packet.chaddr, LeaseState.ACTIVE, starts, expires)
        self.server.engine.addresses.enter(lease, now)
        self.supposed += 1
        return [f"a lease of {lease.ip} from before the capture"]


def _had(packet: Packet, reply: Packet | None) -> int:
    """The address that a client has already, as far as its message and the reply to it show; 0 if they don't."""
    if packet.message_type == MessageType.RELEASE:
        return int(packet.ciaddr)
    renewed = reply is not None and reply.message_type == MessageType.ACK and SERVER_ID not in packet.options.raw
    return int(reply.yiaddr) if renewed and reply is not None and packet.message_type == MessageType.REQUEST else 0


async def _settled(waiting: Any) -> None:
    if waiting is not None:
        await waiting


def interfaces_of(
    recorded: Recorded,
    names: Sequence[str] = (),
    *,
    config: Config | None = None,
    only: str = "",
    server: int = 0,
) -> dict[str, Interface]:
    """Where the packets of each place of a capture arrive.

    Args:
        recorded: what the capture tells.
        names: the interfaces of the configuration; none if it names none.
        config: likewise; for an address of the server, where the capture tells of none.
        only: the one that all of them arrive at; empty for what the capture says, or else the first.
        server: the server's address there; 0 for what the capture tells.

    Raises:
        AiodhcpError: the configuration does not serve ``only``.
    """
    if only and names and only not in names:
        raise AiodhcpError(f"the configuration does not serve {only!r}, but {', '.join(names)}")
    called = {place: only or _name(place, names) for place in recorded.places}
    made: dict[str, Interface] = {}
    for name in called.values():
        if name not in made:
            address = server or recorded.server(place for place, other in called.items() if other == name)
            if not address and config is not None:
                address = likely_address(config, name, 0)
            made[name] = Interface(name, (address,) if address else ())
    return {place: made[name] for place, name in called.items()}


def _name(place: str, names: Sequence[str]) -> str:
    """What a place is called in a configuration that has these interfaces."""
    if not names:
        return place or "capture"
    if place in names:
        return place
    vlans = place.partition(".")[2]
    same = [name for name in names if vlans and name.endswith(f".{vlans}")]
    return same[0] if len(same) == 1 else names[0]
