"""``aiodhcp demo`` and ``aiodhcp probe``, as a newcomer meets them."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from namespaces import needs
from rich.console import Console

from aiodhcp import demo

AIODHCP = [sys.executable, "-m", "aiodhcp"]


@needs("udhcpc")
def test_a_client_that_we_did_not_write_keeps_its_address_over_a_kill() -> None:
    shown = subprocess.run([*AIODHCP, "demo", "--once"], capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "The client: udhcpc." in shown.stdout
    assert len(re.findall(r"client │ udhcpc: lease of 192\.168\.50\.100 obtained", shown.stdout)) == 2
    assert "It is 192.168.50.100 as before" in shown.stdout


def test_without_namespaces_it_is_shown_on_the_loopback_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "obstacle", lambda: "a test says so")
    page = io.StringIO()
    demo.run(once=True, console=Console(file=page, width=200))
    shown = page.getvalue()
    assert "network namespaces can't be had here (a test says so)" in shown
    assert shown.count("192.168.50.100 from 127.0.0.1 for 12h") == 2
    assert "It is 192.168.50.100 as before" in shown


def test_it_stays_up_until_ctrl_c_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import signal\n"
        # Who runs tests in the background has it ignored by all that they start.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from aiodhcp import demo, cli\n"
        "demo.obstacle = lambda: 'a test says so'\n"
        "cli.app(['demo'], standalone_mode=False)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        for line in running.stdout:
            if "another client:" in line:
                break
        else:
            pytest.fail("it ended by itself")
        probe = line.split("another client:")[1].split()
        asked = [*probe, "--hardware-address", "02:00:00:00:00:02", "--json"]
        lease = json.loads(subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout)
        assert lease["yiaddr"] == "192.168.50.101"
        time.sleep(1.2)
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=20)
    finally:
        running.kill()
        running.wait()
    assert "192.168.50.101" in rest
    assert running.returncode == 0
    gone = subprocess.run([*asked, "--timeout", "0.1", "--retries", "0"], capture_output=True, text=True, check=False)
    assert gone.returncode == 1
    assert "no answer" in gone.stderr


def test_a_demonstration_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "obstacle", lambda: "a test says so")
    monkeypatch.setattr(demo, "POOL", "10.0.0.1-10.0.0.2")
    with pytest.raises(demo.DemoError, match="the daemon did not start"):
        demo.run(once=True, console=Console(file=io.StringIO()))


def test_a_probe_shows_the_exchange_and_gives_the_lease_back(tmp_path: Path) -> None:
    config = tmp_path / "aiodhcp.toml"
    config.write_text(
        'store.type = "memory"\ntransport = { type = "udp", host = "127.0.0.1", port = 0 }\n'
        '[[subnet]]\nsubnet = "192.168.50.0/24"\npools = ["192.168.50.7"]\nrelays = ["127.0.0.1"]\n'
    )
    code = (
        "import asyncio, sys\n"
        "from aiodhcp import load_config\n"
        "async def main():\n"
        "    settings = load_config(sys.argv[1])\n"
        "    server = settings.server()\n"
        "    async with server:\n"
        "        print(server._network.transport.port, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(config)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        relay = f"127.0.0.1:{server.stdout.readline().strip()}"
        for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
            asked = [*AIODHCP, "probe", "--relay", relay, "--hardware-address", mac, "--release"]
            shown = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
            steps = re.findall(r"^ +\d+\.\d{3} s  (\w+) (..) 127\.0\.0\.1:\d+$", shown, re.MULTILINE)
            assert steps == [("DISCOVER", "->"), ("OFFER", "<-"), ("REQUEST", "->"), ("ACK", "<-"), ("RELEASE", "->")]
            assert shown.endswith("192.168.50.7 from 127.0.0.1 for 12h\n")
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        ((), "give either --interface or --relay", 2),
        (("-i", "a", "--relay", "b"), "give either --interface or --relay", 2),
        (("--relay", "127.0.0.1:x"), "--relay: expected host or host:port, got '127.0.0.1:x'", 2),
        (("--interface", "nonesuch0"), "nonesuch0", 1),
        (("--relay", "127.0.0.1:9", "--hardware-address", "x"), "hardware", 1),
    ],
)
def test_what_a_probe_can_not_do(arguments: tuple[str, ...], said: str, status: int) -> None:
    result = subprocess.run([*AIODHCP, "probe", *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == status
