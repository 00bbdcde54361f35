"""The lease table and the free addresses: each against a model that is too simple to be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiodhcp.errors import StoreError
from aiodhcp.leases import NEVER, FreeAddresses, Lease, LeaseState
from aiodhcp.leasetable import LeaseTable
from aiodhcp.packing import PackedLeases, pack

ACTIVE, RELEASED, EXPIRED, DECLINED = LeaseState
HOME, WORK = (0, 9), (10, 19)


def lease(address: int = 1, client: bytes = b"a", expires: int = 100, state: LeaseState = ACTIVE) -> Lease:
    return Lease(address, client, 1, b"\2\0\0\0\0\1", state, 0, expires)


def entries(table: LeaseTable) -> int:
    """How many entries ``due`` has to look at, sooner or later."""
    assert table._entries == sum(map(len, table._due.values()))
    assert sorted(table._seconds) == sorted(table._due)
    return table._entries


# ── one lease ──


@pytest.mark.parametrize(
    ("state", "expires", "holds", "is_free"),
    [
        (ACTIVE, 101, True, False),
        (ACTIVE, 100, False, True),
        (ACTIVE, NEVER, True, False),
        (RELEASED, 101, False, True),
        (RELEASED, NEVER, False, True),
        (EXPIRED, 101, False, True),
        (EXPIRED, 99, False, True),
        (DECLINED, 101, False, False),
        (DECLINED, 100, False, True),
    ],
)
def test_who_may_use_the_address(state: LeaseState, expires: int, holds: bool, is_free: bool) -> None:
    assert lease(state=state, expires=expires).holds(100) == holds
    assert lease(state=state, expires=expires).is_free(100) == is_free


def test_states_are_stored_by_number() -> None:
    assert {state.name: state.value for state in LeaseState} == {
        "ACTIVE": 1,
        "RELEASED": 2,
        "EXPIRED": 3,
        "DECLINED": 4,
    }


def test_addresses_for_people() -> None:
    assert lease(0xC000020A).ip == IPv4Address("192.0.2.10")
    assert lease().hardware_address == "02:00:00:00:00:01"
    assert lease()._replace(chaddr=b"").hardware_address == ""
    assert lease().hostname is None


# ── who holds what ──


def test_an_empty_table() -> None:
    table = LeaseTable()
    assert len(table) == 0
    assert list(table) == []
    assert table.get(1) is None
    assert table.find(b"a", *HOME) is None
    assert table.remove(1) is None
    assert table.due(NEVER) == []


def test_put_takes_the_place_of_what_was_known() -> None:
    mine, yours = lease(1, b"a"), lease(1, b"b")
    table = LeaseTable([mine, yours])
    assert list(table) == [yours]
    assert table.get(1) == yours
    assert table.find(b"a", *HOME) is None
    assert table.find(b"b", *HOME) == yours


def test_a_client_has_a_lease_in_each_network() -> None:
    home, work = lease(1), lease(11)
    table = LeaseTable([home, work])
    assert table.find(b"a", *HOME) == home
    assert table.find(b"a", *WORK) == work
    assert table.find(b"a", 20, 29) is None
    assert table.find(b"a", 1, 1) == home  # the ends belong to the network
    assert table.find(b"a", 11, 11) == work
    assert table.remove(11) == work
    assert table.find(b"a", *WORK) is None
    assert table.find(b"a", *HOME) == home


def test_the_last_one_counts() -> None:
    one, two, work = lease(1, state=EXPIRED), lease(2, state=RELEASED), lease(11)
    table = LeaseTable([one, two, work])
    assert table.find(b"a", *HOME) == two
    table.put(one)
    assert table.find(b"a", *HOME) == one
    table.remove(1)
    assert table.find(b"a", *HOME) == two


@pytest.mark.parametrize("order", [(1, 2, 11), (2, 1, 11), (11, 2, 1), (11, 1, 2), (1, 11, 2), (2, 11, 1)])
def test_the_active_one_counts_more(order: Sequence[int]) -> None:
    known = {1: lease(1, state=EXPIRED), 2: lease(2), 11: lease(11)}
    table = LeaseTable(known[address] for address in order)
    assert table.find(b"a", *HOME) == known[2]
    assert table.find(b"a", *WORK) == known[11]


def test_what_is_nobodys_is_found_by_nobody() -> None:
    table = LeaseTable([lease(1, b"", state=DECLINED), lease(2, b"", state=DECLINED)])
    assert table.find(b"", *HOME) is None
    assert len(table.due(100)) == 2
    table.put(lease(1, b"a"))
    assert table.find(b"a", *HOME) == lease(1, b"a")
    table.put(lease(1, b"", state=DECLINED))
    assert table.find(b"a", *HOME) is None
    assert table.remove(2) == lease(2, b"", state=DECLINED)


def test_the_end_of_a_probation_is_not_the_clients_lease() -> None:
    declined, current = lease(1, state=DECLINED, expires=50), lease(2)
    table = LeaseTable([declined, current])
    assert table.due(50) == [declined]
    table.put(declined._replace(state=EXPIRED))
    assert table.find(b"a", *HOME) == current


# ── when they end ──


def test_due_is_neither_early_nor_late() -> None:
    table = LeaseTable([lease(1, b"a", 100), lease(2, b"b", 100), lease(3, b"c", 101)])
    assert table.due(99.9) == []
    assert [each.address for each in table.due(100)] == [1, 2]
    assert table.due(100) == []
    assert [each.address for each in table.due(1000)] == [3]


@pytest.mark.parametrize("state", [ACTIVE, DECLINED])
def test_what_has_no_end_is_never_due(state: LeaseState) -> None:
    assert LeaseTable([lease(expires=NEVER, state=state)]).due(NEVER) == []


@pytest.mark.parametrize("state", [RELEASED, EXPIRED])
def test_what_has_ended_is_never_due(state: LeaseState) -> None:
    assert LeaseTable([lease(state=state)]).due(1000) == []


@pytest.mark.parametrize(
    ("history", "end"),
    [
        ([lease(expires=100), lease(expires=200)], 200),
        ([lease(expires=100), lease(expires=50)], 50),
        ([lease(expires=100), lease(expires=50), lease(expires=100)], 100),
        ([lease(expires=100), lease(state=RELEASED), lease(expires=90)], 90),
        ([lease(expires=100), lease(state=RELEASED), lease(expires=100)], 100),
        ([lease(expires=100), lease(state=EXPIRED), lease(expires=200)], 200),
        ([lease(expires=100), lease(state=DECLINED, expires=300)], 300),
        ([lease(expires=100), lease(client=b"b", expires=300)], 300),
        ([lease(expires=NEVER), lease(expires=100)], 100),
    ],
)
def test_due_once_whatever_went_before(history: list[Lease], end: int) -> None:
    table = LeaseTable(history)
    assert table.due(end - 1) == []
    assert table.due(end + 1000) == [history[-1]]
    assert table.due(end + 2000) == []


@pytest.mark.parametrize("last", [RELEASED, EXPIRED, None])
def test_not_due_when_it_ended_before(last: LeaseState | None) -> None:
    table = LeaseTable([lease(expires=100)])
    if last is None:
        table.remove(1)
    else:
        table.put(lease(expires=100, state=last))
    assert table.due(1000) == []


def test_due_again_when_it_was_renewed_after_its_end() -> None:
    table = LeaseTable([lease(expires=100)])
    assert table.due(100) == [lease(expires=100)]
    table.put(lease(expires=200))
    assert table.due(199) == []
    assert table.due(200) == [lease(expires=200)]


def test_due_when_it_had_ended_before_it_was_put() -> None:
    table = LeaseTable()
    table.due(1000)
    table.put(lease(expires=100))
    assert table.due(1000) == [lease(expires=100)]


def test_entries_stay_few_however_often_a_lease_is_retaken() -> None:
    table = LeaseTable([lease(2, state=EXPIRED), lease(3, expires=NEVER)])
    for second in range(5000):
        table.put(lease(expires=10_000 + second))
        table.put(lease(state=RELEASED))
    assert entries(table) <= 4 * len(table) + 1024 + 1
    table.put(lease(expires=7000))
    assert table.due(6999) == []
    assert table.due(7000) == [lease(expires=7000)]


def test_entries_of_forgotten_leases_go_while_time_passes() -> None:
    table = LeaseTable()
    for expires in (900, 800, 700, 600):
        for address in range(2000):
            table.put(lease(address, expires=expires))
    for address in range(2, 2000):
        table.remove(address)
    table.put(lease(1, expires=1000))
    assert entries(table) == 8000
    assert table.due(600) == [lease(0, expires=600)]
    assert entries(table) <= 4
    assert table.due(999) == []
    assert table.due(1000) == [lease(1, expires=1000)]
    assert entries(table) == 0


ADDRESSES = [*range(3), *range(10, 13), *range(20, 23)]
NETWORKS = [(0, 9), (10, 19), (20, 29), (0, 29), (5, 8)]
CLIENTS = [b"a", b"b", b"c", b""]  # the last is nobody

addresses = st.sampled_from(ADDRESSES)
leases = st.builds(
    lease,
    addresses,
    st.sampled_from(CLIENTS),
    st.one_of(st.integers(1, 40), st.just(NEVER)),
    st.sampled_from(LeaseState),
)


class Leases(RuleBasedStateMachine):
    """The table does what a dict of leases, in the order of their last ``put``, would do."""

    def __init__(self) -> None:
        super().__init__()
        self.table = LeaseTable()
        self.known: dict[int, Lease] = {}
        self.told: set[int] = set()  # due, said so, and not put since
        self.now = 0

    def put(self, lease: Lease) -> None:
        self.table.put(lease)
        self.known.pop(lease.address, None)
        self.known[lease.address] = lease
        self.told.discard(lease.address)

    @rule(lease=leases)
    def is_put(self, lease: Lease) -> None:
        self.put(lease)

    @rule(address=addresses, state=st.sampled_from(LeaseState), more=st.integers(-20, 20))
    def changes(self, address: int, state: LeaseState, more: int) -> None:
        known = self.known.get(address)
        if known is not None:
            self.put(known._replace(state=state, expires=min(known.expires + more, NEVER)))

    @rule(address=addresses)
    def is_removed(self, address: int) -> None:
        assert self.table.remove(address) == self.known.pop(address, None)
        self.told.discard(address)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), step=st.integers(0, 5))
    def is_retaken_often(self, data: st.DataObject, step: int) -> None:
        known = self.known[data.draw(st.sampled_from(sorted(self.known)))]
        released = known._replace(state=RELEASED)
        for each in range(600):
            self.table.put(released)
            self.table.put(known._replace(state=ACTIVE, expires=self.now + each * step))
        self.put(known)

    @rule(more=st.integers(0, 15), end=st.booleans())
    def time_passes(self, more: int, end: bool) -> None:
        self.now += more
        due = self.table.due(self.now)
        ended = {
            address: lease
            for address, lease in self.known.items()
            if lease.state in (ACTIVE, DECLINED) and lease.expires <= self.now
        }
        found = {lease.address: lease for lease in due}
        assert len(found) == len(due)
        assert found.items() <= ended.items()
        assert ended.keys() <= found.keys() | self.told
        self.told.update(found)
        if end:
            for lease in due:
                self.put(lease._replace(state=EXPIRED))

    @invariant()
    def knows_the_same(self) -> None:
        assert len(self.table) == len(self.known)
        assert {lease.address: lease for lease in self.table} == self.known
        assert all(self.table.get(address) == self.known.get(address) for address in ADDRESSES)

    @invariant()
    def finds_the_same(self) -> None:
        for client in CLIENTS:
            for first, last in NETWORKS:
                own = [each for each in self.known.values() if each.client == client and first <= each.address <= last]
                active = [each for each in own if each.state == ACTIVE]
                assert self.table.find(client, first, last) == ((active or own)[-1] if own and client else None)

    @invariant()
    def has_few_entries(self) -> None:
        assert entries(self.table) <= 4 * len(ADDRESSES) + 1024 + 1


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=30)


# ── free addresses ──


def everything(address: int) -> bool:
    return True


def nothing(address: int) -> bool:
    return False


def test_an_empty_pool() -> None:
    assert FreeAddresses([]).take(everything, everything) is None


def test_those_never_used_come_first_and_in_order() -> None:
    free = FreeAddresses([(1, 2), (5, 5), (7, 8)])
    free.give_back(99)
    assert [free.take(everything, everything) for _ in range(7)] == [1, 2, 5, 7, 8, 99, None]


def test_those_given_back_come_the_longest_unused_first() -> None:
    free = FreeAddresses([])
    for address in (3, 1, 2, 3):
        free.give_back(address)
    assert [free.take(everything, everything) for _ in range(4)] == [1, 2, 3, None]


def test_what_the_caller_refuses_is_not_named_again() -> None:
    free = FreeAddresses([(1, 4)])
    assert free.take(lambda address: address == 3, everything) == 3
    assert free.take(nothing, everything) is None
    assert free.take(everything, everything) is None
    free.give_back(1)
    free.give_back(2)
    assert free.take(everything, lambda address: address == 2) == 2
    assert free.take(everything, everything) is None
    free.give_back(1)
    assert free.take(nothing, everything) == 1


@pytest.mark.parametrize(
    ("used", "rest"),
    [
        ([], [1, 2, 5, 7, 8]),
        ([1], [2, 5, 7, 8]),
        ([2], [1, 2, 5, 7, 8]),  # the caller still refuses it
        ([1, 2, 5], [7, 8]),
        ([1, 2, 5, 7, 8], []),
    ],
)
def test_a_new_start_goes_on_where_the_first_unused_one_is(used: list[int], rest: list[int]) -> None:
    free = FreeAddresses([(1, 2), (5, 5), (7, 8)])
    free.skip(used)
    assert [free.take(everything, everything) for _ in rest] == rest
    assert free.take(everything, everything) is None
    free.give_back(1)
    assert free.take(everything, everything) == 1


def test_a_big_pool_is_not_laid_out() -> None:
    free = FreeAddresses([(0x0A000000, 0x0AFFFFFF), (0x0B000000, 0x0BFFFFFF)])
    assert free.take(everything, everything) == 0x0A000000
    assert free.take(everything, everything) == 0x0A000001


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=3, unique_by=lambda part: part[0] // 5),
    st.lists(st.one_of(st.none(), st.integers(0, 34)), max_size=60),
)
def test_what_is_given_back_can_be_taken(parts: list[tuple[int, int]], steps: list[int | None]) -> None:
    """``None`` takes an address, a number gives that one back if it was taken: none is lost, none taken twice."""
    ranges = sorted((start - start % 5, start - start % 5 + length) for start, length in parts)
    pool = [address for first, last in ranges for address in range(first, last + 1)]
    free = FreeAddresses(ranges)
    unused, returned, taken = list(pool), list[int](), set[int]()

    def is_free(address: int) -> bool:
        return address not in taken

    for step in steps:
        if step is None:
            expected = unused.pop(0) if unused else returned.pop(0) if returned else None
            assert free.take(is_free, is_free) == expected
            if expected is not None:
                taken.add(expected)
        elif step in taken:
            taken.remove(step)
            returned.append(step)
            free.give_back(step)
    rest = [free.take(is_free, is_free) for _ in range(len(pool) - len(taken))]
    assert rest == unused + returned
    assert free.take(is_free, is_free) is None


def test_damaged_octets_are_not_loaded() -> None:
    with pytest.raises(StoreError, match=r"leases.sqlite: is damaged: a lease has 39 octets instead of 40"):
        LeaseTable().load(PackedLeases([pack(lease())[:-1]], "leases.sqlite"))
