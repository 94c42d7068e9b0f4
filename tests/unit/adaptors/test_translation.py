"""From one dialect to another and back, in the small: what is joined here, not what the dialects do."""

from __future__ import annotations

import gzip

import msgspec
import pytest

from burncloud.adaptors import canon, translation
from burncloud.adaptors.eventstream import framed, write_headers
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.translation import TOKENS, Translation
from burncloud.errors import THREAD_UNSUPPORTED, Refusal, error_body

ASKED = {"model": "public", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
START = b'data: {"id":"c1","model":"up","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
HELLO = b'data: {"id":"c1","model":"up","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
STOP = b'data: {"id":"c1","model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c1","model":"up","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = msgspec.json.encode({
    "id": "c1", "model": "up", "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
})  # fmt: skip


def made(stream: bool = True) -> Translation:
    """A client that speaks Messages before an upstream that speaks Chat."""
    request = translation.read("messages", msgspec.json.encode(ASKED), "public", stream)
    return Translation(SPOKEN["messages"], SPOKEN["chat"], Asked(request, "public"), canon.Losses())


def test_the_request_is_written_for_the_upstream_and_stays_as_it_was() -> None:
    """Its model is the upstream's, a stream is asked for its usage; the request can be written again."""
    request = translation.read("messages", msgspec.json.encode(ASKED), "public", True)
    first = translation.write("chat", request, "up", canon.Losses())
    body = msgspec.json.decode(first)
    assert (body["model"], body["stream"], body["stream_options"]) == ("up", True, {"include_usage": True})
    assert (request.model, request.include_usage) == ("public", True)
    assert translation.write("chat", request, "up", canon.Losses()) == first


def test_a_stream_goes_through_as_it_comes() -> None:
    """Its opening is no content; with the first text it is; the end is the end."""
    t = made()
    t.strip(START)
    assert not t.content
    assert b"Hello" in t.strip(HELLO)
    assert t.content
    out = t.strip(STOP) + t.strip(USAGE) + t.strip(DONE) + t.finish()
    assert t.ended
    assert b"message_stop" in out
    assert t.cut("too late") == b""


def test_a_stream_that_breaks_off_gets_no_false_stop() -> None:
    t = made()
    t.strip(START + HELLO)
    assert t.finish() == b""
    assert not t.ended
    assert b"event: error" in t.cut("It broke off")


def test_an_error_before_content() -> None:
    t = made()
    t.strip(b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n')
    assert t.failure is not None
    assert not t.content


def test_a_malformed_event_is_counted_and_the_stream_goes_on() -> None:
    t = made()
    t.strip(START + HELLO)
    assert t.strip(b"data: {nonsense\n\n") == b""
    assert t.malformed == 1
    assert b"Hello" in t.strip(HELLO)


def test_whole_answers() -> None:
    """Plain to plain; plain to a client that wants a stream; a stream to one that wants it whole."""
    answer = msgspec.json.decode(made(False).whole(WHOLE))
    assert (answer["type"], answer["content"][0]["text"], answer["usage"]["input_tokens"]) == ("message", "Hello", 3)
    told = made().whole(WHOLE)
    assert told.index(b"message_start") < told.index(b"Hello") < told.index(b"message_stop")
    t = made(False)
    assert t.strip(START + HELLO + STOP + USAGE + DONE) + t.finish() == b""
    assert msgspec.json.decode(t.collected())["content"] == answer["content"]


def test_compressed_though_not_asked() -> None:
    t = made(False)
    t.encoded("gzip")
    assert b"Hello" in t.whole(gzip.compress(WHOLE))


def test_what_is_no_answer() -> None:
    with pytest.raises(canon.Unreadable):
        made(False).whole(b"<html>")
    t = made(False)
    t.strip(START + HELLO)
    t.finish()
    with pytest.raises(canon.Unreadable):
        t.collected()


def test_an_error_body_keeps_its_sentence() -> None:
    body = made(False).failed(400, b'{"error":{"message":"max_tokens is too large","type":"invalid_request_error"}}')
    assert msgspec.json.decode(body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "max_tokens is too large"},
    }


def test_a_thread_is_refused_in_the_words_that_anthropics_sdk_goes_on_from() -> None:
    body = msgspec.json.encode({**ASKED, "thread": {"type": "create"}})
    job = translation.Job("messages", "chat", "public", "up", False)
    with pytest.raises(Refusal) as caught:
        translation.work(job, body)
    assert caught.value.row is THREAD_UNSUPPORTED
    error = msgspec.json.decode(error_body(caught.value.row, caught.value.message, "anthropic"))["error"]
    assert error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    translation.work(msgspec.structs.replace(job, way="messages"), body)


AWS = [
    b"X-Amzn-ErrorType", b": ", b"ThrottlingException:http://internal.amazon.com/coral/", b"\r\n",
    b"x-amzn-bedrock-input-token-count", b": ", b"7", b"\r\n",
]  # fmt: skip


def heard(client: str, upstream: str, stream: bool = False, fields: list[bytes] = AWS) -> Translation:
    """An answer whose head said all that AWS says there."""
    request = translation.read(client, msgspec.json.encode(ASKED), "public", stream)
    made = Translation(SPOKEN[client], SPOKEN[upstream], Asked(request, "public"), canon.Losses())
    made.heard(fields, b"req-1")
    return made


def test_what_only_the_head_says() -> None:
    """The id of an answer that has none, plain and as a stream; the kind of an error."""
    said = {"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}, "stopReason": "end_turn"}
    told = msgspec.json.decode(heard("chat", "converse").whole(msgspec.json.encode(said)))
    assert told["id"] == "req-1"
    assert told["usage"]["prompt_tokens"] == 7
    assert b'"id":"req-1"' in heard("chat", "converse", True).whole(msgspec.json.encode(said))
    frame = framed(write_headers({":event-type": "messageStart", ":message-type": "event"}), b'{"role":"assistant"}')
    assert b'"id":"req-1"' in heard("messages", "converse", True).strip(frame)
    failure = msgspec.json.decode(heard("chat", "converse").failed(429, b'{"message":"Too many"}'))
    assert failure["error"]["message"] == "Too many"
    assert "ThrottlingException" in (failure["error"]["type"], failure["error"]["code"])


def test_what_the_body_says_counts() -> None:
    assert msgspec.json.decode(heard("messages", "chat").whole(WHOLE))["id"] == "c1"
    assert heard("messages", "chat").usage is None, "the count is AWS's"
    assert heard("messages", "converse", fields=[TOKENS, b": ", "١".encode(), b"\r\n"]).usage is None
