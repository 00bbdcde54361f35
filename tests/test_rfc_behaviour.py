"""Behaviour that clients ask for: rapid commit (RFC 4039), auto-configuration (RFC 2563), IPv6 only (RFC 8925); and how
long a server hesitates, offers and grants."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from client import Client, Clock, dotted, make_engine, make_subnet, number
from plugin_kit import plugin

from aiodhcp import (
    Class,
    Config,
    DropReason,
    Lease,
    LeaseState,
    MessageType,
    Nak,
    Packet,
    Parameters,
    Pool,
    Reservation,
    Subnet,
)
from aiodhcp import Settings as Configuration
from aiodhcp.constants import BROADCAST_FLAG, INFINITE
from aiodhcp.reports import Reports

NewClient = Callable[..., Client]

OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK
RAPID = Parameters(rapid_commit=True)
ASKED = {"rapid_commit": True}
CONFIGURATION = {"transport": {"type": "udp"}}


# ── RFC 4039: rapid commit ──


def test_rapid_commit(new_client: NewClient, clock: Clock) -> None:
    """RFC 4039 §3.1: an ACK to a DISCOVER, which says so, once the lease is entered."""
    client = new_client(make_engine(parameters=RAPID))
    ack = client.discover(**ASKED)
    assert (ack.message_type, dotted(ack.yiaddr), ack.options.raw[80]) == (ACK, "192.0.2.10", b"")
    assert ack.options["lease-time"] == 43200
    (lease,) = client.exchange.changes
    assert (lease.state, lease.expires, lease.client) == (LeaseState.ACTIVE, clock() + 43200, client.key)
    assert client.answer.hardware == client.chaddr
    assert client.renew().message_type == ACK
    assert 80 not in client.exchange.reply.options


def test_rapid_commit_again_is_the_same_lease(new_client: NewClient) -> None:
    """The ACK was lost: the DISCOVER comes again."""
    client = new_client(make_engine(parameters=RAPID))
    assert client.discover(**ASKED).yiaddr == client.discover(**ASKED).yiaddr
    assert len(client.engine.leases) == 1


def test_rapid_commit_is_for_who_asks_where_it_is_allowed(new_client: NewClient) -> None:
    """RFC 4039 §3.1: otherwise it is an OFFER, and option 80 is in no other message (§4)."""
    asks = new_client().discover(**ASKED)
    does_not = new_client(make_engine(parameters=RAPID)).discover(parameter_request_list=[80, 1])
    for offer in (asks, does_not):
        assert offer.message_type == OFFER
        assert 80 not in offer.options


def test_rapid_commit_and_an_ordinary_ack_are_two_replies(new_client: NewClient) -> None:
    """With all else alike, from what was made for the first."""
    engine = make_engine(parameters=RAPID)
    assert 80 in new_client(engine).discover(**ASKED).options
    assert 80 not in new_client(engine).join().options
    assert 80 in new_client(engine).discover(**ASKED).options


def test_rapid_commit_of_a_pool(new_client: NewClient) -> None:
    """Each level of parameters may say it, the most specific wins."""
    slow = Pool("192.0.2.20", Parameters(rapid_commit=False))
    client = new_client(make_engine(make_subnet("192.0.2.10", slow), parameters=RAPID))
    assert client.discover(**ASKED).message_type == ACK
    assert new_client(client.engine).discover(**ASKED).message_type == OFFER


def test_rapid_commit_waits_for_the_conflict_probe(new_client: NewClient) -> None:
    """What has to be asked for on the network is offered as usual."""
    engine = make_engine(make_subnet(conflict_probe="arp"), parameters=RAPID)
    client = new_client(engine)
    assert client.discover(**ASKED).message_type == OFFER
    assert dotted(client.exchange.probe) == "192.0.2.10"
    # Now it is known to be free.
    assert client.discover(**ASKED).message_type == ACK


def test_rapid_commit_gives_up_the_address_that_the_client_had(new_client: NewClient) -> None:
    client = new_client(make_engine(parameters=RAPID))
    client.join()
    mine = Reservation(client.chaddr.hex(), address="192.0.2.50")
    client.engine = make_engine(make_subnet(reservations=[mine]), leases=client.engine.leases, parameters=RAPID)
    assert dotted(client.discover(**ASKED).yiaddr) == "192.0.2.50"
    assert [lease.state for lease in client.exchange.changes] == [LeaseState.ACTIVE, LeaseState.RELEASED]


def test_rapid_commit_that_a_plugin_refuses_leaves_no_lease(new_client: NewClient) -> None:
    """No NAK answers a DISCOVER, and the address is free again."""
    engine = make_engine(make_subnet("192.0.2.10"), parameters=RAPID, plugins=[plugin(select_lease_time=lambda: Nak())])
    client = new_client(engine)
    assert client.discover(**ASKED) is None
    assert client.exchange.reason == DropReason.UNAUTH
    assert list(engine.leases) == []
    assert engine.may_have(client.exchange, number("192.0.2.10"))


def test_rapid_commit_of_an_address_that_another_server_gave_away(new_client: NewClient, clock: Clock) -> None:
    """RFC 2131 §4.3.2: a NAK is for a REQUEST."""
    engine = make_engine(parameters=RAPID)
    client = new_client(engine)
    message = client.datagram(client.message(MessageType.DISCOVER, **ASKED))
    exchange = engine.arrive(message, clock())
    engine.decide(exchange)
    second = int(clock())
    engine.overruled(
        exchange, Lease(exchange.yiaddr, b"\1other!", 1, b"other!", LeaseState.ACTIVE, second, second + 60)
    )
    engine.answer(exchange)
    assert exchange.answer is None
    assert (exchange.reason, exchange.why) == (DropReason.NOADDRESS, "the address was given to another client")


# ── RFC 2563: auto-configuration ──


def nothing_free(new_client: NewClient, **config: object) -> Client:
    """A client for whom there is no address."""
    engine = make_engine(make_subnet("192.0.2.10"), **config)
    new_client(engine).join()
    return new_client(engine)


@pytest.mark.parametrize(("said", "octet"), [(False, 0), (True, 1)])
def test_auto_configure(new_client: NewClient, said: bool, octet: int) -> None:
    """RFC 2563 §2.3: an OFFER without an address says whether the client may take one of its own."""
    client = nothing_free(new_client, parameters=Parameters({"routers": "192.0.2.1"}, auto_configure=said))
    offer = client.discover(auto_config=1)
    assert (offer.message_type, offer.yiaddr) == (OFFER, 0)
    assert {code: value for code, value in offer.options.raw.items() if code != 54} == {53: b"\2", 116: bytes([octet])}
    assert dotted(client.answer.destination) == "255.255.255.255"
    assert client.answer.hardware is None
    assert client.exchange.changes is None


def test_auto_configure_through_a_relay_agent(new_client: NewClient) -> None:
    """There is no address that the relay agent could send it to."""
    client = nothing_free(new_client, parameters=Parameters(auto_configure=False))
    client.giaddr = number("192.0.2.254")
    assert client.discover(auto_config=1).flags == BROADCAST_FLAG
    assert (dotted(client.answer.destination), client.answer.port) == ("192.0.2.254", 67)


@pytest.mark.parametrize("reserved", [None, "198.51.100.0/24"])
def test_auto_configure_on_a_link_of_several_subnets(new_client: NewClient, reserved: str | None) -> None:
    """The subnet says it that is the client's before all others, not the one that was tried last."""
    mine = [Reservation("02:00:00:00:00:07")]
    subnets = [
        Subnet(
            f"{prefix}.0/24",
            shared_network="campus",
            interfaces=["eth0"],
            parameters=Parameters(auto_configure=said),
            reservations=mine if reserved == f"{prefix}.0/24" else (),
        )
        for prefix, said in (("192.0.2", False), ("198.51.100", True), ("203.0.113", reserved is None))
    ]
    client = new_client(make_engine(*subnets), mac="02:00:00:00:00:07")
    offer = client.discover(auto_config=1)
    assert offer.options.raw[116] == bytes([reserved is not None])
    assert client.exchange.subnet is subnets[reserved is not None]


@pytest.mark.parametrize("asked", [None, 0, b"\1\1"])
def test_auto_configure_is_for_who_asks(new_client: NewClient, asked: object) -> None:
    """RFC 2563 §2.3: an old client, or one that won't anyway, is not answered, as ever."""
    client = nothing_free(new_client, parameters=Parameters(auto_configure=False))
    assert client.discover(auto_config=asked) is None
    assert client.exchange.reason == DropReason.NOADDRESS


def test_auto_configure_is_told_only_where_that_is_said(new_client: NewClient) -> None:
    client = nothing_free(new_client)
    assert client.discover(auto_config=1) is None
    assert client.exchange.why == "no free address in 192.0.2.0/24"


def test_auto_configure_says_nothing_to_a_client_that_gets_an_address(new_client: NewClient) -> None:
    client = new_client(make_engine(parameters=Parameters(auto_configure=False)))
    assert 116 not in client.discover(auto_config=1).options


def test_auto_configure_is_not_for_other_reasons_not_to_answer(new_client: NewClient) -> None:
    """A client that is not ours, or that a plugin drops, is not told anything."""
    said = Parameters(auto_configure=False)
    denied = new_client(make_engine(classes=[Class("all", deny=True, test="pkt4.htype == 1")], parameters=said))
    assert denied.discover(auto_config=1) is None
    far = new_client(make_engine(parameters=said), giaddr="203.0.113.1")
    assert far.discover(auto_config=1) is None


def test_a_server_without_addresses_is_still_loud(new_client: NewClient, caplog: pytest.LogCaptureFixture) -> None:
    """Who looks at the log for clients without an address finds this one, too."""
    client = nothing_free(new_client, parameters=Parameters(auto_configure=False))
    client.discover(auto_config=1)
    for level in (logging.INFO, logging.WARNING):
        caplog.clear()
        with caplog.at_level(level, "aiodhcp.leases"):
            Reports().finished(client.exchange)
        assert caplog.messages == [
            "unserved - client=02:00:00:00:00:02 message=DISCOVER why='no free address in 192.0.2.0/24' on=eth0"
        ]


# ── RFC 8925: IPv6 only preferred ──


@pytest.mark.parametrize("always", [(), ("v6-only-preferred",)])
def test_ipv6_only_is_for_who_asks(new_client: NewClient, always: tuple[str, ...]) -> None:
    """RFC 8925 §3.3: MUST NOT be there unless the client asks; the choice is its own, so it gets an address, too."""
    told = Parameters({"v6-only-preferred": 1800}, always_send=always)
    client = new_client(make_engine(parameters=told))
    offer = client.discover(parameter_request_list=[1, 108])
    assert (offer.options["v6-only-preferred"], dotted(offer.yiaddr)) == (1800, "192.0.2.10")
    assert 108 not in client.discover(parameter_request_list=[1]).options
    assert 108 not in client.discover().options


# ── how long a server hesitates ──


def after(client: Client, secs: int) -> Packet | None:
    """The reply to a DISCOVER of a client that has been trying for so long."""
    packet = client.message(MessageType.DISCOVER)
    packet.secs = secs
    return client.send(packet)


@pytest.mark.parametrize(
    "config",
    [
        {"parameters": Parameters(min_secs=4)},
        {"classes": [Class("all", Parameters(min_secs=4), test="pkt4.htype == 1")]},
        {"reservations": [Reservation("02:00:00:00:00:01", parameters=Parameters(min_secs=4))]},
    ],
    ids=["server", "class", "reservation"],
)
def test_min_secs(new_client: NewClient, config: dict[str, object]) -> None:
    """As dhcpd's min-secs: the first server may answer first. Who has a lease is not kept waiting."""
    client = new_client(make_engine(**config))
    assert after(client, 3) is None
    assert (client.exchange.reason, client.exchange.why) == (DropReason.GEN_FAILURE, "secs is 3, and min-secs 4")
    offer = after(client, 4)
    assert offer.message_type == OFFER
    assert client.request(offer).message_type == ACK
    assert client.renew().message_type == ACK


def test_min_secs_of_one_subnet(new_client: NewClient) -> None:
    slow = make_subnet(parameters=Parameters(min_secs=4))
    engine = make_engine(slow, make_subnet("198.51.100.10", network="198.51.100.0/24"))
    assert new_client(engine).discover() is None
    assert new_client(engine, giaddr="198.51.100.1").discover() is not None


@pytest.mark.parametrize("secs", [-1, 65536, "4"])
def test_min_secs_is_a_number_that_secs_can_have(secs: object) -> None:
    with pytest.raises(ValueError, match=r"^min_secs: expected 0 to 65535 seconds, got "):
        Parameters(min_secs=secs)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", [{"min_secs": 4}, {"auto_configure": True}])
def test_what_counts_before_an_address_is_chosen_is_not_for_a_pool(said: dict[str, int]) -> None:
    (name,) = said
    with pytest.raises(ValueError, match=f"^{name}: is not for a pool, because it counts before an address is chosen$"):
        Pool("192.0.2.10", Parameters(**said))


# ── times and their bounds ──


@pytest.mark.parametrize(
    ("key", "value", "most"),
    [("offer_time", 0, 86400), ("offer_time", 86401, 86400), ("decline_time", INFINITE, 31536000)],
)
def test_nothing_is_kept_for_nobody_for_ever(key: str, value: int, most: int) -> None:
    with pytest.raises(ValueError, match=f"^{key}: expected 1 to {most} seconds, got {value}$"):
        Config(**{key: value})
    assert getattr(Config(**{key: most}), key) == most


def test_a_lease_time_above_the_longest_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^lease_time: expected at most max-lease-time, 60, got 61$"):
        Parameters(lease_time=61, max_lease_time=60)


def test_the_lease_time_and_the_longest_of_two_levels(new_client: NewClient) -> None:
    """Each is right where it was said: the less specific one gives way."""
    shortened = make_engine(make_subnet(parameters=Parameters(max_lease_time=600)))
    assert new_client(shortened).discover().options["lease-time"] == 600
    general = Parameters(lease_time=600, max_lease_time=1200)
    lengthened = make_engine(make_subnet(parameters=Parameters(lease_time=3600)), parameters=general)
    assert new_client(lengthened).discover(lease_time=7200).options["lease-time"] == 3600


def test_as_a_configuration_file_has_them(new_client: NewClient) -> None:
    settings = Configuration.of(
        {
            **CONFIGURATION,
            "rapid-commit": True,
            "auto-configure": False,
            "subnet": [{"subnet": "192.0.2.0/24", "pools": ["192.0.2.10-192.0.2.20"], "min-secs": 2}],
        }
    )
    config = settings.config()
    assert (config.parameters.rapid_commit, config.parameters.auto_configure) == (True, False)
    assert config.subnets[0].parameters.min_secs == 2
