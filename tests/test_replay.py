"""``aiodhcp replay``: the requests of a capture once more, and what is other than it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from capture_kit import LAB, LINKS, Tape, aiodhcp, engine, lines, tape, total, verdicts  # noqa: F401 - fixtures
from client import conversation, number

from aiodhcp import Lease, LeaseState, hookimpl
from aiodhcp.recorded import like_recorded, survey
from aiodhcp.replay import Replay, Replayed, interfaces_of
from aiodhcp.stores.sqlite import SqliteStore

HOOKS = """
import asyncio

from aiodhcp import Drop, DropReason, Nak, Use, hookimpl


@hookimpl
async def dhcp_new_pkt(packet):
    await asyncio.sleep(0)
    if packet.hardware_address == "02:00:00:00:00:02":
        return Drop("not today")


@hookimpl
def select_lease_time(exchange):
    if exchange.hardware_address == "02:00:00:00:00:03":
        return Nak("no more")
    if exchange.hardware_address == "02:00:00:00:00:04":
        return Drop(DropReason.NOMEM)


@hookimpl
def dhcp_handle_options(exchange):
    if exchange.hardware_address == "02:00:00:00:00:05":
        raise ValueError("oh")
"""


async def replayed(path: Path, plugins: list[object], **more: Any) -> list[Replayed]:
    """Of a server like the recorded one, with these plugins."""
    recorded = survey(path)
    places = interfaces_of(recorded)
    replay = Replay(path, recorded, like_recorded(recorded, [], places), plugins, places, **more)
    return [each async for each in replay.run()]


# ── a server like the recorded one ──


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize("link", LINKS)
def test_a_server_like_the_recorded_one_says_the_same(tape, new_client, clock, tmp_path, link, kind):
    for client in (new_client(), new_client(giaddr="192.0.2.3")):
        client.join()
        clock.advance(1800)
        client.renew()
    path = tape.write(tmp_path / "a", kind, link)
    had = [(verdict, address) for address in ("192.0.2.10", "192.0.2.11") for verdict in ("OFFER", "ACK", "ACK")]
    assert verdicts(path) == had
    compared = aiodhcp(path, "--against-capture")
    assert compared.exit_code == 0
    assert total(compared, "different") == "0 of 6 requests than in the capture"
    (first, *_) = lines(path)[1:]
    assert first["interface"] == {"vlan": ".10"}.get(link, "capture")


def test_every_kind_of_message(tape, new_client, tmp_path):
    exchanges = conversation(new_client())
    found = lines(tape.write(tmp_path / "a"))[1:-1]
    assert len(found) == len(exchanges)
    for line, exchange in zip(found, exchanges, strict=True):
        if exchange.message_type == 3 and "client has no" in line.get("why", ""):
            continue  # it has refused others: who says that it does not refuse this one?
        reason = exchange.reason and exchange.reason.name
        assert (line.get("reason"), line.get("why", "")) == (reason, exchange.why)


def test_leases_of_before_the_capture_are_supposed(engine, new_client, clock, tmp_path):
    early, gone = new_client(), new_client()
    early.join()
    gone.join()
    tape = Tape(engine)
    clock.advance(1800)
    early.renew()
    gone.release()
    found = lines(tape.write(tmp_path / "a"))
    assert [each["verdict"] for each in found[1:-1]] == ["ACK", "no reply"]
    assert found[1]["supposed"] == ["a lease of 192.0.2.10 from before the capture"]
    assert found[-1]["totals"]["supposed_leases"] == 2
    config = tmp_path / "lab.toml"
    config.write_text('interfaces = ["eth0"]\n[[subnet]]\nsubnet = "192.0.2.0/24"\npools = ["192.0.2.50-192.0.2.60"]\n')
    ignored = lines(tmp_path / "a", "--ignore-replies", "--config", config)
    assert [each["verdict"] for each in ignored[1:-1]] == ["dropped", "dropped"]
    assert "no record of the client" in ignored[1]["why"]


def test_addresses_are_those_that_were_recorded_as_far_as_they_may_be_had(engine, new_client, tmp_path):
    new_client().join()
    tape = Tape(engine)
    client = new_client()
    client.join()
    path = tape.write(tmp_path / "a")
    assert verdicts(path) == [("OFFER", "192.0.2.11"), ("ACK", "192.0.2.11")]
    assert lines(path)[1]["supposed"] == ["the address that the recorded server chose"]
    assert verdicts(path, "--subnet", "192.0.2.0/24", "--ignore-replies") == [("OFFER", "192.0.2.2"), ("NAK", "")]
    config = tmp_path / "lab.toml"
    table = 'interfaces = ["eth0"]\n[[subnet]]\nsubnet = "192.0.2.0/24"\npools = ["192.0.2.50-192.0.2.60"]\n'
    config.write_text(table)
    assert verdicts(path, "--config", config) == [("OFFER", "192.0.2.50"), ("NAK", "")]
    reserved = '[[subnet.reservation]]\nhardware-address = "02:00:00:00:00:02"\naddress = "192.0.2.55"\n'
    config.write_text(table.replace("50-", "10-") + reserved)
    assert verdicts(path, "--config", config)[0] == ("OFFER", "192.0.2.55")


def test_leases_to_begin_with(tape, new_client, clock, tmp_path):
    client = new_client()
    client.join()
    path = tape.write(tmp_path / "a")
    lease = Lease(number("192.0.2.10"), b"\1other", 1, b"other", LeaseState.ACTIVE, int(clock()), int(clock()) + 99)

    async def fill() -> None:
        store = SqliteStore(tmp_path / "leases")
        await store.load()
        await store.commit([lease])
        await store.close()

    asyncio.run(fill())
    before = (tmp_path / "leases").read_bytes()
    assert verdicts(path, "--leases", tmp_path / "leases")[0] == ("OFFER", "192.0.2.2")
    assert (tmp_path / "leases").read_bytes() == before


# ── the clock ──


async def test_hooks_have_the_time_of_the_capture_and_leases_end_by_it(tape, new_client, clock, tmp_path):
    began = clock()
    client = new_client()
    client.join()
    clock.advance(3601)
    new_client().join()
    heard: list[tuple[str, float]] = []

    class Hears:
        @hookimpl
        async def dhcp_control(self, server, code):
            self.server = server
            heard.append((code.name, server.now()))

        @hookimpl
        def dhcp_new_pkt(self, exchange):
            heard.append(("packet", exchange.now))

        @hookimpl
        async def leases_committed(self, leases):
            heard.append(("/".join(each.state.name for each in leases), self.server.now()))

        @hookimpl
        def lease_expired(self, lease):
            heard.append(("over", self.server.now()))

    found = await replayed(tape.write(tmp_path / "a"), [Hears()])
    assert [each.exchange.reply_type for each in found] == [2, 5, 2, 5]
    later = began + 3601
    assert heard == [
        ("START", began),
        ("packet", began),
        ("packet", began),
        ("ACTIVE", began),
        ("over", later),
        ("EXPIRED", later),
        ("packet", later),
        ("packet", later),
        ("ACTIVE", later),
        ("STOP", later),
    ]


# ── plugins ──


def test_what_plugins_decide_is_named(tape, new_client, tmp_path, caplog):
    for _ in range(5):
        new_client().join()
    path = tape.write(tmp_path / "a")
    (tmp_path / "my_hooks.py").write_text(HOOKS)
    plugin = tmp_path / "my_hooks.py"
    found = lines(path, "--plugins", plugin)[1:-1]
    told = [(each["verdict"], each.get("reason"), each.get("by"), each.get("why")) for each in found]
    assert told[0] == ("OFFER", None, None, None)
    assert told[2] == ("vetoed", None, "dhcp_new_pkt of my_hooks", "vetoed by my_hooks: not today")
    assert told[4] == ("dropped", "UNAUTH", "select_lease_time of my_hooks", "no more")
    assert told[5] == ("NAK", None, "select_lease_time of my_hooks", "no more")
    assert told[6] == ("dropped", "NOMEM", "select_lease_time of my_hooks", "select_lease_time of my_hooks")
    assert found[8]["verdict"] == "OFFER"
    assert found[8]["hooks"] == ["dhcp_handle_options of my_hooks: raised ValueError('oh')"]
    printed = aiodhcp(path, "--plugin", plugin).output
    assert "-> vetoed by dhcp_new_pkt of my_hooks: not today\n" in printed
    assert "-> dropped, NOMEM by select_lease_time of my_hooks\n" in printed
    assert "dhcp_handle_options of my_hooks  8 calls, 2 errors\n" in printed
    assert "dhcp_new_pkt of my_hooks         10 calls, 2 vetoes\n" in printed
    explained = aiodhcp(path, "--plugin", plugin, "--explain", "--frame", 5).output
    assert "    outcome            no reply: vetoed by my_hooks: not today" in explained
    assert explained.count("    outcome") == 1


def test_plugins_that_can_not_be_had(tape, new_client, tmp_path):
    new_client().join()
    path = tape.write(tmp_path / "a")
    refused = aiodhcp(path, "--plugins", tmp_path / "none.py")
    assert (refused.exit_code, "there is no file" in refused.output) == (1, True)
    (tmp_path / "grim.py").write_text(
        "from aiodhcp import hookimpl\n@hookimpl\ndef dhcp_control(code):\n    raise ValueError('I will not')\n"
    )
    refused = aiodhcp(path, "--plugins", tmp_path / "grim.py")
    assert refused.exit_code == 1
    assert "aiodhcp: plugin grim refused the start: I will not" in refused.output


# ── runs that are compared ──


def test_the_same_comes_to_the_same(tape, new_client, tmp_path):
    """Also what is random in a server: addresses, and nonces (RFC 6704)."""
    client = new_client()
    client.join(forcerenew_nonce_capable=b"\1")
    new_client().join()
    path = tape.write(tmp_path / "a")
    config = tmp_path / "lab.toml"
    config.write_text(
        'interfaces = ["eth0"]\naddress-choice = "random"\n'
        '[[subnet]]\nsubnet = "192.0.2.0/24"\npools = ["192.0.2.10-192.0.2.99"]\n'
    )
    for chooses, said in ((), b"authentication"), (("--ignore-replies",), b"NAK"):
        arguments = (path, "--config", config, *chooses)
        for run in ("1", "2"):
            assert aiodhcp(*arguments, "--save", tmp_path / run).exit_code == 0
        assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
        assert said in (tmp_path / "1").read_bytes()
        again = aiodhcp(*arguments, "--diff", tmp_path / "1")
        assert again.exit_code == 0
        assert total(again, "different") == "0 of 4 requests than before"
    assert verdicts(*arguments)[0] not in (("OFFER", "192.0.2.10"), ("OFFER", "192.0.2.11"))


def test_what_is_other_than_before_is_shown(tape, new_client, tmp_path):
    new_client().join()
    new_client().join()
    path = tape.write(tmp_path / "a")
    assert aiodhcp(path, "--save", tmp_path / "run.json").exit_code == 0
    (tmp_path / "new.py").write_text(
        "from aiodhcp import Drop, hookimpl\n"
        "@hookimpl\n"
        "def dhcp_pkt_send(packet, reply):\n"
        "    if packet.hardware_address.endswith(':01'):\n"
        "        reply.options['domain-name'] = 'new.test'\n"
        "        del reply.options['routers']\n"
        "@hookimpl\n"
        "def dhcp_new_pkt(packet):\n"
        "    return Drop('no') if packet.hardware_address.endswith(':02') else None\n"
    )
    result = aiodhcp(path, "--plugins", tmp_path / "new.py", "--diff", tmp_path / "run.json")
    assert result.exit_code == 1
    assert "~ reply domain-name: lab.test -> new.test" in result.output
    assert "- reply routers: 192.0.2.1" in result.output
    assert "~ verdict: OFFER -> vetoed" in result.output
    assert "+ why: vetoed by new: no" in result.output
    assert "4 of 4 requests than before" in result.output
    against = aiodhcp(path, "--plugins", tmp_path / "new.py", "--against-capture")
    assert against.exit_code == 1
    assert "~ domain-name: lab.test -> new.test" in against.output
    assert "- reply: OFFER\n    + why: vetoed by new: no\n" in against.output


def test_requests_that_only_one_of_the_runs_has(tape, new_client, tmp_path):
    new_client().join()
    new_client().join()
    path = tape.write(tmp_path / "a")
    run = tmp_path / "run.json"
    aiodhcp(path, "--save", run)
    whole = run.read_text().splitlines(keepends=True)
    run.write_text("".join([*whole[:2], *whole[3:]]))
    result = aiodhcp(path, "--diff", run)
    assert (result.exit_code, "    + request: frame 3, which was left out\n" in result.output) == (1, True)
    later = whole[4].replace('"frame": 7', '"frame": 99')
    run.write_text("".join([*whole[:2], whole[1].replace('"frame": 1', '"frame": 2'), *whole[2:4], later, whole[5]]))
    result = aiodhcp(path, "--diff", run)
    assert "    - request: frame 2\n" in result.output
    assert "    - request: frame 99\n" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read: No such file or directory"),
        ("", "expected what aiodhcp replay --save wrote"),
        ("interfaces = []", "expected what aiodhcp replay --save wrote: Expecting value"),
        ("[]", "expected an object"),
        ('{"replay": 1, "sha256": "00"}\n', "is a run of another capture"),
        ('{"replay": 1, "sha256": "%s"}\n', "is cut off: its last line is missing"),
    ],
)
def test_what_is_no_run_to_compare_with(tape, new_client, tmp_path, text, said):
    new_client().join()
    path = tape.write(tmp_path / "a")
    if text is not None:
        (tmp_path / "run").write_text(text % survey(path).digest if "%s" in text else text)
    result = aiodhcp(path, "--diff", tmp_path / "run")
    assert (result.exit_code, said in result.output) == (2, True), result.output
