"""What docs/captures.md shows: its console prints what it says. ``capture`` is tried in integration/test_capture.py."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from capture_kit import Tape
from client import Client, Clock, make_engine, make_subnet, number
from test_plugin_guide import COMMANDS, FENCE, pattern, plain

from aiodhcp import Interface
from aiodhcp.parameters import Parameters

PAGE = (Path(__file__).resolve().parent.parent / "docs/captures.md").read_text()
LAN = Interface("lan0", (number("192.168.50.1"),), 2)


def capture(path: Path) -> None:
    """A lease, its renewal, and another client, on the LAN of the README."""
    told = Parameters({"routers": ["192.168.50.1"], "domain-name-servers": ["192.168.50.1"]}, lease_time=43200)
    engine = make_engine(
        make_subnet("192.168.50.100-192.168.50.199", network="192.168.50.0/24", parameters=told), authoritative=True
    )
    tape, clock = Tape(engine), Clock(1_795_300_000.0)
    phone, camera = Client(engine, clock, interface=LAN), Client(engine, clock, "de:ad:00:00:00:02", interface=LAN)
    phone.join(host_name="phone-3")
    clock.advance(21600)
    phone.renew(host_name="phone-3")
    camera.join()
    tape.noise(clock())
    tape.write(path)


def test_the_console_of_the_page_prints_what_it_says(tmp_path: Path) -> None:
    capture(tmp_path / "lan.pcapng")
    environment = {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "HOME": str(tmp_path), "TZ": "UTC"}
    played = 0
    for each in FENCE.finditer(PAGE):
        named = re.search(r"`([\w./]+\.\w+)`:\n\n\Z", PAGE[: each.start()])
        if named:
            (tmp_path / named[1]).write_text(each[2])
        if each[1] != "console":
            continue
        for step in re.split(r"^\$ ", each[2], flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            result = subprocess.run(
                ["bash", "-c", f"{command}; echo $? > status"],
                cwd=tmp_path,
                env=environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=30,
                check=True,
            )
            assert re.fullmatch(pattern(plain(expected)), plain(result.stdout)), f"$ {command}\n{result.stdout}"
            compares = "--diff" in command or "--against" in command
            assert (tmp_path / "status").read_text().strip() == str(int(compares and "different  0" not in expected))
            played += 1
    assert played == 5
