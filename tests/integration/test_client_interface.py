"""The client on real interfaces and as a relay agent at port 67, in private network namespaces.

Beside servers of ours there is one that sends frames no server would.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from namespaces import Host, Network, needs

pytestmark = needs()

SERVER = """
import asyncio, json, sys, warnings
warnings.simplefilter("error")
from aiodhcp import Config, DhcpServer, MemoryStore, Parameters, Subnet, hookimpl
from aiodhcp.transports.ethernet import EthernetTransport

interface, network, pool, options = *sys.argv[1:4], json.loads(sys.argv[4])


class Watch:
    @hookimpl
    def dhcp_address_del(self, packet, problem, address):
        print(problem.name, flush=True)


async def main():
    config = Config([Subnet(network, [pool], parameters=Parameters(lease_time=3600), **options)])
    transport = EthernetTransport([interface])
    async with DhcpServer(config, store=MemoryStore(), transport=transport, plugins=[Watch()]):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

CLIENT = """
import asyncio, json, sys, warnings
warnings.simplefilter("error")
from aiodhcp.client import *

where, wishes, steps = map(json.loads, sys.argv[1:4])
later = {"timeout": wishes.get("timeout", 4), "retries": wishes.get("retries", 3)}


def tell(event):
    packet, peer = event.packet, event.peer
    print(json.dumps({
        "direction": event.direction, "message": message_name(packet), "peer": str(peer), "flags": packet.flags,
        "hardware": peer.hardware.hex(":"), "chaddr": packet.hardware_address, "xid": packet.xid,
    }), flush=True)


async def main():
    async with (RelayLink if "server" in where else InterfaceLink)(**where) as link:
        lease = await obtain(link, on_event=tell, **wishes)
        servers = [str(offer.packet.options["server-identifier"]) for offer in lease.offers]
        print(json.dumps({"address": str(lease.address), "servers": servers, "ignored": lease.ignored}), flush=True)
        for step in steps:
            if step == "wait":
                sys.stdin.readline()
            elif step == "renew":
                lease = await renew(link, lease, on_event=tell, **later)
            elif step == "rebind":
                lease = await renew(link, lease, rebind=True, on_event=tell, **later)
            elif step == "inform":
                await inform(link, lease.address, on_event=tell, **later)
            elif step == "decline":
                await decline(link, lease, on_event=tell)
            else:
                await release(link, lease, on_event=tell)

try:
    asyncio.run(main())
except ProbeError as error:
    print(json.dumps({"error": str(error)}), flush=True)
"""

NASTY = """
import socket, struct, sys
from ipaddress import IPv4Address
from aiodhcp import Packet
from aiodhcp.transports.frame import build_frame

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind(("eth0", 3))
own = sock.getsockname()[4]
source, offered = int(IPv4Address("192.0.2.1")), int(IPv4Address("192.0.2.10"))
print("ready", flush=True)
while True:
    frame, (_, _, kind, *_) = sock.recvfrom(65535)
    if kind == socket.PACKET_OUTGOING or frame[12:14] != b"\\x08\\x00" or frame[36:38] != b"\\0\\x43":
        continue
    request = Packet(frame[42:])
    answer = Packet(op=2, xid=request.xid, chaddr=request.chaddr, yiaddr=offered, options={
        53: 2 if request.message_type == 1 else 5, "server-identifier": source, "lease-time": 600})
    client, data = frame[6:12], bytes(answer)

    def send(frame):
        sock.send(bytes(frame))

    def good(hardware=client, data=data, port=68):
        return bytearray(build_frame(data, hardware, own, source, 0xffffffff, 67, port))

    send(good(port=69))                                     # to somebody else's port
    send(good(hardware=b"\\2\\0\\0\\0\\0\\x99"))            # to somebody else
    frame = good(); frame[20:22] = b"\\x20\\0"; send(frame)  # the first fragment
    frame = good(); frame[20:22] = b"\\0\\x01"; send(frame)  # another fragment
    frame = good(); frame[23] = 6; send(frame)              # TCP
    frame = good(); frame[14] = 0x44; frame[32:34] = b"\\0\\x44"; send(frame)  # an IPv4 header of 16 octets
    frame = good(); frame[38:40] = b"\\0\\7"; send(frame)    # a UDP datagram of 7 octets
    frame = good(); frame[16:18] = b"\\0\\x18"; send(frame)  # an IPv4 packet of 24 octets
    send(good()[:40])                                       # cut short
    send(good(data=b"nonsense"))                            # what is ignored, and counted
    frame = good(data=data + b"\\xee" * 9); frame[38:40] = struct.pack("!H", len(data) + 8)
    if request.ciaddr:
        arp = struct.Struct("!6s6sH8s6s4s6s4s")
        head, all_of_them, nobody = bytes.fromhex("0001080006040001"), b"\\xff" * 6, b"\\0" * 6
        asked = source.to_bytes(4, "big"), offered.to_bytes(4, "big")
        send(all_of_them + own + b"\\x08\\x06" + head)       # cut short
        send(arp.pack(all_of_them, own, 0x0806, head, own, asked[0], nobody, bytes([192, 0, 2, 99])))
        send(arp.pack(all_of_them, own, 0x0806, head, own, asked[0], nobody, asked[1]))
        sock.settimeout(5)
        while (reply := sock.recv(128))[12:14] != b"\\x08\\x06" or reply[20:22] != b"\\0\\2":
            pass
        sock.settimeout(None)
        head = bytes.fromhex("0001080006040002")
        expected = (own, client, 0x0806, head, client, asked[1], own, asked[0])
        print(arp.unpack_from(reply) == expected, flush=True)
    send(frame)                                             # as it should be, with octets behind it
"""


@pytest.fixture
def net() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def client(net: Network) -> Host:
    return net.host("client")


@pytest.fixture
def server(net: Network, client: Host) -> Host:
    """A host with the address 192.0.2.1 at the other end of the client's cable."""
    server = net.host("server")
    net.link(server, "eth0", client, "eth0")
    server.run("ip addr add 192.0.2.1/24 dev eth0")
    return server


def serve(
    host: Host,
    pool: str = "192.0.2.10-192.0.2.99",
    *,
    interface: str = "eth0",
    network: str = "192.0.2.0/24",
    **options: Any,
) -> subprocess.Popen[str]:
    process = host.popen_python(SERVER, interface, network, pool, json.dumps(options))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def arguments(where: dict[str, Any], steps: tuple[str, ...], wishes: dict[str, Any]) -> tuple[str, str, str]:
    return json.dumps(where), json.dumps(wishes), json.dumps(steps)


def ask(host: Host, *steps: str, where: dict[str, Any] | None = None, **wishes: Any) -> list[dict[str, Any]]:
    """What the client told: its messages and, after the first ACK, the lease."""
    result = host.python(CLIENT, *arguments(where or {"interface": "eth0"}, steps, wishes), timeout=30)
    assert not result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def messages(told: list[dict[str, Any]]) -> list[str]:
    return [line["message"] if "message" in line else next(iter(line)) for line in told]


FOUR = ["DISCOVER", "OFFER", "REQUEST", "ACK", "address"]


def test_a_life_without_an_address(client: Host, server: Host) -> None:
    process = serve(server)
    told = ask(client, "renew", "rebind", "inform", "release", hostname="probe")
    assert messages(told) == [*FOUR, "REQUEST", "ACK", "REQUEST", "ACK", "INFORM", "ACK", "RELEASE"]
    assert told[4] == {"address": "192.0.2.10", "servers": ["192.0.2.1"], "ignored": 0}
    assert client.addresses("eth0") == []

    own, its = client.hardware_address("eth0").hex(":"), server.hardware_address("eth0").hex(":")
    assert {line["chaddr"] for line in told if "chaddr" in line} == {own}
    assert {line["flags"] for line in told if "flags" in line} == {0}, "unicast was asked for"
    assert {line["hardware"] for line in told if line.get("direction") == "received"} == {its}
    sent = [(line["message"], line["peer"], line["hardware"]) for line in told if line.get("direction") == "sent"]
    everybody, one = ("255.255.255.255:67", "ff:ff:ff:ff:ff:ff"), ("192.0.2.1:67", its)
    assert sent == [
        ("DISCOVER", *everybody),
        ("REQUEST", *everybody),
        ("REQUEST", *one),
        ("REQUEST", *everybody),
        ("INFORM", *everybody),
        ("RELEASE", *one),
    ]
    assert process.stdout is not None
    assert process.stdout.readline() == "RELEASE\n"


def test_another_hardware_address(client: Host, server: Host) -> None:
    serve(server)
    wire = server.capture("eth0")
    told = ask(client, "renew", where={"interface": "eth0", "hardware_address": "02:00:00:00:00:99"})
    assert messages(told) == [*FOUR, "REQUEST", "ACK"]
    assert {line["chaddr"] for line in told if "chaddr" in line} == {"02:00:00:00:00:99"}
    assert {line["flags"] for line in told if "flags" in line} == {0x8000}
    frame = wire.next_udp()
    assert frame is not None
    assert frame[6:12] == client.hardware_address("eth0"), "only the message pretends"


def test_decline(client: Host, server: Host) -> None:
    process = serve(server)
    assert messages(ask(client, "decline")) == [*FOUR, "DECLINE"]
    assert process.stdout is not None
    assert process.stdout.readline() == "DECLINE\n"
    assert ask(client)[4]["address"] == "192.0.2.11"


@needs(kinds=["bridge"])
def test_every_server_of_a_network(net: Network, client: Host) -> None:
    servers = [net.host("one"), net.host("two")]
    net.switch("lan", p1=servers[0], p2=servers[1], p3=client)
    for number, host in enumerate(servers, 1):
        host.run(f"ip addr add 192.0.2.{number}/24 dev eth0")
        serve(host, f"192.0.2.{number}0-192.0.2.{number}9")
    told = ask(client, wait_for_all=1)
    lease = next(line for line in told if "address" in line)
    assert sorted(lease["servers"]) == ["192.0.2.1", "192.0.2.2"]
    assert lease["address"] == lease["servers"][0] + "0"
    assert messages(told).count("ACK") == 1


@needs(kinds=["vlan"])
def test_vlan(client: Host, server: Host) -> None:
    server.run(f"ip addr add 198.51.100.1/24 dev {server.vlan('eth0', 10)}")
    client.vlan("eth0", 10)
    serve(server, "198.51.100.10-198.51.100.99", interface="eth0.10", network="198.51.100.0/24")
    assert ask(client, "renew", where={"interface": "eth0.10"})[4]["address"] == "198.51.100.10"
    (*_, last) = ask(client, timeout=0.1, retries=0)
    assert last["error"].startswith("no answer to DISCOVER, sent once on eth0")


def test_frames_no_server_would_send(client: Host, server: Host) -> None:
    process = server.popen_python(NASTY)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    told = ask(client, "renew")
    assert messages(told) == [*FOUR, "REQUEST", "ACK"]
    assert told[4] == {"address": "192.0.2.10", "servers": ["192.0.2.1"], "ignored": 2}
    assert process.stdout.readline() == "True\n", "ARP is answered for the client's address"


def test_no_answer(client: Host, server: Host) -> None:
    (*sent, last) = ask(client, timeout=0.05, retries=1)
    assert messages(sent) == ["DISCOVER", "DISCOVER"]
    assert last["error"].startswith("no answer to DISCOVER, sent 2 times in ")
    assert last["error"].endswith(f" s on eth0 for {client.hardware_address('eth0').hex(':')}")


def test_the_interface_is_down(client: Host, server: Host) -> None:
    client.down("eth0")
    assert ask(client) == [{"error": "can't send on eth0: Network is down"}]


def test_the_interface_goes_down(client: Host, server: Host) -> None:
    process = serve(server)
    steps = arguments({"interface": "eth0"}, ("wait", "renew"), {"timeout": 4, "retries": 0})
    asking = client.popen_python(CLIENT, *steps, stdin=subprocess.PIPE)
    assert asking.stdin is not None
    assert asking.stdout is not None
    while "address" not in json.loads(asking.stdout.readline()):
        pass
    process.kill()
    process.wait()
    asking.stdin.write("\n")
    asking.stdin.flush()
    assert json.loads(asking.stdout.readline())["message"] == "REQUEST"
    client.down("eth0")
    last = json.loads(asking.stdout.readline())
    assert last["error"].startswith("no answer to REQUEST, sent once on eth0")
    assert last["error"].endswith("; eth0: Network is down")
    assert asking.wait(5) == 0


def test_a_link_can_be_opened_again(client: Host, server: Host) -> None:
    code = """
import asyncio
from aiodhcp.client import InterfaceLink

async def main():
    link = InterfaceLink("eth0")
    for _ in range(2):
        async with link:
            print(link.hardware_address.hex(":"))
            try:
                await link.open()
            except RuntimeError as error:
                print(error)

asyncio.run(main())
"""
    own = client.hardware_address("eth0").hex(":")
    assert client.python(code).stdout.splitlines() == [own, "this link is open already"] * 2


@needs("setpriv")
def test_without_the_capability(client: Host, server: Host) -> None:
    where = arguments({"interface": "eth0"}, (), {})
    prefix = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    (last,) = client.run([*prefix, sys.executable, "-c", CLIENT, *where]).stdout.splitlines()
    assert json.loads(last)["error"].startswith("a packet socket on eth0: it needs a privilege: run as root, or give")


def test_not_an_interface_to_ask_on(client: Host) -> None:
    assert ask(client, where={"interface": "eth7"}) == [{"error": "no interface 'eth7'; there are: lo"}]
    (last,) = ask(client, where={"interface": "lo"})
    assert last["error"] == "lo is not an Ethernet interface: name a server's address instead"


def test_as_a_relay_agent(net: Network, client: Host, server: Host) -> None:
    """The server answers to port 67 of ``giaddr``, and chooses the subnet by it."""
    client.run("ip addr add 192.0.2.9/24 dev eth0")
    client.run("ip addr add 198.51.100.1/24 dev lo")
    server.run("ip route add 198.51.100.0/24 via 192.0.2.9")
    process = serve(server, "198.51.100.10-198.51.100.99", network="198.51.100.0/24")
    told = ask(client, "renew", "release", where={"server": "192.0.2.1", "giaddr": "198.51.100.1"})
    assert messages(told) == [*FOUR, "REQUEST", "ACK", "RELEASE"]
    assert told[4]["address"] == "198.51.100.10"
    assert {line["peer"] for line in told if "peer" in line} == {"192.0.2.1:67"}
    assert process.stdout is not None
    assert process.stdout.readline() == "RELEASE\n"

    (last,) = ask(server, where={"server": "192.0.2.9"})
    assert last["error"].startswith("UDP port 67 of 192.0.2.1: it is taken: a DHCP server or relay runs on this")
    (last,) = ask(client, where={"server": "203.0.113.1"})
    assert last["error"] == "the way to 203.0.113.1: Network is unreachable"
