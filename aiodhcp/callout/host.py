"""Host: the program in which a callout is called for a server that is at the other end of two pipes.

It is started afresh whenever the callout has killed it, and so imports next to nothing. The pipes are frames.py's.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from aiodhcp.callout.callouts import CalloutFault, Returned
from aiodhcp.callout.frames import CALL, HOOKS, NULL, OPTIONS, RETURN, State, pack_hooks
from aiodhcp.callout.library import POINTERS, Library
from aiodhcp.callout.memory import GuardedMemory
from aiodhcp.callout.options import Located
from aiodhcp.constants import ControlCode
from aiodhcp.errors import ConfigError

__all__ = ["main"]

GRACE: Final = 5.0
"""Seconds that a hook may go on after the server has gone."""


class Call(NamedTuple):
    """What frames.CALL has, and what follows it."""

    length: int
    hook: int
    size: int
    ip_address: int
    code: int
    address: int
    client_type: int
    lease_time: int
    context: int
    data: bytes

    @property
    def known_context(self) -> int | None:
        """As ctypes has it."""
        return self.context or None


def main(arguments: Sequence[str]) -> int:
    """Load a callout and call it until the input ends.

    Args:
        arguments: versions of the API with commas between them; the path; the paths of the chain behind it.

    Returns:
        the status to exit with: 1 if it could not be loaded.
    """
    calls, returns = _private_pipes()
    for name in ("SIGINT", "SIGTERM"):  # meant for the server, which ends this by closing the pipe
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    # The server says it, once.
    logging.getLogger("aiodhcp").setLevel(logging.CRITICAL)
    versions, path, *chain = arguments
    threading.Thread(target=_watch, args=(calls,), daemon=True).start()
    try:
        library = Library(path, chain=chain, versions=map(int, versions.split(",")), memory=GuardedMemory())
    except (ConfigError, OSError) as error:
        _say(returns, State.FAULT, data=str(error).removeprefix(f"callout {path}: ").encode())
        return 1
    _say(returns, State.KEPT, result=library.version, context=pack_hooks(library.hooks))
    started = False
    for call in _read(calls):
        _write(returns, _frame(library, call))
        if HOOKS[call.hook] == "dhcp_control":
            started = call.code != ControlCode.STOP
    if started:
        library.control(ControlCode.STOP)
    return 0


def _private_pipes() -> tuple[int, int]:
    """The standard input and output, and others in their place: a library may print, or read."""
    sys.stdout.flush()
    calls, returns = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for each in (calls, returns):
            msvcrt.setmode(each, os.O_BINARY)
    return calls, returns


def _watch(calls: int) -> None:
    """End the process when the server has gone and a hook doesn't return."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        handle, kernel = msvcrt.get_osfhandle(calls), ctypes.WinDLL("kernel32")
        while kernel.PeekNamedPipe(ctypes.c_void_p(handle), None, 0, None, None, None):
            time.sleep(1)
    else:
        import select

        poll = select.poll()
        poll.register(calls, 0)
        poll.poll()
    time.sleep(GRACE)
    os._exit(1)


def _read(calls: int) -> Iterator[Call]:
    """The calls, as they come."""
    octets, at = b"", 0
    while chunk := os.read(calls, 1 << 16):
        octets, at = octets[at:] + chunk, 0
        while len(octets) - at >= CALL.size:
            fields = CALL.unpack_from(octets, at)
            end = at + CALL.size + fields[0]
            if len(octets) < end:
                break
            yield Call._make((*fields, octets[at + CALL.size : end]))
            at = end


def _say(returns: int, state: State, *, result: int = 0, context: int = 0, data: bytes = b"") -> None:
    _write(returns, RETURN.pack(len(data), state, result, 0, 0, 0, context) + data)


def _write(returns: int, octets: bytes) -> None:
    try:
        while octets:
            octets = octets[os.write(returns, octets) :]
    except OSError:  # the server has gone, as the end of the input will say
        pass


def _frame(library: Library, call: Call) -> bytes:
    """Make a call; the return."""
    try:
        state, process, size, context, data = _CALLS[call.hook](library, call) or _NOTHING
    except CalloutFault as error:
        words = str(error).encode()
        return RETURN.pack(len(words), State.FAULT, 0, 0, 0, 0, 0) + words
    return RETURN.pack(len(data), state, library.result, process, size, 0, context) + data


Said = tuple[State, int, int, int, bytes]
_NOTHING: Final[Said] = (State.KEPT, 0, 0, 0, b"")


def _left(library: Library, returned: Returned, given: bytes, process: int = 0, context: int = 0) -> Said:
    pointer, size = library.left
    if returned.wrong:
        return State.NULL if pointer is None else State.TOO_LONG, process, size, context, b""
    if returned.packet == given:
        return State.KEPT, process, size, context, b""
    return State.CHANGED, process, size, context, returned.packet


def _control(library: Library, call: Call) -> None:
    library.control(call.code)


def _new_pkt(library: Library, call: Call) -> Said:
    returned, context, process = library.new_pkt(call.data, call.ip_address)
    return _left(library, returned, call.data, process, context or 0)


def _pkt_drop(library: Library, call: Call) -> None:
    library.pkt_drop(call.data, call.code, call.ip_address, call.known_context)


def _pkt_send(library: Library, call: Call) -> Said:
    return _left(library, library.pkt_send(call.data, call.ip_address, call.known_context), call.data)


def _address_del(library: Library, call: Call) -> None:
    library.address_del(call.data, call.code, call.ip_address, call.address, call.known_context)


def _address_offer(library: Library, call: Call) -> None:
    library.address_offer(
        call.data,
        call.code,
        call.ip_address,
        call.address,
        call.client_type,
        call.lease_time,
        call.known_context,
    )


def _handle_options(library: Library, call: Call) -> None:
    values = tuple(
        None if is_pointer and value == NULL else value
        for is_pointer, value in zip(POINTERS, OPTIONS.unpack_from(call.data), strict=True)
    )
    located = Located(call.data[OPTIONS.size :], values)
    library.handle_located(located, call.size, call.known_context)


def _delete_client(library: Library, call: Call) -> None:
    library.delete_client(call.ip_address, call.data)


_CALLS: Final[Sequence[Callable[[Library, Call], Said | None]]] = [
    {
        "dhcp_control": _control,
        "dhcp_new_pkt": _new_pkt,
        "dhcp_pkt_drop": _pkt_drop,
        "dhcp_pkt_send": _pkt_send,
        "dhcp_address_del": _address_del,
        "dhcp_address_offer": _address_offer,
        "dhcp_handle_options": _handle_options,
        "dhcp_delete_client": _delete_client,
    }[name]
    for name in HOOKS
]
