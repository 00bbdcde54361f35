"""Registration: plugins as they are given → implementations of hooks in the order of calling. pluggy checks them."""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

import pluggy

from aiodhcp import hookspecs, serverspecs
from aiodhcp.errors import ConfigError
from aiodhcp.hooktable import HOOKS
from aiodhcp.implementations import Implementation, where
from aiodhcp.policies import DEFAULT_POLICY, UNSAID, Policy
from aiodhcp.verdicts import Drop, Nak, Use
from aiodhcp.wording import did_you_mean

__all__ = ["Plugin", "Registry", "plugin_name"]

log = logging.getLogger("aiodhcp.hooks")


@dataclass(frozen=True, slots=True, eq=False)
class Plugin:
    """A plugin and how its hooks are run, for ``DhcpServer(plugins=[...])``.

    Attributes:
        plugin: a module or an object with ``hookimpl`` functions.
        name: what it is called in the log; its own ``name``, or that of its module or class, if empty.
        policy: overrules what its decorators say.
        settings: what the configuration says to it, for ``aiodhcp hooks``.
        source: where it was found, likewise.
    """

    plugin: object
    name: str = ""
    policy: Policy = UNSAID
    settings: Any = None
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.policy, Policy):
            raise TypeError(f"expected a name and a Policy, got {self.name!r} and {self.policy!r}")


class Registry:
    """The plugins of one server, registered with pluggy.

    Args:
        plugins: modules, objects or ``Plugin``, in configured order.

    Raises:
        ConfigError: a hook or an argument is misspelt, a plugin is given twice, an implementation is of a sort that
            is not called there; names file and line.
    """

    def __init__(self, plugins: Iterable[object]) -> None:
        self._pluggy: Final = pluggy.PluginManager("aiodhcp")
        for specs in (hookspecs, serverspecs):
            self._pluggy.add_hookspecs(specs)
        given = [each if isinstance(each, Plugin) else Plugin(each) for each in plugins]
        for each in given:
            if isinstance(each.plugin, str):
                raise ConfigError(f"plugin {each.plugin!r}: expected an object, not its name; load_plugin finds it")
        self.plugins: Sequence[Plugin] = tuple(_named(given))
        # pluggy calls the last registered first.
        for each in reversed(self.plugins):
            self._register(each.plugin, each.name)
        self._policies = {each.name: each.policy for each in self.plugins}

    def implementations(self, hook: str) -> list[Implementation]:
        """Those of a hook, in the order of calling.

        Raises:
            ConfigError: one is of a sort that is not called there.
        """
        caller: pluggy.HookCaller = getattr(self._pluggy.hook, hook)
        found = [self._implementation(each, hook) for each in reversed(caller.get_hookimpls())]
        return sorted(found, key=lambda each: -each.priority)

    def _register(self, plugin: object, name: str) -> None:
        if self._pluggy.is_registered(plugin):
            raise ConfigError(f"plugin {name.partition('#')[0]} is given twice")
        try:
            self._pluggy.register(plugin, name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise ConfigError(_explain(plugin, name, error)) from None
        if not self._pluggy.get_hookcallers(plugin):
            log.warning("plugin %s implements no hook%s", name, _unmarked(plugin))

    def _implementation(self, found: pluggy.HookImpl, hook: str) -> Implementation:
        name, calling = found.plugin_name, HOOKS[hook]
        function = found.function

        def wrong(words: str) -> ConfigError:
            return ConfigError(f"{where(function)}: plugin {name}: {hook} {words}")

        if found.hookwrapper or found.wrapper:
            raise wrong("is a wrapper, which aiodhcp doesn't call")
        wanted = tuple(found.argnames)
        try:
            inspect.signature(function, follow_wrapped=False).bind(*wanted)
        except (TypeError, ValueError) as error:
            # Keyword-only arguments; a method without ``self``, or of a class that was given instead of an instance.
            raise wrong(f"can't be called with {wanted}: {error}") from None
        if not calling.may_wait and inspect.iscoroutinefunction(function):
            raise wrong("is called where nothing may wait: make it def, not async def")
        for verdict in _verdicts(function):
            if verdict not in calling.verdicts:
                allowed = ", ".join(each.__name__ for each in calling.verdicts) or "none"
                raise wrong(f"may return {verdict.__name__}, as it says itself, which means nothing there: {allowed}")
        said: Policy = getattr(function, "aiodhcp_policy", UNSAID)
        if not calling.may_drop and "drop" in (said.on_error, said.on_timeout):
            raise wrong("has no packet to drop: on_error and on_timeout can't be 'drop'")
        policy = DEFAULT_POLICY.under(calling.policy).under(said).under(self._policies[name])
        return Implementation(name, hook, function, wanted, calling.arguments, policy)


def _unmarked(plugin: object) -> str:
    """What may have been meant as a hook."""
    for name in HOOKS:
        function = inspect.getattr_static(plugin, name, None)
        if callable(function):
            return f": {name} is not marked with @hookimpl ({where(function)})"
    for name, inner in vars(plugin).items() if inspect.ismodule(plugin) else ():
        if inspect.isclass(inner) and any(hasattr(each, "aiodhcp_impl") for each in vars(inner).values()):
            return f": its class {name} does, so add ':{name}' to its name"
    return ""


def _named(plugins: Iterable[Plugin]) -> Iterator[Plugin]:
    """Each with a name of its own, in their order: ``guests``, ``guests#2``."""
    taken: set[str] = set()
    for each in plugins:
        name = unique = each.name or plugin_name(each.plugin)
        count = 2
        while unique in taken:
            unique, count = f"{name}#{count}", count + 1
        taken.add(unique)
        yield replace(each, name=unique)


def _verdicts(function: Any) -> Iterator[type]:
    """The verdicts that a function says it may return, if it says anything that can be understood."""
    function = inspect.unwrap(function)
    # The return alone: the types of arguments are often imported for type checkers only.
    said = {"return": getattr(function, "__annotations__", {}).get("return")}
    try:
        said = typing.get_type_hints(SimpleNamespace(__annotations__=said), getattr(function, "__globals__", {}))
    except Exception:  # names that are there for type checkers only
        return
    waiting = [said["return"]]
    while waiting:
        each = waiting.pop()
        for verdict in (Drop, Nak, Use):
            if verdict in (each, typing.get_origin(each)):
                yield verdict
        waiting.extend(typing.get_args(each))


def _explain(plugin: object, name: str, error: pluggy.PluginValidationError) -> str:
    """What pluggy found wrong, in words that help."""
    # Its own, where it is something else, without its repr of the plugin.
    words = " ".join(str(error).removeprefix(f"Plugin {name!r} for ").partition(" in plugin ")[0].splitlines())
    culprit: Any = plugin
    for attribute in dir(plugin):
        function = inspect.getattr_static(plugin, attribute, None)
        function = getattr(function, "__func__", function)
        options = getattr(function, "aiodhcp_impl", None)
        if options is None:
            continue
        hook = options["specname"] or attribute
        if hook not in HOOKS:
            if not options["optionalhook"]:
                words, culprit = f"unknown hook {hook!r}{did_you_mean(hook, HOOKS) or '.'}", function
            continue
        known = HOOKS[hook].arguments
        wrong = set(pluggy.HookImpl(plugin, name, getattr(plugin, attribute), options).argnames) - known.keys()
        if wrong:
            argument = min(wrong)
            words = (
                f"{hook} has no argument {argument!r}{did_you_mean(argument, known) or '.'} It has {', '.join(known)}"
            )
        if wrong or f"hook {hook!r}" in words:
            culprit = function
    return f"{where(culprit)}: plugin {name}: {words}"


def plugin_name(plugin: object) -> str:
    """What a plugin is called: its ``name`` if it has one, or the name of its module or class."""
    name = getattr(plugin, "name", None)
    if isinstance(name, str) and name:
        return name
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        return plugin.__name__
    return type(plugin).__name__
