"""scripts: runs the script that somebody has for dnsmasq or Kea, as those servers do, for changes of leases."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from aiodhcp import (
    AddressKind,
    AddressProblem,
    ConfigError,
    ControlCode,
    DhcpServer,
    Exchange,
    Lease,
    LeaseState,
    hookimpl,
)
from aiodhcp_plugins.scripts_dnsmasq import Dnsmasq
from aiodhcp_plugins.scripts_kea import Kea
from aiodhcp_plugins.scripts_run import Run, Runner
from aiodhcp_plugins.tables import File, Table

__all__ = ["Scripts"]

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _variables(environment: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or "\0" in value:
            raise ValueError(f"{name!r} can't be a variable of the environment with this value")
    return environment


class Scripts:
    """Runs a script once for each event, one after the other, in their order; without a shell.

    Attributes:
        runner: how often, and what became of it.
    """

    name = "scripts"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        script: File = Field(description="the script; a relative path starts at the configuration file")
        form: Literal["dnsmasq", "kea"] = Field(description="whose arguments and environment it is run with")
        domain: str = Field("", description="what DNSMASQ_DOMAIN is; empty for the rest of the client's name")
        init: bool = Field(False, description="whether it is run with init first, as by dnsmasq --leasefile-ro")
        existing: bool = Field(True, description="whether it is run with old for all leases at a start or reload")
        on_renewal: bool = Field(False, description="whether it is run with old for a renewal, --script-on-renewal")
        path: str = Field(PATH, description="the search path of the script")
        environment: Annotated[dict[str, str], AfterValidator(_variables)] = Field(
            {}, description="more of its environment, which is empty otherwise"
        )
        timeout: float = Field(30.0, gt=0, description="seconds after which it is killed, with what it started")
        queue: int = Field(10_000, ge=1, description="runs that may wait; more are lost, and counted")
        stop_timeout: float = Field(3.0, ge=0, description="seconds that the stop of the server waits for what is left")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        environment = {"PATH": settings.path, **settings.environment}
        self.runner = Runner(settings.script, environment, settings.timeout, settings.queue)
        self._server: DhcpServer | None = None
        self._dnsmasq = Dnsmasq(self.runner.add, settings.domain, on_renewal=settings.on_renewal)
        self._kea = Kea(self.runner.add)
        self._is_kea = settings.form == "kea"

    @property
    def counts(self) -> Mapping[str, int]:
        """What the plugin prometheus shows of it."""
        return {"ran": self.runner.ran, "failed": self.runner.failures.total(), "lost": self.runner.lost}

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """Look for the script at START, which is refused without it; run what is left at STOP, for a moment."""
        if code is ControlCode.START:
            self._server = self._dnsmasq.server = self._kea.server = server
            why = await asyncio.to_thread(self._obstacle)
            if why:
                raise ConfigError(f"{self.settings.script}: {why}")
            if self.settings.init and not self._is_kea:
                self.runner.begin_with([Run(("init",), dict)])
        elif code is ControlCode.STOP:
            await self.runner.end(self.settings.stop_timeout)

    def _obstacle(self) -> str:
        script = self.settings.script
        if not script.exists():
            return "there is no such script"
        if not script.is_file() or not os.access(script, os.X_OK):
            return "this can't be run: it has to be a file that is executable (chmod +x)"
        return ""

    @hookimpl
    def config_loaded(self, server: DhcpServer) -> None:
        """Tell of all leases that there are, as dnsmasq does at its start and at SIGHUP."""
        if self.settings.existing and not self._is_kea:
            now = server.now()
            active = (lease for lease in server.leases if lease.holds(now))
            self.runner.begin_with(self._dnsmasq.existing(lease) for lease in active)

    @hookimpl
    def dhcp_address_offer(self, kind: AddressKind, exchange: Exchange) -> None:
        """A client got an address."""
        if self._server is None:  # it is only asked what would happen
            return
        if self._is_kea:
            self._kea.granted(exchange, new=kind is AddressKind.NEW)
        else:
            self._dnsmasq.granted(exchange, new=kind is AddressKind.NEW)

    @hookimpl
    def dhcp_address_del(self, problem: AddressProblem, exchange: Exchange) -> None:
        """An address was given back or declined: for Kea's form, which tells of the packet."""
        if self._is_kea and self._server is not None:
            if problem is AddressProblem.RELEASE:
                self._kea.released(exchange)
            elif problem is AddressProblem.DECLINE:
                self._kea.declined(exchange)

    @hookimpl
    def dhcp_delete_client(self, address: IPv4Address) -> None:
        """A lease is about to end: for dnsmasq's form, which tells whose it was, once it has ended."""
        if not self._is_kea and self._server is not None:
            lease = self._server.leases.get(int(address))
            if lease is not None:
                self._dnsmasq.ending[lease.address] = lease

    @hookimpl
    def leases_committed(self, leases: Sequence[Lease]) -> None:
        """That leases ended is on stable storage."""
        if self._dnsmasq.ending:
            for lease in leases:
                self._dnsmasq.committed(lease)

    @hookimpl
    def lease_expired(self, lease: Lease) -> None:
        """A lease ran out."""
        if self._is_kea:
            self._kea.ended(lease._replace(state=LeaseState.ACTIVE), "lease4_expire")

    @hookimpl
    def lease_recovered(self, lease: Lease) -> None:
        """The probation of an address is over: Kea lets the declined lease expire, and tells that, too."""
        if self._is_kea:
            declined = lease._replace(state=LeaseState.DECLINED)
            self._kea.ended(declined, "lease4_expire")
            self._kea.ended(declined, "lease4_recover")
