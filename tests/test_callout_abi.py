"""The ABI of the callout API: hookspecs.py, constants.py and serveroptions.py say what its one table says."""

from __future__ import annotations

import ctypes
import inspect
import re

import pytest

from aiodhcp import ServerOptions, constants, hookspecs
from aiodhcp.callout.abi import (
    CALLOUT_TABLE,
    ENTRY,
    ENTRY_NAMES,
    FUNCTION_TYPES,
    LIST_KEY,
    LIST_VALUE,
    SERVER_OPTIONS,
    CalloutTable,
    Parameter,
    ServerOptionsTable,
    Slot,
    multi_string,
    offsets,
    python_name,
)

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


OFFSETS = {
    "MessageType": 0,
    "SubnetMask": 8,
    "RequestedAddress": 16,
    "RequestLeaseTime": 24,
    "OverlayFields": 32,
    "RouterAddress": 40,
    "Server": 48,
    "ParameterRequestList": 56,
    "ParameterRequestListLength": 64,
    "MachineName": 72,
    "MachineNameLength": 80,
    "ClientHardwareAddressType": 84,
    "ClientHardwareAddressLength": 85,
    "ClientHardwareAddress": 88,
    "ClassIdentifier": 96,
    "ClassIdentifierLength": 104,
    "VendorClass": 112,
    "VendorClassLength": 120,
    "DNSFlags": 124,
    "DNSNameLength": 128,
    "DNSName": 136,
    "DSDomainNameRequested": 144,
    "DSDomainName": 152,
    "DSDomainNameLen": 160,
    "ScopeId": 168,
}
"""What compilers for x86-64 make of the header."""


def test_the_offsets_are_what_a_compiler_makes_of_the_header():
    types = [field.type for field in SERVER_OPTIONS]
    assert offsets(types, 8) == (*OFFSETS.values(), 176)
    assert [field.name for field in SERVER_OPTIONS] == list(OFFSETS)
    assert offsets(types, 4)[-1] == 96
    slots = [slot.type for slot in CALLOUT_TABLE]
    assert offsets(slots, 8) == tuple(range(0, 81, 8))
    assert offsets(slots, 4) == tuple(range(0, 41, 4))


# ── as ctypes: what compilers say of that is in tests/callout ──


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="of 64 bits")
def test_the_structures_have_the_sizes_of_the_header():
    assert {name: getattr(ServerOptionsTable, name).offset for name, _ in ServerOptionsTable._fields_} == OFFSETS
    assert ctypes.sizeof(ServerOptionsTable) == 176
    assert ctypes.sizeof(CalloutTable) == 80


def test_numbers_have_the_same_width_everywhere():
    for name, kind in ServerOptionsTable._fields_:
        expected = {"BYTE": 1, "BOOLEAN": 1, "DWORD": 4}
        field = next(each for each in SERVER_OPTIONS if each.name == name)
        assert ctypes.sizeof(kind) == expected.get(field.type, ctypes.sizeof(ctypes.c_void_p))


def test_each_function_takes_what_its_slot_has_parameters_for():
    for slot in CALLOUT_TABLE:
        if slot.parameters is not None:
            assert len(FUNCTION_TYPES[slot.type]._argtypes_) == len(slot.parameters)
            assert FUNCTION_TYPES[slot.type]._restype_ is ctypes.c_uint32


def test_a_new_table_is_all_null():
    table = CalloutTable()
    assert bytes(table) == bytes(ctypes.sizeof(table))
    assert not any(getattr(table, slot.field) for slot in CALLOUT_TABLE)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "00000000"),
        (["a"], "6100 0000 0000"),
        (["a", "\u20ac\U0001f600"], "6100 0000 ac20 3dd8 00de 0000 0000"),
    ],
    ids=["none", "one", "two"],
)
def test_a_list_of_names_is_utf_16_and_ends_with_a_name_of_none(names, expected):
    assert multi_string(names) == bytes.fromhex(expected)


@pytest.mark.parametrize("names", [[""], ["a", ""], ["a\0b"]])
def test_a_name_that_would_end_the_list_is_refused(names):
    with pytest.raises(ValueError, match="a name is empty or has a NUL in it"):
        multi_string(names)


def test_the_entry_point_has_the_names_that_compilers_give_it():
    assert ENTRY_NAMES == (
        "DhcpServerCalloutEntry",
        "DhcpServerCalloutEntry@12",
        "_DhcpServerCalloutEntry@12",
    )
    # Octets that a function of the stdcall convention takes from the stack, on 32 bits.
    assert 4 * len(ENTRY) == 12


def test_the_strings_of_the_registry():
    assert (LIST_KEY, LIST_VALUE) == (
        "System\\CurrentControlSet\\Services\\DHCPServer\\Parameters",
        "CalloutDlls",
    )
