"""Large requests are translated beside the worker, so that its loop never stands still for them.

A process of its own (`python -m burncloud.app.translator`), started by the first large request and kept; its standard
input is a socket.  A job is a frame of FRAME_BYTES with two open files: the body, and where to write; the answer is a
frame.  Bytes never pass through the worker's memory.  Where descriptors cannot be sent (Windows), the worker
translates by itself.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import sys
from typing import Final

import msgspec

from burncloud.adaptors.translation import Job, work
from burncloud.errors import Refusal

FRAME_BYTES: Final = 16 << 10


class Order(msgspec.Struct):
    """A job as it is sent, with the files [body, place for the result]."""

    number: int
    size: int
    """Of the body, bytes."""
    job: Job


class Answer(msgspec.Struct):
    """What became of it: the result's first `size` bytes are the body, the rest is a translation.Done."""

    number: int
    size: int = 0
    refused: str = ""
    """The sentence of a refusal; `code`: its row in the error table."""
    code: str = ""


def framed(message: Order | Answer) -> bytes:
    """A message, padded to FRAME_BYTES."""
    data = msgspec.json.encode(message)
    if len(data) > FRAME_BYTES:
        raise ValueError("the message is too long for a frame")
    return data.ljust(FRAME_BYTES)


def do(order: Order, source: int, place: int) -> Answer:
    """One job."""
    try:
        with mmap.mmap(source, order.size, access=mmap.ACCESS_READ) as body:
            content, done = work(order.job, body[:])
    except Refusal as refusal:
        return Answer(order.number, refused=refusal.message[:1000], code=refusal.row.code)
    done.asked = done.asked.without_content()
    done.sha256 = hashlib.sha256(content).hexdigest()
    for part in (content, msgspec.json.encode(done)):
        view = memoryview(part)
        while view:
            view = view[os.write(place, view) :]
    return Answer(order.number, len(content))


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
    with socket.socket(fileno=os.dup(0)) as inherited:
        serve(inherited)
