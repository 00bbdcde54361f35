"""What the prober says and understands, without a link."""

from __future__ import annotations

import errno
import socket
import sys

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodhcp.exchange import Interface
from aiodhcp.prober import Prober, arp_probe, arp_sender, echo_request, echoed

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
LOOPBACK = 1
"""The number of "lo", in any network namespace."""

addresses = st.integers(1, 0xFFFFFFFF)
hardware = st.binary(min_size=6, max_size=6)
tokens = st.binary(min_size=20, max_size=20)


def arp(operation: int, sender: int, own: bytes, **more: int) -> bytes:
    """A frame from ``own``, which says that it has the address ``sender``."""
    packet = dpkt.arp.ARP(op=operation, sha=own, spa=sender.to_bytes(4, "big"), tha=bytes(6), tpa=bytes(4), **more)
    return bytes(dpkt.ethernet.Ethernet(dst=b"\xff" * 6, src=own, type=0x0806, data=packet))


@given(address=addresses, own=hardware)
def test_a_probe_is_a_broadcast_request_without_an_address_of_the_sender(address: int, own: bytes) -> None:
    ethernet = dpkt.ethernet.Ethernet(arp_probe(address, own))
    assert (ethernet.dst, ethernet.src, ethernet.type) == (b"\xff" * 6, own, 0x0806)
    packet = ethernet.data
    assert (packet.hrd, packet.pro, packet.hln, packet.pln, packet.op) == (1, 0x0800, 6, 4, 1)
    assert (packet.sha, packet.spa) == (own, bytes(4))
    assert (packet.tha, packet.tpa) == (bytes(6), address.to_bytes(4, "big"))


@given(address=addresses, own=hardware)
def test_a_probe_says_of_nobody_that_it_has_an_address(address: int, own: bytes) -> None:
    assert arp_sender(arp_probe(address, own)) is None


@given(address=addresses, own=hardware, operation=st.sampled_from([1, 2]), padding=st.binary(max_size=30))
def test_a_request_and_a_reply_say_who_has_the_senders_address(
    address: int, own: bytes, operation: int, padding: bytes
) -> None:
    assert arp_sender(arp(operation, address, own) + padding) == (address, own)


@pytest.mark.parametrize(
    "more", [{"hrd": 15}, {"pro": 0x86DD}, {"hln": 8}, {"pln": 16}, {"operation": 3}, {"operation": 0}], ids=str
)
def test_other_kinds_of_arp_say_nothing(more: dict[str, int]) -> None:
    assert arp_sender(arp(**{"operation": 2, **more}, sender=0xC0000209, own=b"\2server"[:6])) is None


def test_other_kinds_of_frame_say_nothing() -> None:
    frame = arp(2, 0xC0000209, b"\2serve")
    assert arp_sender(frame[:12] + b"\x08\x00" + frame[14:]) is None
    assert arp_sender(frame[:41]) is None
    assert arp_sender(b"") is None


@given(st.binary(max_size=100) | st.binary(max_size=40).map(lambda tail: arp(2, 1, b"\2serve")[:22] + tail))
def test_any_frame_can_be_read(frame: bytes) -> None:
    sender = arp_sender(frame)
    assert sender is None or sender[0] > 0


@given(tokens)
def test_an_echo_request_carries_the_token(token: bytes) -> None:
    data = echo_request(token)
    icmp = dpkt.icmp.ICMP(data)
    assert (icmp.type, icmp.code) == (8, 0)
    assert data[4:] == token
    assert dpkt.in_cksum(data) == 0


@given(tokens)
def test_an_echo_reply_repeats_the_token_with_an_ip_header_or_without(token: bytes) -> None:
    reply = b"\0\0" + echo_request(token)[2:]
    assert echoed(reply) == token
    for options in (b"", b"\1" * 4, b"\1" * 40):
        ip = dpkt.ip.IP(src=bytes(4), dst=bytes(4), p=1, hl=5 + len(options) // 4, opts=options, data=reply)
        assert echoed(bytes(ip)) == token


@pytest.mark.parametrize("head", [b"\x08\0", b"\x03\x01", b"\0\1", b"\x0b\0", b"\x45\0"])
def test_what_is_no_echo_reply_repeats_nothing(head: bytes) -> None:
    assert echoed(head + bytes(22)) == b""


@given(st.binary(max_size=100))
def test_any_packet_can_be_read(data: bytes) -> None:
    assert len(echoed(data)) <= len(data)


async def test_a_method_that_is_not_known_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="expected 'arp' or 'icmp', not 'auto'"):
        await Prober().in_use(1, Interface("lo", (), LOOPBACK), "auto", 0.1)


async def test_what_was_never_used_can_be_closed() -> None:
    prober = Prober()
    prober.close()
    prober.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EPERM, "CAP_NET_RAW"), (errno.EACCES, "CAP_NET_RAW"), (errno.EMFILE, "no"), (errno.ENOBUFS, "no")],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("method", [pytest.param("arp", marks=linux), "icmp"])
async def test_where_no_socket_can_be_had_nobody_is_found_and_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int, words: str, method: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "if_indextoname", lambda _: "eth0")
    prober = Prober()
    for again in (1, 2):
        for address in (1, 2, 3):
            assert await prober.in_use(address, Interface("eth0", (), 7), method, 10) == ""
        assert len(caplog.records) == again
        prober.close()  # afterwards it is news
    record = caplog.records[0]
    assert (record.name, record.levelname) == ("aiodhcp.prober", "WARNING")
    assert record.getMessage().startswith("ARP on eth0: can't ask" if method == "arp" else "ICMP: can't ask")
    assert words in record.getMessage()


@linux
async def test_an_interface_that_is_gone_has_nobody(caplog: pytest.LogCaptureFixture) -> None:
    prober = Prober()
    for _ in range(2):
        assert await prober.in_use(0xC0000209, Interface("eth9", (), 0x7FFFFFF0), "arp", 10) == ""
    assert len(caplog.records) == 1
