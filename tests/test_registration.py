"""Registration: names, order, and what a plugin says of itself that can't be right. More in test_hooks_loading.py."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import textwrap
import types
from pathlib import Path

import pytest
from plugin_kit import plugin

from aiodhcp import ConfigError, Drop, Plugin, Policy, hookimpl
from aiodhcp.hooks import Hooks
from aiodhcp.registration import Registry, plugin_name

HEAD = """\
import typing
from collections.abc import Awaitable
from typing import Annotated, Any, Generic, Optional, TypeVar, Union
from aiodhcp import Drop, Nak, Packet, Use, hookimpl
"""


def module(tmp_path: Path, source: str, *, future: bool = False, head: str = HEAD) -> types.ModuleType:
    """A plugin as a file has it."""
    path = tmp_path / "written.py"
    path.write_text("from __future__ import annotations\n" * future + head + textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location("written", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def refused(*plugins: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Hooks(plugins)
    return str(caught.value)


# ── what a function says it returns ──


@pytest.mark.parametrize("future", [False, True], ids=["", "from __future__ import annotations"])
@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    "said",
    [
        "Nak",
        "Nak | None",
        "Optional[Nak]",
        "Union[Drop, Nak, None]",
        "Packet | Drop | Nak",
        "Awaitable[Nak | None]",
        "Awaitable[Nak] | None",
        "Awaitable[Union[Nak, None]] | Drop | None",
        "Annotated[Nak, 'a refusal']",
        "'Nak | None'",
        "typing.Awaitable['Nak']",
    ],
)
def test_a_verdict_that_means_nothing_there_is_refused_at_once(tmp_path, future, kind, said):
    made = module(tmp_path, f"\n@hookimpl\n{kind} dhcp_new_pkt(packet) -> {said}:\n    pass\n", future=future)
    line = 6 + future
    assert refused(made) == (
        f"{tmp_path / 'written.py'}:{line}: plugin written: dhcp_new_pkt may return Nak, as it says itself,"
        " which means nothing there: Packet, Drop"
    )


@pytest.mark.parametrize(
    ("hook", "said", "allowed"),
    [
        ("dhcp_pkt_send", "Drop", "Packet"),
        ("dhcp_handle_options", "Drop", "none"),
        ("select_subnet", "Nak", "Use, Drop"),
        ("unknown_client", "Use[str]", "Nak, Drop"),
        ("unknown_client", "Use", "Nak, Drop"),
        ("select_address", "Nak | Use[str]", "Use, Drop"),
        ("lease_expired", "Drop", "none"),
    ],
)
def test_what_is_allowed_instead_is_said(tmp_path, hook, said, allowed):
    made = module(tmp_path, f"@hookimpl\ndef {hook}() -> {said}: ...\n")
    assert refused(made).endswith(f", which means nothing there: {allowed}")


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("dhcp_new_pkt", "Packet | Drop | None"),
        ("dhcp_new_pkt", "Awaitable[Drop | None]"),
        ("dhcp_new_pkt", "None"),
        ("dhcp_new_pkt", "Any"),
        ("dhcp_new_pkt", "TypeVar('T')"),
        ("dhcp_new_pkt", "list[int]"),
        ("select_subnet", "Use[str] | Drop | None"),
        ("reservation_lookup", "Use[str] | Nak | Drop | None"),
        ("select_lease_time", "Use[int] | Nak | Drop | None"),
        ("dhcp_handle_options", "None"),
    ],
)
@pytest.mark.parametrize("future", [False, True], ids=["", "from __future__ import annotations"])
def test_what_means_something_there_is_taken(tmp_path, hook, said, future):
    made = module(tmp_path, f"@hookimpl\ndef {hook}() -> {said}: ...\n", future=future)
    assert [each.hook for each in Hooks([made]).implementations] == [hook]


@pytest.mark.parametrize("said", ["Nobody", "Nak | Nobody", "Nak[", "missing.Nak"])
def test_what_can_not_be_understood_is_not_objected_to(tmp_path, said):
    made = module(tmp_path, f"@hookimpl\ndef dhcp_new_pkt() -> {said!r}: ...\n")
    assert Hooks([made]).dhcp_new_pkt


def test_what_is_imported_for_type_checkers_does_not_hide_what_is_returned(tmp_path):
    source = """
    if typing.TYPE_CHECKING:
        from aiodhcp import Exchange

    @hookimpl
    def dhcp_new_pkt(exchange: Exchange) -> Nak: ...
    """
    assert "may return Nak" in refused(module(tmp_path, source, future=True))


def test_a_method_and_what_is_wrapped_are_looked_at_too():
    class Guard:
        @hookimpl
        def dhcp_handle_options(self) -> Drop:
            """Nothing it could do."""

    assert refused(Guard()).startswith(
        f"{__file__}:{inspect.getsourcelines(Guard.dhcp_handle_options)[1]}: plugin Guard: "
    )

    def inner(packet) -> Drop:
        """The same."""

    @functools.wraps(inner)
    def outer(packet):
        return inner(packet)

    assert "may return Drop" in refused(plugin(dhcp_handle_options=outer))


def test_what_is_no_function_of_python_says_nothing():
    class Called:
        @staticmethod
        def dhcp_new_pkt(packet):
            return print(packet)

    Called.dhcp_new_pkt.aiodhcp_impl = hookimpl(lambda packet: None).aiodhcp_impl
    (found,) = Hooks([Called]).implementations
    assert found.arguments == ("packet",)


# ── policies at registration ──


@pytest.mark.parametrize("hook", ["dhcp_control", "dhcp_pkt_drop", "dhcp_delete_client", "config_loaded"])
@pytest.mark.parametrize("failure", ["on_error", "on_timeout"])
def test_where_there_is_nothing_to_drop_a_decorator_can_not_say_drop(hook, failure):
    @hookimpl(**{failure: "drop"})
    def function():
        """What should it drop?"""

    made = type("Eager", (), {"name": "eager", hook: staticmethod(function)})()
    message = refused(made)
    assert message.startswith(f"{__file__}:")
    assert message.endswith(f"plugin eager: {hook} has no packet to drop: on_error and on_timeout can't be 'drop'")


def test_a_plugin_that_is_told_to_drop_as_a_whole_does_where_it_can():
    given = Plugin(plugin(dhcp_new_pkt=lambda: None, dhcp_pkt_drop=lambda: None), policy=Policy(on_error="drop"))
    assert [each.on_error for each in Hooks([given]).implementations] == ["drop", "drop"]


def test_the_configuration_overrules_the_decorator_which_overrules_the_default():
    class Careful:
        @hookimpl(deadline=5, failures=3, priority=7)
        def dhcp_new_pkt(self): ...

        @hookimpl
        def dhcp_pkt_send(self): ...

    given = Plugin(Careful(), policy=Policy(failures=1, on_error="disable"))
    new, send = Hooks([given]).implementations
    assert (new.deadline, new.failures, new.priority, new.on_error, new.retry_after) == (5, 1, 7, "disable", 30)
    assert (send.deadline, send.failures, send.priority, send.on_error, send.on_timeout) == (2, 1, 0, "disable", "drop")


# ── names ──


def test_a_plugin_is_called_as_it_is_given_or_as_it_says_or_as_its_class():
    class Guard: ...

    names = [each.name for each in Registry([Plugin(Guard(), name="mine"), plugin("its own"), Guard()]).plugins]
    assert names == ["mine", "its own", "Guard"]


def test_an_empty_name_is_none():
    assert plugin_name(plugin("")) == "Plugin"
    assert [each.plugin for each in Hooks([plugin("", dhcp_new_pkt=lambda: None)]).implementations] == ["Plugin"]


def test_plugins_of_one_name_are_numbered():
    given = [Plugin(plugin("guard"), settings={"at": at}) for at in range(3)]
    found = {each.name: each.settings["at"] for each in Registry(given).plugins}
    assert sorted(found) == ["guard", "guard#2", "guard#3"]
    assert sorted(found.values()) == [0, 1, 2]


def test_plugins_are_listed_in_the_configured_order_with_what_is_said_of_them():
    one = Plugin(plugin("one"), settings={"a": 1}, source="aiodhcp.toml:7")
    registry = Registry([one, plugin("two")])
    assert [each.name for each in registry.plugins] == ["one", "two"]
    assert (registry.plugins[0].settings, registry.plugins[0].source) == ({"a": 1}, "aiodhcp.toml:7")


def test_plugins_are_equal_only_to_themselves():
    """They are told apart by what they are, however alike."""
    once = plugin()
    assert Plugin(once) != Plugin(once)
