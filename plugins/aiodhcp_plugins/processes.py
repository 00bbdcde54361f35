"""processes: how a program ends that a plugin has started, in a session of its own."""

from __future__ import annotations

import asyncio
import os
import signal

__all__ = ["outcome"]


async def outcome(process: asyncio.subprocess.Process, timeout: float) -> str:  # noqa: ASYNC109 - it is killed then
    """Wait for the end of a process; it and what it started are killed when it takes too long, and when nobody waits
    for it any more.

    Args:
        process: the leader of a session.
        timeout: seconds.

    Returns:
        what went wrong in a word, ``timeout``, ``signal 9``, ``exit 1``; empty if nothing did.
    """
    try:
        async with asyncio.timeout(timeout):
            status = await process.wait()
    except TimeoutError:
        return "timeout"
    finally:
        if process.returncode is None:
            _kill(process.pid)
            await process.wait()
    if status < 0:
        return f"signal {-status}"
    return f"exit {status}" if status else ""


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
