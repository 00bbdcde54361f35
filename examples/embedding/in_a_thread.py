"""A DHCP server for a program that is not asynchronous: in a thread with a loop of its own; start, ask, stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from dhcp_client import obtain

from aiodhcp import Config, DhcpServer, Lease, MemoryStore, Subnet, UdpTransport

T = TypeVar("T")


class ThreadedServer:
    """Runs what ``make`` makes, from ``with`` to its end. What the server raises at its start is raised there."""

    def __init__(self, make: Callable[[], DhcpServer]) -> None:
        self._make = make
        self._started: Future[tuple[DhcpServer, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="dhcp")

    async def _serve(self) -> None:
        stop = asyncio.Event()
        try:
            async with self._make() as server:
                self._started.set_result((server, asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    def __enter__(self) -> ThreadedServer:
        self._thread.start()
        self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _, loop, stop = self._started.result()
        loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def ask(self, question: Callable[[DhcpServer], Coroutine[Any, Any, T]]) -> T:
        """What a coroutine returns that is run beside the server. Nothing else may touch the server: it is no more made
        for several threads than the rest of asyncio.
        """
        server, loop, _ = self._started.result()
        return asyncio.run_coroutine_threadsafe(question(server), loop).result()


async def leases(server: DhcpServer) -> list[Lease]:
    return list(server.leases)


def main() -> None:
    transport = UdpTransport("127.0.0.1", 0)
    subnet = Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"], interfaces=["udp"])
    config = Config([subnet], server_id="192.0.2.1")
    with ThreadedServer(lambda: DhcpServer(config, store=MemoryStore(), transport=transport)) as dhcp:
        obtain(transport.port, 1)
        (lease,) = dhcp.ask(leases)
        print("given:", lease.ip)
        dhcp.ask(lambda server: server.delete_lease(lease.address))
        (lease,) = dhcp.ask(leases)
        print("now:", lease.state.name.lower())
    print("stopped")


if __name__ == "__main__":
    main()
