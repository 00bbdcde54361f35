"""The ABI of the callout API as plain data: the callout table, what its functions take, the options structure.

Source: ``dhcpssdk.h`` of mingw-w64, which is in the public domain. Names, types and order are those of the header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["CALLOUT_TABLE", "SERVER_OPTIONS", "Field", "Parameter", "Slot", "python_name"]


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


def python_name(name: str) -> str:
    """A name of the header as Python writes it: ``"dns_name_length"`` of ``"DNSNameLength"``."""
    # Two words of capitals only, one of which runs into the next word: DSDomainName.
    words = re.findall(r"DNS|DS|[A-Z][a-z]*", name)
    return "_".join(words).lower()


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
