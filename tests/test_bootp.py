"""BOOTP clients (RFC 951, RFC 1534, RFC 1542): no message type, one request and one reply, an address for ever."""

from __future__ import annotations

import logging
import struct

import pytest
from client import Client, dotted, make_engine, make_subnet, number
from plugin_kit import plugin

from aiodhcp import (
    AddressKind,
    AddressProblem,
    Class,
    ClientType,
    Config,
    DropReason,
    LeaseState,
    MessageType,
    Packet,
    Parameters,
    Reservation,
    Use,
)
from aiodhcp.constants import BOOTP_REPLY, INFINITE
from aiodhcp.leases import NEVER

COOKIE = bytes((99, 130, 83, 99))
MINE = "02:00:00:00:00:01"
BROADCAST = 0xFFFFFFFF


def request(
    mac: str = MINE,
    *,
    vendor: bytes = b"\xff",
    length: int = 300,
    flags: int = 0,
    ciaddr: str = "0.0.0.0",
    giaddr: int = 0,
) -> bytes:
    """A BOOTREQUEST octet by octet (RFC 951 §3): 300 of them, with the magic cookie of RFC 1497."""
    chaddr = bytes.fromhex(mac.replace(":", ""))
    fixed = struct.pack("!4BIHH4I16s", 1, 1, 6, 0, 7, 3, flags, number(ciaddr), 0, 0, giaddr, chaddr)
    return (fixed + bytes(192) + COOKIE + vendor).ljust(length, b"\0")


def boot(client: Client, **fields) -> Packet | None:
    """The reply to a BOOTREQUEST of this client."""
    source = number(fields.get("ciaddr", "0.0.0.0"))
    return client.send(request(client.chaddr.hex(), giaddr=client.giaddr, **fields), source=source)


def server(*plugins: object, bootp: str = "dynamic", **more):
    return make_engine(make_subnet(**more), plugins=plugins, bootp=bootp)


@pytest.fixture
def client(clock) -> Client:
    """A client of a server that gives addresses to all BOOTP clients."""
    return Client(server(), clock)


# ── who is served ──


def test_one_request_and_one_reply(client, clock):
    reply = boot(client)
    assert (reply.op, reply.hrd, reply.hln, reply.xid) == (2, 1, 6, 7)
    assert dotted(reply.yiaddr) == "192.0.2.10"
    assert reply.chaddr == client.chaddr
    assert reply.message_type is None
    assert client.exchange.reply_type == BOOTP_REPLY
    assert client.exchange.client_type == ClientType.BOOTP
    assert client.engine.received == {0: 1}
    assert client.engine.sent == {BOOTP_REPLY: 1}


def test_by_default_only_who_has_a_reserved_address_gets_one(clock):
    mine = Reservation(MINE, address="192.0.2.200")
    engine = make_engine(make_subnet(reservations=[mine, Reservation("02:00:00:00:00:02")]))
    assert dotted(boot(Client(engine, clock)).yiaddr) == "192.0.2.200"
    for mac in ("02:00:00:00:00:02", "02:00:00:00:00:03"):
        other = Client(engine, clock, mac)
        assert boot(other) is None
        assert other.exchange.reason == DropReason.UNAUTH
        assert other.exchange.why == "a BOOTP client without a reserved address"
    assert len(engine.leases) == 1


def test_a_reserved_address_may_be_found_by_a_plugin(clock):
    engine = server(plugin(reservation_lookup=lambda: Use("192.0.2.200")), bootp="reserved")
    assert dotted(boot(Client(engine, clock)).yiaddr) == "192.0.2.200"


def test_who_can_not_have_its_reserved_address_gets_no_other(clock):
    """It is on probation, say: what is reserved is what this client may have."""
    mine = Reservation(MINE, address="192.0.2.200")
    engine = make_engine(make_subnet(reservations=[mine]), decline_time=600)
    engine.addresses.decline(number("192.0.2.200"), 0, b"", clock())
    assert boot(Client(engine, clock)) is None
    assert len(engine.leases) == 1


def test_nobody_is_served_where_that_is_said(clock):
    client = Client(server(bootp="no", reservations=[Reservation(MINE, address="192.0.2.200")]), clock)
    assert boot(client) is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why == "no message type, and BOOTP is not answered"
    assert client.join() is not None


@pytest.mark.parametrize("bootp", ["no", "reserved", "dynamic"])
def test_a_message_type_that_can_not_be_read_is_no_bootp(clock, bootp):
    client = Client(server(bootp=bootp), clock)
    assert boot(client, vendor=b"\x35\0\xff") is None
    assert client.exchange.why == "message type 0 is not for a server"
    assert client.exchange.client_type == ClientType.DHCP


@pytest.mark.parametrize(
    ("ours", "wanted", "answered"),
    [
        ("boot1", b"", True),
        ("boot1", b"boot1", True),
        ("boot1", b"BOOT1\0rest", True),
        ("boot1", b"boot2", False),
        ("boot1", b"\xff", False),
        (None, b"boot2", True),  # who has no name can't tell
    ],
)
def test_a_client_may_want_one_server_and_no_other(clock, ours, wanted, answered):
    """RFC 951 §7.3."""
    client = Client(make_engine(bootp="dynamic", parameters=Parameters(server_name=ours)), clock)
    packet = client.message(None)
    packet.sname = wanted
    assert (client.send(packet) is not None) is answered
    if not answered:
        assert client.exchange.reason == DropReason.WRONG_SERVER
        assert client.exchange.why.endswith("and this is 'boot1'")
    # What a DHCP client has there means nothing.
    packet = client.message(MessageType.DISCOVER)
    packet.sname = wanted
    assert client.send(packet) is not None


def test_what_bootp_may_be():
    with pytest.raises(ValueError, match="bootp: expected 'no', 'reserved' or 'dynamic', got 'yes'"):
        Config([], bootp="yes")


def test_no_address_is_left(clock):
    engine = make_engine(make_subnet("192.0.2.10"), bootp="dynamic")
    boot(Client(engine, clock))
    other = Client(engine, clock, "02:00:00:00:00:02")
    assert boot(other) is None
    assert other.exchange.reason == DropReason.NOADDRESS


def test_a_class_that_is_not_served(clock):
    sorter = plugin(dhcp_handle_options=lambda exchange: exchange.classes.add("old"))
    client = Client(make_engine(plugins=[sorter], bootp="dynamic", classes=[Class("old", deny=True)]), clock)
    assert boot(client) is None
    assert client.exchange.reason == DropReason.UNAUTH


# ── for ever ──


def test_the_lease_is_for_ever_and_always_the_same(client, clock):
    address = boot(client).yiaddr
    lease = client.engine.leases.get(address)
    assert (lease.state, lease.expires, lease.client) == (LeaseState.ACTIVE, NEVER, client.key)
    clock.advance(10 * 365 * 86400)
    assert client.engine.tick(clock()) == ([], [])
    assert boot(client).yiaddr == address
    assert client.engine.leases.get(address).starts == lease.starts


def test_a_dhcp_client_may_not_get_that_address(client, clock):
    boot(client)
    other = Client(client.engine, clock, "02:00:00:00:00:02")
    assert dotted(other.discover(requested_address="192.0.2.10").yiaddr) == "192.0.2.11"
    assert other.reboot("192.0.2.10") is None
    other.discover()
    nak = other.request(other.exchange.reply, requested_address="192.0.2.10")
    assert nak.message_type == MessageType.NAK


def test_nor_a_bootp_client_that_of_a_dhcp_client(client, clock):
    client.join()
    assert dotted(boot(Client(client.engine, clock, "02:00:00:00:00:02")).yiaddr) == "192.0.2.11"


def test_a_machine_that_boots_by_bootp_and_goes_on_with_dhcp_keeps_its_address(client, clock):
    address = boot(client).yiaddr
    ack = client.join()
    assert ack.yiaddr == address
    assert client.engine.leases.get(address).expires == clock() + 43200
    assert boot(client).yiaddr == address
    assert client.engine.leases.get(address).expires == NEVER


# ── what the reply is ──


def test_the_reply_has_nothing_that_is_dhcps(clock):
    """Nor options in ``file`` and ``sname``, which BOOTP has for names."""
    parameters = Parameters(
        lease_time=600, renewal_time=100, options={"routers": ["192.0.2.1"], 224: bytes(200), 225: bytes(200)}
    )
    client = Client(make_engine(parameters=parameters, bootp="dynamic", server_id="192.0.2.1"), clock)
    reply = boot(client)
    assert set(reply.options.raw) == {1, 3}
    assert reply.overload == b""
    assert (reply.sname.strip(b"\0"), reply.file.strip(b"\0")) == (b"", b"")
    assert client.exchange.lease_time == INFINITE


def test_names_are_where_bootp_has_them(clock):
    parameters = Parameters(next_server="192.0.2.69", server_name="boots", boot_file="pxelinux.0")
    client = Client(make_engine(parameters=parameters, bootp="dynamic"), clock)
    reply = boot(client)
    assert dotted(reply.siaddr) == "192.0.2.69"
    assert (reply.sname.rstrip(b"\0"), reply.file.rstrip(b"\0")) == (b"boots", b"pxelinux.0")


@pytest.mark.parametrize("length", [241, 300, 301, 400, 548])
def test_the_reply_has_300_octets_and_is_no_longer_than_the_request_if_that_is_longer(clock, caplog, length):
    options = {code: bytes(20) for code in range(224, 254)}
    client = Client(make_engine(parameters=Parameters(options=options), bootp="dynamic"), clock)
    with caplog.at_level(logging.WARNING, "aiodhcp"):
        reply = boot(client, length=length)
    assert 300 <= len(client.answer.data) <= max(length, 300)
    assert len(reply.options) == 1 + (max(length, 300) - 240 - 6 - 1) // 22
    assert "were left out" in caplog.text


def test_a_short_reply_is_filled_up(client):
    boot(client)
    assert len(client.answer.data) == 300


def test_a_request_that_lists_what_it_wants_gets_that(clock):
    parameters = Parameters(options={"routers": ["192.0.2.1"], "domain-name": "boot.example"})
    client = Client(make_engine(parameters=parameters, bootp="dynamic"), clock)
    assert set(boot(client, vendor=b"\x37\2\x0f\1\xff").options.raw) == {1, 15}


def test_a_host_name_is_remembered(client):
    boot(client, vendor=b"\x0c\5pc-17\xff")
    assert client.exchange.lease_after.hostname == "pc-17"


# ── where it goes ──


def test_to_the_address_it_got_without_asking_arp(client):
    boot(client)
    answer = client.answer
    assert (dotted(answer.destination), answer.port, answer.hardware) == ("192.0.2.10", 68, client.chaddr)


def test_by_broadcast_if_it_says_so(client):
    reply = boot(client, flags=0x8000)
    assert (client.answer.destination, client.answer.port, client.answer.hardware) == (BROADCAST, 68, None)
    assert reply.flags == 0x8000


def test_through_the_relay_agent_with_what_that_said(clock):
    relayed = Client(server(), clock, giaddr="192.0.2.5")
    reply = boot(relayed, vendor=b"\x52\6\1\4eth7\xff")
    assert (dotted(relayed.answer.destination), relayed.answer.port) == ("192.0.2.5", 67)
    assert dotted(reply.giaddr) == "192.0.2.5"
    assert list(reply.options.raw.items())[-1] == (82, b"\1\4eth7")


def test_the_subnet_is_that_of_the_relay_agent(clock):
    other = make_subnet("198.51.100.10", network="198.51.100.0/24")
    engine = make_engine(make_subnet(), other, bootp="dynamic")
    assert dotted(boot(Client(engine, clock, giaddr="198.51.100.1")).yiaddr) == "198.51.100.10"


def test_a_client_of_no_subnet(clock):
    client = Client(server(), clock, giaddr="203.0.113.1")
    assert boot(client) is None
    assert client.exchange.reason == DropReason.NO_SUBNETS


@pytest.mark.parametrize("bootp", ["reserved", "dynamic"])
def test_a_client_that_knows_its_address_only_gets_parameters(clock, bootp):
    """RFC 951 §7.3 and RFC 1542 §3.2: what is in ``ciaddr`` it answers to."""
    engine = make_engine(parameters=Parameters(boot_file="pxelinux.0"), bootp=bootp)
    client = Client(engine, clock)
    reply = boot(client, ciaddr="192.0.2.150")
    assert (dotted(reply.ciaddr), reply.yiaddr) == ("192.0.2.150", 0)
    assert reply.file.rstrip(b"\0") == b"pxelinux.0"
    assert (dotted(client.answer.destination), client.answer.port, client.answer.hardware) == ("192.0.2.150", 68, None)
    assert len(engine.leases) == 0
    assert client.exchange.kind is None


def test_nor_that_where_nobody_is_served(clock):
    assert boot(Client(server(bootp="no"), clock), ciaddr="192.0.2.150") is None


# ── what plugins hear ──


def test_dhcp_address_offer_tells_of_a_bootp_client_new_and_then_old(clock):
    seen = []

    def offered(kind, address, client_type, lease_time):
        seen.append((kind, str(address), client_type, lease_time))

    client = Client(server(plugin(dhcp_address_offer=offered)), clock)
    boot(client)
    boot(client)
    boot(client, ciaddr="192.0.2.10")
    assert seen == [
        (AddressKind.NEW, "192.0.2.10", ClientType.BOOTP, INFINITE),
        (AddressKind.OLD, "192.0.2.10", ClientType.BOOTP, INFINITE),
    ]


def test_a_dhcp_client_is_none(clock):
    seen = []
    client = Client(server(plugin(dhcp_address_offer=lambda client_type: seen.append(client_type))), clock)
    client.join()
    assert seen == [ClientType.DHCP]


def test_the_reply_may_be_edited(clock):
    def edit(packet, reply):
        assert packet.message_type is reply.message_type is None
        reply.options["domain-name"] = "edited.example"

    client = Client(server(plugin(dhcp_pkt_send=edit)), clock)
    assert boot(client).options["domain-name"] == "edited.example"
    assert len(client.answer.data) == 300


def test_a_race_that_another_server_won_leaves_it_unanswered(clock):
    """There is no NAK in BOOTP: a lost race must not be answered with one."""
    engine = server()
    client = Client(engine, clock)
    exchange = engine.arrive(client.datagram(request()), clock())
    engine.decide(exchange)
    winner = exchange.lease_after._replace(client=b"\1somebody", chaddr=b"\2\0\0\0\0\x99")
    engine.overruled(exchange, winner)
    engine.answer(exchange)
    assert exchange.answer is None
    assert exchange.problem != AddressProblem.NACKED


# ── RFC 951, before there was a magic cookie ──


def plain(client: Client, vend: bytes = bytes(64)) -> Packet | None:
    """The reply to a request of RFC 951: the vendor area is the client's own, or unused."""
    return client.send(request(client.chaddr.hex())[:236] + vend)


def test_a_request_without_the_magic_cookie(client):
    """RFC 951 §3: 300 octets, and nothing in the vendor area, neither there nor back."""
    reply = plain(client)
    assert dotted(reply.yiaddr) == "192.0.2.10"
    assert client.exchange.client_type == ClientType.BOOTP
    assert len(client.answer.data) == 300
    assert client.answer.data[236:] == bytes(64)
    assert client.exchange.packet.message_type is None
    assert boot(client).options.raw[1] == bytes((255, 255, 255, 0))


def test_a_request_without_the_magic_cookie_is_answered_where_bootp_is(clock):
    client = Client(server(bootp="no"), clock)
    assert plain(client) is None
    assert client.exchange.why == "no message type, and BOOTP is not answered"
    client = Client(server(bootp="reserved"), clock)
    assert plain(client) is None
    assert client.exchange.why == "a BOOTP client without a reserved address"


@pytest.mark.parametrize("vend", [bytes(63), b"CMU\0" + bytes(60)], ids=["short", "another magic number"])
def test_what_is_neither_bootp_nor_dhcp(client, vend):
    assert plain(client, vend) is None
    assert client.exchange.why.startswith("no magic cookie but ")


def test_the_vendor_area_has_64_octets(clock):
    """RFC 951 §3, RFC 1542 §2.1: the cookie, the mask, and what has room beside them."""
    told = Parameters({"routers": ["192.0.2.1"], "domain-name": "x" * 40, "host-name": "y" * 7})
    client = Client(server(parameters=told), clock)
    assert list(boot(client).options) == [1, 3, 15]
    assert len(client.answer.data) == 300
    assert client.exchange.left_out == (12,)
    assert list(boot(client, length=320).options) == [1, 3, 15, 12]
