"""A TOML file → settings; and what is said of a file that is wrong."""

from __future__ import annotations

import math
import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from aiodhcp import ConfigError, DhcpServer, EthernetTransport, MemoryStore, SqliteStore, UdpTransport
from aiodhcp.config import Settings, default_store_path, load_config, parse_duration, parse_seconds
from aiodhcp.parameters import encode_settings
from aiodhcp.transports.relay import RelayTransport

FULL = """
interfaces = ["eth0", "eth1"]
authoritative = true
server-id = "192.168.50.2"
lease-time = "12h"
max-lease-time = "1d12h"
offer-time = 30
plugins = []

[store]
path = "state/leases.sqlite"

[options]
domain-name-servers = ["192.168.50.1", "192.168.50.2"]

[[class]]
name = "phones"
options.tftp-server-name = "phones.example"

[[subnet]]
subnet = "192.168.50.0/24"
pools = [
    "192.168.50.100-192.168.50.149",
    { range = "192.168.50.160/28", lease-time = "1h", exclude = ["192.168.50.163"] },
]
exclude = ["192.168.50.120-192.168.50.129"]
interfaces = ["eth0"]
options = { routers = "192.168.50.1", option-224 = "01:02:ff" }
next-server = "192.168.50.9"

[[subnet.reservation]]
hardware-address = "02:00:00:00:00:01"
address = "192.168.50.10"
lease-time = "infinite"

[[subnet]]
subnet = "10.0.0.0/8"
relays = ["172.16.0.1"]
"""


def settings_of(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "aiodhcp.toml"
    file.write_text(text)
    return load_config(file)


def complaint(tmp_path: Path, text: str) -> list[str]:
    """What is said of a bad file, without its directory."""
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, text)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("\n")]


def number(dotted: str) -> int:
    return int(IPv4Address(dotted))


def test_a_whole_file_becomes_what_the_engine_goes_by(tmp_path: Path) -> None:
    config = settings_of(tmp_path, FULL).config()

    assert config.authoritative
    assert config.server_id == number("192.168.50.2")
    assert config.offer_time == 30
    assert (config.parameters.lease_time, config.parameters.max_lease_time) == (43200, 129600)
    assert config.parameters.options == encode_settings({"domain-name-servers": "192.168.50.1, 192.168.50.2"})
    assert config.classes_by_name["phones"].parameters.options == {66: b"phones.example"}
    office, relayed = config.subnets
    assert str(office) == "192.168.50.0/24"
    assert office.interfaces == ("eth0",)
    assert office.parameters.options == {3: bytes([192, 168, 50, 1]), 224: b"\1\2\xff"}
    assert office.parameters.next_server == number("192.168.50.9")
    assert [pool.size for pool in office.pools] == [40, 15]
    assert office.pools[1].parameters.lease_time == 3600
    (reservation,) = office.reservations
    assert reservation.hardware_address == b"\2\0\0\0\0\1"
    assert reservation.address == number("192.168.50.10")
    assert reservation.parameters.lease_time == 0xFFFFFFFF
    assert config.subnet_of_relay(number("172.16.0.1")) is relayed


def test_a_relative_store_starts_at_the_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, FULL)
    store = settings.make_store()
    assert isinstance(store, SqliteStore)
    assert store.path == tmp_path / "state/leases.sqlite"


def test_without_a_path_the_store_has_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert settings_of(tmp_path, 'interfaces = ["eth0"]').store_path == Path("/var/lib/aiodhcp/leases.sqlite")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/joe/state")
    assert default_store_path() == Path("/home/joe/state/aiodhcp/leases.sqlite")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/joe")
    assert default_store_path() == Path("/home/joe/.local/state/aiodhcp/leases.sqlite")


@pytest.mark.parametrize(
    ("table", "store", "transport"),
    [
        ({"interfaces": ["eth0"]}, SqliteStore, EthernetTransport),
        ({"store": {"type": "memory"}, "transport": {"type": "udp", "port": 6767}}, MemoryStore, UdpTransport),
        ({"transport": {"type": "relay", "host": "127.0.0.1"}}, SqliteStore, RelayTransport),
    ],
)
def test_a_server_is_made_of_it(table: dict[str, Any], store: type, transport: type) -> None:
    settings = Settings.of(table)
    assert isinstance(settings.make_store(), store)
    assert isinstance(settings.make_transport(), transport)
    assert isinstance(settings.server(plugins=[object()]), DhcpServer)


def test_plugins_are_loaded_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one_of_ours.py").write_text(
        "from aiodhcp import hookimpl\n"
        "class Counter:\n    @hookimpl\n    def dhcp_new_pkt(self, packet): ...\n"
        "class Misspelt:\n    @hookimpl\n    def dhcp_new_packet(self): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    first, second = Settings.of({"interfaces": ["a"], "plugins": ["one_of_ours", "one_of_ours:Counter"]}).make_plugins()
    assert getattr(first.plugin, "__name__", "") == "one_of_ours"
    assert type(second.plugin).__name__ == "Counter"
    with pytest.raises(ConfigError, match=r"one_of_ours\.py:6: .*dhcp_new_packet"):
        Settings.of({"interfaces": ["a"], "plugins": ["one_of_ours:Misspelt"]}).make_plugins()
    with pytest.raises(ConfigError, match="no_such_module"):
        Settings.of({"interfaces": ["a"], "plugins": ["no_such_module"]}).server()


HEAD = 'interfaces = ["eth0"]\n'
SUBNET = HEAD + '[[subnet]]\nsubnet = "192.168.50.0/24"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + 'lease-tme = "12h"', "2: lease-tme: there is no such key; did you mean 'lease-time'?"),
        (HEAD + "zzz = 1", "2: zzz: there is no such key"),
        (HEAD + "\n# why\nplugins = [\n 'a',\n 3\n]", "4: plugins[1]: expected a string or a table, got 3"),
        (
            HEAD + "authoritative = 'maybe'",
            "2: authoritative: expected a boolean, unable to interpret input, got 'maybe'",
        ),
        (
            HEAD + "lease-time = '12 hours'",
            "2: lease-time: expected a duration like '90s', '12h', '1d12h' or 'infinite'",
        ),
        (HEAD + "lease-time = true", "2: lease-time: expected a duration like"),
        (HEAD + "server-id = '1.2.3'", "2: server-id: expected an address like '192.168.50.1', got '1.2.3'"),
        (HEAD + "log-level = 'loud'", "2: log-level: expected 'debug', 'info', 'warning' or 'error', got 'loud'"),
        (HEAD + "[store]\ntype = 'mysql'", "3: store.type: expected 'sqlite' or 'memory', got 'mysql'"),
        (HEAD + "[store]\npth = 'x'", "3: store.pth: there is no such key; did you mean 'path'?"),
        (HEAD + "[transport]\nport = 99999", "3: transport.port: expected less than or equal to 65535, got 99999"),
        (HEAD + "[options]\nrouters = '300.1.1.1'", "3: options.routers: option 3 (routers): expected"),
        (HEAD + "[options]\nruters = '1.1.1.1'", "3: options.ruters: "),
        (HEAD + "[options]\nlease-time = 7", "3: options.lease-time: can't be set as an option: set lease-time"),
        (HEAD + "server-name = '" + "x" * 64 + "'", "2: server-name: expected at most 63 octets, got 64"),
        (HEAD + "[[subnet]]\npools = []", "2: subnet[0].subnet: this key is needed"),
        (HEAD + "[[subnet]]\nsubnet = '1.2.3.0/33'", "3: subnet[0].subnet: expected a network like '192.168.50.0/24'"),
        (
            SUBNET + "pools = ['x-y']",
            "4: subnet[0].pools[0].range: expected a range like '192.168.50.100-192.168.50.199'",
        ),
        (SUBNET + "pools = [7]", "4: subnet[0].pools[0]: expected a string or a table, got 7"),
        (SUBNET + "pools = [\n'192.168.50.9',\n'10.0.0.1']", "4: subnet[0].pools[1]: 10.0.0.1-10.0.0.1 is not within"),
        (
            SUBNET + "[[subnet.reservation]]\nhardware-address = '02:0'",
            "5: subnet[0].reservation[0].hardware-address: expected 1 to 16 octets like '02:00:00:00:00:01', got",
        ),
        (
            SUBNET + "[[subnet.reservation]]\naddress = '192.168.50.1'",
            "4: subnet[0].reservation[0]: expected a hardware address or a client id",
        ),
        (
            SUBNET + "[[subnet.reservation]]\n# them\nclient-id = '01:02'\naddress = '10.0.0.1'",
            "4: subnet[0].reservation[0]: 10.0.0.1 is not in 192.168.50.0/24",
        ),
        (SUBNET + "[[subnet]]\nsubnet = '192.168.0.0/16'", "2: subnet: 192.168.0.0/16 and 192.168.50.0/24 overlap"),
        (SUBNET + "interfaces = ['eth7']", "4: subnet[0].interfaces: 'eth7' is not among interfaces ['eth0']"),
        (HEAD + "[[class]]\nname = 'a'\n[[class]]\nname = 'a'", "2: class: 'a' is defined twice"),
        (HEAD + "[[class]]\nnme = 'a'", "2: class[0].name: this key is needed"),
        (HEAD + "[transport]\nport = 6767", "3: transport.port: is for the types 'udp' and 'relay'"),
        ("lease-time = '1h'", "1: interfaces: expected the names of the interfaces to serve, like ['eth0']"),
        (HEAD + "store = 3", "2: store: expected a table, got 3"),
        (HEAD + "bootp = 'yes'", "2: bootp: expected 'no', 'reserved' or 'dynamic', got 'yes'"),
        (HEAD + "control = true", "2: control: expected the path of a socket, or false for none, got True"),
        (HEAD + "control = ''", "2: control: expected the path of a socket, or false for none, got ''"),
        (HEAD + "wait-timeout = 0", "2: wait-timeout: expected a duration like"),
        (HEAD + "explain = -1", "2: explain: expected greater than or equal to 0, got -1"),
        (HEAD + "explain = 'x'", "2: explain: expected an integer, unable to parse"),
        (HEAD + "[[class]]\nname = 'a'\ndenny = true", "4: class[0].denny: there is no such key; did you mean 'deny'?"),
        (
            SUBNET + "conflict-probe = 'ping'",
            "4: subnet[0].conflict-probe: expected 'off', 'auto', 'arp' or 'icmp', got",
        ),
        (SUBNET + "probe-timeout = '1 s'", "4: subnet[0].probe-timeout: expected seconds like 0.5, or a duration like"),
        (
            SUBNET + "probe-timeout = 11",
            "4: subnet[0].probe-timeout: expected more than 0 and at most 10 seconds, got 11",
        ),
        (SUBNET + "[[subnet.pools]]\nrnge = 'x'", "4: subnet[0].pools[0].range: this key is needed"),
        (HEAD + "[[plugins]]\nname = 'a'", "2: plugins[0].use: this key is needed"),
        (
            HEAD + "[[plugins]]\nuse = 'a'\ndead-line = 1",
            "4: plugins[0].dead-line: there is no such key; did you mean 'dead",
        ),
        (
            HEAD + "[[plugins]]\nuse = 'a'\ndeadline = 0",
            "4: plugins[0].deadline: expected seconds like 0.5, or a duration",
        ),
        (HEAD + "[[plugins]]\nuse = 'a'\nretry-after = true", "4: plugins[0].retry-after: expected seconds like 0.5"),
        (
            HEAD + "[[plugins]]\nuse = 'a'\non-error = 'die'",
            "4: plugins[0].on-error: expected 'continue', 'drop' or 'dis",
        ),
        (HEAD + "[[plugins]]\nuse = 'a'\nfailures = -1", "4: plugins[0].failures: expected greater than or equal to 0"),
        (HEAD + "[[plugins]]\nuse = 'a'\nsettings = 1", "4: plugins[0].settings: expected a table, got 1"),
        (
            SUBNET + "plugins = ['a']",
            "4: subnet[0].plugins: there is no such key here: it stands at the top, before the first [table]",
        ),
        (
            "plugins = ['a']\n" + SUBNET + "[[plugins]]\nuse = 'b'",
            "5: plugins: is given above, as a whole: keep either that or the table here",
        ),
        (HEAD + "[plugins]\nuse = 'a'", "2: plugins: expected a list of tables: [[plugins]]"),
        (
            SUBNET + "[subnet.reservation]\naddress = 1",
            "4: subnet[0].reservation: expected a list of tables: [[subnet.re",
        ),
        ("[interfaces]\na = 1", "1: interfaces: expected a list"),
        ("a = 1\nb = = 2", "2: Invalid value in column 5"),
        ("a = [1,\n", "2: "),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, text)[0].startswith("aiodhcp.toml:" + said)


def test_all_that_is_wrong_is_said_in_the_order_of_the_file(tmp_path: Path) -> None:
    said = complaint(tmp_path, "x = 1\ny = 2\n[store]\ntype = 'a'\nz = 3\n[[subnet]]\n")
    assert [re.sub(r"^aiodhcp.toml:(\d+): ([^:]+):.*", r"\1 \2", line) for line in said] == [
        "1 x",
        "2 y",
        "4 store.type",
        "5 store.z",
        "6 subnet[0].subnet",
    ]


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path / "latin.toml")


def test_tables_in_python_are_checked_alike() -> None:
    with pytest.raises(ConfigError, match=r"command line: subnet\[0\]\.subnet: expected a network"):
        Settings.of({"interfaces": ["eth0"], "subnet": [{"subnet": "x"}]}, "command line")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("2m", 120),
        ("12h", 43200),
        ("1d12h", 129600),
        ("2w", 1209600),
        ("600", 600),
        (7, 7),
        (" 1H ", 3600),
    ],
)
def test_durations(text: str | int, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["infinite", "never"])
def test_for_ever(text: str) -> None:
    assert parse_duration(text) == 0xFFFFFFFF


@pytest.mark.parametrize("text", ["", "0", "0s", 0, -1, 1.5, "h", "5000000000s", "1y", None])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0.5, 0.5),
        (3, 3.0),
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1.5m", 90.0),
        (" 0.25 ", 0.25),
        ("1m30s", 90.0),
        ("1d", 86400.0),
        ("infinite", math.inf),
        ("inf", math.inf),
        (math.inf, math.inf),
    ],
)
def test_seconds(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "0ms", "ms", 0, -0.5, math.nan, "nan", True, None, "1y", "1 s", [1]])
def test_no_seconds(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected seconds like 0\.5"):
        parse_seconds(text)


def test_probes_bootp_and_classes_that_are_denied(tmp_path: Path) -> None:
    text = HEAD + "bootp = 'dynamic'\n[[class]]\nname = 'guests'\ndeny = true\n[[subnet]]\nsubnet = '10.0.0.0/8'\n"
    config = settings_of(tmp_path, text + "conflict-probe = 'auto'\nprobe-timeout = '250ms'\n").config()
    assert config.bootp == "dynamic"
    assert config.classes_by_name["guests"].deny
    assert (config.subnets[0].conflict_probe, config.subnets[0].probe_timeout) == ("auto", 0.25)

    config = settings_of(tmp_path, FULL).config()
    assert config.bootp == "reserved"
    assert not config.classes_by_name["phones"].deny
    assert (config.subnets[0].conflict_probe, config.subnets[0].probe_timeout) == ("off", 0.5)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[store]\npath = '/var/l.sqlite'", "/var/l.sqlite.sock"),
        ("[store]\npath = 'l.sqlite'", "HERE/l.sqlite.sock"),
        ("control = 'run/aiodhcp.sock'", "HERE/run/aiodhcp.sock"),
        ("control = '/run/aiodhcp.sock'", "/run/aiodhcp.sock"),
        ("control = 'a.sock'\nstore.type = 'memory'", "HERE/a.sock"),
        ("store.type = 'memory'", None),
        ("control = false", None),
    ],
)
def test_where_the_control_socket_is(tmp_path: Path, text: str, path: str | None) -> None:
    expected = Path(path.replace("HERE", str(tmp_path))) if path else None
    assert settings_of(tmp_path, HEAD + text).control_path == expected


def test_in_python_the_socket_may_be_a_path() -> None:
    settings = Settings.of({"interfaces": ["eth0"], "control": Path("/run/a.sock")})
    assert settings.control_path == Path("/run/a.sock")


def test_the_directory_is_that_of_the_file_or_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/d.toml").write_text(HEAD + "store.path = 'l.sqlite'")
    settings = load_config("conf/d.toml")
    monkeypatch.chdir("/")
    assert settings.directory == tmp_path / "conf"
    assert settings.store_path == tmp_path / "conf/l.sqlite"
    assert Settings.of({"interfaces": ["eth0"]}).directory == Path("/")


def test_how_long_packets_wait_is_told_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr("aiodhcp.config.DhcpServer", lambda *_, **given: told.update(given))
    Settings.of({"interfaces": ["eth0"], "wait-timeout": "30s", "explain": 50, "max-in-flight": 7}).server()
    assert (told["wait_timeout"], told["explain"], told["max_in_flight"]) == (30, 50, 7)
    Settings.of({"interfaces": ["eth0"]}).server()
    assert (told["wait_timeout"], told["explain"]) == (10, 0)


BEFORE = {"interfaces": ["eth0", "eth1"], "store": {"path": "/a"}}


@pytest.mark.parametrize(
    ("after", "keys"),
    [
        ({}, []),
        ({"lease-time": "1h", "subnet": [{"subnet": "10.0.0.0/8"}], "plugins": ["x"], "log-level": "debug"}, []),
        ({"interfaces": ["eth1", "eth0"]}, []),
        ({"interfaces": ["eth0"]}, ["interfaces"]),
        ({"store": {"path": "/b"}}, ["store.path"]),
        ({"store": {"type": "memory"}}, ["store.type", "store.path", "store.max-events"]),
        ({"transport": {"type": "udp", "port": 6767}}, ["transport.type", "transport.host", "transport.port"]),
        ({"control": False, "max-in-flight": 1}, ["control", "max-in-flight"]),
        ({"wait-timeout": 9, "explain": 9}, ["wait-timeout", "explain"]),
    ],
)
def test_what_only_a_restart_changes(after: dict[str, Any], keys: list[str]) -> None:
    before = Settings.of(BEFORE)
    assert before.restart_needed(Settings.of({**BEFORE, **after})) == keys
    assert Settings.of({**BEFORE, **after}).restart_needed(before) == keys
