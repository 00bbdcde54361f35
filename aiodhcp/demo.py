"""``aiodhcp demo``: the daemon and a DHCP client on a private network, and a lease that survives ``kill -9``.

The network is made of namespaces where the system allows that, and is the loopback interface elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aiodhcp.errors import AiodhcpError
from aiodhcp.leases import Lease
from aiodhcp.namespaces import Network, obstacle
from aiodhcp.stores.sqlite import read_leases

__all__ = ["run"]

SUBNET, SERVER, POOL = "192.168.50.0/24", "192.168.50.1", "192.168.50.100-192.168.50.199"
PATIENCE = 20.0
"""Seconds that the daemon may take to start, and the client to get its lease."""

UDHCPC_SCRIPT = """#!/bin/sh
# udhcpc calls this with what it was given; it acts in the client's network namespace only.
case "$1" in
bound | renew)
    ip -4 addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    [ -z "$router" ] || ip route replace default via "${router%% *}" dev "$interface"
    ;;
deconfig)
    ip -4 addr flush dev "$interface"
    ip link set "$interface" up
    ;;
esac
"""
DHCLIENT_SCRIPT = """#!/bin/sh
# dhclient calls this with what it was given; it acts in the client's network namespace only.
case "$reason" in
BOUND | REBOOT | RENEW | REBIND)
    ip -4 addr flush dev "$interface"
    ip addr add "$new_ip_address/${new_subnet_mask:-24}" dev "$interface"
    ;;
EXPIRE | FAIL | RELEASE | STOP) ip -4 addr flush dev "$interface" ;;
esac
"""


class DemoError(AiodhcpError):
    """The demonstration didn't show what it should."""


class Ground(Protocol):
    """Where the demonstration takes place."""

    where: str
    client: str

    def start_server(self) -> subprocess.Popen[Any]:
        """Start the daemon; its log is in its ``stderr``."""

    def start_client(self) -> subprocess.Popen[Any]:
        """Start a client that gets a lease and ends; what it says is in its ``stdout``."""

    def more(self) -> str:
        """How to have a look around, for people."""


class Namespaces:
    """Two hosts joined by a cable: the daemon on one, a client on the other."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._directory = directory
        self._server, self._client = network.host("server"), network.host("client")
        network.link(self._server, "eth0", self._client, "eth0")
        self._server.run(f"ip addr add {SERVER}/24 dev eth0")
        self.where = "two network namespaces joined by a veth pair"
        self.client, self._command = self._choose_client()

    def start_server(self) -> subprocess.Popen[Any]:
        """Start the daemon."""
        arguments = ["-i", "eth0", "--subnet", SUBNET, "--pool", POOL, "--store", str(self._directory / "leases")]
        arguments += ["-o", f"routers={SERVER}", "-o", f"domain-name-servers={SERVER}", "-o", "domain-name=demo.test"]
        return self._server.popen(
            [sys.executable, "-m", "aiodhcp", "serve", *arguments, "--verbose"], stderr=subprocess.PIPE
        )

    def start_client(self) -> subprocess.Popen[Any]:
        """Start the client."""
        return self._client.popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def more(self) -> str:
        """A shell on the client's host."""
        return f"a shell on the client's side:  {self._client.entrance('sh')}"

    def _choose_client(self) -> tuple[str, list[str]]:
        udhcpc = _program("udhcpc") or ([*busybox, "udhcpc"] if (busybox := _busybox()) else None)
        if udhcpc:
            script = self._script("udhcpc.sh", UDHCPC_SCRIPT)
            patience = ["-f", "-q", "-n", "-t", "10", "-T", "1", "-A", "1"]
            return "udhcpc", [*udhcpc, "-i", "eth0", *patience, "-x", "hostname:demo-client", "-s", script]
        dhclient = _program("dhclient")
        if dhclient:
            script = self._script("dhclient.sh", DHCLIENT_SCRIPT)
            files = [f"-lf={self._directory}/dhclient.leases", f"-pf={self._directory}/dhclient.pid"]
            options = [part for each in files for part in each.split("=", 1)]
            return "dhclient", [*dhclient, "-4", "-1", "-v", *options, "-sf", script, "eth0"]
        return "aiodhcp probe", [sys.executable, "-m", "aiodhcp", "probe", "--interface", "eth0"]

    def _script(self, name: str, text: str) -> str:
        path = self._directory / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)


class Loopback:
    """The daemon on an unprivileged port of the loopback interface, and ``probe`` as a relay agent."""

    def __init__(self, directory: Path, why: str) -> None:
        self.where = f"the loopback interface, because network namespaces can't be had here ({why})"
        self.client = "aiodhcp probe"
        self._config = directory / "aiodhcp.toml"
        self._port = 0
        self._directory = directory

    def start_server(self) -> subprocess.Popen[Any]:
        """Start the daemon."""
        self._port = self._port or _free_port()
        self._config.write_text(
            f"""
transport = {{ type = "udp", host = "127.0.0.1", port = {self._port} }}
store.path = "leases"
options = {{ routers = "{SERVER}", domain-name = "demo.test" }}
[[subnet]]
subnet = "{SUBNET}"
pools = ["{POOL}"]
relays = ["127.0.0.1"]
"""
        )
        return subprocess.Popen(
            [sys.executable, "-m", "aiodhcp", "serve", str(self._config), "--verbose"],
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_client(self) -> subprocess.Popen[Any]:
        """Start the client."""
        return subprocess.Popen(
            [*self._probe(), "--hardware-address", "02:00:00:00:00:01"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def more(self) -> str:
        """Another client."""
        return f"another client:  {' '.join(self._probe())}"

    def _probe(self) -> list[str]:
        return [sys.executable, "-m", "aiodhcp", "probe", "--relay", f"127.0.0.1:{self._port}"]


def run(*, once: bool, console: Console | None = None) -> None:
    """Show the server at work.

    Args:
        once: end after the demonstration; otherwise stay up, showing the leases, until Ctrl-C.
        console: where to print.

    Raises:
        DemoError: the client got no lease, or another address after the restart.
    """
    console = console or Console(highlight=False)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiodhcp-demo-")))
        why = obstacle()
        ground: Ground = Loopback(directory, why) if why else Namespaces(stack.enter_context(Network()), directory)
        _Demo(ground, directory / "leases", console, stack).run(once=once)


class _Demo:
    def __init__(self, ground: Ground, store: Path, console: Console, stack: contextlib.ExitStack) -> None:
        self._ground = ground
        self._store = store
        self._console = console
        self._stack = stack
        self._readers: list[threading.Thread] = []
        stack.callback(self._hear_out)

    def run(self, *, once: bool) -> None:
        self._say(f"The network: {self._ground.where}. The client: {self._ground.client}.")
        self._say("The daemon starts, with an empty lease file, and the client asks for an address.")
        daemon = self._serve()
        self._ask()
        first = self._show()
        self._say("The daemon is ended by kill -9, in the midst of its work, and started again.")
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
        daemon = self._serve()
        self._say("The client asks again.")
        self._ask()
        second = self._show()
        if first.address != second.address:
            raise DemoError(f"the client had {first.ip} before the restart, and has {second.ip} now")
        self._say(f"It is {second.ip} as before: the lease was on the disk before the client heard of it.")
        if not once:
            self._watch(daemon)
        _end(daemon)

    def _serve(self) -> subprocess.Popen[Any]:
        daemon = self._ground.start_server()
        self._stack.callback(_end, daemon)
        serving = threading.Event()
        self._echo("server", daemon.stderr, lambda line: serving.set() if "serving" in line else None)
        if not _until(lambda: serving.is_set() or daemon.poll() is not None) or daemon.poll() is not None:
            raise DemoError("the daemon did not start")
        return daemon

    def _ask(self) -> None:
        client = self._ground.start_client()
        self._stack.callback(_end, client)
        reader = self._echo("client", client.stdout)
        try:
            status = client.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the client got no lease within {PATIENCE:.0f} seconds") from None
        reader.join(1)
        if status:
            raise DemoError(f"the client ended with status {status}")

    def _show(self) -> Lease:
        found = self._leases()
        if not found:
            raise DemoError("the lease file is empty")
        self._console.print()
        self._console.print(_table(found))
        self._console.print()
        return found[0]

    def _leases(self) -> list[Lease]:
        return read_leases(self._store)

    def _watch(self, daemon: subprocess.Popen[Any]) -> None:
        self._say("The daemon stays up; Ctrl-C ends it. To see more,")
        self._console.print(f"  {self._ground.more()}\n", soft_wrap=True)
        with contextlib.suppress(KeyboardInterrupt), Live(console=self._console, auto_refresh=False) as live:
            while daemon.poll() is None:
                live.update(_table(self._leases()), refresh=True)
                time.sleep(1)
        if daemon.poll() not in (None, 0, -signal.SIGINT):
            raise DemoError(f"the daemon ended with status {daemon.returncode}")
        self._console.print()

    def _hear_out(self) -> None:
        for reader in self._readers:
            reader.join(2)

    def _say(self, words: str) -> None:
        self._console.print(Text(f"── {words}", style="bold"), soft_wrap=True)

    def _echo(
        self, who: str, stream: IO[str] | None, look: Callable[[str], object] = lambda _: None
    ) -> threading.Thread:
        """Print what a process says, as it says it."""
        assert stream is not None

        def read() -> None:
            for line in _lines(stream):
                self._console.print(
                    Text(f"{who} │ {line}", style="cyan" if who == "server" else "green"), soft_wrap=True
                )
                look(line)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self._readers.append(thread)
        return thread


def _lines(stream: IO[str]) -> Iterator[str]:
    with stream:
        for line in stream:
            yield line.rstrip()


def _table(found: list[Lease]) -> Any:
    from aiodhcp.cli import lease_table

    return lease_table(found, time.time())


def _until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program(name: str) -> list[str] | None:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    return [found] if found else None


def _busybox() -> list[str] | None:
    busybox = _program("busybox")
    if busybox is None:
        return None
    listed = subprocess.run([*busybox, "--list"], capture_output=True, text=True, check=False).stdout.split()
    return busybox if "udhcpc" in listed else None


def _free_port() -> int:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
