"""The rules of groups, on both engines."""

from __future__ import annotations

import pytest

from burncloud.database.engine import Database
from burncloud.database.groups import GroupRow
from burncloud.errors import Refusal
from burncloud.service import groups, tokens, users


async def test_set_makes_and_changes(db: Database) -> None:
    assert await groups.update_group(db, "vip", 800_000) == GroupRow("vip", 800_000)
    assert await groups.update_group(db, "vip", 0) == await groups.get_group(db, "vip") == GroupRow("vip", 0)
    for name, ratio in (("", 1), ("a b", 1), ("vip", -1), ("vip", 1000 * 1_000_000 + 1)):
        with pytest.raises(Refusal):
            await groups.update_group(db, name, ratio)


async def test_a_group_goes_only_when_nobody_is_in_it(db: Database) -> None:
    await groups.update_group(db, "vip", 800_000)
    await users.create_user(db, "alice", group="vip")
    await tokens.create_token(db, "alice", group="vip")
    with pytest.raises(Refusal, match="1 users, 1 tokens and 0 channels"):
        await groups.delete_group(db, "vip")
    await users.delete_user(db, "alice")
    assert await groups.delete_group(db, "vip") == GroupRow("vip", 800_000)
    with pytest.raises(Refusal, match="no group"):
        await groups.get_group(db, "vip")


async def test_default_stays(db: Database) -> None:
    await users.create_user(db, "alice")
    with pytest.raises(Refusal, match="cannot be deleted"):
        await groups.delete_group(db, "default")


async def test_naming_a_group_leaves_its_ratio_alone(db: Database) -> None:
    await groups.update_group(db, "vip", 800_000)
    await users.create_user(db, "alice", group="vip")
    assert await groups.get_group(db, "vip") == GroupRow("vip", 800_000)
