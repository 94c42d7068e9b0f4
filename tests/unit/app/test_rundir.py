"""The run directory: private, gone at the end; what the dead left is taken away, what lives is not."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from burncloud.app import rundir

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no sockets lie there")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_behind(folder: Path, name: str) -> Path:
    """What a killed supervisor leaves."""
    path = folder / name
    path.mkdir()
    (path / rundir.LOCK_FILE).write_text("{}")
    (path / "link.sock").write_text("")
    return path


def test_it_is_private_and_goes_at_the_end(temporary: Path) -> None:
    with rundir.run_dir() as path:
        assert Path(path).parent == temporary
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert not os.path.exists(path)


def test_a_dead_supervisor_s_is_taken_away_wherever_it_lies(temporary: Path) -> None:
    here = left_behind(temporary, "burncloud-dead")
    (temporary / "elsewhere").mkdir()
    there = left_behind(temporary / "elsewhere", "burncloud-dead")
    rundir.sweep(str(there), "")
    assert not here.exists()
    assert not there.exists()


def test_what_is_in_use_or_no_run_directory_stays(temporary: Path) -> None:
    other = left_behind(temporary, "other")
    unlocked = temporary / "burncloud-unlocked"
    unlocked.mkdir()
    file = temporary / "burncloud-file"
    file.write_text("")
    link = temporary / "burncloud-link"
    link.symlink_to(other)
    with rundir.run_dir() as living:
        rundir.sweep(str(other))
        assert all(os.path.exists(path) for path in (living, other, unlocked, file, link))
        assert os.listdir(living) == [rundir.LOCK_FILE]


def test_another_user_s_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = left_behind(temporary, "burncloud-dead")
    monkeypatch.setattr(os, "getuid", lambda: os.stat(path).st_uid + 1)
    rundir.sweep()
    assert path.exists()
