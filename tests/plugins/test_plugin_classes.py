"""classes: clients of a kind."""

from __future__ import annotations

import pytest
from aiodhcp_plugins.classes import Classes
from client import Client, make_engine
from pydantic import ValidationError

from aiodhcp import Class, Config, Parameters


@pytest.fixture
def classed(clock):
    """``classed({"name": ..., "vendor-class": ...})``: a client of a server with these rules."""

    def make(*rules: dict[str, object], **more: object) -> Client:
        plugin = Classes(Classes.Settings.model_validate({"rules": list(rules)}))
        return Client(make_engine(plugins=[plugin], **more), clock, "02:00:5e:00:00:01", giaddr="192.0.2.254")

    return make


@pytest.mark.parametrize(
    "condition",
    [
        {"vendor-class": "PXEClient*"},
        {"vendor_class": ["nothing", "/Arch:0000[79]/"]},
        {"user-class": "lab"},
        {"hardware-address": "02:00:5e"},
        {"circuit-id": ["eth7"]},
        {"remote-id": "0x0004*"},
        {"vendor-class": "PXEClient*", "user-class": "lab", "hardware-address": ["ff", "02"]},
    ],
)
def test_a_client_is_in_the_class_whose_conditions_hold(classed, condition):
    client = classed({"name": "lab", **condition}, {"name": "never", "vendor-class": "never"})
    client.discover(
        vendor_class_identifier="PXEClient:Arch:00007",
        user_class=[b"floor-2", b"lab"],
        relay_agent_information={1: b"eth7", 2: b"\0\4\1"},
    )
    assert client.exchange.classes == {"lab"}
    client.chaddr = b"\3\0\0\0\0\1"
    client.discover()
    assert client.exchange.classes == set()


def test_all_conditions_of_a_rule_must_hold(classed):
    client = classed({"name": "both", "vendor-class": "PXE*", "user-class": "lab"})
    client.discover(vendor_class_identifier="PXEClient")
    assert client.exchange.classes == set()


def test_a_client_may_be_in_several_classes(classed):
    client = classed({"name": "pxe", "vendor-class": "PXE*"}, {"name": "ours", "hardware-address": "02:00:5e"})
    client.discover(vendor_class_identifier="PXEClient")
    assert client.exchange.classes == {"pxe", "ours"}


def test_what_a_client_says_for_a_relay_agent_does_not_count_by_itself(clock):
    for snooping, classes in ((False, set()), (True, {"port"})):
        rules = [{"name": "port", "circuit-id": "eth7"}]
        plugin = Classes(Classes.Settings.model_validate({"rules": rules, "snooping": snooping}))
        client = Client(make_engine(plugins=[plugin]), clock)
        client.discover(relay_agent_information={1: b"eth7"})
        assert client.exchange.classes == classes


def test_the_client_is_told_what_its_class_is_told(classed):
    phones = Class("phones", Parameters({"tftp-server-name": "phones.example"}))
    client = classed({"name": "phones", "vendor-class": "AVM*"}, classes=[phones])
    offer = client.discover(vendor_class_identifier="AVM GmbH", parameter_request_list=[66])
    assert offer.options["tftp-server-name"] == "phones.example"


def test_options_that_make_no_sense_are_in_no_class(classed):
    client = classed({"name": "any", "user-class": "*", "circuit-id": "*"}, {"name": "port", "circuit-id": "*"})
    client.discover(user_class=b"", relay_agent_information=b"\1\x09x")
    assert client.exchange.classes == set()


def test_a_class_that_the_configuration_lacks_is_warned_of(caplog):
    rules = [{"name": name, "vendor-class": "*"} for name in ("phones", "printers")]
    Classes(Classes.Settings.model_validate({"rules": rules})).config_loaded(Config(classes=[Class("phones")]))
    assert [record.getMessage() for record in caplog.records] == [
        "class 'printers' is not in the configuration: being in it changes nothing by itself"
    ]


@pytest.mark.parametrize("wrong", [[], [{"name": "x"}], [{"vendor-class": "x"}], [{"name": "", "vendor-class": "x"}]])
def test_wrong_rules_are_refused(wrong):
    with pytest.raises(ValidationError):
        Classes.Settings.model_validate({"rules": wrong})
