"""mac-filter: the lists of Microsoft's MAC filter callout, judged as the callout in C judges them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiodhcp_plugins.mac_filter import MOST_COMPLAINTS, MOST_OCTETS, MacFilter
from client import Client, Clock, make_engine
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from wire import config, discover

from aiodhcp import (
    ConfigError,
    ControlCode,
    DhcpServer,
    DropReason,
    MemoryStore,
    MemoryTransport,
    MessageType,
    load_config,
)
from aiodhcp.callout import CalloutPlugin, Library

CALLOUTS = Path(__file__).resolve().parents[2] / "examples" / "callouts"
COMPILER = shutil.which("cc") or shutil.which("gcc")
BAD_ACTION = "expected one MAC_ACTION = {ALLOW} or {DENY}, first: nothing is filtered"
ALLOW, DENY = "MAC_ACTION = {ALLOW}\n", "MAC_ACTION = {DENY}\n"
MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"]
OTHERS = ["", "02:00:00:00:01", "02:00:00:00:00:01:00", "02:00:00:00:00:01" + ":00" * 10]
"""Hardware addresses of other lengths than 6."""


class Office:
    """A server with the filter, its list, and what it writes."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.list, self.errors, self.infos = (directory / name for name in ("macs.txt", "errors.log", "infos.log"))
        self.clock = clock
        settings = MacFilter.Settings(list_file=self.list, error_log=self.errors, info_log=self.infos)
        self.filter = MacFilter(settings)
        self.server = DhcpServer(config(), store=MemoryStore(), clock=clock)
        self.engine = make_engine(plugins=[self.filter])

    async def start(self, text: str | bytes | None = None) -> None:
        """Have the list read, with another text if there is one."""
        if text is not None:
            self.list.write_bytes(text if isinstance(text, bytes) else text.encode())
        await self.filter.dhcp_control(self.server, ControlCode.START)

    def client(self, mac: str) -> Client:
        return Client(self.engine, self.clock, mac)

    @property
    def served(self) -> list[str]:
        """Which of ``MACS`` are."""
        return [mac for mac in MACS if self.client(mac).discover() is not None]


@pytest.fixture
def office(tmp_path, clock) -> Office:
    return Office(tmp_path, clock)


# ── who is served ──


async def test_those_that_are_allowed_are_served_and_nobody_else(office):
    await office.start(ALLOW + "020000000001\n020000000003\n")
    assert office.client(MACS[0]).join().message_type == MessageType.ACK
    stranger = office.client(MACS[1])
    assert stranger.discover() is None
    assert stranger.reboot("192.0.2.20") is None
    assert stranger.inform("192.0.2.20") is None
    assert office.served == [MACS[0], MACS[2]]


async def test_those_that_are_denied_are_ignored_and_nobody_else(office):
    await office.start(DENY + "020000000001\n020000000003\n")
    assert office.client(MACS[1]).join().message_type == MessageType.ACK
    assert office.served == [MACS[1]]


async def test_it_is_explained_why(office):
    await office.start(ALLOW + "020000000001\n")
    stranger = office.client(MACS[1])
    stranger.discover()
    assert stranger.exchange.reason == DropReason.UNAUTH
    words = f"vetoed by mac-filter: {MACS[1]} is not among those that {office.list} allows"
    assert stranger.exchange.why == words
    assert any(words in str(fact) for fact in stranger.exchange.explain())
    await office.start(DENY + "020000000002\n")
    stranger.discover()
    assert stranger.exchange.why == f"vetoed by mac-filter: {MACS[1]} is among those that {office.list} denies"


@pytest.mark.parametrize("mac", OTHERS)
async def test_a_hardware_address_of_another_length_is_in_no_list(office, mac):
    await office.start(ALLOW + "020000000001\n")
    odd = office.client(mac)
    assert odd.discover(client_identifier=b"\0odd") is None
    assert odd.exchange.vetoed
    assert (mac or "a client without a hardware address") in odd.exchange.why
    await office.start(DENY + "020000000001\n")
    assert odd.discover(client_identifier=b"\0odd") is not None


async def test_the_hardware_type_does_not_matter(office):
    await office.start(ALLOW + "020000000001\n")
    assert Client(office.engine, office.clock, MACS[0], htype=6).discover() is not None


# ── the list ──


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("# who\n\nMAC_ACTION={DENY} # these\r\n  020000000001 # one\r\n#020000000002\r\n", MACS[1:]),
        ("\t MAC_ACTION \t=\t {ALLOW}\t\n\v020000000001\f", MACS[:1]),
        (ALLOW, []),
        (DENY, MACS),
        (ALLOW + "0" * 12 + "\n" + "02:00:00:00:00:01\n02-00-00-00-00-02\n020000000003", MACS[2:]),
        (ALLOW + "020000000001 020000000002\n020000000002,\n020000000003\n", MACS[2:]),
        (ALLOW + "02000000000\n0200000000011\n02000000000g\n0x2000000001\n", []),
        (ALLOW + "020000000001\x00rest\n020000000002\rrest\n", MACS[:2]),
        (ALLOW + " mac_action = {DENY}\n020000000001", MACS[:1]),
        (ALLOW + "020000000001\n020000000001\n", MACS[:1]),
        (ALLOW + "#" + "x" * (MOST_OCTETS - 1) + "020000000001\n", MACS[:1]),
    ],
    ids=[
        *("comments", "blanks", "allow nobody", "deny nobody", "other notations", "two a line", "other lengths"),
        *("what ends a line", "small letters", "twice", "a long line"),
    ],
)
async def test_a_list(office, text, served):
    await office.start(text)
    assert office.served == served


async def test_digits_may_be_large_or_small(office):
    await office.start(ALLOW + "0A00000000fE\n0a00000000FF\n")
    assert office.client("0a:00:00:00:00:fe").discover() is not None
    assert office.client("0a:00:00:00:00:ff").discover() is not None
    assert office.served == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("# nothing\n\n", 2),
        ("020000000001\n", 1),
        ("MAC_ACTION = ALLOW\n020000000001\n", 1),
        ("\nMAC_ACTION = {PERMIT}\n020000000001\n", 2),
        ("MAC_ACTION = {allow}\n020000000001\n", 1),
        ("Mac_Action = {ALLOW}\n020000000001\n", 1),
        ("MAC_ACTION = { ALLOW }\n020000000001\n", 1),
        ("MAC_ACTION = {ALLOW} {DENY}\n020000000001\n", 1),
        ("MAC_ACTION {ALLOW}\n020000000001\n", 1),
        (ALLOW + "020000000001\n" + DENY, 3),
        (ALLOW + ALLOW + "020000000001\n", 2),
        (ALLOW + "020000000001\nMAC_ACTIONS\n", 3),
        ("020000000001\n" + ALLOW, 1),
        (ALLOW.rstrip() + "x" * MOST_OCTETS, 1),
    ],
)
async def test_with_a_bad_action_it_is_as_if_there_were_no_filter(office, caplog, text, line):
    await office.start(text)
    assert office.served == MACS
    assert caplog.messages == [f"{office.list}:{line}: {BAD_ACTION}"]
    assert office.errors.read_text() == f"2023-11-14T22:13:20.000Z {office.list}:{line}: {BAD_ACTION}\n"
    assert not office.infos.exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_a_byte_order_mark_is_a_bad_action_and_named(office, caplog, encoding):
    await office.start((ALLOW + "020000000001\n").encode(encoding))
    assert office.served == MACS
    assert "first, without a byte order mark before it: nothing is filtered" in caplog.text


async def test_bad_lines_are_skipped_and_named(office, caplog):
    await office.start(DENY + "nonsense\n020000000001\n\n" + "#" * 3000 + "\n02:00:00:00:00:02\n")
    assert office.served == MACS[1:]
    complaints = [f"{office.list}:{line}: expected 12 hexadecimal digits: skipped" for line in (2, 6)]
    assert caplog.messages == complaints
    assert office.errors.read_text() == "".join(f"2023-11-14T22:13:20.000Z {each}\n" for each in complaints)


async def test_of_many_bad_lines_the_error_log_has_all(office, caplog):
    await office.start(DENY + "02:00:00:00:00:01\n" * 500)
    assert len(office.errors.read_text().splitlines()) == 500
    assert len(caplog.messages) == MOST_COMPLAINTS + 1
    assert caplog.messages[-1] == f"{office.list}: skipped {500 - MOST_COMPLAINTS} more lines"


async def test_what_makes_the_list_useless_is_said_also_behind_many_bad_lines(office, caplog):
    await office.start(DENY + "nonsense\n" * 500 + ALLOW)
    assert office.served == MACS
    assert len(office.errors.read_text().splitlines()) == 501
    assert caplog.messages[-1] == f"{office.list}:502: {BAD_ACTION}"


async def test_without_its_file_it_is_as_if_there_were_no_filter(office, caplog):
    await office.start()
    assert office.served == MACS
    (said,) = caplog.messages
    assert said == f"{office.list}: can't be read: No such file or directory: nothing is filtered"
    assert office.errors.read_text() == f"2023-11-14T22:13:20.000Z {said}\n"


@pytest.mark.parametrize("path", ["", "a\0b"])
async def test_or_with_one_that_is_no_file(tmp_path, clock, caplog, path):
    plugin = MacFilter(MacFilter.Settings(list_file=tmp_path / path))
    await plugin.dhcp_control(DhcpServer(config(), store=MemoryStore()), ControlCode.START)
    assert Client(make_engine(plugins=[plugin]), clock).discover() is not None
    assert "can't be read" in caplog.text


async def test_or_without_the_name_of_one(clock, caplog):
    plugin = MacFilter(MacFilter.Settings())
    await plugin.dhcp_control(DhcpServer(config(), store=MemoryStore()), ControlCode.START)
    assert Client(make_engine(plugins=[plugin]), clock).discover() is not None
    assert caplog.messages == ["no list-file is named: nothing is filtered"]


async def test_a_good_list_is_no_complaint(office, caplog):
    caplog.set_level("INFO")
    await office.start(DENY + "020000000001\n")
    assert caplog.messages == [f"{office.list}: denies 1 hardware addresses"]
    assert not office.errors.exists()


async def test_the_list_is_read_at_the_start_only(office):
    await office.start(ALLOW + "020000000001\n")
    office.list.write_text(DENY)
    assert office.served == MACS[:1]
    await office.filter.dhcp_control(office.server, ControlCode.PAUSE)
    await office.filter.dhcp_control(office.server, ControlCode.CONTINUE)
    assert office.served == MACS[:1]
    await office.filter.dhcp_control(office.server, ControlCode.STOP)
    await office.start()
    assert office.served == MACS


def test_where_nothing_was_started_it_judges_and_writes_nothing(office):
    office.list.write_text(ALLOW + "nonsense\n020000000001\n")
    assert office.served == MACS[:1]
    office.list.unlink()
    assert office.served == MACS[:1]
    assert not office.errors.exists()
    assert not office.infos.exists()


# ── the two logs ──


async def test_the_info_log_has_a_line_for_each_packet(office):
    await office.start(ALLOW + "020000000001\n")
    office.client(MACS[0]).join()
    office.clock.advance(1.5)
    office.client(MACS[1]).discover()
    office.client("").discover(client_identifier=b"\0odd")
    await office.start(DENY + "020000000001\n")
    office.client(MACS[0]).discover()
    office.client("02:00:00:00:00:01:00").discover()
    assert office.infos.read_text().splitlines() == [
        "2023-11-14T22:13:20.000Z 020000000001 served, listed",
        "2023-11-14T22:13:20.000Z 020000000001 served, listed",
        "2023-11-14T22:13:21.500Z 020000000002 ignored, not listed",
        "2023-11-14T22:13:21.500Z - ignored, not listed",
        "2023-11-14T22:13:21.500Z 020000000001 ignored, listed",
        "2023-11-14T22:13:21.500Z 02000000000100 served, not listed",
    ]


async def test_what_is_there_is_appended_to(office):
    office.infos.write_text("before\n")
    await office.start(DENY)
    office.client(MACS[0]).discover()
    assert office.infos.read_text().splitlines()[0] == "before"


async def test_a_log_that_was_rotated_away_goes_on_in_a_new_file(office):
    await office.start(DENY)
    office.client(MACS[0]).discover()
    old = office.infos.rename(office.infos.with_suffix(".1"))
    office.client(MACS[1]).discover()
    assert "020000000001" in old.read_text()
    assert "020000000002" in office.infos.read_text()


async def test_both_may_be_one_file(tmp_path, clock):
    path = tmp_path / "macs.log"
    plugin = MacFilter(MacFilter.Settings(list_file=tmp_path / "macs.txt", error_log=path, info_log=path))
    (tmp_path / "macs.txt").write_text(DENY + "nonsense\n")
    await plugin.dhcp_control(DhcpServer(config(), store=MemoryStore(), clock=clock), ControlCode.START)
    Client(make_engine(plugins=[plugin]), clock).discover()
    skipped, served = path.read_text().splitlines()
    assert skipped.endswith("skipped")
    assert served.endswith("served, not listed")


async def test_what_can_not_be_written_stops_nobody_and_is_told_of_once(office, caplog):
    office.infos.mkdir()
    office.errors.mkdir()
    await office.start(ALLOW + "020000000001\nnonsense\n")
    caplog.clear()
    for _ in range(3):
        assert office.served == MACS[:1]
    assert caplog.messages == [f"{office.infos}: can't be written: Is a directory"]
    caplog.clear()
    office.infos.rmdir()
    for _ in range(2):
        assert office.served == MACS[:1]
    assert caplog.messages == [f"{office.infos} is written again"]
    assert len(office.infos.read_text().splitlines()) == 6


async def test_a_pipe_that_nobody_reads_is_not_waited_for(office, caplog):
    os.mkfifo(office.infos)
    await office.start(ALLOW + "020000000001\n")
    assert office.served == MACS[:1]
    assert caplog.messages == [f"{office.infos}: can't be written: No such device or address"]


# ── from a configuration ──


@pytest.fixture
def configured(tmp_path) -> Callable[[str], MacFilter]:
    """``configured('list-file = "macs.txt"')``: the plugin of a file that says so."""

    def make(settings: str) -> MacFilter:
        file = tmp_path / "aiodhcp.toml"
        file.write_text(f'interfaces = ["memory"]\n[[plugins]]\nuse = "mac-filter"\n[plugins.settings]\n{settings}')
        (plugin,) = load_config(file).make_plugins()
        assert isinstance(plugin.plugin, MacFilter)
        return plugin.plugin

    return make


@pytest.mark.parametrize(
    "keys",
    [
        ("list-file", "error-log", "info-log"),
        ("list_file", "error_log", "info_log"),
        ("CalloutMACAddressListFile", "CalloutErrorLogFile", "CalloutInfoLogFile"),
    ],
)
def test_microsofts_names_will_do_and_paths_start_at_the_configuration(configured, tmp_path, keys):
    settings = configured("".join(f'{key} = "{name}"\n' for key, name in zip(keys, "abc", strict=True))).settings
    assert (settings.list_file, settings.error_log) == (tmp_path / "a", tmp_path / "b")
    assert settings.info_log == tmp_path / "c"
    assert configured(f'{keys[0]} = "/etc/macs.txt"').settings.list_file == Path("/etc/macs.txt")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("list-file = 5", "list-file: "),
        ("CalloutMACAddressListFile = 5", "CalloutMACAddressListFile: "),
        ('CalloutErrorLogFile = ""', "CalloutErrorLogFile: expected the path of a file, got ''"),
        ('info-log = ""', "info-log: expected the path of a file, got ''"),
        ('CalloutMacAddressListFile = "a"', "there is no such key; did you mean 'CalloutMACAddressListFile'?"),
        ('list-fil = "a"', "there is no such key; did you mean 'list-file'?"),
    ],
)
def test_a_wrong_setting_is_refused_as_it_is_written(configured, written, words):
    with pytest.raises(ConfigError) as refused:
        configured(written)
    assert "aiodhcp.toml:5: plugins[0].settings." in str(refused.value)
    assert words in str(refused.value)


def test_a_key_by_both_names_is_refused(configured):
    with pytest.raises(ConfigError, match="CalloutMACAddressListFile: is 'list-file', which is there already"):
        configured('list-file = "a"\nCalloutMACAddressListFile = "b"')


def test_there_are_no_other_settings():
    with pytest.raises(ValidationError):
        MacFilter.Settings.model_validate({"deny": []})


async def test_a_reload_reads_the_list_again(configured, tmp_path, clock):
    settings, path = 'list-file = "macs.txt"\ninfo-log = "infos"', tmp_path / "macs.txt"
    path.write_text(ALLOW + "020000000001\n")
    transport, plugin = MemoryTransport(), configured(settings)
    server = DhcpServer(config(), store=MemoryStore(), transport=transport, plugins=[plugin], clock=clock)
    async with server:
        transport.deliver_many([discover(1), discover(2)])
        path.write_text(DENY + "020000000001\n")
        transport.deliver_many([discover(1), discover(2)])
        await server.reload(plugins=[configured(settings)])
        transport.deliver_many([discover(1), discover(2)])
    decided = [line.split(" ", 1)[1] for line in (tmp_path / "infos").read_text().splitlines()]
    assert decided == [
        *["020000000001 served, listed", "020000000002 ignored, not listed"] * 2,
        *["020000000001 ignored, listed", "020000000002 served, not listed"],
    ]


# ── any list at all, and the same with the callout in C ──

LINES = st.one_of(
    st.sampled_from(
        [
            *("MAC_ACTION = {ALLOW}", "MAC_ACTION={DENY}", " MAC_ACTION\t= {ALLOW} # these", "MAC_ACTION = {DENY}x"),
            *(
                "MAC_ACTION = ALLOW",
                "MAC_ACTION",
                "mac_action = {ALLOW}",
                "MAC_ACTION = {DENY}\0",
                "MAC_ACTION\v={DENY}",
            ),
            *("020000000001", " 020000000002\t", "020000000003#", "020000000001\0", "0200000000011", "02000000000"),
            *("02:00:00:00:00:01", "020000000002 020000000003", "02000000000\xff", "\xa0020000000001", "0x0200000001"),
            *("", "#", "# comment", " ", "\v", "\f", "\xef\xbb\xbf", "\0", "\x1a", "MAC_ACTION = {ALLOW}020000000001"),
        ]
    ).map(lambda text: text.encode("latin-1")),
    st.binary(max_size=20),
    st.builds(
        lambda filler, count, rest: filler * count + rest,
        st.sampled_from([b"#", b" ", b"0", b"\0"]),
        st.integers(MOST_OCTETS - 14, MOST_OCTETS + 2),
        st.sampled_from([b"", b"020000000001", b"MAC_ACTION = {DENY}", b"\0"]),
    ),
)
LISTS = st.builds(
    lambda action, lines: action + b"".join(line + end for line, end in lines),
    st.sampled_from(
        [b"", b"MAC_ACTION = {ALLOW}\n", b"MAC_ACTION = {DENY}\r\n", b"\xef\xbb\xbfMAC_ACTION = {ALLOW}\n"]
    ),
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"", b"\n\n"])), max_size=12),
)


@given(st.one_of(st.binary(max_size=300), LISTS))
def test_no_list_makes_it_raise(tmp_path_factory, octets):
    office = Office(tmp_path_factory.getbasetemp(), Clock())
    office.list.write_bytes(octets)
    client = office.client(MACS[0])
    assert (client.discover() is None) == client.exchange.vetoed
    assert all(not each.errors for each in office.engine.hooks.metrics)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """The callout in C."""
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    target = tmp_path_factory.mktemp("callout") / "mac_filter.so"
    command = [COMPILER, "-O1", "-shared", "-fPIC", f"-I{CALLOUTS}", "-o", target, CALLOUTS / "mac_filter.c"]
    subprocess.run(command, check=True, capture_output=True)
    return target


class Siblings:
    """The same list and the same packets for both."""

    def __init__(self, library: Path, directory: Path) -> None:
        self.library = library
        self.list, self.log = directory / "macs.txt", directory / "log"

    def in_c(self, macs: list[str]) -> tuple[list[bool], list[str]]:
        """Whose packets are vetoed, and what is said of the list."""
        self.log.write_bytes(b"")
        loaded = Library(self.library)
        try:
            vetoed = _vetoed(CalloutPlugin(loaded), macs)
        finally:
            loaded.close()
        return vetoed, [line.split(": ", 2)[2] for line in self.log.read_text().splitlines()]

    def in_python(self, macs: list[str]) -> tuple[list[bool], list[str]]:
        """The same."""
        plugin = MacFilter(MacFilter.Settings(list_file=self.list))
        vetoed = _vetoed(plugin, macs)
        _, complaints = plugin._read()
        return vetoed, [line.split(": ", 1)[1] for line in complaints]


def _vetoed(plugin: object, macs: list[str]) -> list[bool]:
    engine, clock = make_engine(plugins=[plugin]), Clock()
    found = []
    for mac in macs:
        client = Client(engine, clock, mac, client_id=b"\0" + mac.encode())
        client.discover()
        found.append(client.exchange.vetoed)
    return found


@pytest.fixture(scope="module")
def siblings(library, tmp_path_factory) -> Iterator[Siblings]:
    both = Siblings(library, tmp_path_factory.mktemp("lists"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALLOUT_MAC_LIST", str(both.list))
        patch.setenv("CALLOUT_LOG", str(both.log))
        yield both


@given(LISTS)
@example(b"MAC_ACTION = {ALLOW}\n#" + b"x" * (MOST_OCTETS - 1) + b"020000000001\n")
@example(b"MAC_ACTION = {ALLOW}\n" + b"0" * 3000 + b"\n020000000002\n")
@example(b"MAC_ACTION = {DENY}\r020000000001\r020000000002")
@example(b"\xef\xbb\xbfMAC_ACTION = {ALLOW}\n")
@example(b"MAC_ACTION = {ALLOW}\n020000000001\nMAC_ACTION = {ALLOW}\n")
@example(b"")
def test_the_callout_in_c_comes_to_the_same(siblings, octets):
    siblings.list.write_bytes(octets)
    in_c, said_in_c = siblings.in_c([*MACS, *OTHERS])
    in_python, said = siblings.in_python([*MACS, *OTHERS])
    assert in_python == in_c
    assert [words.replace(", without a byte order mark before it", "") for words in said] == said_in_c


def test_the_callout_in_c_without_a_list(siblings):
    siblings.list.unlink(missing_ok=True)
    assert siblings.in_c(MACS)[0] == siblings.in_python(MACS)[0] == [False] * 3
