"""Claude's events in Bedrock's frames."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Closed, Delta, Ended, Failed, Failure, Losses, Opened, Text, Unreadable
from burncloud.adaptors.converse.invoke import (
    InvokeStreamReader,
    InvokeStreamWriter,
    Unwrapper,
    invoke_body,
    wrapped,
)
from burncloud.adaptors.eventstream import Decoder, write_frame
from burncloud.adaptors.messages.stream import StreamReader
from burncloud.errors import Refusal

EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "msg_1", "model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hé"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
DATA = [json.dumps(event).encode() for event in EVENTS]
STREAM = wrapped(DATA)
THROTTLED = write_frame({":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"slow"}')


def sse(data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (json.loads(data)["type"].encode(), data)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_read(size: int) -> None:
    reader = InvokeStreamReader()
    found: list[canon.Event] = []
    for start in range(0, len(STREAM), size):
        found += reader.feed(STREAM[start : start + size])
    found += reader.finish()
    plain = StreamReader()
    assert found == plain.feed(b"".join(map(sse, DATA))) + plain.finish()
    assert found[1:4] == [Opened(0, Text("")), Delta(0, "hé"), Closed(0)]
    assert isinstance(found[-1], Ended)


def test_unwrapped() -> None:
    assert Unwrapper().feed(STREAM) == b"".join(map(sse, DATA))
    head, _, data = Unwrapper().feed(THROTTLED).partition(b"\ndata: ")
    assert head == b"event: error"
    assert json.loads(data)["error"] == {"type": "rate_limit_error", "message": "slow"}


def test_failures() -> None:
    reader = InvokeStreamReader()
    assert reader.feed(THROTTLED + STREAM) == [Failed(Failure(429, "slow", "throttlingException"))]
    assert reader.feed(STREAM) == reader.finish() == []


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"bytes":1}', b'{"bytes":"a"}'])
def test_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        InvokeStreamReader().feed(write_frame({":event-type": "chunk"}, payload))


def test_written() -> None:
    events = InvokeStreamReader().feed(STREAM)
    writer = InvokeStreamWriter("c", True, Losses())
    data = b"".join(writer.write(event) for event in events)
    kinds = [json.loads(base64.b64decode(json.loads(frame.payload)["bytes"]))["type"] for frame in Decoder().feed(data)]
    assert kinds == [event["type"] for event in EVENTS]


def test_body() -> None:
    given = b'{"model":"m","stream":true,"max_tokens":5,"temperature":1.0,"messages":[ ]}'
    assert json.loads(invoke_body(given, ["a", " b "])) == {
        "max_tokens": 5, "temperature": 1.0, "messages": [], "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["a", "b"],
    }  # fmt: skip
    assert b'"temperature":1.0,"messages":[ ]' in invoke_body(given)
    assert "anthropic_beta" not in json.loads(invoke_body(given))
    with pytest.raises(Refusal):
        invoke_body(b"[]")
