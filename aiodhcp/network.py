"""Network: a server's own transport, and the protocols by which others feed it. Answers leave as requests came."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from aiodhcp.exchange import Answer, Datagram, Interface
from aiodhcp.protocol import DhcpProtocol
from aiodhcp.transports import Transport

__all__ = ["Network"]

log = logging.getLogger("aiodhcp.server")


class Network:
    """Where datagrams come from, and where answers go.

    Args:
        transport: the server's own; None if only protocols feed it.
        received: called with what arrives.
    """

    def __init__(self, transport: Transport | None, received: Callable[[Sequence[Datagram]], None]) -> None:
        self.transport = transport
        self._received = received
        self._protocols: dict[Interface, DhcpProtocol] = {}
        self._has_protocols = False

    @property
    def interfaces(self) -> Sequence[Interface]:
        """The interfaces served."""
        own = self.transport.interfaces if self.transport is not None else ()
        return (*own, *self._protocols)

    @property
    def answers_only(self) -> bool:
        """Whether nothing can be sent to where nothing came from."""
        return getattr(self.transport, "answers_only", False)

    def protocol(self, name: str, addresses: Iterable[str], *, shared: bool) -> DhcpProtocol:
        """A protocol by which a transport feeds the server; see ``DhcpServer.protocol``."""
        self._has_protocols |= not shared
        return DhcpProtocol(self._received, _error, None if shared else self._protocols, name, addresses)

    async def open(self) -> None:
        """Open the transport.

        Raises:
            ConfigError: an interface doesn't exist.
            OSError: a port can't be bound.
        """
        if self.transport is not None:
            await self.transport.open(self.protocol("", (), shared=True))

    async def close(self) -> None:
        """Close the transport. The protocols are those of others."""
        if self.transport is not None:
            await self.transport.close()

    def send(self, answers: list[Answer]) -> None:
        """Send answers, each to where its request came from."""
        if self._has_protocols:
            rest = []
            for answer in answers:
                via = answer.request.via
                if isinstance(via, DhcpProtocol):
                    try:
                        via.send(answer)
                    except Exception:
                        log.exception("a fault of the transport, an answer may be lost")
                else:
                    rest.append(answer)
            answers = rest
        if answers and self.transport is not None:
            try:
                self.transport.send(answers)
            except Exception:
                log.exception("a fault of the transport, %d answers may be lost", len(answers))

    def tell(self, answers: list[Answer]) -> None:
        """Send what answers nothing: it leaves as an answer would on its interface."""
        self.send(
            [
                each._replace(request=each.request._replace(via=self._protocols.get(each.request.interface)))
                for each in answers
            ]
        )


def _error(error: Exception) -> None:
    log.warning("the network reports: %s", error)
