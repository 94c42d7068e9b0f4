"""The rules of policies, on both engines."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.database.engine import Database
from burncloud.database.policies import PolicyRow
from burncloud.errors import Refusal
from burncloud.service import groups, policies, tokens, users


async def test_what_is_given_changes_the_rest_stays(db: Database) -> None:
    await groups.update_group(db, "vip", 1)
    await policies.update_policy(db, {"balance": "cheapest"}, "claude-*", group="vip")
    await policies.update_policy(db, {"fallbacks": {"context": ["long"]}}, "claude-*", group="vip")
    done = await policies.update_policy(db, {"fallbacks": {"unavailable": []}}, "claude-*", group="vip")
    name = "group:vip claude-*"
    said: dict[str, list[str]] = {"context": ["long"], "unavailable": []}
    assert done == PolicyRow(name, "group:vip", "claude-*", "cheapest", "", said)
    assert await policies.get_policy(db, "claude-*", group="vip") == done
    await policies.update_policy(db, {"fallbacks": {"context": None, "unavailable": None}}, "claude-*", group="vip")
    gone = await policies.update_policy(db, {"balance": ""}, "claude-*", group="vip")
    assert gone.balance == ""
    assert await policies.list_policies(db) == []  # one that says nothing is none


async def test_of_a_token(db: Database) -> None:
    await users.create_user(db, "alice")
    new = await tokens.create_token(db, "alice")
    row = await policies.update_policy(db, {"fallbacks": {"unavailable": ["b"]}}, "a", token=new.key)
    assert row.scope == f"token:{new.token.id}"
    assert await policies.delete_policy(db, "a", token=str(new.token.id)) == row
    with pytest.raises(Refusal, match="no such policy"):
        await policies.get_policy(db, "a", token=str(new.token.id))


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"balance": "best"}, {}, "no way to choose"),
        ({"affinity": "maybe"}, {}, "neither on nor off"),
        ({"balance": "weighted"}, {"models": "a*b*"}, "more than one star"),
        ({"balance": "weighted"}, {"models": ""}, "cannot be a model's name"),
        ({"balance": "weighted"}, {"token": "1"}, "share its channels"),
        ({"fallbacks": {"never": ["a"]}}, {}, "no reason"),
        ({"fallbacks": {"context": ["a-*"]}}, {}, "without a star"),
        ({"fallbacks": {"context": ["b", "a"]}}, {"models": "a"}, "stand in for itself"),
        ({"fallbacks": {"context": ["a"] * 9}}, {}, "At most 8"),
        ({"fallbacks": {}}, {"token": "1", "group": "default"}, "not for both"),
        ({"balance": "weighted"}, {"group": "nobody"}, "no group"),
    ],
)
async def test_what_cannot_be(db: Database, changes: dict[str, Any], where: dict[str, str], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        await policies.update_policy(db, changes, **where)
