"""Streams of legacy Completions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Closed, Delta, Ended, Failed, Losses, Opened, Started, Stop, Stopped, Text, Used
from burncloud.adaptors.completions.stream import StreamReader, StreamWriter
from burncloud.domain.usage import Usage


def chunk(text: str, finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    head = {"id": "c1", "object": "text_completion", "created": 5, "model": "m"}
    return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
STREAM = chunk("a") + chunk("b", index=1) + chunk("c") + chunk("", "stop") + chunk("", "length", 1) + USAGE + DONE
EVENTS = [
    Started("c1", "m", 5, dialect="completions"), Opened(0, Text("")), Delta(0, "a"), Opened(1, Text(""), 1),
    Delta(1, "b", choice=1), Delta(0, "c"), Closed(0), Closed(1, 1), Stopped(Stop("stop", "stop")),
    Stopped(Stop("length", "length"), 1), Used(Usage(3, 2)), Ended(),
]  # fmt: skip


def read(data: bytes, size: int = 1 << 20) -> list[canon.Event]:
    reader, found = StreamReader(), list[canon.Event]()
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found + reader.finish()


def write(events: list[Any], *, usage: bool = True) -> bytes:
    writer = StreamWriter("", usage, Losses())
    return b"".join(map(writer.write, events))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_cut(size: int) -> None:
    assert read(STREAM, size) == EVENTS


def test_there_and_back() -> None:
    written = write(EVENTS)
    assert written.endswith(DONE)
    assert read(written) == EVENTS
    assert b'"usage"' not in write(EVENTS, usage=False)


def test_ends() -> None:
    assert read(STREAM.removesuffix(DONE)) == EVENTS
    assert not any(isinstance(event, Ended) for event in read(chunk("a")))
    assert isinstance(read(chunk("a") + b'data: {"error":{"message":"no"}}\n\n')[-1], Failed)


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: []\n\n", DONE, b'data: {"value":"x"}\n\n'])
def test_what_is_no_stream_of_completions(data: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        read(data)


def test_logprobs() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"a": -1}], "text_offset": [0]}
    data = chunk("a").replace(b'"logprobs": null', b'"logprobs": ' + json.dumps(logprobs).encode()) + DONE
    events = read(data)
    assert isinstance(events[2], Delta)
    assert events[2].logprobs is not None
    assert json.loads(write(events).split(b"\n\n")[0][6:])["choices"][0]["logprobs"] == logprobs


def test_what_cannot_be_said() -> None:
    losses = Losses()
    writer = StreamWriter("public", True, losses)
    events: list[canon.Event] = [
        Opened(0, canon.ToolCall("c", "f", "")), Delta(0, "{}"), Closed(0), canon.Foreign("messages", {"type": "odd"}),
        canon.Ping(), Opened(1, canon.Refusal("no")), Failed(canon.Failure(500, "broken")), Ended(),
    ]  # fmt: skip
    out = b"".join(map(writer.write, events))
    assert losses.names() == ["odd", "tool_call"]
    parts = out.split(b"\n\n")
    assert parts[0] == b": ping"
    assert json.loads(parts[1][6:])["choices"][0]["text"] == "no"
    assert json.loads(parts[1][6:])["model"] == "public"
    assert json.loads(parts[2][6:])["error"]["message"] == "broken"
