"""Dependencies point one way, and nothing at or below the engine knows a socket, clock, thread, loop or database.

Read from the source, because importing any module of a package runs the package's ``__init__``, which imports all.
"""

from __future__ import annotations

import ast
import graphlib
import inspect
import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import aiodhcp

PACKAGE = Path(aiodhcp.__file__).parent
PLUGINS = PACKAGE.parent / "plugins" / "aiodhcp_plugins"

CORE = [
    "constants",
    "errors",
    "wording",
    "codecs",
    "dnsnames",
    "fqdn",
    "records",
    "definitions",
    "formats",
    "locations",
    "spaces",
    "registry",
    "options",
    "packet",
    "parameters",
    "leases",
    "packing",
    "leasetable",
    "nonces",
    "freemap",
    "expression_syntax",
    "expression_printing",
    "expressions",
    "classes",
    "filters",
    "reservations",
    "requestors",
    "relays",
    "virtual",
    "subnets",
    "leaseindex",
    "explanation",
    "exchange",
    "serveroptions",
    "verdicts",
    "policies",
    "hookspecs",
    "serverspecs",
    "implementations",
    "hooktable",
    "registration",
    "shadows",
    "hookcalls",
    "hooks",
    "usage",
    "addresses",
    "placement",
    "forcerenew",
    "replies",
    "leasequery",
    "rules",
    "engine",
]
"""Below the line, from the bottom up: each may import those before it."""

MUST_NOT_KNOW = {
    "leases": set(CORE) - {"leases"},
    "freemap": set(CORE) - {"freemap"},
    "subnets": {"leases", "packing", "leasetable", "packet"},
    "addresses": {"packet", "exchange", "hookspecs", "hooks"},
    "expression_syntax": {"packet"},
    "expressions": {"packet"},
    "replies": {"leases", "packing", "leasetable", "addresses", "hooks"},
    "rules": {"packet", "hooks"},
}
"""What a file says at its top that it does not know, or must not."""

OUTSIDE = {
    *("socket", "select", "selectors", "ssl", "socketserver", "ifaddr", "fcntl", "http", "urllib"),  # networks
    *("time", "datetime", "calendar", "sched"),  # clocks
    *("threading", "_thread", "concurrent", "multiprocessing", "subprocess", "signal", "queue"),  # threads, processes
    *("asyncio", "anyio", "trio"),  # event loops
    *("sqlite3", "dbm", "shelve"),  # databases
    *("os", "io", "pathlib", "shutil", "tempfile", "ctypes", "random", "secrets", "uuid"),  # the rest of the world
}
IMPURE = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}

NAMES = sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py"))


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{name.replace('.', '/')}.py").read_text())


def nodes(module: ast.AST):
    """All of a module but what is there for type checkers only."""
    if isinstance(module, ast.If) and ast.unparse(module.test) == "TYPE_CHECKING":
        return
    yield module
    for child in ast.iter_child_nodes(module):
        yield from nodes(child)


def imports(module: ast.Module) -> set[str]:
    """The modules it imports, wherever it does, by full name."""
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            if node.module == "aiodhcp":
                found |= {f"aiodhcp.{alias.name}" if alias.name in NAMES else "aiodhcp" for alias in node.names}
            else:
                found.add(node.module)
    return found


def inner(name: str) -> set[str]:
    """The modules of the package that one of them imports, by their names in it."""
    return {
        found.removeprefix("aiodhcp.") if found != "aiodhcp" else "__init__"
        for found in imports(tree(name))
        if found.split(".")[0] == "aiodhcp"
    }


# ── below the line ──


@pytest.mark.parametrize("name", CORE)
def test_a_module_of_the_core_imports_those_below_it_only(name):
    assert inner(name) <= set(CORE[: CORE.index(name)]) - MUST_NOT_KNOW.get(name, set())


@pytest.mark.parametrize("name", CORE)
def test_a_module_of_the_core_knows_nothing_of_the_world(name):
    assert not {found.split(".")[0] for found in imports(tree(name))} & OUTSIDE
    called = {node.func.id for node in nodes(tree(name)) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    assert not called & IMPURE


def test_what_the_engine_needs_is_the_core():
    """In an interpreter of its own, with an empty package in the place of aiodhcp/__init__.py."""
    script = (
        "import sys, types\n"
        "package = sys.modules['aiodhcp'] = types.ModuleType('aiodhcp')\n"
        f"package.__path__ = [{str(PACKAGE)!r}]\n"
        "import aiodhcp.engine\n"
        "print(*sys.modules)\n"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(name.removeprefix("aiodhcp.") for name in loaded if name.startswith("aiodhcp.")) == sorted(CORE)
    assert {"asyncio", "sqlite3", "ssl", "multiprocessing", "concurrent.futures"}.isdisjoint(loaded)


# ── above it ──


def test_nothing_is_imported_in_a_circle():
    """``demo`` is a caller of the command line, which names it as one of its commands."""
    sorter = graphlib.TopologicalSorter({name: inner(name) for name in NAMES if name not in ("__init__", "demo")})
    order = list(sorter.static_order())
    assert order.index("engine") < order.index("server") < order.index("config") < order.index("cli")


@pytest.mark.parametrize("name", [name for name in NAMES if name.split(".")[0] in ("stores", "transports")])
def test_stores_and_transports_know_the_types_they_exchange_and_nothing_above(name):
    above = {"addresses", "rules", "replies", "engine", "hooks", "hookspecs", "server", "config", "cli", "__init__"}
    assert not {found.split(".")[0] for found in inner(name)} & above


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("cli", "__main__", "demo")])
def test_nobody_needs_the_command_line(name):
    assert not inner(name) & {"cli", "__main__", "demo"}


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*.py")), ids=lambda path: path.stem)
def test_plugins_use_public_names_only(path):
    module = ast.parse(path.read_text())
    assert not {found for found in imports(module) if found.startswith("aiodhcp.")}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "aiodhcp":
            assert {alias.name for alias in node.names} <= set(aiodhcp.__all__)


# ── what is public ──


def test_all_that_is_public_exists_once_and_is_all_that_is_imported():
    assert len(set(aiodhcp.__all__)) == len(aiodhcp.__all__)
    assert all(hasattr(aiodhcp, name) for name in aiodhcp.__all__)
    imported = {
        alias.name for node in tree("__init__").body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == set(aiodhcp.__all__)


def remarks() -> dict[str, str]:
    """The strings that stand behind assignments, by the name assigned to."""
    found = {}
    for name in NAMES:
        body = tree(name).body
        for node, remark in itertools.pairwise(body):
            if not isinstance(remark, ast.Expr) or not isinstance(remark.value, ast.Constant):
                continue
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                found[ast.unparse(target)] = remark.value.value
    return found


@pytest.mark.parametrize("name", aiodhcp.__all__)
def test_what_is_public_is_documented(name):
    public = getattr(aiodhcp, name)
    if not inspect.isclass(public):
        assert (public.__doc__ if inspect.isroutine(public) else remarks().get(name)) is not None
        return
    assert vars(public).get("__doc__")
    for attribute, value in vars(public).items():
        function = getattr(value, "fget", value) or value
        function = getattr(function, "__func__", function)
        if not attribute.startswith("_") and inspect.isfunction(function):
            assert function.__doc__, f"{name}.{attribute}"


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_in_its_first_line_what_it_is_for(name):
    assert (ast.get_docstring(tree(name)) or "").strip()
