"""The supervisor's lock: one holder, a note for others, freed by death."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from burncloud.app.lock import Held, SupervisorLock, note_of


def test_one_holder_at_a_time_and_its_note_is_seen(tmp_path: Path) -> None:
    path = str(tmp_path / "supervisor.lock")
    lock = SupervisorLock(path)
    lock.say("draining", "somewhere")
    with pytest.raises(Held) as refused:
        SupervisorLock(path)
    assert refused.value.note == {"pid": os.getpid(), "state": "draining", "run_dir": "somewhere"}
    lock.release()
    again = SupervisorLock(path)
    assert again.previous == {}
    again.release()


def test_death_frees_the_lock_and_leaves_the_note(tmp_path: Path) -> None:
    path = str(tmp_path / "supervisor.lock")
    code = "import os, sys; from burncloud.app.lock import SupervisorLock; "
    code += "SupervisorLock(sys.argv[1]).say('running', 'dir'); os._exit(1)"
    subprocess.run([sys.executable, "-c", code, path], check=False)
    lock = SupervisorLock(path)
    assert lock.previous["run_dir"] == "dir"
    lock.release()


@pytest.mark.parametrize("text", [b"", b"nonsense", b"[1]", b"\xff\xfe"])
def test_an_unreadable_note_is_none(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "supervisor.lock"
    path.write_bytes(text)
    lock = SupervisorLock(str(path))
    assert lock.previous == {}
    lock.release()


def test_a_shorter_note_replaces_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.lock"
    lock = SupervisorLock(str(path))
    lock.say("running", "x" * 100)
    lock.say("draining", "y")
    assert b'"y"}' in path.read_bytes()
    assert b"x" not in path.read_bytes()
    lock.release()


def test_the_note_of_a_holder(tmp_path: Path) -> None:
    """A shorter note leaves nothing of a longer one; who looks makes no file."""
    path = str(tmp_path / "supervisor.lock")
    assert note_of(path) == {}
    assert not os.path.exists(path)
    lock = SupervisorLock(path)
    lock.say("running", "dir", reload={"n": 1, "why": "long" * 2000})
    assert note_of(path)["reload"]["n"] == 1
    lock.say("running", "dir")
    assert note_of(path) == {"pid": os.getpid(), "state": "running", "run_dir": "dir"}
    lock.release()
    assert note_of(path) == {}
