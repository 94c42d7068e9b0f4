"""Legacy completions over every recording: read as they mean, written back, and asked of other dialects' requests."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import msgspec
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
from tests.wire.cases import Case, accepts, asked_in, cases, damaged, drained, in_pieces, others, small_case
from tests.wire.meaning import meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index

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
                in_pieces(StreamReader(), case.content, 1000) if case.sse else read_answer(case.content)
            continue
        count += 1
        losses = canon.Losses()
        if case.sse:
            events = in_pieces(StreamReader(), case.content, len(case.content))
            assert in_pieces(StreamReader(), case.content, 7) == in_pieces(StreamReader(), case.content, 1) == events, (
                case.name
            )
            told: dict[int, str] = {}
            for event in events:
                if isinstance(event, canon.Delta):
                    told[event.choice] = told.get(event.choice, "") + event.text
            writer = StreamWriter("", True, losses)
            written = b"".join(map(writer.write, events))
            again = in_pieces(StreamReader(), written, len(written))
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


@pytest.mark.parametrize("dialect", others("completions"))
def test_requests_of_other_dialects(dialect: str) -> None:
    count = 0
    for name, request in asked_in(dialect):
        changed = msgspec.structs.replace(request, model="gpt-3.5-turbo-instruct")
        body = json.loads(write_request(changed, canon.Losses()))
        body.pop("stream", None)
        count += 1
        assert drained(PLAIN.validate_python(body)) == body, name
        assert isinstance(body["prompt"], str)
    assert count


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_recordings(data: st.DataObject) -> None:
    """A recording with some bytes changed: a result, or the one exception that is allowed."""
    case = small_case(data, own())
    content = damaged(data, case.content)
    with contextlib.suppress(canon.Unreadable):
        if case.sse:
            writer = StreamWriter("", True, canon.Losses())
            b"".join(map(writer.write, in_pieces(StreamReader(), content, data.draw(st.sampled_from([1, 7, 1000])))))
        else:
            write_answer(read_answer(content), canon.Losses())
