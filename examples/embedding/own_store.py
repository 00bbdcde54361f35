"""A lease store of one's own: a file to which each commit appends a line of JSON, with an fsync."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from dhcp_client import obtain

from aiodhcp import Config, DhcpServer, Lease, LeaseState, StoreError, Subnet, UdpTransport

OCTETS = ("client", "chaddr", "relay_agent", "nonce")


class JsonLinesStore:
    """A line is a commit: it is there as a whole or, where a crash has cut it short, not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0

    async def load(self) -> Iterable[Lease]:
        return await asyncio.to_thread(self._load)

    async def commit(self, changes: Sequence[Lease]) -> Sequence[Lease]:
        await asyncio.to_thread(self._append, as_line(changes))
        return ()

    async def close(self) -> None:
        pass

    def _load(self) -> list[Lease]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        *lines, _ = self.path.read_bytes().split(b"\n") if self.path.exists() else [b""]
        try:
            leases = {row["address"]: from_row(row) for line in lines for row in json.loads(line)}
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{self.path}: is damaged: {error}") from error
        # What was overwritten since is left out from now on.
        line = as_line(leases.values())
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            write(file, line)
        new.replace(self.path)
        sync_directory(self.path.parent)
        self.size = len(line)
        return list(leases.values())

    def _append(self, line: bytes) -> None:
        with self.path.open("r+b") as file:
            # What a commit that failed has left behind is written over.
            file.truncate(self.size)
            file.seek(self.size)
            write(file, line)
        self.size += len(line)


def write(file: BinaryIO, line: bytes) -> None:
    file.write(line)
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """The name of a file is in its directory."""
    if os.name == "posix":
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def as_line(leases: Iterable[Lease]) -> bytes:
    return json.dumps([as_row(lease) for lease in leases]).encode() + b"\n"


def as_row(lease: Lease) -> dict[str, Any]:
    row = lease._asdict()
    return row | {name: row[name].hex() for name in OCTETS if row[name] is not None}


def from_row(row: dict[str, Any]) -> Lease:
    """Fields that an older version didn't know have defaults."""
    octets = {name: bytes.fromhex(row[name]) for name in OCTETS if row.get(name) is not None}
    return Lease(**row | octets | {"state": LeaseState(row["state"])})


async def main() -> None:
    with TemporaryDirectory() as directory:
        for _ in range(2):
            transport = UdpTransport("127.0.0.1", 0)
            subnet = Subnet("192.0.2.0/24", ["192.0.2.10-192.0.2.99"], interfaces=["udp"])
            store = JsonLinesStore(Path(directory) / "leases.jsonl")
            async with DhcpServer(Config([subnet], server_id="192.0.2.1"), store=store, transport=transport) as server:
                print("known:", *(lease.ip for lease in server.leases))
                ack = await asyncio.to_thread(obtain, transport.port, 1)
                (lease,) = server.leases
                assert lease.address == ack.yiaddr
                print("given:", lease.ip)


if __name__ == "__main__":
    asyncio.run(main())
