"""What this machine does meanwhile: CPU time of a process, of everybody, the speed of a core, the time of an fsync."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

SERVER_CORE, GENERATOR_CORE = 0, 1
_CORES = (f"cpu{SERVER_CORE}", f"cpu{GENERATOR_CORE}")
TICK = os.sysconf("SC_CLK_TCK")


def _parents() -> dict[int, int]:
    """pid → the pid of its parent."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # gone meanwhile
                continue
            found[int(entry)] = int(fields[1])
    return found


def _family(pid: int) -> set[int]:
    """A process and all its living descendants."""
    parents = _parents()
    tree, before = {pid}, 0
    while len(tree) > before:
        before = len(tree)
        tree |= {child for child, parent in parents.items() if parent in tree}
    return tree


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, of a process and all its living descendants, threads that ended included. In
    nanoseconds: ``/proc`` counts in ticks of 10 ms, which is much where little is to do."""
    total = 0.0
    for member in _family(pid):
        try:
            total += time.clock_gettime(~member << 3 | 2)  # clock_getcpuclockid(3)
        except OSError:  # gone meanwhile
            continue
    return total


def kernel_seconds(pid: int) -> float:
    """How much of that was spent in the kernel, in ticks of 10 ms."""
    total = 0
    for member in _family(pid):
        try:
            total += int(Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()[12])
        except OSError:  # gone meanwhile
            continue
    return total / TICK


def resident_bytes(pid: int) -> int:
    """What a process has in memory (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(pid)


def _core_times() -> list[list[int]]:
    """Of the two cores the ticks spent in user mode, nice, the kernel, idle, waiting, interrupts, soft interrupts, and
    stolen: proc(5)."""
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return [[int(field) for field in fields[:8]] for name, *fields in lines if name in _CORES]


def machine_busy() -> float:
    """CPU seconds spent by anyone on the two cores."""
    return sum(sum(times) - times[3] - times[4] for times in _core_times()) / TICK


def interrupt_seconds() -> float:
    """CPU seconds of the two cores that went to interrupts, the network's most of all. They are also part of the kernel
    time of whichever process was interrupted."""
    return sum(times[5] + times[6] for times in _core_times()) / TICK


def core_speed(samples: int = 6, pause: float = 0.03) -> float:
    """Million turns of an empty loop a second on the server's core. A virtual machine's cores are not always as quick:
    they share caches and clock with neighbours nobody sees here, who come and go; so it is looked at more than once."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        turns, taken = 200_000, 0.0
        for _ in range(samples):
            time.sleep(pause)
            began = time.thread_time()
            for _ in range(turns):
                pass
            taken += time.thread_time() - began
        return turns * samples / taken / 1e6
    finally:
        os.sched_setaffinity(0, cores)


class Speedometer:
    """The speed of cores while others work there, for the length of a `with`: looked at every 10 ms, for 0.2 ms."""

    def __init__(self, cores: Iterable[int]) -> None:
        self._taken = dict.fromkeys(cores, 0.0)
        self._turns = dict.fromkeys(self._taken, 0)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._over.clear()
        self._threads = [threading.Thread(target=self._sample, args=(core,)) for core in self._taken]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _sample(self, core: int) -> None:
        os.sched_setaffinity(0, {core})  # this thread's
        over = False
        while not over:
            began = time.thread_time()
            for _ in range(10_000):
                pass
            self._taken[core] += time.thread_time() - began
            self._turns[core] += 10_000
            over = self._over.wait(0.01)

    @property
    def speed(self) -> float:
        """Million turns of an empty loop a second, the mean of the cores."""
        return sum(self._turns[core] / taken for core, taken in self._taken.items()) / len(self._taken) / 1e6


def wait_quiet(share: float, patience: float) -> None:
    """Wait until for a second others take less than a share of the two cores, or patience ends."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        busy, began = machine_busy(), time.monotonic()
        time.sleep(1)
        if machine_busy() - busy < share * 2 * (time.monotonic() - began):
            return


def fsync_microseconds(directory: Path, times: int = 300) -> dict[str, float]:
    """The time to append 4 KiB to a file and fsync it: ``p50`` and ``p99``."""
    taken = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    taken.sort()
    return {"p50": round(taken[times // 2] * 1e6, 1), "p99": round(taken[times * 99 // 100] * 1e6, 1)}


def facts(directory: Path) -> dict[str, Any]:
    """Which machine this is."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fsync_us": fsync_microseconds(directory),
    }
