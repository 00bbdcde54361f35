"""A tape of what an engine hears and says, to make captures of, as tcpdump would have seen it beside the server; and
``aiodhcp replay``.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest
from client import make_engine, make_subnet
from typer.testing import CliRunner, Result

from aiodhcp import Engine, Exchange, cli
from aiodhcp.exchange import Answer, Datagram
from aiodhcp.parameters import Parameters

SERVER = "192.0.2.1"
LAB = Parameters({"routers": ["192.0.2.1"], "domain-name": "lab.test"}, lease_time=3600)
WRITERS: dict[str, Callable[..., dpkt.pcap.Writer]] = {"pcap": dpkt.pcap.Writer, "pcapng": dpkt.pcapng.Writer}


def ethernet(packet: bytes) -> bytes:
    return b"\2" * 6 + b"\4" * 6 + b"\x08\x00" + packet


def tagged(packet: bytes) -> bytes:
    return b"\2" * 6 + b"\4" * 6 + b"\x81\x00\x00\x0a\x08\x00" + packet


def cooked(packet: bytes) -> bytes:
    return struct.pack("!HHH8sH", 0, 1, 6, b"\2" * 8, 0x0800) + packet


def cooked_2(packet: bytes) -> bytes:
    return struct.pack("!HHIHBB8s", 0x0800, 0, 2, 1, 0, 6, b"\2" * 8) + packet


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (1, ethernet),
    "vlan": (1, tagged),
    "cooked": (113, cooked),
    "cooked v2": (276, cooked_2),
    "raw": (101, bytes),
}


def udp(data: bytes, source: int, source_port: int, destination: int, port: int) -> bytes:
    """An IPv4 packet."""
    inner = dpkt.udp.UDP(sport=source_port, dport=port, data=data)
    inner.ulen = len(inner)
    packet = dpkt.ip.IP(src=source.to_bytes(4, "big"), dst=destination.to_bytes(4, "big"), p=17, data=inner)
    packet.len = len(packet)
    return bytes(packet)


class Tape:
    """Records every exchange of an engine.

    Attributes:
        packets: the time and the IP packet of each message.
    """

    def __init__(self, engine: Engine) -> None:
        self.packets: list[tuple[float, bytes]] = []
        finish = engine.finish

        def taped(exchange: Exchange) -> None:
            self.request(exchange.datagram, exchange.now)
            if exchange.answer is not None:
                self.reply(exchange.answer, exchange.now + 0.001)
            finish(exchange)

        engine.finish = taped  # type: ignore[method-assign]

    def request(self, datagram: Datagram, when: float) -> None:
        data, _, source, port, destination, _ = datagram
        self.packets.append((when, udp(data, source, port, destination, 67)))

    def reply(self, answer: Answer, when: float) -> None:
        source = answer.source or answer.request.interface.addresses[0]
        self.packets.append((when, udp(answer.data, source, 67, answer.destination, answer.port)))

    def noise(self, when: float, port: int = 53) -> None:
        """Something that is not DHCP."""
        server = int.from_bytes(socket.inet_aton(SERVER), "big")
        self.packets.append((when, udp(b"noise", server, 4000, server, port)))

    def write(self, path: Path, kind: str = "pcapng", link: str = "ethernet") -> Path:
        number, framed = LINKS[link]
        with path.open("wb") as file:
            writer = WRITERS[kind](file, linktype=number)
            for when, packet in self.packets:
                writer.writepkt(framed(packet), when)
        return path


@pytest.fixture
def tape(engine) -> Tape:
    """What ``engine`` hears and says from now on; it is as LAB has it."""
    return Tape(engine)


@pytest.fixture
def engine():
    return make_engine(make_subnet(parameters=LAB))


def aiodhcp(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["replay", *map(str, arguments)])


def lines(*arguments: object, status: int = 0) -> list[dict[str, Any]]:
    """The lines of ``--json``: what it is of, the requests, the totals."""
    result = aiodhcp(*arguments, "--json")
    assert result.exit_code == status, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def total(result: Result, name: str) -> str:
    """What stands behind a name among the totals."""
    (found,) = [line.partition("  ")[2] for line in result.stdout.splitlines() if line.startswith(f"{name}  ")]
    return found.strip()


def verdicts(*arguments: object) -> list[tuple[str, str]]:
    """The verdict and the address of each request."""
    return [(each["verdict"], each.get("address", "")) for each in lines(*arguments)[1:-1]]
