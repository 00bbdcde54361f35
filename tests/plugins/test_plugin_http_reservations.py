"""http_reservations: an inventory is asked what is set aside for a client."""

from __future__ import annotations

import asyncio
import sys

import pytest
from aiodhcp_plugins.http_reservations import HttpReservations
from inventory_kit import (  # noqa: F401 - some are fixtures
    FOUND,
    NOT_FOUND,
    PLANNED,
    Inventory,
    asking,
    dropped,
    inventory,
    offered,
    response,
    ticks,
)
from pydantic import ValidationError
from server_kit import clock, serve, store, transport  # noqa: F401 - some are fixtures
from wire import ACK, NAK, Reply, answer, ask, config, discover, hardware, lease, message, reboot, request, until

from aiodhcp import ConfigError

# ── what is reserved ──


async def test_a_client_gets_what_the_inventory_says(serve, transport, inventory, asking):
    said = {
        "address": PLANNED,
        "hostname": "printer-1",
        "lease-time": 600,
        "options": {"domain-name": "office.example", "routers": ["192.0.2.254"]},
        "next-server": "192.0.2.9",
        "boot-file": None,
        "classes": ["printers"],
    }
    inventory.say = response(200, said)
    async with serve(asking(), explain=9) as server:
        assert await lease(transport, 1, [(55, bytes((3, 15)))]) == PLANNED
        exchange = server.exchanges()[-1]
        options = exchange.reply.options
        assert (options["lease-time"], options["host-name"], options["domain-name"]) == (
            600,
            "printer-1",
            "office.example",
        )
        assert [str(each) for each in options["routers"]] == ["192.0.2.254"]
        assert exchange.classes == {"printers"}
        assert int(exchange.reply.siaddr) == int.from_bytes(bytes((192, 0, 2, 9)))
    assert inventory.asked[0].target == "/dhcp/02:00:00:00:00:01"
    assert inventory.asked[0].headers["accept"] == "application/json"


async def test_a_client_of_whom_it_knows_nothing_is_as_any_other(serve, transport, inventory, asking):
    inventory.say = NOT_FOUND
    async with serve(asking()):
        assert await lease(transport, 1) == "192.0.2.10"
    assert len(inventory.asked) == 1


async def test_no_address_but_an_option(serve, transport, inventory, asking):
    inventory.say = response(200, {"options": {"domain-name": "office.example"}})
    async with serve(asking()):
        reply = await ask(transport, discover(1, [(55, b"\x0f")]))
    assert (reply.address, reply.options[15]) == ("192.0.2.10", b"office.example")


async def test_an_address_of_another_subnet_is_of_no_use_here(serve, transport, inventory, asking):
    inventory.say = response(200, {"address": "198.51.100.7", "hostname": "laptop"})
    async with serve(asking()):
        reply = await ask(transport, discover(1))
    assert (reply.address, reply.options[12]) == ("192.0.2.10", b"laptop")


async def test_who_asks_for_another_address_is_refused(serve, transport, asking):
    async with serve(asking()):
        assert (await ask(transport, reboot(1, "192.0.2.10"))).kind == NAK
        assert (await ask(transport, reboot(1, PLANNED))).kind == ACK


async def test_what_is_asked_by(serve, transport, inventory, asking):
    said = b"\x01\x0aeth0/../1 \x02\x03\x00\xff&"
    path = "/{circuit-id-hex}/{remote-id-hex}/{client-id}?net={subnet}&port={circuit-id}&by={remote-id}"
    async with serve(asking(path)):
        ids = [(61, b"\0me"), (82, said)]
        assert (await ask(transport, message(1, 1, ids, giaddr="192.0.2.254"))).address == PLANNED
    assert inventory.asked[0].target == (
        "/65:74:68:30:2f:2e:2e:2f:31:20/00:ff:26/00:6d:65?net=192.0.2.0%2F24&port=eth0%2F..%2F1%20&by=%00%FF%26"
    )


async def test_who_says_nothing_to_be_known_by_is_not_asked_for(serve, transport, inventory, asking):
    async with serve(asking("?port={circuit-id}&id={client-id}")):
        assert await offered(transport) == "192.0.2.10"
    assert inventory.asked == []


async def test_a_port_has_its_address_whoever_is_behind_it(serve, transport, inventory, asking):
    async def behind(client: int) -> Reply:
        return await ask(transport, message(1, client, [(82, b"\1\4eth7")], giaddr="192.0.2.254"))

    async with serve(asking("?port={circuit-id}")):
        assert (await behind(1)).address == PLANNED
        assert (await behind(2)).address == "192.0.2.10"  # the other one was offered it
    assert len(inventory.asked) == 1


# ── what is remembered ──


async def test_an_answer_counts_for_a_while(serve, transport, inventory, asking, ticks):
    plugin = asking(ttl=60, negative_ttl=10)
    inventory.say = lambda asked: FOUND if asked.target.endswith("01") else NOT_FOUND
    async with serve(plugin):
        for seconds, asked in ((0, 2), (9, 2), (11, 3), (59, 4), (61, 5)):
            ticks.now = 1000 + seconds
            assert await offered(transport, 1) == PLANNED
            assert await offered(transport, 2) == "192.0.2.10"
            assert len(inventory.asked) == asked, seconds
    assert plugin.counts["remembered"] == 5


@pytest.mark.parametrize(
    ("control", "age", "until_when"),
    [
        ("max-age=5", "", 5),
        ("private, Max-Age=5", "2", 3),
        ("max-age=5", "nonsense", 5),
        ("max-age=0", "", 0),
        ("max-age=10, no-cache", "", 0),
        ("no-store", "", 0),
        ("max-age=999999999", "", 86400),
        ("max-age=nonsense", "", 60),
    ],
)
async def test_the_service_says_for_how_long(serve, transport, inventory, asking, ticks, control, age, until_when):
    inventory.say = response(200, {"address": PLANNED}, Cache_Control=control, Age=age)
    async with serve(asking()):
        await offered(transport)
        if until_when:
            ticks.now += until_when - 0.5
            await offered(transport)
            assert len(inventory.asked) == 1
            ticks.now += 1
        await offered(transport)
    assert len(inventory.asked) == 2


async def test_whether_it_is_still_so(serve, transport, inventory, asking, ticks):
    plugin = asking()
    inventory.say = response(200, {"address": PLANNED}, ETag='"one"', Cache_Control="max-age=5")
    async with serve(plugin, explain=9) as server:
        await offered(transport)
        inventory.say = response(304, ETag='"two"', Cache_Control="max-age=50")
        ticks.now += 6
        assert await offered(transport) == PLANNED
        ticks.now += 49
        assert await offered(transport) == PLANNED
        ticks.now += 2
        assert await offered(transport) == PLANNED
        # What a client is told is prepared by the reservation: it has to be the same object.
        assert len({id(each.reservation) for each in server.exchanges()}) == 1
    assert [each.headers.get("if-none-match") for each in inventory.asked] == [None, '"one"', '"two"']
    assert plugin.counts["unchanged"] == 2


async def test_the_same_answer_again_is_the_same_reservation(serve, transport, asking, ticks):
    async with serve(asking(ttl=0), explain=9) as server:
        await offered(transport)
        await offered(transport)
        one, two = (each.reservation for each in server.exchanges())
        assert one is two


async def test_nobody_is_asked_for_by_the_tag_of_nothing(serve, transport, inventory, asking):
    inventory.say = response(404, b"", ETag='"none"')
    async with serve(asking(negative_ttl=0)):
        await offered(transport)
        await offered(transport)
    assert all("if-none-match" not in each.headers for each in inventory.asked)


async def test_so_many_are_remembered(serve, transport, inventory, asking):
    inventory.say = lambda asked: NOT_FOUND if int(asked.target[-2:], 16) > 8 else response(200, {})
    plugin = asking(entries=3)
    async with serve(plugin):
        for client in (1, 2, 3, *range(9, 30), 1, 4):
            await offered(transport, client)
        assert len(plugin._cache) == 6
        inventory.asked.clear()
        # Those who were made up have pushed out no others; of these, the one that was needed longest ago went.
        for client in (1, 3, 4, 2):
            await offered(transport, client)
    assert [each.target[-2:] for each in inventory.asked] == ["02"]


async def test_several_packets_of_a_client_are_one_question(serve, transport, inventory, asking):
    inventory.hold()
    plugin = asking()
    async with serve(plugin, config=config()):
        for option in (b"a", b"b", b"c"):  # of the same hardware address, but other clients
            transport.deliver(discover(1, [(61, b"id" + option)]))
        await until(lambda: plugin.counts["joined"] == 2)
        inventory.go_on()
        addresses = {(await answer(transport)).address for _ in range(3)}
    assert PLANNED in addresses
    assert len(inventory.asked) == 1


# ── life ──


async def test_the_stop_of_the_server_waits_for_nobody(serve, transport, inventory, asking):
    inventory.hold()
    plugin = asking(timeout=10)
    async with serve(plugin, stop_timeout=0.05):
        transport.deliver(discover(1))
        await until(lambda: inventory.at_once)
    assert not plugin._asking


async def test_a_reload_begins_anew_but_remembers_for_the_worst(serve, transport, inventory, asking):
    async with serve(asking(), explain=9) as server:
        await offered(transport, 1)
        await server.reload(plugins=[asking()])
        inventory.say = response(200, {"address": "192.0.2.202"})
        assert (await ask(transport, request(1, PLANNED))).kind == NAK
        await server.reload(plugins=[asking()])
        inventory.say = response(503)
        assert await offered(transport, 1) == "192.0.2.202"
        assert "status 503" in await dropped(server, transport, 2)
    assert len(inventory.asked) == 4


async def test_explain_asks_without_a_start(inventory, asking):
    plugin = asking()
    fetched = await plugin._service.get(f"{inventory.origin}/x")
    assert (fetched.body, inventory.asked[0].target) == (b'{"address": "192.0.2.201"}', "/x")
    await plugin._service.close()


# ── settings ──


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://ipam.example/{client-id}", "begins with https:// or http:// and a host"),
        ("https:///{client-id}", "begins with https:// or http:// and a host"),
        ("ipam.example/{client-id}", "begins with https:// or http:// and a host"),
        ("https://ipam.example/ {client-id}", "without spaces"),
        ("https://me:secret@ipam.example/{client-id}", "can't have a password"),
        ("https://ipam.example/{client-id}#x", "can't have a fragment"),
        ("https://ipam.example:x/{client-id}", "Port could not be cast"),
        ("https://ipam.example/{mac}", r"there is no \{mac\}; there are \{hardware-address\}, \{client-id\}"),
        ("https://ipam.example/{circuit-id}", r"behind a '\?' only: say \{circuit-id-hex\}"),
        ("https://{client-id}.example/", "a brace where none can be"),
        ("https://ipam.example/{client-id}}", "a brace where none can be"),
        ("https://ipam.example/{subnet}", "expected something of the client"),
    ],
)
def test_wrong_urls_are_refused(url, words):
    with pytest.raises(ValidationError, match=words) as refused:
        HttpReservations.Settings(url=url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"token_variable": "A", "token_file": "b"}, "expected one of token-file"),
        ({"token_variable": "A", "user": "me"}, "needs a password-file"),
        ({"password_variable": "A"}, "these need a user"),
        ({"user": "me"}, "needs a password-file"),
        ({"user": "me:you", "password_variable": "A"}, "can't have a colon"),
        ({"ca_file": "ca.pem"}, "ca-file: is for https"),
        ({"timeout": 11}, "timeout"),
        ({"ttl": -1}, "ttl"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        HttpReservations.Settings.model_validate({"url": "http://ipam.example/{client-id}", **wrong})


def test_without_httpx(asking, monkeypatch):
    import aiodhcp_plugins

    monkeypatch.delitem(sys.modules, "aiodhcp_plugins.reservation_service", raising=False)
    monkeypatch.delattr(aiodhcp_plugins, "reservation_service", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigError, match=r"pip install 'aiodhcp\[http\]'"):
        HttpReservations(HttpReservations.Settings(url="http://127.0.0.1/{client-id}"))


async def test_what_is_known_is_said_without_waiting(serve, transport, asking):
    plugin = asking()
    async with serve(plugin, explain=9) as server:
        await offered(transport)
        exchange = server.exchanges()[-1]
        assert not asyncio.iscoroutine(plugin.reservation_lookup(exchange.subnet, exchange))
    assert hardware(1) in exchange.client
