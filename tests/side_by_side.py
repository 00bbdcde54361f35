"""The conversations of docs/side-by-side.md: what its configurations promise, whichever server has them.

Each is given ``client(mac=..., **options)``, which makes clients of the server; all are behind the relay agent
192.0.2.254 unless they name another. ``PAGE`` has the configurations.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from client import Client, dotted

from aiodhcp import Packet

TEXT = (Path(__file__).resolve().parent.parent / "docs/side-by-side.md").read_text()
PAGE: dict[str, dict[str, str]] = {
    heading: dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    for heading, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}
"""By heading and language: ``PAGE["A subnet"]["toml"]``."""
RELAY = "192.0.2.254"
NewClient = Callable[..., Client]
_numbers = count(1)


def behind_a_relay_agent(make: Callable[..., Client]) -> NewClient:
    """Clients that ask for the options of the page; each has a hardware address of its own."""

    def client(**options: Any) -> Client:
        asked = [1, 3, 6, 12, 15, 43, 66, 121, 138, 224, 252]
        mac = f"02:00:00:00:00:{next(_numbers) % 256:02x}"
        return make(**{"mac": mac, "giaddr": RELAY, "parameter_request_list": asked, **options})

    return client


VERSIONS = {"dhcpd": ("--version", "4.4"), "kea-dhcp4": ("-v", "2.2")}
"""Of which version of each server the page speaks. Newer ones have other names for some things."""


def program(name: str) -> str | None:
    """Where a server is installed; None if it isn't."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


@cache
def obstacle(name: str) -> str:
    """Why the page can't be tried with a server here; empty if it can."""
    found = program(name)
    if found is None:
        return f"not installed: {name}"
    argument, expected = VERSIONS[name]
    result = subprocess.run([found, argument], capture_output=True, text=True, timeout=30, check=False)
    version = re.search(r"\d+(\.\d+)+", result.stdout + result.stderr)
    if version is None or not version[0].startswith(f"{expected}."):
        return f"the page is written for {name} {expected}, and this is {version and version[0]}"
    return ""


def copied(name: str, directory: Path) -> Path:
    """A copy of it: AppArmor may keep the one in /usr/sbin from reading a configuration outside of /etc."""
    found = program(name)
    assert found is not None
    return Path(shutil.copy(found, directory))


def kea(heading: str) -> dict[str, Any]:
    """Kea's form, without a lease file, and without the hook libraries that are not installed."""
    configuration = json.loads(PAGE[heading]["json"])
    server = configuration["Dhcp4"]
    libraries = server.get("hooks-libraries", [])
    server["hooks-libraries"] = [each for each in libraries if Path(each["library"]).exists()]
    server["lease-database"] = {"type": "memfile", "persist": False}
    return configuration


def address(reply: Packet | None) -> str:
    """The address that a reply gives."""
    assert reply is not None
    return dotted(reply.yiaddr)


def name(reply: Packet | None, option: str) -> str:
    """A text of a reply. Some servers end it with a zero."""
    assert reply is not None
    return str(reply.options.get(option, "")).rstrip("\0")


def a_subnet(client: NewClient) -> None:
    pools = {f"192.0.2.{last}" for last in (*range(100, 150), *range(160, 200))}
    offer = client().discover()
    assert address(offer) in pools
    assert dotted(int(offer.options["subnet-mask"])) == "255.255.255.0"
    assert [str(each) for each in offer.options["routers"]] == ["192.0.2.1"]
    assert [str(each) for each in offer.options["domain-name-servers"]] == ["192.0.2.53", "192.0.2.54"]
    assert name(offer, "domain-name") == "example.test"
    times = [client(lease_time=asked).join().options["lease-time"] for asked in (None, 60, 7200, 999999)]
    assert times == [3600, 600, 7200, 86400]
    assert client().reboot("203.0.113.9").message_type == 6  # NAK


def fixed_addresses(client: NewClient) -> None:
    printer = client(mac="02:00:00:00:01:01").join()
    assert (address(printer), name(printer, "host-name")) == ("192.0.2.10", "printer")
    assert address(client(client_id=b"laptop").join()) == "192.0.2.11"
    assert address(client(relay_agent_information={1: b"eth0/7"}).join()) == "192.0.2.12"
    assert client(relay_agent_information={1: b"eth0/8"}).join().yiaddr & 255 >= 100


def pools_for_classes(client: NewClient) -> None:
    phone, other = client(vendor_class_identifier="Phone 7").join(), client(vendor_class_identifier="PC").join()
    assert 10 <= phone.yiaddr & 255 <= 99
    assert (phone.options["lease-time"], name(phone, "tftp-server-name")) == (86400, "phones.example.test")
    assert 100 <= other.yiaddr & 255 <= 199
    assert (other.options["lease-time"], name(other, "tftp-server-name")) == (3600, "")


def booting(client: NewClient) -> None:
    machine = client()
    for options, file in (
        ({"client_system_architecture": [7]}, "ipxe.efi"),
        ({"client_system_architecture": [9]}, "ipxe.efi"),
        ({"client_system_architecture": [0]}, "undionly.kpxe"),
        ({"client_system_architecture": [7], "user_class": b"iPXE"}, "http://192.0.2.2/boot.ipxe"),
        ({}, ""),
    ):
        offer = machine.discover(**options)
        said = bytes(offer.file).rstrip(b"\0").decode() or name(offer, "boot-file-name")
        assert (said, dotted(offer.siaddr)) == (file, "192.0.2.2")


def several_subnets(client: NewClient) -> None:
    acks = [client().join() for _ in range(4)]
    # In which order, each server decides.
    expected = {"192.0.2.10", "192.0.2.11", "198.51.100.10", "198.51.100.11"}
    assert {address(ack) for ack in acks} == expected
    for ack in acks:
        assert [str(each) for each in ack.options["routers"]] == [address(ack).rpartition(".")[0] + ".1"]
    assert client().discover() is None


def behind_an_agent(client: NewClient) -> None:
    second = client(giaddr="198.51.100.1", relay_agent_information={1: b"floor-2"}).join()
    assert 10 <= second.yiaddr & 255 <= 99
    assert address(second).startswith("198.51.100.")
    assert second.options["lease-time"] == 1200
    assert second.options["relay-agent-information"][1] == b"floor-2"
    other = client(giaddr="198.51.100.1", relay_agent_information={1: b"floor-3"}).join()
    assert 100 <= other.yiaddr & 255 <= 199
    assert other.options["lease-time"] == 3600


def renewals_past_the_agent(client: NewClient) -> None:
    """Of the same configuration, where the server remembers what the relay agent said."""
    one = client(giaddr="198.51.100.1", relay_agent_information={1: b"floor-2"})
    held = one.join().yiaddr
    one.options["relay_agent_information"] = None
    renewed = one.renew()
    assert (renewed.yiaddr, renewed.options["lease-time"]) == (held, 1200)


def so_many_leases(client: NewClient) -> None:
    def line(port: bytes, switch: bytes = b"switch-1") -> Client:
        return client(relay_agent_information={1: port, 2: switch})

    first, _ = (line(b"eth0/7") for _ in range(2))
    first.join()
    line(b"eth0/7").join()
    assert line(b"eth0/7").discover() is None
    line(b"eth0/8").join()
    line(b"eth0/7", b"switch-2").join()


def options_of_vendors(client: NewClient) -> None:
    acme, other = client(vendor_class_identifier="ACME").join(), client().join()
    for ack in (acme, other):
        assert bytes(ack.options.raw[224]) == bytes((0, 0, 0, 17))
    assert bytes(acme.options.raw[43]).rstrip(b"\xff") == bytes.fromhex("0104c0000209 0204005001bb")
    assert "vendor-encapsulated-options" not in other.options


def known_only(client: NewClient) -> None:
    assert client(mac="02:00:00:00:01:01").join()
    assert client(mac="02:00:00:00:01:02").discover() is None
    assert client(mac="02:0b:ad:00:00:01").discover() is None


def routes(client: NewClient) -> None:
    ack = client().join()
    said = [(str(route.network), str(route.gateway)) for route in ack.options["classless-static-routes"]]
    assert said == [("10.0.0.0/8", "192.0.2.1"), ("0.0.0.0/0", "192.0.2.1")]
    assert name(ack, "wpad-url") == "http://192.0.2.3/wpad.dat"
    assert [str(each) for each in ack.options["capwap-ac"]] == ["192.0.2.4", "192.0.2.5"]


CONVERSATIONS: dict[str, Callable[[NewClient], None]] = {
    "A subnet": a_subnet,
    "Fixed addresses": fixed_addresses,
    "Pools for classes of clients": pools_for_classes,
    "Booting from the network": booting,
    "Several subnets on one link": several_subnets,
    "Behind a relay agent": behind_an_agent,
    "So many leases on a line": so_many_leases,
    "Options of one's own, and of vendors": options_of_vendors,
    "Known clients only": known_only,
    "Routes, proxies and access points": routes,
}
