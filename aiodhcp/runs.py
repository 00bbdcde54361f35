"""Runs: what a replay came to, as JSON to keep, and what is other than in an earlier run.

A run is a file with one object a line: what it is of, each request, and at last how many there were. Nothing in it
differs from one time to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from aiodhcp.changes import Change, changes
from aiodhcp.constants import BROADCAST_ADDRESS, message_name
from aiodhcp.describe import describe
from aiodhcp.errors import AiodhcpError, DecodeError
from aiodhcp.exchange import Exchange
from aiodhcp.implementations import Implementation
from aiodhcp.packet import Packet
from aiodhcp.recorded import Recorded
from aiodhcp.replay import Replayed

__all__ = [
    "Baseline",
    "Difference",
    "RunError",
    "as_line",
    "beginning",
    "decided_by",
    "fields",
    "outcome",
    "record",
    "reply_fields",
]

VERSION: Final = 1
_SAME: Final = frozenset({"frame", "time", "xid"})
"""What a request has in any run."""


class RunError(AiodhcpError):
    """A file is no run, or one of another capture."""


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────


def beginning(recorded: Recorded) -> dict[str, Any]:
    """The first line: what it is of."""
    return {"replay": VERSION, "sha256": recorded.digest, "frames": recorded.frames, "requests": recorded.requests}


def as_line(value: Mapping[str, Any]) -> str:
    """A line of the file, with its end."""
    return json.dumps(value) + "\n"


def record(replayed: Replayed, implementations: Iterable[Implementation]) -> dict[str, Any]:
    """What became of a request: the line of the file; what there is nothing to say of is not in it."""
    exchange, captured = replayed.exchange, replayed.pair.captured
    known: dict[str, Any] = {
        "frame": captured.frame,
        "time": round(captured.time, 6),
        "interface": exchange.interface.name,
        "client": exchange.hardware_address,
        "message": message_name(exchange.message_type) if exchange.client else "",
        "xid": f"{exchange.xid:08x}",
        "relay": str(IPv4Address(exchange.giaddr)) if exchange.giaddr else "",
        "supposed": replayed.supposed,
        "hooks": [f"{each.hook} of {each.plugin}: {each.said}" for each in exchange.trace or () if each.said],
        "verdict": outcome(exchange),
        "reason": "" if exchange.reason is None else exchange.reason.name,
        "by": decided_by(exchange, implementations),
        "why": exchange.why,
        "subnet": "" if exchange.subnet is None else str(exchange.subnet),
        "address": str(IPv4Address(exchange.yiaddr)) if exchange.yiaddr else "",
        "lease_time": exchange.lease_time,
        "to": _destination(exchange),
        "reply": reply_fields(exchange),
    }
    return {name: value for name, value in known.items() if value or name in _SAME}


def outcome(exchange: Exchange) -> str:
    """In a word or two: the name of the reply, "dropped", "vetoed" or "no reply"."""
    if exchange.reason is not None:
        return "dropped"
    if exchange.vetoed:
        return "vetoed"
    return message_name(exchange.reply_type) if exchange.answer is not None else "no reply"


def decided_by(exchange: Exchange, implementations: Iterable[Implementation]) -> str:
    """The hook that dropped or refused a packet, and its plugin; empty where none did."""
    if exchange.refusal:
        refused = [each for each in exchange.trace or () if each.said.startswith("Nak(")]
        return f"{refused[-1].hook} of {refused[-1].plugin}" if refused else ""
    if not exchange.dropped:
        return ""
    for each in implementations:
        words = [f"{each.hook} of {each.plugin}", f"{each.hook} of plugin {each.plugin}"]
        words += [f"vetoed by {each.plugin}"] if each.hook == "dhcp_new_pkt" else []
        if any(exchange.why == said or exchange.why.startswith((f"{said}:", f"{said} ")) for said in words):
            return f"{each.hook} of {each.plugin}"
    return ""


def _destination(exchange: Exchange) -> str:
    answer = exchange.answer
    if answer is None:
        return ""
    everybody = answer.destination == BROADCAST_ADDRESS
    return f"{'everybody' if everybody else IPv4Address(answer.destination)}, port {answer.port}"


def reply_fields(exchange: Exchange) -> dict[str, str]:
    """What the reply says, fields and options by name; empty where there is none."""
    if exchange.answer is None:
        return {}
    try:
        packet = Packet(exchange.answer.data)
    except DecodeError as error:  # what a plugin left as octets leaves as these
        return {"octets": f"{exchange.answer.data.hex(':')} ({error})"}
    packet.options.definitions = exchange.config.definitions
    return fields(packet)


def fields(packet: Packet) -> dict[str, str]:
    """What a message says that is not known of its request."""
    return {name: text for name, text in describe(packet) if name not in ("xid", "chaddr")}


# ── what is other than it was ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Difference:
    """A request that came to something else.

    Attributes:
        record: the line of this run; None if only the other has it.
        changes: what is other than it was.
    """

    record: Mapping[str, Any] | None
    changes: list[Change]


class Baseline:
    """An earlier run, read along with this one: no more of it is kept than a line.

    Args:
        path: the file.
        recorded: the capture of this run.

    Raises:
        RunError: it can't be read, is no run, or one of another capture.
    """

    def __init__(self, path: Path, recorded: Recorded) -> None:
        self._path = path
        self._lines = self._read()
        head = next(self._lines, {})
        if head.get("replay") != VERSION:
            raise RunError(f"{path}: expected what aiodhcp replay --save wrote")
        if head.get("sha256") != recorded.digest:
            raise RunError(f"{path}: is a run of another capture")
        self._next = self._request()

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    value = json.loads(line)
                    if not isinstance(value, dict):
                        raise RunError(f"{self._path}:{number}: expected an object, as aiodhcp replay --save writes it")
                    yield value
        except OSError as error:
            raise RunError(f"{self._path}: can't be read: {error.strerror}") from None
        except ValueError as error:
            raise RunError(f"{self._path}: expected what aiodhcp replay --save wrote: {error}") from None

    def _request(self) -> dict[str, Any] | None:
        line = next(self._lines, None)
        if line is None:
            raise RunError(f"{self._path}: is cut off: its last line is missing")
        return None if "totals" in line else line

    def differences(self, found: Mapping[str, Any]) -> Iterator[Difference]:
        """What is other than it was, up to this request.

        Args:
            found: the line of this run; the lines come in the order of the capture.

        Raises:
            RunError: the file is damaged.
        """
        frame = found["frame"]
        while self._next is not None and self._next.get("frame", 0) < frame:
            yield self._gone(self._next)
            self._next = self._request()
        if self._next is None or self._next.get("frame") != frame:
            yield Difference(found, [Change("request", None, f"frame {frame}, which was left out")])
            return
        altered = changes(_flat(self._next, found), _flat(found, self._next))
        self._next = self._request()
        if altered:
            yield Difference(found, altered)

    def rest(self) -> Iterator[Difference]:
        """What this run does not have any more.

        Raises:
            RunError: the file is damaged.
        """
        while self._next is not None:
            yield self._gone(self._next)
            self._next = self._request()

    def _gone(self, line: Mapping[str, Any]) -> Difference:
        return Difference(None, [Change("request", f"frame {line.get('frame')}", None)])


def _flat(line: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a request; those of its reply where both runs have one."""
    found: dict[str, str] = {}
    for name, value in line.items():
        if name == "reply":
            if "reply" in other:
                found.update({f"reply {key}": str(text) for key, text in value.items()})
        elif name not in _SAME:
            found[name.replace("_", " ")] = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found
