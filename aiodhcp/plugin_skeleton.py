"""The files of a new plugin: a package with a typed hook, settings and tests, for ``aiodhcp new-plugin``."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import Template
from typing import Any, Final, NamedTuple

from aiodhcp import hookspecs, serverspecs

__all__ = ["DEFAULT_HOOKS", "HOOKS", "Names", "files_of"]

WIDTH: Final = 120
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SPECS: Final[Mapping[str, Callable[..., Any]]] = {
    name: value
    for module in (hookspecs, serverspecs)
    for name, value in vars(module).items()
    if hasattr(value, "aiodhcp_spec")
}
HOOKS: Final = tuple(name for name in _SPECS if name not in ("dhcp_extension", "dhcp_reserved"))
"""The hooks that there are, but for those that are never called."""
DEFAULT_HOOKS: Final = ("dhcp_pkt_send",)


class Names(NamedTuple):
    """What a plugin is called.

    Attributes:
        plugin: in a configuration, ``guest-names``.
        distribution: where it is installed, ``aiodhcp-guest-names``.
        module: where it is imported, ``aiodhcp_guest_names``.
        kind: its class, ``GuestNames``.
    """

    plugin: str
    distribution: str
    module: str
    kind: str

    @classmethod
    def of(cls, name: str) -> Names:
        """From the first of them, or the second.

        Raises:
            ValueError: that is no name.
        """
        plain = name.removeprefix("aiodhcp-")
        if not _NAME.fullmatch(plain) or len(plain) > 50:
            raise ValueError(f"expected a name of small letters, digits and hyphens, like guest-names, got {name!r}")
        words = plain.split("-")
        return cls(plain, f"aiodhcp-{plain}", f"aiodhcp_{'_'.join(words)}", "".join(map(str.capitalize, words)))


class _Part(NamedTuple):
    """What a hook does: its body, a setting and a test of that, and what the body needs of aiodhcp."""

    body: str
    setting: str
    test: str
    names: frozenset[str]
    returned: str = ""


_DOING: Final = {
    "dhcp_new_pkt": _Part(
        """\
        if any(packet.hardware_address.startswith(each) for each in self.settings.deny):
            return Drop(f"{packet.hardware_address} is denied")
        return None
""",
        """\
        deny: list[str] = Field(default_factory=list, description="how hardware addresses begin that get no answer")
""",
        """\
@pytest.mark.dhcp(plugins=[{"use": $kind, "settings": {"deny": ["02:00"]}}])
def test_who_is_denied_gets_no_answer(sync_dhcp_client: SyncClient) -> None:
    reply = sync_dhcp_client.discover()
    assert not reply
    assert reply.why == "vetoed by $kind: 02:00:00:00:00:01 is denied"
""",
        frozenset({"Drop"}),
    ),
    "dhcp_pkt_send": _Part(
        """\
        if reply.message_type != MessageType.NAK:
            reply.options["domain-name"] = self.settings.domain_name
""",
        """\
        domain_name: str = Field("guests.example", min_length=1, description="the domain that clients are told")
""",
        """\
def test_clients_are_told_the_domain(sync_dhcp_client: SyncClient) -> None:
    assert sync_dhcp_client.dora().options["domain-name"] == "guests.example"


@pytest.mark.dhcp(plugins=[{"use": $kind, "settings": {"domain-name": "lab.example"}}])
def test_which_domain_that_is_can_be_configured(sync_dhcp_client: SyncClient) -> None:
    assert sync_dhcp_client.dora().options["domain-name"] == "lab.example"


def test_a_setting_that_makes_no_sense_is_refused(make_dhcp_server: Callable[..., MemoryServer]) -> None:
    with pytest.raises(ConfigError, match="domain-name"):
        make_dhcp_server(plugins=[{"use": $kind, "settings": {"domain-name": ""}}])
""",
        frozenset({"MessageType"}),
        "None",
    ),
    "select_lease_time": _Part(
        """\
        longest = self.settings.longest_lease
        return Use(longest) if lease_time > longest else None
""",
        """\
        longest_lease: int = Field(3600, ge=60, description="seconds that a lease may last")
""",
        """\
def test_leases_are_not_longer_than_that(sync_dhcp_client: SyncClient) -> None:
    assert sync_dhcp_client.dora().lease_time == 3600
    assert sync_dhcp_client.renew(lease_time=600).lease_time == 600
""",
        frozenset({"Use"}),
    ),
}
_WATCHING: Final = _Part(
    """\
        log.info("%s: $hook", self.settings.label)$nothing
""",
    """\
        label: str = Field("$plugin", description="what its lines in the log begin with")
""",
    "",
    frozenset(),
)

_CODE: Final = Template('''\
"""$kind: a plugin for the DHCP server aiodhcp."""

from __future__ import annotations

$imports

$log
class $kind:
    """$summary"""

    class Settings(BaseModel):
        """What a configuration says, in ``[plugins.settings]``."""

$settings
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

$hooks''')

_TESTS: Final = Template('''\
"""$kind, in a server in memory: no network, no root."""

from __future__ import annotations

$imports

pytestmark = pytest.mark.dhcp(plugins=[$kind])


${tests}def test_its_hooks_are_called(sync_dhcp_client: SyncClient, dhcp_clock: Clock, hook_trace: HookTrace) -> None:
    """A lease from scratch, renewed, run out; an address that is declined, and may be given out again a day later."""
    sync_dhcp_client.dora()
    sync_dhcp_client.renew()
    dhcp_clock.advance("1d")
    sync_dhcp_client.dora()
    sync_dhcp_client.decline()
    dhcp_clock.advance("2d")
    assert set(hook_trace.names) == $names
''')

_PROJECT: Final = Template("""\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "A plugin for the DHCP server aiodhcp"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["aiodhcp", "pydantic>=2.7"]

[project.entry-points."aiodhcp"]
$plugin = "$module:$kind"

[dependency-groups]
test = ["pytest>=8"]

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]

[tool.pytest.ini_options]
pythonpath = ["src"]
testpaths = ["tests"]

[tool.ruff]
line-length = 120

[tool.mypy]
strict = true
mypy_path = "src"
plugins = ["pydantic.mypy"]
""")

_README: Final = Template("""\
# $distribution

A plugin for the DHCP server aiodhcp: what it does is in `src/$module/__init__.py`.

Test it:

```
pip install -e . pytest && pytest
```

Install it where the server is:

```
pip install .
```

Switch it on, at the end of the server's configuration, and see that it is right with `aiodhcp check`:

```toml
[[plugins]]
use = "$plugin"

[plugins.settings]
$settings
```
""")

_EXAMPLES: Final = {
    "dhcp_new_pkt": 'deny = ["de:ad"]',
    "dhcp_pkt_send": 'domain-name = "guests.example"',
    "select_lease_time": "longest-lease = 3600",
}


def files_of(names: Names, hooks: Sequence[str]) -> dict[str, str]:
    """The files of a new plugin: the path of each, from its directory, and the text.

    Args:
        names: what it is called.
        hooks: some of ``HOOKS``, at least one.
    """
    watching = [hook for hook in hooks if hook not in _DOING]
    said = {**names._asdict(), "summary": f"Takes part in {_several(hooks)}."}
    doing = [_DOING[hook] for hook in hooks if hook in _DOING]
    settings = [part.setting for part in doing] + [_WATCHING.setting] * bool(watching)
    tests = [part.test for part in doing if part.test]
    methods = [_method(hook) for hook in hooks]
    examples = [_EXAMPLES[hook] for hook in hooks if hook in _EXAMPLES]
    examples += [f'label = "{names.plugin}"'] * bool(watching)
    code = _CODE.substitute(
        said,
        imports=_imports(methods, frozenset[str]().union(*(part.names for part in doing)), bool(watching)),
        log=f'log = logging.getLogger("{names.module}")\n\n' if watching else "",
        settings=Template("".join(settings)).substitute(said),
        hooks="\n".join(text for text, _ in methods),
    )
    return {
        "pyproject.toml": _PROJECT.substitute(said),
        "README.md": _README.substitute(said, settings="\n".join(examples)),
        f"src/{names.module}/__init__.py": code,
        f"src/{names.module}/py.typed": "",
        f"tests/test_{names.module.removeprefix('aiodhcp_')}.py": _TESTS.substitute(
            said,
            imports=_test_imports(names, "".join(tests)),
            tests="\n\n".join([*(Template(each).substitute(said) for each in tests), ""]),
            names=_set_of(hooks),
        ),
    }


def _several(hooks: Sequence[str]) -> str:
    return ", ".join(hooks) if len(hooks) < 4 else f"{len(hooks)} hooks"


def _set_of(hooks: Sequence[str]) -> str:
    """As Python writes it, on a line if there is room."""
    quoted = [f'"{hook}"' for hook in sorted(hooks)]
    line = f"{{{', '.join(quoted)}}}"
    return line if len(line) < 80 else "".join(["{\n", *(f"        {each},\n" for each in quoted), "    }"])


def _method(hook: str) -> tuple[str, set[str]]:
    """A hook as a method, and the names that its annotations use."""
    spec = _SPECS[hook]
    signature = inspect.signature(spec)
    arguments = [f"{each.name}: {each.annotation}" for each in signature.parameters.values()]
    part = _DOING.get(hook, _WATCHING)
    returned = part.returned or _without_awaitable(str(signature.return_annotation))
    line = f"    def {hook}(self, {', '.join(arguments)}) -> {returned}:\n"
    if len(line) > WIDTH + 1:
        inner = "".join(f"        {each},\n" for each in ("self", *arguments))
        line = f"    def {hook}(\n{inner}    ) -> {returned}:\n"
    summary = (inspect.getdoc(spec) or "").partition("\n")[0]
    body = Template(part.body).safe_substitute(hook=hook, nothing="" if returned == "None" else "\n        return None")
    text = f'    @hookimpl\n{line}        """{summary}"""\n{body}'
    return text, {name for each in (*arguments, f"_: {returned}") for name in _names(each.partition(": ")[2])}


def _without_awaitable(annotation: str) -> str:
    """What a hook returns that is not ``async``."""

    def parts(node: ast.expr) -> Iterator[ast.expr]:
        if isinstance(node, ast.BinOp):
            yield from parts(node.left)
            yield from parts(node.right)
        elif not (isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Awaitable"):
            yield node

    return " | ".join(map(ast.unparse, parts(ast.parse(annotation, mode="eval").body)))


def _names(annotation: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(annotation, mode="eval")) if isinstance(node, ast.Name)}


def _imports(methods: Sequence[tuple[str, set[str]]], more: frozenset[str], logs: bool) -> str:
    used = set(more).union(*(names for _, names in methods)) - {"int", "str", "bytes"}
    lines = ["import logging"] * logs
    lines += ["from collections.abc import Sequence"] * ("Sequence" in used)
    addresses = sorted(used & {"IPv4Address", "IPv4Network"})
    lines += [f"from ipaddress import {', '.join(addresses)}"] * bool(addresses)
    lines += [""] * bool(lines)
    ours = [*sorted(used - {"Sequence", *addresses}), "hookimpl"]
    return "\n".join([*lines, *_from_aiodhcp(ours), "from pydantic import BaseModel, Field"])


def _test_imports(names: Names, tests: str) -> str:
    lines = ["from collections.abc import Callable", ""] * ("Callable[" in tests)
    kit = ["Clock", "HookTrace", *["MemoryServer"] * ("MemoryServer" in tests), "SyncClient"]
    lines += ["import pytest"] + ["from aiodhcp import ConfigError"] * ("ConfigError" in tests)
    lines += [f"from aiodhcp.testing import {', '.join(kit)}", "", f"from {names.module} import {names.kind}"]
    return "\n".join(lines)


def _from_aiodhcp(used: Sequence[str]) -> list[str]:
    line = f"from aiodhcp import {', '.join(used)}"
    return [line] if len(line) <= WIDTH else ["from aiodhcp import (", *(f"    {each}," for each in used), ")"]
