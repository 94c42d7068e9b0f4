"""The Snapshot on its way to the workers: everything once, then what changes.

The full load is read from the database in pages and encoded once into frames of at most FRAME_BYTES; all
workers get the same bytes.  Each change is encoded once, too, goes to all workers and is remembered behind
the load, so that a worker that comes later gets both, in order, without a look at the database.  When the
changes have outgrown the load they follow, everything is read anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final

import msgspec

from burncloud import logs
from burncloud.adaptors.vendors import VENDORS
from burncloud.database import channels as channel_rows
from burncloud.database import groups as group_rows
from burncloud.database import limits as limit_rows
from burncloud.database import policies as policy_rows
from burncloud.database import prices as price_rows
from burncloud.database import settings as setting_rows
from burncloud.database import tokens as token_rows
from burncloud.database import users as user_rows
from burncloud.database.changes import Change, follow, newest_change
from burncloud.database.connection import Conn
from burncloud.database.engine import Database, transient
from burncloud.domain import link
from burncloud.domain.snapshot import RECORD_TYPES, Channel, Group, Limit, Policy, Record, Setting, Token, User
from burncloud.service import prices
from burncloud.service.credentials import Credentials, is_minted
from burncloud.service.secrets import MasterKey, WrongKey

FRAME_BYTES: Final = 64 << 10
PAGE: Final = 5_000
"""Rows read at once in a full load; between pages others get their turn."""
IDS_AT_ONCE: Final = 500
CHANGES_BYTES_MIN: Final = 4 << 20
"""Changes may always grow to this before everything is read anew."""
RETRY_S: Final = 0.5
QUOTA_KINDS: Final = {"quota_user": "user", "quota_token": "token"}
"""Kind of change → kind of account whose limit moved."""

Publish = Callable[[Sequence[bytes]], None]
Secrets = tuple[tuple[int, str], ...]
"""(id of a key, the key in the clear) …"""
log = logs.logger(__name__)


class Snapshots:
    """What workers know, as bytes ready to send."""

    def __init__(self, db: Database, key: MasterKey | None, credentials: Credentials | None = None) -> None:
        """`key` opens upstream keys; without it every channel is left out, loudly."""
        self._db = db
        self._key = key
        self._credentials = credentials or Credentials()
        self._order = asyncio.Lock()
        """What is read is published before anything is read again: a worker never gets the older state last."""
        self._publish: Publish = lambda frames: None
        self.on_changes: Callable[[Sequence[Change]], None] = lambda changes: None
        """Called with all changes once they are published, those that no worker needs to know, too."""
        self._load: list[bytes] = []
        self._changes: list[tuple[int, bytes]] = []
        """(number of the newest change in it, frame), in order."""
        self.seq = 0
        """The newest change that is in these bytes."""
        self.left_out: dict[int, str] = {}
        """Channels that no worker gets, and why."""
        self._numbered: dict[str, Callable[[Conn, int, int, Sequence[int]], Awaitable[tuple[list[Record], int]]]] = {
            "user": _users,
            "token": _tokens,
            "channel": self._channels,
        }
        self._part = (0, 1)
        """This node's place among the live ones, and how many there are: limits are divided."""
        self._named = {**_NAMED, "limit": self._limits}
        """Kind → records by id, a page or those asked for, and the last id read (0 = there were none)."""

    async def load(self) -> None:
        """Read everything.  Raises what the database raises; then what was loaded before still stands."""
        async with self._db.read() as conn:
            seq = await newest_change(conn)
        frames: list[bytes] = []
        for kind in RECORD_TYPES:
            async for records in self._pages(kind):
                frames += encode_put(kind, records)
        self._load = frames
        self._changes = [(number, frame) for number, frame in self._changes if number > seq]
        self.seq = max(self.seq, seq)
        if self.left_out:
            log.critical("channels are left out: their requests will fail", extra={"channels": self.left_out})

    def frames(self) -> list[bytes]:
        """All that a worker needs that knows nothing, in order, its end marked by Ready."""
        return [*self._load, *(frame for _, frame in self._changes), link.frame(link.Ready(self.seq))]

    async def follow(self, publish: Publish) -> None:
        """Give each change to `publish`, as frames for all workers; ends only by cancellation."""
        self._publish = publish
        async for changes in follow(self._db, self.seq):
            async with self._order:
                lasting = await self._read_until_done(changes)
                self.seq = changes[-1].seq
                self._changes += [(self.seq, frame) for frame in lasting]
                publish(lasting + _quotas(changes))
            self.on_changes(changes)
            if sum(len(frame) for _, frame in self._changes) > max(sum(map(len, self._load)), CHANGES_BYTES_MIN):
                await self._load_anew()

    async def renew_channels(self, ids: list[int]) -> None:
        """Their access tokens have changed: publish these channels anew."""
        async with self._order:
            frames = await self._read_until_done([Change(self.seq, "channel", str(id_)) for id_ in ids])
            self._changes += [(self.seq, frame) for frame in frames]
            self._publish(frames)

    async def divide(self, place: int, count: int) -> None:
        """So many nodes are live, and this is the one at that place: publish its part of all limits."""
        async with self._order:
            self._part = (place, count)
            async with self._db.read() as conn:
                frames = encode_put("limit", list((await self._limits(conn)).values()))
            self._changes += [(self.seq, frame) for frame in frames]
            self._publish(frames)

    async def _limits(self, conn: Conn, names: Sequence[str] = ()) -> dict[str, Record]:
        """Of these names, or all: there may be as many as tokens."""
        rows = await limit_rows.list_limits(conn, names=names)
        whole = [Limit(row.name, row.requests, row.tokens, row.concurrency) for row in rows]
        return {limit.name: divided(limit, *self._part) for limit in whole}

    async def _load_anew(self) -> None:
        try:
            await self.load()
        except Exception as error:
            if not transient(error):
                raise
            log.warning("the snapshot cannot be read anew, going on with changes", extra={"error": str(error)})

    async def _read_until_done(self, changes: Collection[Change]) -> list[bytes]:
        """What these changes come to as frames; waits for a database that is away."""
        while True:
            try:
                return await self._read_changes(changes)
            except Exception as error:
                if not transient(error):
                    raise
                log.warning("a change cannot be read, trying again", extra={"error": str(error)})
            await asyncio.sleep(RETRY_S)

    async def _read_changes(self, changes: Collection[Change]) -> list[bytes]:
        frames: list[bytes] = []
        async with self._db.read() as conn:
            for kind in RECORD_TYPES:
                names = {change.id for change in changes if change.kind == kind}
                if not names:
                    continue
                if kind in self._numbered:
                    frames += await self._read_numbered(conn, kind, sorted(map(int, names)))
                elif kind in ("limit", "policy"):
                    wanted = sorted(names)
                    for start in range(0, len(wanted), IDS_AT_ONCE):
                        some = wanted[start : start + IDS_AT_ONCE]
                        read = partial(self._limits if kind == "limit" else _policies, names=some)
                        frames += await _read_named(conn, kind, set(some), read)
                else:
                    frames += await _read_named(conn, kind, names, self._named[kind])
        return frames

    async def _read_numbered(self, conn: Conn, kind: str, ids: list[int]) -> list[bytes]:
        frames: list[bytes] = []
        for start in range(0, len(ids), IDS_AT_ONCE):
            some = ids[start : start + IDS_AT_ONCE]
            records, _ = await self._numbered[kind](conn, 0, 0, some)
            found = {getattr(record, "id", 0) for record in records}
            frames += encode_put(kind, records)
            if gone := [id_ for id_ in some if id_ not in found]:
                frames.append(link.frame(link.Drop(kind, list(gone))))
                if kind == "channel":
                    for id_ in gone:
                        self._credentials.keep(id_, ())
        return frames

    async def _pages(self, kind: str) -> AsyncIterator[list[Record]]:
        """All records of a kind, in pages; each page is a transaction of its own, since changes follow anyway."""
        if kind not in self._numbered:
            async with self._db.read() as conn:
                yield list((await self._named[kind](conn)).values())
            return
        last = 0
        while True:
            async with self._db.read() as conn:
                records, last = await self._numbered[kind](conn, last, PAGE, ())
            if not last:
                return
            yield records

    async def _channels(self, conn: Conn, after: int, limit: int, ids: Sequence[int]) -> tuple[list[Record], int]:
        rows = await channel_rows.list_channels(conn, after, limit, ids)
        keys: dict[int, list[channel_rows.KeyRow]] = {row.id: [] for row in rows}
        for key in await channel_rows.list_keys(conn, rows[0].id, rows[-1].id) if rows else ():
            if key.channel_id in keys:
                keys[key.channel_id].append(key)
        found: list[Record] = []
        for row in rows:
            secrets = self._opened(row, [key for key in keys[row.id] if key.enabled])
            if secrets:
                found.append(_channel(row, self._minted(row, secrets)))
        return found, rows[-1].id if rows else 0

    def _opened(self, row: channel_rows.ChannelRow, keys: list[channel_rows.KeyRow]) -> tuple[tuple[int, str], ...]:
        """The channel's keys in the clear; none where one cannot be opened, which is put down in `left_out`."""
        reason = "" if keys else "it has no key"
        opened: list[tuple[int, str]] = []
        for key in keys:
            try:
                if self._key is None:
                    raise WrongKey("the master key is missing or another one")
                opened.append((key.id, self._key.open(key.secret, row.id)))
            except WrongKey as error:
                reason = str(error)
        known = self.left_out.pop(row.id, "")
        if reason:
            self.left_out[row.id] = f"{row.name}: {reason}"
            if not known:
                log.error("a channel is left out", extra={"channel": row.name, "reason": reason})
            return ()
        return tuple(opened)

    def _minted(
        self, row: channel_rows.ChannelRow, secrets: tuple[tuple[int, str], ...]
    ) -> tuple[tuple[int, str], ...]:
        """The keys as workers send them: access tokens instead of what they are minted from; those there are."""
        vendor = VENDORS.get(row.vendor)
        kind = vendor.mint if vendor is not None else ""
        minted = [key for key, secret in secrets if is_minted(kind, secret)]
        self._credentials.keep(row.id, minted)
        if not minted:
            return secrets
        proxy = str(row.options.get("proxy") or "")
        found: list[tuple[int, str]] = []
        for key, secret in secrets:
            token = self._credentials.token(row.id, key, kind, secret, proxy) if key in minted else secret
            if token:
                found.append((key, f"Bearer {token}" if key in minted else token))
        return tuple(found)


def _channel(row: channel_rows.ChannelRow, secrets: tuple[tuple[int, str], ...]) -> Channel:
    return Channel(
        id=row.id,
        ref=row.ref,
        vendor=row.vendor,
        base_url=row.base_url,
        keys=secrets or ((0, ""),),
        models=row.models,
        groups=tuple(row.groups),
        enabled=row.enabled and bool(secrets),  # without an access token yet, it is known and cannot be chosen
        priority=row.priority,
        weight=row.weight,
        options=row.options,
    )


_NO_OPTIONS: Final[dict[str, object]] = {}


async def _users(conn: Conn, after: int, limit: int, ids: Sequence[int]) -> tuple[list[Record], int]:
    rows = await user_rows.snapshot_users(conn, after, limit, ids)
    limited = await limit_rows.budgeted(conn, "user", rows[0][0], rows[-1][0], ids) if rows else ()
    found: list[Record] = [
        User(id_, enabled, group, quota >= 0 or id_ in limited) for id_, enabled, group, quota in rows
    ]
    return found, rows[-1][0] if rows else 0


async def _tokens(conn: Conn, after: int, limit: int, ids: Sequence[int]) -> tuple[list[Record], int]:
    rows = await token_rows.snapshot_tokens(conn, after, limit, ids)
    limited = await limit_rows.budgeted(conn, "token", rows[0][0], rows[-1][0], ids) if rows else ()
    found: list[Record] = []
    for id_, hash_, user, enabled, quota, expires_at, group, models, networks, options in rows:
        some = None if models is None else tuple(json.loads(models))
        blocks = () if networks == "[]" else tuple(json.loads(networks))
        said = _NO_OPTIONS if options == "{}" else json.loads(options)
        finite = quota >= 0 or id_ in limited
        found.append(Token(id_, hash_, user, enabled, finite, expires_at, group, some, blocks, said))
    return found, rows[-1][0] if rows else 0


async def _groups(conn: Conn) -> dict[str, Record]:
    return {row.name: Group(row.name, row.ratio_ppm) for row in await group_rows.list_groups(conn)}


async def _prices(conn: Conn) -> dict[str, Record]:
    everything = {row.model: row for row in await price_rows.list_prices(conn)}
    resolved = {model: prices.resolve(row, everything) for model, row in everything.items()}
    return {model: price for model, price in resolved.items() if price is not None}


async def _settings(conn: Conn) -> dict[str, Record]:
    return {name: Setting(name, value) for name, value in (await setting_rows.list_settings(conn)).items()}


async def _policies(conn: Conn, names: Sequence[str] = ()) -> dict[str, Record]:
    """Of these names, or all."""
    return {
        row.name: Policy(
            row.name, row.scope, row.models, row.balance, row.affinity, {k: tuple(v) for k, v in row.fallbacks.items()}
        )
        for row in await policy_rows.list_policies(conn, names)
    }


def divided(limit: Limit, place: int, count: int) -> Limit:
    """A node's part of a limit."""
    whole = (limit.requests, limit.tokens, limit.concurrency)
    requests, tokens, places = [one if one < 0 else one // count + (place < one % count) for one in whole]
    return Limit(limit.name, requests, tokens, places, whole if count > 1 else None, count)


_NAMED: Final[dict[str, Callable[[Conn], Awaitable[dict[str, Record]]]]] = {
    "group": _groups,
    "price": _prices,
    "setting": _settings,
    "policy": _policies,
}
"""Kind → all its records by name: these tables are small."""


async def _read_named(
    conn: Conn, kind: str, names: set[str], read: Callable[[Conn], Awaitable[dict[str, Record]]]
) -> list[bytes]:
    if kind == "price":  # those that share a changed price have changed, too
        names = prices.dependents(names, {row.model: row for row in await price_rows.list_prices(conn)})
    records = await read(conn)
    frames = encode_put(kind, [records[name] for name in sorted(names) if name in records])
    if gone := sorted(names - records.keys()):
        frames.append(link.frame(link.Drop(kind, list(gone))))
    return frames


def _quotas(changes: Collection[Change]) -> list[bytes]:
    """Limits that moved: only workers that hold a denial or a lease care, and only now."""
    moved = {(QUOTA_KINDS[change.kind], int(change.id)) for change in changes if change.kind in QUOTA_KINDS}
    return [link.frame(link.Quota(kind, account)) for kind, account in sorted(moved)]


def encode_put(kind: str, records: Sequence[Record]) -> list[bytes]:
    """The records as frames of at most FRAME_BYTES (a larger record has a frame of its own)."""
    frames: list[bytes] = []
    rows: list[msgspec.Raw] = []
    size = 0
    encode = link.encode
    for record in records:
        row = encode(record)
        if size + len(row) > FRAME_BYTES - 64 and rows:
            frames.append(link.frame(link.Put(kind, rows)))
            rows, size = [], 0
        rows.append(msgspec.Raw(row))
        size += len(row)
    if rows:
        frames.append(link.frame(link.Put(kind, rows)))
    return frames
