"""The short way reads what the long way reads, or nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from burncloud.adaptors.chat import answer
from burncloud.adaptors.chat.usual import read_usual

WHOLE: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1741569952, "model": "gpt-4.1",
    "choices": [{
        "index": 0, "finish_reason": "stop", "logprobs": None,
        "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
    }],
    "usage": {
        "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 0},
    },
    "service_tier": "default", "system_fingerprint": "fp_1",
}  # fmt: skip


def both(value: Any) -> tuple[Any, Any]:
    """(the short way, the long way)."""
    body = msgspec.json.encode(value)
    short = read_usual(body, "chat")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer, "read_usual", lambda *_: None)
        return short, answer.read_answer(body)


def test_the_usual_answer_is_the_same() -> None:
    short, long = both(WHOLE)
    assert short is not None
    assert short == long
    short, long = both({**WHOLE, "choices": WHOLE["choices"] * 2, "system_fingerprint": None})
    assert short == long


@pytest.mark.parametrize(("place", "value"), [
    (("new",), 1), (("choices", 0, "new"), 1), (("choices", 0, "message", "new"), 1), (("usage", "new"), 1),
    (("usage", "prompt_tokens_details", "new"), 1), (("choices", 0, "message", "content"), ""),
    (("usage", "completion_tokens_details", "accepted_prediction_tokens"), 5),
    (("choices", 0, "message", "tool_calls"), [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]),
    (("choices", 0, "message", "reasoning_content"), "hm"), (("choices", 0, "finish_reason"), "eos"),
    (("choices", 0, "message", "content"), None), (("choices", 0, "logprobs"), {"content": [{"token": "H"}]}),
    (("usage",), None), (("created",), -1), (("created",), 1.5),
])  # fmt: skip
def test_anything_more_is_read_the_long_way(place: tuple[Any, ...], value: Any) -> None:
    changed = msgspec.json.decode(msgspec.json.encode(WHOLE))
    at = changed
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    short, _ = both(changed)
    assert short is None
