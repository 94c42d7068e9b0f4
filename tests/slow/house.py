"""One product under fire: its processes, the upstream that never dies, its database, and the ways to kill.

Processes are found by the folder that stands in their environment, so that orphans of a killed supervisor are
found, too, and nothing else ever is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from burncloud import config
from burncloud.database.engine import Database, open_database
from burncloud.database.migrate import ensure_schema
from burncloud.service import billing, channels, prices, secrets, settings, tokens, users
from tests.product import ROOT, Product
from tests.slow.invariants import Account
from tests.slow.kinds import (
    CHANNEL_CASES,
    DEAD,
    HEDGE_AFTER_MS,
    HEDGED,
    KINDS,
    MAIN,
    PRICE,
    TOKEN_PRICES,
    write_cases,
)
from tests.slow.kinds import channels as channel_table
from tests.slow.ledger import Ledger
from tests.upstream.requests import read_log

SHIM: Final = Path(__file__).resolve().parent / "shim"
SEGMENT_BYTES: Final = 24 << 10
SETTINGS: Final = {
    "DRAIN_TIMEOUT_MS": "1500",
    "JOURNAL_BYTES_MAX": str(8 * SEGMENT_BYTES),
    "CONNECT_TIMEOUT_MS": "3000",
    "DEFAULT_RESERVE_OUTPUT": "300",
    "NODE": "killing",
}
"""Short waits, and a journal so short that segments go all the time."""
FRAME_HEAD_BYTES: Final = 8
COMPLAINTS: Final = ('"alarm"', "could not be handled", "Traceback", "AssertionError")
"""What no crash explains in the product's log."""
AMPLE: Final = 1_000_000_000_000_000


class Process(NamedTuple):
    """A living process of the house."""

    pid: int
    role: str
    """supervisor, control, worker-0, …, check"""


class Fallen(NamedTuple):
    """A process that a crash point had been laid ready for."""

    role: str
    point: str
    died: bool


class PassedBy(NamedTuple):
    """A control process whose books another one has taken over (successor.py)."""

    pid: int
    epoch: int
    """The other one's."""
    journal: int
    """Number of the newest journal then."""


class House:
    """A product in a folder, with all that a kill loop needs around it."""

    def __init__(
        self,
        folder: Path,
        database_url: str = "",
        workers: int = 1,
        mutate: str = "",
        data_dir: Path | None = None,
        **settings: str,
    ) -> None:
        """`database_url`: "" = SQLite in the folder.  `mutate`: a rule of shim/rules.py to take out."""
        self.folder = folder
        self.kill_dir = folder / "kill"
        self.kill_dir.mkdir(parents=True)
        self.url = database_url or f"sqlite:{folder / 'ledger.db'}"
        self.ledger = Ledger(self.url)
        self.data_dir = data_dir or folder / "data"
        self.upstream_log = folder / "upstream.log"
        self.keys: dict[str, str] = {}
        self.accounts: dict[str, Account] = {}
        self.upstream_port = 0
        self._upstream: subprocess.Popen[bytes] | None = None
        self._arms = itertools.count(1)
        self._settings = SETTINGS | {
            "DATABASE_URL": self.url,
            "DATA_DIR": str(self.data_dir),
            "PYTHONPATH": f"{SHIM}{os.pathsep}{ROOT}",
            "KILL_DIR": str(self.kill_dir),
            "SEGMENT_BYTES": str(SEGMENT_BYTES),
            "MUTATE": mutate,
        }
        self.workers = workers
        self.passed_by: PassedBy | None = None
        self.product = self._make_product(settings)
        self._log_read = 0

    def _make_product(self, settings: dict[str, str], port: int = 0) -> Product:
        named = self._settings | {"WORKERS": str(self.workers)} | ({"PORT": str(port)} if port else {}) | settings
        environment: dict[str, Any] = dict(named)
        return Product(self.folder / "product", **environment)

    # Life

    async def open(self) -> None:
        """Start the upstream and fill the database; the product does not run yet."""
        write_cases(self.folder / "cases")
        command = [sys.executable, "-m", "tests.upstream"]
        command += ["--log", str(self.upstream_log), "--dir", str(self.folder / "cases")]
        self.upstream_port = await asyncio.to_thread(self._start_upstream, command)
        db = open_database(self.url)
        try:
            await ensure_schema(db)
            await self._furnish(db)
        finally:
            await db.close()

    def _start_upstream(self, command: list[str]) -> int:
        self._upstream = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._upstream.stdout is not None
        return int(self._upstream.stdout.readline().split()[1])

    async def _furnish(self, db: Database) -> None:
        """Channels, prices, users and tokens, through the product's own rules."""
        await users.ensure_admin(db)
        self.data_dir.mkdir(mode=0o700)
        key = secrets.load_master_key(self.data_dir)
        assert key is not None
        origin = f"http://127.0.0.1:{self.upstream_port}"
        bases = {MAIN: f"{origin}/v1", DEAD: "http://127.0.0.1:1/v1"}
        bases |= {name: f"{origin}/~{name}/v1" for name in CHANNEL_CASES}
        for name, models in channel_table().items():
            base = bases[name.rpartition("-")[0]]
            names = {model: model for model in models}
            await channels.create_channel(
                db, key, "openai", ["sk-upstream"], names, base, name, priority=min(models.values())
            )
        for model in KINDS:
            input_, output = TOKEN_PRICES.get(model, (0, 0))
            request = 0 if model in TOKEN_PRICES else PRICE
            await prices.update_price(db, model, {"input": input_, "output": output}, request)
        for model in HEDGED:
            await settings.update_setting(db, config.load({}), f"hedge_after_ms:{model}", str(HEDGE_AFTER_MS))
        await self.add_account(db, "free", -1, -1)
        await self.add_account(db, "rich", AMPLE, AMPLE)
        await self.add_account(db, "rich-user", -1, AMPLE)

    async def add_account(self, db: Database, name: str, token_limit: int, user_limit: int, user: int = 0) -> None:
        """A token, of a new user or of one that there is."""
        if not user:
            user = (await users.create_user(db, name, quota_limit=user_limit)).id
        made = await tokens.create_token(db, str(user), name, token_limit)
        self.keys[name] = made.key
        self.accounts[name] = Account(made.token.id, user, token_limit, user_limit)

    async def set_limits(self, name: str, token_limit: int, user_limit: int) -> None:
        """Change an account's limits, as a command would: in the database, under the running product."""
        old = self.accounts[name]
        if token_limit != old.token_limit:
            await self.ledger.execute(f"UPDATE tokens SET quota_limit = {token_limit} WHERE id = {old.token}")
        if user_limit != old.user_limit:
            await self.ledger.execute(f"UPDATE users SET quota_limit = {user_limit} WHERE id = {old.user}")
        for other, account in self.accounts.items():
            if account.user == old.user:
                limit = token_limit if other == name else account.token_limit
                self.accounts[other] = account._replace(token_limit=limit, user_limit=user_limit)

    def close(self) -> None:
        """Kill everything that is left."""
        self.kill_everything()
        self.product.kill()
        if self._upstream is not None:
            self._upstream.kill()
            self._upstream.wait()
            assert self._upstream.stdout is not None
            self._upstream.stdout.close()

    # Start and stop

    async def start(self, wait: bool = True, workers: int = 0, **settings: str) -> None:
        """Start the product (or its next supervisor, where orphans still drain)."""
        if settings or (workers and workers != self.workers):
            self.workers = workers or self.workers
            self.product = self._make_product(settings, self.product.port)
        self.product.start(wait=False)
        if wait:
            await self.wait_ready()

    async def wait_ready(self) -> None:
        """Until /health is content."""
        await asyncio.to_thread(self.product.wait_ready)

    async def ensure_running(self) -> None:
        """Start it again if its supervisor is gone, until one stays."""
        deadline = time.monotonic() + 30
        while not self.product.running:
            assert time.monotonic() < deadline, f"it does not start again:\n{self.product.log()[-3000:]}"
            await self.start(wait=False)
            with contextlib.suppress(AssertionError):
                await self.wait_ready()

    async def stop(self) -> int:
        """SIGTERM, drain, wait; then wait for orphans of earlier supervisors."""
        status = await asyncio.to_thread(self.product.stop)
        await self.drained()
        return status

    async def drained(self) -> None:
        """Until nothing of it lives any more."""
        deadline = time.monotonic() + 20
        while left := self.processes():
            assert time.monotonic() < deadline, f"still there after a stop: {left}"
            await asyncio.sleep(0.05)

    # Processes

    def processes(self) -> list[Process]:
        """Every living process of the house."""
        mark = f"KILL_DIR={self.kill_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_bytes().split(b"\0")
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if mark in environment and not dead:
                found.append(Process(int(entry.name), _role(words, environment)))
        return found

    def pids(self, role: str) -> list[int]:
        """Those of a role; "worker" means every worker."""
        return [process.pid for process in self.processes() if process.role.startswith(role)]

    def kill(self, processes: list[Process], number: int = signal.SIGKILL) -> Counter[str]:
        """Send a signal to each; how many of which role."""
        done: Counter[str] = Counter()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
                done[process.role.partition("-")[0]] += 1
        while number == signal.SIGKILL and done["supervisor"] and self.product.running:
            time.sleep(0.001)  # until it can be started again
        return done

    def kill_everything(self) -> None:
        """SIGKILL to all, again until none is left (a supervisor may just have started one)."""
        while left := self.processes():
            self.kill(left)
            time.sleep(0.005)

    def kill_roles(self, *roles: str, number: int = signal.SIGKILL) -> Counter[str]:
        """Send a signal to every process of these roles, at the same moment."""
        return self.kill([p for p in self.processes() if p.role.startswith(roles)], number)

    # Crash points

    def arm(self, role: str, point: str, n: int) -> None:
        """The next process that starts in this role dies at the n-th passing of the point."""
        path = self.kill_dir / f"arm.{role}.{next(self._arms):06d}"
        path.with_suffix(".new").write_text(f"{point}:{n}")
        path.with_suffix(".new").rename(path)

    def fallen(self) -> list[Fallen]:
        """What became of the crash points laid ready; those still lying there are taken away.

        Whoever has one and did not come to it in time dies now: it must not strike in a later round or a clean stop.
        """
        alive = {process.pid: process for process in self.processes()}
        found = []
        for path in sorted(self.kill_dir.glob("taken.*")):
            _, role, pid = path.name.split(".")
            found.append(Fallen(role, path.read_text().partition(":")[0], int(pid) not in alive))
            self.kill([alive[int(pid)]] if int(pid) in alive else [])
            path.unlink()
        for path in self.kill_dir.glob("arm.*"):
            found.append(Fallen(path.name.split(".")[1], path.read_text().partition(":")[0], False))
            path.unlink(missing_ok=True)
        return found

    async def wait_fall(self, role: str, timeout_s: float) -> bool:
        """Until a process of this role has taken its crash point and died of it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            alive = {process.pid for process in self.processes()}
            taken = [int(path.name.split(".")[2]) for path in self.kill_dir.glob(f"taken.{role}.*")]
            if taken and not any(pid in alive for pid in taken) and not list(self.kill_dir.glob(f"arm.{role}.*")):
                return True
            await asyncio.sleep(0.02)
        return False

    async def wait_gone(self, pid: int, timeout_s: float) -> bool:
        """Until a process has ended."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if all(process.pid != pid for process in self.processes()):
                return True
            await asyncio.sleep(0.05)
        return False

    # What the others saw

    def seen(self, prefix: str) -> Counter[str]:
        """Request ids that begin with `prefix` → how often their head arrived at the upstream."""
        heads = (str(line["id"]) for line in read_log(self.upstream_log) if line["event"] == "head")
        return Counter(id_ for id_ in heads if id_.startswith(prefix))

    def complaints(self, alarms: Sequence[str] = ()) -> list[str]:
        """New lines of the product's log that no crash explains: tracebacks, alarms but for the kinds given."""
        log = self.product.log()
        new, self._log_read = log[self._log_read :], len(log)
        fine = [f'"alarm": "{kind}"' for kind in alarms]
        lines = [line for line in new.splitlines() if any(word in line for word in COMPLAINTS)]
        return [f"log: {line[:600]}" for line in lines if not any(word in line for word in fine)]

    def told(self) -> str:
        """The product's log in short: the newest lines, each message once in a row."""
        lines: list[str] = []
        for line in self.product.log().splitlines():
            message = line.partition('"level"')[2] or line
            if not lines or message != (lines[-1].partition('"level"')[2] or lines[-1]):
                lines.append(line[:600])
        return "\n".join(["the product said:", *lines[-60:]])

    async def verify(self) -> list[str]:
        """What `ledger verify` finds."""
        db = open_database(self.url)
        try:
            report = await billing.verify(db)
        finally:
            await db.close()
        return [f"verify: {fault}" for fault in report.faults]

    # Loss of power

    def remember_syncs(self) -> None:
        """From the next start on, keep what each sync of a journal has made durable."""
        (self.kill_dir / "durable").mkdir(exist_ok=True)

    def lose_power(self, rng: random.Random) -> int:
        """All processes are dead: take from the journals what was never synced, or a part of it; bytes taken."""
        assert not self.processes()
        taken = 0
        for path in self.data_dir.glob("journal/*/*.seg"):
            data = path.read_bytes()
            image = self.kill_dir / "durable" / f"{path.parent.name}-{path.name}"
            kept = _written(image.read_bytes()) if image.exists() else 0
            written = _written(data)
            if written <= kept:
                continue
            keep = rng.choice([kept, rng.randint(kept, written)])
            taken += written - keep
            with path.open("r+b") as file:
                file.seek(keep)
                file.write(bytes(written - keep))
        return taken


def _role(words: list[bytes], environment: list[bytes]) -> str:
    boot = next((entry for entry in environment if entry.startswith(b"BURNCLOUD_BOOT=")), b"")
    if not boot:
        return "supervisor" if words[-2:-1] == [b"burncloud"] else "command"
    record: dict[str, Any] = json.loads(boot.partition(b"=")[2])
    return f"worker-{record['index']}" if record["role"] == "worker" else str(record["role"])


def _written(data: bytes) -> int:
    """Up to where a segment holds frames: length u32, checksum u32, then `length` bytes."""
    offset = 0
    while length := int.from_bytes(data[offset : offset + 4], "little"):
        offset += FRAME_HEAD_BYTES + length
    return min(offset, len(data))
