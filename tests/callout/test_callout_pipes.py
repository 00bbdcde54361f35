"""Pipes of an event loop: both ways to have them, with a process at the other end that echoes, hangs, or is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import until

from aiodhcp.callout.pipes import Pipes, PolledPipes, ThreadedPipes

ECHO = "import os\nwhile data := os.read(0, 65536):\n    os.write(1, data)"
DEAF = "import time\ntime.sleep(60)"
KINDS = [ThreadedPipes] if sys.platform == "win32" else [PolledPipes, ThreadedPipes]


class Conversation:
    """Pipes to a process, and what came of them."""

    def __init__(self, kind: type, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdin is not None
        assert popen.stdout is not None
        self.popen = popen
        self.heard = b""
        self.ended = 0
        loop = asyncio.get_running_loop()
        self.pipes: Pipes = kind(loop, popen.stdout.fileno(), popen.stdin.fileno(), self.hear)

    def hear(self, octets: bytes) -> None:
        self.heard += octets
        self.ended += not octets


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def talk(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Conversation]]:
    """``talk(ECHO)``: pipes to a Python that runs this."""
    begun: list[Conversation] = []

    def begin(code: str) -> Conversation:
        pipe: Any = subprocess.PIPE
        popen = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=pipe, stdout=pipe, bufsize=0)
        begun.append(Conversation(request.param, popen))
        return begun[-1]

    yield begin
    for each in begun:
        each.popen.kill()
        each.popen.wait()
        each.popen.stdin.close()
        each.popen.stdout.close()


async def test_what_is_written_comes_back_in_its_order(talk):
    echo = talk(ECHO)
    sent = b""
    for at in range(1000):
        octets = at.to_bytes(2, "big") * (at % 50)
        echo.pipes.write(octets)
        sent += octets
    await until(lambda: len(echo.heard) == len(sent))
    assert echo.heard == sent
    echo.pipes.close()


async def test_more_than_the_pipe_holds_is_sent_when_there_is_room(talk):
    echo = talk(ECHO)
    sent = os.urandom(3_000_000)
    for at in range(0, len(sent), 100_000):
        echo.pipes.write(sent[at : at + 100_000])
    await until(lambda: len(echo.heard) == len(sent))
    assert echo.heard == sent
    echo.pipes.close()


async def test_nobody_waits_for_one_who_does_not_listen(talk):
    deaf = talk(DEAF)
    for _ in range(100):
        deaf.pipes.write(b"x" * 100_000)
    beats = 0
    for _ in range(20):
        await asyncio.sleep(0.001)
        beats += 1
    assert (beats, deaf.heard, deaf.ended) == (20, b"", 0)
    deaf.pipes.close()


async def test_the_end_is_said_once(talk):
    echo = talk(ECHO)
    echo.popen.kill()
    await until(lambda: echo.ended)
    echo.pipes.write(b"too late")
    echo.pipes.read()
    await asyncio.sleep(0.05)
    assert (echo.ended, echo.heard) == (1, b"")


async def test_after_close_nothing_is_heard(talk):
    echo = talk(ECHO)
    echo.pipes.write(b"hello")
    echo.pipes.close()
    echo.pipes.close()
    await asyncio.sleep(0.1)
    assert (echo.ended, echo.heard) == (0, b"")
