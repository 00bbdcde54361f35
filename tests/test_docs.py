"""What README and docs show is run here, and what they say of the hooks is what the hookspecs say."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark import ParameterSet

from aiodhcp import hookspecs, serverspecs
from aiodhcp.config import (
    ClassTable,
    FiltersTable,
    LeasequeryTable,
    ParametersTable,
    PluginTable,
    PoolTable,
    ReservationTable,
    Settings,
    StoreTable,
    SubnetTable,
    TransportTable,
)
from aiodhcp.hooks import Hooks
from aiodhcp.plugins import load_plugin

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def named(language: str) -> list[ParameterSet]:
    """The same of all pages, as parameters of a test."""
    return [
        pytest.param(code, id=f"{page.name}-{at}") for page in PAGES for at, code in enumerate(blocks(page, language))
    ]


README_HOOK, README_SERVER = blocks(PAGES[0], "python")


def lines_of_code(code: str) -> int:
    return sum(1 for line in code.splitlines() if line.strip())


# README_SERVER serves eth0 until it is stopped: it is run in integration/test_readme.py.
@pytest.mark.parametrize("code", [each for each in named("python") if each.values != (README_SERVER,)])
def test_the_python_of_the_docs_runs(code: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=30)


@pytest.mark.parametrize("text", named("toml"))
def test_the_configurations_of_the_docs_load(text: str) -> None:
    Settings.of(tomllib.loads(text))


def test_the_readme_is_short() -> None:
    assert lines_of_code(README_HOOK) <= 10
    assert lines_of_code(README_SERVER) <= 15
    assert len(PAGES[0].read_text().splitlines()) < 120


def test_the_hook_of_the_readme_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readme_hooks.py").write_text(README_HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    hooks = Hooks([load_plugin("readme_hooks")])
    assert hooks.dhcp_new_pkt
    assert hooks.dhcp_pkt_send


def test_every_key_is_documented() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    classes = (ClassTable, FiltersTable, SubnetTable, PoolTable, ReservationTable)
    tables = (*classes, LeasequeryTable, PluginTable, StoreTable, TransportTable)
    for table in (Settings, ParametersTable, *tables):
        for name, field in table.model_fields.items():
            key = field.alias or name
            assert re.search(rf"`\[*(subnet\.)?{key}\]*`", page), key


def tables(value: object, under: str = "") -> Iterator[tuple[str, dict[str, object]]]:
    """Every table of a configuration, and the key that it is under."""
    if isinstance(value, dict):
        yield under, value
        for key, inner in value.items():
            yield from tables(inner, key)
    elif isinstance(value, list):
        for each in value:
            yield from tables(each, under)


def test_every_key_has_an_example() -> None:
    found: dict[str, set[str]] = {}
    for page in PAGES:
        for text in blocks(page, "toml"):
            for under, table in tables(tomllib.loads(text)):
                found.setdefault(under, set()).update(table)
    told = {"", "class", "subnet", "pools", "reservation"}
    found["told"] = set().union(*(found[under] for under in told))
    for under, table in (
        ("", Settings),
        ("told", ParametersTable),
        ("class", ClassTable),
        ("filters", FiltersTable),
        ("subnet", SubnetTable),
        ("pools", PoolTable),
        ("reservation", ReservationTable),
        ("plugins", PluginTable),
        ("store", StoreTable),
        ("transport", TransportTable),
        ("leasequery", LeasequeryTable),
    ):
        own = set(table.model_fields) - (set() if table is ParametersTable else set(ParametersTable.model_fields))
        keys = {table.model_fields[name].alias or name.replace("_", "-") for name in own}
        assert keys <= found[under], f"no example in [{under}] of {sorted(keys - found[under])}"


@pytest.mark.parametrize(("module", "page"), [(hookspecs, "hooks.md"), (serverspecs, "server-hooks.md")])
def test_every_hook_is_documented_with_its_exact_signature(module: ModuleType, page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    hooks = [function for function in vars(module).values() if hasattr(function, "aiodhcp_spec")]
    assert hooks
    for function in hooks:
        name, signature = function.__name__, inspect.signature(function)
        annotated = ", ".join(f"{each.name}: {each.annotation}" for each in signature.parameters.values())
        assert f"\n## `{name}({', '.join(signature.parameters)})`\n" in text
        assert f"{name}({annotated}) -> {signature.return_annotation}\n" in text
        said = re.findall(r"^(Fires|Arguments|May|Verdicts|C): (.*)$", inspect.getdoc(function) or "", re.MULTILINE)
        assert [field for field, _ in said] == ["Fires", "Arguments", "May", "C" if module is hookspecs else "Verdicts"]
        for field, words in said:
            assert f"- **{field}:** {words.replace('``', '`')}" in text


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} → {target}"
