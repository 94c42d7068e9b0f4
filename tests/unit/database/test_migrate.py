"""The schema as the migrations make it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from burncloud.database import migrate
from burncloud.database.engine import Database, DatabaseError, open_database
from burncloud.database.migrate import HEAD, MIGRATIONS, ensure_schema
from burncloud.database.schema import metadata


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'new.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_migrated_is_what_the_schema_says(db: Database) -> None:
    def plain_defaults(context: Any, one: Any, two: Any, *_: Any) -> bool | None:
        return None if "json" not in str(two.type).lower() else False  # PostgreSQL cannot compare JSON with =

    def compare(connection: Any) -> list[Any]:
        opts = {"compare_type": True, "compare_server_default": plain_defaults}
        context = MigrationContext.configure(connection, opts=opts)
        return list(compare_metadata(context, metadata))

    async with db.read() as connection:
        assert await connection.run_sync(compare) == []


async def test_without_rowid_is_kept(sqlite_url: str) -> None:
    """The comparison above does not see it, and the booking's cost rests on it."""
    db = open_database(sqlite_url)
    async with db.read() as connection:
        for table in metadata.tables.values():
            sql = (
                await connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :n"), {"n": table.name})
            ).scalar_one()
            assert ("WITHOUT ROWID" in sql) == (table.dialect_options["sqlite"]["with_rowid"] is False), table.name
            assert ("AUTOINCREMENT" in sql) == (table.dialect_options["sqlite"]["autoincrement"] is True), table.name
    await db.close()


async def test_several_processes_may_start_at_once(empty_url: str) -> None:
    databases = [open_database(empty_url) for _ in range(4)]
    await asyncio.gather(*map(ensure_schema, databases))
    async with databases[0].read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).all() == [(HEAD,)]
        assert len((await connection.execute(text("SELECT value FROM meta WHERE key = 'ledger'"))).scalar_one()) == 32
    await asyncio.gather(*(db.close() for db in databases))


async def test_limits_of_what_is_gone_go_with_an_upgrade(empty_url: str) -> None:
    """They outlived it once, and a new group of the name had them."""
    db = open_database(empty_url)

    def older(connection: Any) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")

    async with db.begin() as connection:
        await connection.run_sync(older)
        await connection.execute(text("INSERT INTO users (id, name) VALUES (1, 'kept')"))
        await connection.execute(text("INSERT INTO users (id, name, deleted_at) VALUES (2, 'gone', 1)"))
        await connection.execute(text("INSERT INTO groups (name) VALUES ('kept')"))
        for name in ("user:1", "user:2", "group:kept", "group:gone", "model:m", "token:1", "channel:1"):
            await connection.execute(text("INSERT INTO limits (name) VALUES (:name)"), {"name": name})
        for scope in ("*", "group:kept", "group:gone", "token:1"):
            row = {"name": f"{scope} *", "scope": scope}
            await connection.execute(text("INSERT INTO policies (name, scope) VALUES (:name, :scope)"), row)
    await ensure_schema(db)
    async with db.read() as connection:
        limits = (await connection.execute(text("SELECT name FROM limits ORDER BY name"))).scalars().all()
        policies = (await connection.execute(text("SELECT scope FROM policies ORDER BY scope"))).scalars().all()
    assert (limits, policies) == (["group:kept", "model:m", "user:1"], ["*", "group:kept"])
    await db.close()


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    db = open_database(f"sqlite:{tmp_path}/depp/er/new.db")
    with pytest.raises(DatabaseError, match=r"the folder .*/depp/er of the database new\.db does not exist"):
        await ensure_schema(db)
    await db.close()
    assert not (tmp_path / "depp").exists()


async def test_nothing_is_done_twice(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("upgraded again")

    monkeypatch.setattr(migrate, "_upgrade", fail)
    await ensure_schema(db)


async def test_a_newer_database_is_refused(db: Database) -> None:
    async with db.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="9999"):
        await ensure_schema(db)
