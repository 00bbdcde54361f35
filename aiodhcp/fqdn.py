"""The name of a client: what it says of it (option 81, RFC 4702, or option 12), and what the server makes of that."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final, Literal, get_args

from aiodhcp.dnsnames import DOMAIN, FqdnFlag

__all__ = ["CLIENT_FQDN", "NOTHING_SAID_OF_NAMES", "Fqdn", "Replace", "Updates", "negotiate"]

CLIENT_FQDN: Final = 81
Updates = Literal["none", "client", "server"]
Replace = Literal["never", "when-present", "when-not-present", "always"]

_S, _O, _E, _N = (int(flag) for flag in (FqdnFlag.S, FqdnFlag.O, FqdnFlag.E, FqdnFlag.N))
_NO_RCODES: Final = b"\xff\xff"
"""RFC 4702 §2.2."""
_PREFIX: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,45}[A-Za-z0-9])?")
_STRANGE: Final = re.compile(rb"[^A-Za-z0-9_-]+")
LONGEST_LABEL, LONGEST_NAME, LONGEST_WIRE = 63, 253, 255
"""Octets (RFC 1035 §2.3.4)."""


@dataclass(frozen=True, slots=True)
class Fqdn:
    """What is done with the names of clients, at any level. None: not said here.

    Attributes:
        updates: who updates the DNS, which clients are told: "none" for nobody on the server's side (this is the
            default), "client" for the client its address record and the server's side the reverse one, "server" for
            the server's side both, if the client wishes so.
        override_client: with "server", also the address record of a client that wishes to update it itself.
        override_no_update: also for clients that wish for no update.
        suffix: the domain that completes a name without one; empty for none.
        replace: whether a name made of the address takes the place of the client's: "never", "when-present" for one
            that it sends, "when-not-present" for one that it doesn't, or "always".
        prefix: how such a name begins ("host", as in "host-192-0-2-5").
        char_replacement: what characters become, one or several in a row, that a host name can't have ("-").

    Raises:
        ValueError: a value is none of these; the message starts with its name.
    """

    updates: Updates | None = None
    override_client: bool | None = None
    override_no_update: bool | None = None
    suffix: str | None = None
    replace: Replace | None = None
    prefix: str | None = None
    char_replacement: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("updates", get_args(Updates)), ("replace", get_args(Replace))):
            value = getattr(self, name)
            if value not in (None, *known):
                raise ValueError(f"{name}: expected {', '.join(map(repr, known))}, got {value!r}")
        if self.suffix:
            suffix = self.suffix.removesuffix(".")
            try:
                DOMAIN.encode(suffix)
            except ValueError as error:
                raise ValueError(f"suffix: {error}") from None
            object.__setattr__(self, "suffix", suffix)
        if self.prefix is not None and not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"prefix: expected 1 to 47 letters, digits and inner hyphens, got {self.prefix!r}")
        put = self.char_replacement
        if put is not None and (len(put) > 1 or _STRANGE.search(put.encode())):
            raise ValueError(f"char_replacement: expected a letter, a digit, '-', '_' or nothing, got {put!r}")

    def under(self, specific: Fqdn) -> Fqdn:
        """These, where ``specific`` does not say otherwise."""
        if specific == NOTHING_SAID_OF_NAMES:
            return self
        said = {each.name: getattr(specific, each.name) for each in fields(self)}
        return Fqdn(**{name: getattr(self, name) if value is None else value for name, value in said.items()})


NOTHING_SAID_OF_NAMES: Final = Fqdn()


# A client says the same in DISCOVER and REQUEST, and whenever it renews.
@lru_cache(4096)
def negotiate(
    option: bytes | None, host_name: bytes | None, reserved: bytes | None, settings: Fqdn, address: int
) -> tuple[str, bytes]:
    """What a client is called from now on, and what it is told of that (RFC 4702 §4).

    Args:
        option: option 81 as the client sent it; None without. One that can't be read is as none.
        host_name: option 12, likewise. It counts if there is no option 81 (§3.1).
        reserved: option 12 as it is reserved for the client, which comes before all; None or empty without.
        settings: what is done with names.
        address: the client's, for a name that is made of it.

    Returns:
        the name, without a dot at the end; empty for none. And the octets of option 81 in the reply; empty for none.
    """
    read = None if option is None else _read(option)
    flags, labels, full = read or (0, *_read_text(host_name or b""))
    if reserved:
        labels, full = _read_text(reserved)
    put = b"-" if settings.char_replacement is None else settings.char_replacement.encode()
    labels = [clean for clean in (_clean(each, put) for each in labels) if clean]
    replace = settings.replace or "never"
    if not reserved and (replace == "always" or replace == ("when-present" if labels else "when-not-present")):
        made = f"{settings.prefix or 'host'}-{IPv4Address(address)}".replace(".", "-")
        labels, full = [made.encode()], False
    if labels and not full and settings.suffix:
        labels, full = [*labels, *settings.suffix.encode().split(b".")], True
    name = b".".join(labels)
    if len(name) > LONGEST_NAME:
        labels, name = [], b""
    return name.decode(), _reply(flags, labels, full, settings) if read else b""


def _read(option: bytes) -> tuple[int, list[bytes], bool] | None:
    """Flags, labels and whether the name is fully qualified; None for what can't be read."""
    if len(option) < 3:
        return None
    flags, name = option[0], option[3:]
    if not flags & _E:
        return flags, *_read_text(name)
    if len(name) > LONGEST_WIRE:
        return None
    labels: list[bytes] = []
    at = 0
    while at < len(name):
        length = name[at]
        if not length:
            # The root, and nothing behind it.
            return (flags, labels, bool(labels)) if at + 1 == len(name) else None
        at += 1 + length
        if length > LONGEST_LABEL or at > len(name):
            return None
        labels.append(name[at - length : at])
    return flags, labels, False


def _read_text(text: bytes) -> tuple[list[bytes], bool]:
    """The deprecated form (RFC 4702 §2.3.1), and that of option 12: a name without any dot is a partial one."""
    text = text.rstrip(b"\0")
    return text.split(b"."), b"." in text


def _clean(label: bytes, put: bytes) -> bytes:
    """A label of letters, digits, hyphens inside, and underscores, which Windows allows."""
    return _STRANGE.sub(put, label).strip(b"-")[:LONGEST_LABEL].rstrip(b"-")


def _reply(flags: int, labels: list[bytes], full: bool, settings: Fqdn) -> bytes:
    asked, updates = flags & _S, settings.updates or "none"
    if updates == "none" or (flags & _N and not settings.override_no_update):
        said = _N
    elif updates == "client":
        said = 0
    else:
        said = _S if flags & _N or settings.override_client else asked
    if said & _S != asked:
        said |= _O
    said |= flags & _E
    if flags & _E:
        name = b"".join(bytes((len(each),)) + each for each in labels) + (b"\0" if full and labels else b"")
    else:
        name = b".".join(labels) + (b"." if full and len(labels) == 1 else b"")
    return bytes((said,)) + _NO_RCODES + name
