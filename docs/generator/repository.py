"""Files of the repository that pages link to and that are not in docs/: each has a page too, and links lead there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["outside_of_code", "repository_pages", "with_links"]

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "examples/callouts/README.md")
LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown", ".c": "c", ".h": "c"}
UNDER = "repository/"


def repository_pages() -> dict[str, str]:
    """Those files as Markdown, by the paths of their pages: pages as they are, others as code."""
    found: dict[str, str] = {}
    waiting = [*ALWAYS, *(path for page in (ROOT / "docs").glob("*.md") for path in _linked(page))]
    while waiting:
        path = waiting.pop()
        page = page_of(path)
        if page in found or not page.startswith(UNDER):
            continue
        found[page] = _shown(path)
        if path.endswith(".md"):
            waiting += _linked(ROOT / path)
    return found


def page_of(path: str) -> str:
    """The page for a file of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"{UNDER}{path}/index.md"
    return UNDER + (path if path.endswith(".md") else f"{path}.md")


def with_links(markdown: str, page: str) -> str:
    """A page whose links to files of the repository lead to their pages. What is no file stays: mkdocs says so."""
    here = page.removeprefix(UNDER) if page.startswith(UNDER) else f"docs/{page}"

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[2]))
        written = target.startswith("docs/") and here.startswith("docs/")
        if written or not (ROOT / target).exists():
            return link[0]
        return link[1] + posixpath.relpath(page_of(target), posixpath.dirname(page)) + (link[3] or "")

    return outside_of_code(markdown, lambda text: LINK.sub(lead, text))


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """A page of which all is changed but its blocks of code."""
    return "".join(text if at % 2 else change(text) for at, text in enumerate(FENCE.split(markdown)))


def _linked(page: Path) -> Iterator[str]:
    """The files of the repository that a page links to."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    directory = page.parent.relative_to(ROOT).as_posix()
    for link in LINK.finditer(text):
        path = posixpath.normpath(posixpath.join(directory, link[2]))
        if (ROOT / path).exists():
            yield path


def _shown(path: str) -> str:
    if path.endswith(".md"):
        return (ROOT / path).read_text(encoding="utf-8")
    file = ROOT / path
    if not file.is_dir():
        return f"# `{file.name}`\n\n`{path}`\n\n{_code(file)}"
    files = sorted(each for each in file.rglob("*") if each.is_file() and each.suffix in LANGUAGES)
    parts = [f"## `{each.relative_to(file).as_posix()}`\n\n{_code(each)}" for each in files]
    return "\n\n".join([f"# {file.name}", f"`{path}`", *parts])


def _code(file: Path) -> str:
    return f"````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8')}````\n"
