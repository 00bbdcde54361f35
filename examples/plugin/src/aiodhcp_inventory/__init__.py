"""Knows the devices of the house."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from aiodhcp import Drop, Exchange, MessageType, Packet, Use, hookimpl


class Inventory:
    """Gives the devices of a list their names, and strangers an hour, or no answer at all."""

    class Settings(BaseModel):
        devices: Path
        strangers: Literal["serve", "drop"] = "serve"
        keep: float = Field(60.0, gt=0, description="seconds until the list is read again")

        @field_validator("devices")
        @classmethod
        def beside_the_configuration(cls, devices: Path, info: ValidationInfo) -> Path:
            return info.context["directory"] / devices if info.context else devices

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._names: dict[str, str] = {}
        self._read_at = float("-inf")

    @hookimpl(deadline=0.5, on_error="drop")
    def dhcp_new_pkt(self, exchange: Exchange) -> Awaitable[Drop | None] | Drop | None:
        if exchange.now - self._read_at < self.settings.keep:
            return self._judge(exchange)
        return self._read_and_judge(exchange)

    async def _read_and_judge(self, exchange: Exchange) -> Drop | None:
        text = await asyncio.to_thread(self.settings.devices.read_text)
        self._names = dict(line.split(maxsplit=1) for line in text.splitlines())
        self._read_at = exchange.now
        return self._judge(exchange)

    def _judge(self, exchange: Exchange) -> Drop | None:
        exchange.context = self._names.get(exchange.hardware_address)
        if exchange.context is None and self.settings.strangers == "drop":
            return Drop("not in the inventory")
        return None

    @hookimpl
    def select_lease_time(self, exchange: Exchange) -> Use[int] | None:
        return Use(3600) if exchange.context is None else None

    @hookimpl
    def dhcp_pkt_send(self, reply: Packet, exchange: Exchange) -> None:
        if exchange.context is not None and reply.message_type != MessageType.NAK:
            reply.options["host-name"] = exchange.context
