"""SQL of tokens, on both engines."""

from __future__ import annotations

from burncloud.database import tokens
from burncloud.database.engine import Database
from tests.unit.database.sql import add_token, add_user, all_changes


async def test_a_token_is_made_with_a_balance_and_found(db: Database) -> None:
    user = await add_user(db, "alice")
    models, networks = ["gpt-4"], ["10.0.0.0/8"]
    token = await add_token(db, user, 7, name="ci", quota_limit=5, models=models, networks=networks, created_at=9)
    expected = tokens.TokenRow(
        token, "sk-…abcd", "ci", user, "alice", 5, 0, 0, -1, "", models, networks, True, 9, {}
    )  # fmt: skip
    async with db.read() as conn:
        assert await tokens.get_token(conn, token) == expected
        assert await tokens.find_token(conn, bytes([7]) * 32) == expected
        assert await tokens.find_token(conn, bytes([8]) * 32) is None
        assert await tokens.list_tokens(conn, user) == [expected]
        assert await tokens.list_tokens(conn, user + 1) == []


async def test_the_snapshot_reads_pages_and_ids(db: Database) -> None:
    user = await add_user(db, "alice")
    plain = await add_token(db, user, 1)
    narrow = await add_token(db, user, 2, models=["a"], networks=["::1/128"], expires_at=99, group="vip", enabled=False)
    async with db.read() as conn:
        rows = list(await tokens.snapshot_tokens(conn, 0, 10))
        assert rows[0] == (plain, bytes([1]) * 32, user, True, -1, -1, "", None, "[]", "{}")
        assert rows[1] == (narrow, bytes([2]) * 32, user, False, -1, 99, "vip", '["a"]', '["::1/128"]', "{}")
        assert [row[0] for row in await tokens.snapshot_tokens(conn, plain, 10)] == [narrow]
        assert list(await tokens.snapshot_tokens(conn, ids=[plain])) == rows[:1]


async def test_models_can_be_narrowed_and_opened_again(db: Database) -> None:
    token = await add_token(db, await add_user(db, "alice"))
    for models, text in ((["a"], '["a"]'), (None, None)):
        async with db.begin() as conn:
            await tokens.update_token(conn, token, {"models": models})
        async with db.read() as conn:
            assert (await tokens.snapshot_tokens(conn, ids=[token]))[0][7] == text


async def test_deleting_one_and_all_of_a_user(db: Database) -> None:
    user, other = await add_user(db, "alice"), await add_user(db, "bob")
    mine = [await add_token(db, user, n) for n in (1, 2, 3)]
    his = await add_token(db, other, 4)
    async with db.begin() as conn:
        await tokens.delete_token(conn, mine[0], 5)
        assert await tokens.delete_tokens_of(conn, user, 6) == 2
    async with db.read() as conn:
        assert [token.id for token in await tokens.list_tokens(conn)] == [his]
        assert await tokens.find_token(conn, bytes([1]) * 32) is None
    assert {("token", str(token)) for token in mine} <= set(await all_changes(db))
