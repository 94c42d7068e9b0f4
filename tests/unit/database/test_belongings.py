"""What is deleted takes along what was said of it, on both engines."""

from __future__ import annotations

from burncloud.database import limits, policies
from burncloud.database.belongings import forget, forget_tokens_of
from burncloud.database.engine import Database
from burncloud.database.limits import LimitRow
from burncloud.database.policies import PolicyRow
from tests.unit.database.sql import add_token, add_user


async def test_only_its_own(db: Database) -> None:
    user = await add_user(db, "alice")
    tokens = [await add_token(db, user, n) for n in (1, 2)]
    scopes = ["group:g", "group:g2", f"user:{user}", *(f"token:{token}" for token in tokens), "token:99"]
    async with db.begin() as conn:
        for scope in scopes:
            await limits.update_limits(conn, LimitRow(scope, 1))
            await policies.update_policy(conn, PolicyRow(f"{scope} *", scope, "*", "cheapest"))
        await forget(conn, "group:g")
        await forget_tokens_of(conn, user)
        left = ["group:g2", "token:99", f"user:{user}"]
        assert [row.name for row in await limits.list_limits(conn)] == left
        assert [row.scope for row in await policies.list_policies(conn)] == left
        assert [row.scope for row in await policies.list_policies(conn, ["group:g2 *", "group:g *"])] == ["group:g2"]
