"""Model names of every vendor fall into the right family."""

from __future__ import annotations

import pytest

from burncloud.adaptors.messages.families import OTHER, family_of


@pytest.mark.parametrize(
    ("model", "budget", "adaptive", "sampling", "structured"),
    [
        ("claude-3-5-sonnet-20241022", False, False, True, False),
        ("claude-3-opus-latest", False, False, True, False),
        ("claude-2.1", False, False, True, False),
        ("claude-instant-1.2", False, False, True, False),
        ("claude-3-7-sonnet-20250219", True, False, True, False),
        ("claude-sonnet-4-20250514", True, False, True, False),
        ("claude-opus-4@20250514", True, False, True, False),
        ("anthropic.claude-opus-4-1-20250805-v1:0", True, False, True, False),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True, False, True, True),
        ("claude-haiku-4-5", True, False, True, True),
        ("claude-opus-4-6", True, True, True, True),
        ("anthropic/claude-4.7-opus", False, True, False, True),
        ("claude-opus-5", False, True, False, True),
        ("claude-fable-5-20260601", False, True, False, True),
    ],
)
def test_names(model: str, budget: bool, adaptive: bool, sampling: bool, structured: bool) -> None:
    family = family_of(model)
    assert (family.budget, family.adaptive, family.sampling, family.structured) == (
        budget, adaptive, sampling, structured,
    )  # fmt: skip
    assert bool(family.efforts) is adaptive


def test_what_is_no_claude() -> None:
    assert family_of("kimi-k2-thinking") is OTHER
    assert not family_of("glm-4.6").signed
    assert family_of("claude-latest").signed, "a Claude without a version still checks signatures"


@pytest.mark.parametrize(
    ("model", "system_turns", "can_disable"),
    [
        ("claude-opus-4-7", False, True),
        ("claude-opus-4-8", True, True),
        ("claude-sonnet-5", False, True),
        ("claude-fable-5", True, False),
        ("claude-haiku-4-5-20251001", False, True),
    ],
)
def test_system_turns(model: str, system_turns: bool, can_disable: bool) -> None:
    family = family_of(model)
    assert (family.system_turns, family.can_disable) == (system_turns, can_disable)
