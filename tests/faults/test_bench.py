"""The quick version of the bench: every row but the longest, by one caller each, and proof that a row can be red."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.bench import cases, play
from tests.faults.table import ROWS

TURNS: Final = ("chat", "messages", "responses", "gemini")
QUICK: Final = [row.name for row in ROWS if row.quick]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The scorecard of the quick version: a row's caller is the chat SDK, or the row's only one."""
    chosen = [
        case for case in cases(quick=True, crossed=False)
        if case.caller == next(turn for turn in TURNS if turn in case.row.callers)
    ]  # fmt: skip
    return asyncio.run(play(tmp_path_factory.mktemp("faults"), chosen))


def test_the_ledger_adds_up(card: dict[str, Any]) -> None:
    """After everything that went wrong."""
    assert card["ledger"] == "adds up"


@pytest.mark.parametrize("name", QUICK)
def test_row(card: dict[str, Any], name: str) -> None:
    """What was written down for it is what came of it."""
    red = [line for line in card["cases"] if line["row"] == name and not line["green"]]
    assert not red, "\n".join(f"{line['way']}: {complaint}" for line in red for complaint in line["complaints"])


def test_rows_can_be_red(tmp_path: Path) -> None:
    """A product that never tries a second time, waits for ever and blames nobody is seen through."""
    only = ("500", "reset", "429-bare", "head-cut", "black-hole", "503-burst")
    chosen = cases(only, ["chat"], crossed=False)
    card = asyncio.run(play(tmp_path, chosen, settings={"ATTEMPTS_MAX": "1", "CONNECT_TIMEOUT_MS": "6000"}))
    assert {line["row"] for line in card["cases"] if line["green"]} == set()
    assert card["ledger"] == "adds up"
