"""What clients are called, and what they are told of that (RFC 4702)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client import Client, make_engine, make_subnet

from aiodhcp import ConfigError, Engine, Fqdn, MessageType, Parameters, Pool, Reservation, Settings
from aiodhcp.dnsnames import FqdnFlag

NewClient = Callable[..., Client]
S, O, E, N = FqdnFlag.S, FqdnFlag.O, FqdnFlag.E, FqdnFlag.N  # noqa: E741 - the RFC's letters
HOST = b"\4host"
TEST = b"\7example\4test"


def naming(*, never_send: Any = (), options: Any = None, always_send: Any = (), **fqdn: Any) -> Engine:
    """A server that does that with names."""
    return make_engine(
        parameters=Parameters(options=options or {}, fqdn=Fqdn(**fqdn), never_send=never_send, always_send=always_send)
    )


def told(engine: Engine, new_client: NewClient, option: bytes, **more: Any) -> tuple[bytes | None, str | None]:
    """What a client is told that sends those octets, in OFFER and ACK, and the name of its lease."""
    client = new_client(engine, client_fqdn=option, **more)
    offer = client.discover()
    ack = client.request(offer)
    assert ack.message_type == MessageType.ACK, client.exchange.why
    assert offer.options.raw.get(81) == ack.options.raw.get(81)
    return ack.options.raw.get(81), client.exchange.lease_after.hostname


# ── the flags ──


@pytest.mark.parametrize(
    ("settings", "sent", "flags"),
    [
        ({}, 0, N),
        ({}, S, N | O),
        ({}, N, N),
        ({"updates": "none", "override_client": True, "override_no_update": True}, S, N | O),
        ({"updates": "none", "override_no_update": True}, N, N),
        ({"updates": "client"}, 0, 0),
        ({"updates": "client"}, S, O),
        ({"updates": "client"}, N, N),
        ({"updates": "client", "override_client": True}, 0, 0),
        ({"updates": "client", "override_no_update": True}, N, 0),
        ({"updates": "server"}, 0, 0),
        ({"updates": "server"}, S, S),
        ({"updates": "server"}, N, N),
        ({"updates": "server", "override_client": True}, 0, S | O),
        ({"updates": "server", "override_client": True}, S, S),
        ({"updates": "server", "override_client": True}, N, N),
        ({"updates": "server", "override_no_update": True}, N, S | O),
        ({"updates": "server", "override_no_update": True}, 0, 0),
        # RFC 4702 §2.1: a client that says N must not say S. Nothing is updated, and its S is contradicted.
        ({"updates": "server"}, N | S, N | O),
        # The client's O and what must be zero change nothing, and do not come back.
        ({"updates": "server"}, 0xF0 | O, 0),
    ],
)
def test_flags(new_client: NewClient, settings: dict[str, Any], sent: int, flags: int) -> None:
    engine = naming(**settings)
    for form, name in ((E, HOST + TEST + b"\0"), (0, b"host.example.test")):
        option, hostname = told(engine, new_client, bytes((sent | form, 7, 9)) + name)
        assert option == bytes((flags | form, 255, 255)) + name
        assert hostname == "host.example.test"


# ── the name ──

LONG = b"\x3f" + b"a" * 63


@pytest.mark.parametrize(
    ("settings", "form", "sent", "name"),
    [
        # RFC 4702 §2.3.1: without the root at the end it is a partial name, which stays one, or is completed.
        ({}, E, HOST, HOST),
        ({"suffix": "example.test"}, E, HOST, HOST + TEST + b"\0"),
        ({"suffix": "example.test."}, E, HOST + b"\3sub", HOST + b"\3sub" + TEST + b"\0"),
        ({"suffix": "example.test"}, E, HOST + b"\0", HOST + b"\0"),
        ({"suffix": "example.test"}, E, HOST + b"\3net\0", HOST + b"\3net\0"),
        ({"suffix": ""}, E, HOST, HOST),
        # In ASCII, one without a dot.
        ({}, 0, b"host", b"host"),
        ({}, 0, b"host\0", b"host"),
        ({"suffix": "example.test"}, 0, b"host", b"host.example.test"),
        ({"suffix": "example.test"}, 0, b"host.net", b"host.net"),
        ({"suffix": "example.test"}, 0, b"host.", b"host."),
        # None: the client asks for one.
        ({}, E, b"", b""),
        ({}, E, b"\0", b""),
        ({"suffix": "example.test"}, 0, b"", b""),
        ({"replace": "when-not-present"}, 0, b"", b"host-192-0-2-10"),
        ({"replace": "when-not-present", "suffix": "t"}, E, b"\0", b"\x0fhost-192-0-2-10\1t\0"),
        ({"replace": "always"}, 0, b"", b"host-192-0-2-10"),
        ({"replace": "when-present"}, 0, b"", b""),
        # One that is replaced.
        ({"replace": "when-present", "prefix": "pc"}, 0, b"me.net", b"pc-192-0-2-10"),
        ({"replace": "always", "suffix": "a.b"}, 0, b"me", b"host-192-0-2-10.a.b"),
        ({"replace": "when-not-present"}, 0, b"me", b"me"),
        ({"replace": "never"}, 0, b"me", b"me"),
        # What no host name has.
        ({}, 0, b"J\xc3\xbcrgen's PC", b"J-rgen-s-PC"),
        ({"char_replacement": ""}, 0, b"J\xc3\xbcrgen's PC", b"JrgensPC"),
        ({"char_replacement": "x"}, E, b"\5a b.c\1d\0", b"\5axbxc\1d\0"),
        ({}, 0, b"my_pc-1", b"my_pc-1"),
        ({}, 0, b"..-a-..b.", b"a.b"),
        ({}, E, b"\3---\1b", b"\1b"),
        ({}, 0, b"???", b""),
        ({"replace": "when-not-present"}, 0, b"???", b"host-192-0-2-10"),
        ({}, 0, b"a" * 62 + b"--b", b"a" * 62),
        ({}, E, b"\4a\0\0b", b"\3a-b"),
        # Too long.
        ({}, 0, b".".join([b"a" * 63] * 4), b""),
        ({}, 0, b".".join([b"a" * 63] * 3 + [b"b" * 61]), b".".join([b"a" * 63] * 3 + [b"b" * 61])),
        ({"suffix": "example.test"}, E, LONG * 3 + HOST * 10, b""),
    ],
)
def test_names(new_client: NewClient, settings: dict[str, Any], form: int, sent: bytes, name: bytes) -> None:
    option, hostname = told(naming(**settings), new_client, bytes((form, 0, 0)) + sent, maximum_message_size=1500)
    assert option is not None
    assert option[3:] == name
    text = name.decode() if not form else ".".join(labels(name))
    assert (hostname or "") == text.removesuffix(".")


def labels(wire: bytes) -> list[str]:
    found = []
    while wire and wire[0]:
        found.append(wire[1 : 1 + wire[0]].decode())
        wire = wire[1 + wire[0] :]
    return found


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\4\0",
        b"\4\0\0\5host",
        b"\4\0\0\x40" + b"a" * 64,
        b"\4\0\0\xc0\0",
        b"\4\0\0\4host\0\0",
        b"\4\0\0\4host\0\4more",
        b"\4\0\0" + (b"\1a" * 150),
        b"\4\0\0" + (b"\0" * 300),
        b"\xff" * 400,
    ],
)
def test_what_can_not_be_read_harms_nothing(new_client: NewClient, octets: bytes) -> None:
    """It is as if it were not there: option 12 counts."""
    engine = naming(suffix="example.test")
    assert told(engine, new_client, octets, host_name="pc") == (None, "pc.example.test")
    assert told(naming(), new_client, octets, host_name="pc") == (None, "pc")
    assert told(naming(), new_client, octets) == (None, None)


# ── beside other options and messages ──


def test_who_is_answered(new_client: NewClient) -> None:
    """Who sent it in a DISCOVER or REQUEST, whether or not it asks for the option; and in no NAK."""
    engine = naming(suffix="example.test")
    client = new_client(engine, parameter_request_list=[1, 81])
    assert 81 not in client.join().options
    assert client.exchange.lease_after.hostname is None
    client = new_client(engine, parameter_request_list=[1], client_fqdn=(0, 0, 0, "pc"), client_id=b"\0me")
    for reply in (client.discover(), client.join(), client.renew(), client.rebind(), client.reboot()):
        assert reply.options["client-fqdn"] == (N, 255, 255, "pc.example.test")
        assert list(reply.options)[-2:] == [81, 61]
    assert 81 not in client.inform("192.0.2.10").options
    assert client.reboot("198.51.100.1").options.keys() == {53, 54, 56, 61}


def test_an_ack_to_a_discover_has_it(new_client: NewClient) -> None:
    client = new_client(make_engine(parameters=Parameters(rapid_commit=True)), client_fqdn=(0, 0, 0, "pc"))
    ack = client.discover(rapid_commit=True)
    assert (ack.message_type, ack.options["client-fqdn"][3]) == (MessageType.ACK, "pc")
    assert client.exchange.lease_after.hostname == "pc"


def test_it_may_be_left_out(new_client: NewClient) -> None:
    """The name of the lease is the same."""
    engine = naming(never_send=["client-fqdn"], suffix="example.test")
    assert told(engine, new_client, b"\0\0\0pc") == (None, "pc.example.test")


def test_relay_agent_information_stays_last_and_comes_first(new_client: NewClient) -> None:
    """Where there is no room for all of it, the relay agent's is given back."""
    option = b"\0\0\0" + b"a" * 60
    client = new_client(client_fqdn=option, giaddr="192.0.2.254", relay_agent_information={1: b"eth7"})
    assert list(client.join().options)[-2:] == [81, 82]
    client = new_client(client_fqdn=option, giaddr="192.0.2.254", relay_agent_information={1: b"e" * 220})
    ack = client.join()
    assert 82 in ack.options
    assert 81 not in ack.options
    words = {fact.what: fact.words for fact in client.exchange.explain()}
    assert words["option client-fqdn"] == "left out: no room for it in the message"


def test_the_name_comes_before_the_host_name(new_client: NewClient) -> None:
    """RFC 4702 §3.1."""
    assert told(make_engine(), new_client, b"\0\0\0one.test", host_name="two")[1] == "one.test"
    assert told(naming(suffix="test"), new_client, b"\0\0\0one", host_name="two")[1] == "one.test"
    # An empty one is none.
    assert told(naming(suffix="test"), new_client, b"\0\0\0", host_name="two") == (b"\x08\xff\xff", None)


@pytest.mark.parametrize(
    ("always", "more", "sent"),
    [
        ((), {}, False),
        ((), {"parameter_request_list": [1, 15]}, False),
        ((), {"parameter_request_list": [1, 12]}, True),
        (("host-name",), {}, True),
    ],
)
def test_no_host_name_beside_it_unless_asked_for(new_client: NewClient, always: Any, more: Any, sent: bool) -> None:
    engine = naming(options={"host-name": "yours", "domain-name": "example.test"}, always_send=always)
    for option, expected in ((b"\0\0\0pc", sent), (b"\4\0\0\xff", sent or not more), (b"\0\0\0pc", sent)):
        ack = new_client(engine, client_fqdn=option, **more).join()
        assert (12 in ack.options) == expected
        assert 15 in ack.options or more.get("parameter_request_list") == [1, 12]


# ── clients without option 81 ──


@pytest.mark.parametrize(
    ("settings", "host_name", "hostname"),
    [
        ({"suffix": "example.test"}, "pc", "pc.example.test"),
        ({"suffix": "example.test"}, "pc.net", "pc.net"),
        ({"suffix": "example.test"}, None, None),
        ({"replace": "when-not-present"}, None, "host-192-0-2-10"),
        ({"replace": "when-present"}, "pc", "host-192-0-2-10"),
        ({"char_replacement": "-"}, "a pc", "a-pc"),
        ({}, "a pc", "a pc"),
    ],
)
def test_the_host_name_alone(new_client: NewClient, settings: Any, host_name: Any, hostname: Any) -> None:
    client = new_client(naming(**settings), host_name=host_name)
    assert 81 not in client.join().options
    assert client.exchange.lease_after.hostname == hostname


def test_a_client_that_says_nothing_more_keeps_its_name(new_client: NewClient) -> None:
    client = new_client(naming(suffix="test"))
    client.join(host_name="pc")
    client.renew()
    assert client.exchange.lease_after.hostname == "pc.test"
    client.renew(client_fqdn=(0, 0, 0, "new"))
    assert client.exchange.lease_after.hostname == "new.test"


def test_a_bootp_client_keeps_to_its_host_name(new_client: NewClient) -> None:
    client = new_client(make_engine(bootp="dynamic", parameters=Parameters(fqdn=Fqdn(suffix="test"))))
    packet = client.message(MessageType.DISCOVER, host_name="pc", client_fqdn=(0, 0, 0, "other"))
    del packet.options["message-type"]
    reply = client.send(packet)
    assert 81 not in reply.options
    assert client.exchange.lease_after.hostname == "pc"


# ── where it is said ──


def test_at_each_level(new_client: NewClient) -> None:
    """Each key by itself: the most specific counts."""
    mine = Reservation("02:00:00:00:00:01", parameters=Parameters(fqdn=Fqdn(prefix="mine")))
    pool = Pool("192.0.2.10-192.0.2.20", Parameters(fqdn=Fqdn(replace="always")))
    subnet = make_subnet(pool, reservations=[mine], parameters=Parameters(fqdn=Fqdn(suffix="sub.test")))
    engine = make_engine(subnet, parameters=Parameters(fqdn=Fqdn(updates="server", suffix="test", prefix="all")))
    assert told(engine, new_client, b"\1\0\0pc")[0] == b"\1\xff\xffmine-192-0-2-10.sub.test"
    assert told(engine, new_client, b"\1\0\0pc")[0] == b"\1\xff\xffall-192-0-2-11.sub.test"


def test_the_name_that_is_reserved(new_client: NewClient) -> None:
    mine = Reservation("02:00:00:00:00:01", parameters=Parameters(options={"host-name": "printer"}))
    always = Parameters(fqdn=Fqdn(replace="always", suffix="test"))
    engine = make_engine(make_subnet(reservations=[mine], parameters=always))
    assert told(engine, new_client, b"\0\0\0pc") == (b"\x08\xff\xffprinter.test", "printer.test")
    other = new_client(engine)
    other.join()
    assert other.exchange.lease_after.hostname == "host-192-0-2-11.test"


def test_an_address_that_is_in_use_gives_no_name(new_client: NewClient) -> None:
    """RFC 2563: the client is told that there is no address, and no name that was made of one."""
    parameters = Parameters(fqdn=Fqdn(replace="always"), auto_configure=True)
    engine = make_engine(make_subnet("192.0.2.10", conflict_probe="arp"), parameters=parameters)
    client = new_client(engine, client_fqdn=(0, 0, 0, ""), auto_config=1)
    client.discover()
    exchange = client.exchange
    engine.conflict(exchange, "somebody")
    engine.decide(exchange)
    engine.answer(exchange)
    assert client.hear(exchange).options.keys() == {53, 54, 116}


def test_the_configuration() -> None:
    table = {
        "updates": "server",
        "override-client": True,
        "override-no-update": True,
        "suffix": "example.test.",
        "replace": "when-present",
        "prefix": "pc",
        "char-replacement": "",
    }
    settings = Settings.of({"transport": {"type": "udp"}, "fqdn": table, "class": [{"name": "a", "fqdn": table}]})
    fqdn = Fqdn("server", True, True, "example.test", "when-present", "pc", "")
    assert settings.config().parameters.fqdn == fqdn
    assert settings.config().classes[0].parameters.fqdn == fqdn


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("updates", "maybe", "expected 'none', 'client' or 'server', got 'maybe'"),
        ("replace", "x", "expected 'never', 'when-present', 'when-not-present' or 'always', got 'x'"),
        ("suffix", "a..b", "expected domain name of at most 253 characters, each label 1..63, given 'a..b'"),
        ("prefix", "-", "expected 1 to 47 letters, digits and inner hyphens, got '-'"),
        ("prefix", "a" * 48, "expected 1 to 47 letters, digits and inner hyphens, got "),
        ("char-replacement", "ab", "expected a letter, a digit, '-', '_' or nothing, got 'ab'"),
        ("char-replacement", ".", "expected a letter, a digit, '-', '_' or nothing, got '.'"),
        ("override", True, "there is no such key"),
    ],
)
def test_what_is_wrong_is_said(key: str, value: object, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.of({"transport": {"type": "udp"}, "fqdn": {key: value}})
    assert f"fqdn.{key}: {why}" in str(error.value)


@pytest.mark.parametrize("name", ["updates", "replace"])
def test_no_other_word_for_it(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected 'n"):
        Fqdn(**{name: "x"})  # type: ignore[arg-type]


def test_the_option_is_not_for_configuring() -> None:
    with pytest.raises(ValueError, match=r"^options\.client-fqdn: can't be set as an option: set fqdn"):
        Parameters(options={"client-fqdn": (0, 0, 0, "x")})
