"""What is otherwise on Windows; run by the Python of Windows that test_windows_server.py starts."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from aiodhcp import ConfigError, ControlCode, Interface, SqliteStore, StoreError
from aiodhcp.callout import CalloutPlugin, Child, Library
from aiodhcp.exchange import Answer, Datagram
from aiodhcp.stores.sqlite import read_leases
from aiodhcp.transports.udp import UdpTransport

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="for Windows")

LOCALHOST = "127.0.0.1"


class Inbox:
    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()
        self.errors: list[Exception] = []
        self.reply = lambda datagram: None

    def datagrams_received(self, datagrams: list[Datagram]) -> None:
        for each in datagrams:
            self.got.put_nowait(each.data)
            self.reply(each)

    def error_received(self, error: Exception) -> None:
        self.errors.append(error)

    async def next(self) -> bytes:
        async with asyncio.timeout(3):
            return await self.got.get()


# the store


async def test_one_server_at_a_time_has_a_store(tmp_path: Path) -> None:
    one, other = SqliteStore(tmp_path / "leases.db"), SqliteStore(tmp_path / "leases.db")
    await one.load()
    with pytest.raises(StoreError, match=rf"in use by another server \(process {os.getpid()}\)"):
        await other.load()
    assert read_leases(tmp_path / "leases.db") == []
    await one.close()
    await other.load()
    await other.close()


# the socket


@pytest.mark.parametrize("kind", [asyncio.ProactorEventLoop, asyncio.SelectorEventLoop])
def test_a_datagram_that_is_too_long_ends_nothing(kind: type[asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        transport, inbox = UdpTransport(port=0), Inbox()
        await transport.open(inbox)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for data in (b"before", bytes(4096), bytes(9000), b"behind"):
                sock.sendto(data, (LOCALHOST, transport.port))
            assert await inbox.next() == b"before"
            assert await inbox.next() == bytes(4096)
            assert await inbox.next() == b"behind"
        assert len(inbox.errors) == transport.receive_errors == 1
        await transport.close()

    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(main())


@pytest.mark.parametrize("kind", [asyncio.ProactorEventLoop, asyncio.SelectorEventLoop])
def test_a_client_that_went_away_ends_nothing(kind: type[asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        transport, inbox = UdpTransport(port=0), Inbox()
        await transport.open(inbox)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind((LOCALHOST, 0))
            port = gone.getsockname()[1]
        request = Datagram(b"", Interface("udp"), 0x7F000001, port)
        transport.send([Answer(b"nobody is there", request, 0x7F000001, port)])
        await asyncio.sleep(0.2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"next", (LOCALHOST, transport.port))
            assert await inbox.next() == b"next"
        await transport.close()

    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(main())


# callouts


@pytest.fixture
def dlls() -> Path:
    directory = os.environ.get("CALLOUT_LIBRARIES")
    if not directory:
        pytest.skip("CALLOUT_LIBRARIES doesn't say where the DLLs are")
    return Path(directory)


@pytest.mark.parametrize("name", ["logger", "mac_filter"])
def test_a_dll_is_loaded_and_unloaded(dlls: Path, name: str) -> None:
    library = Library(dlls / f"{name}.dll")
    plugin = CalloutPlugin(library)
    assert plugin.name == name
    assert "dhcp_new_pkt" in library.hooks
    library.control(ControlCode.START)
    library.control(ControlCode.STOP)


def test_a_dll_is_loaded_in_a_process_of_its_own(dlls: Path) -> None:
    child = Child(dlls / "logger.dll", deadline=20.0, control_timeout=20.0, patience=60.0)
    assert "dhcp_new_pkt" in child.hooks
    child.close()


def test_a_dll_of_the_system_is_no_callout() -> None:
    with pytest.raises(ConfigError, match="it is no callout"):
        Library(r"C:\windows\system32\ws2_32.dll")


def test_a_file_that_is_no_dll(tmp_path: Path) -> None:
    (tmp_path / "text.dll").write_text("text")
    with pytest.raises(ConfigError, match=r"no library of this system|can't be loaded"):
        Library(tmp_path / "text.dll")
