"""Options in a configuration: definitions of its own, the spaces of vendors, and values by all these names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from aiodhcp.codecs import Codec
from aiodhcp.definitions import Definitions, OptionDefinition
from aiodhcp.options import STANDARD_OPTIONS
from aiodhcp.parameters import MAY_BE_LEFT_OUT, encode_settings, option_codes
from aiodhcp.records import codec_of

__all__ = ["AlwaysSend", "NeverSend", "OptionTables", "OptionValues", "Table", "context"]

DEFINITIONS = "definitions"


def context(definitions: Definitions) -> dict[str, Any]:
    """What pydantic is to be told, so that values are looked up in these definitions."""
    return {DEFINITIONS: definitions}


def _definitions(info: ValidationInfo) -> Definitions:
    found: Definitions = (info.context or {}).get(DEFINITIONS, STANDARD_OPTIONS)
    return found


def _values(value: dict[str, Any], info: ValidationInfo) -> dict[int, bytes]:
    return encode_settings(value, _definitions(info))


def _always(value: list[int | str], info: ValidationInfo) -> tuple[int, ...]:
    return option_codes("always_send", value, _definitions(info))


def _never(value: list[int | str], info: ValidationInfo) -> tuple[int, ...]:
    return option_codes("never_send", value, _definitions(info), MAY_BE_LEFT_OUT)


# What a file writes, checked into what Parameters keep: octets by code, and codes.
OptionValues = Annotated[dict[Any, Any], AfterValidator(_values)]
AlwaysSend = Annotated[list[int | str], AfterValidator(_always)]
NeverSend = Annotated[list[int | str], AfterValidator(_never)]


class Table(BaseModel):
    """A table of a configuration file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )


class DefinitionTable(Table):
    """``[[option-definition]]``: an option that is not in the table of options, or has no format there."""

    name: str = Field(description="what it is called in options: lower-case letters, digits and hyphens")
    code: int = Field(description="1 to 254; 0 to 255 in an option-space")
    type: str = Field("", description="the type of its value")
    record: list[str] = Field(default_factory=list, description="the types of its fields, for one that has several")
    array: bool = Field(False, description="whether it has any number of such values")
    encapsulate: str = Field("", description="the option-space of the options inside of it, in the place of a type")

    @model_validator(mode="after")
    def _check_type(self) -> Self:
        if not self.encapsulate:
            codec_of(self.type, self.record, self.array)
        elif self.type or self.record or self.array:
            raise ValueError("encapsulate: is in the place of a type, a record and an array")
        return self

    def added_to(self, definitions: Definitions, top: Definitions) -> Definitions:
        """``definitions`` with this one; ``top`` has the spaces.

        Raises:
            ValueError: there is no such space, or the name or the code is taken.
        """
        return definitions.with_option(OptionDefinition(self.code, self.name, self._codec(top), "the configuration"))

    def _codec(self, top: Definitions) -> Codec:
        if not self.encapsulate:
            return codec_of(self.type, self.record, self.array)
        if self.encapsulate not in top.spaces:
            known = ", ".join(top.spaces) or "none"
            raise ValueError(f"encapsulate: expected an option-space that is defined before, {known}")
        return top.spaces[self.encapsulate].codec


class SpaceTable(Table):
    """``[[option-space]]``: the options of a vendor, inside of option 43 or 125."""

    name: str = Field(description="what it is called in options")
    enterprise: int | None = Field(None, ge=0, le=0xFFFFFFFF, description="whose it is in option 125 (option 43)")
    option_definition: list[DefinitionTable] = Field(default_factory=list)


class OptionTables(Table):
    """What defines options; the rest of a file is read by these definitions."""

    model_config = ConfigDict(extra="ignore")

    option_definition: list[DefinitionTable] = Field(default_factory=list)
    option_space: list[SpaceTable] = Field(default_factory=list)

    def definitions(self) -> Definitions:
        """The standard options and those of the file.

        Raises:
            ValueError: a name or a code is taken, or a space is not defined; the message begins with the key.
        """
        found = STANDARD_OPTIONS
        for at, space in enumerate(self.option_space):
            key = f"option-space[{at}]"
            options = Definitions((), codes=range(256) if space.enterprise is not None else range(1, 255))
            for number, each in enumerate(space.option_definition):
                with _inside(f"{key}.option-definition[{number}]"):
                    options = each.added_to(options, found)
            with _inside(key):
                found = found.with_space(space.name, options, space.enterprise)
        for at, each in enumerate(self.option_definition):
            with _inside(f"option-definition[{at}]"):
                found = each.added_to(found, found)
        return found

    @model_validator(mode="after")
    def _check_definitions(self) -> Self:
        self.definitions()
        return self


@contextmanager
def _inside(key: str) -> Iterator[None]:
    """Say in the message of a ``ValueError`` where it was."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from None
