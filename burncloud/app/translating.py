"""The worker's side of its translator (app/translator.py): jobs out, results back, a new process when one died."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from burncloud import logs
from burncloud.adaptors.translation import Done, Job
from burncloud.app.translator import FRAME_BYTES, Answer, Order, framed, send
from burncloud.errors import ERRORS, INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.wire.body import SPOOL_FROM, Body
from burncloud.wire.files import read_at

TIMEOUT_S: Final = 60.0
SENT_MAX: Final = 8
"""Jobs given to the process at once: what a socket holds of descriptors is bounded."""
_log = logs.logger("burncloud.app.worker")

Finished = Callable[["tuple[Body, Done] | Refusal"], None]


class Translating:
    """One worker's translator, started when first needed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._count = 0
        self._waiting: dict[int, tuple[int, Finished, asyncio.TimerHandle]] = {}
        """Job → where its result stands, who waits for it, until when."""
        self._queue: deque[tuple[bytes, int, int]] = deque()
        """Jobs not given to the process yet: frame, body, place for the result."""
        self._sent = 0
        self._frame = b""

    def submit(self, job: Job, body: Body, finished: Finished) -> None:
        """Have a job done; `finished` is called later, with the result or a Refusal."""
        self._count = number = self._count + 1
        try:
            frame = framed(Order(number, body.size, job))
            source = body.file()
            place = _scratch()
        except (OSError, ValueError) as error:
            _log.error("a request cannot be given to the translator: %s", error)
            self._loop.call_soon(finished, Refusal(SERVICE_UNAVAILABLE, "Busy, try again", 1))
            return
        self._waiting[number] = (place, finished, self._loop.call_later(TIMEOUT_S, self.stop))
        self._queue.append((frame, source, place))
        self._give()

    def _give(self) -> None:
        """Give the process as much as it may have."""
        try:
            while self._queue and self._sent < SENT_MAX:
                link = self._link or self._start()
                frame, source, place = self._queue[0]
                send(link, frame, [source, place])
                self._queue.popleft()
                self._sent += 1
                os.close(source)
        except OSError as error:
            _log.error("the translator takes no request: %s", error)
            self._loop.call_soon(self.stop)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", "burncloud.app.translator")
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        ours.setblocking(False)
        self._link = ours
        self._frame = b""
        self._loop.add_reader(ours, self._read)
        return ours

    def _read(self) -> None:
        assert self._link is not None
        try:
            data = self._link.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.stop()
            return
        self._frame += data
        while len(self._frame) >= FRAME_BYTES:
            frame, self._frame = self._frame[:FRAME_BYTES], self._frame[FRAME_BYTES:]
            self._finish(msgspec.json.decode(frame.rstrip(), type=Answer))

    def _finish(self, answer: Answer) -> None:
        place, finished, timer = self._waiting.pop(answer.number)
        timer.cancel()
        self._sent -= 1
        self._give()
        if answer.refused:
            os.close(place)
            row = next((row for row in ERRORS if row.code == answer.code), INVALID_REQUEST)
            finished(Refusal(row, answer.refused))
            return
        size = os.fstat(place).st_size
        done = msgspec.json.decode(read_at(place, size - answer.size, answer.size), type=Done)
        if answer.size > SPOOL_FROM:
            finished((Body(fd=place, size=answer.size), done))
        else:
            content = read_at(place, answer.size, 0)
            os.close(place)
            finished((Body(content), done))

    def stop(self) -> None:
        """End the process (it died, or a job took too long): who waits is told, the next job starts a new one."""
        link, self._link = self._link, None
        process, self._process = self._process, None
        if link is not None:
            self._loop.remove_reader(link)
            link.close()
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
        self._sent = 0
        while self._queue:
            os.close(self._queue.popleft()[1])
        waiting, self._waiting = self._waiting, {}
        for place, finished, timer in waiting.values():
            timer.cancel()
            os.close(place)
            finished(Refusal(SERVICE_UNAVAILABLE, "The request could not be translated, try again", 1))


def _scratch() -> int:
    """A file that nobody else sees."""
    fd, path = tempfile.mkstemp(prefix="burncloud-body-")
    os.unlink(path)
    return fd
