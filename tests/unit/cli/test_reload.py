"""burncloud reload: what it says of how it went (the reload itself: tests/unit/app/test_reload.py)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from burncloud.app.lock import SupervisorLock
from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SupervisorLock]:
    """Something that holds the lock: this process."""
    (tmp_path / "burncloud.data").mkdir()
    lock = SupervisorLock(str(tmp_path / "burncloud.data" / "supervisor.lock"))
    lock.say("running", "dir", reload={"n": 4, "state": "done", "why": ""})
    yield lock
    lock.release()


def answering(monkeypatch: pytest.MonkeyPatch, lock: SupervisorLock, state: str, why: str = "") -> list[int]:
    """The signal is heard, and answered at once."""
    heard: list[int] = []

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGUSR2)
        heard.append(number)
        lock.say("running", "dir", reload={"n": 5, "state": state, "why": why})

    monkeypatch.setattr(os, "kill", kill)
    return heard


def test_it_is_done(cli: Cli, server: SupervisorLock, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = answering(monkeypatch, server, "done")
    assert cli("reload").out == "Reloaded.\n"
    assert len(heard) == 1
    server.say("running", "dir", reload={"n": 0, "state": "none", "why": ""})
    assert cli("reload", "--json").json == {"reloaded": True}


def test_it_is_refused(cli: Cli, server: SupervisorLock, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, server, "refused", "DATA_DIR has changed, which takes a restart.")
    said = cli("reload", status=1).err
    assert said == "Error: Nothing is reloaded, what runs goes on: DATA_DIR has changed, which takes a restart.\n"


def test_nobody_is_there(cli: Cli, tmp_path: Path) -> None:
    assert "No server runs with this data directory" in cli("reload", status=1).err
    assert not (tmp_path / "burncloud.data").exists()


def test_a_server_that_cannot_is_let_alone(cli: Cli, server: SupervisorLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """One from before there were reloads has no handler: the signal would kill it."""
    heard = answering(monkeypatch, server, "done")
    server.say("running", "dir")
    assert "too old to reload" in cli("reload", status=1).err
    assert not heard


def test_a_server_that_ends_is_not_waited_for(
    cli: Cli, server: SupervisorLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda pid, number: server.say("draining", "dir"))
    assert "The server has ended" in cli("reload", status=1).err
