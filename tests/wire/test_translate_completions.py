"""Legacy completions over every recording: read as they mean, written back, and asked of other dialects' requests."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.completion_create_params import CompletionCreateParamsBase as Params
from pydantic import TypeAdapter

from burncloud.adaptors import canon
from burncloud.adaptors.completions.answer import read_answer, read_failure, write_answer
from burncloud.adaptors.completions.request import read_request, write_request
from burncloud.adaptors.completions.stream import StreamReader, StreamWriter
from burncloud.errors import Refusal
from tests.wire.meaning import meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index
from tests.wire.test_translate_messages import Case, accepts, cases, drained, module

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

ANSWER: TypeAdapter[Any] = TypeAdapter(Completion)
PLAIN: TypeAdapter[Any] = TypeAdapter(Params)
OTHER_DIALECT = {
    "anthropic/completions/openllmetry--test_anthropic_completion_legacy--1.json",  # Anthropic's Text Completions
    "writer/completions/openllmetry--test_writer_streaming_completions_legacy--1.stream.json",  # Writer's own events
}
BATCH = re.compile(r"batch|_ec9c4d9d|anthropic")
"""Requests with several prompts, with tokens, or of another dialect."""


def own() -> list[Case]:
    return list(cases("completions"))


def read_stream(data: bytes, size: int) -> list[canon.Event]:
    """The canonical events of a stream that comes in pieces of `size` bytes."""
    reader, found = StreamReader(), list[canon.Event]()
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found + reader.finish()


def texts_of(case: Case) -> dict[int, str]:
    """The text of each choice, read without our reader."""
    found: dict[int, str] = {}
    bodies = re.findall(rb"^data: (\{.*)$", case.content, re.MULTILINE) if case.sse else [case.content]
    for body in bodies:
        for at, choice in enumerate(json.loads(body)["choices"]):
            key = choice.get("index", at)
            found[key] = found.get(key, "") + choice["text"]
    return found


def test_answers_there_and_back() -> None:
    count = 0
    for case in own():
        if case.status != 200:
            assert read_failure(case.status, case.content).message in case.content.decode()
            continue
        if case.name in OTHER_DIALECT:
            with pytest.raises(canon.Unreadable):
                read_stream(case.content, 1000) if case.sse else read_answer(case.content)
            continue
        count += 1
        losses = canon.Losses()
        if case.sse:
            events = read_stream(case.content, len(case.content))
            assert read_stream(case.content, 7) == read_stream(case.content, 1) == events, case.name
            told: dict[int, str] = {}
            for event in events:
                if isinstance(event, canon.Delta):
                    told[event.choice] = told.get(event.choice, "") + event.text
            writer = StreamWriter("", True, losses)
            written = b"".join(map(writer.write, events))
            again = read_stream(written, len(written))
            assert meaning_of_events(again) == meaning_of_events(events), case.name
        else:
            answer = read_answer(case.content)
            told = {
                at: "".join(block.text for block in choice.blocks if isinstance(block, canon.Text))
                for at, choice in enumerate(answer.choices)
            }
            written = write_answer(answer, losses)
            if accepts(ANSWER, json.loads(case.content)):
                ANSWER.validate_python(json.loads(written))
            assert meaning_of_answer(read_answer(written)) == meaning_of_answer(answer), case.name
        assert told == texts_of(case), case.name
        assert not losses, (case.name, losses.names())
    print(count, "answers")
    assert count > 15


def test_requests_there_and_back() -> None:
    count = 0
    for case in own():
        if case.request is None:
            continue
        body = {name: value for name, value in case.request.items() if value is not None and value is not False}
        if BATCH.search(case.name):
            continue
        losses = canon.Losses()
        request = read_request(json.dumps(case.request).encode())
        assert json.loads(write_request(request, losses)) == body, case.name
        assert not losses
        count += 1
    assert count > 14


@pytest.mark.parametrize(
    ("dialect", "api"),
    [("chat", "chat.completions"), ("messages", "messages"), ("responses", "responses"), ("gemini", "generateContent"),
     ("converse", "converse")],
)  # fmt: skip
def test_requests_of_other_dialects(dialect: str, api: str) -> None:
    theirs = module(dialect, "request")
    count = 0
    for case in cases(api):
        with contextlib.suppress(Refusal):
            request = theirs.read_request(json.dumps(case.request).encode(), model="gpt-3.5-turbo-instruct")
            body = json.loads(write_request(request, canon.Losses()))
            body.pop("stream", None)
            count += 1
            assert drained(PLAIN.validate_python(body)) == body, case.name
            assert isinstance(body["prompt"], str)
    assert count


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_recordings(data: st.DataObject) -> None:
    """A recording with some bytes changed: a result, or the one exception that is allowed."""
    case = data.draw(st.sampled_from([case for case in own() if 0 < len(case.content) < 20_000]))
    content = bytearray(case.content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(canon.Unreadable):
        if case.sse:
            writer = StreamWriter("", True, canon.Losses())
            b"".join(map(writer.write, read_stream(bytes(content), data.draw(st.sampled_from([1, 7, 1000])))))
        else:
            write_answer(read_answer(bytes(content)), canon.Losses())
