"""Gemini generateContent over every recording: read as it means, written so that Google's own SDK takes it.

Answers and requests of other dialects are written as Gemini's, too, as far as their readers exist.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from functools import cache
from typing import Any

import msgspec
import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.answer import STOPS, read_answer, read_failure, write_answer, write_failure
from burncloud.adaptors.gemini.names import camel
from burncloud.adaptors.gemini.request import read_request, write_request
from burncloud.adaptors.gemini.stream import StreamReader, StreamWriter
from burncloud.errors import Refusal
from tests.wire.cases import (
    Case,
    asked_in,
    cases,
    damaged,
    events_in,
    in_pieces,
    others,
    replaced,
    small_case,
    small_request,
    told_in,
)
from tests.wire.meaning import Meaning, meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index
from tests.wire.test_usage import sides

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

APIS = ("generateContent", "streamGenerateContent")


@cache
def own() -> list[Case]:
    """AI Studio and Vertex AI, plain, as events and as arrays."""
    return list(cases(*APIS))


def chunks_in(case: Case) -> list[dict[str, Any]]:
    """The chunks of a stream, or the one answer."""
    if case.sse:
        return events_in(case.content)
    value = json.loads(case.content)
    return value if isinstance(value, list) else [value]


def streamed(case: Case) -> bool:
    """Whether it came in chunks."""
    return case.sse or bool(case.row["framing"] == "json-array")


NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY"}


def meaning_of_chunks(chunks: list[dict[str, Any]]) -> Meaning:
    """The meaning of an answer or of the chunks of one, read without our reader."""
    text, thinking = "", ""
    stop: Any = ""
    calls: list[tuple[str, Any]] = []
    opaque: list[str] = []
    raw: list[str] = []
    usage: dict[str, Any] = {}
    for chunk in chunks:
        stated = chunk.get("usageMetadata") or {}
        usage = stated if "totalTokenCount" in stated or not usage else usage
        for candidate in chunk.get("candidates") or []:
            if candidate.get("index"):
                continue
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "thoughtSignature" in part:
                    opaque += [part["thoughtSignature"]] if "text" in part or "inlineData" in part else []
                if "functionCall" in part:
                    calls.append((part["functionCall"]["name"], part["functionCall"].get("args", {})))
                elif part.get("thought"):
                    thinking += part["text"]
                elif "text" in part:
                    text += part["text"]
                elif "inlineData" not in part:
                    raw.append("None")
            stop = candidate.get("finishReason") or stop
    word = NUMBERS.get(stop, "") if isinstance(stop, int) else stop
    reason = STOPS.get(word, "other") if stop else ""
    sent = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    out = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    return Meaning(text, calls, thinking, opaque, raw, 0, "tool" if calls and reason == "stop" else reason, (sent, out))


def write_stream(events: list[canon.Event], losses: canon.Losses, model: str = "", *, array: bool = False) -> bytes:
    """The stream in Gemini's form."""
    writer = StreamWriter(model, True, losses, array=array)
    return b"".join(map(writer.write, events))


OPAQUE = ("args", "response", "parametersJsonSchema", "responseJsonSchema")
"""What is the caller's own and stays as it is."""


def plain(value: Any, within: str = "") -> Any:
    """JSON with Gemini's names in one spelling, without what is the default anyway."""
    if isinstance(value, list):
        return [plain(item, within) for item in value]
    if not isinstance(value, dict):
        return round(value, 9) if isinstance(value, float) else value
    if within in OPAQUE:
        return value
    spelled = {(name if within == "properties" else camel(name)): item for name, item in value.items()}
    found = {}
    for name, item in spelled.items():
        item = plain(item, name) if within != "properties" or isinstance(item, dict) else item
        if item not in (None, [], {}, "", False, 0) or name in (*OPAQUE, "googleSearch", "codeExecution", "urlContext"):
            found[name] = item
    for name, change in DEFAULTS.items():
        if name in found:
            change(found)
    return {name: item for name, item in found.items() if item not in ([], {}) or name not in ("generationConfig",)}


def _listed(name: str) -> Any:
    def change(found: dict[str, Any]) -> None:
        if isinstance(found[name], dict):
            found[name] = [found[name]]

    return change


def _upper(name: str) -> Any:
    def change(found: dict[str, Any]) -> None:
        if isinstance(found[name], str):
            found[name] = found[name].upper()
        elif isinstance(found[name], int):
            found[name] = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT")[found[name] - 1]

    return change


def _without(name: str, *values: Any) -> Any:
    def change(found: dict[str, Any]) -> None:
        if found[name] in values:
            del found[name]

    return change


def _tools(found: dict[str, Any]) -> None:
    """However the tools were grouped."""
    if not isinstance(found["tools"], list):
        return
    functions = [one for tool in found["tools"] for one in tool.get("functionDeclarations") or []]
    others = [
        {k: v} for tool in found["tools"] for k, v in tool.items() if k != "functionDeclarations" and v is not None
    ]
    found["tools"] = functions + others


def _config(found: dict[str, Any]) -> None:
    config = found["toolConfig"]
    if isinstance(config, dict) and config.get("functionCallingConfig") == {"mode": "AUTO"}:
        del config["functionCallingConfig"]
    if not config:
        del found["toolConfig"]


def _usage(found: dict[str, Any]) -> None:
    usage = found["usageMetadata"]
    for name in [name for name in usage if name.endswith("TokensDetails")]:
        if [part["modality"] for part in usage[name]] == ["TEXT"]:
            del usage[name]


def _data(found: dict[str, Any]) -> None:
    if isinstance(found["data"], str):
        found["data"] = found["data"].replace("-", "+").replace("_", "/").rstrip("=")


DEFAULTS = {
    "parts": _listed("parts"), "contents": _listed("contents"), "role": _without("role", "user", "model"),
    "type": _upper("type"), "thinkingLevel": _upper("thinkingLevel"), "tools": _tools, "toolConfig": _config,
    "usageMetadata": _usage, "data": _data, "model": _without("model", "models/gemini-2.0-flash"),
    "createTime": lambda found: found.update(createTime=found["createTime"][:19]),
}  # fmt: skip


def accepted(value: dict[str, Any], name: str, *, strict: bool = True) -> types.GenerateContentResponse:
    """What Google's SDK makes of an answer or a chunk; fails with the recording's name where it does not take it."""
    try:
        if not strict:
            value = {key: item for key, item in value.items() if key != "usageMetadata"}
        return types.GenerateContentResponse.model_validate(value)
    except ValidationError as error:
        pytest.fail(f"{name}: {error}\n{json.dumps(value)[:500]}")


# Answers


def test_answers_mean_what_the_recordings_mean() -> None:
    count = 0
    for case in own():
        if case.status != 200:
            continue
        want = meaning_of_chunks(chunks_in(case))
        count += 1
        usage = None
        if not streamed(case):
            answer = read_answer(case.content)
            assert meaning_of_answer(answer)._replace(citations=0) == want, case.name
            usage = answer.usage
        else:
            events = in_pieces(StreamReader(), case.content, len(case.content))
            assert meaning_of_events(events)._replace(citations=0) == want, case.name
            assert isinstance(events[0], canon.Started), case.name
            assert isinstance(events[-1], canon.Ended), case.name
            assert in_pieces(StreamReader(), case.content, 7) == events, case.name
            assert in_pieces(StreamReader(), case.content, 1) == events, case.name
            reader = StreamReader()
            single = [found for chunk in chunks_in(case) for found in reader.event(json.dumps(chunk).encode())]
            assert len(single) + len(reader.finish()) == len(events), case.name
            usage = next((event.usage for event in events if isinstance(event, canon.Used)), None)
        stated = case.row["usage"]
        if not stated or usage is None:
            continue
        got = sides(usage)
        assert got["cached"] == (stated.get("cached") or 0), case.name
        assert got["reasoning"] == (stated.get("reasoning") or 0), case.name
    assert count > 90


def test_answers_there_and_back() -> None:
    for case in own():
        if case.status != 200:
            continue
        losses = canon.Losses()
        if streamed(case):
            events = in_pieces(StreamReader(), case.content, len(case.content))
            written = write_stream(events, losses)
            assert meaning_of_chunks(events_in(written)) == meaning_of_chunks(chunks_in(case)), case.name
            want, got = ends(chunks_in(case)), ends(events_in(written))
            assert got == want, case.name
            array = json.loads(write_stream(events, losses, array=True))
            assert array == events_in(written), case.name
            for size in (1, 7, 1 << 20):
                again = in_pieces(StreamReader(), json.dumps(array).encode(), size)
                assert meaning_of_events(again) == meaning_of_events(events), case.name
        else:
            written = write_answer(read_answer(case.content), losses)
            assert plain(json.loads(written)) == plain(json.loads(case.content)), case.name
        assert not losses, (case.name, losses.names())


def ends(chunks: list[dict[str, Any]]) -> Any:
    """All that chunks say beside their parts."""
    whole: dict[str, Any] = {}
    for chunk in chunks:
        for candidate in chunk.get("candidates") or []:
            told = whole.setdefault(candidate.get("index", 0), {})
            told.update({name: item for name, item in candidate.items() if name not in ("content", "index")})
        whole.update({name: item for name, item in chunk.items() if name not in ("candidates", "createTime")})
    return plain({str(name): item for name, item in whole.items()})


def test_failures() -> None:
    count = 0
    for case in own():
        if case.status != 200:
            count += 1
            value = json.loads(case.content)
            stated = (value[0] if isinstance(value, list) else value)["error"]
            failure = read_failure(case.status, case.content)
            assert (failure.status, failure.kind) == (case.status, stated["status"])
            again = json.loads(write_failure(failure))["error"]
            assert (again["code"], again["status"]) == (stated["code"], stated["status"])
            assert "http" not in again["message"]
    assert count >= 8


# Requests


def test_requests_there_and_back() -> None:
    count, refused = 0, []
    for case in own():
        if case.request is None:
            continue
        losses = canon.Losses()
        try:
            request = read_request(json.dumps(case.request).encode(), model="gemini-in-the-url", stream=True)
        except Refusal as error:
            refused.append((case.status, error.message))
            continue
        written = json.loads(write_request(request, losses))
        count += 1
        assert plain(written) == plain(case.request), case.name
        assert not losses, (case.name, losses.names())
        body_accepted(written, case.name)
    assert count > 100
    assert all(status != 200 for status, _ in refused), refused


def body_accepted(body: dict[str, Any], name: str) -> None:
    """Every object of a request in the SDK's own types, which refuse members they do not know."""
    try:
        for content in body["contents"]:
            types.Content.model_validate(content)
            assert content["parts"], name
        if "systemInstruction" in body:
            types.Content.model_validate(body["systemInstruction"])
        for tool in body.get("tools", ()):
            types.Tool.model_validate(tool)
        if "toolConfig" in body:
            types.ToolConfig.model_validate(body["toolConfig"])
        config = dict(body.get("generationConfig", {}))
        types.GenerationConfig.model_validate({k: v for k, v in config.items() if k != "thinkingConfig"})
        types.ThinkingConfig.model_validate(config.get("thinkingConfig", {}))
    except ValidationError as error:
        pytest.fail(f"{name}: {error}\n{json.dumps(body)[:800]}")


# Other dialects

OTHERS = others("gemini")


def said_of(meaning: Meaning) -> tuple[Any, ...]:
    """What has to survive a translation into Gemini's form: arguments that are no object stand in one."""
    calls = [
        (name, value if isinstance(value, dict) else {"input": value} if value is not None else {})
        for name, value in meaning.calls
    ]
    return meaning.text, calls, meaning.thinking, meaning.usage


@pytest.mark.parametrize("dialect", OTHERS)
def test_answers_of_other_dialects(dialect: str) -> None:
    count = 0
    for case, read in told_in(dialect):
        losses = canon.Losses()
        if isinstance(read, list):
            want = meaning_of_events(read)
            chunks = events_in(write_stream(read, losses, "public-model"))
            array = write_stream(read, canon.Losses(), "public-model", array=True)
            if any(isinstance(event, canon.Ended) for event in read):
                assert json.loads(array) == chunks, case.name
        else:
            want = meaning_of_answer(read)
            chunks = [json.loads(write_answer(read, losses))]
        for chunk in chunks:
            accepted(chunk, case.name)
        count += 1
        got = meaning_of_chunks(chunks)
        assert said_of(got) == said_of(want), case.name
        assert not got.raw, case.name
        again = meaning_of_events(reread(chunks))
        assert (again.text, again.calls) == (got.text, got.calls), case.name
        assert [len(part) for part in again.opaque] == [len(part) for part in got.opaque], case.name
        assert all(name and " " not in name for name in losses.names()), case.name
    assert count, f"no answer of {dialect}"


def reread(chunks: list[dict[str, Any]]) -> list[canon.Event]:
    """What our reader makes of written chunks."""
    return in_pieces(StreamReader(), json.dumps(chunks).encode(), 1 << 20)


MODELS = ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-flash-preview")


@pytest.mark.parametrize("dialect", OTHERS)
def test_requests_of_other_dialects(dialect: str) -> None:
    count = 0
    for number, (name, request) in enumerate(asked_in(dialect)):
        losses = canon.Losses()
        model = MODELS[number % len(MODELS)]
        body = json.loads(write_request(msgspec.structs.replace(request, model=model), losses))
        count += 1
        body_accepted(body, name)
        in_order(body, name, signed=model == MODELS[2])
        assert all(name and " " not in name for name in losses.names()), name
        read_request(json.dumps(body).encode(), model=model)
    assert count, f"no request of {dialect}"


def in_order(body: dict[str, Any], name: str, *, signed: bool) -> None:
    """What Gemini insists on: the user begins, and as many results as calls stand right behind them."""
    roles = [content["role"] for content in body["contents"]]
    assert roles[0] == "user", name
    assert all(a != b for a, b in itertools.pairwise(roles)), (name, roles)
    waiting: list[str] = []
    for content in body["contents"]:
        results = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        assert results == waiting, (name, results, waiting)
        waiting = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if signed and waiting and content in body["contents"][-3:-1]:
            assert first is not None, name
            assert first.get("thoughtSignature"), name


# Anything at all


@settings(max_examples=150)
@given(st.data())
def test_damaged_recordings(data: st.DataObject) -> None:
    """A recording with some bytes changed: a result, or the one exception that is allowed."""
    case = small_case(data, own())
    content = damaged(data, case.content)
    losses = canon.Losses()
    with contextlib.suppress(canon.Unreadable):
        if streamed(case):
            events = in_pieces(StreamReader(), content, data.draw(st.sampled_from([1, 7, 1000])))
            meaning_of_events(events)
            write_stream(events, losses)
            write_stream(events, losses, array=True)
        else:
            write_answer(read_answer(content), losses)


@settings(max_examples=200)
@given(st.data())
def test_damaged_requests(data: st.DataObject) -> None:
    """A recorded request with some members replaced by anything: a request or a refusal; written, too."""
    body = replaced(data, small_request(data, own()))
    for dialect in ("gemini", "chat"):
        for model in MODELS:
            with contextlib.suppress(Refusal):
                request = read_request(json.dumps(body).encode(), model=model)
                request.dialect = dialect
                json.loads(write_request(request, canon.Losses()))


@settings(max_examples=100)
@given(st.data())
def test_damaged_answers(data: st.DataObject) -> None:
    """A recorded answer with some members replaced by anything: an answer or Unreadable; written, too."""
    small = [case for case in own() if case.status == 200 and not streamed(case) and len(case.content) < 8000]
    body = replaced(data, json.loads(data.draw(st.sampled_from(small)).content))
    losses = canon.Losses()
    with contextlib.suppress(canon.Unreadable):
        write_answer(read_answer(json.dumps(body).encode()), losses)
    with contextlib.suppress(canon.Unreadable):
        write_stream(in_pieces(StreamReader(), json.dumps([body]).encode(), 1000), losses)
