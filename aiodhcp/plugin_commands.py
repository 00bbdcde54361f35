"""The command ``aiodhcp new-plugin``: begins a plugin, as a package of its own with tests that pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from aiodhcp.administration import fail
from aiodhcp.plugins import available_plugins
from aiodhcp.wording import did_you_mean

__all__ = ["new_plugin"]


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What configurations call it, like guest-names.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="The directory to make (aiodhcp-NAME, here).")
    ] = None,
    hooks: Annotated[
        list[str] | None,
        typer.Option("--hooks", help="Which it has, with commas between (dhcp_pkt_send). May be repeated."),
    ] = None,
) -> None:
    """Begin a plugin: a package with a hook, settings and tests that pass.

    \b
    Examples:
      aiodhcp new-plugin guest-names
      aiodhcp new-plugin badge-reader --hooks dhcp_new_pkt,leases_committed
    """
    from aiodhcp.plugin_skeleton import DEFAULT_HOOKS, HOOKS, Names, files_of

    try:
        names = Names.of(name)
    except ValueError as error:
        fail(f"NAME: {error}", 2)
    for known in available_plugins():
        if known.use == names.plugin:
            fail(f"NAME: there is a plugin {names.plugin!r} already, of {known.where}", 2)
    if importlib.util.find_spec(names.module) is not None:
        fail(f"NAME: there is a module {names.module!r} already", 2)
    wanted = [each.strip() for group in hooks or () for each in group.split(",")]
    for each in wanted:
        if each not in HOOKS:
            instead = did_you_mean(each, HOOKS) or f"; there are {', '.join(HOOKS)}"
            fail(f"--hooks: there is no hook {each!r}{instead}", 2)
    target = directory or Path(names.distribution)
    files = files_of(names, list(dict.fromkeys(wanted)) or list(DEFAULT_HOOKS))
    try:
        target.mkdir(parents=True)
        for path, text in files.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        fail(f"aiodhcp: {target} is there already, and nothing is changed in it")
    except OSError as error:
        fail(f"aiodhcp: {error.filename or target}: {error.strerror or error}")
    for path in files:
        print(target / path)
    print("\nNext:")
    print(f"  cd {target}")
    print("  pip install -e . pytest && pytest")
    print(f'  put at the top of the server\'s configuration: plugins = ["{names.plugin}"]')
