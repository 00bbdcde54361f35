"""The numbers and the errors: what RFC 2131, RFC 2132 and ``dhcpssdk.h`` say, written down a second time."""

from __future__ import annotations

from enum import IntEnum

import pytest

from aiodhcp import constants, errors
from aiodhcp.constants import (
    AddressKind,
    AddressProblem,
    BindingState,
    ClientType,
    ControlCode,
    DropReason,
    LeaseQueryStatus,
    MessageType,
    Op,
)
from aiodhcp.errors import AiodhcpError, ConfigError, DecodeError, Dropped, StoreError

CODES: list[tuple[type[IntEnum], dict[str, int]]] = [
    (Op, {"BOOTREQUEST": 1, "BOOTREPLY": 2}),
    (
        MessageType,
        {
            "DISCOVER": 1,
            "OFFER": 2,
            "REQUEST": 3,
            "DECLINE": 4,
            "ACK": 5,
            "NAK": 6,
            "RELEASE": 7,
            "INFORM": 8,
            "FORCERENEW": 9,
            "LEASEQUERY": 10,
            "LEASEUNASSIGNED": 11,
            "LEASEUNKNOWN": 12,
            "LEASEACTIVE": 13,
            "BULKLEASEQUERY": 14,
            "LEASEQUERYDONE": 15,
            "ACTIVELEASEQUERY": 16,
            "LEASEQUERYSTATUS": 17,
            "TLS": 18,
        },
    ),
    (
        LeaseQueryStatus,
        {
            "SUCCESS": 0,
            "UNSPEC_FAIL": 1,
            "QUERY_TERMINATED": 2,
            "MALFORMED_QUERY": 3,
            "NOT_ALLOWED": 4,
            "DATA_MISSING": 5,
            "CONNECTION_ACTIVE": 6,
            "CATCH_UP_COMPLETE": 7,
            "TLS_CONNECTION_REFUSED": 8,
        },
    ),
    (
        BindingState,
        {
            "AVAILABLE": 1,
            "ACTIVE": 2,
            "EXPIRED": 3,
            "RELEASED": 4,
            "ABANDONED": 5,
            "RESET": 6,
            "REMOTE": 7,
            "TRANSITIONING": 8,
        },
    ),
    (ControlCode, {"START": 0x1, "STOP": 0x2, "PAUSE": 0x3, "CONTINUE": 0x4}),
    (
        DropReason,
        {
            "DUPLICATE": 0x1,
            "NOMEM": 0x2,
            "INTERNAL_ERROR": 0x3,
            "TIMEOUT": 0x4,
            "UNAUTH": 0x5,
            "PAUSED": 0x6,
            "NO_SUBNETS": 0x7,
            "INVALID": 0x8,
            "WRONG_SERVER": 0x9,
            "NOADDRESS": 0xA,
            "PROCESSED": 0xB,
            "GEN_FAILURE": 0x100,
        },
    ),
    (
        AddressProblem,
        {"CONFLICT": 0x20000001, "DECLINE": 0x20000002, "RELEASE": 0x20000003, "NACKED": 0x20000004},
    ),
    (AddressKind, {"NEW": 0x30000001, "OLD": 0x30000002}),
    (ClientType, {"BOOTP": 0x30000003, "DHCP": 0x30000004}),
]


@pytest.mark.parametrize(("enum", "codes"), CODES, ids=lambda each: each.__name__ if isinstance(each, type) else "")
def test_codes(enum: type[IntEnum], codes: dict[str, int]) -> None:
    assert {name: member.value for name, member in enum.__members__.items()} == codes


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SERVER_PORT", 67),
        ("CLIENT_PORT", 68),
        ("MAGIC_COOKIE", bytes((99, 130, 83, 99))),  # RFC 2131 §3, in decimal there
        ("BROADCAST_FLAG", 0b1000_0000_0000_0000),
        ("BROADCAST_ADDRESS", 2**32 - 1),
        ("INFINITE", 2**32 - 1),
        ("MINIMUM_LENGTH", 1 + 1 + 1 + 1 + 4 + 2 + 2 + 4 + 4 + 4 + 4 + 16 + 64 + 128 + 4),  # RFC 2131 §2, table 1
        ("MAXIMUM_LENGTH", 4 * 1024),
        ("BOOTP_MINIMUM_LENGTH", 236 + 64),  # RFC 951 §3: vend has 64 octets
    ],
)
def test_numbers(name: str, number: int | bytes) -> None:
    assert getattr(constants, name) == number


def test_names_are_all_public() -> None:
    imported = ("Final", "IntEnum")
    names = [name for name in vars(constants) if name[0].isupper() and name not in imported]
    assert sorted(constants.__all__) == sorted([*names, "message_name"])
    assert sorted(errors.__all__) == sorted(
        name for name in vars(errors) if name.endswith(("Error", "Dropped", "Lost"))
    )


@pytest.mark.parametrize("error", [DecodeError, ConfigError])
def test_a_wrong_value_is_a_value_error(error: type[AiodhcpError]) -> None:
    assert issubclass(error, AiodhcpError)
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("error", [StoreError, Dropped])
def test_other_errors_are_no_value_errors(error: type[AiodhcpError]) -> None:
    assert issubclass(error, AiodhcpError)
    assert not issubclass(error, ValueError)


def test_dropped_says_why() -> None:
    dropped = Dropped(DropReason.NOADDRESS, "no free address in 192.0.2.0/24")
    assert dropped.reason is DropReason.NOADDRESS
    assert dropped.why == "no free address in 192.0.2.0/24"
    assert str(dropped) == "NOADDRESS: no free address in 192.0.2.0/24"
