"""Real DHCP clients, and a real relay agent, against the real daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from clients import CLIENTS, Client, Report, Server, heard, until
from namespaces import Host, Network, needs

from aiodhcp.constants import MessageType

pytestmark = needs()

SUBNET = ("--interface", "eth0", "--subnet", "192.0.2.0/24", "-o", "routers=192.0.2.1")


def programs(*names: str) -> pytest.MarkDecorator:
    """Run a test with each of these clients, where they are installed."""
    return pytest.mark.parametrize("program", [pytest.param(name, marks=needs(*CLIENTS[name].tools)) for name in names])


every_program = programs(*CLIENTS)


@pytest.fixture(autouse=True)
def logs(tmp_path: Path) -> Iterator[None]:
    """What the programs said is shown if the test fails."""
    yield
    for log in sorted(tmp_path.rglob("*log")):
        print(f"── {log.relative_to(tmp_path)}\n{log.read_text()}")


def age(lease: Mapping[str, str]) -> float:
    """How many seconds ago a lease of ``aiodhcp leases --json`` began."""
    return time.time() - datetime.fromisoformat(lease["starts"]).timestamp()


def gateways(host: Host) -> list[str]:
    return [route["gateway"] for route in json.loads(host.run("ip -j -4 route show default").stdout)]


def prefix_lengths(host: Host) -> list[int]:
    (link,) = json.loads(host.run("ip -j -4 addr show dev eth0").stdout)
    return [address["prefixlen"] for address in link["addr_info"]]


@every_program
def test_client_gets_address_and_options(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    options = ["-o", "domain-name-servers=192.0.2.53,192.0.2.54", "-o", "domain-name=example.net"]
    server = Server(one, tmp_path / "server", *SUBNET, *options, "--lease-time", "1h")
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    got = client.bound()

    assert IPv4Address(got.address) in IPv4Network("192.0.2.0/24")
    assert got == Report(
        event=got.event,
        address=got.address,
        netmask="255.255.255.0",
        routers=["192.0.2.1"],
        name_servers=["192.0.2.53", "192.0.2.54"],
        domain="example.net",
        lease_time=3600,
        server="192.0.2.1",
    )
    until("the interface has the address", lambda: other.addresses("eth0") == [got.address])
    assert prefix_lengths(other) == [24]
    until("the router is known", lambda: gateways(other) == ["192.0.2.1"])
    (lease,) = server.leases()
    assert (lease["address"], lease["state"], lease["hostname"]) == (got.address, "active", "laptop")
    assert lease["hardware_address"] == client.hardware_address
    assert (datetime.fromisoformat(lease["expires"]) - datetime.fromisoformat(lease["starts"])).seconds == 3600
    server.stop()


@every_program
def test_client_keeps_address_when_server_is_killed(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    server = Server(one, tmp_path / "server", *SUBNET)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    first = client.bound()
    server.kill()
    client.crash()
    server.start()
    client.start(previously=first.address)
    again = client.bound()

    assert again.address == first.address
    assert again.event == ("bound" if program == "udhcpc" else "REBOOT")
    assert [lease["address"] for lease in server.leases()] == [first.address]


@every_program
def test_client_renews_by_unicast(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    config = """
        interfaces = ["eth0"]
        lease-time = "30s"
        renewal-time = "2s"
        subnet = [{ subnet = "192.0.2.0/24", pools = ["192.0.2.10-192.0.2.99"] }]
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    first = client.bound()
    before = server.lease(first.address)
    arriving = one.capture("eth0")
    until("the lease is a second old", lambda: age(before) > 1)
    client.renew()
    renewal = heard(arriving, MessageType.REQUEST)
    again = client.bound()

    assert (renewal.source, renewal.destination, renewal.ciaddr) == (first.address, "192.0.2.1", first.address)
    assert (again.event.upper(), again.address) == ("RENEW", first.address)
    until("the lease ends later", lambda: server.lease(first.address)["expires"] > before["expires"])
    assert server.lease(first.address)["starts"] == before["starts"]
    assert other.addresses("eth0") == [first.address]


@every_program
def test_client_releases(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    server = Server(one, tmp_path / "server", *SUBNET)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    address = client.bound().address
    assert server.lease(address)["state"] == "active"
    client.release()

    until("the lease is released", lambda: server.lease(address)["state"] == "released")
    until("the address is gone", lambda: other.addresses("eth0") == [])


@programs("dhclient", "dhcpcd")  # udhcpc does not remember, so it never asks for what it had
def test_client_comes_to_another_network(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    server = Server(one, tmp_path / "server", *SUBNET)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    old = client.bound().address
    client.crash()
    server.stop()
    one.run("ip addr flush dev eth0")
    one.run("ip addr add 198.51.100.1/24 dev eth0")
    server = Server(one, tmp_path / "server", "--interface", "eth0", "--subnet", "198.51.100.0/24")
    server.start()
    asked, answered = one.capture("eth0"), other.capture("eth0")
    client.start()

    assert heard(asked, MessageType.REQUEST).requested == old
    refusal = heard(answered, MessageType.NAK)
    assert (refusal.destination, refusal.yiaddr) == ("255.255.255.255", "0.0.0.0")
    got = client.bound()
    assert IPv4Address(got.address) in IPv4Network("198.51.100.0/24")
    until("the interface has the new address alone", lambda: other.addresses("eth0") == [got.address])


@needs(kinds=["bridge"])
@every_program
def test_every_client_gets_its_own_address(net: Network, tmp_path: Path, program: str) -> None:
    one, *others = (net.host(name) for name in ("server", "first", "second", "known"))
    net.switch("lan", p0=one, p1=others[0], p2=others[1], p3=others[2])
    one.run("ip addr add 192.0.2.1/24 dev eth0")
    config = f"""
        interfaces = ["eth0"]
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
        [[subnet.reservation]]
        hardware-address = "{others[2].hardware_address("eth0").hex(":")}"
        address = "192.0.2.200"
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    clients = [Client(program, other, tmp_path / other.name) for other in others]
    for client in clients:
        client.start()
    first, second, known = (client.bound().address for client in clients)

    pool = {f"192.0.2.{number}" for number in range(10, 100)}
    assert first != second
    assert {first, second} <= pool
    assert known == "192.0.2.200"
    assert {lease["address"]: lease["hardware_address"] for lease in server.leases()} == {
        address: client.hardware_address for address, client in zip((first, second, known), clients, strict=True)
    }


@programs("udhcpc")  # what asks makes no difference here
def test_two_servers_share_a_machine(net: Network, tmp_path: Path, program: str) -> None:
    one, left, right = net.host("server"), net.host("left"), net.host("right")
    subnets = {"left": "192.0.2.0/24", "right": "198.51.100.0/24"}
    servers, clients = {}, {}
    for other, address in ((left, "192.0.2.1/24"), (right, "198.51.100.1/24")):
        net.link(one, other.name, other, "eth0")
        one.run(f"ip addr add {address} dev {other.name}")
        options = ["--interface", other.name, "--subnet", subnets[other.name]]
        servers[other.name] = Server(one, tmp_path / f"{other.name}-server", *options)
        servers[other.name].start()
        clients[other.name] = Client(program, other, tmp_path / other.name)
    for client in clients.values():
        client.start()

    for name, client in clients.items():
        address = client.bound().address
        assert IPv4Address(address) in IPv4Network(subnets[name])
        assert [lease["address"] for lease in servers[name].leases()] == [address]


@needs(kinds=["vlan"])
@every_program
def test_client_on_a_vlan(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    one.run(f"ip addr add 198.51.100.1/24 dev {one.vlan('eth0', 10)}")
    tagged = other.vlan("eth0", 10)
    both = ["--interface", "eth0.10", "--subnet", "198.51.100.0/24"]
    server = Server(one, tmp_path / "server", *SUBNET, *both)
    server.start()
    client = Client(program, other, tmp_path / "client", tagged)
    client.start()
    address = client.bound().address

    assert IPv4Address(address) in IPv4Network("198.51.100.0/24")
    until("the interface has the address", lambda: other.addresses(tagged) == [address])
    assert [lease["address"] for lease in server.leases()] == [address]


@needs("dhcrelay")
@every_program
def test_client_behind_a_relay_agent(net: Network, tmp_path: Path, program: str) -> None:
    one, relay, other = net.host("server"), net.host("relay"), net.host("client")
    net.link(one, "eth0", relay, "north")
    net.link(relay, "south", other, "eth0")
    one.run("ip addr add 203.0.113.1/24 dev eth0")
    one.run("ip route add 192.0.2.0/24 via 203.0.113.2")
    relay.run("ip addr add 203.0.113.2/24 dev north")
    relay.run("ip addr add 192.0.2.1/24 dev south")
    relay.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    config = """
        interfaces = ["eth0"]
        options.routers = "192.0.2.1"
        lease-time = "30s"
        renewal-time = "2s"
        [[subnet]]
        subnet = "203.0.113.0/24"
        pools = ["203.0.113.10-203.0.113.99"]
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    with (tmp_path / "relay-log").open("w") as log:
        command = ["dhcrelay", "-4", "-d", "--no-pid", "-iu", "north", "-id", "south", "203.0.113.1"]
        relay.popen(command, stdout=log, stderr=log)
    until("the relay agent listens", lambda: "fallback" in (tmp_path / "relay-log").read_text())
    arriving = one.capture("eth0")
    client = Client(program, other, tmp_path / "client")
    client.start()
    got = client.bound()

    assert IPv4Address(got.address) in IPv4Network("192.0.2.0/24")
    assert got.server == "203.0.113.1"
    heard(arriving, MessageType.REQUEST, giaddr="192.0.2.1")
    before = server.lease(got.address)
    until("the lease is a second old", lambda: age(before) > 1)
    client.renew()
    renewal = heard(arriving, MessageType.REQUEST, giaddr="0.0.0.0")
    assert (renewal.source, renewal.destination, renewal.ciaddr) == (got.address, "203.0.113.1", got.address)
    assert client.bound().address == got.address
    until("the lease ends later", lambda: server.lease(got.address)["expires"] > before["expires"])
    assert server.lease(got.address)["starts"] == before["starts"]


@needs(kinds=["bridge"])
@every_program
def test_client_declines_an_address_in_use(net: Network, tmp_path: Path, program: str) -> None:
    one, other, squatter = net.host("server"), net.host("client"), net.host("squatter")
    net.switch("lan", p0=one, p1=other, p2=squatter)
    one.run("ip addr add 192.0.2.1/24 dev eth0")
    server = Server(one, tmp_path / "server", *SUBNET)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    first = client.bound().address
    client.crash()
    squatter.run(f"ip addr add {first}/24 dev eth0")
    client.start(previously=first, probe=True)
    second = client.bound().address

    assert second != first
    until("the interface has the other address alone", lambda: other.addresses("eth0") == [second])
    states = {lease["address"]: lease["state"] for lease in server.leases()}
    assert states == {first: "declined", second: "active"}


@needs(kinds=["bridge"])
def test_an_address_that_somebody_uses_is_not_offered(net: Network, tmp_path: Path) -> None:
    one, other, squatter = (net.host(name) for name in ("server", "client", "squatter"))
    net.switch("lan", p0=one, p1=other, p2=squatter)
    one.run("ip addr add 192.0.2.1/24 dev eth0")
    # It never asked for its address, and answers no ping.
    squatter.run("ip addr add 192.0.2.10/24 dev eth0")
    squatter.run("sysctl -q net.ipv4.icmp_echo_ignore_all=1")
    config = """
        interfaces = ["eth0"]
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.12"]
        conflict-probe = "auto"
        probe-timeout = 0.3
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    client = Client("udhcpc", other, tmp_path / "client")
    client.start()
    assert client.bound().address == "192.0.2.11"
    assert server.lease("192.0.2.10")["state"] == "declined"
    server.stop()


def test_a_reload_while_a_client_is_served(pair: tuple[Host, Host], tmp_path: Path) -> None:
    one, other = pair
    text = """
        interfaces = ["eth0"]
        options.domain-name = "{domain}"
        subnet = [{{ subnet = "192.0.2.0/24", pools = ["192.0.2.10-192.0.2.99"] }}]
    """
    server = Server(one, tmp_path / "server", config=text.format(domain="before.example"))
    server.start()
    client = Client("udhcpc", other, tmp_path / "client")
    client.start()
    first = client.bound()
    assert first.domain == "before.example"
    server.reload(text.format(domain="after.example"))
    client.renew()
    again = client.bound()
    assert (again.address, again.domain) == (first.address, "after.example")
    server.stop()
