"""Callouts: what of a callout DLL can be called, however it is reached: in this process, or in another one.

plugin.py decides when and for what each is called. Who implements this decides how: library.py loads the DLL here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from aiodhcp.callout.abi import BUFFER_SIZE, multi_string
from aiodhcp.errors import AiodhcpError, ConfigError

__all__ = ["CalloutFault", "Callouts", "Received", "Results", "Returned", "check_chain", "is_round"]

log = logging.getLogger("aiodhcp.callout")


class CalloutFault(AiodhcpError):
    """A callout could not be called, or didn't return."""


class Returned(NamedTuple):
    """A packet as a callout left it.

    Attributes:
        packet: its octets, nobody checked them; those it was given where what is there can't be taken.
        wrong: why that can't be taken, in words; empty where it can.
    """

    packet: bytes
    wrong: str = ""

    @classmethod
    def null(cls, packet: bytes) -> Returned:
        """It left NULL in place of the packet."""
        return cls(packet, "Packet is NULL")

    @classmethod
    def too_long(cls, packet: bytes, size: int) -> Returned:
        """It left more than there may be."""
        return cls(packet, f"PacketSize is {size}, and {BUFFER_SIZE} octets are all there may be")


class Received(NamedTuple):
    """What ``DhcpNewPktHook`` made of a packet.

    Attributes:
        returned: the packet as it left it.
        context: what it wants to be given with the later calls for this packet; None for NULL.
        process: ``ProcessIt``: whether the packet may be processed.
    """

    returned: Returned
    context: Any
    process: bool


class Results(Counter[str]):
    """How often a hook returned something else than 0, by hook; that has no meaning.

    Args:
        name: of the callout.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def heard(self, hook: str, result: int) -> None:
        """It did."""
        self[hook] += 1
        if self[hook] == 1:
            log.warning("callout %s: %s returned %d, which has no meaning (logged once)", self._name, hook, result)


def check_chain(path: object, chain: Iterable[object]) -> bytes:
    """What a callout is told of those behind it, as ``ChainDlls``.

    Raises:
        ConfigError: a path of the chain is none.
    """
    try:
        return multi_string(map(str, chain))
    except ValueError as error:
        raise ConfigError(f"callout {path}: the chain behind it: {error}") from None


class Callouts(Protocol):
    """One callout DLL. Where a method doesn't return at once, it returns what is to be awaited.

    Packets are octets from ``op`` on, 240 to 4096 of them. Addresses are integers. ``interface`` is the address of the
    interface at which the packet arrived, 0 if it has none. ``context`` is what ``new_pkt`` returned for the packet,
    None if it did not, or was not called. Codes are those of aiodhcp/constants.py. Reserved parameters are NULL.

    Where a callout faults they raise ``CalloutFault``; what becomes of the packet is the plugin's ``Policy``.

    Attributes:
        path: of its file.
        name: what it is called in the log.
        hooks: the names of the hooks that it registered, ``"dhcp_new_pkt"``; no other is called, but for ``control``.
    """

    @property
    def path(self) -> Path: ...

    @property
    def name(self) -> str: ...

    @property
    def hooks(self) -> frozenset[str]: ...

    def control(self, code: int) -> Awaitable[None] | None:
        """``DhcpControlHook``. STOP is the last call, and ends the callout; START begins it anew where it ended.

        Raises:
            ConfigError: at START, it can't be begun anew.
        """

    def close(self) -> None:
        """End it without a word. May be called twice."""

    def new_pkt(self, packet: bytes, interface: int) -> Awaitable[Received] | Received:
        """``DhcpNewPktHook``, with ``ProcessIt`` TRUE and the context NULL before."""

    def pkt_drop(self, packet: bytes, reason: int, interface: int, context: Any) -> Awaitable[None] | None:
        """``DhcpPktDropHook``. What it does to the packet is not looked at."""

    def pkt_send(self, packet: bytes, interface: int, context: Any) -> Awaitable[Returned] | Returned:
        """``DhcpPktSendHook``; ``packet`` is the reply."""

    def address_del(
        self, packet: bytes, problem: int, interface: int, address: int, context: Any
    ) -> Awaitable[None] | None:
        """``DhcpAddressDelHook``."""

    def address_offer(
        self, packet: bytes, kind: int, interface: int, address: int, client_type: int, lease_time: int, context: Any
    ) -> Awaitable[None] | None:
        """``DhcpAddressOfferHook``; ``lease_time`` in seconds."""

    def handle_options(self, packet: bytes, context: Any) -> Awaitable[None] | None:
        """``DhcpHandleOptionsHook``, with the ``DHCP_SERVER_OPTIONS`` that ``options.locate`` finds in the packet."""

    def delete_client(self, address: int, hardware_address: bytes) -> Awaitable[None] | None:
        """``DhcpDeleteClientHook``."""


def is_round(count: int) -> bool:
    """Whether what happens again and again is to be told this time: at 1, 10, 100 ..., so that it fills no disk."""
    # Said here, too, because what a callout needs of the server is public.
    return str(count).rstrip("0") == "1"
