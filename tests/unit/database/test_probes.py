"""SQL of probes, on both engines."""

from __future__ import annotations

from sqlalchemy import text

from burncloud.database import probes
from burncloud.database.engine import Database, open_database
from burncloud.database.probes import ProbeRow
from tests.unit.database.sql import all_changes


async def test_asked_taken_and_done(db: Database) -> None:
    """Two servers: each test is run by one of them; the newest that is done is what is shown."""
    wanted = [ProbeRow(0, 100, 1, 7, model, "chat") for model in ("a", "b")]
    async with db.begin() as conn:
        await probes.ask_probes(conn, [ProbeRow(0, 10, 1, 7, "a", "chat")])
        first = await probes.ask_probes(conn, wanted)
        taken = await probes.take_probes(conn, "here", 50)
        assert [(row.id, row.model, row.state, row.node) for row in taken] == [
            (first[0], "a", "running", "here"), (first[1], "b", "running", "here"),
        ]  # fmt: skip
        assert await probes.take_probes(conn, "there", 50) == []
        await probes.end_probe(conn, first[0], {"ok": True})
        again = await probes.ask_probes(conn, wanted)
        await probes.end_probe(conn, again[0], {"ok": False})
        assert [row.state for row in await probes.get_probes(conn, [*first, *again])] == [
            "done", "running", "done", "asked",
        ]  # fmt: skip
        assert [(row.model, row.result) for row in await probes.newest_probes(conn, 1)] == [("a", {"ok": False})]
        assert await probes.newest_probes(conn, 2) == []
        assert len(await probes.newest_probes(conn)) == 1
    assert [change for change in await all_changes(db) if change[0] == "probe"][-1] == ("probe", str(again[1]))
    async with db.begin() as conn:
        await probes.prune_probes(conn, 50, 1)
        left = [(row.id, row.state) for row in await probes.get_probes(conn, range(1, 10))]
        assert left == [(first[1], "running"), (again[1], "asked")], "somebody waits for those"


async def test_many_at_once(db: Database) -> None:
    """One statement writes them, several read and take them; more may be looked for than PostgreSQL has parameters."""
    async with db.begin() as conn:
        ids = await probes.ask_probes(conn, [ProbeRow(0, 100, 1, n, "m", "chat") for n in range(501)])
        found = await probes.get_probes(conn, [*ids, *range(10_000, 50_000)])
        assert [(row.id, row.key) for row in found] == [(id_, n) for n, id_ in enumerate(ids)]
        assert [row.id for row in await probes.take_probes(conn, "here", 50)] == ids[:500]
        assert [row.id for row in await probes.take_probes(conn, "here", 50)] == ids[500:]
        assert await probes.take_probes(conn, "here", 50) == []


async def test_what_a_server_leaves_undone(db: Database) -> None:
    async with db.begin() as conn:
        old, new, other = await probes.ask_probes(conn, [ProbeRow(0, at, 1, 7, "m", "chat") for at in (10, 100, 100)])
        assert await probes.any_open(conn, "here", 50)
        await probes.take_probes(conn, "here", 0)
        await conn.execute(text("UPDATE probes SET node = 'there' WHERE id = :id"), {"id": other})
        assert await probes.any_open(conn, "here", 500)
        await probes.ask_again(conn, "here", 50, {"ok": False})
        found = {row.id: (row.state, row.node, row.result) for row in await probes.get_probes(conn, [old, new, other])}
        assert found == {
            old: ("done", "here", {"ok": False}), new: ("asked", "", {}), other: ("running", "there", {}),
        }  # fmt: skip
        assert await probes.any_open(conn, "here", 50)
        assert not await probes.any_open(conn, "here", 500)


async def test_what_is_asked_is_found_at_once(sqlite_url: str) -> None:
    db = open_database(sqlite_url)
    async with db.begin() as conn:
        where = "state = 'asked' AND asked_at >= 5 ORDER BY id LIMIT 5"
        [plan] = await conn.execute(text(f"EXPLAIN QUERY PLAN SELECT id FROM probes WHERE {where}"))
        assert "probes_open" in plan[-1]
    await db.close()
