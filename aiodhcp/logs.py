"""Logs for the daemon: one line an event, as text or as JSON. A library that embeds the server sets up its own."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

__all__ = ["setup"]

_OWN: Final = frozenset(vars(logging.makeLogRecord({})))


class _Text(logging.Formatter):
    """``2026-01-31T12:00:00.000+00:00 INFO leases: leased 192.0.2.10 client=02:00:00:00:00:01``"""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return _time(record)


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update({key: value for key, value in vars(record).items() if key not in _OWN})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")


def setup(level: str = "info", *, as_json: bool = False) -> None:
    """Write the log to standard error.

    Args:
        level: "debug", "info", "warning" or "error".
        as_json: a JSON object a line, instead of text.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))
