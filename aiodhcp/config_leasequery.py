"""``[leasequery]`` of a configuration: who may ask whose an address is, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from aiodhcp.config_options import Table
from aiodhcp.constants import SERVER_PORT
from aiodhcp.requestors import MOST_CONNECTIONS, Leasequery

__all__ = ["LeasequeryTable"]


class LeasequeryTable(Table):
    """``[leasequery]``: who may ask whose an address is, and where."""

    requestors: list[str] = Field(description="addresses and networks of those who may")
    listen: list[str] = Field(default_factory=list, description="where to listen for TCP connections (nowhere)")
    port: int = Field(SERVER_PORT, description="the TCP port there")
    connections: int = Field(MOST_CONNECTIONS, description="how many there may be at a time")
    tls_certificate: Path | None = Field(None, description="the server's certificate, a PEM file (no TLS)")
    tls_key: Path | None = Field(None, description="its private key (in the same file)")
    tls_ca: Path | None = Field(None, description="by whom requestors are certified (they need no certificate)")
    tls_required: bool = Field(False, description="whether they have to begin TLS before they ask")

    def leasequery(self, directory: Path = Path()) -> Leasequery:
        """As the engine takes it."""
        files = (self.tls_certificate, self.tls_key, self.tls_ca)
        certificate, key, ca = ("" if each is None else str(directory / each) for each in files)
        return Leasequery(
            self.requestors, self.listen, self.port, self.connections, certificate, key, ca, self.tls_required
        )

    @model_validator(mode="after")
    def _check_leasequery(self) -> Self:
        self.leasequery()
        return self
