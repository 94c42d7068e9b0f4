"""Streams in Gemini's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.stream import StreamReader, StreamWriter
from burncloud.domain.usage import Usage


def chunk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}]}


def sse(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in chunks)


def read(data: bytes, size: int = 1 << 20) -> list[canon.Event]:
    reader = StreamReader()
    found: list[canon.Event] = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found + reader.finish()


CHUNKS = (
    {**chunk({"text": "hm", "thought": True}), "responseId": "r", "modelVersion": "m"},
    chunk({"text": "Hel"}),
    chunk({"text": "lo", "thoughtSignature": "S"}),
    chunk({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "T"}),
    {**chunk({"text": ""}, finishReason="STOP"), "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4,
                                                                "totalTokenCount": 7}},
)  # fmt: skip
EVENTS: list[canon.Event] = [
    canon.Started("r", "m", dialect="gemini"),
    canon.Opened(0, canon.Reasoning(origin="gemini")), canon.Delta(0, "hm"), canon.Closed(0),
    canon.Opened(1, canon.Text("")), canon.Delta(1, "Hel"), canon.Delta(1, "lo"), canon.Closed(1),
    canon.Opened(2, canon.Reasoning(signature="S", origin="gemini")), canon.Closed(2),
    canon.Opened(3, canon.ToolCall("gcall_r_0", "f", "", "T")), canon.Delta(3, '{"a":1}'), canon.Closed(3),
    canon.Stopped(canon.Stop("tool", "STOP")), canon.Used(Usage(3, 4)), canon.Ended(),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_both_framings_mean_the_same(size: int) -> None:
    assert read(sse(*CHUNKS), size) == EVENTS
    assert read(b"  " + json.dumps(CHUNKS, indent=1).encode(), size) == EVENTS


def write(events: list[canon.Event], *, array: bool = False) -> tuple[bytes, list[str]]:
    losses = canon.Losses()
    writer = StreamWriter("public", True, losses, array=array)
    return b"".join(writer.write(event) for event in events), losses.names()


def test_written_again() -> None:
    data, losses = write(EVENTS)
    assert losses == []
    assert read(data)[1:] == EVENTS[1:]
    assert b'"modelVersion":"public","responseId":"r"' in data.split(b"\n\n")[0]
    array, _ = write(EVENTS, array=True)
    assert [json.loads(event[6:]) for event in data.split(b"\n\n") if event] == json.loads(array)


def test_an_empty_stream_and_a_failed_one() -> None:
    data, _ = write([canon.Ended()], array=True)
    assert json.loads(data)[0]["candidates"][0]["finishReason"] == "STOP"
    failed: list[canon.Event] = [canon.Started("r", "m"), canon.Failed(canon.Failure(503, "busy"))]
    data, _ = write([*failed], array=True)
    assert json.loads(data) == [{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}]
    assert read(data) == [failed[1]] or isinstance(read(data)[-1], canon.Failed)


def test_a_stream_that_was_cut() -> None:
    found = read(sse(*CHUNKS[:2]))
    assert isinstance(found[-1], canon.Closed)
    assert not any(isinstance(event, canon.Stopped | canon.Ended) for event in found)


def test_a_blocked_prompt() -> None:
    found = read(sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "responseId": "r"}))
    stopped = found[-2]
    assert isinstance(stopped, canon.Stopped)
    assert stopped.stop == canon.Stop("filter", "PROHIBITED_CONTENT")
    data, _ = write(found)
    assert json.loads(data[6:])["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}


def test_several_candidates_and_reasons_in_every_chunk() -> None:
    one = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    two = {"content": {"parts": [{"text": "b"}]}, "index": 1}
    found = read(sse({"candidates": [one, two]}, {"candidates": [one]}))
    opened = [(event.index, event.choice) for event in found if isinstance(event, canon.Opened)]
    assert opened == [(0, 0), (1, 1)]
    assert [event.choice for event in found if isinstance(event, canon.Stopped)] == [0]
    assert "".join(event.text for event in found if isinstance(event, canon.Delta) and not event.choice) == "aa"


def test_foreign_blocks() -> None:
    thought = canon.Reasoning(origin="messages")
    picture = canon.Image(canon.Source("image/png", "QUJD"))
    link = {"type": "url_citation", "url": "u", "title": "t"}
    data, losses = write([
        canon.Started("1", "x", dialect="messages"),
        canon.Opened(0, thought), canon.Delta(0, "hm"), canon.Delta(0, "", "sig"), canon.Closed(0),
        canon.Opened(1, canon.Text("")), canon.Delta(1, "Hi"), canon.Delta(1, citation=link), canon.Closed(1),
        canon.Opened(2, picture), canon.Closed(2),
        canon.Opened(3, canon.Raw("messages", {"type": "odd"})), canon.Closed(3),
        canon.Opened(4, canon.ToolCall("c", "f", "")), canon.Delta(4, '{"a"'), canon.Delta(4, ":1}"), canon.Closed(4),
        canon.Ping(), canon.Stopped(canon.Stop("pause")), canon.Ended(),
    ])  # fmt: skip
    assert losses == ["odd", "stop_reason"]
    chunks = [json.loads(event[6:])["candidates"][0] for event in data.split(b"\n\n") if event]
    parts = [one["content"]["parts"][0] for one in chunks]
    assert parts[0] == {"thought": True, "text": "hm"}
    assert (parts[1]["text"], parts[1]["thought"]) == ("", True)
    assert parts[2:5] == [
        {"text": "Hi"},
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}},
    ]
    assert chunks[-1]["groundingMetadata"]["groundingSupports"][0]["segment"]["text"] == "Hi"
    assert chunks[-1]["finishReason"] == "OTHER"


@pytest.mark.parametrize("data", [b"data: 5\n\n", b"data: {}\n\n", b'data: {"choices":[]}\n\n', b"data: <html>\n\n"])
def test_what_is_no_stream(data: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        StreamReader().feed(data)
