"""The prober on real links: whose address is found, whose is not, what it survives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ethernet_server import SEND_FRAME, number
from namespaces import Host, Network, needs

from aiodhcp.prober import arp_probe

on_links = needs()
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
LOOPBACK = 1
"""The number of "lo", in any network namespace."""

PROBER = """
import asyncio, json, logging, os, socket, subprocess, sys, time, warnings
from aiodhcp.exchange import Interface
from aiodhcp.prober import Prober

warnings.simplefilter("error")
told = []
noted = logging.Handler()
noted.emit = lambda record: told.append(f"{record.levelname} {record.getMessage()}")
logging.getLogger("aiodhcp.prober").addHandler(noted)
prober = Prober()


def number(address):
    return int.from_bytes(socket.inet_aton(address), "big")


def interface(name):
    return Interface(name, (), dict(map(reversed, socket.if_nameindex())).get(name, 0))


async def ask(address, on="eth0", method="arp", timeout=1.0):
    return await prober.in_use(number(address), interface(on) if isinstance(on, str) else on, method, timeout)


def run(command):
    subprocess.run(command.split(), check=True)


async def main(*arguments):
    started = time.monotonic()
    answers = await script(*arguments)
    took = time.monotonic() - started
    prober.close()
    prober.close()
    print(json.dumps({"answers": answers, "told": told, "took": took, "open": len(os.listdir("/proc/self/fd"))}))

"""
"""What a script finds: it defines ``script``, which returns the answers."""

RUN = "\nasyncio.run(main(*json.loads(sys.argv[1])))\n"

TOGETHER = """
async def script(*questions):
    return await asyncio.gather(*[ask(**question) for question in questions])
"""

WAITING = """
async def script(address, seconds):
    asking = asyncio.create_task(ask(address, timeout=seconds))
    await asyncio.sleep(0.1)
    print("asked", flush=True)
    return [await asking]
"""

FORGER = """
import socket
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
link.bind(("eth0", 0x0800))
nine, ten = (socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) for _ in range(2))
nine.bind(("192.0.2.9", 0))
ten.bind(("192.0.2.10", 0))


def send(sock, head, rest):
    checksum = -int.from_bytes(head + rest, "big") % 65535
    sock.sendto(head + checksum.to_bytes(2, "big") + rest, ("192.0.2.1", 0))


print("ready", flush=True)
while True:
    packet = link.recv(2000)
    if packet[9] == 1 and packet[20] == 8:
        rest = packet[24:]
        if packet[16:20] != bytes([192, 0, 2, 10]):
            send(nine, bytes([0, 0]), rest)
            continue
        for at in (0, 2, 4, len(rest) - 1):
            send(ten, bytes([0, 0]), rest[:at] + bytes([rest[at] ^ 1]) + rest[at + 1 :])
        send(ten, bytes([0, 0]), rest[:-1])
        send(ten, bytes([0, 0]), rest + bytes(2))
        send(ten, bytes([3, 1]), rest)
        send(ten, bytes([8, 0]), rest)
"""


def play(host: Host, script: str, *arguments: Any, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a script in a host; nothing may be said on its standard error."""
    result = host.run([*prefix, sys.executable, "-c", PROBER + script + RUN, json.dumps(arguments)], timeout=20)
    assert result.stderr == ""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ask(host: Host, *questions: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Ask all at once."""
    return play(host, TOGETHER, *questions, prefix=prefix)


def meanwhile(host: Host, address: str, seconds: float, happens: Callable[[], object]) -> dict[str, Any]:
    """Ask by ARP, and let something happen after the first question and before the second."""
    process = host.popen_python(PROBER + WAITING + RUN, json.dumps([address, seconds]))
    assert process.stdout.readline() == "asked\n"
    happens()
    found: dict[str, Any] = json.loads(process.stdout.readline())
    assert process.wait(5) == 0
    return found


def announcement(address: str) -> bytes:
    """What the peer would broadcast when it took an address (RFC 5227 §2.3)."""
    frame = arp_probe(number(address), bytes.fromhex("020000000009"))
    return frame[:28] + frame[38:42] + frame[32:]


def question(address: str, method: str = "arp", on: str = "eth0", timeout: float = 1.0) -> dict[str, Any]:
    return {"address": address, "method": method, "on": on, "timeout": timeout}


@pytest.fixture
def server(pair: tuple[Host, Host]) -> Host:
    return pair[0]


@pytest.fixture
def peer(pair: tuple[Host, Host]) -> Host:
    """It has 192.0.2.9 and 02:00:00:00:00:09."""
    pair[1].down("eth0")
    pair[1].run("ip link set eth0 address 02:00:00:00:00:09")
    pair[1].up("eth0")
    pair[1].run("ip addr add 192.0.2.9/24 dev eth0")
    return pair[1]


@on_links
def test_who_has_an_address_is_told_by_arp_and_by_icmp(server: Host, peer: Host) -> None:
    found = ask(server, question("192.0.2.9"), question("192.0.2.9", "icmp"))
    assert found["answers"] == ["02:00:00:00:00:09", "answers ICMP echo"]
    assert found["told"] == []


@on_links
def test_a_free_address_is_nobodys_when_the_time_is_over(server: Host, peer: Host) -> None:
    found = ask(server, question("192.0.2.66", timeout=0.4), question("192.0.2.66", "icmp", timeout=0.4))
    assert found["answers"] == ["", ""]
    assert 0.3 < found["took"] < 5
    assert found["told"] == []


@on_links
def test_who_answers_no_ping_is_found_by_arp(server: Host, peer: Host) -> None:
    peer.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all"])
    found = ask(server, question("192.0.2.9"), question("192.0.2.9", "icmp", timeout=0.4))
    assert found["answers"] == ["02:00:00:00:00:09", ""]


@on_links
def test_fifty_questions_take_the_time_of_one(server: Host, peer: Host) -> None:
    addresses = [f"192.0.2.{last}" for last in range(9, 59)]
    questions = [question(address, method) for address in addresses for method in ("arp", "icmp")]
    found = ask(server, *questions)
    assert found["answers"] == ["02:00:00:00:00:09", "answers ICMP echo", *[""] * 98]
    assert found["took"] < 10


@on_links
def test_two_who_ask_for_the_same_address_are_both_answered(server: Host, peer: Host) -> None:
    methods = ["arp", "icmp"] * 3
    found = ask(server, *[question("192.0.2.9", method) for method in methods])
    assert found["answers"] == ["02:00:00:00:00:09", "answers ICMP echo"] * 3


@on_links
def test_the_question_is_asked_twice_and_tells_no_own_address(server: Host, peer: Host) -> None:
    capture = peer.capture("eth0")
    assert ask(server, question("192.0.2.66", timeout=0.4))["answers"] == [""]
    probe = arp_probe(number("192.0.2.66"), server.hardware_address("eth0"))
    frames = []
    while frame := capture.next(0.5):
        frames.append(frame)
    assert [frame[:42] for frame in frames] == [probe, probe]
    assert (server.run("ip neigh").stdout, peer.run("ip neigh").stdout) == ("", "")


@on_links
def test_a_neighbour_that_appears_late_is_found_by_the_second_question(server: Host, peer: Host) -> None:
    found = meanwhile(server, "192.0.2.10", 4, lambda: peer.run("ip addr add 192.0.2.10/24 dev eth0"))
    assert found["answers"] == ["02:00:00:00:00:09"]


@on_links
def test_whoever_says_that_it_has_the_address_has_it_asked_or_not(server: Host, peer: Host) -> None:
    frame = announcement("192.0.2.66").hex()
    found = meanwhile(server, "192.0.2.66", 6, lambda: peer.python(SEND_FRAME, "eth0", frame))
    assert found["answers"] == ["02:00:00:00:00:09"]


@on_links
def test_what_another_vlan_says_does_not_count(server: Host, peer: Host) -> None:
    frame = announcement("192.0.2.66")
    tagged = frame[:12] + b"\x81\0\0\x0a" + frame[12:]
    found = meanwhile(server, "192.0.2.66", 1.5, lambda: peer.python(SEND_FRAME, "eth0", tagged.hex()))
    assert found["answers"] == [""]


@on_links
def test_another_who_asks_for_the_address_does_not_have_it(server: Host, peer: Host) -> None:
    frame = arp_probe(number("192.0.2.66"), peer.hardware_address("eth0")).hex()
    found = meanwhile(server, "192.0.2.66", 1.5, lambda: peer.python(SEND_FRAME, "eth0", frame))
    assert found["answers"] == [""]


@on_links
def test_garbage_on_the_link_is_not_minded(server: Host, peer: Host) -> None:
    script = """
async def script():
    assert await ask("192.0.2.66", timeout=0.1) == ""  # the sockets are open
    assert await ask("192.0.2.66", method="icmp", timeout=0.1) == ""
    print("ready", flush=True)
    sys.stdin.readline()
    return [await ask("192.0.2.9"), await ask("192.0.2.9", method="icmp")]
"""
    process = server.popen_python(PROBER + script + RUN, "[]", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    own = server.hardware_address("eth0")
    head = (own + bytes.fromhex("020000000009") + b"\x08\x06").hex()
    frames = [head + "ff" * length for length in (0, 1, 27, 28, 60, 1000)]
    peer.python(SEND_FRAME, "eth0", *frames)
    peer.python(
        "import socket\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:\n"
        "    for data in (b'\\0' * 2, b'\\0' * 7, b'\\0' * 8, b'\\0' * 28, b'\\0' * 1400, b'\\x03' * 60):\n"
        "        sock.sendto(data, ('192.0.2.1', 0))\n"
    )
    process.stdin.write("\n")
    process.stdin.flush()
    found = json.loads(process.stdout.readline())
    assert found["answers"] == ["02:00:00:00:00:09", "answers ICMP echo"]
    assert found["told"] == []
    assert process.wait(5) == 0


@on_links
def test_a_foreign_or_forged_reply_does_not_count(server: Host, peer: Host) -> None:
    """All echo requests come to the peer: as 192.0.2.9 it repeats them, as 192.0.2.10 not quite."""
    peer.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all"])
    peer.run("ip addr add 192.0.2.10/24 dev eth0")
    server.run("ip route add 198.51.100.0/24 via 192.0.2.9")
    forger = peer.popen_python(FORGER)
    assert forger.stdout.readline() == "ready\n"
    addresses = ["192.0.2.9", "192.0.2.10", "198.51.100.66"]
    found = ask(server, *[question(address, "icmp", timeout=0.6) for address in addresses])
    assert found["answers"] == ["answers ICMP echo", "", ""]


@on_links
def test_beyond_a_router(server: Host, peer: Host) -> None:
    """Destination unreachable means that nobody is there; no route at all, that nobody can be asked."""
    peer.run("ip addr add 198.51.100.1/24 dev lo")
    peer.run("ip route add unreachable 198.51.100.64/26")
    peer.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    server.run("ip route add 198.51.100.0/24 via 192.0.2.9")
    addresses = ["198.51.100.1", "198.51.100.66", "203.0.113.1", "203.0.113.2"]
    found = ask(server, *[question(address, "icmp", timeout=0.6) for address in addresses])
    assert found["answers"] == ["answers ICMP echo", "", "", ""]
    (warning,) = found["told"]
    assert warning.startswith("WARNING ICMP: can't ask whether an address is in use: ")
    assert "unreachable" in warning


@on_links
def test_what_is_not_ethernet_is_asked_by_icmp(server: Host) -> None:
    found = ask(server, question("127.0.0.9", on="lo"), question("127.0.0.9", on="udp"))
    assert found["answers"] == ["answers ICMP echo"] * 2
    assert found["told"] == []


@on_links
def test_a_cable_that_is_out(server: Host, peer: Host) -> None:
    peer.down("eth0")
    found = ask(server, question("192.0.2.9", timeout=0.4), question("192.0.2.9", "icmp", timeout=0.4))
    assert found["answers"] == ["", ""]


@on_links
def test_an_interface_that_is_down_goes_and_comes_back(server: Host, peer: Host) -> None:
    """One warning for each kind of problem, one socket for what is there."""
    script = """
async def script():
    there = interface("eth0")
    answers = [await ask("192.0.2.9", there)]
    sockets = len(os.listdir("/proc/self/fd"))
    run("ip link set eth0 down")
    answers += [await ask("192.0.2.9", there, timeout=0.2) for _ in range(3)]
    run("ip link set eth0 up")
    answers.append(await ask("192.0.2.9", there, timeout=6.0))
    run("ip link del eth0")
    answers += [await ask("192.0.2.9", there, timeout=0.2) for _ in range(3)]
    print("gone", flush=True)
    sys.stdin.readline()
    answers.append(await ask("192.0.2.9", timeout=6.0))
    assert interface("eth0").index != there.index
    assert len(os.listdir("/proc/self/fd")) == sockets
    return answers
"""
    process = server.popen_python(PROBER + script + RUN, "[]", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "gone\n"
    server.run(f"ip link add name other type veth peer name eth0 address 02:00:00:00:00:08 netns {peer.pid}")
    server.run("ip link set other name eth0")
    peer.run("ip addr add 192.0.2.9/24 dev eth0")
    for end in (server, peer):
        end.up("eth0")
    process.stdin.write("\n")
    process.stdin.flush()
    found = json.loads(process.stdout.readline())
    first, new = "02:00:00:00:00:09", "02:00:00:00:00:08"
    assert found["answers"] == [first, "", "", "", first, "", "", "", new]
    assert len(found["told"]) == 2
    assert all(warning.startswith("WARNING ARP on eth0: can't ask") for warning in found["told"])
    assert process.wait(5) == 0


@on_links
def test_an_interface_that_goes_while_somebody_waits(server: Host, peer: Host) -> None:
    script = """
async def script():
    asking = asyncio.create_task(ask("192.0.2.66", timeout=1.0))
    await asyncio.sleep(0.2)
    run("ip link del eth0")
    return [await asking]
"""
    found = play(server, script)
    assert found["answers"] == [""]
    assert found["told"]


@on_links
def test_who_waits_when_it_is_closed_is_told_at_once_and_it_opens_again(server: Host, peer: Host) -> None:
    script = """
async def script():
    asking = [asyncio.create_task(ask("192.0.2.66", method=method, timeout=60.0)) for method in ("arp", "icmp")]
    await asyncio.sleep(0.2)
    prober.close()
    answers = await asyncio.gather(*asking)
    answers += [await ask("192.0.2.9", method=method) for method in ("arp", "icmp")]
    return answers
"""
    found = play(server, script)
    assert found["answers"] == ["", "", "02:00:00:00:00:09", "answers ICMP echo"]
    assert found["took"] < 20
    assert found["told"] == []


@on_links
def test_who_asked_may_go_away(server: Host, peer: Host) -> None:
    script = """
async def script():
    for method in ("arp", "icmp"):
        patient = asyncio.create_task(ask("192.0.2.9", method=method))
        hasty = asyncio.create_task(ask("192.0.2.9", method=method))
        lonely = asyncio.create_task(ask("192.0.2.66", method=method, timeout=60.0))
        await asyncio.sleep(0)
        hasty.cancel()
        answer = await patient
        lonely.cancel()
        await asyncio.wait([hasty, lonely])
        assert hasty.cancelled() and lonely.cancelled()
    lines = [*prober._links.values(), prober._echo]
    return [len(line._waiting) for line in lines]
"""
    assert play(server, script)["answers"] == [0, 0]


@needs("setpriv")
@pytest.mark.parametrize("ping", [True, False], ids=["ping for all", "ping for nobody"])
def test_without_the_privilege_for_raw_sockets(server: Host, peer: Host, ping: bool) -> None:
    group = "0 0" if ping else "1 0"
    server.run(["sh", "-c", f"echo {group} > /proc/sys/net/ipv4/ping_group_range"])
    prefix = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    both = [question("192.0.2.9", "icmp"), question("192.0.2.66", "icmp", timeout=0.4)]
    found = ask(server, *both, *both, question("192.0.2.9"), question("192.0.2.9"), prefix=prefix)
    assert found["answers"] == ["answers ICMP echo" if ping else "", ""] * 2 + ["", ""]
    assert len(found["told"]) == (1 if ping else 2)
    assert all("CAP_NET_RAW" in warning for warning in found["told"])


@on_links
def test_the_links_of_several_interfaces_are_not_confused(net: Network, server: Host, peer: Host) -> None:
    other = net.host("other")
    net.link(server, "eth1", other, "eth0")
    other.run("ip addr add 192.0.2.10/24 dev eth0")
    questions = [
        question(address, on=on, timeout=0.6) for on in ("eth0", "eth1") for address in ("192.0.2.9", "192.0.2.10")
    ]
    found = ask(server, *questions)
    assert found["answers"] == ["02:00:00:00:00:09", "", "", other.hardware_address("eth0").hex(":")]
