"""prometheus: what the server counts, asked for by HTTP and found in a file."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from aiodhcp_plugins import scrapes
from aiodhcp_plugins.audit_log import AuditLog
from aiodhcp_plugins.lease_events import LeaseEvents
from aiodhcp_plugins.prometheus import Prometheus
from aiodhcp_plugins.scripts import Scripts
from aiodhcp_plugins.webhook import Webhook
from plugin_kit import broken, plugin
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from server_kit import Waiting, clock, quick, serve, store, transport  # noqa: F401 - some are fixtures
from wire import NAK, OFFER, ask, config, decline, discover, lease, message, release, renew, request, until

from aiodhcp import Config, ConfigError, ControlCode, DhcpServer, PoolUsage, Subnet, hookimpl
from aiodhcp.hooks import Hooks


def make(**settings: object) -> Prometheus:
    return Prometheus(Prometheus.Settings.model_validate({"port": 0, **settings}))


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def send(shown: Prometheus, octets: bytes) -> Response:
    """A request as octets, and what comes back until the server closes."""
    host = shown.settings.address
    reader, writer = await asyncio.open_connection("::1" if host == "::" else host, shown.listener.port)
    try:
        writer.write(octets)
        async with asyncio.timeout(10):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    if body:
        assert int(headers["content-length"]) == len(body)
    return Response(int(first.split()[1]), headers, body)


async def get(shown: Prometheus, target: str = "/metrics", *headers: str, method: str = "GET") -> Response:
    return await send(shown, "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode())


Values = dict[str, float]


def values(text: str) -> Values:
    """Names with labels → values: ``aiodhcp_messages_sent_total type=ACK``."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type != "unknown"
        for sample in family.samples:
            labels = (f"{name}={value}" for name, value in sorted(sample.labels.items()) if value)
            key = " ".join([sample.name, *labels])
            assert key not in found, "two of the same name and labels: Prometheus would take none"
            found[key] = sample.value
    return found


async def scrape(shown: Prometheus) -> Values:
    response = await get(shown)
    assert (response.status, response.headers["content-type"][:10]) == (200, "text/plain")
    return values(response.body.decode())


def subnet_addresses(found: Values, subnet: str) -> dict[str, float]:
    """By state."""
    beginning = "aiodhcp_subnet_addresses state="
    return {
        key.removeprefix(beginning).split()[0]: value
        for key, value in found.items()
        if key.startswith(beginning) and f"subnet={subnet}" in key.split()
    }


# ── the numbers ──


async def test_messages_leases_and_addresses(serve, transport):
    shown = make()
    async with serve(shown) as server:
        address = await lease(transport, 1)
        await ask(transport, renew(1, address))
        await lease(transport, 2)
        await ask(transport, discover(3))
        transport.deliver(release(1, address))
        await until(lambda: not server.health.uncommitted and not server.health.in_flight)
        found = await scrape(shown)
    assert found["aiodhcp_messages_received_total type=DISCOVER"] == 3
    assert found["aiodhcp_messages_received_total type=REQUEST"] == 3
    assert found["aiodhcp_messages_received_total type=INFORM"] == 0
    assert found["aiodhcp_messages_sent_total type=OFFER"] == 3
    assert found["aiodhcp_messages_sent_total type=ACK"] == 3
    assert found["aiodhcp_lease_events_total event=given"] == 2
    assert found["aiodhcp_lease_events_total event=renewed"] == 1
    assert found["aiodhcp_lease_events_total event=released"] == 1
    assert found["aiodhcp_leases"] == 2
    assert found["aiodhcp_packets_in_flight"] == 0
    # The address that was released is the one that is offered to nobody now.
    states = {"in_use": 1, "offered": 1, "declined": 0, "reserved": 0, "free": 88}
    assert subnet_addresses(found, "192.0.2.0/24") == states


async def test_leases_that_are_refused_declined_and_over(serve, transport, clock):
    shown = make()
    async with serve(shown) as server:
        assert (await ask(transport, request(1, "198.51.100.1"))).kind == NAK
        transport.deliver(decline(2, await lease(transport, 2)))
        await lease(transport, 3)
        await until(lambda: not server.health.uncommitted)
        assert subnet_addresses(await scrape(shown), "192.0.2.0/24")["declined"] == 1
        clock.now += 10 * 86400
        await until(lambda: shown._tally.events["expired"])
        found = await scrape(shown)
    for event in ("refused", "declined", "expired", "recovered"):
        assert found[f"aiodhcp_lease_events_total event={event}"] == 1
    assert subnet_addresses(found, "192.0.2.0/24")["free"] == 90


async def test_drops_and_messages_of_no_type_that_is_known(serve, transport):
    shown = make()
    async with serve(shown, plugin(dhcp_new_pkt=broken)) as server:
        transport.deliver(b"nonsense")
        for kind in range(100, 200):
            transport.deliver(message(kind, kind))
        await until(lambda: server.engine.received.total() == 100 and not server.health.in_flight)
        found = await scrape(shown)
    assert found["aiodhcp_packets_dropped_total reason=INVALID"] == 101
    assert found["aiodhcp_packets_dropped_total reason=NOMEM"] == 0
    assert found["aiodhcp_messages_received_total type=unknown"] == 100
    assert sum(key.startswith("aiodhcp_messages_received") for key in found) == 6
    # Ten failures open the circuit of the hook.
    assert found["aiodhcp_hook_errors_total hook=dhcp_new_pkt plugin=plugin"] == 10
    assert found["aiodhcp_hook_skipped_total hook=dhcp_new_pkt plugin=plugin"] == 90
    assert found["aiodhcp_hook_working hook=dhcp_new_pkt plugin=plugin"] == 0
    assert found["aiodhcp_hook_duration_seconds_count hook=dhcp_new_pkt plugin=plugin"] == 10
    assert found["aiodhcp_hook_duration_seconds_bucket hook=dhcp_new_pkt le=+Inf plugin=plugin"] == 10


async def test_a_packet_that_waits_is_in_flight(serve, transport):
    shown, waiting = make(), Waiting(1)
    async with serve(shown, waiting):
        transport.deliver(discover(1))
        assert (await scrape(shown))["aiodhcp_packets_in_flight"] == 1
        waiting.held[1].set()


async def test_commits(serve, transport, store, quick):
    shown = make()
    async with serve(shown) as server:
        await lease(transport, 1)
        store.error = OSError("disk full")
        transport.deliver(request(2, (await ask(transport, discover(2))).yiaddr))
        await until(lambda: server.commit_metrics.failures)
        found = await scrape(shown)
        assert found["aiodhcp_status status=degraded"] == 1
        assert found["aiodhcp_status status=ok"] == 0
        assert found["aiodhcp_uncommitted_changes"] == 1
        store.error = None
        await until(lambda: server.health.status == "ok")
        found = await scrape(shown)
    assert found["aiodhcp_status status=ok"] == 1
    assert found["aiodhcp_commit_failures_total"] == server.commit_metrics.failures
    assert found["aiodhcp_commit_duration_seconds_count"] == found["aiodhcp_commit_leases_sum"] == 2
    assert found["aiodhcp_commit_leases_bucket le=1.0"] == 2
    assert 0 < found["aiodhcp_commit_duration_seconds_sum"] < 10


async def test_subnets_and_their_shared_network(serve):
    shown = make()
    subnets = [
        Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.19"], shared_network="floor 1"),
        Subnet("198.51.100.0/24", ["198.51.100.16/28", "198.51.100.32/28"]),
    ]
    async with serve(shown, config=Config(subnets)):
        found = await scrape(shown)
    assert found["aiodhcp_subnet_addresses shared_network=floor 1 state=free subnet=192.0.2.0/24"] == 10
    assert found["aiodhcp_subnet_addresses state=free subnet=198.51.100.0/24"] == 32


async def test_without_subnets(serve):
    shown = make(subnets=False)
    async with serve(shown) as server:
        found = await scrape(shown)
        assert server.engine.addresses._usage is None  # nobody asked, so nothing is counted
    assert not subnet_addresses(found, "192.0.2.0/24")


async def test_what_a_plugin_counts_by_itself(serve):
    shown, other = make(), plugin("guard", dhcp_new_pkt=lambda: None)
    other.counts = {"let in": 3, "words": "no number"} | {f"kind {at}": at for at in range(200)}
    async with serve(shown, other):
        found = await scrape(shown)
    assert found["aiodhcp_plugin_events_total event=let in plugin=guard"] == 3
    assert sum(key.startswith("aiodhcp_plugin_events_total") for key in found) == 100


async def test_what_the_other_plugins_count(serve, transport, tmp_path):
    shown = make()
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    others = [
        AuditLog(AuditLog.Settings(directory=tmp_path / "audit")),
        LeaseEvents(LeaseEvents.Settings(command=["true"])),
        Scripts(Scripts.Settings(script=script, form="kea")),
        Webhook(Webhook.Settings(url="http://127.0.0.1:9/", outbox=tmp_path / "outbox", stop_timeout=0)),
    ]
    async with serve(shown, *others):
        await lease(transport, 1)
        await until(lambda: all(sum(each.counts.values()) for each in others[1:]))
        found = await scrape(shown)
    assert found["aiodhcp_plugin_events_total event=lost plugin=audit-log"] == 0
    assert found["aiodhcp_plugin_events_total event=ran plugin=lease-events"] == 1
    assert found["aiodhcp_plugin_events_total event=failed plugin=scripts"] == 1
    assert found["aiodhcp_plugin_events_total event=failed plugin=webhook"] >= 1
    assert found["aiodhcp_plugin_events_total event=delivered plugin=webhook"] == 0


async def test_how_late_the_event_loop_is(serve, monkeypatch):
    monkeypatch.setattr("aiodhcp_plugins.prometheus.BEAT", 0.001)
    shown = make()
    async with serve(shown):
        time.sleep(0.02)  # noqa: ASYNC251 - it blocks, that is the point
        await until(lambda: sum(shown._tally.delays) > 1)
        found = await scrape(shown)
    assert found["aiodhcp_event_loop_delay_seconds_sum"] > 0.015
    late = (
        found["aiodhcp_event_loop_delay_seconds_count"] - found["aiodhcp_event_loop_delay_seconds_bucket le=0.016384"]
    )
    assert late >= 1


async def test_the_program_and_the_process(serve):
    shown = make()
    async with serve(shown):
        found = await scrape(shown)
    (info,) = [key for key in found if key.startswith("aiodhcp_build_info")]
    assert "version=0." in info
    assert f"python={sys.version_info.major}.{sys.version_info.minor}" in info
    assert found["process_resident_memory_bytes"] > 1e6


async def test_names_are_as_prometheus_wants_them(serve, transport):
    shown = make()
    async with serve(shown):
        await lease(transport, 1)
        body = (await get(shown)).body
    for family in text_string_to_metric_families(body.decode()):
        assert family.name.startswith(("aiodhcp_", "process_"))
        for sample in family.samples:
            assert sample.name.endswith("_total") or family.type != "counter"
            assert "addr" not in "".join(sample.labels)
            assert "02:00" not in "".join(sample.labels.values())  # nothing of a client
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, of Debian's package prometheus, is not installed")
    command = [promtool, "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, command, input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


# ── HTTP ──


async def test_openmetrics_for_those_who_ask(serve):
    shown = make()
    async with serve(shown):
        response = await get(shown, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {each.name for each in openmetrics.text_string_to_metric_families(response.body.decode())}
    assert {"aiodhcp_messages_received", "aiodhcp_build", "aiodhcp_commit_duration_seconds"} <= families


async def test_compressed_for_those_who_ask(serve):
    shown = make()
    async with serve(shown):
        response = await get(shown, "/metrics?name=x", "Accept-Encoding: deflate, gzip")
    assert response.headers["content-encoding"] == "gzip"
    assert values(gzip.decompress(response.body).decode())["aiodhcp_status status=ok"] == 1


async def test_the_head_only(serve):
    shown = make()
    async with serve(shown):
        response = await get(shown, method="HEAD")
    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["content-length"]) > 1000


@pytest.mark.parametrize(
    ("octets", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404, b"/metrics"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405, b"GET"),
        (b"GET /metrics\r\n\r\n", 400, b"HTTP/1.1"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, b"HTTP/1.1"),
        (b"GET /metrics HTTP/1.1\r\nX: " + 9000 * b"x" + b"\r\n\r\n", 400, b"8192"),
    ],
)
async def test_what_is_no_such_request(serve, octets, status, words):
    shown = make()
    async with serve(shown):
        response = await send(shown, octets)
    assert response.status == status
    assert words in response.body


async def test_who_says_nothing_is_not_waited_for(serve, monkeypatch):
    monkeypatch.setattr(scrapes, "PATIENCE", 0.01)
    shown = make()
    async with serve(shown):
        assert (await send(shown, b"GET /met")).status == 408


async def test_who_goes_away(serve):
    shown = make()
    async with serve(shown):
        _, writer = await asyncio.open_connection("127.0.0.1", shown.listener.port)
        writer.write(b"GET")
        writer.close()
        await until(lambda: not shown.listener._conversations)
        assert (await get(shown)).status == 200


async def test_so_many_at_a_time_and_no_more(serve, monkeypatch):
    monkeypatch.setattr(scrapes, "MOST_CONNECTIONS", 1)
    shown = make()
    async with serve(shown):
        _, writer = await asyncio.open_connection("127.0.0.1", shown.listener.port)
        await until(lambda: shown.listener._conversations)
        assert (await get(shown)).status == 503
        writer.close()
        await until(lambda: not shown.listener._conversations)
        assert (await get(shown)).status == 200


async def test_numbers_that_can_not_be_had(serve, monkeypatch, caplog):
    shown = make()
    async with serve(shown) as server:
        monkeypatch.setattr(type(server), "usages", lambda _: 1 / 0)
        assert (await get(shown)).status == 500
        assert "a fault of aiodhcp" in caplog.text
        monkeypatch.undo()
        assert (await get(shown)).status == 200


@pytest.mark.parametrize("address", ["::1", "::"])
async def test_ipv6(serve, address):
    try:
        socket.create_server((address, 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    shown = make(address=address)
    async with serve(shown):
        assert shown.listener.place.startswith("[")
        assert (await get(shown)).status == 200
        if address == "::":
            _, writer = await asyncio.open_connection("127.0.0.1", shown.listener.port)
            writer.close()


async def test_a_port_that_somebody_has_refuses_the_start(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = f"plugin prometheus refused the start: can't listen on 127.0.0.1 port {port}: Address already in use"
        with pytest.raises(ConfigError, match=words):
            async with serve(make(port=port)):
                pass  # pragma: no cover - it does not start


# ── reload ──


async def test_a_reload_keeps_the_port_and_the_counts(serve, transport):
    before = make()
    async with serve(before) as server:
        await lease(transport, 1)
        port = before.listener.port
        after = make()
        await server.reload(plugins=[after])
        assert (before.listener.port, after.listener.port) == (0, port)
        await lease(transport, 2)
        found = await scrape(after)
        assert found["aiodhcp_lease_events_total event=given"] == 2
        assert found["aiodhcp_messages_received_total type=DISCOVER"] == 2


async def test_a_reload_that_is_refused_changes_nothing(serve, tmp_path):
    class Refuses:
        @hookimpl
        def dhcp_control(self, code: ControlCode) -> None:
            if code is ControlCode.START:
                raise ValueError("not now")

    textfile = str(tmp_path / "a.prom")
    before = make(textfile=textfile)
    async with serve(before) as server:
        with pytest.raises(ConfigError, match="not now"):
            await server.reload(plugins=[make(textfile=textfile), Refuses()])
        assert (await get(before)).status == 200
        assert (tmp_path / "a.prom").exists()


async def test_a_server_that_starts_again(transport, clock, store):
    shown = make()
    server = DhcpServer(config(), store=store, transport=transport, plugins=[shown], clock=clock)
    for given in (1, 2):
        async with server:
            await lease(transport, given)
            assert (await scrape(shown))["aiodhcp_lease_events_total event=given"] == given


# ── the file ──


@pytest.fixture
def textfile(tmp_path: Path) -> Callable[..., Prometheus]:
    return lambda **more: make(address="", textfile=str(tmp_path / "aiodhcp.prom"), **more)


async def test_the_file_is_written_again_and_gone_at_the_end(serve, transport, textfile, tmp_path):
    file = tmp_path / "aiodhcp.prom"
    async with serve(textfile(interval=0.01)):
        assert values(file.read_text())["aiodhcp_lease_events_total event=given"] == 0
        await lease(transport, 1)
        await until(lambda: values(file.read_text())["aiodhcp_lease_events_total event=given"] == 1)
        # The node exporter has its own, and refuses to show both.
        assert "process_" not in file.read_text()
        (tmp_path / "another").touch()
        assert file.stat().st_mode == (tmp_path / "another").stat().st_mode
    (tmp_path / "another").unlink()
    assert list(tmp_path.iterdir()) == []


async def test_a_reload_keeps_the_file(serve, textfile, tmp_path):
    async with serve(textfile()) as server:
        await server.reload(plugins=[textfile()])
        assert (tmp_path / "aiodhcp.prom").exists()


async def test_a_file_that_can_not_be_written_refuses_the_start(serve):
    with pytest.raises(ConfigError, match=r"refused the start: /nowhere/a.prom: No such file or directory"):
        async with serve(make(textfile="/nowhere/a.prom")):
            pass  # pragma: no cover - it does not start


async def test_a_file_that_can_not_be_written_later_is_told_of_once(serve, tmp_path, caplog):
    directory = tmp_path / "in"
    directory.mkdir()
    async with serve(make(address="", textfile=str(directory / "a.prom"), interval=0.01)):
        directory.rename(tmp_path / "out")
        await until(lambda: "can't be written" in caplog.text)
        (tmp_path / "out").rename(directory)
        await until(lambda: "can be written again" in caplog.text)
    assert sum("can't be written" in line for line in caplog.messages) == 1


# ── settings ──


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"address": "localhost"}, "expected an address like '127.0.0.1' or '::'"),
        ({"address": ""}, "there is no textfile either"),
        ({"port": 65536}, "port"),
        ({"textfile": "metrics.txt"}, r"ends in \.prom"),
        ({"interval": 0}, "interval"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        make(**wrong)


def test_without_prometheus_client(monkeypatch):
    import aiodhcp_plugins

    monkeypatch.delitem(sys.modules, "aiodhcp_plugins.exposition", raising=False)
    monkeypatch.delattr(aiodhcp_plugins, "exposition", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'aiodhcp\[prometheus\]'"):
        make()


def test_it_costs_a_discover_nothing():
    assert not {"dhcp_new_pkt", "dhcp_handle_options", "dhcp_pkt_send", "dhcp_pkt_drop", "leases_committed"} & {
        each.hook for each in Hooks([make()]).implementations
    }


async def test_the_usages_of_a_server(serve, transport):
    async with serve() as server:
        (subnet,) = server.config.subnets
        assert (await ask(transport, discover(1))).kind == OFFER
        assert server.usages() == {subnet: PoolUsage(90, 0, 1, 0, 0)}
