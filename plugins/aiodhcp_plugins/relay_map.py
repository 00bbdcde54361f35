"""relay_map: the subnet of a client by the port it is behind, as the relay agent names it (option 82, RFC 3046)."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from aiodhcp import Config, ConfigError, Drop, Exchange, Use, hookimpl
from aiodhcp_plugins.option82 import CIRCUIT_ID, REMOTE_ID, said_of
from aiodhcp_plugins.tables import Patterns, Table, matcher

__all__ = ["RelayMap", "Rule"]


def _network(value: object) -> IPv4Network:
    try:
        return IPv4Network(value if isinstance(value, IPv4Network) else str(value))
    except ValueError as error:
        raise ValueError(f"expected a network like '192.0.2.0/24', got {value!r} ({error})") from None


class Rule(Table):
    """One of ``[[plugins.settings.rules]]``: a subnet, and what the relay agent says of its clients."""

    subnet: Annotated[IPv4Network, BeforeValidator(_network)] = Field(description="a subnet of the configuration")
    circuit_id: Patterns = Field(default_factory=list, description="the circuit id; any if empty")
    remote_id: Patterns = Field(default_factory=list, description="the remote id; any if empty")

    @model_validator(mode="after")
    def _check_conditions(self) -> Self:
        if not (self.circuit_id or self.remote_id):
            raise ValueError(f"subnet: {self.subnet} needs a circuit-id or a remote-id")
        return self


class RelayMap:
    """The subnet of a client by circuit id and remote id. The first rule that holds counts."""

    name = "relay-map"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        rules: list[Rule] = Field(min_length=1, description="in order; the first that holds counts")
        otherwise: Literal["server", "drop"] = Field(
            "server",
            description="what becomes of a relayed client that no rule is for: the server finds its subnet by the"
            " address of the relay agent, or it is dropped",
        )

        snooping: bool = Field(
            False,
            description="whether option 82 counts without the address of a relay agent, as a switch adds it that only"
            " listens; a client could add it, too",
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._rules = [
            (
                rule.subnet,
                [
                    (code, [matcher(pattern) for pattern in patterns])
                    for code, patterns in ((CIRCUIT_ID, rule.circuit_id), (REMOTE_ID, rule.remote_id))
                    if patterns
                ],
            )
            for rule in settings.rules
        ]

    @hookimpl
    def config_loaded(self, config: Config) -> None:
        """Refuse a configuration that lacks a subnet of the rules."""
        known = {subnet.network for subnet in config.subnets}
        missing = [str(rule.subnet) for rule in self.settings.rules if rule.subnet not in known]
        if missing:
            raise ConfigError(f"rules: {', '.join(missing)}: no subnet of the configuration")

    @hookimpl
    def select_subnet(self, exchange: Exchange) -> Use[IPv4Network] | Drop | None:
        """Choose by the first rule that holds; nothing for a client that no relay agent says anything of."""
        if not exchange.giaddr and not self.settings.snooping:
            return None
        said = said_of(exchange, self.settings.snooping)
        for network, conditions in self._rules:
            if all(code in said and any(matches(said[code]) for matches in matchers) for code, matchers in conditions):
                return Use(network)
        return Drop("no rule for what the relay agent says") if self.settings.otherwise == "drop" else None
