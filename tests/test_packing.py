"""A lease as octets: what comes out is what went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp import Lease, LeaseState
from aiodhcp.leases import NEVER
from aiodhcp.packing import glance, pack, split, state_of, unpack

octets = st.binary(max_size=255)
# What was decoded from the wire, whatever was there.
names = octets.map(lambda value: value.decode(errors="replace")) | st.text(max_size=255)
leases = st.builds(
    Lease,
    st.integers(0, 2**32 - 1),
    octets,
    st.integers(0, 255),
    st.binary(max_size=16),
    st.sampled_from(LeaseState),
    st.integers(-(2**40), 2**40),
    st.integers(-(2**40), 2**40) | st.just(NEVER),
    st.none() | names,
    st.none() | names,
    st.none() | octets,
    st.integers(0, 2**40),
    st.none() | octets,
)


@given(leases)
def test_both_ways(lease: Lease) -> None:
    data = pack(lease)
    assert unpack(data) == lease
    assert type(unpack(data).state) is LeaseState
    assert state_of(data) == lease.state
    assert glance(data) == (lease.address, lease.client, lease.state, lease.expires, lease.counted is not None)


@given(st.lists(leases))
def test_one_after_the_other(several: list[Lease]) -> None:
    found = list(split(b"".join(map(pack, several))))
    assert [unpack(data) for _, data in found] == several
    assert [address for address, _ in found] == [lease.address for lease in several]


def test_a_usual_one_is_short() -> None:
    chaddr = bytes.fromhex("020000000001")
    by_id = Lease(1, b"\1" + chaddr, 1, chaddr, LeaseState.ACTIVE, 1_800_000_000, 1_800_003_600)
    # A million of them are in memory.
    assert len(pack(by_id)) == 40


@pytest.mark.parametrize(
    "change",
    [{"address": -1}, {"address": 2**32}, {"client": b"x" * 256}, {"client": None}, {"htype": 256}, {"hostname": 7}],
)
def test_out_of_range(change: dict[str, object]) -> None:
    lease = Lease(1, b"\1\2", 1, b"\2", LeaseState.ACTIVE, 0, 0)._replace(**change)
    with pytest.raises(ValueError, match="a field is out of range"):
        pack(lease)


@given(st.binary(max_size=80))
def test_any_octets_are_leases_or_are_said_not_to_be(data: bytes) -> None:
    said = ""
    try:
        assert all(glance(each)[0] == address for address, each in split(data))
    except ValueError as error:
        said = str(error)
    assert not said or said.startswith(("no lease at offset", "the last lease is cut short"))
