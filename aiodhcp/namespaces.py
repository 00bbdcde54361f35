"""Private networks for tests and the demonstration: network namespaces, joined by veth pairs, bridges and VLANs.

    with Network() as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, "eth0", client, "eth0")
        server.run("ip addr add 192.0.2.1/24 dev eth0")
        dhcpd = server.popen_python("import aiodhcp ...")
        assert "bound" in client.run("udhcpc -n -q -f -i eth0").stdout

Works as root, and as an ordinary user where unprivileged user namespaces are allowed. Each host has its network, its
mounts (``cover`` hides a directory, ``/sys`` shows its interfaces) and its name to itself; the file system, the users
and the process numbers are the machine's. A host lives as long as a process that waits for the test to end, whichever
way it ends; ``Network`` kills by process number what was started in its hosts, daemons that went off included.
Linux only; needs ``ip`` (iproute2), ``unshare`` and ``nsenter`` (util-linux).
"""

from __future__ import annotations

import functools
import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Capture", "Host", "Network", "obstacle"]

_IMPORTS = str(Path(__file__).resolve().parents[1])
"""What Python code that is run in a host imports from, as we were."""
TIMEOUT = 10.0
"""Seconds that anything may take which says nothing else."""

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
_ENTRANCE = """
hostname "$1"
mount -t sysfs sysfs /sys
for which in all default; do  # the chatter of IPv6 is none of our business
    echo 1 > /proc/sys/net/ipv6/conf/$which/disable_ipv6
done
ip link set lo up && echo ready && cat
here=$(readlink /proc/self/ns/net)  # it is over: end all who live here, daemons that went off included
[ -n "$here" ] && [ "$here" != "$2" ] && for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    [ "$pid" = $$ ] || [ "$(readlink "$process/ns/net" 2>/dev/null)" != "$here" ] || kill -9 "$pid" 2>/dev/null
done
true
"""
_SNIFFER = """
import socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind((sys.argv[1], 3))
print("ready", flush=True)
while True:
    try:
        frame, (_, _, kind, *_) = sock.recvfrom(65536)
    except OSError:  # the interface is down
        time.sleep(0.01)
        continue
    if kind != socket.PACKET_OUTGOING or sys.argv[2] == "both":
        print(frame.hex(), flush=True)
"""


@functools.cache
def obstacle(*tools: str, kinds: tuple[str, ...] = ()) -> str:
    """Why hosts with these programs and kinds of interface can't be had here; empty if they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    missing = [tool for tool in ("ip", "unshare", "nsenter", *tools) if shutil.which(tool, path=_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    for kind in ("veth", *kinds):
        command = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-nm", "ip", "link", "add", "name", "a0"]
        try:
            result = subprocess.run(
                [*command, "type", kind], env=_environment(), capture_output=True, text=True, timeout=TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"no network namespaces: {error}"
        if result.returncode and (kind == "veth" or "Unknown device type" in result.stderr):
            return f"no {kind} interfaces in network namespaces: {result.stderr.strip()}"
    return ""


class Network:
    """Hosts and what joins them; everything ends with the ``with`` block."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self._owner: subprocess.Popen[str] | None = None

    def __enter__(self) -> Network:
        if os.geteuid() != 0:  # one user namespace owns all the networks, else veth pairs can't join them
            self._owner = _holder(["unshare", "-Ur", "sh", "-c", "echo ready; exec cat"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for host in self.hosts.values():
            host.close()
        if self._owner is not None:
            _end(self._owner)

    def host(self, name: str) -> Host:
        """A new host, with its loopback interface up and no other."""
        if name in self.hosts:
            raise ValueError(f"there is a host {name!r} already")
        prefix = [] if self._owner is None else _nsenter(self._owner.pid, "-U")
        holder = _holder(
            [*prefix, "unshare", "-nmu", "sh", "-c", _ENTRANCE, "sh", name, os.readlink("/proc/self/ns/net")]
        )
        self.hosts[name] = Host(name, holder, in_user_namespace=self._owner is not None)
        return self.hosts[name]

    def link(self, one: Host, one_interface: str, other: Host, other_interface: str) -> None:
        """Join two hosts by a cable: an Ethernet interface at each, both up and without addresses."""
        one.run(
            f"ip link add name {one_interface} type veth peer name {other_interface} netns {other.pid}"
            if one is not other
            else f"ip link add name {one_interface} type veth peer name {other_interface}"
        )
        one.up(one_interface)
        other.up(other_interface)

    def switch(self, name: str, **ports: Host | tuple[Host, str]) -> Host:
        """Join several hosts by a switch, itself a host with the bridge ``br0``.

        Each keyword is a port of the switch, ``switch("lan", p1=(server, "eth1"), p2=client)``; a host alone gets its
        end of the cable as ``eth0``.
        """
        switch = self.host(name)
        switch.bridge("br0")
        for port, end in ports.items():
            host, interface = (end, "eth0") if isinstance(end, Host) else end
            self.link(switch, port, host, interface)
            switch.run(f"ip link set {port} master br0")
        return switch


class Host:
    """A network namespace and what runs in it. Made by ``Network.host``.

    Attributes:
        name: its name.
        pid: the process whose namespaces they are.
    """

    def __init__(self, name: str, holder: subprocess.Popen[str], *, in_user_namespace: bool) -> None:
        self.name = name
        self.pid = holder.pid
        self._holder = holder
        self._enter = _nsenter(self.pid, "-n", "-m", "-u", *(["-U"] if in_user_namespace else []))
        self._started: list[subprocess.Popen[Any]] = []
        self._captures: list[Capture] = []

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = TIMEOUT,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; a string is split as a shell does, but no shell runs it.

        Raises:
            AssertionError: it failed and ``check`` is true, or took longer than ``timeout`` seconds. Says what it said.
        """
        words = shlex.split(command) if isinstance(command, str) else list(command)
        process = self.popen(
            words,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
        )
        self._started.remove(process)
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            out, err = process.communicate()
            raise AssertionError(f"{self.name}: {words} still ran after {timeout} s\n{out}{err}") from None
        if check and process.returncode:
            raise AssertionError(f"{self.name}: {words} ended with {process.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def popen(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        text: bool = True,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a command; ``options`` as for subprocess.Popen, ``env`` in addition to the usual environment.

        Its ``pid`` is the command's own. It is killed, and its pipes are closed, when the network ends.
        """
        words = shlex.split(command) if isinstance(command, str) else list(command)
        process = subprocess.Popen(
            [*self._enter, "env", "-C", str(cwd or Path.cwd()), *words],
            env=_environment(env),
            text=text,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )
        self._started.append(process)
        return process

    def python(
        self, code: str, *arguments: object, timeout: float = TIMEOUT, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code in the host, as ``run`` does; ``arguments`` become ``sys.argv[1:]``."""
        return self.run(_python(code, arguments), timeout=timeout, check=check)

    def popen_python(self, code: str, *arguments: object, **options: Any) -> subprocess.Popen[Any]:
        """Start Python code in the host, as ``popen`` does; its output is a pipe unless said otherwise."""
        return self.popen(_python(code, arguments), **{"stdout": subprocess.PIPE, **options})

    def up(self, interface: str) -> None:
        """Set an interface up."""
        self.run(f"ip link set {interface} up")

    def down(self, interface: str) -> None:
        """Set an interface down."""
        self.run(f"ip link set {interface} down")

    def vlan(self, parent: str, number: int) -> str:
        """Add the VLAN interface ``parent.number``, up; return its name."""
        name = f"{parent}.{number}"
        self.run(f"ip link add link {parent} name {name} type vlan id {number}")
        self.up(name)
        return name

    def bridge(self, name: str, *ports: str) -> str:
        """Add a bridge, up and forwarding at once, with these interfaces as its ports; return its name."""
        self.run(f"ip link add name {name} type bridge forward_delay 0")
        for port in ports:
            self.run(f"ip link set {port} master {name}")
        self.up(name)
        return name

    def hardware_address(self, interface: str) -> bytes:
        """The Ethernet address of an interface."""
        (link,) = json.loads(self.run(f"ip -j link show dev {interface}").stdout)
        return bytes.fromhex(link["address"].replace(":", ""))

    def addresses(self, interface: str) -> list[str]:
        """The IPv4 addresses of an interface, dotted, without prefix lengths."""
        shown = json.loads(self.run(f"ip -j -4 addr show dev {interface}").stdout)
        return [item["local"] for link in shown if link for item in link.get("addr_info", [])]

    def cover(self, *directories: str) -> None:
        """Hide directories below an empty one each, in this host only: ``/run``, ``/var/lib/dhcp``..."""
        for directory in directories:
            self.run(["mount", "-t", "tmpfs", "tmpfs", directory])

    def capture(self, interface: str, *, both_ways: bool = False) -> Capture:
        """Collect what arrives on an interface from now on; with ``both_ways`` also what leaves."""
        process = self.popen_python(_SNIFFER, interface, "both" if both_ways else "in")
        capture = Capture(process)
        self._captures.append(capture)
        return capture

    def entrance(self, command: str) -> str:
        """The shell command that runs ``command`` in this host, for people."""
        return shlex.join([*self._enter, *shlex.split(command)])

    def close(self) -> None:
        """Kill what was started in this host, and let the host go."""
        for process in self._started:
            _kill_group(process)
        _end(self._holder)
        for process in self._started:
            process.wait(TIMEOUT)
        for capture in self._captures:
            capture.close()
        for process in self._started:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass
        self._started.clear()


class Capture:
    """The frames that pass an interface, as bytes from the Ethernet header on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError("the capture did not start")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._frames.put(bytes.fromhex(line))

    def next(self, timeout: float = 3.0) -> bytes | None:
        """The next frame, None if there is none within ``timeout`` seconds."""
        try:
            return self._frames.get(timeout=timeout)
        except queue.Empty:
            return None

    def next_udp(self, timeout: float = 3.0, ports: Sequence[int] = (67, 68)) -> bytes | None:
        """The next frame of IPv4 UDP, tagged or not, to one of ``ports``."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            frame = self.next(left)
            if frame is None:
                return None
            packet = frame[18:] if frame[12:14] == b"\x81\x00" else frame[14:]
            udp = (packet[0] & 15) * 4 if packet else 0
            if packet[:1] >= b"\x45" and packet[9] == 17 and int.from_bytes(packet[udp + 2 : udp + 4], "big") in ports:
                return frame
        return None

    def close(self) -> None:
        """Stop. Frames already taken can still be read."""
        _kill_group(self._process)
        self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)


def _python(code: str, arguments: Sequence[object]) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    imports = os.pathsep.join(filter(None, [_IMPORTS, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PATH": _PATH, "PYTHONPATH": imports, "LC_ALL": "C.UTF-8", **(more or {})}


def _nsenter(pid: int, *which: str) -> list[str]:
    return ["nsenter", "-t", str(pid), *which, *(["--preserve-credentials"] if "-U" in which else [])]


def _holder(command: list[str]) -> subprocess.Popen[str]:
    """Start a process that keeps namespaces alive until its input ends: with the test, however that ends."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        process.kill()
        said = process.communicate(timeout=TIMEOUT)[1]
        raise RuntimeError(f"no namespace: {command} said {said.strip()!r}")
    return process


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=TIMEOUT)  # closes its input
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _kill_group(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
