"""The Snapshot on its way: whatever happens in the database, each worker's world becomes what stands there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from burncloud import clock, config
from burncloud.database.engine import Database
from burncloud.domain import link
from burncloud.domain.snapshot import RECORD_TYPES, Record, Setting, Token
from burncloud.service import channels, groups, prices, settings, snapshots, tokens, users
from burncloud.service.secrets import MasterKey
from burncloud.service.snapshots import FRAME_BYTES, Snapshots, encode_put
from tests.unit.database.sql import add_rows, execute

KEY = MasterKey(os.urandom(32))
SOON_MS = 100
"""A change is with the workers within this (docs and issue)."""


class World:
    """What a worker makes of the frames it gets."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int | str], Record] = {}
        self.quotas: list[link.Quota] = []
        self.ready = -1
        self.kinds: list[str] = []

    def take(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            assert int.from_bytes(frame[:4], "little") == len(frame) - 4
            message = link.decode_to_worker.decode(frame[4:])
            if isinstance(message, link.Put):
                self.kinds.append(message.kind)
                for row in message.rows:
                    record = link.decode_record[message.kind].decode(row)
                    self.records[message.kind, name_of(record)] = record
            elif isinstance(message, link.Drop):
                for name in message.ids:
                    self.records.pop((message.kind, name), None)
            elif isinstance(message, link.Quota):
                self.quotas.append(message)
            elif isinstance(message, link.Ready):
                self.ready = message.seq

    def of(self, kind: str) -> dict[int | str, Any]:
        return {name: record for (kind_, name), record in self.records.items() if kind_ == kind}


def name_of(record: Any) -> int | str:
    for field in ("id", "model", "name"):
        if hasattr(record, field):
            name: int | str = getattr(record, field)
            return name
    raise AssertionError(record)


class Following:
    """Two worlds: one that was there from the start, and ones that come later."""

    def __init__(self, db: Database, key: MasterKey | None = KEY) -> None:
        self.snapshots = Snapshots(db, key)
        self.world = World()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Following:
        await self.snapshots.load()
        self.world.take(self.snapshots.frames())
        self._task = asyncio.create_task(self.snapshots.follow(self.world.take))
        await asyncio.sleep(0.06)  # the first look is over
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def late_world(self) -> World:
        """What a worker knows that comes now."""
        world = World()
        world.take(self.snapshots.frames())
        return world

    async def sees(self, wanted: Any, timeout_ms: int = 3_000) -> int:
        """Wait until `wanted()` is true; how many ms that took."""
        start_ms = clock.monotonic_ms()
        while not wanted():
            assert clock.monotonic_ms() - start_ms < timeout_ms, "the change did not come"
            assert self._task is not None
            assert not self._task.done(), self._task.exception()
            await asyncio.sleep(0.002)
        return clock.monotonic_ms() - start_ms


async def furnish(db: Database) -> dict[str, Any]:
    """One of everything."""
    await users.create_user(db, "alice", group="vip", quota_limit=5)
    token = await tokens.create_token(db, "alice", models=["gpt-4"], networks=["10.0.0.0/8"], quota_limit=7)
    channel = await channels.create_channel(db, KEY, "openai", ["sk-one", "sk-two"], {"fast": "gpt-4"}, weight=3)
    await prices.update_price(db, "gpt-4", {"input": 30, "output": 60})
    await prices.update_price(db, "turbo", {}, alias="gpt-4")
    await groups.update_group(db, "vip", 800_000)
    await settings.update_setting(db, config.load({}), "unpriced", "free")
    return {"token": token, "channel": channel}


@pytest_asyncio.fixture
async def house(db: Database) -> AsyncIterator[dict[str, Any]]:
    yield await furnish(db)


async def test_the_full_load_holds_everything_in_order(db: Database, house: dict[str, Any]) -> None:
    loaded = Snapshots(db, KEY)
    await loaded.load()
    world = World()
    world.take(loaded.frames())
    assert world.ready == loaded.seq > 0
    assert world.kinds == [kind for kind in RECORD_TYPES if kind in world.kinds]
    (user,) = world.of("user").values()
    assert (user.enabled, user.group, user.limited) == (True, "vip", True)
    (token,) = world.of("token").values()
    assert (token.user, token.limited, token.models, token.networks) == (user.id, True, ("gpt-4",), ("10.0.0.0/8",))
    (channel,) = world.of("channel").values()
    assert [secret for _, secret in channel.keys] == ["sk-one", "sk-two"]
    assert (channel.ref, channel.models, channel.weight) == (house["channel"].ref, {"fast": "gpt-4"}, 3)
    assert world.of("group")["vip"].ratio_ppm == 800_000
    assert world.of("price")["turbo"].cache_write == world.of("price")["gpt-4"].input == 30
    assert world.of("setting")["unpriced"].value == "free"


async def test_each_change_is_with_the_workers_at_once(db: Database, house: dict[str, Any]) -> None:
    token, channel = str(house["token"].token.id), house["channel"].name
    async with Following(db) as following:
        world = following.world
        took = []

        async def after(work: Any, wanted: Any) -> None:
            await work
            took.append(await following.sees(wanted))

        await after(
            tokens.update_token(db, token, {"enabled": False, "models": None}),
            lambda: [(t.enabled, t.models) for t in world.of("token").values()] == [(False, None)],
        )
        await after(
            users.update_user(db, "alice", {"group": "default"}),
            lambda: [u.group for u in world.of("user").values()] == ["default"],
        )
        await after(
            channels.update_channel(db, channel, {"weight": 9}, KEY, ["sk-three"]),
            lambda: [(c.weight, c.keys[0][1]) for c in world.of("channel").values()] == [(9, "sk-three")],
        )
        # those that share a price follow it
        await after(prices.update_price(db, "gpt-4", {"input": 31}), lambda: world.of("price")["turbo"].input == 31)
        await after(groups.update_group(db, "vip", 1), lambda: world.of("group")["vip"].ratio_ppm == 1)
        await after(tokens.delete_token(db, token), lambda: not world.of("token"))
        await after(prices.delete_price(db, "turbo"), lambda: "turbo" not in world.of("price"))
        await after(channels.delete_channel(db, channel), lambda: not world.of("channel"))
        await execute(db, "DELETE FROM settings")
        await after(asyncio.sleep(0), lambda: not world.of("setting"))
        await users.create_user(db, "boss", role="admin")
        await after(users.delete_user(db, "alice"), lambda: len(world.of("user")) == 1)
        assert following.late_world().records == world.records
        assert sorted(took)[len(took) // 2] < SOON_MS, took


async def test_a_user_s_change_republishes_nothing_else(db: Database, house: dict[str, Any]) -> None:
    async with Following(db) as following:
        following.world.kinds.clear()
        await users.update_user(db, "alice", {"enabled": False})
        await following.sees(lambda: [u.enabled for u in following.world.of("user").values()] == [False])
        assert following.world.kinds == ["user"]


async def test_a_moved_limit_is_told(db: Database, house: dict[str, Any]) -> None:
    async with Following(db) as following:
        user = await users.topup_user(db, "alice", 10)
        await following.sees(lambda: following.world.quotas)
        assert following.world.quotas == [link.Quota("user", user.id)]
        await tokens.update_token(db, str(house["token"].token.id), {"quota_limit": -1})
        await following.sees(lambda: len(following.world.quotas) == 2)
        assert [token.limited for token in following.world.of("token").values()] == [False]
        assert following.late_world().quotas == []  # who comes now remembers no denial


async def test_many_changes_in_one_transaction(db: Database) -> None:
    await users.create_user(db, "alice")
    async with Following(db) as following:
        rows = [{"hash": n.to_bytes(32, "big"), "user_id": 1, "networks": []} for n in range(1_200)]
        await add_rows(db, "tokens", *rows)
        await following.sees(lambda: len(following.world.of("token")) == 1_200)
        await execute(db, "UPDATE tokens SET deleted_at = 1 WHERE id % 2 = 0")
        await following.sees(lambda: len(following.world.of("token")) == 600)


async def test_changes_that_outgrow_the_load_are_folded_in(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHANGES_BYTES_MIN", 500)
    await users.create_user(db, "alice")
    async with Following(db) as following:
        for n in range(25):
            await users.update_user(db, "alice", {"group": f"g{n}"})
            await following.sees(lambda n=n: [u.group for u in following.world.of("user").values()] == [f"g{n}"])
        assert sum(map(len, following.snapshots.frames())) < 1_500
        assert following.late_world().records == following.world.records


async def test_a_channel_that_cannot_be_opened_is_left_out_loudly(
    db: Database, house: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    wrong = MasterKey(os.urandom(32))
    for key in (wrong, None):
        loaded = Snapshots(db, key)
        await loaded.load()
        world = World()
        world.take(loaded.frames())
        assert world.of("channel") == {}
        assert list(loaded.left_out) == [house["channel"].id]
        assert world.of("token")  # the rest is there
    assert any(record.levelname == "CRITICAL" for record in caplog.records)
    # a channel added with the right key beside it works, and one whose keys are sealed anew comes back
    async with Following(db, wrong) as following:
        await channels.create_channel(db, wrong, "openai", ["sk-new"], {"a": "a"})
        await following.sees(lambda: len(following.world.of("channel")) == 1)
        await channels.update_channel(db, house["channel"].name, {}, wrong, ["sk-again"])
        await following.sees(lambda: len(following.world.of("channel")) == 2)
        assert following.snapshots.left_out == {}
        await execute(db, "DELETE FROM channel_keys")
        await following.sees(lambda: not following.world.of("channel"))
        assert "it has no key" in str(following.snapshots.left_out)


async def test_a_price_without_an_end_is_not_published(db: Database) -> None:
    await add_rows(db, "prices", {"model": "dangling", "alias": "gone"}, {"model": "half", "input": 1})
    loaded = Snapshots(db, KEY)
    await loaded.load()
    world = World()
    world.take(loaded.frames())
    assert world.of("price") == {}


def test_frames_are_bounded_and_lose_nothing() -> None:
    records: list[Record] = [Token(n, bytes(32), 1) for n in range(3_000)]
    big = Setting("big", "x" * (2 * FRAME_BYTES))
    frames = encode_put("token", records)
    assert len(frames) > 1
    assert max(map(len, frames)) <= FRAME_BYTES
    world = World()
    world.take(frames)
    assert len(world.of("token")) == 3_000
    world.take(encode_put("setting", [big, Setting("small", "y")]))
    assert len(world.of("setting")) == 2
    assert encode_put("token", []) == []
    raw = [msgspec.Raw(link.encode(records[0]))]
    assert encode_put("token", records[:1]) == [link.frame(link.Put("token", raw))]
