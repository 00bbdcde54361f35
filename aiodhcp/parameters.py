"""Parameters: what a client may be told, at any level of the configuration. Facts, no state."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import InitVar, dataclass, field, fields
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiodhcp.codecs import octets_of
from aiodhcp.constants import INFINITE
from aiodhcp.fqdn import NOTHING_SAID_OF_NAMES, Fqdn
from aiodhcp.options import STANDARD_OPTIONS, Definitions

__all__ = ["NOTHING_SAID", "AddressLike", "Parameters", "address_number", "encode_settings", "option_codes"]

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
    80: "set rapid-commit",
    81: "set fqdn",
    82: "the relay agent's",
    116: "set auto-configure",
}
"""Options that the protocol owns: configuring them as options is an error, and the value says what to do instead."""


MAY_BE_LEFT_OUT: Final = (58, 59, 81)
"""Those of them that a reply can do without."""


LONGEST_DELAY: Final = 10
"""Seconds for which an OFFER may wait: clients have given up, or asked again, by then (RFC 2131 §4.1)."""


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
        rapid_commit: whether a client that asks for it gets its lease at once, by an ACK to its DISCOVER (RFC 4039).
        auto_configure: what a client that asks is told where there is no address for it: whether it may take a
            link-local one (RFC 2563). None says nothing, as to all others. Not for a pool.
        min_secs: seconds for which a client must have tried (its ``secs``) before its DISCOVER is answered. Not for a
            pool.
        offer_delay: seconds after which an OFFER leaves, 10 at most, so that another server is first.
        fqdn: what is done with the names of clients.
        always_send: options that a client gets also if it doesn't ask for them, by code or name. Kept as codes.
        never_send: options that it doesn't get even if it asks for them, by code or name. Kept as codes. Of each
            option the most specific list that has it counts.
        adaptive_lease_time_threshold: above this share of a pool in use new leases last ``min_lease_time`` at most, and
            a renewed one no longer than what remains of it, if that is more; more than 0 and less than 1.
        definitions: which names there are; the standard ones where a configuration has none of its own. Not kept.

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
    rapid_commit: bool | None = None
    auto_configure: bool | None = None
    min_secs: int | None = None
    offer_delay: float | None = None
    fqdn: Fqdn = NOTHING_SAID_OF_NAMES
    always_send: tuple[int, ...] = ()
    never_send: tuple[int, ...] = ()
    adaptive_lease_time_threshold: float | None = None
    definitions: InitVar[Definitions] = STANDARD_OPTIONS

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
            rapid_commit: bool | None = None,
            auto_configure: bool | None = None,
            min_secs: int | None = None,
            offer_delay: float | None = None,
            fqdn: Fqdn = NOTHING_SAID_OF_NAMES,
            always_send: Iterable[int | str] = (),
            never_send: Iterable[int | str] = (),
            adaptive_lease_time_threshold: float | None = None,
            definitions: Definitions = STANDARD_OPTIONS,
        ) -> None: ...

    def __post_init__(self, definitions: Definitions) -> None:
        _set(self, "options", MappingProxyType(encode_settings(self.options, definitions)))
        _set(self, "always_send", option_codes("always_send", self.always_send, definitions))
        _set(self, "never_send", option_codes("never_send", self.never_send, definitions, MAY_BE_LEFT_OUT))
        for code in self.never_send:
            if code in self.always_send:
                raise ValueError(f"never_send: {definitions.of(code).name!r} is in always-send, too")
        for name in ("lease_time", "min_lease_time", "max_lease_time", "renewal_time", "rebinding_time"):
            seconds = getattr(self, name)
            if seconds is not None and not (isinstance(seconds, int) and 1 <= seconds <= INFINITE):
                raise ValueError(f"{name}: expected 1 to {INFINITE} seconds, got {seconds!r}")
        share = self.adaptive_lease_time_threshold
        if share is not None and not (isinstance(share, int | float) and 0 < share < 1):
            raise ValueError(
                f"adaptive_lease_time_threshold: expected a share of more than 0 and less than 1, got {share!r}"
            )
        if (self.min_lease_time or 1) > (self.max_lease_time or INFINITE):
            raise ValueError(
                f"min_lease_time: expected at most max-lease-time, {self.max_lease_time}, got {self.min_lease_time}"
            )
        if (self.lease_time or 1) > (self.max_lease_time or INFINITE):
            raise ValueError(
                f"lease_time: expected at most max-lease-time, {self.max_lease_time}, got {self.lease_time}"
            )
        if self.min_secs is not None and not (isinstance(self.min_secs, int) and 0 <= self.min_secs <= 0xFFFF):
            raise ValueError(f"min_secs: expected 0 to 65535 seconds, got {self.min_secs!r}")
        delay = self.offer_delay
        if delay is not None and not (isinstance(delay, int | float) and 0 <= delay <= LONGEST_DELAY):
            raise ValueError(f"offer_delay: expected 0 to {LONGEST_DELAY} seconds, got {delay!r}")
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
        """These, where ``specific`` does not say otherwise. What each says is checked and encoded already, and is not
        again: a server does this for every subnet and every set of classes that its clients show it.
        """
        if specific is NOTHING_SAID:
            return self
        merged = object.__new__(Parameters)
        for name in _SIMPLE:
            value = getattr(specific, name)
            _set(merged, name, getattr(self, name) if value is None else value)
        options: Any = self.options
        # Joined by "|" they are copied as dicts are, in a tenth of the time that {**one, **other} takes.
        _set(merged, "options", MappingProxyType(options | specific.options) if specific.options else options)
        _set(merged, "fqdn", self.fqdn.under(specific.fqdn))
        for name, other in (("always_send", "never_send"), ("never_send", "always_send")):
            codes, less = getattr(self, name), getattr(specific, other)
            if less:
                codes = tuple([code for code in codes if code not in less])
            more = getattr(specific, name)
            _set(merged, name, tuple(dict.fromkeys((*codes, *more))) if more else codes)
        if (merged.min_lease_time or 1) > (merged.max_lease_time or INFINITE):
            # Each limit is right where it was said: the less specific one gives way.
            _set(merged, "max_lease_time" if specific.max_lease_time is None else "min_lease_time", None)
        if (merged.lease_time or 1) > (merged.max_lease_time or INFINITE):
            if specific.lease_time is None:
                _set(merged, "lease_time", merged.max_lease_time)
            else:
                _set(merged, "max_lease_time", None)
        return merged

    def tell(self, codes: Container[int] | None) -> bool:
        """Whether they say anything: of options that of these codes; None for all."""
        if any(codes is None or code in codes for code in self.options):
            return True
        names = (each.name for each in fields(self) if each.name != "options")
        return any(getattr(self, name) != getattr(NOTHING_SAID, name) for name in names)


def encode_settings(
    options: Mapping[int, Any] | Mapping[str, Any], definitions: Definitions = STANDARD_OPTIONS
) -> dict[int, bytes]:
    """Configured options as octets by code.

    Args:
        options: values by code or name; ``"hex:01:02"`` are the octets of any option. The name of a space has a table
            of its options.
        definitions: which names there are.

    Raises:
        ValueError: an unknown name, a value that the option can't have, an option that is there twice or is not for
            configuring; the message begins with ``options.`` and the name.
    """
    encoded: dict[int, bytes] = {}
    enterprises: set[int] = set()
    for option, value in options.items():
        try:
            space = definitions.spaces.get(option.replace("_", "-")) if isinstance(option, str) else None
            given = _with_octets(value)
            code, octets = definitions.encode(option, given) if space is None else (space.carrier, space.carried(given))
        except ValueError as error:
            raise ValueError(f"options.{option}: {error}") from None
        if code in ENGINE_OPTIONS:
            raise ValueError(f"options.{option}: can't be set as an option: {ENGINE_OPTIONS[code]}")
        of_enterprise = space is not None and space.enterprise is not None
        if code in encoded and not (of_enterprise and code in enterprises):
            raise ValueError(f"options.{option}: option {code} is set already")
        if of_enterprise:
            enterprises.add(code)
        encoded[code] = encoded.get(code, b"") + octets
    return encoded


def _with_octets(value: Any) -> Any:
    """A value whose ``"hex:01:02"`` are octets, also inside of tables."""
    if isinstance(value, str) and value.startswith("hex:"):
        return octets_of(value.removeprefix("hex:"))
    if isinstance(value, dict):
        return {key: _with_octets(each) for key, each in value.items()}
    return value


def option_codes(
    parameter: str, options: Iterable[int | str], definitions: Definitions, allowed: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """The codes of options, each once, in their order; the name of a space is the option that carries it.

    Args:
        parameter: its name, for error messages.
        options: codes or names.
        definitions: which names there are.
        allowed: options that may be named although the protocol owns them.

    Raises:
        ValueError: no option is called so, or the protocol owns it.
    """
    if isinstance(options, str):
        raise ValueError(f"{parameter}: expected a list of options, got {options!r}")  # noqa: TRY004 - a value, too
    codes: dict[int, None] = {}
    for at, option in enumerate(options):
        space = definitions.spaces.get(option.replace("_", "-")) if isinstance(option, str) else None
        try:
            code = definitions.find(option).code if space is None else space.carrier
        except ValueError as error:
            raise ValueError(f"{parameter}[{at}]: {error}") from None
        if code in ENGINE_OPTIONS and code not in allowed:
            raise ValueError(f"{parameter}[{at}]: {option!r} is not for configuring: {ENGINE_OPTIONS[code]}")
        codes[code] = None
    return tuple(codes)


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def address_number(value: AddressLike) -> int:
    """An IPv4 address as an integer."""
    return int(IPv4Address(value))


_SIMPLE: Final = tuple(
    each.name for each in fields(Parameters) if each.name not in ("options", "fqdn", "always_send", "never_send")
)
"""Fields of which the more specific one counts, where it is not None."""
NOTHING_SAID: Final = Parameters()
