"""Loading: the plugin "callouts", which is as many plugins as there are callouts in the list that it is given.

The rules of the list are those of Microsoft's server. How each of them is run, the settings say.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from aiodhcp import ConfigError, Plugin
from aiodhcp.callout.abi import LIST_VALUE
from aiodhcp.callout.binaries import WrongDigest, read_binary, read_pinned
from aiodhcp.callout.callouts import Callouts
from aiodhcp.callout.child import Child
from aiodhcp.callout.hosts import Host, PythonHost
from aiodhcp.callout.library import Library
from aiodhcp.callout.plugin import ON_FAULT, CalloutPlugin
from aiodhcp.callout.registry import ENABLED_VALUE, CalloutList, locate_dll, read_reg_file, read_registry
from aiodhcp.callout.wine import WineHost
from aiodhcp.config import parse_seconds
from aiodhcp.config_errors import Problem, Refusal

__all__ = ["CalloutSettings", "Mode", "callouts", "load_callout"]

log = logging.getLogger("aiodhcp.callout")

Mode = Literal["process", "inline", "wine"]
"""How a callout is run: in a process of its own, in the server, or in a process of its own under Wine."""


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    path, directory = path.expanduser(), (info.context or {}).get("directory")
    return path if directory is None else Path(directory) / path


def _digest(value: object) -> object:
    digits = "0123456789abcdef"
    if not isinstance(value, str) or len(value) != 64 or any(each not in digits for each in value.lower()):
        raise ValueError(f"expected a SHA-256 of 64 hexadecimal digits, got {value!r}")
    return value.lower()


def _enabled(value: object) -> object:
    if value not in (0, 1):
        raise ValueError(f"expected 0 or 1, got {value!r}")
    return bool(value)


_Path = Annotated[Path, AfterValidator(_beside_the_file)]
_Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0)]


class CalloutSettings(BaseModel):
    """``settings`` of the plugin "callouts"."""

    model_config = ConfigDict(frozen=True, validate_default=True)

    callout_dlls: list[str] | None = Field(
        None, alias=LIST_VALUE, description="paths of the callouts, in the order of calling"
    )
    callout_enabled: Annotated[bool, BeforeValidator(_enabled)] | None = Field(
        None, alias=ENABLED_VALUE, description="1, or none of them is loaded"
    )
    reg_file: _Path | None = Field(None, description="an export of the registry that has these two")
    registry: bool = Field(False, description="take these two from the registry of Windows, which this is")
    directory: _Path = Field(Path(), description="where relative paths begin, and where DLLs of Windows are elsewhere")
    mode: Mode | None = Field(None, description="process; wine for a DLL of Windows on another system")
    chain: Literal["host", "native"] = Field(
        "host", description="host: all are loaded; native: one, which loads those behind it"
    )
    on_fault: Literal["open", "closed"] = Field("open", description="closed: drop the packet when the callout fails")
    deadline: _Seconds = Field(0.25, description="how long a call may take in a process of its own")
    sha256: dict[str, Annotated[str, BeforeValidator(_digest)]] = Field(
        default_factory=dict, description="the digests that files have to have, by their names"
    )
    wine_prefix: _Path | None = Field(None, description="where Wine keeps its files")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.callout_dlls is not None, self.reg_file is not None, self.registry].count(True) != 1:
            raise ValueError(f"expected one of {LIST_VALUE}, reg-file and registry")
        if self.callout_enabled is not None and self.callout_dlls is None:
            raise ValueError(f"{ENABLED_VALUE}: goes with {LIST_VALUE}")
        return self

    def read_list(self) -> CalloutList:
        """The list, wherever it is.

        Raises:
            ConfigError: it can't be read.
        """
        if self.registry:
            return read_registry()
        if self.reg_file is not None:
            return read_reg_file(self.reg_file)
        return CalloutList(tuple(self.callout_dlls or ()), self.callout_enabled, {}, "settings")


def callouts(settings: CalloutSettings) -> list[Plugin]:
    """The plugins of the list, by Microsoft's rules: in its order; one that can't be loaded is left out.

    Raises:
        ConfigError: the list can't be read; a file is not the one that was pinned; with ``on_fault`` "closed", a
            callout can't be loaded, or has no hooks.
    """
    try:
        found = settings.read_list()
    except ConfigError as error:
        raise _refusal(error, "registry" if settings.registry else "reg-file") from error
    for note in found.notes:
        log.log(note.level, "callouts: %s", note.words)
    paths = [locate_dll(name, settings.directory) for name in found.to_load]
    _check_pins(settings, paths)
    loaded: list[Callouts] = []
    try:
        for at, path in enumerate(paths):
            try:
                loaded.append(load_callout(path, settings, paths[at + 1 :] if settings.chain == "native" else []))
                _check_hooks(path, loaded[-1], settings)
            except WrongDigest as error:
                raise _refusal(error, "sha256") from error
            except ConfigError as error:
                if settings.on_fault == "closed":
                    raise _refusal(error, *([LIST_VALUE, at] if settings.callout_dlls else ["reg-file"])) from error
                log.error("%s; it is left out", error)
                continue
            if settings.chain == "native":
                break
    except BaseException:
        for each in loaded:
            each.close()
        raise
    policy = ON_FAULT[settings.on_fault]
    return [Plugin(CalloutPlugin(each), policy=policy, source=str(each.path)) for each in loaded]


# What PluginLoader asks for.
callouts.Settings = CalloutSettings  # type: ignore[attr-defined]


def _check_hooks(path: Path, loaded: Callouts, settings: CalloutSettings) -> None:
    if not loaded.hooks:
        if settings.on_fault == "closed":
            raise ConfigError(f"callout {path}: registers no hooks: it filters nothing")
        log.warning("callout %s: registers no hooks", path)


def _refusal(error: ConfigError, *key: str | int) -> Refusal:
    return Refusal([Problem(("settings", *key), str(error))])


def _check_pins(settings: CalloutSettings, paths: Sequence[Path]) -> None:
    names = {name for path in paths for name in (path.name, str(path))}
    for name in settings.sha256 if paths else ():
        if name not in names:
            listed = ", ".join(each.name for each in paths)
            raise Refusal([Problem(("settings", "sha256", name), f"is not in the list {listed}")])


def load_callout(path: Path, settings: CalloutSettings, chain: Sequence[Path] = ()) -> Callouts:
    """Load one callout.

    Args:
        path: absolute.
        settings: how it is run.
        chain: those behind it, which it is told to load itself.

    Raises:
        ConfigError: it can't be loaded.
    """
    pin, pins = _pin(settings, path), {each: _pin(settings, each) for each in chain}
    mode = settings.mode
    if mode is None:
        mode = "wine" if read_binary(path, pin).is_foreign else "process"
    if mode == "inline":
        for each in chain:
            read_pinned(each, pins)
        return Library(path, sha256=pin, chain=chain)
    host = _host(mode, settings)
    return Child(path, sha256=pin, chain=chain, chain_sha256=pins, host=host, deadline=settings.deadline)


def _pin(settings: CalloutSettings, path: Path) -> str:
    return settings.sha256.get(str(path)) or settings.sha256.get(path.name) or ""


def _host(mode: str, settings: CalloutSettings) -> Host:
    if mode == "process":
        return PythonHost()
    return WineHost(settings.wine_prefix, registry=[settings.reg_file] if settings.reg_file is not None else [])
