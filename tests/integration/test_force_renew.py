"""A client that is told to renew by ``aiodhcp force-renew``, on real interfaces; what others say it ignores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clients import Server
from namespaces import Host, needs

pytestmark = needs()

CONFIG = """
interfaces = ["eth0"]
[options]
domain-name = "{name}.test"
[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.10-192.0.2.99"]
"""

CLIENT = """
import asyncio, json, sys, warnings
warnings.simplefilter("error")
from aiodhcp.client import *

def tell(event):
    print(json.dumps({"message": message_name(event.packet), "peer": str(event.peer)}), flush=True)

async def main():
    async with InterfaceLink("eth0") as link:
        lease = await obtain(link, options=json.loads(sys.argv[1]))
        print(json.dumps({"address": str(lease.address), "name": lease.options["domain-name"]}), flush=True)
        for _ in range(2):
            lease = await renew_when_told(link, lease, on_event=tell)
            print(json.dumps({"name": lease.options["domain-name"], "ignored": lease.ignored}), flush=True)

try:
    asyncio.run(main())
except ProbeError as error:
    print(json.dumps({"error": str(error)}), flush=True)
"""

FORGER = """
import socket, sys
from ipaddress import IPv4Address
from aiodhcp import Lease, LeaseState
from aiodhcp.nonces import forcerenew

address, chaddr, heard = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def say(data):
    sock.sendto(data, (str(IPv4Address(address)), 68))

lease = Lease(address, b"\\1" + chaddr, 1, chaddr, LeaseState.ACTIVE, 0, 0)
later = (2**63).to_bytes(8, "big")
say(forcerenew(lease, 0xC0000201, later))                              # not signed
say(forcerenew(lease._replace(nonce=bytes(16)), 0xC0000201, later))    # with another nonce
say(heard)                                                             # what was said before
say(b"nonsense")
print("done")
"""


def listen(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert isinstance(said, dict)
    return said


def force_renew(server: Server, *arguments: str) -> str:
    command = [sys.executable, "-m", "aiodhcp", "force-renew", *arguments, str(server.file)]
    result = server.host.run(command)
    return str(result.stdout)


@pytest.fixture
def server(pair: tuple[Host, Host], tmp_path: Path) -> Server:
    server = Server(pair[0], tmp_path / "server", config=CONFIG.format(name="one"))
    server.start()
    return server


def test_a_client_renews_when_it_is_told_and_not_for_others(pair: tuple[Host, Host], server: Server) -> None:
    one, other = pair
    client = other.popen_python(CLIENT, json.dumps({"forcerenew-nonce-capable": [1]}))
    assert listen(client) == {"address": "192.0.2.10", "name": "one.test"}
    server.reload(CONFIG.format(name="two"))
    wire = other.capture("eth0")
    assert force_renew(server, "192.0.2.10") == "told to renew: 1\n"
    assert [listen(client)["message"] for _ in range(3)] == ["FORCERENEW", "REQUEST", "ACK"]
    assert listen(client) == {"name": "two.test", "ignored": 0}
    heard = b""
    while b"\x35\x01\x09" not in heard:
        frame = wire.next_udp()
        assert frame is not None
        heard = frame[42:]

    # Whoever can send to the client can't make it renew, and can't use what was sent before.
    hardware = other.hardware_address("eth0")
    forged = one.python(FORGER, str(0xC000020A), hardware.hex(), heard.hex(), timeout=30)
    assert forged.stdout == "done\n"
    server.kill()
    server.start()  # which still has the nonce
    assert force_renew(server, "--all") == "told to renew: 1\n"
    assert [listen(client)["message"] for _ in range(3)] == ["FORCERENEW", "REQUEST", "ACK"]
    assert listen(client) == {"name": "two.test", "ignored": 4}
    assert client.wait(10) == 0


def test_a_client_without_a_nonce_is_not_told(pair: tuple[Host, Host], server: Server) -> None:
    client = pair[1].popen_python(CLIENT, "{}")
    assert listen(client)["address"] == "192.0.2.10"
    assert listen(client)["error"].startswith("the lease has no nonce")
    command = [sys.executable, "-m", "aiodhcp", "force-renew", "192.0.2.10", str(server.file)]
    result = pair[0].run(command, check=False)
    assert result.returncode == 1
    assert result.stdout == "told to renew: 0\n192.0.2.10  its client has no nonce: it has not asked for one\n"
