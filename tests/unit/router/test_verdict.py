"""What comes with 200 and is no answer leads to the next channel."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.router import settle
from burncloud.router.verdict import is_json
from tests.dialogue import Dialogue, channels
from tests.speech import LAST, answer, body_of, chat, chunk, completion, delta, in_chunks, post, stream_head

PAGE = b"<!doctype html><html><body>Welcome to nginx</body></html>"
TRUNCATED = completion()[:-20]
ERROR = body_of({"error": {"message": "overloaded", "type": "server_error", "code": None}})
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
DETAIL = b'{"detail": "Internal Server Error"}'
MESSAGES = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'


@pytest.mark.parametrize("said", [
    answer(PAGE, kind="text/html; charset=utf-8"), answer(PAGE), answer(PAGE, kind="text/plain"), answer(b""),
    answer(TRUNCATED), HEAD + in_chunks(TRUNCATED), HEAD + in_chunks(PAGE), HEAD + LAST, answer(ERROR), answer(b"null"),
    answer(b"OK", kind="text/plain"), HEAD + in_chunks(ERROR, (10,)),
    answer(completion())[:-5],
    answer(b"", status=202), answer(PAGE, status=201), answer(TRUNCATED, status=206), answer(ERROR, status=203),
    b"HTTP/1.1 204 No Content\r\n\r\n", answer(DETAIL), HEAD + in_chunks(DETAIL), answer(b"{}"), answer(b"[]"),
])  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_channel(said: bytes, stream: bool) -> None:
    """None of it reaches the client; the attempt stands in the row, and its channel is blamed."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat(stream=stream))
        up = d.upstream()
        up << said
        if not up.wire.lost:
            up.hang_up()
        assert client.received == b""
        d.upstream() << answer(completion())
        assert client.answer().body == completion()
        [end] = d.receipts()
        assert (end.state, end.channel, len(end.attempts)) == ("done", 2, 2)
        assert d.gateway.health.resting


@pytest.mark.parametrize("stream", [False, True])
def test_a_good_status_of_another_number(stream: bool) -> None:
    """It is told as 200; a stream that is cut is not taken for a whole one."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=stream))
        up = d.upstream()
        if stream:
            up << stream_head(status=201) + chunk(delta("Hi"))
            up.hang_up()
            assert b"broke the stream off" in client.answer().body
            assert d.receipts()[0].state == "cut"
        else:
            up << answer(completion(), status=201)
            assert (client.answer().status, client.answers()[-1].body) == (200, completion())
            assert d.receipts()[0].charge > 0


@pytest.mark.parametrize("said", [PAGE, TRUNCATED, ERROR, b"", DETAIL, b"{}", b"[]"])
def test_of_another_dialect(said: bytes) -> None:
    """The same where the answer is translated."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat(), "/v1/messages", "anthropic-version: 2023-06-01")
        d.upstream() << answer(said)
        d.upstream() << answer(completion())
        assert client.answer().json["content"][0]["text"] == "Hello!"


def test_nobody_else() -> None:
    """502, and no charge."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(PAGE)
        assert client.answer().status == 502
        assert d.receipts()[0].charge == 0


@pytest.mark.parametrize("said", [
    completion(), body_of({"choices": [{"finish_reason": "content_filter", "message": {"content": None}}]}),
    body_of({"error": {"message": "no", "code": "context_length_exceeded"}}), body_of({"choices": []}),
    b'{"choices": []}\n{"choices": []}',
])  # fmt: skip
def test_what_is_an_answer(said: bytes) -> None:
    """A filter's stop is one; so is a complaint about the prompt."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(said)
        assert client.answer().body == said
        assert d.silent
        assert not d.gateway.health.resting


@pytest.mark.parametrize("status", [400, 413])
def test_a_complaint_may_lead_elsewhere(status: int) -> None:
    """Another model may take the prompt: who knows of one is asked; nobody is blamed."""
    said = answer({"error": {"message": "m", "code": "context_length_exceeded"}}, status=status)
    for elsewhere in (False, True):
        with Dialogue(channels(2)) as d:
            asked: list[str] = []
            gone: list[Any] = []

            def ask(x: Any, kind: str, asked: list[str] = asked, elsewhere: bool = elsewhere) -> bool:
                asked.append(kind)
                return elsewhere

            def go_there(x: Any, fault: Any, settings: Any, gone: list[Any] = gone, d: Dialogue = d) -> None:
                gone.append(fault)
                settle.attempt_over(x, fault.status, 1, 0)
                d.gateway.failover._give_up(x, fault)

            d.gateway.answers.judge.elsewhere = ask
            d.gateway.failover.attempt_failed = go_there  # type: ignore[method-assign]
            client = d.client()
            client >> post(chat())
            d.upstream() << said
            assert asked == ["too_long"]
            assert [(fault.kind, fault.status) for fault in gone] == ([("too_long", status)] if elsewhere else [])
            assert client.answer().status == (503 if elsewhere else status)
            assert not d.gateway.health.resting


@pytest.mark.parametrize(("body", "is_it"), [
    (b"{}", True), (b" [1]", True), (b'{"a":1}\n{"a":2}\n', True), (b'{"a":1', False), (b"{\n", False), (b"x", False),
    (b'"text"', False), (b"[" * 100_000, False),
])  # fmt: skip
def test_json(body: bytes, is_it: bool) -> None:
    """An object, an array, or lines of them."""
    assert is_json(body) is is_it
