"""Pairing: the requests of a capture, and what the server there answered."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aiodhcp.captures import Captured
from aiodhcp.constants import SERVER_PORT, MessageType, Op
from aiodhcp.errors import DecodeError
from aiodhcp.packet import Packet

__all__ = ["Pair", "is_broadcast", "option_number", "pairs"]

SERVER_ID: Final = 54
PATIENCE: Final = 30.0
"""Seconds, by the clock of the capture, after which a reply is none to a request any more."""
MOST: Final = 10_000
"""Requests that may wait for their replies."""

_DISCOVER, _OFFER, _REQUEST = MessageType.DISCOVER, MessageType.OFFER, MessageType.REQUEST
_ANSWERED_BY: Final[Mapping[int | None, tuple[int | None, ...]]] = {
    None: (None,),
    _DISCOVER: (_OFFER, MessageType.ACK),  # an ACK with rapid commit
    _REQUEST: (MessageType.ACK, MessageType.NAK),
    MessageType.INFORM: (MessageType.ACK,),
    MessageType.LEASEQUERY: (MessageType.LEASEACTIVE, MessageType.LEASEUNASSIGNED, MessageType.LEASEUNKNOWN),
}
"""Which replies there are to a message; None is BOOTP."""


@dataclass(slots=True, eq=False)
class Pair:
    """A request, and its reply.

    Attributes:
        captured: where the request was in the capture.
        packet: decoded; None if it can't be.
        reply: what the server answered; None if the capture has nothing.
        server: the address of the server that answered, as it says itself; 0 without a reply.
    """

    captured: Captured
    packet: Packet | None
    reply: Packet | None = None
    server: int = 0

    @property
    def waits(self) -> bool:
        """Whether it may still be answered."""
        return self.reply is None and self.packet is not None and self.packet.message_type in _ANSWERED_BY


def pairs(captured: Iterable[Captured], skipped: Counter[str], server: int = 0) -> Iterator[Pair]:
    """Find the requests of a capture, in its order, and the reply to each.

    A reply belongs to the last request before it with the same xid and chaddr, of a type that it answers, and with the
    same relay agent if there are several. No more of the capture is kept than what may still be answered.

    Args:
        captured: the datagrams.
        skipped: here is counted what is left out, in words.
        server: only what this server answered counts; 0 for any.
    """
    held: deque[Pair] = deque()
    waiting: dict[tuple[int, bytes], list[Pair]] = {}
    for each in captured:
        try:
            packet = Packet(each.data)
        except DecodeError:
            if each.destination_port != SERVER_PORT:
                skipped["malformed"] += 1
                continue
            held.append(Pair(each, None))
        else:
            if packet.op == Op.BOOTREPLY:
                _take_reply(each, packet, waiting, skipped, server)
            else:
                pair = Pair(each, packet)
                held.append(pair)
                if pair.waits:
                    waiting.setdefault((packet.xid, packet.chaddr), []).append(pair)
        while held and (not held[0].waits or len(held) > MOST or abs(each.time - held[0].captured.time) > PATIENCE):
            yield _let_go(held, waiting)
    while held:
        yield _let_go(held, waiting)


def _take_reply(
    captured: Captured,
    packet: Packet,
    waiting: Mapping[tuple[int, bytes], list[Pair]],
    skipped: Counter[str],
    server: int,
) -> None:
    own = option_number(packet, SERVER_ID) or captured.source
    if server and own != server:
        skipped["replies of other servers"] += 1
        return
    fitting = [
        each
        for each in waiting.get((packet.xid, packet.chaddr), ())
        if each.waits and each.packet is not None and packet.message_type in _ANSWERED_BY[each.packet.message_type]
    ]
    if not fitting:
        skipped["replies without their request"] += 1
        return
    same_relay = (each for each in reversed(fitting) if each.packet is not None and each.packet.giaddr == packet.giaddr)
    pair = next(same_relay, fitting[-1])
    pair.reply, pair.server = packet, own


def _let_go(held: deque[Pair], waiting: dict[tuple[int, bytes], list[Pair]]) -> Pair:
    pair = held.popleft()
    if pair.packet is not None:
        key = pair.packet.xid, pair.packet.chaddr
        others = [each for each in waiting.get(key, ()) if each is not pair]
        if others:
            waiting[key] = others
        else:
            waiting.pop(key, None)
    return pair


def option_number(packet: Packet, option: int) -> int:
    """An option of four octets as an integer; 0 without."""
    value = packet.options.raw.get(option, b"")
    return int.from_bytes(value, "big") if len(value) == 4 else 0


def is_broadcast(address: int) -> bool:
    """Whether a destination may be everybody. That of a subnet can't be told from a host's: its mask isn't known."""
    return address in (0, 0xFFFFFFFF) or address & 0xFF == 0xFF
