"""The ``aiodhcp`` command."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiodhcp import __version__
from aiodhcp.administration import COMMANDS, ConfigArgument, config_file, fail, load_settings
from aiodhcp.callout_commands import callout_app
from aiodhcp.capture_command import capture
from aiodhcp.client import (
    InterfaceLink,
    Link,
    ObtainedLease,
    RelayLink,
    describe,
    duration,
    message_name,
    obtain,
    release,
)
from aiodhcp.client_transaction import Event, opened
from aiodhcp.config import Settings
from aiodhcp.constants import SERVER_PORT
from aiodhcp.control import ControlSocket, Reloads
from aiodhcp.cursor_commands import cursors
from aiodhcp.describe import printable
from aiodhcp.errors import AiodhcpError
from aiodhcp.leasequery_tcp import tls_context
from aiodhcp.leases import NEVER, Lease, LeaseState
from aiodhcp.logs import setup
from aiodhcp.parameters import encode_settings
from aiodhcp.plugin_commands import new_plugin
from aiodhcp.renewal_commands import force_renew
from aiodhcp.replay_command import replay
from aiodhcp.stores.sqlite import read_leases

app = typer.Typer(
    name="aiodhcp",
    help="A DHCP server with hooks in plain Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
log = logging.getLogger("aiodhcp")

PATIENCE_AT_EXIT = 5.0
"""Seconds that what a plugin left behind may keep the process after the server has stopped."""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"aiodhcp {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A DHCP server with hooks in plain Python."""


@app.command()
def serve(
    config: ConfigArgument = None,
    interface: Annotated[
        list[str] | None, typer.Option("--interface", "-i", help="Serve here, without a file. May be repeated.")
    ] = None,
    subnet: Annotated[
        list[str] | None, typer.Option("--subnet", help="The network to serve, like 192.168.50.0/24. May be repeated.")
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", help="Addresses to give out, like 192.168.50.100-192.168.50.199 (all of the subnet)."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="What to tell clients, like routers=192.168.50.1. May be repeated."),
    ] = None,
    lease_time: Annotated[str | None, typer.Option("--lease-time", help="How long leases last, like 12h.")] = None,
    store: Annotated[Path | None, typer.Option("--store", help="The file in which leases are kept.")] = None,
    plugin: Annotated[
        list[str] | None, typer.Option("--plugin", help="A plugin: module or module:object. May be repeated.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the configuration and exit.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every packet.")] = False,
    json_log: Annotated[bool, typer.Option("--json-log", help="Log as JSON, one object a line.")] = False,
) -> None:
    """Run the server until SIGINT or SIGTERM; SIGHUP lets it read its configuration file again.

    Either with a configuration file, or with --interface and --subnet and no file at all.
    """
    file: Path | None = None
    given = {"plugins": plugin, "lease-time": lease_time, "store": {"path": str(store)} if store else None}
    if interface or subnet:
        if config is not None:
            fail("give either a configuration file, or --interface and --subnet", 2)
        if not (interface and subnet):
            fail("--interface and --subnet go together", 2)
        table = _table(interface, subnet, pool or [], option or [])
        settings = _load(None, {**table, **{key: value for key, value in given.items() if value}})
    else:
        if pool or option or lease_time or store or plugin:
            fail("--pool, --option, --lease-time, --store and --plugin go with --interface and --subnet", 2)
        settings = _load(config)
        file = config_file(config).absolute()
    if check:
        _report(settings)
        return

    def log_as(settings: Settings) -> None:
        setup("debug" if verbose else settings.log_level, as_json=json_log)

    log_as(settings)
    try:
        asyncio.run(_serve(settings, file, log_as))
    except (AiodhcpError, OSError) as error:
        fail(f"aiodhcp: {error}")


def _table(interfaces: list[str], subnets: list[str], pools: list[str], options: list[str]) -> dict[str, Any]:
    """What the options of ``serve`` say, as a configuration file would."""
    chosen: list[dict[str, Any]] = []
    for text in subnets:
        try:
            network = IPv4Network(text, strict=False)
        except ValueError:
            fail(f"--subnet: expected a network like 192.168.50.0/24, got {text!r}", 2)
        inside = [each for each in pools if _starts_in(each, network)]
        first, last = (network[0], network[-1]) if network.prefixlen > 30 else (network[1], network[-2])
        chosen.append({"subnet": str(network), "pools": inside or [f"{first}-{last}"]})
    lost = [each for each in pools if not any(each in subnet["pools"] for subnet in chosen)]
    if lost:
        fail(f"--pool: {lost[0]!r} is in none of the subnets {', '.join(subnets)}", 2)
    parsed: dict[str, Any] = {}
    for each in options:
        name, equals, value = each.partition("=")
        if not equals:
            fail(f"--option: expected name=value, got {each!r}", 2)
        parsed[name] = _value(name, f"{parsed[name]}, {value}" if name in parsed else value)
    return {"interfaces": interfaces, "subnet": chosen, "options": parsed}


def _starts_in(pool: str, network: IPv4Network) -> bool:
    try:
        return IPv4Address(pool.partition("-")[0].partition("/")[0].strip()) in network
    except ValueError:
        fail(f"--pool: expected a range like 192.168.50.100-192.168.50.199, got {pool!r}", 2)


def _value(name: str, text: str) -> str | int | bool:
    """An option's value on the command line: text, unless only a number or a boolean will do."""
    guesses: list[int | bool] = [int(text)] if text.isdecimal() else []
    guesses += [text.lower() == "true"] if text.lower() in ("true", "false") else []
    for guess in guesses:
        try:
            encode_settings({name: text})
        except ValueError:
            return guess
    return text


@app.command()
def check(config: ConfigArgument = None) -> None:
    """Check a configuration file, and its plugins, and exit."""
    _report(_load(config))


def _report(settings: Settings) -> None:
    try:
        settings.make_transport()
        plugins = settings.make_plugins()
        config = settings.config()
        if config.leasequery is not None:
            tls_context(config.leasequery)
    except AiodhcpError as error:
        fail(error)
    addresses = sum(pool.size for subnet in config.subnets for pool in subnet.pools)
    reservations = len(settings.reservation) + sum(len(subnet.reservation) for subnet in settings.subnet)
    print(
        f"the configuration is good: {len(settings.subnet)} subnets, {addresses} addresses, "
        f"{reservations} reservations, {len(plugins)} plugins{' (loaded, not started)' if plugins else ''}"
    )


def _load(config: Path | None, table: dict[str, Any] | None = None) -> Settings:
    if table is None:
        return load_settings(config, "--interface and --subnet")
    try:
        return Settings.of(table, "command line")
    except AiodhcpError as error:
        fail(error)


async def _serve(settings: Settings, file: Path | None, log_as: Callable[[Settings], None]) -> None:
    stopped = asyncio.Event()
    server = settings.server()
    reloads = Reloads(server, settings, file, log_as)
    _on_signals(stopped.set, "SIGINT", "SIGTERM", "SIGBREAK")  # the last is Windows': also if its console is closed
    _on_signals(reloads.begin, "SIGHUP")
    path = settings.control_path
    async with AsyncExitStack() as steps:
        if path is not None:
            # Before the server: whoever reads in the log that it serves may ask it at once.
            control = ControlSocket(server, path, lambda: reloads.reload())
            steps.push_async_callback(control.close)
            await control.start()
        steps.push_async_callback(reloads.end)
        steps.callback(_leave_soon, stopped)
        # A plugin may take its time to start, and somebody may not want to wait for it.
        starting = asyncio.ensure_future(steps.enter_async_context(server))
        stopping = asyncio.ensure_future(stopped.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            return
        starting.result()
        reloads.may_begin.set()
        await stopping


def _leave_soon(stopped: asyncio.Event) -> None:
    """The server has stopped: what resists its end, a hook or a thread of one, keeps the process only for a while."""

    def leave() -> None:
        log.warning("a plugin's task or thread does not end, and is not waited for any longer")
        logging.shutdown()
        os._exit(0 if stopped.is_set() else 1)

    timer = threading.Timer(PATIENCE_AT_EXIT, leave)
    timer.daemon = True
    timer.start()
    atexit.register(timer.cancel)


def _on_signals(call: Callable[[], None], *names: str) -> None:
    loop = asyncio.get_running_loop()
    for name in names:
        number = getattr(signal, name, None)
        if number is None:  # pragma: no cover - Windows
            continue
        try:
            loop.add_signal_handler(number, call)
        except NotImplementedError:  # pragma: no cover - Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))


@app.command()
def leases(
    config: ConfigArgument = None,
    store: Annotated[Path | None, typer.Option("--store", help="The lease file, instead of that of CONFIG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that ended: whose address was it last?")
    ] = False,
) -> None:
    """Show who has which address, also while the server runs."""
    if store is None:
        settings = _load(config)
        if settings.store.type != "sqlite":
            fail(f"a store of type {settings.store.type!r} can't be read from outside")
        store = settings.store_path
    try:
        found = read_leases(store)
    except AiodhcpError as error:
        fail(error)
    now = time.time()
    shown = [lease for lease in found if everything or lease_state(lease, now) in ("active", "declined")]
    if as_json:
        for lease in shown:
            print(json.dumps(lease_dict(lease, now)))
        return
    Console().print(lease_table(shown, now))


def lease_state(lease: Lease, now: float) -> str:
    """In a word, what became of a lease: one that is past its end has expired, whatever the store says."""
    if lease.state in (LeaseState.ACTIVE, LeaseState.DECLINED) and lease.expires <= now:
        return "expired"
    return lease.state.name.lower()


def lease_dict(lease: Lease, now: float) -> dict[str, object]:
    """A lease for ``--json``; times in ISO 8601 (UTC), None for never."""
    return {
        "address": str(lease.ip),
        "state": lease_state(lease, now),
        "hardware_address": lease.hardware_address,
        "hardware_type": lease.htype,
        "client": lease.client.hex(":"),
        "hostname": lease.hostname,
        "starts": datetime.fromtimestamp(lease.starts, UTC).isoformat(),
        "expires": None if lease.expires >= NEVER else datetime.fromtimestamp(lease.expires, UTC).isoformat(),
    }


def lease_table(found: Iterable[Lease], now: float) -> Table:
    """Leases as a table for a terminal."""
    table = Table("Address", "Hardware address", "Host name", "State", "Expires", box=None, pad_edge=False)
    for lease in found:
        left = "never" if lease.expires >= NEVER else _ago(lease.expires - now)
        name = Text(printable(lease.hostname or ""))
        table.add_row(str(lease.ip), lease.hardware_address, name, lease_state(lease, now), left)
    table.caption = f"{table.row_count} leases" if table.row_count != 1 else "1 lease"
    return table


def _ago(seconds: float) -> str:
    amount = abs(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if amount >= 2 * size:
            text = f"{amount / size:.0f}{unit}"
            break
    else:
        text = f"{amount:.0f}s"
    return f"in {text}" if seconds >= 0 else f"{text} ago"


@app.command()
def probe(
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", help="Ask on this interface, as a client without an address.")
    ] = None,
    relay: Annotated[
        str | None, typer.Option("--relay", help="Ask this server, host or host:port, as a relay agent does.")
    ] = None,
    giaddr: Annotated[str | None, typer.Option(help="The relay agent's address (the local one).")] = None,
    hardware_address: Annotated[str | None, typer.Option(help="The client's, like 02:00:00:00:00:01.")] = None,
    client_id: Annotated[str | None, typer.Option(help="The client identifier, as hex.")] = None,
    hostname: Annotated[str | None, typer.Option(help="The client's name.")] = None,
    request: Annotated[str | None, typer.Option(help="The address to wish for.")] = None,
    everyone: Annotated[
        bool, typer.Option("--all", "-a", help="Wait two seconds for the offers of all servers.")
    ] = False,
    release_after: Annotated[
        bool, typer.Option("--release", help="Give the lease back: the machine's own, if it is its hardware address.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the first answer; then it asks again.")] = 2.0,
    retries: Annotated[int, typer.Option(help="How often it asks again.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="The lease as JSON, without the exchange.")] = False,
) -> None:
    """Ask a server for a lease, and print the exchange. Nothing is configured with it."""
    if (interface is None) == (relay is None):
        fail("give either --interface or --relay", 2)
    wishes = {"client_id": client_id, "hostname": hostname, "requested": request}
    asking = {"timeout": timeout, "retries": retries, "wait_for_all": 2.0 if everyone else 0.0}
    try:
        link = _link(interface, relay, giaddr, hardware_address)
        lease = asyncio.run(_probe(link, release_after, None if as_json else _show_event, **wishes, **asking))
    except (AiodhcpError, ValueError) as error:
        fail(f"aiodhcp: {error}")
    if as_json:
        print(json.dumps(dict(describe(lease.ack))))
    else:
        print(f"{lease.address} from {lease.server} for {duration(lease.lease_time)}")


def _link(interface: str | None, relay: str | None, giaddr: str | None, hardware_address: str | None) -> Link:
    if interface is not None:
        return InterfaceLink(interface, hardware_address=hardware_address)
    host, _, port = (relay or "").partition(":")
    if port and not port.isdecimal():
        fail(f"--relay: expected host or host:port, got {relay!r}", 2)
    return RelayLink(host, int(port or SERVER_PORT), giaddr=giaddr, hardware_address=hardware_address)


async def _probe(
    link: Link, release_after: bool, on_event: Callable[[Event], None] | None, **wishes: Any
) -> ObtainedLease:
    async with opened(link):
        lease = await obtain(link, on_event=on_event, **wishes)
        if release_after:
            await release(link, lease, on_event=on_event)
    return lease


def _show_event(event: Event) -> None:
    arrow = f"-> {event.peer}" if event.direction == "sent" else f"<- {event.peer}"
    print(f"{event.seconds:8.3f} s  {message_name(event.packet)} {arrow}")
    for label, value in describe(event.packet)[1:]:
        print(f"            {label}: {value}")


@app.command()
def demo(once: Annotated[bool, typer.Option("--once", help="End by itself, instead of staying up.")] = False) -> None:
    """Show the server at work: a client gets a lease, and keeps it when the daemon is killed and started again."""
    from aiodhcp.demo import run

    try:
        run(once=once)
    except AiodhcpError as error:
        fail(f"aiodhcp: {error}")
    except KeyboardInterrupt:
        print()


for _command in (*COMMANDS, force_renew, cursors, capture, replay, new_plugin):
    app.command()(_command)
app.add_typer(callout_app)
