"""What may be limited, by what, and what workers hear of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from burncloud.database import limits as rows
from burncloud.database import policies as policy_rows
from burncloud.database.connection import Conn
from burncloud.database.engine import Database
from burncloud.database.limits import LimitRow
from burncloud.database.policies import PolicyRow
from burncloud.domain.snapshot import Limit
from burncloud.errors import Refusal
from burncloud.service import channels, groups, limits, policies, tokens, users
from burncloud.service.secrets import MasterKey
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


async def test_they_go_with_what_they_belong_to(db: Database) -> None:
    """A new group of the same name has none."""
    await users.create_user(db, "alice")
    master = MasterKey(bytes(32))
    channel = await channels.create_channel(db, master, "openai", ["sk-1"], {"m": "m"})
    one, other = [str((await tokens.create_token(db, "alice")).token.id) for _ in range(2)]
    for kind, which in (("token", one), ("token", other), ("user", "alice"), ("channel", str(channel.id))):
        await limits.update_limits(db, kind, which, {"requests": 5})
    await groups.update_group(db, "g1", None)
    await limits.update_limits(db, "group", "g1", {"requests": 5})
    await policies.update_policy(db, {"balance": "cheapest"}, group="g1")
    await tokens.delete_token(db, one)
    await groups.delete_group(db, "g1")
    await channels.delete_channel(db, str(channel.id))
    assert [row.name for row in await limits.list_limits(db, "token")] == [other]
    await users.ensure_admin(db)
    await users.delete_user(db, "alice")
    assert await limits.list_limits(db) == []
    assert await policies.list_policies(db) == []


async def test_what_outlived_its_token_can_be_taken_away(db: Database) -> None:
    async with db.begin() as conn:
        for name in ("token:2", "group:gone"):
            await rows.update_limits(conn, LimitRow(name, 5))
        await policy_rows.update_policy(conn, PolicyRow("token:2 *", "token:2", "*"))
    await limits.update_limits(db, "token", "2", {"requests": -1})
    await limits.update_limits(db, "group", "gone", {"requests": -1})
    assert await limits.list_limits(db) == []
    assert (await policies.delete_policy(db, token="2")).scope == "token:2"
    with pytest.raises(Refusal, match="There is no token '2'"):
        await limits.update_limits(db, "token", "2", {"requests": -1})


async def test_a_change_of_one_reads_no_other(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be 100,000 of them."""
    seen: list[Sequence[str]] = []
    read = rows.list_limits

    async def spied(conn: Conn, kind: str = "", names: Sequence[str] = ()) -> list[LimitRow]:
        seen.append(names)
        return await read(conn, kind, names)

    async with Following(db) as following:
        monkeypatch.setattr(rows, "list_limits", spied)
        await limits.update_limits(db, "model", "gpt-4", {"requests": 1})
        await following.sees(lambda: following.world.of("limit"))
    assert seen == [["model:gpt-4"]]


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
        ("model", "gpt-*", {"requests": 1}, "star"),
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
