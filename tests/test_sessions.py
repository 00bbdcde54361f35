"""The terminals that pages show: pictures of what the commands still print."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import typer.main

from aiodhcp.cli import app

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "docs/generator/sessions.py"
PICTURES = sorted((ROOT / "docs/sessions").glob("*.svg"))


def said(picture: Path) -> str:
    """The words of a picture, without what differs from one time to the next."""
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", picture.read_text())
    words = html.unescape(" ".join(texts)).replace("\xa0", " ")
    return " ".join(re.sub(r"[\d.]+ [µm]?s\b", "some time", words).split())


def test_the_pictures_are_what_is_printed(tmp_path: Path) -> None:
    names = ("explain", "hooks")
    subprocess.run([sys.executable, SCRIPT, "--to", tmp_path, *names], check=True, timeout=120, capture_output=True)
    explain, hooks = (said(tmp_path / f"{name}.svg") for name in names)
    assert explain == said(ROOT / "docs/sessions/explain.svg")
    # Which plugins there are to choose from may differ.
    loaded = hooks[hooks.index("Loaded, in this order") :]
    assert loaded == re.sub(r".*(?=Loaded, in this order)", "", said(ROOT / "docs/sessions/hooks.svg"))
    assert "select_lease_time" in loaded


def test_the_commands_of_the_pictures_exist() -> None:
    commands = typer.main.get_command(app).commands
    for picture in PICTURES:
        shown = re.search(r"\$ aiodhcp ([\w-]+)", said(picture))
        assert shown, picture
        assert shown[1] in commands


def test_the_pictures_are_shown_small_and_fetch_nothing() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert PICTURES
    for picture in PICTURES:
        text = picture.read_text()
        assert f"](sessions/{picture.name})" in pages
        assert len(text) < 30_000
        assert "url(http" not in text
        assert "@import" not in text
