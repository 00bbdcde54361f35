"""Real DHCP clients (udhcpc, dhclient, dhcpcd) and ``aiodhcp serve``, each in a host of ``namespaces``.

    server = Server(host, tmp_path / "server", "--interface", "eth0", "--subnet", "192.0.2.0/24")
    server.start()
    client = Client("dhclient", other_host, tmp_path / "client")
    client.start()
    assert client.bound().address in other_host.addresses("eth0")

Nothing waits for a time, everything for an event, and fails if there is none within ``PATIENCE``. What a program said
is in ``log``, in the directory it was given, as are all its files; the machine's own DHCP clients never hear of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import dpkt
from namespaces import Capture, Host
from typer.testing import CliRunner

from aiodhcp.cli import app
from aiodhcp.constants import MessageType

__all__ = ["CLIENTS", "Client", "Message", "Report", "Server", "heard", "heard_until", "until"]

PATIENCE = 20.0
"""Seconds that an event may take. Far more than it needs: the machine may be busy."""

T = TypeVar("T")


def until(what: str, condition: Callable[[], T | None]) -> T:
    """Ask ``condition`` until its answer is true, and return that.

    Raises:
        AssertionError: it never was.
    """
    end = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.05)


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Server:
    """``aiodhcp serve`` in a host, with an SQLite store.

    Args:
        host: where it runs.
        directory: for its files; it is made.
        options: of the command. The store need not be named.
        config: a configuration file's text, instead of options.
    """

    def __init__(self, host: Host, directory: Path, *options: str, config: str = "") -> None:
        self.host = host
        self.store = directory / "leases.sqlite"
        self.log = directory / "log"
        self.file = directory / "aiodhcp.toml"
        directory.mkdir(exist_ok=True)
        if config:
            self._configure(config)
            self.command = [sys.executable, "-m", "aiodhcp", "serve", str(self.file)]
        else:
            self.command = [sys.executable, "-m", "aiodhcp", "serve", *options, "--store", str(self.store)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; it serves when this returns."""
        known = len(self._said())
        with self.log.open("a") as log:
            self._process = process = self.host.popen(self.command, stdout=log, stderr=log)

        def serves() -> bool:
            said = self._said()[known:]
            assert process.poll() is None, f"the server ended with {process.returncode}: {said}"
            return " serving " in said

        until("the server serves", serves)

    def reload(self, config: str) -> None:
        """Give it another configuration, by SIGHUP; it goes by it when this returns."""
        assert self._process is not None
        self._configure(config)
        known = len(self._said())
        self._process.send_signal(signal.SIGHUP)
        until("the server goes by another configuration", lambda: " reloaded: " in self._said()[known:])

    def _configure(self, config: str) -> None:
        self.file.write_text(f"{config}\n[store]\npath = '{self.store.name}'\n")

    def kill(self) -> None:
        """``kill -9``: it has no chance to put anything in order."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as an administrator does."""
        status = self._end(signal.SIGTERM)
        assert status == 0, f"the server ended with {status}: {self._said()}"

    def leases(self) -> list[dict[str, Any]]:
        """What ``aiodhcp leases`` says, also of leases that ended."""
        result = CliRunner().invoke(app, ["leases", "--store", str(self.store), "--all", "--json"])
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.output.splitlines()]

    def lease(self, address: str) -> dict[str, Any]:
        """The lease of an address, as ``aiodhcp leases`` has it."""
        leases = {lease["address"]: lease for lease in self.leases()}
        assert address in leases, f"no lease of {address} among {list(leases.values())}"
        return leases[address]

    def _said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)


# ── the clients ──────────────────────────────────────────────────────────────────────────────────────────────────────

# udhcpc says what happened in $1, the others in $reason. The report follows the deed, and is made of what the client
# gave as environment: each variable ends with a NUL, the last with two.
_SCRIPT = r"""#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
own=${0%/*} what=${reason:-$1}
[ ! -e "$own/deeds" ] || . "$own/deeds"
{ printf 'event=%s\0' "$what"; env -0; printf '\0'; } >>"$own/reports"
"""
# What the distributions' scripts for udhcpc and dhclient do, as far as it stays within this host.
_DEEDS = r"""
address=${new_ip_address:-${ip-}} mask=${new_subnet_mask:-${subnet-}} gateway=${new_routers:-${router-}}
case $what in
bound | renew | BOUND | RENEW | REBIND | REBOOT)
    case "$(ip -4 -o addr show dev "$interface")" in
    *" $address/"*) ;;
    *)
        if [ -e "$own/probe" ]; then "$own/probe" "$interface" "$address" || exit 1; fi
        ip -4 addr flush dev "$interface"
        ip addr add "$address/$mask" dev "$interface"
        ;;
    esac
    [ -z "$gateway" ] || ip route replace default via "${gateway%% *}" dev "$interface"
    ;;
leasefail | nak | MEDIUM | TIMEOUT) ;;
*)
    ip link set "$interface" up
    ip -4 addr flush dev "$interface"
    ;;
esac
"""
# An ARP probe (RFC 5227); it fails if the address is taken.
_PROBE = f"""#!{sys.executable}
import socket, sys, time
interface, address = sys.argv[1], socket.inet_aton(sys.argv[2])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as sock:
    sock.bind((interface, 0x0806))
    own = sock.getsockname()[4]
    sock.send(b"\\xff" * 6 + own + bytes.fromhex("0806 0001 0800 06 04 0001") + own + bytes(10) + address)
    end = time.monotonic() + 0.5
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            frame = sock.recv(100)
        except TimeoutError:
            break
        if frame[28:32] == address and frame[22:28] != own:
            sys.exit(1)
"""
_BOUND = {"bound", "renew", "BOUND", "RENEW", "REBIND", "REBOOT"}


@dataclass(frozen=True)
class Report:
    """What a client told its script about the lease it got."""

    event: str
    address: str
    netmask: str
    routers: list[str]
    name_servers: list[str]
    domain: str
    lease_time: int
    server: str

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Report:
        """From the script's environment; dhcpcd has the names of dhclient."""

        def get(udhcpc: str, others: str) -> str:
            return said.get(f"new_{others}") or said.get(udhcpc, "")

        return cls(
            said["event"],
            get("ip", "ip_address"),
            get("subnet", "subnet_mask"),
            get("router", "routers").split(),
            get("dns", "domain_name_servers").split(),
            get("domain", "domain_name"),
            int(get("lease", "dhcp_lease_time") or 0),
            get("serverid", "dhcp_server_identifier"),
        )


class Client:
    """A DHCP client on an interface of a host of its own.

    Args:
        program: one of ``CLIENTS``.
        host: where it runs.
        directory: for its files; it is made.
        interface: the one to configure.
    """

    def __init__(self, program: str, host: Host, directory: Path, interface: str = "eth0") -> None:
        self.host = host
        self.interface = interface
        self.directory = directory
        self.log = directory / "log"
        self._program = CLIENTS[program]
        self._process: subprocess.Popen[str] | None = None
        self._seen = 0
        directory.mkdir(exist_ok=True)
        self.file("script", _SCRIPT).chmod(0o755)
        host.cover("/run")
        self._program.prepare(self)

    @property
    def hardware_address(self) -> str:
        """That of the interface, with colons."""
        return self.host.hardware_address(self.interface).hex(":")

    def file(self, name: str, text: str = "") -> Path:
        """A file of this client's, with ``text`` if there is any."""
        path = self.directory / name
        if text:
            path.write_text(text)
        return path

    def start(self, *, previously: str = "", probe: bool = False, more: Sequence[str] = ()) -> None:
        """Start it.

        Args:
            previously: the address it had before, for a client that keeps no leases.
            probe: look whether another host has the address, and decline it if so.
            more: words of its command line (udhcpc), or lines of its configuration (the others).
        """
        self._seen = len(self.events())
        command = self._program.command(self, previously, probe, more)
        with self.log.open("a") as log:
            self._process = self.host.popen(command, stdout=log, stderr=log)

    def events(self) -> list[dict[str, str]]:
        """What the client told its script: one environment each, ``event`` says what happened."""
        reports = self.file("reports")
        whole = reports.read_bytes().decode(errors="replace").split("\0\0")[:-1] if reports.exists() else []
        return [dict(line.partition("=")[::2] for line in each.split("\0")) for each in whole]

    def told(self, *events: str) -> dict[str, str]:
        """Wait for one of these events; what the client told its script with it."""
        return until(f"one of {events}", lambda: next((e for e in self.events() if e["event"] in events), None))

    def bound(self) -> Report:
        """Wait for the next report of a lease, got or renewed, since ``start`` or the last report."""

        def report() -> Report | None:
            events = self.events()
            while self._seen < len(events):
                self._seen += 1
                if events[self._seen - 1]["event"] in _BOUND:
                    return Report.of(events[self._seen - 1])
            assert self._process is not None
            assert self._process.poll() is None, f"the client ended: {self.log.read_text()}"
            return None

        return until("the client has a lease", report)

    def crash(self) -> None:
        """It goes and its interface's address goes, as with the whole machine; its files stay."""
        assert self._process is not None
        self._program.kill(self, self._process)
        self.host.run(f"ip -4 addr flush dev {self.interface}")

    def renew(self) -> None:
        """See that it renews its lease within seconds, if T1 is that short."""
        assert self._process is not None
        self._program.renew(self._process)

    def release(self) -> None:
        """Have it give its lease back."""
        assert self._process is not None
        self._program.release(self, self._process)


class Udhcpc:
    """Of BusyBox. Keeps nothing: what it had before it has to be told. Its T1 is 15 s or more, whatever it is told."""

    tools = ("udhcpc",)

    def prepare(self, client: Client) -> None:
        """Has all done by its script."""
        client.file("deeds", _DEEDS)

    def command(self, client: Client, previously: str, probe: bool, more: Sequence[str]) -> Sequence[str]:
        """In the foreground, a message a second."""
        return [
            *("udhcpc", "-f", "-i", client.interface, "-s", str(client.file("script"))),
            *("-t", "10", "-T", "1", "-A", "1", "-x", "hostname:laptop"),
            *(("-r", previously) if previously else ()),
            *(("-a200",) if probe else ()),
            *more,
        ]

    def kill(self, client: Client, process: subprocess.Popen[str]) -> None:
        """One process."""
        process.kill()
        process.wait(PATIENCE)

    def renew(self, process: subprocess.Popen[str]) -> None:
        """A signal."""
        process.send_signal(signal.SIGUSR1)

    def release(self, client: Client, process: subprocess.Popen[str]) -> None:
        """A signal."""
        process.send_signal(signal.SIGUSR2)


class Dhclient:
    """Of ISC. Keeps its leases in a file."""

    tools = ("dhclient",)

    def prepare(self, client: Client) -> None:
        """Has all done by its script. The program is copied: AppArmor may confine the one in /sbin to its own files."""
        client.file("deeds", _DEEDS)
        found = shutil.which("dhclient", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        assert found is not None
        shutil.copy(found, client.file("dhclient"))

    def _options(self, client: Client) -> list[str]:
        names = {"-sf": "script", "-lf": "leases", "-pf": "pid", "-cf": "conf"}
        return [word for option, name in names.items() for word in (option, str(client.file(name)))]

    def command(self, client: Client, previously: str, probe: bool, more: Sequence[str]) -> Sequence[str]:
        """In the foreground, and quick to ask again. It leaves it to its script to probe."""
        if probe:
            client.file("probe", _PROBE).chmod(0o755)
        client.file(
            "conf",
            "timeout 30; retry 1; reboot 10; select-timeout 0; initial-interval 1; backoff-cutoff 2;\n"
            'send host-name "laptop";\n'
            "request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers;\n" + "\n".join(more),
        )
        options = [*self._options(client), "--decline-wait-time", "0"]
        return [str(client.file("dhclient")), "-4", "-d", *options, client.interface]

    def kill(self, client: Client, process: subprocess.Popen[str]) -> None:
        """One process."""
        process.kill()
        process.wait(PATIENCE)

    def renew(self, process: subprocess.Popen[str]) -> None:
        """Does so at T1."""

    def release(self, client: Client, process: subprocess.Popen[str]) -> None:
        """Another process stops the first and releases."""
        client.host.run([str(client.file("dhclient")), "-4", "-r", *self._options(client), client.interface])


class Dhcpcd:
    """Of Roy Marples. Configures the interface itself, keeps its lease in /var/lib/dhcpcd."""

    tools = ("dhcpcd",)

    def prepare(self, client: Client) -> None:
        """Hides the machine's leases; and dhcpcd's user where there is none but the one who runs the test."""
        client.host.cover("/var/lib")
        if os.geteuid() != 0:
            users = Path("/etc/passwd").read_text().splitlines(keepends=True)
            known = client.file("passwd", "".join(line for line in users if "dhcpcd" not in line.partition(":")[0]))
            client.host.run(["mount", "--bind", str(known), "/etc/passwd"])

    def command(self, client: Client, previously: str, probe: bool, more: Sequence[str]) -> Sequence[str]:
        """In the foreground, with the least of delays."""
        settings = ["clientid", "hostname laptop", "option domain_name_servers, domain_name, routers", "nodelay"]
        settings += ["noipv4ll", "nodev", "reboot 10", "timeout 30"]
        settings += [*(() if probe else ("noarp",)), *more]
        client.file("conf", "\n".join(settings) + "\n")
        options = ["-f", str(client.file("conf")), "--script", str(client.file("script"))]
        return ["dhcpcd", "-4", "--nobackground", *options, client.interface]

    def kill(self, client: Client, process: subprocess.Popen[str]) -> None:
        """The processes among which it divides its privileges are one group."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)

    def renew(self, process: subprocess.Popen[str]) -> None:
        """Does so at T1."""

    def release(self, client: Client, process: subprocess.Popen[str]) -> None:
        """Another process tells the first."""
        client.host.run(["dhcpcd", "-4", "-f", str(client.file("conf")), "--release", client.interface])


CLIENTS: Mapping[str, Udhcpc | Dhclient | Dhcpcd] = {"udhcpc": Udhcpc(), "dhclient": Dhclient(), "dhcpcd": Dhcpcd()}


# ── what passes between them ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Message:
    """A DHCP message as it was on the wire; addresses are dotted."""

    kind: MessageType
    source: str
    destination: str
    ciaddr: str
    yiaddr: str
    giaddr: str
    hardware_address: str
    requested: str

    @classmethod
    def of(cls, frame: bytes) -> Message:
        """Of an Ethernet frame."""
        packet = dpkt.ethernet.Ethernet(frame).data
        dhcp = dpkt.dhcp.DHCP(packet.data.data)
        options = dict(dhcp.opts)
        return cls(
            MessageType(options[53][0]),
            str(IPv4Address(packet.src)),
            str(IPv4Address(packet.dst)),
            str(IPv4Address(dhcp.ciaddr)),
            str(IPv4Address(dhcp.yiaddr)),
            str(IPv4Address(dhcp.giaddr)),
            dhcp.chaddr[:6].hex(":"),
            str(IPv4Address(options[50])) if 50 in options else "",
        )


def heard(capture: Capture, kind: MessageType, **fields: str) -> Message:
    """The next message of this kind and with these fields; those before it are passed over."""
    return heard_until(capture, kind, **fields)[-1]


def heard_until(capture: Capture, kind: MessageType, **fields: str) -> list[Message]:
    """The messages up to the next one of this kind and with these fields."""
    end = time.monotonic() + PATIENCE
    messages = []
    while (left := end - time.monotonic()) > 0:
        frame = capture.next_udp(left)
        if frame is not None:
            message = Message.of(frame)
            messages.append(message)
            if message.kind == kind and all(getattr(message, name) == value for name, value in fields.items()):
                return messages
    raise AssertionError(f"no {kind.name} with {fields} within {PATIENCE:g} s, but {messages}")
