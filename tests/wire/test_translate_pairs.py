"""Every dialect into every other, over all recordings: what is written means the same to the target's own reader.

The official SDKs' objects stand beside: each dialect's own test holds its writer to them for one reader after the
other; here a written answer is given to them once more, whichever pair it comes from.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from burncloud.adaptors import canon
from tests.wire.cases import APIS, Case, asked_in, cases, part
from tests.wire.meaning import Meaning, meaning_of_answer, meaning_of_events
from tests.wire.recordings import ABSENT, index

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

DIALECTS = ("chat", "completions", "messages", "gemini")
PAIRS = [(source, target) for source in DIALECTS for target in DIALECTS if source != target]
MODELS = {"chat": "gpt-4o", "completions": "davinci", "messages": "claude-sonnet-4-5", "gemini": "gemini-3-pro-preview"}

PLAIN: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(ChatCompletion),
    "messages": TypeAdapter(Message),
    "gemini": TypeAdapter(GenerateContentResponse),
}
CHUNK: dict[str, TypeAdapter[Any]] = {
    **PLAIN,
    "chat": TypeAdapter(ChatCompletionChunk),
    "messages": TypeAdapter(RawMessageStreamEvent),
}


def read(case: Case, dialect: str) -> canon.Answer | list[canon.Event] | None:
    """A recorded answer in the canonical form; None where it is an error."""
    if case.status != 200:
        return None
    try:
        if case.row["framing"] in ("sse", "json-array"):
            reader = part(dialect, "stream").StreamReader()
            events = reader.feed(case.content) + reader.finish()
            whole = events and isinstance(events[-1], canon.Ended)
            return events if whole else None
        answer: canon.Answer = part(dialect, "answer").read_answer(case.content)
        return answer
    except canon.Unreadable:
        return None


@cache
def answers(dialect: str) -> list[tuple[str, Any]]:
    """All answers of a dialect that are none of errors."""
    found = [(case.name, read(case, dialect)) for case in cases(*APIS[dialect])]
    return [(name, answer) for name, answer in found if answer is not None]


def objects(value: Any) -> Any:
    """Tool arguments as an object, which is the only form some dialects have."""
    return value if isinstance(value, dict) else {} if value is None else {"input": value}


def said_of(meaning: Meaning, target: str) -> tuple[Any, ...]:
    """What has to survive."""
    calls = [(name, objects(value)) for name, value in meaning.calls]
    if target == "completions":
        return meaning.text, meaning.usage
    return meaning.text, calls, meaning.thinking, meaning.usage


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_answers(source: str, target: str) -> None:
    counts: Counter[str] = Counter()
    to_answer, to_stream = part(target, "answer"), part(target, "stream")
    for name, answer in answers(source):
        losses = canon.Losses()
        if isinstance(answer, list):
            counts["streams"] += 1
            want = meaning_of_events(answer)
            writer = to_stream.StreamWriter("public", True, losses)
            data = b"".join(map(writer.write, answer))
            for event in re.findall(rb"^data: ?(\{.*)$", data, re.MULTILINE):
                if b'"ping"' not in event and target in canon.INBOUND:
                    CHUNK[target].validate_json(event)
            reader = to_stream.StreamReader()
            events = reader.feed(data) + reader.finish()
            assert isinstance(events[-1], canon.Ended), name
            got = meaning_of_events(events)
        else:
            counts["answers"] += 1
            want = meaning_of_answer(answer)
            data = to_answer.write_answer(answer, losses)
            if target in canon.INBOUND:
                PLAIN[target].validate_json(data)
            got = meaning_of_answer(to_answer.read_answer(data))
        if said_of(got, target) != said_of(want, target):
            assert losses, (name, "something is lost without a word")
            counts["lossy"] += 1
    print(source, "→", target, dict(counts))
    assert counts["answers"] + counts["streams"], "no recordings"
    if target in canon.INBOUND:  # no client speaks completions to us: there it is enough that a loss is named
        assert not counts["lossy"], counts


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_requests(source: str, target: str) -> None:
    count = 0
    ours = part(target, "request")
    for name, request in asked_in(source):
        losses = canon.Losses()
        changed = msgspec.structs.replace(request, model=MODELS[target])
        body = ours.write_request(changed, losses)
        again = ours.read_request(body, model=MODELS[target])
        count += 1
        assert again.model == MODELS[target], name
        assert all(name and " " not in name for name in losses.names()), name
        if target != "completions":
            kept = texts(request)
            assert all(text in joined(again) for text in kept), name
    assert count, "no recordings"


def texts(request: canon.Request) -> list[str]:
    """What the user says."""
    said = [block for turn in request.turns if turn.role == "user" for block in turn.blocks]
    return [block.text.strip() for block in said if isinstance(block, canon.Text)]


def joined(request: canon.Request) -> str:
    """All that a request says."""
    blocks = [*request.system, *(block for turn in request.turns for block in turn.blocks)]
    return "\n".join(block.text for block in blocks if isinstance(block, canon.Text))
