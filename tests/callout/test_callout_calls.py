"""Each hook of a C callout: when it is called, and with what. The packets are those of real conversations."""

from __future__ import annotations

import ctypes

import pytest
from client import LINK, Client, conversation, make_subnet, number, settle
from plugin_kit import plugin

from aiodhcp import ControlCode, DropReason, Interface, Parameters, Reservation
from aiodhcp.callout.abi import ServerOptionsTable

HERE = "c0000201"
"""192.0.2.1, where packets arrive, as an integer in hexadecimal."""
ALL = {
    "dhcp_control",
    "dhcp_new_pkt",
    "dhcp_pkt_drop",
    "dhcp_pkt_send",
    "dhcp_address_del",
    "dhcp_address_offer",
    "dhcp_handle_options",
    "dhcp_delete_client",
}


# ── the order ──


def test_a_callout_that_has_all_hooks_is_a_plugin_that_has_all_hooks(trap):
    callout = trap()
    assert callout.callouts.hooks == ALL
    assert {name for name in dir(callout.plugin) if name.startswith("dhcp_")} == ALL


def test_the_hooks_of_a_lease_come_in_the_promised_order(trap, talk_to):
    callout = trap()
    talk_to(callout).join()
    assert callout.calls == [
        *("new_pkt", "handle_options", "pkt_send code=10000000", "pkt_drop code=b"),
        "new_pkt",
        "handle_options",
        "address_offer code=30000001",
        "pkt_send code=10000000",
        "pkt_drop code=b",
    ]


def test_every_packet_that_was_new_is_processed_once_and_nothing_comes_after(trap, talk_to):
    callout = trap("context")
    client = talk_to(callout)
    conversation(client)  # the last of it is rubbish, too short to be shown
    assert callout.calls.count("new_pkt") == 16
    assert callout.calls.count("pkt_drop code=b") == 16
    contexts = [told["context"] for told in callout.told("pkt_drop") if told["code"] == "b"]
    assert all(int(context) for context in contexts)
    assert callout.kept == 0


def test_nothing_reserved_is_passed(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    conversation(client)
    for hook in ("new_pkt", "pkt_drop", "pkt_send", "address_del", "address_offer", "handle_options", "delete_client"):
        assert {told["reserved"] for told in callout.told(hook)} == {"0"}, hook


# ── one by one ──


def test_control(trap, talk_to, run):
    callout = trap()
    hooks = talk_to(callout).engine.hooks
    for code in (ControlCode.START, ControlCode.PAUSE, ControlCode.CONTINUE):
        run(hooks.control(None, code))
    assert callout.lines[2:] == [f"control code={code} reserved=0" for code in (1, 3, 4)]


def test_new_pkt(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    message = client.message(1)
    client.send(message)
    assert callout.told("new_pkt") == [
        {"size": str(len(bytes(message))), "ip": HERE, "reserved": "0", "context": "0", "process": "1"}
    ]


@pytest.mark.parametrize(
    ("interface", "destination", "expected"),
    [
        (LINK, 0xFFFFFFFF, "c0000201"),
        (Interface("eth0", (number("192.0.2.1"), number("192.0.2.2"))), number("192.0.2.2"), "c0000202"),
        (Interface("eth0", (number("192.0.2.1"),)), number("198.51.100.1"), "c0000201"),
        (Interface("udp"), 0xFFFFFFFF, "00000000"),
    ],
    ids=["the first", "the one it was sent to", "not one of ours", "none"],
)
def test_the_address_is_that_of_the_receiving_interface_as_a_number(trap, talk_to, interface, destination, expected):
    callout = trap()
    client = talk_to(callout, server_id="192.0.2.1")
    client.interface = interface
    client.send(client.message(1), destination=destination)
    assert callout.told("new_pkt")[0]["ip"] == expected
    assert callout.told("pkt_drop")[-1]["ip"] == expected


def test_the_packet_is_the_message_with_its_nuls(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    message = bytes(client.message(1, client_identifier=b"\0a\0\0b\0"))
    client.send(message)
    # PROCESSED comes last, and is given the request.
    assert callout.packet == message.ljust(4096, b"\0")


def test_pkt_drop_has_the_reason_then_processed(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    client.request(client.discover(), server_identifier="192.0.2.9")
    assert [told["code"] for told in callout.told("pkt_drop")[1:]] == [f"{DropReason.WRONG_SERVER:x}", "b"]


@pytest.mark.parametrize("size", [0, 12, 239, 4097, 9000])
def test_a_packet_that_is_too_short_or_too_long_for_a_callout_is_not_shown_to_it(trap, talk_to, size):
    callout = trap()
    client = talk_to(callout)
    client.send(b"\1" * size)
    assert client.exchange.reason == DropReason.INVALID
    assert callout.calls == []


def test_a_malformed_packet_is_dropped_as_invalid_and_processed(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    client.send(b"\1" * 240)
    assert callout.calls == ["pkt_drop code=8", "pkt_drop code=b"]
    assert callout.packet == (b"\1" * 240).ljust(4096, b"\0")


def test_a_packet_that_comes_while_the_server_is_paused_is_dropped_as_paused(trap, talk_to, clock, run):
    callout = trap()
    client = talk_to(callout)

    async def refuse():
        exchange = client.engine.refuse(client.datagram(client.message(1)), clock(), DropReason.PAUSED, "paused")
        client.engine.finish(exchange)
        await settle(exchange)

    run(refuse())
    assert callout.calls == ["pkt_drop code=6", "pkt_drop code=b"]
    assert callout.told("pkt_drop")[0]["context"] == "0"


def test_pkt_send_has_the_reply(trap, talk_to):
    callout = trap("only_send")
    client = talk_to(callout)
    client.discover()
    assert callout.told("pkt_send") == [
        {"code": "10000000", "size": str(len(client.answer.data)), "ip": HERE, "reserved": "0", "context": "0"}
    ]
    assert callout.packet.startswith(client.answer.data)


def test_address_del_declined_released_and_refused(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    client.join()
    client.release()
    client.join()
    client.decline()
    client.reboot("203.0.113.9")
    client.reboot("192.0.2.98", client_identifier=b"\0nobody")
    told = [(each["code"], each["address"], each["ip"]) for each in callout.told("address_del")]
    assert told == [
        ("20000003", "c000020a", HERE),
        ("20000002", "c000020a", HERE),
        ("20000004", "cb007109", HERE),
    ]


def test_address_del_conflict(trap, talk_to, clock, run):
    callout = trap()
    client = talk_to(callout, subnets=[make_subnet(conflict_probe="icmp")])

    async def probe():
        exchange = client.engine.arrive(client.datagram(client.message(1)), clock())
        await settle(exchange)
        client.engine.decide(exchange)
        assert exchange.probe == number("192.0.2.10")
        client.engine.conflict(exchange, "somebody answers")
        await settle(exchange)

    run(probe())
    (told,) = callout.told("address_del")
    assert (told["code"], told["address"]) == ("20000001", "c000020a")


def test_address_offer_for_an_ack_and_a_renewal_but_no_offer_and_no_inform(trap, talk_to):
    callout = trap()
    client = talk_to(callout, parameters=Parameters(lease_time=600))
    client.join()
    client.renew()
    client.inform()
    assert [(each["code"], each["address"], each["type"], each["time"]) for each in callout.told("address_offer")] == [
        ("30000001", "c000020a", "30000004", "600"),
        ("30000002", "c000020a", "30000004", "600"),
    ]


def test_address_offer_for_a_bootp_reply(trap, talk_to):
    callout = trap()
    subnet = make_subnet(reservations=[Reservation("02:00:00:00:00:01", address="192.0.2.200")])
    client = talk_to(callout, subnets=[subnet])
    client.send(client.message(None))
    (told,) = callout.told("address_offer")
    assert (told["type"], told["address"], told["time"]) == ("30000003", "c00002c8", "4294967295")


def test_delete_client(trap, talk_to):
    callout = trap()
    client = talk_to(callout)
    client.join()
    client.release()
    assert callout.told("delete_client") == [{"ip": "c000020a", "length": "6", "reserved": "0", "type": "0"}]


def test_delete_client_of_a_lease_that_expires_has_the_hardware_address(trap, talk_to, clock, run):
    callout = trap()
    client = talk_to(callout)
    client.join()
    clock.advance(10_000_000)

    async def tick():
        for pending in client.engine.tick(clock())[1]:
            await pending

    run(tick())
    assert callout.calls[-1] == "delete_client"
    # So many octets that whoever reads sixteen of them reads nothing else.
    assert callout.packet[:17] == bytes.fromhex("020000000001") + bytes(11)


# ── handle_options ──


def told_options(callout) -> dict[str, str]:
    """The fields that a callout saw, in hexadecimal; in order."""
    names = {name for name, _ in ServerOptionsTable._fields_}
    return {line.split()[0]: "".join(line.split()[1:]) for line in callout.lines if line.split()[0] in names}


def test_handle_options_points_into_the_packet_in_network_order(trap, talk_to):
    callout = trap("options")
    client = talk_to(callout)
    client.discover(
        subnet_mask="255.255.255.0",
        requested_address="10.0.0.9",
        lease_time=600,
        routers=["192.0.2.1", "192.0.2.2"],
        server_identifier="192.0.2.7",
        parameter_request_list=[1, 3, 6, 15],
        host_name="pc-17",
        vendor_class_identifier="MSFT 5.0",
        user_class=[b"lab"],
    )
    seen = told_options(callout)
    assert seen == {
        "MessageType": "01",
        "SubnetMask": "ffffff00",
        "RequestedAddress": "0a000009",
        "RequestLeaseTime": "00000258",
        "OverlayFields": "NULL/1",
        "RouterAddress": "c0000201",
        "Server": "c0000207",
        "ParameterRequestList": "0103060f",
        "MachineName": b"pc-17".hex(),
        "ClientHardwareAddressType": "1",
        "ClientHardwareAddress": "020000000001",
        "ClassIdentifier": b"\3lab".hex(),
        "VendorClass": b"MSFT 5.0".hex(),
        "DNSFlags": "0",
        "DNSName": "NULL/0",
        "DSDomainNameRequested": "0",
        "DSDomainName": "NULL/0",
        "ScopeId": "NULL/4",
    }
    # As a number it is read on a machine of the other byte order.
    assert "number 0900000a inside=1" in callout.lines


def test_an_option_that_is_not_there_is_null_and_has_length_0(trap, talk_to):
    callout = trap("options")
    client = talk_to(callout)
    client.discover()
    table = callout.options
    there = {"MessageType", "ClientHardwareAddress"}
    for name, kind in ServerOptionsTable._fields_:
        value = getattr(table, name)
        if kind is ctypes.c_void_p:
            assert (value is not None) == (name in there), name
        elif name.startswith("ClientHardwareAddress"):
            assert value in (1, 6)
        else:
            assert value == 0, name


def test_the_name_of_option_81_and_the_question_for_a_domain(trap, talk_to):
    callout = trap("options")
    client = talk_to(callout)
    client.send(_with_options(client, b"\x51\x08\5\0\0pc-17" + b"\x2b\x09\x5e\0\x5f\5abcde"))
    seen = told_options(callout)
    assert (seen["DNSFlags"], seen["DNSName"]) == ("5", b"pc-17".hex())
    assert (seen["DSDomainNameRequested"], seen["DSDomainName"]) == ("1", b"abcde".hex())


def test_an_option_in_pieces_is_put_together(trap, talk_to):
    callout = trap("options")
    client = talk_to(callout)
    client.send(_with_options(client, b"\x0c\2pc\x3c\1A\x0c\3-17"))
    assert told_options(callout)["MachineName"] == b"pc-17".hex()


def test_options_in_sname_and_file_are_found(trap, talk_to):
    callout = trap("options")
    client = talk_to(callout)
    packet = bytearray(_with_options(client, b"\x34\1\3"))
    packet[44:48] = b"\x0c\2pc"
    packet[108:112] = b"\x3c\2AB"
    client.send(bytes(packet))
    seen = told_options(callout)
    assert (seen["OverlayFields"], seen["MachineName"], seen["VendorClass"]) == ("03", b"pc".hex(), b"AB".hex())


def _with_options(client: Client, octets: bytes) -> bytes:
    return bytes(client.message(1)).removesuffix(b"\xff") + octets + b"\xff"


def test_what_an_earlier_plugin_edited_is_what_a_callout_sees(trap, talk_to):
    def edit(packet):
        packet.options["host-name"] = "edited"

    callout = trap("options")
    talk_to(plugin("editor", dhcp_new_pkt=edit), callout).discover(host_name="pc-17")
    assert told_options(callout)["MachineName"] == b"edited".hex()


def test_processed_comes_also_for_a_packet_that_another_plugin_wrecked(trap, talk_to):
    def wreck(packet):
        packet.sname = 7

    callout = trap("context")
    client = talk_to(callout, plugin("wrecker", dhcp_pkt_send=wreck))
    client.discover()
    assert callout.calls[-1] == "pkt_drop code=b"
    assert callout.packet.startswith(client.exchange.datagram.data)
    assert callout.kept == 0
