"""Policies: what becomes of a packet whose hook fails or takes too long, when a hook is called no more, and the counts.

With a clock turned by hand; what ``asyncio`` has to do with deadlines is in test_hooks_waiting.py.
"""

from __future__ import annotations

import asyncio
import inspect
import math

import pytest
from client import AsyncClient, Client, Clock, dotted, make_engine, make_subnet
from plugin_kit import ALL_HOOKS, broken, error_lines, plugin, talk

from aiodhcp import Config, Drop, DropReason, Engine, MessageType, Nak, Plugin, Policy, Use, hookimpl
from aiodhcp.hookcalls import Overdue, Runtime
from aiodhcp.hooks import Hooks
from aiodhcp.implementations import AT_ONCE, Implementation, where
from aiodhcp.policies import DEFAULT_POLICY

PACKET_HOOKS = [
    "dhcp_new_pkt",
    "dhcp_handle_options",
    "select_subnet",
    "reservation_lookup",
    "unknown_client",
    "select_address",
    "select_lease_time",
    "dhcp_pkt_send",
]
"""Those that fire for a DISCOVER, where there is a packet to drop."""
WAITING = [hook for hook in PACKET_HOOKS if hook not in ("select_address", "select_lease_time")]


def raises():
    raise ZeroDivisionError("oh no")


class Switch:
    """A hook that works or not, and counts."""

    def __init__(self, working: bool = True) -> None:
        self.working = working
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        if not self.working:
            raise ZeroDivisionError("oh no")


def switched(switch: Switch):
    """A function, which pluggy wants."""
    return lambda: switch()


def given(policy: Policy, name: str = "plugin", **hooks) -> Plugin:
    return Plugin(plugin(name, **hooks), policy=policy)


def timed(clock: Clock, *plugins: object, within=None, **config) -> PatientClient:
    """A client of a server whose hooks are measured by ``clock``."""
    runtime = Runtime(clock=clock) if within is None else Runtime(clock=clock, within=within)
    return PatientClient(Engine(Config([make_subnet()], **config), Hooks(plugins, runtime)), clock)


class PatientClient(Client):
    """A client that awaits where a hook may wait."""

    async def discover_later(self):
        other = AsyncClient(self.engine, self.clock)
        reply = await other.discover()
        self.exchange = other.exchange
        return reply


async def too_long(begun, implementation):
    """What ``Runtime.within`` does about a hook that takes too long."""
    begun.close()
    raise Overdue


async def slow():
    await asyncio.sleep(0)


def metrics_of(client: Client, hook: str):
    (found,) = [each for each in client.engine.hooks.metrics if each.hook == hook]
    return found


# ── Policy ──


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"deadline": 0}, "deadline: expected a number of seconds above 0, got 0"),
        ({"deadline": -1}, "deadline: expected"),
        ({"deadline": math.nan}, "deadline: expected"),
        ({"deadline": "2"}, "deadline: expected a number of seconds above 0, got '2'"),
        ({"retry_after": 0}, "retry_after: expected"),
        ({"on_error": "ignore"}, "on_error: expected 'continue', 'drop' or 'disable', got 'ignore'"),
        ({"on_timeout": "DROP"}, "on_timeout: expected"),
        ({"failures": -1}, "failures: expected 0 or more, got -1"),
        ({"failures": "3"}, "failures: expected 0 or more, got '3'"),
    ],
)
def test_what_is_no_policy(wrong, words):
    with pytest.raises(ValueError, match=words):
        Policy(**wrong)
    if "shadow" not in wrong:
        with pytest.raises(ValueError, match=words):
            hookimpl(**wrong)


def test_no_end_is_a_deadline():
    assert Policy(deadline=math.inf, retry_after=0.5, failures=0).deadline == math.inf


def test_the_more_specific_policy_says_more():
    general, specific = Policy(deadline=1, on_error="drop", shadow=True), Policy(deadline=3, failures=0, shadow=False)
    assert general.under(specific) == Policy(deadline=3, on_error="drop", failures=0, shadow=False)
    assert DEFAULT_POLICY.under(Policy()) == DEFAULT_POLICY
    assert None not in (getattr(DEFAULT_POLICY, name) for name in DEFAULT_POLICY.__slots__)


def test_hookimpl_marks_a_function_and_keeps_what_is_said_of_it():
    @hookimpl
    def plain(): ...

    @hookimpl(deadline=1, on_error="drop", on_timeout="continue", failures=3, retry_after=4, priority=5)
    def careful(): ...

    assert plain.aiodhcp_policy == Policy()
    assert careful.aiodhcp_policy == Policy(1, "drop", "continue", 3, 4, 5)
    assert plain.aiodhcp_impl == careful.aiodhcp_impl
    assert hookimpl(tryfirst=True)(plain) is plain
    assert plain.aiodhcp_impl["tryfirst"] is True


def test_hookimpl_says_of_which_hook():
    class Guard:
        @hookimpl(specname="dhcp_new_pkt")
        def guard(self):
            return Drop("guarded")

    engine = make_engine(plugins=[Guard()])
    client = Client(engine, Clock())
    assert client.discover() is None
    assert client.exchange.why == "vetoed by Guard: guarded"


# ── order ──


def test_a_higher_priority_is_called_first_and_the_configured_order_counts_where_it_is_equal(clock):
    calls = []

    def noting(name, **policy):
        return Plugin(plugin(name, dhcp_new_pkt=lambda: calls.append(name)), policy=Policy(**policy))

    talk(
        clock, noting("a"), noting("b", priority=-1), noting("c", priority=2), noting("d"), noting("e", priority=2)
    ).discover()
    assert calls == ["c", "e", "a", "d", "b"]


def test_tryfirst_is_within_a_priority(clock):
    calls = []

    class First:
        @hookimpl(tryfirst=True)
        def dhcp_new_pkt(self):
            calls.append("first")

    talk(
        clock, Plugin(plugin(dhcp_new_pkt=lambda: calls.append("high")), policy=Policy(priority=1)), First()
    ).discover()
    assert calls == ["high", "first"]


# ── on_error ──


@pytest.mark.parametrize("hook", PACKET_HOOKS)
def test_continue_is_as_if_it_had_not_been_called(clock, hook):
    client = talk(clock, given(Policy(on_error="continue"), "bad", **{hook: raises}))
    assert dotted(client.discover().yiaddr) == "192.0.2.10"
    assert client.engine.hooks.failures == {("bad", hook): 1}


@pytest.mark.parametrize("hook", PACKET_HOOKS)
@pytest.mark.parametrize("function", [raises, lambda: 42], ids=["raises", "nonsense"])
def test_drop_costs_the_packet_and_no_other(clock, hook, function):
    told = []
    listener = plugin("listener", dhcp_pkt_drop=lambda reason: told.append(reason))
    client = talk(clock, given(Policy(on_error="drop"), "bad", **{hook: function}), listener)
    assert client.discover() is None
    assert client.exchange.reason == DropReason.INTERNAL_ERROR
    assert client.exchange.why.startswith(f"{hook} of plugin bad r")
    assert told == [DropReason.INTERNAL_ERROR, DropReason.PROCESSED]
    assert client.release() is None
    assert client.exchange.why != ""


@pytest.mark.parametrize("hook", PACKET_HOOKS)
def test_disable_calls_the_plugin_no_more_at_any_hook(clock, caplog, hook):
    calls = []
    others = {each: lambda: calls.append("called") for each in ("dhcp_pkt_drop", "lease_expired")}
    client = talk(clock, given(Policy(on_error="disable"), "bad", **{hook: raises, **others}))
    for _ in range(3):
        assert client.discover() is not None
    assert calls == []
    found = metrics_of(client, hook)
    assert (found.state, found.calls, found.errors, found.skipped) == ("disabled", 1, 1, 2)
    assert metrics_of(client, "dhcp_pkt_drop").skipped == 3
    assert "plugin bad is disabled until the server is started again or reloads its configuration" in error_lines(
        caplog
    )


def test_others_are_not_disabled_with_it(clock):
    calls = []
    bad = given(Policy(on_error="disable"), "bad", dhcp_new_pkt=raises)
    client = talk(clock, bad, plugin("good", dhcp_new_pkt=lambda: calls.append("called")))
    client.discover()
    client.discover()
    assert len(calls) == 2
    assert [each.state for each in client.engine.hooks.metrics] == ["disabled", "working"]


@pytest.mark.parametrize("hook", WAITING)
async def test_an_async_hook_that_raises_may_cost_the_packet(clock, hook):
    async def raises_later():
        await asyncio.sleep(0)
        raises()

    engine = make_engine(plugins=[given(Policy(on_error="drop"), "bad", **{hook: raises_later})])
    client = AsyncClient(engine, clock)
    assert await client.discover() is None
    assert client.exchange.why == f"{hook} of plugin bad raised"


def test_every_plugin_is_called_at_dhcp_new_pkt_also_after_a_failure_that_costs_the_packet(clock):
    calls = []
    client = talk(
        clock,
        given(Policy(on_error="drop"), "bad", dhcp_new_pkt=raises),
        given(Policy(on_error="drop"), "worse", dhcp_new_pkt=raises),
        plugin("after", dhcp_new_pkt=lambda: calls.append("called")),
        plugin("later", dhcp_handle_options=lambda: calls.append("called")),
    )
    assert client.discover() is None
    assert calls == ["called"]
    assert client.exchange.why == "dhcp_new_pkt of plugin bad raised"


def test_at_other_hooks_nobody_is_called_for_a_packet_that_is_lost(clock):
    after = plugin("after", dhcp_handle_options=broken)
    client = talk(clock, given(Policy(on_error="drop"), "bad", dhcp_handle_options=raises), after)
    assert client.discover() is None
    assert client.engine.hooks.failures == {("bad", "dhcp_handle_options"): 1}


@pytest.mark.parametrize("how", ["drops", "vetoes"])
def test_nobody_is_called_for_a_packet_that_a_plugin_lost_by_itself(clock, how):
    def lose(exchange):
        if how == "drops":
            exchange.drop(DropReason.INVALID, "by hand")
        else:
            exchange.vetoed = True

    after = plugin("after", dhcp_handle_options=broken)
    client = talk(clock, plugin(dhcp_handle_options=lose), after)
    assert client.discover() is None
    assert client.engine.hooks.failures == {}


@pytest.mark.parametrize("hook", ["dhcp_pkt_drop", "dhcp_delete_client", "lease_expired"])
def test_where_there_is_nothing_to_drop_drop_is_as_good_as_continue(clock, hook):
    client = talk(clock, given(Policy(on_error="drop", failures=1), "bad", **{hook: raises}))
    for _ in range(2):
        client.join()
        clock.advance(43200)
        client.engine.tick(clock())
    assert client.join().message_type == MessageType.ACK
    assert metrics_of(client, hook).skipped > 0
    assert client.engine.dropped == {}


def test_a_reply_whose_plugin_fails_may_not_leave(clock):
    client = talk(clock, given(Policy(on_error="drop"), "bad", dhcp_pkt_send=raises))
    assert client.discover() is None
    assert client.exchange.answer is None
    assert client.engine.sent == {}


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, StopIteration])
def test_a_def_hook_may_raise_anything(clock, error):
    def odd():
        raise error

    client = talk(clock, plugin("odd", dhcp_new_pkt=odd))
    assert client.discover() is not None
    assert client.engine.hooks.failures == {("odd", "dhcp_new_pkt"): 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("shadow", [False, True])
def test_but_who_ends_the_program_ends_it(clock, error, shadow):
    def end():
        raise error

    client = talk(clock, given(Policy(shadow=shadow), "end", dhcp_new_pkt=end))
    with pytest.raises(error):
        client.discover()


# ── deadlines ──


@pytest.mark.parametrize("hook", WAITING)
async def test_a_hook_that_takes_too_long_costs_the_packet(clock, caplog, hook):
    client = timed(clock, plugin("slow", **{hook: lambda: slow()}), within=too_long)
    assert await client.discover_later() is None
    assert client.exchange.reason == DropReason.TIMEOUT
    assert client.exchange.why == f"{hook} of plugin slow took too long"
    found = metrics_of(client, hook)
    assert (found.timeouts, found.errors, found.calls) == (1, 0, 1)
    assert f"plugin slow: {hook} took too long (" in caplog.text


@pytest.mark.parametrize("hook", WAITING)
async def test_or_it_goes_on_without(clock, hook):
    calls = []
    after = plugin("after", **{hook: lambda: calls.append("called")})
    client = timed(
        clock, given(Policy(on_timeout="continue"), "slow", **{hook: lambda: slow()}), after, within=too_long
    )
    assert await client.discover_later() is not None
    assert calls == ["called"]


async def test_or_the_plugin_is_disabled(clock):
    client = timed(clock, given(Policy(on_timeout="disable"), "slow", dhcp_new_pkt=lambda: slow()), within=too_long)
    assert await client.discover_later() is not None
    assert metrics_of(client, "dhcp_new_pkt").state == "disabled"
    assert client.discover() is not None


async def test_what_takes_too_long_is_measured_too(clock):
    async def ten_seconds(begun, implementation):
        begun.close()
        clock.advance(10)
        raise Overdue

    client = timed(clock, given(Policy(on_timeout="continue"), "slow", dhcp_new_pkt=lambda: slow()), within=ten_seconds)
    await client.discover_later()
    assert metrics_of(client, "dhcp_new_pkt").seconds == 10


async def test_the_deadline_is_that_of_the_implementation(clock):
    seen = []

    async def within(begun, implementation):
        seen.append((implementation.plugin, implementation.deadline))
        return await begun

    client = timed(clock, given(Policy(deadline=0.5), "slow", dhcp_new_pkt=lambda: slow()), within=within)
    await client.discover_later()
    assert seen == [("slow", 0.5)]


# ── the circuit ──


def test_after_failures_in_a_row_a_hook_is_not_called_for_a_while(clock, caplog):
    switch = Switch(working=False)
    policy = Policy(failures=3, retry_after=30)
    client = timed(clock, given(policy, "shaky", dhcp_new_pkt=switched(switch)))
    for _ in range(5):
        assert client.discover() is not None
    assert switch.calls == 3
    found = metrics_of(client, "dhcp_new_pkt")
    assert (found.state, found.errors, found.skipped) == ("open", 3, 2)
    line = "plugin shaky: dhcp_new_pkt failed 3 times in a row and is not called for 30 seconds"
    assert error_lines(caplog).count(line) == 1


def test_then_one_packet_tries_whether_it_works_again(clock, caplog):
    switch = Switch(working=False)
    client = timed(clock, given(Policy(failures=3, retry_after=30), "shaky", dhcp_new_pkt=switched(switch)))
    for _ in range(4):
        client.discover()
    clock.advance(29)
    client.discover()
    assert switch.calls == 3
    clock.advance(1)
    client.discover()
    client.discover()
    assert switch.calls == 4
    assert metrics_of(client, "dhcp_new_pkt").state == "open"
    clock.advance(30)
    switch.working = True
    client.discover()
    client.discover()
    assert switch.calls == 6
    assert metrics_of(client, "dhcp_new_pkt").state == "working"
    assert "plugin shaky: dhcp_new_pkt works again" in caplog.messages
    assert [line for line in error_lines(caplog) if "in a row" in line] == [
        "plugin shaky: dhcp_new_pkt failed 3 times in a row and is not called for 30 seconds"
    ]


def test_a_success_in_between_counts_anew(clock, caplog):
    switch = Switch()
    client = timed(clock, given(Policy(failures=2), "shaky", dhcp_new_pkt=switched(switch)))
    for working in (False, True, False, True, False, True):
        switch.working = working
        client.discover()
    assert switch.calls == 6
    assert "works again" not in caplog.text
    assert metrics_of(client, "dhcp_new_pkt").state == "working"


def test_with_drop_packets_are_dropped_while_the_circuit_is_open(clock):
    switch = Switch(working=False)
    client = timed(clock, given(Policy(failures=1, on_error="drop"), "filter", dhcp_new_pkt=switched(switch)))
    client.discover()
    assert client.discover() is None
    assert switch.calls == 1
    assert client.exchange.why == "dhcp_new_pkt of plugin filter fails again and again"
    assert client.exchange.reason == DropReason.INTERNAL_ERROR
    clock.advance(30)
    switch.working = True
    assert client.discover() is not None
    assert client.discover() is not None


async def test_timeouts_open_the_circuit_too(clock):
    client = timed(
        clock, given(Policy(failures=2, on_timeout="continue"), "slow", dhcp_new_pkt=lambda: slow()), within=too_long
    )
    for _ in range(4):
        await client.discover_later()
    found = metrics_of(client, "dhcp_new_pkt")
    assert (found.timeouts, found.skipped, found.state) == (2, 2, "open")


def test_failures_of_0_never_open_it(clock):
    client = timed(clock, given(Policy(failures=0), "bad", dhcp_new_pkt=raises))
    for _ in range(50):
        client.discover()
    assert metrics_of(client, "dhcp_new_pkt").errors == 50


def test_each_hook_has_a_circuit_of_its_own(clock):
    calls = []
    client = timed(
        clock,
        given(Policy(failures=1), "half", dhcp_new_pkt=raises, dhcp_pkt_send=lambda: calls.append("called")),
    )
    for _ in range(3):
        client.discover()
    assert len(calls) == 3


def test_who_is_disabled_does_not_come_back_by_a_success(clock):
    found = Hooks([plugin(dhcp_new_pkt=lambda: None)]).implementations[0]
    found.failed(0)
    found.disable()
    assert found.works() is False
    assert (found.special, found.may_try(1000), found.state) == (True, False, "disabled")


# ── what is measured ──


def test_how_long_calls_took(clock):
    lasting = [0.0, 0.0000015, 0.001, 1.0, 40.0, 3600.0]
    steps = iter(lasting)

    def measured():
        clock.advance(next(steps))

    hooks = Hooks([plugin(dhcp_new_pkt=measured)], Runtime(clock=Clock(0)))
    clock = hooks.runtime.clock
    for _ in lasting:
        hooks.dhcp_new_pkt.run(Subject())
    found = hooks.metrics[0]
    assert found.calls == len(lasting)
    assert found.seconds == pytest.approx(sum(lasting))
    assert [below for below, _ in found.histogram][:3] == [1e-6, 2e-6, 4e-6]
    assert found.histogram[-1] == (math.inf, 2)
    counted = [sum(count for below, count in found.histogram if below <= limit) for limit in (1e-6, 1e-5, 0.01, 2)]
    assert counted == [1, 2, 3, 4]


@pytest.mark.parametrize("trace", [None, []], ids=["untraced", "traced"])
def test_calls_that_are_counted_together(trace):
    """Also while nobody asks: what is not counted yet never grows."""
    clock = Clock(0)
    hooks = Hooks([plugin(dhcp_new_pkt=lambda: clock.advance(0.001))], Runtime(clock=clock))
    subject = Subject()
    subject.trace = trace
    for _ in range(3 * AT_ONCE - 1):
        hooks.dhcp_new_pkt.run(subject)
    implementation = hooks.dhcp_new_pkt.implementations[0]
    assert (sum(implementation.buckets), len(implementation.lasted)) == (2 * AT_ONCE, AT_ONCE - 1)
    for _ in range(2):
        found = hooks.metrics[0]
        assert found.calls == sum(count for _, count in found.histogram) == 3 * AT_ONCE - 1
        assert found.seconds == pytest.approx((3 * AT_ONCE - 1) * 0.001)


def test_a_clock_may_begin_anywhere():
    """A hook that failed is called again, and one whose circuit is open is not."""
    switch = Switch(working=False)
    clock = Clock(-1000)
    hooks = Hooks([given(Policy(failures=2), dhcp_new_pkt=switched(switch))], Runtime(clock=clock))
    for _ in range(3):
        hooks.dhcp_new_pkt.run(Subject())
    assert (switch.calls, hooks.metrics[0].skipped) == (2, 1)
    clock.advance(30)
    switch.working = True
    for _ in range(3):
        hooks.dhcp_new_pkt.run(Subject())
    assert (switch.calls, hooks.metrics[0].state) == (5, "working")


class Subject:
    """What an exchange is to a hook that takes no arguments."""

    plugin = trace = reason = verdict = None
    vetoed = dropped = False


def test_every_implementation_is_measured_by_itself(clock):
    client = timed(
        clock,
        plugin("a", dhcp_new_pkt=lambda: None, dhcp_pkt_drop=lambda: None),
        plugin("b", dhcp_new_pkt=lambda: Drop("no")),
    )
    client.discover()
    assert {(each.plugin, each.hook): (each.calls, each.vetoes) for each in client.engine.hooks.metrics} == {
        ("a", "dhcp_new_pkt"): (1, 0),
        ("b", "dhcp_new_pkt"): (1, 1),
        ("a", "dhcp_pkt_drop"): (1, 0),
    }


@pytest.mark.parametrize(
    ("hook", "verdict"),
    [
        ("dhcp_new_pkt", Drop(DropReason.UNAUTH)),
        ("select_subnet", Drop()),
        ("reservation_lookup", Nak()),
        ("unknown_client", Drop()),
        ("select_address", Drop()),
        ("select_lease_time", Nak()),
    ],
)
def test_vetoes_are_counted(clock, hook, verdict):
    client = talk(clock, plugin(**{hook: lambda: verdict}))
    client.discover()
    assert metrics_of(client, hook).vetoes == 1
    client = talk(clock, plugin(**{hook: lambda: None}))
    client.discover()
    assert metrics_of(client, hook).vetoes == 0


def test_without_a_runtime_nothing_is_measured(clock):
    client = talk(clock, plugin(dhcp_new_pkt=lambda: clock.advance(5)))
    client.discover()
    assert metrics_of(client, "dhcp_new_pkt").seconds == 0


# ── what hooks said, recorded ──


async def test_the_trace_has_what_each_hook_said_and_how_long_it_took(clock):
    async def later():
        clock.advance(2)

    engine = Engine(
        Config(make_engine().config.subnets),
        Hooks(
            [
                plugin("a", dhcp_new_pkt=lambda: clock.advance(1), select_address=lambda: Use("192.0.2.77")),
                plugin("b", dhcp_new_pkt=later, dhcp_handle_options=raises, dhcp_pkt_drop=lambda: 42),
                plugin("c", lease_expired=raises, dhcp_delete_client=lambda: None),
            ],
            Runtime(clock=clock),
        ),
    )
    engine.tracing = True
    client = AsyncClient(engine, clock)
    await client.join()
    clock.advance(43200)
    engine.tick(clock())
    engine.tracing = False
    await client.discover()
    assert client.exchange.trace is None
    engine.tracing = True
    await client.discover()
    assert [tuple(note) for note in client.exchange.trace] == [
        ("a", "dhcp_new_pkt", "", 1),
        ("b", "dhcp_new_pkt", "", 2),
        ("b", "dhcp_handle_options", "raised ZeroDivisionError('oh no')", 0),
        ("a", "select_address", "Use(value='192.0.2.77')", 0),
        ("b", "dhcp_pkt_drop", "returned 42, which means nothing there", 0),
    ]


# ── Implementation ──


def test_an_implementation_names_itself_and_its_place():
    def dhcp_new_pkt(packet): ...

    (found,) = Hooks([plugin("mine", dhcp_new_pkt=dhcp_new_pkt)]).implementations
    assert repr(found) == "<Implementation mine: dhcp_new_pkt>"
    assert found.where == f"{__file__}:{inspect.getsourcelines(dhcp_new_pkt)[1]}"
    assert where(len) == repr(len)


@pytest.mark.parametrize("wanted", [(), ("a",), ("b", "a"), ("a", "b", "c"), ("c", "b", "a", "d")])
def test_a_function_is_given_what_it_wants_in_its_order(wanted):
    getters = {name: (lambda subject, name=name: (name, subject)) for name in "abcd"}
    found = Implementation("p", "h", lambda *given: given, wanted, getters, DEFAULT_POLICY)
    assert found.call(7) == tuple((name, 7) for name in wanted)


def test_a_broken_hook_at_every_hook_leaves_the_conversation_as_it_is(clock):
    client = talk(clock, plugin("bad", **dict.fromkeys(ALL_HOOKS, broken)))
    client.join()
    assert client.renew().message_type == MessageType.ACK
