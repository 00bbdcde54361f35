"""aiodhcp: an asyncio DHCP server to embed, with hooks in plain Python."""

from aiodhcp.config import Settings, load_config
from aiodhcp.constants import AddressKind, AddressProblem, ClientType, ControlCode, DropReason, MessageType
from aiodhcp.engine import Engine
from aiodhcp.errors import AiodhcpError, ConfigError, DecodeError, StoreError
from aiodhcp.exchange import Answer, Datagram, Drop, Exchange, Interface
from aiodhcp.hookspecs import hookimpl
from aiodhcp.leases import Lease, LeaseState, LeaseTable
from aiodhcp.options import Options
from aiodhcp.packet import Packet
from aiodhcp.server import DhcpServer, Health
from aiodhcp.stores import Store
from aiodhcp.stores.memory import MemoryStore
from aiodhcp.stores.sqlite import SqliteStore
from aiodhcp.subnets import Class, Config, Parameters, Pool, Reservation, Subnet
from aiodhcp.transports import Receiver, Transport
from aiodhcp.transports.ethernet import EthernetTransport
from aiodhcp.transports.memory import MemoryTransport
from aiodhcp.transports.udp import UdpTransport

__version__ = "0.1.0"

__all__ = [
    "AddressKind",
    "AddressProblem",
    "AiodhcpError",
    "Answer",
    "Class",
    "ClientType",
    "Config",
    "ConfigError",
    "ControlCode",
    "Datagram",
    "DecodeError",
    "DhcpServer",
    "Drop",
    "DropReason",
    "Engine",
    "EthernetTransport",
    "Exchange",
    "Health",
    "Interface",
    "Lease",
    "LeaseState",
    "LeaseTable",
    "MemoryStore",
    "MemoryTransport",
    "MessageType",
    "Options",
    "Packet",
    "Parameters",
    "Pool",
    "Receiver",
    "Reservation",
    "Settings",
    "SqliteStore",
    "Store",
    "StoreError",
    "Subnet",
    "Transport",
    "UdpTransport",
    "hookimpl",
    "load_config",
]
