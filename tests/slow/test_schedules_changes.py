"""The house is rearranged under load, with crashes among it (schedule 10 of docs/money.md)."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from burncloud.database.engine import open_database
from tests.slow.conftest import MakeHouse, both_engines, long_only
from tests.slow.house import AMPLE, House
from tests.slow.kill_loop import KillLoop
from tests.slow.kinds import PRICE
from tests.slow.load import COMPLETE, Client
from tests.slow.test_schedules_quota import close_house, open_house

DEARER = 3 * PRICE
TIMES = 2
NOTICED_S = 3.0
"""A change is noticed within one second; a busy machine may take longer."""


@both_engines
async def test_limits_lowered_raised_and_set(make_house: MakeHouse, engine: str) -> None:
    """Below what is used → 402; raised → served; −1 → limited: what is booked by then counts."""
    house = make_house(engine, workers=2)
    load = await open_house(house, token=(50 * PRICE, -1), open=(-1, -1))
    client = Client(load.port)

    async def wait_for(account: str, outcome: str) -> None:
        deadline = time.monotonic() + 5
        while (await load.ask(client, "fixed", account)).outcome != outcome:
            assert time.monotonic() < deadline, f"{account}: no {outcome}"
            await asyncio.sleep(0.05)

    for _ in range(10):
        await load.ask(client, "fixed", "token")
    await house.set_limits("token", 5 * PRICE, -1)
    await wait_for("token", "402")
    house.kill_roles("worker-0", "control")
    await house.set_limits("token", 60 * PRICE, -1)
    await wait_for("token", COMPLETE)
    await wait_for("open", COMPLETE)
    await house.set_limits("open", 1, -1)
    await wait_for("open", "402")
    await house.set_limits("open", -1, -1)
    await wait_for("open", COMPLETE)
    client.close()
    await house.wait_ready()
    await close_house(house)
    assert not [row for row in await house.ledger.receipts("q") if row.state != "done" or row.charge != PRICE]
    used = (await house.ledger.books()).used
    assert used["token", house.accounts["token"].token] <= 60 * PRICE


@both_engines
async def test_a_lowered_limit_ends_what_is_on_lease(make_house: MakeHouse, engine: str) -> None:
    """The workers have a lot on lease when the limit falls below what is used: not one more request is answered."""
    house = make_house(engine, workers=2)
    load = await open_house(house, token=(10_000 * PRICE, -1))
    clients = [Client(load.port) for _ in range(8)]
    for client in clients * 2:
        assert (await load.ask(client, "fixed", "token")).outcome == COMPLETE
    leased = (await house.ledger.books()).balances["token", house.accounts["token"].token][1]
    assert leased > 20 * PRICE
    await house.set_limits("token", 5 * PRICE, -1)
    await asyncio.sleep(NOTICED_S)
    for client in clients:
        assert (await load.ask(client, "fixed", "token")).outcome == "402"
        client.close()
    await close_house(house)


@pytest.mark.timeout(300)
@long_only
@both_engines
async def test_commands_in_a_loop(make_house: MakeHouse, engine: str) -> None:
    """`ledger verify`, top-ups and other writes of the command line, again and again, while processes die."""
    verified = 0

    async def rearrange(house: House, rng: random.Random) -> None:
        nonlocal verified
        user = str(house.accounts["rich"].user)

        async def command(*words: str) -> Any:
            return await asyncio.to_thread(house.product.cli, *words)

        for n in range(TIMES):
            report = await command("ledger", "verify")
            assert report["ok"], report
            verified += 1
            await command("user", "topup", user, "1.00")
            house.kill_roles(rng.choice(["control", "worker"]))
            made = await command("token", "create", "--user", user, "--quota", "0.002")
            house.keys[f"gone-{n}"] = made["key"]
            await asyncio.sleep(0.3)
            del house.keys[f"gone-{n}"]
            await command("token", "delete", str(made["id"]), "--yes")

    async with KillLoop(make_house(engine, workers=2), 1) as loop:
        house = loop.house
        await loop.round("commands", rearrange)
        await loop.stop()
        assert loop.tally.violations == []
        assert verified == TIMES
        limits = await house.ledger.fetch(f"SELECT quota_limit FROM users WHERE id = {house.accounts['rich'].user}")
        assert limits[0][0][0] == AMPLE + TIMES * 1_000_000_000


@both_engines
async def test_a_price_changes_under_load(make_house: MakeHouse, engine: str) -> None:
    """Each row is charged by the revision that its request was admitted with, to the nano-dollar."""
    house = make_house(engine)
    load = await open_house(house)
    clients = [Client(load.port) for _ in range(6)]
    until = time.monotonic() + 3

    async def ask(client: Client) -> None:
        while time.monotonic() < until:
            await load.ask(client, "fixed", "rich")
            await asyncio.sleep(0.01)

    async def change() -> None:
        from burncloud.service import prices

        db = open_database(house.url)
        try:
            for n in range(10):
                await prices.update_price(db, "fixed", {}, DEARER if n % 2 == 0 else PRICE)
                await asyncio.sleep(0.25)
                if n == 5:
                    house.kill_roles("control")
        finally:
            await db.close()

    await asyncio.gather(change(), *(ask(client) for client in clients))
    for client in clients:
        client.close()
    await house.wait_ready()
    await close_house(house)
    rows = (await house.ledger.fetch("SELECT DISTINCT price_revision, charge, reserve FROM receipts"))[0]
    revisions = [row[0] for row in rows]
    assert len(set(revisions)) == len(revisions) > 4, "one charge a revision"
    assert {row[1] for row in rows} == {PRICE, DEARER}
    assert all(row[1] == row[2] for row in rows)
