"""Library: a callout loaded into this process with ctypes. What kills the callout kills the server.

The facts of the API are in abi.py. What goes wrong with it in ctypes is said where it is avoided.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from aiodhcp import ConfigError, ControlCode
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
    multi_string,
    unload_library,
)
from aiodhcp.callout.callouts import Received, Returned
from aiodhcp.callout.options import locate

__all__ = ["Library"]

log = logging.getLogger("aiodhcp.callout")

Function = Callable[..., int]

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

    Attributes:
        path: likewise.
        name: of the file, without its suffix.
        sha256: the digest of what was loaded.
        version: of the API, the one it took.
        hooks: names of those it registered.
        results: how often a hook returned something else than 0, which has no meaning.

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
    ) -> None:
        self.path = Path(path)
        if not self.path.is_absolute():
            raise ConfigError(f"callout {path}: expected an absolute path")
        self.name = self.path.stem
        self.sha256 = ""
        self.version = 0
        self.results: Counter[str] = Counter()
        self._pin = sha256.lower()
        self._versions = tuple(versions)
        try:
            # It may keep the pointer: this lives as long as the library.
            self._chain: Final = ctypes.create_string_buffer(multi_string(map(str, chain)))
        except ValueError as error:
            raise ConfigError(f"callout {path}: the chain behind it: {error}") from None
        self._library: Any = None
        # As much again behind the packet for what ``locate`` puts there.
        self._memory: Final = ctypes.create_string_buffer(2 * BUFFER_SIZE)
        self._address: Final = ctypes.addressof(self._memory)
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
        self.sha256 = self._digest()
        if self._pin not in ("", self.sha256):
            raise ConfigError(f"callout {self.path}: has SHA-256 {self.sha256}, expected {self._pin}")
        # Before it is loaded: a library has code that runs then, and may be the last that runs.
        log.info("callout %s: loading %s, SHA-256 %s", self.name, self.path, self.sha256)
        try:
            library = load_library(str(self.path))
        except OSError as error:
            raise ConfigError(f"callout {self.path}: can't be loaded: {error}{self._of_windows()}") from None
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

    def _digest(self) -> str:
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"callout {self.path}: can't be read: {error.strerror}") from None

    def _of_windows(self) -> str:
        with self.path.open("rb") as file:
            return " (a DLL of Windows, and this is none)" if file.read(2) == b"MZ" else ""

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
        library, self._library = self._library, None
        if library is not None:
            self._bind({}, self._unloaded)
            unload_library(library)
            log.info("callout %s: unloaded", self.name)

    def _unloaded(self, *_: object) -> int:
        raise RuntimeError(f"callout {self.path} is called after STOP")

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
        try:
            self._heard("dhcp_control", self._control(code, None))
        finally:
            if code == ControlCode.STOP:
                self.close()

    def new_pkt(self, packet: bytes, interface: int) -> Received:
        """``DhcpNewPktHook``."""
        self._fill(packet)
        self._context.value, self._process.value = None, 1
        self._heard("dhcp_new_pkt", self._new_pkt(*self._buffer, interface, None, *self._answers))
        return Received(self._returned(packet), self._context.value, self._process.value != 0)

    def pkt_drop(self, packet: bytes, reason: int, interface: int, context: int | None) -> None:
        """``DhcpPktDropHook``."""
        self._fill(packet)
        self._heard("dhcp_pkt_drop", self._pkt_drop(*self._buffer, reason, interface, None, context))

    def pkt_send(self, packet: bytes, interface: int, context: int | None) -> Returned:
        """``DhcpPktSendHook``."""
        self._fill(packet)
        self._heard("dhcp_pkt_send", self._pkt_send(*self._buffer, SEND_PACKET, interface, None, context))
        return self._returned(packet)

    def address_del(self, packet: bytes, problem: int, interface: int, address: int, context: int | None) -> None:
        """``DhcpAddressDelHook``."""
        here, size = self._fill(packet), len(packet)
        self._heard("dhcp_address_del", self._address_del(here, size, problem, interface, address, None, context))

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
        result = self._address_offer(here, size, kind, interface, address, client_type, lease_time, None, context)
        self._heard("dhcp_address_offer", result)

    def handle_options(self, packet: bytes, context: int | None) -> None:
        """``DhcpHandleOptionsHook``."""
        octets, values = locate(packet)
        here = self._fill(octets)
        options = ServerOptionsTable(
            *[
                here + value if is_pointer and value is not None else value
                for is_pointer, value in zip(POINTERS, values, strict=True)
            ]
        )
        result = self._handle_options(here, len(packet), None, context, ctypes.byref(options))
        self._heard("dhcp_handle_options", result)

    def delete_client(self, address: int, hardware_address: bytes) -> None:
        """``DhcpDeleteClientHook``."""
        here = self._fill(hardware_address)
        self._heard("dhcp_delete_client", self._delete_client(address, here, len(hardware_address), 0, 0))

    def _fill(self, octets: bytes) -> int:
        """Put octets where the callout may write to 4096 of them, and past them nothing of other packets; where."""
        ctypes.memmove(self._address, octets.ljust(BUFFER_SIZE, b"\0"), max(len(octets), BUFFER_SIZE))
        self._packet.value, self._size.value = self._address, len(octets)
        return self._address

    def _returned(self, packet: bytes) -> Returned:
        """The packet as it is now, copied at once: how long another buffer lives, and whose it is, nobody says."""
        pointer, size = self._packet.value, self._size.value
        if size > BUFFER_SIZE:
            return Returned(packet, f"PacketSize is {size}, and {BUFFER_SIZE} octets are all there may be")
        if pointer is None:
            return Returned(packet, "Packet is NULL")
        return Returned(ctypes.string_at(pointer, size))

    def _heard(self, hook: str, result: int) -> None:
        if result:
            self.results[hook] += 1
            if self.results[hook] == 1:
                log.warning("callout %s: %s returned %d, which has no meaning (logged once)", self.name, hook, result)
