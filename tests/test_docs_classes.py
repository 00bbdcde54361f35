"""What docs/classes.md and docs/reservations.md show is loaded here, and does what they say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client, dotted, number

from aiodhcp import Engine, Settings
from aiodhcp.expression_syntax import parse

DOCS = Path(__file__).resolve().parent.parent / "docs"
NewClient = Callable[..., Client]


def example(page: str, at: int) -> Engine:
    """A server by an example of a page."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return Engine(Settings.of(tomllib.loads(blocks[at])).config())


def relayed(new_client: NewClient, engine: Engine, port: bytes, switch: bytes = b"switch-1") -> Client:
    return new_client(engine, giaddr="192.0.2.254", relay_agent_information={1: port, 2: switch})


# ── docs/classes.md ──


def test_pools_for_classes(new_client: NewClient) -> None:
    engine = example("classes.md", 0)
    phone = new_client(engine, vendor_class_identifier="Phone 7").join()
    assert dotted(phone.yiaddr) == "192.0.2.10"
    assert phone.options["lease-time"] == 86400
    assert phone.options["tftp-server-name"] == "phones.example.test"
    assert dotted(new_client(engine).join().yiaddr) == "192.0.2.100"


def test_boot_files(new_client: NewClient) -> None:
    client = new_client(example("classes.md", 1))
    for options, file in (
        ({"client_system_architecture": [7]}, b"ipxe.efi"),
        ({"client_system_architecture": [0]}, b"undionly.kpxe"),
        ({"client_system_architecture": [7], "user_class": b"iPXE"}, b"http://192.0.2.2/boot.ipxe"),
        ({}, b""),
    ):
        assert client.discover(**options).file.rstrip(b"\0") == file


def test_strangers_are_not_served(new_client: NewClient) -> None:
    engine = example("classes.md", 2)
    assert new_client(engine, mac="02:00:00:00:00:01").join()
    assert new_client(engine, mac="02:00:00:00:00:02").discover() is None


def test_filters(new_client: NewClient) -> None:
    engine = example("classes.md", 3)
    served = {mac: new_client(engine, mac=mac).discover() is not None for mac in ALLOWED}
    assert served == ALLOWED


ALLOWED = {
    "02:00:00:00:00:01": True,
    "02:11:22:00:00:01": True,
    "02:00:00:00:00:66": False,
    "02:00:01:00:00:01": False,
}


def test_a_limit(new_client: NewClient) -> None:
    engine = example("classes.md", 4)
    for _ in range(2):
        relayed(new_client, engine, b"eth0/7").join()
    third = relayed(new_client, engine, b"eth0/7")
    assert third.discover() is None
    assert f"`{third.exchange.why}`" in re.sub(r"\s+", " ", (DOCS / "classes.md").read_text())
    assert relayed(new_client, engine, b"eth0/7", b"switch-2").join()


@pytest.mark.parametrize(
    "text",
    [
        text
        for row in re.findall(r"^\| (`.*?) \|", (DOCS / "classes.md").read_text(), re.MULTILINE)
        for text in re.findall(r"`([^`]+)`", row)
    ],
)
def test_the_expressions_of_the_tables_can_be_read(text: str) -> None:
    stand_in = "known" if re.search(r"\b(not|and|or)\b", text) else "'x'"
    parse(re.sub(r"(?<![\w'])[abc](?![\w'])", stand_in, text))


# ── docs/reservations.md ──


def test_reservations_of_a_subnet_and_of_all(new_client: NewClient) -> None:
    engine = example("reservations.md", 0)
    laptop, server, printer = (new_client(engine) for _ in range(3))
    for client, giaddr, address, name in (
        (laptop, "192.0.2.254", "192.0.2.10", "laptop"),
        (laptop, "198.51.100.254", "198.51.100.10", "laptop"),
        (server, "192.0.2.254", "192.0.2.11", None),
        (server, "198.51.100.254", "198.51.100.200", None),
        (printer, "192.0.2.254", "192.0.2.200", "printer"),
        (printer, "198.51.100.254", "198.51.100.11", None),
    ):
        client.giaddr = number(giaddr)
        ack = client.join()
        assert (dotted(ack.yiaddr), ack.options.get("host-name")) == (address, name)


def test_by_what_a_client_is_known(new_client: NewClient) -> None:
    engine = example("reservations.md", 1)
    for options, address in (
        ({"client_id": bytes.fromhex("ff0000000100030001020000000001")}, "192.0.2.201"),
        ({"relay_agent_information": {1: b"eth0/7", 2: b"sw-1"}}, "192.0.2.202"),
        ({"relay_agent_information": {1: b"eth0/7", 2: b"sw-2"}}, "192.0.2.10"),
        ({"relay_agent_information": {6: b"anna"}}, "192.0.2.203"),
        ({"relay_agent_information": {1: b"eth0/9"}, "client_id": bytes.fromhex("01020000000004")}, "192.0.2.204"),
        ({"vendor_class_identifier": "camera", "host_name": "entrance"}, "192.0.2.205"),
    ):
        assert dotted(new_client(engine, giaddr="192.0.2.254", **options).join().yiaddr) == address


def test_which_reservation_counts(new_client: NewClient) -> None:
    engine = example("reservations.md", 2)
    assert dotted(relayed(new_client, engine, b"eth0/7").join().yiaddr) == "192.0.2.202"
    assert dotted(new_client(engine, mac="02:00:00:00:00:01").join().yiaddr) == "192.0.2.201"


def test_a_reservation_puts_a_client_into_a_class(new_client: NewClient) -> None:
    engine = example("reservations.md", 3)
    staff = new_client(engine).join()
    assert (dotted(staff.yiaddr), staff.options["domain-name"]) == ("192.0.2.10", "staff.example.test")
    assert dotted(new_client(engine).join().yiaddr) == "192.0.2.100"
