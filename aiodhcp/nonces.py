"""Nonces: by which a client knows that a FORCERENEW is from its server (RFC 6704, with the option of RFC 3118).

The server gives a client a nonce with its lease; later it signs a FORCERENEW with that, and the client verifies it.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from aiodhcp.constants import BOOTP_MINIMUM_LENGTH, MAGIC_COOKIE, MINIMUM_LENGTH, MessageType, Op
from aiodhcp.errors import DecodeError
from aiodhcp.leases import Lease
from aiodhcp.packet import FIXED_FIELDS, MESSAGE_TYPE, option_bytes, scan_options

if TYPE_CHECKING:
    from aiodhcp.exchange import Exchange

__all__ = ["AUTHENTICATION", "FORCERENEW_NONCE_CAPABLE", "Nonces", "capable", "forcerenew", "nonce_in", "verified"]

SERVER_ID, CLIENT_ID, AUTHENTICATION, FORCERENEW_NONCE_CAPABLE = 54, 61, 90, 145
HMAC_MD5: Final = 1
"""The only algorithm there is (RFC 6704 §3.1.1)."""
_KIND: Final = bytes((3, HMAC_MD5, 0))
"""Protocol: reconfigure key; algorithm; replay detection method: a counter (RFC 6704 §3.1.2)."""
_NONCE: Final = 1
_DIGEST: Final = 2
_SIZE: Final = 16
"""Octets, of a nonce and of a digest."""
_LENGTH: Final = len(_KIND) + 8 + 1 + _SIZE
_WRAP: Final = 1 << 64
CAPABLE: Final = option_bytes(FORCERENEW_NONCE_CAPABLE, bytes((HMAC_MD5,)))


class Nonces:
    """Gives clients their nonces. One for an engine and for those that take over from it.

    Attributes:
        seed: from which the nonces follow: 16 to 64 octets that nobody else knows. Without it there are none.
        unheeded: addresses whose clients did as if they had no nonce: they get another one when they renew.
    """

    def __init__(self) -> None:
        self.seed = b""
        self.unheeded: set[int] = set()
        self._drawn = 0
        self._last = 0

    def offer(self, exchange: Exchange) -> None:
        """A client that knows of nonces learns from its OFFER that the server does, too (RFC 6704 §3.1.1)."""
        if self.seed and capable(exchange.received) and exchange.config.force_renew != "off":
            exchange.force_renew = CAPABLE

    def give(self, exchange: Exchange, address: int, known: Lease | None) -> bytes | None:
        """The nonce of a lease that is about to be acknowledged, which is told by the ACK if it is a new one.

        A client in SELECTING or INIT-REBOOT has none; one that renews or rebinds keeps what it has, so that it goes
        over the wire as seldom as can be (RFC 6704 §3.1.3).

        Args:
            exchange: a REQUEST, or a DISCOVER that is answered at once.
            address: the lease's.
            known: the lease as it was, if it is renewed.
        """
        received = exchange.received
        if exchange.config.force_renew == "off" or not exchange.message_type:
            return None
        asks = capable(received)
        renews = known is not None and exchange.ciaddr and SERVER_ID not in received
        if renews and known is not None and known.nonce and not (asks and address in self.unheeded):
            return known.nonce
        if not asks or not self.seed:
            return None
        self._drawn += 1
        nonce = blake2b(
            b"%d %d" % (self._drawn, address), digest_size=_SIZE, key=self.seed, person=b"RFC 6704 nonce"
        ).digest()
        self.unheeded.discard(address)
        said = _KIND + self.replay_detection(exchange.now) + bytes((_NONCE,)) + nonce
        exchange.force_renew = option_bytes(AUTHENTICATION, said)
        return nonce

    def replay_detection(self, now: float) -> bytes:
        """A counter that never stands still or goes back: the time, in units of 2**-32 seconds (RFC 3118 §2).

        Args:
            now: seconds since 1970.
        """
        self._last = max(self._last + 1, int(now * (1 << 32)))
        return (self._last % _WRAP).to_bytes(8, "big")


def capable(received: dict[int, bytes]) -> bool:
    """Whether a client says that it knows of nonces, and of an algorithm that we know."""
    return HMAC_MD5 in received.get(FORCERENEW_NONCE_CAPABLE, b"")


def forcerenew(lease: Lease, server_id: int, replay_detection: bytes) -> bytes:
    """A FORCERENEW (RFC 3203 §4) as it leaves: signed with the nonce of the lease, if it has one.

    It answers nothing, so its xid is 0. It is a unicast past all relay agents: nothing of it changes on the way but
    what RFC 3118 §3 has as 0, ``hops`` and ``giaddr``, which are 0 in any case.
    """
    fields = FIXED_FIELDS.pack(
        Op.BOOTREPLY, lease.htype, len(lease.chaddr), 0, 0, 0, 0, lease.address, 0, 0, 0, lease.chaddr
    )
    options = option_bytes(MESSAGE_TYPE, bytes((MessageType.FORCERENEW,)))
    options += option_bytes(SERVER_ID, server_id.to_bytes(4, "big"))
    if lease.client != bytes((lease.htype,)) + lease.chaddr:
        options += option_bytes(CLIENT_ID, lease.client)
    head = fields + bytes(MINIMUM_LENGTH - len(fields) - len(MAGIC_COOKIE)) + MAGIC_COOKIE + options
    if lease.nonce is None:
        return (head + b"\xff").ljust(BOOTP_MINIMUM_LENGTH, b"\0")
    head += bytes((AUTHENTICATION, _LENGTH)) + _KIND + replay_detection + bytes((_DIGEST,))
    message = (head + bytes(_SIZE) + b"\xff").ljust(BOOTP_MINIMUM_LENGTH, b"\0")
    return head + hmac.digest(lease.nonce, message, "md5") + message[len(head) + _SIZE :]


def verified(data: bytes, nonce: bytes) -> int:
    """The replay detection of a FORCERENEW that was signed with ``nonce`` (RFC 6704 §3.1.2): the client's part.

    Args:
        data: the message as it came.
        nonce: what the server gave.

    Raises:
        DecodeError: it is no message, or not signed, or not with this nonce.
    """
    value = scan_options(data).get(AUTHENTICATION, b"")
    if len(value) != _LENGTH or value[:3] != _KIND or value[11] != _DIGEST:
        raise DecodeError("it is not signed as RFC 6704 has it")
    at = data.find(bytes((AUTHENTICATION, _LENGTH)) + value, MINIMUM_LENGTH)
    if at < 0:
        raise DecodeError("its signature is in pieces, or not in the options field")
    end = at + 2 + _LENGTH
    signed = data[:3] + b"\0" + data[4:24] + bytes(4) + data[28 : end - _SIZE] + bytes(_SIZE) + data[end:]
    if not hmac.compare_digest(hmac.digest(nonce, signed, "md5"), value[-_SIZE:]):
        raise DecodeError("it is not signed with the nonce of the lease")
    return int.from_bytes(value[3:11], "big")


def nonce_in(value: bytes) -> tuple[bytes, int] | None:
    """The nonce and the replay detection that option 90 of an ACK says; None if it says something else."""
    if len(value) != _LENGTH or value[:3] != _KIND or value[11] != _NONCE:
        return None
    return value[-_SIZE:], int.from_bytes(value[3:11], "big")
