"""The ``aiodhcp`` command."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aiodhcp import Lease, LeaseState, __version__, administration, cli
from aiodhcp.leases import NEVER
from aiodhcp.logs import setup
from aiodhcp.stores.sqlite import SqliteStore


def known() -> list[Lease]:
    now = int(time.time())

    def lease(number: int, state: LeaseState, starts: int, expires: int, hostname: str | None = None) -> Lease:
        mac = bytes((2, 0, 0, 0, 0, number))
        return Lease(0xC0A83201 + number, b"\1" + mac, 1, mac, state, starts, expires, hostname)

    return [
        lease(1, LeaseState.ACTIVE, now - 60, now + 5 * 3600 + 60, "joe"),
        lease(2, LeaseState.ACTIVE, now - 60, NEVER),
        lease(3, LeaseState.ACTIVE, now - 9000, now - 40 * 60),
        lease(4, LeaseState.RELEASED, now - 20000, now - 3 * 3600),
        lease(5, LeaseState.DECLINED, now - 600, now + 10 * 86400),
    ]


def aiodhcp(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    path = tmp_path / "leases.sqlite"
    store = SqliteStore(path)
    await store.load()
    await store.commit(known())
    await store.close()
    return path


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = before
    root.setLevel(level)


def test_version_and_help() -> None:
    assert aiodhcp("--version").output == f"aiodhcp {__version__}\n"
    for command in ("serve", "check", "leases", "probe", "demo"):
        assert command in aiodhcp("--help").output
        result = aiodhcp(command, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.output


def test_check_of_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text('interfaces = ["eth0"]\n[[subnet]]\nsubnet = "192.0.2.0/24"\npools = ["192.0.2.10-192.0.2.19"]\n')
    result = aiodhcp("check", file)
    assert result.output == "the configuration is good: 1 subnets, 10 addresses, 0 reservations, 0 plugins\n"
    assert result.exit_code == 0
    assert aiodhcp("serve", file, "--check").output == result.output


def test_check_of_a_bad_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('interfaces = ["eth0"]\nlease-tme = "1h"\n')
    result = aiodhcp("check", file)
    assert result.output == f"{file}:2: lease-tme: there is no such key; did you mean 'lease-time'?\n"
    assert result.exit_code == 1


def test_check_of_a_bad_plugin_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "hooks_with_a_typo.py").write_text(
        "from aiodhcp import hookimpl\n@hookimpl\ndef dhcp_pkt_sent(reply): ...\n"
    )
    file = tmp_path / "a.toml"
    file.write_text('interfaces = ["eth0"]\nplugins = ["hooks_with_a_typo"]\n')
    result = aiodhcp("check", file)
    assert result.exit_code == 1
    assert f"{tmp_path}/hooks_with_a_typo.py:2: plugin hooks_with_a_typo: " in result.output
    assert "dhcp_pkt_sent" in result.output


def test_check_of_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    asking = '[leasequery]\nrequestors = ["10.0.0.1"]\nlisten = ["192.0.2.1"]\ntls-certificate = "dhcp.pem"\n'
    file.write_text(f'interfaces = ["eth0"]\n{asking}')
    result = aiodhcp("check", file)
    assert result.output == f"leasequery.tls-certificate: {tmp_path}/dhcp.pem: No such file or directory\n"
    assert result.exit_code == 1


def test_without_a_file_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(administration, "DEFAULT_CONFIG", tmp_path / "none.toml")
    result = aiodhcp("serve")
    assert result.exit_code == 2
    assert "name a configuration file, or give --interface and --subnet" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--interface", "eth0"), "--interface and --subnet go together"),
        (("--subnet", "192.0.2.0/24"), "--interface and --subnet go together"),
        (("a.toml", "-i", "eth0", "--subnet", "192.0.2.0/24"), "either a configuration file, or"),
        (("a.toml", "--lease-time", "1h"), "go with --interface and --subnet"),
        (("-i", "a", "--subnet", "192.0.2.0/40"), "--subnet: expected a network like 192.168.50.0/24"),
        (("-i", "a", "--subnet", "192.0.2.0/24", "--pool", "x"), "--pool: expected a range like"),
        (("-i", "a", "--subnet", "192.0.2.0/24", "--pool", "10.0.0.1"), "--pool: '10.0.0.1' is in none of the subnets"),
        (("-i", "a", "--subnet", "192.0.2.0/24", "-o", "routers"), "--option: expected name=value, got 'routers'"),
    ],
)
def test_what_does_not_go_together(arguments: tuple[str, ...], said: str) -> None:
    result = aiodhcp("serve", *arguments)
    assert said in result.output
    assert result.exit_code == 2


def test_the_command_line_is_checked_like_a_file() -> None:
    result = aiodhcp("serve", "-i", "eth0", "--subnet", "192.0.2.0/24", "-o", "ruters=192.0.2.1")
    assert result.output.startswith("command line: options.ruters: ")
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "addresses"),
    [
        (("--subnet", "192.0.2.0/24"), 254),
        (("--subnet", "192.0.2.7/24", "--pool", "192.0.2.10-192.0.2.19", "--pool", "192.0.2.32/30"), 14),
        (("--subnet", "192.0.2.0/31", "--subnet", "198.51.100.0/30"), 4),
        (
            (
                "--subnet",
                "192.0.2.0/24",
                "-o",
                "routers=192.0.2.1",
                "-o",
                "ip-forwarding=true",
                "-o",
                "default-ip-ttl=9",
            ),
            254,
        ),
    ],
)
def test_a_server_without_a_file(arguments: tuple[str, ...], addresses: int) -> None:
    result = aiodhcp("serve", "-i", "eth0", *arguments, "--check")
    assert f" {addresses} addresses" in result.output
    assert result.exit_code == 0


def test_a_server_that_can_not_start(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "aiodhcp",
            "serve",
            "-i",
            "nonesuch0",
            "--subnet",
            "192.0.2.0/24",
            "--store",
            str(tmp_path / "leases"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("aiodhcp: ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "leases.sock").exists()


def test_serve_until_sigterm(tmp_path: Path) -> None:
    file = tmp_path / "aiodhcp.toml"
    file.write_text(
        'store.path = "leases"\ntransport = { type = "udp", host = "127.0.0.1", port = 0 }\n'
        '[[subnet]]\nsubnet = "192.0.2.0/24"\n'
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "aiodhcp", "serve", str(file), "--json-log"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        first = json.loads(server.stderr.readline())
        server.send_signal(signal.SIGTERM)
        rest = server.communicate(timeout=10)[1]
    finally:
        server.kill()
        server.wait()
    assert first["message"] == "serving 192.0.2.0/24 on udp: 0 leases"
    assert [json.loads(line)["message"] for line in rest.splitlines()] == ["stopped"]
    assert server.returncode == 0


def test_leases_as_a_table(store: Path) -> None:
    lines = [line.split() for line in aiodhcp("leases", "--store", store).output.splitlines()]
    assert lines[1:4] == [
        ["192.168.50.2", "02:00:00:00:00:01", "joe", "active", "in", "5h"],
        ["192.168.50.3", "02:00:00:00:00:02", "active", "never"],
        ["192.168.50.6", "02:00:00:00:00:05", "declined", "in", "10d"],
    ]
    assert lines[4] == ["3", "leases"]


async def test_a_host_name_is_text_and_nothing_else(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "leases")
    await store.load()
    await store.commit([known()[0]._replace(hostname="[/x][red]\x1b]0;mine\x07")])
    await store.close()
    shown = (await asyncio.to_thread(aiodhcp, "leases", "--store", store.path)).output
    assert "[/x][red]" in shown
    assert "\x1b" not in shown


def test_leases_that_ended(store: Path) -> None:
    lines = [line.split() for line in aiodhcp("leases", "--store", store, "--all").output.splitlines()]
    assert lines[3][-3:] == ["expired", "40m", "ago"]
    assert lines[4][-3:] == ["released", "3h", "ago"]


def test_leases_as_json(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "aiodhcp.toml"
    file.write_text(f'interfaces = ["eth0"]\nstore.path = "{store.name}"\n')
    joe, *others = [json.loads(line) for line in aiodhcp("leases", file, "--json").output.splitlines()]
    assert joe.pop("starts") < joe.pop("expires")
    assert joe == {
        "address": "192.168.50.2",
        "state": "active",
        "hardware_address": "02:00:00:00:00:01",
        "hardware_type": 1,
        "client": "01:02:00:00:00:00:01",
        "hostname": "joe",
    }
    assert others[0]["expires"] is None


def test_one_lease_is_one_lease(tmp_path: Path, store: Path) -> None:
    with sqlite3.connect(store) as database:
        database.execute("DELETE FROM lease WHERE address > (SELECT min(address) FROM lease)")
    database.close()
    assert aiodhcp("leases", "--store", store).output.splitlines()[-1].strip() == "1 lease"


def test_leases_that_can_not_be_read(tmp_path: Path) -> None:
    result = aiodhcp("leases", "--store", tmp_path / "none")
    assert "there is no such file" in result.output
    assert result.exit_code == 1
    file = tmp_path / "aiodhcp.toml"
    file.write_text('interfaces = ["eth0"]\nstore.type = "memory"\n')
    assert "can't be read from outside" in aiodhcp("leases", file).output


def test_the_log_as_text(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    setup("info")
    logging.getLogger("aiodhcp.leases").info("leased %s", "192.0.2.1")
    logging.getLogger("aiodhcp.leases").debug("not shown")
    time_, rest = capsys.readouterr().err.split(" ", 1)
    assert rest == "INFO aiodhcp.leases: leased 192.0.2.1\n"
    assert time_.startswith("20")


def test_the_log_as_json(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    setup("debug", as_json=True)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("aiodhcp").exception("it %s", "failed", extra={"address": "192.0.2.1"})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["message"], entry["address"]) == ("error", "it failed", "192.0.2.1")
    assert "ValueError: broken" in entry["exception"]


def test_values_on_the_command_line_are_what_the_option_takes() -> None:
    given = ("host-name=42", "default-ip-ttl=64", "ip-forwarding=true", "routers=192.0.2.1", "routers=192.0.2.2")
    options = [word for each in given for word in ("-o", each)]
    assert aiodhcp("serve", "-i", "eth0", "--subnet", "192.0.2.0/24", *options, "--check").exit_code == 0
    assert cli._value("host-name", "42") == "42"
    assert cli._value("default-ip-ttl", "64") == 64
    assert cli._value("ip-forwarding", "False") is False
