"""burncloud event list."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from burncloud.database import channels as rows
from burncloud.database.channels import ChannelRow
from burncloud.database.connection import Conn
from burncloud.database.engine import open_database
from burncloud.service import events
from tests.unit.cli.conftest import Cli


def happen(url: str, channel: int) -> None:
    """A key is refused, and good again."""

    async def work() -> None:
        db = open_database(url)

        async def add(conn: Conn) -> None:
            await events.record(conn, events.KEY_OFF, "here", channel, 7, "…abcd", "refused, status 401")
            await events.record(conn, events.KEY_READY, "here", channel, 7, "…abcd")

        await db.run(add)
        await db.close()

    asyncio.run(work())


def test_they_are_shown_newest_first(cli: Cli, sqlite_url: str) -> None:
    cli("channel", "add", "--type", "openai", "--name", "one", "--models", "m", "--key", "sk-x")
    happen(sqlite_url, 1)
    happen(sqlite_url, 99)
    found = cli("event", "list", "--json").json
    assert [event["kind"] for event in found] == ["key_ready", "key_off"] * 2
    assert (found[2]["channel_name"], found[0]["channel_name"]) == ("one", None)
    lines = cli("event", "list", "--channel", "one", "--since", "1h").out.splitlines()
    [off] = [line for line in lines if "key_off" in line]
    assert off.split("key_off")[1].split() == ["one", "7", "…abcd", "refused,", "status", "401"]
    assert len(cli("event", "list", "--limit", "1", "--json").json) == 1
    assert "no channel" in cli("event", "list", "--channel", "two", status=1).err


def test_only_the_channels_that_occur_are_looked_up(cli: Cli, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thousand were read once, and the others said to be deleted."""
    for name in ("one", "two"):
        cli("channel", "add", "--type", "openai", "--name", name, "--models", "m", "--key", "sk-x")
    happen(sqlite_url, 2)
    seen: list[Sequence[int]] = []
    read = rows.list_channels

    async def spied(conn: Conn, after: int = 0, limit: int = 1000, ids: Sequence[int] = ()) -> list[ChannelRow]:
        seen.append(ids)
        return await read(conn, after, limit, ids)

    monkeypatch.setattr(rows, "list_channels", spied)
    assert {event["channel_name"] for event in cli("event", "list", "--json").json} == {"two"}
    assert seen == [[2]]
