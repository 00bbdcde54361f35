"""docs/tutorial.md does what it says: its files, its console, and the package that it ends with."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from test_plugin_guide import PORT, Console, free_port, read_guide

TUTORIAL = read_guide("tutorial.md")
OFFLINE = (
    f"{sys.executable} -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation"
)


def test_the_tutorial_does_what_it_says(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the package, is not installed")
    here, installed = tmp_path / "you", tmp_path / "installed"
    here.mkdir()
    console, port, files, sessions = Console(here, installed), free_port(), [], 0
    console.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        for block in TUTORIAL:
            code = block.code.replace(PORT, port)
            if block.language == "console":
                # Where the network may be away, and the environment isn't the test's.
                console.play(code.replace("$ pip install", f"$ {OFFLINE} --target {installed}"))
                sessions += 1
            elif block.language != "text":
                assert block.file, code
                (here / block.file).write_text(code)
                files.append(block.file)
    finally:
        console.stop()
    assert sessions == 5
    assert files == [
        "dhcp.toml",
        "lobby.py",
        "aiodhcp-lobby/src/aiodhcp_lobby/__init__.py",
        "aiodhcp-lobby/tests/test_lobby.py",
    ]
    # What "new-plugin" made was replaced, not left beside.
    assert sorted(path.name for path in (here / "aiodhcp-lobby").rglob("*.py")) == ["__init__.py", "test_lobby.py"]
