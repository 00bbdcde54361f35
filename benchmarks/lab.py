"""The laboratory: two network namespaces joined by a veth pair, a server in one and the load generator in the other.

The server is pinned to core 0, the generator to core 1, unless a laboratory is asked for other cores. Nothing is sent
outside the namespaces. They are removed whatever happens; should this process be killed outright, the kernel ends its
children and the next run sweeps up.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from machine import (
    GENERATOR_CORE,
    SERVER_CORE,
    core_speed,
    cpu_seconds,
    interrupt_seconds,
    kernel_seconds,
    machine_busy,
    resident_bytes,
)
from serverkit import GENERATOR_ADDRESS, SBIN, Plan, Server

HERE = Path(__file__).parent
BUILD = HERE / "build"
PREFIX = "aiodhcp-bench"
SERVER_INTERFACE, SERVER_ADDRESS = "s0", "10.0.0.1"
GENERATOR_INTERFACE = "g0"
RELAYS = "10.128.0.0/9"  # where other relay agents are, all of them the generator
SETUP_SECONDS = 120.0  # for the generator to take the leases it will renew, and to warm the server up
SETTLE_SECONDS = 0.5  # what a server puts off until after the last ACK is its work too
SYSLOG = Path("/dev/log")


class BenchError(Exception):
    """A server or the generator did not do what the measurement needs."""


@dataclass(frozen=True)
class Load:
    """What the generator shall do. Without a rate it is a closed loop of `window` exchanges."""

    mode: str  # dora, renew, discover
    seconds: float
    count: int  # at most; keeps the pool from running dry
    window: int = 64
    rate: float = 0.0
    clients: int = 10_000
    warmup: int = 0
    mac: int = 0x02_00_00_00_00_00
    seed: int = 1
    client_id: bool = True
    host_name: bool = False
    giaddr: str = GENERATOR_ADDRESS  # of the first relay agent
    relays: int = 1
    relay_step: int = 256  # addresses from one to the next
    option_82: bool = False
    held: int = 0  # leases that the server has beforehand, of the first clients
    held_from: str = "0.0.0.0"  # the address of the first
    sleep: bool = False  # wait for answers instead of polling for them

    def argv(self) -> list[str]:
        asked: dict[str, object] = {
            "mode": self.mode,
            "seconds": self.seconds,
            "count": self.count,
            "window": self.window,
            "clients": self.clients,
            "warmup": self.warmup,
            "mac": f"{self.mac:012x}",
            "seed": self.seed,
            "giaddr": self.giaddr,
            "relays": self.relays,
            "relay-step": self.relay_step,
            "held": self.held,
            "held-from": self.held_from,
        }
        argv = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
        if self.rate:
            argv += ["--rate", str(self.rate)]
        if not self.client_id:
            argv.append("--no-client-id")
        if self.host_name:
            argv.append("--host-name")
        if self.option_82:
            argv.append("--option-82")
        if self.sleep:
            argv.append("--sleep")
        return argv


def compile_tools() -> None:
    """Compile the generator and the null server into build/, when they are missing or older than their source."""
    BUILD.mkdir(exist_ok=True)
    for name in ("loadgen", "nullserver"):
        source, target = HERE / f"{name}.c", BUILD / name
        parts = [source, *HERE.glob(f"{name}_*.h")]
        if target.exists() and target.stat().st_mtime > max(part.stat().st_mtime for part in parts):
            continue
        subprocess.run(["cc", "-O2", "-std=c11", "-Wall", "-Wextra", "-o", str(target), str(source)], check=True)


def shortcomings() -> list[str]:
    """What keeps the benchmark from running here."""
    found = []
    if sys.platform != "linux":
        return ["network namespaces need Linux"]
    if os.geteuid() != 0:
        found.append("network namespaces need root")
    cores = os.sched_getaffinity(0)
    if not {SERVER_CORE, GENERATOR_CORE} <= cores:
        found.append(f"it needs cores {SERVER_CORE} and {GENERATOR_CORE}, may use {sorted(cores)}")
    found += [f"{tool} is missing" for tool in ("cc", "ip", "taskset", "setpriv") if not shutil.which(tool)]
    return found


def _ip(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *argv], check=check, capture_output=True, text=True)


class Lab:
    """The two namespaces, for the length of a `with`; of another kind if there are others at the same time.

    `cores` are those that the server may use, and those that the generator may, as `taskset` takes them: "0", "0,1".
    """

    def __init__(self, kind: str = "", cores: tuple[str, str] = (str(SERVER_CORE), str(GENERATOR_CORE))) -> None:
        self.server_cores, self.generator_cores = cores
        self.server_space = f"{PREFIX}-{kind}s-{os.getpid()}"
        self.generator_space = f"{PREFIX}-{kind}g-{os.getpid()}"

    def __enter__(self) -> Self:
        _sweep()
        try:
            _ip("netns", "add", self.server_space)
            _ip("netns", "add", self.generator_space)
            peer = ["type", "veth", "peer", "name", GENERATOR_INTERFACE, "netns", self.generator_space]
            _ip("link", "add", SERVER_INTERFACE, "netns", self.server_space, *peer)
            for space, interface, address in (
                (self.server_space, SERVER_INTERFACE, SERVER_ADDRESS),
                (self.generator_space, GENERATOR_INTERFACE, GENERATOR_ADDRESS),
            ):
                _ip("-n", space, "address", "add", f"{address}/8", "dev", interface)
                _ip("-n", space, "link", "set", "lo", "up")
                _ip("-n", space, "link", "set", interface, "up")
            _ip("-n", self.server_space, "route", "add", RELAYS, "via", GENERATOR_ADDRESS)
            _ip("-n", self.generator_space, "route", "add", "local", RELAYS, "dev", "lo")
        except subprocess.CalledProcessError as error:
            self.close()
            raise BenchError(f"{' '.join(error.cmd)}: {error.stderr.strip()}") from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for space in (self.server_space, self.generator_space):
            _ip("netns", "delete", space, check=False)

    def popen(self, space: str, cores: str, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in a namespace, pinned to cores, to die with this process. No fork: the pid is the
        program's.

        The system's log is hidden from it, in the mount namespace that `ip netns exec` makes: dhcpd would fill it.
        """
        hidden = (
            ["sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', str(SYSLOG.resolve())] if SYSLOG.exists() else []
        )
        pinned = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", cores, *argv]
        wrapped = ["ip", "netns", "exec", space, *hidden, *pinned]
        return subprocess.Popen(wrapped, **options)

    def generator(self, arguments: list[str]) -> subprocess.Popen[str]:
        ends = ["--server", SERVER_ADDRESS, "--giaddr", GENERATOR_ADDRESS]
        return self.popen(
            self.generator_space,
            self.generator_cores,
            [str(BUILD / "loadgen"), *ends, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def _abandoned(name: str, prefix: str) -> bool:
    pid = name.rpartition("-")[2]
    return name.startswith(prefix) and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def _sweep() -> None:
    """Remove the namespaces of runs that were killed before they could."""
    for line in _ip("netns", "list", check=False).stdout.splitlines():
        name = line.split()[0]
        if _abandoned(name, f"{PREFIX}-"):
            _ip("netns", "delete", name, check=False)


@contextmanager
def workspace(under: Path) -> Iterator[Path]:
    """A directory for the servers' files, for the length of a `with`."""
    for path in under.glob("run-*"):
        if _abandoned(path.name, "run-"):
            shutil.rmtree(path, ignore_errors=True)
    directory = under / f"run-{os.getpid()}"
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _end(process: subprocess.Popen[Any], patience: float = 5.0) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    started: float  # seconds from its start to its first answer


@contextmanager
def serving(lab: Lab, server: Server, pool: int, under: Path) -> Iterator[Running]:
    """Start a server with its own directory, wait until it answers, yield it, stop it."""
    with tempfile.TemporaryDirectory(prefix=f"{server.name}-", dir=under) as name:
        directory = Path(name)
        launch = server.launch(Plan(directory, SERVER_INTERFACE, SERVER_ADDRESS, pool))
        with open(directory / "output.txt", "w+b") as output:
            began = time.monotonic()
            process = lab.popen(
                lab.server_space,
                lab.server_cores,
                launch.argv,
                cwd=directory,
                env={"PATH": f"{os.environ.get('PATH', '')}:{SBIN}", **launch.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait_ready(lab, server, process)
                yield Running(process.pid, time.monotonic() - began)
                if process.poll() is not None:
                    raise BenchError(f"ended by itself, status {process.returncode}")
            except BenchError as error:
                raise BenchError(f"{error}{_last_words(directory)}") from None
            finally:
                _end(process)


def _last_words(directory: Path) -> str:
    lines: list[str] = []
    for path in [directory / "output.txt", *directory.glob("*.log")]:
        if path.exists():
            lines += path.read_text(errors="replace").splitlines()[-6:]
    return "".join(f"\n    {line}" for line in lines)


def _wait_ready(lab: Lab, server: Server, process: subprocess.Popen[Any]) -> None:
    """Ask, 50 times a second, until there is an answer."""
    tries, between = int(server.ready_seconds * 50), 0.02
    probe = ["--mode", "discover", "--count", "1", "--tries", str(tries), "--timeout", str(between)]
    limit = time.monotonic() + server.ready_seconds
    generator = lab.generator([*probe, "--giaddr", server.relay, "--mac", "060000000000", "--sleep"])
    try:
        while generator.poll() is None and time.monotonic() < limit:
            if process.poll() is not None:
                raise BenchError(f"did not start, status {process.returncode}")
            time.sleep(0.01)
        if generator.poll() is None:
            raise BenchError(f"answered no DISCOVER for {server.ready_seconds:.0f} s")
        shown, complaint = generator.communicate()
        if generator.returncode != 0 or not json.loads(shown)["completed"]:
            raise BenchError(f"answered no DISCOVER: {complaint.strip() or 'the load generator gave up'}")
    finally:
        _end(generator)


def start(lab: Lab, server: Server, pool: int, under: Path) -> dict[str, Any]:
    """Start a server, and stop it: `start_seconds` until its first answer, and `resident_bytes` a moment later."""
    speed = core_speed()
    with serving(lab, server, pool, under) as running:
        time.sleep(SETTLE_SECONDS)
        return {
            "start_seconds": round(running.started, 3),
            "resident_bytes": resident_bytes(running.pid),
            "core_speed": round(speed, 3),
        }


@dataclass(frozen=True)
class Work:
    """A server and what it is to do."""

    lab: Lab
    server: Server
    load: Load
    pool: int


def measure(
    works: Sequence[Work], under: Path, during: AbstractContextManager[object] | None = None
) -> list[dict[str, Any]]:
    """One measurement of freshly started servers, all at the same time: on one core, their generators on the other.

    Args:
        works: what is measured.
        under: the directory for the servers' files.
        during: entered when the generators start, left when the last one has ended.

    Returns:
        for each the generator's result, with `server_cpu_seconds`, `server_kernel_seconds` (of these),
        `server_cpu_us` (µs per exchange), `interrupt_seconds` (both cores, all of them), `others_cpu` (share of the
        two cores that went to none of them) and `core_speed` added.

    Raises:
        BenchError: a server or a generator failed.
    """
    with ExitStack() as stack:
        pids = [stack.enter_context(serving(each.lab, each.server, each.pool, under)).pid for each in works]
        generators = []
        for each in works:
            generators.append(each.lab.generator([*each.load.argv(), "--sync"]))
            stack.callback(_end, generators[-1])
        for generator in generators:
            _wait_warm(generator)
        return _measure(pids, generators, max(each.load.seconds for each in works), during or nullcontext())


def _wait_warm(generator: subprocess.Popen[str]) -> None:
    assert generator.stdout is not None
    readable, _, _ = select.select([generator.stdout], [], [], SETUP_SECONDS)
    if not readable:
        raise BenchError(f"no measurement within {SETUP_SECONDS:.0f} s: the leases to renew could not be had")
    if generator.stdout.readline() != "ready\n":
        raise BenchError(f"load generator: {generator.communicate(timeout=5)[1].strip()}")


def _measure(
    pids: list[int],
    generators: list[subprocess.Popen[str]],
    seconds: float,
    during: AbstractContextManager[object],
) -> list[dict[str, Any]]:
    time.sleep(SETTLE_SECONDS)
    speed = core_speed()
    cpu, kernel = [cpu_seconds(pid) for pid in pids], [kernel_seconds(pid) for pid in pids]
    busy, interrupts, began = machine_busy(), interrupt_seconds(), time.monotonic()
    with during:
        results = _run(generators, seconds)
    time.sleep(SETTLE_SECONDS)
    spent = [cpu_seconds(pid) - before for pid, before in zip(pids, cpu, strict=True)]
    kernel = [kernel_seconds(pid) - before for pid, before in zip(pids, kernel, strict=True)]
    interrupts, elapsed = interrupt_seconds() - interrupts, time.monotonic() - began
    others = machine_busy() - busy - sum(spent) - sum(result["generator_cpu_seconds"] for result in results)
    speed = (speed + core_speed()) / 2
    for result, own, of_these in zip(results, spent, kernel, strict=True):
        result["server_cpu_seconds"] = round(own, 3)
        result["server_kernel_seconds"] = round(of_these, 3)
        result["interrupt_seconds"] = round(interrupts, 3)
        result["server_cpu_us"] = round(own * 1e6 / result["completed"], 3) if result["completed"] else None
        result["others_cpu"] = round(max(0.0, others / (2 * elapsed)), 4)
        result["core_speed"] = round(speed, 3)
    return results


def _run(generators: list[subprocess.Popen[str]], seconds: float) -> list[dict[str, Any]]:
    for generator in generators:
        assert generator.stdin is not None
        generator.stdin.write("go\n")
        generator.stdin.flush()
    results: list[dict[str, Any]] = []
    for generator in generators:
        try:
            shown, complaint = generator.communicate(timeout=seconds + 30)
        except subprocess.TimeoutExpired:
            raise BenchError("the load generator did not end") from None
        if generator.returncode != 0:
            raise BenchError(f"load generator: {complaint.strip()}")
        results.append(json.loads(shown) | ({"complaint": complaint.strip()} if complaint else {}))
    return results


def interrupt_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C does, so that every `finally` runs."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
