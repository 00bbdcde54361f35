"""Subnets, pools, reservations and parameters: what they make of a configuration, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp.constants import INFINITE
from aiodhcp.fqdn import Fqdn
from aiodhcp.parameters import ENGINE_OPTIONS, Parameters
from aiodhcp.subnets import Class, Config, Pool, Reservation, Subnet, parse_range

MAC = "02:00:00:00:00:01"
OCTETS = b"\2\0\0\0\0\1"


def ip(text: str) -> int:
    return int(IPv4Address(text))


# ── parameters ──


def test_parameters_say_nothing_by_themselves() -> None:
    assert {each.name: getattr(Parameters(), each.name) for each in fields(Parameters)} == {
        "options": {},
        "lease_time": None,
        "min_lease_time": None,
        "max_lease_time": None,
        "renewal_time": None,
        "rebinding_time": None,
        "next_server": None,
        "rapid_commit": None,
        "auto_configure": None,
        "min_secs": None,
        "offer_delay": None,
        "fqdn": Fqdn(),
        "server_name": None,
        "boot_file": None,
        "always_send": (),
        "never_send": (),
        "adaptive_lease_time_threshold": None,
    }


@pytest.mark.parametrize(
    ("options", "octets"),
    [
        ({"routers": ["192.0.2.1"]}, {3: b"\xc0\0\2\1"}),
        ({3: "192.0.2.1", "domain-name": "example.org"}, {3: b"\xc0\0\2\1", 15: b"example.org"}),
        ({224: b"\xde\xad", "option-225": b""}, {224: b"\xde\xad", 225: b""}),
        ({"routers": b"any octets"}, {3: b"any octets"}),
    ],
)
def test_options_are_kept_as_octets(options: dict[Any, Any], octets: dict[int, bytes]) -> None:
    parameters = Parameters(options=options)
    assert parameters.options == octets
    with pytest.raises(TypeError):
        parameters.options[3] = b""  # type: ignore[index]


@pytest.mark.parametrize("next_server", ["192.0.2.9", IPv4Address("192.0.2.9"), 0xC0000209])
def test_next_server_becomes_a_number(next_server: Any) -> None:
    assert Parameters(next_server=next_server).next_server == 0xC0000209


@pytest.mark.parametrize(
    "said",
    [
        {"lease_time": 1, "min_lease_time": INFINITE},
        {"min_lease_time": 60, "max_lease_time": 60},
        {"server_name": "s" * 63, "boot_file": "f" * 127},
        {"server_name": "\u00fc" * 31, "boot_file": ""},
    ],
)
def test_parameters_at_their_limits(said: dict[str, Any]) -> None:
    parameters = Parameters(**said)
    assert {name: getattr(parameters, name) for name in said} == said


TIMES = ["lease_time", "min_lease_time", "max_lease_time", "renewal_time", "rebinding_time"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        *(({name: 0}, f"^{name}: expected 1 to 4294967295 seconds, got 0$") for name in TIMES),
        *(({name: 2**32}, f"^{name}: expected 1 to 4294967295 seconds, got 4294967296$") for name in TIMES),
        ({"lease_time": -1}, "^lease_time: .* got -1$"),
        ({"lease_time": 1800.5}, r"^lease_time: .* got 1800\.5$"),
        ({"lease_time": "12h"}, "^lease_time: .* got '12h'$"),
        (
            {"min_lease_time": 61, "max_lease_time": 60},
            "^min_lease_time: expected at most max-lease-time, 60, got 61$",
        ),
        ({"next_server": "192.0.2"}, r"^next_server: Expected 4 octets in '192\.0\.2'$"),
        ({"next_server": "tftp.example"}, "^next_server: "),
        ({"server_name": "s" * 64}, "^server_name: expected at most 63 octets, got 64$"),
        ({"server_name": "\u00fc" * 32}, "^server_name: expected at most 63 octets, got 64$"),
        ({"boot_file": "f" * 128}, "^boot_file: expected at most 127 octets, got 128$"),
        ({"options": {"rooters": "192.0.2.1"}}, r"^options\.rooters: no option is called 'rooters'; did you mean"),
        ({"options": {"routers": "here"}}, r"^options\.routers: option 3 \(routers\): "),
        ({"options": {0: b""}}, r"^options\.0: expected an option's name or a code"),
        ({"options": {"lease-time": 60}}, r"^options\.lease-time: can't be set as an option: set lease-time$"),
        ({"options": {53: b"\1"}}, r"^options\.53: can't be set as an option: made by the server$"),
    ],
)
def test_parameters_refuse(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Parameters(**said)


@pytest.mark.parametrize("code", [*range(50, 56), 57, 58, 59, 61, 80, 82, 116])
def test_the_protocols_own_options_are_not_for_configuring(code: int) -> None:
    with pytest.raises(ValueError, match=f"^options.{code}: can't be set as an option: {ENGINE_OPTIONS[code]}$"):
        Parameters(options={code: b"octets"})


def test_all_other_options_are() -> None:
    for code in set(range(1, 255)) - ENGINE_OPTIONS.keys():
        assert Parameters(options={code: b"octets"}).options == {code: b"octets"}


def test_the_more_specific_level_wins() -> None:
    said: dict[str, Any] = {"options": {"routers": "192.0.2.1", "domain-name": "example.org"}}
    general = Parameters(**said, lease_time=3600, max_lease_time=7200, next_server=0xC0000209)
    said["options"] = {"domain-name": "lab.example.org", 224: b""}
    specific = Parameters(**said, lease_time=60, boot_file="lab")
    both = general.under(specific)
    assert both == Parameters(
        options={3: b"\xc0\0\2\1", 15: b"lab.example.org", 224: b""},
        lease_time=60,
        max_lease_time=7200,
        next_server=0xC0000209,
        boot_file="lab",
    )
    # The order of options is that of a reply to a client that doesn't ask for any.
    assert list(both.options) == [3, 15, 224]
    assert general.lease_time == 3600
    assert 224 not in general.options


@pytest.mark.parametrize(
    ("general", "specific", "both"),
    [
        ({"min_lease_time": 600}, {"max_lease_time": 60}, {"max_lease_time": 60}),
        ({"max_lease_time": 60}, {"min_lease_time": 600}, {"min_lease_time": 600}),
        ({"min_lease_time": 60}, {"max_lease_time": 60}, {"min_lease_time": 60, "max_lease_time": 60}),
        (
            {"min_lease_time": 6, "max_lease_time": 9},
            {"min_lease_time": 60, "max_lease_time": 90},
            {"min_lease_time": 60, "max_lease_time": 90},
        ),
    ],
)
def test_limits_of_two_levels_that_exclude_each_other(
    general: dict[str, Any], specific: dict[str, Any], both: dict[str, Any]
) -> None:
    assert Parameters(**general).under(Parameters(**specific)) == Parameters(**both)


@pytest.mark.parametrize("parameters", [Parameters(), Parameters(options={224: b"x"}, lease_time=60, boot_file="b")])
def test_a_level_that_says_nothing_changes_nothing(parameters: Parameters) -> None:
    assert parameters.under(Parameters()) == parameters
    assert Parameters().under(parameters) == parameters
    assert parameters.under(parameters) == parameters


# ── ranges and pools ──


def make_pool(addresses: Any, *exclude: Any) -> Pool:
    return Pool(addresses, exclude=exclude)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.0.2.10-192.0.2.99", "192.0.2.10", "192.0.2.99"),
        (" 192.0.2.10 - 192.0.2.99 ", "192.0.2.10", "192.0.2.99"),
        ("192.0.2.10-192.0.2.10", "192.0.2.10", "192.0.2.10"),
        ("192.0.2.128/25", "192.0.2.128", "192.0.2.255"),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.1"),
        (" 192.0.2.10 ", "192.0.2.10", "192.0.2.10"),
    ],
)
def test_ranges(text: str, first: str, last: str) -> None:
    assert parse_range(text) == (ip(first), ip(last))
    assert make_pool(text).range == (ip(first), ip(last))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.99-192.0.2.10", r"^expected the lower address first, got 192\.0\.2\.99-192\.0\.2\.10$"),
        ("192.0.2.10-99", "99"),
        ("192.0.2.1-192.0.2.2-192.0.2.3", r"192\.0\.2\.2-192\.0\.2\.3"),
        ("192.0.2.1/24", "has host bits set"),
        ("192.0.2.0/33", "33"),
        ("192.0.2", r"192\.0\.2"),
        ("", "empty"),
    ],
)
def test_not_a_range(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_range(text)
    with pytest.raises(ValueError, match=why):
        make_pool((1, 9), text)


@pytest.mark.parametrize("make", [lambda: Pool((9, 1)), lambda: Pool((0, 20), exclude=[(9, 1)])])
def test_a_range_has_the_lower_address_first(make: Callable[[], Pool]) -> None:
    with pytest.raises(ValueError, match=r"^expected the lower address first, got 0\.0\.0\.9-0\.0\.0\.1$"):
        make()


def test_pools_leave_out_what_is_excluded() -> None:
    pool = make_pool("192.0.2.10-192.0.2.99", "192.0.2.20", (ip("192.0.2.90"), ip("192.0.2.120")))
    assert pool.range == (ip("192.0.2.10"), ip("192.0.2.99"))
    assert pool.ranges == (
        (ip("192.0.2.10"), ip("192.0.2.19")),
        (ip("192.0.2.21"), ip("192.0.2.89")),
    )
    assert pool.size == 10 + 69
    assert ip("192.0.2.19") in pool
    assert ip("192.0.2.20") not in pool
    assert ip("192.0.2.90") not in pool
    assert ip("192.0.2.9") not in pool


def test_a_pool_may_have_nothing_to_give() -> None:
    pool = Pool((5, 9), exclude=[(0, 20)])
    assert pool.ranges == ()
    assert pool.size == 0
    assert 7 not in pool


ranges = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: (min(ends), max(ends)))


@given(ranges, st.lists(ranges, max_size=5))
def test_a_pool_is_its_range_without_the_excluded(whole: tuple[int, int], exclude: list[tuple[int, int]]) -> None:
    pool = Pool(whole, exclude=exclude)
    expected = set(range(whole[0], whole[1] + 1))
    for first, last in exclude:
        expected -= set(range(first, last + 1))
    assert [address for first, last in pool.ranges for address in range(first, last + 1)] == sorted(expected)
    assert {address for address in range(-1, 62) if address in pool} == expected
    assert pool.size == len(expected)
    assert all(first <= last for first, last in pool.ranges)


def test_pools_are_themselves_and_nothing_else() -> None:
    pool, twin = Pool((1, 9)), Pool((1, 9))
    assert pool != twin
    assert {pool: 1, twin: 2}[pool] == 1
    with pytest.raises(FrozenInstanceError):
        pool.range = (1, 8)  # type: ignore[misc]


# ── reservations ──


@pytest.mark.parametrize(
    ("said", "octets"),
    [
        ({"hardware_address": MAC}, OCTETS),
        ({"hardware_address": "02-00-00-00-00-01"}, OCTETS),
        ({"hardware_address": "020000000001"}, OCTETS),
        ({"hardware_address": "02:00:00:00:00:0A"}, b"\2\0\0\0\0\x0a"),
        ({"hardware_address": OCTETS}, OCTETS),
        ({"hardware_address": "02"}, b"\2"),
        ({"hardware_address": bytes(16)}, bytes(16)),
        ({"client_id": "01:" + MAC}, b"\1" + OCTETS),
        ({"client_id": b"\0pc"}, b"\0pc"),
        ({"client_id": bytes(255)}, bytes(255)),
    ],
)
def test_whose_reservation_it_is(said: dict[str, Any], octets: bytes) -> None:
    reservation = Reservation(**said)
    assert getattr(reservation, next(iter(said))) == octets
    assert reservation.address is None


@pytest.mark.parametrize("address", ["192.0.2.10", IPv4Address("192.0.2.10"), 0xC000020A])
def test_a_reserved_address_becomes_a_number(address: Any) -> None:
    assert Reservation(OCTETS, address=address).address == 0xC000020A


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "^expected a hardware address or a client id, or duid, circuit-id, remote-id, subscriber-id or identify$"),
        (
            {"hardware_address": MAC, "client_id": "01:" + MAC},
            "^expected a hardware address or a client id or a DUID, and not several of them$",
        ),
        ({"hardware_address": ""}, "^hardware_address: expected 1 to 16 octets like '02:00:00:00:00:01', got ''$"),
        ({"hardware_address": b""}, "^hardware_address: expected 1 to 16 octets"),
        ({"hardware_address": bytes(17)}, "^hardware_address: expected 1 to 16 octets"),
        ({"hardware_address": "02:00:00:00:00:0g"}, "^hardware_address: .* got '02:00:00:00:00:0g'$"),
        ({"hardware_address": "0200000000011"}, "^hardware_address: "),
        # which is not 20:00:01
        ({"hardware_address": "2:0:0:0:0:1"}, "^hardware_address: .* got '2:0:0:0:0:1'$"),
        ({"hardware_address": "0200.0000.0001"}, "^hardware_address: "),
        ({"hardware_address": "02:00:00:00:00:"}, "^hardware_address: "),
        ({"client_id": "01"}, "^client_id: expected 2 to 255 octets like '02:00:00:00:00:01', got '01'$"),
        ({"client_id": bytes(256)}, "^client_id: expected 2 to 255 octets"),
        ({"hardware_address": MAC, "address": "192.0.2"}, "Expected 4 octets"),
    ],
)
def test_reservations_refuse(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Reservation(**said)


# ── subnets ──

NETWORK = IPv4Network("192.0.2.0/24")


def subnet(network: Any = "192.0.2.0/24", *pools: Any, **more: Any) -> Subnet:
    return Subnet(network, pools, **more)


def test_a_subnet_takes_text() -> None:
    reservation = Reservation(OCTETS, address=ip("192.0.2.5"))
    lab = subnet(
        "192.0.2.0/24",
        "192.0.2.10-192.0.2.19",
        Pool((ip("192.0.2.20"), ip("192.0.2.29"))),
        reservations=[reservation],
        interfaces=["eth0"],
        relays=["198.51.100.1", 0xC6336402],
    )
    assert lab.network == NETWORK
    assert str(lab) == "192.0.2.0/24"
    assert (lab.first, lab.last) == (ip("192.0.2.0"), ip("192.0.2.255"))
    assert [pool.size for pool in lab.pools] == [10, 10]
    assert lab.reservations == (reservation,)
    assert lab.interfaces == ("eth0",)
    assert lab.relays == (0xC6336401, 0xC6336402)
    assert lab.first in lab
    assert lab.last in lab
    assert lab.first - 1 not in lab
    assert lab.last + 1 not in lab


def test_which_pool() -> None:
    lab = subnet("192.0.2.0/24", "192.0.2.10-192.0.2.19", make_pool("192.0.2.20-192.0.2.29", "192.0.2.25"))
    assert lab.pool(ip("192.0.2.19")) is lab.pools[0]
    assert lab.pool(ip("192.0.2.20")) is lab.pools[1]
    assert lab.pool(ip("192.0.2.25")) is None
    assert lab.pool(ip("192.0.2.30")) is None


def test_which_address_is_reserved() -> None:
    mine = Reservation(client_id=b"\0pc", address=ip("192.0.2.5"))
    assert subnet(reservations=[Reservation(OCTETS), mine]).by_address == {ip("192.0.2.5"): mine}


@pytest.mark.parametrize(
    ("network", "pools", "why"),
    [
        (
            "192.0.2.0/24",
            ["192.0.3.10-192.0.3.20"],
            r"^pools\[0\]: 192\.0\.3\.10-192\.0\.3\.20 is not within the hosts of 192\.0\.2\.0/24,"
            r" 192\.0\.2\.1-192\.0\.2\.254$",
        ),
        ("192.0.2.0/24", ["192.0.2.0/25"], r"^pools\[0\]: .* is not within the hosts"),  # the network's own address
        ("192.0.2.0/24", ["192.0.2.200-192.0.2.255"], r"^pools\[0\]: .* is not within the hosts"),  # the broadcast
        ("192.0.2.0/24", ["192.0.2.1", "192.0.1.255-192.0.2.9"], r"^pools\[1\]: .* is not within the hosts"),
        ("192.0.2.0/32", ["192.0.2.1"], r"^pools\[0\]: .* 192\.0\.2\.0-192\.0\.2\.0$"),
        ("192.0.2.0/24", ["192.0.2.1", "192.0.2.1"], r"^pools\[1\]: overlaps another pool of 192\.0\.2\.0/24$"),
        ("192.0.2.0/24", ["192.0.2.5-192.0.2.9", "192.0.2.9-192.0.2.12"], r"^pools\[1\]: overlaps"),
        ("192.0.2.0/24", ["192.0.2.5-192.0.2.9", "192.0.2.1-192.0.2.5"], r"^pools\[1\]: overlaps"),
        ("192.0.2.0/24", ["192.0.2.1", "192.0.2.5-192.0.2.9", "192.0.2.1-192.0.2.20"], r"^pools\[2\]: overlaps"),
        ("192.0.2.1/24", [], "has host bits set"),
        ("192.0.2.0/24", ["192.0.2.9-192.0.2.5"], "^expected the lower address first"),
    ],
)
def test_pools_lie_in_the_network_and_apart(network: str, pools: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        subnet(network, *pools)


@pytest.mark.parametrize(
    ("network", "pools"),
    [
        ("192.0.2.0/24", ["192.0.2.1-192.0.2.254"]),
        ("192.0.2.0/24", ["192.0.2.10-192.0.2.19", "192.0.2.1-192.0.2.9", "192.0.2.20"]),
        ("192.0.2.0/31", ["192.0.2.0/31"]),  # RFC 3021
        ("192.0.2.7/32", ["192.0.2.7"]),
        ("192.0.2.0/24", []),
    ],
)
def test_pools_may_fill_the_network(network: str, pools: list[str]) -> None:
    assert len(subnet(network, *pools).pools) == len(pools)


@pytest.mark.parametrize(
    ("reservations", "why"),
    [
        ([{"address": "192.0.3.5"}], r"^reservations\[0\]: 192\.0\.3\.5 is not in 192\.0\.2\.0/24$"),
        ([{}, {}], r"^reservations\[1\]: 02:00:00:00:00:01 has a reservation in 192\.0\.2\.0/24 already$"),
        (
            [{"hardware_address": None, "client_id": b"\1\2"}, {"hardware_address": None, "client_id": "01:02"}],
            r"^reservations\[1\]: 01:02 has a reservation in",
        ),
        (
            [{"address": "192.0.2.5"}, {"hardware_address": b"\2", "address": "192.0.2.5"}],
            r"^reservations\[1\]: 192\.0\.2\.5 is reserved already$",
        ),
    ],
)
def test_nothing_is_reserved_twice_or_elsewhere(reservations: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        subnet(reservations=[Reservation(**{"hardware_address": MAC, **each}) for each in reservations])


# ── the whole configuration ──


def test_a_configuration_has_a_lease_time() -> None:
    assert Config().parameters == Parameters(lease_time=43200)
    config = Config(parameters=Parameters(lease_time=60, boot_file="b"))
    assert config.parameters == Parameters(lease_time=60, boot_file="b")


def test_what_a_configuration_is_by_itself() -> None:
    config = Config()
    assert config.subnets == ()
    assert config.subnet_of(1) is None
    assert config.subnet_of_relay(1) is None
    assert config.subnets_on("eth0", [1]) == ()
    assert not config.authoritative
    assert config.server_id is None
    assert (config.offer_time, config.decline_time) == (60, 86400)


@pytest.mark.parametrize("server_id", ["192.0.2.1", IPv4Address("192.0.2.1"), 0xC0000201])
def test_the_server_identifier_becomes_a_number(server_id: Any) -> None:
    assert Config(server_id=server_id).server_id == 0xC0000201


def test_classes_by_name() -> None:
    phones, printers = Class("phones", Parameters(lease_time=60)), Class("printers")
    config = Config(classes=[phones, printers])
    assert config.classes == (phones, printers)  # whatever kind of sequence was given
    assert config.classes_by_name == {"phones": phones, "printers": printers}


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: Config([subnet("192.0.2.0/24"), subnet("198.51.100.0/24"), subnet("192.0.2.128/25")]),
            r"^subnet: 192\.0\.2\.0/24 and 192\.0\.2\.128/25 overlap$",
        ),
        (lambda: Config([subnet("192.0.2.0/24"), subnet("192.0.2.0/24")]), "^subnet: .* overlap$"),
        (
            lambda: Config([subnet("192.0.2.0/25", relays=[9]), subnet("192.0.2.128/25", relays=[8, 9])]),
            r"^subnet: relay 0\.0\.0\.9 stands for 192\.0\.2\.0/25 and 192\.0\.2\.128/25$",
        ),
        (lambda: Config(classes=[Class("a"), Class("b"), Class("a")]), "^class: 'a' is defined twice$"),
        (lambda: Config(server_id="here"), "Expected 4 octets in 'here'"),  # type: ignore[arg-type]
    ],
)
def test_configurations_refuse(make: Callable[[], Config], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()


def test_a_relay_agent_stands_for_a_subnet() -> None:
    lab, guests = subnet("192.0.2.0/24", relays=["203.0.113.1", "198.51.100.9"]), subnet("198.51.100.0/24")
    config = Config([lab, guests])
    assert config.subnets == (lab, guests)
    assert config.subnet_of_relay(ip("192.0.2.1")) is lab  # lies in it
    assert config.subnet_of_relay(ip("203.0.113.1")) is lab  # is named
    assert config.subnet_of_relay(ip("198.51.100.9")) is lab  # is named, wherever it lies
    assert config.subnet_of_relay(ip("198.51.100.1")) is guests
    assert config.subnet_of_relay(ip("203.0.113.2")) is None


@pytest.mark.parametrize(
    ("name", "addresses", "expected"),
    [
        ("eth0", ["192.0.2.1"], ["192.0.2.0/24"]),
        ("eth0", ["192.0.2.1", "198.51.100.1"], ["198.51.100.0/24", "192.0.2.0/24"]),  # in configured order
        ("eth0", [], []),
        ("eth0", ["10.0.0.1"], []),
        ("eth1", [], ["203.0.113.0/24"]),
        ("eth1", ["192.0.2.1"], ["192.0.2.0/24", "203.0.113.0/24"]),
        ("eth0", ["203.0.113.1"], []),  # it is said to be on eth1
    ],
)
def test_subnets_of_an_interface(name: str, addresses: list[str], expected: list[str]) -> None:
    config = Config(
        [subnet("198.51.100.0/24"), subnet("192.0.2.0/24"), subnet("203.0.113.0/24", interfaces=["eth1", "eth2"])]
    )
    assert [str(each) for each in config.subnets_on(name, map(ip, addresses))] == expected


networks = st.builds(
    lambda number, length: IPv4Network((number << (32 - length) & 0xFF, length)),
    st.integers(0, 255),
    st.integers(26, 32),
)


@given(st.lists(networks, max_size=12))
def test_an_address_lies_in_the_subnet_that_has_it(candidates: list[IPv4Network]) -> None:
    chosen: list[IPv4Network] = []
    for each in candidates:
        if not any(each.overlaps(other) for other in chosen):
            chosen.append(each)
    config = Config([subnet(str(each)) for each in chosen])
    assert [each.network for each in config.subnets] == chosen
    for address in range(300):
        found = config.subnet_of(address)
        expected = [each for each in chosen if IPv4Address(address) in each]
        assert ([] if found is None else [found.network]) == expected
        assert config.subnet_of_relay(address) is found


@given(st.lists(networks, max_size=6))
def test_subnets_that_overlap_are_refused(candidates: list[IPv4Network]) -> None:
    apart = not any(one.overlaps(two) for at, one in enumerate(candidates) for two in candidates[:at])
    try:
        Config([subnet(str(each)) for each in candidates])
    except ValueError:
        assert not apart
    else:
        assert apart


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"conflict_probe": "ping"}, "conflict_probe: expected 'off', 'auto', 'arp' or 'icmp', got 'ping'"),
        ({"probe_timeout": 0}, "probe_timeout: expected more than 0 and at most 10 seconds, got 0"),
        ({"probe_timeout": 11}, "probe_timeout: expected more than 0 and at most 10 seconds, got 11"),
    ],
)
def test_how_a_subnet_can_not_be_probed(setting, words):
    with pytest.raises(ValueError, match=words):
        Subnet("192.0.2.0/24", **setting)


def test_there_are_three_ways_with_bootp():
    with pytest.raises(ValueError, match="bootp: expected 'no', 'reserved' or 'dynamic', got 'yes'"):
        Config(bootp="yes")
