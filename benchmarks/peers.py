"""The servers that are measured: how each is configured, started and asked for its version, and what it promises.

All get the same work: one subnet, 10.0.0.0/8, a pool from 10.1.0.0 upwards, leases of an hour, the same three options.
None checks an address by ping (the default of dhcpd and dnsmasq), which would cost seconds an address.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

POOL_START = IPv4Address("10.1.0.0")
POOL_MOST = 0xE0_0000  # up to 10.224.255.255
SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Plan:
    """What a server is started with."""

    directory: Path  # for its configuration, leases and log; its own
    interface: str
    address: str
    pool: int  # addresses

    @property
    def first(self) -> IPv4Address:
        return POOL_START

    @property
    def last(self) -> IPv4Address:
        return POOL_START + (self.pool - 1)

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def path(self, name: str) -> str:
        return str(self.directory / name)


@dataclass(frozen=True)
class Launch:
    """A command line, and what the environment must hold besides PATH."""

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """One server in one configuration."""

    name: str
    title: str
    package: str  # the Debian package that brings it
    durability: str  # what has happened to the lease when the ACK leaves
    missing: Callable[[], str | None]  # why it cannot be measured here
    version: Callable[[], str]
    launch: Callable[[Plan], Launch]
    pool_most: int = POOL_MOST
    clients_most: int = POOL_MOST  # that renew


def _program(name: str) -> str | None:
    return shutil.which(name, path=SBIN)


def _absent(name: str, package: str) -> Callable[[], str | None]:
    return lambda: None if _program(name) else f"{name} is not installed (Debian package {package})"


def _installed(name: str, plan: Plan) -> str:
    """A copy of the program: distributions bind AppArmor profiles to the path of the original, and these would keep it
    from reading a configuration outside /etc."""
    found = _program(name)
    if found is None:
        raise FileNotFoundError(name)
    return shutil.copy(found, plan.path(name))


def _version(name: str, argument: str, pattern: str) -> Callable[[], str]:
    def ask() -> str:
        shown = subprocess.run([_program(name) or name, argument], capture_output=True, text=True, check=False)
        found = re.search(pattern, shown.stdout + shown.stderr)
        return found.group(1) if found else "?"

    return ask


# ---- aiodhcp ----

AIODHCP = """\
interfaces = ["{plan.interface}"]
log-level = "warning"

[store]
path = "leases.sqlite"

[options]
domain-name-servers = ["10.0.0.53"]
domain-name = "bench.example"

[[subnet]]
subnet = "10.0.0.0/8"
pools = ["{plan.first}-{plan.last}"]
lease-time = "1h"

[subnet.options]
routers = ["{plan.address}"]
"""


def _aiodhcp_missing() -> str | None:
    if importlib.util.find_spec("aiodhcp") is None:
        return "aiodhcp is not installed for this Python"
    return None if importlib.util.find_spec("aiodhcp.cli") else "aiodhcp has no command line yet"


def _aiodhcp_version() -> str:
    import aiodhcp

    return f"{aiodhcp.__version__}, Python {sys.version.split()[0]}"


def _aiodhcp(plan: Plan) -> Launch:
    return Launch([sys.executable, "-m", "aiodhcp", "serve", plan.write("aiodhcp.toml", AIODHCP.format(plan=plan))])


# ---- Kea ----


def _kea(socket_type: str, severity: str) -> Callable[[Plan], Launch]:
    def launch(plan: Plan) -> Launch:
        configuration: dict[str, Any] = {
            "interfaces-config": {"interfaces": [plan.interface], "dhcp-socket-type": socket_type},
            "lease-database": {
                "type": "memfile",
                "persist": True,
                "name": plan.path("leases.csv"),
                "lfc-interval": 3600,
            },
            "multi-threading": {"enable-multi-threading": False},
            "renew-timer": 900,
            "rebind-timer": 1800,
            "valid-lifetime": 3600,
            "option-data": [
                {"name": "domain-name-servers", "data": "10.0.0.53"},
                {"name": "domain-name", "data": "bench.example"},
            ],
            "subnet4": [
                {
                    "id": 1,
                    "subnet": "10.0.0.0/8",
                    "pools": [{"pool": f"{plan.first} - {plan.last}"}],
                    "option-data": [{"name": "routers", "data": plan.address}],
                }
            ],
            "loggers": [
                {"name": "kea-dhcp4", "severity": severity, "output_options": [{"output": plan.path("kea-dhcp4.log")}]}
            ],
        }
        return Launch(
            [_installed("kea-dhcp4", plan), "-c", plan.write("kea.json", json.dumps({"Dhcp4": configuration}))],
            {"KEA_PIDFILE_DIR": str(plan.directory), "KEA_LOCKFILE_DIR": str(plan.directory)},
        )

    return launch


# ---- ISC dhcpd ----

DHCPD = """\
authoritative;
ddns-update-style none;
ping-check false;
{extra}
default-lease-time 3600;
max-lease-time 3600;
option domain-name-servers 10.0.0.53;
option domain-name "bench.example";
subnet 10.0.0.0 netmask 255.0.0.0 {{
    range {plan.first} {plan.last};
    option routers {plan.address};
}}
"""


def _dhcpd(extra: str) -> Callable[[Plan], Launch]:
    def launch(plan: Plan) -> Launch:
        configuration = plan.write("dhcpd.conf", DHCPD.format(plan=plan, extra=extra))
        leases = plan.write("dhcpd.leases", "")
        files = ["-cf", configuration, "-lf", leases, "-pf", plan.path("dhcpd.pid")]
        return Launch([_installed("dhcpd", plan), "-4", "-f", "-q", *files, plan.interface])

    return launch


# ---- dnsmasq ----

DNSMASQ = """\
port=0
user=root
group=root
interface={plan.interface}
except-interface=lo
bind-interfaces
no-hosts
no-resolv
no-ping
quiet-dhcp
dhcp-authoritative
dhcp-range={plan.first},{plan.last},255.0.0.0,1h
dhcp-lease-max={plan.pool}
dhcp-leasefile={leases}
dhcp-option=option:router,{plan.address}
dhcp-option=option:dns-server,10.0.0.53
domain=bench.example
pid-file={pid}
log-facility={log}
"""


def _dnsmasq(plan: Plan) -> Launch:
    files = {"leases": plan.path("dnsmasq.leases"), "pid": plan.path("dnsmasq.pid"), "log": plan.path("dnsmasq.log")}
    configuration = plan.write("dnsmasq.conf", DNSMASQ.format(plan=plan, **files))
    return Launch([_installed("dnsmasq", plan), "--keep-in-foreground", f"--conf-file={configuration}"])


# ---- the null server ----


def _null(plan: Plan) -> Launch:
    return Launch([str(Path(__file__).parent / "build" / "nullserver"), plan.address])


KEA_DURABILITY = "no: one write() to the lease file, never an fsync; a power cut may lose leases already acknowledged"
# dhcpd as shipped does not extend, nor write, a lease of which less than a quarter is over, so it would do nothing for
# renewals here; clients renew at half.
DHCPD_DURABILITY = "yes: the lease is written and fsynced before the ACK, one fsync for each"

SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        Server(
            name="aiodhcp",
            title="aiodhcp, SQLite",
            package="",
            durability="yes: committed and fsynced before the ACK, one fsync for each batch",
            missing=_aiodhcp_missing,
            version=_aiodhcp_version,
            launch=_aiodhcp,
        ),
        Server(
            name="kea",
            title="Kea, memfile, UDP sockets, WARN log",
            package="kea-dhcp4-server",
            durability=KEA_DURABILITY,
            missing=_absent("kea-dhcp4", "kea-dhcp4-server"),
            version=_version("kea-dhcp4", "-v", r"([\d.]+)"),
            launch=_kea("udp", "WARN"),
        ),
        Server(
            name="kea-shipped",
            title="Kea, memfile, as shipped (raw sockets, INFO log)",
            package="kea-dhcp4-server",
            durability=KEA_DURABILITY,
            missing=_absent("kea-dhcp4", "kea-dhcp4-server"),
            version=_version("kea-dhcp4", "-v", r"([\d.]+)"),
            launch=_kea("raw", "INFO"),
        ),
        Server(
            name="dhcpd",
            title="ISC dhcpd",
            package="isc-dhcp-server",
            durability=DHCPD_DURABILITY,
            missing=_absent("dhcpd", "isc-dhcp-server"),
            version=_version("dhcpd", "--version", r"isc-dhcpd-(\S+)"),
            launch=_dhcpd("dhcp-cache-threshold 0;"),
            pool_most=16384,  # it slows down with the size of the pool
        ),
        Server(
            name="dhcpd-cache",
            title="ISC dhcpd, dhcp-cache-threshold 25 (as shipped)",
            package="isc-dhcp-server",
            durability=DHCPD_DURABILITY + "; no write for early renewals",
            missing=_absent("dhcpd", "isc-dhcp-server"),
            version=_version("dhcpd", "--version", r"isc-dhcpd-(\S+)"),
            launch=_dhcpd(""),
            pool_most=16384,
        ),
        Server(
            name="dnsmasq",
            title="dnsmasq",
            package="dnsmasq-base",
            durability="yes: the whole lease file is rewritten in place and fsynced before the ACK, for each",
            clients_most=2000,  # it takes them ever more slowly
            missing=_absent("dnsmasq", "dnsmasq-base"),
            version=_version("dnsmasq", "--version", r"version (\S+)"),
            launch=_dnsmasq,
        ),
        Server(
            name="null",
            title="null server in C, decides and stores nothing",
            package="gcc",
            durability="-",
            missing=lambda: None,
            version=lambda: "-",
            launch=_null,
        ),
    )
}
DEFAULT = ("aiodhcp", "kea", "kea-shipped", "dhcpd", "dnsmasq")
