"""Anthropic Messages over every recording: read as it means, written so that Anthropic's own SDK takes it.

Answers and requests of other dialects are written as Messages, too, as far as their readers exist.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsBase as Params
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from burncloud.adaptors import canon
from burncloud.adaptors.messages.answer import STOPS, read_answer, read_failure, write_answer, write_failure
from burncloud.adaptors.messages.request import read_request, write_request
from burncloud.adaptors.messages.stream import StreamReader, StreamWriter
from burncloud.errors import Refusal
from tests.wire.cases import (
    Case,
    accepts,
    asked_in,
    cases,
    damaged,
    drained,
    events_in,
    in_pieces,
    others,
    replaced,
    small_case,
    told_in,
)
from tests.wire.meaning import Meaning, arguments_of, meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index
from tests.wire.test_usage import sides

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)


@cache
def own() -> list[Case]:
    """Messages as Anthropic, Azure and Vertex speak it, and Bedrock's InvokeModel in its own framing."""
    found = list(cases("messages"))
    for case in cases("invoke", "invoke-stream"):
        if "anthropic_version" in (case.request or {}) and case.status == 200:
            framed = case.row["framing"] == "aws-eventstream"
            content = b"".join(b"data: %s\n\n" % event for event in invoked(case.content)) if framed else case.content
            row = {**case.row, "framing": "sse"} if framed else case.row
            found.append(case._replace(row=row, content=content))
    return found


def invoked(data: bytes) -> Iterator[bytes]:
    """The events in the frames of InvokeModelWithResponseStream."""
    while data:
        size, head = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
        yield base64.b64decode(json.loads(data[12 + head : size - 4])["bytes"])
        data = data[size:]


@cache
def own_requests() -> list[tuple[str, Any]]:
    """Requests of Messages, those of Bedrock's InvokeModel among them."""
    found: list[tuple[str, Any]] = [(case.name, case.request) for case in own() if case.request is not None]
    bedrock = cases("invoke", "invoke-stream")
    return found + [(case.name, case.request) for case in bedrock if "anthropic_version" in (case.request or {})]


def folded(data: bytes) -> dict[str, Any]:
    """The message that a stream tells, put together as Anthropic documents it."""
    whole: dict[str, Any] = {}
    pieces: dict[int, str] = {}
    for event in events_in(data):
        kind, at = event["type"], event.get("index", 0)
        if kind == "message_start":
            whole = event["message"]
        elif kind == "content_block_start":
            assert at == len(whole["content"]), "indexes count up from 0"
            whole["content"].append(event["content_block"])
        elif kind == "content_block_stop" and at in pieces:
            whole["content"][at]["input"] = arguments_of(pieces[at])
        elif kind == "content_block_delta":
            block, delta = whole["content"][at], event["delta"]
            if delta["type"] == "input_json_delta":
                pieces[at] = pieces.get(at, "") + delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            else:
                name = delta["type"].removesuffix("_delta")
                block[name] = block.get(name, "") + delta[name]
        elif kind == "message_delta":
            whole.update(event["delta"])
            whole["usage"].update(event["usage"])
            whole.update({k: v for k, v in event.items() if k not in ("type", "delta", "usage")})
    return whole


def meaning_of_message(whole: dict[str, Any]) -> Meaning:
    """The meaning of a message, read without our reader."""
    content = whole["content"]
    usage = whole["usage"]
    sent = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    sent += usage.get("cache_creation_input_tokens") or 0
    known = ("text", "tool_use", "thinking", "redacted_thinking")
    return Meaning(
        "".join(block["text"] for block in content if block["type"] == "text"),
        [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"],
        "".join(block["thinking"] for block in content if block["type"] == "thinking"),
        [part for block in content for part in (block.get("signature"), block.get("data")) if part],
        [block["type"] for block in content if block["type"] not in known],
        sum(len(block.get("citations") or []) for block in content if block["type"] == "text"),
        STOPS.get(whole["stop_reason"], "other"),
        (sent, usage["output_tokens"]),
    )


def plain(value: Any) -> Any:
    """JSON without what is the default anyway."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: plain(item) for name, item in value.items() if item not in (None, [], "", False)}
    for name in ("content", "system"):
        if isinstance(found.get(name), str):
            found[name] = [{"type": "text", "text": found[name]}]
    if "output_format" in found:
        found.setdefault("output_config", {})["format"] = found.pop("output_format")
    if "usage" in found:
        usage = found["usage"]
        for name in ("cache_creation", "output_tokens_details", "server_tool_use"):
            if not any((usage.get(name) or {}).values()):
                usage.pop(name, None)
        usage = {name: item for name, item in usage.items() if item != 0}
        if (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens", 0) == 0:
            usage.pop("cache_creation", None)
        found["usage"] = usage
    return found


MESSAGE: TypeAdapter[Any] = TypeAdapter(BetaMessage)
EVENT: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)
STRICT_MESSAGE: TypeAdapter[Any] = TypeAdapter(Message)
STRICT_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def accepted(schema: TypeAdapter[Any], value: dict[str, Any], name: str) -> None:
    """Fail with the recording's name where the SDK's object does not take it; pings have none."""
    if value["type"] != "ping":
        try:
            schema.validate_python(value)
        except ValidationError as error:
            pytest.fail(f"{name}: {error}\n{json.dumps(value)[:500]}")


# Answers


def test_answers_mean_what_the_recordings_mean() -> None:
    count = 0
    for case in own():
        if case.status != 200:
            continue
        whole = folded(case.content) if case.sse else json.loads(case.content)
        want = meaning_of_message(whole)
        count += 1
        if not case.sse:
            answer = read_answer(case.content)
            assert meaning_of_answer(answer) == want, case.name
            usage = answer.usage
        else:
            events = in_pieces(StreamReader(), case.content, len(case.content))
            assert meaning_of_events(events) == want, case.name
            assert isinstance(events[0], canon.Started), case.name
            assert isinstance(events[-1], canon.Ended), case.name
            assert in_pieces(StreamReader(), case.content, 7) == events, case.name
            assert in_pieces(StreamReader(), case.content, 1) == events, case.name
            reader = StreamReader()
            assert [
                found for event in events_in(case.content) for found in reader.event(json.dumps(event).encode())
            ] == events
            usage = [event.usage for event in events if isinstance(event, canon.Used)][-1]
        stated = case.row["usage"]
        assert usage is not None
        got = sides(usage)
        assert got["output"] == stated["output"], case.name
        assert got["input"] - got["cached"] - got["cache_write"] == stated["input"], case.name
        assert got["cached"] == (stated.get("cached") or 0), case.name
        assert got["reasoning"] == (stated.get("reasoning") or 0), case.name
    assert count > 120


def test_answers_there_and_back() -> None:
    for case in own():
        if case.status != 200:
            continue
        losses = canon.Losses()
        if case.sse:
            written = write_stream(in_pieces(StreamReader(), case.content, len(case.content)), losses)
            for event in events_in(written):
                accepted(EVENT, event, case.name)
            assert plain(folded(written)) == plain(folded(case.content)), case.name
            assert written.count(b'"ping"') == len(re.findall(rb'"type": ?"ping"', case.content)), case.name
        else:
            written = write_answer(read_answer(case.content), losses)
            if accepts(MESSAGE, json.loads(case.content)):  # older answers lack what is required now
                accepted(MESSAGE, json.loads(written), case.name)
            assert plain(json.loads(written)) == plain(json.loads(case.content)), case.name
        assert not losses, (case.name, losses.names())


def write_stream(events: list[canon.Event], losses: canon.Losses, model: str = "") -> bytes:
    """The stream in Messages."""
    writer = StreamWriter(model, True, losses)
    return b"".join(map(writer.write, events))


def test_failures() -> None:
    count = 0
    for case in own():
        if case.status != 200:
            count += 1
            stated = json.loads(case.content)["error"]
            failure = read_failure(case.status, case.content)
            assert (failure.status, failure.message, failure.kind) == (case.status, stated["message"], stated["type"])
            assert json.loads(write_failure(failure))["error"] == stated
    assert count >= 8


def test_the_official_client_reads_written_streams() -> None:
    """The SDK's own stream helper over what we write, for every block type of the recordings."""
    seen: set[str] = set()
    for case in own():
        if case.status != 200 or not case.sse:
            continue
        whole = folded(case.content)
        kinds = {block["type"] for block in whole["content"]} | {whole["stop_reason"]}
        if kinds <= seen:
            continue
        seen |= kinds
        written = write_stream(in_pieces(StreamReader(), case.content, len(case.content)), canon.Losses())
        final = streamed(written)
        assert meaning_of_message(final.model_dump(mode="json", by_alias=True)) == meaning_of_message(whole), case.name
    assert len(seen) > 10


def streamed(data: bytes) -> BetaMessage:
    """What the SDK's stream helper makes of a stream."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, content=data, headers={"content-type": "text/event-stream"})
    )
    client = anthropic.Anthropic(
        api_key="x", base_url="http://upstream.test", http_client=httpx2.Client(transport=transport), max_retries=0
    )
    with client.beta.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]) as stream:
        return stream.get_final_message()


# Requests


def test_requests_there_and_back() -> None:
    refused = []
    for name, body in own_requests():
        losses = canon.Losses()
        try:
            request = read_request(json.dumps(body).encode(), model="claude-in-the-url")
        except Refusal as error:
            refused.append((name, error.message))
            continue
        written = json.loads(write_request(request, losses))
        if "model" not in body:
            assert written.pop("model") == "claude-in-the-url"
        assert plain(written) == plain(body), name
        assert not losses, (name, losses.names())
    assert refused == [
        ("anthropic/messages/dd-trace-py--anthropic_completion_error--1.json", "messages[0] must be an object")
    ]


PLAIN: TypeAdapter[Any] = TypeAdapter(Params)


# Other dialects

OTHERS = others("messages")


def translated_calls(meaning: Meaning) -> list[tuple[str, Any]]:
    """Calls as Messages can say them: arguments that are no object stand in one."""
    return [(name, objects(value)) for name, value in meaning.calls]


def objects(value: Any) -> Any:
    """Arguments as an object, which is the only form that Messages has; null is none at all."""
    return value if isinstance(value, dict) else {} if value is None else {"input": value}


def said_of(meaning: Meaning) -> tuple[Any, ...]:
    """What has to survive a translation into Messages."""
    return meaning.text, translated_calls(meaning), meaning.thinking, meaning.usage


STOP_AS: dict[str, set[str]] = {
    "stop": {"stop", "tool"}, "filter": {"refusal"}, "error": {"stop", "tool"}, "other": {"stop", "tool"},
    "": {"stop", "tool"},
}  # fmt: skip


@pytest.mark.parametrize("dialect", OTHERS)
def test_answers_of_other_dialects(dialect: str) -> None:
    count = 0
    for case, read in told_in(dialect):
        losses = canon.Losses()
        if isinstance(read, list):
            want = meaning_of_events(read)
            written = write_stream(read, losses, "public-model")
            for event in events_in(written):
                accepted(STRICT_EVENT, event, case.name)
            whole = folded(written)
        else:
            want = meaning_of_answer(read)
            written = write_answer(read, losses)
            whole = json.loads(written)
            accepted(STRICT_MESSAGE, whole, case.name)
        count += 1
        got = meaning_of_message(whole)
        assert said_of(got) == said_of(want), case.name
        assert got.stop in STOP_AS.get(want.stop, {want.stop}), case.name
    assert count, f"no answer of {dialect}"


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-8", "claude-3-5-haiku-latest"])
def test_requests_of_other_dialects(dialect: str, model: str) -> None:
    count = 0
    for name, request in asked_in(dialect):
        losses = canon.Losses()
        body = json.loads(write_request(msgspec.structs.replace(request, model=model), losses))
        for name in ("stream", "temperature", "top_p", "top_k"):  # the newest models have no sampling, nor has the SDK
            body.pop(name, None)
        count += 1
        assert drained(PLAIN.validate_python(body)) == body, name
        roles = [message["role"] for message in body["messages"]]
        assert all(a != b for a, b in pairwise(roles)), (name, roles)
        assert roles[0] == "user", name
        assert all(name and " " not in name for name in losses.names()), name
    assert count, f"no request of {dialect}"


# Anything at all


@settings(max_examples=150)
@given(st.data())
def test_damaged_recordings(data: st.DataObject) -> None:
    """A recording with some bytes changed: a result, or the one exception that is allowed."""
    case = small_case(data, own())
    content = damaged(data, case.content)
    losses = canon.Losses()
    try:
        if case.sse:
            events = in_pieces(StreamReader(), content, data.draw(st.sampled_from([1, 7, 1000])))
            meaning_of_events(events)
            write_stream(events, losses)
        else:
            write_answer(read_answer(content), losses)
    except canon.Unreadable:
        pass


@settings(max_examples=200)
@given(st.data())
def test_damaged_requests(data: st.DataObject) -> None:
    """A recorded request with some members replaced by anything: a request or a refusal; written, too."""
    small = [body for _, body in own_requests() if len(json.dumps(body)) < 8000]
    body = replaced(data, data.draw(st.sampled_from(small)))
    for dialect in ("messages", "chat"):
        with contextlib.suppress(Refusal):
            request = read_request(json.dumps(body).encode(), model="claude-sonnet-4-5")
            request.dialect = dialect
            json.loads(write_request(request, canon.Losses()))
