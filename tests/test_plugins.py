"""From the name in a configuration to a plugin with settings; and what is said when something is wrong."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client import Client, Clock, make_engine

from aiodhcp import ConfigError, Plugin, Policy
from aiodhcp.config import Settings, load_config
from aiodhcp.plugins import available_plugins, load_plugin

FILTER = '''"""Filters clients.

By a list.
"""
from __future__ import annotations

from pathlib import Path
from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel, field_validator, model_validator
from aiodhcp import hookimpl


class Limits(BaseModel, extra="forbid"):
    per_minute: int = 5


class MacFilter:
    class Settings(BaseModel):
        file: Path = Path("macs.txt")
        retry_count: int = 3
        mode: str = Field("allow", alias="filter-mode")
        limits: Limits = Limits()
        servers: list[int | Limits] = []

        @field_validator("file")
        @classmethod
        def resolve(cls, file, info):
            if file.suffix != ".txt":
                raise ValueError(f"{file}: expected a text file")
            return info.context["directory"] / file

        @model_validator(mode="after")
        def check(self):
            if self.retry_count > 9:
                raise ValueError("retry_count: expected 9 or less")
            if self.retry_count < 0:
                raise ValueError("these settings make no sense")
            return self

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def dhcp_new_pkt(self, packet): ...


class Plain:
    """Has no settings."""

    @hookimpl
    def dhcp_new_pkt(self, packet): ...


class Needs(Plain):
    class Settings(BaseModel):
        file: Path
        some_number: int

    def __init__(self, settings): ...


class Open(Plain):
    class Settings(BaseModel, extra="allow"):
        known_key: int = 0

    def __init__(self, settings):
        self.settings = settings


class Discreet(Plain):
    class Settings(BaseModel, hide_input_in_errors=True):
        password: int = 0

    def __init__(self, settings): ...


class Aliased(Plain):
    class Settings(BaseModel, populate_by_name=True, alias_generator=lambda name: name.replace("_", "-")):
        retry_count: int = 0
        wide_choice: int = Field(0, validation_alias=AliasChoices("choice", AliasPath("deep", "choice")))

    def __init__(self, settings):
        self.settings = settings


class Rooted(Plain):
    class Settings(RootModel[dict[str, int]]): ...

    def __init__(self, settings):
        self.settings = settings


class Faulty(Plain):
    class Settings(BaseModel):
        file: str = ""

        @field_validator("file")
        @classmethod
        def read(cls, file):
            return open(file).read()

    def __init__(self, settings): ...


class Raising(Plain):
    def __init__(self):
        raise RuntimeError("no luck")


class Refusing(Plain):
    def __init__(self):
        from aiodhcp import ConfigError
        raise ConfigError("needs a tape drive")


def make(settings):
    return MacFilter(settings)

make.Settings = MacFilter.Settings


def nothing(settings): ...

nothing.Settings = MacFilter.Settings


async def later(settings):
    return MacFilter(settings)

later.Settings = MacFilter.Settings

ready = Plain()
'''


def line_of(text: str) -> int:
    """The line of ``FILTER`` that has it."""
    return FILTER[: FILTER.index(text)].count("\n") + 1


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path) -> Iterator[None]:
    """Forgets what a test imported."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Settings]:
    """A configuration file beside ``filters.py``."""
    (tmp_path / "filters.py").write_text(FILTER)

    def write(text: str) -> Settings:
        (tmp_path / "dhcp.toml").write_text('interfaces = ["eth0"]\n' + textwrap.dedent(text))
        return load_config(tmp_path / "dhcp.toml")

    return write


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs distributions with entry points, as pip would. Those of aiodhcp itself are not there."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    every = importlib.metadata.entry_points

    def others(**wanted: str) -> list[importlib.metadata.EntryPoint]:
        return [each for each in every(**wanted) if each.dist is None or each.dist.name != "aiodhcp"]

    monkeypatch.setattr("importlib.metadata.entry_points", others)

    def distribution(name: str, *entries: str, version: str = "1.2") -> None:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[aiodhcp]\n" + "".join(f"{each}\n" for each in entries))
        (site / "dhcp_filters.py").write_text(FILTER)

    return distribution


def complaints(settings: Settings, directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings.make_plugins()
    return str(caught.value).replace(f"{directory}/", "").split("\n")


def only(settings: Settings) -> Plugin:
    (plugin,) = settings.make_plugins()
    return plugin


# ── a table ──


def test_a_table_says_how_its_hooks_are_run(configured: Callable[[str], Settings]) -> None:
    plugin = only(
        configured("""
            [[plugins]]
            use = "filters.py:MacFilter"
            name = "floor-2"
            deadline = 0.5
            on-error = "drop"
            on-timeout = "disable"
            failures = 5
            retry-after = "1m30s"
            priority = 10
            shadow = true
            [plugins.settings]
            file = "ours.txt"
        """)
    )
    assert plugin.name == "floor-2"
    assert plugin.policy == Policy(0.5, "drop", "disable", 5, 90.0, 10, True)


def test_what_a_table_does_not_say_is_left_to_the_plugin(configured: Callable[[str], Settings]) -> None:
    plugin = only(configured('[[plugins]]\nuse = "filters.py:Plain"'))
    assert (plugin.name, plugin.policy, plugin.settings) == ("", Policy(), None)


def test_a_name_is_a_table_with_nothing_else(configured: Callable[[str], Settings]) -> None:
    plain, again, table = configured(
        'plugins = ["filters.py:Plain", "filters.py:ready", { use = "filters.py:MacFilter", name = "third" }]'
    ).make_plugins()
    assert type(plain.plugin).__name__ == type(again.plugin).__name__ == "Plain"
    assert table.name == "third"


def test_a_plugin_may_be_there_twice_with_other_settings(configured: Callable[[str], Settings]) -> None:
    tables = "".join(
        f'[[plugins]]\nuse = "filters.py:MacFilter"\nname = "{name}"\nsettings.file = "{name}.txt"\n' for name in "ab"
    )
    assert [each.settings.file.name for each in configured(tables).make_plugins()] == ["a.txt", "b.txt"]


# ── where a name leads ──


def test_a_file_stands_beside_the_configuration(
    configured: Callable[[str], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/counting.py").write_text(
        "from aiodhcp import hookimpl\nxids = []\n\n@hookimpl\ndef dhcp_new_pkt(packet):\n    xids.append(packet.xid)\n"
    )
    monkeypatch.chdir("/")
    settings = configured('plugins = ["hooks/counting.py"]')
    plugin = only(settings)
    module: Any = plugin.plugin
    assert (plugin.name, plugin.source) == ("counting", str(tmp_path / "hooks/counting.py"))
    assert module.__file__ == str(tmp_path / "hooks/counting.py")
    assert "counting" not in sys.modules
    assert inspect.getsource(module.dhcp_new_pkt).startswith("@hookimpl\ndef dhcp_new_pkt")
    client = Client(make_engine(plugins=[plugin]), clock)
    client.discover()
    assert module.xids == [client.xid]


@pytest.mark.parametrize("use", ["filters.py:MacFilter", "./filters.py:MacFilter", "ABSOLUTE/filters.py:MacFilter"])
def test_a_path_may_be_relative_or_absolute(configured: Callable[[str], Settings], tmp_path: Path, use: str) -> None:
    plugin = only(configured(f'plugins = ["{use.replace("ABSOLUTE", str(tmp_path))}"]'))
    assert type(plugin.plugin).__name__ == "MacFilter"


def test_a_file_is_run_afresh_by_every_load(configured: Callable[[str], Settings], tmp_path: Path) -> None:
    source = (
        "from aiodhcp import hookimpl\nclass Counter:\n    number = 1\n    @hookimpl\n    def dhcp_new_pkt(self): ..."
    )
    (tmp_path / "fresh.py").write_text(source)
    settings = configured('plugins = ["fresh.py", "fresh.py:Counter"]')
    module, counter = (each.plugin for each in settings.make_plugins())
    assert type(counter) is vars(module)["Counter"]  # run once for both

    # In the same second, and of the same length.
    (tmp_path / "fresh.py").write_text(source.replace("number = 1", "number = 2"))
    again, counter_again = (each.plugin for each in settings.make_plugins())
    assert again is not module
    assert (vars(type(counter))["number"], vars(type(counter_again))["number"]) == (1, 2)
    assert [name for name in sys.modules if name.endswith(":fresh")] == [vars(again)["__name__"]]
    assert not (tmp_path / "__pycache__").exists()


def test_a_file_that_fails_leaves_the_earlier_load_alone(configured: Callable[[str], Settings], tmp_path: Path) -> None:
    (tmp_path / "fresh.py").write_text("")
    settings = configured('plugins = ["fresh.py"]')
    name = vars(only(settings).plugin)["__name__"]
    (tmp_path / "fresh.py").write_text("\n\n1 / 0\n")
    assert complaints(settings, tmp_path) == [
        "dhcp.toml:2: plugins[0].use: plugin 'fresh.py' can't be imported: "
        "ZeroDivisionError('division by zero') (fresh.py:3)"
    ]
    assert [each for each in sys.modules if each.endswith(":fresh")] == [name]


def test_an_entry_point_is_found_by_its_name(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path
) -> None:
    install("dhcp-filters", "mac-filter = dhcp_filters:MacFilter", "whole = dhcp_filters")
    first, second = configured('plugins = ["mac-filter", "whole"]').make_plugins()
    assert type(first.plugin).__name__ == "MacFilter"
    assert first.source == second.source == "dhcp-filters 1.2"
    assert first.settings.file == Path("macs.txt")
    assert second.name == "whole"


def test_an_entry_point_goes_before_a_module_and_a_file_before_both(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path
) -> None:
    install("dhcp-filters", "filters = dhcp_filters:Plain", "filters.py = dhcp_filters:Plain")
    (tmp_path / "site/filters.py").write_text("")
    found = configured('plugins = ["filters", "filters.py"]').make_plugins()
    assert [each.source for each in found] == ["dhcp-filters 1.2", str(tmp_path / "filters.py")]


def test_two_distributions_that_have_one_name(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path
) -> None:
    install("one", "mac-filter = dhcp_filters:MacFilter")
    install("two", "mac-filter = dhcp_filters:Plain", version="2")
    (said,) = complaints(configured('plugins = ["mac-filter"]'), tmp_path)
    assert "there is more than one plugin 'mac-filter': name " in said
    assert "'dhcp_filters:MacFilter' of one 1.2" in said
    assert "'dhcp_filters:Plain' of two 2" in said


def test_a_module_is_found_where_python_looks(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path
) -> None:
    install("nothing")
    found = configured('plugins = ["dhcp_filters", "dhcp_filters:MacFilter.Settings.resolve"]').make_plugins()
    assert found[0].plugin is sys.modules["dhcp_filters"]
    assert found[0].source == str(tmp_path / "site/dhcp_filters.py")


def test_nothing_is_imported_but_what_is_named(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path
) -> None:
    install("dhcp-filters", "mac-filter = dhcp_filters:MacFilter")
    (tmp_path / "other.py").write_text("from aiodhcp import hookimpl\nraise SystemExit")
    configured('plugins = ["filters.py"]').make_plugins()
    assert "dhcp_filters" not in sys.modules
    (said,) = complaints(configured('plugins = ["mac-filtr"]'), tmp_path)
    assert said == "dhcp.toml:2: plugins[0].use: there is no plugin 'mac-filtr'; did you mean 'mac-filter'?"
    assert "dhcp_filters" not in sys.modules


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("filters", "there is no plugin 'filters'; did you mean 'filters.py'?"),
        ("zzz:Thing", "there is no plugin 'zzz:Thing'; there are 'mac-filter', 'filters.py'"),
        ("", "there is no plugin ''; there are 'mac-filter', 'filters.py'"),
        ("fliters.py:MacFilter", "there is no file 'fliters.py'; did you mean 'filters.py'?"),
        ("a/b", "there is no file 'a/b'; there are 'mac-filter', 'filters.py'"),
        ("./", "there is no file ''; there are 'mac-filter', 'filters.py'"),
        (
            "filters.py:MacFlter",
            "plugin 'filters.py:MacFlter': filters.py has no 'MacFlter'; did you mean 'MacFilter'?",
        ),
        ("wrong.py", "plugin 'wrong.py' can't be imported: '(' was never closed (wrong.py:2)"),
        ("leaves.py", "plugin 'leaves.py' can't be imported: SystemExit(3) (leaves.py:1)"),
        (
            "needy.py",
            "plugin 'needy.py' can't be imported: ModuleNotFoundError(\"No module named 'no_such'\") (needy.py:1)",
        ),
        (
            "filters.py:Raising",
            "plugin 'filters.py:Raising': Raising can't be made: "
            f"RuntimeError('no luck') (filters.py:{line_of('no luck')})",
        ),
        ("filters.py:Refusing", "plugin 'filters.py:Refusing': needs a tape drive"),
        ("filters.py:nothing", "plugin 'filters.py:nothing': expected nothing to return the plugin, got NoneType"),
        ("filters.py:later", "plugin 'filters.py:later': expected later to return the plugin, got coroutine"),
    ],
)
def test_a_name_that_leads_nowhere(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path, use: str, said: str
) -> None:
    install("dhcp-filters", "mac-filter = dhcp_filters:MacFilter")
    (tmp_path / "wrong.py").write_text("\nx = (\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    (tmp_path / "needy.py").write_text("import no_such")
    settings = configured(f'\n[[plugins]]\nname = "a"\nuse = "{use}"')
    (found,) = complaints(settings, tmp_path)
    assert found.replace(str(tmp_path), "") == f"dhcp.toml:5: plugins[0].use: {said}"


def test_a_module_that_lacks_another_is_there(
    configured: Callable[[str], Settings], install: Callable[..., None], tmp_path: Path
) -> None:
    install("nothing")
    (tmp_path / "site/needing.py").write_text("\nimport no_such_thing")
    (said,) = complaints(configured('plugins = ["needing"]'), tmp_path)
    assert "plugin 'needing' can't be imported: ModuleNotFoundError(\"No module named 'no_such_thing'\")" in said
    assert said.endswith("(site/needing.py:2)")


def test_where_there_is_nothing_python_s_words_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    with pytest.raises(
        ConfigError, match=r"there is no plugin 'nope': ModuleNotFoundError\(\"No module named 'nope'\"\)"
    ):
        Settings.of({"interfaces": ["eth0"], "plugins": ["nope"]}).make_plugins()


def test_what_a_hook_has_wrong_is_said_with_the_line_of_the_plugin(
    configured: Callable[[str], Settings], tmp_path: Path
) -> None:
    (tmp_path / "misspelt.py").write_text(
        "from aiodhcp import hookimpl\n\n@hookimpl\ndef dhcp_new_packet(packet): ...\n"
    )
    assert complaints(configured('plugins = ["misspelt.py"]'), tmp_path) == [
        "misspelt.py:3: plugin misspelt: unknown hook 'dhcp_new_packet'; did you mean 'dhcp_new_pkt'?"
    ]


def test_code_loads_files_and_entry_points_too(
    configured: Callable[[str], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("")
    monkeypatch.chdir(tmp_path)
    assert type(load_plugin("filters.py:MacFilter")).__name__ == "MacFilter"
    with pytest.raises(ConfigError, match="this key is needed"):
        load_plugin("filters.py:Needs")


# ── settings ──


def test_settings_are_checked_and_given(configured: Callable[[str], Settings], tmp_path: Path) -> None:
    plugin = only(
        configured("""
            [[plugins]]
            use = "filters.py:MacFilter"
            [plugins.settings]
            file = "ours.txt"
            retry-count = "4"
            filter-mode = "deny"
            limits.per_minute = 9
        """)
    )
    settings = plugin.settings
    assert (settings.file, settings.retry_count) == (tmp_path / "ours.txt", 4)
    assert (settings.mode, settings.limits.per_minute) == ("deny", 9)
    assert vars(plugin.plugin)["settings"] is settings


def test_underscores_will_do(configured: Callable[[str], Settings]) -> None:
    plugin = only(configured('[[plugins]]\nuse = "filters.py:MacFilter"\nsettings.retry_count = 4'))
    assert plugin.settings.retry_count == 4


def test_without_a_table_they_have_their_defaults(configured: Callable[[str], Settings]) -> None:
    assert only(configured('plugins = ["filters.py:MacFilter"]')).settings.retry_count == 3


def test_a_function_with_settings_makes_the_plugin(configured: Callable[[str], Settings]) -> None:
    plugin = only(configured('[[plugins]]\nuse = "filters.py:make"\nsettings.retry-count = 4'))
    assert type(plugin.plugin).__name__ == "MacFilter"
    assert plugin.settings.retry_count == 4


def test_a_module_with_settings_and_a_function_plugin_makes_it(
    configured: Callable[[str], Settings], tmp_path: Path
) -> None:
    (tmp_path / "module.py").write_text(
        "from types import SimpleNamespace\nfrom pydantic import BaseModel\n"
        "class Settings(BaseModel):\n    number: int = 1\n"
        "def plugin(settings):\n    return SimpleNamespace(name=f'plugin {settings.number}')\n"
    )
    plugin = only(configured('[[plugins]]\nuse = "module.py"\nsettings.number = 7'))
    assert vars(plugin.plugin)["name"] == "plugin 7"


def test_a_module_s_own_name_is_kept(configured: Callable[[str], Settings], tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("name = 'the guard'")
    assert only(configured('plugins = ["module.py"]')).name == ""


def test_a_model_may_take_any_key(configured: Callable[[str], Settings]) -> None:
    plugin = only(configured('[[plugins]]\nuse = "filters.py:Open"\nsettings = { known-key = 1, other-key = 2 }'))
    assert plugin.settings.model_dump() == {"known_key": 1, "other-key": 2}


@pytest.mark.parametrize(
    ("use", "settings", "dumped"),
    [
        ("Aliased", "retry-count = 1, choice = 2", {"retry_count": 1, "wide_choice": 2}),
        ("Aliased", "retry_count = 1, wide-choice = 2", {"retry_count": 1, "wide_choice": 2}),
        ("Aliased", "deep.choice = 2", {"retry_count": 0, "wide_choice": 2}),
        ("Rooted", "a_b = 1, c-d = 2", {"a_b": 1, "c-d": 2}),
    ],
)
def test_a_model_may_have_keys_of_its_own(
    configured: Callable[[str], Settings], use: str, settings: str, dumped: dict[str, int]
) -> None:
    plugin = only(configured(f'[[plugins]]\nuse = "filters.py:{use}"\nsettings = {{ {settings} }}'))
    assert plugin.settings.model_dump() == dumped


@pytest.mark.parametrize(
    ("use", "settings", "said"),
    [
        ("MacFilter", "fil = 'x'", "5: plugins[0].settings.fil: there is no such key; did you mean 'file'?"),
        (
            "MacFilter",
            "retry-cuont = 1",
            "5: plugins[0].settings.retry-cuont: there is no such key; did you mean 'retry-count'?",
        ),
        ("MacFilter", "mode = 'x'", "5: plugins[0].settings.mode: there is no such key; did you mean 'filter-mode'?"),
        ("MacFilter", "zzz = 'x'", "5: plugins[0].settings.zzz: there is no such key"),
        (
            "MacFilter",
            "retry-count = 'x'",
            "5: plugins[0].settings.retry-count: expected an integer, unable to parse string as an integer, got 'x'",
        ),
        ("MacFilter", "retry_count = []", "5: plugins[0].settings.retry_count: expected an integer"),
        (
            "MacFilter",
            "retry-count = 1\nretry_count = 2",
            "6: plugins[0].settings.retry_count: is 'retry-count', which is there already",
        ),
        ("MacFilter", "filter-mode = 7", "5: plugins[0].settings.filter-mode: expected a string, got 7"),
        ("MacFilter", "\nfile = 'x.csv'", "6: plugins[0].settings.file: x.csv: expected a text file"),
        ("MacFilter", "file = 'x.txt'\nretry-count = 10", "6: plugins[0].settings.retry-count: expected 9 or less"),
        ("MacFilter", "retry-count = -1", "4: plugins[0].settings: these settings make no sense"),
        (
            "MacFilter",
            "limits = { per_minut = 1 }",
            "5: plugins[0].settings.limits.per_minut: there is no such key; did you mean 'per_minute'?",
        ),
        ("MacFilter", "limits = 1", "5: plugins[0].settings.limits: expected a table, got 1"),
        (
            "MacFilter",
            "[plugins.settings.limits]\nper_minute = 1.5",
            "6: plugins[0].settings.limits.per_minute: "
            "expected an integer, got a number with a fractional part, got 1.5",
        ),
        (
            "Aliased",
            "retry_count = 'x'",
            "5: plugins[0].settings.retry_count: expected an integer, unable to parse string as an integer, got 'x'",
        ),
        (
            "Aliased",
            "retry-count = 1\nretry_count = 2",
            "6: plugins[0].settings.retry_count: is 'retry-count', which is there already",
        ),
        ("Aliased", "chioce = 1", "5: plugins[0].settings.chioce: there is no such key; did you mean 'choice'?"),
        (
            "Rooted",
            "a_b = 'x'",
            "5: plugins[0].settings.a_b: expected an integer, unable to parse string as an integer, got 'x'",
        ),
        ("Needs", "file = 'x'", "4: plugins[0].settings.some-number: this key is needed"),
        (
            "Discreet",
            "password = 'secret'",
            "5: plugins[0].settings.password: expected an integer, unable to parse string as an integer",
        ),
        ("Plain", "file = 'x'", "4: plugins[0].settings: plugin 'filters.py:Plain' takes no settings"),
        ("ready", "", "4: plugins[0].settings: plugin 'filters.py:ready' takes no settings"),
        (
            "Faulty",
            "file = '/no/such'",
            "4: plugins[0].settings: can't be checked: "
            f"FileNotFoundError(2, 'No such file or directory') (filters.py:{line_of('open(file)')})",
        ),
    ],
)
def test_settings_that_are_wrong_are_said_like_any_other_key(
    configured: Callable[[str], Settings], tmp_path: Path, use: str, settings: str, said: str
) -> None:
    found = complaints(configured(f'[[plugins]]\nuse = "filters.py:{use}"\n[plugins.settings]\n{settings}'), tmp_path)
    assert found == [f"dhcp.toml:{said}"]


def test_a_value_that_may_be_of_two_kinds(configured: Callable[[str], Settings], tmp_path: Path) -> None:
    settings = configured('[[plugins]]\nuse = "filters.py:MacFilter"\nsettings.servers = [1, "x"]')
    assert complaints(settings, tmp_path) == [
        "dhcp.toml:4: plugins[0].settings.servers[1]: expected a table, got 'x'",
        "dhcp.toml:4: plugins[0].settings.servers[1]: "
        "expected an integer, unable to parse string as an integer, got 'x'",
    ]


def test_all_that_is_wrong_with_all_plugins_is_said_at_once(
    configured: Callable[[str], Settings], tmp_path: Path
) -> None:
    settings = configured("""
        [[plugins]]
        use = "filters.py:Needs"
        settings.some-number = "x"

        [[plugins]]
        use = "filters.py:Plain"

        [[plugins]]
        use = "filters.pi"
        [[plugins]]
        use = "filters.py:MacFilter"
        [plugins.settings]
        retry-count = "x"
        fil = "x"
    """)
    assert [line.partition(": ")[0] + ": " + line.split(": ")[1] for line in complaints(settings, tmp_path)] == [
        "dhcp.toml:5: plugins[0].settings.file",
        "dhcp.toml:5: plugins[0].settings.some-number",
        "dhcp.toml:11: plugins[2].use",
        "dhcp.toml:15: plugins[3].settings.retry-count",
        "dhcp.toml:16: plugins[3].settings.fil",
    ]


def test_what_is_not_from_a_file_has_no_lines(
    configured: Callable[[str], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("")
    monkeypatch.chdir(tmp_path)
    table = {"use": "filters.py:MacFilter", "settings": {"file": "x.csv", "retry-count": "x"}}
    settings = Settings.of({"interfaces": ["eth0"], "plugins": [table]}, "command line")
    assert complaints(settings, tmp_path) == [
        "command line: plugins[0].settings.file: x.csv: expected a text file",
        "command line: plugins[0].settings.retry-count: "
        "expected an integer, unable to parse string as an integer, got 'x'",
    ]


# ── what there is ──


def test_what_a_configuration_could_name(install: Callable[..., None], tmp_path: Path) -> None:
    install("dhcp-filters", "whole = dhcp_filters", "plain = dhcp_filters:Plain", "gone = dhcp_filters.gone:Gone")
    (tmp_path / "filters.py").write_text(FILTER)
    (tmp_path / "attribute.py").write_text("import aiodhcp\n\n@aiodhcp.hookimpl\ndef dhcp_new_pkt(): 1 / 0\n\n1 / 0\n")
    (tmp_path / "policies.py").write_text('"""One line"""\nfrom aiodhcp.policies import hookimpl as mark\n')
    (tmp_path / "no_hooks.py").write_text("from pluggy import hookimpl\nfrom aiodhcp import Drop\n")
    (tmp_path / "wrong.py").write_text("from aiodhcp import hookimpl\nx = (")
    (tmp_path / "escape.py").write_text("from aiodhcp import hookimpl\nx = '\\d'")
    (tmp_path / "folder.py").mkdir()
    found = [(each.use, each.kind, each.where, each.summary) for each in available_plugins(tmp_path)]
    assert found == [
        ("gone", "entry point", "dhcp-filters 1.2", ""),
        ("plain", "entry point", "dhcp-filters 1.2", "Has no settings."),
        ("whole", "entry point", "dhcp-filters 1.2", "Filters clients."),
        ("attribute.py", "file", str(tmp_path / "attribute.py"), ""),
        ("escape.py", "file", str(tmp_path / "escape.py"), ""),
        ("filters.py", "file", str(tmp_path / "filters.py"), "Filters clients."),
        ("policies.py", "file", str(tmp_path / "policies.py"), "One line"),
    ]
    assert not {"dhcp_filters", "filters", "attribute"} & set(sys.modules)
    assert [each.use for each in available_plugins()] == ["gone", "plain", "whole"]
