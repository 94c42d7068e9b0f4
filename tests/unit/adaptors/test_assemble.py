"""A stream collected is the answer; an answer told is its stream."""

from __future__ import annotations

import pytest

from burncloud.adaptors import assemble, canon
from burncloud.domain.usage import Usage

ANSWER = canon.Answer(
    "id-1",
    "m",
    [
        canon.Choice(
            [
                canon.Reasoning("hm", signature="sig", origin="messages"),
                canon.Text("Hello", citations=[{"type": "char_location"}]),
                canon.ToolCall("call_1", "f", '{"a":1}'),
                canon.Refusal("no"),
            ],
            canon.Stop("tool", "tool_use"),
            {"content": [{"token": "Hello"}]},
        ),
        canon.Choice([canon.Text("Other")], canon.Stop("length")),
    ],
    Usage(3, 4),
    created=9,
    dialect="messages",
)


def test_there_and_back() -> None:
    assert assemble.collect(assemble.tell(ANSWER)) == ANSWER


def test_the_answer_told_is_not_changed() -> None:
    told = assemble.tell(ANSWER)
    assemble.collect(told)
    assemble.collect(told)
    assert assemble.collect(told) == ANSWER


@pytest.mark.parametrize("last", [None, canon.Failed(canon.Failure(500, "down"))])
def test_a_stream_without_its_end_is_no_answer(last: canon.Event | None) -> None:
    events = assemble.tell(ANSWER)[:-1] + ([last] if last is not None else [])
    with pytest.raises(canon.Unreadable):
        assemble.collect(events)
