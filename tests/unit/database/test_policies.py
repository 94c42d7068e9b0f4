"""SQL of policies, on both engines."""

from __future__ import annotations

from burncloud.database import policies
from burncloud.database.engine import Database
from burncloud.database.policies import PolicyRow
from tests.unit.database.sql import all_changes


async def test_set_again_and_forgotten(db: Database) -> None:
    row = PolicyRow("group:vip claude-*", "group:vip", "claude-*", "cheapest", "", {"context": ["a", "b"]})
    other = PolicyRow("* *", "*", "*", affinity="off")
    async with db.begin() as conn:
        assert await policies.get_policy(conn, row.name) is None
        await policies.update_policy(conn, PolicyRow(row.name, row.scope, row.models, "weighted"))
        await policies.update_policy(conn, row)
        await policies.update_policy(conn, other)
        assert await policies.get_policy(conn, row.name) == row
        assert sorted(one.name for one in await policies.list_policies(conn)) == sorted([row.name, other.name])
        await policies.delete_policy(conn, row.name)
        assert await policies.list_policies(conn) == [other]
    changes = await all_changes(db)
    assert changes.count(("policy", row.name)) == 3
    assert ("policy", "* *") in changes
