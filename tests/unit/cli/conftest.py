"""The command line in this process, on a database and a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from burncloud.cli.main import app


class Done:
    """What a command did."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """What it printed, as a value."""
        return json.loads(self.out)


Cli = Callable[..., Done]
"""cli("token", "list", stdin="…", status=0): run it and check its exit status."""


@pytest.fixture
def cli(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs commands; the database has its tables, and the administrator once the first command has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    for name in ("DATA_DIR", "MASTER_KEY", "PORT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, stdin: str = "", status: int = 0) -> Done:
        result = CliRunner().invoke(app, arguments, input=stdin, prog_name="burncloud", catch_exceptions=False)
        done = Done(result.exit_code, result.stdout, result.stderr)
        assert done.status == status, (arguments, done.status, done.out, done.err)
        return done

    return run
