"""Service: asks a reservation service by HTTP, within limits, and leaves it alone while it fails."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

import httpx

import aiodhcp
from aiodhcp import ConfigError

__all__ = ["Breaker", "Credentials", "Fetched", "Service", "ServiceError"]

LONGEST_REST: Final = 60.0
"""Seconds for which a service that goes on failing is left alone, unless a longer time is configured."""
KEEPALIVE: Final = 30.0
"""Seconds for which an idle connection is kept."""
_FOUND, _UNCHANGED, _NONE = HTTPStatus.OK, HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_FOUND
_NOT_ALLOWED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_OVERLOADED: Final = HTTPStatus.TOO_MANY_REQUESTS


class ServiceError(Exception):
    """There is no answer.

    Attributes:
        kind: in a word, for counting.
        is_down: whether others would get none, either.
    """

    def __init__(self, kind: str, words: str, is_down: bool = True) -> None:
        super().__init__(words)
        self.kind = kind
        self.is_down = is_down


class Fetched(NamedTuple):
    """An answer.

    Attributes:
        body: octets; None if the service knows no such client.
        unchanged: it is as it was, and the body is empty.
        headers: names in lower case.
    """

    body: bytes | None
    unchanged: bool
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where what is said in the header Authorization is from.

    Attributes:
        user: for Basic; empty for a bearer's token.
        file: that has the token or password; None if it is in ``variable``, an environment variable.
    """

    user: str = ""
    file: Path | None = None
    variable: str = ""

    def __bool__(self) -> bool:
        return self.file is not None or bool(self.variable)

    def header(self) -> str:
        """What is to be said.

        Raises:
            ConfigError: it isn't there. The words don't have it.
        """
        if self.file is not None:
            where = str(self.file)
            try:
                secret = self.file.read_text("utf-8-sig").strip()
            except OSError as error:
                raise ConfigError(f"{where}: {error.strerror or error}") from error
            except UnicodeDecodeError:
                raise ConfigError(f"{where}: is not UTF-8 text") from None
        else:
            where = f"environment variable {self.variable}"
            secret = os.environ.get(self.variable, "").strip()
        if not secret:
            raise ConfigError(f"{where}: is empty")
        if self.user:
            return "Basic " + base64.b64encode(f"{self.user}:{secret}".encode()).decode()
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise ConfigError(f"{where}: expected a token, one word of ASCII characters")
        return f"Bearer {secret}"


class Breaker:
    """Whether to ask a service that failed.

    Args:
        failures: in a row, after which it is left alone.
        rest: seconds until one request tries it again; twice as many each time that this fails.
        clock: seconds, from any beginning.
    """

    def __init__(self, failures: int, rest: float, clock: Callable[[], float]) -> None:
        self._failures = failures
        self._rest = rest
        self._clock = clock
        self._in_a_row = 0
        self._until = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether the service is left alone, or only tried."""
        return self._in_a_row >= self._failures

    def may_try(self) -> bool:
        """Whether to ask it now. Who may has to tell what came of it."""
        if not self.is_open:
            return True
        if self._trying or self._clock() < self._until:
            return False
        self._trying = True
        return True

    def failed(self) -> float:
        """It failed. For how many seconds it is left alone now; 0 if it isn't, or was before."""
        begins = self._trying or not self.is_open
        self._trying = False
        self._in_a_row += 1
        if not self.is_open or not begins:
            return 0.0
        rest = min(self._rest * 2.0 ** min(self._in_a_row - self._failures, 30), max(LONGEST_REST, self._rest))
        self._until = self._clock() + rest
        return rest

    def worked(self) -> bool:
        """It answered. Whether it was left alone before."""
        closes = self.is_open
        self._in_a_row, self._trying = 0, False
        return closes


class Service:
    """One service. Redirects are not followed, and neither proxies nor passwords are taken from the environment.

    Args:
        timeout: seconds for one answer, with the time it waits for others.
        concurrency: requests at a time.
        most_octets: of an answer.
        secure: whether by TLS, with the certificate checked.
        ca_file: certificates to trust instead of the system's.
        credentials: what to say who asks.
    """

    def __init__(
        self,
        timeout: float,
        concurrency: int,
        most_octets: int,
        secure: bool,
        ca_file: Path | None,
        credentials: Credentials,
    ) -> None:
        self._timeout = timeout
        self._concurrency = concurrency
        self._most_octets = most_octets
        self._secure = secure
        self._ca_file = ca_file
        self._credentials = credentials
        self._authorization = ""
        self._room = asyncio.Semaphore(concurrency)
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def open(self) -> None:
        """Read certificates and credentials.

        Raises:
            ConfigError: they can't be read.
        """
        context, self._authorization = await asyncio.to_thread(self._read)
        self._room = asyncio.Semaphore(self._concurrency)
        # Not an AsyncClient, which keeps cookies and writes each URL to the log.
        self._transport = httpx.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=self._concurrency,
                max_keepalive_connections=self._concurrency,
                keepalive_expiry=KEEPALIVE,
            ),
        )

    async def close(self) -> None:
        """Let go of all connections. May be called twice."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _read(self) -> tuple[ssl.SSLContext, str]:
        try:
            # One that trusts nobody, where none is needed: to read all that the system trusts takes a while.
            context = (
                ssl.create_default_context(cafile=self._ca_file)
                if self._secure
                else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{self._ca_file}: {error.strerror or error}") from error
        return context, self._credentials.header() if self._credentials else ""

    async def get(self, url: str, etag: str = "") -> Fetched:
        """Ask.

        Args:
            url: what for.
            etag: of the answer that is known; empty if none is.

        Raises:
            ServiceError: there is no answer.
        """
        try:
            async with asyncio.timeout(self._timeout), self._room:
                if self._transport is None:
                    await self.open()
                elif self._credentials and not self._authorization:
                    self._authorization = await asyncio.to_thread(self._credentials.header)
                try:
                    return await self._get(url, etag)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    # It may have closed a connection that was kept, just when this request began.
                    return await self._get(url, etag)
        except TimeoutError:
            raise ServiceError("timeout", f"no answer within {self._timeout:g} seconds") from None
        except httpx.ConnectError as error:
            raise ServiceError("connect", f"can't be reached: {_words(error)}") from None
        except httpx.TransportError as error:
            raise ServiceError("broken", f"the connection broke: {_words(error)}") from None
        except ConfigError as error:
            raise ServiceError("credentials", str(error)) from None

    async def _get(self, url: str, etag: str) -> Fetched:
        transport = self._transport
        if transport is None:
            raise ServiceError("stopped", "the server stops")
        headers = {
            "Accept": "application/json",
            # So that what is counted is what comes.
            "Accept-Encoding": "identity",
            "User-Agent": f"aiodhcp/{aiodhcp.__version__}",
        }
        if self._authorization:
            headers["Authorization"] = self._authorization
        if etag:
            headers["If-None-Match"] = etag
        response = await transport.handle_async_request(httpx.Request("GET", url, headers=headers))
        try:
            return await self._read_answer(response, etag)
        finally:
            await response.aclose()

    async def _read_answer(self, response: httpx.Response, etag: str) -> Fetched:
        status, headers = response.status_code, dict(response.headers)
        if status == _FOUND:
            if headers.get("content-encoding", "identity") != "identity":
                raise ServiceError("answer", f"it is encoded, {headers['content-encoding']!a}", False)
            return Fetched(await self._body(response), False, headers)
        if status == _UNCHANGED and etag:
            # Read, though there is nothing, so that the connection can be kept.
            return Fetched(await self._body(response), True, headers)
        if status == _NONE:
            try:
                await self._body(response)
            except ServiceError:
                pass
            return Fetched(None, False, headers)
        if status in _NOT_ALLOWED:
            # There may be another token by now.
            self._authorization = ""
            raise ServiceError("credentials", f"status {status}: it wants to know who asks, or forbids it")
        if 300 <= status < 400:
            raise ServiceError("redirect", f"status {status}: redirects are not followed")
        raise ServiceError("status", f"status {status}", status >= 500 or status == _OVERLOADED)

    async def _body(self, response: httpx.Response) -> bytes:
        octets = bytearray()
        async for some in response.aiter_raw():
            octets += some
            if len(octets) > self._most_octets:
                raise ServiceError("long", f"an answer of more than {self._most_octets} octets", False)
        return bytes(octets)


def _words(error: Exception) -> str:
    return str(error) or repr(error)
