"""dhcpd and Kea, by their forms of docs/side-by-side.md, have the conversations that aiodhcp has.

Those with aiodhcp are in ../test_docs_side_by_side.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from client import Client, Clock, dotted
from clients import until
from namespaces import Host, Network, needs
from side_by_side import CONVERSATIONS, PAGE, behind_a_relay_agent, copied, kea, obstacle, renewals_past_the_agent

from aiodhcp import Packet
from aiodhcp.constants import BROADCAST_ADDRESS

SERVER = "192.0.2.1"
RELAY_AGENTS = ("192.0.2.254", "198.51.100.1")
PATIENCE = 1.0
"""Seconds after which there is no answer. dhcpd and Kea take some milliseconds."""

# In the host of the relay agents: takes a message in hex a line, and the address and the port to send it from, and
# prints what comes back.
_SENDER = """
import socket, sys
for line in sys.stdin:
    message, source, port, patience = line.split()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source, int(port)))
        sock.settimeout(float(patience))
        sock.sendto(bytes.fromhex(message), ("192.0.2.1", 67))
        try:
            print(sock.recv(2048).hex(), flush=True)
        except TimeoutError:
            print(flush=True)
"""


class RemoteClient(Client):
    """A client whose messages go through a network to a server in another process."""

    def __init__(self, relay: Host, sender: subprocess.Popen[str], **options: Any) -> None:
        super().__init__(None, Clock(), **options)  # type: ignore[arg-type]
        self.relay, self.sender = relay, sender
        self.exchange = SimpleNamespace(why="the server did not answer")  # type: ignore[assignment]

    def send(self, data: Packet | bytes, *, source: int = 0, destination: int = BROADCAST_ADDRESS) -> Packet | None:
        """Send a message: a broadcast through the relay agent, anything else from the client's address."""
        if destination == BROADCAST_ADDRESS:
            end = f"{dotted(self.giaddr)} 67"
        else:
            if dotted(source) not in self.relay.addresses("eth0"):
                self.relay.run(f"ip addr add {dotted(source)}/32 dev eth0")
            end = f"{dotted(source)} 68"
        assert self.sender.stdin is not None
        assert self.sender.stdout is not None
        self.sender.stdin.write(f"{bytes(data).hex()} {end} {PATIENCE}\n")
        self.sender.stdin.flush()
        reply = bytes.fromhex(self.sender.stdout.readline())
        return self.take(reply) if reply else None


def dhcpd(heading: str, directory: Path) -> tuple[list[str], str]:
    """ISC dhcpd, without the echo request that takes a second before each offer.

    And without its cache of leases: who renews after a second is given 1199 of 1200 seconds by that.
    """
    own = "ping-check false;\nddns-update-style none;\ndhcp-cache-threshold 0;\n"
    (directory / "dhcpd.conf").write_text(own + PAGE[heading]["dhcpd"])
    (directory / "leases").touch()
    files = ["-cf", "dhcpd.conf", "-lf", "leases", "-pf", "pid"]
    return [str(copied("dhcpd", directory)), "-4", "-d", *files, "eth0"], "Server starting service."


def kea_dhcp4(heading: str, directory: Path) -> tuple[list[str], str]:
    """Kea."""
    if PAGE[heading]["json"].count("libdhcp_") > len(kea(heading)["Dhcp4"]["hooks-libraries"]):
        pytest.skip("the hook library is not installed")
    (directory / "kea.json").write_text(json.dumps(kea(heading)))
    return [str(copied("kea-dhcp4", directory)), "-c", "kea.json"], "DHCP4_STARTED"


PEERS: dict[str, Callable[[str, Path], tuple[list[str], str]]] = {"dhcpd": dhcpd, "kea-dhcp4": kea_dhcp4}


def peer(name: str) -> ParameterSet:
    """Such a server, where it is installed and there are namespaces."""
    here = pytest.mark.skipif(bool(obstacle(name)), reason=obstacle(name))
    return pytest.param(name, marks=[needs(), here])


@pytest.mark.parametrize("heading", CONVERSATIONS)
@pytest.mark.parametrize("peer", [peer(name) for name in PEERS])
def test_the_other_servers_do_the_same(net: Network, tmp_path: Path, peer: str, heading: str) -> None:
    command, says = PEERS[peer](heading, tmp_path)
    server, relay = net.host("server"), net.host("relay")
    net.link(server, "eth0", relay, "eth0")
    server.run(f"ip addr add {SERVER}/24 dev eth0")
    server.run(f"ip route add 198.51.100.0/24 via {RELAY_AGENTS[0]}")
    for each in RELAY_AGENTS:
        relay.run(f"ip addr add {each}/24 dev eth0")
    server.cover("/run")  # with the socket of the machine's log
    own = {"KEA_PIDFILE_DIR": str(tmp_path), "KEA_LOCKFILE_DIR": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = server.popen(command, cwd=tmp_path, env=own, stdout=log, stderr=log)

    def serves() -> bool:
        assert process.poll() is None, f"{peer} ended with {process.returncode}"
        return says in (tmp_path / "log").read_text()

    try:
        until(f"{peer} serves", serves)
        sender = relay.popen_python(_SENDER, stdin=subprocess.PIPE)
        clients = behind_a_relay_agent(lambda **options: RemoteClient(relay, sender, **options))
        CONVERSATIONS[heading](clients)
        if heading == "Behind a relay agent" and peer == "dhcpd":
            renewals_past_the_agent(clients)
    finally:
        print((tmp_path / "log").read_text())
