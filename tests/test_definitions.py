"""Options of one's own, defined in Python or in a configuration: what clients get of them and plugins see."""

from __future__ import annotations

import copy
import pickle
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from client import Client, Clock
from hypothesis import given
from hypothesis import strategies as st
from plugin_kit import plugin

from aiodhcp import ConfigError, DecodeError, Engine, Packet, Parameters, Plugin, Policy, Settings, load_config
from aiodhcp.definitions import ANY
from aiodhcp.hooks import Hooks
from aiodhcp.options import STANDARD_OPTIONS, Definitions, OptionDefinition, Options
from aiodhcp.records import TYPES, codec_of

A = IPv4Address("192.0.2.1")
A4 = A.packed

# ── types ──


@pytest.mark.parametrize(
    ("type", "record", "array", "value", "wire"),
    [
        ("boolean", [], False, True, b"\1"),
        ("uint8", [], False, 255, b"\xff"),
        ("uint16", [], False, 258, b"\1\2"),
        ("uint32", [], False, 1, b"\0\0\0\1"),
        ("int8", [], False, -1, b"\xff"),
        ("int16", [], False, -2, b"\xff\xfe"),
        ("int32", [], False, -(2**31), b"\x80\0\0\0"),
        ("ipv4-address", [], False, A, A4),
        ("ipv6-address", [], False, IPv6Address("2001:db8::"), b"\x20\1\x0d\xb8" + bytes(12)),
        ("text", [], False, "abc", b"abc"),
        ("string", [], False, "abc", b"abc"),
        ("binary", [], False, b"\1\2", b"\1\2"),
        ("hex", [], False, b"\1\2", b"\1\2"),
        ("fqdn", [], False, "example.com", b"\7example\3com\0"),
        ("empty", [], False, True, b""),
        ("uint16", [], True, [1, 2], b"\0\1\0\2"),
        ("ipv4-address", [], True, [A], A4),
        ("boolean", [], True, [True, False], b"\1\0"),
        ("fqdn", [], True, ["a", "a"], b"\1a\0\1a\0"),
        ("", ["uint8", "ipv4-address", "text"], False, (1, A, "abc"), b"\1" + A4 + b"abc"),
        ("", ["uint8", "fqdn"], False, (1, "a"), b"\1\1a\0"),
        ("", ["uint8", "ipv4-address"], True, [(1, A), (2, A)], b"\1" + A4 + b"\2" + A4),
    ],
)
def test_a_type_both_ways(type: str, record: list[str], array: bool, value: Any, wire: bytes) -> None:
    codec = codec_of(type, record, array)
    assert codec.encode(value) == wire
    assert codec.decode(wire) == value


@pytest.mark.parametrize(
    ("type", "record", "array", "why"),
    [
        ("", [], False, "^type: expected a type or a record, and not both$"),
        ("uint8", ["uint8"], False, "^type: expected a type or a record, and not both$"),
        ("uint64", [], False, "^type: expected one of boolean, uint8, .*, got 'uint64'$"),
        ("", ["uint8", "x"], False, r"^record\[1\]: expected one of boolean, uint8, .*, got 'x'$"),
        ("", ["text", "uint8"], False, r"^record\[0\]: a field of type text can only be the last one"),
        ("", ["uint8", "empty"], False, "^record: a field can't be empty$"),
        ("text", [], True, "^array: expected false: the length of text is not fixed"),
        ("empty", [], True, "^array: expected false: "),
        ("", ["uint8", "text"], True, "^array: expected false: the length of record is not fixed"),
    ],
)
def test_no_type(type: str, record: list[str], array: bool, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        codec_of(type, record, array)


FIXED = sorted(name for name, codec in TYPES.items() if codec.size)


@given(
    st.lists(st.sampled_from(FIXED), max_size=3), st.sampled_from(sorted({*TYPES} - {"empty"})), st.binary(max_size=40)
)
def test_any_octets_of_any_record_decode_or_raise_and_what_decodes_encodes(
    fields: list[str], last: str, octets: bytes
) -> None:
    codec = codec_of("", [*fields, last])
    try:
        value = codec.decode(octets)
    except DecodeError:
        return
    assert codec.decode(codec.encode(value)) == value


# ── definitions ──

TAG = OptionDefinition(224, "asset-tag", codec_of("uint32"))


def test_definitions_are_added_and_the_standard_ones_stay_as_they_are() -> None:
    mine = STANDARD_OPTIONS.with_option(TAG)
    assert mine.find("asset_tag") is mine.find(224) is TAG
    assert mine.encode("asset-tag", 7) == (224, b"\0\0\0\7")
    assert mine.find("routers") is STANDARD_OPTIONS.find("routers")
    assert mine.find("dhcp-lease-time").code == 51
    assert STANDARD_OPTIONS.find(224).name == "option-224"
    with pytest.raises(ValueError, match="no option is called 'asset-tag'"):
        STANDARD_OPTIONS.find("asset-tag")


@pytest.mark.parametrize(
    ("code", "name", "why"),
    [
        (0, "mine", "^code: expected 1 to 254, got 0$"),
        (255, "mine", "^code: expected 1 to 254, got 255$"),
        (3, "mine", "^code: option 3 is 'routers' already$"),
        (224, "Mine", "^name: expected lower-case letters, digits and hyphens, got 'Mine'$"),
        (224, "224", "^name: expected lower-case"),
        (224, "option-224", "^name: expected lower-case"),
        (224, "", "^name: expected lower-case"),
        (224, "routers", "^name: 'routers' is taken$"),
        (224, "dhcp-lease-time", "^name: 'dhcp-lease-time' is taken$"),
        (224, "acme", "^name: 'acme' is taken$"),
    ],
)
def test_no_definition(code: int, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        STANDARD_OPTIONS.with_space("acme", ANY).with_option(OptionDefinition(code, name, codec_of("uint8")))


def test_a_code_of_no_known_format_may_be_defined() -> None:
    vlan = OptionDefinition(132, "vlan-id", codec_of("uint16"))
    mine = STANDARD_OPTIONS.with_option(vlan)
    assert mine.find(132) is mine.find("vlan-id") is vlan


def test_no_space() -> None:
    mine = STANDARD_OPTIONS.with_space("acme", ANY, 9)
    with pytest.raises(ValueError, match=r"^name: 'acme' is taken$"):
        mine.with_space("acme", ANY)
    with pytest.raises(ValueError, match=r"^name: 'routers' is taken$"):
        mine.with_space("routers", ANY)
    with pytest.raises(ValueError, match=r"^enterprise: 9 is that of 'acme' already$"):
        mine.with_space("other", ANY, 9)


SERVER = Definitions([OptionDefinition(1, "server", codec_of("ipv4-address"))], codes=range(1, 255))


def test_a_space_is_read_and_written() -> None:
    """Pad and End are no options inside of option 43, and are in 125."""
    mine = STANDARD_OPTIONS.with_space("acme", SERVER).with_space("globex", SERVER, 9)
    acme, globex = mine.spaces["acme"], mine.spaces["globex"]
    assert acme.encode({"server": "192.0.2.1", 2: b"x"}) == b"\1\4" + A4 + b"\2\1x"
    assert acme.carried({"server": A}) == b"\1\4" + A4
    assert acme.decode(b"\0\1\4" + A4 + b"\xff")["server"] == A
    assert globex.carried({"server": A}) == b"\0\0\0\x09\6\1\4" + A4
    with pytest.raises(ValueError, match="no option is called 'sever'; did you mean 'server'"):
        acme.encode({"sever": A})
    with pytest.raises(ValueError, match=r"1\.\.254"):
        acme.encode({255: b""})
    said = mine.decode(125, b"\0\0\0\x09\6\1\4" + A4 + b"\0\0\0\x0a\2\1\0")
    assert (said[9]["server"], said[10][1]) == (A, b"")


def test_options_with_definitions_are_copied_with_them_and_pickled_without() -> None:
    options = Options({224: b"\0\0\0\7"}, STANDARD_OPTIONS.with_option(TAG))
    for other in (copy.copy(options), copy.deepcopy(options)):
        assert other["asset-tag"] == 7
        assert not other.changed
    assert copy.deepcopy(options).raw is not options.raw
    options["asset-tag"] = 8
    other = pickle.loads(pickle.dumps(options))
    assert other[224] == b"\0\0\0\x08"
    assert other.changed
    assert copy.deepcopy({"known": options.definitions})["known"] is options.definitions
    assert copy.copy(options.definitions) is options.definitions


# ── parameters ──


def test_parameters_know_the_names_they_are_told() -> None:
    mine = STANDARD_OPTIONS.with_option(TAG).with_space("acme", SERVER)
    said = Parameters(options={"asset-tag": 7, "acme": {"server": A}}, always_send=["acme", 224, 224], definitions=mine)
    assert said.options == {224: b"\0\0\0\7", 43: b"\1\4" + A4}
    assert said.always_send == (43, 224)
    with pytest.raises(ValueError, match=r"^options\.asset-tag: no option is called 'asset-tag'"):
        Parameters(options={"asset-tag": 7})


def test_octets_of_any_option_are_written_in_hex() -> None:
    assert Parameters(options={"host-name": "hex:ff:00", 224: "hex:"}).options == {12: b"\xff\0", 224: b""}
    with pytest.raises(ValueError, match=r"^options\.host-name: expected octets: bytes, or hex digits"):
        Parameters(options={"host-name": "hex:f"})


def test_an_option_that_is_there_twice() -> None:
    with pytest.raises(ValueError, match=r"^options\.option-3: option 3 is set already$"):
        Parameters(options={"routers": A, "option-3": A})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"always_send": ["ruters"]}, r"^always_send\[0\]: no option is called 'ruters'; did you mean 'routers'"),
        ({"always_send": [3, 82]}, r"^always_send\[1\]: 82 is not for configuring: the relay agent's$"),
        ({"always_send": ["renewal-time"]}, r"^always_send\[0\]: 'renewal-time' is not for configuring"),
        ({"never_send": ["lease-time"]}, r"^never_send\[0\]: 'lease-time' is not for configuring: set lease-time$"),
        ({"always_send": [3], "never_send": ["routers"]}, "^never_send: 'routers' is in always-send, too$"),
        ({"never_send": "routers"}, "^never_send: expected a list of options, got 'routers'$"),
    ],
)
def test_what_can_not_be_sent_always_or_never(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Parameters(**said)


# ── configurations ──

HEAD = 'transport.type = "udp"\nstore.type = "memory"\n'
OWN = (
    HEAD
    + """
[options]
asset-tag = 17
phone-server = [1, "192.0.2.7", "sip"]
vlans = [10, 20]

[[option-definition]]
name = "asset-tag"
code = 224
type = "uint32"

[[option-definition]]
name = "phone-server"
code = 225
record = ["uint8", "ipv4-address", "text"]

[[option-definition]]
name = "vlans"
code = 132
type = "uint16"
array = true

[[option-definition]]
name = "acme-inside"
code = 226
encapsulate = "acme"

[[option-space]]
name = "acme"

[[option-space.option-definition]]
name = "server"
code = 1
type = "ipv4-address"

[[option-space.option-definition]]
name = "ports"
code = 2
type = "uint16"
array = true

[[option-space]]
name = "globex"
enterprise = 4491

[[option-space.option-definition]]
name = "inner"
code = 3
encapsulate = "acme"

[[option-space]]
name = "initech"
enterprise = 9

[[class]]
name = "phones"
always-send = ["acme"]
options.acme = { server = "192.0.2.9", ports = [80, 443], option-9 = "01:02" }

[[subnet]]
subnet = "192.0.2.0/24"
pools = ["192.0.2.10-192.0.2.99"]
interfaces = ["eth0"]
always-send = ["vlans"]
options.acme-inside.server = "192.0.2.8"
options.globex.inner.server = "192.0.2.6"
options.initech.option-1 = "hex:05"
"""
)


def served(text: str, tmp_path: Path, *plugins: object) -> Client:
    (tmp_path / "dhcp.toml").write_text(text)
    config = load_config(tmp_path / "dhcp.toml").config()
    return Client(Engine(config, Hooks(plugins)), Clock())


def test_a_client_gets_options_that_a_configuration_defines(tmp_path: Path) -> None:
    offer = served(OWN, tmp_path).discover(parameter_request_list=[224, 225, 226, 125])
    assert offer.options.raw[224] == b"\0\0\0\x11"
    assert offer.options.raw[225] == b"\1\xc0\0\2\7sip"
    assert offer.options.raw[226] == b"\1\4\xc0\0\2\x08"
    assert offer.options.raw[132] == b"\0\x0a\0\x14"
    assert offer.options.raw[125] == b"\0\0\x11\x8b\x08\3\6\1\4\xc0\0\2\6" + b"\0\0\0\x09\3\1\1\5"
    assert 43 not in offer.options


def test_a_class_gets_the_options_of_its_vendor(tmp_path: Path) -> None:
    phones = plugin(dhcp_handle_options=lambda exchange: exchange.classes.add("phones"))
    offer = served(OWN, tmp_path, phones).discover(parameter_request_list=[1])
    assert offer.options.raw[43] == b"\1\4\xc0\0\2\x09\2\4\0\x50\1\xbb\x09\2\1\2"
    assert offer.options.raw[132] == b"\0\x0a\0\x14"


def test_plugins_know_them_by_name(tmp_path: Path) -> None:
    seen: list[Any] = []

    def look(packet: Packet, options: Any, exchange: Any) -> None:
        seen.append(
            (packet.options["asset-tag"], options["asset-tag"], packet.options["vendor-options"][4491]["inner"])
        )
        acme = exchange.config.definitions.spaces["acme"]
        seen.append(acme.decode(packet.options["vendor-encapsulated-options"])["server"])

    def edit(reply: Packet) -> None:
        seen.append(reply.options["phone-server"])
        reply.options["asset-tag"] = 18

    client = served(OWN, tmp_path, plugin(dhcp_handle_options=look, dhcp_pkt_send=edit))
    inner = b"\0\0\x11\x8b\x08\3\6\1\4\xc0\0\2\6"
    vendor = b"\1\4" + A4
    offer = client.discover(
        **{"option-224": b"\0\0\0\1", "vendor_options": inner, "vendor_encapsulated_options": vendor}
    )
    (first, server, phone) = seen
    assert first[:2] == (1, 1)
    assert first[2]["server"] == IPv4Address("192.0.2.6")
    assert (server, phone) == (A, (1, IPv4Address("192.0.2.7"), "sip"))
    assert offer.options.raw[224] == b"\0\0\0\x12"
    said = {fact.what: fact.words for fact in client.exchange.explain()}
    assert said["option asset-tag"] == "18 (of the server)"


def test_a_plugin_that_only_watches_knows_them_too(tmp_path: Path) -> None:
    seen: list[Any] = []
    hooks = plugin(
        dhcp_pkt_send=lambda packet, reply: seen.append((packet.options["asset-tag"], reply.options["vlans"]))
    )
    client = served(OWN, tmp_path, Plugin(hooks, policy=Policy(shadow=True)))
    client.discover(**{"option-224": b"\0\0\0\1"})
    assert seen == [(1, [10, 20])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[[option-definition]]\nname = 'a'\ncode = 3\ntype = 'text'",
            "5: option-definition[0].code: option 3 is 'rou",
        ),
        (
            "[[option-definition]]\nname = 'routers'\ncode = 224\ntype = 'text'",
            "4: option-definition[0].name: 'routers' i",
        ),
        (
            "[[option-definition]]\nname = 'a'\ncode = 224\ntype = 'txt'",
            "6: option-definition[0].type: expected one of boo",
        ),
        (
            "[[option-definition]]\nname = 'a'\ncode = 224\nrecord = ['txt']",
            "6: option-definition[0].record[0]: expected o",
        ),
        ("[[option-definition]]\nname = 'a'\ncode = 224", "3: option-definition[0].type: expected a type or a record"),
        ("[[option-definition]]\ncode = 224\ntype = 'text'", "3: option-definition[0].name: this key is needed"),
        (
            "[[option-definition]]\nnme = 'a'\nname = 'b'\ncode = 224\ntype = 'text'",
            "4: option-definition[0].nme: there is no such key; did you mean 'name'?",
        ),
        (
            "[[option-definition]]\nname = 'a'\ncode = 224\nencapsulate = 'b'",
            "6: option-definition[0].encapsulate: expected an option-space that is defined before, none",
        ),
        (
            "[[option-definition]]\nname = 'a'\ncode = 224\nencapsulate = 'b'\narray = true",
            "6: option-definition[0].encapsulate: is in the place of a type",
        ),
        ("[[option-space]]\nname = 'routers'", "4: option-space[0].name: 'routers' is taken"),
        ("[[option-space]]\nname = 'a'\nenterprise = -1", "5: option-space[0].enterprise: expected greater than or"),
        (
            "[[option-space]]\nname = 'a'\n[[option-space.option-definition]]\nname = 'b'\ncode = 255\ntype = 'text'",
            "7: option-space[0].option-definition[0].code: expected 1 to 254, got 255",
        ),
        ("[options]\nasset-tag = 1", "4: options.asset-tag: no option is called 'asset-tag'"),
        (
            "[[option-definition]]\nname = 'a'\ncode = 224\ntype = 'uint8'\n[options]\na = 256",
            "8: options.a: option 224 (a): expected integer 0..255, given 256",
        ),
        (
            "[[option-space]]\nname = 'a'\n[options]\na = { b = 1 }",
            "6: options.a: no option is called 'b'",
        ),
        ("[[option-space]]\nname = 'a'\n[options]\na = 7", "6: options.a: expected table of options of a, given 7"),
        (
            "[[option-space]]\nname = 'a'\n[options]\na.1 = '01'\nvendor-encapsulated-options = '02'",
            "7: options.vendor-encapsulated-options: option 43 is set already",
        ),
        (
            "always-send = ['routers', 'ruters']",
            "3: always-send[1]: no option is called 'ruters'; did you mean 'routers'",
        ),
        ("never-send = ['lease-time']", "3: never-send[0]: 'lease-time' is not for configuring: set lease-time"),
        ("never-send = 'routers'", "3: never-send: expected a list, got 'routers'"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_key(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "dhcp.toml").write_text(HEAD + text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "dhcp.toml")
    assert str(caught.value).startswith(f"{tmp_path}/dhcp.toml:{said}")
    assert "\n" not in str(caught.value)


def test_two_configurations_in_one_process_have_their_own() -> None:
    table = {"transport": {"type": "udp"}, "options": {"mine": "x"}}
    definition = {"name": "mine", "code": 224, "type": "text"}
    assert Settings.of({**table, "option-definition": [definition]}).config().parameters.options == {224: b"x"}
    with pytest.raises(ConfigError, match="no option is called 'mine'"):
        Settings.of(table)
    assert STANDARD_OPTIONS.find(224).name == "option-224"
