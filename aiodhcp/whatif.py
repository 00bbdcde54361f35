"""What if: what would become of a client's message, by a configuration, its plugins and the leases there are.

Nothing is sent, committed or kept. The plugins are called as for a real packet, but not started; except for native
callouts, which may rely on that they were.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from aiodhcp.config import Settings
from aiodhcp.constants import BROADCAST_ADDRESS, CLIENT_PORT, SERVER_PORT, ControlCode, MessageType, Op
from aiodhcp.engine import Engine
from aiodhcp.errors import AiodhcpError
from aiodhcp.exchange import Datagram, Exchange, Interface
from aiodhcp.explanation import Fact
from aiodhcp.hooks import Hooks
from aiodhcp.leases import Lease
from aiodhcp.offline import likely_address, serve
from aiodhcp.options import STANDARD_OPTIONS, Definitions
from aiodhcp.packet import Packet
from aiodhcp.registration import Plugin
from aiodhcp.runtime import HookTasks
from aiodhcp.stores.sqlite import read_leases
from aiodhcp.subnets import Config
from aiodhcp.transports.sockets import system_addresses

if TYPE_CHECKING:
    from aiodhcp.callout import Callouts

__all__ = ["Client", "hardware_octets", "option_octets", "what_if"]

ROUTERS, REQUESTED_ADDRESS, SERVER_ID = 3, 50, 54
XID: Final = 0x61696F64


@dataclass(frozen=True, slots=True)
class Client:
    """A client and what it says.

    Attributes:
        hardware_address: 1 to 16 octets.
        message: DISCOVER or REQUEST.
        address: the one that it wishes for; a REQUEST for it is that of a client that had it (INIT-REBOOT). A REQUEST
            without one takes what a DISCOVER before it was offered. 0 for none.
        relay: the address of the relay agent it is behind (``giaddr``); 0 for none.
        interface: where it is; empty for the first of the configuration.
        options: more of them, by code.
    """

    hardware_address: bytes
    message: MessageType = MessageType.DISCOVER
    address: int = 0
    relay: int = 0
    interface: str = ""
    options: Mapping[int, bytes] = field(default_factory=dict)


async def what_if(settings: Settings, client: Client) -> tuple[Exchange, list[Fact]]:
    """What would become of a client's message.

    Returns:
        the exchange, not committed, and the explanation: ``Exchange.explain()``, and what was supposed for it.

    Raises:
        ConfigError: a plugin can't be made.
        StoreError: the leases can't be read.
        AiodhcpError: the configuration has no such interface.
    """
    plugins = settings.make_plugins()
    callouts = _callouts(plugins)
    try:
        for each in callouts:
            await _told(each, ControlCode.START)
        return await _what_if(settings, client, plugins)
    finally:
        for each in callouts:
            await _told(each, ControlCode.STOP)


async def _told(callouts: Callouts, code: ControlCode) -> None:
    said = callouts.control(code)
    if said is not None:
        await said


def _callouts(plugins: Iterable[Plugin]) -> list[Callouts]:
    if "aiodhcp.callout" not in sys.modules:  # which nobody else has to wait for
        return []
    from aiodhcp.callout import CalloutPlugin

    return [each.plugin.callouts for each in plugins if isinstance(each.plugin, CalloutPlugin)]


async def _what_if(settings: Settings, client: Client, plugins: Sequence[Plugin]) -> tuple[Exchange, list[Fact]]:
    config, now = settings.config(), time.time()
    hooks = Hooks(plugins, HookTasks().runtime())
    leases, supposed = _leases(settings)
    engine = Engine(config, hooks, leases)
    engine.tracing = True
    engine.nonces.seed = os.urandom(32)
    interfaces = _interfaces(settings, config, client.relay)
    served = _chosen(interfaces, settings, client)
    engine.serve(interfaces)
    if interfaces[served]:
        supposed.append(Fact("supposed", interfaces[served]))
    if client.message == MessageType.REQUEST and not client.address:
        offer = await serve(engine, _datagram(client, served, MessageType.DISCOVER, client.options), now)
        if not offer.yiaddr:
            supposed.append(Fact("supposed", "a DISCOVER, because it is not offered an address to request"))
            return offer, [*supposed, *_explain(offer)]
        chosen = {
            **client.options,
            REQUESTED_ADDRESS: offer.yiaddr.to_bytes(4, "big"),
            SERVER_ID: offer.server_id.to_bytes(4, "big"),
        }
        supposed.append(Fact("supposed", "a REQUEST for what a DISCOVER was offered"))
        exchange = await serve(engine, _datagram(client, served, MessageType.REQUEST, chosen), now)
    else:
        wish = {REQUESTED_ADDRESS: client.address.to_bytes(4, "big")} if client.address else {}
        exchange = await serve(engine, _datagram(client, served, client.message, {**client.options, **wish}), now)
    return exchange, [*supposed, *_explain(exchange)]


def hardware_octets(text: str) -> bytes:
    """A hardware address as octets.

    Raises:
        ValueError: it is not one like ``02:00:00:00:00:01``, with 1 to 16 octets.
    """
    try:
        octets = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        octets = b""
    if not 1 <= len(octets) <= 16:
        raise ValueError(f"expected a hardware address like 02:00:00:00:00:01, got {text!r}")
    return octets


def option_octets(name: str, text: str, definitions: Definitions = STANDARD_OPTIONS) -> tuple[int, bytes]:
    """An option of a client, as it is written on a command line: its code and its octets.

    Args:
        name: or code.
        text: a value as the configuration has it, lists separated by commas; or octets like ``01:02:ff``.
        definitions: which names there are.

    Raises:
        ValueError: there is no such option, or it can't have that value.
    """
    code = definitions.find(name).code
    words = [each.strip() for each in text.split(",")]
    guesses: list[object] = [text]
    guesses += [int(text)] if text.isdecimal() else []
    guesses += [text.lower() == "true"] if text.lower() in ("true", "false") else []
    guesses += [words, [int(each) if each.isdecimal() else each for each in words], [each.encode() for each in words]]
    refused: ValueError | None = None
    for guess in guesses:
        try:
            return definitions.encode(code, guess)
        except ValueError as error:
            refused = refused or error
    try:
        return code, bytes.fromhex(text.replace(":", ""))
    except ValueError:
        assert refused is not None
        raise refused from None


def _leases(settings: Settings) -> tuple[list[Lease], list[Fact]]:
    if settings.store.type != "sqlite":
        return [], [Fact("supposed", f"no leases: a store of type {settings.store.type!r} can't be read from outside")]
    if not settings.store_path.exists():
        return [], [Fact("supposed", f"no leases: there is no {settings.store_path}")]
    return read_leases(settings.store_path), []


def _interfaces(settings: Settings, config: Config, relay: int) -> dict[Interface, str]:
    """The interfaces that the server would have, and what had to be supposed of each. It is not the relay agent."""
    found = system_addresses()
    if settings.transport.type != "ethernet":
        host = settings.transport.host
        own = tuple(address for each in found.values() for address, _ in each)
        try:
            own = own if host == "0.0.0.0" else (int(IPv4Address(host)),)
        except ValueError:  # a name
            pass
        return {Interface(settings.transport.type, own): ""}
    interfaces: dict[Interface, str] = {}
    for name in settings.interfaces:
        addresses, words = tuple(address for address, _ in found.get(name, ())), ""
        if not addresses:
            likely = likely_address(config, name, relay)
            addresses = (likely,) if likely else ()
            has = IPv4Address(likely) if likely else "no address"
            words = f"{name} has {has}: on this machine it has none, or there is no such interface"
        interfaces[Interface(name, addresses)] = words
    return interfaces


def _chosen(interfaces: Mapping[Interface, str], settings: Settings, client: Client) -> Interface:
    if settings.transport.type == "relay" and not client.relay:
        raise AiodhcpError("the configuration serves relay agents only: name one with --relay")
    by_name = {each.name: each for each in interfaces}
    if client.interface and client.interface not in by_name:
        raise AiodhcpError(f"the configuration does not serve {client.interface!r}, but {', '.join(by_name)}")
    return by_name[client.interface] if client.interface else next(iter(interfaces))


def _datagram(client: Client, interface: Interface, kind: MessageType, options: Mapping[int, bytes]) -> Datagram:
    packet = Packet(
        op=int(Op.BOOTREQUEST),
        hrd=1,
        hln=len(client.hardware_address),
        xid=XID,
        giaddr=client.relay,
        chaddr=client.hardware_address,
        sname=b"",
        file=b"",
        options={"message-type": kind, **options},
    )
    if not client.relay:
        return Datagram(bytes(packet), interface, 0, CLIENT_PORT, BROADCAST_ADDRESS)
    destination = interface.addresses[0] if interface.addresses else 0
    return Datagram(bytes(packet), interface, client.relay, SERVER_PORT, destination)


def _explain(exchange: Exchange) -> list[Fact]:
    facts = exchange.explain()
    if exchange.probe:
        words = f"that nobody uses {IPv4Address(exchange.probe)}: the server would ask the network first"
        facts.insert(0, Fact("supposed", words))
    return facts
