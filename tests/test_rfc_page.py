"""docs/rfc.md names a test for each thing that it says is implemented; the tests are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "rfc.md").read_text()
OPTIONS = (TESTS.parent / "docs" / "options.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)))


@cache
def defined_in(file: str) -> set[str]:
    """The tests of a file, as it defines them."""
    tree = ast.parse((TESTS / file).read_text())
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in defined_in(file)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_names_a_test(row: str) -> None:
    numbers, _, what, shown = (cell.strip() for cell in row.strip("|").split("|"))
    assert re.fullmatch(r"\d{3,4}(, \d{3,4})*", numbers)
    assert what
    assert re.fullmatch(r"`test_\w+\.py::test_\w+`(, `test_\w+\.py::test_\w+`)*", shown)


def test_every_rfc_that_an_option_is_from_is_there() -> None:
    """Each that the page of options names."""
    told = {number for row in ROWS for number in re.findall(r"\d+", row.split("|")[1])}
    assert set(re.findall(r"RFC (\d+)", OPTIONS)) - told == set()


def test_the_page_is_read() -> None:
    assert len(ROWS) > 30
    assert len(NAMED) > 40
