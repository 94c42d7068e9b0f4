"""Any bytes in: a result, a Refusal or Unreadable, never another exception; unknown fields survive or are named.

All six dialects, every reader and every writer, by their rows in spoken.py.  The recordings are mangled in
tests/wire; here the shapes are made up.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burncloud.adaptors import assemble, canon, translation
from burncloud.adaptors.canon import DIALECTS
from burncloud.adaptors.converse.invoke import Unwrapper
from burncloud.adaptors.eventstream import write_frame
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.errors import Refusal
from tests.e2e.vendor_scripts import VENDORS, Call, Say, Step, Think, framed

MODEL = {
    "chat": "gpt-5.2", "responses": "gpt-5.2", "messages": "claude-sonnet-4-5", "gemini": "gemini-3-flash-preview",
    "converse": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "completions": "davinci",
}  # fmt: skip
STEPS: list[Step] = [Think("hmm", "c2VjcmV0"), Say("Grüezi"), Call("call_A1b2C3d4E", "add", {"x": 1, "y": [None]})]
TEXT_COMPLETION = {
    "id": "c", "object": "text_completion", "created": 1, "model": "m",
    "choices": [{"text": "Grüezi", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}  # fmt: skip
STREAMS = {name: framed(name, vendor.stream(STEPS)) for name, vendor in VENDORS.items()}
STREAMS["completions"] = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(TEXT_COMPLETION).encode()
ANSWERS: dict[str, Any] = {name: vendor.plain(STEPS) for name, vendor in VENDORS.items()}
ANSWERS["completions"] = TEXT_COMPLETION

LOOP = canon.Request(
    "model",
    [
        canon.Turn("user", [canon.Text("hi"), canon.Image(canon.Source("image/png", "aGk="))]),
        canon.Turn("assistant", [canon.ToolCall("call_A1b2C3d4E", "add", '{"x":1}')]),
        canon.Turn("user", [canon.ToolResult("call_A1b2C3d4E", [canon.Text("2")], name="add")]),
    ],
    [canon.Text("be kind")],
    tools=[canon.Tool("add", "adds", {"type": "object", "properties": {"x": {"type": "integer"}}})],
    tool_choice=canon.ToolChoice("required"),
    output=canon.OutputFormat("schema", "answer", schema={"type": "object", "properties": {}}),
    thinking=canon.Thinking(True, effort="high"),
    max_tokens=99,
    stop=["END"],
)
REQUESTS = {name: json.loads(translation.write(name, LOOP, MODEL[name], canon.Losses())) for name in DIALECTS}

SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=6)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
DIALECT = st.sampled_from(DIALECTS)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def encoded(value: Any) -> bytes:
    """JSON as a careless client writes it: with NaN, with lone surrogates."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a value."""
    found = [path] if path else []
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += places(value[key], (*path, key))
    return found


def wounded(value: Any, wounds: list[tuple[int, Any]]) -> Any:
    """A copy in which something else stands at some places."""
    value = json.loads(json.dumps(value))
    for number, other in wounds:
        known = places(value)
        path = known[number % len(known)]
        place = value
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other
    return value


WOUNDS = st.lists(st.tuples(st.integers(0, 10_000), JSON), min_size=1, max_size=3)


def ask_everywhere(dialect: str, body: bytes) -> None:
    """Read a request and write it for every upstream."""
    try:
        request = SPOKEN[dialect].read_request(body, model="m", stream=False)
    except Refusal:
        return
    assert isinstance(request, canon.Request)
    for upstream in DIALECTS:
        with contextlib.suppress(Refusal):
            json.loads(translation.write(upstream, request, MODEL[upstream], canon.Losses()))


def answer_everywhere(dialect: str, body: bytes) -> None:
    """Read an answer and write it for every client, whole and as a stream."""
    for inbound in canon.INBOUND:
        asked = Asked(canon.Request("m", [], dialect=inbound), "m")
        try:
            answer = SPOKEN[dialect].read_answer(body, asked)
        except canon.Unreadable:
            return
        with contextlib.suppress(canon.Unreadable):
            json.loads(SPOKEN[inbound].write_answer(answer, asked, canon.Losses()))
        writer = SPOKEN[inbound].writer(asked, canon.Losses())
        for event in assemble.tell(answer):
            writer.write(event)


def stream_everywhere(dialect: str, data: bytes, size: int) -> None:
    """Read a stream in pieces and write it for every client; with and without a whole answer at its end."""
    for inbound in canon.INBOUND:
        for stream in (True, False):
            request = canon.Request("m", [], stream=stream, include_usage=stream, dialect=inbound)
            way = translation.Translation(SPOKEN[inbound], SPOKEN[dialect], Asked(request, "m"), canon.Losses())
            for at in range(0, len(data), size):
                way.strip(data[at : at + size])
            way.finish()
            way.cut("the upstream broke off")
            with contextlib.suppress(canon.Unreadable):
                way.collected()


@quick
@given(DIALECT, st.binary(max_size=200) | JSON.map(encoded), st.integers(0, 700), st.integers(1, 50))
def test_any_bytes(dialect: str, data: bytes, status: int, size: int) -> None:
    ask_everywhere(dialect, data)
    answer_everywhere(dialect, data)
    stream_everywhere(dialect, data, size)
    stream_everywhere(dialect, b"data: " + data + b"\n\n", size)
    failure = SPOKEN[dialect].read_failure(status, data)
    assert all(json.loads(SPOKEN[inbound].write_failure(failure)) for inbound in canon.INBOUND)


@quick
@given(DIALECT, WOUNDS)
def test_wounded_requests(dialect: str, wounds: list[tuple[int, Any]]) -> None:
    ask_everywhere(dialect, encoded(wounded(REQUESTS[dialect], wounds)))


@quick
@given(DIALECT, WOUNDS)
def test_wounded_answers(dialect: str, wounds: list[tuple[int, Any]]) -> None:
    answer_everywhere(dialect, encoded(wounded(ANSWERS[dialect], wounds)))


@quick
@given(DIALECT, st.data(), WOUNDS, st.sampled_from([1, 7, 1000]))
def test_wounded_events(dialect: str, data: st.DataObject, wounds: list[tuple[int, Any]], size: int) -> None:
    """Events with members replaced, left out, twice, in another order."""
    frames = [("", TEXT_COMPLETION)] if dialect == "completions" else VENDORS[dialect].stream(STEPS)
    chosen = data.draw(st.lists(st.integers(0, len(frames) - 1), min_size=1, max_size=12), label="order")
    if data.draw(st.booleans(), label="whole"):
        chosen = list(range(len(frames)))
    told = [frames[at] for at in chosen]
    at = data.draw(st.integers(0, len(told) - 1), label="wounded")
    told[at] = (told[at][0], wounded(told[at][1], wounds))
    stream_everywhere(dialect, framed(dialect, told), size)


@quick
@given(DIALECT, st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=3)), max_size=4), st.integers(1, 99))
def test_mangled_streams(dialect: str, wounds: list[tuple[int, bytes]], size: int) -> None:
    data = STREAMS[dialect]
    for place, some in wounds:
        at = place % len(data)
        data = data[:at] + some + data[at + len(some) :]
    stream_everywhere(dialect, data, size)


@quick
@given(st.binary(max_size=300), st.lists(JSON, max_size=3), st.integers(1, 50))
def test_any_frames(data: bytes, values: list[Any], size: int) -> None:
    """InvokeModel's frames around events of Messages."""
    frames = [write_frame({":event-type": "chunk", ":message-type": "event"}, encoded(value)) for value in values]
    for whole in (data, b"".join(frames)):
        unwrapper = Unwrapper()
        with contextlib.suppress(canon.Unreadable):
            for at in range(0, len(whole), size):
                unwrapper.feed(whole[at : at + size])


# What nobody knows

KEPT = (
    st.integers(1, 1 << 53)
    | st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
    | st.lists(st.booleans(), min_size=1)
    | st.just({"a": {"b": [0.5]}})
)
OWN_NAMES = {"gemini": "xUnknown", "converse": "xUnknown"}


@quick
@given(DIALECT, KEPT)
def test_unknown_members_of_a_request(dialect: str, value: Any) -> None:
    """In the same dialect they stay as they are; on the way to another one they are named."""
    name = OWN_NAMES.get(dialect, "x_unknown")
    body = encoded({**REQUESTS[dialect], name: value})
    request = SPOKEN[dialect].read_request(body, model=MODEL[dialect], stream=False)
    assert isinstance(request, canon.Request)
    for upstream in DIALECTS:
        losses = canon.Losses()
        written = json.loads(translation.write(upstream, request, MODEL[upstream], losses))
        if upstream == dialect:
            assert encoded(written[name]) == encoded(json.loads(encoded(value)))
        else:
            assert name in losses.names()


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "completions"])
def test_unknown_parts_of_a_message(dialect: str) -> None:
    """A part of a type that nobody knows is kept for its own dialect and named for others."""
    body = json.loads(json.dumps(REQUESTS[dialect]))
    kind = {"gemini": {"xPart": {"a": 1}}, "converse": {"xPart": {"a": 1}}}.get(dialect, {"type": "x_part", "a": 1})
    turns = body.get("messages") or body.get("contents") or body.get("input")
    first = next(turn for turn in turns if turn.get("role") == "user")
    parts = first.get("parts") or first["content"]
    if isinstance(parts, str):
        parts = first["content"] = [{"type": "text", "text": parts}]
    parts.append(kind)
    request = SPOKEN[dialect].read_request(encoded(body), model=MODEL[dialect], stream=False)
    assert isinstance(request, canon.Request)
    for upstream in DIALECTS:
        losses = canon.Losses()
        written = translation.write(upstream, request, MODEL[upstream], losses).decode()
        if upstream == dialect:
            assert json.dumps(kind, separators=(",", ":"))[1:-1] in written
            assert not losses.names()
        else:
            assert losses.names(), (dialect, upstream)


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "gemini", "converse"])
def test_unknown_events(dialect: str) -> None:
    """An event of a type that nobody knows, and a member of one that is known: the stream goes on."""
    frames = VENDORS[dialect].stream(STEPS)
    unknown: dict[str, Any] = {"type": "x.unknown", "xUnknown": {"a": 1}}
    frames = [frames[0], ("xUnknown", unknown), *((name, {**data, "xMember": 1}) for name, data in frames[1:])]
    data = framed(dialect, frames)
    for inbound in canon.INBOUND:
        request = canon.Request("m", [], stream=True, include_usage=True, dialect=inbound)
        losses = canon.Losses()
        way = translation.Translation(SPOKEN[inbound], SPOKEN[dialect], Asked(request, "m"), losses)
        written = (way.strip(data) + way.finish()).decode()
        assert way.ended, (dialect, inbound)
        assert not way.malformed
        assert way.failure is None
        text = json.dumps("Grüezi")[1:-1]
        assert text[-3:] in written or "ezi" in written
        if inbound == dialect and dialect in ("messages", "responses"):  # others pass as bytes
            assert "x.unknown" in written, "it survives in its own dialect"
