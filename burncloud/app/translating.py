"""The worker's side of its translator (app/translator.py): jobs out, results back, a new process when one died.

What waits is bounded, answers before requests: they are paid for.  A process that dies or does not answer takes only
the job with it that it was at, and that one only if it happens twice.
"""

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
from typing import Any, Final

import msgspec

from burncloud import logs
from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.prefill import Sequel
from burncloud.adaptors.translation import Done, Job, Rendered, Visit, Visited, Whole
from burncloud.app.translator import FRAME_BYTES, UNREADABLE, Answer, Order, Task, framed, send
from burncloud.errors import ERRORS, INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.wire.body import SPOOL_FROM, Body
from burncloud.wire.files import read_at, write_at

TIMEOUT_S: Final = 60.0
"""For one job, from when it is the process's turn."""
SENT_MAX: Final = 8
"""Jobs given to the process at once: what a socket holds of descriptors is bounded."""
REQUESTS_MAX: Final = 256
"""Requests that may wait; of answers there are no more than requests under way."""
TRIES_MAX: Final = 2
LARGE_BYTES: Final = 16 << 20
"""After a body like this the process ends when nothing waits: memory that it took is not given back otherwise."""
BURY_S: Final = 0.1
FAILED: Final = "The body could not be translated, try again"
_log = logs.logger("burncloud.app.worker")

RESULTS: Final = {Job: Done, Sequel: Done, Whole: Rendered, Visit: Visited}


class _Task:
    """One job and where it stands."""

    __slots__ = ("finished", "job", "kind", "number", "place", "size", "source", "tries")

    def __init__(self, number: int, job: Task, body: Body, finished: Callable[[Any], None]) -> None:
        """Raises OSError."""
        self.number = number
        self.kind = RESULTS[type(job)]
        self.job = msgspec.json.encode(job)
        self.size = body.size
        self.finished = finished
        self.tries = 0
        self.source = body.file()
        try:
            self.place = _scratch()
        except OSError:
            os.close(self.source)
            raise

    def close(self) -> None:
        """Let go of the files."""
        Body(fd=self.source, size=self.size).close()
        Body(fd=self.place, size=self.size).close()


class Translating:
    """One worker's translator, started when first needed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._count = 0
        self._answers: deque[_Task] = deque()
        self._requests: deque[_Task] = deque()
        """What the process has not been given yet."""
        self._sent: deque[_Task] = deque()
        """What it has, in its order: it is at the first."""
        self._timer: asyncio.TimerHandle | None = None
        self._frame = b""
        self._large = False
        self._dying: list[subprocess.Popen[bytes]] = []
        """Processes that were told to end."""

    def submit(self, job: Job, body: Body, finished: Callable[[tuple[Body, Done] | Refusal], None]) -> None:
        """Have a request written; `finished` is called later, with the result or a Refusal."""
        if len(self._requests) >= REQUESTS_MAX:
            self._loop.call_soon(finished, Refusal(SERVICE_UNAVAILABLE, "Busy, try again", 1))
            return
        self._take(self._requests, job, body, finished)

    def tell(
        self, job: Whole, body: Body, finished: Callable[[tuple[Body, Rendered] | Refusal | Unreadable], None]
    ) -> None:
        """Have an answer written; Unreadable if it is none of its dialect."""
        self._take(self._answers, job, body, finished)

    def visit(
        self, job: Visit, body: Body, finished: Callable[[tuple[Body, Visited] | Refusal | Unreadable], None]
    ) -> None:
        """Have a part of a stream written."""
        self._take(self._answers, job, body, finished)

    def _take(self, queue: deque[_Task], job: Task, body: Body, finished: Callable[[Any], None]) -> None:
        self._count += 1
        try:
            task = _Task(self._count, job, body, finished)
        except OSError as error:
            _log.error("a body cannot be given to the translator: %s", error)
            self._loop.call_soon(finished, Refusal(SERVICE_UNAVAILABLE, "Busy, try again", 1))
            return
        queue.append(task)
        self._give()

    def _give(self) -> None:
        """Give the process as much as it may have."""
        try:
            while len(self._sent) < SENT_MAX and (queue := self._answers or self._requests):
                link = self._link or self._start()
                task = queue[0]
                os.ftruncate(task.place, 0)
                write_at(task.place, task.job, 0)
                send(link, framed(Order(task.number, task.size, len(task.job))), [task.source, task.place])
                self._sent.append(queue.popleft())
                if len(self._sent) == 1:
                    self._watch()
        except OSError as error:
            _log.error("the translator takes no job: %s", error)
            self._loop.call_soon(self._died)

    def _watch(self) -> None:
        """The process is at another job: look at the clock."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(TIMEOUT_S, self._died) if self._sent else None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(command(), stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._link = ours
        self._frame = b""
        self._large = False
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
            self._died()
            return
        self._frame += data
        while len(self._frame) >= FRAME_BYTES:
            frame, self._frame = self._frame[:FRAME_BYTES], self._frame[FRAME_BYTES:]
            answer = msgspec.json.decode(frame.rstrip(), type=Answer)
            task = self._sent.popleft()
            assert task.number == answer.number, "the translator keeps the order"
            self._large = self._large or task.size > LARGE_BYTES
            self._give()
            self._watch()
            self._finish(task, answer)
        if self._large and not self._sent:
            self._end()

    def _finish(self, task: _Task, answer: Answer) -> None:
        if answer.refused:
            task.close()
            row = next((row for row in ERRORS if row.code == answer.code), INVALID_REQUEST)
            task.finished(Unreadable(answer.refused) if answer.code == UNREADABLE else Refusal(row, answer.refused))
            return
        Body(fd=task.source, size=task.size).close()
        place = task.place
        done = msgspec.json.decode(read_at(place, os.fstat(place).st_size - answer.size, answer.size), type=task.kind)
        if answer.size > SPOOL_FROM:
            body = Body(fd=place, size=answer.size)
        else:
            body = Body(read_at(place, answer.size, 0))
            os.close(place)
        task.finished((body, done))

    def _died(self) -> None:
        """The process died, took too long or cannot be started: the job that it was at is tried once more."""
        self._end()
        suspect = self._sent.popleft() if self._sent else (self._answers or self._requests or (None,))[0]
        while self._sent:
            task = self._sent.pop()
            self._queue_of(task).appendleft(task)
        if suspect is None:
            return
        queue = self._queue_of(suspect)
        if queue and queue[0] is suspect:
            queue.popleft()
        suspect.tries += 1
        if suspect.tries < TRIES_MAX:
            queue.appendleft(suspect)
        else:
            _log.error("a body of %d bytes cannot be translated: the translator ends with it", suspect.size)
            self._fail(suspect)
        self._loop.call_soon(self._give)

    def _queue_of(self, task: _Task) -> deque[_Task]:
        return self._requests if task.kind is Done else self._answers

    def _fail(self, task: _Task) -> None:
        task.close()
        task.finished(Refusal(SERVICE_UNAVAILABLE, FAILED, 1))

    def _end(self) -> None:
        """End the process."""
        link, self._link = self._link, None
        process, self._process = self._process, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if link is not None:
            self._loop.remove_reader(link)
            link.close()
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            self._dying.append(process)
            self._loop.call_later(BURY_S, self._bury)

    def _bury(self) -> None:
        """Take note of its end when it comes: the system needs a while to take large memory back."""
        self._dying = [process for process in self._dying if process.poll() is None]
        if self._dying:
            self._loop.call_later(BURY_S, self._bury)

    def stop(self) -> None:
        """The worker goes: who waits is told."""
        self._end()
        for process in self._dying:
            process.wait()
        for queue in (self._sent, self._answers, self._requests):
            while queue:
                self._fail(queue.popleft())


def command() -> list[str]:
    """What is started."""
    return [sys.executable, "-m", "burncloud.app.translator"]


def _scratch() -> int:
    """A file that nobody else sees."""
    fd, path = tempfile.mkstemp(prefix="burncloud-body-")
    os.unlink(path)
    return fd
