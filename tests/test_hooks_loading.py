"""How plugins are taken in: what may be one, what it is called, and what is wrong with it, by file and line."""

from __future__ import annotations

import inspect
import sys
import textwrap
import types
from pathlib import Path

import pluggy
import pytest
from client import Client, make_engine
from plugin_kit import plugin

from aiodhcp import ConfigError, Plugin, Policy, hookimpl
from aiodhcp.hooks import Hooks
from aiodhcp.implementations import Implementation
from aiodhcp.plugins import load_plugin
from aiodhcp.registration import plugin_name

plain_pluggy = pluggy.HookimplMarker("aiodhcp")

SOURCE = """
from aiodhcp import hookimpl

calls = []

@hookimpl
def dhcp_new_pkt(packet):
    calls.append(packet.xid)

class Counter:
    def __init__(self):
        self.count = 0

    @hookimpl
    def dhcp_new_pkt(self):
        self.count += 1

class Costly:
    def __init__(self, price):
        pass

counter = Counter()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module of plugins, and its path."""
    path = tmp_path / "some_plugins.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("some_plugins", None)


def line_of(function) -> str:
    return f"{__file__}:{inspect.getsourcelines(inspect.unwrap(function))[1]}"


def refused(*plugins: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Hooks(plugins)
    return str(caught.value)


# ── what may be a plugin ──


def test_a_module(module, clock):
    loaded = load_plugin("some_plugins")
    assert isinstance(loaded, types.ModuleType)
    client = Client(make_engine(plugins=[loaded]), clock)
    client.discover()
    assert loaded.calls == [client.xid]


def test_an_object(module, clock):
    counter = load_plugin("some_plugins:counter")
    Client(make_engine(plugins=[counter]), clock).discover()
    assert counter.count == 1


def test_a_class_that_a_configuration_names_is_made_an_object(module, clock):
    counter = load_plugin("some_plugins:Counter")
    assert type(counter).__name__ == "Counter"
    Client(make_engine(plugins=[counter]), clock).discover()
    assert counter.count == 1


def test_a_class_of_static_and_class_methods(clock):
    class Static:
        calls: list[str] = []  # noqa: RUF012

        @staticmethod
        @hookimpl
        def dhcp_new_pkt():
            Static.calls.append("static")

        @classmethod
        @hookimpl
        def dhcp_pkt_send(cls):
            cls.calls.append("class")

    Client(make_engine(plugins=[Static]), clock).discover()
    assert Static.calls == ["static", "class"]


def test_an_object_that_implements_nothing(clock):
    engine = make_engine(plugins=[object()])
    assert not engine.hooks.dhcp_new_pkt
    assert Client(engine, clock).discover() is not None


def test_two_objects_of_one_class(clock):
    class Counting:
        def __init__(self):
            self.count = 0

        @hookimpl
        def dhcp_new_pkt(self):
            self.count += 1

    plugins = [Counting(), Counting(), Counting()]
    engine = make_engine(plugins=plugins)
    Client(engine, clock).discover()
    assert [each.count for each in plugins] == [1, 1, 1]
    named = [each.plugin for each in engine.hooks.dhcp_new_pkt.implementations]
    assert sorted(named) == ["Counting", "Counting#2", "Counting#3"]


def test_what_plugins_are_called(module):
    loaded = load_plugin("some_plugins")
    assert plugin_name(loaded) == "some_plugins"
    assert plugin_name(loaded.Counter()) == "Counter"
    assert plugin_name(loaded.Counter) == "Counter"
    assert plugin_name(plugin("its own name")) == "its own name"
    assert plugin_name(types.SimpleNamespace(name=7)) == "SimpleNamespace"


def test_an_implementation_says_what_it_is():
    def dhcp_pkt_send(exchange, reply):
        """Nothing."""

    hook = Hooks([plugin("mine", dhcp_pkt_send=dhcp_pkt_send)]).dhcp_pkt_send
    assert hook.name == "dhcp_pkt_send"
    (found,) = hook.implementations
    assert isinstance(found, Implementation)
    assert (found.plugin, found.hook, found.arguments) == ("mine", "dhcp_pkt_send", ("exchange", "reply"))
    assert found.function is dhcp_pkt_send
    assert found.where == line_of(dhcp_pkt_send)


# ── what is wrong with it ──


class MisspeltHook:
    @hookimpl
    def dhcp_new_pkt(self):
        """This one is right, and its name the beginning of the other's."""

    @hookimpl
    def dhcp_new_pkts(self):
        """Wrong."""


class MisspeltArgument:
    @hookimpl
    def dhcp_new_pkt(self, packte):
        """Wrong."""


class MisspeltArgumentUnderAnotherName:
    @hookimpl(specname="dhcp_new_pkt")
    def veto(self, packte):
        """Wrong."""


class StaticMisspeltArgument:
    @staticmethod
    @hookimpl
    def dhcp_new_pkt(packte):
        """Wrong."""


class Wrapper:
    @plain_pluggy(wrapper=True)
    def dhcp_new_pkt(self):
        yield


class OldWrapper:
    @plain_pluggy(hookwrapper=True)
    def dhcp_new_pkt(self):
        yield


class NotEvenAWrapper:
    @plain_pluggy(wrapper=True)
    def dhcp_new_pkt(self):
        """No yield."""


class KeywordOnly:
    @hookimpl
    def dhcp_new_pkt(self, packet, *, exchange):
        """An argument that is never given."""


UNKNOWN = "dhcp_new_pkt has no argument 'packte'; did you mean 'packet'? It has packet, exchange"


@pytest.mark.parametrize(
    ("wrong", "function", "words"),
    [
        (MisspeltHook(), MisspeltHook.dhcp_new_pkts, "unknown hook 'dhcp_new_pkts'; did you mean 'dhcp_new_pkt'?"),
        (MisspeltArgument(), MisspeltArgument.dhcp_new_pkt, UNKNOWN),
        (MisspeltArgumentUnderAnotherName(), MisspeltArgumentUnderAnotherName.veto, UNKNOWN),
        (StaticMisspeltArgument(), StaticMisspeltArgument.dhcp_new_pkt, UNKNOWN),
        (Wrapper(), Wrapper.dhcp_new_pkt, "dhcp_new_pkt is a wrapper, which aiodhcp doesn't call"),
        (OldWrapper(), OldWrapper.dhcp_new_pkt, "dhcp_new_pkt is a wrapper, which aiodhcp doesn't call"),
        (NotEvenAWrapper(), NotEvenAWrapper.dhcp_new_pkt, "but function is not a generator function"),
        (KeywordOnly(), KeywordOnly.dhcp_new_pkt, "missing a required argument: 'exchange'"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "__dict__") else "",
)
def test_what_is_wrong_is_said_at_once_with_file_and_line(wrong, function, words):
    message = refused(wrong)
    assert message.startswith(f"{line_of(function)}: plugin {type(wrong).__name__}: ")
    assert message.endswith(words)


def test_a_class_whose_methods_want_an_object():
    class Forgotten:
        @hookimpl
        def dhcp_new_pkt(self, packet):
            """Who would be ``self``?"""

    message = refused(Forgotten)
    assert message.startswith(f"{line_of(Forgotten.dhcp_new_pkt)}: plugin Forgotten: dhcp_new_pkt can't be called")


def test_a_hook_that_is_misspelt_elsewhere():
    """A method of pluggy's ``optionalhook`` sort is nobody's mistake."""

    class Careful:
        @hookimpl(optionalhook=True)
        def dhcp_of_tomorrow(self):
            """For a later version."""

    assert Hooks([Careful()]).plugins


def test_a_plugin_that_is_given_twice():
    once = plugin("once")
    assert refused(once, plugin("another"), once) == "plugin once is given twice"


def test_what_is_wrong_with_a_module(tmp_path, monkeypatch):
    path = tmp_path / "wrong_plugin.py"
    path.write_text(
        textwrap.dedent(
            """
            from aiodhcp import hookimpl

            @hookimpl
            def dhcp_new_packet(packet):
                pass
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = refused(load_plugin("wrong_plugin"))
    sys.modules.pop("wrong_plugin")
    assert message == f"{path}:4: plugin wrong_plugin: unknown hook 'dhcp_new_packet'; did you mean 'dhcp_new_pkt'?"


# ── load_plugin ──


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module_anywhere", "plugin 'no_such_module_anywhere' can't be imported: ModuleNotFoundError"),
        ("", "plugin '' can't be imported: ValueError"),
        ("some_plugins:nothing", "some_plugins.py has no 'nothing'"),
        ("some_plugins:Costly", "plugin 'some_plugins:Costly': Costly can't be made: TypeError"),
    ],
)
def test_what_can_not_be_loaded(module, name, words):
    with pytest.raises(ConfigError) as caught:
        load_plugin(name)
    assert words in str(caught.value)


def test_a_module_that_does_not_load(tmp_path: Path, monkeypatch):
    (tmp_path / "faulty_plugin.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="plugin 'faulty_plugin' can't be imported: ZeroDivisionError"):
        load_plugin("faulty_plugin")


def test_what_is_wrong_beside_what_is_optional_and_what_is_right():
    class Mixed:
        @hookimpl(optionalhook=True)
        def dhcp_of_tomorrow(self):
            """For a later version."""

        @hookimpl
        def dhcp_pkt_send(self, reply):
            """Right."""

        @hookimpl
        def zzz(self):
            """Wrong, and like nothing there is."""

    assert refused(Mixed()) == f"{line_of(Mixed.zzz)}: plugin Mixed: unknown hook 'zzz'."


def test_a_plugin_that_implements_nothing_is_no_plugin_and_that_is_said(caplog):
    class Forgotten:
        def dhcp_new_pkt(self):
            """Without its mark."""

    Hooks([Forgotten()])
    Hooks([object()])
    assert [record.getMessage() for record in caplog.records] == [
        "plugin Forgotten implements no hook: dhcp_new_pkt is not marked with @hookimpl "
        f"({line_of(Forgotten.dhcp_new_pkt)})",
        "plugin object implements no hook",
    ]


def test_a_module_whose_hooks_are_in_a_class(caplog):
    class Inside:
        @hookimpl
        def dhcp_new_pkt(self):
            """Marked, but not the module's own."""

    module = types.ModuleType("outside")
    vars(module).update(Settings=dict, Inside=Inside)
    Hooks([module])
    (said,) = caplog.messages
    assert said == "plugin outside implements no hook: its class Inside does, so add ':Inside' to its name"


def test_a_method_without_self():
    class Selfless:
        @hookimpl
        def dhcp_new_pkt():
            """Who is called?"""

        @hookimpl
        def dhcp_pkt_send(self):
            """Right."""

    where = line_of(Selfless.dhcp_new_pkt)
    words = "dhcp_new_pkt can't be called with (): invalid method signature"
    assert refused(Selfless()) == f"{where}: plugin Selfless: {words}"


def test_what_only_a_configuration_may_name():
    assert refused("access") == "plugin 'access': expected an object, not its name; load_plugin finds it"


def test_a_policy_in_the_place_of_a_name():
    with pytest.raises(TypeError, match="expected a name and a Policy"):
        Plugin(object(), Policy(deadline=1))
