"""Streams."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from burncloud.adaptors.canon import (
    Audio,
    Block,
    Closed,
    Delta,
    Ended,
    Event,
    Failed,
    Failure,
    Foreign,
    Image,
    Losses,
    Opened,
    Ping,
    Raw,
    Reasoning,
    Source,
    Started,
    Stop,
    Stopped,
    Text,
    ToolCall,
    Unreadable,
    Used,
)
from burncloud.adaptors.converse.stream import StreamReader, StreamWriter
from burncloud.adaptors.eventstream import Decoder, write_frame
from burncloud.domain.usage import Usage


def frame(kind: str, **value: Any) -> bytes:
    head = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return write_frame(head, json.dumps(value).encode())


def delta(index: int, **value: Any) -> bytes:
    return frame("contentBlockDelta", contentBlockIndex=index, delta=value, p="abc")


def start(index: int, **value: Any) -> bytes:
    return frame("contentBlockStart", contentBlockIndex=index, start=value)


def stop(index: int) -> bytes:
    return frame("contentBlockStop", contentBlockIndex=index)


BEGIN = frame("messageStart", role="assistant", p="abc")
USAGE = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
END = frame("messageStop", stopReason="end_turn", p="a") + frame("metadata", usage=USAGE, metrics={"latencyMs": 1})
HEAD: list[Event] = [Started("", "", dialect="converse")]
TAIL: list[Event] = [Stopped(Stop("stop", "end_turn")), Used(Usage(3, 2)), Ended()]


def read(*frames: bytes) -> list[Event]:
    reader = StreamReader()
    return reader.feed(b"".join(frames)) + reader.finish()


def blocks(*frames: bytes) -> list[Event]:
    """The events of what stands between the beginning and the end."""
    events = read(BEGIN, *frames, END)
    assert events[:1] == HEAD
    assert events[-3:] == TAIL
    return events[1:-3]


def test_text() -> None:
    assert blocks(delta(0, text="a"), delta(0, text=""), delta(0, text="b"), stop(0)) == [
        Opened(0, Text("")), Delta(0, "a"), Delta(0, "b"), Closed(0),
    ]  # fmt: skip


def test_calls() -> None:
    call = {"toolUse": {"toolUseId": "t", "name": "f"}}
    found = blocks(start(0, **call), delta(0, toolUse={"input": '{"a"'}), delta(0, toolUse={"input": ":1}"}), stop(0))
    assert found == [Opened(0, ToolCall("t", "f", "")), Delta(0, '{"a"'), Delta(0, ":1}"), Closed(0)]
    reader = StreamReader({"f": "f.1"})
    assert Opened(0, ToolCall("t", "f.1", "")) in reader.feed(BEGIN + start(0, **call))


def test_thinking() -> None:
    found = blocks(
        delta(0, reasoningContent={"text": "a"}), delta(0, reasoningContent={"signature": "Eabc"}), stop(0),
        delta(1, reasoningContent={"redactedContent": base64.b64encode(b"Ex").decode()}), stop(1),
        delta(2, text="b"), stop(2),
    )  # fmt: skip
    assert found == [
        Opened(0, Reasoning(origin="messages")), Delta(0, "a"), Delta(0, "", "Eabc"), Closed(0),
        Opened(1, Reasoning(encrypted="Ex", origin="messages")), Closed(1),
        Opened(2, Text("")), Delta(2, "b"), Closed(2),
    ]  # fmt: skip


def test_citations() -> None:
    cited = {"location": {"web": {"url": "u"}}}
    found = blocks(delta(0, citation=cited), stop(0))
    assert found == [Opened(0, Text("")), Delta(0, citation={"type": "url_citation", "url": "u"}), Closed(0)]


def test_what_the_vendor_ran() -> None:
    call = {"toolUse": {"toolUseId": "t", "name": "f", "type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "t", "type": "f_result", "status": "success"}}
    found = blocks(
        start(0, **call), delta(0, toolUse={"input": '{"a":1}'}), stop(0),
        start(1, **result), delta(1, toolResult=[{"text": "x"}]), stop(1),
    )  # fmt: skip
    whole = {"toolUse": {**call["toolUse"], "input": {"a": 1}}}
    assert found == [
        Opened(0, Raw("converse", whole)), Closed(0),
        Opened(1, Raw("converse", {"toolResult": {**result["toolResult"], "content": [{"text": "x"}]}})), Closed(1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "more"),
    [({"image": {"format": "png"}}, {"toolUse": {"input": "{}"}}),
     ({"image": {"format": "png"}}, {"toolResult": ["x"]}),
     ({"toolUse": {"type": "server_tool_use"}}, {"image": {"source": {}}}),
     ({"toolResult": {"type": "f_result"}}, {"toolUse": {"input": "{}"}})],
)  # fmt: skip
def test_a_delta_of_another_kind_says_nothing(block: dict[str, Any], more: dict[str, Any]) -> None:
    assert blocks(start(0, **block), delta(0, **more), stop(0)) == blocks(start(0, **block), stop(0))


def test_pictures() -> None:
    found = blocks(start(0, image={"format": "png"}), delta(0, image={"source": {"bytes": "AA=="}}), stop(0))
    assert found == [Opened(0, Image(Source("image/png", "AA=="))), Closed(0)]


def test_forgotten_ends_and_beginnings() -> None:
    events = read(delta(0, text="a"), delta(1, text="b"), frame("messageStop", stopReason="max_tokens"))
    assert events == [
        *HEAD, Opened(0, Text("")), Delta(0, "a"), Closed(0), Opened(1, Text("")), Delta(1, "b"), Closed(1),
        Stopped(Stop("length", "max_tokens")), Ended(),
    ]  # fmt: skip


def test_cut_off() -> None:
    assert read(BEGIN, delta(0, text="a"), delta(0, text="b")[:-3]) == [*HEAD, Opened(0, Text("")), Delta(0, "a")]


def test_rest() -> None:
    end = frame("metadata", usage={**USAGE, "novel": 1}, serviceTier={"type": "flex"}, trace={"a": 1})
    events = read(
        frame("initial-response"), BEGIN, frame("novel", a=1), frame("messageStop", stopReason="end_turn"), end
    )
    assert [event.value for event in events if isinstance(event, Foreign)] == [
        {"type": "novel", "a": 1},
        {"type": "serviceTier", "serviceTier": {"type": "flex"}},
        {"type": "trace", "trace": {"a": 1}},
        {"type": "usage.novel", "usage.novel": 1},
    ]
    losses = Losses()
    writer = StreamWriter("m", True, losses)
    frames = Decoder().feed(b"".join(writer.write(event) for event in events))
    assert [made.headers[":event-type"] for made in frames] == ["messageStart", "novel", "messageStop", "metadata"]
    last = json.loads(frames[-1].payload)
    assert last == {"usage": {**USAGE, "novel": 1}, "metrics": {"latencyMs": 0}, "serviceTier": {"type": "flex"},
                    "trace": {"a": 1}}  # fmt: skip
    assert not losses


@pytest.mark.parametrize(
    ("head", "payload", "want"),
    [
        ({":message-type": "exception", ":exception-type": "throttlingException"}, {"message": "slow"},
         Failure(429, "slow", "throttlingException")),
        ({":message-type": "exception", ":exception-type": "modelStreamErrorException"},
         {"message": "no", "originalStatusCode": 503}, Failure(503, "no", "modelStreamErrorException")),
        ({":message-type": "exception", ":exception-type": "novel"}, {},
         Failure(500, "The upstream answered with status 500", "novel")),
        ({":message-type": "error", ":error-code": "InternalError", ":error-message": "broke"}, None,
         Failure(500, "broke", "InternalError")),
    ],
)  # fmt: skip
def test_failures(head: dict[str, Any], payload: Any, want: Failure) -> None:
    data = b"" if payload is None else json.dumps(payload).encode()
    events = read(BEGIN, write_frame(head, data), delta(0, text="a"))
    assert events == [*HEAD, Failed(want)]


@pytest.mark.parametrize(
    "data", [b"data: {}\n\n" * 3, frame("messageStop")[:-1] + b"x", write_frame({":event-type": "metadata"}, b"[]"),
             delta(0, toolUse={"input": "x"})],
)  # fmt: skip
def test_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        StreamReader().feed(data)


# Writing


def written(*events: Event, dialect: str = "chat") -> tuple[list[tuple[str, Any]], list[str]]:
    """([(type, payload)] between the beginning and the end, what was lost)."""
    losses = Losses()
    writer = StreamWriter("m", True, losses)
    data = b"".join(writer.write(event) for event in [Started("i", "m", dialect=dialect), *events, *TAIL])
    frames = [(str(made.headers[":event-type"]), json.loads(made.payload)) for made in Decoder().feed(data)]
    assert frames[0] == ("messageStart", {"role": "assistant"})
    assert frames[-1][0] == "metadata"
    return frames[1:-2], losses.names()


def one(block: Block, *deltas: Delta) -> tuple[list[tuple[str, Any]], list[str]]:
    """A block alone."""
    return written(Opened(0, block), *deltas, Closed(0))


def block_delta(index: int, value: Any) -> tuple[str, Any]:
    return ("contentBlockDelta", {"contentBlockIndex": index, "delta": value})


END_0 = ("contentBlockStop", {"contentBlockIndex": 0})


@pytest.mark.parametrize(
    ("block", "more", "want", "lost"),
    [
        (Text(""), [Delta(0, 'a"'), Delta(0, "b")], [{"text": 'a"'}, {"text": "b"}], []),
        (Text("a"), [Delta(0, citation={"type": "url_citation", "url": "u"}), Delta(0, citation={"type": "x"})],
         [{"text": "a"}, {"citation": {"location": {"web": {"url": "u"}}}}], ["citations"]),
        (Text(""), [Delta(0, "a", logprobs={})], [{"text": "a"}], ["logprobs"]),
        (Audio(Source()), [Delta(0, "AAAA", transcript="a")], [{"text": "a"}], ["audio"]),
        (Reasoning(origin="chat"), [Delta(0, "a")], [{"reasoningContent": {"text": "a"}}], []),
        (Reasoning(origin="gemini"), [Delta(0, "a"), Delta(0, "", "sig")], [{"reasoningContent": {"text": "a"}}],
         ["thinking_signature"]),
        (Reasoning(origin="messages"), [Delta(0, "a"), Delta(0, "", "Eabc")],
         [{"reasoningContent": {"text": "a"}}, {"reasoningContent": {"signature": "Eabc"}}], []),
        (Reasoning(encrypted="Ex", origin="messages"), [], [{"reasoningContent": {"redactedContent": "RXg="}}], []),
    ],
)  # fmt: skip
def test_written(block: Block, more: list[Delta], want: list[Any], lost: list[str]) -> None:
    frames, names = one(block, *more)
    assert frames == [*(block_delta(0, value) for value in want), END_0]
    assert names == lost


def test_nothing_said() -> None:
    assert one(Text("")) == ([], [])
    assert written(Ping(), Opened(0, Text("a"), 1), Delta(0, "x", choice=1)) == ([], ["n"])


def test_written_calls() -> None:
    frames, lost = one(ToolCall("a|b", "f", ""), Delta(0, "{}"), Delta(0, "", "sig"))
    begin = {"start": {"toolUse": {"toolUseId": "tooluse_a_b_e0a6cb16", "name": "f"}}, "contentBlockIndex": 0}
    assert frames[0][1].keys() == begin.keys()
    assert frames[1:] == [block_delta(0, {"toolUse": {"input": "{}"}}), END_0]
    assert lost == ["thinking_signature"]
    frames, lost = one(ToolCall("t", "f", "", custom=True), Delta(0, "a\n"), Delta(0, "b"))
    assert frames[1:] == [block_delta(0, {"toolUse": {"input": '{"input":"a\\nb"}'}}), END_0]
    assert lost == ["custom_tools"]


def test_written_whole() -> None:
    frames, lost = one(Image(Source("image/png", "AA==")))
    assert lost == ["image"]
    value = {"toolUse": {"toolUseId": "t", "name": "f", "type": "server_tool_use", "input": {"a": 1}}}
    frames, lost = written(Opened(0, Raw("converse", value)), Closed(0), dialect="converse")
    assert frames == [
        ("contentBlockStart", {"start": {"toolUse": {"toolUseId": "t", "name": "f", "type": "server_tool_use"}},
                               "contentBlockIndex": 0}),
        ("contentBlockDelta", {"delta": {"toolUse": {"input": '{"a":1}'}}, "contentBlockIndex": 0}),
        END_0,
    ]  # fmt: skip
    assert lost == []
    assert one(Raw("messages", {"type": "x"})) == ([], ["x"])


def test_written_failure() -> None:
    writer = StreamWriter("m", True, Losses())
    (made,) = Decoder().feed(writer.write(Failed(Failure(429, "slow"))))
    assert dict(made.headers) == {
        ":exception-type": "throttlingException", ":content-type": "application/json", ":message-type": "exception",
    }  # fmt: skip
    assert made.payload == b'{"message":"slow"}'


def test_an_end_without_a_beginning() -> None:
    writer = StreamWriter("m", True, Losses())
    kinds = [made.headers[":event-type"] for made in Decoder().feed(writer.write(Ended()))]
    assert kinds == ["messageStart", "messageStop", "metadata"]
