"""Replies: what a client is told, as octets, and where to. What is the same for many replies is made once.

Everything that decides a reply but the client's own fields makes up the key of its plan; a packet only patches it.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from aiodhcp.constants import (
    BOOTP_MINIMUM_LENGTH,
    BOOTP_REPLY,
    BROADCAST_ADDRESS,
    BROADCAST_FLAG,
    CLIENT_PORT,
    INFINITE,
    MAGIC_COOKIE,
    MINIMUM_LENGTH,
    SERVER_PORT,
    MessageType,
)
from aiodhcp.exchange import NO_CLASSES, Answer, Exchange
from aiodhcp.fqdn import CLIENT_FQDN
from aiodhcp.packet import FIXED_FIELDS, MESSAGE_TYPE, encode_options, option_bytes
from aiodhcp.parameters import NOTHING_SAID, Parameters
from aiodhcp.relays import RELAY_SOURCE_PORT
from aiodhcp.subnets import Config, Pool, Reservation, Subnet
from aiodhcp.virtual import VSS_OPTION, echoed

__all__ = ["Replies", "maximum", "renewal_times"]

log = logging.getLogger("aiodhcp.replies")

SUBNET_MASK, BROADCAST_OPTION = 1, 28
LEASE_TIME, SERVER_ID, PARAMETER_REQUEST_LIST, MESSAGE, MAXIMUM_SIZE = 51, 54, 55, 56, 57
RAPID_COMMIT, IPV6_ONLY_PREFERRED, AUTO_CONFIGURE = 80, 108, 116
RENEWAL_TIME, REBINDING_TIME, CLIENT_ID, RELAY_AGENT_INFORMATION = 58, 59, 61, 82
SHORTEST: Final = 60
"""Seconds: the least that a client may ask for, where nothing is said."""
HOST_NAME: Final = 12
VENDOR_AREA: Final = 236
"""Where it begins: the magic cookie, and options behind it."""
SUBNET_SELECTION: Final = 118
OTHER_ROUTES: Final = frozenset({3, 33})
"""Routers and static routes: a client that has classless static routes ignores them (RFC 3442)."""
CLASSLESS_ROUTES: Final = frozenset({121, 249})
"""Classless static routes; 249 is Microsoft's code for the same ([MS-DHCPE] §2.2.8)."""
IP_AND_UDP: Final = 28
"""Octets of the headers that option 57 counts (RFC 2131 §2: a 576-octet IP datagram)."""
SMALLEST, LARGEST = 576, 1500
USUAL: Final = SMALLEST - IP_AND_UDP
"""Octets of the message that a client takes that says nothing else."""
ESSENTIAL: Final = 36
"""Octets of the options field that are kept from all that is echoed: message type, server identifier and times."""
LEAST_ROOM: Final = 64
"""The same with what the relay agent says, which may be left out (RFC 3046 §2.2), as the client identifier may not."""
BOOTP_LEAST_ROOM: Final = 8
"""The same of a reply to a BOOTP client, which has none of these: enough for a subnet mask."""

_ADDRESS: Final = struct.Struct("!I")
_pack_fixed: Final = FIXED_FIELDS.pack
_TYPES: Final = tuple(option_bytes(MESSAGE_TYPE, bytes((kind,))) for kind in range(max(MessageType) + 1))
"""Option 53, by message type."""

# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_OFFER: Final = MessageType.OFFER
_ACK: Final = MessageType.ACK
_NAK: Final = MessageType.NAK
# Plain numbers, because they are compared with such, which Python does faster.
_REQUEST: Final = int(MessageType.REQUEST)
_INFORM: Final = int(MessageType.INFORM)
# A tuple of a class as it is: past the function that gives its fields names, which costs more than the tuple.
_new: Final = tuple.__new__
# A client chooses its parameter request list and lease time, so a bad one can make any number of plans.
PLANS_KEPT: Final = 4096
PLANS_OF_SUBNET: Final = 8
"""So many more for each subnet: clients of a few kinds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What does not depend on the packet: ``siaddr``, then ``sname``, ``file`` and cookie, then the options behind the
    message type.

    Attributes:
        left_out: codes of the options that there is no room for.
    """

    siaddr: int
    names: bytes
    options: bytes
    left_out: tuple[int, ...] = ()


Where = Subnet | Pool | tuple[Subnet, Pool | None, Reservation]
"""A pool is of one subnet, which need not be said."""
Thing = TypeVar("Thing")
_NOTHING: Final[dict[Where, Any]] = {}


class Kept(Generic[Thing]):
    """What is the same for many clients: first by what is the same everywhere, because there are few such keys and they
    stay in the processor's caches, then by where the clients are, of which there may be ten thousands.

    Args:
        most: so many things, then it begins anew.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: dict[Hashable, dict[Where, Thing]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, key: Hashable) -> dict[Where, Thing]:
        """The things of a key, by place; to be looked at only."""
        return self._things.get(key, _NOTHING)

    def keep(self, key: Hashable, where: Where, thing: Thing) -> None:
        if self._count >= self._most:
            self._things.clear()
            self._count = 0
        self._things.setdefault(key, {})[where] = thing
        self._count += 1


class Replies:
    """Makes the replies of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._virtual = config.has_virtual_networks
        self._always = frozenset(code for each in config.levels() for code in each.always_send)
        self._narrowed: dict[tuple[frozenset[str], bytes | None], frozenset[str]] = {}
        self._by_classes: dict[frozenset[str], Parameters] = {}
        most = PLANS_KEPT + PLANS_OF_SUBNET * len(config.subnets)
        self._parameters: Kept[Parameters] = Kept(most)
        self._plans: Kept[Plan] = Kept(most)
        self._unknown: set[str] = set()
        self._cut: set[tuple[int, ...]] = set()

    def parameters(
        self,
        subnet: Subnet,
        pool: Pool | None,
        reservation: Reservation | None,
        classes: frozenset[str],
        asked: bytes | None,
    ) -> Parameters:
        """What holds for a client, the most specific last: server, class, subnet, pool, reservation.

        Args:
            subnet, pool, reservation, classes: the client's.
            asked: the codes of the options that matter; None for all. Of classes there may be no others.
        """
        if reservation is not None and reservation.parameters is NOTHING_SAID:
            # As of most: the client is told what all others are told.
            reservation = None
        if classes:
            classes = self._relevant(classes, asked)
        where = pool or subnet if reservation is None else (subnet, pool, reservation)
        found = self._parameters.of(classes).get(where)
        if found is None:
            found = self._of_classes(classes)
            for level in (subnet, pool, reservation):
                if level is not None:
                    found = found.under(level.parameters)
            self._parameters.keep(classes, where, found)
        return found

    def _of_classes(self, classes: frozenset[str]) -> Parameters:
        """What holds for all clients of the server that are in some classes."""
        found = self._by_classes.get(classes)
        if found is None:
            found = self._config.parameters
            for each in self._config.classes:
                if each.name in classes:
                    found = found.under(each.parameters)
            if len(self._by_classes) >= PLANS_KEPT:
                self._by_classes.clear()
            self._by_classes[classes] = found
        return found

    def _relevant(self, classes: frozenset[str], asked: bytes | None) -> frozenset[str]:
        """Those of some classes that make a difference to a client: not for options alone that it doesn't ask for.

        Args:
            classes: names, which need not be configured.
            asked: the codes of the options that it asks for; None for all.
        """
        found = self._narrowed.get((classes, asked))
        if found is None:
            unknown = sorted(classes - self._config.classes_by_name.keys() - self._unknown)
            for name in unknown[: PLANS_KEPT - len(self._unknown)]:
                self._unknown.add(name)
                log.warning("a plugin put a client into class %r, which isn't configured", name)
            told = None if asked is None else self._always.union(asked)
            found = frozenset(
                each.name for each in self._config.classes if each.name in classes and each.parameters.tell(told)
            )
            if len(self._narrowed) >= PLANS_KEPT:
                self._narrowed.clear()
            self._narrowed[classes, asked] = found
        return found

    def lease_time(self, parameters: Parameters, requested: bytes | None) -> int:
        """Seconds to grant: what the client asks for within the limits, or the configured time (RFC 2131 §4.3.1)."""
        configured = parameters.lease_time
        assert configured is not None
        if requested is None or len(requested) != 4:
            return configured
        longest = parameters.max_lease_time or configured
        shortest = min(parameters.min_lease_time or SHORTEST, longest)
        return max(shortest, min(int.from_bytes(requested, "big"), longest))

    def shortest_lease_time(self, parameters: Parameters) -> int:
        """The least that a client may ask for, in seconds."""
        return min(parameters.min_lease_time or SHORTEST, parameters.max_lease_time or INFINITE)

    def encode(self, exchange: Exchange) -> bytes:
        """The reply, 300 octets at least (RFC 951), its options in the order the client asked for them."""
        received = exchange.received
        kind = exchange.reply_type
        bootp, nak = kind == BOOTP_REPLY, kind == _NAK
        largest = USUAL
        if bootp:
            largest = _bootp_maximum(exchange)
        elif MAXIMUM_SIZE in received:
            largest = maximum(received[MAXIMUM_SIZE])
        room = largest - MINIMUM_LENGTH
        fqdn = b"" if nak else exchange.fqdn
        relayed, virtual = received.get(RELAY_AGENT_INFORMATION, b""), b""
        if self._virtual:
            relayed, virtual = echoed(exchange)
        if bootp:
            echo = _echo(received, fqdn, virtual, relayed, room - BOOTP_LEAST_ROOM, room - BOOTP_LEAST_ROOM, b"")
        else:
            echo = _echo(received, fqdn, virtual, relayed, room - ESSENTIAL, room - LEAST_ROOM, exchange.force_renew)
        if nak:
            plan = Plan(0, _names("", ""), _nak(exchange, room - len(echo)))
        else:
            reservation, classes = exchange.reservation, exchange.class_names if exchange.joined else NO_CLASSES
            asked = received.get(PARAMETER_REQUEST_LIST)
            if reservation is not None and reservation.parameters is NOTHING_SAID:
                # As of most: the client is told what all others are told.
                reservation = None
            subnet, pool = exchange.subnet, exchange.pool
            assert subnet is not None
            where = pool or subnet if reservation is None else (subnet, pool, reservation)
            # An OFFER of a lease and the ACK that follows differ in their message type, which no plan has.
            leases = exchange.lease_time and (kind == _OFFER or exchange.message_type == _REQUEST)
            key = (
                0 if leases else kind,
                self._relevant(classes, asked) if classes else classes,
                exchange.lease_time,
                exchange.server_id,
                bool(fqdn) if asked is None else asked,
                largest - len(echo),
            )
            found = self._plans.of(key).get(where)
            if found is None:
                found = self._plan(exchange, room - len(echo))
                self._plans.keep(key, where, found)
            plan = found
        if plan.left_out:
            exchange.left_out = plan.left_out
        flags, chaddr = exchange.flags, exchange.chaddr
        if exchange.giaddr and (nak or not (exchange.yiaddr or exchange.ciaddr)):
            # The relay agent has no address to send to, and has to broadcast it: a NAK (RFC 2131 §4.3.2), and what says
            # neither yiaddr nor ciaddr.
            flags |= BROADCAST_FLAG
        data = b"".join(
            (
                _pack_fixed(
                    2,
                    exchange.htype,
                    len(chaddr),
                    0,
                    exchange.xid,
                    0,
                    flags,
                    exchange.ciaddr if bootp or kind == _ACK else 0,
                    exchange.yiaddr,
                    plan.siaddr,
                    exchange.giaddr,
                    chaddr,
                ),
                plan.names,
                b"" if bootp else _TYPES[kind],
                plan.options,
                echo,
                b"\xff",
            )
        )
        if bootp and exchange.datagram.data[VENDOR_AREA:MINIMUM_LENGTH] != MAGIC_COOKIE:
            # RFC 951 §3: who shows no magic number reads none.
            data = data[:VENDOR_AREA]
        return data if len(data) >= BOOTP_MINIMUM_LENGTH else data.ljust(BOOTP_MINIMUM_LENGTH, b"\0")

    def address(self, exchange: Exchange, data: bytes) -> Answer:
        """Where the reply goes (RFC 2131 §4.1)."""
        hardware = None
        port = CLIENT_PORT
        if exchange.message_type == _INFORM and (exchange.ciaddr or not exchange.giaddr):
            # RFC 2131 §4.3.5, also where a relay agent sent it: the client has an address.
            destination = exchange.ciaddr or exchange.datagram.source
        elif exchange.giaddr:
            destination, port = exchange.giaddr, SERVER_PORT
            if RELAY_AGENT_INFORMATION in exchange.received and RELAY_SOURCE_PORT in exchange.agent:
                # RFC 8357 §5.2.
                port = exchange.datagram.source_port
        elif exchange.reply_type == _NAK:
            destination = BROADCAST_ADDRESS
        elif exchange.ciaddr:
            destination = exchange.ciaddr
        elif not exchange.yiaddr or exchange.flags & BROADCAST_FLAG or exchange.htype != 1 or len(exchange.chaddr) != 6:
            destination = BROADCAST_ADDRESS
        else:
            destination, hardware = exchange.yiaddr, exchange.chaddr
        datagram, source = exchange.datagram, exchange.server_id
        if source not in datagram.interface.addresses:
            # A configured server identifier need not be an address of ours to send from.
            source = 0
        return _new(Answer, (data, datagram, destination, port, hardware, source))

    def _plan(self, exchange: Exchange, room: int) -> Plan:
        assert exchange.subnet is not None
        asked = exchange.received.get(PARAMETER_REQUEST_LIST)
        parameters = self.parameters(exchange.subnet, exchange.pool, exchange.reservation, exchange.class_names, asked)
        sname, file = parameters.server_name or "", parameters.boot_file or ""
        # Option 52 is of DHCP only.
        fields = {
            "file": not file and exchange.reply_type != BOOTP_REPLY,
            "sname": not sname and exchange.reply_type != BOOTP_REPLY,
        }
        field, in_file, in_sname, left_out = encode_options(_options(exchange, parameters), room, **fields)
        if too_long := CLASSLESS_ROUTES.intersection(left_out):
            # What isn't sent takes the place of no other routes.
            shorter = _options(exchange, parameters, too_long)
            field, in_file, in_sname, left_out = encode_options(shorter, room, **fields)
            left_out = [*left_out, *sorted(too_long)]
        if left_out:
            self._warn(exchange, left_out)
        # The message type is always first.
        options = field[:-1] if exchange.reply_type == BOOTP_REPLY else field[len(_TYPES[0]) : -1]
        return Plan(parameters.next_server or 0, _names(sname, file, in_sname, in_file), options, tuple(left_out))

    def _warn(self, exchange: Exchange, left_out: list[int]) -> None:
        if tuple(left_out) not in self._cut and len(self._cut) < PLANS_KEPT:
            self._cut.add(tuple(left_out))
            log.warning(
                "options %s don't fit into a reply to %s in %s and were left out",
                left_out,
                exchange.hardware_address,
                exchange.subnet,
            )


def _options(
    exchange: Exchange, parameters: Parameters, without: frozenset[int] = frozenset()
) -> list[tuple[int, bytes]]:
    """The options of a reply, the indispensable first (RFC 2131 §4.3.1, table 3)."""
    subnet, seconds, never = exchange.subnet, exchange.lease_time, {*parameters.never_send, *without}
    assert subnet is not None
    options = []
    if exchange.reply_type != BOOTP_REPLY:
        options += [(MESSAGE_TYPE, bytes((exchange.reply_type,))), (SERVER_ID, _ADDRESS.pack(exchange.server_id))]
    if exchange.reply_type == _OFFER and not seconds:
        # RFC 2563 §2.3: nothing but whether the client may take an address of its own.
        return [*options, (AUTO_CONFIGURE, bytes((parameters.auto_configure or False,)))]
    if exchange.message_type == MessageType.DISCOVER and exchange.reply_type == _ACK:
        options.append((RAPID_COMMIT, b""))
    if seconds and exchange.reply_type != BOOTP_REPLY:
        options.append((LEASE_TIME, _ADDRESS.pack(seconds)))
        times = zip((RENEWAL_TIME, REBINDING_TIME), renewal_times(parameters, seconds), strict=False)
        options += [(code, _ADDRESS.pack(time)) for code, time in times if code not in never]
    offered = {
        SUBNET_MASK: subnet.network.netmask.packed,
        BROADCAST_OPTION: subnet.network.broadcast_address.packed,
        **parameters.options,
    }
    asked = exchange.received.get(PARAMETER_REQUEST_LIST)
    if asked is None:
        # RFC 8925 §3.3: IPv6 only is for those that ask.
        wanted = [SUBNET_MASK, *(code for code in parameters.options if code != IPV6_ONLY_PREFERRED)]
        if exchange.fqdn and HOST_NAME in wanted:
            # RFC 4702 §3.1: who is told its name is not told it twice, unless it asks.
            wanted.remove(HOST_NAME)
    else:
        wanted = [code for code in asked if code in offered and code not in never]
        if not CLASSLESS_ROUTES.isdisjoint(wanted):
            wanted = [code for code in wanted if code not in OTHER_ROUTES]
        if SUBNET_MASK in wanted:
            # RFC 2132 §3.3: before the routers.
            wanted.insert(0, SUBNET_MASK)
    wanted += [code for code in parameters.always_send if code in offered and code != IPV6_ONLY_PREFERRED]
    options += [(code, offered[code]) for code in dict.fromkeys(wanted) if code not in never]
    return options


def renewal_times(parameters: Parameters, seconds: int) -> tuple[int, ...]:
    """T1 and T2 of a lease of so many seconds (RFC 2131 §4.4.5): T1 before T2 before the end. None without an end."""
    if not 3 <= seconds < INFINITE:
        return ()
    t2 = parameters.rebinding_time or seconds
    t2 = t2 if t2 < seconds else seconds * 7 // 8
    t1 = parameters.renewal_time or seconds // 2
    return t1 if t1 < t2 else t2 // 2, t2


def _echo(
    received: dict[int, bytes],
    fqdn: bytes,
    virtual: bytes,
    relayed: bytes,
    room: int,
    room_with_relayed: int,
    force_renew: bytes,
) -> bytes:
    """What answers the client's own: what it is called (RFC 4702), and, as they came, the client identifier (RFC 6842
    §3), the subnet selection (RFC 3011 §2), the virtual network (RFC 6607 §7), then what the client is told of
    FORCERENEW (RFC 6704), and, last, what the relay agent says (RFC 3046 §2.2). No plan has these. What has no room is
    left out, whole: first what it is called, then what it is told of FORCERENEW, and then the last first.
    """
    client_id = received.get(CLIENT_ID, b"")
    if client_id:
        client_id = option_bytes(CLIENT_ID, client_id)
    echo = client_id
    if SUBNET_SELECTION in received:
        echo += option_bytes(SUBNET_SELECTION, received[SUBNET_SELECTION])
    if virtual:
        echo += option_bytes(VSS_OPTION, virtual)
    if relayed:
        relayed = option_bytes(RELAY_AGENT_INFORMATION, relayed)
    if force_renew and len(echo) + len(force_renew) + len(relayed) <= room_with_relayed:
        echo += force_renew
    if fqdn:
        fqdn = option_bytes(CLIENT_FQDN, fqdn)
        if len(fqdn) + len(echo) + len(relayed) <= room_with_relayed:
            return fqdn + echo + relayed
    if relayed and len(echo) + len(relayed) <= room_with_relayed:
        return echo + relayed
    if len(echo) <= room:
        return echo
    return client_id if len(client_id) <= room else b""


def _nak(exchange: Exchange, room: int) -> bytes:
    fixed = option_bytes(SERVER_ID, _ADDRESS.pack(exchange.server_id))
    # Before them the message type, behind them a code, a length, and the end of all options.
    longest = min(room - len(_TYPES[_NAK]) - len(fixed) - 3, 255)
    words = exchange.why.encode()[:longest].decode(errors="ignore").encode()
    return fixed + option_bytes(MESSAGE, words)


# Nearly all plans have the same: so it is one object, and at hand.
@lru_cache(maxsize=256)
def _names(sname: str, file: str, in_sname: bytes = b"", in_file: bytes = b"") -> bytes:
    return (sname.encode() or in_sname).ljust(64, b"\0") + (file.encode() or in_file).ljust(128, b"\0") + MAGIC_COOKIE


def _bootp_maximum(exchange: Exchange) -> int:
    """A BOOTP client can take a reply as long as its request (RFC 1542 §2.1), and 300 octets in any case."""
    return min(max(len(exchange.datagram.data), BOOTP_MINIMUM_LENGTH), LARGEST - IP_AND_UDP)


@lru_cache(maxsize=256)
def maximum(size: bytes | None) -> int:
    """Octets that a reply may have, from ``op`` on, by what option 57 says."""
    if size is None or len(size) != 2:
        return USUAL
    return min(max(int.from_bytes(size, "big"), SMALLEST), LARGEST) - IP_AND_UDP
