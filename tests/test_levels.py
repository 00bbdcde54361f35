"""What several levels of the configuration say together, found faster than by all that they say, is the same."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from client import Client, Clock, make_engine, make_subnet
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodhcp import Class, Fqdn, Parameters, Pool, Reservation
from aiodhcp.constants import INFINITE
from aiodhcp.parameters import NOTHING_SAID
from aiodhcp.replies import Replies

CODES = (1, 3, 15, 17, 28, 33, 108, 121, 224)
SECONDS = st.sampled_from([None, 60, 600, 3600, 7200])
SENT = st.lists(st.sampled_from([3, 15, 17, 33, 121, 224]), unique=True, max_size=3)
MAC = "02:00:00:00:00:01"


@st.composite
def parameters(draw: Any, *, of_pool: bool = False) -> Parameters:
    always = draw(SENT)
    said: dict[str, Any] = {
        "options": draw(st.dictionaries(st.sampled_from(CODES), st.binary(min_size=4, max_size=8), max_size=4)),
        "always_send": always,
        "never_send": [code for code in draw(SENT) if code not in always],
        "next_server": draw(st.sampled_from([None, None, 0xC0000205])),
        "boot_file": draw(st.sampled_from([None, None, "boot.img", ""])),
        "rapid_commit": draw(st.sampled_from([None, None, True, False])),
        "fqdn": draw(st.sampled_from([Fqdn(), Fqdn(updates="server"), Fqdn(suffix="example.org")])),
        "offer_delay": draw(st.sampled_from([None, None, 0, 2])),
        "min_secs": None if of_pool else draw(st.sampled_from([None, None, 0])),
    }
    shortest, longest = draw(SECONDS), draw(SECONDS)
    said["min_lease_time"], said["max_lease_time"] = sorted((shortest or 60, longest or 7200))
    said["lease_time"] = draw(st.sampled_from([None, said["max_lease_time"]]))
    for name in draw(st.sets(st.sampled_from(sorted(said)))):
        del said[name]
    return Parameters(**said)


def all_of_it(general: Parameters, specific: Parameters) -> Parameters:
    """``general.under(specific)``, checked and encoded as if a configuration had said it."""
    said: dict[str, Any] = {}
    for each in fields(Parameters):
        value = getattr(specific, each.name)
        said[each.name] = getattr(general, each.name) if value is None else value
    said["options"] = {**general.options, **specific.options}
    said["fqdn"] = general.fqdn.under(specific.fqdn)
    for name, other in (("always_send", "never_send"), ("never_send", "always_send")):
        said[name] = [code for code in getattr(general, name) if code not in getattr(specific, other)]
        said[name] += getattr(specific, name)
    if (said["min_lease_time"] or 1) > (said["max_lease_time"] or INFINITE):
        said["max_lease_time" if specific.max_lease_time is None else "min_lease_time"] = None
    if (said["lease_time"] or 1) > (said["max_lease_time"] or INFINITE):
        if specific.lease_time is None:
            said["lease_time"] = said["max_lease_time"]
        else:
            said["max_lease_time"] = None
    return Parameters(**said)


@given(parameters(), parameters())
def test_two_levels_are_one_as_if_it_had_been_configured(general: Parameters, specific: Parameters) -> None:
    merged, plain = general.under(specific), all_of_it(general, specific)
    assert merged == plain
    assert list(merged.options) == list(plain.options)
    assert (merged.always_send, merged.never_send) == (plain.always_send, plain.never_send)
    assert hash(merged.always_send) == hash(plain.always_send)


def test_what_says_nothing() -> None:
    assert not NOTHING_SAID.tell(None)
    assert Parameters(options={224: b"x"}).tell(None)
    assert Parameters(options={224: b"x"}).tell({224})
    assert not Parameters(options={224: b"x"}).tell({3})
    assert Parameters(options={224: b"x"}, rapid_commit=False).tell(())


ASKED = st.none() | st.lists(st.sampled_from((*CODES, 12, 51)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_classes_that_make_no_difference_make_none(data: Any) -> None:
    """A reply is the same, octet by octet, whether only the classes that matter to it are looked at, or all."""
    classes = [Class(name, data.draw(parameters())) for name in "abc"]
    pool = Pool("192.0.2.10-192.0.2.99", data.draw(st.just(NOTHING_SAID) | parameters(of_pool=True)))
    mine = Reservation(MAC, parameters=data.draw(st.sampled_from([NOTHING_SAID, Parameters()]) | parameters()))
    subnet = make_subnet(pool, parameters=data.draw(parameters()), reservations=[mine])
    engine = make_engine(subnet, classes=classes, parameters=data.draw(parameters()))
    narrow, wide = Replies(engine.config), Replies(engine.config)
    wide._relevant = lambda names, _: names  # type: ignore[method-assign]
    client = Client(engine, Clock(), MAC)
    for _ in range(2):
        asked = data.draw(ASKED)
        client.discover(**({} if asked is None else {"parameter_request_list": asked}))
        exchange = client.exchange
        if exchange.reply_type:
            exchange.classes.clear()
            exchange.classes.update(data.draw(st.sets(st.sampled_from("abcd"))))
            for _ in range(2):
                assert narrow.encode(exchange) == wide.encode(exchange)
            place = exchange.subnet, exchange.pool, exchange.reservation, exchange.class_names
            one, other = (replies.parameters(*place, asked=b"") for replies in (narrow, wide))
            for each in fields(Parameters):
                assert each.name == "options" or getattr(one, each.name) == getattr(other, each.name)
