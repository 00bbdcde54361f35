"""A DHCP client: asks a server for a lease and tells each message, on an interface or as a relay agent to an address.

    async with InterfaceLink("eth0") as link:
        lease = await obtain(link, hostname="probe", on_event=print)
        await release(link, lease)

It configures nothing: what a server grants is told, not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, Final

from aiodhcp.client_links import InterfaceLink, RelayLink
from aiodhcp.client_transaction import Event, Link, OnEvent, Peer, ProbeError, Transaction, opened
from aiodhcp.constants import INFINITE, MessageType, Op
from aiodhcp.describe import describe, duration, message_name, printable
from aiodhcp.errors import DecodeError
from aiodhcp.nonces import AUTHENTICATION, nonce_in, verified
from aiodhcp.options import Options
from aiodhcp.packet import Packet

__all__ = [
    "PARAMETERS",
    "Event",
    "InterfaceLink",
    "Link",
    "ObtainedLease",
    "Peer",
    "ProbeError",
    "RelayLink",
    "decline",
    "describe",
    "duration",
    "inform",
    "message_name",
    "obtain",
    "release",
    "renew",
    "renew_when_told",
]

PARAMETERS: Final[tuple[str | int, ...]] = (
    "subnet-mask",
    "classless-static-routes",  # before the routers: RFC 3442
    "routers",
    "domain-name-servers",
    "host-name",
    "domain-name",
    "domain-search",
    "interface-mtu",
    "broadcast-address",
    "ntp-servers",
    "lease-time",
    "renewal-time",
    "rebinding-time",
    "tftp-server-name",
    "boot-file-name",
    "captive-portal",
)
"""What is asked for where nothing else is said."""

TIMEOUT: Final = 4.0
"""Seconds before a message is sent for the second time."""
RETRIES: Final = 3
"""How often it is sent again: four tries, a minute in all."""
MAXIMUM_MESSAGE_SIZE: Final = 1472
"""Octets: what an Ethernet frame carries without fragments, whichever headers a server counts."""
CHOICE: Final = frozenset({50, 53, 54})
"""Options by which a client chooses; all others it repeats when it renews (RFC 2131 §4.4.1, RFC 2132 §9.14)."""
IDENTITY: Final = frozenset({61, 82})
"""Options that say who it is, or its relay agent does, also where table 5 of RFC 2131 allows no others."""

Settings = Mapping[str, Any] | Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class ObtainedLease:
    """What a server granted.

    Attributes:
        address: the address.
        server: the server's identifier.
        lease_time, renewal_time, rebinding_time: seconds; 4294967295 is for ever. T1 and T2 are a half and seven
            eighths of the lease time where the server doesn't say (RFC 2131 §4.4.5).
        options: those of the ACK.
        offer: the OFFER that was taken.
        ack: the ACK; after ``renew`` the latest one.
        request: the REQUEST that was acknowledged.
        offers: every OFFER that came, in the order they came.
        offer_seconds: from the first DISCOVER to the OFFER.
        ack_seconds: from the first REQUEST to the ACK.
        ignored: messages that were meant for this client and made no sense, in the latest exchange.
        nonce: by which a FORCERENEW of the server is known (RFC 6704); None unless the client said option 145.
        replay_detection: that of the latest message with a nonce; a FORCERENEW has to have a higher one.
    """

    address: IPv4Address
    server: IPv4Address
    lease_time: int
    renewal_time: int
    rebinding_time: int
    options: Options
    offer: Packet
    ack: Packet
    request: Packet
    offers: tuple[Event, ...]
    offer_seconds: float
    ack_seconds: float
    ignored: int
    nonce: bytes | None = None
    replay_detection: int = 0


async def obtain(
    link: Link,
    *,
    client_id: bytes | str | None = None,
    hostname: str | None = None,
    requested: IPv4Address | str | None = None,
    parameters: Iterable[str | int] = PARAMETERS,
    vendor_class: str | None = None,
    options: Settings | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of the first try, not of the call
    retries: int = RETRIES,
    wait_for_all: float = 0.0,
    on_event: OnEvent | None = None,
) -> ObtainedLease:
    """Ask for a lease: DISCOVER, OFFER, REQUEST, ACK (RFC 2131 §3.1). The first OFFER is taken.

    Args:
        link: the way to the server; if it is not open, it is opened for this exchange.
        client_id: option 61, as octets or hex; without it the hardware address identifies the client.
        hostname: option 12.
        requested: the address to wish for.
        parameters: options to ask for, by name or code.
        vendor_class: option 60.
        options: more options to send, like ``{"lease-time": 600, "user-class": [b"lab"]}``.
        timeout: seconds to wait for an answer; twice that for the next try and so on up to 64, each randomly a
            quarter of ``timeout`` more or less (RFC 2131 §4.1).
        retries: how often a message is sent again.
        wait_for_all: seconds to wait for more OFFERs after the first one.
        on_event: called with each message as it is sent or received, also with those of no use.

    Raises:
        ProbeError: no answer, or a refusal, and whose; or nothing could be sent, and why.
    """
    wishes = _wishes(client_id, hostname, parameters, vendor_class, options, requested)
    async with opened(link):
        talk = Transaction(link, timeout, retries, on_event)
        discover = talk.message(MessageType.DISCOVER, wishes)
        offers, offer_seconds = await talk.ask(discover, (MessageType.OFFER,), gather=wait_for_all)
        offer = offers[0].packet
        # RFC 2131 §4.3.2, SELECTING: the same, with the server's choice in place of the client's wish.
        chosen = {"server-identifier": offer.options["server-identifier"], "requested-address": offer.yiaddr}
        request = talk.message(MessageType.REQUEST, {**discover.options.raw, **chosen})
        request.secs = discover.secs  # RFC 2131 §4.4.1
        (answer, *_), ack_seconds = await talk.ask(request, (MessageType.ACK, MessageType.NAK))
    return ObtainedLease(
        **_granted(answer, request.options["requested-address"]),
        offer=offer,
        request=request,
        offers=tuple(offers),
        offer_seconds=offer_seconds,
        ack_seconds=ack_seconds,
        ignored=talk.ignored,
    )


async def renew(
    link: Link,
    lease: ObtainedLease,
    *,
    rebind: bool = False,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of the first try, not of the call
    retries: int = RETRIES,
    on_event: OnEvent | None = None,
) -> ObtainedLease:
    """Extend a lease (RFC 2131 §4.3.2): from its server if that is known to the link, with ``rebind`` from any server.

    Returns:
        the lease as it is now; ``offer`` and what belongs to it are still the first ones.

    Raises:
        ProbeError: as ``obtain``.
    """
    async with opened(link):
        talk = Transaction(link, timeout, retries, on_event)
        repeated = {code: octets for code, octets in lease.request.options.raw.items() if code not in CHOICE}
        request = talk.message(MessageType.REQUEST, repeated, lease.address)
        server = None if rebind else lease.server
        (answer, *_), seconds = await talk.ask(request, (MessageType.ACK, MessageType.NAK), server)
    granted = _granted(answer, lease.address)
    return replace(lease, **granted, request=request, ack_seconds=seconds, ignored=talk.ignored)


async def renew_when_told(
    link: Link,
    lease: ObtainedLease,
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of the first try, not of the call
    retries: int = RETRIES,
    on_event: OnEvent | None = None,
) -> ObtainedLease:
    """Wait until the server says FORCERENEW, then renew (RFC 3203 §2.2).

    What is not signed with the nonce of the lease, or was heard before, is ignored (RFC 6704 §3.1.4). For a nonce, ask
    for the lease with ``options={"forcerenew-nonce-capable": [1]}``.

    Args:
        timeout, retries: of the renewal. The wait has no end.

    Returns:
        the lease as it is now; ``ignored`` counts what was ignored meanwhile.

    Raises:
        ProbeError: the lease has no nonce; or as ``obtain``.
    """
    nonce = lease.nonce
    if nonce is None:
        raise ProbeError("the lease has no nonce: the client did not ask for one, or the server gives none")
    ignored = 0
    async with opened(link):
        link.claim(lease.address)
        while True:
            received = await link.receive()
            if received is None:
                continue
            data, peer = received
            try:
                packet = Packet(data)
                if (packet.op, packet.message_type) != (Op.BOOTREPLY, MessageType.FORCERENEW):
                    continue
                if packet.chaddr != link.hardware_address:
                    continue
                counter = verified(data, nonce)
                if counter <= lease.replay_detection:
                    raise DecodeError("it was said before")
            except DecodeError:
                ignored += 1
                continue
            if on_event is not None:
                on_event(Event("received", packet, peer, 0.0))
            told = replace(lease, replay_detection=counter)
            renewed = await renew(link, told, timeout=timeout, retries=retries, on_event=on_event)
            return replace(renewed, ignored=renewed.ignored + ignored)


async def inform(
    link: Link,
    address: IPv4Address | str,
    *,
    client_id: bytes | str | None = None,
    hostname: str | None = None,
    parameters: Iterable[str | int] = PARAMETERS,
    vendor_class: str | None = None,
    options: Settings | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of the first try, not of the call
    retries: int = RETRIES,
    on_event: OnEvent | None = None,
) -> Packet:
    """Ask for parameters only, as a host that has ``address`` already (RFC 2131 §4.4.3).

    Returns:
        the ACK.

    Raises:
        ProbeError: as ``obtain``.
    """
    wishes = _wishes(client_id, hostname, parameters, vendor_class, options)
    try:
        own = IPv4Address(address)
    except ValueError as error:
        raise ProbeError(f"expected an IPv4 address, got {address!r}") from error
    async with opened(link):
        talk = Transaction(link, timeout, retries, on_event)
        message = talk.message(MessageType.INFORM, wishes, own)
        (answer, *_), _ = await talk.ask(message, (MessageType.ACK,))
    return answer.packet


async def release(link: Link, lease: ObtainedLease, *, on_event: OnEvent | None = None) -> None:
    """Give a lease back (RFC 2131 §4.4.4). No server answers that.

    Raises:
        ProbeError: it could not be sent.
    """
    options = {**_identity(lease), "server-identifier": lease.server}
    async with opened(link):
        talk = Transaction(link, 0, 0, on_event)
        await talk.say(talk.message(MessageType.RELEASE, options, lease.address), lease.server)


async def decline(
    link: Link, lease: ObtainedLease, message: str | None = None, *, on_event: OnEvent | None = None
) -> None:
    """Tell the server that somebody else uses the address (RFC 2131 §3.1, step 5). No server answers that.

    Raises:
        ProbeError: it could not be sent.
    """
    options = {
        **_identity(lease),
        "server-identifier": lease.server,
        "requested-address": lease.address,
        "message": message,
    }
    async with opened(link):
        talk = Transaction(link, 0, 0, on_event)
        await talk.say(talk.message(MessageType.DECLINE, options))


def _wishes(
    client_id: bytes | str | None,
    hostname: str | None,
    parameters: Iterable[str | int],
    vendor_class: str | None,
    options: Settings | None,
    requested: IPv4Address | str | None = None,
) -> dict[Any, Any]:
    """What a request says of the client and asks for, besides its type."""
    wishes: dict[str | int, Any] = {
        "client-identifier": client_id,
        "requested-address": requested,
        "host-name": hostname,
        "vendor-class-identifier": vendor_class,
        "maximum-message-size": MAXIMUM_MESSAGE_SIZE,
        "parameter-request-list": list(parameters) or None,
    }
    return {**wishes, **(options or {})}


def _identity(lease: ObtainedLease) -> dict[int | str, Any]:
    return {code: octets for code, octets in lease.request.options.raw.items() if code in IDENTITY}


def _granted(answer: Event, asked: IPv4Address) -> dict[str, Any]:
    """The part of a lease that an ACK says.

    Raises:
        ProbeError: it is a NAK.
    """
    packet = answer.packet
    said = packet.options.names()
    if packet.message_type == MessageType.NAK:
        server = said.get("server-identifier")
        who = server if isinstance(server, IPv4Address) else answer.peer.address
        message = said.get("message")
        why = printable(message) if isinstance(message, str) else "it doesn't say why"
        raise ProbeError(f"server {who} refused {asked}: {why}", packet)
    seconds = said["lease-time"]
    t1, t2 = (seconds, seconds) if seconds == INFINITE else (seconds // 2, seconds * 7 // 8)
    told_t1, told_t2 = said.get("renewal-time"), said.get("rebinding-time")
    given = nonce_in(packet.options.raw.get(AUTHENTICATION, b""))
    return {
        **({} if given is None else {"nonce": given[0], "replay_detection": given[1]}),
        "address": IPv4Address(packet.yiaddr),
        "server": said["server-identifier"],
        "lease_time": seconds,
        "renewal_time": told_t1 if isinstance(told_t1, int) else t1,
        "rebinding_time": told_t2 if isinstance(told_t2, int) else t2,
        "options": packet.options,
        "ack": packet,
    }
