"""address_plan: a CSV file says who has which address."""

from __future__ import annotations

import logging
import os

import pytest
from aiodhcp_plugins.address_plan import AddressPlan
from client import AsyncClient, dotted, make_engine, make_subnet

from aiodhcp import INFINITE, Config, ConfigError, DhcpServer, MemoryStore, MessageType, Reservation

PLAN = """\
# what stands where
Client, Address, Host name, Lease time
02:00:00:00:00:01, 192.0.2.201, printer-1, 7d
02-00-00-00-00-02, 192.0.2.202

02:00:00:00:00:02, 198.51.100.202, roaming, forever
02:00:00:00:00:03, , guest, 600
id:01:02:03, 192.0.2.204
id:pc-17, 192.0.2.205, pc-17.example
"""


class Desk:
    """A plan in a file, and clients of a server that goes by it."""

    def __init__(self, path, clock):
        self.path, self.clock = path, clock
        self.plan = AddressPlan(AddressPlan.Settings(path=path))
        self.subnets = (make_subnet(), make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24"))
        self.config = Config(self.subnets)
        self.engine = make_engine(*self.subnets, plugins=[self.plan])

    def write(self, text):
        self.path.write_text(text)
        # Whatever the resolution of the file system's clock.
        seconds = self.path.stat().st_mtime_ns + len(text) * 1_000_000_000
        os.utime(self.path, ns=(seconds, seconds))

    async def load(self, text):
        self.write(text)
        await self.plan.config_loaded(self.config)

    def client(self, last, **more):
        return AsyncClient(self.engine, self.clock, f"02:00:00:00:00:{last:02x}", **more)


@pytest.fixture
async def desk(tmp_path, clock):
    desk = Desk(tmp_path / "plan.csv", clock)
    await desk.load(PLAN)
    return desk


async def test_a_client_of_the_plan_gets_what_the_plan_says(desk):
    ack = await desk.client(1).join()
    assert dotted(ack.yiaddr) == "192.0.2.201"
    assert ack.options["host-name"] == "printer-1"
    assert ack.options["lease-time"] == 7 * 86400


async def test_what_the_plan_does_not_say_the_server_does(desk):
    ack = await desk.client(2).join()
    assert dotted(ack.yiaddr) == "192.0.2.202"
    assert "host-name" not in ack.options
    assert ack.options["lease-time"] == 12 * 3600


async def test_a_client_may_have_a_line_for_each_of_several_subnets(desk):
    ack = await desk.client(2, giaddr="198.51.100.1").join()
    assert dotted(ack.yiaddr) == "198.51.100.202"
    assert ack.options["lease-time"] == INFINITE
    assert ack.options["host-name"] == "roaming"


async def test_a_line_without_an_address_makes_a_client_known(desk):
    ack = await desk.client(3).join()
    assert dotted(ack.yiaddr) == "192.0.2.10"
    assert ack.options["host-name"] == "guest"
    assert ack.options["lease-time"] == 600


async def test_elsewhere_a_client_of_the_plan_gets_any_address_for_the_usual_time(desk):
    client = desk.client(1, giaddr="198.51.100.1")
    ack = await client.join()
    assert dotted(ack.yiaddr) == "198.51.100.10"
    assert ack.options["lease-time"] == 12 * 3600
    assert client.exchange.reservation is not None


@pytest.mark.parametrize(("client_id", "address"), [(b"\1\2\3", "192.0.2.204"), (b"pc-17", "192.0.2.205")])
async def test_a_client_id_is_octets_or_text(desk, client_id, address):
    assert dotted((await desk.client(1, client_id=client_id).join()).yiaddr) == address


async def test_others_are_served_as_ever(desk):
    ack = await desk.client(9).join()
    assert dotted(ack.yiaddr) == "192.0.2.10"
    assert "host-name" not in ack.options


async def test_a_refusal_has_no_host_name(desk):
    nak = await desk.client(1).reboot("203.0.113.1")
    assert nak.message_type == MessageType.NAK
    assert "host-name" not in nak.options


async def test_the_configuration_comes_first(desk):
    reserved = Reservation("02:00:00:00:00:01", address="192.0.2.99")
    desk.engine = make_engine(make_subnet(reservations=[reserved]), plugins=[desk.plan])
    ack = await desk.client(1).join()
    assert dotted(ack.yiaddr) == "192.0.2.99"
    assert "host-name" not in ack.options


# ── the file ──


async def test_a_changed_plan_is_read_again_within_a_second(desk, caplog):
    caplog.set_level(logging.INFO)
    client = desk.client(1)
    assert dotted((await client.discover()).yiaddr) == "192.0.2.201"
    desk.write("02:00:00:00:00:01, 192.0.2.211")
    assert dotted((await client.discover()).yiaddr) == "192.0.2.201"
    desk.clock.advance(1)
    assert dotted((await client.discover()).yiaddr) == "192.0.2.211"
    assert caplog.messages == [f"{desk.path} changed and was read again"]


async def test_a_wrong_plan_leaves_the_old_one_and_is_told_of_once(desk, caplog):
    desk.write("02:00:00:00:00:01, 192.0.2.999")
    client = desk.client(1)
    for _ in range(3):
        assert dotted((await client.discover()).yiaddr) == "192.0.2.201"
        desk.clock.advance(1)
    assert len(caplog.messages) == 1
    assert f"{desk.path}:1: expected an address like '192.0.2.10'" in caplog.text
    desk.write("02:00:00:00:00:01, 192.0.2.212")
    desk.clock.advance(1)
    assert dotted((await client.discover()).yiaddr) == "192.0.2.212"


async def test_so_does_one_that_is_gone(desk, caplog):
    desk.path.unlink()
    client = desk.client(1)
    for _ in range(3):
        assert dotted((await client.discover()).yiaddr) == "192.0.2.201"
        desk.clock.advance(1)
    assert caplog.messages == [f"{desk.path}: No such file or directory; the plan stays as it was"]
    desk.write("02:00:00:00:00:01, 192.0.2.213")
    assert dotted((await client.discover()).yiaddr) == "192.0.2.213"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("printer, 192.0.2.7", ":1: expected a hardware address like"),
        ("id:, 192.0.2.7", ":1: expected a hardware address like"),
        ("# one\n\n02:00:00:00:00:01, 192.0.2", ":3: expected an address like"),
        ("02:00:00:00:00:01,,-x", ":1: expected a host name, got '-x'"),
        ("02:00:00:00:00:01,,,0", ":1: expected a lease time like '12h'"),
        ("02:00:00:00:00:01,,,soon", ":1: expected a lease time like '12h'"),
        ("02:00:00:00:00:01,,,,", ":1: expected at most 4 columns, got 5"),
        ("02:00:00:00:00:01,192.0.2.7\n02:00:00:00:00:02,192.0.2.7", ":2: 192.0.2.7 is in line 1 already"),
        ("02:00:00:00:00:01,,a\n02:00:00:00:00:01,,b", ":2: 02:00:00:00:00:01 is in line 1 already"),
        ("?, 192.0.2.7\n" * 23, "and 3 more"),
    ],
)
async def test_a_configuration_is_refused_whose_plan_is_wrong(desk, text, words):
    with pytest.raises(ConfigError) as refused:
        await desk.load(text)
    assert words in str(refused.value)
    assert str(desk.path) in str(refused.value)
    assert dotted((await desk.client(1).discover()).yiaddr) == "192.0.2.201"


async def test_or_missing_or_not_text(desk):
    desk.path.write_bytes(b"\xff\xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        await desk.plan.config_loaded(desk.config)
    desk.path.unlink()
    with pytest.raises(ConfigError, match=r"plan\.csv: No such file"):
        await desk.plan.config_loaded(desk.config)


async def test_addresses_that_are_of_no_use_are_warned_of(desk, caplog):
    await desk.load("02:00:00:00:00:01, 203.0.113.7\n02:00:00:00:00:02, 192.0.2.20")
    assert caplog.messages == [
        f"{desk.path}:1: 203.0.113.7 lies in no subnet",
        f"{desk.path}:2: 192.0.2.20 lies in a pool: another client may be given it first",
    ]


async def test_another_delimiter(tmp_path, clock):
    desk = Desk(tmp_path / "plan.csv", clock)
    desk.plan = AddressPlan(AddressPlan.Settings(path=desk.path, delimiter=";"))
    desk.engine = make_engine(plugins=[desk.plan])
    await desk.load('﻿02:00:00:00:00:01;"192.0.2.201";pc')
    assert dotted((await desk.client(1).discover()).yiaddr) == "192.0.2.201"


async def test_a_server_does_not_start_with_a_wrong_plan(desk):
    desk.write("nonsense")
    server = DhcpServer(desk.config, store=MemoryStore(), plugins=[desk.plan])
    with pytest.raises(ConfigError, match=r"plan\.csv:1: expected a hardware address"):
        await server.start()
