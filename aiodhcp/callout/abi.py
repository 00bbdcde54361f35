"""The ABI of the callout API: the callout table, what its functions take, the options structure. First as plain data,
then as ctypes made of that; no other file says what anything looks like in C.

Source: ``dhcpssdk.h`` of mingw-w64, which is in the public domain. Names, types and order are those of the header.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "BUFFER_SIZE",
    "CALLOUT_TABLE",
    "ENTRY",
    "ENTRY_NAMES",
    "ENTRY_POINT",
    "ENTRY_TYPE",
    "FUNCTION_TYPES",
    "LIST_KEY",
    "LIST_VALUE",
    "SEND_PACKET",
    "SERVER_OPTIONS",
    "SHORTEST_PACKET",
    "VERSIONS",
    "CalloutTable",
    "Field",
    "Parameter",
    "ServerOptionsTable",
    "Slot",
    "load_library",
    "multi_string",
    "offsets",
    "python_name",
    "unload_library",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function of the callout table.

    Attributes:
        type: as the header writes it, ``"LPBYTE *"`` where there is a star.
        name: the header's.
        argument: the argument of the hook that has it in Python; empty where none does.
        returned: whether what the plugin returns, or left in the argument, goes back in it.
    """

    type: str
    name: str
    argument: str = ""
    returned: bool = False

    def __str__(self) -> str:
        return f"{self.type}{self.name}" if self.type.endswith("*") else f"{self.type} {self.name}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A field of ``DHCP_CALLOUT_TABLE``.

    Attributes:
        field: its name in the header.
        type: the type of the function, ``"LPVOID"`` for those that are reserved.
        parameters: in order; None where there is no function.
        besides: arguments of the hook that C has no parameter for.
    """

    field: str
    type: str
    parameters: tuple[Parameter, ...] | None
    besides: tuple[str, ...] = ()

    @property
    def hook(self) -> str:
        """The name of the hook: ``"dhcp_new_pkt"`` of ``"DhcpNewPktHook"``."""
        return python_name(self.field.removesuffix("Hook"))

    @property
    def prototype(self) -> str:
        """What the hook is in C: its name with the types of the header."""
        if self.parameters is None:
            return f"{self.type} {self.field}"
        return f"DWORD {self.field}({', '.join(map(str, self.parameters))})"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of the hook: ``besides``, those that have its parameters, in their order, and the exchange."""
        found = dict.fromkeys((*self.besides, *(each.argument for each in self.parameters or ())))
        return tuple(sorted(filter(None, found), key="exchange".__eq__))


@dataclass(frozen=True, slots=True)
class Field:
    """A field of ``DHCP_SERVER_OPTIONS``.

    Attributes:
        type: as the header writes it, without ``UNALIGNED``: ``"DHCP_IP_ADDRESS *"``.
        name: the header's.
    """

    type: str
    name: str

    @property
    def attribute(self) -> str:
        """The name of the attribute of ``ServerOptions``."""
        return python_name(self.name)

    @property
    def is_pointer(self) -> bool:
        """Whether it points to the value instead of being it."""
        return self.type not in _SIZES


def python_name(name: str) -> str:
    """A name of the header as Python writes it: ``"dns_name_length"`` of ``"DNSNameLength"``."""
    # Two words of capitals only, one of which runs into the next word: DSDomainName.
    words = re.findall(r"DNS|DS|[A-Z][a-z]*", name)
    return "_".join(words).lower()


_SIZES: Final = {"BYTE": 1, "BOOLEAN": 1, "DWORD": 4}
"""Of what is no pointer, in octets; each is aligned to its size."""


def offsets(types: Iterable[str], pointer: int) -> tuple[int, ...]:
    """Where the fields of a structure are by the natural alignment that the header asks for, and its size at the end.

    Args:
        types: of the fields, in order.
        pointer: octets of a pointer: 8 on x86-64, 4 on i686.
    """
    found, at = [], 0
    for each in types:
        size = _SIZES.get(each, pointer)
        found.append(-(-at // size) * size)
        at = found[-1] + size
    return (*found, -(-at // pointer) * pointer)


def _code(name: str) -> Parameter:
    return Parameter("DWORD", "ControlCode", name)


_INTERFACE: Final = Parameter("DWORD", "IpAddress", "exchange")
_ADDRESS: Final = Parameter("DWORD", "AltAddress", "address")
_RESERVED: Final = Parameter("LPVOID", "Reserved")
_CONTEXT: Final = Parameter("LPVOID", "PktContext", "exchange")
_READ: Final = (Parameter("LPBYTE", "Packet", "packet"), Parameter("DWORD", "PacketSize", "packet"))


def _buffer(argument: str, *, returned: bool) -> tuple[Parameter, Parameter]:
    return (
        Parameter("LPBYTE *", "Packet", argument, returned),
        Parameter("DWORD *", "PacketSize", argument, returned),
    )


CALLOUT_TABLE: Final = (
    Slot(
        "DhcpControlHook",
        "LPDHCP_CONTROL",
        (Parameter("DWORD", "dwControlCode", "code"), Parameter("LPVOID", "lpReserved")),
        besides=("server",),
    ),
    Slot(
        "DhcpNewPktHook",
        "LPDHCP_NEWPKT",
        (
            *_buffer("packet", returned=True),
            _INTERFACE,
            _RESERVED,
            Parameter("LPVOID *", "PktContext", "exchange"),
            Parameter("LPBOOL", "ProcessIt", returned=True),
        ),
    ),
    Slot(
        "DhcpPktDropHook",
        "LPDHCP_DROP_SEND",
        (*_buffer("packet", returned=False), _code("reason"), _INTERFACE, _RESERVED, _CONTEXT),
    ),
    Slot(
        "DhcpPktSendHook",
        "LPDHCP_DROP_SEND",
        (*_buffer("reply", returned=True), _code(""), _INTERFACE, _RESERVED, _CONTEXT),
        besides=("packet",),
    ),
    Slot(
        "DhcpAddressDelHook",
        "LPDHCP_PROB",
        (*_READ, _code("problem"), _INTERFACE, _ADDRESS, _RESERVED, _CONTEXT),
    ),
    Slot(
        "DhcpAddressOfferHook",
        "LPDHCP_GIVE_ADDRESS",
        (
            *_READ,
            _code("kind"),
            _INTERFACE,
            _ADDRESS,
            Parameter("DWORD", "AddrType", "client_type"),
            Parameter("DWORD", "LeaseTime", "lease_time"),
            _RESERVED,
            _CONTEXT,
        ),
    ),
    Slot(
        "DhcpHandleOptionsHook",
        "LPDHCP_HANDLE_OPTIONS",
        (*_READ, _RESERVED, _CONTEXT, Parameter("LPDHCP_SERVER_OPTIONS", "ServerOptions", "options")),
    ),
    Slot(
        "DhcpDeleteClientHook",
        "LPDHCP_DELETE_CLIENT",
        (
            Parameter("DWORD", "IpAddress", "address"),
            Parameter("LPBYTE", "HwAddress", "hardware_address"),
            Parameter("ULONG", "HwAddressLength", "hardware_address"),
            Parameter("DWORD", "Reserved"),
            Parameter("DWORD", "ClientType"),
        ),
    ),
    Slot("DhcpExtensionHook", "LPVOID", None),
    Slot("DhcpReservedHook", "LPVOID", None),
)
"""``DHCP_CALLOUT_TABLE``, in its order."""

SERVER_OPTIONS: Final = (
    Field("BYTE *", "MessageType"),
    Field("DHCP_IP_ADDRESS *", "SubnetMask"),
    Field("DHCP_IP_ADDRESS *", "RequestedAddress"),
    Field("DWORD *", "RequestLeaseTime"),
    Field("BYTE *", "OverlayFields"),
    Field("DHCP_IP_ADDRESS *", "RouterAddress"),
    Field("DHCP_IP_ADDRESS *", "Server"),
    Field("BYTE *", "ParameterRequestList"),
    Field("DWORD", "ParameterRequestListLength"),
    Field("CHAR *", "MachineName"),
    Field("DWORD", "MachineNameLength"),
    Field("BYTE", "ClientHardwareAddressType"),
    Field("BYTE", "ClientHardwareAddressLength"),
    Field("BYTE *", "ClientHardwareAddress"),
    Field("CHAR *", "ClassIdentifier"),
    Field("DWORD", "ClassIdentifierLength"),
    Field("BYTE *", "VendorClass"),
    Field("DWORD", "VendorClassLength"),
    Field("DWORD", "DNSFlags"),
    Field("DWORD", "DNSNameLength"),
    Field("LPBYTE", "DNSName"),
    Field("BOOLEAN", "DSDomainNameRequested"),
    Field("CHAR *", "DSDomainName"),
    Field("DWORD", "DSDomainNameLen"),
    Field("DWORD *", "ScopeId"),
)
"""``DHCP_SERVER_OPTIONS``, in its order. The pointers to numbers point into the packet: what is there is big-endian."""

ENTRY_POINT: Final = "DhcpServerCalloutEntry"
"""``DHCP_CALLOUT_ENTRY_POINT``: what a callout has to export."""
ENTRY_NAMES: Final = (ENTRY_POINT, f"{ENTRY_POINT}@12", f"_{ENTRY_POINT}@12")
"""Names that compilers for i686 give it, without a .def file."""
ENTRY: Final = (
    Parameter("LPWSTR", "ChainDlls"),
    Parameter("DWORD", "CalloutVersion"),
    Parameter("LPDHCP_CALLOUT_TABLE", "CalloutTbl"),
)
"""What it takes. It returns a ``DWORD``, 0 for success."""
VERSIONS: Final = (0,)
"""Of the API, the newest first: there has only been one."""
LIST_KEY: Final = r"System\CurrentControlSet\Services\DHCPServer\Parameters"
"""``DHCP_CALLOUT_LIST_KEY``: in HKEY_LOCAL_MACHINE."""
LIST_VALUE: Final = "CalloutDlls"
"""``DHCP_CALLOUT_LIST_VALUE``, a ``REG_MULTI_SZ``."""
SEND_PACKET: Final = 0x10000000
"""``DHCP_SEND_PACKET``, the only ``ControlCode`` of ``DhcpPktSendHook``. All others are in aiodhcp/constants.py."""
BUFFER_SIZE: Final = 4096
"""Octets that a callout may write to where it is given a packet to change."""
SHORTEST_PACKET: Final = 240
"""Octets of a packet that a callout is given, at least: some read fixed fields without a look at the size."""


def multi_string(names: Iterable[str]) -> bytes:
    """``REG_MULTI_SZ``, as ``ChainDlls`` is: UTF-16LE, a NUL behind each name and one more behind the last.

    Made by hand, because ``c_wchar`` has four octets where the system is not Windows.

    Args:
        names: paths; without any it is two NULs, which is empty for those, too, that look for a name first.

    Raises:
        ValueError: a name is empty or has a NUL in it, which would end the list.
    """
    names = list(names)
    if not all(names) or any("\0" in name for name in names):
        raise ValueError(f"a name is empty or has a NUL in it: {names!r}")
    return ("".join(name + "\0" for name in names) or "\0").encode("utf-16-le") + b"\0\0"


# ── the same as ctypes ───────────────────────────────────────────────────────────────────────────────────────────────

# ``sys.platform`` decides once. Fixed widths only: a ``wintypes.DWORD`` has eight octets on Linux.
if sys.platform == "win32":
    from _ctypes import FreeLibrary as _unload

    _function: Final = ctypes.WINFUNCTYPE
    load_library: Final = ctypes.WinDLL
else:
    from _ctypes import dlclose as _unload

    _function: Final = ctypes.CFUNCTYPE
    load_library: Final = ctypes.CDLL


def unload_library(library: ctypes.CDLL) -> None:
    """Undo one ``load_library``. Nothing of the library may be called after that."""
    _unload(library._handle)


_C: Final[dict[str, Any]] = {
    "BYTE": ctypes.c_uint8,
    "BOOLEAN": ctypes.c_uint8,
    "DWORD": ctypes.c_uint32,
    "ULONG": ctypes.c_uint32,
    "DWORD *": ctypes.POINTER(ctypes.c_uint32),
    "LPBOOL": ctypes.POINTER(ctypes.c_int32),
    # Never c_char_p, which Python would read as text that ends at a NUL.
    "LPBYTE": ctypes.c_void_p,
    "LPBYTE *": ctypes.POINTER(ctypes.c_void_p),
    "LPVOID": ctypes.c_void_p,
    "LPVOID *": ctypes.POINTER(ctypes.c_void_p),
    "LPWSTR": ctypes.c_void_p,
}


class ServerOptionsTable(ctypes.Structure):
    """``DHCP_SERVER_OPTIONS``: 176 octets with pointers of 64 bits, 96 with those of 32."""

    _fields_ = tuple((each.name, ctypes.c_void_p if each.is_pointer else _C[each.type]) for each in SERVER_OPTIONS)


_C["LPDHCP_SERVER_OPTIONS"] = ctypes.POINTER(ServerOptionsTable)


def _prototype(parameters: Iterable[Parameter]) -> Any:
    return _function(ctypes.c_uint32, *[_C[each.type] for each in parameters])


FUNCTION_TYPES: Final[dict[str, Any]] = {
    slot.type: _prototype(slot.parameters) for slot in CALLOUT_TABLE if slot.parameters is not None
}
"""``LPDHCP_NEWPKT`` and so on, by name."""


class CalloutTable(ctypes.Structure):
    """``DHCP_CALLOUT_TABLE``: 80 octets with pointers of 64 bits, 40 with those of 32. A new one is all NULL."""

    _fields_ = tuple((slot.field, FUNCTION_TYPES.get(slot.type, ctypes.c_void_p)) for slot in CALLOUT_TABLE)


_C["LPDHCP_CALLOUT_TABLE"] = ctypes.POINTER(CalloutTable)

ENTRY_TYPE: Final = _prototype(ENTRY)
"""``DhcpServerCalloutEntry``."""
