"""What docs/side-by-side.md shows: aiodhcp does it, dhcpd and Kea take their configurations.

That they do the same is tried in integration/test_side_by_side.py.
"""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client
from side_by_side import CONVERSATIONS, PAGE, behind_a_relay_agent, copied, kea, obstacle, renewals_past_the_agent

from aiodhcp import Engine, Settings

every_configuration = pytest.mark.parametrize("heading", CONVERSATIONS)


def test_there_are_ten_and_each_has_three_forms() -> None:
    assert len(CONVERSATIONS) == 10
    assert list(PAGE) == list(CONVERSATIONS)
    assert {tuple(forms) for forms in PAGE.values()} == {("dhcpd", "json", "toml")}


@every_configuration
def test_aiodhcp_does_it(heading: str, new_client: Callable[..., Client]) -> None:
    engine = Engine(Settings.of(tomllib.loads(PAGE[heading]["toml"])).config())
    clients = behind_a_relay_agent(lambda **options: new_client(engine, **options))
    CONVERSATIONS[heading](clients)
    if heading == "Behind a relay agent":
        renewals_past_the_agent(clients)


@pytest.mark.skipif(bool(obstacle("dhcpd")), reason=obstacle("dhcpd"))
@every_configuration
def test_dhcpd_takes_its_form(heading: str, tmp_path: Path) -> None:
    (tmp_path / "dhcpd.conf").write_text(PAGE[heading]["dhcpd"])
    check(str(copied("dhcpd", tmp_path)), "-4", "-t", "-cf", str(tmp_path / "dhcpd.conf"))


@pytest.mark.skipif(bool(obstacle("kea-dhcp4")), reason=obstacle("kea-dhcp4"))
@every_configuration
def test_kea_takes_its_form(heading: str, tmp_path: Path) -> None:
    # Kea looks whether there is such an interface.
    text = json.dumps(kea(heading)).replace('"eth0"', '"lo"')
    (tmp_path / "kea.json").write_text(text)
    check(str(copied("kea-dhcp4", tmp_path)), "-t", str(tmp_path / "kea.json"))


def check(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
