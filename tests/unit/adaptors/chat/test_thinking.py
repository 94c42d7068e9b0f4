"""How much to think: every vendor's words are read, written back, and put into another family's words."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors.canon import Losses, Request, Thinking
from burncloud.adaptors.chat.families import family_of
from burncloud.adaptors.chat.thinking import own_thinking, read_thinking, write_thinking
from burncloud.adaptors.fields import Fields


@pytest.mark.parametrize(
    ("members", "thinking"),
    [
        ({"reasoning_effort": "low"}, Thinking(effort="low")),
        ({"reasoning": {"effort": "high", "exclude": True}}, Thinking(effort="high")),
        ({"reasoning": {"enabled": True, "max_tokens": 2000}}, Thinking(True, budget_tokens=2000)),
        ({"thinking": {"type": "disabled"}}, Thinking(False)),
        ({"thinking": {"type": "enabled", "clear_thinking": False}}, Thinking(True)),
        ({"enable_thinking": True, "thinking_budget": 50}, Thinking(True, budget_tokens=50)),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "high"}, Thinking(True, effort="high")),
    ],
)
def test_read_and_written_back(members: dict[str, Any], thinking: Thinking) -> None:
    request = Request("m", [])
    fields = Fields(members)
    read_thinking(fields, request)
    assert request.thinking == thinking
    assert not fields.rest()
    written = own_thinking(request)
    for name, rest in request.extra.items():
        written[name] |= rest
    assert written == members


def test_nothing_said() -> None:
    request = Request("m", [])
    read_thinking(Fields({"temperature": 1}), request)
    assert request.thinking is None
    assert own_thinking(request) == {}


@pytest.mark.parametrize(
    ("model", "asked", "written", "losses"),
    [
        ("gpt-5", Thinking(effort="medium"), {"reasoning_effort": "medium"}, []),
        ("gpt-5", Thinking(True, budget_tokens=2000), {"reasoning_effort": "low"}, ["thinking_budget"]),
        ("gpt-5", Thinking(effort="max"), {"reasoning_effort": "high"}, ["reasoning_effort"]),
        ("o3", Thinking(effort="minimal"), {"reasoning_effort": "low"}, ["reasoning_effort"]),
        ("gpt-5.1", Thinking(True), {"reasoning_effort": "medium"}, []),
        ("gpt-5", Thinking(True), {}, []),
        ("gpt-5.1", Thinking(False), {"reasoning_effort": "none"}, []),
        ("gpt-5", Thinking(False), {"reasoning_effort": "minimal"}, ["thinking"]),
        ("some-model", Thinking(False), {}, ["thinking"]),
        ("gpt-4o", Thinking(effort="low"), {}, ["thinking"]),
        ("gpt-4o", Thinking(False), {}, []),
        ("deepseek-chat", Thinking(True), {"thinking": {"type": "enabled"}}, []),
        ("deepseek-chat", Thinking(effort="none"), {"thinking": {"type": "disabled"}}, []),
        ("deepseek-chat", Thinking(effort="low"), {"thinking": {"type": "enabled"}}, ["reasoning_effort"]),
        ("claude-opus-4-5", Thinking(effort="low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}, []),
        ("qwen3-32b", Thinking(effort="low"), {"enable_thinking": True, "thinking_budget": 2048}, []),
        ("qwen3-32b", Thinking(budget_tokens=0), {"enable_thinking": False}, []),
        ("anthropic/claude-sonnet-4", Thinking(True, budget_tokens=99), {"reasoning": {"max_tokens": 99}}, []),
        ("anthropic/claude-sonnet-4", Thinking(True), {"reasoning": {"enabled": True}}, []),
        ("gemini-2.5-pro", Thinking(budget_tokens=-1), {}, []),
    ],
)
def test_in_the_words_of_the_family(model: str, asked: Thinking, written: dict[str, Any], losses: list[str]) -> None:
    found = Losses()
    assert write_thinking(asked, family_of(model), found) == written
    assert found.names() == losses
