"""Streams of Chat: read in any cut, written chunk by chunk, ended as the SDKs expect it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Closed, Delta, Ended, Failed, Losses, Opened, Started, Stop, Stopped, Text, Used
from burncloud.adaptors.chat.stream import StreamReader, StreamWriter
from burncloud.domain.usage import Usage

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def chunk(delta: Any, finish: str | None = None, index: int = 0, **members: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({**HEAD, "choices": [choice], **members}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
STREAM = (
    chunk({"role": "assistant", "content": ""}) + chunk({"content": "Hé"}) + b": ping\n\n" + chunk({"content": "!"})
    + chunk({}, "stop") + USAGE + DONE
)  # fmt: skip
EVENTS = [
    Started("c1", "m", 5, dialect="chat"), Opened(0, Text("")), Delta(0, "Hé"), Delta(0, "!"), Closed(0),
    Stopped(Stop("stop", "stop")), Used(Usage(3, 2)), Ended(),
]  # fmt: skip


def read(data: bytes, size: int = 1 << 20) -> list[canon.Event]:
    reader, found = StreamReader(), list[canon.Event]()
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found + reader.finish()


def write(events: list[Any], *, usage: bool = True, model: str = "", **options: bool) -> tuple[list[Any], list[str]]:
    losses = Losses()
    writer = StreamWriter(model, usage, losses, **options)
    out = b"".join(map(writer.write, events))
    return [
        json.loads(part[6:]) if part != b"data: [DONE]" else "DONE" for part in out.split(b"\n\n")[:-1]
    ], losses.names()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_cut(size: int) -> None:
    assert read(STREAM, size) == EVENTS
    assert read(STREAM.replace(b"\n", b"\r\n"), size) == EVENTS


def test_without_done_or_finish() -> None:
    assert read(STREAM.removesuffix(DONE)) == EVENTS
    assert read(chunk({"content": "x"}) + DONE)[-2:] == [Stopped(Stop("stop", "")), Ended()]
    cut = read(chunk({"content": "x"}))
    assert not any(isinstance(event, Ended | Stopped | Failed) for event in cut)


def test_what_comes_after_the_end_is_nothing() -> None:
    reader = StreamReader()
    reader.feed(STREAM)
    assert reader.feed(STREAM) == []
    assert reader.finish() == []


def test_the_last_reason_and_usage_count() -> None:
    running = {"prompt_tokens": 3, "completion_tokens": 1}
    data = (
        chunk({"content": "a"}, "stop", usage=running) + chunk({"content": "b"}, "length", usage=running) + USAGE + DONE
    )
    events = read(data)
    assert [event for event in events if isinstance(event, Stopped)] == [Stopped(Stop("length", "length"))]
    assert [event for event in events if isinstance(event, Used)] == [Used(Usage(3, 2))]
    assert Closed(0) not in events[:4]


def test_groqs_usage_and_perplexitys_message() -> None:
    data = b"".join((
        b'data: {"id":"c","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}\n\n',
        b'data: {"id":"c","choices":[],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":2}}}\n\n', DONE,
    ))  # fmt: skip
    events = read(data)
    assert Delta(0, "x") in events
    assert Used(Usage(3, 2)) in events


def test_several_choices_have_blocks_of_their_own() -> None:
    data = chunk({"content": "a"}) + chunk({"content": "b"}, index=1) + chunk({"content": "c"}) + DONE
    deltas = [event for event in read(data) if isinstance(event, Delta)]
    assert [(event.index, event.choice, event.text) for event in deltas] == [(0, 0, "a"), (1, 1, "b"), (0, 0, "c")]


def test_logprobs_go_with_the_text() -> None:
    token = {"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []}
    probs: dict[str, Any] = {"content": [token], "refusal": None}
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": probs, "finish_reason": None}
    data = b"data: " + json.dumps({**HEAD, "choices": [choice]}).encode() + b"\n\n" + DONE
    events = read(data)
    assert events[2] == Delta(0, "a", logprobs=probs)
    assert write(events)[0][1]["choices"][0]["logprobs"] == probs


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b'data: {"error":{"message":"no","code":429}}\n\n', canon.Failure(429, "no", "")),
        (
            b'event: error\ndata: {"error":{"message":"no","type":"x","status_code":400}}\n\n',
            canon.Failure(400, "no", "x"),
        ),
        (b'data: {"object":"error","message":"no"}\n\n', canon.Failure(500, "no", "")),
    ],
)
def test_errors_in_mid_stream(data: bytes, failure: canon.Failure) -> None:
    events = read(chunk({"content": "x"}) + data + chunk({"content": "y"}))
    assert events[-1] == Failed(failure)
    assert write(events)[0][-1]["error"]["message"] == "no"


@pytest.mark.parametrize("data", [b"data: [1]\n\n", b"data: {\n\n", DONE, b'data: {"value":"x"}\n\n', b"data: 5\n\n"])
def test_what_is_no_stream_of_chat(data: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        read(data)


def test_members_of_another_type_are_left_out() -> None:
    events = read(b'data: {"id":5,"choices":[{"delta":{"content":"x","refusal":7}}]}\n\n' + DONE)
    assert Delta(0, "x") in events


def test_written_as_openai_does() -> None:
    chunks, losses = write(EVENTS, model="public")
    head = {**HEAD, "model": "public"}
    deltas = [{"role": "assistant", "content": "", "refusal": None}, {"content": "Hé"}, {"content": "!"}, {}]
    reasons = [None, None, None, "stop"]
    assert chunks[:4] == [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        for delta, reason in zip(deltas, reasons, strict=True)
    ]
    assert chunks[4]["choices"] == []
    assert chunks[4]["usage"]["total_tokens"] == 5
    assert chunks[5] == "DONE"
    assert not losses


def test_usage_only_for_who_asks() -> None:
    assert all("usage" not in chunk for chunk in write(EVENTS, usage=False)[0][:-1])


def test_calls() -> None:
    events = [
        Started("c1", "m", 5, dialect="messages"),
        Opened(3, canon.ToolCall("a", "f", "")), Delta(3, '{"x":'), Delta(3, "1}"), Closed(3),
        Opened(4, canon.ToolCall("b", "g", "{}", "sig")), Closed(4),
        Opened(5, canon.ToolCall("c", "h", "", custom=True)), Delta(5, "free"), Delta(5, signature="s2"), Closed(5),
        Stopped(Stop("stop", "STOP")), Ended(),
    ]  # fmt: skip
    chunks, _ = write(events)
    pieces = [chunk["choices"][0]["delta"].get("tool_calls", [{}])[0] for chunk in chunks[1:8]]
    assert pieces == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
        {
            "index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "sig"}},
        },
        {"index": 2, "id": "c", "type": "custom", "custom": {"name": "h", "input": ""}},
        {"index": 2, "custom": {"input": "free"}},
        {"index": 2, "extra_content": {"google": {"thought_signature": "s2"}}},
    ]  # fmt: skip
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_client_with_functions() -> None:
    events = [Opened(0, canon.ToolCall("a", "f", "")), Delta(0, "{}"), Closed(0), Stopped(Stop("tool")), Ended()]
    chunks, _ = write(events, legacy_functions=True)
    assert [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks[1:3]] == [
        {"name": "f", "arguments": ""}, {"arguments": "{}"},
    ]  # fmt: skip
    assert chunks[3]["choices"][0]["finish_reason"] == "function_call"


def test_thinking_of_elsewhere_keeps_its_signature() -> None:
    events = [
        Started("c1", "m", 5, dialect="messages"),
        Opened(0, canon.Reasoning(origin="messages")), Delta(0, "wh"), Delta(0, "y"), Delta(0, signature="s"),
        Closed(0),
        Opened(1, canon.Reasoning(encrypted="e", origin="messages")), Closed(1),
        Opened(2, canon.Reasoning(id="rs", origin="responses")), Delta(2, "sum"), Delta(2, encrypted="e2"), Closed(2),
        Opened(3, Text("so")), Closed(3), Stopped(Stop("stop")), Ended(),
    ]  # fmt: skip
    chunks, losses = write(events)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[1:8]]
    claude, openai = "anthropic-claude-v1", "openai-responses-v1"
    assert deltas == [
        {"reasoning_content": "wh", "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "text": "wh", "format": claude}]},
        {"reasoning_content": "y", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "y"}]},
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "e", "format": claude, "index": 1}]},
        {"reasoning_content": "sum", "reasoning_details": [
            {"type": "reasoning.summary", "index": 2, "summary": "sum", "format": openai, "id": "rs"}]},
        {"reasoning_details": [
            {"type": "reasoning.encrypted", "data": "e2", "format": openai, "id": "rs", "index": 3}]},
        {"content": "so"},
    ]  # fmt: skip
    assert not losses


def test_what_cannot_be_said() -> None:
    events = [
        Started("", "", extra={"container": 1}, dialect="messages"),
        Opened(0, canon.Raw("messages", {"type": "server_tool_use"})), Delta(0, "x"), Closed(0),
        Opened(1, Text("ab")),
        Delta(1, citation={"type": "char_location"}),
        Delta(1, citation={"type": "web_search_result_location", "url": "u", "title": "t"}), Closed(1),
        Opened(2, canon.Audio(canon.Source())), Delta(2, "AA", transcript="hi"), Closed(2),
        Opened(3, canon.Image(canon.Source("image/png", "AA"))), Closed(3),
        canon.Foreign("messages", {"type": "odd"}), canon.Foreign("chat", {"type": "x", "delta": {"x": 1}}),
        Stopped(Stop("pause", "pause_turn"), extra={"context_management": 1}), Ended(),
    ]  # fmt: skip
    chunks, losses = write(events)
    assert losses == ["citations", "container", "context_management", "odd", "server_tool_use", "stop_reason"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[2]["annotations"][0]["url_citation"] == {"url": "u", "title": "t", "start_index": 0, "end_index": 2}
    assert deltas[3:5] == [{"audio": {"id": "audio_0"}}, {"audio": {"data": "AA", "transcript": "hi"}}]
    assert deltas[5]["images"][0]["image_url"]["url"] == "data:image/png;base64,AA"
    assert deltas[6] == {"x": 1}


def test_pings_and_an_end_without_a_word() -> None:
    assert StreamWriter("m", True, Losses()).write(canon.Ping()) == b": ping\n\n"
    chunks, _ = write([Ended()])
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[2] == "DONE"


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, len(STREAM)))
def test_any_bytes_in_between(noise: bytes, at: int) -> None:
    try:
        events = read(STREAM[:at] + noise + STREAM[at:], 5)
    except canon.Unreadable:
        return
    write(events)


def test_lists_are_told_as_the_sdk_puts_them_together() -> None:
    """OpenAI's stream state refuses a second entry of a list that has no index."""
    links = [{"type": "url_citation", "url": f"https://example.com/{n}", "title": ""} for n in range(2)]
    image = canon.Image(canon.Source("image/png", "aGk="))
    events = [
        Started("c1", "m", 5, dialect="messages"), Opened(0, Text("")), Delta(0, "Hé"),
        *(Delta(0, citation=link) for link in links), Closed(0),
        Opened(1, image), Closed(1), Opened(2, image), Closed(2),
        Stopped(Stop("stop")), Ended(),
    ]  # fmt: skip
    written, _ = write(events)
    deltas = [part["choices"][0]["delta"] for part in written if part != "DONE" and part["choices"]]
    assert [delta["annotations"][0]["index"] for delta in deltas if "annotations" in delta] == [0, 1]
    assert [delta["images"][0]["index"] for delta in deltas if "images" in delta] == [0, 1]
