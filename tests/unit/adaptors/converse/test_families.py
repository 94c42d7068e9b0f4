"""Facts of families, by the ids that Bedrock has."""

from __future__ import annotations

import pytest

from burncloud.adaptors.converse.families import OTHER, family_of


@pytest.mark.parametrize(
    ("model", "knob", "structured", "caches", "ttl"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude", False, 0, False),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "claude", False, 0, False),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude", False, 3, False),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude", False, 3, False),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude", True, 3, True),
        ("anthropic.claude-opus-4-8", "claude", True, 3, True),
        ("us.amazon.nova-2-lite-v1:0", "nova", False, 2, False),
        ("amazon.nova-micro-v1:0", "", False, 2, False),
        ("openai.gpt-oss-20b-1:0", "reasoning_effort", True, 0, False),
        ("qwen.qwen3-32b-v1:0", "reasoning_config", True, 0, False),
        ("us.deepseek.r1-v1:0", "", False, 0, False),
    ],
)
def test_knobs(model: str, knob: str, structured: bool, caches: int, ttl: bool) -> None:
    family = family_of(model)
    assert (family.knob, family.structured, len(family.caches), family.cache_ttl) == (knob, structured, caches, ttl)


def test_kinds() -> None:
    assert not family_of("amazon.titan-text-lite-v1").system
    assert family_of("mistral.mistral-large-3-675b-instruct").json_results
    assert family_of("mistral.voxtral-mini-3b-2507").audio
    assert family_of("arn:aws:bedrock:us-east-1:1:application-inference-profile/x") == OTHER
    claude = family_of("anthropic.claude-opus-4-8").claude
    assert claude is not None
    assert not claude.system_turns
