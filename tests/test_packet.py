"""The packet: octets to fields and options and back, whatever the octets are.

First messages as clients send them, then what is special about options, then what holds for any bytes.
"""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiodhcp.constants import MAGIC_COOKIE, MessageType
from aiodhcp.errors import DecodeError
from aiodhcp.formats import NetworkInterface, Uuid
from aiodhcp.options import Options, SubOptions
from aiodhcp.packet import Packet, encode_options, option_bytes, scan_options
from aiodhcp.spaces import RELAY_AGENT

FIELDS = ("op", "hrd", "hln", "hops", "xid", "secs", "flags", "ciaddr", "yiaddr", "siaddr", "giaddr", "chaddr")
LAYOUT = struct.Struct("!4BIHH4I16s64s128s4s")


def octets(text: str) -> bytes:
    """Hexadecimal digits, with comments."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


def message(options: bytes = b"\xff", *, hlen: int = 6, sname: bytes = b"", file: bytes = b"") -> bytes:
    """A request from 02:00:00:00:00:01 with these octets behind the cookie, and in sname and file."""
    chaddr = bytes.fromhex("020000000001")
    return LAYOUT.pack(1, 1, hlen, 0, 7, 0, 0, 0, 0, 0, 0, chaddr, sname, file, MAGIC_COOKIE) + options


def fields(packet: Packet) -> tuple[Any, ...]:
    """The fixed fields that are the same however the options are laid out."""
    return tuple(getattr(packet, name) for name in FIELDS)


# ── messages as clients send them ──

WINDOWS_DISCOVER = octets(
    """
    01 01 06 00                                # BOOTREQUEST, Ethernet, hlen 6, hops 0
    3f 2a 91 c4                                # xid
    00 00 00 00                                # secs 0, flags 0: the reply may be a unicast
    00000000 00000000 00000000 00000000        # ciaddr, yiaddr, siaddr, giaddr
    00 15 5d 01 02 03                          # chaddr
    00000000000000000000                       # and its ten unused octets
    """
    + "00" * 64  # sname
    + "00" * 128  # file
    + """
    63 82 53 63                                # magic cookie
    35 01 01                                   # message type: DISCOVER
    3d 07 01 00 15 5d 01 02 03                 # client identifier: Ethernet, chaddr
    32 04 a9 fe 17 2a                          # requested address: 169.254.23.42
    0c 0f 44 45 53 4b 54 4f 50 2d 37 51 4b 32 4c 31 56 # host name: DESKTOP-7QK2L1V
    3c 08 4d 53 46 54 20 35 2e 30              # vendor class: MSFT 5.0
    37 0e 01 03 06 0f 1f 21 2b 2c 2e 2f 77 79 f9 fc    # parameter request list
    ff                                         # end
    """
)

UDHCPC_DISCOVER = octets(
    """
    01 01 06 00                                # BOOTREQUEST, Ethernet, hlen 6, hops 0
    8d 5e 00 17                                # xid
    00 03 00 00                                # secs 3, flags 0
    00000000 00000000 00000000 00000000        # ciaddr, yiaddr, siaddr, giaddr
    02 42 ac 11 00 02                          # chaddr
    00000000000000000000                       # and its ten unused octets
    """
    + "00" * 64  # sname
    + "00" * 128  # file
    + """
    63 82 53 63                                # magic cookie
    35 01 01                                   # message type: DISCOVER
    3d 07 01 02 42 ac 11 00 02                 # client identifier: Ethernet, chaddr
    39 02 02 40                                # maximum message size: 576
    37 07 01 03 06 0c 0f 1c 2a                 # parameter request list
    3c 0c 75 64 68 63 70 20 31 2e 33 36 2e 31  # vendor class: udhcp 1.36.1
    ff                                         # end
    """
).ljust(548, b"\0")  # 576 octets with the headers of IP and UDP

PXE_DISCOVER = octets(
    """
    01 01 06 00                                # BOOTREQUEST, Ethernet, hlen 6, hops 0
    2b d4 11 9a                                # xid: the last four octets of chaddr
    00 04 80 00                                # secs 4, flags: broadcast
    00000000 00000000 00000000 00000000        # ciaddr, yiaddr, siaddr, giaddr
    52 54 2b d4 11 9a                          # chaddr
    00000000000000000000                       # and its ten unused octets
    """
    + "00" * 64  # sname
    + "00" * 128  # file
    + """
    63 82 53 63                                # magic cookie
    35 01 01                                   # message type: DISCOVER
    37 18 01 02 03 05 06 0b 0c 0d 0f 10 11 12  # parameter request list, 24 codes
          2b 36 3c 43 80 81 82 83 84 85 86 87
    39 02 04 ec                                # maximum message size: 1260
    61 11 00 44454c4c-0001-1010-8020-b2c04f303230 # client UUID: type 0, 16 octets
    5d 02 00 00                                # client system architecture: x86 BIOS
    5e 03 01 02 01                             # network interface: UNDI 2.1
    3c 20 50584543 6c69656e 743a4172 63683a30 303030 30 3a # vendor class: PXEClient:Arch:00000:
          554e4449 3a303032 303031                         # UNDI:002001
    ff                                         # end
    """.replace("-", "")
).ljust(548, b"\0")

RELAYED_REQUEST = octets(
    """
    01 01 06 01                                # BOOTREQUEST, Ethernet, hlen 6, one hop
    3f 2a 91 c4                                # xid
    00 00 80 00                                # secs 0, flags: broadcast
    00000000 00000000 00000000                 # ciaddr, yiaddr, siaddr
    c0 00 02 01                                # giaddr: 192.0.2.1
    00 15 5d 01 02 03                          # chaddr
    00000000000000000000                       # and its ten unused octets
    """
    + "00" * 64  # sname
    + "00" * 128  # file
    + """
    63 82 53 63                                # magic cookie
    35 01 03                                   # message type: REQUEST
    3d 07 01 00 15 5d 01 02 03                 # client identifier: Ethernet, chaddr
    32 04 c0 00 02 0a                          # requested address: 192.0.2.10
    36 04 c0 00 02 02                          # server identifier: 192.0.2.2
    51 08 00 00 00 70 63 2d 31 37              # client FQDN: flags 0, in ASCII, pc-17
    e0 02 de ad                                # option 224: site-specific, unknown to us
    52 0a 01 04 76 31 30 30                    # relay agent information: circuit v100
          02 02 00 07                          # and remote id
    ff                                         # end
    """
)

FRAMES = [
    pytest.param(
        WINDOWS_DISCOVER,
        {"xid": 0x3F2A91C4, "secs": 0, "flags": 0, "giaddr": 0, "chaddr": bytes.fromhex("00155d010203")},
        {
            "message-type": MessageType.DISCOVER,
            "client-identifier": b"\1\x00\x15\x5d\1\2\3",
            "requested-address": IPv4Address("169.254.23.42"),
            "host-name": "DESKTOP-7QK2L1V",
            "vendor-class-identifier": "MSFT 5.0",
            "parameter-request-list": [1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252],
        },
        id="windows",
    ),
    pytest.param(
        UDHCPC_DISCOVER,
        {"xid": 0x8D5E0017, "secs": 3, "flags": 0, "giaddr": 0, "chaddr": bytes.fromhex("0242ac110002")},
        {
            "message-type": MessageType.DISCOVER,
            "client-identifier": b"\1\x02\x42\xac\x11\x00\x02",
            "maximum-message-size": 576,
            "parameter-request-list": [1, 3, 6, 12, 15, 28, 42],
            "vendor-class-identifier": "udhcp 1.36.1",
        },
        id="udhcpc",
    ),
    pytest.param(
        PXE_DISCOVER,
        {"xid": 0x2BD4119A, "secs": 4, "flags": 0x8000, "giaddr": 0, "chaddr": bytes.fromhex("52542bd4119a")},
        {
            "message-type": MessageType.DISCOVER,
            "parameter-request-list": [1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67, *range(128, 136)],
            "maximum-message-size": 1260,
            "client-uuid": Uuid(0, bytes.fromhex("44454c4c000110108020b2c04f303230")),
            "client-system-architecture": [0],
            "client-ndi": NetworkInterface(1, 2, 1),
            "vendor-class-identifier": "PXEClient:Arch:00000:UNDI:002001",
        },
        id="pxe",
    ),
    pytest.param(
        RELAYED_REQUEST,
        {"xid": 0x3F2A91C4, "hops": 1, "flags": 0x8000, "giaddr": 0xC0000201, "chaddr": b"\x00\x15\x5d\1\2\3"},
        {
            "message-type": MessageType.REQUEST,
            "client-identifier": b"\1\x00\x15\x5d\1\2\3",
            "requested-address": IPv4Address("192.0.2.10"),
            "server-identifier": IPv4Address("192.0.2.2"),
            "client-fqdn": (0, 0, 0, "pc-17"),
            "option-224": b"\xde\xad",
            "relay-agent-information": SubOptions({1: b"v100", 2: b"\0\7"}, RELAY_AGENT),
        },
        id="relayed",
    ),
]


@pytest.mark.parametrize(("frame", "header", "options"), FRAMES)
def test_decodes_what_clients_send(frame: bytes, header: dict[str, Any], options: dict[str, Any]) -> None:
    packet = Packet(frame)
    assert {name: getattr(packet, name) for name in header} == header
    assert packet.options.names() == options
    assert packet.message_type == options["message-type"]
    assert packet.raw == frame
    assert not packet.changed


@pytest.mark.parametrize(("frame", "header", "options"), FRAMES)
def test_encodes_it_as_it_came(frame: bytes, header: dict[str, Any], options: dict[str, Any]) -> None:
    # What some add behind the End is not part of the message.
    assert bytes(Packet(frame)).ljust(len(frame), b"\0") == frame


@pytest.mark.parametrize(("frame", "header", "options"), FRAMES)
def test_makes_the_same_message(frame: bytes, header: dict[str, Any], options: dict[str, Any]) -> None:
    packet = Packet(op=1, **header, options=options)
    assert bytes(packet).ljust(len(frame), b"\0") == frame
    assert packet.raw == b""
    assert packet.changed


@pytest.mark.parametrize(("frame", "header", "options"), FRAMES)
def test_agrees_with_dpkt(frame: bytes, header: dict[str, Any], options: dict[str, Any]) -> None:
    ours, theirs = Packet(frame), dpkt.dhcp.DHCP(frame)
    assert list(ours) == list(theirs)  # the fixed fields, names and values
    assert ours.opts == theirs.opts


# ── as dpkt users expect it ──


def test_is_dpkts_packet() -> None:
    packet = Packet(WINDOWS_DISCOVER)
    assert isinstance(packet, dpkt.dhcp.DHCP)
    assert packet.magic == dpkt.dhcp.DHCP_MAGIC
    assert (packet.op, packet.hrd, packet.hln) == (dpkt.dhcp.DHCP_OP_REQUEST, dpkt.arp.ARP_HRD_ETH, 6)
    assert (packet.htype, packet.hlen) == (1, 6)
    assert packet.opts[0] == (dpkt.dhcp.DHCP_OPT_MSGTYPE, b"\1")
    assert packet.data == b""


def test_packs_like_dpkts() -> None:
    packet = Packet(WINDOWS_DISCOVER)
    assert packet.pack_hdr() == WINDOWS_DISCOVER[:240]
    assert packet.pack_opts() == WINDOWS_DISCOVER[240:]
    assert packet.pack() == bytes(packet) == packet.encode() == WINDOWS_DISCOVER
    assert len(packet) == len(WINDOWS_DISCOVER)


def test_travels_in_dpkts_frames() -> None:
    packet = Packet(WINDOWS_DISCOVER)
    udp = dpkt.udp.UDP(sport=68, dport=67, data=packet)
    udp.ulen = len(udp)
    assert udp.ulen == 8 + len(WINDOWS_DISCOVER)
    assert udp[Packet] is packet
    assert Packet(dpkt.udp.UDP(bytes(udp)).data).opts == packet.opts


def test_unpack_starts_anew() -> None:
    packet = Packet(op=2, options={"host-name": "old"})
    packet.unpack(WINDOWS_DISCOVER)
    assert packet.op == 1
    assert packet.options["host-name"] == "DESKTOP-7QK2L1V"
    assert not packet.changed


def test_opts_can_be_replaced() -> None:
    packet = Packet(WINDOWS_DISCOVER)
    packet.opts = [(53, b"\3"), (12, b"pc")]
    assert packet.options.raw == {53: b"\3", 12: b"pc"}
    assert packet.changed


def test_opts_can_be_made_from_themselves() -> None:
    packet = Packet(WINDOWS_DISCOVER)
    packet.opts = ((code, value) for code, value in packet.options.raw.items() if code in (53, 61))
    assert packet.opts == [(53, b"\1"), (61, b"\1\x00\x15\x5d\1\2\3")]


def test_a_new_packet_has_dpkts_defaults() -> None:
    packet = Packet()
    assert list(packet) == list(dpkt.dhcp.DHCP())
    assert packet.opts == []
    assert bytes(packet)[236:] == MAGIC_COOKIE + b"\xff"


def test_rfc_names_write_through() -> None:
    packet = Packet(htype=6, hlen=8, chaddr=b"\1\2\3\4\5\6\7\x08")
    assert (packet.hrd, packet.hln) == (6, 8)
    assert bytes(packet)[1:3] == b"\x06\x08"
    assert packet.hardware_address == "01:02:03:04:05:06:07:08"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decodes_any_buffer(kind: Callable[[bytes], Any]) -> None:
    packet = Packet(kind(WINDOWS_DISCOVER))
    assert type(packet.raw) is bytes
    assert bytes(packet) == WINDOWS_DISCOVER


def test_is_true_and_says_what_it_is() -> None:
    packet = Packet(message(b"\x35\1\1\x0c\2pc\xff"))
    assert packet
    assert repr(packet) == str(packet)
    assert repr(packet) == (
        "<Packet DISCOVER xid=00000007 chaddr=02:00:00:00:00:01"
        " Options(message-type=<MessageType.DISCOVER: 1>, host-name='pc')>"
    )
    assert repr(Packet(message(b"\x35\1\x4d\xff"))).startswith("<Packet type 77 xid=")
    assert repr(Packet(message())) == "<Packet BOOTP xid=00000007 chaddr=02:00:00:00:00:01 Options()>"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        *((bytes((53, 1, each)), each) for each in MessageType),
        (b"\x35\1\x4d", 77),
        (b"\x35\1\x00", 0),
        (b"\x35\0", None),
        (b"\x35\2\1\1", None),
        (b"", None),
    ],
)
def test_message_type(option: bytes, expected: MessageType | int | None) -> None:
    found = Packet(message(option + b"\xff")).message_type
    assert found == expected
    assert type(found) is type(expected)


# ── changed ──


@pytest.mark.parametrize(
    "edit",
    [
        lambda packet: setattr(packet, "yiaddr", 1),
        lambda packet: setattr(packet, "hlen", 5),
        lambda packet: setattr(packet, "chaddr", b"\2\0\0\0\0\2"),
        lambda packet: setattr(packet, "file", b"boot"),
        lambda packet: packet.options.update({"host-name": "pc"}),
        lambda packet: packet.options.pop(53),
        lambda packet: packet.options.clear(),
        lambda packet: setattr(packet, "options", Options({53: b"\3"})),
    ],
)
def test_an_edit_is_seen(edit: Callable[[Packet], object]) -> None:
    packet = Packet(message(b"\x35\1\1\xff"))
    assert not packet.changed
    edit(packet)
    assert packet.changed
    assert bytes(packet) != packet.raw
    assert packet.raw == message(b"\x35\1\1\xff")


def test_reading_changes_nothing() -> None:
    packet = Packet(UDHCPC_DISCOVER)
    packet.options.names()
    assert packet.options.get("routers") is None
    bytes(packet)
    repr(packet)
    assert not packet.changed


def test_the_same_value_again_is_no_change_of_a_field() -> None:
    packet = Packet(UDHCPC_DISCOVER)
    packet.secs = 3
    assert not packet.changed


def test_a_copy_is_independent() -> None:
    packet = Packet(WINDOWS_DISCOVER)
    other = copy.deepcopy(packet)
    assert not other.changed
    other.options["host-name"] = "pc"
    assert other.changed
    assert not packet.changed
    assert packet.options["host-name"] == "DESKTOP-7QK2L1V"


# ── what is not a DHCP message ──


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "^0 octets: a DHCP message has 240 to 4096$"),
        (message()[:239], "^239 octets"),
        (message(b"\xff".ljust(3857, b"\0")), "^4097 octets"),
        (message().replace(MAGIC_COOKIE, b"\x63\x82\x53\x64"), "^no magic cookie but 63825364$"),
        (message(hlen=17), "^hlen is 17: chaddr has 16 octets$"),
        (message(hlen=255), "^hlen is 255"),
        (message(b"\x35\1\1\x0c"), "^option 12 at offset 243 has no length$"),
        (message(b"\x35\1\1\x0c\3pc"), "^option 12 at offset 243 runs 1 octets past the end of its field$"),
        (message(b"\x0c\xff"), "^option 12 at offset 240 runs 255 octets past"),
        (message(b"\x34\1\0\xff"), "^option overload is 00, not 01, 02 or 03$"),
        (message(b"\x34\1\4\xff"), "^option overload is 04"),
        (message(b"\x34\0\xff"), "^option overload is , not"),
        (message(b"\x34\1\1\x34\1\2\xff"), "^option overload is 0102"),
        (message(b"\x34\1\1\xff", file=b"\x0c\x7f"), "^option 12 at offset 108 runs 1 octets past"),
        (message(b"\x34\1\1\xff", file=b"\x0c\x7dpc".ljust(127, b"x") + b"\x0f"), "^option 15 at offset 235 has no"),
        (message(b"\x34\1\2\xff", sname=b"\x0c\x3f"), "^option 12 at offset 44 runs 1 octets past"),
        (message(b"\x34\1\3\xff", file=b"\xff", sname=b"\x0c\xff"), "^option 12 at offset 44 runs 193 octets past"),
    ],
)
def test_refuses(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        Packet(data)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (message(b""), {}),  # 240 octets
        (message(b"\0" * 3856), {}),  # 4096
        (message(b"\x35\1\1".ljust(3856, b"\0")), {53: b"\1"}),
        (message(b"\x35\1\1"), {53: b"\1"}),  # no End
        (message(b"\0\0\x35\1\1\0\x0c\2pc\0\xff"), {53: b"\1", 12: b"pc"}),  # pads between
        (message(b"\xff\x35\1\1"), {}),  # nothing counts after the End
        (message(b"\x35\1\1\xff\x0c"), {53: b"\1"}),
        (message(b"\x50\0\xff"), {80: b""}),  # an option of no octets
        (message(b"\xe0\2\xde\xad\xfe\0\xff"), {224: b"\xde\xad", 254: b""}),  # unknown ones
        (message(b"\x0c\2pc\x35\1\1\x0c\3-17\xff"), {12: b"pc-17", 53: b"\1"}),  # in pieces
        (message(b"\x35\1\1\xff", file=b"\x0c\xff", sname=b"\x0c\xff"), {53: b"\1"}),  # not overloaded
        (message(b"\x35\1\1\xff", hlen=16), {53: b"\1"}),
        (message(b"\x35\1\1\xff", hlen=0), {53: b"\1"}),
    ],
)
def test_forgives(data: bytes, options: dict[int, bytes]) -> None:
    packet = Packet(data)
    assert packet.opts == list(options.items())
    assert fields(Packet(bytes(packet))) == fields(packet)


@pytest.mark.parametrize(
    ("hlen", "chaddr"), [(0, ""), (1, "02"), (6, "02:00:00:00:00:01"), (16, "02:00:00:00:00:01" + ":00" * 10)]
)
def test_chaddr_has_hlen_octets(hlen: int, chaddr: str) -> None:
    packet = Packet(message(hlen=hlen))
    assert packet.hardware_address == chaddr
    assert packet.chaddr == bytes.fromhex(chaddr.replace(":", ""))


def test_an_option_that_makes_no_sense_stays_octets() -> None:
    packet = Packet(message(b"\x33\2ab\x0c\2pc\xff"))  # a lease time of two octets
    assert packet.options.raw[51] == b"ab"
    with pytest.raises(DecodeError, match="lease-time"):
        packet.options["lease-time"]
    assert packet.options["host-name"] == "pc"
    assert bytes(packet) == packet.raw


# ── option overload ──

SPREAD = [
    # options field, file, sname → option 52 and the others in the order they are read
    (b"\x34\1\1\x35\1\1\xff", b"\x0c\2pc\xff", b"server", 1, {53: b"\1", 12: b"pc"}),
    (b"\x34\1\2\x35\1\1\xff", b"boot", b"\x0c\2pc\xff", 2, {53: b"\1", 12: b"pc"}),
    (b"\x35\1\1\x34\1\3\xff", b"\x0f\2ex\xff", b"\x0c\2pc\xff", 3, {53: b"\1", 15: b"ex", 12: b"pc"}),
    (b"\x34\1\3", b"", b"", 3, {}),
    # RFC 3396 §5: one option whose pieces are in all three fields, file before sname
    (b"\x0c\1a\x34\1\3\x0c\1b\xff", b"\x0c\1c\xff", b"\x0c\1d\x0f\2ex\xff", 3, {12: b"abcd", 15: b"ex"}),
    # an overload option where it has no business
    (b"\x34\1\1\xff", b"\x34\1\2\x0c\2pc\xff", b"server", 1, {12: b"pc"}),
    # pads, and a field filled to its last octet without an End
    (b"\x34\1\3\xff", b"\0\x0c\x7d" + b"x" * 125, b"\x0f\x3e" + b"y" * 62, 3, {12: b"x" * 125, 15: b"y" * 62}),
]


@pytest.mark.parametrize(("main", "file", "sname", "overload", "options"), SPREAD)
def test_follows_overload(main: bytes, file: bytes, sname: bytes, overload: int, options: dict[int, bytes]) -> None:
    data = message(main, file=file, sname=sname)
    assert scan_options(data) == {52: bytes((overload,)), **options}
    packet = Packet(data)
    # Option 52 says how a message was laid out: it stays with the octets, not with the packet.
    assert packet.opts == list(options.items())
    assert not packet.changed
    for each in (packet, Packet(bytes(packet))):
        assert each.options.raw == options
        assert each.file.rstrip(b"\0") == (b"" if overload & 1 else file)
        assert each.sname.rstrip(b"\0") == (b"" if overload & 2 else sname)


def test_overload_begins_behind_chaddr() -> None:
    data = bytearray(message(b"\x34\1\2\xff", hlen=16, sname=b"\x0c\2pc\xff"))
    data[28:44] = b"\x0c" * 16
    assert Packet(bytes(data)).options.raw == {12: b"pc"}


@pytest.mark.parametrize(
    ("options", "file", "sname", "expected"),
    [
        # One octet too many for the field: the last option that doesn't fit moves, and 52 follows the message type.
        ([(53, b"\1"), (12, b"x" * 11)], True, True, (b"\x35\1\1\x34\1\1\xff", b"\x0c\x0bxxxxxxxxxxx\xff", b"")),
        ([(53, b"\1"), (12, b"x" * 11)], False, True, (b"\x35\1\1\x34\1\2\xff", b"", b"\x0c\x0bxxxxxxxxxxx\xff")),
        (
            [(53, b"\1"), (12, b"x" * 125), (15, b"y" * 61), (80, b"")],
            True,
            True,
            (
                b"\x35\1\1\x34\1\3\x50\0\xff",
                b"\x0c\x7d" + b"x" * 125 + b"\xff",
                b"\x0f\x3d" + b"y" * 61 + b"\xff",
            ),
        ),
        ([(12, b"x" * 20), (80, b"")], True, True, (b"\x34\1\1\x50\0\xff", b"\x0c\x14" + b"x" * 20 + b"\xff", b"")),
        # RFC 2132 §9.6 gives the message type one octet, but a packet may have any
        ([(53, b""), (12, b"x" * 20)], True, True, (b"\x35\0\x34\1\1\xff", b"\x0c\x14" + b"x" * 20 + b"\xff", b"")),
        ([(53, b"ab"), (12, b"x" * 20)], True, True, (b"\x35\2ab\x34\1\1\xff", b"\x0c\x14" + b"x" * 20 + b"\xff", b"")),
        # It fits: nothing moves.
        ([(53, b"\1"), (12, b"x" * 10)], True, True, (b"\x35\1\1\x0c\x0a" + b"x" * 10 + b"\xff", b"", b"")),
        ([], True, True, (b"\xff", b"", b"")),
        # Option 52 is made here and nowhere else.
        ([(52, b"\3"), (53, b"\1")], True, True, (b"\x35\1\1\xff", b"", b"")),
    ],
)
def test_overloads(
    options: list[tuple[int, bytes]], file: bool, sname: bool, expected: tuple[bytes, bytes, bytes]
) -> None:
    assert encode_options(options, 16, file=file, sname=sname) == (*expected, [])


@pytest.mark.parametrize(
    ("options", "file", "sname", "expected"),
    [
        # Without room elsewhere the first ones win, and a smaller one may still fit behind one that doesn't.
        ([(53, b"\1"), (12, b"x" * 12), (15, b"ex")], False, False, (b"\x35\1\1\x0f\2ex\xff", b"", b"", [12])),
        ([(53, b"\1"), (12, b"x" * 126)], True, True, (b"\x35\1\1\xff", b"", b"", [12])),
        ([(12, b"x" * 300), (15, b"y" * 62)], False, True, (b"\xff", b"", b"", [12, 15])),
    ],
)
def test_tells_what_does_not_fit(
    options: list[tuple[int, bytes]], file: bool, sname: bool, expected: tuple[bytes, bytes, bytes, list[int]]
) -> None:
    assert encode_options(options, 16, file=file, sname=sname) == expected


def test_a_message_overloads_only_fields_it_does_not_use() -> None:
    options = {53: b"\5", 12: b"x" * 100}
    assert Packet(options=options).encode(300)[108:].startswith(b"\x0c\x64xxx")
    assert Packet(sname=b"server", options=options).encode(300)[44:].startswith(b"server\0")
    with pytest.raises(ValueError, match=r"^options \[12\] don't fit into a message of 300 octets$"):
        Packet(file=b"boot", options=options).encode(300)


def test_an_overload_option_of_somebody_else_is_not_sent() -> None:
    packet = Packet(file=b"boot", options={"message-type": 1, "option-overload": 3})
    assert bytes(packet)[240:] == b"\x35\1\1\xff"
    assert Packet(bytes(packet)).file.rstrip(b"\0") == b"boot"


# ── long options, RFC 3396 ──


@pytest.mark.parametrize(
    ("length", "pieces"), [(0, [0]), (1, [1]), (255, [255]), (256, [255, 1]), (510, [255, 255]), (511, [255, 255, 1])]
)
def test_long_options_go_in_pieces(length: int, pieces: list[int]) -> None:
    value = bytes(each % 251 for each in range(length))
    wire = option_bytes(224, value)
    found, at = [], 0
    while at < len(wire):
        assert wire[at] == 224
        found.append(wire[at + 1])
        at += 2 + wire[at + 1]
    assert found == pieces
    packet = Packet(options={224: value})
    assert bytes(packet)[240:] == wire + b"\xff"
    assert Packet(bytes(packet)).options.raw == {224: value}


def test_the_longest_message() -> None:
    packet = Packet(options={224: b"x" * 3825})  # in fifteen whole pieces, which leave the octet for the End
    assert len(packet) == 4096
    assert Packet(bytes(packet)).options == packet.options


def test_an_option_goes_to_one_field_as_a_whole() -> None:
    # Written by others it may be spread; it is read, but there is no room to write it again.
    piece = b"\xe0\xff" + b"x" * 255
    packet = Packet(message(b"\x34\1\1" + piece * 14 + b"\xe0\xf9" + b"x" * 249, file=b"\xe0\x7e" + b"x" * 126))
    assert packet.options.raw == {224: b"x" * (14 * 255 + 249 + 126)}
    with pytest.raises(ValueError, match=r"^options \[224\] don't fit into a message of 4096 octets$"):
        bytes(packet)


# ── what can't be encoded ──


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("op", 256, "out of range"),
        ("hrd", -1, "out of range"),
        ("hln", 256, "out of range"),
        ("hops", 1000, "out of range"),
        ("xid", 2**32, "out of range"),
        ("secs", 65536, "out of range"),
        ("flags", -1, "out of range"),
        ("ciaddr", 2**32, "out of range"),
        ("yiaddr", -1, "out of range"),
        ("siaddr", None, "out of range"),
        ("giaddr", "192.0.2.1", "out of range"),
        ("ciaddr", IPv4Address("192.0.2.1"), "out of range"),
        ("xid", 1.5, "out of range"),
        ("chaddr", bytes(17), "^chaddr: expected at most 16 octets"),
        ("chaddr", 0x020000000001, "^chaddr: expected at most 16 octets"),
        ("chaddr", "02:00:00:00:00:01", "^chaddr: expected"),
        ("sname", bytes(65), "^sname: expected at most 64 octets"),
        ("sname", "server", "^sname: expected at most 64 octets, got 'server'$"),
        ("file", b"x" * 129, "^file: expected at most 128 octets"),
        ("file", 5, "^file: expected at most 128 octets, got 5$"),
        ("file", None, "^file: expected at most 128 octets, got None$"),
    ],
)
def test_does_not_encode(field: str, value: object, why: str) -> None:
    packet = Packet(**{field: value})
    with pytest.raises(ValueError, match=why):
        bytes(packet)


def test_encodes_fields_that_are_just_long_enough() -> None:
    packet = Packet(hln=16, chaddr=b"c" * 16, sname=bytearray(b"s" * 64), file=b"f" * 128)
    assert bytes(packet)[28:236] == b"c" * 16 + b"s" * 64 + b"f" * 128


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"no-such-option": 1}, "no option is called 'no-such-option'"),
        ({"routers": "not an address"}, r"^option 3 \(routers\): "),
        ({0: b""}, "expected an option's name or a code in 1..254"),
        ({255: b""}, "expected an option's name or a code in 1..254"),
    ],
)
def test_does_not_take_wrong_options(options: dict[Any, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Packet(options=options)


@pytest.mark.parametrize("maximum", [0, 240, 241, 242])
def test_a_message_has_room_for_its_options_and_the_end(maximum: int) -> None:
    with pytest.raises(ValueError, match=f"fit into (a message of )?{maximum} octets"):
        Packet(options={80: b""}).encode(maximum)
    assert len(Packet(options={80: b""}).encode(243)) == 243
    assert len(Packet().encode(241)) == 241


# ── what holds for any bytes ──

codes = st.integers(1, 254).filter(lambda code: code != 52)
piece = st.builds(lambda code, value: bytes((code, len(value))) + value, codes, st.binary(max_size=20))
overload = st.sampled_from([b"\x34\1\1", b"\x34\1\2", b"\x34\1\3", b"\x34\1\0", b"\x34\0"])
field = st.lists(st.one_of(piece, piece, piece, st.just(b"\0")), max_size=8).map(b"".join)
ending = st.sampled_from([b"\xff", b"", b"\xff\0\0\0", b"\xffrest", b"\x0c", b"\x0c\x09pc"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """What looks like a message, with mistakes here and there."""
    header = bytearray(draw(st.binary(min_size=44, max_size=44)))
    header[2] = draw(st.sampled_from([6, 6, 6, 0, 16, 17]))
    main = draw(field) + draw(st.one_of(st.just(b""), overload)) + draw(field) + draw(ending)
    filling = draw(st.sampled_from([b"\0", b"\xff"]))
    file, sname = (draw(st.one_of(field, st.binary(max_size=size)))[:size].ljust(size, filling) for size in (128, 64))
    return bytes(header) + sname + file + MAGIC_COOKIE + main


def decoded(data: bytes) -> Packet | None:
    """The packet, of which everything can be asked; or None for a ``DecodeError``, and for nothing else."""
    try:
        packet = Packet(data)
    except DecodeError:
        return None
    assert packet.raw == data
    assert not packet.changed
    assert len(packet.chaddr) == packet.hlen <= 16
    assert 52 not in packet.options
    assert repr(packet).startswith("<Packet ")
    assert packet.message_type in (None, *range(256))
    assert {code: value for code, value in scan_options(data).items() if code != 52} == packet.options.raw
    return packet


@given(st.binary(max_size=600))
@example(bytes(240))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    decoded(data)


@given(st.binary(min_size=236, max_size=236), st.binary(max_size=200))
def test_any_fields_and_options_decode_or_are_refused(header: bytes, options: bytes) -> None:
    decoded(header + MAGIC_COOKIE + options)


@given(
    st.sampled_from([WINDOWS_DISCOVER, UDHCPC_DISCOVER, PXE_DISCOVER, RELAYED_REQUEST]),
    st.lists(st.tuples(st.one_of(st.integers(0, 547), st.integers(236, 330)), st.integers(0, 255)), max_size=5),
    st.one_of(st.none(), st.integers(230, 560)),
)
@example(WINDOWS_DISCOVER, [(242, 52), (240, 0)], None)
def test_damaged_messages_decode_or_are_refused(frame: bytes, edits: list[tuple[int, int]], length: int | None) -> None:
    data = bytearray(frame)
    for at, octet in edits:
        data[at % len(data)] = octet
    decoded(bytes(data[:length]))


@given(messages())
@settings(max_examples=150)
def test_what_was_decoded_stays_the_same(data: bytes) -> None:
    packet = decoded(data)
    if packet is None:
        return
    again = Packet(bytes(packet))
    assert fields(again) == fields(packet)
    assert again.sname == packet.sname.ljust(64, b"\0")
    assert again.file == packet.file.ljust(128, b"\0")
    assert again.opts == packet.opts
    # From then on it is the same to the octet.
    assert bytes(again) == bytes(packet)


@given(
    st.fixed_dictionaries(
        {
            **{name: st.integers(0, 255) for name in ("op", "htype", "hops")},
            **{name: st.integers(0, 0xFFFF) for name in ("secs", "flags")},
            **{name: st.integers(0, 0xFFFFFFFF) for name in ("xid", "ciaddr", "yiaddr", "siaddr", "giaddr")},
        }
    ),
    st.binary(max_size=16),
    st.dictionaries(codes, st.binary(max_size=300), max_size=8),
)
def test_what_was_made_comes_back(header: dict[str, int], chaddr: bytes, options: dict[int, bytes]) -> None:
    packet = Packet(**header, hlen=len(chaddr), chaddr=chaddr, options=options)
    again = Packet(bytes(packet))
    assert {name: getattr(again, name) for name in header} == header
    assert again.chaddr == chaddr
    assert again.opts == list(options.items())
    assert len(packet) == len(again)


@given(
    st.lists(st.tuples(codes, st.binary(max_size=140)), max_size=8, unique_by=lambda option: option[0]),
    st.integers(4, 500),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150)
def test_options_are_laid_out_or_named(options: list[tuple[int, bytes]], room: int, file: bool, sname: bool) -> None:
    main, in_file, in_sname, left_out = encode_options(options, room, file=file, sname=sname)
    assert len(main) <= room
    assert len(in_file) <= 128 * file
    assert len(in_sname) <= 64 * sname
    found = scan_options(message(main, file=in_file, sname=in_sname))
    assert found.pop(52, b"\0")[0] == bool(in_file) + 2 * bool(in_sname)
    assert found == {code: value for code, value in options if code not in left_out}
    assert len(found) + len(left_out) == len(options)
    if 53 in found and options[0][0] == 53 and len(options[0][1]) + 6 <= room:
        assert main[0] == 53


@given(st.dictionaries(codes, st.binary(max_size=140), max_size=8), st.integers(240, 600), st.booleans(), st.booleans())
@settings(max_examples=150)
def test_a_message_keeps_to_its_maximum(options: dict[int, bytes], maximum: int, file: bool, sname: bool) -> None:
    packet = Packet(options=options, file=b"boot" * file, sname=b"server" * sname)
    try:
        data = packet.encode(maximum)
    except ValueError:
        assert len(bytes(Packet(options=options))) > maximum
        return
    assert len(data) <= maximum
    again = Packet(data)
    assert again.options == packet.options
    assert again.file.rstrip(b"\0") == b"boot" * file
    assert again.sname.rstrip(b"\0") == b"server" * sname


# ── deferred: decoded when something of it is looked at ──


def looks(packet: Packet) -> dict[str, Any]:
    """All that can be seen of a packet."""
    names = (
        *FIELDS,
        "sname",
        "file",
        "htype",
        "hlen",
        "message_type",
        "hardware_address",
        "raw",
        "overload",
        "changed",
    )
    return {
        **{name: getattr(packet, name) for name in names},
        "options": packet.options,
        "opts": packet.opts,
        "octets": bytes(packet),
        "length": len(packet),
        "header": packet.pack_hdr(),
        "repr": repr(packet),
        "text": str(packet),
        "true": bool(packet),
    }


OVERLOADED = message(b"\x34\1\3\x35\1\1\xff", sname=b"\x0c\4name\xff", file=b"\x0f\4file\xff")
DEFERRED = [WINDOWS_DISCOVER, UDHCPC_DISCOVER, OVERLOADED, message(), message(b"\x35\1\x2a\xff", hlen=16)]


@pytest.mark.parametrize("raw", DEFERRED, ids=["windows", "udhcpc", "overloaded", "bootp", "hlen 16"])
def test_a_deferred_packet_is_the_same_in_every_way(raw: bytes) -> None:
    assert looks(Packet.deferred(raw)) == looks(Packet(raw))


@pytest.mark.parametrize("name", list(looks(Packet(WINDOWS_DISCOVER))))
def test_whatever_is_looked_at_first(name: str) -> None:
    """Each look may be the one that decodes it."""
    first: dict[str, Callable[[Packet], Any]] = {
        "octets": bytes,
        "length": len,
        "header": Packet.pack_hdr,
        "repr": repr,
        "text": str,
        "true": bool,
    }
    look = first.get(name, lambda packet: getattr(packet, name))
    packet = Packet.deferred(OVERLOADED)
    assert look(packet) == look(Packet(OVERLOADED))
    assert looks(packet) == looks(Packet(OVERLOADED))
    assert type(packet) is Packet


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 7) for name in FIELDS if name not in ("chaddr", "xid")),
        ("xid", 8),
        ("chaddr", b"\2\0\0\0\0\x63"),
        ("htype", 6),
        ("hlen", 5),
        ("sname", b"server"),
        ("file", b"boot"),
        ("options", Options({53: b"\3"})),
        ("opts", [(53, b"\3")]),
    ],
)
def test_the_first_thing_may_be_an_assignment(name: str, value: Any) -> None:
    deferred, plain = Packet.deferred(WINDOWS_DISCOVER), Packet(WINDOWS_DISCOVER)
    for packet in (deferred, plain):
        setattr(packet, name, value)
    assert getattr(deferred, name) == value
    assert deferred.changed
    assert looks(deferred) == looks(plain)


def test_the_first_thing_may_be_an_edit_of_its_options() -> None:
    packet = Packet.deferred(WINDOWS_DISCOVER)
    packet.options["host-name"] = "renamed"
    assert packet.changed
    assert Packet(bytes(packet)).options["host-name"] == "renamed"
    packet = Packet.deferred(WINDOWS_DISCOVER)
    del packet.options[53]
    assert packet.changed
    assert packet.message_type is None


def test_a_deferred_packet_is_a_packet_before_and_after() -> None:
    packet = Packet.deferred(WINDOWS_DISCOVER)
    for _ in range(2):
        assert isinstance(packet, Packet)
        assert isinstance(packet, dpkt.dhcp.DHCP)
        assert type(packet).__name__ == "Packet"
        assert len({packet, packet}) == 1
        packet.xid  # noqa: B018 - the look that decodes it


def test_what_is_known_without_decoding_does_not_decode() -> None:
    packet = Packet.deferred(WINDOWS_DISCOVER)
    assert (packet.raw, packet.changed, packet.hardware_address) == (WINDOWS_DISCOVER, False, "00:15:5d:01:02:03")
    assert bool(packet)
    assert vars(packet) == {"raw": WINDOWS_DISCOVER}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda packet: pickle.loads(pickle.dumps(packet))])
@pytest.mark.parametrize("looked", [False, True])
def test_a_deferred_packet_can_be_copied_and_pickled(duplicate: Callable[[Packet], Packet], looked: bool) -> None:
    packet = Packet.deferred(OVERLOADED)
    if looked:
        packet.options["host-name"] = "renamed"
    again = duplicate(packet)
    assert again is not packet
    again_octets, octets_before = bytes(again), bytes(packet)
    assert again_octets == octets_before
    again.xid = 99
    assert packet.xid == 7


def test_a_deferred_packet_has_no_attributes_but_those_of_a_packet() -> None:
    packet = Packet.deferred(WINDOWS_DISCOVER)
    with pytest.raises(AttributeError):
        packet.no_such_thing  # noqa: B018
    assert not hasattr(Packet.deferred(WINDOWS_DISCOVER), "no_such_thing")
    assert looks(packet) == looks(Packet(WINDOWS_DISCOVER))
