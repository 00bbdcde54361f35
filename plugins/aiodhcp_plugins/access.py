"""access: who is served: clients are let in or kept out by hardware address, and by whether the server knows them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiodhcp import Drop, DropReason, Exchange, MessageType, Nak, Packet, hookimpl
from aiodhcp_plugins.tables import HardwarePrefix, Table, begins

__all__ = ["Access"]


class Access:
    """Who is served.

    It fails closed: a packet that it can't judge is dropped.
    """

    name = "access"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        allow: list[HardwarePrefix] = Field(
            default_factory=list,
            description="hardware addresses, or their beginnings, that are served; empty: all that deny doesn't name",
        )
        deny: list[HardwarePrefix] = Field(
            default_factory=list, description="the same that are not served, also when allow names them"
        )
        unknown: Literal["serve", "ignore", "refuse"] = Field(
            "serve",
            description="what becomes of a client that has neither a reservation nor ever had a lease: it is served,"
            " or its packets are dropped, or what it requests is refused (NAK) besides",
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @hookimpl(on_error="drop")
    def dhcp_new_pkt(self, packet: Packet) -> Drop | None:
        """Veto what comes from a client that is not served."""
        if packet.message_type == MessageType.LEASEQUERY:
            # The hardware address is that of whom it asks for, if any.
            return None
        client, settings = packet.hardware_address, self.settings
        if settings.deny and begins(client, settings.deny):
            return Drop(DropReason.UNAUTH, f"{client} is denied")
        if settings.allow and not begins(client, settings.allow):
            return Drop(DropReason.UNAUTH, f"{client} is not among those allowed")
        return None

    @hookimpl(on_error="drop")
    def unknown_client(self, exchange: Exchange) -> Drop | Nak | None:
        """Ignore or refuse the clients that nobody knows."""
        if self.settings.unknown == "serve":
            return None
        why = f"{exchange.hardware_address} is unknown"
        return Nak(why) if self.settings.unknown == "refuse" else Drop(DropReason.UNAUTH, why)
