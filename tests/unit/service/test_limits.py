"""What may be limited, by what, and what workers hear of it."""

from __future__ import annotations

import pytest

from burncloud.database.engine import Database
from burncloud.database.limits import LimitRow
from burncloud.domain.snapshot import Limit
from burncloud.errors import Refusal
from burncloud.service import groups, limits, tokens, users
from tests.unit.service.test_snapshots import Following


async def test_set_shown_and_taken_away(db: Database) -> None:
    await users.ensure_admin(db)
    token = (await tokens.create_token(db, "admin")).token.id
    done = await limits.update_limits(db, "token", str(token), {"requests": 60, "budget_daily": 5})
    assert done.row == LimitRow(f"token:{token}", 60, budget_daily=5)
    await limits.update_limits(db, "user", "admin", {"tokens": 7})
    await groups.update_group(db, "vip", None)
    await limits.update_limits(db, "group", "vip", {"concurrency": 0})
    await limits.update_limits(db, "model", "gpt-4", {"requests": 1})
    assert [(one.kind, one.name) for one in await limits.list_limits(db)] == [
        ("group", "vip"), ("model", "gpt-4"), ("token", str(token)), ("user", "1"),
    ]  # fmt: skip
    assert [one.name for one in await limits.list_limits(db, "model")] == ["gpt-4"]
    await limits.update_limits(db, "token", str(token), {"requests": -1, "budget_daily": -1})
    assert (await limits.get_limits(db, "token", str(token))).row == LimitRow(f"token:{token}")
    assert await limits.list_limits(db, "token") == []


@pytest.mark.parametrize(
    ("kind", "which", "changes", "said"),
    [
        ("planet", "mars", {}, "cannot be limited"),
        ("group", "default", {"budget_daily": 5}, "no budget"),
        ("token", "9", {"requests": 5}, "no token"),
        ("group", "nobody", {"requests": 5}, "no group"),
        ("channel", "none", {"requests": 5}, "no channel"),
        ("user", "admin", {"requests": -2}, "between"),
        ("model", "", {"requests": 1}, "model"),
    ],
)
async def test_what_cannot_be(db: Database, kind: str, which: str, changes: dict[str, int], said: str) -> None:
    await users.ensure_admin(db)
    with pytest.raises(Refusal, match=said):
        await limits.update_limits(db, kind, which, changes)


async def test_workers_hear_of_it(db: Database) -> None:
    await users.ensure_admin(db)
    token = (await tokens.create_token(db, "admin")).token.id
    await limits.update_limits(db, "model", "m", {"tokens": 9})
    async with Following(db) as following:
        world = following.world
        assert world.of("limit") == {"model:m": Limit("model:m", -1, 9)}
        assert not world.of("token")[token].limited
        await limits.update_limits(db, "token", str(token), {"requests": 60, "budget_daily": 5})
        await following.sees(lambda: world.of("limit").get(f"token:{token}") == Limit(f"token:{token}", 60))
        await following.sees(lambda: world.of("token")[token].limited)
        await limits.update_limits(db, "token", str(token), {"requests": -1, "budget_daily": -1})
        await following.sees(lambda: set(world.of("limit")) == {"model:m"})
        await following.sees(lambda: not world.of("token")[token].limited)
