"""Callouts: Microsoft's DHCP Server Callout API, as plain data so far (abi.py)."""
