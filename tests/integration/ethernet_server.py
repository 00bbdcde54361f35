"""The ethernet transport in a host of its own: tells what it receives, answers as the request says."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from typing import Any

import dpkt
from namespaces import Host

from aiodhcp.transports.frame import build_frame

SERVER = """
import asyncio, json, sys, warnings
from aiodhcp.errors import ConfigError
from aiodhcp.exchange import Answer
from aiodhcp.transports.ethernet import EthernetTransport

warnings.simplefilter("error")
options = json.loads(sys.argv[1])
transport = EthernetTransport(**options)


def tell(**event):
    print(json.dumps(event), flush=True)


class Receiver:
    def datagrams_received(self, datagrams):
        for it in datagrams:
            message = json.loads(it.data)
            tell(
                message=message["message"], interface=it.interface.name, addresses=it.interface.addresses,
                index=it.interface.index, known=it.interface in transport.interfaces, source=it.source,
                source_port=it.source_port, destination=it.destination,
            )
            if answer := message.get("answer"):
                data = b"answer to " + message["message"].encode()
                hardware = answer.get("hardware")
                transport.send([Answer(
                    data.ljust(answer.get("size", 300), b"."), it, answer["destination"], answer.get("port", 68),
                    bytes.fromhex(hardware) if hardware else None, answer.get("source", 0),
                )])

    def error_received(self, error):
        tell(error=str(error))


async def main():
    try:
        await transport.open(Receiver())
    except (ConfigError, OSError) as error:
        tell(refused=str(error), kind=type(error).__name__)
        return
    tell(ready=[[it.name, it.addresses] for it in transport.interfaces])
    done = asyncio.Event()

    def command():
        if sys.stdin.readline():
            tell(send_errors=transport.send_errors, receive_errors=transport.receive_errors,
                 interfaces=[[it.name, it.addresses, it.index] for it in transport.interfaces])
        else:
            done.set()

    asyncio.get_running_loop().add_reader(0, command)
    await done.wait()
    await transport.close()
    await transport.close()
    tell(closed=True)


asyncio.run(main(), debug=False)
"""

SEND_FRAME = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
    sock.bind((sys.argv[1], 0))
    for frame in sys.argv[2:]:
        sock.send(bytes.fromhex(frame))
"""

BROADCAST = 0xFFFFFFFF
ALL = b"\xff" * 6
PATIENCE = 20.0
"""Seconds that an event may take. Far more than it needs: the machine may be busy."""


class Server:
    """The transport in a host, and what it tells."""

    def __init__(self, host: Host, *interfaces: str, prefix: tuple[str, ...] = (), **options: Any) -> None:
        settings = json.dumps({"interfaces": interfaces, "check_every": 0.1, **options})
        self.process = host.popen(
            [*prefix, sys.executable, "-c", SERVER, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.opened = self.next()

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # the network ended and closed the pipe
            for line in self.process.stdout or ():
                self._events.put(json.loads(line))

    def next(self, timeout: float = PATIENCE) -> dict[str, Any]:
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the server told nothing within {timeout} s") from None

    def quiet(self, seconds: float = 0.3) -> bool:
        try:
            print(self._events.get(timeout=seconds))
        except queue.Empty:
            return True
        return False

    def status(self) -> dict[str, Any]:
        self.process.stdin.write("status\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self.next()

    def sees(self, *addresses: str) -> dict[str, Any]:
        """Wait until the first interface has these addresses, as far as it knows, and return its status then."""
        expected, end = [number(address) for address in addresses], time.monotonic() + PATIENCE
        while (status := self.status())["interfaces"][0][1] != expected:
            assert time.monotonic() < end, f"not within {PATIENCE:g} s: {addresses}, but {status}"
            time.sleep(0.02)
        return status

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def stop(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        assert self.next() == {"closed": True}
        assert self.process.wait(PATIENCE) == 0


def say(message: str, **answer: Any) -> bytes:
    return json.dumps({"message": message, **({"answer": answer} if answer else {})}).encode()


def broadcast(client: Host, interface: str, *messages: bytes) -> None:
    """What a client without an address sends."""
    own = client.hardware_address(interface)
    frames = [build_frame(message, ALL, own, 0, BROADCAST, 68, 67).hex() for message in messages]
    client.python(SEND_FRAME, interface, *frames)


def decode(frame: bytes | None) -> tuple[dpkt.ethernet.Ethernet, dpkt.ip.IP, dpkt.udp.UDP]:
    assert frame is not None, "no frame"
    ethernet = dpkt.ethernet.Ethernet(frame)
    return ethernet, ethernet.data, ethernet.data.data


def number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")
