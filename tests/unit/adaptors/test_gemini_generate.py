"""Answers in the words of gemini generate: usage in disjoint kinds, ends, errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.adaptors.own_cases import check, load


@pytest.mark.parametrize("case", load("gemini_generate"))
def test_reads(case: dict[str, Any]) -> None:
    check(case)
