"""``aiodhcp capture`` on real interfaces, with a real client; and what it writes is what ``aiodhcp replay`` reads."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from namespaces import Host, Network, needs

from aiodhcp.captures import Captured, read_capture
from aiodhcp.packet import Packet

pytestmark = needs("udhcpc")

DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
CONFIG = """
interfaces = ["{interface}"]
store.type = "memory"
[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.10-192.0.2.99"]
"""
NOISE = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for port in (53, 66, 69, 6767):
    sock.sendto(b"noise", ("192.0.2.255", port))
"""


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read what it says until it says this."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"ended with {process.wait()} without {words!r}")


def serve(host: Host, tmp_path: Path, interface: str = "eth0") -> None:
    file = tmp_path / "dhcp.toml"
    file.write_text(CONFIG.format(interface=interface))
    server = host.popen([sys.executable, "-m", "aiodhcp", "serve", str(file)], stderr=subprocess.PIPE)
    wait_for(server, "serving")


def capture(host: Host, *arguments: object, **options: Any) -> subprocess.Popen[Any]:
    command = [sys.executable, "-m", "aiodhcp", "capture", *map(str, arguments)]
    process = host.popen(command, stderr=subprocess.PIPE, **options)
    wait_for(process, "capturing on")
    return process


def join(client: Host, interface: str = "eth0") -> None:
    client.run(f"udhcpc -n -q -f -i {interface} -s /bin/true -t 5 -T 1")


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 0, said
    return said


def messages(path: Path) -> tuple[list[tuple[Any, str]], list[Captured]]:
    """The type and the place of each message, all being whole ones."""
    skipped: Counter[str] = Counter()
    found = list(read_capture(path, skipped))
    assert not skipped
    return [(Packet(each.data).message_type, each.place) for each in found], found


def test_a_conversation_and_nothing_else(pair: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = pair
    serve(server, tmp_path)
    path = tmp_path / "lan.pcapng"
    running = capture(server, "-i", "eth0", "-w", path)
    server.python(NOISE)
    join(client)
    server.python(NOISE)
    assert "4 packets written to" in end(running)
    found, captured = messages(path)
    assert found == [(kind, "eth0") for kind in (DISCOVER, OFFER, REQUEST, ACK)]
    assert [each.time for each in captured] == sorted(each.time for each in captured)
    replayed = server.run([sys.executable, "-m", "aiodhcp", "replay", str(path)]).stdout
    assert "verdicts  1 ACK, 1 OFFER\n" in replayed


@needs("udhcpc", kinds=["vlan"])
def test_tagged_frames_on_the_interface_below(pair: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = pair
    for host in pair:
        host.vlan("eth0", 10)
    server.run("ip addr del 192.0.2.1/24 dev eth0")
    server.run("ip addr add 192.0.2.1/24 dev eth0.10")
    serve(server, tmp_path, "eth0.10")
    path = tmp_path / "lan.pcap"
    running = capture(server, "-i", "eth0", "-w", path, "--format", "pcap", "--count", 4)
    join(client, "eth0.10")
    _, said = running.communicate(timeout=10)
    assert (running.returncode, "4 packets written" in said) == (0, True)
    assert messages(path)[0] == [(kind, ".10") for kind in (DISCOVER, OFFER, REQUEST, ACK)]


TAGGED = """
import socket, struct, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("eth0", 0))
for tags in (b"", b"\\x81\\x00\\x00\\x0a", b"\\x88\\xa8\\x00\\x14\\x81\\x00\\x00\\x0a"):
    for port in (67, 53):
        udp = struct.pack("!HHHH", 68, port, 8, 0) if port == 67 else struct.pack("!HHHH", 1024, port, 8, 0)
        ip = struct.pack("!BBHHHBBHII", 0x45, 0, 28, 0, 0, 64, 17, 0, 0, 0xFFFFFFFF)
        sock.send(b"\\xff" * 6 + b"\\2" * 6 + tags + b"\\x08\\x00" + ip + udp)
"""


def test_tags_that_the_kernel_takes_off_are_in_the_file(pair: tuple[Host, Host], tmp_path: Path) -> None:
    _, client = pair
    path = tmp_path / "lan.pcapng"
    running = [capture(host, "-i", "eth0", "-w", f"{path}{host.name}", "--count", 3) for host in pair]
    client.python(TAGGED)
    for process in running:
        process.communicate(timeout=10)
    for host in pair:
        found = list(read_capture(f"{path}{host.name}"))
        assert [each.place for each in found] == ["eth0", "eth0.10", "eth0.20.10"]


def test_two_interfaces_to_standard_output(net: Network, pair: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = pair
    net.link(server, "veth-with_odd.0", client, "eth1")
    serve(server, tmp_path)
    path = tmp_path / "both.pcapng"
    with path.open("wb") as file:
        running = capture(server, "-i", "eth0", "-i", "veth-with_odd.0", "-w", "-", stdout=file)
        client.run("udhcpc -n -q -f -i eth1 -s /bin/true -t 1 -T 1", check=False)
        join(client)
        assert "5 packets written to standard output" in end(running, signal.SIGINT)
    assert messages(path)[0] == [
        (DISCOVER, "veth-with_odd.0"),
        *((kind, "eth0") for kind in (DISCOVER, OFFER, REQUEST, ACK)),
    ]


def test_what_is_killed_leaves_what_it_had(pair: tuple[Host, Host], tmp_path: Path) -> None:
    server, client = pair
    serve(server, tmp_path)
    path = tmp_path / "lan.pcapng"
    running = capture(client, "-i", "eth0", "-w", path)
    join(client)
    running.kill()
    running.wait()
    assert [kind for kind, _ in messages(path)[0]] == [DISCOVER, OFFER, REQUEST, ACK]


def test_an_interface_that_goes_away(pair: tuple[Host, Host], tmp_path: Path) -> None:
    server, _ = pair
    path = tmp_path / "lan.pcapng"
    running = capture(server, "-i", "eth0", "-w", path)
    server.run("ip link del eth0")
    _, said = running.communicate(timeout=10)
    assert running.returncode == 1
    assert "eth0 is gone: there is nothing left to capture on\n0 packets written" in said
    assert messages(path) == ([], [])


def test_what_can_not_be_captured(pair: tuple[Host, Host], tmp_path: Path) -> None:
    server, _ = pair
    for arguments, status, said in (
        (["-i", "eth7"], 1, "aiodhcp: no interface 'eth7'; there are: lo, eth0\n"),
        (["-i", "eth0", "-i", "eth0"], 2, "--interface: one is named twice: eth0, eth0\n"),
        (["-i", "eth0", "--format", "erf"], 2, "--format: expected pcapng or pcap, got 'erf'\n"),
        (["-i", "eth0", "--duration", "soon"], 2, "--duration: expected "),
    ):
        command = [sys.executable, "-m", "aiodhcp", "capture", *arguments, "-w", str(tmp_path / "none")]
        result = server.run(command, check=False)
        assert result.stderr.startswith(said)
        assert result.returncode == status
    assert not (tmp_path / "none").exists()
    command = [sys.executable, "-m", "aiodhcp", "capture", "-i", "eth0", "-w", str(tmp_path / "no/dir")]
    assert "No such file or directory: " in server.run(command, check=False).stderr
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", *command[:-1], str(tmp_path / "none")]
    if server.run("setpriv --version", check=False).returncode == 0:
        refused = server.run(command, check=False)
        assert refused.returncode == 1
        assert "a packet socket on eth0: it needs a privilege: run as root" in refused.stderr
