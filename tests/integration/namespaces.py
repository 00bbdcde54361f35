"""The private networks of aiodhcp.namespaces, with a mark for tests that need them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aiodhcp.namespaces import Capture, Host, Network, obstacle

__all__ = ["Capture", "Host", "Network", "needs"]


def needs(*tools: str, kinds: Sequence[str] = ()) -> pytest.MarkDecorator:
    """A mark that skips tests, and says why, where they can't run.

    Args:
        tools: programs that have to be installed, beside those that make namespaces.
        kinds: kinds of interface that the kernel has to know beside veth: "bridge", "vlan"...
    """
    reason = obstacle(*tools, kinds=tuple(kinds))
    return pytest.mark.skipif(bool(reason), reason=reason)
