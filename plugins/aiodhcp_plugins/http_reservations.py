"""http_reservations: asks an HTTP service, an inventory or an address plan, what is set aside for a client."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator, model_validator

from aiodhcp import ConfigError, ControlCode, DhcpServer, Drop, DropReason, Exchange, Reservation, Subnet, Use, hookimpl
from aiodhcp_plugins.option82 import CIRCUIT_ID, REMOTE_ID
from aiodhcp_plugins.reservation_answers import parse
from aiodhcp_plugins.reservation_cache import Cache, Entry, freshness
from aiodhcp_plugins.tables import File, Table

if TYPE_CHECKING:
    from aiodhcp_plugins.reservation_service import Fetched, ServiceError

__all__ = ["HttpReservations"]

log = logging.getLogger("aiodhcp_plugins.http_reservations")

LONGEST_TIMEOUT: Final = 10.0
DEADLINE: Final = 15.0
"""Seconds that the hook may take. It never does: it gives up by itself before."""
LOG_EVERY: Final = 60.0
"""Seconds between two lines of the log about the same kind of failure."""
_PLACE: Final = re.compile(r"\{([^{}]*)\}")

Verdict = Use[Reservation] | Drop | None
Key = tuple[str | bytes, ...]


@dataclass(frozen=True, slots=True)
class _Value:
    """What may stand in a URL.

    Attributes:
        of: takes it from a packet.
        write: as it is written.
        identifies: which identifier of a reservation it is; empty for none.
        in_query: whether it may stand behind the question mark only: it may have slashes and dots.
    """

    of: Callable[[Exchange, Subnet], bytes | str]
    write: Callable[[Any], str]
    identifies: str = ""
    in_query: bool = False


def _hex(octets: bytes) -> str:
    return octets.hex(":")


def _percent(value: bytes | str) -> str:
    return quote(value, safe="")


_VALUES: Final[Mapping[str, _Value]] = {
    "hardware-address": _Value(lambda exchange, _: exchange.chaddr, _hex, "hardware_address"),
    "client-id": _Value(lambda exchange, _: exchange.client_id, _hex, "client_id"),
    "circuit-id": _Value(lambda exchange, _: exchange.agent.get(CIRCUIT_ID, b""), _percent, "circuit_id", True),
    "circuit-id-hex": _Value(lambda exchange, _: exchange.agent.get(CIRCUIT_ID, b""), _hex, "circuit_id"),
    "remote-id": _Value(lambda exchange, _: exchange.agent.get(REMOTE_ID, b""), _percent, "remote_id", True),
    "remote-id-hex": _Value(lambda exchange, _: exchange.agent.get(REMOTE_ID, b""), _hex, "remote_id"),
    "subnet": _Value(lambda _, subnet: str(subnet), _percent),
}
_LEAST: Final = {"client_id": 2}
"""Octets of an identifier, where that is more than one."""


class HttpReservations:
    """Reserves what a service says, and remembers that for a while.

    Attributes:
        counts: what was asked and what came of it.
    """

    name = "http-reservations"

    class Settings(Table):
        """What ``[plugins.settings]`` may say."""

        url: str = Field(description="what to ask; with {hardware-address} and the like in it")
        ttl: float = Field(60.0, ge=0, description="seconds for which an answer counts that doesn't say for how long")
        negative_ttl: float = Field(30.0, ge=0, description="the same of a client that has no reservation")
        stale_if_error: float = Field(
            3600.0, ge=0, description="seconds for which an answer counts beyond that if the service fails"
        )
        unavailable: Literal["drop", "serve"] = Field(
            "drop", description="what becomes of a client of whom nothing can be learned: no answer, or as any other"
        )
        timeout: float = Field(1.0, gt=0, le=LONGEST_TIMEOUT, description="seconds to wait for an answer")
        concurrency: int = Field(16, ge=1, le=1000, description="requests at a time")
        queue: int = Field(256, ge=1, description="clients that may wait for an answer; of more nothing is learned")
        entries: int = Field(10000, ge=1, description="answers to remember, and as many that there is nothing")
        most_octets: int = Field(65536, ge=2, description="how long an answer may be")
        failures: int = Field(5, ge=1, description="so many in a row, and the service is left alone")
        retry_after: float = Field(5.0, gt=0, description="seconds until it is tried again; more if that fails, too")
        ca_file: File | None = Field(None, description="certificates to trust instead of the system's, PEM")
        token_file: File | None = Field(None, description="a file that has a bearer's token")
        token_variable: str = Field("", description="an environment variable that has it")
        user: str = Field("", description="a user's name, for Basic authentication")
        password_file: File | None = Field(None, description="a file that has the password")
        password_variable: str = Field("", description="an environment variable that has it")

        @field_validator("url")
        @classmethod
        def _check_url(cls, url: str) -> str:
            _check_template(url)
            return url

        @model_validator(mode="after")
        def _check_credentials(self) -> Self:
            token = [self.token_file is not None, bool(self.token_variable)]
            password = [self.password_file is not None, bool(self.password_variable)]
            if sum(token) + sum(password) > 1:
                raise ValueError("expected one of token-file, token-variable, password-file and password-variable")
            if bool(self.user) != any(password):
                raise ValueError("user: needs a password-file or a password-variable, and these need a user")
            if ":" in self.user:
                raise ValueError("user: can't have a colon")
            if self.ca_file is not None and urlsplit(self.url).scheme != "https":
                raise ValueError("ca-file: is for https")
            return self

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            from aiodhcp_plugins import reservation_service
        except ImportError as error:
            raise ConfigError(f"needs httpx: pip install 'aiodhcp[http]' ({error})") from None
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._names = _PLACE.findall(settings.url)
        self._of = [_VALUES[name].of for name in self._names]
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(settings.url))
        self._cache = Cache(settings.entries)
        self._credentials = reservation_service.Credentials(
            settings.user,
            settings.password_file if settings.user else settings.token_file,
            settings.password_variable if settings.user else settings.token_variable,
        )
        self._service = reservation_service.Service(
            settings.timeout,
            settings.concurrency,
            settings.most_octets,
            urlsplit(settings.url).scheme == "https",
            settings.ca_file,
            self._credentials,
        )
        self._error: type[ServiceError] = reservation_service.ServiceError
        self._new_breaker = partial(reservation_service.Breaker, settings.failures, settings.retry_after, clock)
        self._breaker = self._new_breaker()
        self._asking: dict[Key, asyncio.Task[Entry]] = {}
        self._stopped = False
        self._said: dict[str, tuple[float, int]] = {}

    # ── hooks ────────────────────────────────────────────────────────────────────────────────────────────────────

    @hookimpl
    async def dhcp_control(self, server: DhcpServer, code: ControlCode) -> None:
        """At START read certificates and credentials; at STOP close all connections."""
        if code is ControlCode.START:
            self._stopped, self._breaker = False, self._new_breaker()
            await self._service.open()
            for each in server.hooks.plugins:
                before = each.plugin
                if (
                    isinstance(before, HttpReservations)
                    and before is not self
                    and before.settings.url == self.settings.url
                ):
                    # For as long as the service fails; else a reload would keep clients out then.
                    self._cache.take_over(before._cache)
            if self._credentials and urlsplit(self.settings.url).scheme == "http":
                log.warning(
                    "%s is asked in the clear, and so everybody on the way learns the credentials", self._origin
                )
        elif code is ControlCode.STOP:
            self._stopped = True
            asking = list(self._asking.values())
            for task in asking:
                task.cancel()
            if asking:
                await asyncio.wait(asking)
            await self._service.close()

    @hookimpl(deadline=DEADLINE)
    def reservation_lookup(self, subnet: Subnet, exchange: Exchange) -> Awaitable[Verdict] | Verdict:
        """Say what is known, or ask."""
        key = tuple([of(exchange, subnet) for of in self._of])
        entry = self._cache.get(key)
        if entry is not None and self._clock() < entry.fresh_until:
            self.counts["remembered"] += 1
            return self._verdict(entry, subnet)
        asking = self._asking.get(key)
        if asking is not None:
            self.counts["joined"] += 1
            return self._await(asking, subnet)
        identity = self._identity(key)
        if not identity:
            return None
        if self._stopped:
            return self._without(entry, subnet, "the server stops")
        if len(self._asking) >= self.settings.queue:
            self._count_failure("queue")
            self._say("queue", f"{len(self._asking)} clients wait for an answer already")
            return self._without(entry, subnet, "too many wait")
        if not self._breaker.may_try():
            return self._without(entry, subnet, "it failed and is left alone")
        task = asyncio.get_running_loop().create_task(
            self._ask(key, identity, entry, exchange), name="aiodhcp reservation"
        )
        self._asking[key] = task
        task.add_done_callback(lambda done: self._asked(key, done))
        return self._await(task, subnet)

    # ── what a client gets ───────────────────────────────────────────────────────────────────────────────────────

    async def _await(self, asking: asyncio.Task[Entry], subnet: Subnet) -> Verdict:
        # It goes on for those who ask again, if this packet is not waited for any more.
        return self._verdict(await asyncio.shield(asking), subnet)

    def _verdict(self, entry: Entry, subnet: Subnet) -> Verdict:
        if entry.failure:
            return self._unavailable(entry.failure)
        if entry.reservation is None:
            return None
        address = entry.reservation.address
        found = entry.reservation if address is None or address in subnet else entry.elsewhere
        return None if found is None else Use(found)

    def _without(self, entry: Entry | None, subnet: Subnet, why: str) -> Verdict:
        """The service isn't asked."""
        if entry is not None and not entry.failure and self._clock() < entry.stale_until:
            self.counts["stale"] += 1
            return self._verdict(entry, subnet)
        return self._unavailable(why)

    def _unavailable(self, why: str) -> Drop | None:
        self.counts["unavailable"] += 1
        if self.settings.unavailable == "serve":
            return None
        return Drop(DropReason.INTERNAL_ERROR, f"the reservation service: {why}")

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _identity(self, key: Key) -> dict[str, bytes]:
        """What a reservation is known by: of what is asked by, the client's own and the relay agent's."""
        found: dict[str, bytes] = {}
        for name, octets in zip(self._names, key, strict=True):
            kind = _VALUES[name].identifies
            if isinstance(octets, bytes) and _LEAST.get(kind, 1) <= len(octets) <= 255:
                found[kind] = octets
        if "hardware_address" in found:
            # A reservation has one of the two.
            found.pop("client_id", None)
        return found

    def _url(self, key: Key) -> str:
        written = (_VALUES[name].write(value) for name, value in zip(self._names, key, strict=True))
        return _PLACE.sub(lambda _: next(written), self.settings.url)

    async def _ask(self, key: Key, identity: dict[str, bytes], known: Entry | None, exchange: Exchange) -> Entry:
        self.counts["asked"] += 1
        try:
            fetched = await self._service.get(self._url(key), known.etag if known is not None else "")
            entry = self._entry(fetched, identity, known, exchange)
        except self._error as error:
            return self._failed(key, known, error)
        except Exception as error:
            log.exception("a fault of aiodhcp, please report it")
            return self._failed(key, known, self._error("fault", repr(error)))
        self._worked()
        now = self._clock()
        ttl = self.settings.negative_ttl if entry.reservation is None else self.settings.ttl
        fresh, stale, kept = freshness(fetched.headers, ttl, self.settings.stale_if_error)
        entry.fresh_until, entry.stale_until = now + fresh, now + fresh + stale
        if entry.reservation is not None:
            entry.etag = fetched.headers.get("etag", known.etag if known is not None and fetched.unchanged else "")
        if kept:
            self._cache.put(key, entry)
        else:
            self._cache.forget(key)
        return entry

    def _asked(self, key: Key, task: asyncio.Task[Entry]) -> None:
        self._asking.pop(key, None)
        # Read, so that asyncio doesn't complain that nobody did.
        if not task.cancelled():
            task.exception()

    def _entry(self, fetched: Fetched, identity: dict[str, bytes], known: Entry | None, exchange: Exchange) -> Entry:
        """What an answer means.

        Raises:
            ServiceError: nothing.
        """
        if fetched.body is None:
            self.counts["none"] += 1
            return Entry(None, None)
        if known is not None and known.reservation is not None and (fetched.unchanged or fetched.body == known.body):
            # The very same object: what a client is told is prepared by that.
            self.counts["unchanged"] += 1
            return Entry(known.reservation, known.elsewhere, known.body)
        try:
            answer, parameters = parse(fetched.body, exchange.config.definitions)
            said: dict[str, Any] = {**identity, "classes": answer.classes}
            if parameters is not None:
                said["parameters"] = parameters
            elsewhere = Reservation(**said)
            found = elsewhere if answer.address is None else Reservation(**said, address=answer.address)
        except ValueError as error:
            raise self._error("answer", f"a wrong answer: {error}", False) from None
        if answer.unknown:
            self._say("keys", f"keys of an answer that mean nothing: {', '.join(map(ascii, answer.unknown[:9]))}")
        self.counts["found"] += 1
        return Entry(found, elsewhere, fetched.body)

    def _worked(self) -> None:
        if self._breaker.worked():
            log.warning("%s answers again", self._origin)

    def _failed(self, key: Key, known: Entry | None, error: ServiceError) -> Entry:
        """What is said instead of an answer."""
        self._count_failure(error.kind)
        self._say(error.kind, str(error))
        if error.is_down:
            rest = self._breaker.failed()
            if rest:
                log.error("%s is left alone for %g seconds: %s", self._origin, rest, error)
        else:
            self._worked()
        now = self._clock()
        again = now + self.settings.negative_ttl
        if known is not None and not known.failure and now < known.stale_until:
            self.counts["stale"] += 1
            if not error.is_down:
                known.fresh_until = min(again, known.stale_until)
            return known
        failed = Entry(None, None, failure=str(error))
        if not error.is_down:
            # It would say the same again.
            failed.fresh_until = again
            self._cache.put(key, failed)
        return failed

    # ── what is said of it ───────────────────────────────────────────────────────────────────────────────────────

    def _count_failure(self, kind: str) -> None:
        self.counts[f"failed_{kind}"] += 1

    def _say(self, kind: str, words: str) -> None:
        """Write to the log, but not too often; without the URL, of which a part is the client's."""
        now = self._clock()
        said, more = self._said.get(kind, (float("-inf"), 0))
        if now - said < LOG_EVERY:
            self._said[kind] = said, more + 1
            return
        self._said[kind] = now, 0
        log.warning("%s: %s%s", self._origin, words, f" ({more} more like that)" if more else "")


def _check_template(url: str) -> None:
    """Whether it is a URL with what can stand in one.

    Raises:
        ValueError: it isn't.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected a URL of ASCII characters, without spaces")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL that begins with https:// or http:// and a host")
    if "@" in parts.netloc:
        raise ValueError("can't have a password in it: say user and password-file")
    if parts.fragment:
        raise ValueError("can't have a fragment, which no service sees")
    _ = parts.port
    names = _PLACE.findall(url)
    for name in names:
        if name not in _VALUES:
            raise ValueError(f"there is no {{{name}}}; there are {', '.join(f'{{{each}}}' for each in _VALUES)}")
        if _VALUES[name].in_query and f"{{{name}}}" in parts.path:
            raise ValueError(
                f"{{{name}}} may have slashes and dots in it, and stands behind a '?' only: say {{{name}-hex}}"
            )
    rest = _PLACE.sub("", url)
    if "{" in parts.netloc or "{" in rest or "}" in rest:
        raise ValueError("has a brace where none can be")
    if not any(_VALUES[name].identifies for name in names):
        raise ValueError("expected something of the client in it, like {hardware-address}")
