"""ServerOptions: what ``dhcp_handle_options`` is told, the fields of ``DHCP_SERVER_OPTIONS`` by name.

A view of the request, which need not be decoded for it: nothing is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from aiodhcp.options import STANDARD_OPTIONS, Definitions, Options

__all__ = ["ServerOptions"]

SUBNET_MASK, ROUTERS, HOST_NAME, VENDOR_OPTIONS, REQUESTED_ADDRESS, LEASE_TIME, OVERLOAD = 1, 3, 12, 43, 50, 51, 52
MESSAGE_TYPE, SERVER_ID, PARAMETER_REQUEST_LIST, VENDOR_CLASS, USER_CLASS, CLIENT_FQDN = 53, 54, 55, 60, 77, 81
ROGUE_DETECTION_REQUEST, ROGUE_DETECTION_REPLY = 94, 95
"""Sub-options of option 43 in an INFORM by which servers of a domain find each other ([MS-DHCPE] §2.2.2)."""
FQDN_FLAGS: Final = 3
"""Octets of option 81 before the name (RFC 4702 §2)."""


class ServerOptions(Mapping[int | str, Any]):
    """The options of a request: every one by name or code, like ``packet.options``, and the fields that
    ``DHCP_SERVER_OPTIONS`` has as attributes. What a packet doesn't have, or has with a wrong length, is None; text is
    in octets as it came.

    Args:
        raw: the options as octets by code.
        htype: the hardware type.
        chaddr: the hardware address, ``hlen`` octets.
        definitions: which options have names and formats.
    """

    __slots__ = ("_chaddr", "_definitions", "_htype", "_options", "_raw")

    def __init__(
        self, raw: Mapping[int, bytes], htype: int, chaddr: bytes, definitions: Definitions = STANDARD_OPTIONS
    ) -> None:
        self._raw = raw
        self._htype = htype
        self._definitions = definitions
        self._chaddr = chaddr
        self._options: Options | None = None

    def __getitem__(self, option: int | str) -> Any:
        return self._typed[option]

    def __contains__(self, option: object) -> bool:
        return option in self._typed

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._typed)

    def __len__(self) -> int:
        return len(self._typed)

    def __repr__(self) -> str:
        return f"ServerOptions({self._typed!r})"

    @property
    def _typed(self) -> Options:
        if self._options is None:
            # How the options were laid out is none of them.
            raw = {code: value for code, value in self._raw.items() if code != OVERLOAD}
            self._options = Options(raw, self._definitions)
        return self._options

    @property
    def message_type(self) -> int | None:
        """Option 53."""
        return self._number(MESSAGE_TYPE, 1)

    @property
    def subnet_mask(self) -> IPv4Address | None:
        """Option 1."""
        return self._address(SUBNET_MASK)

    @property
    def requested_address(self) -> IPv4Address | None:
        """Option 50."""
        return self._address(REQUESTED_ADDRESS)

    @property
    def request_lease_time(self) -> int | None:
        """Option 51, in seconds."""
        return self._number(LEASE_TIME, 4)

    @property
    def overlay_fields(self) -> int | None:
        """Option 52: 1 for ``file``, 2 for ``sname``, 3 for both."""
        return self._number(OVERLOAD, 1)

    @property
    def router_address(self) -> IPv4Address | None:
        """Option 3, the first address."""
        value = self._raw.get(ROUTERS, b"")
        return IPv4Address(value[:4]) if len(value) >= 4 else None

    @property
    def server(self) -> IPv4Address | None:
        """Option 54."""
        return self._address(SERVER_ID)

    @property
    def parameter_request_list(self) -> bytes | None:
        """Option 55, a code an octet."""
        return self._raw.get(PARAMETER_REQUEST_LIST)

    @property
    def parameter_request_list_length(self) -> int:
        """Octets of it; 0 without."""
        return len(self.parameter_request_list or b"")

    @property
    def machine_name(self) -> bytes | None:
        """Option 12, the client's name."""
        return self._raw.get(HOST_NAME)

    @property
    def machine_name_length(self) -> int:
        """Octets of it; 0 without."""
        return len(self.machine_name or b"")

    @property
    def client_hardware_address_type(self) -> int:
        """``htype``."""
        return self._htype

    @property
    def client_hardware_address_length(self) -> int:
        """``hlen``."""
        return len(self._chaddr)

    @property
    def client_hardware_address(self) -> bytes:
        """``chaddr``, ``hlen`` octets."""
        return self._chaddr

    @property
    def class_identifier(self) -> bytes | None:
        """The class that a user put the machine into: option 77 (RFC 3004)."""
        return self._raw.get(USER_CLASS)

    @property
    def class_identifier_length(self) -> int:
        """Octets of it; 0 without."""
        return len(self.class_identifier or b"")

    @property
    def vendor_class(self) -> bytes | None:
        """The class by vendor: option 60."""
        return self._raw.get(VENDOR_CLASS)

    @property
    def vendor_class_length(self) -> int:
        """Octets of it; 0 without."""
        return len(self.vendor_class or b"")

    @property
    def dns_flags(self) -> int:
        """The flags of option 81 (RFC 4702 §2.1); 0 without."""
        value = self._raw.get(CLIENT_FQDN, b"")
        return value[0] if len(value) >= FQDN_FLAGS else 0

    @property
    def dns_name_length(self) -> int:
        """Octets of the name; 0 without."""
        return len(self.dns_name or b"")

    @property
    def dns_name(self) -> bytes | None:
        """The name in option 81."""
        value = self._raw.get(CLIENT_FQDN, b"")
        return value[FQDN_FLAGS:] if len(value) >= FQDN_FLAGS else None

    @property
    def ds_domain_name_requested(self) -> bool:
        """Whether another server asks for the name of our domain, in option 43 of an INFORM."""
        return ROGUE_DETECTION_REQUEST in self._vendor_options

    @property
    def ds_domain_name(self) -> bytes | None:
        """The name of its own domain, in the same place."""
        return self._vendor_options.get(ROGUE_DETECTION_REPLY)

    @property
    def ds_domain_name_len(self) -> int:
        """Octets of it; 0 without."""
        return len(self.ds_domain_name or b"")

    @property
    def scope_id(self) -> int | None:
        """Always None: of multicast scopes, which DHCP doesn't have."""
        return None

    @property
    def _vendor_options(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        value = self._raw.get(VENDOR_OPTIONS, b"")
        at = 0
        while at + 2 <= len(value) and at + 2 + value[at + 1] <= len(value):
            found.setdefault(value[at], value[at + 2 : at + 2 + value[at + 1]])
            at += 2 + value[at + 1]
        return found

    def _number(self, option: int, size: int) -> int | None:
        value = self._raw.get(option, b"")
        return int.from_bytes(value, "big") if len(value) == size else None

    def _address(self, option: int) -> IPv4Address | None:
        number = self._number(option, 4)
        return None if number is None else IPv4Address(number)
