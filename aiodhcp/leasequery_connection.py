"""A TCP connection of a requestor: bulk leasequery (RFC 6926) and active leasequery (RFC 7724), after TLS if it likes.

Each message goes behind two octets that say its length. Queries are answered one after the other, in pieces, so that
neither the event loop nor the memory of the server depends on how many leases there are, or on who reads slowly.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Final

from aiodhcp.constants import INFINITE, MAXIMUM_LENGTH, MINIMUM_LENGTH, DropReason, LeaseQueryStatus, MessageType
from aiodhcp.engine import Engine
from aiodhcp.errors import DecodeError
from aiodhcp.leasequery import EVERYTHING, Question, read_question
from aiodhcp.leases import Lease

__all__ = ["Connection"]

log = logging.getLogger("aiodhcp.leasequery")

DATA_TIMEOUT: Final = 300.0
"""BULK_LQ_DATA_TIMEOUT (RFC 6926 §6.3): seconds in which a requestor has to ask, and to take what it is told."""
SEND_TIMEOUT: Final = 120.0
"""ACTIVE_LQ_SEND_TIMEOUT (RFC 7724 §6.3): seconds in which a subscriber has to take what it is told."""
IDLE_TIMEOUT: Final = 60.0
"""ACTIVE_LQ_IDLE_TIMEOUT (RFC 7724 §6.3): seconds after which a subscriber hears that there is nothing new."""
STRANGER_TIMEOUT: Final = 5.0
"""Seconds in which somebody who may not ask has to ask, to hear that."""
TLS_TIMEOUT: Final = 30.0
CLOSING_TIMEOUT: Final = 5.0
"""Seconds in which what was said last may still be taken when the server ends a connection."""
LEASES_AT_ONCE: Final = 32
"""That are told of before others have their turn."""
LOOKED_AT_ONCE: Final = 1024
"""That are looked at before others have their turn, if they are not to be told of."""
MOST_PENDING: Final = 65536
"""Changed leases that a subscriber has not taken yet; one that has more of them is cut off."""


class Connection:
    """One requestor.

    Args:
        reader, writer: the connection.
        engine: the engine to ask, which may be another one after a reload.
        clock: the time, in seconds since 1970.
        allows: whether a requestor may ask.
        tls: with which to begin TLS; None to refuse that.
        tls_required: whether nothing is told without it.
        known_since: from when on all changes of leases are known, in seconds since 1970.

    Attributes:
        peer: the requestor's address.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        engine: Callable[[], Engine],
        clock: Callable[[], float],
        allows: Callable[[int], bool],
        *,
        tls: ssl.SSLContext | None = None,
        tls_required: bool = False,
        known_since: float = 0.0,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._engine = engine
        self._clock = clock
        self._tls = tls
        self._tls_required = tls_required
        self._known_since = known_since
        self.peer = IPv4Address((writer.get_extra_info("peername") or ("0.0.0.0",))[0])
        self._allowed = allows(int(self.peer))
        self._own = int(IPv4Address((writer.get_extra_info("sockname") or ("0.0.0.0",))[0]))
        self._first = True
        self._secured = False
        # What is being answered, and what a subscriber is still to be told of.
        self._answering: Question | None = None
        self._subscribed: Question | None = None
        self._pending: dict[int, Lease] = {}
        self._changed = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    @property
    def may_ask(self) -> bool:
        """Whether the requestor is told anything."""
        return self._allowed

    async def converse(self) -> None:
        """Answer until the requestor goes, or takes too long. Raises nothing but what cancels it."""
        try:
            while await self._answer_next():
                pass
            self._writer.close()
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._writer.wait_closed()
        except DecodeError as error:
            self._engine().dropped[DropReason.INVALID] += 1
            log.log(logging.INFO if self._allowed else logging.DEBUG, "%s: closed: %s", self.peer, error)
        except (OSError, EOFError, TimeoutError) as error:
            log.debug("%s: the connection is gone: %r", self.peer, error)
            self._writer.transport.abort()
        except asyncio.CancelledError:
            self._terminate()
            raise
        except Exception:
            log.exception("a fault of aiodhcp, please report it")
        finally:
            self._writer.close()
            # Who takes nothing more must not keep it open.
            asyncio.get_running_loop().call_later(CLOSING_TIMEOUT, self._writer.transport.abort)
            if self._telling is not None:
                self._telling.cancel()
                await asyncio.wait((self._telling,))

    def _terminate(self) -> None:
        """The server stops, or the requestor may not ask any more: what it waits for doesn't come (RFC 6926 §8.4)."""
        terminated, why = LeaseQueryStatus.QUERY_TERMINATED, "the server ends the connection"
        for question, kind in (
            (self._answering, MessageType.LEASEQUERYDONE),
            (self._subscribed, MessageType.LEASEQUERYSTATUS),
        ):
            if question is not None:
                self._status(kind, question, terminated, why)

    def committed(self, leases: Sequence[Lease]) -> None:
        """These leases changed, and are on stable storage: a subscriber is to be told."""
        if self._subscribed is None:
            return
        for lease in leases:
            self._pending.pop(lease.address, None)
            self._pending[lease.address] = lease
        if len(self._pending) > MOST_PENDING:
            log.warning("%s reads too slowly: %d changes of leases wait for it", self.peer, len(self._pending))
            self._pending.clear()
            self._writer.transport.abort()
        self._changed.set()

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer_next(self) -> bool:
        """Whether there may be more to answer."""
        data = await self._receive()
        if data is None:
            return False
        question = read_question(data)
        kind = question.kind
        self._engine().received[kind] += 1
        first, self._first = self._first, False
        done = MessageType.LEASEQUERYSTATUS if kind == MessageType.ACTIVELEASEQUERY else MessageType.LEASEQUERYDONE
        if kind == MessageType.LEASEQUERYSTATUS:
            # Nothing that a requestor says by it is a question.
            return True
        if kind == MessageType.TLS and self._allowed:
            return await self._begin_tls(question, first)
        if not self._allowed or (self._tls_required and not self._secured):
            why = "TLS has to begin first" if self._allowed else f"{self.peer} may not ask for leases"
            self._engine().dropped[DropReason.UNAUTH] += 1
            self._status(done, question, LeaseQueryStatus.NOT_ALLOWED, why)
            return False
        why = question.malformed or self._obstacle(question)
        if why:
            self._engine().dropped[DropReason.INVALID] += 1
            self._status(done, question, LeaseQueryStatus.MALFORMED_QUERY, why)
            await self._drain(DATA_TIMEOUT)
        elif kind == MessageType.BULKLEASEQUERY:
            await self._bulk(question)
        else:
            self._subscribe(question)
        return True

    def _obstacle(self, question: Question) -> str:
        """Why a message can't be answered that can be read, in words."""
        if question.kind == MessageType.BULKLEASEQUERY:
            return ""
        if question.kind != MessageType.ACTIVELEASEQUERY:
            return f"message type {question.kind} is no query by TCP"
        if question.query is not EVERYTHING:
            return f"an active leasequery for {question.query}: it can only be for all"
        return "there is an active leasequery already" if self._subscribed is not None else ""

    async def _receive(self) -> bytes | None:
        """The next message; None when the requestor says no more.

        Raises:
            DecodeError: it is too short or too long to be one.
            EOFError: it ends in the middle.
            TimeoutError: it takes too long.
        """
        seconds = DATA_TIMEOUT if self._allowed else STRANGER_TIMEOUT
        while True:
            begin = b""
            try:
                async with asyncio.timeout(seconds):
                    begin = await self._reader.read(1)
                    if not begin:
                        return None
                    length = int.from_bytes(begin + await self._reader.readexactly(1))
                    if not MINIMUM_LENGTH <= length <= MAXIMUM_LENGTH:
                        raise DecodeError(f"a message of {length} octets")
                    return await self._reader.readexactly(length)
            except TimeoutError:
                if self._subscribed is None or begin:
                    raise

    def _send(self, data: bytes, kind: int) -> None:
        self._writer.write(len(data).to_bytes(2) + data)
        self._engine().sent[kind] += 1

    def _status(self, kind: MessageType, question: Question, status: LeaseQueryStatus, why: str = "") -> None:
        answers = self._engine().leasequery
        self._send(answers.status(kind, question.xid, self._server_id(), self._clock(), status, why), kind)

    def _tell(self, question: Question, lease: Lease, now: float) -> None:
        kind = MessageType.LEASEACTIVE if lease.holds(now) else MessageType.LEASEUNASSIGNED
        self._send(self._engine().leasequery.binding(question, lease, now, self._server_id()), kind)

    def _server_id(self) -> int:
        return self._engine().config.server_id or self._own

    async def _drain(self, seconds: float) -> None:
        """Wait until the requestor has taken most of what it was told, and let others have their turn."""
        async with asyncio.timeout(seconds):
            await self._writer.drain()
        await asyncio.sleep(0)

    async def _tell_changed(self, question: Question, seconds: float) -> None:
        """Tell of the leases that are asked for, some at a time."""
        answers = self._engine().leasequery
        now, work = self._clock(), 0
        for lease in answers.find(question.query):
            work += 1
            if answers.changed(question, lease, now):
                self._tell(question, lease, now)
                work += LOOKED_AT_ONCE // LEASES_AT_ONCE
            if work >= LOOKED_AT_ONCE:
                await self._drain(seconds)
                now, work = self._clock(), 0

    # ── bulk leasequery ──────────────────────────────────────────────────────────────────────────────────────────

    async def _bulk(self, question: Question) -> None:
        """RFC 6926 §8.2, §8.3."""
        self._answering = question
        await self._tell_changed(question, DATA_TIMEOUT)
        self._answering = None
        self._status(MessageType.LEASEQUERYDONE, question, LeaseQueryStatus.SUCCESS)
        await self._drain(DATA_TIMEOUT)

    # ── active leasequery ────────────────────────────────────────────────────────────────────────────────────────

    def _subscribe(self, question: Question) -> None:
        """RFC 7724 §8: from now on, tell of every change."""
        self._subscribed = question = question._replace(last=INFINITE)
        self._telling = asyncio.create_task(self._follow(question), name=f"aiodhcp active leasequery of {self.peer}")

    async def _follow(self, question: Question) -> None:
        try:
            if question.since:
                await self._catch_up(question)
            while True:
                try:
                    async with asyncio.timeout(IDLE_TIMEOUT):
                        await self._changed.wait()
                except TimeoutError:
                    self._status(MessageType.LEASEQUERYSTATUS, question, LeaseQueryStatus.CONNECTION_ACTIVE)
                self._changed.clear()
                await self._tell_pending(question)
        except (OSError, TimeoutError) as error:
            log.info("%s: the active leasequery is over: %r", self.peer, error)
            self._writer.transport.abort()
        except Exception:
            log.exception("a fault of aiodhcp, please report it")
            self._writer.transport.abort()

    async def _catch_up(self, question: Question) -> None:
        """What changed since the requestor was here last; what changes meanwhile follows (RFC 7724 §8.2)."""
        if question.first < self._known_since:
            why = "what was before the start of the server is not known"
            self._status(MessageType.LEASEQUERYSTATUS, question, LeaseQueryStatus.DATA_MISSING, why)
        await self._tell_changed(question, SEND_TIMEOUT)
        self._status(MessageType.LEASEQUERYSTATUS, question, LeaseQueryStatus.CATCH_UP_COMPLETE)

    async def _tell_pending(self, question: Question) -> None:
        while self._pending:
            now = self._clock()
            for address in list(self._pending)[:LEASES_AT_ONCE]:
                self._tell(question, self._pending.pop(address), now)
            await self._drain(SEND_TIMEOUT)
        await self._drain(SEND_TIMEOUT)

    # ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _begin_tls(self, question: Question, first: bool) -> bool:
        """RFC 7724 §8.1: TLS is begun before anything else is asked, or refused."""
        if self._tls is None or not first:
            why = "it has to begin before anything else" if self._tls is not None else "the server has no certificate"
            self._status(MessageType.TLS, question, LeaseQueryStatus.TLS_CONNECTION_REFUSED, why)
            await self._drain(DATA_TIMEOUT)
            return True
        if getattr(self._reader, "_buffer", b""):
            # Else it would count as said by whoever TLS proves to be there.
            raise DecodeError("more was sent before TLS began")
        self._status(MessageType.TLS, question, LeaseQueryStatus.SUCCESS)
        await self._writer.start_tls(self._tls, ssl_handshake_timeout=TLS_TIMEOUT)
        self._secured = True
        log.debug("%s: %s", self.peer, self._writer.get_extra_info("cipher"))
        return True
