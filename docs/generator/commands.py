"""The reference of the command line: what ``--help`` says of every command, as one page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer.main

from aiodhcp.cli import app

__all__ = ["commands", "commands_page"]

INTRODUCTION = """# Command line

What `--help` says, of every command. [Administration](administration.md) shows what they are for and what they print.
All have `--help`, and exit with 0 when it went well, 1 when it failed, and 2 when they were used wrongly.
"""
EXAMPLES = re.compile(r"^\x08\n(\w[\w ]*:)\n((?:  .*\n?)+)", re.MULTILINE)


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Each command by its whole name, with its context; the first is the program itself."""
    root = typer.main.get_command(app)

    def walk(name: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:
        settings = command.context_settings
        context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
        yield name, command, context
        for each, inner in sorted(getattr(command, "commands", {}).items()):
            yield from walk(f"{name} {each}", inner, context)

    return walk("aiodhcp", root, None)


def commands_page() -> str:
    """The page, in Markdown."""
    return "\n".join([INTRODUCTION, *(_section(*each) for each in commands())])


def _section(name: str, command: Any, context: Any) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## `{name}`", f"```text\n{' '.join(usage.split())}\n```"]
    if command.help:
        parts.append(_prose(inspect.cleandoc(command.help)))
    records = (each.get_help_record(context) for each in command.params if each.name != "help")
    rows = [f"| `{_cell(key)}` | {_plain(_cell(said))} |" for key, said in filter(None, records)]
    if rows:
        parts.append("\n".join(["| | |", "|---|---|", *rows]))
    inner = sorted(getattr(command, "commands", {}))
    if inner:
        names = (f"{name} {each}" for each in inner)
        parts.append(" · ".join(f"[`{each}`](#{each.replace(' ', '-')})" for each in names))
    return "\n\n".join(parts) + "\n"


def _prose(text: str) -> str:
    """Help as Markdown: what typer is told to leave as it is are examples."""
    pieces, end = [], 0
    for block in EXAMPLES.finditer(text):
        pieces += [_plain(text[end : block.start()].strip()), block[1], f"```text\n{inspect.cleandoc(block[2])}\n```"]
        end = block.end()
    pieces.append(_plain(text[end:].strip()))
    return "\n\n".join(each for each in pieces if each)


def _cell(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Text in which nothing is Markdown."""
    return re.sub(r"([*_<>|\[\]])", r"\\\1", text)
