"""Library: a callout loaded into this process with ctypes. What kills the callout kills the process.

The facts of the API are in abi.py. What goes wrong with it in ctypes is said where it is avoided.
"""

from __future__ import annotations

import ctypes
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from aiodhcp.callout.abi import (
    BUFFER_SIZE,
    CALLOUT_TABLE,
    ENTRY_NAMES,
    ENTRY_POINT,
    ENTRY_TYPE,
    SEND_PACKET,
    SERVER_OPTIONS,
    VERSIONS,
    CalloutTable,
    ServerOptionsTable,
    load_library,
    unload_library,
)
from aiodhcp.callout.binaries import read_binary
from aiodhcp.callout.callouts import CalloutFault, Received, Results, Returned, check_chain
from aiodhcp.callout.memory import Memory, PlainMemory
from aiodhcp.callout.options import Located, locate
from aiodhcp.constants import ControlCode
from aiodhcp.errors import ConfigError

__all__ = ["Library"]

log = logging.getLogger("aiodhcp.callout")

Function = Callable[..., int]

_started: Final[Counter[int]] = Counter()
"""How many have started the library that has this handle: it is one library, which starts once, and stops once."""

POINTERS: Final = tuple(each.is_pointer for each in SERVER_OPTIONS)


def _not_registered(*_: object) -> int:
    # A NULL in the table can be called as well as a function: the process would be gone.
    return 0


class Library:
    """A callout library in this process: ``Callouts`` by ctypes.

    A library that is loaded twice is one: globals are shared by all who have it. Only one caller at a time, from
    whatever thread: a library has one set of buffers, which outlives every call, as callouts may write to what they
    were given before.

    Args:
        path: of the file, absolute.
        sha256: the digest that the file has to have, 64 hexadecimal digits; any will do if empty.
        chain: paths of the libraries behind this one, which it is told to load and call itself.
        versions: of the API that it is offered, one after the other, until it takes one.
        memory: where packets are while it is called.

    Attributes:
        path: likewise.
        name: of the file, without its suffix.
        sha256: the digest of what was loaded.
        version: of the API, the one it took.
        hooks: names of those it registered.
        result: what the last hook returned, which has no meaning.
        results: how often it was something else than 0, by hook.

    Raises:
        ConfigError: there is no such file, it is another one, no library of this system, or no callout; or the
            callout refused.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sha256: str = "",
        chain: Iterable[str | Path] = (),
        versions: Iterable[int] = VERSIONS,
        memory: Memory | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.sha256 = ""
        self.version = 0
        self.result = 0
        self.results = Results(self.name)
        self._pin = sha256
        self._versions = tuple(versions)
        # It may keep the pointer: this lives as long as the library.
        self._chain: Final = ctypes.create_string_buffer(check_chain(path, chain))
        self._library: Any = None
        self._is_started = False
        self._memory: Final = PlainMemory() if memory is None else memory
        self._packet, self._size = ctypes.c_void_p(), ctypes.c_uint32()
        self._context, self._process = ctypes.c_void_p(), ctypes.c_int32()
        self._buffer: Final = ctypes.byref(self._packet), ctypes.byref(self._size)
        self._answers: Final = ctypes.byref(self._context), ctypes.byref(self._process)
        self.hooks = frozenset(self._load())

    def __repr__(self) -> str:
        return f"<Library {self.path}>"

    # ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self) -> dict[str, Function]:
        """Load the file and have the callout fill its table; the functions by the names of their hooks.

        Raises:
            ConfigError: as of the class.
        """
        binary = read_binary(self.path, self._pin)
        self.sha256 = binary.sha256
        # Before it is loaded: a library has code that runs then, and may be the last that runs.
        log.info("callout %s: loading %s, SHA-256 %s", self.name, self.path, self.sha256)
        try:
            library = load_library(str(self.path))
        except OSError as error:
            kind = f" (it is {binary})" if binary.is_foreign or not binary.format else ""
            raise ConfigError(f"callout {self.path}: can't be loaded: {error}{kind}") from None
        try:
            table = self._enter(library)
        except BaseException:
            unload_library(library)
            raise
        self._library = library
        functions = {}
        for slot in CALLOUT_TABLE:
            # Read once: each time would make another object.
            function = getattr(table, slot.field) if slot.parameters is not None else None
            if function:
                functions[slot.hook] = function
        self._bind(functions, _not_registered)
        log.info("callout %s: version %d, hooks: %s", self.name, self.version, ", ".join(functions) or "none")
        return functions

    def _enter(self, library: ctypes.CDLL) -> CalloutTable:
        for name in ENTRY_NAMES:
            try:
                entry = ENTRY_TYPE((name, library))
                break
            except AttributeError:
                continue
        else:
            raise ConfigError(f"callout {self.path}: doesn't export {ENTRY_POINT}: it is no callout")
        refusals = []
        for version in self._versions:
            table = CalloutTable()
            try:
                result = entry(ctypes.addressof(self._chain), version, ctypes.byref(table))
            except OSError as error:  # on Windows, what it did wrong
                raise ConfigError(f"callout {self.path}: {ENTRY_POINT} failed: {error}") from error
            if result == 0:
                self.version = version
                return table
            refusals.append(f"{result} for version {version}")
        raise ConfigError(f"callout {self.path}: refused: {ENTRY_POINT} returned {', '.join(refusals)}")

    def _bind(self, functions: dict[str, Function], otherwise: Function) -> None:
        self._control = functions.get("dhcp_control", otherwise)
        self._new_pkt = functions.get("dhcp_new_pkt", otherwise)
        self._pkt_drop = functions.get("dhcp_pkt_drop", otherwise)
        self._pkt_send = functions.get("dhcp_pkt_send", otherwise)
        self._address_del = functions.get("dhcp_address_del", otherwise)
        self._address_offer = functions.get("dhcp_address_offer", otherwise)
        self._handle_options = functions.get("dhcp_handle_options", otherwise)
        self._delete_client = functions.get("dhcp_delete_client", otherwise)

    def close(self) -> None:
        """Unload the library. Nothing is called any more, until START loads it again. May be called twice."""
        if self._is_started:
            self._count(ControlCode.STOP)
        library, self._library = self._library, None
        if library is not None:
            self._bind({}, self._unloaded)
            unload_library(library)
            log.info("callout %s: unloaded", self.name)

    def _unloaded(self, *_: object) -> int:
        raise CalloutFault(f"callout {self.path} is called after STOP")

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────────────

    def control(self, code: int) -> None:
        """``DhcpControlHook``. STOP unloads the library behind it; START loads it again.

        Raises:
            ConfigError: at START, it can't be loaded again, or has other hooks than before.
        """
        if self._library is None:
            if code != ControlCode.START:
                return
            hooks = frozenset(self._load())
            if hooks != self.hooks:
                self.close()
                raise ConfigError(f"callout {self.path}: has other hooks than before: {', '.join(sorted(hooks))}")
        alone = self._count(code)
        try:
            if alone:
                self._run("dhcp_control", self._control, code, None)
        finally:
            if code == ControlCode.STOP:
                self.close()

    def _count(self, code: int) -> bool:
        """Whether it is to be heard: the first START and the last STOP are, of those that share the library."""
        handle = self._library._handle
        if code == ControlCode.START and not self._is_started:
            self._is_started = True
            _started[handle] += 1
            return _started[handle] == 1
        if code == ControlCode.STOP and self._is_started:
            self._is_started = False
            _started[handle] -= 1
            return not _started[handle]
        return True

    def new_pkt(self, packet: bytes, interface: int) -> Received:
        """``DhcpNewPktHook``."""
        self._fill(packet)
        self._context.value, self._process.value = None, 1
        self._run("dhcp_new_pkt", self._new_pkt, *self._buffer, interface, None, *self._answers)
        return Received(self._returned(packet), self._context.value, self._process.value != 0)

    def pkt_drop(self, packet: bytes, reason: int, interface: int, context: int | None) -> None:
        """``DhcpPktDropHook``."""
        self._fill(packet)
        self._run("dhcp_pkt_drop", self._pkt_drop, *self._buffer, reason, interface, None, context)

    def pkt_send(self, packet: bytes, interface: int, context: int | None) -> Returned:
        """``DhcpPktSendHook``."""
        self._fill(packet)
        self._run("dhcp_pkt_send", self._pkt_send, *self._buffer, SEND_PACKET, interface, None, context)
        return self._returned(packet)

    def address_del(self, packet: bytes, problem: int, interface: int, address: int, context: int | None) -> None:
        """``DhcpAddressDelHook``."""
        here, size = self._fill(packet), len(packet)
        self._run("dhcp_address_del", self._address_del, here, size, problem, interface, address, None, context)

    def address_offer(
        self,
        packet: bytes,
        kind: int,
        interface: int,
        address: int,
        client_type: int,
        lease_time: int,
        context: int | None,
    ) -> None:
        """``DhcpAddressOfferHook``."""
        here, size = self._fill(packet), len(packet)
        given = (kind, interface, address, client_type, lease_time)
        self._run("dhcp_address_offer", self._address_offer, here, size, *given, None, context)

    def handle_options(self, packet: bytes, context: int | None) -> None:
        """``DhcpHandleOptionsHook``."""
        self.handle_located(locate(packet), len(packet), context)

    def handle_located(self, located: Located, size: int, context: int | None) -> None:
        """The same, where it is known already what is where.

        Args:
            located: the packet, and what is in it.
            size: octets of the packet.
            context: as of the others.
        """
        here, behind = self._fill(located.octets[:size]), self._memory.put_behind(located.octets[size:])
        options = ServerOptionsTable(
            *[
                (here + value if value < size else behind + value - size) if is_pointer and value is not None else value
                for is_pointer, value in zip(POINTERS, located.values, strict=True)
            ]
        )
        self._run("dhcp_handle_options", self._handle_options, here, size, None, context, ctypes.byref(options))

    def delete_client(self, address: int, hardware_address: bytes) -> None:
        """``DhcpDeleteClientHook``."""
        here = self._fill(hardware_address)
        self._run("dhcp_delete_client", self._delete_client, address, here, len(hardware_address), 0, 0)

    def _fill(self, octets: bytes) -> int:
        """Put octets where the callout may write to 4096 of them, and past them nothing of other packets; where."""
        self._packet.value, self._size.value = self._memory.put(octets), len(octets)
        return self._memory.address

    def _returned(self, packet: bytes) -> Returned:
        """The packet as it is now, copied at once: how long another buffer lives, and whose it is, nobody says."""
        pointer, size = self.left
        if size > BUFFER_SIZE:
            return Returned.too_long(packet, size)
        if pointer is None:
            return Returned.null(packet)
        return Returned(ctypes.string_at(pointer, size))

    @property
    def left(self) -> tuple[int | None, int]:
        """What the last call left for a packet: where it is, and ``PacketSize``."""
        return self._packet.value, self._size.value

    def _run(self, hook: str, function: Function, *arguments: Any) -> None:
        try:
            self.result = result = function(*arguments)
        except OSError as error:  # on Windows, what it did wrong
            raise CalloutFault(f"callout {self.name}: {hook}: {error}") from None
        if result:
            self.results.heard(hook, result)
