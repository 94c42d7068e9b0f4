"""A job over a socket with two files: the same as in the worker, whatever its size."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

import msgspec
import pytest

from burncloud.adaptors.canon import Request
from burncloud.adaptors.spoken import Asked
from burncloud.adaptors.translation import Done, Job, Rendered, Whole, tell, work
from burncloud.app import translator
from burncloud.app.translator import FRAME_BYTES, UNREADABLE, Answer, Order, Task, framed, serve
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE
from tests.speech import DONE, completion, delta, usage_chunk

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="descriptors cannot be sent here")
JOB = Job("messages", "chat", "public", "up", False)


def ordered(body: bytes, count: int = 1, job: Task = JOB) -> list[tuple[Answer, bytes]]:
    """The answers to orders for one body, with what was written."""
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=serve, args=(theirs,))
    serving.start()
    found: list[tuple[Answer, bytes]] = []
    with ours, theirs:
        for number in range(count):
            with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as place:
                text = msgspec.json.encode(job)
                os.write(source.fileno(), body)
                os.write(place.fileno(), text)
                order = framed(Order(number, len(body), len(text)))
                socket.send_fds(ours, [order], [source.fileno(), place.fileno()])
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
    [(answer, _)] = ordered(body)
    assert answer.refused
    assert answer.size == 0


def test_the_kind_of_a_refusal_arrives() -> None:
    body = b'{"model":"public","max_tokens":5,"messages":[{"role":"user","content":"x"}],"thread":{"type":"create"}}'
    [(answer, _)] = ordered(body)
    assert answer.code == "thread_unsupported_request"


ASKED = Asked(Request("public", [], dialect="messages"), "public")
PLAIN = Whole("messages", "chat", ASKED, 200, False, "", ["seed"])


def test_an_answer() -> None:
    """Written for the client, with what it used, and with what the request had lost already."""
    body = completion("Hello! " * 100_000)
    [(answer, result)] = ordered(body, job=PLAIN)
    content, _ = tell(PLAIN, body)
    assert result[: answer.size] == content
    assert msgspec.json.decode(content)["content"][0]["text"] == "Hello! " * 100_000
    told = msgspec.json.decode(result[answer.size :], type=Rendered)
    assert (told.losses, told.reading.usage, told.reading.complete) == (["seed"], Usage(10, 20), True)


def test_a_stream_that_is_wanted_whole() -> None:
    stream = b"".join(
        [delta("", role="assistant"), *[delta("word ")] * 5000, delta("", finish="stop"), usage_chunk(), DONE]
    )
    collected = msgspec.structs.replace(PLAIN, streamed=True)
    [(answer, result)] = ordered(stream, job=collected)
    assert msgspec.json.decode(result[: answer.size])["content"][0]["text"] == "word " * 5000
    assert msgspec.json.decode(result[answer.size :], type=Rendered).reading.usage == Usage(10, 20)


def test_an_error_answer() -> None:
    refused = msgspec.structs.replace(PLAIN, status=400)
    [(answer, result)] = ordered(b'{"error":{"message":"no","type":"invalid_request_error"}}', job=refused)
    assert msgspec.json.decode(result[: answer.size])["error"]["message"] == "no"


def test_what_is_no_answer() -> None:
    for job, body in ((PLAIN, b"<html>"), (msgspec.structs.replace(PLAIN, streamed=True), delta("cut"))):
        [(answer, _)] = ordered(body, job=job)
        assert answer.code == UNREADABLE


@pytest.mark.parametrize(
    ("error", "code"), [(MemoryError(), INVALID_REQUEST.code), (KeyError("x"), SERVICE_UNAVAILABLE.code)]
)
def test_mistakes_are_told(error: Exception, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not end the process."""

    def work(*given: object) -> None:
        raise error

    monkeypatch.setattr(translator, "work", work)
    assert [answer.code for answer, _ in ordered(b"{}", 2)] == [code, code]
