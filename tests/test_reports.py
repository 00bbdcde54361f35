"""What the log says of packets."""

from __future__ import annotations

import logging

import pytest
from wire import config, decline, discover, inform, message, number_of, reboot, release, renew, request

from aiodhcp import Config, Datagram, Drop, DropReason, Engine, Exchange, Interface, Packet, hookimpl
from aiodhcp.hooks import Hooks
from aiodhcp.reports import LINES_PER_SECOND, Reports

FIRST = "192.0.2.10"
LINK = Interface("eth0", (number_of("192.0.2.1"),))
NOW = 1_700_000_000.0


class Desk:
    """An engine and what is reported of it."""

    def __init__(self, caplog: pytest.LogCaptureFixture, engine: Engine | None = None) -> None:
        self.engine = engine or Engine(config(interface="eth0"))
        self.reports = Reports()
        self.log = caplog
        self.now = NOW

    def say(self, data: bytes, count: int = 1) -> list[str]:
        """One message ``count`` times; the lines that are written about it."""
        self.log.clear()
        for _ in range(count):
            self.finish(self.engine.arrive(Datagram(data, LINK), self.now))
        return self.log.messages

    def finish(self, exchange: Exchange) -> None:
        self.engine.decide(exchange)
        self.engine.answer(exchange)
        self.engine.finish(exchange)
        self.reports.finished(exchange)


@pytest.fixture
def desk(caplog: pytest.LogCaptureFixture) -> Desk:
    caplog.set_level(logging.DEBUG, "aiodhcp.leases")
    return Desk(caplog)


CLIENT = "client=02:00:00:00:00:01"


# ── one line for each event ──────────────────────────────────────────────────────────────────────────────────────


def test_the_life_of_a_lease(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert desk.say(discover(1)) == [f"offered {FIRST} {CLIENT} seconds=3600 on=eth0"]
    assert caplog.records[0].levelno == logging.DEBUG
    assert desk.say(request(1, FIRST)) == [f"leased {FIRST} {CLIENT} seconds=3600 on=eth0"]
    assert caplog.records[0].levelno == logging.INFO
    assert desk.say(renew(1, FIRST)) == [f"renewed {FIRST} {CLIENT} seconds=3600 on=eth0"]
    assert caplog.records[0].levelno == logging.INFO
    assert desk.say(release(1, FIRST)) == [f"released {FIRST} {CLIENT} on=eth0"]
    assert caplog.records[0].levelno == logging.INFO


def test_a_host_name_is_told(desk: Desk) -> None:
    desk.say(discover(1))
    name = [(12, b"printer")]
    assert desk.say(request(1, FIRST, options=name)) == [f"leased {FIRST} {CLIENT} host='printer' seconds=3600 on=eth0"]
    assert desk.say(renew(1, FIRST)) == [f"renewed {FIRST} {CLIENT} host='printer' seconds=3600 on=eth0"]
    assert desk.say(release(1, FIRST)) == [f"released {FIRST} {CLIENT} host='printer' on=eth0"]


def test_declined(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.say(discover(1))
    why = f"why='{FIRST} is in use by somebody else, says the client'"
    assert desk.say(decline(1, FIRST)) == [f"declined {FIRST} {CLIENT} message=DECLINE {why} on=eth0"]
    assert caplog.records[0].levelno == logging.WARNING


def test_refused(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    why = "why='wrong network: this is 192.0.2.0/24'"
    assert desk.say(reboot(1, "198.51.100.7")) == [f"refused 198.51.100.7 {CLIENT} message=REQUEST {why} on=eth0"]
    assert caplog.records[0].levelno == logging.INFO


def test_informed(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert desk.say(inform(1, "192.0.2.77")) == [f"informed 192.0.2.77 {CLIENT} on=eth0"]
    assert caplog.records[0].levelno == logging.DEBUG


def test_dropped(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    why = f"why='declines {FIRST}, which it neither has nor was offered'"
    assert desk.say(decline(1, FIRST)) == [f"dropped - {CLIENT} message=DECLINE reason=INVALID {why} on=eth0"]
    assert caplog.records[0].levelno == logging.DEBUG


def test_dropped_unread(desk: Desk) -> None:
    assert desk.say(b"x") == [
        "dropped - client=- reason=INVALID why='1 octets: a DHCP message has 240 to 4096' on=eth0"
    ]
    refused = desk.engine.refuse(Datagram(discover(1), LINK), NOW, DropReason.PAUSED, "the server is paused")
    desk.log.clear()
    desk.finish(refused)
    assert desk.log.messages == ["dropped - client=- reason=PAUSED why='the server is paused' on=eth0"]


def test_a_client_without_a_hardware_address(desk: Desk) -> None:
    data = bytearray(message(1, 1, [(61, b"\x00robot")]))
    data[2] = 0
    assert desk.say(bytes(data)) == [f"offered {FIRST} client=00:72:6f:62:6f:74 seconds=3600 on=eth0"]


def test_a_message_type_that_does_not_exist(desk: Desk) -> None:
    why = "why='message type 77 is not for a server'"
    assert desk.say(message(77, 1)) == [f"dropped - {CLIENT} reason=INVALID {why} on=eth0"]


def test_vetoed(caplog: pytest.LogCaptureFixture) -> None:
    class Bouncer:
        name = "bouncer"

        @hookimpl
        def dhcp_new_pkt(self, packet: Packet) -> Drop:
            return Drop("not with these shoes")

    caplog.set_level(logging.DEBUG, "aiodhcp.leases")
    desk = Desk(caplog, Engine(config(interface="eth0"), Hooks([Bouncer()])))
    desk.reports.finished(desk.engine.arrive(Datagram(discover(1), LINK), NOW))
    why = "why='vetoed by bouncer: not with these shoes'"
    assert caplog.messages == [f"vetoed - {CLIENT} message=DISCOVER {why} on=eth0"]


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        (DropReason.NOADDRESS, logging.WARNING),
        (DropReason.NO_SUBNETS, logging.WARNING),
        (DropReason.NOMEM, logging.WARNING),
        (DropReason.INTERNAL_ERROR, logging.WARNING),
        (DropReason.PAUSED, logging.DEBUG),
        (DropReason.WRONG_SERVER, logging.DEBUG),
        (DropReason.INVALID, logging.DEBUG),
    ],
)
def test_what_an_administrator_has_to_know(desk: Desk, reason: DropReason, level: int) -> None:
    desk.finish(desk.engine.refuse(Datagram(discover(1), LINK), NOW, reason, "so"))
    (record,) = desk.log.records
    assert record.levelno == level
    assert f"reason={reason.name} why='so'" in record.getMessage()


def test_no_subnet_is_told_without_being_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aiodhcp.leases")
    desk = Desk(caplog, Engine(Config()))
    why = "why='no subnet for interface eth0'"
    assert desk.say(discover(1)) == [f"dropped - {CLIENT} message=DISCOVER reason=NO_SUBNETS {why} on=eth0"]


def test_a_lease_that_was_not_granted_has_no_time(desk: Desk) -> None:
    """Its commit failed."""
    desk.say(discover(1))
    exchange = desk.engine.arrive(Datagram(request(1, FIRST), LINK), NOW)
    desk.engine.decide(exchange)
    exchange.drop(DropReason.INTERNAL_ERROR, "the lease can't be committed")
    desk.log.clear()
    desk.reports.finished(exchange)
    (line,) = desk.log.messages
    assert "message=REQUEST reason=INTERNAL_ERROR" in line
    assert "seconds=" not in line


# ── what clients send is no more than data ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (b"a\nleased 10.0.0.1 client=spoofed", r"'a\nleased 10.0.0.1 client=spoofed'"),
        (b"\x1b[2J\x07", r"'\x1b[2J\x07'"),
        (b"x' host='y", "\"x' host='y\""),
        (b"%s%n%(a)s", "'%s%n%(a)s'"),
        ("größe\u202e".encode(), r"'gr\xf6\xdfe\u202e'"),
        (b"\xff\xfe", r"'\ufffd\ufffd'"),
        (b"a\rb\x00c\x85d", r"'a\rb\x00c\ufffdd'"),
    ],
)
def test_hostile_host_names(desk: Desk, name: bytes, written: str) -> None:
    desk.say(discover(1))
    (line,) = desk.say(request(1, FIRST, options=[(12, name)]))
    assert line == f"leased {FIRST} {CLIENT} host={written} seconds=3600 on=eth0"
    assert line.isascii()
    assert line.isprintable()


# ── no more lines than somebody could read ───────────────────────────────────────────────────────────────────────


def test_a_second_has_only_so_many_lines(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.say(discover(1))
    desk.now += 1
    assert len(desk.say(request(1, FIRST), LINES_PER_SECOND + 1)) == LINES_PER_SECOND
    assert desk.say(renew(1, FIRST), 30) == []
    assert desk.say(b"x", 5) == []
    desk.now += 0.9
    assert desk.say(renew(1, FIRST)) == []
    # With the next second comes the sum, and lines again.
    desk.now += 0.1
    lines = desk.say(renew(1, FIRST))
    assert lines == ["and in the same second: 32 renewed, 5 dropped", f"renewed {FIRST} {CLIENT} seconds=3600 on=eth0"]
    assert caplog.records[0].levelno == logging.INFO


def test_the_sum_is_written_when_nothing_else_happens(desk: Desk) -> None:
    desk.say(discover(1), LINES_PER_SECOND + 3)
    desk.log.clear()
    desk.reports.flush(int(NOW) + 1)
    assert desk.log.messages == ["and in the same second: 3 offered"]
    desk.log.clear()
    desk.reports.flush(int(NOW) + 2)
    desk.reports.flush()
    assert desk.log.messages == []


def test_the_sum_is_as_alarming_as_what_it_sums(caplog: pytest.LogCaptureFixture) -> None:
    """Else it would be the only thing not said at the level of warnings."""
    caplog.set_level(logging.WARNING, "aiodhcp.leases")
    desk = Desk(caplog, Engine(Config()))
    desk.say(discover(1), LINES_PER_SECOND + 7)
    caplog.clear()
    desk.reports.flush()
    (record,) = caplog.records
    assert record.getMessage() == "and in the same second: 7 dropped"
    assert record.levelno == logging.WARNING


# ── what nobody reads costs nothing ──────────────────────────────────────────────────────────────────────────────


def test_nothing_is_put_into_words_when_nobody_listens(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_words(*_: object) -> None:
        raise AssertionError("formatted for nobody")

    monkeypatch.setattr("aiodhcp.reports._line", no_words)
    log = logging.getLogger("aiodhcp.leases")
    log.setLevel(logging.CRITICAL)
    desk.say(discover(1))
    desk.say(request(1, FIRST), LINES_PER_SECOND + 10)
    desk.say(decline(1, FIRST))
    desk.say(b"x")
    desk.finish(desk.engine.refuse(Datagram(b"", LINK), NOW, DropReason.NOMEM, ""))
    desk.reports.flush()
    log.setLevel(logging.WARNING)
    desk.say(discover(1))
    desk.say(request(1, "192.0.2.11"))
    desk.say(b"x")
    log.setLevel(logging.INFO)
    desk.say(discover(2))
    desk.say(b"x")
    assert desk.log.messages == []
    # The words are what has been left out, and not the event.
    with pytest.raises(AssertionError, match="for nobody"):
        desk.say(request(2, "192.0.2.12"))


def test_a_decline_is_told_at_the_level_of_warnings(desk: Desk) -> None:
    logging.getLogger("aiodhcp.leases").setLevel(logging.WARNING)
    desk.say(discover(1))
    (line,) = desk.say(decline(1, FIRST))
    assert line.startswith(f"declined {FIRST} {CLIENT}")


def test_a_logger_of_ones_own(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.reports = Reports(logging.getLogger("appliance.dhcp"))
    caplog.set_level(logging.DEBUG, "appliance")
    assert desk.say(discover(1)) == [f"offered {FIRST} {CLIENT} seconds=3600 on=eth0"]
    assert caplog.records[0].name == "appliance.dhcp"
