"""The commands that ask a running server, and those that explain: ``hooks``, ``explain``, ``delete``, ``reload``..."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from wire import ACK, NAK, OFFER, PATIENCE, Reply, decline, discover, read, renew, request

from aiodhcp import Lease, LeaseState, administration, cli
from aiodhcp.stores.sqlite import SqliteStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no unix-domain sockets and no SIGHUP")

MAC = "02:00:00:00:00:01"
HOOKS = '''"""Hooks for the tests."""

import asyncio

from pydantic import BaseModel

from aiodhcp import Drop, hookimpl


class Picky:
    """Serves all but some."""

    class Settings(BaseModel):
        prefix: str = "de:ad"

    def __init__(self, settings: Settings) -> None:
        self.prefix = settings.prefix

    @hookimpl
    async def dhcp_new_pkt(self, packet):
        await asyncio.sleep(0.001)
        if packet.hardware_address.startswith(self.prefix):
            return Drop("not one of [/ours]\\x1b")

    @hookimpl
    def dhcp_control(self):
        raise AssertionError("is not started")


class Watches:
    @hookimpl
    def dhcp_new_pkt(self, packet):
        return Drop("no")
'''
OFFLINE = """
interfaces = ["nonesuch0", "other0"]
store.path = "leases"
plugins = [{ use = "hooks.py:Picky", settings = { prefix = "de:ad" } }]
[[class]]
name = "phones"
[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.1-192.0.2.99"]
options = { domain-name = "lab.test" }
conflict-probe = "arp"
[[subnet.reservation]]
hardware-address = "02:00:00:00:00:01"
address = "192.0.2.200"
[[subnet]]
subnet = "198.51.100.0/24"
pools = ["198.51.100.10-198.51.100.20"]
interfaces = ["other0"]
"""


def aiodhcp(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


def facts(result: Result) -> dict[str, str]:
    """What ``explain`` said, the last of each kind."""
    assert result.exit_code == 0, result.output
    lines = [line.partition("  ") for line in result.output.splitlines() if line]
    return {what: words.strip() for what, _, words in lines}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose server does not run."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "hooks.py").write_text(HOOKS)
    path = tmp_path / "a.toml"
    path.write_text(OFFLINE)
    return path


# ── without a server ──


@pytest.mark.parametrize(
    "command",
    ["hooks", "explain", "delete", "declined", "force-renew", "cursors", "reload", "pause", "resume", "status"],
)
def test_help(command: str) -> None:
    result = aiodhcp(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("delete", "192.0.2.1"),
        ("force-renew", "--all"),
        ("cursors",),
        ("reload",),
        ("pause",),
        ("resume",),
        ("status",),
    ],
)
def test_where_no_server_runs(file: Path, arguments: tuple[str, ...]) -> None:
    result = aiodhcp(*arguments, file)
    assert result.output == f"aiodhcp: no server runs: nobody listens on the control socket {file.parent}/leases.sock\n"
    assert result.exit_code == 1
    assert aiodhcp(*arguments, "--control", file.parent / "s").exit_code == 1


def test_where_there_is_no_control_socket(file: Path) -> None:
    file.write_text("control = false\n" + OFFLINE)
    result = aiodhcp("status", file)
    assert (result.exit_code, result.output) == (1, "the configuration has no control socket: see its key 'control'\n")
    assert "not running" in aiodhcp("hooks", file).output


def test_without_a_file_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administration, "DEFAULT_CONFIG", tmp_path / "none.toml")
    result = aiodhcp("status")
    assert result.exit_code == 2
    assert "name a configuration file, or give --control" in result.output


def test_hooks_where_no_server_runs(file: Path) -> None:
    lines = [line.split() for line in aiodhcp("hooks", file).output.splitlines()]
    assert ["hooks.py", "file", f"{file.parent}/hooks.py", "Hooks", "for", "the", "tests."] in lines
    assert any(line[:3] == ["access", "entry", "point"] for line in lines)
    assert ["not", "running:", "this", "is", "what", "the", "configuration", "says"] in lines
    assert ["1", "Picky", "working", f"{file.parent}/hooks.py", '{"prefix":', '"de:ad"}'] in lines
    assert ["dhcp_new_pkt", "Picky", "working"] in lines
    report = json.loads(aiodhcp("hooks", file, "--json").output)
    assert report["running"] is False
    assert report["plugins"][0]["settings"] == {"prefix": "de:ad"}
    assert {each["hook"] for each in report["hooks"]} == {"dhcp_new_pkt", "dhcp_control"}


def test_hooks_without_plugins_or_with_wrong_ones(file: Path) -> None:
    file.write_text('interfaces = ["eth0"]\nstore.type = "memory"\n')
    assert "none" in aiodhcp("hooks", file).output
    file.write_text('interfaces = ["eth0"]\nplugins = ["hooks.py:Nobody"]\n')
    result = aiodhcp("hooks", file)
    assert "has no 'Nobody'" in result.output
    assert result.exit_code == 1
    result = aiodhcp("hooks", "--control", file.parent / "s")
    assert "no server runs" in result.output
    assert result.exit_code == 1


def test_explain_an_offer(file: Path) -> None:
    said = facts(aiodhcp("explain", file, "--mac", MAC))
    assert said["subnet"] == "192.0.2.0/24: it is on nonesuch0"
    assert said["address"] == "192.0.2.200: reserved for the client"
    assert said["outcome"].startswith("OFFER to 192.0.2.200")
    assert said["option domain-name"] == "lab.test (of 192.0.2.0/24)"
    # Outside of the pool, so that the pool is as it would be.
    assert said["option server-identifier"].startswith("192.0.2.100 ")
    assert said["hook dhcp_new_pkt"].startswith("Picky: nothing to say")
    assert not (file.parent / "leases").exists()


def test_explain_says_what_is_supposed(file: Path) -> None:
    output = aiodhcp("explain", file, "--mac", "02:00:00:00:00:02").output
    assert f"no leases: there is no {file.parent}/leases" in output
    assert "nonesuch0 has 192.0.2.100: on this machine it has none, or there is no such interface" in output
    assert "that nobody uses 192.0.2.1: the server would ask the network first" in output
    file.write_text(OFFLINE.replace('store.path = "leases"', 'store.type = "memory"\noptions.routers = "192.0.2.77"'))
    output = aiodhcp("explain", file, "--mac", "02:00:00:00:00:02").output
    assert "no leases: a store of type 'memory'" in output
    assert "nonesuch0 has 192.0.2.77" in output
    file.write_text('interfaces = ["nonesuch0"]\n')
    output = aiodhcp("explain", file, "--mac", "02:00:00:00:00:02").output
    assert "nonesuch0 has no address" in output
    assert "no reply, NO_SUBNETS" in output


def test_explain_what_a_plugin_vetoes_as_text_and_nothing_else(file: Path) -> None:
    result = aiodhcp("explain", file, "--mac", "DE-AD-00-00-00-01")
    assert facts(result)["outcome"].endswith("not one of [/ours]\\x1b")
    assert "\x1b" not in result.output
    record = json.loads(aiodhcp("explain", file, "--mac", "dead00000001", "--json").output)
    assert record["hardware_address"] == "de:ad:00:00:00:01"
    assert "request" in dict(record["facts"])


def test_explain_requests(file: Path) -> None:
    def ask(*arguments: str, mac: str = "02:00:00:00:00:02") -> dict[str, str]:
        return facts(aiodhcp("explain", file, "--mac", mac, *arguments))

    said = ask("--message", "request")
    assert said["supposed"] == "a REQUEST for what a DISCOVER was offered"
    assert said["outcome"].startswith("ACK to 192.0.2.1,")
    assert "no record of the client" in ask("--message", "request", "--address", "192.0.2.50")["outcome"]
    assert ask("--address", "192.0.2.50")["outcome"].startswith("OFFER to 192.0.2.50,")
    assert ask("--message", "request", mac="de:ad:00:00:00:01")["supposed"].endswith(
        "not offered an address to request"
    )


def test_explain_with_leases(file: Path) -> None:
    with daemon(file.parent) as (_, sock, running):
        address = lease(sock, 1)
        lease_said = facts(aiodhcp("explain", running, "--mac", MAC))["lease before"]
    assert lease_said == f"{address}, active"


def test_explain_behind_a_relay_agent(file: Path) -> None:
    said = facts(aiodhcp("explain", file, "--mac", MAC, "--relay", "198.51.100.1"))
    assert said["subnet"] == "198.51.100.0/24: the relay agent 198.51.100.1 stands for it"
    assert said["outcome"].startswith("OFFER to 198.51.100.1, port 67")
    file.write_text('transport.type = "relay"\n[[subnet]]\nsubnet = "192.0.2.0/24"\npools = ["192.0.2.9"]\n')
    assert facts(aiodhcp("explain", file, "--mac", MAC, "--relay", "192.0.2.1"))["address"].startswith("192.0.2.9:")
    assert "name one with --relay" in aiodhcp("explain", file, "--mac", MAC).output


def test_explain_with_options(file: Path) -> None:
    given = [
        "lease-time=600",
        "host-name=42",
        "parameter-request-list=1,3,domain-name",
        "user-class=abc",
        "82=01:01:41",
    ]
    given += ["rapid-commit=true", "61=01:02:03"]
    options = [word for each in given for word in ("-o", each)]
    said = facts(aiodhcp("explain", file, "--mac", MAC, *options))
    assert said["lease time"] == "600 seconds (the client asked for 600)"
    assert said["client"] == f"client identifier 01:02:03, hardware address {MAC}"
    assert said["option relay-agent-information"].startswith("{'circuit-id': b'A'}")
    assert "option domain-name" in said


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        ((), "which client? Name it: --mac 02:00:00:00:00:01", 2),
        (("--mac", "02:xx"), "--mac: expected a hardware address", 2),
        (("--mac", MAC, "--relay", "x"), "--relay: ", 2),
        (("--mac", MAC, "--address", "1.2.3"), "--address: ", 2),
        (("--mac", MAC, "--message", "release"), "--message: expected discover or request, got 'release'", 2),
        (("--mac", MAC, "-o", "host-name"), "--option: expected name=value, got 'host-name'", 2),
        (("--mac", MAC, "-o", "host-nam=x"), "--option: no option is called 'host-nam'; did you mean 'host-name'", 2),
        (("--mac", MAC, "-o", "lease-time=never"), "--option: option 51 (lease-time): expected integer", 2),
        (("--mac", MAC, "--interface", "eth7"), "does not serve 'eth7', but nonesuch0, other0", 1),
        (("--mac", MAC, "--live", "--relay", "192.0.2.1"), "--live shows what was", 2),
        (("--mac", MAC, "--control", "s"), "--control goes with --live", 2),
        (("--mac", MAC, "--live"), "no server runs", 1),
    ],
)
def test_explain_what_can_not_be(file: Path, arguments: tuple[str, ...], said: str, status: int) -> None:
    result = aiodhcp("explain", file, *arguments)
    assert said in result.output
    assert result.exit_code == status


def test_delete_what_is_no_address(file: Path) -> None:
    result = aiodhcp("delete", "192.0.2", file)
    assert (result.exit_code, result.output) == (2, "expected an address like 192.168.50.100, got '192.0.2'\n")


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("--clear", "192.0.2"), "--clear: expected an address like 192.168.50.100, got '192.0.2'", 2),
        (("--clear", "192.0.2.1", "--clear-all"), "--clear and --clear-all don't go together", 2),
        (("--clear", "192.0.2.1"), "aiodhcp: no server runs: nobody listens on", 1),
        (("--clear-all",), "aiodhcp: no server runs: nobody listens on", 1),
        ((), "/leases: there is no such file", 1),
        (("--control", "/nonesuch"), "aiodhcp: no server runs: nobody listens on", 1),
        (("--control", "/" + "x" * 200), "aiodhcp: ", 1),
    ],
)
def test_declined_what_can_not_be(file: Path, arguments: tuple[str, ...], said: str, status: int) -> None:
    result = aiodhcp("declined", file, *arguments)
    assert said in result.output
    assert result.exit_code == status


def test_declined_where_nothing_can_be_read(file: Path) -> None:
    file.write_text('interfaces = ["eth0"]\nstore.type = "memory"\n')
    result = aiodhcp("declined", file)
    assert "no server runs, and a store of type 'memory' can't be read from outside" in result.output
    assert result.exit_code == 1


def test_declined_from_the_lease_file(file: Path) -> None:
    soon, hour = int(time.time()), 3600
    leases = [
        Lease(0xC0000202, b"", 1, bytes.fromhex("020000000002"), LeaseState.DECLINED, soon, soon + hour),
        Lease(0xC0000201, b"", 0, b"", LeaseState.DECLINED, soon, soon + hour),
        Lease(0xC0000203, b"", 0, b"", LeaseState.DECLINED, soon - 2 * hour, soon - hour),
        Lease(0xC0000204, b"x", 1, b"x", LeaseState.ACTIVE, soon, soon + hour),
        Lease(0xC0000205, b"", 0, bytes.fromhex("020000000009"), LeaseState.DECLINED, soon, soon + hour),
        Lease(0xC0000206, b"", 32, b"", LeaseState.DECLINED, soon, soon + hour),
    ]

    async def fill() -> None:
        store = SqliteStore(file.parent / "leases")
        await store.load()
        await store.commit(leases)
        await store.close()

    asyncio.run(fill())
    header, first, second, third, fourth = aiodhcp("declined", file).output.splitlines()
    page = (Path(__file__).parent.parent / "docs/administration.md").read_text()
    assert header.split("  ")[0] == "Address"
    assert re.sub(r"\s+", " ", header).strip() in re.sub(r"\s+", " ", page)
    assert re.match(r"192\.0\.2\.1  the server: ICMP echo  +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  \d", first)
    assert second.startswith("192.0.2.2  02:00:00:00:00:02  ")
    assert third.startswith("192.0.2.5  the server: ARP from 02:00:00:00:00:09  ")
    assert fourth.startswith("192.0.2.6  a client  ")
    records = json.loads(aiodhcp("declined", file, "--json").output)
    times = {"since": soon, "until": soon + hour}
    assert records[0] == {"address": "192.0.2.1", "hardware_address": "", "answered": "ICMP echo", **times}
    assert [(each["hardware_address"], each["answered"]) for each in records[1:]] == [
        ("02:00:00:00:00:02", ""),
        ("", "ARP from 02:00:00:00:00:09"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("histogram", "median", "most"),
    [
        ([], "", ""),
        ([[0.000001, 0], [None, 0]], "", ""),
        ([[0.000016, 99], [0.000032, 1], [None, 0]], "<16 µs", "<16 µs"),
        ([[0.000016, 1], [0.002048, 0], [2.0, 1], [None, 0]], "<16 µs", "<2 s"),
        ([[0.002048, 1], [None, 2]], ">2.05 ms", ">2.05 ms"),
    ],
)
def test_quantiles(histogram: list[tuple[float | None, int]], median: str, most: str) -> None:
    assert administration._quantile(histogram, 0.5) == median
    assert administration._quantile(histogram, 0.99) == most


# ── with a server ──


def write(file: Path, head: str, port: int, lease_time: int = 3600) -> None:
    """Write the configuration of a server, all at once."""
    new = file.with_suffix(".new")
    new.write_text(
        f"{head}\nstore.path = 'run'\nauthoritative = true\nserver-id = '192.0.2.1'\nlease-time = {lease_time}\n"
        f"transport = {{ type = 'udp', host = '127.0.0.1', port = {port} }}\n"
        "[[subnet]]\nsubnet = '10.0.0.0/16'\npools = ['10.0.0.1-10.0.255.254']\ninterfaces = ['udp']\n"
    )
    os.replace(new, file)


class Daemon:
    """``aiodhcp serve`` in a process, and what it logs."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aiodhcp", "serve", str(file), "--json-log"], stderr=subprocess.PIPE, text=True
        )
        self.log: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line)["message"] if line.startswith("{") else line)

    def says(self, words: str, times: int = 1) -> None:
        """Wait until the log has this so often."""
        until(lambda: sum(words in line for line in self.log) >= times or self.process.poll() is not None)
        assert sum(words in line for line in self.log) >= times, self.log

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def daemon(directory: Path, head: str = "") -> Iterator[tuple[Daemon, socket.socket, Path]]:
    """A daemon that serves, a socket that talks to it, and its configuration."""
    file = directory / "run.toml"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        write(file, head, port)
        running = Daemon(file)
        try:
            running.says("serving 10.0.0.0/16")
            sock.bind(("127.0.0.1", 0))
            sock.connect(("127.0.0.1", port))
            sock.settimeout(PATIENCE)
            yield running, sock, file
        finally:
            running.end()


def ask(sock: socket.socket, data: bytes) -> Reply:
    sock.send(data)
    return read(sock.recv(4096))


def lease(sock: socket.socket, client: int) -> str:
    """DISCOVER to ACK; the address."""
    offer = ask(sock, discover(client))
    assert (offer.kind, offer.client) == (OFFER, client)
    ack = ask(sock, request(client, offer.yiaddr))
    assert (ack.kind, ack.yiaddr) == (ACK, offer.yiaddr)
    return ack.address


WITH_HOOKS = "explain = 50\nplugins = [{ use = 'hooks.py:Watches', shadow = true }]"


def test_a_day_of_an_administrator(file: Path) -> None:
    with daemon(file.parent, WITH_HOOKS) as (running, sock, config):
        port = sock.getpeername()[1]
        address = lease(sock, 1)

        # Which hooks there are, and how they do.
        output = aiodhcp("hooks", config).output
        assert "not running" not in output
        row = next(line.split() for line in output.splitlines() if line.startswith("dhcp_new_pkt"))
        assert row[1:4] == ["Watches", "shadow", "2"]
        assert f"{MAC}  Drop(why='no'" in output
        report = json.loads(aiodhcp("hooks", config, "--json").output)
        assert report["running"] is True
        assert report["hooks"][0]["differences"] == 2
        assert "Watches" in aiodhcp("hooks", "--control", config.parent / "run.sock").output

        # Why a client got what it got.
        offered, acknowledged = aiodhcp("explain", config, "--mac", MAC, "--live").output.split("\n\n")
        assert f"address                   {address}: " in acknowledged
        assert "outcome                   OFFER" in offered
        records = aiodhcp("explain", config, "--mac", MAC, "--live", "--json").output.splitlines()
        assert [json.loads(each)["hardware_address"] for each in records] == [MAC, MAC]
        result = aiodhcp("explain", config, "--mac", "02:00:00:00:00:99", "--live")
        assert (result.exit_code, "is in none of the exchanges" in result.output) == (1, True)

        # Its lease is taken from it.
        assert aiodhcp("delete", address, config).output == f"deleted: {address}, which was active, of {MAC}\n"
        assert ask(sock, renew(1, address)).kind == NAK
        result = aiodhcp("delete", address, config)
        assert (result.exit_code, result.output) == (1, f"aiodhcp: there is no lease of {address}\n")

        # How it is, and a pause.
        counters, subnets = aiodhcp("status", config).output.split("\n\n")
        lines = dict(line.split(None, 1) for line in counters.splitlines())
        assert (lines["status"], lines["received"]) == ("ok", "1 DISCOVER, 2 REQUEST")
        assert subnets.splitlines()[1].split() == ["10.0.0.0/16", "65534", *"0000", "65534", "0%"]
        assert json.loads(aiodhcp("status", config, "--json").output)["sent"] == {"OFFER": 1, "ACK": 1, "NAK": 1}
        assert aiodhcp("pause", config).output == "paused\n"
        assert aiodhcp("status", config).exit_code == 1
        assert aiodhcp("resume", config).output == "ok\n"

        # A reload, by command and by signal.
        write(config, WITH_HOOKS, port, 1200)
        assert aiodhcp("reload", config).output == "reloaded: 1 subnets, 1 plugins\n"
        assert ask(sock, discover(2)).options[51] == (1200).to_bytes(4, "big")
        write(config, WITH_HOOKS, port, 1300)
        running.hang_up()
        running.says("reloaded: ", 2)
        assert ask(sock, discover(2)).options[51] == (1300).to_bytes(4, "big")

        # What can't be reloaded changes nothing.
        for head, words in (
            ("lease-tme = 1", "run.toml:1: lease-tme: there is no such key"),
            ("explain = 3", "only a restart can change explain"),
            ("explain = 50\nplugins = ['hooks.py:Picky']", "refused the start: is not started"),
        ):
            write(config, head, port, 60)
            running.hang_up()
            running.says(words)
        assert ask(sock, discover(2)).options[51] == (1300).to_bytes(4, "big")

        # A second daemon is told of the first.
        write(config, "explain = 50", port)
        second = subprocess.run(
            [sys.executable, "-m", "aiodhcp", "serve", str(config)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (second.returncode, second.stderr) == (
            1,
            f"aiodhcp: control socket {config.parent}/run.sock: another server runs there\n",
        )

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0
        assert not (config.parent / "run.sock").exists()


def test_declined_addresses_are_listed_and_cleared(file: Path) -> None:
    with daemon(file.parent) as (running, sock, config):
        addresses = []
        for client in (1, 2, 3):
            addresses.append(lease(sock, client))
            sock.send(decline(client, addresses[-1], "192.0.2.1"))
        running.says("declined ", 3)
        listed = [line.split()[:2] for line in aiodhcp("declined", config).output.splitlines()[1:]]
        assert listed == [[address, f"02:00:00:00:00:0{at}"] for at, address in enumerate(addresses, 1)]

        assert aiodhcp("declined", config, "--clear", addresses[1]).output == f"cleared  {addresses[1]}\n"
        running.says(f"an administrator ended the probation of {addresses[1]}")
        result = aiodhcp("declined", config, "--clear", addresses[1])
        assert (result.exit_code, result.output) == (1, f"aiodhcp: {addresses[1]} is not declined\n")
        assert ask(sock, discover(4, [(50, IPv4Address(addresses[1]).packed)])).address == addresses[1]
        assert ask(sock, discover(5, [(50, IPv4Address(addresses[0]).packed)])).address not in addresses

        records = json.loads(aiodhcp("declined", config, "--clear-all", "--json").output)
        assert [each["address"] for each in records] == [addresses[0], addresses[2]]
        assert aiodhcp("declined", config).output == "no address is declined\n"
        assert aiodhcp("declined", config, "--clear-all").output == ""


def test_a_reload_under_traffic_loses_nothing(file: Path) -> None:
    """Whatever is asked while the configuration and its plugins change is answered."""
    (file.parent / "slow.py").write_text(HOOKS.replace("        raise AssertionError", "        return\n        raise"))
    head = "log-level = 'warning'\nplugins = ['slow.py:Picky']"
    with daemon(file.parent, "plugins = ['slow.py:Picky']") as (running, sock, config):
        port = sock.getpeername()[1]
        lease_times: set[int] = set()
        acknowledged: dict[int, int] = {}
        wanted = threading.Event()

        def load() -> None:
            clients, waiting = count(1), 0
            while waiting or not wanted.is_set():
                while waiting < 8 and not wanted.is_set():
                    sock.send(discover(next(clients)))
                    waiting += 1
                reply = read(sock.recv(4096))
                if reply.kind == OFFER:
                    sock.send(request(reply.client, reply.yiaddr))
                else:
                    assert reply.kind == ACK
                    acknowledged[reply.client] = reply.yiaddr
                    lease_times.add(int.from_bytes(reply.options[51], "big"))
                    waiting -= 1
            clients_asked.append(next(clients) - 1)

        clients_asked: list[int] = []
        loading = threading.Thread(target=load)
        loading.start()
        try:
            for lease_time in range(1000, 1008):
                before = len(acknowledged)
                write(config, head.replace("warning", "info"), port, lease_time)
                running.hang_up()
                until(lambda lease_time=lease_time: lease_time in lease_times)
                until(lambda before=before: len(acknowledged) > before + 5)
        finally:
            wanted.set()
            loading.join()
        assert clients_asked == [len(acknowledged)]
        assert len(set(acknowledged.values())) == len(acknowledged)
        stats = json.loads(aiodhcp("status", config, "--json").output)
        assert stats["dropped"] == {}
        assert stats["sent"]["ACK"] == len(acknowledged)


def test_a_stop_during_a_reload(file: Path) -> None:
    (file.parent / "stuck.py").write_text(
        "import asyncio, sys, aiodhcp\n"
        "class Stuck:\n"
        "    @aiodhcp.hookimpl\n"
        "    async def dhcp_control(self, code):\n"
        "        print('told', code.name, file=sys.stderr, flush=True)\n"
        "        if code == code.START: await asyncio.sleep(0.5)\n"
    )
    with daemon(file.parent) as (running, sock, config):
        write(config, "plugins = ['stuck.py:Stuck']", sock.getpeername()[1])
        running.hang_up()
        running.says("told START")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0
        running.says("stopped")
        running.says("told STOP")
        assert not any("Traceback" in line or "fault" in line for line in running.log)


def test_a_stop_while_a_plugin_starts(file: Path) -> None:
    (file.parent / "slow.py").write_text(
        "import asyncio, sys, aiodhcp\n"
        "@aiodhcp.hookimpl\n"
        "async def dhcp_control(code):\n"
        "    print('told', code.name, file=sys.stderr, flush=True)\n"
        "    if code == code.START: await asyncio.Event().wait()\n"
    )
    write(file, "plugins = ['slow.py']", 0)
    running = Daemon(file)
    try:
        running.says("told START")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0
        assert not any("Traceback" in line for line in running.log)
    finally:
        running.end()


def test_a_hook_that_resists_its_end_does_not_keep_the_process(file: Path) -> None:
    (file.parent / "stubborn.py").write_text(
        "import asyncio, threading, time, aiodhcp\n"
        "import aiodhcp.cli\n"
        "aiodhcp.cli.PATIENCE_AT_EXIT = 0.1\n"
        "@aiodhcp.hookimpl(deadline=0.05)\n"
        "async def dhcp_new_pkt():\n"
        "    while True:\n"
        "        try: await asyncio.to_thread(time.sleep, 60)\n"
        "        except asyncio.CancelledError: pass\n"
    )
    with daemon(file.parent, "plugins = ['stubborn.py']") as (running, sock, _):
        sock.send(discover(1))
        running.says("dhcp_new_pkt took too long")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0
        running.says("a plugin's task or thread does not end")
