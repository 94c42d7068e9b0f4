"""Embeddings: input only, under three names."""

from __future__ import annotations

import pytest

from burncloud.adaptors.openai_chat import ChatUsage
from burncloud.adaptors.openai_embeddings import READER, BilledUnits, Body, Meta, usage_of
from burncloud.adaptors.reading import Tally
from burncloud.domain.usage import Usage


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (Body(ChatUsage(prompt_tokens=8, total_tokens=8)), Usage(8)),
        (Body(ChatUsage(total_tokens=12)), Usage(12)),
        (Body(ChatUsage(prompt_tokens=5, completion_tokens=0, total_tokens=5)), Usage(5)),
        (Body(meta=Meta(BilledUnits(input_tokens=3.0))), Usage(3)),
        (Body(meta=Meta(BilledUnits(search_units=1))), Usage()),
        (Body(meta=Meta()), None),
        (Body(), None),
    ],
)
def test_usage_of(body: Body, want: Usage | None) -> None:
    assert usage_of(body) == want


def test_an_error_is_seen() -> None:
    tally = Tally()
    assert READER.body(b'{"error":{"message":"no"}}', tally)
    assert tally.error
