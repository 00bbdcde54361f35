"""Parameters: what a client may be told, at any level of the configuration. Facts, no state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiodhcp.constants import INFINITE
from aiodhcp.options import Options, definition

__all__ = ["NOTHING_SAID", "AddressLike", "Parameters", "address_number", "encode_settings"]

AddressLike: TypeAlias = int | str | IPv4Address
"""An IPv4 address as it may be given: a number, dotted, or an object."""

ENGINE_OPTIONS: Final = {
    50: "the client's",
    51: "set lease-time",
    52: "made where a message needs it",
    53: "made by the server",
    54: "set server-id",
    55: "the client's",
    57: "the client's",
    58: "set renewal-time",
    59: "set rebinding-time",
    61: "the client's",
    82: "the relay agent's",
}
"""Options that the protocol owns: configuring them as options is an error, and the value says what to do instead."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a client may be told, at any level: server, class, subnet, pool, reservation. None: not said here.

    Attributes:
        options: by code or name; typed values or octets (see ``aiodhcp.options``). Kept as code to octets.
        lease_time, min_lease_time, max_lease_time: seconds; 4294967295 is for ever.
        renewal_time, rebinding_time: T1 and T2 in seconds (RFC 2131 §4.4.5); a half and seven eighths of the
            lease time where not said.
        next_server: ``siaddr``, the TFTP server, as an integer or a dotted string.
        server_name: ``sname``, at most 63 octets.
        boot_file: ``file``, at most 127 octets.

    Raises:
        ValueError: a value is out of range; the message starts with the name of the parameter.
    """

    options: Mapping[int, bytes] = field(default_factory=dict)
    lease_time: int | None = None
    min_lease_time: int | None = None
    max_lease_time: int | None = None
    renewal_time: int | None = None
    rebinding_time: int | None = None
    next_server: int | None = None
    server_name: str | None = None
    boot_file: str | None = None

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(
            self,
            options: Mapping[int, Any] | Mapping[str, Any] = ...,
            lease_time: int | None = None,
            min_lease_time: int | None = None,
            max_lease_time: int | None = None,
            renewal_time: int | None = None,
            rebinding_time: int | None = None,
            next_server: AddressLike | None = None,
            server_name: str | None = None,
            boot_file: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        _set(self, "options", MappingProxyType(encode_settings(self.options)))
        for name in ("lease_time", "min_lease_time", "max_lease_time", "renewal_time", "rebinding_time"):
            seconds = getattr(self, name)
            if seconds is not None and not (isinstance(seconds, int) and 1 <= seconds <= INFINITE):
                raise ValueError(f"{name}: expected 1 to {INFINITE} seconds, got {seconds!r}")
        if (self.min_lease_time or 1) > (self.max_lease_time or INFINITE):
            raise ValueError(
                f"min_lease_time: expected at most max-lease-time, {self.max_lease_time}, got {self.min_lease_time}"
            )
        if self.next_server is not None:
            try:
                _set(self, "next_server", address_number(self.next_server))
            except ValueError as error:
                raise ValueError(f"next_server: {error}") from None
        for name, room in (("server_name", 63), ("boot_file", 127)):
            text = getattr(self, name)
            if text is not None and len(text.encode()) > room:
                raise ValueError(f"{name}: expected at most {room} octets, got {len(text.encode())}")

    def under(self, specific: Parameters) -> Parameters:
        """These, where ``specific`` does not say otherwise."""
        said: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(specific, each.name)
            said[each.name] = getattr(self, each.name) if value is None else value
        said["options"] = {**self.options, **specific.options}
        if (said["min_lease_time"] or 1) > (said["max_lease_time"] or INFINITE):
            # Each limit is right where it was said: the less specific one gives way.
            said["max_lease_time" if specific.max_lease_time is None else "min_lease_time"] = None
        return Parameters(**said)


def encode_settings(options: Mapping[int, Any] | Mapping[str, Any]) -> dict[int, bytes]:
    """Configured options as octets by code.

    Raises:
        ValueError: an unknown name, a value that the option can't have, an option that is not for configuring.
    """
    encoded = Options()
    for option, value in options.items():
        try:
            encoded[option] = value
        except ValueError as error:
            raise ValueError(f"options.{option}: {error}") from None
        code = definition(option).code
        if code in ENGINE_OPTIONS:
            raise ValueError(f"options.{option}: can't be set as an option: {ENGINE_OPTIONS[code]}")
    return encoded.raw


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def address_number(value: AddressLike) -> int:
    """An IPv4 address as an integer."""
    return int(IPv4Address(value))


NOTHING_SAID: Final = Parameters()
