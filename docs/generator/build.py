"""What mkdocs calls: adds the pages that are made at build time, and lets links to the repository lead to them."""

from __future__ import annotations

import re

from commands import commands_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from python_api import api_pages
from repository import outside_of_code, repository_pages, with_links

ROW = re.compile(r"^\|.*$", re.MULTILINE)
CODE = re.compile(r"`[^`]+`")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that nobody writes."""
    try:
        api = api_pages()
    except ValueError as error:
        raise PluginError(str(error)) from None
    for path, markdown in {"commands.md": commands_page(), **api, **repository_pages()}.items():
        files.append(File.generated(config, path, content=markdown))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to their pages. In the code of a table a bar needs no backslash here, which it does elsewhere."""
    markdown = with_links(markdown, page.file.src_uri)
    return outside_of_code(markdown, lambda text: ROW.sub(_without_backslashes, text))


def _without_backslashes(row: re.Match[str]) -> str:
    return CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0])
