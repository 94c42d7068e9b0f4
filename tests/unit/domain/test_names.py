"""Which model a name with a star means, and what it carries over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.domain import names

NAME = st.text("ab-/.", max_size=6)


@pytest.mark.parametrize(
    ("pattern", "model", "star"),
    [
        ("gpt-4", "gpt-4", ""), ("gpt-4", "gpt-4o", None), ("claude-*", "claude-3", "3"), ("claude-*", "claude-", ""),
        ("claude-*", "claud", None), ("*", "x", "x"), ("*-latest", "a-latest", "a"), ("ab*ba", "aba", None),
        ("ab*ba", "abba", ""), ("openai/*", "openai/gpt/4", "gpt/4"),
    ],
)  # fmt: skip
def test_stars(pattern: str, model: str, star: str | None) -> None:
    assert names.starred(pattern, model) == star
    assert names.fits(pattern, model) == (star is not None)


@given(NAME, NAME, NAME)
def test_what_fits_is_made_of_it_again(before: str, after: str, middle: str) -> None:
    """The star stands for exactly what is between, and is carried over whole."""
    model = before + middle + after
    assert names.starred(f"{before}*{after}", model) == middle
    assert names.carried(f"{before}*{after}", "x/*:y", model) == f"x/{middle}:y"
    assert names.carried(f"{before}*{after}", f"{before}*{after}", model) == model


def test_the_most_exact_wins() -> None:
    patterns = ["*", "claude-*", "claude-3", "claude-3*", "*-3"]
    assert names.most_specific(patterns, "claude-3") == "claude-3"
    assert names.most_specific(patterns, "claude-3-5") == "claude-3*"
    assert names.most_specific(patterns, "claude-4") == "claude-*"
    assert names.most_specific(patterns, "x-3") == "*-3"
    assert names.most_specific(patterns, "x") == "*"
    assert names.most_specific(patterns[1:], "x") is None
    assert names.most_specific(["b*", "*b"], "bb") == "*b"  # as exact: the alphabet


def test_a_name_without_a_star_maps_to_one() -> None:
    assert names.carried("fast", "gpt-4o-mini", "fast") == "gpt-4o-mini"
    assert names.carried("claude-*", "claude-sonnet-4-5", "claude-3") == "claude-sonnet-4-5"
    assert names.among(("a", "b*"), "bcd")
    assert not names.among(("a", "b*"), "cbd")
