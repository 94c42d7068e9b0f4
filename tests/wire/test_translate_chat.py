"""OpenAI Chat Completions over every recording: read as it means, written so that OpenAI's own SDK takes it.

Answers and requests of other dialects are written as Chat, too, as far as their readers exist.
"""

from __future__ import annotations

import contextlib
import json
import re
from functools import cache
from typing import Any, NamedTuple

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as Params
from pydantic import TypeAdapter, ValidationError

from burncloud.adaptors import canon
from burncloud.adaptors.chat.answer import read_answer, read_failure, write_answer, write_failure
from burncloud.adaptors.chat.request import read_request, write_request
from burncloud.adaptors.chat.stream import StreamReader, StreamWriter
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
    small_request,
    told_in,
)
from tests.wire.meaning import Meaning, arguments_of, meaning_of_answer, meaning_of_events, sums
from tests.wire.recordings import ABSENT, index, recordings
from tests.wire.test_usage import EXCEPTIONS, expected, sides

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

OTHERS = others("chat")


@cache
def own() -> list[Case]:
    """Chat as everybody speaks it."""
    return list(cases("chat.completions"))


def good() -> list[Case]:
    """The answers that are no errors; some servers answer a streamed request plainly."""
    return [case for case in own() if case.status == 200 and b'"error":' not in case.content[-3000:]]


class Said(NamedTuple):
    """The first choice, put together without our reader."""

    text: str
    calls: list[tuple[str, Any]]
    thinking: str
    finish: str


def part_texts(content: Any, kind: str) -> str:
    """The texts of content in parts."""
    if isinstance(content, dict):
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False) if kind == "text" else ""
    if isinstance(content, str) or content is None:
        return (content or "") if kind == "text" else ""
    inner = [part.get(kind) for part in content if part["type"] == kind]
    return "".join(part if isinstance(part, str) else "".join(piece["text"] for piece in part) for part in inner)


def thought(message: dict[str, Any]) -> str:
    """The thinking of a message or a delta, in whatever member."""
    text = (
        message.get("reasoning_content") or message.get("reasoning") or part_texts(message.get("content"), "thinking")
    )
    details = message.get("reasoning_details") or []
    return text or "".join(detail.get("text") or detail.get("summary") or "" for detail in details)


def said_of(case: Case, data: bytes) -> Said:
    """What an answer says."""
    messages: list[dict[str, Any]]
    if case.sse:
        choices = [choice for chunk in events_in(data) for choice in chunk["choices"] if choice["index"] == 0]
    else:
        choices = json.loads(data)["choices"][:1]
    messages = [choice.get("delta" if case.sse else "message") or {} for choice in choices]
    text = "".join(part_texts(message.get("content"), "text") + (message.get("refusal") or "") for message in messages)
    text += "".join((message.get("audio") or {}).get("transcript") or "" for message in messages)
    calls: dict[Any, list[str]] = {}
    for message in messages:
        legacy = message.get("function_call") or {}
        given = list(message.get("tool_calls") or []) + ([{"function": legacy}] if legacy.get("name") else [])
        for at, call in enumerate(given):
            inner = call.get("custom") if call.get("type") == "custom" else call["function"]
            key = call.get("index", 0) if case.sse else at
            if call.get("id") and key in calls and calls[key][2] != call["id"]:
                key = call["id"]
            known = calls.setdefault(key, ["", "", call.get("id")])
            known[0] = known[0] or inner.get("name") or ""
            known[1] += inner.get("input") or inner.get("arguments") or ""
    finish = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    return Said(
        text,
        [(name, arguments_of(arguments)) for name, arguments, _ in calls.values()],
        "".join(map(thought, messages)),
        finish[-1] if finish else "",
    )


def said_in(meaning: Meaning) -> tuple[Any, ...]:
    """The same part of a canonical meaning."""
    return meaning.text, meaning.calls, meaning.thinking


def write_stream(events: list[canon.Event], losses: canon.Losses, model: str = "") -> bytes:
    """The stream in Chat."""
    writer = StreamWriter(model, True, losses)
    return b"".join(map(writer.write, events))


ANSWER: TypeAdapter[Any] = TypeAdapter(ChatCompletion)
CHUNK: TypeAdapter[Any] = TypeAdapter(ChatCompletionChunk)


def accepted(schema: TypeAdapter[Any], value: Any, name: str) -> None:
    """Fail with the recording's name where the SDK's object does not take it."""
    try:
        schema.validate_python(value)
    except ValidationError as error:
        pytest.fail(f"{name}: {error}\n{json.dumps(value)[:500]}")


# Answers

REASONS = {
    "stop": {"stop", "sequence", "refusal", "tool"}, "length": {"length"}, "content_filter": {"filter"},
    "tool_calls": {"tool"}, "tool_call": {"tool"}, "function_call": {"tool"}, "eos": {"stop"}, "": {"stop", "tool"},
}  # fmt: skip


def test_answers_mean_what_the_recordings_mean() -> None:
    plain = streamed = 0
    for case in good():
        want = said_of(case, case.content)
        if case.sse:
            streamed += 1
            events = in_pieces(StreamReader(), case.content, len(case.content))
            meaning = meaning_of_events(events)
            assert isinstance(events[0], canon.Started), case.name
            assert isinstance(events[-1], canon.Ended), case.name
            assert in_pieces(StreamReader(), case.content, 7) == events, case.name
            if len(case.content) < 40_000:
                assert in_pieces(StreamReader(), case.content, 1) == events, case.name
            used = [event.usage for event in events if isinstance(event, canon.Used)]
            usage = used[-1] if used else None
        else:
            plain += 1
            answer = read_answer(case.content)
            meaning, usage = meaning_of_answer(answer), answer.usage
        assert said_in(meaning) == want[:3], case.name
        assert meaning.stop in REASONS[want.finish], case.name
        stated = case.row["usage"]
        assert (usage is None) == (stated is None), case.name
        if usage is not None and stated is not None and not case.name.startswith(tuple(EXCEPTIONS)):
            assert sides(usage)["output"] >= stated["output"], case.name
            assert sides(usage)["input"] == stated["input"], case.name
    print(f"{plain} plain, {streamed} streamed")
    assert plain > 240
    assert streamed > 190


def test_usage_is_that_of_the_meter() -> None:
    """The two readers of usage agree (tests/wire/test_usage.py holds the meter's to the corpus)."""

    for recording in recordings():
        if recording.endpoint != "chat.completions" or recording.sse or recording.row["status"] != 200:
            continue
        with contextlib.suppress(canon.Unreadable):
            usage = read_answer(recording.content).usage
            assert (None if usage is None else sides(usage)) == expected(recording), recording.name


def lean(value: Any) -> Any:
    """JSON without what is the default anyway."""
    if isinstance(value, list):
        return [lean(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: kept for name, item in value.items() if (kept := lean(item)) not in (None, [], "", False, {}, 0)}


def bare_answer(body: dict[str, Any]) -> dict[str, Any]:
    """An answer without its usage, which is compared in kinds, and without what says nothing."""
    body = json.loads(json.dumps(body))
    for name in ("usage", "object", "created", "id", "service_tier"):
        body.pop(name, None)
    if (body.get("x_groq") or {}).get("usage"):
        del body["x_groq"]["usage"]
    for choice in body["choices"]:
        called = (choice.get("message") or {}).get("tool_calls")
        choice["finish_reason"] = choice.get("finish_reason") or ("tool_calls" if called else "stop")
        choice.pop("delta", None)
        message = choice.setdefault("message", {})
        message["role"] = "assistant"
        if isinstance(message.get("content"), dict):
            message["content"] = json.dumps(message["content"], separators=(",", ":"))
        if not (message.get("function_call") or {}).get("name"):
            message.pop("function_call", None)
        signed = message.pop("extra_content", None)
        for call in message.get("tool_calls") or []:
            call.pop("index", None)
            call.setdefault("type", "function")
            call["id"] = call["id"] if call["id"] and signed is None else "made"
            call.pop("extra_content" if signed is None or call["id"] == "made" else "", None)
            if not (call.get("custom") or {}).get("name"):
                call.pop("custom", None)
    found: dict[str, Any] = lean(body)
    return found


def without_made(body: dict[str, Any]) -> dict[str, Any]:
    """Ids that we had to make."""
    for choice in body["choices"]:
        for call in choice["message"].get("tool_calls") or []:
            if re.fullmatch(r"call_\w+_0_\d", call["id"]):
                call["id"] = "made"
    return body


def test_answers_there_and_back() -> None:
    for case in good():
        losses = canon.Losses()
        if case.sse:
            events = in_pieces(StreamReader(), case.content, len(case.content))
            written = write_stream(events, losses)
            for chunk in events_in(written):
                if chunk.get("service_tier") != "on_demand" and b'"eos"' not in case.content:  # Groq's, Together's
                    accepted(CHUNK, chunk, case.name)
            assert written.endswith(b"data: [DONE]\n\n")
            again = in_pieces(StreamReader(), written, len(written))
            assert meaning_of_events(again) == meaning_of_events(events), case.name
            assert [event for event in again if isinstance(event, canon.Used)] == [
                event for event in events if isinstance(event, canon.Used)
            ], case.name
        else:
            answer = read_answer(case.content)
            written = write_answer(answer, losses)
            whole = json.loads(written)
            if accepts(ANSWER, json.loads(case.content)):  # some have words of their own
                accepted(ANSWER, whole, case.name)
            assert without_made(bare_answer(whole)) == bare_answer(json.loads(case.content)), case.name
            assert read_answer(written).usage == answer.usage, case.name
        assert not losses, (case.name, losses.names())


def test_failures() -> None:
    count = 0
    for case in own():
        if case.status != 200:
            count += 1
            failure = read_failure(case.status, case.content)
            written = json.loads(write_failure(failure))["error"]
            assert failure.status == case.status
            assert written["message"], case.name
            assert "://" not in written["message"], case.name
        elif case.sse and "error-in-stream" in case.row["tags"]:
            count += 1
            events = in_pieces(StreamReader(), case.content, 100)
            assert isinstance(events[-1], canon.Failed), case.name
            assert b'"error"' in write_stream(events, canon.Losses())
    assert count > 30


def test_the_official_client_reads_written_streams() -> None:
    """The SDK's own stream helper over what we write, for every kind of thing in the recordings."""
    seen: set[str] = set()
    for case in good():
        if not case.sse:
            continue
        events = in_pieces(StreamReader(), case.content, len(case.content))
        kinds = {type(event.block).__name__ for event in events if isinstance(event, canon.Opened)}
        kinds |= {event.stop.reason for event in events if isinstance(event, canon.Stopped)}
        if kinds <= seen:
            continue
        seen |= kinds
        got = streamed_by_sdk(write_stream(events, canon.Losses()))
        want = meaning_of_events(events)
        message = got.choices[0].message
        assert (message.content or "") + (message.refusal or "") == want.text, case.name
        calls = [(call.function.name, arguments_of(call.function.arguments)) for call in message.tool_calls or []]
        assert calls == want.calls, case.name
    assert len(seen) > 5


def streamed_by_sdk(data: bytes) -> Any:
    """What the SDK's stream helper makes of a stream."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, content=data, headers={"content-type": "text/event-stream"})
    )
    client = openai.OpenAI(
        api_key="x", base_url="http://upstream.test", http_client=httpx2.Client(transport=transport), max_retries=0
    )
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "x"}]) as stream:
        for _ in stream:
            pass
        return stream.current_completion_snapshot


# Requests

MADE = {"writer/chat.completions/openllmetry--test_writer_streaming_chat_tool_calls_legacy--1.stream.json"}
"""Requests without ids of calls, which get some."""


def bare_request(body: dict[str, Any]) -> dict[str, Any]:
    """A request without defaults, in the one of two spellings that we choose."""
    body = json.loads(json.dumps(body))
    body["tool_choice"] = "required" if body.get("tool_choice") == "any" else body.get("tool_choice")
    for tool in body.get("tools") or []:
        tool.setdefault("type", "function")
    for message in body["messages"]:
        message.pop("reasoning_content" if message.get("reasoning_content") == "" else "", None)
        for call in message.get("tool_calls") or []:
            call.pop("index", None)
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}] if content else []
        for part in content or []:
            if isinstance(part.get("image_url"), str):
                part["image_url"] = {"url": part["image_url"]}
        if content and message["role"] != "tool" and message.get("cache_control"):
            content[-1]["cache_control"] = message.pop("cache_control")
        message["content"] = content
        details = message.get("reasoning_details") or []
        message["reasoning_details"] = [detail for detail in details if detail.keys() - {"format", "index", "type"}]
    found: dict[str, Any] = lean(body)
    return found


def test_requests_there_and_back() -> None:
    count = 0
    for case in own():
        if case.request is None or "messages" not in case.request:
            continue
        losses = canon.Losses()
        request = read_request(json.dumps(case.request).encode(), model="model-in-the-url")
        written = json.loads(write_request(request, losses))
        if "model" not in case.request:
            assert written.pop("model") == "model-in-the-url"
        if case.name not in MADE:
            assert bare_request(written) == bare_request(case.request), case.name
        assert not losses, (case.name, losses.names())
        count += 1
    print(count, "requests")
    assert count > 480


PLAIN: TypeAdapter[Any] = TypeAdapter(Params)

VENDORS_OWN = frozenset({
    "reasoning_content", "reasoning_details", "thinking", "enable_thinking", "thinking_budget", "reasoning", "top_k",
    "min_p", "cache_control", "random_seed", "extra_content",
})  # fmt: skip
"""Members of other vendors, which OpenAI's schema does not have."""


def openais(value: Any) -> Any:
    """A body without the members of other vendors."""
    if isinstance(value, dict):
        return {name: openais(item) for name, item in value.items() if name not in VENDORS_OWN}
    return [openais(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-4o", "deepseek-chat", "anthropic/claude-sonnet-4.5", "some-model"])
def test_requests_of_other_dialects(dialect: str, model: str) -> None:
    count = 0
    for name, request in asked_in(dialect):
        losses = canon.Losses()
        body = openais(json.loads(write_request(msgspec.structs.replace(request, model=model), losses)))
        body.pop("stream", None)
        count += 1
        assert drained(PLAIN.validate_python(body)) == body, name
        waiting: list[str] = []
        for message in body["messages"]:
            if message["role"] == "tool":
                waiting.remove(message["tool_call_id"])
            else:
                assert not waiting, (name, "a call without its result")
            waiting += [call["id"] for call in message.get("tool_calls") or []]
        assert all(name and " " not in name for name in losses.names()), name
    assert count, f"no request of {dialect}"


# Other dialects

STOP_AS: dict[str, set[str]] = {
    "tool": {"tool_calls"}, "length": {"length"}, "filter": {"content_filter"},
    "refusal": {"content_filter", "stop"},
}  # fmt: skip


@pytest.mark.parametrize("dialect", OTHERS)
def test_answers_of_other_dialects(dialect: str) -> None:
    count = 0
    for case, read in told_in(dialect):
        losses = canon.Losses()
        if isinstance(read, list):
            want = meaning_of_events(read)
            written = write_stream(read, losses, "public-model")
            case = case._replace(row={**case.row, "framing": "sse"})  # what is written, however it came
            chunks = events_in(written)
            for chunk in chunks:
                accepted(CHUNK, chunk, case.name)
            usage = chunks[-1].get("usage")
            got, again = said_of(case, written), meaning_of_events(in_pieces(StreamReader(), written, len(written)))
        else:
            want = meaning_of_answer(read)
            written = write_answer(read, losses)
            accepted(ANSWER, json.loads(written), case.name)
            usage = json.loads(written).get("usage")
            got, again = said_of(case, written), meaning_of_answer(read_answer(written))
        count += 1
        assert (got.text, got.calls) == (want.text, want.calls), case.name
        assert got.thinking.replace("\n\n", "") == want.thinking.replace("\n\n", ""), case.name
        assert got.finish in STOP_AS.get(want.stop, {"stop", "tool_calls"}), case.name
        assert again.opaque == want.opaque, case.name
        assert again.usage == want.usage, case.name
        if usage is not None:
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == want.usage, case.name
    print(count, "answers of", dialect)
    assert count, f"no answer of {dialect}"


# Anything at all


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_recordings(data: st.DataObject) -> None:
    """A recording with some bytes changed: a result, or the one exception that is allowed."""
    case = small_case(data, own())
    content = damaged(data, case.content)
    losses = canon.Losses()
    with contextlib.suppress(canon.Unreadable):
        if case.sse:
            events = in_pieces(StreamReader(), content, data.draw(st.sampled_from([1, 7, 1000])))
            write_stream(events, losses)
            if isinstance(events[-1], canon.Ended):
                meaning_of_events(events)
        else:
            sums(read_answer(content).usage)
            write_answer(read_answer(content), losses)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_requests(data: st.DataObject) -> None:
    """A recorded request with some members replaced by anything: a request or a refusal; written, too."""
    body = replaced(data, small_request(data, own()))
    for dialect in ("messages", "chat"):
        with contextlib.suppress(Refusal):
            request = read_request(json.dumps(body).encode(), model="m")
            request.dialect = dialect
            json.loads(write_request(request, canon.Losses()))
