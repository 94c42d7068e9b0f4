"""The control process put together, run in this process with a worker of straw."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burncloud import clock, config, logs
from burncloud.app import control
from burncloud.app.control import Control, take_lock
from burncloud.database.changes import prune_changes
from burncloud.database.engine import Database, open_database
from burncloud.database.journals import StaleEpoch, bump_epoch, read_epoch
from burncloud.database.migrate import ensure_schema
from burncloud.domain.link import Put, Ready
from burncloud.service import events, probes, tokens, users
from burncloud.service.secrets import open_master_key
from tests.books import balance, until
from tests.unit.app.fake_worker import FakeWorker


class Run:
    """A control process that serves."""

    def __init__(self, root: Path, url: str, workers: int = 1, run_dir: str = "") -> None:
        self.root = root
        self.settings = config.load({"DATABASE_URL": url, "DATA_DIR": str(root), "DRAIN_TIMEOUT_MS": "2000"})
        alive, self.alive_fd = os.pipe()
        self.ready_fd, ready = os.pipe()
        self.boot = config.Boot(
            "control", workers=workers, run_dir=run_dir or str(root), alive_fd=alive, ready_fd=ready
        )
        self.control = Control(self.settings, self.boot)
        self.task = asyncio.create_task(self.control.run())

    async def serves(self) -> None:
        os.set_blocking(self.ready_fd, False)

        def ready() -> bool:
            if self.task.done():
                self.task.result()
            try:
                return os.read(self.ready_fd, 1) == b"1"
            except BlockingIOError:
                return False

        await until(ready, 20)

    def end(self) -> None:
        """The supervisor is gone."""
        os.close(self.alive_fd)

    async def get(self, path: str, key: str = "") -> tuple[int, Any]:
        reader, writer = await asyncio.open_unix_connection(self.boot.http_path)
        head = f"GET {path} HTTP/1.1\r\nhost: burncloud\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        first, _, body = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), json.loads(body)


@asynccontextmanager
async def running(root: Path, url: str) -> AsyncIterator[tuple[Run, FakeWorker]]:
    """Control with one worker; at the end both have gone, and cleanly."""
    run = Run(root, url)
    worker = FakeWorker(root, run.boot.link_path)
    await run.serves()
    yield run, worker
    worker.leave()
    run.end()
    assert await asyncio.wait_for(run.task, 15) == 0
    gc.unfreeze()


async def test_from_nothing_to_serving(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(tmp_path, database_url) as (run, worker):
        assert worker.of(Ready)
        assert stat.S_IMODE(os.stat(run.boot.http_path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(run.boot.link_path).st_mode) == 0o600
        assert (tmp_path / "master.key").exists()
        assert (await run.get("/health"))[0] == 200
        assert (await run.get("/api/v1/status"))[0] == 401
        db = open_database(database_url)
        key = (await tokens.create_token(db, "admin")).key
        status, body = await run.get("/api/v1/status", key)
        assert (status, body["workers"][0]["ready"], body["database"]["answers"]) == (200, True, True)
        await until(lambda: any(put.kind == "token" for put in worker.of(Put)))
        await db.close()
    printed = capsys.readouterr().out
    assert printed.count("password") == 1


async def test_the_password_is_shown_once_in_a_database_s_life(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = open_database(sqlite_url)
    await users.ensure_admin(db)
    await db.close()
    async with running(tmp_path, sqlite_url):
        pass
    assert capsys.readouterr().out == ""


async def test_what_a_worker_wrote_is_booked_before_control_ends(sqlite_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, sqlite_url) as (run, worker):
        await worker.loaded()
        assert worker.writer is not None
        worker.writer.exchange(40)
        run.end()
        await asyncio.sleep(0.2)
        assert not run.task.done()  # a worker is still there
        worker.writer.exchange(2)
        run.alive_fd = os.open(os.devnull, os.O_RDONLY)
    db = open_database(sqlite_url)
    assert (await balance(db, "user")).used == 42
    await db.close()


async def test_what_a_dead_worker_left_is_booked_at_the_next_start(sqlite_url: str, tmp_path: Path) -> None:
    first = Run(tmp_path, sqlite_url)
    worker = FakeWorker(tmp_path, first.boot.link_path)
    await first.serves()
    worker.unlink()  # the worker still writes when control is gone
    first.end()
    assert await asyncio.wait_for(first.task, 15) == 0
    assert worker.writer is not None
    worker.writer.exchange(7)
    worker.writer.kill()
    db = open_database(sqlite_url)
    async with running(tmp_path, sqlite_url), asyncio.timeout(10):
        while (await balance(db, "user")).used != 7:  # noqa: ASYNC110 - a database has no event
            await asyncio.sleep(0.01)
    await db.close()


async def test_a_foreign_master_key_leaves_channels_out_and_the_rest_serves(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = open_database(sqlite_url)
    await open_master_key(db, config.load({"DATA_DIR": str(tmp_path), "MASTER_KEY": "ab" * 32}))
    await db.close()
    async with running(tmp_path, sqlite_url) as (run, _):
        assert (await run.get("/health"))[0] == 200
    assert "cannot be opened" in caplog.text
    assert not (tmp_path / "master.key").exists()


async def test_a_foreign_master_key_does_not_take_over_a_shared_database(postgres_url: str, tmp_path: Path) -> None:
    db = open_database(postgres_url)
    await ensure_schema(db)
    await open_master_key(db, config.load({"DATA_DIR": str(tmp_path / "one"), "MASTER_KEY": "ab" * 32}))
    run = Run(tmp_path, postgres_url, workers=0)
    with pytest.raises(config.ConfigError, match="cannot be opened"):
        await asyncio.wait_for(run.task, 10)
    run.end()
    async with db.read() as connection:
        assert await read_epoch(connection, run.settings.node) == 0
    await db.close()


async def test_one_that_has_nothing_to_write_notices_its_successor(database_url: str, tmp_path: Path) -> None:
    run = Run(tmp_path, database_url, workers=0)
    await run.serves()
    db = open_database(database_url)
    await db.ledger(lambda tx: bump_epoch(tx, run.settings.node))
    await db.close()
    status, body = await run.get("/health")
    assert status == 503
    assert "another control process has taken over this node" in body["reasons"]
    assert await asyncio.wait_for(run.task, 5) == control.EXIT_FAILED
    run.end()


async def test_control_leaves_at_once_when_another_has_taken_over(sqlite_url: str, tmp_path: Path) -> None:
    run = Run(tmp_path, sqlite_url, workers=0)
    await run.serves()
    run.control._fail(StaleEpoch("another"))
    assert await asyncio.wait_for(run.task, 5) == control.EXIT_FAILED
    run.end()


async def test_a_chore_that_breaks_ends_control(sqlite_url: str, tmp_path: Path) -> None:
    run = Run(tmp_path, sqlite_url, workers=0)
    await run.serves()

    async def broken() -> None:
        raise KeyError("a bug")

    run.control._chore(broken())
    assert await asyncio.wait_for(run.task, 5) == control.EXIT_FAILED
    run.end()


def test_one_control_for_one_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load({"DATA_DIR": str(tmp_path)})
    lock = take_lock(settings)
    assert lock is not None
    naps: list[int] = []

    def nap(ms: int) -> None:
        naps.append(ms)
        if len(naps) == 3:
            lock.release()

    monkeypatch.setattr(clock, "sleep_ms", nap)
    again = take_lock(settings)
    assert again is not None
    assert len(naps) == 3


def test_one_that_never_ends_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load({"DATA_DIR": str(tmp_path), "DRAIN_TIMEOUT_MS": "1"})
    monkeypatch.setattr(control, "LEAVE_GRACE_S", 0.0)
    monkeypatch.setattr(control, "BOOKING_MS_MAX", 10)
    lock = take_lock(settings)
    assert lock is not None
    assert take_lock(settings) is None
    lock.release()


@pytest.mark.parametrize(
    ("environment", "status", "sentence"),
    [
        ({"DATABASE_URL": "sqlite:"}, config.EXIT_HOPELESS, "names no file"),
        ({"MASTER_KEY": "nonsense"}, config.EXIT_HOPELESS, "64 hex digits"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, config.EXIT_HOPELESS, "is it running"),
        ({"UPSTREAM_CA_FILE": "/nonexist.pem"}, config.EXIT_HOPELESS, "the file /nonexist.pem cannot be read"),
        ({"UPSTREAM_CA_FILE": __file__}, config.EXIT_HOPELESS, "holds no certificates"),
        ({"DATABASE_URL": "sqlite:/nonexist/dir/x.db"}, config.EXIT_HOPELESS, "folder /nonexist/dir of"),
        ({"DATABASE_URL": f"sqlite:{__file__}"}, config.EXIT_HOPELESS, "file is not a database"),
    ],
)
def test_what_cannot_start_says_why(
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environment: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    given = {"DATABASE_URL": sqlite_url, "DATA_DIR": str(tmp_path), "DATABASE_WAIT_MS": "1"}
    settings = config.load(given | environment)
    monkeypatch.setattr(config, "load", lambda: settings)
    monkeypatch.setattr(config, "boot", lambda: config.Boot("control", run_dir=str(tmp_path)))
    monkeypatch.setattr(logs, "configure", lambda level, role: None)
    assert control.main() == status
    assert sentence in caplog.text
    gc.enable()


async def test_a_database_that_comes_late_is_waited_for_with_one_line(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[float] = []

    async def late(db: Database) -> None:
        tries.append(0)
        if len(tries) < 4:
            raise ConnectionRefusedError(111, "Connect call failed")
        await ensure_schema(db)

    monkeypatch.setattr(control, "ensure_schema", late)
    monkeypatch.setattr(control, "DATABASE_RETRY_S", 0.01)
    async with running(tmp_path, sqlite_url):
        assert len(tries) == 4
    assert caplog.text.count("does not answer yet") == 1
    assert "trying for 30 s" in caplog.text


@pytest.mark.parametrize("orphan", [True, False])
async def test_one_that_comes_no_further_leaves_nothing_running(sqlite_url: str, tmp_path: Path, orphan: bool) -> None:
    """Its supervisor dies in its start (another one sweeps the run directory), or the link cannot be opened.

    The books have begun by then; they ran on into a closed database and raised alarms.
    """
    run = Run(tmp_path, sqlite_url, run_dir=str(tmp_path / "swept"))
    (tmp_path / "journal" / ("a" * 32)).mkdir(parents=True)
    if orphan:
        run.end()
        assert await asyncio.wait_for(run.task, 15) == 0
    else:
        with pytest.raises(FileNotFoundError):
            await asyncio.wait_for(run.task, 15)
        run.end()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stop_ends_the_waiting_for_a_database(sqlite_url: str, tmp_path: Path) -> None:
    run = Run(tmp_path, "postgresql://u@127.0.0.1:1/d", workers=0)
    await asyncio.sleep(0.1)
    run.end()
    with pytest.raises(control.Stopped):
        await asyncio.wait_for(run.task, 5)


async def test_what_is_old_is_forgotten_soon_and_then_hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A house that is reloaded every half an hour must not keep all for ever."""
    seen: list[object] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) > 5:
            raise asyncio.CancelledError

    class Rows:
        async def run(self, work: object) -> None:
            seen.append(work)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await control._prune(Rows())  # type: ignore[arg-type]
    works = [prune_changes, events.prune, probes.prune]
    assert seen == [control.PRUNE_FIRST_S, *works, 3_600, *works, 3_600][: len(seen)]
    assert control.PRUNE_FIRST_S <= 60
