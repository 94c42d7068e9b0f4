"""How channels stand, as channel list and show say it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from burncloud import clock
from burncloud.cli.standing import test_text as text_of
from burncloud.database import states
from burncloud.database.engine import open_database
from burncloud.database.probes import ProbeRow
from burncloud.database.states import SpeedRow, StateRow
from tests.unit.cli.conftest import Cli


def stand(url: str, *rows: StateRow, speeds: Sequence[SpeedRow]) -> None:
    """As a server would write it down."""

    async def work() -> None:
        db = open_database(url)
        await db.run(lambda conn: states.put_states(conn, rows))
        await db.run(lambda conn: states.put_speeds(conn, speeds))
        await db.close()

    asyncio.run(work())


def test_what_is_not_ready_is_said(cli: Cli, sqlite_url: str) -> None:
    cli("channel", "add", "--type", "openai", "--name", "one", "--models", "m,n", "--key", "sk-1234567890abcd")
    cli("channel", "add", "--type", "openai", "--name", "two", "--models", "m", "--key", "sk-x")
    now = clock.now_s()
    stand(
        sqlite_url,
        StateRow("here", 1, 1, "", "off", "refused", 401, now, now + 60),
        StateRow("here", 1, 0, "m", "cooling", "broken", 500, now, now + 500),
        StateRow("there", 1, 0, "m", "ready", "broken", 500, now),
        StateRow("here", 1, 0, "n", "cooling", "busy", 429, now - 9, now - 1),
        StateRow("here", 1, 99, "", "off", "refused", 401, now, now + 60),
        StateRow("here", 2, 0, "m", "ready", "timeout", 0, now),
        speeds=(SpeedRow("here", 1, "n", 900_000, now - 50), SpeedRow("there", 1, "n", 231_500, now - 4)),
    )
    listed = {row["name"]: row["state"] for row in cli("channel", "list", "--json").json}
    assert listed == {"one": "off", "two": "ready"}
    assert "m cooling" in cli("channel", "list").out
    shown = cli("channel", "show", "one", "--json").json
    assert [(key["hint"], key["state"], key["status"]) for key in shown["keys"]] == [("…abcd", "off", 401)]
    assert [(model["model"], model["state"]) for model in shown["model_states"]] == [("m", "cooling"), ("n", "probing")]
    assert [(model["first_byte_ms"], model["first_byte_at"]) for model in shown["model_states"]] == [
        (None, None), (231.5, now - 4),
    ]  # fmt: skip
    lines = cli("channel", "show", "one").out
    assert "probing: too many requests (status 429), first byte after 231 ms (a running mean, " in lines
    assert "…abcd  off since " in lines
    assert "the key is refused (status 401); tried again in" in lines
    assert "cooling for" in lines
    assert "probing: too many requests (status 429)" in lines
    assert "ready; the last fault: no answer in time" in cli("channel", "show", "two").out
    assert "sk-1234" not in lines


@pytest.mark.parametrize(
    ("kind", "result", "text"),
    [
        ("chat", {"ok": True, "duration_ms": 812, "first_byte_ms": 300, "tokens_per_s": 24.5},
         "ok, 812 ms, first byte 300 ms, 24.5 tokens/s"),
        ("embeddings", {"ok": True, "duration_ms": 81}, "ok, 81 ms"),
        ("chat", {"ok": False, "error": "the key is refused (status 401)"}, "failed: the key is refused (status 401)"),
        ("image", {"skipped": "an image costs too much"}, "not tested: an image costs too much"),
        ("models", {"ok": True, "count": 3, "missing": []}, "3 models there, all of the channel's among them"),
        ("models", {"ok": True, "count": 3, "missing": ["m"]}, "3 models there; NOT THERE: m"),
    ],
)  # fmt: skip
def test_a_test_in_one_line(kind: str, result: dict[str, Any], text: str) -> None:
    assert text_of(ProbeRow(1, 0, 1, 1, "m", kind, result=result)) == text
