"""Would it start like this?  The answer, and why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from burncloud import config
from tests.unit.app.supervised import ROOT


def tried(folder: Path, **settings: str) -> tuple[int, str]:
    """The exit status and the reason."""
    boot = json.dumps({"role": "check", "run_dir": str(folder)})
    done = subprocess.run(
        [sys.executable, "-m", "burncloud.app.check"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), config.BOOT_VARIABLE: boot, **settings},
        capture_output=True,
        text=True,
    )
    reason = folder / "reason"
    return done.returncode, reason.read_text() if reason.exists() else done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house that was started before: the CLI makes its database."""
    made = tmp_path_factory.mktemp("house")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "burncloud", "channel", "add", "--type", "openai", "--models", "m", "--key", "k"]
    subprocess.run(command, cwd=made, env=environment, check=True, capture_output=True)
    return made


def test_what_would_start(folder: Path) -> None:
    assert tried(folder) == (0, "")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"UPSTREAM_CA_FILE": "/nowhere"}, "UPSTREAM_CA_FILE: the file /nowhere "),
        ({"MASTER_KEY": "ab" * 32}, "master key"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, "the database cannot be used"),
    ],
)
def test_what_would_not(folder: Path, settings: dict[str, str], reason: str) -> None:
    status, said = tried(folder, **settings)
    assert status == config.EXIT_HOPELESS
    assert reason in said
    (folder / "reason").unlink()
