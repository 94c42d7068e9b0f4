"""Bedrock Converse over every recording: read as it means, written so that botocore takes it.

The oracle is botocore's service model: its validator for requests, its parser for answers and streams.  Answers and
requests of other dialects are written as Converse, too, as far as their readers exist.
"""

from __future__ import annotations

import base64
import contextlib
import json
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.converse.answer import STOPS, read_answer, read_failure, write_answer
from burncloud.adaptors.converse.invoke import InvokeStreamReader, InvokeStreamWriter, Unwrapper
from burncloud.adaptors.converse.request import read_request, write_request
from burncloud.adaptors.converse.stream import StreamReader, StreamWriter
from burncloud.adaptors.eventstream import Decoder, write_frame
from burncloud.adaptors.framed import FrameMeter
from burncloud.adaptors.messages.stream import StreamReader as MessagesReader
from burncloud.adaptors.meter import read_plain
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal
from tests.wire.bedrock_sdk import accept_request, folded, model, parsed, parsed_stream, told
from tests.wire.cases import Case, asked_in, cases, damaged, in_pieces, others, replaced, small_request, told_in
from tests.wire.meaning import Meaning, meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)


@cache
def own() -> list[Case]:
    """Every recording of Converse."""
    return list(cases("converse", "converse-stream"))


def framed(case: Case) -> bool:
    """Whether the answer is an event stream."""
    return bool(case.row["framing"] == "aws-eventstream")


def write_stream(events: list[canon.Event], losses: canon.Losses) -> bytes:
    """The stream that these events make."""
    writer = StreamWriter("m", True, losses)
    return b"".join(writer.write(event) for event in events)


def seen(meaning: Meaning) -> tuple[Any, ...]:
    """The parts of a meaning that Converse has words for."""
    return meaning.text, meaning.calls, meaning.thinking, meaning.citations, meaning.usage


def opaque_of(told_opaque: list[str]) -> list[str]:
    """Signatures and redacted thinking, in order of kinds."""
    return sorted(told_opaque)


# Our own dialect


def test_answers() -> None:
    """What is read means what botocore reads; written back, botocore reads the same."""
    count = 0
    for case in own():
        if case.status != 200 or framed(case):
            continue
        count += 1
        want = told(parsed_loosely(case.content))
        answer = read_answer(case.content)
        got = meaning_of_answer(answer)
        assert seen(got) == (want.text, want.calls, want.thinking, want.citations, want.usage), case.name
        assert opaque_of(got.opaque) == opaque_of(want.opaque), case.name
        assert got.stop == STOPS[want.stop], case.name
        assert len(got.raw) == want.raw, case.name
        losses = canon.Losses()
        again = parsed_loosely(write_answer(answer, losses))
        assert not losses.names(), case.name
        assert again["output"] == parsed_loosely(case.content)["output"], case.name
        assert told(again) == want, case.name
    assert count > 20


def parsed_loosely(body: bytes) -> dict[str, Any]:
    """As botocore parses it, values beyond its model allowed (a toolUse of type tool_use)."""
    response = {"status_code": 200, "headers": {}, "body": body}
    found: dict[str, Any] = create_parser("rest-json").parse(response, model().operation_model("Converse").output_shape)
    for part in found["output"]["message"]["content"]:
        if part.get("toolUse", {}).get("type") == "tool_use":
            del part["toolUse"]["type"]
    return found


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_streams(size: int) -> None:
    """Cut anywhere, the same."""
    count = 0
    for case in own():
        if case.status != 200 or not framed(case):
            continue
        count += 1
        want = told(folded(parsed_stream(case.content)))
        events = in_pieces(StreamReader(), case.content, size)
        got = meaning_of_events(events)
        assert seen(got) == (want.text, want.calls, want.thinking, want.citations, want.usage), case.name
        assert opaque_of(got.opaque) == opaque_of(want.opaque), case.name
        assert got.stop == STOPS[want.stop], case.name
        assert isinstance(events[0], canon.Started)
        assert isinstance(events[-1], canon.Ended)
        losses = canon.Losses()
        again = parsed_stream(write_stream(events, losses))
        assert not losses.names(), case.name
        assert told(folded(again)) == want, case.name
        assert trace_of(again) == trace_of(parsed_stream(case.content)), case.name
    assert count > 15


def trace_of(events: list[dict[str, Any]]) -> Any:
    """What a guardrail did."""
    return next(event["metadata"].get("trace") for event in events if "metadata" in event)


def test_failures() -> None:
    count = 0
    for case in own():
        if case.status == 200:
            continue
        count += 1
        failure = read_failure(case.status, case.content)
        assert failure.message == json.loads(case.content)["message"], case.name
    assert count == 5


def normal(value: Any) -> Any:
    """A body with its defaults left out."""
    if isinstance(value, list):
        return [normal(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "Buffer":
        return base64.b64encode(bytes(value["data"])).decode()
    found = {name: normal(inner) for name, inner in value.items() if (name, inner) != ("stopSequences", [])}
    if "toolUseId" in found:
        found = {name: inner for name, inner in found.items() if (name, inner) != ("status", "success")}
    if "jsonSchema" in found:
        found["jsonSchema"]["schema"] = json.loads(found["jsonSchema"]["schema"])
    return found


EMPTY: tuple[Any, ...] = ({}, [], None)


def test_requests() -> None:
    """There and back, the same."""
    count = 0
    for case in own():
        if case.request is None:
            continue
        count += 1
        losses = canon.Losses()
        request = read_request(json.dumps(case.request).encode(), model="anthropic.claude-sonnet-4-5-v1:0")
        body = json.loads(write_request(request, losses))
        want = {name: value for name, value in normal(case.request).items() if value not in EMPTY}
        assert normal(body) == want, case.name
        assert not losses.names(), case.name
    assert count > 40


# Other dialects

OTHERS = others("converse")


STOP_AS: dict[str, set[str]] = {
    "stop": {"end_turn", "tool_use"}, "length": {"max_tokens"}, "tool": {"tool_use"}, "filter": {"content_filtered"},
    "refusal": {"content_filtered"}, "sequence": {"stop_sequence"}, "pause": {"end_turn"},
    "error": {"malformed_model_output"}, "other": {"end_turn", "tool_use"}, "": {"end_turn", "tool_use"},
}  # fmt: skip


def with_objects(calls: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Calls whose arguments are objects, also those of custom tools and those that were cut off."""
    return [(name, value if isinstance(value, dict) else {"input": value}) for name, value in calls]


def as_written(meaning: Meaning) -> tuple[Any, ...]:
    """What has to survive a translation into Converse."""
    return meaning.text, with_objects(meaning.calls), meaning.thinking, meaning.usage


@pytest.mark.parametrize("dialect", OTHERS)
def test_answers_of_other_dialects(dialect: str) -> None:
    count = 0
    for case, read in told_in(dialect):
        losses = canon.Losses()
        if isinstance(read, list):
            want = meaning_of_events(read)
            got = told(folded(parsed_stream(write_stream(read, losses))))
        else:
            want = meaning_of_answer(read)
            got = told(parsed(write_answer(read, losses)))
        count += 1
        assert (got.text, with_objects(got.calls), got.thinking, got.usage) == as_written(want), case.name
        assert got.stop in STOP_AS[want.stop], case.name
        assert all(name and " " not in name for name in losses.names()), case.name
    assert count, f"no answer of {dialect}"


MODELS = (
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-opus-4-8",
    "anthropic.claude-3-haiku-20240307-v1:0", "us.amazon.nova-2-lite-v1:0", "amazon.titan-text-express-v1",
    "openai.gpt-oss-120b-1:0",
    "mistral.mistral-large-3-675b-instruct", "us.meta.llama3-3-70b-instruct-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
)  # fmt: skip


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("target", MODELS)
def test_requests_of_other_dialects(dialect: str, target: str) -> None:
    count = 0
    for name, request in asked_in(dialect):
        losses = canon.Losses()
        body = json.loads(write_request(msgspec.structs.replace(request, model=target), losses))
        count += 1
        accept_request(body, name)
        check_rules(body, name)
        assert all(lost and " " not in lost for lost in losses.names()), name
        read_request(json.dumps(body).encode(), model=target)
    assert count, f"no request of {dialect}"


def check_rules(body: dict[str, Any], name: str) -> None:
    """What Bedrock insists on beyond the shapes."""
    messages = body["messages"]
    assert messages[0]["role"] == "user", name
    assert all(a["role"] != b["role"] for a, b in pairwise(messages)), name
    names: list[str] = []
    asked: list[str] = []
    for message in messages:
        content = message["content"]
        assert content, name
        results = [part["toolResult"]["toolUseId"] for part in content if "toolResult" in part]
        assert sorted(results) == sorted(asked), name
        kinds = [next(iter(part)) for part in content]
        if results:
            ahead = [kind for kind in kinds if kind != "cachePoint"][: len(results)]
            assert ahead == ["toolResult"] * len(results), name
        asked = [part["toolUse"]["toolUseId"] for part in content if "toolUse" in part]
        assert all(part["text"].strip() for part in content if "text" in part), name
        assert kinds[0] != "cachePoint", name
        if "document" in kinds:
            assert "text" in kinds, name
        names += [part["document"]["name"].lower() for part in content if "document" in part]
    assert len(names) == len(set(names)), name
    if any("toolUse" in part or "toolResult" in part for message in messages for part in message["content"]):
        assert body["toolConfig"]["tools"], name


# Usage, beside the passing bytes


def sums(usage: Usage) -> tuple[int, int]:
    """(all tokens in, all tokens out)."""
    return usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h, usage.output + usage.reasoning


def counted(stated: dict[str, Any]) -> tuple[int, int]:
    """The same of the index."""
    return sum(stated.get(name) or 0 for name in ("input", "cached", "cache_write")), stated["output"]


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_metered(size: int) -> None:
    count = 0
    for case in [*own(), *cases("invoke", "invoke-stream")]:
        endpoint = case.row["api"].partition("-")[0]
        if case.status != 200 or (endpoint == "invoke" and "anthropic_version" not in (case.request or {})):
            continue
        if framed(case):
            meter = FrameMeter(endpoint)
            for start in range(0, len(case.content), size):
                meter.feed(case.content[start : start + size])
            reading = meter.finish()
        else:
            reading = read_plain("bedrock", endpoint, case.content)
        stated = case.row["usage"] or {}
        if stated.get("from") == "headers" or "output" not in stated:
            continue
        count += 1
        assert reading.usage is not None, case.name
        assert sums(reading.usage) == counted(stated), case.name
        assert reading.complete, case.name
        assert reading.finish == case.row["finish"], case.name
    assert count > 50


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_claude_invoked(size: int) -> None:
    """Claude's own events, out of their frames in two ways."""
    count = 0
    for case in cases("invoke-stream"):
        if case.status != 200 or "anthropic_version" not in (case.request or {}):
            continue
        count += 1
        reader, unwrapper, plain = InvokeStreamReader(), Unwrapper(), MessagesReader()
        found: list[canon.Event] = []
        unwrapped: list[canon.Event] = []
        for start in range(0, len(case.content), size):
            piece = case.content[start : start + size]
            found += reader.feed(piece)
            unwrapped += plain.feed(unwrapper.feed(piece))
        found += reader.finish()
        assert found == unwrapped + plain.finish(), case.name
        assert isinstance(found[-1], canon.Ended), case.name
        assert meaning_of_events(found).usage == counted(case.row["usage"]), case.name
        writer = InvokeStreamWriter("", True, canon.Losses())
        again = InvokeStreamReader().feed(b"".join([writer.write(event) for event in found]))
        assert meaning_of_events(again) == meaning_of_events(found), case.name
    assert count > 2


# Anything at all


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_recordings(data: st.DataObject) -> None:
    """A recording with some bytes changed: a result, or the one exception that is allowed."""
    case = data.draw(st.sampled_from([case for case in own() if case.status == 200 and len(case.content) < 20_000]))
    content = damaged(data, case.content)
    losses = canon.Losses()
    with contextlib.suppress(canon.Unreadable):
        if framed(case):
            events = in_pieces(StreamReader(), content, data.draw(st.sampled_from([7, 1000])))
            meaning_of_events(events)
            write_stream(events, losses)
        else:
            write_answer(read_answer(content), losses)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_damaged_requests(data: st.DataObject) -> None:
    """A recorded request with some members replaced by anything: a request or a refusal; written, too."""
    body = replaced(data, small_request(data, own()))
    for dialect in ("converse", "chat"):
        with contextlib.suppress(Refusal):
            request = read_request(json.dumps(body).encode(), model=data.draw(st.sampled_from(MODELS)))
            request.dialect = dialect
            json.loads(write_request(request, canon.Losses()))


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_damaged_events(data: st.DataObject) -> None:
    """A recorded stream with some members of its events replaced by anything."""
    case = data.draw(st.sampled_from([case for case in own() if framed(case) and len(case.content) < 20_000]))
    frames = Decoder().feed(case.content)
    at = data.draw(st.integers(0, len(frames) - 1))
    body = replaced(data, json.loads(frames[at].payload))
    frames[at] = frames[at]._replace(payload=json.dumps(body).encode())
    stream = b"".join(write_frame(frame.headers, frame.payload) for frame in frames)
    with contextlib.suppress(canon.Unreadable):
        events = in_pieces(StreamReader(), stream, 1 << 20)
        meaning_of_events(events)
        write_stream(events, canon.Losses())


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_damaged_answers(data: st.DataObject) -> None:
    """A recorded answer with some members replaced by anything."""
    case = data.draw(st.sampled_from([case for case in own() if not framed(case) and case.status == 200]))
    body = replaced(data, json.loads(case.content))
    with contextlib.suppress(canon.Unreadable):
        answer = read_answer(json.dumps(body).encode())
        meaning_of_answer(answer)
        write_answer(answer, canon.Losses())
