"""classes: puts clients into classes by what they say of themselves, and by what the relay agent says of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self

from pydantic import Field, model_validator

from aiodhcp import Config, DecodeError, Exchange, ServerOptions, hookimpl
from aiodhcp_plugins.option82 import CIRCUIT_ID, REMOTE_ID, said_of
from aiodhcp_plugins.tables import HardwarePrefixes, Matcher, Patterns, Table, begins, matcher

__all__ = ["Classes", "Rule"]

log = logging.getLogger("aiodhcp_plugins.classes")


class Rule(Table):
    """One of ``[[plugins.settings.rules]]``: a class, and the conditions for it, all of which must hold."""

    name: str = Field(min_length=1, description="the class")
    vendor_class: Patterns = Field(default_factory=list, description="option 60")
    user_class: Patterns = Field(default_factory=list, description="one of the classes of option 77")
    hardware_address: HardwarePrefixes = Field(
        default_factory=list, description="what the hardware address begins with"
    )
    circuit_id: Patterns = Field(default_factory=list, description="the relay agent's circuit id (option 82)")
    remote_id: Patterns = Field(default_factory=list, description="the relay agent's remote id (option 82)")

    @model_validator(mode="after")
    def _check_conditions(self) -> Self:
        if not (self.vendor_class or self.user_class or self.hardware_address or self.circuit_id or self.remote_id):
            raise ValueError(f"name: class {self.name!r} needs a condition")
        return self


class Classes:
    """Puts clients into classes."""

    name = "classes"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        rules: list[Rule] = Field(min_length=1, description="all are tried; a client may be in several classes")
        snooping: bool = Field(
            False,
            description="whether option 82 counts without the address of a relay agent, as a switch adds it that only"
            " listens; a client could add it, too",
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._rules = [(rule.name, _conditions(rule, settings.snooping)) for rule in settings.rules]

    @hookimpl
    def config_loaded(self, config: Config) -> None:
        """Warn of classes that the configuration doesn't know, which may be meant for another plugin."""
        for name in sorted({rule.name for rule in self.settings.rules} - set(config.classes_by_name)):
            log.warning("class %r is not in the configuration: being in it changes nothing by itself", name)

    @hookimpl
    def dhcp_handle_options(self, options: ServerOptions, exchange: Exchange) -> None:
        """Try the rules."""
        for name, conditions in self._rules:
            if all(holds(options, exchange) for holds in conditions):
                exchange.classes.add(name)


Condition = Callable[[ServerOptions, Exchange], bool]


def _conditions(rule: Rule, snooping: bool) -> list[Condition]:
    conditions: list[Condition] = []
    if rule.hardware_address:
        conditions.append(lambda options, exchange: begins(exchange.hardware_address, rule.hardware_address))
    if rule.vendor_class:
        vendor = [matcher(pattern) for pattern in rule.vendor_class]
        conditions.append(lambda options, exchange: _any(vendor, [options.vendor_class]))
    if rule.user_class:
        user = [matcher(pattern) for pattern in rule.user_class]
        conditions.append(lambda options, exchange: _any(user, _user_classes(options)))
    for code, patterns in ((CIRCUIT_ID, rule.circuit_id), (REMOTE_ID, rule.remote_id)):
        if patterns:
            conditions.append(_relayed(code, [matcher(pattern) for pattern in patterns], snooping))
    return conditions


def _relayed(code: int, matchers: list[Matcher], snooping: bool) -> Condition:
    return lambda options, exchange: _any(matchers, [said_of(exchange, snooping).get(code)])


def _any(matchers: list[Matcher], values: list[bytes | None]) -> bool:
    return any(value is not None and matches(value) for value in values for matches in matchers)


def _user_classes(options: ServerOptions) -> list[bytes | None]:
    try:
        return list(options.get("user-class", ()))
    except DecodeError:
        return []
