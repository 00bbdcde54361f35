"""Clients behind relay agents: what tells their network, what the relay agent is told, and who is not answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client import LINK, Client, Clock, dotted, make_engine, make_subnet, number, serve

from aiodhcp import (
    Class,
    Config,
    DropReason,
    Engine,
    Interface,
    LeaseState,
    MessageType,
    Parameters,
    Pool,
    Reservation,
    Subnet,
    placement,
)
from aiodhcp.relays import sub_options

NewClient = Callable[..., Client]
HERE = make_subnet()
THERE = make_subnet("198.51.100.10-198.51.100.99", network="198.51.100.0/24")
YONDER = make_subnet("203.0.113.10-203.0.113.99", network="203.0.113.0/24")


@pytest.fixture
def three() -> Engine:
    """A server of three networks, on the first of them."""
    return make_engine(HERE, THERE, YONDER)


def says(**sub_options: Any) -> dict[str, Any]:
    """Option 82, by the names of its sub-options."""
    return {"relay_agent_information": {name.replace("_", "-"): value for name, value in sub_options.items()}}


# ── what tells the network ──


@pytest.mark.parametrize(
    ("link", "selects", "giaddr", "network"),
    [
        ("203.0.113.0", "192.0.2.0", "198.51.100.1", "203.0.113.0/24"),
        ("", "192.0.2.0", "198.51.100.1", "192.0.2.0/24"),
        ("", "", "198.51.100.1", "198.51.100.0/24"),
        ("", "203.0.113.77", "", "203.0.113.0/24"),
        ("203.0.113.0", "", "", "192.0.2.0/24"),  # from no relay agent
        ("", "", "", "192.0.2.0/24"),
        ("0.0.0.0", "0.0.0.0", "198.51.100.1", "198.51.100.0/24"),
    ],
)
def test_which_of_them_counts(three, new_client: NewClient, link: str, selects: str, giaddr: str, network: str) -> None:
    options = says(link_selection=link) if link else {}
    client = new_client(three, giaddr=giaddr, subnet_selection=selects or None, **options)
    ack = client.join()
    assert str(client.exchange.subnet) == network
    assert ack.options["subnet-mask"]
    client.rebind()
    assert str(client.exchange.subnet) == network


@pytest.mark.parametrize("option", [b"\xc6\x33\x64", b"\xc6\x33\x64\x01\x00"])
def test_a_selection_that_is_no_address_selects_nothing(three: Engine, new_client: NewClient, option: bytes) -> None:
    client = new_client(three, giaddr="198.51.100.1", subnet_selection=option, relay_agent_information={5: option})
    client.join()
    assert str(client.exchange.subnet) == "198.51.100.0/24"


def test_a_link_that_is_not_served(three: Engine, new_client: NewClient) -> None:
    client = new_client(three, giaddr="198.51.100.1", **says(link_selection="10.1.2.0"))
    assert client.discover() is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert client.exchange.why == "no subnet for the link that relay agent 198.51.100.1 selects, 10.1.2.0"


def test_a_subnet_that_is_not_served(three: Engine, new_client: NewClient) -> None:
    client = new_client(three, subnet_selection="10.1.2.0")
    assert client.discover() is None
    assert client.exchange.why == "no subnet for the subnet that the client selects, 10.1.2.0"


def test_the_answer_to_a_selected_link_goes_to_the_relay_agent(three: Engine, new_client: NewClient) -> None:
    client = new_client(three, giaddr="198.51.100.1", **says(link_selection="203.0.113.0"))
    client.discover()
    assert (dotted(client.answer.destination), client.answer.port) == ("198.51.100.1", 67)
    told = {fact.what: fact.words for fact in client.exchange.explain()}
    assert told["subnet"] == "203.0.113.0/24: is the link that relay agent 198.51.100.1 selects"


def test_a_subnet_selection_is_given_back_in_every_reply(three: Engine, new_client: NewClient) -> None:
    """RFC 3011 §2: whether or not the client asks for the option."""
    client = new_client(three, subnet_selection="203.0.113.0", parameter_request_list=[1], client_id=b"\0me")
    for reply in (client.discover(), client.join(), client.reboot("192.0.2.10")):
        assert str(reply.options["subnet-selection"]) == "203.0.113.0"
        assert list(reply.options)[-2:] == [61, 118]
    assert reply.message_type == MessageType.NAK


# ── server identifier override ──


def test_the_server_identifier_that_the_relay_agent_says(three: Engine, new_client: NewClient) -> None:
    client = new_client(three, giaddr="198.51.100.1", **says(server_id_override="198.51.100.1"))
    assert str(client.discover().options["server-identifier"]) == "198.51.100.1"
    ack = client.join()  # its REQUEST names that server
    assert str(ack.options["server-identifier"]) == "198.51.100.1"
    # What the client sends to it by unicast, the relay agent passes on with option 82.
    assert client.rebind().message_type == MessageType.ACK
    client.send(client.message(MessageType.RELEASE, ciaddr=client.address, server_identifier="198.51.100.1"))
    assert client.exchange.lease_after is not None
    assert client.exchange.reason is None


def test_the_relay_agent_comes_before_the_configuration(new_client: NewClient) -> None:
    engine = make_engine(THERE, server_id="192.0.2.67")
    client = new_client(engine, giaddr="198.51.100.1", **says(server_id_override="198.51.100.1"))
    assert str(client.discover().options["server-identifier"]) == "198.51.100.1"


def test_another_server_is_not_overridden(three: Engine, new_client: NewClient) -> None:
    client = new_client(three, giaddr="198.51.100.1", **says(server_id_override="198.51.100.1"))
    offer = client.discover()
    assert client.request(offer, server_identifier="198.51.100.2") is None
    assert client.exchange.reason == DropReason.WRONG_SERVER


def test_no_override_without_a_relay_agent_or_an_address(three: Engine, new_client: NewClient) -> None:
    client = new_client(three, **says(server_id_override="198.51.100.1"))
    assert str(client.discover().options["server-identifier"]) == "192.0.2.1"
    for octets in (b"\0\0\0\0", b"\1\2\3"):
        client = new_client(three, giaddr="198.51.100.1", relay_agent_information={11: octets})
        assert str(client.discover().options["server-identifier"]) == "192.0.2.1"


# ── where the answer goes ──


def test_the_port_of_the_relay_agent(three: Engine, new_client: NewClient) -> None:
    """RFC 8357: and the sub-option is there again, with all of the option."""
    client = new_client(three, giaddr="198.51.100.1", relay_agent_information={1: b"eth7", 19: b""})
    datagram = client.datagram(client.message(MessageType.DISCOVER))._replace(source_port=40067)
    exchange = three.arrive(datagram, client.clock())
    three.decide(exchange)
    three.answer(exchange)
    assert (dotted(exchange.answer.destination), exchange.answer.port) == ("198.51.100.1", 40067)
    assert exchange.answer.data.rstrip(b"\0").endswith(b"\x52\x08\x01\x04eth7\x13\x00\xff")


@pytest.mark.parametrize("giaddr", ["", "198.51.100.1"])
def test_the_usual_port_else(three: Engine, new_client: NewClient, giaddr: str) -> None:
    sub_option = {1: b"eth7"} if giaddr else {19: b""}
    client = new_client(three, giaddr=giaddr, relay_agent_information=sub_option)
    datagram = client.datagram(client.message(MessageType.DISCOVER))._replace(source_port=40067)
    exchange = three.arrive(datagram, client.clock())
    three.decide(exchange)
    three.answer(exchange)
    assert exchange.answer.port == (67 if giaddr else 68)


def test_where_virtual_networks_do_not_count(three: Engine, new_client: NewClient) -> None:
    """RFC 6607 §7: a server that goes by the sub-option 151 leaves out 152. Otherwise both come back."""
    client = new_client(three, giaddr="198.51.100.1", relay_agent_information={151: b"\0blue", 152: b""})
    client.discover()
    assert client.answer.data.rstrip(b"\0").endswith(b"\x52\x09\x97\x05\0blue\x98\x00\xff")


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (b"", {}),
        (b"\x01\x02ab\x02\x00", {1: b"ab", 2: b""}),
        (b"\x01\x01a\x01\x01b", {1: b"a"}),
        (b"\x01\x02a", {}),
        (b"\x01\x01a\x02", {}),
    ],
)
def test_sub_options(octets: bytes, found: dict[int, bytes]) -> None:
    assert sub_options(octets) == found


# ── several subnets on one link ──


def shared(*pools: str, **more: Any) -> Engine:
    """Two subnets of one link with a pool each, and a third one beside."""
    first, second = pools or ("198.51.100.10", "203.0.113.10")
    return make_engine(
        HERE,
        make_subnet(first, network="198.51.100.0/24", shared_network="campus", **more),
        make_subnet(second, network="203.0.113.0/24", shared_network="campus", parameters=SECOND),
    )


SECOND = Parameters(options={"routers": ["203.0.113.1"]}, lease_time=600)


@pytest.mark.parametrize("giaddr", ["198.51.100.1", "203.0.113.1"])
def test_the_next_subnet_when_one_is_exhausted(new_client: NewClient, giaddr: str) -> None:
    engine = shared("198.51.100.10", "203.0.113.10")
    first, second, third = (new_client(engine, giaddr=giaddr) for _ in range(3))
    assert dotted(first.join().yiaddr) == "198.51.100.10"
    ack = second.join()
    assert dotted(ack.yiaddr) == "203.0.113.10"
    # What it is told is that subnet's.
    assert str(ack.options["subnet-mask"]) == "255.255.255.0"
    assert list(map(str, ack.options["routers"])) == ["203.0.113.1"]
    assert ack.options["lease-time"] == 600
    assert third.discover() is None
    assert third.exchange.reason == DropReason.NOADDRESS
    assert third.exchange.why == "no free address in shared network campus"


def test_requests_for_an_address_of_any_subnet_of_the_link_are_right(new_client: NewClient) -> None:
    engine = shared("198.51.100.10-198.51.100.20", "203.0.113.10-203.0.113.20")
    for address in ("203.0.113.15", "198.51.100.15"):
        client = new_client(engine, giaddr="198.51.100.1")
        assert dotted(client.join(requested_address=address).yiaddr) == address
        for say in (client.reboot, client.rebind, client.renew):
            ack = say()
            assert (ack.message_type, dotted(ack.yiaddr)) == (MessageType.ACK, address), client.exchange.why
        client.decline(address)
        assert engine.leases.get(number(address)).state == LeaseState.DECLINED


def test_the_address_tells_which_subnet_is_meant(new_client: NewClient) -> None:
    """Not where the client has a lease, if that is in another one."""
    engine = shared("198.51.100.10-198.51.100.20", "203.0.113.10-203.0.113.20")
    client = new_client(engine, giaddr="198.51.100.1")
    offer = client.discover()
    client.join(requested_address="203.0.113.15")
    ack = client.request(offer, requested_address="198.51.100.15")
    assert (ack.message_type, dotted(ack.yiaddr)) == (MessageType.ACK, "198.51.100.15")


def test_a_request_for_an_address_of_another_link_is_wrong(new_client: NewClient) -> None:
    client = new_client(shared(), giaddr="198.51.100.1")
    client.join()
    assert client.reboot("192.0.2.10").message_type == MessageType.NAK
    assert client.exchange.why == "wrong network: this is 198.51.100.0/24"


def test_the_next_subnet_when_a_class_forbids_one(new_client: NewClient) -> None:
    engine = make_engine(
        make_subnet("198.51.100.10", network="198.51.100.0/24", shared_network="campus", classes=["phones"]),
        make_subnet("203.0.113.10-203.0.113.11", network="203.0.113.0/24", shared_network="campus"),
        classes=[Class("phones", test="option[60].text == 'phone'")],
    )
    computer, phone = new_client(engine, giaddr="198.51.100.1"), new_client(engine, giaddr="198.51.100.1")
    assert dotted(computer.join().yiaddr) == "203.0.113.10"
    assert dotted(phone.join(vendor_class_identifier="phone").yiaddr) == "198.51.100.10"
    assert dotted(phone.join().yiaddr) == "203.0.113.11"  # which is not a phone any more
    assert computer.reboot("198.51.100.10").message_type == MessageType.NAK


def test_the_subnet_where_an_address_is_reserved(new_client: NewClient) -> None:
    mine = Reservation(hardware_address="02:00:00:00:00:01", address="203.0.113.50")
    first = make_subnet("198.51.100.10", network="198.51.100.0/24", shared_network="campus")
    engine = make_engine(first, Subnet("203.0.113.0/24", reservations=[mine], shared_network="campus"))
    assert dotted(new_client(engine, giaddr="198.51.100.1").join().yiaddr) == "203.0.113.50"


def test_a_shared_network_on_the_servers_own_link(new_client: NewClient) -> None:
    """It is enough that the interface is in one of its subnets."""
    engine = make_engine(
        make_subnet("192.0.2.10", shared_network="campus"),
        make_subnet("203.0.113.10", network="203.0.113.0/24", shared_network="campus"),
        THERE,
    )
    first, second = new_client(engine), new_client(engine)
    assert [dotted(each.join().yiaddr) for each in (first, second)] == ["192.0.2.10", "203.0.113.10"]
    assert dotted(second.renew().yiaddr) == "203.0.113.10"
    assert new_client(engine).discover() is None


def test_a_selected_link_has_all_of_its_subnets(new_client: NewClient) -> None:
    engine = shared("198.51.100.10", "203.0.113.10")
    for address in ("198.51.100.10", "203.0.113.10"):
        client = new_client(engine, giaddr="192.0.2.254", **says(link_selection="203.0.113.0"))
        assert dotted(client.join().yiaddr) == address


def test_a_relay_agent_may_stand_for_all_subnets_of_a_shared_network() -> None:
    def subnets(name: str) -> list[Subnet]:
        networks = ("198.51.100.0/24", "203.0.113.0/24")
        return [Subnet(each, relays=["10.0.0.1"], shared_network=name) for each in networks]

    assert len(Config(subnets("campus")).subnets) == 2
    with pytest.raises(ValueError, match=r"relay 10\.0\.0\.1 stands for 198\.51\.100\.0/24 and 203\.0\.113\.0/24"):
        Config(subnets(""))


def test_a_subnet_that_is_on_no_interface(new_client: NewClient) -> None:
    engine = make_engine(THERE)
    assert new_client(engine).discover() is None
    client = new_client(engine, giaddr="198.51.100.1")
    assert dotted(client.join().yiaddr) == "198.51.100.10"
    assert dotted(client.renew().yiaddr) == "198.51.100.10"


# ── renewals past the relay agent ──

LINE = {"relay_agent_information": {1: b"eth7", 2: b"switch-1"}}
TOLD = Class("told", Parameters(options={"domain-name": "told.example"}), test="relay4[1].text == 'eth7'")


def behind(new_client: NewClient, engine: Engine) -> Client:
    """A client that has a lease through a relay agent, which says LINE."""
    client = new_client(engine, giaddr="198.51.100.1")
    client.join(**LINE)
    return client


def test_what_the_relay_agent_said_is_kept_with_the_lease(new_client: NewClient) -> None:
    engine = make_engine(THERE)
    client = behind(new_client, engine)
    said = b"\1\4eth7\2\10switch-1"
    assert client.exchange.changes[0].relay_agent == said
    ack = client.renew()
    assert ack.message_type == MessageType.ACK
    assert "relay-agent-information" not in ack.options
    assert client.exchange.relay_agent == {1: b"eth7", 2: b"switch-1"}
    assert client.exchange.changes[0].relay_agent == said
    client.rebind(relay_agent_information={1: b"eth8"})
    assert client.exchange.changes[0].relay_agent == b"\1\4eth8"
    client.rebind()  # through one that says nothing
    assert client.exchange.changes[0].relay_agent is None


def test_nothing_is_kept_without_a_relay_agent(new_client: NewClient) -> None:
    client = new_client(make_engine(HERE))
    client.join(**LINE)
    assert client.exchange.changes[0].relay_agent is None
    client.renew(**LINE)
    assert client.exchange.changes[0].relay_agent is None


def test_what_is_too_long_is_not_kept(new_client: NewClient) -> None:
    client = new_client(make_engine(THERE), giaddr="198.51.100.1")
    client.join(relay_agent_information={1: bytes(253)})
    assert len(client.exchange.changes[0].relay_agent) == 255
    client.join(relay_agent_information={1: bytes(250), 2: b"abcd"})
    assert client.exchange.changes[0].relay_agent is None


def test_it_counts_for_classes_and_what_they_say(new_client: NewClient) -> None:
    engine = make_engine(THERE, classes=[TOLD])
    client = behind(new_client, engine)
    assert client.renew().options["domain-name"] == "told.example"
    inform = client.message(MessageType.INFORM, ciaddr=client.address)
    assert client.unicast(inform).options["domain-name"] == "told.example"
    # Not for somebody else, nor what the client broadcasts, nor when it has let go of it.
    other = new_client(engine)
    other.address, other.server = client.address, client.server
    other.renew()
    assert other.exchange.relay_agent == {}
    client.giaddr = 0
    client.rebind()
    assert client.exchange.relay_agent == {}
    address = client.address
    client.release()
    client.address = address
    client.renew()
    assert client.exchange.relay_agent == {}


def test_it_ends_with_the_lease(new_client: NewClient, clock: Clock) -> None:
    client = behind(new_client, make_engine(THERE))
    clock.advance(12 * 3600)
    client.renew()
    assert client.exchange.relay_agent == {}


def test_it_counts_for_pools_and_limits(new_client: NewClient) -> None:
    line = Class("line", test="relay4[1].exists", limit=1, limit_by="relay4[1].text")
    pool = Pool("198.51.100.10-198.51.100.20", classes=["line"])
    engine = make_engine(make_subnet(pool, network="198.51.100.0/24"), classes=[line])
    client = behind(new_client, engine)
    assert client.renew().message_type == MessageType.ACK
    assert engine.leases.counts == {f"line={b'eth7'.hex()}": 1}
    second = new_client(engine, giaddr="198.51.100.1")
    assert second.discover(**LINE) is None


def test_a_class_that_changes_its_test_takes_back_what_it_gave(new_client: NewClient) -> None:
    """What the relay agent said is known, and is looked at again."""

    def engine(line: str, before: Engine | None = None) -> Engine:
        pool = Pool("198.51.100.10-198.51.100.20", classes=["mine"])
        mine = Class("mine", test=f"relay4[1].text == '{line}'")
        return Engine(Config([make_subnet(pool, network="198.51.100.0/24")], classes=[mine]), predecessor=before)

    client = behind(new_client, engine("eth7"))
    client.engine = engine("eth7", client.engine)
    assert client.renew().message_type == MessageType.ACK
    client.engine = engine("eth8", client.engine)
    assert client.renew().message_type == MessageType.NAK


def test_what_is_counted_follows_the_test_too(new_client: NewClient) -> None:
    def engine(line: str, before: Engine | None = None) -> Engine:
        lines = [Class(each, test=f"relay4[1].text == '{each}'", limit=1) for each in ("eth7", "eth8")]
        lines.append(Class("mine", test=f"relay4[1].text == '{line}'", limit=1))
        return Engine(Config([THERE], classes=lines), predecessor=before)

    client = behind(new_client, engine("eth7"))
    assert client.engine.leases.counts == {"eth7": 1, "mine": 1}
    client.engine = engine("eth8", client.engine)
    assert client.renew().message_type == MessageType.ACK
    assert client.engine.leases.counts == {"eth7": 1}


def test_it_counts_for_reservations(new_client: NewClient) -> None:
    named = Reservation(circuit_id="eth7", parameters=TOLD.parameters)
    engine = make_engine(Subnet("198.51.100.0/24", ["198.51.100.10"], reservations=[named]))
    assert behind(new_client, engine).renew().options["domain-name"] == "told.example"


def test_an_address_that_is_reserved_for_another_line_now(new_client: NewClient) -> None:
    def subnet(line: str) -> Subnet:
        mine = Reservation(circuit_id=line, address="198.51.100.50")
        return Subnet("198.51.100.0/24", ["198.51.100.10"], reservations=[mine])

    client = behind(new_client, make_engine(subnet("eth7")))
    assert client.renew().message_type == MessageType.ACK
    client.engine = make_engine(subnet("eth8"), leases=client.engine.leases)
    assert client.renew().message_type == MessageType.NAK


def test_the_server_stays_the_one_that_the_relay_agent_said(new_client: NewClient) -> None:
    client = new_client(make_engine(THERE), giaddr="198.51.100.1", **says(server_id_override="198.51.100.1"))
    client.join()
    client.options["relay_agent_information"] = None
    assert str(client.renew().options["server-identifier"]) == "198.51.100.1"
    client.release()
    assert client.exchange.reason is None


def test_nothing_is_kept_and_nothing_counts_when_switched_off(new_client: NewClient) -> None:
    client = behind(new_client, make_engine(THERE))
    off = make_engine(THERE, leases=client.engine.leases, classes=[TOLD], stash_agent_options=False)
    client.engine = off
    assert "domain-name" not in client.renew().options
    assert client.exchange.changes[0].relay_agent is None
    client.rebind(**LINE)
    assert client.exchange.changes[0].relay_agent is None


# ── what is not believed ──


@pytest.mark.parametrize("address", ["0.0.0.9", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"])
def test_addresses_that_nobody_can_have(three: Engine, new_client: NewClient, address: str) -> None:
    client = new_client(three, giaddr=address)
    assert client.discover() is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == f"giaddr is {address}, which no relay agent can have"
    client = new_client(three)
    assert client.inform(address) is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == f"ciaddr is {address}, which no client can have"


def test_the_servers_own_address_is_no_relay_agents(three: Engine, new_client: NewClient) -> None:
    """On the interface of the packet, or on another one."""
    three.serve([LINK, Interface("eth1", (number("198.51.100.1"),))])
    for giaddr, subnet in (("192.0.2.1", None), ("198.51.100.1", None), ("198.51.100.2", THERE)):
        client = new_client(three, giaddr=giaddr)
        client.discover()
        assert client.exchange.subnet is subnet
        if subnet is None:
            assert client.exchange.why == f"giaddr is {giaddr}, the server's own address"
    unknown = new_client(make_engine(THERE), giaddr="192.0.2.1")
    assert unknown.discover() is None
    assert unknown.exchange.why == "giaddr is 192.0.2.1, the server's own address"


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
def test_a_relay_agent_that_is_named_may_be_anywhere(new_client: NewClient, address: str) -> None:
    """Also on the server's machine."""
    engine = make_engine(Subnet("198.51.100.0/24", ["198.51.100.10"], relays=[address]))
    assert dotted(new_client(engine, giaddr=address).join().yiaddr) == "198.51.100.10"


def test_all_on_the_loopback_of_one_machine(new_client: NewClient) -> None:
    engine = make_engine(Subnet("127.0.0.0/8", ["127.0.0.100"]))
    loopback = Interface("udp", (number("127.0.0.1"),))
    client = new_client(engine, interface=loopback, giaddr="127.0.0.1")
    assert dotted(client.join().yiaddr) == "127.0.0.100"
    assert client.renew().message_type == MessageType.ACK


def test_two_relay_agents_in_a_row(three: Engine, new_client: NewClient) -> None:
    """RFC 1542 §4.1.1: the second one leaves giaddr as it is, and counts a hop."""
    client = new_client(three, giaddr="198.51.100.1")
    packet = client.message(MessageType.DISCOVER)
    packet.hops = 2
    datagram = client.datagram(packet)._replace(source=number("203.0.113.254"))
    offer = client.hear(serve(three, datagram, client.clock()))
    assert dotted(offer.yiaddr) == "198.51.100.10"
    assert (dotted(client.answer.destination), offer.hops) == ("198.51.100.1", 0)


@pytest.mark.parametrize(("switch", "domain"), [("ignore", None), ("trust", "told.example"), ("drop", "")])
def test_agent_options_without_a_relay_agent(new_client: NewClient, switch: str, domain: str | None) -> None:
    engine = make_engine(HERE, classes=[TOLD], agent_options_without_relay=switch)
    client = new_client(engine, **LINE)
    if domain == "":
        assert client.discover() is None
        assert client.exchange.reason == DropReason.INVALID
        assert client.exchange.why == "relay agent information, and no relay agent"
        assert new_client(engine).join()
        return
    ack = client.join()
    assert ack.options.get("domain-name") == domain
    assert list(ack.options)[-1] == 82
    assert "domain-name" not in new_client(engine).join().options


def test_what_a_trusted_switch_said_is_kept_for_renewals_past_it(new_client: NewClient) -> None:
    engine = make_engine(HERE, classes=[TOLD], agent_options_without_relay="trust")
    client = new_client(engine, **LINE)
    client.join()
    client.options["relay_agent_information"] = None
    ack = client.renew()
    assert ack.options["domain-name"] == "told.example"
    assert 82 not in ack.options
    # What the switch says next takes its place, also in a unicast.
    client.renew(relay_agent_information={"circuit-id": b"eth8"})
    assert client.exchange.changes[0].relay_agent == b"\1\4eth8"
    assert "domain-name" not in client.renew().options


def test_what_is_not_trusted_is_not_kept(new_client: NewClient) -> None:
    client = new_client(make_engine(HERE, classes=[TOLD]), **LINE)
    client.join()
    assert client.exchange.changes[0].relay_agent is None
    client.options["relay_agent_information"] = None
    assert "domain-name" not in client.renew().options


def test_no_other_word_for_it() -> None:
    with pytest.raises(
        ValueError, match=r"^agent_options_without_relay: expected 'ignore', 'trust' or 'drop', got 'x'"
    ):
        make_engine(agent_options_without_relay="x")


def test_more_relay_agents_than_are_remembered(new_client: NewClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "LINKS_KEPT", 2)
    engine = make_engine(make_subnet(network="192.0.2.0/24"))
    for agent in range(200, 206):
        assert new_client(engine, giaddr=f"192.0.2.{agent}").discover() is not None
