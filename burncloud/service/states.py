"""How every part of every channel stands on this node, by what its workers say: keys, and models at channels.

A part is ready, cooling until some time, probing, or off (router/breaker.py).  Workers tell each change; it goes on
to the others at once, and to a worker that comes later with its Snapshot.  Nothing here is asked on a request's way.

What changed is written down once a second: to be seen by people, and so that a refused key is still known to be one
after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec

from burncloud import clock, logs
from burncloud.database import channels as channel_rows
from burncloud.database import journals
from burncloud.database import states as rows
from burncloud.database.connection import Conn
from burncloud.database.engine import Database, transient
from burncloud.database.states import SpeedRow, StateRow
from burncloud.domain.link import Part, Speed
from burncloud.domain.names import among
from burncloud.domain.parts import COOLING, OFF, PROBING, READY, REFUSED, STATES, PartName
from burncloud.service import events
from burncloud.service.secrets import MasterKey, WrongKey

MODELS_MAX: Final = 1_000
"""Of a channel, of which it is known how they stand; as many as a worker has in mind (router/world.py)."""
WRITE_S: Final = 1.0
SPEED_LASTS_S: Final = 60
BACK_S: Final = 10
"""So far back what other nodes have found out is looked for: their clocks are not ours to the second."""
log = logs.logger(__name__)


class State(msgspec.Struct):
    """One part."""

    part: Part
    until_ms: int
    """Until when it is left alone, monotonic."""
    since: int
    """In this state, unix seconds."""
    changed: bool = True
    """Since it was last written down."""


class States:
    """All parts that were not ready at some time."""

    def __init__(self) -> None:
        self.all: dict[PartName, State] = {}
        self.speeds: dict[tuple[int, str], dict[int, tuple[int, int]]] = {}
        """(channel, model) → worker → (first byte in µs, when it was told, unix seconds)."""
        self.told: set[tuple[int, str]] = set()
        """Of these speeds the newest are not written down."""
        self.gone: set[PartName] = set()
        """These are written down and no more."""
        self.on_turn: Callable[[Part, str], None] = lambda part, before: None
        """Called with a part that is off now, or was `before` and is ready."""

    def learn(self, parts: Iterable[Part]) -> None:
        """A worker says so."""
        now_ms = clock.monotonic_ms()
        for part in parts:
            name = name_of(part)
            known = self.all.get(name)
            before = known.part.state if known is not None else READY
            was_off = before == OFF or (known is not None and known.part.reason == REFUSED and before != READY)
            if known is not None and part.state == READY:
                # what was wrong last stays to be seen
                part = msgspec.structs.replace(part, reason=known.part.reason, status=known.part.status)
            since = known.since if known is not None and before == part.state else clock.now_s()
            if known is None and part.model:
                self._make_room(part.channel)
            self.gone.discard(name)
            self.all[name] = State(part, now_ms + part.left_ms, since)
            if (part.state == OFF and not was_off) or (part.state == READY and was_off):
                self.on_turn(part, before)

    def hear(self, worker: int, speeds: Iterable[Speed]) -> None:
        """A worker has measured this."""
        for speed in speeds:
            name = speed.channel, speed.model
            self.speeds.setdefault(name, {})[worker] = speed.first_us, clock.now_s()
            self.told.add(name)

    def mean(self, name: tuple[int, str]) -> int:
        """Of the workers that were heard of it lately, in µs."""
        now = clock.now_s()
        known = self.speeds[name] = {
            worker: one for worker, one in self.speeds[name].items() if now - one[1] <= SPEED_LASTS_S
        }
        return sum(first_us for first_us, _ in known.values()) // len(known) if known else 0

    def parts(self) -> list[Part]:
        """For a worker that knows nothing: all that is to be left alone still."""
        now_ms = clock.monotonic_ms()
        return [
            msgspec.structs.replace(state.part, left_ms=max(0, state.until_ms - now_ms))
            for state in self.all.values()
            if state.part.state == OFF or (state.part.state != READY and state.until_ms > now_ms)
        ]

    def as_json(self) -> list[dict[str, object]]:
        """All of them, for programs; times in unix seconds."""
        now, now_ms = clock.now_s(), clock.monotonic_ms()
        found: list[dict[str, object]] = []
        for (channel, key, model), known in sorted(self.all.items()):
            part, left_s = known.part, max(0, known.until_ms - now_ms + 999) // 1000
            due = part.state in (COOLING, PROBING) and not left_s
            found.append({
                "channel": channel, "key": key or None, "model": model or None,
                "state": PROBING if due else part.state, "reason": part.reason or None, "status": part.status or None,
                "since": known.since, "until": now + left_s if left_s and part.state != READY else None,
            })  # fmt: skip
        return found

    def forget(self, channel: int, keys: Iterable[int], models: Collection[str]) -> None:
        """Of this channel's keys and models only these are left."""
        left = {*keys}
        for place in [place for place in self.speeds if place[0] == channel]:
            del self.speeds[place]  # another upstream may be behind it
            self.told.discard(place)
        for name in [name for name in self.all if name[0] == channel]:
            if not (name[1] in left if name[1] else among(models, name[2])):
                self._drop(name)

    def _make_room(self, channel: int) -> None:
        """For one more model: clients choose their names where a channel's model has a star."""
        known = [name for name in self.all if name[0] == channel and name[2]]
        if len(known) >= MODELS_MAX:
            self._drop(known[0])

    def _drop(self, name: PartName) -> None:
        del self.all[name]
        self.gone.add(name)


class Keeper:
    """Writes down what changes, and the events that it makes."""

    def __init__(self, db: Database, node: str, key: MasterKey | None, states: States) -> None:
        self._db = db
        self._node = node
        self._key = key
        self._states = states
        self._turns: list[Part] = []
        self._channels: set[int] = set()
        """Whose keys may be others now."""
        self.on_news: Callable[[list[Part]], None] = lambda parts: None
        """Called with what another node has found out."""
        states.on_turn = lambda part, before: self._turns.append(part)

    async def load(self) -> None:
        """What was known before a restart: keys that are off (other nodes', too), and what is to be left alone."""
        async with self._db.begin() as conn:
            await rows.prune_states(conn)
            found = await self._served(conn, await rows.list_states(conn))
            live = {journal.node for journal in await journals.open_journals(conn)} | {self._node}
            await rows.drop_nodes(conn, {row.node for row in found} - live)  # what they knew of keys is known here now
        now, now_ms = clock.now_s(), clock.monotonic_ms()
        known = [row for row in found if row.node == self._node or row.state == OFF or row.reason == REFUSED]
        newest = {(row.channel, row.key, row.model): row for row in sorted(known, key=lambda row: row.since)}
        for row in newest.values():
            left_ms = max(0, row.until - now) * 1000
            if row.state in (OFF, READY) or (row.node == self._node and left_ms):
                part = Part(row.channel, row.key, row.model, row.state, row.reason, row.status, left_ms, row.step_ms)
                self._states.all[name_of(part)] = State(part, now_ms + left_ms, row.since, row.node != self._node)

    async def _served(self, conn: Conn, found: Iterable[StateRow]) -> list[StateRow]:
        """Those whose models their channels have; the others are forgotten."""
        names = {row.id: row.models for row in await channel_rows.list_channels(conn, limit=100_000)}
        left: list[StateRow] = []
        for row in found:
            if row.key or among(names.get(row.channel, ()), row.model):
                left.append(row)
            else:
                await rows.drop_states(conn, row.node, [(row.channel, row.key, row.model)])
        return left

    def changed(self, channels: Iterable[int]) -> None:
        """These channels are not what they were: keys may be gone."""
        self._channels.update(channels)

    async def run(self) -> None:
        """Write down what changes; ends only by cancellation."""
        while True:
            await asyncio.sleep(WRITE_S)
            states = self._states
            due = (
                self._turns
                or self._channels
                or states.told
                or states.gone
                or any(state.changed for state in states.all.values())
            )
            try:
                if self._db.path is None:
                    await self.ask_others()
                if due:
                    await self._db.run(self._write)
            except Exception as error:
                if not transient(error):
                    raise
                log.warning("the states of channels cannot be written down yet", extra={"error": str(error)})

    async def ask_others(self) -> None:
        """A key that another node's vendor refuses is refused here, too, and good here where it is good there."""
        async with self._db.read() as conn:
            found = await rows.list_states(conn, refused_since=clock.now_s() - BACK_S)
        now, now_ms, news = clock.now_s(), clock.monotonic_ms(), []
        for row in found:
            name = (row.channel, row.key, row.model)
            known = self._states.all.get(name)
            state, since = (known.part.state, known.since) if known is not None else (READY, 0)
            if row.node == self._node or row.since <= since or row.state == state:
                continue
            if row.state in (OFF, READY):
                left_ms = max(0, row.until - now) * 1000
                part = Part(*name, row.state, row.reason, row.status, left_ms, row.step_ms)
                self._states.all[name] = State(part, now_ms + left_ms, row.since)
                news.append(part)
        if news:
            self.on_news(news)

    async def _write(self, conn: Conn) -> None:
        for channel in list(self._channels):
            keys = await channel_rows.list_keys(conn, channel, channel)
            row = await channel_rows.get_channel(conn, channel)
            self._states.forget(channel, [key.id for key in keys], row.models if row is not None else ())
        gone = list(self._states.gone)
        await rows.drop_states(conn, self._node, gone)
        told = list(self._states.told)
        speeds = [SpeedRow(self._node, *name, self._states.mean(name), clock.now_s()) for name in told]
        await rows.put_speeds(conn, speeds)
        fresh = [state for state in self._states.all.values() if state.changed]
        await rows.put_states(conn, [self._row(state) for state in fresh])
        for part in self._turns:
            hint = await self._hint(conn, part)
            kind = events.KEY_OFF if part.state == OFF else events.KEY_READY
            detail = f"{part.reason}{f', status {part.status}' if part.status else ''}" if part.state == OFF else ""
            await events.record(conn, kind, self._node, part.channel, part.key, hint, detail)
        self._turns.clear()
        self._channels.clear()
        self._states.told.difference_update(told)
        self._states.gone.difference_update(gone)
        for state in fresh:
            state.changed = False

    def _row(self, state: State) -> StateRow:
        part = state.part
        until = clock.now_s() + max(0, state.until_ms - clock.monotonic_ms() + 999) // 1000
        return StateRow(
            self._node, *name_of(part), part.state, part.reason, part.status, state.since,
            0 if part.state == READY else until, part.step_ms,
        )  # fmt: skip

    async def _hint(self, conn: Conn, part: Part) -> str:
        for key in await channel_rows.list_keys(conn, part.channel, part.channel):
            if key.id == part.key:
                return hint_of_key(self._key, key)
        return ""


def hint_of_key(master: MasterKey | None, key: channel_rows.KeyRow) -> str:
    """The end of a key, as far as it may be shown; "" where it cannot be opened."""
    try:
        return events.hint_of(master.open(key.secret, key.channel_id)) if master is not None else ""
    except WrongKey:
        return ""


async def list_states(db: Database, channel: int = 0) -> dict[PartName, StateRow]:
    """How the parts of a channel (or of all) stand; of several nodes that live, the newest word counts."""
    async with db.read() as conn:
        found = await rows.list_states(conn, channel)
        live = {journal.node for journal in await journals.open_journals(conn)}
    now = clock.now_s()
    said = [as_is(row, now) for row in found if row.node in live or not live]
    ranked = sorted(said, key=lambda row: (row.since, STATES.index(row.state), row.until))
    return {(row.channel, row.key, row.model): row for row in ranked}


async def speeds(db: Database, channel: int) -> dict[str, SpeedRow]:
    """How quick a channel's models are; of several nodes the one that was heard last."""
    async with db.read() as conn:
        return {row.model: row for row in await rows.list_speeds(conn, channel)}


def as_is(row: StateRow, now: int) -> StateRow:
    """The row as it is now: whose time has come waits for one request to see how it is."""
    due = row.state in (COOLING, PROBING) and row.until <= now
    return msgspec.structs.replace(row, state=PROBING, until=0) if due else row


def worst(rows_: Collection[StateRow]) -> str:
    """The state that says most against a channel."""
    return max((row.state for row in rows_), key=STATES.index, default=READY)


def name_of(part: Part) -> PartName:
    """Which part it is."""
    return part.channel, part.key, part.model
