"""http_reservations: an inventory that fails, says nonsense, wants to know who asks; and how much it is asked."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
from pathlib import Path

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
from server_kit import clock, serve, store, transport  # noqa: F401 - some are fixtures
from wire import answer, ask, discover, until

from aiodhcp import ConfigError, DropReason

# ── limits ──


async def test_so_many_at_a_time(serve, transport, inventory, asking):
    inventory.hold()
    inventory.say = NOT_FOUND
    async with serve(asking(concurrency=2, timeout=10)):
        for client in range(1, 7):
            transport.deliver(discover(client))
        await until(lambda: inventory.at_once == 2)
        inventory.go_on()
        for _ in range(6):
            await answer(transport)
    assert (inventory.most_at_once, inventory.connections) == (2, 2)


async def test_of_too_many_nothing_is_learned(serve, transport, inventory, asking, caplog):
    inventory.hold()
    plugin = asking(queue=1, timeout=10)
    async with serve(plugin, explain=9) as server:
        transport.deliver(discover(1))
        assert "too many wait" in await dropped(server, transport, 2)
        assert "too many wait" in await dropped(server, transport, 3)
        inventory.go_on()
        assert (await answer(transport)).address == PLANNED
    assert plugin.counts["failed_queue"] == 2
    assert sum("wait for an answer already" in line for line in caplog.messages) == 1


async def test_connections_are_kept(serve, transport, inventory, asking, ticks):
    async with serve(asking(ttl=0, negative_ttl=0)):
        for say in (FOUND, response(200, {"address": PLANNED}, ETag='"1"'), response(304), NOT_FOUND, FOUND):
            inventory.say = say
            await offered(transport)
    assert (len(inventory.asked), inventory.connections) == (5, 1)


async def test_a_connection_that_was_closed_meanwhile(serve, transport, inventory, asking):
    def once(_: object) -> bytes | None:
        inventory.say = FOUND
        return None

    async with serve(asking(ttl=0)):
        await offered(transport)
        inventory.say = once
        assert await offered(transport) == PLANNED
    assert (len(inventory.asked), inventory.connections) == (3, 2)


# ── failure ──

FAILURES: dict[str, tuple[bytes | None, str, str]] = {
    "error": (response(500, b"oops"), "status", "status 500"),
    "overload": (response(429), "status", "status 429"),
    "wrong question": (response(400, b"what?"), "status", "status 400"),
    "redirect": (response(302, b"", Location="http://127.0.0.1:1/"), "redirect", "redirects are not followed"),
    "forbidden": (response(403), "credentials", "status 403"),
    "unasked": (response(304), "redirect", "status 304"),
    "broken off": (None, "broken", "the connection broke"),
    "half": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{", "broken", "the connection broke"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "broken", "the connection broke"),
    "endless head": (b"HTTP/1.1 200 OK\r\nX: " + 200_000 * b"x", "broken", "the connection broke"),
    "long": (response(200, b"[" * 70_000), "long", "more than 65536 octets"),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 20 * (b"2000\r\n" + 8192 * b" " + b"\r\n"),
        "long",
        "more than 65536 octets",
    ),
    "deep": (response(200, b"[" * 60_000), "answer", "is not JSON"),
    "encoded": (response(200, b"\x1f\x8b", Content_Encoding="gzip"), "answer", "it is encoded"),
    "no JSON": (response(200, b"<html>"), "answer", "is not JSON"),
    "no UTF-8": (response(200, b'"\xff"'), "answer", "is not JSON"),
    "no number": (response(200, b'{"lease-time": NaN}'), "answer", "NaN is no number"),
    "no object": (response(200, b"[1]"), "answer", "expected a JSON object, got [1]"),
    "no address": (response(200, {"address": "here"}), "answer", "address: expected an address like"),
    "IPv6": (response(200, {"address": "2001:db8::1"}), "answer", "address: expected an address like"),
    "no name": (response(200, {"hostname": "a b"}), "answer", "hostname: expected a host name, got 'a b'"),
    "no seconds": (response(200, {"lease-time": "1h"}), "answer", "lease-time: Input should be a valid integer"),
    "no time": (response(200, {"lease-time": 0}), "answer", "lease_time: expected 1 to 4294967295 seconds"),
    "no option": (response(200, {"options": {"color": 1}}), "answer", "options.color"),
    "odd option": (response(200, {"options": {"routers": {"a": [None]}}}), "answer", "options.routers"),
    "two names": (
        response(200, {"hostname": "a", "options": {"host-name": "b"}}),
        "answer",
        "hostname: is in the options already",
    ),
    "long words": (response(200, {"options": {"x" * 5000: 1}}), "answer", "…"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_without_an_answer_a_client_gets_none(serve, transport, inventory, asking, caplog, name):
    octets, kind, words = FAILURES[name]
    inventory.say = octets if octets is not None else lambda _: None
    plugin = asking()
    async with serve(plugin, explain=9) as server:
        why = await dropped(server, transport)
        assert words in why
        assert len(why) < 500
        assert server.exchanges()[-1].reason is DropReason.INTERNAL_ERROR
        assert all(each.errors == each.timeouts == 0 for each in server.hooks.metrics)
    assert plugin.counts[f"failed_{kind}"] == plugin.counts["unavailable"] == 1
    # Nothing that the client says is in the log.
    assert any(words in line and "02:00" not in line for line in caplog.messages)


async def test_or_is_as_any_other(serve, transport, inventory, asking):
    inventory.say = response(500)
    async with serve(asking(unavailable="serve")):
        assert await offered(transport) == "192.0.2.10"


async def test_who_says_nothing_is_not_waited_for(serve, transport, inventory, asking):
    inventory.hold()
    plugin = asking(timeout=0.05)
    async with serve(plugin, explain=9) as server:
        assert "no answer within 0.05 seconds" in await dropped(server, transport)
    assert plugin.counts["failed_timeout"] == 1


async def test_who_speaks_too_slowly_is_not_waited_for(serve, transport, inventory, asking):
    inventory.say = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
    async with serve(asking(timeout=0.05), explain=9) as server:
        assert "no answer within 0.05 seconds" in await dropped(server, transport)


async def test_a_wrong_answer_is_not_asked_for_again_at_once(serve, transport, inventory, asking, ticks, caplog):
    inventory.say = response(200, b"<html>")
    async with serve(asking(negative_ttl=30), explain=9) as server:
        for client in (1, 1, 2, 2):
            assert "is not JSON" in await dropped(server, transport, client)
        assert len(inventory.asked) == 2
        ticks.now += 31
        inventory.say = FOUND
        assert await offered(transport) == PLANNED
    assert sum("is not JSON" in line for line in caplog.messages if "127.0.0.1:" in line) == 1


async def test_a_key_that_means_nothing_is_told_of(serve, transport, inventory, asking, caplog):
    inventory.say = response(200, {"address": PLANNED, "colour\n": "red", "lease_time": 700})
    async with serve(asking()):
        reply = await ask(transport, discover(1))
    assert (reply.address, reply.options[51]) == (PLANNED, (700).to_bytes(4))
    assert r"keys of an answer that mean nothing: 'colour\n'" in caplog.text


async def test_what_was_known_counts_while_the_service_fails(serve, transport, inventory, asking, ticks):
    plugin = asking(ttl=60, stale_if_error=600)
    async with serve(plugin, explain=9) as server:
        await offered(transport)
        for octets in (response(503), response(200, b"<html>")):
            inventory.say = octets
            ticks.now += 100
            assert await offered(transport) == PLANNED
        ticks.now += 461
        assert "is not JSON" in await dropped(server, transport)
    assert plugin.counts["stale"] == 2


@pytest.mark.parametrize("control", ["max-age=60, must-revalidate", "max-age=60, stale-if-error=10", "no-store"])
async def test_unless_it_says_otherwise(serve, transport, inventory, asking, ticks, control):
    inventory.say = response(200, {"address": PLANNED}, Cache_Control=control)
    async with serve(asking(), explain=9) as server:
        await offered(transport)
        inventory.say = response(503)
        ticks.now += 71
        assert "status 503" in await dropped(server, transport)


async def test_a_service_that_fails_is_left_alone(serve, transport, inventory, asking, ticks, caplog):
    plugin = asking(ttl=1, failures=3, retry_after=5)
    async with serve(plugin, explain=9) as server:
        await offered(transport, 1)
        ticks.now += 2
        inventory.say = response(503)
        for client in (2, 3, 4):
            await dropped(server, transport, client)
        assert len(inventory.asked) == 4
        # Those whom it knew are served, others are not, and it is not asked.
        assert "left alone" in await dropped(server, transport, 5)
        assert await offered(transport, 1) == PLANNED
        assert len(inventory.asked) == 4
        for seconds in (5, 10, 20, 40, 60, 60):
            ticks.now += seconds - 0.1
            await dropped(server, transport, 5)
            asked = len(inventory.asked)
            ticks.now += 0.2
            await dropped(server, transport, 5)
            assert len(inventory.asked) == asked + 1, seconds
        inventory.say = FOUND
        ticks.now += 61
        await offered(transport, 6)
        await offered(transport, 7)
    assert f"{inventory.origin} is left alone for 5 seconds: status 503" in caplog.messages
    assert caplog.messages.count(f"{inventory.origin} answers again") == 1


async def test_only_one_tries_it_again(serve, transport, inventory, asking, ticks):
    async with serve(asking(failures=1, timeout=10), explain=9) as server:
        inventory.say = response(503)
        await dropped(server, transport, 1)
        ticks.now += 6
        inventory.hold()
        inventory.say = FOUND
        transport.deliver(discover(1))
        await until(lambda: len(inventory.asked) == 2)
        assert "left alone" in await dropped(server, transport, 2)
        inventory.go_on()
        assert (await answer(transport)).address == PLANNED


async def test_wrong_answers_alone_are_no_failure_of_the_service(serve, transport, inventory, asking):
    inventory.say = response(200, b"<html>")
    async with serve(asking(failures=1), explain=9) as server:
        await dropped(server, transport, 1)
        inventory.say = FOUND
        assert await offered(transport, 2) == PLANNED


async def test_a_service_that_is_not_there(serve, transport, inventory, asking, ticks, caplog):
    await inventory.close()
    async with serve(asking(), explain=9) as server:
        assert "can't be reached" in await dropped(server, transport)
        assert "can't be reached" in await dropped(server, transport, 2)
        ticks.now += 61
        await dropped(server, transport, 3)
        await inventory.open()
        assert await offered(transport, 4) == PLANNED
    lines = [line for line in caplog.messages if "can't be reached" in line and line.startswith("http")]
    assert len(lines) == 2
    assert lines[1].endswith("(1 more like that)")


async def test_a_fault_of_ours_is_no_end(serve, transport, asking, monkeypatch, caplog):
    plugin = asking()
    async with serve(plugin, explain=9) as server:
        monkeypatch.setattr(plugin._service, "get", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in await dropped(server, transport)
        monkeypatch.undo()
        assert await offered(transport) == PLANNED
    assert "a fault of aiodhcp" in caplog.text


# ── who asks ──


async def test_a_token_from_a_file_which_may_change(serve, transport, inventory, asking, tmp_path, caplog):
    token = tmp_path / "token"
    token.write_text("first\n")
    inventory.say = lambda asked: FOUND if asked.headers["authorization"] == "Bearer second" else response(401)
    async with serve(asking(token_file=str(token)), explain=9) as server:
        assert "status 401" in await dropped(server, transport)
        token.write_text("second")
        assert await offered(transport) == PLANNED
        token.unlink()
        inventory.say = response(401)
        await dropped(server, transport, 2)
        assert "No such file" in await dropped(server, transport, 3)
        assert "first" not in repr(server.hooks.plugins)
    assert "in the clear" in caplog.text
    assert "first" not in caplog.text
    assert "second" not in caplog.text


async def test_a_token_from_the_environment(serve, transport, inventory, asking, monkeypatch):
    monkeypatch.setenv("INVENTORY_TOKEN", "secret")
    async with serve(asking(token_variable="INVENTORY_TOKEN")):
        await offered(transport)
    assert inventory.asked[0].headers["authorization"] == "Bearer secret"


async def test_a_user_and_a_password(serve, transport, inventory, asking, tmp_path):
    (tmp_path / "password").write_text("pässword: 1\n")
    async with serve(asking(user="dhcp", password_file=str(tmp_path / "password"))):
        await offered(transport)
    kind, _, said = inventory.asked[0].headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(said).decode()) == ("Basic", "dhcp:pässword: 1")


@pytest.mark.parametrize(
    ("octets", "words"),
    [(None, "No such file"), (b"\n", "is empty"), (b"two words", "expected a token"), (b"\xff", "is not UTF-8")],
)
async def test_a_token_that_is_none_refuses_the_start(serve, asking, tmp_path, octets, words):
    if octets is not None:
        (tmp_path / "token").write_bytes(octets)
    with pytest.raises(ConfigError, match=rf"refused the start: .*token: {words}") as refused:
        async with serve(asking(token_file=str(tmp_path / "token"))):
            pass  # pragma: no cover - it does not start
    assert "two" not in str(refused.value)


async def test_a_variable_that_is_not_there_refuses_the_start(serve, asking):
    with pytest.raises(ConfigError, match="environment variable NO_SUCH_TOKEN: is empty"):
        async with serve(asking(token_variable="NO_SUCH_TOKEN")):
            pass  # pragma: no cover - it does not start


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the inventory, and of another, who certified themselves."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates")
    directory = tmp_path_factory.mktemp("certificates")
    for name, who in (("inventory", "IP:127.0.0.1"), ("other", "DNS:other.example")):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-addext", f"subjectAltName={who}")
        subprocess.run(["openssl", "req", "-x509", *curve, *files], cwd=directory, check=True, capture_output=True)
    return directory


async def test_tls_is_checked(serve, transport, certificates, ticks):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "inventory.pem", certificates / "inventory.key")
    inventory = Inventory(FOUND)
    inventory.tls = context
    async with inventory:
        url = f"{inventory.origin}/{{hardware-address}}"

        def trusting(**settings: str) -> HttpReservations:
            return HttpReservations(HttpReservations.Settings.model_validate({"url": url, **settings}), ticks)

        async with serve(trusting(ca_file=str(certificates / "inventory.pem"))):
            assert await offered(transport) == PLANNED
        for settings in ({}, {"ca_file": str(certificates / "other.pem")}):
            async with serve(trusting(**settings), explain=9) as server:
                assert "CERTIFICATE_VERIFY_FAILED" in await dropped(server, transport, 2)
        with pytest.raises(ConfigError, match=r"ca\.pem: No such file"):
            async with serve(trusting(ca_file="/nowhere/ca.pem")):
                pass  # pragma: no cover - it does not start
    assert len(inventory.asked) == 1


async def test_nothing_is_taken_from_the_environment(serve, transport, asking, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serve(asking()):
        assert await offered(transport) == PLANNED
