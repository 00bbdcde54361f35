"""What a reservation service answers: a JSON object → a reservation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Annotated, Any, Final, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from aiodhcp import Definitions, Parameters

__all__ = ["Answer", "parse"]

LONGEST_WORDS: Final = 300
"""Characters of what is said of a wrong answer: it may be long."""
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_PARAMETERS: Final = frozenset(
    {"options", "lease_time", "min_lease_time", "max_lease_time", "next_server", "server_name", "boot_file"}
)


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f"expected an address like '192.0.2.10', got {text!r}") from None


def _host_name(text: str) -> str:
    if len(text) > 253 or not _HOST_NAME.fullmatch(text):
        raise ValueError(f"expected a host name, got {text!r}")
    return text


Address = Annotated[str, AfterValidator(_address)]


class Answer(BaseModel):
    """The object. Its keys are those of a reservation in a configuration; what it doesn't say, or says null to, the
    server knows.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="allow",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    address: Address | None = None
    hostname: Annotated[str, AfterValidator(_host_name)] | None = None
    options: dict[str, Any] | None = None
    lease_time: int | None = None
    min_lease_time: int | None = None
    max_lease_time: int | None = None
    next_server: Address | None = None
    server_name: str | None = None
    boot_file: str | None = None
    classes: list[str] = Field(default_factory=list)

    @property
    def unknown(self) -> list[str]:
        """Keys that mean nothing."""
        return sorted(self.model_extra or ())

    def parameters(self, definitions: Definitions) -> Parameters | None:
        """What the client is told; None if that is nothing.

        Raises:
            ValueError: an option doesn't exist, or can't have such a value; a number is out of range.
        """
        said: dict[str, Any] = {name: getattr(self, name) for name in _PARAMETERS if getattr(self, name) is not None}
        if self.hostname is not None:
            options: Mapping[str, Any] = said.get("options", {})
            if "host-name" in options:
                raise ValueError("hostname: is in the options already, as host-name")
            said |= {"options": {**options, "host-name": self.hostname}, "always_send": ["host-name"]}
        return Parameters(**said, definitions=definitions) if said else None


def parse(body: bytes, definitions: Definitions) -> tuple[Answer, Parameters | None]:
    """What a service says.

    Args:
        body: octets of JSON.
        definitions: which options there are.

    Raises:
        ValueError: it is none, or something in it is wrong; in words.
    """
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {_short(error)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, got {_short(repr(found))}")  # noqa: TRY004 - as all that is wrong
    try:
        answer = Answer.model_validate(found)
        return answer, answer.parameters(definitions)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(_short(f"{where}: {first['msg'].removeprefix('Value error, ')}")) from None
    except Exception as error:  # options may be anything, several levels deep
        raise ValueError(_short(str(error) or repr(error))) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _short(words: object) -> str:
    text = str(words)
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]}…"
