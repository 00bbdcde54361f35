"""Driving: a callout is called for the packets of a capture, as a server would, and what it does is noted.

Requests arrive again; what the server of the capture answered is what is "sent". Nothing is sent to anybody. The calls
come in the order that a server makes them in.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from statistics import median, quantiles
from typing import Any, Final

from aiodhcp.callout.callouts import CalloutFault, Results, Returned
from aiodhcp.callout.child import Child
from aiodhcp.callout.frames import HOOKS
from aiodhcp.captures import Captured
from aiodhcp.changes import Change, changes, described
from aiodhcp.constants import (
    INFINITE,
    AddressKind,
    AddressProblem,
    ClientType,
    ControlCode,
    DropReason,
    MessageType,
)
from aiodhcp.describe import duration, message_name
from aiodhcp.errors import ConfigError, DecodeError
from aiodhcp.packet import Packet
from aiodhcp.pairing import is_broadcast, option_number, pairs

__all__ = ["Called", "Control", "Driven", "Request", "Summary", "drive", "pair"]

STOP_TIMEOUT: Final = 10.0
"""Seconds that a callout has that faulted before it is started afresh."""
REQUESTED_ADDRESS, LEASE_TIME, SERVER_ID = 50, 51, 54


# ── requests and their replies ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Request:
    """A packet to the server in a capture.

    Attributes:
        captured: where it was in the capture.
        packet: decoded.
        reply: what the server answered; None if the capture has nothing.
        server: the address at which it arrived, as far as the capture shows; 0 if it doesn't.
        kind: whether the address of an ACK is new to the client or was its before.
    """

    captured: Captured
    packet: Packet
    reply: Packet | None = None
    server: int = 0
    kind: AddressKind = AddressKind.NEW


def pair(captured: Iterable[Captured], skipped: Counter[str]) -> list[Request]:
    """Find the requests of a capture, in its order, and the reply to each, as ``pairs`` does.

    Args:
        captured: the datagrams.
        skipped: here is counted what is left out, in words.
    """
    requests: list[Request] = []
    some_server = 0
    leases: set[tuple[bytes, int]] = set()
    for each in pairs(captured, skipped):
        packet, reply = each.packet, each.reply
        if packet is None:
            skipped["malformed"] += 1
            continue
        destination = each.captured.destination
        request = Request(each.captured, packet, reply, each.server if is_broadcast(destination) else destination)
        requests.append(request)
        some_server = some_server or each.server
        if reply is not None and reply.message_type in (MessageType.ACK, None):
            lease = packet.chaddr, reply.yiaddr
            asks_again = packet.message_type == MessageType.REQUEST and SERVER_ID not in packet.options.raw
            request.kind = AddressKind.OLD if asks_again or lease in leases else AddressKind.NEW
            leases.add(lease)
    for request in requests:
        request.server = request.server or some_server
    return requests


# ── what a callout did ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Called:
    """A call of a hook, and what came of it.

    Attributes:
        hook: its name.
        told: what it was told besides the packet, in words.
        microseconds: that it took, with the way to its process and back.
        result: what it returned, which has no meaning.
        vetoed: whether the packet is not to be processed.
        context: whether it left a context for the packet.
        sizes: octets of the packet before and behind it; None if it left the octets alone.
        changes: what of the packet it changed.
        wrong: why what it left can't be taken; empty if it can.
        fault: why it did not return; empty if it did.
    """

    hook: str
    told: str = ""
    microseconds: float = 0.0
    result: int = 0
    vetoed: bool = False
    context: bool = False
    sizes: tuple[int, int] | None = None
    changes: Sequence[Change] = ()
    wrong: str = ""
    fault: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: what is there."""
        found: dict[str, Any] = {"hook": self.hook, "microseconds": round(self.microseconds, 1)}
        for name in ("told", "result", "vetoed", "context", "wrong", "fault"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        if self.sizes is not None:
            found["sizes"] = list(self.sizes)
            found["changes"] = [each._asdict() for each in self.changes]
        return found


@dataclass(slots=True)
class Control:
    """START or STOP.

    Attributes:
        called: the call. The time of STOP is with the end of its process, that of another START with its beginning.
        again: whether the callout is started afresh after a fault.
    """

    called: Called
    again: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"event": "control", "again": self.again, **self.called.as_dict()}


@dataclass(slots=True)
class Driven:
    """A request, and the calls for it in their order.

    Attributes:
        request: likewise.
        calls: likewise.
    """

    request: Request
    calls: list[Called] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        packet, reply = self.request.packet, self.request.reply
        return {
            "event": "packet",
            "frame": self.request.captured.frame,
            "time": self.request.captured.time,
            "type": message_name(packet),
            "client": packet.hardware_address,
            "xid": f"{packet.xid:08x}",
            "size": len(packet.raw),
            "ip_address": str(IPv4Address(self.request.server)),
            "reply": None if reply is None else message_name(reply),
            "calls": [each.as_dict() for each in self.calls],
        }


class Summary:
    """The calls of all packets, counted by hook."""

    def __init__(self) -> None:
        self.packets = 0
        self.ended = ""
        """Why not all packets were driven; empty if they were."""
        self._calls: dict[str, list[Called]] = {}

    def add(self, event: Control | Driven) -> None:
        """Count its calls."""
        self.packets += isinstance(event, Driven)
        for call in event.calls if isinstance(event, Driven) else [event.called]:
            self._calls.setdefault(call.hook, []).append(call)

    @property
    def faults(self) -> int:
        """How many calls did not return."""
        return sum(bool(call.fault) for calls in self._calls.values() for call in calls)

    def rows(self) -> list[dict[str, Any]]:
        """For each hook that was called: its name, how many calls, vetoes, changes, faults, and how long they took."""
        found = []
        for hook in filter(self._calls.__contains__, HOOKS):
            calls = self._calls[hook]
            # Those of dhcp_control are with the beginning and the end of a process.
            times = [each.microseconds for each in calls if not each.fault and hook != "dhcp_control"]
            p99 = quantiles(times, n=100, method="inclusive")[-1] if times[1:] else max(times, default=0.0)
            found.append(
                {
                    "hook": hook,
                    "calls": len(calls),
                    "vetoes": sum(each.vetoed for each in calls),
                    "changes": sum(each.sizes is not None and not each.wrong for each in calls),
                    "faults": sum(bool(each.fault) for each in calls),
                    "median": round(median(times), 1) if times else None,
                    "p99": round(p99, 1) if times else None,
                }
            )
        return found


# ── driving ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def drive(child: Child, requests: Iterable[Request]) -> AsyncIterator[Control | Driven]:
    """Call a callout for requests, one after the other.

    Where it faults, the rest of the calls for that packet are left out, the callout is started afresh, and it goes on
    with the next packet. When it can't be started, what is left is not driven.

    Args:
        child: the callout, loaded and not started.
        requests: in the order of the capture.
    """
    driver = _Driver(child)
    heard = "dhcp_control" in child.hooks
    start = await driver.control(ControlCode.START)
    if heard or start.fault:
        yield Control(start)
    if start.fault:
        await driver.abandon(0.1)
        return
    for request in requests:
        driven = Driven(request)
        faulted = False
        try:
            await driver.packet(request, driven.calls)
        except CalloutFault:
            faulted = True
        yield driven
        if faulted:
            # Its own way to go on is to wait for longer each time: there are no clients waiting here.
            await driver.abandon(STOP_TIMEOUT)
            start = await driver.control(ControlCode.START)
            if heard or start.fault:
                yield Control(start, again=True)
            if start.fault:
                await driver.abandon(0.1)
                return
    stop = await driver.control(ControlCode.STOP)
    if heard or stop.fault:
        yield Control(stop)


class _Noted(Results):
    """What a hook returned last, without a word in the log."""

    last = 0

    def heard(self, hook: str, result: int) -> None:
        self.last = result


class _Driver:
    """Makes calls of one callout, and notes what comes of them."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._results = child.results = _Noted(child.name)

    async def _call(self, call: Called, made: Awaitable[Any]) -> Any:
        """Await a call.

        Raises:
            CalloutFault: it did not return.
        """
        self._results.last = 0
        start = time.perf_counter()
        try:
            return await made
        except (CalloutFault, ConfigError) as error:
            words = str(error).removeprefix(f"callout {self._child.name}: ").removeprefix(f"{call.hook}: ")
            call.fault = words
            raise
        finally:
            call.microseconds = (time.perf_counter() - start) * 1e6
            call.result = self._results.last

    async def control(self, code: ControlCode) -> Called:
        """START or STOP; a fault is noted."""
        call = Called("dhcp_control", code.name)
        try:
            await self._call(call, self._child.control(code))
        except (CalloutFault, ConfigError):
            pass
        return call

    async def abandon(self, patience: float) -> None:
        """Stop it in spite of what it is at."""
        try:
            await asyncio.wait_for(self._child.control(ControlCode.STOP), patience)
        except (CalloutFault, TimeoutError):
            pass

    async def packet(self, request: Request, calls: list[Called]) -> None:
        """Make the calls for a request.

        Raises:
            CalloutFault: one of them did not return.
        """
        child, hooks, interface = self._child, self._child.hooks, request.server
        packet, octets = request.packet, request.packet.raw
        context, vetoed = None, False

        def calling(hook: str, told: str = "") -> Called:
            calls.append(Called(hook, told))
            return calls[-1]

        if "dhcp_new_pkt" in hooks:
            call = calling("dhcp_new_pkt", f"at {IPv4Address(interface)}")
            received = await self._call(call, child.new_pkt(octets, interface))
            context, vetoed = received.context, not received.process
            call.context, call.vetoed = context is not None, vetoed
            taken = _taken(call, packet, received.returned)
            packet, octets = taken, taken.raw
        if not vetoed and "dhcp_handle_options" in hooks:
            await self._call(calling("dhcp_handle_options"), child.handle_options(octets, context))
        problem = None if vetoed else _problem(request, packet)
        if problem is not None and "dhcp_address_del" in hooks:
            what, address = problem
            call = calling("dhcp_address_del", f"{what.name} {IPv4Address(address)}")
            await self._call(call, child.address_del(octets, what, interface, address, context))
        reply = None if vetoed else request.reply
        if reply is not None and "dhcp_address_offer" in hooks and _gives(request):
            client = ClientType.BOOTP if request.packet.message_type is None else ClientType.DHCP
            seconds = option_number(reply, LEASE_TIME) or INFINITE
            told = f"{request.kind.name} {IPv4Address(reply.yiaddr)} for {duration(seconds)}, {client.name}"
            made = child.address_offer(octets, request.kind, interface, reply.yiaddr, client, seconds, context)
            await self._call(calling("dhcp_address_offer", told), made)
        if reply is not None and "dhcp_pkt_send" in hooks:
            call = calling("dhcp_pkt_send", message_name(reply))
            returned = await self._call(call, child.pkt_send(reply.raw, interface, context))
            _taken(call, reply, returned)
        if "dhcp_pkt_drop" in hooks:
            call = calling("dhcp_pkt_drop", "PROCESSED")
            await self._call(call, child.pkt_drop(octets, DropReason.PROCESSED, interface, context))


def _gives(request: Request) -> bool:
    """Whether its reply gives the client an address: no offer does, and no answer to an INFORM."""
    assert request.reply is not None
    kind, answered = request.reply.message_type, request.packet.message_type
    return kind in (MessageType.ACK, None) and answered != MessageType.INFORM and request.reply.yiaddr != 0


def _problem(request: Request, packet: Packet) -> tuple[AddressProblem, int] | None:
    """The address that is taken back or refused, and why."""
    asked = option_number(packet, REQUESTED_ADDRESS)
    if packet.message_type == MessageType.DECLINE:
        return AddressProblem.DECLINE, asked
    if packet.message_type == MessageType.RELEASE:
        return AddressProblem.RELEASE, packet.ciaddr
    if request.reply is not None and request.reply.message_type == MessageType.NAK:
        return AddressProblem.NACKED, asked or packet.ciaddr
    return None


def _taken(call: Called, packet: Packet, returned: Returned) -> Packet:
    """Note what became of a packet; what it is from here on."""
    octets, call.wrong = returned
    if call.wrong or octets == packet.raw:
        return packet
    call.sizes = len(packet.raw), len(octets)
    try:
        after = Packet(octets)
    except DecodeError as error:
        call.wrong = str(error)
        return packet
    call.changes = changes(described(packet), described(after))
    return after
