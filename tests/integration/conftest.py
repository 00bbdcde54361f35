"""Networks for the tests: none, and a server cabled to a client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from namespaces import Host, Network


@pytest.fixture
def net() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def pair(net: Network) -> tuple[Host, Host]:
    """A server with 192.0.2.1 on eth0, cabled to a client whose eth0 has no address."""
    server, client = net.host("server"), net.host("client")
    net.link(server, "eth0", client, "eth0")
    server.run("ip addr add 192.0.2.1/24 dev eth0")
    return server, client
