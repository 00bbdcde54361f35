"""access: who is served."""

from __future__ import annotations

import pytest
from aiodhcp_plugins.access import Access
from client import Client, make_engine, make_subnet
from pydantic import ValidationError
from test_leasequery import Requestor

from aiodhcp import DropReason, Leasequery, MessageType, Reservation


@pytest.fixture
def guarded(clock):
    """``guarded(mac, deny=[...])``: a client of a server with that access."""

    def make(mac: str = "02:00:5e:00:00:01", **settings: object) -> Client:
        reserved = Reservation("02:00:00:00:00:99", address="192.0.2.99")
        plugin = Access(Access.Settings(**settings))
        return Client(make_engine(make_subnet(reservations=[reserved]), plugins=[plugin]), clock, mac)

    return make


def test_by_itself_it_serves_everybody(guarded):
    assert guarded().join().message_type == MessageType.ACK


@pytest.mark.parametrize("mac", ["02:00:5e:00:00:01", "de:ad:00:00:00:01"])
def test_who_is_denied_gets_no_answer(guarded, mac):
    client = guarded(mac, deny=["02:00:5e:*", "de:ad"])
    assert client.discover() is None
    assert client.exchange.reason == DropReason.UNAUTH
    assert client.exchange.why == f"vetoed by access: {mac} is denied"


def test_who_is_allowed_is_served_and_nobody_else(guarded):
    assert guarded(allow=["02:00:5e"]).join().message_type == MessageType.ACK
    other = guarded("02:00:00:00:00:01", allow=["02:00:5e"])
    assert other.discover() is None
    assert "not among those allowed" in other.exchange.why


def test_deny_wins(guarded):
    assert guarded(allow=["02:00:5e"], deny=["02:00:5e:00:00:01"]).discover() is None


def test_who_asks_for_leases_is_no_client(clock):
    """Who may ask, the configuration says; the hardware address is that of whom it asks for."""
    plugin = Access(Access.Settings(allow=["02:00:5e"], deny=["02:00:00"], unknown="ignore"))
    requestor = Requestor(make_engine(plugins=[plugin], leasequery=Leasequery(["10.0.0.1"])), clock)
    assert requestor.ask(address="192.0.2.10").message_type == MessageType.LEASEUNASSIGNED
    assert requestor.ask(mac="02:00:00:00:00:01").message_type == MessageType.LEASEUNKNOWN


def test_an_unknown_client_is_ignored(guarded):
    stranger = guarded(unknown="ignore")
    assert stranger.discover() is None
    assert stranger.reboot("192.0.2.20") is None
    assert stranger.exchange.reason == DropReason.UNAUTH
    assert guarded("02:00:00:00:00:99", unknown="ignore").join().message_type == MessageType.ACK


def test_an_unknown_client_is_refused(guarded):
    stranger = guarded(unknown="refuse")
    assert stranger.discover() is None
    nak = stranger.reboot("192.0.2.20")
    assert nak.message_type == MessageType.NAK
    assert nak.options["message"] == "02:00:5e:00:00:01 is unknown"


def test_it_fails_closed(guarded, monkeypatch):
    def fail(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr("aiodhcp_plugins.access.begins", fail)
    client = guarded(deny=["de:ad"])
    assert client.discover() is None
    assert client.exchange.reason == DropReason.INTERNAL_ERROR


@pytest.mark.parametrize("wrong", [{"unknown": "maybe"}, {"allow": "02"}, {"allow": ["nonsense"]}, {"alow": []}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Access.Settings(**wrong)
