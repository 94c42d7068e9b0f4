"""Days and months of UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from burncloud.domain.budgets import DAILY, MONTHLY, first_day, left_s

DAY_S = 86_400


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("now", "month", "next_month"),
    [
        ("2026-11-22T21:00:00", "2026-11-01", "2026-12-01"),
        ("2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("2028-02-29T00:00:00", "2028-02-01", "2028-03-01"),
        ("2027-01-01T00:00:00", "2027-01-01", "2027-02-01"),
    ],
)
def test_the_periods(now: str, month: str, next_month: str) -> None:
    now_s = at(now)
    assert first_day(DAILY, now_s) == at(now[:10]) // DAY_S
    assert first_day(MONTHLY, now_s) == at(month) // DAY_S
    assert left_s(DAILY, now_s) == at(now[:10]) + DAY_S - now_s > 0
    assert left_s(MONTHLY, now_s) == at(next_month) - now_s > 0
