"""Addresses: which address a client may have, and which one it is offered. The lease table, the offers, the free ones.

Offers are promises, kept in memory only (RFC 2131 §3.1, step 2). Knows no packet and no hook.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence, Set
from typing import Final, NamedTuple

from aiodhcp.freemap import AddressChoice, FreeMap, drawn, hashed, lowest
from aiodhcp.leaseindex import LeaseIndex
from aiodhcp.leases import FreeAddresses, Lease, LeaseState
from aiodhcp.leasetable import LeaseTable
from aiodhcp.subnets import Config, Pool, Reservation, Subnet
from aiodhcp.usage import PoolUsage, Shortage, Usage

__all__ = ["Addresses", "Offer"]

ROUTERS: Final = 3
NO_CLASSES: Final[frozenset[str]] = frozenset()
# Members of an enum, where they are looked up for every packet: an attribute of the class costs ten times as much.
_ACTIVE: Final = LeaseState.ACTIVE
# A tuple of a class as it is: past the function that gives its fields names, which costs more than the tuple.
_new: Final = tuple.__new__


class Offer(NamedTuple):
    """An address kept for a client until ``expires``, seconds since 1970."""

    address: int
    expires: float


class Addresses:
    """What is known of every address, and the choice among them.

    Args:
        config: subnets, pools and reservations.
        leases: what was known before.
    """

    def __init__(self, config: Config, leases: Iterable[Lease] = ()) -> None:
        self.leases = LeaseTable()
        self.leases.load(leases)
        self.own: Set[int] = frozenset()
        """The server's own addresses, which no client gets."""
        self.index: LeaseIndex | None = None
        """Leases by what requestors may ask for; None where nobody may."""
        self.seed = b""
        """From which follows what is chosen at random; at most 64 octets."""
        self._draw = drawn(lambda: self.seed)
        self._usage: Usage | None = None
        self._shortages: dict[str, Shortage] = {}
        # In order of expiry, because each is kept for the same time.
        self._offers: OrderedDict[bytes, Offer] = OrderedDict()
        self._offered: dict[int, bytes] = {}
        self._pools: dict[Pool, FreeAddresses | FreeMap] = {}
        self._free: dict[Pool, FreeAddresses | FreeMap] = {}
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Go by a configuration from now on. What was decided by the one before is as it was, and may be ended."""
        self.config = config
        self._shared = config.by_address
        self._usage = self.leases.changed = None
        if config.leasequery is None:
            self.index = self.leases.put_or_removed = None
        elif self.index is None:
            self.index = LeaseIndex(self.leases)
        self._shortages = {}
        # What no client gets, either: the addresses of the routers it is told of, and of relay agents.
        self._routers = {
            int.from_bytes(value[at : at + 4], "big")
            for parameters in (config.parameters, *(subnet.parameters for subnet in config.subnets))
            for value in (parameters.options.get(ROUTERS, b""),)
            for at in range(0, len(value), 4)
        }.union(*(subnet.relays for subnet in config.subnets))
        # What no client gets just because it is free: one look-up for all subnets, of which there may be ten thousand.
        self._withheld = self._routers.union(self._shared, *(subnet.by_address for subnet in config.subnets))
        self._classes = any(pool.classes for subnet in config.subnets for pool in subnet.pools)
        previous = self._pools
        self._pools = {
            pool: self._unused(pool, config.choice(subnet, pool)) for subnet in config.subnets for pool in subnet.pools
        }
        # Packets that are on their way may still take from the pools that were.
        self._free = previous | self._pools
        mapped, known = False, self.leases.known
        for free in self._pools.values():
            if isinstance(free, FreeMap):
                mapped = True
            else:
                free.skip(known)
        if mapped:
            for address in self.leases.addresses(LeaseState.ACTIVE, LeaseState.DECLINED):
                self._take_out(address)
        ended = self.leases.of_state(LeaseState.RELEASED, LeaseState.EXPIRED)
        for lease in sorted(ended, key=lambda lease: lease.expires):
            self.give_back(lease.address)

    def _unused(self, pool: Pool, choice: AddressChoice) -> FreeAddresses | FreeMap:
        if choice == "sequential":
            return FreeMap(pool.ranges, lowest, "the lowest free one")
        if choice == "random":
            return FreeMap(pool.ranges, self._draw, "chosen at random")
        if choice == "hash":
            return FreeMap(pool.ranges, hashed, "chosen by a hash of the client")
        return FreeAddresses(pool.ranges)

    def _take_out(self, address: int) -> None:
        subnet = self.config.subnet_of(address)
        pool = None if subnet is None else subnet.pool(address)
        free = None if pool is None else self._pools[pool]
        if isinstance(free, FreeMap):
            free.take_out(address)

    def lapse(self, now: float) -> None:
        """Forget the offers that nobody took up in time."""
        offers = self._offers
        while offers:
            client, offer = next(iter(offers.items()))
            if offer.expires > now:
                return
            self.withdraw(client)

    def offer_of(self, client: bytes, subnet: Subnet) -> Offer | None:
        """What the client was offered in ``subnet`` and may still take."""
        offer = self._offers.get(client)
        return offer if offer is not None and subnet.first <= offer.address <= subnet.last else None

    def offer(self, client: bytes, address: int, now: float) -> None:
        """Keep ``address`` for ``client``, instead of what it was offered before."""
        offers = self._offers
        known = offers.get(client)
        if known is not None:
            if known.address != address:
                self.withdraw(client)
            else:
                # It is last again.
                del offers[client]
        offers[client] = _new(Offer, (address, now + self.config.offer_time))
        self._offered[address] = client

    def withdraw(self, client: bytes, *, taken: bool = False) -> None:
        """Forget what the client was offered; unless it has taken it, the address is free again."""
        offer = self._offers.pop(client, None)
        if offer is None:
            return
        del self._offered[offer.address]
        if not taken:
            self.give_back(offer.address)

    def give_back(self, address: int) -> None:
        """The address may be given to somebody else."""
        subnet = self.config.subnet_of(address)
        pool = None if subnet is None else subnet.pool(address)
        if pool is not None:
            self._pools[pool].give_back(address)

    def may_have(
        self,
        client: bytes,
        subnet: Subnet,
        reservation: Reservation | None,
        address: int,
        now: float,
        classes: frozenset[str] = NO_CLASSES,
    ) -> bool:
        """Whether the client may have ``address``: its own or a free one of the pools that are for its classes, or the
        one reserved for it.
        """
        reserved = None
        withheld = address in self._withheld
        if withheld:
            reserved = subnet.by_address.get(address) or self._shared.get(address)
        if reserved is not None:
            # Compared by whose it is, because a packet may be on its way while the configuration is loaded again.
            if reservation is None or reserved.identity != reservation.identity:
                return False
        elif reservation is not None and reservation.address == address:
            # A plugin's, which the subnet doesn't know.
            if address in self.own:
                return False
        else:
            pool = subnet.pool(address)
            if pool is None or address in self.own or (withheld and address in self._routers):
                return False
            if self._classes and not pool.is_for(classes):
                return False
        if self._offered.get(address, client) != client:
            return False
        lease = self.leases.get(address)
        if lease is None or (lease.client == client and lease.state == _ACTIVE) or lease.is_free(now):
            return True
        # A machine may show another client id when it boots from the network: its reserved address stays its own.
        return reserved is not None and reserved.hardware_address == lease.chaddr and lease.state == _ACTIVE

    def choose(
        self,
        client: bytes,
        subnet: Subnet,
        reservation: Reservation | None,
        lease: Lease | None,
        requested: int,
        now: float,
        giaddr: int = 0,
        classes: frozenset[str] = NO_CLASSES,
    ) -> tuple[int, str] | None:
        """The address to offer (RFC 2131 §4.3.1), and how it was found: the reserved one, the one offered already, the
        client's current or previous one, the one it asks for, or another one by the address choice of the pool. None
        when there is none.

        Never the relay agent's own, ``giaddr``; which is not remembered, because anybody may pretend to be one.

        Args:
            lease: the client's in this subnet, of whatever state.
        """
        offer = self.offer_of(client, subnet)
        if reservation is not None or offer is not None or lease is not None or requested:
            for wish, found in (
                (None if reservation is None else reservation.address, "reserved for the client"),
                (None if offer is None else offer.address, "offered to the client already"),
                (None if lease is None else lease.address, "the client's lease"),
                (requested if requested in subnet else None, "asked for by the client"),
            ):
                if wish is None or wish == giaddr:
                    continue
                if self.may_have(client, subnet, reservation, wish, now, classes):
                    return wish, found

        offered, known, own, kept = self._offered, self.leases.known, self.own, self._withheld

        def never_used(address: int) -> bool:
            return not (address in known or address in offered or address in own or address in kept)

        def free(address: int) -> bool:
            if address in offered or address in own or address in kept:
                return False
            lease = self.leases.get(address)
            return lease is None or lease.is_free(now)

        for pool in subnet.pools:
            addresses = self._free.get(pool)
            if addresses is None or (self._classes and not pool.is_for(classes)):  # None: of two configurations ago
                continue
            address = addresses.take(never_used, free, client)
            if address == giaddr:
                # It may stand there twice: as never used, and as given back by who was offered it.
                while address == giaddr:
                    address = addresses.take(never_used, free, client)
                addresses.give_back(giaddr)
            if address is not None:
                if isinstance(addresses, FreeMap):
                    return address, addresses.found
                return address, "never used before" if address not in known else "the longest unused"
        return None

    def share_in_use(self, pool: Pool) -> float:
        """Which share of a pool is leased or declined, from 0 to 1. For one of a configuration before this one: of the
        pool that has taken its place.
        """
        if pool not in self._pools:
            subnet = self.config.subnet_of(pool.range[0])
            successor = None if subnet is None else subnet.pool(pool.range[0])
            return 0.0 if successor is None else self._counting().share(successor)
        return self._counting().share(pool)

    def usage(self, *subnets: Subnet, pools: Sequence[Pool] | None = None) -> PoolUsage:
        """What the addresses of the pools of some subnets are; or of some of the pools."""
        if pools is None:
            pools = [pool for subnet in subnets for pool in subnet.pools]
        (usage,) = self._counting().of([pools], self._offered, self._kept(subnets))
        return usage

    def usages(self) -> list[PoolUsage]:
        """The same of each subnet of the configuration, in its order."""
        subnets = self.config.subnets
        return self._counting().of([subnet.pools for subnet in subnets], self._offered, self._kept(subnets))

    def _kept(self, subnets: Sequence[Subnet]) -> set[int]:
        return {*self._shared, *self.own, *self._routers}.union(*(subnet.by_address for subnet in subnets))

    def _counting(self) -> Usage:
        if self._usage is None:
            self._usage = Usage(self.config, self.leases)
        return self._usage

    def exhausted(self, tried: Sequence[Subnet], classes: frozenset[str], now: float) -> None:
        """There was no free address for a client of these classes in some subnets of a link, the one chosen first
        before the others: the log says so, at most once a minute. Of what there is no more by now, it says nothing.
        """
        link = tried[0].shared_network or str(tried[0])
        shortage = self._shortages.setdefault(link, Shortage())
        pools = [pool for subnet in tried for pool in subnet.pools if pool in self._pools and pool.is_for(classes)]
        if pools and not shortage.is_quiet(now):
            shortage.begins(tried, pools, self.usage(*tried, pools=pools), now)

    def check_shortages(self) -> None:
        """Where there are free addresses again, the log says so."""
        for shortage in self._shortages.values():
            if shortage.lasts:
                usage = self.usage(*shortage.subnets, pools=shortage.pools)
                if usage.free:
                    shortage.ends(usage)

    def decline(self, address: int, htype: int, chaddr: bytes, now: float) -> Lease:
        """An address is in use by somebody else: nobody gets it for a while.

        Returns:
            what is known of it from now on.
        """
        second = int(now)
        declined = Lease(address, b"", htype, chaddr, LeaseState.DECLINED, second, second + self.config.decline_time)
        self.leases.put(declined)
        return declined

    def delete(self, lease: Lease, now: float) -> Lease:
        """Forget a lease and whose it was; the address is free.

        Returns:
            what is known of the address from now on.
        """
        second = int(now)
        forgotten = Lease(
            lease.address, b"", 0, b"", LeaseState.RELEASED, lease.starts, second, last_transaction=second
        )
        self.withdraw(lease.client)
        self.leases.put(forgotten)
        self.give_back(lease.address)
        return forgotten

    def enter(self, lease: Lease, now: float) -> list[Lease]:
        """Enter a client's lease; it takes the place of the offer, and of another lease on the same link, which ends
        now.

        Returns:
            the leases that changed by it, ``lease`` first.
        """
        ended: list[Lease] = []
        # Whose only one it is, as with nearly all, has no other.
        if not self.leases.is_only(lease.client, lease.address):
            subnet, second = self.config.subnet_of(lease.address), int(now)
            ended = [
                self.end(each._replace(expires=min(each.expires, second)), LeaseState.RELEASED)
                for each in (() if subnet is None else self.held_on_link(lease.client, subnet))
                if each.address != lease.address
            ]
        self.leases.put(lease)
        offer = self._offers.get(lease.client)
        if offer is not None:
            self.withdraw(lease.client, taken=offer.address == lease.address)
        return [lease, *ended]

    def held_on_link(self, client: bytes, subnet: Subnet) -> list[Lease]:
        """The active leases of a client in the subnets of one link."""
        found = [self.leases.find(client, each.first, each.last) for each in self.config.link_of(subnet)]
        return [lease for lease in found if lease is not None and lease.state == _ACTIVE]

    def end(self, lease: Lease, state: LeaseState) -> Lease:
        """A lease ends; its address is free, and remembered as the client's.

        Returns:
            the lease as it is now.
        """
        ended = lease._replace(state=state)
        self.leases.put(ended)
        self.give_back(lease.address)
        return ended
