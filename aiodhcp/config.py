"""Configuration: a TOML file → the objects of subnets.py, a store, a transport and plugins.

What is wrong with a file is said with its name, the line, the key and what was expected.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from aiodhcp.constants import INFINITE, SERVER_PORT
from aiodhcp.errors import ConfigError
from aiodhcp.hooks import Hooks, load_plugin
from aiodhcp.server import DhcpServer
from aiodhcp.stores import Store
from aiodhcp.stores.memory import MemoryStore
from aiodhcp.stores.sqlite import SqliteStore
from aiodhcp.subnets import Class, Config, Parameters, Pool, Reservation, Subnet, encode_settings, parse_range
from aiodhcp.transports import Transport

__all__ = ["Settings", "load_config", "parse_duration"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(?:\d+[smhdw])+")


def parse_duration(value: object) -> int:
    """``"12h"``, ``"1d12h"``, ``"infinite"`` or a number of seconds, in seconds.

    Raises:
        ValueError: none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("infinite", "never"):
            return INFINITE
        if text.isdecimal() and int(text):
            return int(text)
        if _DURATION.fullmatch(text):
            seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text))
            if 0 < seconds < INFINITE:
                return seconds
    raise ValueError(f"expected a duration like '90s', '12h', '1d12h' or 'infinite', got {value!r}")


def _network(value: object) -> IPv4Network:
    try:
        return IPv4Network(value if isinstance(value, IPv4Network) else str(value))
    except ValueError as error:
        raise ValueError(f"expected a network like '192.168.50.0/24', got {value!r} ({error})") from None


def _ip(value: object) -> int:
    try:
        return int(IPv4Address(value if isinstance(value, int) else str(value)))
    except ValueError:
        raise ValueError(f"expected an address like '192.168.50.1', got {value!r}") from None


def _range(value: object) -> tuple[int, int]:
    try:
        return parse_range(value if isinstance(value, str) else str(value))
    except ValueError as error:
        raise ValueError(
            f"expected a range like '192.168.50.100-192.168.50.199', a network or an address, got {value!r} ({error})"
        ) from None


def _options(value: dict[str, Any]) -> dict[str, Any]:
    encode_settings(value)
    return value


Duration = Annotated[int, BeforeValidator(parse_duration)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
Address = Annotated[int, BeforeValidator(_ip)]
Range = Annotated[tuple[int, int], BeforeValidator(_range)]


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )


class ParametersTable(_Table):
    """What a client may be told: these keys stand at the top, in ``[[class]]``, ``[[subnet]]``, a pool and
    ``[[subnet.reservation]]``; the more specific wins.
    """

    options: Annotated[dict[str, Any], AfterValidator(_options)] = Field(
        default_factory=dict, description="options by their names, or 'option-NNN'"
    )
    lease_time: Duration | None = Field(None, description="how long a lease lasts (12h)")
    min_lease_time: Duration | None = Field(None, description="the least a client may ask for (60s)")
    max_lease_time: Duration | None = Field(None, description="the most a client may ask for (lease-time)")
    renewal_time: Duration | None = Field(None, description="T1 (half of the lease time)")
    rebinding_time: Duration | None = Field(None, description="T2 (7/8 of the lease time)")
    next_server: Address | None = Field(None, description="siaddr: the TFTP server")
    server_name: str | None = Field(None, description="sname")
    boot_file: str | None = Field(None, description="file: the boot file's name")

    def parameters(self) -> Parameters:
        """As the engine takes them."""
        return Parameters(**{name: getattr(self, name) for name in ParametersTable.model_fields})

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        self.parameters()
        return self


class PoolTable(ParametersTable):
    """An element of ``pools``: a range as a string, or a table."""

    range: Range
    exclude: list[Range] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return {"range": value} if isinstance(value, str) else value

    def pool(self) -> Pool:
        """As the engine takes it."""
        return Pool(self.range, self.parameters(), self.exclude)


class ReservationTable(ParametersTable):
    """``[[subnet.reservation]]``."""

    hardware_address: str | None = None
    client_id: str | None = None
    address: Address | None = None

    def reservation(self) -> Reservation:
        """As the engine takes it."""
        return Reservation(
            self.hardware_address,
            self.client_id,
            self.address,
            self.parameters(),
        )

    @model_validator(mode="after")
    def _check_reservation(self) -> Self:
        self.reservation()
        return self


class ClassTable(ParametersTable):
    """``[[class]]``: clients of a kind; a plugin says who belongs to it."""

    name: str

    def client_class(self) -> Class:
        """As the engine takes it."""
        return Class(self.name, self.parameters())


class SubnetTable(ParametersTable):
    """``[[subnet]]``."""

    subnet: Network
    pools: list[PoolTable] = Field(default_factory=list)
    exclude: list[Range] = Field(default_factory=list, description="ranges that no pool gives out")
    reservation: list[ReservationTable] = Field(default_factory=list)
    interfaces: list[str] = Field(default_factory=list, description="those it is on (those with an address in it)")
    relays: list[Address] = Field(default_factory=list, description="relay agents outside of it that stand for it")

    def as_subnet(self) -> Subnet:
        """As the engine takes it."""
        return Subnet(
            self.subnet,
            [Pool(pool.range, pool.parameters(), [*pool.exclude, *self.exclude]) for pool in self.pools],
            [each.reservation() for each in self.reservation],
            self.parameters(),
            self.interfaces,
            self.relays,
        )

    @model_validator(mode="after")
    def _check_subnet(self) -> Self:
        self.as_subnet()
        return self


class StoreTable(_Table):
    """``[store]``."""

    type: Literal["sqlite", "memory"] = "sqlite"
    path: Path | None = Field(None, description="the SQLite file; a relative path starts at the configuration file")


class TransportTable(_Table):
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


def _logging_level(level: str) -> str:
    if level.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError(f"expected 'debug', 'info', 'warning' or 'error', got {level!r}")
    return level.lower()


class Settings(ParametersTable):
    """A whole configuration file, and what to make of it."""

    interfaces: list[str] = Field(default_factory=list, description="where to serve (transport ethernet)")
    authoritative: bool = Field(False, description="refuse clients that are unknown, instead of keeping silent")
    server_id: Address | None = Field(None, description="the server identifier (the address of the interface)")
    offer_time: Duration = Field(60, description="how long an offered address is kept")
    decline_time: Duration = Field(86400, description="how long a declined address is left alone")
    plugins: list[str] = Field(default_factory=list, description="modules, or module:object, in the order of calling")
    max_in_flight: int = Field(4096, ge=1, description="packets that may wait; more are dropped")
    log_level: Annotated[str, AfterValidator(_logging_level)] = "info"
    store: StoreTable = StoreTable()
    transport: TransportTable = TransportTable()
    subnet: list[SubnetTable] = Field(default_factory=list)
    class_: list[ClassTable] = Field(default_factory=list, alias="class")

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
        return SqliteStore(self.store_path)

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

    def make_plugins(self) -> list[object]:
        """The plugins, imported.

        Raises:
            ConfigError: one can't be imported, or has a hook that doesn't exist.
        """
        plugins = [load_plugin(name) for name in self.plugins]
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
        )

    @classmethod
    def of(cls, table: Mapping[str, Any], source: str = "configuration") -> Settings:
        """From what a TOML file holds, as Python values.

        Raises:
            ConfigError: something in it is wrong.
        """
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise ConfigError("\n".join(f"{source}: {_words(each)[1]}" for each in error.errors())) from None


def default_store_path() -> Path:
    """Where leases are kept when nothing is said."""
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/aiodhcp/leases.sqlite")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "aiodhcp/leases.sqlite"


def load_config(path: str | os.PathLike[str]) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: all that is wrong with it, a line each: file, line, key, what was expected and what was found.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text: {error}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        words = str(error).replace(found[0], f" in column {found[2]}") if found else str(error)
        raise ConfigError(f"{file}:{line}: {words}") from None
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        lines = sorted((_line(text, where), words) for where, words in map(_words, error.errors()))
        raise ConfigError("\n".join(f"{file}:{line}: {words}" for line, words in lines)) from None
    if settings.store.path is not None and not settings.store.path.is_absolute():
        store = settings.store.model_copy(update={"path": file.parent / settings.store.path})
        settings = settings.model_copy(update={"store": store})
    return settings


_PREFIX: Final = re.compile(r"((?:[\w-]+(?:\[\d+\])?\.)*(?:[\w-]+(?:\[\d+\])?)): ")
"""The key that the messages of subnets.py begin with: ``options.routers: expected ...``."""
_STEP: Final = re.compile(r"([\w-]+)|\[(\d+)\]")
_FILE_NAMES: Final = {"reservations": "reservation", "subnets": "subnet"}

Where = tuple[str | int, ...]


def _words(error: ErrorDetails) -> tuple[Where, str]:
    """Where in the file an error of pydantic's is, and the sentence for people."""
    where = tuple(step for step in error["loc"] if step not in ("class_",))
    words = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        prefix = _PREFIX.match(words)
        if prefix:
            steps: list[str | int] = [
                int(number) if number else _FILE_NAMES.get(name, name.replace("_", "-"))
                for name, number in _STEP.findall(prefix[1])
            ]
            if where[-1:] == ("options",):
                del steps[:1]
            where, words = (*where, *steps), words[prefix.end() :]
    elif error["type"] == "extra_forbidden":
        key = str(where[-1])
        close = difflib.get_close_matches(key, _keys(where), 1)
        words = f"there is no such key{f'; did you mean {close[0]!r}?' if close else ''}"
    elif error["type"] == "missing":
        words = "this key is needed"
    else:
        words = words[0].lower() + words[1:].replace("Input should be", "expected").replace("valid ", "")
        words = words.replace("input should be", "expected")
        given = error["input"]
        if not isinstance(given, dict | list):
            words += f", got {given!r}"
    return where, f"{_spoken(where)}: {words}" if where else words


def _keys(where: Where) -> list[str]:
    """The keys that the table of ``where`` may have."""
    table: type[_Table] = Settings
    for step in where[:-1]:
        table = _TABLES.get(step, table) if isinstance(step, str) else table
    return [field.alias or name for name, field in table.model_fields.items()]


_TABLES: Final[dict[str, type[_Table]]] = {
    "subnet": SubnetTable,
    "pools": PoolTable,
    "reservation": ReservationTable,
    "class": ClassTable,
    "store": StoreTable,
    "transport": TransportTable,
}


def _spoken(where: Where) -> str:
    spoken = ""
    for step in where:
        spoken += f"[{step}]" if isinstance(step, int) else f".{step}" if spoken else step
    return spoken


def _line(text: str, where: Where) -> int:
    """The line on which the key at ``where`` begins, or the innermost table around it that the file has.

    The TOML parser itself tells: it is the last line of the shortest beginning of the file that has the key. A
    beginning that ends within a value can't be parsed; then the next longer one that can decides.
    """
    lines = text.split("\n")

    def has(count: int) -> bool:
        return next(found for end in range(count, len(lines) + 1) if (found := _has(lines[:end], where)) is not None)

    while where and not has(len(lines)):
        where = where[:-1]
    return bisect_left(range(len(lines)), True, key=has) if where else 1


def _has(lines: list[str], where: Where) -> bool | None:
    """Whether TOML text has the key; None if it can't be parsed."""
    try:
        found: Any = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
    for step in where:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
