"""Leases at a worker's desk: what may be spent, in what order, and who is told no."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.domain.journal import Again, End, Intent, Progress, Return
from burncloud.domain.link import Ask, Grant
from burncloud.errors import Refusal
from burncloud.router.desk import (
    ANSWER_MS_MAX,
    AWAY_MS_MAX,
    DENIED_MS,
    IDLE_RETURN_MS,
    REFILL_MS,
    WANT_HOLDS,
    WANT_HOLDS_MAX,
    Desk,
)
from burncloud.router.ports import Journal

USER, TOKEN = 7, 8


class House:
    """Keeps questions and returns."""

    ready = True

    def __init__(self) -> None:
        self.journal: Journal = self
        self.up = True
        self.asked: list[Ask] = []
        self.returned: list[Return] = []
        self.rings = 0

    def ask(self, question: Ask) -> bool:
        """A question."""
        if self.up:
            self.asked.append(question)
        return self.up

    def ring(self) -> None:
        """The doorbell."""
        self.rings += 1

    def give_back(self, record: Return) -> None:
        """A return."""
        self.returned.append(record)

    def intend(self, intent: Intent) -> int:
        """Not here."""
        raise NotImplementedError

    def again(self, record: Again) -> None:
        """Not here."""

    def progress(self, record: Progress) -> None:
        """Not here."""

    def end(self, record: End) -> None:
        """Not here."""

    def after(self, waiter: Callable[[object, bool], None], argument: object) -> None:
        """Not here."""


class Bench:
    """A desk, its house, a clock, and the exchanges that wait."""

    def __init__(self) -> None:
        self.house = House()
        self.now = 1_000_000
        self.desk = Desk(self.house, lambda: self.now)
        self.heard: list[tuple[str, int]] = []
        """(name, 0 = held or the status of the refusal), in the order told."""

    def want(self, name: str, amount: int, user: int = USER, token: int = TOKEN) -> None:
        """As the gateway does: hold, else wait."""
        if self.desk.hold(user, token, amount):
            self.heard.append((name, 0))
        else:
            self.desk.wait(user, token, amount, lambda refusal: self.tell(name, refusal))

    def tell(self, name: str, refusal: Refusal | None) -> None:
        """The desk's answer."""
        self.heard.append((name, refusal.row.status if refusal is not None else 0))

    def grant(self, user: int, token: int = 0, outcome: str = "ok", denied: str = "", n: int = 0) -> None:
        """Control answers the newest question (or number n): cumulative totals."""
        self.desk.granted(Grant(n or self.house.asked[-1].n, outcome, user, token, denied))


@pytest.fixture
def bench() -> Bench:
    """A desk with nothing on it."""
    return Bench()


# Asking


def test_a_cold_lease_is_asked_for(bench: Bench) -> None:
    """Both accounts in one question: what is needed now, and a wish for more."""
    bench.want("a", 100)
    assert bench.heard == []
    [ask] = bench.house.asked
    assert (ask.user, ask.user_need, ask.token, ask.token_need) == (USER, 100, TOKEN, 100)
    assert ask.user_want == ask.token_want == 100 + 100 * WANT_HOLDS
    bench.grant(1000, 1000)
    assert bench.heard == [("a", 0)]
    bench.want("b", 900)
    assert bench.heard == [("a", 0), ("b", 0)]
    bench.want("c", 1)
    assert len(bench.heard) == 2


def test_only_what_is_short_is_asked_for(bench: Bench) -> None:
    """The other account's lease carries it already."""
    bench.want("a", 100)
    bench.grant(1000, 100)
    bench.want("b", 50)
    ask = bench.house.asked[-1]
    assert (ask.user, ask.user_need, ask.token, ask.token_need) == (0, 0, TOKEN, 50)


@pytest.mark.parametrize(("user", "token"), [(USER, 0), (0, TOKEN)])
def test_an_unlimited_side_has_no_lease(bench: Bench, user: int, token: int) -> None:
    """It is neither asked for nor held."""
    bench.want("a", 100, user, token)
    ask = bench.house.asked[-1]
    assert (ask.user, ask.token) == (user, token)
    bench.grant(500 if user else 0, 500 if token else 0)
    assert bench.heard == [("a", 0)]
    assert len(bench.desk.users) + len(bench.desk.tokens) == 1


def test_one_question_at_a_time_and_in_order(bench: Bench) -> None:
    """Those behind the first wait for the same answer; what it does not carry is asked for again."""
    for name in "abcd":
        bench.want(name, 100)
    assert len(bench.house.asked) == 1
    bench.grant(250, 1000)
    assert bench.heard == [("a", 0), ("b", 0)]
    assert len(bench.house.asked) == 2
    assert bench.house.asked[-1].user_need == 50
    bench.grant(10_000)
    assert bench.heard == [(name, 0) for name in "abcd"]


def test_lines_of_different_pairs_do_not_wait_for_each_other(bench: Bench) -> None:
    """A slow answer for one token is no matter of another."""
    bench.want("a", 100, USER, 1)
    bench.want("b", 100, USER, 2)
    assert len(bench.house.asked) == 2
    bench.grant(100, 100)
    assert bench.heard == [("b", 0)]


def test_both_or_neither(bench: Bench) -> None:
    """A hold that the token's lease cannot carry takes nothing of the user's."""
    bench.want("a", 100)
    bench.grant(1000, 100)
    assert not bench.desk.hold(USER, TOKEN, 50)
    assert bench.desk.users[USER].held == 100


# No


def test_402_is_the_database_s_own_no(bench: Bench) -> None:
    """And it is believed for a moment, for as much and more."""
    bench.want("a", 100)
    bench.grant(0, 0, "denied", "token")
    bench.want("b", 100)
    bench.want("c", 500)
    assert bench.heard == [("a", 402), ("b", 402), ("c", 402)]
    assert len(bench.house.asked) == 1
    bench.now += DENIED_MS
    bench.want("d", 100)
    assert len(bench.house.asked) == 2


def test_a_denial_of_much_is_none_of_little(bench: Bench) -> None:
    """Who needs less asks for himself; who waited behind with less is asked for next."""
    bench.want("a", 100)
    bench.want("b", 20)
    bench.want("c", 200)
    bench.grant(0, 0, "denied", "user")
    assert bench.heard == [("a", 402), ("c", 402)]
    assert bench.house.asked[-1].user_need == 20
    bench.grant(20, 20)
    assert bench.heard[-1] == ("b", 0)


def test_a_quota_event_ends_a_denial(bench: Bench) -> None:
    """A top-up works at once."""
    bench.want("a", 100)
    bench.grant(0, 0, "denied", "user")
    bench.desk.quota_changed("user", USER)
    bench.want("b", 100)
    assert len(bench.house.asked) == 2
    bench.desk.quota_changed("user", 12345)


def test_a_quota_event_takes_the_lease_back(bench: Bench) -> None:
    """The limit may be lower now: only what is on hold stays, the rest is asked for anew."""
    bench.want("a", 100)
    bench.grant(1000, 1000)
    bench.desk.quota_changed("token", TOKEN)
    assert bench.house.returned == [Return("token", TOKEN, 900)]
    bench.want("b", 100)
    assert (bench.house.asked[-1].user_need, bench.house.asked[-1].token_need) == (0, 100)
    bench.grant(0, 1000, "denied", "token")
    assert bench.heard == [("a", 0), ("b", 402)]
    assert bench.desk.settle(bench.desk.tokens, TOKEN, 100, 70) == 70


def test_a_denial_finds_what_a_settle_freed(bench: Bench) -> None:
    """Between the question and its answer an exchange ended: there is enough now."""
    bench.want("a", 100)
    bench.grant(100, 100)
    bench.want("b", 100)
    bench.desk.settle(bench.desk.users, USER, 100, 0)
    bench.desk.settle(bench.desk.tokens, TOKEN, 100, 0)
    bench.grant(100, 100, "denied", "user")
    assert bench.heard == [("a", 0), ("b", 0)]


def test_a_denial_that_brings_a_lost_grant(bench: Bench) -> None:
    """Totals are cumulative: what an earlier, lost reply granted counts."""
    bench.want("a", 100)
    bench.grant(100, 100, "denied", "user")
    assert bench.heard == [("a", 0)]


@pytest.mark.parametrize("how", ["unavailable", "link lost", "link down", "silence"])
def test_503_is_everything_else(bench: Bench, how: str) -> None:
    """Who could not be asked has not said no."""
    bench.house.up = how != "link down"
    bench.want("a", 100)
    bench.want("b", 100)
    if how == "unavailable":
        bench.grant(0, 0, "unavailable")
    elif how.startswith("link"):
        if how == "link lost":
            bench.desk.link_lost()
        bench.now += AWAY_MS_MAX
        bench.desk.sweep()
        assert bench.heard == []
        bench.now += 1
        bench.desk.sweep()
    elif how == "silence":
        bench.now += ANSWER_MS_MAX
        bench.desk.sweep()
        assert bench.heard == []
        bench.now += 1
        bench.desk.sweep()
    assert bench.heard == [("a", 503), ("b", 503)]
    bench.house.up = True
    bench.want("c", 100)
    bench.grant(1000, 1000)
    assert bench.heard[-1] == ("c", 0)


@pytest.mark.parametrize("how", ["lost", "down"])
def test_another_control_process_is_waited_for(bench: Bench, how: str) -> None:
    """A reload takes a second: who waits, and who comes meanwhile, is asked for anew, and nobody is refused."""
    bench.house.up = how != "down"
    bench.want("a", 100)
    if how == "lost":
        bench.desk.link_lost()
    old = bench.house.asked[-1].n if bench.house.asked else 99
    bench.house.up = False
    bench.now += 1000
    bench.want("b", 100)
    bench.want("other", 5, 0, 7)
    bench.now += 1000
    bench.desk.sweep()
    bench.house.up = True
    bench.desk.link_up()
    assert len(bench.house.asked) == (3 if how == "lost" else 2)
    bench.grant(0, 0, "denied", "user", n=old)
    assert bench.heard == [], "an answer from before says nothing"
    bench.desk.granted(Grant(bench.house.asked[-2].n, "ok", 1000, 1000))
    bench.desk.granted(Grant(bench.house.asked[-1].n, "ok", 0, 5))
    assert bench.heard == [("a", 0), ("b", 0), ("other", 0)]
    bench.now += AWAY_MS_MAX + 1
    bench.want("c", 10_000)
    bench.desk.sweep()
    assert bench.heard[-1][0] != "c", "it is asked, and its answer is waited for"


def test_who_comes_when_nobody_has_been_there_for_long_is_not_kept_waiting(bench: Bench) -> None:
    bench.desk.link_lost()
    bench.house.up = False
    bench.now += AWAY_MS_MAX + 1
    bench.want("a", 100)
    assert bench.heard == [("a", 503)]


def test_an_answer_that_comes_too_late(bench: Bench) -> None:
    """What it granted is ours, but its verdict is no verdict on a later question."""
    bench.want("a", 100)
    old = bench.house.asked[-1].n
    bench.now += ANSWER_MS_MAX + 1
    bench.desk.sweep()
    bench.want("b", 10)
    bench.grant(0, 0, "denied", "user", n=old)
    assert bench.heard == [("a", 503)]
    bench.grant(10, 10)
    assert bench.heard[-1] == ("b", 0)


def test_answers_nobody_asked_for(bench: Bench) -> None:
    """Repeated and unknown ones change nothing."""
    bench.want("a", 100)
    bench.grant(100, 100)
    bench.grant(100, 100)
    bench.grant(9999, 9999, n=77)
    assert bench.desk.users[USER].granted == 100


def test_an_answer_may_ask_again(bench: Bench) -> None:
    """Who is told no may come back within the call (a pipelined request does)."""

    def told(refusal: Refusal | None) -> None:
        bench.tell("a", refusal)
        bench.want("b", 5)

    bench.desk.wait(USER, TOKEN, 100, told)
    bench.grant(0, 0, "unavailable")
    assert bench.heard == [("a", 503)]
    bench.grant(100, 100)
    assert bench.heard == [("a", 503), ("b", 0)]


# Settling and giving back


def test_settling(bench: Bench) -> None:
    """The draw is at most the hold; what was not used is free again."""
    bench.want("a", 100)
    bench.grant(10_000, 10_000)
    assert bench.desk.settle(bench.desk.users, USER, 100, 30) == 30
    assert bench.desk.settle(bench.desk.tokens, TOKEN, 100, 130) == 100
    assert (bench.desk.users[USER].free, bench.desk.tokens[TOKEN].free) == (9970, 9900)
    assert bench.house.returned == []


def test_a_tight_lease_gives_its_surplus_back_at_once(bench: Bench) -> None:
    """Little is left of the account, and others may need it: what one request did not use goes back with its end."""
    bench.want("a", 100)
    bench.grant(100, 10_000)
    bench.desk.settle(bench.desk.users, USER, 100, 30)
    assert bench.house.returned == [Return("user", USER, 70)]
    assert bench.desk.users[USER].free == 0


def test_recall(bench: Bench) -> None:
    """What is free goes back now, what is held stays; a grant whose reply was lost is healed first."""
    bench.want("a", 100)
    bench.grant(1000, 1000)
    bench.desk.recall("token", TOKEN, 1500)
    assert bench.house.returned == [Return("token", TOKEN, 1400)]
    assert bench.house.rings == 1
    assert bench.desk.tokens[TOKEN].held == 100
    bench.desk.recall("token", TOKEN)
    bench.desk.recall("user", 999, 50)
    assert bench.house.returned[1:] == [Return("user", 999, 50)]
    assert bench.house.rings == 3


def test_idle_leases_go_back(bench: Bench) -> None:
    """After half a minute without a hold; held ones do not."""
    bench.want("a", 100)
    bench.grant(10_000, 10_000)
    bench.desk.settle(bench.desk.users, USER, 100, 0)
    bench.now += IDLE_RETURN_MS
    bench.desk.sweep()
    assert bench.house.returned == []
    bench.now += 10_000
    bench.desk.sweep()
    assert bench.house.returned == [Return("user", USER, 10_000)]


def test_a_lease_is_refilled_before_it_is_dry(bench: Bench) -> None:
    """At half; nobody waits for it, and a refill that is denied is no denial."""
    bench.want("a", 100)
    bench.grant(6500, 6500)
    for n in range(33):
        bench.want(f"b{n}", 100)
    assert len(bench.house.asked) == 3
    refill = bench.house.asked[1]
    assert (refill.user, refill.user_need, refill.user_want) == (USER, 0, 100 * WANT_HOLDS)
    bench.grant(0, 0, "denied", "user", n=refill.n)
    bench.want("c", 100)
    assert all(status == 0 for _, status in bench.heard)
    assert len(bench.house.asked) == 3


def test_a_busy_lease_is_refilled_with_more(bench: Bench) -> None:
    """Twice as much where it runs low again within a second; after a pause as little as before."""

    def refill(granted: int) -> int:
        """Use half of what is there; how many requests' reserve is asked for, and granted."""
        before = len(bench.house.asked)
        while len(bench.house.asked) == before:
            bench.want("b", 100, USER, 0)
        want = bench.house.asked[-1].user_want
        bench.grant(granted + want)
        return want // 100

    bench.want("a", 100, USER, 0)
    bench.grant(6500)
    wants = []
    for pause_ms in (0, 100, 100, *[100] * 8, REFILL_MS):
        bench.now += pause_ms
        wants.append(refill(bench.desk.users[USER].granted))
    assert wants == [WANT_HOLDS, 2 * WANT_HOLDS, 4 * WANT_HOLDS, 512, 1024, 2048, *[WANT_HOLDS_MAX] * 5, WANT_HOLDS]
    assert not bench.desk.users[USER].tight


def test_a_big_wish_that_is_not_granted_in_full_makes_no_lease_tight(bench: Bench) -> None:
    """There is still more than the first, small wish; less than that, and surpluses go back at once."""
    for granted, tight in ((100 * WANT_HOLDS, False), (100 * WANT_HOLDS - 1, True)):
        bench = Bench()
        bench.want("a", 100, USER, 0)
        bench.grant(6500)
        total = 6500
        for more in (100 * WANT_HOLDS, granted):
            before = len(bench.house.asked)
            while len(bench.house.asked) == before:
                bench.want("b", 100, USER, 0)
            total += more
            bench.grant(total)
        assert bench.house.asked[-1].user_want == 200 * WANT_HOLDS
        assert bench.desk.users[USER].tight is tight


def test_close_returns_everything(bench: Bench) -> None:
    """A clean stop."""
    bench.want("a", 100)
    bench.grant(1000, 300)
    bench.desk.close()
    assert bench.house.returned == [Return("user", USER, 900), Return("token", TOKEN, 200)]


# No overshoot, whatever happens


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["want", "answer", "settle", "recall", "tick", "lose", "repeat"]), st.integers(0, 150)
        ),
        max_size=120,
    ),
    st.integers(0, 2000),
)
def test_no_overshoot(steps: list[tuple[str, int]], limit: int) -> None:
    """Any order of wishes, answers (late, lost, repeated), settles and recalls: never is more held and drawn than
    was granted, never more granted than the limit, and each who wished is told exactly once."""
    bench = Bench()
    granted = drawn = asked = 0
    waiting: list[Ask] = []
    holds: dict[str, int] = {}
    amounts: dict[str, int] = {}
    last: Grant | None = None
    for number, (step, value) in enumerate(steps):
        if step == "want":
            name = f"w{number}"
            amounts[name] = value + 1
            asked += 1
            bench.want(name, value + 1, USER, 0)
        elif step == "answer" and waiting:
            ask = waiting.pop(value % len(waiting))
            returned = bench.desk.users[USER].returned if USER in bench.desk.users else 0
            left = limit - (granted - returned)
            if left >= ask.user_need:
                granted += min(left, ask.user_want)
            last = Grant(ask.n, "ok" if left >= ask.user_need else "denied", granted, 0, "user")
            bench.desk.granted(last)
        elif step == "settle" and holds:
            name, hold = holds.popitem()
            drawn += bench.desk.settle(bench.desk.users, USER, hold, value)
        elif step == "recall":
            bench.desk.recall("user", USER)
        elif step == "tick":
            bench.now += value * 200
            bench.desk.sweep()
        elif step == "lose":
            waiting.clear()
            bench.house.asked.clear()
            bench.desk.link_lost()
            bench.desk.link_up()
        elif step == "repeat" and last is not None:
            bench.desk.granted(last)
        waiting += bench.house.asked
        bench.house.asked.clear()
        for name, status in bench.heard:
            if status == 0 and name in amounts:
                holds[name] = amounts.pop(name)
            else:
                amounts.pop(name, None)
        lease = bench.desk.users.get(USER)
        if lease is not None:
            assert lease.free >= 0
            assert lease.held == sum(holds.values())
            assert lease.drawn == drawn
            assert lease.granted <= granted
            assert drawn + lease.held <= limit
    bench.desk.link_lost()
    bench.now += AWAY_MS_MAX + 1
    bench.desk.sweep()
    names = [name for name, _ in bench.heard]
    assert len(names) == len(set(names)) == asked
