"""burncloud channel test: what it waits for and what it says (all of it: tests/integration/test_probes.py)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from burncloud.cli import probes as module
from burncloud.database import probes
from burncloud.database.engine import open_database
from tests.unit.cli.conftest import Cli

RESULTS: dict[str, dict[str, Any]] = {
    "": {"ok": True, "count": 2, "missing": ["n"]},
    "m": {"ok": True, "duration_ms": 8, "first_byte_ms": 5},
    "n": {"ok": False, "error": "status 404: no such model"},
    "dall-e-3": {"ok": False, "skipped": "an image is not cheap"},
}


@contextmanager
def server(url: str) -> Iterator[None]:
    """Something that takes tests and ends them, one after the other."""
    over = threading.Event()

    async def work() -> None:
        db = open_database(url)
        while not over.is_set():
            async with db.begin() as conn:
                for row in await probes.take_probes(conn, "here", 0):
                    await probes.end_probe(conn, row.id, RESULTS[row.model])
            await asyncio.sleep(0.02)
        await db.close()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def channel(cli: Cli) -> None:
    cli("channel", "add", "--type", "openai", "--name", "one", "--models", "m,n,dall-e-3", "--key", "sk-x")


def test_what_came_of_it_is_said_as_it_comes(cli: Cli, channel: None, sqlite_url: str) -> None:
    with server(sqlite_url):
        done = cli("channel", "test", "one", status=1)
        assert done.out.splitlines() == [
            "one  list of models (key 1): 2 models there; NOT THERE: n",
            "one  m (key 1): ok, 8 ms, first byte 5 ms",
            "one  n (key 1): failed: status 404: no such model",
            "one  dall-e-3 (key 1): not tested: an image is not cheap",
            "2 ok, 1 failed, 1 not tested",
        ]
        done = cli("channel", "test", "--all", "--model", "m", "--json")
        [found] = done.json
        assert (found["channel_name"], found["model"], found["ok"], found["first_byte_ms"]) == ("one", "m", True, 5)
        assert "1/1  one  m (key 1): ok" in done.err
    assert "test m" in cli("channel", "show", "one").out


def test_without_a_server(cli: Cli, channel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAKEN_MS_MAX", 200)
    assert "start it with `burncloud`" in cli("channel", "test", "one", status=1).err


def test_what_is_meant_must_be_said(cli: Cli, channel: None) -> None:
    assert "The channel 'one' has no model 'tiny'" in cli("channel", "test", "one", "--model", "m,tiny", status=1).err
    assert "There is nothing to test" in cli("channel", "test", "--all", "--model", "tiny", status=1).err
    assert "name channels, or give --all" in cli("channel", "test", status=2).err
    assert "name channels, or give --all" in cli("channel", "test", "one", "--all", status=2).err
    assert "There is no channel 'two'" in cli("channel", "test", "two", status=1).err
