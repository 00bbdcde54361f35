"""webhook_delivery: one batch of events, one POST; and what the answer means."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
import json
import logging
import random
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiodhcp import ConfigError
from aiodhcp_plugins.webhook_outbox import Waiting

if TYPE_CHECKING:
    import httpx

__all__ = ["Delivery", "Outcome", "delay", "encode", "retry_after", "signature"]

TRY_AGAIN: Final = frozenset({408, 425, 429})
"""The refusals that time may mend (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4); besides all 5xx."""
TOO_MUCH: Final = frozenset({400, 413, 422})
"""What one event may have brought upon a whole batch."""
LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds that an endpoint may ask to be left alone."""
MOST_ANSWER: Final = 65536
"""Octets of an answer that are read, so that the connection can be used again; more close it."""
MOST_REASON: Final = 300


class Outcome(NamedTuple):
    """What became of a POST.

    Attributes:
        status: of the answer; 0 without one.
        reason: in words, what was wrong; empty when nothing was.
        retry_after: seconds to wait before the next try, if the endpoint says so.
    """

    status: int
    reason: str = ""
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the endpoint has taken it."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether it is of no use to try again."""
        return 300 <= self.status < 500 and self.status not in TRY_AGAIN


class Delivery:
    """A way to an endpoint.

    Args:
        url: of the endpoint.
        headers: to send with each POST.
        secret: what the body is signed with; empty for no signature.
        timeout: seconds that a POST may take in all.
        ca_file: whom to trust, instead of those whom the system trusts.

    Raises:
        ConfigError: httpx is not installed.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], secret: bytes, timeout: float, ca_file: Path | None
    ) -> None:
        try:
            import httpx  # noqa: F401 - refused now, and not at the first POST
        except ImportError as error:
            raise ConfigError(f"needs httpx: pip install 'aiodhcp[webhook]' ({error})") from None
        self._url = url
        self._headers = dict(headers)
        self._secret = secret
        self._timeout = timeout
        self._ca_file = ca_file
        self._client: httpx.AsyncClient | None = None
        # It is imported at the start, in a thread: a reload makes plugins while packets come.
        if importlib.util.find_spec("httpx") is None:
            raise ConfigError("needs httpx: pip install 'aiodhcp[webhook]'")

    def open(self) -> None:
        """Be ready.

        Raises:
            ConfigError: the certificates can't be read.
        """
        import httpx

        try:
            trusted = ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{self._ca_file}: {error.strerror or error}") from None
        # A line for each POST, in the log of the server, is not news.
        if logging.getLogger("httpx").level == logging.NOTSET:
            logging.getLogger("httpx").setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(verify=trusted, timeout=self._timeout, trust_env=False)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def post(self, events: Sequence[Waiting]) -> Outcome:
        """Try to deliver some events."""
        import httpx

        assert self._client is not None
        body = encode(events)
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "Idempotency-Key": f'"{events[0].id}+{len(events)}"',
        }
        if self._secret:
            headers["Aiodhcp-Signature"] = signature(self._secret, body)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                said = b""
                async for octets in response.aiter_raw():
                    said += octets
                    if len(said) > MOST_ANSWER:
                        break
        except TimeoutError:
            return Outcome(0, f"no answer within {self._timeout:g} seconds")
        except (httpx.HTTPError, OSError) as error:
            return Outcome(0, str(error) or type(error).__name__)
        outcome = Outcome(response.status_code)
        if outcome.delivered:
            return outcome
        words = "".join(each if each.isprintable() else " " for each in said[:MOST_REASON].decode(errors="replace"))
        reason = f"{response.status_code} {response.reason_phrase}: {words}".rstrip(": ")
        return outcome._replace(reason=reason, retry_after=retry_after(response.headers.get("Retry-After", "")))


def encode(events: Sequence[Waiting]) -> bytes:
    """The body of a POST."""
    return json.dumps({"events": [each.body for each in events]}, separators=(",", ":")).encode()


def signature(secret: bytes, body: bytes) -> str:
    """What the header ``Aiodhcp-Signature`` says: an HMAC-SHA256 (RFC 2104) of the body, in hex."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def retry_after(text: str, now: datetime | None = None) -> float | None:
    """Seconds that a header ``Retry-After`` (RFC 9110 §10.2.3) asks for, an hour at most; None if it says nothing."""
    if text.strip().isdecimal() and len(text) < 12:
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def delay(failures: int, first: float, longest: float) -> float:
    """Seconds before the next try: twice as many after each failure, less some by chance: not all come at once."""
    return min(longest, first * 2.0 ** min(failures - 1, 60)) * random.uniform(0.5, 1.0)
