"""The numbers of RFC 2131, RFC 2132 and of ``dhcpssdk.h``, by name."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = [
    "BOOTP_MINIMUM_LENGTH",
    "BOOTP_REPLY",
    "BROADCAST_ADDRESS",
    "BROADCAST_FLAG",
    "CLIENT_PORT",
    "INFINITE",
    "MAGIC_COOKIE",
    "MAXIMUM_LENGTH",
    "MINIMUM_LENGTH",
    "SERVER_PORT",
    "AddressKind",
    "AddressProblem",
    "BindingState",
    "ClientType",
    "ControlCode",
    "DropReason",
    "LeaseQueryStatus",
    "MessageType",
    "Op",
    "message_name",
]

SERVER_PORT: Final = 67
"""Where servers and relay agents listen (RFC 2131 §4.1)."""
CLIENT_PORT: Final = 68
"""Where clients listen (RFC 2131 §4.1)."""
MAGIC_COOKIE: Final = b"\x63\x82\x53\x63"
"""The four octets that begin the options field (RFC 2131 §3)."""
BROADCAST_FLAG: Final = 0x8000
"""The leftmost bit of ``flags`` (RFC 2131 §2, figure 2)."""
BROADCAST_ADDRESS: Final = 0xFFFFFFFF
"""255.255.255.255 as an integer."""
INFINITE: Final = 0xFFFFFFFF
"""A lease time that means "for ever" (RFC 2131 §3.3)."""
MINIMUM_LENGTH: Final = 240
"""Octets up to and with the magic cookie: a shorter message is not DHCP."""
MAXIMUM_LENGTH: Final = 4096
"""Octets of the longest message we take or make: the buffer a callout is promised."""
BOOTP_MINIMUM_LENGTH: Final = 300
"""Octets to which replies are padded (RFC 951 §3: the fixed size of a BOOTP message)."""
BOOTP_REPLY: Final = 256
"""Where the type of a reply is asked for: that of a reply to a BOOTP client, which has no option 53."""


class Op(IntEnum):
    """The ``op`` field (RFC 2131 §2)."""

    BOOTREQUEST = 1
    BOOTREPLY = 2


class MessageType(IntEnum):
    """Option 53 (RFC 2132 §9.6; 9 RFC 3203 §4, 10 to 13 RFC 4388 §6.1, 14 and 15 RFC 6926 §6.2.1, 16 to 18 RFC 7724
    §6.2).
    """

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8
    FORCERENEW = 9
    LEASEQUERY = 10
    LEASEUNASSIGNED = 11
    LEASEUNKNOWN = 12
    LEASEACTIVE = 13
    BULKLEASEQUERY = 14
    LEASEQUERYDONE = 15
    ACTIVELEASEQUERY = 16
    LEASEQUERYSTATUS = 17
    TLS = 18


class LeaseQueryStatus(IntEnum):
    """Codes of option 151 (RFC 6926 §6.2.2, RFC 7724 §6.2)."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    QUERY_TERMINATED = 2
    MALFORMED_QUERY = 3
    NOT_ALLOWED = 4
    DATA_MISSING = 5
    CONNECTION_ACTIVE = 6
    CATCH_UP_COMPLETE = 7
    TLS_CONNECTION_REFUSED = 8


class BindingState(IntEnum):
    """Option 156, dhcp-state (RFC 6926 §6.2.7)."""

    AVAILABLE = 1
    ACTIVE = 2
    EXPIRED = 3
    RELEASED = 4
    ABANDONED = 5
    RESET = 6
    REMOTE = 7
    TRANSITIONING = 8


def message_name(kind: int) -> str:
    """A message type for people: ``"DISCOVER"``, ``"BOOTP"`` for none, ``"type 42"``."""
    if kind in (0, BOOTP_REPLY):
        return "BOOTP"
    return MessageType(kind).name if kind in MessageType._value2member_map_ else f"type {kind}"


class ControlCode(IntEnum):
    """``DHCP_CONTROL_*``: what a server tells its plugins about itself."""

    START = 0x1
    STOP = 0x2
    PAUSE = 0x3
    CONTINUE = 0x4


class DropReason(IntEnum):
    """``DHCP_DROP_*``: why a packet was dropped; PROCESSED says that it is finished."""

    DUPLICATE = 0x1
    NOMEM = 0x2
    INTERNAL_ERROR = 0x3
    TIMEOUT = 0x4
    UNAUTH = 0x5
    PAUSED = 0x6
    NO_SUBNETS = 0x7
    INVALID = 0x8
    WRONG_SERVER = 0x9
    NOADDRESS = 0xA
    PROCESSED = 0xB
    GEN_FAILURE = 0x100


class AddressProblem(IntEnum):
    """``DHCP_PROB_*``: why an address is taken back or refused."""

    CONFLICT = 0x20000001
    DECLINE = 0x20000002
    RELEASE = 0x20000003
    NACKED = 0x20000004


class AddressKind(IntEnum):
    """``DHCP_GIVE_ADDRESS_*``: a new lease, or one renewed."""

    NEW = 0x30000001
    OLD = 0x30000002


class ClientType(IntEnum):
    """``DHCP_CLIENT_*``: which protocol the client speaks."""

    BOOTP = 0x30000003
    DHCP = 0x30000004
