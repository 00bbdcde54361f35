"""What a plugin changes: the request, the classes, the reply; a veto; and what becomes of nonsense."""

from __future__ import annotations

import asyncio

import pytest
from client import AsyncClient, Client, dotted, make_engine, number
from plugin_kit import ALL_HOOKS, broken, error_lines, plugin, talk

from aiodhcp import Class, Drop, DropReason, Options, Packet, Parameters
from aiodhcp.constants import MAXIMUM_LENGTH


def listener(calls: list) -> object:
    """A plugin that notes the reasons of ``dhcp_pkt_drop``."""
    return plugin("listener", dhcp_pkt_drop=lambda reason: calls.append(reason))


# ── the request, edited or replaced ──


def test_an_edited_request_is_taken_as_if_it_had_come_like_that(clock):
    seen = []

    def edit(packet):
        packet.options["requested-address"] = "192.0.2.77"
        packet.chaddr = b"\2\0\0\0\0\x63"

    client = talk(
        clock,
        plugin("editor", dhcp_new_pkt=edit),
        plugin("reader", dhcp_handle_options=lambda options: seen.append(str(options["requested-address"]))),
    )
    offer = client.discover()
    assert dotted(offer.yiaddr) == "192.0.2.77"
    assert offer.chaddr == b"\2\0\0\0\0\x63"
    assert client.exchange.client == b"\1\2\0\0\0\0\x63"
    assert seen == ["192.0.2.77"]


def test_an_edit_of_a_fixed_field_alone_counts(clock):
    def edit(packet):
        packet.xid = 7

    client = talk(clock, plugin(dhcp_new_pkt=edit))
    assert client.discover().xid == 7


def test_fresh_options_count(clock):
    def edit(packet):
        packet.options = Options({**packet.options.raw, 50: b"\xc0\0\2\x4d"})

    assert dotted(talk(clock, plugin(dhcp_new_pkt=edit)).discover().yiaddr) == "192.0.2.77"


def made(packet: Packet) -> Packet:
    return Packet(
        op=1, hrd=1, hln=6, xid=packet.xid, chaddr=packet.chaddr, options={53: b"\1", 50: b"\xc0\0\2\x4d"}, file=b"",
        sname=b""
    )  # fmt: skip


@pytest.mark.parametrize("replace", [made, lambda packet: Packet(bytes(made(packet)))], ids=["made", "decoded"])
def test_a_replaced_request_counts_whether_made_or_decoded(clock, replace):
    """Later plugins, too, are given the new one."""
    seen = []
    client = talk(
        clock,
        plugin("a", dhcp_new_pkt=replace),
        plugin("b", dhcp_new_pkt=lambda packet: seen.append(packet)),
        plugin("c", dhcp_pkt_send=lambda packet: seen.append(packet)),
    )
    assert dotted(client.discover().yiaddr) == "192.0.2.77"
    assert seen == [client.exchange.packet] * 2
    assert dotted(int(seen[0].options["requested-address"])) == "192.0.2.77"


def test_a_request_is_not_read_again_when_nobody_changed_it(clock, monkeypatch):
    client = talk(clock, plugin("a", dhcp_new_pkt=lambda packet: packet.options.get("host-name")))
    monkeypatch.setattr(Packet, "encode", broken)
    client.send(made_for(client))
    assert client.exchange.answer is not None


def made_for(client: Client) -> bytes:
    """A DISCOVER in octets, for when ``Packet`` can't encode."""
    chaddr = client.chaddr.ljust(16, b"\0")
    return b"\1\1\6\0" + bytes(24) + chaddr + bytes(192) + b"\x63\x82\x53\x63\x35\1\1\xff"


def wreck_xid(packet):
    packet.xid = -1


def wreck_chaddr(packet):
    packet.chaddr = "02:00:00:00:00:01"


def wreck_hlen(packet):
    packet.hln = 17


def wreck_options(packet):
    packet.options = None


def wreck_file(packet):
    packet.file = None


def wreck_raw(packet):
    packet.options.raw[53] = "DISCOVER"
    packet.xid = 7


def wreck_size(packet):
    packet.options[224] = bytes(5000)


WRECKS = [wreck_xid, wreck_chaddr, wreck_hlen, wreck_options, wreck_file, wreck_raw, wreck_size]


@pytest.mark.parametrize("wreck", WRECKS)
def test_a_request_that_a_plugin_wrecked_is_dropped(clock, wreck):
    reasons = []
    client = talk(
        clock,
        plugin("bad", dhcp_new_pkt=wreck),
        plugin("after", dhcp_handle_options=broken),
        listener(reasons),
    )
    assert client.discover() is None
    assert client.exchange.reason == DropReason.INVALID
    assert client.exchange.why.startswith("as a plugin left it: ")
    assert reasons == [DropReason.INVALID, DropReason.PROCESSED]
    assert client.engine.hooks.failures == {}


def test_who_wrecks_what_is_not_a_plugins_costs_one_packet(clock, caplog):
    def wreck(exchange):
        exchange.yiaddr = "192.0.2.10"

    reasons = []
    client = talk(clock, plugin("bad", dhcp_address_offer=wreck), listener(reasons))
    offer = client.discover()
    reasons.clear()
    assert client.request(offer) is None
    assert client.exchange.reason == DropReason.INTERNAL_ERROR
    assert reasons == [DropReason.INTERNAL_ERROR, DropReason.PROCESSED]
    assert len(error_lines(caplog)) == 1


# ── classes ──


@pytest.mark.parametrize("hook", ["dhcp_new_pkt", "dhcp_handle_options"])
def test_a_plugin_puts_clients_into_classes(clock, hook):
    phones = Class("phones", Parameters(options={"domain-name": "phones.example"}))
    sorter = plugin(**{hook: lambda exchange: exchange.classes.add("phones")})
    assert talk(clock, sorter, classes=[phones]).join().options["domain-name"] == "phones.example"


def test_a_client_may_be_in_several_classes(clock):
    classes = [Class(name, Parameters(options={code: b"x"})) for name, code in (("a", 224), ("b", 225), ("c", 226))]
    one = plugin("one", dhcp_new_pkt=lambda exchange: exchange.classes.add("c"))
    two = plugin("two", dhcp_handle_options=lambda exchange: exchange.classes.add("a"))
    ack = talk(clock, one, two, classes=classes).join()
    assert [code for code in ack.options if code >= 224] == [224, 226]


# ── the reply, edited or replaced ──


def test_an_edited_reply_is_sent_as_edited(clock):
    def edit(reply):
        reply.options["domain-name"] = "edited.example"
        reply.siaddr = number("192.0.2.69")

    client = talk(clock, plugin(dhcp_pkt_send=edit))
    offer = client.discover()
    assert offer.options["domain-name"] == "edited.example"
    assert offer.siaddr == number("192.0.2.69")
    assert len(client.answer.data) == 300
    assert client.answer.destination == number("192.0.2.10")


@pytest.mark.parametrize("replace", [made, lambda packet: Packet(bytes(made(packet)))], ids=["made", "decoded"])
def test_a_replaced_reply_is_sent_whether_made_or_decoded(clock, replace):
    seen = []
    client = talk(
        clock,
        plugin("a", dhcp_pkt_send=lambda packet: replace(packet)),
        plugin("b", dhcp_pkt_send=lambda reply: seen.append(reply)),
    )
    client.discover()
    assert client.answer.data.rstrip(b"\0") == bytes(made(client.exchange.packet)).rstrip(b"\0")
    assert seen == [client.exchange.reply]


def test_a_reply_may_fill_the_longest_message(clock):
    def fill(reply):
        reply.options[224] = bytes(3700)

    client = talk(clock, plugin(dhcp_pkt_send=fill))
    assert client.discover().options.raw[224] == bytes(3700)
    assert len(client.answer.data) <= MAXIMUM_LENGTH


@pytest.mark.parametrize("wreck", WRECKS)
def test_a_reply_that_a_plugin_wrecked_is_sent_as_it_was(clock, caplog, wreck):
    plain = talk(clock)
    plain.discover()
    client = talk(clock, plugin("bad", dhcp_pkt_send=lambda reply: wreck(reply)))
    client.discover()
    assert client.answer.data == plain.answer.data
    (line,) = error_lines(caplog)
    assert line.startswith("plugin bad: dhcp_pkt_send left a reply that can't be sent, it leaves as it was: ")


# ── veto ──


def test_every_plugin_is_asked_and_no_veto_is_taken_back(clock):
    calls, reasons = [], []
    client = talk(
        clock,
        plugin("a", dhcp_new_pkt=lambda: calls.append("a")),
        plugin("b", dhcp_new_pkt=lambda: Drop("not on the list")),
        plugin("c", dhcp_new_pkt=lambda packet: calls.append("c") or packet),
        plugin("d", dhcp_handle_options=broken, dhcp_pkt_send=broken, dhcp_address_offer=broken),
        listener(reasons),
    )
    assert client.discover() is None
    assert calls == ["a", "c"]
    exchange = client.exchange
    assert (exchange.vetoed, exchange.dropped, exchange.reason) == (True, True, None)
    assert exchange.why == "vetoed by b: not on the list"
    assert reasons == [DropReason.PROCESSED]
    assert client.engine.vetoed == 1
    assert client.engine.dropped == {}
    assert client.engine.hooks.failures == {}


def test_a_veto_without_words(clock):
    client = talk(clock, plugin(dhcp_new_pkt=lambda: Drop()))
    client.discover()
    assert client.exchange.why == "vetoed by plugin"


def test_a_vetoed_packet_is_not_looked_at_again_however_it_was_left(clock):
    def veto(packet):
        wreck_xid(packet)
        return Drop()

    client = talk(clock, plugin(dhcp_new_pkt=veto))
    client.discover()
    assert client.exchange.reason is None


async def test_a_veto_that_takes_its_time(clock):
    async def veto():
        await asyncio.sleep(0.001)
        return Drop("the database says no")

    client = AsyncClient(make_engine(plugins=[plugin(dhcp_new_pkt=veto)]), clock)
    assert await client.discover() is None
    assert client.exchange.why == "vetoed by plugin: the database says no"


def test_a_reply_that_is_given_as_octets_leaves_as_these_octets(clock):
    """Also what they say twice, or in another way, or behind the end: somebody may have signed it."""
    given = []

    def replace(reply):
        octets = reply.raw.rstrip(b"\0") + b"behind the end"
        given.append(octets[:240] + b"\0\0" + octets[240:])
        return Packet(given[-1])

    client = talk(clock, plugin("signer", dhcp_pkt_send=replace))
    assert client.discover() is not None
    assert client.answer.data == given[0].ljust(300, b"\0")


# ── nonsense ──


@pytest.mark.parametrize("hook", [hook for hook in ALL_HOOKS if hook not in ("dhcp_new_pkt", "dhcp_pkt_send")])
@pytest.mark.parametrize("nonsense", [42, Drop("too late"), Packet(op=2)], ids=["42", "Drop", "Packet"])
def test_what_means_nothing_there_has_no_effect(clock, caplog, hook, nonsense):
    client = talk(clock, plugin("odd", **{hook: lambda: nonsense}))
    client.join()
    assert client.release() is None
    assert client.exchange.lease_after is not None
    assert client.engine.hooks.failures[("odd", hook)] >= 1
    assert f"plugin odd: {hook} returned {nonsense!r}, which means nothing there ({__file__}:" in caplog.text


@pytest.mark.parametrize(
    ("hook", "nonsense"), [("dhcp_new_pkt", False), ("dhcp_new_pkt", b""), ("dhcp_pkt_send", Drop("too late"))]
)
async def test_what_means_nothing_has_no_effect_when_awaited_either(clock, caplog, hook, nonsense):
    async def odd():
        return nonsense

    engine = make_engine(plugins=[plugin("odd", **{hook: odd})])
    assert await AsyncClient(engine, clock).discover() is not None
    assert engine.hooks.failures == {("odd", hook): 1}
    assert "which means nothing there" in caplog.text
