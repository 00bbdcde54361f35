"""benchmarks/workers.py: what it asks for and makes of figures, and how the kernel divides a port between processes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The program's module; its names are those of others once the test is over."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("workers")
    for name, module in list(sys.modules.items()):
        if str(BENCHMARKS) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


def result(rate: float, server: float, **others: Any) -> dict[str, Any]:
    """What a second's measurement of a server comes to, on the core that figures are given for."""
    latency = {"exchange": {"p50": 1000.0, "p99": 2000.0}}
    return {
        "exchanges_per_second": rate,
        "completed": rate,
        "seconds": 1.0,
        "loop": "closed",
        "server_cpu_seconds": server,
        "server_kernel_seconds": server / 4,
        "generator_cpu_seconds": 0.1,
        "generator_kernel_seconds": 0.05,
        "interrupt_seconds": 0.02,
        "latency_us": latency,
        **dict.fromkeys(("timeouts", "failed", "naks", "duplicates", "wrong", "held_up"), 0),
        **others,
    }


def test_all_layouts_are_offered_the_same_work(workers: Any) -> None:
    for layout in workers.LAYOUTS.values():
        loads = layout.loads("renew", seconds=1.0, window=128, rate=1000.0, seed=1)
        assert sum(load.window for load in loads) == 128
        assert sum(load.clients for load in loads) == workers.CLIENTS
        assert ["--sleep" in load.argv() for load in loads] == [layout.sleep] * len(loads)
    one, other = workers.LAYOUTS["two"].loads("steady", seconds=1.0, window=128, rate=1000.0, seed=1)
    assert (one.mode, one.rate, one.rate + other.rate) == ("dora", 500.0, 1000.0)
    assert one.mac >> 32 != other.mac >> 32  # the generator counts in the last 32 bits


def test_servers_are_added_up(workers: Any) -> None:
    slower = result(2000, 0.9, wrong=3, latency_us={"exchange": {"p50": 1500.0, "p99": 9000.0}})
    found = workers.figures([result(8000, 1.1), slower], 50.0)
    assert found.rate == 10_000
    assert (found.server, found.server_kernel) == (pytest.approx(200), pytest.approx(50))
    assert (found.generator, found.interrupts) == (pytest.approx(20), pytest.approx(2))
    assert (found.used, found.p50, found.p99, found.problems) == (pytest.approx(2.2), 1500, 9000, 3)


def test_a_core_of_another_speed_makes_no_difference(workers: Any) -> None:
    quick = workers.figures([result(10_000, 1.0)], 50.0)
    slow = workers.figures([result(5000, 1.0)], 25.0)
    assert (slow.rate, slow.server) == (pytest.approx(quick.rate), pytest.approx(quick.server))
    on_schedule = workers.figures([result(5000, 1.0, loop="open")], 25.0)
    assert on_schedule.rate == 5000


def test_what_it_comes_to(workers: Any) -> None:
    found = {name: [workers.figures([result(10_000, 1.0)], 50.0)] for name in workers.LAYOUTS}
    found["one core"] = [workers.figures([result(8000, 1.0)], 50.0)]
    found["two"] = [workers.figures([result(8000, 1.0), result(8000, 1.0)], 50.0)]
    rates, costs, expected = workers.verdict("renew", found)
    assert "1.60 × one server that may use both" in rates
    assert "2.00 × one on a single core" in rates
    assert "1.25 × the CPU time" in costs
    assert "1.25 × because a generator" in costs
    assert expected == "with N cores that are the servers' alone: 1.00 × N at most"


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--window", "1"], ["--rate", "0"], ["--modes", "discover"]])
def test_what_makes_no_sense_is_refused(workers: Any, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        workers.parse(wrong)
    assert "error: " in capsys.readouterr().err


def test_the_kernel_divides_by_client() -> None:
    """Each client's messages come to one process, the one that `share_of` names; those sent to everybody to both."""
    argv = [sys.executable, str(BENCHMARKS / "workers.py"), "--part", "kernel"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "5,035 to one process, 4,965 to the other, 0 to another than the client's own" in told
    assert "comes to 2 of 2 processes" in told


def test_a_process_that_ends_takes_clients_of_others_along(workers: Any) -> None:
    assert workers.division.moved_when_one_ends(2, 200) == 0  # all that is left is one
    assert 0.1 < workers.division.moved_when_one_ends(3, 400) < 0.4


def test_cores_are_clocked_while_others_work(workers: Any) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with workers.Speedometer(cores) as meter:
        pass
    assert meter.speed > 1  # a look at each, at least
    assert sorted(os.sched_getaffinity(0)) == cores
