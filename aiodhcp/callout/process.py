"""The process that has a callout: how it starts, and how it ends. What is said to it in between, child.py knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from aiodhcp.callout.frames import RETURN, State, unpack_hooks
from aiodhcp.callout.hosts import Host
from aiodhcp.errors import ConfigError

__all__ = ["STOP_TIMEOUT", "CalloutProcess", "start"]

STOP_TIMEOUT: Final = 2.0
"""Seconds that a callout has for STOP, and its process to end behind it: the server waits for all of them."""


TRIES: Final = 3
"""To start it, where the host says that the next one may work."""


class _Silent(ConfigError):
    """It ended without a word.

    Attributes:
        status: that it exited with.
    """

    def __init__(self, words: str, status: int | None) -> None:
        super().__init__(words)
        self.status = status


class CalloutProcess:
    """A process that has loaded a callout; this waits until it has, on whatever thread.

    Args:
        host: what has it.
        versions: of the API that it is offered.
        path: of the callout.
        chain: of those behind it.

    Attributes:
        version: of the API, the one it took.
        hooks: names of those it registered.

    Raises:
        ConfigError: it could not be started, or the callout not be loaded.
    """

    def __init__(self, host: Host, versions: Sequence[int], path: Path, chain: Sequence[Path]) -> None:
        self._host = host
        command = host.command(versions, path, chain)
        try:
            self._popen: Final = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=host.environment(),
                start_new_session=True,  # the keyboard's signals are for the server
            )
        except OSError as error:
            raise ConfigError(f"callout {path}: can't run {command[0]}: {error}") from None
        timer = threading.Timer(host.load_timeout, self._popen.kill)
        try:
            timer.start()
            length, state, version, *_, hooks = RETURN.unpack(self._read(RETURN.size))
            words = self._read(length)
            if state == State.FAULT:
                raise ConfigError(f"callout {path}: {words.decode(errors='replace')}")
        except EOFError:
            how = self.ending() if timer.is_alive() else f"it took longer than {host.load_timeout:g} s"
            self.end()
            raise _Silent(f"callout {path}: can't be loaded: {how}", self._popen.returncode) from None
        except BaseException:
            self.end(STOP_TIMEOUT)
            raise
        finally:
            timer.cancel()
        self.version: int = version
        self.hooks = unpack_hooks(hooks)

    @property
    def pid(self) -> int:
        """The process."""
        return self._popen.pid

    @property
    def calls(self) -> int:
        """The pipe to it."""
        assert self._popen.stdin is not None
        return self._popen.stdin.fileno()

    @property
    def returns(self) -> int:
        """The pipe from it."""
        assert self._popen.stdout is not None
        return self._popen.stdout.fileno()

    def _read(self, size: int) -> bytes:
        octets = b""
        while len(octets) < size:
            more = os.read(self.returns, size - len(octets))
            if not more:
                raise EOFError
            octets += more
        return octets

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()

    def end(self, patience: float = 0.0) -> None:
        """End it by the end of its input, and kill it if it needs longer than that. May be called twice.

        Args:
            patience: seconds.
        """
        popen = self._popen
        _close(popen.stdin)
        try:
            if patience:
                popen.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        popen.kill()
        popen.wait()
        _close(popen.stdout)  # the last: somebody may be reading

    def ending(self) -> str:
        """How it ended, when it has closed its pipes."""
        try:
            status = self._popen.wait(1)
        except subprocess.TimeoutExpired:
            return "its process closed its pipes"
        if status in self._host.exits:
            return f"{self._host.exits[status]} (status {status})"
        if status >= 0 or sys.platform == "win32":
            return f"its process exited with status {status}"
        try:
            return f"its process was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"its process was killed by signal {-status}"

    def bury(self) -> str:
        """How it ended; it has, and nothing of it is left."""
        ending = self.ending()
        self.end()
        return ending


def start(host: Host, versions: Sequence[int], path: Path, chain: Sequence[Path]) -> CalloutProcess:
    """A process that has loaded a callout; the arguments are those of the class.

    Raises:
        ConfigError: as of the class.
    """
    for left in reversed(range(TRIES)):
        try:
            return CalloutProcess(host, versions, path, chain)
        except _Silent as error:
            if error.status not in host.transient or not left:
                raise
            time.sleep(0.2)
    raise AssertionError


def _close(pipe: IO[bytes] | None) -> None:
    assert pipe is not None
    try:
        pipe.close()
    except OSError:
        pass
