"""The reference of the Python API: which public name is on which page. What is said of them, docstrings say."""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

import aiodhcp
import aiodhcp.testing

__all__ = ["api_pages", "public_names", "settings_models"]

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

# The title of each page, what it is about, and the names of ``aiodhcp`` that are on it, the important ones first.
PAGES: dict[str, tuple[str, str, str]] = {
    "server": (
        "Server",
        "The server and its engine, and what they raise. [Embedding](../embedding.md) shows how they are used.",
        "DhcpServer Health PoolUsage CommitMetrics ForcedRenewals Engine"
        " AiodhcpError ConfigError DecodeError StoreError EventsLost",
    ),
    "configuration": (
        "Configuration",
        "What a [configuration file](../configuration.md) says, as objects.",
        "Config Subnet Pool Reservation Class Parameters Filters Fqdn Leasequery Settings load_config",
    ),
    "hooks": (
        "Hooks",
        "What marks a hook, what it gets and what it answers. The hooks themselves: [callouts](../hooks.md) and"
        " [server hooks](../server-hooks.md).",
        "hookimpl Exchange Drop Nak Use Policy Plugin ServerOptions Datagram Interface Answer Fact"
        " ControlCode DropReason AddressKind AddressProblem ClientType Hooks HookMetrics ShadowNote",
    ),
    "packets": (
        "Packets and options",
        "DHCP messages and the [options](../options.md) in them.",
        "Packet MessageType message_name Options SubOptions OptionDefinition Definitions Space codec_of"
        " STANDARD_OPTIONS",
    ),
    "leases": (
        "Leases and stores",
        "Who has which address, where that is kept, and the [events](../events.md) of it.",
        "Lease LeaseState LeaseTable NEVER INFINITE Store EventStore SqliteStore MemoryStore"
        " LeaseEvent LeaseEventKind EventStream Cursor",
    ),
    "transports": (
        "Transports",
        "Where datagrams come from; [embedding](../embedding.md#transports) says which is for what.",
        "Transport Receiver EthernetTransport UdpTransport MemoryTransport",
    ),
}
TESTING = (
    "Testing",
    "`aiodhcp.testing`, the kit for those who write hooks; [testing](../testing.md) shows how it is used.",
    "MemoryServer Client SyncClient Messages Reply Dora NoReply HookFailed Clock HookTrace HookCall"
    " ConfigLike PluginLike",
)
PLUGINS = (
    "Settings of plugins",
    "The models of what `[plugins.settings]` may say; [ready-made plugins](../plugins-ready-made.md) shows them"
    " at work. Keys of a configuration file have hyphens where fields have underscores.",
)


def public_names() -> list[str]:
    """Every public name, with its package in front."""
    return [f"{package.__name__}.{name}" for package in (aiodhcp, aiodhcp.testing) for name in package.__all__]


def settings_models() -> dict[str, type[BaseModel]]:
    """The settings model of each plugin that comes with aiodhcp, by the plugin's name."""
    entries = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["aiodhcp"]
    found = {}
    for name, value in sorted(entries.items()):
        plugin = EntryPoint(name, value, "aiodhcp").load()
        if not inspect.isclass(plugin):
            # A function that makes plugins of its settings, its first argument.
            hints = get_type_hints(plugin)
            found[name] = hints[next(iter(inspect.signature(plugin).parameters))]
        else:
            found[name] = plugin.Settings
    return found


def api_pages() -> dict[str, str]:
    """The pages in Markdown, by their paths.

    Raises:
        ValueError: a public name is on no page, or on two, or one on a page is not public.
    """
    pages = {f"python/{at}.md": _page("aiodhcp", *page) for at, page in PAGES.items()}
    pages["python/testing.md"] = _page("aiodhcp.testing", *TESTING)
    title, about = PLUGINS
    models = (_model(name, model) for name, model in settings_models().items())
    pages["python/plugins.md"] = "\n".join([f"# {title}\n\n{about}\n", *models])
    shown = [f"aiodhcp.{name}" for *_, names in PAGES.values() for name in names.split()]
    shown += [f"aiodhcp.testing.{name}" for name in TESTING[2].split()]
    wrong = set(shown) ^ set(public_names())
    wrong |= {name for name in shown if shown.count(name) > 1}
    if wrong:
        raise ValueError(f"docs/generator/python_api.py: not exactly once on a page: {', '.join(sorted(wrong))}")
    return pages


def _page(package: str, title: str, about: str, names: str) -> str:
    return "\n".join([f"# {title}\n\n{about}\n", *(_name(f"{package}.{name}", 2) for name in names.split())])


def _model(plugin: str, model: type[BaseModel]) -> str:
    """A settings model as a table: most of it is in the fields, where mkdocstrings does not look."""
    rows = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        said = (
            "required"
            if field.is_required()
            else f"`{str(default)!r}`"
            if isinstance(default, Path)
            else f"`{default!r}`"
        )
        key = "" if field.alias in (None, name, name.replace("_", "-")) else f", `{field.alias}`"
        rows.append(f"| `{name}`{key} | `{_written(field.annotation)}` | {said} | {field.description or ''} |")
    about = [f"## `{plugin}`", f"`{model.__module__}.{model.__qualname__}`"]
    return "\n\n".join([*about, "\n".join(["| field | type | default | |", "|---|---|---|---|", *rows])]) + "\n"


def _written(kind: Any) -> str:
    """A type as one would write it, without what checks the value."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _written(inner[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_written, inner))
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if inner:
        return f"{origin.__name__}[{', '.join(map(_written, inner))}]"
    return "None" if kind is NoneType else getattr(kind, "__name__", str(kind))


def _name(path: str, level: int) -> str:
    return f"::: {path}\n    options:\n      heading_level: {level}\n"
