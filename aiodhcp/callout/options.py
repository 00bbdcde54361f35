"""``DHCP_SERVER_OPTIONS`` of a request: which octets of the packet each of its fields points to.

It says the same as ``ServerOptions``, which has the values, and knows no ctypes: the structure can be filled where
the packet is, in this process or in another.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aiodhcp.callout.abi import SERVER_OPTIONS

__all__ = ["Located", "locate"]

PAD, END = 0, 255
SUBNET_MASK, ROUTERS, HOST_NAME, VENDOR_OPTIONS, REQUESTED_ADDRESS, LEASE_TIME, OVERLOAD = 1, 3, 12, 43, 50, 51, 52
MESSAGE_TYPE, SERVER_ID, PARAMETER_REQUEST_LIST, VENDOR_CLASS, USER_CLASS, CLIENT_FQDN = 53, 54, 55, 60, 77, 81
ROGUE_DETECTION_REQUEST, ROGUE_DETECTION_REPLY = 94, 95
"""Sub-options of option 43 in an INFORM ([MS-DHCPE] §2.2.2)."""
FQDN_FLAGS: Final = 3
"""Octets of option 81 before the name (RFC 4702 §2)."""
HTYPE, HLEN, CHADDR = 1, 2, 28
OPTIONS: Final = 240
FILE, SNAME = (108, 236), (44, 108)
OVERLOADED: Final = {b"\1": (FILE,), b"\2": (SNAME,), b"\3": (FILE, SNAME)}

Place = tuple[int, int]
"""Where a value is, and how many octets it has."""


class Located(NamedTuple):
    """A packet, and where in it the fields are.

    Attributes:
        octets: the packet; behind it the values of options that are in pieces in it (RFC 3396), at most as many again.
        values: for each field of ``SERVER_OPTIONS`` in order: for a pointer its offset in ``octets``, None for NULL;
            the number for what is no pointer.
    """

    octets: bytes
    values: tuple[int | None, ...]


def locate(packet: bytes) -> Located:
    """Find the fields of ``DHCP_SERVER_OPTIONS``.

    Args:
        packet: a DHCP message from ``op`` on, 240 octets at least. What is malformed in it is not there.
    """
    found = _Options(packet)
    values: dict[str, int | None] = {
        "MessageType": found.sized(MESSAGE_TYPE, 1),
        "SubnetMask": found.sized(SUBNET_MASK, 4),
        "RequestedAddress": found.sized(REQUESTED_ADDRESS, 4),
        "RequestLeaseTime": found.sized(LEASE_TIME, 4),
        "OverlayFields": found.sized(OVERLOAD, 1),
        "Server": found.sized(SERVER_ID, 4),
        "ClientHardwareAddressType": packet[HTYPE],
        "ClientHardwareAddressLength": min(packet[HLEN], 16),
        "ClientHardwareAddress": CHADDR,
        "DSDomainNameRequested": 0,
    }
    for name, length, option in (
        ("ParameterRequestList", "ParameterRequestListLength", PARAMETER_REQUEST_LIST),
        ("MachineName", "MachineNameLength", HOST_NAME),
        ("ClassIdentifier", "ClassIdentifierLength", USER_CLASS),
        ("VendorClass", "VendorClassLength", VENDOR_CLASS),
    ):
        values[name], values[length] = found.place(option) or (None, 0)
    routers = found.place(ROUTERS)
    if routers is not None and routers[1] >= 4:
        values["RouterAddress"] = routers[0]
    fqdn = found.place(CLIENT_FQDN)
    if fqdn is not None and fqdn[1] >= FQDN_FLAGS:
        values["DNSFlags"] = found.octets[fqdn[0]]
        values["DNSName"], values["DNSNameLength"] = fqdn[0] + FQDN_FLAGS, fqdn[1] - FQDN_FLAGS
    vendor = found.place(VENDOR_OPTIONS)
    if vendor is not None:
        inside: dict[int, list[Place]] = {}
        _walk(found.octets, vendor[0], vendor[0] + vendor[1], inside, ends=False)
        values["DSDomainNameRequested"] = int(ROGUE_DETECTION_REQUEST in inside)
        values["DSDomainName"], values["DSDomainNameLen"] = inside.get(ROGUE_DETECTION_REPLY, [(None, 0)])[0]
    return Located(
        bytes(found.octets), tuple(values.get(each.name, None if each.is_pointer else 0) for each in SERVER_OPTIONS)
    )


class _Options:
    """Where each option of a packet is."""

    def __init__(self, packet: bytes) -> None:
        self.octets = bytearray(packet)
        self._pieces: dict[int, list[Place]] = {}
        _walk(packet, OPTIONS, len(packet), self._pieces)
        overload = self._pieces.get(OVERLOAD, [])
        value = b"".join(packet[at : at + length] for at, length in overload)
        for start, end in OVERLOADED.get(value, ()):
            _walk(packet, start, end, self._pieces)
        if overload:
            self._pieces[OVERLOAD] = overload[:1]

    def place(self, option: int) -> Place | None:
        """Where its value is, put together behind the packet where it is in pieces; None without it."""
        pieces = self._pieces.get(option, [])
        if len(pieces) > 1:
            whole = b"".join(self.octets[at : at + length] for at, length in pieces)
            pieces = self._pieces[option] = [(len(self.octets), len(whole))]
            self.octets += whole
        return pieces[0] if pieces else None

    def sized(self, option: int, size: int) -> int | None:
        """Where its value is, if it has that many octets."""
        place = self.place(option)
        return place[0] if place is not None and place[1] == size else None


def _walk(octets: bytes | bytearray, at: int, end: int, found: dict[int, list[Place]], *, ends: bool = True) -> None:
    """Note where options are; ``ends`` says whether Pad and End are among them, as in [MS-DHCPE]'s they are not."""
    while at + 2 <= end:
        code = octets[at]
        if ends and code == END:
            return
        if ends and code == PAD:
            at += 1
            continue
        start, at = at + 2, at + 2 + octets[at + 1]
        if at > end:
            return
        found.setdefault(code, []).append((start, at - start))
