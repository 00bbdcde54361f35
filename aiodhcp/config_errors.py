"""What is wrong with a configuration, for people: the file, the line, the key, what was expected and what was found.

It serves every pydantic model: the core's settings, and those of a plugin.
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
import typing
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aiodhcp.errors import ConfigError
from aiodhcp.wording import did_you_mean

__all__ = ["Problem", "Refusal", "Source", "field_keys", "problems", "read_toml"]

Where = tuple[str | int, ...]


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        where: the keys and indices that lead to it; empty for the whole.
        words: what is wrong there.
    """

    where: Where
    words: str

    def __str__(self) -> str:
        return f"{_spoken(self.where)}: {self.words}" if self.where else self.words

    def inside(self, *where: str | int) -> Problem:
        """The same, seen from the outside of the table that is at ``where``."""
        return Problem((*where, *self.where), self.words)


class Refusal(ConfigError):
    """All that is wrong with one table, before it is known on which lines.

    Attributes:
        problems: seen from this table.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Final[Sequence[Problem]] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from.

    Attributes:
        name: what it is called in errors: the file as it was named, or "command line".
        text: what the file held, which is how lines are known; None if it is no file.
        directory: where the file is; None if it is no file.
    """

    name: str
    text: str | None = None
    directory: Path | None = None

    def error(self, found: Iterable[Problem]) -> ConfigError:
        """All of it as one error, a line each, in the order of the file."""
        if self.text is None:
            return ConfigError("\n".join(f"{self.name}: {each}" for each in found))
        lines = sorted((_line(self.text, each.where), str(each)) for each in found)
        return ConfigError("\n".join(f"{self.name}:{line}: {words}" for line, words in lines))


def read_toml(path: str | os.PathLike[str]) -> tuple[Source, dict[str, Any]]:
    """Read a file, and what it says as Python values.

    Raises:
        ConfigError: it can't be read, or is not TOML.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text: {error}") from None
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        words = str(error).replace(found[0], f" in column {found[2]}") if found else str(error)
        if twice := re.match(r"Cannot mutate immutable namespace \('([\w-]+)'", words):
            words = f"{twice[1]}: is given above, as a whole: keep either that or the table here"
        raise ConfigError(f"{file}:{line}: {words}") from None
    return Source(str(file), text, file.absolute().parent), table


def problems(
    error: ValidationError, model: type[BaseModel], *, show_input: bool = True, file: bool = False
) -> list[Problem]:
    """What pydantic found to be wrong, in words for people.

    Args:
        error: what it raised.
        model: the one that refused, for the keys that it knows.
        show_input: whether the words quote what was found.
        file: whether it is the model of a whole file, whose first keys stand before all tables.
    """
    return [_problem(each, model, show_input, file) for each in error.errors(include_url=False)]


def field_keys(model: type[BaseModel], name: str, field: FieldInfo) -> list[str]:
    """The keys by which a model takes a field, the one to show to people first."""
    config = model.model_config
    keys: list[str] = []
    if config.get("validate_by_alias", True) is not False:
        alias = field.validation_alias if field.validation_alias is not None else field.alias
        for each in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            first = each.path[0] if isinstance(each, AliasPath) else each
            keys += [first] if isinstance(first, str) else []
    if not keys or config.get("populate_by_name") or config.get("validate_by_name"):
        keys.append(name)
    return keys


_PREFIX: Final = re.compile(r"((?:[\w-]+(?:\[\d+\])?\.)*(?:[\w-]+(?:\[\d+\])?)): ")
"""The key that the message of a validator of a whole table begins with: ``options.routers: expected ...``."""
_STEP: Final = re.compile(r"([\w-]+)|\[(\d+)\]")


def _problem(error: ErrorDetails, model: type[BaseModel], show_input: bool, file: bool) -> Problem:
    where: Where = error["loc"]
    words = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return _value_problem(where, words, model)
    if error["type"] == "extra_forbidden":
        if file and len(where) > 1 and where[-1] in _keys(model, ()):
            return Problem(where, "there is no such key here: it stands at the top, before the first [table]")
        return Problem(where, f"there is no such key{did_you_mean(str(where[-1]), _keys(model, where[:-1]))}")
    if error["type"] == "missing":
        return Problem(where, "this key is needed")
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        words = "expected a table"
    words = words[0].lower() + words[1:].replace("Input should be", "expected").replace("valid ", "")
    words = words.replace("input should be", "expected").replace("expected a integer", "expected an integer")
    given = error["input"]
    if error["type"] == "list_type" and isinstance(given, dict) and _keys(model, where):
        words += f" of tables: [[{'.'.join(step for step in where if isinstance(step, str))}]]"
    if show_input and not isinstance(given, dict | list):
        words += f", got {given!r}"
    return Problem(where, words)


def _value_problem(where: Where, words: str, model: type[BaseModel]) -> Problem:
    prefix = _PREFIX.match(words)
    if prefix is None:
        return Problem(where, words)
    steps: list[str | int] = [
        int(number) if number else name.replace("_", "-") for name, number in _STEP.findall(prefix[1])
    ]
    first = prefix[1].partition(".")[0].partition("[")[0]
    if where and where[-1] in (first, first.replace("_", "-")):
        del steps[0]
    else:
        # The objects that tables become call them by Python's names, and lists in the plural. What begins with any
        # other word, like the name of a file, is no key.
        known = _keys(model, where)
        key = next((each for each in (first, first.replace("_", "-"), first.removesuffix("s")) if each in known), None)
        if key is None:
            return Problem(where, words)
        steps[0] = key
    return Problem((*where, *steps), words[prefix.end() :])


def _keys(model: type[BaseModel], where: Where) -> list[str]:
    """The keys that the table at ``where`` may have."""
    models = [model]
    for step in where:
        if isinstance(step, str):
            models = [
                inner
                for each in models
                for name, field in each.model_fields.items()
                if step == name or step in field_keys(each, name, field)
                for inner in _models(field.annotation)
            ]
    return [field_keys(each, name, field)[0] for each in models for name, field in each.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and not typing.get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for each in typing.get_args(annotation):
        yield from _models(each)


def _spoken(where: Where) -> str:
    spoken = ""
    for step in where:
        spoken += f"[{step}]" if isinstance(step, int) else f".{step}" if spoken else step
    return spoken


def _line(text: str, where: Where) -> int:
    """The line on which the key at ``where`` begins, or the innermost table around it that the file has.

    The TOML parser itself tells: it is the last line of the shortest beginning of the file that has the key. A
    beginning that ends within a value can't be parsed; then the next longer one that can decides.
    """
    lines = text.split("\n")

    def has(count: int) -> bool:
        return next(found for end in range(count, len(lines) + 1) if (found := _has(lines[:end], where)) is not None)

    while where and not has(len(lines)):
        where = where[:-1]
    return bisect_left(range(len(lines)), True, key=has) if where else 1


def _has(lines: list[str], where: Where) -> bool | None:
    """Whether TOML text has the key; None if it can't be parsed."""
    try:
        found: Any = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
    for step in where:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
