"""The wall clock is a day ahead, a day behind, or passes midnight under load (schedule 12 of docs/money.md)."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.slow.conftest import LONG, MakeHouse, both_engines
from tests.slow.kill_loop import KillLoop

DAY_MS = 86_400_000
MIDNIGHT_AFTER_MS = 8_000


@pytest.mark.timeout(300)
@both_engines
async def test_wrong_clocks(make_house: MakeHouse, engine: str) -> None:
    async with KillLoop(make_house(engine), 1) as loop:
        house = loop.house
        await loop.stop()
        for offset_ms in (DAY_MS, -DAY_MS) if LONG else (-DAY_MS,):
            await house.start(CLOCK_OFFSET_MS=str(offset_ms))
            await loop.round("random both")
            await loop.stop()
        to_midnight_ms = DAY_MS - time.time_ns() // 1_000_000 % DAY_MS
        midnight = time.monotonic() + MIDNIGHT_AFTER_MS / 1000
        await house.start(CLOCK_OFFSET_MS=str(to_midnight_ms - MIDNIGHT_AFTER_MS))
        await loop.round("random both")
        await asyncio.sleep(max(0.0, midnight - time.monotonic()))  # a quick round is over before
        await loop.round("random worker")
        await loop.stop()
        assert loop.tally.violations == []
        days = await house.ledger.fetch("SELECT DISTINCT day FROM receipts ORDER BY day")
        today = time.time_ns() // 1_000_000 // DAY_MS
        assert len(days[0]) >= 3
        assert {row[0] - today for row in days[0]} <= {-1, 0, 1, 2}
        hours = await house.ledger.fetch("SELECT sum(requests), sum(charge) FROM usage_hourly")
        sums = await house.ledger.fetch("SELECT count(*), sum(charge) FROM receipts")
        assert hours[0] == sums[0]
