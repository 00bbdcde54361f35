"""What a C callout may do to a packet, and what becomes of it; vetoes and contexts. Judged by real replies."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from client import conversation, settle
from plugin_kit import error_lines, plugin

from aiodhcp import Drop, DropReason, MessageType, Packet, Plugin, Policy
from aiodhcp.callout import ON_FAULT

TRAP = b"trap"
"""What traps.c puts into option 224."""


# ── replies ──


@pytest.mark.parametrize("how", ["append", "replace"])
def test_a_reply_grows_in_place_or_in_another_buffer(trap, talk_to, how):
    callout = trap(f"pkt_send:{how}")
    client = talk_to(callout)
    plain = len(talk_to().discover().options.raw)
    offer = client.discover()
    assert offer.options.raw[224] == TRAP
    assert len(offer.options.raw) == plain + 1
    assert client.join().options.raw[224] == TRAP
    assert not callout.plugin.rejected


def test_a_replaced_buffer_is_copied_at_once(trap, talk_to):
    """The callout fills it with something else in the next call, before the reply leaves."""
    callout = trap("pkt_send:replace pkt_drop:spoil_replaced")
    assert talk_to(callout).discover().options.raw[224] == TRAP


def test_a_reply_may_fill_the_buffer(trap, talk_to):
    callout = trap("pkt_send:full")
    client = talk_to(callout)
    offer = client.discover()
    assert offer.message_type == MessageType.OFFER
    assert offer.options.raw[224] == TRAP
    assert len(offer.options.raw[225]) > 3000
    assert 3800 < len(client.answer.data) <= 4096


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("huge", "PacketSize is 70000"),
        ("replace_huge", "PacketSize is 4097"),
        ("empty", "0 octets"),
        ("short", "239 octets"),
        ("null", "Packet is NULL"),
        ("garbage", "no magic cookie"),
        ("scribble", "no magic cookie"),
    ],
)
def test_a_reply_that_cannot_be_taken_leaves_as_it_was(trap, talk_to, caplog, how, words):
    callout = trap(f"pkt_send:{how}")
    expected = bytes(talk_to().discover())
    client = talk_to(callout)
    assert bytes(client.discover()) == expected
    assert callout.plugin.rejected == {"dhcp_pkt_send": 1}
    (line,) = error_lines(caplog)
    assert line.startswith("callout traps: dhcp_pkt_send left what can't be taken: ")
    assert words in line


def test_what_is_always_wrong_is_logged_once_and_counted(trap, talk_to, caplog):
    callout = trap("pkt_send:huge")
    client = talk_to(callout)
    for _ in range(9):
        assert client.discover() is not None
    assert len(error_lines(caplog)) == 1
    assert client.discover() is not None
    assert len(error_lines(caplog)) == 2
    assert callout.plugin.rejected == {"dhcp_pkt_send": 10}


def test_a_reply_that_is_left_alone_is_not_encoded_again(trap, talk_to):
    client = talk_to(trap())
    plain = talk_to()
    client.discover()
    plain.discover()
    assert client.answer.data == plain.answer.data
    assert client.exchange.edited_reply is None


def test_the_next_callout_sees_the_reply_of_the_one_before(trap, talk_to):
    first, second = trap("pkt_send:append", "first"), trap("", "second")
    client = talk_to(first, second)
    client.discover()
    assert int(second.told("pkt_send")[0]["size"]) >= 300
    offer = client.exchange.answer.data
    assert TRAP in offer


# ── requests ──


@pytest.mark.parametrize("how", ["append", "replace", "full"])
def test_an_edited_request_counts_as_if_it_had_come_like_that(trap, talk_to, how):
    callout, reader = trap(f"new_pkt:{how}", "editor"), trap("", "reader")
    client = talk_to(callout, reader)
    offer = client.discover()
    assert offer.message_type == MessageType.OFFER
    assert client.exchange.received[224] == TRAP
    assert client.exchange.packet.options.raw[224] == TRAP
    assert TRAP in reader.packet
    if how == "full":
        assert int(reader.told("new_pkt")[0]["size"]) <= 4096


@pytest.mark.parametrize("how", ["huge", "replace_huge", "empty", "short", "null", "garbage", "scribble"])
def test_a_request_that_cannot_be_taken_stays_as_it_was(trap, talk_to, how):
    callout = trap(f"new_pkt:{how}")
    client = talk_to(callout)
    assert client.discover().message_type == MessageType.OFFER
    assert client.exchange.edited is None
    assert callout.plugin.rejected == {"dhcp_new_pkt": 1}
    assert callout.packet.startswith(client.exchange.datagram.data)


def test_a_veto_counts_even_if_the_packet_is_spoilt(trap, talk_to):
    callout = trap("new_pkt:garbage veto")
    client = talk_to(callout)
    assert client.discover() is None
    assert client.exchange.vetoed


@pytest.mark.parametrize("hook", ["pkt_drop", "address_del", "address_offer", "handle_options"])
def test_writing_where_nothing_may_be_changed_changes_nothing(trap, talk_to, hook):
    """All 4096 octets are its own all the same."""
    told = [(repr(each), each.answer and each.answer.data) for each in conversation(talk_to())]
    callout = trap(f"{hook}:scribble")
    client = talk_to(callout)
    assert [(repr(each), each.answer and each.answer.data) for each in conversation(client)] == told
    assert hook in " ".join(callout.calls)
    assert not callout.plugin.rejected


def test_behind_a_packet_there_is_nothing_of_others(trap, talk_to):
    callout = trap("only_send")
    client = talk_to(callout)
    client.discover(parameter_request_list=list(range(1, 200)))
    client.discover()
    assert callout.packet == client.answer.data.ljust(4096, b"\0")


# ── vetoes ──


def test_a_veto_ends_the_packet_and_only_processed_follows(trap, talk_to):
    callout = trap("veto")
    client = talk_to(callout)
    assert client.discover() is None
    assert client.exchange.vetoed
    assert client.exchange.why == "vetoed by traps"
    assert client.exchange.reason is None
    assert callout.calls == ["new_pkt", "pkt_drop code=b"]


@pytest.mark.parametrize("order", [("veto", "allow"), ("allow", "veto")])
def test_vetoes_are_anded_and_everybody_is_asked(trap, talk_to, order):
    callouts = [trap(words, words) for words in order]
    client = talk_to(*callouts)
    assert client.discover() is None
    for callout in callouts:
        assert callout.calls == ["new_pkt", "pkt_drop code=b"]
        # What one says, the other doesn't see.
        assert callout.told("new_pkt")[0]["process"] == "1"


def test_any_other_number_than_0_is_true(trap, talk_to):
    assert talk_to(trap("allow")).discover() is not None


def test_a_veto_of_python_ends_the_packet_for_c(trap, talk_to):
    callout = trap()
    assert talk_to(plugin("python", dhcp_new_pkt=lambda packet: Drop("no")), callout).discover() is None
    assert callout.calls == ["new_pkt", "pkt_drop code=b"]


def test_what_is_vetoed_is_processed_as_it_was_edited(trap, talk_to):
    callout = trap("new_pkt:append veto")
    talk_to(callout).discover()
    assert callout.calls == ["new_pkt", "pkt_drop code=b"]
    assert TRAP in callout.packet


# ── contexts ──


def test_the_context_of_a_packet_is_given_to_its_later_hooks_by_value(trap, talk_to):
    callout = trap("wide_context")
    client = talk_to(callout)
    client.join()
    client.release()
    for hook in ("pkt_drop", "pkt_send", "address_offer", "handle_options", "address_del"):
        assert {told["context"] for told in callout.told(hook)} == {"1"}, hook
    assert {told["context"] for told in callout.told("new_pkt")} == {"0"}


def test_contexts_of_packets_that_overlap_are_their_own(trap, talk_to, new_client, clock, run):
    callout = trap("context")
    engine = talk_to(callout).engine
    clients = [new_client(engine) for _ in range(3)]

    async def overlap():
        arrived = [engine.arrive(each.datagram(each.message(MessageType.DISCOVER)), clock()) for each in clients]
        for exchange in arrived:
            await settle(exchange)
        assert callout.kept == 3
        for exchange in reversed(arrived):
            engine.decide(exchange)
            for step in (engine.answer, engine.finish):
                step(exchange)
                await settle(exchange)

    run(overlap())
    assert [told["context"] for told in callout.told("handle_options")] == ["1", "2", "3"]
    assert [told["context"] for told in callout.told("pkt_send")] == ["3", "2", "1"]
    assert [told["context"] for told in callout.told("pkt_drop")] == ["3", "2", "1"]
    assert callout.kept == 0


def test_two_callouts_each_have_a_context_of_their_own(trap, talk_to):
    """With a chain in C there is one slot: the second would have overwritten the first, which would leak."""
    callouts = [trap("context", name) for name in ("one", "two")]
    talk_to(*callouts).join()
    for callout in callouts:
        assert [told["context"] for told in callout.told("pkt_send")] == ["1", "1"]
        assert callout.kept == 0


def test_without_new_pkt_the_context_is_null(trap, talk_to):
    callout = trap("only_send")
    talk_to(callout).discover()
    assert callout.told("pkt_send")[0]["context"] == "0"


def test_contexts_of_vetoed_packets_are_freed(trap, talk_to):
    callout = trap("context veto")
    client = talk_to(callout)
    for _ in range(3):
        client.discover()
    assert callout.kept == 0


# ── numbers that mean nothing, and plugins that only watch ──


def test_what_a_hook_returns_is_ignored_and_said_once(trap, talk_to, caplog):
    callout = trap("nonzero")
    expected = bytes(talk_to().discover())
    client = talk_to(callout)
    with caplog.at_level(logging.WARNING, "aiodhcp.callout"):
        assert bytes(client.discover()) == expected
        client.discover()
    assert sum("dhcp_new_pkt returned 7" in line for line in caplog.messages) == 1
    assert callout.callouts.results["dhcp_new_pkt"] == 2


def test_a_callout_in_shadow_mode_changes_nothing_and_its_contexts_are_freed(trap, talk_to, run):
    callout = trap("context pkt_send:append veto")
    expected = bytes(talk_to().discover())
    client = talk_to(Plugin(callout.plugin, policy=Policy(shadow=True)))
    assert bytes(client.discover()) == expected

    async def seen():  # nobody waits for who only watches
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    run(seen())
    notes = [(note.hook, note.would) for note in client.engine.hooks.shadow_notes]
    assert ("dhcp_pkt_send", "reply: option 224") in notes
    assert notes[0][0] == "dhcp_new_pkt"
    assert callout.kept == 0


# ── faults ──


@pytest.mark.parametrize(("on_fault", "answered"), [("open", True), ("closed", False)])
def test_on_fault_says_what_becomes_of_a_packet_whose_callout_faults(trap, talk_to, mode, on_fault, answered):
    """Where a fault would end this process, a call that is made too late stands for it."""
    callout = trap("" if mode == "inline" else "new_pkt:fault")
    client = talk_to(Plugin(callout.plugin, policy=ON_FAULT[on_fault]))
    if mode == "inline":
        callout.callouts.close()
    assert (client.discover() is not None) == answered
    assert client.exchange.reason == (None if answered else DropReason.INTERNAL_ERROR)


IN_A_PROCESS = pytest.mark.parametrize("mode", ["process", "wine"], indirect=True)
"""In this one, only Windows makes an error of a fault."""


@IN_A_PROCESS
@pytest.mark.parametrize(
    "hook", ["new_pkt", "handle_options", "address_del", "address_offer", "pkt_send", "pkt_drop"], ids=str
)
def test_clients_notice_nothing_of_a_fault_whatever_the_hook(trap, talk_to, hook):
    def replies(client):
        return [bytes(client.join()), bytes(client.reboot("203.0.113.9"))]

    expected = replies(talk_to())
    callout = trap(f"{hook}:fault")
    client = talk_to(callout)
    assert replies(client) == expected
    faults = callout.callouts.faults
    assert faults.keys() == {f"dhcp_{hook}"}
    assert faults.total() == len([call for call in callout.calls if call.startswith(hook)])


@IN_A_PROCESS
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fault", "SIGSEGV|80|faulted|access violation"),
        ("exit", "7"),
        ("abort", "SIGABRT|3"),
        ("hang", r"it did not return within 0\.5 s"),
    ],
)
def test_how_a_callout_ends_its_process_is_said(trap, talk_to, caplog, how, words):
    callout = trap(f"new_pkt:{how}", deadline=0.5)
    client = talk_to(callout)
    assert client.discover() is not None
    assert any(re.search(rf"traps: dhcp_new_pkt\b.*({words})", line) for line in error_lines(caplog))


def test_a_packet_that_another_plugin_made_is_encoded_for_a_callout(trap, talk_to):
    def made(packet):
        return Packet(
            op=1, hrd=1, hln=6, xid=7, chaddr=packet.chaddr, options={53: b"\1", 12: b"made"}, file=b"", sname=b""
        )

    callout = trap()
    client = talk_to(plugin("maker", dhcp_new_pkt=made), callout)
    assert client.discover().xid == 7
    assert b"\x0c\4made" in callout.packet
