"""Large bodies are translated beside the worker, so that its loop never stands still for them.

A process of its own (`python -m burncloud.app.translator`), started by the first large body and kept; its standard
input is a socket.  An order is a small frame with two open files: the body, and a place that holds the job and then
the result; the answer is a frame.  Bytes never pass through the worker's memory.  Where descriptors cannot be sent
(Windows), the worker translates by itself.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud import logs
from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.prefill import Sequel, go_on
from burncloud.adaptors.translation import Job, Visit, Whole, tell, visit, work
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.wire.files import read_at

FRAME_BYTES: Final = 4 << 10
MEMORY_BYTES_MAX: Final = 3 << 30
"""Address space of the process: 64 MiB of very small pieces take about half of it."""
UNREADABLE: Final = "unreadable"
"""The code of an upstream's answer that is none."""
Task = Job | Sequel | Whole | Visit
_log = logs.logger("burncloud.app.translator")


class Order(msgspec.Struct):
    """A job as it is sent, with the files [body, place]."""

    number: int
    size: int
    """Of the body, bytes."""
    job_size: int
    """Of the Task in JSON that stands in the place."""


class Answer(msgspec.Struct):
    """What became of it: the place's first `size` bytes are the body, the rest is a Done, a Rendered or a Visited."""

    number: int
    size: int = 0
    refused: str = ""
    """The sentence of a refusal; `code`: its row in the error table, or UNREADABLE."""
    code: str = ""


_task: Final = msgspec.json.Decoder(Task)


def framed(message: Order | Answer) -> bytes:
    """A message, padded to FRAME_BYTES."""
    return msgspec.json.encode(message).ljust(FRAME_BYTES)


def do(order: Order, source: int, place: int) -> Answer:
    """One job."""
    try:
        job = _task.decode(read_at(place, order.job_size, 0))
        with mmap.mmap(source, order.size, access=mmap.ACCESS_READ) as body:
            result: tuple[bytes, msgspec.Struct] = _DOES[type(job)](job, body[:])
    except Refusal as refusal:
        return Answer(order.number, refused=refusal.message[:500], code=refusal.row.code)
    except Unreadable as error:
        return Answer(order.number, refused=str(error)[:500] or "it cannot be read", code=UNREADABLE)
    except MemoryError:
        text = "The body is too intricate to be translated"
        return Answer(order.number, refused=text, code=(INVALID_REQUEST.code))
    except Exception as error:  # a mistake of ours must not cost the next job its process
        _log.error("the translator failed: %r", error)
        return Answer(order.number, refused="The body could not be translated", code=SERVICE_UNAVAILABLE.code)
    content, done = result
    os.ftruncate(place, 0)
    os.lseek(place, 0, os.SEEK_SET)
    for part in (content, msgspec.json.encode(done)):
        view = memoryview(part)
        while view:
            view = view[os.write(place, view) :]
    return Answer(order.number, len(content))


def _work(job: Job, body: bytes) -> tuple[bytes, msgspec.Struct]:
    content, done = go_on(job, body) if isinstance(job, Sequel) else work(job, body)
    done.asked = done.asked.without_content()
    done.sha256 = hashlib.sha256(content).hexdigest()
    return content, done


_DOES: Final[dict[type, Callable[[Any, bytes], tuple[bytes, msgspec.Struct]]]] = {
    Job: _work, Sequel: _work, Whole: tell, Visit: visit,
}  # fmt: skip


if sys.platform == "win32":

    def receive(link: socket.socket, size: int) -> tuple[bytes, list[int]]:
        """Descriptors cannot be sent there."""
        raise OSError("no descriptors can be received here")

    def send(link: socket.socket, frame: bytes, files: list[int]) -> None:
        """Descriptors cannot be sent there."""
        raise OSError("no descriptors can be sent here")

else:

    def receive(link: socket.socket, size: int) -> tuple[bytes, list[int]]:
        """At most `size` bytes, and the open files that came with them; b"" at the end."""
        data, files, _, _ = socket.recv_fds(link, size, 2)
        return data, files

    def send(link: socket.socket, frame: bytes, files: list[int]) -> None:
        """A frame with two open files."""
        socket.send_fds(link, [frame], files)


def serve(link: socket.socket) -> None:
    """Do one job after the other until the worker is gone."""
    while True:
        frame, files = b"", []
        while len(frame) < FRAME_BYTES:
            data, fds = receive(link, FRAME_BYTES - len(frame))
            if not data:
                return
            frame += data
            files += fds
        try:
            answer = do(msgspec.json.decode(frame.rstrip(), type=Order), *files)
        finally:
            for fd in files:
                os.close(fd)
        link.sendall(framed(answer))


if __name__ == "__main__" and sys.platform != "win32":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with socket.socket(fileno=os.dup(0)) as inherited:
        serve(inherited)
