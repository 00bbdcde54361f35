"""Configuration: a TOML file → the objects of subnets.py, a store, a transport and plugins.

What is wrong with a file is said with its name, the line, the key and what was expected.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from aiodhcp.config_errors import Problem, Refusal, Source, problems, read_toml
from aiodhcp.config_leasequery import LeasequeryTable
from aiodhcp.config_options import OptionTables, Table, context
from aiodhcp.config_parameters import ParametersTable, PoolTable, table_of
from aiodhcp.config_values import (
    Address,
    ControlPath,
    Duration,
    LogLevel,
    Network,
    Range,
    Seconds,
    default_store_path,
    parse_duration,
    parse_seconds,
)
from aiodhcp.constants import SERVER_PORT
from aiodhcp.filters import Filters
from aiodhcp.freemap import AddressChoice
from aiodhcp.hooks import Hooks
from aiodhcp.plugins import PluginLoader
from aiodhcp.policies import OnFailure, Policy
from aiodhcp.registration import Plugin
from aiodhcp.reservations import IDENTIFIERS
from aiodhcp.server import DhcpServer
from aiodhcp.stores import Store
from aiodhcp.stores.memory import MemoryStore
from aiodhcp.stores.sqlite import MOST_EVENTS, SqliteStore
from aiodhcp.subnets import Bootp, Class, Config, ForceRenew, Probe, Reservation, Subnet, Unrelayed
from aiodhcp.transports import Transport

__all__ = ["Settings", "default_store_path", "load_config", "parse_duration", "parse_seconds"]

SLOW_PLUGINS: Final = frozenset({"callouts"})
"""Entry points whose plugins are made in a thread at a reload."""


class ReservationTable(ParametersTable):
    """``[[subnet.reservation]]``, and ``[[reservation]]`` for every subnet."""

    hardware_address: str | None = None
    client_id: str | None = None
    duid: str | None = None
    circuit_id: str | None = None
    remote_id: str | None = None
    subscriber_id: str | None = None
    identify: str | None = Field(None, description="an expression, which comes to value for this client")
    value: str | None = None
    address: Address | None = None
    classes: list[str] = Field(default_factory=list, description="those that it puts the client into")

    def reservation(self) -> Reservation:
        """As the engine takes it."""
        return Reservation(
            self.hardware_address,
            self.client_id,
            self.address,
            self.parameters(),
            self.duid,
            self.circuit_id,
            self.remote_id,
            self.subscriber_id,
            self.identify,
            self.value,
            self.classes,
        )

    @model_validator(mode="after")
    def _check_reservation(self) -> Self:
        self.reservation()
        return self


class ClassTable(ParametersTable):
    """``[[class]]``: clients of a kind; its test says who belongs to it, or a plugin."""

    name: str
    test: str | None = Field(None, description="a condition: who belongs to it (those that a plugin puts there)")
    deny: bool = Field(False, description="whether its clients are not served at all")
    limit: int | None = Field(None, description="how many leases its clients have at a time (any number)")
    limit_by: str | None = Field(None, description="a value: each has a limit of its own (one limit for all)")

    def client_class(self) -> Class:
        """As the engine takes it."""
        return Class(self.name, self.parameters(), self.deny, self.test, self.limit, self.limit_by)

    @model_validator(mode="after")
    def _check_class(self) -> Self:
        self.client_class()
        return self


class SubnetTable(ParametersTable):
    """``[[subnet]]``."""

    subnet: Network
    pools: list[PoolTable] = Field(default_factory=list)
    exclude: list[Range] = Field(default_factory=list, description="ranges that no pool gives out")
    reservation: list[ReservationTable] = Field(default_factory=list)
    interfaces: list[str] = Field(default_factory=list, description="those it is on (those with an address in it)")
    relays: list[Address] = Field(default_factory=list, description="relay agents outside of it that stand for it")
    conflict_probe: Probe = Field("off", description="whether it is asked for an address before that is offered")
    probe_timeout: Seconds = Field(0.5, description="how long an answer is waited for")
    classes: list[str] = Field(default_factory=list, description="whose clients it is for (everybody)")
    address_choice: AddressChoice | None = Field(None, description="how an address is chosen (as at the top)")
    shared_network: str = Field("", description="a name that the subnets of one link have in common (none)")
    virtual_network: str = Field("", description="the virtual network that it is in (the global one)")

    def as_subnet(self) -> Subnet:
        """As the engine takes it."""
        return Subnet(
            self.subnet,
            [pool.pool(self.exclude) for pool in self.pools],
            [each.reservation() for each in self.reservation],
            self.parameters(),
            self.interfaces,
            self.relays,
            self.conflict_probe,
            self.probe_timeout,
            self.classes,
            address_choice=self.address_choice,
            shared_network=self.shared_network,
            virtual_network=self.virtual_network,
        )

    @model_validator(mode="after")
    def _check_subnet(self) -> Self:
        self.as_subnet()
        return self


class FiltersTable(Table):
    """``[filters]``: hardware addresses, whole or with a star at the end."""

    allow: list[str] | None = Field(None, description="who is served (everybody)")
    deny: list[str] = Field(default_factory=list, description="who is not, also if allow names it")

    def filters(self) -> Filters:
        """As the engine takes it."""
        return Filters(self.allow, self.deny)

    @model_validator(mode="after")
    def _check_filters(self) -> Self:
        self.filters()
        return self


class PluginTable(Table):
    """An element of ``plugins``: a name as a string, or a table."""

    use: str = Field(description="a file, an entry point or a module, with :object")
    name: str | None = Field(None, description="what it is called in the log (its own name)")
    deadline: Seconds | None = Field(None, description="how long an async hook may take (2s)")
    on_error: OnFailure | None = Field(None, description="what becomes of a packet whose hook raises (continue)")
    on_timeout: OnFailure | None = Field(None, description="the same when the deadline passes (drop)")
    failures: int | None = Field(None, ge=0, description="in a row, until the hook is not called for a while (10)")
    retry_after: Seconds | None = Field(None, description="that while (30s)")
    priority: int | None = Field(None, description="a higher one is called first (0)")
    shadow: bool | None = Field(None, description="whether it only watches")
    settings: dict[str, Any] | None = Field(None, description="the plugin's own")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return table_of("use", value)

    def policy(self) -> Policy:
        """How its hooks are run."""
        return Policy(**{each.name: getattr(self, each.name) for each in fields(Policy)})


class StoreTable(Table):
    """``[store]``."""

    type: Literal["sqlite", "memory"] = "sqlite"
    path: Path | None = Field(None, description="the SQLite file; a relative path starts at the configuration file")
    max_events: int = Field(
        MOST_EVENTS,
        ge=1,
        description="lease events to keep for a cursor that does not move, about; the oldest go first",
    )


class TransportTable(Table):
    """``[transport]``."""

    type: Literal["ethernet", "udp", "relay"] = Field(
        "ethernet",
        description="ethernet: interfaces of this Linux machine; udp: one socket, any system; relay: relay agents only",
    )
    host: str = Field("0.0.0.0", description="udp, relay: the address to listen on")
    port: int = Field(SERVER_PORT, ge=0, le=65535)

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        for name in sorted({"host", "port"} & self.model_fields_set):
            if self.type == "ethernet":
                raise ValueError(f"{name}: is for the types 'udp' and 'relay', and this is 'ethernet'")
        return self


class Settings(OptionTables, ParametersTable):
    """A whole configuration file, and what to make of it."""

    model_config = ConfigDict(extra="forbid")

    interfaces: list[str] = Field(default_factory=list, description="where to serve (transport ethernet)")
    authoritative: bool = Field(False, description="refuse clients that are unknown, instead of keeping silent")
    server_id: Address | None = Field(None, description="the server identifier (the address of the interface)")
    offer_time: Duration = Field(60, description="how long an offered address is kept")
    decline_time: Duration = Field(86400, description="how long a declined address is left alone")
    bootp: Bootp = Field("reserved", description="which BOOTP clients get an address")
    reservation_identifiers: list[str] = Field(
        list(IDENTIFIERS), description="what reservations are found by, in order"
    )
    reservations_in_subnet: bool = Field(True, description="whether those of the client's subnet are looked at")
    reservations_global: bool = Field(True, description="whether, after them, those for every subnet are")
    address_choice: AddressChoice = Field("least-recently-used", description="how one is chosen for a new client")
    stash_agent_options: bool = Field(True, description="whether what a relay agent says is kept with the lease")
    agent_options_without_relay: Unrelayed = Field(
        "ignore", description="what becomes of option 82 from a client itself"
    )
    force_renew: ForceRenew = Field("nonce", description="which clients can be told to renew their leases now")
    plugins: list[PluginTable] = Field(default_factory=list, description="in the order of calling")
    max_in_flight: int = Field(4096, ge=1, description="packets that may wait; more are dropped")
    wait_timeout: Duration = Field(10, description="how long one may wait behind others of its client")
    explain: int = Field(0, ge=0, description="how many recent exchanges are kept for 'aiodhcp explain'")
    control: ControlPath = Field(
        None, description="the control socket; a relative path starts at the configuration file; false for none"
    )
    log_level: LogLevel = "info"
    store: StoreTable = StoreTable()
    transport: TransportTable = TransportTable()
    filters: FiltersTable = FiltersTable()
    leasequery: LeasequeryTable | None = None
    reservation: list[ReservationTable] = Field(default_factory=list)
    subnet: list[SubnetTable] = Field(default_factory=list)
    class_: list[ClassTable] = Field(default_factory=list, alias="class")

    _source: Source = PrivateAttr(default=Source("configuration"))

    def config(self) -> Config:
        """What the engine goes by."""
        return Config(
            [each.as_subnet() for each in self.subnet],
            self.parameters(),
            [each.client_class() for each in self.class_],
            self.authoritative,
            self.server_id,
            self.offer_time,
            self.decline_time,
            self.bootp,
            self.definitions(),
            self.filters.filters(),
            [each.reservation() for each in self.reservation],
            self.reservation_identifiers,
            self.reservations_in_subnet,
            self.reservations_global,
            address_choice=self.address_choice,
            stash_agent_options=self.stash_agent_options,
            agent_options_without_relay=self.agent_options_without_relay,
            leasequery=None if self.leasequery is None else self.leasequery.leasequery(self.directory),
            force_renew=self.force_renew,
        )

    @model_validator(mode="after")
    def _check_config(self) -> Self:
        self.config()
        known = set(self.interfaces)
        for at, subnet in enumerate(self.subnet):
            for name in subnet.interfaces:
                if known and name not in known:
                    raise ValueError(f"subnet[{at}].interfaces: {name!r} is not among interfaces {sorted(known)}")
        if self.transport.type == "ethernet" and not self.interfaces:
            raise ValueError("interfaces: expected the names of the interfaces to serve, like ['eth0']")
        return self

    def make_store(self) -> Store:
        """The store, not opened yet."""
        if self.store.type == "memory":
            return MemoryStore()
        return SqliteStore(self.store_path, max_events=self.store.max_events)

    @property
    def store_path(self) -> Path:
        """The file of the SQLite store."""
        return self.store.path or default_store_path()

    def make_transport(self) -> Transport:
        """The transport, not opened yet."""
        table = self.transport
        if table.type == "udp":
            from aiodhcp.transports.udp import UdpTransport

            return UdpTransport(table.host, table.port)
        if table.type == "relay":
            from aiodhcp.transports.relay import RelayTransport

            return RelayTransport(table.host, table.port)
        from aiodhcp.transports.ethernet import EthernetTransport

        return EthernetTransport(self.interfaces)

    def make_plugins(self) -> list[Plugin]:
        """The plugins, found, made with their settings and checked, in the order of the file.

        Raises:
            ConfigError: one can't be found or made, its settings are wrong, or it has a hook that doesn't exist.
        """
        return self._plugins(self._made(PluginLoader(self.directory), range(len(self.plugins))))

    async def make_plugins_soon(self) -> list[Plugin]:
        """``make_plugins`` while the server runs: what has to wait for another process does so in a thread.

        All others are made here, as at the start: they may rely on the thread, and on the running loop.

        Raises:
            ConfigError: as of ``make_plugins``.
        """
        loader = PluginLoader(self.directory)
        slow = [at for at, table in enumerate(self.plugins) if table.use in SLOW_PLUGINS]
        made = await asyncio.to_thread(self._made, loader, slow) if slow else {}
        return self._plugins(made | self._made(loader, sorted(set(range(len(self.plugins))) - set(slow))))

    def _made(self, loader: PluginLoader, which: Iterable[int]) -> dict[int, list[Plugin] | Refusal]:
        """Those plugins, or what is wrong with them, by their place."""
        made: dict[int, list[Plugin] | Refusal] = {}
        for at in which:
            table = self.plugins[at]
            try:
                made[at] = loader.load(table.use, name=table.name or "", policy=table.policy(), settings=table.settings)
            except Refusal as refusal:
                made[at] = refusal
        return made

    def _plugins(self, made: Mapping[int, list[Plugin] | Refusal]) -> list[Plugin]:
        plugins: list[Plugin] = []
        wrong: list[Problem] = []
        for at, found in sorted(made.items()):
            if isinstance(found, Refusal):
                wrong += [each.inside("plugins", at) for each in found.problems]
            else:
                plugins += found
        if wrong:
            raise self._source.error(wrong)
        Hooks(plugins)
        return plugins

    def server(self, *, plugins: Sequence[object] = ()) -> DhcpServer:
        """The server as configured, not started yet.

        Args:
            plugins: more of them, called after those of the file.

        Raises:
            ConfigError: a plugin can't be loaded.
        """
        return DhcpServer(
            self.config(),
            store=self.make_store(),
            transport=self.make_transport(),
            plugins=[*self.make_plugins(), *plugins],
            max_in_flight=self.max_in_flight,
            wait_timeout=self.wait_timeout,
            explain=self.explain,
        )

    @classmethod
    def of(cls, table: Mapping[str, Any], source: str = "configuration") -> Settings:
        """From what a TOML file holds, as Python values.

        Raises:
            ConfigError: something in it is wrong.
        """
        return cls._from(table, Source(source))

    @classmethod
    def _from(cls, table: Mapping[str, Any], source: Source) -> Settings:
        model: type[BaseModel] = OptionTables
        try:
            definitions = OptionTables.model_validate(table).definitions()
            model = cls
            settings = cls.model_validate(table, context=context(definitions))
        except ValidationError as error:
            raise source.error(problems(error, model, file=True)) from None
        settings._source = source
        return settings

    @property
    def directory(self) -> Path:
        """Where the configuration file is, an absolute path; the current directory without a file."""
        return self._source.directory or Path.cwd()

    @property
    def control_path(self) -> Path | None:
        """The control socket: beside the SQLite store where nothing is said; None for none."""
        if self.control is False:
            return None
        if self.control is not None:
            return self.directory / self.control
        return None if self.store.type == "memory" else Path(f"{self.store_path}.sock")

    def restart_needed(self, other: Settings) -> list[str]:
        """What ``other`` has different that only a restart can change, as keys: ``["interfaces", "store.path"]``."""
        mine, theirs = self._fixed(), other._fixed()
        return [key for key in mine if mine[key] != theirs[key]]

    def _fixed(self) -> dict[str, object]:
        """What can't be changed while the server runs."""
        on_disk, by_name = self.store.type == "sqlite", self.transport.type == "ethernet"
        return {
            "interfaces": sorted(self.interfaces),
            "store.type": self.store.type,
            "store.path": self.store_path if on_disk else None,
            "store.max-events": self.store.max_events if on_disk else None,
            "transport.type": self.transport.type,
            "transport.host": None if by_name else self.transport.host,
            "transport.port": None if by_name else self.transport.port,
            "control": self.control_path if self.control else self.control,
            "max-in-flight": self.max_in_flight,
            "wait-timeout": self.wait_timeout,
            "explain": self.explain,
        }


def load_config(path: str | os.PathLike[str]) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: all that is wrong with it, a line each: file, line, key, what was expected and what was found.
    """
    source, table = read_toml(path)
    settings = Settings._from(table, source)
    if settings.store.path is not None:
        store = settings.store.model_copy(update={"path": settings.directory / settings.store.path})
        settings = settings.model_copy(update={"store": store})
    return settings
