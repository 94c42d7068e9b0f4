"""What control remembers of the parts of channels, and when it is worth an event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from burncloud import clock
from burncloud.database import channels as channel_rows
from burncloud.database import states as rows
from burncloud.database.engine import Database
from burncloud.database.states import StateRow
from burncloud.domain.link import Part, Speed
from burncloud.service import channels, events
from burncloud.service import states as module
from burncloud.service.secrets import MasterKey
from burncloud.service.states import Keeper, States, as_is, list_states, speeds, worst

OFF = Part(1, 7, "", "off", "refused", 401, 60_000, 60_000)


@pytest.fixture
def master_key() -> MasterKey:
    """Some key."""
    return MasterKey(bytes(32))


async def until(true: Callable[[], Awaitable[object]]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(5):
        while not await true():  # noqa: ASYNC110 - a fact to wait for, not an event
            await asyncio.sleep(0.01)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Milliseconds, to be turned."""
    at = [1_000]
    monkeypatch.setattr(clock, "monotonic_ms", lambda: at[0])
    return at


def test_a_worker_that_comes_later_gets_what_is_left(now: list[int]) -> None:
    states = States()
    states.learn([Part(1, 0, "m", "cooling", "broken", 500, 5_000, 2_000), OFF])
    now[0] += 3_000
    assert [(part.state, part.left_ms) for part in states.parts()] == [("cooling", 2_000), ("off", 57_000)]
    now[0] += 100_000
    assert [(part.state, part.left_ms) for part in states.parts()] == [("off", 0)], "off stays off until it is good"
    states.learn([Part(1, 7, "", "ready")])
    assert states.parts() == []
    assert states.all[1, 7, ""].part.reason == "refused", "what was wrong last stays to be seen"


def test_only_a_key_that_goes_off_or_comes_back_is_an_event(now: list[int]) -> None:
    states = States()
    seen: list[tuple[str, str]] = []
    states.on_turn = lambda part, before: seen.append((part.state, before))
    probing = Part(1, 7, "", "probing", "refused", 401, 30_000, 60_000)
    for part in (OFF, OFF, probing, OFF, probing, Part(1, 7, "", "ready"), Part(1, 7, "", "ready")):
        states.learn([part])
    states.learn([Part(1, 0, "m", "cooling", "broken", 500, 1, 1), Part(1, 0, "m", "ready")])
    assert seen == [("off", "ready"), ("ready", "probing")]


def test_keys_that_are_gone_are_forgotten(now: list[int]) -> None:
    states = States()
    states.learn([OFF, Part(1, 8, "", "off"), Part(2, 9, "", "off")])
    states.learn([Part(1, 0, model, "cooling") for model in ("m", "gpt-4", "gone")])
    states.forget(1, [8], ["m", "gpt-*"])
    assert states.gone == {(1, 7, ""), (1, 0, "gone")}
    assert sorted(states.all) == [(1, 0, "gpt-4"), (1, 0, "m"), (1, 8, ""), (2, 9, "")]


def test_names_that_clients_choose_are_not_kept_without_end(now: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODELS_MAX", 2)
    states = States()
    states.learn([OFF, *(Part(1, 0, model, "cooling") for model in ("a", "b", "c", "b"))])
    assert sorted(states.all) == [(1, 0, "b"), (1, 0, "c"), (1, 7, "")]
    assert states.gone == {(1, 0, "a")}
    states.learn([Part(1, 0, "a", "cooling")])
    assert states.gone == {(1, 0, "b")}


async def test_a_node_that_is_gone_has_no_say(db: Database, master_key: MasterKey) -> None:
    """Every new container is a node of its own: what the old ones knew of keys is taken over, once."""
    channel, key = await made(db, master_key)
    await channels.update_channel(db, str(channel), {"models": {"m": "m", "gpt-*": "*"}})
    old, new = clock.now_s() - 500, clock.now_s() - 100
    async with db.begin() as conn:
        await conn.execute(text("INSERT INTO journals (uuid, node) VALUES ('u1', 'alive')"))
        await rows.put_states(conn, [
            StateRow("dead", channel, key, "", "off", "refused", 401, old, new + 9_999),
            StateRow("dead", channel, 0, "m", "off", "broken", 500, old, new + 9_999),
            StateRow("alive", channel, key, "", "ready", "refused", 401, new),
            StateRow("alive", channel, 0, "gpt-4", "cooling", "broken", 500, new, new + 9_999),
            StateRow("alive", channel, 0, "gone", "cooling", "broken", 500, new, new + 9_999),
        ])  # fmt: skip
    shown = {(row.key, row.model): row.state for row in (await list_states(db, channel)).values()}
    assert shown == {(key, ""): "ready", (0, "gpt-4"): "cooling", (0, "gone"): "cooling"}
    states = States()
    await Keeper(db, "here", master_key, states).load()
    assert {name[1:]: state.part.state for name, state in states.all.items()} == {(key, ""): "ready", (0, "m"): "off"}
    async with db.read() as conn:
        left = [(row.node, row.key, row.model) for row in await rows.list_states(conn)]
    assert left == [("alive", 0, "gpt-4"), ("alive", key, "")]


async def made(db: Database, master: MasterKey) -> tuple[int, int]:
    """A channel and the id of its key."""
    row = await channels.create_channel(db, master, "openai", ["sk-secret-abcd"], {"m": "m"})
    async with db.read() as conn:
        [key] = await channel_rows.list_keys(conn, row.id, row.id)
    return row.id, key.id


async def test_a_refused_key_is_known_after_a_restart_and_is_an_event(
    db: Database, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is told by its end; the vendor's word stays; a changed key has no past."""
    monkeypatch.setattr(module, "WRITE_S", 0.01)
    channel, key = await made(db, master_key)
    async with db.begin() as conn:
        await conn.execute(text("INSERT INTO journals (uuid, node) VALUES ('u1', 'here')"))
    states = States()
    keeper = Keeper(db, "here", master_key, states)
    await keeper.load()
    running = asyncio.create_task(keeper.run())
    states.learn([Part(channel, key, "", "off", "refused", 401, 60_000, 120_000)])
    states.learn([Part(channel, 0, "m", "cooling", "broken", 500, 60_000, 2_000)])
    await until(lambda: events.list_events(db))
    [event] = await events.list_events(db, channel=channel)
    assert (event.kind, event.hint, event.detail, event.node) == ("key_off", "…abcd", "refused, status 401", "here")
    again = States()
    await Keeper(db, "here", master_key, again).load()
    assert sorted((part.state, part.left_ms > 55_000, part.step_ms) for part in again.parts()) == [
        ("cooling", True, 2_000), ("off", True, 120_000),
    ]  # fmt: skip
    other = States()
    await Keeper(db, "there", master_key, other).load()
    assert [part.state for part in other.parts()] == ["off"], "a key is refused everywhere, a pause is of one node"
    shown = await list_states(db, channel)
    assert worst(list(shown.values())) == "off"
    assert shown[channel, key, ""].status == 401
    await channels.update_channel(db, str(channel), {}, master_key, ["sk-another-one-x"])
    keeper.changed([channel])

    async def gone() -> bool:
        return (channel, key, "") not in await list_states(db)

    await until(gone)
    assert [part.state for part in states.parts()] == ["cooling"]
    running.cancel()


async def test_what_another_node_found_out_of_a_key(db: Database, master_key: MasterKey) -> None:
    """Refused there: refused here; good again here: good there.  Pauses are of one node; each event is told once."""
    channel, key = await made(db, master_key)
    nodes = {name: States() for name in ("a", "b")}
    keepers = {name: Keeper(db, name, master_key, states) for name, states in nodes.items()}
    news: dict[str, list[Part]] = {"a": [], "b": []}
    for name, keeper in keepers.items():
        keeper.on_news = news[name].extend

    async def second() -> None:
        for keeper in keepers.values():
            await db.run(keeper._write)
            await keeper.ask_others()

    def since(name: str, at: int) -> None:
        nodes[name].all[channel, key, ""].since = at

    nodes["a"].learn([
        Part(channel, key, "", "off", "refused", 401, 60_000, 60_000), Part(channel, 0, "m", "cooling", "broken"),
    ])  # fmt: skip
    since("a", now := clock.now_s() - 5)
    for _ in range(3):
        await second()
    assert [(part.key, part.state, part.left_ms > 50_000) for part in news["b"]] == [(key, "off", True)]
    assert [part.state for part in nodes["b"].parts()] == ["off"]
    nodes["b"].learn([Part(channel, key, "", "ready")])
    since("b", now + 3)
    for _ in range(3):
        await second()
    assert [(part.key, part.state) for part in news["a"]] == [(key, "ready")]
    assert len(news["b"]) == 1
    assert worst([row for name, row in (await list_states(db, channel)).items() if name[1]]) == "ready"
    assert [event.kind for event in await events.list_events(db)] == ["key_ready", "key_off"]


async def test_how_quick_models_are(db: Database, master_key: MasterKey) -> None:
    """The mean of what the workers say, newest; of several nodes the one that was heard last."""
    channel, _ = await made(db, master_key)
    states = States()
    keeper = Keeper(db, "here", master_key, states)
    states.hear(0, [Speed(channel, "m", 100_000)])
    states.hear(1, [Speed(channel, "m", 300_000), Speed(channel, "n", 7)])
    await db.run(keeper._write)
    assert {model: row.first_us for model, row in (await speeds(db, channel)).items()} == {"m": 200_000, "n": 7}
    states.hear(1, [Speed(channel, "m", 500_000)])
    await db.run(keeper._write)
    assert (await speeds(db, channel))["m"].first_us == 300_000
    keeper.changed([channel])
    states.hear(0, [Speed(channel, "m", 1)])
    await db.run(keeper._write)
    assert not states.speeds
    assert not states.told
    assert await speeds(db, channel + 1) == {}


async def test_a_database_that_is_away_is_waited_for(
    db: Database, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_S", 0.01)
    states = States()
    keeper = Keeper(db, "here", master_key, states)
    broken = [2]
    real = db.run

    async def run(work: Any, *more: Any) -> Any:
        if broken[0]:
            broken[0] -= 1
            raise ConnectionError("away")
        return await real(work, *more)

    monkeypatch.setattr(db, "run", run)
    states.learn([OFF])
    running = asyncio.create_task(keeper.run())
    await until(lambda: events.list_events(db))
    assert len(await events.list_events(db)) == 1
    running.cancel()


def test_whose_time_has_come_waits_for_a_probe() -> None:
    assert as_is(StateRow("n", 1, 0, "m", "cooling", until=100), 99).state == "cooling"
    assert as_is(StateRow("n", 1, 0, "m", "cooling", until=100), 100).state == "probing"
    assert as_is(StateRow("n", 1, 7, "", "off", until=100), 200).state == "off"
