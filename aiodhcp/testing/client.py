"""Client: a DHCP client of a server under test, to be awaited; SyncClient is the same for tests that don't await."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, TypeVar

from aiodhcp.packet import Packet
from aiodhcp.testing.messages import Address, Message, Messages, number
from aiodhcp.testing.results import Dora, NoReply, Reply

if TYPE_CHECKING:
    from aiodhcp.testing.server import MemoryServer

__all__ = ["Client", "SyncClient"]

T = TypeVar("T")
_HARDWARE = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){0,15}")


class Client:
    """A DHCP client. ``MemoryServer.client`` makes it.

    Each message is a method, which returns the ``Reply``; that is false if there is none. Options are given by name
    with underscores, ``await client.discover(host_name="pc-17")``; None leaves out one that would be there, and
    octets are taken as they are. Every method also takes ``elapse``: seconds that pass by the server's clock while
    hooks are at work on the message, as ``Clock.advance`` has them.

    Every method raises ``HookFailed`` if a hook failed meanwhile, unless errors are tolerated, and ``ValueError`` for
    an option that doesn't exist or can't have that value.

    Attributes:
        server: its server.
        messages: what it says and remembers: to make odd messages, for ``send``.
    """

    def __init__(
        self,
        server: MemoryServer,
        hardware_address: str,
        *,
        giaddr: Address | None = None,
        circuit_id: bytes | str | None = None,
        remote_id: bytes | str | None = None,
        interface: str = "",
        broadcast: bool = False,
        htype: int = 1,
        **options: Any,
    ) -> None:
        if not _HARDWARE.fullmatch(hardware_address):
            raise ValueError(f"expected a hardware address like 02:00:00:00:00:01, got {hardware_address!r}")
        said = {1: circuit_id, 2: remote_id}
        agent = {code: text.encode() if isinstance(text, str) else text for code, text in said.items() if text}
        if agent and giaddr is None:
            raise ValueError("circuit_id and remote_id are what a relay agent says: give its giaddr, too")
        self.server = server
        self.messages = Messages(
            bytes.fromhex(hardware_address.replace(":", "").replace("-", "")),
            server.interface(interface),
            htype=htype,
            giaddr=0 if giaddr is None else number(giaddr),
            agent=agent,
            broadcast=broadcast,
            definitions=server.config.definitions,
            options=options,
        )

    def __repr__(self) -> str:
        return f"<Client {self.hardware_address}, {self.address or 'without an address'}>"

    @property
    def hardware_address(self) -> str:
        """``"02:00:00:00:00:01"``."""
        return self.messages.chaddr.hex(":")

    @property
    def address(self) -> IPv4Address | None:
        """What the last ACK gave it, until it gives it back or is refused it; None for none."""
        return IPv4Address(self.messages.address) if self.messages.address else None

    @property
    def sync(self) -> SyncClient:
        """The same client, for tests that are not ``async``."""
        return SyncClient(self)

    # ── the messages of RFC 2131 ─────────────────────────────────────────────────────────────────────────────────

    async def dora(self, *, elapse: float = 0, **options: Any) -> Dora:
        """DISCOVER and REQUEST: a lease from scratch. Time may pass in each of them.

        Raises:
            NoReply: there was no OFFER, or no ACK; says why.
        """
        offer = await self.discover(elapse=elapse, **options)
        if offer.is_ack:  # RFC 4039
            return Dora(offer, offer)
        if not offer.is_offer:
            raise NoReply(f"expected an OFFER: {offer!r}")
        ack = await self.request(offer, elapse=elapse, **options)
        if not ack.is_ack:
            raise NoReply(f"expected an ACK: {ack!r}{': ' + ack.why if ack else ''}")
        return Dora(offer, ack)

    async def discover(self, *, elapse: float = 0, **options: Any) -> Reply:
        """DISCOVER: who has an address for me?"""
        return await self._say(self.messages.discover(**options), elapse)

    async def request(self, offer: Reply, *, elapse: float = 0, **options: Any) -> Reply:
        """REQUEST, SELECTING: I take this offer.

        Raises:
            NoReply: there is no offer.
        """
        return await self._say(self.messages.request(offer.packet, **options), elapse)

    async def init_reboot(self, address: Address | None = None, *, elapse: float = 0, **options: Any) -> Reply:
        """REQUEST, INIT-REBOOT: is this address still right? By default the one it has."""
        return await self._say(self.messages.init_reboot(address, **options), elapse)

    async def renew(self, *, elapse: float = 0, **options: Any) -> Reply:
        """REQUEST, RENEWING, to the server alone: may I keep the address? Not through the relay agent."""
        return await self._say(self.messages.renew(**options), elapse)

    async def rebind(self, *, elapse: float = 0, **options: Any) -> Reply:
        """REQUEST, REBINDING, to any server: may I keep the address?"""
        return await self._say(self.messages.rebind(**options), elapse)

    async def release(self, *, elapse: float = 0, **options: Any) -> Reply:
        """RELEASE: I don't need the address any longer. There is no reply."""
        return await self._say(self.messages.release(**options), elapse)

    async def decline(self, address: Address | None = None, *, elapse: float = 0, **options: Any) -> Reply:
        """DECLINE: somebody else uses this address; by default the one it has. There is no reply."""
        return await self._say(self.messages.decline(address, **options), elapse)

    async def inform(self, address: Address | None = None, *, elapse: float = 0, **options: Any) -> Reply:
        """INFORM: I have this address from elsewhere, what else is there to know?"""
        return await self._say(self.messages.inform(address, **options), elapse)

    async def bootp(self, *, elapse: float = 0, **options: Any) -> Reply:
        """A BOOTP request, without option 53."""
        return await self._say(self.messages.bootp(**options), elapse)

    async def send(
        self,
        message: Packet | bytes,
        *,
        source: Address = 0,
        destination: Address = "255.255.255.255",
        elapse: float = 0,
    ) -> Reply:
        """Any message, or octets that are none. What is broadcast passes the relay agent, if there is one."""
        return await self._say(Message(message, number(source), number(destination)), elapse)

    async def _say(self, message: Message, elapse: float) -> Reply:
        datagram = self.messages.datagram(message)
        exchange = await self.server.ask(datagram, elapse)
        said = message.packet
        reply = Reply(said if isinstance(said, Packet) else exchange.packet or Packet(), exchange)
        if reply:
            self.messages.hear(reply.packet)
        return reply


class SyncClient:
    """A ``Client`` whose methods return what that one's have to be awaited for. The event loop runs meanwhile.

    ``Client.sync`` makes it; the two are one client, with one address and one server.

    Raises:
        RuntimeError: an event loop runs already: the test is ``async``, and awaits the ``Client`` itself.

    Attributes:
        client: the same, to be awaited.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def __repr__(self) -> str:
        return f"<Sync{repr(self.client)[1:]}"

    @property
    def server(self) -> MemoryServer:
        """Its server."""
        return self.client.server

    @property
    def messages(self) -> Messages:
        """What it says and remembers: to make odd messages, for ``send``."""
        return self.client.messages

    @property
    def hardware_address(self) -> str:
        """``"02:00:00:00:00:01"``."""
        return self.client.hardware_address

    @property
    def address(self) -> IPv4Address | None:
        """What the last ACK gave it, until it gives it back or is refused it; None for none."""
        return self.client.address

    def dora(self, *, elapse: float = 0, **options: Any) -> Dora:
        """As ``Client.dora``."""
        return self._run(self.client.dora(elapse=elapse, **options))

    def discover(self, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.discover``."""
        return self._run(self.client.discover(elapse=elapse, **options))

    def request(self, offer: Reply, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.request``."""
        return self._run(self.client.request(offer, elapse=elapse, **options))

    def init_reboot(self, address: Address | None = None, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.init_reboot``."""
        return self._run(self.client.init_reboot(address, elapse=elapse, **options))

    def renew(self, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.renew``."""
        return self._run(self.client.renew(elapse=elapse, **options))

    def rebind(self, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.rebind``."""
        return self._run(self.client.rebind(elapse=elapse, **options))

    def release(self, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.release``."""
        return self._run(self.client.release(elapse=elapse, **options))

    def decline(self, address: Address | None = None, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.decline``."""
        return self._run(self.client.decline(address, elapse=elapse, **options))

    def inform(self, address: Address | None = None, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.inform``."""
        return self._run(self.client.inform(address, elapse=elapse, **options))

    def bootp(self, *, elapse: float = 0, **options: Any) -> Reply:
        """As ``Client.bootp``."""
        return self._run(self.client.bootp(elapse=elapse, **options))

    def send(
        self,
        message: Packet | bytes,
        *,
        source: Address = 0,
        destination: Address = "255.255.255.255",
        elapse: float = 0,
    ) -> Reply:
        """As ``Client.send``."""
        return self._run(self.client.send(message, source=source, destination=destination, elapse=elapse))

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.client.server.run(what)
