"""Callouts: DLLs written for Microsoft's DHCP Server Callout API, as plugins.

``CalloutPlugin(Library("/usr/lib/callouts/mac_filter.so"))`` is a plugin like any other.
"""

from aiodhcp.callout.callouts import Callouts, Received, Returned
from aiodhcp.callout.library import Library
from aiodhcp.callout.plugin import ON_FAULT, CalloutPlugin

__all__ = ["ON_FAULT", "CalloutPlugin", "Callouts", "Library", "Received", "Returned"]
