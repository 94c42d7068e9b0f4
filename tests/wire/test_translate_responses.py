"""OpenAI Responses over every recording: read as it means, written so that OpenAI's own SDK takes it.

Answers and requests of other dialects are written as Responses, too, as far as their readers exist.
"""

from __future__ import annotations

import base64
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
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsBase as Params
from pydantic import TypeAdapter

from burncloud.adaptors import assemble, canon
from burncloud.adaptors.responses.answer import read_answer, read_failure, write_answer, write_failure
from burncloud.adaptors.responses.request import read_request, write_request
from burncloud.adaptors.responses.stream import StreamReader, StreamWriter
from burncloud.adaptors.responses.turns import RUN_BY_SERVER
from burncloud.errors import Refusal
from tests.wire.cases import (
    Case,
    asked_in,
    cases,
    damaged,
    drained,
    events_in,
    in_pieces,
    others,
    part,
    replaced,
    small_case,
    small_request,
    told_in,
)
from tests.wire.meaning import Meaning, arguments_of, meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index
from tests.wire.test_translate_chat import accepted
from tests.wire.test_usage import sides

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

OTHERS = others("responses")


@cache
def own() -> list[Case]:
    """Responses as everybody speaks it."""
    return list(cases("responses"))


def good() -> list[Case]:
    """The answers that are no errors."""
    return [case for case in own() if case.status == 200 and "error-in-stream" not in case.row["tags"]]


ENDS = ("response.completed", "response.incomplete", "response.failed")


def whole_of(case_sse: bool, data: bytes) -> dict[str, Any]:
    """The whole response, with items that only the events tell; each time OpenAI encrypts thinking anew."""
    if not case_sse:
        return json.loads(data)  # type: ignore[no-any-return]
    events = events_in(data)
    whole: dict[str, Any] = next(event["response"] for event in events if event["type"] in ENDS)
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    thoughts = {item["id"]: item for item in items if item["type"] in ("reasoning", "program")}
    return {**whole, "output": [thoughts.get(item.get("id"), item) for item in whole["output"]] or items}


class Said(NamedTuple):
    """What a response says, put together without our reader."""

    text: str
    calls: list[tuple[str, Any]]
    thinking: str
    raw: list[str]
    citations: int
    status: str


def said_in(whole: dict[str, Any]) -> Said:
    """The same of a whole response."""
    items = whole["output"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    calls = [
        item for item in items
        if item["type"] in ("function_call", "custom_tool_call") and item["name"] not in RUN_BY_SERVER
    ]  # fmt: skip
    thoughts = [item for item in items if item["type"] == "reasoning"]
    thought = whole.get("reasoning")
    known = ("message", "reasoning", "function_call", "custom_tool_call")
    reason = (whole.get("incomplete_details") or {}).get("reason")
    return Said(
        "".join(part.get("text") or part.get("refusal") or "" for part in parts),
        [(call["name"], call["input"] if "input" in call else arguments_of(call["arguments"])) for call in calls],
        (thought if isinstance(thought, str) else "")
        + "".join("\n\n".join(part["text"] for part in item.get("content") or item["summary"]) for item in thoughts),
        [
            item["type"]
            for item in items
            if (item["type"] not in known or item.get("name") in RUN_BY_SERVER)
            and not (item["type"] == "image_generation_call" and "." not in (item.get("result") or "."))
        ],
        sum(note["type"] == "url_citation" for part in parts for note in part.get("annotations") or []),
        f"{whole['status']}:{reason}" if reason else whole["status"],
    )


def said_by(meaning: Meaning) -> tuple[Any, ...]:
    """The same part of a canonical meaning."""
    return meaning.text, meaning.calls, meaning.thinking, meaning.raw, meaning.citations


def write_stream(
    events: list[canon.Event], losses: canon.Losses, model: str = "", request: canon.Request | None = None
) -> bytes:
    """The stream in Responses."""
    writer = StreamWriter(model, True, losses, request=request)
    return b"".join(map(writer.write, events))


ANSWER: TypeAdapter[Any] = TypeAdapter(Response)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

# Answers

REASONS = {
    "completed": {"stop", "tool", "refusal"}, "incomplete:max_output_tokens": {"length"},
    "incomplete:content_filter": {"filter"}, "queued": {"other"}, "in_progress": {"other"},
}  # fmt: skip


def test_answers_mean_what_the_recordings_mean() -> None:
    plain = streamed = 0
    for case in good():
        want = said_in(whole_of(case.sse, case.content))
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
            assert meaning_of_answer(assemble.collect(events))[:3] == meaning[:3], case.name
        else:
            plain += 1
            answer = read_answer(case.content)
            meaning, usage = meaning_of_answer(answer), answer.usage
        assert said_by(meaning) == want[:5], case.name
        assert meaning.stop in REASONS[want.status], case.name
        stated = case.row["usage"]
        assert (usage is None) == (stated is None), case.name
        if usage is not None and stated is not None:
            got = sides(usage)
            assert (got["input"], got["output"]) == (stated["input"], stated["output"]), case.name
            assert got["cached"] == (stated.get("cached") or 0), case.name
            assert got["reasoning"] == (stated.get("reasoning") or 0), case.name
    print(f"{plain} plain, {streamed} streamed")
    assert plain > 80
    assert streamed > 75


def lean(value: Any) -> Any:
    """JSON without what is the default anyway."""
    if isinstance(value, list):
        return [lean(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: kept for name, item in value.items() if (kept := lean(item)) not in (None, [], "", False, {}, 0)}


def bare(whole: dict[str, Any]) -> dict[str, Any]:
    """A response without what says nothing, and without the usage, which is compared in kinds."""
    whole = json.loads(re.sub(r"REDACTED_\d+", "REDACTED", json.dumps(whole)))  # numbered anew in each event
    for name in ("usage", "created_at", "service_tier", "output_text", "copilot_usage"):
        whole.pop(name, None)
    if isinstance(whole.get("reasoning"), str):
        summary = [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": whole.pop("reasoning")}]}]
        whole["output"] = summary + whole["output"]
    for name, default in BLANK.items():
        if whole.get(name) == default:
            del whole[name]
    for item in whole["output"]:
        if item["type"] in ("message", "reasoning", "function_call", "custom_tool_call"):
            item.pop("status", None)
            if "_" not in str(item.get("id")) or re.fullmatch(r"\w+_[0-9A-Za-z]+_\d+", str(item.get("id"))):
                item.pop("id", None)
    found: dict[str, Any] = lean(whole)
    return found


BLANK = {
    "temperature": 1, "top_p": 1, "parallel_tool_calls": True, "tool_choice": "auto", "truncation": "disabled",
    "text": {"format": {"type": "text"}},
}  # fmt: skip


def ordered(events: list[dict[str, Any]], name: str) -> None:
    """Fail where the events are not in OpenAI's order, with its numbers."""
    assert [event["sequence_number"] for event in events] == list(range(len(events))), name
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"], name
    assert kinds[-1] in ENDS, name
    opened: dict[str, list[str]] = {}
    for event in events:
        kind, place = event["type"], str(event.get("output_index"))
        stage = kind.rpartition(".")[2]
        if kind.startswith("response.output_item"):
            assert (stage == "added") == (place not in opened), (name, kind)
            if stage == "added":
                assert int(place) == len(opened), (name, place)
                opened[place] = [event["item"]["id"]]
            else:
                assert opened[place] == [event["item"].get("id")], (name, kind)
                opened[place] = []
        elif "item_id" in event and not kind.startswith(
            ("response.web", "response.mcp", "response.image", "response.file")
        ):
            assert opened[place][0] == event["item_id"], (name, kind)
            part = kind.removeprefix("response.").removesuffix("." + stage)
            if stage == "added" and part != "output_text.annotation":
                opened[place].append(part)
            elif stage == "done" and part in opened[place]:
                assert opened[place].pop() == part, (name, kind)
    last = events[-1]["response"]["output"]
    done = sorted((event for event in events if event["type"].endswith("item.done")), key=lambda e: e["output_index"])
    assert [event["item"] for event in done] == last, name


def test_answers_there_and_back() -> None:
    for case in good():
        losses = canon.Losses()
        if case.sse:
            events = in_pieces(StreamReader(), case.content, len(case.content))
            written = write_stream(events, losses)
            ordered(events_in(written), case.name)
            again = in_pieces(StreamReader(), written, len(written))
            assert meaning_of_events(again) == meaning_of_events(events), case.name
            assert [event for event in again if isinstance(event, canon.Used)] == [
                event for event in events if isinstance(event, canon.Used)
            ], case.name
        else:
            answer = read_answer(case.content)
            written = write_answer(answer, losses)
            assert read_answer(written).usage == answer.usage, case.name
        assert bare(whole_of(case.sse, written)) == bare(whole_of(case.sse, case.content)), case.name
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
        elif "error-in-stream" in case.row["tags"]:
            count += 1
            events = in_pieces(StreamReader(), case.content, 100)
            failed = events[-1]
            assert isinstance(failed, canon.Failed), case.name
            assert (failed.failure.status, failed.failure.kind) == (429, "insufficient_quota")
            written_events = events_in(write_stream(events, canon.Losses()))
            assert [event["type"] for event in written_events][-2:] == ["error", "response.failed"]
            for event in written_events[:-1]:  # OpenAI's own last one has a code that its SDK does not know
                accepted(EVENT, event, case.name)
    assert count > 10


def streamed_by_sdk(data: bytes) -> Any:
    """What the SDK's stream helper makes of a stream."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, content=data, headers={"content-type": "text/event-stream"})
    )
    client = openai.OpenAI(
        api_key="x", base_url="http://upstream.test", http_client=httpx2.Client(transport=transport), max_retries=0
    )
    with client.responses.stream(model="m", input="x") as stream:
        last = None
        for event in stream:
            if event.type in ENDS:
                last = getattr(event, "response")  # noqa: B009 - those that end have one
        return last


def test_the_official_client_reads_written_streams() -> None:
    """The SDK's own stream machinery over what we write, for every kind of thing in the recordings."""
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
        want = said_in(whole_of(True, case.content))
        assert said_in(got.model_dump(mode="json", exclude_none=True, warnings=False)) == want, case.name
    assert len(seen) > 5


# Requests


def bare_request(body: dict[str, Any]) -> dict[str, Any]:
    """A request without defaults, in the one of two spellings that we choose."""
    body = json.loads(json.dumps(body))
    items = body.get("input")
    for item in items if isinstance(items, list) else []:
        if "role" in item:
            item["type"] = "message"
            if isinstance(item["content"], str):
                kind = "output_text" if item["role"] == "assistant" else "input_text"
                item["content"] = [{"type": kind, "text": item["content"]}]
    if isinstance(items, str):
        body["input"] = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": items}]}]
    for tool in body.get("tools") or []:
        tool.update(tool.pop("function", None) or {})
    found: dict[str, Any] = lean(body)
    return found


def test_requests_there_and_back() -> None:
    count = bound = 0
    for case in own():
        if case.request is None:
            continue
        losses = canon.Losses()
        request = read_request(json.dumps(case.request).encode())
        assert bare_request(json.loads(write_request(request, losses))) == bare_request(case.request), case.name
        assert not losses, (case.name, losses.names())
        count += 1
        bound += bool(request.bound)
        assert bool(request.bound) == bool(case.request.get("previous_response_id") or case.request.get("conversation"))
    print(count, "requests")
    assert count > 155
    assert bound == 3


# Other dialects

PARAMS: TypeAdapter[Any] = TypeAdapter(Params)


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-4o", "grok-4", "some-model"])
def test_requests_of_other_dialects(dialect: str, model: str) -> None:
    count = 0
    for name, request in asked_in(dialect):
        losses = canon.Losses()
        body = json.loads(write_request(msgspec.structs.replace(request, model=model), losses))
        body.pop("stream", None)
        count += 1
        for item in body["input"]:
            if item["type"] == "reasoning":
                item.setdefault("id", "rs_0")  # OpenAI itself does not insist on it
        assert drained(PARAMS.validate_python(body)) == body, name
        waiting: list[str] = []
        for item in body["input"]:
            if item["type"].endswith("_output"):
                waiting.remove(item["call_id"])
            elif item["type"].endswith("_call"):
                waiting.append(item["call_id"])
            else:
                assert not waiting, (name, "a call without its result")
        assert not waiting, name
        assert body["store"] in (False, True), name
        assert all(name and " " not in name for name in losses.names()), name
    assert count, f"no request of {dialect}"


STOP_AS: dict[str, set[str]] = {
    "length": {"incomplete:max_output_tokens"}, "filter": {"incomplete:content_filter"},
    "refusal": {"incomplete:content_filter", "completed"}, "error": {"failed"},
}  # fmt: skip


@pytest.mark.parametrize("dialect", OTHERS)
def test_answers_of_other_dialects(dialect: str) -> None:
    count, seen = 0, set[str]()
    for case, read in told_in(dialect):
        losses = canon.Losses()
        if isinstance(read, list):
            want = meaning_of_events(read)
            written = write_stream(read, losses, "public-model")
            events = events_in(written)
            ordered(events, case.name)
            for event in events:
                accepted(EVENT, event, case.name)
            whole, again = events[-1]["response"], meaning_of_events(in_pieces(StreamReader(), written, len(written)))
            kinds = {event["type"] for event in events}
            if not kinds <= seen and events[-1]["type"] != "response.failed":
                seen |= kinds
                final = streamed_by_sdk(written).model_dump(mode="json", exclude_none=True, warnings=False)
                assert said_in(final).text == want.text, case.name
        else:
            want = meaning_of_answer(read)
            written = write_answer(read, losses)
            whole = json.loads(written)
            accepted(ANSWER, whole, case.name)
            if whole["status"] == "failed":
                continue
            again = meaning_of_answer(read_answer(written))
        count += 1
        got = said_in(whole)
        assert (got.text, got.calls) == (want.text, want.calls), case.name
        assert got.thinking.replace("\n\n", "") == want.thinking.replace("\n\n", ""), case.name
        assert got.status in STOP_AS.get(want.stop, {"completed"}), case.name
        assert again.usage == want.usage, case.name
    print(count, "answers of", dialect)
    assert count, f"no answer of {dialect}"


# The next turn

OPAQUE = {"messages": "claude-opus-4-6", "gemini": "gemini-3-pro", "converse": "anthropic.claude-opus-4-6-v1:0"}


@pytest.mark.parametrize("dialect", OPAQUE)
def test_thinking_lives_on_over_turns_of_a_client(dialect: str) -> None:
    """Codex's way: it stores nothing at its vendor and sends back every item that it got, some without ids."""
    asks, count = part(dialect, "request"), 0
    for case, read in told_in(dialect):
        answer = assemble.collect(read) if isinstance(read, list) else read
        blocks = answer.choices[0].blocks if answer.choices else []
        signed = [key for block in blocks for key in opaque_of(block)]
        calls = [block for block in blocks if isinstance(block, canon.ToolCall)]
        if not signed:
            continue
        items = json.loads(write_answer(answer, canon.Losses()))["output"]
        for item in items:
            if item["type"] == "reasoning":
                item.pop("id")
                item.pop("content", None)
        results = [{"type": "function_call_output", "call_id": call.id, "output": "72"} for call in calls]
        body = {
            "model": "m",
            "store": False,
            "input": [{"role": "user", "content": "x"}, *items, *(results or [{"role": "user", "content": "go on"}])],
        }
        request = read_request(json.dumps(body).encode())
        back = [block for turn in request.turns for block in turn.blocks]
        assert [key for block in back for key in opaque_of(block)] == signed, case.name
        texts = [
            block.text for block in blocks if isinstance(block, canon.Reasoning) and block.signature and block.text
        ]
        assert [b.text for b in back if isinstance(b, canon.Reasoning) and b.signature and b.text] == texts, case.name
        written = asks.write_request(msgspec.structs.replace(request, model=OPAQUE[dialect]), canon.Losses()).decode()
        for key in signed:
            as_blob = base64.b64encode(key.encode()).decode()  # Bedrock's redactedContent
            assert key in written or as_blob in written, case.name
        count += 1
    print(count, "turns of", dialect)
    assert count


def opaque_of(block: canon.Block) -> list[str]:
    """Signatures and encrypted parts."""
    if isinstance(block, canon.ToolCall):
        return [block.signature] if block.signature else []
    if isinstance(block, canon.Reasoning):
        return [part for part in (block.signature, block.encrypted) if part]
    return []


PICTURES = {"gemini": "inlineData", "chat": "data:image/png;base64,"}
"""Dialect → how its answers say a picture."""


def test_pictures_reach_whoever_has_them() -> None:
    """What the image generation tool drew, plain and streamed; no loss but the words that only OpenAI has for it."""
    count = 0
    for case, read in told_in("responses"):
        answer = assemble.collect(read) if isinstance(read, list) else read
        pictures = [block for choice in answer.choices for block in choice.blocks if isinstance(block, canon.Image)]
        for picture in pictures:
            count += 1
            for dialect, mark in PICTURES.items():
                losses = canon.Losses()
                written = part(dialect, "answer").write_answer(answer, losses).decode()
                assert mark in written, (case.name, dialect)
                assert picture.source.data in written, (case.name, dialect)
                assert not {"image", "image_generation_call"} & set(losses.names()), (case.name, dialect)
                if isinstance(read, list):
                    losses = canon.Losses()
                    writer = part(dialect, "stream").StreamWriter("", True, losses)
                    assert picture.source.data.encode() in b"".join(map(writer.write, read)), (case.name, dialect)
                    assert "image_generation_call" not in losses.names(), (case.name, dialect)
            losses = canon.Losses()
            part("messages", "answer").write_answer(answer, losses)
            assert "image" in losses.names(), "Claude's clients know no pictures in answers"
    print(count, "pictures")
    assert count > 2


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
            write_answer(read_answer(content), losses)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_streams_of_any_events(data: st.DataObject) -> None:
    """Events left out, told twice or in another order: the canonical order holds all the same."""
    small = [case for case in good() if case.sse and len(case.content) < 20_000]
    events = list(events_in(data.draw(st.sampled_from(small)).content))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(events) - 1))
        change = data.draw(st.sampled_from(["drop", "twice", "move", "number", "id"]))
        if change == "twice":
            events.insert(at, events[at])
        elif change == "number":
            events[at] = {name: value for name, value in events[at].items() if not name.endswith("_index")}
        elif change == "id":
            events[at] = {name: value for name, value in events[at].items() if name != "item_id"}
        elif len(events) > 1:
            event = events.pop(at)
            if change == "move":
                events.insert(data.draw(st.integers(0, len(events))), event)
    content = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    with contextlib.suppress(canon.Unreadable):
        read = in_pieces(StreamReader(), content, len(content) or 1)
        written = write_stream(read, canon.Losses())
        if read and isinstance(read[-1], canon.Ended):
            meaning_of_events(read)
            meaning_of_events(in_pieces(StreamReader(), written, len(written)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_requests(data: st.DataObject) -> None:
    """A recorded request with some members replaced by anything: a request or a refusal; written, too."""
    body = replaced(data, small_request(data, own()))
    for dialect in ("responses", "chat"):
        with contextlib.suppress(Refusal):
            request = read_request(json.dumps(body).encode(), model="m")
            request.dialect = dialect
            json.loads(write_request(request, canon.Losses()))
