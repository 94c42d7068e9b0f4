"""Thinking and top_k where only one family has them."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors.canon import Losses, Request, Thinking
from burncloud.adaptors.converse.families import family_of
from burncloud.adaptors.converse.knobs import own_additional, read_additional, thinking_of, top_k_of
from burncloud.adaptors.fields import Fields

NOVA = "us.amazon.nova-2-lite-v1:0"
OSS = "openai.gpt-oss-120b-1:0"
QWEN = "qwen.qwen3-32b-v1:0"
LLAMA = "meta.llama3-8b-instruct-v1:0"


@pytest.mark.parametrize(
    ("asked", "model", "want", "lost"),
    [
        (None, NOVA, {}, []),
        (Thinking(), NOVA, {}, []),
        (Thinking(effort="high"), NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, []),
        (Thinking(True, budget_tokens=2000), NOVA,
         {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, ["thinking_budget"]),
        (Thinking(effort="minimal"), OSS, {"reasoning_effort": "low"}, ["thinking_effort"]),
        (Thinking(True), QWEN, {"reasoning_config": "medium"}, []),
        (Thinking(False), QWEN, {}, []),
        (Thinking(False), OSS, {}, ["thinking"]),
        (Thinking(effort="low"), LLAMA, {}, ["thinking"]),
        (Thinking(False), LLAMA, {}, []),
    ],
)  # fmt: skip
def test_thinking(asked: Thinking | None, model: str, want: dict[str, Any], lost: list[str]) -> None:
    losses = Losses()
    assert thinking_of(asked, family_of(model), losses) == want
    assert losses.names() == lost


def test_top_k() -> None:
    losses = Losses()
    assert top_k_of(None, family_of(LLAMA), losses) == {}
    assert top_k_of(5, family_of(NOVA), losses) == {"inferenceConfig": {"topK": 5}}
    assert top_k_of(5, family_of("anthropic.claude-3-haiku-20240307-v1:0"), losses) == {"top_k": 5}
    assert not losses
    assert top_k_of(5, family_of(LLAMA), losses) == {}
    assert losses.names() == ["top_k"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "top_k": 3}, {}),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, {}),
        ({"thinking": {"type": "disabled"}, "novel": 1}, {"novel": 1}),
        ({"thinking": {"type": "novel"}}, {"thinking": {"type": "novel"}}),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}},
         {"thinking": {"type": "enabled", "budget_tokens": "x"}}),
        ({"reasoning_effort": "high"}, {}),
        ({"reasoning_config": "high"}, {}),
        ({"reasoning_config": {"type": "x"}}, {"reasoning_config": {"type": "x"}}),
    ],
)  # fmt: skip
def test_own_as_it_was(given: dict[str, Any], left: dict[str, Any]) -> None:
    request, fields = Request("m", []), Fields(given)
    read_additional(fields, request)
    assert fields.rest() == left
    assert {**own_additional(request), **left} == given
