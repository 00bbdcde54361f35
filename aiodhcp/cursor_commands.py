"""The command ``aiodhcp cursors``: how far the consumers of lease events have come."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiodhcp.administration import ConfigArgument, ControlOption, JsonOption, ask_server, fail
from aiodhcp.describe import printable

__all__ = ["cursors"]


def cursors(
    config: ConfigArgument = None,
    drop: Annotated[
        str | None, typer.Option("--drop", metavar="NAME", help="Forget this one, and the events kept for it only.")
    ] = None,
    control: ControlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far the consumers of lease events have come, or forget one that is gone for good."""
    if drop == "":
        fail("--drop: expected the name of a cursor", 2)
    found = ask_server(config, control, "cursors", **({"drop": drop} if drop else {}))
    if drop and not found:
        fail(f"aiodhcp: there is no cursor {drop!r}")
    if as_json:
        print(json.dumps(found))
    elif drop:
        print(f"dropped: {printable(drop)}, which was {found[0]['behind']} events behind")
    else:
        table = Table("Cursor", "Handled", "Behind", "Moved", box=None, pad_edge=False)
        for column in table.columns[1:3]:
            column.justify = "right"
        for each in found:
            moved = datetime.fromtimestamp(each["moved"], UTC).isoformat(" ", "seconds")
            table.add_row(Text(printable(each["name"])), str(each["handled"]), str(each["behind"]), moved)
        Console(highlight=False).print(table)
