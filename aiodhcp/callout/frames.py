"""Frames: a call of a callout that is in another process, and what came of it, as octets on two pipes.

A host has the callout: host.py in Python, host.c for Wine. It reads calls from its standard input and writes a return
for each to what was its standard output, one after the other, in the order of the calls, each as soon as it is there.
The first return says what the loading came to. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from aiodhcp.callout.abi import CALLOUT_TABLE, SERVER_OPTIONS

__all__ = ["CALL", "HOOKS", "NULL", "OPTIONS", "RETURN", "State", "pack_hooks", "unpack_hooks"]

CALL: Final = struct.Struct("<8IQ")
"""Octets that follow; index of the hook in ``HOOKS``; ``PacketSize``; ``IpAddress``; ``ControlCode``; ``AltAddress``;
``AddrType``; ``LeaseTime``; ``PktContext``.

What follows is the packet. With ``dhcp_handle_options`` first ``OPTIONS``, and behind the packet what of the options is
in pieces in it; with ``dhcp_delete_client`` the hardware address.
"""
OPTIONS: Final = struct.Struct(f"<{len(SERVER_OPTIONS)}I")
"""``DHCP_SERVER_OPTIONS``: where a pointer points, counted from the packet's beginning, or ``NULL``; or the number."""
NULL: Final = 0xFFFFFFFF
RETURN: Final = struct.Struct("<6IQ")
"""Octets that follow; ``State``; what the function returned; ``ProcessIt``; ``PacketSize``; 0; ``*PktContext``.

The first return has the version of the API in place of what the function returned, and the hooks that the callout
registered in place of the context, a bit each in the order of ``HOOKS``.
"""
HOOKS: Final = tuple(slot.hook for slot in CALLOUT_TABLE if slot.parameters is not None)
"""The names of the hooks by their number."""


class State(IntEnum):
    """What became of the packet, or of the call."""

    KEPT = 0
    CHANGED = 1
    """The packet follows."""
    NULL = 2
    """``*Packet`` is NULL."""
    TOO_LONG = 3
    FAULT = 4
    """It failed, and the host goes on; why follows, UTF-8. In the first return it doesn't go on."""


def pack_hooks(names: Iterable[str]) -> int:
    """The bits of some hooks."""
    return sum(1 << HOOKS.index(name) for name in names)


def unpack_hooks(bits: int) -> frozenset[str]:
    """The reverse; unknown bits are left out."""
    return frozenset(name for at, name in enumerate(HOOKS) if bits >> at & 1)
