"""The commands ``aiodhcp callout``, which look at callout DLLs and try them.

What they need is imported when they run: every other command would wait for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiodhcp.administration import fail
from aiodhcp.describe import message_name, printable
from aiodhcp.errors import ConfigError

if TYPE_CHECKING:
    from aiodhcp.callout.child import Child
    from aiodhcp.callout.driving import Called, Control, Driven, Request, Summary
    from aiodhcp.callout.inspection import Inspection

__all__ = ["callout_app"]

NAMES_SHOWN: Final = 20
"""Of exports; with --json it is all of them."""

callout_app = typer.Typer(
    name="callout",
    help="Look at callout DLLs of Microsoft's DHCP server, and try them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The DLL, or shared library.")]
ModeOption = Annotated[
    str | None,
    typer.Option("--mode", help="process or wine: what runs it (wine for a DLL of Windows on another system)."),
]
RegFileOption = Annotated[
    Path | None,
    typer.Option("--reg-file", metavar="FILE", help="An export of the registry, for a DLL that reads it under Wine."),
]
PrefixOption = Annotated[Path | None, typer.Option("--wine-prefix", metavar="PATH", help="Where Wine keeps its files.")]


@callout_app.command()
def inspect(
    file: FileArgument,
    no_load: Annotated[
        bool, typer.Option("--no-load", help="Only read the file: none of its code runs, and its hooks aren't known.")
    ] = False,
    mode: ModeOption = None,
    reg_file: RegFileOption = None,
    wine_prefix: PrefixOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a callout is, what it exports and needs, and which hooks it registers.

    It is loaded in a process of its own. The exit status is 1 if it can't be used here.

    \b
    Examples:
      aiodhcp callout inspect /usr/lib/callouts/mac_filter.so
      aiodhcp callout inspect --no-load vendor.dll
    """
    from aiodhcp.callout.inspection import inspect_callout

    path = file.absolute()

    def load(path: Path) -> Child:
        return _load(path, mode, reg_file, wine_prefix, "10s", [])

    _check(mode)
    try:
        with _progress():
            found = inspect_callout(path, None if no_load else load)
    except ConfigError as error:
        fail(f"aiodhcp: {error}")
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        _columns(_facts(found))
    if found.wrong:
        raise typer.Exit(1)


@callout_app.command()
def run(
    file: FileArgument,
    pcap: Annotated[Path, typer.Option("--pcap", metavar="CAPTURE", help="Packets, in the format pcap or pcapng.")],
    mode: ModeOption = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option("--chain", metavar="FILE", help="A DLL behind it, which it loads itself. May be repeated."),
    ] = None,
    deadline: Annotated[str, typer.Option("--deadline", help="How long a call may take, like 250ms.")] = "250ms",
    reg_file: RegFileOption = None,
    wine_prefix: PrefixOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """Show what a callout does with the packets of a capture.

    It is called as a server would call it: for each request of the capture, and for what the server there answered.
    It runs in a process of its own, and nothing is sent. After a fault it is started afresh, and the next packet is
    tried. The exit status is 1 if it could not be loaded, or a call did not return.

    \b
    Examples:
      tcpdump -i eth0 -w dhcp.pcap udp port 67 or udp port 68
      aiodhcp callout run mac_filter.so --pcap dhcp.pcap
      aiodhcp callout run vendor.dll --pcap dhcp.pcap --deadline 1s --json
    """
    from aiodhcp.callout.driving import Summary

    _check(mode)
    skipped: Counter[str] = Counter()
    requests = _requests(pcap, skipped)
    summary = Summary()
    try:
        with _progress():
            behind = [each.absolute() for each in chain or []]
            child = _load(file.absolute(), mode, reg_file, wine_prefix, deadline, behind)
            try:
                _show_loaded(child, as_json)
                asyncio.run(_run(child, requests, summary, as_json))
            finally:
                child.close()
    except ConfigError as error:
        fail(f"aiodhcp: {error}")
    died = child.faults["idle"]
    left_out = len(requests) - summary.packets
    if as_json:
        counts = {"packets": summary.packets, "not_driven": left_out, "faults": summary.faults, "died_idle": died}
        print(json.dumps({"event": "summary", **counts, "skipped": dict(skipped), "hooks": summary.rows()}))
    else:
        _show_summary(summary, skipped, left_out, died)
    if summary.faults or died:
        raise typer.Exit(1)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check(mode: str | None) -> None:
    if mode not in (None, "process", "wine"):
        fail(f"--mode: expected process or wine, got {mode!r}", 2)


def _load(
    path: Path, mode: str | None, reg_file: Path | None, wine_prefix: Path | None, deadline: str, chain: list[Path]
) -> Child:
    """Load a callout in a process of its own.

    Raises:
        ConfigError: it can't be loaded.
    """
    from aiodhcp.callout.child import Child
    from aiodhcp.callout.loading import CalloutSettings, load_callout
    from aiodhcp.config import parse_seconds

    try:
        seconds = parse_seconds(deadline)
    except ValueError as error:
        fail(f"--deadline: {error}", 2)
    given: dict[str, Any] = {"mode": mode, "deadline": seconds, "wine_prefix": wine_prefix}
    # Which of the list is loaded, the command has said.
    given |= {"reg_file": reg_file.absolute()} if reg_file is not None else {"CalloutDlls": [str(path)]}
    loaded = load_callout(path, CalloutSettings.model_validate(given), chain)
    assert isinstance(loaded, Child)
    return loaded


@contextmanager
def _progress() -> Iterator[None]:
    """What takes long is said on standard error; the rest of what callouts log, the commands say themselves."""
    log = logging.getLogger("aiodhcp.callout")
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: record.getMessage().startswith("wine: "))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _requests(pcap: Path, skipped: Counter[str]) -> list[Request]:
    from aiodhcp.callout.driving import pair
    from aiodhcp.captures import Captured, CaptureError, read_capture

    captured: list[Captured] = []
    wrong = ""
    try:
        captured.extend(read_capture(pcap, skipped))
    except CaptureError as error:
        wrong = str(error)
    requests = pair(captured, skipped)
    if not requests:
        counts = _counts(skipped)
        fail(f"aiodhcp: {wrong or f'{pcap}: has no requests to a DHCP server' + (f' ({counts})' if counts else '')}")
    if wrong:
        print(f"aiodhcp: {wrong}; what stands before that is used", file=sys.stderr)
    return requests


def _counts(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} {words}" for words, count in skipped.items())


async def _run(child: Child, requests: list[Request], summary: Summary, as_json: bool) -> None:
    from aiodhcp.callout.driving import Control, drive

    async for event in drive(child, requests):
        summary.add(event)
        if as_json:
            print(json.dumps(event.as_dict()))
        elif isinstance(event, Control):
            _show_control(event)
        else:
            _show_packet(event)


# ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(lines: list[tuple[str, str]]) -> None:
    width = max(len(what) for what, _ in lines)
    for what, words in lines:
        print(f"{what:<{width}}  {printable(words)}")


def _facts(found: Inspection) -> list[tuple[str, str]]:
    kind = {"PE": "a DLL of Windows (PE)", "ELF": "a shared library (ELF)"}.get(found.format, "neither PE nor ELF")
    lines = [
        ("file", found.path),
        ("size", f"{found.size} octets"),
        ("SHA-256", found.sha256),
        ("format", f"{kind}, {found.machine}" if found.machine else kind),
    ]
    if found.exports is not None:
        lines.append(("exports", _names(found.exports)))
        lines.append(("needs", _names(found.imports or ())))
        lines.append(("entry", found.entry or "none"))
    if found.version is not None:
        lines.append(("version", f"{found.version} of the callout API"))
    if found.hooks is not None:
        lines.append(("hooks", ", ".join(found.hooks) or "none"))
    lines += [("note", note) for note in found.notes]
    return [*lines, ("verdict", found.verdict)]


def _names(names: tuple[str, ...]) -> str:
    more = len(names) - NAMES_SHOWN
    return (", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")) or "nothing"


def _show_loaded(child: Child, as_json: bool) -> None:
    from aiodhcp.callout.frames import HOOKS

    hooks = [name for name in HOOKS if name in child.hooks]
    if as_json:
        facts: dict[str, Any] = {"path": str(child.path), "sha256": child.sha256, "version": child.version}
        print(json.dumps({"event": "loaded", **facts, "hooks": hooks}))
    else:
        print(f"{printable(child.path.name)}: version {child.version}, hooks: {', '.join(hooks) or 'none'}")


def _show_control(control: Control) -> None:
    print("\nstarted afresh" if control.again else "")
    _show_call(control.called)


def _show_packet(driven: Driven) -> None:
    packet, reply = driven.request.packet, driven.request.reply
    answer = message_name(reply) if reply is not None else "no answer"
    when = datetime.fromtimestamp(driven.request.captured.time, UTC).astimezone()
    print(
        f"\n{when.isoformat(sep=' ', timespec='milliseconds')}  {message_name(packet)} from "
        f"{packet.hardware_address or 'nobody'}, xid {packet.xid:08x}, {len(packet.raw)} octets; {answer}"
    )
    for call in driven.calls:
        _show_call(call)


def _show_call(call: Called) -> None:
    found = ["vetoed"] * call.vetoed + ["sets a context"] * call.context
    if call.sizes is not None:
        before, after = call.sizes
        found.append(f"{before} -> {after} octets" if before != after else f"changed, {after} octets")
        if not call.changes and not call.wrong:
            found.append("which say the same")
    if call.wrong:
        found.append(f"left what can't be taken: {call.wrong}")
    if call.result:
        found.append(f"returned {call.result}")
    if call.fault:
        found.append(f"FAULT: {call.fault}")
    words = f"{call.hook} {call.told}".rstrip() + (f": {', '.join(found)}" if found else "")
    print(f"{call.microseconds:9.0f} µs  {printable(words)}")
    for change in call.changes:
        print(f"{'':14}  {printable(str(change))}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _show_summary(summary: Summary, skipped: Counter[str], left_out: int, died: int) -> None:
    names = ("hook", "calls", "vetoes", "changes", "faults", "median", "p99")
    rows = [{**dict.fromkeys(names, ""), **dict(zip(names, names, strict=True))}, *summary.rows()]
    print()
    for row in rows:
        times = [
            value if isinstance(value, str) else "" if value is None else f"{value:.0f} µs"
            for value in (row["median"], row["p99"])
        ]
        counts = "".join(f"{row[name]:>9}" for name in names[1:5])
        print(f"{row['hook']:<20}{counts}{times[0]:>12}{times[1]:>12}")
    words = [_count(summary.packets, "packet")]
    words += [f"{left_out} not tried, because it can't be started"] if left_out else []
    words += [f"{_count(summary.faults, 'call')} did not return"] if summary.faults else []
    words += [f"its process died {_count(died, 'time')} between calls"] if died else []
    print("\n" + "; ".join(words))
    if skipped:
        print(f"left out of the capture: {_counts(skipped)}")
