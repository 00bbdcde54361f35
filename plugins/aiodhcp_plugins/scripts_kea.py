"""scripts_kea: what Kea's hook library ``run_script`` tells of leases: the name of the hook point, and variables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address

from aiodhcp import INFINITE, NEVER, DhcpServer, Exchange, Lease, LeaseState, message_name
from aiodhcp_plugins.scripts_run import Environment

__all__ = ["Kea"]

RELAY_AGENT_INFORMATION = 82


class Kea:
    """Makes runs of what happens.

    Args:
        add: takes them.

    Attributes:
        server: whose leases they are.
    """

    def __init__(self, add: Callable[[tuple[str, ...], Environment], None]) -> None:
        self.server: DhcpServer | None = None
        self._add = add

    def granted(self, exchange: Exchange, *, new: bool) -> None:
        """A client got a lease, or renewed it."""
        lease = exchange.lease_after
        if lease is None:
            return
        if not new:
            self._add(("lease4_renew",), partial(self._renewal, exchange, lease))
        self._add(("leases4_committed",), partial(self._committed, exchange, (lease,), ()))

    def released(self, exchange: Exchange) -> None:
        """A client gave its address back."""
        lease = exchange.lease_before
        if lease is not None:
            self._add(("lease4_release",), partial(self._of_packet, exchange, lease))
            self._add(("leases4_committed",), partial(self._committed, exchange, (), (lease,)))

    def declined(self, exchange: Exchange) -> None:
        """A client found that somebody else has its address."""
        lease = exchange.lease_before
        if lease is not None:
            self._add(("lease4_decline",), partial(self._of_packet, exchange, lease))
        after = None if self.server is None else self.server.leases.get(exchange.problem_address)
        if after is not None:
            self._add(("leases4_committed",), partial(self._committed, exchange, (after,), ()))

    def ended(self, lease: Lease, name: str) -> None:
        """A lease ran out, or a probation."""
        self._add((name,), partial(self._lease, lease, "LEASE4"))

    # ── variables ────────────────────────────────────────────────────────────────────────────────────────────────

    def _of_packet(self, exchange: Exchange, lease: Lease) -> dict[str, str | bytes]:
        return {**_query(exchange), **self._lease(lease, "LEASE4", exchange)}

    def _renewal(self, exchange: Exchange, lease: Lease) -> dict[str, str | bytes]:
        subnet = exchange.subnet
        said = self._of_packet(exchange, lease)
        if subnet is not None:
            said["SUBNET4_ID"] = str(self._subnet_id(lease))
            said["SUBNET4_NAME"] = str(subnet.network)
            said["SUBNET4_PREFIX"] = str(subnet.network.network_address)
            said["SUBNET4_PREFIX_LEN"] = str(subnet.network.prefixlen)
        said["PKT4_CLIENT_ID"] = exchange.client_id.hex(":")
        said["PKT4_HWADDR"] = exchange.hardware_address
        said["PKT4_HWADDR_TYPE"] = str(exchange.htype)
        return said

    def _committed(
        self, exchange: Exchange, leases: tuple[Lease, ...], deleted: tuple[Lease, ...]
    ) -> dict[str, str | bytes]:
        said = _query(exchange)
        for name, some in (("LEASES4", leases), ("DELETED_LEASES4", deleted)):
            said[f"{name}_SIZE"] = str(len(some))
            for at, lease in enumerate(some):
                said.update(self._lease(lease, f"{name}_AT{at}", exchange))
        return said

    def _lease(self, lease: Lease, name: str, exchange: Exchange | None = None) -> dict[str, str | bytes]:
        declined = lease.state == LeaseState.DECLINED
        since = lease.starts if declined else lease.last_transaction or lease.starts
        # The lease doesn't say whether the client has one, or is known by its hardware address.
        client_id = lease.client if exchange is None else exchange.client_id
        return {
            f"{name}_ADDRESS": str(lease.ip),
            f"{name}_CLTT": str(since),
            f"{name}_HOSTNAME": "" if declined else (lease.hostname or "").lower(),
            f"{name}_HWADDR": "" if declined else lease.hardware_address,
            f"{name}_HWADDR_TYPE": str(lease.htype or 1),
            f"{name}_STATE": "declined" if declined else "default",
            f"{name}_SUBNET_ID": str(self._subnet_id(lease)),
            f"{name}_VALID_LIFETIME": str(INFINITE if lease.expires >= NEVER else max(lease.expires - since, 0)),
            f"{name}_CLIENT_ID": "" if declined else client_id.hex(":"),
        }

    def _subnet_id(self, lease: Lease) -> int:
        """The place of the subnet in the configuration, from 1 on; 0 for none."""
        config = None if self.server is None else self.server.config
        subnet = None if config is None else config.subnet_of(lease.address)
        return 0 if config is None or subnet is None else list(config.subnets).index(subnet) + 1


def _query(exchange: Exchange) -> dict[str, str | bytes]:
    datagram, interface = exchange.datagram, exchange.interface
    said: dict[str, str | bytes] = {
        "QUERY4_TYPE": f"DHCP{message_name(exchange.message_type)}",
        "QUERY4_TXID": str(exchange.xid),
        "QUERY4_LOCAL_ADDR": str(IPv4Address(datagram.destination)),
        "QUERY4_LOCAL_PORT": "67",
        "QUERY4_REMOTE_ADDR": str(IPv4Address(datagram.source)),
        "QUERY4_REMOTE_PORT": str(datagram.source_port),
        "QUERY4_IFACE_INDEX": str(interface.index),
        "QUERY4_IFACE_NAME": interface.name,
        "QUERY4_HOPS": str(datagram.data[3]),
        "QUERY4_SECS": str(exchange.secs),
        "QUERY4_FLAGS": str(exchange.flags),
        "QUERY4_CIADDR": str(IPv4Address(exchange.ciaddr)),
        "QUERY4_SIADDR": str(IPv4Address(datagram.data[20:24])),
        "QUERY4_YIADDR": str(IPv4Address(datagram.data[16:20])),
        "QUERY4_GIADDR": str(IPv4Address(exchange.giaddr)),
        "QUERY4_RELAYED": "true" if exchange.giaddr else "false",
        "QUERY4_HWADDR": exchange.hardware_address,
        "QUERY4_HWADDR_TYPE": str(exchange.htype),
    }
    agent = exchange.received.get(RELAY_AGENT_INFORMATION, b"") if exchange.giaddr else b""
    if agent:
        said["QUERY4_OPTION_82"] = f"0x{agent.hex().upper()}"
        for code in (1, 2):
            if code in exchange.relay_agent:
                said[f"QUERY4_OPTION_82_SUB_OPTION_{code}"] = f"0x{exchange.relay_agent[code].hex().upper()}"
    return said
