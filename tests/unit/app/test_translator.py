"""A job over a socket with two files: the same as in the worker, whatever its size."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

import msgspec
import pytest

from burncloud.adaptors.translation import Done, Job, work
from burncloud.app.translator import FRAME_BYTES, Answer, Order, framed, serve

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="descriptors cannot be sent here")
JOB = Job("messages", "chat", "public", "up", False)


def ordered(body: bytes, count: int = 1) -> list[tuple[Answer, bytes]]:
    """The answers to orders for one body, with what was written."""
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=serve, args=(theirs,))
    serving.start()
    found: list[tuple[Answer, bytes]] = []
    with ours, theirs:
        for number in range(count):
            with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as place:
                os.write(source.fileno(), body)
                socket.send_fds(ours, [framed(Order(number, len(body), JOB))], [source.fileno(), place.fileno()])
                frame = b""
                while len(frame) < FRAME_BYTES:
                    frame += ours.recv(FRAME_BYTES - len(frame))
                place.seek(0)
                found.append((msgspec.json.decode(frame.rstrip(), type=Answer), place.read()))
        ours.shutdown(socket.SHUT_WR)
        serving.join()
    return found


def test_jobs_one_after_the_other() -> None:
    text = "x" * 300_000
    body = msgspec.json.encode({
        "model": "public", "max_tokens": 5, "system": "s", "messages": [{"role": "user", "content": text}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    })  # fmt: skip
    for number, (answer, result) in enumerate(ordered(body, 3)):
        expected, done = work(JOB, body)
        assert (answer.number, answer.refused, result[: answer.size]) == (number, "", expected)
        told = msgspec.json.decode(result[answer.size :], type=Done)
        assert (told.losses, told.asked.model) == (done.losses, "public")
        assert told.asked.conversation.tools == done.asked.conversation.tools
        assert told.asked.conversation.turns == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model":"public","messages":5}'])
def test_what_is_malformed_is_refused(body: bytes) -> None:
    [(answer, result)] = ordered(body)
    assert answer.refused
    assert result == b""


def test_the_kind_of_a_refusal_arrives() -> None:
    body = b'{"model":"public","max_tokens":5,"messages":[{"role":"user","content":"x"}],"thread":{"type":"create"}}'
    [(answer, _)] = ordered(body)
    assert answer.code == "thread_unsupported_request"
