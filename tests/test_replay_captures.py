"""What ``aiodhcp replay`` makes of captures that have more in them than one server and its clients, or less."""

from __future__ import annotations

import asyncio
import tracemalloc

import dpkt
from capture_kit import LAB, LINKS, Tape, aiodhcp, engine, lines, tape, total, udp, verdicts  # noqa: F401 - fixtures
from client import Client, make_engine, make_subnet, number

from aiodhcp import Interface
from aiodhcp.recorded import like_recorded, survey
from aiodhcp.replay import Replay, interfaces_of

OTHER = Interface("eth0", (number("192.0.2.2"),), 3)
PACKETS = 2000


def test_what_is_no_request_is_counted_and_what_can_not_be_read_is_explained(tape, new_client, clock, tmp_path):
    client = new_client()
    client.join()
    tape.noise(clock())
    server, other = number("192.0.2.1"), number("192.0.2.2")
    tape.packets.append((clock(), udp(b"rubbish", 0, 68, 0xFFFFFFFF, 67)))
    tape.packets.append((clock(), udp(b"rubbish", server, 67, 0xFFFFFFFF, 68)))
    tape.packets.append((clock(), tape.packets[-1][1][:-3]))
    request = bytes(client.message(1))
    tape.packets.append((clock(), udp(request, server, 68, 0xFFFFFFFF, 68)))
    path = tape.write(tmp_path / "a.pcapng")
    found = lines(path)
    assert found[-1]["totals"]["left_out"] == {
        "malformed": 1,
        "not DHCP": 1,
        "requests that are not to a server": 1,
        "truncated": 1,
    }
    assert (found[-2]["reason"], found[-2]["why"]) == ("INVALID", "7 octets: a DHCP message has 240 to 4096")
    path.write_bytes(path.read_bytes()[:-3])
    cut = aiodhcp(path)
    assert cut.exit_code == 0
    assert f"aiodhcp: {path}: is cut off: it ends in the middle of block" in cut.output
    assert "; what stands before that is used\n" in cut.output
    assert other not in survey(path).repliers


def test_another_server_beside(tape, new_client, clock, tmp_path):
    """Its replies don't count, and what is sent to it alone is not heard."""
    second = make_engine(make_subnet("192.0.2.200-192.0.2.210", parameters=LAB))
    both = Tape(second)
    both.packets = tape.packets
    client, theirs = new_client(), new_client(second, interface=OTHER)
    client.join()
    client.renew()
    theirs.join()
    theirs.renew()
    path = tape.write(tmp_path / "a")
    found = lines(path, "--server", "192.0.2.1")
    assert [each["verdict"] for each in found[1:-1]] == ["OFFER", "ACK", "ACK", "OFFER", "dropped"]
    assert found[-1]["totals"]["left_out"] == {"replies of other servers": 3, "requests to another server": 1}
    assert found[5]["why"] == "chose server 192.0.2.2"
    assert [each["verdict"] for each in lines(path, "--server", "192.0.2.2")[3:-1]] == ["OFFER", "ACK", "ACK"]


def test_interfaces_of_a_configuration(tape, new_client, tmp_path):
    new_client().join()
    path = tape.write(tmp_path / "a", link="vlan")
    config = tmp_path / "lab.toml"
    config.write_text(
        'interfaces = ["eth0", "eth1.10"]\n'
        '[[subnet]]\nsubnet = "198.51.100.0/24"\npools = ["198.51.100.10-198.51.100.20"]\ninterfaces = ["eth0"]\n'
        '[[subnet]]\nsubnet = "192.0.2.0/24"\npools = ["192.0.2.10-192.0.2.20"]\ninterfaces = ["eth1.10"]\n'
    )
    assert lines(path, "--config", config)[1]["interface"] == "eth1.10"
    assert verdicts(path, "--config", config) == [("OFFER", "192.0.2.10"), ("ACK", "192.0.2.10")]
    assert verdicts(path, "--config", config, "-i", "eth0") == [("OFFER", "198.51.100.10"), ("NAK", "")]
    refused = aiodhcp(path, "--config", config, "-i", "eth7")
    assert (refused.exit_code, refused.output) == (
        1,
        "aiodhcp: the configuration does not serve 'eth7', but eth0, eth1.10\n",
    )


def test_requests_alone_need_to_be_told_of_a_network(tape, new_client, tmp_path):
    new_client().join()
    tape.packets = tape.packets[::2]
    path = tape.write(tmp_path / "a")
    refused = aiodhcp(path)
    assert (refused.exit_code, "give --config or --subnet" in refused.output) == (1, True)
    assert verdicts(path, "--subnet", "192.0.2.0/24")[0] == ("OFFER", "192.0.2.2")
    assert aiodhcp(path, "--against-capture").exit_code == 2


def test_a_capture_without_requests_and_one_of_another_age(tape, clock, new_client, tmp_path):
    tape.noise(clock())
    empty = aiodhcp(tape.write(tmp_path / "a"), "--subnet", "192.0.2.0/24")
    assert (empty.exit_code, "a: has no requests to a DHCP server\n" in empty.output) == (1, True)
    new_client().discover()
    tape.packets = [(1e12, packet) for _, packet in tape.packets]
    assert "1000000000000.0  #2  DISCOVER" in aiodhcp(tape.write(tmp_path / "a")).output


def test_what_does_not_go_together(tape, new_client, tmp_path):
    new_client().join()
    path = tape.write(tmp_path / "a")
    for arguments, said in (
        (["--config", "x", "--subnet", "192.0.2.0/24"], "give either --config or --subnet"),
        (["--json", "--explain"], "--json has it all"),
        (["--save", "x", "--diff", "x"], "name the same file"),
        (["--server", "nobody"], "--server: "),
        (["--subnet", "192.0.2.1/24"], "--subnet: "),
        (["--subnet", "192.0.2.0/24", "--subnet", "192.0.0.0/16"], "192.0.2.0/24 and 192.0.0.0/16 overlap"),
    ):
        result = aiodhcp(path, *arguments)
        assert (result.exit_code, said in result.output) == (2, True)
    for arguments, said in (
        ([tmp_path / "none"], "can't be read: No such file or directory"),
        ([tmp_path], "can't be read: Is a directory"),
        ([path, "--save", tmp_path / "no/dir"], "no/dir: No such file or directory"),
        ([path, "--leases", tmp_path / "none"], "none"),
    ):
        result = aiodhcp(*arguments)
        assert (result.exit_code, said in result.output) == (1, True), result.output


def test_a_big_capture_is_read_as_it_is_replayed(engine, clock, tmp_path):
    """Memory does not grow with the file."""
    tape = Tape(engine)
    client = Client(engine, clock)
    client.join()
    client.renew()
    packets = tape.packets[-2:]
    path = tmp_path / "a.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at in range(PACKETS // 2):
            for when, packet in packets:
                writer.writepkt(LINKS["ethernet"][1](packet), when + at)
    recorded = survey(path)
    places = interfaces_of(recorded)
    replay = Replay(path, recorded, like_recorded(recorded, [], places), [], places)

    async def run() -> tuple[int, int]:
        count, high = 0, 0
        async for _ in replay.run():
            count += 1
            if count == 100:
                tracemalloc.start()
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return count, high

    count, high = asyncio.run(run())
    assert count == PACKETS // 2
    assert high < 2_000_000


def test_of_networks_that_overlap_the_more_usual_one_is_taken(engine, new_client, clock, tmp_path):
    """A reply or two may say nonsense."""
    tape = Tape(engine)
    for mask in ("255.255.255.0", "255.255.255.255", "255.0.0.0", "255.255.255.0", "0.255.0.0"):
        client = new_client()
        client.discover()
        reply = client.exchange.reply
        reply.options["subnet-mask"] = mask
        tape.packets[-1] = tape.packets[-2]
        tape.reply(client.answer._replace(data=reply.encode()), clock())
    path = tape.write(tmp_path / "a")
    recorded = survey(path)
    assert [str(each) for each in recorded.networks] == ["192.0.2.0/24", "192.0.2.11/32", "192.0.0.0/8"]
    config = like_recorded(recorded, [], interfaces_of(recorded))
    assert [str(each) for each in config.subnets] == ["192.0.2.0/24"]
