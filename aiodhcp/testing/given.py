"""What a test gives for a configuration and for plugins, as the server takes it. The daemon's own loading does it."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from aiodhcp.config import PluginTable, Settings, load_config
from aiodhcp.config_errors import Problem, Refusal, Source, problems
from aiodhcp.errors import ConfigError
from aiodhcp.plugins import Found, PluginLoader
from aiodhcp.registration import Plugin
from aiodhcp.subnets import Config, Subnet

__all__ = ["ConfigLike", "PluginLike", "as_config", "as_plugins", "without_sockets"]

ConfigLike = Config | Settings | Mapping[str, Any] | str | Path
"""A configuration: itself; a file, by its path; the text of one; or what it says, as Python values."""
PluginLike = object
"""A plugin: an object, a class or a module; a name, as a configuration has it; ``Plugin``; or a mapping like an element
of ``[[plugins]]``, where ``use`` may be any of these.
"""
DEFAULT: Final = Config([Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"])])


def as_config(given: ConfigLike | None, directory: Path) -> tuple[Config, Settings | None]:
    """A configuration, and the whole file where it is one.

    Args:
        given: None for one subnet, 192.0.2.0/24, that gives out 192.0.2.10 to 192.0.2.99.
        directory: where relative paths start.

    Raises:
        ConfigError: something in it is wrong.
        TypeError: that is no configuration.
    """
    if given is None:
        return DEFAULT, None
    if isinstance(given, Config):
        return given, None
    settings = _settings(given, directory)
    return settings.config(), settings


def _settings(given: object, directory: Path) -> Settings:
    if isinstance(given, Settings):
        return given
    if isinstance(given, str) and ("\n" in given or "=" in given):
        source = Source("the configuration", given, directory)
        try:
            return Settings._from(_served(tomllib.loads(given)), source)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"the configuration: {error}") from None
    if isinstance(given, str | Path):
        return load_config(directory / given)
    if isinstance(given, Mapping):
        return Settings._from(_served(given), Source("the configuration", None, directory))
    raise TypeError(f"expected a Config, Settings, a mapping, a path or TOML, got {given!r}")


def _served(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """A test need not say which interfaces there are. What else may be wrong, is said when it is checked."""
    transport, subnets = table.get("transport", {}), table.get("subnet", [])
    if "interfaces" in table or (isinstance(transport, Mapping) and transport.get("type", "ethernet") != "ethernet"):
        return table
    lists = (
        [each.get("interfaces") for each in subnets if isinstance(each, Mapping)] if isinstance(subnets, list) else []
    )
    named = dict.fromkeys(name for names in lists if isinstance(names, list) for name in names)
    return {**table, "interfaces": list(named) or ["eth0"]}


def without_sockets(config: Config) -> Config:
    """The same, but nothing is listened for by TCP."""
    if config.leasequery is None or not config.leasequery.listen:
        return config
    return replace(config, leasequery=replace(config.leasequery, listen=()))


def as_plugins(given: Iterable[PluginLike], directory: Path) -> list[Plugin]:
    """Plugins, found, made with their settings and checked.

    Args:
        given: each as the daemon would be told of it.
        directory: where the files are that they name, and those that their settings name.

    Raises:
        ConfigError: one can't be found or made, or its settings are wrong.
    """
    if isinstance(given, str | Mapping):
        raise TypeError(f"expected a list of plugins, got {given!r}")
    loader = PluginLoader(directory)
    plugins: list[Plugin] = []
    wrong: list[Problem] = []
    for at, each in enumerate(given):
        try:
            plugins += [each] if isinstance(each, Plugin) else _made(loader, each)
        except Refusal as refusal:
            wrong += [problem.inside("plugins", at) for problem in refusal.problems]
            cause = refusal.__cause__
    if wrong:
        raise Source("the test").error(wrong) from cause
    return plugins


def _made(loader: PluginLoader, given: object) -> list[Plugin]:
    if not isinstance(given, Mapping):
        given = {"use": given}
    use = given.get("use")
    words = use if isinstance(use, str) else _label(use)
    try:
        table = PluginTable.model_validate({**given, "use": words} if "use" in given else given)
    except ValidationError as error:
        raise Refusal([Problem(where, said) for where, said in problems(error, PluginTable)]) from None
    how: dict[str, Any] = {"name": table.name or "", "policy": table.policy(), "settings": table.settings}
    return loader.load(words, **how) if isinstance(use, str) else loader.make(words, Found(use, "", _file(use)), **how)


def _label(use: object) -> str:
    named = use if inspect.isclass(use) or inspect.isroutine(use) else type(use)
    return use.__name__ if inspect.ismodule(use) else f"{named.__module__}:{named.__qualname__}"


def _file(use: object) -> str:
    try:
        return inspect.getfile(use if inspect.ismodule(use) or inspect.isroutine(use) else _class_of(use))
    except (OSError, TypeError):  # made where there is no file
        return ""


def _class_of(use: object) -> type:
    return use if inspect.isclass(use) else type(use)
