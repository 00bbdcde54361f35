"""``aiodhcp new-plugin``: what it makes is tested, type-checked, built, installed, and loaded by its name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aiodhcp.cli import app
from aiodhcp.plugin_skeleton import DEFAULT_HOOKS, HOOKS, Names, files_of
from aiodhcp.testing import MemoryServer

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]


def new_plugin(*words: str):
    return CliRunner().invoke(app, ["new-plugin", *words])


def made(directory: Path, name: str, *more: str) -> Path:
    target = directory / f"aiodhcp-{name}"
    result = new_plugin(name, "--directory", str(target), *more)
    assert result.exit_code == 0, result.output
    return target


def installed(what: Path, target: Path) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds it, is not installed")
    subprocess.run([*PIP, "--no-build-isolation", "--target", target, what], check=True, timeout=60)
    return target


def pytest_in(directory: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:cov"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_its_tests_pass_where_aiodhcp_is_installed(tmp_path):
    """By pip, from its wheel: nothing but that tells pytest of the fixtures."""
    result = pytest_in(made(tmp_path, "guest-names"), installed(ROOT, tmp_path / "site"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout


@pytest.mark.parametrize(
    "hooks", [[hook] for hook in HOOKS] + [list(HOOKS), ["dhcp_new_pkt", "lease_expired"]], ids=len
)
def test_the_tests_pass_with_any_hooks(pytester, hooks):
    names = Names.of("guest-names")
    for path, text in files_of(names, hooks).items():
        (pytester.path / path).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / path).write_text(text)
    result = pytester.runpytest_inprocess(
        "-p", "aiodhcp_pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:cov"
    )
    assert result.ret == 0
    assert set(result.parseoutcomes()) == {"passed"}


def test_it_is_typed_and_tidy(tmp_path):
    missing = [name for name in ("ruff", "mypy") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    target = made(tmp_path, "everything", "--hooks", ",".join(HOOKS))
    for path, text in files_of(Names.of("something"), DEFAULT_HOOKS).items():
        if path.endswith(".py"):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text)
    for check in (["ruff", "check", "--select", "E,F,I,B,UP,RUF,RET,PT"], ["ruff", "format", "--check"]):
        subprocess.run([sys.executable, "-m", *check, "--no-cache", "."], cwd=target, check=True, timeout=60)
    environment = {**os.environ, "MYPYPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports", "silent", "src", "tests"]
    result = subprocess.run(
        command, cwd=target, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.startswith("Success: no issues found in 4 source files"), result.stdout + result.stderr


def test_it_is_built_installed_and_loaded_by_its_name(tmp_path, monkeypatch):
    target = made(tmp_path, "guest-names")
    monkeypatch.syspath_prepend(installed(target, tmp_path / "site"))
    (tmp_path / "dhcp.toml").write_text(
        'interfaces = ["eth0"]\nsubnet = [{subnet = "192.0.2.0/24", pools = ["192.0.2.10"]}]\n'
        + toml_of_the_readme(target)
    )
    server = MemoryServer(tmp_path / "dhcp.toml")
    assert server.plugins[0].source == "aiodhcp-guest-names 0.1.0"
    assert server.client().sync.dora().options["domain-name"] == "guests.example"
    server.close()
    assert new_plugin("guest-names").output == (
        "NAME: there is a plugin 'guest-names' already, of aiodhcp-guest-names 0.1.0\n"
    )
    del sys.modules["aiodhcp_guest_names"]


def toml_of_the_readme(target: Path) -> str:
    return (target / "README.md").read_text().partition("```toml\n")[2].partition("```")[0]


def test_what_the_readme_says_is_right(tmp_path):
    target = made(tmp_path, "guest-names", "--hooks", "dhcp_new_pkt, select_lease_time", "--hooks", "lease_expired")
    table = tomllib.loads(toml_of_the_readme(target))["plugins"][0]
    assert table == {
        "use": "guest-names",
        "settings": {"deny": ["de:ad"], "longest-lease": 3600, "label": "guest-names"},
    }
    project = tomllib.loads((target / "pyproject.toml").read_text())
    assert project["project"]["name"] == "aiodhcp-guest-names"
    assert project["project"]["entry-points"] == {"aiodhcp": {"guest-names": "aiodhcp_guest_names:GuestNames"}}
    assert "aiodhcp" in project["project"]["dependencies"]
    assert project["dependency-groups"] == {"test": ["pytest>=8"]}


def test_what_it_prints_is_what_to_do_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = new_plugin("aiodhcp-guest-names")
    assert result.exit_code == 0
    *files, _, _, into, test, switch_on = result.output.splitlines()
    assert sorted(files) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert (tmp_path / into.removeprefix("  cd ")).is_dir()
    assert test == "  pip install -e . pytest && pytest"
    assert 'plugins = ["guest-names"]' in switch_on


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Guest"], "NAME: expected a name of small letters, digits and hyphens, like guest-names, got 'Guest'"),
        (["guest_names"], "NAME: expected a name"),
        (["../guest"], "NAME: expected a name"),
        (["guest\n"], "NAME: expected a name"),
        (["aiodhcp-"], "NAME: expected a name"),
        (["g" * 51], "NAME: expected a name"),
        (["access"], "NAME: there is a plugin 'access' already, of aiodhcp"),
        (["plugins"], "NAME: there is a module 'aiodhcp_plugins' already"),
        (["guest", "--hooks", "dhcp_send"], "--hooks: there is no hook 'dhcp_send'; did you mean 'dhcp_pkt_send'?"),
        (["guest", "--hooks", "dhcp_reserved"], "--hooks: there is no hook 'dhcp_reserved'"),
        (["guest", "--hooks", ""], "--hooks: there is no hook ''; there are dhcp_control, "),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    result = new_plugin(*words)
    assert result.exit_code == 2
    assert result.output.startswith(said)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(tmp_path):
    target = tmp_path / "there"
    target.mkdir()
    result = new_plugin("guest", "--directory", str(target))
    assert (result.exit_code, list(target.iterdir())) == (1, [])
    assert result.output == f"aiodhcp: {target} is there already, and nothing is changed in it\n"
    file = tmp_path / "file"
    file.touch()
    assert "is there already" in new_plugin("guest", "--directory", str(file)).output
    result = new_plugin("guest", "--directory", str(file / "below"))
    assert result.exit_code == 1
    assert result.output == f"aiodhcp: {file / 'below'}: Not a directory\n"
