"""scripts_dnsmasq: what dnsmasq tells its ``--dhcp-script`` (dnsmasq(8)): arguments, and ``DNSMASQ_`` variables."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address

from aiodhcp import NEVER, DhcpServer, Exchange, Lease, LeaseState
from aiodhcp_plugins.scripts_run import Environment, Run

__all__ = ["Dnsmasq", "label", "user_classes"]

HOST_NAME, PARAMETER_REQUEST_LIST, VENDOR_CLASS, USER_CLASS, MUD_URL = 12, 55, 60, 77, 161
CIRCUIT_ID, REMOTE_ID, SUBSCRIBER_ID = 1, 2, 6
BUILT_IN = frozenset({"ALL", "BOOTP", "KNOWN", "UNKNOWN"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_CameBy = tuple[str, int, bool]
"""The interface, the relay agent or 0, and whether the client has a client id."""


class Dnsmasq:
    """Makes runs of what happens.

    Args:
        add: takes them.
        domain: what the domain of all clients is; empty for what stands behind the first dot of their names.
        on_renewal: whether a new end of a lease is news.

    Attributes:
        ending: leases that are about to end, until that is committed.
        server: whose leases they are.
    """

    def __init__(self, add: Callable[[tuple[str, ...], Environment], None], domain: str, *, on_renewal: bool) -> None:
        self.ending: dict[int, Lease] = {}
        self.server: DhcpServer | None = None
        self._add = add
        self._domain = domain
        self._on_renewal = on_renewal
        # What the lease doesn't have, and dnsmasq keeps until it is restarted. Most are the same few tuples.
        self._came_by: dict[int, _CameBy] = {}
        self._known_ways: dict[_CameBy, _CameBy] = {}

    def granted(self, exchange: Exchange, *, new: bool) -> None:
        """A client got a lease, or renewed it."""
        before, lease = exchange.lease_before, exchange.lease_after
        if lease is None:
            return
        last = self._came_by.get(lease.address)
        giaddr = exchange.giaddr or (last[1] if last is not None and not new else 0)
        way = exchange.interface.name, giaddr, bool(exchange.client_id)
        self._came_by[lease.address] = self._known_ways.setdefault(way, way)
        if new or before is None:
            self._tell("add", lease, exchange)
        elif label(before.hostname) != label(lease.hostname):
            if label(before.hostname):
                nameless = lease._replace(hostname=None)
                self._tell("old", nameless, exchange, old_hostname=label(before.hostname))
            if label(lease.hostname):
                self._tell("old", lease, exchange)
        elif before.chaddr != lease.chaddr or (self._on_renewal and before.expires != lease.expires):
            self._tell("old", lease, exchange)

    def committed(self, lease: Lease) -> None:
        """A lease that was to end has ended."""
        before = self.ending.get(lease.address)
        if before is None or (lease.state == LeaseState.ACTIVE and lease.client == before.client):
            return
        del self.ending[lease.address]
        way = self._came_by.pop(lease.address, None)
        self._add(*self._run("del", before, self._variables, before, way, True))

    def existing(self, lease: Lease) -> Run:
        """A lease that there is."""
        return self._run("old", lease, self._variables, lease, self._came_by.get(lease.address))

    def _tell(self, action: str, lease: Lease, exchange: Exchange, old_hostname: str = "") -> None:
        way = self._came_by[lease.address]
        self._add(*self._run(action, lease, self._variables, lease, way, False, exchange, old_hostname))

    def _run(self, action: str, lease: Lease, make: Callable[..., dict[str, str | bytes]], *facts: object) -> Run:
        mac = lease.hardware_address if lease.htype == 1 else f"{lease.htype:02x}-{lease.hardware_address}"
        name = label(lease.hostname)
        return Run((action, mac, str(lease.ip), *([name] if name else [])), partial(make, *facts))

    def _variables(
        self,
        lease: Lease,
        way: _CameBy | None,
        ended: bool = False,
        exchange: Exchange | None = None,
        old_hostname: str = "",
    ) -> dict[str, str | bytes]:
        interface, giaddr, has_id = way or (self._interface(lease), 0, True)
        said: dict[str, str | bytes] = {"DNSMASQ_LEASE_EXPIRES": str(0 if lease.expires >= NEVER else lease.expires)}
        if not ended and lease.expires < NEVER:
            left = lease.expires - int(0 if self.server is None else self.server.now())
            said["DNSMASQ_TIME_REMAINING"] = str(max(left, 0))
        if has_id:
            said["DNSMASQ_CLIENT_ID"] = lease.client.hex(":")
        if interface:
            said["DNSMASQ_INTERFACE"] = interface
        if giaddr:
            said["DNSMASQ_RELAY_ADDRESS"] = str(IPv4Address(giaddr))
        domain = self._domain or (lease.hostname or "").partition(".")[2].strip(".")
        if domain and (label(lease.hostname) or old_hostname):
            said["DNSMASQ_DOMAIN"] = domain
        if old_hostname:
            said["DNSMASQ_OLD_HOSTNAME"] = old_hostname
        # A client that renews says again only some of what it said when it came.
        if exchange is None or exchange.ciaddr:
            said["DNSMASQ_DATA_MISSING"] = "1"
        else:
            said.update(_of_packet(exchange))
        return said

    def _interface(self, lease: Lease) -> str:
        """The interface in whose network the address is; empty if there is none."""
        if self.server is None:
            return ""
        subnet = self.server.config.subnet_of(lease.address)
        for interface in self.server.interfaces:
            if subnet is not None and any(address in subnet for address in interface.addresses):
                return interface.name
        return ""


def _of_packet(exchange: Exchange) -> dict[str, str | bytes]:
    received, agent = exchange.received, exchange.relay_agent
    texts: dict[str, bytes] = {
        "DNSMASQ_VENDOR_CLASS": received.get(VENDOR_CLASS, b""),
        "DNSMASQ_SUPPLIED_HOSTNAME": received.get(HOST_NAME, b""),
        "DNSMASQ_MUD_URL": received.get(MUD_URL, b""),
        "DNSMASQ_CIRCUIT_ID": agent.get(CIRCUIT_ID, b""),
        "DNSMASQ_SUBSCRIBER_ID": agent.get(SUBSCRIBER_ID, b""),
        "DNSMASQ_REMOTE_ID": agent.get(REMOTE_ID, b""),
        "DNSMASQ_REQUESTED_OPTIONS": ",".join(map(str, received.get(PARAMETER_REQUEST_LIST, b""))).encode(),
    }
    for at, text in enumerate(user_classes(received.get(USER_CLASS, b""))):
        texts[f"DNSMASQ_USER_CLASS{at}"] = text
    tags = [*sorted(exchange.class_names - BUILT_IN), exchange.interface.name]
    said: dict[str, str | bytes] = {name: text for name, text in texts.items() if text}
    return {**said, "DNSMASQ_TAGS": " ".join(tags)}


def user_classes(octets: bytes) -> list[bytes]:
    """The user classes of option 77 (RFC 3004), or all of it where a client doesn't keep to that."""
    found, at = [], 0
    while at < len(octets):
        end = at + 1 + octets[at]
        if end > len(octets):
            return [octets]
        found.append(octets[at + 1 : end])
        at = end
    return found


def label(name: str | None) -> str:
    """What of a client's name is an argument: up to the first dot; empty if it is no name."""
    first = (name or "").partition(".")[0]
    return first if _NAME.fullmatch(first) else ""
