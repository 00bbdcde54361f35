"""The filter of ``aiodhcp capture``, as the kernel runs it, and its files; its sockets are tried in integration/."""

from __future__ import annotations

import io
import struct
from collections import Counter
from pathlib import Path

import dpkt
import pytest
from test_captures import ethernet, ip

from aiodhcp.capture_files import CaptureFile
from aiodhcp.captures import ETHERNET, RAW_IP, read_capture
from aiodhcp.errors import ConfigError
from aiodhcp.sniffer import _with_tag, dhcp_filter

Program = list[tuple[int, int, int, int]]


def takes(program: Program, frame: bytes) -> bool:
    """Classic BPF, as far as the filter uses it (linux/filter.h): what can't be read is not taken."""
    a = x = at = 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        if code in (0x28, 0x48, 0x50):  # ldh [k], ldh [x + k], ldb [x + k]
            start, size = (k if code == 0x28 else x + k), (1 if code == 0x50 else 2)
            if start + size > len(frame):
                return False
            a = int.from_bytes(frame[start : start + size], "big")
        elif code == 0x15:  # jeq
            at += yes if a == k else no
        elif code == 0x45:  # jset
            at += yes if a & k else no
        elif code == 0x06:  # ret
            return k > 0
        elif code == 0x01:  # ldx #k
            x = k
        elif code == 0x07:  # tax
            x = a
        else:  # and, lsh, add x
            a = {0x54: a & k, 0x64: a << k, 0x0C: a + x}[code]


LONGER = b"\x46" + bytes(ip())[1:20] + b"\1\1\1\0" + bytes(ip())[20:]


@pytest.mark.parametrize(
    ("frame", "taken"),
    [
        (bytes(ip()), True),
        (bytes(ip(source_port=67, destination_port=68)), True),
        (bytes(ip(source_port=67, destination_port=1067)), True),
        (bytes(ip(source_port=4000, destination_port=67)), True),
        (LONGER, True),
        (bytes(ip(mf=1)), True),
        (bytes(ip(offset=240)), False),
        (bytes(ip(source_port=53, destination_port=1053)), False),
        (bytes(ip(p=6)), False),
        (bytes(ip())[:21], False),
        (b"", False),
    ],
)
def test_the_filter_takes_dhcp_and_nothing_else(frame, taken):
    assert takes(dhcp_filter(RAW_IP), frame) is taken
    program = dhcp_filter(ETHERNET)
    for tags in (b"", b"\x81\x00\x00\x07", b"\x88\xa8\x00\x07\x81\x00\x00\x08", b"\x91\x00\x00\x07\x91\x00\x00\x08"):
        assert takes(program, ethernet(frame, tags)) is taken
    assert not takes(program, ethernet(frame, b"\x81\x00\x00\x07" * 3))
    assert not takes(program, b"\2" * 12 + b"\x86\xdd" + frame)
    assert not takes(dhcp_filter(RAW_IP), b"\x60" + frame[1:])


def test_jumps_are_as_long_as_the_kernel_takes_them():
    for link in (ETHERNET, RAW_IP):
        program = dhcp_filter(link)
        assert all(0 <= jump < len(program) for _, yes, no, _ in program for jump in (yes, no))
        assert [code for code, *_ in program[-2:]] == [6, 6]


def test_a_tag_that_the_kernel_took_off_is_put_back():
    def told(status: int, tag: int, kind: int) -> bytes:
        return struct.pack("=IIIHHHH", status, 0, 0, 0, 0, tag, kind)

    frame = ethernet(ip())
    assert _with_tag(frame, told(0, 0, 0)) == frame
    assert _with_tag(frame, b"") == frame
    assert _with_tag(frame, told(0x10, 7, 0)) == ethernet(ip(), b"\x81\x00\x00\x07")
    assert _with_tag(frame, told(0x50, 7, 0x88A8)) == ethernet(ip(), b"\x88\xa8\x00\x07")


@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_what_is_written_is_what_is_read(tmp_path: Path, format):
    path = tmp_path / "a"
    with path.open("wb") as file:
        kept = CaptureFile(file, format, [("eth0", ETHERNET), ("wan-é", ETHERNET)])
        kept.write(1, ethernet(ip()), 1_700_000_000_999_999_999)
        kept.write(0, ethernet(ip()), 1_700_000_001_000_001_000)
        # Not closed: each frame is there at once.
        first, second = read_capture(path)
    assert (first.time, second.time) == (pytest.approx(1700000000.999999, abs=1e-6), pytest.approx(1700000001.000001))
    assert [first.interface, second.interface] == {"pcap": ["", ""], "pcapng": ["wan-é", "eth0"]}[format]
    with path.open("rb") as file:
        reader = {"pcap": dpkt.pcap.Reader, "pcapng": dpkt.pcapng.Reader}[format](file)
        assert [bytes(frame) for _, frame in reader] == [ethernet(ip())] * 2


def test_interfaces_of_several_kinds_need_pcapng(tmp_path: Path):
    kinds = [("eth0", ETHERNET), ("tun0", RAW_IP)]
    with pytest.raises(ConfigError, match="frames of several kinds, which only pcapng can keep apart"):
        CaptureFile(io.BytesIO(), "pcap", kinds)
    path = tmp_path / "a"
    with path.open("wb") as file:
        kept = CaptureFile(file, "pcapng", kinds)
        kept.write(0, ethernet(ip()), 1_700_000_000_000_000_000)
        kept.write(1, bytes(ip()), 1_700_000_000_000_000_000)
    skipped: Counter[str] = Counter()
    assert [each.interface for each in read_capture(path, skipped)] == ["eth0", "tun0"]
    assert not skipped
