"""The kit for those who write hooks: a server in memory, clients, a clock to turn, and a trace of the hooks.

With pytest they are fixtures: ``dhcp_server``, ``dhcp_client``, ``dhcp_clock``, ``hook_trace``.
Nothing here needs pytest.
"""

from aiodhcp.testing.client import Client, SyncClient
from aiodhcp.testing.clock import Clock
from aiodhcp.testing.given import ConfigLike, PluginLike
from aiodhcp.testing.messages import Messages
from aiodhcp.testing.results import Dora, HookFailed, NoReply, Reply
from aiodhcp.testing.server import MemoryServer
from aiodhcp.testing.trace import HookCall, HookTrace

__all__ = [
    "Client",
    "Clock",
    "ConfigLike",
    "Dora",
    "HookCall",
    "HookFailed",
    "HookTrace",
    "MemoryServer",
    "Messages",
    "NoReply",
    "PluginLike",
    "Reply",
    "SyncClient",
]
