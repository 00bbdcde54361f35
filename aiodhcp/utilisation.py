"""Utilisation: how many addresses each subnet and each shared network has left, as JSON has it."""

from __future__ import annotations

from typing import Any

from aiodhcp.addresses import Addresses
from aiodhcp.usage import PoolUsage

__all__ = ["utilisation"]


def utilisation(addresses: Addresses) -> dict[str, list[dict[str, Any]]]:
    """What the addresses of the pools are, by subnet and by shared network, in the order of the configuration.

    Returns:
        "subnets", each with a "subnet" and the name of its "shared_network", empty for none; "shared_networks", each
            with its "name". Both with the numbers of "addresses", "in_use", "offered", "declined", "reserved" and
            "free" ones, and the "utilisation" from 0 to 1, None where there is no pool.
    """
    subnets, networks = [], dict[str, PoolUsage]()
    for subnet, usage in zip(addresses.config.subnets, addresses.usages(), strict=True):
        name = subnet.shared_network
        subnets.append({"subnet": str(subnet), "shared_network": name, **_numbers(usage)})
        if name:
            before = networks.get(name, PoolUsage(0, 0, 0, 0, 0))
            networks[name] = PoolUsage(*map(sum, zip(before, usage, strict=True)))
    shared = [{"name": name, **_numbers(usage)} for name, usage in networks.items()]
    return {"subnets": subnets, "shared_networks": shared}


def _numbers(usage: PoolUsage) -> dict[str, Any]:
    return {
        "addresses": usage.size,
        "in_use": usage.leases,
        "offered": usage.offered,
        "declined": usage.declined,
        "reserved": usage.reserved,
        "free": usage.free,
        "utilisation": usage.utilisation if usage.size else None,
    }
