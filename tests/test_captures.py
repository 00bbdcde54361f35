"""Reading captures. dpkt writes what it can; the rest is put together here, by the formats' descriptions."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp.captures import Captured, CaptureError, read_capture

PAYLOAD = bytes(range(256))
SOURCE, DESTINATION = "192.0.2.10", "192.0.2.1"


def ip(payload: bytes = PAYLOAD, *, source_port: int = 68, destination_port: int = 67, **fields: int) -> dpkt.ip.IP:
    udp = dpkt.udp.UDP(sport=source_port, dport=destination_port, data=payload)
    udp.ulen = len(udp)
    packet = dpkt.ip.IP(src=socket.inet_aton(SOURCE), dst=socket.inet_aton(DESTINATION), p=17, data=udp)
    packet.len = len(packet)
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


def ethernet(packet: dpkt.ip.IP | bytes, tags: bytes = b"") -> bytes:
    return b"\2" * 6 + b"\4" * 6 + tags + b"\x08\x00" + bytes(packet)


FRAMES = {
    "ethernet": (1, ethernet(ip())),
    "padded": (1, ethernet(ip()) + b"\0" * 30),
    "vlan": (1, ethernet(ip(), b"\x81\x00\x00\x07")),
    "two vlans": (1, ethernet(ip(), b"\x88\xa8\x00\x07\x81\x00\x00\x08")),
    "cooked": (113, bytes(dpkt.sll.SLL(type=0, ethtype=0x0800)) + bytes(ip())),
    "cooked vlan": (113, struct.pack("!HHH8sHHH", 0, 1, 6, b"\2" * 8, 0x8100, 7, 0x0800) + bytes(ip())),
    "cooked v2": (276, bytes(dpkt.sll2.SLL2(ethtype=0x0800)) + bytes(ip())),
    "raw": (101, bytes(ip())),
    "raw ipv4": (228, bytes(ip())),
    "ip options": (1, ethernet(b"\x46" + bytes(ip())[1:20] + b"\1\1\1\0" + bytes(ip())[20:])),
}
WRITERS: dict[str, Callable[..., dpkt.pcap.Writer]] = {
    "pcap": dpkt.pcap.Writer,
    "nanoseconds": lambda file, **more: dpkt.pcap.Writer(file, nano=True, **more),
    "pcapng": dpkt.pcapng.Writer,
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """``written([frame], link=1)``: a capture with these frames."""

    def write(frames: list[bytes], link: int = 1, kind: str = "pcap") -> Path:
        path = tmp_path / f"a.{kind}"
        with path.open("wb") as file:
            writer = WRITERS[kind](file, linktype=link)
            for number, frame in enumerate(frames):
                writer.writepkt(frame, 1700000000.25 + number)
        return path

    return write


def address(text: str) -> int:
    return int.from_bytes(socket.inet_aton(text), "big")


def expected(frame: int = 1, **fields: object) -> Captured:
    known = {"time": 1700000000.25, "data": PAYLOAD, "source": address(SOURCE), "source_port": 68}
    known |= {"destination": address(DESTINATION), "destination_port": 67}
    return Captured(frame=frame, **{**known, **fields})  # type: ignore[arg-type]


# ── frames ──


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", FRAMES)
def test_a_datagram_is_found_in_every_kind_of_frame(written, kind, name):
    link, frame = FRAMES[name]
    (found,) = read_capture(written([frame], link, kind))
    vlans = {"vlan": (7,), "two vlans": (7, 8), "cooked vlan": (7,)}.get(name, ())
    assert found == expected(time=pytest.approx(1700000000.25, abs=1e-6), vlans=vlans)
    assert found.place == "".join(f".{vlan}" for vlan in vlans)


def test_a_priority_is_no_vlan(written):
    (found,) = read_capture(written([ethernet(ip(), b"\x81\x00\xe0\x00")]))
    assert found == expected()


def test_frames_are_in_order_with_their_numbers_and_times(written):
    reply = ethernet(ip(b"reply", source_port=67, destination_port=68))
    found = list(read_capture(written([ethernet(ip()), b"\0" * 60, reply])))
    assert found == [
        expected(),
        expected(3, time=1700000002.25, data=b"reply", source_port=67, destination_port=68),
    ]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (ethernet(ip(destination_port=53)), "not DHCP"),
        (ethernet(ip(source_port=67, destination_port=4011)), "not DHCP"),
        (ethernet(ip(p=6)), "not DHCP"),
        (b"\2" * 12 + b"\x86\xdd" + b"\x60" + b"\0" * 60, "not DHCP"),
        (b"\2" * 12 + b"\x08\x06" + b"\0" * 28, "not DHCP"),
        (ethernet(ip(v=6)), "not DHCP"),
        (ethernet(ip(mf=1)), "fragments"),
        (ethernet(ip(offset=240)), "fragments"),
        (ethernet(ip())[:-1], "truncated"),
        (ethernet(ip())[:40], "truncated"),
        (ethernet(ip())[:20], "truncated"),
        (b"\2" * 13, "truncated"),
        (b"\2" * 12 + b"\x81\x00\x00", "truncated"),
        (b"", "truncated"),
    ],
)
def test_what_is_left_out_is_counted(written, frame, words):
    skipped: Counter[str] = Counter()
    assert list(read_capture(written([frame, frame]), skipped)) == []
    assert skipped == {words: 2}


# ── pcap ──


@pytest.mark.parametrize(
    ("magic", "order", "unit", "more"),
    [
        (0xA1B2C3D4, ">", 10**6, b""),
        (0xA1B23C4D, ">", 10**9, b""),
        (0xA1B2CD34, "<", 10**6, b"\0" * 8),
        (0xA1B23C4D, "<", 10**9, b""),
    ],
)
def test_pcap_in_all_its_kinds(tmp_path, magic, order, unit, more):
    frame = ethernet(ip())
    head = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 65535, 1 | 0x24000000)
    path = tmp_path / "a.pcap"
    path.write_bytes(head + struct.pack(f"{order}4I", 1700000000, unit // 4, len(frame), len(frame)) + more + frame)
    assert list(read_capture(path)) == [expected()]


# ── pcapng ──


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, options: bytes = b"", order: str = "<", kept: int = 0) -> bytes:
    return block(1, struct.pack(f"{order}HHI", link, 0, kept) + options, order)


def packet(at: int, ticks: int, frame: bytes, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IIIII", at, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


@pytest.fixture
def blocks(tmp_path: Path) -> Callable[..., list[Captured]]:
    """``blocks(section(), ...)``: what is read from a file of these blocks."""

    def read(*octets: bytes, skipped: Counter[str] | None = None) -> list[Captured]:
        path = tmp_path / "a.pcapng"
        path.write_bytes(b"".join(octets))
        return list(read_capture(path, skipped))

    return read


def test_pcapng_with_interfaces_of_several_kinds(blocks):
    skipped: Counter[str] = Counter()
    found = blocks(
        section(),
        interface(101),
        block(5, b"\0" * 20),
        interface(127),
        packet(0, 1700000000250000, bytes(ip())),
        packet(1, 1700000000250000, bytes(ip())),
        interface(1, option(2, b"eth0") + option(9, b"\x09") + option(0, b"")),
        packet(2, 1700000000250000000, ethernet(ip())),
        skipped=skipped,
    )
    assert found == [expected(1), expected(3, interface="eth0")]
    assert found[1].place == "eth0"
    assert skipped == {"of link type 127": 1}


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        (option(9, b"\x03"), 1700000000250),
        (option(9, b"\x82"), 1700000000 * 4 + 1),
        (option(14, struct.pack("<q", 1700000000)), 250000),
    ],
    ids=["milliseconds", "quarters", "offset"],
)
def test_pcapng_times(blocks, options, ticks):
    assert blocks(section(), interface(101, options), packet(0, ticks, bytes(ip()))) == [expected()]


def test_pcapng_sections_have_their_own_interfaces_and_byte_order(blocks):
    first = section(">"), interface(101, order=">"), packet(0, 1700000000250000, bytes(ip()), ">")
    second = section(), interface(1), packet(0, 1700000000250000, ethernet(ip()))
    assert blocks(*first, *second) == [expected(1), expected(2)]


def test_pcapng_packets_without_a_time_and_of_the_old_kind(blocks):
    frame = bytes(ip())
    ticks = 1700000000250000
    simple = block(3, struct.pack("<I", len(frame)) + frame)
    old = block(2, struct.pack("<HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)) + frame)
    assert blocks(section(), interface(101), simple, old) == [expected(1, time=0.0), expected(2)]
    skipped: Counter[str] = Counter()
    assert blocks(section(), interface(101, kept=100), simple, skipped=skipped) == []
    assert skipped == {"truncated": 1}


# ── errors ──

WHOLE = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
RECORD = struct.pack("<4I", 1700000000, 250000, 298, 298)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "is empty"),
        (b"no", "is no capture: expected a file in the format pcap or pcapng"),
        (b"[subnet]\nsubnet = 1\n", "is no capture: expected a file in the format pcap or pcapng"),
        (gzip.compress(WHOLE, mtime=0), "is compressed with gzip: unpack it first"),
        (WHOLE[:10], "is cut off: it ends in the middle of its header"),
        (
            WHOLE[:20] + b"\x69\0\0\0",
            "is of link type 105: expected Ethernet, Linux cooked v1, Linux cooked v2, raw IP",
        ),
        (WHOLE + RECORD[:7], "is cut off: it ends in the middle of frame 1"),
        (WHOLE + RECORD + ethernet(ip()) + RECORD + b"1234", "is cut off: it ends in the middle of frame 2"),
        (WHOLE + struct.pack("<4I", 0, 0, 1 << 30, 60), "is damaged: frame 1 would have 1073741824 octets"),
        (section()[:6], "is cut off: it ends in the middle of its header"),
        (section()[:10], "is cut off: it ends in the middle of block 1"),
        (section()[:-1], "is cut off: it ends in the middle of block 1"),
        (section() + interface(1)[:5], "is cut off: it ends in the middle of block 2"),
        (section() + interface(1)[:-5], "is cut off: it ends in the middle of block 2"),
        (section().replace(b"\x4d\x3c\x2b\x1a", b"1234"), "is damaged: block 1 doesn't say its byte order"),
        (section() + struct.pack("<II", 1, 13), "is damaged: block 2 would have 13 octets"),
        (section() + struct.pack("<II", 1, 8), "is damaged: block 2 would have 8 octets"),
        (section() + packet(0, 0, b""), "is damaged: frame 1 can't be read"),
        (section() + interface(1) + block(6, b"1234"), "is damaged: frame 1 can't be read"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, octets, words):
    path = tmp_path / "a.pcap"
    path.write_bytes(octets)
    with pytest.raises(CaptureError) as error:
        list(read_capture(path))
    assert str(error.value) == f"{path}: {words}"


def test_what_is_no_file(tmp_path):
    with pytest.raises(CaptureError, match=r"/missing: can't be read: No such file or directory$"):
        list(read_capture(tmp_path / "missing"))
    with pytest.raises(CaptureError, match="can't be read: Is a directory"):
        list(read_capture(tmp_path))


def test_what_stands_before_the_damage_comes_first(written):
    path = written([ethernet(ip()), ethernet(ip())])
    path.write_bytes(path.read_bytes()[:-3])
    reading = read_capture(path)
    assert next(reading) == expected()
    with pytest.raises(CaptureError, match="in the middle of frame 2"):
        next(reading)


@given(
    whole=st.sampled_from(
        [
            WHOLE + RECORD + ethernet(ip()),
            section() + interface(1, option(9, b"\x09")) + packet(0, 5, ethernet(ip())),
        ]
    ),
    at=st.integers(0, 400),
    octets=st.binary(max_size=8),
    end=st.integers(0, 500),
)
def test_no_file_does_more_than_that(tmp_path_factory, whole, at, octets, end):
    path = tmp_path_factory.getbasetemp() / "any.pcap"
    path.write_bytes((whole[:at] + octets + whole[at + len(octets) :])[:end])
    with contextlib.suppress(CaptureError):
        assert len(list(read_capture(path))) <= 1
