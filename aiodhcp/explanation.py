"""Explanation: why an exchange came to what it came to, in words. Read from the exchange when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from aiodhcp.constants import BOOTP_REPLY, BROADCAST_ADDRESS, INFINITE, MessageType, message_name
from aiodhcp.fqdn import CLIENT_FQDN
from aiodhcp.packet import Packet
from aiodhcp.parameters import Parameters
from aiodhcp.relays import selection
from aiodhcp.virtual import VSS_OPTION

if TYPE_CHECKING:
    from aiodhcp.exchange import Exchange

__all__ = ["Fact", "explain"]

LEASE_TIME, MESSAGE_TYPE, CLIENT_ID = 51, 53, 61
MADE = {51: "lease time", 53: "message type", 54: "server identifier", 58: "renewal time", 59: "rebinding time"}
"""Options that are made for the message."""
ECHOED = {code: f"given back as it came (RFC {rfc})" for code, rfc in ((61, 6842), (82, 3046), (118, 3011))}
DERIVED = {1: "from the subnet's network", 28: "from the subnet's network"}


class Fact(NamedTuple):
    """One decision.

    Attributes:
        what: what was decided: "subnet", "address", "option routers".
        words: how, and why.
    """

    what: str
    words: str

    def __str__(self) -> str:
        return f"{self.what}: {self.words}"


def explain(exchange: Exchange) -> list[Fact]:
    """Why an exchange came to what it came to: each decision, in the order it was taken."""
    facts = [
        Fact("request", _request(exchange)),
        *_hooks(exchange, _BEFORE),
    ]
    if exchange.client and exchange.message_type != MessageType.LEASEQUERY:
        facts.insert(1, Fact("client", _client(exchange)))
    if exchange.subnet is not None:
        facts += _placed(exchange)
    facts += _hooks(exchange, _WITHIN)
    if exchange.conflicts:
        facts.append(Fact("conflict", f"found in use before: {exchange.conflicts} of the addresses tried"))
    if exchange.yiaddr:
        facts.append(Fact("address", f"{IPv4Address(exchange.yiaddr)}: {exchange.address_from}"))
        facts.append(Fact("lease time", _lease_time(exchange)))
    if exchange.delay:
        facts.append(Fact("offer delay", f"{exchange.delay:g} seconds"))
    facts.append(Fact("outcome", _outcome(exchange)))
    facts += _options(exchange)
    facts += _hooks(exchange, _AFTER)
    if exchange.trace is None:
        facts.append(Fact("hooks", "were not recorded"))
    return facts


def _request(exchange: Exchange) -> str:
    datagram = exchange.datagram
    if not exchange.client:
        return f"{len(datagram.data)} octets from {IPv4Address(datagram.source)} on {exchange.interface.name}"
    words = f"{message_name(exchange.message_type)} on {exchange.interface.name}, xid {exchange.xid:08x}"
    if exchange.giaddr:
        words += f", through relay agent {IPv4Address(exchange.giaddr)}"
    if exchange.ciaddr:
        asks = exchange.message_type == MessageType.LEASEQUERY
        words += f", {'about' if asks else 'from a client that has'} {IPv4Address(exchange.ciaddr)}"
    return words


def _client(exchange: Exchange) -> str:
    if exchange.received.get(CLIENT_ID):
        return f"client identifier {exchange.client.hex(':')}, hardware address {exchange.hardware_address or 'none'}"
    return f"hardware address {exchange.hardware_address}"


_BEFORE = ("dhcp_new_pkt", "dhcp_handle_options", "select_subnet", "reservation_lookup", "unknown_client")
_WITHIN = ("select_address", "select_lease_time")
_AFTER = ("dhcp_address_del", "dhcp_address_offer", "dhcp_pkt_send", "dhcp_pkt_drop")


def _hooks(exchange: Exchange, hooks: tuple[str, ...]) -> Iterator[Fact]:
    for note in exchange.trace or ():
        if note.hook in hooks:
            said = note.said or "nothing to say"
            yield Fact(f"hook {note.hook}", f"{note.plugin}: {said} ({note.seconds * 1e6:.0f} µs)")


def _placed(exchange: Exchange) -> Iterator[Fact]:
    subnet = exchange.subnet
    if exchange.subnet_from:
        why = f"chosen by {exchange.subnet_from}"
    elif selected := selection(exchange)[0]:
        why = f"is {selected}"
    elif exchange.giaddr:
        why = f"the relay agent {IPv4Address(exchange.giaddr)} stands for it"
    elif exchange.ciaddr and subnet is not None and exchange.ciaddr in subnet:
        why = "the client's address is in it"
    else:
        why = f"it is on {exchange.interface.name}"
    yield Fact("subnet", f"{subnet}: {why}")
    if subnet is not None and subnet.virtual_network:
        yield Fact("virtual network", subnet.virtual_network)
    yield Fact("classes", ", ".join(sorted(exchange.class_names)) or "none")
    reservation = exchange.reservation
    if reservation is None:
        yield Fact("reservation", "none")
    else:
        address = "no address" if reservation.address is None else str(IPv4Address(reservation.address))
        by = "found by a plugin"
        if reservation is not exchange.looked_up:
            by = "by the configuration"
            if not {"hardware-address", "client-id"}.issuperset(reservation.kinds):
                by += f", known by {' and '.join(reservation.kinds)}"
        yield Fact("reservation", f"{address}, {by}")
    known = exchange.lease_before
    yield Fact("lease before", "none" if known is None else f"{known.ip}, {known.state.name.lower()}")


def _lease_time(exchange: Exchange) -> str:
    words = "for ever" if exchange.lease_time == INFINITE else f"{exchange.lease_time} seconds"
    asked = exchange.received.get(LEASE_TIME, b"")
    if len(asked) == 4:
        words += f" (the client asked for {int.from_bytes(asked, 'big')})"
    return f"{words}, {exchange.lease_time_from}" if exchange.lease_time_from else words


def _outcome(exchange: Exchange) -> str:
    answer = exchange.answer
    if exchange.vetoed and exchange.reason is None:
        return f"no reply: {exchange.why}"
    if exchange.reason is not None:
        return f"no reply, {exchange.reason.name}: {exchange.why}"
    words = "no reply"
    if exchange.reply_type:
        words = message_name(exchange.reply_type)
        if answer is not None:
            broadcast = answer.destination == BROADCAST_ADDRESS
            words += f" to {'everybody' if broadcast else IPv4Address(answer.destination)}, port {answer.port}"
    return f"{words}: {exchange.why}" if exchange.why else words


def _options(exchange: Exchange) -> Iterator[Fact]:
    if exchange.answer is None:
        return
    try:
        edited = exchange.edited_reply is not None
    except Exception:  # as a plugin left it: the reply leaves as it was
        edited = False
    levels = list(_levels(exchange)) if exchange.subnet is not None else []
    options = Packet.deferred(exchange.answer.data, exchange.config.definitions).options
    for code, (name, value) in zip(options.raw, options.names().items(), strict=True):
        if code == MESSAGE_TYPE and isinstance(value, int):
            value = message_name(value)
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        source = next((each for each, level in reversed(levels) if code in level.options), None)
        if code in MADE and exchange.reply_type != BOOTP_REPLY:
            source = "made for this message"
        elif exchange.subnet is None:
            source = "known of the lease or its subnet"
        elif code in ECHOED:
            source = ECHOED[code]
        elif code == VSS_OPTION:
            source = "given back as it came (RFC 6607)"
        elif source is None:
            source = DERIVED.get(code, "a plugin's" if edited else "made for this message")
        yield Fact(f"option {name}", f"{value} ({source})")
    # Who asks for a lease gets nothing back but what is known of it.
    echoes = [code for code in ECHOED if exchange.received.get(code)] if exchange.subnet is not None else []
    echoes += [CLIENT_FQDN] if exchange.fqdn else []
    for code in [*exchange.left_out, *echoes]:
        if code not in options.raw:
            words = "left out" if edited else "left out: no room for it in the message"
            yield Fact(f"option {options.definitions.of(code).name}", words)


def _levels(exchange: Exchange) -> Iterator[tuple[str, Parameters]]:
    """Where options are configured, the most specific last."""
    config = exchange.config
    yield "of the server", config.parameters
    for each in config.classes:
        if each.name in exchange.class_names:
            yield f"of class {each.name}", each.parameters
    assert exchange.subnet is not None  # or there would be no answer
    yield f"of {exchange.subnet}", exchange.subnet.parameters
    if exchange.pool is not None:
        yield "of the pool", exchange.pool.parameters
    if exchange.reservation is not None:
        yield "of the reservation", exchange.reservation.parameters
