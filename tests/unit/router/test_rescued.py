"""One answer from several streams: one bill, and each attempt's part of it."""

from __future__ import annotations

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.reading import Reading
from burncloud.adaptors.record import Record, Room
from burncloud.adaptors.seam import Seam
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.told import Told
from burncloud.domain.journal import Attempt
from burncloud.domain.pricing import charge
from burncloud.domain.usage import Usage
from burncloud.router.rescued import Rescued
from tests.dialogue import PRICE

RATIO = 1_000_000


def rescued(usage: Usage | None, delivered: int, given: str = "") -> Rescued:
    """After a first stream that delivered so many tokens of text."""
    made = Rescued(Record(Room()), Reading(usage, False, "", False, delivered), 10, 0, b"")
    told = Told()
    told.note(canon.Opened(0, canon.Text("x" * 4 * delivered)))
    made.stood(told, SPOKEN["chat"].writer(Asked(canon.Request("m", []), ""), canon.Losses()))
    made.given = given
    return made


def ended(usage: Usage) -> Reading:
    return Reading(usage, True, "stop", False, 0)


def test_a_restart_counts_itself() -> None:
    """It told the whole answer: what it states is what is billed."""
    made = rescued(None, 5)
    assert made.used(ended(Usage(12, 30)), True) == (Usage(12, 30), False)


@pytest.mark.parametrize(("stated", "billed"), [
    (None, Usage(12 - 2, 5 + 30)),
    (Usage(3, 1, cache_read=8), Usage(3, 5 + 30, cache_read=8)),
])  # fmt: skip
def test_a_continuation_adds_up(stated: Usage | None, billed: Usage) -> None:
    """The prompt once, as the first stated it or without what the second was given; the output of both."""
    made = rescued(stated, 5, "x" * 8)
    assert made.used(ended(Usage(12, 30)), True) == (billed, True)


def test_a_model_that_tells_all_of_it_again() -> None:
    """Though it was given a beginning: its output is all of it, the beginning was prompt."""
    made = rescued(None, 5, "x" * 8)
    writer = SPOKEN["chat"].writer(Asked(canon.Request("m", []), ""), canon.Losses())
    made.seam = Seam(made.told, writer, made.given, False, made.bill)
    made.seam.repeated = True
    assert made.used(ended(Usage(12, 30)), True) == (Usage(12 - 2, 30), True)


def test_never_ended() -> None:
    """The prompt, and what was delivered."""
    made = rescued(None, 5, "x" * 8)
    made.told.note(canon.Delta(0, "y" * 40))
    assert made.used(None, False) == (Usage(10, 15), True)


@pytest.mark.parametrize("cost_factor", [0, 1, 3])
def test_the_parts_make_the_whole(cost_factor: int) -> None:
    """Whatever it costs; who brought nothing gets nothing."""
    made = rescued(None, 5, "x" * 8)
    made.told.note(canon.Delta(0, "y" * 40))
    made.broke(1)
    attempts = tuple(Attempt(n, n, n, "continue") for n in (1, 2, 3))
    usage, _ = made.used(None, False)
    cost = charge(PRICE, usage, RATIO) * cost_factor
    assert made.share(attempts, cost, PRICE, RATIO, False) is attempts[1]
    assert sum(attempt.charge for attempt in attempts) == cost
    assert attempts[2].charge == 0
    if cost_factor == 1:
        assert attempts[0].charge == charge(PRICE, Usage(10, 5), RATIO)
        assert attempts[1].charge == charge(PRICE, Usage(0, 10), RATIO)
