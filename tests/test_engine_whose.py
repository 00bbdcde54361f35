"""Addresses that are somebody's already, and machines that show several faces."""

from __future__ import annotations

import asyncio
import logging

import pytest
from client import dotted, make_engine, make_subnet, number

from aiodhcp import Config, DropReason, Interface, LeaseState, MessageType, Parameters, Reservation, hookimpl


def test_nobody_gets_the_address_of_a_router(new_client):
    options = Parameters(options={"routers": ["192.0.2.1", "192.0.2.2"]})
    engine = make_engine(make_subnet("192.0.2.1-192.0.2.3", parameters=options))
    assert dotted(new_client(engine).discover().yiaddr) == "192.0.2.3"
    assert new_client(engine).discover(requested_address="192.0.2.2") is None


def test_nobody_gets_the_address_of_a_relay_agent(new_client):
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.13", relays=["192.0.2.10"]))
    behind = new_client(engine, giaddr="192.0.2.11")
    assert dotted(behind.discover().yiaddr) == "192.0.2.12"
    # Anybody may say that he is a relay agent: that alone keeps no address for good.
    assert dotted(new_client(engine).discover().yiaddr) == "192.0.2.13"


def test_nobody_gets_an_address_of_an_interface_that_was_silent_so_far(new_client):
    silent = Interface("eth1", (number("192.0.2.10"),))
    engine = make_engine()
    engine.serve([silent])
    assert dotted(new_client(engine).discover().yiaddr) == "192.0.2.11"
    engine.serve([])
    assert dotted(new_client(engine).discover().yiaddr) == "192.0.2.12"
    assert dotted(new_client(engine).discover(requested_address="192.0.2.10").yiaddr) == "192.0.2.10"


def test_a_reserved_address_stays_with_the_machine_whatever_client_id_it_shows(new_client):
    deleted = []

    class Watcher:
        @hookimpl
        def dhcp_delete_client(self, address, hardware_address):
            deleted.append((str(address), hardware_address))

    mac = "02:00:00:00:00:01"
    mine = Reservation(hardware_address=mac, address="192.0.2.50")
    engine = make_engine(make_subnet(reservations=[mine]), plugins=[Watcher()])
    firmware, system = new_client(engine, mac=mac), new_client(engine, mac=mac, client_id=b"\0system")
    assert dotted(firmware.join().yiaddr) == "192.0.2.50"
    assert dotted(system.join().yiaddr) == "192.0.2.50"
    assert deleted == [("192.0.2.50", bytes.fromhex(mac.replace(":", "")))]
    assert len(engine.leases) == 1


def test_on_a_link_with_two_subnets_the_second_helps_out(new_client):
    first, second = make_subnet("192.0.2.10"), make_subnet("198.51.100.10", network="198.51.100.0/24")
    engine = make_engine(first, second)
    link = Interface("eth0", (number("192.0.2.1"), number("198.51.100.1")))
    clients = [new_client(engine, interface=link) for _ in range(3)]
    assert [dotted(client.join().yiaddr) for client in clients[:2]] == ["192.0.2.10", "198.51.100.10"]
    assert clients[2].discover() is None
    assert clients[2].exchange.reason == DropReason.NOADDRESS
    assert dotted(clients[1].renew().yiaddr) == "198.51.100.10"
    assert dotted(clients[1].join().yiaddr) == "198.51.100.10"


def test_on_a_link_with_two_subnets_a_reservation_decides(new_client):
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="198.51.100.9")
    there = make_subnet("198.51.100.20", network="198.51.100.0/24", reservations=[mine], interfaces=["eth0"])
    engine = make_engine(make_subnet(), there)
    client = new_client(engine)
    assert dotted(client.join().yiaddr) == "198.51.100.9"


def test_many_declines_of_one_client_cost_no_more_than_few(new_client):
    engine = make_engine(make_subnet("10.0.0.1-10.0.15.255", network="10.0.0.0/16", interfaces=["eth0"]))
    client = new_client(engine)
    for _ in range(2000):
        client.discover()
        client.send(client.message(MessageType.DECLINE, requested_address=client.exchange.yiaddr))
    assert sum(1 for lease in engine.leases if lease.state is LeaseState.DECLINED) == 2000
    assert engine.leases.find(client.exchange.client, 0, 0xFFFFFFFF) is None
    assert not engine.leases._elsewhere


def test_a_restart_with_many_leases_finds_a_free_address_at_once(new_client):
    pool = make_subnet("10.0.0.1-10.3.255.255", network="10.0.0.0/8", interfaces=["eth0"])
    engine = make_engine(pool)
    client = new_client(engine)
    client.join()
    lease = client.exchange.lease_after
    known = [lease._replace(address=lease.address + n, client=n.to_bytes(4, "big")) for n in range(100_000)]
    engine = make_engine(pool, leases=known)
    looked_up = 0
    get = engine.leases.get

    def counting(address):
        nonlocal looked_up
        looked_up += 1
        return get(address)

    engine.leases.get = counting
    assert new_client(engine).discover().yiaddr == lease.address + 100_000
    assert looked_up < 10


def test_a_class_that_is_not_configured_is_named_once(new_client, caplog):
    class Sorter:
        @hookimpl
        def dhcp_handle_options(self, exchange):
            exchange.classes.add("phonez")

    client = new_client(make_engine(plugins=[Sorter()]))
    with caplog.at_level(logging.WARNING):
        client.join()
        client.join()
    assert [record.message for record in caplog.records] == [
        "a plugin put a client into class 'phonez', which isn't configured"
    ]


def test_a_cancelled_error_of_a_plain_hook_is_its_own(new_client):
    class Careless:
        @hookimpl
        def dhcp_new_pkt(self):
            raise asyncio.CancelledError

    engine = make_engine(plugins=[Careless()])
    assert new_client(engine).join() is not None
    assert engine.hooks.failures[("Careless", "dhcp_new_pkt")] == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_not_a_plugin_s_failure(new_client, stop):
    class Ender:
        @hookimpl
        def dhcp_new_pkt(self):
            raise stop

    with pytest.raises(stop):
        new_client(make_engine(plugins=[Ender()])).discover()


def test_what_can_not_be_configured():
    with pytest.raises(ValueError, match="min_lease_time: expected at most max-lease-time, 60, got 90"):
        Parameters(min_lease_time=90, max_lease_time=60)
    subnets = [
        make_subnet(relays=["203.0.113.1"]),
        make_subnet("198.51.100.9", network="198.51.100.0/24", relays=["203.0.113.1"]),
    ]
    with pytest.raises(ValueError, match=r"relay 203.0.113.1 stands for 192.0.2.0/24 and 198.51.100.0/24"):
        Config(subnets)
