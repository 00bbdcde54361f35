"""What becomes of a DISCOVER, with the plugin and without a network."""

import asyncio

import pytest
from aiodhcp_inventory import Inventory

from aiodhcp import Config, DhcpServer, Exchange, MemoryStore, MemoryTransport, Packet, Subnet

PRINTER, STRANGER = "02:00:00:00:00:01", "02:00:00:00:00:99"


async def discover(plugin: object, client: str) -> Exchange:
    config = Config([Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"])])
    network = MemoryTransport(["192.0.2.1"])
    packet = Packet(op=1, chaddr=bytes.fromhex(client.replace(":", "")), options={"message-type": 1})
    server = DhcpServer(config, store=MemoryStore(), transport=network, plugins=[plugin], explain=1)
    async with server:
        network.deliver(bytes(packet))
    return server.exchanges()[0]  # the server does not stop before it has finished the packet


@pytest.fixture
def inventory(tmp_path):
    file = tmp_path / "devices.txt"
    file.write_text(f"{PRINTER} printer-1\n")
    return lambda **settings: Inventory(Inventory.Settings(devices=file, **settings))


def test_a_device_gets_its_name(inventory):
    exchange = asyncio.run(discover(inventory(), PRINTER))
    assert exchange.reply.options["host-name"] == "printer-1"
    assert exchange.lease_time == 12 * 3600


def test_a_stranger_gets_an_hour(inventory):
    exchange = asyncio.run(discover(inventory(), STRANGER))
    assert exchange.lease_time == 3600
    assert "host-name" not in exchange.reply.options


def test_or_no_answer(inventory):
    exchange = asyncio.run(discover(inventory(strangers="drop"), STRANGER))
    assert exchange.answer is None
    assert exchange.why == "vetoed by Inventory: not in the inventory"


def test_the_list_is_kept_for_a_while(inventory):
    plugin = inventory()
    asyncio.run(discover(plugin, PRINTER))
    plugin.settings.devices.unlink()
    assert asyncio.run(discover(plugin, PRINTER)).reply.options["host-name"] == "printer-1"


def test_without_its_list_it_lets_nobody_in(inventory):
    plugin = inventory()
    plugin.settings.devices.unlink()
    exchange = asyncio.run(discover(plugin, PRINTER))
    assert exchange.answer is None
    assert exchange.why == "dhcp_new_pkt of plugin Inventory raised"
