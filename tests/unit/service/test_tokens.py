"""The rules of tokens, on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from burncloud import clock
from burncloud.database.engine import Database
from burncloud.errors import INVALID_TOKEN, PERMISSION_DENIED, TOKEN_EXPIRED, Refusal
from burncloud.service import secrets, tokens, users
from tests.unit.database.sql import execute


@pytest_asyncio.fixture
async def alice(db: Database) -> AsyncIterator[Database]:
    await users.create_user(db, "alice")
    yield db


async def test_the_key_is_shown_once_and_only_its_hash_is_kept(alice: Database) -> None:
    made = await tokens.create_token(alice, "alice")
    assert made.token.hint == secrets.hint(made.key)
    assert (made.token.quota_limit, made.token.expires_at, made.token.models) == (-1, -1, None)
    stored = await execute(alice, "SELECT * FROM tokens")
    assert secrets.hash_token_key(made.key) in [bytes(v) for v in stored[0] if isinstance(v, (bytes, memoryview))]
    assert made.key not in str(stored)
    assert await tokens.get_token(alice, made.key) == await tokens.get_token(alice, str(made.token.id)) == made.token


async def test_all_that_can_be_said_of_a_token(alice: Database) -> None:
    made = await tokens.create_token(
        alice, "alice", "ci", 5, 2_000_000_000, ["gpt-4"], ["10.0.0.0/8", "::1"], "vip"
    )  # fmt: skip
    token = made.token
    assert (token.name, token.quota_limit, token.expires_at, token.group) == ("ci", 5, 2_000_000_000, "vip")
    assert (token.models, token.networks) == (["gpt-4"], ["10.0.0.0/8", "::1/128"])
    changed = await tokens.update_token(alice, str(token.id), {"models": None, "quota_limit": -1, "enabled": False})
    assert (changed.models, changed.quota_limit, changed.enabled) == (None, -1, False)
    assert (changed.name, changed.networks) == (token.name, token.networks)
    assert await tokens.update_token(alice, str(token.id), {}) == changed


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"quota_limit": -5}, "unlimited or between"),
        ({"networks": ["10.0.0.1/8"]}, "no network"),
        ({"networks": ["anywhere"]}, "no network"),
        ({"models": [""]}, "cannot be empty"),
        ({"models": ["a", "*b*"]}, "more than one star"),
        ({"name": "x" * 129}, "at most 128"),
        ({"group": "a b"}, "group's name"),
    ],
)
async def test_what_no_token_can_be(sqlite_db: Database, changes: dict[str, Any], sentence: str) -> None:
    await users.create_user(sqlite_db, "alice")
    token = (await tokens.create_token(sqlite_db, "alice")).token
    with pytest.raises(Refusal, match=sentence):
        await tokens.update_token(sqlite_db, str(token.id), changes)
    with pytest.raises(Refusal, match=sentence):
        await tokens.create_token(sqlite_db, "alice", **changes)
    assert await tokens.list_tokens(sqlite_db) == [token]


async def test_unknown_tokens_are_not_quoted(alice: Database) -> None:
    with pytest.raises(Refusal, match="no token '77'"):
        await tokens.get_token(alice, "77")
    key = secrets.new_token_key()
    with pytest.raises(Refusal) as caught:
        await tokens.get_token(alice, key)
    assert key not in caught.value.message
    with pytest.raises(Refusal, match="no user"):
        await tokens.create_token(alice, "bob")
    with pytest.raises(Refusal, match="no user"):
        await tokens.list_tokens(alice, "bob")


async def test_lists_by_user_and_deletes(alice: Database) -> None:
    await users.create_user(alice, "bob")
    mine, his = await tokens.create_token(alice, "alice"), await tokens.create_token(alice, "bob")
    assert await tokens.list_tokens(alice, "alice") == [mine.token]
    assert await tokens.list_tokens(alice) == [mine.token, his.token]
    assert await tokens.delete_token(alice, mine.key) == mine.token
    assert await tokens.list_tokens(alice) == [his.token]


async def test_holders(alice: Database) -> None:
    await users.create_user(alice, "boss", role="admin")
    key = (await tokens.create_token(alice, "boss")).key
    holder = await tokens.find_holder(alice, key, "203.0.113.9")
    assert (holder.name, holder.role) == ("boss", "admin")
    near = (await tokens.create_token(alice, "boss", networks=["10.0.0.0/8"])).key
    assert (await tokens.find_holder(alice, near, "::ffff:10.1.2.3")).name == "boss"
    for peer in ("11.0.0.1", "", "nonsense", "::1"):
        with pytest.raises(Refusal) as caught:
            await tokens.find_holder(alice, near, peer)
        assert caught.value.row is PERMISSION_DENIED


async def test_who_is_no_holder(alice: Database) -> None:
    made = await tokens.create_token(alice, "alice", expires_at=clock.now_s() + 100)
    id_ = str(made.token.id)

    async def refused() -> object:
        with pytest.raises(Refusal) as caught:
            await tokens.find_holder(alice, made.key, "")
        return caught.value.row

    assert (await tokens.find_holder(alice, made.key, "")).name == "alice"
    await tokens.update_token(alice, id_, {"expires_at": clock.now_s()})
    assert await refused() is TOKEN_EXPIRED
    await tokens.update_token(alice, id_, {"expires_at": -1, "enabled": False})
    assert await refused() is INVALID_TOKEN
    await tokens.update_token(alice, id_, {"enabled": True})
    await users.update_user(alice, "alice", {"enabled": False})
    assert await refused() is PERMISSION_DENIED
    await users.update_user(alice, "alice", {"enabled": True})
    await tokens.delete_token(alice, id_)
    assert await refused() is INVALID_TOKEN
