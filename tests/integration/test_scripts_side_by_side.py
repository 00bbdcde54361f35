"""The plugin scripts runs a script as dnsmasq and Kea run it: the same clients of both, in networks of their own."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from namespaces import Network, obstacle
from wire import PATIENCE

WHERE_KEA_HAS_IT = sorted(Path("/usr/lib").glob("*/kea/hooks/libdhcp_run_script.so"))
pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")

AGENT = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from wire import *
from wire import _address
AGENT = "192.0.2.254"
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((AGENT, 67))
sock.settimeout(5)
def tell(kind, client, *options, **more):
    sock.sendto(message(kind, client, options, giaddr=AGENT, **more), ("192.0.2.1", 67))
def ask(*said, **more):
    tell(*said, **more)
    return read(sock.recv(2000))
def join(client, *options):
    offer = ask(DISCOVER, client, *options)
    assert ask(REQUEST, client, _address(50, offer.yiaddr), _address(54, SERVER), *options).kind == ACK
IP = "192.0.2.43"
O82 = (82, bytes([1, 4]) + b"eth7" + bytes([2, 3]) + b"\\0\\1\\xff" + bytes([6, 3]) + b"sub")
ID = (61, b"\\xffid")
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("said", flush=True)
"""
MINE = """\
interfaces = ["eth0"]
server-id = "192.0.2.1"
authoritative = true
lease-time = 3600

[store]
type = "memory"

[[class]]
name = "lan"
test = "option[53].exists"

[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.43"]

[[plugins]]
use = "aiodhcp_plugins.scripts:Scripts"

[plugins.settings]
script = "script"
form = "{form}"
domain = "office.example"
"""


class Server:
    """A server in a network of its own with a relay agent, and what it has its script do."""

    def __init__(self, net: Network, name: str, directory: Path) -> None:
        self.host, self.agent = net.host(f"{name}-server"), net.host(f"{name}-agent")
        net.link(self.host, "eth0", self.agent, "eth0")
        self.host.run("ip addr add 192.0.2.1/24 dev eth0")
        self.agent.run("ip addr add 192.0.2.254/24 dev eth0")
        self.directory = directory / name
        self.directory.mkdir()
        self.notebook = self.directory / "notebook"
        script = self.directory / "script"
        script.write_text(
            f"#!{sys.executable} -SE\nimport json, os, sys\n"
            "said = {name: value for name, value in os.environ.items() if name[:4] in "
            "('DNSM', 'QUER', 'LEAS', 'DELE', 'SUBN', 'PKT4')}\n"
            f"open({str(self.notebook)!r}, 'a').write(json.dumps([sys.argv[1:], said]) + '\\n')\n"
        )
        script.chmod(0o755)
        self.script = script
        self.process: subprocess.Popen[Any] | None = None
        self.clients = self.agent.popen_python(AGENT, Path(__file__).resolve().parents[1], stdin=subprocess.PIPE)
        assert self.clients.stdout.readline() == "ready\n"

    def start(self, command: Sequence[str], ready: str, **env: str) -> None:
        with (self.directory / "log").open("wb") as log:
            self.process = self.host.popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        self._until(lambda: ready in (self.directory / "log").read_text())

    def said(self, code: str, count: int) -> list[Any]:
        """What the script is told, ``count`` times, when clients say something; an empty ``code`` is SIGHUP."""
        before = len(self._notes())
        if code:
            self.clients.stdin.write(f"{code}\n")
            self.clients.stdin.flush()
            assert self.clients.stdout.readline() == "said\n"
        else:
            assert self.process is not None
            self.process.send_signal(signal.SIGHUP)
        self._until(lambda: len(self._notes()) >= before + count)
        return [json.loads(line) for line in self._notes()[before:]]

    def _notes(self) -> list[str]:
        return self.notebook.read_text().splitlines() if self.notebook.exists() else []

    def _until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, (self.directory / "log").read_text()[-2000:]
            time.sleep(0.02)


def aiodhcp(net: Network, directory: Path, form: str) -> Server:
    server = Server(net, "aiodhcp", directory)
    (server.directory / "aiodhcp.toml").write_text(MINE.format(form=form))
    server.start([sys.executable, "-m", "aiodhcp", "serve", str(server.directory / "aiodhcp.toml")], "serving")
    return server


def plain(runs: Sequence[Any], *without: str) -> list[Any]:
    """Runs without what differs by the time of day, or by the machine."""
    comparable = []
    for arguments, variables in runs:
        said = {name: value for name, value in variables.items() if not any(re.search(each, name) for each in without)}
        for name, value in said.items():
            if re.search("EXPIRES|CLTT|TIME_REMAINING", name):
                said[name] = f"{len(value)} digits" if "REMAINING" not in name else str(round(int(value), -2))
        comparable.append([arguments, said])
    return comparable


@pytest.mark.skipif(shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin") is None, reason="not installed: dnsmasq")
def test_as_dnsmasq_does(net: Network, tmp_path: Path) -> None:
    theirs, ours = Server(net, "dnsmasq", tmp_path), aiodhcp(net, tmp_path, "dnsmasq")
    options = "--dhcp-authoritative --no-ping --domain=office.example --dhcp-range=set:lan,192.0.2.43,192.0.2.43,1h"
    where = [f"--dhcp-{what}={theirs.directory / what}" for what in ("leasefile", "script")]
    command = ["dnsmasq", "-k", "-p0", "-C/dev/null", "--log-facility=-", "--user=root", *options.split(), *where]
    theirs.start([*command, f"--pid-file={theirs.directory / 'pid'}"], "DHCP, IP range")
    scenes = {
        'join(1, ID, O82, (12, b"pc-17"), (60, b"Ven\\"dor X\\n"), (77, b"\\3abc\\2de"), (55, bytes([1, 3, 6])))': 1,
        'ask(REQUEST, 1, ID, O82, (12, b"pc-18.example.org"), ciaddr=IP)': 2,
        'join(1, ID, (12, b"pc-19"), (60, b"V"))': 2,
        'ask(REQUEST, 1, ID, _address(50, IP), (12, b"pc-20"))': 2,
        "tell(RELEASE, 1, ID, _address(54, SERVER), ciaddr=IP)": 1,
        'join(2, ID, (77, b"oneclass"), (12, b"PC-2.office.example"))': 1,
        "": 1,
        "tell(DECLINE, 2, ID, _address(50, IP), _address(54, SERVER))": 1,
    }
    forgotten: tuple[str, ...] = ()
    for code, count in scenes.items():
        if not code:  # where a client came from is not kept over a reload
            forgotten = ("RELAY_ADDRESS",)
        expected, said = theirs.said(code, count), ours.said(code, count)
        assert plain(said, *forgotten) == plain(expected, *forgotten), code


@pytest.mark.skipif(
    not WHERE_KEA_HAS_IT or shutil.which("kea-dhcp4", path="/usr/sbin") is None, reason="not installed: kea-dhcp4"
)
def test_as_kea_does(net: Network, tmp_path: Path) -> None:
    theirs, ours = Server(net, "kea", tmp_path), aiodhcp(net, tmp_path, "kea")
    copied = shutil.copy("/usr/sbin/kea-dhcp4", theirs.directory)  # AppArmor keeps the other one from files of ours
    library = {"library": str(WHERE_KEA_HAS_IT[0]), "parameters": {"name": str(theirs.script), "sync": False}}
    subnet = {"id": 1, "subnet": "192.0.2.0/24", "interface": "eth0", "pools": [{"pool": "192.0.2.43-192.0.2.43"}]}
    settings = {
        "valid-lifetime": 3600,
        "authoritative": True,
        "decline-probation-period": 86400,
        "interfaces-config": {"interfaces": ["eth0"]},
        "lease-database": {"type": "memfile", "persist": False},
        "subnet4": [subnet],
        "hooks-libraries": [library],
    }
    (theirs.directory / "kea.json").write_text(json.dumps({"Dhcp4": settings}))
    here = {"KEA_PIDFILE_DIR": str(theirs.directory), "KEA_LOCKFILE_DIR": str(theirs.directory)}
    command = [copied, "-c", str(theirs.directory / "kea.json")]
    theirs.start(command, "DHCP4_STARTED", **here, KEA_LOGGER_DESTINATION="stdout")
    scenes = {
        'join(1, ID, O82, (12, b"PC-17"))': 1,
        'ask(REQUEST, 1, ID, O82, (12, b"pc-17"), ciaddr=IP)': 2,
        "tell(RELEASE, 1, ID, _address(54, SERVER), ciaddr=IP)": 2,
        "join(2)": 1,
        "tell(DECLINE, 2, _address(50, IP), _address(54, SERVER))": 2,
    }
    for code, count in scenes.items():
        # Kea begins with all of them at the same time.
        expected, said = theirs.said(code, count), ours.said(code, count)
        hardware = "(LOCAL|REMOTE)_HWADDR"
        assert sorted(plain(said, hardware), key=str) == sorted(plain(expected, hardware), key=str), code
