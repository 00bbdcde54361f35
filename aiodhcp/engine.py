"""Engine: octets and a time in, an Exchange with its Answer out, by the rules of RFC 2131 (rules.py).

No socket, clock, thread, event loop or database. It never raises on a packet: what goes no further is ``Dropped``
with a reason, in the one place that catches it. All state changes happen in ``decide``, which never waits.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from aiodhcp.addresses import Addresses
from aiodhcp.constants import BOOTP_MINIMUM_LENGTH, MAXIMUM_LENGTH, DropReason, MessageType, Op
from aiodhcp.errors import DecodeError, Dropped
from aiodhcp.exchange import Answer, Datagram, Exchange, Interface
from aiodhcp.forcerenew import force_renew, obstacle
from aiodhcp.hookcalls import Step
from aiodhcp.hooks import Hooks
from aiodhcp.leasequery import LeaseAnswers
from aiodhcp.leases import Lease, LeaseState
from aiodhcp.nonces import Nonces
from aiodhcp.packet import FIXED_FIELDS, MESSAGE_TYPE, Packet, scan_options
from aiodhcp.placement import Placement
from aiodhcp.replies import CLIENT_ID, Replies
from aiodhcp.rules import Rules, refuse
from aiodhcp.subnets import Config

__all__ = ["Engine"]

log = logging.getLogger("aiodhcp.engine")

LONGEST_CLIENT_ID: Final = 255
"""Octets. RFC 4361 needs 135; more would fill table and store at a client's pleasure."""
# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
# As plain numbers where they are compared with such, which Python does faster.
_BOOTREQUEST: Final = int(Op.BOOTREQUEST)
_JOINING: Final = frozenset({0, MessageType.DISCOVER, MessageType.REQUEST})
_NOT_REFUSED: Final = frozenset({0, MessageType.DISCOVER})
"""Messages that no NAK answers."""
_ASKING: Final = _JOINING | {MessageType.INFORM}
_LEASEQUERY: Final = int(MessageType.LEASEQUERY)
_unpack_fixed: Final = FIXED_FIELDS.unpack_from


class Engine:
    """One DHCP server without its input and output.

    For each datagram: ``arrive``, ``decide``, commit ``exchange.changes``, ``answer``, send, ``finish``. Where
    ``exchange.pending`` is set after a step, it has to be awaited before the next.

    Args:
        config: what to go by.
        hooks: the plugins.
        leases: what was known before, from the store.
        predecessor: the engine that this one takes over from, by another configuration: leases, offers and counters
            are the same for both, and what arrived at that one ends there.
    """

    def __init__(
        self,
        config: Config,
        hooks: Hooks | None = None,
        leases: Iterable[Lease] = (),
        *,
        predecessor: Engine | None = None,
    ) -> None:
        self.config = config
        self.hooks = hooks = hooks or Hooks()
        self.in_flight = 0
        """Packets that arrived here and are not finished: for its owner to count."""
        self.tracing = False
        """Whether exchanges note what each hook said."""
        if predecessor is None:
            self.addresses = Addresses(config, leases)
            self.nonces = Nonces()
            self.received: Counter[int] = Counter()
            """Messages by type; 0 for those that have none."""
            self.sent: Counter[int] = Counter()
            """Replies by type, ``BOOTP_REPLY`` for those that have none; and FORCERENEW."""
            self.dropped: Counter[DropReason] = Counter()
            """Dropped packets by reason."""
            self._vetoed: Counter[str] = Counter()
        else:
            self.addresses = predecessor.addresses
            self.addresses.adopt(config)
            self.nonces = predecessor.nonces
            self.tracing = predecessor.tracing
            self.received, self.sent = predecessor.received, predecessor.sent
            self.dropped, self._vetoed = predecessor.dropped, predecessor._vetoed
        self.leases = self.addresses.leases
        self.replies = Replies(config)
        self._placement = Placement(config, self.addresses)
        self._rules = Rules(
            config,
            self._placement,
            self.addresses,
            self.replies,
            self.nonces,
            self._delete_client,
            self._select_address if hooks.select_address else None,
            self._select_lease_time if hooks.select_lease_time else None,
        )
        # Each step of a packet as functions to be called in turn. A hook that nobody implements isn't among them.
        self._arriving: tuple[Step, ...] = (
            *((*hooks.dhcp_new_pkt.steps, self._reread) if hooks.dhcp_new_pkt else ()),
            *hooks.dhcp_handle_options.steps,
            *((self._place,) if hooks.select_subnet or hooks.reservation_lookup or hooks.unknown_client else ()),
            *((self._select_subnet,) if hooks.select_subnet else ()),
            *((self._look_up,) if hooks.reservation_lookup or hooks.unknown_client else ()),
            *((self._unknown_client,) if hooks.unknown_client else ()),
        )
        before: tuple[Step, ...] = (
            *((_settle,) if hooks.dhcp_delete_client else ()),
            *((self._address_del,) if hooks.dhcp_address_del else ()),
            *((self._address_offer,) if hooks.dhcp_address_offer else ()),
        )
        self._answering: tuple[Step, ...] = (*before, self._reply) if before else ()
        self._sending: tuple[Step, ...] = (
            (*hooks.dhcp_pkt_send.steps, self._encode_edited) if hooks.dhcp_pkt_send else ()
        )
        self._finishing: tuple[Step, ...] = (self._tell_dropped, self._tell_processed) if hooks.dhcp_pkt_drop else ()

    @property
    def leasequery(self) -> LeaseAnswers:
        """Answers those who ask whose an address is."""
        return self._rules.leasequery

    @property
    def vetoed(self) -> int:
        """Packets that a plugin vetoed."""
        return self._vetoed["all"]

    # ── the steps of a packet ────────────────────────────────────────────────────────────────────────────────────

    def arrive(self, datagram: Datagram, now: float) -> Exchange:
        """Decode a datagram; fire ``dhcp_new_pkt`` and ``dhcp_handle_options``.

        Args:
            datagram: any octets.
            now: seconds since 1970.
        """
        exchange = Exchange(datagram, now)
        exchange.engine = self
        if self.tracing:
            exchange.trace = []
        try:
            _read(exchange, datagram.data)
        except DecodeError as error:
            exchange.drop(DropReason.INVALID, str(error))
            return exchange
        self.received[exchange.message_type] += 1
        if self._arriving:
            exchange.pending = _take(exchange, self._arriving)
        return exchange

    def refuse(self, datagram: Datagram, now: float, reason: DropReason, why: str) -> Exchange:
        """An exchange that is dropped unread, because the server is paused or has no room for it."""
        exchange = Exchange(datagram, now)
        exchange.engine = self
        exchange.drop(reason, why)
        return exchange

    def decide(self, exchange: Exchange) -> None:
        """Apply RFC 2131 §4.3: subnet, client, address, lease and reply. All at once, without waiting."""
        if exchange.reason is not None or exchange.vetoed:
            return
        try:
            if exchange.op != _BOOTREQUEST:
                raise Dropped(DropReason.INVALID, f"op is {exchange.op}, not a request")
            self._rules.apply(exchange)
        except Dropped as dropped:
            exchange.drop(dropped.reason, dropped.why)
        except Exception as error:
            _fault(exchange, error)

    def overruled(self, exchange: Exchange, winner: Lease) -> None:
        """The store says that another server gave the address away first: the client is refused."""
        self.addresses.leases.put(winner)
        exchange.changes = exchange.lease_after = exchange.kind = exchange.problem = None
        exchange.lease_time = 0
        if exchange.reply_type and exchange.message_type in _NOT_REFUSED:
            exchange.drop(DropReason.NOADDRESS, "the address was given to another client")
        elif exchange.reply_type:
            refuse(exchange, winner.address, "the address was given to another client")

    def answer(self, exchange: Exchange) -> None:
        """The changes are committed. Fire ``dhcp_address_del``, ``dhcp_address_offer`` and ``dhcp_pkt_send``, and
        encode the reply into ``exchange.answer``, which stays None where there is none.
        """
        if self._answering:
            exchange.pending = _take(exchange, self._answering)
            return
        try:
            self._encode(exchange)
        except Exception as error:
            _fault(exchange, error)
        if self._sending and exchange.answer is not None:
            exchange.pending = _take(exchange, self._sending)

    def finish(self, exchange: Exchange) -> None:
        """The packet is done with. Fire ``dhcp_pkt_drop``: the reason if it was dropped, then PROCESSED. Once."""
        if exchange.finished:
            return
        exchange.finished = True
        if exchange.reason is not None:
            self.dropped[exchange.reason] += 1
            if exchange.force_renew and exchange.lease_after is not None:
                # The client is not told its nonce, as when the lease can't be committed: it gets another one.
                self.nonces.unheeded.add(exchange.lease_after.address)
        elif exchange.vetoed:
            self._vetoed["all"] += 1
        elif exchange.answer is not None:
            self.sent[exchange.reply_type] += 1
        if self._finishing:
            exchange.pending = _take(exchange, self._finishing)

    def serve(self, interfaces: Iterable[Interface]) -> None:
        """These are the server's interfaces, and no others. One that a datagram comes from is known by that, too."""
        self._placement.serve(interfaces)

    def tick(self, now: float) -> tuple[list[Lease], list[Awaitable[None]]]:
        """Let time pass: offers lapse, leases and probations end; fire ``dhcp_delete_client``.

        Returns:
            the leases that ended, to be committed when there is time, and what has to be awaited, when the hook has
            ``async`` implementations.
        """
        self.addresses.lapse(now)
        ended, pending = [], []
        hooks = self.hooks
        for lease in self.leases.due(now):
            active = lease.state == LeaseState.ACTIVE
            waiting = hooks.delete_client(lease) if active else None
            now_ended = self.addresses.end(lease, LeaseState.EXPIRED)
            ended.append(now_ended)
            tell = (hooks.lease_expired if active else hooks.lease_recovered).run
            pending.append(tell(now_ended) if waiting is None else _then(waiting, tell, now_ended))
        self.addresses.check_shortages()
        return ended, [each for each in pending if each is not None]

    def may_have(self, exchange: Exchange, address: int) -> bool:
        """Whether the client of an exchange may have an address of ``exchange.subnet``."""
        subnet = exchange.subnet
        if subnet is None or address not in subnet or address == exchange.giaddr:
            return False
        return self.addresses.may_have(
            exchange.client, subnet, exchange.reservation, address, exchange.now, exchange.class_names
        )

    def delete(self, address: int, now: float) -> tuple[Lease | None, Awaitable[None] | None]:
        """An administrator takes an address from its client, or ends its probation; fire ``dhcp_delete_client``.

        Returns:
            what is to be committed, None if there was nothing to delete; and what has to be awaited.
        """
        lease = self.leases.get(address)
        if lease is None or (not lease.client and lease.state != LeaseState.DECLINED):
            return None, None
        waiting = self.hooks.delete_client(lease) if lease.state == LeaseState.ACTIVE else None
        return self.addresses.delete(lease, now), waiting

    def no_force_renew(self, address: int, now: float) -> str:
        """Why the client that has an address can't be told to renew, in words; empty if it can."""
        return obstacle(self.leases.get(address), self._placement, now)

    def force_renew(self, lease: Lease, now: float) -> Answer:
        """A FORCERENEW (RFC 3203) for a client that can be told."""
        return force_renew(lease, self._placement, self.nonces, now)

    def has_lapsed(self, exchange: Exchange) -> bool:
        """Whether the address that was to be offered is not the client's to take any more: while the network was asked
        for it, or the OFFER waited.
        """
        subnet = exchange.subnet
        offer = None if subnet is None else self.addresses.offer_of(exchange.client, subnet)
        return offer is None or offer.address != exchange.yiaddr

    def conflict(self, exchange: Exchange, why: str) -> Lease:
        """The address that ``exchange.probe`` asked for is in use. Fire ``dhcp_address_del``; the exchange is to be
        decided again.

        Args:
            exchange: whose address it was to be.
            why: who uses it, in words; its hardware address, if that is known.

        Returns:
            what is to be committed.
        """
        declined = self._rules.conflict(exchange, why)
        exchange.pending = _take(exchange, (self._address_del, _forget_problem))
        return declined

    # ── hooks and encoding, as steps ─────────────────────────────────────────────────────────────────────────────

    def _delete_client(self, exchange: Exchange, lease: Lease) -> None:
        if self.hooks.dhcp_delete_client:
            pending = self.hooks.delete_client(lease)
            if pending is not None:
                exchange.later = [*(exchange.later or ()), pending]

    def _reread(self, exchange: Exchange) -> None:
        """A plugin may have edited or replaced the request: it is looked at as if it had come like that."""
        if exchange.reason is not None or exchange.vetoed:
            return
        try:
            edited = exchange.edited
            if edited is not None:
                _read(exchange, edited.encode())
        except Exception as error:
            exchange.drop(DropReason.INVALID, f"as a plugin left it: {error!r}")

    def _place(self, exchange: Exchange) -> None:
        if not exchange.dropped and exchange.op == _BOOTREQUEST and exchange.message_type != _LEASEQUERY:
            self._placement.place(exchange)

    def _select_subnet(self, exchange: Exchange) -> Awaitable[None] | None:
        return self.hooks.select_subnet.run(exchange) if exchange.placed and not exchange.dropped else None

    def _look_up(self, exchange: Exchange) -> Awaitable[None] | None:
        if exchange.subnet is None or exchange.dropped or exchange.message_type not in _ASKING:
            return None
        return self.hooks.reservation_lookup.run(exchange) if self._placement.look_up(exchange) else None

    def _unknown_client(self, exchange: Exchange) -> Awaitable[None] | None:
        if exchange.subnet is None or exchange.dropped or exchange.refusal or exchange.message_type not in _JOINING:
            return None
        return self.hooks.unknown_client.run(exchange) if self._placement.is_unknown(exchange) else None

    def _select_address(self, exchange: Exchange, address: int) -> int:
        """The address that a client is given, for ``address``.

        Raises:
            Dropped: a plugin says so.
        """
        exchange.yiaddr = address
        self.hooks.select_address.run(exchange)
        if exchange.reason is not None:
            raise Dropped(exchange.reason, exchange.why)
        return exchange.yiaddr

    def _select_lease_time(self, exchange: Exchange) -> None:
        """A plugin may change ``exchange.lease_time``, or refuse the client.

        Raises:
            Dropped: a plugin says so.
        """
        self.hooks.select_lease_time.run(exchange)
        if exchange.refusal or exchange.reason is not None:
            self.addresses.withdraw(exchange.client)
        if exchange.refusal and exchange.message_type != MessageType.REQUEST:
            raise Dropped(DropReason.UNAUTH, exchange.refusal)
        if exchange.reason is not None:
            raise Dropped(exchange.reason, exchange.why)

    def _address_del(self, exchange: Exchange) -> Awaitable[None] | None:
        return None if exchange.problem is None else self.hooks.dhcp_address_del.run(exchange)

    def _address_offer(self, exchange: Exchange) -> Awaitable[None] | None:
        return None if exchange.kind is None else self.hooks.dhcp_address_offer.run(exchange)

    def _encode(self, exchange: Exchange) -> None:
        if exchange.reply_type:
            # What a requestor is told is made already.
            exchange.reply_data = data = exchange.reply_data or self.replies.encode(exchange)
            exchange.answer = self.replies.address(exchange, data)

    def _reply(self, exchange: Exchange) -> Awaitable[None] | None:
        self._encode(exchange)
        return None if exchange.answer is None else _take(exchange, self._sending)

    def _encode_edited(self, exchange: Exchange) -> None:
        """A plugin may have edited or replaced the reply."""
        answer = exchange.answer
        if answer is None:
            return
        try:
            edited = exchange.edited_reply
            if edited is None:
                return
            # What a plugin left as octets leaves as these octets, and not only as what they say.
            data = edited.raw
            if edited.changed:
                data = edited.encode(MAXIMUM_LENGTH)
                Packet(data)
        except Exception as error:
            plugin = exchange.plugin
            assert plugin is not None
            plugin.errors += 1
            self.hooks.failed(plugin, f"left a reply that can't be sent, it leaves as it was: {error!r}", None)
        else:
            exchange.reply_data = data
            exchange.answer = answer._replace(data=data.ljust(BOOTP_MINIMUM_LENGTH, b"\0"))

    def _tell_dropped(self, exchange: Exchange) -> Awaitable[None] | None:
        return None if exchange.reason is None else self.hooks.pkt_drop(exchange, exchange.reason)

    def _tell_processed(self, exchange: Exchange) -> Awaitable[None] | None:
        return self.hooks.pkt_drop(exchange, DropReason.PROCESSED)


def _take(exchange: Exchange, steps: Iterable[Step]) -> Awaitable[None] | None:
    """Take the steps in turn; where one has to be awaited, what is left to await."""
    left = iter(steps)
    for step in left:
        try:
            pending = step(exchange)
        except Exception as error:
            _fault(exchange, error)
            continue
        if pending is not None:
            return _take_rest(exchange, left, pending)
    return None


async def _then(first: Awaitable[None], tell: Callable[[Lease], Awaitable[None] | None], lease: Lease) -> None:
    await first
    rest = tell(lease)
    if rest is not None:
        await rest


async def _take_rest(exchange: Exchange, left: Iterator[Step], pending: Awaitable[None]) -> None:
    await pending
    rest = _take(exchange, left)
    if rest is not None:
        await rest


def _forget_problem(exchange: Exchange) -> None:
    exchange.problem, exchange.problem_address, exchange.why = None, 0, ""


def _fault(exchange: Exchange, error: Exception) -> None:
    log.exception("a fault of aiodhcp, please report it, with %r", exchange)
    exchange.drop(DropReason.INTERNAL_ERROR, f"a fault of the server: {error!r}")


def _settle(exchange: Exchange) -> Awaitable[None] | None:
    """The ``async`` implementations of ``dhcp_delete_client``, which fires where nothing may wait."""
    return None if exchange.later is None else _all(exchange.later)


async def _all(pending: Iterable[Awaitable[None]]) -> None:
    for each in pending:
        await each


def _read(exchange: Exchange, data: bytes) -> None:
    """Fill an exchange from the octets of its request.

    Raises:
        DecodeError: they are not a DHCP message, or nothing in them identifies the client.
    """
    received = scan_options(data)
    op, htype, hlen, _, xid, secs, flags, ciaddr, _, _, giaddr, chaddr = _unpack_fixed(data)
    if hlen > 16:
        raise DecodeError(f"hlen is {hlen}: chaddr has 16 octets")
    exchange.op = op
    exchange.htype = htype
    exchange.xid = xid
    exchange.secs = secs
    exchange.flags = flags
    exchange.ciaddr = ciaddr
    exchange.giaddr = giaddr
    exchange.chaddr = chaddr = chaddr[:hlen]
    exchange.received = received
    kind = received.get(MESSAGE_TYPE, b"")
    exchange.message_type = message_type = kind[0] if len(kind) == 1 else 0
    if message_type == _LEASEQUERY:
        # Whoever it asks for: it is from another, and waits for nobody.
        exchange.client = b"leasequery" + data[4:8] + data[24:28]
        return
    client_id = received.get(CLIENT_ID, b"")
    if len(client_id) > LONGEST_CLIENT_ID:
        raise DecodeError(f"a client identifier of {len(client_id)} octets")
    exchange.client = client = client_id or (bytes((htype,)) + chaddr if hlen else b"")
    if not client:
        raise DecodeError("neither a client identifier nor a hardware address")
