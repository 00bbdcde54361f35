"""The command ``aiodhcp force-renew``: asks a running server to let clients renew."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Final

import typer

from aiodhcp.administration import ControlOption, JsonOption, ask_server, columns, fail

__all__ = ["force_renew"]

EVERYBODY: Final = "0.0.0.0/0"
MOST_SHOWN: Final = 20
"""Of those that can't be told, a line each; ``--json`` has them all."""


def force_renew(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ADDRESS]... [CONFIG]", help="Addresses, and the configuration file as elsewhere."),
    ] = None,
    subnet: Annotated[
        list[str] | None, typer.Option("--subnet", metavar="NETWORK", help="All clients with an address in it.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", "-a", help="All clients.")] = False,
    control: ControlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let clients renew their leases now (FORCERENEW, RFC 3203), so that they get what has changed.

    An ADDRESS is one that a client has, or its hardware address.
    """
    who = list(words or [])
    config = Path(who.pop()) if who and not _is_client(who[-1]) else None
    for each in who:
        if not _is_client(each):
            fail(f"expected an address like 192.168.50.100 or 02:00:00:00:00:01, got {each!r}", 2)
    for each in subnet or ():
        try:
            IPv4Network(each)
        except ValueError as error:
            fail(f"--subnet: expected a network like 192.168.50.0/24: {error}", 2)
    if everybody and (who or subnet):
        fail("--all goes with no address and no --subnet", 2)
    who += [EVERYBODY] if everybody else subnet or ()
    if not who:
        fail("name addresses, or give --subnet or --all", 2)
    report = ask_server(config, control, "force-renew", who=" ".join(who))
    told, refused = report["told"], report["refused"]
    if as_json:
        print(json.dumps(report))
    else:
        print(f"told to renew: {len(told)}")
        columns(list(refused.items())[:MOST_SHOWN])
        if len(refused) > MOST_SHOWN:
            print(f"and {len(refused) - MOST_SHOWN} more that can't be told")
    if not told:
        raise typer.Exit(1)


def _is_client(word: str) -> bool:
    """Whether it is an address or a hardware address, and no file."""
    try:
        IPv4Address(word)
    except ValueError:
        octets = word.replace("-", ":").split(":")
        return len(octets) > 1 and all(len(each) == 2 and set(each) <= set("0123456789abcdefABCDEF") for each in octets)
    return True
