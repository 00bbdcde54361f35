"""The fixtures as pytest has them: marker, overriding, what a failure shows, and pytest-asyncio in each mode."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PLUGIN = """
import asyncio
import pytest
from aiodhcp import ControlCode, hookimpl

class Named:
    stopped = []

    @hookimpl
    def dhcp_pkt_send(self, reply):
        reply.options["domain-name"] = "example"

    @hookimpl
    async def dhcp_control(self, code):
        await asyncio.sleep(0)
        if code is ControlCode.STOP:
            Named.stopped.append(asyncio.get_running_loop())

class Broken:
    @hookimpl
    async def lease_expired(self):
        raise ZeroDivisionError("oh no")
"""


@pytest.fixture
def run(pytester):
    """``run(code, *arguments)``: pytest's result for a file of tests."""

    def run(code: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=PLUGIN + textwrap.dedent(code))
        quiet = ("-p", "no:cacheprovider", "-p", "no:cov", "-W", "error")
        if "no:asyncio" not in arguments:
            quiet += ("-o", "asyncio_default_fixture_loop_scope=function")
        return pytester.runpytest_inprocess("-p", "aiodhcp_pytest", *quiet, *arguments)

    return run


ASYNC = """
{mark}
@pytest.mark.dhcp(plugins=[Named])
async def test_it(dhcp_client, hook_trace):
    lease = await dhcp_client.dora()
    assert lease.options["domain-name"] == "example"
    assert hook_trace == ["dhcp_control", "dhcp_pkt_send", "dhcp_pkt_send"]

def test_the_plugin_was_stopped_on_the_loop_of_the_test():
    assert len(Named.stopped) == 1
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_with_pytest_asyncio(run, mode):
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    run(ASYNC.format(mark=mark), "--asyncio-mode", mode).assert_outcomes(passed=2)


def test_without_pytest_asyncio(run):
    code = """
    @pytest.mark.dhcp(plugins=[Named])
    def test_it(sync_dhcp_client):
        assert sync_dhcp_client.dora().options["domain-name"] == "example"

    def test_the_plugin_was_stopped():
        assert len(Named.stopped) == 1
        assert Named.stopped[0].is_closed()
    """
    run(code, "-p", "no:asyncio").assert_outcomes(passed=2)


def test_fixtures_that_are_async_use_it_before_and_after(run):
    code = """
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def leased(dhcp_client, dhcp_server):
        lease = await dhcp_client.dora()
        yield lease
        await dhcp_client.release()
        assert dhcp_server.lease(lease.address).state.name == "RELEASED"

    @pytest.mark.asyncio
    async def test_it(leased, dhcp_client):
        assert dhcp_client.address == leased.address
    """
    run(code).assert_outcomes(passed=1)


def test_a_server_that_an_async_fixture_has_started_serves_a_sync_test(run):
    code = """
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def leased(dhcp_client):
        return await dhcp_client.dora()

    def test_it(leased, sync_dhcp_client):
        assert sync_dhcp_client.renew().address == leased.address
    """
    run(code).assert_outcomes(passed=1)


def test_the_nearest_marker_counts_and_fixtures_overrule_it(run):
    code = """
    from aiodhcp import Config, Subnet

    pytestmark = pytest.mark.dhcp(plugins=[Named], config=Config([Subnet("192.0.2.0/24", ["192.0.2.77"])]))

    def test_the_marker_of_the_module(sync_dhcp_client):
        lease = sync_dhcp_client.dora()
        assert (str(lease.address), lease.options["domain-name"]) == ("192.0.2.77", "example")

    @pytest.mark.dhcp(plugins=[], max_in_flight=3)
    def test_and_of_the_function(sync_dhcp_client):
        lease = sync_dhcp_client.dora()
        assert str(lease.address) == "192.0.2.77"
        assert "domain-name" not in lease.options

    class TestOverridden:
        @pytest.fixture
        def dhcp_config(self):
            return {"subnet": [{"subnet": "192.0.2.0/24", "pools": ["192.0.2.88"]}]}

        @pytest.fixture
        def dhcp_plugins(self, dhcp_plugins):
            assert dhcp_plugins == [Named]
            return []

        def test_it(self, sync_dhcp_client):
            lease = sync_dhcp_client.dora()
            assert str(lease.address) == "192.0.2.88"
            assert "domain-name" not in lease.options
    """
    run(code, "--strict-markers").assert_outcomes(passed=3)


def test_a_wrong_marker_is_an_error(run):
    code = """
    @pytest.mark.dhcp([Named])
    def test_arguments(dhcp_server): ...

    @pytest.mark.dhcp(plugin=[Named])
    def test_names(dhcp_server): ...
    """
    result = run(code)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*@pytest.mark.dhcp takes keyword arguments only*", "*unexpected keyword argument 'plugin'*"]
    )


def test_a_failure_shows_what_was_said_and_called(run):
    code = """
    @pytest.mark.dhcp(plugins=[Named])
    def test_equal(sync_dhcp_client, hook_trace):
        sync_dhcp_client.discover()
        assert hook_trace == ["dhcp_control", "dhcp_new_pkt"]

    @pytest.mark.dhcp(plugins=[Named])
    def test_in(sync_dhcp_client, hook_trace):
        sync_dhcp_client.discover()
        assert "dhcp_new_pkt" in hook_trace

    @pytest.mark.dhcp(plugins=[Named])
    def test_not_equal(sync_dhcp_client, hook_trace):
        assert hook_trace != []
    """
    result = run(code)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*assert hooks called == *'dhcp_control', 'dhcp_new_pkt'*",
            "*from 1 on they differ. Called were:",
            "*  Named: dhcp_pkt_send(reply=<OFFER 02:00:00:00:00:01 192.0.2.10>) (* µs)",
            "* DHCP server *",
            "<Exchange DISCOVER xid=00010001 chaddr=02:00:00:00:00:01 on eth0: OFFER>",
            "*assert 'dhcp_new_pkt' in the hooks that were called:",
        ]
    )


def test_a_hook_that_fails_unseen_fails_the_test(run):
    """What nobody awaited comes up at the end: in an async test within it, else after it."""
    code = """
    @pytest.mark.asyncio
    @pytest.mark.dhcp(plugins=[Broken])
    async def test_async(dhcp_client, dhcp_clock):
        await dhcp_client.dora()
        dhcp_clock.advance("1d")

    @pytest.mark.dhcp(plugins=[Broken])
    def test_sync(sync_dhcp_client, dhcp_clock):
        sync_dhcp_client.dora()
        with pytest.raises(AssertionError, match="lease_expired raised ZeroDivisionError"):
            dhcp_clock.advance("1d")

    @pytest.mark.asyncio
    @pytest.mark.dhcp(plugins=[Broken])
    async def test_both(dhcp_client, dhcp_clock):
        await dhcp_client.dora()
        dhcp_clock.advance("1d")
        raise RuntimeError("something else")
    """
    result = run(code)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED *test_async - aiodhcp.testing.results.HookFailed: *",
            "FAILED *test_both - RuntimeError: something else",
        ]
    )


def test_all_servers_are_stopped_also_when_one_fails(run):
    code = """
    class Last:
        @hookimpl
        def dhcp_control(self, code):
            if code is ControlCode.STOP:
                raise ZeroDivisionError("at last")

    @pytest.mark.asyncio
    async def test_it(make_dhcp_server):
        for plugin in (Last, Named):
            await make_dhcp_server(plugins=[plugin]).start()

    def test_named():
        assert len(Named.stopped) == 1
    """
    result = run(code)
    result.assert_outcomes(passed=1, failed=1)


def test_what_fails_after_a_sync_test_is_an_error(run):
    code = """
    class Last:
        @hookimpl
        def dhcp_control(self, code):
            if code is ControlCode.STOP:
                raise ZeroDivisionError("at last")

    @pytest.mark.dhcp(plugins=[Last])
    def test_it(sync_dhcp_client):
        sync_dhcp_client.dora()
    """
    result = run(code)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*plugin Last: dhcp_control raised ZeroDivisionError('at last')*"])


def test_pytest_finds_them_by_an_entry_point_and_others_do_not_wait_for_aiodhcp():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # As the module is called: whoever names it with -p, too, has it once.
    assert project["project"]["entry-points"]["pytest11"] == {"aiodhcp_pytest": "aiodhcp_pytest"}
    code = "import sys, aiodhcp_pytest; print(*[name for name in sys.modules if name.startswith('aiodhcp')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["aiodhcp_pytest"]
    code = "import aiodhcp.testing, sys; sys.exit('pytest' in sys.modules or '_pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
