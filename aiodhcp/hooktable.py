"""The hooks in one table: what each is told, and what becomes of its answer. hooks.py calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from operator import attrgetter
from typing import Any, Final, NamedTuple

from aiodhcp.constants import INFINITE, DropReason
from aiodhcp.exchange import Exchange
from aiodhcp.implementations import Implementation, itself
from aiodhcp.packet import Packet
from aiodhcp.policies import UNSAID, Policy
from aiodhcp.serveroptions import ServerOptions
from aiodhcp.subnets import Reservation, Subnet
from aiodhcp.verdicts import Drop, Nak, Use

__all__ = ["HOOKS", "Calling"]

Getter = Callable[[Any], Any]
Take = Callable[[Exchange, Implementation, Any], None]


class Calling(NamedTuple):
    """How one hook is called.

    Attributes:
        arguments: what takes each argument from the subject: the exchange, or else a lease, the leases, a pair.
        take: applies an answer of such a type to the exchange; raises ValueError or TypeError for a wrong value.
        verdicts: the types of answers that mean something.
        of_packet: whether the subject is an exchange.
        may_wait: whether an implementation may be ``async``.
        chooses: whether the first answer ends it.
        may_drop: whether a failure can cost the packet.
        goes_on: whether it is called for a packet that was dropped.
        policy: where it has other defaults.
    """

    arguments: Mapping[str, Getter]
    take: Take | None = None
    verdicts: tuple[type, ...] = ()
    of_packet: bool = True
    may_wait: bool = True
    chooses: bool = False
    may_drop: bool = True
    goes_on: bool = False
    policy: Policy = UNSAID


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _dotted(attribute: str) -> Getter:
    number = attrgetter(attribute)
    return lambda subject: IPv4Address(number(subject))


def _server_options(exchange: Exchange) -> ServerOptions:
    return ServerOptions(exchange.received, exchange.htype, exchange.chaddr, exchange.engine.config.definitions)


# What is behind the property: Python calls it faster than ``attrgetter`` does.
_PACKET: Final = vars(Exchange)["packet"].fget
_EXCHANGE: Final[dict[str, Getter]] = {"packet": _PACKET, "exchange": itself}
_CHOICE: Final[dict[str, Getter]] = {**_EXCHANGE, "subnet": attrgetter("subnet")}


# ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────────


def _drop(exchange: Exchange, implementation: Implementation, verdict: Drop, reason: DropReason) -> None:
    implementation.vetoes += 1
    words = f": {verdict.why}" if verdict.why else ""
    exchange.drop(verdict.reason or reason, f"{implementation.hook} of {implementation.plugin}{words}")


def _take_packet(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    if isinstance(result, Packet):
        exchange.packet = result
        return
    implementation.vetoes += 1
    why = f"vetoed by {implementation.plugin}" + (f": {result.why}" if result.why else "")
    if result.reason is not None and exchange.reason is None:
        exchange.drop(result.reason, why)
    elif exchange.reason is None:
        exchange.why = why
    exchange.vetoed = True


def _take_reply(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    exchange.reply = result


def _take_subnet(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    if isinstance(result, Drop):
        _drop(exchange, implementation, result, DropReason.NO_SUBNETS)
        return
    chosen = result.value
    if not isinstance(chosen, Subnet):
        network = IPv4Network(chosen)
        chosen = next((each for each in exchange.config.subnets if each.network == network), None)
    if chosen not in exchange.config.subnets:
        raise ValueError(f"{result.value} is no subnet of the configuration")
    exchange.subnet = chosen
    exchange.subnet_from = implementation.plugin


def _take_reservation(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    if _refused(exchange, implementation, result):
        return
    found = result.value
    if not isinstance(found, Reservation):
        found = Reservation(exchange.chaddr or b"\0", address=IPv4Address(found))
    if found.address is not None:
        _check_in_subnet(exchange, found.address)
    exchange.reservation = exchange.looked_up = found


def _take_unknown(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    _refused(exchange, implementation, result)


def _refused(exchange: Exchange, implementation: Implementation, result: Any) -> bool:
    if isinstance(result, Drop):
        _drop(exchange, implementation, result, DropReason.UNAUTH)
    elif isinstance(result, Nak):
        implementation.vetoes += 1
        exchange.refusal = result.why or f"refused by {implementation.plugin}"
    else:
        return False
    return True


def _take_address(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    if isinstance(result, Drop):
        _drop(exchange, implementation, result, DropReason.NOADDRESS)
    else:
        address = int(IPv4Address(result.value))
        _check_in_subnet(exchange, address)
        if address != exchange.yiaddr and not exchange.may_have(address):
            raise ValueError(f"{IPv4Address(address)} is not free for the client")
        exchange.yiaddr = address
        exchange.address_from = f"chosen by {implementation.plugin}"


def _check_in_subnet(exchange: Exchange, address: int) -> None:
    assert exchange.subnet is not None
    if address not in exchange.subnet:
        raise ValueError(f"{IPv4Address(address)} is not in {exchange.subnet}")


def _take_seconds(exchange: Exchange, implementation: Implementation, result: Any) -> None:
    if _refused(exchange, implementation, result):
        return
    seconds = result.value
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= INFINITE:
        raise ValueError(f"expected 1 to {INFINITE} seconds")
    exchange.lease_time = seconds


HOOKS: Final[Mapping[str, Calling]] = {
    "dhcp_control": Calling(
        {"server": lambda pair: pair[0], "code": lambda pair: pair[1]}, of_packet=False, may_drop=False
    ),
    "dhcp_new_pkt": Calling(_EXCHANGE, _take_packet, (Packet, Drop), goes_on=True),
    "dhcp_pkt_drop": Calling({**_EXCHANGE, "reason": attrgetter("telling")}, may_drop=False, goes_on=True),
    "dhcp_pkt_send": Calling({**_EXCHANGE, "reply": attrgetter("reply")}, _take_reply, (Packet,)),
    "dhcp_address_del": Calling(
        {**_EXCHANGE, "problem": attrgetter("problem"), "address": _dotted("problem_address")},
    ),
    "dhcp_address_offer": Calling(
        {
            **_EXCHANGE,
            "kind": attrgetter("kind"),
            "address": _dotted("yiaddr"),
            "client_type": attrgetter("client_type"),
            "lease_time": attrgetter("lease_time"),
        },
    ),
    "dhcp_handle_options": Calling({**_EXCHANGE, "options": _server_options}),
    "dhcp_delete_client": Calling(
        {"address": attrgetter("ip"), "hardware_address": attrgetter("chaddr")}, of_packet=False, may_drop=False
    ),
    "dhcp_extension": Calling({}, of_packet=False, may_drop=False),
    "dhcp_reserved": Calling({}, of_packet=False, may_drop=False),
    "config_loaded": Calling(
        {"server": lambda pair: pair[0], "config": lambda pair: pair[1]}, of_packet=False, may_drop=False
    ),
    "select_subnet": Calling(_CHOICE, _take_subnet, (Use, Drop), chooses=True),
    # Silence, when it fails: a client whose reservation is not found is refused the address that it has.
    "reservation_lookup": Calling(
        _CHOICE, _take_reservation, (Use, Nak, Drop), chooses=True, policy=Policy(on_error="drop")
    ),
    "unknown_client": Calling(_CHOICE, _take_unknown, (Nak, Drop), chooses=True),
    "select_address": Calling(
        {**_CHOICE, "address": _dotted("yiaddr")}, _take_address, (Use, Drop), may_wait=False, chooses=True
    ),
    "select_lease_time": Calling(
        {**_CHOICE, "address": _dotted("yiaddr"), "lease_time": attrgetter("lease_time")},
        _take_seconds,
        (Use, Nak, Drop),
        may_wait=False,
        chooses=True,
    ),
    "leases_committed": Calling({"leases": itself}, of_packet=False, may_drop=False),
    "lease_expired": Calling({"lease": itself}, of_packet=False, may_drop=False),
    "lease_recovered": Calling({"lease": itself}, of_packet=False, may_drop=False),
}
"""Every hook by its name."""
