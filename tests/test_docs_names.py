"""What docs/names.md shows is loaded here, and does what it says."""

from __future__ import annotations

from collections.abc import Callable

from client import Client
from test_docs_classes import example

NewClient = Callable[..., Client]
PAGE = "names.md"


def test_the_example(new_client: NewClient) -> None:
    engine = example(PAGE, 0)
    laptop = new_client(engine, giaddr="192.0.2.254", host_name="laptop", client_id=b"laptop")
    laptop.join()
    assert laptop.exchange.lease_after.hostname == "laptop.example.test"
    guest = new_client(engine, giaddr="10.0.0.1", client_fqdn=(0, 0, 0, "laptop"), client_id=b"guest")
    ack = guest.join()
    assert ack.options["client-fqdn"] == (8, 255, 255, "host-198-51-100-10.guests.example.test")
    assert guest.exchange.lease_after.hostname == "host-198-51-100-10.guests.example.test"
    kiosk = new_client(engine, mac="02:00:00:00:00:0a", giaddr="10.0.0.1", client_fqdn=(5, 0, 0, "x"))
    assert kiosk.join().options["client-fqdn"] == (0x0E, 255, 255, "kiosk.guests.example.test.")
