"""The examples of embedding, run as a reader would run them. What Python has to complain of is an error."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO

import pytest
from test_stores import STRANGE, a_lease, leases

from aiodhcp import Lease, StoreError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "embedding"
STRICT = [sys.executable, "-W", "error"]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module(request.param)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fifty_servers", "50 servers, 100 leases\nall stopped\n"),
        ("own_store", "known:\ngiven: 192.0.2.10\nknown: 192.0.2.10\ngiven: 192.0.2.10\n"),
        ("in_a_thread", "given: 192.0.2.10\nnow: released\nstopped\n"),
        ("task_group", "ended: the link is down\nserver: stopped\nleases: 20\n"),
    ],
)
def test_an_example_runs(name: str, said: str) -> None:
    ended = subprocess.run([*STRICT, EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == (said, "", 0)


def test_every_example_is_in_the_docs_and_run_here() -> None:
    page = (EXAMPLES.parent.parent / "docs" / "embedding.md").read_text()
    tests = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"examples/embedding/{path.name})" in page
        assert path.stem == "dhcp_client" or path.stem in tests


# ── the web application ──────────────────────────────────────────────────────────────────────────────────────────


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def serving_the_web(port: int, dhcp_port: int) -> Iterator[subprocess.Popen[str]]:
    command = [*STRICT, str(EXAMPLES / "web_app.py"), str(port), str(dhcp_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def connected(process: subprocess.Popen[str], web: http.client.HTTPConnection) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return web.connect()
        except ConnectionRefusedError:
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)


def listed(web: http.client.HTTPConnection) -> list[tuple[str, str]]:
    web.request("GET", "/leases")
    return [(each["address"], each["hardware_address"]) for each in json.load(web.getresponse())]


def told(lines: IO[bytes]) -> dict[str, str]:
    """The next server-sent event."""
    event: dict[str, str] = {}
    for line in lines:
        if line == b"\n" and event:
            return event
        key, _, value = line.decode().strip().partition(": ")
        if key:
            event[key] = value
    raise AssertionError("the stream has ended")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for a child")
@pytest.mark.parametrize("example", ["dhcp_client"], indirect=True)
def test_the_web_application(example: ModuleType) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    port, dhcp_port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    with ExitStack() as opened:

        def connection() -> http.client.HTTPConnection:
            return opened.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)))

        def events(query: str) -> http.client.HTTPResponse:
            stream = connection()
            stream.request("GET", f"/events{query}")
            response = opened.enter_context(stream.getresponse())
            assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
            assert response.readline() == b": hello\n"
            return response

        web = connection()
        process = opened.enter_context(serving_the_web(port, dhcp_port))
        connected(process, web)
        assert listed(web) == []
        live, billing = events(""), events("?cursor=billing")
        example.obtain(dhcp_port, 1)
        assert listed(web) == [("192.0.2.10", "02:00:00:00:00:01")]
        for response in (live, billing):
            event = told(response)
            assert (event["id"], event["event"]) == ("1", "granted")
            assert json.loads(event["data"])["lease"]["address"] == "192.0.2.10"
        # One goes, and the server goes on; the other is there when it ends.
        live.close()
        example.obtain(dhcp_port, 2)
        assert told(billing)["id"] == "2"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
        assert "Application shutdown complete" in said, said
        assert "Traceback" not in said, said
        assert "Warning" not in said, said
        assert process.returncode == 0


# ── the store, beyond the contract that test_stores.py has ───────────────────────────────────────────────────────


@pytest.mark.parametrize("example", ["own_store"], indirect=True)
async def test_a_line_that_is_cut_short_is_not_there(example: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "leases.jsonl"
    store = example.JsonLinesStore(path)
    await store.load()
    await store.commit(leases(3))
    await store.commit(STRANGE)
    whole = path.read_bytes()
    for cut in (1, 50, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        store = example.JsonLinesStore(path)
        assert sorted(await store.load()) == leases(3)
        await store.commit([a_lease(9)])
        assert sorted(await example.JsonLinesStore(path).load()) == [*leases(3), a_lease(9)]


@pytest.mark.parametrize("example", ["own_store"], indirect=True)
async def test_a_commit_that_fails_leaves_nothing(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "leases.jsonl"
    store = example.JsonLinesStore(path)
    await store.load()
    await store.commit(leases(2))

    def full(_: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="disk full"):
            await store.commit(leases(1, 7))
    await store.commit(leases(1, 2))
    assert sorted(await example.JsonLinesStore(path).load()) == leases(3)
    path.write_text("lease 192.0.2.10 {\n}\n")
    with pytest.raises(StoreError, match="is damaged"):
        await example.JsonLinesStore(path).load()


@pytest.mark.parametrize("example", ["own_store"], indirect=True)
async def test_what_an_older_version_wrote_is_read(example: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "leases.jsonl"
    now = STRANGE[2]
    row = example.as_row(now)
    older = {name: row[name] for name in Lease._fields if name not in Lease._field_defaults}
    path.write_text(json.dumps([older]) + "\n")
    defaults = dict(Lease._field_defaults)
    assert list(await example.JsonLinesStore(path).load()) == [now._replace(**defaults)]


@pytest.mark.parametrize("example", ["in_a_thread"], indirect=True)
def test_a_server_in_a_thread_that_can_not_start(example: ModuleType) -> None:
    def make() -> None:
        raise StoreError("held by another server")

    with pytest.raises(StoreError, match="held by another server"), example.ThreadedServer(make):
        raise AssertionError
