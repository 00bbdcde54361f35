"""Calls of a callout in another process that have not returned, and what it keeps for a packet there."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from aiodhcp.callout.callouts import CalloutFault
from aiodhcp.callout.frames import CALL, HOOKS
from aiodhcp.constants import ControlCode

__all__ = [
    "ADDRESS_DEL",
    "ADDRESS_OFFER",
    "CONTROL",
    "DELETE_CLIENT",
    "HANDLE_OPTIONS",
    "NEW_PKT",
    "PKT_DROP",
    "PKT_SEND",
    "Call",
    "Context",
]

(CONTROL, NEW_PKT, PKT_DROP, PKT_SEND, ADDRESS_DEL, ADDRESS_OFFER, HANDLE_OPTIONS, DELETE_CLIENT) = range(len(HOOKS))


class Context(NamedTuple):
    """A pointer that the callout gave, and which process of it."""

    generation: int
    pointer: int


class Call:
    """A call that has not returned.

    Attributes:
        hook: its number.
        fields: of frames.CALL between the hook and the context.
        context: for the packet.
        data: what follows.
        given: the packet.
        made: when, by the loop's clock.
        future: what it comes to.
    """

    __slots__ = ("context", "data", "fields", "future", "given", "hook", "made")

    def __init__(
        self,
        hook: int,
        fields: tuple[int, int, int, int, int, int],
        context: Context | None,
        data: bytes,
        given: bytes,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.hook = hook
        self.fields = fields
        self.context = context
        self.data = data
        self.given = given
        self.made = loop.time()
        self.future: asyncio.Future[Any] = loop.create_future()

    @property
    def is_stop(self) -> bool:
        """Whether it tells the callout that it ends."""
        return self.hook == CONTROL and self.fields[2] == ControlCode.STOP

    def frame(self, generation: int) -> bytes:
        """As octets for the process of this generation: a pointer of another one means nothing there."""
        context = self.context
        pointer = context.pointer if context is not None and context.generation == generation else 0
        return CALL.pack(len(self.data), self.hook, *self.fields, pointer) + self.data

    def fail(self, words: str) -> None:
        """It doesn't return."""
        if not self.future.done():
            self.future.set_exception(CalloutFault(words))
            # Nobody may be waiting any longer.
            self.future.exception()
