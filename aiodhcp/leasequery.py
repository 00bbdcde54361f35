"""Leasequery: whose an address is, told to those who may ask (RFC 4388, RFC 6148, RFC 6926, RFC 7724), as octets.

Reads questions and makes answers, by UDP one each; what is asked over TCP, connections stream (leasequery_tcp.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from aiodhcp.addresses import Addresses
from aiodhcp.constants import (
    BOOTP_MINIMUM_LENGTH,
    INFINITE,
    MAGIC_COOKIE,
    MAXIMUM_LENGTH,
    MINIMUM_LENGTH,
    BindingState,
    DropReason,
    LeaseQueryStatus,
    MessageType,
    Op,
)
from aiodhcp.errors import DecodeError, Dropped
from aiodhcp.exchange import CLIENT_ID, RELAY_AGENT_INFORMATION, Exchange
from aiodhcp.leaseindex import RELAY_ID, REMOTE_ID
from aiodhcp.leases import NEVER, Lease, LeaseState
from aiodhcp.packet import FIXED_FIELDS, MESSAGE_TYPE, encode_options, scan_options
from aiodhcp.parameters import Parameters
from aiodhcp.placement import Placement, dotted
from aiodhcp.relays import sub_options
from aiodhcp.replies import (
    BROADCAST_OPTION,
    IPV6_ONLY_PREFERRED,
    LEASE_TIME,
    MAXIMUM_SIZE,
    PARAMETER_REQUEST_LIST,
    REBINDING_TIME,
    RENEWAL_TIME,
    SERVER_ID,
    SUBNET_MASK,
    Replies,
    maximum,
    renewal_times,
)
from aiodhcp.subnets import Config

__all__ = ["EVERYTHING", "LeaseAnswers", "Query", "Question", "read_question"]

HOST_NAME: Final = 12
LAST_TRANSACTION, ASSOCIATED_IP = 91, 92
STATUS_CODE, BASE_TIME, START_TIME_OF_STATE, QUERY_START_TIME, QUERY_END_TIME, DHCP_STATE, DATA_SOURCE = range(151, 158)
ADDRESS, HARDWARE_ADDRESS, CLIENT, REMOTE, RELAY, ALL = (
    "address",
    "hardware address",
    "client identifier",
    "remote id",
    "relay id",
    "all",
)
NO_CLASSES: Final[frozenset[str]] = frozenset()
NO_NAMES: Final = bytes(192) + MAGIC_COOKIE
"""``sname``, ``file`` and the cookie."""
_STATES: Final = {
    LeaseState.ACTIVE: BindingState.ACTIVE,
    LeaseState.RELEASED: BindingState.RELEASED,
    LeaseState.EXPIRED: BindingState.EXPIRED,
    LeaseState.DECLINED: BindingState.ABANDONED,
}


class Query(NamedTuple):
    """By what leases are asked for.

    Attributes:
        by: one of the kinds above.
        key: the identifier; empty for an address.
        number: the address as an integer, or the hardware type.
    """

    by: str
    key: bytes = b""
    number: int = 0

    def __str__(self) -> str:
        if self.by == ADDRESS:
            return f"{self.by} {dotted(self.number)}"
        return f"{self.by} {self.key.hex(':')}" if self.key else self.by


EVERYTHING: Final = Query(ALL)


class Question(NamedTuple):
    """A message of a TCP connection.

    Attributes:
        kind: the message type; 0 without one.
        xid: by which the answers to it are known.
        query: by what it asks.
        asked: the parameter request list; None without.
        first, last: it asks for what changed from then to then, in seconds since 1970.
        since: whether it says ``first``.
        malformed: why it can't be answered, in words; empty if it can.
    """

    kind: int
    xid: int
    query: Query = EVERYTHING
    asked: bytes | None = None
    first: int = 0
    last: int = INFINITE
    since: bool = False
    malformed: str = ""


def _query(ciaddr: int, htype: int, chaddr: bytes, client_id: bytes, relay_agent: Mapping[int, bytes]) -> Query:
    """By what a message asks; ``EVERYTHING`` where it says nothing.

    Raises:
        ValueError: by several things at once, in words (RFC 4388 §6.3, RFC 6148 §4.2, RFC 6926 §7.2).
    """
    given = [
        *([Query(ADDRESS, number=ciaddr)] if ciaddr else ()),
        *([Query(HARDWARE_ADDRESS, chaddr, htype)] if chaddr else ()),
        *([Query(CLIENT, client_id)] if client_id else ()),
        *([Query(REMOTE, relay_agent[REMOTE_ID])] if relay_agent.get(REMOTE_ID) else ()),
        *([Query(RELAY, relay_agent[RELAY_ID])] if relay_agent.get(RELAY_ID) else ()),
    ]
    if len(given) > 1:
        raise ValueError(f"asks by {' and by '.join(each.by for each in given)} at once")
    return given[0] if given else EVERYTHING


def read_question(data: bytes) -> Question:
    """A message of a TCP connection (RFC 6926 §7.2, RFC 7724 §7.2).

    Raises:
        DecodeError: that is no DHCP message.
    """
    received = scan_options(data)
    op, htype, hlen, _, xid, _, _, ciaddr, _, _, _, chaddr = FIXED_FIELDS.unpack_from(data)
    said = received.get(MESSAGE_TYPE, b"")
    kind = said[0] if len(said) == 1 else 0
    if op != Op.BOOTREQUEST:
        raise DecodeError(f"op is {op}, not a request")
    times = [received.get(code) for code in (QUERY_START_TIME, QUERY_END_TIME)]
    malformed, query = "", EVERYTHING
    try:
        if hlen > 16:
            raise ValueError(f"hlen is {hlen}: chaddr has 16 octets")
        relay_agent = sub_options(received.get(RELAY_AGENT_INFORMATION, b""))
        query = _query(ciaddr, htype, chaddr[:hlen], received.get(CLIENT_ID, b""), relay_agent)
        if any(time is not None and len(time) != 4 for time in times):
            raise ValueError("a query time that has not four octets")
    except ValueError as error:
        malformed = str(error)
    first, last = (None if time is None else int.from_bytes(time) for time in times)
    question = Question(
        kind,
        xid,
        query,
        received.get(PARAMETER_REQUEST_LIST),
        first or 0,
        INFINITE if last is None else last,
        first is not None,
        malformed,
    )
    if not malformed and question.first > question.last:
        return question._replace(malformed="the query ends before it starts")
    return question


class LeaseAnswers:
    """Answers questions by one configuration.

    Args:
        config: who may ask, and what clients are told.
        placement: finds the server identifier.
        addresses: the leases.
        replies: what clients are told.
    """

    def __init__(self, config: Config, placement: Placement, addresses: Addresses, replies: Replies) -> None:
        self._config = config
        self._placement = placement
        self._addresses = addresses
        self._leases = addresses.leases
        self._replies = replies

    # ── by UDP ───────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, exchange: Exchange) -> None:
        """Tell what is asked for (RFC 4388 §6.4, RFC 6148 §4.3), or that it isn't known.

        Raises:
            Dropped: who asks may not, or asks for nothing, or for several things.
        """
        settings, giaddr = self._config.leasequery, exchange.giaddr
        if settings is None:
            raise Dropped(DropReason.UNAUTH, "nobody may ask for leases: there is no leasequery in the configuration")
        if not giaddr:
            raise Dropped(DropReason.INVALID, "a LEASEQUERY without giaddr, where its answer would go")
        if not settings.allows(giaddr):
            raise Dropped(DropReason.UNAUTH, f"{dotted(giaddr)} is not among those who may ask for leases")
        try:
            query = _query(exchange.ciaddr, exchange.htype, exchange.chaddr, exchange.client_id, exchange.agent)
        except ValueError as error:
            raise Dropped(DropReason.INVALID, f"a LEASEQUERY that {error}") from None
        if query is EVERYTHING:
            raise Dropped(DropReason.INVALID, "a LEASEQUERY that asks for nothing")
        exchange.server_id = self._config.server_id or self._placement.own_address(exchange.datagram)
        held = [lease for lease in self.find(query) if lease.holds(exchange.now)]
        held.sort(key=lambda lease: (lease.last_transaction or lease.starts, lease.address), reverse=True)
        exchange.why = f"asks for {query}: {', '.join(str(lease.ip) for lease in held[:4]) or 'no lease'}"
        if len(held) > 4:
            exchange.why += f" and {len(held) - 4} more"
        if held:
            self._active(exchange, query, held)
        else:
            unassigned = query.by == ADDRESS and self._is_ours(query.number)
            self._inactive(exchange, query, MessageType.LEASEUNASSIGNED if unassigned else MessageType.LEASEUNKNOWN)

    def _is_ours(self, address: int) -> bool:
        """Whether this server may give an address to somebody."""
        subnet = self._config.subnet_of(address)
        return subnet is not None and (
            subnet.pool(address) is not None
            or address in subnet.by_address
            or address in self._config.by_address
            or self._leases.get(address) is not None
        )

    def _active(self, exchange: Exchange, query: Query, held: list[Lease]) -> None:
        """RFC 4388 §6.4.2: the lease of which the client was heard last, and which others there are."""
        lease, asked = held[0], exchange.received.get(PARAMETER_REQUEST_LIST)
        options = self._of_binding(lease, exchange.now, asked)
        if query.by == CLIENT and all(code != CLIENT_ID for code, _ in options):
            # RFC 6842 §3.
            options.append((CLIENT_ID, query.key))
        if len(held) > 1 or (asked is not None and ASSOCIATED_IP in asked):
            options.append((ASSOCIATED_IP, b"".join(each.address.to_bytes(4) for each in held)))
        # What is known of the lease is more than what its subnet says.
        options += self._of_client(lease, asked)
        exchange.lease_before = lease
        self._reply(exchange, MessageType.LEASEACTIVE, lease.address, lease.htype, lease.chaddr, options)

    def _inactive(self, exchange: Exchange, query: Query, kind: MessageType) -> None:
        """Nothing but what was asked for."""
        codes = {CLIENT: CLIENT_ID, REMOTE: RELAY_AGENT_INFORMATION, RELAY: RELAY_AGENT_INFORMATION}
        code = codes.get(query.by)
        options = [] if code is None else [(code, exchange.received[code])]
        self._reply(exchange, kind, exchange.ciaddr, exchange.htype, exchange.chaddr, options)

    def _reply(
        self,
        exchange: Exchange,
        kind: MessageType,
        ciaddr: int,
        htype: int,
        chaddr: bytes,
        options: list[tuple[int, bytes]],
    ) -> None:
        room = maximum(exchange.received.get(MAXIMUM_SIZE)) - MINIMUM_LENGTH
        begin = [(MESSAGE_TYPE, bytes((kind,))), (SERVER_ID, exchange.server_id.to_bytes(4))]
        field, file, sname, left_out = encode_options([*begin, *options], room, file=True, sname=True)
        exchange.reply_type = kind
        exchange.left_out = tuple(left_out)
        exchange.reply_data = b"".join(
            (
                FIXED_FIELDS.pack(
                    2, htype, len(chaddr), 0, exchange.xid, 0, exchange.flags, ciaddr, 0, 0, exchange.giaddr, chaddr
                ),
                sname.ljust(64, b"\0"),
                file.ljust(128, b"\0"),
                MAGIC_COOKIE,
                field,
            )
        ).ljust(BOOTP_MINIMUM_LENGTH, b"\0")

    # ── what is known ────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, query: Query) -> Iterator[Lease]:
        """The leases that a query is for, of whatever state. More may come while they are looked at."""
        for address in self._find(query):
            lease = self._leases.get(address)
            if lease is not None:
                yield lease

    def _find(self, query: Query) -> list[int]:
        if query.by == ADDRESS:
            return [query.number]
        if query.by == CLIENT:
            return self._leases.addresses_of(query.key)
        if query.by == ALL:
            return self._leases.addresses()
        index = self._addresses.index
        if index is None:
            # Of a configuration that is another one by now.
            return []
        if query.by == HARDWARE_ADDRESS:
            return index.by_hardware_address(query.number, query.key)
        return index.by_remote_id(query.key) if query.by == REMOTE else index.by_relay_id(query.key)

    def _of_binding(self, lease: Lease, now: float, asked: bytes | None) -> list[tuple[int, bytes]]:
        """What is known of a lease, as options, as far as it is asked for; times from now on (RFC 4388 §6.4.2)."""
        second = int(now)
        heard = lease.last_transaction or lease.starts
        options = []
        if lease.client and lease.client != bytes((lease.htype,)) + lease.chaddr:
            options.append((CLIENT_ID, lease.client))
        if lease.relay_agent:
            options.append((RELAY_AGENT_INFORMATION, lease.relay_agent))
        if lease.client:
            options.append((LAST_TRANSACTION, _seconds(second - heard)))
        if lease.holds(now):
            options.append((LEASE_TIME, _seconds(INFINITE if lease.expires >= NEVER else lease.expires - second)))
            parameters = self._parameters(lease)
            if parameters is not None and lease.last_transaction and lease.expires < NEVER:
                times = renewal_times(parameters, lease.expires - heard)
                options += [
                    (code, _seconds(heard + time - second))
                    for code, time in zip((RENEWAL_TIME, REBINDING_TIME), times, strict=False)
                    if heard + time > second and code not in parameters.never_send
                ]
        if lease.hostname:
            options.append((HOST_NAME, lease.hostname.encode()[:255]))
        return [(code, value) for code, value in options if asked is None or code in asked]

    def _of_client(self, lease: Lease, asked: bytes | None) -> list[tuple[int, bytes]]:
        """What the client of a lease is told besides, as far as its address tells."""
        subnet, parameters = self._config.subnet_of(lease.address), self._parameters(lease)
        if subnet is None or parameters is None:
            return []
        offered = {
            SUBNET_MASK: subnet.network.netmask.packed,
            BROADCAST_OPTION: subnet.network.broadcast_address.packed,
            **parameters.options,
        }
        # What the client says of itself is known better; and RFC 8925 §3.3 is for those that ask.
        known = {HOST_NAME} if lease.hostname else ()
        wanted = {SUBNET_MASK, *parameters.options} - {IPV6_ONLY_PREFERRED} if asked is None else {*asked}
        return [
            (code, value)
            for code, value in offered.items()
            if code in wanted and code not in known and code not in parameters.never_send
        ]

    def _parameters(self, lease: Lease) -> Parameters | None:
        address = lease.address
        subnet = self._config.subnet_of(address)
        if subnet is None:
            return None
        reservation = subnet.by_address.get(address) or self._config.by_address.get(address)
        return self._replies.parameters(subnet, subnet.pool(address), reservation, NO_CLASSES, None)

    # ── over TCP ─────────────────────────────────────────────────────────────────────────────────────────────────

    def binding(self, question: Question, lease: Lease, now: float, server_id: int) -> bytes:
        """What is known of a lease, LEASEACTIVE or LEASEUNASSIGNED (RFC 6926 §8.3)."""
        asked = question.asked
        active = lease.holds(now)
        state, began = _STATES[lease.state], lease.state_began
        if lease.state == LeaseState.ACTIVE and not active:
            # Nobody has noticed it yet.
            state, began = BindingState.EXPIRED, lease.expires
        elif not lease.client and lease.state != LeaseState.DECLINED:
            # Deleted, or its probation is over: it was nobody's.
            state = BindingState.AVAILABLE
        second = int(now)
        told = [
            (START_TIME_OF_STATE, _seconds(second - began)),
            (DHCP_STATE, bytes((state,))),
            (DATA_SOURCE, b"\0"),
        ]
        options = [
            (BASE_TIME, _time(second)),
            *((code, value) for code, value in told if asked is None or code in asked),
            *self._of_binding(lease, now, asked),
            *(self._of_client(lease, asked) if active else ()),
        ]
        kind = MessageType.LEASEACTIVE if active else MessageType.LEASEUNASSIGNED
        return _message(kind, question.xid, server_id, options, lease)

    def changed(self, question: Question, lease: Lease, now: float) -> bool:
        """Whether a lease changed in the time that a question is about (RFC 6926 §8.2). What isn't known may have."""
        if not lease.last_transaction and lease.state != LeaseState.DECLINED:
            return lease.starts <= question.last
        when = lease.expires if lease.state == LeaseState.ACTIVE and not lease.holds(now) else lease.changed
        return question.first <= when <= question.last

    def status(
        self, kind: MessageType, xid: int, server_id: int, now: float, status: LeaseQueryStatus, why: str = ""
    ) -> bytes:
        """LEASEQUERYDONE, LEASEQUERYSTATUS or TLS; without a code where all is well (RFC 6926 §6.2.2)."""
        options = [(BASE_TIME, _time(int(now)))] if kind == MessageType.LEASEQUERYSTATUS else []
        if status:
            options.append((STATUS_CODE, bytes((status,)) + why.encode()[:254]))
        return _message(kind, xid, server_id, options, None)


def _message(kind: int, xid: int, server_id: int, options: list[tuple[int, bytes]], lease: Lease | None) -> bytes:
    begin = [(MESSAGE_TYPE, bytes((kind,))), (SERVER_ID, server_id.to_bytes(4))]
    field, _, _, _ = encode_options([*begin, *options], MAXIMUM_LENGTH - MINIMUM_LENGTH)
    address, htype, chaddr = (0, 0, b"") if lease is None else (lease.address, lease.htype, lease.chaddr)
    fixed = FIXED_FIELDS.pack(2, htype, len(chaddr), 0, xid, 0, 0, address, 0, 0, 0, chaddr)
    return b"".join((fixed, NO_NAMES, field))


def _seconds(seconds: int) -> bytes:
    """A number of seconds; none where a clock was turned back."""
    return max(0, min(seconds, INFINITE)).to_bytes(4)


def _time(second: int) -> bytes:
    """A time of day, as RFC 6926 §6.2.3 has it."""
    return (second & 0xFFFFFFFF).to_bytes(4)
