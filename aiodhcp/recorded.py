"""Recorded: what a capture tells of the server that was there, and a configuration that makes one like it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from aiodhcp.captures import Captured, CaptureError, read_capture
from aiodhcp.constants import SERVER_PORT, MessageType, Op
from aiodhcp.errors import ConfigError, DecodeError
from aiodhcp.exchange import Interface
from aiodhcp.packet import Packet
from aiodhcp.pairing import is_broadcast, option_number
from aiodhcp.parameters import ENGINE_OPTIONS, Parameters
from aiodhcp.subnets import Bootp, Config, Subnet

__all__ = ["Recorded", "like_recorded", "survey"]

SUBNET_MASK, LEASE_TIME, SERVER_ID = 1, 51, 54
OF_A_MESSAGE: Final = frozenset({*ENGINE_OPTIONS, 0, 1, 12, 28, 56, 60, 90, 118, 145, 221, 255})
"""Options of a reply that are made for the message, or follow from something else than a configured option."""
MOST: Final = 1000
"""Networks, and places, that are looked at. More is no capture of a server's traffic."""


@dataclass(slots=True)
class Network:
    """What was given out in a network.

    Attributes:
        replies: how often.
        options: code to octets, as the replies had them last.
        lease_time: seconds, as of the last ACK or OFFER; 0 where none said.
        relays: addresses of the relay agents.
        places: where its clients were heard without a relay agent.
    """

    replies: int = 0
    options: dict[int, bytes] = field(default_factory=dict)
    lease_time: int = 0
    relays: set[int] = field(default_factory=set)
    places: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Recorded:
    """What a capture tells.

    Attributes:
        digest: the SHA-256 of the file, as hex.
        frames: how many there are.
        start: when the first request was captured, in seconds since 1970; 0.0 without any.
        requests: how many there are.
        servers: how often a server showed itself, by place and address.
        repliers: the addresses of all servers that answered.
        networks: in which addresses were given out.
        naks: whether a server refused somebody.
        bootp: whether a BOOTP client was answered.
        wrong: why the file can't be read to its end; empty if it can.
    """

    digest: str = ""
    frames: int = 0
    start: float = 0.0
    requests: int = 0
    servers: dict[str, Counter[int]] = field(default_factory=dict)
    repliers: set[int] = field(default_factory=set)
    networks: dict[IPv4Network, Network] = field(default_factory=dict)
    naks: bool = False
    bootp: bool = False
    wrong: str = ""

    @property
    def places(self) -> list[str]:
        """Where requests or replies were heard."""
        return list(self.servers)

    def server(self, places: Iterable[str]) -> int:
        """The address of the server that showed itself most often at these places; 0 for none."""
        counts: Counter[int] = Counter()
        for place in places:
            counts.update(self.servers.get(place, {}))
        return min(counts, key=lambda address: (-counts[address], address), default=0)


def survey(path: str | os.PathLike[str], server: int = 0) -> Recorded:
    """Read a capture once, for what it tells.

    Args:
        path: the file.
        server: of this server only; 0 for all.

    Raises:
        CaptureError: there is nothing to be read.
    """
    recorded, skipped = Recorded(), Counter[str]()
    datagrams = 0
    try:
        with open(path, "rb") as file:
            recorded.digest = hashlib.file_digest(file, "sha256").hexdigest()
        for each in read_capture(path, skipped):
            datagrams += 1
            _note(recorded, each, server)
    except OSError as error:
        raise CaptureError(f"{path}: can't be read: {error.strerror}") from None
    except CaptureError as error:
        recorded.wrong = str(error)
    recorded.frames = datagrams + skipped.total()
    if recorded.wrong and not recorded.frames:
        raise CaptureError(recorded.wrong)
    return recorded


def _note(recorded: Recorded, captured: Captured, server: int) -> None:
    place = captured.place
    if place not in recorded.servers and len(recorded.servers) >= MOST:
        return
    seen = recorded.servers.setdefault(place, Counter())
    try:
        packet = Packet(captured.data)
    except DecodeError:
        packet = None
    if packet is None or packet.op != Op.BOOTREPLY:
        if captured.destination_port == SERVER_PORT:
            recorded.start = recorded.start if recorded.requests else captured.time
            recorded.requests += 1
            if not is_broadcast(captured.destination) and len(seen) < MOST and server in (0, captured.destination):
                seen[captured.destination] += 1
        return
    own = option_number(packet, SERVER_ID) or captured.source
    if len(recorded.repliers) < MOST:
        recorded.repliers.add(own)
    if server not in (0, own):
        return
    if len(seen) < MOST:
        seen[own] += 1
    recorded.naks |= packet.message_type == MessageType.NAK
    if not packet.yiaddr:
        return
    recorded.bootp |= packet.message_type is None
    mask = option_number(packet, SUBNET_MASK)
    length = mask.bit_count() if mask and (mask | (mask - 1)) & 0xFFFFFFFF == 0xFFFFFFFF else 24
    network = IPv4Network((packet.yiaddr, length), strict=False)
    if network not in recorded.networks and len(recorded.networks) >= MOST:
        return
    known = recorded.networks.setdefault(network, Network())
    known.replies += 1
    options = packet.options.raw.items()
    known.options.update({code: value for code, value in options if value and code not in OF_A_MESSAGE})
    known.lease_time = option_number(packet, LEASE_TIME) or known.lease_time
    if packet.giaddr and len(known.relays) < MOST:
        known.relays.add(packet.giaddr)
    elif not packet.giaddr and not packet.ciaddr:
        # Who renews past its relay agent is elsewhere.
        known.places.add(place)


def like_recorded(recorded: Recorded, networks: Sequence[IPv4Network], names: Mapping[str, Interface]) -> Config:
    """A configuration of a server that is as the recorded one was, as far as the capture tells.

    Args:
        recorded: what the capture tells. Of networks that overlap it takes the one that more replies speak of.
        networks: those to serve instead of those of the capture, which must not overlap; empty for those.
        names: the interface of each place.

    Raises:
        ConfigError: an option, a lease time or a relay agent is none that could be configured.
    """
    wanted = {each: recorded.networks.get(each, Network()) for each in networks}
    for network, known in sorted(recorded.networks.items(), key=lambda item: (-item[1].replies, item[0])):
        if not networks and not any(network.overlaps(other) for other in wanted):
            wanted[network] = known
    bootp: Bootp = "dynamic" if recorded.bootp else "reserved"
    try:
        subnets = [_subnet(network, known, names) for network, known in sorted(wanted.items())]
    except ValueError as error:
        raise ConfigError(f"the capture tells of what no server can be configured to do: {error}") from None
    return Config(subnets, authoritative=recorded.naks, bootp=bootp)


def _subnet(network: IPv4Network, known: Network, names: Mapping[str, Interface]) -> Subnet:
    first, last = network[0], network[-1]
    if network.prefixlen < 31:
        first, last = first + 1, last - 1
    return Subnet(
        network,
        [f"{first}-{last}"],
        parameters=Parameters(
            {code: f"hex:{value.hex(':')}" for code, value in known.options.items()}, known.lease_time or None
        ),
        interfaces=sorted({names[place].name for place in known.places if place in names}),
        relays=[IPv4Address(relay) for relay in sorted(known.relays) if IPv4Address(relay) not in network],
    )
