"""audit_log: the files of Microsoft's audit log."""

from __future__ import annotations

import csv
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from aiodhcp_plugins.audit_log import AuditLog
from aiodhcp_plugins.audit_log_files import COLUMNS, DAYS, DayFiles, Entry
from client import Client, Clock, make_engine, number
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from wire import ask, config, decline, lease, message, reboot, release, renew, until

from aiodhcp import Config, ConfigError, DhcpServer, Drop, MemoryStore, MemoryTransport, Subnet, hookimpl

TUESDAY = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC).timestamp()
"""Where the clock of tests begins."""
FIELDS = COLUMNS.split(",")


def lines_of(path) -> list[list[str]]:
    """What is below the line with the names of the columns, as a program reads it that splits at CR LF and by csv."""
    _, _, rest = path.read_bytes().decode().partition(f"{COLUMNS}\r\n")
    lines = rest.split("\r\n")
    assert lines.pop() == ""
    return list(csv.reader(lines))


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """The time of the system is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def clock():
    return Clock(TUESDAY)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "audit"


@pytest.fixture
def make(directory):
    return lambda **settings: AuditLog(AuditLog.Settings(directory=directory, **settings))


@pytest.fixture
def serve(clock):
    @asynccontextmanager
    async def running(*plugins, config=config()):  # noqa: B008
        transport = MemoryTransport()
        server = DhcpServer(config, store=MemoryStore(), transport=transport, plugins=plugins, clock=clock)
        async with server:
            yield server, transport
        assert not any(each.errors or each.timeouts for each in server.hooks.metrics)

    return running


@pytest.fixture
def files(directory):
    """``files(most=…)``: a week of them, in UTC."""

    def make(most: int = 1 << 20, least_free: int = 0, disk_check: int = 50, zone=UTC) -> DayFiles:
        files = DayFiles(directory, most, least_free, disk_check, zone)
        files.open(TUESDAY)
        return files

    return make


# ── the lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_day(make, serve, directory, clock):
    async with serve(make()) as (server, transport):
        said = [(12, b"pc-17"), (60, b"MSFT 5.0"), (77, b"\3lab"), (82, b"\1\4eth7")]
        address = await lease(transport, 1, said)
        clock.advance(60)
        await ask(transport, renew(1, address))
        transport.deliver(release(1, address))
        transport.deliver(decline(2, await lease(transport, 2)))
        await until(lambda: server.health.in_flight == 0)
        await ask(transport, reboot(3, "198.51.100.9"))
        await server.delete_lease(await lease(transport, 4, [(12, b"gone")]))
        await lease(transport, 5)
        clock.advance(3600 + 60)
        await until(lambda: any(row[0] == "17" for row in lines_of(directory / "DhcpSrvLog-Tue.log")))
    rows = lines_of(directory / "DhcpSrvLog-Tue.log")
    assert [(row[0], *row[2:7]) for row in rows] == [
        ("00", "22:13:20", "Started", "", "", ""),
        ("10", "22:13:20", "Assign", address, "pc-17", "020000000001"),
        ("11", "22:14:20", "Renew", address, "pc-17", "020000000001"),
        ("12", "22:14:20", "Release", address, "pc-17", "020000000001"),
        ("10", "22:14:20", "Assign", "192.0.2.11", "", "020000000002"),
        ("13", "22:14:20", "Conflict", "192.0.2.11", "", "020000000002"),
        ("15", "22:14:20", "NACK", "198.51.100.9", "", "020000000003"),
        ("10", "22:14:20", "Assign", "192.0.2.12", "gone", "020000000004"),
        ("16", "22:14:20", "Deleted", "192.0.2.12", "gone", "020000000004"),
        ("10", "22:14:20", "Assign", "192.0.2.13", "", "020000000005"),
        ("17", "23:15:20", "Expired", "192.0.2.13", "", "020000000005"),
        ("01", "23:15:20", "Stopped", "", "", ""),
    ]
    assert {row[1] for row in rows} == {"11/14/23"}
    assert all(len(row) == len(FIELDS) == 19 for row in rows)
    assert rows[0] == ["00", "11/14/23", "22:13:20", "Started", "", "", "", "", "0", "6", *[""] * 8, "0"]
    assert rows[1][7:] == [
        *("", "1", "0", "", "", ""),
        *("0x4D53465420352E30", "MSFT 5.0", "0x036C6162", ".lab", "0x010465746837", "0"),
    ]


async def test_those_who_get_nothing(make, serve, directory):
    class Doorkeeper:
        @hookimpl
        def unknown_client(self, exchange):
            return Drop("no visitors") if exchange.xid == 9 else None

    full = Config([Subnet("192.0.2.0/24", ["192.0.2.10"], interfaces=["memory"])], server_id="192.0.2.1")
    async with serve(make(), Doorkeeper(), config=full) as (server, transport):
        await lease(transport, 1)
        transport.deliver(message(1, 2))
        transport.deliver(message(1, 9, [(12, b"visitor")]))
        await until(lambda: server.health.in_flight == 0)
    rows = [(row[0], row[3], row[5], row[6]) for row in lines_of(directory / "DhcpSrvLog-Tue.log")]
    assert rows[2:4] == [
        ("14", "Address pool exhausted", "", "020000000002"),
        ("15", "Denied", "visitor", "020000000009"),
    ]


def test_nothing_is_written_where_it_is_only_asked_what_would_happen(make, directory):
    Client(make_engine(plugins=[make()]), Clock()).join()
    assert not directory.exists()


def test_the_head_of_a_file(files, directory):
    files().close()
    text = (directory / "DhcpSrvLog-Tue.log").read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n")
    lines = text.decode().split("\r\n")
    assert lines[-2] == (
        "ID,Date,Time,Description,IP Address,Host Name,MAC Address,User Name, TransactionID, QResult,Probationtime, "
        "CorrelationID,Dhcid,VendorClass(Hex),VendorClass(ASCII),UserClass(Hex),UserClass(ASCII),"
        "RelayAgentInformation,DnsRegError."
    )
    assert "Event ID  Meaning" in lines
    assert any(line.startswith("10\t") for line in lines)


@given(
    st.text(alphabet=st.characters(), max_size=40),
    st.binary(max_size=20),
    st.binary(max_size=16),
    st.integers(0, 0xFFFFFFFF),
)
def test_whatever_a_client_is_called_a_line_is_a_line(tmp_path_factory, name, octets, chaddr, xid):
    directory = tmp_path_factory.mktemp("week")
    files = DayFiles(directory, 1 << 20, 0, 50, UTC)
    entry = Entry(10, TUESDAY, "Assign", number("192.0.2.10"), name, chaddr, xid, octets, octets, octets)
    assert files.write([entry, entry._replace(host_name="next")]) == 0
    files.close()
    first, second = lines_of(directory / "DhcpSrvLog-Tue.log")
    shown = "".join(each if each.isprintable() else "?" for each in name)
    assert first[5] == shown
    assert first[6] == chaddr.hex().upper()
    assert first[8] == str(xid)
    assert bytes.fromhex(first[13].removeprefix("0x")) == octets
    assert len(first[14]) == len(octets)
    assert len(first) == len(second) == 19
    assert second[5] == "next"


# ── the files ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_at_midnight_the_next_file_is_begun(make, serve, directory, clock):
    async with serve(make()) as (_, transport):
        await lease(transport, 1)
        clock.advance(2 * 3600)
        await lease(transport, 2)
    assert [row[0] for row in lines_of(directory / "DhcpSrvLog-Tue.log")] == ["00", "10"]
    rows = lines_of(directory / "DhcpSrvLog-Wed.log")
    assert [row[0] for row in rows if row[0] != "17"] == ["10", "01"]
    assert {row[1] for row in rows} == {"11/15/23"}


def test_a_week_later_it_is_begun_anew(files, directory):
    entry = Entry(10, TUESDAY, "Assign")
    week = files()
    week.write([entry._replace(now=TUESDAY + day * 86400) for day in range(8)])
    week.close()
    assert sorted(each.name[11:14] for each in directory.iterdir()) == sorted(DAYS)
    assert [row[1] for row in lines_of(directory / "DhcpSrvLog-Tue.log")] == ["11/21/23"]


def test_on_the_same_day_it_goes_on(files, directory):
    for _ in range(2):
        again = files()
        again.write([Entry(10, TUESDAY, "Assign")])
        again.close()
    assert len(lines_of(directory / "DhcpSrvLog-Tue.log")) == 2


def test_the_day_is_the_one_of_the_place(files, directory):
    there = files(zone=timezone(timedelta(hours=5, minutes=30)))
    there.write([Entry(10, TUESDAY, "Assign")])
    there.close()
    (row,) = lines_of(directory / "DhcpSrvLog-Wed.log")
    assert row[1:3] == ["11/15/23", "03:43:20"]


def test_a_file_has_its_size(files, directory):
    week = files(most=2000)
    lost = week.write([Entry(10, TUESDAY, "Assign")] * 100)
    assert 0 < lost < 100
    assert week.full == "the file of the day has 2000 octets"
    assert week.write([Entry(10, TUESDAY, "Assign")]) == 1
    assert len(lines_of(directory / "DhcpSrvLog-Tue.log")) == 100 - lost
    assert (directory / "DhcpSrvLog-Tue.log").stat().st_size <= 2000
    assert week.write([Entry(10, TUESDAY + 86400, "Assign")]) == 0
    week.close()


def test_a_disk_with_too_little_room_is_left_alone(files, directory, monkeypatch):
    free = [1000]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free[0]))
    week = files(least_free=500, disk_check=2)
    entry = Entry(10, TUESDAY, "Assign")
    assert week.write([entry]) == 0
    free[0] = 100
    assert week.write([entry] * 5) == 4
    assert week.full == "the disk has too little room"
    free[0] = 1000
    assert week.write([entry] * 2) <= 1
    week.close()
    codes = [row[0] for row in lines_of(directory / "DhcpSrvLog-Tue.log")]
    assert codes[:3] == ["10", "10", "02"]
    assert codes.count("02") == 1
    assert codes[-1] == "10"


async def test_what_can_not_be_written_is_counted_and_told_of(make, serve, directory, caplog):
    plugin = make(most_lines=1)
    async with serve(plugin) as (_, transport):
        for client in range(1, 4):
            await lease(transport, client)
        plugin._entries = [Entry(10, TUESDAY, "Assign")]
        plugin._note(Entry(10, TUESDAY, "Assign"))
    assert plugin.lost >= 1
    assert "too many at a time: lines are lost" in caplog.text


async def test_a_directory_that_can_not_be_made_refuses_the_start(serve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/audit"):
        async with serve(AuditLog(AuditLog.Settings(directory=tmp_path / "file" / "audit"))):
            pass


@pytest.mark.parametrize("wrong", [{"most_megabytes": 6}, {"disk_check": 0}, {"most_lines": "7"}, {"path": "x"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        AuditLog.Settings.model_validate({"directory": "audit", **wrong})
