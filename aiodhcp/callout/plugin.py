"""CalloutPlugin: the hooks of aiodhcp ↔ the calls of one callout DLL. How the DLL is reached it doesn't know."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address
from typing import Any, Final, TypeVar

from aiodhcp import (
    AddressKind,
    AddressProblem,
    ClientType,
    ControlCode,
    DecodeError,
    Drop,
    DropReason,
    Exchange,
    Packet,
    Policy,
    hookimpl,
)
from aiodhcp.callout.abi import BUFFER_SIZE, SHORTEST_PACKET
from aiodhcp.callout.callouts import Callouts, Received, Returned, is_round

__all__ = ["ON_FAULT", "CalloutPlugin"]

log = logging.getLogger("aiodhcp.callout")

T = TypeVar("T")
R = TypeVar("R")

ON_FAULT: Final[Mapping[str, Policy]] = {
    "open": Policy(on_error="continue", on_timeout="continue"),
    "closed": Policy(on_error="drop", on_timeout="drop"),
}
"""What becomes of a packet when the callout faults: with "open", as with Microsoft's server, it counts as not having
spoken; with "closed", which a filter wants, the packet is dropped. "open" is what the plugin does by itself.
"""


class CalloutPlugin:
    """The plugin of one callout DLL. It has the hooks that the callout registered, and ``dhcp_control``: the others
    cost nothing.

    What the callout does to a request or a reply is taken if it is a DHCP message of at most 4096 octets; otherwise the
    packet stays as it was, which is logged and counted.

    Args:
        callouts: the DLL.

    Attributes:
        name: the DLL's.
        callouts: likewise.
        rejected: how often what it left could not be taken, by hook.
    """

    def __new__(cls, callouts: Callouts) -> CalloutPlugin:
        """A plugin has the hooks that its class has: so each has a class of its own."""
        hooks = {"dhcp_control", *callouts.hooks}
        return object.__new__(type(cls.__name__, (cls,), {name: each for name, each in HOOKS.items() if name in hooks}))

    def __init__(self, callouts: Callouts) -> None:
        self.name = callouts.name
        self.callouts = callouts
        self.rejected: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<CalloutPlugin {self.callouts!r}>"

    def taken(self, hook: str, given: bytes, returned: Returned) -> Packet | None:
        """What the callout made of a packet; None if that is still the same, or can't be taken."""
        octets, wrong = returned
        if not wrong:
            if octets == given:
                return None
            try:
                return Packet(octets)
            except DecodeError as error:
                wrong = str(error)
        self.rejected[hook] += 1
        count = self.rejected[hook]
        if is_round(count):
            log.error("callout %s: %s left what can't be taken: %s (%d so far)", self.name, hook, wrong, count)
        return None


def _octets(packet: Packet) -> bytes:
    """A packet as it is now.

    Raises:
        ValueError: another plugin left it so that it can't be encoded.
    """
    return packet.encode() if packet.changed else packet.raw


def _receiver(exchange: Exchange) -> int:
    """The address that the packet was received at; 0 where the interface has none."""
    datagram = exchange.datagram
    own = datagram.interface.addresses
    if datagram.destination in own:
        return datagram.destination
    return own[0] if own else 0


def _then(said: T | Awaitable[T], take: Callable[[T], R]) -> R | Awaitable[R]:
    """Take what a callout says, now or when it has said it."""
    return _await(said, take) if inspect.isawaitable(said) else take(said)


def _known(exchange: Exchange, call: Callable[[Any], R | Awaitable[R]]) -> R | Awaitable[R]:
    """Make a call with the context that the callout has for the packet, now or when it has said which."""
    context = exchange.context
    return _later(context, call) if isinstance(context, asyncio.Future) else call(context)


async def _later(known: asyncio.Future[Any], call: Callable[[Any], R | Awaitable[R]]) -> R:
    said = call(await asyncio.shield(known))
    return await said if inspect.isawaitable(said) else said


async def _await(said: Awaitable[T], take: Callable[[T], R]) -> R:
    return take(await said)


# A callout in another process has a deadline of its own, which ends that process and not only the waiting for it. Where
# the configuration sets one all the same, this is what "continue" is for.
@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_control(self: CalloutPlugin, code: ControlCode) -> Awaitable[None] | None:
    """START, STOP, PAUSE, CONTINUE."""
    return self.callouts.control(code)


@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_new_pkt(
    self: CalloutPlugin, packet: Packet, exchange: Exchange
) -> Awaitable[Packet | Drop | None] | Packet | Drop | None:
    """The callout may edit or veto the request, and keep a context."""
    given = _octets(packet)

    def take(received: Received) -> Packet | Drop | None:
        edited = self.taken("dhcp_new_pkt", given, received.returned)
        if received.process:
            return edited
        if edited is not None:
            # It is told PROCESSED of the packet that it left.
            exchange.packet = edited
        return Drop()

    said = self.callouts.new_pkt(given, _receiver(exchange))
    if not inspect.isawaitable(said):
        if said.context is not None:
            exchange.context = said.context
        return take(said)
    # In shadow mode nobody waits for it: the later hooks of the packet do.
    exchange.context = known = asyncio.get_running_loop().create_future()

    async def wait(said: Awaitable[Received]) -> Packet | Drop | None:
        context = None
        try:
            received = await said
            context = received.context
        finally:
            exchange.context = context
            if not known.done():
                known.set_result(context)
        return take(received)

    return wait(said)


# Without a circuit: it is where a callout frees what it keeps for a packet.
@hookimpl(deadline=math.inf, on_timeout="continue", failures=0)
def dhcp_pkt_drop(
    self: CalloutPlugin, packet: Packet | None, reason: DropReason, exchange: Exchange
) -> Awaitable[None] | None:
    """Why the packet is dropped, or that it is finished. Not of what is too short or too long for a callout."""
    octets = exchange.datagram.data
    if packet is not None:
        try:
            octets = _octets(packet)
        except ValueError:  # the callout has to hear of it all the same
            pass
    if not SHORTEST_PACKET <= len(octets) <= BUFFER_SIZE:
        return None
    return _known(exchange, lambda context: self.callouts.pkt_drop(octets, reason, _receiver(exchange), context))


@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_pkt_send(self: CalloutPlugin, reply: Packet, exchange: Exchange) -> Awaitable[Packet | None] | Packet | None:
    """The callout may edit the reply."""
    given = _octets(reply)

    def take(returned: Returned) -> Packet | None:
        return self.taken("dhcp_pkt_send", given, returned)

    interface = _receiver(exchange)
    return _then(_known(exchange, lambda context: self.callouts.pkt_send(given, interface, context)), take)


@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_address_del(
    self: CalloutPlugin, packet: Packet, problem: AddressProblem, address: IPv4Address, exchange: Exchange
) -> Awaitable[None] | None:
    """An address is taken back or refused."""
    given = (_octets(packet), problem, _receiver(exchange), int(address))
    return _known(exchange, lambda context: self.callouts.address_del(*given, context))


@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_address_offer(
    self: CalloutPlugin,
    packet: Packet,
    kind: AddressKind,
    address: IPv4Address,
    client_type: ClientType,
    lease_time: int,
    exchange: Exchange,
) -> Awaitable[None] | None:
    """A client gets an address."""
    given = (_octets(packet), kind, _receiver(exchange), int(address), client_type, lease_time)
    return _known(exchange, lambda context: self.callouts.address_offer(*given, context))


@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_handle_options(self: CalloutPlugin, packet: Packet, exchange: Exchange) -> Awaitable[None] | None:
    """The options are parsed."""
    given = _octets(packet)
    return _known(exchange, lambda context: self.callouts.handle_options(given, context))


@hookimpl(deadline=math.inf, on_timeout="continue")
def dhcp_delete_client(self: CalloutPlugin, address: IPv4Address, hardware_address: bytes) -> Awaitable[None] | None:
    """A lease is about to end."""
    return self.callouts.delete_client(int(address), hardware_address)


HOOKS: Final[Mapping[str, Any]] = {
    each.__name__: each
    for each in (
        dhcp_control,
        dhcp_new_pkt,
        dhcp_pkt_drop,
        dhcp_pkt_send,
        dhcp_address_del,
        dhcp_address_offer,
        dhcp_handle_options,
        dhcp_delete_client,
    )
}
