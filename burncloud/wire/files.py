"""Reading and writing at a place in an open file, on every system: pread and pwrite, or seek first on Windows."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":

    def read_at(fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)

    def write_at(fd: int, data: bytes, offset: int) -> int:
        """Write at `offset`; how many bytes were taken.  Raises OSError."""
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)

else:

    def read_at(fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return os.pread(fd, size, offset)

    write_at = os.pwrite
