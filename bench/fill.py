"""A large installation: writes tokens and channels straight into a stopped product's SQLite database."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from burncloud.service.secrets import parse_master_key


def fill(folder: Path, tokens: int, channels: int) -> None:
    """Add tokens (of the first user) and channels (each with a model of its own) to the product in `folder`."""
    database = sqlite3.connect(folder / "burncloud.db")
    now = int(time.time())
    with database:
        (user,) = database.execute("SELECT min(id) FROM users").fetchone()
        database.executemany(
            "INSERT INTO tokens (hash, hint, name, user_id, quota_limit, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            ((n.to_bytes(32, "big"), f"sk-…{n:04d}", f"bulk {n}", user, 10**9 + n, now) for n in range(1, tokens + 1)),
        )
        _channels(
            database, folder, [(f"bulk-{n}", f"http://127.0.0.1:{20000 + n % 20000}/v1") for n in range(channels)]
        )
    database.close()


def crowd(folder: Path, places: Sequence[tuple[str, str]], count: int) -> None:
    """Give each of these (model, base URL) so many channels more."""
    database = sqlite3.connect(folder / "burncloud.db")
    with database:
        _channels(database, folder, [place for place in places for _ in range(count)])
    database.close()


def _channels(database: sqlite3.Connection, folder: Path, places: Sequence[tuple[str, str]]) -> None:
    """One for each (model, base URL)."""
    key = parse_master_key((folder / "burncloud.data" / "master.key").read_text())
    now = int(time.time())
    (last,) = database.execute("SELECT coalesce(max(id), 0) FROM channels").fetchone()
    for n, (model, url) in enumerate(places, last + 1):
        database.execute(
            "INSERT INTO channels (id, ref, name, vendor, base_url, models, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (n, f"ch_{n:016d}", f"bulk {n}", "openai", url, json.dumps({model: model}), now),
        )
        database.execute("INSERT INTO channel_keys (channel_id, secret) VALUES (?, ?)", (n, key.seal("sk-upstream", n)))
        database.execute("INSERT INTO abilities VALUES ('default', ?, ?, 1, 0, 1)", (model, n))
