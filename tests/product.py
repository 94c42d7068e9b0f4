"""The whole product, driven as a user drives it: started by its command, configured by its CLI, called over HTTP.

Tests and the bench use nothing else of the product, so that what they see is what a user gets.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 40


class CommandFailed(AssertionError):
    """A command of the CLI ended with a status other than 0; the text holds what it said."""


class Product:
    """One installation in its own folder: settings, database and data directory are its own.

    `settings` are names of the environment (WORKERS="2").  The process group is its own, so that
    `kill` reaches every process.
    """

    def __init__(self, folder: Path, *, python: str = sys.executable, core: int | None = None, **settings: str) -> None:
        self.folder = folder
        self.port = int(settings.get("PORT", free_port()))
        self.core = core
        self._python = python
        self._env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        self._env |= {"HOST": "127.0.0.1", "PORT": str(self.port), "PYTHONPATH": str(ROOT), "LOG_LEVEL": "warning"}
        self._env |= settings
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False
        self._names = itertools.count(1)

    def __enter__(self) -> Product:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(f"the product's log ends with:\n{self.log()[-3000:]}")

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None, "the product is not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """All that the product wrote to its standard output and error."""
        path = self.folder / "product.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, wait: bool = True) -> None:
        """Start it in the folder; with `wait`, return once /health answers 200."""
        assert not self.running, "it runs already"
        self._told = False
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "product.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._placed([self._python, "-m", "burncloud"]),
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def _placed(self, command: Sequence[str]) -> list[str]:
        return [*(["taskset", "-c", str(self.core)] if self.core is not None else []), *command]

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once /health answers 200; AssertionError with the log's end if it does not in time."""
        deadline = time.monotonic() + timeout_s
        seen = "no answer"
        while time.monotonic() < deadline:
            if not self.running:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as error:
                with error:
                    seen = f"{error.code} {error.read()[:300]!r}"
            except OSError as error:
                seen = repr(error)
            time.sleep(0.02)
        raise AssertionError(f"the product did not get ready: {seen}\n{self.log()[-3000:]}")

    def tell_to_stop(self) -> None:
        """SIGTERM, once; it drains while the caller goes on."""
        if self.running and not self._told:
            os.kill(self.pid, signal.SIGTERM)
            self._told = True

    def stop(self) -> int:
        """SIGTERM, if it was not told yet, and wait; the exit status (0 after a clean drain)."""
        if self._process is None:
            return 0
        self.tell_to_stop()
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the product did not stop in {STOP_TIMEOUT_S} s\n{self.log()[-3000:]}") from None
        self._process = None
        return status

    def wait(self) -> int:
        """Wait until it has ended; the exit status."""
        assert self._process is not None, "the product is not started"
        status, self._process = self._process.wait(STOP_TIMEOUT_S), None
        return status

    def kill(self) -> None:
        """SIGKILL every process of it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pids(self, role: str) -> list[int]:
        """The process ids of a role: "supervisor", "control" or "worker"."""
        if role == "supervisor":
            return [self.pid]
        found = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            for child in task.read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if f"burncloud.app.{role}".encode() in words:
                    found.append(int(child))
        return found

    def cli(self, *arguments: str, stdin: str | None = None) -> Any:
        """Run `burncloud ARGUMENTS --json`; its output as a value.  Raises CommandFailed."""
        done = subprocess.run(
            [self._python, "-m", "burncloud", *arguments, "--json"],
            cwd=self.folder,
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise CommandFailed(
                f"burncloud {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def add_channel(
        self, kind: str, base_url: str, models: Sequence[str], *options: str, key: str = "sk-upstream"
    ) -> Any:
        """`burncloud channel add`: one channel of vendor `kind`; the command's answer."""
        name = f"{kind}-{next(self._names)}"
        return self.cli(
            "channel", "add", "--type", kind, "--name", name, "--key", key, "--base-url", base_url,
            "--models", ",".join(models), *options,
        )  # fmt: skip

    def set_price(self, model: str, input_usd: str, output_usd: str, *options: str) -> None:
        """`burncloud price set`: dollars per 1M tokens."""
        self.cli("price", "set", model, "--input", input_usd, "--output", output_usd, *options)

    def add_user(self, *options: str) -> str:
        """`burncloud user create`; the new user's name."""
        name = f"user-{next(self._names)}"
        self.cli("user", "create", name, *options)
        return name

    def add_token(self, *options: str, user: str = "") -> str:
        """`burncloud token create` for `user` (a new one by default); the key, which is shown only here."""
        key: str = self.cli("token", "create", "--user", user or self.add_user(), *options)["key"]
        return key

    def rows(self, count: int = 1000) -> list[dict[str, Any]]:
        """The newest ledger rows, newest first: `burncloud log list --limit COUNT`."""
        rows: list[dict[str, Any]] = self.cli("log", "list", "--limit", str(count))
        return rows

    def wait_rows(
        self, wanted: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 5, count: int = 1000
    ) -> list[dict[str, Any]]:
        """The rows, as soon as they satisfy `wanted`: booking follows the answer by some 50 ms."""
        deadline = time.monotonic() + timeout_s
        while not wanted(rows := self.rows(count)):
            assert time.monotonic() < deadline, f"the ledger did not get there: {json.dumps(rows[:5], indent=1)}"
        return rows
