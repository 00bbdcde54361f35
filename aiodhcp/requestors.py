"""Requestors: who may ask whose an address is (leasequery), and where that is heard over TCP. Facts, no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Final

from aiodhcp.constants import SERVER_PORT
from aiodhcp.parameters import address_number

__all__ = ["Leasequery"]

MOST_CONNECTIONS: Final = 10
"""BULK_LQ_MAX_CONNS (RFC 6926 §6.3) and ACTIVE_LQ_MAX_CONNS (RFC 7724 §6.3)."""


@dataclass(frozen=True)
class Leasequery:
    """Who may ask for leases, which tell where people are: nobody else is told anything (RFC 4388 §7).

    Attributes:
        requestors: addresses and networks, ``"10.0.0.1"``, ``"10.0.0.0/24"``: by UDP of ``giaddr``, where the answer
            goes; by TCP of the peer.
        listen: addresses to listen on for bulk and active leasequery (RFC 6926, RFC 7724); none for UDP only.
        port: the TCP port there; 0 for any that is free.
        connections: how many there may be at a time.
        tls_certificate: the file of the server's certificate and those that it depends on, in PEM; empty for no TLS.
        tls_key: the file of its private key; empty where it is in the same.
        tls_ca: the file of the certificates that requestors are to be certified by; empty where they need none.
        tls_required: whether requestors have to begin TLS before they ask.

    Raises:
        ValueError: something is no address, or says nothing without something else.
    """

    requestors: Sequence[str] = ()
    listen: Sequence[str] = ()
    port: int = SERVER_PORT
    connections: int = MOST_CONNECTIONS
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    tls_required: bool = False
    _ranges: Sequence[tuple[int, int]] = field(init=False, default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        ranges = []
        for at, each in enumerate(self.requestors):
            try:
                network = IPv4Network(each)
            except ValueError as error:
                raise ValueError(
                    f"requestors[{at}]: expected an address or a network like '10.0.0.0/24', got {each!r} ({error})"
                ) from None
            ranges.append((int(network.network_address), int(network.broadcast_address)))
        for at, each in enumerate(self.listen):
            try:
                address_number(each)
            except ValueError:
                raise ValueError(f"listen[{at}]: expected an address like '192.0.2.1', got {each!r}") from None
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: expected 0 to 65535, got {self.port!r}")
        if self.connections < 1:
            raise ValueError(f"connections: expected 1 at least, got {self.connections!r}")
        for name in ("tls_key", "tls_ca", "tls_required"):
            if getattr(self, name) and not self.tls_certificate:
                raise ValueError(f"{name}: is for a server with a tls-certificate, and there is none")
        for name, value in (
            ("requestors", tuple(self.requestors)),
            ("listen", tuple(dict.fromkeys(self.listen))),
            ("_ranges", tuple(ranges)),
        ):
            object.__setattr__(self, name, value)

    def allows(self, address: int) -> bool:
        """Whether a requestor may ask."""
        return any(first <= address <= last for first, last in self._ranges)
