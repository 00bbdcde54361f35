"""Reservation and Reservations: what is set aside for one client, and how it is found. Facts, no state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from aiodhcp.errors import ConfigError
from aiodhcp.expressions import Subject, Value
from aiodhcp.parameters import NOTHING_SAID, AddressLike, Parameters, address_number

__all__ = ["IDENTIFIERS", "Reservation", "Reservations"]

IDENTIFIERS: Final = (
    "identify",
    "client-id",
    "duid",
    "hardware-address",
    "circuit-id",
    "subscriber-id",
    "remote-id",
)
"""What a reservation may be known by, in the order in which they are tried."""

CLIENT_ID: Final = 61
CIRCUIT_ID, REMOTE_ID, SUBSCRIBER_ID = 1, 2, 6
NODE_SPECIFIC: Final = 255
"""The type of a client identifier that holds an IAID of four octets and a DUID (RFC 4361 §6.1)."""
_RELAYED: Final = frozenset({"circuit-id", "subscriber-id", "remote-id"})
_HEX: Final = {"hardware-address": (1, 16), "client-id": (2, 255), "duid": (3, 130)}
"""Identifiers that are written in hex, and how many octets they have."""

Identity = tuple[tuple[str, bytes], ...]
Key = tuple[bytes | None, ...] | bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """What is set aside for one client. Of several identifiers, all have to be the client's.

    Attributes:
        hardware_address: 1 to 16 octets, also as ``"02:00:00:00:00:01"``; or None.
        client_id: option 61, also as hex with colons; or None.
        address: also as a dotted string; None gives an address of the pools, with these parameters.
        parameters: for this client alone.
        duid: what option 61 has behind type and IAID (RFC 4361 §6.1), also as hex with colons; or None. Of these three
            there may be one.
        circuit_id, remote_id, subscriber_id: what a relay agent says (RFC 3046 §2, RFC 3993), also as text or, in hex,
            as ``"0x0007"``; or None.
        identify: an expression, also as text; or None.
        value: what it comes to for this client, written as ``circuit_id`` is.
        classes: names of classes that it puts the client into.
        identity: identifiers and octets, in the order of ``IDENTIFIERS``.

    Raises:
        ValueError: nothing to know the client by, or not what it should be.
    """

    hardware_address: bytes | None = None
    client_id: bytes | None = None
    address: int | None = None
    parameters: Parameters = NOTHING_SAID
    duid: bytes | None = None
    circuit_id: bytes | None = None
    remote_id: bytes | None = None
    subscriber_id: bytes | None = None
    identify: Value | None = None
    value: bytes | None = None
    classes: Sequence[str] = ()
    identity: Identity = field(init=False, default=())

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(
            self,
            hardware_address: bytes | str | None = None,
            client_id: bytes | str | None = None,
            address: AddressLike | None = None,
            parameters: Parameters = ...,
            duid: bytes | str | None = None,
            circuit_id: bytes | str | None = None,
            remote_id: bytes | str | None = None,
            subscriber_id: bytes | str | None = None,
            identify: Value | str | None = None,
            value: bytes | str | None = None,
            classes: Sequence[str] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        if (self.hardware_address is not None) + (self.client_id is not None) + (self.duid is not None) > 1:
            raise ValueError("expected a hardware address or a client id or a DUID, and not several of them")
        if (self.identify is None) != (self.value is None):
            raise ValueError("expected identify, an expression, and value, what it comes to, or neither")
        if isinstance(self.identify, str):
            try:
                _set(self, "identify", Value(self.identify))
            except ConfigError as error:
                raise ValueError(f"identify: {error}") from None
        if self.identify is not None and self.identify.members:
            raise ValueError("identify: can't ask for classes, because these may ask for what is reserved")
        identity = []
        for kind in IDENTIFIERS:
            name = "value" if kind == "identify" else kind.replace("-", "_")
            given = getattr(self, name)
            if given is not None:
                octets = _hex(name, given, *_HEX[kind]) if kind in _HEX else _text(name, given)
                _set(self, name, octets)
                identity.append((f"identify {self.identify}" if kind == "identify" else kind, octets))
        if not identity:
            raise ValueError(
                "expected a hardware address or a client id, or duid, circuit-id, remote-id, subscriber-id or identify"
            )
        _set(self, "identity", tuple(identity))
        _set(self, "classes", tuple(self.classes))
        if self.address is not None:
            _set(self, "address", address_number(self.address))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it is known by: some of ``IDENTIFIERS``."""
        return tuple(kind.partition(" ")[0] for kind, _ in self.identity)

    @property
    def asks_relay(self) -> bool:
        """Whether it takes a relay agent to find it, which a client that renews its lease does without."""
        return not _RELAYED.isdisjoint(self.kinds) or (self.identify is not None and self.identify.asks_relay)

    def __str__(self) -> str:
        return " and ".join(octets.hex(":") for _, octets in self.identity)


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def _hex(name: str, value: bytes | str, low: int, high: int) -> bytes:
    octets = _octets(value) if isinstance(value, str) else bytes(value)
    if octets is None or not low <= len(octets) <= high:
        raise ValueError(f"{name}: expected {low} to {high} octets like '02:00:00:00:00:01', got {value!r}")
    return octets


def _text(name: str, value: bytes | str) -> bytes:
    octets: bytes | None = value.encode() if isinstance(value, str) else bytes(value)
    if isinstance(value, str) and value.startswith("0x"):
        octets = _octets(value[2:])
    if not octets or len(octets) > 255:
        raise ValueError(f"{name}: expected 1 to 255 octets, as text or in hex like '0x0007', got {value!r}")
    return octets


def _octets(text: str) -> bytes | None:
    parts = text.replace("-", ":").split(":")
    # Not "2:0:0:0:0:1", whose digits would be read as other octets.
    if len(parts) > 1 and any(len(part) != 2 for part in parts):
        return None
    try:
        return bytes.fromhex("".join(parts))
    except ValueError:
        return None


def _duid(subject: Subject) -> bytes | None:
    client_id = subject.received.get(CLIENT_ID, b"")
    return client_id[5:] if client_id[:1] == bytes((NODE_SPECIFIC,)) else None


_IDENTIFY: Final[Mapping[str, Callable[[Subject], bytes | None]]] = {
    "hardware-address": attrgetter("chaddr"),
    "client-id": lambda subject: subject.received.get(CLIENT_ID),
    "duid": _duid,
    "circuit-id": lambda subject: subject.agent.get(CIRCUIT_ID),
    "remote-id": lambda subject: subject.agent.get(REMOTE_ID),
    "subscriber-id": lambda subject: subject.agent.get(SUBSCRIBER_ID),
}


class Reservations:
    """Finds reservations: a look-up for each kind of identifier, however many reservations there are.

    Args:
        reservations: of two of the same client the last.
        order: which identifiers are tried first; all that the reservations have are among them. Of several that one
            has, the first in the order says when it is tried; one with more of them before one with fewer.
    """

    __slots__ = ("_identify", "_others", "_table")

    def __init__(self, reservations: Iterable[Reservation], order: Sequence[str] = IDENTIFIERS) -> None:
        tables: dict[tuple[str, ...], dict[Key, Reservation]] = {}
        ranks: dict[tuple[str, ...], Any] = {}
        identify: dict[tuple[str, ...], Callable[[Subject], Key]] = {}
        for each in reservations:
            names = tuple(kind for kind, _ in each.identity)
            if names not in ranks:
                ranks[names] = min(map(order.index, each.kinds)), -len(names)
                identify[names] = _key(
                    [
                        each.identify.of if kind == "identify" and each.identify is not None else _IDENTIFY[kind]
                        for kind in each.kinds
                    ]
                )
            octets = tuple(octets for _, octets in each.identity)
            tables.setdefault(names, {})[octets if len(octets) > 1 else octets[0]] = each
        lookups = [(identify[names], tables[names]) for names in sorted(tables, key=ranks.__getitem__)]
        # Nearly always there is no other: the first is kept by itself.
        self._identify, self._table = lookups[0] if lookups else (_key([]), {})
        self._others = tuple(lookups[1:])

    @property
    def is_uniform(self) -> bool:
        """Whether all are known by the same kind of identifier, so that it takes one look-up."""
        return not self._others

    def find(self, subject: Subject) -> Reservation | None:
        """What is set aside for the client that a packet is from."""
        found = self._table.get(self._identify(subject))
        if found is None:
            for identify, table in self._others:
                found = table.get(identify(subject))
                if found is not None:
                    break
        return found


def _key(identify: Sequence[Callable[[Subject], bytes | None]]) -> Callable[[Subject], Key]:
    """Of one identifier, as nearly all reservations have, its octets alone."""
    return identify[0] if len(identify) == 1 else lambda subject: tuple([each(subject) for each in identify])
