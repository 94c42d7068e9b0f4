"""A few rounds of the kill loop; the long run is `python -m tests.slow.kill_loop` (docs/money.md).

KILL_ROUNDS and KILL_SEED set how many a engine, and which.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from burncloud.crash import POINTS
from tests.slow.conftest import MakeHouse
from tests.slow.kill_loop import KillLoop, Tally, added_up, table
from tests.slow.kills import BETWEEN, COUNTS, RELOADS, WAYS

ROUNDS = int(os.environ.get("KILL_ROUNDS", "3"))
SEED = int(os.environ.get("KILL_SEED", "1"))


def test_every_crash_point_is_a_way_to_kill() -> None:
    assert set(COUNTS) == set(POINTS)
    assert set(POINTS) <= set(WAYS)


def test_a_run_in_pieces_is_counted_as_one(tmp_path: Path) -> None:
    added_up(Tally(rounds=2, states=Counter(done=3), violations=["one"], seeds=[2]), tmp_path / "tally")
    total = added_up(Tally(rounds=2, states=Counter(done=3), seeds=[1]), tmp_path / "tally")
    assert total == Tally(rounds=4, states=Counter(done=6), violations=["one"], seeds=[1, 2])
    assert "seeds         1, 2" in table(total, "")


@pytest.mark.timeout(120 + 60 * ROUNDS)
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_no_crash_loses_or_doubles_money(make_house: MakeHouse, engine: str) -> None:
    async with KillLoop(make_house(engine, workers=2), SEED) as loop:
        tally = await loop.run(ROUNDS)
    tally.seeds = [SEED]
    print(table(tally, f"kill loop on {engine}"))
    assert tally.violations == []
    assert tally.rounds == ROUNDS
    assert tally.outcomes["complete"]
    assert tally.states["done"]


@pytest.mark.timeout(120 + 60 * ROUNDS)
async def test_a_kill_between_attempts(make_house: MakeHouse) -> None:
    """MONEY.md §8, schedule 11: failovers, hedges, reconnects, clients that leave, streams that break and go on."""
    async with KillLoop(make_house("sqlite", workers=1), SEED) as loop:
        tally = await loop.run(ROUNDS, BETWEEN)
    print(table(tally, "kills between attempts"))
    assert tally.violations == []
    assert tally.points.keys() <= set(BETWEEN)
    assert {"failover", "hedge", "continue", "reconnect"} <= tally.sends.keys()
    assert tally.states["cut"]


@pytest.mark.timeout(120 + 60 * ROUNDS)
async def test_a_kill_in_a_reload(make_house: MakeHouse) -> None:
    """MONEY.md §8, schedule 3: supervisor, control, an old or a new worker, or all; then a reload or a start works."""
    async with KillLoop(make_house("sqlite", workers=2), SEED) as loop:
        tally = await loop.run(ROUNDS, list(RELOADS))
    print(table(tally, "kills in a reload"))
    assert tally.violations == []
    assert tally.rounds == ROUNDS
    assert tally.outcomes["complete"]
