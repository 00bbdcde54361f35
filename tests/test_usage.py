"""Pools that run short: shorter leases above a threshold, a line in the log when none is left, and what is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from client import Client, Clock, make_engine, make_subnet, number

from aiodhcp import Class, Config, Engine, Lease, Parameters, Pool, Reservation
from aiodhcp.leases import LeaseState

NewClient = Callable[..., Client]
THREE = "192.0.2.10-192.0.2.12"


def pressed(threshold: float = 0.5, **parameters: int) -> Engine:
    """A pool of four, and leases of 1000 seconds; above the threshold of 100."""
    said = {"lease_time": 1000, "min_lease_time": 100, **parameters}
    return make_engine(
        make_subnet("192.0.2.10-192.0.2.13", reservations=[Reservation("02:00:00:00:00:99", address="192.0.2.99")]),
        parameters=Parameters(**said, adaptive_lease_time_threshold=threshold),
    )


def seconds(client: Client, **options: int) -> int:
    return client.join(**options).options["lease-time"]


# ── shorter leases ──


def test_above_the_threshold_new_leases_are_short(new_client: NewClient) -> None:
    engine = pressed()
    assert [seconds(new_client(engine)) for _ in range(4)] == [1000, 1000, 1000, 100]


def test_below_it_they_are_as_they_were(new_client: NewClient, clock: Clock) -> None:
    engine = pressed()
    clients = [new_client(engine) for _ in range(3)]
    for client in clients:
        client.join()
    clients[0].release()
    assert seconds(new_client(engine)) == 1000
    assert seconds(new_client(engine)) == 100


def test_a_renewed_lease_keeps_what_remains(new_client: NewClient, clock: Clock) -> None:
    engine = pressed()
    clients = [new_client(engine) for _ in range(3)]
    for client in clients:
        client.join()
    clock.advance(400)
    assert clients[0].renew().options["lease-time"] == 600
    assert clients[0].exchange.lease_time_from == "shortened from 1000: 75% of the pool are in use"
    clock.advance(590)
    assert clients[0].renew().options["lease-time"] == 100


def test_a_lease_without_end_stays_so(new_client: NewClient) -> None:
    engine = pressed(max_lease_time=0xFFFFFFFF)
    clients = [new_client(engine) for _ in range(3)]
    for client in clients:
        assert seconds(client, lease_time=0xFFFFFFFF) == 0xFFFFFFFF
    assert clients[0].renew(lease_time=0xFFFFFFFF).options["lease-time"] == 0xFFFFFFFF
    assert seconds(new_client(engine), lease_time=0xFFFFFFFF) == 100


def test_who_asks_for_less_gets_less(new_client: NewClient) -> None:
    engine = pressed(min_lease_time=50)
    for _ in range(3):
        new_client(engine).join()
    client = new_client(engine)
    assert seconds(client, lease_time=50) == 50
    assert client.exchange.lease_time_from == ""


def test_an_address_outside_of_the_pools_has_no_share(new_client: NewClient) -> None:
    engine = pressed()
    for _ in range(4):
        new_client(engine).join()
    assert seconds(new_client(engine, mac="02:00:00:00:00:99")) == 1000


def test_declined_addresses_are_in_use_until_their_probation_ends(new_client: NewClient, clock: Clock) -> None:
    engine = pressed()
    clients = [new_client(engine) for _ in range(3)]
    for client in clients:
        client.join()
        client.decline()
    assert seconds(clients[0]) == 100
    engine.leases.remove(number("192.0.2.10"))
    clients[0].release()
    assert seconds(clients[0]) == 1000


def test_leases_known_from_before_count(new_client: NewClient, clock: Clock) -> None:
    later = int(clock()) + 500
    hosts = ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.99", "203.0.113.1"]
    known = [Lease(number(host), host.encode(), 1, b"x", LeaseState.ACTIVE, 0, later) for host in hosts]
    parameters = Parameters(lease_time=1000, min_lease_time=100, adaptive_lease_time_threshold=0.5)
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.13"), parameters=parameters, leases=known)
    assert seconds(new_client(engine)) == 100
    successor = Engine(engine.config, predecessor=engine)
    assert seconds(new_client(successor, mac="02:00:00:00:00:01")) == 100


@pytest.mark.parametrize("share", [0, 1, -0.5, 90, "0.9"])
def test_a_threshold_is_a_share(share: object) -> None:
    with pytest.raises(ValueError, match="adaptive_lease_time_threshold: expected a share of more than 0 and less"):
        Parameters(adaptive_lease_time_threshold=share)


# ── none left ──


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [each.getMessage() for each in caplog.records if each.name == "aiodhcp.addresses"]
    caplog.clear()
    return found


def test_a_full_subnet_is_in_the_log_once_a_minute(
    new_client: NewClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(make_subnet(THREE))
    clients = [new_client(engine) for _ in range(3)]
    for client in clients:
        client.join()
    assert lines(caplog) == []
    late = new_client(engine)
    for _ in range(59):
        assert late.discover() is None
        engine.tick(clock())
        clock.advance(1)
    full = "no free address in 192.0.2.0/24: 3 addresses, 3 leases, 0 offered, 0 declined, 0 reserved"
    assert lines(caplog) == [full]
    clock.advance(1)
    assert late.discover() is None
    assert lines(caplog) == [full]
    clients[0].release()
    engine.tick(clock())
    engine.tick(clock())
    again = "free addresses in 192.0.2.0/24 again: 3 addresses, 2 leases, 0 offered, 0 declined, 0 reserved"
    assert lines(caplog) == [again]
    late.join()
    assert clients[0].discover() is None  # within the minute
    assert lines(caplog) == []


def test_what_the_addresses_are(new_client: NewClient, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    reserved = [Reservation("02:00:00:00:00:99", address=address) for address in ("192.0.2.11",)]
    engine = make_engine(
        make_subnet("192.0.2.10-192.0.2.15", reservations=reserved),
        parameters=Parameters(options={"routers": "192.0.2.15"}),
    )
    new_client(engine).join(requested_address="192.0.2.10")
    client = new_client(engine)
    client.join(requested_address="192.0.2.12")
    client.decline()
    client = new_client(engine)
    client.join(requested_address="192.0.2.13")
    client.discover()  # offered what it has: that counts as a lease
    new_client(engine).discover(requested_address="192.0.2.14")
    assert new_client(engine).discover() is None
    assert lines(caplog) == [
        "no free address in 192.0.2.0/24: 6 addresses, 2 leases, 1 offered, 1 declined, 2 reserved"
    ]
    new_client(engine, mac="02:00:00:00:00:99").join()
    assert str(engine.addresses.usage(engine.config.subnets[0])) == (
        "6 addresses, 3 leases, 1 offered, 1 declined, 1 reserved"
    )
    engine.tick(clock())
    assert lines(caplog) == []
    clock.advance(61)  # the offer lapses
    engine.tick(clock())
    assert lines(caplog)[0].startswith("free addresses in 192.0.2.0/24 again: 6 addresses, 3 leases, 0 offered")


def test_only_the_pools_count_that_are_for_the_client(
    new_client: NewClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    pools = [Pool("192.0.2.10"), Pool("192.0.2.20-192.0.2.29", classes=["phones"])]
    phones = Class("phones", test="option[60].text == 'phone'")
    engine = make_engine(make_subnet(*pools), classes=[phones])
    new_client(engine).join()
    assert new_client(engine).discover() is None
    engine.tick(clock())
    assert lines(caplog) == [
        "no free address in 192.0.2.0/24: 1 addresses, 1 leases, 0 offered, 0 declined, 0 reserved"
    ]
    assert new_client(engine, vendor_class_identifier="phone").join()


def test_a_shared_network_has_one_line(new_client: NewClient, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    phones = Class("phones", test="option[60].text == 'phone'")
    engine = make_engine(
        make_subnet("192.0.2.10", shared_network="campus"),
        make_subnet("198.51.100.10", network="198.51.100.0/24", shared_network="campus"),
        make_subnet("203.0.113.10", network="203.0.113.0/24", shared_network="campus", classes=["phones"]),
        classes=[phones],
    )
    first, second = new_client(engine), new_client(engine)
    first.join()
    second.join()
    clock.advance(30)
    assert new_client(engine).discover() is None
    assert new_client(engine, giaddr="198.51.100.1").discover() is None
    engine.tick(clock())
    network = "shared network campus (192.0.2.0/24, 198.51.100.0/24)"
    full = f"no free address in {network}: 2 addresses, 2 leases, 0 offered, 0 declined, 0 reserved"
    assert lines(caplog) == [full]
    second.release()
    engine.tick(clock())
    again = f"free addresses in {network} again: 2 addresses, 1 leases, 0 offered, 0 declined, 0 reserved"
    assert lines(caplog) == [again]


def test_what_the_configuration_before_decides_counts_too(
    new_client: NewClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A packet that waits while the configuration is loaded again is decided by the one that it came to."""
    parameters = Parameters(lease_time=1000, min_lease_time=100, adaptive_lease_time_threshold=0.5)

    def loaded(*pools: str, before: Engine | None = None) -> Engine:
        return Engine(Config([make_subnet(*pools)], parameters), predecessor=before)

    old = loaded("192.0.2.10-192.0.2.13")
    for _ in range(2):
        new_client(old).join()
    new = loaded("192.0.2.10-192.0.2.14", before=old)
    assert seconds(new_client(new)) == 1000
    assert seconds(new_client(old)) == 100  # 3 of 5
    # It has no address left, which the new one has.
    assert new_client(old).discover() is None
    old.tick(clock())
    new.tick(clock())
    assert lines(caplog) == []
    # Pools that are no more have no share.
    newest = loaded("192.0.2.50", before=new)
    assert seconds(new_client(new)) == 1000
    assert newest.addresses is old.addresses


def test_a_subnet_without_pools_is_not_full(new_client: NewClient, caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool("192.0.2.10", classes=["phones"])
    engine = make_engine(make_subnet(pool), classes=[Class("phones")])
    assert new_client(engine).discover() is None
    engine.tick(0)
    assert lines(caplog) == []
