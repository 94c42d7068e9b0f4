"""The matrix holds: every dialect into every other, over the recordings, without a failure.

Here over every BURNCLOUD_MATRIX-th recording (default 4; 1 takes them all, as `python -m tests.wire.matrix` does).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from burncloud.adaptors import canon
from tests.wire.asked import changed
from tests.wire.explained import unexplained
from tests.wire.heard import HEARD
from tests.wire.matrix import Cell, Matrix, answers, attempt, page, requests
from tests.wire.recordings import ABSENT, index

STEP = int(os.environ.get("BURNCLOUD_MATRIX", "4"))
SAVED = Path(__file__).parents[2] / "docs" / "evidence" / "matrix.txt"
needs_recordings = pytest.mark.skipif(not index(), reason=ABSENT)


def failures(matrix: Matrix) -> list[str]:
    """A line for each translation that failed."""
    return [f"{one} → {other}: {line}" for (one, other), cell in matrix.items() for line in cell.failed]


@needs_recordings
@pytest.mark.timeout(900)
def test_answers() -> None:
    matrix = answers(STEP)
    assert not failures(matrix)
    assert {inbound for _, inbound in matrix} == set(HEARD) == set(canon.INBOUND)
    assert sum(cell.total for cell in matrix.values()) > 3000 / STEP


@needs_recordings
@pytest.mark.timeout(900)
def test_requests() -> None:
    matrix = requests(STEP)
    assert not failures(matrix)
    assert {upstream for _, upstream in matrix} == set(canon.DIALECTS)
    assert sum(cell.total for cell in matrix.values()) > 4000 / STEP


def test_a_silent_loss_is_seen() -> None:
    """The judge itself: what is gone without its name is told, what is named is not."""
    before = canon.Request("m", [canon.Turn("user", [canon.Text("hi")])], seed=7, user="u")
    after = canon.Request("m", [canon.Turn("user", [canon.Text("hi!")])])
    differences = changed(before, after)
    assert set(differences) == {"texts", "seed", "user"}
    assert set(unexplained(differences, {"seed", "first_turn"}, "m")) == {"user"}


def test_what_fails_is_counted_and_told() -> None:
    cell = Cell()

    def broken() -> canon.Losses:
        raise ValueError("no")

    attempt(cell, "a", broken)
    attempt(cell, "b", canon.Losses)
    attempt(cell, "c", lambda: canon.Losses(["seed"]))
    assert (cell.fine, cell.lossy_count, len(cell.failed), cell.total) == (1, 1, 1, 3)
    assert "FAILED answers chat → gemini: a: ValueError: no" in page({("chat", "gemini"): cell}, {})


def test_the_saved_page_is_of_these_dialects() -> None:
    """docs/evidence/matrix.txt: `python -m tests.wire.matrix > docs/evidence/matrix.txt`."""
    text = SAVED.read_text()
    assert "FAILED" not in text
    assert all(f"\n{dialect} " in text for dialect in canon.DIALECTS)
