"""Reservations: whose they are, which one counts, and what becomes of who had the address."""

from __future__ import annotations

from typing import Any

import pytest
from client import Client, dotted, make_engine, make_subnet, number

from aiodhcp import Class, Config, Engine, Interface, MessageType, Parameters, Pool, Reservation, hookimpl
from aiodhcp.reservations import IDENTIFIERS

MAC = "02:00:00:00:00:01"
DUID = bytes.fromhex("00030001020000000001")
OTHER = "198.51.100.0/24"


def named(name: str) -> Parameters:
    return Parameters({"domain-name": name})


def relayed(new_client, engine: Engine, **more: Any) -> Client:
    sub_options = {1: b"eth0/7", 2: b"\0\4switch", 6: b"anna"}
    return new_client(engine, giaddr="192.0.2.254", relay_agent_information=sub_options, mac=MAC, **more)


# ── whose it is ──


@pytest.mark.parametrize(
    "said",
    [
        {"hardware_address": MAC},
        {"client_id": "ff:00:00:00:07:00:03:00:01:02:00:00:00:00:01"},
        {"duid": "00:03:00:01:02:00:00:00:00:01"},
        {"circuit_id": "eth0/7"},
        {"circuit_id": "0x657468302f37"},
        {"remote_id": "0x0004737769746368"},
        {"remote_id": b"\0\4switch"},
        {"subscriber_id": "anna"},
        {"identify": "option[12].text", "value": "printer"},
        {"identify": "concat(relay4[6].hex, '@', relay4[1].hex)", "value": "anna@eth0/7"},
        {"circuit_id": "eth0/7", "remote_id": "0x0004737769746368"},
        {"hardware_address": MAC, "circuit_id": "eth0/7", "identify": "option[12].text", "value": "printer"},
    ],
    ids=str,
)
def test_what_a_client_is_known_by(said: dict[str, Any], new_client) -> None:
    engine = make_engine(make_subnet(reservations=[Reservation(address="192.0.2.200", **said)]))
    mine = relayed(new_client, engine, client_id=b"\xff\0\0\0\7" + DUID, host_name="printer")
    assert dotted(mine.join().yiaddr) == "192.0.2.200"
    other = new_client(
        engine,
        giaddr="192.0.2.254",
        client_id=b"\1" + DUID,
        host_name="fax",
        relay_agent_information={1: b"eth0/8", 2: b"switch", 6: b"berta"},
        mac="02:00:00:00:00:02",
    )
    assert dotted(other.join().yiaddr) == "192.0.2.10"


def test_of_several_identifiers_all_have_to_be_the_clients(new_client) -> None:
    engine = make_engine(make_subnet(reservations=[Reservation(MAC, circuit_id="eth0/8", address="192.0.2.200")]))
    assert dotted(relayed(new_client, engine).join().yiaddr) == "192.0.2.10"


def test_what_a_client_says_for_a_relay_agent_does_not_count(new_client) -> None:
    engine = make_engine(make_subnet(reservations=[Reservation(circuit_id="eth0/7", address="192.0.2.200")]))
    client = new_client(engine, relay_agent_information={1: b"eth0/7"})
    assert dotted(client.join().yiaddr) == "192.0.2.10"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"hardware_address": MAC, "duid": "00:01:02"},
            "expected a hardware address or a client id or a DUID, and not",
        ),
        ({"identify": "option[12].text"}, "expected identify, an expression, and value, what it comes to, or neither"),
        ({"identify": "option[12].txt", "value": "a"}, "identify: column 12: expected 'hex', 'text' or 'exists'"),
        ({"identify": "ifelse(known, 'a', 'b')", "value": "a"}, "identify: can't ask for classes, because"),
        ({"circuit_id": ""}, "circuit_id: expected 1 to 255 octets, as text or in hex like '0x0007', got ''"),
        ({"circuit_id": "0xa"}, "circuit_id: expected 1 to 255 octets, as text or in hex like '0x0007', got '0xa'"),
        ({"remote_id": "x" * 256}, "remote_id: expected 1 to 255 octets"),
        ({"duid": "00:01"}, "duid: expected 3 to 130 octets like"),
    ],
)
def test_reservations_refuse(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Reservation(**said)
    assert str(error.value).startswith(words)


# ── which one counts ──

EVERY: dict[str, dict[str, Any]] = {
    "identify": {"identify": "option[12].text", "value": "printer"},
    "client-id": {"client_id": b"\xff\0\0\0\7" + DUID},
    "duid": {"duid": DUID},
    "hardware-address": {"hardware_address": MAC},
    "circuit-id": {"circuit_id": "eth0/7"},
    "subscriber-id": {"subscriber_id": "anna"},
    "remote-id": {"remote_id": "0x0004737769746368"},
}


def first_found(new_client, order: tuple[str, ...], kinds: tuple[str, ...] = IDENTIFIERS) -> str:
    reservations = [Reservation(parameters=named(kind), **EVERY[kind]) for kind in reversed(kinds)]
    engine = make_engine(make_subnet(reservations=reservations), reservation_identifiers=order)
    client = relayed(new_client, engine, client_id=b"\xff\0\0\0\7" + DUID, host_name="printer")
    return str(client.join().options["domain-name"])


@pytest.mark.parametrize("at", range(len(IDENTIFIERS)))
def test_the_first_identifier_that_finds_one_counts(at: int, new_client) -> None:
    assert first_found(new_client, IDENTIFIERS, IDENTIFIERS[at:]) == IDENTIFIERS[at]
    assert first_found(new_client, IDENTIFIERS[at:] + IDENTIFIERS[:at]) == IDENTIFIERS[at]


def test_the_one_that_says_more_counts_more(new_client) -> None:
    line = Reservation(circuit_id="eth0/7", address="192.0.2.200")
    switch_too = Reservation(circuit_id="eth0/7", remote_id="0x0004737769746368", address="192.0.2.201")
    engine = make_engine(make_subnet(reservations=[line, switch_too]))
    assert dotted(relayed(new_client, engine).join().yiaddr) == "192.0.2.201"


def test_the_subnets_reservation_counts_more_than_one_for_every_subnet(new_client) -> None:
    here, everywhere = Reservation(MAC, parameters=named("here")), Reservation(MAC, parameters=named("everywhere"))
    for switches, name in (
        ({}, "here"),
        ({"reservations_in_subnet": False}, "everywhere"),
        ({"reservations_in_subnet": False, "reservations_global": False}, None),
    ):
        engine = make_engine(make_subnet(reservations=[here]), reservations=[everywhere], **switches)
        assert new_client(engine, mac=MAC).join().options.get("domain-name") == name


@pytest.mark.parametrize("other", [{"hardware_address": "02:00:00:00:00:02"}, {"circuit_id": "eth0/8"}], ids=str)
def test_each_subnet_has_reservations_of_its_own(other: dict[str, Any], new_client) -> None:
    engine = make_engine(
        make_subnet(reservations=[Reservation(MAC, address="192.0.2.200")]),
        make_subnet(
            "198.51.100.10-198.51.100.99",
            network=OTHER,
            reservations=[Reservation(address="198.51.100.200", **other), Reservation(MAC, address="198.51.100.201")],
        ),
    )
    mine = new_client(engine, mac=MAC)
    assert dotted(mine.join().yiaddr) == "192.0.2.200"
    mine.giaddr = number("198.51.100.1")
    assert dotted(mine.join().yiaddr) == "198.51.100.201"
    theirs = new_client(engine, mac="02:00:00:00:00:02", relay_agent_information={1: b"eth0/8"})
    assert dotted(theirs.join().yiaddr) == "192.0.2.10"
    theirs.giaddr = number("198.51.100.1")
    assert dotted(theirs.join().yiaddr) == "198.51.100.200"
    for giaddr, address in (("192.0.2.254", "192.0.2.11"), ("198.51.100.1", "198.51.100.10")):
        nobody = new_client(engine, mac=f"02:00:00:00:01:{number(giaddr) & 0xFF:02x}", giaddr=giaddr)
        assert dotted(nobody.join().yiaddr) == address


def test_a_reservation_for_every_subnet_has_its_address_in_one(new_client) -> None:
    mine = Reservation(MAC, address="192.0.2.200", parameters=named("mine"))
    engine = make_engine(make_subnet(), make_subnet("198.51.100.10-198.51.100.19", network=OTHER), reservations=[mine])
    client = new_client(engine, mac=MAC)
    assert dotted(client.join().yiaddr) == "192.0.2.200"
    client.giaddr = number("198.51.100.1")
    for _ in range(2):
        ack = client.join()
        assert (dotted(ack.yiaddr), ack.options["domain-name"]) == ("198.51.100.10", "mine")


def test_nobody_else_gets_an_address_that_is_reserved_for_every_subnet(new_client) -> None:
    mine = Reservation(MAC, address="192.0.2.10")
    engine = make_engine(make_subnet("192.0.2.10-192.0.2.11"), reservations=[mine])
    other = new_client(engine, mac="02:00:00:00:00:02")
    assert dotted(other.join(requested_address="192.0.2.10").yiaddr) == "192.0.2.11"
    assert other.reboot("192.0.2.10").message_type == MessageType.NAK
    assert dotted(new_client(engine, mac=MAC).join().yiaddr) == "192.0.2.10"


def test_a_reserved_address_chooses_among_the_subnets_of_a_link(new_client) -> None:
    link = Interface("eth0", (number("192.0.2.1"), number("198.51.100.1")))
    subnets = make_subnet(), make_subnet("198.51.100.10", network=OTHER)
    anywhere = Reservation("02:00:00:00:00:02", parameters=named("anywhere"))
    engine = make_engine(*subnets, reservations=[Reservation(MAC, address="198.51.100.20"), anywhere])
    assert dotted(new_client(engine, mac=MAC, interface=link).join().yiaddr) == "198.51.100.20"
    ack = new_client(engine, mac="02:00:00:00:00:02", interface=link).join()
    assert (dotted(ack.yiaddr), ack.options["domain-name"]) == ("192.0.2.10", "anywhere")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"reservation_identifiers": ["mac"]}, "reservation_identifiers: expected some of 'identify', 'client-id', "),
        (
            {"reservation_identifiers": ["duid", "duid"]},
            "reservation_identifiers: expected some of .*, each once, got 'd",
        ),
        (
            {"reservation_identifiers": ["duid"], "reservations": [Reservation(MAC)]},
            r"reservation\[0\]: 'hardware-address' is not among reservation-identifiers",
        ),
        ({"reservations": [Reservation(MAC), Reservation(MAC)]}, r"reservation\[1\]: 02:.* for every subnet already"),
        ({"reservations": [Reservation(MAC, address="203.0.113.1")]}, r"reservation\[0\]: 203.0.113.1 is in no subnet"),
        (
            {"reservations": [Reservation(MAC, address="192.0.2.77")]},
            r"reservation\[0\]: 192.0.2.77 is reserved in 192.0.2.0/24 already",
        ),
        (
            {"reservations": [Reservation(MAC, classes=["phones"])]},
            r"reservation\[0\].classes: there is no class 'phones'",
        ),
    ],
)
def test_configurations_refuse(config: dict[str, Any], words: str) -> None:
    subnet = make_subnet(reservations=[Reservation(duid="00:01:02", address="192.0.2.77")])
    with pytest.raises(ValueError, match=f"^{words}"):
        Config([subnet], **config)


# ── classes ──


def test_a_reservation_puts_a_client_into_classes(new_client) -> None:
    mine = Reservation(MAC, classes=["staff"])
    engine = make_engine(
        make_subnet(Pool("192.0.2.10", classes=["staff"]), reservations=[mine]),
        classes=[Class("staff", named("staff")), Class("both", Parameters(lease_time=600), test="member('staff')")],
    )
    ack = new_client(engine, mac=MAC).join()
    assert (ack.options["domain-name"], ack.options["lease-time"]) == ("staff", 600)
    assert new_client(engine, mac="02:00:00:00:00:02").discover() is None


def test_classes_by_reservation_end_with_the_subnet(new_client) -> None:
    mine = Reservation(MAC, classes=["staff"])
    link = Interface("eth0", (number("192.0.2.1"), number("198.51.100.1")))
    engine = make_engine(
        make_subnet(Pool("192.0.2.10", classes=["nobody"]), reservations=[mine]),
        make_subnet("198.51.100.10", network=OTHER),
        classes=[Class("staff"), Class("nobody")],
    )
    client = new_client(engine, mac=MAC, interface=link)
    assert dotted(client.discover().yiaddr) == "198.51.100.10"
    assert client.exchange.classes == set()


# ── who had the address ──


def reload(engine: Engine, *reservations: Reservation) -> Engine:
    return Engine(Config([make_subnet(reservations=reservations)]), predecessor=engine)


def test_a_new_reservation_moves_the_client_when_it_renews(new_client) -> None:
    client = new_client(mac=MAC)
    assert dotted(client.join().yiaddr) == "192.0.2.10"
    client.engine = reload(client.engine, Reservation(MAC, address="192.0.2.200"))
    nak = client.renew()
    assert nak.message_type == MessageType.NAK
    assert nak.options["message"] == "another address is reserved for the client"
    assert dotted(client.join().yiaddr) == "192.0.2.200"
    client.engine = reload(client.engine, Reservation(MAC, address="192.0.2.201"))
    assert client.reboot().message_type == MessageType.NAK
    assert dotted(client.join().yiaddr) == "192.0.2.201"
    client.engine = reload(client.engine)
    assert client.rebind().message_type == MessageType.NAK  # it is outside of the pools
    assert dotted(client.join().yiaddr) == "192.0.2.11"


def test_an_address_that_is_reserved_leaves_its_client_first(new_client) -> None:
    holder, owner = new_client(mac="02:00:00:00:00:02"), new_client(mac=MAC)
    assert dotted(holder.join().yiaddr) == "192.0.2.10"
    owner.engine = holder.engine = reload(holder.engine, Reservation(MAC, address="192.0.2.10"))
    # Until then its owner gets another one, and keeps that.
    assert dotted(owner.join().yiaddr) == "192.0.2.11"
    assert owner.renew().message_type == MessageType.ACK
    assert holder.renew().message_type == MessageType.NAK
    assert dotted(holder.join().yiaddr) == "192.0.2.12"
    assert owner.renew().message_type == MessageType.NAK
    assert dotted(owner.join().yiaddr) == "192.0.2.10"


def test_a_reservation_without_an_address_gives_parameters_alone(new_client) -> None:
    engine = make_engine(make_subnet(reservations=[Reservation(MAC, parameters=named("mine"))]))
    ack = new_client(engine, mac=MAC).join()
    assert (dotted(ack.yiaddr), ack.options["domain-name"]) == ("192.0.2.10", "mine")


def test_who_renews_keeps_what_is_reserved_for_its_line(new_client, clock) -> None:
    line = Reservation(circuit_id="eth0/7", address="192.0.2.200", parameters=named("line"))
    engine = make_engine(make_subnet(reservations=[line]))
    client = relayed(new_client, engine)
    client.join()
    client.giaddr, client.options["relay_agent_information"] = 0, None
    ack = client.renew()
    assert (ack.message_type, ack.options["domain-name"]) == (MessageType.ACK, "line")
    stranger = new_client(engine, mac="02:00:00:00:00:02")
    stranger.address, stranger.server = client.address, client.server
    assert stranger.renew() is None
    clock.advance(43200)
    assert client.renew().message_type == MessageType.NAK


def test_who_renews_gets_nothing_that_is_reserved_otherwise(new_client) -> None:
    line = Reservation(circuit_id="eth0/7", address="192.0.2.200")
    engine = make_engine(make_subnet(reservations=[Reservation(MAC, address="192.0.2.201"), line]))
    client = new_client(engine, mac=MAC)
    client.join()
    client.chaddr = b"\2\0\0\0\0\2"
    client.options["client-identifier"] = b"\1\2\0\0\0\0\1"  # what identified it before
    assert client.renew().message_type == MessageType.NAK
    other = new_client(engine)
    other.join()
    assert other.renew().message_type == MessageType.ACK


def test_a_plugin_may_find_the_reservation_that_was_configured_before(new_client) -> None:
    class Finder:
        @hookimpl
        def select_address(self, exchange, address):
            return None

    mine = Reservation(MAC, address="192.0.2.200")
    old = make_engine(make_subnet(reservations=[mine]), plugins=[Finder()])
    client = new_client(old, mac=MAC)
    offer = client.discover()
    # It is loaded again, from the same file, between the two.
    client.engine = reload(old, Reservation(MAC, address="192.0.2.200"))
    assert client.request(offer).message_type == MessageType.ACK


def test_the_explanation_says_what_the_client_is_known_by(new_client) -> None:
    engine = make_engine(make_subnet(reservations=[Reservation(MAC, circuit_id="eth0/7", address="192.0.2.200")]))
    client = relayed(new_client, engine)
    client.join()
    said = "reservation: 192.0.2.200, by the configuration, known by hardware-address and circuit-id"
    assert said in map(str, client.exchange.explain())
