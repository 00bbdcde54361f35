"""The ethernet transport while its interfaces change: down and up, gone and back, another address."""

from __future__ import annotations

import signal
import time

from ethernet_server import BROADCAST, Server, broadcast, decode, say
from namespaces import Host, Network, needs

pytestmark = needs()


def test_interface_down_and_up(net: Network, pair: tuple[Host, Host]) -> None:
    host, client = pair
    other = net.host("other")
    net.link(host, "eth1", other, "eth0")
    host.run("ip addr add 198.51.100.1/24 dev eth1")
    server = Server(host, "eth0", "eth1")
    cpu = server.cpu_seconds()
    host.down("eth0")
    assert server.next() == {"error": "[Errno 100] interface eth0 is down"}
    assert server.quiet(0.5)
    broadcast(other, "eth0", say("meanwhile", destination=BROADCAST))
    assert server.next()["message"] == "meanwhile"
    assert server.status()["receive_errors"] == 1
    assert server.cpu_seconds() - cpu < 0.3
    host.up("eth0")
    time.sleep(0.3)
    capture = client.capture("eth0")
    answer = {"destination": 0xC0000263, "hardware": client.hardware_address("eth0").hex()}
    broadcast(client, "eth0", say("back", **answer))
    assert server.next()["message"] == "back"
    assert decode(capture.next_udp())[1].dst == bytes([192, 0, 2, 99])
    broadcast(client, "eth0", say("back", destination=BROADCAST))
    assert decode(capture.next_udp())[1].dst == b"\xff" * 4
    host.down("eth0")
    server.next()
    assert server.next() == {"error": "[Errno 100] interface eth0 is down"}  # news again
    server.stop()


def test_sending_on_an_interface_that_is_down(net: Network, pair: tuple[Host, Host]) -> None:
    host, client = pair
    server = Server(host, "eth0", check_every=60)
    broadcast(client, "eth0", say("now"))
    assert server.next()["message"] == "now"
    # The server stops reading, the requests wait in its socket, the interface goes down, the answers fail.
    server.process.send_signal(signal.SIGSTOP)
    answers = [{"destination": BROADCAST}, {"destination": 0xC0000263, "hardware": "020000000001"}]
    broadcast(client, "eth0", *[say("late", **answer) for answer in answers * 2])
    host.down("eth0")
    server.process.send_signal(signal.SIGCONT)
    assert [server.next()["message"] for _ in range(4)] == ["late"] * 4
    assert server.status()["send_errors"] == 4
    server.stop()


def test_interface_gone_and_come_back(net: Network, pair: tuple[Host, Host]) -> None:
    host, _ = pair
    server = Server(host, "eth0")
    before = server.status()["interfaces"]
    host.run("ip link del eth0")
    assert server.next() == {"error": "[Errno 19] interface eth0 is gone"}
    assert server.status()["interfaces"] == [["eth0", [], 0]]
    assert server.quiet()
    newcomer = net.host("newcomer")
    net.link(host, "eth0", newcomer, "eth0")
    host.run("ip addr add 203.0.113.1/24 dev eth0")
    ((name, _, index),) = server.sees("203.0.113.1")["interfaces"]
    assert name == "eth0"
    assert index != before[0][2]
    capture = newcomer.capture("eth0")
    answer = {"destination": 0xC0000263, "hardware": newcomer.hardware_address("eth0").hex()}
    broadcast(newcomer, "eth0", say("hello", **answer))
    event = server.next()
    assert (event["message"], event["known"], event["index"]) == ("hello", True, index)
    ethernet, ip, _ = decode(capture.next_udp())
    assert (ethernet.src, ip.src) == (host.hardware_address("eth0"), bytes([203, 0, 113, 1]))
    server.stop()


def test_address_changes(pair: tuple[Host, Host]) -> None:
    host, client = pair
    server = Server(host, "eth0")
    host.run("ip link set eth0 address 02:00:00:00:00:77")
    host.run("ip addr add 198.51.100.1/24 dev eth0")
    host.run("ip addr add 198.51.100.7/24 dev eth0 label eth0:1")
    host.run("ip addr del 192.0.2.1/24 dev eth0")
    server.sees("198.51.100.1", "198.51.100.7")
    capture = client.capture("eth0")
    broadcast(client, "eth0", say("hello", destination=1, hardware=client.hardware_address("eth0").hex()))
    event = server.next()
    assert (event["addresses"], event["known"]) == ([0xC6336401, 0xC6336407], True)
    ethernet, ip, _ = decode(capture.next_udp())
    assert (ethernet.src, ip.src) == (bytes.fromhex("020000000077"), bytes([198, 51, 100, 1]))
    server.stop()
