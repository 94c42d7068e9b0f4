"""The control process put together: database, books, Snapshot, links, REST.

What a worker needs comes first: the schema, the books taken over, the Snapshot published; only then are the
web libraries loaded, in a thread, so that workers' questions are answered meanwhile.  It stops on SIGTERM or
when the supervisor is gone, after the workers have gone and what they wrote is booked.  Where another control process
takes its place (a reload) it goes at once: the workers stay, and the other one books on from where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from burncloud import clock, config, logs
from burncloud.app import child, loop
from burncloud.app.links import Links
from burncloud.app.lock import Held, SupervisorLock
from burncloud.app.processes import RETIRE
from burncloud.database.changes import Change, prune_changes
from burncloud.database.engine import DATABASE_ERRORS, Database, DatabaseError, open_database, refused, transient
from burncloud.database.migrate import ensure_schema
from burncloud.service import events, nodes, probes, secrets, users
from burncloud.service.credentials import Credentials
from burncloud.service.journals import Books
from burncloud.service.probes import Probes
from burncloud.service.snapshots import Snapshots
from burncloud.service.states import Keeper
from burncloud.wire.tls import ca_file_fault

LOCK_FILE: Final = "control.lock"
LOCK_POLL_MS: Final = 50
DATABASE_RETRY_S: Final = 0.5
WORKERS_S_MAX: Final = 2.0
"""Longest wait for the workers to have their Snapshot before the web libraries are loaded beside them."""
LEAVE_GRACE_S: Final = 5.0
"""Beyond DRAIN_TIMEOUT_MS: what a worker's last receipts may take."""
BOOKING_MS_MAX: Final = 8_000
"""At the end: less than the supervisor waits before it kills us."""
PRUNE_FIRST_S: Final = 60
"""Soon after the start: a house may be reloaded each hour."""
PRUNE_S: Final = 3_600
EXIT_OK, EXIT_FAILED = 0, 1

log = logs.logger(__name__)


class Unreachable(Exception):
    """The database did not answer within DATABASE_WAIT_MS; the message says why."""


class Stopped(Exception):
    """Told to stop before there was anything to stop."""


@dataclass
class Parts:
    """What stands once the workers can be served."""

    db: Database
    books: Books
    snapshots: Snapshots
    links: Links


class Control:
    """One control process."""

    def __init__(self, settings: config.Settings, boot: config.Boot, alone: bool = True) -> None:
        """`alone`: the lock of the data directory is ours."""
        self._alone = alone
        self._house: SupervisorLock | None = None
        self._settings = settings
        self._boot = boot
        self._stop = asyncio.Event()
        self._status = EXIT_OK
        self._retired = False
        """Another control process waits for our lock."""
        self._chores: list[asyncio.Task[None]] = []
        self._books: Books | None = None

    async def run(self) -> int:
        """Serve until told to stop; the exit status.  Raises what the database raises at the start."""
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
            if RETIRE is not None:
                asyncio.get_running_loop().add_signal_handler(RETIRE, self._retire)
        child.watch_supervisor(self._boot, self._stop.set)
        db = open_database(self._settings.database_url)
        try:
            try:
                await self._serve(await self._open(db))
            finally:
                for chore in self._chores:
                    chore.cancel()
                await asyncio.gather(*self._chores, return_exceptions=True)
                if self._books is not None:
                    await self._books.stop(0)  # whatever went wrong: nothing of theirs may meet a closed database
        finally:
            await db.close()
            if self._house is not None:
                self._house.release()
        return self._status

    async def _open(self, db: Database) -> Parts:
        """All that a worker needs: when this returns, it is there for them."""
        settings = self._settings
        await self._reach(db)
        if self._alone:
            self._house = take_house(db)
        key = await self._master_key(db)
        books = self._books = Books(db, settings.data_dir, settings.node, settings.journal_sync_ms)
        books.on_fatal = self._fail
        credentials = Credentials(settings.upstream_ca_file)
        snapshots = Snapshots(db, key, credentials)
        await snapshots.load()
        await books.start()
        links = Links(self._boot, books, snapshots)
        keeper = Keeper(db, settings.node, key, links.states)
        keeper.on_news = links.spread
        await keeper.load()
        tests = Probes(db, settings.node, links.probe, settings.probe_every_s)

        def noticed(changes: Sequence[Change]) -> None:
            keeper.changed(int(change.id) for change in changes if change.kind == "channel")
            if any(change.kind == "probe" for change in changes):
                tests.ring()

        snapshots.on_changes = noticed
        with self._orphaned():
            await links.start()
        gc.freeze()  # the snapshot's bytes stay
        gc.enable()
        self._chore(snapshots.follow(links.publish))
        self._chore(credentials.run(snapshots.renew_channels))
        self._chore(nodes.follow(db, settings.node, snapshots))
        if settings.redis_url:
            self._chore(nodes.watch_redis(db, settings.node, links.told, links.any_says))
        for work in (keeper.run(), tests.run(), *([tests.schedule()] if settings.probe_every_s else ())):
            self._chore(work)
        self._chore(_prune(db))
        return Parts(db, books, snapshots, links)

    async def _reach(self, db: Database) -> None:
        """The schema, as soon as the database answers.  Raises Unreachable, Stopped, what does not pass by waiting."""
        give_up_ms = clock.monotonic_ms() + self._settings.database_wait_ms
        told = False
        while True:
            try:
                return await ensure_schema(db)
            except Exception as error:
                if not transient(error):
                    raise
                if clock.monotonic_ms() >= give_up_ms:
                    raise Unreachable(reason_of(error)) from None
                if not told:
                    wait_s = max(1, self._settings.database_wait_ms // 1000)
                    log.warning("the database does not answer yet (%s); trying for %d s", reason_of(error), wait_s)
                told = True
            await self._unless_stopped(asyncio.sleep(DATABASE_RETRY_S))
            if self._stop.is_set():
                raise Stopped

    async def _master_key(self, db: Database) -> secrets.MasterKey | None:
        try:
            return await secrets.open_master_key(db, self._settings)
        except secrets.KeyMismatch as error:
            if db.path is None:
                # A database of several nodes: one that cannot open the keys must not take over from one that can.
                raise config.ConfigError(str(error)) from None
            log.critical("%s", error)
            return None

    async def _serve(self, parts: Parts) -> None:
        """From the first worker to the last booking."""
        first_password(await users.ensure_admin(parts.db))
        await self._unless_stopped(parts.links.wait(self._boot.workers, WORKERS_S_MAX))
        server = await self._open_rest(parts)
        log.info("control serves")
        child.announce_ready(self._boot)
        await self._stop.wait()
        if self._retired:
            await parts.books.stop(0)
        elif self._status == EXIT_OK:
            await parts.links.wait(0, self._settings.drain_timeout_ms / 1000 + LEAVE_GRACE_S)
            await parts.books.stop(BOOKING_MS_MAX)
        parts.links.close()
        await server()

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, Any]) -> None:
        """Wait for that, or until we are told to stop."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stop.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open_rest(self, parts: Parts) -> Callable[[], Coroutine[Any, Any, None]]:
        """The REST side, loaded now; gives what stops it."""
        house, serving, version = await asyncio.to_thread(_load_rest)
        running = house.RunningHouse(version, parts.db, parts.books, parts.snapshots, parts.links)
        server = serving.LocalServer(running)
        with self._orphaned():
            await server.start(self._boot.http_path, self._boot.http_port)
        stop: Callable[[], Coroutine[Any, Any, None]] = server.stop
        return stop

    @contextlib.contextmanager
    def _orphaned(self) -> Iterator[None]:
        """When our supervisor is gone, so is the run directory in which a socket would lie: we are ending anyway."""
        try:
            yield
        except OSError:
            if not self._stop.is_set():
                raise

    def _retire(self) -> None:
        self._retired = True
        self._stop.set()

    def _fail(self, error: BaseException) -> None:
        """The books are another's: leave at once, write nothing."""
        self._status = EXIT_FAILED
        self._stop.set()

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._chore_ended)
        self._chores.append(task)

    def _chore_ended(self, task: asyncio.Task[None]) -> None:
        """A chore never ends by itself; without it the house would go wrong silently."""
        if not task.cancelled() and task.exception() is not None:
            log.critical("control cannot go on", exc_info=task.exception())
            self._status = EXIT_FAILED
            self._stop.set()


def _load_rest() -> tuple[Any, Any, str]:
    """Import the web libraries (0.4 s) and look up our version."""
    from burncloud.app import house
    from burncloud.app.version import version
    from burncloud.server import serving

    return house, serving, version()


async def _prune(db: Database) -> None:
    """Forget changes that everybody has read long ago, old events and tests of channels."""
    wait_s = PRUNE_FIRST_S
    while True:
        await asyncio.sleep(wait_s)
        wait_s = PRUNE_S
        try:
            for work in (prune_changes, events.prune, probes.prune):
                await db.run(work)
        except DATABASE_ERRORS as error:
            log.warning("old changes cannot be removed", extra={"error": str(error)})


def first_password(password: str) -> None:
    """Show the first administrator's password, once; nothing if it is ""."""
    if password:
        print(
            "\n  First start: the administrator is  admin  with the password\n\n"
            f"      {password}\n\n"
            "  It is shown only now.  Another one: burncloud user passwd admin\n",
            flush=True,
        )


def take_lock(settings: config.Settings) -> SupervisorLock | None:
    """The lock of this data directory's control process.

    One that drains on after its supervisor died is waited for.  One that holds on longer than a drain can last is
    stuck, and passed by without the lock: the epoch in the database keeps it from writing ever after.
    """
    give_up_ms = clock.monotonic_ms() + settings.drain_timeout_ms + int(LEAVE_GRACE_S * 1000) + BOOKING_MS_MAX
    told = False
    while True:
        try:
            lock = SupervisorLock(os.path.join(settings.data_dir, LOCK_FILE))
        except Held:
            if clock.monotonic_ms() > give_up_ms:
                log.error("another control process does not end; it is passed by")
                return None
        else:
            lock.say("running", "")
            return lock
        if not told:
            told = True
            log.info("waiting for another control process to end")
        clock.sleep_ms(LOCK_POLL_MS)


def take_house(db: Database) -> SupervisorLock | None:
    """The lock beside a SQLite file: one server keeps its books, whatever data directory another one has.

    Raises ConfigError where another does.  PostgreSQL is there for several.
    """
    if db.path is None:
        return None
    try:
        return SupervisorLock(f"{db.path}.lock")
    except Held:
        raise config.ConfigError(
            f"another BurnCloud, with another DATA_DIR, serves the database {db.path.name}; stop it, or give this one "
            f"a DATABASE_URL of its own"
        ) from None


def main() -> int:
    """Entry point of the control process; the exit status."""
    try:
        settings, boot = config.load(), config.boot()
        logs.configure(settings.log_level, "control")
        check_files(settings)
        gc.disable()  # until the Snapshot stands: collecting its rows over and over is half of its time
        lock = take_lock(settings)
        status = loop.run(_run(settings, boot, lock is not None))
    except Stopped:
        return EXIT_OK
    except Unreachable as error:
        log.critical("the database does not answer: %s; is it running, and is DATABASE_URL right?", error)
        return config.EXIT_HOPELESS
    except (config.ConfigError, DatabaseError) as error:
        log.critical("%s", error)
        return config.EXIT_HOPELESS
    except Exception as error:
        if not transient(error) and not refused(error):
            raise
        log.critical("the database cannot be used: %s; is DATABASE_URL right?", reason_of(error))
        return config.EXIT_HOPELESS if refused(error) else EXIT_FAILED
    if lock is not None:
        lock.release()
    return status


def check_files(settings: config.Settings) -> None:
    """Raises ConfigError where a file that a setting names is not what it should be."""
    path = settings.upstream_ca_file
    fault = ca_file_fault(path) if path else ""
    if fault:
        raise config.ConfigError(f"UPSTREAM_CA_FILE: the file {path} {fault}.")


def reason_of(error: BaseException) -> str:
    """What the database's driver says, in one line."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0] or type(error).__name__


async def _run(settings: config.Settings, boot: config.Boot, alone: bool) -> int:
    return await Control(settings, boot, alone).run()


if __name__ == "__main__":
    sys.exit(main())
