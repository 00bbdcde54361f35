"""Child: a callout in a process of its own. What kills the callout, or keeps it, is ended and started again.

Calls are written as they come and answered in their order, so that the packets that wait don't wait for one another's
answers. When the process is lost, the call that it was at has failed; those behind it are made again, in the next one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections import Counter, deque
from collections.abc import Awaitable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from aiodhcp.callout.abi import SEND_PACKET, VERSIONS
from aiodhcp.callout.binaries import read_binary, read_pinned
from aiodhcp.callout.callouts import CalloutFault, Received, Results, Returned, check_chain, is_round
from aiodhcp.callout.calls import (
    ADDRESS_DEL,
    ADDRESS_OFFER,
    CONTROL,
    DELETE_CLIENT,
    HANDLE_OPTIONS,
    NEW_PKT,
    PKT_DROP,
    PKT_SEND,
    Call,
    Context,
)
from aiodhcp.callout.frames import HOOKS, NULL, OPTIONS, RETURN, State
from aiodhcp.callout.hosts import Host, PythonHost
from aiodhcp.callout.options import locate
from aiodhcp.callout.pipes import Pipes, open_pipes
from aiodhcp.callout.process import STOP_TIMEOUT, CalloutProcess, start
from aiodhcp.constants import ControlCode
from aiodhcp.errors import ConfigError

__all__ = ["Child"]

log = logging.getLogger("aiodhcp.callout")

FIRST_DELAY: Final = 0.1
"""Seconds until it is started again after the second fault in a row; after the first it is at once."""
LONGEST_DELAY: Final = 30.0
STEADY: Final = 60.0
"""Seconds without a fault after which the next one is the first."""


class Child:
    """A callout in another process: ``Callouts`` by pipes.

    It is loaded when this is made, so that it is known which hooks it has. All else wants a running event loop.

    Args:
        path: of the file, absolute.
        sha256: the digest that the file has to have, 64 hexadecimal digits; any will do if empty.
        chain: paths of the libraries behind this one, which it is told to load and call itself.
        chain_sha256: digests that files of the chain have to have.
        versions: of the API that it is offered, one after the other, until it takes one.
        host: what has it; Python.
        deadline: seconds that a call may take; then the process is killed.
        control_timeout: the same for ``DhcpControlHook``.
        patience: seconds that a call may wait for those before it, or for the process to be started again.

    Attributes:
        path: likewise.
        name: of the file, without its suffix.
        sha256: the digest of what was loaded.
        version: of the API, the one it took.
        hooks: names of those it registered.
        results: how often a hook returned something else than 0, which has no meaning.
        faults: how often the process was lost, by the hook that it was in.

    Raises:
        ConfigError: there is no such file, it is another one, no library of this system, or no callout; or the
            callout refused.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sha256: str = "",
        chain: Iterable[str | Path] = (),
        chain_sha256: Mapping[Path, str] | None = None,
        versions: Iterable[int] = VERSIONS,
        host: Host | None = None,
        deadline: float = 0.25,
        control_timeout: float = 10.0,
        patience: float = 2.0,
    ) -> None:
        self._process: CalloutProcess | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self.path = Path(path)
        self.name = self.path.stem
        self.sha256 = ""
        self.version = 0
        self.results = Results(self.name)
        self.faults: Counter[str] = Counter()
        self._pin = sha256
        chain = list(chain)
        check_chain(self.path, chain)
        self._chain = [Path(each) for each in chain]
        self._chain_pins = chain_sha256 or {}
        self._versions = tuple(versions)
        self._host: Host = PythonHost() if host is None else host
        self._deadline = deadline
        self._control_timeout = control_timeout
        self._patience = patience
        self._generation = 0
        self._in_a_row = 0
        self._stopped = self._paused = False
        self._began = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pipes: Pipes | None = None
        self._due = 0.0
        self._waiting: deque[Call] = deque()
        self._unsent = bytearray()
        self._unread = b""
        self._since = math.inf
        self._usual = 0.0
        self._timer: asyncio.TimerHandle | None = None
        process = self._spawn()
        self._adopt(process)
        self.hooks = process.hooks
        log.info("callout %s: version %d, hooks: %s", self.name, self.version, ", ".join(self._names()) or "none")

    def __repr__(self) -> str:
        return f"<Child {self.path}>"

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process is not None else None

    def _names(self) -> list[str]:
        return [name for name in HOOKS if name in self.hooks]

    # ── the process ──────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self) -> CalloutProcess:
        """Start the process and wait until the callout is loaded, on whatever thread.

        Raises:
            ConfigError: as of the class.
        """
        binary = read_binary(self.path, self._pin)
        for each in self._chain:
            read_pinned(each, self._chain_pins)
        self._host.prepare(binary)
        log.info("callout %s: loading %s, SHA-256 %s (%s)", self.name, self.path, binary.sha256, self._host.name)
        process = start(self._host, self._versions, self.path, self._chain)
        self.sha256, self.version = binary.sha256, process.version
        return process

    def _adopt(self, process: CalloutProcess) -> None:
        """Have a process, which ends with this object at the latest."""
        self._process = process
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, process.end)
        self._finalizer.atexit = False  # then it ends by the end of its input, and its callout hears STOP

    def close(self) -> None:
        """End the process without a word to the callout. Nothing is called any more. May be called twice."""
        process, self._process = self._process, None
        self._stopped = True
        if process is not None or self._restarting is not None:
            self._forget("is closed")
        if process is not None:
            process.end()

    def _forget(self, why: str) -> None:
        """Make no call any more, and don't start it again."""
        if self._restarting is not None:
            self._restarting.cancel()
            self._restarting = None
        self._detach()
        while self._waiting:
            self._waiting.popleft().fail(f"callout {self.name} {why}")

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Talk to the process from this loop on."""
        if self._loop is not loop:
            # Those who waited are gone with their loop, and with them what the process is going to return.
            spoilt = bool(self._waiting or self._unsent or self._unread)
            self._waiting.clear()
            self._restarting = None
            self._detach()
            self._loop = loop
            if spoilt or self._process is None:
                self._replace()
                return
        self._detach()
        self._began = loop.time()
        if self._process is not None:
            self._pipes = open_pipes(loop, self._process.returns, self._process.calls, self._received)

    def _detach(self) -> None:
        if self._pipes is not None:
            self._pipes.close()
            self._pipes = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unsent.clear()
        self._unread = b""

    def _replace(self) -> None:
        """Start the process again, for no fault of its own."""
        assert self._loop is not None
        process, self._process = self._process, None
        self._generation += 1
        self._restarting = self._loop.create_task(self._restart(process, None, "idle", "another event loop has it now"))

    def _lost(self, words: str) -> None:
        """The process is gone, or is to go."""
        process, self._process = self._process, None
        assert process is not None
        assert self._loop is not None
        self._detach()
        self._generation += 1
        culprit = self._waiting.popleft() if self._waiting else None
        hook = HOOKS[culprit.hook] if culprit is not None else "idle"
        self.faults[hook] += 1
        if self._loop.time() - self._began > STEADY:
            self._in_a_row = 0
        self._in_a_row += 1
        self._restarting = self._loop.create_task(self._restart(process, culprit, hook, words))

    async def _restart(self, lost: CalloutProcess | None, culprit: Call | None, hook: str, words: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            if lost is not None:
                if words:
                    lost.kill()
                # In one piece: it goes on where this is cancelled.
                ending = await asyncio.to_thread(lost.bury)
                words = words or ending
        finally:
            if culprit is not None:
                culprit.fail(f"callout {self.name}: {hook}: {words or 'its process is gone'}")
        if self._stopped:
            return
        while True:
            count = self.faults.total()
            delay = min(FIRST_DELAY * 2 ** (self._in_a_row - 2), LONGEST_DELAY) if self._in_a_row > 1 else 0.0
            if is_round(count):
                again = f"in {delay:g} s" if delay else "at once"
                log.error(
                    "callout %s: %s: %s; it is started again %s (%d so far)", self.name, hook, words, again, count
                )
            self._due = loop.time() + delay
            self._tick()
            if delay:
                await asyncio.sleep(delay)
            try:
                await self._begin()
            except Exception as error:  # whatever it is, this has to go on
                log.log(logging.DEBUG if isinstance(error, ConfigError) else logging.ERROR, "%s", error, exc_info=True)
                self._in_a_row += 1
                hook, words = "loading", str(error) or repr(error)
                self.faults[hook] += 1
                continue
            break
        self._restarting = None
        self._resume()

    async def _begin(self) -> None:
        """Start the process afresh.

        Raises:
            ConfigError: it can't be, or has other hooks than before.
        """
        loop = asyncio.get_running_loop()
        spawning = loop.run_in_executor(None, self._spawn)
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            spawning.add_done_callback(_discard)
            raise
        if process.hooks != self.hooks:
            await asyncio.to_thread(process.end)
            other = ", ".join(sorted(process.hooks)) or "none"
            raise ConfigError(f"callout {self.path}: has other hooks than before: {other}")
        self._adopt(process)
        self._attach(loop)

    def _resume(self) -> None:
        """Make the calls that wait, after those that tell a new callout what it has missed."""
        assert self._loop is not None
        if "dhcp_control" in self.hooks:
            told = any(call.hook == CONTROL for call in self._waiting)
            codes = [ControlCode.START, *([ControlCode.PAUSE] if self._paused and not told else [])]
            for code in reversed(codes):
                self._waiting.appendleft(self._made(CONTROL, code=code))
        self._since = math.inf  # not written yet, in the life of this one
        for call in self._waiting:
            self._send(call)

    # ── calls and returns ────────────────────────────────────────────────────────────────────────────────────────

    def _made(
        self,
        hook: int,
        data: bytes = b"",
        *,
        size: int = 0,
        ip_address: int = 0,
        code: int = 0,
        address: int = 0,
        client_type: int = 0,
        lease_time: int = 0,
        context: Context | None = None,
        given: bytes = b"",
    ) -> Call:
        assert self._loop is not None
        fields = (size or len(data), ip_address, code, address, client_type, lease_time)
        return Call(hook, fields, context, data, given, self._loop)

    def _call(self, hook: int, data: bytes = b"", **more: Any) -> asyncio.Future[Any]:
        """Have a call made; what it comes to."""
        loop = asyncio.get_running_loop()
        if self._stopped:
            raise CalloutFault(f"callout {self.name} is called after STOP")
        if loop is not self._loop:
            self._attach(loop)
        if not self._waiting and self._pipes is not None:
            self._pipes.read()  # it may have died meanwhile, for which this packet is not to blame
        if self._may_refuse(hook):
            if self._pipes is None and self._due - loop.time() > self._patience:
                raise CalloutFault(f"callout {self.name} is down, and started again in {self._due - loop.time():.1f} s")
            if len(self._waiting) * self._usual > self._patience or (
                self._waiting and loop.time() - self._waiting[0].made > self._patience
            ):
                raise CalloutFault(f"callout {self.name} is {len(self._waiting)} calls behind")
        call = self._made(hook, data, **more)
        self._enter(call)
        return call.future

    def _enter(self, call: Call) -> None:
        """Put it behind the others."""
        if not self._waiting:
            self._since = math.inf  # not written yet
        self._waiting.append(call)
        if self._pipes is not None:
            self._send(call)
        elif self._timer is None:
            self._tick()

    def _may_refuse(self, hook: int) -> bool:
        """Whether it is the first that the callout hears of a packet: what it let in it is to see to the end."""
        return hook == NEW_PKT or ("dhcp_new_pkt" not in self.hooks and hook not in (CONTROL, PKT_DROP))

    def _send(self, call: Call) -> None:
        """Write it with the others of this moment."""
        assert self._loop is not None
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += call.frame(self._generation)

    def _flush(self) -> None:
        if self._pipes is None or not self._unsent:
            return
        self._pipes.write(self._unsent)
        self._unsent = bytearray()
        if self._since == math.inf:
            self._since = self._now()
        if self._timer is None:
            self._tick()

    def _now(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    def _received(self, octets: bytes) -> None:
        if not octets:
            self._lost("")
            return
        octets, at, returned = self._unread + octets, 0, 0
        while len(octets) - at >= RETURN.size:
            length, state, result, process, size, _, context = RETURN.unpack_from(octets, at)
            end = at + RETURN.size + length
            if len(octets) < end:
                break
            if not self._waiting or state > State.FAULT:
                self._lost("wrote what is no return")
                return
            call = self._waiting.popleft()
            if result:
                self.results.heard(HOOKS[call.hook], result)
            if not call.future.done():
                self._return(call, state, process, size, context, octets[at + RETURN.size : end])
            at = end
            returned += 1
        self._unread = octets[at:]
        now = self._now()
        if returned:
            self._usual += ((now - self._since) / returned - self._usual) / 16
            self._since = now

    def _return(self, call: Call, state: int, process: int, size: int, pointer: int, data: bytes) -> None:
        if state == State.FAULT:
            self.faults[HOOKS[call.hook]] += 1
            call.fail(data.decode(errors="replace"))
            return
        if call.hook not in (NEW_PKT, PKT_SEND):
            call.future.set_result(None)
            return
        if state == State.KEPT:
            returned = Returned(call.given)
        elif state == State.CHANGED:
            returned = Returned(data)
        elif state == State.NULL:
            returned = Returned.null(call.given)
        else:
            returned = Returned.too_long(call.given, size)
        if call.hook == PKT_SEND:
            call.future.set_result(returned)
            return
        context = Context(self._generation, pointer) if pointer else None
        call.future.set_result(Received(returned, context, process != 0))

    def _tick(self) -> None:
        """See whether somebody has waited for too long, and look again when somebody may have."""
        loop, self._timer = self._loop, None
        assert loop is not None
        if self._pipes is not None:
            self._pipes.read()
        if not self._waiting:
            return
        now = loop.time()
        if self._pipes is None:
            while self._waiting and (self._waiting[0].made + self._patience <= now or self._due - now > self._patience):
                self._waiting.popleft().fail(f"callout {self.name} is down")
            if not self._waiting:
                return
            late = self._waiting[0].made + self._patience
        else:
            head = self._waiting[0]
            limit = self._deadline
            if head.hook == CONTROL:
                limit = min(STOP_TIMEOUT, self._control_timeout) if head.is_stop else self._control_timeout
            late = self._since + limit
            if late <= now:
                self._lost(f"it did not return within {limit:g} s")
                return
        # Whoever is first by then has another limit.
        self._timer = loop.call_at(min(late, now + self._deadline), self._tick)

    # ── the hooks ────────────────────────────────────────────────────────────────────────────────────────────────

    def control(self, code: int) -> Awaitable[None]:
        """``DhcpControlHook``. STOP ends the process behind it; START starts another one.

        Raises:
            ConfigError: at START, it can't be loaded again, or has other hooks than before.
        """
        return self._control(code)

    async def _control(self, code: int) -> None:
        loop = asyncio.get_running_loop()
        if self._stopped and code != ControlCode.START:
            return
        if self._process is None and (self._stopped or loop is not self._loop):
            await self._begin()
            self._stopped = False
        elif loop is not self._loop:
            self._attach(loop)
        self._paused = code == ControlCode.PAUSE or (self._paused and code != ControlCode.CONTINUE)
        try:
            # One that is down has nothing to end.
            if "dhcp_control" in self.hooks and (code != ControlCode.STOP or self._process is not None):
                await self._call(CONTROL, code=code)
        except BaseException:
            if code == ControlCode.START:  # who isn't started is not told to stop
                await self._stop()
            raise
        finally:
            if code == ControlCode.STOP:
                await self._stop()

    async def _stop(self) -> None:
        self._stopped, restarting = True, self._restarting
        self._forget("is called after STOP")
        if restarting is not None:
            await asyncio.wait((restarting,))
        process, self._process = self._process, None
        self._paused = False
        self._in_a_row = 0
        if process is not None:
            await asyncio.to_thread(process.end, STOP_TIMEOUT)
        log.info("callout %s: unloaded", self.name)

    def new_pkt(self, packet: bytes, interface: int) -> Awaitable[Received]:
        """``DhcpNewPktHook``."""
        return self._call(NEW_PKT, packet, ip_address=interface, given=packet)

    def pkt_drop(self, packet: bytes, reason: int, interface: int, context: Any) -> Awaitable[None]:
        """``DhcpPktDropHook``."""
        return self._call(PKT_DROP, packet, ip_address=interface, code=reason, context=context)

    def pkt_send(self, packet: bytes, interface: int, context: Any) -> Awaitable[Returned]:
        """``DhcpPktSendHook``."""
        return self._call(PKT_SEND, packet, ip_address=interface, code=SEND_PACKET, context=context, given=packet)

    def address_del(self, packet: bytes, problem: int, interface: int, address: int, context: Any) -> Awaitable[None]:
        """``DhcpAddressDelHook``."""
        return self._call(ADDRESS_DEL, packet, ip_address=interface, code=problem, address=address, context=context)

    def address_offer(
        self, packet: bytes, kind: int, interface: int, address: int, client_type: int, lease_time: int, context: Any
    ) -> Awaitable[None]:
        """``DhcpAddressOfferHook``."""
        return self._call(
            ADDRESS_OFFER,
            packet,
            ip_address=interface,
            code=kind,
            address=address,
            client_type=client_type,
            lease_time=lease_time,
            context=context,
        )

    def handle_options(self, packet: bytes, context: Any) -> Awaitable[None]:
        """``DhcpHandleOptionsHook``."""
        octets, values = locate(packet)
        options = OPTIONS.pack(*[NULL if value is None else value for value in values])
        return self._call(HANDLE_OPTIONS, options + octets, size=len(packet), context=context)

    def delete_client(self, address: int, hardware_address: bytes) -> Awaitable[None]:
        """``DhcpDeleteClientHook``."""
        return self._call(DELETE_CLIENT, hardware_address, ip_address=address)


def _discard(spawning: asyncio.Future[CalloutProcess]) -> None:
    if not spawning.cancelled() and spawning.exception() is None:
        spawning.result().end()
