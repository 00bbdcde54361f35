"""aiodhcp on Windows: its tests, and a server that real clients ask, both on a Python of Windows under Wine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import wine_kit
from windows_python import COMPILER, WindowsPython, windows_path

from aiodhcp.namespaces import Host, Network, obstacle

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "callouts"

INSIDE = (
    "tests/windows/inside/test_on_windows.py",
    "tests/test_transports.py",
    "tests/test_stores.py",
    "tests/callout/test_callout_registry.py",
    "tests/callout/test_callout_calls.py",
    "tests/callout/test_callout_packets.py",
)
OTHERWISE = {
    "test_udp_answers_where_the_request_came_from": "where a datagram was sent to isn't known on Windows",
    "test_udp_receives_a_burst_and_long_messages": "there one that is too long is an error",
    "test_udp_drains_64_a_time": "the event loop of Windows hands over one at a time",
    "test_udp_host_of_another_machine": "Wine binds any address",
    "[process": "each has a Python of Windows to start: one in inside/ does for all",
    "-process": "likewise",
    "test_a_killed_process_holds_nothing": "Windows has no SIGKILL",
    "test_reading_names_with_every_character": "? is not for names on Windows",
}
"""Tests that don't hold there, and why."""

TOLD_TO_END = """
import logging, signal, sys, threading
from aiodhcp.cli import app

class Serves(logging.Handler):
    def emit(self, record):
        if "serving" in record.getMessage():
            threading.Timer(0.2, signal.raise_signal, (getattr(signal, sys.argv[1]),)).start()

logging.getLogger("aiodhcp.server").addHandler(Serves())
app(["serve", sys.argv[2]])
"""

CONFIG = """
log-level = "debug"
lease-time = "2h"
server-id = "192.0.2.1"
options = {{ routers = "192.0.2.1" }}
{more}

[transport]
type = "udp"
port = 67

[store]
path = "leases.sqlite"

[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.100-192.0.2.199"]
"""


@pytest.fixture(scope="session")
def dlls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where logger.dll and mac_filter.dll are."""
    directory = tmp_path_factory.mktemp("dlls")
    make = ["make", "--silent", "-C", EXAMPLES, "dll", f"OUT={directory}", "NAMES=logger mac_filter"]
    done = subprocess.run([*make, f"MINGW={COMPILER}"], capture_output=True, text=True, check=False, timeout=60)
    assert not done.returncode, done.stderr
    for source in sorted((ROOT / "tests" / "callout").glob("*.c")):
        flags = ("-std=c99", "-O1", "-D__USE_MINGW_ANSI_STDIO=1", "-static-libgcc", "-shared", "-Wl,--kill-at")
        command = [COMPILER, *flags, f"-I{EXAMPLES}", "-o", directory / f"{source.stem}.dll", source]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert not done.returncode, done.stderr
    (directory / "list.txt").write_text("MAC_ACTION = {DENY}\n020000000002\n")
    return directory


def callout_environment(dlls: Path) -> dict[str, str]:
    """Where the callouts find what they need; a C library of Windows takes it from the environment at its start."""
    files = {"CALLOUT_MAC_LIST": dlls / "list.txt", "CALLOUT_LOG": dlls / "callouts.log"}
    return {"CALLOUT_LIBRARIES": windows_path(dlls), **{name: windows_path(path) for name, path in files.items()}}


@pytest.fixture(scope="session", autouse=True)
def begun(
    windows_python: WindowsPython, dlls: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.Popen[str], Path]:
    """The tests that are run on Windows, while those below ask servers there; and where they report."""
    report = tmp_path_factory.mktemp("inside") / "report.xml"
    process = windows_python.popen(
        *("-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "--durations=12", "--continue-on-collection-errors"),
        *("-k", " and ".join(f"not {name}" for name in OTHERWISE)),
        *("-o", "junit_family=xunit1", f"--junitxml={windows_path(report)}", *INSIDE),
        env=callout_environment(dlls),
    )
    return process, report


def test_it_ends_as_it_should_when_it_is_told_to(windows_python: WindowsPython, tmp_path: Path) -> None:
    serving = {}
    for name in ("SIGINT", "SIGBREAK"):
        config = tmp_path / name / "aiodhcp.toml"
        config.parent.mkdir()
        config.write_text(CONFIG.format(more="").replace("port = 67", 'host = "127.0.0.1"\nport = 0'))
        serving[name] = windows_python.popen("-c", TOLD_TO_END, name, windows_path(config))
    for name, process in serving.items():
        said = "".join(process.communicate(timeout=40))
        assert (name, process.returncode, "stopped" in said) == (name, 0, True), said


# a server in a network


class Server:
    """``aiodhcp serve`` on Windows, in a host."""

    def __init__(self, host: Host, python: Path, prefix: Path, directory: Path, more: str = "", **env: str) -> None:
        self.log: list[str] = []
        self.config = directory / "aiodhcp.toml"
        self.config.write_text(CONFIG.format(more=more))
        self._python = WindowsPython(python, prefix)
        self._host = host
        self._env = {**wine_kit.environment(prefix), **env}
        nowhere = subprocess.DEVNULL
        # First the services of Wine, which would keep our pipe, and go with the host.
        for command in (["wineserver", "-p"], ["wine", "cmd", "/c", "exit"]):
            assert host.popen(command, env=self._env, stdout=nowhere, stderr=nowhere).wait(30) == 0
        self.process = host.popen(
            self._python.command("-m", "aiodhcp", "serve", windows_path(self.config)),
            env=self._env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.says("serving 192.0.2.0/24", 30)

    def _read(self) -> None:
        try:
            self.log.extend(iter(self.process.stdout.readline, ""))
        except ValueError:  # the network ended and closed the pipe
            pass

    def says(self, words: str, timeout: float = 5) -> str:
        """The line of the log that has these words, now or soon."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for line in list(self.log):
                if words in line:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"the server did not say {words!r} within {timeout} s, but:\n{''.join(self.log)}")


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """A server with 192.0.2.1, cabled to a client without an address."""
    if why := obstacle():
        pytest.skip(why)
    with Network() as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, "eth0", client, "eth0")
        server.run("ip addr add 192.0.2.1/24 dev eth0")
        server.run("ip route add 255.255.255.255 dev eth0")
        yield server, client


@pytest.fixture(scope="module")
def server(
    hosts: tuple[Host, Host], windows_directory: Path, dlls: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server on Windows that has two callouts: one denies 02:00:00:00:00:02, the other writes a log."""
    listed = ", ".join(f"'{windows_path(dlls / name)}'" for name in ("mac_filter.dll", "logger.dll"))
    settings = f'{{ CalloutDlls = [{listed}], CalloutEnabled = 1, mode = "inline" }}'
    plugins = f'plugins = [{{ use = "aiodhcp.callout.loading:callouts", settings = {settings} }}]'
    directory = tmp_path_factory.mktemp("server")
    with wine_kit.another_prefix() as prefix:
        yield Server(hosts[0], windows_directory, prefix, directory, plugins, **callout_environment(dlls))


def ask(client: Host, *more: str) -> dict[str, str]:
    """What ``aiodhcp probe`` is given."""
    said = client.run(
        [sys.executable, "-m", "aiodhcp", "probe", "--interface", "eth0", "--json", "--retries", "2", *more]
    )
    return json.loads(said.stdout)


def test_clients_get_leases_of_a_server_on_windows(hosts: tuple[Host, Host], server: Server) -> None:
    host, client = hosts
    assert "192.0.2.100" in str(ask(client, "--hardware-address", "02:00:00:00:00:01"))
    assert "192.0.2.101" in str(ask(client, "--hardware-address", "02:00:00:00:00:03"))
    assert "192.0.2.100" in str(ask(client, "--hardware-address", "02:00:00:00:00:01"))
    server.says("there is no control socket")
    if shutil.which("udhcpc"):
        said = client.run("udhcpc -f -q -n -t 3 -T 2 -i eth0 -s /bin/true", timeout=15)
        assert "lease of 192.0.2.102 obtained" in said.stdout + said.stderr
    # On stable storage: the file can be read from outside of Windows, too.
    store = server.config.with_name("leases.sqlite")
    leases = host.run([sys.executable, "-m", "aiodhcp", "leases", "--store", str(store), "--json"])
    assert [json.loads(line)["state"] for line in leases.stdout.splitlines()][:2] == ["active", "active"]


def test_callout_dlls_filter_and_log_in_it(hosts: tuple[Host, Host], server: Server, dlls: Path) -> None:
    _, client = hosts
    server.says("callout mac_filter: version 0")
    server.says("callout logger: version 0")
    assert "192.0.2.100" in str(ask(client, "--hardware-address", "02:00:00:00:00:01"))
    with pytest.raises(AssertionError, match=r"no server|no answer|answered"):
        ask(client, "--hardware-address", "02:00:00:00:00:02", "--retries", "0", "--timeout", "1")
    assert "192.0.2.100" in (dlls / "callouts.log").read_text()


# tests of ours


@pytest.fixture(scope="session")
def inside(begun: tuple[subprocess.Popen[str], Path]) -> dict[str, list[ElementTree.Element]]:
    """The results of all that is run on Windows, by file."""
    process, report = begun
    try:
        said = "".join(process.communicate(timeout=100))
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("\n".join(("still ran after 100 s", *process.communicate()))) from None
    print(said)
    assert report.exists(), said
    results: dict[str, list[ElementTree.Element]] = {name: [] for name in INSIDE}
    for case in ElementTree.parse(report).iter("testcase"):
        file = (case.get("file") or case.get("name", "").replace(".", "/") + ".py").replace("\\", "/")
        results.setdefault(file, []).append(case)
    return results


@pytest.mark.parametrize("file", INSIDE)
def test_it_passes_on_windows(inside: dict[str, list[ElementTree.Element]], file: str) -> None:
    cases = inside[file]
    wrong = [
        f"{case.get('name')}: {result.get('message')}\n{result.text}"
        for case in cases
        for result in case
        if result.tag in ("failure", "error")
    ]
    assert not wrong, "\n".join(wrong)
    assert any(not len(case) for case in cases), f"none of {file} was run"
