"""The documentation as a site: it builds without a warning, all of it is found, and nothing leads nowhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import typer.main

import aiodhcp
import aiodhcp.testing
from aiodhcp.cli import app

ROOT = Path(__file__).resolve().parent.parent
SLOW = 40
"""Seconds: a build that takes longer is none that one has beside while writing."""
NEEDED = ("mkdocs", "material", "mkdocstrings")


class Page(HTMLParser):
    """What a page of the site has: names to lead to, where its links lead, and what is fetched with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.names |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag != "a":
            self.fetched += [found[name] for name in ("href", "src") if name in found]


class Site(NamedTuple):
    """The site as it was built."""

    directory: Path
    pages: dict[str, Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    missing = [each for each in NEEDED if importlib.util.find_spec(each) is None]
    if missing:
        pytest.skip(f"not installed, and in the dependency group docs: {', '.join(missing)}")
    directory = tmp_path_factory.mktemp("site")
    # User and system time: the machine may be busy.
    before = os.times()
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", directory],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    after = os.times()
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "WARNING" not in said, said
    assert after.children_user + after.children_system - before.children_user - before.children_system < SLOW
    pages = {path.relative_to(directory).as_posix(): Page(path.read_text()) for path in directory.rglob("*.html")}
    return Site(directory, pages)


def test_every_page_is_there_and_in_the_nav(site: Site) -> None:
    nav = re.findall(r"([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(nav) == len(set(nav))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written <= set(nav)
    for page in nav:
        assert re.sub(r"(\bREADME)?\.md$", lambda each: "index.html" if each[1] else ".html", page) in site.pages


def test_every_link_leads_somewhere(site: Site) -> None:
    wrong = []
    for name, page in site.pages.items():
        # What is fetched is of the same site: it is read without a network.
        for target in (*page.links, *page.fetched):
            scheme, host, path, _, fragment = urlsplit(target)
            if scheme or host:
                if target not in page.links:
                    wrong.append(f"{name} fetches {target}")
                continue
            # The page for what isn't there may be shown anywhere, and so begins at the root.
            start = site.directory if path.startswith("/") else (site.directory / name).parent
            file = Path(os.path.normpath(start / unquote(path).lstrip("/"))) if path else site.directory / name
            file = file / "index.html" if file.is_dir() else file
            other = site.pages.get(file.relative_to(site.directory).as_posix())
            if not file.is_file() or (fragment and other is not None and unquote(fragment) not in other.names):
                wrong.append(f"{name} → {target}")
    assert not wrong


def test_every_public_name_is_on_a_page(site: Site) -> None:
    names = set().union(*(page.names for path, page in site.pages.items() if path.startswith("python/")))
    for package in (aiodhcp, aiodhcp.testing):
        assert not [each for each in package.__all__ if f"{package.__name__}.{each}" not in names]


def test_the_settings_of_every_plugin_are_on_a_page(site: Site) -> None:
    names = site.pages["python/plugins.html"].names
    plugins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["aiodhcp"]
    assert set(plugins) <= names


def commands(name: str, command: object) -> Iterator[str]:
    yield name
    for each, inner in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {each}", inner)


def test_every_command_is_on_a_page(site: Site) -> None:
    every = set(commands("aiodhcp", typer.main.get_command(app)))
    assert "aiodhcp callout run" in every
    assert {each.replace(" ", "-") for each in every} <= site.pages["commands.html"].names


def test_it_can_be_searched(site: Site) -> None:
    index = (site.directory / "search/search_index.json").read_text()
    for words in ("select_lease_time", "DhcpServer", "aiodhcp force-renew", "domain-name-servers"):
        assert words in index
