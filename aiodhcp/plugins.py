"""Plugins: from the name that a configuration gives to the object that is called. Nothing else is imported.

A name is a file beside the configuration ("my_hooks.py", "my_hooks.py:Guests"), or an entry point of the group
"aiodhcp", or a module ("package.module", "package.module:object"); in this order.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import linecache
import os
import re
import sys
import traceback
import types
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final, Literal

import pydantic
from pydantic import BaseModel, RootModel, ValidationError

from aiodhcp.config_errors import Problem, Refusal, field_keys, problems
from aiodhcp.errors import ConfigError
from aiodhcp.policies import UNSAID, Policy
from aiodhcp.registration import Plugin
from aiodhcp.wording import did_you_mean

__all__ = ["AvailablePlugin", "PluginLoader", "available_plugins", "load_plugin"]

GROUP: Final = "aiodhcp"
"""The group of entry points that plugins have."""

_FILE: Final = re.compile(r"(?P<path>.+\.py|.*/.*?)(?::(?P<attribute>[^\W\d][\w.]*))?")
_numbers: Final = itertools.count(1)
_loaded_files: Final[dict[Path, str]] = {}
"""The names in ``sys.modules`` of the files that were loaded last."""


@dataclass(frozen=True, slots=True)
class AvailablePlugin:
    """A plugin that a configuration could name.

    Attributes:
        use: by which name.
        kind: what has it.
        where: the distribution and its version, or the path of the file.
        summary: the first line of its docstring, or nothing.
    """

    use: str
    kind: Literal["entry point", "file"]
    where: str
    summary: str


def available_plugins(directory: Path | None = None) -> list[AvailablePlugin]:
    """What a configuration could name: entry points of the group "aiodhcp", and files with hooks beside it.

    No plugin is imported for it.

    Args:
        directory: that of the configuration file; None for none.
    """
    found = [
        AvailablePlugin(entry.name, "entry point", _distribution(entry), _summary(_source(entry.module), entry.attr))
        for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    ]
    for path in sorted(directory.glob("*.py")) if directory is not None else ():
        module = _parsed(path)
        if module is not None and _has_hooks(module):
            found.append(AvailablePlugin(path.name, "file", str(path), _summary(module)))
    return found


def _parsed(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _source(name: str) -> ast.Module | None:
    """A module's source. ``importlib.util.find_spec`` would import the packages around it."""
    path: list[str] | None = None
    origin = None
    for dotted in itertools.accumulate(name.split("."), "{}.{}".format):
        spec = PathFinder.find_spec(dotted, path)
        if spec is None:
            return None
        path, origin = spec.submodule_search_locations, spec.origin
    return _parsed(Path(origin)) if origin else None


def _summary(module: ast.Module | None, attribute: str = "") -> str:
    """The first line of the docstring of a class or function in a module, or else of the module's own."""
    if module is None:
        return ""
    named = [
        each for each in module.body if isinstance(each, ast.ClassDef | ast.FunctionDef) and each.name == attribute
    ]
    said = next(filter(None, map(ast.get_docstring, [*named, module])), "")
    return said.strip().partition("\n")[0]


def _has_hooks(module: ast.Module) -> bool:
    """Whether a file takes ``hookimpl`` from aiodhcp."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "aiodhcp":
            if any(alias.name == "hookimpl" for alias in node.names):
                return True
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "aiodhcp.hookimpl":
            return True
    return False


def load_plugin(name: str) -> object:
    """The plugin that a configuration names, with the settings it has when nothing is said.

    Args:
        name: as in a configuration; files are relative to the current directory. A class is instantiated.

    Raises:
        ConfigError: it can't be found or imported, has no such object, or needs settings.
    """
    loader = PluginLoader(Path.cwd())
    try:
        plugins = loader.make(name, loader.find(name))
    except Refusal as refusal:
        raise ConfigError("\n".join(each.words for each in refusal.problems)) from refusal.__cause__
    if len(plugins) != 1:
        raise ConfigError(f"plugin {name!r}: expected one plugin, got {len(plugins)}")
    return plugins[0].plugin


@dataclass(frozen=True, slots=True)
class Found:
    """What a name leads to.

    Attributes:
        value: a module, a class, a factory, or a plugin.
        name: what it is called in the log, if it is a module without a name of its own; empty for that of the module.
        source: where it was found: a path, or a distribution and its version.
    """

    value: Any
    name: str
    source: str


class _Missing(Refusal):
    """There is nothing of that name."""


class PluginLoader:
    """Loads the plugins of one configuration.

    A file is run once by each of these, however many plugins are in it, and afresh by the next.

    Args:
        directory: that of the configuration file.
    """

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._files: Final[dict[Path, types.ModuleType]] = {}

    def load(
        self, use: str, *, name: str = "", policy: Policy = UNSAID, settings: Mapping[str, Any] | None = None
    ) -> list[Plugin]:
        """Find a plugin, check its settings and make it. It may be several: what makes it may return a list.

        Args:
            use: a file, an entry point or a module.
            name: what it is to be called.
            policy: how its hooks are run.
            settings: its table, as TOML has it; None if there is none.

        Raises:
            Refusal: it can't be found, imported or made, or its settings are wrong. The problems are at ``use`` or
                below ``settings``.
        """
        try:
            found = self.find(use)
        except _Missing as error:
            raise self._unknown(f"there is no plugin {use!r}", use, error.__cause__) from error.__cause__
        return self.make(use, found, name=name, policy=policy, settings=settings)

    def find(self, use: str) -> Found:
        """What a name leads to.

        Raises:
            Refusal: nothing, or what can't be imported.
        """
        file = _FILE.fullmatch(use)
        if file is not None:
            path = self._directory / file["path"]
            module = self._run(use, path)
            return Found(_attribute(use, module, file["attribute"]), path.stem, str(path))
        entries = {entry.value: entry for entry in importlib.metadata.entry_points(group=GROUP, name=use)}
        if len(entries) > 1:
            owners = ", ".join(f"{value!r} of {_distribution(each)}" for value, each in entries.items())
            raise _refusal(f"there is more than one plugin {use!r}: name {owners}")
        for entry in entries.values():
            module = _imported(use, entry.module)
            return Found(_attribute(use, module, entry.attr), use, _distribution(entry))
        module_name, _, attribute = use.partition(":")
        try:
            module = _imported(use, module_name)
        except Refusal as refusal:
            if _is_missing(module_name, refusal.__cause__):
                raise _Missing(refusal.problems) from refusal.__cause__
            raise
        return Found(_attribute(use, module, attribute), "", _file_of(module))

    def make(
        self,
        use: str,
        found: Found,
        *,
        name: str = "",
        policy: Policy = UNSAID,
        settings: Mapping[str, Any] | None = None,
    ) -> list[Plugin]:
        """The plugins of what was found; the arguments and the errors are those of ``load``."""
        factory, model = _factory(found.value)
        checked: BaseModel | None = None
        if model is not None:
            checked = _checked(model, settings or {}, self._directory)
        elif settings is not None:
            raise Refusal([Problem(("settings",), f"plugin {use!r} takes no settings")])
        made = found.value if factory is None else _made(use, factory, () if checked is None else (checked,))
        plugins = []
        for each in made if isinstance(made, list) else [made]:
            inner = each if isinstance(each, Plugin) else Plugin(each, source=found.source)
            plugin = inner.plugin
            own_name = found.name if inspect.ismodule(plugin) and not isinstance(vars(plugin).get("name"), str) else ""
            plugins.append(
                Plugin(plugin, name or inner.name or own_name, inner.policy.under(policy), checked, inner.source)
            )
        return plugins

    def _run(self, use: str, path: Path) -> types.ModuleType:
        """Run a file as a module of its own, whose name in ``sys.modules`` can't be that of another.

        It has to be there for what looks up a class's module: pydantic, dataclasses, ``inspect``, ``pickle``.
        """
        real = path.resolve()
        if real in self._files:
            return self._files[real]
        if not path.is_file():
            raise self._unknown(f"there is no file {str(path)!r}", use)
        name = f"aiodhcp_file_plugin_{next(_numbers)}:{path.stem}"
        loader = SourceFileLoader(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            # Not loader.exec_module, which takes compiled code for current if size and second are the same.
            exec(loader.source_to_code(loader.get_data(str(path)), str(path)), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise _refusal(f"plugin {use!r} can't be imported: {_raised(error)}") from error
        linecache.checkcache(str(path))
        sys.modules.pop(_loaded_files.get(real, ""), None)
        _loaded_files[real] = name
        self._files[real] = module
        return module

    def _unknown(self, words: str, use: str, error: BaseException | None = None) -> Refusal:
        """Say what there is instead."""
        known = [each.use for each in available_plugins(self._directory)]
        instead = did_you_mean(use.partition(":")[0], known)
        if not instead and known:
            instead = f"; there are {', '.join(map(repr, known))}"
        if not instead and error is not None:
            instead = f": {error!r}"
        return _refusal(words + instead)


def _refusal(words: str) -> Refusal:
    return Refusal([Problem(("use",), words)])


def _is_missing(name: str, error: BaseException | None) -> bool:
    """Whether it was this module that is not there, and not one that it imports."""
    if not name:
        return True
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _imported(use: str, module: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise _refusal(f"plugin {use!r} can't be imported: {_raised(error)}") from error


def _attribute(use: str, module: types.ModuleType, attribute: str | None) -> Any:
    if not attribute:
        return module
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError:
        close = did_you_mean(attribute, [each for each in dir(module) if not each.startswith("_")])
        raise _refusal(f"plugin {use!r}: {_file_of(module)} has no {attribute!r}{close}") from None


def _factory(found: Any) -> tuple[Any, type[BaseModel] | None]:
    """What makes the plugin, None if ``found`` is it already; and the model of its settings, None if it takes none."""
    model = getattr(found, "Settings", None)
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        model = None
    if inspect.isclass(found):
        return found, model
    if model is not None and inspect.isroutine(found):
        return found, model
    if model is not None and inspect.ismodule(found) and callable(getattr(found, "plugin", None)):
        return found.plugin, model
    return None, None


def _made(use: str, factory: Any, arguments: tuple[BaseModel, ...]) -> object:
    name = getattr(factory, "__name__", repr(factory))
    try:
        plugin: object = factory(*arguments)
    except Refusal:
        raise  # it says where
    except ConfigError as error:
        raise _refusal(f"plugin {use!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise _refusal(f"plugin {use!r}: {name} can't be made: {_raised(error)}") from error
    if inspect.iscoroutine(plugin):
        plugin.close()
    if plugin is None or inspect.isawaitable(plugin):
        raise _refusal(f"plugin {use!r}: expected {name} to return the plugin, got {type(plugin).__name__}")
    return plugin


def _checked(model: type[BaseModel], table: Mapping[str, Any], directory: Path) -> BaseModel:
    """A plugin's settings.

    Raises:
        Refusal: they are wrong; the problems are below ``settings``, at the keys as they are written.
    """
    keys = _keys(model)
    values, written, wrong = _by_field(model, keys, table)
    checked: BaseModel | None = None
    try:
        checked = model.model_validate(values, context={"directory": directory})
    except ValidationError as error:
        shown = not model.model_config.get("hide_input_in_errors")
        for where, words in problems(error, model, show_input=shown):
            if where:
                key = str(where[0])
                key = written.get(keys.get(key, key), key.replace("_", "-"))
                where = key, *_within(table.get(key), where[1:], words)
            wrong.append(Problem(where, words).inside("settings"))
    except Exception as error:
        wrong.append(Problem(("settings",), f"can't be checked: {_raised(error)}"))
    if wrong or checked is None:
        raise Refusal(wrong)
    return checked


def _keys(model: type[BaseModel]) -> dict[str, str]:
    """The keys that a model takes, and the names of the fields they are for."""
    return {key: name for name, field in model.model_fields.items() for key in field_keys(model, name, field)}


def _by_field(
    model: type[BaseModel], keys: Mapping[str, str], table: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], list[Problem]]:
    """The values by keys that the model has; how the key of each field is written in the file; and what is wrong.

    Unknown keys are refused here because pydantic ignores them, where the model doesn't say anything else.
    """
    if issubclass(model, RootModel):
        return dict(table), {key: key for key in table}, []
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    wrong: list[Problem] = []
    for key, value in table.items():
        known = next((each for each in (key, key.replace("-", "_")) if each in keys), None)
        name = key if known is None else keys[known]
        if known is None and model.model_config.get("extra") != "allow":
            field = model.model_fields.get(key.replace("-", "_"))
            # The field of that name may have another key: an alias.
            meant = field_keys(model, key, field)[:1] if field is not None else keys
            close = did_you_mean(key, (each.replace("_", "-") for each in meant), 0.0 if field is not None else 0.6)
            wrong.append(Problem(("settings", key), f"there is no such key{close}"))
        elif name in written:
            wrong.append(Problem(("settings", key), f"is {written[name]!r}, which is there already"))
        else:
            values[known or key], written[name] = value, key
    return values, written, wrong


def _within(value: Any, where: tuple[str | int, ...], words: str) -> tuple[str | int, ...]:
    """The steps that lead on in the file: pydantic also names the members of a union."""
    steps: list[str | int] = []
    for at, step in enumerate(where):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            if at + 1 < len(where) or words != "this key is needed":
                continue
        steps.append(step)
    return tuple(steps)


def _raised(error: BaseException) -> str:
    """An error, and the line of the plugin that raised it."""
    if isinstance(error, SyntaxError):
        return f"{error!r}" if error.filename is None else f"{error.msg} ({error.filename}:{error.lineno})"
    ours = tuple(os.path.dirname(each) + os.sep for each in (importlib.__file__, pydantic.__file__, __file__))
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(("<", *ours))]
    # Not the line of a library that it called.
    lines = [each.lineno for each in frames if each.filename == frames[0].filename]
    return f"{error!r} ({frames[0].filename}:{lines[-1]})" if frames else f"{error!r}"


def _distribution(entry: EntryPoint) -> str:
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _file_of(module: types.ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__
