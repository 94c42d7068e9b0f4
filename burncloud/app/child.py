"""The child's side of what the supervisor gives it (config.Boot): ready, orphaned, descriptors kept to itself."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

from burncloud.config import Boot


def own_fd(number: int, flags: int = os.O_RDONLY) -> int:
    """The descriptor behind a number of the boot record, no longer inherited by children of ours."""
    if sys.platform == "win32":
        import msvcrt

        # There the number is an inherited handle.
        return msvcrt.open_osfhandle(number, flags)
    os.set_inheritable(number, False)
    return number


def announce_ready(boot: Boot) -> None:
    """Tell the supervisor that this process serves; to be called once."""
    if boot.ready_fd < 0:
        return
    fd = own_fd(boot.ready_fd, os.O_WRONLY)
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)


def watch_supervisor(boot: Boot, gone: Callable[[], None]) -> None:
    """Have the running loop call `gone` once when the supervisor has died (or, on Windows, says stop)."""
    if boot.alive_fd < 0:
        return
    loop = asyncio.get_running_loop()
    fd = own_fd(boot.alive_fd)
    if sys.platform == "win32":
        # Its event loop cannot watch a pipe.
        def wait() -> None:
            os.read(fd, 1)
            loop.call_soon_threadsafe(gone)

        threading.Thread(target=wait, name="watch-supervisor", daemon=True).start()
        return

    def ended() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        gone()

    loop.add_reader(fd, ended)
