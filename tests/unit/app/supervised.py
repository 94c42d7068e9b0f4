"""A supervisor with small stand-ins for its children, run in a process of its own, for test_supervisor.py."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 10
UNSET = "unset"
"""As a setting: it stands nowhere in the environment."""

CHILD = """
import json, os, select, signal, socket, struct, sys, time
boot = json.loads(os.environ["BURNCLOUD_BOOT"])
name = boot["role"] + str(boot["index"])
def say(what):
    with open("events", "a") as file:
        file.write(json.dumps({"who": name, "what": what, "pid": os.getpid(), "time": time.monotonic(), "boot": boot,
            "malloc": os.environ.get("MALLOC_TRIM_THRESHOLD_"), "level": os.environ.get("LOG_LEVEL")}) + "\\n")
def retire(*_):
    say("retire")
    for door in doors:
        door.close()
    doors.clear()
    time.sleep(float(os.environ.get("DRAIN_S_" + name, "0")))
    say("exit")
    os._exit(0)
def term(*_):
    say("term")
    if "READY_LATE_" + name in os.environ:
        os.write(boot["ready_fd"], b"1")
    streams = os.environ.get("STREAMS_" + name)
    if streams:
        os.pwrite(boot["load_fd"], struct.pack("<I", 0x80000000 + int(streams)), 4 * boot["index"])
    time.sleep(float(os.environ.get("DRAIN_S_" + name, "0")))
    say("exit")
    os._exit(0)
signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGUSR1, retire)
doors = []
if boot["role"] == "check":
    say("check")
    if os.path.exists("refuse"):
        with open(boot["run_dir"] + "/reason", "w") as file:
            file.write("it would not do")
        sys.exit(78)
    sys.exit(0)
# Without this a signal just before the select would wait for its end.
woken, wake = socket.socketpair()
wake.setblocking(False)
signal.set_wakeup_fd(wake.fileno())
say("start")
status = os.environ.get("EXIT_" + name)
if os.path.exists("broken_" + boot["role"]):
    status = "3"
if status:
    sys.exit(int(status))
time.sleep(float(os.environ.get("START_S_" + name, "0")))
os.write(boot["ready_fd"], b"1")
doors = [socket.socket(fileno=fd) for fd in boot["listen_fds"]]
while True:
    readable, _, _ = select.select([boot["alive_fd"], woken, *doors], [], [])
    if boot["alive_fd"] in readable:
        say("orphaned")
        break
    for door in set(doors) & set(readable):
        try:
            client, _ = door.accept()
        except BlockingIOError:
            continue  # the other worker has it
        with client:
            client.sendall(name.encode())
"""
DRIVER = """
import signal, sys
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may be under nohup
from burncloud.app import supervisor
child = (sys.executable, "-I", "-S", "child.py")
sys.exit(supervisor.main({"control": child, "worker": child, "check": child}))
"""


def port_of(line: str) -> int:
    """Of the line that announces the address."""
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert found, line
    return int(found[1])


def ask(port: int) -> bytes:
    """What a worker says to whoever connects."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        return client.recv(100)


class Supervised:
    """One supervisor in a folder of its own; `events` is what its children wrote down."""

    stdin: int = subprocess.DEVNULL

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        (folder / "child.py").write_text(CHILD)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOST": "127.0.0.1", "PORT": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            cwd=folder,
            env={name: value for name, value in {**environment, **settings}.items() if value != UNSET},
            stdin=self.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    @property
    def events(self) -> list[dict[str, object]]:
        """What the children said so far, oldest first."""
        path = self.folder / "events"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self, who: str) -> list[int]:
        """The processes that stood in one place, oldest first."""
        return [int(str(event["pid"])) for event in self.events if event["who"] == who and event["what"] == "start"]

    def started_again(self, who: str) -> bool:
        """Whether a second process stands in a place."""
        return len(self.pids(who)) == 2

    def said(self, who: str, what: str) -> bool:
        """Whether a child has said it."""
        return any(event["who"] == who and event["what"] == what for event in self.events)

    @property
    def reload(self) -> dict[str, object]:
        """What the supervisor says of its last reload."""
        note = json.loads((self.folder / "burncloud.data" / "supervisor.lock").read_text() or "{}")
        found = note.get("reload", {})
        assert isinstance(found, dict)
        return found

    def reloads(self, number: int = signal.SIGUSR2) -> None:
        """Ask for a reload and wait for its end."""
        n = self.reload.get("n", 0)
        self.process.send_signal(number)
        until(lambda: self.reload.get("n", 0) != n and self.reload["state"] in ("done", "refused"))

    def url_line(self) -> str:
        """The line that it prints when all are ready."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, wait; the exit status and all further output."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, output


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; AssertionError if it does not come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
