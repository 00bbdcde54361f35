"""scripts_run: a queue of runs of one script; one at a time, each with its time, without a shell."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from aiodhcp_plugins.processes import outcome
from aiodhcp_plugins.seldom import Seldom

__all__ = ["Environment", "Run", "Runner"]

log = logging.getLogger("aiodhcp_plugins.scripts")

Environment = Callable[[], dict[str, str | bytes]]
"""What makes the variables of a run when its turn has come."""
MOST_OUTPUT: Final = 4096
"""Octets of what a run prints that go to the log."""


class Run(NamedTuple):
    """One run: its arguments, and what makes its environment."""

    arguments: tuple[str, ...]
    environment: Environment


class Runner:
    """Runs a script once for each of a queue.

    Args:
        script: the program.
        environment: what each run has in its environment besides its own variables.
        timeout: seconds after which a run is killed.
        most: runs that may wait.

    Attributes:
        ran: runs that came to a good end.
        lost: runs that found no room in the queue, or no time at the end.
        failures: the others, by what became of them: "exit 3", "signal 9", "timeout", "start".
    """

    def __init__(self, script: Path, environment: Mapping[str, str], timeout: float, most: int) -> None:
        self.ran = self.lost = 0
        self.failures: Counter[str] = Counter()
        self._script = script.absolute()
        self._environment = environment
        self._timeout = timeout
        self._most = most
        self._first: deque[Iterator[Run]] = deque()
        self._waiting: deque[Run] = deque()
        self._running: asyncio.Task[None] | None = None
        self._seldom = Seldom(log)

    def add(self, arguments: tuple[str, ...], environment: Environment) -> None:
        """Run it when all before it are through."""
        if len(self._waiting) >= self._most:
            self.lost += 1
            self._seldom.say("lost", logging.ERROR, "%d runs of %s wait: others are lost", self._most, self._script)
            return
        self._waiting.append(Run(arguments, environment))
        self._begin()

    def begin_with(self, runs: Iterable[Run]) -> None:
        """These come before all that wait, and are made one after the other."""
        self._first.append(iter(runs))
        self._begin()

    async def end(self, seconds: float) -> None:
        """Wait so long for what is left; then kill what runs, and lose the rest."""
        running = self._running
        if running is None:
            return
        await asyncio.wait((running,), timeout=seconds)
        if not running.done():
            running.cancel()
            await asyncio.wait((running,))
            log.warning("the server stops: %s was killed, and %d runs are lost", self._script, len(self._waiting))
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._first.clear()

    def _begin(self) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run_all(), name="aiodhcp scripts")

    def _next(self) -> Run | None:
        while self._first:
            run = next(self._first[0], None)
            if run is not None:
                return run
            self._first.popleft()
        return self._waiting.popleft() if self._waiting else None

    async def _run_all(self) -> None:
        try:
            while (run := self._next()) is not None:
                failure = await self._run(run)
                if not failure:
                    self.ran += 1
                    continue
                self.failures[failure] += 1
                words = "%s %s: %s"
                self._seldom.say(failure, logging.ERROR, words, self._script, " ".join(run.arguments), failure)
        finally:
            self._running = None

    async def _run(self, run: Run) -> str:
        """Run it; what went wrong in a word, empty if nothing did."""
        try:
            # Not a pipe: what a script leaves running in the background may keep that open.
            with tempfile.TemporaryFile() as output:
                try:
                    return await self._run_into(output, run)
                finally:
                    self._log(run, output)
        except (OSError, ValueError) as error:
            self._seldom.say("why", logging.ERROR, "%s can't be run: %s", self._script, error)
            return "start"

    async def _run_into(self, output: BinaryIO, run: Run) -> str:
        process = await asyncio.create_subprocess_exec(
            self._script,
            *run.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=_without_nuls({**self._environment, **run.environment()}),
            cwd="/",
            start_new_session=True,
        )
        return await outcome(process, self._timeout)

    def _log(self, run: Run, output: BinaryIO) -> None:
        output.seek(0)
        for line in output.read(MOST_OUTPUT).decode(errors="backslashreplace").splitlines():
            words = "".join(each if each.isprintable() else "?" for each in line)
            log.info("%s %s: %s", self._script.name, run.arguments[0], words)


def _without_nuls(environment: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    """A variable ends at a NUL; what is empty then, but was not, is not there."""
    found = {name.encode(): value.encode() if isinstance(value, str) else value for name, value in environment.items()}
    cut = {name: value.partition(b"\0")[0] for name, value in found.items()}
    return {name: value for name, value in cut.items() if value or not found[name]}
