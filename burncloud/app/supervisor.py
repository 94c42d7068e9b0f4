"""The supervisor: opens the doors, starts control and workers, restarts what dies, and drains on a stop.

It holds what must outlive any one child: the listening sockets, the load map, the lock on the data directory.
A plain loop over a selector, woken by signals and by children that get ready; no asyncio, so that it stays
small.  A stop (SIGTERM, Ctrl-C) drains the workers, then lets control book the rest; a second one is a kill.
A Ctrl-C before all are ready ends with 130, since what was asked for was not done.  A reload (SIGHUP, `burncloud
reload`) puts fresh processes in the places of all (app/reload.py); a terminal that hangs up sends SIGHUP, too, and
is told from it by being gone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from burncloud import clock, config, logs
from burncloud.app import listening, rundir
from burncloud.app.lock import Held, SupervisorLock
from burncloud.app.processes import PROGRAMS, Child, pipe_has_data
from burncloud.app.reload import Refused, Reload

WINDOWS = sys.platform == "win32"
WHY_CHARS_MAX = 500
"""Of the reason why a reload is refused; all of it is in the log."""
LOAD_MAP_EMPTY = b"\xff" * (4 * config.SLOTS)
"""No worker accepts yet (wire/listener.py)."""
LOAD_MAP_DRAINING = 0x80000000
"""Added there to the count of a worker that drains."""
DRAIN_NOTICE_MS = 300
"""A drain that takes longer is explained: by then idle connections are closed, and what is open is in use."""
DRAIN_GRACE_MS = 1000
"""A worker ends its streams by itself at DRAIN_TIMEOUT_MS, and writes their receipts; only then it is killed."""
CONTROL_STOP_MS = 10_000
SIGNAL_POLL_MS = 250
"""Windows tells nobody that a child has ended or is ready: look this often."""
EXIT_USAGE, EXIT_TAKEN, EXIT_SIGNAL = 2, 1, 128
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)]
RELOAD_SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR2") if hasattr(signal, name)]
"""The second one is `burncloud reload`'s: a hang-up may be ignored, or mean that the terminal is gone."""
HANG_UP = getattr(signal, "SIGHUP", -1)

log = logs.logger(__name__)


class Supervisor:
    """The running house.  `sockets` are the open doors; `programs` says what to start for each role."""

    def __init__(
        self,
        settings: config.Settings,
        lock: SupervisorLock,
        run_dir: str,
        sockets: Sequence[socket.socket],
        programs: Mapping[str, Sequence[str]] = PROGRAMS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.environment = config.environment() if environment is None else environment
        """Of the children; a reload renews it."""
        self._lock = lock
        self._run_dir = run_dir
        self._programs = programs
        self._terminal = terminal()
        self.doors = list(sockets)
        self._started_ms = clock.monotonic_ms()
        self._load_fd = make_load_map(run_dir)
        link_port, http_port, secret = loopback_link()
        boot = config.Boot(
            "control",
            workers=settings.workers,
            run_dir=run_dir,
            link_port=link_port,
            http_port=http_port,
            secret=secret,
        )
        self.control = Child(boot, programs["control"], self.environment)
        doors = tuple(sock.fileno() for sock in self.doors)
        worker = replace(boot, role="worker", load_fd=self._load_fd, listen_fds=doors)
        self.workers = [
            Child(replace(worker, index=n), programs["worker"], self.environment) for n in range(settings.workers)
        ]
        self._retired: list[Child] = []
        """Workers that serve what they have, and are not started again."""
        self._reload: Reload | None = None
        self._reloads = 0
        self._reload_again = False
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_write = socket.socketpair()
        self._announced = False
        self._stopping = False
        self._notice_at_ms = 0
        """When to say what the drain waits for; 0 = not, or it is said."""
        self._exit_status = 0

    def run(self) -> int:
        """Serve until a stop; the exit status."""
        self._listen_to_signals()
        self._say_reload("none")
        for child in (self.control, *self.workers):
            self.launch(child)
        while not (self._stopping and self._stopped()):
            self._wait()
            for child in self._all():
                self._look_after(child)
            self._go_on_reloading()
            if 0 < self._notice_at_ms <= clock.monotonic_ms():
                self._explain_drain()
        return self._exit_status

    def _all(self) -> list[Child]:
        begun = self._reload.children if self._reload is not None else []
        return [self.control, *self.workers, *self._retired, *begun]

    def _listen_to_signals(self) -> None:
        """Each signal becomes a byte in the wake-up socket."""
        self._wakeup.setblocking(False)
        self._wakeup_write.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, *RELOAD_SIGNALS):
            # Whoever started us under nohup wants a hang-up ignored.
            if number == HANG_UP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            signal.signal(number, lambda *_: None)
        if sys.platform != "win32":
            signal.signal(signal.SIGCHLD, lambda *_: None)

    def _wait(self) -> None:
        """Sleep until a signal, a ready child or the next deadline."""
        for key, _ in self._selector.select(self._timeout_s()):
            if key.data is None:
                for number in self._wakeup.recv(4096):
                    if number in STOP_SIGNALS or (number == HANG_UP and is_gone(self._terminal)):
                        self._on_stop_signal(number)
                    elif number in RELOAD_SIGNALS:
                        self._on_reload_signal()
            else:
                self._on_ready(key.data)

    def _timeout_s(self) -> float | None:
        now_ms = clock.monotonic_ms()
        deadlines = [child.kill_at_ms for child in self._all() if child.process and child.kill_at_ms]
        if not self._stopping:
            deadlines += [child.restart_at_ms for child in (self.control, *self.workers) if not child.process]
        if WINDOWS:
            deadlines.append(now_ms + SIGNAL_POLL_MS)
        if self._notice_at_ms:
            deadlines.append(self._notice_at_ms)
        return max(0, min(deadlines) - now_ms) / 1000 if deadlines else None

    def launch(self, child: Child) -> None:
        """Start a process in its place."""
        try:
            child.start()
        except OSError as error:  # out of memory, processes or descriptors: that may pass
            log.error("%s cannot be started: %s", child.name, error)
            return
        if not WINDOWS:
            self._selector.register(child.ready_fd, selectors.EVENT_READ, child)

    def _on_ready(self, child: Child) -> None:
        if not WINDOWS:
            self._selector.unregister(child.ready_fd)
        if child.says_ready():
            log.debug("%s is ready", child.name)
        if not self._announced and not self._stopping and all(child.ready for child in self._all()):
            self._announced = True
            self._announce()

    def _announce(self) -> None:
        took_s = (clock.monotonic_ms() - self._started_ms) / 1000
        workers = f"{len(self.workers)} worker{'s' if len(self.workers) > 1 else ''}"
        where = listening.url(self.doors) if self.doors else f"http://localhost:{self.settings.port}"
        with contextlib.suppress(OSError):
            print(f"BurnCloud is ready at {where}  ({workers}, {took_s:.1f} s)", flush=True)

    def _look_after(self, child: Child) -> None:
        """Bury a dead child and start the next one in its place."""
        if WINDOWS and child.process and child.ready_fd >= 0 and pipe_has_data(child.ready_fd):
            self._on_ready(child)  # elsewhere the selector says so
        status = child.ended()
        if status is not None:
            self._on_end(child, status)
        if child.kill_if_due():
            log.warning("%s did not stop in time and was killed", child.name)
        lasting = child is self.control or child in self.workers
        if lasting and not self._stopping and not child.process and clock.monotonic_ms() >= child.restart_at_ms:
            self.launch(child)

    def _on_end(self, child: Child, status: int) -> None:
        if child.ready_fd >= 0:
            if not WINDOWS:
                self._selector.unregister(child.ready_fd)
            child.close_ready()
        if sys.platform != "win32" and child.boot.role == "worker":
            os.pwrite(self._load_fd, LOAD_MAP_EMPTY[:4], 4 * child.boot.index)
        if child in self._retired:
            self._retired.remove(child)
            log.info("%s has gone", child.name)
            return
        replaced = child is self.control and self._reload is not None and self._reload.state == "control"
        if self._stopping or child.boot.role == "check" or (replaced and status == 0):
            return
        if status == config.EXIT_HOPELESS and not self._announced:
            log.error("%s cannot start (see above)", child.name)
            self._exit_status = EXIT_USAGE
            self._stop()
            return
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        lasting = child is self.control or child in self.workers
        log.error("%s %s%s", child.name, how, "; it is started again" if lasting else "")

    def _on_stop_signal(self, number: int) -> None:
        if not self._stopping:
            if number == signal.SIGINT and not self._announced:
                self._exit_status = EXIT_SIGNAL + number
            self._stop()
            return
        self._exit_status = EXIT_SIGNAL + number
        for child in self._all():
            child.kill()

    # Reload

    def _on_reload_signal(self) -> None:
        if self._stopping:
            return
        if not self._announced or (self._reload is not None and not self._reload.over):
            self._reload_again = True  # what the settings were a moment ago is not what is wanted now
            return
        self._reload_again = False
        self._reloads += 1
        try:
            if WINDOWS:
                raise Refused("On Windows a restart is needed.")
            self._reload = Reload(self, self._reloads, self._programs["check"])
        except Refused as refused:
            log.error("nothing is reloaded, what runs goes on: %s", refused)
            self._say_reload("refused", str(refused))
            return
        self._say_reload(self._reload.state)

    def _go_on_reloading(self) -> None:
        reload = self._reload
        if reload is not None and not self._stopping:
            before = reload.state
            reload.go_on()
            if reload.state != before:
                self._say_reload(reload.state, reload.why)
        if self._reload_again and self._announced and (reload is None or reload.over):
            self._on_reload_signal()

    def _say_reload(self, state: str, why: str = "") -> None:
        """For `burncloud reload`, which waits for it, and sends its signal only to one who says this from the start."""
        note = {"n": self._reloads, "state": state, "why": why[:WHY_CHARS_MAX]}
        self._lock.say("running", self._run_dir, **({} if WINDOWS else {"reload": note}))

    def free_place(self) -> int | None:
        """The number of a worker's place that nobody has."""
        taken = {child.boot.index for child in self._all() if child.boot.role == "worker"}
        return next((number for number in range(config.SLOTS) if number not in taken), None)

    def retire(self, worker: Child) -> None:
        """Let it serve what it has, and go; one that has died already is gone."""
        if worker.process:
            self._retired.append(worker)
            worker.retire(self.settings.drain_timeout_ms + DRAIN_GRACE_MS)

    def discard(self, child: Child) -> None:
        """End it at once."""
        if child.process:
            self._retired.append(child)
            child.kill()

    # Stop

    def _stop(self) -> None:
        """Begin to drain: no new connections, workers finish what they have; control follows when they are gone."""
        self._stopping = True
        self._notice_at_ms = clock.monotonic_ms() + DRAIN_NOTICE_MS
        self._lock.say("draining", self._run_dir)
        for sock in self.doors:
            sock.close()
        for child in self._all():
            if child is not self.control:
                child.stop(self.settings.drain_timeout_ms + DRAIN_GRACE_MS)

    def _explain_drain(self) -> None:
        """Say what is waited for, if anything is."""
        self._notice_at_ms = 0
        open_ = open_streams(self._load_fd)
        if open_:
            streams = f"{open_} open stream{'s' if open_ > 1 else ''}"
            most_s = max(1, self.settings.drain_timeout_ms // 1000)
            with contextlib.suppress(OSError):
                print(f"waiting for {streams} (at most {most_s} s); press Ctrl-C again to stop at once", flush=True)

    def _stopped(self) -> bool:
        if any(child.process for child in self._all() if child is not self.control):
            return False
        if self.control.process and not self.control.kill_at_ms:
            self.control.stop(CONTROL_STOP_MS)
        return not self.control.process


def terminal() -> int:
    """A descriptor of the terminal that we were started from; -1 = from none."""
    return next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)


def is_gone(terminal: int) -> bool:
    """Whether there was a terminal, and it has hung up."""
    if terminal < 0 or sys.platform == "win32":
        return False
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return True
    return False


def loopback_link() -> tuple[int, int, str]:
    """Where there are no Unix sockets: free loopback ports for link and HTTP, and the secret that the link asks for."""
    if hasattr(socket, "AF_UNIX"):
        return 0, 0, ""
    with socket.create_server(("127.0.0.1", 0)) as link, socket.create_server(("127.0.0.1", 0)) as http:
        return link.getsockname()[1], http.getsockname()[1], os.urandom(32).hex()


def make_load_map(run_dir: str) -> int:
    """A shared file of one u32 for each worker; -1 on Windows, where one worker serves."""
    if sys.platform == "win32":
        return -1
    if sys.platform == "linux":
        fd = os.memfd_create("burncloud-load")
    else:
        path = os.path.join(run_dir, "load")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(path)
    os.write(fd, LOAD_MAP_EMPTY)
    return fd


def open_streams(load_fd: int) -> int:
    """How many connections the draining workers still serve, by the load map."""
    if sys.platform == "win32":
        return 0
    counts = struct.unpack(f"<{config.SLOTS}I", os.pread(load_fd, len(LOAD_MAP_EMPTY), 0))
    return sum(count - LOAD_MAP_DRAINING for count in counts if LOAD_MAP_DRAINING <= count < 0xFFFFFFFF)


def leave_at_once(number: int, _frame: object) -> NoReturn:
    """What a stop signal does until the supervisor runs: whatever was begun is undone on the way out."""
    raise SystemExit(EXIT_SIGNAL + number)


def raise_descriptor_limit() -> None:
    """As many descriptors as this user may have, for us and our children."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, 1 << 20, 10240):  # macOS says "infinity" and then takes less
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def take_lock(data_dir: str, drain_timeout_ms: int) -> SupervisorLock:
    """The lock on the data directory; waits for a predecessor that drains.  Raises Held, OSError."""
    path = os.path.join(data_dir, "supervisor.lock")
    give_up_ms = clock.monotonic_ms() + drain_timeout_ms + DRAIN_GRACE_MS + CONTROL_STOP_MS
    told = False
    while True:
        try:
            return SupervisorLock(path)
        except Held as held:
            if held.note.get("state") != "draining" or clock.monotonic_ms() > give_up_ms:
                raise
            if not told:
                told = True
                log.info("waiting for process %s to finish draining", held.note.get("pid"))
        clock.sleep_ms(50)


def complain(sentence: str) -> None:
    """Say what is wrong to the person at the terminal."""
    print(f"burncloud: {sentence}", file=sys.stderr, flush=True)


def main(programs: Mapping[str, Sequence[str]] = PROGRAMS) -> int:
    """Start everything and serve until a stop.

    Exit status: 0 after a clean stop, 1 if another instance or program is in the way, 2 for a setting that
    cannot be used, 128 + signal after a second stop signal or Ctrl-C before all were ready.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave_at_once)
    try:
        environment = config.environment()
        settings = config.load(environment)
    except config.ConfigError as error:
        complain(str(error))
        return EXIT_USAGE
    logs.configure(settings.log_level, "supervisor")
    if WINDOWS:
        settings = replace(settings, workers=1)
    try:
        os.makedirs(settings.data_dir, mode=0o700, exist_ok=True)
        lock = take_lock(settings.data_dir, settings.drain_timeout_ms)
    except Held as held:
        complain(
            f"already running with the data directory {settings.data_dir} (process {held.note.get('pid', 'unknown')}); "
            "stop that one, or choose another DATA_DIR and PORT."
        )
        return EXIT_TAKEN
    except OSError as error:
        complain(f"cannot use the data directory {settings.data_dir}: {error.strerror or error}; correct DATA_DIR.")
        return EXIT_USAGE
    try:
        return _serve(settings, lock, programs, environment)
    except listening.CannotListen as error:
        complain(f"{error}.")
        return EXIT_TAKEN
    finally:
        lock.release()


def _serve(
    settings: config.Settings,
    lock: SupervisorLock,
    programs: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
) -> int:
    raise_descriptor_limit()
    rundir.sweep(str(lock.previous.get("run_dir", "")))
    sockets = [] if WINDOWS else listening.open_listening(settings.host, settings.port)
    with rundir.run_dir() as run_dir:
        return Supervisor(settings, lock, run_dir, sockets, programs, environment).run()
