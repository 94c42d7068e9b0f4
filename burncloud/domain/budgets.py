"""The periods that budgets are for: days and months of UTC, by number of the day since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

DAY_S: Final = 86_400
DAILY: Final = "daily"
MONTHLY: Final = "monthly"


def first_day(period: str, now_s: int) -> int:
    """The day on which the current period began."""
    today = now_s // DAY_S
    if period == DAILY:
        return today
    return today - (datetime.fromtimestamp(now_s, UTC).day - 1)


def left_s(period: str, now_s: int) -> int:
    """Seconds until the next period begins, 1 at least."""
    if period == DAILY:
        next_day = now_s // DAY_S + 1
    else:
        now = datetime.fromtimestamp(now_s, UTC)
        later = now.replace(year=now.year + now.month // 12, month=now.month % 12 + 1, day=1)
        next_day = int(later.timestamp()) // DAY_S
    return next_day * DAY_S - now_s
