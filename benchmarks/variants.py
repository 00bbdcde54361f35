"""aiodhcp in other configurations than the plain one: many subnets, everything at once, leases from before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import islice

from held import MAC, copy_leases, hardware_address
from lab import RELAYS, Load
from peers import AIODHCP, SERVERS, aiodhcp_with
from serverkit import POOL_START, Launch, Plan, Server

TOP = """\
interfaces = ["{plan.interface}"]
log-level = "warning"

[store]
path = "leases.sqlite"

[options]
"""
FEW_OPTIONS = 'domain-name-servers = ["10.0.0.53"]\ndomain-name = "bench.example"\n'
# Forty with the subnet's routers. The load generator's clients ask for fourteen of them.
MANY_OPTIONS = """\
domain-name-servers = ["10.0.0.53", "10.0.0.54"]
domain-name = "bench.example"
router-discovery = false
static-routes = ["192.0.2.1 10.0.0.1"]
vendor-encapsulated-options = "01:04:0a:00:00:01"
netbios-name-servers = ["10.0.0.44"]
netbios-node-type = 8
netbios-scope = "bench"
domain-search = ["bench.example", "example"]
classless-static-routes = ["192.0.2.0/24 via 10.0.0.1"]
ms-classless-static-routes = ["192.0.2.0/24 via 10.0.0.1"]
option-252 = "68:74:74:70:3a:2f:2f:77:2f"
time-offset = 3600
time-servers = ["10.0.0.4"]
log-servers = ["10.0.0.7"]
lpr-servers = ["10.0.0.9"]
boot-size = 64
root-path = "/srv/root"
interface-mtu = 1500
default-ip-ttl = 64
arp-cache-timeout = 60
default-tcp-ttl = 64
tcp-keepalive-interval = 7200
nis-domain = "nis.example"
nis-servers = ["10.0.0.41"]
ntp-servers = ["10.0.0.42", "10.0.0.43"]
font-servers = ["10.0.0.48"]
x-display-managers = ["10.0.0.49"]
nisplus-domain = "nisplus.example"
nisplus-servers = ["10.0.0.65"]
tftp-server-name = "tftp.bench.example"
boot-file-name = "boot.img"
smtp-server = ["10.0.0.69"]
pop-server = ["10.0.0.70"]
nntp-server = ["10.0.0.71"]
www-server = ["10.0.0.72"]
posix-timezone = "CET-1CEST"
tzdb-timezone = "Europe/Berlin"
captive-portal = "https://portal.bench.example/"
"""
SUBNET = """
[[subnet]]
subnet = "{network}"
pools = ["{first}-{last}"]
lease-time = "1h"
options.routers = ["{relay}"]
"""
RESERVATION = """
[[subnet.reservation]]
hardware-address = "{hardware_address}"
address = "{address}"
"""
ONE_IN = 10  # so many of the generator's clients has a reservation, while there are any left
READY_SECONDS = 300.0  # a configuration of ten thousand subnets is a large file


def classes() -> Iterator[str]:
    """Twenty with a test: every client is in four or five, and the sixteen are one for each last digit of the port."""
    tests = {
        "microsoft": "substring(option[60].text, 0, 4) == 'MSFT'",
        "relayed": "relay4[1].exists and relay4[2].exists",
        "uefi": "option[93].hex in (0x0007, 0x0009)",
        "desks": "member('microsoft') and member('relayed') and not member('uefi')",
    }
    tests |= {f"line-{digit:x}": f"substring(relay4[1].text, 12, 1) == '{digit:x}'" for digit in range(16)}
    for name, test in tests.items():
        yield f'\n[[class]]\nname = "{name}"\ntest = "{test}"\noptions.root-path = "/srv/{name}"\n'


def networks(count: int) -> tuple[list[IPv4Network], int]:
    """So many subnets of the relay agents' network, and how many addresses each has."""
    whole = IPv4Network(RELAYS)
    bits = (count - 1).bit_length()
    return list(islice(whole.subnets(prefixlen_diff=bits), count)), whole.num_addresses >> bits


def relay_of(client: int, count: int) -> int:
    """Which of ``count`` relay agents a client is behind: ``relay_of`` in loadgen_packets.h."""
    return ((client * 0x85EB_CA6B & 0xFFFF_FFFF) * count) >> 32


def load_behind(load: Load, subnets: int) -> Load:
    """The same load from as many relay agents, one in each subnet."""
    found, step = networks(subnets)
    return replace(load, giaddr=str(found[0][1]), relays=subnets, relay_step=step, mac=MAC)


def subnets_text(count: int, reservations: int, pool: int) -> Iterator[str]:
    """So many subnets with so many reservations in all, and pools of so many addresses at most."""
    found, size = networks(count)
    reserved: list[list[bytes]] = [[] for _ in range(count)]
    for number in range(reservations):
        client = number * ONE_IN
        reserved[relay_of(client, count)].append(hardware_address(client))
    most = min(size - 3, pool)  # neither the relay agent nor the network's own addresses
    for network, clients in zip(found, reserved, strict=True):
        first = network[2]
        yield SUBNET.format(network=network, first=first, last=first + (most - 1), relay=network[1])
        for number, chaddr in enumerate(clients):
            yield RESERVATION.format(hardware_address=chaddr.hex(":"), address=first + number)


def with_subnets(name: str, subnets: int, reservations: int, *, full: bool = False) -> Server:
    """aiodhcp with many subnets, each with a relay agent, and reservations; if `full` with classes and options."""

    def launch(plan: Plan) -> Launch:
        text = [TOP.format(plan=plan), MANY_OPTIONS if full else FEW_OPTIONS, *(classes() if full else ())]
        return aiodhcp_with("".join([*text, *subnets_text(subnets, reservations, plan.pool)]), plan)

    relay = str(networks(subnets)[0][0][1])
    return replace(SERVERS["aiodhcp"], name=name, launch=launch, relay=relay, ready_seconds=READY_SECONDS)


def with_leases(name: str, count: int) -> Server:
    """The plain aiodhcp, which has so many leases when it starts: those of the generator's first clients."""

    def launch(plan: Plan) -> Launch:
        copy_leases(count, POOL_START, plan.directory)
        return aiodhcp_with(AIODHCP.format(plan=plan), plan)

    return replace(SERVERS["aiodhcp"], name=name, launch=launch, ready_seconds=READY_SECONDS)


def load_over(load: Load, leases: int) -> Load:
    """The same load where the first clients have leases already."""
    return replace(load, held=leases, held_from=str(POOL_START), mac=MAC)
