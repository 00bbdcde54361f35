"""A callout in a process of its own: what it does to that process, others don't notice. In a server that runs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import error_lines
from server_kit import clock, diary, replies, serve, store, transport  # noqa: F401 - fixtures
from wire import ACK, OFFER, SERVER, Reply, answer, ask, discover, lease, renew, request, until

from aiodhcp import Config, ConfigError, ControlCode, DropReason, MemoryTransport, Parameters, Plugin, Subnet
from aiodhcp.callout import ON_FAULT, CalloutFault, CalloutPlugin, Child
from aiodhcp.callout import child as child_module
from aiodhcp.callout.hosts import Host, PythonHost

NULL_WRITE, OVERRUN, EXIT, ABORT, HANG, DIVIDE, SLOW, VETO = (0xEE00 + what for what in range(1, 9))
"""Clients to whom poison.c does these things."""
OK = 224
"""The option that it puts into every reply."""
PACKET = bytes(236) + b"\x63\x82\x53\x63" + bytes((53, 1, 1, 255))


def big(**more: Any) -> Config:
    """A subnet with room for thousands of clients."""
    subnet = Subnet("192.0.0.0/16", pools=["192.0.16.0-192.0.79.255"], interfaces=["memory"])
    return Config([subnet], Parameters(lease_time=3600), server_id=SERVER, **more)


pytestmark = pytest.mark.parametrize("mode", ["process", "wine"], indirect=True)


@pytest.fixture
def child(libraries: Callable[..., Path], mode: str, suffix: str) -> Iterator[Callable[..., Child]]:
    """``child(deadline=1)``: poison.c in a process of its own."""
    made = []

    def make(**more: Any) -> Child:
        path = more.pop("path", None) or libraries("poison", suffix)
        made.append(Child(path, **{"host": host(mode), "deadline": 5.0, "patience": 30.0, **more}))
        return made[-1]

    yield make
    for each in made:
        pid = each.pid
        each.close()
        assert pid is None or not is_alive(pid)


def host(mode: str) -> Host:
    if mode == "process":
        return PythonHost()
    from wine_kit import wine_prefix

    from aiodhcp.callout.wine import WineHost

    return WineHost(wine_prefix())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def plugin(callouts: Child, on_fault: str = "open") -> Plugin:
    return Plugin(CalloutPlugin(callouts), policy=ON_FAULT[on_fault])


class Crowd:
    """Clients who each get a lease and renew it, all at once, and ask for nothing twice."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.replies: dict[int, list[Reply]] = {}

    def come(self, clients: range) -> None:
        self.transport.deliver_many([discover(client) for client in clients])

    async def served(self, clients: range) -> None:
        """Answer each OFFER with a REQUEST, and each ACK with a renewal, until all have two ACKs."""
        missing = set(clients)
        while missing:
            reply = await answer(self.transport)
            if reply.client not in clients:
                continue
            had = self.replies.setdefault(reply.client, [])
            had.append(reply)
            if len(had) == 1:
                self.transport.deliver(request(reply.client, reply.yiaddr))
            elif len(had) == 2:
                self.transport.deliver(renew(reply.client, reply.yiaddr))
            else:
                missing.discard(reply.client)
        for client, had in self.replies.items():
            assert [each.kind for each in had] == [OFFER, ACK, ACK], client


# ── what kills it ──


ENDINGS = {
    NULL_WRITE: {"process": "its process was killed by SIGSEGV", "wine": "it faulted (status 80)"},
    OVERRUN: {"process": "its process was killed by SIGSEGV", "wine": "it faulted (status 80)"},
    DIVIDE: {"process": "its process was killed by SIGFPE", "wine": "it faulted (status 80)"},
    EXIT: {"process": "its process exited with status 7", "wine": "its process exited with status 7"},
    ABORT: {"process": "its process was killed by SIGABRT", "wine": "its process exited with status 3"},
    HANG: {"process": "it did not return within 1 s", "wine": "it did not return within 1 s"},
}


@pytest.mark.parametrize("on_fault", ["open", "closed"])
@pytest.mark.parametrize("poison", ENDINGS, ids=["null write", "overrun", "divide", "exit", "abort", "hang"])
async def test_what_kills_the_callout_costs_no_other_client_anything(
    child, serve, transport, caplog, mode, poison, on_fault
):
    callouts = child(deadline=1.0)
    async with serve(plugin(callouts, on_fault), config=big(), max_in_flight=10_000) as server:
        first = callouts.pid
        crowd, clients = Crowd(transport), range(1, 151)
        for at in range(0, 150, 50):
            crowd.come(clients[at : at + 50])
            if at == 50:
                transport.deliver(discover(poison))
        await crowd.served(clients)
        # Those behind the packet that killed it were heard by its successor: nobody slipped past it.
        assert all(OK in reply.options for replies in crowd.replies.values() for reply in replies)
        assert callouts.pid not in (first, None)
        assert callouts.faults == {"dhcp_new_pkt": 1}
        await until(lambda: server.health.in_flight == 0)
        assert server.engine.dropped[DropReason.INTERNAL_ERROR] == (on_fault == "closed")
        (line,) = [line for line in error_lines(caplog) if line.startswith("callout ")]
        words = ENDINGS[poison][mode]
        assert line == f"callout poison: dhcp_new_pkt: {words}; it is started again at once (1 so far)"


async def test_the_packet_that_kills_it_goes_on_without_it_or_is_dropped(child, serve, transport):
    async with serve(plugin(child())):
        assert OK in (await ask(transport, discover(EXIT))).options
    async with serve(plugin(child(), "closed")) as server:
        transport.deliver(discover(EXIT))
        await until(lambda: server.engine.dropped[DropReason.INTERNAL_ERROR] == 1)
        assert (await ask(transport, discover(1))).client == 1


async def test_one_that_dies_with_nothing_to_do_is_there_for_the_next_packet(child, serve, transport):
    callouts = child()
    async with serve(plugin(callouts, "closed")) as server:
        await lease(transport, 1)
        await until(lambda: server.health.in_flight == 0)
        os.kill(callouts.pid, signal.SIGKILL)
        await until(lambda: callouts.faults == {"idle": 1})
        assert OK in (await ask(transport, discover(2))).options


async def test_a_veto_is_a_veto(child, serve, transport, diary):
    async with serve(plugin(child()), diary) as server:
        transport.deliver(discover(VETO))
        await lease(transport, 1)
        await until(lambda: server.health.in_flight == 0)
        assert diary.of("drop").count((VETO, "PROCESSED")) == 1
        assert not [kind for kind, client in replies(transport) if client == VETO]


# ── waiting ──


async def test_nobody_waits_for_another_ones_answer(child, serve, transport):
    """A hundred calls that take 0.1 s each would take ten seconds; here the loop does other things meanwhile."""
    async with serve(plugin(child(), "closed"), config=big()):
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1

        heart = asyncio.create_task(beat())
        transport.deliver(discover(SLOW))
        transport.deliver_many([discover(client) for client in range(1, 65)])
        assert (await answer(transport)).client == SLOW
        assert {(await answer(transport)).client for _ in range(64)} == set(range(1, 65))
        heart.cancel()
        assert beats >= 3


async def test_a_deadline_is_for_one_call_and_not_for_those_that_wait_behind_it(child, serve, transport):
    callouts = child(deadline=0.3)
    async with serve(plugin(callouts, "closed")):
        transport.deliver_many([discover(SLOW + 0x10000 * at) for at in range(8)])
        assert len({(await answer(transport)).client for _ in range(8)}) == 8
        assert not callouts.faults


async def test_who_would_wait_for_too_long_is_not_let_in(child):
    callouts = child(patience=0.2)
    await callouts.control(ControlCode.START)
    before = [asyncio.ensure_future(callouts.new_pkt(poisoned(SLOW), 0)) for _ in range(8)]
    await asyncio.sleep(0.35)
    with pytest.raises(CalloutFault, match=r"callout poison is \d calls behind"):
        callouts.new_pkt(PACKET, 0)
    # What was let in is seen to the end.
    assert (await before[0]).process
    await callouts.pkt_drop(PACKET, DropReason.PROCESSED, 0, (await before[0]).context)
    assert all([(await each).process for each in before])
    assert (await callouts.new_pkt(PACKET, 0)).process
    await callouts.control(ControlCode.STOP)


async def test_while_it_is_down_packets_go_on_without_it(child, serve, transport, monkeypatch):
    """Those that it had let in as well: they don't wait for a process that is far away."""
    callouts = child(patience=0.5)
    async with serve(plugin(callouts)) as server:
        await lease(transport, 1)
        callouts._in_a_row = 8  # as if it had died so often already: it is down for 12.8 s
        transport.deliver(discover(EXIT))
        async with asyncio.timeout(8):
            assert (await answer(transport)).client == EXIT
            assert OK not in (await ask(transport, discover(2))).options
        await until(lambda: server.health.in_flight == 0)


async def test_a_loop_that_is_busy_elsewhere_is_not_the_callouts_fault(child):
    callouts = child(deadline=0.25)
    await callouts.control(ControlCode.START)
    await callouts.new_pkt(PACKET, 0)
    await asyncio.sleep(0.1)
    asked = callouts.new_pkt(PACKET, 0)
    time.sleep(0.6)  # noqa: ASYNC251 - as a plugin may, or the garbage collector
    assert (await asked).process
    assert not callouts.faults
    await callouts.control(ControlCode.STOP)


async def test_a_backlog_ends_where_patience_does(child):
    callouts = child(patience=1.0)
    await callouts.control(ControlCode.START)
    asked, refused = [], 0
    for _ in range(40):
        try:
            asked.append(asyncio.ensure_future(callouts.new_pkt(poisoned(SLOW), 0)))
        except CalloutFault:
            refused += 1
        await asyncio.sleep(0.03)
    assert refused
    await asyncio.gather(*asked)
    assert len(asked) < 36
    await callouts.control(ControlCode.STOP)


# ── starting again ──


async def test_whatever_keeps_it_from_starting_is_tried_again(child, monkeypatch, caplog):
    callouts = child()
    await callouts.control(ControlCode.START)
    spawn, tries = callouts._spawn, iter([OSError("no more processes"), RuntimeError("no more threads")])

    def tried() -> Any:
        error = next(tries, None)
        if error is not None:
            raise error
        return spawn()

    monkeypatch.setattr(callouts, "_spawn", tried)
    os.kill(callouts.pid, signal.SIGKILL)
    await until(lambda: callouts.faults["loading"] == 2 and callouts.pid is not None)
    assert (await callouts.new_pkt(PACKET, 0)).process
    assert "no more processes" in caplog.text
    await callouts.control(ControlCode.STOP)


def test_it_moves_to_another_loop_with_what_it_is(child):
    callouts = child()

    async def talk(*codes: int) -> bool:
        for code in codes:
            await callouts.control(code)
        received = await callouts.new_pkt(PACKET, 0)
        return received.process

    async def be_killed() -> None:
        await callouts.new_pkt(PACKET, 0)
        os.kill(callouts.pid, signal.SIGKILL)
        await until(lambda: callouts.pid is None)

    assert asyncio.run(talk(ControlCode.START))
    assert asyncio.run(talk())
    asyncio.run(be_killed())  # and the loop is gone before it is started again
    assert asyncio.run(talk())
    asyncio.run(callouts.control(ControlCode.STOP))
    assert asyncio.run(talk(ControlCode.START))


async def test_one_that_refuses_to_start_is_not_tried_for_ever(trap_that_exits_at_start):
    callouts = trap_that_exits_at_start
    with pytest.raises(CalloutFault):
        await callouts.control(ControlCode.START)
    await asyncio.sleep(0.5)
    assert callouts.pid is None
    assert callouts.faults == {"dhcp_control": 1}


@pytest.fixture
def trap_that_exits_at_start(trap: Any) -> Child:
    return trap("control:exit").callouts


async def test_one_that_always_dies_is_started_again_ever_later(child, caplog, monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_DELAY", 0.02)
    callouts = child(patience=0.05)
    await callouts.control(ControlCode.START)
    for _ in range(4):
        await until(lambda: callouts.pid is not None)
        with pytest.raises(CalloutFault, match="exited with status 7"):
            await callouts.new_pkt(poisoned(EXIT), 0)
    # The fourth time it takes longer than anybody's patience.
    with pytest.raises(CalloutFault, match="callout poison is down, and started again in"):
        await callouts.new_pkt(PACKET, 0)
    await until(lambda: callouts.pid is not None)
    assert (await callouts.new_pkt(PACKET, 0)).process
    assert callouts.faults == {"dhcp_new_pkt": 4}
    lines = error_lines(caplog)
    assert len(lines) == 1  # the first; then the tenth, and so on
    await callouts.control(ControlCode.STOP)


def poisoned(client: int) -> bytes:
    """A packet of such a client."""
    return PACKET[:28] + b"\x02\0\0\0" + client.to_bytes(2, "big") + PACKET[34:]


def lose(callout: Any) -> None:
    """Kill the callout's process, and wait for its successor."""

    async def wait() -> None:
        os.kill(callout.callouts.pid, signal.SIGKILL)
        await until(lambda: callout.callouts.faults.total() == 1 and callout.callouts.pid is not None)

    callout.run(wait())


def test_a_context_of_a_process_that_is_gone_is_null_for_the_next_one(trap):
    callout = trap("context")
    callout.control(ControlCode.START)
    received = callout.call("new_pkt", PACKET, 0)
    callout.call("pkt_drop", PACKET, DropReason.PROCESSED, 0, received.context)
    assert callout.told("pkt_drop")[-1]["context"] == "1"
    received = callout.call("new_pkt", PACKET, 0)
    lose(callout)
    callout.call("pkt_drop", PACKET, DropReason.PROCESSED, 0, received.context)
    assert callout.told("pkt_drop")[-1]["context"] == "0"
    assert [line.split()[1] for line in callout.lines if line.startswith("control ")] == ["code=1", "code=1"]
    callout.control(ControlCode.STOP)


def test_a_paused_server_starts_it_again_paused(trap):
    callout = trap("")
    callout.control(ControlCode.START)
    callout.control(ControlCode.PAUSE)
    lose(callout)
    callout.control(ControlCode.CONTINUE)
    codes = [line.split()[1] for line in callout.lines if line.startswith("control ")]
    assert codes == ["code=1", "code=3", "code=1", "code=3", "code=4"]
    callout.control(ControlCode.STOP)


async def test_it_is_not_started_again_when_its_file_is_another_one(child, tmp_path, libraries, suffix, caplog):
    caplog.set_level(logging.DEBUG)
    octets = libraries("poison", suffix).read_bytes()
    file = tmp_path / f"poison{suffix}"
    file.write_bytes(octets)
    callouts = child(path=file, sha256=hashlib.sha256(octets).hexdigest(), patience=0.5)
    await callouts.control(ControlCode.START)
    file.unlink()
    file.write_bytes(octets + b"!")
    with pytest.raises(CalloutFault):
        await callouts.new_pkt(poisoned(EXIT), 0)
    with pytest.raises(CalloutFault, match="is down"):
        await callouts.new_pkt(PACKET, 0)
    assert "has SHA-256" in caplog.text
    await callouts.control(ControlCode.STOP)


# ── start and stop ──


async def test_after_stop_the_process_is_gone_and_start_makes_another(child):
    callouts = child()
    await callouts.control(ControlCode.START)
    first = callouts.pid
    await callouts.control(ControlCode.STOP)
    assert callouts.pid is None
    assert not is_alive(first)
    with pytest.raises(CalloutFault, match="is called after STOP"):
        await callouts.new_pkt(PACKET, 0)
    await callouts.control(ControlCode.START)
    assert callouts.pid not in (None, first)
    assert (await callouts.new_pkt(PACKET, 0)).process
    await callouts.control(ControlCode.STOP)


async def test_stop_ends_one_that_hangs(child):
    callouts = child(deadline=60, control_timeout=0.2)
    await callouts.control(ControlCode.START)
    hanging = asyncio.ensure_future(callouts.new_pkt(poisoned(HANG), 0))
    await asyncio.sleep(0.05)
    pid = callouts.pid
    async with asyncio.timeout(10):
        await callouts.control(ControlCode.STOP)
    assert not is_alive(pid)
    with pytest.raises(CalloutFault):
        await hanging


def test_one_that_hangs_just_after_its_start_is_noticed_as_soon_as_any_other(trap, run):
    """Control has a deadline of its own, which is none of the next call's."""
    callout = trap("new_pkt:hang", deadline=0.3, control_timeout=60.0)

    async def talk() -> float:
        loop = asyncio.get_running_loop()
        await callout.callouts.control(ControlCode.START)
        began = loop.time()
        with pytest.raises(CalloutFault, match=r"did not return within 0\.3 s"):
            await callout.callouts.new_pkt(PACKET, 0)
        took = loop.time() - began
        await callout.callouts.control(ControlCode.STOP)
        return took

    assert run(talk()) < 30


async def test_close_while_it_is_started_again_leaves_nothing(child, monkeypatch):
    callouts = child()
    await callouts.control(ControlCode.START)
    os.kill(callouts.pid, signal.SIGKILL)
    await until(lambda: callouts.pid is None)
    callouts.close()
    await asyncio.sleep(0.5)
    assert callouts.pid is None
    with pytest.raises(CalloutFault):
        callouts.new_pkt(PACKET, 0)


async def test_stop_while_it_is_started_again_is_not_waited_for(child):
    callouts = child()
    await callouts.control(ControlCode.START)
    os.kill(callouts.pid, signal.SIGKILL)
    await until(lambda: callouts.pid is None)
    await callouts.control(ControlCode.STOP)
    assert callouts.pid is None
    await callouts.control(ControlCode.START)
    assert (await callouts.new_pkt(PACKET, 0)).process
    await callouts.control(ControlCode.STOP)


async def test_it_ends_when_the_server_is_gone(child):
    """The pipe closes, which is all that a server that was killed leaves behind."""
    callouts = child()
    popen = callouts._process._popen
    popen.stdin.close()
    assert await asyncio.to_thread(popen.wait, 10) == 0


async def test_signals_for_the_server_do_not_end_it(child, mode):
    callouts = child()
    assert os.getsid(callouts.pid) != os.getsid(0)  # where the keyboard's don't reach it
    if mode == "process":  # Wine ends with SIGTERM: docs/callouts.md says what to tell systemd
        os.kill(callouts.pid, signal.SIGINT)
        os.kill(callouts.pid, signal.SIGTERM)
    await callouts.control(ControlCode.START)
    assert (await callouts.new_pkt(PACKET, 0)).process
    assert not callouts.faults
    await callouts.control(ControlCode.STOP)


def test_what_can_not_be_loaded_says_why(mode, tmp_path):
    with pytest.raises(ConfigError, match=r"callout .*nothing\.so: can't be read: No such file or directory"):
        Child(tmp_path / "nothing.so")
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(ConfigError, match=r"callout .*text\.so: can't be loaded: .*"):
        Child(text)
    foreign = tmp_path / "windows.dll"
    foreign.write_bytes(b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0\x64\x86")
    with pytest.raises(ConfigError, match="is a DLL of Windows for x86-64, which the mode 'wine' runs"):
        Child(foreign)


async def test_a_callout_is_logged_with_its_digest(child, caplog, mode):
    with caplog.at_level(logging.INFO):
        callouts = child()
    assert f"callout poison: loading {callouts.path}, SHA-256 {callouts.sha256} ({mode})" in caplog.messages
    assert "callout poison: version 0, hooks: dhcp_new_pkt, dhcp_pkt_drop, dhcp_pkt_send" in caplog.messages


# ── a host that is not ready ──


def test_a_host_that_may_do_better_next_time_is_tried_again(child, mode, tmp_path, libraries, suffix):
    counted = tmp_path / "tries"

    class Reluctant:
        """Ends without a word the first two times."""

        def __init__(self, inner: Host) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        transient = frozenset({1})

        def command(self, *arguments: Any) -> list[str]:
            with counted.open("a") as file:
                file.write("x")
            return ["/bin/false"] if len(counted.read_text()) < 3 else self._inner.command(*arguments)

    assert child(host=Reluctant(host(mode))).hooks
    assert counted.read_text() == "xxx"
