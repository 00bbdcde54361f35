"""Prompt: a future that one listener hears of at once."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

from aiodhcp.stores.prompt import Prompt

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


def prompt() -> tuple[Prompt[int], list[object]]:
    """One that somebody listens to, and what they heard: in whose context, and of what."""
    heard: list[object] = []
    context = copy_context()
    context.run(whose.set, "the listener's")
    it: Prompt[int] = Prompt()
    it.tell(
        lambda future: heard.append((whose.get(), future.cancelled() or future.exception() or future.result())), context
    )
    return it, heard


async def test_the_listener_hears_at_once_and_others_in_the_next_turn() -> None:
    it, heard = prompt()
    it.add_done_callback(lambda future: heard.append(("another", future.result())))
    it.settle(7)
    assert heard == [("the listener's", 7)]
    await asyncio.sleep(0)
    assert heard == [("the listener's", 7), ("another", 7)]


async def test_the_listener_hears_of_a_failure() -> None:
    it, heard = prompt()
    failure = OSError("broken")
    it.settle(0, failure)
    await asyncio.sleep(0)
    assert heard == [("the listener's", failure)]


async def test_who_cancels_it_is_not_the_listener() -> None:
    it, heard = prompt()
    it.cancel()
    it.settle(7)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [("the listener's", True)]


async def test_without_a_listener_it_is_a_future() -> None:
    it: Prompt[int] = Prompt()
    it.settle(7)
    assert await it == 7
