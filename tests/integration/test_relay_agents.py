"""Real clients behind a real relay agent (dhcrelay), each in a network namespace of its own, and the real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import CLIENTS, Client, Server, heard, until
from namespaces import Host, Network, needs

from aiodhcp.constants import MessageType

pytestmark = needs("dhcrelay")

BEHIND_IT = """
    interfaces = ["eth0"]
    lease-time = "30s"
    renewal-time = "2s"
"""


@pytest.fixture(autouse=True)
def logs(tmp_path: Path) -> Iterator[None]:
    """What the programs said is shown if the test fails."""
    yield
    for log in sorted(tmp_path.rglob("*log")):
        print(f"── {log.relative_to(tmp_path)}\n{log.read_text()}")


def program(name: str) -> pytest.MarkDecorator:
    """Run a test with this client, where it is installed."""
    return pytest.mark.parametrize("program", [pytest.param(name, marks=needs(*CLIENTS[name].tools))])


class Campus:
    """A server, 203.0.113.1; a relay agent, 203.0.113.2 on its side; and clients behind that, on 192.0.2.0/24.

    Args:
        net: where.
        directory: for all files.
        config: of the server, but for what ``BEHIND_IT`` says.
        clients: how many.
        relay: more words of dhcrelay's command line.
    """

    def __init__(self, net: Network, directory: Path, config: str, *, clients: int = 1, relay: str = "-a") -> None:
        self.directory = directory
        self.one, self.relay = net.host("server"), net.host("relay")
        self.hosts = [net.host(f"client{number}") for number in range(clients)]
        net.link(self.one, "eth0", self.relay, "north")
        if clients == 1:
            net.link(self.relay, "south", self.hosts[0], "eth0")
        else:
            net.switch("lan", port=(self.relay, "south"), **{f"p{at}": host for at, host in enumerate(self.hosts)})
        self.one.run("ip addr add 203.0.113.1/24 dev eth0")
        self.one.run("ip route add 192.0.2.0/24 via 203.0.113.2")
        self.relay.run("ip addr add 203.0.113.2/24 dev north")
        self.relay.run("ip addr add 192.0.2.1/24 dev south")
        self.relay.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        self.server = Server(self.one, directory / "server", config=BEHIND_IT + config)
        self.server.start()
        relays(self.relay, directory, f"{relay} -iu north -id south 203.0.113.1")
        self.arriving = self.one.capture("eth0")

    def client(self, program: str, number: int = 0) -> Client:
        """A client in one of the hosts."""
        return Client(program, self.hosts[number], self.directory / f"client{number}")


def relays(host: Host, directory: Path, words: str) -> None:
    """Start dhcrelay."""
    file = directory / f"{host.name}-log"
    with file.open("w") as log:
        host.popen(f"dhcrelay -4 -d --no-pid {words}", stdout=log, stderr=log)
    until("the relay agent listens", lambda: "fallback" in file.read_text())


@program("dhclient")
def test_the_circuit_of_a_client_counts_for_renewals_past_the_relay_agent(
    net: Network, tmp_path: Path, program: str
) -> None:
    campus = Campus(
        net,
        tmp_path,
        """
        [[class]]
        name = "south"
        test = "relay4[1].text == 'south'"
        lease-time = "25s"
        options.domain-name = "south.example"
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
        options.routers = "192.0.2.1"
        [[subnet.reservation]]
        circuit-id = "south"
        address = "192.0.2.200"
        """,
    )
    client = campus.client(program)
    client.start()
    got = client.bound()
    assert (got.address, got.lease_time, got.domain) == ("192.0.2.200", 25, "south.example")
    heard(campus.arriving, MessageType.REQUEST, giaddr="192.0.2.1")
    renewal = heard(campus.arriving, MessageType.REQUEST, giaddr="0.0.0.0")
    assert (renewal.source, renewal.destination) == ("192.0.2.200", "203.0.113.1")
    again = client.bound()
    assert (again.event, again.address) == ("RENEW", "192.0.2.200")
    assert (again.lease_time, again.domain) == (25, "south.example")
    # A restart forgets nothing of it.
    campus.server.kill()
    campus.server.start()
    again = client.bound()
    assert (again.event, again.address, again.domain) == ("RENEW", "192.0.2.200", "south.example")


@needs(kinds=["bridge"])
@program("udhcpc")
def test_a_circuit_has_a_limit(net: Network, tmp_path: Path, program: str) -> None:
    config = """
        [[class]]
        name = "lines"
        test = "relay4[1].exists"
        limit = 1
        limit-by = "relay4[1].hex"
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
        options.routers = "192.0.2.1"
    """
    campus = Campus(net, tmp_path, config, clients=2)
    first, second = campus.client(program, 0), campus.client(program, 1)
    first.start()
    held = first.bound().address
    second.start()
    for _ in range(2):  # it asks again because it gets no answer
        heard(campus.arriving, MessageType.DISCOVER, hardware_address=second.hardware_address)
    assert [lease["address"] for lease in campus.server.leases()] == [held]
    first.release()
    until("the lease is released", lambda: campus.server.lease(held)["state"] == "released")
    assert second.bound().address


@needs(kinds=["bridge"])
@program("dhclient")
def test_a_shared_network_behind_a_relay_agent(net: Network, tmp_path: Path, program: str) -> None:
    config = """
        [[subnet]]
        subnet = "192.0.2.0/24"
        shared-network = "campus"
        pools = ["192.0.2.10"]
        options.routers = "192.0.2.1"
        [[subnet]]
        subnet = "198.51.100.0/24"
        shared-network = "campus"
        pools = ["198.51.100.10"]
        options.routers = "198.51.100.1"
    """
    campus = Campus(net, tmp_path, config, clients=2)
    campus.relay.run("ip addr add 198.51.100.1/24 dev south")
    campus.one.run("ip route add 198.51.100.0/24 via 203.0.113.2")
    clients = [campus.client(program, number) for number in range(2)]
    got = []
    for client in clients:
        client.start()
        got.append(client.bound())
    assert [(each.address, each.routers) for each in got] == [
        ("192.0.2.10", ["192.0.2.1"]),
        ("198.51.100.10", ["198.51.100.1"]),
    ]
    # Both keep what they have when they renew past the relay agent.
    assert [client.bound().address for client in clients] == ["192.0.2.10", "198.51.100.10"]


@program("udhcpc")
def test_two_relay_agents_in_a_row(net: Network, tmp_path: Path, program: str) -> None:
    one, far, near, other = (net.host(name) for name in ("server", "far", "near", "client"))
    net.link(one, "eth0", far, "north")
    net.link(far, "south", near, "north")
    net.link(near, "south", other, "eth0")
    for host, interface, address in (
        (one, "eth0", "203.0.113.1"),
        (far, "north", "203.0.113.2"),
        (far, "south", "198.51.100.1"),
        (near, "north", "198.51.100.2"),
        (near, "south", "192.0.2.1"),
    ):
        host.run(f"ip addr add {address}/24 dev {interface}")
    for host in (far, near):
        host.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    for host, via in ((one, "203.0.113.2"), (far, "198.51.100.2")):
        host.run(f"ip route add 192.0.2.0/24 via {via}")
    one.run("ip route add 198.51.100.0/24 via 203.0.113.2")
    near.run("ip route add default via 198.51.100.1")
    config = BEHIND_IT + "subnet = [{ subnet = '192.0.2.0/24', pools = ['192.0.2.10-192.0.2.99'] }]"
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    relays(far, tmp_path, "-iu north -id south 203.0.113.1")
    relays(near, tmp_path, "-a -iu north -id south 198.51.100.1")
    arriving = one.capture("eth0")
    client = Client(program, other, tmp_path / "client")
    client.start()
    # The first one's address stays, and has the answer.
    assert heard(arriving, MessageType.DISCOVER, giaddr="192.0.2.1")
    assert client.bound().address.startswith("192.0.2.")


@program("dhcpcd")
def test_a_client_behind_a_relay_agent_asks_for_the_rest(net: Network, tmp_path: Path, program: str) -> None:
    config = """
        options.domain-name = "example.test"
        [[subnet]]
        subnet = "192.0.2.0/24"
    """
    campus = Campus(net, tmp_path, config)
    campus.hosts[0].run("ip addr add 192.0.2.50/24 dev eth0")
    client = campus.client(program)
    client.start(more=["inform 192.0.2.50/24"])
    said = client.told("INFORM")
    assert (said["new_ip_address"], said["new_domain_name"]) == ("192.0.2.50", "example.test")
    assert heard(campus.arriving, MessageType.INFORM, giaddr="192.0.2.1").ciaddr == "192.0.2.50"
    assert campus.server.leases() == []
