"""Rules: what each DHCP message does (RFC 2131 §4.3). Reads an exchange, chooses the address, changes leases.

``Dropped`` is raised here and caught in the engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from aiodhcp.addresses import Addresses
from aiodhcp.classes import counted, exceeded
from aiodhcp.constants import (
    BOOTP_REPLY,
    INFINITE,
    AddressKind,
    AddressProblem,
    ClientType,
    DropReason,
    MessageType,
)
from aiodhcp.errors import Dropped
from aiodhcp.exchange import NO_CLASSES, RELAY_AGENT_INFORMATION, Exchange
from aiodhcp.fqdn import CLIENT_FQDN, NOTHING_SAID_OF_NAMES, negotiate
from aiodhcp.leasequery import LeaseAnswers
from aiodhcp.leases import NEVER, Lease, LeaseState
from aiodhcp.nonces import FORCERENEW_NONCE_CAPABLE, Nonces
from aiodhcp.parameters import Parameters
from aiodhcp.placement import Placement, address_option, dotted
from aiodhcp.relays import selection
from aiodhcp.replies import AUTO_CONFIGURE, LEASE_TIME, RAPID_COMMIT, SERVER_ID, Replies
from aiodhcp.subnets import Config, Pool, Subnet

__all__ = ["Rules", "refuse"]

HOST_NAME: Final = 12
REQUESTED_ADDRESS: Final = 50
LONGEST_STASHED: Final = 255
"""Octets of option 82 that are kept with a lease: more would fill table and store at anybody's pleasure."""
MOST_CONFLICTS: Final = 4
"""Addresses found in use, one after the other, after which a client has to ask again."""
_HARDWARE_ADDRESS: Final = re.compile("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_OFFER: Final = MessageType.OFFER
_ACK: Final = MessageType.ACK
_ACTIVE: Final = LeaseState.ACTIVE
_OLD: Final = AddressKind.OLD
_NEW: Final = AddressKind.NEW
# A tuple of a class as it is: past the function that gives its fields names, which costs more than the tuple.
_new: Final = tuple.__new__


class Rules:
    """The messages of RFC 2131 §4.3, each as one method.

    Args:
        config: subnets and switches.
        placement: finds subnet, reservation and classes of a client.
        addresses: what is known of every address.
        replies: what a client is told.
        nonces: by what clients know a FORCERENEW.
        delete_client: called before an active lease is taken from its client.
        select_address: called with the address that a client without one is about to get; the one it gets. None if
            nobody cares.
        select_lease_time: called when ``exchange.lease_time`` is known, which it may change, or refuse the client by
            ``exchange.refusal``. None if nobody cares.
    """

    def __init__(
        self,
        config: Config,
        placement: Placement,
        addresses: Addresses,
        replies: Replies,
        nonces: Nonces,
        delete_client: Callable[[Exchange, Lease], None],
        select_address: Callable[[Exchange, int], int] | None = None,
        select_lease_time: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.config = config
        self.addresses = addresses
        self.leases = addresses.leases
        self.replies = replies
        self._nonces = nonces
        self._delete_client = delete_client
        self._select_address = select_address
        self._select_lease_time = select_lease_time
        self.placement = placement
        self._admits_all = placement.admits_all
        self._limited = config.tests.limited
        self._relayed = config.tests.relayed
        levels = config.levels()
        self._hesitates = any(each.min_secs for each in levels)
        self._delays = any(each.offer_delay for each in levels)
        self._adapts = any(each.adaptive_lease_time_threshold is not None for each in levels)
        self._probes = any(each.conflict_probe != "off" for each in config.subnets)
        self._shares_links = any(each.shared_network for each in config.subnets)
        self._names = any(each.fqdn != NOTHING_SAID_OF_NAMES for each in levels)
        self._stashes = config.stash_agent_options
        self.leasequery = LeaseAnswers(config, placement, addresses, replies)
        self._messages: Final[dict[int, Callable[[Exchange], None]]] = {
            0: self._bootp,
            MessageType.DISCOVER: self._discover,
            MessageType.REQUEST: self._request,
            MessageType.DECLINE: self._decline,
            MessageType.RELEASE: self._release,
            MessageType.INFORM: self._inform,
        }

    def apply(self, exchange: Exchange) -> None:
        """Decide what becomes of a request.

        Raises:
            Dropped: nothing does.
        """
        message = self._messages.get(exchange.message_type)
        if message is None:
            if exchange.message_type == MessageType.LEASEQUERY:
                # Not of a client: neither filters nor classes are asked.
                self.leasequery.answer(exchange)
                return
            raise Dropped(DropReason.INVALID, f"message type {exchange.message_type} is not for a server")
        if not self._admits_all:
            self.placement.admit(exchange)
        if exchange.refusal:
            self._refuse_as_told(exchange)
            return
        message(exchange)

    def _refuse_as_told(self, exchange: Exchange) -> None:
        """A plugin refused the client."""
        self.placement.choose(exchange)
        self.addresses.withdraw(exchange.client)
        self.placement.check_server(exchange)
        if exchange.message_type != MessageType.REQUEST:
            raise Dropped(DropReason.UNAUTH, exchange.refusal)
        address = exchange.ciaddr or address_option(exchange, REQUESTED_ADDRESS)
        refuse(exchange, address, exchange.refusal)

    def _discover(self, exchange: Exchange) -> None:
        """RFC 2131 §4.3.1; where there is no address, a client may ask what to do instead (RFC 2563 §2.3)."""
        try:
            self._offer(exchange)
        except Dropped as dropped:
            asked = exchange.received.get(AUTO_CONFIGURE) == b"\1" and exchange.reason is None
            if not asked or dropped.reason != DropReason.NOADDRESS:
                raise
            exchange.pool = None
            if self._parameters(exchange).auto_configure is None:
                raise
            exchange.yiaddr = exchange.lease_time = 0
            exchange.reply_type, exchange.why = _OFFER, dropped.why
        if self._delays and exchange.reply_type == _OFFER:
            exchange.delay = self._parameters(exchange).offer_delay or 0

    def _offer(self, exchange: Exchange) -> None:
        if exchange.conflicts >= MOST_CONFLICTS:
            raise Dropped(DropReason.NOADDRESS, f"{exchange.conflicts} addresses in a row are in use")
        subnet = self.placement.choose(exchange)
        if self._hesitates and exchange.secs < (wait := self._parameters(exchange).min_secs or 0):
            raise Dropped(DropReason.GEN_FAILURE, f"secs is {exchange.secs}, and min-secs {wait}")
        self._check_limits(exchange)
        now = exchange.now
        self.addresses.lapse(now)
        requested = address_option(exchange, REQUESTED_ADDRESS) if REQUESTED_ADDRESS in exchange.received else 0
        address = self._choose_address(exchange, subnet, requested)
        subnet = exchange.subnet or subnet
        doubtful = self._probes and subnet.conflict_probe != "off" and self._is_doubtful(exchange, subnet, address)
        self.addresses.offer(exchange.client, address, now)
        if RAPID_COMMIT in exchange.received and not doubtful:
            # RFC 4039 §3.1. Who is in doubt gets an offer instead.
            exchange.pool = subnet.pool(address)
            if self._parameters(exchange).rapid_commit:
                self._ack(exchange, subnet, address)
                return
        self._grant(exchange, subnet, address)
        if doubtful:
            exchange.probe = address
        if FORCERENEW_NONCE_CAPABLE in exchange.received:
            self._nonces.offer(exchange)
        exchange.reply_type = _OFFER

    def _choose_address(self, exchange: Exchange, subnet: Subnet, requested: int = 0) -> int:
        """The address that a client gets that has none; ``exchange.subnet`` may be another one afterwards."""
        found, tried = self._free_address(exchange, subnet, requested), [subnet]
        if found is None and not exchange.subnet_from:
            for other in self.placement.link(exchange):
                if found is None and other is not subnet:
                    self.placement.enter(exchange, other)
                    if not (self._limited and self._limit(exchange)):
                        found = self._free_address(exchange, other, requested)
                        tried.append(other)
        if found is None:
            if exchange.subnet is not subnet:
                # What the client is told all the same, the subnet says that was chosen for it first.
                self.placement.enter(exchange, subnet)
            self.addresses.exhausted(tried, exchange.class_names, exchange.now)
            where = f"shared network {subnet.shared_network}" if subnet.shared_network else str(subnet)
            raise Dropped(DropReason.NOADDRESS, f"no free address in {where}")
        address, exchange.address_from = found
        if self._limited and (why := self._limit(exchange, address)):
            self.addresses.give_back(address)
            raise Dropped(DropReason.NOADDRESS, why)
        if self._select_address is None:
            return address
        # It was taken from the free ones: they have it again, if the plugin chooses another or none.
        chosen = -1
        try:
            chosen = self._select_address(exchange, address)
        finally:
            if chosen != address:
                self.addresses.give_back(address)
        return chosen

    def _free_address(self, exchange: Exchange, subnet: Subnet, requested: int) -> tuple[int, str] | None:
        return self.addresses.choose(
            exchange.client,
            subnet,
            exchange.reservation,
            exchange.lease_before,
            requested,
            exchange.now,
            exchange.giaddr,
            exchange.class_names,
        )

    def _is_doubtful(self, exchange: Exchange, subnet: Subnet, address: int) -> bool:
        """Whether an address has to be asked for before it is offered: not if the client has it, or was offered it,
        and not if it is reserved, because it would get no other.
        """
        before = self.addresses.offer_of(exchange.client, subnet)
        lease, reservation = exchange.lease_before, exchange.reservation
        return not (
            (before is not None and before.address == address)
            or (lease is not None and lease.address == address and lease.holds(exchange.now))
            or (reservation is not None and reservation.address == address)
        )

    def conflict(self, exchange: Exchange, why: str) -> Lease:
        """The address that was to be offered is in use by somebody else; nobody gets it for a while.

        Returns:
            what is known of it from now on.
        """
        address = exchange.probe
        self.addresses.withdraw(exchange.client, taken=True)
        owner = bytes.fromhex(why.replace(":", "")) if _HARDWARE_ADDRESS.fullmatch(why) else b""
        declined = self.addresses.decline(address, 0, owner, exchange.now)
        exchange.problem, exchange.problem_address = AddressProblem.CONFLICT, address
        exchange.start_over()
        exchange.why = f"{dotted(address)} is in use: {why}"
        return declined

    def _bootp(self, exchange: Exchange) -> None:
        """A BOOTP client, which has no message types, no leases and no second message (RFC 951 §7.3, RFC 1534 §2)."""
        if exchange.client_type == ClientType.DHCP:
            raise Dropped(DropReason.INVALID, "message type 0 is not for a server")
        if self.config.bootp == "no":
            raise Dropped(DropReason.INVALID, "no message type, and BOOTP is not answered")
        subnet = self.placement.choose(exchange)
        ours = self._parameters(exchange).server_name
        if ours:
            # RFC 951 §7.3: it may want one server and no other.
            packet = exchange.packet
            assert packet is not None
            wanted = bytes(packet.sname).partition(b"\0")[0].decode(errors="replace")
            if wanted and wanted.lower() != ours.lower():
                raise Dropped(DropReason.WRONG_SERVER, f"wants server {wanted!r}, and this is {ours!r}")
        if exchange.ciaddr:
            # It knows its address, and wants to boot.
            exchange.pool = subnet.pool(exchange.ciaddr)
            exchange.reply_type = BOOTP_REPLY
            return
        reservation = exchange.reservation
        if self.config.bootp == "reserved" and (reservation is None or reservation.address is None):
            raise Dropped(DropReason.UNAUTH, "a BOOTP client without a reserved address")
        self._check_limits(exchange)
        self.addresses.lapse(exchange.now)
        address = self._choose_address(exchange, subnet)
        if self.config.bootp == "reserved" and reservation is not None and address != reservation.address:
            self.addresses.give_back(address)
            raise Dropped(DropReason.NOADDRESS, "the address reserved for the BOOTP client is not available")
        self._ack(exchange, exchange.subnet or subnet, address)
        exchange.reply_type = BOOTP_REPLY

    def _request(self, exchange: Exchange) -> None:
        """RFC 2131 §4.3.2: which of the four it is, table 4 tells."""
        if SERVER_ID in exchange.received:
            self._selecting(exchange)
            return
        address = exchange.ciaddr or address_option(exchange, REQUESTED_ADDRESS)
        if not address:
            raise Dropped(DropReason.INVALID, "a REQUEST with no server identifier, no requested address and no ciaddr")
        subnet = self.placement.choose(exchange)
        if not subnet.first <= address <= subnet.last:
            refuse(exchange, address, f"wrong network: this is {subnet}")
            return
        self._confirm(exchange, subnet, address)

    def _selecting(self, exchange: Exchange) -> None:
        subnet = self.placement.choose(exchange)
        if not self.placement.is_for_us(exchange):
            self.addresses.withdraw(exchange.client)
            raise Dropped(DropReason.WRONG_SERVER, f"chose server {dotted(address_option(exchange, SERVER_ID))}")
        # RFC 2131 table 4 has the requested address in option 50; some clients put it into ciaddr.
        address = address_option(exchange, REQUESTED_ADDRESS) or exchange.ciaddr
        if not address:
            raise Dropped(DropReason.INVALID, "a REQUEST that selects a server but no address")
        offer = self.addresses.offer_of(exchange.client, subnet)
        lease = exchange.lease_before
        if not subnet.first <= address <= subnet.last:
            refuse(exchange, address, f"wrong network: this is {subnet}")
        elif offer is not None and offer.address != address and not (lease and lease.address == address):
            refuse(exchange, address, "not the address that was offered")
        elif why := self._obstacle(exchange, subnet, address):
            refuse(exchange, address, why)
        else:
            # Also without an offer: it may have lapsed, or been made before a restart.
            self._ack(exchange, subnet, address)

    def _confirm(self, exchange: Exchange, subnet: Subnet, address: int) -> None:
        """INIT-REBOOT, RENEWING and REBINDING: a client that says it has an address."""
        lease, reservation = exchange.lease_before, exchange.reservation
        reserved = None if reservation is None else reservation.address
        if lease is None and reserved != address:
            if reserved is not None:
                refuse(exchange, address, "another address is reserved for the client")
            elif self.config.authoritative:
                refuse(exchange, address, "the client has no lease")
            else:
                raise Dropped(DropReason.GEN_FAILURE, "no record of the client, and the server is not authoritative")
        elif lease is not None and address not in (lease.address, reserved):
            refuse(exchange, address, "not the client's address")
        elif why := self._obstacle(exchange, subnet, address):
            refuse(exchange, address, why)
        else:
            self._ack(exchange, subnet, address)

    def _obstacle(self, exchange: Exchange, subnet: Subnet, address: int) -> str:
        """Why the client can't have an address of the subnet; empty if it can."""
        reservation, names = exchange.reservation, self.placement.names(exchange)
        may_have = self.addresses.may_have
        if not may_have(exchange.client, subnet, reservation, address, exchange.now, names):
            return "the address is not available"
        if self._limited and (why := self._limit(exchange, address)):
            return why
        reserved = None if reservation is None else reservation.address
        if reserved in (None, address):
            return ""
        if not may_have(exchange.client, subnet, reservation, reserved, exchange.now, names):
            return ""
        return "another address is reserved for the client"

    def _limit(self, exchange: Exchange, address: int | None = None) -> str:
        """Why the client gets no lease: its class has as many as it may; empty if it gets one. Who keeps its address
        keeps it under a limit that is new, too; while that may be the case, None stands for the address.
        """
        known = exchange.lease_before
        keeps = known is not None and address in (None, known.address) and known.holds(exchange.now)
        held = [lease.counted for lease in self._makes_room(exchange) if lease.state == _ACTIVE and lease.counted]
        return exceeded(self._limited, exchange, self.leases.counts, ",".join(held).split(","), keeps)

    def _makes_room(self, exchange: Exchange) -> Iterator[Lease]:
        """The leases that end when the client gets another one, as far as there are any."""
        if exchange.lease_before is not None:
            yield exchange.lease_before
        subnet, reserved = exchange.subnet, exchange.reservation
        assert subnet is not None
        yield from self._elsewhere(exchange, subnet)
        if reserved is not None and reserved.address is not None:
            # What is reserved for a machine is its own, by whatever client id it has it.
            holder = self.leases.get(reserved.address)
            if holder is not None and holder.chaddr == exchange.chaddr:
                yield holder

    def _elsewhere(self, exchange: Exchange, subnet: Subnet) -> list[Lease]:
        """The client's leases in the other subnets of the link."""
        if not subnet.shared_network:
            return []
        return [lease for lease in self.addresses.held_on_link(exchange.client, subnet) if lease.address not in subnet]

    def _counted(self, exchange: Exchange, known: Lease | None) -> str | None:
        return counted(self._limited, self._relayed, exchange, None if known is None else known.counted)

    def _check_limits(self, exchange: Exchange) -> None:
        if self._limited and (why := self._limit(exchange)):
            raise Dropped(DropReason.NOADDRESS, why)

    def _decline(self, exchange: Exchange) -> None:
        """RFC 2131 §4.3.3: the client found its address in use."""
        subnet = self.placement.choose(exchange)
        self.placement.check_server(exchange)
        address = address_option(exchange, REQUESTED_ADDRESS)
        if not address:
            raise Dropped(DropReason.INVALID, "a DECLINE that names no address")
        lease = exchange.lease_before
        offer = self.addresses.offer_of(exchange.client, subnet)
        if not (offer is not None and offer.address == address) and not (
            lease is not None and lease.address == address and lease.holds(exchange.now)
        ):
            raise Dropped(DropReason.INVALID, f"declines {dotted(address)}, which it neither has nor was offered")
        self.addresses.withdraw(exchange.client)
        holder = self.leases.get(address)
        if holder is not None and holder.holds(exchange.now):
            # Maybe by another client id: what is reserved for a machine is offered to it whatever that is.
            self._delete_client(exchange, holder)
        declined = self.addresses.decline(address, exchange.htype, exchange.chaddr, exchange.now)
        exchange.changes = [declined]
        exchange.lease_after = declined
        exchange.problem, exchange.problem_address = AddressProblem.DECLINE, address
        exchange.why = f"{dotted(address)} is in use by somebody else, says the client"

    def _release(self, exchange: Exchange) -> None:
        """RFC 2131 §4.3.4: the client needs its address no more."""
        self.placement.choose(exchange)
        self.placement.check_server(exchange)
        lease = exchange.lease_before
        if lease is None or lease.address != exchange.ciaddr or not lease.holds(exchange.now):
            raise Dropped(DropReason.INVALID, f"releases {dotted(exchange.ciaddr)}, which it doesn't have")
        self._delete_client(exchange, lease)
        now = int(exchange.now)
        ended = self.addresses.end(lease._replace(expires=now, last_transaction=now), LeaseState.RELEASED)
        exchange.changes = [ended]
        exchange.lease_after = ended
        exchange.problem, exchange.problem_address = AddressProblem.RELEASE, lease.address

    def _inform(self, exchange: Exchange) -> None:
        """RFC 2131 §4.3.5: parameters only, no lease. A client that leaves ciaddr empty has the address that it sends
        from, as far as that can be known (draft-ietf-dhc-dhcpinform-clarify); if it has none, its relay agent finds it.
        """
        ciaddr = exchange.ciaddr
        address = ciaddr or (0 if exchange.giaddr else exchange.datagram.source)
        if not address and not exchange.giaddr:
            raise Dropped(DropReason.INVALID, "an INFORM with neither ciaddr nor a source address")
        try:
            exchange.ciaddr = address
            subnet = self.placement.choose(exchange)
        finally:
            exchange.ciaddr = ciaddr
        if address and address not in subnet and not exchange.subnet_from and not selection(exchange)[0]:
            raise Dropped(DropReason.NO_SUBNETS, f"informs of {dotted(address)}, which is not of {subnet}")
        exchange.pool = subnet.pool(address)
        exchange.reply_type = _ACK

    # ── what they share ──────────────────────────────────────────────────────────────────────────────────────────

    def _parameters(self, exchange: Exchange) -> Parameters:
        """What holds for the client, as far as it is placed; but the options of its classes."""
        assert exchange.subnet is not None
        names = exchange.class_names if exchange.joined else NO_CLASSES
        return self.replies.parameters(exchange.subnet, exchange.pool, exchange.reservation, names, b"")

    def _grant(self, exchange: Exchange, subnet: Subnet, address: int) -> None:
        exchange.yiaddr = address
        exchange.pool = subnet.pool(address)
        if exchange.message_type:
            parameters = self._parameters(exchange)
            if LEASE_TIME in exchange.received:
                exchange.lease_time = self.replies.lease_time(parameters, exchange.received[LEASE_TIME])
            else:
                assert parameters.lease_time is not None
                exchange.lease_time = parameters.lease_time
            if CLIENT_FQDN in exchange.received or self._names:
                self._name(exchange, parameters)
            if self._adapts and exchange.pool is not None:
                self._adapt_lease_time(exchange, exchange.pool, parameters)
            if self._select_lease_time is not None:
                self._select_lease_time(exchange)
        else:
            exchange.lease_time = INFINITE

    def _name(self, exchange: Exchange, parameters: Parameters) -> None:
        """What the client is called, and told of that (RFC 4702 §4)."""
        received, reservation = exchange.received, exchange.reservation
        reserved = None if reservation is None else reservation.parameters.options.get(HOST_NAME)
        option, host_name = received.get(CLIENT_FQDN), received.get(HOST_NAME)
        exchange.hostname, told = negotiate(option, host_name, reserved, parameters.fqdn, exchange.yiaddr)
        exchange.fqdn = b"" if CLIENT_FQDN in parameters.never_send else told

    def _adapt_lease_time(self, exchange: Exchange, pool: Pool, parameters: Parameters) -> None:
        """Shorter leases while a pool is nearly full; a client that renews keeps what it has, at least."""
        threshold = parameters.adaptive_lease_time_threshold
        if threshold is None or (share := self.addresses.share_in_use(pool)) <= threshold:
            return
        lease, shortest = exchange.lease_before, self.replies.shortest_lease_time(parameters)
        if lease is not None and lease.address == exchange.yiaddr and lease.holds(exchange.now):
            shortest = max(shortest, min(lease.expires - int(exchange.now), INFINITE))
        if shortest < exchange.lease_time:
            exchange.lease_time_from = f"shortened from {exchange.lease_time}: {share:.0%} of the pool are in use"
            exchange.lease_time = shortest

    def _ack(self, exchange: Exchange, subnet: Subnet, address: int) -> None:
        self._grant(exchange, subnet, address)
        if exchange.refusal:
            refuse(exchange, address, exchange.refusal)
            return
        exchange.address_from = exchange.address_from or "asked for by the client"
        received, now, seconds, known = exchange.received, int(exchange.now), exchange.lease_time, exchange.lease_before
        renewal = known is not None and known.address == address and known.holds(exchange.now)
        # Also what a switch says that is no relay agent otherwise, if that counts.
        relayed = RELAY_AGENT_INFORMATION in received or (known is not None and known.relay_agent)
        hostname = known.hostname if known is not None else None
        if self._names or exchange.hostname or HOST_NAME in received:
            hostname = self._hostname(exchange) or hostname
        nonce = None
        if FORCERENEW_NONCE_CAPABLE in received or (known is not None and known.nonce):
            nonce = self._nonces.give(exchange, address, known if renewal else None)
        fields = (
            address,
            exchange.client,
            exchange.htype,
            exchange.chaddr,
            _ACTIVE,
            known.starts if renewal and known is not None else now,
            NEVER if seconds == INFINITE else now + seconds,
            hostname,
            self._counted(exchange, known if renewal else None) if self._limited else None,
            self._stash(exchange) if relayed else None,
            now,
            nonce,
        )
        lease = _new(Lease, fields)
        if self._shares_links and subnet.shared_network:
            for elsewhere in self._elsewhere(exchange, subnet):
                self._delete_client(exchange, elsewhere)
        holder = self.leases.get(address)
        if holder is not known and holder != known:
            for ended in (known, holder):
                # Also what ended within the last second, if no tick has noticed it yet.
                if ended is not None and ended.state == _ACTIVE:
                    self._delete_client(exchange, ended)
        exchange.changes = self.addresses.enter(lease, exchange.now)
        exchange.lease_after = lease
        exchange.kind = _OLD if renewal else _NEW
        exchange.reply_type = _ACK

    def _hostname(self, exchange: Exchange) -> str:
        """What the client says that it is called; empty if nothing."""
        if exchange.hostname or (self._names and exchange.message_type):
            return exchange.hostname
        return exchange.received.get(HOST_NAME, b"")[:255].rstrip(b"\0").decode(errors="replace")

    def _stash(self, exchange: Exchange) -> bytes | None:
        """What is kept of the relay agent's words: those of this packet, or the last ones if it came past it."""
        said = exchange.relayed if self._stashes else b""
        return said if said and len(said) <= LONGEST_STASHED else None


def refuse(exchange: Exchange, address: int, why: str) -> None:
    """Answer with a NAK (RFC 2131 §4.3.2)."""
    exchange.reply_type = MessageType.NAK
    exchange.yiaddr = exchange.lease_time = 0
    exchange.force_renew = b""
    exchange.why = why
    exchange.problem, exchange.problem_address = AddressProblem.NACKED, address
