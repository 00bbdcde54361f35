"""The ethernet transport on real interfaces: what it takes, and where its answers leave."""

from __future__ import annotations

import subprocess
import time

import dpkt
import pytest
from ethernet_server import ALL, BROADCAST, SEND_FRAME, Server, broadcast, decode, number, say
from namespaces import Host, Network, needs

from aiodhcp.transports.frame import build_frame

pytestmark = needs()

RELAY = """
import socket, sys
address, target, data = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.bind((address, 67))
    sock.settimeout(3)
    sock.sendto(data.encode(), (target, 67))
    data, source = sock.recvfrom(5000)
    print(data.decode(), *source, sep="|")
"""


def test_broadcast_of_a_client_without_an_address(pair: tuple[Host, Host]) -> None:
    server = Server(pair[0], "eth0")
    assert server.opened == {"ready": [["eth0", [0xC0000201]]]}
    broadcast(pair[1], "eth0", say("discover"))
    event = server.next()
    assert event.pop("index") > 1
    assert event == {
        "message": "discover",
        "interface": "eth0",
        "addresses": [0xC0000201],
        "known": True,
        "source": 0,
        "source_port": 68,
        "destination": BROADCAST,
    }
    server.stop()


def test_unicast_to_a_client_without_an_address(pair: tuple[Host, Host]) -> None:
    host, client = pair
    host.run("ip addr add 198.51.100.1/24 dev eth0")
    server = Server(host, "eth0")
    capture = client.capture("eth0")
    own = client.hardware_address("eth0")
    for source, size in ((0, 300), (0xC6336401, 301)):
        answer = {"destination": 0xC0000263, "hardware": own.hex(), "source": source, "size": size}
        broadcast(client, "eth0", say("discover", **answer))
        frame = capture.next_udp()
        ethernet, ip, udp = decode(frame)
        assert (ethernet.dst, ethernet.src) == (own, host.hardware_address("eth0"))
        assert int.from_bytes(ip.src, "big") == (source or 0xC0000201)
        assert ip.dst == bytes([192, 0, 2, 99])
        assert (udp.sport, udp.dport, len(udp.data)) == (67, 68, size)
        assert udp.data.startswith(b"answer to discover...")
        ip.sum = udp.sum = 0
        assert bytes(ethernet) == frame  # dpkt puts its own checksums where there are none
        assert server.next()["message"] == "discover"
    assert host.run("ip neigh").stdout == ""  # nobody was asked for
    assert server.status()["send_errors"] == 0
    server.stop()


def test_unicast_too_long_for_a_frame_is_broadcast(pair: tuple[Host, Host]) -> None:
    host, client = pair
    server = Server(host, "eth0")
    capture = client.capture("eth0")
    own = client.hardware_address("eth0")
    broadcast(client, "eth0", say("discover", destination=0xC0000263, hardware=own.hex(), size=3000))
    ethernet = dpkt.ethernet.Ethernet(capture.next_udp())
    assert (ethernet.dst, ethernet.data.dst, ethernet.data.mf) == (ALL, b"\xff" * 4, 1)
    assert (server.next()["message"], server.status()["send_errors"]) == ("discover", 0)
    server.stop()


@pytest.mark.parametrize("source", [0, 0xC0000201, 0xC6336401])
def test_broadcast_leaves_on_the_interface_of_the_request(pair: tuple[Host, Host], net: Network, source: int) -> None:
    host, one = pair
    other = net.host("other")
    net.link(host, "eth1", other, "eth0")
    host.run("ip addr add 198.51.100.1/24 dev eth0")
    host.run("ip addr add 203.0.113.1/24 dev eth1")
    server = Server(host, "eth0", "eth1")
    captures = {"eth0": one.capture("eth0"), "eth1": other.capture("eth0")}
    for client, arrived, quiet in ((one, "eth0", "eth1"), (other, "eth1", "eth0")):
        chosen = source if arrived == "eth0" else 0
        broadcast(client, "eth0", say(f"on {arrived}", destination=BROADCAST, source=chosen))
        event = server.next()
        assert (event["message"], event["interface"]) == (f"on {arrived}", arrived)
        ethernet, ip, udp = decode(captures[arrived].next_udp())
        assert (ethernet.dst, ip.dst, udp.dport) == (ALL, b"\xff" * 4, 68)
        assert int.from_bytes(ip.src, "big") == (chosen or event["addresses"][0])
        assert captures[quiet].next_udp(0.2) is None
    server.stop()


def test_instances_beside_each_other(net: Network, pair: tuple[Host, Host]) -> None:
    host, one = pair
    other = net.host("other")
    net.link(host, "eth1", other, "eth0")
    host.run("ip addr add 198.51.100.1/24 dev eth1")
    servers = Server(host, "eth0"), Server(host, "eth1")
    for client, mine, not_mine in ((one, *servers), (other, *servers[::-1])):
        broadcast(client, "eth0", *[say(f"{client.name} {count}") for count in range(5)])
        assert [mine.next()["message"] for _ in range(5)] == [f"{client.name} {count}" for count in range(5)]
        assert not_mine.quiet()
    refused = Server(host, "eth1").opened
    assert refused["kind"] == "OSError"
    assert "UDP port 67 on eth1: it is taken: another DHCP server or relay runs there" in refused["refused"]
    shared = Server(host, "eth1", port=1067)  # another port is nobody's
    assert "ready" in shared.opened
    for server in (*servers, shared):
        server.stop()


def test_beside_a_server_on_all_interfaces(pair: tuple[Host, Host]) -> None:
    host, client = pair
    everywhere = host.popen_python(
        "import socket, sys\n"
        "sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "sock.bind(('0.0.0.0', 67))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n",
        stdin=subprocess.PIPE,
    )
    assert everywhere.stdout.readline() == "ready\n"
    assert "reuse_address" in Server(host, "eth0").opened["refused"]
    server = Server(host, "eth0", reuse_address=True)
    broadcast(client, "eth0", say("discover"))
    assert server.next()["message"] == "discover"
    server.stop()


@needs(kinds=["vlan"])
def test_vlans_are_interfaces_of_their_own(pair: tuple[Host, Host]) -> None:
    host, client = pair
    for end in pair:
        end.vlan("eth0", 10)
    host.run("ip addr add 198.51.100.1/24 dev eth0.10")
    capture = client.capture("eth0")
    untagged, tagged = Server(host, "eth0"), Server(host, "eth0.10")
    answer = {"destination": 0xC6336463, "hardware": client.hardware_address("eth0.10").hex()}
    broadcast(client, "eth0.10", say("tagged", **answer))
    assert tagged.next()["interface"] == "eth0.10"
    tag = dpkt.ethernet.Ethernet(capture.next_udp()).vlan_tags[0]
    assert tag.id == 10
    assert untagged.quiet()
    broadcast(client, "eth0", say("untagged", destination=BROADCAST))
    assert untagged.next()["interface"] == "eth0"
    assert decode(capture.next_udp())[0].type == 0x0800
    assert tagged.quiet()
    untagged.stop()
    tagged.stop()


def test_tagged_frames_are_not_for_the_untagged_interface(pair: tuple[Host, Host]) -> None:
    host, client = pair
    server = Server(host, "eth0")
    frame = build_frame(say("tagged"), ALL, client.hardware_address("eth0"), 0, BROADCAST, 68, 67)
    client.python(SEND_FRAME, "eth0", (frame[:12] + b"\x81\0\0\x0a" + frame[12:]).hex())
    broadcast(client, "eth0", say("untagged"))
    assert server.next()["message"] == "untagged"
    server.stop()


def test_on_a_bridge(net: Network, pair: tuple[Host, Host]) -> None:
    host, one = pair
    other = net.host("other")
    net.link(host, "eth1", other, "eth0")
    host.bridge("br0", "eth0", "eth1")
    host.run("ip addr flush dev eth0")
    host.run("ip addr add 192.0.2.1/24 dev br0")
    server = Server(host, "br0")
    for client, neighbour in ((one, other), (other, one)):
        captures = client.capture("eth0"), neighbour.capture("eth0")
        own = client.hardware_address("eth0")
        answers = [{"destination": 0xC0000263, "hardware": own.hex()}, {"destination": BROADCAST}]
        broadcast(client, "eth0", *[say(client.name, **answer) for answer in answers])
        assert [server.next()["interface"] for _ in range(2)] == ["br0", "br0"]
        assert [decode(captures[0].next_udp(ports=[68]))[0].dst for _ in range(2)] == [own, ALL]
        assert decode(captures[1].next_udp(ports=[68]))[0].dst == ALL
    server.stop()


def test_relay_behind_a_router(pair: tuple[Host, Host]) -> None:
    host, relay = pair
    host.run("ip addr add 192.0.2.5/24 dev eth0")
    host.run("ip route add 10.0.0.0/8 via 192.0.2.2")
    relay.run("ip addr add 192.0.2.2/24 dev eth0")
    relay.run("ip addr add 10.1.0.1/16 dev lo")
    host.run("ip addr add 198.51.100.1/24 dev eth0")
    relay.run("ip addr add 198.51.100.2/24 dev eth0")
    server = Server(host, "eth0")
    for target in ("192.0.2.1", "192.0.2.5", "198.51.100.1"):
        for address in ("192.0.2.2", "198.51.100.2", "10.1.0.1"):
            answer = {"destination": number(address), "port": 67, "source": number(target)}
            result = relay.python(RELAY, address, target, say("relayed", **answer).decode())
            data, *source = result.stdout.strip().split("|")
            assert data.rstrip(".") == "answer to relayed"
            assert source == [target, "67"]
            event = server.next()
            assert (event["source"], event["source_port"]) == (number(address), 67)
            assert (event["destination"], event["interface"]) == (number(target), "eth0")
    # A broadcast into the server's network is a broadcast.
    relay.python(RELAY, "192.0.2.2", "192.0.2.255", say("directed", destination=0xC0000202, port=67).decode())
    assert server.next()["destination"] == BROADCAST
    assert server.status()["send_errors"] == 0
    server.stop()


def test_answer_takes_another_way_than_the_request(net: Network, pair: tuple[Host, Host]) -> None:
    host, relay = pair
    net.link(host, "eth1", relay, "eth1")
    host.run("ip addr add 198.51.100.1/24 dev eth1")
    relay.run("ip addr add 192.0.2.2/24 dev eth0")
    relay.run("ip addr add 198.51.100.2/24 dev eth1")
    relay.run("ip addr add 10.1.0.1/16 dev lo")
    for end in pair:  # nobody may mind that a packet comes from elsewhere, or own an address of another interface
        for name, value in (("rp_filter", 0), ("arp_ignore", 1), ("arp_announce", 2)):
            end.run(["sh", "-c", f"for f in /proc/sys/net/ipv4/conf/*/{name}; do echo {value} > $f; done"])
    host.run("ip route add 10.1.0.0/16 via 198.51.100.2")
    server = Server(host, "eth0")
    for source in (0, 0xC0000201):
        answer = say("relayed", destination=0x0A010001, port=67, source=source, size=2000).decode()
        result = relay.python(RELAY, "10.1.0.1", "192.0.2.1", answer)
        assert result.stdout.strip().split("|")[1:] == ["192.0.2.1", "67"]
        assert server.next()["interface"] == "eth0"
    host.run("ip route replace 10.1.0.0/16 via 192.0.2.2")  # noticed, though the way was remembered
    time.sleep(0.3)
    capture = relay.capture("eth0")
    relay.python(RELAY, "10.1.0.1", "192.0.2.1", say("again", destination=0x0A010001, port=67).decode())
    assert decode(capture.next_udp())[1].dst == bytes([10, 1, 0, 1])
    assert server.next()["message"] == "again"
    server.stop()


def test_interface_that_is_not_ethernet(net: Network) -> None:
    host = net.host("server")
    server = Server(host, "lo")
    capture = host.capture("lo", both_ways=True)
    message = say("hello", destination=number("127.0.0.9"), hardware="020000000001")
    host.python(
        "import socket, sys\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:\n"
        "    sock.sendto(sys.argv[1].encode(), ('127.0.0.1', 67))\n",
        message.decode(),
    )
    assert server.next()["destination"] == number("127.0.0.1")
    assert decode(capture.next_udp(ports=[68]))[1].dst == b"\xff" * 4
    server.stop()


def test_interface_without_an_address(net: Network, pair: tuple[Host, Host]) -> None:
    net.link(pair[0], "eth1", pair[1], "eth1")
    opened = Server(pair[0], "eth0", "eth1").opened
    assert opened["kind"] == "ConfigError"
    assert opened["refused"].startswith("interface 'eth1' has no IPv4 address: give it one")
    assert "ready" in Server(pair[0], "eth0").opened  # nothing stayed open


@needs("setpriv")
@pytest.mark.parametrize(("missing", "what"), [("net_raw", "packet socket"), ("net_bind_service", "UDP port 67")])
def test_without_a_capability(pair: tuple[Host, Host], missing: str, what: str) -> None:

    prefix = ("setpriv", f"--bounding-set=-{missing}", f"--inh-caps=-{missing}")
    opened = Server(pair[0], "eth0", prefix=prefix).opened
    assert opened["kind"] == "PermissionError"
    assert what in opened["refused"]
    assert "on eth0: it needs a privilege: run as root, or give the process CAP_NET_BIND" in opened["refused"]
