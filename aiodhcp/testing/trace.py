"""HookTrace: which hooks were called, in order, with what, what they said, and how long they took."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from typing import Any, Final, Literal

from aiodhcp.constants import message_name
from aiodhcp.exchange import Exchange
from aiodhcp.hooktable import HOOKS
from aiodhcp.implementations import Implementation
from aiodhcp.leases import Lease
from aiodhcp.packet import Packet
from aiodhcp.subnets import Config

__all__ = ["HookCall", "HookTrace", "record"]

KEPT: Final = 10_000
"""Calls that are kept: the last."""
SHOWN: Final = 60
"""Calls that a report has."""


@dataclass(slots=True, eq=False)
class HookCall:
    """One call of a hook.

    Attributes:
        plugin, hook: who was called, and where.
        arguments: with what; of the arguments of the hook those that the plugin takes. A packet is the very object:
            what was edited since is edited in it.
        exchange: for which packet; None where the hook is for none, as ``lease_expired``.
        state: "running" until an ``async`` hook ends, then "returned", "raised" or "cancelled", as a deadline does.
        verdict: what it returned; None while it runs, and where it didn't.
        error: what it raised, None if nothing.
        seconds: that it took.
    """

    plugin: str
    hook: str
    arguments: Mapping[str, Any]
    exchange: Exchange | None = None
    state: Literal["running", "returned", "raised", "cancelled"] = "running"
    verdict: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    _began: float = field(default_factory=time.perf_counter, repr=False)
    _ended: asyncio.Future[None] | None = field(default=None, repr=False)

    @property
    def hardware_address(self) -> str:
        """The client's, ``"02:00:00:00:00:01"``; empty where there is no packet."""
        return self.exchange.hardware_address if self.exchange is not None else ""

    def returned(self, verdict: Any) -> None:
        """It came to an end."""
        self.verdict = verdict
        self._end("returned")

    def raised(self, error: BaseException) -> None:
        """It raised, or was cancelled."""
        self.error = error
        self._end("cancelled" if isinstance(error, asyncio.CancelledError) else "raised")

    def _end(self, state: Literal["returned", "raised", "cancelled"]) -> None:
        self.seconds = time.perf_counter() - self._began
        self.state = state
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def ended(self) -> None:
        """Wait until it does not run."""
        if self.state == "running":
            if self._ended is None:
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)

    def __str__(self) -> str:
        said = {
            "running": "still runs",
            "returned": "" if self.verdict is None else f"-> {_short(self.verdict)}",
            "raised": f"raised {self.error!r}",
            "cancelled": "cancelled",
        }[self.state]
        told = ", ".join(f"{name}={_short(value)}" for name, value in self.arguments.items() if name != "exchange")
        took = f"({self.seconds * 1e6:.0f} µs)" if self.state != "running" else ""
        return " ".join(word for word in (f"{self.plugin}: {self.hook}({told})", said, took) if word)

    __repr__ = __str__


class HookTrace:
    """The calls of hooks, in order: a sequence of ``HookCall``.

    ``"dhcp_new_pkt" in trace`` says whether a hook was called, ``trace == ["dhcp_new_pkt", "dhcp_pkt_send"]`` whether
    exactly these were, in this order, and ``str(trace)`` is all of it as a table.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, calls: Iterable[HookCall] = ()) -> None:
        self._calls: deque[HookCall] = deque(calls, KEPT)
        self.count = len(self._calls)

    # ── what it says ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def names(self) -> list[str]:
        """The names of the hooks, in the order of the calls."""
        return [each.hook for each in self._calls]

    def of(self, hook: str = "", *, plugin: str = "", hardware_address: str = "") -> HookTrace:
        """Some of the calls: of a hook, of a plugin, for packets of a client, or all three.

        Raises:
            ValueError: there is no such hook.
        """
        if hook and hook not in HOOKS:
            raise ValueError(f"there is no hook {hook!r}; there are {', '.join(HOOKS)}")
        wanted = hardware_address.lower().replace("-", ":")
        return HookTrace(
            each
            for each in self._calls
            if hook in ("", each.hook) and plugin in ("", each.plugin) and wanted in ("", each.hardware_address)
        )

    def one(self, hook: str, **which: str) -> HookCall:
        """The only call of a hook; ``which`` are the other arguments of ``of``.

        Raises:
            AssertionError: it was not called, or more than once.
        """
        found = list(self.of(hook, **which))
        if len(found) != 1:
            raise AssertionError(f"{hook} was called {len(found)} times, expected one call, among\n{self}")
        return found[0]

    def last(self, hook: str = "", **which: str) -> HookCall:
        """The last call, of a hook or of any; ``which`` are the other arguments of ``of``.

        Raises:
            AssertionError: there is none.
        """
        found = list(self.of(hook, **which))
        if not found:
            raise AssertionError(f"{hook or 'no hook'} was {'not ' if hook else ''}called, among\n{self}")
        return found[-1]

    def verdicts(self, hook: str, **which: str) -> list[Any]:
        """What the calls of a hook returned."""
        return [each.verdict for each in self.of(hook, **which)]

    def clear(self) -> None:
        """Forget what was so far."""
        self._calls.clear()

    def since(self, count: int) -> list[HookCall]:
        """The calls that came after so many."""
        new = self.count - count
        return list(self._calls)[-new:] if new > 0 else []

    # ── as a sequence ────────────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[HookCall]:
        return iter(list(self._calls))

    def __getitem__(self, at: int) -> HookCall:
        return self._calls[at]

    def __contains__(self, what: object) -> bool:
        return what in self.names if isinstance(what, str) else what in self._calls

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HookTrace):
            return list(self) == list(other)
        return self.names == list(other) if isinstance(other, list | tuple) else NotImplemented

    def __repr__(self) -> str:
        return f"<HookTrace {', '.join(self.names) or 'of no call'}>"

    def __str__(self) -> str:
        """A line a call, under a line for each packet."""
        lines: list[str] = []
        exchange: Exchange | None = None
        calls = list(self._calls)
        if len(calls) > SHOWN:
            lines.append(f"… {len(calls) - SHOWN} calls before")
        for each in calls[-SHOWN:]:
            if each.exchange is not exchange and each.exchange is not None:
                lines.append(repr(each.exchange))
            exchange = each.exchange
            lines.append(f"  {each}" if exchange is not None else str(each))
        return "\n".join(lines) or "no hook was called"

    # ── how it comes to be ───────────────────────────────────────────────────────────────────────────────────────

    def begin(self, call: HookCall) -> HookCall:
        """A hook is called."""
        self.count += 1
        self._calls.append(call)
        return call


def record(implementation: Implementation, trace: HookTrace) -> None:
    """Write down the calls of an implementation, which is called as it would be otherwise."""
    plugin, hook, function = implementation.plugin, implementation.hook, implementation.function
    calling = HOOKS[hook]
    getters = [(name, calling.arguments[name]) for name in implementation.arguments]

    def call(subject: Any) -> Any:
        arguments = {name: get(subject) for name, get in getters}
        noted = trace.begin(HookCall(plugin, hook, arguments, subject if calling.of_packet else None))
        try:
            said = function(*arguments.values())
        except BaseException as error:
            noted.raised(error)
            raise
        if not (calling.may_wait and inspect.isawaitable(said)):
            noted.returned(said)
            return said
        if isinstance(said, asyncio.Future):
            # Others may await it, too: the server takes care of that.
            said.add_done_callback(lambda done: _read(noted, done))
            return said
        return _watched(noted, said)

    implementation.call = call


async def _watched(noted: HookCall, begun: Awaitable[Any]) -> Any:
    try:
        said = await begun
    except BaseException as error:
        noted.raised(error)
        raise
    noted.returned(said)
    return said


def _read(noted: HookCall, done: asyncio.Future[Any]) -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    if error is not None:
        noted.raised(error)
    else:
        noted.returned(done.result())


def _packet(packet: Packet) -> str:
    kind = packet.message_type
    to = f" {IPv4Address(packet.yiaddr)}" if packet.yiaddr else ""
    return f"<{message_name(0 if kind is None else int(kind))} {packet.hardware_address}{to}>"


_SHORT: Final[Mapping[type, Callable[[Any], str]]] = {
    Packet: _packet,
    IPv4Address: str,
    bytes: lambda octets: octets.hex(":"),
    Lease: lambda lease: f"<{lease.state.name} {lease.ip} of {lease.hardware_address}>",
    Config: lambda config: f"<Config of {len(config.subnets)} subnets>",
    Enum: lambda member: member.name,
}


def _short(value: Any) -> str:
    """A value, short enough for a line."""
    for kind, words in _SHORT.items():
        if isinstance(value, kind):
            return words(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], Lease):
        return f"[{', '.join(map(_short, value))}]"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
