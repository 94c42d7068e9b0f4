"""Quota for exactly k requests at a fixed price (schedule 9 of docs/money.md), with crashes among them."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter

import pytest

from burncloud.database.engine import open_database
from tests.slow.conftest import MakeHouse, both_engines, long_only
from tests.slow.house import House
from tests.slow.invariants import judge_stopped
from tests.slow.kinds import PRICE
from tests.slow.load import COMPLETE, Client, Load, Sent

AT_ONCE = 500
PATIENCE_S = 20.0


async def at_once(load: Load, accounts: list[str], count: int, kind: str = "fixed", leave_s: float = 0) -> list[Sent]:
    """Requests sent at the same moment, each on a connection of its own."""
    clients = [Client(load.port) for _ in range(count)]
    try:
        asks = (load.ask(client, kind, accounts[n % len(accounts)], leave_s) for n, client in enumerate(clients))
        return await asyncio.gather(*asks)
    finally:
        for client in clients:
            client.close()


def outcomes(sent: list[Sent]) -> Counter[str]:
    """How many of each."""
    return Counter(one.outcome for one in sent)


async def open_house(house: House, **limits: tuple[int, int]) -> Load:
    """Open and start it; account → (token limit, user limit), those of one user named user.token."""
    await house.open()
    db = open_database(house.url)
    try:
        for name, (token_limit, user_limit) in limits.items():
            first = name.replace("second", "first")
            user = house.accounts[first].user if first in house.accounts else 0
            await house.add_account(db, name, token_limit, user_limit, user)
    finally:
        await db.close()
    await house.start()
    load = Load(house.product.port, house.keys, random.Random(1))
    load.begin("q")
    return load


async def close_house(house: House) -> None:
    """A clean stop, after which all adds up."""
    assert await house.stop() == 0
    assert judge_stopped(await house.ledger.books()) == []
    assert await house.verify() == []
    assert house.complaints() == []


@pytest.mark.parametrize("workers", [pytest.param(1, marks=long_only), 2])
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_exactly_as_many_as_are_paid_for(make_house: MakeHouse, engine: str, workers: int) -> None:
    """By the token, and by a user whose tokens may together spend more than he has."""
    house = make_house(engine, workers=workers)
    k, m = 40, 25
    load = await open_house(
        house, token=(k * PRICE, -1), first=(20 * PRICE, m * PRICE), second=(20 * PRICE, m * PRICE)
    )  # fmt: skip
    assert outcomes(await at_once(load, ["token"], AT_ONCE)) == {COMPLETE: k, "402": AT_ONCE - k}
    assert outcomes(await at_once(load, ["first", "second"], AT_ONCE)) == {COMPLETE: m, "402": AT_ONCE - m}
    await close_house(house)
    used = (await house.ledger.books()).used
    assert used["token", house.accounts["token"].token] == k * PRICE
    assert used["user", house.accounts["first"].user] == m * PRICE


async def until_402(load: Load, account: str) -> list[Sent]:
    """Ask one by one until the answer is 402; "come back" (503) and a broken connection are asked again."""
    sent: list[Sent] = []
    client = Client(load.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not sent or sent[-1].outcome != "402":
                sent.append(await load.ask(client, "fixed", account))
                if sent[-1].outcome != COMPLETE:
                    await asyncio.sleep(0.05)
    finally:
        client.close()
    return sent


@both_engines
async def test_a_worker_killed_while_it_holds_all(make_house: MakeHouse, engine: str) -> None:
    """What was in flight is charged, what was only on lease comes back: not one request more or less, no false 402."""
    house = make_house(engine)
    k, flying = 60, 20
    load = await open_house(house, token=(k * PRICE, -1))
    first = await at_once(load, ["token"], 5)
    assert outcomes(first) == {COMPLETE: 5}
    held = asyncio.create_task(at_once(load, ["token"], flying, "slow"))
    await asyncio.sleep(0.15)
    house.kill_roles("worker")
    broken = await held
    rest = await until_402(load, "token")
    await close_house(house)
    rows = await house.ledger.receipts("q")
    states = Counter(row.state for row in rows)
    assert sum(row.charge for row in rows) == k * PRICE
    assert outcomes(broken)[COMPLETE] + states["interrupted"] >= flying - outcomes(broken)["refused"]
    assert outcomes(rest)[COMPLETE] == k - 5 - outcomes(broken)[COMPLETE] - states["interrupted"]


async def test_all_quota_lies_with_a_frozen_worker(make_house: MakeHouse) -> None:
    """Two workers; one stands still with a lease on what is left: the other says "come back", never "no quota"."""
    house = make_house(workers=2)
    load = await open_house(house, token=(30 * PRICE, -1))
    await at_once(load, ["token"], 10)
    frozen = [process for process in house.processes() if process.role == "worker-0"]
    house.kill(frozen, signal.SIGSTOP)
    some = await at_once(load, ["token"], 8, leave_s=1.5)
    house.kill(frozen, signal.SIGCONT)
    assert not outcomes(some)["402"], outcomes(some)
    await asyncio.sleep(1)
    await until_402(load, "token")
    await close_house(house)
    rows = await house.ledger.receipts("q")
    assert sum(row.charge for row in rows) == 30 * PRICE
