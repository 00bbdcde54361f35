"""The commands of ``aiodhcp`` that ask a running server, and explain what it does."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiodhcp.config import Settings, load_config
from aiodhcp.constants import MessageType
from aiodhcp.control import NotRunning, ask, declined_report, explained, hooks_report
from aiodhcp.describe import printable
from aiodhcp.errors import AiodhcpError
from aiodhcp.hooks import Hooks
from aiodhcp.leases import LeaseState
from aiodhcp.plugins import available_plugins
from aiodhcp.stores.sqlite import read_leases
from aiodhcp.whatif import Client, hardware_octets, option_octets, what_if

__all__ = [
    "COMMANDS",
    "DEFAULT_CONFIG",
    "ConfigArgument",
    "ControlOption",
    "JsonOption",
    "ask_server",
    "columns",
    "config_file",
    "fail",
    "load_settings",
]

DEFAULT_CONFIG: Final = Path("/etc/aiodhcp/aiodhcp.toml")
NOTES_SHOWN: Final = 10

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help=f"The configuration file ({DEFAULT_CONFIG} if there is one).")
]
ControlOption = Annotated[
    Path | None, typer.Option("--control", metavar="PATH", help="The control socket, instead of that of CONFIG.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
T = TypeVar("T")


def fail(message: object, status: int = 1) -> NoReturn:
    """Say what is wrong, and exit.

    Raises:
        typer.Exit: always; with 1 for what failed, 2 for wrong usage.
    """
    print(message, file=sys.stderr)
    raise typer.Exit(status)


def config_file(config: Path | None) -> Path:
    """The configuration file that an argument names, or the one that there usually is."""
    return config or DEFAULT_CONFIG


def load_settings(config: Path | None, otherwise: str) -> Settings:
    """The configuration that an argument names, or the one that is there when it names none.

    Args:
        config: the argument.
        otherwise: what else could be given, in words.

    Raises:
        typer.Exit: there is none, or it is wrong.
    """
    path = config_file(config)
    if config is None and not path.exists():
        fail(f"there is no {path}: name a configuration file, or give {otherwise}", 2)
    try:
        # Plugins may stand beside the file that names them.
        sys.path.insert(0, str(path.resolve().parent))
        return load_config(path)
    except AiodhcpError as error:
        fail(error)


def _socket(config: Path | None, control: Path | None) -> Path:
    if control is not None:
        return control
    path = load_settings(config, "--control").control_path
    if path is None:
        fail("the configuration has no control socket: see its key 'control'")
    return path


def ask_server(config: Path | None, control: Path | None, command: str, **arguments: str) -> Any:
    """Ask the server of a configuration, or at a control socket; its answer.

    Raises:
        typer.Exit: it does not run, or refuses.
    """
    path = _socket(config, control)
    return _run(ask(path, command, **arguments))


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(coroutine)
    except AiodhcpError as error:
        fail(f"aiodhcp: {error}")


# ── to ask a server to do something ──────────────────────────────────────────────────────────────────────────────────


def delete(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The address to take from its client.")],
    config: ConfigArgument = None,
    control: ControlOption = None,
) -> None:
    """Delete a lease, or end the probation of a declined address. The client is refused when it renews."""
    try:
        IPv4Address(address)
    except ValueError:
        fail(f"expected an address like 192.168.50.100, got {address!r}", 2)
    lease = ask_server(config, control, "delete", address=address)
    if lease is None:
        fail(f"aiodhcp: there is no lease of {address}")
    whose = lease["hardware_address"] or lease["client"]
    name = f" ({printable(lease['hostname'])})" if lease["hostname"] else ""
    print(f"deleted: {address}, which was {lease['state']}" + (f", of {whose}{name}" if whose else ""))


def declined(
    config: ConfigArgument = None,
    clear: Annotated[str, typer.Option("--clear", metavar="ADDRESS", help="End the probation of this address.")] = "",
    clear_all: Annotated[bool, typer.Option("--clear-all", help="End the probation of all.")] = False,
    control: ControlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the addresses that nobody gets, because they were found in use; or let them be given out again."""
    if clear:
        try:
            clear = str(IPv4Address(clear))
        except ValueError:
            fail(f"--clear: expected an address like 192.168.50.100, got {clear!r}", 2)
    if clear and clear_all:
        fail("--clear and --clear-all don't go together", 2)
    if clear or clear_all:
        cleared = ask_server(config, control, "declined", clear=clear or "all")
        if clear and not cleared:
            fail(f"aiodhcp: {clear} is not declined")
        if as_json:
            print(json.dumps(cleared))
        else:
            columns(("cleared", each["address"]) for each in cleared)
        return
    found = _declined(config, control)
    if as_json:
        print(json.dumps(found))
        return
    table = _table("", "Address", "Found in use by", "Since", "Until")
    table.title = None
    for each in found:
        answered = each["answered"]
        who = each["hardware_address"] or (f"the server: {answered}" if answered else "a client")
        _row(table, each["address"], who, _when(each["since"], "seconds"), _when(each["until"], "seconds"))
    _console().print(table if found else "no address is declined")


def _declined(config: Path | None, control: Path | None) -> list[dict[str, Any]]:
    """What the server says, or the lease file where none runs."""
    settings = None if control is not None else load_settings(config, "--control")
    path = control if settings is None else settings.control_path
    try:
        if path is not None:
            return list(asyncio.run(ask(path, "declined")))
    except NotRunning as error:
        if settings is None:
            fail(f"aiodhcp: {error}")
    except AiodhcpError as error:
        fail(f"aiodhcp: {error}")
    assert settings is not None
    if settings.store.type != "sqlite":
        fail(f"aiodhcp: no server runs, and a store of type {settings.store.type!r} can't be read from outside")
    try:
        leases = read_leases(settings.store_path)
    except AiodhcpError as error:
        fail(f"aiodhcp: {error}")
    now = time.time()
    return declined_report(each for each in leases if each.state == LeaseState.DECLINED and each.expires > now)


def reload(config: ConfigArgument = None, control: ControlOption = None) -> None:
    """Let the server read its configuration file and its plugins again. No packet is lost."""
    print(ask_server(config, control, "reload"))


def pause(config: ConfigArgument = None, control: ControlOption = None) -> None:
    """Let the server drop every packet, until it is resumed."""
    print(ask_server(config, control, "pause")["status"])


def resume(config: ConfigArgument = None, control: ControlOption = None) -> None:
    """Let a paused server serve again."""
    print(ask_server(config, control, "resume")["status"])


# ── to ask how it is ─────────────────────────────────────────────────────────────────────────────────────────────────


def status(config: ConfigArgument = None, control: ControlOption = None, as_json: JsonOption = False) -> None:
    """Show how the server is, and what it has counted. The exit status is 1 unless all is well."""
    stats = ask_server(config, control, "stats")
    health = stats["health"]
    if as_json:
        print(json.dumps(stats))
    else:
        lines = [("status", health["status"]), ("why", health["why"])]
        lines += [(key, stats[key]) for key in ("leases", "received", "sent", "dropped", "vetoed")]
        lines += [("in flight", health["in_flight"]), ("uncommitted", health["uncommitted"])]
        columns((what, _counts(value)) for what, value in lines if value != "")
        console = _console()
        for title, key in (("Subnet", "subnet"), ("Shared network", "name")):
            rows = stats[f"{title.lower().replace(' ', '_')}s"]
            if rows:
                console.print()
                console.print(_utilisation(title, key, rows))
    if health["status"] != "ok":
        raise typer.Exit(1)


def hooks(config: ConfigArgument = None, control: ControlOption = None, as_json: JsonOption = False) -> None:
    """Show which plugins there are, which are loaded, in which order, and how their hooks do."""
    directory = report = None
    path = control
    settings: Settings | None = None
    if control is None:
        settings = load_settings(config, "--control")
        path, directory = settings.control_path, settings.directory
    try:
        report = asyncio.run(ask(path, "hooks")) if path is not None else None
    except NotRunning as error:
        if settings is None:
            fail(f"aiodhcp: {error}")
    except AiodhcpError as error:
        fail(f"aiodhcp: {error}")
    running = report is not None
    if report is None:
        assert settings is not None
        try:
            report = hooks_report(Hooks(settings.make_plugins()))
        except AiodhcpError as error:
            fail(error)
    available = [asdict(each) for each in available_plugins(directory)]
    if as_json:
        print(json.dumps({"running": running, "available": available, **report}, default=str))
        return
    console = _console()
    console.print(_available(available))
    if not running:
        console.print("\nnot running: this is what the configuration says\n")
    else:
        console.print()
    console.print(_loaded(report["plugins"]))
    console.print()
    console.print(_hooks(report["hooks"], running))
    if report["shadow"]:
        console.print()
        console.print(_shadow(report["shadow"]))


def _console() -> Console:
    """As wide as the terminal; as wide as it takes where there is none."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(width=1000, highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _utilisation(title: str, key: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    counts = ("addresses", "in_use", "offered", "declined", "reserved", "free")
    table = _table("", title, *(each.replace("_", " ").capitalize() for each in counts), "Utilisation")
    table.title = None
    for column in table.columns[1:]:
        column.justify = "right"
    for each in rows:
        taken, size = each["in_use"] + each["declined"], each["addresses"]
        # Rounded down: only what is full has 100%.
        _row(table, each[key], *(each[count] for count in counts), f"{taken * 100 // size}%" if size else "-")
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*[Text(printable(str(cell))) for cell in cells])


def _available(available: Iterable[Mapping[str, str]]) -> Table:
    table = _table("Available", "Use", "Is", "Where", "Summary")
    for each in available:
        _row(table, each["use"], each["kind"], each["where"], each["summary"])
    return table


def _loaded(plugins: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("Loaded, in this order", "#", "Plugin", "State", "From", "Settings")
    for at, each in enumerate(plugins, 1):
        settings = "" if each["settings"] is None else json.dumps(each["settings"], default=str)
        _row(table, at, each["name"], each["state"], each["source"], settings)
    if not table.row_count:
        _row(table, "", "none")
    return table


def _hooks(metrics: Iterable[Mapping[str, Any]], running: bool) -> Table:
    numbers = ("calls", "errors", "timeouts", "vetoes", "skipped", "blocked", "differences")
    names = [each.capitalize() for each in numbers] if running else []
    table = _table("Hooks, in the order of calling", "Hook", "Plugin", "State", *names, *(("p50", "p99") * running))
    for column in table.columns[3:]:
        column.justify = "right"
    for each in metrics:
        cells = [each[number] for number in numbers] + [_quantile(each["histogram"], q) for q in (0.5, 0.99)]
        _row(table, each["hook"], each["plugin"], each["state"], *(cells * running))
    return table


def _shadow(notes: list[Mapping[str, Any]]) -> Table:
    table = _table("What plugins in shadow mode would have changed last", "When", "Plugin", "Hook", "Client", "Would")
    for each in notes[-NOTES_SHOWN:]:
        _row(table, _when(each["when"]), each["plugin"], each["hook"], each["hardware_address"], each["would"])
    return table


def _quantile(histogram: Iterable[tuple[float | None, int]], share: float) -> str:
    """A time that this share of all calls took less than; empty if there was none."""
    buckets = list(histogram)
    rank = math.ceil(share * sum(count for _, count in buckets))
    longest = 0.0
    for seconds, count in buckets:
        rank -= count
        if rank <= 0 and count:
            return f">{_time(longest)}" if seconds is None else f"<{_time(seconds)}"
        longest = seconds or longest
    return ""


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _when(seconds: float, precision: str = "milliseconds") -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(sep=" ", timespec=precision)


def _counts(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items()) or "none"
    return str(value)


def columns(lines: Iterable[tuple[str, str]]) -> None:
    """Print pairs, the second ones below each other."""
    shown = [(printable(what), printable(words)) for what, words in lines]
    width = max((len(what) for what, _ in shown), default=0)
    for what, words in shown:
        print(f"{what:<{width}}  {words}")


# ── to explain ───────────────────────────────────────────────────────────────────────────────────────────────────────


def explain(
    config: ConfigArgument = None,
    mac: Annotated[str, typer.Option("--mac", help="The client's hardware address, like 02:00:00:00:00:01.")] = "",
    relay: Annotated[
        str | None, typer.Option("--relay", metavar="GIADDR", help="The address of the relay agent it is behind.")
    ] = None,
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", help="Where it is (the first of the configuration).")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="An option that it sends: name=value, or octets in hex. May be repeated."),
    ] = None,
    message: Annotated[str, typer.Option("--message", help="What it sends: discover or request.")] = "discover",
    address: Annotated[str | None, typer.Option("--address", help="The address that it asks for.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="What became of its last packets in the running server.")
    ] = False,
    control: ControlOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object an exchange.")] = False,
) -> None:
    """Explain what a client would get, and why: by the configuration, its plugins and the leases.

    Nothing is sent, and no lease is changed. The plugins of the configuration are called, as for a real packet, but
    not started.
    """
    if not mac:
        fail("which client? Name it: --mac 02:00:00:00:00:01", 2)
    try:
        octets = hardware_octets(mac)
    except ValueError as error:
        fail(f"--mac: {error}", 2)
    if live:
        if relay or interface or option or address or message != "discover":
            fail("--live shows what was: --relay, --interface, --option, --message and --address don't go with it", 2)
        _explain_live(
            octets.hex(":"), as_json, ask_server(config, control, "explain", hardware_address=octets.hex(":"))
        )
        return
    if control is not None:
        fail("--control goes with --live", 2)
    settings = load_settings(config, "--live and --control")
    client = _client(octets, relay, interface, _sent(option or [], settings), message, address)
    exchange, facts = _run(what_if(settings, client))
    if as_json:
        print(json.dumps({**explained(exchange), "facts": facts}))
    else:
        columns(facts)


def _client(
    octets: bytes,
    relay: str | None,
    interface: str | None,
    options: dict[int, bytes],
    message: str,
    address: str | None,
) -> Client:
    kinds = {"discover": MessageType.DISCOVER, "request": MessageType.REQUEST}
    if message.lower() not in kinds:
        fail(f"--message: expected discover or request, got {message!r}", 2)
    return Client(
        octets,
        kinds[message.lower()],
        _given("--address", lambda text: int(IPv4Address(text)), address) if address else 0,
        _given("--relay", lambda text: int(IPv4Address(text)), relay) if relay else 0,
        interface or "",
        options,
    )


def _sent(options: list[str], settings: Settings) -> dict[int, bytes]:
    sent: dict[int, bytes] = {}
    for each in options:
        name, equals, value = each.partition("=")
        if not equals:
            fail(f"--option: expected name=value, got {each!r}", 2)
        given = (name, value, settings.definitions())
        code, value_octets = _given("--option", lambda given: option_octets(*given), given)
        sent[code] = value_octets
    return sent


def _given(option: str, parse: Callable[[Any], T], value: object) -> T:
    try:
        return parse(value)
    except ValueError as error:
        fail(f"{option}: {error}", 2)


def _explain_live(mac: str, as_json: bool, exchanges: list[dict[str, Any]]) -> None:
    if as_json:
        for each in exchanges:
            print(json.dumps(each))
        return
    if not exchanges:
        fail(f"aiodhcp: {mac} is in none of the exchanges that the server keeps")
    for at, each in enumerate(exchanges):
        if at:
            print()
        columns([("when", _when(each["when"])), *((what, words) for what, words in each["facts"])])


COMMANDS: Final = (hooks, explain, delete, declined, reload, pause, resume, status)
