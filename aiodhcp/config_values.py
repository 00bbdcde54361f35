"""Configuration values: what a TOML file writes as text, like durations, networks, addresses and ranges."""

from __future__ import annotations

import math
import os
import re
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator

from aiodhcp.constants import INFINITE
from aiodhcp.subnets import parse_range

__all__ = [
    "Address",
    "ControlPath",
    "Delay",
    "Duration",
    "LogLevel",
    "Network",
    "Range",
    "Seconds",
    "default_store_path",
    "parse_duration",
    "parse_seconds",
]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(?:\d+[smhdw])+")
_SHORT: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")


def parse_duration(value: object) -> int:
    """``"12h"``, ``"1d12h"``, ``"infinite"`` or a number of seconds, in seconds.

    Raises:
        ValueError: none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("infinite", "never"):
            return INFINITE
        if text.isdecimal() and int(text):
            return int(text)
        if _DURATION.fullmatch(text):
            seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text))
            if 0 < seconds < INFINITE:
                return seconds
    raise ValueError(f"expected a duration like '90s', '12h', '1d12h' or 'infinite', got {value!r}")


def parse_seconds(value: object) -> float:
    """``0.5``, ``"500ms"``, ``"2s"``, ``inf`` or ``"infinite"``, in seconds, where less than one makes sense.

    Raises:
        ValueError: none of these.
    """
    text = value.strip().lower() if isinstance(value, str) else ""
    short = _SHORT.fullmatch(text)
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif text in ("infinite", "never", "inf"):
        seconds = math.inf
    elif short is not None:
        seconds = float(short[1]) * {"ms": 0.001, "": 1}.get(short[2], _UNITS.get(short[2], 1))
    elif _DURATION.fullmatch(text):
        seconds = float(parse_duration(text))
    if seconds > 0:
        return seconds
    raise ValueError(f"expected seconds like 0.5, or a duration like '500ms', '2s' or 'infinite', got {value!r}")


def parse_delay(value: object) -> float:
    """The same, or 0 for none.

    Raises:
        ValueError: neither.
    """
    none = value == 0 if isinstance(value, int | float) else value in ("0", "0s", "0ms")
    return 0.0 if none and not isinstance(value, bool) else parse_seconds(value)


def default_store_path() -> Path:
    """Where leases are kept when nothing is said."""
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", "C:/ProgramData"), "aiodhcp", "leases.sqlite")
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/aiodhcp/leases.sqlite")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "aiodhcp/leases.sqlite"


def _network(value: object) -> IPv4Network:
    try:
        return IPv4Network(value if isinstance(value, IPv4Network) else str(value))
    except ValueError as error:
        raise ValueError(f"expected a network like '192.168.50.0/24', got {value!r} ({error})") from None


def _ip(value: object) -> int:
    try:
        return int(IPv4Address(value if isinstance(value, int) else str(value)))
    except ValueError:
        raise ValueError(f"expected an address like '192.168.50.1', got {value!r}") from None


def _range(value: object) -> tuple[int, int]:
    try:
        return parse_range(value if isinstance(value, str) else str(value))
    except ValueError as error:
        raise ValueError(
            f"expected a range like '192.168.50.100-192.168.50.199', a network or an address, got {value!r} ({error})"
        ) from None


def _control(value: object) -> object:
    if value is None or value is False or isinstance(value, Path):
        return value
    if isinstance(value, str) and value:
        return Path(value)
    raise ValueError(f"expected the path of a socket, or false for none, got {value!r}")


def _logging_level(level: str) -> str:
    if level.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError(f"expected 'debug', 'info', 'warning' or 'error', got {level!r}")
    return level.lower()


Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Delay = Annotated[float, BeforeValidator(parse_delay)]
Duration = Annotated[int, BeforeValidator(parse_duration)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
Address = Annotated[int, BeforeValidator(_ip)]
Range = Annotated[tuple[int, int], BeforeValidator(_range)]
ControlPath = Annotated[Path | Literal[False] | None, BeforeValidator(_control)]
LogLevel = Annotated[str, AfterValidator(_logging_level)]
