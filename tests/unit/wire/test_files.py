"""Reading and writing at a place leaves the rest of the file alone."""

from __future__ import annotations

import os
from pathlib import Path

from burncloud.wire.files import read_at, write_at


def test_a_write_in_the_middle(tmp_path: Path) -> None:
    """Bytes land where they were sent, and are read from there."""
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    try:
        os.write(fd, b"0123456789")
        assert write_at(fd, b"ab", 3) == 2
        assert read_at(fd, 5, 2) == b"2ab56"
        assert read_at(fd, 100, 8) == b"89"
    finally:
        os.close(fd)
