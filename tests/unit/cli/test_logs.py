"""burncloud log …"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from burncloud.database.engine import open_database
from tests.unit.cli.conftest import Cli
from tests.unit.database.sql import add_rows


def put(table: str, *rows: dict[str, Any]) -> None:
    """Rows of the ledger."""

    async def work() -> None:
        db = open_database(os.environ["DATABASE_URL"])
        await add_rows(db, table, *rows)
        await db.close()

    asyncio.run(work())


def receipt(x: int, **values: Any) -> dict[str, Any]:
    at = {"journal": 1, "x": x, "day": 1, "time_ns": 1_700_000_000_000_000_000 + x, "user": 1, "token": 1}
    return at | {"model": "gpt-4", "status": 200} | values


def test_the_bill_of_the_promise_is_in_the_log(cli: Cli) -> None:
    cli("user", "list")
    cli("token", "create", "--user", "admin", "--name", "ci")
    put("receipts", receipt(1, input=100, output=200, charge=15_000_000, reserve=20_000_000, duration_us=1_234_000))
    put("attempts", {"journal": 1, "x": 1, "n": 1, "day": 1, "channel": 3, "charge": 15_000_000, "status": 200})
    (row,) = cli("log", "list", "--json").json
    assert (row["charge"], row["charge_nano"], row["reserve"]) == ("0.015", "15000000", "0.02")
    assert (row["user"], row["token"], row["time"]) == ("admin", "ci", "2023-11-14T22:13:20.000+00:00")
    assert (row["usage"]["input"], row["usage"]["output"], row["usage"]["reasoning"]) == (100, 200, 0)
    assert [(attempt["n"], attempt["charge_nano"]) for attempt in row["attempts"]] == [(1, "15000000")]
    line = cli("log", "list").out.splitlines()[3].split()
    assert line == ["2023-11-14", "22:13:20", "admin", "ci", "gpt-4", "100", "200", "0.015", "done", "200", "1234"]


def test_pages_and_filters(cli: Cli) -> None:
    put("receipts", *(receipt(x, user=x % 2 + 1, model=f"m{x % 2}") for x in range(1, 6)))
    first = cli("log", "list", "--limit", "2", "--json").json
    second = cli("log", "list", "--limit", "2", "--before", first[-1]["cursor"], "--json").json
    assert [row["x"] for row in first + second] == [5, 4, 3, 2]
    for form in ((), ("--json",)):
        assert f"--before {first[-1]['cursor']}" in cli("log", "list", "--limit", "2", *form).err
    assert [row["x"] for row in cli("log", "list", "--user", "1", "--model", "m0", "--json").json] == [4, 2]
    assert cli("log", "list", "--token", "9", "--json").json == []
    assert cli("log", "list", "--since", "1h", "--json").json == []
    assert len(cli("log", "list", "--since", "2023-11-01", "--json").json) == 5
    for words in (["--before", "x"], ["--since", "x"], ["--limit", "0"], ["--user", "nobody"]):
        cli("log", "list", *words, status=1)


def test_usage(cli: Cli) -> None:
    cli("user", "list")
    shared = {"user": 1, "token": 7, "channel": 1, "model": "gpt-4", "requests": 2, "input": 5}
    put("usage_hourly", shared | {"hour": 3600, "charge": 10}, shared | {"hour": 7200, "charge": 20})
    (row,) = cli("log", "usage", "--json").json
    assert (row["user"], row["requests"], row["charge_nano"], row["usage"]["input"]) == ("admin", 4, "30", 10)
    assert "0.00000003" in cli("log", "usage").out.splitlines()[-2]
    assert cli("log", "usage", "--since", "1h", "--json").json == []


def test_a_channels_test_is_no_customers(cli: Cli) -> None:
    nobody = {"user": 0, "token": 0}
    put("receipts", receipt(1, **nobody))
    put("usage_hourly", nobody | {"channel": 1, "model": "gpt-4", "requests": 1, "hour": 3600, "charge": 0})
    assert any(line.split()[2:4] == ["test", "test"] for line in cli("log", "list").out.splitlines())
    assert any(line.split()[:2] == ["test", "test"] for line in cli("log", "usage").out.splitlines())
