"""A child process as its supervisor sees it: started fresh, never forked from a loaded parent.

A child gets its descriptors and a boot record (config.Boot), and two pipes of its own: through `alive` it
learns that the supervisor is gone, through `ready` it says that it serves.  What differs on Windows (handles
for descriptors, no signals) is all in this file and in app/child.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from burncloud import clock
from burncloud.config import Boot, child_environment

PROGRAMS: dict[str, Sequence[str]] = {
    "control": (sys.executable, "-m", "burncloud.app.control"),
    "worker": (sys.executable, "-m", "burncloud.app.worker"),
    "check": (sys.executable, "-m", "burncloud.app.check"),
}
"""What is started for each role."""

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "control": {},
    "check": {},
    # glibc takes the 256 KiB that uvloop keeps for each TLS connection, of which a page or two are used, from outside
    # the heap, where they would leave holes; and it does not give the heap's end back to the kernel at every turn.
    "worker": {"MALLOC_MMAP_THRESHOLD_": str(1 << 18), "MALLOC_TRIM_THRESHOLD_": str(4 << 20)},
}

RETIRE = getattr(signal, "SIGUSR1", None)
"""To a child: another one takes over; end without haste, and without one failed request."""

RESTART_DELAYS_MS = (0, 100, 200, 400, 800, 1600, 3200, 5000)
"""Pause before a start, by how many in a row died before they were ready; the last one goes on for ever."""


@contextlib.contextmanager
def _terminal_signals_blocked() -> Iterator[None]:
    """What is started inside never sees Ctrl-C or a hang-up of the terminal: only the supervisor acts on them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class Child:
    """One role's place in the house; processes come and go in it."""

    boot: Boot
    program: Sequence[str]
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """None = ours."""
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    failures: int = 0
    """Deaths in a row before ready."""
    restart_at_ms: int = 0
    kill_at_ms: int = 0
    ready_fd: int = -1
    status: int = 0
    """How the last process ended."""
    _alive_fd: int = field(default=-1, repr=False)

    @property
    def name(self) -> str:
        """ "control", "worker 0", …"""
        return f"{self.boot.role} {self.boot.index}" if self.boot.role == "worker" else self.boot.role

    def start(self) -> None:
        """Start a fresh process in this place.  Raises OSError where the system has no room for one."""
        alive_read, self._alive_fd = os.pipe()
        self.ready_fd, ready_write = os.pipe()
        self.ready = False
        self.kill_at_ms = 0
        try:
            self.process = self._spawn(alive_read, ready_write)
        except OSError:
            self._close_alive()
            self.close_ready()
            self.failures += 1
            self._put_off()
            raise
        finally:
            os.close(alive_read)
            os.close(ready_write)

    def _spawn(self, alive_read: int, ready_write: int) -> subprocess.Popen[bytes]:
        extra = ENVIRONMENTS[self.boot.role]
        if sys.platform == "win32":
            import msvcrt

            handles = [msvcrt.get_osfhandle(fd) for fd in (alive_read, ready_write)]
            for handle in handles:
                os.set_handle_inheritable(handle, True)
            boot = replace(self.boot, alive_fd=handles[0], ready_fd=handles[1])
            startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": handles})
            return subprocess.Popen(
                self.program,
                env=child_environment(boot, extra, self.environment),
                stdin=subprocess.DEVNULL,
                startupinfo=startup,
                creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
            )
        boot = replace(self.boot, alive_fd=alive_read, ready_fd=ready_write)
        passed = [fd for fd in (*boot.listen_fds, alive_read, ready_write, boot.load_fd) if fd >= 0]
        with _terminal_signals_blocked():
            return subprocess.Popen(
                self.program,
                env=child_environment(boot, extra, self.environment),
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
            )

    def says_ready(self) -> bool:
        """Read what came through the ready pipe, once it is readable; False: it died or closed it instead."""
        self.ready = bool(os.read(self.ready_fd, 1))
        self.close_ready()
        if self.ready:
            self.failures = 0
        return self.ready

    def close_ready(self) -> None:
        """Nothing more is expected through the ready pipe."""
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1

    def stop(self, within_ms: int) -> None:
        """Ask it to drain and exit; `kill_if_due` ends it after `within_ms`."""
        self.kill_at_ms = clock.monotonic_ms() + within_ms
        if sys.platform == "win32":
            self._close_alive()  # the only gentle word there
        elif self.process:
            self.process.terminate()

    def retire(self, within_ms: int) -> None:
        """Tell it that another one takes over; `kill_if_due` ends it after `within_ms`."""
        self.kill_at_ms = clock.monotonic_ms() + within_ms
        if self.process and RETIRE is not None:
            self.process.send_signal(RETIRE)

    def kill_if_due(self) -> bool:
        """End it hard if its time to drain is over; True if that was so."""
        if not self.process or not self.kill_at_ms or clock.monotonic_ms() < self.kill_at_ms:
            return False
        self.kill()
        return True

    def kill(self) -> None:
        """End it now."""
        self.kill_at_ms = 0
        if self.process:
            self.process.kill()

    def ended(self) -> int | None:
        """The exit status if the process has ended since the last call (negative: the signal), else None."""
        status = self.process.poll() if self.process else None
        if status is None:
            return None
        self.process, self.status = None, status
        self._close_alive()
        if not self.ready:
            self.failures += 1
        self._put_off()
        return status

    def _put_off(self) -> None:
        delay_ms = RESTART_DELAYS_MS[min(self.failures, len(RESTART_DELAYS_MS) - 1)]
        self.restart_at_ms = clock.monotonic_ms() + delay_ms

    def _close_alive(self) -> None:
        if self._alive_fd >= 0:
            os.close(self._alive_fd)
            self._alive_fd = -1


def pipe_has_data(fd: int) -> bool:
    """Windows only: whether a read of this pipe would return at once."""
    if sys.platform != "win32":
        raise NotImplementedError("elsewhere a selector tells")
    import _winapi
    import msvcrt

    try:
        return bool(_winapi.PeekNamedPipe(msvcrt.get_osfhandle(fd), 0)[0])
    except OSError:
        return True  # broken: the read says so
