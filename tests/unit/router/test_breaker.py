"""States of a breaker: it opens by a row, a rate or a word of the vendor; it ends; one probe decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.domain.parts import COOLING, OFF, PROBING, READY, REFUSED, STATES
from burncloud.router.breaker import COOL_S_MAX, FAILURES_IN_A_ROW, OFF_S, PROBE_S, TOLD_S, WINDOW, Breaker


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(0.0, "broken")
    return breaker


def test_failures_in_a_row() -> None:
    breaker = Breaker()
    assert [breaker.failed(0.0, "lost") for _ in range(FAILURES_IN_A_ROW)] == [False] * (FAILURES_IN_A_ROW - 1) + [True]
    assert (breaker.state, breaker.available, breaker.reason) == (COOLING, False, "lost")


def test_a_rate_of_failures() -> None:
    """Every other one fails: never three in a row, but half of the window."""
    breaker = Breaker()
    for _ in range(WINDOW):
        breaker.failed(0.0, "broken")
        if not breaker.available:
            return
        breaker.succeeded()
    pytest.fail("it did not open")


def test_few_failures_do_not_open() -> None:
    breaker = Breaker()
    for _ in range(200):
        breaker.failed(0.0, "broken")
        assert breaker.available
        for _ in range(3):
            breaker.succeeded()


def test_one_probe_at_a_time_decides() -> None:
    breaker = opened()
    assert not breaker.tick(0.5)
    assert breaker.tick(1.0)
    assert (breaker.state, breaker.available) == (PROBING, True)
    breaker.taken(1.0)
    assert not breaker.available
    assert breaker.failed(1.1, "broken")
    assert (breaker.state, breaker.until) == (COOLING, 3.1)
    assert breaker.tick(3.1)
    breaker.taken(3.1)
    assert breaker.succeeded()
    assert (breaker.state, breaker.available) == (READY, True)


def test_a_probe_that_is_never_heard_of() -> None:
    breaker = opened()
    breaker.tick(1.0)
    breaker.taken(1.0)
    assert not breaker.tick(1.0 + PROBE_S - 1)
    assert breaker.tick(1.0 + PROBE_S)
    breaker.taken(40.0)
    breaker.spared()
    assert breaker.available


def test_pauses_grow_and_end() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(10):
        pauses.append(breaker.until - now)
        now = breaker.until
        breaker.tick(now)
        breaker.taken(now)
        breaker.failed(now, "broken")
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == COOL_S_MAX
    breaker.succeeded()
    assert opened().until == 1.0


def test_what_was_on_its_way_is_no_relapse() -> None:
    """A burst of failures opens it once; only the vendor's own word makes the pause longer."""
    breaker = opened()
    for _ in range(50):
        assert not breaker.failed(0.1, "broken")
    assert breaker.until == 1.0
    assert breaker.failed(0.1, "busy", 30)
    assert breaker.until == 30.1
    assert not breaker.failed(0.1, "busy", 5)
    off = Breaker()
    off.turn_off(0.0, REFUSED)
    assert not any(off.turn_off(0.1, REFUSED) for _ in range(50))
    assert off.until == OFF_S


def test_too_many_requests_without_a_time_backs_off() -> None:
    """One 429 is enough, and the pause grows with each relapse."""
    breaker, now, pauses = Breaker(), 0.0, []
    for _ in range(4):
        assert breaker.failed(now, "busy")
        pauses.append(breaker.until - now)
        now = breaker.until
        breaker.tick(now)
        breaker.taken(now)
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_who_was_told_waits_a_little_longer_and_goes_on_from_there() -> None:
    first, second = opened(), Breaker()
    assert second.told(0.0, first.state, first.reason, 500, first.until, first.step_s)
    assert (second.state, second.available, second.status) == (COOLING, False, 500)
    assert first.tick(1.0)
    assert not second.tick(1.0)
    first.taken(1.0)
    second.told(1.0, PROBING, "broken", 500, PROBE_S, first.step_s)
    assert not second.tick(5.0)
    first.failed(5.0, "broken")
    second.told(5.0, first.state, first.reason, 500, first.until - 5.0, first.step_s)
    assert second.until == first.until + TOLD_S
    second.tick(20.0)
    second.taken(20.0)
    second.failed(20.0, "broken")
    assert second.until == 24.0, "it does not begin with the shortest pause again"
    assert first.told(20.0, READY, "", 0, 0.0, 0.0)
    assert first.available
    assert not first.told(20.0, READY, "", 0, 0.0, 0.0)


def test_a_refused_key_stays_off_whatever_else_is_told() -> None:
    breaker = Breaker()
    breaker.turn_off(0.0, REFUSED)
    assert not breaker.told(0.0, COOLING, "lost", 0, 1.0, 1.0)
    assert breaker.state == OFF
    assert breaker.told(0.0, PROBING, REFUSED, 401, 0.0, OFF_S)
    assert breaker.available


def test_the_vendor_says_when() -> None:
    breaker = Breaker()
    assert breaker.failed(10.0, "busy", 7)
    assert breaker.until == 17.0


def test_off_is_probed_rarely() -> None:
    breaker = Breaker()
    assert breaker.turn_off(0.0, REFUSED)
    assert not breaker.failed(0.0, "broken")
    assert (breaker.state, breaker.available) == (OFF, False)
    assert not breaker.tick(OFF_S - 1)
    assert breaker.tick(OFF_S)
    breaker.taken(OFF_S)
    assert not breaker.turn_off(OFF_S, REFUSED)
    assert breaker.until == 3 * OFF_S
    assert breaker.succeeded()
    assert breaker.available


@given(st.lists(st.sampled_from(["good", "bad", "busy", "off", "wait", "take", "spare"]), max_size=200))
def test_bans_end(steps: list[str]) -> None:
    """Whatever happens: it can be asked again within the hour, and a success heals it."""
    breaker, now = Breaker(), 0.0
    for step in steps:
        now += 0.1
        if step == "good":
            breaker.succeeded()
        elif step == "bad":
            breaker.failed(now, "broken")
        elif step == "busy":
            breaker.failed(now, "busy", 1e6)
        elif step == "off":
            breaker.turn_off(now, REFUSED)
        elif step == "wait":
            now += 40
            breaker.tick(now)
        elif step == "take":
            breaker.taken(now)
        else:
            breaker.spared()
        assert breaker.state in STATES
        assert breaker.available is (breaker.state is READY) or breaker.state is PROBING
    assert breaker.available or breaker.tick(now + 3601)
    breaker.succeeded()
    assert breaker.available


def test_a_state_of_another_version_says_nothing() -> None:
    """A worker of the version before, or after, runs while a server is reloaded."""
    breaker = opened()
    assert not breaker.told(1.0, "dozing", "broken", 500, 5.0, 1.0)
    assert breaker.state == COOLING


def test_who_did_not_go_to_see_spares_nothing() -> None:
    breaker = opened()
    breaker.tick(1.0)
    breaker.taken(1.0, "req_1")
    assert not breaker.spared("req_2")
    assert not breaker.available
    assert breaker.spared("req_1")
    assert breaker.available
