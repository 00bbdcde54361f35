"""aiodhcp: an asyncio DHCP server to embed, with hooks in plain Python."""

from aiodhcp.commit_metrics import CommitMetrics
from aiodhcp.config import Settings, load_config
from aiodhcp.constants import (
    INFINITE,
    AddressKind,
    AddressProblem,
    ClientType,
    ControlCode,
    DropReason,
    MessageType,
    message_name,
)
from aiodhcp.engine import Engine
from aiodhcp.errors import AiodhcpError, ConfigError, DecodeError, EventsLost, StoreError
from aiodhcp.events import Cursor, LeaseEvent, LeaseEventKind
from aiodhcp.eventstreams import EventStream
from aiodhcp.exchange import Answer, Datagram, Exchange, Interface
from aiodhcp.explanation import Fact
from aiodhcp.filters import Filters
from aiodhcp.fqdn import Fqdn
from aiodhcp.health import Health
from aiodhcp.hooks import Hooks
from aiodhcp.implementations import HookMetrics
from aiodhcp.leases import NEVER, Lease, LeaseState
from aiodhcp.leasetable import LeaseTable
from aiodhcp.options import STANDARD_OPTIONS, Definitions, OptionDefinition, Options, Space, SubOptions
from aiodhcp.packet import Packet
from aiodhcp.parameters import Parameters
from aiodhcp.policies import Policy, hookimpl
from aiodhcp.records import codec_of
from aiodhcp.registration import Plugin
from aiodhcp.renewals import ForcedRenewals
from aiodhcp.requestors import Leasequery
from aiodhcp.server import DhcpServer
from aiodhcp.serveroptions import ServerOptions
from aiodhcp.shadows import ShadowNote
from aiodhcp.stores import EventStore, Store
from aiodhcp.stores.memory import MemoryStore
from aiodhcp.stores.sqlite import SqliteStore
from aiodhcp.subnets import Class, Config, Pool, Reservation, Subnet
from aiodhcp.transports import Receiver, Transport
from aiodhcp.transports.ethernet import EthernetTransport
from aiodhcp.transports.memory import MemoryTransport
from aiodhcp.transports.udp import UdpTransport
from aiodhcp.usage import PoolUsage
from aiodhcp.verdicts import Drop, Nak, Use

__version__ = "0.1.0"

__all__ = [
    "INFINITE",
    "NEVER",
    "STANDARD_OPTIONS",
    "AddressKind",
    "AddressProblem",
    "AiodhcpError",
    "Answer",
    "Class",
    "ClientType",
    "CommitMetrics",
    "Config",
    "ConfigError",
    "ControlCode",
    "Cursor",
    "Datagram",
    "DecodeError",
    "Definitions",
    "DhcpServer",
    "Drop",
    "DropReason",
    "Engine",
    "EthernetTransport",
    "EventStore",
    "EventStream",
    "EventsLost",
    "Exchange",
    "Fact",
    "Filters",
    "ForcedRenewals",
    "Fqdn",
    "Health",
    "HookMetrics",
    "Hooks",
    "Interface",
    "Lease",
    "LeaseEvent",
    "LeaseEventKind",
    "LeaseState",
    "LeaseTable",
    "Leasequery",
    "MemoryStore",
    "MemoryTransport",
    "MessageType",
    "Nak",
    "OptionDefinition",
    "Options",
    "Packet",
    "Parameters",
    "Plugin",
    "Policy",
    "Pool",
    "PoolUsage",
    "Receiver",
    "Reservation",
    "ServerOptions",
    "Settings",
    "ShadowNote",
    "Space",
    "SqliteStore",
    "Store",
    "StoreError",
    "SubOptions",
    "Subnet",
    "Transport",
    "UdpTransport",
    "Use",
    "codec_of",
    "hookimpl",
    "load_config",
    "message_name",
]
