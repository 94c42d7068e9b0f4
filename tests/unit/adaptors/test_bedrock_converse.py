"""Usage of Converse, and the events that a meter sees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.bedrock_converse import READER
from burncloud.adaptors.reading import Tally
from burncloud.domain.usage import Usage


def tally(*events: dict[str, Any]) -> Tally:
    found = Tally()
    for event in events:
        assert READER.event(json.dumps(event).encode(), found)
    return found


def test_stream() -> None:
    usage = {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 4}
    found = tally(
        {"contentBlockDelta": {"delta": {"text": "aé"}}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "b"}}}},
        {"contentBlockStart": {"start": {"toolUse": {}}}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": usage}},
    )
    assert found == Tally(Usage(3, 2, 4), "tool_use", True, True, False, 6)


@pytest.mark.parametrize(
    ("event", "want"),
    [
        ({"messageStart": {"role": "assistant"}}, Tally()),
        ({"error": {"message": "x"}}, Tally(error=True)),
        ({"contentBlockDelta": {"delta": {"text": 5}}}, Tally(content=True)),
        ({"novel": 1}, Tally()),
    ],
)
def test_events(event: dict[str, Any], want: Tally) -> None:
    assert tally(event) == want


def test_plain() -> None:
    found = Tally()
    body = {"output": {}, "stopReason": "end_turn", "usage": {"inputTokens": 3, "outputTokens": 2.0}}
    assert READER.body(json.dumps(body).encode(), found)
    assert found == Tally(Usage(3, 2), "end_turn", True, True)
