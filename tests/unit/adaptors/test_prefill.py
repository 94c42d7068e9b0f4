"""Who can be given the beginning of an answer, and how."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.canon import Losses
from burncloud.adaptors.prefill import KINDS, ROWS, may_prefill, prefill_of, write_again
from burncloud.adaptors.spoken import Asked
from burncloud.adaptors.translation import read
from burncloud.adaptors.vendors import VENDORS
from tests.speech import body_of, chat


@pytest.mark.parametrize(("vendor", "model", "way", "can"), [
    ("anthropic", "claude-3-5-sonnet-20241022", "messages", True),
    ("anthropic", "claude-sonnet-4-20250514", "messages", True),
    ("anthropic", "claude-sonnet-4-5-20250929", "messages", True),
    ("anthropic", "claude-haiku-4-5", "messages", True),
    ("anthropic", "claude-opus-4-1-20250805", "messages", True),
    ("anthropic", "claude-opus-4-6", "messages", False),
    ("anthropic", "claude-sonnet-4-6", "messages", False),
    ("anthropic", "claude-opus-4-7", "messages", False),
    ("anthropic", "claude-sonnet-5", "messages", False),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "converse", True),
    ("bedrock", "us.anthropic.claude-opus-4-6-v1", "converse", False),
    ("vertex", "claude-sonnet-4-5@20250929", "messages", True),
    ("openai", "gpt-4o", "chat", False),
    ("gemini", "gemini-2.5-pro", "gemini", False),
    ("deepseek", "deepseek-chat", "chat", True),
    ("deepseek", "deepseek-reasoner", "chat", False),
    ("mistral", "mistral-large-latest", "chat", True),
    ("dashscope", "qwen-plus", "chat", True),
    ("dashscope", "qwq-plus", "chat", False),
    ("moonshot", "kimi-k2-0905-preview", "chat", True),
    ("moonshot", "kimi-k2-thinking", "chat", False),
    ("vllm", "anything", "chat", True),
    ("openai-compatible", "anything", "chat", False),
    ("openai-compatible", "anything", "completions", True),
])  # fmt: skip
def test_who_can(vendor: str, model: str, way: str, can: bool) -> None:
    """By the vendors' documents."""
    assert (prefill_of(vendor, {}, model, way) is not None) == can


def test_the_operator_knows_better() -> None:
    """A channel's option wins over the table."""
    assert prefill_of("openai-compatible", {"prefill": "prefix"}, "x", "chat") is KINDS["prefix"]
    assert prefill_of("vllm", {"prefill": "none"}, "x", "chat") is None


@pytest.mark.parametrize(("told", "way", "how"), [
    ("prefix", "gemini", None), ("continue", "responses", None), ("plain", "gemini", "plain"),
    ("partial", "completions", "plain"), ("none", "completions", None), ("prefix", "messages", "prefix"),
])  # fmt: skip
def test_an_option_heeds_the_dialect(told: str, way: str, how: str | None) -> None:
    """What has no messages has none to be marked."""
    assert prefill_of("any", {"prefill": told}, "x", way) is (None if how is None else KINDS[how])


def test_rows_name_vendors() -> None:
    """That exist."""
    assert {row[0] for row in ROWS} <= VENDORS.keys()


def asked(dialect: str = "chat", **fields: Any) -> Asked:
    return Asked(read(dialect, body_of(chat(**fields)), "gpt-4", True), "gpt-4")


@pytest.mark.parametrize(("fields", "may"), [
    ({}, True),
    ({"response_format": {"type": "json_object"}}, False),
    ({"reasoning_effort": "high"}, False),
    ({"reasoning_effort": "none"}, True),
    ({"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}, False),
])  # fmt: skip
def test_which_requests_may(fields: dict[str, Any], may: bool) -> None:
    """A forced form or a thinking model leave no room for a beginning."""
    assert may_prefill(asked(**fields).conversation) == may


@pytest.mark.parametrize(("kind", "member"), [("prefix", "prefix"), ("partial", "partial")])
def test_the_request_again(kind: str, member: str) -> None:
    """The beginning is the last message, marked as the vendor wants; less may still come."""
    first = asked()
    body = json.loads(write_again(first, "chat", "up", "The quick", KINDS[kind], 60, Losses()))
    assert body["messages"][-1] == {"role": "assistant", "content": "The quick", member: True}
    assert (body["model"], body["max_tokens"], body["stream"]) == ("up", 60, True)
    assert len(first.conversation.turns) == 1
    again = json.loads(write_again(first, "chat", "up", "", KINDS[kind], 0, Losses()))
    assert (again["messages"][-1]["role"], again["max_tokens"]) == ("user", 100)


def test_other_dialects() -> None:
    """Anthropic's, and the prompt of old."""
    body = json.loads(write_again(asked(), "messages", "claude-3", "The quick", KINDS["plain"], 60, Losses()))
    assert body["messages"][-1]["role"] == "assistant"
    assert body["max_tokens"] == 60
    first = Asked(read("completions", b'{"model":"x","prompt":"Once"}', "x", True), "x")
    body = json.loads(write_again(first, "completions", "x", " upon", KINDS["plain"], 0, Losses()))
    assert body["prompt"] == "Once upon"
    assert first.conversation.turns[0].blocks[0].text == "Once"  # type: ignore[union-attr]
