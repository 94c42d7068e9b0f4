"""Budgets and levels."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.families import family_of
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.gemini.thinking import own_thinking, read_thinking, write_thinking


@pytest.mark.parametrize(
    "value",
    [{"thinkingBudget": 0}, {"thinkingBudget": -1}, {"includeThoughts": True, "thinkingLevel": "HIGH"}, {}],
)
def test_there_and_back(value: dict[str, Any]) -> None:
    assert own_thinking(read_thinking(Names(value))) == value


ASKED = {
    "off": canon.Thinking(False),
    "high": canon.Thinking(effort="high"),
    "max": canon.Thinking(effort="max"),
    "budget": canon.Thinking(True, budget_tokens=5000, summary="auto"),
    "on": canon.Thinking(True),
}


@pytest.mark.parametrize(
    ("model", "asked", "want", "lost"),
    [
        ("gemini-2.0-flash", "high", {}, ["thinking"]),
        ("gemini-2.0-flash", "off", {}, []),
        ("gemini-2.5-flash", "off", {"thinkingBudget": 0}, []),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24_576}, []),
        ("gemini-2.5-flash", "budget", {"thinkingBudget": 5000, "includeThoughts": True}, []),
        ("gemini-2.5-pro", "off", {"thinkingBudget": 128}, ["thinking"]),
        ("gemini-2.5-pro", "on", {"thinkingBudget": -1}, []),
        ("gemini-3-pro-preview", "high", {"thinkingLevel": "HIGH"}, []),
        ("gemini-3-pro-preview", "max", {"thinkingLevel": "HIGH"}, ["reasoning_effort"]),
        ("gemini-3-pro-preview", "budget", {"thinkingLevel": "LOW", "includeThoughts": True}, ["thinking_budget"]),
        ("gemini-3-flash-preview", "off", {"thinkingLevel": "MINIMAL"}, ["thinking"]),
        ("gemini-3-flash-preview", "on", {}, []),
    ],
)
def test_asked_in_another_dialect(model: str, asked: str, want: dict[str, Any], lost: list[str]) -> None:
    losses = canon.Losses()
    assert write_thinking(ASKED[asked], family_of(model), losses) == want
    assert losses.names() == lost
