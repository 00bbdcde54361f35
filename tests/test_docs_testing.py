"""The page "Test your hooks" does what it says: its files are written, and their tests pass."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from aiodhcp.cli import app

PAGE = (Path(__file__).resolve().parent.parent / "docs/testing.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`[^`]*:\n\n```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_tests_of_the_page_pass(pytester):
    assert list(FILES) == [
        "guests.py",
        *(f"test_{name}.py" for name in ("guests", "async", "time", "trace", "errors", "which_server")),
    ]
    for name, code in FILES.items():
        (pytester.path / name).write_text(code)
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess(
        *("-p", "aiodhcp_pytest", "-p", "no:cacheprovider", "-p", "no:cov", "-W", "error"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    tests = sum(code.count("def test_") for code in FILES.values())
    result.assert_outcomes(passed=tests)


def test_the_console_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (session,) = re.findall(r"^```console\n\$ aiodhcp (.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    result = CliRunner().invoke(app, session[0].split())
    assert result.output == session[1]
