"""How hooks are called. pluggy declares, validates, registers and orders; the calls are made here.

In configured order, awaiting what is awaitable, each implementation on its own: what one raises stops no other.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

import pluggy

from aiodhcp import hookspecs
from aiodhcp.constants import ClientType, ControlCode, DropReason
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Drop, Exchange
from aiodhcp.leases import Lease
from aiodhcp.packet import Packet

if TYPE_CHECKING:
    from aiodhcp.server import DhcpServer

__all__ = ["Hook", "Hooks", "Implementation", "load_plugin"]

log = logging.getLogger("aiodhcp.hooks")


@dataclass(frozen=True, slots=True, eq=False)
class Implementation:
    """One plugin's implementation of one hook.

    Attributes:
        plugin: the plugin's name.
        hook: the hook's name.
        function: the implementation.
        arguments: the names of the arguments it takes.
        call: the function, taking all arguments of the hook by position.
    """

    plugin: str
    hook: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    call: Callable[..., Any]

    @property
    def where(self) -> str:
        """File and line."""
        return _where(self.function)


class Hook:
    """One hook of one server: its implementations in the order of calling. False when there is none."""

    def __init__(
        self,
        name: str,
        implementations: Iterable[Implementation],
        failed: Callable[[Implementation, str, BaseException | None], None],
        accept: Callable[[Exchange, Any], bool] | None,
    ) -> None:
        self.name = name
        self.implementations = tuple(implementations)
        self._failed = failed
        self._accept = accept

    def __bool__(self) -> bool:
        return bool(self.implementations)

    def run(
        self, exchange: Exchange | None, arguments: Callable[[], tuple[Any, ...]], at: int = 0
    ) -> Awaitable[None] | None:
        """Call the implementations from the ``at``-th on.

        Args:
            exchange: the packet they are called for, if it is for one.
            arguments: gives the hook's arguments, in order, afresh for each implementation.

        Returns:
            None when all is done; what has to be awaited when an implementation is ``async``.
        """
        for i in range(at, len(self.implementations)):
            implementation = self.implementations[i]
            if exchange is not None:
                exchange.plugin = implementation
            try:
                result = implementation.call(*arguments())
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # a ``def`` hook may raise asyncio's CancelledError, too
                self._failed(implementation, "raised", error)
                continue
            if result is not None:
                if inspect.isawaitable(result):
                    return self._resume(exchange, arguments, i, result)
                self._take(exchange, implementation, result)
        return None

    async def _resume(
        self, exchange: Exchange | None, arguments: Callable[[], tuple[Any, ...]], at: int, begun: Awaitable[Any]
    ) -> None:
        implementation = self.implementations[at]
        try:
            result = await begun
        except Exception as error:
            self._failed(implementation, "raised", error)
        else:
            if result is not None:
                self._take(exchange, implementation, result)
        rest = self.run(exchange, arguments, at + 1)
        if rest is not None:
            await rest

    def _take(self, exchange: Exchange | None, implementation: Implementation, result: Any) -> None:
        if exchange is None or self._accept is None or not self._accept(exchange, result):
            self._failed(implementation, f"returned {result!r}, which means nothing there", None)


class Hooks:
    """The plugins of one server, and a way to fire each hook.

    Args:
        plugins: modules or objects, in the order in which they are to be called.

    Raises:
        ConfigError: a hook or an argument is misspelt, or a plugin is given twice; names file and line.
    """

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        self.plugins: tuple[object, ...] = tuple(plugins)
        self.failures: Counter[tuple[str, str]] = Counter()
        """How often an implementation failed, by plugin and hook."""
        self._pluggy: Final = pluggy.PluginManager("aiodhcp")
        self._pluggy.add_hookspecs(hookspecs)
        # pluggy calls the last registered first.
        for plugin in reversed(self.plugins):
            self._register(plugin)
        self.dhcp_control = self._hook("dhcp_control")
        self.dhcp_new_pkt = self._hook("dhcp_new_pkt", _accept_packet)
        self.dhcp_pkt_drop = self._hook("dhcp_pkt_drop")
        self.dhcp_pkt_send = self._hook("dhcp_pkt_send", _accept_reply)
        self.dhcp_address_del = self._hook("dhcp_address_del")
        self.dhcp_address_offer = self._hook("dhcp_address_offer")
        self.dhcp_handle_options = self._hook("dhcp_handle_options")
        self.dhcp_delete_client = self._hook("dhcp_delete_client")
        for name in ("dhcp_extension", "dhcp_reserved"):
            for implementation in self._hook(name).implementations:
                log.warning(
                    "plugin %s: %s is reserved and never called (%s)", implementation.plugin, name, implementation.where
                )

    # One method a hook: who may be told, and what.

    async def control(self, server: DhcpServer, code: ControlCode) -> None:
        """Fire ``dhcp_control``.

        Raises:
            ConfigError: a plugin refused the start; those that were told of it before hear that it is over.
        """
        await self._control(server, code, self.dhcp_control.implementations)

    async def _control(self, server: DhcpServer, code: ControlCode, told: Sequence[Implementation]) -> None:
        for at, implementation in enumerate(told):
            try:
                result = implementation.call(server, code)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                if code == ControlCode.START:
                    await self._control(server, ControlCode.STOP, told[:at])
                    raise ConfigError(f"plugin {implementation.plugin} refused the start: {error}") from error
                self._failed(implementation, "raised", error)

    def new_pkt(self, exchange: Exchange) -> Awaitable[None] | None:
        """Fire ``dhcp_new_pkt``."""
        return self.dhcp_new_pkt.run(exchange, lambda: (exchange.packet, exchange))

    def handle_options(self, exchange: Exchange) -> Awaitable[None] | None:
        """Fire ``dhcp_handle_options``."""
        packet = exchange.packet
        assert packet is not None
        return self.dhcp_handle_options.run(exchange, lambda: (packet, packet.options, exchange))

    def pkt_drop(self, exchange: Exchange, reason: DropReason) -> Awaitable[None] | None:
        """Fire ``dhcp_pkt_drop``."""
        return self.dhcp_pkt_drop.run(exchange, lambda: (exchange.packet, reason, exchange))

    def pkt_send(self, exchange: Exchange) -> Awaitable[None] | None:
        """Fire ``dhcp_pkt_send``."""
        return self.dhcp_pkt_send.run(exchange, lambda: (exchange.packet, exchange.reply, exchange))

    def address_del(self, exchange: Exchange) -> Awaitable[None] | None:
        """Fire ``dhcp_address_del``."""
        address = IPv4Address(exchange.problem_address)
        return self.dhcp_address_del.run(exchange, lambda: (exchange.packet, exchange.problem, address, exchange))

    def address_offer(self, exchange: Exchange) -> Awaitable[None] | None:
        """Fire ``dhcp_address_offer``."""
        address, kind, seconds = IPv4Address(exchange.yiaddr), exchange.kind, exchange.lease_time
        return self.dhcp_address_offer.run(
            exchange, lambda: (exchange.packet, kind, address, ClientType.DHCP, seconds, exchange)
        )

    def delete_client(self, lease: Lease) -> Awaitable[None] | None:
        """Fire ``dhcp_delete_client``."""
        return self.dhcp_delete_client.run(None, lambda: (IPv4Address(lease.address), lease.chaddr))

    def _register(self, plugin: object) -> None:
        name = plugin_name(plugin)
        if self._pluggy.is_registered(plugin):
            raise ConfigError(f"plugin {name} is given twice")
        unique, count = name, 2
        while self._pluggy.has_plugin(unique):
            unique, count = f"{name}#{count}", count + 1
        try:
            self._pluggy.register(plugin, unique)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise ConfigError(_explain(plugin, unique, error)) from None

    def _hook(self, name: str, accept: Callable[[Exchange, Any], bool] | None = None) -> Hook:
        caller: pluggy.HookCaller = getattr(self._pluggy.hook, name)
        assert caller.spec is not None
        every = caller.spec.argnames
        implementations = [_implementation(found, name, tuple(every)) for found in reversed(caller.get_hookimpls())]
        return Hook(name, implementations, self._failed, accept)

    def _failed(self, implementation: Implementation, what: str, error: BaseException | None) -> None:
        key = (implementation.plugin, implementation.hook)
        self.failures[key] += 1
        # Once in full; then at 10, 100, 1000 ... failures, so that a plugin that always fails doesn't fill the disk.
        count = self.failures[key]
        if str(count).rstrip("0") == "1":
            log.error(
                "plugin %s: %s %s%s (%s; %d so far)",
                implementation.plugin,
                implementation.hook,
                what,
                "" if error is None else f" {error!r}",
                implementation.where,
                count,
                exc_info=error if count == 1 else None,
            )


def _accept_packet(exchange: Exchange, result: Any) -> bool:
    if isinstance(result, Drop):
        assert exchange.plugin is not None
        exchange.vetoed = True
        exchange.why = f"vetoed by {exchange.plugin.plugin}" + (f": {result.why}" if result.why else "")
        return True
    if isinstance(result, Packet):
        exchange.packet = result
        return True
    return False


def _accept_reply(exchange: Exchange, result: Any) -> bool:
    if isinstance(result, Packet):
        exchange.reply = result
        return True
    return False


def _implementation(found: pluggy.HookImpl, hook: str, every: tuple[str, ...]) -> Implementation:
    if found.hookwrapper or found.wrapper:
        raise ConfigError(
            f"{_where(found.function)}: plugin {found.plugin_name}: {hook} is a wrapper, which aiodhcp doesn't call"
        )
    function: Callable[..., Any] = found.function
    wanted = tuple(found.argnames)
    try:
        inspect.signature(function, follow_wrapped=False).bind(*wanted)
    except TypeError as error:
        # Keyword-only arguments; or the method of a class that was given instead of an instance.
        raise ConfigError(
            f"{_where(function)}: plugin {found.plugin_name}: {hook} can't be called with {wanted}: {error}"
        ) from None
    call = function
    if wanted != every:
        places = [every.index(name) for name in wanted]

        def call(*arguments: Any) -> Any:
            return function(*[arguments[place] for place in places])

    return Implementation(found.plugin_name, hook, function, wanted, call)


def _where(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)


def _explain(plugin: object, name: str, error: pluggy.PluginValidationError) -> str:
    # pluggy's words without its repr of the plugin.
    words = " ".join(str(error).removeprefix(f"Plugin {name!r} for ").partition(" in plugin ")[0].splitlines())
    culprit: Any = plugin
    for attribute in dir(plugin):
        function = inspect.getattr_static(plugin, attribute, None)
        options = getattr(function, "aiodhcp_impl", None) or {}
        if f"hook {options.get('specname') or attribute!r}" in words:
            culprit = function
    return f"{_where(culprit)}: plugin {name}: {words}"


def plugin_name(plugin: object) -> str:
    """What a plugin is called: its ``name`` if it has one, or the name of its module or class."""
    name = getattr(plugin, "name", None)
    if isinstance(name, str):
        return name
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        return plugin.__name__
    return type(plugin).__name__


def load_plugin(name: str) -> object:
    """The plugin that a configuration names.

    Args:
        name: ``"package.module"``, or ``"package.module:attribute"`` for an object in it; a class is instantiated.

    Raises:
        ConfigError: it can't be imported, or has no such attribute.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"plugin {name!r} can't be imported: {error!r}") from error
    if not attribute:
        return module
    try:
        plugin: object = getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f"plugin {name!r}: {module.__file__} has no {attribute!r}") from None
    if inspect.isclass(plugin):
        try:
            return plugin()
        except Exception as error:
            raise ConfigError(f"plugin {name!r}: {attribute} can't be made: {error!r}") from error
    return plugin
