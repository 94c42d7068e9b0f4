"""Families by name."""

from __future__ import annotations

import pytest

from burncloud.adaptors.gemini.families import OTHER, family_of


@pytest.mark.parametrize(
    ("model", "knob", "json_schema", "signed"),
    [
        ("gemini-1.5-flash-002", "", False, False),
        ("models/gemini-2.0-flash", "", False, False),
        ("publishers/google/models/gemini-2.5-pro", "budget", True, False),
        ("gemini-2.5-flash-preview-tts", "", True, False),
        ("gemini-2.5-flash-image", "", True, False),
        ("gemini-3-pro-preview", "level", True, True),
        ("gemini-3.1-flash-image", "", True, True),
        ("gemini-flash-latest", "level", True, True),
        ("gemini-flash-lite-latest", "level", True, True),
        ("gemma-3-27b-it", "", False, False),
    ],
)
def test_families(model: str, knob: str, json_schema: bool, signed: bool) -> None:
    family = family_of(model)
    assert (family.knob, family.json_schema, family.signed) == (knob, json_schema, signed)


def test_ranges() -> None:
    assert family_of("gemini-2.5-flash-lite").budgets == (512, 24_576)
    assert not family_of("gemini-2.5-pro").can_disable
    assert family_of("gemini-3-pro-preview").levels == ("low", "high")
    assert family_of("gemini-3.1-pro-preview").levels == ("low", "medium", "high")
    assert family_of("learnlm") is OTHER
