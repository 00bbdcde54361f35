"""Class and Classes: which kinds of clients there are, who is of which kind, and how many of it get a lease."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiodhcp.errors import ConfigError
from aiodhcp.expressions import Condition, Subject, Value
from aiodhcp.parameters import NOTHING_SAID, Parameters
from aiodhcp.wording import did_you_mean

__all__ = ["Class", "Classes", "built_in"]

VENDOR_CLASS: Final = "VENDOR_CLASS_"
KNOWN: Final = frozenset({"KNOWN", "UNKNOWN"})
_BUILT_IN: Final = {
    "ALL": "'' == ''",
    "BOOTP": "not option[53].exists",
    "KNOWN": "known",
    "UNKNOWN": "unknown",
}


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """Clients of a kind. Who belongs to it, its test says, or a hook (``exchange.classes.add(name)``).

    Attributes:
        name: what hooks call it, and ``member('name')`` in the tests of classes behind it.
        parameters: for the clients in it.
        deny: whether they are not served at all (UNAUTH).
        test: who belongs to it, also as text; None for those that a hook or a reservation puts there.
        limit: how many leases they have at a time; None for any number.
        limit_by: what the limit counts by, also as text: each value has its own; None for all of them together.

    Raises:
        ValueError: an expression is none, or the limit is not a number of leases; the message begins with the key.
    """

    name: str
    parameters: Parameters = NOTHING_SAID
    deny: bool = False
    test: Condition | None = None
    limit: int | None = None
    limit_by: Value | None = None

    if TYPE_CHECKING:  # what it takes, which is more than what it keeps

        def __init__(
            self,
            name: str,
            parameters: Parameters = ...,
            deny: bool = False,
            test: Condition | str | None = None,
            limit: int | None = None,
            limit_by: Value | str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        for key, kind in (("test", Condition), ("limit_by", Value)):
            text = getattr(self, key)
            if isinstance(text, str):
                try:
                    object.__setattr__(self, key, kind(text))
                except ConfigError as error:
                    raise ValueError(f"{key}: {error}") from None
        if self.test is not None and built_in(self.name) is not None:
            raise ValueError(f"test: {self.name!r} is built in: who belongs to it is known")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit: expected at least 1 lease, got {self.limit}; deny = true serves none at all")
        if self.limit is None and self.limit_by is not None:
            raise ValueError("limit_by: says what a limit counts by, and there is no limit")
        if self.limit is not None and not {",", "="}.isdisjoint(self.name):
            raise ValueError(f"name: a class with a limit has no ',' and no '=' in its name, got {self.name!r}")


def built_in(name: str) -> Condition | None:
    """The test of a class that needs none: ALL, BOOTP, KNOWN, UNKNOWN and VENDOR_CLASS_ with the text of option 60."""
    vendor = name.removeprefix(VENDOR_CLASS)
    if vendor and vendor != name:
        return Condition(f"option[60].text == 0x{vendor.encode().hex()}")
    return Condition(_BUILT_IN[name]) if name in _BUILT_IN else None


Test = tuple[str, Condition]
Names = tuple[str, ...]
SETS_KEPT: Final = 4096


class Finder:
    """Finds the classes of packets by tests, as if each were tried in its order.

    Tests that compare one value with constants are one look-up in a table. What follows from their answers and those
    of the other tests that ask for no class, is remembered: clients are of a few kinds.

    Args:
        tests: none that depends on what is reserved for the client.
    """

    def __init__(self, tests: Iterable[Test]) -> None:
        tables: dict[Value, dict[bytes, Names]] = {}
        self._apart: list[Callable[[Subject], Names]] = []
        self._following: list[Test] = []
        self._others: list[Test] = []
        self._kept: dict[tuple[Collection[str], ...], frozenset[str]] = {}
        names: set[str] = set()
        for name, test in tests:
            if test.members:
                follows = test.asks_only_members and test.members.isdisjoint(names)
                (self._following if follows else self._others).append((name, test))
                if not follows:
                    names.add(name)
                continue
            value, constants = test.compared or (None, ())
            if value is None:
                self._apart.append(_one(name, test))
                continue
            if value not in tables:
                tables[value] = {}
                self._apart.append(_one_of(value, tables[value]))
            for constant in set(constants):
                tables[value][constant] = (*tables[value].get(constant, ()), name)

    def find(self, subject: Subject) -> None:
        """Put a packet into its classes."""
        before = subject.class_names
        key = (before, *[each(subject) for each in self._apart])
        found = self._kept.get(key)
        if found is None:
            subject.join(before.union(*key))
            self._add(subject, self._following)
            found = subject.class_names
            if len(self._kept) >= SETS_KEPT:
                self._kept.clear()
            self._kept[key] = found
        subject.join(found)
        if self._others:
            self._add(subject, self._others)

    def _add(self, subject: Subject, tests: Iterable[Test]) -> None:
        for name, test in tests:
            if test.holds(subject):
                subject.classes.add(name)


def _one(name: str, test: Condition) -> Callable[[Subject], Names]:
    holds, names = test.holds, (name,)
    return lambda subject: names if holds(subject) else ()


def _one_of(value: Value, table: Mapping[bytes, Names]) -> Callable[[Subject], Names]:
    of, find = value.of, table.get
    return lambda subject: find(of(subject), ())


class Classes:
    """Who is in which class, by the tests of a configuration.

    Args:
        classes: as configured, in order: a test may ask for the ones before it.
        used: names that pools, subnets and reservations mention, besides: each is configured or built in.
        given: those that a reservation puts a client into.

    Attributes:
        known: all names that there are.
        early: tests that don't depend on what is reserved for the client, in order: tried before its subnet is chosen.
        late: those that do: tried when its subnet and reservation are known.
        late_names: the classes that a client is in by them, or by its reservation.
        limited: the classes that have a limit.
        relayed: those whose tests ask for what a relay agent says.

    Raises:
        ValueError: a test asks for a class that is not there.
    """

    def __init__(self, classes: Sequence[Class], used: Iterable[str] = (), given: Iterable[str] = ()) -> None:
        self.late_names: set[str] = set(given)
        self.limited: Final = tuple(each for each in classes if each.limit is not None)
        self.relayed: set[str] = set()
        self.early: list[Test] = []
        self.late: list[Test] = []
        configured = {each.name for each in classes}
        asked = {
            member
            for each in classes
            for expression in (each.test, each.limit_by)
            if expression is not None
            for member in expression.members
        }
        for name in sorted({*used, *asked} - configured):
            test = built_in(name)
            if test is not None:
                self._add(name, test)
        self.known: set[str] = {name for name, _ in (*self.early, *self.late)}
        for at, each in enumerate(classes):
            test = built_in(each.name) or each.test
            if test is not None:
                self._check(test, at, "test", configured)
                self._add(each.name, test)
            self.known.add(each.name)
            if each.limit_by is not None:
                self._check(each.limit_by, at, "limit-by", configured)

    def _check(self, expression: Condition | Value, at: int, key: str, configured: set[str]) -> None:
        # What ``known`` and ``unknown`` ask for needs no class.
        for name in sorted(expression.members - self.known - KNOWN):
            if name in configured:
                raise ValueError(f"class[{at}].{key}: class {name!r} has to stand before the one that asks for it")
            raise ValueError(f"class[{at}].{key}: {self.missing(name)}")

    def missing(self, name: str) -> str:
        """That there is no such class, in words."""
        return f"there is no class {name!r}{did_you_mean(name, sorted({*self.known, *_BUILT_IN}))}"

    def _add(self, name: str, test: Condition) -> None:
        late = name in self.late_names or not test.members.isdisjoint(self.late_names | KNOWN)
        if late:
            self.late_names.add(name)
        if test.asks_relay or not test.members.isdisjoint(self.relayed):
            self.relayed.add(name)
        (self.late if late else self.early).append((name, test))


def keys(limited: Iterable[Class], names: frozenset[str] | set[str], subject: Subject) -> Iterator[tuple[Class, str]]:
    """What a lease of a client is counted under: each class with a limit that it is in, with the value it counts by.
    Where there is no such value, it is not counted.
    """
    for each in limited:
        if each.name not in names:
            continue
        if each.limit_by is None:
            yield each, each.name
        elif value := each.limit_by.of(subject):
            yield each, f"{each.name}={value.hex()}"


def counted(limited: Sequence[Class], relayed: Container[str], subject: Subject, before: str | None) -> str | None:
    """What a lease of a client is counted under, as the lease has it.

    Args:
        limited: the classes that have a limit.
        relayed: names of those that only a relay agent's word puts a client into.
        subject: the client's packet.
        before: what it was counted under, if it is renewed: what hangs on the relay agent can't be found again where
            what that said is not known.
    """
    found = {each.name: key for each, key in keys(limited, subject.classes, subject)}
    if before and not subject.giaddr and not subject.agent:
        kept = {key.partition("=")[0]: key for key in before.split(",")}
        for each in limited:
            hangs = each.name in relayed or (each.limit_by is not None and each.limit_by.asks_relay)
            if hangs and each.name in kept:
                found.setdefault(each.name, kept[each.name])
    return ",".join(found.values()) or None


def exceeded(
    limited: Iterable[Class], subject: Subject, counts: Mapping[str, int], held: Sequence[str], keeps: bool = False
) -> str:
    """Why a client gets no lease: a limit, in words; empty where there is none.

    Args:
        limited: the classes that have a limit.
        subject: the client's packet.
        counts: how many leases there are, by what they are counted under.
        held: what the client's leases are counted under already.
        keeps: whether it keeps the address that it has: only one that it has by another value of the class it may not.
    """
    names = {key.partition("=")[0] for key in held}
    for each, key in keys(limited, subject.classes, subject):
        if key in held or (keeps and each.name not in names):
            continue
        if counts.get(key, 0) >= (each.limit or 0):
            by = f" for {each.limit_by} {_readable(key)}" if each.limit_by is not None else ""
            return f"class {each.name} has {counts.get(key, 0)} of {each.limit} leases{by}"
    return ""


def _readable(key: str) -> str:
    octets = bytes.fromhex(key.partition("=")[2])
    text = octets.decode("ascii", "replace")
    return repr(text) if text.isprintable() and text.isascii() else f"0x{octets.hex()}"
