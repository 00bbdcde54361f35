"""Lease files with many leases, made through aiodhcp's own store and kept under build/ for the next run."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from serverkit import BUILD

MAC = 0x02_1E_A5_00_00_00
"""The hardware address of the load generator's first client, where a server has leases beforehand."""
LASTING = 14 * 86_400  # seconds that the leases last, in which a file can be used again
_AT_ONCE = 10_000


def hardware_address(client: int, base: int = MAC) -> bytes:
    """The hardware address of the load generator's clients: ``write_mac`` in loadgen_packets.h."""
    return (base & ~0xFFFF_FFFF | (base + client * 0x9E37_79B1) & 0xFFFF_FFFF).to_bytes(6, "big")


async def _write(path: Path, count: int, first: int) -> None:
    from aiodhcp.leases import Lease, LeaseState
    from aiodhcp.stores.sqlite import SqliteStore

    store = SqliteStore(path)
    await store.load()
    starts = int(time.time()) - 1800
    for begin in range(0, count, _AT_ONCE):
        leases = [
            Lease(
                address=first + client,
                client=b"\1" + hardware_address(client),
                htype=1,
                chaddr=hardware_address(client),
                state=LeaseState.ACTIVE,
                starts=starts + client % 1800,
                expires=starts + LASTING + client % 3600,
            )
            for client in range(begin, min(begin + _AT_ONCE, count))
        ]
        refused = await store.commit(leases)
        if refused:
            raise RuntimeError(f"the store refused {len(refused)} leases")
    await store.close()


def _key(count: int, first: int) -> str:
    """Changes with the parameters, and with the code that writes the file."""
    import aiodhcp

    package = Path(aiodhcp.__file__).parent
    digest = hashlib.sha256(f"{count} {first} {MAC} {LASTING}".encode())
    for source in (Path(__file__), package / "leases.py", *sorted((package / "stores").glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def lease_file(count: int, first: IPv4Address) -> Path:
    """A directory with the store's files: leases of the generator's first ``count`` clients, one address after the
    other from ``first`` on, that last for two weeks. Made if it isn't there or half of that is over."""
    made = BUILD / f"leases-{count}-{_key(count, int(first))}"
    if made.exists() and time.time() - made.stat().st_mtime < LASTING / 2:
        return made
    for old in BUILD.glob(f"leases-{count}-*"):
        shutil.rmtree(old)
    half = made.with_suffix(".new")
    half.mkdir(parents=True)
    # In a process of its own: a million leases would stay in the memory of this one.
    subprocess.run([sys.executable, __file__, str(half / "leases.sqlite"), str(count), str(int(first))], check=True)
    (half / "leases.sqlite.lock").unlink(missing_ok=True)
    return half.rename(made)


def copy_leases(count: int, first: IPv4Address, directory: Path) -> None:
    """Put such a lease file into a server's directory, and on the disk: the server's fsyncs shall not pay for it."""
    if not count:
        return
    source = lease_file(count, first)
    copied = []
    for path in source.iterdir():
        subprocess.run(["cp", "--reflink=auto", str(path), str(directory)], check=True)
        copied.append(str(directory / path.name))
    subprocess.run(["sync", *copied], check=True)


if __name__ == "__main__":
    asyncio.run(_write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
