"""What the examples of docs/configuration.md configure is what clients get."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

from client import Client, Clock, dotted
from server_kit import serve, store, transport  # noqa: F401 - fixtures
from test_docs import blocks
from test_docs_classes import DOCS, example
from wire import ask, message

from aiodhcp import Engine, LeaseState, MessageType, Settings
from aiodhcp.constants import INFINITE

NewClient = Callable[..., Client]
PAGE = "configuration.md"


def text_of(key: str) -> str:
    """The first example of the page that has this key."""
    return next(text for text in blocks(DOCS / PAGE, "toml") if f"\n{key} = " in text)


def holding(key: str) -> Engine:
    """A server by it."""
    return Engine(Settings.of(tomllib.loads(text_of(key))).config())


def test_the_first_example(new_client: NewClient) -> None:
    engine = example(PAGE, 0)

    def client(giaddr: str, mac: str = "02:00:00:00:01:01", **options: object) -> Client:
        return new_client(engine, giaddr=giaddr, mac=mac, **options)

    printer = client("192.168.50.254", "02:00:00:00:00:01").join()
    assert (dotted(printer.yiaddr), printer.options["host-name"]) == ("192.168.50.10", "printer")
    known = client("192.168.50.254", client_id=bytes.fromhex("01020000000002")).join()
    assert (dotted(known.yiaddr), known.options["lease-time"]) == ("192.168.50.100", INFINITE)
    other = client("192.168.50.254").join()
    assert (dotted(other.yiaddr), other.options["lease-time"]) == ("192.168.50.101", 43200)
    assert [str(each) for each in other.options["routers"]] == ["192.168.50.1"]
    assert client("192.168.50.254").reboot("192.168.50.120").message_type == MessageType.NAK  # excluded
    far = client("10.99.0.1").join()
    assert (dotted(far.yiaddr), far.options["lease-time"]) == ("10.20.1.0", 3600)
    assert [str(each) for each in far.options["routers"]] == ["10.20.0.1"]


def test_times(new_client: NewClient, clock: Clock) -> None:
    engine = holding("renewal-time")
    client = new_client(engine, giaddr="192.0.2.254")
    held = client.discover().yiaddr
    clock.advance(119)
    engine.tick(clock())
    late = new_client(engine, giaddr="192.0.2.254")
    assert late.discover(requested_address=held).yiaddr != held
    clock.advance(1)
    engine.tick(clock())
    stranger = new_client(engine, giaddr="192.0.2.254").discover(requested_address=held)
    assert stranger.yiaddr == held
    ack = client.join()
    assert dotted(int(ack.options["server-identifier"])) == "192.0.2.1"
    times = [ack.options[name] for name in ("lease-time", "renewal-time", "rebinding-time")]
    assert times == [8 * 3600, 3600, 6 * 3600]
    client.decline()
    lease = engine.leases.get(ack.yiaddr)
    assert (lease.state, lease.expires - lease.starts) == (LeaseState.DECLINED, 3600)


def test_the_only_server(new_client: NewClient) -> None:
    engine = holding("rapid-commit")
    bootp = new_client(engine, giaddr="192.0.2.254")
    reply = bootp.send(bootp.message(None))
    assert (reply.message_type, dotted(reply.yiaddr)) == (None, "192.0.2.10")
    assert engine.leases.get(reply.yiaddr).is_free(2**31) is False
    ack = new_client(engine, giaddr="192.0.2.254").discover(rapid_commit=True)
    assert (ack.message_type, dotted(ack.yiaddr)) == (MessageType.ACK, "192.0.2.11")
    assert (dotted(ack.siaddr), ack.sname.rstrip(b"\0")) == ("192.0.2.2", b"boot.example.test")
    none = new_client(engine, giaddr="192.0.2.254").discover(auto_config=1)
    assert (none.yiaddr, none.options["auto-config"]) == (0, 0)


def test_telling_all_clients_to_renew(new_client: NewClient, clock: Clock) -> None:
    (text,) = blocks(DOCS / "force-renew.md", "toml")
    client = new_client(Engine(Settings.of(tomllib.loads(text)).config()))
    client.engine.serve([client.interface])
    client.join()
    assert client.engine.no_force_renew(client.address, clock()) == ""


def test_a_second_server(new_client: NewClient) -> None:
    client = new_client(holding("min-secs"), giaddr="192.0.2.254")
    for secs, answered in ((0, False), (4, False), (5, True)):
        packet = client.message(MessageType.DISCOVER)
        packet.secs = secs
        assert (client.send(packet) is not None) == answered


def test_two_subnets_of_an_interface(new_client: NewClient) -> None:
    engine = holding("classes")
    assert dotted(new_client(engine, vendor_class_identifier="Phone 7").join().yiaddr) == "198.51.100.10"
    assert dotted(new_client(engine).join().yiaddr) == "203.0.113.10"


async def test_addresses_are_asked_for(serve, transport):
    asked = []

    class Prober:
        async def in_use(self, address: int, interface: object, method: str, timeout: float) -> str:  # noqa: ASYNC109
            asked.append((dotted(address), method, timeout))
            return "somebody" if len(asked) == 1 else ""

        def close(self) -> None:
            pass

    async with serve(config=holding("conflict-probe").config, prober=Prober()):
        offer = await ask(transport, message(MessageType.DISCOVER, 1, giaddr="192.0.2.254"))
    # From .10 on, but that is excluded of the subnet, and .12 of the pool.
    assert asked == [("192.0.2.11", "icmp", 0.3), ("192.0.2.13", "icmp", 0.3)]
    assert offer.address == "192.0.2.13"


def test_what_is_left_aside(new_client: NewClient) -> None:
    engine = holding("reservations-global")
    client = new_client(engine, mac="02:00:00:00:00:01", giaddr="192.0.2.254", relay_agent_information={1: b"a"})
    ack = client.join()
    assert "host-name" not in ack.options
    assert client.exchange.reservation is None
    assert not engine.leases.get(ack.yiaddr).relay_agent


def test_a_server_that_says_much_and_waits_little() -> None:
    settings = Settings.of(tomllib.loads(text_of("wait-timeout")))
    assert (settings.log_level, settings.explain, settings.max_in_flight, settings.wait_timeout) == (
        "debug",
        1000,
        1000,
        3,
    )
    assert str(settings.control_path) == "/run/aiodhcp/control.sock"


def test_how_a_plugin_is_run() -> None:
    *_, database = Settings.of(tomllib.loads(text_of("retry-after"))).plugins
    policy = (database.priority, database.deadline, database.on_timeout, database.failures, database.retry_after)
    assert policy == (10, 0.5, "continue", 5, 60)
