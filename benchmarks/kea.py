"""Kea, in the configurations that are measured: its fastest, as shipped, and with PostgreSQL."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serverkit import BUILD, Launch, Plan, Server, absent, installed, program, version_of

POSTGRESQL = Path("/usr/lib/postgresql")  # Debian has every version in a directory of its own
SCHEMA = Path("/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql")
# PostgreSQL doesn't run as root. It ends when Kea does, whose process the shell becomes.
WITH_POSTGRESQL = """\
setpriv --reuid postgres --regid postgres --clear-groups -- setpriv --pdeathsig KILL -- \
    "$0/postgres" -D "$1" -k "$1" -c listen_addresses= >"$1.log" 2>&1 &
until "$0/pg_isready" -q -h "$1"; do sleep 0.1; done
shift
exec "$@"
"""


def _configuration(plan: Plan, database: dict[str, Any], socket_type: str, severity: str) -> str:
    configuration: dict[str, Any] = {
        "interfaces-config": {"interfaces": [plan.interface], "dhcp-socket-type": socket_type},
        "lease-database": database,
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
    return plan.write("kea.json", json.dumps({"Dhcp4": configuration}))


def _environment(plan: Plan) -> dict[str, str]:
    return {"KEA_PIDFILE_DIR": str(plan.directory), "KEA_LOCKFILE_DIR": str(plan.directory)}


def _memfile(socket_type: str, severity: str) -> Callable[[Plan], Launch]:
    def launch(plan: Plan) -> Launch:
        database = {"type": "memfile", "persist": True, "name": plan.path("leases.csv"), "lfc-interval": 3600}
        configuration = _configuration(plan, database, socket_type, severity)
        return Launch([installed("kea-dhcp4", plan), "-c", configuration], _environment(plan))

    return launch


# ---- with PostgreSQL ----


def _postgresql() -> Path | None:
    """The directory of the newest PostgreSQL's programs."""
    found = [path.parent for path in POSTGRESQL.glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def _postgresql_missing() -> str | None:
    if not program("kea-dhcp4"):
        return "kea-dhcp4 is not installed (Debian package kea-dhcp4-server)"
    if not SCHEMA.exists():
        return "Kea's tables for PostgreSQL are not installed (Debian package kea-admin)"
    return None if _postgresql() else "PostgreSQL is not installed (Debian package postgresql)"


def _postgresql_version() -> str:
    kea = version_of("kea-dhcp4", "-v", r"([\d.]+)")()
    programs = _postgresql()
    return f"{kea}, PostgreSQL {programs.parent.name if programs else '?'}"


def _as_postgres(*argv: object) -> None:
    user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]
    subprocess.run([*user, *map(str, argv)], check=True, capture_output=True, cwd="/")


def _cluster(programs: Path) -> Path:
    """A database with Kea's tables, made once."""
    made = BUILD / f"kea-postgresql-{programs.parent.name}"
    if made.exists():
        return made
    half = made.with_suffix(".new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    shutil.chown(half, "postgres", "postgres")
    _as_postgres(programs / "initdb", "-D", half, "-A", "trust", "-U", "kea")
    options = f"-k {half} -c listen_addresses="
    _as_postgres(programs / "pg_ctl", "-D", half, "-w", "-l", half / "log", "-o", options, "start")
    try:
        asked = ("-q", "-h", half, "-U", "kea", "-v", "ON_ERROR_STOP=1")
        _as_postgres(programs / "psql", *asked, "-d", "postgres", "-c", "CREATE DATABASE kea")
        _as_postgres(programs / "psql", *asked, "-d", "kea", "-f", SCHEMA)
    finally:
        _as_postgres(programs / "pg_ctl", "-D", half, "-w", "stop")
    return half.rename(made)


def _with_postgresql(plan: Plan) -> Launch:
    programs = _postgresql()
    assert programs is not None
    plan.directory.chmod(0o755)  # for PostgreSQL, which is another user
    data = plan.path("pg")
    subprocess.run(["cp", "-a", str(_cluster(programs)), data], check=True)
    database = {"type": "postgresql", "name": "kea", "user": "kea", "password": "", "host": data}
    kea = [installed("kea-dhcp4", plan), "-c", _configuration(plan, database, "udp", "WARN")]
    return Launch(["sh", "-c", WITH_POSTGRESQL, str(programs), data, *kea], _environment(plan))


DURABILITY = "no: one write() to the lease file, never an fsync; a power cut may lose leases already acknowledged"
_ASKED = version_of("kea-dhcp4", "-v", r"([\d.]+)")
KEA = Server(
    name="kea",
    title="Kea, memfile, UDP sockets, WARN log",
    package="kea-dhcp4-server",
    durability=DURABILITY,
    missing=absent("kea-dhcp4", "kea-dhcp4-server"),
    version=_ASKED,
    launch=_memfile("udp", "WARN"),
)
SHIPPED = Server(
    name="kea-shipped",
    title="Kea, memfile, as shipped (raw sockets, INFO log)",
    package="kea-dhcp4-server",
    durability=DURABILITY,
    missing=absent("kea-dhcp4", "kea-dhcp4-server"),
    version=_ASKED,
    launch=_memfile("raw", "INFO"),
)
ON_POSTGRESQL = Server(
    name="kea-postgresql",
    title="Kea, PostgreSQL, UDP sockets, WARN log",
    package="kea-dhcp4-server, kea-admin, postgresql",
    durability="yes: PostgreSQL commits, and fsyncs, each lease before the ACK",
    missing=_postgresql_missing,
    version=_postgresql_version,
    launch=_with_postgresql,
    clients_most=5000,  # they take a while to get their leases
)
