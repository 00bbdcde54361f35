"""What users of pydhcp are to write: its DHCPServer, and a pool. It has an environment of its own (setup.sh).

Usage: pydhcp_server.py ADDRESS FIRST COUNT, where COUNT addresses from FIRST on are given out.
"""

import logging
import sys
from ipaddress import IPv4Address

from pydhcp.lease import InMemoryLeaseBackend
from pydhcp.options import DHCPOptionCode, DHCPOptions
from pydhcp.packet import DHCPMessageType
from pydhcp.server import DHCPServer


class PoolServer(DHCPServer):
    """Offers the next address of a pool to a client that has none; all else is the library's."""

    def __init__(self, address, first, count):
        backend = InMemoryLeaseBackend()
        backend.MAX_LEASES = count
        super().__init__(listen=[(address, [67])], lease_backend=backend)
        self.free = iter(range(int(IPv4Address(first)), int(IPv4Address(first)) + count))
        self.told = DHCPOptions()
        self.told[DHCPOptionCode.SUBNET_MASK] = IPv4Address("255.0.0.0")
        self.told[DHCPOptionCode.ROUTER] = [IPv4Address(address)]
        self.told[DHCPOptionCode.DNS] = [IPv4Address("10.0.0.53")]
        self.told[DHCPOptionCode.DOMAIN_NAME] = "bench.example"

    def acquire_lease(self, client_id, server_id, msg, *, commit=True):
        if msg.message_type is DHCPMessageType.DHCPDISCOVER and self.lookup_lease(client_id) is None:
            address = next(self.free, None)
            if address is None:
                return None
            return self.lease_backend.offer(client_id, IPv4Address(address), self.OFFER_HOLD_SECONDS, self.told)
        return super().acquire_lease(client_id, server_id, msg, commit=commit)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with PoolServer(sys.argv[1], sys.argv[2], int(sys.argv[3])) as server:
        server.serve_forever()
