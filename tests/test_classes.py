"""Classes by test: who is in which, what it gives them, and how many of them get a lease."""

from __future__ import annotations

import pytest
from client import Client, dotted, make_engine, make_subnet, number

from aiodhcp import (
    Class,
    Config,
    DropReason,
    Engine,
    Interface,
    MessageType,
    Parameters,
    Pool,
    Reservation,
    Use,
    hookimpl,
)
from aiodhcp.classes import Finder

PHONES = Class("phones", Parameters({"tftp-server-name": "phones.example"}), test="option[60].text == 'phone'")


def named(name: str) -> Parameters:
    return Parameters({"domain-name": name})


# ── who is in which ──


def test_a_test_says_who_belongs_to_a_class(new_client):
    engine = make_engine(classes=[PHONES])
    phone, other = new_client(engine, vendor_class_identifier="phone"), new_client(engine)
    assert phone.join().options["tftp-server-name"] == "phones.example"
    assert "tftp-server-name" not in other.join().options
    assert phone.exchange.classes == {"phones"}


class Guests:
    """Puts clients into a class while it also wants to know their subnet, which takes their classes."""

    @hookimpl
    def dhcp_handle_options(self, options, exchange):
        exchange.classes.add("guests")

    @hookimpl
    def select_subnet(self, exchange):
        assert "guests" in exchange.classes


def test_tests_are_tried_once_for_a_packet(new_client, monkeypatch):
    tried = []
    find = Finder.find

    def counted(self, subject):
        tried.append(subject.message_type)
        find(self, subject)

    monkeypatch.setattr(Finder, "find", counted)
    engine = make_engine(
        plugins=[Guests()],
        classes=[
            Class("guests"),
            Class("a", test="option[60].exists"),
            Class("b", test="member('a') and option[12].exists"),
            Class("c", test="not member('b')"),
            Class("d", test="member('guests') and member('a')"),
        ],
    )
    client = new_client(engine, vendor_class_identifier="x", host_name="y")
    client.join()
    assert client.exchange.classes == {"a", "b", "d", "guests"}
    assert tried == [1, 3]  # DISCOVER and REQUEST


def test_a_hook_says_so_besides(new_client):
    class Sorter:
        @hookimpl
        def dhcp_handle_options(self, options, exchange):
            exchange.classes.add("guests")

    engine = make_engine(
        plugins=[Sorter()], classes=[Class("guests"), Class("all", named("g"), test="member('guests')")]
    )
    assert new_client(engine).join().options["domain-name"] == "g"


def test_built_in_classes(new_client):
    engine = make_engine(
        make_subnet(reservations=[Reservation("02:00:00:00:00:01")]),
        bootp="dynamic",
        classes=[
            *[Class(name) for name in ("ALL", "BOOTP", "KNOWN", "UNKNOWN", "VENDOR_CLASS_it's")],
            Class("both", test="member('VENDOR_CLASS_b') and known"),
        ],
    )
    known = new_client(engine, mac="02:00:00:00:00:01", vendor_class_identifier="it's")
    known.join()
    assert known.exchange.classes == {"ALL", "KNOWN", "VENDOR_CLASS_it's"}
    known.join(vendor_class_identifier="b")
    assert known.exchange.classes == {"ALL", "KNOWN", "VENDOR_CLASS_b", "both"}
    stranger = new_client(engine, mac="02:00:00:00:00:02")
    stranger.send(stranger.message(None))
    assert stranger.exchange.classes == {"ALL", "BOOTP", "UNKNOWN"}


def test_a_plugin_that_finds_a_reservation_makes_a_client_known(new_client):
    class Finder:
        @hookimpl
        def reservation_lookup(self, exchange):
            return Use(Reservation(exchange.chaddr))

    engine = make_engine(plugins=[Finder()], classes=[Class("KNOWN", named("known"))])
    assert new_client(engine).join().options["domain-name"] == "known"


def test_who_is_known_may_differ_from_subnet_to_subnet_of_a_link(new_client):
    mine = Reservation("02:00:00:00:00:01")
    first = make_subnet(Pool("192.0.2.10", classes=["UNKNOWN"]), reservations=[mine])
    second = make_subnet("198.51.100.10", network="198.51.100.0/24")
    link = Interface("eth0", (number("192.0.2.1"), number("198.51.100.1")))
    engine = make_engine(first, second, classes=[Class("UNKNOWN", named("unknown")), Class("KNOWN", named("known"))])
    offer = new_client(engine, mac="02:00:00:00:00:01", interface=link).discover()
    assert (dotted(offer.yiaddr), offer.options["domain-name"]) == ("198.51.100.10", "unknown")


# ── what it gives them ──


def test_the_boot_file_by_architecture_and_then_by_ipxe(new_client):
    engine = make_engine(
        classes=[
            Class("ipxe", Parameters(boot_file="http://192.0.2.2/boot.ipxe"), test="option[77].hex == 'iPXE'"),
            Class(
                "uefi",
                Parameters(boot_file="ipxe.efi", next_server="192.0.2.2"),
                test="not member('ipxe') and option[93].hex in (0x0007, 0x0009)",
            ),
            Class(
                "bios",
                Parameters(boot_file="undionly.kpxe", next_server="192.0.2.2"),
                test="not member('ipxe') and option[93].hex == 0x0000",
            ),
        ]
    )
    client = new_client(engine)
    assert client.discover(client_system_architecture=[7]).file.rstrip(b"\0") == b"ipxe.efi"
    assert client.discover(client_system_architecture=[0]).file.rstrip(b"\0") == b"undionly.kpxe"
    again = client.discover(client_system_architecture=[7], user_class=b"iPXE")
    assert again.file.rstrip(b"\0") == b"http://192.0.2.2/boot.ipxe"
    assert client.discover().file.rstrip(b"\0") == b""


def test_a_class_that_is_denied(new_client):
    engine = make_engine(classes=[Class("bad", deny=True, test="option[60].text == 'bad'")])
    client = new_client(engine, vendor_class_identifier="bad")
    assert client.discover() is None
    assert (client.exchange.reason, client.exchange.why) == (DropReason.UNAUTH, "clients of class bad are not served")
    assert new_client(engine).discover() is not None


def test_strangers_that_are_denied(new_client):
    known = Reservation("02:00:00:00:00:01")
    engine = make_engine(make_subnet(reservations=[known]), classes=[Class("UNKNOWN", deny=True)])
    assert new_client(engine, mac="02:00:00:00:00:01").join()
    stranger = new_client(engine, mac="02:00:00:00:00:02")
    assert stranger.discover() is None
    assert stranger.exchange.why == "clients of class UNKNOWN are not served"


def test_a_denied_class_is_denied_also_where_plugins_look_at_the_subnet(new_client):
    asked = []

    class Chooser:
        @hookimpl
        def select_subnet(self, exchange):
            asked.append(set(exchange.classes))

    classes = [Class("bad", deny=True, test="option[60].text == 'bad'"), Class("good", test="not member('bad')")]
    engine = make_engine(plugins=[Chooser()], classes=classes)
    client = new_client(engine)
    assert client.discover(vendor_class_identifier="bad") is None
    assert client.exchange.reason == DropReason.UNAUTH
    assert client.discover() is not None
    assert asked == [{"good"}]


def test_pools_for_classes(new_client):
    engine = make_engine(
        make_subnet(Pool("192.0.2.10-192.0.2.19", classes=["phones"]), Pool("192.0.2.20-192.0.2.29", classes=["rest"])),
        classes=[PHONES, Class("rest", test="not member('phones')")],
    )
    phone, other = new_client(engine, vendor_class_identifier="phone"), new_client(engine)
    assert dotted(phone.join().yiaddr) == "192.0.2.10"
    assert dotted(other.join().yiaddr) == "192.0.2.20"
    assert dotted(other.discover(requested_address="192.0.2.11").yiaddr) == "192.0.2.20"
    assert not other.exchange.may_have("192.0.2.11")
    assert phone.renew().message_type == MessageType.ACK
    # It says it is something else: the address is not for it any longer.
    assert phone.renew(vendor_class_identifier="fridge").message_type == MessageType.NAK


def test_a_pool_for_those_who_are_known(new_client):
    engine = make_engine(
        make_subnet(Pool("192.0.2.10", classes=["KNOWN"]), reservations=[Reservation("02:00:00:00:00:01")])
    )
    assert new_client(engine, mac="02:00:00:00:00:02").discover() is None
    assert dotted(new_client(engine, mac="02:00:00:00:00:01").join().yiaddr) == "192.0.2.10"


def test_subnets_for_classes_on_a_link(new_client):
    phones = make_subnet(network="192.0.2.0/24", classes=["phones"])
    others = make_subnet("198.51.100.10", network="198.51.100.0/24", classes=["rest"])
    link = Interface("eth0", (number("192.0.2.1"), number("198.51.100.1")))
    engine = make_engine(phones, others, classes=[PHONES, Class("rest", test="not member('phones')")])
    phone = new_client(engine, interface=link, vendor_class_identifier="phone")
    assert dotted(phone.join().yiaddr) == "192.0.2.10"
    first, second = new_client(engine, interface=link), new_client(engine, interface=link)
    assert dotted(first.join().yiaddr) == "198.51.100.10"
    assert second.discover() is None  # and nothing of the phones' either
    assert second.exchange.why == "no free address in 198.51.100.0/24"
    refused = phone.renew(vendor_class_identifier="fridge")
    assert refused.message_type == MessageType.NAK
    assert refused.options["message"] == "wrong network: this is 198.51.100.0/24"


def test_subnets_for_classes_behind_a_relay_agent(new_client):
    engine = make_engine(
        make_subnet("198.51.100.10", network="198.51.100.0/24", classes=["phones"]), make_subnet(), classes=[PHONES]
    )
    client = new_client(engine, giaddr="198.51.100.1")
    assert client.discover() is None
    assert client.exchange.reason == DropReason.NO_SUBNETS
    assert dotted(client.join(vendor_class_identifier="phone").yiaddr) == "198.51.100.10"
    # Renewing by unicast, from a network that is not ours to see.
    client.giaddr = 0
    assert client.renew(vendor_class_identifier="phone").message_type == MessageType.ACK
    assert client.renew().message_type == MessageType.NAK


# ── how many of them get a lease ──

PORT = Class("line", test="relay4[1].exists", limit=2, limit_by="relay4[1].hex")


def behind(new_client, engine: Engine, port: bytes, **more) -> Client:
    return new_client(engine, giaddr="192.0.2.2", relay_agent_information={1: port}, **more)


def test_who_renews_keeps_what_a_relay_agent_gave_it(new_client):
    line = Class("line", test="relay4[1].hex == 'eth0/7'")
    also = Class("also", test="member('line')", limit=1, limit_by="relay4[1].hex")
    subnet = make_subnet(
        Pool("198.51.100.10-198.51.100.19", classes=["also"]), network="198.51.100.0/24", classes=["line"]
    )
    engine = make_engine(subnet, make_subnet(), classes=[line, also])
    client = new_client(engine, giaddr="198.51.100.1", relay_agent_information={1: b"eth0/7"})
    client.join()
    client.giaddr, client.options["relay_agent_information"] = 0, None
    assert client.renew().message_type == MessageType.ACK
    assert engine.leases.counts == {"also=657468302f37": 1}
    client.release()
    assert engine.leases.counts == {}


def test_a_client_gives_back_what_it_would_not_get(new_client):
    engine = make_engine(make_subnet(classes=["phones"]), classes=[PHONES])
    client = new_client(engine)
    client.join(vendor_class_identifier="phone")
    client.release()
    assert client.exchange.lease_after is not None


def test_a_port_of_a_switch_has_its_number_of_leases(new_client, clock):
    engine = make_engine(classes=[PORT])
    one, two, three = (behind(new_client, engine, b"eth0/7") for _ in range(3))
    one.join()
    two.join()
    assert three.discover() is None
    assert three.exchange.reason == DropReason.NOADDRESS
    assert three.exchange.why == "class line has 2 of 2 leases for relay4[1].hex 'eth0/7'"
    assert "outcome: no reply, NOADDRESS: class line has 2 of 2 leases for relay4[1].hex 'eth0/7'" in map(
        str, three.exchange.explain()
    )
    # Other ports have theirs, and who isn't behind one isn't counted.
    assert behind(new_client, engine, b"eth0/8").join()
    assert new_client(engine).join()
    # Who has one keeps it, and starts over as it likes.
    assert one.join()
    assert one.rebind().message_type == MessageType.ACK
    two.release(relay_agent_information=None)
    assert three.join()
    assert two.discover() is None


def test_of_two_that_are_offered_the_last_one_the_first_to_ask_gets_it(new_client):
    engine = make_engine(classes=[Class("line", test="relay4[1].exists", limit=1, limit_by="relay4[1].hex")])
    one, two = (behind(new_client, engine, b"\0\7") for _ in range(2))
    offers = one.discover(), two.discover()
    assert one.request(offers[0]).message_type == MessageType.ACK
    refused = two.request(offers[1])
    assert refused.message_type == MessageType.NAK
    assert refused.options["message"] == "class line has 1 of 1 leases for relay4[1].hex 0x0007"


def test_a_limit_for_all_of_a_class(new_client, clock):
    engine = make_engine(classes=[Class("guests", Parameters(lease_time=600), test="not known", limit=1)])
    one, two = new_client(engine), new_client(engine)
    one.join()
    assert two.discover() is None
    assert two.exchange.why == "class guests has 1 of 1 leases"
    clock.advance(601)
    engine.tick(clock())
    assert two.join()
    assert engine.leases.counts == {"guests": 1}


def test_a_bootp_client_is_counted_too(new_client):
    engine = make_engine(bootp="dynamic", classes=[Class("ALL", limit=1)])
    one, two = new_client(engine), new_client(engine)
    assert one.send(one.message(None)) is not None
    assert two.send(two.message(None)) is None
    assert two.exchange.why == "class ALL has 1 of 1 leases"


def test_what_a_limit_counts_by_may_be_missing(new_client):
    engine = make_engine(classes=[Class("ALL", limit=1, limit_by="option[12].text")])
    for _ in range(3):
        assert new_client(engine).join()
    assert engine.leases.counts == {}


def test_leases_are_counted_again_after_a_restart(new_client):
    before = make_engine(classes=[PORT, Class("ALL", limit=9)])
    for _ in range(2):
        behind(new_client, before, b"eth0/7").join()
    after = make_engine(classes=[PORT], leases=list(before.leases))
    assert after.leases.counts == {"line=657468302f37": 2, "ALL": 2}
    assert behind(new_client, after, b"eth0/7").discover() is None


def test_a_lease_that_is_forgotten_is_not_counted(new_client):
    engine = make_engine(classes=[PORT])
    client = behind(new_client, engine, b"eth0/7")
    client.join()
    engine.leases.remove(client.address)
    assert engine.leases.counts == {}


def test_who_has_a_lease_keeps_it_when_the_limit_is_lowered(new_client, clock):
    old = make_engine(classes=[PORT])
    clients = [behind(new_client, old, b"eth0/7") for _ in range(2)]
    for client in clients:
        client.join()
    lower = Class("line", test="relay4[1].exists", limit=1, limit_by="relay4[1].hex")
    engine = Engine(Config([make_subnet()], classes=[lower]), predecessor=old)
    for client in clients:
        client.engine = engine
        assert client.rebind().message_type == MessageType.ACK


# ── what is refused ──


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Class("a", test="option[60].txt == 'a'"), "test: column 12: expected 'hex', 'text' or 'exists', got"),
        (lambda: Class("a", limit=1, limit_by="known"), "limit_by: expected a value, and this is a condition"),
        (lambda: Class("KNOWN", test="known"), "test: 'KNOWN' is built in: who belongs to it is known"),
        (lambda: Class("a", limit=0), "limit: expected at least 1 lease, got 0; deny = true serves none at all"),
        (lambda: Class("a", limit_by="pkt4.mac"), "limit_by: says what a limit counts by, and there is no limit"),
        (lambda: Class("a,b", limit=1), "name: a class with a limit has no ',' and no '=' in its name, got 'a,b'"),
        (
            lambda: Config(classes=[Class("phones"), Class("a", test="member('phone')")]),
            "class[1].test: there is no class 'phone'; did you mean 'phones'?",
        ),
        (
            lambda: Config(classes=[Class("a", test="member('b')"), Class("b")]),
            "class[0].test: class 'b' has to stand before the one that asks for it",
        ),
        (
            lambda: Config(classes=[Class("a", limit=1, limit_by="ifelse(member('x'), '1', '2')")]),
            "class[0].limit-by: there is no class 'x'",
        ),
        (
            lambda: Config([make_subnet(classes=["phone"])], classes=[Class("phones")]),
            "subnet[0].classes: there is no class 'phone'; did you mean 'phones'?",
        ),
        (
            lambda: Config([make_subnet(Pool("192.0.2.9", classes=["phone"]))]),
            "subnet[0].pools[0].classes: there is no class 'phone'",
        ),
        (
            lambda: Config([make_subnet(classes=["a"])], classes=[Class("a", test="known")]),
            "subnet[0].classes: 'a' depends on what is reserved for the client",
        ),
    ],
)
def test_classes_refuse(make, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make()
    assert str(error.value).startswith(words)


def test_built_in_classes_that_are_asked_for_are_among_the_names():
    config = Config([make_subnet(Pool("192.0.2.9", classes=["KNOWN"]))], classes=[PHONES])
    assert set(config.classes_by_name) == {"KNOWN", "phones"}


def phones(limit: int | None = None, *, pool: bool = False) -> Config:
    """At most so many phones, with a pool of their own or without."""
    kinds = [
        Class("phones", test="option[60].text == 'phone'", limit=limit),
        Class("rest", test="not member('phones')"),
    ]
    pools = [Pool("192.0.2.10-192.0.2.19", classes=["rest"]), Pool("192.0.2.20-192.0.2.29", classes=["phones"])]
    return Config([make_subnet(*(pools if pool else ()))], classes=kinds)


def test_who_has_a_lease_keeps_it_when_a_limit_is_new(new_client, clock):
    clients = [new_client(Engine(phones()), vendor_class_identifier="phone") for _ in range(3)]
    for client in clients:
        client.engine = clients[0].engine
        client.join()
    engine = Engine(phones(1), predecessor=clients[0].engine)
    for client in clients:
        client.engine = engine
        assert client.renew().message_type == MessageType.ACK
        assert client.join().yiaddr == client.address
    # They count from now on.
    assert engine.leases.counts == {"phones": 3}
    late = new_client(engine, vendor_class_identifier="phone")
    assert late.discover() is None
    assert late.exchange.why == "class phones has 3 of 1 leases"
    # Who has left it is a new one.
    clients[0].release()
    assert clients[0].discover() is None


def test_another_address_is_not_kept(new_client):
    """Who joins a class with what it has may stay; but the class's own addresses are for those that it has room for."""
    engine = Engine(phones(1, pool=True))
    new_client(engine, vendor_class_identifier="phone").join()
    client = new_client(engine)
    old = client.join().yiaddr
    free = str(engine.addresses.usage(engine.config.subnets[0]))
    assert client.discover(vendor_class_identifier="phone") is None
    assert client.exchange.why == "class phones has 1 of 1 leases"
    assert str(engine.addresses.usage(engine.config.subnets[0])) == free
    assert client.join().yiaddr == old


def test_who_moves_to_another_port_is_new_there(new_client):
    engine = make_engine(classes=[Class("line", test="relay4[1].exists", limit=1, limit_by="relay4[1].hex")])
    behind(new_client, engine, b"eth0/7").join()
    client = behind(new_client, engine, b"eth0/8")
    client.join()
    assert client.rebind(relay_agent_information={1: b"eth0/7"}).message_type == MessageType.NAK


# ── where classes, limits, relays and shared networks meet ──

A, B = "192.0.2.0/24", "198.51.100.0/24"


def shared(*pools_of_a, **more):
    """Two subnets of one link; the first has one address unless something else is said."""
    first = make_subnet(*(pools_of_a or ("192.0.2.10-192.0.2.10",)), shared_network="s", **more)
    return first, make_subnet("198.51.100.10-198.51.100.19", network=B, shared_network="s", interfaces=["eth0"])


def test_who_says_an_address_without_having_it_is_in_no_relayed_class(new_client):
    line = Class("line", test="relay4[1].hex == 'p1'")
    engine = make_engine(make_subnet(Pool("192.0.2.10-192.0.2.20", classes=["line"])), classes=[line])
    client = new_client(engine)
    assert client.discover() is None
    claims = client.message(MessageType.REQUEST, ciaddr=number("192.0.2.15"), server_identifier="192.0.2.1")
    reply = client.send(claims)
    assert reply is None or reply.message_type == MessageType.NAK
    claims = client.message(MessageType.REQUEST, ciaddr=number("192.0.2.16"), requested_address="192.0.2.17")
    reply = client.send(claims)
    assert reply is None or reply.message_type == MessageType.NAK


def test_a_lease_is_counted_under_what_its_client_says_now(new_client):
    """One that says something else each time takes one place and not all of them."""
    engine = make_engine(classes=[Class("named", test="option[12].exists", limit=1, limit_by="option[12].hex")])
    client, other = new_client(engine), new_client(engine)
    client.join(host_name="first")
    for at in range(5):
        client.renew(host_name=f"x{at}")
    assert len(engine.leases.counts) == 1
    assert other.join(host_name="x1").yiaddr


def test_who_leaves_a_class_makes_room_in_it(new_client):
    engine = make_engine(classes=[Class("phones", test="option[60].text == 'phone'", limit=1)])
    client, other = new_client(engine), new_client(engine)
    client.join(vendor_class_identifier="phone")
    client.renew()
    assert other.join(vendor_class_identifier="phone").yiaddr


def test_a_limit_holds_in_the_next_subnet_of_the_link(new_client):
    first, second = shared(reservations=[Reservation("02:00:00:00:00:01"), Reservation("02:00:00:00:00:02")])
    engine = make_engine(
        first, second, classes=[Class("guests", test="unknown", limit=1)], parameters=Parameters(rapid_commit=True)
    )
    new_client(engine, mac="02:00:00:00:00:09").join()  # has the only address of the first
    acks = [
        new_client(engine, mac=mac).discover(rapid_commit=True) for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02")
    ]
    assert engine.leases.counts["guests"] == 1
    assert sum(ack is not None for ack in acks) <= 1


def test_a_client_that_moves_on_its_link_leaves_its_old_address(new_client):
    heard = []

    class Told:
        @hookimpl
        def dhcp_delete_client(self, address):
            heard.append(str(address))

    first, second = shared("192.0.2.10-192.0.2.20")
    engine = make_engine(first, second, plugins=[Told()])
    client = new_client(engine)
    old = client.join().yiaddr
    moved = make_subnet(
        "198.51.100.10-198.51.100.19",
        network=B,
        shared_network="s",
        interfaces=["eth0"],
        reservations=[Reservation("02:00:00:00:00:01", address="198.51.100.50")],
    )
    client.engine = make_engine(first, moved, plugins=[Told()], leases=list(engine.leases))
    assert dotted(client.join().yiaddr) == "198.51.100.50"
    assert not client.engine.leases.get(old).holds(client.clock())
    assert heard == [dotted(old)]


def test_a_reserved_address_makes_room_for_its_machine_by_another_client_id(new_client):
    line = Class("line", test="relay4[1].exists", limit=1, limit_by="relay4[1].hex")
    reserved = Reservation("02:00:00:00:00:01", address="192.0.2.50")
    engine = make_engine(make_subnet(reservations=[reserved], relays=["203.0.113.1"]), classes=[line])
    said = {"giaddr": "203.0.113.1", "relay_agent_information": {1: b"p1"}}
    assert dotted(new_client(engine, **said).join().yiaddr) == "192.0.2.50"
    again = new_client(engine, mac="02:00:00:00:00:01", client_id=b"\0os", **said)
    assert dotted(again.join().yiaddr) == "192.0.2.50"


def test_a_lease_elsewhere_on_the_link_makes_room_for_the_one_that_takes_its_place(new_client):
    staff = Class("staff", test="option[60].text == 'staff'")
    each = Class("each", test="option[53].exists", limit=1, limit_by="pkt4.mac")
    first, second = shared(Pool("192.0.2.10-192.0.2.20", classes=["staff"]))
    engine = make_engine(first, second, classes=[staff, each])
    client = new_client(engine)
    old = client.join(vendor_class_identifier="staff").yiaddr
    assert dotted(client.join().yiaddr) == "198.51.100.10"
    assert not engine.leases.get(old).holds(client.clock())
    assert list(engine.leases.counts.values()) == [1]
