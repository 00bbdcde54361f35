"""The ABI of the callout API: hookspecs.py, constants.py and serveroptions.py say what its one table says."""

from __future__ import annotations

import inspect
import re

import pytest

from aiodhcp import ServerOptions, constants, hookspecs
from aiodhcp.callout.abi import CALLOUT_TABLE, SERVER_OPTIONS, Parameter, Slot, python_name

SPECS = {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "aiodhcp_spec")}

CONSTANTS = {
    "ControlCode": {
        "DHCP_CONTROL_START": 0x00000001,
        "DHCP_CONTROL_STOP": 0x00000002,
        "DHCP_CONTROL_PAUSE": 0x00000003,
        "DHCP_CONTROL_CONTINUE": 0x00000004,
    },
    "DropReason": {
        "DHCP_DROP_DUPLICATE": 0x00000001,
        "DHCP_DROP_NOMEM": 0x00000002,
        "DHCP_DROP_INTERNAL_ERROR": 0x00000003,
        "DHCP_DROP_TIMEOUT": 0x00000004,
        "DHCP_DROP_UNAUTH": 0x00000005,
        "DHCP_DROP_PAUSED": 0x00000006,
        "DHCP_DROP_NO_SUBNETS": 0x00000007,
        "DHCP_DROP_INVALID": 0x00000008,
        "DHCP_DROP_WRONG_SERVER": 0x00000009,
        "DHCP_DROP_NOADDRESS": 0x0000000A,
        "DHCP_DROP_PROCESSED": 0x0000000B,
        "DHCP_DROP_GEN_FAILURE": 0x00000100,
    },
    "AddressProblem": {
        "DHCP_PROB_CONFLICT": 0x20000001,
        "DHCP_PROB_DECLINE": 0x20000002,
        "DHCP_PROB_RELEASE": 0x20000003,
        "DHCP_PROB_NACKED": 0x20000004,
    },
    "AddressKind": {"DHCP_GIVE_ADDRESS_NEW": 0x30000001, "DHCP_GIVE_ADDRESS_OLD": 0x30000002},
    "ClientType": {"DHCP_CLIENT_BOOTP": 0x30000003, "DHCP_CLIENT_DHCP": 0x30000004},
}
"""``#define`` by ``#define``, as dhcpssdk.h has them."""

PROTOTYPES = """
LPDHCP_CONTROL (DWORD dwControlCode,LPVOID lpReserved)
LPDHCP_NEWPKT (LPBYTE *Packet,DWORD *PacketSize,DWORD IpAddress,LPVOID Reserved,LPVOID *PktContext,LPBOOL ProcessIt)
LPDHCP_DROP_SEND (LPBYTE *Packet,DWORD *PacketSize,DWORD ControlCode,DWORD IpAddress,LPVOID Reserved,LPVOID PktContext)
LPDHCP_PROB (LPBYTE Packet,DWORD PacketSize,DWORD ControlCode,DWORD IpAddress,DWORD AltAddress,LPVOID Reserved,\
LPVOID PktContext)
LPDHCP_GIVE_ADDRESS (LPBYTE Packet,DWORD PacketSize,DWORD ControlCode,DWORD IpAddress,DWORD AltAddress,DWORD AddrType,\
DWORD LeaseTime,LPVOID Reserved,LPVOID PktContext)
LPDHCP_HANDLE_OPTIONS (LPBYTE Packet,DWORD PacketSize,LPVOID Reserved,LPVOID PktContext,\
LPDHCP_SERVER_OPTIONS ServerOptions)
LPDHCP_DELETE_CLIENT (DWORD IpAddress,LPBYTE HwAddress,ULONG HwAddressLength,DWORD Reserved,DWORD ClientType)
"""
"""The typedefs of dhcpssdk.h."""

TABLE = """
LPDHCP_CONTROL DhcpControlHook
LPDHCP_NEWPKT DhcpNewPktHook
LPDHCP_DROP_SEND DhcpPktDropHook
LPDHCP_DROP_SEND DhcpPktSendHook
LPDHCP_PROB DhcpAddressDelHook
LPDHCP_GIVE_ADDRESS DhcpAddressOfferHook
LPDHCP_HANDLE_OPTIONS DhcpHandleOptionsHook
LPDHCP_DELETE_CLIENT DhcpDeleteClientHook
LPVOID DhcpExtensionHook
LPVOID DhcpReservedHook
"""
"""The struct of dhcpssdk.h."""


def words(text: str) -> str:
    """A docstring's lines as one."""
    return " ".join(text.split())


# ── the table is that of the header ──


def test_the_slots_are_those_of_the_header_in_its_order():
    assert [f"{slot.type} {slot.field}" for slot in CALLOUT_TABLE] == TABLE.split("\n")[1:-1]


def test_the_parameters_are_those_of_the_header_in_its_order():
    said = dict(line.split(" ", 1) for line in PROTOTYPES.strip().splitlines())
    slots = [slot for slot in CALLOUT_TABLE if slot.parameters is not None]
    for slot in slots:
        assert slot.prototype == f"DWORD {slot.field}{said[slot.type].replace(',', ', ')}"
    assert said.keys() == {slot.type for slot in slots}


def test_what_is_reserved_has_no_parameters():
    assert [slot.field for slot in CALLOUT_TABLE if slot.parameters is None] == [
        "DhcpExtensionHook",
        "DhcpReservedHook",
    ]


def test_only_packets_may_be_changed_and_only_dhcp_new_pkt_may_veto():
    changed = {slot.hook: [each.name for each in slot.parameters or () if each.returned] for slot in CALLOUT_TABLE}
    assert {hook: names for hook, names in changed.items() if names} == {
        "dhcp_new_pkt": ["Packet", "PacketSize", "ProcessIt"],
        "dhcp_pkt_send": ["Packet", "PacketSize"],
    }


def test_what_nothing_in_python_carries():
    """Parameters of no use, the code of a send, which is always the same, and the veto, which is a verdict."""
    for slot in CALLOUT_TABLE:
        for each in slot.parameters or ():
            if not each.argument and "Reserved" not in each.name:
                assert (slot.field, each.name) in {
                    ("DhcpNewPktHook", "ProcessIt"),
                    ("DhcpPktSendHook", "ControlCode"),
                    ("DhcpDeleteClientHook", "ClientType"),
                }


# ── and the hooks are the table ──


def test_the_hooks_are_the_slots_of_the_callout_table_in_its_order():
    assert list(SPECS) == [slot.hook for slot in CALLOUT_TABLE]


@pytest.mark.parametrize("slot", CALLOUT_TABLE, ids=lambda slot: slot.hook)
def test_each_hook_takes_what_its_slot_has_parameters_for(slot: Slot):
    assert tuple(inspect.signature(SPECS[slot.hook]).parameters) == slot.arguments


@pytest.mark.parametrize("slot", CALLOUT_TABLE, ids=lambda slot: slot.hook)
def test_each_hook_says_what_it_is_in_c(slot: Slot):
    said = re.search(r"^C: ``(.*)``$", inspect.getdoc(SPECS[slot.hook]), re.DOTALL | re.MULTILINE)
    assert words(said[1]) == slot.prototype


def test_only_the_server_and_the_request_of_a_reply_are_not_in_c():
    assert {slot.hook: slot.besides for slot in CALLOUT_TABLE if slot.besides} == {
        "dhcp_control": ("server",),
        "dhcp_pkt_send": ("packet",),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DhcpNewPkt", "dhcp_new_pkt"),
        ("DNSFlags", "dns_flags"),
        ("DNSNameLength", "dns_name_length"),
        ("DSDomainNameLen", "ds_domain_name_len"),
        ("ScopeId", "scope_id"),
    ],
)
def test_names_are_made_mechanically(name, expected):
    assert python_name(name) == expected


def test_a_parameter_as_c_has_it():
    assert str(Parameter("LPBYTE *", "Packet")) == "LPBYTE *Packet"
    assert str(Parameter("DWORD", "IpAddress", "exchange")) == "DWORD IpAddress"


# ── the numbers ──


@pytest.mark.parametrize(("enum", "defined"), CONSTANTS.items(), ids=lambda each: each if isinstance(each, str) else "")
def test_the_numbers_are_those_of_the_header(enum, defined):
    members = getattr(constants, enum).__members__
    (prefix,) = {re.fullmatch(r"(DHCP_(?:GIVE_ADDRESS|[A-Z]+)_)\w+", name)[1] for name in defined}
    assert {prefix + name: int(member) for name, member in members.items()} == defined
    assert list(members) == [name.removeprefix(prefix) for name in defined]


# ── the options structure ──


def test_server_options_have_the_fields_of_the_header_in_its_order():
    attributes = [
        name for name, value in vars(ServerOptions).items() if isinstance(value, property) and not name.startswith("_")
    ]
    assert attributes == [field.attribute for field in SERVER_OPTIONS]
    assert len(SERVER_OPTIONS) == 25


def test_the_size_of_the_structure_is_what_a_compiler_makes_of_it():
    """176 octets on 64 bits and 96 on 32, as static asserts against the header say."""
    sizes = {"BYTE": 1, "BOOLEAN": 1, "DWORD": 4}
    for pointer, expected in ((8, 176), (4, 96)):
        at = 0
        for field in SERVER_OPTIONS:
            size = sizes.get(field.type, pointer)
            at = -(-at // size) * size + size
        assert -(-at // pointer) * pointer == expected
