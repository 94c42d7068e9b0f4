"""Plain answers in Gemini's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.answer import (
    read_answer,
    read_failure,
    read_stop,
    read_time,
    read_usage,
    write_answer,
    write_failure,
    write_usage,
)
from burncloud.domain.usage import Usage

USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
ANSWER = {
    "candidates": [
        {"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP", "index": 0, "avgLogprobs": -1}
    ],
    "usageMetadata": {**USAGE, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}], "trafficType": "X"},
    "modelVersion": "gemini-2.5-flash",
    "createTime": "2026-01-02T03:04:05Z",
    "responseId": "abc-1",
}


def read(value: Any) -> canon.Answer:
    return read_answer(json.dumps(value).encode())


def written(answer: canon.Answer) -> tuple[dict[str, Any], list[str]]:
    losses = canon.Losses()
    return json.loads(write_answer(answer, losses)), losses.names()


def test_there_and_back() -> None:
    answer = read(ANSWER)
    assert (answer.id, answer.model, answer.created) == ("abc-1", "gemini-2.5-flash", 1767323045)
    assert answer.choices == [canon.Choice([canon.Text("Hi")], canon.Stop("stop", "STOP"), extra={"avgLogprobs": -1})]
    assert (answer.usage, answer.extra) == (Usage(5, 2), {"usage.trafficType": "X"})
    assert written(answer) == (ANSWER, [])


def test_calls_get_ids_of_their_answer() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    answer = read({"responseId": "r-1", "candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}]})
    blocks = answer.choices[0].blocks
    assert [block.id for block in blocks if isinstance(block, canon.ToolCall)] == ["gcall_r1_0", "gcall_r1_1"]
    assert answer.choices[0].stop == canon.Stop("tool", "STOP")
    assert written(answer)[0]["candidates"][0]["content"]["parts"] == [call, call]


def test_a_blocked_prompt() -> None:
    value = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    answer = read(value)
    assert answer.choices[0].stop == canon.Stop("filter", "SAFETY")
    assert written(answer)[0]["promptFeedback"] == value["promptFeedback"]
    assert "candidates" not in written(answer)[0]
    answer.dialect = "chat"
    assert written(answer)[0]["candidates"][0]["finishReason"] == "SAFETY"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error":{"message":"no"}}', b'{"candidates":[{"content":5}]}'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        read_answer(body)


@pytest.mark.parametrize(
    ("reason", "want"),
    [("STOP", "stop"), (1, "stop"), (2, "length"), ("SPII", "filter"), ("MALFORMED_FUNCTION_CALL", "error"),
     ("NEW", "other"), (77, "other")],
)  # fmt: skip
def test_finish_reasons(reason: Any, want: str) -> None:
    stop = read_stop(reason)
    assert stop is not None
    assert (stop.reason, stop.raw) == (want, str(reason))
    assert read_stop("FINISH_REASON_UNSPECIFIED") is read_stop(None) is read_stop([]) is None


@pytest.mark.parametrize(
    "usage",
    [Usage(), Usage(5, 2), Usage(5, 2, 3), Usage(5, 2, 0, 0, 0, 9), Usage(1, 2, 3, 0, 0, 4, 5, 6, 7, 8)],
)
def test_usage_there_and_back(usage: Usage) -> None:
    assert read_usage(write_usage(usage)) == usage


def test_writes_to_a_cache_count_as_input() -> None:
    losses = canon.Losses()
    assert read_usage(write_usage(Usage(1, 2, 3, 4, 5), losses)) == Usage(10, 2, 3)
    assert losses.names() == ["usage_kinds"]


def test_links_become_grounding() -> None:
    link = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 3}}
    answer = canon.Answer("1", "m", [canon.Choice([canon.Text("äbc", [link, {"type": "char_location"}])])])
    value, losses = written(answer)
    assert value["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 2, "endIndex": 4, "text": "bc"}, "groundingChunkIndices": [0]}
        ],
    }
    assert losses == ["citations"]
    again = read(value).choices[0].blocks[0]
    assert isinstance(again, canon.Text)
    assert again.citations == [link]


def test_failures() -> None:
    body = b'[{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}]'
    failure = read_failure(429, body)
    assert failure == canon.Failure(429, "quota", "RESOURCE_EXHAUSTED")
    assert json.loads(write_failure(failure)) == json.loads(body)[0]
    other = json.loads(write_failure(canon.Failure(529, "busy", "overloaded_error")))
    assert other["error"]["status"] == "UNAVAILABLE"


def test_times() -> None:
    assert read_time("2026-01-02T03:04:05.123456Z") == 1767323045
    assert read_time("x") == read_time(None) == read_time("0001-01-01T00:00:00Z") == 0
