"""Where datagrams come from and go to. A transport knows sockets and nothing of DHCP's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiodhcp.exchange import Answer, Datagram, Interface

__all__ = ["Receiver", "Transport"]


class Receiver(Protocol):
    """What a transport hands its datagrams to; a ``DhcpServer`` gives one out."""

    def datagrams_received(self, datagrams: Sequence[Datagram]) -> None:
        """Take a batch. Never raises; never keeps the caller longer than deciding takes."""

    def error_received(self, error: Exception) -> None:
        """Take note that the network reported an error; the transport goes on."""


class Transport(Protocol):
    """A way to the network. One server owns one transport."""

    @property
    def interfaces(self) -> Sequence[Interface]:
        """The interfaces served; complete once ``open`` has returned."""

    async def open(self, receiver: Receiver) -> None:
        """Open the sockets and from now on hand ``receiver`` all that arrives, in batches.

        Raises:
            ConfigError: no such interface, no IPv4 address on it.
            OSError: the port is taken or needs a privilege; the message says which port.
        """

    def send(self, answers: Sequence[Answer]) -> None:
        """Send each answer. Never blocks, never raises: what can't be sent is counted and logged."""

    async def close(self) -> None:
        """Close the sockets. Nothing is received afterwards. May be called twice."""
