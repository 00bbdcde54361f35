"""The servers that are measured: how each is configured, started and asked for its version, and what it promises.

All get the same work: one subnet, 10.0.0.0/8, a pool from 10.1.0.0 upwards, leases of an hour, the same three options.
None checks an address by ping (the default of dhcpd and dnsmasq), which would cost seconds an address.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kea import KEA, ON_POSTGRESQL, SHIPPED
from serverkit import BUILD, HERE, Launch, Plan, Server, absent, installed, version_of

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

    python = f"Python {sys.version.split()[0]} of {sys.base_prefix}"
    return f"{aiodhcp.__version__} of {Path(aiodhcp.__file__).parent}, {python}"


def aiodhcp_with(text: str, plan: Plan) -> Launch:
    """aiodhcp with a configuration. It is the one that this program would import, wherever it was started."""
    spec = importlib.util.find_spec("aiodhcp")
    assert spec is not None
    assert spec.origin is not None
    path = [str(Path(spec.origin).parent.parent), os.environ.get("PYTHONPATH", "")]
    return Launch(
        [sys.executable, "-m", "aiodhcp", "serve", plan.write("aiodhcp.toml", text)],
        {"PYTHONPATH": os.pathsep.join(filter(None, path))},
    )


def _aiodhcp(plan: Plan) -> Launch:
    return aiodhcp_with(AIODHCP.format(plan=plan), plan)


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
        return Launch([installed("dhcpd", plan), "-4", "-f", "-q", *files, plan.interface])

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
    return Launch([installed("dnsmasq", plan), "--keep-in-foreground", f"--conf-file={configuration}"])


# ---- CoreDHCP ----

COREDHCP = """\
server4:
    listen:
        - "%{plan.interface}"
    plugins:
        - lease_time: 3600s
        - server_id: {plan.address}
        - dns: 10.0.0.53
        - router: {plan.address}
        - netmask: 255.0.0.0
        - range: {leases} {plan.first} {plan.last} 3600s
"""


def _coredhcp(plan: Plan) -> Launch:
    configuration = plan.write("coredhcp.yml", COREDHCP.format(plan=plan, leases=plan.path("leases.txt")))
    return Launch([installed("coredhcp", plan), "-L", "warning", "-c", configuration])


def _coredhcp_version() -> str:
    asked = ["dpkg-query", "-W", "-f", "${Version}", "coredhcp-server"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout or "?"


# ---- pydhcp ----

PYDHCP = BUILD / "pydhcp" / "bin" / "python"


def _pydhcp_missing() -> str | None:
    return None if PYDHCP.exists() else "pydhcp could not be installed (benchmarks/setup.sh does it)"


def _pydhcp_version() -> str:
    asked = (
        "import importlib.metadata, sys; print(importlib.metadata.version('pydhcp'), 'Python', sys.version.split()[0])"
    )
    return subprocess.run([str(PYDHCP), "-c", asked], capture_output=True, text=True, check=False).stdout.strip() or "?"


def _pydhcp(plan: Plan) -> Launch:
    return Launch([str(PYDHCP), str(HERE / "pydhcp_server.py"), plan.address, str(plan.first), str(plan.pool)])


# ---- the null server ----


def _null(plan: Plan) -> Launch:
    return Launch([str(BUILD / "nullserver"), plan.address])


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
        KEA,
        SHIPPED,
        ON_POSTGRESQL,
        Server(
            name="dhcpd",
            title="ISC dhcpd",
            package="isc-dhcp-server",
            durability=DHCPD_DURABILITY,
            missing=absent("dhcpd", "isc-dhcp-server"),
            version=version_of("dhcpd", "--version", r"isc-dhcpd-(\S+)"),
            launch=_dhcpd("dhcp-cache-threshold 0;"),
            pool_most=16384,  # it slows down with the size of the pool
        ),
        Server(
            name="dhcpd-cache",
            title="ISC dhcpd, dhcp-cache-threshold 25 (as shipped)",
            package="isc-dhcp-server",
            durability=DHCPD_DURABILITY + "; no write for early renewals",
            missing=absent("dhcpd", "isc-dhcp-server"),
            version=version_of("dhcpd", "--version", r"isc-dhcpd-(\S+)"),
            launch=_dhcpd(""),
            pool_most=16384,
        ),
        Server(
            name="dnsmasq",
            title="dnsmasq",
            package="dnsmasq-base",
            durability="yes: the whole lease file is rewritten in place and fsynced before the ACK, for each",
            clients_most=2000,  # it takes them ever more slowly
            missing=absent("dnsmasq", "dnsmasq-base"),
            version=version_of("dnsmasq", "--version", r"version (\S+)"),
            launch=_dnsmasq,
        ),
        Server(
            name="coredhcp",
            title="CoreDHCP",
            package="coredhcp-server",
            durability="yes: the lease is appended to a file and fsynced, both before the OFFER and before the ACK",
            missing=absent("coredhcp", "coredhcp-server"),
            version=_coredhcp_version,
            launch=_coredhcp,
            clients_most=5000,
        ),
        Server(
            name="pydhcp",
            title="pydhcp, in memory",
            package="",
            durability="no: leases are in memory only",
            missing=_pydhcp_missing,
            version=_pydhcp_version,
            launch=_pydhcp,
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
DEFAULT = ("aiodhcp", "kea", "kea-shipped", "dhcpd", "dnsmasq", "pydhcp", "null")
DURABLE = ("dhcpd", "dnsmasq", "coredhcp", "kea-postgresql")
