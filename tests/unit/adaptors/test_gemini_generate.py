"""Answers in the words of gemini generate: usage in disjoint kinds, ends, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.meter import read_plain
from burncloud.domain.usage import Usage
from tests.unit.adaptors.own_cases import check, load


@pytest.mark.parametrize("case", load("gemini_generate"))
def test_reads(case: dict[str, Any]) -> None:
    check(case)


def test_predictions_are_counted_together() -> None:
    """Vertex AI's :predict counts each text by itself."""
    vectors = [{"values": [0.5], "statistics": {"token_count": count, "truncated": False}} for count in (3, 4.0)]
    said = {"predictions": [{"embeddings": vector} for vector in vectors]}
    reading = read_plain("gemini", "predict", json.dumps(said).encode())
    assert reading.usage == Usage(7)
    assert reading.complete
    assert read_plain("gemini", "predict", b'{"predictions":[{"embeddings":{"values":[]}},{}]}').usage is None
