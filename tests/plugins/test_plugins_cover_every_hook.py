"""Every hook that there is has a plugin that shows how it is used; and what the plugins say of themselves is so."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from aiodhcp import hookspecs, serverspecs
from aiodhcp.hooks import Hooks

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = {
    name: value
    for name, value in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "aiodhcp"
    ].items()
    if value.startswith("aiodhcp_plugins.")  # the other one is for callouts, which have hooks of their own
}
RESERVED = {"dhcp_extension", "dhcp_reserved"}
SETTINGS = {
    "access": {},
    "address-plan": {"path": "plan.csv"},
    "audit-log": {"directory": "audit"},
    "classes": {"rules": [{"name": "phones", "vendor-class": "AVM*"}]},
    "http-reservations": {"url": "https://ipam.example/{hardware-address}"},
    "journal": {"path": "journal.jsonl"},
    "lease-events": {"command": ["/bin/true"]},
    "mac-filter": {},
    "prometheus": {},
    "relay-map": {"rules": [{"subnet": "192.0.2.0/24", "circuit-id": "eth7"}]},
    "scripts": {"script": "lease.sh", "form": "dnsmasq"},
    "stable-addresses": {},
    "webhook": {"url": "https://inventory.example/leases", "outbox": "webhook.sqlite"},
}
"""The least that each can be given."""


def plugin_class(name: str) -> type:
    module, _, attribute = ENTRY_POINTS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert inspect.isclass(found)
    return found


def make(name: str) -> object:
    found = plugin_class(name)
    return found(found.Settings.model_validate(SETTINGS[name]))


def test_every_hook_but_the_reserved_ones_has_a_plugin():
    declared = {
        name
        for specs in (hookspecs, serverspecs)
        for name, spec in vars(specs).items()
        if hasattr(spec, "aiodhcp_spec")
    }
    hooks = Hooks(make(name) for name in ENTRY_POINTS)
    assert len(declared) == 19
    assert {each.hook for each in hooks.implementations} == declared - RESERVED


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_a_plugin_has_the_name_of_its_entry_point(name):
    assert plugin_class(name).name == name
    assert [each.name for each in Hooks([make(name)]).plugins] == [name]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_settings_are_strict_and_described(name):
    model = plugin_class(name).Settings
    assert model.model_config["strict"]
    assert model.model_config["extra"] == "forbid"
    for key, field in model.model_fields.items():
        assert field.description, key


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_settings_are_documented(name):
    page = (ROOT / "docs/plugins-ready-made.md").read_text()
    section = page.partition(f"\n## `{name}`")[2].partition("\n## ")[0]
    assert f'use = "{name}"' in section
    for key in plugin_class(name).Settings.model_fields:
        assert f"`{key.replace('_', '-')}`" in section, key


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_the_settings_of_the_docs_are_what_the_plugin_takes(name):
    page = (ROOT / "docs/plugins-ready-made.md").read_text()
    section = page.partition(f"\n## `{name}`")[2].partition("\n## ")[0]
    examples = re.findall(r"^```toml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        for entry in tomllib.loads(example)["plugins"]:
            found = plugin_class(entry["use"])
            found(found.Settings.model_validate(entry.get("settings", {})))
