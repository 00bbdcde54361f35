"""Callouts: DLLs written for Microsoft's DHCP Server Callout API, as plugins.

``CalloutPlugin(Child("/usr/lib/callouts/mac_filter.so"))`` is a plugin like any other. In a configuration it is the
plugin "callouts" that makes them, of loading.py.
"""

from aiodhcp.callout.callouts import CalloutFault, Callouts, Received, Returned
from aiodhcp.callout.child import Child
from aiodhcp.callout.library import Library
from aiodhcp.callout.plugin import ON_FAULT, CalloutPlugin
from aiodhcp.callout.wine import WineHost

__all__ = [
    "ON_FAULT",
    "CalloutFault",
    "CalloutPlugin",
    "Callouts",
    "Child",
    "Library",
    "Received",
    "Returned",
    "WineHost",
]
