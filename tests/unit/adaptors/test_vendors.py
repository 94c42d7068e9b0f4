"""The table of vendors and the joining of paths."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from burncloud.adaptors.vendors import VENDORS, upstream_path


def test_rows_are_whole() -> None:
    for name, row in VENDORS.items():
        assert name == row.name
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert not row.base_url.endswith("/")
        if row.base_url:
            assert urlsplit(row.base_url).hostname
    assert VENDORS["anthropic"].headers == (("anthropic-version", "2023-06-01"),)
    assert {row.dialect for row in VENDORS.values()} == {"openai", "anthropic", "gemini", "bedrock"}


@pytest.mark.parametrize(
    ("vendor", "base", "client", "want"),
    [
        ("openai", "/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1/", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/", "/v1/chat/completions?a=/v1", "/v1/chat/completions?a=/v1"),
        ("openai", "/v1/chat/completions", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1/chat/completions", "/v1/images/edits", "/v1/images/edits"),
        ("zhipu", "/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
        ("groq", "/openai/v1", "/v1/audio/speech?x=1", "/openai/v1/audio/speech?x=1"),
        ("github", "/inference", "/v1/chat/completions", "/inference/chat/completions"),
        ("perplexity", "", "/v1/chat/completions", "/chat/completions"),
        ("perplexity", "", "/v1/embeddings", "/v1/embeddings"),
        ("perplexity", "/mine/v1", "/v1/chat/completions", "/mine/v1/chat/completions"),
        ("cohere", "/compatibility/v1", "/v1/rerank", "/v2/rerank"),
        ("cohere", "/compatibility/v1", "/v1/chat/completions", "/compatibility/v1/chat/completions"),
        ("anthropic", "", "/v1/messages", "/v1/messages"),
        ("anthropic", "/v1", "/v1/messages", "/v1/messages"),
        ("anthropic", "/anthropic", "/v1/messages?beta=true", "/anthropic/v1/messages?beta=true"),
        ("anthropic", "/anthropic/v1/messages", "/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"),
        ("gemini", "", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("gemini", "/v1beta", "/v1/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("gemini", "/v1alpha", "/v1beta/models/m:generateContent", "/v1alpha/models/m:generateContent"),
        ("gemini", "/proxy", "/v1beta/models/m:generateContent", "/proxy/v1beta/models/m:generateContent"),
    ],
)
def test_upstream_path(vendor: str, base: str, client: str, want: str) -> None:
    assert upstream_path(VENDORS[vendor], base, client) == want


def test_every_default_base_joins() -> None:
    for row in VENDORS.values():
        path = upstream_path(row, urlsplit(row.base_url).path, "/v1/embeddings")
        assert path.endswith("/embeddings")
        assert "/v1/v1" not in path
