"""The address choice: which address a client without one is offered, and that each choice loses and doubles none."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from client import Client, Clock, dotted, make_engine, make_subnet, number
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp import Engine, Lease, Pool, Subnet
from aiodhcp.freemap import ADDRESS_CHOICES, WORD, AddressChoice, FreeMap, hashed, lowest
from aiodhcp.leases import LeaseState

NewClient = Callable[..., Client]
CHOICES = get_args(AddressChoice)


def everything(address: int) -> bool:
    return True


def choosing(choice: str, *pools: str, **more: object) -> Engine:
    return make_engine(make_subnet(*pools), address_choice=choice, **more)


def joined(new_client: NewClient, engine: Engine, count: int = 1) -> list[str]:
    """The addresses of so many new clients."""
    return [dotted(new_client(engine).join().yiaddr) for _ in range(count)]


# ── each choice ──


def test_the_choices_are_those_of_the_type() -> None:
    assert ADDRESS_CHOICES == CHOICES


def test_least_recently_used_is_the_default(new_client: NewClient, clock: Clock) -> None:
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.12"))
    first, second = new_client(engine), new_client(engine)
    first.join()
    second.join()
    second.release()
    clock.advance(1)
    first.release()
    assert joined(new_client, engine, 3) == ["192.0.2.12", "192.0.2.11", "192.0.2.10"]


def test_least_recently_used_goes_by_the_stored_leases_after_a_restart(new_client: NewClient, clock: Clock) -> None:
    engine = choosing("least-recently-used", "192.0.2.10-192.0.2.12")
    clients = [new_client(engine) for _ in range(3)]
    for client in clients:
        client.join()
    for client in (clients[2], clients[0], clients[1]):
        clock.advance(1)
        client.release()
    engine = choosing("least-recently-used", "192.0.2.10-192.0.2.12", leases=engine.leases)
    assert joined(new_client, engine, 3) == ["192.0.2.12", "192.0.2.10", "192.0.2.11"]


def test_sequential_is_the_lowest_free_one(new_client: NewClient, clock: Clock) -> None:
    engine = choosing("sequential", "192.0.2.20-192.0.2.22", "192.0.2.10-192.0.2.11")
    clients = [new_client(engine) for _ in range(3)]
    assert [dotted(each.join().yiaddr) for each in clients] == ["192.0.2.20", "192.0.2.21", "192.0.2.22"]
    assert joined(new_client, engine, 1) == ["192.0.2.10"]  # of the next pool
    clients[1].release()
    clock.advance(1)
    clients[0].release()
    assert joined(new_client, engine, 3) == ["192.0.2.20", "192.0.2.21", "192.0.2.11"]


def test_sequential_goes_on_after_a_restart(new_client: NewClient) -> None:
    engine = choosing("sequential")
    clients = [new_client(engine) for _ in range(4)]
    for client in clients:
        client.join()
    clients[1].release()
    engine = choosing("sequential", leases=engine.leases)
    assert joined(new_client, engine, 2) == ["192.0.2.11", "192.0.2.14"]


def test_random_follows_from_the_seed_and_is_spread(new_client: NewClient) -> None:
    def of(seed: bytes) -> list[str]:
        engine = choosing("random", "192.0.2.1-192.0.2.254")
        engine.addresses.seed = seed
        return joined(new_client, engine, 32)

    chosen = of(b"one")
    assert chosen == of(b"one")
    assert chosen != of(b"two")
    assert len(set(chosen)) == 32
    hosts = [number(each) & 255 for each in chosen]
    assert hosts != sorted(hosts)
    assert all(any(low <= host < low + 64 for host in hosts) for low in (0, 64, 128, 192))


def test_hash_is_the_same_on_every_server_in_whatever_order_clients_come(new_client: NewClient) -> None:
    clients = [new_client(choosing("hash", "192.0.2.1-192.0.2.254")) for _ in range(4)]
    here = [each.join().yiaddr for each in clients]
    assert len(set(here)) == 4
    other = choosing("hash", "192.0.2.1-192.0.2.254")
    for client in clients:
        client.engine = other
    assert [each.join().yiaddr for each in reversed(clients)] == here[::-1]


def test_hash_takes_the_next_one_where_another_client_has_it(new_client: NewClient, clock: Clock) -> None:
    engine = choosing("hash")
    client = new_client(engine)
    wished = client.discover().yiaddr
    clock.advance(61)
    new_client(engine).join(requested_address=wished)
    assert client.join().yiaddr == (wished + 1 if wished < number("192.0.2.99") else number("192.0.2.10"))


def test_pool_then_subnet_then_top(new_client: NewClient) -> None:
    def found(subnet: Subnet) -> list[str]:
        engine, words = make_engine(subnet, address_choice="random"), []
        for _ in range(2):
            client = new_client(engine)
            client.discover()
            words.append(client.exchange.address_from)
        return words

    pools = [Pool("192.0.2.20", address_choice="sequential"), Pool("192.0.2.10-192.0.2.11")]
    assert found(make_subnet(*pools)) == ["the lowest free one", "chosen at random"]
    assert found(make_subnet(*pools, address_choice="hash")) == [
        "the lowest free one",
        "chosen by a hash of the client",
    ]


def test_there_is_no_other_choice() -> None:
    for make in (
        lambda: make_engine(address_choice="best"),
        lambda: make_subnet(address_choice="best"),
        lambda: Pool("192.0.2.10", address_choice="best"),
    ):
        with pytest.raises(ValueError, match=r"address_choice: expected 'least-recently-used', .*got 'best'"):
            make()


# ── what holds whatever the choice ──


@pytest.mark.parametrize("choice", CHOICES)
def test_a_client_gets_its_old_address_back(choice: str, new_client: NewClient, clock: Clock) -> None:
    engine = choosing(choice)
    client = new_client(engine)
    new_client(engine).join()
    old = client.join(requested_address="192.0.2.77").yiaddr
    assert dotted(old) == "192.0.2.77"
    clock.advance(13 * 3600)
    engine.tick(clock())
    assert engine.leases.get(old).state == LeaseState.EXPIRED
    client.engine = choosing(choice, leases=engine.leases)
    assert client.join().yiaddr == old


@pytest.mark.parametrize("choice", CHOICES)
def test_every_address_is_given_once_and_again_when_it_is_free(
    choice: str, new_client: NewClient, clock: Clock
) -> None:
    engine = choosing(choice, "192.0.2.10-192.0.2.19", "192.0.2.30-192.0.2.34")
    clients = [new_client(engine) for _ in range(15)]
    assert len({client.join().yiaddr for client in clients}) == 15
    late = new_client(engine)
    assert late.discover() is None
    clients[7].release()
    assert late.join().yiaddr
    clock.advance(13 * 3600)
    engine.tick(clock())
    assert len(set(joined(new_client, engine, 15))) == 15


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_not_free_is_passed_over(choice: str, new_client: NewClient, clock: Clock) -> None:
    subnet = make_subnet("192.0.2.1-192.0.2.4")
    client = new_client()
    declined = Lease(number("192.0.2.2"), b"", 1, b"", LeaseState.DECLINED, 0, int(clock()) + 100)
    elsewhere = Lease(number("203.0.113.1"), client.key, 1, client.chaddr, LeaseState.ACTIVE, 0, int(clock()) + 100)
    no_pool = elsewhere._replace(address=number("192.0.2.50"))
    engine = make_engine(subnet, address_choice=choice, leases=[declined, elsewhere, no_pool])
    engine.addresses.own = {number("192.0.2.1")}
    assert sorted(joined(new_client, engine, 2)) == ["192.0.2.3", "192.0.2.4"]
    assert new_client(engine).discover() is None
    clock.advance(100)
    engine.tick(clock())
    assert joined(new_client, engine) == ["192.0.2.2"]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_relay_agents_address_is_passed_over_but_not_lost(choice: str, new_client: NewClient) -> None:
    engine = choosing(choice, "192.0.2.10-192.0.2.11")
    assert dotted(new_client(engine, giaddr="192.0.2.10").join().yiaddr) == "192.0.2.11"
    assert new_client(engine, giaddr="192.0.2.10").discover() is None
    assert dotted(new_client(engine).join().yiaddr) == "192.0.2.10"


# ── the map ──


def test_an_empty_map() -> None:
    assert FreeMap([], lowest, "").take(everything, everything) is None


def test_what_the_caller_refuses_is_not_named_again() -> None:
    free = FreeMap([(1, 4)], lambda client: 2, "")
    assert free.take(everything, lambda address: address == 1) == 1  # after 3 and 4
    assert free.take(everything, lambda address: False) is None
    assert free.take(everything, everything) is None
    free.give_back(4)
    assert free.take(everything, everything) == 4


@pytest.mark.parametrize("size", [1, 5, WORD - 1, WORD, WORD + 1, 3 * WORD])
def test_a_map_has_each_address_once(size: int) -> None:
    free = FreeMap([(7, 6 + size)], hashed, "")
    taken = [free.take(everything, everything, bytes((at & 255, at >> 8))) for at in range(size)]
    assert sorted(taken) == list(range(7, 7 + size))
    assert free.take(everything, everything) is None
    free.give_back(6 + size)
    free.give_back(6 + size)
    assert free.take(everything, everything) == 6 + size
    assert free.take(everything, everything) is None


def test_a_big_map_is_small() -> None:
    free = FreeMap([(0x0A000000, 0x0AFFFFFF)], lowest, "")
    for address in range(0x0A000000, 0x0A000000 + 5 * WORD):
        free.take_out(address)
    assert free.take(everything, everything) == 0x0A000000 + 5 * WORD
    assert len(free._words) == (1 << 24) // WORD + 1


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=3, unique_by=lambda part: part[0]),
    st.lists(st.tuples(st.sampled_from("tgo"), st.integers(0, 34)), max_size=60),
)
def test_a_map_names_the_next_free_one(parts: list[tuple[int, int]], steps: list[tuple[str, int]]) -> None:
    """Take from somewhere on, give back, take out: as a sorted list would have it."""
    ranges = sorted((5 * start, 5 * start + length) for start, length in parts)
    pool = [address for first, last in ranges for address in range(first, last + 1)]
    free = FreeMap(ranges, lambda client: client[0], "")
    left = set(pool)
    for step, at in steps:
        if step == "t":
            start = at % len(pool) if pool else 0
            expected = next((each for each in pool[start:] + pool[:start] if each in left and each % 3), None)
            # What is refused is not named again.
            if expected is None:
                left.clear()
            else:
                at_found = pool.index(expected)
                for each in pool[start:at_found] if at_found >= start else pool[start:] + pool[:at_found]:
                    left.discard(each)
                left.discard(expected)
            assert free.take(everything, lambda address: address % 3 > 0, bytes((at,))) == expected
        elif at in pool:
            if step == "g":
                free.give_back(at)
                left.add(at)
            else:
                free.take_out(at)
                left.discard(at)
