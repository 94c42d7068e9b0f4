"""The kill loop's judges, on made-up ledgers: each lie must be noticed, the truth must not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.slow.invariants import Account, judge, judge_books, judge_stopped, refusals
from tests.slow.kinds import PRICE
from tests.slow.ledger import Attempt, Books, Lease, Receipt
from tests.slow.load import Sent

DONE = Receipt("r1-1", 1, 5, "done", PRICE, PRICE, 2, 3, False, False, (Attempt(1, "first", 1, PRICE),))
INTERRUPTED = DONE._replace(state="interrupted", attempts=(Attempt(1, "first", 2, PRICE),))
FAILED = DONE._replace(state="failed", charge=0, attempts=(Attempt(1, "first", 1, 0),))
RECONNECTED = DONE._replace(attempts=(Attempt(1, "first", 2, 0), Attempt(2, "reconnect", 1, PRICE)))


def sent(outcome: str, kind: str = "fixed", account: str = "free") -> Sent:
    return Sent("r1-1", kind, account, 10.0, 11.0, outcome)


@pytest.mark.parametrize(
    ("outcome", "seen", "rows"),
    [
        ("complete", 1, [DONE]),
        ("complete", 1, [RECONNECTED]),
        ("complete", 2, [RECONNECTED]),
        ("broken", 1, [DONE]),
        ("broken", 1, [INTERRUPTED]),
        ("broken", 0, [INTERRUPTED]),
        ("broken", 0, []),
        ("refused", 0, []),
        ("402", 0, []),
        ("503", 1, [FAILED]),
        ("503", 0, [FAILED._replace(attempts=())]),
    ],
)
def test_the_truth_is_believed(outcome: str, seen: int, rows: list[Receipt]) -> None:
    assert judge([sent(outcome)], {"r1-1": seen} if seen else {}, rows) == []


@pytest.mark.parametrize(
    ("outcome", "seen", "rows", "word"),
    [
        ("broken", 1, [], "no row"),
        ("complete", 0, [], "answered, but has no row"),
        ("complete", 1, [DONE, DONE], "2 rows"),
        ("complete", 1, [INTERRUPTED], "row is interrupted"),
        ("complete", 1, [DONE._replace(charge=1, attempts=(Attempt(1, "first", 1, 1),))], "charged 1"),
        ("complete", 1, [DONE._replace(attempts=(Attempt(1, "first", 1, 7),))], "not the sum"),
        ("complete", 1, [DONE._replace(late=True)], "had been closed"),
        ("broken", 0, [DONE], "received it 0 x"),
        ("503", 1, [FAILED._replace(attempts=())], "received it 1 x"),
        ("broken", 2, [DONE], "received it 2 x"),
        ("broken", 2, [INTERRUPTED], "received it 2 x"),
        ("broken", 1, [DONE._replace(attempts=INTERRUPTED.attempts)], "said to be unknown"),
        ("cut", 1, [DONE], "told of a break"),
        ("402", 1, [DONE], "was refused"),
        ("503", 1, [FAILED._replace(charge=1, attempts=(Attempt(1, "first", 1, 1),))], "nobody answered"),
        ("broken", 1, [INTERRUPTED._replace(charge=0, attempts=(Attempt(1, "first", 2, 0),))], "interrupted, and"),
        ("complete", 1, [DONE, DONE._replace(id="else")], "no client asked for"),
    ],
)
def test_lies_are_noticed(outcome: str, seen: int, rows: list[Receipt], word: str) -> None:
    assert any(word in fault for fault in judge([sent(outcome)], {"r1-1": seen} if seen else {}, rows))


def test_a_stranger_at_the_upstream_is_noticed() -> None:
    assert judge([], {"r1-9": 1}, []) == ["r1-9: the upstream saw a request that no client sent"]


def test_after_a_loss_of_power() -> None:
    """The last interval may be gone, but an older intent may not; and nothing is there twice."""
    seen = {"r1-1": 1}
    assert judge([sent("complete")], seen, [], lost=["r1-1"]) == []
    assert judge([sent("complete")], seen, [INTERRUPTED], shaken=["r1-1"]) == []
    assert judge([sent("broken")], seen, [], shaken=["r1-1"])
    assert judge([sent("broken")], seen, [DONE, DONE], lost=["r1-1"])


BOOKS = Books(
    1, PRICE, {("user", 2): (PRICE, 0), ("token", 3): (PRICE, 5)}, {("user", 2): PRICE, ("token", 3): PRICE},
    [Lease(1, "token", 3, PRICE + 5, PRICE, 0)], 1, 0,
)  # fmt: skip
ACCOUNTS = {"a": Account(3, 2, 2 * PRICE, -1)}


@pytest.mark.parametrize(
    "change",
    [
        {"receipts": 2},
        {"balances": BOOKS.balances | {("user", 2): (PRICE + 1, 0)}},
        {"balances": BOOKS.balances | {("user", 2): (PRICE, -1)}},
        {"used": BOOKS.used | {("channel", 1): 1}},
        {"leases": [Lease(1, "token", 3, 4, 5, 0)]},
        {"quarantined": 1},
        {"open_journals": 2},
    ],
)
def test_sums(change: dict[str, Any]) -> None:
    assert judge_books(BOOKS, ACCOUNTS, 1, 1) == []
    assert judge_books(BOOKS._replace(**change), ACCOUNTS, 1, 1)


def test_an_overspent_account_is_noticed() -> None:
    assert judge_books(BOOKS, {"a": Account(3, 2, PRICE - 1, -1)}, 1, 1)
    assert judge_books(BOOKS, {"a": Account(3, 2, -1, PRICE - 1)}, 1, 1)


def test_a_stop_leaves_nothing_on_lease() -> None:
    clean = BOOKS._replace(balances={("user", 2): (PRICE, 0)}, leases=[], open_journals=0)
    assert judge_stopped(clean) == []
    assert len(judge_stopped(BOOKS)) == 3


def test_a_false_refusal_is_noticed() -> None:
    assert refusals([sent("402", account="rich")], ["rich"])
    assert refusals([sent("401")], [])
    assert refusals([sent("402", account="poor"), sent("503"), sent("complete")], ["rich"]) == []
