"""Every vendor's name of a model finds the family that its API reference describes."""

from __future__ import annotations

import pytest

from burncloud.adaptors.chat.families import OTHER, family_of


@pytest.mark.parametrize(
    ("model", "knob", "history", "completion_limit"),
    [
        ("gpt-4o-2024-11-20", "", "", False),
        ("o3-mini", "effort", "", True),
        ("azure/o4-mini", "effort", "", True),
        ("gpt-5.2-codex", "effort", "", True),
        ("gpt-5-chat-latest", "", "", True),
        ("openai/gpt-oss-120b", "effort", "reasoning", False),
        ("deepseek-ai/DeepSeek-V3.1", "thinking", "reasoning_content", False),
        ("Qwen/Qwen3-32B", "enable", "reasoning_content", False),
        ("anthropic/claude-sonnet-4.5", "reasoning", "details", False),
        ("claude-sonnet-4-5", "thinking", "", False),
        ("mistral-small-latest", "", "part", False),
        ("gemini-2.5-flash", "effort", "", False),
        ("grok-4", "", "reasoning_content", False),
        ("glm-4.6", "thinking", "reasoning_content", False),
    ],
)
def test_names(model: str, knob: str, history: str, completion_limit: bool) -> None:
    family = family_of(model)
    assert (family.knob, family.history, family.completion_limit) == (knob, history, completion_limit)


def test_an_unknown_name_gets_what_most_take() -> None:
    assert family_of("our-own-model") is OTHER


def test_newer_models_can_be_told_not_to_think() -> None:
    assert "none" not in family_of("gpt-5").efforts
    assert family_of("gpt-5.1").efforts[0] == "none"
    assert family_of("gpt-5.2").efforts[-1] == "xhigh"
