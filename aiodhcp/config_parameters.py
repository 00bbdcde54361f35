"""Configuration of what clients are told, at whatever level, and of pools, as tables of a TOML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import Field, model_validator

from aiodhcp.config_options import AlwaysSend, NeverSend, OptionValues, Table
from aiodhcp.config_values import Address, Delay, Duration, Range
from aiodhcp.fqdn import Fqdn, Replace, Updates
from aiodhcp.freemap import AddressChoice
from aiodhcp.parameters import NOTHING_SAID, Parameters
from aiodhcp.subnets import Pool

__all__ = ["FqdnTable", "ParametersTable", "PoolTable", "table_of"]


def table_of(key: str, value: object) -> object:
    """An element that is a string or a table."""
    if isinstance(value, str):
        return {key: value}
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a string or a table, got {value!r}")  # noqa: TRY004 - pydantic's
    return value


class FqdnTable(Table):
    """``[fqdn]``, and ``fqdn`` wherever it says what clients are told: their names."""

    updates: Updates | None = Field(None, description="who updates the DNS, as clients are told it (none)")
    override_client: bool | None = Field(None, description="also for who wishes to do so itself (false)")
    override_no_update: bool | None = Field(None, description="also for who wishes for no update (false)")
    suffix: str | None = Field(None, description="the domain that completes a name without one (none)")
    replace: Replace | None = Field(None, description="whether a name is made of the address (never)")
    prefix: str | None = Field(None, description="how such a name begins (host)")
    char_replacement: str | None = Field(None, description="what characters become that no host name has (-)")

    def fqdn(self) -> Fqdn:
        """As the engine takes it."""
        return Fqdn(**{name: getattr(self, name) for name in FqdnTable.model_fields})

    @model_validator(mode="after")
    def _check_fqdn(self) -> Self:
        self.fqdn()
        return self


class ParametersTable(Table):
    """What a client may be told: these keys stand at the top, in ``[[class]]``, ``[[subnet]]``, a pool and
    ``[[subnet.reservation]]``; the more specific wins.
    """

    options: OptionValues = Field(default_factory=dict, description="options by their names, or 'option-NNN'")
    lease_time: Duration | None = Field(None, description="how long a lease lasts (12h)")
    min_lease_time: Duration | None = Field(None, description="the least a client may ask for (60s)")
    max_lease_time: Duration | None = Field(None, description="the most a client may ask for (lease-time)")
    renewal_time: Duration | None = Field(None, description="T1 (half of the lease time)")
    rebinding_time: Duration | None = Field(None, description="T2 (7/8 of the lease time)")
    next_server: Address | None = Field(None, description="siaddr: the TFTP server")
    server_name: str | None = Field(None, description="sname")
    boot_file: str | None = Field(None, description="file: the boot file's name")
    rapid_commit: bool | None = Field(None, description="whether a client that asks gets its lease at once (false)")
    auto_configure: bool | None = Field(
        None, description="what a client is told that gets no address, and asks whether to take one (nothing)"
    )
    min_secs: int | None = Field(None, description="the least secs of a DISCOVER that is answered (0)")
    offer_delay: Delay | None = Field(None, description="after which time an OFFER leaves, 10 seconds at most (0)")
    fqdn: FqdnTable = FqdnTable()
    always_send: AlwaysSend = Field(
        default_factory=list, description="options that a client gets without asking for them"
    )
    never_send: NeverSend = Field(default_factory=list, description="options that it doesn't get")
    adaptive_lease_time_threshold: float | None = Field(
        None, description="the share of a pool in use above which leases are short (never)"
    )

    def parameters(self) -> Parameters:
        """As the engine takes them."""
        said = {name: getattr(self, name) for name in ParametersTable.model_fields}
        parameters = Parameters(**{**said, "fqdn": self.fqdn.fqdn()})
        return NOTHING_SAID if parameters == NOTHING_SAID else parameters

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        self.parameters()
        return self


class PoolTable(ParametersTable):
    """An element of ``pools``: a range as a string, or a table."""

    range: Range
    exclude: list[Range] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list, description="whose clients get its addresses (everybody)")
    address_choice: AddressChoice | None = Field(None, description="how one of them is chosen (as in its subnet)")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return table_of("range", value)

    def pool(self, exclude: Iterable[tuple[int, int]] = ()) -> Pool:
        """As the engine takes it; without the ranges that its subnet excludes, too."""
        return Pool(self.range, self.parameters(), [*self.exclude, *exclude], self.classes, self.address_choice)

    @model_validator(mode="after")
    def _check_pool(self) -> Self:
        self.pool()
        return self
