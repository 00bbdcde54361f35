"""The examples in C, as plugins of a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client, conversation

from aiodhcp import ControlCode, Parameters

# ── logger ──


def test_the_logger_has_a_line_for_each_call(example, log, talk_to, run):
    client = talk_to(example("logger"))
    hooks = client.engine.hooks
    run(hooks.control(None, ControlCode.START))
    client.join(host_name="pc-17", vendor_class_identifier="MSFT 5.0")
    client.release()
    client.reboot("203.0.113.9")
    run(hooks.control(None, ControlCode.STOP))
    offered, acknowledged = (line for line in log() if line.startswith("pkt_send") and "0.0.0.0" not in line)
    assert offered.startswith("pkt_send 1: 3")
    assert offered.endswith(" octets to 020000000001, 192.0.2.10")
    assert acknowledged.startswith("pkt_send 2: 3")
    assert [line for line in log() if not line.startswith(("pkt_send", "new_pkt"))] == [
        "control START",
        'handle_options 1: type 1, name "pc-17", vendor "MSFT 5.0"',
        "pkt_drop 1: PROCESSED",
        'handle_options 2: type 3, name "pc-17", vendor "MSFT 5.0"',
        "address_offer 2: NEW 192.0.2.10 for 43200 s, DHCP",
        "pkt_drop 2: PROCESSED",
        'handle_options 3: type 7, name "", vendor ""',
        "delete_client: 192.0.2.10 of 020000000001",
        "address_del 3: RELEASE 192.0.2.10",
        "pkt_drop 3: PROCESSED",
        'handle_options 4: type 3, name "", vendor ""',
        "address_del 4: NACKED 203.0.113.9",
        "pkt_drop 4: PROCESSED",
        "control STOP",
    ]
    assert log()[1].endswith(" octets at 192.0.2.1 from 020000000001")


def test_the_logger_changes_nothing(example, talk_to):
    plain = [each.answer and each.answer.data for each in conversation(talk_to())]
    assert [each.answer and each.answer.data for each in conversation(talk_to(example("logger")))] == plain


# ── option_editor ──


def test_the_option_editor_adds_an_option(example, talk_to):
    client = talk_to(example("option_editor", CALLOUT_OPTION="15=lab.example"))
    plain = len(talk_to().discover().options.raw)
    offer = client.discover()
    assert offer.options["domain-name"] == "lab.example"
    assert len(offer.options.raw) == plain + 1
    assert client.join().options["domain-name"] == "lab.example"


def test_the_option_editor_replaces_an_option(example, talk_to):
    parameters = Parameters(options={"domain-name": "old.example", "domain-name-servers": ["192.0.2.53"]})
    client = talk_to(example("option_editor", CALLOUT_OPTION="15=a." + "x" * 240), parameters=parameters)
    offer = client.discover(parameter_request_list=[15, 6])
    assert offer.options.raw[15] == b"a." + b"x" * 240
    assert str(offer.options["domain-name-servers"][0]) == "192.0.2.53"
    assert len(client.answer.data) > 500


@pytest.mark.parametrize("option", ["", "15", "0=a", "255=a", "x=a", "15=" + "x" * 256])
def test_the_option_editor_without_an_option_has_no_hooks(example, option):
    assert example("option_editor", CALLOUT_OPTION=option).callouts.hooks == frozenset()


# ── mac_filter ──


@pytest.fixture
def served(example, talk_to, seen, tmp_path) -> Callable[[str], list[int]]:
    """Which of the clients 1 to 3 a list lets in."""

    def clients(text: str) -> list[int]:
        path = tmp_path / "macs.txt"
        path.write_text(text)
        client = talk_to(example("mac_filter", CALLOUT_MAC_LIST=seen(path)))
        found = []
        for number in (1, 2, 3):
            other = Client(client.engine, client.clock, f"02:00:00:00:00:{number:02x}", run=client.run)
            if other.discover() is not None:
                found.append(number)
        return found

    return clients


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MAC_ACTION = {ALLOW}\n020000000001\n020000000003\n", [1, 3]),
        ("MAC_ACTION = {DENY}\n020000000001\n020000000003\n", [2]),
        ("# who\n\nMAC_ACTION={DENY} # these\r\n  020000000001 # one\r\n#020000000002\r\n", [2, 3]),
        ("MAC_ACTION = {ALLOW}\n", []),
        ("MAC_ACTION = {DENY}\n", [1, 2, 3]),
        ("MAC_ACTION = {ALLOW}\n02:00:00:00:00:01\n02000000000\n0200000000022\n020000000003", [3]),
        ("MAC_ACTION = {ALLOW}\n" + "".join(f"06{n:010X}\n" for n in range(500)) + "020000000002\n", [2]),
    ],
    ids=["allow", "deny", "comments", "allow nobody", "deny nobody", "bad lines", "many"],
)
def test_the_mac_filter(served, text, expected):
    assert served(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "020000000001\n",
        "MAC_ACTION = ALLOW\n020000000001\n",
        "MAC_ACTION = {PERMIT}\n020000000001\n",
        "MAC_ACTION {ALLOW}\n020000000001\n",
        "MAC_ACTION = {ALLOW}\nMAC_ACTION = {DENY}\n020000000001\n",
        "020000000001\nMAC_ACTION = {ALLOW}\n",
    ],
    ids=["empty", "none", "no braces", "unknown", "no equals sign", "two", "not the first"],
)
def test_the_mac_filter_with_a_bad_action_filters_nothing_and_says_so(served, log, text):
    assert served(text) == [1, 2, 3]
    (line,) = log()
    assert line.endswith("expected one MAC_ACTION = {ALLOW} or {DENY}, first: nothing is filtered")


def test_the_mac_filter_names_bad_lines(served, log, seen, tmp_path):
    served("MAC_ACTION = {DENY}\nnonsense\n")
    assert log() == [f"mac_filter: {seen(tmp_path / 'macs.txt')}:2: expected 12 hexadecimal digits: skipped"]


def test_the_mac_filter_without_a_list_filters_nothing(example, log, seen, tmp_path):
    plugin = example("mac_filter", CALLOUT_MAC_LIST=seen(tmp_path / "missing"))
    assert plugin.callouts.hooks == frozenset()
    assert log() == [f"mac_filter: {seen(tmp_path / 'missing')}:0: can't be read: nothing is filtered"]


def test_the_mac_filter_vetoes_and_the_logger_hears_it_is_over(example, log, talk_to, seen, tmp_path):
    path = tmp_path / "macs.txt"
    path.write_text("MAC_ACTION = {ALLOW}\n")
    client = talk_to(example("mac_filter", CALLOUT_MAC_LIST=seen(path)), example("logger"))
    assert client.discover() is None
    assert client.exchange.why == "vetoed by mac_filter"
    assert [line.split(":")[0] for line in log()] == ["new_pkt 1", "pkt_drop 1"]


def test_the_readme_names_what_there_is():
    directory = Path(__file__).parents[2] / "examples" / "callouts"
    text = (directory / "README.md").read_text()
    for path in directory.iterdir():
        assert path.is_dir() or path.name == "README.md" or path.name in text
