"""docs/options.md: the table is that of the code, and what the examples write is what clients get."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client, Clock
from plugin_kit import plugin

from aiodhcp import Engine, Settings
from aiodhcp.config_options import DefinitionTable, SpaceTable
from aiodhcp.hooks import Hooks
from aiodhcp.options import ALIASES, STANDARD_OPTIONS, Definitions
from aiodhcp.records import TYPES
from aiodhcp.spaces import CABLELABS, IPXE, MOS_ADDRESSES, MOS_NAMES, NWIP, RELAY_AGENT, SUBNET_ALLOCATION

PAGE = (Path(__file__).resolve().parent.parent / "docs/options.md").read_text()
VALUES, DEFINED, VENDORS, LISTS, _ROUTES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSIDE = {
    63: NWIP,
    82: RELAY_AGENT,
    122: CABLELABS,
    139: MOS_ADDRESSES,
    140: MOS_NAMES,
    175: IPXE,
    220: SUBNET_ALLOCATION,
}


def rows(definitions: Definitions) -> list[str]:
    """The lines of a table."""
    lines = ["| code | name | value | defined in |", "|---|---|---|---|"]
    for code, known in definitions.by_code.items():
        others = "".join(f", `{name}`" for name, means in definitions.aliases.items() if means == code)
        lines.append(f"| {code} | `{known.name}`{others} | {known.codec.name} | {known.source} |")
    return lines


def tables() -> str:
    """What the page ends with."""
    parts = ["\n".join(rows(STANDARD_OPTIONS))]
    for code, space in INSIDE.items():
        parts += [f"### Inside of {STANDARD_OPTIONS.of(code).name}", "\n".join(rows(space))]
    return "\n\n".join(parts) + "\n"


def test_the_tables_are_those_of_the_code() -> None:
    assert PAGE.partition("## The table\n\n")[2] == tables()
    assert ALIASES["dhcp-agent-options"] == 82
    assert "| 82 | `relay-agent-information`, `dhcp-agent-options` | sub-options | RFC 3046 |\n" in PAGE


def test_every_type_and_every_key_is_named() -> None:
    assert all(f"`{name}`" in PAGE for name in TYPES)
    for table in (DefinitionTable, SpaceTable):
        for name, field in table.model_fields.items():
            assert re.search(rf"`(\[\[)?{field.alias or name}(\]\])?`", PAGE), name


A4 = bytes((192, 168, 50, 1))
EXAMPLE = b"\7example\4test\0"

WRITTEN: dict[str, bytes] = {
    "swap-server": A4,
    "routers": A4,
    "domain-name-servers": A4 + bytes((192, 168, 50, 2)),
    "static-routes": b"\x0a\1\0\0" + A4,
    "classless-static-routes": b"\x08\x0a" + A4 + b"\0" + A4,
    "interface-mtu": b"\x05\x78",
    "time-offset": b"\xff\xff\xf1\xf0",
    "name-service-search": b"\0\6\0\x29",
    "ip-forwarding": b"\0",
    "host-name": b"pc-17",
    "domain-search": b"\3eng" + EXAMPLE + b"\xc0\4",
    "lost-server": b"\4lost" + EXAMPLE,
    "sip-servers": b"\0\3sip" + EXAMPLE,
    "6rd": b"\x08\x20\x20\1\x0d\xb8" + bytes(12) + b"\xc0\0\2\1",
    "port-params": b"\4\x08\x34\0",
    "dnr": b"\0\x21\0\1\x12\3dns" + EXAMPLE + b"\4" + A4 + b"\0\1\0\3\2h2",
    "pcp-servers": b"\4\xc0\0\2\1\x08\xc0\0\2\2\xc0\0\2\3",
    "option-224": b"\1\2\xff",
    "tftp-server-name": b"tftp\0",
    "etherboot": b"\xb0\1\1\xbe\4boot",
    "vendor-class": b"\0\0\x11\x8b\4\3doc",
    "vendor-options": b"\0\0\0\x09\4\1\2\1\2",
}


def client_of(text: str, *hooks: Callable[..., object]) -> Client:
    """A client of a server with that configuration, on 192.168.50.0/24."""
    table = tomllib.loads(text)
    table.setdefault("subnet", [{"subnet": "192.168.50.0/24", "pools": ["192.168.50.100"]}])
    table["subnet"][0]["interfaces"] = ["eth0"]
    return Client(
        Engine(Settings.of(table).config(), Hooks([plugin(dhcp_handle_options=hook) for hook in hooks])), Clock()
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_a_client_gets_what_is_written(name: str) -> None:
    code = STANDARD_OPTIONS.find(name).code
    offer = client_of(VALUES).discover(parameter_request_list=[code])
    assert offer.options.raw[code] == WRITTEN[name]


def test_nothing_is_written_that_is_not_tried() -> None:
    assert tomllib.loads(VALUES)["options"].keys() == WRITTEN.keys()


def test_a_client_gets_options_that_are_defined() -> None:
    offer = client_of(DEFINED).discover(parameter_request_list=[224, 225, 132])
    assert [offer.options.raw[code] for code in (224, 225, 132)] == [
        b"\0\0\0\x11",
        b"\1" + bytes((192, 168, 50, 7)) + b"sip",
        b"\0\x0a\0\x14",
    ]


def test_a_class_gets_the_options_of_its_vendor() -> None:
    def sort(exchange) -> None:
        exchange.classes.add("acme-phones")

    asked = {"parameter_request_list": [1, 125, 226]}
    offer = client_of(VENDORS, sort).discover(**asked)
    assert offer.options.raw[43] == b"\1\4\xc0\xa8\x32\x09\2\4\0\x50\1\xbb\x09\2\1\2"
    assert offer.options.raw[125] == b"\0\0\x11\x8b\6\2\4\xc0\xa8\x32\4"
    assert offer.options.raw[226] == b"\1\4\xc0\xa8\x32\x08"
    offer = client_of(VENDORS).discover(**asked)
    assert 43 not in offer.options
    assert 125 in offer.options


def test_what_is_sent_always_and_never() -> None:
    offer = client_of(LISTS).discover(parameter_request_list=[1, 3])
    assert list(offer.options.names()) == [
        "message-type",
        "server-identifier",
        "lease-time",
        "rebinding-time",
        "subnet-mask",
        "domain-name",
        "ntp-servers",
    ]
