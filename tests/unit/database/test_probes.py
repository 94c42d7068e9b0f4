"""SQL of probes, on both engines."""

from __future__ import annotations

from burncloud.database import probes
from burncloud.database.engine import Database
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
        await probes.prune_probes(conn, 50, 2)
        assert [row.id for row in await probes.get_probes(conn, range(1, 10))] == again
