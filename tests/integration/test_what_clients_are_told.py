"""What classes, reservations, routes and rapid commit do to real clients, on the link of the real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import CLIENTS, Client, Server, heard, heard_until, until
from namespaces import Host, needs

from aiodhcp.constants import MessageType

pytestmark = needs()


def programs(*names: str) -> pytest.MarkDecorator:
    """Run a test with each of these clients, where they are installed."""
    return pytest.mark.parametrize("program", [pytest.param(name, marks=needs(*CLIENTS[name].tools)) for name in names])


@pytest.fixture(autouse=True)
def logs(tmp_path: Path) -> Iterator[None]:
    """What the programs said is shown if the test fails."""
    yield
    for log in sorted(tmp_path.rglob("*log")):
        print(f"── {log.relative_to(tmp_path)}\n{log.read_text()}")


@programs("udhcpc")
def test_a_class_has_its_pool_and_its_boot_file(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    config = """
        interfaces = ["eth0"]
        [[class]]
        name = "phones"
        test = "substring(option[60].text, 0, 5) == 'Phone'"
        next-server = "192.0.2.2"
        boot-file = "phone.bin"
        [[class]]
        name = "others"
        test = "not member('phones')"
        [[subnet]]
        subnet = "192.0.2.0/24"
        [[subnet.pools]]
        range = "192.0.2.10-192.0.2.19"
        classes = ["phones"]
        [[subnet.pools]]
        range = "192.0.2.100"
        classes = ["others"]
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start(more=["-V", "Phone 7"])
    assert client.bound().address == "192.0.2.10"
    said = client.told("bound")
    assert (said["boot_file"], said["siaddr"]) == ("phone.bin", "192.0.2.2")
    client.crash()
    client.start(more=["-V", "Kettle"])
    assert client.bound().address == "192.0.2.100"


@programs("udhcpc", "dhclient", "dhcpcd")
def test_a_client_moves_to_what_is_reserved_for_it(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    config = """
        interfaces = ["eth0"]
        lease-time = "30s"
        renewal-time = "2s"
        rebinding-time = "4s"
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    client = Client(program, other, tmp_path / "client")
    client.start()
    assert client.bound().address == "192.0.2.10"
    leaving = one.capture("eth0", both_ways=True)
    reservation = f"hardware-address = '{client.hardware_address}'\naddress = '192.0.2.200'"
    server.reload(f"{config}\n[[subnet.reservation]]\n{reservation}\n")
    client.renew()
    # dhcpcd doesn't hear a broadcast while it renews by unicast; it does when it rebinds.
    heard(leaving, MessageType.NAK)
    assert client.bound().address == "192.0.2.200"
    until("the interface has the address alone", lambda: other.addresses("eth0") == ["192.0.2.200"])


@programs("udhcpc", "dhclient", "dhcpcd")
def test_classless_routes(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    config = """
        interfaces = ["eth0"]
        options.classless-static-routes = ["10.20.0.0/16 via 192.0.2.1", "0.0.0.0/0 via 192.0.2.1"]
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    client = Client(program, other, tmp_path / "client")
    more = {
        "udhcpc": ["-O", "staticroutes"],
        "dhclient": [
            "option rfc3442-routes code 121 = array of unsigned integer 8;",
            "also request rfc3442-routes;",
        ],
        "dhcpcd": ["option classless_static_routes"],
    }
    client.start(more=more[program])
    client.bound()
    said = client.events()[-1]
    if program == "udhcpc":
        assert said["staticroutes"] == "10.20.0.0/16 192.0.2.1 0.0.0.0/0 192.0.2.1"
    elif program == "dhclient":
        assert said["new_rfc3442_routes"] == "16 10 20 192 0 2 1 0 192 0 2 1"
    else:  # dhcpcd sets them itself
        routes = [(route["dst"], route.get("gateway")) for route in json.loads(other.run("ip -j -4 route show").stdout)]
        assert {("10.20.0.0/16", "192.0.2.1"), ("default", "192.0.2.1")} <= set(routes)


@programs("dhcpcd")
def test_rapid_commit(pair: tuple[Host, Host], tmp_path: Path, program: str) -> None:
    one, other = pair
    config = """
        interfaces = ["eth0"]
        rapid-commit = true
        [[subnet]]
        subnet = "192.0.2.0/24"
        pools = ["192.0.2.10-192.0.2.99"]
    """
    server = Server(one, tmp_path / "server", config=config)
    server.start()
    passing = one.capture("eth0", both_ways=True)
    client = Client(program, other, tmp_path / "client")
    client.start(more=["option rapid_commit"])
    assert client.bound().address == "192.0.2.10"
    kinds = [message.kind for message in heard_until(passing, MessageType.ACK)]
    assert set(kinds) == {MessageType.DISCOVER, MessageType.ACK}
    assert server.lease("192.0.2.10")["state"] == "active"
