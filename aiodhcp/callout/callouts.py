"""Callouts: what of a callout DLL can be called, however it is reached: in this process, or in another one.

plugin.py decides when and for what each is called. Who implements this decides how: library.py loads the DLL here.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple, Protocol

__all__ = ["Callouts", "Received", "Returned"]


class Returned(NamedTuple):
    """A packet as a callout left it.

    Attributes:
        packet: its octets, nobody checked them; those it was given where what is there can't be taken.
        wrong: why that can't be taken, in words; empty where it can.
    """

    packet: bytes
    wrong: str = ""


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


class Callouts(Protocol):
    """One callout DLL. Where a method doesn't return at once, it returns what is to be awaited.

    Packets are octets from ``op`` on, 240 to 4096 of them. Addresses are integers. ``interface`` is the address of the
    interface at which the packet arrived, 0 if it has none. ``context`` is what ``new_pkt`` returned for the packet,
    None if it did not, or was not called. Codes are those of aiodhcp/constants.py. Reserved parameters are NULL.

    Where a callout faults they raise; what becomes of the packet is the plugin's ``Policy``.

    Attributes:
        name: what it is called in the log.
        hooks: the names of the hooks that it registered, ``"dhcp_new_pkt"``; no other is called, but for ``control``.
    """

    @property
    def name(self) -> str: ...

    @property
    def hooks(self) -> frozenset[str]: ...

    def control(self, code: int) -> Awaitable[None] | None:
        """``DhcpControlHook``. STOP is the last call, and ends the callout; START begins it anew where it ended.

        Raises:
            ConfigError: at START, it can't be begun anew.
        """

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
